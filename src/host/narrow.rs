//! Convolutions of few channels and stride 1. A register of channels would be mostly empty and copying pixels into rows most of the
//! work, so a register holds neighbouring pixels here: lines of pixels are split into planes, one for each channel, with the zeros of
//! the padding around them, and a tap is a broadcast filter value times a shifted piece of a plane ([`Level::gather_lines`],
//! [`Level::spread_lines`]). dgrad is fprop with the filter turned round; wgrad is a product of planes.
//!
//! A sum has one order at any number of threads. fprop and dgrad: taps along r, s, then channels; wgrad: pixels of a line dealt to the
//! lanes of a register, line by line; at most 16 parts of the lines in order; then lanes in order.

use rayon::prelude::*;

use super::simd::{BLOCK, Level, SLOT};
use super::sizes::ConvSizes;

/// Most channels that are read and written, least results of a line, and most taps times channels: beyond them the blocked product
/// is as fast.
const MOST_IN: usize = 16;
const MOST_OUT: usize = 8;
const LEAST_LINE: usize = 24;
const TAPS: usize = 512;

/// One pass as a gather: every output reads the inputs around its own place.
#[derive(Clone, Copy)]
pub struct Pass {
    pictures: usize,
    /// Lines of the input, pixels of each, channels of each.
    high: usize,
    wide: usize,
    chans: usize,
    /// The same of the output.
    high_out: usize,
    wide_out: usize,
    outs: usize,
    r: usize,
    s: usize,
    pad: (usize, usize),
    dil: (usize, usize),
    /// The filter is read from its end: dgrad.
    turned: bool,
}

impl Pass {
    /// The forward pass, which wgrad is a product over, too; none if it is not narrow.
    pub fn of_fprop(z: &ConvSizes) -> Option<Pass> {
        let (n, high, wide, chans) = z.x().dims();
        let (_, high_out, wide_out, outs) = z.y().dims();
        let pass = Pass {
            pictures: n,
            high,
            wide,
            chans,
            high_out,
            wide_out,
            outs,
            r: z.r as usize,
            s: z.s as usize,
            pad: (z.pad_h as usize, z.pad_w as usize),
            dil: (z.dil_h as usize, z.dil_w as usize),
            turned: false,
        };
        let narrow = chans <= MOST_IN && outs <= MOST_OUT && wide_out >= LEAST_LINE && pass.taps() <= TAPS;
        (z.groups == 1 && (z.stride_h, z.stride_w) == (1, 1) && narrow && high * wide * chans * outs > 0).then_some(pass)
    }

    /// The gradient of the input, which reads dy; none if it is not narrow.
    pub fn of_dgrad(z: &ConvSizes) -> Option<Pass> {
        let back = |taps: u32, dil: u32, pad: u32| (dil * (taps - 1)).checked_sub(pad);
        let (pad_h, pad_w) = (back(z.r, z.dil_h, z.pad_h)?, back(z.s, z.dil_w, z.pad_w)?);
        let turned = ConvSizes { h: z.p, w: z.q, c: z.k, k: z.c, p: z.h, q: z.w, pad_h, pad_w, ..*z };
        Pass::of_fprop(&turned).map(|p| Pass { turned: true, ..p })
    }

    fn taps(&self) -> usize {
        self.r * self.s * self.chans
    }
    /// Floats of a plane of one line: what the last tap of the last block of results reads.
    fn pitch(&self) -> usize {
        (self.wide_out.next_multiple_of(BLOCK) + (self.s - 1) * self.dil.1).max(self.pad.1 + self.wide)
    }
    fn planes(&self) -> usize {
        self.pictures * self.high * self.chans * self.pitch()
    }
    fn packed(&self) -> usize {
        self.taps() * padded(self.outs)
    }

    /// Where the taps of an output line begin in the planes, in order, and the first of them that lies in the picture.
    fn offsets(&self, line: usize, to: &mut [usize; TAPS]) -> (usize, usize) {
        let (n, i) = (line / self.high_out, line % self.high_out);
        let (mut first, mut count) = (None, 0);
        for r in 0..self.r {
            let Some(h) = (i + r * self.dil.0).checked_sub(self.pad.0).filter(|&h| h < self.high) else { continue };
            first.get_or_insert(r * self.s * self.chans);
            for s in 0..self.s {
                for c in 0..self.chans {
                    to[count] = ((n * self.high + h) * self.chans + c) * self.pitch() + s * self.dil.1;
                    count += 1;
                }
            }
        }
        (first.unwrap_or(0), count)
    }
}

/// Groups of outputs that are summed together: the first, how many, and the width that they are padded to (4, 2 or 1).
fn groups(outs: usize) -> impl Iterator<Item = (usize, usize, usize)> {
    (0..outs).step_by(4).map(move |k| match outs - k {
        3.. => (k, (outs - k).min(4), 4),
        left => (k, left, left),
    })
}
fn padded(outs: usize) -> usize {
    groups(outs).map(|g| g.2).sum()
}

impl Pass {
    /// Floats of scratch of [`Pass::run`], and of [`Pass::wgrad`].
    pub fn scratch(&self) -> usize {
        self.planes() + self.packed()
    }
    pub fn wgrad_scratch(&self) -> usize {
        self.planes() + self.dy_planes() + self.parts() * self.packed() * SLOT
    }

    /// y from x, or dx from dy.
    pub fn run(&self, level: Level, x: &[f32], w: &[f32], bias: Option<&[f32]>, y: &mut [f32], scratch: &mut [f32]) {
        let (planes, packed) = scratch.split_at_mut(self.planes());
        split(x, self.wide, self.chans, self.chans, self.pad.1, self.pitch(), planes);
        self.pack(w, packed);
        let (planes, packed, taps, outs) = (&*planes, &*packed, self.taps(), self.outs);
        y.par_chunks_mut(self.wide_out * outs).enumerate().for_each(|(line, y)| {
            let mut offsets = [0; TAPS];
            let (first, count) = self.offsets(line, &mut offsets);
            let mut sums = [[0.0; BLOCK]; MOST_OUT];
            for j in (0..self.wide_out).step_by(BLOCK) {
                let mut w = packed;
                for (k, n, width) in groups(outs) {
                    let start = std::array::from_fn(|i| bias.filter(|_| i < n).map_or(0.0, |b| b[k + i]));
                    let of = &w[first * width..(first + count) * width];
                    level.gather_lines(&offsets[..count], &planes[j..], of, width, start, &mut sums[k..]);
                    w = &w[taps * width..];
                }
                let width = BLOCK.min(self.wide_out - j);
                for (i, y) in y[j * outs..][..width * outs].chunks_exact_mut(outs).enumerate() {
                    y.iter_mut().zip(&sums).for_each(|(y, s)| *y = s[i]);
                }
            }
        });
    }

    /// Filters as groups of outputs, each taps × width.
    fn pack(&self, w: &[f32], packed: &mut [f32]) {
        let (area, taps) = (self.r * self.s, self.taps());
        let value = |out: usize, tap: usize| match self.turned {
            false => w[out * taps + tap],
            // Tap (r, s, k) of the turned filter is element (k, R − 1 − r, S − 1 − s) of the filter, whose channels are the outputs.
            true => w[(tap % self.chans * area + area - 1 - tap / self.chans) * self.outs + out],
        };
        let mut rest = packed;
        for (k, n, width) in groups(self.outs) {
            let (of, after) = rest.split_at_mut(taps * width);
            rest = after;
            for (tap, to) in of.chunks_exact_mut(width).enumerate() {
                to.iter_mut().enumerate().for_each(|(i, v)| *v = if i < n { value(k + i, tap) } else { 0.0 });
            }
        }
    }

    /// Floats of the planes of dy: whole blocks, zero behind a line's end, so that finite pixels there count nothing.
    fn dy_planes(&self) -> usize {
        self.pictures * self.high_out * padded(self.outs) * self.wide_out.next_multiple_of(BLOCK)
    }
    /// Partial sums of wgrad: a function of sizes only.
    fn parts(&self) -> usize {
        (self.pictures * self.high_out).clamp(1, 16)
    }

    /// dw of the forward pass.
    pub fn wgrad(&self, level: Level, x: &[f32], dy: &[f32], dw: &mut [f32], scratch: &mut [f32]) {
        let (taps, outs, parts, length) = (self.taps(), self.outs, self.parts(), self.wide_out.next_multiple_of(BLOCK));
        let (planes, rest) = scratch.split_at_mut(self.planes());
        let (of_dy, sums) = rest.split_at_mut(self.dy_planes());
        split(x, self.wide, self.chans, self.chans, self.pad.1, self.pitch(), planes);
        split(dy, self.wide_out, outs, padded(outs), 0, length, of_dy);
        let (planes, of_dy) = (&*planes, &*of_dy);
        let part_of = self.packed() * SLOT;
        let sums = &mut sums[..parts * part_of];
        sums.par_chunks_mut(part_of).with_max_len(1).enumerate().for_each(|(part, sums)| {
            sums.fill(0.0);
            let (lines, mut offsets) = (self.pictures * self.high_out, [0; TAPS]);
            for line in part * lines / parts..(part + 1) * lines / parts {
                let (first, count) = self.offsets(line, &mut offsets);
                let mut sums = &mut *sums;
                let mut dy = &of_dy[line * padded(outs) * length..];
                for (_, _, width) in groups(outs) {
                    let (of, after) = sums.split_at_mut(taps * width * SLOT);
                    sums = after;
                    let to = &mut of[first * width * SLOT..(first + count) * width * SLOT];
                    level.spread_lines(&offsets[..count], planes, (dy, length, length), width, to);
                    dy = &dy[width * length..];
                }
            }
        });
        let (total, rest) = sums.split_at_mut(part_of);
        for part in rest.chunks_exact(part_of) {
            total.iter_mut().zip(part).for_each(|(a, &b)| *a += b);
        }
        let mut total = &*total;
        for (k, n, width) in groups(outs) {
            for i in 0..n {
                for (tap, dw) in dw[(k + i) * taps..][..taps].iter_mut().enumerate() {
                    *dw = total[(tap * width + i) * SLOT..][..SLOT].iter().sum();
                }
            }
            total = &total[taps * width * SLOT..];
        }
    }
}

/// Lines of `wide` pixels of `chans` channels, each split into `planes` planes (those beyond the channels are zero) of `pitch` floats,
/// the first pixel at `pad`.
fn split(x: &[f32], wide: usize, chans: usize, planes: usize, pad: usize, pitch: usize, to: &mut [f32]) {
    to.par_chunks_mut(planes * pitch).zip(x.par_chunks(wide * chans)).for_each(|(to, x)| {
        for (c, to) in to.chunks_exact_mut(pitch).enumerate() {
            to[..pad].fill(0.0);
            let inside = if c < chans { wide } else { 0 };
            to[pad..][..inside].iter_mut().zip(x[c..].iter().step_by(chans)).for_each(|(to, &v)| *to = v);
            to[pad + inside..].fill(0.0);
        }
    });
}
