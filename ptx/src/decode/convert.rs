//! Moves, conversions, and addresses from one space to another.

use super::decoder::{Decoder, Done, arity, type_bank};
use super::numeric::{self, Width};
use crate::mem::{LOCAL_WINDOW, SHARED_WINDOW};
use crate::op::{Bank, Code, Num};
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

/// Bytes of a type.
fn size(ty: &str) -> u32 {
    if ty == "tf32" { 4 } else { type_size(&format!(".{ty}")).expect("the form lists types") }
}

fn signed(ty: &str) -> bool {
    ty.starts_with('s')
}

/// The result register of a `cvt`. It may be wider than the type: it is filled by the sign of the type, with zeros for a float.
struct Target {
    slot: u16,
    bank: Bank,
    /// The register has 16 bits: a sign extension goes no further.
    half: bool,
}

impl Target {
    fn of(d: &mut Decoder, o: &Operand, ty: &str) -> Result<Target, String> {
        let (bank, half) = (d.bank(o).unwrap_or(type_bank(ty)), d.is_half(o));
        let bytes = match bank {
            Bank::L => 8,
            _ if half => 2,
            _ => 4,
        };
        if bank != Bank::P && bytes < size(ty) {
            return Err(format!("the result's register has {} bits, fewer than its type", 8 * bytes));
        }
        let slot = d.dst(o, if bank == Bank::P { Bank::W } else { bank })?;
        Ok(Target { slot, bank, half })
    }

    fn width(&self) -> Width {
        match self.bank {
            Bank::L => Width::B64,
            _ if self.half => Width::B16,
            _ => Width::B32,
        }
    }

    /// Puts the low `bytes` of slot `a` there, extended to the register's width.
    fn fill(&self, d: &mut Decoder, a: u16, from: Bank, bytes: u32, sign: bool) {
        let (a, from) = match (from, self.bank) {
            (Bank::L, Bank::W) => {
                let t = d.temp(Bank::W);
                d.put(Code::Cvt32L, t, [a, 0, 0]);
                (t, Bank::W)
            }
            same => (a, same.0),
        };
        let code = match (from, self.bank, bytes, sign) {
            (Bank::W, Bank::W, 1, true) if self.half => Code::Sext8To16,
            (Bank::W, Bank::W, 1, true) => Code::Sext8,
            (Bank::W, Bank::W, 1, false) => Code::Zext8,
            (Bank::W, Bank::W, 2, true) if !self.half => Code::Sext16,
            (Bank::W, Bank::W, 2, _) => Code::Zext16,
            (Bank::W, Bank::W, ..) => Code::Mov32,
            (Bank::W, _, 1, true) => Code::Ext8S64,
            (Bank::W, _, 1, false) => Code::Ext8U64,
            (Bank::W, _, 2, true) => Code::Ext16S64,
            (Bank::W, _, 2, false) => Code::Ext16U64,
            (Bank::W, _, _, true) => Code::CvtS64S32,
            (Bank::W, ..) => Code::CvtU64U32,
            (_, _, 1, true) => Code::Sext8L,
            (_, _, 1, false) => Code::Zext8L,
            (_, _, 2, true) => Code::Sext16L,
            (_, _, 2, false) => Code::Zext16L,
            (_, _, 4, true) => Code::Sext32L,
            (_, _, 4, false) => Code::Zext32L,
            _ => Code::Mov64,
        };
        d.put(code, self.slot, [a, 0, 0]);
    }
}

/// Integer to integer: take the source's type, then the destination's, then fill the register.
pub(super) fn cvt_int(d: &mut Decoder, i: &Instr, mods: &[&str]) -> Done {
    arity(i, 2)?;
    let (to, from) = (mods[0], mods[1]);
    let bank = type_bank(from);
    let a = d.src(&i.operands[1], bank)?;
    let target = Target::of(d, &i.operands[0], to)?;
    if size(to) <= size(from) {
        target.fill(d, a, bank, size(to), signed(to));
    } else if signed(from) && !signed(to) {
        // First by the sign of the source to the size of the destination's type, then by zeros.
        let t = d.temp(type_bank(to));
        let code = match (size(from), size(to)) {
            (1, 2) => Code::Sext8To16,
            (1, 4) => Code::Sext8,
            (2, 4) => Code::Sext16,
            (1, _) => Code::Ext8S64,
            (2, _) => Code::Ext16S64,
            _ => Code::CvtS64S32,
        };
        d.put(code, t, [a, 0, 0]);
        target.fill(d, t, type_bank(to), size(to), false);
    } else {
        target.fill(d, a, bank, size(from), signed(from));
    }
    Ok(())
}

pub(super) fn cvt(d: &mut Decoder, i: &Instr, mods: &[&str]) -> Done {
    arity(i, 2)?;
    let (to, from) = (mods[mods.len() - 2], mods[mods.len() - 1]);
    let mut a = d.src(&i.operands[1], type_bank(from))?;
    let target = Target::of(d, &i.operands[0], to)?;
    let float = |t: &str| t.starts_with('f') || t.starts_with('b') || t.starts_with('t');
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
    let converted = if float(to) {
        numeric::cvt(&rounding, to, from)
    } else {
        numeric::float_to_int(&rounding, to, from, target.width()).map(numeric::Cvt::Num)
    };
    let Some(converted) = converted else { return Err(format!("`{}`: this rounding is not supported", i.opcode)) };
    // Only an integer is computed to the register's width: a float in a wider register is widened afterwards.
    let wider = float(to) && target.bank != type_bank(to);
    let slot = if wider { d.temp(type_bank(to)) } else { target.slot };
    match converted {
        numeric::Cvt::Code(code) => d.put(code, slot, [a, 0, 0]),
        numeric::Cvt::Num(num) => d.put_num(num, slot, [a, 0, 0]),
    }
    if wider {
        target.fill(d, slot, type_bank(to), size(to), false);
    }
    Ok(())
}

/// From a register of `from` to a float of type `to`, by a function; the result's register may be wider than the type.
pub(super) fn cvt_by(d: &mut Decoder, i: &Instr, num: Num, to: &str, from: &str) -> Done {
    arity(i, 2)?;
    let a = d.src(&i.operands[1], type_bank(from))?;
    let target = Target::of(d, &i.operands[0], to)?;
    let wider = target.bank != type_bank(to);
    let slot = if wider { d.temp(type_bank(to)) } else { target.slot };
    d.put_num(num, slot, [a, 0, 0]);
    if wider {
        target.fill(d, slot, type_bank(to), size(to), false);
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
    let a = d.src(&i.operands[1], type_bank(from))?;
    let target = Target::of(d, &i.operands[0], to)?;
    d.put_num(numeric::cvt_sat(to, from, target.width()), target.slot, [a, 0, 0]);
    Ok(())
}

pub(super) fn cvta(d: &mut Decoder, i: &Instr, mods: &[&str]) -> Done {
    arity(i, 2)?;
    let to = mods[0] == "to";
    let space = mods[to as usize];
    let a = d.src(&i.operands[1], Bank::L)?;
    let dst = d.dst(&i.operands[0], Bank::L)?;
    let window = match space {
        "shared" | "shared::cta" | "shared::cluster" => SHARED_WINDOW,
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
        "local" => 1,
        "const" => 2,
        "global" => 3,
        "param" | "param::entry" => 4,
        _ => 0,
    };
    Ok(())
}
