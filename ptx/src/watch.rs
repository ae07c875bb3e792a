//! The race check and the traffic counters: both look at every access of a launch, and share the pattern of its addresses.

use super::counters::{Op, Traffic};
use super::fault::{FaultKind, Place, Raise};
use super::footprint::Footprint;
use super::pattern::{Lanes, Pattern};
use super::race::{Access, Conflict, GlobalClocks, GlobalRaces, SharedRaces, Teller, Touch, Unit, WarpAccess};

/// A memory instruction of a warp, without its addresses.
#[derive(Clone, Copy)]
pub(crate) struct Touching<'a> {
    pub touch: Touch,
    pub warp: u32,
    pub pc: usize,
    /// Bytes that each lane touches.
    pub bytes: u32,
    /// Whether two lanes write the same value; asked of writes only.
    pub same: &'a dyn Fn(usize, usize) -> bool,
}

/// Keys of what arrivals at an mbarrier, and its phases that ended, have made known; barriers of the block have numbers below 16.
const ARRIVING: u32 = 1 << 30;
const ENDED: u32 = 1 << 31;
/// The same for the products of a warp group.
const PRODUCTS: u32 = 1 << 29;

type Found = Result<(), Box<Conflict>>;

impl Touching<'_> {
    #[inline(always)]
    fn access<'a>(&self, at: &Lanes, pieces: &'a [(i32, u32)]) -> WarpAccess<'a> {
        WarpAccess { touch: self.touch, warp: self.warp, pc: self.pc as u32, base: at.first, pieces, bytes: self.bytes }
    }
}

/// The state of a launch under watch.
pub(crate) struct Watch {
    global: Option<GlobalRaces>,
    pub traffic: Option<Traffic>,
    /// For each op: the pattern of its last access to shared memory, and of its last access to global memory (`cp.async` has
    /// both).
    patterns: Vec<[Option<Box<Pattern>>; 2]>,
    /// Of the block that runs.
    pub block: BlockWatch,
    /// What a [`BlockWatch`] is made for.
    race: bool,
    sizes: Sizes,
    /// Which words were touched, where the race check does not tell: kept while blocks run side by side.
    pub footprint: Option<Footprint>,
}

/// A warp at a barrier: its number, the lanes that wait, those that live.
type Waiting = (u32, u32, u32);

/// Bytes of shared memory, bytes of a granule of it, warps of a block, units that work beside them and whether every fence before
/// these must be there.
type Sizes = (usize, u32, usize, (usize, bool));

/// The part of a [`Watch`] that belongs to one block.
pub(crate) struct BlockWatch {
    shared: Option<SharedRaces>,
    clocks: GlobalClocks,
    /// For each barrier: the warps that wait at the barrier, with their lanes that do and those that live; and whether a warp has
    /// arrived without waiting (`bar.arrive`).
    waiting: [(Vec<Waiting>, bool); 16],
    warps: usize,
}

impl BlockWatch {
    fn new(race: bool, (bytes, granule, warps, units): Sizes) -> BlockWatch {
        BlockWatch {
            shared: race.then(|| SharedRaces::new(bytes, granule, warps, units)),
            clocks: GlobalClocks::new(0, warps),
            waiting: Default::default(),
            warps,
        }
    }

    /// A block begins.
    pub fn begin(&mut self, block: u32) {
        if let Some(s) = &mut self.shared {
            s.begin(block);
        }
        self.clocks = GlobalClocks::new(block, self.warps);
        self.waiting = Default::default();
    }
}

/// What a launch is made of, for a [`Watch`].
pub(crate) struct Watched {
    pub ops: usize,
    pub warps: usize,
    /// What works beside the warps of a block: a unit for each warp group, and one for copies; 0 if the kernel has none.
    pub units: usize,
    /// Whether every fence before the async proxy must be there.
    pub all_fences: bool,
    pub blocks: u64,
    /// Bytes of shared memory.
    pub shared: usize,
    /// Bytes of each buffer, and whether the kernel may write to it.
    pub buffers: Vec<(u64, bool)>,
    /// Bytes of the narrowest access to shared memory and of the narrowest to global memory: all others are multiples.
    pub narrowest: (u32, u32),
}

impl Watch {
    pub fn new(l: Watched, race: bool, count: bool) -> Watch {
        let sizes = || l.buffers.iter().map(|&(len, write)| if write { len as usize } else { 0 }).collect();
        Watch {
            global: race.then(|| GlobalRaces::new(sizes(), l.narrowest.1, l.blocks)),
            traffic: count.then(|| Traffic::new(l.buffers.iter().map(|b| b.0).collect())),
            patterns: (0..l.ops).map(|_| [None, None]).collect(),
            // No block runs yet, and the first brings its own.
            block: BlockWatch::new(false, (0, 4, 0, (0, false))),
            race,
            sizes: (l.shared, l.narrowest.0, l.warps, (l.units, l.all_fences)),
            footprint: None,
        }
    }

    /// The same for other blocks of the launch, on a copy of its memory.
    pub fn fork(&self) -> Watch {
        let patterns = self.patterns.iter().map(|_| [None, None]).collect();
        let (race, sizes) = (self.race, self.sizes);
        Watch {
            global: self.global.as_ref().map(GlobalRaces::fresh),
            traffic: self.traffic.as_ref().map(Traffic::fresh),
            patterns,
            block: BlockWatch::new(false, (0, 4, 0, (0, false))),
            race,
            sizes,
            footprint: None,
        }
    }

    /// Whether the race check sees every access that can race.
    pub fn finds_races(&self) -> bool {
        self.global.as_ref().is_some_and(|g| !g.is_blind())
    }

    /// From here on, [`Watch::footprint`] can be asked for. `buffers`: bytes of each that the launch may write to, 0 for others.
    pub fn keep_footprint(&mut self, buffers: &[u64]) {
        if !self.finds_races() {
            self.footprint = Some(Footprint::new(buffers));
        }
    }

    /// What was read and written, in buffers that the launch may write to. With the race check since the launch began; else since
    /// [`Watch::keep_footprint`].
    pub fn footprint(&mut self) -> Footprint {
        match (&mut self.footprint, &self.global) {
            (Some(f), _) => std::mem::take(f),
            (None, Some(g)) => g.footprint(),
            (None, None) => Footprint::default(),
        }
    }

    /// What one more block needs that is on the machine at the same time as others.
    pub fn another(&self) -> BlockWatch {
        BlockWatch::new(self.race, self.sizes)
    }

    /// Lanes of a warp access shared memory, at the offsets `at`.
    #[inline(always)]
    pub fn shared(&mut self, by: &Touching, at: &Lanes) -> Found {
        let p = self.patterns[by.pc][0].get_or_insert_default();
        p.update(at, by.bytes, self.traffic.is_some());
        if let Some(t) = &mut self.traffic
            && by.touch != Touch::Arrived
        {
            t.shared(operation(by.touch), by.pc as u32, p);
        }
        if self.block.shared.is_some() { self.shared_races(by, at) } else { Ok(()) }
    }

    #[inline(never)]
    fn shared_races(&mut self, by: &Touching, at: &Lanes) -> Found {
        let (Some(races), Some(p)) = (&mut self.block.shared, &self.patterns[by.pc][0]) else { return Ok(()) };
        match agreed(p, by, at.mask) {
            None => races.touch(&by.access(at, &p.pieces)),
            Some(pieces) => races.touch(&by.access(at, &pieces)),
        }
    }

    /// Lanes of a warp access a buffer in global memory, at the offsets `at` from its start.
    #[inline(always)]
    pub fn global(&mut self, by: &Touching, buffer: usize, at: &Lanes) -> Found {
        let races = self.global.as_ref().is_some_and(|g| g.watches(buffer as u32));
        if !races && self.traffic.is_none() && self.footprint.is_none() {
            return Ok(());
        }
        let p = self.patterns[by.pc][1].get_or_insert_default();
        p.update(at, by.bytes, self.traffic.is_some());
        if let Some(f) = &mut self.footprint {
            f.touch(buffer, by.touch.reads_only(), at.first, &p.pieces, by.bytes);
        }
        if let Some(t) = &mut self.traffic {
            t.global(operation(by.touch), by.pc as u32, buffer as u32, at, p, by.bytes);
        }
        if races { self.global_races(by, buffer as u32, at) } else { Ok(()) }
    }

    #[inline(never)]
    fn global_races(&mut self, by: &Touching, buffer: u32, at: &Lanes) -> Found {
        let (Some(races), Some(p)) = (&mut self.global, &self.patterns[by.pc][1]) else { return Ok(()) };
        match agreed(p, by, at.mask) {
            None => races.touch(&mut self.block.clocks, buffer, &by.access(at, &p.pieces)),
            Some(pieces) => races.touch(&mut self.block.clocks, buffer, &by.access(at, &pieces)),
        }
    }

    /// The block that wrote last to a place of a buffer, as far as the race check knows.
    pub fn writer(&self, buffer: u32, at: u64) -> Option<u32> {
        self.global.as_ref()?.writer(buffer, at)
    }

    /// A `.sync` instruction of lanes `mask` of a warp of which `live` have not exited.
    #[inline]
    pub fn sync(&mut self, warp: u32, mask: u32, live: u32) {
        if let Some(s) = &mut self.block.shared {
            s.sync(warp, mask, live);
        }
    }

    /// Lanes of a warp, of which `live` have not exited, arrive at a barrier; with `pass`, without waiting there.
    pub fn arrive(&mut self, barrier: usize, warp: u32, (lanes, live): (u32, u32), pass: bool) {
        let (waiting, passed) = &mut self.block.waiting[barrier];
        *passed |= pass;
        if !pass {
            match waiting.iter_mut().find(|w| w.0 == warp) {
                Some(w) => w.1 |= lanes,
                None => waiting.push((warp, lanes, live)),
            }
        } else {
            // Published now: the barrier does not order what this warp does from here on.
            if let Some(s) = &mut self.block.shared {
                s.arrive(barrier as u32, warp);
            }
            self.block.clocks.publish(barrier as u32, warp);
        }
    }

    /// All threads that a barrier waits for have arrived; `all`: these threads are the whole block.
    pub fn complete(&mut self, barrier: usize, all: bool) {
        let (waiting, passed) = std::mem::take(&mut self.block.waiting[barrier]);
        if all && !passed {
            if let Some(s) = &mut self.block.shared {
                s.barrier();
            }
            self.block.clocks.barrier();
            return;
        }
        if let Some(s) = &mut self.block.shared {
            waiting.iter().for_each(|w| s.arrive(barrier as u32, w.0));
            waiting.iter().for_each(|w| s.leave(barrier as u32, w.0));
            s.forget_barrier(barrier as u32);
            // The lanes of a warp have met, too.
            waiting.iter().for_each(|&(warp, lanes, live)| s.sync(warp, lanes, live));
        }
        waiting.iter().for_each(|w| self.block.clocks.publish(barrier as u32, w.0));
        self.block.clocks.learn(barrier as u32);
        self.block.clocks.forget_barrier(barrier as u32);
    }

    /// A warp arrives at the mbarrier at an offset in shared memory: what the warp did comes before the end of the phase.
    pub fn mbarrier_arrive(&mut self, at: u32, warp: u32) {
        if let Some(s) = &mut self.block.shared {
            s.arrive(ARRIVING | at, warp);
        }
        self.block.clocks.publish(ARRIVING | at, warp);
    }

    /// A phase of an mbarrier ends.
    pub fn mbarrier_complete(&mut self, at: u32) {
        if let Some(s) = &mut self.block.shared {
            s.pass(ARRIVING | at, ENDED | at);
        }
        self.block.clocks.pass(ARRIVING | at, ENDED | at);
    }

    /// A warp has seen that a phase of an mbarrier ended.
    pub fn mbarrier_wait(&mut self, at: u32, warp: u32, live: u32) {
        if let Some(s) = &mut self.block.shared {
            s.leave(ENDED | at, warp);
            // Which lanes of the warp arrived is not kept: all count.
            s.sync(warp, live, live);
        }
        self.block.clocks.learn(ENDED | at);
    }

    /// `lanes` of a warp tell a unit to read pieces of shared memory; the first to tell it begins the fetch.
    pub fn told_to_read(&mut self, who: Teller, lanes: u32, pieces: &[(u32, u32)], begins: bool) -> Found {
        self.block.shared.as_mut().map_or(Ok(()), |s| s.told_to_read(who, lanes, pieces, begins))
    }

    /// A unit, or a warp that waited itself, has read.
    pub fn fetched(&mut self, who: Teller, by: Option<Unit>, pieces: &[(u32, u32)]) {
        if let Some(s) = &mut self.block.shared {
            s.fetched(who, by, pieces);
        }
    }

    /// The products of a warp group have read their operands: those that wait for them come after.
    pub fn products_done(&mut self, group: u32, warp: u32) {
        if let Some(s) = &mut self.block.shared {
            s.unit_arrives(PRODUCTS | group, Unit::Products(group), warp);
        }
    }

    pub fn products_wait(&mut self, group: u32, warp: u32) {
        if let Some(s) = &mut self.block.shared {
            s.leave(PRODUCTS | group, warp);
        }
    }

    /// A bulk copy to shared memory begins, to arrive at an mbarrier.
    pub fn told_to_write(&mut self, who: Teller, pieces: &[(u32, u32)], mbarrier: u32) -> Found {
        let Some(s) = &mut self.block.shared else { return Ok(()) };
        s.sees_mbarrier(who, mbarrier, true)?;
        pieces.iter().try_for_each(|&(at, bytes)| s.told_to_write(who, at, bytes))
    }

    /// It has arrived.
    pub fn written(&mut self, who: Teller, pieces: &[(u32, u32)], mbarrier: u32) {
        if let Some(s) = &mut self.block.shared {
            pieces.iter().for_each(|&(at, bytes)| s.written(who, at, bytes));
            s.unit_arrives(ARRIVING | mbarrier, Unit::Copies, who.warp);
        }
    }

    /// A thread does something with an mbarrier that was initialised.
    pub fn mbarrier_use(&mut self, who: Teller, at: u32) -> Found {
        self.block.shared.as_ref().map_or(Ok(()), |s| s.sees_mbarrier(who, at, false))
    }

    pub fn mbarrier_init(&mut self, who: Teller, at: u32) {
        if let Some(s) = &mut self.block.shared {
            s.mbarrier_init(who, at);
        }
    }

    /// `fence.proxy.async` or, with `init`, `fence.mbarrier_init`.
    pub fn proxy_fence(&mut self, warp: u32, mask: u32, init: bool) {
        if let Some(s) = &mut self.block.shared {
            s.proxy_fence(init as usize, warp, mask);
        }
    }

    /// A product of a warp group, as far as one of its warps does it.
    pub fn product(&mut self, pc: usize, macs: u64) {
        if let Some(t) = &mut self.traffic {
            t.matrix(pc as u32, macs);
            t.product(macs);
        }
    }

    /// A bulk copy fills or reads so many bytes of shared memory.
    pub fn bulk(&mut self, bytes: u64) {
        if let Some(t) = &mut self.traffic {
            t.bulk(bytes);
        }
    }

    /// Rows of operands that products read from shared memory: passes through the banks, and the fewest there can be.
    pub fn operands(&mut self, pc: usize, waves: u64, ideal: u64) {
        if let Some(t) = &mut self.traffic {
            t.operands(pc as u32, waves, ideal);
        }
    }

    /// A kernel allocates a buffer.
    pub fn allocate(&mut self, bytes: u64) {
        if let Some(g) = &mut self.global {
            g.allocate(bytes as usize);
        }
        if let Some(t) = &mut self.traffic {
            t.allocate(bytes);
        }
    }

    pub fn fence(&mut self, warp: u32, device: bool) {
        if let Some(s) = &mut self.block.shared {
            s.fence(warp);
        }
        if device {
            self.block.clocks.fence(warp);
        }
    }

    pub fn matrix(&mut self, pc: usize, macs: u64) {
        if let Some(t) = &mut self.traffic {
            t.matrix(pc as u32, macs);
        }
    }
}

fn operation(touch: Touch) -> Op {
    match touch {
        Touch::Read | Touch::StrongRead | Touch::Fetch => Op::Load,
        Touch::Atomic => Op::Atomic,
        Touch::Copy => Op::Copy,
        _ => Op::Store,
    }
}

/// The pieces of a write in which lanes that write the same value to the same place count as the first of these lanes: such lanes
/// do not race. None if no two lanes meet.
#[inline(always)]
fn agreed(p: &Pattern, by: &Touching, mask: u32) -> Option<Vec<(i32, u32)>> {
    if by.touch != Touch::Write || p.pieces.len() == mask.count_ones() as usize {
        return None;
    }
    Some(
        p.pieces
            .iter()
            .map(|&(at, lanes)| {
                let first = lanes.trailing_zeros() as usize;
                let agree = (first..32).filter(|i| lanes >> i & 1 == 1).all(|i| (by.same)(first, i));
                (at, if agree { 1 << first } else { lanes })
            })
            .collect(),
    )
}

/// The report of a race. `thread` gives the coordinates of a thread and of its block, in words.
pub(crate) fn report(c: &Conflict, at: Place, thread: impl Fn(&Access) -> String) -> Box<Raise> {
    let did = |t: Touch| match t {
        Touch::Read => "read",
        Touch::Write => "write",
        Touch::StrongRead => "strong read",
        Touch::StrongWrite => "strong write",
        Touch::Atomic => "atomic or strong write",
        Touch::Copy => "cp.async",
        Touch::Arrived => "arrival of a cp.async",
        Touch::Fetch => "fetch",
    };
    let side = |when: &str, a: &Access| format!("{when} {} by {}: @{}", did(a.touch), thread(a), a.pc);
    let sides = vec![side("earlier", &c.first), side("now a", &c.second)];
    Box::new(Raise { kind: FaultKind::Race { hazard: c.hazard(), at, sides }, lane: Some(c.second.lane) })
}
