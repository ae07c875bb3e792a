//! Both passes of the attention loss on the CPU, in f32 or f64, a picture per task.

use rayon::prelude::*;

use super::{CamAttention, Norm, Reduce, Weight};
use crate::core::op::{Host, Pass};
use crate::core::real::Real;
use crate::core::shape::Shape;
use crate::ops::bilinear::tap;

/// Keeps quotients finite where a map or its weights vanish.
const EPS: f64 = 1e-6;

/// Sums over one slice in f64: maps are short, and their means decide between large terms that cancel.
fn sum<T: Real>(x: impl Iterator<Item = T>) -> f64 {
    x.map(|x| x.f64()).sum()
}

fn dot<T: Real>(a: &[T], b: &[T]) -> T {
    let mut lane = [T::ZERO; 16];
    let (ac, bc) = (a.chunks_exact(16), b.chunks_exact(16));
    let tail: T = ac.remainder().iter().zip(bc.remainder()).map(|(&a, &b)| a * b).sum();
    for (a, b) in ac.zip(bc) {
        for i in 0..16 {
            lane[i] += a[i] * b[i];
        }
    }
    lane.iter().copied().sum::<T>() + tail
}

/// y += a·x
fn axpy<T: Real>(y: &mut [T], a: T, x: &[T]) {
    y.iter_mut().zip(x).for_each(|(y, &x)| *y += a * x);
}

/// Position and value of the first smallest and first largest element; there is one at least.
fn extremes<T: Real>(m: impl Iterator<Item = T>) -> ((usize, T), (usize, T)) {
    let mut m = m.enumerate();
    let first = m.next().expect("a map has pixels");
    let (mut lo, mut hi) = (first, first);
    for (i, x) in m {
        if x < lo.1 {
            lo = (i, x);
        }
        if x > hi.1 {
            hi = (i, x);
        }
    }
    (lo, hi)
}

/// Mean and standard deviation.
fn moments<T: Real>(m: impl ExactSizeIterator<Item = T> + Clone) -> (f64, f64) {
    let n = m.len() as f64;
    let mean = sum(m.clone()) / n;
    (mean, (m.map(|x| (x.f64() - mean).powi(2)).sum::<f64>() / n).sqrt())
}

impl CamAttention {
    fn alpha<T: Real>(&self, z: T) -> T {
        match self.weight {
            Weight::Abs => z.abs(),
            Weight::Signed => z,
            Weight::Sign => z.sign(),
        }
    }
    /// dα/dz.
    fn dalpha<T: Real>(&self, z: T) -> T {
        match self.weight {
            Weight::Abs => z.sign(),
            Weight::Signed => T::ONE,
            Weight::Sign => T::ZERO,
        }
    }
    /// Σ|α| + ε if the weights are normalised, else 1.
    fn sigma<T: Real>(&self, z: &[T]) -> T {
        match self.norm {
            Norm::Weight => T::of(sum(z[self.range(z.len())].iter().map(|&z| self.alpha(z).abs())) + EPS),
            _ => T::ONE,
        }
    }
    /// v_k = Σ_c α_c W[c,k] / σ.
    fn class_vector<T: Real>(&self, v: &mut [T], z: &[T], w: &[T]) {
        let (k, sigma) = (v.len(), self.sigma(z));
        v.fill(T::ZERO);
        for c in self.range(z.len()) {
            axpy(v, self.alpha(z[c]) / sigma, &w[c * k..][..k]);
        }
    }

    /// m̃ = norm(m).
    fn normalise<T: Real>(&self, out: &mut [T], m: &[T]) {
        out.copy_from_slice(m);
        if self.relu {
            out.iter_mut().for_each(|x| *x = x.max(T::ZERO));
        }
        let t = self.temperature;
        match self.norm {
            Norm::None | Norm::Weight => {}
            Norm::Minmax => {
                let ((_, lo), (_, hi)) = extremes(out.iter().copied());
                let r = hi - lo + T::of(EPS);
                out.iter_mut().for_each(|x| *x = (*x - lo) / r);
            }
            Norm::ReluMax => {
                let top = extremes(out.iter().copied()).1.1.max(T::ZERO) + T::of(EPS);
                out.iter_mut().for_each(|x| *x = x.max(T::ZERO) / top);
            }
            Norm::Sigmoid => {
                let (mean, std) = moments(out.iter().copied());
                out.iter_mut().for_each(|x| *x = sigmoid(T::of(t * (x.f64() - mean) / (std + EPS))));
            }
            Norm::SigmoidRaw => out.iter_mut().for_each(|x| *x = sigmoid(T::of(t) * *x)),
        }
    }

    /// d = dL/dm from d̃ = dL/dm̃, in place; `m` before and `out` after the norm.
    fn normalise_backward<T: Real>(&self, d: &mut [T], m: &[T], out: &[T]) {
        let rect = |x: T| if self.relu { x.max(T::ZERO) } else { x };
        let n = m.len();
        // The steps of `normalise` in reverse: its ReLU comes last, after the match.
        match self.norm {
            Norm::None | Norm::Weight => {}
            Norm::Minmax | Norm::ReluMax => {
                let (lo, hi) = extremes(m.iter().map(|&x| rect(x)));
                let (s1, s2) = (sum(d.iter().copied()), sum(d.iter().zip(out).map(|(&d, &o)| d * o)));
                if self.norm == Norm::Minmax {
                    let r = hi.1 - lo.1 + T::of(EPS);
                    d.iter_mut().for_each(|d| *d = *d / r);
                    if !self.minmax_stopgrad {
                        d[lo.0] += T::of(s2 - s1) / r;
                        d[hi.0] -= T::of(s2) / r;
                    }
                } else {
                    let top = hi.1.max(T::ZERO) + T::of(EPS);
                    d.iter_mut().zip(m).for_each(|(d, &m)| *d = if m > T::ZERO { *d / top } else { T::ZERO });
                    if !self.minmax_stopgrad && hi.1 > T::ZERO {
                        d[hi.0] -= T::of(s2) / top;
                    }
                }
            }
            Norm::Sigmoid => {
                let t = self.temperature;
                let (mean, std) = moments(m.iter().map(|&x| rect(x)));
                let s = std + EPS;
                let (mut s1, mut s2) = (0.0, 0.0);
                for ((d, &o), &m) in d.iter_mut().zip(out).zip(m) {
                    *d = *d * o * (T::ONE - o) * T::of(t);
                    s1 += d.f64();
                    s2 += d.f64() * (rect(m).f64() - mean) / s;
                }
                let spread = if std > 0.0 { s2 / (s * n as f64 * std) } else { 0.0 };
                for (d, &m) in d.iter_mut().zip(m) {
                    *d = T::of((d.f64() - s1 / n as f64) / s - spread * (rect(m).f64() - mean));
                }
            }
            Norm::SigmoidRaw => {
                let t = T::of(self.temperature);
                d.iter_mut().zip(out).for_each(|(d, &o)| *d = *d * o * (T::ONE - o) * t);
            }
        }
        if self.relu {
            d.iter_mut().zip(m).for_each(|(d, &m)| *d = if m > T::ZERO { *d } else { T::ZERO });
        }
    }

    /// ‖U m̃ Uᵀ − G‖², and Uᵀ(U m̃ Uᵀ − G)U added up in `fold`. `rows` holds two rows of the map.
    fn error<T: Real>(
        &self,
        map: &[T],
        (h, w): (usize, usize),
        g: &[T],
        (oh, ow): (usize, usize),
        fold: &mut [T],
        rows: &mut [T],
    ) -> f64 {
        let (row, back) = rows.split_at_mut(w);
        fold.fill(T::ZERO);
        let mut total = 0.0;
        for (p, g) in g.chunks(ow).enumerate() {
            let (i0, i1, l) = tap(p, h, oh, self.align_corners);
            let l = T::of(l);
            for j in 0..w {
                row[j] = (T::ONE - l) * map[i0 * w + j] + l * map[i1 * w + j];
                back[j] = T::ZERO;
            }
            let mut line = T::ZERO;
            for (q, &g) in g.iter().enumerate() {
                let (j0, j1, k) = tap(q, w, ow, self.align_corners);
                let k = T::of(k);
                let e = (T::ONE - k) * row[j0] + k * row[j1] - g;
                line += e * e;
                back[j0] += (T::ONE - k) * e;
                back[j1] += k * e;
            }
            total += line.f64();
            axpy(&mut fold[i0 * w..i0 * w + w], T::ONE - l, back);
            axpy(&mut fold[i1 * w..i1 * w + w], l, back);
        }
        total
    }
}

fn sigmoid<T: Real>(x: T) -> T {
    T::ONE / (T::ONE + (-x).exp())
}

/// Workspace in values.
pub(super) fn scratch(pass: Pass, xs: &[Shape]) -> usize {
    let (n, h, w, k) = xs[0].dims();
    match pass {
        Pass::Forward => n * (k + 2 * w + 1),
        // v, q, Σ s W, d, s, α for every image.
        Pass::Backward => n * (3 * k + h * w + 2 * xs[1].n as usize),
    }
}

impl CamAttention {
    pub(super) fn host_forward<T: Real>(&self, m: Host<T>) {
        let [loss, map, dmap, z, g, raw] = m.out;
        let [f, w, b, mask, select, _] = m.x;
        let ((n, h, wd, k), (_, oh, ow, _)) = (m.xs[0].dims(), m.xs[3].dims());
        let (d, p) = (b.len(), h * wd);
        let pixels = if self.pixel_reduce == Reduce::Mean { (oh * ow) as f64 } else { 1.0 };
        let chosen = sum(select.iter().copied());
        let per_image = k + 2 * wd + 1;

        let maps = map.par_chunks_mut(p).zip(dmap.par_chunks_mut(p)).zip(raw.par_chunks_mut(p));
        let heads = z.par_chunks_mut(d).zip(g.par_chunks_mut(k)).zip(m.scratch.par_chunks_mut(per_image));
        let data = f.par_chunks(p * k).zip(mask.par_chunks(oh * ow)).zip(select);
        maps.zip(heads).zip(data).for_each(|((((map, dmap), raw), ((z, g), scratch)), ((f, mask), &phi))| {
            let (v, scratch) = scratch.split_at_mut(k);
            let (rows, error) = scratch.split_at_mut(2 * wd);
            g.fill(T::ZERO);
            f.chunks(k).for_each(|pixel| axpy(g, T::ONE, pixel));
            g.iter_mut().for_each(|g| *g *= T::of(1.0 / p as f64));
            z.iter_mut().zip(w.chunks(k)).zip(b).for_each(|((z, w), &b)| *z = dot(w, g) + b);
            self.class_vector(v, z, w);
            raw.iter_mut().zip(f.chunks(k)).for_each(|(m, pixel)| *m = dot(v, pixel));
            self.normalise(map, raw);
            error[0] = T::ZERO;
            if phi == T::ZERO || chosen == 0.0 {
                dmap.fill(T::ZERO);
                return;
            }
            let total = self.error(map, (h, wd), mask, (oh, ow), dmap, rows);
            error[0] = T::of(phi.f64() * total / (pixels * chosen));
            let kappa = T::of(2.0 * phi.f64() / (pixels * chosen));
            dmap.iter_mut().for_each(|d| *d *= kappa);
        });
        loss[0] = T::of(sum(m.scratch.chunks(per_image).take(n).map(|s| s[per_image - 1])));
    }

    pub(super) fn host_backward<T: Real>(&self, m: Host<T>) {
        let [df, dw, db, ..] = m.out;
        let ([f, w, ..], [_, map, dmap, z, g, raw], dy) = (m.x, m.y, m.dy[0]);
        let (n, h, wd, k) = m.xs[0].dims();
        let (d, p) = (m.xs[1].n as usize, h * wd);
        let per_image = 3 * k + p + 2 * d;
        let inverse = T::of(1.0 / p as f64);
        let work = |i: usize, scratch: &mut [T]| {
            let (v, rest) = scratch.split_at_mut(k);
            let (q, rest) = rest.split_at_mut(k);
            let (r, rest) = rest.split_at_mut(k);
            let (dm, rest) = rest.split_at_mut(p);
            let (s, alpha) = rest.split_at_mut(d);
            let (z, f) = (&z[i * d..][..d], &f[i * p * k..][..p * k]);
            self.class_vector(v, z, w);
            dm.iter_mut().zip(&dmap[i * p..]).for_each(|(o, &d)| *o = d * dy);
            self.normalise_backward(dm, &raw[i * p..][..p], &map[i * p..][..p]);
            q.fill(T::ZERO);
            f.chunks(k).zip(&*dm).for_each(|(pixel, &d)| axpy(q, d, pixel));
            // Through the division by σ: v = v_raw/σ.
            let sigma = self.sigma(z);
            let through_sigma = if self.norm == Norm::Weight { -dot(q, v) / sigma } else { T::ZERO };
            q.iter_mut().for_each(|q| *q = *q / sigma);
            s.fill(T::ZERO);
            alpha.fill(T::ZERO);
            r.fill(T::ZERO);
            for c in self.range(d) {
                alpha[c] = self.alpha(z[c]);
                if !self.detach_z {
                    let dalpha = dot(&w[c * k..][..k], q) + through_sigma * alpha[c].sign();
                    s[c] = self.dalpha(z[c]) * dalpha;
                    axpy(r, s[c] * inverse, &w[c * k..][..k]);
                }
            }
        };
        if df.is_empty() {
            m.scratch.par_chunks_mut(per_image).take(n).enumerate().for_each(|(i, scratch)| work(i, scratch));
        } else {
            df.par_chunks_mut(p * k).zip(m.scratch.par_chunks_mut(per_image)).enumerate().for_each(|(i, (df, scratch))| {
                work(i, scratch);
                let (v, r, dm) = (&scratch[..k], &scratch[2 * k..3 * k], &scratch[3 * k..3 * k + p]);
                for (df, &d) in df.chunks_mut(k).zip(dm) {
                    df.iter_mut().zip(v).zip(r).for_each(|((o, &v), &r)| *o = v * d + r);
                }
            });
        }
        // Images are added in order, one row of W per task.
        let scratch = &*m.scratch;
        let image = |i: usize| {
            let s = &scratch[i * per_image..][..per_image];
            (&s[k..2 * k], &s[3 * k + p..3 * k + p + d], &s[3 * k + p + d..])
        };
        if !dw.is_empty() {
            dw.par_chunks_mut(k).enumerate().for_each(|(c, dw)| {
                dw.fill(T::ZERO);
                for i in 0..n {
                    let (q, s, alpha) = image(i);
                    axpy(dw, alpha[c], q);
                    axpy(dw, s[c], &g[i * k..][..k]);
                }
            });
        }
        for (c, db) in db.iter_mut().enumerate() {
            *db = (0..n).map(|i| image(i).1[c]).sum();
        }
    }
}
