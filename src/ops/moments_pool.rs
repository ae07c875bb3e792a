//! Statistics of each channel over the pixels of a picture (Rahmouni et al. 2017): mean, least, greatest value, biased variance.
//!
//! ```text
//! y  = (mean x, min x, max x, 1/n Σ (x − mean)²)     each of C channels, in this order
//! dx = dmean/n + dmin at the first least + dmax at the first greatest + dvar · 2 (x − mean)/n
//! ```
//! The second output is where the first least and the first greatest value lie: pixel numbers, which f32 holds exactly.

use rayon::prelude::*;

use crate::core::case::{Case, Sampling, case};
use crate::core::launch::{Call, Operands};
use crate::core::op::{Cost, Halves, Host, Keeps, Op, Pass, Set};
use crate::core::real::Real;
use crate::core::shape::{Shape, shape};
use crate::core::tape::{Tape, Var};
use crate::device::tiles::Tiles;
use crate::error::Result;

#[derive(Debug, Clone)]
pub struct MomentsPool;

/// `x`: N×H×W×C → N×1×1×4C: mean, least, greatest, variance.
pub fn moments_pool(t: &mut Tape, x: Var) -> Result<Var> {
    t.apply(MomentsPool, &[x])
}

/// `struct Moments` of kernels/moments_pool.cu.
#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Params {
    pixels: u32,
    channels: u32,
    across: u32,
    split: u32,
}

impl MomentsPool {
    /// A launch over pictures × tiles of `width` groups of channels; along the pixels one block, or as many as the tiles say.
    fn launch<'a>(&self, g: &'a Operands, kernel: &str, width: usize, split: bool) -> Result<(Call<'a>, Params)> {
        let x = g.xs[0];
        let pixels = (x.h * x.w) as usize;
        let t = Tiles::new(pixels, x.c as usize, width);
        let p = Params { pixels: pixels as u32, channels: x.c, across: t.across as u32, split: t.split as u32 };
        let grid = [x.n as usize * t.across, if split { t.splits } else { 1 }, 1];
        Ok((g.call(kernel)?.grid(grid).block3([t.block[0], t.block[1], 1]), p))
    }
}

/// Means of f(channel, x) over the pixels of an image: rows of `row` values, then their sums, so that long sums keep their
/// digits.
fn mean<T: Real>(y: &mut [T], image: &[T], row: usize, sum: &mut [T], f: impl Fn(usize, T) -> T) {
    let n = T::of((image.len() / y.len()) as f64);
    y.fill(T::ZERO);
    for row in image.chunks_exact(row) {
        sum.fill(T::ZERO);
        for pixel in row.chunks_exact(y.len()) {
            sum.iter_mut().zip(pixel).enumerate().for_each(|(i, (s, &x))| *s += f(i, x));
        }
        y.iter_mut().zip(&*sum).for_each(|(y, &s)| *y += s);
    }
    y.iter_mut().for_each(|y| *y = *y / n);
}

/// The four parts of a row of statistics.
fn parts<T>(y: &[T]) -> [&[T]; 4] {
    let c = y.len() / 4;
    std::array::from_fn(|i| &y[i * c..(i + 1) * c])
}

impl Op for MomentsPool {
    fn name(&self) -> &'static str {
        "moments_pool"
    }
    fn infer(&self, x: &[Shape]) -> Result<Vec<Shape>, String> {
        match x {
            [x] if !x.is_empty() && x.h as u64 * (x.w as u64) < 1 << 24 => {
                Ok([4, 2].map(|k| shape(x.n as usize, 1, 1, k * x.c as usize)).to_vec())
            }
            _ => Err(format!("needs one input with pixels, fewer than 2²⁴ in a picture, got {x:?}")),
        }
    }
    fn halves(&self) -> Halves {
        Halves::sum(Set::of(0))
    }
    fn keeps(&self, _: Set) -> Keeps {
        Keeps { x: Set::of(0), y: Set::first(2) }
    }
    /// A sum of a row of pixels for each picture.
    fn scratch(&self, pass: Pass, xs: &[Shape], _: &[Shape], _: Set) -> usize {
        if pass == Pass::Forward { (xs[0].n * xs[0].c) as usize } else { 0 }
    }
    fn cost(&self, pass: Pass, xs: &[Shape], ys: &[Shape]) -> Cost {
        let (x, y) = (xs[0].len() as u64, (ys[0].len() + ys[1].len()) as u64);
        let streams = if pass == Pass::Forward { 1 } else { 2 };
        Cost { macs: 4 * x, bytes: 4 * (streams * x + y) }
    }
    fn forward<T: Real>(&self, m: Host<T>) {
        let ([y, at, ..], x) = (m.out, m.xs[0]);
        let (c, row) = (x.c as usize, (x.w * x.c) as usize);
        let images = y.par_chunks_mut(4 * c).zip(at.par_chunks_mut(2 * c)).zip(m.x[0].par_chunks(x.per_image()));
        images.zip(m.scratch.par_chunks_mut(c)).for_each(|(((y, at), x), sum)| {
            let (mu, y) = y.split_at_mut(c);
            let (least, y) = y.split_at_mut(c);
            let (greatest, variance) = y.split_at_mut(c);
            mean(mu, x, row, sum, |_, x| x);
            mean(variance, x, row, sum, |i, x| (x - mu[i]) * (x - mu[i]));
            least.copy_from_slice(&x[..c]);
            greatest.copy_from_slice(&x[..c]);
            at.fill(T::ZERO);
            for (p, pixel) in x.chunks_exact(c).enumerate() {
                for (i, &x) in pixel.iter().enumerate() {
                    if x < least[i] {
                        (least[i], at[i]) = (x, T::of(p as f64));
                    }
                    if x > greatest[i] {
                        (greatest[i], at[c + i]) = (x, T::of(p as f64));
                    }
                }
            }
        });
    }
    fn backward<T: Real>(&self, m: Host<T>) {
        let ([dx, ..], x) = (m.out, m.xs[0]);
        let (c, per, n) = (x.c as usize, x.per_image(), T::of(x.h as f64 * x.w as f64));
        let statistics = m.y[0].par_chunks(4 * c).zip(m.y[1].par_chunks(2 * c)).zip(m.dy.par_chunks(4 * c));
        dx.par_chunks_mut(per).zip(m.x[0].par_chunks(per)).zip(statistics).for_each(|((dx, x), ((y, at), dy))| {
            let ([mu, ..], [dmean, dleast, dgreatest, dvariance]) = (parts(y), parts(dy));
            for (dx, x) in dx.chunks_exact_mut(c).zip(x.chunks_exact(c)) {
                for i in 0..c {
                    dx[i] = dmean[i] / n + (dvariance[i] + dvariance[i]) / n * (x[i] - mu[i]);
                }
            }
            for i in 0..c {
                dx[at[i].f64() as usize * c + i] += dleast[i];
                dx[at[c + i].f64() as usize * c + i] += dgreatest[i];
            }
        });
    }

    fn gpu_forward(&self, g: &Operands) -> Result<()> {
        // Narrow blocks of eight groups, as of global average pooling.
        let (call, p) = self.launch(g, "moments_pool_fwd_f32", 8, false)?;
        call.write(g.out(0)).write(g.out(1)).read(g.x(0)).value(&p).go()
    }
    fn gpu_backward(&self, g: &Operands) -> Result<()> {
        let (call, p) = self.launch(g, "moments_pool_bwd_f32", 32, true)?;
        call.write(g.out(0)).read(g.x(0)).read(g.y(0)).read(g.y(1)).read(g.dy()).value(&p).go()
    }
}

pub fn cases() -> Vec<Case> {
    let row = |s| case(format!("{s}"), MomentsPool, &[(s, Sampling::Distinct)]);
    // Channels one by one and by fours, tiles of 8 and 32 groups with a rest, fewer and more pixels than a block has rows.
    let small = [
        (2, 5, 7, 3),
        (1, 1, 1, 9),
        (2, 3, 3, 8),
        (2, 8, 9, 33),
        (1, 9, 15, 36),
        (2, 5, 13, 132),
        (3, 1, 2, 32),
        (1, 9, 15, 9),
        (1, 17, 19, 1),
        (1, 31, 33, 4),
    ];
    let mut rows: Vec<Case> = small.iter().map(|&(n, h, w, c)| row(shape(n, h, w, c))).collect();
    // Equal values: the first has the gradient, wherever in a block it lies.
    for s in [shape(2, 6, 8, 4), shape(1, 9, 31, 3)] {
        rows.push(case(format!("{s}, ties"), MomentsPool, &[(s, Sampling::Binary)]).withholds());
    }
    rows.push(row(shape(64, 64, 64, 64)).bench("stats.4"));
    rows
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::params::ParamStore;
    use crate::core::plan::{Memory, Plan};
    use crate::ops::dot::dot;

    /// Statistics and gradient of one channel.
    fn run(x: &[f32], u: [f32; 4]) -> (Vec<f32>, Vec<f32>) {
        let mut store = ParamStore::<f32>::new(0);
        let mut t = Tape::new(&store);
        let (xv, uv) = (t.input(shape(1, 1, x.len(), 1)), t.input(Shape::vector(4)));
        let y = moments_pool(&mut t, xv).unwrap();
        let loss = dot(&mut t, y, uv).unwrap();
        let dx = t.backward(loss, &[xv]).unwrap().of(xv).unwrap();
        let mut plan = Plan::new(t, &[y, dx], Memory::Planned).unwrap();
        plan.feed(xv).unwrap().copy_from_slice(x);
        plan.feed(uv).unwrap().copy_from_slice(&u);
        plan.run(&mut store).unwrap();
        (plan.fetch(y).unwrap().to_vec(), plan.fetch(dx).unwrap().to_vec())
    }

    #[test]
    fn the_first_of_equal_values_has_the_gradient() {
        let (y, dx) = run(&[3.0, 1.0, 5.0, 1.0, 5.0], [0.0, 2.0, 7.0, 0.0]);
        assert_eq!((y, dx), (vec![3.0, 1.0, 5.0, 3.2], vec![0.0, 2.0, 7.0, 0.0, 0.0]));
        // The first pixel, and a channel without variance.
        let (y, dx) = run(&[4.0; 4], [4.0, 1.0, 2.0, 5.0]);
        assert_eq!((y, dx), (vec![4.0, 4.0, 4.0, 0.0], vec![4.0, 1.0, 1.0, 1.0]));
    }

    /// 1/n Σx² − mean² in f32 would keep no digit.
    #[test]
    fn a_large_mean_costs_the_variance_no_digits() {
        let x: Vec<f32> = (0..4096).map(|i| 4096.0 + if i % 2 == 0 { 0.5 } else { -0.5 }).collect();
        assert_eq!(run(&x, [0.0; 4]).0, [4096.0, 4095.5, 4096.5, 0.25]);
    }
}
