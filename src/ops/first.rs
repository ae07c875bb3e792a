//! First: the first `n` pictures of a batch. dx is dy for those pictures and 0 for the others.

use crate::core::case::{Case, Sampling, case};

use crate::core::launch::Operands;
use crate::core::op::{Halves, Host, Keeps, Op, Set};
use crate::core::real::Real;
use crate::core::shape::{Shape, shape};
use crate::core::tape::{Tape, Var};
use crate::error::Result;

#[derive(Debug, Clone)]
pub struct First {
    pub n: usize,
}

/// The kernel's sizes: `struct First` of kernels/first.cu.
#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Params {
    count: u32,
    kept: u32,
}

/// N×H×W×C → n×H×W×C, n ≤ N.
pub fn first(t: &mut Tape, x: Var, n: usize) -> Result<Var> {
    t.apply(First { n }, &[x])
}

impl Op for First {
    fn name(&self) -> &'static str {
        "first"
    }
    fn infer(&self, x: &[Shape]) -> Result<Vec<Shape>, String> {
        match x {
            [x] if (1..=x.n as usize).contains(&self.n) => Ok(vec![Shape { n: self.n as u32, ..*x }]),
            _ => Err(format!("needs one value of at least {} pictures, got {x:?}", self.n)),
        }
    }
    fn halves(&self) -> Halves {
        Halves::follow(Set::of(0))
    }
    fn keeps(&self, _: Set) -> Keeps {
        Keeps::NOTHING
    }
    fn forward<T: Real>(&self, m: Host<T>) {
        let [y, ..] = m.out;
        y.copy_from_slice(&m.x[0][..y.len()]);
    }
    fn backward<T: Real>(&self, m: Host<T>) {
        let ([dx, ..], n) = (m.out, m.dy.len());
        dx[..n].copy_from_slice(m.dy);
        dx[n..].fill(T::ZERO);
    }

    fn gpu_forward(&self, g: &Operands) -> Result<()> {
        let n = g.ys[0].len();
        g.call("first_fwd_f32")?.elements(n).write(g.out(0)).read(g.x(0)).value(&(n as u32)).go()
    }
    fn gpu_backward(&self, g: &Operands) -> Result<()> {
        let p = Params { count: g.xs[0].len() as u32, kept: g.ys[0].len() as u32 };
        g.call("first_bwd_f32")?.elements(g.xs[0].len()).write(g.out(0)).read(g.dy()).value(&p).go()
    }
}

pub fn cases() -> Vec<Case> {
    let row = |n, x: Shape| case(format!("{n} of {x}"), First { n }, &[(x, Sampling::Normal)]);
    vec![row(2, shape(5, 2, 3, 4)), row(3, shape(3, 1, 1, 8)), row(64, shape(80, 1, 1, 128)).bench("latent loss of stage 2")]
}
