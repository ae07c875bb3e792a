//! What follows from the operands of a function's ops: registers that may be read before anything wrote them, and fewer slots.
//! nvcc names a register for every value, thousands in an unrolled kernel; a warp's registers should stay in the nearest cache.
//!
//! Lanes that diverge do not disturb the analysis: each lane is a thread that walks the same graph, and a slot holds a value of
//! its own for each.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::op::{Bank, Code, Extra, Op};
use super::operands::{Parts, Role, visit};
use super::program::{Func, Program};

/// A set of registers of all banks, as bits.
type Set = Vec<u64>;

fn has(s: &Set, r: usize) -> bool {
    s[r / 64] >> (r % 64) & 1 != 0
}

/// The registers of a function: all banks numbered through.
#[derive(Clone, Copy)]
struct Numbering {
    base: [usize; 3],
    total: usize,
}

impl Numbering {
    fn new(banks: [u16; 3]) -> Numbering {
        let [w, l, p] = banks.map(usize::from);
        Numbering { base: [0, w, w + l], total: w + l + p }
    }

    fn of(self, bank: Bank, slot: u16) -> usize {
        self.base[bank as usize] + slot as usize
    }
}

/// From where to where a register is needed: op numbers within the function, both included. None if no op names it.
#[derive(Clone, Copy)]
struct Interval {
    lo: u32,
    hi: u32,
}

impl Interval {
    const NONE: Interval = Interval { lo: u32::MAX, hi: 0 };

    fn grow(&mut self, pc: usize) {
        self.lo = self.lo.min(pc as u32);
        self.hi = self.hi.max(pc as u32);
    }
}

/// Renames the registers of a function so that they take few slots, and finds those that may be read before they are written.
/// `named` tells how many slots of each bank are the source's own registers; the rest are temporaries and constants.
pub(crate) fn allocate(program: &mut Program, f: &mut Func, named: [u16; 3], end: usize) {
    let start = f.start as usize;
    let number = Numbering::new(f.banks);
    let Program { ops, mems, extras, nums, .. } = program;
    let mut parts = Parts { mems, extras, nums };
    let ops = &mut ops[start..end];

    // Uses and definitions of every op, in one list.
    let mut operands = Operands { list: Vec::new(), first: Vec::with_capacity(ops.len() + 1) };
    for op in ops.iter_mut() {
        operands.first.push(operands.list.len());
        visit(op, &mut parts, &mut |bank, slot, role| operands.list.push((number.of(bank, *slot), role)));
    }
    operands.first.push(operands.list.len());

    let jumps = Jumps::new(ops, start, parts.extras);
    let (entry, intervals) = liveness(ops, &jumps, &operands, number.total);
    let (renamed, banks, uninitialised) = assign(f, named, number, &entry, &intervals);
    for op in ops {
        visit(op, &mut parts, &mut |bank, slot, _| *slot = renamed[number.of(bank, *slot)]);
    }
    for (bank, slot, _) in &mut f.presets {
        *slot = renamed[number.of(*bank, *slot)];
    }
    f.banks = banks;
    f.uninitialised = uninitialised;
}

/// The operands of all ops of a function.
struct Operands {
    list: Vec<(usize, Role)>,
    /// Where the operands of each op begin in `list`; one entry more than there are ops.
    first: Vec<usize>,
}

impl Operands {
    fn of(&self, pc: usize, role: Role) -> impl Iterator<Item = usize> {
        self.list[self.first[pc]..self.first[pc + 1]].iter().filter(move |o| o.1 == role).map(|o| o.0)
    }
}

/// Where the ops of a function may jump: each to one op, or by a table to several.
struct Jumps {
    list: Vec<usize>,
    /// Where the targets of each op begin in `list`; one entry more than there are ops.
    first: Vec<usize>,
}

impl Jumps {
    /// `ops[0]` is op `start` of the program.
    fn new(ops: &[Op], start: usize, extras: &[Extra]) -> Jumps {
        let mut j = Jumps { list: Vec::new(), first: Vec::with_capacity(ops.len() + 1) };
        for op in ops {
            j.first.push(j.list.len());
            match (op.code, extras.get(op.x as usize)) {
                (Code::Bra, _) => j.list.push(op.imm as usize - start),
                (Code::Brx, Some(Extra::Jumps(targets))) => {
                    // A table may name a target many times.
                    let mut t: Vec<usize> = targets.iter().map(|&t| t as usize - start).collect();
                    t.sort_unstable();
                    t.dedup();
                    j.list.append(&mut t);
                }
                _ => {}
            }
        }
        j.first.push(j.list.len());
        j
    }

    fn of(&self, pc: usize) -> &[usize] {
        &self.list[self.first[pc]..self.first[pc + 1]]
    }
}

/// The registers that are live at the entry, and the interval of each register.
fn liveness(ops: &[Op], jumps: &Jumps, operands: &Operands, total: usize) -> (Set, Vec<Interval>) {
    let words = total.div_ceil(64);
    // Which registers are live before each branch target: an index into `at_target`; backward to a fixed point.
    let mut target = vec![usize::MAX; ops.len()];
    let mut at_target: Vec<Set> = Vec::new();
    for &t in &jumps.list {
        if target[t] == usize::MAX {
            target[t] = at_target.len();
            at_target.push(vec![0; words]);
        }
    }
    let mut intervals = vec![Interval::NONE; total];
    let mut live: Set = vec![0; words];
    loop {
        let mut changed = false;
        live.fill(0);
        for (pc, op) in ops.iter().enumerate().rev() {
            // Nothing goes on behind these, unless a guard lets lanes pass.
            if matches!(op.code, Code::Bra | Code::Brx | Code::Exit | Code::Ret | Code::Trap) && op.pred == 0 {
                live.fill(0);
            }
            for &t in jumps.of(pc) {
                live.iter_mut().zip(&at_target[target[t]]).for_each(|(l, t)| *l |= t);
            }
            for r in operands.of(pc, Role::Def) {
                intervals[r].grow(pc);
                // Under a guard, lanes may keep the old value.
                if op.pred == 0 {
                    live[r / 64] &= !(1 << (r % 64));
                }
            }
            for r in operands.of(pc, Role::Use) {
                live[r / 64] |= 1 << (r % 64);
                intervals[r].grow(pc);
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
    // Live at a target or across a jump back: the interval covers the jump.
    for pc in 0..ops.len() {
        for &t in [pc].iter().chain(jumps.of(pc)).filter(|&&t| target[t] != usize::MAX) {
            for r in (0..total).filter(|&r| has(&at_target[target[t]], r)) {
                intervals[r].grow(pc);
            }
        }
    }
    (live, intervals)
}

/// Gives every register a slot: registers whose intervals do not meet may share one. Returns the slot of each register, the
/// number of slots of each bank, and the slots of the source's own registers that are live at the entry.
fn assign(
    f: &Func,
    named: [u16; 3],
    number: Numbering,
    entry: &Set,
    intervals: &[Interval],
) -> (Vec<u16>, [u16; 3], Vec<(Bank, u16)>) {
    let preset = |bank: Bank, slot: u16| f.presets.iter().any(|&(b, s, _)| (b, s) == (bank, slot));
    let mut renamed = vec![0u16; number.total];
    let mut uninitialised = Vec::new();
    let mut banks = [0u16; 3];
    for (k, bank) in [Bank::W, Bank::L, Bank::P].into_iter().enumerate() {
        // Constants come first, and share their slots with no register. Predicate 0 stays predicate 0.
        let mut next = 0;
        let mut order = Vec::new();
        for slot in 0..f.banks[k] {
            let r = number.of(bank, slot);
            if (bank == Bank::P && slot == 0) || preset(bank, slot) {
                renamed[r] = next;
                next += 1;
            } else if intervals[r].lo != u32::MAX {
                let begins = if has(entry, r) { 0 } else { intervals[r].lo };
                order.push((begins, intervals[r].hi, slot));
            }
        }
        order.sort_unstable();
        // Slots in use, by the end of their interval.
        let mut busy: BinaryHeap<Reverse<(u32, u16)>> = BinaryHeap::new();
        let mut free: Vec<u16> = Vec::new();
        for (lo, hi, slot) in order {
            while let Some(&Reverse((over, s))) = busy.peek()
                && over < lo
            {
                busy.pop();
                free.push(s);
            }
            let new = free.pop().unwrap_or_else(|| {
                next += 1;
                next - 1
            });
            busy.push(Reverse((hi, new)));
            let r = number.of(bank, slot);
            renamed[r] = new;
            if has(entry, r) && slot < named[k] {
                uninitialised.push((bank, new));
            }
        }
        banks[k] = next;
    }
    (renamed, banks, uninitialised)
}
