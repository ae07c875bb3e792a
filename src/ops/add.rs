//! Add: y = a + b, equal shapes. da = dy, db = dy. Gradients from several consumers meet here and nowhere else.

use super::{Case, Fill, case};
use crate::core::op::{Host, Keeps, Op, Set};
use crate::core::par;
use crate::core::real::Real;
use crate::core::shape::{Shape, shape};
use crate::core::tape::{Tape, Var};
use crate::error::Result;

#[derive(Debug, Clone)]
pub struct Add;

pub fn add(t: &mut Tape, a: Var, b: Var) -> Result<Var> {
    t.apply(Add, &[a, b])
}

impl Op for Add {
    fn name(&self) -> &'static str {
        "add"
    }
    fn infer(&self, x: &[Shape]) -> Result<Vec<Shape>, String> {
        match x {
            [a, b] if a == b => Ok(vec![*a]),
            _ => Err(format!("needs two values of one shape, got {x:?}")),
        }
    }
    fn keeps(&self, _: Set) -> Keeps {
        Keeps::NOTHING
    }
    fn forward<T: Real>(&self, m: Host<T>) {
        let [y, ..] = m.out;
        par::map2(y, m.x[0], m.x[1], move |a, b| a + b);
    }
    fn backward<T: Real>(&self, m: Host<T>) {
        let [da, db, ..] = m.out;
        for dx in [da, db] {
            if !dx.is_empty() {
                par::map(dx, m.dy, move |d| d);
            }
        }
    }
}

pub fn cases() -> Vec<Case> {
    let row = |s| case(format!("{s}"), Add, &[(s, Fill::Normal), (s, Fill::Normal)]);
    vec![row(shape(2, 5, 7, 3)), row(shape(32, 16, 16, 128)).bench("gradient sum")]
}
