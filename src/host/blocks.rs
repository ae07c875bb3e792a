//! Blocks of output pixels: which pixels a task works on at a time, and the buffers it copies them to.

use std::cell::RefCell;

use super::simd::{DEPTH, ROW};
use super::taps::Segment;
use crate::core::shape::Shape;

/// Most pixels of a block.
pub const PIXELS: usize = 256;

/// Pixels of one phase, as segments of rows, and where each begins in the task's slice of the output.
pub struct Block {
    segs: [Segment; PIXELS],
    outs: [usize; PIXELS],
    segments: usize,
    pixels: usize,
    /// The first pixel, counted over the whole batch.
    pub first: usize,
}

impl Block {
    const EMPTY: Block =
        Block { segs: [Segment { n: 0, i: 0, j0: 0, j1: 0 }; PIXELS], outs: [0; PIXELS], segments: 0, pixels: 0, first: 0 };

    pub fn segments(&self) -> &[Segment] {
        &self.segs[..self.segments]
    }
    pub fn outputs(&self) -> &[usize] {
        &self.outs[..self.pixels]
    }
    pub fn pixels(&self) -> usize {
        self.pixels
    }
}

/// Visits the pixels of one phase among pixels `begin..end` of the batch, in blocks of nearly equal size, at most `most`.
pub struct Walk {
    out: Shape,
    phase: (usize, usize),
    stride: (usize, usize),
    begin: usize,
    at: usize,
    end: usize,
    most: usize,
}

impl Walk {
    pub fn new(out: Shape, phase: (usize, usize), stride: (usize, usize), begin: usize, end: usize, most: usize) -> Walk {
        assert!(most <= PIXELS);
        let pixels = (end - begin).div_ceil(stride.0 * stride.1).max(1);
        let most = pixels.div_ceil(pixels.div_ceil(most));
        Walk { out, phase, stride, begin, at: begin, end, most }
    }

    /// Fills the next block; false at the end.
    pub fn next(&mut self, block: &mut Block) -> bool {
        (block.segments, block.pixels) = (0, 0);
        let (_, h, w, c) = self.out.dims();
        let ((a, b), (sh, sw)) = (self.phase, self.stride);
        while self.at < self.end && block.pixels < self.most {
            let (row, col) = (self.at / w, self.at % w);
            let line = row * w;
            let to = w.min(self.end - line);
            let (n, i) = (row / h, row % h);
            self.at = line + to;
            if i % sh != a {
                continue;
            }
            let j0 = col.saturating_sub(b).div_ceil(sw);
            let j1 = to.saturating_sub(b).div_ceil(sw).min(j0 + self.most - block.pixels);
            if j0 >= j1 {
                continue;
            }
            if block.pixels == 0 {
                block.first = line + b + j0 * sw;
            }
            block.segs[block.segments] = Segment { n, i: i / sh, j0, j1 };
            block.segments += 1;
            for j in j0..j1 {
                block.outs[block.pixels] = (line + b + j * sw - self.begin) * c;
                block.pixels += 1;
            }
            // One past the last pixel taken: the rest of the row, if any, is visited next.
            self.at = self.at.min(line + b + (j1 - 1) * sw + 1).max(line + col + 1);
        }
        block.pixels > 0
    }
}

/// Sixteen floats, one cache line: what makes a `Vec` of them aligned.
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C, align(64))]
pub struct Line(pub [f32; 16]);

struct Buffers {
    a: Vec<Line>,
    b: Vec<Line>,
    block: Block,
}

thread_local! {
    static BUFFERS: RefCell<Buffers> = const { RefCell::new(Buffers { a: Vec::new(), b: Vec::new(), block: Block::EMPTY }) };
}

/// Lends the calling thread's buffers: `PIXELS` rows of [`ROW`] floats, a panel of `DEPTH` × 32, and a block. They are made
/// once per thread.
pub fn with_buffers(f: impl FnOnce(&mut [f32], &mut [f32], &mut Block)) {
    BUFFERS.with_borrow_mut(|buf| {
        buf.a.resize(PIXELS * ROW / 16, Line([0.0; 16]));
        buf.b.resize(DEPTH * 32 / 16, Line([0.0; 16]));
        f(floats(&mut buf.a), floats(&mut buf.b), &mut buf.block);
    });
}

pub fn floats(lines: &mut [Line]) -> &mut [f32] {
    bytemuck::cast_slice_mut(lines)
}
