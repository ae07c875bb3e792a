//! Numbers in another type: slices, and the op that records it.
//!
//! f32 → bf16 rounds to the nearest, ties to even; beyond the largest finite bf16 it gives ±∞, and NaN stays NaN. bf16 → f32 is
//! exact. dx = dy cast back: the gradient has the type of its value, and the rounding counts as the identity.

use half::bf16;
use rayon::prelude::*;

use super::dtype::DType;
use super::launch::Operands;
use super::op::{Cost, Host, Keeps, Op, Pass, Set};
use super::par::GRAIN;
use super::real::Real;
use super::shape::Shape;
use crate::device::Span;
use crate::error::Result;

/// The values of input 0 in type `to`. [`ops::cast`](crate::ops::cast) records it.
#[derive(Debug, Clone)]
pub struct Cast {
    pub to: DType,
}

/// `y` is `x`, rounded.
pub fn narrow<T: Real>(y: &mut [bf16], x: &[T]) {
    y.par_chunks_mut(GRAIN).zip(x.par_chunks(GRAIN)).for_each(|(y, x)| y.iter_mut().zip(x).for_each(|(y, x)| *y = x.bf16()));
}

/// `y` is `x`.
pub fn widen<T: Real>(y: &mut [T], x: &[bf16]) {
    y.par_chunks_mut(GRAIN)
        .zip(x.par_chunks(GRAIN))
        .for_each(|(y, x)| y.iter_mut().zip(x).for_each(|(y, &x)| *y = T::of_bf16(x)));
}

/// The launch that fills `y` with the values of `x`, one of which is bf16.
pub(super) fn launch(g: &Operands, y: Span, x: Span) -> Result<()> {
    let (kernel, n) = if y.unit < x.unit { ("cast_f32_bf16", y.len / y.unit) } else { ("cast_bf16_f32", y.len / y.unit) };
    g.call(kernel)?.elements(n).write(y).read(x).value(&(n as u32)).go()
}

impl Cast {
    /// The type of the input.
    pub fn source(&self) -> DType {
        match self.to {
            DType::F32 => DType::Bf16,
            DType::Bf16 => DType::F32,
        }
    }
}

impl Op for Cast {
    fn name(&self) -> &'static str {
        "cast"
    }
    fn infer(&self, x: &[Shape]) -> Result<Vec<Shape>, String> {
        match x {
            [x] => Ok(vec![*x]),
            _ => Err(format!("takes one value, got {x:?}")),
        }
    }
    fn dtypes(&self, x: &[DType], _: usize) -> Result<Vec<DType>, String> {
        if x[0] == self.source() { Ok(vec![self.to]) } else { Err(format!("the value is {} already", x[0])) }
    }
    fn half_on_host(&self, _: Pass) -> bool {
        true
    }
    fn half_on_gpu(&self, _: Pass, _: &[Shape]) -> bool {
        true
    }
    fn keeps(&self, _: Set) -> Keeps {
        Keeps::NOTHING
    }
    fn cost(&self, _: Pass, xs: &[Shape], _: &[Shape]) -> Cost {
        let n = xs[0].len();
        Cost { macs: n as u64, bytes: (n * (DType::F32.bytes::<f32>() + DType::Bf16.bytes::<f32>())) as u64 }
    }
    fn forward<T: Real>(&self, m: Host<T>) {
        let ([y, ..], [y_half, ..]) = (m.out, m.half.out);
        match self.to {
            DType::Bf16 => narrow(y_half, m.x[0]),
            DType::F32 => widen(y, m.half.x[0]),
        }
    }
    fn backward<T: Real>(&self, m: Host<T>) {
        let ([dx, ..], [dx_half, ..]) = (m.out, m.half.out);
        match self.source() {
            DType::Bf16 => narrow(dx_half, m.dy),
            DType::F32 => widen(dx, m.half.dy),
        }
    }

    fn gpu_forward(&self, g: &Operands) -> Result<()> {
        launch(g, g.out(0), g.x(0))
    }
    fn gpu_backward(&self, g: &Operands) -> Result<()> {
        launch(g, g.out(0), g.dy())
    }
}
