//! f32 and f64 arithmetic on register bits.
//!
//! Rounding to nearest is the host's own; other directions go through `exact`. A NaN result is the canonical one: the payload
//! of the host never shows. Subnormals are kept; `.ftz` is [`ftz`] around the operation.

use super::Round;
use super::exact::{Exact, F32, F64};

/// The NaN that f32 instructions return.
pub const NAN: u32 = 0x7fff_ffff;
/// The NaN that f64 instructions return.
pub const NAN64: u64 = 0x7fff_ffff_ffff_ffff;

#[inline(always)]
pub fn f32_bits(x: f32) -> u32 {
    if x.is_nan() { NAN } else { x.to_bits() }
}

#[inline(always)]
pub fn f64_bits(x: f64) -> u64 {
    if x.is_nan() { NAN64 } else { x.to_bits() }
}

/// `.ftz`: a subnormal becomes zero of the same sign.
#[inline(always)]
pub fn ftz(a: u32) -> u32 {
    if a & 0x7f80_0000 == 0 { a & 0x8000_0000 } else { a }
}

/// `.sat`: to [0, 1]; NaN and −0 become +0.
#[inline(always)]
pub fn sat(a: u32) -> u32 {
    let x = f32::from_bits(a);
    if x > 0.0 { x.min(1.0).to_bits() } else { 0 }
}

/// `.sat` for f64.
#[inline(always)]
pub fn sat64(a: u64) -> u64 {
    let x = f64::from_bits(a);
    if x > 0.0 { x.min(1.0).to_bits() } else { 0 }
}

macro_rules! arithmetic {
    ($f:ty, $u:ty, $bits:ident, $format:ident; $add:ident $sub:ident $mul:ident $div:ident $rcp:ident $sqrt:ident $fma:ident $min:ident $max:ident $pick:ident $nan:ident) => {
        #[inline(always)]
        pub fn $add(a: $u, b: $u, mode: Round) -> $u {
            let near = <$f>::from_bits(a) + <$f>::from_bits(b);
            // An infinite sum of finite numbers is an overflow, which rounding toward zero does not allow.
            if mode == Round::Nearest || !(<$f>::from_bits(a).is_finite() && <$f>::from_bits(b).is_finite()) {
                return $bits(near);
            }
            Exact::decode(a as u64, $format).add(Exact::decode(b as u64, $format), mode).round($format, mode) as $u
        }
        #[inline(always)]
        pub fn $sub(a: $u, b: $u, mode: Round) -> $u {
            $add(a, b ^ (1 << (<$u>::BITS - 1)), mode)
        }
        #[inline(always)]
        pub fn $mul(a: $u, b: $u, mode: Round) -> $u {
            if mode == Round::Nearest || !(<$f>::from_bits(a).is_finite() && <$f>::from_bits(b).is_finite()) {
                return $bits(<$f>::from_bits(a) * <$f>::from_bits(b));
            }
            Exact::decode(a as u64, $format).times(Exact::decode(b as u64, $format)).round($format, mode) as $u
        }
        #[inline(always)]
        pub fn $div(a: $u, b: $u, mode: Round) -> $u {
            let (x, y) = (<$f>::from_bits(a), <$f>::from_bits(b));
            if mode == Round::Nearest || !(x.is_finite() && y.is_finite()) || x == 0.0 || y == 0.0 {
                return $bits(x / y);
            }
            Exact::decode(a as u64, $format).over(Exact::decode(b as u64, $format)).round($format, mode) as $u
        }
        /// 1/a.
        #[inline(always)]
        pub fn $rcp(a: $u, mode: Round) -> $u {
            $div((1.0 as $f).to_bits(), a, mode)
        }
        #[inline(always)]
        pub fn $sqrt(a: $u, mode: Round) -> $u {
            let x = <$f>::from_bits(a);
            if mode == Round::Nearest || !(x > 0.0 && x.is_finite()) {
                return $bits(x.sqrt());
            }
            Exact::decode(a as u64, $format).sqrt().round($format, mode) as $u
        }
        /// a·b + c with one rounding. Inside a function with the `fma` feature this is one instruction; elsewhere a library call
        /// of the same result.
        #[inline(always)]
        pub fn $fma(a: $u, b: $u, c: $u, mode: Round) -> $u {
            let (x, y, z) = (<$f>::from_bits(a), <$f>::from_bits(b), <$f>::from_bits(c));
            if mode == Round::Nearest || !(x.is_finite() && y.is_finite() && z.is_finite()) {
                return $bits(x.mul_add(y, z));
            }
            let product = Exact::decode(a as u64, $format).times(Exact::decode(b as u64, $format));
            product.add(Exact::decode(c as u64, $format), mode).round($format, mode) as $u
        }
        /// The smaller; −0 < +0. A NaN loses to a number, or wins (`nan`, the `.NaN` modifier). (Selects, not branches: a loop
        /// over lanes becomes vector code.)
        #[inline(always)]
        pub fn $min(a: $u, b: $u, nan: bool) -> $u {
            let (x, y) = (<$f>::from_bits(a), <$f>::from_bits(b));
            let least = if x < y { a } else { b };
            let least = if x == y { a | b } else { least };
            $pick(a, b, least, nan)
        }
        /// The larger; NaN as for the smaller.
        #[inline(always)]
        pub fn $max(a: $u, b: $u, nan: bool) -> $u {
            let (x, y) = (<$f>::from_bits(a), <$f>::from_bits(b));
            let most = if x > y { a } else { b };
            let most = if x == y { a & b } else { most };
            $pick(a, b, most, nan)
        }
        #[inline(always)]
        fn $pick(a: $u, b: $u, number: $u, nan: bool) -> $u {
            let (no_a, no_b) = (<$f>::from_bits(a).is_nan(), <$f>::from_bits(b).is_nan());
            let one = if no_a {
                b
            } else if no_b {
                a
            } else {
                number
            };
            if no_a & no_b | (no_a | no_b) & nan { $nan } else { one }
        }
    };
}

arithmetic!(f32, u32, f32_bits, F32; add sub mul div rcp sqrt fma min max pick NAN);
arithmetic!(f64, u64, f64_bits, F64; add64 sub64 mul64 div64 rcp64 sqrt64 fma64 min64 max64 pick64 NAN64);

/// `|b|` with the sign of `a`: PTX's `copysign d, a, b`.
#[inline(always)]
pub fn copysign(a: u32, b: u32) -> u32 {
    a & 0x8000_0000 | b & 0x7fff_ffff
}

/// The sum that `atom.add.f32` and `red.add.f32` store: global memory flushes subnormal inputs and results, shared memory keeps
/// them.
#[inline(always)]
pub fn atomic_add(a: u32, b: u32, global: bool) -> u32 {
    if global { ftz(add(ftz(a), ftz(b), Round::Nearest)) } else { add(a, b, Round::Nearest) }
}

#[cfg(test)]
mod tests {
    use super::super::tests::samples;
    use super::*;

    const MODES: [Round; 4] = [Round::Nearest, Round::Zero, Round::Down, Round::Up];

    /// f32 against f64: sums and products of two f32 are exact in f64 where the exponents are near, and comparing is exact
    /// always.
    #[test]
    fn f32_directed() {
        let mut cases = 0;
        for a in samples(32, 600) {
            for b in samples(32, 60) {
                let (a, b) = (a as u32, b as u32);
                let (x, y) = (f32::from_bits(a), f32::from_bits(b));
                let exact = x as f64 * y as f64;
                let [near, zero, down, up] = MODES.map(|m| f32::from_bits(mul(a, b, m)));
                if exact.is_nan() {
                    assert!(MODES.iter().all(|&m| mul(a, b, m) == NAN));
                    continue;
                }
                // (An infinite operand is exact: all directions agree.)
                if x.is_finite() && y.is_finite() {
                    assert!(down as f64 <= exact && exact <= up as f64, "{x:e} · {y:e}");
                    assert!(down == up || down.next_up() == up, "{x:e} · {y:e}: {down:e}, {up:e}");
                    assert!(near == down || near == up);
                    assert_eq!(zero.to_bits(), if exact.is_sign_negative() { up } else { down }.to_bits());
                    cases += 1;
                }
                // Two-sum gives the error of the nearest sum exactly, so it says on which side the truth lies.
                let [near, _, down, up] = MODES.map(|m| f32::from_bits(add(a, b, m)));
                if near.is_finite() && x.is_finite() && y.is_finite() && near.abs() < 1e38 && x.abs().max(y.abs()) < 1e38 {
                    let t = near - x;
                    let error = (x - (near - t)) + (y - t);
                    let want = if error > 0.0 {
                        (near, near.next_up())
                    } else if error < 0.0 {
                        (near.next_down(), near)
                    } else {
                        (near, near)
                    };
                    assert_eq!((down, up), want, "{x:e} + {y:e}");
                }
            }
        }
        assert!(cases > 10_000, "{cases}");
    }

    /// One step of directed rounding beside the host's nearest: the residual of a quotient or a root says the side.
    #[test]
    fn quotients_and_roots() {
        for a in samples(32, 400) {
            for b in samples(32, 40) {
                let (a, b) = (a as u32, b as u32);
                let (x, y) = (f32::from_bits(a), f32::from_bits(b));
                assert_eq!(div(a, b, Round::Nearest), f32_bits(x / y));
                let (down, up) = (f32::from_bits(div(a, b, Round::Down)), f32::from_bits(div(a, b, Round::Up)));
                if !(x.is_finite() && y.is_finite() && y != 0.0) {
                    continue;
                }
                // 24-bit numbers: down·y is exact in f64.
                let (lo, hi) = if y > 0.0 { (down, up) } else { (up, down) };
                if lo.is_finite() && hi.is_finite() {
                    assert!(lo as f64 * y as f64 <= x as f64 && x as f64 <= hi as f64 * y as f64, "{x:e} / {y:e}");
                }
                assert!(down == up || down.next_up() == up, "{x:e} / {y:e}: {down:e} {up:e}");
            }
            let x = f32::from_bits(a as u32);
            if x > 0.0 && x.is_finite() {
                let [near, zero, down, up] = MODES.map(|m| f32::from_bits(sqrt(a as u32, m)));
                assert!(down as f64 * down as f64 <= x as f64 && x as f64 <= up as f64 * up as f64);
                assert!(zero == down && (down == up || down.next_up() == up) && near == x.sqrt());
            }
        }
        assert_eq!(sqrt((-1f32).to_bits(), Round::Down), NAN);
        assert_eq!(sqrt(1 << 31, Round::Up), 1 << 31);
        assert_eq!(rcp(0, Round::Down), f32::INFINITY.to_bits());
    }

    #[test]
    fn fma_directed() {
        for (i, a) in samples(32, 500).enumerate() {
            for b in samples(32, 20) {
                let (a, b) = (a as u32, b as u32);
                let c = (a.rotate_left(9) ^ b).wrapping_mul(0x9E37_79B9).rotate_left(i as u32);
                // c near the product as well: the hard cases cancel.
                for c in [c, f32_bits(-(f32::from_bits(a) * f32::from_bits(b)))] {
                    let (x, y, z) = (f32::from_bits(a), f32::from_bits(b), f32::from_bits(c));
                    assert_eq!(fma(a, b, c, Round::Nearest), f32_bits(x.mul_add(y, z)));
                    if !(x.is_finite() && y.is_finite() && z.is_finite()) {
                        continue;
                    }
                    let [near, zero, down, up] = MODES.map(|m| f32::from_bits(fma(a, b, c, m)));
                    assert!(down == up || down.next_up() == up, "{x:e} {y:e} {z:e}");
                    assert!(near == down || near == up, "{x:e} {y:e} {z:e}");
                    assert!(zero == down || zero == up);
                    // x·y is exact in f64; the difference to z is exact when it cancels, and has the right sign always.
                    let rest = (x as f64 * y as f64 - down as f64) + z as f64;
                    if down.is_finite() && (x as f64 * y as f64 + z as f64).abs() > 1e-30 {
                        assert!(rest >= -1e-9 * (down.abs() as f64 + z.abs() as f64), "{x:e} {y:e} {z:e}");
                    }
                }
            }
        }
        // 1 + 2⁻²⁴ · 2⁻²⁴ is just above 1, in f32 and in f64.
        let (one, tiny) = (1f32.to_bits(), 2f32.powi(-24).to_bits());
        assert_eq!(fma(tiny, tiny, one, Round::Up), one + 1);
        assert_eq!(fma(tiny, tiny | 1 << 31, one, Round::Zero), one - 1);
        assert_eq!(fma(tiny, tiny, one, Round::Down), one);
        let (one, tiny) = (1f64.to_bits(), 2f64.powi(-200).to_bits());
        assert_eq!(fma64(tiny, tiny, one, Round::Up), one + 1);
        assert_eq!(fma64(tiny, tiny | 1 << 63, one, Round::Down), one - 1);
        assert_eq!(fma64(tiny, tiny, one, Round::Nearest), one);
    }

    #[test]
    fn extremes_and_flags() {
        let (zero, minus, one, nan) = (0u32, 1u32 << 31, 1f32.to_bits(), 0xffc1_2345);
        assert_eq!((min(zero, minus, false), max(minus, zero, false)), (minus, zero));
        assert_eq!((min(nan, one, false), max(one, nan, false)), (one, one));
        assert_eq!((min(nan, one, true), max(one, nan, true), max(nan, nan, false)), (NAN, NAN, NAN));
        assert_eq!((min64(0, 1 << 63, false), max64(NAN64, 0, true), max64(NAN64, 0, false)), (1 << 63, NAN64, 0));
        assert_eq!((sat(nan), sat(minus), sat(2f32.to_bits()), sat(0.25f32.to_bits())), (0, 0, one, 0.25f32.to_bits()));
        assert_eq!((ftz(1), ftz(0x8000_0001), ftz(0x0080_0000)), (0, 1 << 31, 0x0080_0000));
        assert_eq!(add(f32::INFINITY.to_bits(), f32::NEG_INFINITY.to_bits(), Round::Zero), NAN);
        assert_eq!(add(f32::MAX.to_bits(), f32::MAX.to_bits(), Round::Zero), f32::MAX.to_bits());
        assert_eq!((add(one, one | minus, Round::Nearest), add(one, one | minus, Round::Down)), (0, minus));
        assert_eq!((atomic_add(1, 1, false), atomic_add(1, 1, true)), (2, 0));
        assert_eq!(copysign(minus, one), one | minus);
    }
}
