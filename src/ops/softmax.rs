//! Softmax over channels with a temperature: `y = softmax(x/τ)` at every pixel; `dx = y·(dy − Σ_c y·dy) / τ`.
//!
//! For τ → 0 the largest channel is 1 and the others are 0: a mean over pixels then is a histogram.

use rayon::prelude::*;

use crate::core::case::{Case, Sampling, case};

use crate::core::launch::{F32, Operands};
use crate::core::op::{Host, Keeps, Op, Set};
use crate::core::par;
use crate::core::real::Real;
use crate::core::shape::{Shape, shape};
use crate::core::tape::{Tape, Var};
use crate::error::{Error, Result};

#[derive(Debug, Clone, Copy)]
pub struct Softmax {
    /// τ, above 0.
    pub temperature: f64,
}

/// `x`: any shape; the channels of a pixel of the result sum to 1.
pub fn softmax(t: &mut Tape, x: Var, temperature: f64) -> Result<Var> {
    t.apply(Softmax { temperature }, &[x])
}

/// `struct Softmax` of kernels/softmax.cu.
#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Params {
    rows: u32,
    channels: u32,
    tile: u32,
    scale: f32,
}

/// Bytes of shared memory that a block may have on every device.
const SHARED: usize = 48 * 1024;

impl Softmax {
    /// Blocks, bytes of shared memory and the kernel's sizes, for tiles of `buffers` operands. The pixels of a tile divide by
    /// 4, so that each tile begins at a multiple of 16 bytes whatever the channels are.
    fn tiles(&self, g: &Operands, kernel: &str, buffers: usize) -> Result<(usize, usize, Params)> {
        let x = g.xs[0];
        let (rows, c) = ((x.n * x.h * x.w) as usize, x.c as usize);
        let tile = (SHARED / (buffers * F32 * c)).min(32) / 4 * 4;
        if tile == 0 {
            let why = format!("{c} channels: a block holds four pixels, so at most {}; use fewer", SHARED / (buffers * F32 * 4));
            return Err(Error::Launch { kernel: kernel.to_string(), at: g.at.to_string(), why });
        }
        let p = Params { rows: rows as u32, channels: x.c, tile: tile as u32, scale: (1.0 / self.temperature) as f32 };
        Ok((rows.div_ceil(tile), buffers * tile * c * F32, p))
    }
}

/// Whole pixels to a task.
fn grain(c: usize) -> usize {
    (par::GRAIN / c).max(1) * c
}

impl Op for Softmax {
    fn name(&self) -> &'static str {
        "softmax"
    }
    fn infer(&self, x: &[Shape]) -> Result<Vec<Shape>, String> {
        match x {
            [x] if !x.is_empty() && self.temperature > 0.0 && self.temperature.is_finite() => Ok(vec![*x]),
            _ => Err(format!("needs one input with values and a temperature above 0, got {x:?} and {}", self.temperature)),
        }
    }
    fn keeps(&self, _: Set) -> Keeps {
        Keeps::y(Set::of(0))
    }
    fn forward<T: Real>(&self, m: Host<T>) {
        let ([y, ..], c, k) = (m.out, m.xs[0].c as usize, T::of(1.0 / self.temperature));
        y.par_chunks_mut(grain(c)).zip(m.x[0].par_chunks(grain(c))).for_each(|(y, x)| {
            for (y, x) in y.chunks_exact_mut(c).zip(x.chunks_exact(c)) {
                let top = x.iter().fold(x[0], |a, &b| a.max(b));
                y.iter_mut().zip(x).for_each(|(y, &x)| *y = ((x - top) * k).exp());
                let sum: T = y.iter().copied().sum();
                y.iter_mut().for_each(|y| *y = *y / sum);
            }
        });
    }
    fn backward<T: Real>(&self, m: Host<T>) {
        let ([dx, ..], c, k) = (m.out, m.xs[0].c as usize, T::of(1.0 / self.temperature));
        let operands = m.y[0].par_chunks(grain(c)).zip(m.dy.par_chunks(grain(c)));
        dx.par_chunks_mut(grain(c)).zip(operands).for_each(|(dx, (y, dy))| {
            for ((dx, y), dy) in dx.chunks_exact_mut(c).zip(y.chunks_exact(c)).zip(dy.chunks_exact(c)) {
                let mean: T = y.iter().zip(dy).map(|(&y, &dy)| y * dy).sum();
                dx.iter_mut().zip(y).zip(dy).for_each(|((dx, &y), &dy)| *dx = y * (dy - mean) * k);
            }
        });
    }

    fn gpu_forward(&self, g: &Operands) -> Result<()> {
        let (blocks, shared, p) = self.tiles(g, "softmax_fwd_f32", 1)?;
        let call = g.call("softmax_fwd_f32")?.grid([blocks, 1, 1]).block(256).shared(shared);
        call.write(g.out(0)).read(g.x(0)).value(&p).go()
    }
    fn gpu_backward(&self, g: &Operands) -> Result<()> {
        let (blocks, shared, p) = self.tiles(g, "softmax_bwd_f32", 2)?;
        let call = g.call("softmax_bwd_f32")?.grid([blocks, 1, 1]).block(256).shared(shared);
        call.write(g.out(0)).read(g.y(0)).read(g.dy()).value(&p).go()
    }
}

pub fn cases() -> Vec<Case> {
    let row = |s, temperature| case(format!("{s} τ {temperature}"), Softmax { temperature }, &[(s, Sampling::Normal)]);
    // Channels around a warp, pixels around a tile of 32, wide channels in smaller tiles; a sharp and a flat distribution.
    vec![
        row(shape(2, 3, 5, 7), 1.0),
        row(shape(1, 1, 1, 1), 1.0),
        row(shape(1, 1, 31, 31), 0.3),
        row(shape(2, 4, 4, 32), 1.0),
        row(shape(1, 3, 11, 33), 3.0),
        row(shape(1, 5, 13, 81), 0.25),
        row(shape(2, 2, 8, 4), 0.5),
        row(shape(1, 5, 5, 400), 1.0),
        row(shape(16, 64, 58, 81), 1.0).bench("residual.0"),
    ]
}
