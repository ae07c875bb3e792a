//! `cvt` between integers, f32 and f64. Conversions to and from 16-bit floats are in [`super::half`].

use super::Round;
use super::exact::{Exact, F32, F64};
use super::float::{self, f32_bits, f64_bits};
use super::half::{self, Half};

/// f32 → f64, exact.
#[inline(always)]
pub fn f32_to_f64(a: u32) -> u64 {
    f64_bits(f32::from_bits(a) as f64)
}

/// f64 → f32.
#[inline(always)]
pub fn f64_to_f32(a: u64, mode: Round) -> u32 {
    let x = f64::from_bits(a);
    if mode == Round::Nearest || !x.is_finite() { f32_bits(x as f32) } else { Exact::decode(a, F64).round(F32, mode) as u32 }
}

#[inline(always)]
fn integral(x: f64, mode: Round) -> f64 {
    match mode {
        Round::Nearest => x.round_ties_even(),
        Round::Zero => x.trunc(),
        Round::Down => x.floor(),
        Round::Up => x.ceil(),
    }
}

/// `cvt.rni.f32.f32` and its kin: to a whole number, as a float.
#[inline(always)]
pub fn f32_integral(a: u32, mode: Round) -> u32 {
    f32_bits(integral(f32::from_bits(a) as f64, mode) as f32)
}
#[inline(always)]
pub fn f64_integral(a: u64, mode: Round) -> u64 {
    f64_bits(integral(f64::from_bits(a), mode))
}

/// A float to an integer of `bits` bits, sign-extended to 64 if `signed`. Out of range saturates, with or without `.sat`.
/// NaN gives 0; but from f64, or to 64 bits, it gives the highest bit alone.
#[inline(always)]
fn to_int(x: f64, bits: u32, signed: bool, mode: Round, nan: u64) -> u64 {
    if x.is_nan() {
        return nan;
    }
    let x = integral(x, mode);
    if signed {
        let max = i64::MAX >> (64 - bits);
        // f64 holds 2⁶³ but not i64::MAX: `as` saturates there by itself.
        (x as i64).clamp(-max - 1, max) as u64
    } else {
        (x as u64).min(u64::MAX >> (64 - bits))
    }
}
#[inline(always)]
pub fn f32_to_int(a: u32, bits: u32, signed: bool, mode: Round) -> u64 {
    to_int(f32::from_bits(a) as f64, bits, signed, mode, if bits == 64 { 1 << 63 } else { 0 })
}
#[inline(always)]
pub fn f64_to_int(a: u64, bits: u32, signed: bool, mode: Round) -> u64 {
    let top = 1u64 << (bits - 1);
    to_int(f64::from_bits(a), bits, signed, mode, if signed { top.wrapping_neg() } else { top })
}
/// From f16 or bf16.
#[inline(always)]
pub fn half_to_int(a: u32, kind: Half, bits: u32, signed: bool, mode: Round) -> u64 {
    f32_to_int(half::widen(a, kind), bits, signed, mode)
}

/// `cvt.sat` between integers: the nearest value of the narrower type. `a` has been extended to 64 bits by its own type, whose
/// sign is `from_signed`.
#[inline(always)]
pub fn int_to_int_sat(a: u64, from_signed: bool, bits: u32, signed: bool) -> u64 {
    let x = if from_signed { a as i64 as i128 } else { a as i128 };
    let (min, max) = if signed { (-(1i128 << (bits - 1)), (1i128 << (bits - 1)) - 1) } else { (0, (1i128 << bits) - 1) };
    x.clamp(min, max) as u64
}

macro_rules! from_int {
    ($($name:ident $name64:ident $half:ident: $i:ty;)*) => {$(
        #[inline(always)]
        pub fn $name(a: $i, mode: Round) -> u32 {
            if mode == Round::Nearest { (a as f32).to_bits() } else { Exact::int(a as i128).round(F32, mode) as u32 }
        }
        #[inline(always)]
        pub fn $name64(a: $i, mode: Round) -> u64 {
            if mode == Round::Nearest { (a as f64).to_bits() } else { Exact::int(a as i128).round(F64, mode) }
        }
        /// To f16 or bf16, rounded once.
        #[inline]
        pub fn $half(a: $i, kind: Half, mode: Round) -> u32 {
            let f = if kind == Half::F16 { super::exact::F16 } else { super::exact::BF16 };
            Exact::int(a as i128).round(f, mode) as u32
        }
    )*};
}
from_int! {
    s32_to_f32 s32_to_f64 s32_to_half: i32;
    u32_to_f32 u32_to_f64 u32_to_half: u32;
    s64_to_f32 s64_to_f64 s64_to_half: i64;
    u64_to_f32 u64_to_f64 u64_to_half: u64;
}

/// `cvt.{ftz}{sat}.f32.f32` without rounding: flags alone.
#[inline(always)]
pub fn f32_flags(a: u32, ftz: bool, sat: bool) -> u32 {
    let a = if ftz { float::ftz(a) } else { f32_bits(f32::from_bits(a)) };
    if sat { float::sat(a) } else { a }
}

#[cfg(test)]
mod tests {
    use super::super::tests::samples;
    use super::*;

    const MODES: [Round; 4] = [Round::Nearest, Round::Zero, Round::Down, Round::Up];

    /// Against 128-bit integers.
    #[test]
    fn float_to_integer() {
        let mut cases = 0;
        for a in samples(64, 3000).chain((0..2000).map(|i| (f64::from(i) / 8.0 - 125.0).to_bits())) {
            let x = f64::from_bits(a);
            if !x.is_finite() {
                continue;
            }
            for mode in MODES {
                let exact = Exact::decode(a, F64).to_int(mode);
                for bits in [8, 16, 32, 64] {
                    let want = exact.clamp(-(1 << (bits - 1)), (1 << (bits - 1)) - 1) as i64;
                    assert_eq!(f64_to_int(a, bits, true, mode) as i64, want, "{x:e} {bits} {mode:?}");
                    let want = exact.clamp(0, (1i128 << bits) - 1) as u64;
                    assert_eq!(f64_to_int(a, bits, false, mode), want, "{x:e} {bits} {mode:?}");
                    let f = x as f32;
                    if f.is_finite() {
                        let exact = Exact::decode(f.to_bits() as u64, F32).to_int(mode);
                        let want = exact.clamp(0, (1i128 << bits) - 1) as u64;
                        assert_eq!(f32_to_int(f.to_bits(), bits, false, mode), want, "{f:e}");
                    }
                    cases += 1;
                }
            }
        }
        assert!(cases > 50_000);
        let (inf, nan) = (f32::INFINITY.to_bits(), f32::NAN.to_bits());
        assert_eq!(f32_to_int(inf, 32, true, Round::Zero), i32::MAX as u64);
        assert_eq!([f32_to_int(nan, 32, true, Round::Zero), f32_to_int(nan, 64, false, Round::Zero)], [0, 1 << 63]);
        assert_eq!(f64_to_int(f64::NAN.to_bits(), 32, true, Round::Zero) as u32, 1 << 31);
        assert_eq!(half_to_int(0xc100, Half::F16, 32, true, Round::Down) as i32, -3);
    }

    #[test]
    fn integer_to_float() {
        for a in samples(64, 3000) {
            for mode in MODES {
                let (f, g) = (f32::from_bits(s64_to_f32(a as i64, mode)), f64::from_bits(u64_to_f64(a, mode)));
                // Whole numbers again, exactly; compare with neighbours.
                let (near, x) = (a as i64 as f32, a as i64 as i128);
                match mode {
                    Round::Nearest => assert_eq!(f, near),
                    Round::Down => assert!(f as i128 == x || (f as i128) < x && f.next_up() as i128 > x),
                    Round::Up => assert!(f as i128 >= x && (x == f as i128 || (f.next_down() as i128) < x)),
                    Round::Zero => assert!((f as i128).abs() <= x.abs()),
                }
                if mode == Round::Down {
                    assert!(g as u128 == a as u128 || (g as u128) < a as u128 && g.next_up() as u128 > a as u128);
                }
            }
            let small = a as u16 as i32 - 32768;
            assert_eq!(
                s32_to_half(small, Half::F16, Round::Nearest),
                half::narrow((small as f32).to_bits(), Half::F16, Round::Nearest)
            );
            assert_eq!(s32_to_f32(small, Round::Up), (small as f32).to_bits());
        }
    }

    #[test]
    fn narrow_integers_and_flags() {
        assert_eq!(int_to_int_sat(300, true, 8, false), 255);
        assert_eq!(int_to_int_sat(-1i64 as u64, true, 8, false), 0);
        assert_eq!(int_to_int_sat(-200i64 as u64, true, 8, true) as i64, -128);
        assert_eq!(int_to_int_sat(u64::MAX, false, 64, true), i64::MAX as u64);
        assert_eq!(f32_integral((-2.5f32).to_bits(), Round::Nearest), (-2f32).to_bits());
        assert_eq!(f32_integral((-0.25f32).to_bits(), Round::Up), (-0f32).to_bits());
        assert_eq!(f32_flags(1, true, false), 0);
        assert_eq!(f32_flags(0xffff_0000, false, true), 0);
        assert_eq!(f64_to_f32(1e300f64.to_bits(), Round::Zero), f32::MAX.to_bits());
        assert_eq!(f32_to_f64(f32::NAN.to_bits() | 1 << 31), float::NAN64);
    }
}
