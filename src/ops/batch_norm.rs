//! Batch normalisation (Ioffe & Szegedy 2015) over n, h, w for each channel; PyTorch's conventions.
//!
//! ```text
//! train  y = γ (x − μ) · r + β     μ, σ² of the batch (biased), r = 1/√(σ² + ε)
//!        running ← (1 − momentum) · running + momentum · batch   (σ² unbiased there)
//! eval   y = γ (x − running μ) / √(running σ² + ε) + β
//! dβ = Σ dy    dγ = Σ dy·x̂    dx = γ r ( dy − dβ/M − x̂·dγ/M )   with x̂ = (x − μ) r, M = n·h·w
//! ```
//! A ReLU or LeakyReLU that follows can be part of the op: y ← y·(y > 0 ? 1 : slope), and in backward dy ← dy·(y > 0 ? 1 : slope).
//! That saves the reads and writes of a pass of its own in both directions, and the memory of the value between the two.
//!
//! Training and evaluation are two ops, chosen when recording. Sums are shifted by the first pixel, so that a large mean costs no
//! digits, taken in f32 over 256 pixels and combined in f64, in a fixed order.

use rayon::prelude::*;

use crate::core::case::{Case, Sampling, case};

use crate::core::launch::Operands;
use crate::core::launch::{Call, F32};
use crate::core::op::{Cost, Halves, Host, Keeps, Op, Pass, Set};
use crate::core::real::Real;
use crate::core::shape::{Shape, shape};
use crate::core::tape::{Tape, Var};
use crate::device::tiles::Tiles;
use crate::device::{Precision, Span};
use crate::error::Result;

/// Pixels per partial sum.
const BLOCK: usize = 256;

#[derive(Debug, Clone)]
pub struct BatchNormTrain {
    pub eps: f64,
    pub momentum: f64,
    /// Slope of the activation's negative side: 0 for ReLU, 1 where no activation follows; never negative.
    pub slope: f64,
}

#[derive(Debug, Clone)]
pub struct BatchNormEval {
    pub eps: f64,
    /// As in [`BatchNormTrain`].
    pub slope: f64,
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

/// Normalise with the statistics of the batch and update the running ones, with torch's constants. `slope`: see [`BatchNormTrain`].
pub fn batch_norm_train(t: &mut Tape, x: Var, p: BatchNormParams, slope: f64) -> Result<Var> {
    t.apply(BatchNormTrain { eps: EPS, momentum: MOMENTUM, slope }, &[x, p.gamma, p.beta, p.mean, p.var])
}

/// Normalise with the running statistics, with torch's constants. `slope`: see [`BatchNormTrain`].
pub fn batch_norm_eval(t: &mut Tape, x: Var, p: BatchNormParams, slope: f64) -> Result<Var> {
    t.apply(BatchNormEval { eps: EPS, slope }, &[x, p.gamma, p.beta, p.mean, p.var])
}

fn check(x: &[Shape]) -> Result<Shape, String> {
    match x {
        [x, rest @ ..] if rest.len() == 4 && rest.iter().all(|s| *s == Shape::vector(x.c as usize)) => Ok(*x),
        _ => Err(format!("needs x and four vectors of its channels (gamma, beta, mean, variance), got {x:?}")),
    }
}

/// Per channel Σ of two quantities over all pixels, in f64, into `partial[..2c]`. `term` gets a pixel of each input.
fn channel_sums<T: Real, const N: usize>(
    c: usize,
    inputs: [&[T]; N],
    partial: &mut [T],
    term: impl Fn([&[T]; N], &mut [T], &mut [T]) + Sync,
) {
    partial.par_chunks_mut(2 * c).enumerate().for_each(|(i, part)| {
        part.fill(T::ZERO);
        let (s1, s2) = part.split_at_mut(c);
        let block = inputs.map(|x| &x[i * BLOCK * c..x.len().min((i + 1) * BLOCK * c)]);
        for p in (0..block[0].len()).step_by(c) {
            term(block.map(|x| &x[p..p + c]), s1, s2);
        }
    });
    let (first, rest) = partial.split_at_mut(2 * c);
    for (i, f) in first.iter_mut().enumerate() {
        *f = T::of(f.f64() + rest.iter().skip(i).step_by(2 * c).map(|x| x.f64()).sum::<f64>());
    }
}

fn blocks(x: Shape) -> usize {
    x.pixels().div_ceil(BLOCK)
}

/// `v = a[c]·x + b[c]`, `y = v·(v > 0 ? 1 : slope)`, whole pixels per task.
fn scale_shift<T: Real>(y: &mut [T], x: &[T], a: &[T], b: &[T], slope: T) {
    let c = a.len();
    y.par_chunks_mut(BLOCK * c).zip(x.par_chunks(BLOCK * c)).for_each(|(y, x)| {
        for (y, x) in y.chunks_exact_mut(c).zip(x.chunks_exact(c)) {
            for i in 0..c {
                let v = a[i] * x[i] + b[i];
                y[i] = v * side(v, slope);
            }
        }
    });
}

/// Derivative of the activation whose value is `y`.
#[inline(always)]
fn side<T: Real>(y: T, slope: T) -> T {
    if y > T::ZERO { T::ONE } else { slope }
}

/// The values whose signs tell the side of the activation: the output `y`. Without an activation `y` is not kept and both sides have
/// slope 1, so `dy`, a slice of the same length, stands in for `y`.
fn masked<'a, T>(slope: f64, y: &'a [T], dy: &'a [T]) -> &'a [T] {
    if slope == 1.0 { dy } else { y }
}

/// `struct BatchNorm` of kernels/batch_norm.cu.
#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Params {
    eps: f64,
    momentum: f32,
    slope: f32,
    pixels: u32,
    channels: u32,
    split: u32,
    splits: u32,
}

/// The launches of one step: pixels × channels in tiles, and their sums.
struct Launches<'a> {
    g: &'a Operands<'a>,
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
    fn new(g: &'a Operands, eps: f64, momentum: f64, slope: f64) -> Launches<'a> {
        let (x, tiles) = (g.xs[0], tiles(g.xs[0]));
        let (split, splits, momentum, slope) = (tiles.split as u32, tiles.splits as u32, momentum as f32, slope as f32);
        let params = Params { eps, momentum, slope, pixels: x.pixels() as u32, channels: x.c, split, splits };
        Launches { g, tiles, params }
    }
    /// A kernel that walks over pixels of the type that `pixels` has.
    fn walk(&self, kernel: &str, pixels: Span) -> Result<Call<'a>> {
        let Tiles { block: [x, y], across, splits, .. } = self.tiles;
        Ok(self.g.typed(kernel, pixels)?.grid([across, splits, 1]).block3([x, y, 1]))
    }
    /// A kernel that adds up the shares: 8 channels to a block.
    fn total(&self, kernel: &str) -> Result<Call<'a>> {
        Ok(self.g.call(kernel)?.grid([(self.params.channels as usize).div_ceil(8), 1, 1]).block3([8, 32, 1]))
    }
    fn shares(&self) -> Span {
        self.g.scratch(0, shares(self.g.xs[0]))
    }
    /// `n` factors per channel, behind the shares.
    fn factors(&self, n: usize) -> Span {
        self.g.scratch(shares(self.g.xs[0]), n * self.params.channels as usize)
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
    fn halves(&self) -> Halves {
        Halves::follow(Set::of(0))
    }
    fn half_on_gpu(&self, _: Pass, _: &[Shape]) -> bool {
        true
    }
    fn keeps(&self, _: Set) -> Keeps {
        Keeps { x: Set::first(2), y: Set::of(1).and(2).union(Set::of(0).when(self.slope != 1.0)) }
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
            Pass::Backward => Cost { macs: 5 * n, bytes: if self.slope == 1.0 { 5 } else { 7 } * 4 * n },
        }
    }

    fn forward<T: Real>(&self, m: Host<T>) {
        let [y, mean, rstd, running_mean, running_var, _] = m.out;
        let (x, [gamma, beta]) = (m.x[0], [m.x[1], m.x[2]]);
        let (c, count) = (gamma.len(), m.xs[0].pixels() as f64);
        let (partial, tail) = m.scratch.split_at_mut(2 * blocks(m.xs[0]) * c);
        let shift = &x[..c];
        channel_sums(c, [x], partial, |[x], s1, s2| {
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
        scale_shift(y, x, scale, &offset[..c], T::of(self.slope));
    }

    fn backward<T: Real>(&self, m: Host<T>) {
        let [dx, dgamma, dbeta, ..] = m.out;
        let (x, gamma, [mean, rstd], dy) = (m.x[0], m.x[1], [m.y[1], m.y[2]], m.dy);
        let (y, slope) = (masked(self.slope, m.y[0], dy), T::of(self.slope));
        let (c, count) = (gamma.len(), m.xs[0].pixels() as f64);
        let (partial, tail) = m.scratch.split_at_mut(2 * blocks(m.xs[0]) * c);
        channel_sums(c, [x, y, dy], partial, |[x, y, dy], s1, s2| {
            for i in 0..c {
                let d = dy[i] * side(y[i], slope);
                s1[i] += d;
                s2[i] += d * ((x[i] - mean[i]) * rstd[i]);
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
        dx.par_chunks_mut(n).zip(x.par_chunks(n)).zip(y.par_chunks(n)).zip(dy.par_chunks(n)).for_each(|(((dx, x), y), dy)| {
            for (p, dx) in dx.chunks_exact_mut(c).enumerate() {
                let [x, y, dy] = [x, y, dy].map(|v| &v[p * c..(p + 1) * c]);
                for i in 0..c {
                    dx[i] = a[i] * (dy[i] * side(y[i], slope)) + (b[i] * (x[i] - mean[i]) + k[i]);
                }
            }
        });
    }

    fn gpu_scratch(&self, pass: Pass, xs: &[Shape], _: &[Shape], _: Set, _: Precision) -> usize {
        (shares(xs[0]) + if pass == Pass::Forward { 2 } else { 3 } * xs[0].c as usize) * F32
    }
    fn gpu_forward(&self, g: &Operands) -> Result<()> {
        let l = Launches::new(g, self.eps, self.momentum, self.slope);
        let (x, gamma, beta) = (g.x(0), g.x(1), g.x(2));
        let (y, mean, rstd, running_mean, running_var) = (g.out(0), g.out(1), g.out(2), g.out(3), g.out(4));
        l.walk("batch_norm_train_sums_fwd", x)?.write(l.shares()).read(x).value(&l.params).go()?;
        let total = l.total("batch_norm_train_total_fwd_f32")?.write(mean).write(rstd).update(running_mean).update(running_var);
        total.write(l.factors(2)).read(l.shares()).read(gamma).read(beta).value(&l.params).go()?;
        let apply = l.walk("batch_norm_train_fwd", y)?.write(y).read(x);
        apply.read(mean).read(l.factors(2)).value(&l.params).go()
    }
    fn gpu_backward(&self, g: &Operands) -> Result<()> {
        let l = Launches::new(g, self.eps, self.momentum, self.slope);
        let (x, gamma, mean, rstd, dy) = (g.x(0), g.x(1), g.y(1), g.y(2), g.dy());
        let factors = g.wants(0).then(|| l.factors(3));
        let sums = l.walk("batch_norm_sums_bwd", dy)?.write(l.shares()).read(x).read_or_null(g.y[0]).read(dy);
        sums.read(mean).value(&l.params).go()?;
        let total = l.total("batch_norm_train_total_bwd_f32")?.write_or_null(g.out[1]).write_or_null(g.out[2]);
        total.write_or_null(factors).read(l.shares()).read(gamma).read(rstd).value(&l.params).go()?;
        let Some(factors) = factors else { return Ok(()) };
        let apply = l.walk("batch_norm_train_bwd", dy)?.write(g.out(0)).read(x).read_or_null(g.y[0]).read(dy);
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
    fn halves(&self) -> Halves {
        Halves::follow(Set::of(0))
    }
    fn half_on_gpu(&self, _: Pass, _: &[Shape]) -> bool {
        true
    }
    fn keeps(&self, wants: Set) -> Keeps {
        let sums = wants.has(1) || wants.has(2);
        Keeps { x: Set::of(1).and(3).and(4).union(Set::of(0).when(sums)), y: Set::of(0).when(self.slope != 1.0) }
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
        scale_shift(y, x, scale, &offset[..c], T::of(self.slope));
    }

    fn backward<T: Real>(&self, m: Host<T>) {
        let [dx, dgamma, dbeta, ..] = m.out;
        let ([x, gamma, _, mean, var, _], dy) = (m.x, m.dy);
        let (y, slope) = (masked(self.slope, m.y[0], dy), T::of(self.slope));
        let c = gamma.len();
        let (partial, tail) = m.scratch.split_at_mut(2 * blocks(m.xs[0]) * c);
        let rstd = |i: usize| T::of(1.0 / (var[i].f64() + self.eps).sqrt());
        if !dgamma.is_empty() || !dbeta.is_empty() {
            channel_sums(c, [x, y, dy], partial, |[x, y, dy], s1, s2| {
                for i in 0..c {
                    let d = dy[i] * side(y[i], slope);
                    s1[i] += d;
                    s2[i] += d * (x[i] - mean[i]);
                }
            });
            dbeta.iter_mut().zip(&partial[..]).for_each(|(d, &s)| *d = s);
            dgamma.iter_mut().zip(&partial[c..]).enumerate().for_each(|(i, (d, &s))| *d = s * rstd(i));
        }
        if !dx.is_empty() {
            let scale = &mut tail[..c];
            (0..c).for_each(|i| scale[i] = gamma[i] * rstd(i));
            let (scale, n) = (&*scale, BLOCK * c);
            dx.par_chunks_mut(n).zip(y.par_chunks(n)).zip(dy.par_chunks(n)).for_each(|((dx, y), dy)| {
                for ((dx, y), dy) in dx.chunks_exact_mut(c).zip(y.chunks_exact(c)).zip(dy.chunks_exact(c)) {
                    (0..c).for_each(|i| dx[i] = scale[i] * (dy[i] * side(y[i], slope)));
                }
            });
        }
    }

    fn gpu_scratch(&self, pass: Pass, xs: &[Shape], _: &[Shape], wants: Set, _: Precision) -> usize {
        if pass == Pass::Backward && (wants.has(1) || wants.has(2)) { shares(xs[0]) * F32 } else { 0 }
    }
    fn gpu_forward(&self, g: &Operands) -> Result<()> {
        let l = Launches::new(g, self.eps, 0.0, self.slope);
        let apply = l.walk("batch_norm_eval_fwd", g.out(0))?.write(g.out(0)).read(g.x(0));
        apply.read(g.x(3)).read(g.x(4)).read(g.x(1)).read(g.x(2)).value(&l.params).go()
    }
    fn gpu_backward(&self, g: &Operands) -> Result<()> {
        let l = Launches::new(g, self.eps, 0.0, self.slope);
        let (gamma, mean, var, dy) = (g.x(1), g.x(3), g.x(4), g.dy());
        if g.wants(1) || g.wants(2) {
            let sums = l.walk("batch_norm_sums_bwd", dy)?.write(l.shares()).read(g.x(0)).read_or_null(g.y[0]).read(dy);
            sums.read(mean).value(&l.params).go()?;
            let total = l.total("batch_norm_eval_total_bwd_f32")?.write_or_null(g.out[1]).write_or_null(g.out[2]);
            total.read(l.shares()).read(var).value(&l.params).go()?;
        }
        if g.wants(0) {
            let apply = l.walk("batch_norm_eval_bwd", dy)?.write(g.out(0)).read_or_null(g.y[0]).read(dy);
            apply.read(var).read(gamma).value(&l.params).go()?;
        }
        Ok(())
    }
}

pub fn cases() -> Vec<Case> {
    let inputs = |s: Shape| {
        let c = Shape::vector(s.c as usize);
        [(s, Sampling::Normal), (c, Sampling::Positive), (c, Sampling::Normal), (c, Sampling::Normal), (c, Sampling::Positive)]
    };
    let train = || BatchNormTrain { eps: EPS, momentum: MOMENTUM, slope: 1.0 };
    let eval = || BatchNormEval { eps: EPS, slope: 1.0 };
    // On a GPU: channels one by one and by fours, one below, at and above the 64 pixels of a block, tiles of 32 groups with a rest,
    // more shares than the 32 rows that add them up take in four turns, and than they take in one.
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
        shape(1, 91, 91, 17),
        shape(1, 51, 50, 4),
    ];
    let mut rows: Vec<Case> = sizes.iter().map(|&s| case(format!("train {s}"), train(), &inputs(s))).collect();
    rows.extend(sizes.iter().map(|&s| case(format!("eval {s}"), eval(), &inputs(s))));
    // With an activation. Inputs are drawn; none of these rows has a value near the kink.
    for s in [shape(2, 5, 7, 3), shape(1, 9, 7, 4), shape(1, 5, 13, 17), shape(2, 4, 9, 64)] {
        for slope in [0.0, 0.2] {
            rows.push(case(format!("train slope {slope} {s}"), BatchNormTrain { slope, ..train() }, &inputs(s)));
            rows.push(case(format!("eval slope {slope} {s}"), BatchNormEval { slope, ..eval() }, &inputs(s)));
        }
    }
    // A part of the gradients.
    let s = shape(2, 5, 7, 3);
    rows.push(case("train x", train(), &inputs(s)).only(Set::of(0)));
    rows.push(case("train gamma", train(), &inputs(s)).only(Set::of(1)));
    rows.push(case("eval x", eval(), &inputs(s)).only(Set::of(0)));
    rows.push(case("eval beta", eval(), &inputs(s)).only(Set::of(2)));
    rows.push(case("train", train(), &inputs(shape(32, 16, 16, 128))).bench("encoder.4"));
    rows.push(case("eval", eval(), &inputs(shape(32, 16, 16, 128))).bench("encoder.4"));
    rows
}
