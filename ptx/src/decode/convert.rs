//! Moves, conversions, and addresses from one space to another.

use super::decoder::{Decoder, Done, arity, type_bank};
use super::numeric;
use crate::mem::{LOCAL_WINDOW, SHARED_WINDOW};
use crate::op::{Bank, Code};
use crate::source::{Instr, Operand, type_size};

pub(super) fn mov(d: &mut Decoder, i: &Instr, mods: &[&str]) -> Done {
    arity(i, 2)?;
    if mods[0] == "pred" {
        let a = d.pred(&i.operands[1])?;
        let dst = d.dst(&i.operands[0], Bank::P)?;
        d.put(Code::PredMov, dst, [a, 0, 0]);
        return Ok(());
    }
    let bank = type_bank(mods[0]);
    match (&i.operands[0], &i.operands[1]) {
        (to, Operand::Vector(parts)) => {
            d.width = 4;
            let from = match (bank, parts.len()) {
                (Bank::W, 2) | (Bank::L, 2 | 4) => parts.iter().map(|p| d.src(p, Bank::W)).collect::<Result<Vec<_>, _>>()?,
                _ => return Err(format!("{} parts do not make a {}", parts.len(), mods[0])),
            };
            let dst = d.dst(to, bank)?;
            let code = match (bank, from.len()) {
                (Bank::W, _) => Code::Pack16,
                (_, 2) => Code::Pack32x2,
                _ => Code::Pack16x4,
            };
            let at = |k: usize| from.get(k).copied().unwrap_or(0);
            d.put(code, dst, [at(0), at(1), at(2)]);
            d.program.ops.last_mut().expect("just put").x = at(3);
        }
        (Operand::Vector(parts), from) => {
            let a = d.src(from, bank)?;
            let to = parts.iter().map(|p| d.dst(p, Bank::W)).collect::<Result<Vec<_>, _>>()?;
            let code = match (bank, to.len()) {
                (Bank::W, 2) => Code::Unpack16,
                (Bank::L, 2) => Code::Unpack32,
                (Bank::L, 4) => Code::Unpack16x4,
                _ => return Err(format!("a {} has no {} parts", mods[0], parts.len())),
            };
            let at = |k: usize| to.get(k).copied().unwrap_or(0);
            let op = d.emit(code);
            (op.a, op.d, op.b, op.c, op.x) = (a, at(0), at(1), at(2), at(3));
        }
        (to, from) => {
            let a = d.src(from, bank)?;
            let dst = d.dst(to, bank)?;
            d.put(if bank == Bank::L { Code::Mov64 } else { Code::Mov32 }, dst, [a, 0, 0]);
        }
    }
    Ok(())
}

/// Integer to integer: take the source's type, then the destination's, then fill the register.
pub(super) fn cvt_int(d: &mut Decoder, i: &Instr, mods: &[&str]) -> Done {
    arity(i, 2)?;
    let (to, from) = (mods[0], mods[1]);
    let size = |t: &str| type_size(&format!(".{t}")).expect("the form lists types");
    let dst_bank = d.bank(&i.operands[0]).unwrap_or(if size(to) == 8 { Bank::L } else { Bank::W });
    let src_bank = if size(from) == 8 { Bank::L } else { Bank::W };
    let a = d.src(&i.operands[1], src_bank)?;
    let dst = d.dst(&i.operands[0], dst_bank)?;
    let signed = |t: &str| t.starts_with('s');
    // The narrower of the two types decides which bits survive, and how they are extended: by its sign, or by zeros.
    let (bytes, sign) = if size(to) <= size(from) { (size(to), signed(to)) } else { (size(from), signed(from)) };
    // A 16-bit register holds its value zero-extended: a sign extension to 32 bits is cut to 16 again.
    let half = d.is_half(&i.operands[0]);
    let code = match (src_bank, dst_bank) {
        (Bank::W, Bank::W) => match (bytes, sign, half) {
            (1, true, true) => Code::Sext8To16,
            (1, true, false) if size(to) == 2 => Code::Sext8To16,
            (1, true, false) => Code::Sext8,
            (1, false, _) => Code::Zext8,
            (2, true, false) if size(to) > 2 => Code::Sext16,
            (2, true, false) if size(to) == 2 => Code::Sext16,
            (2, ..) => Code::Zext16,
            _ => Code::Mov32,
        },
        (Bank::W, _) => match (bytes, sign) {
            (1, true) => Code::Ext8S64,
            (1, false) => Code::Ext8U64,
            (2, true) => Code::Ext16S64,
            (2, false) => Code::Ext16U64,
            (_, true) => Code::CvtS64S32,
            _ => Code::CvtU64U32,
        },
        (_, Bank::W) => match (bytes, sign, half) {
            (1 | 2, ..) => {
                let t = d.temp(Bank::W);
                d.put(Code::Cvt32L, t, [a, 0, 0]);
                let code = match (bytes, sign, half) {
                    (1, true, true) => Code::Sext8To16,
                    (1, true, false) => Code::Sext8,
                    (1, false, _) => Code::Zext8,
                    (2, true, false) => Code::Sext16,
                    _ => Code::Zext16,
                };
                d.put(code, dst, [t, 0, 0]);
                return Ok(());
            }
            _ => Code::Cvt32L,
        },
        _ => match (bytes, sign) {
            (1, true) => Code::Sext8L,
            (1, false) => Code::Zext8L,
            (2, true) => Code::Sext16L,
            (2, false) => Code::Zext16L,
            (4, true) => Code::Sext32L,
            (4, false) => Code::Zext32L,
            _ => Code::Mov64,
        },
    };
    d.put(code, dst, [a, 0, 0]);
    Ok(())
}

pub(super) fn cvt(d: &mut Decoder, i: &Instr, mods: &[&str]) -> Done {
    arity(i, 2)?;
    let (to, from) = (mods[mods.len() - 2], mods[mods.len() - 1]);
    let size = |t: &str| if t == "tf32" { 4 } else { type_size(&format!(".{t}")).expect("the form lists types") };
    let src_bank = if size(from) == 8 { Bank::L } else { Bank::W };
    let mut a = d.src(&i.operands[1], src_bank)?;
    let dst_bank = if size(to) == 8 { Bank::L } else { Bank::W };
    let dst = d.dst(&i.operands[0], dst_bank)?;
    let float = |t: &str| t.starts_with('f') || t.starts_with('b');
    // Small integers are widened first.
    let mut from = from;
    if !float(from) && size(from) < 4 {
        let t = d.temp(Bank::W);
        let code = match from {
            "s8" => Code::Sext8,
            "u8" => Code::Zext8,
            "s16" => Code::Sext16,
            _ => Code::Zext16,
        };
        d.put(code, t, [a, 0, 0]);
        a = t;
        from = if from.starts_with('s') { "s32" } else { "u32" };
    }
    let rounding: Vec<&str> = mods[..mods.len() - 2].to_vec();
    match numeric::cvt(&rounding, to, from) {
        Some(numeric::Cvt::Code(code)) => d.put(code, dst, [a, 0, 0]),
        Some(numeric::Cvt::Num(num)) => d.put_num(num, dst, [a, 0, 0]),
        None => return Err(format!("`{}`: this rounding is not supported", i.opcode)),
    }
    Ok(())
}

/// Two floats to a pair: the first goes to the high half.
pub(super) fn cvt_pair(d: &mut Decoder, i: &Instr, mods: &[&str]) -> Done {
    d.num(numeric::cvt_pair(mods), i)
}

/// Between integers, to the nearest value of the destination's type.
pub(super) fn cvt_sat(d: &mut Decoder, i: &Instr, mods: &[&str]) -> Done {
    arity(i, 2)?;
    let (to, from) = (mods[1], mods[2]);
    let wide = |t: &str| t.ends_with("64");
    let a = d.src(&i.operands[1], if wide(from) { Bank::L } else { Bank::W })?;
    let dst = d.dst(&i.operands[0], if wide(to) { Bank::L } else { Bank::W })?;
    let half = d.is_half(&i.operands[0]);
    d.put_num(numeric::cvt_sat(to, from, half), dst, [a, 0, 0]);
    Ok(())
}

pub(super) fn cvta(d: &mut Decoder, i: &Instr, mods: &[&str]) -> Done {
    arity(i, 2)?;
    let to = mods[0] == "to";
    let space = mods[to as usize];
    let a = d.src(&i.operands[1], Bank::L)?;
    let dst = d.dst(&i.operands[0], Bank::L)?;
    let window = match space {
        "shared" => SHARED_WINDOW,
        "local" => LOCAL_WINDOW,
        // Parameter addresses carry their window already; global and constant memory lie at their generic addresses.
        _ => {
            d.put(Code::Mov64, dst, [a, 0, 0]);
            return Ok(());
        }
    };
    let w = d.constant(Bank::L, window);
    d.put(if to { Code::Sub64 } else { Code::Add64 }, dst, [a, w, 0]);
    Ok(())
}

pub(super) fn isspacep(d: &mut Decoder, i: &Instr, mods: &[&str]) -> Done {
    arity(i, 2)?;
    let a = d.src(&i.operands[1], Bank::L)?;
    let dst = d.dst(&i.operands[0], Bank::P)?;
    d.put(Code::IsSpace, dst, [a, 0, 0]);
    d.program.ops.last_mut().expect("just put").x = match mods[0] {
        "shared" => 0,
        "local" => 1,
        "const" => 2,
        _ => 3,
    };
    Ok(())
}
