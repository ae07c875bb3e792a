//! Launches of the kernels of depthwise convolutions, kernels/conv_depthwise.cu: tiles of columns × channels that walk down
//! rows.

use crate::core::launch::{F32, Operands};
use crate::device::Span;
use crate::device::tiles::vector;
use crate::error::Result;
use crate::host::sizes::ConvSizes;

/// `struct Axis` of the kernels.
#[repr(C)]
#[derive(Clone, Copy, Debug, bytemuck::Pod, bytemuck::Zeroable)]
struct Axis {
    len: u32,
    out: u32,
    taps: u32,
    up: u32,
    base: u32,
    dil: u32,
    down: u32,
    skip: u32,
}

impl Axis {
    /// `len` pixels read by `out` results.
    fn fprop(len: u32, out: u32, taps: u32, (stride, pad, dil): (u32, u32, u32)) -> Axis {
        Axis { len, out, taps, up: stride, base: 0, dil, down: 1, skip: pad }
    }
    /// The transpose: `out` results of the axis as pixels of what is read. Tap t is tap `taps − 1 − t` of the filter.
    fn dgrad(len: u32, out: u32, taps: u32, (stride, pad, dil): (u32, u32, u32)) -> Axis {
        let reach = (taps - 1) * dil;
        let skip = reach.saturating_sub(pad).div_ceil(stride);
        Axis { len: out, out: len, taps, up: 1, base: pad + skip * stride - reach, dil, down: stride, skip }
    }
    /// Most places that `results` neighbours read, gaps between them counted.
    fn span(&self, results: u32) -> u32 {
        ((results - 1) * self.up + (self.taps - 1) * self.dil) / self.down + 1
    }
}

/// `struct Depthwise` of the kernels.
#[repr(C)]
#[derive(Clone, Copy, Debug, bytemuck::Pod, bytemuck::Zeroable)]
struct Params {
    rows: Axis,
    columns: Axis,
    channels: u32,
    width: u32,
    column_tiles: u32,
    channel_tiles: u32,
    height: u32,
    strips: u32,
    units: u32,
    per_block: u32,
    ring: u32,
    span: u32,
    tap0: u32,
    tap_step: i32,
}

/// One launch.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tiles {
    p: Params,
    block: [usize; 2],
    shared: usize,
}

/// Blocks to aim at: two for each multiprocessor of a large GPU. Only sizes enter the rules.
const BLOCKS: u32 = 264;
/// Bytes of shared memory that every GPU gives a block.
const SHARED: usize = 48 << 10;
/// Rows of a strip at least: those that taps of the next strip read again stay few beside them.
const ROWS: u32 = 16;

/// Groups of four channels, 128 bytes of a pixel, × columns; or single channels. None where a ring of rows finds no room, and of
/// other convolutions.
fn tiles(z: &ConvSizes, rows: Axis, columns: Axis, extra: impl Fn(usize, usize) -> usize) -> Option<Tiles> {
    if !z.is_depthwise() {
        return None;
    }
    let v = vector(z.c as usize);
    let x = (z.c as usize / v).min(if v == 4 { 8 } else { 32 });
    let ring = rows.span(1);
    let room = |width: u32| F32 * (x * v * (ring * columns.span(width)) as usize + extra(x * v, width as usize));
    let most = (256 / x as u32).min(32).min(columns.out);
    let width = (1..=most).rev().find(|&w| room(w) <= SHARED)?;
    let column_tiles = columns.out.div_ceil(width);
    let width = columns.out.div_ceil(column_tiles);
    let channel_tiles = z.c.div_ceil((x * v) as u32);
    let strips = BLOCKS.div_ceil(z.n * column_tiles * channel_tiles).clamp(1, (rows.out / ROWS).max(1));
    let height = rows.out.div_ceil(strips);
    let strips = rows.out.div_ceil(height);
    let (units, per_block, span) = (z.n * strips, 1, columns.span(width));
    let (tap0, tap_step, channels) = (0, 1, z.c);
    let shape = Params { rows, columns, channels, width, column_tiles, channel_tiles, ..bytemuck::Zeroable::zeroed() };
    let p = Params { height, strips, units, per_block, ring, span, tap0, tap_step, ..shape };
    Some(Tiles { p, block: [x, width as usize], shared: room(width) })
}

/// The filters in shared memory, each with an odd number of values: neighbours then lie in different banks.
fn filters(z: &ConvSizes) -> impl Fn(usize, usize) -> usize {
    let odd = (z.r * z.s) as usize | 1;
    move |wide, _| (wide * odd).next_multiple_of(4)
}

impl Tiles {
    pub(super) fn fprop(z: &ConvSizes) -> Option<Tiles> {
        let rows = Axis::fprop(z.h, z.p, z.r, (z.stride_h, z.pad_h, z.dil_h));
        let columns = Axis::fprop(z.w, z.q, z.s, (z.stride_w, z.pad_w, z.dil_w));
        tiles(z, rows, columns, filters(z))
    }

    pub(super) fn dgrad(z: &ConvSizes) -> Option<Tiles> {
        let rows = Axis::dgrad(z.h, z.p, z.r, (z.stride_h, z.pad_h, z.dil_h));
        let columns = Axis::dgrad(z.w, z.q, z.s, (z.stride_w, z.pad_w, z.dil_w));
        let mut t = tiles(z, rows, columns, filters(z))?;
        (t.p.tap0, t.p.tap_step) = (z.r * z.s - 1, -1);
        Some(t)
    }

    /// None, too, where there is no kernel for that many taps.
    pub(super) fn wgrad(z: &ConvSizes) -> Option<Tiles> {
        if z.r != z.s || ![3, 5].contains(&z.r) {
            return None;
        }
        let rows = Axis::fprop(z.h, z.p, z.r, (z.stride_h, z.pad_h, z.dil_h));
        let columns = Axis::fprop(z.w, z.q, z.s, (z.stride_w, z.pad_w, z.dil_w));
        // Behind the sums of all threads those of the block; the ring lay there before.
        let area = (z.r * z.s) as usize;
        let mut t = tiles(z, rows, columns, |wide, width| wide * width + wide * area)?;
        let most = (2 * BLOCKS).div_ceil(t.p.column_tiles * t.p.channel_tiles).clamp(1, t.p.units);
        t.p.per_block = t.p.units.div_ceil(most);
        Some(t)
    }

    fn blocks_of_strips(&self) -> usize {
        self.p.units.div_ceil(self.p.per_block) as usize
    }

    /// Partial sums of wgrad.
    pub(super) fn parts(&self) -> usize {
        self.blocks_of_strips() * self.p.column_tiles as usize
    }

    fn grid(&self) -> [usize; 3] {
        [self.blocks_of_strips() * (self.p.column_tiles * self.p.channel_tiles) as usize, 1, 1]
    }

    /// fprop or dgrad: y from x, filters and perhaps a bias. With stride 1 dgrad is a fprop with its taps in reverse.
    pub(super) fn gather(&self, g: &Operands, x: Span, w: Span, bias: Option<Span>, y: Span) -> Result<()> {
        let pass = if self.p.rows.down > 1 || self.p.columns.down > 1 { "dgrad" } else { "fprop" };
        let call = g.call(&format!("conv_depthwise_{pass}_f32"))?.grid(self.grid());
        let call = call.block3([self.block[0], self.block[1], 1]).shared(self.shared);
        call.read(x).read(w).read_or_null(bias).write(y).value(&self.p).go()
    }

    /// The partial sums of the filters' gradient, [part][C][R][S].
    pub(super) fn sums(&self, g: &Operands, x: Span, dy: Span, to: Span) -> Result<()> {
        let call = g.call(&format!("conv_depthwise_wgrad_{}_f32", self.p.rows.taps))?.grid(self.grid());
        let call = call.block3([self.block[0], self.block[1], 1]).shared(self.shared);
        call.read(x).read(dy).write(to).value(&self.p).go()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::shape::shape;
    use crate::ops::conv2d::Conv2d;

    /// Both axes say for every result and tap which pixel is read, as the formula of the convolution does.
    #[test]
    fn axes_read_what_the_formula_says() {
        let mut checked = 0;
        for (len, taps, stride, pad, dil) in (1..12u32).flat_map(|len| {
            let rest = (1..6u32).flat_map(|taps| (1..4u32).flat_map(move |s| (0..4u32).map(move |p| (taps, s, p))));
            rest.flat_map(move |(t, s, p)| (1..3u32).map(move |d| (len, t, s, p, d)))
        }) {
            let Some(span) = (len + 2 * pad).checked_sub(dil * (taps - 1) + 1) else { continue };
            let out = span / stride + 1;
            let (f, d) = (Axis::fprop(len, out, taps, (stride, pad, dil)), Axis::dgrad(len, out, taps, (stride, pad, dil)));
            let place = |a: &Axis, o: u32, t: u32| {
                let at = o * a.up + a.base + t * a.dil;
                at.is_multiple_of(a.down).then(|| (at / a.down) as i64 - a.skip as i64).filter(|i| (0..a.len as i64).contains(i))
            };
            for t in 0..taps {
                for o in 0..out {
                    let i = (o * stride + t * dil) as i64 - pad as i64;
                    assert_eq!(place(&f, o, t), (0..len as i64).contains(&i).then_some(i));
                }
                for i in 0..len {
                    let at = (i + pad) as i64 - (t * dil) as i64;
                    let o = (at >= 0 && at % stride as i64 == 0).then_some(at / stride as i64).filter(|o| *o < out as i64);
                    assert_eq!(place(&d, i, taps - 1 - t), o);
                    checked += 1;
                }
            }
        }
        assert!(checked > 1000);
    }

    /// Tiles, strips and blocks cover the results, and shared memory holds what the kernels put there.
    #[test]
    fn tiles_cover() {
        let sizes = [(728, 16, 3, 1, 1), (128, 64, 3, 1, 1), (3, 147, 5, 2, 1), (184, 4, 3, 1, 2), (64, 299, 3, 2, 1)];
        for (c, side, k, stride, dil) in sizes {
            let op = Conv2d { stride: (stride, stride), pad: (1, 1), dilation: (dil, dil), groups: c };
            let z = op.sizes(shape(32, side, side, c), shape(c, k, k, 1)).unwrap();
            for t in [Tiles::fprop(&z), Tiles::dgrad(&z), Tiles::wgrad(&z)].map(|t| t.expect("there is room")) {
                let p = t.p;
                assert!(p.column_tiles * p.width >= p.columns.out && (p.column_tiles - 1) * p.width < p.columns.out, "{t:?}");
                assert!(p.strips * p.height >= p.rows.out && (p.strips - 1) * p.height < p.rows.out, "{t:?}");
                assert!(t.block[0] * t.block[1] <= 256 && t.block[1] == p.width as usize && t.shared <= SHARED, "{t:?}");
            }
        }
        let op = Conv2d { stride: (1, 1), pad: (0, 0), dilation: (40, 40), groups: 64 };
        assert!(Tiles::fprop(&op.sizes(shape(1, 90, 90, 64), shape(64, 3, 3, 1)).unwrap()).is_none());
    }
}
