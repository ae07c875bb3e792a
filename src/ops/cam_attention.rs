//! The fused CAM-attention loss, equations 7 to 9: class activation map → |z|-weighted sum → normalisation → upsampling → masked
//! squared error, and the whole backward, without a full-size map in memory.
//!
//! Inputs: `f` N×h×w×K (the encoder's last ReLU), head `W` D×1×1×K and `b` D, mask `G` N×S×S×1 of zeros and ones, and
//! `select` N×1×1×1 (φ: 1 where the picture has a mask). Outputs: the loss, the normalised map m̃ N×h×w×1, and what backward
//! remembers (dℓ/dm̃, z, g, m).
//!
//! ```text
//! g = mean_p f        z = W g + b                                   (the paper's GAP and last layer)
//! α_c = |z_c|         v_k = Σ_c α_c W[c,k]       c in the F half    (eq. 8; `cam.weight`, `cam.units`)
//! m_p = Σ_k v_k f[p,k]                                              (eq. 7 and 8 in one dot product: Σ_c α_c M_c)
//! m̃ = norm(m)        M̂ = U m̃ Uᵀ                                    (`cam.norm`, `cam.relu`; U: bilinear rows)
//! L = 1/Φ Σ_i φ_i ‖M̂_i − G_i‖² / P       Φ = Σφ, P = S² or 1        (eq. 9 and 11; `attention.pixel_reduce`)
//!
//! d̃ = 2φ/(PΦ) · Uᵀ(M̂ − G)U            d = dL/dm through the norm
//! q_k = Σ_p f[p,k] d_p                   (dL/dv)
//! s_c = dα_c/dz_c · Σ_k W[c,k] q_k       (dL/dz; 0 outside the units, 0 with `attention.detach_z`)
//! df[p,k] = v_k d_p + 1/(hw) Σ_c s_c W[c,k]     dW[c,k] = α_c q_k + s_c g_k     db_c = s_c
//! ```
//! Upsampling runs row by row: each full-size row lives in a register's worth of memory, gives its error, and is folded back to
//! h×w at once, so that forward already holds d̃.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::bilinear::{Axis, tap};
use super::{Case, Fill, case};
use crate::core::op::{Cost, Host, Keeps, Op, Pass, Set};
use crate::core::real::Real;
use crate::core::shape::{Shape, shape};
use crate::core::tape::{Tape, Var};
use crate::device::{Gpu, Precision, gpu};
use crate::error::{Error, Result};

/// Which units weigh into the map.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Units {
    /// The fake half (eq. 8).
    F,
    All,
}

/// The weight α of a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Weight {
    /// |z| (eq. 8).
    Abs,
    /// z: what raises |z| in the unit's own sign.
    Signed,
    /// sign(z).
    Sign,
}

/// How a map is brought to the scale of the mask. The paper does not say; see `docs/ambiguities.md`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Norm {
    /// Literal eq. 8.
    None,
    /// Divided by Σ|α|.
    Weight,
    /// (m − min) / (max − min).
    Minmax,
    /// max(m, 0) / max.
    ReluMax,
    /// σ(t · (m − mean) / std) with the temperature t.
    Sigmoid,
    /// σ(t · m).
    SigmoidRaw,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reduce {
    Mean,
    Sum,
}

#[derive(Debug, Clone, PartialEq)]
pub struct CamAttention {
    pub units: Units,
    pub weight: Weight,
    pub norm: Norm,
    /// ReLU on m before the norm.
    pub relu: bool,
    pub align_corners: bool,
    /// Treat minimum and maximum as constants.
    pub minmax_stopgrad: bool,
    pub temperature: f64,
    pub pixel_reduce: Reduce,
    /// No gradient through α = |z|.
    pub detach_z: bool,
}

impl Default for CamAttention {
    fn default() -> Self {
        CamAttention {
            units: Units::F,
            weight: Weight::Abs,
            norm: Norm::Minmax,
            relu: false,
            align_corners: false,
            minmax_stopgrad: false,
            temperature: 1.0,
            pixel_reduce: Reduce::Mean,
            detach_z: false,
        }
    }
}

/// What [`cam_attention`] returns.
#[derive(Debug, Clone, Copy)]
pub struct Attention {
    pub loss: Var,
    /// The normalised map at the resolution of `f`.
    pub map: Var,
}

/// Record the fused loss; see the module for shapes.
pub fn cam_attention(t: &mut Tape, op: CamAttention, f: Var, w: Var, b: Var, mask: Var, select: Var) -> Result<Attention> {
    let out = t.apply_all(op, &[f, w, b, mask, select])?;
    Ok(Attention { loss: out[0], map: out[1] })
}

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

/// Position and value of the first smallest and first largest element.
fn extremes<T: Real>(m: &[T]) -> ((usize, T), (usize, T)) {
    let (mut lo, mut hi) = ((0, m[0]), (0, m[0]));
    for (i, &x) in m.iter().enumerate() {
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
fn moments<T: Real>(m: &[T]) -> (f64, f64) {
    let n = m.len() as f64;
    let mean = sum(m.iter().copied()) / n;
    (mean, (m.iter().map(|x| (x.f64() - mean).powi(2)).sum::<f64>() / n).sqrt())
}

impl CamAttention {
    fn range(&self, d: usize) -> std::ops::Range<usize> {
        match self.units {
            Units::F => d / 2..d,
            Units::All => 0..d,
        }
    }
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
                let ((_, lo), (_, hi)) = extremes(out);
                let r = hi - lo + T::of(EPS);
                out.iter_mut().for_each(|x| *x = (*x - lo) / r);
            }
            Norm::ReluMax => {
                let top = extremes(out).1.1.max(T::ZERO) + T::of(EPS);
                out.iter_mut().for_each(|x| *x = x.max(T::ZERO) / top);
            }
            Norm::Sigmoid => {
                let (mean, std) = moments(out);
                out.iter_mut().for_each(|x| *x = sigmoid(T::of(t * (x.f64() - mean) / (std + EPS))));
            }
            Norm::SigmoidRaw => out.iter_mut().for_each(|x| *x = sigmoid(T::of(t) * *x)),
        }
    }

    /// d = dL/dm from d̃ = dL/dm̃, in place; `m` before and `out` after the norm.
    fn normalise_backward<T: Real>(&self, d: &mut [T], m: &[T], out: &[T]) {
        let rect = |x: T| if self.relu { x.max(T::ZERO) } else { x };
        let n = m.len();
        // Where ReLU or σ comes first in `normalise`, it comes last here.
        match self.norm {
            Norm::None | Norm::Weight => {}
            Norm::Minmax | Norm::ReluMax => {
                let (mut lo, mut hi) = ((0, rect(m[0])), (0, rect(m[0])));
                for (i, &x) in m.iter().enumerate() {
                    let x = rect(x);
                    if x < lo.1 {
                        lo = (i, x);
                    }
                    if x > hi.1 {
                        hi = (i, x);
                    }
                }
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
                let mean = m.iter().map(|&x| rect(x).f64()).sum::<f64>() / n as f64;
                let std = (m.iter().map(|&x| (rect(x).f64() - mean).powi(2)).sum::<f64>() / n as f64).sqrt();
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
    fn error<T: Real>(&self, map: &[T], (h, w): (usize, usize), g: &[T], (oh, ow): (usize, usize), fold: &mut [T], rows: &mut [T]) -> f64 {
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

/// `struct Cam` of kernels/cam_attention.cu.
#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Params {
    temperature: f64,
    divisor: f64,
    n: u32,
    h: u32,
    w: u32,
    k: u32,
    pixels: u32,
    d: u32,
    first: u32,
    units: u32,
    rows: u32,
    columns: u32,
    band: u32,
    bands: u32,
    vec: u32,
    whole: u32,
    own: u32,
    weight: u32,
    norm: u32,
    relu: u32,
    stopgrad: u32,
    detach: u32,
    y: Axis,
    x: Axis,
}

/// Most bytes of dynamic shared memory that every GPU grants without being asked.
const SHARED: usize = 40 << 10;

/// A block of `cam_attention_error_fwd`.
struct Block {
    /// Threads along the columns of a mask.
    threads: usize,
    /// Rows of the map: as many as fill 512 threads and shared memory, so that few blocks need the whole map for the norm.
    band: usize,
    /// Whether shared memory has room for a whole map.
    whole: bool,
    /// Floats of shared memory.
    shared: usize,
}

impl Block {
    fn of(f: Shape, mask: Shape) -> Block {
        let ((_, h, w, _), (_, _, columns, _)) = (f.dims(), mask.dims());
        let (threads, room) = (columns.next_multiple_of(32).min(256), SHARED / gpu::F32);
        let whole = h * w + 2 * columns <= room;
        let (fixed, each) = if whole { (h * w, 2 * columns) } else { (w, w + 2 * columns) };
        let band = (room.saturating_sub(fixed) / each).clamp(1, h.min(512 / threads));
        Block { threads, band, whole, shared: fixed + band * each }
    }
}

/// Whether a thread of `cam_attention_norm_bwd` can keep its pixels, and their gradients, in shared memory.
fn keeps_own(f: Shape) -> bool {
    2 * (f.h * f.w) as usize * gpu::F32 <= SHARED
}

impl CamAttention {
    fn params(&self, g: &Gpu, vec: usize) -> Result<Params> {
        let ([f, head, _, mask, ..], units) = (g.xs, self.range(g.xs[1].n as usize)) else { unreachable!("checked when recorded") };
        let block = Block::of(*f, *mask);
        let axis = |len: u32, out: u32| Axis::new(g, "cam_attention_error_fwd_f32", len as usize, out as usize, self.align_corners);
        Ok(Params {
            temperature: self.temperature,
            divisor: if self.pixel_reduce == Reduce::Mean { mask.per_image() as f64 } else { 1.0 },
            n: f.n,
            h: f.h,
            w: f.w,
            k: f.c,
            pixels: f.h * f.w,
            d: head.n,
            first: units.start as u32,
            units: units.len() as u32,
            rows: mask.h,
            columns: mask.w,
            band: block.band as u32,
            bands: f.h.div_ceil(block.band as u32),
            vec: vec as u32,
            whole: block.whole as u32,
            own: keeps_own(*f) as u32,
            weight: self.weight as u32,
            norm: self.norm as u32,
            relu: self.relu as u32,
            stopgrad: self.minmax_stopgrad as u32,
            detach: self.detach_z as u32,
            y: axis(f.h, mask.h)?,
            x: axis(f.w, mask.w)?,
        })
    }
    /// The `values` floats of shared memory that a launch needs, in bytes; `what` makes them many.
    fn shared(g: &Gpu, kernel: &str, values: usize, what: &str) -> Result<usize> {
        if gpu::F32 * values > SHARED {
            let why = format!("{what} need {} bytes of shared memory, {SHARED} are there", gpu::F32 * values);
            return Err(Error::Launch { kernel: kernel.to_string(), at: g.at.to_string(), why });
        }
        Ok(gpu::F32 * values)
    }
}

fn sigmoid<T: Real>(x: T) -> T {
    T::ONE / (T::ONE + (-x).exp())
}

impl Op for CamAttention {
    fn name(&self) -> &'static str {
        "cam_attention"
    }
    fn infer(&self, x: &[Shape]) -> Result<Vec<Shape>, String> {
        let [f, w, b, g, select] = x else { return Err(format!("needs five inputs, got {}", x.len())) };
        let fits = w.h == 1 && w.w == 1 && w.c == f.c && b.len() == w.n as usize && w.n % 2 == 0;
        if !fits {
            return Err(format!("head {w} with bias {b} does not fit features {f}"));
        }
        if f.is_empty() || g.n != f.n || g.c != 1 || g.is_empty() || select.len() != f.n as usize {
            return Err(format!("mask {g} and selection {select} do not fit features {f}"));
        }
        let (map, d) = (Shape { c: 1, ..*f }, w.n as usize);
        let n = f.n as usize;
        Ok(vec![Shape::SCALAR, map, map, shape(n, 1, 1, d), shape(n, 1, 1, f.c as usize), map])
    }
    fn keeps(&self, _: Set) -> Keeps {
        Keeps { x: Set::first(2), y: Set::of(1).and(2).and(3).and(4).and(5) }
    }
    fn differentiable(&self) -> Set {
        Set::first(3)
    }
    fn scratch(&self, pass: Pass, xs: &[Shape], _: &[Shape], _: Set) -> usize {
        let (n, h, w, k) = xs[0].dims();
        match pass {
            Pass::Forward => n * (k + 2 * w + 1),
            // v, q, Σ s W, d, s, α for every image.
            Pass::Backward => n * (3 * k + h * w + 2 * xs[1].n as usize),
        }
    }
    fn cost(&self, pass: Pass, xs: &[Shape], _: &[Shape]) -> Cost {
        let (n, f) = (xs[0].n as u64, xs[0].len() as u64);
        let head = n * xs[1].len() as u64;
        match pass {
            Pass::Forward => Cost { macs: 2 * f + 2 * head, bytes: 4 * (2 * f + xs[3].len() as u64) },
            Pass::Backward => Cost { macs: 2 * f + 4 * head, bytes: 4 * 2 * f },
        }
    }

    fn forward<T: Real>(&self, m: Host<T>) {
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

    fn backward<T: Real>(&self, m: Host<T>) {
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

    fn gpu_scratch(&self, pass: Pass, xs: &[Shape], _: &[Shape], _: Set, _: Precision) -> usize {
        let (n, h, w, k) = xs[0].dims();
        let values = match pass {
            Pass::Forward => n * k + (n * k) % 2 + n * h.div_ceil(Block::of(xs[0], xs[3]).band) * (2 + w),
            Pass::Backward => n * (3 * k + h * w + 2 * xs[1].n as usize),
        };
        gpu::F32 * values
    }
    /// mean → head → map → error → loss; see kernels/cam_attention.cu.
    fn gpu_forward(&self, g: &Gpu) -> Result<()> {
        let (n, h, w, k) = g.xs[0].dims();
        let [loss, map, dmap, z, mean, raw] = [0, 1, 2, 3, 4, 5].map(|i| g.out(i));
        let [f, head, bias, mask, select] = [0, 1, 2, 3, 4].map(|i| g.x(i));
        // The class vectors; then, from an even number of values on, the error of every band in f64, and what it gives to the next.
        let Block { threads, band, shared: floats, .. } = Block::of(g.xs[0], g.xs[3]);
        let (shares, at) = (n * h.div_ceil(band), n * k + (n * k) % 2);
        let (v, error, below) = (g.scratch(0, n * k), g.scratch(at, 2 * shares), g.scratch(at + 2 * shares, shares * w));
        let p = self.params(g, gpu::vec4(k, &[f, head, mean, v]))?;
        let (units, columns) = (p.units as usize, p.columns as usize);

        let channels = (k / p.vec as usize).div_ceil(32);
        let call = g.call("cam_attention_mean_fwd_f32")?.grid([channels, n, 1]).block3([32, 16, 1]);
        call.write(mean).read(f).value(&p).go()?;

        let shared = Self::shared(g, "cam_attention_head_fwd_f32", units, &format!("{units} units"))?;
        let call = g.call("cam_attention_head_fwd_f32")?.grid([n, 1, 1]).block(512).shared(shared);
        call.write(z).write(v).read(mean).read(head).read(bias).value(&p).go()?;

        let shared = Self::shared(g, "cam_attention_map_fwd_f32", k, &format!("{k} channels"))?;
        let call = g.call("cam_attention_map_fwd_f32")?.grid([(h * w).div_ceil(32), n, 1]).block(256).shared(shared);
        call.write(raw).read(f).read(v).value(&p).go()?;

        let what = format!("maps {w} pixels and masks {columns} pixels wide");
        let shared = Self::shared(g, "cam_attention_error_fwd_f32", floats, &what)?;
        let call = g.call("cam_attention_error_fwd_f32")?.grid([h.div_ceil(band), n, 1]).block3([threads, band, 1]).shared(shared);
        call.write(map).write(dmap).write(error).write(below).read(raw).read(mask).read(select).value(&p).go()?;

        let call = g.call("cam_attention_loss_fwd_f32")?.grid([if band < h { n } else { 1 }, 1, 1]).block(256);
        call.write(loss).update(dmap).read(error).read(below).value(&p).go()
    }
    /// norm → map → head → features, weight.
    fn gpu_backward(&self, g: &Gpu) -> Result<()> {
        let (n, h, w, k) = g.xs[0].dims();
        let (d, pixels) = (g.xs[1].n as usize, h * w);
        let (f, head, [map, dmap, z, mean, raw]) = (g.x(0), g.x(1), [1, 2, 3, 4, 5].map(|i| g.y(i)));
        let [q, v, r] = [0, 1, 2].map(|i| g.scratch(i * n * k, n * k));
        let dm = g.scratch(3 * n * k, n * pixels);
        let [alpha, s] = [0, 1].map(|i| g.scratch(3 * n * k + n * pixels + i * n * d, n * d));
        let spans = [f, head, q, v, r, g.out[0].unwrap_or(f)];
        let p = self.params(g, gpu::vec4(k, &spans))?;
        let (units, channels) = (p.units as usize, (k / p.vec as usize).div_ceil(32));

        let shared = if p.own == 1 { 2 * pixels * gpu::F32 } else { 0 };
        let call = g.call("cam_attention_norm_bwd_f32")?.grid([n, 1, 1]).block(256).shared(shared);
        call.write(dm).read(raw).read(map).read(dmap).read(g.dy()).value(&p).go()?;

        let call = g.call("cam_attention_map_bwd_f32")?.grid([channels, n, 1]).block3([32, 16, 1]);
        call.write(q).read(f).read(dm).value(&p).go()?;

        let shared = Self::shared(g, "cam_attention_head_bwd_f32", 2 * units, &format!("{units} units"))?;
        let call = g.call("cam_attention_head_bwd_f32")?.grid([n, 1, 1]).block(512).shared(shared);
        call.write(v).write(r).write(alpha).write(s).read(q).read(z).read(head).value(&p).go()?;

        if g.wants(0) {
            let call = g.call("cam_attention_features_bwd_f32")?.grid([channels, pixels.div_ceil(64), n]).block3([32, 8, 1]);
            call.write(g.out(0)).read(dm).read(v).read(r).value(&p).go()?;
        }
        if g.wants(1) || g.wants(2) {
            let call = g.call("cam_attention_weight_bwd_f32")?.grid([k.div_ceil(128), d.div_ceil(4), 1]).block(128);
            let call = call.write_or_null(g.out[1]).write_or_null(g.out[2]);
            call.read(alpha).read(s).read(q).read(mean).value(&p).go()?;
        }
        Ok(())
    }
}

/// Every switch once, and the default at the network's size.
pub fn cases() -> Vec<Case> {
    let row = |label: &str, op: CamAttention, (n, h, w, k): (usize, usize, usize, usize), d: usize, (oh, ow): (usize, usize)| {
        let inputs = [
            (shape(n, h, w, k), Fill::Positive),
            (shape(d, 1, 1, k), Fill::Normal),
            (Shape::vector(d), Fill::OffZero),
            (shape(n, oh, ow, 1), Fill::Mask),
            (shape(n, 1, 1, 1), Fill::Binary),
        ];
        case(label, op, &inputs)
    };
    let base = CamAttention::default;
    let small = |label: &str, op| row(label, op, (3, 4, 5, 6), 8, (9, 11));
    let mut rows = vec![
        small("minmax", base()),
        small("none", CamAttention { norm: Norm::None, ..base() }),
        small("weight", CamAttention { norm: Norm::Weight, ..base() }),
        small("weight signed", CamAttention { norm: Norm::Weight, weight: Weight::Signed, ..base() }),
        small("weight sign", CamAttention { norm: Norm::Weight, weight: Weight::Sign, ..base() }),
        small("relu_max", CamAttention { norm: Norm::ReluMax, ..base() }),
        small("sigmoid", CamAttention { norm: Norm::Sigmoid, temperature: 1.5, ..base() }),
        small("sigmoid_raw", CamAttention { norm: Norm::SigmoidRaw, temperature: 0.5, ..base() }),
        small("relu none", CamAttention { norm: Norm::None, relu: true, ..base() }),
        small("relu sigmoid", CamAttention { norm: Norm::Sigmoid, relu: true, ..base() }),
        small("all units", CamAttention { units: Units::All, ..base() }),
        small("corners sum", CamAttention { align_corners: true, pixel_reduce: Reduce::Sum, ..base() }),
        small("stopgrad", CamAttention { minmax_stopgrad: true, ..base() }).withholds(),
        small("detached", CamAttention { detach_z: true, ..base() }).withholds(),
        row("16 to 64", base(), (2, 16, 16, 20), 128, (64, 64)),
        // Four channels at once, and ends inside a block: of pixels, channels, units, rows and columns.
        row("wide", CamAttention { norm: Norm::Weight, ..base() }, (2, 5, 7, 132), 10, (33, 70)),
        row("odd", CamAttention { norm: Norm::Sigmoid, units: Units::All, ..base() }, (1, 6, 7, 131), 66, (19, 5)),
        row("masks smaller than maps", base(), (3, 4, 5, 4), 4, (3, 2)),
        row("masks of a pixel", CamAttention { norm: Norm::None, align_corners: true, ..base() }, (2, 3, 2, 4), 4, (1, 1)),
        row("maps of a pixel", CamAttention { norm: Norm::SigmoidRaw, align_corners: true, ..base() }, (2, 1, 1, 3), 4, (3, 2)),
        // Several blocks to a picture, each of which gives to the first row of the next; with few rows for want of shared memory.
        row("three bands", base(), (2, 9, 3, 4), 4, (20, 270)),
        row("bands with corners", CamAttention { align_corners: true, ..base() }, (2, 9, 3, 4), 4, (20, 270)),
        row("bands and one line", CamAttention { align_corners: true, ..base() }, (2, 9, 3, 4), 4, (1, 270)),
        // Maps that shared memory has no room for: with their gradients, alone, and in several bands.
        row("large maps", base(), (1, 72, 73, 3), 4, (9, 7)),
        row("larger maps", CamAttention { norm: Norm::Sigmoid, ..base() }, (2, 101, 103, 3), 4, (9, 270)),
        row("largest maps", CamAttention { norm: Norm::SigmoidRaw, relu: true, ..base() }, (1, 3, 4000, 3), 4, (5, 6)),
        row("very wide masks", CamAttention { norm: Norm::SigmoidRaw, ..base() }, (3, 7, 2, 3), 4, (16, 1500)),
        row("wide masks", CamAttention { norm: Norm::ReluMax, ..base() }, (1, 2, 3, 4), 4, (3, 270)),
        // More than a block's threads of pixels, channels and units, and a warp of channels with a rest.
        row("many pixels", CamAttention { norm: Norm::Sigmoid, ..base() }, (2, 17, 16, 37), 6, (5, 5)),
        row("many units", CamAttention { norm: Norm::Weight, units: Units::All, ..base() }, (2, 1, 2, 514), 516, (1, 2)),
        row("wide maps", CamAttention { units: Units::All, ..base() }, (2, 2, 70, 33), 6, (2, 70)),
        // The same in turns of four, and maps wider than the block that works on them.
        row("very many pixels", CamAttention { norm: Norm::Sigmoid, ..base() }, (1, 33, 32, 3), 6, (5, 5)),
        row("maps wider than masks", base(), (3, 2, 70, 3), 10, (2, 3)),
        row("276 channels", CamAttention { norm: Norm::None, ..base() }, (2, 3, 2, 276), 2, (2, 2)),
        row("101 channels", CamAttention { norm: Norm::None, ..base() }, (2, 3, 2, 101), 12, (2, 2)),
        row("minmax", base(), (32, 16, 16, 512), 128, (64, 64)).bench("stage 2"),
    ];
    // Each of a thread's eight pixels is the first behind the picture.
    for pixels in [4, 12, 20, 28, 36, 44, 52, 60] {
        let op = || CamAttention { norm: Norm::None, ..base() };
        rows.push(row(&format!("{pixels} pixels by fours"), op(), (2, 2, pixels / 2, 4), 2, (2, 2)));
        rows.push(row(&format!("{pixels} pixels"), op(), (2, 2, pixels / 2, 3), 2, (2, 2)));
    }
    rows
}
