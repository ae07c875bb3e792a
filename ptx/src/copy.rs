//! `cp.async`: checked when issued, done when a wait covers the copy. In between the destination counts as unwritten.

use super::access::{Request, Resolved, Target, extent};
use super::fault::{FaultKind, Raised, raise};
use super::lanes::lanes_of;
use super::observe::{Access, AccessKind, Memory};
use super::pattern::Lanes;
use super::race::Touch;
use super::simd::{at_level, prefetch};
use super::source::Space;
use super::state::{Exec, InFlight, Issue, Regs, Warp};
use super::watch::Touching;

at_level! {
    /// [`Exec::copy_begin`], compiled for the level.
    fn copy_begin(x: &mut Exec, w: &mut Warp, r: &mut Regs, i: Issue) -> Raised = Exec::copy_begin;
    /// [`Exec::copy_wait`], compiled for the level.
    fn copy_wait(x: &mut Exec, w: &mut Warp, i: Issue) -> Raised = Exec::copy_wait;
}

impl Exec<'_> {
    /// `cp.async`: checks both sides, and begins the copies.
    #[inline(always)]
    pub fn copy_begin(&mut self, w: &mut Warp, r: &mut Regs, i: Issue) -> Raised {
        let Issue { op, pc, m, .. } = i;
        if m == 0 {
            return Ok(());
        }
        let bytes = op.x as u32;
        let mut t = r.tw[op.a as usize] | r.tl[op.b as usize];
        if op.d != 0 {
            t |= r.tw[op.c as usize];
        }
        if t & m != 0 {
            return raise(FaultKind::Uninitialised { used_as: "an address" }, (t & m).trailing_zeros());
        }
        let mut c = InFlight {
            pc: pc as u32,
            bytes,
            lanes: m,
            group: w.commits,
            to: r.w[op.a as usize].0.map(u64::from),
            from: [bytes as u8; 32],
            source: [(0, 0); 32],
        };
        // Lanes that read at least a byte; lanes that read some bytes, but not all.
        let (mut reading, mut part) = (m, 0);
        if op.d != 0 {
            (reading, part) = (0, 0);
            for i in lanes_of(m) {
                let from = r.w[op.c as usize].0[i];
                if from > bytes {
                    let why = format!("cp.async of {bytes} bytes with a source size of {from}");
                    return raise(FaultKind::Operand { why }, i as u32);
                }
                c.from[i] = from as u8;
                reading |= ((from > 0) as u32) << i;
                part |= ((from > 0 && from < bytes) as u32) << i;
            }
        }
        let (_, hi, or) = extent(&c.to, m);
        if or & (bytes as u64 - 1) != 0 || hi + bytes as u64 > self.shared.data.len() as u64 {
            for i in lanes_of(m) {
                let to = Request { space: Some(Space::Shared), bytes, write: true };
                self.resolve(w, 0, to, c.to[i], i as u32)?;
            }
        }
        if reading != 0 {
            let mut source = r.l[op.b as usize].0;
            source.iter_mut().for_each(|a| *a = a.wrapping_add(op.imm as i64 as u64));
            self.copy_sources(w, &mut c, &source, reading, part)?;
        }
        if let Some(watch) = &mut self.watch {
            let by = Touching { touch: Touch::Copy, warp: w.index, pc, bytes, same: &|_, _| true };
            let found = watch.shared(&by, &Lanes::new(&c.to, m));
            self.shared_race(found)?;
        }
        if !self.late_copies {
            return self.copies_arrive(w.index, &c, m);
        }
        for i in lanes_of(m) {
            let (to, bytes) = (c.to[i] as usize, bytes as usize);
            // Unwritten bytes are a fault only with `initcheck`. Without, they must at least not hold what was there before,
            // which could pass for the copy.
            if self.initcheck {
                self.shared.unmark(to, bytes)
            } else {
                self.shared.forget(to, bytes)
            }
            let (buffer, at) = c.source[i];
            if let Some(b) = self.global.buffers.get(buffer as usize) {
                prefetch(&b.bytes.data, at);
            }
        }
        w.copies.push_back(c);
        Ok(())
    }

    /// Checks and finds the sources of the lanes `reading`, of which `part` read less than the whole.
    #[inline(always)]
    fn copy_sources(&mut self, w: &Warp, c: &mut InFlight, address: &[u64; 32], reading: u32, part: u32) -> Raised {
        let (lo, hi, or) = extent(address, reading);
        let aligned = or & (c.bytes as u64 - 1) == 0;
        let hit = if aligned && part == 0 { self.global.hit(lo, hi, c.bytes, false, &mut 0) } else { None };
        if let Some(hit) = hit
            && !self.watched()
        {
            self.tick();
            let offset = address.map(|a| a.wrapping_sub(hit.base));
            c.source = offset.map(|at| (hit.buffer as u32, at as usize));
            if let Some(watch) = &mut self.watch {
                let by = Touching { touch: Touch::Read, warp: w.index, pc: c.pc as usize, bytes: c.bytes, same: &|_, _| true };
                let found = watch.global(&by, hit.buffer, &Lanes::new(&offset, reading));
                self.global_race(found, hit.buffer)?;
            }
            return Ok(());
        }
        let mut targets = [(Target::Shared, 0); 32];
        for i in lanes_of(reading) {
            if !address[i].is_multiple_of(c.bytes as u64) {
                return raise(self.global.explain(address[i], c.bytes, false), i as u32);
            }
            // Only the bytes that are read must lie inside.
            let (buffer, at) = self.global.locate_bytes(address[i], c.from[i] as u32, i as u32)?;
            c.source[i] = (buffer as u32, at);
            targets[i] = (Target::Buffer(buffer), at);
        }
        let from = Resolved { warp: w.index, pc: c.pc as usize, m: reading, bytes: c.bytes, targets: &targets };
        self.tell(&from, address, AccessKind::Read)?;
        self.watch(&from, Touch::Read, &|_, _| true)
    }

    /// Completes the copies of all but the last groups of each lane, as many as `imm` says; −1: of every copy, committed or not.
    #[inline(always)]
    pub fn copy_wait(&mut self, w: &mut Warp, i: Issue) -> Raised {
        let (keep, m) = (i.op.imm, i.m);
        if !self.landings.is_empty() {
            let warp = w.index;
            self.land(i.pc, |l| l.warp == warp)?;
        }
        // Groups before this one.
        let until = w.commits.map(|n| if keep < 0 { u32::MAX } else { n.saturating_sub(keep as u32) });
        let mut copies = std::mem::take(&mut w.copies);
        for c in &mut copies {
            let covered = (0..32).fold(0, |s, i| s | ((c.group[i] < until[i]) as u32) << i) & m & c.lanes;
            if covered != 0 {
                self.copies_arrive(w.index, c, covered)?;
                c.lanes &= !covered;
            }
        }
        while copies.front().is_some_and(|c| c.lanes == 0) {
            copies.pop_front();
        }
        w.copies = copies;
        Ok(())
    }

    /// Completes the copies of the lanes `now`.
    #[inline(always)]
    pub fn copies_arrive(&mut self, warp: u32, c: &InFlight, now: u32) -> Raised {
        let bytes = c.bytes as usize;
        for i in lanes_of(now) {
            let (to, from, (buffer, at)) = (c.to[i] as usize, c.from[i] as usize, c.source[i]);
            // The most frequent cases: 16 bytes from memory, or 16 zeros for padding.
            let chunk = match (bytes, from) {
                (16, 0) => Some([0; 16]),
                (16, 16) => {
                    let b = &self.global.buffers[buffer as usize].bytes;
                    b.is_known(at, 16).then(|| b.data[at..at + 16].try_into().expect("16 bytes"))
                }
                _ => None,
            };
            if let Some(chunk) = chunk {
                self.shared.data[to..to + 16].copy_from_slice(&chunk);
                self.shared.mark(to, 16);
                continue;
            }
            let whole = &mut self.shared.data[to..to + bytes];
            whole[from..].fill(0);
            if from > 0 {
                let b = &self.global.buffers[buffer as usize].bytes;
                whole[..from].copy_from_slice(&b.data[at..at + from]);
                if !b.is_known(at, from) {
                    for k in 0..from {
                        if b.is_known(at + k, 1) {
                            self.shared.mark(to + k, 1);
                        } else {
                            self.shared.unmark(to + k, 1);
                        }
                    }
                    self.shared.mark(to + from, bytes - from);
                    continue;
                }
            }
            self.shared.mark(to, bytes);
        }
        if let Some(watch) = &mut self.watch {
            let by = Touching { touch: Touch::Arrived, warp, pc: c.pc as usize, bytes: c.bytes, same: &|_, _| true };
            let found = watch.shared(&by, &Lanes::new(&c.to, now));
            self.shared_race(found)?;
        }
        if let Some(o) = &mut self.observer {
            let access = Access {
                kind: AccessKind::AsyncWrite,
                memory: Memory::Shared,
                warp,
                pc: c.pc,
                mask: now,
                address: &c.to,
                bytes: c.bytes,
            };
            o.access(&access).or_else(|(kind, lane)| raise(kind, lane))?;
        }
        Ok(())
    }
}
