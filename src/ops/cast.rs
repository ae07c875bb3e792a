//! Cast: the same values in another type. f32 → bf16 rounds to the nearest, ties to even; beyond the largest finite bf16 it gives ±∞,
//! and NaN stays NaN. bf16 → f32 is exact. dx = dy cast back: the gradient has the type of its value, and the rounding counts as
//! the identity.

use half::bf16;
use rayon::prelude::*;

use super::edges::EDGES;
use crate::core::case::{Case, Sampling, case};

use crate::core::dtype::DType;
use crate::core::launch::Operands;
use crate::core::op::{Cost, Host, Keeps, Op, Pass, Set};
use crate::core::par::GRAIN;
use crate::core::real::Real;
use crate::core::shape::{Shape, shape};
use crate::core::tape::{Tape, Var};
use crate::error::Result;

#[derive(Debug, Clone)]
pub struct Cast {
    pub to: DType,
}

/// `x` in type `to`: `x` itself, without a step, where it has that type.
pub fn cast(t: &mut Tape, x: Var, to: DType) -> Result<Var> {
    if t.owns(x) && t.dtype(x) == to { Ok(x) } else { t.apply(Cast { to }, &[x]) }
}

pub(super) fn narrow<T: Real>(y: &mut [bf16], x: &[T]) {
    y.par_chunks_mut(GRAIN).zip(x.par_chunks(GRAIN)).for_each(|(y, x)| y.iter_mut().zip(x).for_each(|(y, x)| *y = x.bf16()));
}

pub(super) fn widen<T: Real>(y: &mut [T], x: &[bf16]) {
    y.par_chunks_mut(GRAIN)
        .zip(x.par_chunks(GRAIN))
        .for_each(|(y, x)| y.iter_mut().zip(x).for_each(|(y, &x)| *y = T::of_bf16(x)));
}

impl Cast {
    fn source(&self) -> DType {
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
        let n = g.xs[0].len();
        g.call(kernel(self.to))?.elements(n).write(g.out(0)).read(g.x(0)).value(&(n as u32)).go()
    }
    fn gpu_backward(&self, g: &Operands) -> Result<()> {
        let n = g.xs[0].len();
        g.call(kernel(self.source()))?.elements(n).write(g.out(0)).read(g.dy()).value(&(n as u32)).go()
    }
}

fn kernel(to: DType) -> &'static str {
    match to {
        DType::Bf16 => "cast_f32_bf16",
        DType::F32 => "cast_bf16_f32",
    }
}

pub fn cases() -> Vec<Case> {
    // Difference quotients of a staircase: 0 within a step, and a whole step across.
    let row = |to: DType, s: Shape| {
        let op = Cast { to };
        let from = op.source();
        case(format!("{from} to {to} {s}"), op, &[(s, Sampling::Normal)]).dtypes(&[from]).withholds()
    };
    let mut rows: Vec<Case> = EDGES.iter().flat_map(|&s| [row(DType::Bf16, s), row(DType::F32, s)]).collect();
    rows.extend([DType::Bf16, DType::F32].map(|to| row(to, shape(32, 64, 64, 64)).bench("encoder.2")));
    rows
}
