//! Arithmetic, comparison and selection, where an instruction is more than a code with its operands.

use super::decoder::{Decoder, Done, arity, type_bank};
use super::numeric;
use crate::num::half;
use crate::op::{Bank, Code};
use crate::program::Preset;
use crate::source::{Instr, Operand};

pub(super) fn carry(d: &mut Decoder, i: &Instr, mods: &[&str]) -> Done {
    let name = i.opcode.split('.').next().expect("an opcode has a name");
    let ty = *mods.last().expect("every form has a type");
    let bank = type_bank(ty);
    let code = match (name, mods[0], bank == Bank::L) {
        ("add" | "addc", _, false) => Code::AddC,
        ("add" | "addc", _, true) => Code::AddC64,
        ("sub" | "subc", _, false) => Code::SubC,
        ("sub" | "subc", _, true) => Code::SubC64,
        (_, "lo", false) => Code::MadLoC,
        (_, "lo", true) => Code::MadLoC64,
        (_, _, false) => Code::MadHiC,
        (_, _, true) => Code::MadHiC64,
    };
    let n = if name.starts_with("mad") { 3 } else { 2 };
    arity(i, n + 1)?;
    let mut s = [0; 3];
    for k in 0..n {
        s[k] = d.src(&i.operands[k + 1], bank)?;
    }
    let dst = d.dst(&i.operands[0], bank)?;
    // The carry flag is one more predicate of the function.
    let flag = d.preset(Bank::P, Preset::Bits(0));
    d.put(code, dst, s);
    let op = d.program.ops.last_mut().expect("just put");
    op.x = name.ends_with('c') as u16 | (mods.contains(&"cc") as u16) << 1 | (ty.starts_with('s') as u16) << 2;
    op.imm = flag as i32;
    Ok(())
}

pub(super) fn pred_logic(d: &mut Decoder, i: &Instr, _: &[&str]) -> Done {
    let code = match i.opcode.as_str() {
        "and.pred" => Code::PredAnd,
        "or.pred" => Code::PredOr,
        "xor.pred" => Code::PredXor,
        _ => Code::PredNot,
    };
    let n = if code == Code::PredNot { 2 } else { 3 };
    arity(i, n)?;
    let a = d.pred(&i.operands[1])?;
    let b = if n == 3 { d.pred(&i.operands[2])? } else { 0 };
    let dst = d.dst(&i.operands[0], Bank::P)?;
    d.put(code, dst, [a, b, 0]);
    Ok(())
}

pub(super) fn bit_field(d: &mut Decoder, i: &Instr, mods: &[&str]) -> Done {
    let bank = type_bank(mods[0]);
    let insert = i.opcode.starts_with("bfi");
    arity(i, if insert { 5 } else { 4 })?;
    let a = d.src(&i.operands[1], bank)?;
    let b = if insert { d.src(&i.operands[2], bank)? } else { 0 };
    let at = 2 + insert as usize;
    let (pos, len) = (d.src(&i.operands[at], Bank::W)?, d.src(&i.operands[at + 1], Bank::W)?);
    let dst = d.dst(&i.operands[0], bank)?;
    let code = match i.opcode.as_str() {
        "bfi.b32" => Code::Bfi32,
        "bfi.b64" => Code::Bfi64,
        "bfe.u64" => Code::BfeU64,
        _ => Code::BfeS64,
    };
    d.put(code, dst, [a, b, pos]);
    d.program.ops.last_mut().expect("just put").x = len;
    Ok(())
}

pub(super) fn lop3(d: &mut Decoder, i: &Instr, _: &[&str]) -> Done {
    arity(i, 5)?;
    let Operand::Int(table @ 0..=255) = i.operands[4] else {
        return Err("the truth table must be a number from 0 to 255".into());
    };
    let mut s = [0; 3];
    for k in 0..3 {
        s[k] = d.src(&i.operands[k + 1], Bank::W)?;
    }
    let dst = d.dst(&i.operands[0], Bank::W)?;
    d.put(Code::Lop3, dst, s);
    d.program.ops.last_mut().expect("just put").x = table as u16;
    Ok(())
}

pub(super) fn float(d: &mut Decoder, i: &Instr, mods: &[&str]) -> Done {
    let name = i.opcode.split('.').next().expect("an opcode has a name");
    match numeric::float(name, mods) {
        Some(num) => d.num(num, i),
        None => Err(format!("`{}`: this rounding is not supported", i.opcode)),
    }
}

pub(super) fn half(d: &mut Decoder, i: &Instr, mods: &[&str]) -> Done {
    let name = i.opcode.split('.').next().expect("an opcode has a name");
    match numeric::half(name, mods) {
        Some(num) => d.num(num, i),
        None => Err(format!("`{}`: this form is not supported", i.opcode)),
    }
}

/// Relations, in the order of [`Op::x`].
const RELATIONS: [&str; 14] = ["eq", "ne", "lt", "le", "gt", "ge", "equ", "neu", "ltu", "leu", "gtu", "geu", "num", "nan"];

/// A comparison of two operands.
fn compare_operands(d: &mut Decoder, relation: &str, ty: &str, ftz: bool, a: &Operand, b: &Operand, dst: u16) -> Done {
    let bank = type_bank(ty);
    let (mut a, mut b) = (d.src(a, bank)?, d.src(b, bank)?);
    if ftz && matches!(ty, "f32" | "f16") {
        for s in [&mut a, &mut b] {
            let t = d.temp(Bank::W);
            if ty == "f32" {
                d.put(Code::FtzF, t, [*s, 0, 0]);
            } else {
                d.put_num(numeric::ww(|x| half::ftz(x & 0xffff)), t, [*s, 0, 0]);
            }
            *s = t;
        }
    }
    compare(d, relation, ty, a, b, dst)
}

/// A comparison of two slots.
pub(super) fn compare(d: &mut Decoder, relation: &str, ty: &str, a: u16, b: u16, dst: u16) -> Done {
    let unsigned = matches!(relation, "lo" | "ls" | "hi" | "hs");
    let relation = match relation {
        "lo" => "lt",
        "ls" => "le",
        "hi" => "gt",
        "hs" => "ge",
        r => r,
    };
    let code = match ty {
        "s16" if !unsigned => Code::SetpS16,
        "s32" if !unsigned => Code::SetpS32,
        "s64" if !unsigned => Code::SetpS64,
        "b16" | "u16" | "s16" | "b32" | "u32" | "s32" => Code::SetpU32,
        "b64" | "u64" | "s64" => Code::SetpU64,
        "f32" => Code::SetpF,
        "f64" => Code::SetpD,
        "f16" => Code::SetpH,
        "bf16" => Code::SetpBf,
        _ => return Err(format!("comparison of {ty} is not supported")),
    };
    d.put(code, dst, [a, b, 0]);
    d.program.ops.last_mut().expect("just put").x = RELATIONS.iter().position(|r| *r == relation).expect("a relation") as u16;
    Ok(())
}

pub(super) fn setp(d: &mut Decoder, i: &Instr, mods: &[&str]) -> Done {
    let (relation, ty) = (mods[0], mods[mods.len() - 1]);
    let logic = mods.iter().find(|m| matches!(**m, "and" | "or" | "xor"));
    let ftz = mods.contains(&"ftz");
    arity(i, 3 + logic.is_some() as usize)?;
    let (p, q) = match &i.operands[0] {
        Operand::Pair(p, q) => (d.dst(p, Bank::P)?, Some(d.dst(q, Bank::P)?)),
        o => (d.dst(o, Bank::P)?, None),
    };
    if q.is_none() && logic.is_none() {
        return compare_operands(d, relation, ty, ftz, &i.operands[1], &i.operands[2], p);
    }
    // All steps work on temporaries: a result may be the register of the guard, or of the third operand.
    let other = if logic.is_some() { Some(d.pred(&i.operands[3])?) } else { None };
    let (guard, all) = (d.guard, d.temp(Bank::P));
    d.guard = (0, 0);
    let keep = d.temp(Bank::P);
    d.put(if guard.1 == 0 { Code::PredMov } else { Code::PredNot }, keep, [guard.0, 0, 0]);
    d.guard = (keep, 0);
    compare_operands(d, relation, ty, ftz, &i.operands[1], &i.operands[2], all)?;
    let code = match logic {
        Some(&"and") => Code::PredAnd,
        Some(&"or") => Code::PredOr,
        Some(_) => Code::PredXor,
        None => Code::PredMov,
    };
    let first = d.temp(Bank::P);
    d.put(code, first, [all, other.unwrap_or(0), 0]);
    if let Some(q) = q {
        let not = d.temp(Bank::P);
        d.put(Code::PredNot, not, [all, 0, 0]);
        d.put(code, q, [not, other.unwrap_or(0), 0]);
    }
    d.put(Code::PredMov, p, [first, 0, 0]);
    Ok(())
}

/// What `set` gives where a comparison holds, in its result's type: one as a float, all ones as an integer.
pub(super) fn truth(ty: &str) -> u64 {
    match ty {
        "f32" => 0x3f80_0000,
        "f16" => 0x3c00,
        "bf16" => 0x3f80,
        "u16" | "s16" => 0xffff,
        _ => 0xffff_ffff,
    }
}

pub(super) fn set(d: &mut Decoder, i: &Instr, mods: &[&str]) -> Done {
    arity(i, 3)?;
    let t = d.temp(Bank::P);
    compare_operands(d, mods[0], mods[mods.len() - 1], mods.contains(&"ftz"), &i.operands[1], &i.operands[2], t)?;
    let (yes, no) = (d.constant(Bank::W, truth(mods[mods.len() - 2])), d.constant(Bank::W, 0));
    let dst = d.dst(&i.operands[0], Bank::W)?;
    d.put(Code::Selp32, dst, [yes, no, t]);
    Ok(())
}

pub(super) fn selp(d: &mut Decoder, i: &Instr, mods: &[&str]) -> Done {
    arity(i, 4)?;
    let bank = type_bank(mods[0]);
    let (a, b) = (d.src(&i.operands[1], bank)?, d.src(&i.operands[2], bank)?);
    let c = d.pred(&i.operands[3])?;
    let dst = d.dst(&i.operands[0], bank)?;
    d.put(if bank == Bank::L { Code::Selp64 } else { Code::Selp32 }, dst, [a, b, c]);
    Ok(())
}

/// `a` where `c ≥ 0`, else `b`.
pub(super) fn slct(d: &mut Decoder, i: &Instr, mods: &[&str]) -> Done {
    arity(i, 4)?;
    let bank = type_bank(mods[mods.len() - 2]);
    let (a, b) = (d.src(&i.operands[1], bank)?, d.src(&i.operands[2], bank)?);
    let t = d.temp(Bank::P);
    compare_operands(d, "ge", mods[mods.len() - 1], mods.contains(&"ftz"), &i.operands[3], &Operand::Int(0), t)?;
    let dst = d.dst(&i.operands[0], bank)?;
    d.put(if bank == Bank::L { Code::Selp64 } else { Code::Selp32 }, dst, [a, b, t]);
    Ok(())
}
