//! The launches of kernels/cam_attention.cu: parameters, blocks, shared memory.

use super::{CamAttention, Reduce};
use crate::core::launch;
use crate::core::launch::Operands;
use crate::core::op::Pass;
use crate::core::shape::Shape;
use crate::error::{Error, Result};
use crate::ops::bilinear::Axis;

/// `struct Cam` of kernels/cam_attention.cu.
#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Params {
    temperature: f64,
    divisor: f64,
    n: u32,
    h: u32,
    w: u32,
    k: u32,
    pixels: u32,
    d: u32,
    first: u32,
    units: u32,
    rows: u32,
    columns: u32,
    band: u32,
    bands: u32,
    vec: u32,
    whole: u32,
    own: u32,
    weight: u32,
    norm: u32,
    relu: u32,
    stopgrad: u32,
    detach: u32,
    y: Axis,
    x: Axis,
}

/// Most bytes of dynamic shared memory that every GPU grants without being asked.
const SHARED: usize = 40 << 10;

/// A block of `cam_attention_error_fwd`.
struct Block {
    /// Threads along the columns of a mask.
    threads: usize,
    /// Rows of the map: as many as fill 512 threads and shared memory, so that few blocks need the whole map for the norm.
    band: usize,
    /// Whether shared memory has room for a whole map.
    whole: bool,
    /// Floats of shared memory.
    shared: usize,
}

impl Block {
    fn of(f: Shape, mask: Shape) -> Block {
        let ((_, h, w, _), (_, _, columns, _)) = (f.dims(), mask.dims());
        let (threads, room) = (columns.next_multiple_of(32).min(256), SHARED / launch::F32);
        let whole = h * w + 2 * columns <= room;
        let (fixed, each) = if whole { (h * w, 2 * columns) } else { (w, w + 2 * columns) };
        let band = (room.saturating_sub(fixed) / each).clamp(1, h.min(512 / threads));
        Block { threads, band, whole, shared: fixed + band * each }
    }
}

/// Whether a thread of `cam_attention_norm_bwd` can keep its pixels, and their gradients, in shared memory.
fn keeps_own(f: Shape) -> bool {
    2 * (f.h * f.w) as usize * launch::F32 <= SHARED
}

/// Workspace of the launches in bytes.
pub(super) fn scratch(pass: Pass, xs: &[Shape]) -> usize {
    let (n, h, w, k) = xs[0].dims();
    let values = match pass {
        Pass::Forward => n * k + (n * k) % 2 + n * h.div_ceil(Block::of(xs[0], xs[3]).band) * (2 + w),
        Pass::Backward => n * (3 * k + h * w + 2 * xs[1].n as usize),
    };
    launch::F32 * values
}

impl CamAttention {
    fn params(&self, g: &Operands, vec: usize) -> Result<Params> {
        let ([f, head, _, mask, ..], units) = (g.xs, self.range(g.xs[1].n as usize)) else {
            unreachable!("checked when recorded")
        };
        let block = Block::of(*f, *mask);
        let axis =
            |len: u32, out: u32| Axis::new(g, "cam_attention_error_fwd_f32", len as usize, out as usize, self.align_corners);
        Ok(Params {
            temperature: self.temperature,
            divisor: if self.pixel_reduce == Reduce::Mean { mask.per_image() as f64 } else { 1.0 },
            n: f.n,
            h: f.h,
            w: f.w,
            k: f.c,
            pixels: f.h * f.w,
            d: head.n,
            first: units.start as u32,
            units: units.len() as u32,
            rows: mask.h,
            columns: mask.w,
            band: block.band as u32,
            bands: f.h.div_ceil(block.band as u32),
            vec: vec as u32,
            whole: block.whole as u32,
            own: keeps_own(*f) as u32,
            weight: self.weight as u32,
            norm: self.norm as u32,
            relu: self.relu as u32,
            stopgrad: self.minmax_stopgrad as u32,
            detach: self.detach_z as u32,
            y: axis(f.h, mask.h)?,
            x: axis(f.w, mask.w)?,
        })
    }
    /// The `values` floats of shared memory that a launch needs, in bytes; `what` makes them many.
    fn shared(g: &Operands, kernel: &str, values: usize, what: &str) -> Result<usize> {
        if launch::F32 * values > SHARED {
            let why = format!("{what} need {} bytes of shared memory, {SHARED} are there", launch::F32 * values);
            return Err(Error::Launch { kernel: kernel.to_string(), at: g.at.to_string(), why });
        }
        Ok(launch::F32 * values)
    }

    /// mean → head → map → error → loss; see kernels/cam_attention.cu.
    pub(super) fn launch_forward(&self, g: &Operands) -> Result<()> {
        let (n, h, w, k) = g.xs[0].dims();
        let [loss, map, dmap, z, mean, raw] = [0, 1, 2, 3, 4, 5].map(|i| g.out(i));
        let [f, head, bias, mask, select] = [0, 1, 2, 3, 4].map(|i| g.x(i));
        // The class vectors; then, from an even number of values on, the error of every band in f64, and what it gives to the next.
        let Block { threads, band, shared: floats, .. } = Block::of(g.xs[0], g.xs[3]);
        let (shares, at) = (n * h.div_ceil(band), n * k + (n * k) % 2);
        let (v, error, below) = (g.scratch(0, n * k), g.scratch(at, 2 * shares), g.scratch(at + 2 * shares, shares * w));
        let p = self.params(g, launch::vec4(k, &[f, head, mean, v]))?;
        let (units, columns) = (p.units as usize, p.columns as usize);

        let channels = (k / p.vec as usize).div_ceil(32);
        let call = g.call("cam_attention_mean_fwd_f32")?.grid([channels, n, 1]).block3([32, 16, 1]);
        call.write(mean).read(f).value(&p).go()?;

        let shared = Self::shared(g, "cam_attention_head_fwd_f32", units, &format!("{units} units"))?;
        let call = g.call("cam_attention_head_fwd_f32")?.grid([n, 1, 1]).block(512).shared(shared);
        call.write(z).write(v).read(mean).read(head).read(bias).value(&p).go()?;

        let shared = Self::shared(g, "cam_attention_map_fwd_f32", k, &format!("{k} channels"))?;
        let call = g.call("cam_attention_map_fwd_f32")?.grid([(h * w).div_ceil(32), n, 1]).block(256).shared(shared);
        call.write(raw).read(f).read(v).value(&p).go()?;

        let what = format!("maps {w} pixels and masks {columns} pixels wide");
        let shared = Self::shared(g, "cam_attention_error_fwd_f32", floats, &what)?;
        let call =
            g.call("cam_attention_error_fwd_f32")?.grid([h.div_ceil(band), n, 1]).block3([threads, band, 1]).shared(shared);
        call.write(map).write(dmap).write(error).write(below).read(raw).read(mask).read(select).value(&p).go()?;

        let call = g.call("cam_attention_loss_fwd_f32")?.grid([if band < h { n } else { 1 }, 1, 1]).block(256);
        call.write(loss).update(dmap).read(error).read(below).value(&p).go()
    }
    /// norm → map → head → features, weight.
    pub(super) fn launch_backward(&self, g: &Operands) -> Result<()> {
        let (n, h, w, k) = g.xs[0].dims();
        let (d, pixels) = (g.xs[1].n as usize, h * w);
        let (f, head, [map, dmap, z, mean, raw]) = (g.x(0), g.x(1), [1, 2, 3, 4, 5].map(|i| g.y(i)));
        let [q, v, r] = [0, 1, 2].map(|i| g.scratch(i * n * k, n * k));
        let dm = g.scratch(3 * n * k, n * pixels);
        let [alpha, s] = [0, 1].map(|i| g.scratch(3 * n * k + n * pixels + i * n * d, n * d));
        let spans = [f, head, q, v, r, g.out[0].unwrap_or(f)];
        let p = self.params(g, launch::vec4(k, &spans))?;
        let (units, channels) = (p.units as usize, (k / p.vec as usize).div_ceil(32));

        let shared = if p.own == 1 { 2 * pixels * launch::F32 } else { 0 };
        let call = g.call("cam_attention_norm_bwd_f32")?.grid([n, 1, 1]).block(256).shared(shared);
        call.write(dm).read(raw).read(map).read(dmap).read(g.dy()).value(&p).go()?;

        let call = g.call("cam_attention_map_bwd_f32")?.grid([channels, n, 1]).block3([32, 16, 1]);
        call.write(q).read(f).read(dm).value(&p).go()?;

        let shared = Self::shared(g, "cam_attention_head_bwd_f32", 2 * units, &format!("{units} units"))?;
        let call = g.call("cam_attention_head_bwd_f32")?.grid([n, 1, 1]).block(512).shared(shared);
        call.write(v).write(r).write(alpha).write(s).read(q).read(z).read(head).value(&p).go()?;

        if g.wants(0) {
            let call = g.call("cam_attention_features_bwd_f32")?.grid([channels, pixels.div_ceil(64), n]).block3([32, 8, 1]);
            call.write(g.out(0)).read(dm).read(v).read(r).value(&p).go()?;
        }
        if g.wants(1) || g.wants(2) {
            let call = g.call("cam_attention_weight_bwd_f32")?.grid([k.div_ceil(128), d.div_ceil(4), 1]).block(128);
            let call = call.write_or_null(g.out[1]).write_or_null(g.out[2]);
            call.read(alpha).read(s).read(q).read(mean).value(&p).go()?;
        }
        Ok(())
    }
}
