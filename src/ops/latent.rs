//! The latent loss, equations 3 and 4. With `d` units, the first half T stands for "true", the second half F for "fake":
//!
//! ```text
//! a_T = mean |z_T|    a_F = mean |z_F|                 (the paper's 2/d_z · Σ)
//! L   = mean_i ( |a_T − l| + |a_F − (1 − l)| )         l = 1 for a true picture, 0 for a fake
//! ∂L/∂z_c = 1/N · 2/d · sign(a − target) · sign(z_c)   sign(0) = 0
//! ```
//! The printed distance is a median: a batch's gradient is that of its majority, whatever the others are. [`Distance::Squared`] has
//! (a − target)² and 2·(a − target) in place of |a − target| and sign(a − target), and weighs every picture by how wrong it is.
//! [`Distance::Ce`] is the binary cross entropy of the label on a_T − a_F, the number whose sign is the verdict:
//!
//! ```text
//! L = mean_i ( softplus(x) − l·x ),  x = a_T − a_F       ∂L/∂a_T = σ(x) − l = −∂L/∂a_F
//! ```
//!
//! Outputs: the loss, and the activations N×1×1×2 as (a_T, a_F): the picture is called true if a_T > a_F.
//!
//! A batch may be windows with a place, N×h×w: every place is a row then. With weights, row i counts w_i times; the divisor stays the
//! number of rows.

use super::bce_logits::{sigmoid, softplus};
use super::sum;
use crate::core::case::{Case, Sampling, case};
use crate::core::launch::Operands;
use crate::core::op::{Host, Keeps, Op, Pass, Set};
use crate::core::real::Real;
use crate::core::shape::{Shape, shape};
use crate::core::tape::{Tape, Var};
use crate::device::Precision;
use crate::error::Result;
use crate::words;

words!(
    /// Between an activation and what it should be.
    Distance {
        /// |a − target|: the paper.
        L1,
        /// (a − target)².
        Squared,
        /// Cross entropy of the label on the difference of the activations.
        Ce,
    }
);

#[derive(Debug, Clone)]
pub struct Latent {
    pub distance: Distance,
}

impl Distance {
    /// The loss of a row with activations `t` and `f`, label `l`.
    fn of<T: Real>(self, [t, f]: [T; 2], l: T) -> T {
        let errors = [t - l, f - (T::ONE - l)];
        match self {
            Distance::L1 => errors[0].abs() + errors[1].abs(),
            Distance::Squared => errors[0] * errors[0] + errors[1] * errors[1],
            Distance::Ce => softplus(t - f) - l * (t - f),
        }
    }
    /// Its derivatives by both activations.
    fn derivatives<T: Real>(self, [t, f]: [T; 2], l: T) -> [T; 2] {
        let errors = [t - l, f - (T::ONE - l)];
        match self {
            Distance::L1 => errors.map(|e| e.sign()),
            Distance::Squared => errors.map(|e| e + e),
            Distance::Ce => {
                let slope = sigmoid(t - f) - l;
                [slope, -slope]
            }
        }
    }
}

/// [`latent_loss`] of windows with weights: `z` N×h×w×d, `label` and `weight` N×h×w×1.
pub fn weighted_latent_loss(t: &mut Tape, z: Var, label: Var, weight: Var, distance: Distance) -> Result<(Var, Var)> {
    let out = t.apply_all(Latent { distance }, &[z, label, weight])?;
    Ok((out[0], out[1]))
}

/// `z`: N×h×w×d, `label`: N×h×w×1 (1 true, 0 fake); one row for a picture is h = w = 1. Returns `(loss, activations)`.
pub fn latent_loss(t: &mut Tape, z: Var, label: Var, distance: Distance) -> Result<(Var, Var)> {
    let out = t.apply_all(Latent { distance }, &[z, label])?;
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
    distance: u32,
}

impl Latent {
    fn params(&self, z: Shape) -> Params {
        let distance = match self.distance {
            Distance::L1 => 0,
            Distance::Squared => 1,
            Distance::Ce => 2,
        };
        Params { rows: rows(z) as u32, units: z.c, distance }
    }
}

/// Pictures, or windows.
fn rows(z: Shape) -> usize {
    z.n as usize * z.h as usize * z.w as usize
}

/// Blocks of a launch: eight rows in each.
fn blocks(z: Shape) -> usize {
    rows(z).div_ceil(8)
}

/// The weight of a row: 1 where none are given.
fn weight<T: Real>(weights: &[T], row: usize) -> T {
    if weights.is_empty() { T::ONE } else { weights[row] }
}

impl Op for Latent {
    fn name(&self) -> &'static str {
        "latent_loss"
    }
    fn infer(&self, x: &[Shape]) -> Result<Vec<Shape>, String> {
        match x {
            [z, rest @ ..] if matches!(rest.len(), 1 | 2) && z.c % 2 == 0 && z.c > 0 => {
                if rest.iter().any(|l| *l != Shape { c: 1, ..*z }) {
                    return Err(format!("labels and weights are one number for each row of z, got {x:?}"));
                }
                Ok(vec![Shape::SCALAR, Shape { c: 2, ..*z }])
            }
            _ => Err(format!("needs z N×h×w×d with even d and labels (and weights) N×h×w×1, got {x:?}")),
        }
    }
    fn keeps(&self, _: Set) -> Keeps {
        Keeps { x: Set::first(3), y: Set::of(1) }
    }
    fn differentiable(&self) -> Set {
        Set::of(0)
    }
    fn forward<T: Real>(&self, m: Host<T>) {
        let ([loss, act, ..], d) = (m.out, m.xs[0].c as usize);
        let mut sum = 0.0;
        for (i, ((z, act), &l)) in m.x[0].chunks(d).zip(act.chunks_mut(2)).zip(m.x[1]).enumerate() {
            act[0] = activation(&z[..d / 2]);
            act[1] = activation(&z[d / 2..]);
            sum += (weight(m.x[2], i) * self.distance.of([act[0], act[1]], l)).f64();
        }
        loss[0] = T::of(sum / rows(m.xs[0]) as f64);
    }
    fn backward<T: Real>(&self, m: Host<T>) {
        let ([dz, ..], d) = (m.out, m.xs[0].c as usize);
        let k = T::of(m.dy[0].f64() / rows(m.xs[0]) as f64 * 2.0 / d as f64);
        for (i, (((dz, z), act), &l)) in dz.chunks_mut(d).zip(m.x[0].chunks(d)).zip(m.y[1].chunks(2)).zip(m.x[1]).enumerate() {
            let k = k * weight(m.x[2], i);
            let side = self.distance.derivatives([act[0], act[1]], l).map(|slope| k * slope);
            dz.iter_mut().zip(z).enumerate().for_each(|(c, (dz, z))| *dz = side[c * 2 / d] * z.sign());
        }
    }

    fn gpu_scratch(&self, pass: Pass, xs: &[Shape], _: &[Shape], _: Set, _: Precision) -> usize {
        if pass == Pass::Forward { sum::scratch(blocks(xs[0])) } else { 0 }
    }
    fn gpu_forward(&self, g: &Operands) -> Result<()> {
        let (z, blocks) = (g.xs[0], blocks(g.xs[0]));
        let call = g.call("latent_loss_fwd_f32")?.grid([blocks, 1, 1]).block(256).write(sum::partial(g, blocks)).write(g.out(1));
        let weight = g.x[2];
        call.read(g.x(0)).read(g.x(1)).read_or_null(weight).value(&self.params(z)).go()?;
        sum::finish(g, g.out(0), blocks, rows(z))
    }
    fn gpu_backward(&self, g: &Operands) -> Result<()> {
        let z = g.xs[0];
        let call = g.call("latent_loss_bwd_f32")?.grid([blocks(z), 1, 1]).block(256).write(g.out(0)).read(g.x(0)).read(g.y(1));
        let weight = g.x[2];
        call.read(g.x(1)).read_or_null(weight).read(g.dy()).value(&self.params(z)).go()
    }
}

pub fn cases() -> Vec<Case> {
    let of = |name: String, distance, n, d, z| {
        case(name, Latent { distance }, &[(shape(n, 1, 1, d), z), (shape(n, 1, 1, 1), Sampling::Binary)])
    };
    let row = |n, d| of(format!("{n}x{d}"), Distance::L1, n, d, Sampling::OffZero);
    let squared = |n, d| of(format!("{n}x{d} squared"), Distance::Squared, n, d, Sampling::OffZero);
    let ce = |n, d| of(format!("{n}x{d} cross entropy"), Distance::Ce, n, d, Sampling::OffZero);
    // A warp per picture, eight pictures per block of the kernels.
    let mut rows: Vec<Case> =
        [(5, 6), (3, 128), (7, 62), (8, 64), (9, 66), (1, 2), (2, 300)].iter().map(|&(n, d)| row(n, d)).collect();
    // Zeros among the units: sign(0) = 0.
    rows.push(of("zeros".into(), Distance::L1, 5, 6, Sampling::Binary));
    rows.extend([(5, 6), (9, 66)].map(|(n, d)| squared(n, d)));
    rows.extend([(5, 6), (9, 66)].map(|(n, d)| ce(n, d)));
    // Windows: rows with a place, each with a weight.
    for (name, distance) in
        [("windows", Distance::L1), ("windows squared", Distance::Squared), ("windows cross entropy", Distance::Ce)]
    {
        let (z, one) = (shape(3, 5, 2, 34), shape(3, 5, 2, 1));
        let operands = [(z, Sampling::OffZero), (one, Sampling::Binary), (one, Sampling::Positive)];
        rows.push(case(name, Latent { distance }, &operands));
    }
    rows.push(row(64, 128).bench("latent loss"));
    rows
}
