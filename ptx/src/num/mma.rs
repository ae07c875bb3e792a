//! Matrix multiply-accumulate, D = A·B + C, of tensor cores: `mma.sync` and `wmma`.
//!
//! The ISA leaves the order and the rounding of the inner sum open. Three models:
//! * [`Tensor::Ideal`]: exact products, summed in f64 in order of k, rounded once. The reference for what a kernel should
//!   compute.
//! * [`Tensor::Ampere`], [`Tensor::Hopper`]: what the hardware does, to the bit, as measured and published (MMA-Sim, arXiv
//!   2511.10909; Khattak and Mikaitis, arXiv 2512.07004; Fasi et al., PeerJ CS 330). All products and C are aligned to the
//!   largest exponent among them, cut toward zero to F bits of fraction, added exactly; an f32 result is cut toward zero, an f16
//!   result rounded to nearest. F is 24 on Ampere and Ada, where the long k is done as two halves, one after the other; 25 on
//!   Hopper, where it is done at once. A sum of zero is +0.
//!
//! Any of them differs from any other by at most (k + 2)·2⁻²³·(|c| + Σ|a·b|).
//!
//! tf32 operands are f32 registers of which the unit sees the upper 19 bits: a value that was not rounded is cut.

#![allow(clippy::needless_range_loop, reason = "a lane, row or column indexes several arrays at once")]

use super::exact::{Exact, F16, F32, Format};
use super::float::{self, NAN};
use super::half::{self, Half, TF32_CUT};
use super::{Lanes, Round, matrix};

/// Whose arithmetic. `Ampere` and `Hopper` follow published models for f16, bf16 and tf32. For products of e4m3 and e5m2 there is no
/// model: they are summed as products of f16, sixteen deep, under both, which is an assumption.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Tensor {
    /// Exact products, summed in f64 and rounded once.
    #[default]
    Ideal,
    /// Ampere and Ada (sm_80 to sm_89).
    Ampere,
    /// Hopper (sm_90).
    Hopper,
}

/// The type of A and B.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Element {
    F16,
    Bf16,
    Tf32,
}

impl Element {
    /// As f32 bits, exactly.
    #[inline(always)]
    fn widen(self, x: u32) -> u32 {
        match self {
            Element::F16 => half::widen(x & 0xffff, Half::F16),
            Element::Bf16 => x << 16,
            Element::Tf32 => x & !TF32_CUT,
        }
    }
    /// The exponent of the least normal number: below it significands lose their leading bit.
    #[inline(always)]
    fn least(self) -> i32 {
        if self == Element::F16 { -14 } else { -126 }
    }
    /// The k that Ampere splits.
    fn long(self) -> usize {
        if self == Element::Tf32 { 8 } else { 16 }
    }
}

/// Largest k of one instruction.
pub const K: usize = 16;
/// Columns that are worked on side by side.
const N: usize = 8;

/// A product of one shape and type; n is taken eight columns at a time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Mma {
    pub element: Element,
    /// Whether C and D are f16 (else f32).
    pub half_sum: bool,
    pub k: usize,
    pub model: Tensor,
}

/// [`Element`] as a constant, so that each shape and type has loops of its own.
trait Kind {
    const ELEMENT: Element;
}
struct F16s;
struct Bf16s;
struct Tf32s;
impl Kind for F16s {
    const ELEMENT: Element = Element::F16;
}
impl Kind for Bf16s {
    const ELEMENT: Element = Element::Bf16;
}
impl Kind for Tf32s {
    const ELEMENT: Element = Element::Tf32;
}

/// Calls `$f::<Kind, k, half_sum>` for what an [`Mma`] says. None of the other combinations exists in PTX.
macro_rules! dispatch {
    ($m:expr, $f:ident $args:tt) => {
        match ($m.element, $m.k, $m.half_sum) {
            (Element::F16, 8, false) => $f::<F16s, 8, false> $args,
            (Element::F16, 16, false) => $f::<F16s, 16, false> $args,
            (Element::F16, 8, true) => $f::<F16s, 8, true> $args,
            (Element::F16, 16, true) => $f::<F16s, 16, true> $args,
            (Element::Bf16, 8, false) => $f::<Bf16s, 8, false> $args,
            (Element::Bf16, 16, false) => $f::<Bf16s, 16, false> $args,
            (Element::Tf32, 4, false) => $f::<Tf32s, 4, false> $args,
            (Element::Tf32, 8, false) => $f::<Tf32s, 8, false> $args,
            _ => unreachable!("{:?} is not an instruction", $m),
        }
    };
}

impl Mma {
    /// The instruction, if PTX has it.
    pub const fn new(element: Element, half_sum: bool, k: usize, model: Tensor) -> Option<Mma> {
        let exists = match element {
            Element::F16 => k == 8 || k == 16,
            Element::Bf16 => (k == 8 || k == 16) && !half_sum,
            Element::Tf32 => (k == 4 || k == 8) && !half_sum,
        };
        if exists { Some(Mma { element, half_sum, k, model }) } else { None }
    }

    /// m16n8k8 in tf32 with exact sums.
    pub fn is_tf32(&self) -> bool {
        (self.element, self.k, self.model) == (Element::Tf32, 8, Tensor::Ideal)
    }

    /// Multiply-adds of one m16n8 instruction.
    pub const fn macs(&self) -> u64 {
        16 * 8 * self.k as u64
    }

    /// Registers of A, B and C of an m16n8 instruction.
    pub const fn registers(&self) -> (usize, usize, usize) {
        let per = if matches!(self.element, Element::Tf32) { 1 } else { 2 };
        (16 * self.k / 32 / per, 8 * self.k / 32 / per, if self.half_sum { 2 } else { 4 })
    }

    /// `mma.sync.m16n8k…`: fragments as the ISA lays them out; as many registers as [`Mma::registers`] says.
    #[inline(always)]
    pub fn fragments(&self, a: &[&Lanes], b: &[&Lanes], c: &[&Lanes], d: &mut [Lanes]) {
        dispatch!(self, fragments(self, a, b, c, d))
    }

    /// C += A·B for any number of rows and eight columns: `a[i][k]`, `b[k][j]` hold bits of the element type, `c[i][j]` bits of
    /// the sum's type. What lies beyond the shape's k is not read.
    pub fn product(&self, a: &[[u32; K]], b: &[[u32; N]; K], c: &mut [[u32; N]]) {
        let b: [[u32; N]; K] = std::array::from_fn(|k| b[k].map(|x| if k < self.k { self.element.widen(x) } else { 0 }));
        let mut columns = None;
        for (a, c) in a.iter().zip(c) {
            let a = std::array::from_fn::<u32, K, _>(|k| if k < self.k { self.element.widen(a[k]) } else { 0 });
            match self.model {
                Tensor::Ideal if self.half_sum => ideal::<true>(&a[..self.k], &b, c),
                Tensor::Ideal => ideal::<false>(&a[..self.k], &b, c),
                _ => self.hardware(&a[..self.k], columns.get_or_insert_with(|| Columns::new(&b, self.element)), c),
            }
        }
    }

    /// One row of D, as the hardware does it.
    fn hardware(&self, a: &[u32], b: &Columns, c: &mut [u32; N]) {
        match self.model {
            Tensor::Ampere if self.k == self.element.long() => {
                self.part(24, &a[..self.k / 2], b, 0, c);
                self.part(24, &a[self.k / 2..], b, self.k / 2, c);
            }
            Tensor::Ampere => self.part(24, a, b, 0, c),
            _ => self.part(25, a, b, 0, c),
        }
    }

    /// One pass of the adder, over the k from `from` that `a` has.
    fn part(&self, fraction: i32, a: &[u32], b: &Columns, from: usize, c: &mut [u32; N]) {
        let wide = |x: u32| if self.half_sum { half::widen(x, Half::F16) } else { x };
        let finite = b.finite && a.iter().all(|&x| is_finite(x)) && c.iter().all(|&x| is_finite(wide(x)));
        let old = *c;
        self.adder(fraction, a, &b.sig[from..], &b.exp[from..], c);
        if !finite {
            // Infinities and NaN go where IEEE says; the other columns are as ever.
            for j in 0..N {
                let products =
                    a.iter().zip(&b.value[from..]).map(|(&a, b)| f32::from_bits(a) as f64 * f32::from_bits(b[j]) as f64);
                let sum = products.sum::<f64>() + f32::from_bits(wide(old[j])) as f64;
                if !sum.is_finite() {
                    c[j] = if self.half_sum { nearest::<true>(sum) } else { nearest::<false>(sum) };
                }
            }
        }
    }

    /// `c[j] = cut(c[j] + Σ_k a[k]·b[k][j])`. Columns that are not finite get something.
    fn adder(&self, fraction: i32, a: &[u32], sig: &[[i32; N]], exp: &[[i32; N]], c: &mut [u32; N]) {
        // A zero counts with this exponent, whatever its own.
        const ZERO: i32 = -126;
        let (mut c_sig, mut c_exp, mut top) = ([0i32; N], [0i32; N], [0i32; N]);
        for j in 0..N {
            let x = if self.half_sum { half::widen(c[j], Half::F16) } else { c[j] };
            let field = (x >> 23 & 0xff) as i32;
            let s = (x & 0x7f_ffff | ((field > 0) as u32) << 23) as i32;
            let e = field.max(1) - 127;
            // As for elements: a subnormal f16 keeps its exponent.
            let (s, e) = if self.half_sum { (s >> (-14 - e).clamp(0, 31), e.max(-14)) } else { (s, e) };
            c_sig[j] = if x >> 31 == 1 { -s } else { s };
            c_exp[j] = if s == 0 { ZERO } else { e };
            top[j] = c_exp[j];
        }
        let (mut product, mut at) = ([[0i32; N]; K], [[0i32; N]; K]);
        let least = self.element.least();
        for (((&x, sig), exp), (product, at)) in a.iter().zip(sig).zip(exp).zip(product.iter_mut().zip(&mut at)) {
            let (s, e) = split(x, least);
            for j in 0..N {
                product[j] = s * sig[j];
                at[j] = if product[j] == 0 { ZERO } else { e + exp[j] };
                top[j] = top[j].max(at[j]);
            }
        }
        // Significands have 20 fraction bits (products, below 2²²) and 23 (C). A sum of eight products of 25 fraction bits stays
        // below 2³¹, so even and odd products are added apart.
        let mut sum = [[0i32; N]; 2];
        for (k, (product, at)) in product.iter().zip(&at).take(a.len()).enumerate() {
            for j in 0..N {
                sum[k % 2][j] += cut(product[j], fraction - 20, top[j] - at[j]);
            }
        }
        for j in 0..N {
            let c_cut = cut(c_sig[j], fraction - 23, top[j] - c_exp[j]) as i64;
            let sum = sum[0][j] as i64 + sum[1][j] as i64 + c_cut;
            c[j] = if self.half_sum {
                let exact = Exact { negative: sum < 0, sig: sum.unsigned_abs() as u128, exp: top[j] - fraction };
                exact.round(F16, Round::Nearest) as u32
            } else {
                cut_to_f32(sum, top[j] - fraction)
            };
        }
    }
}

/// Gathers the fragments into matrices, multiplies, and deals D out again.
#[inline(always)]
fn fragments<E: Kind, const KK: usize, const H: bool>(m: &Mma, a: &[&Lanes], b: &[&Lanes], c: &[&Lanes], d: &mut [Lanes]) {
    let (mut ma, mut mb, mut mc) = ([[0; KK]; 16], [[0; N]; KK], [[0; N]; 16]);
    let single = E::ELEMENT == Element::Tf32;
    let widen = |x: u32| E::ELEMENT.widen(x);
    for (r, a) in a.iter().enumerate().take(KK / if single { 2 } else { 4 }) {
        for lane in 0..32 {
            if single {
                let (i, k) = matrix::a32(lane, r);
                ma[i][k] = widen(a[lane]);
            } else {
                let (i, k) = matrix::a16(lane, r, 0);
                (ma[i][k], ma[i][k + 1]) = (widen(a[lane] & 0xffff), widen(a[lane] >> 16));
            }
        }
    }
    for (r, b) in b.iter().enumerate().take(KK / if single { 4 } else { 8 }) {
        for lane in 0..32 {
            if single {
                let (k, j) = matrix::b32(lane, r);
                mb[k][j] = widen(b[lane]);
            } else {
                let (k, j) = matrix::b16(lane, r, 0);
                (mb[k][j], mb[k + 1][j]) = (widen(b[lane] & 0xffff), widen(b[lane] >> 16));
            }
        }
    }
    for (r, c) in c.iter().enumerate().take(if H { 2 } else { 4 }) {
        for lane in 0..32 {
            if H {
                let (i, j) = matrix::c16(lane, r, 0);
                (mc[i][j], mc[i][j + 1]) = (c[lane] & 0xffff, c[lane] >> 16);
            } else {
                let (i, j) = matrix::c32(lane, r);
                mc[i][j] = c[lane];
            }
        }
    }
    if m.model == Tensor::Ideal {
        for (a, c) in ma.iter().zip(&mut mc) {
            ideal::<H>(a, &mb, c);
        }
    } else {
        let columns = Columns::new(&mb, E::ELEMENT);
        for (a, c) in ma.iter().zip(&mut mc) {
            m.hardware(a, &columns, c);
        }
    }
    for (r, d) in d.iter_mut().enumerate().take(if H { 2 } else { 4 }) {
        for lane in 0..32 {
            d[lane] = if H {
                let (i, j) = matrix::c16(lane, r, 0);
                mc[i][j] | mc[i][j + 1] << 16
            } else {
                let (i, j) = matrix::c32(lane, r);
                mc[i][j]
            };
        }
    }
}

/// One row of D: exact products (fused or not is the same), one f64 sum, one rounding. Operands as f32 bits.
#[inline(always)]
fn ideal<const H: bool>(a: &[u32], b: &[[u32; N]], c: &mut [u32; N]) {
    let mut sum = [0.0; N];
    for j in 0..N {
        sum[j] = f32::from_bits(if H { half::widen(c[j], Half::F16) } else { c[j] }) as f64;
    }
    for (a, b) in a.iter().zip(b) {
        let x = f32::from_bits(*a) as f64;
        for j in 0..N {
            sum[j] += x * f32::from_bits(b[j]) as f64;
        }
    }
    for j in 0..N {
        c[j] = nearest::<H>(sum[j]);
    }
}

/// To the sum's type, rounded to nearest.
#[inline(always)]
fn nearest<const H: bool>(x: f64) -> u32 {
    if H { half::narrow64(x.to_bits(), Half::F16, Round::Nearest) } else { float::f32_bits(x as f32) }
}

/// Eight columns of B, taken apart for the hardware models.
struct Columns {
    /// f32 bits.
    value: [[u32; N]; K],
    sig: [[i32; N]; K],
    exp: [[i32; N]; K],
    finite: bool,
}

impl Columns {
    fn new(b: &[[u32; N]], element: Element) -> Self {
        let mut c = Columns { value: [[0; N]; K], sig: [[0; N]; K], exp: [[0; N]; K], finite: true };
        for (k, b) in b.iter().enumerate() {
            c.value[k] = *b;
            for j in 0..N {
                c.finite &= is_finite(b[j]);
                (c.sig[k][j], c.exp[k][j]) = split(b[j], element.least());
            }
        }
        c
    }
}

/// Significand with ten fraction bits, and exponent, of a finite element given as f32 bits.
#[inline(always)]
fn split(x: u32, least: i32) -> (i32, i32) {
    let field = (x >> 23 & 0xff) as i32;
    let sig = ((x & 0x7f_ffff | ((field > 0) as u32) << 23) >> 13) as i32;
    let exp = field.max(1) - 127;
    // A subnormal f16 is normal as f32: back to where its own format has it. No bits are lost.
    let sig = sig >> (least - exp).clamp(0, 31);
    (if x >> 31 == 1 { -sig } else { sig }, exp.max(least))
}

#[inline(always)]
fn is_finite(x: u32) -> bool {
    x & 0x7f80_0000 != 0x7f80_0000
}

/// 2^exp.
#[inline(always)]
fn power(exp: i32) -> f64 {
    f64::from_bits(((exp + 1023) as u64) << 52)
}

/// `s · 2^(up − down)` toward zero.
#[inline(always)]
fn cut(s: i32, up: i32, down: i32) -> i32 {
    let sign = s >> 31;
    let magnitude = ((s ^ sign) - sign) << up >> down.min(31);
    (magnitude ^ sign) - sign
}

/// `sum · 2^exp` toward zero; but what reaches 2¹²⁸ is infinite. At most 53 bits.
#[inline(always)]
fn cut_to_f32(sum: i64, exp: i32) -> u32 {
    let x = sum as f64 * power(exp);
    // 29 bits are f64's alone.
    let cut = f64::from_bits(x.to_bits() & !((1 << 29) - 1));
    let normal = (cut as f32).to_bits();
    // A subnormal is a count of 2⁻¹⁴⁹.
    let count = (x.abs().min(f32::MIN_POSITIVE as f64) * power(149)) as i32 as u32;
    if x.abs() < f32::MIN_POSITIVE as f64 { count | normal & 0x8000_0000 } else { normal }
}

/// A dot product by the published description, one number at a time in 128-bit integers: what [`Mma::product`] is tested
/// against, and slow.
pub fn reference_dot(mma: &Mma, a: &[u32], b: &[u32], c: u32) -> u32 {
    let format = match mma.element {
        Element::F16 => F16,
        Element::Bf16 => super::exact::BF16,
        Element::Tf32 => F32,
    };
    let sum_format = if mma.half_sum { F16 } else { F32 };
    let see = |x: u32| if mma.element == Element::Tf32 { x & !TF32_CUT } else { x };
    let value = |x: u32, f: Format| match f {
        F32 => f32::from_bits(x),
        F16 => f32::from_bits(half::widen(x, Half::F16)),
        _ => f32::from_bits(half::widen(x, Half::Bf16)),
    };
    let (fraction, parts) = match mma.model {
        Tensor::Ampere if mma.k == mma.element.long() => (24, 2),
        Tensor::Ampere => (24, 1),
        _ => (25, 1),
    };
    let mut c = c;
    let part = a.len() / parts;
    for (a, b) in a.chunks(part).zip(b.chunks(part)) {
        let products = a.iter().zip(b).map(|(&a, &b)| value(see(a), format) as f64 * value(see(b), format) as f64);
        let naive = products.sum::<f64>() + value(c, sum_format) as f64;
        if !naive.is_finite() {
            let nan = if mma.half_sum { half::NAN } else { NAN };
            let infinity = sum_format.infinity() as u32 | if naive < 0.0 { 1 << (sum_format.bits - 1) } else { 0 };
            c = if naive.is_nan() { nan } else { infinity };
            continue;
        }
        // (significand, exponent of its last bit, exponent by which it is aligned)
        let mut terms = vec![];
        let own = |x: Exact, f: Format| x.exp + f.precision as i32 - 1;
        let x = Exact::decode(c as u64, sum_format);
        terms.push((x, own(x, sum_format)));
        for (&a, &b) in a.iter().zip(b) {
            let (x, y) = (Exact::decode(see(a) as u64, format), Exact::decode(see(b) as u64, format));
            terms.push((x.times(y), own(x, format) + own(y, format)));
        }
        let top = terms.iter().map(|(x, e)| if x.sig == 0 { -126 } else { *e }).max().unwrap_or(0);
        let last = top - fraction;
        let sum: i128 = terms
            .iter()
            .map(|(x, _)| {
                let by = x.exp - last;
                let m = if by >= 0 { x.sig << by } else { x.sig.checked_shr(-by as u32).unwrap_or(0) } as i128;
                if x.negative { -m } else { m }
            })
            .sum();
        let exact = Exact { exp: last, ..Exact::int(sum) };
        c = if mma.half_sum {
            exact.round(F16, Round::Nearest) as u32
        } else {
            let near = exact.round(F32, Round::Zero) as u32;
            // Beyond the range: infinity.
            let over = exact.sig != 0 && 128 - exact.sig.leading_zeros() as i32 + last > 128;
            if over { near & 0x8000_0000 | 0x7f80_0000 } else { near }
        };
    }
    c
}

#[cfg(test)]
mod tests;
