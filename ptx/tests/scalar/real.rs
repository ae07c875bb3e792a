//! Numbers held exactly, as an integer of any size times a power of two, and their rounding to a format, as IEEE 754 defines it.
//! Nothing is shared with the emulator, and no arithmetic of the host's floats is used.

use std::cmp::Ordering;

/// A whole number that is not negative, least digit first, without zeros at the end.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Big(Vec<u64>);

impl Big {
    pub fn new(x: u128) -> Big {
        Big(vec![x as u64, (x >> 64) as u64]).trim()
    }

    fn trim(mut self) -> Big {
        while self.0.last() == Some(&0) {
            self.0.pop();
        }
        self
    }

    pub fn is_zero(&self) -> bool {
        self.0.is_empty()
    }

    /// How many bits the number has.
    pub fn bits(&self) -> i64 {
        self.0.last().map_or(0, |d| 64 * self.0.len() as i64 - d.leading_zeros() as i64)
    }

    pub fn bit(&self, i: i64) -> bool {
        i >= 0 && self.0.get(i as usize / 64).is_some_and(|d| d >> (i % 64) & 1 == 1)
    }

    /// Whether a bit below bit `n` is set.
    fn any_below(&self, n: i64) -> bool {
        let whole = (n.max(0) / 64) as usize;
        self.0.iter().take(whole).any(|&d| d != 0) || (64 * whole as i64..n).any(|i| self.bit(i))
    }

    pub fn shl(&self, n: i64) -> Big {
        let mut d = vec![0; n as usize / 64];
        let by = n % 64;
        let mut carry = 0;
        for &x in &self.0 {
            d.push(x << by | carry);
            carry = if by == 0 { 0 } else { x >> (64 - by) };
        }
        d.push(carry);
        Big(d).trim()
    }

    pub fn shr(&self, n: i64) -> Big {
        let (skip, by) = (n as usize / 64, n % 64);
        let rest = self.0.get(skip..).unwrap_or(&[]);
        let high = |i: usize| if by == 0 { 0 } else { rest.get(i + 1).map_or(0, |x| x << (64 - by)) };
        Big(rest.iter().enumerate().map(|(i, x)| x >> by | high(i)).collect()).trim()
    }

    pub fn plus(&self, o: &Big) -> Big {
        let mut d = Vec::new();
        let mut carry = 0u128;
        for i in 0..self.0.len().max(o.0.len()) {
            let digit = |b: &Big| *b.0.get(i).unwrap_or(&0) as u128;
            let sum = digit(self) + digit(o) + carry;
            d.push(sum as u64);
            carry = sum >> 64;
        }
        d.push(carry as u64);
        Big(d).trim()
    }

    /// The difference; `o` must not be larger.
    pub fn minus(&self, o: &Big) -> Big {
        let mut d = Vec::new();
        let mut borrow = 0i128;
        for (i, &x) in self.0.iter().enumerate() {
            let rest = x as i128 - *o.0.get(i).unwrap_or(&0) as i128 - borrow;
            borrow = (rest < 0) as i128;
            d.push((rest + (borrow << 64)) as u64);
        }
        assert!(borrow == 0);
        Big(d).trim()
    }

    pub fn times(&self, o: &Big) -> Big {
        let mut d = vec![0u64; self.0.len() + o.0.len() + 1];
        for (i, &x) in self.0.iter().enumerate() {
            let mut carry = 0u128;
            for j in 0..d.len() - i {
                let sum = d[i + j] as u128 + x as u128 * *o.0.get(j).unwrap_or(&0) as u128 + carry;
                d[i + j] = sum as u64;
                carry = sum >> 64;
            }
        }
        Big(d).trim()
    }

    /// Quotient and whether something is left, digit for binary digit.
    fn over(&self, o: &Big) -> (Big, bool) {
        let (mut rest, mut q) = (Big::new(0), Big::new(0));
        for i in (0..self.bits()).rev() {
            rest = rest.shl(1).plus(&Big::new(self.bit(i) as u128));
            q = q.shl(1);
            if rest >= *o {
                rest = rest.minus(o);
                q = q.plus(&Big::new(1));
            }
        }
        (q, !rest.is_zero())
    }

    /// The root of the largest square that is not larger, and whether something is left.
    fn root(&self) -> (Big, bool) {
        let mut root = Big::new(0);
        for i in (0..self.bits() / 2 + 1).rev() {
            let more = root.plus(&Big::new(1).shl(i));
            if more.times(&more) <= *self {
                root = more;
            }
        }
        let rest = root.times(&root) != *self;
        (root, rest)
    }

    pub fn low(&self) -> u128 {
        *self.0.first().unwrap_or(&0) as u128 | (*self.0.get(1).unwrap_or(&0) as u128) << 64
    }
}

impl PartialOrd for Big {
    fn partial_cmp(&self, o: &Big) -> Option<Ordering> {
        Some(self.cmp(o))
    }
}

impl Ord for Big {
    fn cmp(&self, o: &Big) -> Ordering {
        self.0.len().cmp(&o.0.len()).then_with(|| self.0.iter().rev().cmp(o.0.iter().rev()))
    }
}

/// `± m · 2^e`. Zeros have a sign.
#[derive(Clone, Debug)]
pub struct Real {
    pub negative: bool,
    pub m: Big,
    pub e: i64,
}

#[derive(Clone, Debug)]
pub enum Value {
    Nan,
    /// Whether it is negative.
    Infinite(bool),
    Finite(Real),
}
use Value::{Finite, Infinite, Nan};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    Even,
    Away,
    Zero,
    Down,
    Up,
}

/// A binary format: bits in all, and bits of the significand with the hidden one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Format {
    pub bits: i64,
    pub precision: i64,
}

pub const F16: Format = Format { bits: 16, precision: 11 };
pub const BF16: Format = Format { bits: 16, precision: 8 };
pub const TF32: Format = Format { bits: 19, precision: 11 };
pub const F32: Format = Format { bits: 32, precision: 24 };
pub const F64: Format = Format { bits: 64, precision: 53 };

impl Format {
    fn bias(self) -> i64 {
        (1 << (self.bits - self.precision - 1)) - 1
    }
    pub fn sign(self) -> u64 {
        1 << (self.bits - 1)
    }
    pub fn infinity(self) -> u64 {
        self.sign() - (1 << (self.precision - 1))
    }
    /// The NaN that instructions return: all ones but the sign.
    pub fn nan(self) -> u64 {
        self.sign() - 1
    }
    pub fn one(self) -> u64 {
        (self.bias() as u64) << (self.precision - 1)
    }
    pub fn is_nan(self, x: u64) -> bool {
        x & self.nan() > self.infinity()
    }
    pub fn is_subnormal(self, x: u64) -> bool {
        x & self.infinity() == 0
    }
    /// The exponent of the least number that is not zero.
    fn least(self) -> i64 {
        2 - self.bias() - self.precision
    }

    pub fn decode(self, x: u64) -> Value {
        let negative = x & self.sign() != 0;
        let (field, fraction) = ((x & self.infinity()) >> (self.precision - 1), x & ((1 << (self.precision - 1)) - 1));
        match (x & self.infinity() == self.infinity(), fraction) {
            (true, 0) => Infinite(negative),
            (true, _) => Nan,
            _ if field == 0 => Finite(Real { negative, m: Big::new(fraction as u128), e: self.least() }),
            _ => {
                let m = fraction | 1 << (self.precision - 1);
                Finite(Real { negative, m: Big::new(m as u128), e: self.least() + field as i64 - 1 })
            }
        }
    }

    pub fn round(self, x: &Value, mode: Mode) -> u64 {
        let sign = |negative: bool| if negative { self.sign() } else { 0 };
        match x {
            Nan => self.nan(),
            Infinite(negative) => sign(*negative) | self.infinity(),
            Finite(r) if r.m.is_zero() => sign(r.negative),
            Finite(r) => {
                // The exponent of the last place.
                let place = (r.e + r.m.bits() - self.precision).max(self.least());
                let whole = whole(r, place, mode).low() as u64;
                // A carry makes the next power of two, whose exponent is one more.
                let (whole, place) = if whole >> self.precision != 0 { (whole >> 1, place + 1) } else { (whole, place) };
                let field = if whole >> (self.precision - 1) == 0 { 0 } else { place - self.least() + 1 };
                if field > 2 * self.bias() {
                    let outwards = match mode {
                        Mode::Even | Mode::Away => true,
                        Mode::Zero => false,
                        Mode::Down => r.negative,
                        Mode::Up => !r.negative,
                    };
                    return sign(r.negative) | (self.infinity() - !outwards as u64);
                }
                sign(r.negative) | (field as u64) << (self.precision - 1) | whole & ((1 << (self.precision - 1)) - 1)
            }
        }
    }

    pub fn int(self, x: i128, mode: Mode) -> u64 {
        self.round(&Finite(Real { negative: x < 0, m: Big::new(x.unsigned_abs()), e: 0 }), mode)
    }
}

/// The magnitude in units of 2^place, rounded.
fn whole(r: &Real, place: i64, mode: Mode) -> Big {
    if r.e >= place {
        return r.m.shl(r.e - place);
    }
    let cut = place - r.e;
    let (q, half, rest) = (r.m.shr(cut), r.m.bit(cut - 1), r.m.any_below(cut - 1));
    let up = match mode {
        Mode::Even => half && (rest || q.bit(0)),
        Mode::Away => half,
        Mode::Zero => false,
        Mode::Down => r.negative && (half || rest),
        Mode::Up => !r.negative && (half || rest),
    };
    if up { q.plus(&Big::new(1)) } else { q }
}

/// To a whole number; beyond 2^100 any number will do.
pub fn to_integer(r: &Real, mode: Mode) -> i128 {
    let m = if r.e + r.m.bits() > 100 { Big::new(1 << 100) } else { whole(r, 0, mode) }.low() as i128;
    if r.negative { -m } else { m }
}

/// To a whole number that is a float: its sign stays.
pub fn integral(x: &Value, mode: Mode) -> Value {
    match x {
        Finite(r) if r.e < 0 => Finite(Real { negative: r.negative, m: whole(r, 0, mode), e: 0 }),
        x => x.clone(),
    }
}

/// The sign of a sum that is exactly zero depends on the direction.
pub fn add(x: &Value, y: &Value, mode: Mode) -> Value {
    match (x, y) {
        (Nan, _) | (_, Nan) => Nan,
        (Infinite(a), Infinite(b)) if a != b => Nan,
        (Infinite(a), _) | (_, Infinite(a)) => Infinite(*a),
        (Finite(a), Finite(b)) => {
            let e = a.e.min(b.e);
            let (p, q) = (a.m.shl(a.e - e), b.m.shl(b.e - e));
            Finite(if a.negative == b.negative {
                Real { negative: a.negative, m: p.plus(&q), e }
            } else {
                match p.cmp(&q) {
                    Ordering::Equal => Real { negative: mode == Mode::Down, m: Big::new(0), e },
                    Ordering::Greater => Real { negative: a.negative, m: p.minus(&q), e },
                    Ordering::Less => Real { negative: b.negative, m: q.minus(&p), e },
                }
            })
        }
    }
}

pub fn negate(x: &Value) -> Value {
    match x {
        Nan => Nan,
        Infinite(a) => Infinite(!a),
        Finite(r) => Finite(Real { negative: !r.negative, ..r.clone() }),
    }
}

fn is_zero(x: &Value) -> bool {
    matches!(x, Finite(r) if r.m.is_zero())
}

pub fn is_negative(x: &Value) -> bool {
    match x {
        Nan => false,
        Infinite(a) => *a,
        Finite(r) => r.negative,
    }
}

pub fn mul(x: &Value, y: &Value) -> Value {
    let negative = is_negative(x) != is_negative(y);
    match (x, y) {
        (Nan, _) | (_, Nan) => Nan,
        (Infinite(_), o) | (o, Infinite(_)) => {
            if is_zero(o) {
                Nan
            } else {
                Infinite(negative)
            }
        }
        (Finite(a), Finite(b)) => Finite(Real { negative, m: a.m.times(&b.m), e: a.e + b.e }),
    }
}

/// A quotient to 70 bits or more, and one more that stands for all the rest.
pub fn div(x: &Value, y: &Value) -> Value {
    let negative = is_negative(x) != is_negative(y);
    match (x, y) {
        (Nan, _) | (_, Nan) | (Infinite(_), Infinite(_)) => Nan,
        (Infinite(_), _) => Infinite(negative),
        (_, Infinite(_)) => Finite(Real { negative, m: Big::new(0), e: 0 }),
        (x, y) if is_zero(y) => {
            if is_zero(x) {
                Nan
            } else {
                Infinite(negative)
            }
        }
        (Finite(a), Finite(b)) => {
            let more = (70 + b.m.bits() - a.m.bits()).max(0);
            let (q, rest) = a.m.shl(more).over(&b.m);
            Finite(Real { negative, m: q.shl(1).plus(&Big::new(rest as u128)), e: a.e - more - b.e - 1 })
        }
    }
}

/// A root to 70 bits or more, and one more that stands for all the rest.
pub fn sqrt(x: &Value) -> Value {
    match x {
        x if is_zero(x) => x.clone(),
        x if is_negative(x) => Nan,
        Finite(r) => {
            let more = 140 + (r.e & 1);
            let (root, rest) = r.m.shl(more).root();
            Finite(Real { negative: false, m: root.shl(1).plus(&Big::new(rest as u128)), e: (r.e - more) / 2 - 1 })
        }
        x => x.clone(),
    }
}

/// None if one is NaN. Zeros are equal.
pub fn compare(x: &Value, y: &Value) -> Option<Ordering> {
    Some(match (x, y) {
        (Nan, _) | (_, Nan) => return None,
        (Infinite(a), Infinite(b)) => b.cmp(a),
        (Infinite(a), _) => {
            if *a {
                Ordering::Less
            } else {
                Ordering::Greater
            }
        }
        (_, Infinite(a)) => {
            if *a {
                Ordering::Greater
            } else {
                Ordering::Less
            }
        }
        _ => match add(x, &negate(y), Mode::Even) {
            d if is_zero(&d) => Ordering::Equal,
            d if is_negative(&d) => Ordering::Less,
            _ => Ordering::Greater,
        },
    })
}
