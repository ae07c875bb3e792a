//! `cp.async.bulk`: one thread has a whole tile copied, by the tensor map of what it is cut from, or a run of bytes.
//!
//! A copy into shared memory arrives at an mbarrier, here when something waits there for the phase in vain, which is as late as can
//! be; until then its destination holds no value. A copy out of shared memory belongs to a group of its thread: a wait for the group
//! has it read (`.read`) or done, and the end of the block has all of them done.

use std::rc::Rc;

use super::fault::{FaultKind, Place, Raised, raise};
use super::lanes::lanes_of;
use super::mem::{PARAM_WINDOW, Window};
use super::op::{Bulk, Rare};
use super::pattern::Lanes;
use super::phase::MOST;
use super::race::{Teller, Touch};
use super::rare::{initialised, value};
use super::state::{Exec, Issue, Regs, Warp};
use super::tensor_map::{BYTES, Cut, Row, TensorMap};
use super::units::{Line, Transfer, Way};
use super::watch::Touching;

fn wrong<T>(why: String, lane: u32) -> Raised<T> {
    raise(FaultKind::Bulk { why }, lane)
}

impl Exec<'_> {
    /// A bulk copy, or what is done about those under way.
    pub fn bulk(&mut self, w: &mut Warp, r: &mut Regs, i: Issue, x: (&Rare, Bulk)) -> Raised {
        let (x, what) = x;
        initialised(r, &x.reads, i.m, "an operand of a bulk copy")?;
        for lane in lanes_of(i.m) {
            let who = Teller { warp: w.index, lane: lane as u32, pc: i.pc as u32 };
            let operands: Vec<u64> = x.reads.iter().map(|&o| value(r, o, lane)).collect();
            match what {
                Bulk::Load { rank, corners } => {
                    let (map, rest) = (self.map(operands[1], lane as u32)?, &operands[3..]);
                    let coordinates: Vec<i32> = rest[..rank as usize].iter().map(|&c| c as u32 as i32).collect();
                    let filter: Vec<u32> = rest[rank as usize..].iter().map(|&c| c as u32 & 0xffff).collect();
                    let t = self.cut_tile(who, map, operands[0], &coordinates, (corners as usize, &filter))?;
                    self.begin_load(t, operands[2])?;
                }
                Bulk::Store { rank } => {
                    let map = self.map(operands[0], lane as u32)?;
                    let coordinates: Vec<i32> = operands[2..2 + rank as usize].iter().map(|&c| c as u32 as i32).collect();
                    let t = self.cut_tile(who, map, operands[1], &coordinates, (0, &[]))?;
                    self.begin_store(t)?;
                }
                Bulk::CopyIn => {
                    let t = self.run_of_bytes(who, operands[0], operands[1], operands[2])?;
                    self.begin_load(t, operands[3])?;
                }
                Bulk::CopyOut => {
                    let t = self.run_of_bytes(who, operands[1], operands[0], operands[2])?;
                    self.begin_store(t)?;
                }
                Bulk::Prefetch => {
                    self.map(operands[0], lane as u32)?;
                }
                Bulk::Commit => {
                    let count = self.units.commits.entry((who.warp, who.lane)).or_default();
                    *count += 1;
                    let number = *count - 1;
                    for t in &mut self.units.transfers {
                        if let Way::Out { group: group @ None, .. } = &mut t.way
                            && (t.who.warp, t.who.lane) == (who.warp, who.lane)
                        {
                            *group = Some(number);
                        }
                    }
                }
                Bulk::Wait { keep, read } => {
                    let committed = self.units.commits.get(&(who.warp, who.lane)).copied().unwrap_or(0);
                    let until = committed.saturating_sub(keep as u64);
                    let mine = |t: &Transfer| (t.who.warp, t.who.lane) == (who.warp, who.lane);
                    self.finish_stores(read, |t, group| mine(t) && group.is_some_and(|g| g < until))?;
                }
            }
        }
        Ok(())
    }

    /// The tensor map at an address.
    fn map(&self, address: u64, lane: u32) -> Raised<Rc<TensorMap>> {
        if !address.is_multiple_of(64) {
            return wrong(format!("the tensor map's address {address:#x} is no multiple of 64"), lane);
        }
        let bytes: Option<[u8; BYTES]> = match self.global.space(address) {
            Window::Param => {
                let at = (address - PARAM_WINDOW) as usize;
                self.shape.params.get(at..at + BYTES).map(|b| b.try_into().expect("as many"))
            }
            Window::Global => {
                let (buffer, at) = self.global.locate_bytes(address, BYTES as u32, lane)?;
                let b = &self.global.buffers[buffer].bytes;
                b.is_known(at, BYTES).then(|| b.data[at..at + BYTES].try_into().expect("as many"))
            }
            _ => None,
        };
        match bytes.and_then(|b| TensorMap::decode(&b)) {
            Some(map) => Ok(Rc::new(map)),
            None => wrong(format!("at {address:#x} there is no tensor map"), lane),
        }
    }

    /// The tile of a map at some coordinates, and its place in shared memory, checked.
    fn cut_tile(
        &self,
        who: Teller,
        map: Rc<TensorMap>,
        at: u64,
        coordinates: &[i32],
        filter: (usize, &[u32]),
    ) -> Raised<Transfer> {
        let (corners, filter) = filter;
        let im2col = matches!(map.cut, Cut::Im2col { .. });
        if map.dims.len() != coordinates.len() || corners != if im2col { map.dims.len() - 2 } else { 0 } {
            let mode = if im2col { "im2col" } else { "tiled" };
            let why = format!("an instruction of {} coordinates with a {mode} map of {}", coordinates.len(), map.dims.len());
            return wrong(why, who.lane);
        }
        let row = map.row_bytes();
        // Before the rows are listed: there may be more than any memory has room for.
        let at = self.in_shared(at, map.box_bytes(), 128, who.lane)?;
        if map.swizzle.span().is_some_and(|span| span != row) {
            let why = format!("rows of {row} bytes with {:?}: how narrower rows lie is not documented", map.swizzle);
            return wrong(why, who.lane);
        }
        let rows = map.rows(coordinates, filter).or_else(|why| wrong(why, who.lane))?;
        let mut t = Transfer { who, way: Way::Out { group: None, read: None }, at, row, lines: Vec::new(), map: Some(map) };
        for Row { from, lead, len } in rows {
            t.lines.push(Line { buffer: 0, from, lead, len });
        }
        Ok(t)
    }

    /// `bytes` bytes of global memory.
    fn run_of_bytes(&self, who: Teller, at: u64, global: u64, bytes: u64) -> Raised<Transfer> {
        let bytes = bytes as u32;
        if bytes == 0 || !bytes.is_multiple_of(16) || !global.is_multiple_of(16) {
            let why = format!("a bulk copy of {bytes} bytes at {global:#x}; both must be multiples of 16, and not zero");
            return wrong(why, who.lane);
        }
        let at = self.in_shared(at, bytes as u64, 16, who.lane)?;
        let lines = vec![Line { buffer: 0, from: global, lead: 0, len: bytes }];
        Ok(Transfer { who, way: Way::Out { group: None, read: None }, map: None, at, row: bytes, lines })
    }

    /// An address in shared memory with room for `bytes`.
    fn in_shared(&self, at: u64, bytes: u64, align: u64, lane: u32) -> Raised<u32> {
        let place = || Place { address: at, about: self.about_shared(at) };
        if !at.is_multiple_of(align) {
            return raise(FaultKind::Misaligned { space: "shared", bytes: align as u32, at: place() }, lane);
        }
        if at.saturating_add(bytes) > self.shared.data.len() as u64 {
            let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
            return raise(FaultKind::OutOfBounds { space: "shared", write: true, bytes, at: place() }, lane);
        }
        Ok(at as u32)
    }

    /// Finds the buffers of the lines, which must lie in what the launch grants.
    fn locate(&self, t: &mut Transfer, write: bool) -> Raised {
        for line in t.lines.iter_mut().filter(|l| l.len > 0) {
            match self.global.hit(line.from, line.from.saturating_add(line.len as u64 - 1), 1, write, &mut 0) {
                Some(hit) => {
                    line.buffer = hit.buffer as u32;
                    line.from -= hit.base;
                }
                None => {
                    let at = |k: u64| line.from.saturating_add(k);
                    let bad = |k: &u64| self.global.locate(at(*k), 1, write, t.who.lane).is_err();
                    let first = (0..line.len as u64).find(bad).unwrap_or(0);
                    return raise(self.global.explain(at(first), 1, write), t.who.lane);
                }
            }
        }
        Ok(())
    }

    fn begin_load(&mut self, mut t: Transfer, mbarrier: u64) -> Raised {
        let lane = t.who.lane;
        let mbarrier = self.in_shared(mbarrier, 8, 8, lane)?;
        self.word(mbarrier as usize, lane as usize)?;
        t.way = Way::In { mbarrier, here: false };
        self.locate(&mut t, false)?;
        self.watch_global(&t, Touch::Read)?;
        let bytes = t.bytes();
        if let Some(watch) = &mut self.watch {
            watch.bulk(bytes as u64);
            let found = watch.told_to_write(t.who, &[(t.at, bytes)], mbarrier);
            self.shared_race(found)?;
        }
        if self.late_copies {
            self.shared.forget(t.at as usize, bytes as usize);
        } else {
            self.fill(&t);
            t.way = Way::In { mbarrier, here: true };
        }
        self.units.transfers.push(t);
        Ok(())
    }

    fn begin_store(&mut self, mut t: Transfer) -> Raised {
        self.locate(&mut t, true)?;
        let bytes = t.bytes();
        if let Some(watch) = &mut self.watch {
            watch.bulk(bytes as u64);
            let found = watch.told_to_read(t.who, 1 << t.who.lane, &[(t.at, bytes)], true);
            self.shared_race(found)?;
        }
        if !self.late_copies {
            self.read_tile(&mut t);
        }
        self.units.transfers.push(t);
        Ok(())
    }

    /// Tells the watch of the accesses to global memory: 16 bytes to a lane, then what is left of a row by words.
    fn watch_global(&mut self, t: &Transfer, touch: Touch) -> Raised {
        let Some(watch) = &mut self.watch else { return Ok(()) };
        let (mut address, mut n, mut open) = ([0u64; 32], 0usize, None::<(u32, u32)>);
        let mut flush = |address: &[u64; 32], n: usize, (buffer, bytes): (u32, u32)| {
            let mask = if n == 32 { !0 } else { (1u32 << n) - 1 };
            let by = Touching { touch, warp: t.who.warp, pc: t.who.pc as usize, bytes, same: &|_, _| true };
            watch.global(&by, buffer as usize, &Lanes::new(address, mask)).map_err(|c| (c, buffer))
        };
        let mut found = Ok(());
        'all: for line in t.lines.iter().filter(|l| l.len > 0) {
            let mut at = 0;
            while at < line.len {
                let left = line.len - at;
                let bytes = if (line.from + at as u64).is_multiple_of(16) && left >= 16 { 16 } else { left.min(4) };
                if open.is_some_and(|o| o != (line.buffer, bytes)) || n == 32 {
                    found = flush(&address, n, open.expect("there are some"));
                    n = 0;
                    if found.is_err() {
                        break 'all;
                    }
                }
                open = Some((line.buffer, bytes));
                address[n] = line.from + at as u64;
                n += 1;
                at += bytes;
            }
        }
        if let (Ok(()), Some(o)) = (&found, open)
            && n > 0
        {
            found = flush(&address, n, o);
        }
        match found {
            Ok(()) => Ok(()),
            Err((c, buffer)) => self.global_race(Err(c), buffer as usize),
        }
    }

    /// The bytes arrive.
    fn fill(&mut self, t: &Transfer) {
        for (k, line) in t.lines.iter().enumerate() {
            let mut row = match &t.map {
                Some(map) => map.outside(t.row as usize),
                None => vec![0; t.row as usize],
            };
            let (lead, len) = (line.lead as usize, line.len as usize);
            let mut known = true;
            if len > 0 {
                let b = &self.global.buffers[line.buffer as usize].bytes;
                let from = line.from as usize;
                row[lead..lead + len].copy_from_slice(&b.data[from..from + len]);
                known = b.is_known(from, len);
            }
            if let Some(map) = &t.map {
                map.convert(&mut row[lead..lead + len]);
            }
            for piece in (0..t.row as usize).step_by(16) {
                let (to, n) = (t.place(k as u32 * t.row + piece as u32), 16.min(t.row as usize - piece));
                self.shared.data[to..to + n].copy_from_slice(&row[piece..piece + n]);
                if known {
                    self.shared.mark(to, n);
                    continue;
                }
                for i in 0..n {
                    let inside = (lead..lead + len).contains(&(piece + i));
                    let from = line.from as usize + (piece + i).saturating_sub(lead);
                    if !inside || self.global.buffers[line.buffer as usize].bytes.is_known(from, 1) {
                        self.shared.mark(to + i, 1);
                    } else {
                        self.shared.unmark(to + i, 1);
                    }
                }
            }
        }
    }

    /// Lets the copies arrive that an mbarrier waits for.
    pub fn land_bulk(&mut self, at: u32, lane: usize) -> Raised {
        let (land, stay) = std::mem::take(&mut self.units.transfers).into_iter().partition(|t| t.reaches(at));
        self.units.transfers = stay;
        let land: Vec<Transfer> = land;
        for t in &land {
            if !matches!(t.way, Way::In { here: true, .. }) {
                self.fill(t);
            }
            if let Some(watch) = &mut self.watch {
                watch.written(t.who, &[(t.at, t.bytes())], at);
            }
            let mut word = self.word(at as usize, lane)?;
            word.bytes -= t.bytes() as i32;
            if word.pending == 0 && word.bytes < 0 || word.bytes.unsigned_abs() > MOST {
                let why = format!("{} bytes more have come than it was told to expect", -word.bytes);
                return self.misuse(why, at as usize, lane);
            }
            self.settle(at as usize, word);
        }
        Ok(())
    }

    /// The bytes of a copy to global memory are read.
    fn read_tile(&mut self, t: &mut Transfer) {
        let Way::Out { read: None, group } = t.way else { return };
        let places: Vec<usize> = (0..t.bytes()).map(|i| t.place(i)).collect();
        let data = places.iter().map(|&p| self.shared.data[p]).collect();
        let known = places.iter().map(|&p| !self.initcheck || self.shared.is_known(p, 1)).collect();
        t.way = Way::Out { group, read: Some((data, known)) };
    }

    /// Has the copies to global memory read that `which` names, by the copy and its group; unless `read` is all that is asked, done.
    fn finish_stores(&mut self, read: bool, which: impl Fn(&Transfer, Option<u64>) -> bool) -> Raised {
        let mut list = std::mem::take(&mut self.units.transfers);
        let mut stay = Vec::new();
        for mut t in list.drain(..) {
            let Way::Out { group, .. } = t.way else {
                stay.push(t);
                continue;
            };
            if !which(&t, group) {
                stay.push(t);
                continue;
            }
            self.read_tile(&mut t);
            if let Some(watch) = &mut self.watch {
                watch.fetched(t.who, None, &[(t.at, t.bytes())]);
            }
            if read { stay.push(t) } else { self.write_tile(&t)? }
        }
        self.units.transfers = stay;
        Ok(())
    }

    fn write_tile(&mut self, t: &Transfer) -> Raised {
        let Way::Out { read: Some((data, known)), .. } = &t.way else { return Ok(()) };
        self.watch_global(t, Touch::Write)?;
        self.epoch += 1;
        for (k, line) in t.lines.iter().enumerate().filter(|(_, l)| l.len > 0) {
            let from = k * t.row as usize + line.lead as usize;
            let inside = from..from + line.len as usize;
            if known[inside.clone()].iter().any(|k| !k) {
                let used_as = "the value of a store to global memory";
                raise(FaultKind::Uninitialised { used_as }, t.who.lane)
                    .or_else(|e| self.admit(e, t.who.warp, t.who.pc as usize))?;
            }
            let to = &mut self.global.buffers[line.buffer as usize].bytes;
            let at = line.from as usize;
            to.data[at..at + line.len as usize].copy_from_slice(&data[inside]);
            to.mark(at, line.len as usize);
        }
        Ok(())
    }

    /// All threads have exited: what is still under way.
    pub fn finish_units(&mut self) -> Raised {
        for (group, p) in self.units.products.iter().enumerate() {
            if let Some((q, pc)) = p.unfinished() {
                let why =
                    format!("warp {} exits before it has waited for a product (wgmma.wait_group): @{pc}", 4 * group as u32 + q);
                return raise(FaultKind::Warpgroup { why }, None);
            }
        }
        for t in &self.units.transfers {
            let what = match &t.way {
                Way::In { .. } => {
                    "the block exits while a bulk copy to its shared memory is under way, which nothing has waited for"
                }
                Way::Out { read: None, .. } if self.late_copies => {
                    "the block exits before a bulk copy has read its shared memory (cp.async.bulk.wait_group.read)"
                }
                Way::Out { .. } => continue,
            };
            return raise(FaultKind::Bulk { why: format!("{what}: @{}", t.who.pc) }, None);
        }
        self.finish_stores(false, |_, _| true)
    }
}
