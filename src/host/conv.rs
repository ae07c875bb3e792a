//! Fast f32 convolutions with the same bits at any number of threads; `host/mod.rs` describes the blocking.

use rayon::prelude::*;

use super::depthwise;
use super::gather::{self, Gather};
use super::narrow;
use super::simd::Level;
use super::sizes::ConvSizes;
use super::taps::Taps;
use super::thin;
use super::wgrad::{self, Split};
use super::winograd::{self, Winograd};

/// y = x ⋆ w + bias. `scratch` holds at least [`fprop_scratch`] floats of any value.
pub fn fprop(z: &ConvSizes, x: &[f32], w: &[f32], bias: Option<&[f32]>, y: &mut [f32], scratch: &mut [f32]) {
    fprop_at(Level::best(), z, x, w, bias, y, scratch);
}

/// dx = the transpose of [`fprop`] applied to dy, plus an optional bias over C: the forward pass of a transposed convolution.
pub fn dgrad(z: &ConvSizes, dy: &[f32], w: &[f32], bias: Option<&[f32]>, dx: &mut [f32], scratch: &mut [f32]) {
    dgrad_at(Level::best(), z, dy, w, bias, dx, scratch);
}

/// `dw[k,r,s,c] = Σ dy[·,k]·x[·,c]` over all pixels.
pub fn wgrad(z: &ConvSizes, x: &[f32], dy: &[f32], dw: &mut [f32], scratch: &mut [f32]) {
    wgrad_at(Level::best(), z, x, dy, dw, scratch);
}

/// Floats of scratch that [`fprop`] needs: its packed filters.
pub fn fprop_scratch(z: &ConvSizes) -> usize {
    if z.is_depthwise() {
        return depthwise::scratch(z);
    }
    if let Some(pass) = narrow::Pass::of_fprop(z) {
        return pass.scratch();
    }
    if let Some(pass) = winograd::Pass::of_fprop(z, Winograd::setting()) {
        return pass.scratch();
    }
    let z = canonical(z);
    if let Some(product) = thin::Product::of(&z) {
        return product.scratch();
    }
    gather::scratch(z.filters().per_image(), 1, (z.k / z.groups) as usize, z.groups as usize)
}

/// Floats of scratch that [`dgrad`] needs: its bias, and its packed filters, shared out among the phases.
pub fn dgrad_scratch(z: &ConvSizes) -> usize {
    if z.is_depthwise() {
        return depthwise::scratch(z);
    }
    if let Some(pass) = narrow::Pass::of_dgrad(z) {
        return pass.scratch();
    }
    if let Some(pass) = winograd::Pass::of_dgrad(z, Winograd::setting()) {
        return pass.scratch();
    }
    let z = canonical(z);
    let (depth, phases) = (z.r * z.s * (z.k / z.groups), z.stride_h * z.stride_w);
    z.c as usize + gather::scratch(depth as usize, phases as usize, (z.c / z.groups) as usize, z.groups as usize)
}

/// Floats of scratch that [`wgrad`] needs: its partial sums.
pub fn wgrad_scratch(z: &ConvSizes) -> usize {
    if z.is_depthwise() {
        return depthwise::wgrad_scratch(z);
    }
    match narrow::Pass::of_fprop(z) {
        Some(pass) => pass.wgrad_scratch(),
        None => Split::of(&canonical(z)).scratch,
    }
}

/// [`fprop`] at a chosen level.
pub fn fprop_at(level: Level, z: &ConvSizes, x: &[f32], w: &[f32], bias: Option<&[f32]>, y: &mut [f32], scratch: &mut [f32]) {
    check(z, x, w, y);
    assert!(bias.is_none_or(|b| b.len() == z.k as usize), "{z:?}: length of the bias");
    if z.is_depthwise() {
        return depthwise::fprop(level, z, x, w, bias, y, scratch);
    }
    if let Some(pass) = narrow::Pass::of_fprop(z) {
        return pass.run(level, x, w, bias, y, scratch);
    }
    if let Some(pass) = winograd::Pass::of_fprop(z, Winograd::setting()) {
        return pass.run(level, x, w, bias, y, scratch);
    }
    let z = canonical(z);
    if let Some(product) = thin::Product::of(&z) {
        return product.run(level, x, w, bias, y, scratch);
    }
    let pass = Gather { level, taps: |_, _| Taps::fprop(&z), phases: (1, 1), out: z.y(), groups: z.groups as usize, bias };
    let filters = pass.pack(scratch, |panel, _, depth| {
        // Filters lie row by row, a panel wants them column by column.
        let w = &w[(panel.group * panel.columns + panel.col) * depth..];
        level.transpose(w, depth, depth, panel.out, panel.lanes, panel.width);
    });
    pass.run(x, filters, y);
}

/// [`dgrad`] at a chosen level.
pub fn dgrad_at(level: Level, z: &ConvSizes, dy: &[f32], w: &[f32], bias: Option<&[f32]>, dx: &mut [f32], scratch: &mut [f32]) {
    check(z, dx, w, dy);
    assert!(bias.is_none_or(|b| b.len() == z.c as usize), "{z:?}: length of the bias");
    if z.is_depthwise() {
        return depthwise::dgrad(level, z, dy, w, bias, dx, scratch);
    }
    if let Some(pass) = narrow::Pass::of_dgrad(z) {
        return pass.run(level, dy, w, bias, dx, scratch);
    }
    if let Some(pass) = winograd::Pass::of_dgrad(z, Winograd::setting()) {
        return pass.run(level, dy, w, bias, dx, scratch);
    }
    let z = canonical(z);
    // Where a picture became one pixel, the bias repeats for each of its pixels.
    let (repeated, scratch) = scratch.split_at_mut(z.c as usize);
    let bias = bias.map(|bias| {
        for to in repeated.chunks_exact_mut(bias.len()) {
            to.copy_from_slice(bias);
        }
        &*repeated
    });
    let pass = Gather {
        level,
        taps: |a, b| Taps::dgrad(&z, a, b),
        phases: (z.stride_h as usize, z.stride_w as usize),
        out: z.x(),
        groups: z.groups as usize,
        bias,
    };
    let (one, s, cg) = (z.filters().per_image(), z.s as usize, (z.c / z.groups) as usize);
    let filters = pass.pack(scratch, |panel, taps, _| {
        let mut out = panel.out;
        for r in taps.rows.filters() {
            for s_ in taps.cols.filters() {
                let w = &w[panel.group * taps.chans * one + (r * s + s_) * cg + panel.col..];
                level.copy_rows(w, one, out, panel.lanes, taps.chans, panel.width);
                out = &mut out[taps.chans * panel.lanes..];
            }
        }
    });
    pass.run(dy, filters, dx);
}

/// [`wgrad`] at a chosen level.
pub fn wgrad_at(level: Level, z: &ConvSizes, x: &[f32], dy: &[f32], dw: &mut [f32], scratch: &mut [f32]) {
    check(z, x, dw, dy);
    if z.is_depthwise() {
        return depthwise::wgrad(level, z, x, dy, dw, scratch);
    }
    match narrow::Pass::of_fprop(z) {
        Some(pass) => pass.wgrad(level, x, dy, dw, scratch),
        None => wgrad::run(level, &canonical(z), x, dy, dw, scratch),
    }
}

/// Rows of `dy` that one partial sum of [`bias_grad`] covers, and the least width of what it adds at once.
const BIAS_ROWS: usize = 1024;
const BIAS_WIDTH: usize = 64;

/// Floats of scratch that [`bias_grad`] needs for `rows` rows of `k` values.
pub fn bias_grad_scratch(k: usize, rows: usize) -> usize {
    rows.div_ceil(BIAS_ROWS) * bias_width(k)
}

/// Narrow rows are taken several at a time, so that even k = 1 fills vector registers.
fn bias_width(k: usize) -> usize {
    k * BIAS_WIDTH.div_ceil(k)
}

/// `db[k] = Σ dy[·,k]` over all pixels: partial sums of 1024 pixels, added in order.
pub fn bias_grad(k: usize, dy: &[f32], db: &mut [f32], scratch: &mut [f32]) {
    let width = bias_width(k);
    let partial = &mut scratch[..bias_grad_scratch(k, dy.len() / k)];
    partial.par_chunks_mut(width).zip(dy.par_chunks(BIAS_ROWS * k)).for_each(|(sum, dy)| {
        sum.fill(0.0);
        for row in dy.chunks(width) {
            for (a, &b) in sum.iter_mut().zip(row) {
                *a += b;
            }
        }
    });
    db.fill(0.0);
    for row in partial.chunks_exact(k) {
        for (a, &b) in db.iter_mut().zip(row) {
            *a += b;
        }
    }
}

fn check(z: &ConvSizes, x: &[f32], w: &[f32], y: &[f32]) {
    assert!(
        z.groups > 0 && z.c.is_multiple_of(z.groups) && z.k.is_multiple_of(z.groups),
        "{z:?}: groups do not divide the channels"
    );
    assert!(z.stride_h > 0 && z.stride_w > 0, "{z:?}: a stride is zero");
    assert_eq!(x.len(), z.x().len(), "{z:?}: length of x");
    assert_eq!(w.len(), z.filters().len(), "{z:?}: length of the filters");
    assert_eq!(y.len(), z.y().len(), "{z:?}: length of y");
}

/// `z` as an equal product with fewer dimensions. A filter that covers its whole picture is a linear layer over h·w·c values, and
/// a 1×1 convolution treats all pixels alike,
/// whatever row they stand in: both become one long row of pixels.
pub(super) fn canonical(z: &ConvSizes) -> ConvSizes {
    let mut z = *z;
    let unpadded = z.pad_h == 0 && z.pad_w == 0;
    let undilated = (z.dil_h == 1 || z.r == 1) && (z.dil_w == 1 || z.s == 1);
    if z.groups == 1 && unpadded && undilated && (z.r, z.s) == (z.h, z.w) && (z.p, z.q) == (1, 1) {
        z = ConvSizes { c: z.h * z.w * z.c, h: 1, w: 1, r: 1, s: 1, stride_h: 1, stride_w: 1, ..z };
    }
    if unpadded && (z.r, z.s, z.stride_h, z.stride_w) == (1, 1, 1, 1) && (z.h, z.w) == (z.p, z.q) {
        let pixels = z.n * z.h * z.w;
        z = ConvSizes { n: 1, h: 1, w: pixels, p: 1, q: pixels, dil_h: 1, dil_w: 1, ..z };
    }
    z
}
