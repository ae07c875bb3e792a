//! Integer instructions whose meaning is not simply an operator of Rust's.

/// The upper 32 bits of a product.
#[inline(always)]
pub fn mul_hi_u32(a: u32, b: u32) -> u32 {
    ((a as u64 * b as u64) >> 32) as u32
}
#[inline(always)]
pub fn mul_hi_s32(a: u32, b: u32) -> u32 {
    ((a as i32 as i64 * b as i32 as i64) >> 32) as u32
}
#[inline(always)]
pub fn mul_hi_u64(a: u64, b: u64) -> u64 {
    ((a as u128 * b as u128) >> 64) as u64
}
#[inline(always)]
pub fn mul_hi_s64(a: u64, b: u64) -> u64 {
    ((a as i64 as i128 * b as i64 as i128) >> 64) as u64
}
/// The whole product.
#[inline(always)]
pub fn mul_wide_u32(a: u32, b: u32) -> u64 {
    a as u64 * b as u64
}
#[inline(always)]
pub fn mul_wide_s32(a: u32, b: u32) -> u64 {
    (a as i32 as i64 * b as i32 as i64) as u64
}

/// Shifts: a count of the width or more gives 0, or copies of the sign.
#[inline(always)]
pub fn shl(a: u32, n: u32) -> u32 {
    if n < 32 { a << n } else { 0 }
}
#[inline(always)]
pub fn shr_u32(a: u32, n: u32) -> u32 {
    if n < 32 { a >> n } else { 0 }
}
#[inline(always)]
pub fn shr_s32(a: u32, n: u32) -> u32 {
    (a as i32 >> n.min(31)) as u32
}
#[inline(always)]
pub fn shl64(a: u64, n: u32) -> u64 {
    if n < 64 { a << n } else { 0 }
}
#[inline(always)]
pub fn shr_u64(a: u64, n: u32) -> u64 {
    if n < 64 { a >> n } else { 0 }
}
#[inline(always)]
pub fn shr_s64(a: u64, n: u32) -> u64 {
    (a as i64 >> n.min(63)) as u64
}

/// Division. The ISA leaves division by zero open; here a quotient is all ones and a remainder the dividend. The most negative
/// number over −1 is itself.
#[inline(always)]
pub fn div_u32(a: u32, b: u32) -> u32 {
    a.checked_div(b).unwrap_or(u32::MAX)
}
#[inline(always)]
pub fn div_s32(a: u32, b: u32) -> u32 {
    if b == 0 { u32::MAX } else { (a as i32).wrapping_div(b as i32) as u32 }
}
#[inline(always)]
pub fn rem_u32(a: u32, b: u32) -> u32 {
    a.checked_rem(b).unwrap_or(a)
}
#[inline(always)]
pub fn rem_s32(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { (a as i32).wrapping_rem(b as i32) as u32 }
}
#[inline(always)]
pub fn div_u64(a: u64, b: u64) -> u64 {
    a.checked_div(b).unwrap_or(u64::MAX)
}
#[inline(always)]
pub fn div_s64(a: u64, b: u64) -> u64 {
    if b == 0 { u64::MAX } else { (a as i64).wrapping_div(b as i64) as u64 }
}
#[inline(always)]
pub fn rem_u64(a: u64, b: u64) -> u64 {
    a.checked_rem(b).unwrap_or(a)
}
#[inline(always)]
pub fn rem_s64(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { (a as i64).wrapping_rem(b as i64) as u64 }
}

/// The lowest `len` bits set; positions and lengths of bit fields count modulo 256.
#[inline(always)]
fn ones(len: u32) -> u64 {
    if len < 64 { (1 << len) - 1 } else { u64::MAX }
}

/// `bfe.u32 d, a, pos, len`: a bit field, zero-extended.
#[inline(always)]
pub fn bfe_u32(a: u32, pos: u32, len: u32) -> u32 {
    (shr_u64(a as u64, pos & 0xff) & ones(len & 0xff)) as u32
}
/// `bfe.s32`: extended by its own highest bit, or by that of `a` where the field leaves the register.
#[inline(always)]
pub fn bfe_s32(a: u32, pos: u32, len: u32) -> u32 {
    bfe_s64(a as i32 as u64, pos, len) as u32
}
#[inline(always)]
pub fn bfe_u64(a: u64, pos: u32, len: u32) -> u64 {
    shr_u64(a, pos & 0xff) & ones(len & 0xff)
}
#[inline(always)]
pub fn bfe_s64(a: u64, pos: u32, len: u32) -> u64 {
    match len & 0xff {
        0 => 0,
        len => {
            let field = shr_s64(a, pos & 0xff) as i64;
            let unused = 64 - len.min(64);
            (field << unused >> unused) as u64
        }
    }
}

/// `bfi d, a, b, pos, len`: b with the field at `pos` replaced by the low bits of a.
#[inline(always)]
pub fn bfi_b32(a: u32, b: u32, pos: u32, len: u32) -> u32 {
    bfi_b64(a as u64, b as u64, pos, len) as u32
}
#[inline(always)]
pub fn bfi_b64(a: u64, b: u64, pos: u32, len: u32) -> u64 {
    let mask = shl64(ones(len & 0xff), pos & 0xff);
    b & !mask | shl64(a, pos & 0xff) & mask
}

/// `bfind`: the position of the highest bit that differs from the sign (of a one, if unsigned); all ones if there is none.
/// `shiftamt` counts from the left.
#[inline(always)]
pub fn bfind_u32(a: u32, shiftamt: bool) -> u32 {
    if a == 0 {
        u32::MAX
    } else if shiftamt {
        a.leading_zeros()
    } else {
        31 - a.leading_zeros()
    }
}
#[inline(always)]
pub fn bfind_s32(a: u32, shiftamt: bool) -> u32 {
    bfind_u32(a ^ (a as i32 >> 31) as u32, shiftamt)
}
#[inline(always)]
pub fn bfind_u64(a: u64, shiftamt: bool) -> u32 {
    if a == 0 {
        u32::MAX
    } else if shiftamt {
        a.leading_zeros()
    } else {
        63 - a.leading_zeros()
    }
}
#[inline(always)]
pub fn bfind_s64(a: u64, shiftamt: bool) -> u32 {
    bfind_u64(a ^ (a as i64 >> 63) as u64, shiftamt)
}

/// `shf.l`: the upper half of b:a shifted left; the count is clamped to 32, or taken modulo 32 (`wrap`).
#[inline(always)]
pub fn shf_l(a: u32, b: u32, n: u32, wrap: bool) -> u32 {
    let n = if wrap { n & 31 } else { n.min(32) };
    (((b as u64) << 32 | a as u64) << n >> 32) as u32
}
/// `shf.r`: the lower half of b:a shifted right.
#[inline(always)]
pub fn shf_r(a: u32, b: u32, n: u32, wrap: bool) -> u32 {
    let n = if wrap { n & 31 } else { n.min(32) };
    (((b as u64) << 32 | a as u64) >> n) as u32
}

/// The modes of `prmt`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Permute {
    /// Four selectors of four bits; the highest of them copies the sign of the byte into all its bits.
    Index,
    F4e,
    B4e,
    Rc8,
    Ecl,
    Ecr,
    Rc16,
}

/// `prmt.b32 d, a, b, c`: four of the eight bytes of b:a.
#[inline(always)]
pub fn prmt(a: u32, b: u32, c: u32, mode: Permute) -> u32 {
    let from = (b as u64) << 32 | a as u64;
    let n = c & 3;
    // Selectors of the other modes, one nibble for a byte of the result.
    let select = match mode {
        Permute::Index => c,
        Permute::F4e => 0x3210 + 0x1111 * n,
        Permute::B4e => [0x5670, 0x6701, 0x7012, 0x0123][n as usize],
        Permute::Rc8 => 0x1111 * n,
        Permute::Ecl => [0x3210, 0x3211, 0x3222, 0x3333][n as usize],
        Permute::Ecr => [0x0000, 0x1110, 0x2210, 0x3210][n as usize],
        Permute::Rc16 => [0x1010, 0x3232][n as usize & 1],
    };
    let mut d = 0;
    for i in 0..4 {
        let s = select >> (4 * i);
        let byte = (from >> (8 * (s & 7))) as u8;
        let byte = if s & 8 != 0 { (byte as i8 >> 7) as u8 } else { byte };
        d |= (byte as u32) << (8 * i);
    }
    d
}

/// `lop3.b32`: the bit of the table that the three input bits select.
#[inline(always)]
pub fn lop3(a: u32, b: u32, c: u32, table: u32) -> u32 {
    let mut d = 0;
    for i in 0..8 {
        if table >> i & 1 == 1 {
            let pick = |x: u32, bit: u32| if i >> bit & 1 == 1 { x } else { !x };
            d |= pick(a, 2) & pick(b, 1) & pick(c, 0);
        }
    }
    d
}

/// `sad`: c + |a − b|.
#[inline(always)]
pub fn sad_u32(a: u32, b: u32, c: u32) -> u32 {
    c.wrapping_add(a.abs_diff(b))
}
#[inline(always)]
pub fn sad_s32(a: u32, b: u32, c: u32) -> u32 {
    c.wrapping_add((a as i32).abs_diff(b as i32))
}

#[inline(always)]
fn part(x: u32, shift: u32, bits: u32, signed: bool) -> i32 {
    let x = x >> shift << (32 - bits);
    if signed { x as i32 >> (32 - bits) } else { (x >> (32 - bits)) as i32 }
}

/// `dp4a`: c + Σ of four products of bytes; each of a and b is signed or not.
#[inline(always)]
pub fn dp4a(a: u32, b: u32, c: u32, a_signed: bool, b_signed: bool) -> u32 {
    let mut sum = c;
    for i in 0..4 {
        sum = sum.wrapping_add((part(a, 8 * i, 8, a_signed) * part(b, 8 * i, 8, b_signed)) as u32);
    }
    sum
}

/// `dp2a`: c + Σ of two products, 16 bits of a by 8 bits of the lower or upper half of b.
#[inline(always)]
pub fn dp2a(a: u32, b: u32, c: u32, a_signed: bool, b_signed: bool, high: bool) -> u32 {
    let mut sum = c;
    for i in 0..2 {
        let y = part(b, 8 * i + 16 * high as u32, 8, b_signed);
        sum = sum.wrapping_add(part(a, 16 * i, 16, a_signed).wrapping_mul(y) as u32);
    }
    sum
}

/// `add.cc`/`addc.cc`: sum and carry.
#[inline(always)]
pub fn add_carry(a: u32, b: u32, carry: bool) -> (u32, bool) {
    let sum = a as u64 + b as u64 + carry as u64;
    (sum as u32, sum >> 32 != 0)
}
/// `sub.cc`/`subc.cc`: difference and borrow.
#[inline(always)]
pub fn sub_borrow(a: u32, b: u32, borrow: bool) -> (u32, bool) {
    let d = (a as u64).wrapping_sub(b as u64).wrapping_sub(borrow as u64);
    (d as u32, d >> 63 != 0)
}

#[cfg(test)]
mod tests {
    use super::super::tests::samples;
    use super::*;

    fn numbers(bits: u32, n: u32) -> impl Iterator<Item = u64> {
        samples(bits, n).chain([u64::MAX >> (64 - bits), 1 << (bits - 1), (1 << (bits - 1)) - 1])
    }

    #[test]
    fn wide_products() {
        for a in numbers(64, 300) {
            for b in numbers(64, 300) {
                let (x, y) = (a as u32, b as u32);
                let (s, t) = (x as i32 as i128, y as i32 as i128);
                assert_eq!(mul_wide_u32(x, y) as u128, x as u128 * y as u128);
                assert_eq!(mul_wide_s32(x, y) as i64 as i128, s * t);
                assert_eq!(mul_hi_u32(x, y) as u128, (x as u128 * y as u128) >> 32);
                assert_eq!(mul_hi_s32(x, y) as i32 as i128, (s * t) >> 32);
                // Schoolbook, in halves.
                let (a0, a1, b0, b1) = (a & 0xffff_ffff, a >> 32, b & 0xffff_ffff, b >> 32);
                let middle = ((a0 * b0) >> 32) + ((a1 * b0) & 0xffff_ffff) + ((a0 * b1) & 0xffff_ffff);
                let hi = (a1 * b1).wrapping_add((a1 * b0) >> 32).wrapping_add((a0 * b1) >> 32).wrapping_add(middle >> 32);
                assert_eq!(mul_hi_u64(a, b), hi);
                let fix = (if (a as i64) < 0 { b } else { 0 }).wrapping_add(if (b as i64) < 0 { a } else { 0 });
                assert_eq!(mul_hi_s64(a, b), hi.wrapping_sub(fix));
            }
        }
    }

    /// The pseudo-code of the ISA, bit by bit.
    #[test]
    fn bit_fields() {
        let slow_bfe = |a: u64, pos: u32, len: u32, signed: bool, msb: u32| {
            let (pos, len) = (pos & 0xff, len & 0xff);
            let sign = if !signed || len == 0 { 0 } else { a >> (pos + len - 1).min(msb) & 1 };
            (0..=msb).fold(0u64, |d, i| d | if i < len && pos + i <= msb { a >> (pos + i) & 1 } else { sign } << i)
        };
        let slow_bfi = |a: u64, b: u64, pos: u32, len: u32, msb: u32| {
            let (pos, len) = (pos & 0xff, len & 0xff);
            (0..len).filter(|i| pos + i <= msb).fold(b, |d, i| d & !(1 << (pos + i)) | (a >> i & 1) << (pos + i))
        };
        let counts = [0, 1, 5, 8, 16, 31, 32, 33, 40, 63, 64, 65, 200, 255, 256, 257];
        for a in numbers(64, 60) {
            for pos in counts {
                for len in counts {
                    let (x, y) = (a as u32, (a >> 32) as u32);
                    let at = format!("{a:x} {pos} {len}");
                    assert_eq!(bfe_u32(x, pos, len) as u64, slow_bfe(x as u64, pos, len, false, 31), "{at}");
                    assert_eq!(bfe_s32(x, pos, len) as u64, slow_bfe(x as u64, pos, len, true, 31), "{at}");
                    assert_eq!(bfe_u64(a, pos, len), slow_bfe(a, pos, len, false, 63), "{at}");
                    assert_eq!(bfe_s64(a, pos, len), slow_bfe(a, pos, len, true, 63), "{at}");
                    assert_eq!(bfi_b32(x, y, pos, len) as u64, slow_bfi(x as u64, y as u64, pos, len, 31), "{at}");
                    assert_eq!(bfi_b64(a, !a.rotate_left(7), pos, len), slow_bfi(a, !a.rotate_left(7), pos, len, 63), "{at}");
                }
            }
            let highest = |x: u64, bits: u32| (0..bits).rev().find(|&i| x >> i & 1 == 1);
            let (x, s) = (a as u32, if (a as i32) < 0 { !a as u32 } else { a as u32 });
            assert_eq!(bfind_u32(x, false), highest(x as u64, 32).unwrap_or(u32::MAX));
            assert_eq!(bfind_s32(x, false), highest(s as u64, 32).unwrap_or(u32::MAX));
            assert_eq!(bfind_s32(x, true), highest(s as u64, 32).map_or(u32::MAX, |i| 31 - i));
            assert_eq!(bfind_u64(a, true), highest(a, 64).map_or(u32::MAX, |i| 63 - i));
            assert_eq!(bfind_s64(a, false), highest(if (a as i64) < 0 { !a } else { a }, 64).unwrap_or(u32::MAX));
        }
    }

    #[test]
    fn shifts() {
        for n in [0, 1, 31, 32, 33, 63, 64, 65, u32::MAX] {
            let a = 0x8765_4321u32;
            let wide = |n: u32| n.min(100);
            assert_eq!(shl(a, n) as u128, ((a as u128) << wide(n)) as u32 as u128);
            assert_eq!(shr_u32(a, n) as u128, a as u128 >> wide(n));
            assert_eq!(shr_s32(a, n) as i32 as i128, a as i32 as i128 >> wide(n));
            let b = 0x8765_4321_0fed_cba9u64;
            assert_eq!(shl64(b, n), ((b as u128) << wide(n).min(64)) as u64);
            assert_eq!(shr_u64(b, n) as u128, b as u128 >> wide(n));
            assert_eq!(shr_s64(b, n) as i64 as i128, b as i64 as i128 >> wide(n));
            let both = (b as u32, (b >> 32) as u32);
            assert_eq!(shf_l(both.0, both.1, n, false), ((b as u128) << n.min(32) >> 32) as u32);
            assert_eq!(shf_r(both.0, both.1, n, true), (b >> (n % 32)) as u32);
            assert_eq!(shf_l(both.0, both.1, n, true), (b << (n % 32) >> 32) as u32);
            assert_eq!(shf_r(both.0, both.1, n, false), (b >> n.min(32)) as u32);
        }
    }

    #[test]
    fn division_by_zero_and_overflow() {
        assert_eq!([div_u32(7, 0), div_s32(7, 0), rem_u32(7, 0), rem_s32(7, 0)], [u32::MAX, u32::MAX, 7, 7]);
        assert_eq!([div_s32(1 << 31, u32::MAX), rem_s32(1 << 31, u32::MAX)], [1 << 31, 0]);
        assert_eq!([div_u64(7, 0), div_s64(7, 0), rem_u64(7, 0), rem_s64(7, 0)], [u64::MAX, u64::MAX, 7, 7]);
        assert_eq!([div_s64(1 << 63, u64::MAX), rem_s64(1 << 63, u64::MAX)], [1 << 63, 0]);
        assert_eq!([div_s32(-7i32 as u32, 2), rem_s32(-7i32 as u32, 2)], [-3i32 as u32, -1i32 as u32]);
    }

    #[test]
    fn bytes() {
        let (a, b) = (0x8322_1100, 0x7766_5544);
        // Identity, reversal, one byte from b, sign copies.
        assert_eq!(prmt(a, b, 0x3210, Permute::Index), a);
        assert_eq!(prmt(a, b, 0x0123, Permute::Index), a.swap_bytes());
        assert_eq!(prmt(a, b, 0x7654, Permute::Index), b);
        assert_eq!(prmt(a, b, 0xb8f3, Permute::Index), 0xff00_0083);
        let n1 = [Permute::F4e, Permute::B4e, Permute::Rc8, Permute::Ecl, Permute::Ecr, Permute::Rc16];
        let want = [0x4483_2211, 0x6677_0011, 0x1111_1111, 0x8322_1111, 0x1111_1100, 0x8322_8322];
        assert_eq!(n1.map(|m| prmt(a, b, 1, m)), want);
        for (table, want) in [(0x80, a & b & 7), (0xfe, a | b | 7), (0x96, a ^ b ^ 7), (0xca, a & b | !a & 7)] {
            assert_eq!(lop3(a, b, 7, table), want);
        }
        let (x, y) = (0xff02_0380u32, 0x0203_ff7f);
        let signed = -2 + 6 - 3 + (-128 * 127);
        let unsigned = 0xff * 2 + 6 + 3 * 0xff + 128 * 127;
        let mixed = -2 + 6 + 3 * 0xff + (-128 * 127);
        assert_eq!(dp4a(x, y, 10, true, true) as i32, signed + 10);
        assert_eq!(dp4a(x, y, 10, false, false) as i32, unsigned + 10);
        assert_eq!(dp4a(x, y, 10, true, false) as i32, mixed + 10);
        assert_eq!(dp2a(0xffff_0002, 0x0305_ff04, 1, true, true, false) as i32, 2 * 4 + -1 * -1 + 1);
        assert_eq!(dp2a(0xffff_0002, 0x0305_ff04, 1, false, false, true), 2 * 5 + 0xffff * 3 + 1);
        assert_eq!(sad_u32(1, u32::MAX, 5), (u32::MAX - 1).wrapping_add(5));
        assert_eq!(sad_s32(1, u32::MAX, 5), 7);
        assert_eq!(add_carry(u32::MAX, 0, true), (0, true));
        assert_eq!(sub_borrow(0, 0, true), (u32::MAX, true));
        assert_eq!(sub_borrow(5, 3, true), (1, false));
    }
}
