//! Numbers of eight bits (e4m3, e5m2), results that stop at the largest finite value, and integers packed below 16 bits.

use super::Round;
use super::half::{self, Half};

/// A format of eight bits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Eight {
    /// Four bits of exponent and three of fraction; no infinity, and one NaN of each sign.
    E4m3,
    /// Five bits of exponent and two of fraction: the upper half of an f16.
    E5m2,
}

impl Eight {
    /// Bits of the fraction, least exponent of a normal number, largest number.
    const fn limits(self) -> (i32, i32, f64) {
        match self {
            Eight::E4m3 => (3, -6, 448.0),
            Eight::E5m2 => (2, -14, 57344.0),
        }
    }

    /// The nearest value, ties to even; beyond the largest it stops there. With `relu`, what is negative becomes zero.
    pub fn encode(self, x: f64, relu: bool) -> u32 {
        const NAN: u32 = 0x7f;
        if x.is_nan() {
            return NAN;
        }
        if relu && x.is_sign_negative() {
            return 0;
        }
        let (digits, least, most) = self.limits();
        let sign = if x.is_sign_negative() { 0x80 } else { 0 };
        let x = x.abs().min(2.0 * most);
        // A power of two, so that all steps are exact.
        let e = if x == 0.0 { least } else { (((x.to_bits() >> 52) as i32) - 1023).max(least) };
        let unit = 2f64.powi(e - digits);
        let n = ((x / unit).round_ties_even() * unit).min(most);
        let e = if n == 0.0 { least } else { (((n.to_bits() >> 52) as i32) - 1023).max(least) };
        let steps = (n / 2f64.powi(e - digits)) as u32;
        // The hidden bit of a normal number adds one to the field of the exponent.
        sign | ((((e - least) as u32) << digits) + steps)
    }

    /// As f16 bits, exactly.
    pub fn decode(self, x: u32) -> u32 {
        let sign = (x & 0x80) << 8;
        let rest = x & 0x7f;
        match self {
            Eight::E5m2 if rest > 0x7c => 0x7fff,
            Eight::E5m2 => sign | rest << 8,
            Eight::E4m3 if rest == 0x7f => 0x7fff,
            // The bias is 7, that of f16 is 15.
            Eight::E4m3 if rest >= 8 => sign | ((rest << 7) + (8 << 10)),
            Eight::E4m3 => {
                // rest · 2⁻⁹, a normal f16 or zero.
                let x = half::narrow((rest as f32 / 512.0).to_bits(), Half::F16, Round::Nearest);
                sign | x
            }
        }
    }
}

/// An infinity becomes the largest number.
pub fn finite_half(x: u32, kind: Half) -> u32 {
    let infinity = if kind == Half::F16 { 0x7c00 } else { 0x7f80 };
    if x & 0x7fff == infinity { x - 1 } else { x }
}

/// `cvt.tf32.f32` by cutting (`.rz`); NaN is the canonical one.
pub fn tf32_rz(a: u32) -> u32 {
    if f32::from_bits(a).is_nan() { 0x7fff_ffff } else { a & !half::TF32_CUT }
}

/// A tf32 infinity becomes the largest number.
pub fn finite_tf32(x: u32) -> u32 {
    if x & 0x7fff_ffff == 0x7f80_0000 { (x & 1 << 31) | 0x7f7f_e000 } else { x }
}

/// A 32-bit integer to `bits`, at the limits of the type.
pub fn saturated(x: u32, from_signed: bool, bits: u32, signed: bool) -> u32 {
    let x = if from_signed { x as i32 as i64 } else { x as i64 };
    let x = if signed { x.clamp(-1 << (bits - 1), (1 << (bits - 1)) - 1) } else { x.clamp(0, (1 << bits) - 1) };
    x as u32 & (!0 >> (32 - bits))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(kind: Eight, code: u32) -> f64 {
        f32::from_bits(half::widen(kind.decode(code), Half::F16)) as f64
    }

    #[test]
    fn every_code_comes_back() {
        for kind in [Eight::E4m3, Eight::E5m2] {
            for code in 0..256 {
                let x = value(kind, code);
                if x.is_nan() {
                    assert_eq!(kind.encode(x, false), 0x7f, "{kind:?} {code:#x}");
                } else if x.is_finite() {
                    assert_eq!(kind.encode(x, false), code, "{kind:?} {code:#x} = {x}");
                }
            }
        }
        // By the tables of the formats (OCP, "8-bit floating point").
        assert_eq!(
            [value(Eight::E4m3, 0x7e), value(Eight::E4m3, 1), value(Eight::E4m3, 8)],
            [448.0, 2f64.powi(-9), 2f64.powi(-6)]
        );
        assert_eq!(
            [value(Eight::E5m2, 0x7b), value(Eight::E5m2, 1), value(Eight::E5m2, 4)],
            [57344.0, 2f64.powi(-16), 2f64.powi(-14)]
        );
        assert!(value(Eight::E5m2, 0x7c).is_infinite() && value(Eight::E4m3, 0x7f).is_nan());
    }

    #[test]
    fn between_the_codes() {
        for kind in [Eight::E4m3, Eight::E5m2] {
            let (_, _, most) = kind.limits();
            let top = kind.encode(most, false);
            for code in 0..top {
                let (lo, hi) = (value(kind, code), value(kind, code + 1));
                let middle = (lo + hi) / 2.0;
                assert_eq!(kind.encode(middle, false), if code % 2 == 0 { code } else { code + 1 });
                assert_eq!(
                    [kind.encode(middle - middle * 1e-9, false), kind.encode(middle + middle * 1e-9, false)],
                    [code, code + 1]
                );
                assert_eq!(kind.encode(-hi, true), 0);
            }
            assert_eq!([kind.encode(1e30, false), kind.encode(f64::NEG_INFINITY, false)], [top, top | 0x80]);
        }
    }
}
