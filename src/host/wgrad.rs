//! wgrad: the matrix product dyᵀ · (taps of x). Rows are filters, columns the taps × channels of one filter, and the reduction
//! runs over output pixels.
//!
//! Tiles accumulate into a packed buffer, panel by panel. Written straight into `dw`, each row of a tile would touch another memory
//! page. A last pass adds the parts in order and puts every sum in its place.

use rayon::prelude::*;

use super::blocks::{Walk, with_buffers};
use super::simd::{Layout, Level, ROW, Start, Tile};
use super::sizes::ConvSizes;
use super::taps::Taps;

/// How the work is shared out: a function of sizes only, so that results do not depend on threads.
pub struct Split {
    /// Ranges of pixels with sums of their own.
    parts: usize,
    /// Ranges of filters, and the filters of each.
    blocks: usize,
    rows: usize,
    /// Columns of all panels.
    padded: usize,
    pub scratch: usize,
}

/// Tasks to aim at, floats of partial sums to stay below, and fewest pixels of a part.
const TASKS: usize = 16;
const PARTIALS: usize = 5 << 20;
const PART_PIXELS: usize = 512;
/// Most filters of a task. A task copies the taps of x once for all its filters, so a task of few filters would mostly copy.
const FILTERS: usize = 256;
/// Pixels of a block: a panel of x and a strip of dy together fit L1.
const PIXELS: usize = 160;

impl Split {
    pub fn of(z: &ConvSizes) -> Split {
        let (k, one, pixels) = (z.k as usize, z.filters().per_image(), z.y().pixels());
        let padded = one.next_multiple_of(32);
        let most = (PARTIALS / (k * padded).max(1)).min(pixels / PART_PIXELS).clamp(1, TASKS);
        // If the pixels do not make enough tasks, the filters are split, too.
        let blocks = k.div_ceil(FILTERS).max((TASKS / 4).div_ceil(most).min(k / 128)).max(1);
        let rows = k.div_ceil(blocks);
        let blocks = k.div_ceil(rows.max(1));
        let parts = TASKS.div_ceil(blocks.max(1)).min(most);
        Split { parts, blocks, rows, padded, scratch: parts * blocks * rows * padded }
    }
}

pub fn run(level: Level, z: &ConvSizes, x: &[f32], dy: &[f32], dw: &mut [f32], scratch: &mut [f32]) {
    let split = Split::of(z);
    let (one, pixels) = (z.filters().per_image(), z.y().pixels());
    if dw.is_empty() || pixels == 0 {
        return dw.fill(0.0);
    }
    let task = split.rows * split.padded;
    let sums = &mut scratch[..split.scratch];
    sums.par_chunks_mut(task).with_max_len(1).enumerate().for_each(|(i, sums)| {
        let (part, block) = (i / split.blocks, i % split.blocks);
        let range = (part * pixels / split.parts, (part + 1) * pixels / split.parts);
        let (first, last) = (block * split.rows, ((block + 1) * split.rows).min(z.k as usize));
        let per_group = (z.k / z.groups) as usize;
        let mut k = first;
        while k < last {
            let group = k / per_group;
            let to = last.min((group + 1) * per_group);
            FilterRange { group, first, k0: k, k1: to, rows: split.rows }.add_up(level, z, (x, dy), range, sums);
            k = to;
        }
    });
    let sums = &*sums;
    dw.par_chunks_mut(one).with_min_len(8).enumerate().for_each(|(k, dw)| {
        let (block, row) = (k / split.rows, k % split.rows);
        let mut col = 0;
        while col < one {
            let lanes = level.kernel(one - col).lanes;
            let width = lanes.min(one - col);
            let at = |part: usize| &sums[(part * split.blocks + block) * task + col * split.rows + row * lanes..][..width];
            let dw = &mut dw[col..col + width];
            dw.copy_from_slice(at(0));
            for part in 1..split.parts {
                for (a, &b) in dw.iter_mut().zip(at(part)) {
                    *a += b;
                }
            }
            col += width;
        }
    });
}

/// Filters `k0..k1`, all of one group, among those of a task.
struct FilterRange {
    group: usize,
    k0: usize,
    k1: usize,
    /// The task's first filter, and the rows that the panels of its sums have: row 0 is that filter's.
    first: usize,
    rows: usize,
}

impl FilterRange {
    /// Sums of dy · x over the pixels `begin..end`.
    fn add_up(&self, level: Level, z: &ConvSizes, (x, dy): (&[f32], &[f32]), (begin, end): (usize, usize), sums: &mut [f32]) {
        let (k, one) = (z.k as usize, z.filters().per_image());
        let mut taps = Taps::fprop(z);
        taps.chan = self.group * taps.chans;
        let (k0, rows) = (self.k0, self.rows);
        let count = self.k1 - k0;
        // `strips` holds up to ROW values of dy for each pixel of a block.
        const { assert!(FILTERS <= ROW) };
        let tiles = count.div_ceil(level.widest().rows);
        let cut = |t: usize| t * count / tiles;
        with_buffers(|strips, panel, block| {
            let mut walk = Walk::new(z.y(), (0, 0), (1, 1), begin, end, PIXELS);
            let mut start = Start::Zero;
            while walk.next(block) {
                let pixels = block.pixels();
                for t in 0..tiles {
                    let (r0, r1) = (cut(t), cut(t + 1));
                    let dy = &dy[block.first * k + k0 + r0..];
                    level.copy_rows(dy, k, &mut strips[r0 * pixels..], r1 - r0, pixels, r1 - r0);
                }
                let mut col = 0;
                while col < one {
                    let kernel = level.kernel(one - col);
                    let (lanes, width) = (kernel.lanes, kernel.lanes.min(one - col));
                    let mut row = 0;
                    for seg in block.segments() {
                        taps.fill(level, x, seg, (col, col + width), &mut panel[row * lanes..], lanes);
                        row += seg.j1 - seg.j0;
                    }
                    for t in 0..tiles {
                        let (r0, r1) = (cut(t), cut(t + 1));
                        let at: [usize; 16] = std::array::from_fn(|i| (r0 + i) * lanes);
                        kernel.run(Tile {
                            a: Layout::Strip(&strips[r0 * pixels..]),
                            b: panel,
                            depth: pixels,
                            c: &mut sums[col * rows + (k0 - self.first) * lanes..],
                            rows: &at[..r1 - r0],
                            width,
                            start,
                            ahead: &[],
                        });
                    }
                    col += width;
                }
                start = Start::Sum;
            }
        });
    }
}
