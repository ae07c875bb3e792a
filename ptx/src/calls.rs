//! The ends of threads, and function calls: frames, and the parameters that are copied between them.

use super::fault::{FaultKind, Raised, raise};
use super::lanes::lanes_of;
use super::mem::{Bytes, function_at};
use super::op::{Call, Code, Extra};
use super::state::{Exec, Frame, Group, Issue, Regs, State, Warp};

/// Most bytes of local memory, and of parameters, of a thread over all its calls.
const STACK: u32 = 512 << 10;

impl Exec<'_> {
    /// Lanes end.
    pub fn exit(&mut self, w: &mut Warp, m: u32) {
        w.live &= !m;
        self.live -= m.count_ones();
        for f in &mut w.frames {
            f.mask &= !m;
        }
        // Those that waited for these lanes look again.
        for g in &mut w.groups {
            if g.state == State::Parked {
                g.state = State::Ready;
            }
        }
        self.recount();
        self.cluster_recount();
    }

    /// The lanes of a call enter its function; through a register each lane may enter another.
    pub fn call(&mut self, w: &mut Warp, r: &Regs, i: Issue) -> Raised {
        let program = self.program;
        let Extra::Call(call) = &program.extras[i.op.x as usize] else { unreachable!("a call is described") };
        if i.op.code == Code::Call {
            return self.enter(w, i, call, call.targets[0].1);
        }
        let tainted = r.tl[i.op.a as usize] & i.m;
        if tainted != 0 {
            return raise(FaultKind::Uninitialised { used_as: "the address of a call" }, tainted.trailing_zeros());
        }
        let address = &r.l[i.op.a as usize].0;
        let mut left = i.m;
        while left != 0 {
            let lane = left.trailing_zeros();
            let to = address[lane as usize];
            let m = lanes_of(left).filter(|&k| address[k] == to).fold(0, |m, k| m | 1 << k);
            let Some(&(_, function)) = call.targets.iter().find(|t| t.0 == to) else {
                let known = function_at(to).and_then(|f| program.function_names.get(f as usize));
                let why = match known {
                    Some(name) => format!("call of {to:#x}: `{name}` is not among the targets, or has other parameters"),
                    None => format!("call of {to:#x}: no function has this address"),
                };
                return raise(FaultKind::Operand { why }, lane);
            };
            self.enter(w, Issue { m, ..i }, call, function)?;
            left &= !m;
        }
        Ok(())
    }

    /// Lanes jump to the ops that a table has at their indices.
    pub fn jump(&mut self, w: &mut Warp, r: &Regs, i: Issue) -> Raised {
        let Issue { op, pc, frame, m } = i;
        let Extra::Jumps(targets) = &self.program.extras[op.x as usize] else { unreachable!("a jump has a table") };
        let tainted = r.tw[op.a as usize] & m;
        if tainted != 0 {
            return raise(FaultKind::Uninitialised { used_as: "a branch condition" }, tainted.trailing_zeros());
        }
        let index = &r.w[op.a as usize].0;
        let mut left = m;
        while left != 0 {
            let lane = left.trailing_zeros();
            let Some(&pc_of) = targets.get(index[lane as usize] as usize) else {
                let (i, n) = (index[lane as usize], targets.len());
                let why = format!("index {i} of a jump table that has {n} targets");
                return raise(FaultKind::Operand { why }, lane);
            };
            let same = |k: &usize| targets.get(index[*k] as usize) == Some(&pc_of);
            let m = lanes_of(left).filter(same).fold(0, |m, k| m | 1 << k);
            left &= !m;
            // A jump back is where a group that loops for ever gives others their turn.
            let back = pc_of as usize <= pc && !w.groups.is_empty();
            w.turn += back as u64;
            let turn = if back { w.turn } else { 0 };
            w.groups.push(Group { frame, pc: pc_of, mask: m, state: State::Ready, turn });
        }
        Ok(())
    }

    /// Lanes enter a function: a frame that other lanes entered from the same place, else a new one.
    fn enter(&mut self, w: &mut Warp, i: Issue, call: &Call, function: u32) -> Raised {
        let Issue { op, pc, frame, m } = i;
        let program = self.program;
        let callee = &program.functions[function as usize];
        let ret = pc as u32 + 1;
        let same = |f: &Frame| f.mask != 0 && f.parent == frame && f.ret == ret && f.depth > 0 && f.function == function;
        let at = match w.frames.iter().position(same) {
            Some(i) => i,
            None => {
                let caller = &w.frames[frame as usize];
                let depth = caller.depth + 1;
                let local = (caller.local + program.functions[caller.function as usize].local).next_multiple_of(16);
                // The hardware gives a thread 512 KiB.
                if depth > 1000 || local + callee.local > STACK || self.parameters(w, frame) + callee.params > STACK {
                    return raise(FaultKind::StackOverflow, m.trailing_zeros());
                }
                let i = match w.frames.iter().position(|f| f.mask == 0) {
                    Some(i) => i,
                    None => {
                        w.frames.push(Frame::new());
                        w.frames.len() - 1
                    }
                };
                w.local.grow((local + callee.local).next_multiple_of(16) as usize * 32);
                let f = &mut w.frames[i];
                (f.parent, f.depth, f.ret, f.call, f.local) = (frame, depth, ret, op.x, local);
                f.enter(function, callee, &self.shape, w.index, self.initcheck);
                i
            }
        };
        let from_size = program.functions[w.frames[frame as usize].function as usize].params as usize;
        let (from, to) = two(&mut w.frames, frame as usize, at);
        to.mask |= m;
        for &(a, b, bytes) in &call.args {
            for lane in lanes_of(m) {
                let (a, b) = (lane * from_size + a as usize, lane * callee.params as usize + b as usize);
                copy_bytes(&from.params, a, &mut to.params, b, bytes as usize);
            }
        }
        w.groups.push(Group { frame: at as u32, pc: callee.start, mask: m, state: State::Ready, turn: 0 });
        Ok(())
    }

    /// Bytes of parameter memory of a frame and of all that it was called from.
    fn parameters(&self, w: &Warp, frame: u32) -> u32 {
        let mut f = &w.frames[frame as usize];
        let mut bytes = 0;
        loop {
            bytes += self.program.functions[f.function as usize].params;
            if f.depth == 0 {
                return bytes;
            }
            f = &w.frames[f.parent as usize];
        }
    }

    /// Lanes return to their caller.
    pub fn ret(&mut self, w: &mut Warp, i: Issue) {
        let Issue { frame, m, .. } = i;
        let program = self.program;
        let f = &mut w.frames[frame as usize];
        f.mask &= !m;
        let (parent, ret, call, function) = (f.parent, f.ret, f.call, f.function);
        let Extra::Call(call) = &program.extras[call as usize] else { unreachable!("a call is described") };
        let from_size = program.functions[function as usize].params as usize;
        let to_size = program.functions[w.frames[parent as usize].function as usize].params as usize;
        let (from, to) = two(&mut w.frames, frame as usize, parent as usize);
        for &(a, b, bytes) in &call.rets {
            for lane in lanes_of(m) {
                let (a, b) = (lane * to_size + a as usize, lane * from_size + b as usize);
                copy_bytes(&from.params, b, &mut to.params, a, bytes as usize);
            }
        }
        w.groups.push(Group { frame: parent, pc: ret, mask: m, state: State::Ready, turn: 0 });
    }
}

fn copy_bytes(from: &Bytes, a: usize, to: &mut Bytes, b: usize, len: usize) {
    for i in 0..len {
        to.set(b + i, 1, from.get(a + i, 1), from.is_known(a + i, 1));
    }
}

/// Two different elements, both mutable.
fn two<T>(v: &mut [T], a: usize, b: usize) -> (&mut T, &mut T) {
    let [a, b] = v.get_disjoint_mut([a, b]).expect("caller and callee are two frames");
    (a, b)
}
