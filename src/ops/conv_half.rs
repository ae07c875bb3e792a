//! conv2d and conv_transpose2d of values in bf16: x, y and their gradients bf16, filters bf16 or f32, bias f32.
//!
//! The formulas are those of [`super::conv2d`] and [`super::conv_transpose2d`]. Products of two bf16 are exact in
//! f32, sums are f32, and a result is rounded once. Filters in f32 are rounded to bf16 first; their gradient is f32 then, and bf16
//! for filters in bf16: a gradient has the type of its value. A bias and its gradient are f32.
//!
//! `conv2d` and `conv_transpose2d` record these ops where `x` or what the tape keeps is bf16; [`super::conv_bf16`] has their rows. They
//! are ops of their own because they need other workspace: on the host, and on GPUs other than Hopper, operands are converted to f32,
//! multiplied as f32 (as tf32 on tensor cores, which holds every bf16) and rounded.

use ::half::bf16;

use super::cast::{narrow, widen};
use super::conv_half_launch;
use super::conv_host::{self, Direction};
use crate::core::dtype::DType;
use crate::core::launch::Operands;
use crate::core::op::{Cost, Halves, Host, Keeps, Op, Pass, Set};
use crate::core::real::Real;
use crate::core::shape::Shape;
use crate::core::tape::{Tape, Var};
use crate::device::Precision;
use crate::error::Result;
use crate::host::half::{self, Products};
use crate::host::half_wgrad::{Gradient, Wgrad};
use crate::host::simd::half::Pairs;
use crate::host::sizes::ConvSizes;

/// What ops of the three products of a convolution say of themselves.
pub(super) trait Convolution: Op + Copy + Send + Sync {
    /// The name of the op of bf16.
    const HALF: &'static str;
    const DIRECTION: Direction;
    /// Sizes of operands that `infer` has accepted.
    fn recorded(&self, xs: &[Shape]) -> ConvSizes;
}

/// The op whose operands are bf16.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ConvHalf<O>(pub O);

/// Workspace is taken in whole lines of 64 bytes of f32.
const LINE: usize = 16;

/// The first `len` values of the workspace, and the rest.
fn take<T>(scratch: &mut [T], len: usize) -> (&mut [T], &mut [T]) {
    let (mine, rest) = scratch.split_at_mut(len.next_multiple_of(LINE));
    (&mut mine[..len], rest)
}

/// An operand of the passes in the plan's type, in workspace if it is bf16, and the rest of the workspace. bf16 exactly; f32 filters as
/// bf16 have them.
fn widened<'a, T: Real>(half: &[bf16], real: &[T], scratch: &'a mut [T]) -> (&'a [T], &'a mut [T]) {
    let (mine, rest) = take(scratch, half.len().max(real.len()));
    match half.is_empty() {
        false => widen(mine, half),
        true => mine.iter_mut().zip(real).for_each(|(m, x)| *m = T::of_bf16(x.bf16())),
    }
    (mine, rest)
}

/// The instructions that multiply bf16, and the pass that they do; none where f32 does it.
fn products(z: &ConvSizes, direction: Direction) -> Option<(Pairs, half::Pass)> {
    let pass = match direction {
        Direction::Fprop => half::Pass::of_fprop(z),
        Direction::Dgrad => half::Pass::of_dgrad(z),
    };
    Products::setting().pairs().zip(pass)
}

/// The instructions that multiply bf16, and the gradient of filters that they do.
fn wgrad(z: &ConvSizes) -> Option<(Pairs, Wgrad)> {
    Products::setting().pairs().zip(Wgrad::of(z))
}

/// The gradient of filters, f32 or bf16; false where f32 is to do it.
fn filters_multiplied<T: Real>(
    z: &ConvSizes,
    direction: Direction,
    x: &[bf16],
    dy: &[bf16],
    (dw, dw_half): (&mut [T], &mut [bf16]),
    scratch: &mut [T],
) -> bool {
    let (Some((pairs, wgrad)), Some(dw), Some(scratch)) = (wgrad(z), T::as_f32_mut(dw), T::as_f32_mut(scratch)) else {
        return false;
    };
    let dw = if dw_half.is_empty() { Gradient::Real(dw) } else { Gradient::Half(dw_half) };
    match direction {
        Direction::Fprop => wgrad.run(pairs, x, dy, dw, scratch),
        Direction::Dgrad => wgrad.run(pairs, dy, x, dw, scratch),
    }
    true
}

/// The product of the source with filters of bf16, or of f32 that are rounded, and the bias; false where f32 is to do it.
fn multiplied<T: Real>(
    z: &ConvSizes,
    direction: Direction,
    (x, w, real, bias): (&[bf16], &[bf16], &[T], &[T]),
    y: &mut [bf16],
    scratch: &mut [T],
) -> bool {
    let (Some((pairs, pass)), Some(bias), Some(scratch)) = (products(z, direction), T::as_f32(bias), T::as_f32_mut(scratch))
    else {
        return false;
    };
    if !w.is_empty() {
        pass.run(pairs, x, w, bias, y, scratch);
        return true;
    }
    let (rounded, scratch) = take(scratch, real.len().div_ceil(2));
    let rounded = &mut bytemuck::cast_slice_mut(rounded)[..real.len()];
    narrow(rounded, real);
    pass.run(pairs, x, rounded, bias, y, scratch);
    true
}

impl<O: Convolution> Op for ConvHalf<O> {
    fn name(&self) -> &'static str {
        O::HALF
    }
    fn infer(&self, x: &[Shape]) -> Result<Vec<Shape>, String> {
        self.0.infer(x)
    }
    fn halves(&self) -> Halves {
        Halves::factors(Set::first(2), Set::of(0))
    }
    fn half_on_host(&self, _: Pass) -> bool {
        true
    }
    fn half_on_gpu(&self, _: Pass, _: &[Shape]) -> bool {
        true
    }
    fn dtypes(&self, x: &[DType], _: usize) -> Result<Vec<DType>, String> {
        match x {
            [DType::Bf16, _] | [DType::Bf16, _, DType::F32] => Ok(vec![DType::Bf16]),
            [DType::F32, ..] => Err("x is f32: cast it to bf16 first (ops::cast)".to_string()),
            _ => Err("the bias is bf16: it stays f32, as every parameter".to_string()),
        }
    }
    fn keeps(&self, wants: Set) -> Keeps {
        conv_host::keeps(wants)
    }
    fn scratch(&self, pass: Pass, xs: &[Shape], _: &[Shape], wants: Set) -> usize {
        let (z, direction) = (self.0.recorded(xs), O::DIRECTION);
        let products = match pass {
            Pass::Forward => products(&z, direction),
            Pass::Backward => products(&z, direction.turned()).filter(|_| wants.has(0)),
        };
        let products = products.map_or(0, |(_, p)| z.filters().len().div_ceil(2).next_multiple_of(LINE) + p.scratch());
        let wgrad = wgrad(&z).filter(|_| pass == Pass::Backward && wants.has(1)).map_or(0, |(_, w)| w.scratch());
        let sizes = [direction.source(&z), z.filters(), direction.output(&z)].map(|s| s.len().next_multiple_of(LINE));
        // dy, then what the gradients read and, where it is rounded, write.
        let copies = match pass {
            Pass::Forward => sizes.iter().sum(),
            Pass::Backward => {
                let dx = if wants.has(0) { sizes[1] + sizes[0] } else { 0 };
                let dw = if wants.has(1) { sizes[0] + sizes[1] } else { 0 };
                sizes[2] + dx.max(dw)
            }
        };
        // f64 converts wherever it runs.
        products.max(wgrad).max(copies + conv_host::scratch(&z, direction, pass, wants))
    }
    fn cost(&self, pass: Pass, xs: &[Shape], _: &[Shape]) -> Cost {
        let c = conv_host::cost(&self.0.recorded(xs), pass);
        Cost { bytes: c.bytes / 2, ..c }
    }
    fn forward<T: Real>(&self, m: Host<T>) {
        let (z, direction) = (self.0.recorded(m.xs), O::DIRECTION);
        let [half, ..] = m.half.out;
        if multiplied(&z, direction, (m.half.x[0], m.half.x[1], m.x[1], m.x[2]), half, m.scratch) {
            return;
        }
        let (x, rest) = widened(m.half.x[0], &[], m.scratch);
        let (w, rest) = widened(m.half.x[1], m.x[1], rest);
        let (y, rest) = take(rest, half.len());
        conv_host::forwards(&z, direction, x, w, m.x[2], y, rest);
        narrow(half, y);
    }
    fn backward<T: Real>(&self, m: Host<T>) {
        let (z, direction) = (self.0.recorded(m.xs), O::DIRECTION);
        let ([dx, dw_half, ..], [_, dw, db, ..]) = (m.half.out, m.out);
        let operands = (m.half.dy, m.half.x[1], m.x[1], &[][..]);
        let dx_left = !dx.is_empty() && !multiplied(&z, direction.turned(), operands, dx, m.scratch);
        let wanted = !dw.is_empty() || !dw_half.is_empty();
        let dw_left = wanted && !filters_multiplied(&z, direction, m.half.x[0], m.half.dy, (dw, dw_half), m.scratch);
        if !dx_left && !dw_left && db.is_empty() {
            return;
        }
        let (dy, rest) = widened(m.half.dy, &[], m.scratch);
        if dx_left {
            let (w, rest) = widened(m.half.x[1], m.x[1], rest);
            let (real, rest) = take(rest, dx.len());
            conv_host::backwards(&z, direction, dy, w, real, rest);
            narrow(dx, real);
        }
        if dw_left {
            let (x, rest) = widened(m.half.x[0], &[], rest);
            if dw_half.is_empty() {
                conv_host::filters(&z, direction, x, dy, dw, rest);
            } else {
                let (real, rest) = take(rest, dw_half.len());
                conv_host::filters(&z, direction, x, dy, real, rest);
                narrow(dw_half, real);
            }
        }
        if !db.is_empty() {
            conv_host::bias_grad(direction.result(&z).0, dy, db, rest);
        }
    }

    fn gpu_scratch(&self, pass: Pass, xs: &[Shape], _: &[Shape], wants: Set, _: Precision) -> usize {
        conv_half_launch::scratch(&self.0.recorded(xs), O::DIRECTION, pass, wants)
    }
    fn gpu_forward(&self, g: &Operands) -> Result<()> {
        conv_half_launch::forward(g, &self.0.recorded(g.xs), O::DIRECTION)
    }
    fn gpu_backward(&self, g: &Operands) -> Result<()> {
        conv_half_launch::backward(g, &self.0.recorded(g.xs), O::DIRECTION)
    }
}

/// Records `op`, or its form of bf16 where `x` is bf16 or the tape keeps activations so.
pub(super) fn record<O: Convolution>(t: &mut Tape, x: Var, w: Var, bias: Option<Var>, op: O) -> Result<Var> {
    let operands: Vec<Var> = [x, w].into_iter().chain(bias).collect();
    let half = t.activations() == DType::Bf16 || t.owns(x) && t.dtype(x) == DType::Bf16;
    if half { t.apply(ConvHalf(op), &operands) } else { t.apply(op, &operands) }
}
