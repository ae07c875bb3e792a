//! Races in shared memory, between the warps and the lanes of one block.

use std::collections::HashMap;

use super::access::{Access, Conflict, Touch, WarpAccess};
use super::clocks::Clocks;
use super::stamp::{COPIED, LIMIT, PENDING, SPECIAL, Stamp};

/// What is known of a granule of shared memory.
#[derive(Clone, Copy)]
struct Cell {
    write: Stamp,
    read: Stamp,
    /// The warps that read in the generation of `read`, and the lanes of the last of these warps.
    warps: u32,
    lanes: u32,
}

impl Cell {
    /// Records a read by `lanes`. Returns true if the read may race: the last write belongs to this generation and was not made
    /// by the one lane that reads. The caller then does the exact check.
    #[inline(always)]
    fn read_by(&mut self, now: Stamp, lanes: u32) -> bool {
        let suspect = (self.write.generation() >= now.generation()) & ((lanes & (lanes - 1) != 0) | !self.write.plainly_by(now));
        // If the last reader was the same warp at the same clock, the lanes add up. After a sync of the warp the new lanes stand
        // for the old ones.
        let again = self.read.generation() == now.generation();
        let same = self.read.clocks_and_warp() == now.clocks_and_warp();
        self.lanes = lanes | if same { self.lanes } else { 0 };
        self.warps = 1 << now.warp() | if again { self.warps } else { 0 };
        self.read = now;
        suspect
    }
}

const FRESH: Cell = Cell { write: Stamp(0), read: Stamp(0), warps: 0, lanes: 0 };

/// The units of a block that work beside its warps, the one for copies last. Each is one more warp for the clocks: what it has
/// read or written is ordered for those that waited for it.
///
/// They go to memory by another way, the async proxy. What a thread wrote is seen there only after a fence between the two
/// (PTX ISA, "Proxies"): `fenced` says up to which clock.
#[derive(Default)]
struct Units {
    /// Warps of the block: the first unit has this number.
    warps: usize,
    count: usize,
    /// Whether fences that compilers leave out must be there.
    all_fences: bool,
    /// By warp: for each thread of the block the clock up to which its writes are behind such a fence, as the warp knows. The second
    /// is of `fence.mbarrier_init`.
    fenced: [Vec<Vec<u32>>; 2],
    /// Clocks of the warps at the last barrier of the block.
    met: Vec<u32>,
    /// The generation that the block began with: older stamps are of other blocks.
    first: u32,
    /// By granule: fetches under way, and which they are.
    fetching: Vec<u16>,
    fetches: Vec<Fetch>,
}

/// Memory that a unit has been told to read: offsets and bytes.
struct Fetch {
    pieces: Vec<(u32, u32)>,
    by: Access,
}

/// What works beside the warps of a block.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unit {
    /// Bulk copies into shared memory.
    Copies,
    /// The tensor cores as a warp group uses them.
    Products(u32),
}

/// Who tells a unit to do something.
#[derive(Clone, Copy)]
pub struct Teller {
    pub warp: u32,
    pub lane: u32,
    pub pc: u32,
}

impl Units {
    /// Values for each warp in what one thread makes known to others, behind its clocks.
    fn threads(&self) -> usize {
        if self.count > 0 { 32 * self.warps } else { 0 }
    }

    /// What warp `w` knows, added to what is made known.
    fn publish(&self, known: &mut [u32], w: usize) {
        if self.count > 0 && w < self.warps {
            let n = self.threads();
            let at = known.len() - 2 * n;
            let own = self.fenced.iter().flat_map(|f| &f[w]);
            known[at..].iter_mut().zip(own).for_each(|(k, o)| *k = (*k).max(*o));
        }
    }

    fn learn(&mut self, known: &[u32], w: usize) {
        if self.count > 0 && w < self.warps {
            let n = self.threads();
            let from = &known[known.len() - 2 * n..];
            let own = self.fenced.iter_mut().flat_map(|f| &mut f[w]);
            own.zip(from).for_each(|(o, k)| *o = (*o).max(*k));
        }
    }

    /// Whether a unit that `warp` tells to sees a write.
    fn sees(&self, write: Stamp, warp: u32, kind: usize) -> bool {
        let thread = 32 * write.warp() as usize + write.lane() as usize;
        write.clock() >= LIMIT || self.fenced[kind][warp as usize].get(thread).is_none_or(|&c| c >= write.clock())
    }
}

/// Shared memory of one block.
pub struct SharedRaces {
    /// log₂ of the granule.
    shift: u32,
    cells: Vec<Cell>,
    clocks: Clocks,
    /// Whether a copy was issued since the cells were cleared: stamps of copies outlive barriers.
    copies: bool,
    block: u32,
    /// Exact reading clocks per warp, once warps synchronise in part: granule → clock of each warp, 0 if it has not read.
    precise: HashMap<u32, Vec<u32>>,
    /// By granule: the last strong read of each lane in this generation, against which ordinary writes are checked.
    polled: HashMap<u32, Vec<Stamp>>,
    /// Locks: what the releasing warps knew, by address.
    locks: HashMap<u32, Vec<u32>>,
    fenced: u32,
    /// Warps whose strong reads saw a release, and what they will know after their next fence.
    observed: Vec<(u32, Vec<u32>)>,
    named: HashMap<u32, Vec<u32>>,
    /// Initialisations of mbarriers, by offset: what happens to an mbarrier later hides them in the cells.
    inits: HashMap<u32, Stamp>,
    units: Units,
}

impl SharedRaces {
    /// For blocks with `bytes` of shared memory; `granule` is a power of two that divides each access of the kernel to it. `units`
    /// work beside the warps, the one for copies last; `all_fences`: whether those must be there before them that compilers leave out.
    pub fn new(bytes: usize, granule: u32, warps: usize, (units, all_fences): (usize, bool)) -> SharedRaces {
        // A stamp has room for 32 warps.
        let units = if warps + units <= 32 { units } else { 0 };
        let cells = bytes.div_ceil(granule as usize);
        SharedRaces {
            shift: granule.trailing_zeros(),
            cells: vec![FRESH; cells],
            clocks: Clocks::new(warps + units),
            copies: false,
            block: 0,
            precise: HashMap::new(),
            polled: HashMap::new(),
            locks: HashMap::new(),
            fenced: 0,
            observed: Vec::new(),
            named: HashMap::new(),
            inits: HashMap::new(),
            units: Units {
                warps,
                count: units,
                all_fences,
                fetching: vec![0; if units > 0 { cells } else { 0 }],
                ..Units::default()
            },
        }
    }

    /// The next block begins.
    pub fn begin(&mut self, block: u32) {
        self.block = block;
        let generation = self.clocks.generation + 1;
        self.clocks = Clocks::new(self.clocks.clock.len());
        // In a new generation all stamps are old, which is as good as clearing the cells and costs nothing. When the numbers of
        // generations run out, or a copy has left a stamp that never gets old, the cells are cleared.
        if self.copies || generation > LIMIT / 2 {
            self.cells.fill(FRESH);
            self.copies = false;
        } else {
            self.clocks.generation = generation;
        }
        self.forget();
        self.inits.clear();
        let u = &mut self.units;
        if u.count > 0 {
            u.fenced = [(); 2].map(|()| vec![vec![0; 32 * u.warps]; u.warps]);
            u.met = vec![0; u.warps];
            u.first = self.clocks.generation;
            u.fetching.fill(0);
            u.fetches.clear();
        }
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
        let u = &mut self.units;
        if u.count > 0 {
            u.met = self.clocks.clock[..u.warps].to_vec();
            // A write after the barrier must not look like one before it.
            self.clocks.clock.iter_mut().for_each(|c| *c += 1);
            for fenced in &mut u.fenced {
                let mut all = vec![0; 32 * u.warps];
                fenced.iter().for_each(|f| all.iter_mut().zip(f).for_each(|(a, f)| *a = (*a).max(*f)));
                fenced.fill(all);
            }
        }
    }

    /// A warp arrives at a barrier that is not for the whole block: what the warp did is ordered before the warps that
    /// [`Self::leave`] the barrier.
    pub fn arrive(&mut self, id: u32, warp: u32) {
        self.remember_reads();
        let mut clocks = self.named.remove(&id).unwrap_or_else(|| self.nothing_known());
        self.publish(&mut clocks, warp);
        self.named.insert(id, clocks);
    }
    /// A warp leaves a barrier at which [`Self::arrive`] was called.
    pub fn leave(&mut self, id: u32, warp: u32) {
        if let Some(clocks) = self.named.get(&id) {
            let clocks = clocks.clone();
            self.learn(&clocks, warp);
        }
    }

    fn nothing_known(&self) -> Vec<u32> {
        vec![0; self.clocks.clock.len() + 2 * self.units.threads()]
    }

    fn publish(&mut self, known: &mut [u32], warp: u32) {
        self.units.publish(known, warp as usize);
        self.clocks.publish(known, warp as usize);
    }

    fn learn(&mut self, known: &[u32], warp: u32) {
        self.units.learn(known, warp as usize);
        self.clocks.learn(known, warp as usize);
    }

    /// What was made known under one key is from now on known under another as well, and no more under the first.
    pub fn pass(&mut self, from: u32, to: u32) {
        if let Some(clocks) = self.named.remove(&from) {
            let all = self.named.entry(to).or_insert_with(|| vec![0; clocks.len()]);
            all.iter_mut().zip(clocks).for_each(|(a, c)| *a = (*a).max(c));
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

    /// `membar` or `fence`: strong writes and atomics of the warp release from here on, and what its strong reads have seen is
    /// acquired.
    pub fn fence(&mut self, warp: u32) {
        self.fenced |= 1 << warp;
        while let Some(k) = self.observed.iter().position(|o| o.0 == warp) {
            let (_, clocks) = self.observed.swap_remove(k);
            self.learn(&clocks, warp);
        }
    }

    /// An atomic: acquires what was released through the address and, after a fence, releases what its warp did.
    fn lock(&mut self, at: u32, warp: u32) {
        if let Some(clocks) = self.locks.get(&at) {
            let clocks = clocks.clone();
            self.learn(&clocks, warp);
        }
        self.release(at, warp);
    }

    /// A strong write or an atomic: after a fence, what the warp did is ordered before those that acquire through the address.
    fn release(&mut self, at: u32, warp: u32) {
        if self.fenced >> warp & 1 == 1 {
            self.remember_reads();
            let mut clocks = self.locks.remove(&at).unwrap_or_else(|| self.nothing_known());
            self.publish(&mut clocks, warp);
            self.locks.insert(at, clocks);
        }
    }

    /// Called before the first partial barrier of a generation takes effect: from here on the clocks of reads are kept for each
    /// warp.
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

    /// A warp accesses shared memory.
    #[inline(always)]
    pub fn touch(&mut self, a: &WarpAccess) -> Result<(), Box<Conflict>> {
        let (touch, pieces, shift) = (a.touch, a.pieces, self.shift);
        let n = (a.bytes >> shift) as usize;
        let blank = Stamp::new(self.clocks.generation, self.clocks.clock[a.warp as usize], a.warp, 0, a.pc);
        let place = |&(offset, lanes): &(i32, u32)| {
            let from = ((a.base as u32).wrapping_add_signed(offset) >> shift) as usize;
            (from, blank.with_lane(lanes.trailing_zeros()), lanes)
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

    /// The fast path of writes: one lane writes, copies or completes a copy to granules that no other lane has touched since the
    /// last barrier. Returns false, with nothing done, for anything else.
    #[inline(always)]
    fn write_alone(&mut self, from: usize, n: usize, now: Stamp, lanes: u32, touch: Touch) -> bool {
        let generation = now.generation();
        let new = match touch {
            Touch::Copy => now.pending_copy(),
            Touch::Write => now,
            Touch::Arrived => Stamp(now.0 | COPIED),
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
        if !self.units.fetches.is_empty() {
            alone &= self.units.fetching[from..from + n].iter().all(|&f| f == 0);
        }
        if alone {
            for c in cells {
                (c.write, c.read) = (new, Stamp(0));
            }
            self.copies |= touch == Touch::Copy;
        }
        alone
    }

    /// The exact check of a read that was recorded: whether the last write is ordered before the read.
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

    /// A strong read. Strong reads are kept apart from reads, as only a later ordinary write can race with one.
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
            for read in (0..32).filter(|l| lanes >> l & 1 == 1).map(|l| now.replace_lane(l)) {
                match polls.iter_mut().find(|p| (p.warp(), p.lane()) == (read.warp(), read.lane())) {
                    Some(p) => *p = read,
                    None => polls.push(read),
                }
            }
        }
        Ok(())
    }

    /// The check of an ordinary write against strong reads: all of this generation must be ordered before the write.
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

    /// The exact check against the last write, which is of this generation or a copy that has not arrived.
    #[inline(never)]
    fn check_write(&self, i: usize, last: Stamp, now: Stamp, lanes: u32, touch: Touch) -> Result<(), Box<Conflict>> {
        let ordered = if last.pending() {
            // Before a copy has arrived, nothing but its arrival may touch the granule.
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
        Err(Box::new(Conflict { at: (i as u64) << self.shift, first, second, proxy: false }))
    }

    #[inline(always)]
    fn write(&mut self, i: usize, now: Stamp, lanes: u32, touch: Touch) -> Result<(), Box<Conflict>> {
        if !self.units.fetches.is_empty() {
            self.check_fetches(i, now, touch)?;
        }
        let cell = self.cells[i];
        let last = cell.write;
        if last.generation() >= now.generation() && (lanes & (lanes - 1) != 0 || !last.plainly_by(now)) {
            self.check_write(i, last, now, lanes, touch)?;
        }
        // Two lanes of one instruction write different values to one place: which value stays is open.
        if lanes & (lanes - 1) != 0 && touch == Touch::Write {
            return self.conflict(i, now.wrote(self.block), now, 31 - lanes.leading_zeros(), touch);
        }
        if cell.read.generation() == now.generation() && now.generation() < LIMIT {
            // No check is needed if the lane that writes is the only one that has read.
            if cell.warps != 1 << now.warp() || cell.lanes != lanes || lanes & (lanes - 1) != 0 {
                self.check_reads(i, cell, now, lanes, touch)?;
            }
            // The reads come before this write, so what is ordered after the write is ordered after the reads: they can go.
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
            Touch::Arrived => Stamp(now.0 | COPIED),
            _ => now,
        };
        Ok(())
    }

    #[inline(never)]
    fn check_reads(&self, i: usize, cell: Cell, now: Stamp, lanes: u32, touch: Touch) -> Result<(), Box<Conflict>> {
        let (me, read) = (now.warp(), cell.read);
        // Reads by this warp. `cell.lanes` are the lanes of the last reading warp; if that is another warp, the lanes of this one
        // are not known, and the read by the other warp is checked below.
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
                // If another warp has read later, only the number of this warp is known, not its lane.
                let first = if read.warp() == v { first } else { Access { warp: v, lane: 0, ..first } };
                return self.conflict(i, first, now, now.lane(), touch);
            }
        }
        Ok(())
    }
}

/// What units do beside the warps. Without units in the kernel none of it is called.
impl SharedRaces {
    /// The number of the unit that copies, or of a warp group's; that of the warp where there is no room for units.
    fn unit(&self, unit: Unit, warp: u32) -> u32 {
        let u = &self.units;
        match unit {
            _ if u.count == 0 => warp,
            Unit::Copies => (u.warps + u.count - 1) as u32,
            Unit::Products(group) => u.warps as u32 + group,
        }
    }

    fn cells_of(&self, at: u32, bytes: u32) -> std::ops::Range<usize> {
        (at >> self.shift) as usize..(at + bytes).div_ceil(1 << self.shift) as usize
    }

    /// Whether a unit that is told so by `who`, of whose warp `lanes` take part, may touch a granule now.
    fn check_told(&self, i: usize, now: Stamp, lanes: u32, touch: Touch) -> Result<(), Box<Conflict>> {
        let last = self.cells[i].write;
        if last.generation() >= now.generation() {
            self.check_write(i, last, now, lanes, touch)?;
        }
        let u = &self.units;
        // `cp.async` is not among the operations that the ISA puts into the async proxy.
        let by_thread =
            last.0 & (COPIED | PENDING) == 0 && (last.warp() as usize) < u.warps && last.generation() >= u.first && last.0 != 0;
        if u.count > 0 && by_thread && !u.sees(last, now.warp(), 0) {
            let (first, second) = (last.wrote(self.block), now.access(touch, self.block));
            return Err(Box::new(Conflict { at: (i as u64) << self.shift, first, second, proxy: true }));
        }
        Ok(())
    }

    fn check_fetches(&self, i: usize, now: Stamp, touch: Touch) -> Result<(), Box<Conflict>> {
        if self.units.fetching[i] == 0 {
            return Ok(());
        }
        let has = |f: &&Fetch| f.pieces.iter().any(|&(at, bytes)| self.cells_of(at, bytes).contains(&i));
        let by = self.units.fetches.iter().find(has).map(|f| f.by);
        let first = by.unwrap_or(now.access(Touch::Fetch, self.block));
        self.conflict(i, first, now, now.lane(), touch)
    }

    fn stamp(&self, who: Teller, by: u32) -> Stamp {
        Stamp::new(self.clocks.generation, self.clocks.clock[by as usize], by, who.lane, who.pc)
    }

    /// A unit is told to read pieces of memory, offsets and bytes; `lanes`: the threads of the warp that tell it so together. The
    /// fetch `begins` with the first warp that tells it.
    pub fn told_to_read(&mut self, who: Teller, lanes: u32, pieces: &[(u32, u32)], begins: bool) -> Result<(), Box<Conflict>> {
        let now = self.stamp(who, who.warp);
        for &(at, bytes) in pieces {
            self.cells_of(at, bytes).try_for_each(|i| self.check_told(i, now, lanes, Touch::Fetch))?;
        }
        if begins && self.units.count > 0 {
            let by = Access { touch: Touch::Fetch, block: self.block, warp: who.warp, lane: who.lane, pc: who.pc };
            for &(at, bytes) in pieces {
                let cells = self.cells_of(at, bytes);
                self.units.fetching[cells].iter_mut().for_each(|f| *f += 1);
            }
            self.units.fetches.push(Fetch { pieces: pieces.to_vec(), by });
        }
        Ok(())
    }

    /// A fetch has read. What is ordered after `by` (a unit, or a warp) is ordered after the read.
    pub fn fetched(&mut self, who: Teller, by: Option<Unit>, pieces: &[(u32, u32)]) {
        let by = by.map_or(who.warp, |u| self.unit(u, who.warp));
        let list = &mut self.units.fetches;
        let ends = list.iter().position(|f| f.by.pc == who.pc && f.pieces == pieces).map(|k| list.swap_remove(k)).is_some();
        let now = self.stamp(who, by);
        let precise = !self.clocks.known.is_empty();
        for &(at, bytes) in pieces {
            for i in self.cells_of(at, bytes) {
                if ends {
                    self.units.fetching[i] -= 1;
                }
                // Whether it may was checked when it began.
                let _ = self.cells[i].read_by(now, 1 << who.lane);
                if precise {
                    self.read_precisely(i as u32, now);
                }
            }
        }
    }

    /// A bulk copy into shared memory begins.
    pub fn told_to_write(&mut self, who: Teller, at: u32, bytes: u32) -> Result<(), Box<Conflict>> {
        let now = self.stamp(who, who.warp);
        for i in self.cells_of(at, bytes) {
            self.check_told(i, now, 1 << who.lane, Touch::Copy)?;
            self.write(i, now, 1 << who.lane, Touch::Copy)?;
        }
        Ok(())
    }

    /// It has arrived.
    pub fn written(&mut self, who: Teller, at: u32, bytes: u32) {
        let now = self.stamp(who, self.unit(Unit::Copies, who.warp));
        for i in self.cells_of(at, bytes) {
            (self.cells[i].write, self.cells[i].read) = (now, Stamp(0));
        }
    }

    /// What a unit did becomes known under a key, as by [`Self::arrive`].
    pub fn unit_arrives(&mut self, id: u32, unit: Unit, warp: u32) {
        let by = self.unit(unit, warp);
        self.arrive(id, by);
    }

    /// `fence.proxy.async` (kind 0) or `fence.mbarrier_init` (kind 1) by the lanes `mask`.
    pub fn proxy_fence(&mut self, kind: usize, warp: u32, mask: u32) {
        let (u, w) = (&mut self.units, warp as usize);
        if u.count == 0 {
            return;
        }
        let (clock, whole) = (self.clocks.clock[w], self.clocks.whole[w]);
        for v in 0..u.warps {
            let known = self.clocks.known.get(w).map_or(0, |k| k[v]).max(u.met[v]);
            for lane in 0..32 {
                // Of its own warp: what the lanes that fence did, and what the others did before they were last together.
                let own = if mask >> lane & 1 == 1 { clock } else { whole - 1 };
                let upto = if v == w { own.max(known) } else { known };
                let f = &mut u.fenced[kind][w][32 * v + lane];
                *f = (*f).max(upto);
            }
        }
        self.clocks.clock[w] += 1;
    }

    /// An mbarrier was initialised.
    pub fn mbarrier_init(&mut self, who: Teller, at: u32) {
        let now = self.stamp(who, who.warp);
        self.inits.insert(at, now);
    }

    /// Something is done with an mbarrier, by a thread or, if `told`, by a copy: whether its initialisation is seen there.
    pub fn sees_mbarrier(&self, who: Teller, at: u32, told: bool) -> Result<(), Box<Conflict>> {
        let (u, now) = (&self.units, self.stamp(who, who.warp));
        let Some(&init) = self.inits.get(&at) else { return Ok(()) };
        let ordered = init.generation() < now.generation()
            || if init.warp() == who.warp {
                self.clocks.within(who.warp as usize, init.clock(), 1 << init.lane(), who.lane)
            } else {
                self.clocks.between(init.warp() as usize, init.clock(), who.warp as usize)
            };
        let seen = !told || u.count == 0 || !u.all_fences || u.sees(init, who.warp, 0) || u.sees(init, who.warp, 1);
        if ordered && seen {
            return Ok(());
        }
        let touch = if told { Touch::Copy } else { Touch::Atomic };
        let (first, second) = (init.wrote(self.block), now.access(touch, self.block));
        Err(Box::new(Conflict { at: at as u64, first, second, proxy: ordered }))
    }
}
