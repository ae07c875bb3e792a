//! Concat: channels of b after channels of a. Backward splits dy.

use rayon::prelude::*;

use super::{Case, Fill, case};
use crate::core::op::{Host, Keeps, Op, Set};
use crate::core::real::Real;
use crate::core::shape::{Shape, shape};
use crate::core::tape::{Tape, Var};
use crate::error::Result;

#[derive(Debug, Clone)]
pub struct Concat;

/// N×H×W×A and N×H×W×B → N×H×W×(A+B).
pub fn concat(t: &mut Tape, a: Var, b: Var) -> Result<Var> {
    t.apply(Concat, &[a, b])
}

impl Op for Concat {
    fn name(&self) -> &'static str {
        "concat"
    }
    fn infer(&self, x: &[Shape]) -> Result<Vec<Shape>, String> {
        match x {
            [a, b] if (a.n, a.h, a.w) == (b.n, b.h, b.w) => Ok(vec![Shape { c: a.c + b.c, ..*a }]),
            _ => Err(format!("needs two values that differ in channels only, got {x:?}")),
        }
    }
    fn keeps(&self, _: Set) -> Keeps {
        Keeps::NOTHING
    }
    fn forward<T: Real>(&self, m: Host<T>) {
        let ([y, ..], a, b) = (m.out, m.xs[0].c as usize, m.xs[1].c as usize);
        y.par_chunks_mut(a + b).zip(m.x[0].par_chunks(a)).zip(m.x[1].par_chunks(b)).with_min_len(256).for_each(
            |((y, first), second)| {
                y[..a].copy_from_slice(first);
                y[a..].copy_from_slice(second);
            },
        );
    }
    fn backward<T: Real>(&self, m: Host<T>) {
        let ([da, db, ..], a, b) = (m.out, m.xs[0].c as usize, m.xs[1].c as usize);
        for (dx, len, from) in [(da, a, 0), (db, b, a)] {
            if !dx.is_empty() {
                let pixels = dx.par_chunks_mut(len).zip(m.dy.par_chunks(a + b)).with_min_len(256);
                pixels.for_each(|(dx, dy)| dx.copy_from_slice(&dy[from..from + len]));
            }
        }
    }
}

pub fn cases() -> Vec<Case> {
    let row = |n, h, w, a, b| {
        case(format!("{a}+{b}"), Concat, &[(shape(n, h, w, a), Fill::Normal), (shape(n, h, w, b), Fill::Normal)])
    };
    vec![row(2, 3, 5, 4, 7), row(32, 32, 32, 32, 64).bench("skip connection")]
}
