//! One channel as a weighted sum of three, with constant weights: `y = w_r·R + w_g·G + w_b·B`. The luma of a picture, or one of
//! its colours. `dx[c] = w[c]·dy`.

use rayon::prelude::*;

use crate::core::case::{Case, Sampling, case};

use crate::core::launch::Operands;
use crate::core::op::{Halves, Host, Keeps, Op, Set};
use crate::core::par;
use crate::core::real::Real;
use crate::core::shape::{Shape, shape};
use crate::core::tape::{Tape, Var};
use crate::error::Result;

/// Weights of red, green and blue in the luma of ITU-R BT.601, of JPEG.
pub const LUMA: [f64; 3] = [0.299, 0.587, 0.114];

#[derive(Debug, Clone, Copy)]
pub struct Mix {
    pub weights: [f64; 3],
}

/// `x`: N×H×W×3 → N×H×W×1.
pub fn mix(t: &mut Tape, x: Var, weights: [f64; 3]) -> Result<Var> {
    t.apply(Mix { weights }, &[x])
}

/// `struct Mix` of kernels/mix.cu.
#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Params {
    pixels: u32,
    weights: [f32; 3],
}

impl Mix {
    fn params(&self, g: &Operands) -> Params {
        Params { pixels: g.ys[0].len() as u32, weights: self.weights.map(|w| w as f32) }
    }
}

impl Op for Mix {
    fn name(&self) -> &'static str {
        "mix"
    }
    fn infer(&self, x: &[Shape]) -> Result<Vec<Shape>, String> {
        match x {
            [x] if x.c == 3 => Ok(vec![Shape { c: 1, ..*x }]),
            _ => Err(format!("needs one input of three channels, got {x:?}")),
        }
    }
    fn halves(&self) -> Halves {
        Halves::follow(Set::of(0))
    }
    fn keeps(&self, _: Set) -> Keeps {
        Keeps::NOTHING
    }
    fn forward<T: Real>(&self, m: Host<T>) {
        let ([y, ..], [r, g, b]) = (m.out, self.weights.map(T::of));
        y.par_chunks_mut(par::GRAIN).zip(m.x[0].par_chunks(3 * par::GRAIN)).for_each(|(y, x)| {
            y.iter_mut().zip(x.chunks_exact(3)).for_each(|(y, x)| *y = r * x[0] + g * x[1] + b * x[2]);
        });
    }
    fn backward<T: Real>(&self, m: Host<T>) {
        let ([dx, ..], [r, g, b]) = (m.out, self.weights.map(T::of));
        dx.par_chunks_mut(3 * par::GRAIN).zip(m.dy.par_chunks(par::GRAIN)).for_each(|(dx, dy)| {
            dx.chunks_exact_mut(3).zip(dy).for_each(|(dx, &d)| dx.copy_from_slice(&[r * d, g * d, b * d]));
        });
    }

    fn gpu_forward(&self, g: &Operands) -> Result<()> {
        let call = g.call("mix_fwd_f32")?.elements(g.ys[0].len());
        call.write(g.out(0)).read(g.x(0)).value(&self.params(g)).go()
    }
    fn gpu_backward(&self, g: &Operands) -> Result<()> {
        let call = g.call("mix_bwd_f32")?.elements(g.ys[0].len());
        call.write(g.out(0)).read(g.dy()).value(&self.params(g)).go()
    }
}

pub fn cases() -> Vec<Case> {
    let row = |s| case(format!("{s}"), Mix { weights: LUMA }, &[(s, Sampling::Normal)]);
    // Pixels one below, at and above the 1024 of a block, and every rest by four.
    let small = [(2, 5, 7, 3), (1, 1, 1, 3), (1, 1, 3, 3), (1, 31, 33, 3), (2, 16, 32, 3), (1, 25, 41, 3), (1, 2, 513, 3)];
    let mut rows: Vec<Case> = small.iter().map(|&(n, h, w, c)| row(shape(n, h, w, c))).collect();
    rows.push(row(shape(32, 64, 64, 3)).bench("residual.luma"));
    rows
}
