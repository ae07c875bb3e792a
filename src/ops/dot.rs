//! Dot: y = Σ a·b, one number. da = dy·b, db = dy·a. The random projection of every gradient check.

use super::{Case, Fill, case};
use crate::core::op::{Host, Keeps, Op, Set};
use crate::core::par;
use crate::core::real::Real;
use crate::core::shape::{Shape, shape};
use crate::core::tape::{Tape, Var};
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
}

pub fn cases() -> Vec<Case> {
    let row = |s| case(format!("{s}"), Dot, &[(s, Fill::Normal), (s, Fill::Normal)]);
    vec![row(shape(2, 5, 7, 3)), row(shape(32, 16, 16, 128)).bench("projection")]
}
