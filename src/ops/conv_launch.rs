//! Launches of the convolution kernels, kernels/conv_*.cu: which kernel, which grid, how much scratch memory.
//!
//! conv2d, conv_transpose2d (whose fprop is dgrad) and linear (a 1×1 convolution) all come here.

use crate::core::op::Set;
use crate::device::gpu::F32;
use crate::device::{Gpu, Precision, Span};
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

/// How a tiled kernel computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Engine {
    /// f32 fma.
    Simt,
    /// f32 fma; copies one value at a time, for channels that are not a multiple of four.
    Scalar,
    /// Tensor cores.
    Tf32,
    Tf32x3,
}
use Engine::*;

/// One of the tiled kernels: a block of `threads` computes `m` × `n` results. What `m` and `n` count says kernels/conv_gemm.cuh.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Tile {
    m: usize,
    n: usize,
    threads: usize,
    engine: Engine,
}

const fn tile(m: usize, n: usize, threads: usize, engine: Engine) -> Tile {
    Tile { m, n, threads, engine }
}

/// The kernels of fprop and dgrad (kernels/conv_fprop.cu, conv_dgrad.cu), from large tiles to small.
const PIXELS: [Tile; 16] = [
    tile(128, 64, 128, Simt),
    tile(128, 32, 128, Simt),
    tile(128, 16, 128, Simt),
    tile(128, 8, 128, Simt),
    tile(128, 3, 64, Simt),
    tile(32, 64, 64, Simt),
    tile(128, 64, 128, Scalar),
    tile(128, 8, 128, Scalar),
    tile(128, 128, 256, Tf32),
    tile(128, 64, 128, Tf32),
    tile(128, 32, 128, Tf32),
    tile(32, 64, 64, Tf32),
    tile(128, 128, 256, Tf32x3),
    tile(128, 64, 128, Tf32x3),
    tile(128, 32, 128, Tf32x3),
    tile(32, 64, 64, Tf32x3),
];

/// The kernels of wgrad (kernels/conv_wgrad.cu).
const FILTERS: [Tile; 11] = [
    tile(128, 128, 256, Simt),
    tile(64, 64, 128, Simt),
    tile(32, 64, 64, Simt),
    tile(16, 64, 64, Simt),
    tile(64, 64, 128, Scalar),
    tile(64, 48, 96, Scalar),
    tile(8, 48, 96, Scalar),
    tile(128, 128, 256, Tf32),
    tile(64, 64, 128, Tf32),
    tile(128, 128, 256, Tf32x3),
    tile(64, 64, 128, Tf32x3),
];

impl Tile {
    fn kernel(&self, pass: &str) -> String {
        let engine = match self.engine {
            Simt => "f32",
            Scalar => "scalar_f32",
            Tf32 => "tf32",
            Tf32x3 => "3xtf32",
        };
        format!("conv2d_{pass}_{}x{}_{engine}", self.m, self.n)
    }
    fn tiles(&self, rows: usize, columns: usize) -> usize {
        rows.div_ceil(self.m) * columns.div_ceil(self.n)
    }
}

/// Multiprocessors of the GPU that the rules have in mind (132 in an H100; an A100 has 108). Only sizes enter the rules, so results
/// do not depend on the GPU.
const PROCESSORS: usize = 132;

/// The rule of fprop and dgrad. `rows` pixels in each of `phases`, `columns` channels of the result, `k` channels of what is read.
///
/// 1. `Scalar` where channels do not come in fours. The reduction is (tap, tap, channel) in one run, so three channels waste nothing.
/// 2. Tensor cores if the precision allows and the result has more than 16 channels: below that the work is bound by memory.
/// 3. The narrowest tile that holds all columns; from 64 columns on the largest tile that gives every multiprocessor a block, and
///    the smallest if none does.
fn pixels_tile(rows: usize, phases: usize, columns: usize, k: usize, precision: Precision) -> Tile {
    let engine = match precision {
        _ if !k.is_multiple_of(4) || !(columns.is_multiple_of(4) || columns <= 3) => Scalar,
        Precision::Tf32 if columns > 16 => Tf32,
        Precision::Tf32x3 if columns > 16 => Tf32x3,
        _ => Simt,
    };
    let mut tiles = PIXELS.iter().filter(|t| t.engine == engine);
    if columns <= 32 {
        return *tiles.rfind(|t| t.m == 128 && (t.n >= columns || t.n == 64)).expect("a tile of 64 columns");
    }
    let wide: Vec<Tile> = tiles.filter(|t| t.n >= 64 && (t.n == 64 || columns > 64)).copied().collect();
    let full = |t: &&Tile| t.tiles(rows, columns) * phases >= PROCESSORS;
    *wide.iter().find(full).or(wide.last()).expect("a tile of 64 columns")
}

/// The rule of wgrad: `k` filters of `columns` = R·S·C values, of `c` channels.
///
/// 1. `Scalar` where channels do not come in fours: tiles of 48 columns (4 × 4 taps of three channels) or 64.
/// 2. Tensor cores if the precision allows, from 33 filters on.
/// 3. The narrowest tile that holds all filters, 128 × 128 beyond 64 of both.
fn filters_tile(k: usize, columns: usize, c: usize, precision: Precision) -> Tile {
    let fours = k.is_multiple_of(4) && c.is_multiple_of(4);
    let (m, n) = match fours {
        false if columns <= 48 => (if k > 32 { 64 } else { 8 }, 48),
        false => (64, 64),
        true if k > 64 && columns > 64 => (128, 128),
        true if k > 32 => (64, 64),
        true if k > 16 => (32, 64),
        true => (16, 64),
    };
    let engine = match precision {
        _ if !fours => Scalar,
        Precision::Tf32 if k > 32 => Tf32,
        Precision::Tf32x3 if k > 32 => Tf32x3,
        _ => Simt,
    };
    *FILTERS.iter().find(|t| (t.m, t.n, t.engine) == (m, n, engine)).expect("every choice above is a kernel")
}

/// A sum over `len` pixels in pieces of `span`: `count` of them, the last perhaps shorter.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Split {
    span: usize,
    count: usize,
}

impl Split {
    /// At most `pieces` pieces, each (but the last) a multiple of 16 pixels and at least `least`.
    fn new(len: usize, pieces: usize, least: usize) -> Split {
        let span = len.div_ceil(pieces.max(1)).max(least).next_multiple_of(16);
        Split { span, count: len.div_ceil(span).max(1) }
    }
    /// As many pieces as give every multiprocessor two blocks.
    fn filling(len: usize, blocks: usize) -> Split {
        Split::new(len, (2 * PROCESSORS).div_ceil(blocks), 512)
    }
    /// Values of the partial sums: none if there is nothing to add.
    fn partial(&self, count: usize) -> usize {
        if self.count == 1 { 0 } else { self.count * count }
    }
}

/// What the tiled kernels do not take: groups, and a dgrad that is not dense in any phase.
fn plain(z: &ConvSizes, dgrad: bool) -> bool {
    z.groups > 1 || dgrad && (z.stride_h > 1 && z.dil_h > 1 || z.stride_w > 1 && z.dil_w > 1)
}

/// A convolution whose filter covers the whole picture is a product of matrices: one pixel with H·W·C channels. Otherwise its
/// dgrad would look for 15 of 16 taps in the padding (the first layer of a DCGAN generator).
fn flat(z: &ConvSizes) -> ConvSizes {
    let whole = z.groups == 1 && (z.p, z.q, z.pad_h, z.pad_w, z.dil_h, z.dil_w) == (1, 1, 0, 0, 1, 1) && (z.r, z.s) == (z.h, z.w);
    match whole {
        true => ConvSizes { c: z.h * z.w * z.c, h: 1, w: 1, r: 1, s: 1, stride_h: 1, stride_w: 1, ..*z },
        false => *z,
    }
}

fn values(s: Span) -> usize {
    s.len / F32
}

/// y = x ⋆ w + bias.
pub(super) fn fprop(g: &Gpu, z: &ConvSizes, x: Span, w: Span, bias: Option<Span>, y: Span) -> Result<()> {
    check(g, z)?;
    let z = flat(z);
    let t = (!plain(&z, false)).then(|| pixels_tile(z.y().pixels(), 1, z.k as usize, z.c as usize, g.precision));
    fprop_with(g, &z, t, x, w, bias, y)
}

/// fprop by that kernel, or the plain one.
fn fprop_with(g: &Gpu, z: &ConvSizes, t: Option<Tile>, x: Span, w: Span, bias: Option<Span>, y: Span) -> Result<()> {
    let p = Params { sizes: *z, bias: bias.map_or(1, values) as u32, span: 0 };
    let call = match t {
        Some(t) => g.call(&t.kernel("fprop"))?.grid([t.tiles(z.y().pixels(), z.k as usize), 1, 1]).block(t.threads),
        None => g.call("conv2d_fprop_plain_f32")?.grid([z.y().len().div_ceil(256), 1, 1]).block(256),
    };
    call.read(x).read(w).read_or_null(bias).write(y).value(&p).go()
}

/// dx = the transpose of `fprop` applied to dy, plus a bias per channel of x.
pub(super) fn dgrad(g: &Gpu, z: &ConvSizes, dy: Span, w: Span, bias: Option<Span>, dx: Span) -> Result<()> {
    check(g, z)?;
    let z = flat(z);
    let (rows, phases) = phases(&z);
    let t = (!plain(&z, true)).then(|| pixels_tile(rows, phases, z.c as usize, z.k as usize, g.precision));
    dgrad_with(g, &z, t, dy, w, bias, dx)
}

/// Pixels of the largest phase, and phases.
fn phases(z: &ConvSizes) -> (usize, usize) {
    ((z.n * z.h.div_ceil(z.stride_h) * z.w.div_ceil(z.stride_w)) as usize, (z.stride_h * z.stride_w) as usize)
}

fn dgrad_with(g: &Gpu, z: &ConvSizes, t: Option<Tile>, dy: Span, w: Span, bias: Option<Span>, dx: Span) -> Result<()> {
    let p = Params { sizes: *z, bias: bias.map_or(1, values) as u32, span: 0 };
    let (rows, phases) = phases(z);
    let call = match t {
        Some(t) => g.call(&t.kernel("dgrad"))?.grid([t.tiles(rows, z.c as usize), phases, 1]).block(t.threads),
        None => g.call("conv2d_dgrad_plain_f32")?.grid([z.x().len().div_ceil(256), 1, 1]).block(256),
    };
    call.read(dy).read(w).read_or_null(bias).write(dx).value(&p).go()
}

/// `dw[k,r,s,c] = Σ dy[·,k] · x[·,c]`: partial sums of each split, then their sum.
pub(super) fn wgrad(g: &Gpu, z: &ConvSizes, x: Span, dy: Span, dw: Span) -> Result<()> {
    check(g, z)?;
    let (z, t, split) = wgrad_rule(z, g.precision);
    wgrad_with(g, &z, t, split, x, dy, dw)
}

fn wgrad_rule(z: &ConvSizes, precision: Precision) -> (ConvSizes, Option<Tile>, Split) {
    let z = flat(z);
    let (k, columns) = (z.k as usize, z.filters().per_image());
    let t = (!plain(&z, false)).then(|| filters_tile(k, columns, z.c as usize, precision));
    let blocks = t.map_or((k * columns).div_ceil(256), |t| t.tiles(k, columns));
    (z, t, Split::filling(z.y().pixels(), blocks))
}

fn wgrad_with(g: &Gpu, z: &ConvSizes, t: Option<Tile>, split: Split, x: Span, dy: Span, dw: Span) -> Result<()> {
    let (k, columns) = (z.k as usize, z.filters().per_image());
    let to = if split.count == 1 { dw } else { g.scratch(0, split.partial(k * columns)) };
    let p = Params { sizes: *z, bias: 1, span: split.span as u32 };
    let call = match t {
        Some(t) => g.call(&t.kernel("wgrad"))?.grid([t.tiles(k, columns), split.count, 1]).block(t.threads),
        None => g.call("conv2d_wgrad_plain_f32")?.grid([(k * columns).div_ceil(256), split.count, 1]).block(256),
    };
    call.read(x).read(dy).write(to).value(&p).go()?;
    sum_splits(g, to, dw, k * columns, split)
}

/// `db[k] = Σ dy[·,k]` over all rows.
pub(super) fn bias_grad(g: &Gpu, rows: usize, k: usize, dy: Span, db: Span) -> Result<()> {
    let split = bias_split(rows, k);
    let to = if split.count == 1 { db } else { g.scratch(0, split.partial(k)) };
    let p = Columns { rows: rows as u32, k: k as u32, span: split.span as u32 };
    g.call("bias_grad_f32")?.grid([split.count, k.div_ceil(256), 1]).block(256).read(dy).write(to).value(&p).go()?;
    sum_splits(g, to, db, k, split)
}

fn bias_split(rows: usize, k: usize) -> Split {
    Split::filling(rows, k.div_ceil(256))
}

fn sum_splits(g: &Gpu, from: Span, to: Span, count: usize, split: Split) -> Result<()> {
    if split.count == 1 {
        return Ok(());
    }
    let p = Splits { count: count as u32, splits: split.count as u32 };
    g.call("sum_splits_f32")?.grid([count.div_ceil(256), 1, 1]).block(256).read(from).write(to).value(&p).go()
}

/// Bytes that the gradients in `wants` (1 filter, 2 bias of `k` channels over `rows` pixels) need, one after the other.
pub(super) fn backward_scratch(z: &ConvSizes, wants: Set, k: usize, rows: usize, precision: Precision) -> usize {
    let dw = if wants.has(1) { wgrad_rule(z, precision).2.partial(z.filters().len()) } else { 0 };
    let db = if wants.has(2) { bias_split(rows, k).partial(k) } else { 0 };
    F32 * dw.max(db)
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
