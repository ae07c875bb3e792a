//! Launches of the kernels of conv2d, conv_transpose2d and linear, kernels/conv_*.cu and linear.cu: which kernel, which grid, how much
//! scratch memory. A convolution whose filter covers its picture is a linear layer and may run the kernel of one. Over 600 lines,
//! because the last third of the file is its tests: they call what is private here.

use super::conv_depthwise::Tiles;
use super::conv_host::Direction;
use super::conv_wgmma::{Factor, Product, cycles_of_mma};
use crate::core::launch::{self, F32, Operands};
use crate::core::op::{Pass, Set};
use crate::device::{Hopper, Precision, Span};
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

/// `struct Linear` of kernels/linear.cu.
#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Matrix {
    n: u32,
    c: u32,
    k: u32,
    chunk: u32,
    vec: u32,
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
    tile(128, 128, 128, Tf32),
    tile(128, 64, 128, Tf32),
    tile(128, 32, 128, Tf32),
    tile(32, 64, 64, Tf32),
    tile(128, 128, 128, Tf32x3),
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
    tile(128, 128, 128, Tf32),
    tile(64, 64, 128, Tf32),
    tile(128, 128, 128, Tf32x3),
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
pub(super) const PROCESSORS: usize = 132;

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
pub(super) struct Split {
    pub(super) span: usize,
    pub(super) count: usize,
}

impl Split {
    /// The number of pieces p with the least estimated time, in units of the time that a block spends on one pixel:
    ///
    /// ```text
    /// cost(p) = ⌈blocks·p / slots⌉ · ⌈len/p⌉  +  p · (1 + blocks)
    /// ```
    /// Each piece has `blocks` blocks, of which the GPU runs `slots` at a time: the first term is the number of such waves times the
    /// length of a block. The second is the time to load and add up p partial sums, and to write those of each block.
    /// A piece (but the last) is a multiple of 16 pixels, and p is so small that a piece has about 128 at least.
    fn fastest(len: usize, blocks: usize, slots: usize) -> Split {
        Split::in_steps(16, len, blocks, slots)
    }
    /// The same with multiples of `step` pixels.
    pub(super) fn in_steps(step: usize, len: usize, blocks: usize, slots: usize) -> Split {
        let cost = |pieces: &usize| (blocks * pieces).div_ceil(slots) * len.div_ceil(*pieces) + pieces * (1 + blocks);
        let pieces = (1..=(len / 128).clamp(1, 2 * slots)).min_by_key(cost).expect("one piece at least");
        let span = len.div_ceil(pieces).next_multiple_of(step);
        Split { span, count: len.div_ceil(span).max(1) }
    }
    /// Values of the partial sums: none if there is nothing to add.
    pub(super) fn partial(&self, count: usize) -> usize {
        if self.count == 1 { 0 } else { self.count * count }
    }
}

/// Whether only the plain kernels compute `z`, if the depthwise ones do not: the tiled ones know no groups, and no dgrad with both
/// stride and dilation along an axis, where a phase of pixels uses some taps of the filter and skips others.
fn plain(z: &ConvSizes, dgrad: bool) -> bool {
    z.groups > 1 || dgrad && (z.stride_h > 1 && z.dil_h > 1 || z.stride_w > 1 && z.dil_w > 1)
}

/// A convolution whose filter covers the whole picture is a product of matrices: its picture becomes one pixel with H·W·C channels.
/// Without this, dgrad of the first layer of a DCGAN generator (4×4 filters, one output pixel) would look up 16 taps for each input
/// pixel, 15 of which lie in the padding.
pub(super) fn flat(z: &ConvSizes) -> ConvSizes {
    let whole = z.groups == 1 && (z.p, z.q, z.pad_h, z.pad_w, z.dil_h, z.dil_w) == (1, 1, 0, 0, 1, 1) && (z.r, z.s) == (z.h, z.w);
    match whole {
        true => ConvSizes { c: z.h * z.w * z.c, h: 1, w: 1, r: 1, s: 1, stride_h: 1, stride_w: 1, ..*z },
        false => *z,
    }
}

/// Whether `z` is a product of matrices, as [`flat`] makes of a filter that covers its picture.
fn matrix(z: &ConvSizes) -> bool {
    (z.h, z.w, z.r, z.s, z.pad_h, z.pad_w, z.groups) == (1, 1, 1, 1, 0, 0, 1)
}

/// Multiprocessors that a launch for Hopper counts on where the driver wants them anyway: small cases, too, have blocks that work off
/// several tiles.
pub(super) const FEW: usize = 2;

/// Whether kernels for Hopper compute a product, and on how many multiprocessors: the precision is tf32, the driver runs them, the
/// sizes allow it; and their busiest multiprocessor needs fewer cycles than that of tile `t`, of `phases` with a sum of `depth` in
/// all, or the driver wants them anyway. A bias has a value for each column.
fn on_hopper(
    g: &Operands,
    product: Option<Product>,
    bias: Option<Span>,
    t: Option<Tile>,
    (rows, columns, depth, phases): (usize, usize, usize, usize),
) -> Option<(Product, usize)> {
    let product = product.filter(|_| g.precision == Precision::Tf32 && bias.is_none_or(|b| values(b) == columns))?;
    let macs = |t: Tile| (t.tiles(rows, columns) * phases).div_ceil(PROCESSORS) * t.m * t.n * depth / phases;
    let faster = || t.is_none_or(|t| product.cycles(product.tile(PROCESSORS), PROCESSORS) <= cycles_of_mma(macs(t)));
    match g.driver.sm_90a().ok()? {
        Hopper::WherePossible => Some((product, FEW)),
        Hopper::WhereFaster => faster().then_some((product, PROCESSORS)),
    }
}

fn values(s: Span) -> usize {
    s.len / F32
}

/// y = x ⋆ w + bias.
fn fprop(g: &Operands, z: &ConvSizes, x: Span, w: Span, bias: Option<Span>, y: Span) -> Result<()> {
    check(g, z)?;
    if let Some(t) = Tiles::fprop(z) {
        return t.gather(g, x, w, bias, y);
    }
    let z = flat(z);
    let (rows, columns) = (z.y().pixels(), z.k as usize);
    let t = (!plain(&z, false)).then(|| pixels_tile(rows, 1, columns, z.c as usize, g.precision));
    if let Some((p, processors)) =
        on_hopper(g, Product::fprop(&z, Factor::Tf32), bias, t, (rows, columns, z.filters().per_image(), 1))
    {
        return p.launch(g, (p.tile(processors), processors), x, w, bias, y);
    }
    if matrix(&z) && t.is_some_and(|t| t.tiles(z.n as usize, z.k as usize) < PROCESSORS) {
        // Few rows and few columns, but long sums: the kernel of linear layers shares each sum out among threads.
        return linear(g, &z, x, w, bias, y);
    }
    fprop_with(g, &z, t, x, w, bias, y)
}

/// fprop by that kernel, or the plain one.
fn fprop_with(g: &Operands, z: &ConvSizes, t: Option<Tile>, x: Span, w: Span, bias: Option<Span>, y: Span) -> Result<()> {
    let p = Params { sizes: *z, bias: bias.map_or(1, values) as u32, span: 0 };
    let call = match t {
        Some(t) => g.call(&t.kernel("fprop"))?.grid([t.tiles(z.y().pixels(), z.k as usize), 1, 1]).block(t.threads),
        None => g.call("conv2d_fprop_plain_f32")?.grid([z.y().len().div_ceil(256), 1, 1]).block(256),
    };
    call.read(x).read(w).read_or_null(bias).write(y).value(&p).go()
}

/// dx = the transpose of `fprop` applied to dy, plus a bias per channel of x.
fn dgrad(g: &Operands, z: &ConvSizes, dy: Span, w: Span, bias: Option<Span>, dx: Span) -> Result<()> {
    check(g, z)?;
    if let Some(t) = Tiles::dgrad(z) {
        return t.gather(g, dy, w, bias, dx);
    }
    let z = flat(z);
    let (rows, phases) = phases(&z);
    let columns = z.c as usize;
    let t = (!plain(&z, true)).then(|| pixels_tile(rows, phases, columns, z.k as usize, g.precision));
    let depth = (z.r * z.s * z.k) as usize;
    if let Some((p, processors)) = on_hopper(g, Product::dgrad(&z, Factor::Tf32), bias, t, (rows, columns, depth, phases)) {
        return p.launch(g, (p.tile(processors), processors), dy, w, bias, dx);
    }
    dgrad_with(g, &z, t, dy, w, bias, dx)
}

/// Pixels of the largest phase, and phases.
fn phases(z: &ConvSizes) -> (usize, usize) {
    ((z.n * z.h.div_ceil(z.stride_h) * z.w.div_ceil(z.stride_w)) as usize, (z.stride_h * z.stride_w) as usize)
}

fn dgrad_with(g: &Operands, z: &ConvSizes, t: Option<Tile>, dy: Span, w: Span, bias: Option<Span>, dx: Span) -> Result<()> {
    let p = Params { sizes: *z, bias: bias.map_or(1, values) as u32, span: 0 };
    let (rows, phases) = phases(z);
    let call = match t {
        Some(t) => g.call(&t.kernel("dgrad"))?.grid([t.tiles(rows, z.c as usize), phases, 1]).block(t.threads),
        None => g.call("conv2d_dgrad_plain_f32")?.grid([z.x().len().div_ceil(256), 1, 1]).block(256),
    };
    call.read(dy).read(w).read_or_null(bias).write(dx).value(&p).go()
}

/// `dw[k,r,s,c] = Σ dy[·,k] · x[·,c]`: partial sums of each split, then their sum.
fn wgrad(g: &Operands, z: &ConvSizes, x: Span, dy: Span, dw: Span) -> Result<()> {
    check(g, z)?;
    if let Some(t) = Tiles::wgrad(z) {
        let (count, split) = (z.filters().len(), Split { span: 0, count: t.parts() });
        let to = if split.count == 1 { dw } else { g.scratch(0, split.partial(count)) };
        t.sums(g, x, dy, to)?;
        return sum_splits(g, to, dw, count, split);
    }
    let (z, t, split) = wgrad_rule(z, g.precision);
    wgrad_with(g, &z, t, split, x, dy, dw)
}

fn wgrad_rule(z: &ConvSizes, precision: Precision) -> (ConvSizes, Option<Tile>, Split) {
    let z = flat(z);
    let (k, columns) = (z.k as usize, z.filters().per_image());
    let t = (!plain(&z, false)).then(|| filters_tile(k, columns, z.c as usize, precision));
    let blocks = t.map_or((k * columns).div_ceil(256), |t| t.tiles(k, columns));
    let large = t.is_some_and(|t| t.m * t.n >= 128 * 128);
    (z, t, Split::fastest(z.y().pixels(), blocks, PROCESSORS * if large { 2 } else { 4 }))
}

fn wgrad_with(g: &Operands, z: &ConvSizes, t: Option<Tile>, split: Split, x: Span, dy: Span, dw: Span) -> Result<()> {
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
pub(super) fn bias_grad(g: &Operands, rows: usize, k: usize, dy: Span, db: Span) -> Result<()> {
    let split = bias_split(rows, k);
    let to = if split.count == 1 { db } else { g.scratch(0, split.partial(k)) };
    let p = Columns { rows: rows as u32, k: k as u32, span: split.span as u32 };
    let kernel = if dy.unit == F32 { "bias_grad_f32" } else { "bias_grad_bf16" };
    g.call(kernel)?.grid([split.count, k.div_ceil(256), 1]).block(256).read(dy).write(to).value(&p).go()?;
    sum_splits(g, to, db, k, split)
}

fn bias_split(rows: usize, k: usize) -> Split {
    Split::fastest(rows, k.div_ceil(256), 4 * PROCESSORS)
}

pub(super) fn sum_splits(g: &Operands, from: Span, to: Span, count: usize, split: Split) -> Result<()> {
    if split.count == 1 {
        return Ok(());
    }
    let p = Splits { count: count as u32, splits: split.count as u32 };
    g.call("sum_splits_f32")?.grid([count.div_ceil(256), 1, 1]).block(256).read(from).write(to).value(&p).go()
}

/// Bytes that the gradients in `wants` need, one after the other; the forward pass of a convolution needs none.
pub(super) fn scratch(z: &ConvSizes, direction: Direction, pass: Pass, wants: Set, precision: Precision) -> usize {
    // Filters turned for the gradient of the input, which is the forward pass of a transposed convolution. Where the kernels for sm_80
    // are taken, the memory stays unused.
    let reads = if pass == Pass::Forward { Direction::Dgrad } else { Direction::Fprop };
    let turns = precision == Precision::Tf32 && direction == reads && (pass == Pass::Forward || wants.has(0));
    let turned = if turns { Product::dgrad(&flat(z), Factor::Tf32).map_or(0, |p| F32 * p.turned()) } else { 0 };
    if pass == Pass::Forward {
        return turned;
    }
    let (k, rows) = direction.result(z);
    let split = Tiles::wgrad(z).map_or_else(|| wgrad_rule(z, precision).2, |t| Split { span: 0, count: t.parts() });
    let dw = if wants.has(1) { split.partial(z.filters().len()) } else { 0 };
    turned.max(F32 * dw).max(if wants.has(2) { bias_scratch(rows, k) } else { 0 })
}

/// The forward pass of a convolution, or of a transposed one.
pub(super) fn forward(g: &Operands, z: &ConvSizes, direction: Direction) -> Result<()> {
    match direction {
        Direction::Fprop => fprop(g, z, g.x(0), g.x(1), g.x[2], g.out(0)),
        Direction::Dgrad => dgrad(g, z, g.x(0), g.x(1), g.x[2], g.out(0)),
    }
}

/// The gradients that are wanted.
pub(super) fn backward(g: &Operands, z: &ConvSizes, direction: Direction) -> Result<()> {
    if g.wants(0) {
        match direction {
            Direction::Fprop => dgrad(g, z, g.dy(), g.x(1), None, g.out(0))?,
            Direction::Dgrad => fprop(g, z, g.dy(), g.x(1), None, g.out(0))?,
        }
    }
    if g.wants(1) {
        match direction {
            Direction::Fprop => wgrad(g, z, g.x(0), g.dy(), g.out(1))?,
            Direction::Dgrad => wgrad(g, z, g.dy(), g.x(0), g.out(1))?,
        }
    }
    if g.wants(2) {
        let (k, rows) = direction.result(z);
        bias_grad(g, rows, k, g.dy(), g.out(2))?;
    }
    Ok(())
}

/// Rows of the batch that one block of `linear_wgrad` adds up; longer batches are added in parts, then the parts.
const CHUNK: usize = 512;

/// Sizes of a linear layer: rows, values of each, and results of each. `vec`: whether the kernel may load four values at once.
fn matrix_params(z: &ConvSizes, vec: usize) -> Matrix {
    Matrix { n: z.n, c: z.c, k: z.k, chunk: CHUNK as u32, vec: vec as u32 }
}

/// y = x wᵀ + bias, of `z` that [`matrix`] holds of.
pub(super) fn linear(g: &Operands, z: &ConvSizes, x: Span, w: Span, bias: Option<Span>, y: Span) -> Result<()> {
    let p = matrix_params(z, launch::vec4(z.c as usize, &[x, w]));
    let call = g.call("linear_fwd_f32")?.grid([(z.k as usize).div_ceil(4), (z.n as usize).div_ceil(8), 1]).block(128);
    call.write(y).read(x).read(w).read_or_null(bias).value(&p).go()
}

/// The gradients of a linear layer that are wanted.
pub(super) fn linear_backward(g: &Operands, z: &ConvSizes) -> Result<()> {
    let (p, n, c, k) = (matrix_params(z, 1), z.n as usize, z.c as usize, z.k as usize);
    if g.wants(0) {
        let call = g.call("linear_dgrad_f32")?.grid([c.div_ceil(32), n.div_ceil(8), 1]).block(256);
        call.write(g.out(0)).read(g.dy()).read(g.x(1)).value(&p).go()?;
    }
    if g.wants(1) {
        let split = Split { span: CHUNK, count: n.div_ceil(CHUNK) };
        let dw = if split.count > 1 { g.scratch(0, split.partial(k * c)) } else { g.out(1) };
        let call = g.call("linear_wgrad_f32")?.grid([c.div_ceil(32), k.div_ceil(8), split.count]).block(256);
        call.write(dw).read(g.dy()).read(g.x(0)).value(&p).go()?;
        sum_splits(g, dw, g.out(1), k * c, split)?;
    }
    if g.wants(2) {
        bias_grad(g, n, k, g.dy(), g.out(2))?;
    }
    Ok(())
}

/// Bytes that [`linear_backward`] needs.
pub(super) fn linear_scratch(z: &ConvSizes, wants: Set) -> usize {
    let (n, k) = (z.n as usize, z.k as usize);
    let dw = Split { span: CHUNK, count: n.div_ceil(CHUNK) }.partial(z.filters().len());
    (if wants.has(1) { F32 * dw } else { 0 }).max(if wants.has(2) { bias_scratch(n, k) } else { 0 })
}

/// Bytes that `bias_grad` needs.
pub(super) fn bias_scratch(rows: usize, k: usize) -> usize {
    F32 * bias_split(rows, k).partial(k)
}

/// The kernels count values in 31 bits.
fn check(g: &Operands, z: &ConvSizes) -> Result<()> {
    match [z.x(), z.filters(), z.y()].into_iter().find(|s| s.len() > i32::MAX as usize) {
        Some(s) => Err(Error::Shape {
            op: "conv2d",
            at: g.at.to_string(),
            why: format!("{s} has more than 2^31 values: use smaller batches"),
        }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::rng::{Rng, stream};
    use crate::core::shape::{Shape, shape};
    use crate::device::Driver;
    use crate::device::emu::{Emulator, Options};
    use crate::device::kernels::{KERNELS, find};
    use crate::host::plain;
    use crate::ops::conv2d::Conv2d;

    /// A square layer: channels, picture size, filters, filter size, stride, padding.
    fn layer(n: usize, (c, size, k, r): (usize, usize, usize, usize), stride: usize, pad: usize) -> ConvSizes {
        Conv2d::new(stride, pad).sizes(shape(n, size, size, c), shape(k, r, r, c)).unwrap()
    }

    /// The tables name every tiled kernel of the build and no other.
    #[test]
    fn tables_and_kernels_agree() {
        if KERNELS.is_empty() {
            return; // built without nvcc: nothing to compare with (the gate builds with LAE_CUDA=require)
        }
        let mut named: Vec<String> = PIXELS.iter().flat_map(|t| [t.kernel("fprop"), t.kernel("dgrad")]).collect();
        named.extend(FILTERS.iter().map(|t| t.kernel("wgrad")));
        for name in &named {
            assert!(find(name).is_some(), "{name} is not in kernels/");
        }
        let others = ["plain", "wgmma", "turn"]; // the first fits all sizes, the others are of conv_wgmma.rs
        for k in KERNELS.iter().filter(|k| k.name.starts_with("conv2d_") && !others.iter().any(|o| k.name.contains(o))) {
            assert!(named.iter().any(|n| n == k.name), "{} is never launched", k.name);
        }
    }

    /// Multiply-accumulates that the blocks of a pass do, padding of tiles and of the last step included.
    fn done(t: Tile, rows: usize, columns: usize, depth: usize) -> usize {
        let step = if matches!(t.engine, Simt | Scalar) { 4 } else { 8 };
        t.tiles(rows, columns) * t.m * t.n * depth.next_multiple_of(step)
    }
    fn dgrad_done(t: Tile, z: &ConvSizes) -> usize {
        let axis = |phase: u32, stride: u32, pad: u32, size: u32, kernel: u32| {
            let first = (phase + stride - pad % stride) % stride;
            (size.saturating_sub(first).div_ceil(stride) as usize, kernel.saturating_sub(phase).div_ceil(stride) as usize)
        };
        let mut sum = 0;
        for (i, j) in (0..z.stride_h).flat_map(|i| (0..z.stride_w).map(move |j| (i, j))) {
            let (v, u) = (axis(i, z.stride_h, z.pad_h, z.h, z.r), axis(j, z.stride_w, z.pad_w, z.w, z.s));
            sum += done(t, z.n as usize * v.0 * u.0, z.c as usize, v.1 * u.1 * z.k as usize);
        }
        sum
    }

    /// At the layers of the autoencoder and of VGG at 256 pixels no pass wastes more than 15 % on the edges of tiles.
    #[test]
    fn tiles_fit_the_networks() {
        let n = 32;
        let encoder = [(3, 256, 64, 4), (64, 128, 128, 4), (128, 64, 256, 4), (256, 32, 512, 4)];
        let decoder = [(128, 8, 256, 4), (64, 16, 128, 4), (32, 32, 64, 4), (16, 64, 32, 4), (8, 128, 16, 4), (3, 256, 8, 4)];
        let mut layers: Vec<ConvSizes> = encoder.iter().chain(&decoder).map(|&l| layer(n, l, 2, 1)).collect();
        layers.extend([layer(n, (512, 16, 512, 3), 1, 1), layer(n, (256, 4, 128, 4), 1, 0)]);
        let trained = layers.len(); // VGG is not: no wgrad
        let vgg = [(3, 256, 64), (64, 256, 64), (64, 128, 128), (128, 128, 128), (128, 64, 256), (256, 64, 256)];
        layers.extend(vgg.iter().chain(&[(256, 32, 512), (512, 32, 512)]).map(|&(c, size, k)| layer(n, (c, size, k, 3), 1, 1)));
        let (mut worst, mut checks) = (1.0f64, 0);
        for (i, z) in layers.iter().enumerate() {
            for precision in [Precision::F32, Precision::Tf32, Precision::Tf32x3] {
                let z = flat(z);
                let (c, k, pixels) = (z.c as usize, z.k as usize, z.y().pixels());
                let columns = z.filters().per_image();
                let (rows, phases) = phases(&z);
                let fprop = done(pixels_tile(pixels, 1, k, c, precision), pixels, k, columns);
                let dgrad = dgrad_done(pixels_tile(rows, phases, c, k, precision), &z);
                let (_, t, split) = wgrad_rule(&z, precision);
                let last = pixels - (split.count - 1) * split.span;
                let wgrad = (split.count - 1) * done(t.unwrap(), k, columns, split.span) + done(t.unwrap(), k, columns, last);
                for (pass, done) in [("fprop", fprop), ("dgrad", dgrad), ("wgrad", wgrad)] {
                    if pass == "wgrad" && i >= trained {
                        continue;
                    }
                    let useful = z.macs() as f64 / done as f64;
                    assert!((0.85..=1.0).contains(&useful), "{pass} {precision:?} of {z:?}: {:.0} % useful", 100.0 * useful);
                    (worst, checks) = (worst.min(useful), checks + 1);
                }
            }
        }
        assert_eq!(checks, 3 * (2 * layers.len() + trained));
        println!("worst {:.1} % useful", 100.0 * worst);
    }

    /// Pieces cover the pixels, none is empty.
    #[test]
    fn splits_cover() {
        for (len, blocks) in [(1, 1), (511, 1), (512, 1), (513, 1), (1025, 2), (524288, 1), (524288, 132), (8192, 300)] {
            let s = Split::fastest(len, blocks, 2 * PROCESSORS);
            assert!((s.count - 1) * s.span < len && s.count * s.span >= len && s.span.is_multiple_of(16), "{len} {blocks} {s:?}");
        }
    }

    /// A sum takes at most a fifth longer than evenly shared work would. Example: 36 tiles of 8192 pixels run as 252 blocks on 264 slots,
    /// in one wave; 288 blocks would fill all slots, but their last 24 would need a second wave.
    #[test]
    fn splits_leave_no_tail() {
        let s = Split::fastest(8192, 36, 264);
        assert_eq!((s.count, s.span), (7, 1184));
        for blocks in [1, 4, 8, 18, 32, 36, 72, 128, 144, 200, 264, 288, 512] {
            for len in [8192, 32768, 131_072] {
                let s = Split::fastest(len, blocks, 264);
                let (took, ideal) = ((s.count * blocks).div_ceil(264) * s.span, len * blocks / 264);
                // A sum of few values cannot fill a GPU: there pieces and the sum over them balance.
                assert!(took as f64 <= 1.2 * (ideal as f64).max(2.0 * (len as f64).sqrt()), "{blocks} tiles of {len}: {s:?}");
            }
        }
    }

    /// Memory of the emulator with values, or without.
    struct Bench {
        device: std::sync::Arc<Emulator>,
        rng: Rng,
    }
    impl Bench {
        fn empty(&self, len: usize) -> Span {
            let mem = self.device.alloc(&[("operand".to_string(), len * F32)]).unwrap()[0];
            Span::whole(mem, len * F32)
        }
        fn normal(&mut self, shape: Shape) -> (Vec<f64>, Span) {
            let values: Vec<f32> = (0..shape.len()).map(|_| self.rng.normal()).collect();
            let span = self.empty(values.len());
            self.device.upload(span, bytemuck::cast_slice(&values)).unwrap();
            (values.iter().map(|&v| v as f64).collect(), span)
        }
        fn gpu(&self, scratch: Option<Span>) -> Operands<'_> {
            let (xs, ys): (&[Shape], &[Shape]) = (&[], &[]);
            let device = &*self.device;
            Operands {
                driver: device,
                precision: Precision::F32,
                at: "",
                xs,
                ys,
                x: [None; 6],
                y: [None; 6],
                dy: None,
                out: [None; 6],
                scratch,
            }
        }
        /// The largest error in units of the sum of the products' sizes.
        fn error(&self, got: Span, exact: &[f64], sizes: &[f64]) -> f64 {
            let mut values = vec![0f32; exact.len()];
            self.device.download(got, bytemuck::cast_slice_mut(&mut values)).unwrap();
            let each = values.iter().zip(exact).zip(sizes).map(|((&a, b), s)| (a as f64 - b).abs() / (s + 1e-3));
            each.fold(0.0, |a, b| if b.is_nan() { f64::INFINITY } else { a.max(b) })
        }
    }

    /// Each kernel of the tables, called by name whatever the rules would choose, on shapes that end inside tiles, steps and phases.
    #[test]
    fn every_tile_computes_every_shape() {
        if KERNELS.is_empty() {
            return; // built without nvcc: nothing to run (the gate builds with LAE_CUDA=require)
        }
        let conv = |(stride, pad, dil): (usize, usize, usize), x: Shape, k: usize, r: usize, s: usize| {
            let op = Conv2d { stride: (stride, stride), pad: (pad, pad), dilation: (dil, dil), groups: 1 };
            op.sizes(x, shape(k, r, s, x.c as usize)).unwrap()
        };
        let shapes = [
            conv((1, 1, 1), shape(2, 5, 7, 4), 8, 3, 3),
            conv((2, 1, 1), shape(1, 9, 6, 12), 36, 4, 4),
            conv((3, 2, 1), shape(1, 7, 7, 8), 4, 5, 3),
            conv((1, 2, 2), shape(1, 5, 9, 4), 20, 3, 3),
            conv((2, 0, 1), shape(1, 11, 12, 68), 8, 1, 1),
            conv((1, 0, 1), shape(1, 3, 43, 8), 132, 1, 1),
            conv((1, 1, 1), shape(1, 6, 5, 16), 3, 3, 3),
            conv((1, 1, 1), shape(1, 6, 5, 3), 16, 3, 3),
            conv((2, 1, 1), shape(1, 7, 9, 3), 5, 4, 4),
            conv((1, 1, 1), shape(1, 4, 5, 17), 33, 3, 2),
        ];
        // The error of one product: tf32 rounds each of two factors to 11 bits, half a unit each; 3xtf32 keeps 22 bits of a factor and
        // drops the product of two low parts.
        let bound = |t: Option<Tile>| match t.map(|t| t.engine) {
            Some(Tf32) => 2.0 * 2f64.powi(-11),
            Some(Tf32x3) => 2f64.powi(-20),
            _ => 2f64.powi(-20),
        };
        let mut b = Bench { device: Emulator::new(Options::default()), rng: Rng::new(5, stream("tiles"), 0) };
        let mut ran = std::collections::HashMap::new();
        for z in &shapes {
            let ((x, dx_), (w, dw_), (y, dy_)) = (b.normal(z.x()), b.normal(z.filters()), b.normal(z.y()));
            let (k, c) = (z.k as usize, z.c as usize);
            let (bias_k, bias_k_) = b.normal(Shape::vector(k));
            let (bias_c, bias_c_) = b.normal(Shape::vector(c));
            let size = |v: &[f64]| v.iter().map(|x| x.abs()).collect::<Vec<f64>>();
            let (mut exact, mut sizes) = (
                [vec![0.0; y.len()], vec![0.0; x.len()], vec![0.0; w.len()]],
                [vec![0.0; y.len()], vec![0.0; x.len()], vec![0.0; w.len()]],
            );
            for (to, x, w, y, bk, bc) in [
                (&mut exact, &x, &w, &y, &bias_k, &bias_c),
                (&mut sizes, &size(&x), &size(&w), &size(&y), &size(&bias_k), &size(&bias_c)),
            ] {
                plain::fprop(z, x, w, Some(bk), &mut to[0]);
                plain::dgrad(z, y, w, Some(bc), &mut to[1]);
                plain::wgrad(z, x, y, &mut to[2]);
            }
            let fours = k.is_multiple_of(4) && c.is_multiple_of(4);
            let simt = |t: &Tile| matches!(t.engine, Simt | Scalar);
            let takes = |t: &Tile, depth: usize, columns: usize| {
                t.engine == Scalar
                    || fours
                    || simt(t) && t.n == 3 && depth.is_multiple_of(4)
                    || simt(t) && depth.is_multiple_of(4) && columns.is_multiple_of(4)
            };
            let mut check = |pass: &str, t: Option<Tile>, b: &Bench, got: Span, i: usize| {
                let (error, bound) = (b.error(got, &exact[i], &sizes[i]), bound(t));
                assert!(error <= bound, "{pass} {t:?} of {z:?}: error {error:.1e} above {bound:.1e}");
                *ran.entry((pass.to_string(), t)).or_insert(0) += 1;
            };
            for t in std::iter::once(None).chain(PIXELS.iter().filter(|t| takes(t, c, k)).map(|&t| Some(t))) {
                let to = b.empty(y.len());
                fprop_with(&b.gpu(None), z, t, dx_, dw_, Some(bias_k_), to).unwrap();
                check("fprop", t, &b, to, 0);
            }
            for t in std::iter::once(None).chain(PIXELS.iter().filter(|t| takes(t, k, c)).map(|&t| Some(t))) {
                let to = b.empty(x.len());
                dgrad_with(&b.gpu(None), z, t, dy_, dw_, Some(bias_c_), to).unwrap();
                check("dgrad", t, &b, to, 1);
            }
            for t in std::iter::once(None).chain(FILTERS.iter().filter(|t| t.engine == Scalar || fours).map(|&t| Some(t))) {
                for span in [16, 48, 1 << 20] {
                    let split = Split { span, count: z.y().pixels().div_ceil(span) };
                    let (to, scratch) = (b.empty(w.len()), b.empty(split.count * w.len()));
                    wgrad_with(&b.gpu(Some(scratch)), z, t, split, dx_, dy_, to).unwrap();
                    check("wgrad", t, &b, to, 2);
                }
            }
        }
        assert_eq!(ran.len(), 2 * (PIXELS.len() + 1) + FILTERS.len() + 1, "a kernel was not run");
        assert!(ran.values().all(|&n| n >= 4), "a kernel ran too seldom: {ran:?}");
    }
}
