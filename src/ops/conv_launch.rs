//! Launches of the convolution kernels, kernels/conv_*.cu: which kernel, which grid, how much scratch memory.
//!
//! conv2d, conv_transpose2d (whose fprop is dgrad) and linear (a 1×1 convolution) all come here.

use crate::core::op::Set;
use crate::device::gpu::F32;
use crate::device::{Gpu, Span};
use crate::error::{Error, Result};
use crate::host::sizes::ConvSizes;

/// `struct Conv` of kernels/conv.cuh.
#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Params {
    sizes: ConvSizes,
    bias: u32,
    span: u32,
}

/// `struct Splits` of kernels/conv_sum.cu.
#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Splits {
    count: u32,
    splits: u32,
}

/// `struct Columns` of kernels/conv_sum.cu.
#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Columns {
    rows: u32,
    k: u32,
    span: u32,
}

/// A sum over `len` pixels in pieces of `span`: `count` of them, the last perhaps shorter.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Split {
    span: usize,
    count: usize,
}

impl Split {
    /// At most `pieces` pieces, none (but the last) below `least` pixels, all a multiple of 16.
    fn new(len: usize, pieces: usize, least: usize) -> Split {
        let span = len.div_ceil(pieces.max(1)).max(least).next_multiple_of(16);
        Split { span, count: len.div_ceil(span).max(1) }
    }
}

/// Blocks that fill a large GPU about twice (132 multiprocessors, an even number of blocks on each).
const FULL: usize = 264;

fn values(s: Span) -> usize {
    s.len / F32
}

/// y = x ⋆ w + bias.
pub(super) fn fprop(g: &Gpu, z: &ConvSizes, x: Span, w: Span, bias: Option<Span>, y: Span) -> Result<()> {
    check(g, z)?;
    let p = Params { sizes: *z, bias: bias.map_or(1, values) as u32, span: 0 };
    let grid = [z.y().len().div_ceil(256), 1, 1];
    g.call("conv2d_fprop_plain_f32")?.grid(grid).block(256).read(x).read(w).read_or_null(bias).write(y).value(&p).go()
}

/// dx = the transpose of `fprop` applied to dy, plus a bias per channel of x.
pub(super) fn dgrad(g: &Gpu, z: &ConvSizes, dy: Span, w: Span, bias: Option<Span>, dx: Span) -> Result<()> {
    check(g, z)?;
    let p = Params { sizes: *z, bias: bias.map_or(1, values) as u32, span: 0 };
    let grid = [z.x().len().div_ceil(256), 1, 1];
    g.call("conv2d_dgrad_plain_f32")?.grid(grid).block(256).read(dy).read(w).read_or_null(bias).write(dx).value(&p).go()
}

/// `dw[k,r,s,c] = Σ dy[·,k] · x[·,c]`: partial sums of each split, then their sum.
pub(super) fn wgrad(g: &Gpu, z: &ConvSizes, x: Span, dy: Span, dw: Span) -> Result<()> {
    check(g, z)?;
    let (split, count) = (wgrad_split(z), z.filters().len());
    let to = if split.count == 1 { dw } else { g.scratch(0, split.count * count) };
    let p = Params { sizes: *z, bias: 1, span: split.span as u32 };
    let grid = [count.div_ceil(256), split.count, 1];
    g.call("conv2d_wgrad_plain_f32")?.grid(grid).block(256).read(x).read(dy).write(to).value(&p).go()?;
    sum_splits(g, to, dw, count, split)
}

fn wgrad_split(z: &ConvSizes) -> Split {
    Split::new(z.y().pixels(), FULL.div_ceil(z.filters().len().div_ceil(256)), 256)
}

/// `db[k] = Σ dy[·,k]` over all rows.
pub(super) fn bias_grad(g: &Gpu, rows: usize, k: usize, dy: Span, db: Span) -> Result<()> {
    let split = bias_split(rows, k);
    let to = if split.count == 1 { db } else { g.scratch(0, split.count * k) };
    let p = Columns { rows: rows as u32, k: k as u32, span: split.span as u32 };
    g.call("bias_grad_f32")?.grid([split.count, k.div_ceil(256), 1]).block(256).read(dy).write(to).value(&p).go()?;
    sum_splits(g, to, db, k, split)
}

fn bias_split(rows: usize, k: usize) -> Split {
    Split::new(rows, FULL.div_ceil(k.div_ceil(256)), 256)
}

fn sum_splits(g: &Gpu, from: Span, to: Span, count: usize, split: Split) -> Result<()> {
    if split.count == 1 {
        return Ok(());
    }
    let p = Splits { count: count as u32, splits: split.count as u32 };
    g.call("sum_splits_f32")?.grid([count.div_ceil(256), 1, 1]).block(256).read(from).write(to).value(&p).go()
}

/// Bytes that the gradients in `wants` (1 filter, 2 bias of `k` channels over `rows` pixels) need, one after the other.
pub(super) fn backward_scratch(z: &ConvSizes, wants: Set, k: usize, rows: usize) -> usize {
    let partial = |split: Split, count: usize| if split.count == 1 { 0 } else { split.count * count * F32 };
    let dw = if wants.has(1) { partial(wgrad_split(z), z.filters().len()) } else { 0 };
    let db = if wants.has(2) { partial(bias_split(rows, k), k) } else { 0 };
    dw.max(db)
}

/// The kernels count values in 31 bits.
fn check(g: &Gpu, z: &ConvSizes) -> Result<()> {
    match [z.x(), z.filters(), z.y()].into_iter().find(|s| s.len() > i32::MAX as usize) {
        Some(s) => Err(Error::Shape {
            op: "conv2d",
            at: g.at.to_string(),
            why: format!("{s} has more than 2^31 values: use smaller batches"),
        }),
        None => Ok(()),
    }
}
