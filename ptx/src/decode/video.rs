//! Video instructions: their operands name parts of registers, as `%r1.b0` or `%r2.h10`.

use super::decoder::{Decoder, Done, between};
use super::numeric::wwww;
use crate::num::video::{Mad, Operation, Part, Relation, Scalar, Simd, Third};
use crate::op::Bank;
use crate::source::{Instr, Operand};

/// A register, and the selector behind its name.
fn select<'a>(d: &Decoder, o: &'a Operand) -> Result<(Operand, Option<&'a str>), String> {
    let Operand::Name(name) = o else { return Ok((o.clone(), None)) };
    let Some((base, part)) = name.split_once('.') else { return Ok((o.clone(), None)) };
    match d.f.reg_names.iter().rposition(|r| r == base) {
        Some(r) => Ok((Operand::Reg(r as u32), Some(part))),
        None => Err(format!("`{base}` is not a register")),
    }
}

fn part(selector: Option<&str>) -> Result<Part, String> {
    Ok(match selector {
        None => Part::WHOLE,
        Some("b0") => Part { shift: 0, bits: 8 },
        Some("b1") => Part { shift: 8, bits: 8 },
        Some("b2") => Part { shift: 16, bits: 8 },
        Some("b3") => Part { shift: 24, bits: 8 },
        Some("h0") => Part { shift: 0, bits: 16 },
        Some("h1") => Part { shift: 16, bits: 16 },
        Some(s) => return Err(format!("`.{s}` is no part of a register")),
    })
}

/// The digits of a selector such as `h10` or `b3210`, highest lane first.
fn digits(selector: &str) -> Result<Vec<u8>, String> {
    let list: Option<Vec<u8>> = selector[1..].chars().map(|c| c.to_digit(8).map(|x| x as u8)).collect();
    list.ok_or_else(|| format!("`.{selector}` selects no lanes"))
}

fn operation(name: &str, mods: &[&str]) -> Operation {
    let wrap = mods.contains(&"wrap");
    match name {
        "vadd" => Operation::Add,
        "vsub" => Operation::Sub,
        "vabsdiff" => Operation::AbsDiff,
        "vmin" => Operation::Min,
        "vmax" => Operation::Max,
        "vavrg" => Operation::Average,
        "vshl" => Operation::Shl { wrap },
        "vshr" => Operation::Shr { wrap },
        _ => Operation::Set(
            [
                ("eq", Relation::Eq),
                ("ne", Relation::Ne),
                ("lt", Relation::Lt),
                ("le", Relation::Le),
                ("gt", Relation::Gt),
                ("ge", Relation::Ge),
            ]
            .into_iter()
            .find(|(m, _)| mods.contains(m))
            .expect("the form names a relation")
            .1,
        ),
    }
}

/// Signedness of the result and of both sources; a comparison has no type of its own.
fn signs(mods: &[&str]) -> [bool; 3] {
    let types: Vec<bool> = mods.iter().filter(|m| matches!(**m, "u32" | "s32")).map(|m| *m == "s32").collect();
    match types[..] {
        [a, b] => [false, a, b],
        _ => [types[0], types[1], types[2]],
    }
}

pub(super) fn scalar(d: &mut Decoder, i: &Instr, mods: &[&str]) -> Done {
    between(i, 3, 4)?;
    let name = i.opcode.split('.').next().expect("an opcode has a name");
    let (to, into) = select(d, &i.operands[0])?;
    let (a, pa) = select(d, &i.operands[1])?;
    let (b, pb) = select(d, &i.operands[2])?;
    let parts = [part(pa)?, part(pb)?];
    let saturate = mods.contains(&"sat");
    let slots = [d.src(&a, Bank::W)?, d.src(&b, Bank::W)?, third(d, i)?];
    let dst = d.dst(&to, Bank::W)?;
    let signed = signs(mods);
    if name == "vmad" {
        if i.operands.len() != 4 || into.is_some() {
            return Err("expected four operands".into());
        }
        let shift = if mods.contains(&"shr7") { 7 } else { 15 * mods.contains(&"shr15") as u32 };
        let mad = Mad { signed, parts, saturate, plus_one: mods.contains(&"po"), shift };
        d.put_num(wwww(move |a, b, c| mad.of(a, b, c)), dst, slots);
        return Ok(());
    }
    // The secondary operation follows the types.
    let second = mods.last().copied().filter(|m| matches!(*m, "add" | "min" | "max"));
    let third = match (i.operands.len(), into, second) {
        (3, None, None) => Third::None,
        (4, Some(_), None) => Third::Merge(part(into)?),
        (4, None, Some("add")) => Third::Add,
        (4, None, Some("min")) => Third::Min,
        (4, None, Some("max")) => Third::Max,
        _ => return Err("a third operand needs a part of the result, or a second operation".into()),
    };
    let video = Scalar { operation: operation(name, mods), signed, parts, saturate, third };
    d.put_num(wwww(move |a, b, c| video.of(a, b, c)), dst, slots);
    Ok(())
}

/// The slot of the third operand, or of zero.
fn third(d: &mut Decoder, i: &Instr) -> Result<u16, String> {
    match i.operands.get(3) {
        Some(o) => d.src(o, Bank::W),
        None => Ok(d.constant(Bank::W, 0)),
    }
}

pub(super) fn simd(d: &mut Decoder, i: &Instr, mods: &[&str]) -> Done {
    between(i, 4, 4)?;
    let name = i.opcode.split('.').next().expect("an opcode has a name");
    let (name, lanes) = name.split_at(name.len() - 1);
    let lanes: usize = lanes.parse().expect("the form ends in a number");
    let (to, mask) = select(d, &i.operands[0])?;
    let (a, sa) = select(d, &i.operands[1])?;
    let (b, sb) = select(d, &i.operands[2])?;
    let mask = match mask {
        None => (1 << lanes) - 1,
        Some(s) => digits(s)?.iter().fold(0, |m, k| m | 1 << k),
    };
    let mut select = [[0u8; 4]; 2];
    for (k, selector) in [sa, sb].into_iter().enumerate() {
        for lane in 0..lanes {
            select[k][lane] = (k * lanes + lane) as u8;
        }
        if let Some(s) = selector {
            let list = digits(s)?;
            if list.len() != lanes {
                return Err(format!("`.{s}` selects {} of {lanes} lanes", list.len()));
            }
            list.iter().rev().enumerate().for_each(|(lane, &k2)| select[k][lane] = k2);
        }
    }
    let slots = [d.src(&a, Bank::W)?, d.src(&b, Bank::W)?, third(d, i)?];
    let dst = d.dst(&to, Bank::W)?;
    let video = Simd {
        operation: operation(name, mods),
        signed: signs(mods),
        bits: 32 / lanes as u32,
        select,
        mask,
        saturate: mods.contains(&"sat"),
        add: mods.last() == Some(&"add"),
    };
    d.put_num(wwww(move |a, b, c| video.of(a, b, c)), dst, slots);
    Ok(())
}
