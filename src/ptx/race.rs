//! Races: two accesses to the same memory, one of them a write, that nothing orders.
//!
//! The rule is happens-before, as FastTrack (Flanagan and Freund, PLDI 2009) computes it, with the warp as the unit between warps
//! and the lane as the unit within one. Not whether the emulator's schedule made a value wrong, but whether any schedule could.
//! What orders two accesses:
//! * one thread's own order;
//! * a barrier of the whole block: it begins a new generation, and everything of an older one is ordered before it;
//! * a barrier of some warps, and `arrive` before `sync`: clocks of warps, kept exactly from the first such barrier on;
//! * within a warp, a `.sync` instruction whose mask has both lanes, also in several steps;
//! * between blocks, for locks and for flags: a fence, then an atomic or a strong write (`.volatile`, `.relaxed`); and afterwards an
//!   atomic on the same address, or a strong read of it and a fence. The first fence covers what the whole block did before its last
//!   barrier, and what its own warp did. `.release` and `.acquire` are such an access with its fence.
//!
//! Strong accesses and atomics do not race with each other, but with ordinary ones they do.
//!
//! Memory is watched in granules, which no access divides: of global memory 4 bytes, or fewer if the kernel has narrower accesses to
//! it; of shared memory up to 16, if all its accesses are that wide. A stamp counts 65 535 barriers of a block and as many syncs of a warp; beyond these, and for grids of more than 2²⁰ blocks, the check
//! forgets. It never invents: what it reports is a pair of accesses that the rules above leave unordered.

use std::collections::HashMap;

/// What an access does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Touch {
    Read,
    Write,
    /// `.volatile`, `.relaxed` and stronger: two of these, or one and an atomic, do not race.
    StrongRead,
    StrongWrite,
    Atomic,
    /// `cp.async` has been issued: its bytes arrive at some time before the wait that covers it.
    Copy,
    /// The wait: the bytes are there.
    Arrived,
}

impl Touch {
    #[inline(always)]
    fn strong(self) -> bool {
        matches!(self, Touch::StrongRead | Touch::StrongWrite | Touch::Atomic)
    }
    #[inline(always)]
    fn reads_only(self) -> bool {
        matches!(self, Touch::Read | Touch::StrongRead)
    }
}

/// One side of a race.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Access {
    pub touch: Touch,
    /// Linear index in the grid.
    pub block: u32,
    pub warp: u32,
    pub lane: u32,
    /// The instruction, as the caller numbers them; unknown beyond 2²⁰.
    pub pc: u32,
}

/// Two accesses that nothing orders.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Conflict {
    /// Of the granule, in bytes from the start of shared memory or of the allocation.
    pub at: u64,
    pub first: Access,
    pub second: Access,
}

/// A past access in 64 bits: generation 16, sync clock 16, warp 5, lane 5, two flags, instruction 20. 0 is none.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Stamp(u64);

const LIMIT: u32 = 0xffff;
/// The write was atomic or strong.
const SPECIAL: u64 = 1 << 20;
/// A copy that has not arrived: its generation is the last one, so that no barrier orders it.
const PENDING: u64 = 1 << 21;

impl Stamp {
    #[inline(always)]
    fn new(generation: u32, clock: u32, warp: u32, lane: u32, pc: u32) -> Stamp {
        let place = (warp as u64) << 27 | (lane as u64) << 22 | pc.min(0xf_ffff) as u64;
        Stamp((generation.min(LIMIT) as u64) << 48 | (clock.min(LIMIT) as u64) << 32 | place)
    }
    /// The same, by this lane.
    #[inline(always)]
    fn of(self, lane: u32) -> Stamp {
        Stamp(self.0 | (lane as u64) << 22)
    }
    /// The same, by this lane instead.
    fn by(self, lane: u32) -> Stamp {
        Stamp(self.0 & !(31 << 22)).of(lane)
    }
    #[inline(always)]
    fn generation(self) -> u32 {
        (self.0 >> 48) as u32
    }
    #[inline(always)]
    fn clock(self) -> u32 {
        (self.0 >> 32) as u32 & LIMIT
    }
    #[inline(always)]
    fn warp(self) -> u32 {
        (self.0 >> 27) as u32 & 31
    }
    #[inline(always)]
    fn clocks_and_warp(self) -> u64 {
        self.0 >> 27
    }
    /// An ordinary write by the lane of another stamp.
    #[inline(always)]
    fn plainly_by(self, o: Stamp) -> bool {
        const WHO: u64 = 1023 << 22 | SPECIAL | PENDING;
        self.0 & WHO == o.0 & WHO
    }
    #[inline(always)]
    fn lane(self) -> u32 {
        (self.0 >> 22) as u32 & 31
    }
    #[inline(always)]
    fn special(self) -> bool {
        self.0 & SPECIAL != 0
    }
    /// A copy begun here, in flight.
    #[inline(always)]
    fn pending_copy(self) -> Stamp {
        Stamp(self.0 | PENDING | (LIMIT as u64) << 48)
    }
    #[inline(always)]
    fn pending(self) -> bool {
        self.0 & PENDING != 0
    }
    fn access(self, touch: Touch, block: u32) -> Access {
        Access { touch, block, warp: self.warp(), lane: self.lane(), pc: self.0 as u32 & 0xf_ffff }
    }
    fn wrote(self, block: u32) -> Access {
        let touch = if self.pending() {
            Touch::Copy
        } else if self.special() {
            Touch::Atomic
        } else {
            Touch::Write
        };
        self.access(touch, block)
    }
}

/// The clocks of one running block.
struct Clocks {
    /// Barriers of the whole block so far, plus 1.
    generation: u32,
    /// Per warp: `.sync` instructions and partial barriers so far, plus 1.
    clock: Vec<u32>,
    /// Per warp: the clock at the last sync of all its lanes.
    whole: Vec<u32>,
    /// Per warp: clocks and masks of the syncs of some lanes since then.
    partial: Vec<Vec<(u32, u32)>>,
    /// `known[w][v]`: the clock of warp v up to which warp w is ordered after it; empty until a partial barrier.
    known: Vec<Vec<u32>>,
}

impl Clocks {
    fn new(warps: usize) -> Clocks {
        Clocks {
            generation: 1,
            clock: vec![1; warps],
            whole: vec![1; warps],
            partial: vec![Vec::new(); warps],
            known: Vec::new(),
        }
    }

    /// Everything of the block up to here is ordered before everything after.
    fn barrier(&mut self) {
        self.generation += 1;
        self.known.clear();
        self.partial.iter_mut().for_each(Vec::clear);
    }

    fn sync(&mut self, warp: usize, mask: u32, live: u32) {
        self.clock[warp] += 1;
        let now = self.clock[warp];
        if live & !mask == 0 {
            self.whole[warp] = now;
            self.partial[warp].clear();
        } else {
            match self.partial[warp].last_mut() {
                Some((at, m)) if *m == mask => *at = now,
                _ => self.partial[warp].push((now, mask)),
            }
        }
    }

    fn precise(&mut self) {
        if self.known.is_empty() {
            let n = self.clock.len();
            self.known = vec![vec![0; n]; n];
        }
    }

    /// Warp `w` is from now on ordered after all that warp `v` has done and knows.
    fn publish(&mut self, clocks: &mut [u32], v: usize) {
        self.precise();
        for (c, k) in clocks.iter_mut().zip(&self.known[v]) {
            *c = (*c).max(*k);
        }
        clocks[v] = clocks[v].max(self.clock[v]);
        self.clock[v] += 1;
    }
    fn learn(&mut self, clocks: &[u32], w: usize) {
        self.precise();
        for (k, c) in self.known[w].iter_mut().zip(clocks) {
            *k = (*k).max(*c);
        }
    }

    /// Whether lanes `lanes` of this warp at `clock` of this generation come before lane `lane` now.
    fn within(&self, warp: usize, clock: u32, lanes: u32, lane: u32) -> bool {
        if lanes & !(1 << lane) == 0 || clock < self.whole[warp] || clock >= LIMIT {
            return true;
        }
        // Each sync spreads what any of its lanes knows to all of them.
        let reaches = |from: u32| {
            let mut reach = 1u32 << from;
            for &(at, mask) in &self.partial[warp] {
                if at > clock && reach & mask != 0 {
                    reach |= mask;
                }
            }
            reach >> lane & 1 == 1
        };
        (0..32).filter(|i| lanes >> i & 1 == 1).all(reaches)
    }

    /// Whether warp `v` at `clock` of this generation comes before warp `w` now.
    fn between(&self, v: usize, clock: u32, w: usize) -> bool {
        clock >= LIMIT || self.known.get(w).is_some_and(|k| k[v] >= clock)
    }
}

/// What is known of a granule of shared memory.
#[derive(Clone, Copy)]
struct Cell {
    write: Stamp,
    read: Stamp,
    /// Of the reads of this generation: the warps; and the lanes of the last of them.
    warps: u32,
    lanes: u32,
}

impl Cell {
    /// Remembers a read. True if the last write was of this generation, by another lane (or not only one reads): then look closely.
    #[inline(always)]
    fn read_by(&mut self, now: Stamp, lanes: u32) -> bool {
        let suspect = (self.write.generation() >= now.generation()) & ((lanes & (lanes - 1) != 0) | !self.write.plainly_by(now));
        // The same warp again with no sync between: only the lanes can be new. After a sync the newer lanes stand for all.
        let again = self.read.generation() == now.generation();
        let same = self.read.clocks_and_warp() == now.clocks_and_warp();
        self.lanes = lanes | if same { self.lanes } else { 0 };
        self.warps = 1 << now.warp() | if again { self.warps } else { 0 };
        self.read = now;
        suspect
    }
}

const FRESH: Cell = Cell { write: Stamp(0), read: Stamp(0), warps: 0, lanes: 0 };

/// Shared memory of one block.
pub struct SharedRaces {
    /// log₂ of the granule.
    shift: u32,
    cells: Vec<Cell>,
    clocks: Clocks,
    /// Whether a copy was ever issued: its stamp outlives barriers.
    copies: bool,
    block: u32,
    /// Exact reading clocks per warp, once warps synchronise in part: granule → clock of each warp, 0 if it has not read.
    precise: HashMap<u32, Vec<u32>>,
    /// The last strong read of each lane in this generation, by granule: ordinary writes ask for it.
    polled: HashMap<u32, Vec<Stamp>>,
    /// Locks: what the releasing warps knew, by address.
    locks: HashMap<u32, Vec<u32>>,
    fenced: u32,
    /// Warps whose strong reads saw a release, and what they will know after their next fence.
    observed: Vec<(u32, Vec<u32>)>,
    named: HashMap<u32, Vec<u32>>,
}

impl SharedRaces {
    /// For blocks with `bytes` of shared memory; `granule` is a power of two that divides each access of the kernel to it.
    pub fn new(bytes: usize, granule: u32, warps: usize) -> SharedRaces {
        SharedRaces {
            shift: granule.trailing_zeros(),
            cells: vec![FRESH; bytes.div_ceil(granule as usize)],
            clocks: Clocks::new(warps),
            copies: false,
            block: 0,
            precise: HashMap::new(),
            polled: HashMap::new(),
            locks: HashMap::new(),
            fenced: 0,
            observed: Vec::new(),
            named: HashMap::new(),
        }
    }

    /// The next block begins.
    pub fn begin(&mut self, block: u32) {
        self.block = block;
        let generation = self.clocks.generation + 1;
        self.clocks = Clocks::new(self.clocks.clock.len());
        // A new generation is as good as fresh memory, while there are numbers left.
        if self.copies || generation > LIMIT / 2 {
            self.cells.fill(FRESH);
            self.copies = false;
        } else {
            self.clocks.generation = generation;
        }
        self.forget();
    }

    fn forget(&mut self) {
        self.precise.clear();
        self.polled.clear();
        self.locks.clear();
        self.named.clear();
        self.observed.clear();
        self.fenced = 0;
    }

    /// All threads of the block have met.
    pub fn barrier(&mut self) {
        self.clocks.barrier();
        self.forget();
    }

    /// Some warps reach barrier `id`, or pass it by (`arrive`): what they did is ordered before those that [`Self::leave`] it.
    pub fn arrive(&mut self, id: u32, warp: u32) {
        self.remember_reads();
        let n = self.clocks.clock.len();
        let mut clocks = self.named.remove(&id).unwrap_or_else(|| vec![0; n]);
        self.clocks.publish(&mut clocks, warp as usize);
        self.named.insert(id, clocks);
    }
    pub fn leave(&mut self, id: u32, warp: u32) {
        if let Some(clocks) = self.named.get(&id) {
            let clocks = clocks.clone();
            self.clocks.learn(&clocks, warp as usize);
        }
    }

    /// A barrier is over; the next use of `id` begins anew.
    pub fn forget_barrier(&mut self, id: u32) {
        self.named.remove(&id);
    }

    /// A `.sync` instruction of the lanes of `mask`, of which `live` have not exited.
    #[inline(always)]
    pub fn sync(&mut self, warp: u32, mask: u32, live: u32) {
        self.clocks.sync(warp as usize, mask, live);
    }

    /// `membar`, `fence`: the warp's next strong writes and atomics release, and what its strong reads have seen is acquired.
    pub fn fence(&mut self, warp: u32) {
        self.fenced |= 1 << warp;
        while let Some(k) = self.observed.iter().position(|o| o.0 == warp) {
            let (_, clocks) = self.observed.swap_remove(k);
            self.clocks.learn(&clocks, warp as usize);
        }
    }

    /// A lock: an atomic after a fence makes its warp's past known to later atomics on the address.
    fn lock(&mut self, at: u32, warp: u32) {
        if let Some(clocks) = self.locks.get(&at) {
            let clocks = clocks.clone();
            self.clocks.learn(&clocks, warp as usize);
        }
        self.release(at, warp);
    }

    /// After a fence, what the warp did is known to who reads the address later.
    fn release(&mut self, at: u32, warp: u32) {
        if self.fenced >> warp & 1 == 1 {
            self.remember_reads();
            let n = self.clocks.clock.len();
            let mut clocks = self.locks.remove(&at).unwrap_or_else(|| vec![0; n]);
            self.clocks.publish(&mut clocks, warp as usize);
            self.locks.insert(at, clocks);
        }
    }

    /// From the first partial barrier of a generation on, reads are kept for each warp.
    fn remember_reads(&mut self) {
        if !self.clocks.known.is_empty() {
            return;
        }
        self.clocks.precise();
        for (i, cell) in self.cells.iter().enumerate() {
            if cell.read.generation() == self.clocks.generation {
                let warps = cell.warps;
                let clock = |w: usize| if warps >> w & 1 == 1 { self.clocks.clock[w] } else { 0 };
                self.precise.insert(i as u32, (0..self.clocks.clock.len()).map(clock).collect());
            }
        }
    }

    /// A warp touches `bytes` at each of `pieces`: offsets relative to `base` with the lanes that point there.
    #[inline(always)]
    pub fn touch(
        &mut self,
        touch: Touch,
        warp: u32,
        pc: u32,
        base: u32,
        pieces: &[(i32, u32)],
        bytes: u32,
    ) -> Result<(), Box<Conflict>> {
        let n = (bytes >> self.shift) as usize;
        let blank = Stamp::new(self.clocks.generation, self.clocks.clock[warp as usize], warp, 0, pc);
        let shift = self.shift;
        let place = |&(offset, lanes): &(i32, u32)| {
            let from = (base.wrapping_add_signed(offset) >> shift) as usize;
            (from, blank.of(lanes.trailing_zeros()), lanes)
        };
        if touch == Touch::Read {
            let mut suspect = !self.clocks.known.is_empty();
            for p in pieces {
                let (from, stamp, lanes) = place(p);
                if n == 1 {
                    suspect |= self.cells[from].read_by(stamp, lanes);
                } else {
                    for cell in &mut self.cells[from..from + n] {
                        suspect |= cell.read_by(stamp, lanes);
                    }
                }
            }
            if suspect {
                for p in pieces {
                    let (from, stamp, lanes) = place(p);
                    self.check_read(from, n, stamp, lanes)?;
                }
            }
            return Ok(());
        }
        for p in pieces {
            let (from, stamp, lanes) = place(p);
            if touch == Touch::StrongRead {
                self.strong_read(from, n, stamp, lanes)?;
                continue;
            }
            if !self.polled.is_empty() && !touch.strong() {
                self.check_polled(from, n, stamp, lanes, touch)?;
            }
            if !self.write_alone(from, n, stamp, lanes, touch) {
                for i in from..from + n {
                    self.write(i, stamp, lanes, touch)?;
                }
            }
        }
        Ok(())
    }

    /// A write of one lane, or its copy or the arrival of one, to granules that nobody else has touched since the last barrier. False,
    /// and nothing done, if it is not that.
    #[inline(always)]
    fn write_alone(&mut self, from: usize, n: usize, now: Stamp, lanes: u32, touch: Touch) -> bool {
        let generation = now.generation();
        let new = match touch {
            Touch::Copy => now.pending_copy(),
            Touch::Write | Touch::Arrived => now,
            _ => return false,
        };
        if lanes & (lanes - 1) != 0 || !self.clocks.known.is_empty() || generation >= LIMIT {
            return false;
        }
        let warps = 1 << now.warp();
        let cells = &mut self.cells[from..from + n];
        let mut alone = true;
        for c in cells.iter() {
            let unwritten = c.write.generation() < generation;
            let own = if touch == Touch::Arrived { c.write.pending() } else { c.write.plainly_by(now) };
            let unread = (c.read.generation() < generation) | ((c.warps == warps) & (c.lanes == lanes));
            alone &= (unwritten | own) & unread;
        }
        if alone {
            for c in cells {
                (c.write, c.read) = (new, Stamp(0));
            }
            self.copies |= touch == Touch::Copy;
        }
        alone
    }

    /// A read that was remembered: whether the last write is ordered before it.
    #[inline(never)]
    fn check_read(&mut self, from: usize, n: usize, now: Stamp, lanes: u32) -> Result<(), Box<Conflict>> {
        for i in from..from + n {
            let last = self.cells[i].write;
            if last.generation() >= now.generation() {
                self.check_write(i, last, now, lanes, Touch::Read)?;
            }
            if !self.clocks.known.is_empty() {
                self.read_precisely(i as u32, now);
            }
        }
        Ok(())
    }

    /// Kept apart from other reads, as only an ordinary write that comes later can race with it.
    #[inline(never)]
    fn strong_read(&mut self, from: usize, n: usize, now: Stamp, lanes: u32) -> Result<(), Box<Conflict>> {
        for i in from..from + n {
            let last = self.cells[i].write;
            if last.generation() >= now.generation() {
                self.check_write(i, last, now, lanes, Touch::StrongRead)?;
            }
            if let Some(clocks) = self.locks.get(&(i as u32)) {
                match self.observed.iter_mut().find(|o| o.0 == now.warp()) {
                    Some((_, known)) => known.iter_mut().zip(clocks).for_each(|(k, c)| *k = (*k).max(*c)),
                    None => self.observed.push((now.warp(), clocks.clone())),
                }
            }
            let polls = self.polled.entry(i as u32).or_default();
            for read in (0..32).filter(|l| lanes >> l & 1 == 1).map(|l| now.by(l)) {
                match polls.iter_mut().find(|p| (p.warp(), p.lane()) == (read.warp(), read.lane())) {
                    Some(p) => *p = read,
                    None => polls.push(read),
                }
            }
        }
        Ok(())
    }

    /// An ordinary write: whether all strong reads of this generation are ordered before it.
    #[cold]
    fn check_polled(&mut self, from: usize, n: usize, now: Stamp, lanes: u32, touch: Touch) -> Result<(), Box<Conflict>> {
        let me = now.warp() as usize;
        for i in (from..from + n).filter(|_| now.generation() < LIMIT) {
            for read in self.polled.remove(&(i as u32)).unwrap_or_default() {
                let (warp, clock, reader) = (read.warp() as usize, read.clock(), 1 << read.lane());
                let before = |l: u32| {
                    if warp == me { self.clocks.within(warp, clock, reader, l) } else { self.clocks.between(warp, clock, me) }
                };
                if let Some(l) = (0..32).find(|&l| lanes >> l & 1 == 1 && !before(l)) {
                    return self.conflict(i, read.access(Touch::StrongRead, self.block), now, l, touch);
                }
            }
        }
        Ok(())
    }

    #[cold]
    fn read_precisely(&mut self, i: u32, now: Stamp) {
        let n = self.clocks.clock.len();
        self.precise.entry(i).or_insert_with(|| vec![0; n])[now.warp() as usize] = now.clock();
    }

    /// The last write is of this generation, or a copy on its way.
    #[inline(never)]
    fn check_write(&self, i: usize, last: Stamp, now: Stamp, lanes: u32, touch: Touch) -> Result<(), Box<Conflict>> {
        let ordered = if last.pending() {
            // Only its own arrival may meet it.
            touch == Touch::Arrived
        } else if last.generation() != now.generation() || now.generation() >= LIMIT || last.special() && touch.strong() {
            true
        } else if last.warp() == now.warp() {
            let (warp, from) = (now.warp() as usize, 1 << last.lane());
            (0..32).filter(|l| lanes >> l & 1 == 1).all(|l| self.clocks.within(warp, last.clock(), from, l))
        } else {
            self.clocks.between(last.warp() as usize, last.clock(), now.warp() as usize)
        };
        if ordered {
            return Ok(());
        }
        let lane =
            (0..32).find(|&l| lanes >> l & 1 == 1 && (last.warp() != now.warp() || l != last.lane())).unwrap_or(now.lane());
        self.conflict(i, last.wrote(self.block), now, lane, touch)
    }

    #[cold]
    fn conflict(&self, i: usize, first: Access, now: Stamp, lane: u32, touch: Touch) -> Result<(), Box<Conflict>> {
        let second = Access { lane, ..now.access(touch, self.block) };
        Err(Box::new(Conflict { at: (i as u64) << self.shift, first, second }))
    }

    #[inline(always)]
    fn write(&mut self, i: usize, now: Stamp, lanes: u32, touch: Touch) -> Result<(), Box<Conflict>> {
        let cell = self.cells[i];
        let last = cell.write;
        if last.generation() >= now.generation() && (lanes & (lanes - 1) != 0 || !last.plainly_by(now)) {
            self.check_write(i, last, now, lanes, touch)?;
        }
        // Two lanes of one instruction that write one place: which value stays is open.
        if lanes & (lanes - 1) != 0 && touch == Touch::Write {
            return self.conflict(i, now.wrote(self.block), now, 31 - lanes.leading_zeros(), touch);
        }
        if cell.read.generation() == now.generation() && now.generation() < LIMIT {
            // Unless one lane alone read, and it is the one that writes:
            if cell.warps != 1 << now.warp() || cell.lanes != lanes || lanes & (lanes - 1) != 0 {
                self.check_reads(i, cell, now, lanes, touch)?;
            }
            // The reads are ordered before this write: who is ordered after it is ordered after them.
            self.cells[i].read = Stamp(0);
            if !self.clocks.known.is_empty() {
                self.precise.remove(&(i as u32));
            }
        }
        self.cells[i].write = match touch {
            Touch::Copy => {
                self.copies = true;
                now.pending_copy()
            }
            Touch::Atomic => {
                self.lock(i as u32, now.warp());
                Stamp(now.0 | SPECIAL)
            }
            Touch::StrongWrite => {
                self.release(i as u32, now.warp());
                Stamp(now.0 | SPECIAL)
            }
            _ => now,
        };
        Ok(())
    }

    #[inline(never)]
    fn check_reads(&self, i: usize, cell: Cell, now: Stamp, lanes: u32, touch: Touch) -> Result<(), Box<Conflict>> {
        let (me, read) = (now.warp(), cell.read);
        // Reads by this warp: the lanes are those of the last reader, which may be another warp; then its own were synced or the
        // last conflict is found first.
        if read.warp() == me {
            let bad = (0..32).find(|&l| lanes >> l & 1 == 1 && !self.clocks.within(me as usize, read.clock(), cell.lanes, l));
            if let Some(l) = bad {
                let other = (0..32).find(|&r| r != l && cell.lanes >> r & 1 == 1).unwrap_or(read.lane());
                let first = Access { lane: other, ..read.access(Touch::Read, self.block) };
                return self.conflict(i, first, now, l, touch);
            }
        }
        for v in (0..32).filter(|&v| v != me && cell.warps >> v & 1 == 1) {
            let clock = match self.precise.get(&(i as u32)) {
                Some(clocks) => clocks[v as usize],
                None => self.clocks.clock[v as usize],
            };
            if !self.clocks.between(v as usize, clock, me as usize) {
                let first = read.access(Touch::Read, self.block);
                // Where another warp has read since, only the warp is known.
                let first = if read.warp() == v { first } else { Access { warp: v, lane: 0, ..first } };
                return self.conflict(i, first, now, now.lane(), touch);
            }
        }
        Ok(())
    }
}

/// A past access to global memory: its block, and a [`Stamp`].
#[derive(Clone, Copy)]
struct Mark {
    stamp: Stamp,
    /// Linear index plus 1; 0 for none.
    block: u32,
}

const NONE: Mark = Mark { stamp: Stamp(0), block: 0 };
/// There are other readers, kept aside.
const MANY: u32 = 1 << 31;

/// What a warp made known by a fence and an atomic: all that its block did before a generation, and what the warp itself did up to
/// a clock of it.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Release {
    block: u32,
    generation: u32,
    warp: u32,
    clock: u32,
}

impl Release {
    /// Into a list in which the newest of a warp, which covers its older ones, stands for all of them.
    fn join(self, list: &mut Vec<Release>) {
        match list.iter_mut().find(|r| (r.block, r.warp) == (self.block, self.warp)) {
            Some(r) if (r.generation, r.clock) < (self.generation, self.clock) => *r = self,
            Some(_) => {}
            None => list.push(self),
        }
    }
}

/// What a running block knows of the others, and its clocks.
pub struct GlobalClocks {
    block: u32,
    generation: u32,
    /// Per warp: fences so far, plus 1.
    clock: Vec<u32>,
    /// Per warp: what its last fence covers.
    fenced: Vec<Option<Release>>,
    acquired: Vec<Release>,
    /// What strong reads of a warp have seen, until its next fence.
    observed: Vec<(u32, Release)>,
}

impl GlobalClocks {
    pub fn new(block: u32, warps: usize) -> GlobalClocks {
        GlobalClocks {
            block: block + 1,
            generation: 1,
            clock: vec![1; warps],
            fenced: vec![None; warps],
            acquired: Vec::new(),
            observed: Vec::new(),
        }
    }

    /// All threads of the block have met.
    pub fn barrier(&mut self) {
        self.generation += 1;
    }

    /// `membar.gl`, `fence.acq_rel.gpu` and wider ones: the next strong write or atomic of the warp releases what came before, and
    /// what its strong reads have seen is acquired.
    pub fn fence(&mut self, warp: u32) {
        let clock = &mut self.clock[warp as usize];
        self.fenced[warp as usize] = Some(Release { block: self.block, generation: self.generation, warp, clock: *clock });
        *clock += 1;
        while let Some(k) = self.observed.iter().position(|o| o.0 == warp) {
            let (_, r) = self.observed.swap_remove(k);
            self.acquire(r);
        }
    }

    fn acquire(&mut self, r: Release) {
        r.join(&mut self.acquired);
    }

    /// Whether a past access comes before what warp `warp` does now. Lanes of a warp are taken as ordered.
    #[inline(always)]
    fn after(&self, m: Mark, warp: u32) -> bool {
        let s = m.stamp;
        if m.block & !MANY == self.block {
            return s.warp() == warp || s.generation() < self.generation || s.generation() >= LIMIT || self.covered(m);
        }
        self.covered(m)
    }

    /// Whether something that was acquired covers a past access.
    fn covered(&self, m: Mark) -> bool {
        let s = m.stamp;
        self.acquired.iter().any(|r| {
            let (g, w) = (s.generation(), s.warp());
            r.block == m.block & !MANY && (g < r.generation || g == r.generation && w == r.warp && s.clock() <= r.clock)
        })
    }
}

/// Last write and last read of each granule of a buffer; empty until the buffer is touched.
#[derive(Default)]
struct Shadow {
    writes: Vec<Mark>,
    reads: Vec<Mark>,
}

/// Global memory, between the blocks and the warps of one launch.
pub struct GlobalRaces {
    /// log₂ of the granule.
    shift: u32,
    /// Bytes of each buffer; 0 if nothing of it may be written, so that nobody can race.
    sizes: Vec<usize>,
    shadows: Vec<Shadow>,
    /// Further readers of a granule, none ordered before another.
    readers: HashMap<(u32, usize), Vec<Mark>>,
    /// The last strong read of each warp: ordinary writes ask for it.
    polled: HashMap<(u32, usize), Vec<Mark>>,
    /// By buffer and offset of the atomic: what was released through it.
    released: HashMap<(u32, u64), Vec<Release>>,
    blind: bool,
}

impl GlobalRaces {
    /// For buffers of these sizes in bytes (0: read only) and a grid of `blocks`; `granule` is a power of two that
    /// divides each access of the kernel.
    pub fn new(sizes: Vec<usize>, granule: u32, blocks: u64) -> GlobalRaces {
        GlobalRaces {
            shift: granule.trailing_zeros(),
            shadows: sizes.iter().map(|_| Shadow::default()).collect(),
            sizes,
            readers: HashMap::new(),
            polled: HashMap::new(),
            released: HashMap::new(),
            blind: blocks > 1 << 20,
        }
    }

    /// Whether anything can race in a buffer.
    #[inline(always)]
    pub fn watches(&self, buffer: u32) -> bool {
        self.sizes[buffer as usize] > 0 && !self.blind
    }

    /// Whether the grid is too large for stamps: then nothing is checked.
    pub fn is_blind(&self) -> bool {
        self.blind
    }

    /// An atomic acquires what was released through its address; after a fence, it releases.
    fn atomic(&mut self, key: (u32, u64), warp: u32, me: &mut GlobalClocks) {
        for &r in self.released.get(&key).into_iter().flatten() {
            me.acquire(r);
        }
        self.release(key, warp, me);
    }

    /// A strong read of `warp` sees what was released through an address.
    fn observe(&self, key: (u32, u64), warp: u32, me: &mut GlobalClocks) {
        for &r in self.released.get(&key).into_iter().flatten() {
            if !me.acquired.contains(&r) && !me.observed.contains(&(warp, r)) {
                me.observed.push((warp, r));
            }
        }
    }

    /// A strong write or an atomic: after a fence, it releases.
    fn release(&mut self, key: (u32, u64), warp: u32, me: &GlobalClocks) {
        // Its own fence counts, and those of others before the last barrier.
        let counts = |f: &Release| f.warp == warp || f.generation < me.generation;
        let fences: Vec<Release> = me.fenced.iter().flatten().copied().filter(counts).collect();
        if fences.is_empty() {
            return;
        }
        // What this block acquired before is passed on.
        let list = self.released.entry(key).or_default();
        fences.iter().chain(&me.acquired).for_each(|r| r.join(list));
    }

    /// A warp touches `bytes` at each of `pieces` of a buffer, relative to `base` bytes from its start.
    #[expect(clippy::too_many_arguments, reason = "an access is that many things")]
    #[inline(always)]
    pub fn touch(
        &mut self,
        touch: Touch,
        me: &mut GlobalClocks,
        warp: u32,
        pc: u32,
        buffer: u32,
        base: u64,
        pieces: &[(i32, u32)],
        bytes: u32,
    ) -> Result<(), Box<Conflict>> {
        let size = (self.sizes[buffer as usize] + (1 << self.shift) - 1) >> self.shift;
        if size == 0 || self.blind {
            return Ok(());
        }
        let shadow = &mut self.shadows[buffer as usize];
        // Zeroed memory costs nothing until it is touched.
        if touch == Touch::Read && shadow.reads.is_empty() {
            shadow.reads = vec![NONE; size];
        }
        if !touch.reads_only() && shadow.writes.is_empty() {
            shadow.writes = vec![NONE; size];
        }
        let n = (bytes >> self.shift) as usize;
        for &(offset, lanes) in pieces {
            let at = base.wrapping_add_signed(offset as i64);
            let from = (at >> self.shift) as usize;
            let stamp = Stamp::new(me.generation, me.clock[warp as usize], warp, lanes.trailing_zeros(), pc);
            for i in from..from + n {
                self.one(touch, me, buffer, i, stamp)?;
            }
            if touch == Touch::Write && lanes & (lanes - 1) != 0 {
                let mark = Mark { stamp, block: me.block };
                return self.conflict(me, from, mark, Touch::Write, stamp, 31 - lanes.leading_zeros(), touch);
            }
            match touch {
                Touch::Atomic => self.atomic((buffer, at), warp, me),
                Touch::StrongWrite => self.release((buffer, at), warp, me),
                Touch::StrongRead => self.observe((buffer, at), warp, me),
                _ => {}
            }
        }
        Ok(())
    }

    #[inline(always)]
    fn one(&mut self, touch: Touch, me: &GlobalClocks, buffer: u32, i: usize, now: Stamp) -> Result<(), Box<Conflict>> {
        let shadow = &mut self.shadows[buffer as usize];
        let warp = now.warp();
        if let Some(&last) = shadow.writes.get(i)
            && last.block != 0
            && !(touch.strong() && last.stamp.special())
            && !me.after(last, warp)
        {
            let how = if last.stamp.special() { Touch::Atomic } else { Touch::Write };
            return self.conflict(me, i, last, how, now, now.lane(), touch);
        }
        let mark = Mark { stamp: now, block: me.block };
        // A strong read is kept apart: only an ordinary write that comes later can race with it.
        if touch == Touch::StrongRead {
            let polls = self.polled.entry((buffer, i)).or_default();
            match polls.iter_mut().find(|p| (p.block, p.stamp.warp()) == (mark.block, warp)) {
                Some(p) => *p = mark,
                None => polls.push(mark),
            }
            return Ok(());
        }
        if touch == Touch::Read {
            let old = shadow.reads[i];
            if old.block & MANY == 0 && (old.block == 0 || me.after(old, warp)) {
                shadow.reads[i] = mark;
            } else {
                shadow.reads[i].block |= MANY;
                self.another_reader(me, buffer, i, mark);
            }
            return Ok(());
        }
        if touch == Touch::Write
            && !self.polled.is_empty()
            && let Some(polls) = self.polled.remove(&(buffer, i))
            && let Some(&read) = polls.iter().find(|p| !me.after(**p, warp))
        {
            return self.conflict(me, i, read, Touch::StrongRead, now, now.lane(), touch);
        }
        let shadow = &mut self.shadows[buffer as usize];
        if let Some(&read) = shadow.reads.get(i)
            && read.block != 0
        {
            let first = Some(&read).filter(|r| !me.after(**r, warp));
            let others = if read.block & MANY != 0 { self.readers.remove(&(buffer, i)).unwrap_or_default() } else { Vec::new() };
            if let Some(&r) = first.or(others.iter().find(|r| !me.after(**r, warp))) {
                return self.conflict(me, i, r, Touch::Read, now, now.lane(), touch);
            }
            // All reads come before this write: who comes after it comes after them.
            self.shadows[buffer as usize].reads[i] = NONE;
        }
        let special = if touch.strong() { SPECIAL } else { 0 };
        self.shadows[buffer as usize].writes[i] = Mark { stamp: Stamp(now.0 | special), ..mark };
        Ok(())
    }

    #[cold]
    fn another_reader(&mut self, me: &GlobalClocks, buffer: u32, i: usize, mark: Mark) {
        let list = self.readers.entry((buffer, i)).or_default();
        list.retain(|r| !me.after(*r, mark.stamp.warp()));
        list.push(mark);
    }

    #[expect(clippy::too_many_arguments, reason = "both sides of a report")]
    #[cold]
    fn conflict(
        &self,
        me: &GlobalClocks,
        i: usize,
        first: Mark,
        how: Touch,
        now: Stamp,
        lane: u32,
        touch: Touch,
    ) -> Result<(), Box<Conflict>> {
        let second = Access { lane, ..now.access(touch, me.block - 1) };
        let first = first.stamp.access(how, (first.block & !MANY) - 1);
        Err(Box::new(Conflict { at: (i as u64) << self.shift, first, second }))
    }
}

impl Conflict {
    /// What kind of race it is: `write after read` and so on.
    pub fn hazard(&self) -> &'static str {
        match (self.first.touch, self.second.touch) {
            (Touch::Copy, _) => "access to memory that an unfinished cp.async writes",
            (Touch::Read | Touch::StrongRead, _) => "write after read",
            (_, Touch::Read | Touch::StrongRead) => "read after write",
            _ => "write after write",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LANES: u32 = u32::MAX;

    /// Offsets of 32 consecutive words, one for each lane.
    fn row() -> Vec<(i32, u32)> {
        (0..32).map(|i| (4 * i, 1 << i)).collect()
    }
    fn one(lane: u32) -> [(i32, u32); 1] {
        [(0, 1 << lane)]
    }

    #[test]
    fn a_barrier_orders_and_its_absence_does_not() {
        for (first, second, races) in [
            (Touch::Read, Touch::Read, false),
            (Touch::Read, Touch::Write, true),
            (Touch::Write, Touch::Read, true),
            (Touch::Write, Touch::Write, true),
            (Touch::Atomic, Touch::Atomic, false),
            (Touch::Atomic, Touch::Read, true),
            (Touch::Read, Touch::Atomic, true),
            (Touch::Write, Touch::Atomic, true),
            (Touch::StrongRead, Touch::Write, true),
            (Touch::StrongRead, Touch::StrongWrite, false),
            (Touch::StrongRead, Touch::Atomic, false),
            (Touch::StrongRead, Touch::Read, false),
            (Touch::StrongWrite, Touch::StrongRead, false),
        ] {
            for barrier in [false, true] {
                let mut s = SharedRaces::new(4096, 4, 2);
                s.begin(7);
                s.touch(first, 0, 11, 128, &row(), 4).unwrap();
                if barrier {
                    s.barrier();
                }
                let got = s.touch(second, 1, 22, 128, &row(), 4);
                assert_eq!(got.is_err(), races && !barrier, "{first:?}, {second:?}, {barrier}");
                if let Err(c) = got {
                    let want = Access { touch: first, block: 7, warp: 0, lane: 0, pc: 11 };
                    assert_eq!((c.at, c.first, c.second), (128, want, Access { touch: second, warp: 1, pc: 22, ..want }));
                }
            }
        }
        // Other words, other pieces of wide accesses.
        let mut s = SharedRaces::new(4096, 4, 2);
        s.touch(Touch::Write, 0, 0, 0, &[(0, 1), (16, 2)], 16).unwrap();
        s.touch(Touch::Write, 1, 0, 32, &[(0, 1)], 16).unwrap();
        assert_eq!(s.touch(Touch::Read, 1, 0, 0, &[(28, 4)], 4).unwrap_err().at, 28);
    }

    #[test]
    fn many_readers_one_writer() {
        // Three warps read; the second of them writes without a barrier: a race with the others. After it, none.
        for barrier in [false, true] {
            let mut s = SharedRaces::new(64, 4, 3);
            for w in [0, 2, 1] {
                s.touch(Touch::Read, w, w, 0, &one(3), 4).unwrap();
            }
            if barrier {
                s.barrier();
            }
            assert_eq!(s.touch(Touch::Write, 1, 9, 0, &one(3), 4).is_err(), !barrier);
        }
        // The writer alone read: fine.
        let mut s = SharedRaces::new(64, 4, 3);
        s.touch(Touch::Read, 1, 0, 0, &one(3), 4).unwrap();
        s.touch(Touch::Write, 1, 0, 0, &one(3), 4).unwrap();
    }

    #[test]
    fn lanes_of_a_warp() {
        let fresh = || SharedRaces::new(256, 4, 1);
        // Lane 1 reads what lane 0 wrote: ordered by a sync with both, also in two steps, not by one without.
        for (masks, ordered) in [
            (vec![], false),
            (vec![LANES], true),
            (vec![0b11], true),
            (vec![0b101, 0b110], true),
            (vec![0b110, 0b101], false),
            (vec![0b1100], false),
        ] {
            let mut s = fresh();
            s.sync(0, 0b1, LANES);
            s.touch(Touch::Write, 0, 0, 0, &one(0), 4).unwrap();
            masks.iter().for_each(|&m| s.sync(0, m, LANES));
            assert_eq!(s.touch(Touch::Read, 0, 1, 0, &one(1), 4).is_ok(), ordered, "{masks:?}");
            // The other way round: read, then write by another lane.
            let mut s = fresh();
            s.touch(Touch::Read, 0, 0, 0, &[(0, 0b1)], 4).unwrap();
            masks.iter().for_each(|&m| s.sync(0, m, LANES));
            let got = s.touch(Touch::Write, 0, 1, 0, &one(1), 4);
            assert_eq!(got.is_ok(), ordered, "{masks:?}");
            if let Err(c) = got {
                assert_eq!((c.first.lane, c.second.lane), (0, 1));
            }
        }
        // Lanes that have exited need not take part.
        let mut s = fresh();
        s.touch(Touch::Write, 0, 0, 0, &one(0), 4).unwrap();
        s.sync(0, 0b11, 0b11);
        s.touch(Touch::Read, 0, 1, 0, &one(1), 4).unwrap();
        // A lane sees its own write; a broadcast is read by lanes that do not.
        let mut s = fresh();
        s.touch(Touch::Write, 0, 0, 0, &one(5), 4).unwrap();
        s.touch(Touch::Read, 0, 1, 0, &one(5), 4).unwrap();
        assert_eq!(s.touch(Touch::Read, 0, 2, 0, &[(0, LANES)], 4).unwrap_err().second.lane, 0);
        // Two lanes write one word with one instruction.
        assert!(fresh().touch(Touch::Write, 0, 0, 0, &[(0, 0b110)], 4).is_err());
        assert!(fresh().touch(Touch::Atomic, 0, 0, 0, &[(0, 0b110)], 4).is_ok());
    }

    #[test]
    fn named_barriers() {
        // Warps 0 and 1 meet at barrier 1; warp 2 does not.
        let run = |reader: u32, meet: bool| {
            let mut s = SharedRaces::new(64, 4, 3);
            s.touch(Touch::Write, 0, 0, 0, &one(0), 4).unwrap();
            if meet {
                s.arrive(1, 0);
                s.arrive(1, 1);
                s.leave(1, 0);
                s.leave(1, 1);
            }
            s.touch(Touch::Read, reader, 1, 0, &one(0), 4).is_ok()
        };
        assert_eq!([run(1, true), run(2, true), run(1, false)], [true, false, false]);
        // What happens after the barrier is not ordered by it.
        let mut s = SharedRaces::new(64, 4, 3);
        s.arrive(1, 0);
        s.arrive(1, 1);
        s.leave(1, 1);
        s.touch(Touch::Write, 0, 0, 0, &one(0), 4).unwrap();
        assert!(s.touch(Touch::Read, 1, 1, 0, &one(0), 4).is_err());
        // Through a third warp; and a reader of before the barrier, found by a writer after it.
        for through in [false, true] {
            let mut s = SharedRaces::new(64, 4, 3);
            s.touch(Touch::Read, 0, 0, 0, &one(0), 4).unwrap();
            s.touch(Touch::Read, 1, 0, 0, &one(1), 4).unwrap();
            s.arrive(1, 0);
            s.arrive(1, 1);
            s.leave(1, 1);
            if through {
                s.arrive(2, 1);
                s.leave(2, 2);
            }
            assert_eq!(s.touch(Touch::Write, 2, 0, 0, &one(1), 4).is_ok(), through);
        }
    }

    #[test]
    fn copies_in_flight() {
        let mut s = SharedRaces::new(256, 4, 2);
        s.touch(Touch::Copy, 0, 5, 0, &[(0, 1)], 16).unwrap();
        // A barrier does not finish a copy.
        s.barrier();
        for (touch, warp) in [(Touch::Read, 1), (Touch::Read, 0), (Touch::Write, 0), (Touch::Atomic, 1)] {
            let mut s = SharedRaces::new(256, 4, 2);
            s.touch(Touch::Copy, 0, 5, 0, &[(0, 1)], 16).unwrap();
            s.barrier();
            // Not even its own lane may look.
            let c = s.touch(touch, warp, 6, 4, &one(0), 4).unwrap_err();
            assert_eq!((c.first.touch, c.first.pc, c.at), (Touch::Copy, 5, 4));
        }
        s.touch(Touch::Arrived, 0, 7, 0, &[(0, 1)], 16).unwrap();
        // Its own lane may; the others need a barrier.
        s.touch(Touch::Read, 0, 8, 4, &one(0), 4).unwrap();
        assert!(s.touch(Touch::Read, 1, 8, 8, &one(0), 4).is_err());
        s.barrier();
        s.touch(Touch::Read, 1, 8, 4, &one(0), 4).unwrap();
        // A copy into what others still read, without and with a barrier.
        s.touch(Touch::Read, 1, 8, 0, &one(0), 4).unwrap();
        assert!(s.touch(Touch::Copy, 0, 9, 0, &[(0, 1)], 16).is_err());
        s.barrier();
        s.touch(Touch::Copy, 0, 9, 0, &[(0, 1)], 16).unwrap();
    }

    #[test]
    fn locks_in_shared_memory() {
        for fences in [false, true] {
            let mut s = SharedRaces::new(64, 4, 2);
            for w in 0..2 {
                s.touch(Touch::Atomic, w, 0, 32, &one(0), 4).unwrap();
                let got = s.touch(Touch::Read, w, 1, 0, &one(0), 4).and_then(|()| s.touch(Touch::Write, w, 2, 0, &one(0), 4));
                assert_eq!(got.is_ok(), fences || w == 0);
                if fences {
                    s.fence(w);
                }
                s.touch(Touch::Atomic, w, 3, 32, &one(0), 4).unwrap();
            }
        }
    }

    /// A flag that one polls and the other resets with an ordinary write: that needs an order, by whatever means.
    #[test]
    fn polls_before_an_ordinary_write() {
        // Another poll or a strong write in between hides nothing.
        for between in [None, Some(Touch::StrongRead), Some(Touch::StrongWrite), Some(Touch::Read)] {
            let mut s = SharedRaces::new(64, 4, 3);
            s.touch(Touch::StrongRead, 0, 1, 0, &one(3), 4).unwrap();
            if let Some(touch) = between {
                s.touch(touch, 1, 2, 0, &one(0), 4).unwrap();
            }
            let c = s.touch(Touch::Write, 1, 3, 0, &one(0), 4).unwrap_err();
            assert_eq!((c.hazard(), c.first.touch, c.first.warp, c.first.lane), ("write after read", Touch::StrongRead, 0, 3));
        }
        // Lanes of a warp, a partial barrier, a lock.
        let mut s = SharedRaces::new(64, 4, 3);
        s.touch(Touch::StrongRead, 0, 1, 0, &one(3), 4).unwrap();
        s.touch(Touch::StrongRead, 1, 1, 4, &one(3), 4).unwrap();
        s.touch(Touch::StrongRead, 2, 1, 8, &one(3), 4).unwrap();
        s.sync(0, 0b1001, LANES);
        s.touch(Touch::Write, 0, 2, 0, &one(0), 4).unwrap();
        s.arrive(1, 1);
        s.leave(1, 0);
        s.touch(Touch::Write, 0, 3, 4, &one(0), 4).unwrap();
        assert!(s.touch(Touch::Write, 0, 4, 8, &one(0), 4).is_err());
        // Between blocks: by an acknowledgement, or not at all.
        for acknowledged in [false, true] {
            let mut g = GlobalRaces::new(vec![64], 4, 2);
            let (mut reader, mut writer) = (GlobalClocks::new(0, 1), GlobalClocks::new(1, 1));
            g.touch(Touch::StrongRead, &mut reader, 0, 1, 0, 0, &one(0), 4).unwrap();
            if acknowledged {
                reader.fence(0);
                g.touch(Touch::StrongWrite, &mut reader, 0, 2, 0, 32, &one(0), 4).unwrap();
                g.touch(Touch::StrongRead, &mut writer, 0, 3, 0, 32, &one(0), 4).unwrap();
                writer.fence(0);
            }
            assert_eq!(g.touch(Touch::Write, &mut writer, 0, 4, 0, 0, &one(0), 4).is_ok(), acknowledged);
        }
    }

    #[test]
    fn blocks_of_a_grid() {
        for (first, second, races) in [
            (Touch::Write, Touch::Write, true),
            (Touch::Write, Touch::Read, true),
            (Touch::Read, Touch::Write, true),
            (Touch::Read, Touch::Read, false),
            (Touch::Atomic, Touch::Atomic, false),
            (Touch::Atomic, Touch::Read, true),
            (Touch::StrongRead, Touch::Write, true),
            (Touch::StrongRead, Touch::StrongWrite, false),
            (Touch::StrongRead, Touch::Read, false),
        ] {
            let mut g = GlobalRaces::new(vec![0, 4096], 4, 2);
            for (block, touch) in [(0, first), (1, second)] {
                let mut me = GlobalClocks::new(block, 1);
                let got = g.touch(touch, &mut me, 0, 30 + block, 1, 256, &row(), 4);
                assert_eq!(got.is_err(), races && block == 1, "{first:?}, {second:?}");
                if let Err(c) = got {
                    assert_eq!((c.first.block, c.second.block, c.first.pc, c.second.pc, c.at), (0, 1, 30, 31, 256));
                }
            }
        }
        // Read by three blocks, written by the one that read last.
        let mut g = GlobalRaces::new(vec![64], 4, 3);
        for block in 0..3 {
            let mut me = GlobalClocks::new(block, 1);
            g.touch(Touch::Read, &mut me, 0, 0, 0, 0, &one(0), 4).unwrap();
            if block == 2 {
                assert_eq!(g.touch(Touch::Write, &mut me, 0, 0, 0, 0, &one(0), 4).unwrap_err().first.block, 0);
            }
        }
        // Within a block: warps need a barrier, as in shared memory.
        for barrier in [false, true] {
            let mut g = GlobalRaces::new(vec![64], 4, 1);
            let mut me = GlobalClocks::new(0, 2);
            g.touch(Touch::Write, &mut me, 0, 0, 0, 0, &one(0), 4).unwrap();
            if barrier {
                me.barrier();
            }
            assert_eq!(g.touch(Touch::Read, &mut me, 1, 0, 0, 0, &one(0), 4).is_ok(), barrier);
        }
    }

    /// Every block writes a partial result; the last to draw a ticket adds them up.
    #[test]
    fn last_block() {
        #[derive(Clone, Copy, Debug)]
        struct Pattern {
            fence: bool,
            barrier: bool,
            late: bool,
            ticket: bool,
        }
        let run = |p: Pattern| {
            let mut g = GlobalRaces::new(vec![4096, 4], 4, 4);
            for block in 0..4 {
                let mut me = GlobalClocks::new(block, 2);
                // Both warps write; warp 0 draws the ticket.
                for warp in 0..2 {
                    g.touch(Touch::Write, &mut me, warp, 0, 0, 256 * block as u64 + 128 * warp as u64, &row(), 4)?;
                }
                if p.barrier {
                    me.barrier();
                }
                if p.fence {
                    me.fence(0);
                }
                if p.late {
                    g.touch(Touch::Write, &mut me, 0, 0, 0, 256 * block as u64, &row(), 4)?;
                }
                if p.ticket {
                    g.touch(Touch::Atomic, &mut me, 0, 1, 1, 0, &one(0), 4)?;
                }
                me.barrier();
                if block == 3 {
                    for warp in 0..8 {
                        g.touch(Touch::Read, &mut me, warp % 2, 2, 0, 128 * warp as u64, &row(), 4)?;
                    }
                }
            }
            Ok::<(), Box<Conflict>>(())
        };
        let right = Pattern { fence: true, barrier: true, late: false, ticket: true };
        assert_eq!(run(right), Ok(()));
        for wrong in [
            Pattern { fence: false, ..right },
            Pattern { barrier: false, ..right },
            Pattern { late: true, ..right },
            Pattern { ticket: false, ..right },
        ] {
            let c = run(wrong).expect_err(&format!("{wrong:?}"));
            assert_eq!((c.hazard(), c.second.block), ("read after write", 3), "{wrong:?}");
        }
    }
}
