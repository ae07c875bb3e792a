//! Atomic operations.

use super::access::{Request, Resolved, Target, addresses, low};
use super::fault::{FaultKind, Raised, raise};
use super::lanes::{lanes_of, put_l, put_w};
use super::num::float::atomic_add;
use super::num::half::{self, Half};
use super::observe::AccessKind;
use super::op::{Atom, AtomOp, AtomType, Bank, Extra, SINK};
use super::race::Touch;
use super::state::{Exec, Issue, Regs, Warp};

/// The value that an atomic operation stores.
fn combine(a: &Atom, old: u64, b: u64, c: u64, global: bool) -> u64 {
    let float = |x: f64| if x.is_nan() { 0x7fff_ffff_ffff_ffff } else { x.to_bits() };
    let half = |kind: Half, old: u32, b: u32| half::add(old & 0xffff, b & 0xffff, kind);
    match (a.ty, a.op) {
        (_, AtomOp::Exch) => b,
        (_, AtomOp::Cas) => {
            if old == b {
                c
            } else {
                old
            }
        }
        (_, AtomOp::And) => old & b,
        (_, AtomOp::Or) => old | b,
        (_, AtomOp::Xor) => old ^ b,
        (AtomType::F32, AtomOp::Add) => atomic_add(old as u32, b as u32, global) as u64,
        (AtomType::F64, AtomOp::Add) => float(f64::from_bits(old) + f64::from_bits(b)),
        (AtomType::F16, AtomOp::Add) => half(Half::F16, old as u32, b as u32) as u64,
        (AtomType::Bf16, AtomOp::Add) => half(Half::Bf16, old as u32, b as u32) as u64,
        (AtomType::F16x2, AtomOp::Add) => half::x2_2(old as u32, b as u32, |x, y| half(Half::F16, x, y)) as u64,
        (AtomType::Bf16x2, AtomOp::Add) => half::x2_2(old as u32, b as u32, |x, y| half(Half::Bf16, x, y)) as u64,
        (AtomType::U64 | AtomType::S64, AtomOp::Add) => old.wrapping_add(b),
        (_, AtomOp::Add) => (old as u32).wrapping_add(b as u32) as u64,
        (_, AtomOp::Inc) => {
            if old >= b {
                0
            } else {
                old + 1
            }
        }
        (_, AtomOp::Dec) => {
            if old == 0 || old > b {
                b
            } else {
                old - 1
            }
        }
        (AtomType::F16 | AtomType::Bf16 | AtomType::F16x2 | AtomType::Bf16x2, AtomOp::Min | AtomOp::Max) => {
            let kind = if matches!(a.ty, AtomType::F16 | AtomType::F16x2) { Half::F16 } else { Half::Bf16 };
            let one = |x, y| if a.op == AtomOp::Min { half::min(x, y, false, kind) } else { half::max(x, y, false, kind) };
            half::x2_2(old as u32, b as u32, one) as u64
        }
        (AtomType::S32, AtomOp::Min) => (old as i32).min(b as i32) as u32 as u64,
        (AtomType::S32, AtomOp::Max) => (old as i32).max(b as i32) as u32 as u64,
        (AtomType::S64, AtomOp::Min) => (old as i64).min(b as i64) as u64,
        (AtomType::S64, AtomOp::Max) => (old as i64).max(b as i64) as u64,
        (_, AtomOp::Min) => old.min(b),
        (_, AtomOp::Max) => old.max(b),
    }
}

impl Exec<'_> {
    /// Atomic operations of a warp, in order of the lanes.
    pub fn atom(&mut self, w: &mut Warp, r: &mut Regs, i: Issue) -> Raised {
        let Issue { op, pc, frame, mut m } = i;
        let Extra::Atom(atom) = &self.program.extras[op.x as usize] else { unreachable!("an atomic is described") };
        let atom = *atom;
        let bytes = atom.ty.bytes() as usize;
        let size = (bytes * atom.count as usize) as u32;
        let wide = bytes == 8;
        let bank = if wide { Bank::L } else { Bank::W };
        let t = r.taint(if atom.address64 { Bank::L } else { Bank::W }, op.a) & m;
        if t != 0 {
            let found = raise(FaultKind::Uninitialised { used_as: "an address" }, t.trailing_zeros());
            found.or_else(|e| self.admit(e, w.index, pc))?;
            m &= !t;
        }
        let taint = |slot| r.taint_within(bank, slot, low(bytes));
        let third = if atom.op == AtomOp::Cas { taint(atom.c) } else { 0 };
        let t = (0..atom.count as usize).fold(third, |t, k| t | taint(atom.b[k])) & m;
        if self.initcheck && t != 0 {
            let found = raise(FaultKind::Uninitialised { used_as: "an operand of an atomic" }, t.trailing_zeros());
            found.or_else(|e| self.admit(e, w.index, pc))?;
        }
        let a = addresses(r, op, atom.address64);
        let mut targets = [(Target::Shared, 0); 32];
        for i in lanes_of(m) {
            let want = Request { space: atom.space, bytes: size, write: true };
            match self.resolve(w, frame, want, a[i], i as u32) {
                Ok(target) => targets[i] = target,
                Err(e) => {
                    self.admit(e, w.index, pc)?;
                    m &= !(1 << i);
                }
            }
        }
        if m == 0 {
            return Ok(());
        }
        let resolved = Resolved { warp: w.index, pc, m, bytes: size, targets: &targets };
        self.tell(&resolved, &a, AccessKind::Atomic)?;
        self.watch(&resolved, Touch::Atomic, &|_, _| true)?;
        let epoch = self.epoch;
        for k in 0..atom.count as usize {
            let mut out = [0u64; 32];
            for i in lanes_of(m) {
                let at = resolved.location(i, k, bytes);
                let (old, known) = self.get(w, frame, at);
                if self.initcheck && !known && atom.op != AtomOp::Exch {
                    let found = raise(FaultKind::Uninitialised { used_as: "memory of an atomic" }, i as u32);
                    found.or_else(|e| self.admit(e, w.index, pc))?;
                }
                let value = |slot: u16| if wide { r.l[slot as usize].0[i] } else { r.w[slot as usize].0[i] as u64 };
                let cut = low(bytes);
                let (b, c) = (value(atom.b[k]) & cut, value(atom.c) & cut);
                let new = combine(&atom, old, b, c, matches!(at.target, Target::Buffer(_)));
                self.put(w, frame, at, new, true);
                out[i] = old;
            }
            if atom.d[k] != SINK {
                if wide {
                    put_l(&mut r.l[atom.d[k] as usize], m, &out);
                } else {
                    put_w(&mut r.w[atom.d[k] as usize], m, &out.map(|v| v as u32));
                }
                r.set_taint(bank, atom.d[k], m, 0);
            }
        }
        if self.epoch == epoch {
            self.polls(&resolved);
        }
        Ok(())
    }
}
