//! Depthwise convolutions (a filter per channel): no reduction over channels, so no matrix product either. Whole pixels are
//! multiplied with one tap of all filters at a time, loops that compilers vectorise. Filters are turned to taps × channels.

use rayon::prelude::*;

use super::sizes::ConvSizes;

pub fn is(z: &ConvSizes) -> bool {
    z.groups > 1 && z.groups == z.c && z.groups == z.k
}

/// Floats of scratch of every pass: the filters as taps × channels.
pub fn scratch(z: &ConvSizes) -> usize {
    z.filters().len()
}

pub fn fprop(z: &ConvSizes, x: &[f32], w: &[f32], bias: Option<&[f32]>, y: &mut [f32], scratch: &mut [f32]) {
    let (c, taps) = (z.c as usize, turn(z, w, scratch));
    let (_, p, q, _) = z.y().dims();
    y.par_chunks_mut((q * c).max(1)).enumerate().for_each(|(line, y)| {
        for (j, y) in y.chunks_exact_mut(c).enumerate() {
            begin(y, bias);
            for (tap, w) in taps.chunks_exact(c).enumerate() {
                if let Some(at) = source(z, tap, line / p, line % p, j) {
                    multiply_add(y, &x[at..], w);
                }
            }
        }
    });
}

pub fn dgrad(z: &ConvSizes, dy: &[f32], w: &[f32], bias: Option<&[f32]>, dx: &mut [f32], scratch: &mut [f32]) {
    let (c, taps) = (z.c as usize, turn(z, w, scratch));
    let (_, h, wide, _) = z.x().dims();
    let s = z.s as usize;
    // The output that reads input `i` with a tap, if there is one.
    let output = |i: usize, pad: u32, back: usize, stride: u32, len: u32| {
        let at = (i + pad as usize).checked_sub(back)?;
        (at.is_multiple_of(stride as usize) && at / (stride as usize) < len as usize).then(|| at / stride as usize)
    };
    dx.par_chunks_mut((wide * c).max(1)).enumerate().for_each(|(line, dx)| {
        let (n, i) = (line / h, line % h);
        for (j, dx) in dx.chunks_exact_mut(c).enumerate() {
            begin(dx, bias);
            for (tap, w) in taps.chunks_exact(c).enumerate() {
                let Some(p) = output(i, z.pad_h, tap / s * z.dil_h as usize, z.stride_h, z.p) else { continue };
                let Some(q) = output(j, z.pad_w, tap % s * z.dil_w as usize, z.stride_w, z.q) else { continue };
                multiply_add(dx, &dy[((n * z.p as usize + p) * z.q as usize + q) * c..], w);
            }
        }
    });
}

pub fn wgrad(z: &ConvSizes, x: &[f32], dy: &[f32], dw: &mut [f32], scratch: &mut [f32]) {
    let (c, area) = (z.c as usize, (z.r * z.s) as usize);
    let (_, p, q, _) = z.y().dims();
    let sums = &mut scratch[..area * c];
    sums.par_chunks_mut(c).with_max_len(1).enumerate().for_each(|(tap, sum)| {
        sum.fill(0.0);
        for (pixel, dy) in dy.chunks_exact(c).enumerate() {
            let line = pixel / q;
            if let Some(at) = source(z, tap, line / p, line % p, pixel % q) {
                multiply_add(sum, &x[at..], dy);
            }
        }
    });
    for (c_, dw) in dw.chunks_exact_mut(area).enumerate() {
        for (tap, v) in dw.iter_mut().enumerate() {
            *v = sums[tap * c + c_];
        }
    }
}

/// Filters C·R·S become taps × channels.
fn turn<'a>(z: &ConvSizes, w: &[f32], scratch: &'a mut [f32]) -> &'a [f32] {
    let (c, area) = (z.c as usize, (z.r * z.s) as usize);
    for (tap, row) in scratch[..area * c].chunks_exact_mut(c).enumerate() {
        for (c, v) in row.iter_mut().enumerate() {
            *v = w[c * area + tap];
        }
    }
    &scratch[..area * c]
}

/// Where the input pixel begins that a tap of output (n, p, q) reads, unless it lies in the padding.
fn source(z: &ConvSizes, tap: usize, n: usize, p: usize, q: usize) -> Option<usize> {
    let (_, high, wide, c) = z.x().dims();
    let (r, s) = (tap / z.s as usize, tap % z.s as usize);
    let h = (p * z.stride_h as usize + r * z.dil_h as usize).checked_sub(z.pad_h as usize)?;
    let w = (q * z.stride_w as usize + s * z.dil_w as usize).checked_sub(z.pad_w as usize)?;
    (h < high && w < wide).then(|| ((n * high + h) * wide + w) * c)
}

fn begin(y: &mut [f32], bias: Option<&[f32]>) {
    match bias {
        Some(bias) => y.copy_from_slice(bias),
        None => y.fill(0.0),
    }
}

/// y += a·b
fn multiply_add(y: &mut [f32], a: &[f32], b: &[f32]) {
    for ((y, &a), &b) in y.iter_mut().zip(a).zip(b) {
        *y += a * b;
    }
}
