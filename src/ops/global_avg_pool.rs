//! Global average pooling: `y[n,c]` = mean over h, w of x; `dx[n,h,w,c] = dy[n,c] / (h·w)`.

use rayon::prelude::*;

use crate::core::case::{Case, Sampling, case};

use crate::core::launch::Operands;
use crate::core::op::{Halves, Host, Keeps, Op, Pass, Set};
use crate::core::real::Real;
use crate::core::shape::{Shape, shape};
use crate::core::tape::{Tape, Var};
use crate::device::tiles::Tiles;
use crate::error::Result;

#[derive(Debug, Clone)]
pub struct GlobalAvgPool;

/// `x`: N×H×W×C → N×1×1×C.
pub fn global_avg_pool(t: &mut Tape, x: Var) -> Result<Var> {
    t.apply(GlobalAvgPool, &[x])
}

/// `struct Gap` of kernels/global_avg_pool.cu.
#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Params {
    pixels: u32,
    channels: u32,
    across: u32,
    split: u32,
}

impl Params {
    /// Tiles of one picture and the kernel's sizes.
    fn of(x: Shape, width: usize) -> (Tiles, Params) {
        let pixels = (x.h * x.w) as usize;
        let t = Tiles::new(pixels, x.c as usize, width);
        (t, Params { pixels: pixels as u32, channels: x.c, across: t.across as u32, split: t.split as u32 })
    }
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
    fn halves(&self) -> Halves {
        Halves::sum(Set::of(0))
    }
    fn half_on_gpu(&self, _: Pass, _: &[Shape]) -> bool {
        true
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

    fn gpu_forward(&self, g: &Operands) -> Result<()> {
        let x = g.xs[0];
        // Narrow blocks of eight groups: 128 bytes of each pixel, and four times as many blocks as wide ones give.
        let (t, p) = Params::of(x, 8);
        let call =
            g.typed("global_avg_pool_fwd", g.x(0))?.grid([x.n as usize * t.across, 1, 1]).block3([t.block[0], t.block[1], 1]);
        call.write(g.out(0)).read(g.x(0)).value(&p).go()
    }
    fn gpu_backward(&self, g: &Operands) -> Result<()> {
        let x = g.xs[0];
        let (t, p) = Params::of(x, 32);
        let grid = [x.n as usize * t.across, t.splits, 1];
        let call = g.typed("global_avg_pool_bwd", g.out(0))?.grid(grid).block3([t.block[0], t.block[1], 1]);
        call.write(g.out(0)).read(g.dy()).value(&p).go()
    }
}

pub fn cases() -> Vec<Case> {
    let row = |s| case(format!("{s}"), GlobalAvgPool, &[(s, Sampling::Normal)]);
    // Channels one by one and by fours, tiles of 8 and 32 groups with a rest, more pixels than a block takes.
    let small = [
        (2, 5, 7, 3),
        (1, 1, 1, 9),
        (2, 3, 3, 8),
        (2, 8, 9, 33),
        (1, 9, 15, 36),
        (2, 5, 13, 132),
        (3, 1, 2, 32),
        (1, 9, 15, 9),
        (2, 5, 21, 20),
    ];
    let mut rows: Vec<Case> = small.iter().map(|&(n, h, w, c)| row(shape(n, h, w, c))).collect();
    rows.push(row(shape(32, 16, 16, 512)).bench("gap"));
    rows
}
