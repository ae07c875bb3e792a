//! Threads together: barriers of the block, and the instructions that lanes of a warp execute as one.

use super::fault::{FaultKind, Raised, raise};
use super::lanes::{lanes_of, put_p, put_w};
use super::mem::POISON;
use super::op::{Bank, Code, Op, barrier as kind};
use super::state::{Exec, Flow, Group, Issue, Regs, State, Warp};

/// Hands the result of a reducing barrier to the lanes that leave it.
pub(crate) fn deliver(op: &Op, r: &mut Regs, m: u32, (popc, all, any): (u32, bool, bool)) {
    match op.x & kind::KIND {
        kind::POPC => {
            put_w(&mut r.w[op.d as usize], m, &[popc; 32]);
            r.set_taint(Bank::W, op.d, m, 0);
        }
        k @ (kind::AND | kind::OR) => {
            let v = if k == kind::AND { all } else { any };
            put_p(&mut r.p[op.d as usize], m, if v { m } else { 0 });
            r.set_taint(Bank::P, op.d, m, 0);
        }
        _ => {}
    }
}

impl Exec<'_> {
    /// Completes the barriers at which all threads that are left have arrived. Called when threads exit.
    pub fn recount(&mut self) {
        for i in 0..16 {
            let b = &self.barriers[i];
            if b.count == 0 && b.arrived > 0 && b.arrived >= self.live {
                self.complete(i);
            }
        }
    }

    fn complete(&mut self, i: usize) {
        let b = &mut self.barriers[i];
        if let Some(watch) = &mut self.watch {
            watch.complete(i, b.count == 0 || b.count >= self.live);
        }
        b.result = (b.popc, b.all, b.any);
        (b.arrived, b.count, b.popc, b.all, b.any) = (0, 0, 0, true, false);
        b.phase = b.phase.wrapping_add(1);
    }

    /// The instructions that need more than one lane. `rest` are the lanes of the group that do not execute it.
    pub fn together(&mut self, w: &mut Warp, r: &mut Regs, i: Issue, rest: Group) -> Raised<Flow> {
        let m = i.m;
        match i.op.code {
            Code::Bar => self.bar(w, r, i, rest),
            Code::LdMatrix | Code::StMatrix | Code::MovMatrix | Code::Tile | Code::Mma => {
                if m != w.live {
                    return Ok(park(w, i, rest));
                }
                if m != !0 {
                    return raise(FaultKind::SyncMask { mask: m }, m.trailing_zeros());
                }
                if let Some(o) = &mut self.observer {
                    o.warp_sync(w.index, m);
                }
                if let Some(watch) = &mut self.watch {
                    watch.sync(w.index, m, w.live);
                }
                self.matrix(w, r, i)?;
                Ok(Flow::Next)
            }
            _ => self.warp_sync(w, r, i, rest),
        }
    }

    fn bar(&mut self, w: &mut Warp, r: &mut Regs, i: Issue, rest: Group) -> Raised<Flow> {
        let Issue { op, pc, frame, m } = i;
        let aligned = op.x & kind::ALIGNED != 0;
        if aligned && m != w.live {
            return Ok(park(w, i, rest));
        }
        let first = m.trailing_zeros() as usize;
        let uniform = |slot: u16, what: &str| {
            let v = r.w[slot as usize].0[first];
            if lanes_of(m).any(|i| r.w[slot as usize].0[i] != v) {
                return raise(FaultKind::Barrier { why: format!("the lanes of a warp disagree on the {what}") }, first as u32);
            }
            Ok(v)
        };
        let id = uniform(op.a, "barrier")?;
        if id >= 16 {
            return raise(FaultKind::Barrier { why: format!("barrier {id}; there are 16") }, first as u32);
        }
        let count = if op.x & kind::COUNT != 0 { uniform(op.b, "number of threads")? } else { 0 };
        if op.x & kind::COUNT != 0 && (count == 0 || count % 32 != 0) {
            let why = format!("barrier {id} of {count} threads: must be a multiple of 32");
            return raise(FaultKind::Barrier { why }, first as u32);
        }
        let what = op.x & kind::KIND;
        let b = &mut self.barriers[id as usize];
        if b.arrived == 0 {
            (b.count, b.popc, b.all, b.any) = (count, 0, true, false);
        } else if b.count != count {
            let all = |n: u32| if n == 0 { "all threads".to_string() } else { format!("{n} threads") };
            let why = format!("barrier {id} is used for {} and for {} at once", all(b.count), all(count));
            return raise(FaultKind::Barrier { why }, first as u32);
        }
        if what >= kind::POPC {
            let p = if op.x & kind::NOT != 0 { !r.p[op.c as usize] } else { r.p[op.c as usize] } & m;
            b.popc += p.count_ones();
            b.all &= p == m;
            b.any |= p != 0;
        }
        // A barrier with a count counts a warp as 32 threads, exited lanes included.
        b.arrived += if count != 0 && aligned { 32 } else { m.count_ones() };
        let (phase, target) = (b.phase, if count != 0 { count } else { self.live });
        if let Some(o) = &mut self.observer {
            o.arrive(w.index, m, id, phase);
        }
        if let Some(watch) = &mut self.watch {
            watch.arrive(id as usize, w.index, (m, w.live), what == kind::ARRIVE);
        }
        let arrived = self.barriers[id as usize].arrived;
        if arrived > target {
            let why = format!("{arrived} threads arrive at barrier {id}, which waits for {target}");
            return raise(FaultKind::Barrier { why }, first as u32);
        }
        if arrived == target {
            self.complete(id as usize);
        }
        if what == kind::ARRIVE {
            return Ok(Flow::Next);
        }
        if rest.mask != 0 {
            w.groups.push(rest);
        }
        let state = State::Barrier { id: id as u8, phase };
        w.groups.push(Group { frame, pc: pc as u32, mask: m, state, turn: 0 });
        Ok(Flow::Leave)
    }

    fn warp_sync(&mut self, w: &mut Warp, r: &mut Regs, i: Issue, rest: Group) -> Raised<Flow> {
        let Issue { op, pc, frame, m } = i;
        let masks = r.w[op.imm as usize].0;
        let t = r.tw[op.imm as usize] & m;
        if t != 0 {
            return raise(FaultKind::Uninitialised { used_as: "the mask of a .sync instruction" }, t.trailing_zeros());
        }
        // Lanes with one mask act together; usually that is all of them.
        let (mut left, mut waiting) = (m, 0);
        let mut sets = Vec::new();
        while left != 0 {
            let lead = left.trailing_zeros() as usize;
            let mask = masks[lead];
            let set = lanes_of(left).filter(|&i| masks[i] == mask).fold(0u32, |s, i| s | 1 << i);
            left &= !set;
            if mask & set != set {
                return raise(FaultKind::SyncMask { mask }, (set & !mask).trailing_zeros());
            }
            if set == mask & w.live { sets.push(set) } else { waiting |= set }
        }
        if waiting != 0 && waiting != m {
            // Some sets are complete. They execute the instruction and go on as a group of their own; the others wait.
            let done = m & !waiting;
            w.groups.push(Group { frame, pc: pc as u32, mask: waiting, state: State::Parked, turn: 0 });
            for &set in &sets {
                self.exchange(w, r, op, set)?;
            }
            w.groups.push(Group { mask: rest.mask | done, ..rest });
            return Ok(Flow::Leave);
        }
        if waiting != 0 {
            return Ok(park(w, i, rest));
        }
        for &set in &sets {
            self.exchange(w, r, op, set)?;
        }
        Ok(Flow::Next)
    }

    /// Executes a `.sync` instruction for the lanes of `m`, which have named the same mask and are all there.
    fn exchange(&mut self, w: &Warp, r: &mut Regs, op: &Op, m: u32) -> Raised {
        if let Some(o) = &mut self.observer {
            o.warp_sync(w.index, m);
        }
        if let Some(watch) = &mut self.watch {
            watch.sync(w.index, m, w.live);
        }
        match op.code {
            Code::BarWarp => {}
            Code::Elect => {
                let leader = m.trailing_zeros();
                put_w(&mut r.w[op.d as usize], m, &[leader; 32]);
                put_p(&mut r.p[op.b as usize], m, 1 << leader);
                r.set_taint(Bank::W, op.d, m, 0);
                r.set_taint(Bank::P, op.b, m, 0);
            }
            Code::Shfl => self.shfl(r, op, m)?,
            Code::Vote => {
                let p = r.p[op.a as usize] & m;
                let t = if r.tp[op.a as usize] & m != 0 { m } else { 0 };
                if op.x == 3 {
                    put_w(&mut r.w[op.d as usize], m, &[p; 32]);
                    r.set_taint(Bank::W, op.d, m, t);
                } else {
                    let v = match op.x {
                        0 => p == m,
                        1 => p != 0,
                        _ => p == m || p == 0,
                    };
                    put_p(&mut r.p[op.d as usize], m, if v { m } else { 0 });
                    r.set_taint(Bank::P, op.d, m, t);
                }
            }
            Code::Match => {
                let wide = op.x & 2 != 0;
                let value = |i: usize| if wide { r.l[op.a as usize].0[i] } else { r.w[op.a as usize].0[i] as u64 };
                let t = r.taint(if wide { Bank::L } else { Bank::W }, op.a) & m;
                let t = if t != 0 { m } else { 0 };
                let mut out = [0u32; 32];
                for i in lanes_of(m) {
                    out[i] = lanes_of(m).filter(|&k| value(k) == value(i)).fold(0, |s, k| s | 1 << k);
                }
                if op.x & 1 != 0 {
                    let all = lanes_of(m).all(|i| out[i] == m);
                    put_w(&mut r.w[op.d as usize], m, &[if all { m } else { 0 }; 32]);
                    if op.b != 0 {
                        put_p(&mut r.p[op.b as usize], m, if all { m } else { 0 });
                        r.set_taint(Bank::P, op.b, m, t);
                    }
                } else {
                    put_w(&mut r.w[op.d as usize], m, &out);
                }
                r.set_taint(Bank::W, op.d, m, t);
            }
            Code::Redux => {
                let a = r.w[op.a as usize].0;
                let t = if r.tw[op.a as usize] & m != 0 { m } else { 0 };
                let v = lanes_of(m).map(|i| a[i]);
                let v = match op.x {
                    0 => v.fold(0u32, |s, x| s.wrapping_add(x)),
                    1 => v.fold(!0, |s, x| s.min(x)),
                    2 => v.fold(0, |s, x| s.max(x)),
                    3 => v.fold(i32::MAX, |s, x| s.min(x as i32)) as u32,
                    4 => v.fold(i32::MIN, |s, x| s.max(x as i32)) as u32,
                    5 => v.fold(!0, |s, x| s & x),
                    6 => v.fold(0, |s, x| s | x),
                    _ => v.fold(0, |s, x| s ^ x),
                };
                put_w(&mut r.w[op.d as usize], m, &[v; 32]);
                r.set_taint(Bank::W, op.d, m, t);
            }
            _ => unreachable!("not an instruction of several lanes"),
        }
        Ok(())
    }

    fn shfl(&mut self, r: &mut Regs, op: &Op, m: u32) -> Raised {
        let (a, b, c) = (r.w[op.a as usize].0, r.w[op.b as usize].0, r.w[op.c as usize].0);
        let t = (r.tw[op.b as usize] | r.tw[op.c as usize]) & m;
        if t != 0 {
            return raise(FaultKind::Uninitialised { used_as: "the source lane of a shuffle" }, t.trailing_zeros());
        }
        let (mut out, mut inside, mut undefined) = ([0u32; 32], 0u32, [0u64; 32]);
        for i in lanes_of(m) {
            let lane = i as u32;
            let (by, clamp, segment) = (b[i] & 31, c[i] & 31, c[i] >> 8 & 31);
            let max = (lane & segment) | (clamp & !segment);
            let min = lane & segment;
            let (from, ok) = match op.x & 3 {
                0 => (lane.wrapping_sub(by), lane as i32 - by as i32 >= max as i32),
                1 => (lane + by, lane + by <= max),
                2 => (lane ^ by, lane ^ by <= max),
                _ => (min | (by & !segment), (min | (by & !segment)) <= max),
            };
            let from = if ok { from & 31 } else { lane };
            out[i] = a[from as usize];
            inside |= (ok as u32) << i;
            undefined[i] = r.undefined(Bank::W, op.a, from as usize);
            // The source lane does not take part: its value is undefined.
            if m >> from & 1 == 0 {
                out[i] = POISON;
                undefined[i] = if self.initcheck { !0 } else { 0 };
            }
        }
        put_w(&mut r.w[op.d as usize], m, &out);
        r.set_undefined(Bank::W, op.d, m, &undefined);
        let p = op.x >> 2;
        if p != 0 {
            put_p(&mut r.p[p as usize], m, inside);
            r.set_taint(Bank::P, p, m, 0);
        }
        Ok(())
    }
}

/// Parks the group until more lanes of its warp arrive; the lanes `rest`, which skip the instruction, go on.
fn park(w: &mut Warp, i: Issue, rest: Group) -> Flow {
    let Issue { pc, frame, m, .. } = i;
    if rest.mask != 0 {
        w.groups.push(rest);
    }
    w.groups.push(Group { frame, pc: pc as u32, mask: m, state: State::Parked, turn: 0 });
    Flow::Leave
}
