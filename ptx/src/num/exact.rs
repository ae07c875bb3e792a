//! Numbers held exactly, rounded once: the common core of every operation whose rounding the host has no instruction for.
//!
//! A finite value is `± sig · 2^exp` with 128 bits of significand. Products of two 53-bit numbers fit. Sums, quotients and
//! roots keep at least 100 leading bits, and what was cut off is remembered in the lowest bit ("sticky"), which is all that
//! rounding to 53 bits or fewer, in any direction, needs to know.

use super::Round;

/// A binary floating-point format of IEEE 754.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Format {
    /// Bits of storage.
    pub bits: u32,
    /// Bits of the significand, the hidden one included.
    pub precision: u32,
}

pub const F16: Format = Format { bits: 16, precision: 11 };
pub const BF16: Format = Format { bits: 16, precision: 8 };
pub const F32: Format = Format { bits: 32, precision: 24 };
pub const F64: Format = Format { bits: 64, precision: 53 };

impl Format {
    const fn bias(self) -> i32 {
        (1 << (self.bits - self.precision - 1)) - 1
    }
    const fn sign(self) -> u64 {
        1 << (self.bits - 1)
    }
    /// The bits of infinity: exponent all ones, fraction zero.
    pub const fn infinity(self) -> u64 {
        self.sign() - (1 << (self.precision - 1))
    }
    /// The NaN that every instruction returns: all ones but the sign.
    pub const fn nan(self) -> u64 {
        self.sign() - 1
    }
}

/// A finite number, `± sig · 2^exp`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Exact {
    pub negative: bool,
    pub sig: u128,
    pub exp: i32,
}

/// `x >> n`, with the lowest bit set if a bit was lost.
#[inline(always)]
fn shift_sticky(x: u128, n: u32) -> u128 {
    if n == 0 {
        x
    } else if n < 128 {
        x >> n | (x << (128 - n) != 0) as u128
    } else {
        (x != 0) as u128
    }
}

impl Exact {
    pub const fn int(x: i128) -> Exact {
        Exact { negative: x < 0, sig: x.unsigned_abs(), exp: 0 }
    }

    /// The value of `bits`, which must be finite.
    #[inline]
    pub const fn decode(bits: u64, f: Format) -> Exact {
        let fraction = bits & ((1 << (f.precision - 1)) - 1);
        let field = ((bits & f.infinity()) >> (f.precision - 1)) as i32;
        let hidden = if field > 0 { 1 << (f.precision - 1) } else { 0 };
        let exp = if field > 0 { field } else { 1 } - f.bias() - (f.precision as i32 - 1);
        Exact { negative: bits & f.sign() != 0, sig: (fraction | hidden) as u128, exp }
    }

    /// The nearest number of format `f` in direction `mode`: subnormals, overflow and all.
    #[inline(never)]
    pub fn round(self, f: Format, mode: Round) -> u64 {
        let sign = if self.negative { f.sign() } else { 0 };
        if self.sig == 0 {
            return sign;
        }
        let away = match mode {
            Round::Nearest | Round::Zero => false,
            Round::Down => self.negative,
            Round::Up => !self.negative,
        };
        let least = 1 - f.bias() - (f.precision as i32 - 1);
        // The exponent of the last place of the result.
        let top = self.exp + 127 - self.sig.leading_zeros() as i32;
        let last = (top + 1 - f.precision as i32).max(least);
        let cut = last - self.exp;
        let (mut sig, rest) = if cut <= 0 {
            ((self.sig << -cut) as u64, 0)
        } else {
            // Four bits remain below the last place: the sticky bit is below the half.
            let four = if cut >= 4 { shift_sticky(self.sig, (cut - 4) as u32) } else { self.sig << (4 - cut) };
            ((four >> 4) as u64, four as u32 & 15)
        };
        let up = match mode {
            Round::Nearest => rest > 8 || rest == 8 && sig & 1 == 1,
            _ => away && rest != 0,
        };
        sig += up as u64;
        // The hidden bit adds one to the exponent field, as does the carry of a significand that rounded up to a power of two.
        let field = (last - least).min(1 << (f.bits - f.precision)) as u64;
        let bits = (field << (f.precision - 1)) + sig;
        if bits < f.infinity() {
            return sign | bits;
        }
        sign | (f.infinity() - (mode != Round::Nearest && !away) as u64)
    }

    /// Top bit at position 124: room for a carry, and more than 100 bits below.
    #[inline(always)]
    fn normalised(self) -> Exact {
        let by = self.sig.leading_zeros() as i32 - 3;
        Exact { sig: if by >= 0 { self.sig << by } else { shift_sticky(self.sig, -by as u32) }, exp: self.exp - by, ..self }
    }

    /// A sum of exactly zero is +0, but −0 when rounding down; −0 + −0 is −0.
    #[inline(never)]
    pub fn add(self, o: Exact, mode: Round) -> Exact {
        if self.sig == 0 || o.sig == 0 {
            let zero = self.sig == 0 && o.sig == 0 && self.negative != o.negative;
            let x = if self.sig == 0 { o } else { self };
            return Exact { negative: if zero { mode == Round::Down } else { x.negative }, ..x };
        }
        let (a, b) = (self.normalised(), o.normalised());
        let (a, b) = if a.exp >= b.exp { (a, b) } else { (b, a) };
        let small = shift_sticky(b.sig, (a.exp - b.exp) as u32);
        if a.negative == b.negative {
            return Exact { sig: a.sig + small, ..a };
        }
        let negative = if a.sig == small { mode == Round::Down } else { a.negative == (a.sig > small) };
        Exact { negative, sig: a.sig.abs_diff(small), exp: a.exp }
    }

    /// Both significands must have at most 64 bits.
    #[inline]
    pub fn times(self, o: Exact) -> Exact {
        Exact { negative: self.negative != o.negative, sig: self.sig * o.sig, exp: self.exp + o.exp }
    }

    /// Both not zero, `o` of at most 64 bits.
    #[inline(never)]
    pub fn over(self, o: Exact) -> Exact {
        let a = self.normalised();
        let sig = (a.sig / o.sig) << 1 | !a.sig.is_multiple_of(o.sig) as u128;
        Exact { negative: self.negative != o.negative, sig, exp: a.exp - o.exp - 1 }
    }

    /// Not negative.
    #[inline(never)]
    pub fn sqrt(self) -> Exact {
        let mut a = self.normalised();
        if a.exp % 2 != 0 {
            a = Exact { sig: a.sig << 1, exp: a.exp - 1, ..a };
        }
        let root = a.sig.isqrt();
        Exact { sig: root << 1 | (root * root != a.sig) as u128, exp: a.exp / 2 - 1, ..a }
    }

    /// To an integer, in direction `mode`. The significand must have at most 64 bits.
    #[inline(never)]
    pub fn to_int(self, mode: Round) -> i128 {
        if self.sig == 0 {
            return 0;
        }
        let magnitude = if self.exp >= 0 {
            // Beyond 64 bits every conversion saturates: any large number will do.
            if self.exp as u32 > self.sig.leading_zeros().saturating_sub(2) { u128::MAX >> 2 } else { self.sig << self.exp }
        } else {
            let cut = -self.exp as u32;
            let four = if cut >= 4 { shift_sticky(self.sig, cut - 4) } else { self.sig << (4 - cut) };
            let (sig, rest) = (four >> 4, four & 15);
            let up = match mode {
                Round::Nearest => rest > 8 || rest == 8 && sig & 1 == 1,
                Round::Zero => false,
                Round::Down => self.negative && rest != 0,
                Round::Up => !self.negative && rest != 0,
            };
            sig + up as u128
        };
        if self.negative { -(magnitude as i128) } else { magnitude as i128 }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::samples;
    use super::*;

    const MODES: [Round; 4] = [Round::Nearest, Round::Zero, Round::Down, Round::Up];

    fn finite(bits: u64, f: Format) -> bool {
        bits & f.infinity() != f.infinity()
    }

    /// To nearest, the host's own operations are the oracle.
    #[test]
    fn nearest_equals_the_host() {
        let mut cases = 0;
        for (i, a) in samples(64, 700).enumerate() {
            assert!(!finite(a, F64) || Exact::decode(a, F64).round(F64, Round::Nearest) == a);
            for b in samples(64, 30).skip(i % 3) {
                if !finite(a, F64) || !finite(b, F64) {
                    continue;
                }
                let (x, y) = (Exact::decode(a, F64), Exact::decode(b, F64));
                let (u, v) = (f64::from_bits(a), f64::from_bits(b));
                let near = |e: Exact| f64::from_bits(e.round(F64, Round::Nearest));
                assert_eq!(near(x.add(y, Round::Nearest)).to_bits(), (u + v).to_bits(), "{u:e} + {v:e}");
                assert_eq!(near(x.times(y)).to_bits(), (u * v).to_bits(), "{u:e} * {v:e}");
                if u != 0.0 && v != 0.0 {
                    assert_eq!(near(x.over(y)).to_bits(), (u / v).to_bits(), "{u:e} / {v:e}");
                }
                let w = f64::from_bits(b.rotate_left(17));
                if w.is_finite() {
                    let z = Exact::decode(w.to_bits(), F64);
                    assert_eq!(
                        near(x.times(y).add(z, Round::Nearest)).to_bits(),
                        u.mul_add(v, w).to_bits(),
                        "{u:e} * {v:e} + {w:e}"
                    );
                }
                // Cancellation that leaves only what the rounding of the product lost.
                let z = Exact::decode((-(u * v)).to_bits(), F64);
                if (u * v).is_finite() {
                    let lost = u.mul_add(v, -(u * v));
                    assert_eq!(near(x.times(y).add(z, Round::Nearest)).to_bits(), lost.to_bits(), "{u:e} * {v:e}");
                }
                cases += 1;
            }
            if finite(a, F64) && f64::from_bits(a) > 0.0 {
                let root = Exact::decode(a, F64).sqrt().round(F64, Round::Nearest);
                assert_eq!(root, f64::from_bits(a).sqrt().to_bits());
            }
            if finite(a, F64) {
                let narrow = Exact::decode(a, F64).round(F32, Round::Nearest);
                assert_eq!(narrow as u32, (f64::from_bits(a) as f32).to_bits());
            }
        }
        assert!(cases > 20_000, "{cases}");
    }

    /// Directed rounding: the two neighbours that enclose the exact value, which 64-bit integers can tell for f32.
    #[test]
    fn directed_encloses() {
        for a in samples(64, 4000).filter(|&a| finite(a, F64)) {
            let v = f64::from_bits(a);
            let [near, zero, down, up] = MODES.map(|m| f32::from_bits(Exact::decode(a, F64).round(F32, m) as u32));
            // f32 to f64 is exact, so these comparisons are too.
            assert!(down as f64 <= v && v <= up as f64, "{v:e}: {down:e} {up:e}");
            assert!(down == up || down.next_up() == up, "{v:e}: {down:e} {up:e}");
            assert!((down as f64 == v) == (up as f64 == v));
            assert!(near == down || near == up);
            assert_eq!(zero.to_bits(), if v.is_sign_negative() { up } else { down }.to_bits(), "{v:e}");
        }
    }

    #[test]
    fn integers() {
        for a in samples(64, 2000).filter(|&a| finite(a, F64)) {
            let v = f64::from_bits(a);
            let got = MODES.map(|m| Exact::decode(a, F64).to_int(m).clamp(i64::MIN as i128, i64::MAX as i128) as i64);
            let want = [v.round_ties_even(), v.trunc(), v.floor(), v.ceil()].map(|x| x as i64);
            assert_eq!(got, want, "{v:e}");
        }
    }

    #[test]
    fn overflow_and_zero() {
        let max = Exact::decode(f32::MAX.to_bits() as u64, F32);
        let twice = max.add(max, Round::Nearest);
        let got = MODES.map(|m| f32::from_bits(twice.round(F32, m) as u32));
        assert_eq!(got, [f32::INFINITY, f32::MAX, f32::MAX, f32::INFINITY]);
        let minus = MODES.map(|m| f32::from_bits(Exact { negative: true, ..twice }.round(F32, m) as u32));
        assert_eq!(minus, [f32::NEG_INFINITY, -f32::MAX, f32::NEG_INFINITY, -f32::MAX]);
        let one = Exact::int(1);
        for m in MODES {
            assert_eq!(one.add(Exact::int(-1), m).round(F32, m) == 1 << 31, m == Round::Down);
        }
    }
}
