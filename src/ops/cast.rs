//! Cast: the same values in another type; the op itself, which tapes record by themselves, stands in [`crate::core::cast`].

use super::edges::EDGES;
use crate::core::case::{Case, Sampling, case};
pub use crate::core::cast::{Cast, narrow, widen};
use crate::core::dtype::DType;
use crate::core::shape::{Shape, shape};
use crate::core::tape::{Tape, Var};
use crate::error::Result;

/// `x` in type `to`: `x` itself, without a step, where it has that type.
pub fn cast(t: &mut Tape, x: Var, to: DType) -> Result<Var> {
    if t.owns(x) && t.dtype(x) == to { Ok(x) } else { t.apply(Cast { to }, &[x]) }
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
