//! The product of a few rows with a large matrix: a linear layer of a small batch. Packing the filters would read and write the matrix
//! once more for what is used a few times, so rows of filters are multiplied where they lie, each read from memory once
//! ([`Level::spread_lines`]).
//!
//! A sum has one order at any number of threads: values dealt to the lanes of a register in turn, lanes in order, then what lies
//! behind the last whole [`BLOCK`], then the bias.

use rayon::prelude::*;

use super::simd::{BLOCK, Level, SLOT};
use super::sizes::ConvSizes;

/// Most rows, and least filter values: a smaller matrix stays in the caches, where packing it costs little.
const ROWS: usize = 16;
const LEAST: usize = 1 << 20;
/// Filters of a task, and values of a row that stay in the cache while its filters pass.
const FILTERS: usize = 64;
const DEPTH: usize = 4096;

/// Rows and depth of the product; none for another convolution (`z` is canonical: `super::conv`).
fn product(z: &ConvSizes) -> Option<(usize, usize)> {
    let one = (z.r, z.s, z.groups, z.pad_h, z.pad_w, z.stride_h, z.stride_w) == (1, 1, 1, 0, 0, 1, 1);
    let (rows, depth) = (z.y().pixels(), z.c as usize);
    (one && (1..=ROWS).contains(&rows) && depth * z.k as usize >= LEAST).then_some((rows, depth))
}

/// Floats of scratch; none if the product is not thin.
pub fn fprop_scratch(z: &ConvSizes) -> Option<usize> {
    product(z).map(|(rows, _)| z.k as usize * rows * SLOT)
}

/// False, and nothing done, if the product is not thin.
pub fn fprop(
    level: Level,
    z: &ConvSizes,
    x: &[f32],
    w: &[f32],
    bias: Option<&[f32]>,
    y: &mut [f32],
    scratch: &mut [f32],
) -> bool {
    let Some((rows, depth)) = product(z) else { return false };
    let (k, whole) = (z.k as usize, depth / BLOCK * BLOCK);
    // Sums of lanes: filters × rows.
    let sums = &mut scratch[..k * rows * SLOT];
    sums.par_chunks_mut(FILTERS * rows * SLOT).zip(w.par_chunks(FILTERS * depth)).for_each(|(sums, w)| {
        sums.fill(0.0);
        let filters = w.len() / depth;
        for from in (0..whole).step_by(DEPTH) {
            let length = DEPTH.min(whole - from);
            let taps: [usize; FILTERS] = std::array::from_fn(|f| f * depth + from);
            let mut sums = &mut *sums;
            let mut row = 0;
            while row < rows {
                let width = match rows - row {
                    4.. => 4,
                    2.. => 2,
                    _ => 1,
                };
                let (of, after) = sums.split_at_mut(filters * width * SLOT);
                level.spread_lines(&taps[..filters], w, (&x[row * depth + from..], depth, length), width, of);
                (sums, row) = (after, row + width);
            }
        }
    });
    let sums = &*sums;
    y.par_chunks_mut(k).zip(x.par_chunks(depth)).enumerate().for_each(|(row, (y, x))| {
        // Rows lie in fours, then perhaps two and one; filters in tasks.
        let (first, width) = if row < rows / 4 * 4 {
            (row / 4 * 4, 4)
        } else if row < rows / 2 * 2 {
            (row / 2 * 2, 2)
        } else {
            (row, 1)
        };
        for (f, y) in y.iter_mut().enumerate() {
            let (task, within) = (f / FILTERS * FILTERS, f % FILTERS);
            let filters = FILTERS.min(k - task);
            let at = (task * rows + filters * first + within * width + row - first) * SLOT;
            let tail: f32 = x[whole..].iter().zip(&w[f * depth + whole..]).map(|(x, w)| x * w).sum();
            *y = bias.map_or(0.0, |b| b[f]) + (sums[at..][..SLOT].iter().sum::<f32>() + tail);
        }
    });
    true
}
