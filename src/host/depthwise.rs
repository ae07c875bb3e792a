//! Depthwise convolutions (a filter per channel): no reduction over channels, so no matrix product either. Channels lie
//! innermost, so a tap is a vector product of whole pixels, and a pass is a loop over lines of pixels that read the same taps:
//! eight pixels times the width of a register stay in registers ([`Level::gather_taps`], [`Level::spread_taps`]). Filters are
//! turned to taps × channels.
//!
//! A sum has one order at any number of threads. fprop: taps in row order; dgrad: in reverse; wgrad: up to eight pixels, then along the
//! line, then the lines of a part, then at most 16 parts in order.

use rayon::prelude::*;

use super::simd::{Level, Pixels, Start, Tap};
use super::sizes::ConvSizes;

/// Floats of scratch of fprop and dgrad: the filters as taps × channels.
pub fn scratch(z: &ConvSizes) -> usize {
    z.filters().len()
}

/// Floats of scratch of wgrad: its partial sums.
pub fn wgrad_scratch(z: &ConvSizes) -> usize {
    parts(z) * z.filters().len()
}

/// Partial sums of wgrad: a function of sizes only.
fn parts(z: &ConvSizes) -> usize {
    (z.n as usize * z.p as usize).clamp(1, 16)
}

#[allow(clippy::too_many_arguments)]
pub fn fprop(level: Level, z: &ConvSizes, x: &[f32], w: &[f32], bias: Option<&[f32]>, y: &mut [f32], scratch: &mut [f32]) {
    let (c, w) = (z.c as usize, turn(z, w, scratch));
    let (_, p, q, _) = z.y().dims();
    y.par_chunks_mut((q * c).max(1)).enumerate().for_each(|(line, y)| {
        let l = Line { channels: c, pixels: q, to: c, step: z.stride_w as usize, len: z.w as usize };
        l.each(taps_of(z, line / p, line % p), |first, p, taps, at| {
            let start = if at > 0 { Start::Sum } else { bias.map_or(Start::Zero, Start::Bias) };
            level.gather_taps(p, taps, x, w, &mut y[first * c..], start);
        });
    });
}

#[allow(clippy::too_many_arguments)]
pub fn dgrad(level: Level, z: &ConvSizes, dy: &[f32], w: &[f32], bias: Option<&[f32]>, dx: &mut [f32], scratch: &mut [f32]) {
    let (c, w) = (z.c as usize, turn(z, w, scratch));
    let (_, high, wide, _) = z.x().dims();
    let (p, q, s, stride) = (z.p as usize, z.q as usize, z.s as usize, z.stride_w as usize);
    // The output that reads input `i` with a tap, if `i` is one that the tap can reach; perhaps none of the picture's.
    let output = |i: usize, pad: u32, back: u32, stride: u32| {
        let at = i as isize + pad as isize - back as isize;
        (at % stride as isize == 0).then_some(at / stride as isize)
    };
    dx.par_chunks_mut((wide * c).max(1)).enumerate().for_each(|(line, dx)| {
        let (n, i) = (line / high, line % high);
        // Columns that are a stride apart are read through the same taps.
        for phase in 0..stride.min(wide) {
            // From the last to the first: those of a row then read from left to right.
            let taps = (0..z.r as usize * s).rev().filter_map(|tap| {
                let row = output(i, z.pad_h, (tap / s) as u32 * z.dil_h, z.stride_h).filter(|r| (0..p as isize).contains(r))?;
                let col = output(phase, z.pad_w, (tap % s) as u32 * z.dil_w, z.stride_w)?;
                Some(Term { row: (n * p + row as usize) * q * c, col, w: tap * c })
            });
            let l = Line { channels: c, pixels: (wide - phase).div_ceil(stride), to: stride * c, step: 1, len: q };
            l.each(taps, |first, p, taps, at| {
                let start = if at > 0 { Start::Sum } else { bias.map_or(Start::Zero, Start::Bias) };
                level.gather_taps(p, taps, dy, w, &mut dx[(first * stride + phase) * c..], start);
            });
        }
    });
}

pub fn wgrad(level: Level, z: &ConvSizes, x: &[f32], dy: &[f32], dw: &mut [f32], scratch: &mut [f32]) {
    let (c, area, parts) = (z.c as usize, (z.r * z.s) as usize, parts(z));
    let (n, p, q, _) = z.y().dims();
    let sums = &mut scratch[..parts * area * c];
    sums.par_chunks_mut(area * c).with_max_len(1).enumerate().for_each(|(part, sums)| {
        sums.fill(0.0);
        for line in part * n * p / parts..(part + 1) * n * p / parts {
            let l = Line { channels: c, pixels: q, to: c, step: z.stride_w as usize, len: z.w as usize };
            l.each(taps_of(z, line / p, line % p), |first, p, taps, _| {
                level.spread_taps(p, taps, x, &dy[(line * q + first) * c..], sums);
            });
        }
    });
    let (sum, rest) = sums.split_at_mut(area * c);
    for part in rest.chunks_exact(area * c) {
        sum.iter_mut().zip(part).for_each(|(a, &b)| *a += b);
    }
    for (c_, dw) in dw.chunks_exact_mut(area).enumerate() {
        for (tap, v) in dw.iter_mut().enumerate() {
            *v = sum[tap * c + c_];
        }
    }
}

/// Filters C·R·S become taps × channels.
fn turn<'a>(z: &ConvSizes, w: &[f32], scratch: &'a mut [f32]) -> &'a [f32] {
    let (c, area) = (z.c as usize, (z.r * z.s) as usize);
    for (tap, row) in scratch[..area * c].chunks_exact_mut(c).enumerate() {
        for (c, v) in row.iter_mut().enumerate() {
            *v = w[c * area + tap];
        }
    }
    &scratch[..area * c]
}

/// A tap as a line of pixels sees it: where the line that it reads begins, the pixel there that the first result reads (perhaps
/// one beyond the edge), and where its filter values begin.
#[derive(Clone, Copy, Default)]
struct Term {
    row: usize,
    col: isize,
    w: usize,
}

/// The taps of output line (n, p) that do not lie above or below the picture.
fn taps_of(z: &ConvSizes, n: usize, p: usize) -> impl Iterator<Item = Term> + '_ {
    let (_, high, wide, c) = z.x().dims();
    (0..(z.r * z.s) as usize).filter_map(move |tap| {
        let (r, s) = (tap / z.s as usize, tap % z.s as usize);
        let h = (p * z.stride_h as usize + r * z.dil_h as usize).checked_sub(z.pad_h as usize).filter(|&h| h < high)?;
        let col = (s * z.dil_w as usize) as isize - z.pad_w as isize;
        Some(Term { row: (n * high + h) * wide * c, col, w: tap * c })
    })
}

/// Most taps that are taken together.
const TAPS: usize = 32;

/// Results along a line, `to` floats from one to the next; result m reads pixel `col + m·step` of a tap's line, if it has that
/// many: `len`.
struct Line {
    channels: usize,
    pixels: usize,
    to: usize,
    step: usize,
    len: usize,
}

impl Line {
    /// Calls `run(first result, results, their taps, taps before these)`: for each result near an edge, where taps fall away,
    /// and for all between at once; again for every [`TAPS`] taps, once at least.
    fn each(&self, taps: impl Iterator<Item = Term>, mut run: impl FnMut(usize, Pixels, &[Tap], usize)) {
        let (mut taps, mut before) = (taps.fuse(), 0);
        let (len, step, pixels) = (self.len as isize, self.step as isize, self.pixels as isize);
        loop {
            let mut terms = [Term::default(); TAPS];
            let mut n = 0;
            for (to, t) in terms.iter_mut().zip(&mut taps) {
                (*to, n) = (t, n + 1);
            }
            let terms = &terms[..n];
            // Every tap of results lo..hi lies in the picture.
            let lo = terms.iter().map(|t| (-t.col).max(0).cast_unsigned().div_ceil(self.step) as isize).max().unwrap_or(0);
            let hi = terms.iter().map(|t| (len - t.col + step - 1).div_euclid(step)).min().unwrap_or(pixels).min(pixels);
            let mut m = 0;
            while m < pixels {
                let inner = (lo..hi).contains(&m);
                let count = if inner { hi - m } else { 1 };
                let (mut list, mut n) = ([Tap::default(); TAPS], 0);
                for t in terms {
                    let col = t.col + m * step;
                    if (0..len).contains(&col) {
                        list[n] = Tap { x: t.row + col as usize * self.channels, w: t.w };
                        n += 1;
                    }
                }
                let (count, channels) = (count as usize, self.channels);
                run(m as usize, Pixels { count, channels, from: self.step * channels, to: self.to }, &list[..n], before);
                m += count as isize;
            }
            before += n;
            if n < TAPS {
                return;
            }
        }
    }
}
