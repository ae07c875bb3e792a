//! What the values of a tape are made of.

use std::fmt;

use half::bf16;

/// The number type of a value on a tape.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum DType {
    /// The plan's own type: f32 in training, f64 in a `Plan<f64>`, the oracle. Parameters, gradients of parameters and the optimiser's
    /// state are always of this type.
    F32,
    /// [`bf16`] (8 bits of exponent, 7 of fraction) on every device and in every plan: the oracle, too, rounds where a tape says so.
    Bf16,
}

impl DType {
    /// Bytes of one value in a plan that runs in `T`.
    pub const fn bytes<T>(self) -> usize {
        match self {
            DType::F32 => size_of::<T>(),
            DType::Bf16 => size_of::<bf16>(),
        }
    }
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(match self {
            DType::F32 => "f32",
            DType::Bf16 => "bf16",
        })
    }
}
