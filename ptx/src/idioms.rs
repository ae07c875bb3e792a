//! Code that looks like a mistake and is none: recognised in a program, by where the values go.
//!
//! * The loop of the CUDA Programming Guide for an atomic operation that the hardware lacks begins with an ordinary load:
//!   `old = *p; do { assumed = old; old = atomicCAS(p, assumed, f(assumed)); } while (assumed != old);`. A value that was read too
//!   early makes the exchange fail, and no more. Such a load counts as a strong one.
//! * A kernel that rounds no operand of its tf32 products truncates all of them on purpose (Triton's `tf32`). One that adds half a
//!   unit of the last place, and leaves it to the tensor core to cut, rounds (CUTLASS's `round_half_ulp_truncate`).

use std::collections::{HashMap, HashSet};

use super::op::{AtomOp, Bank, Code, Extra, Op, strong};
use super::operands::{Parts, Role, visit};
use super::program::{Preset, Program};
use super::source::Space;

/// A register of an op.
type Register = (Bank, u16);
/// From a branch to the op that comes next.
type Edge = (usize, usize);

/// Half a unit of the last place of tf32, in the bits of an f32.
const HALF_ULP: u64 = 0x1000;

/// The registers of each op, and where control goes.
struct Graph<'a> {
    ops: &'a [Op],
    extras: &'a [Extra],
    operands: Vec<Vec<(Register, Role)>>,
}

impl<'a> Graph<'a> {
    fn new(p: &'a mut Program) -> Graph<'a> {
        let Program { ops, mems, extras, nums, .. } = p;
        let mut parts = Parts { mems, extras, nums };
        let operands = |op: &Op| {
            let mut list = Vec::new();
            visit(&mut op.clone(), &mut parts, &mut |bank, slot, role| list.push(((bank, *slot), role)));
            list
        };
        let operands = ops.iter().map(operands).collect();
        Graph { ops, extras: parts.extras, operands }
    }

    fn results(&self, pc: usize) -> impl Iterator<Item = Register> {
        self.operands[pc].iter().filter(|o| o.1 == Role::Def).map(|o| o.0)
    }

    /// The ops that may read what op `pc` writes to a register, on ways that take none of the edges `without`.
    fn readers(&self, pc: usize, register: Register, without: &HashSet<Edge>) -> Vec<usize> {
        let (mut found, mut seen, mut next) = (Vec::new(), HashSet::new(), self.after(pc, without));
        while let Some(at) = next.pop() {
            if !seen.insert(at) {
                continue;
            }
            let named = |role| self.operands[at].contains(&(register, role));
            if named(Role::Use) {
                found.push(at);
            }
            // Under a guard, the register may keep its value.
            if !named(Role::Def) || self.ops[at].pred != 0 {
                next.extend(self.after(at, without));
            }
        }
        found.sort_unstable();
        found
    }

    fn after(&self, pc: usize, without: &HashSet<Edge>) -> Vec<usize> {
        let op = &self.ops[pc];
        let always = op.pred == 0;
        let mut next = match op.code {
            Code::Bra if always => vec![op.imm as usize],
            Code::Bra => vec![op.imm as usize, pc + 1],
            Code::Brx => match &self.extras[op.x as usize] {
                Extra::Jumps(targets) => targets.iter().map(|&t| t as usize).chain((!always).then_some(pc + 1)).collect(),
                _ => unreachable!("a jump has a table"),
            },
            Code::Exit | Code::Ret | Code::Trap if always => Vec::new(),
            _ => vec![pc + 1],
        };
        next.retain(|&to| !without.contains(&(pc, to)));
        next
    }

    /// The edges that are taken where the two sides of a comparison were equal.
    fn where_equal(&self, compare: usize) -> Vec<Edge> {
        const EQ: u16 = 0;
        const NE: u16 = 1;
        let relation = self.ops[compare].x;
        let mut edges = Vec::new();
        for p in self.results(compare).filter(|_| matches!(relation, EQ | NE)) {
            for at in self.readers(compare, p, &HashSet::new()) {
                let op = &self.ops[at];
                if op.code == Code::Bra && (Bank::P, op.pred) == p && op.imm as usize != at + 1 {
                    // Negated or not, and for equality or difference: the way that is taken if the predicate is true.
                    let taken = (op.neg == 0) == (relation == EQ);
                    edges.push((at, if taken { op.imm as usize } else { at + 1 }));
                }
            }
        }
        edges
    }

    /// Whether the op computes its results from its operands, and does nothing else.
    fn computes(&self, pc: usize) -> bool {
        let code = self.ops[pc].code;
        code.plain()
            || code.shape().is_some()
            || code == Code::Num
            || matches!(code, Code::Selp64 | Code::Lop3 | Code::Bfi32 | Code::Bfi64 | Code::BfeU64 | Code::BfeS64)
            || matches!(code, Code::Pack16 | Code::Pack16x4 | Code::Unpack16 | Code::Unpack16x4 | Code::Unpack32)
            || matches!(code, Code::AddC | Code::SubC | Code::MadLoC | Code::MadHiC)
    }

    /// Whether the op compares two values.
    fn compares(&self, pc: usize) -> bool {
        let writes_predicate = self.results(pc).all(|r| r.0 == Bank::P) && self.results(pc).next().is_some();
        writes_predicate && self.operands[pc].iter().any(|o| o.1 == Role::Use && o.0.0 != Bank::P)
    }
}

/// Marks what is recognised.
pub(super) fn recognise(p: &mut Program) {
    let cas = |op: &Op, extras: &[Extra]| {
        op.code == Code::Atom && matches!(&extras[op.x as usize], Extra::Atom(a) if a.op == AtomOp::Cas)
    };
    let exchanges: Vec<usize> = (0..p.ops.len()).filter(|&i| cas(&p.ops[i], &p.extras)).collect();
    if !exchanges.is_empty() {
        for (pc, space) in loads_of_loops(p, &exchanges) {
            let x = strong::code(space).expect("only such loads are looked at");
            (p.ops[pc].code, p.ops[pc].x) = (Code::LdStrong, x);
        }
    }
    if p.rounds.tf32 {
        p.rounds.by_half_ulp = adds_half_ulp(p);
    }
}

/// The ordinary loads whose values only go to a compare-and-swap: to what it compares, to what it stores, and to the comparison
/// with what it returns.
fn loads_of_loops(p: &mut Program, exchanges: &[usize]) -> Vec<(usize, Option<Space>)> {
    let addresses: HashMap<usize, Register> = exchanges
        .iter()
        .map(|&pc| {
            let Extra::Atom(a) = &p.extras[p.ops[pc].x as usize] else { unreachable!("an atomic is described") };
            (pc, (if a.address64 { Bank::L } else { Bank::W }, p.ops[pc].a))
        })
        .collect();
    let g = Graph::new(p);
    // Where what an exchange returned is read, also by way of moves.
    let mut returned: HashSet<(usize, Register)> = HashSet::new();
    let mut list: Vec<(usize, Register)> = exchanges.iter().flat_map(|&pc| g.results(pc).map(move |r| (pc, r))).collect();
    while let Some((pc, r)) = list.pop() {
        for at in g.readers(pc, r, &HashSet::new()) {
            if returned.insert((at, r)) && matches!(g.ops[at].code, Code::Mov32 | Code::Mov64) {
                list.extend(g.results(at).map(|r| (at, r)));
            }
        }
    }
    // Follows a loaded value. Gives whether it goes to an exchange, whether that is all, and its comparisons with what came back.
    let follow = |load: usize, without: &HashSet<Edge>| {
        let (mut seen, mut exchanged, mut only, mut compared) = (HashSet::new(), false, true, Vec::new());
        let mut list: Vec<(usize, Register)> = g.results(load).map(|r| (load, r)).collect();
        while let Some((pc, r)) = list.pop() {
            if !seen.insert((pc, r)) {
                continue;
            }
            for at in g.readers(pc, r, without) {
                let guard = (Bank::P, g.ops[at].pred) == r;
                if let Some(address) = addresses.get(&at) {
                    exchanged = true;
                    only &= *address != r && !guard;
                } else if g.compares(at) {
                    let other = |o: &&(Register, Role)| o.1 == Role::Use && o.0 != r && o.0.0 != Bank::P;
                    if g.operands[at].iter().filter(other).all(|o| returned.contains(&(at, o.0))) {
                        compared.push(at);
                    } else {
                        only = false;
                    }
                } else if g.computes(at) && !guard {
                    list.extend(g.results(at).map(|r| (at, r)));
                } else {
                    only = false;
                }
            }
        }
        (exchanged, only, compared)
    };
    // Where what was expected is what came back, the value has been read atomically: from there on it may be used.
    let harmless = |&(load, _): &(usize, Option<Space>)| {
        let (exchanged, _, compared) = follow(load, &HashSet::new());
        exchanged && follow(load, &compared.iter().flat_map(|&at| g.where_equal(at)).collect()).1
    };
    let space = |code| match code {
        Code::LdGlobal => Some(Some(Space::Global)),
        Code::LdShared => Some(Some(Space::Shared)),
        Code::LdGeneric => Some(None),
        _ => None,
    };
    let loads = (0..g.ops.len()).filter_map(|pc| Some((pc, space(g.ops[pc].code)?)));
    loads.filter(harmless).collect()
}

/// Whether half a unit of the last place is added to an operand of a product.
fn adds_half_ulp(p: &mut Program) -> bool {
    let constants: Vec<Vec<u16>> = p
        .functions
        .iter()
        .map(|f| f.presets.iter().filter(|c| c.0 == Bank::W && c.2 == Preset::Bits(HALF_ULP)).map(|c| c.1).collect())
        .collect();
    let function = |p: &Program, pc: usize| p.sites[pc].function as usize;
    let half = |p: &Program, pc: usize| {
        let op = &p.ops[pc];
        let constants = &constants[function(p, pc)];
        op.code == Code::Add32 && (constants.contains(&op.a) || constants.contains(&op.b))
    };
    let adds: Vec<usize> = (0..p.ops.len()).filter(|&pc| half(p, pc)).collect();
    let g = Graph::new(p);
    adds.iter().any(|&add| {
        let mut seen = HashSet::new();
        let mut list: Vec<(usize, Register)> = g.results(add).map(|r| (add, r)).collect();
        while let Some((pc, r)) = list.pop() {
            for at in g.readers(pc, r, &HashSet::new()) {
                match g.ops[at].code {
                    Code::Mma => return true,
                    // Not every value gets the half: infinities do not.
                    Code::Mov32 | Code::Selp32 if seen.insert(at) => list.extend(g.results(at).map(|r| (at, r))),
                    _ => {}
                }
            }
        }
        false
    })
}
