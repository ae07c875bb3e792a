//! Average pooling. y = mean of each k×k window over its pixels inside the picture; dx = Σ dy / pixels over the windows that
//! hold x. So padding counts for nothing (torch's `count_include_pad=False`). Caffe counts the pixels of `pad` in a window that
//! it cuts; where there is no padding, and `ceil` lets the last window hang over the edge, both divide by what is inside.

use rayon::prelude::*;

use super::max_pool::MaxPool;
use crate::core::case::{Case, Sampling, case};
use crate::core::launch::Operands;
use crate::core::op::{Halves, Host, Keeps, Op, Set};
use crate::core::real::Real;
use crate::core::shape::{Shape, shape};
use crate::core::tape::{Tape, Var};
use crate::device::tiles::vector;
use crate::error::Result;

#[derive(Debug, Clone, Copy)]
pub struct AvgPool {
    pub kernel: usize,
    pub stride: usize,
    pub pad: usize,
    pub ceil: bool,
}

/// `k`×`k` windows every `stride` pixels, no padding.
pub fn avg_pool(t: &mut Tape, x: Var, kernel: usize, stride: usize) -> Result<Var> {
    t.apply(AvgPool { kernel, stride, pad: 0, ceil: false }, &[x])
}

impl AvgPool {
    /// The op with the same windows.
    fn windows(&self) -> MaxPool {
        MaxPool { kernel: self.kernel, stride: self.stride, pad: self.pad, ceil: self.ceil }
    }
    /// Rows and columns of window `o` of a picture of `x`, whose result is `y`, and the number of its pixels.
    fn window<T: Real>(&self, o: usize, x: Shape, y: Shape) -> (std::ops::Range<usize>, std::ops::Range<usize>, T) {
        let (of, columns) = (self.windows(), y.w as usize);
        let (down, across) = (of.window(o / columns, x.h as usize), of.window(o % columns, x.w as usize));
        let pixels = T::of((down.len() * across.len()) as f64);
        (down, across, pixels)
    }
}

impl Op for AvgPool {
    fn name(&self) -> &'static str {
        "avg_pool"
    }
    fn infer(&self, x: &[Shape]) -> Result<Vec<Shape>, String> {
        self.windows().infer(x)
    }
    fn halves(&self) -> Halves {
        Halves::follow(Set::of(0))
    }
    fn keeps(&self, _: Set) -> Keeps {
        Keeps::NOTHING
    }
    fn forward<T: Real>(&self, m: Host<T>) {
        let ([y, ..], x, xs, ys) = (m.out, m.x[0], m.xs[0], m.ys[0]);
        let (w, c) = (xs.w as usize, xs.c as usize);
        y.par_chunks_mut(ys.per_image()).zip(x.par_chunks(xs.per_image())).for_each(|(y, x)| {
            for (o, y) in y.chunks_exact_mut(c).enumerate() {
                let (down, across, pixels) = self.window::<T>(o, xs, ys);
                y.fill(T::ZERO);
                for p in down {
                    for pixel in x[(p * w + across.start) * c..(p * w + across.end) * c].chunks_exact(c) {
                        y.iter_mut().zip(pixel).for_each(|(y, &x)| *y += x);
                    }
                }
                y.iter_mut().for_each(|y| *y = *y / pixels);
            }
        });
    }
    fn backward<T: Real>(&self, m: Host<T>) {
        let ([dx, ..], dy, xs, ys) = (m.out, m.dy, m.xs[0], m.ys[0]);
        let (w, c) = (xs.w as usize, xs.c as usize);
        dx.par_chunks_mut(xs.per_image()).zip(dy.par_chunks(ys.per_image())).for_each(|(dx, dy)| {
            dx.fill(T::ZERO);
            for (o, dy) in dy.chunks_exact(c).enumerate() {
                let (down, across, pixels) = self.window::<T>(o, xs, ys);
                for p in down {
                    for pixel in dx[(p * w + across.start) * c..(p * w + across.end) * c].chunks_exact_mut(c) {
                        pixel.iter_mut().zip(dy).for_each(|(dx, &dy)| *dx += dy / pixels);
                    }
                }
            }
        });
    }

    fn gpu_forward(&self, g: &Operands) -> Result<()> {
        let threads = g.ys[0].len() / vector(g.ys[0].c as usize);
        let call = g.call("avg_pool_fwd_f32")?.grid([threads.div_ceil(256), 1, 1]).block(256);
        call.write(g.out(0)).read(g.x(0)).value(&self.windows().params(g)).go()
    }
    fn gpu_backward(&self, g: &Operands) -> Result<()> {
        let threads = g.xs[0].len() / vector(g.xs[0].c as usize);
        let call = g.call("avg_pool_bwd_f32")?.grid([threads.div_ceil(256), 1, 1]).block(256);
        call.write(g.out(0)).read(g.dy()).value(&self.windows().params(g)).go()
    }
}

pub fn cases() -> Vec<Case> {
    let row = |kernel, stride, pad, ceil, s| {
        let op = AvgPool { kernel, stride, pad, ceil };
        case(format!("k{kernel}s{stride}p{pad}{} {s}", if ceil { " ceil" } else { "" }), op, &[(s, Sampling::Normal)])
    };
    vec![
        row(2, 2, 0, false, shape(2, 6, 4, 3)),
        row(1, 1, 0, false, shape(1, 1, 1, 1)),
        // Windows that overlap, hang over the edge, and are cut by padding.
        row(3, 2, 0, true, shape(2, 6, 7, 2)),
        row(3, 2, 1, true, shape(2, 9, 10, 8)),
        row(3, 1, 1, false, shape(1, 5, 5, 3)),
        row(5, 1, 2, true, shape(1, 7, 6, 2)),
        row(7, 1, 3, false, shape(1, 3, 8, 4)),
        // Gaps between windows, and pixels that lie in none.
        row(2, 3, 1, true, shape(1, 7, 9, 5)),
        row(3, 2, 0, false, shape(2, 6, 8, 4)),
        // Vectors of four channels around the 256 threads of a block, forward and backward.
        row(2, 2, 0, false, shape(1, 10, 34, 12)),
        row(2, 2, 0, false, shape(1, 16, 32, 8)),
        row(2, 2, 0, false, shape(1, 2, 514, 4)),
        row(2, 1, 0, false, shape(1, 2, 128, 4)),
        row(2, 1, 0, false, shape(1, 2, 129, 4)),
        row(3, 2, 0, true, shape(64, 15, 15, 128)).bench("mislnet.16"),
    ]
}
