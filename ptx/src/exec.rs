//! The run loop: one group of lanes through its micro-ops, until it blocks, splits, returns or meets other lanes.

use super::alu::{arithmetic, cold};
use super::fault::{FaultKind, Raise, Raised, raise};
use super::lanes::{lanes_of, put_l, put_p, put_w};
use super::mem::Window;
use super::op::{Bank, Code, Extra};
use super::operands::results;
use super::simd::at_level;
use super::state::{Exec, Flow, Group, Issue, Regs, State, Warp};
use super::sync::deliver;
use super::taint::propagate;

at_level! {
    /// [`run`], compiled for the level.
    fn run(x: &mut Exec, w: &mut Warp, g: Group) -> Raised = run;
}

/// Instructions that a warp may run before the other warps of its block get their turn. Many, so that the change of warps costs
/// little; not too many, so that a warp that spins on a flag lets the warp run that sets it.
const SLICE: u64 = 1 << 18;
/// Strong reads of global memory, and atomics that changed none, that a warp may do before the other warps of its block, and
/// other blocks, get their turn: it may wait for one of them.
const POLLS: u32 = 16;
/// Instructions that a group of lanes may run before the other groups of its warp get their turn.
const GROUP_SLICE: u64 = 1 << 12;

impl Exec<'_> {
    /// Runs a warp until all its groups wait or are gone, or its slice is over.
    pub fn warp(&mut self, w: &mut Warp) -> Raised {
        let start = self.executed;
        self.polls = 0;
        loop {
            self.wake(w);
            let Some(i) = pick(w) else { return Ok(()) };
            let group = w.groups.swap_remove(i);
            let level = self.level;
            level.run(self, w, group)?;
            let preempted = self.preempt.as_mut().is_some_and(|p| p.take());
            let give_way = std::mem::take(&mut self.give_way);
            if self.executed - start > SLICE || preempted || give_way || self.polls >= POLLS {
                return Ok(());
            }
        }
    }

    /// Groups whose barrier phase is over go on.
    fn wake(&mut self, w: &mut Warp) {
        for g in &mut w.groups {
            if let State::Barrier { id, phase } = g.state
                && self.barriers[id as usize].phase != phase
            {
                let result = self.barriers[id as usize].result;
                let op = &self.program.ops[g.pc as usize];
                deliver(op, &mut w.frames[g.frame as usize].regs, g.mask, result);
                g.state = State::Ready;
                g.pc += 1;
            }
            if let State::Phase { at, parity } = g.state
                && self.phase_over(at, parity)
            {
                g.state = State::Ready;
            }
            if let State::Cluster { phase } = g.state
                && self.units.cluster.phase != phase
            {
                g.state = State::Ready;
            }
            if let State::Products { group, until } = g.state
                && self.told_by_all(group) >= until
            {
                g.state = State::Ready;
            }
        }
    }

    /// How many products all warps of a warp group have told.
    pub fn told_by_all(&self, group: u32) -> u64 {
        self.units.products.get(group as usize).map_or(0, |p| p.told_by_all())
    }
}

/// Merges groups that stand at the same place, and chooses the next one: the deepest call first, then the lowest address, which
/// lets lanes meet again where the compiler laid out the join.
fn pick(w: &mut Warp) -> Option<usize> {
    if w.groups.len() > 1 {
        let mut i = 0;
        while i < w.groups.len() {
            let mut k = i + 1;
            while k < w.groups.len() {
                let (a, b) = (w.groups[i], w.groups[k]);
                let barrier = |s| matches!(s, State::Barrier { .. });
                if (a.frame, a.pc) == (b.frame, b.pc) && !barrier(a.state) && !barrier(b.state) {
                    w.groups[i].mask |= b.mask;
                    w.groups[i].turn = a.turn.min(b.turn);
                    // A group that was parked for want of lanes may have them now.
                    w.groups[i].state = State::Ready;
                    w.groups.swap_remove(k);
                } else {
                    k += 1;
                }
            }
            i += 1;
        }
    }
    let frames = &w.frames;
    let ready = w.groups.iter().enumerate().filter(|(_, g)| g.state == State::Ready);
    // `Warp::turn` counts the slices that ended while other groups could run; a group carries the count at the end of its own. A
    // group whose count is the newest comes last, so that each of the others runs once before it.
    let starved = w.turn;
    ready.min_by_key(|(_, g)| (g.turn >= starved && starved > 0, !frames[g.frame as usize].depth, g.pc)).map(|(i, _)| i)
}

/// Runs a group until it blocks, splits, meets other lanes, or its slice is over.
///
/// Longer than a screen on purpose: `pc`, the counts and the registers stay in locals of one function, and what is taken out of
/// it (the frame's registers, the tally) is put back in one place, whatever ends the loop.
#[inline(always)]
pub(crate) fn run(x: &mut Exec, w: &mut Warp, group: Group) -> Raised {
    let program = x.program;
    let ops = program.ops.as_slice();
    let (frame, active) = (group.frame, group.mask);
    let mut pc = group.pc as usize;
    // Where another group of this frame stands further down: this group stops there, and `pick` merges the two.
    let (mut watch, mut others) = (usize::MAX, false);
    for g in &w.groups {
        others |= g.state == State::Ready;
        if g.frame == frame && g.pc as usize > pc && !matches!(g.state, State::Barrier { .. }) {
            watch = watch.min(g.pc as usize);
        }
    }
    let slice = if others { GROUP_SLICE } else { SLICE }.min(x.budget.saturating_sub(x.executed) + 1);
    let (counters, mut n) = (x.counters, 0u64);
    let mut regs = std::mem::take(&mut w.frames[frame as usize].regs);
    let r = &mut regs;
    let put_back = |pc: usize, mask: u32, turn: u64| Group { frame, pc: pc as u32, mask, state: State::Ready, turn };

    let mut tally = std::mem::take(&mut x.tally);

    let outcome = loop {
        if pc >= watch {
            w.groups.push(put_back(pc, active, group.turn));
            break Ok(());
        }
        // Arithmetic up to the next instruction of another kind; op by op while taint must be followed.
        let stretch = (program.plain[pc] as usize).min(watch - pc);
        if stretch > 0 {
            let end = if r.tainted { pc + 1 } else { pc + stretch };
            n += (end - pc) as u64;
            if r.tainted
                && let Err(e) = x.tainted(w.index, r, pc, active)
            {
                break Err(e);
            }
            let tally = if counters { &mut tally[pc..end] } else { &mut [] };
            arithmetic(&ops[pc..end], &program.alike[pc..end], tally, r, active, &x.bits);
            pc = end;
            continue;
        }
        let op = &ops[pc];
        let m = active & (r.p[op.pred as usize] ^ op.neg);
        n += 1;
        if counters {
            tally[pc][0] += 1;
            tally[pc][1] += m.count_ones() as u64;
        }
        if r.tainted
            && let Err(e) = x.tainted(w.index, r, pc, active)
        {
            break Err(e);
        }
        // A random schedule stops warps behind memory instructions. A warp that polls stops, and its other groups go first.
        macro_rules! yield_if_due {
            () => {{
                if x.polls >= POLLS {
                    w.turn += 1;
                    w.groups.push(put_back(pc + 1, active, w.turn));
                    break Ok(());
                }
                if x.preempt.as_ref().is_some_and(|p| p.due) {
                    w.groups.push(put_back(pc + 1, active, group.turn));
                    break Ok(());
                }
            }};
        }
        let issue = Issue { op, pc, frame, m };
        // A fast path declines whatever is unusual, with nothing done; `access` then does all of it.
        macro_rules! memory {
            ($fast:expr) => {
                match $fast {
                    Ok(true) => {
                        x.tick();
                        if x.preempt.as_ref().is_some_and(|p| p.due) {
                            w.groups.push(put_back(pc + 1, active, group.turn));
                            break Ok(());
                        }
                    }
                    Ok(false) => match x.access(w, r, issue) {
                        Ok(()) => yield_if_due!(),
                        Err(e) => break Err(e),
                    },
                    Err(e) => break Err(e),
                }
            };
        }
        match op.code {
            Code::Bra => {
                let target = op.imm as usize;
                if m == active {
                    let back = target <= pc;
                    pc = target;
                    // A jump back is where a group that loops for ever gives others their turn.
                    if back && n > slice {
                        w.turn += 1;
                        w.groups.push(put_back(pc, active, w.turn));
                        break Ok(());
                    }
                    continue;
                }
                if m != 0 {
                    w.groups.push(put_back(target, m, group.turn));
                    w.groups.push(put_back(pc + 1, active & !m, group.turn));
                    break Ok(());
                }
            }
            Code::LdShared => memory!(x.load_shared(r, issue, w.index)),
            Code::StShared => memory!(x.store_shared(r, issue, w.index)),
            Code::LdGlobal => memory!(x.load_global(r, issue, w.index)),
            Code::StGlobal => memory!(x.store_global(r, issue, w.index)),
            _ => match x.special(w, r, issue, active) {
                Ok(Flow::Next) => yield_if_due!(),
                Ok(Flow::Leave) => break Ok(()),
                Err(e) => match x.passed_over(e, w.index, r, issue) {
                    Ok(()) => {}
                    Err(e) => break Err(e),
                },
            },
        }
        pc += 1;
    };
    x.tally = tally;
    x.executed += n;
    w.at = (pc as u32, frame);
    // If all lanes have left the frame, a call may have taken it and made new registers, which must stay.
    let home = &mut w.frames[frame as usize];
    if home.regs.p.is_empty() {
        home.regs = regs;
    }
    if outcome.is_ok() && x.executed > x.budget {
        return raise(FaultKind::Budget { limit: x.budget }, None);
    }
    outcome
}

impl Exec<'_> {
    /// Carries taint over op `pc`. If the launch goes on after a tainted guard, the guard counts as known.
    #[cold]
    #[inline(never)]
    fn tainted(&mut self, warp: u32, r: &mut Regs, pc: usize, active: u32) -> Raised {
        let (program, op) = (self.program, &self.program.ops[pc]);
        let m = active & (r.p[op.pred as usize] ^ op.neg);
        propagate(program, r, op, m, active).or_else(|e| {
            self.admit(e, warp, pc)?;
            r.set_taint(Bank::P, op.pred, active, 0);
            propagate(program, r, op, m, active)
        })
    }

    /// After a fault of an op as a whole: if the launch goes on, it does as if the op's results were zero.
    #[cold]
    #[inline(never)]
    fn passed_over(&mut self, e: Box<Raise>, warp: u32, r: &mut Regs, i: Issue) -> Raised {
        self.admit(e, warp, i.pc)?;
        for (bank, slot) in results(i.op, self.program) {
            match bank {
                Bank::W => put_w(&mut r.w[slot as usize], i.m, &[0; 32]),
                Bank::L => put_l(&mut r.l[slot as usize], i.m, &[0; 32]),
                Bank::P => put_p(&mut r.p[slot as usize], i.m, 0),
            }
            r.set_taint(bank, slot, i.m, 0);
        }
        Ok(())
    }

    /// Everything that is not in the hot table, for a group whose lanes are `active`.
    #[inline(never)]
    pub fn special(&mut self, w: &mut Warp, r: &mut Regs, i: Issue, active: u32) -> Raised<Flow> {
        let Issue { op, pc, frame, m } = i;
        if cold(self, r, op, m) {
            return Ok(Flow::Next);
        }
        if m == 0 {
            return Ok(Flow::Next);
        }
        let rest = Group { frame, pc: pc as u32 + 1, mask: active & !m, state: State::Ready, turn: 0 };
        match op.code {
            code if code.loads() || code.stores() => self.access(w, r, i)?,
            Code::Atom => self.atom(w, r, i)?,
            Code::Fence => {
                if let Some(o) = &mut self.observer {
                    o.fence(w.index, m, op.x != 0);
                }
                if let Some(watch) = &mut self.watch {
                    watch.fence(w.index, op.x != 0);
                }
            }
            Code::IsSpace => {
                let t = lanes_of(m).fold(0, |t, k| t | (self.is_space(op.x, r.l[op.a as usize].0[k]) as u32) << k);
                put_p(&mut r.p[op.d as usize], m, t);
            }
            Code::ActiveMask => put_w(&mut r.w[op.d as usize], m, &[m; 32]),
            Code::Clock => {
                // The clock counts instructions.
                let now = self.executed + pc as u64;
                if op.x == 1 {
                    put_l(&mut r.l[op.d as usize], m, &[now; 32]);
                } else {
                    let now = if op.x == 2 { now >> 32 } else { now };
                    put_w(&mut r.w[op.d as usize], m, &[now as u32; 32]);
                }
            }
            Code::Trap => {
                let Extra::Text(why) = &self.program.extras[op.x as usize] else { unreachable!("a trap has a text") };
                let why = why.clone();
                // A function that could be reached through its address only, and that cannot be run.
                let kind = if op.imm != 0 { FaultKind::Unsupported { why } } else { FaultKind::Trap { why } };
                return raise(kind, m.trailing_zeros());
            }
            Code::Exit | Code::Call | Code::CallR | Code::Ret | Code::Brx => {
                if rest.mask != 0 {
                    w.groups.push(rest);
                }
                match op.code {
                    Code::Exit => self.exit(w, m),
                    Code::Call | Code::CallR => self.call(w, r, i)?,
                    Code::Brx => self.jump(w, r, i)?,
                    _ => self.ret(w, i),
                }
                return Ok(Flow::Leave);
            }
            Code::Rare => return self.rare(w, r, i, rest),
            Code::CpAsync => self.level.copy_begin(self, w, r, i)?,
            Code::CpCommit => {
                for i in lanes_of(m) {
                    w.commits[i] += 1;
                }
            }
            Code::CpWait => self.level.copy_wait(self, w, i)?,
            _ => return self.together(w, r, i, rest),
        }
        Ok(Flow::Next)
    }

    /// `isspacep`: whether a generic address lies in a space, which `x` numbers as [`super::decode`] does.
    fn is_space(&self, x: u16, address: u64) -> bool {
        let space = self.global.space(address);
        match x {
            0 => space == Window::Shared,
            1 => space == Window::Local,
            2 => false,
            4 => space == Window::Param,
            _ => space == Window::Global,
        }
    }
}
