//! Barriers in shared memory.

use super::decoder::{Decoder, Done, arity, between};
use super::memory::{rare, space};
use super::numeric::wl;
use crate::op::{Bank, Mbarrier, SINK, What};
use crate::phase;
use crate::source::{Instr, Operand};

pub(super) fn init(d: &mut Decoder, i: &Instr, mods: &[&str]) -> Done {
    arity(i, 2)?;
    d.width = 4;
    let count = d.src(&i.operands[1], Bank::W)?;
    rare(d, What::Mbarrier(Mbarrier::Init), Some((&i.operands[0], space(mods))), &[(Bank::W, count)], &[])
}

pub(super) fn inval(d: &mut Decoder, i: &Instr, mods: &[&str]) -> Done {
    arity(i, 1)?;
    rare(d, What::Mbarrier(Mbarrier::Inval), Some((&i.operands[0], space(mods))), &[], &[])
}

/// `.noComplete` and `.expect_tx` want a count; without one an arrival counts as one.
pub(super) fn arrive(d: &mut Decoder, i: &Instr, mods: &[&str]) -> Done {
    let has = |m: &str| mods.contains(&m);
    let (complete, transactions) = (!has("noComplete"), has("expect_tx"));
    between(i, if complete && !transactions { 2 } else { 3 }, 3)?;
    d.width = 4;
    let count = match i.operands.get(2) {
        Some(o) => d.src(o, Bank::W)?,
        None => d.constant(Bank::W, 1),
    };
    let state = match &i.operands[0] {
        Operand::Sink => SINK,
        o => d.dst(o, Bank::L)?,
    };
    let what = Mbarrier::Arrive { complete, drop: mods[0] == "arrive_drop", transactions, release: !has("relaxed") };
    rare(d, What::Mbarrier(what), Some((&i.operands[1], space(mods))), &[(Bank::W, count)], &[(Bank::L, state)])
}

pub(super) fn transactions(d: &mut Decoder, i: &Instr, mods: &[&str]) -> Done {
    arity(i, 2)?;
    d.width = 4;
    let bytes = d.src(&i.operands[1], Bank::W)?;
    let what = Mbarrier::Transactions { done: mods[0] == "complete_tx" };
    rare(d, What::Mbarrier(what), Some((&i.operands[0], space(mods))), &[(Bank::W, bytes)], &[])
}

/// A time limit, the fourth operand, is taken as long enough.
pub(super) fn wait(d: &mut Decoder, i: &Instr, mods: &[&str]) -> Done {
    let (parity, blocks) = (mods.contains(&"parity"), mods[0] == "try_wait");
    between(i, 3, 3 + blocks as usize)?;
    d.width = if parity { 4 } else { 8 };
    let bank = if parity { Bank::W } else { Bank::L };
    let state = d.src(&i.operands[2], bank)?;
    let to = d.dst(&i.operands[0], Bank::P)?;
    let what = Mbarrier::Wait { parity, blocks, acquire: !mods.contains(&"relaxed") };
    rare(d, What::Mbarrier(what), Some((&i.operands[1], space(mods))), &[(bank, state)], &[(Bank::P, to)])
}

pub(super) fn pending(d: &mut Decoder, i: &Instr, _: &[&str]) -> Done {
    d.num(wl(phase::pending), i)
}

pub(super) fn copies(d: &mut Decoder, i: &Instr, mods: &[&str]) -> Done {
    arity(i, 1)?;
    let what = Mbarrier::Copies { counted: mods.contains(&"noinc") };
    rare(d, What::Mbarrier(what), Some((&i.operands[0], space(mods))), &[], &[])
}
