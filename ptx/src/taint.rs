//! Uninitialised values, followed from register to register until one decides something. Loads, stores, and instructions across
//! lanes set the taint of their results themselves.

use super::fault::{FaultKind, Raised, raise};
use super::op::{Bank, Code, Op};
use super::operands::{Operand, Role, fixed};
use super::program::Program;
use super::state::Regs;

/// Carries taint from the sources of an op to its results, in the lanes of `m`. A tainted guard in any of the lanes `active` is a
/// fault.
#[cold]
#[inline(never)]
pub(crate) fn propagate(program: &Program, r: &mut Regs, op: &Op, m: u32, active: u32) -> Raised {
    r.heal();
    let guard = r.tp[op.pred as usize] & active;
    if guard != 0 {
        let used_as = if op.code == Code::Bra { "a branch condition" } else { "the guard of an instruction" };
        return raise(FaultKind::Uninitialised { used_as }, guard.trailing_zeros());
    }
    let shape = match op.code {
        Code::Num => Some(program.nums[op.imm as usize].shape()),
        c => c.shape(),
    };
    if let Some(s) = shape {
        let t = s.s.iter().zip([op.a, op.b, op.c]).fold(0, |t, (&bank, slot)| t | r.taint(bank, slot));
        r.set_taint(s.d, op.d, m, t);
        return Ok(());
    }
    match op.code {
        // The lanes' predicate chooses which of the two values counts.
        Code::Selp32 | Code::Selp64 => {
            let bank = if op.code == Code::Selp32 { Bank::W } else { Bank::L };
            let p = r.p[op.c as usize];
            let t = r.taint(bank, op.a) & p | r.taint(bank, op.b) & !p | r.tp[op.c as usize];
            r.set_taint(bank, op.d, m, t);
        }
        // A known false makes an `and` known, a known true an `or`.
        Code::PredAnd | Code::PredOr => {
            let (a, b) = (op.a as usize, op.b as usize);
            let flip = if op.code == Code::PredOr { !0 } else { 0 };
            let decided = !(r.p[a] ^ flip) & !r.tp[a] | !(r.p[b] ^ flip) & !r.tp[b];
            let t = (r.tp[a] | r.tp[b]) & !decided;
            r.set_taint(Bank::P, op.d, m, t);
        }
        Code::Clock => r.set_taint(if op.x == 1 { Bank::L } else { Bank::W }, op.d, m, 0),
        // Across lanes: `super::sync` and `super::matrix` see to the taint.
        Code::BarWarp | Code::Redux | Code::Elect | Code::MovMatrix | Code::Tile => {}
        // Any tainted source taints every result.
        code => {
            let operands = fixed(code).unwrap_or_default();
            let of = |role| move |o: &&Operand| o.role == role && o.exists(op);
            let t = operands.iter().filter(of(Role::Use)).fold(0, |t, o| t | r.taint(o.bank, o.slot(op)));
            for o in operands.iter().filter(of(Role::Def)) {
                r.set_taint(o.bank, o.slot(op), m, t);
            }
        }
    }
    Ok(())
}
