//! fprop and dgrad of bf16 operands, where the machine multiplies bf16 ([`super::simd::half`]).
//!
//! ```text
//! copy the source into a grid: zeros around each picture, channels in 32s, rows in `step` planes           scratch
//! pack the filters: for each phase, panels of 32 × taps × channels                                         scratch
//! for each task: whole rows of results, one disjoint slice
//!   for each phase, each panel: for each 32 places of the grid: all taps × channels, sums in registers
//!     add the bias, round, store the places that are results
//! ```
//! A place of the grid is a result's first pixel. Places follow one another at one distance, over the ends of rows and of pictures, so
//! that 32 of them are 32 rows of a matrix that need not be copied; those that hang over an edge are multiplied and dropped. A step of
//! 2 between rows would break the distance: even and odd rows stand in planes of their own. dgrad has a phase for each remainder of
//! the stride, with the taps that meet there, at step 1.

use std::sync::atomic::{AtomicU8, Ordering};

use half::bf16;
use rayon::prelude::*;

use super::conv::canonical;
use super::simd::half::{Block, Pairs, SIDE, STEP, Second, Sums, place};
use super::sizes::ConvSizes;
use crate::core::real::Real;
use crate::error::{Error, Result};

/// What multiplies the convolutions of `precision = bf16` on the CPU.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Products {
    /// AMX where the machine has it, else as `convert`.
    #[default]
    Auto,
    /// f32, of operands that are converted.
    Convert,
    /// Instructions of AVX512-BF16.
    Avx512,
    /// Tiles of AMX.
    Amx,
}

static SETTING: AtomicU8 = AtomicU8::new(0);
const WORDS: [Products; 4] = [Products::Auto, Products::Convert, Products::Avx512, Products::Amx];

impl Products {
    /// What this process has set.
    pub fn setting() -> Products {
        WORDS[SETTING.load(Ordering::Relaxed) as usize]
    }
    /// Sets it for the whole process; an error if the machine lacks it. Plans that were made before keep scratch memory for what was
    /// set then: set it first.
    pub fn set(self) -> Result<()> {
        let named = self.named().filter(|_| self != Products::Auto);
        if named.is_some() && self.pairs().is_none() {
            let has: Vec<&str> = Pairs::all().map(Pairs::name).filter(|&n| n != "portable").collect();
            let has = if has.is_empty() { "no instructions for products of bf16".into() } else { has.join(" and ") };
            let why = format!("{} is not there: this machine has {has}; auto takes what there is", named.unwrap_or_default());
            return Err(Error::config("cpu.bf16", why));
        }
        SETTING.store(self as u8, Ordering::Relaxed);
        Ok(())
    }
    fn named(self) -> Option<&'static str> {
        match self {
            Products::Convert => None,
            Products::Avx512 => Some("avx512"),
            Products::Auto | Products::Amx => Some("amx"),
        }
    }
    /// The instructions; none where f32 multiplies.
    pub fn pairs(self) -> Option<Pairs> {
        self.named().and_then(|name| Pairs::all().find(|p| p.name() == name))
    }
}

/// How this machine computes with bf16, as `cpu.bf16` stands.
pub fn bf16_on_cpu() -> String {
    match Products::setting().pairs() {
        Some(pairs) => format!("stored as bf16, convolutions multiply it by {}", pairs.name()),
        None => "stored as bf16, converted to f32 for arithmetic".to_string(),
    }
}

/// Most taps of a phase: 7 × 7 fit.
const TAPS: usize = 64;
/// Places of a task, about.
const TASK: usize = 512;
/// Multiply-adds with everything that is padded, for one that counts: more, and f32 is as fast.
pub(super) const WASTE: u64 = 4;
/// Values of a cache line.
const LINE: usize = 32;

/// Rows or columns.
#[derive(Clone, Copy, Debug)]
pub(super) struct Axis {
    pub(super) source: usize,
    pub(super) result: usize,
    filters: usize,
    pad: i64,
    dilation: i64,
    /// Source pixels from a result of a phase to the next.
    pub(super) step: usize,
    /// Results from one of a phase to the next.
    phases: usize,
    turned: bool,
}

impl Axis {
    /// The taps of a phase: of result `i` of the phase, tap (r, d) reads source pixel `i·step + d`.
    fn taps(self, phase: usize) -> impl Iterator<Item = (usize, i64)> {
        (0..self.filters).filter_map(move |r| {
            let reach = r as i64 * self.dilation - self.pad;
            let (d, every) = (phase as i64 - reach, self.phases as i64);
            match self.turned {
                false => Some((r, reach)),
                true => (d.rem_euclid(every) == 0).then_some((r, d.div_euclid(every))),
            }
        })
    }
    /// Results of the longest phase.
    fn count(self) -> usize {
        self.result.div_ceil(self.phases)
    }
    fn reaches(self) -> impl Iterator<Item = i64> {
        (0..self.phases).flat_map(move |p| self.taps(p)).map(|(_, d)| d)
    }
    /// Zeros before the source.
    pub(super) fn before(self) -> usize {
        self.reaches().min().unwrap_or(0).min(0).unsigned_abs() as usize
    }
    /// Source and zeros: a multiple of the step.
    pub(super) fn length(self) -> usize {
        let last = self.reaches().max().unwrap_or(0) + ((self.count() - 1) * self.step) as i64;
        (self.before() + self.source.max((last + 1).max(0) as usize)).next_multiple_of(self.step)
    }
}

/// One pass as a gather.
#[derive(Clone, Copy, Debug)]
pub struct Pass {
    pub(super) z: ConvSizes,
    pub(super) rows: Axis,
    pub(super) cols: Axis,
    pub(super) pictures: usize,
    pub(super) chans: usize,
    pub(super) outs: usize,
    turned: bool,
}

impl Pass {
    /// The forward pass; none if f32 is to do it, which is as fast where four products or more are made for one that counts.
    pub fn of_fprop(z: &ConvSizes) -> Option<Pass> {
        Pass::possible(z, false).filter(Pass::is_worth_it)
    }
    /// The gradient of the input, which reads dy; none if f32 is to do it.
    pub fn of_dgrad(z: &ConvSizes) -> Option<Pass> {
        Pass::possible(z, true).filter(Pass::is_worth_it)
    }
    fn is_worth_it(&self) -> bool {
        self.products() <= WASTE * self.z.macs()
    }

    /// fprop, or dgrad if `turned`, however much of it is padding. None for groups, more than 64 taps, and linear layers in disguise.
    pub fn possible(z: &ConvSizes, turned: bool) -> Option<Pass> {
        let of = |x: u32, y: u32, filters: u32, pad: u32, dilation: u32, stride: u32| {
            let (source, result) = if turned { (y, x) } else { (x, y) };
            let (step, phases) = if turned { (1, stride) } else { (stride, 1) };
            let [source, result, filters, step, phases] = [source, result, filters, step, phases].map(|v| v as usize);
            Axis { source, result, filters, pad: pad as i64, dilation: dilation as i64, step, phases, turned }
        };
        let rows = of(z.h, z.p, z.r, z.pad_h, z.dil_h, z.stride_h);
        let cols = of(z.w, z.q, z.s, z.pad_w, z.dil_w, z.stride_w);
        let (chans, outs) = if turned { (z.k, z.c) } else { (z.c, z.k) };
        let pass = Pass { z: *z, rows, cols, pictures: z.n as usize, chans: chans as usize, outs: outs as usize, turned };
        let some = ![z.x(), z.y(), z.filters()].iter().any(|s| s.is_empty());
        (some && z.groups == 1 && canonical(z) == *z && (z.r * z.s) as usize <= TAPS).then_some(pass)
    }

    /// Multiply-adds with all padding.
    fn products(&self) -> u64 {
        let taps: usize = self.phases().map(|phase| self.taps(phase).count()).sum();
        (taps * self.places() * self.padded() * self.outs.next_multiple_of(SIDE)) as u64
    }
    fn phases(&self) -> impl Iterator<Item = (usize, usize)> {
        let (rows, cols) = (self.rows.phases, self.cols.phases);
        (0..rows).flat_map(move |a| (0..cols).map(move |b| (a, b)))
    }
    /// Taps of a phase: filter row and column, and the pixels they reach from a result's.
    pub(super) fn taps(&self, (a, b): (usize, usize)) -> impl Iterator<Item = ((usize, usize), (i64, i64))> {
        let cols = self.cols;
        self.rows.taps(a).flat_map(move |(r, dh)| cols.taps(b).map(move |(s, dw)| ((r, s), (dh, dw))))
    }

    /// Channels of a pixel of the grid.
    pub(super) fn padded(&self) -> usize {
        self.chans.next_multiple_of(SIDE)
    }
    /// Rows of a picture in a plane of the grid, and pixels of a row.
    pub(super) fn high(&self) -> usize {
        self.rows.length() / self.rows.step
    }
    fn wide(&self) -> usize {
        self.cols.length()
    }
    /// Places of a row, and of all.
    pub(super) fn across(&self) -> usize {
        self.wide() / self.cols.step
    }
    pub(super) fn places(&self) -> usize {
        self.pictures * self.high() * self.across()
    }
    /// Values from a place to the next.
    fn pitch(&self) -> usize {
        self.cols.step * self.padded()
    }
    fn plane(&self) -> usize {
        self.pictures * self.high() * self.wide() * self.padded()
    }
    /// Where a tap's pixel of place 0 lies in the grid.
    fn offset(&self, (dh, dw): (i64, i64)) -> usize {
        let (h, w) = ((dh + self.rows.before() as i64) as usize, (dw + self.cols.before() as i64) as usize);
        h % self.rows.step * self.plane() + (h / self.rows.step * self.wide() + w) * self.padded()
    }
    /// Values of the grid, with what the last places read behind it.
    fn grid(&self) -> usize {
        let most = self.phases().flat_map(|phase| self.taps(phase)).map(|(_, d)| self.offset(d)).max().unwrap_or(0);
        let read = most + (self.places() + SIDE) * self.pitch() + self.padded();
        read.max(self.rows.step * self.plane()).next_multiple_of(LINE)
    }
    /// Values of packed filters: a phase's for each of its taps.
    fn packed(&self) -> usize {
        let taps: usize = self.phases().map(|phase| self.taps(phase).count()).sum();
        taps * self.padded() * self.outs.next_multiple_of(SIDE)
    }
    /// Floats of workspace.
    pub fn scratch(&self) -> usize {
        (self.grid() + self.packed()) / 2
    }

    /// y = x ∗ w + bias, rounded; x, y and w as [`ConvSizes`] has them for this pass. An empty bias is none.
    pub fn run(&self, pairs: Pairs, x: &[bf16], w: &[bf16], bias: &[f32], y: &mut [bf16], scratch: &mut [f32]) {
        let (source, result) = if self.turned { (self.z.y(), self.z.x()) } else { (self.z.x(), self.z.y()) };
        assert_eq!((x.len(), y.len()), (source.len(), result.len()), "{:?}: lengths of source and result", self.z);
        assert_eq!(w.len(), self.z.filters().len(), "{:?}: length of the filters", self.z);
        assert!(bias.is_empty() || bias.len() == self.outs, "{:?}: length of the bias", self.z);
        let scratch: &mut [bf16] = bytemuck::cast_slice_mut(&mut scratch[..self.scratch()]);
        let (grid, filters) = scratch.split_at_mut(self.grid());
        self.fill(x, grid);
        let mut left = &mut *filters;
        for phase in self.phases() {
            let one = self.taps(phase).count() * self.padded() * SIDE;
            let (mine, rest) = left.split_at_mut(one * self.outs.div_ceil(SIDE));
            left = rest;
            if one > 0 {
                mine.par_chunks_mut(one).enumerate().for_each(|(panel, to)| self.pack(w, phase, panel, to));
            }
        }
        let (grid, filters) = (&*grid, &*filters);
        let (high, wide) = (self.rows.result, self.cols.result);
        // Whole phases; a picture whose last row has not all of them is a task.
        let rows = match high.is_multiple_of(self.rows.phases) {
            true => self.rows.phases * (TASK / self.across()).max(1),
            false => high,
        };
        y.par_chunks_mut(rows * wide * self.outs).enumerate().for_each(|(task, y)| {
            self.task(pairs, grid, filters, bias, task * rows, y);
        });
    }

    /// The grid from the source.
    fn fill(&self, x: &[bf16], grid: &mut [bf16]) {
        let (padded, step, high, wide) = (self.padded(), self.rows.step, self.high(), self.cols.source);
        let (top, left) = (self.rows.before(), self.cols.before() * padded);
        let lines = step * self.pictures * high;
        grid.par_chunks_mut(self.wide() * padded).take(lines).enumerate().for_each(|(line, to)| {
            let (plane, picture, row) = (line / (self.pictures * high), line / high % self.pictures, line % high);
            let Some(row) = (row * step + plane).checked_sub(top).filter(|&row| row < self.rows.source) else {
                return to.fill(bf16::ZERO);
            };
            let from = &x[(picture * self.rows.source + row) * wide * self.chans..][..wide * self.chans];
            let (before, to) = to.split_at_mut(left);
            let (to, behind) = to.split_at_mut(wide * padded);
            before.fill(bf16::ZERO);
            behind.fill(bf16::ZERO);
            if padded == self.chans {
                return to.copy_from_slice(from);
            }
            for (to, from) in to.chunks_exact_mut(padded).zip(from.chunks_exact(self.chans)) {
                to[..self.chans].copy_from_slice(from);
                to[self.chans..].fill(bf16::ZERO);
            }
        });
    }

    /// The filters of a phase and a panel.
    fn pack(&self, w: &[bf16], phase: (usize, usize), panel: usize, to: &mut [bf16]) {
        let (r_s, c) = ((self.z.r * self.z.s) as usize, self.z.c as usize);
        let first = panel * SIDE;
        let width = SIDE.min(self.outs - first);
        let mut to = to.chunks_exact_mut(STEP);
        for ((r, s), _) in self.taps(phase) {
            let tap = r * self.z.s as usize + s;
            for chan in (0..self.padded()).step_by(SIDE) {
                let (to, depth) = (to.next().expect("as many steps"), SIDE.min(self.chans - chan));
                if (depth, width) != (SIDE, SIDE) {
                    to.fill(bf16::ZERO);
                }
                if self.turned {
                    for i in 0..depth {
                        let row = &w[((chan + i) * r_s + tap) * c + first..][..width];
                        row.iter().enumerate().for_each(|(j, &v)| to[place(i, j)] = v);
                    }
                } else {
                    for j in 0..width {
                        let row = &w[((first + j) * r_s + tap) * c + chan..][..depth];
                        row.iter().enumerate().for_each(|(i, &v)| to[place(i, j)] = v);
                    }
                }
            }
        }
    }

    /// The results of whole rows, the first of which is row `first` of the batch.
    fn task(&self, pairs: Pairs, grid: &[bf16], filters: &[bf16], bias: &[f32], first: usize, y: &mut [bf16]) {
        let (high, wide, outs) = (self.rows.result, self.cols.result, self.outs);
        let (lines, across, pitch, chans) = (self.high(), self.across(), self.pitch(), self.padded());
        let last = first + y.len() / (wide * outs) - 1;
        let line = |row: usize| row / high * lines + row % high / self.rows.phases;
        let places = line(first) * across..(line(last) + 1) * across;
        let mut sums = Sums([[0.0; SIDE]; SIDE]);
        let mut offsets = [0; TAPS];
        let mut filters = filters;
        for phase in self.phases() {
            let mut taps = 0;
            for (_, reach) in self.taps(phase) {
                offsets[taps] = self.offset(reach);
                taps += 1;
            }
            for panel in (0..outs).step_by(SIDE) {
                let (b, rest) = filters.split_at(taps * chans * SIDE);
                filters = rest;
                let width = SIDE.min(outs - panel);
                let mut start = [0.0; SIDE];
                if !bias.is_empty() {
                    start[..width].copy_from_slice(&bias[panel..panel + width]);
                }
                for at in places.clone().step_by(SIDE) {
                    let taps = &offsets[..taps];
                    let block = Block { a: grid, at: at * pitch, row: pitch, taps, depth: chans, b: Second::packed(b) };
                    pairs.run(&block, &mut sums);
                    let (mut line, mut col) = (at / across, at % across);
                    let (mut picture, mut row) = (line / lines, line % lines);
                    for sums in &sums.0[..SIDE.min(places.end - at)] {
                        let (h, w) = (row * self.rows.phases + phase.0, col * self.cols.phases + phase.1);
                        if h < high && w < wide {
                            let pixel = (picture * high + h - first) * wide + w;
                            let y = &mut y[pixel * outs + panel..][..width];
                            for ((y, sum), start) in y.iter_mut().zip(sums).zip(&start) {
                                *y = (sum + start).bf16();
                            }
                        }
                        col += 1;
                        if col == across {
                            (col, line) = (0, line + 1);
                            (picture, row) = (line / lines, line % lines);
                        }
                    }
                }
            }
        }
    }
}
