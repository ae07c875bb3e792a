//! Bilinear resize. Output row o reads input rows i0 and i1 with weights 1 − λ and λ (columns likewise); [`tap`] gives them.
//! Backward is a gather over rows: every input row sums what it gave, so no two threads meet and the result is deterministic.

use rayon::prelude::*;

use super::{Case, Fill, case};
use crate::core::op::{Host, Keeps, Op, Pass, Set};
use crate::core::real::Real;
use crate::core::shape::{Shape, shape};
use crate::core::tape::{Tape, Var};
use crate::error::Result;

#[derive(Debug, Clone)]
pub struct Bilinear {
    pub h: usize,
    pub w: usize,
    pub align_corners: bool,
}

/// Resize to `h`×`w`.
pub fn bilinear(t: &mut Tape, x: Var, h: usize, w: usize, align_corners: bool) -> Result<Var> {
    t.apply(Bilinear { h, w, align_corners }, &[x])
}

/// Row `o` of `out` rows made from `len`: `(i0, i1, λ)`. PyTorch's rule: pixel centres at half, or corners on corners.
pub fn tap(o: usize, len: usize, out: usize, align_corners: bool) -> (usize, usize, f64) {
    let src = if align_corners {
        if out > 1 { o as f64 * (len - 1) as f64 / (out - 1) as f64 } else { 0.0 }
    } else {
        ((o as f64 + 0.5) * len as f64 / out as f64 - 0.5).max(0.0)
    };
    let i0 = (src as usize).min(len - 1);
    (i0, (i0 + 1).min(len - 1), (src - i0 as f64).clamp(0.0, 1.0))
}

/// The outputs that may read input `i`: those whose source lies within one pixel of it.
fn readers(i: usize, len: usize, out: usize, align_corners: bool) -> std::ops::Range<usize> {
    let (scale, half) = if align_corners && len > 1 {
        ((out.max(2) - 1) as f64 / (len - 1) as f64, 0.0)
    } else {
        (out as f64 / len as f64, 0.5)
    };
    let at = |s: f64| (s + half) * scale - half;
    let lo = if i == 0 { 0.0 } else { (at(i as f64 - 1.0) - 1.0).max(0.0) };
    let hi = if i + 1 >= len { out as f64 } else { (at(i as f64 + 1.0) + 2.0).clamp(0.0, out as f64) };
    lo as usize..hi as usize
}

/// The weight with which output `o` reads input `i`.
fn weight(o: usize, i: usize, len: usize, out: usize, align_corners: bool) -> f64 {
    let (i0, i1, l) = tap(o, len, out, align_corners);
    (if i0 == i { 1.0 - l } else { 0.0 }) + (if i1 == i { l } else { 0.0 })
}

impl Op for Bilinear {
    fn name(&self) -> &'static str {
        "bilinear"
    }
    fn infer(&self, x: &[Shape]) -> Result<Vec<Shape>, String> {
        match x {
            [x] if !x.is_empty() && self.h > 0 && self.w > 0 => Ok(vec![shape(x.n as usize, self.h, self.w, x.c as usize)]),
            _ => Err(format!("cannot resize {x:?} to {}×{}", self.h, self.w)),
        }
    }
    fn keeps(&self, _: Set) -> Keeps {
        Keeps::NOTHING
    }
    fn scratch(&self, pass: Pass, xs: &[Shape], _: &[Shape], _: Set) -> usize {
        let (n, h, w, c) = xs[0].dims();
        match pass {
            Pass::Forward => n * self.h * w * c,
            Pass::Backward => n * h * self.w * c,
        }
    }
    fn forward<T: Real>(&self, m: Host<T>) {
        let ([y, ..], x, (_, h, w, c)) = (m.out, m.x[0], m.xs[0].dims());
        let rows = y.par_chunks_mut(self.w * c).zip(m.scratch.par_chunks_mut(w * c));
        rows.enumerate().for_each(|(row, (y, line))| {
            let image = &x[row / self.h * h * w * c..][..h * w * c];
            // First down, then across: the first is a plain loop over a line.
            let (r0, r1, l) = tap(row % self.h, h, self.h, self.align_corners);
            let l = T::of(l);
            let (top, bottom) = (&image[r0 * w * c..][..w * c], &image[r1 * w * c..][..w * c]);
            line.iter_mut().zip(top).zip(bottom).for_each(|((o, &a), &b)| *o = (T::ONE - l) * a + l * b);
            for (q, y) in y.chunks_mut(c).enumerate() {
                let (c0, c1, k) = tap(q, w, self.w, self.align_corners);
                let k = T::of(k);
                let (left, right) = (&line[c0 * c..][..c], &line[c1 * c..][..c]);
                y.iter_mut().zip(left).zip(right).for_each(|((y, &a), &b)| *y = (T::ONE - k) * a + k * b);
            }
        });
    }
    fn backward<T: Real>(&self, m: Host<T>) {
        let ([dx, ..], dy, (_, h, w, c)) = (m.out, m.dy, m.xs[0].dims());
        let wide = self.w * c;
        let rows = dx.par_chunks_mut(w * c).zip(m.scratch.par_chunks_mut(wide));
        rows.enumerate().for_each(|(row, (dx, line))| {
            let image = &dy[row / h * self.h * wide..][..self.h * wide];
            let i = row % h;
            // Gather what the row gave to rows of dy, then deal it out along the row, which one thread owns.
            line.fill(T::ZERO);
            for p in readers(i, h, self.h, self.align_corners) {
                let a = T::of(weight(p, i, h, self.h, self.align_corners));
                if a != T::ZERO {
                    line.iter_mut().zip(&image[p * wide..]).for_each(|(o, &d)| *o += a * d);
                }
            }
            dx.fill(T::ZERO);
            for (q, d) in line.chunks(c).enumerate() {
                let (c0, c1, k) = tap(q, w, self.w, self.align_corners);
                let k = T::of(k);
                dx[c0 * c..][..c].iter_mut().zip(d).for_each(|(dx, &d)| *dx += (T::ONE - k) * d);
                dx[c1 * c..][..c].iter_mut().zip(d).for_each(|(dx, &d)| *dx += k * d);
            }
        });
    }
}

pub fn cases() -> Vec<Case> {
    let row = |s, h, w, align_corners| {
        let label = format!("{s} to {h}×{w}{}", if align_corners { " corners" } else { "" });
        case(label, Bilinear { h, w, align_corners }, &[(s, Fill::Normal)])
    };
    let mut rows = vec![];
    for corners in [false, true] {
        rows.extend([
            row(shape(2, 4, 3, 2), 9, 8, corners),
            row(shape(1, 7, 9, 3), 3, 4, corners),
            row(shape(1, 1, 5, 1), 4, 1, corners),
            row(shape(1, 4, 4, 2), 4, 4, corners),
        ]);
    }
    rows.push(row(shape(32, 16, 16, 1), 64, 64, false).bench("attention map"));
    rows.push(row(shape(4, 256, 256, 3), 224, 224, false).bench("comparator input"));
    rows
}
