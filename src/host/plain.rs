//! Obviously right convolutions: the formula of [`ConvSizes`] as loops, over f32 or f64, any stride, padding, dilation, groups.
//!
//! This is the oracle that the fast kernels are compared with, so it stays free of cleverness: every pass asks the same
//! question, *which input pixel does tap (r, s) of output pixel (p, q) read*, and answers it in `source`.

use rayon::prelude::*;

use super::sizes::ConvSizes;
use crate::core::real::Real;

/// y = x ⋆ w + bias.
pub fn fprop<T: Real>(z: &ConvSizes, x: &[T], w: &[T], bias: Option<&[T]>, y: &mut [T]) {
    let (cg, kg) = per_group(z);
    let image = z.y().per_image();
    if image == 0 {
        return;
    }
    y.par_chunks_mut(image).enumerate().for_each(|(n, y)| {
        for p in 0..z.p {
            for q in 0..z.q {
                for k in 0..z.k as usize {
                    let mut sum = bias.map_or(T::ZERO, |b| b[k]);
                    for (r, s) in taps(z) {
                        let Some((h, w_)) = source(z, (p, q), (r, s)) else { continue };
                        let xs = &x[pixel(z.x().dims(), n, h, w_) + k / kg * cg..][..cg];
                        let ws = &w[filter(z, k, r, s)..][..cg];
                        for (&a, &b) in xs.iter().zip(ws) {
                            sum += a * b;
                        }
                    }
                    y[(p as usize * z.q as usize + q as usize) * z.k as usize + k] = sum;
                }
            }
        }
    });
}

/// dx = the transpose of `fprop` applied to dy, plus an optional bias per input channel: the forward pass of a transposed
/// convolution is this very function.
pub fn dgrad<T: Real>(z: &ConvSizes, dy: &[T], w: &[T], bias: Option<&[T]>, dx: &mut [T]) {
    let (cg, kg) = per_group(z);
    let image = z.x().per_image();
    if image == 0 {
        return;
    }
    dx.par_chunks_mut(image).enumerate().for_each(|(n, dx)| {
        for (i, v) in dx.iter_mut().enumerate() {
            *v = bias.map_or(T::ZERO, |b| b[i % z.c as usize]);
        }
        for p in 0..z.p {
            for q in 0..z.q {
                let dy = &dy[pixel(z.y().dims(), n, p as usize, q as usize)..][..z.k as usize];
                for (r, s) in taps(z) {
                    let Some((h, w_)) = source(z, (p, q), (r, s)) else { continue };
                    for (k, &d) in dy.iter().enumerate() {
                        let to = &mut dx[pixel(z.x().dims(), 0, h, w_) + k / kg * cg..][..cg];
                        for (a, &b) in to.iter_mut().zip(&w[filter(z, k, r, s)..]) {
                            *a += d * b;
                        }
                    }
                }
            }
        }
    });
}

/// `dw[k,r,s,c] = Σ dy[·,k] · x[·,c]` over all output pixels, x at the pixel that tap (r, s) reads.
pub fn wgrad<T: Real>(z: &ConvSizes, x: &[T], dy: &[T], dw: &mut [T]) {
    let (cg, kg) = per_group(z);
    let one = z.filters().per_image();
    if one == 0 {
        return;
    }
    dw.par_chunks_mut(one).enumerate().for_each(|(k, dw)| {
        dw.fill(T::ZERO);
        for n in 0..z.n as usize {
            for p in 0..z.p {
                for q in 0..z.q {
                    let d = dy[pixel(z.y().dims(), n, p as usize, q as usize) + k];
                    for (r, s) in taps(z) {
                        let Some((h, w_)) = source(z, (p, q), (r, s)) else { continue };
                        let xs = &x[pixel(z.x().dims(), n, h, w_) + k / kg * cg..][..cg];
                        for (a, &b) in dw[filter(z, 0, r, s)..][..cg].iter_mut().zip(xs) {
                            *a += d * b;
                        }
                    }
                }
            }
        }
    });
}

/// `db[k] = Σ dy[·,k]` over all pixels.
pub fn bias_grad<T: Real>(k: usize, dy: &[T], db: &mut [T]) {
    db.fill(T::ZERO);
    for row in dy.chunks_exact(k) {
        for (a, &b) in db.iter_mut().zip(row) {
            *a += b;
        }
    }
}

/// Channels and filters of one group.
fn per_group(z: &ConvSizes) -> (usize, usize) {
    ((z.c / z.groups) as usize, (z.k / z.groups) as usize)
}

fn taps(z: &ConvSizes) -> impl Iterator<Item = (u32, u32)> + use<> {
    let (r, s) = (z.r, z.s);
    (0..r).flat_map(move |i| (0..s).map(move |j| (i, j)))
}

/// The input pixel that tap (r, s) of output pixel (p, q) reads, unless it lies in the padding.
fn source(z: &ConvSizes, (p, q): (u32, u32), (r, s): (u32, u32)) -> Option<(usize, usize)> {
    let h = (p * z.stride_h + r * z.dil_h).checked_sub(z.pad_h)?;
    let w = (q * z.stride_w + s * z.dil_w).checked_sub(z.pad_w)?;
    (h < z.h && w < z.w).then_some((h as usize, w as usize))
}

/// Where pixel (n, i, j) begins.
fn pixel((_, h, w, c): (usize, usize, usize, usize), n: usize, i: usize, j: usize) -> usize {
    ((n * h + i) * w + j) * c
}

/// Where the channels of tap (r, s) of filter k begin.
fn filter(z: &ConvSizes, k: usize, r: u32, s: u32) -> usize {
    ((k * z.r as usize + r as usize) * z.s as usize + s as usize) * (z.c / z.groups) as usize
}
