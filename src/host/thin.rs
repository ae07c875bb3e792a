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

/// The sizes of such a product.
#[derive(Clone, Copy)]
pub struct Product {
    rows: usize,
    depth: usize,
    filters: usize,
}

/// Rows that are multiplied together: the first and how many, fours, then perhaps two and one.
fn groups(rows: usize) -> impl Iterator<Item = (usize, usize)> {
    let rest = [(rows / 4 * 4, 2), (rows / 2 * 2, 1)];
    let fours = (0..rows / 4).map(|i| (4 * i, 4));
    fours.chain(rest.into_iter().filter(move |(_, width)| rows & width != 0))
}

impl Product {
    /// None for another convolution; `z` is canonical (`super::conv`).
    pub fn of(z: &ConvSizes) -> Option<Product> {
        let one = (z.r, z.s, z.groups, z.pad_h, z.pad_w, z.stride_h, z.stride_w) == (1, 1, 1, 0, 0, 1, 1);
        let p = Product { rows: z.y().pixels(), depth: z.c as usize, filters: z.k as usize };
        (one && (1..=ROWS).contains(&p.rows) && p.depth * p.filters >= LEAST).then_some(p)
    }

    /// Floats of scratch.
    pub fn scratch(&self) -> usize {
        self.filters * self.rows * SLOT
    }

    /// y = x·wᵀ + bias.
    pub fn run(&self, level: Level, x: &[f32], w: &[f32], bias: Option<&[f32]>, y: &mut [f32], scratch: &mut [f32]) {
        let (rows, depth, whole) = (self.rows, self.depth, self.depth / BLOCK * BLOCK);
        // Sums of lanes: for each task, groups of rows, its filters × the rows of the group.
        let sums = &mut scratch[..self.scratch()];
        sums.par_chunks_mut(FILTERS * rows * SLOT).zip(w.par_chunks(FILTERS * depth)).for_each(|(sums, w)| {
            sums.fill(0.0);
            let filters = w.len() / depth;
            for from in (0..whole).step_by(DEPTH) {
                let length = DEPTH.min(whole - from);
                let taps: [usize; FILTERS] = std::array::from_fn(|f| f * depth + from);
                for (row, width) in groups(rows) {
                    let of = &mut sums[filters * row * SLOT..][..filters * width * SLOT];
                    level.spread_lines(&taps[..filters], w, (&x[row * depth + from..], depth, length), width, of);
                }
            }
        });
        let sums = &*sums;
        y.par_chunks_mut(self.filters).zip(x.par_chunks(depth)).enumerate().for_each(|(row, (y, x))| {
            let (first, width) = groups(rows).find(|(first, width)| row < first + width).expect("groups hold every row");
            for (f, y) in y.iter_mut().enumerate() {
                let (task, within) = (f / FILTERS * FILTERS, f % FILTERS);
                let filters = FILTERS.min(self.filters - task);
                let at = (task * rows + filters * first + within * width + row - first) * SLOT;
                let tail: f32 = x[whole..].iter().zip(&w[f * depth + whole..]).map(|(x, w)| x * w).sum();
                *y = bias.map_or(0.0, |b| b[f]) + (sums[at..][..SLOT].iter().sum::<f32>() + tail);
            }
        });
    }
}
