//! Batch normalisation (Ioffe & Szegedy 2015) over n, h, w for each channel; PyTorch's conventions.
//!
//! ```text
//! train  y = γ (x − μ) · r + β     μ, σ² of the batch (biased), r = 1/√(σ² + ε)
//!        running ← (1 − momentum) · running + momentum · batch   (σ² unbiased there)
//! eval   y = γ (x − running μ) / √(running σ² + ε) + β
//! dβ = Σ dy    dγ = Σ dy·x̂    dx = γ r ( dy − dβ/M − x̂·dγ/M )   with x̂ = (x − μ) r, M = n·h·w
//! ```
//! Training and evaluation are two ops, chosen when recording. Sums are shifted by the first pixel, so that a large mean costs no
//! digits, taken in f32 over 256 pixels and combined in f64, in a fixed order.

use rayon::prelude::*;

use super::{Case, Fill, case};
use crate::core::op::{Cost, Host, Keeps, Op, Pass, Set};
use crate::core::real::Real;
use crate::core::shape::{Shape, shape};
use crate::core::tape::{Tape, Var};
use crate::device::gpu::{Call, F32};
use crate::device::tiles::Tiles;
use crate::device::{Gpu, Precision, Span};
use crate::error::Result;

/// Pixels per partial sum.
const BLOCK: usize = 256;

#[derive(Debug, Clone)]
pub struct BatchNormTrain {
    pub eps: f64,
    pub momentum: f64,
}

#[derive(Debug, Clone)]
pub struct BatchNormEval {
    pub eps: f64,
}

/// γ, β, and the running mean and variance: four vectors of C.
#[derive(Debug, Clone, Copy)]
pub struct BatchNormParams {
    pub gamma: Var,
    pub beta: Var,
    pub mean: Var,
    pub var: Var,
}

pub const EPS: f64 = 1e-5;
pub const MOMENTUM: f64 = 0.1;

/// Normalise with the statistics of the batch, and update the running ones.
pub fn batch_norm_train(t: &mut Tape, x: Var, p: BatchNormParams) -> Result<Var> {
    t.apply(BatchNormTrain { eps: EPS, momentum: MOMENTUM }, &[x, p.gamma, p.beta, p.mean, p.var])
}

/// Normalise with the running statistics.
pub fn batch_norm_eval(t: &mut Tape, x: Var, p: BatchNormParams) -> Result<Var> {
    t.apply(BatchNormEval { eps: EPS }, &[x, p.gamma, p.beta, p.mean, p.var])
}

fn check(x: &[Shape]) -> Result<Shape, String> {
    match x {
        [x, rest @ ..] if rest.len() == 4 && rest.iter().all(|s| *s == Shape::vector(x.c as usize)) => Ok(*x),
        _ => Err(format!("needs x and four vectors of its channels (gamma, beta, mean, variance), got {x:?}")),
    }
}

/// Per channel Σ of two quantities over all pixels, in f64, into `partial[..2c]`. `term` gets a pixel of `a`, of `b`.
fn channel_sums<T: Real>(
    c: usize,
    a: &[T],
    b: &[T],
    partial: &mut [T],
    term: impl Fn(&[T], &[T], &mut [T], &mut [T]) + Sync,
) {
    partial.par_chunks_mut(2 * c).zip(a.par_chunks(BLOCK * c)).zip(b.par_chunks(BLOCK * c)).for_each(|((part, a), b)| {
        part.fill(T::ZERO);
        let (s1, s2) = part.split_at_mut(c);
        a.chunks_exact(c).zip(b.chunks_exact(c)).for_each(|(a, b)| term(a, b, s1, s2));
    });
    let (first, rest) = partial.split_at_mut(2 * c);
    for (i, f) in first.iter_mut().enumerate() {
        *f = T::of(f.f64() + rest.iter().skip(i).step_by(2 * c).map(|x| x.f64()).sum::<f64>());
    }
}

fn blocks(x: Shape) -> usize {
    x.pixels().div_ceil(BLOCK)
}

/// `y = a[c]·x + b[c]`, whole pixels per task.
fn scale_shift<T: Real>(y: &mut [T], x: &[T], a: &[T], b: &[T]) {
    let c = a.len();
    y.par_chunks_mut(BLOCK * c).zip(x.par_chunks(BLOCK * c)).for_each(|(y, x)| {
        for (y, x) in y.chunks_exact_mut(c).zip(x.chunks_exact(c)) {
            for i in 0..c {
                y[i] = a[i] * x[i] + b[i];
            }
        }
    });
}

/// `struct BatchNorm` of kernels/batch_norm.cu.
#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Params {
    eps: f64,
    momentum: f64,
    pixels: u32,
    channels: u32,
    split: u32,
    splits: u32,
}

/// The launches of one step: pixels × channels in tiles, and their sums.
struct Launches<'a> {
    g: &'a Gpu<'a>,
    tiles: Tiles,
    params: Params,
}

/// Values (f32) of the shares of two f64 sums per channel.
fn shares(x: Shape) -> usize {
    let t = tiles(x);
    t.splits * 2 * x.c as usize * (size_of::<f64>() / size_of::<f32>())
}

fn tiles(x: Shape) -> Tiles {
    Tiles::new(x.pixels(), x.c as usize, 32)
}

impl<'a> Launches<'a> {
    fn new(g: &'a Gpu, eps: f64, momentum: f64) -> Launches<'a> {
        let (x, tiles) = (g.xs[0], tiles(g.xs[0]));
        let (split, splits) = (tiles.split as u32, tiles.splits as u32);
        Launches { g, tiles, params: Params { eps, momentum, pixels: x.pixels() as u32, channels: x.c, split, splits } }
    }
    /// A kernel that walks over the pixels.
    fn walk(&self, kernel: &str) -> Result<Call<'a>> {
        let Tiles { block: [x, y], across, splits, .. } = self.tiles;
        Ok(self.g.call(kernel)?.grid([across, splits, 1]).block3([x, y, 1]))
    }
    /// A kernel that adds up the shares: 8 channels to a block.
    fn total(&self, kernel: &str) -> Result<Call<'a>> {
        Ok(self.g.call(kernel)?.grid([(self.params.channels as usize).div_ceil(8), 1, 1]).block3([8, 32, 1]))
    }
    fn shares(&self) -> Span {
        self.g.scratch(0, shares(self.g.xs[0]))
    }
}

impl Op for BatchNormTrain {
    fn name(&self) -> &'static str {
        "batch_norm_train"
    }
    fn infer(&self, x: &[Shape]) -> Result<Vec<Shape>, String> {
        let x = check(x)?;
        if x.pixels() < 2 {
            return Err(format!("needs more than one value per channel to train, got {x}; use a larger batch"));
        }
        let c = Shape::vector(x.c as usize);
        Ok(vec![x, c, c])
    }
    fn keeps(&self, _: Set) -> Keeps {
        Keeps { x: Set::first(2), y: Set::of(1).and(2) }
    }
    fn differentiable(&self) -> Set {
        Set::first(3)
    }
    fn updates(&self) -> &'static [usize] {
        &[3, 4]
    }
    fn scratch(&self, _: Pass, xs: &[Shape], _: &[Shape], _: Set) -> usize {
        (2 * blocks(xs[0]) + 3) * xs[0].c as usize
    }
    fn cost(&self, pass: Pass, xs: &[Shape], _: &[Shape]) -> Cost {
        let n = xs[0].len() as u64;
        match pass {
            Pass::Forward => Cost { macs: 3 * n, bytes: 3 * 4 * n },
            Pass::Backward => Cost { macs: 5 * n, bytes: 5 * 4 * n },
        }
    }

    fn forward<T: Real>(&self, m: Host<T>) {
        let [y, mean, rstd, running_mean, running_var, _] = m.out;
        let (x, [gamma, beta]) = (m.x[0], [m.x[1], m.x[2]]);
        let (c, count) = (gamma.len(), m.xs[0].pixels() as f64);
        let (partial, tail) = m.scratch.split_at_mut(2 * blocks(m.xs[0]) * c);
        let shift = &x[..c];
        channel_sums(c, x, x, partial, |x, _, s1, s2| {
            for i in 0..c {
                let d = x[i] - shift[i];
                s1[i] += d;
                s2[i] += d * d;
            }
        });
        let (scale, offset) = tail.split_at_mut(c);
        for i in 0..c {
            let d = partial[i].f64() / count;
            let var = (partial[c + i].f64() / count - d * d).max(0.0);
            let mu = shift[i].f64() + d;
            let r = 1.0 / (var + self.eps).sqrt();
            mean[i] = T::of(mu);
            rstd[i] = T::of(r);
            scale[i] = T::of(gamma[i].f64() * r);
            offset[i] = T::of(beta[i].f64() - mu * gamma[i].f64() * r);
            let keep = 1.0 - self.momentum;
            running_mean[i] = T::of(keep * running_mean[i].f64() + self.momentum * mu);
            let unbiased = var * count / (count - 1.0);
            running_var[i] = T::of(keep * running_var[i].f64() + self.momentum * unbiased);
        }
        scale_shift(y, x, scale, &offset[..c]);
    }

    fn backward<T: Real>(&self, m: Host<T>) {
        let [dx, dgamma, dbeta, ..] = m.out;
        let (x, gamma, [mean, rstd], dy) = (m.x[0], m.x[1], [m.y[1], m.y[2]], m.dy);
        let (c, count) = (gamma.len(), m.xs[0].pixels() as f64);
        let (partial, tail) = m.scratch.split_at_mut(2 * blocks(m.xs[0]) * c);
        channel_sums(c, x, dy, partial, |x, dy, s1, s2| {
            for i in 0..c {
                s1[i] += dy[i];
                s2[i] += dy[i] * ((x[i] - mean[i]) * rstd[i]);
            }
        });
        let (db, dg) = (&partial[..c], &partial[c..2 * c]);
        for (out, sum) in [(dbeta, db), (dgamma, dg)] {
            if !out.is_empty() {
                out.copy_from_slice(sum);
            }
        }
        if dx.is_empty() {
            return;
        }
        // dx = a·dy + b·(x − μ) + k
        let (a, tail) = tail.split_at_mut(c);
        let (b, k) = tail.split_at_mut(c);
        for i in 0..c {
            let (g, r) = (gamma[i].f64(), rstd[i].f64());
            a[i] = T::of(g * r);
            b[i] = T::of(-g * r * r * dg[i].f64() / count);
            k[i] = T::of(-g * r * db[i].f64() / count);
        }
        let (a, b, k) = (&*a, &*b, &*k);
        let n = BLOCK * c;
        dx.par_chunks_mut(n).zip(x.par_chunks(n)).zip(dy.par_chunks(n)).for_each(|((dx, x), dy)| {
            for ((dx, x), dy) in dx.chunks_exact_mut(c).zip(x.chunks_exact(c)).zip(dy.chunks_exact(c)) {
                for i in 0..c {
                    dx[i] = a[i] * dy[i] + (b[i] * (x[i] - mean[i]) + k[i]);
                }
            }
        });
    }

    fn gpu_scratch(&self, pass: Pass, xs: &[Shape], _: &[Shape], _: Set, _: Precision) -> usize {
        let factors = if pass == Pass::Backward { 3 * xs[0].c as usize } else { 0 };
        (shares(xs[0]) + factors) * F32
    }
    fn gpu_forward(&self, g: &Gpu) -> Result<()> {
        let l = Launches::new(g, self.eps, self.momentum);
        let (x, gamma, beta) = (g.x(0), g.x(1), g.x(2));
        let (y, mean, rstd, running_mean, running_var) = (g.out(0), g.out(1), g.out(2), g.out(3), g.out(4));
        l.walk("batch_norm_train_sums_fwd_f32")?.write(l.shares()).read(x).value(&l.params).go()?;
        let total = l.total("batch_norm_train_total_fwd_f32")?.write(mean).write(rstd).update(running_mean).update(running_var);
        total.read(l.shares()).value(&l.params).go()?;
        let apply = l.walk("batch_norm_train_fwd_f32")?.write(y).read(x);
        apply.read(mean).read(rstd).read(gamma).read(beta).value(&l.params).go()
    }
    fn gpu_backward(&self, g: &Gpu) -> Result<()> {
        let l = Launches::new(g, self.eps, self.momentum);
        let (x, gamma, mean, rstd, dy) = (g.x(0), g.x(1), g.y(1), g.y(2), g.dy());
        let factors = g.wants(0).then(|| g.scratch(shares(g.xs[0]), 3 * g.xs[0].c as usize));
        l.walk("batch_norm_sums_bwd_f32")?.write(l.shares()).read(x).read(dy).read(mean).value(&l.params).go()?;
        let total = l.total("batch_norm_train_total_bwd_f32")?.write_or_null(g.out[1]).write_or_null(g.out[2]);
        total.write_or_null(factors).read(l.shares()).read(gamma).read(rstd).value(&l.params).go()?;
        let Some(factors) = factors else { return Ok(()) };
        let apply = l.walk("batch_norm_train_bwd_f32")?.write(g.out(0)).read(x).read(dy);
        apply.read(mean).read(factors).value(&l.params).go()
    }
}

impl Op for BatchNormEval {
    fn name(&self) -> &'static str {
        "batch_norm_eval"
    }
    fn infer(&self, x: &[Shape]) -> Result<Vec<Shape>, String> {
        Ok(vec![check(x)?])
    }
    fn keeps(&self, wants: Set) -> Keeps {
        let sums = wants.has(1) || wants.has(2);
        Keeps::x(Set::of(1).and(3).and(4).union(Set::of(0).when(sums)))
    }
    fn differentiable(&self) -> Set {
        Set::first(3)
    }
    fn scratch(&self, _: Pass, xs: &[Shape], _: &[Shape], _: Set) -> usize {
        (2 * blocks(xs[0]) + 3) * xs[0].c as usize
    }

    fn forward<T: Real>(&self, m: Host<T>) {
        let ([y, ..], [x, gamma, beta, mean, var, _]) = (m.out, m.x);
        let c = gamma.len();
        let (scale, offset) = m.scratch.split_at_mut(c);
        for i in 0..c {
            scale[i] = T::of(gamma[i].f64() / (var[i].f64() + self.eps).sqrt());
            offset[i] = T::of(beta[i].f64() - mean[i].f64() * scale[i].f64());
        }
        scale_shift(y, x, scale, &offset[..c]);
    }

    fn backward<T: Real>(&self, m: Host<T>) {
        let [dx, dgamma, dbeta, ..] = m.out;
        let ([x, gamma, _, mean, var, _], dy) = (m.x, m.dy);
        let c = gamma.len();
        let (partial, tail) = m.scratch.split_at_mut(2 * blocks(m.xs[0]) * c);
        let rstd = |i: usize| T::of(1.0 / (var[i].f64() + self.eps).sqrt());
        if !dgamma.is_empty() || !dbeta.is_empty() {
            channel_sums(c, x, dy, partial, |x, dy, s1, s2| {
                for i in 0..c {
                    s1[i] += dy[i];
                    s2[i] += dy[i] * (x[i] - mean[i]);
                }
            });
            dbeta.iter_mut().zip(&partial[..]).for_each(|(d, &s)| *d = s);
            dgamma.iter_mut().zip(&partial[c..]).enumerate().for_each(|(i, (d, &s))| *d = s * rstd(i));
        }
        if !dx.is_empty() {
            let (scale, zero) = tail.split_at_mut(c);
            (0..c).for_each(|i| scale[i] = gamma[i] * rstd(i));
            zero[..c].fill(T::ZERO);
            scale_shift(dx, dy, scale, &zero[..c]);
        }
    }

    fn gpu_scratch(&self, pass: Pass, xs: &[Shape], _: &[Shape], wants: Set, _: Precision) -> usize {
        if pass == Pass::Backward && (wants.has(1) || wants.has(2)) { shares(xs[0]) * F32 } else { 0 }
    }
    fn gpu_forward(&self, g: &Gpu) -> Result<()> {
        let l = Launches::new(g, self.eps, 0.0);
        let apply = l.walk("batch_norm_eval_fwd_f32")?.write(g.out(0)).read(g.x(0));
        apply.read(g.x(3)).read(g.x(4)).read(g.x(1)).read(g.x(2)).value(&l.params).go()
    }
    fn gpu_backward(&self, g: &Gpu) -> Result<()> {
        let l = Launches::new(g, self.eps, 0.0);
        let (gamma, mean, var, dy) = (g.x(1), g.x(3), g.x(4), g.dy());
        if g.wants(1) || g.wants(2) {
            let sums = l.walk("batch_norm_sums_bwd_f32")?.write(l.shares()).read(g.x(0)).read(dy);
            sums.read(mean).value(&l.params).go()?;
            let total = l.total("batch_norm_eval_total_bwd_f32")?.write_or_null(g.out[1]).write_or_null(g.out[2]);
            total.read(l.shares()).read(var).value(&l.params).go()?;
        }
        if g.wants(0) {
            let apply = l.walk("batch_norm_eval_bwd_f32")?.write(g.out(0)).read(dy);
            apply.read(var).read(gamma).value(&l.params).go()?;
        }
        Ok(())
    }
}

pub fn cases() -> Vec<Case> {
    let inputs = |s: Shape| {
        let c = Shape::vector(s.c as usize);
        [(s, Fill::Normal), (c, Fill::Positive), (c, Fill::Normal), (c, Fill::Normal), (c, Fill::Positive)]
    };
    let train = || BatchNormTrain { eps: EPS, momentum: MOMENTUM };
    // On a GPU: channels one by one and by fours, one below, at and above the 64 pixels of a block, tiles of 32 groups with a rest.
    let sizes = [
        shape(2, 5, 7, 3),
        shape(3, 10, 9, 17),
        shape(7, 1, 1, 5),
        shape(1, 9, 7, 64),
        shape(2, 8, 4, 64),
        shape(1, 5, 13, 64),
        shape(3, 5, 13, 132),
        shape(2, 3, 11, 33),
        shape(7, 1, 1, 4),
    ];
    let mut rows: Vec<Case> = sizes.iter().map(|&s| case(format!("train {s}"), train(), &inputs(s))).collect();
    rows.extend(sizes.iter().map(|&s| case(format!("eval {s}"), BatchNormEval { eps: EPS }, &inputs(s))));
    rows.push(case("train", train(), &inputs(shape(32, 16, 16, 128))).bench("encoder.4"));
    rows.push(case("eval", BatchNormEval { eps: EPS }, &inputs(shape(32, 16, 16, 128))).bench("encoder.4"));
    rows
}
