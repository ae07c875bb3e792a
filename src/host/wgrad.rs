//! wgrad: the matrix product dyᵀ · (taps of x). Rows are filters, columns the (tap, channel) elements of one filter, and the
//! reduction runs over output pixels.

use rayon::prelude::*;

use super::blocks::{Walk, with_buffers};
use super::simd::{DEPTH, Layout, Level, ROW, Start, Tile};
use super::sizes::ConvSizes;
use super::taps::Taps;

/// How the work is shared out: a function of sizes only, so that results do not depend on threads.
pub struct Split {
    /// Ranges of pixels with partial sums of their own, added in order at the end.
    parts: usize,
    /// Filters of a task.
    rows: usize,
    pub scratch: usize,
}

/// Tasks to aim at, most floats of partial sums, and fewest pixels of one.
const TASKS: usize = 16;
const PARTIALS: usize = 4 << 20;
const PART_PIXELS: usize = 512;

impl Split {
    pub fn of(z: &ConvSizes) -> Split {
        let k = z.k as usize;
        // Every task copies the taps it reads, which 128 filters amortise.
        let blocks = (k / 128).max(1);
        let most = (PARTIALS / z.filters().len().max(1)).min(z.y().pixels() / PART_PIXELS).max(1);
        let parts = TASKS.div_ceil(blocks).min(most);
        Split { parts, rows: k.div_ceil(blocks), scratch: if parts == 1 { 0 } else { parts * z.filters().len() } }
    }
}

pub fn run(level: Level, z: &ConvSizes, x: &[f32], dy: &[f32], dw: &mut [f32], scratch: &mut [f32]) {
    let split = Split::of(z);
    let len = z.filters().len();
    if len == 0 {
        return;
    }
    if split.parts == 1 {
        return part(level, z, x, dy, split.rows, (0, z.y().pixels()), dw);
    }
    let partial = &mut scratch[..split.scratch];
    partial.par_chunks_mut(len).with_max_len(1).enumerate().for_each(|(i, dw)| {
        let pixels = z.y().pixels();
        part(level, z, x, dy, split.rows, (i * pixels / split.parts, (i + 1) * pixels / split.parts), dw);
    });
    let partial = &*partial;
    dw.par_chunks_mut(4096).enumerate().for_each(|(i, dw)| {
        let of = |p: usize| &partial[p * len + i * 4096..][..dw.len()];
        dw.copy_from_slice(of(0));
        for p in 1..split.parts {
            for (a, &b) in dw.iter_mut().zip(&partial[p * len + i * 4096..]) {
                *a += b;
            }
        }
    });
}

/// The sum over pixels `begin..end`.
fn part(level: Level, z: &ConvSizes, x: &[f32], dy: &[f32], rows: usize, (begin, end): (usize, usize), dw: &mut [f32]) {
    let one = z.filters().per_image();
    let per_group = (z.k / z.groups) as usize;
    dw.par_chunks_mut(rows * one).with_max_len(1).enumerate().for_each(|(i, dw)| {
        if begin == end {
            return dw.fill(0.0);
        }
        let (mut k, last) = (i * rows, i * rows + dw.len() / one);
        let mut dw = dw;
        while k < last {
            // The filters of one group among those of the task.
            let group = k / per_group;
            let to = last.min((group + 1) * per_group);
            let (now, after) = dw.split_at_mut((to - k) * one);
            filters(level, z, x, dy, group, (k, to), (begin, end), now);
            dw = after;
            k = to;
        }
    });
}

/// Filters `k0..k1`, all of one group, over pixels `begin..end`.
#[allow(clippy::too_many_arguments)]
fn filters(
    level: Level,
    z: &ConvSizes,
    x: &[f32],
    dy: &[f32],
    group: usize,
    (k0, k1): (usize, usize),
    (begin, end): (usize, usize),
    dw: &mut [f32],
) {
    let one = z.filters().per_image();
    let mut taps = Taps::fprop(z);
    taps.chan = group * taps.chans;
    let k = z.k as usize;
    let tile_rows = level.kernel(usize::MAX).rows;
    // As many filters as the buffer of PIXELS × ROW floats holds strips for.
    let most = ROW;
    with_buffers(|strips, panel, block| {
        for f0 in (k0..k1).step_by(most) {
            let count = most.min(k1 - f0);
            let tiles = count.div_ceil(tile_rows);
            let cut = |t: usize| t * count / tiles;
            let mut walk = Walk::new(z.y(), (0, 0), (1, 1), begin, end, DEPTH);
            let mut start = Start::Zero;
            while walk.next(block) {
                let pixels = block.pixels();
                for t in 0..tiles {
                    let (r0, r1) = (cut(t), cut(t + 1));
                    let dy = &dy[block.first * k + f0 + r0..];
                    level.copy_rows(dy, k, &mut strips[r0 * pixels..], r1 - r0, pixels, r1 - r0);
                }
                let mut col = 0;
                while col < one {
                    let kernel = level.kernel(one - col);
                    let width = kernel.lanes.min(one - col);
                    let mut row = 0;
                    for seg in block.segments() {
                        taps.fill(level, x, seg, (col, col + width), &mut panel[row * kernel.lanes..], kernel.lanes);
                        row += seg.j1 - seg.j0;
                    }
                    for t in 0..tiles {
                        let (r0, r1) = (cut(t), cut(t + 1));
                        let mut at = [0; 16];
                        for (i, a) in at[..r1 - r0].iter_mut().enumerate() {
                            *a = (f0 - k0 + r0 + i) * one;
                        }
                        kernel.run(Tile {
                            a: Layout::Strip(&strips[r0 * pixels..]),
                            b: panel,
                            depth: pixels,
                            c: &mut dw[col..],
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
        }
    });
}
