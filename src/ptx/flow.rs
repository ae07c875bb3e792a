//! Which registers an op reads and writes, and what follows from it: registers that may be read before anything wrote them,
//! and fewer slots. nvcc names a register for every value, thousands in an unrolled kernel; a warp's registers should stay in the
//! nearest cache.
//!
//! Lanes that diverge do not disturb the analysis: each lane is a thread that walks the same graph, and a slot holds a value of
//! its own for each.

use super::decode::{Func, Program, barrier};
use super::op::{AtomOp, Bank, Code, Extra, Mem, Op, SINK};

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Use,
    Def,
}
use Role::{Def, Use};

/// Calls `f` for every register operand of an op; `f` may put another slot in its place.
pub(crate) fn visit(op: &mut Op, program: &mut Parts, f: &mut dyn FnMut(Bank, &mut u16, Role)) {
    use Bank::{L, P, W};
    if op.pred != 0 {
        f(P, &mut op.pred, Use);
    }
    let shape = match op.code {
        Code::Num => Some(program.nums[op.imm as usize].shape()),
        c => c.shape(),
    };
    if let Some(s) = shape {
        for (&bank, slot) in s.s.iter().zip([&mut op.a, &mut op.b, &mut op.c]) {
            f(bank, slot, Use);
        }
        f(s.d, &mut op.d, Def);
        return;
    }
    // Slots that are kept in the wider `imm`.
    let imm = |op: &mut Op, bank: Bank, role: Role, f: &mut dyn FnMut(Bank, &mut u16, Role)| {
        let mut slot = op.imm as u16;
        f(bank, &mut slot, role);
        op.imm = slot as i32;
    };
    let address = |wide: bool| if wide { L } else { W };
    match op.code {
        Code::Selp32 | Code::Selp64 => {
            let bank = address(op.code == Code::Selp64);
            f(bank, &mut op.a, Use);
            f(bank, &mut op.b, Use);
            f(P, &mut op.c, Use);
            f(bank, &mut op.d, Def);
        }
        Code::SetpS32 | Code::SetpU32 | Code::SetpF | Code::SetpS16 | Code::SetpH | Code::SetpBf => {
            f(W, &mut op.a, Use);
            f(W, &mut op.b, Use);
            f(P, &mut op.d, Def);
        }
        Code::SetpS64 | Code::SetpU64 | Code::SetpD => {
            f(L, &mut op.a, Use);
            f(L, &mut op.b, Use);
            f(P, &mut op.d, Def);
        }
        Code::PredAnd | Code::PredOr | Code::PredXor | Code::PredNot | Code::PredMov => {
            f(P, &mut op.a, Use);
            if !matches!(op.code, Code::PredNot | Code::PredMov) {
                f(P, &mut op.b, Use);
            }
            f(P, &mut op.d, Def);
        }
        Code::AddC | Code::SubC | Code::MadLoC | Code::MadHiC => {
            f(W, &mut op.a, Use);
            f(W, &mut op.b, Use);
            if matches!(op.code, Code::MadLoC | Code::MadHiC) {
                f(W, &mut op.c, Use);
            }
            if op.x & 1 != 0 {
                imm(op, P, Use, f);
            }
            f(W, &mut op.d, Def);
            if op.x & 2 != 0 {
                imm(op, P, Def, f);
            }
        }
        Code::Lop3 => {
            f(W, &mut op.a, Use);
            f(W, &mut op.b, Use);
            f(W, &mut op.c, Use);
            f(W, &mut op.d, Def);
        }
        Code::Bfi32 | Code::Bfi64 | Code::BfeU64 | Code::BfeS64 => {
            let bank = address(op.code != Code::Bfi32);
            f(bank, &mut op.a, Use);
            if matches!(op.code, Code::Bfi32 | Code::Bfi64) {
                f(bank, &mut op.b, Use);
            }
            f(W, &mut op.c, Use);
            f(W, &mut op.x, Use);
            f(bank, &mut op.d, Def);
        }
        Code::Pack16 => {
            f(W, &mut op.a, Use);
            f(W, &mut op.b, Use);
            f(W, &mut op.d, Def);
        }
        Code::Pack16x4 => {
            for slot in [&mut op.a, &mut op.b, &mut op.c, &mut op.x] {
                f(W, slot, Use);
            }
            f(L, &mut op.d, Def);
        }
        Code::Unpack16 | Code::Unpack32 | Code::Unpack16x4 => {
            f(address(op.code != Code::Unpack16), &mut op.a, Use);
            f(W, &mut op.d, Def);
            f(W, &mut op.b, Def);
            if op.code == Code::Unpack16x4 {
                f(W, &mut op.c, Def);
                f(W, &mut op.x, Def);
            }
        }
        Code::LdGlobal
        | Code::LdShared
        | Code::LdLocal
        | Code::LdGeneric
        | Code::LdParam
        | Code::LdKernelParam
        | Code::LdStrong
        | Code::LdMatrix => {
            let mem = &mut program.mems[op.c as usize];
            if op.code != Code::LdParam {
                f(address(mem.address64), &mut op.a, Use);
            }
            let bank = address(mem.wide);
            mem.regs[..mem.count as usize].iter_mut().filter(|r| **r != SINK).for_each(|r| f(bank, r, Def));
        }
        Code::StGlobal | Code::StShared | Code::StLocal | Code::StGeneric | Code::StParam | Code::StStrong => {
            let mem = &mut program.mems[op.c as usize];
            if op.code != Code::StParam {
                f(address(mem.address64), &mut op.a, Use);
            }
            let bank = address(mem.wide);
            mem.regs[..mem.count as usize].iter_mut().filter(|r| **r != SINK).for_each(|r| f(bank, r, Use));
        }
        Code::Atom => {
            let Extra::Atom(a) = &mut program.extras[op.x as usize] else { unreachable!("an atomic is described") };
            let bank = address(a.ty.bytes() == 8);
            f(address(a.address64), &mut op.a, Use);
            a.b[..a.count as usize].iter_mut().for_each(|r| f(bank, r, Use));
            if a.op == AtomOp::Cas {
                f(bank, &mut a.c, Use);
            }
            a.d[..a.count as usize].iter_mut().filter(|r| **r != SINK).for_each(|r| f(bank, r, Def));
        }
        Code::IsSpace => {
            f(L, &mut op.a, Use);
            f(P, &mut op.d, Def);
        }
        Code::Bar => {
            f(W, &mut op.a, Use);
            if op.x & barrier::COUNT != 0 {
                f(W, &mut op.b, Use);
            }
            let kind = op.x & barrier::KIND;
            if kind >= barrier::POPC {
                f(P, &mut op.c, Use);
                f(if kind == barrier::POPC { W } else { P }, &mut op.d, Def);
            }
        }
        Code::BarWarp => imm(op, W, Use, f),
        Code::Shfl => {
            f(W, &mut op.a, Use);
            f(W, &mut op.b, Use);
            f(W, &mut op.c, Use);
            imm(op, W, Use, f);
            f(W, &mut op.d, Def);
            let mut p = op.x >> 2;
            if p != 0 {
                f(P, &mut p, Def);
                op.x = op.x & 3 | p << 2;
            }
        }
        Code::Vote => {
            f(P, &mut op.a, Use);
            imm(op, W, Use, f);
            f(if op.x == 3 { W } else { P }, &mut op.d, Def);
        }
        Code::Match => {
            f(address(op.x & 2 != 0), &mut op.a, Use);
            imm(op, W, Use, f);
            f(W, &mut op.d, Def);
            if op.b != 0 {
                f(P, &mut op.b, Def);
            }
        }
        Code::Redux => {
            f(W, &mut op.a, Use);
            imm(op, W, Use, f);
            f(W, &mut op.d, Def);
        }
        Code::ActiveMask => f(W, &mut op.d, Def),
        Code::Clock => f(address(op.x == 1), &mut op.d, Def),
        Code::CpAsync => {
            f(W, &mut op.a, Use);
            f(L, &mut op.b, Use);
            if op.d != 0 {
                f(W, &mut op.c, Use);
            }
        }
        Code::MovMatrix => {
            f(W, &mut op.a, Use);
            f(W, &mut op.d, Def);
        }
        Code::Tile => {
            f(L, &mut op.a, Use);
            f(W, &mut op.b, Use);
        }
        Code::Mma => {
            let Extra::Mma(m) = &mut program.extras[op.x as usize] else { unreachable!("a multiplication is described") };
            let [d, a, b, c] = &mut m.regs;
            for r in a.iter_mut().chain(b).chain(c) {
                f(W, r, Use);
            }
            d.iter_mut().for_each(|r| f(W, r, Def));
        }
        _ => {}
    }
}

/// What of a program the operands of an op may lie in.
pub(crate) struct Parts<'a> {
    pub mems: &'a mut [Mem],
    pub extras: &'a mut [Extra],
    pub nums: &'a [super::op::Num],
}

/// A set of registers of all banks, as bits.
type Set = Vec<u64>;

/// Renames the registers of a function so that they take few slots, and finds those that may be read before they are written.
/// `named` tells how many slots of each bank are the source's own registers; the rest are temporaries and constants.
pub(crate) fn allocate(program: &mut Program, f: &mut Func, named: [u16; 3], end: usize) {
    let start = f.start as usize;
    let base = [0, f.banks[0] as usize, f.banks[0] as usize + f.banks[1] as usize];
    let index = |bank: Bank, slot: u16| base[bank as usize] + slot as usize;
    let total = f.banks.iter().map(|&n| n as usize).sum::<usize>();
    let words = total.div_ceil(64);
    let Program { ops, mems, extras, nums, .. } = program;
    let mut parts = Parts { mems, extras, nums };

    // Uses and definitions of every op, in one list.
    let mut operands: Vec<(u32, Role)> = Vec::new();
    let mut first = Vec::with_capacity(end - start + 1);
    for op in &mut ops[start..end] {
        first.push(operands.len());
        visit(op, &mut parts, &mut |bank, slot, role| operands.push((index(bank, *slot) as u32, role)));
    }
    first.push(operands.len());

    // Which registers are live before each branch target; backward to a fixed point.
    let mut target = vec![usize::MAX; end - start];
    let mut at_target: Vec<Set> = Vec::new();
    for op in ops[start..end].iter().filter(|op| op.code == Code::Bra) {
        let t = op.imm as usize - start;
        if target[t] == usize::MAX {
            target[t] = at_target.len();
            at_target.push(vec![0; words]);
        }
    }
    let mut interval = vec![(u32::MAX, 0u32); total];
    let mut live: Set = vec![0; words];
    loop {
        let mut changed = false;
        live.fill(0);
        for pc in (0..end - start).rev() {
            let op = &ops[start + pc];
            match op.code {
                Code::Bra => {
                    let there = &at_target[target[op.imm as usize - start]];
                    if op.pred == 0 {
                        live.copy_from_slice(there);
                    } else {
                        live.iter_mut().zip(there).for_each(|(l, t)| *l |= t);
                    }
                }
                Code::Exit | Code::Ret | Code::Trap if op.pred == 0 => live.fill(0),
                _ => {}
            }
            let list = &operands[first[pc]..first[pc + 1]];
            for &(r, role) in list {
                if role == Def {
                    grow(&mut interval[r as usize], pc);
                    // Under a guard, lanes may keep the old value.
                    if op.pred == 0 {
                        live[r as usize / 64] &= !(1 << (r % 64));
                    }
                }
            }
            for &(r, role) in list {
                if role == Use {
                    live[r as usize / 64] |= 1 << (r % 64);
                    grow(&mut interval[r as usize], pc);
                }
            }
            if target[pc] != usize::MAX && at_target[target[pc]] != live {
                at_target[target[pc]].copy_from_slice(&live);
                changed = true;
            }
        }
        if !changed {
            break;
        }
    }
    let entry = live.clone();
    let is = |s: &Set, r: usize| s[r / 64] >> (r % 64) & 1 != 0;

    // Live at a target or across a jump back: the interval covers the jump.
    for pc in 0..end - start {
        if target[pc] != usize::MAX {
            for r in (0..total).filter(|&r| is(&at_target[target[pc]], r)) {
                grow(&mut interval[r], pc);
            }
        }
        let op = &ops[start + pc];
        if op.code == Code::Bra {
            let there = target[op.imm as usize - start];
            for r in (0..total).filter(|&r| is(&at_target[there], r)) {
                grow(&mut interval[r], pc);
            }
        }
    }

    let bank_of = [Bank::W, Bank::L, Bank::P];
    let preset = |bank: Bank, slot: u16| f.presets.iter().any(|&(b, s, _)| (b, s) == (bank, slot));
    let mut renamed = vec![0u16; total];
    let mut uninitialised = Vec::new();
    let mut banks = [0u16; 3];
    for (k, bank) in bank_of.into_iter().enumerate() {
        // Constants come first and keep their slots to themselves. Predicate 0 stays.
        let n = f.banks[k];
        let mut next = 0;
        let mut order = Vec::new();
        for slot in 0..n {
            let r = index(bank, slot);
            if (bank == Bank::P && slot == 0) || preset(bank, slot) {
                renamed[r] = next;
                next += 1;
            } else if interval[r].0 != u32::MAX {
                let begins = if is(&entry, r) { 0 } else { interval[r].0 };
                order.push((begins, interval[r].1, slot));
            }
        }
        order.sort_unstable();
        // Slots in use, by the end of their interval.
        let mut busy: std::collections::BinaryHeap<std::cmp::Reverse<(u32, u16)>> = Default::default();
        let mut free: Vec<u16> = Vec::new();
        for (lo, hi, slot) in order {
            while let Some(&std::cmp::Reverse((over, s))) = busy.peek()
                && over < lo
            {
                busy.pop();
                free.push(s);
            }
            let new = free.pop().unwrap_or_else(|| {
                next += 1;
                next - 1
            });
            busy.push(std::cmp::Reverse((hi, new)));
            let r = index(bank, slot);
            renamed[r] = new;
            if is(&entry, r) && slot < named[k] {
                uninitialised.push((bank, new));
            }
        }
        banks[k] = next;
    }
    for op in &mut ops[start..end] {
        visit(op, &mut parts, &mut |bank, slot, _| *slot = renamed[index(bank, *slot)]);
    }
    for (bank, slot, _) in &mut f.presets {
        *slot = renamed[index(*bank, *slot)];
    }
    f.banks = banks;
    f.uninitialised = uninitialised;
}

fn grow((lo, hi): &mut (u32, u32), pc: usize) {
    *lo = (*lo).min(pc as u32);
    *hi = (*hi).max(pc as u32);
}
