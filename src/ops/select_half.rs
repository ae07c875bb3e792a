//! The half of the channels that a label names; the other half is zero. The first half stands for a true picture (label 1), the
//! second for a fake (label 0): `y = x` there, `dx = dy` there, both 0 in the other half.

use rayon::prelude::*;

use crate::core::case::{Case, Sampling, case};

use crate::core::launch::Operands;
use crate::core::op::{Halves, Host, Keeps, Op, Set};
use crate::core::real::Real;
use crate::core::shape::{Shape, shape};
use crate::core::tape::{Tape, Var};
use crate::device::Span;
use crate::device::tiles::vector;
use crate::error::Result;

#[derive(Debug, Clone)]
pub struct SelectHalf;

/// `x`: N×H×W×2K; `label`: N×1×1×1, 1 true, 0 fake.
pub fn select_half(t: &mut Tape, x: Var, label: Var) -> Result<Var> {
    t.apply(SelectHalf, &[x, label])
}

/// `struct SelectHalf` of kernels/select_half.cu.
#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Params {
    count: u32,
    image: u32,
    channels: u32,
}

fn run<T: Real>(y: &mut [T], x: &[T], label: &[T], s: Shape) {
    let (c, image) = (s.c as usize, s.per_image());
    y.par_chunks_mut(image).zip(x.par_chunks(image)).zip(label).for_each(|((y, x), &label)| {
        let kept = if label > T::of(0.5) { 0..c / 2 } else { c / 2..c };
        y.fill(T::ZERO);
        y.chunks_mut(c).zip(x.chunks(c)).for_each(|(y, x)| y[kept.clone()].copy_from_slice(&x[kept.clone()]));
    });
}

/// Both passes: the gradient takes the way of the values.
fn launch(g: &Operands, y: Span, x: Span) -> Result<()> {
    let s = g.xs[0];
    // A vector lies in one half.
    let count = s.len() / vector(s.c as usize / 2);
    let call = g.call("select_half_fwd_f32")?.grid([count.div_ceil(256), 1, 1]).block(256).write(y).read(x).read(g.x(1));
    call.value(&Params { count: s.len() as u32, image: s.per_image() as u32, channels: s.c }).go()
}

impl Op for SelectHalf {
    fn name(&self) -> &'static str {
        "select_half"
    }
    fn infer(&self, x: &[Shape]) -> Result<Vec<Shape>, String> {
        match x {
            [x, l] if x.c % 2 == 0 && !x.is_empty() && *l == shape(x.n as usize, 1, 1, 1) => Ok(vec![*x]),
            _ => Err(format!("needs x N×H×W×C with even C and labels N×1×1×1, got {x:?}")),
        }
    }
    fn halves(&self) -> Halves {
        Halves::follow(Set::of(0))
    }
    fn keeps(&self, _: Set) -> Keeps {
        Keeps::x(Set::of(1))
    }
    fn differentiable(&self) -> Set {
        Set::of(0)
    }
    fn forward<T: Real>(&self, m: Host<T>) {
        let [y, ..] = m.out;
        run(y, m.x[0], m.x[1], m.xs[0]);
    }
    fn backward<T: Real>(&self, m: Host<T>) {
        let [dx, ..] = m.out;
        run(dx, m.dy, m.x[1], m.xs[0]);
    }

    fn gpu_forward(&self, g: &Operands) -> Result<()> {
        launch(g, g.out(0), g.x(0))
    }
    fn gpu_backward(&self, g: &Operands) -> Result<()> {
        launch(g, g.out(0), g.dy())
    }
}

pub fn cases() -> Vec<Case> {
    let row = |s: Shape| {
        let label = shape(s.n as usize, 1, 1, 1);
        case(format!("{s}"), SelectHalf, &[(s, Sampling::Normal), (label, Sampling::Binary)])
    };
    // Halves that are and are not a multiple of four, sizes around the 256 threads of a block.
    let small = [(3, 2, 3, 6), (4, 3, 2, 16), (1, 1, 1, 2), (5, 1, 51, 2), (2, 4, 4, 64), (2, 2, 4, 136), (3, 2, 7, 20)];
    let mut rows: Vec<Case> = small.iter().map(|&(n, h, w, c)| row(shape(n, h, w, c))).collect();
    rows.push(row(shape(64, 16, 16, 128)).bench("transfer.latent"));
    rows
}
