//! Scalar arithmetic on bits, for the tables of [`super::op`].

/// The NaN that the hardware produces.
pub(crate) const NAN: u32 = 0x7fff_ffff;

#[inline(always)]
pub(crate) fn f(a: u32) -> f32 {
    f32::from_bits(a)
}

/// Bits of a result; every NaN becomes the hardware's.
#[inline(always)]
pub(crate) fn bits(x: f32) -> u32 {
    if x.is_nan() { NAN } else { x.to_bits() }
}

#[inline(always)]
pub(crate) fn d(a: u64) -> f64 {
    f64::from_bits(a)
}

#[inline(always)]
pub(crate) fn dbits(x: f64) -> u64 {
    if x.is_nan() { 0x7fff_ffff_ffff_ffff } else { x.to_bits() }
}

#[inline(always)]
pub(crate) fn is_nan(a: u32) -> bool {
    a & 0x7fff_ffff > 0x7f80_0000
}

/// Subnormals become zero of the same sign.
#[inline(always)]
pub(crate) fn ftz(a: u32) -> u32 {
    if a & 0x7f80_0000 == 0 { a & 0x8000_0000 } else { a }
}

/// The smaller operand; a NaN loses against a number, −0 is below +0.
#[inline(always)]
pub(crate) fn min_f32(a: u32, b: u32) -> u32 {
    let (x, y) = (f(a), f(b));
    let less = if x < y { a } else { b };
    let less = if x == y { a | b } else { less };
    let less = if is_nan(b) { a } else { less };
    if is_nan(a) { if is_nan(b) { NAN } else { b } } else { less }
}

#[inline(always)]
pub(crate) fn max_f32(a: u32, b: u32) -> u32 {
    let (x, y) = (f(a), f(b));
    let more = if x > y { a } else { b };
    let more = if x == y { a & b } else { more };
    let more = if is_nan(b) { a } else { more };
    if is_nan(a) { if is_nan(b) { NAN } else { b } } else { more }
}

pub(crate) fn min_f64(a: u64, b: u64) -> u64 {
    let (x, y) = (d(a), d(b));
    match (x.is_nan(), y.is_nan()) {
        (true, _) => dbits(y),
        (_, true) => a,
        _ if x == y => a | b,
        _ => x.min(y).to_bits(),
    }
}

pub(crate) fn max_f64(a: u64, b: u64) -> u64 {
    let (x, y) = (d(a), d(b));
    match (x.is_nan(), y.is_nan()) {
        (true, _) => dbits(y),
        (_, true) => a,
        _ if x == y => a & b,
        _ => x.max(y).to_bits(),
    }
}

/// f32 to tf32, nearest with ties away from zero; the low 13 bits become zero.
#[inline(always)]
pub(crate) fn tf32_rna(a: u32) -> u32 {
    let rounded = a.wrapping_add(0x1000) & !0x1fff;
    if a & 0x7f80_0000 == 0x7f80_0000 { if is_nan(a) { NAN } else { a } } else { rounded }
}

#[inline(always)]
pub(crate) fn s16(a: u32) -> i32 {
    a as u16 as i16 as i32
}

pub(crate) fn sext24(a: u32) -> i32 {
    ((a << 8) as i32) >> 8
}

/// Position of the highest set bit, all ones if there is none.
pub(crate) fn bfind(a: u64, width: u32) -> u32 {
    if a == 0 || (width == 32 && a as u32 == 0) { !0 } else { 63 - a.leading_zeros() }
}

/// How far to shift left so that the highest set bit comes to the top.
pub(crate) fn bfind_shift(a: u64, width: u32) -> u32 {
    match bfind(a, width) {
        u32::MAX => u32::MAX,
        p => width - 1 - p,
    }
}

pub(crate) fn bfe_u(a: u64, pos: u32, len: u32, width: u32) -> u64 {
    let (pos, len) = (pos & 0xff, len & 0xff);
    if pos >= width || len == 0 {
        return 0;
    }
    let x = a >> pos;
    if len >= 64 { x } else { x & ((1 << len) - 1) }
}

/// Beyond the top, and above the field, lies the sign bit of the field.
pub(crate) fn bfe_s(a: i64, pos: u32, len: u32, width: u32) -> u64 {
    let (pos, len) = (pos & 0xff, len & 0xff);
    if len == 0 {
        return 0;
    }
    let len = len.min(width);
    let x = a >> pos.min(63);
    if len >= 64 { x as u64 } else { ((x << (64 - len)) >> (64 - len)) as u64 }
}

pub(crate) fn bfi(a: u64, b: u64, pos: u32, len: u32, width: u32) -> u64 {
    let (pos, len) = (pos & 0xff, len & 0xff);
    if len == 0 || pos >= width {
        return b;
    }
    let field = if len >= 64 { !0 } else { (1u64 << len) - 1 } << pos;
    (b & !field) | ((a << pos) & field)
}

/// Byte permutation, default mode.
pub(crate) fn prmt(a: u32, b: u32, s: u32) -> u32 {
    let x = (b as u64) << 32 | a as u64;
    let mut out = 0;
    for i in 0..4 {
        let sel = s >> (4 * i) & 0xf;
        let byte = (x >> (8 * (sel & 7))) as u8;
        let byte = if sel & 8 != 0 { ((byte as i8) >> 7) as u8 } else { byte };
        out |= (byte as u32) << (8 * i);
    }
    out
}

pub(crate) fn dp4a(a: u32, b: u32, c: u32, a_signed: bool, b_signed: bool) -> u32 {
    let (a, b) = (a.to_le_bytes(), b.to_le_bytes());
    let wide = |x: u8, signed: bool| if signed { x as i8 as i32 } else { x as i32 };
    (0..4).fold(c, |s, i| s.wrapping_add((wide(a[i], a_signed) * wide(b[i], b_signed)) as u32))
}

/// A boolean function of three words, given by its truth table.
#[inline(always)]
pub(crate) fn lop3(a: u32, b: u32, c: u32, table: u32) -> u32 {
    let mut out = 0;
    for i in 0..8 {
        let x = if i & 4 != 0 { a } else { !a };
        let y = if i & 2 != 0 { b } else { !b };
        let z = if i & 1 != 0 { c } else { !c };
        if table >> i & 1 != 0 {
            out |= x & y & z;
        }
    }
    out
}
