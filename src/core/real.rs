//! The number types of the host: f32 trains, f64 is the oracle.

use std::any::TypeId;
use std::fmt::Debug;
use std::iter::Sum;
use std::ops::{Add, AddAssign, Div, Mul, MulAssign, Neg, Sub, SubAssign};

use half::bf16;

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
    /// The nearest bf16, ties to even; beyond the largest finite one ±∞; NaN stays NaN.
    fn bf16(self) -> bf16;
    /// Exact.
    fn of_bf16(x: bf16) -> Self;

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

/// eˣ within 1.5 ulp, by Cody–Waite reduction and the polynomial of Cephes' `expf` (Moshier). Plain IEEE arithmetic without
/// branches: loops over it become SIMD, and every machine gives the same bits, which libm does not promise.
#[inline(always)]
fn exp(x: f32) -> f32 {
    // Beyond these the result is 0 or ∞ anyway; NaN passes through both tests.
    let x = if x > 89.0 { 89.0 } else { x };
    let x = if x < -104.0 { -104.0 } else { x };
    // Adding 1.5·2²³ rounds to a whole number and leaves it in the low bits.
    const ROUND: f32 = 12_582_912.0;
    let shifted = x * std::f32::consts::LOG2_E + ROUND;
    let n = shifted - ROUND;
    // ln 2 in two parts, the first with so few bits that n times it is exact.
    let r = x - n * 0.693_359_4 - n * -2.121_944_4e-4;
    let p = 1.987_569_1e-4;
    let p = p * r + 1.398_199_9e-3;
    let p = p * r + 8.333_452e-3;
    let p = p * r + 4.166_579_6e-2;
    let p = p * r + 1.666_666_5e-1;
    let p = p * r + 0.5;
    let p = p * (r * r) + r + 1.0;
    // 2ⁿ in two factors: n runs from -150 to 128, one exponent field does not.
    let n = shifted.to_bits().wrapping_sub(ROUND.to_bits()) as i32;
    let half = n >> 1;
    let power = |k: i32| f32::from_bits(((k + 127) << 23) as u32);
    p * power(half) * power(n - half)
}

/// tanh x within 2 ulp (Cephes' `tanhf`): an odd polynomial near zero, 1 − 2/(e²ˣ + 1) elsewhere.
#[inline(always)]
fn tanh(x: f32) -> f32 {
    let (a, z) = (x.abs(), x * x);
    let p = -5.704_988_7e-3;
    let p = p * z + 2.063_909e-2;
    let p = p * z + -5.373_971_6e-2;
    let p = p * z + 1.333_144_2e-1;
    let p = p * z + -3.333_328e-1;
    let near = x + x * z * p;
    let far = (1.0 - 2.0 / (exp(2.0 * a) + 1.0)).copysign(x);
    if a < 0.625 { near } else { far }
}

/// The nearest bf16, ties to even, without a branch: loops over it become SIMD. Adding 0x7fff, or 0x8000 above an odd half, carries
/// into the upper half where it must be rounded up, and a carry out of the fraction is the next exponent.
#[inline(always)]
fn bf16_of_f32(x: f32) -> bf16 {
    let bits = x.to_bits();
    let rounded = bits.wrapping_add(0x7fff + (bits >> 16 & 1)) >> 16;
    let quiet = bits >> 16 | 0x40;
    bf16::from_bits(if bits & 0x7fff_ffff > 0x7f80_0000 { quiet } else { rounded } as u16)
}

/// The nearest bf16, rounded once. `bf16::from_f64` drops the lower half of the fraction before it rounds, so it takes what lies
/// closely above a tie for the tie; f32 in between would round twice. Rounding to f32 by *odd* (towards zero, and the last bit set
/// if anything was lost) keeps the side of the tie, and the second rounding then decides alone.
fn bf16_of_f64(x: f64) -> bf16 {
    let near = x as f32;
    let (bits, back) = (near.to_bits(), near as f64);
    if back == x || x.is_nan() {
        return bf16::from_f32(near);
    }
    let towards_zero = if back.abs() > x.abs() { bits - 1 } else { bits };
    bf16::from_f32(f32::from_bits(towards_zero | 1))
}

macro_rules! real {
    ($t:ty, $exp:path, $tanh:path, $bf16:path) => {
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
                $exp(self)
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
                $tanh(self)
            }
            #[inline(always)]
            fn abs(self) -> Self {
                self.abs()
            }
            #[inline(always)]
            fn is_finite(self) -> bool {
                self.is_finite()
            }
            #[inline(always)]
            fn bf16(self) -> bf16 {
                $bf16(self)
            }
            #[inline(always)]
            fn of_bf16(x: bf16) -> Self {
                f32::from_bits((x.to_bits() as u32) << 16) as $t
            }
        }
    };
}
real!(f32, exp, tanh, bf16_of_f32);
real!(f64, f64::exp, f64::tanh, bf16_of_f64);

#[cfg(test)]
mod tests {
    use super::*;

    /// Largest error in units of the last place over `lo..hi`, against f64.
    fn ulps(lo: f32, hi: f32, f: impl Fn(f32) -> f32, exact: impl Fn(f64) -> f64) -> f64 {
        let n = 1_000_000;
        (0..=n)
            .map(|i| lo + (hi - lo) * (i as f32 / n as f32))
            .map(|x| {
                let e = exact(x as f64);
                let ulp = (e.abs() as f32).to_bits().max(1 << 23);
                let ulp = f32::from_bits(ulp + 1) as f64 - f32::from_bits(ulp) as f64;
                (f(x) as f64 - e).abs() / ulp
            })
            .fold(0.0, f64::max)
    }

    #[test]
    fn exp_and_tanh_are_accurate() {
        let e = ulps(-87.0, 88.0, exp, f64::exp).max(ulps(-1.0, 1.0, exp, f64::exp));
        let t = ulps(-10.0, 10.0, tanh, f64::tanh).max(ulps(-0.7, 0.7, tanh, f64::tanh)).max(ulps(-1e-3, 1e-3, tanh, f64::tanh));
        println!("exp {e:.2} ulp, tanh {t:.2} ulp");
        assert!(e < 1.5 && t < 2.0, "exp {e} ulp, tanh {t} ulp");
    }

    #[test]
    fn exp_and_tanh_keep_their_limits() {
        assert_eq!((exp(0.0), exp(-200.0), exp(f32::NEG_INFINITY)), (1.0, 0.0, 0.0));
        assert_eq!((exp(100.0), exp(f32::INFINITY)), (f32::INFINITY, f32::INFINITY));
        assert!(exp(-100.0) > 0.0, "subnormal results exist");
        assert_eq!((tanh(0.0), tanh(50.0), tanh(f32::INFINITY), tanh(-1e30)), (0.0, 1.0, 1.0, -1.0));
        assert!(exp(f32::NAN).is_nan() && tanh(f32::NAN).is_nan());
    }

    /// Around every tie between two neighbours: below it, on it, above it by the last bit of f64.
    #[test]
    fn f64_rounds_to_bf16_once() {
        for low in 0..0x7f7fu16 {
            let (a, b) = (bf16::from_bits(low), bf16::from_bits(low + 1));
            let tie = (f64::of_bf16(a) + f64::of_bf16(b)) / 2.0;
            let even = if low % 2 == 0 { a } else { b };
            for (x, want) in [(tie.next_down(), a), (tie, even), (tie.next_up(), b), (f64::of_bf16(a), a)] {
                assert_eq!((x.bf16(), (-x).bf16()), (want, -want), "{x:e}");
            }
        }
        let largest = f64::of_bf16(bf16::MAX);
        let tie = largest + (largest - f64::of_bf16(bf16::from_bits(0x7f7e))) / 2.0;
        assert_eq!((tie.next_down().bf16(), tie.bf16(), 1e300.bf16()), (bf16::MAX, bf16::INFINITY, bf16::INFINITY));
        assert_eq!((f64::NEG_INFINITY.bf16(), 1e-300.bf16(), (-1e-300).bf16()), (bf16::NEG_INFINITY, bf16::ZERO, bf16::NEG_ZERO));
        assert!(f64::NAN.bf16().is_nan() && f32::NAN.bf16().is_nan() && f64::of_bf16(bf16::NAN).is_nan());
    }
}
