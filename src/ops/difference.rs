//! Distances between two values of one shape: L1 (mean absolute error), MSE, SSE (squared error summed within an image, mean over
//! the batch). Equation 5 prints SSE and its text says L1: both are here (`reconstruction.pixel`, `reconstruction.perceptual`).
//!
//! With d = a − b and n values (N images): L1 = Σ|d|/n, MSE = Σd²/n, SSE = Σd²/N. ∂/∂a = sign(d)/n, 2d/n, 2d/N; ∂/∂b = −∂/∂a.

use super::edges::SUM_EDGES;
use super::sum;
use crate::core::case::{Case, Sampling, case};
use crate::core::launch::Operands;
use crate::core::op::{Halves, Host, Keeps, Op, Pass, Set};
use crate::core::par;
use crate::core::real::Real;
use crate::core::shape::{Shape, shape};
use crate::core::tape::{Tape, Var};
use crate::device::Precision;
use crate::error::Result;

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Difference {
    L1,
    Mse,
    Sse,
}

/// Mean of |a − b| over all values.
pub fn l1(t: &mut Tape, a: Var, b: Var) -> Result<Var> {
    t.apply(Difference::L1, &[a, b])
}
/// Mean of (a − b)² over all values.
pub fn mse(t: &mut Tape, a: Var, b: Var) -> Result<Var> {
    t.apply(Difference::Mse, &[a, b])
}

impl Difference {
    /// What the sum is divided by.
    fn divisor(&self, x: Shape) -> f64 {
        match self {
            Difference::L1 | Difference::Mse => x.len() as f64,
            Difference::Sse => x.n as f64,
        }
    }
}

/// `struct Difference` of kernels/difference.cu.
#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Params {
    count: u32,
    divisor: u32,
}

impl Op for Difference {
    fn name(&self) -> &'static str {
        match self {
            Difference::L1 => "l1",
            Difference::Mse => "mse",
            Difference::Sse => "sse",
        }
    }
    fn infer(&self, x: &[Shape]) -> Result<Vec<Shape>, String> {
        match x {
            [a, b] if a == b => Ok(vec![Shape::SCALAR]),
            _ => Err(format!("needs two values of one shape, got {x:?}")),
        }
    }
    fn halves(&self) -> Halves {
        Halves::sum(Set::first(2))
    }
    fn half_on_gpu(&self, _: Pass, _: &[Shape]) -> bool {
        true
    }
    fn keeps(&self, _: Set) -> Keeps {
        Keeps::x(Set::first(2))
    }
    fn forward<T: Real>(&self, m: Host<T>) {
        let [y, ..] = m.out;
        let sum = match self {
            Difference::L1 => par::sum2(m.x[0], m.x[1], |a, b| (a - b).abs()),
            Difference::Mse | Difference::Sse => par::sum2(m.x[0], m.x[1], |a, b| (a - b) * (a - b)),
        };
        y[0] = T::of(sum / self.divisor(m.xs[0]));
    }
    fn backward<T: Real>(&self, m: Host<T>) {
        let [da, db, ..] = m.out;
        let k = m.dy[0].f64() / self.divisor(m.xs[0]);
        for (dx, k) in [(da, T::of(k)), (db, T::of(-k))] {
            if dx.is_empty() {
                continue;
            }
            match self {
                Difference::L1 => par::map2(dx, m.x[0], m.x[1], move |a, b| (a - b).sign() * k),
                Difference::Mse | Difference::Sse => {
                    let k = k + k;
                    par::map2(dx, m.x[0], m.x[1], move |a, b| (a - b) * k)
                }
            }
        }
    }

    fn gpu_scratch(&self, pass: Pass, xs: &[Shape], _: &[Shape], _: Set, _: Precision) -> usize {
        if pass == Pass::Forward { sum::scratch(sum::blocks(xs[0].len())) } else { 0 }
    }
    fn gpu_forward(&self, g: &Operands) -> Result<()> {
        let n = g.xs[0].len();
        let blocks = sum::blocks(n);
        let kernel = if *self == Difference::L1 { "l1_fwd" } else { "mse_fwd" };
        let call = g.typed(kernel, g.x(0))?.grid([blocks, 1, 1]).block(256).write(sum::partial(g, blocks));
        call.read(g.x(0)).read(g.x(1)).value(&(n as u32)).go()?;
        sum::finish(g, g.out(0), blocks, self.divisor(g.xs[0]) as usize)
    }
    fn gpu_backward(&self, g: &Operands) -> Result<()> {
        let n = g.xs[0].len();
        let p = Params { count: n as u32, divisor: self.divisor(g.xs[0]) as u32 };
        let kernel = if *self == Difference::L1 { "l1_bwd" } else { "mse_bwd" };
        let call = g.typed(kernel, g.x(0))?.elements(n).write_or_null(g.out[0]).write_or_null(g.out[1]);
        call.read(g.x(0)).read(g.x(1)).read(g.dy()).value(&p).go()
    }
}

pub fn cases() -> Vec<Case> {
    let row = |d: Difference, s| case(format!("{d:?} {s}"), d, &[(s, Sampling::Distinct), (s, Sampling::Normal)]);
    let all = [Difference::L1, Difference::Mse, Difference::Sse];
    let mut rows: Vec<Case> = all.iter().flat_map(|&d| SUM_EDGES.map(|s| row(d, s))).collect();
    rows.extend([0, 1].map(|i| row(Difference::L1, shape(1, 3, 5, 3)).only(Set::of(i))));
    rows.extend([0, 1].map(|i| row(Difference::Mse, shape(1, 3, 5, 3)).only(Set::of(i))));
    // Equal values: sign(0) = 0.
    rows.push(case("L1 ties", Difference::L1, &[(shape(2, 5, 7, 3), Sampling::Binary), (shape(2, 5, 7, 3), Sampling::Binary)]));
    rows.push(row(Difference::L1, shape(32, 64, 64, 3)).bench("pixel loss"));
    rows
}
