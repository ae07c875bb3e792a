//! f16, bf16 and tf32: conversions, and arithmetic with one rounding.
//!
//! A value is its 16 bits in the low half of a register; a pair (`.f16x2`, `.bf16x2`) has its first element in the low half. Sums
//! and products go through f32, which is exact enough that rounding twice cannot show (24 ≥ 2·11 + 2 bits); a fused
//! multiply-add is rounded once, from the exact value.

use super::Round;
use super::exact::{BF16, Exact, F16, F32, F64, Format};
use super::float;

/// The NaN of both 16-bit formats.
pub const NAN: u32 = 0x7fff;

/// The two 16-bit formats.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Half {
    F16,
    Bf16,
}

impl Half {
    const fn format(self) -> Format {
        match self {
            Half::F16 => F16,
            Half::Bf16 => BF16,
        }
    }
}

/// To f32, exactly.
#[inline(always)]
pub fn widen(a: u32, kind: Half) -> u32 {
    match kind {
        Half::Bf16 => float::f32_bits(f32::from_bits(a << 16)),
        Half::F16 => {
            let (sign, rest) = ((a & 0x8000) << 16, a & 0x7fff);
            match rest {
                0x7c01.. => float::NAN,
                0x7c00 => sign | 0x7f80_0000,
                // Counts of 2⁻²⁴, the least subnormal.
                0..0x400 => sign | (rest as f32 * 2f32.powi(-24)).to_bits(),
                _ => sign | (rest + ((127 - 15) << 10)) << 13,
            }
        }
    }
}

/// From f32, rounded.
#[inline(always)]
pub fn narrow(a: u32, kind: Half, mode: Round) -> u32 {
    let magnitude = a & 0x7fff_ffff;
    if magnitude > 0x7f80_0000 {
        return NAN;
    }
    let sign = a >> 16 & 0x8000;
    match kind {
        _ if magnitude == 0x7f80_0000 => sign | kind.format().infinity() as u32,
        _ if mode != Round::Nearest => Exact::decode(a as u64, F32).round(kind.format(), mode) as u32,
        // A carry out of the fraction raises the exponent, at the end to infinity: all as it should be.
        Half::Bf16 => (a + 0x7fff + (a >> 16 & 1)) >> 16,
        Half::F16 => match magnitude {
            0x4780_0000.. => sign | 0x7c00,
            // Adding ½ leaves counts of 2⁻²⁴ in the fraction, rounded by the addition.
            0..0x3880_0000 => sign | ((f32::from_bits(magnitude) + 0.5).to_bits() - 0.5f32.to_bits()),
            m => sign | (m + 0xfff + (m >> 13 & 1) - ((127 - 15) << 23)) >> 13,
        },
    }
}

/// From f64, rounded once.
#[inline]
pub fn narrow64(a: u64, kind: Half, mode: Round) -> u32 {
    let x = f64::from_bits(a);
    if x.is_finite() {
        Exact::decode(a, F64).round(kind.format(), mode) as u32
    } else if x.is_nan() {
        NAN
    } else {
        (a >> 63 << 15) as u32 | kind.format().infinity() as u32
    }
}

/// `.relu`: what is negative becomes +0; NaN stays.
#[inline(always)]
pub fn relu(a: u32) -> u32 {
    if a == NAN { NAN } else { a * (a & 0x8000 == 0) as u32 }
}

/// `.ftz` of f16.
#[inline(always)]
pub fn ftz(a: u32) -> u32 {
    if a & 0x7c00 == 0 { a & 0x8000 } else { a }
}

/// `.sat`: to [0, 1]; NaN becomes +0.
#[inline(always)]
pub fn sat(a: u32, kind: Half) -> u32 {
    narrow(float::sat(widen(a, kind)), kind, Round::Nearest)
}

macro_rules! through_f32 {
    ($($name:ident)*) => {$(
        #[inline(always)]
        pub fn $name(a: u32, b: u32, kind: Half) -> u32 {
            narrow(float::$name(widen(a, kind), widen(b, kind), Round::Nearest), kind, Round::Nearest)
        }
    )*};
}
through_f32!(add sub mul);

/// The smaller; NaN as for [`float::min`].
#[inline(always)]
pub fn min(a: u32, b: u32, nan: bool, kind: Half) -> u32 {
    narrow(float::min(widen(a, kind), widen(b, kind), nan), kind, Round::Nearest)
}
#[inline(always)]
pub fn max(a: u32, b: u32, nan: bool, kind: Half) -> u32 {
    narrow(float::max(widen(a, kind), widen(b, kind), nan), kind, Round::Nearest)
}

/// a·b + c, rounded once.
#[inline]
pub fn fma(a: u32, b: u32, c: u32, kind: Half) -> u32 {
    let f = kind.format();
    let special = |x: u32| x as u64 & f.infinity() == f.infinity();
    if special(a) || special(b) || special(c) {
        let [a, b, c] = [a, b, c].map(|x| widen(x, kind));
        return narrow(float::fma(a, b, c, Round::Nearest), kind, Round::Nearest);
    }
    let [a, b, c] = [a, b, c].map(|x| Exact::decode(x as u64, f));
    a.times(b).add(c, Round::Nearest).round(f, Round::Nearest) as u32
}

/// Both halves of a pair.
#[inline(always)]
pub fn x2(a: u32, f: impl Fn(u32) -> u32) -> u32 {
    f(a & 0xffff) | f(a >> 16) << 16
}
/// Both halves of two pairs.
#[inline(always)]
pub fn x2_2(a: u32, b: u32, f: impl Fn(u32, u32) -> u32) -> u32 {
    f(a & 0xffff, b & 0xffff) | f(a >> 16, b >> 16) << 16
}
/// Both halves of three pairs.
#[inline(always)]
pub fn x2_3(a: u32, b: u32, c: u32, f: impl Fn(u32, u32, u32) -> u32) -> u32 {
    f(a & 0xffff, b & 0xffff, c & 0xffff) | f(a >> 16, b >> 16, c >> 16) << 16
}

/// `cvt.rn.{f16x2,bf16x2}.f32 d, a, b`: a goes to the high half, b to the low one.
#[inline(always)]
pub fn pack(a: u32, b: u32, kind: Half) -> u32 {
    narrow(a, kind, Round::Nearest) << 16 | narrow(b, kind, Round::Nearest)
}

/// Bits of an f32 that a tensor core does not see.
pub const TF32_CUT: u32 = 0x1fff;

/// `a + up`, cut off; infinity and NaN stay what they are. Selections, so that lanes go side by side.
#[inline(always)]
fn tf32_rounded(a: u32, up: u32) -> u32 {
    let size = a & 0x7fff_ffff;
    let finite = a.wrapping_add(up) & !TF32_CUT; // a sum that overflows is not looked at
    let whole = if size == 0x7f80_0000 { a } else { finite };
    if size > 0x7f80_0000 { float::NAN } else { whole }
}

/// `cvt.rna.tf32.f32`: to 11 significant bits, ties away from zero.
#[inline(always)]
pub fn tf32_rna(a: u32) -> u32 {
    tf32_rounded(a, 0x1000)
}

/// `cvt.rn.tf32.f32`: ties to even.
#[inline(always)]
pub fn tf32_rn(a: u32) -> u32 {
    tf32_rounded(a, 0xfff + (a >> 13 & 1))
}

#[cfg(test)]
mod tests {
    use super::super::tests::samples;
    use super::*;

    const KINDS: [Half; 2] = [Half::F16, Half::Bf16];

    /// Every 16-bit number, by its definition.
    #[test]
    fn all_values() {
        for a in 0..0x1_0000u32 {
            for (kind, fraction, bias) in [(Half::F16, 10, 15), (Half::Bf16, 7, 127)] {
                let (exponent, m) = ((a & 0x7fff) >> fraction, a & ((1 << fraction) - 1));
                let sign = if a & 0x8000 != 0 { -1.0 } else { 1.0 };
                let full = (1 << (15 - fraction)) - 1;
                let m = m as f64 / f64::from(1 << fraction);
                let want = match exponent {
                    e if e == full => sign * if m == 0.0 { f64::INFINITY } else { f64::NAN },
                    0 => sign * m * 2f64.powi(1 - bias),
                    e => sign * (1.0 + m) * 2f64.powi(e as i32 - bias),
                };
                let got = widen(a, kind);
                assert_eq!(got, float::f32_bits(want as f32), "{kind:?} {a:04x}");
                let back = if want.is_nan() { NAN } else { a };
                assert_eq!(narrow(got, kind, Round::Nearest), back, "{kind:?} {a:04x}");
                assert_eq!(narrow64((f32::from_bits(got) as f64).to_bits(), kind, Round::Up), back);
            }
        }
    }

    /// The fast conversions against the exact core.
    #[test]
    fn narrowing() {
        for a in samples(32, 200_000) {
            let a = a as u32;
            for kind in KINDS {
                if f32::from_bits(a).is_finite() {
                    let want = Exact::decode(a as u64, F32).round(kind.format(), Round::Nearest) as u32;
                    assert_eq!(narrow(a, kind, Round::Nearest), want, "{kind:?} {a:08x}");
                }
            }
            // tf32 shares its exponents with f32, so a cut is a division of the bits.
            let x = f32::from_bits(a);
            if x.is_finite() {
                let (down, cut) = (a & !TF32_CUT, a & TF32_CUT);
                assert_eq!(tf32_rna(a), if cut >= 0x1000 { down + 0x2000 } else { down });
                let even = cut > 0x1000 || cut == 0x1000 && down >> 13 & 1 == 1;
                assert_eq!(tf32_rn(a), if even { down + 0x2000 } else { down });
            }
        }
        assert_eq!([tf32_rna(0xff80_0000), tf32_rna(0x7f80_0001), tf32_rn(0xffff_ffff)], [0xff80_0000, float::NAN, float::NAN]);
        assert_eq!(narrow(65519f32.to_bits(), Half::F16, Round::Nearest), 0x7bff);
        assert_eq!(narrow(65520f32.to_bits(), Half::F16, Round::Nearest), 0x7c00);
        assert_eq!(narrow(1e9f32.to_bits(), Half::F16, Round::Zero), 0x7bff);
    }

    /// Arithmetic against the exact core: f32 between must not show.
    #[test]
    fn arithmetic() {
        let mut cases = 0;
        for kind in KINDS {
            let f = kind.format();
            let near = |e: Exact| e.round(f, Round::Nearest) as u32;
            for a in samples(16, 3000) {
                for b in samples(16, 40) {
                    if a & f.infinity() == f.infinity() || b & f.infinity() == f.infinity() {
                        continue;
                    }
                    let (x, y) = (Exact::decode(a, f), Exact::decode(b, f));
                    let (a, b) = (a as u32, b as u32);
                    assert_eq!(add(a, b, kind), near(x.add(y, Round::Nearest)), "{kind:?} {a:04x} + {b:04x}");
                    assert_eq!(mul(a, b, kind), near(x.times(y)), "{kind:?} {a:04x} * {b:04x}");
                    cases += 1;
                }
            }
        }
        assert!(cases > 100_000);
        // 1 + 2⁻¹¹·(1 + 2⁻¹⁰): just above the tie that f32 and f64 would keep, too; and a case where f32 would lose the rest.
        let (one, tie) = (0x3c00, 0x1001);
        assert_eq!(fma(tie, one, one, Half::F16), 0x3c01);
        let tiny = 0x0001;
        assert_eq!(fma(0x1000, one, one, Half::F16), 0x3c00);
        assert_eq!(fma(tiny, tiny, one, Half::F16), one);
        assert_eq!(fma(0x7c00, 0x8000, one, Half::F16), NAN);
        assert_eq!(fma(0x7bff, 0x7bff, 0xfc00, Half::F16), 0xfc00);
    }

    #[test]
    fn flags_and_pairs() {
        assert_eq!([relu(0x8001), relu(0x3c00), relu(NAN), relu(0x8000)], [0, 0x3c00, NAN, 0]);
        assert_eq!([ftz(0x8001), ftz(0x3c00)], [0x8000, 0x3c00]);
        assert_eq!(sat(0x4000, Half::F16), 0x3c00);
        assert_eq!(pack(1f32.to_bits(), 2f32.to_bits(), Half::Bf16), 0x3f80_4000);
        assert_eq!(x2_2(0x3c00_4000, 0x3c00_3c00, |a, b| add(a, b, Half::F16)), 0x4000_4200);
        assert_eq!(min(NAN, 0x3c00, false, Half::F16), 0x3c00);
        assert_eq!(max(NAN, 0x3c00, true, Half::Bf16), NAN);
    }
}
