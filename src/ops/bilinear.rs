//! Bilinear resize. Output row o reads input rows i0 and i1 with weights 1 − λ and λ (columns likewise); [`tap`] gives them.
//! Backward is a gather over rows: every input row sums what it gave, so no two threads meet and the result is deterministic.

use rayon::prelude::*;

use crate::core::case::{Case, Sampling, case};

use crate::core::launch;
use crate::core::launch::Operands;
use crate::core::op::{Halves, Host, Keeps, Op, Pass, Set};
use crate::core::real::Real;
use crate::core::shape::{Shape, shape};
use crate::core::tape::{Tape, Var};
use crate::device::Precision;
use crate::error::{Error, Result};

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
    let (scale, half) =
        if align_corners && len > 1 { ((out.max(2) - 1) as f64 / (len - 1) as f64, 0.0) } else { (out as f64 / len as f64, 0.5) };
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

/// One axis as the kernels see it: `struct Axis` of kernels/axis.cuh. Output `o` reads position `(o·step + base) / den`, held inside
/// the input; the same numbers as [`tap`], but whole ones, which a GPU has no need to round.
#[repr(C)]
#[derive(Clone, Copy, Debug, bytemuck::Pod, bytemuck::Zeroable)]
pub(super) struct Axis {
    len: i32,
    out: i32,
    step: i32,
    base: i32,
    den: i32,
    inv: f32,
}

impl Axis {
    /// Fails where a position no longer fits 31 bits: at 2·len·out ≥ 2³¹.
    pub(super) fn new(g: &Operands, kernel: &str, len: usize, out: usize, align_corners: bool) -> Result<Axis> {
        if 2 * (len + 1) * (out + 1) > i32::MAX as usize {
            let why = format!("{len} pixels to {out}: the product must stay below 2³⁰; resize in two steps");
            return Err(Error::Launch { kernel: kernel.to_string(), at: g.at.to_string(), why });
        }
        let (l, o) = (len as i32, out as i32);
        let (step, base, den) = match align_corners {
            true if out > 1 => (l - 1, 0, o - 1),
            true => (0, 0, 1),
            false => (2 * l, l - o, 2 * o),
        };
        Ok(Axis { len: l, out: o, step, base, den, inv: 1.0 / den as f32 })
    }
}

/// `struct Bilinear` of kernels/bilinear.cu.
#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Params {
    y: Axis,
    x: Axis,
    c: u32,
    vec: u32,
}

/// `struct Along` of kernels/bilinear.cu: one axis of `before` × axis × `after` values.
#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Along {
    axis: Axis,
    before: u32,
    after: u32,
}

impl Bilinear {
    fn axes(&self, g: &Operands, kernel: &str) -> Result<(Axis, Axis)> {
        let (_, h, w, _) = g.xs[0].dims();
        let axis = |len, out| Axis::new(g, kernel, len, out, self.align_corners);
        Ok((axis(h, self.h)?, axis(w, self.w)?))
    }
    /// A picture that grew more than fourfold goes back in two launches, one axis each: its pixels have many readers.
    fn separate(&self, x: Shape) -> bool {
        self.h * self.w > 4 * x.h as usize * x.w as usize
    }
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
    fn halves(&self) -> Halves {
        Halves::follow(Set::of(0))
    }
    /// What lies between the two launches of a gradient along one axis each is f32.
    fn half_on_gpu(&self, pass: Pass, xs: &[Shape]) -> bool {
        pass == Pass::Forward || !self.separate(xs[0])
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
            // First interpolate between two rows, a plain loop over a line, then along the line.
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
            // One task owns row `i` of dx. First it adds up, weighted, the rows of dy that read row `i`; the sum has the width of dy. Then it
            // adds each pixel of the sum to the two pixels of dx that the pixel was interpolated from.
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

    fn gpu_scratch(&self, pass: Pass, xs: &[Shape], _: &[Shape], _: Set, _: Precision) -> usize {
        match pass {
            Pass::Backward if self.separate(xs[0]) => launch::F32 * Shape { w: self.w as u32, ..xs[0] }.len(),
            _ => 0,
        }
    }
    fn gpu_forward(&self, g: &Operands) -> Result<()> {
        let (x, y) = (g.x(0), g.out(0));
        let (n, _, _, c) = g.xs[0].dims();
        let (down, across) = self.axes(g, "bilinear_fwd_f32")?;
        let vec = launch::vec4(c, &[x, y]);
        let grid = [(self.w * c / vec).div_ceil(32), self.h.div_ceil(32), n];
        let p = Params { y: down, x: across, c: c as u32, vec: vec as u32 };
        g.typed("bilinear_fwd", y)?.grid(grid).block3([32, 8, 1]).write(y).read(x).value(&p).go()
    }
    fn gpu_backward(&self, g: &Operands) -> Result<()> {
        let (dx, dy) = (g.out(0), g.dy());
        let (n, h, w, c) = g.xs[0].dims();
        let (down, across) = self.axes(g, "bilinear_bwd_f32")?;
        if self.separate(g.xs[0]) {
            let half = g.scratch(0, n * h * self.w * c);
            let along = |axis: Axis, before: usize, after: usize, dx, dy| {
                let grid = [(before * axis.len as usize * after).div_ceil(256), 1, 1];
                let p = Along { axis, before: before as u32, after: after as u32 };
                g.call("bilinear_axis_bwd_f32")?.grid(grid).block(256).write(dx).read(dy).value(&p).go()
            };
            along(down, n, self.w * c, half, dy)?;
            return along(across, n * h, c, dx, half);
        }
        let vec = launch::vec4(c, &[dx, dy]);
        let grid = [(w * c / vec).div_ceil(32), h.div_ceil(8), n];
        let p = Params { y: down, x: across, c: c as u32, vec: vec as u32 };
        g.typed("bilinear_bwd", dx)?.grid(grid).block3([32, 8, 1]).write(dx).read(dy).value(&p).go()
    }
}

pub fn cases() -> Vec<Case> {
    let row = |s, h, w, align_corners| {
        let label = format!("{s} to {h}×{w}{}", if align_corners { " corners" } else { "" });
        case(label, Bilinear { h, w, align_corners }, &[(s, Sampling::Normal)])
    };
    let mut rows = vec![];
    for corners in [false, true] {
        rows.extend([
            row(shape(2, 4, 3, 2), 9, 8, corners),
            row(shape(1, 7, 9, 3), 3, 4, corners),
            row(shape(1, 1, 5, 1), 4, 1, corners),
            row(shape(1, 4, 4, 2), 4, 4, corners),
            // Four channels at once; rows and columns that end inside a block; many readers a pixel.
            row(shape(2, 5, 6, 8), 7, 9, corners),
            row(shape(1, 33, 11, 3), 35, 12, corners),
            row(shape(2, 3, 16, 4), 17, 37, corners),
            row(shape(1, 2, 1, 3), 1, 3, corners),
            // Each of a thread's four rows is the first below the picture.
            row(shape(1, 3, 2, 1), 29, 3, corners),
            row(shape(1, 2, 2, 4), 12, 2, corners),
            row(shape(1, 2, 2, 4), 26, 2, corners),
        ]);
    }
    rows.push(row(shape(32, 16, 16, 1), 64, 64, false).bench("attention map"));
    rows.push(row(shape(4, 256, 256, 3), 224, 224, false).bench("comparator input"));
    rows
}
