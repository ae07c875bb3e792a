//! Nearest upsampling by a whole factor f: each pixel becomes f×f equal ones, `y[f·h + i, f·w + j] = x[h,w]`; `dx[h,w]` = sum
//! of dy over the f×f.

use rayon::prelude::*;

use crate::core::case::{Case, Sampling, case};

use crate::core::launch::Operands;
use crate::core::op::{Halves, Host, Keeps, Op, Set};
use crate::core::real::Real;
use crate::core::shape::{Shape, shape};
use crate::core::tape::{Tape, Var};
use crate::device::tiles::vector;
use crate::error::Result;

#[derive(Debug, Clone, Copy)]
pub struct Nearest {
    pub factor: usize,
}

/// `x`: N×H×W×C → N×fH×fW×C.
pub fn nearest(t: &mut Tape, x: Var, factor: usize) -> Result<Var> {
    t.apply(Nearest { factor }, &[x])
}

/// `struct Nearest` of kernels/nearest.cu.
#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Params {
    pixels: u32,
    width: u32,
    channels: u32,
    factor: u32,
}

impl Nearest {
    /// Blocks, and the kernel's sizes.
    fn params(&self, x: Shape) -> (usize, Params) {
        let p = Params { pixels: x.n * x.h * x.w, width: x.w, channels: x.c, factor: self.factor as u32 };
        ((x.len() / vector(x.c as usize)).div_ceil(256), p)
    }
}

impl Op for Nearest {
    fn name(&self) -> &'static str {
        "nearest"
    }
    fn infer(&self, x: &[Shape]) -> Result<Vec<Shape>, String> {
        match x {
            [x] if self.factor > 0 => {
                let (n, h, w, c) = x.dims();
                Ok(vec![shape(n, self.factor * h, self.factor * w, c)])
            }
            _ => Err(format!("needs one input and a factor above 0, got {x:?} and {}", self.factor)),
        }
    }
    fn halves(&self) -> Halves {
        Halves::follow(Set::of(0))
    }
    fn keeps(&self, _: Set) -> Keeps {
        Keeps::NOTHING
    }
    fn forward<T: Real>(&self, m: Host<T>) {
        let ([y, ..], f, (row, c)) = (m.out, self.factor, ((m.xs[0].w * m.xs[0].c) as usize, m.xs[0].c as usize));
        y.par_chunks_mut(f * f * row).zip(m.x[0].par_chunks(row)).for_each(|(y, x)| {
            for y in y.chunks_mut(f * row) {
                y.chunks_mut(f * c).zip(x.chunks(c)).for_each(|(y, x)| y.chunks_mut(c).for_each(|y| y.copy_from_slice(x)));
            }
        });
    }
    fn backward<T: Real>(&self, m: Host<T>) {
        let ([dx, ..], f, (row, c)) = (m.out, self.factor, ((m.xs[0].w * m.xs[0].c) as usize, m.xs[0].c as usize));
        dx.par_chunks_mut(row).zip(m.dy.par_chunks(f * f * row)).for_each(|(dx, dy)| {
            dx.fill(T::ZERO);
            for dy in dy.chunks(f * row) {
                for (dx, dy) in dx.chunks_mut(c).zip(dy.chunks(f * c)) {
                    dy.chunks(c).for_each(|dy| dx.iter_mut().zip(dy).for_each(|(dx, &d)| *dx += d));
                }
            }
        });
    }

    fn gpu_forward(&self, g: &Operands) -> Result<()> {
        let (blocks, p) = self.params(g.xs[0]);
        g.call("nearest_fwd_f32")?.grid([blocks, 1, 1]).block(256).write(g.out(0)).read(g.x(0)).value(&p).go()
    }
    fn gpu_backward(&self, g: &Operands) -> Result<()> {
        let (blocks, p) = self.params(g.xs[0]);
        g.call("nearest_bwd_f32")?.grid([blocks, 1, 1]).block(256).write(g.out(0)).read(g.dy()).value(&p).go()
    }
}

pub fn cases() -> Vec<Case> {
    let row = |factor, s| case(format!("×{factor} {s}"), Nearest { factor }, &[(s, Sampling::Normal)]);
    // Channels one by one and by fours, around the 256 threads of a block; other factors; one pixel.
    vec![
        row(2, shape(2, 3, 5, 3)),
        row(2, shape(1, 4, 3, 8)),
        row(2, shape(1, 1, 1, 1)),
        row(3, shape(2, 2, 3, 5)),
        row(4, shape(1, 2, 1, 4)),
        row(1, shape(1, 2, 3, 2)),
        row(2, shape(1, 5, 51, 1)),
        row(2, shape(1, 8, 8, 16)),
        row(2, shape(1, 1, 257, 4)),
        row(2, shape(32, 32, 32, 64)).bench("transfer.decoder"),
    ]
}
