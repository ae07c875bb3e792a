//! Winograd's convolution of 3×3 filters at stride 1: F(2×2, 3×3) takes 16 products for four results, F(4×4, 3×3) 36 for sixteen,
//! where the sum over taps takes 36 and 144. dgrad is fprop of dy with the filters turned round and transposed.
//!
//! ```text
//! for each group of filters that L3 holds: transform them, panel by panel                        scratch
//!   for each task: whole rows of tiles, one disjoint slice of the results
//!     for each block of ≤ 64 tiles: transform their pixels to N² matrices of tiles × channels    the thread's buffer
//!       for each pair of panels, for each of the N² values: tiles × channels times channels × panel
//!         transform the sums to results, add the bias
//! ```
//! Only a block of tiles is ever held transformed. The cuts follow from sizes, and a sum runs over channels in order (in parts of 64,
//! parts in order), so the number of threads does not show in the result.

use std::cell::RefCell;
use std::sync::atomic::{AtomicU8, Ordering};

use rayon::prelude::*;

use super::blocks::{Line, floats};
use super::simd::Level;
use super::simd::winograd::{Part, SIDE, Steps};
use super::sizes::ConvSizes;

/// Which convolutions take Winograd's form.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Winograd {
    /// Those that gain by it: [`Pass::of_fprop`] has the rule.
    #[default]
    Auto,
    /// None.
    Off,
    /// All of 3×3 at stride 1, as F(2×2, 3×3).
    F2,
    /// All of 3×3 at stride 1, as F(4×4, 3×3).
    F4,
}

static SETTING: AtomicU8 = AtomicU8::new(0);
const WORDS: [Winograd; 4] = [Winograd::Auto, Winograd::Off, Winograd::F2, Winograd::F4];

impl Winograd {
    /// What this process has set.
    pub fn setting() -> Winograd {
        WORDS[SETTING.load(Ordering::Relaxed) as usize]
    }
    /// Sets it for the whole process. Plans that were made before keep scratch memory for what was set then: set it first.
    pub fn set(self) {
        SETTING.store(self as u8, Ordering::Relaxed);
    }
}

/// Most and least tiles of a block, and floats of their transformed pixels, which a thread's buffer holds.
const TILES: usize = 64;
const LEAST_TILES: usize = 14;
const PIXELS: usize = 36 * TILES * 512;
/// The numbers of the rule: least channels and filters, least products of a picture, and how many tiles' products take as long as
/// transforming the filters does.
const LEAST_CHANNELS: usize = 16;
const LEAST_PRODUCTS: u64 = 1 << 23;
const FILTERS_AS_TILES: usize = 16;
/// Channels of a part of a sum: parts that are added keep the errors of long sums down, and cost nothing measurable.
const DEPTH: usize = 64;
/// Widest and narrowest panel of any level, and panels that are multiplied before their sums become results.
const LANES: usize = 32;
const LEAST_LANES: usize = 8;
const PANELS: usize = 2;
/// Floats of filters that are transformed together: L3 keeps them until they are used.
const GROUP: usize = 5 << 19;
/// Floats of a cache line: values of a tile are so much further apart than they need be, which puts them in different sets of the caches.
const LINE: usize = 16;

/// One pass as a gather.
#[derive(Clone, Copy, Debug)]
pub struct Pass {
    pictures: usize,
    high: usize,
    wide: usize,
    chans: usize,
    high_out: usize,
    wide_out: usize,
    outs: usize,
    pad: (usize, usize),
    /// Filters are K×3×3×C and the pass is dgrad: taps from the end, filters' channels are the results'.
    turned: bool,
    /// Results of a tile in each direction.
    m: usize,
}

impl Pass {
    /// The forward pass; none if it is taken directly. The rule of [`Winograd::Auto`]: the form of fewer products, F(4×4, 3×3) if they have
    /// equally many, where channels and filters are 16 or more, the direct sum of one picture takes 2²³ products or more, and the
    /// form at most three quarters of those of the direct sum. Half empty tiles, blocks of channels and panels of filters count as full
    /// ones, and transforming the filters as 16 tiles.
    pub fn of_fprop(z: &ConvSizes, which: Winograd) -> Option<Pass> {
        let three = (z.r, z.s, z.stride_h, z.stride_w, z.dil_h, z.dil_w, z.groups) == (3, 3, 1, 1, 1, 1, 1);
        let (_, high, wide, chans) = z.x().dims();
        let (pictures, high_out, wide_out, outs) = z.y().dims();
        if !three || [pictures, high, wide, chans, high_out, wide_out, outs].contains(&0) {
            return None;
        }
        let pad = (z.pad_h as usize, z.pad_w as usize);
        let of = |m| Pass { pictures, high, wide, chans, high_out, wide_out, outs, pad, turned: false, m };
        let pass = match which {
            Winograd::Off => return None,
            Winograd::F2 => of(2),
            Winograd::F4 => of(4),
            Winograd::Auto => {
                let best = if of(4).products() <= of(2).products() { of(4) } else { of(2) };
                let direct = 9 * (pictures * high_out * wide_out * chans * outs) as u64;
                let worth = chans.min(outs) >= LEAST_CHANNELS && direct >= LEAST_PRODUCTS * pictures as u64;
                return (worth && 4 * best.products() <= 3 * direct && best.fits()).then_some(best);
            }
        };
        pass.fits().then_some(pass)
    }

    /// The gradient of the input, which reads dy; none if it is taken directly, or if the padding reaches beyond the filter.
    pub fn of_dgrad(z: &ConvSizes, which: Winograd) -> Option<Pass> {
        let (pad_h, pad_w) = (2u32.checked_sub(z.pad_h)?, 2u32.checked_sub(z.pad_w)?);
        let turned = ConvSizes { h: z.p, w: z.q, c: z.k, k: z.c, p: z.h, q: z.w, pad_h, pad_w, ..*z };
        Pass::of_fprop(&turned, which).map(|p| Pass { turned: true, ..p })
    }

    /// Results of a tile in each direction: 2 or 4.
    pub fn tile(&self) -> usize {
        self.m
    }
    /// Pixels of a tile in each direction.
    fn n(&self) -> usize {
        self.m + 2
    }
    /// Channels as transformed pixels and filters hold them.
    fn padded(&self) -> usize {
        self.chans.next_multiple_of(SIDE)
    }
    /// Floats of one filter.
    fn filter(&self) -> usize {
        self.n() * self.n() * self.padded()
    }
    /// Floats of a panel's channels × lanes.
    fn slab(&self, lanes: usize) -> usize {
        self.padded() * lanes + LINE
    }
    /// Most tiles of a block. A batch of few tiles is still cut into blocks of 32, so that no thread is idle.
    fn block(&self) -> usize {
        let (rows, cols) = self.tiles();
        (PIXELS / self.filter()).min((self.pictures * rows * cols / 8).clamp(TILES / 2, TILES))
    }
    /// Filters that are transformed together.
    fn group(&self) -> usize {
        let all = self.outs.next_multiple_of(LANES);
        let most = (GROUP / self.filter() / LANES * LANES).max(PANELS * LANES);
        all.div_ceil(all.div_ceil(most)).next_multiple_of(LANES)
    }

    /// Products, and as many more as transforming the filters takes time.
    fn products(&self) -> u64 {
        let (rows, cols) = self.tiles();
        let tiles = self.pictures * rows * cols + FILTERS_AS_TILES;
        (tiles * self.filter() * self.outs.next_multiple_of(LANES)) as u64
    }
    /// Whether a thread's buffer holds a block of tiles.
    fn fits(&self) -> bool {
        self.block() >= LEAST_TILES
    }

    /// Floats of scratch.
    pub fn scratch(&self) -> usize {
        self.group() * self.filter() + self.group() / LEAST_LANES * self.n() * self.n() * LINE + LINE
    }

    /// y from x, or dx from dy.
    pub fn run(&self, level: Level, x: &[f32], w: &[f32], bias: Option<&[f32]>, y: &mut [f32], scratch: &mut [f32]) {
        assert!(
            scratch.len() >= self.scratch(),
            "scratch is too short: was the setting of Winograd's form changed after the plan?"
        );
        let skip = scratch.as_ptr().align_offset(4 * LINE).min(LINE);
        let scratch = &mut scratch[skip..];
        let group = self.group();
        for first in (0..self.outs).step_by(group) {
            let outs = group.min(self.outs - first);
            let filters = self.transform(level, w, first, outs, scratch);
            self.tasks(y, |first_row, y| {
                with_buffers(|pixels, sums| {
                    self.rows(level, x, filters, bias.map(|b| &b[first..]), (first, outs), first_row, y, (pixels, sums));
                });
            });
        }
    }

    /// Panels of filters `first .. first + outs`: each N² matrices of channels × lanes.
    fn transform<'s>(&self, level: Level, w: &[f32], first: usize, outs: usize, scratch: &'s mut [f32]) -> &'s [f32] {
        let (n, padded, lanes) = (self.n(), self.padded(), level.products().lanes);
        let step = self.slab(lanes);
        let filters = &mut scratch[..outs.div_ceil(lanes) * n * n * step];
        filters.par_chunks_mut(n * n * step).enumerate().for_each(|(panel, to)| {
            let (first, width) = (first + panel * lanes, lanes.min(outs - panel * lanes));
            let mut taps = [0.0; 9 * SIDE * LANES];
            for c in (0..padded).step_by(SIDE) {
                let chans = SIDE.min(self.chans - c);
                if chans < SIDE {
                    taps.fill(0.0);
                }
                for (tap, to) in taps.chunks_exact_mut(SIDE * lanes).take(9).enumerate() {
                    if self.turned {
                        // Channels are filters here: their values for neighbouring results lie side by side.
                        let w = &w[(c * 9 + 8 - tap) * self.outs + first..];
                        level.copy_rows(w, 9 * self.outs, to, lanes, chans, width);
                    } else {
                        let w = &w[(first * 9 + tap) * self.chans + c..];
                        level.transpose(w, 9 * self.chans, chans, to, lanes, width);
                    }
                }
                level.winograd_filters(n, &taps, lanes, &mut to[c * lanes..], step);
            }
        });
        filters
    }

    /// Rows of tiles of a picture, and tiles of a row.
    fn tiles(&self) -> (usize, usize) {
        (self.high_out.div_ceil(self.m), self.wide_out.div_ceil(self.m))
    }

    /// Calls `f` for slices of whole rows of tiles, about a block each, with the number of their first row over all pictures. A slice holds
    /// several pictures or is a part of one.
    fn tasks(&self, y: &mut [f32], f: impl Fn(usize, &mut [f32]) + Sync) {
        let (rows, cols) = self.tiles();
        let (line, picture) = (self.wide_out * self.outs, self.high_out * self.wide_out * self.outs);
        if rows * cols <= self.block() {
            let pictures = self.block() / (rows * cols);
            y.par_chunks_mut(pictures * picture).enumerate().with_max_len(1).for_each(|(i, y)| f(i * pictures * rows, y));
        } else {
            let band = (self.block() / cols).clamp(1, rows);
            let band = rows.div_ceil(rows.div_ceil(band));
            y.par_chunks_mut(picture).enumerate().for_each(|(i, y)| {
                let bands = y.par_chunks_mut(band * self.m * line).enumerate().with_max_len(1);
                bands.for_each(|(j, y)| f(i * rows + j * band, y));
            });
        }
    }

    /// Results of whole rows of tiles from row `first_row` on, filters `first .. first + outs` of them.
    #[allow(clippy::too_many_arguments)]
    fn rows(
        &self,
        level: Level,
        x: &[f32],
        filters: &[f32],
        bias: Option<&[f32]>,
        (first, outs): (usize, usize),
        first_row: usize,
        y: &mut [f32],
        (pixels, sums): (&mut [f32], &mut [f32]),
    ) {
        let (n, m, padded, products) = (self.n(), self.m, self.padded(), level.products());
        let (rows, cols) = self.tiles();
        let (lanes, values) = (products.lanes, n * n);
        let line = self.wide_out * self.outs;
        // Lines of results here, from picture to picture: those before a row of tiles.
        let lines_before = |row: usize| row / rows * self.high_out + row % rows * m;
        let begin = lines_before(first_row);
        let all = (first_row..).take_while(|&r| (lines_before(r) - begin) * line < y.len()).count() * cols;
        let blocks = all.div_ceil(self.block());
        for block in 0..blocks {
            let (t0, t1) = (block * all / blocks, (block + 1) * all / blocks);
            let tiles = t1 - t0;
            let strips = tiles.div_ceil(products.rows);
            let strip = |s: usize| (s * tiles / strips, (s + 1) * tiles / strips);
            let step = tiles * padded + LINE;
            for s in 0..strips {
                let (s0, s1) = strip(s);
                for t in s0..s1 {
                    let at = t0 + t;
                    let (row, col) = (first_row + at / cols, at % cols);
                    let to = &mut pixels[s0 * padded + (t - s0) * SIDE..];
                    self.pixels(level, x, (row / rows, row % rows * m, col * m), to, (step, (s1 - s0) * SIDE));
                }
            }
            let sums_step = tiles * lanes + LINE;
            for panel in (0..outs).step_by(PANELS * lanes) {
                let panels = PANELS.min((outs - panel).div_ceil(lanes));
                for e in 0..values {
                    let a = &pixels[e * step..];
                    for p in 0..panels {
                        let b = &filters[((panel / lanes + p) * values + e) * self.slab(lanes)..];
                        let c = &mut sums[(p * values + e) * sums_step..];
                        for k in (0..padded).step_by(DEPTH) {
                            let depth = DEPTH.min(padded - k);
                            for s in 0..strips {
                                let (s0, s1) = strip(s);
                                let a = &a[s0 * padded + k * (s1 - s0)..];
                                let next = &b[((k + depth) * lanes + s * depth * SIDE).min(b.len())..];
                                let next = if s * SIDE < lanes { next } else { &[] };
                                products.run((a, s1 - s0), &b[k * lanes..], depth, &mut c[s0 * lanes..], k > 0, next);
                            }
                        }
                    }
                }
                for t in 0..tiles {
                    let at = t0 + t;
                    let (row, col) = (first_row + at / cols, at % cols * m);
                    let (rows, cols) = (m.min(self.high_out - row % rows * m), m.min(self.wide_out - col));
                    for p in 0..panels {
                        let (k, sums) = (panel + p * lanes, &sums[p * values * sums_step + t * lanes..]);
                        let part = Part { rows, cols, width: lanes.min(outs - k) };
                        let to = (lines_before(row) - begin) * line + col * self.outs + first + k;
                        let steps = Steps { row: line, col: self.outs };
                        level.winograd_results(n, (sums, sums_step), bias.map(|b| &b[k..]), part, &mut y[to..], steps);
                    }
                }
            }
        }
    }

    /// Transforms the tile of picture `i` whose results begin at (h, w).
    fn pixels(&self, level: Level, x: &[f32], (i, h, w): (usize, usize, usize), to: &mut [f32], (step, block): (usize, usize)) {
        let (n, chans) = (self.n(), self.chans);
        let x = &x[i * self.high * self.wide * chans..][..self.high * self.wide * chans];
        let within = |at: usize, pad: usize, len: usize| at >= pad && at + n <= len + pad;
        let mut done = 0;
        if within(h, self.pad.0, self.high) && within(w, self.pad.1, self.wide) && chans >= SIDE {
            let from = Steps { row: self.wide * chans, col: chans };
            let x = &x[((h - self.pad.0) * self.wide + w - self.pad.1) * chans..];
            done = chans / SIDE;
            level.winograd_pixels(n, x, from, done, to, (step, block));
        }
        // At an edge and behind the last whole block of channels, a copy with zeros around it.
        let mut copy = [[0.0; SIDE]; 36];
        for b in done..self.padded() / SIDE {
            let width = SIDE.min(chans - b * SIDE);
            for (at, to) in copy[..n * n].iter_mut().enumerate() {
                let (h, w) = ((h + at / n).wrapping_sub(self.pad.0), (w + at % n).wrapping_sub(self.pad.1));
                if h < self.high && w < self.wide {
                    let x = &x[(h * self.wide + w) * chans + b * SIDE..];
                    match x.first_chunk::<SIDE>() {
                        Some(x) if width == SIDE => *to = *x,
                        _ => {
                            *to = [0.0; SIDE];
                            to[..width].copy_from_slice(&x[..width]);
                        }
                    }
                } else {
                    *to = [0.0; SIDE];
                }
            }
            let from = Steps { row: n * SIDE, col: SIDE };
            level.winograd_pixels(n, copy.as_flattened(), from, 1, &mut to[b * block..], (step, block));
        }
    }
}

struct Buffers {
    pixels: Vec<Line>,
    sums: Vec<Line>,
}

thread_local! {
    static BUFFERS: RefCell<Buffers> = const { RefCell::new(Buffers { pixels: Vec::new(), sums: Vec::new() }) };
}

/// Lends the calling thread's buffers, for transformed pixels and for sums. They are made once per thread.
fn with_buffers(f: impl FnOnce(&mut [f32], &mut [f32])) {
    BUFFERS.with_borrow_mut(|buf| {
        buf.pixels.resize(PIXELS / LINE + 36, Line([0.0; 16]));
        buf.sums.resize(36 * PANELS * (TILES * LANES / LINE + 1), Line([0.0; 16]));
        f(floats(&mut buf.pixels), floats(&mut buf.sums));
    });
}
