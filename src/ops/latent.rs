//! The latent loss, equations 3 and 4. With `d` units, the first half T stands for "true", the second half F for "fake":
//!
//! ```text
//! a_T = mean |z_T|    a_F = mean |z_F|                 (the paper's 2/d_z · Σ)
//! L   = mean_i ( |a_T − l| + |a_F − (1 − l)| )         l = 1 for a true picture, 0 for a fake
//! ∂L/∂z_c = 1/N · 2/d · sign(a − target) · sign(z_c)   sign(0) = 0
//! ```
//! Outputs: the loss, and the activations N×1×1×2 as (a_T, a_F): the picture is called true if a_T > a_F.

use super::sum;
use crate::core::case::{Case, Sampling, case};
use crate::core::launch::Operands;
use crate::core::op::{Host, Keeps, Op, Pass, Set};
use crate::core::real::Real;
use crate::core::shape::{Shape, shape};
use crate::core::tape::{Tape, Var};
use crate::device::Precision;
use crate::error::Result;

#[derive(Debug, Clone)]
pub struct Latent;

/// `z`: N×1×1×d, `label`: N×1×1×1 (1 true, 0 fake). Returns `(loss, activations)`.
pub fn latent_loss(t: &mut Tape, z: Var, label: Var) -> Result<(Var, Var)> {
    let out = t.apply_all(Latent, &[z, label])?;
    Ok((out[0], out[1]))
}

/// Mean of |z| over one half.
fn activation<T: Real>(half: &[T]) -> T {
    T::of(half.iter().map(|z| z.abs().f64()).sum::<f64>() / half.len() as f64)
}

/// `struct Latent` of kernels/latent.cu.
#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Params {
    rows: u32,
    units: u32,
}

/// Blocks of a launch: eight pictures in each.
fn blocks(z: Shape) -> usize {
    (z.n as usize).div_ceil(8)
}

impl Op for Latent {
    fn name(&self) -> &'static str {
        "latent_loss"
    }
    fn infer(&self, x: &[Shape]) -> Result<Vec<Shape>, String> {
        match x {
            [z, l] if z.h == 1 && z.w == 1 && z.c % 2 == 0 && z.c > 0 && *l == (Shape { c: 1, ..*z }) => {
                Ok(vec![Shape::SCALAR, Shape { c: 2, ..*z }])
            }
            _ => Err(format!("needs z N×1×1×d with even d and labels N×1×1×1, got {x:?}")),
        }
    }
    fn keeps(&self, _: Set) -> Keeps {
        Keeps { x: Set::first(2), y: Set::of(1) }
    }
    fn differentiable(&self) -> Set {
        Set::of(0)
    }
    fn forward<T: Real>(&self, m: Host<T>) {
        let ([loss, act, ..], d) = (m.out, m.xs[0].c as usize);
        let mut sum = 0.0;
        for ((z, act), &l) in m.x[0].chunks(d).zip(act.chunks_mut(2)).zip(m.x[1]) {
            act[0] = activation(&z[..d / 2]);
            act[1] = activation(&z[d / 2..]);
            sum += ((act[0] - l).abs() + (act[1] - (T::ONE - l)).abs()).f64();
        }
        loss[0] = T::of(sum / m.xs[0].n as f64);
    }
    fn backward<T: Real>(&self, m: Host<T>) {
        let ([dz, ..], d) = (m.out, m.xs[0].c as usize);
        let k = T::of(m.dy[0].f64() / m.xs[0].n as f64 * 2.0 / d as f64);
        for (((dz, z), act), &l) in dz.chunks_mut(d).zip(m.x[0].chunks(d)).zip(m.y[1].chunks(2)).zip(m.x[1]) {
            let side = [k * (act[0] - l).sign(), k * (act[1] - (T::ONE - l)).sign()];
            dz.iter_mut().zip(z).enumerate().for_each(|(c, (dz, z))| *dz = side[c * 2 / d] * z.sign());
        }
    }

    fn gpu_scratch(&self, pass: Pass, xs: &[Shape], _: &[Shape], _: Set, _: Precision) -> usize {
        if pass == Pass::Forward { sum::scratch(blocks(xs[0])) } else { 0 }
    }
    fn gpu_forward(&self, g: &Operands) -> Result<()> {
        let (z, blocks) = (g.xs[0], blocks(g.xs[0]));
        let call = g.call("latent_loss_fwd_f32")?.grid([blocks, 1, 1]).block(256).write(sum::partial(g, blocks)).write(g.out(1));
        call.read(g.x(0)).read(g.x(1)).value(&Params { rows: z.n, units: z.c }).go()?;
        sum::finish(g, g.out(0), blocks, z.n as usize)
    }
    fn gpu_backward(&self, g: &Operands) -> Result<()> {
        let z = g.xs[0];
        let call = g.call("latent_loss_bwd_f32")?.grid([blocks(z), 1, 1]).block(256).write(g.out(0)).read(g.x(0)).read(g.y(1));
        call.read(g.x(1)).read(g.dy()).value(&Params { rows: z.n, units: z.c }).go()
    }
}

pub fn cases() -> Vec<Case> {
    let row =
        |n, d| case(format!("{n}x{d}"), Latent, &[(shape(n, 1, 1, d), Sampling::OffZero), (shape(n, 1, 1, 1), Sampling::Binary)]);
    // A warp per picture, eight pictures per block of the kernels.
    let mut rows: Vec<Case> =
        [(5, 6), (3, 128), (7, 62), (8, 64), (9, 66), (1, 2), (2, 300)].iter().map(|&(n, d)| row(n, d)).collect();
    // Zeros among the units: sign(0) = 0.
    rows.push(case("zeros", Latent, &[(shape(5, 1, 1, 6), Sampling::Binary), (shape(5, 1, 1, 1), Sampling::Binary)]));
    rows.push(row(64, 128).bench("latent loss"));
    rows
}
