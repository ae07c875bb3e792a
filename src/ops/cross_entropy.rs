//! Softmax cross entropy: L = mean over rows of ( log Σ_j e^{x_j} − x_label ). dx = (softmax(x) − onehot)/N.

use super::sum;
use crate::core::case::{Case, Sampling, case};
use crate::core::launch::Operands;
use crate::core::op::{Host, Keeps, Op, Pass, Set};
use crate::core::real::Real;
use crate::core::shape::{Shape, shape};
use crate::core::tape::{Tape, Var};
use crate::device::Precision;
use crate::error::Result;

#[derive(Debug, Clone)]
pub struct CrossEntropy;

/// `x`: N×1×1×C logits; `label`: N×1×1×1 class numbers (whole numbers below C).
pub fn cross_entropy(t: &mut Tape, x: Var, label: Var) -> Result<Var> {
    t.apply(CrossEntropy, &[x, label])
}

/// log Σ e^{x_j}, shifted by the largest.
fn log_sum_exp<T: Real>(row: &[T]) -> T {
    let top = row.iter().fold(row[0], |a, &b| a.max(b));
    top + row.iter().map(|&x| (x - top).exp()).sum::<T>().ln()
}

/// `struct CrossEntropy` of kernels/cross_entropy.cu.
#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Params {
    rows: u32,
    classes: u32,
}

/// Blocks of a launch: eight rows in each.
fn blocks(x: Shape) -> usize {
    (x.n as usize).div_ceil(8)
}

impl Op for CrossEntropy {
    fn name(&self) -> &'static str {
        "cross_entropy"
    }
    fn infer(&self, x: &[Shape]) -> Result<Vec<Shape>, String> {
        match x {
            [x, l] if x.h == 1 && x.w == 1 && *l == (Shape { c: 1, ..*x }) => Ok(vec![Shape::SCALAR]),
            _ => Err(format!("needs logits N×1×1×C and class numbers N×1×1×1, got {x:?}")),
        }
    }
    fn keeps(&self, _: Set) -> Keeps {
        Keeps::x(Set::first(2))
    }
    fn differentiable(&self) -> Set {
        Set::of(0)
    }
    fn forward<T: Real>(&self, m: Host<T>) {
        let ([y, ..], c) = (m.out, m.xs[0].c as usize);
        let rows = m.x[0].chunks(c).zip(m.x[1]);
        let sum: f64 = rows.map(|(row, l)| (log_sum_exp(row) - row[class(*l, c)]).f64()).sum();
        y[0] = T::of(sum / m.xs[0].n as f64);
    }
    fn backward<T: Real>(&self, m: Host<T>) {
        let ([dx, ..], c) = (m.out, m.xs[0].c as usize);
        let k = T::of(m.dy[0].f64() / m.xs[0].n as f64);
        for ((dx, row), l) in dx.chunks_mut(c).zip(m.x[0].chunks(c)).zip(m.x[1]) {
            let lse = log_sum_exp(row);
            dx.iter_mut().zip(row).for_each(|(d, &x)| *d = (x - lse).exp() * k);
            dx[class(*l, c)] -= k;
        }
    }

    fn gpu_scratch(&self, pass: Pass, xs: &[Shape], _: &[Shape], _: Set, _: Precision) -> usize {
        if pass == Pass::Forward { sum::scratch(blocks(xs[0])) } else { 0 }
    }
    fn gpu_forward(&self, g: &Operands) -> Result<()> {
        let (x, blocks) = (g.xs[0], blocks(g.xs[0]));
        let call = g.call("cross_entropy_fwd_f32")?.grid([blocks, 1, 1]).block(256).write(sum::partial(g, blocks));
        call.read(g.x(0)).read(g.x(1)).value(&Params { rows: x.n, classes: x.c }).go()?;
        sum::finish(g, g.out(0), blocks, x.n as usize)
    }
    fn gpu_backward(&self, g: &Operands) -> Result<()> {
        let x = g.xs[0];
        let call = g.call("cross_entropy_bwd_f32")?.grid([blocks(x), 1, 1]).block(256).write(g.out(0));
        call.read(g.x(0)).read(g.x(1)).read(g.dy()).value(&Params { rows: x.n, classes: x.c }).go()
    }
}

fn class<T: Real>(l: T, c: usize) -> usize {
    let i = l.f64() as usize;
    assert!(i < c, "class {i} of {c}");
    i
}

pub fn cases() -> Vec<Case> {
    let row = |n, c| {
        case(format!("{n}x{c}"), CrossEntropy, &[(shape(n, 1, 1, c), Sampling::Normal), (shape(n, 1, 1, 1), Sampling::Class(c))])
    };
    // A warp per row, eight rows per block of the kernels.
    let mut rows: Vec<Case> =
        [(5, 2), (3, 7), (7, 31), (8, 32), (9, 33), (17, 100), (1, 1)].iter().map(|&(n, c)| row(n, c)).collect();
    // More shares than the 256 threads that add them up take in four turns. Forward only: that is where shares are.
    rows.push(row(6200, 2).only(Set::NONE));
    rows.push(row(64, 2).bench("baseline head"));
    rows
}
