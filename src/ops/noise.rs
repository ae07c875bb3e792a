//! Noise augmentation (paper, §2.4 and §3.1.4): per batch draw s ~ U(0, 5) grey levels, then add N(0, 1)·s/255 to every value of a
//! picture in [0, 1]. The paper gives "between 0 and 5" without a unit; on normalised data a sigma of 5 would leave no picture.
//!
//! The draw of element i at step t depends on (seed, t, i) alone: see [`crate::core::rng`].

use rayon::prelude::*;

use super::{Case, Fill, case};
use crate::core::op::{Host, Keeps, Op, Set};
use crate::core::par;
use crate::core::real::Real;
use crate::core::rng::{key, normal_pair, philox, stream, unit};
use crate::core::shape::{Shape, shape};
use crate::core::tape::{Tape, Var};
use crate::error::Result;

#[derive(Debug, Clone)]
pub struct Noise {
    pub seed: u64,
    /// Largest standard deviation, in grey levels of 255.
    pub max_sigma: f64,
    /// Clip the result to [0, 1].
    pub clip: bool,
}

/// `x`: pictures in [0, 1]; `step`: one whole number below 2²⁴. No gradient flows through: the input is data.
pub fn noise(t: &mut Tape, x: Var, step: Var, noise: Noise) -> Result<Var> {
    t.apply(noise, &[x, step])
}

impl Op for Noise {
    fn name(&self) -> &'static str {
        "noise"
    }
    fn infer(&self, x: &[Shape]) -> Result<Vec<Shape>, String> {
        match x {
            [x, step] if step.len() == 1 => Ok(vec![*x]),
            _ => Err(format!("needs pictures and one step number, got {x:?}")),
        }
    }
    fn keeps(&self, _: Set) -> Keeps {
        Keeps::NOTHING
    }
    fn differentiable(&self) -> Set {
        Set::NONE
    }
    fn forward<T: Real>(&self, m: Host<T>) {
        let ([y, ..], step) = (m.out, m.x[1][0].f64() as u32);
        let k = key(self.seed, stream("noise"));
        let sigma = unit(philox(k, [0, 0, step, 1])[0]) * (self.max_sigma / 255.0) as f32;
        let clip = self.clip;
        y.par_chunks_mut(par::GRAIN).zip(m.x[0].par_chunks(par::GRAIN)).enumerate().for_each(|(chunk, (y, x))| {
            let first = (chunk * par::GRAIN / 4) as u32;
            for (i, (y, x)) in y.chunks_mut(4).zip(x.chunks(4)).enumerate() {
                let [a, b, c, d] = philox(k, [first + i as u32, 0, step, 0]);
                let (n0, n1) = normal_pair(a, b);
                let (n2, n3) = normal_pair(c, d);
                for ((y, &x), n) in y.iter_mut().zip(x).zip([n0, n1, n2, n3]) {
                    let v = x + T::of((n * sigma) as f64);
                    *y = if clip { v.max(T::ZERO).min(T::ONE) } else { v };
                }
            }
        });
    }
    fn backward<T: Real>(&self, _: Host<T>) {}
}

pub fn cases() -> Vec<Case> {
    let row = |s, clip| {
        let op = Noise { seed: 3, max_sigma: 5.0, clip };
        case(format!("{s}"), op, &[(s, Fill::Positive), (Shape::SCALAR, Fill::Counter)])
    };
    vec![row(shape(2, 5, 7, 3), true), row(shape(1, 3, 3, 3), false), row(shape(32, 64, 64, 3), true).bench("augmentation")]
}
