//! Which registers an op reads and writes: one table for the codes whose operands depend on the code alone, and the rest by hand.
//! Register allocation ([`super::flow`]) and the check for uninitialised values ([`super::taint`]) both read it.

use super::op::{AtomOp, Bank, Code, Extra, Mem, Num, Op, SINK, barrier};
use super::program::Program;

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Use,
    Def,
}
use Bank::{L, P, W};
use Role::{Def, Use};

/// The field of an [`Op`] that holds the number of a register.
#[derive(Clone, Copy)]
pub(crate) enum Field {
    D,
    A,
    B,
    C,
    X,
    Imm,
}

/// One register operand.
#[derive(Clone, Copy)]
pub(crate) struct Operand {
    pub role: Role,
    pub bank: Bank,
    field: Field,
    /// The operand exists if the op's `x` has any of these bits; 0: always.
    when: u16,
}

const fn reads(bank: Bank, field: Field) -> Operand {
    Operand { role: Use, bank, field, when: 0 }
}
const fn writes(bank: Bank, field: Field) -> Operand {
    Operand { role: Def, bank, field, when: 0 }
}
impl Operand {
    const fn when(self, bits: u16) -> Operand {
        Operand { when: bits, ..self }
    }

    pub fn exists(self, op: &Op) -> bool {
        self.when == 0 || op.x & self.when != 0
    }

    /// The number of the register.
    pub fn slot(self, op: &Op) -> u16 {
        match self.field {
            Field::D => op.d,
            Field::A => op.a,
            Field::B => op.b,
            Field::C => op.c,
            Field::X => op.x,
            Field::Imm => op.imm as u16,
        }
    }

    fn set_slot(self, op: &mut Op, slot: u16) {
        match self.field {
            Field::D => op.d = slot,
            Field::A => op.a = slot,
            Field::B => op.b = slot,
            Field::C => op.c = slot,
            Field::X => op.x = slot,
            Field::Imm => op.imm = slot as i32,
        }
    }
}

/// Operands of the codes that have them in fixed places, reads first, but for those of the arithmetic tables ([`Code::shape`])
/// and the guard. Empty for a code without register operands; `None` if the operands depend on more than the code.
#[rustfmt::skip]
pub(crate) fn fixed(code: Code) -> Option<&'static [Operand]> {
    use Field::{A, B, C, D, Imm, X};
    Some(match code {
        Code::Selp32 => const { &[reads(W, A), reads(W, B), reads(P, C), writes(W, D)] },
        Code::Selp64 => const { &[reads(L, A), reads(L, B), reads(P, C), writes(L, D)] },
        Code::SetpS32 | Code::SetpU32 | Code::SetpF | Code::SetpS16 | Code::SetpH | Code::SetpBf =>
            const { &[reads(W, A), reads(W, B), writes(P, D)] },
        Code::SetpS64 | Code::SetpU64 | Code::SetpD => const { &[reads(L, A), reads(L, B), writes(P, D)] },
        Code::PredAnd | Code::PredOr | Code::PredXor => const { &[reads(P, A), reads(P, B), writes(P, D)] },
        Code::PredNot | Code::PredMov => const { &[reads(P, A), writes(P, D)] },
        // The carry flag is a predicate, in `imm`.
        Code::AddC | Code::SubC =>
            const { &[reads(W, A), reads(W, B), reads(P, Imm).when(1), writes(W, D), writes(P, Imm).when(2)] },
        Code::AddC64 | Code::SubC64 =>
            const { &[reads(L, A), reads(L, B), reads(P, Imm).when(1), writes(L, D), writes(P, Imm).when(2)] },
        Code::MadLoC | Code::MadHiC =>
            const { &[reads(W, A), reads(W, B), reads(W, C), reads(P, Imm).when(1), writes(W, D), writes(P, Imm).when(2)] },
        Code::MadLoC64 | Code::MadHiC64 =>
            const { &[reads(L, A), reads(L, B), reads(L, C), reads(P, Imm).when(1), writes(L, D), writes(P, Imm).when(2)] },
        Code::Lop3 => const { &[reads(W, A), reads(W, B), reads(W, C), writes(W, D)] },
        Code::Bfi32 => const { &[reads(W, A), reads(W, B), reads(W, C), reads(W, X), writes(W, D)] },
        Code::Bfi64 => const { &[reads(L, A), reads(L, B), reads(W, C), reads(W, X), writes(L, D)] },
        Code::BfeU64 | Code::BfeS64 => const { &[reads(L, A), reads(W, C), reads(W, X), writes(L, D)] },
        Code::Pack16 => const { &[reads(W, A), reads(W, B), writes(W, D)] },
        Code::Pack16x4 => const { &[reads(W, A), reads(W, B), reads(W, C), reads(W, X), writes(L, D)] },
        Code::Unpack16 => const { &[reads(W, A), writes(W, D), writes(W, B)] },
        Code::Unpack32 => const { &[reads(L, A), writes(W, D), writes(W, B)] },
        Code::Unpack16x4 => const { &[reads(L, A), writes(W, D), writes(W, B), writes(W, C), writes(W, X)] },
        Code::IsSpace => const { &[reads(L, A), writes(P, D)] },
        Code::ActiveMask => const { &[writes(W, D)] },
        Code::BarWarp => const { &[reads(W, Imm)] },
        Code::Redux => const { &[reads(W, A), reads(W, Imm), writes(W, D)] },
        // The leader's number, and who it is.
        Code::Elect => const { &[reads(W, Imm), writes(W, D), writes(P, B)] },
        Code::MovMatrix => const { &[reads(W, A), writes(W, D)] },
        Code::Tile => const { &[reads(L, A), reads(W, B)] },
        Code::Bra | Code::Ret | Code::Exit | Code::Call | Code::Trap | Code::Nop => &[],
        Code::Brx => const { &[reads(W, A)] },
        Code::CallR => const { &[reads(L, A)] },
        Code::Fence | Code::CpCommit | Code::CpWait => &[],
        _ => return None,
    })
}

/// What of a program the operands of an op may lie in.
pub(crate) struct Parts<'a> {
    pub mems: &'a mut [Mem],
    pub extras: &'a mut [Extra],
    pub nums: &'a [Num],
}

/// Calls `f` for every register operand of an op; `f` may put another slot in its place, the same one for the same register.
pub(crate) fn visit(op: &mut Op, program: &mut Parts, f: &mut dyn FnMut(Bank, &mut u16, Role)) {
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
    if let Some(operands) = fixed(op.code) {
        // A field that is both read and written comes twice. Each time `f` sees the slot that was there at first: a renaming that
        // saw its own result would rename twice.
        let before = *op;
        for o in operands.iter().filter(|o| o.exists(&before)) {
            let mut slot = o.slot(&before);
            f(o.bank, &mut slot, o.role);
            o.set_slot(op, slot);
        }
        return;
    }
    match op.code {
        Code::Atom | Code::Mma | Code::Rare => visit_extra(op, &mut program.extras[op.x as usize], f),
        Code::Bar | Code::Shfl | Code::Vote | Code::Match | Code::Clock | Code::CpAsync => visit_by_mode(op, f),
        _ => visit_memory(op, &mut program.mems[op.c as usize], f),
    }
}

/// The registers that an op writes.
pub(crate) fn results(op: &Op, program: &Program) -> Vec<(Bank, u16)> {
    let (mut mems, mut extras) = (program.mems.clone(), program.extras.clone());
    let mut list = Vec::new();
    let mut parts = Parts { mems: &mut mems, extras: &mut extras, nums: &program.nums };
    visit(&mut op.clone(), &mut parts, &mut |bank, slot, role| {
        if role == Def {
            list.push((bank, *slot));
        }
    });
    list
}

fn address(wide: bool) -> Bank {
    if wide { L } else { W }
}

/// Loads, stores, `ldmatrix` and `stmatrix`.
fn visit_memory(op: &mut Op, mem: &mut Mem, f: &mut dyn FnMut(Bank, &mut u16, Role)) {
    if !matches!(op.code, Code::LdParam | Code::StParam) {
        f(address(mem.address64), &mut op.a, Use);
    }
    let stores = op.code.stores() || op.code == Code::StMatrix;
    let (bank, role) = (address(mem.wide), if stores { Use } else { Def });
    mem.regs[..mem.count as usize].iter_mut().filter(|r| **r != SINK).for_each(|r| f(bank, r, role));
}

/// Operands that an [`Extra`] holds.
fn visit_extra(op: &mut Op, extra: &mut Extra, f: &mut dyn FnMut(Bank, &mut u16, Role)) {
    match extra {
        Extra::Atom(a) => {
            let bank = address(a.ty.bytes() == 8);
            f(address(a.address64), &mut op.a, Use);
            a.b[..a.count as usize].iter_mut().for_each(|r| f(bank, r, Use));
            if a.op == AtomOp::Cas {
                f(bank, &mut a.c, Use);
            }
            a.d[..a.count as usize].iter_mut().filter(|r| **r != SINK).for_each(|r| f(bank, r, Def));
        }
        Extra::Mma(m) => {
            let [d, a, b, c] = &mut m.regs;
            for r in a.iter_mut().chain(b).chain(c) {
                f(W, r, Use);
            }
            d.iter_mut().for_each(|r| f(W, r, Def));
        }
        Extra::Product(m) => {
            let bank = address(m.product.double());
            let [d, a, b, c] = &mut m.regs;
            for r in a.iter_mut().chain(b).chain(c) {
                f(bank, r, Use);
            }
            d.iter_mut().for_each(|r| f(bank, r, Def));
        }
        Extra::Rare(x) => {
            x.reads.iter_mut().for_each(|(bank, r)| f(*bank, r, Use));
            x.writes.iter_mut().filter(|(_, r)| *r != SINK).for_each(|(bank, r)| f(*bank, r, Def));
        }
        _ => unreachable!("{:?} is described otherwise", op.code),
    }
}

/// Codes of which `x`, or an operand left out, decides which operands there are.
fn visit_by_mode(op: &mut Op, f: &mut dyn FnMut(Bank, &mut u16, Role)) {
    // The slot of a member mask is kept in the wider `imm`.
    let mask = |op: &mut Op, f: &mut dyn FnMut(Bank, &mut u16, Role)| {
        let mut slot = op.imm as u16;
        f(W, &mut slot, Use);
        op.imm = slot as i32;
    };
    match op.code {
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
        Code::Shfl => {
            f(W, &mut op.a, Use);
            f(W, &mut op.b, Use);
            f(W, &mut op.c, Use);
            mask(op, f);
            f(W, &mut op.d, Def);
            let mut p = op.x >> 2;
            if p != 0 {
                f(P, &mut p, Def);
                op.x = op.x & 3 | p << 2;
            }
        }
        Code::Vote => {
            f(P, &mut op.a, Use);
            mask(op, f);
            f(if op.x == 3 { W } else { P }, &mut op.d, Def);
        }
        Code::Match => {
            f(address(op.x & 2 != 0), &mut op.a, Use);
            mask(op, f);
            f(W, &mut op.d, Def);
            if op.b != 0 {
                f(P, &mut op.b, Def);
            }
        }
        Code::Clock => f(address(op.x == 1), &mut op.d, Def),
        Code::CpAsync => {
            f(W, &mut op.a, Use);
            f(L, &mut op.b, Use);
            if op.d != 0 {
                f(W, &mut op.c, Use);
            }
        }
        _ => unreachable!("{:?} has its operands in fixed places", op.code),
    }
}
