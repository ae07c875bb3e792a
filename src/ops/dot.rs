//! Dot: y = Σ a·b, one number. da = dy·b, db = dy·a. The random projection of every gradient check.

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

#[derive(Debug, Clone)]
pub struct Dot;

pub fn dot(t: &mut Tape, a: Var, b: Var) -> Result<Var> {
    t.apply(Dot, &[a, b])
}

impl Op for Dot {
    fn name(&self) -> &'static str {
        "dot"
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
    fn keeps(&self, wants: Set) -> Keeps {
        Keeps::x(Set::of(1).when(wants.has(0)).union(Set::of(0).when(wants.has(1))))
    }
    fn forward<T: Real>(&self, m: Host<T>) {
        let [y, ..] = m.out;
        y[0] = T::of(par::sum2(m.x[0], m.x[1], |a, b| a * b));
    }
    fn backward<T: Real>(&self, m: Host<T>) {
        let ([da, db, ..], d) = (m.out, m.dy[0]);
        for (dx, other) in [(da, m.x[1]), (db, m.x[0])] {
            if !dx.is_empty() {
                par::map(dx, other, move |o| d * o);
            }
        }
    }

    fn gpu_scratch(&self, pass: Pass, xs: &[Shape], _: &[Shape], _: Set, _: Precision) -> usize {
        if pass == Pass::Forward { sum::scratch(sum::blocks(xs[0].len())) } else { 0 }
    }
    fn gpu_forward(&self, g: &Operands) -> Result<()> {
        let n = g.xs[0].len();
        let blocks = sum::blocks(n);
        let call = g.call("dot_fwd_f32")?.grid([blocks, 1, 1]).block(256).write(sum::partial(g, blocks));
        call.read(g.x(0)).read(g.x(1)).value(&(n as u32)).go()?;
        sum::finish(g, g.out(0), blocks, 1)
    }
    fn gpu_backward(&self, g: &Operands) -> Result<()> {
        let n = g.xs[0].len();
        let call = g.call("dot_bwd_f32")?.elements(n).write_or_null(g.out[0]).write_or_null(g.out[1]);
        call.read_or_null(g.x[0]).read_or_null(g.x[1]).read(g.dy()).value(&(n as u32)).go()
    }
}

pub fn cases() -> Vec<Case> {
    let row = |s| case(format!("{s}"), Dot, &[(s, Sampling::Normal), (s, Sampling::Normal)]);
    let mut rows: Vec<Case> = SUM_EDGES.iter().map(|&s| row(s)).collect();
    rows.extend([0, 1].map(|i| row(shape(1, 3, 5, 3)).only(Set::of(i))));
    rows.push(row(shape(32, 16, 16, 128)).bench("projection"));
    rows
}
