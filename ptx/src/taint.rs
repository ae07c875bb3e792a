//! Uninitialised values, followed from register to register until one decides something. Loads, stores, and instructions across
//! lanes set the taint of their results themselves.

use super::fault::{FaultKind, Raised, raise};
use super::lanes::lanes_of;
use super::op::{Bank, Code, Op};
use super::operands::{Operand, Role, fixed};
use super::program::Program;
use super::state::Regs;
use super::undefined::{self, Partial};

/// A bank and the slot in it.
type Register = (Bank, u16);

/// The lanes in which one of the registers is tainted.
fn any(r: &Regs, list: &[Register]) -> u32 {
    list.iter().fold(0, |t, &(bank, slot)| t | r.taint(bank, slot))
}

/// A register of `w` or `l` in a lane.
fn partial(r: &Regs, (bank, slot): Register, lane: usize) -> Partial {
    let value = if bank == Bank::W { r.w[slot as usize].0[lane] as u64 } else { r.l[slot as usize].0[lane] };
    Partial { value, undefined: r.undefined(bank, slot, lane) }
}

/// The result of an op in the lanes of `m`: clean but in the lanes of `t`, of which `f` tells the undefined bits.
fn each_lane(r: &mut Regs, (bank, slot): Register, m: u32, t: u32, f: impl Fn(&Regs, usize) -> u64) {
    if t & m == 0 {
        return r.set_taint(bank, slot, m, 0);
    }
    let mut bits = [0; 32];
    lanes_of(t & m).for_each(|i| bits[i] = f(r, i));
    r.set_undefined(bank, slot, m, &bits);
}

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
        let operands: Vec<Register> = s.s.iter().copied().zip([op.a, op.b, op.c]).collect();
        let t = any(r, &operands);
        if op.code == Code::Num {
            r.set_taint(s.d, op.d, m, t);
        } else {
            each_lane(r, (s.d, op.d), m, t, |r, i| {
                let mut x = [Partial::default(); 3];
                operands.iter().zip(&mut x).for_each(|(&o, x)| *x = partial(r, o, i));
                undefined::result(op.code, &x[..operands.len()])
            });
        }
        return Ok(());
    }
    let (w, l) = (|slot| (Bank::W, slot), |slot| (Bank::L, slot));
    match op.code {
        // The lanes' predicate chooses which of the two values counts.
        Code::Selp32 | Code::Selp64 => {
            let bank = if op.code == Code::Selp32 { Bank::W } else { Bank::L };
            let (a, b) = ((bank, op.a), (bank, op.b));
            let t = any(r, &[a, b, (Bank::P, op.c)]);
            each_lane(r, (bank, op.d), m, t, |r, i| {
                let (which, known) = (r.p[op.c as usize] >> i & 1 == 1, r.tp[op.c as usize] >> i & 1 == 0);
                undefined::selection(partial(r, a, i), partial(r, b, i), which, known)
            });
        }
        Code::SetpS32 | Code::SetpU32 | Code::SetpS16 | Code::SetpS64 | Code::SetpU64 => {
            let (bank, bits) = match op.code {
                Code::SetpS64 | Code::SetpU64 => (Bank::L, 64),
                Code::SetpS16 => (Bank::W, 16),
                _ => (Bank::W, 32),
            };
            let signed = matches!(op.code, Code::SetpS32 | Code::SetpS16 | Code::SetpS64);
            let (a, b) = ((bank, op.a), (bank, op.b));
            let open = |i: &usize| undefined::comparison(op.x, signed, bits, partial(r, a, *i), partial(r, b, *i));
            let t = lanes_of(any(r, &[a, b]) & m).filter(open).fold(0, |t, i| t | 1 << i);
            r.set_taint(Bank::P, op.d, m, t);
        }
        Code::Lop3 => {
            let x = [w(op.a), w(op.b), w(op.c)];
            each_lane(r, w(op.d), m, any(r, &x), |r, i| undefined::logic(op.x as u32, x.map(|x| partial(r, x, i))));
        }
        Code::Bfi32 | Code::Bfi64 => {
            let bank = if op.code == Code::Bfi32 { Bank::W } else { Bank::L };
            let x = [(bank, op.a), (bank, op.b), w(op.c), w(op.x)];
            each_lane(r, (bank, op.d), m, any(r, &x), |r, i| {
                let [a, b, pos, len] = x.map(|x| partial(r, x, i));
                undefined::inserted(a, b, pos, len)
            });
        }
        Code::BfeU64 | Code::BfeS64 => {
            let x = [l(op.a), w(op.c), w(op.x)];
            each_lane(r, l(op.d), m, any(r, &x), |r, i| {
                let [a, pos, len] = x.map(|x| partial(r, x, i));
                undefined::extracted(a, pos, len, op.code == Code::BfeS64)
            });
        }
        Code::Pack16 | Code::Pack16x4 => {
            let x = [w(op.a), w(op.b), w(op.c), w(op.x)];
            let (x, d) = if op.code == Code::Pack16 { (&x[..2], w(op.d)) } else { (&x[..], l(op.d)) };
            each_lane(r, d, m, any(r, x), |r, i| {
                x.iter().enumerate().fold(0, |u, (k, &x)| u | (partial(r, x, i).undefined & 0xffff) << (16 * k))
            });
        }
        Code::Unpack16 | Code::Unpack32 | Code::Unpack16x4 => {
            let bank = if op.code == Code::Unpack16 { Bank::W } else { Bank::L };
            let (t, n) = (r.taint(bank, op.a), if op.code == Code::Unpack16x4 { 4 } else { 2 });
            // The operand may be one of the results.
            let from: [u64; 32] = std::array::from_fn(|i| r.undefined(bank, op.a, i));
            let width = if op.code == Code::Unpack32 { 32 } else { 16 };
            for (k, slot) in [op.d, op.b, op.c, op.x].into_iter().enumerate().take(n) {
                each_lane(r, w(slot), m, t, |_, i| from[i] >> (width * k) & !(!0 << width));
            }
        }
        Code::AddC | Code::SubC | Code::MadLoC | Code::AddC64 | Code::SubC64 | Code::MadLoC64 => {
            let bank = if matches!(op.code, Code::AddC | Code::SubC | Code::MadLoC) { Bank::W } else { Bank::L };
            let x = [(bank, op.a), (bank, op.b), (bank, op.c)];
            let x = if matches!(op.code, Code::MadLoC | Code::MadLoC64) { &x[..] } else { &x[..2] };
            let flag = if op.x & 1 != 0 { r.tp[op.imm as usize] } else { 0 };
            let t = any(r, x) | flag;
            each_lane(r, (bank, op.d), m, t, |r, i| {
                undefined::from_lowest(x.iter().fold((flag >> i & 1) as u64, |u, &x| u | partial(r, x, i).undefined))
            });
            if op.x & 2 != 0 {
                r.set_taint(Bank::P, op.imm as u16, m, t);
            }
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
