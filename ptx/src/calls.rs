//! The ends of threads, and function calls: frames, and the parameters that are copied between them.

use super::fault::{FaultKind, Raised, raise};
use super::lanes::lanes_of;
use super::mem::Bytes;
use super::op::Extra;
use super::state::{Exec, Frame, Group, Issue, State, Warp};

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
    }

    /// The lanes of a call enter its function: a frame that other lanes entered from the same place, else a new one.
    pub fn call(&mut self, w: &mut Warp, i: Issue) -> Raised {
        let Issue { op, pc, frame, m } = i;
        let program = self.program;
        let Extra::Call(call) = &program.extras[op.x as usize] else { unreachable!("a call is described") };
        let callee = &program.functions[call.function as usize];
        let ret = pc as u32 + 1;
        let same = |f: &Frame| f.mask != 0 && f.parent == frame && f.ret == ret && f.depth > 0;
        let at = match w.frames.iter().position(same) {
            Some(i) => i,
            None => {
                let caller = &w.frames[frame as usize];
                let depth = caller.depth + 1;
                if depth > 1000 {
                    return raise(FaultKind::StackOverflow, m.trailing_zeros());
                }
                let local = (caller.local + program.functions[caller.function as usize].local).next_multiple_of(16);
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
                f.enter(call.function, callee, &self.shape, w.index, self.initcheck);
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

    /// Lanes return to their caller.
    pub fn ret(&mut self, w: &mut Warp, i: Issue) {
        let Issue { frame, m, .. } = i;
        let program = self.program;
        let f = &mut w.frames[frame as usize];
        f.mask &= !m;
        let (parent, ret, call) = (f.parent, f.ret, f.call);
        let Extra::Call(call) = &program.extras[call as usize] else { unreachable!("a call is described") };
        let from_size = program.functions[call.function as usize].params as usize;
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
