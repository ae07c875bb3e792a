//! Arithmetic that has no code of its own: bit masks, 24-bit products, sums of differences, extremes, classes of floats,
//! comparisons of pairs, `lop3` with a predicate.

use std::cmp::Ordering;

use super::arithmetic::{compare, truth};
use super::decoder::{Decoder, Done, arity};
use super::numeric::{ll, llll, wl, ww, www, wwww};
use crate::num::float as fp;
use crate::num::half::{self, Half};
use crate::op::{Bank, Code};
use crate::source::{Instr, Operand};

/// The low 24 bits as a number.
fn s24(a: u32) -> i64 {
    (((a << 8) as i32) >> 8) as i64
}

fn s16(a: u32) -> i32 {
    a as u16 as i16 as i32
}

fn u24(a: u32) -> i64 {
    (a & 0xff_ffff) as i64
}

fn clamp32(x: i64) -> u32 {
    x.clamp(i32::MIN as i64, i32::MAX as i64) as u32
}

/// Both halves of two registers as signed or unsigned numbers.
fn halves(a: u32, b: u32, signed: bool, f: impl Fn(i32, i32) -> i32) -> u32 {
    let number = |x: u32| if signed { x as u16 as i16 as i32 } else { x as i32 };
    half::x2_2(a, b, |a, b| f(number(a), number(b)) as u32 & 0xffff)
}

/// Bits `a` to `a + b - 1`.
fn bmsk(a: u32, b: u32, clamp: bool) -> u32 {
    let (from, len) = if clamp { (a, b) } else { (a & 31, b & 31) };
    if from > 31 {
        return 0;
    }
    let above = if len as u64 + from as u64 > 31 { 0 } else { !0u32 << (from + len) };
    (!0 << from) & !above
}

/// The low `b` bits of `a`, extended.
fn szext(a: u32, b: u32, signed: bool, clamp: bool) -> u32 {
    let len = if clamp { b } else { b & 31 };
    match len {
        0 => 0,
        32.. => a,
        n if signed => (((a << (32 - n)) as i32) >> (32 - n)) as u32,
        n => a & !(!0 << n),
    }
}

/// The `offset`-th set bit of a mask from `base`, upwards or downwards.
fn fns(mask: u32, base: u32, offset: u32) -> u32 {
    let set = |at: i64| (0..32).contains(&at) && mask >> at & 1 == 1;
    let (base, offset) = (base as i64, offset as i32 as i64);
    if offset == 0 {
        return if set(base) { base as u32 } else { !0 };
    }
    let (mut at, mut left) = (base, offset.abs());
    while (0..32).contains(&at) {
        left -= set(at) as i64;
        if left == 0 {
            return at as u32;
        }
        at += offset.signum();
    }
    !0
}

/// Integers.
pub(super) fn integer(d: &mut Decoder, i: &Instr, mods: &[&str]) -> Done {
    let name = i.opcode.split('.').next().expect("an opcode has a name");
    let has = |m: &str| mods.contains(&m);
    let ty = mods[mods.len() - 1];
    let (signed, sat, clamp, relu) = (ty.starts_with('s'), has("sat"), has("clamp"), has("relu"));
    let high = move |a: u32, b: u32| -> i64 {
        let p = if signed { s24(a) * s24(b) } else { u24(a) * u24(b) };
        if signed { (p >> 16) as i32 as i64 } else { (p >> 16) as u32 as i64 }
    };
    let max = name == "max";
    let extreme = move |x: i32, y: i32| {
        let v = if max { x.max(y) } else { x.min(y) };
        if relu { v.max(0) } else { v }
    };
    let num = match (name, ty) {
        ("mul24", _) => www(move |a, b| high(a, b) as u32),
        ("mad24", _) if sat => wwww(move |a, b, c| clamp32(high(a, b) + c as i32 as i64)),
        ("mad24", _) => wwww(move |a, b, c| (high(a, b) as u32).wrapping_add(c)),
        ("mad", "s32") => wwww(|a, b, c| clamp32(((a as i32 as i64 * b as i32 as i64) >> 32) + c as i32 as i64)),
        ("mad", "s64") => llll(|a, b, c| (((a as i64 as i128 * b as i64 as i128) >> 64) as u64).wrapping_add(c)),
        ("mad", "u64") => llll(|a, b, c| (((a as u128 * b as u128) >> 64) as u64).wrapping_add(c)),
        ("mad", "s16") => wwww(|a, b, c| (((s16(a) * s16(b)) >> 16) as u32).wrapping_add(c) & 0xffff),
        ("mad", _) => wwww(|a, b, c| (a.wrapping_mul(b) >> 16).wrapping_add(c) & 0xffff),
        ("sad", "s16") => wwww(|a, b, c| ((s16(a) - s16(b)).unsigned_abs()).wrapping_add(c) & 0xffff),
        ("sad", "u16") => wwww(|a, b, c| a.abs_diff(b).wrapping_add(c) & 0xffff),
        ("sad", "s64") => llll(|a, b, c| (a as i64).abs_diff(b as i64).wrapping_add(c)),
        ("sad", _) => llll(|a, b, c| a.abs_diff(b).wrapping_add(c)),
        ("add", _) => www(move |a, b| halves(a, b, signed, |x, y| x.wrapping_add(y))),
        ("min" | "max", "s32") => www(move |a, b| extreme(a as i32, b as i32) as u32),
        ("min" | "max", _) => www(move |a, b| halves(a, b, signed, extreme)),
        ("bmsk", _) => www(move |a, b| bmsk(a, b, clamp)),
        ("szext", _) => www(move |a, b| szext(a, b, signed, clamp)),
        _ => wwww(fns),
    };
    d.num(num, i)
}

/// Extremes of magnitudes, with the product of the signs.
pub(super) fn xorsign(d: &mut Decoder, i: &Instr, mods: &[&str]) -> Done {
    let max = i.opcode.starts_with("max");
    let (ftz, nan) = (mods.contains(&"ftz"), mods.contains(&"NaN"));
    let ty = mods[mods.len() - 1];
    if ty == "f32" {
        let arg = move |x: u32| if ftz { fp::ftz(x) } else { x };
        let num = www(move |a, b| {
            let (x, y) = (arg(a) & 0x7fff_ffff, arg(b) & 0x7fff_ffff);
            let m = if max { fp::max(x, y, nan) } else { fp::min(x, y, nan) };
            if f32::from_bits(m).is_nan() { m } else { m | (a ^ b) & 1 << 31 }
        });
        return d.num(num, i);
    }
    let kind = if ty.starts_with("bf16") { Half::Bf16 } else { Half::F16 };
    let one = move |a: u32, b: u32| {
        let flush = |x: u32| if ftz && kind == Half::F16 { half::ftz(x) } else { x };
        let (x, y) = (flush(a) & 0x7fff, flush(b) & 0x7fff);
        let m = if max { half::max(x, y, nan, kind) } else { half::min(x, y, nan, kind) };
        if f32::from_bits(half::widen(m, kind)).is_nan() { m } else { m | (a ^ b) & 0x8000 }
    };
    let pair = ty.ends_with("x2");
    d.num(www(move |a, b| if pair { half::x2_2(a, b, one) } else { one(a & 0xffff, b & 0xffff) }), i)
}

/// Predicates from numbers: `d = w ≠ 0`.
fn nonzero(d: &mut Decoder, w: u16, p: u16) {
    let zero = d.constant(Bank::W, 0);
    d.put(Code::SetpU32, p, [w, zero, 0]);
    d.program.ops.last_mut().expect("just put").x = 1;
}

pub(super) fn testp(d: &mut Decoder, i: &Instr, mods: &[&str]) -> Done {
    use std::num::FpCategory::{Infinite, Nan, Normal, Subnormal, Zero};
    arity(i, 2)?;
    let list: &'static [std::num::FpCategory] = match mods[0] {
        "finite" => &[Normal, Subnormal, Zero],
        "infinite" => &[Infinite],
        "number" => &[Normal, Subnormal, Zero, Infinite],
        "notanumber" => &[Nan],
        // Zero counts as normal.
        "normal" => &[Normal, Zero],
        _ => &[Subnormal],
    };
    let wide = mods[1] == "f64";
    let a = d.src(&i.operands[1], if wide { Bank::L } else { Bank::W })?;
    let (t, p) = (d.temp(Bank::W), d.dst(&i.operands[0], Bank::P)?);
    let num = if wide {
        wl(move |a| list.contains(&f64::from_bits(a).classify()) as u32)
    } else {
        ww(move |a| list.contains(&f32::from_bits(a).classify()) as u32)
    };
    d.put_num(num, t, [a, 0, 0]);
    nonzero(d, t, p);
    Ok(())
}

/// `lop3` whose second result is a predicate: whether the first is not zero, and, or with another one.
pub(super) fn lop3_pred(d: &mut Decoder, i: &Instr, mods: &[&str]) -> Done {
    arity(i, 6)?;
    let Operand::Int(table @ 0..=255) = i.operands[4] else {
        return Err("the truth table must be a number from 0 to 255".into());
    };
    let Operand::Pair(to, p) = &i.operands[0] else { return Err("expected two results".into()) };
    let mut s = [0; 3];
    for k in 0..3 {
        s[k] = d.src(&i.operands[k + 1], Bank::W)?;
    }
    let q = d.pred(&i.operands[5])?;
    let (w, t) = (d.temp(Bank::W), d.temp(Bank::P));
    d.put(Code::Lop3, w, s);
    d.program.ops.last_mut().expect("just put").x = table as u16;
    nonzero(d, w, t);
    let to = if **to == Operand::Sink { None } else { Some(d.dst(to, Bank::W)?) };
    let p = d.dst(p, Bank::P)?;
    // The guard may be the predicate that is written: it comes last.
    if let Some(to) = to {
        d.put(Code::Mov32, to, [w, 0, 0]);
    }
    d.put(if mods[0] == "and" { Code::PredAnd } else { Code::PredOr }, p, [t, q, 0]);
    Ok(())
}

/// Fast approximations in f64, of the upper 32 bits: the lower ones of the result are zero.
pub(super) fn approximate64(d: &mut Decoder, i: &Instr, mods: &[&str]) -> Done {
    let rcp = i.opcode.starts_with("rcp");
    if !mods.contains(&"ftz") {
        return d.num(ll(|a| fp::f64_bits(1.0 / f64::from_bits(a).sqrt())), i);
    }
    let flush = |x: u64| if x & 0x7ff << 52 == 0 { x & 1 << 63 } else { x };
    let num = ll(move |a| {
        // The lower half of a NaN may be all there is of it.
        let x = if f64::from_bits(a).is_nan() { f64::NAN } else { f64::from_bits(flush(a & !0xffff_ffff)) };
        let y = if rcp { 1.0 / x } else { 1.0 / x.sqrt() };
        if y.is_nan() {
            return 0x7fff_ffff_0000_0000;
        }
        // To nearest in 20 bits of fraction.
        flush((y.to_bits() + 0x8000_0000) & !0xffff_ffff)
    });
    d.num(num, i)
}

/// Comparisons of pairs: a result for each half.
pub(super) fn set_pair(d: &mut Decoder, i: &Instr, mods: &[&str]) -> Done {
    let kind = if mods.last() == Some(&"bf16x2") { Half::Bf16 } else { Half::F16 };
    use Ordering::{Equal, Greater, Less};
    let ftz = mods.contains(&"ftz");
    let one = match mods[mods.len() - 2] {
        "f16x2" => 0x3c00,
        "bf16x2" => 0x3f80,
        _ => 0xffff,
    };
    let number = move |x: u32| f32::from_bits(half::widen(if ftz && kind == Half::F16 { half::ftz(x) } else { x }, kind));
    // `None`: an operand is NaN.
    let holds: fn(Option<Ordering>) -> bool = match mods[0] {
        "eq" => |o| o == Some(Equal),
        "ne" => |o| matches!(o, Some(Less | Greater)),
        "lt" => |o| o == Some(Less),
        "le" => |o| matches!(o, Some(Less | Equal)),
        "gt" => |o| o == Some(Greater),
        "ge" => |o| matches!(o, Some(Greater | Equal)),
        "equ" => |o| matches!(o, None | Some(Equal)),
        "neu" => |o| o != Some(Equal),
        "ltu" => |o| matches!(o, None | Some(Less)),
        "leu" => |o| o != Some(Greater),
        "gtu" => |o| matches!(o, None | Some(Greater)),
        "geu" => |o| o != Some(Less),
        "num" => |o| o.is_some(),
        _ => |o| o.is_none(),
    };
    d.num(www(move |a, b| half::x2_2(a, b, |a, b| if holds(number(a).partial_cmp(&number(b))) { one } else { 0 })), i)
}

/// Comparisons of pairs into two predicates: of the low halves, and of the high ones.
pub(super) fn setp_pair(d: &mut Decoder, i: &Instr, mods: &[&str]) -> Done {
    let logic = mods.iter().find(|m| matches!(**m, "and" | "or" | "xor"));
    arity(i, 3 + logic.is_some() as usize)?;
    let ty = if mods.last() == Some(&"bf16x2") { "bf16" } else { "f16" };
    let Operand::Pair(p, q) = &i.operands[0] else { return Err("expected two results".into()) };
    let (a, b) = (d.src(&i.operands[1], Bank::W)?, d.src(&i.operands[2], Bank::W)?);
    let other = if logic.is_some() { Some(d.pred(&i.operands[3])?) } else { None };
    let sixteen = d.constant(Bank::W, 16);
    let mut found = [0; 2];
    for (k, to) in found.iter_mut().enumerate() {
        let (mut x, mut y) = (a, b);
        for s in [&mut x, &mut y] {
            if k == 1 {
                let t = d.temp(Bank::W);
                d.put(Code::ShrU32, t, [*s, sixteen, 0]);
                *s = t;
            }
            if mods.contains(&"ftz") && ty == "f16" {
                let t = d.temp(Bank::W);
                d.put_num(ww(|x| half::ftz(x & 0xffff)), t, [*s, 0, 0]);
                *s = t;
            }
        }
        *to = d.temp(Bank::P);
        compare(d, mods[0], ty, x, y, *to)?;
    }
    // Both comparisons were made before a result is written: a result may be the guard, or the third operand.
    let code = match logic {
        Some(&"and") => Code::PredAnd,
        Some(&"or") => Code::PredOr,
        Some(_) => Code::PredXor,
        None => Code::PredMov,
    };
    let mut results = [0; 2];
    for k in 0..2 {
        results[k] = d.temp(Bank::P);
        d.put(code, results[k], [found[k], other.unwrap_or(0), 0]);
    }
    let guard = d.guard;
    if guard.0 != 0 {
        let keep = d.temp(Bank::P);
        d.put(if guard.1 == 0 { Code::PredMov } else { Code::PredNot }, keep, [guard.0, 0, 0]);
        d.program.ops.last_mut().expect("just put").pred = 0;
        d.program.ops.last_mut().expect("just put").neg = 0;
        d.guard = (keep, 0);
    }
    for (o, from) in [p, q].into_iter().zip(results).filter(|(o, _)| ***o != Operand::Sink) {
        let to = d.dst(o, Bank::P)?;
        d.put(Code::PredMov, to, [from, 0, 0]);
    }
    Ok(())
}

/// `set` that combines its comparison with a predicate.
pub(super) fn set_logic(d: &mut Decoder, i: &Instr, mods: &[&str]) -> Done {
    arity(i, 4)?;
    let other = d.pred(&i.operands[3])?;
    let ty = mods[mods.len() - 1];
    let (t, u) = (d.temp(Bank::P), d.temp(Bank::P));
    let bank = super::decoder::type_bank(ty);
    let (mut a, mut b) = (d.src(&i.operands[1], bank)?, d.src(&i.operands[2], bank)?);
    if mods.contains(&"ftz") && ty == "f32" {
        for s in [&mut a, &mut b] {
            let t = d.temp(Bank::W);
            d.put(Code::FtzF, t, [*s, 0, 0]);
            *s = t;
        }
    }
    compare(d, mods[0], ty, a, b, t)?;
    let code = match mods[1] {
        "and" => Code::PredAnd,
        "or" => Code::PredOr,
        _ => Code::PredXor,
    };
    d.put(code, u, [t, other, 0]);
    let (yes, no) = (d.constant(Bank::W, truth(mods[mods.len() - 2])), d.constant(Bank::W, 0));
    let dst = d.dst(&i.operands[0], Bank::W)?;
    d.put(Code::Selp32, dst, [yes, no, u]);
    Ok(())
}
