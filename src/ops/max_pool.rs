//! Max pooling. y = largest value of each k×k window; ties go to the first in row order, and so does the whole gradient.
//! Padding never wins. With `ceil` the last window may hang over the edge (Caffe's rule; torch's `ceil_mode`).

use rayon::prelude::*;

use crate::core::case::{Case, Sampling, case};

use crate::core::launch::Operands;
use crate::core::op::{Halves, Host, Keeps, Op, Pass, Set};
use crate::core::real::Real;
use crate::core::shape::{Shape, shape};
use crate::core::tape::{Tape, Var};
use crate::device::tiles::vector;
use crate::error::Result;

#[derive(Debug, Clone, Copy)]
pub struct MaxPool {
    pub kernel: usize,
    pub stride: usize,
    pub pad: usize,
    pub ceil: bool,
}

/// `k`×`k` windows every `stride` pixels, no padding.
pub fn max_pool(t: &mut Tape, x: Var, kernel: usize, stride: usize) -> Result<Var> {
    t.apply(MaxPool { kernel, stride, pad: 0, ceil: false }, &[x])
}

impl MaxPool {
    fn out(&self, len: usize) -> Option<usize> {
        let span = (len + 2 * self.pad).checked_sub(self.kernel)?;
        let n = if self.ceil { span.div_ceil(self.stride) } else { span / self.stride } + 1;
        // A window must start inside the picture or its leading padding.
        Some(if self.ceil && (n - 1) * self.stride >= len + self.pad { n - 1 } else { n })
    }
    /// The part of window `o` that lies inside `0..len`.
    pub(super) fn window(&self, o: usize, len: usize) -> std::ops::Range<usize> {
        let start = (o * self.stride) as isize - self.pad as isize;
        start.max(0) as usize..((start + self.kernel as isize) as usize).min(len)
    }
}

/// `struct Pool` of kernels/pool.cuh.
#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
pub(super) struct Params {
    x: Shape,
    y: Shape,
    kernel: u32,
    stride: u32,
    pad: u32,
}

impl MaxPool {
    pub(super) fn params(&self, g: &Operands) -> Params {
        let [kernel, stride, pad] = [self.kernel, self.stride, self.pad].map(|n| n as u32);
        Params { x: g.xs[0], y: g.ys[0], kernel, stride, pad }
    }
}

impl Op for MaxPool {
    fn name(&self) -> &'static str {
        "max_pool"
    }
    fn infer(&self, x: &[Shape]) -> Result<Vec<Shape>, String> {
        let [x] = x else { return Err(format!("needs one input, got {}", x.len())) };
        if self.stride == 0 || self.kernel == 0 || self.pad * 2 > self.kernel {
            return Err(format!("kernel and stride must be positive and padding at most half the kernel: {self:?}"));
        }
        match (self.out(x.h as usize), self.out(x.w as usize)) {
            (Some(h), Some(w)) => Ok(vec![shape(x.n as usize, h, w, x.c as usize)]),
            _ => Err(format!("a {0}×{0} window does not fit into {x}", self.kernel)),
        }
    }
    fn halves(&self) -> Halves {
        Halves::follow(Set::of(0))
    }
    fn half_on_gpu(&self, _: Pass, _: &[Shape]) -> bool {
        true
    }
    fn keeps(&self, _: Set) -> Keeps {
        Keeps { x: Set::of(0), y: Set::of(0) }
    }
    fn scratch(&self, pass: Pass, xs: &[Shape], _: &[Shape], _: Set) -> usize {
        if pass == Pass::Backward { (xs[0].n * xs[0].c) as usize } else { 0 }
    }
    fn forward<T: Real>(&self, m: Host<T>) {
        let ([y, ..], x, (_, h, w, c), ys) = (m.out, m.x[0], m.xs[0].dims(), m.ys[0]);
        let (rows, row) = (ys.h as usize, (ys.w * ys.c) as usize);
        y.par_chunks_mut(row).enumerate().for_each(|(i, y)| {
            let image = &x[i / rows * h * w * c..][..h * w * c];
            let down = self.window(i % rows, h);
            for (q, y) in y.chunks_mut(c).enumerate() {
                let across = self.window(q, w);
                y.copy_from_slice(&image[(down.start * w + across.start) * c..][..c]);
                for p in down.clone() {
                    for pixel in image[(p * w + across.start) * c..(p * w + across.end) * c].chunks_exact(c) {
                        y.iter_mut().zip(pixel).for_each(|(y, &v)| *y = if v > *y { v } else { *y });
                    }
                }
            }
        });
    }
    fn backward<T: Real>(&self, m: Host<T>) {
        let ([dx, ..], x, y, dy, (_, _, w, c), ys) = (m.out, m.x[0], m.y[0], m.dy, m.xs[0].dims(), m.ys[0]);
        let (per_x, per_y) = (m.xs[0].per_image(), ys.per_image());
        let images = dx.par_chunks_mut(per_x).zip(x.par_chunks(per_x)).zip(m.scratch.par_chunks_mut(c));
        images.zip(y.par_chunks(per_y).zip(dy.par_chunks(per_y))).for_each(|(((dx, x), left), (y, dy))| {
            dx.fill(T::ZERO);
            for (o, (y, dy)) in y.chunks_exact(c).zip(dy.chunks_exact(c)).enumerate() {
                let (down, across) = (self.window(o / ys.w as usize, m.xs[0].h as usize), self.window(o % ys.w as usize, w));
                // `left` is dy until the first pixel equal to y takes it, then 0: later equal pixels get nothing.
                left.copy_from_slice(dy);
                for p in down {
                    for q in across.clone() {
                        let at = (p * w + q) * c;
                        let (dx, x) = (dx[at..at + c].iter_mut(), &x[at..at + c]);
                        for (((dx, left), &x), &y) in dx.zip(&mut *left).zip(x).zip(y) {
                            let take = if x == y { *left } else { T::ZERO };
                            *dx += take;
                            *left -= take;
                        }
                    }
                }
            }
        });
    }

    fn gpu_forward(&self, g: &Operands) -> Result<()> {
        let threads = g.ys[0].len() / vector(g.ys[0].c as usize);
        let call = g.typed("max_pool_fwd", g.out(0))?.grid([threads.div_ceil(256), 1, 1]).block(256);
        call.write(g.out(0)).read(g.x(0)).value(&self.params(g)).go()
    }
    fn gpu_backward(&self, g: &Operands) -> Result<()> {
        let (n, h, w, c) = g.xs[0].dims();
        let (kernel, threads) = if self.kernel <= self.stride {
            let cells = |len: usize| (len + self.pad).div_ceil(self.stride);
            ("max_pool_bwd", n * cells(h) * cells(w) * (c / vector(c)))
        } else {
            ("max_pool_overlap_bwd", g.xs[0].len())
        };
        let call = g.typed(kernel, g.out(0))?.grid([threads.div_ceil(256), 1, 1]).block(256).write(g.out(0));
        call.read(g.x(0)).read(g.y(0)).read(g.dy()).value(&self.params(g)).go()
    }
}

pub fn cases() -> Vec<Case> {
    let row = |kernel, stride, pad, ceil, s| {
        let op = MaxPool { kernel, stride, pad, ceil };
        case(format!("k{kernel}s{stride}p{pad}{} {s}", if ceil { " ceil" } else { "" }), op, &[(s, Sampling::Distinct)])
    };
    let ties = |kernel, stride, pad, s| {
        let op = MaxPool { kernel, stride, pad, ceil: false };
        case(format!("k{kernel}s{stride}p{pad} {s}, ties"), op, &[(s, Sampling::Binary)]).withholds()
    };
    vec![
        row(2, 2, 0, false, shape(2, 6, 4, 3)),
        row(2, 2, 0, false, shape(1, 5, 7, 2)),
        row(4, 4, 0, false, shape(1, 8, 9, 2)),
        row(3, 2, 0, true, shape(2, 6, 7, 2)),
        row(3, 2, 1, false, shape(2, 6, 7, 2)),
        row(3, 1, 1, false, shape(1, 5, 5, 3)),
        // Windows with gaps between them, padding without overlap, and vectors of four channels around the 256 threads of a block.
        row(2, 3, 0, false, shape(2, 8, 7, 3)),
        row(2, 3, 1, true, shape(1, 7, 9, 5)),
        row(2, 2, 1, false, shape(2, 5, 6, 4)),
        row(2, 2, 0, false, shape(1, 10, 34, 12)),
        row(2, 2, 0, false, shape(1, 16, 32, 8)),
        row(2, 2, 0, false, shape(1, 2, 514, 4)),
        row(3, 2, 1, true, shape(2, 9, 10, 8)),
        row(4, 4, 0, false, shape(1, 8, 13, 4)),
        row(5, 2, 2, false, shape(1, 9, 11, 3)),
        row(5, 1, 2, true, shape(1, 7, 6, 2)),
        // Windows cut to every width, of four channels too; windows in the padding alone.
        row(5, 2, 2, false, shape(1, 6, 9, 4)),
        row(7, 1, 3, false, shape(1, 3, 8, 4)),
        row(6, 2, 3, true, shape(1, 4, 7, 1)),
        // Windows that overlap, and pixels that lie in none.
        row(3, 2, 0, false, shape(2, 6, 8, 2)),
        // Equal values: the first wins, also between windows.
        ties(2, 2, 0, shape(2, 6, 8, 4)),
        ties(3, 2, 0, shape(2, 9, 8, 3)),
        ties(3, 1, 1, shape(1, 6, 7, 2)),
        row(2, 2, 0, false, shape(32, 64, 64, 64)).bench("vgg.4"),
    ]
}
