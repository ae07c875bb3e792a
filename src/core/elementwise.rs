//! Loops of ops on single values, over operands of either type: bf16 is widened value by value and rounded once, in registers.

use half::bf16;
use rayon::prelude::*;

use super::op::Host;
use super::par::{self, GRAIN};
use super::real::Real;

impl<T: Real> Host<'_, T> {
    /// Forward: output 0 is `f` of input 0. What [`par::map`] says of `f` holds here.
    pub fn map(self, f: impl Fn(T) -> T + Sync + Send + Copy) {
        let ([y, ..], [y_half, ..]) = (self.out, self.half.out);
        match self.half.x[0] {
            [] => par::map(y, self.x[0], f),
            x => map(y_half, x, f),
        }
    }

    /// Forward: output 0 is `f` of inputs 0 and 1.
    pub fn map2(self, f: impl Fn(T, T) -> T + Sync + Send + Copy) {
        let ([y, ..], [y_half, ..]) = (self.out, self.half.out);
        match (self.half.x[0], self.half.x[1]) {
            ([], _) => par::map2(y, self.x[0], self.x[1], f),
            (a, b) => map2(y_half, a, b, f),
        }
    }

    /// Backward: the gradient of input 0 is `f` of output 0 and its gradient.
    pub fn map_back(self, f: impl Fn(T, T) -> T + Sync + Send + Copy) {
        let ([dx, ..], [dx_half, ..]) = (self.out, self.half.out);
        match (self.half.y[0], self.half.dy) {
            ([], _) => par::map2(dx, self.y[0], self.dy, f),
            (y, dy) => map2(dx_half, y, dy, f),
        }
    }
}

fn map<T: Real>(y: &mut [bf16], x: &[bf16], f: impl Fn(T) -> T + Sync + Send + Copy) {
    y.par_chunks_mut(GRAIN).zip(x.par_chunks(GRAIN)).for_each(move |(y, x)| {
        let f = f;
        y.iter_mut().zip(x).for_each(|(y, &x)| *y = f(T::of_bf16(x)).bf16());
    });
}

fn map2<T: Real>(y: &mut [bf16], a: &[bf16], b: &[bf16], f: impl Fn(T, T) -> T + Sync + Send + Copy) {
    y.par_chunks_mut(GRAIN).zip(a.par_chunks(GRAIN)).zip(b.par_chunks(GRAIN)).for_each(move |((y, a), b)| {
        let f = f;
        y.iter_mut().zip(a).zip(b).for_each(|((y, &a), &b)| *y = f(T::of_bf16(a), T::of_bf16(b)).bf16());
    });
}
