//! The number types of the host: f32 trains, f64 is the oracle.

use std::any::TypeId;
use std::fmt::Debug;
use std::iter::Sum;
use std::ops::{Add, AddAssign, Div, Mul, MulAssign, Neg, Sub, SubAssign};

/// f32 or f64. Host code of an op is written once over this trait; where f32 has a faster kernel, [`Real::as_f32`] finds out.
pub trait Real:
    bytemuck::Pod
    + Send
    + Sync
    + Debug
    + PartialOrd
    + Default
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
    + Neg<Output = Self>
    + AddAssign
    + SubAssign
    + MulAssign
    + Sum
{
    const ZERO: Self;
    const ONE: Self;
    fn of(x: f64) -> Self;
    fn f64(self) -> f64;
    fn exp(self) -> Self;
    fn ln_1p(self) -> Self;
    fn ln(self) -> Self;
    fn sqrt(self) -> Self;
    fn tanh(self) -> Self;
    fn abs(self) -> Self;
    fn is_finite(self) -> bool;

    /// The same slice if this type is f32, else nothing.
    fn as_f32(x: &[Self]) -> Option<&[f32]> {
        (TypeId::of::<Self>() == TypeId::of::<f32>()).then(|| bytemuck::cast_slice(x))
    }
    fn as_f32_mut(x: &mut [Self]) -> Option<&mut [f32]> {
        (TypeId::of::<Self>() == TypeId::of::<f32>()).then(|| bytemuck::cast_slice_mut(x))
    }
    fn max(self, o: Self) -> Self {
        if self > o { self } else { o }
    }
    fn min(self, o: Self) -> Self {
        if self < o { self } else { o }
    }
    /// -1, 0 or 1; `sign(0) = 0`, as the sub-gradient of |x| needs it.
    fn sign(self) -> Self {
        if self > Self::ZERO {
            Self::ONE
        } else if self < Self::ZERO {
            -Self::ONE
        } else {
            Self::ZERO
        }
    }
}

macro_rules! real {
    ($t:ty) => {
        impl Real for $t {
            const ZERO: Self = 0.0;
            const ONE: Self = 1.0;
            #[inline(always)]
            fn of(x: f64) -> Self {
                x as $t
            }
            #[inline(always)]
            fn f64(self) -> f64 {
                self as f64
            }
            #[inline(always)]
            fn exp(self) -> Self {
                self.exp()
            }
            #[inline(always)]
            fn ln_1p(self) -> Self {
                self.ln_1p()
            }
            #[inline(always)]
            fn ln(self) -> Self {
                self.ln()
            }
            #[inline(always)]
            fn sqrt(self) -> Self {
                self.sqrt()
            }
            #[inline(always)]
            fn tanh(self) -> Self {
                self.tanh()
            }
            #[inline(always)]
            fn abs(self) -> Self {
                self.abs()
            }
            #[inline(always)]
            fn is_finite(self) -> bool {
                self.is_finite()
            }
        }
    };
}
real!(f32);
real!(f64);
