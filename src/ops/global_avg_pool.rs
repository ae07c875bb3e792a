//! Global average pooling: y[n,c] = mean over h, w of x. dx[n,h,w,c] = dy[n,c] / (h·w).

use rayon::prelude::*;

use super::{Case, Fill, case};
use crate::core::op::{Host, Keeps, Op, Set};
use crate::core::real::Real;
use crate::core::shape::{Shape, shape};
use crate::core::tape::{Tape, Var};
use crate::error::Result;

#[derive(Debug, Clone)]
pub struct GlobalAvgPool;

/// `x`: N×H×W×C → N×1×1×C.
pub fn global_avg_pool(t: &mut Tape, x: Var) -> Result<Var> {
    t.apply(GlobalAvgPool, &[x])
}

impl Op for GlobalAvgPool {
    fn name(&self) -> &'static str {
        "global_avg_pool"
    }
    fn infer(&self, x: &[Shape]) -> Result<Vec<Shape>, String> {
        match x {
            [x] if !x.is_empty() => Ok(vec![Shape { h: 1, w: 1, ..*x }]),
            _ => Err(format!("needs one input with pixels, got {x:?}")),
        }
    }
    fn keeps(&self, _: Set) -> Keeps {
        Keeps::NOTHING
    }
    fn forward<T: Real>(&self, m: Host<T>) {
        let ([y, ..], x) = (m.out, m.xs[0]);
        let k = T::of(1.0 / (x.h as f64 * x.w as f64));
        y.par_chunks_mut(x.c as usize).zip(m.x[0].par_chunks(x.per_image())).for_each(|(y, image)| {
            y.fill(T::ZERO);
            for pixel in image.chunks(x.c as usize) {
                y.iter_mut().zip(pixel).for_each(|(y, &p)| *y += p);
            }
            y.iter_mut().for_each(|y| *y *= k);
        });
    }
    fn backward<T: Real>(&self, m: Host<T>) {
        let ([dx, ..], x) = (m.out, m.xs[0]);
        let k = T::of(1.0 / (x.h as f64 * x.w as f64));
        dx.par_chunks_mut(x.per_image()).zip(m.dy.par_chunks(x.c as usize)).for_each(|(dx, dy)| {
            for pixel in dx.chunks_mut(x.c as usize) {
                pixel.iter_mut().zip(dy).for_each(|(p, &d)| *p = d * k);
            }
        });
    }
}

pub fn cases() -> Vec<Case> {
    let row = |s| case(format!("{s}"), GlobalAvgPool, &[(s, Fill::Normal)]);
    vec![row(shape(2, 5, 7, 3)), row(shape(1, 1, 1, 9)), row(shape(32, 16, 16, 512)).bench("gap")]
}
