//! Barriers, and the instructions that lanes of a warp execute as one.

use super::decoder::{Decoder, Done, arity, type_bank};
use crate::op::{Bank, Code, barrier};
use crate::source::{Instr, Operand};

pub(super) fn bar(d: &mut Decoder, i: &Instr, mods: &[&str]) -> Done {
    let has = |m: &str| mods.contains(&m);
    let mut x = match () {
        _ if has("arrive") => barrier::ARRIVE,
        _ if has("popc") => barrier::POPC,
        _ if has("and") => barrier::AND,
        _ if has("or") => barrier::OR,
        _ => barrier::SYNC,
    };
    if i.opcode.starts_with("bar.") || has("aligned") {
        x |= barrier::ALIGNED;
    }
    let red = x & barrier::KIND >= barrier::POPC;
    let operands = i.operands.as_slice();
    let (result, operands) = if red {
        let bank = if x & barrier::KIND == barrier::POPC { Bank::W } else { Bank::P };
        let [first, rest @ ..] = operands else { return Err("expected a result".into()) };
        (d.dst(first, bank)?, rest)
    } else {
        (0, operands)
    };
    let (source, operands) = if red {
        let [rest @ .., last] = operands else { return Err("expected a predicate".into()) };
        let (o, not) = match last {
            Operand::NotReg(r) => (Operand::Reg(*r), true),
            o => (o.clone(), false),
        };
        if not {
            x |= barrier::NOT;
        }
        (d.src(&o, Bank::P)?, rest)
    } else {
        (0, operands)
    };
    let (id, count) = match operands {
        [id] if x & barrier::KIND != barrier::ARRIVE => (d.src(id, Bank::W)?, 0),
        [id, n] => {
            x |= barrier::COUNT;
            (d.src(id, Bank::W)?, d.src(n, Bank::W)?)
        }
        _ => return Err("expected a barrier, and the number of threads".into()),
    };
    let op = d.emit(Code::Bar);
    (op.d, op.a, op.b, op.c, op.x) = (result, id, count, source, x);
    Ok(())
}

pub(super) fn bar_warp(d: &mut Decoder, i: &Instr, _: &[&str]) -> Done {
    arity(i, 1)?;
    let mask = d.src(&i.operands[0], Bank::W)?;
    d.emit(Code::BarWarp).imm = mask as i32;
    Ok(())
}

/// `.sync` instructions keep the slot of their member mask in `imm`.
pub(super) fn shfl(d: &mut Decoder, i: &Instr, mods: &[&str]) -> Done {
    arity(i, 5)?;
    let (to, p) = match &i.operands[0] {
        Operand::Pair(a, p) => (d.dst(a, Bank::W)?, if **p == Operand::Sink { 0 } else { d.dst(p, Bank::P)? }),
        o => (d.dst(o, Bank::W)?, 0),
    };
    let mut s = [0; 4];
    for k in 0..4 {
        s[k] = d.src(&i.operands[k + 1], Bank::W)?;
    }
    let mode = match mods[1] {
        "up" => 0,
        "down" => 1,
        "bfly" => 2,
        _ => 3,
    };
    let op = d.emit(Code::Shfl);
    (op.d, op.a, op.b, op.c) = (to, s[0], s[1], s[2]);
    op.imm = s[3] as i32;
    // The predicate shares `x` with the mode; 0 is the constant predicate and so means none.
    if p >= 1 << 14 {
        return Err("too many predicates".into());
    }
    op.x = mode | p << 2;
    Ok(())
}

pub(super) fn vote(d: &mut Decoder, i: &Instr, mods: &[&str]) -> Done {
    arity(i, 3)?;
    let mode = match mods[1] {
        "all" => 0,
        "any" => 1,
        "uni" => 2,
        _ => 3,
    };
    let dst = d.dst(&i.operands[0], if mode == 3 { Bank::W } else { Bank::P })?;
    let a = d.pred(&i.operands[1])?;
    let mask = d.src(&i.operands[2], Bank::W)?;
    let op = d.emit(Code::Vote);
    (op.d, op.a, op.x, op.imm) = (dst, a, mode, mask as i32);
    Ok(())
}

pub(super) fn match_(d: &mut Decoder, i: &Instr, mods: &[&str]) -> Done {
    arity(i, 3)?;
    let bank = type_bank(mods[2]);
    let all = mods[0] == "all";
    let (dst, p) = match &i.operands[0] {
        Operand::Pair(a, p) if all => (d.dst(a, Bank::W)?, if **p == Operand::Sink { 0 } else { d.dst(p, Bank::P)? }),
        o => (d.dst(o, Bank::W)?, 0),
    };
    let a = d.src(&i.operands[1], bank)?;
    let mask = {
        d.width = 4;
        d.src(&i.operands[2], Bank::W)?
    };
    let op = d.emit(Code::Match);
    (op.d, op.a, op.b, op.imm) = (dst, a, p, mask as i32);
    op.x = all as u16 | ((bank == Bank::L) as u16) << 1;
    Ok(())
}

pub(super) fn redux(d: &mut Decoder, i: &Instr, mods: &[&str]) -> Done {
    arity(i, 3)?;
    let a = d.src(&i.operands[1], Bank::W)?;
    let mask = d.src(&i.operands[2], Bank::W)?;
    let dst = d.dst(&i.operands[0], Bank::W)?;
    let signed = mods[2] == "s32";
    let mode = match mods[1] {
        "add" => 0,
        "min" => 1 + ((signed as u16) << 1),
        "max" => 2 + ((signed as u16) << 1),
        "and" => 5,
        "or" => 6,
        _ => 7,
    };
    let op = d.emit(Code::Redux);
    (op.d, op.a, op.x, op.imm) = (dst, a, mode, mask as i32);
    Ok(())
}

pub(super) fn activemask(d: &mut Decoder, i: &Instr, _: &[&str]) -> Done {
    arity(i, 1)?;
    let dst = d.dst(&i.operands[0], Bank::W)?;
    d.emit(Code::ActiveMask).d = dst;
    Ok(())
}

/// `elect.sync`: the lowest lane of the mask leads.
pub(super) fn elect(d: &mut Decoder, i: &Instr, _: &[&str]) -> Done {
    arity(i, 2)?;
    let Operand::Pair(to, p) = &i.operands[0] else { return Err("expected two results".into()) };
    let mask = d.src(&i.operands[1], Bank::W)?;
    let (to, p) = (d.dst(to, Bank::W)?, d.dst(p, Bank::P)?);
    let op = d.emit(Code::Elect);
    (op.d, op.b, op.imm) = (to, p, mask as i32);
    Ok(())
}
