//! Weighted sum of the channels, with weights of each picture: `y[n,h,w] = Σ_c a[n,c]·x[n,h,w,c]`. What class activation maps are made
//! by, which nothing is trained through: there is no gradient.

use rayon::prelude::*;

use crate::core::case::{Case, Sampling, case};
use crate::core::launch::Operands;
use crate::core::op::{Host, Keeps, Op, Set};
use crate::core::real::Real;
use crate::core::shape::{Shape, shape};
use crate::core::tape::{Tape, Var};
use crate::error::Result;

#[derive(Debug, Clone)]
pub struct WeighChannels;

/// `x`: N×H×W×C, `a`: N×1×1×C → N×H×W×1.
pub fn weigh_channels(t: &mut Tape, x: Var, a: Var) -> Result<Var> {
    t.apply(WeighChannels, &[x, a])
}

/// `struct WeighChannels` of kernels/weigh_channels.cu.
#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Params {
    pixels: u32,
    image: u32,
    channels: u32,
}

/// Pixels of a block, each summed by a warp.
const PIXELS: usize = 8;

impl Op for WeighChannels {
    fn name(&self) -> &'static str {
        "weigh_channels"
    }
    fn infer(&self, x: &[Shape]) -> Result<Vec<Shape>, String> {
        match x {
            [x, a] if !x.is_empty() && *a == (Shape { h: 1, w: 1, ..*x }) => Ok(vec![Shape { c: 1, ..*x }]),
            _ => Err(format!("needs maps N×H×W×C and weights N×1×1×C, got {x:?}")),
        }
    }
    fn keeps(&self, _: Set) -> Keeps {
        Keeps::NOTHING
    }
    fn differentiable(&self) -> Set {
        Set::NONE
    }
    fn forward<T: Real>(&self, m: Host<T>) {
        let ([y, ..], x) = (m.out, m.xs[0]);
        let (c, pixels) = (x.c as usize, (x.h * x.w) as usize);
        y.par_chunks_mut(pixels).zip(m.x[0].par_chunks(x.per_image())).zip(m.x[1].par_chunks(c)).for_each(|((y, x), a)| {
            for (y, x) in y.iter_mut().zip(x.chunks(c)) {
                *y = x.iter().zip(a).fold(T::ZERO, |sum, (&x, &a)| sum + a * x);
            }
        });
    }
    fn backward<T: Real>(&self, _: Host<T>) {}

    fn gpu_forward(&self, g: &Operands) -> Result<()> {
        let (x, pixels) = (g.xs[0], g.ys[0].len());
        let p = Params { pixels: pixels as u32, image: x.h * x.w, channels: x.c };
        let call = g.call("weigh_channels_fwd_f32")?.grid([pixels.div_ceil(PIXELS), 1, 1]).block(32 * PIXELS);
        call.write(g.out(0)).read(g.x(0)).read(g.x(1)).value(&p).go()
    }
}

pub fn cases() -> Vec<Case> {
    let row = |x: Shape| {
        let inputs = [(x, Sampling::Normal), (Shape { h: 1, w: 1, ..x }, Sampling::Normal)];
        case(format!("{x}"), WeighChannels, &inputs)
    };
    // Channels one by one and by fours, below, at and above those of a warp; pixels around the eight of a block, and around pictures.
    let small = [
        (1, 1, 1, 1),
        (2, 3, 3, 3),
        (3, 2, 4, 31),
        (1, 3, 3, 33),
        (2, 1, 7, 32),
        (1, 1, 9, 128),
        (3, 5, 3, 132),
        (2, 2, 2, 257),
        (1, 5, 5, 516),
    ];
    let mut rows: Vec<Case> = small.iter().map(|&(n, h, w, c)| row(shape(n, h, w, c))).collect();
    rows.push(row(shape(32, 10, 10, 2048)).bench("xception.act4"));
    rows
}
