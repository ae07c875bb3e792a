//! wgrad of bf16 operands, where the machine multiplies bf16 ([`super::simd::half`]).
//!
//! ```text
//! x as pairs of neighbouring places, twice: pairs that begin at even places, and at odd ones                scratch
//! dy turned: for each 32 places, filters × places, zeros where a place is no result                          scratch
//! for each part of the places, each 32 filters                                                              tasks
//!   for each chunk of places that L2 holds: for each tap, each 32 channels: sums over the chunk, in registers
//!     add them to the part's filters                                                                        scratch
//! add the parts in order, round
//! ```
//! Places are those of [`super::half`]. The reduction runs over them, so that both factors need them in pairs side by side, and a tap
//! moves x by any number of places: that is why pairs begin at both. A stride splits the places of x by the remainders of rows and
//! columns, each a plane; then neighbours in a plane are what neighbouring results read.

use half::bf16;
use rayon::prelude::*;

use super::half::{Pass, WASTE};
use super::simd::half::{Block, Pairs, SIDE, Second, Sums};
use super::sizes::ConvSizes;
use crate::core::real::Real;

/// Values of x, both kinds of pairs, that a chunk reads: half of a common L2. Least and most 32s of places of a chunk.
const CHUNK: usize = 1 << 19;
const STEPS: (usize, usize) = (8, 64);
/// Tasks that a layer should have, if its places are enough for parts of at least so many 32s.
const TASKS: usize = 16;
const LEAST: usize = 64;

/// The gradient of filters.
#[derive(Clone, Copy, Debug)]
pub struct Wgrad(Pass);

impl Wgrad {
    /// None if f32 is to do it, which is as fast where four products or more are made for one that counts.
    pub fn of(z: &ConvSizes) -> Option<Wgrad> {
        Wgrad::possible(z).filter(|w| w.products() <= WASTE * z.macs())
    }
    /// However much of it is padding. None for groups, more than 64 taps, and linear layers in disguise.
    pub fn possible(z: &ConvSizes) -> Option<Wgrad> {
        Pass::possible(z, false).map(Wgrad)
    }

    fn products(&self) -> u64 {
        (self.taps() * self.steps() * SIDE * self.filters() * self.0.padded()) as u64
    }
    fn taps(&self) -> usize {
        (self.0.z.r * self.0.z.s) as usize
    }
    /// Filters in whole 32s.
    fn filters(&self) -> usize {
        self.0.outs.next_multiple_of(SIDE)
    }
    /// 32s of places.
    fn steps(&self) -> usize {
        self.0.places().div_ceil(SIDE)
    }
    fn planes(&self) -> usize {
        self.0.rows.step * self.0.cols.step
    }
    /// Where a tap's pixel of place 0 lies, in places of all planes.
    fn offset(&self, (dh, dw): (i64, i64)) -> usize {
        let (rows, cols) = (self.0.rows, self.0.cols);
        let (h, w) = ((dh + rows.before() as i64) as usize, (dw + cols.before() as i64) as usize);
        let plane = h % rows.step * cols.step + w % cols.step;
        plane * self.0.places() + h / rows.step * self.0.across() + w / cols.step
    }
    /// Pairs of either kind, with what the last places read behind the planes.
    fn pairs(&self) -> usize {
        let most = self.0.taps((0, 0)).map(|(_, reach)| self.offset(reach)).max().unwrap_or(0);
        (most + self.steps() * SIDE).max(self.planes() * self.0.places()).div_ceil(2) + 1
    }
    fn parts(&self) -> usize {
        let wanted = TASKS.div_ceil(self.filters() / SIDE);
        wanted.min(self.steps() / LEAST).max(1)
    }
    /// Values of x's pairs, and of dy turned.
    fn sizes(&self) -> (usize, usize) {
        (2 * self.pairs() * 2 * self.0.padded(), self.steps() * SIDE * self.filters())
    }
    /// Floats of workspace.
    pub fn scratch(&self) -> usize {
        let (x, dy) = self.sizes();
        (x + dy) / 2 + self.parts() * self.0.z.filters().len()
    }

    /// dw of x and dy. Sums are in f32.
    pub fn run(&self, pairs: Pairs, x: &[bf16], dy: &[bf16], mut dw: Gradient, scratch: &mut [f32]) {
        let z = &self.0.z;
        assert_eq!((x.len(), dy.len()), (z.x().len(), z.y().len()), "{z:?}: lengths of x and dy");
        assert_eq!(dw.len(), z.filters().len(), "{z:?}: length of dw");
        let ((for_x, for_dy), len) = (self.sizes(), z.filters().len());
        let (halves, sums) = scratch[..self.scratch()].split_at_mut((for_x + for_dy) / 2);
        let halves: &mut [bf16] = bytemuck::cast_slice_mut(halves);
        let (x_pairs, turned) = halves.split_at_mut(for_x);
        self.pair(x, x_pairs);
        self.turn(dy, turned);
        let (x_pairs, turned) = (&*x_pairs, &*turned);
        let (parts, one) = (self.parts(), len / self.0.outs);
        sums.par_chunks_mut(len).enumerate().for_each(|(part, sums)| {
            let steps = part * self.steps() / parts..(part + 1) * self.steps() / parts;
            let task = |(i, sums): (usize, &mut [f32])| self.task(pairs, x_pairs, turned, i * SIDE, steps.clone(), sums);
            sums.par_chunks_mut(SIDE * one).enumerate().for_each(task);
        });
        // Values that a thread adds up at a time.
        const SOME: usize = 1 << 12;
        let sums = &*sums;
        let sum = |i: usize| sums[i..].iter().step_by(len).sum::<f32>();
        match &mut dw {
            Gradient::Real(dw) => dw.par_chunks_mut(SOME).enumerate().for_each(|(n, dw)| {
                dw.iter_mut().enumerate().for_each(|(i, dw)| *dw = sum(n * SOME + i));
            }),
            Gradient::Half(dw) => dw.par_chunks_mut(SOME).enumerate().for_each(|(n, dw)| {
                dw.iter_mut().enumerate().for_each(|(i, dw)| *dw = sum(n * SOME + i).bf16());
            }),
        }
    }

    /// Pairs that begin at even places, then those at odd ones: a row of channels × 2 each.
    fn pair(&self, x: &[bf16], to: &mut [bf16]) {
        let (padded, pairs, chans) = (self.0.padded(), self.pairs(), self.0.chans);
        to.par_chunks_mut(2 * padded).enumerate().for_each(|(row, to)| {
            let first = row % pairs * 2 + row / pairs;
            if chans < padded {
                to.fill(bf16::ZERO);
            }
            for i in 0..2 {
                match self.pixel(first + i) {
                    Some(pixel) => {
                        let from = &x[pixel * chans..][..chans];
                        to.chunks_exact_mut(2).zip(from).for_each(|(to, &from)| to[i] = from);
                    }
                    None => to.chunks_exact_mut(2).for_each(|to| to[i] = bf16::ZERO),
                }
            }
        });
    }

    /// The pixel of x at a place of all planes; none in the padding and behind the planes.
    fn pixel(&self, at: usize) -> Option<usize> {
        let (rows, cols, places, across) = (self.0.rows, self.0.cols, self.0.places(), self.0.across());
        let (plane, place) = (at / places, at % places);
        let (line, col) = (place / across, place % across);
        let (picture, row) = (line / self.0.high(), line % self.0.high());
        let h = (row * rows.step + plane / cols.step).checked_sub(rows.before()).filter(|&h| h < rows.source)?;
        let w = (col * cols.step + plane % cols.step).checked_sub(cols.before()).filter(|&w| w < cols.source)?;
        (plane < self.planes()).then_some((picture * rows.source + h) * cols.source + w)
    }

    /// dy with filters as rows, 32 places at a time.
    fn turn(&self, dy: &[bf16], to: &mut [bf16]) {
        let (filters, outs, across, high) = (self.filters(), self.0.outs, self.0.across(), self.0.high());
        let (rows, cols) = (self.0.rows.result, self.0.cols.result);
        to.par_chunks_mut(SIDE * filters).enumerate().for_each(|(step, to)| {
            to[SIDE * outs..].fill(bf16::ZERO);
            for i in 0..SIDE {
                let (line, col) = ((step * SIDE + i) / across, (step * SIDE + i) % across);
                let (picture, row) = (line / high, line % high);
                let to = to[..SIDE * outs].chunks_exact_mut(SIDE);
                if picture < self.0.pictures && row < rows && col < cols {
                    let from = &dy[((picture * rows + row) * cols + col) * outs..][..outs];
                    to.zip(from).for_each(|(to, &from)| to[i] = from);
                } else {
                    to.for_each(|to| to[i] = bf16::ZERO);
                }
            }
        });
    }

    /// Sums of up to 32 filters over some steps.
    fn task(&self, pairs: Pairs, x: &[bf16], dy: &[bf16], first: usize, steps: std::ops::Range<usize>, sums: &mut [f32]) {
        let (padded, chans, all) = (self.0.padded(), self.0.chans, self.filters());
        let chunk = (CHUNK / (2 * padded * SIDE)).clamp(STEPS.0, STEPS.1);
        let row = 2 * padded;
        let mut offsets = [0; STEPS.1];
        offsets.iter_mut().enumerate().for_each(|(i, o)| *o = i * SIDE * all);
        let mut block = Sums([[0.0; SIDE]; SIDE]);
        sums.fill(0.0);
        for begin in steps.clone().step_by(chunk) {
            let taps = &offsets[..chunk.min(steps.end - begin)];
            for (tap, (_, reach)) in self.0.taps((0, 0)).enumerate() {
                let place = begin * SIDE + self.offset(reach);
                // Of the odd pairs number i begins at place 2i + 1.
                let pair = place % 2 * self.pairs() + place / 2;
                for chan in (0..padded).step_by(SIDE) {
                    let b = Second { b: x, at: pair * row + 2 * chan, row, half: SIDE, step: SIDE / 2 * row };
                    let a = begin * SIDE * all + first * SIDE;
                    pairs.run(&Block { a: dy, at: a, row: SIDE, taps, depth: SIDE, b }, &mut block);
                    let width = SIDE.min(chans - chan);
                    for (sums, block) in sums.chunks_exact_mut(self.taps() * chans).zip(&block.0) {
                        let sums = &mut sums[tap * chans + chan..][..width];
                        sums.iter_mut().zip(block).for_each(|(sum, add)| *sum += add);
                    }
                }
            }
        }
    }
}

/// Where dw goes.
pub enum Gradient<'a> {
    Real(&'a mut [f32]),
    Half(&'a mut [bf16]),
}

impl Gradient<'_> {
    fn len(&self) -> usize {
        match self {
            Gradient::Real(dw) => dw.len(),
            Gradient::Half(dw) => dw.len(),
        }
    }
}
