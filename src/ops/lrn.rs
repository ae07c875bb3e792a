//! Local response normalisation across channels (Krizhevsky, Sutskever, Hinton 2012), torch's and Caffe's convention:
//!
//! ```text
//! y_c  = x_c · s_c^−β                       s_c = k + α/size · Σ x_j²   over |j − c| ≤ size/2, no channel beyond the edges
//! dx_c = dy_c · s_c^−β − 2αβ/size · x_c · Σ dy_j · x_j · s_j^(−β−1)     over the same j
//! ```

use rayon::prelude::*;

use crate::core::case::{Case, Sampling, case};
use crate::core::launch::{Call, F32, Operands};
use crate::core::op::{Cost, Halves, Host, Keeps, Op, Pass, Set};
use crate::core::par::GRAIN;
use crate::core::real::Real;
use crate::core::shape::{Shape, shape};
use crate::core::tape::{Tape, Var};
use crate::device::tiles::{Tiles, vector};
use crate::error::Result;

#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Lrn {
    /// Channels of a window, an odd number.
    pub size: usize,
    pub alpha: f64,
    pub beta: f64,
    pub k: f64,
}

/// Normalise over windows of `size` channels with α and β; k = 1.
pub fn lrn(t: &mut Tape, x: Var, size: usize, alpha: f64, beta: f64) -> Result<Var> {
    t.apply(Lrn { size, alpha, beta, k: 1.0 }, &[x])
}

impl Lrn {
    /// α/size.
    fn scale(&self) -> f64 {
        self.alpha / self.size as f64
    }

    /// out[c] = Σ f(v[j]) over the window of c, channels in order.
    fn window<T: Real>(&self, out: &mut [T], v: &[T], f: impl Fn(T) -> T) {
        out.fill(T::ZERO);
        let (half, n) = (self.size / 2, v.len());
        for j in 0..self.size {
            let (to, from) = (half.saturating_sub(j).min(n), j.saturating_sub(half).min(n));
            out[to..].iter_mut().zip(&v[from..]).for_each(|(o, &v)| *o += f(v));
        }
    }

    /// s from sums of squares, in place.
    fn base<T: Real>(&self, sums: &mut [T]) {
        let (k, scale) = (T::of(self.k), T::of(self.scale()));
        sums.iter_mut().for_each(|s| *s = k + scale * *s);
    }

    /// s^−β. The usual β = ¾ takes two roots, which loops over it do many at once.
    fn power<T: Real>(&self) -> impl Fn(T) -> T + Copy {
        let (beta, roots) = (T::of(self.beta), self.beta == 0.75);
        move |s: T| {
            let r = s.sqrt();
            if roots { T::ONE / (r * r.sqrt()) } else { (-beta * s.ln()).exp() }
        }
    }
}

/// `struct Lrn` of kernels/lrn.cu.
#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Params {
    pixels: u32,
    channels: u32,
    across: u32,
    half: u32,
    reach: u32,
    k: f32,
    scale: f32,
    beta: f32,
    pull: f32,
}

/// Shared memory that every device gives a block.
const SHARED: usize = 48 * 1024;

impl Lrn {
    /// A launch whose threads keep, for each pixel, rows of the block's channels: `rows` of them, which reach `halos` windows
    /// beyond these in all.
    fn launch<'a>(&self, g: &'a Operands, kernel: &str, rows: usize, halos: usize) -> Result<(Call<'a>, Params)> {
        let (x, half) = (g.xs[0], self.size / 2);
        let (pixels, v) = (x.pixels(), vector(x.c as usize));
        let Tiles { block: [groups, _], across, .. } = Tiles::new(pixels, x.c as usize, 32);
        let reach = half.div_ceil(v);
        let bytes = (rows * groups + 2 * halos * reach) * v * F32;
        let at_once = (SHARED / bytes).min(256 / groups);
        let [half, reach, across32] = [half, reach, across].map(|n| n as u32);
        let [k, scale, beta, pull] = [self.k, self.scale(), self.beta, 2.0 * self.scale() * self.beta].map(|x| x as f32);
        let p = Params { pixels: pixels as u32, channels: x.c, across: across32, half, reach, k, scale, beta, pull };
        let call = g.call(kernel)?.grid([across * pixels.div_ceil(at_once), 1, 1]).block3([groups, at_once, 1]);
        Ok((call.shared(at_once * bytes), p))
    }
}

impl Op for Lrn {
    fn name(&self) -> &'static str {
        "lrn"
    }
    fn infer(&self, x: &[Shape]) -> Result<Vec<Shape>, String> {
        let [x] = x else { return Err(format!("needs one input, got {}", x.len())) };
        if self.size.is_multiple_of(2) || self.size > 255 || self.k <= 0.0 {
            return Err(format!("a window has an odd number of channels, at most 255, and k is positive: {self:?}"));
        }
        Ok(vec![*x])
    }
    fn halves(&self) -> Halves {
        Halves::follow(Set::of(0))
    }
    fn keeps(&self, _: Set) -> Keeps {
        Keeps::x(Set::of(0))
    }
    /// Two rows of a pixel for each picture.
    fn scratch(&self, pass: Pass, xs: &[Shape], _: &[Shape], _: Set) -> usize {
        if pass == Pass::Backward { 2 * (xs[0].n * xs[0].c) as usize } else { 0 }
    }
    /// The windows' products.
    fn cost(&self, pass: Pass, xs: &[Shape], _: &[Shape]) -> Cost {
        let (n, backward) = (xs[0].len() as u64, (pass == Pass::Backward) as u64);
        Cost { macs: (1 + backward) * n * self.size as u64, bytes: 4 * (2 + backward) * n }
    }
    fn forward<T: Real>(&self, m: Host<T>) {
        let ([y, ..], c) = (m.out, m.xs[0].c as usize);
        let (task, power) = ((GRAIN / c).max(1) * c, self.power());
        y.par_chunks_mut(task).zip(m.x[0].par_chunks(task)).for_each(|(y, x)| {
            for (y, x) in y.chunks_exact_mut(c).zip(x.chunks_exact(c)) {
                self.window(y, x, |x| x * x);
                self.base(y);
                y.iter_mut().zip(x).for_each(|(y, &x)| *y = x * power(*y));
            }
        });
    }
    fn backward<T: Real>(&self, m: Host<T>) {
        let ([dx, ..], c, per) = (m.out, m.xs[0].c as usize, m.xs[0].per_image());
        let (power, pull) = (self.power(), T::of(2.0 * self.scale() * self.beta));
        let images = dx.par_chunks_mut(per).zip(m.x[0].par_chunks(per)).zip(m.dy.par_chunks(per));
        images.zip(m.scratch.par_chunks_mut(2 * c)).for_each(|(((dx, x), dy), scratch)| {
            let (s, t) = scratch.split_at_mut(c);
            for ((dx, x), dy) in dx.chunks_exact_mut(c).zip(x.chunks_exact(c)).zip(dy.chunks_exact(c)) {
                self.window(s, x, |x| x * x);
                self.base(s);
                for (((s, t), &x), &dy) in s.iter_mut().zip(&mut *t).zip(x).zip(dy) {
                    let a = dy * power(*s);
                    (*t, *s) = (a * x / *s, a);
                }
                self.window(dx, t, |t| t);
                dx.iter_mut().zip(x).zip(&*s).for_each(|((dx, &x), &a)| *dx = a - pull * x * *dx);
            }
        });
    }

    fn gpu_forward(&self, g: &Operands) -> Result<()> {
        let (call, p) = self.launch(g, "lrn_fwd_f32", 1, 1)?;
        call.write(g.out(0)).read(g.x(0)).value(&p).go()
    }
    fn gpu_backward(&self, g: &Operands) -> Result<()> {
        let (call, p) = self.launch(g, "lrn_bwd_f32", 2, 3)?;
        call.write(g.out(0)).read(g.x(0)).read(g.dy()).value(&p).go()
    }
}

pub fn cases() -> Vec<Case> {
    let row = |size, beta, s| {
        let op = Lrn { size, alpha: 0.5, beta, k: 1.5 };
        case(format!("{size}, β {beta}, {s}"), op, &[(s, Sampling::Normal)])
    };
    vec![
        row(5, 0.75, shape(2, 3, 5, 7)),
        // Fewer channels than a window has, one channel, a window of one.
        row(5, 0.75, shape(2, 3, 3, 2)),
        row(5, 0.75, shape(1, 17, 16, 1)),
        row(1, 0.75, shape(1, 3, 3, 6)),
        // Fours: fewer than a window, whole tiles of 32 fours, one four more, with a rest of pixels.
        row(5, 0.75, shape(3, 9, 11, 4)),
        row(5, 0.75, shape(1, 5, 13, 64)),
        row(5, 0.75, shape(2, 3, 3, 128)),
        row(5, 0.75, shape(1, 3, 3, 132)),
        row(5, 0.75, shape(1, 2, 3, 260)),
        // One by one: a tile of 32, one more.
        row(5, 0.75, shape(2, 5, 4, 31)),
        row(3, 0.75, shape(1, 3, 5, 33)),
        row(7, 0.75, shape(1, 2, 2, 67)),
        // Windows that reach over several fours, and over the shared memory of 256 threads; other exponents.
        row(9, 0.75, shape(1, 3, 4, 20)),
        row(11, 0.5, shape(2, 3, 4, 136)),
        row(31, 1.0, shape(1, 20, 20, 4)),
        row(63, 0.6, shape(1, 20, 15, 3)),
        row(5, 0.75, shape(32, 56, 56, 64)).bench("suppress.3"),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_without_a_middle_are_refused() {
        let infer = |size, k| Op::infer(&Lrn { size, alpha: 1e-4, beta: 0.75, k }, &[shape(1, 2, 2, 8)]);
        assert_eq!(infer(5, 1.0), Ok(vec![shape(1, 2, 2, 8)]));
        for (size, k) in [(4, 1.0), (0, 1.0), (257, 1.0), (5, 0.0)] {
            assert!(infer(size, k).unwrap_err().contains("odd number of channels"), "{size}, {k}");
        }
    }
}
