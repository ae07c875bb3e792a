//! Affine: y = scale[c]·x + shift[c] with constants per channel. Changes of colour space (ImageNet's normalisation, [-1, 1]) and,
//! with one constant, the weight of a loss term. dx = scale[c]·dy.

use rayon::prelude::*;

use super::{Case, Fill, case};
use crate::core::op::{Host, Keeps, Op, Set};
use crate::core::par;
use crate::core::real::Real;
use crate::core::shape::{Shape, shape};
use crate::core::tape::{Tape, Var};
use crate::error::Result;

#[derive(Debug, Clone)]
pub struct Affine {
    /// One entry, or one per channel.
    pub scale: Vec<f64>,
    pub shift: Vec<f64>,
}

/// `y = a·x`.
pub fn scale(t: &mut Tape, x: Var, a: f64) -> Result<Var> {
    t.apply(Affine { scale: vec![a], shift: vec![0.0] }, &[x])
}

/// `y = scale[c]·x + shift[c]`.
pub fn affine(t: &mut Tape, x: Var, scale: &[f64], shift: &[f64]) -> Result<Var> {
    t.apply(Affine { scale: scale.to_vec(), shift: shift.to_vec() }, &[x])
}

impl Affine {
    fn run<T: Real>(&self, y: &mut [T], x: &[T], shift: bool) {
        let n = self.scale.len();
        // Whole pixels per task, so that a task starts at channel 0.
        let chunk = par::GRAIN / n * n;
        y.par_chunks_mut(chunk).zip(x.par_chunks(chunk)).for_each(|(y, x)| {
            for i in 0..n {
                let (a, b) = (T::of(self.scale[i]), if shift { T::of(self.shift[i]) } else { T::ZERO });
                y[i..].iter_mut().step_by(n).zip(x[i..].iter().step_by(n)).for_each(|(y, &x)| *y = a * x + b);
            }
        });
    }
}

impl Op for Affine {
    fn name(&self) -> &'static str {
        "affine"
    }
    fn infer(&self, x: &[Shape]) -> Result<Vec<Shape>, String> {
        let n = self.scale.len();
        match x {
            [x] if n == self.shift.len() && (n == 1 || n == x.c as usize) => Ok(vec![*x]),
            _ => Err(format!("{n} scales and {} shifts do not fit input {x:?}", self.shift.len())),
        }
    }
    fn keeps(&self, _: Set) -> Keeps {
        Keeps::NOTHING
    }
    fn forward<T: Real>(&self, m: Host<T>) {
        let [y, ..] = m.out;
        self.run(y, m.x[0], true);
    }
    fn backward<T: Real>(&self, m: Host<T>) {
        let [dx, ..] = m.out;
        self.run(dx, m.dy, false);
    }
}

pub fn cases() -> Vec<Case> {
    let rgb = Affine { scale: vec![4.0, -2.0, 0.5], shift: vec![-1.0, 0.25, 3.0] };
    let one = Affine { scale: vec![0.01], shift: vec![0.0] };
    vec![
        case("rgb", rgb.clone(), &[(shape(2, 5, 7, 3), Fill::Normal)]),
        case("scalar", one, &[(shape(1, 1, 1, 1), Fill::Normal)]),
        case("image", rgb, &[(shape(32, 64, 64, 3), Fill::Normal)]).bench("normalise"),
    ]
}
