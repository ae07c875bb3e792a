//! fprop and dgrad: one blocked matrix product, seen through [`Taps`]. Rows are output pixels, columns output channels, the
//! reduction runs over taps × channels.

use rayon::prelude::*;

use super::blocks::{Block, PIXELS, Walk, with_buffers};
use super::simd::{DEPTH, Layout, Level, ROW, Start, Tile};
use super::taps::Taps;
use crate::core::shape::Shape;

/// Widest panel of any level, longest step of a kernel, and how far a slice may be from the next cache line, in floats.
const LANES: usize = 32;
const STEP: usize = 4;
const LINE: usize = 16;

/// One pass: what each phase of the output reads.
pub struct Gather<'a, F> {
    pub level: Level,
    pub taps: F,
    pub phases: (usize, usize),
    pub out: Shape,
    pub groups: usize,
    pub bias: Option<&'a [f32]>,
}

/// A panel to pack: columns `col..col + width` of a group of `columns`, as `depth` rows of `lanes`.
pub struct Panel<'a> {
    pub group: usize,
    pub columns: usize,
    pub col: usize,
    pub width: usize,
    pub lanes: usize,
    pub out: &'a mut [f32],
}

/// Rows of a packed panel.
fn padded_depth(taps: &Taps) -> usize {
    taps.depth().next_multiple_of(STEP)
}

/// Floats of packed filters for `groups` groups of `columns` filters with `depth` taps × channels, which `phases` phases share
/// out among them.
pub fn scratch(depth: usize, phases: usize, columns: usize, groups: usize) -> usize {
    groups * (depth + phases * (STEP - 1)) * columns.next_multiple_of(LANES) + LINE
}

impl<F: Fn(usize, usize) -> Taps + Sync> Gather<'_, F> {
    /// Output channels of a group.
    fn columns(&self) -> usize {
        self.out.c as usize / self.groups
    }

    /// Columns of all panels of a group.
    fn padded(&self) -> usize {
        let (columns, wide) = (self.columns(), self.level.widest().lanes);
        let rest = columns % wide;
        columns - rest + if rest == 0 { 0 } else { self.level.kernel(rest).lanes }
    }

    /// Group by group, phase by phase, with the taps of each.
    fn parts(&self) -> impl Iterator<Item = (usize, Taps, usize, usize)> {
        (0..self.groups).flat_map(move |g| {
            let (a, b) = self.phases;
            (0..a * b).map(move |i| {
                let mut taps = (self.taps)(i / b, i % b);
                taps.chan = g * taps.chans;
                (g, taps, i / b, i % b)
            })
        })
    }

    /// Packs the filters: for each group and phase a row of panels, each as deep as the phase's reduction.
    pub fn pack<'s>(&self, scratch: &'s mut [f32], fill: impl Fn(Panel, &Taps, usize) + Sync) -> &'s [f32] {
        let skip = scratch.as_ptr().align_offset(4 * LINE).min(LINE);
        let filters = &mut scratch[skip..];
        let (columns, padded, wide) = (self.columns(), self.padded(), self.level.widest().lanes);
        let mut rest = &mut *filters;
        for (group, taps, ..) in self.parts() {
            let (depth, deep) = (taps.depth(), padded_depth(&taps));
            let (block, after) = rest.split_at_mut(deep * padded);
            rest = after;
            if depth == 0 {
                continue;
            }
            block.par_chunks_mut(deep * wide).enumerate().for_each(|(i, out)| {
                let col = i * wide;
                let kernel = self.level.kernel(columns - col);
                let (width, lanes) = (wide.min(columns - col), kernel.lanes);
                out[depth * lanes..].fill(0.0);
                fill(Panel { group, columns, col, width, lanes, out: &mut *out }, &taps, depth);
                kernel.interleave(out);
            });
        }
        filters
    }

    /// Runs the product over all output pixels.
    pub fn run(&self, x: &[f32], filters: &[f32], y: &mut [f32]) {
        let c = self.out.c as usize;
        let pixels = self.task_pixels();
        y.par_chunks_mut((pixels * c).max(1)).with_max_len(1).enumerate().for_each(|(task, y)| {
            with_buffers(|rows, _, block| {
                let begin = task * pixels;
                let end = begin + y.len() / c;
                let mut filters = filters;
                let columns = self.columns();
                let kernel = self.level.kernel(columns);
                for (group, taps, a, b) in self.parts() {
                    // Every panel of filters reads the copied rows again. If there is one panel, or L1 holds all filters, small blocks
                    // let the rows stay in L1 as well.
                    let near = columns <= kernel.lanes || columns * taps.depth() <= 4096;
                    let most = if near { 2 * kernel.rows } else { PIXELS };
                    let mut walk = Walk::new(self.out, (a, b), self.phases, begin, end, most);
                    while walk.next(block) {
                        self.block(x, &taps, filters, group, block, rows, y);
                    }
                    filters = &filters[padded_depth(&taps) * self.padded()..];
                }
            });
        });
    }

    /// One block of pixels of one phase: all columns of one group.
    #[allow(clippy::too_many_arguments)]
    fn block(&self, x: &[f32], taps: &Taps, filters: &[f32], group: usize, block: &Block, rows: &mut [f32], y: &mut [f32]) {
        let (depth, deep, columns) = (taps.depth(), padded_depth(taps), self.columns());
        let bias = self.bias.map(|b| &b[group * columns..]);
        let cuts = depth.div_ceil(DEPTH).max(1);
        let step = depth.div_ceil(cuts).next_multiple_of(LINE);
        for k0 in (0..depth.max(1)).step_by(step.max(1)) {
            let k1 = (k0 + step).min(depth);
            let rounded = (k1 - k0).next_multiple_of(STEP);
            let mut row = 0;
            for seg in block.segments() {
                taps.fill(self.level, x, seg, (k0, k1), &mut rows[row * ROW..], ROW);
                row += seg.j1 - seg.j0;
            }
            if rounded > k1 - k0 {
                // Narrow kernels read a multiple of STEP columns: those beyond the depth must be 0. Wide kernels do not read them.
                rows.chunks_exact_mut(ROW).take(row).for_each(|row| row[k1 - k0..rounded].fill(0.0));
            }
            let mut col = 0;
            while col < columns {
                let kernel = self.level.kernel(columns - col);
                let width = kernel.lanes.min(columns - col);
                let start = match bias {
                    _ if k0 > 0 => Start::Sum,
                    Some(b) => Start::Bias(&b[col..]),
                    None => Start::Zero,
                };
                let b = &filters[col * deep + k0 * kernel.lanes..][..rounded * kernel.lanes];
                // The next panel is not in L2 yet: every tile prefetches a share of it.
                let tiles = block.pixels().div_ceil(kernel.rows);
                let next = &filters[((col + width) * deep + k0 * kernel.lanes).min(filters.len())..];
                let next = &next[..b.len().min(next.len())];
                let share = |t: usize| t * next.len() / tiles;
                for t in 0..tiles {
                    let (r0, r1) = (t * block.pixels() / tiles, (t + 1) * block.pixels() / tiles);
                    kernel.run(Tile {
                        a: Layout::Rows(&rows[r0 * ROW..]),
                        b,
                        depth: k1 - k0,
                        c: &mut y[group * columns + col..],
                        rows: &block.outputs()[r0..r1],
                        width,
                        start,
                        ahead: &next[share(t)..share(t + 1)],
                    });
                }
                col += width;
            }
        }
    }

    /// Pixels of a task: a block for each phase, less where that would leave threads idle. A function of sizes only.
    fn task_pixels(&self) -> usize {
        let phases = self.phases.0 * self.phases.1;
        let pixels = self.out.pixels() / phases;
        // A task reads all filters once. From 64 pixels on the products outweigh the reading; a batch with fewer pixels is still cut into
        // tasks of 16, so that no thread is idle.
        let least = (pixels / 4).next_multiple_of(16).clamp(16, 64);
        let per_phase = (pixels / 16).next_multiple_of(32).clamp(least, PIXELS);
        if phases == 1 {
            return per_phase;
        }
        // A task covers whole rows of pictures, as many of each phase.
        let w = self.out.w as usize;
        let rows = (per_phase * phases / w.max(1)).max(1).next_multiple_of(self.phases.0);
        rows * w.max(1)
    }
}
