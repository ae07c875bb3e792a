//! Add: y = a + b, equal shapes. da = dy, db = dy. Where a value has several consumers, the tape adds up
//! their gradients with this op; no backward pass adds to an output by itself.

use super::edges::EDGES;
use crate::core::case::{Case, Sampling, case};

use crate::core::launch::Operands;
use crate::core::op::{Halves, Host, Keeps, Op, Pass, Set};
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
    fn halves(&self) -> Halves {
        Halves::follow(Set::first(2))
    }
    fn half_on_host(&self, _: Pass) -> bool {
        true
    }
    fn half_on_gpu(&self, _: Pass, _: &[Shape]) -> bool {
        true
    }
    fn keeps(&self, _: Set) -> Keeps {
        Keeps::NOTHING
    }
    fn forward<T: Real>(&self, m: Host<T>) {
        m.map2(move |a, b| a + b);
    }
    fn backward<T: Real>(&self, m: Host<T>) {
        let ([da, db, ..], [da_half, db_half, ..]) = (m.out, m.half.out);
        for dx in [da, db].into_iter().filter(|dx| !dx.is_empty()) {
            par::map(dx, m.dy, move |d| d);
        }
        for dx in [da_half, db_half].into_iter().filter(|dx| !dx.is_empty()) {
            dx.copy_from_slice(m.half.dy);
        }
    }

    fn gpu_forward(&self, g: &Operands) -> Result<()> {
        let n = g.xs[0].len();
        g.typed("add_fwd", g.out(0))?.elements(n).write(g.out(0)).read(g.x(0)).read(g.x(1)).value(&(n as u32)).go()
    }
    fn gpu_backward(&self, g: &Operands) -> Result<()> {
        let n = g.xs[0].len();
        let call = g.typed("add_bwd", g.dy())?.elements(n).write_or_null(g.out[0]).write_or_null(g.out[1]);
        call.read(g.dy()).value(&(n as u32)).go()
    }
}

pub fn cases() -> Vec<Case> {
    let row = |s| case(format!("{s}"), Add, &[(s, Sampling::Normal), (s, Sampling::Normal)]);
    let mut rows: Vec<Case> = EDGES.iter().map(|&s| row(s)).collect();
    rows.extend([0, 1].map(|i| row(shape(1, 3, 5, 3)).only(Set::of(i))));
    rows.push(row(shape(32, 16, 16, 128)).bench("gradient sum"));
    rows
}
