//! Races in global memory, between the blocks and the warps of one launch.

use std::collections::{BTreeMap, HashMap};
use std::sync::Mutex;

use super::access::{Access, Conflict, Touch, WarpAccess};
use super::stamp::{LIMIT, SPECIAL, Stamp};
use crate::footprint::Footprint;

/// A past access to global memory: its block, and a [`Stamp`].
#[derive(Clone, Copy)]
struct Mark {
    stamp: Stamp,
    /// Linear index plus 1; 0 for none.
    block: u32,
}

impl Mark {
    fn access(self, touch: Touch) -> Access {
        self.stamp.access(touch, (self.block & !MANY) - 1)
    }
}

const NONE: Mark = Mark { stamp: Stamp(0), block: 0 };

/// A [`Mark`] as it is kept: as plain numbers, of which the system has zeros at no cost.
type Cell = [u64; 2];

impl From<Cell> for Mark {
    #[inline(always)]
    fn from([stamp, block]: Cell) -> Mark {
        Mark { stamp: Stamp(stamp), block: block as u32 }
    }
}

impl From<Mark> for Cell {
    #[inline(always)]
    fn from(m: Mark) -> Cell {
        [m.stamp.0, m.block as u64]
    }
}

/// A bit of [`Mark::block`]: the granule has more readers, in [`GlobalRaces::readers`].
const MANY: u32 = 1 << 31;

/// What a warp made known by a fence and an atomic: all that its block did before a generation, and what the warp itself did up
/// to a clock of it.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Release {
    block: u32,
    generation: u32,
    warp: u32,
    clock: u32,
}

/// Releases by block, of each of its warps the newest, which covers the older ones.
#[derive(Default)]
struct Known(HashMap<u32, Vec<Release>>);

impl Known {
    /// Adds a release. Returns whether that was news.
    fn join(&mut self, r: Release) -> bool {
        let list = self.0.entry(r.block).or_default();
        match list.iter_mut().find(|o| o.warp == r.warp) {
            Some(o) if (o.generation, o.clock) < (r.generation, r.clock) => *o = r,
            Some(_) => return false,
            None => list.push(r),
        }
        true
    }

    fn all(&self) -> impl Iterator<Item = Release> {
        self.0.values().flatten().copied()
    }

    /// Whether a past access comes before one of the releases.
    fn covers(&self, m: Mark) -> bool {
        let (g, w) = (m.stamp.generation(), m.stamp.warp());
        let before = |r: &Release| g < r.generation || g == r.generation && w == r.warp && m.stamp.clock() <= r.clock;
        self.0.get(&(m.block & !MANY)).is_some_and(|list| list.iter().any(before))
    }
}

/// What was released through a place. The version is a number that no other state of it has.
#[derive(Default)]
struct Released {
    known: Known,
    version: u64,
}

/// The clocks of a running block, and what it has acquired from other blocks.
pub struct GlobalClocks {
    block: u32,
    generation: u32,
    /// Per warp: fences so far, plus 1.
    clock: Vec<u32>,
    /// Per warp: what the warp's last fence covers.
    fenced: Vec<Option<Release>>,
    acquired: Known,
    /// (warp, release): releases that a strong read of the warp has seen, acquired at the next fence of the warp.
    observed: Vec<(u32, Release)>,
    /// By warp and place: the version of the releases that it has observed already. A warp that polls reads a place many times.
    seen: HashMap<(u32, (u32, u64)), u64>,
    /// What arrivals at barriers of some warps have made known, by barrier.
    named: HashMap<u32, Known>,
}

impl GlobalClocks {
    pub fn new(block: u32, warps: usize) -> GlobalClocks {
        GlobalClocks {
            block: block + 1,
            generation: 1,
            clock: vec![1; warps],
            fenced: vec![None; warps],
            acquired: Known::default(),
            observed: Vec::new(),
            seen: HashMap::new(),
            named: HashMap::new(),
        }
    }

    /// A warp arrives at a barrier of some warps: what the warp did comes before those that learn of it.
    pub fn publish(&mut self, key: u32, warp: u32) {
        let clock = &mut self.clock[warp as usize];
        let release = Release { block: self.block, generation: self.generation, warp, clock: *clock };
        *clock += 1;
        self.named.entry(key).or_default().join(release);
    }

    /// What was made known under one key is from now on known under another, and no more under the first.
    pub fn pass(&mut self, from: u32, to: u32) {
        if let Some(known) = self.named.remove(&from) {
            let all = self.named.entry(to).or_default();
            known.all().for_each(|r| _ = all.join(r));
        }
    }

    /// The block acquires what was made known.
    pub fn learn(&mut self, key: u32) {
        if let Some(known) = self.named.get(&key) {
            known.all().for_each(|r| _ = self.acquired.join(r));
        }
    }

    /// A barrier is over; the next use of the key begins anew.
    pub fn forget_barrier(&mut self, key: u32) {
        self.named.remove(&key);
    }

    /// All threads of the block have met.
    pub fn barrier(&mut self) {
        self.generation += 1;
    }

    /// `membar.gl`, `fence.acq_rel.gpu` and wider ones: the next strong write or atomic of the warp releases what came before,
    /// and what its strong reads have seen is acquired.
    pub fn fence(&mut self, warp: u32) {
        let clock = &mut self.clock[warp as usize];
        self.fenced[warp as usize] = Some(Release { block: self.block, generation: self.generation, warp, clock: *clock });
        *clock += 1;
        let acquired = &mut self.acquired;
        self.observed.retain(|&(w, r)| {
            if w == warp {
                acquired.join(r);
            }
            w != warp
        });
    }

    /// An access of this block, for a report.
    fn access(&self, now: Stamp, touch: Touch) -> Access {
        now.access(touch, self.block - 1)
    }

    /// Whether a past access comes before what warp `warp` does now. Lanes of a warp are taken as ordered.
    #[inline(always)]
    fn after(&self, m: Mark, warp: u32) -> bool {
        let s = m.stamp;
        let own = m.block & !MANY == self.block;
        own && (s.warp() == warp || s.generation() < self.generation || s.generation() >= LIMIT) || self.acquired.covers(m)
    }
}

/// Marks of the granules of a buffer, empty until there is one. All lie in `touched`: beyond, the memory of a large buffer is never
/// looked at, and so never there.
#[derive(Default)]
struct Marks {
    cells: Vec<Cell>,
    touched: std::ops::Range<usize>,
}

impl Marks {
    /// Room for marks from one granule up to another, of so many in all.
    #[inline(always)]
    fn reach(&mut self, from: usize, to: usize, granules: usize) {
        if self.cells.is_empty() {
            self.cells = zeros(granules);
            self.touched = from..to;
        }
        self.touched.start = self.touched.start.min(from);
        self.touched.end = self.touched.end.max(to);
    }

    #[inline(always)]
    fn get(&self, i: usize) -> Option<Mark> {
        self.cells.get(i).map(|&c| c.into())
    }

    #[inline(always)]
    fn set(&mut self, i: usize, m: Mark) {
        self.cells[i] = m.into();
    }
}

impl Drop for Marks {
    fn drop(&mut self) {
        if self.cells.len() >= SPARE.0 && self.cells.len() <= SPARE.1 {
            let mut spare = SPARES.lock().unwrap_or_else(|e| e.into_inner());
            if spare.iter().map(Vec::len).sum::<usize>() + self.cells.len() <= SPARE.1 {
                self.cells[self.touched.clone()].fill([0; 2]);
                spare.push(std::mem::take(&mut self.cells));
            }
        }
    }
}

/// Cells of earlier launches, all zero. A launch over large buffers needs hundreds of MiB of them, and getting pages from the system
/// takes as long as running it: 42 % of `y += a x` over 4 M floats.
static SPARES: Mutex<Vec<Vec<Cell>>> = Mutex::new(Vec::new());
/// Cells from which on an array is worth keeping, and how many are kept in all: 256 MiB.
const SPARE: (usize, usize) = (1 << 16, 1 << 24);

fn zeros(granules: usize) -> Vec<Cell> {
    if granules >= SPARE.0 {
        let mut spare = SPARES.lock().unwrap_or_else(|e| e.into_inner());
        if let Some(i) = spare.iter().position(|cells| cells.len() == granules) {
            return spare.swap_remove(i);
        }
        // Those of other sizes make room for what this launch gives back.
        spare.clear();
    }
    // Zeros of the system, not written by this thread.
    vec![[0; 2]; granules]
}

/// Last write and last read of each granule of a buffer.
#[derive(Default)]
struct Shadow {
    writes: Marks,
    reads: Marks,
}

/// Global memory, between the blocks and the warps of one launch.
pub struct GlobalRaces {
    /// log₂ of the granule.
    shift: u32,
    /// Bytes of each buffer; 0 for a buffer that the kernel may not write to, in which nothing can race.
    sizes: Vec<usize>,
    shadows: Vec<Shadow>,
    /// Further readers of a granule, none ordered before another.
    readers: HashMap<(u32, usize), Vec<Mark>>,
    /// The last strong read of each granule by each warp of each block, against which ordinary writes are checked.
    polled: HashMap<(u32, usize), BTreeMap<(u32, u32), Mark>>,
    /// By buffer and offset of the atomic: what was released through it.
    released: HashMap<(u32, u64), Released>,
    /// The last [`Released::version`] that was given out.
    version: u64,
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
            version: 0,
            blind: blocks > 1 << 20,
        }
    }

    /// Whether anything can race in a buffer.
    #[inline(always)]
    pub fn watches(&self, buffer: u32) -> bool {
        self.sizes[buffer as usize] > 0 && !self.blind
    }

    /// A kernel allocates a buffer, the next one.
    pub fn allocate(&mut self, bytes: usize) {
        self.sizes.push(bytes);
        self.shadows.push(Shadow::default());
    }

    /// Whether the grid is too large for stamps: then nothing is checked.
    pub fn is_blind(&self) -> bool {
        self.blind
    }

    /// For the same launch, with nothing touched yet.
    pub fn fresh(&self) -> GlobalRaces {
        GlobalRaces::new(self.sizes.clone(), 1 << self.shift, if self.blind { u64::MAX } else { 0 })
    }

    /// What was read and what was written.
    pub(crate) fn footprint(&self) -> Footprint {
        let sizes: Vec<u64> = self.sizes.iter().map(|&n| n as u64).collect();
        let mut f = Footprint::new(&sizes);
        for (buffer, s) in self.shadows.iter().enumerate() {
            for (read, marks) in [(true, &s.reads), (false, &s.writes)] {
                let range = marks.touched.clone();
                if self.shift == 2 {
                    // A granule is a word, and 64 of them one number of the map.
                    for n in range.start / 64..range.end.div_ceil(64) {
                        let cells = &marks.cells[64 * n..marks.cells.len().min(64 * n + 64)];
                        let bit = |(k, c): (usize, &Cell)| ((c[1] != 0) as u64) << k;
                        f.add(buffer, read, n, cells.iter().enumerate().fold(0, |bits, c| bits | bit(c)));
                    }
                    continue;
                }
                for (i, cell) in range.clone().zip(&marks.cells[range]) {
                    if cell[1] != 0 {
                        f.set(buffer, read, (i << self.shift) / 4);
                    }
                }
            }
        }
        f
    }

    /// The block that wrote last to a place, if one has.
    pub fn writer(&self, buffer: u32, at: u64) -> Option<u32> {
        let mark = self.shadows.get(buffer as usize)?.writes.get((at >> self.shift) as usize)?;
        (mark.block & !MANY).checked_sub(1)
    }

    /// An atomic acquires what was released through its address; after a fence, it releases.
    fn atomic(&mut self, key: (u32, u64), warp: u32, me: &mut GlobalClocks) {
        if let Some(released) = self.released.get(&key) {
            released.known.all().for_each(|r| {
                me.acquired.join(r);
            });
        }
        self.release(key, warp, me);
    }

    /// A strong read of `warp` sees what was released through an address.
    fn observe(&self, key: (u32, u64), warp: u32, me: &mut GlobalClocks) {
        let Some(released) = self.released.get(&key) else { return };
        if me.seen.insert((warp, key), released.version) != Some(released.version) {
            me.observed.extend(released.known.all().map(|r| (warp, r)));
        }
    }

    /// A strong write or an atomic: after a fence, it releases.
    fn release(&mut self, key: (u32, u64), warp: u32, me: &GlobalClocks) {
        // The warp's own fence counts, and fences of the other warps before the last barrier.
        let counts = |f: &Release| f.warp == warp || f.generation < me.generation;
        let mut fences = me.fenced.iter().flatten().copied().filter(counts).peekable();
        if fences.peek().is_none() {
            return;
        }
        // What this block acquired before is passed on.
        let released = self.released.entry(key).or_default();
        let mut news = false;
        fences.chain(me.acquired.all()).for_each(|r| news |= released.known.join(r));
        if news {
            self.version += 1;
            released.version = self.version;
        }
    }

    /// A warp of the block `me` accesses a buffer.
    #[inline(always)]
    pub fn touch(&mut self, me: &mut GlobalClocks, buffer: u32, a: &WarpAccess) -> Result<(), Box<Conflict>> {
        let (touch, warp) = (a.touch, a.warp);
        let size = (self.sizes[buffer as usize] + (1 << self.shift) - 1) >> self.shift;
        if size == 0 || self.blind {
            return Ok(());
        }
        // Shadow memory is made at the first access that needs it: a buffer that is only read has no `writes`.
        let n = (a.bytes >> self.shift) as usize;
        let place = |offset: i32| (a.base.wrapping_add_signed(offset as i64) >> self.shift) as usize;
        let (least, most) = a.pieces.iter().fold((i32::MAX, i32::MIN), |(l, h), p| (l.min(p.0), h.max(p.0)));
        if least > most {
            return Ok(());
        }
        let shadow = &mut self.shadows[buffer as usize];
        if touch == Touch::Read {
            shadow.reads.reach(place(least), place(most) + n, size);
        } else if !touch.reads_only() {
            shadow.writes.reach(place(least), place(most) + n, size);
        }
        let whole = Stamp::new(me.generation, me.clock[warp as usize], warp, 0, a.pc);
        for &(offset, lanes) in a.pieces {
            let at = a.base.wrapping_add_signed(offset as i64);
            let from = (at >> self.shift) as usize;
            let stamp = whole.with_lane(lanes.trailing_zeros());
            for i in from..from + n {
                self.one(touch, me, buffer, i, stamp)?;
            }
            if touch == Touch::Write && lanes & (lanes - 1) != 0 {
                let (first, last) = (me.access(stamp, touch), 31 - lanes.leading_zeros());
                return self.conflict(from, first, Access { lane: last, ..first });
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
        if let Some(last) = shadow.writes.get(i)
            && last.block != 0
            && !(touch.strong() && last.stamp.special())
            && !me.after(last, warp)
        {
            let how = if last.stamp.special() { Touch::Atomic } else { Touch::Write };
            return self.conflict(i, last.access(how), me.access(now, touch));
        }
        let mark = Mark { stamp: now, block: me.block };
        // Strong reads are kept apart from reads: only a later ordinary write can race with one.
        if touch == Touch::StrongRead {
            self.polled.entry((buffer, i)).or_default().insert((mark.block, warp), mark);
            return Ok(());
        }
        if touch == Touch::Read {
            let old = Mark::from(shadow.reads.cells[i]);
            if old.block & MANY == 0 && (old.block == 0 || me.after(old, warp)) {
                shadow.reads.set(i, mark);
            } else {
                shadow.reads.set(i, Mark { block: old.block | MANY, ..old });
                self.another_reader(me, buffer, i, mark);
            }
            return Ok(());
        }
        if touch == Touch::Write
            && !self.polled.is_empty()
            && let Some(polls) = self.polled.remove(&(buffer, i))
            && let Some(&read) = polls.values().find(|p| !me.after(**p, warp))
        {
            return self.conflict(i, read.access(Touch::StrongRead), me.access(now, touch));
        }
        let shadow = &mut self.shadows[buffer as usize];
        if let Some(read) = shadow.reads.get(i)
            && read.block != 0
        {
            if read.block & MANY != 0 || !me.after(read, warp) {
                self.after_readers(touch, me, (buffer, i), read, now)?;
            }
            // All reads come before this write, so what is ordered after the write is ordered after the reads: they can go.
            self.shadows[buffer as usize].reads.set(i, NONE);
        }
        let special = if touch.strong() { SPECIAL } else { 0 };
        self.shadows[buffer as usize].writes.set(i, Mark { stamp: Stamp(now.0 | special), ..mark });
        Ok(())
    }

    /// A write to a granule that others have read, `read` as the first: each must come before it.
    #[cold]
    fn after_readers(
        &mut self,
        touch: Touch,
        me: &GlobalClocks,
        (buffer, i): (u32, usize),
        read: Mark,
        now: Stamp,
    ) -> Result<(), Box<Conflict>> {
        let others = if read.block & MANY != 0 { self.readers.remove(&(buffer, i)).unwrap_or_default() } else { Vec::new() };
        match [read].into_iter().chain(others).find(|r| !me.after(*r, now.warp())) {
            Some(r) => self.conflict(i, r.access(Touch::Read), me.access(now, touch)),
            None => Ok(()),
        }
    }

    #[cold]
    fn another_reader(&mut self, me: &GlobalClocks, buffer: u32, i: usize, mark: Mark) {
        let list = self.readers.entry((buffer, i)).or_default();
        // A later read of the same warp stands for its earlier one.
        if let Some(r) = list.last_mut()
            && (r.block, r.stamp.warp()) == (mark.block, mark.stamp.warp())
        {
            *r = mark;
            return;
        }
        // Readers that come before this one can go. They are looked through each time the list has doubled: it may hold
        // thousands.
        if list.len() >= 16 && list.len().is_power_of_two() {
            list.retain(|r| !me.after(*r, mark.stamp.warp()));
        }
        list.push(mark);
    }

    #[cold]
    fn conflict(&self, i: usize, first: Access, second: Access) -> Result<(), Box<Conflict>> {
        Err(Box::new(Conflict { at: (i as u64) << self.shift, first, second, proxy: false }))
    }
}
