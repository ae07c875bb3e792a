//! The functions that PTX only bounds: `ex2.approx`, `lg2.approx`, `rcp.approx`, `rsqrt.approx`, `sqrt.approx`, `sin.approx`,
//! `cos.approx`, `tanh.approx`, `div.approx`, `div.full`.
//!
//! The central value is the function in f64, rounded to f32. Hardware gives some value within a bound of that, and a kernel that
//! is right only for the central value is right by luck: [`Approx::Within`] gives values spread over the bound, one for each
//! argument, function and seed. The corner cases (0, ∞, NaN, negative numbers) are fixed by tables of the ISA and the same in
//! both modes. Bounds and tables: PTX ISA, "Floating Point Instructions" and "Half Precision Floating Point Instructions".
//!
//! Powers of two are the same in both modes, too ([`Function::is_exact`]): the bounds would allow another value, but every GPU
//! gives the exact one, and libdevice scales by `ex2.approx` of whole numbers.

use super::Round;
use super::float::{NAN, f32_bits, ftz};
use super::half::{self, Half};

/// Which value inside the bound.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Approx {
    #[default]
    Central,
    /// Spread over the bound by a seed.
    Within(u64),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Function {
    Ex2,
    Lg2,
    Rcp,
    Rsqrt,
    Sqrt,
    Sin,
    Cos,
    Tanh,
}

impl Function {
    pub const ALL: [Function; 8] = [
        Function::Ex2,
        Function::Lg2,
        Function::Rcp,
        Function::Rsqrt,
        Function::Sqrt,
        Function::Sin,
        Function::Cos,
        Function::Tanh,
    ];

    #[inline(always)]
    fn value(self, x: f64) -> f64 {
        match self {
            Function::Ex2 => x.exp2(),
            Function::Lg2 => x.log2(),
            Function::Rcp => 1.0 / x,
            Function::Rsqrt => 1.0 / x.sqrt(),
            Function::Sqrt => x.sqrt(),
            Function::Sin => x.sin(),
            Function::Cos => x.cos(),
            Function::Tanh => x.tanh(),
        }
    }

    /// How far from the value `y` at `x` a result may be.
    pub fn bound(self, x: f64, y: f64) -> f64 {
        use std::f64::consts::PI;
        match self {
            Function::Ex2 => 2.0 * ulp(y),
            Function::Rcp => ulp(y),
            Function::Lg2 if x > 0.5 && x < 2.0 => 2f64.powi(-22),
            Function::Lg2 => y.abs() * 2f64.powi(-22),
            Function::Rsqrt => y.abs() * 2f64.powf(-22.9),
            Function::Sqrt => y.abs() * 2f64.powi(-23),
            Function::Sin | Function::Cos if x.abs() <= 2.0 * PI => 2f64.powf(-20.5),
            // The ISA promises nothing beyond 100π; the last promise is the least that can be wrong there.
            Function::Sin | Function::Cos => 2f64.powf(-14.7),
            Function::Tanh => y.abs() * 2f64.powi(-11),
        }
    }

    /// Whether every GPU gives the function's value at `x` exactly: powers of two, of which the hardware's tables of fractions
    /// hold the first entry, and whole numbers, of which they see no fraction.
    pub fn is_exact(self, x: f64) -> bool {
        match self {
            Function::Ex2 => x == x.trunc(),
            Function::Lg2 => x > 0.0 && power_of_two(x).is_some(),
            Function::Rcp => power_of_two(x).is_some(),
            Function::Sqrt | Function::Rsqrt => x > 0.0 && power_of_two(x).is_some_and(|e| e % 2 == 0),
            Function::Sin | Function::Cos | Function::Tanh => false,
        }
    }

    /// The largest magnitude that the function has.
    fn ceiling(self) -> f64 {
        match self {
            Function::Sin | Function::Cos | Function::Tanh => 1.0,
            _ => f64::INFINITY,
        }
    }
}

/// The exponent e of ±2^e; none for any other number.
fn power_of_two(x: f64) -> Option<i32> {
    let (field, fraction) = ((x.to_bits() >> 52 & 0x7ff) as i32, x.to_bits() & ((1 << 52) - 1));
    match field {
        0x7ff => None,
        0 => fraction.is_power_of_two().then(|| fraction.ilog2() as i32 - 1074),
        _ => (fraction == 0).then_some(field - 1023),
    }
}

/// The distance of f32 numbers at `y`.
fn ulp(y: f64) -> f64 {
    let exponent = (y.to_bits() >> 52 & 0x7ff) as i32 - 1023;
    2f64.powi(exponent.max(-126) - 23)
}

/// A number in [−1, 1] that depends on nothing but its arguments.
fn spread(seed: u64, function: u64, a: u64) -> f64 {
    let mut z = seed ^ a.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ function << 56;
    z = (z ^ z >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ z >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
    ((z ^ z >> 31) as i64 >> 11) as f64 / 2f64.powi(52)
}

/// `y` rounded, or another number within `bound` of it unless it is `exact`. `ulp` is the distance of numbers at y.
#[inline(always)]
fn near(
    y: f64,
    bound: f64,
    ulp: f64,
    mode: Approx,
    key: (u64, u64),
    exact: impl Fn() -> bool,
    round: impl Fn(f64) -> (u32, f64),
) -> u32 {
    if let Approx::Within(seed) = mode
        && !exact()
    {
        let (bits, d) = round(y + (bound - 0.5 * ulp).max(0.0) * spread(seed, key.0, key.1));
        // (Beyond a power of two numbers lie twice as far apart, and rounding can leave the bound.)
        if (d - y).abs() <= bound {
            return bits;
        }
    }
    round(y).0
}

fn round_f32(y: f64) -> (u32, f64) {
    (f32_bits(y as f32), y as f32 as f64)
}

/// One argument, f32.
pub fn f32(f: Function, a: u32, flush: bool, mode: Approx) -> u32 {
    let a = if flush { ftz(a) } else { a };
    let x = f32::from_bits(a);
    let y = f.value(x as f64);
    // What the ISA's tables fix: zeros, infinities, NaN, and the numbers without a logarithm or a root. IEEE functions in f64 say
    // the same, but for the logarithm and the reciprocal root of −0.
    if x == 0.0 || !x.is_finite() || !y.is_finite() {
        return match f {
            Function::Rsqrt if x == 0.0 => a | 0x7f80_0000,
            _ => f32_bits(y as f32),
        };
    }
    let top = f.ceiling();
    let (bound, exact) = (f.bound(x as f64, y), || f.is_exact(x as f64));
    let d = near(y, bound, ulp(y), mode, (f as u64, a as u64), exact, |y| round_f32(y.clamp(-top, top)));
    if flush { ftz(d) } else { d }
}

/// `ex2.approx` and `tanh.approx` of f16 and bf16. (`ex2` of bf16 flushes subnormals.)
pub fn half(f: Function, a: u32, kind: Half, mode: Approx) -> u32 {
    let flush = f == Function::Ex2 && kind == Half::Bf16;
    let wide = half::widen(a, kind);
    let wide = if flush { ftz(wide) } else { wide };
    let x = f32::from_bits(wide);
    let y = f.value(x as f64);
    if x == 0.0 || !x.is_finite() {
        return half::narrow64(y.to_bits(), kind, Round::Nearest);
    }
    let bound = match (f, kind) {
        (Function::Tanh, Half::F16) => 2f64.powf(-10.987),
        (Function::Tanh, Half::Bf16) => 2f64.powi(-8),
        (_, Half::F16) => y.abs() * 2f64.powf(-9.9),
        (_, Half::Bf16) => y.abs() * 2f64.powi(-7),
    };
    let (digits, least) = if kind == Half::F16 { (10, -14) } else { (7, -126) };
    let exponent = (y.to_bits() >> 52 & 0x7ff) as i32 - 1023;
    let ulp = 2f64.powi(exponent.max(least) - digits);
    let top = f.ceiling();
    let d = near(
        y,
        bound,
        ulp,
        mode,
        (f as u64 + 16, a as u64),
        || f.is_exact(x as f64),
        |y| {
            let bits = half::narrow64(y.clamp(-top, top).to_bits(), kind, Round::Nearest);
            (bits, f32::from_bits(half::widen(bits, kind)) as f64)
        },
    );
    if flush && d & 0x7f80 == 0 { d & 0x8000 } else { d }
}

/// a/b, both finite, b not zero.
fn quotient(a: u32, b: u32, mode: Approx, function: u64) -> u32 {
    let y = f32::from_bits(a) as f64 / f32::from_bits(b) as f64;
    if y == 0.0 {
        return f32_bits(y as f32);
    }
    // A division multiplies by the reciprocal, which is exact for a power of two; so is the product, unless it is subnormal and
    // loses bits. (Of a power of two, no other divisor has an exact quotient.)
    let exact = || power_of_two(f32::from_bits(b) as f64).is_some() && round_f32(y).1 == y;
    near(y, 2.0 * ulp(y), ulp(y), mode, (function, (a as u64) << 32 | b as u64), exact, round_f32)
}

/// `div.approx`: within 2 ulp for 2⁻¹²⁶ ≤ |b| ≤ 2¹²⁶; for a larger b its reciprocal is 0.
pub fn div(a: u32, b: u32, flush: bool, mode: Approx) -> u32 {
    let (a, b) = if flush { (ftz(a), ftz(b)) } else { (a, b) };
    let (x, y) = (f32::from_bits(a), f32::from_bits(b));
    let d = if y.is_finite() && y.abs() > 2f32.powi(126) {
        if x.is_finite() { (a ^ b) & 0x8000_0000 } else { NAN }
    } else if !(x.is_finite() && y.is_finite()) || x == 0.0 || y == 0.0 {
        f32_bits(x / y)
    } else {
        quotient(a, b, mode, 32)
    };
    if flush { ftz(d) } else { d }
}

/// `div.full`: within 2 ulp everywhere.
pub fn div_full(a: u32, b: u32, flush: bool, mode: Approx) -> u32 {
    let (a, b) = if flush { (ftz(a), ftz(b)) } else { (a, b) };
    let (x, y) = (f32::from_bits(a), f32::from_bits(b));
    let d = if !(x.is_finite() && y.is_finite()) || x == 0.0 || y == 0.0 { f32_bits(x / y) } else { quotient(a, b, mode, 33) };
    if flush { ftz(d) } else { d }
}

#[cfg(test)]
mod tests {
    use super::super::tests::samples;
    use super::*;

    /// The tables of the ISA, one row for each of −∞, −1, −least, −0, +0, +∞, NaN.
    #[test]
    fn corner_cases() {
        let inputs = [f32::NEG_INFINITY, -1.0, -f32::from_bits(1), -0.0, 0.0, f32::INFINITY, f32::NAN].map(f32::to_bits);
        let (inf, minus, nan, one) = (f32::INFINITY, f32::NEG_INFINITY, f32::NAN, 1f32);
        // Without and with .ftz, where a subnormal is a zero.
        let table = [
            (Function::Ex2, [0.0, 0.5, 1.0, 1.0, 1.0, inf, nan], 1.0),
            (Function::Lg2, [nan, nan, nan, minus, minus, inf, nan], minus),
            (Function::Rcp, [-0.0, -1.0, minus, minus, inf, 0.0, nan], minus),
            (Function::Rsqrt, [nan, nan, nan, minus, inf, 0.0, nan], minus),
            (Function::Sqrt, [nan, nan, nan, -0.0, 0.0, inf, nan], -0.0),
            (Function::Sin, [nan, -0.841_470_98, -f32::from_bits(1), -0.0, 0.0, nan, nan], -0.0),
            (Function::Cos, [nan, 0.540_302_3, 1.0, one, one, nan, nan], 1.0),
            (Function::Tanh, [-1.0, -0.761_594_2, -f32::from_bits(1), -0.0, 0.0, 1.0, nan], -0.0),
        ];
        for (f, want, flushed) in table {
            for (i, (&a, want)) in inputs.iter().zip(want).enumerate() {
                assert_eq!(f32(f, a, false, Approx::Central), f32_bits(want), "{f:?} of {:e}", f32::from_bits(a));
                let want = if i == 2 { flushed } else { want };
                assert_eq!(f32(f, a, true, Approx::Central), f32_bits(want), "{f:?} of {:e}, ftz", f32::from_bits(a));
                if i != 1 && i != 2 {
                    assert_eq!(f32(f, a, false, Approx::Within(3)), f32_bits(want), "{f:?} of {:e}", f32::from_bits(a));
                }
            }
        }
        let div = |a: f32, b: f32| f32::from_bits(div(a.to_bits(), b.to_bits(), false, Approx::Within(1)));
        assert_eq!((div(1.0, 2f32.powi(127)), div(1.0, 0.0), div(0.0, -5.0).to_bits()), (0.0, inf, 1 << 31));
        assert!(div(inf, 2f32.powi(127)).is_nan() && div(0.0, 0.0).is_nan());
        let full = |a: f32, b: f32| f32::from_bits(div_full(a.to_bits(), b.to_bits(), false, Approx::Central));
        assert_eq!(full(2f32.powi(120), 2f32.powi(127)), 2f32.powi(-7));
        assert_eq!(half(Function::Tanh, 0x7c00, Half::F16, Approx::Within(9)), 0x3c00);
        assert_eq!(half(Function::Ex2, 0x8000, Half::F16, Approx::Within(9)), 0x3c00);
        assert_eq!(half(Function::Ex2, 0x0001, Half::Bf16, Approx::Central), 0x3f80);
        assert_eq!(half(Function::Tanh, 0x7e00, Half::F16, Approx::Central), half::NAN);
    }

    /// Perturbed results stay inside the bound, use most of it, and are a function of seed and argument.
    #[test]
    fn perturbed_within_bounds() {
        for f in Function::ALL {
            let (mut inside, mut most, mut moved) = (0u32, 0f64, 0u32);
            let near_one = (0..3000).map(|i| (i as f32 * 0.003 + 0.001).to_bits() as u64);
            for a in samples(32, 3000).chain(near_one) {
                let x = f32::from_bits(a as u32);
                let y = f.value(x as f64);
                let d = f32(f, a as u32, false, Approx::Within(11));
                assert_eq!(d, f32(f, a as u32, false, Approx::Within(11)));
                let got = f32::from_bits(d) as f64;
                // (At the ends of the range the rounding to ∞ or to 0 is the format's, not the function's.)
                if !x.is_finite() || x == 0.0 || !y.is_finite() || y.abs() > 3.4e38 || y.abs() < 1e-44 {
                    continue;
                }
                let share = (got - y).abs() / f.bound(x as f64, y);
                // tanh of a subnormal cannot be nearer than half a subnormal.
                assert!(share <= 1.0 + 1e-9 || (got - y).abs() <= 0.5 * ulp(y), "{f:?}({x:e}) = {got:e}, is {y:e}");
                if y.abs() > 1e-37 {
                    most = most.max(share);
                }
                inside += 1;
                moved += (d != f32(f, a as u32, false, Approx::Within(12))) as u32;
            }
            assert!(inside > 1500, "{f:?}: {inside}");
            assert!(most > 0.8, "{f:?}: {most}");
            assert!(moved > inside / 5, "{f:?}: {moved} of {inside}");
        }
    }

    /// What every GPU gives exactly, with any seed; and that the neighbours of these arguments move.
    #[test]
    fn powers_of_two_stay() {
        let p = |e: i32| 2f64.powi(e) as f32;
        let two = |f: Function, x: f32, want: f32| {
            for seed in 0..20 {
                for flush in [false, true] {
                    let flushed = |v: f32| if flush { f32::from_bits(ftz(v.to_bits())) } else { v };
                    let got = f32(f, x.to_bits(), flush, Approx::Within(seed));
                    // A flushed argument is a zero, of which the tables speak.
                    if flushed(x) == x {
                        assert_eq!(got, flushed(want).to_bits(), "{f:?} of {x:e}");
                    }
                }
            }
        };
        for e in -149..=127 {
            two(Function::Ex2, e as f32, p(e));
            two(Function::Lg2, p(e), e as f32);
            for sign in [1.0, -1.0] {
                two(Function::Rcp, sign * p(e), sign * (1.0 / p(e) as f64) as f32);
            }
            if e % 2 == 0 {
                two(Function::Sqrt, p(e), p(e / 2));
                two(Function::Rsqrt, p(e), p(-e / 2));
            }
            for a in [1.0f32, -3.0, 1.999_999_9, 1e-30, 12345.678] {
                let q = a as f64 / p(e) as f64;
                if q as f32 as f64 == q {
                    for seed in 0..5 {
                        let quotient =
                            |f: fn(u32, u32, bool, Approx) -> u32| f(a.to_bits(), p(e).to_bits(), false, Approx::Within(seed));
                        assert_eq!(quotient(div_full), (q as f32).to_bits(), "{a} / 2^{e}");
                        if e <= 126 {
                            assert_eq!(quotient(div), (q as f32).to_bits(), "{a} / 2^{e}");
                        }
                    }
                }
            }
        }
        let half = |x: f64, kind| half::narrow64(x.to_bits(), kind, Round::Nearest);
        for (kind, least) in [(Half::F16, -24), (Half::Bf16, -126)] {
            for e in least..=15 {
                for seed in 0..20 {
                    let got = super::half(Function::Ex2, half(e as f64, kind), kind, Approx::Within(seed));
                    assert_eq!(got, half(2f64.powi(e), kind), "{kind:?} {e}");
                }
            }
        }
        let moved = |f: Function, x: f32| {
            (0..50).any(|s| f32(f, x.to_bits(), false, Approx::Within(s)) != f32(f, x.to_bits(), false, Approx::Central))
        };
        for f in [Function::Ex2, Function::Lg2, Function::Rcp, Function::Sqrt, Function::Rsqrt] {
            assert!(moved(f, 3.1), "{f:?}");
        }
        assert!(
            moved(Function::Sqrt, 2.0) && moved(Function::Rsqrt, 8.0) && moved(Function::Rcp, 3.0) && moved(Function::Lg2, 3.0)
        );
    }

    #[test]
    fn perturbed_quotients_and_halves() {
        let mut moved = 0;
        for (a, b) in samples(32, 3000).zip(samples(32, 3000).skip(5)) {
            let (x, y) = (f32::from_bits(a as u32), f32::from_bits(b as u32));
            let q = x as f64 / y as f64;
            if q.is_finite() && q.abs() < 1e38 && q.abs() > 1e-37 {
                for (d, full) in
                    [div, div_full].map(|f| f(a as u32, b as u32, false, Approx::Within(5))).iter().zip([false, true])
                {
                    if full || y.abs() <= 2f32.powi(126) {
                        assert!((f32::from_bits(*d) as f64 - q).abs() <= 2.0 * ulp(q), "{x:e}/{y:e}");
                        moved += (*d != f32_bits(q as f32)) as u32;
                    }
                }
            }
        }
        assert!(moved > 1000, "{moved}");
        for a in (0..0x8000).step_by(7) {
            let x = f32::from_bits(half::widen(a, Half::F16)) as f64;
            if x.is_finite() {
                let d = f32::from_bits(half::widen(half(Function::Tanh, a, Half::F16, Approx::Within(2)), Half::F16)) as f64;
                assert!((d - x.tanh()).abs() <= 2f64.powf(-10.987), "{x}");
            }
        }
    }
}
