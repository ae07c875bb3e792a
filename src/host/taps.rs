//! Which input each output of a convolution reads, so that one matrix product serves all three passes.
//!
//! A pass is seen as a gather: output pixel (i, j) of a picture reads input pixels `i·step + first + m·tap_step` for the taps
//! `m` of each axis. In fprop the step is the stride. In dgrad the output pixels fall into stride_h × stride_w *phases*; the
//! pixels of one phase share their taps and read dy with step 1, so a 4×4 stride-2 filter becomes four 2×2 filters without a
//! wasted product. Tap steps stay positive (dgrad lists its filter backwards), so that the taps of one row of NHWC pixels lie
//! side by side and can be copied as one run.

use super::simd::Level;
use super::sizes::ConvSizes;

/// One axis (rows or columns) of a gather.
#[derive(Clone, Copy, Debug)]
pub struct Axis {
    /// Length of the input.
    pub len: usize,
    /// Input step from one output to the next.
    pub step: usize,
    /// Input read by the first tap of output 0; negative in the padding.
    pub first: isize,
    pub tap_step: usize,
    pub taps: usize,
    /// Tap `m` uses filter element `filter + m·filter_step`.
    pub filter: usize,
    pub filter_step: isize,
}

impl Axis {
    pub fn fprop(input: u32, taps: u32, stride: u32, pad: u32, dil: u32) -> Axis {
        Axis {
            len: input as usize,
            step: stride as usize,
            first: -(pad as isize),
            tap_step: dil as usize,
            taps: taps as usize,
            filter: 0,
            filter_step: 1,
        }
    }

    /// Phase `phase` of dgrad: outputs are pixels of dx, inputs pixels of dy. Tap r contributes to `h = phase + i·stride` where
    /// `h + pad − r·dil` is a multiple of the stride, which holds for every `stride / gcd(stride, dil)`-th r, or for none.
    pub fn dgrad(output: u32, taps: u32, stride: u32, pad: u32, dil: u32, phase: u32) -> Axis {
        let g = gcd(stride, dil);
        let every = stride / g;
        let (count, last) = match (0..taps.min(every)).find(|r| (phase + pad).wrapping_sub(r * dil) as i32 % stride as i32 == 0) {
            Some(r) => ((taps - r).div_ceil(every), r + (taps - 1 - r) / every * every),
            None => (0, 0),
        };
        Axis {
            len: output as usize,
            step: 1,
            first: (phase as isize + pad as isize - last as isize * dil as isize) / stride as isize,
            tap_step: (dil / g) as usize,
            taps: count as usize,
            filter: last as usize,
            filter_step: -(every as isize),
        }
    }

    /// The filter elements of the taps, in order.
    pub fn filters(&self) -> impl Iterator<Item = usize> + use<> {
        let (f, d) = (self.filter as isize, self.filter_step);
        (0..self.taps as isize).map(move |m| (f + m * d) as usize)
    }
}

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// The taps of one phase over the channels of one group.
#[derive(Clone, Copy, Debug)]
pub struct Taps {
    pub rows: Axis,
    pub cols: Axis,
    /// Channels that a tap reads, the first of them, and all channels of an input pixel.
    pub chans: usize,
    pub chan: usize,
    pub pitch: usize,
}

/// Consecutive output pixels of one row: columns `j0..j1` of row `i` of picture `n`, counted within the phase.
#[derive(Clone, Copy, Debug, Default)]
pub struct Segment {
    pub n: usize,
    pub i: usize,
    pub j0: usize,
    pub j1: usize,
}

impl Taps {
    /// What output pixels of fprop read in x.
    pub fn fprop(z: &ConvSizes) -> Taps {
        Taps {
            rows: Axis::fprop(z.h, z.r, z.stride_h, z.pad_h, z.dil_h),
            cols: Axis::fprop(z.w, z.s, z.stride_w, z.pad_w, z.dil_w),
            chans: (z.c / z.groups) as usize,
            chan: 0,
            pitch: z.c as usize,
        }
    }

    /// What pixels of dx in phase (a, b) read in dy.
    pub fn dgrad(z: &ConvSizes, a: usize, b: usize) -> Taps {
        Taps {
            rows: Axis::dgrad(z.p, z.r, z.stride_h, z.pad_h, z.dil_h, a as u32),
            cols: Axis::dgrad(z.q, z.s, z.stride_w, z.pad_w, z.dil_w, b as u32),
            chans: (z.k / z.groups) as usize,
            chan: 0,
            pitch: z.k as usize,
        }
    }

    /// Length of the reduction: taps × channels.
    pub fn depth(&self) -> usize {
        self.rows.taps * self.cols.taps * self.chans
    }

    /// Writes elements `k0..k1` of the reduction for every pixel of a segment: a row of `dst` each, zero where a tap reads
    /// padding.
    pub fn fill(&self, level: Level, x: &[f32], seg: &Segment, (k0, k1): (usize, usize), dst: &mut [f32], dst_step: usize) {
        let (rows, cols, pitch) = (&self.rows, &self.cols, self.pitch);
        let line = cols.len * pitch;
        // Taps that lie side by side are one run of memory.
        let side_by_side = cols.tap_step == 1 && self.chans == pitch;
        let run = if side_by_side { cols.taps * self.chans } else { self.chans };
        let mut k = k0;
        while k < k1 {
            let (u, inside) = (k / run, k % run);
            let len = (run - inside).min(k1 - k);
            let (mr, ms) = if side_by_side { (u, 0) } else { (u / cols.taps, u % cols.taps) };
            let out = &mut dst[k - k0..];
            k += len;
            let ih = (seg.i * rows.step) as isize + rows.first + (mr * rows.tap_step) as isize;
            if ih < 0 || ih >= rows.len as isize {
                zero_rows(out, dst_step, seg.j1 - seg.j0, len);
                continue;
            }
            let x = &x[(seg.n * rows.len + ih as usize) * line..][..line];
            // Pixel j reads x[at + j·by ..][..len]; whole runs are those within the line.
            let at = (cols.first + (ms * cols.tap_step) as isize) * pitch as isize + (self.chan + inside) as isize;
            let by = cols.step * pitch;
            let room = line as isize - len as isize - at;
            let (mut ja, mut jb) = (seg.j0, seg.j1);
            if at + ((ja * by) as isize) < 0 {
                ja = ((-at) as usize).div_ceil(by).min(jb);
            }
            if ((jb - 1) * by) as isize > room {
                jb = if room < 0 { ja } else { (room as usize / by + 1).clamp(ja, jb) };
            }
            for j in (seg.j0..ja).chain(jb..seg.j1) {
                let from = at + (j * by) as isize;
                let out = &mut out[(j - seg.j0) * dst_step..][..len];
                // Elements lo..hi of the run lie in the picture.
                let lo = (-from).clamp(0, len as isize) as usize;
                let hi = (line as isize - from).clamp(lo as isize, len as isize) as usize;
                out[..lo].fill(0.0);
                out[hi..].fill(0.0);
                if lo < hi {
                    out[lo..hi].copy_from_slice(&x[(from + lo as isize) as usize..][..hi - lo]);
                }
            }
            if ja < jb {
                let from = (at + (ja * by) as isize) as usize;
                level.copy_rows(&x[from..], by, &mut out[(ja - seg.j0) * dst_step..], dst_step, jb - ja, len);
            }
        }
    }
}

fn zero_rows(dst: &mut [f32], step: usize, rows: usize, len: usize) {
    for i in 0..rows {
        dst[i * step..][..len].fill(0.0);
    }
}
