//! Arithmetic of a warp: the tables of [`super::op`] applied to 32 lanes, and the codes that no table holds.

use super::lanes::{L, W, put_l, put_p, put_w, union};
use super::num::float::{copysign, f32_bits as bits, f64_bits as dbits, ftz, max as max_f32, max64, min as min_f32, min64};
use super::num::half::{Half, tf32_rna, widen};
use super::num::int::*;
use super::op::{Code, Num, Op, cold_table, hot_table};
use super::state::{Exec, Regs};

#[inline(always)]
fn f(a: u32) -> f32 {
    f32::from_bits(a)
}

#[inline(always)]
fn d(a: u64) -> f64 {
    f64::from_bits(a)
}

/// A 16-bit register as a signed number.
#[inline(always)]
fn s16(a: u32) -> i32 {
    a as u16 as i16 as i32
}

/// The low 24 bits as a signed number.
fn s24(a: u32) -> i32 {
    ((a << 8) as i32) >> 8
}

/// `d = f(sources)` over 32 lanes, by shape; lanes outside the mask keep their value. Sources are copied first: the copies cannot
/// overlap the result, so the compiler keeps all of them in vector registers.
macro_rules! lanes {
    (w_w $r:ident $op:ident $m:ident |$a:ident| $e:expr) => {
        lanes!(@ w $r $op $m [x w a $a] $e)
    };
    (w_ww $r:ident $op:ident $m:ident |$a:ident, $b:ident| $e:expr) => {
        lanes!(@ w $r $op $m [x w a $a, y w b $b] $e)
    };
    (w_www $r:ident $op:ident $m:ident |$a:ident, $b:ident, $c:ident| $e:expr) => {
        lanes!(@ w $r $op $m [x w a $a, y w b $b, z w c $c] $e)
    };
    (w_l $r:ident $op:ident $m:ident |$a:ident| $e:expr) => {
        lanes!(@ w $r $op $m [x l a $a] $e)
    };
    (l_l $r:ident $op:ident $m:ident |$a:ident| $e:expr) => {
        lanes!(@ l $r $op $m [x l a $a] $e)
    };
    (l_ll $r:ident $op:ident $m:ident |$a:ident, $b:ident| $e:expr) => {
        lanes!(@ l $r $op $m [x l a $a, y l b $b] $e)
    };
    (l_lll $r:ident $op:ident $m:ident |$a:ident, $b:ident, $c:ident| $e:expr) => {
        lanes!(@ l $r $op $m [x l a $a, y l b $b, z l c $c] $e)
    };
    (l_lw $r:ident $op:ident $m:ident |$a:ident, $b:ident| $e:expr) => {
        lanes!(@ l $r $op $m [x l a $a, y w b $b] $e)
    };
    (l_w $r:ident $op:ident $m:ident |$a:ident| $e:expr) => {
        lanes!(@ l $r $op $m [x w a $a] $e)
    };
    (l_ww $r:ident $op:ident $m:ident |$a:ident, $b:ident| $e:expr) => {
        lanes!(@ l $r $op $m [x w a $a, y w b $b] $e)
    };
    (l_wwl $r:ident $op:ident $m:ident |$a:ident, $b:ident, $c:ident| $e:expr) => {
        lanes!(@ l $r $op $m [x w a $a, y w b $b, z l c $c] $e)
    };
    // Bank of the result; for each source the name of its copy, its bank, the field of the op, the variable of the expression.
    (@ $d:ident $r:ident $op:ident $m:ident [$($x:ident $bank:ident $field:ident $a:ident),+] $e:expr) => {{
        $(let $x = $r.$bank[$op.$field as usize].0;)+
        let d = &mut $r.$d[$op.d as usize].0;
        if $m == !0 {
            for i in 0..32 {
                $(let $a = $x[i];)+
                d[i] = $e;
            }
        } else {
            for i in 0..32 {
                $(let $a = $x[i];)+
                d[i] = if $m >> i & 1 != 0 { $e } else { d[i] };
            }
        }
    }};
}

/// A comparison over 32 lanes, as a mask. The relation is chosen outside the loop.
macro_rules! relation {
    ($bits:ident $x:expr, |$i:ident| $a:expr, $b:expr) => {{
        macro_rules! each {
            (|$p:ident, $q:ident| $e:expr) => {{
                let mut t = [0; 32];
                for $i in 0..32 {
                    let ($p, $q) = ($a, $b);
                    t[$i] = if $e { $bits[$i] } else { 0 };
                }
                union(t)
            }};
        }
        match $x {
            0 => each!(|p, q| p == q),
            1 => each!(|p, q| p != q),
            2 => each!(|p, q| p < q),
            3 => each!(|p, q| p <= q),
            4 => each!(|p, q| p > q),
            _ => each!(|p, q| p >= q),
        }
    }};
}

/// [`relation`] for floats. Relations 0 to 5 are false if an operand is NaN; 6 to 11 are 0 to 5, but true then; 12 is `num`, 13
/// `nan`.
macro_rules! float_relation {
    ($bits:ident $x:expr, |$i:ident| $a:expr, $b:expr) => {{
        let mut nan = 0u32;
        if $x == 1 || $x >= 6 {
            let mut t = [0; 32];
            for $i in 0..32 {
                let (p, q) = ($a, $b);
                t[$i] = if p.is_nan() || q.is_nan() { $bits[$i] } else { 0 };
            }
            nan = union(t);
        }
        match $x {
            1 => relation!($bits 1, |$i| $a, $b) & !nan,
            0..=5 => relation!($bits $x, |$i| $a, $b),
            12 => !nan,
            13 => nan,
            x => relation!($bits x - 6, |$i| $a, $b) | nan,
        }
    }};
}

/// Registers as slices: the compiler then keeps their addresses in registers, instead of loading them from a `Vec` for every op.
struct Banks<'a> {
    w: &'a mut [W],
    l: &'a mut [L],
    p: &'a mut [u32],
}

/// The result of a code of the tables for one lane; narrow operands and results lie in the low half. None for other codes.
pub(super) fn scalar(code: Code, a: u64, b: u64, c: u64) -> Option<u64> {
    macro_rules! operands {
        ($d:ident [$($x:ident $bank:ident $v:ident),+] $e:expr) => {{
            $(let $v = operands!(@ $bank $x);)+
            operands!(= $d $e)
        }};
        (@ w $x:ident) => { $x as u32 };
        (@ l $x:ident) => { $x };
        (= w $e:expr) => {{ let d: u32 = $e; d as u64 }};
        (= l $e:expr) => {{ let d: u64 = $e; d }};
        (w_w |$a:ident| $e:expr) => { operands!(w [a w $a] $e) };
        (w_ww |$a:ident, $b:ident| $e:expr) => { operands!(w [a w $a, b w $b] $e) };
        (w_www |$a:ident, $b:ident, $c:ident| $e:expr) => { operands!(w [a w $a, b w $b, c w $c] $e) };
        (w_l |$a:ident| $e:expr) => { operands!(w [a l $a] $e) };
        (l_l |$a:ident| $e:expr) => { operands!(l [a l $a] $e) };
        (l_ll |$a:ident, $b:ident| $e:expr) => { operands!(l [a l $a, b l $b] $e) };
        (l_lll |$a:ident, $b:ident, $c:ident| $e:expr) => { operands!(l [a l $a, b l $b, c l $c] $e) };
        (l_lw |$a:ident, $b:ident| $e:expr) => { operands!(l [a l $a, b w $b] $e) };
        (l_w |$a:ident| $e:expr) => { operands!(l [a w $a] $e) };
        (l_ww |$a:ident, $b:ident| $e:expr) => { operands!(l [a w $a, b w $b] $e) };
        (l_wwl |$a:ident, $b:ident, $c:ident| $e:expr) => { operands!(l [a w $a, b w $b, c l $c] $e) };
    }
    macro_rules! dispatch {
        ($($shape:ident { $($name:ident |$($v:ident),*| $e:expr;)* })*) => {
            match code {
                $($(Code::$name => Some(operands!($shape |$($v),*| $e)),)*)*
                _ => None,
            }
        };
    }
    hot_table!(dispatch).or_else(|| cold_table!(dispatch))
}

/// A stretch of plain arithmetic. `tally` has an entry for each op, or none if nothing is counted.
#[inline(always)]
pub(super) fn arithmetic(ops: &[Op], alike: &[u16], tally: &mut [[u64; 2]], regs: &mut Regs, active: u32, bits: &[u32; 32]) {
    let r = Banks { w: &mut regs.w, l: &mut regs.l, p: &mut regs.p };
    let mut rest = ops;
    while let Some(op) = rest.first() {
        let at = ops.len() - rest.len();
        let m = active & (r.p[op.pred as usize] ^ op.neg);
        let these;
        (these, rest) = rest.split_at((alike[at] as usize).min(rest.len()));
        for [warps, lanes] in tally.iter_mut().skip(at).take(these.len()) {
            *warps += 1;
            *lanes += m.count_ones() as u64;
        }
        macro_rules! dispatch {
            ($($shape:ident { $($name:ident |$($v:ident),*| $e:expr;)* })*) => {
                match op.code {
                    $($(Code::$name => for op in these { lanes!($shape r op m |$($v),*| $e) },)*)*
                    Code::Selp32 => {
                        let (a, b, p) = (r.w[op.a as usize].0, r.w[op.b as usize].0, r.p[op.c as usize]);
                        let d = &mut r.w[op.d as usize].0;
                        for i in 0..32 {
                            let v = if p >> i & 1 != 0 { a[i] } else { b[i] };
                            d[i] = if m >> i & 1 != 0 { v } else { d[i] };
                        }
                    }
                    Code::SetpS32 => {
                        let (a, b) = (&r.w[op.a as usize].0, &r.w[op.b as usize].0);
                        let t = relation!(bits op.x, |i| a[i] as i32, b[i] as i32);
                        put_p(&mut r.p[op.d as usize], m, t);
                    }
                    Code::SetpU32 => {
                        let (a, b) = (&r.w[op.a as usize].0, &r.w[op.b as usize].0);
                        let t = relation!(bits op.x, |i| a[i], b[i]);
                        put_p(&mut r.p[op.d as usize], m, t);
                    }
                    Code::SetpF => {
                        let (a, b) = (&r.w[op.a as usize].0, &r.w[op.b as usize].0);
                        let t = float_relation!(bits op.x, |i| f(a[i]), f(b[i]));
                        put_p(&mut r.p[op.d as usize], m, t);
                    }
                    Code::PredAnd => { let t = r.p[op.a as usize] & r.p[op.b as usize]; put_p(&mut r.p[op.d as usize], m, t) }
                    Code::PredOr => { let t = r.p[op.a as usize] | r.p[op.b as usize]; put_p(&mut r.p[op.d as usize], m, t) }
                    Code::PredXor => { let t = r.p[op.a as usize] ^ r.p[op.b as usize]; put_p(&mut r.p[op.d as usize], m, t) }
                    Code::PredNot => { let t = !r.p[op.a as usize]; put_p(&mut r.p[op.d as usize], m, t) }
                    Code::PredMov => { let t = r.p[op.a as usize]; put_p(&mut r.p[op.d as usize], m, t) }
                    Code::Nop => {}
                    _ => unreachable!("{:?} is in no stretch of plain arithmetic", op.code),
                }
            };
        }
        hot_table!(dispatch);
    }
}

/// Arithmetic that is compiled once, not for every instruction set. Returns false for a code that is no arithmetic.
pub(super) fn cold(x: &Exec, r: &mut Regs, op: &Op, m: u32) -> bool {
    macro_rules! dispatch {
        ($($shape:ident { $($name:ident |$($v:ident),*| $e:expr;)* })*) => {
            match op.code {
                $($(Code::$name => lanes!($shape r op m |$($v),*| $e),)*)*
                _ => return uncommon(x, r, op, m),
            }
        };
    }
    cold_table!(dispatch);
    true
}

/// Arithmetic that no table holds. Returns false for a code that is none.
fn uncommon(x: &Exec, r: &mut Regs, op: &Op, m: u32) -> bool {
    match op.code {
        Code::Num => num(x, r, op, m),
        Code::Selp64 => {
            let (a, b, p) = (r.l[op.a as usize].0, r.l[op.b as usize].0, r.p[op.c as usize]);
            let o = std::array::from_fn(|i| if p >> i & 1 != 0 { a[i] } else { b[i] });
            put_l(&mut r.l[op.d as usize], m, &o);
        }
        Code::SetpS64 | Code::SetpU64 | Code::SetpD | Code::SetpS16 | Code::SetpH | Code::SetpBf => {
            let t = compare(r, op, &x.bits);
            put_p(&mut r.p[op.d as usize], m, t);
        }
        Code::AddC | Code::SubC | Code::MadLoC | Code::MadHiC => carry(r, op, m),
        Code::AddC64 | Code::SubC64 | Code::MadLoC64 | Code::MadHiC64 => carry64(r, op, m),
        Code::Lop3 | Code::Bfi32 | Code::Bfi64 | Code::BfeU64 | Code::BfeS64 => bits_of(r, op, m),
        Code::Pack16 | Code::Pack16x4 => pack(r, op, m),
        Code::Unpack16 | Code::Unpack32 | Code::Unpack16x4 => unpack(r, op, m),
        _ => return false,
    }
    true
}

/// A function of whole lane arrays.
fn num(x: &Exec, r: &mut Regs, op: &Op, m: u32) {
    let (a, b, c) = (op.a as usize, op.b as usize, op.c as usize);
    let narrow = match &x.program.nums[op.imm as usize] {
        Num::W1(f) => f(&r.w[a].0, x.approx),
        Num::W2(f) => f(&r.w[a].0, &r.w[b].0, x.approx),
        Num::W3(f) => f(&r.w[a].0, &r.w[b].0, &r.w[c].0),
        Num::WfromL(f) => f(&r.l[a].0),
        wide => {
            let o = match wide {
                Num::LfromW(f) => f(&r.w[a].0),
                Num::L1(f) => f(&r.l[a].0),
                Num::L2(f) => f(&r.l[a].0, &r.l[b].0),
                Num::L3(f) => f(&r.l[a].0, &r.l[b].0, &r.l[c].0),
                _ => unreachable!("the others have a narrow result"),
            };
            return put_l(&mut r.l[op.d as usize], m, &o);
        }
    };
    put_w(&mut r.w[op.d as usize], m, &narrow);
}

/// A comparison of other types than the hot ones.
fn compare(r: &Regs, op: &Op, bits: &[u32; 32]) -> u32 {
    let (p, q) = (op.a as usize, op.b as usize);
    match op.code {
        Code::SetpS64 | Code::SetpU64 | Code::SetpD => {
            let (p, q) = (&r.l[p].0, &r.l[q].0);
            match op.code {
                Code::SetpS64 => relation!(bits op.x, |i| p[i] as i64, q[i] as i64),
                Code::SetpU64 => relation!(bits op.x, |i| p[i], q[i]),
                _ => float_relation!(bits op.x, |i| d(p[i]), d(q[i])),
            }
        }
        Code::SetpS16 => {
            let (p, q) = (&r.w[p].0, &r.w[q].0);
            relation!(bits op.x, |i| s16(p[i]), s16(q[i]))
        }
        _ => {
            let kind = if op.code == Code::SetpH { Half::F16 } else { Half::Bf16 };
            let (p, q) = (&r.w[p].0, &r.w[q].0);
            float_relation!(bits op.x, |i| f(widen(p[i] & 0xffff, kind)), f(widen(q[i] & 0xffff, kind)))
        }
    }
}

/// Sums that read or write the carry flag, a predicate. As in hardware a difference is the sum a + !b + 1, and the flag is its
/// carry: no borrow. (The ISA speaks of a borrow; the two agree unless additions and subtractions share a chain, as they do in
/// nvcc's division of 128-bit integers.)
fn carry(r: &mut Regs, op: &Op, m: u32) {
    let (a, b, c) = (op.a as usize, op.b as usize, op.c as usize);
    let flag = op.imm as usize;
    let (mut o, mut carry) = ([0; 32], 0u32);
    for i in 0..32 {
        let (p, q) = (r.w[a].0[i], r.w[b].0[i]);
        let sum = match op.code {
            Code::AddC => p as u64 + q as u64,
            Code::SubC => p as u64 + !q as u64,
            code => {
                let signed = op.x & 4 != 0;
                let product = if signed { mul_wide_s32(p, q) } else { mul_wide_u32(p, q) };
                let part = if code == Code::MadLoC { product as u32 } else { (product >> 32) as u32 };
                part as u64 + r.w[c].0[i] as u64
            }
        };
        let sum = sum + carry_in(r.p[flag], i, op) as u64;
        o[i] = sum as u32;
        carry |= ((sum >> 32 != 0) as u32) << i;
    }
    put_w(&mut r.w[op.d as usize], m, &o);
    if op.x & 2 != 0 {
        put_p(&mut r.p[flag], m, carry);
    }
}

/// [`carry`] in 64 bits.
fn carry64(r: &mut Regs, op: &Op, m: u32) {
    let (a, b, c) = (op.a as usize, op.b as usize, op.c as usize);
    let flag = op.imm as usize;
    let (mut o, mut carry) = ([0; 32], 0u32);
    for i in 0..32 {
        let (p, q) = (r.l[a].0[i], r.l[b].0[i]);
        let sum = match op.code {
            Code::AddC64 => p as u128 + q as u128,
            Code::SubC64 => p as u128 + !q as u128,
            code => {
                let high = if op.x & 4 != 0 { mul_hi_s64(p, q) } else { mul_hi_u64(p, q) };
                let part = if code == Code::MadLoC64 { p.wrapping_mul(q) } else { high };
                part as u128 + r.l[c].0[i] as u128
            }
        };
        let sum = sum + carry_in(r.p[flag], i, op) as u128;
        o[i] = sum as u64;
        carry |= ((sum >> 64 != 0) as u32) << i;
    }
    put_l(&mut r.l[op.d as usize], m, &o);
    if op.x & 2 != 0 {
        put_p(&mut r.p[flag], m, carry);
    }
}

/// What lane i's sum gets besides its operands: the flag, or, where none is read, the 1 of a difference.
fn carry_in(flag: u32, i: usize, op: &Op) -> u32 {
    match op.x & 1 {
        0 => matches!(op.code, Code::SubC | Code::SubC64) as u32,
        _ => flag >> i & 1,
    }
}

/// Bit fields, and logic of three operands by a truth table.
fn bits_of(r: &mut Regs, op: &Op, m: u32) {
    let (a, b, c, x) = (op.a as usize, op.b as usize, op.c as usize, op.x as usize);
    match op.code {
        Code::Lop3 => {
            let o = std::array::from_fn(|i| lop3(r.w[a].0[i], r.w[b].0[i], r.w[c].0[i], op.x as u32));
            put_w(&mut r.w[op.d as usize], m, &o);
        }
        Code::Bfi32 => {
            let o = std::array::from_fn(|i| bfi_b32(r.w[a].0[i], r.w[b].0[i], r.w[c].0[i], r.w[x].0[i]));
            put_w(&mut r.w[op.d as usize], m, &o);
        }
        _ => {
            let o = std::array::from_fn(|i| {
                let (v, pos, len) = (r.l[a].0[i], r.w[c].0[i], r.w[x].0[i]);
                match op.code {
                    Code::Bfi64 => bfi_b64(v, r.l[b].0[i], pos, len),
                    Code::BfeU64 => bfe_u64(v, pos, len),
                    _ => bfe_s64(v, pos, len),
                }
            });
            put_l(&mut r.l[op.d as usize], m, &o);
        }
    }
}

/// Registers of 16 bits into one of 32 or 64.
fn pack(r: &mut Regs, op: &Op, m: u32) {
    let (a, b, c, x) = (op.a as usize, op.b as usize, op.c as usize, op.x as usize);
    if op.code == Code::Pack16 {
        let o = std::array::from_fn(|i| r.w[a].0[i] & 0xffff | r.w[b].0[i] << 16);
        return put_w(&mut r.w[op.d as usize], m, &o);
    }
    let part = |slot: usize, i: usize| (r.w[slot].0[i] & 0xffff) as u64;
    let o = std::array::from_fn(|i| part(a, i) | part(b, i) << 16 | part(c, i) << 32 | part(x, i) << 48);
    put_l(&mut r.l[op.d as usize], m, &o);
}

/// One register into two or four; the low part goes to `d`.
fn unpack(r: &mut Regs, op: &Op, m: u32) {
    if op.code == Code::Unpack16 {
        let v = r.w[op.a as usize].0;
        put_w(&mut r.w[op.d as usize], m, &v.map(|v| v & 0xffff));
        put_w(&mut r.w[op.b as usize], m, &v.map(|v| v >> 16));
        return;
    }
    let v = r.l[op.a as usize].0;
    let (slots, width): (&[u16], u32) =
        if op.code == Code::Unpack32 { (&[op.d, op.b], 32) } else { (&[op.d, op.b, op.c, op.x], 16) };
    for (k, &slot) in slots.iter().enumerate() {
        put_w(&mut r.w[slot as usize], m, &v.map(|v| (v >> (width * k as u32) & !(!0 << width)) as u32));
    }
}
