//! A launch on its way: blocks as they are supplied, the warps of a block in turn, and what is counted.

use std::sync::atomic::Ordering;

use super::counters::{Counters, Traffic};
use super::fault::{Fault, FaultKind, Raise};
use super::findings::{self, Where};
use super::launch::{Executed, Launch};
use super::module::Module;
use super::op::{Code, Extra, What, strong};
use super::resident::Resident;
use super::schedule::Schedule;
use super::source::Space;
use super::state::{Exec, State, Warp};
use super::watch::Watched;

/// Turns that a block which polls may have in a row, before another block gets one.
const TURNS: u32 = 16;
/// Instructions after which the turn of a block that does not poll is looked at: one that loops for ever shows then.
const TURN: u64 = 1 << 20;

/// An error, and the warp that raised it if one did.
type Failed = (Box<Raise>, Option<usize>);

/// The blocks of a launch in the order of its schedule.
pub(super) struct Order {
    pub blocks: u64,
    schedule: Schedule,
    /// A list of all is made for a random order only: a grid may have billions.
    shuffled: Vec<usize>,
}

impl Order {
    pub fn new(schedule: Schedule, grid: [u32; 3]) -> Order {
        let blocks: u64 = grid.iter().map(|&n| n as u64).product();
        let shuffled = if matches!(schedule, Schedule::Random(_)) { schedule.order(blocks as usize, 0) } else { Vec::new() };
        Order { blocks, schedule, shuffled }
    }

    /// The linear index in the grid of the block that comes in this place.
    pub fn number(&self, place: u64) -> u64 {
        match self.schedule {
            Schedule::Forward => place,
            Schedule::Reverse => self.blocks - 1 - place,
            Schedule::Random(_) => self.shuffled[place as usize] as u64,
        }
    }
}

/// Where the blocks that [`run_blocks`] runs come from.
pub(super) trait Supply {
    /// The next block, by its place in the order; `idle`: none is on the machine.
    fn next(&mut self, x: &Exec, idle: bool) -> Option<u64>;
    /// A block waits for another.
    fn waits(&mut self) {}
    /// Blocks that are not yet begun.
    fn left(&self) -> u64;
}

/// What runs where: the module and the kernel, for reports, and the order.
#[derive(Clone, Copy)]
pub(super) struct Run<'a> {
    pub module: &'a Module,
    pub kernel: &'a str,
    pub launch: &'a Launch,
    pub order: &'a Order,
}

/// Blocks as they are supplied; each to its end, unless it waits for another.
pub(super) fn run_blocks(x: &mut Exec, run: Run, supply: &mut dyn Supply) -> Result<(), Fault> {
    let Run { module, kernel, launch, order } = run;
    let most = room(x, launch);
    // Blocks that have begun and are not over; what is left of those that are, for the next ones.
    let (mut resident, mut spare): (Vec<Resident>, Vec<Resident>) = (Vec::new(), Vec::new());
    // The block whose turn it is: an index into `resident`.
    let mut at = 0;
    loop {
        let n = resident.len();
        let after = |wakes: &dyn Fn(&Resident) -> bool| (0..n).map(|k| (at + k) % n).find(|&i| wakes(&resident[i]));
        let woken = |b: &Resident| b.poll.map(|p| p.value(x.global)) != b.polled;
        at = if let Some(i) = after(&|b| !b.asleep) {
            i
        } else if (n as u64) < most
            && let Some(place) = supply.next(x, n == 0)
        {
            // New blocks come before those that sleep: most often what many wait for has happened when all have begun.
            let mut b = spare.pop().unwrap_or_else(|| another(x));
            b.begin(order.number(place), x);
            resident.push(b);
            n
        } else if let Some(i) = after(&woken).or_else(|| after(&|b| b.epoch != x.epoch)) {
            i
        } else if n == 0 {
            return Ok(());
        } else {
            let kind = asleep(x, &resident, supply.left());
            return Err(fault(x, module, kernel, &resident[0], (Box::new(Raise { kind, lane: None }), None)));
        };
        let b = &mut resident[at];
        match turns(x, b) {
            Ok(true) => spare.push(resident.swap_remove(at)),
            Ok(false) => {
                supply.waits();
                at += 1;
            }
            Err(e) => return Err(fault(x, module, kernel, &resident[at], e)),
        }
        // One block after the other takes its turn; with one left out, the next has its place.
        at = if at < resident.len() { at } else { 0 };
    }
}

/// How many blocks are on the machine at once, at most: as on an H100, by threads and shared memory of a block.
fn room(x: &Exec, launch: &Launch) -> u64 {
    if let Some(n) = x.resident {
        return n.max(1) as u64;
    }
    let threads = launch.block.iter().product::<u32>().next_multiple_of(32);
    let each = (2048 / threads).min(32).min((228 << 10) / (x.shape.shared + 1024)).max(1);
    132 * each as u64
}

fn another(x: &Exec) -> Resident {
    let warps = x.shape.threads().div_ceil(32);
    Resident::new(warps, x.shape.shared as usize, x.watch.as_ref().map(|w| w.another()))
}

/// Turns of a block until it is over (true), sleeps, or has polled in as many as it may have in a row.
fn turns(x: &mut Exec, b: &mut Resident) -> Result<bool, Failed> {
    if b.rounds > 0
        && let Some(o) = &mut x.observer
    {
        o.turn(b.at);
    }
    let mut left = TURNS;
    while left > 0 {
        if x.stop.is_some_and(|s| s.load(Ordering::Relaxed)) {
            let why = "stopped".into();
            return Err((Box::new(Raise { kind: FaultKind::Launch { why }, lane: None }), None));
        }
        b.exchange(x);
        x.polled = false;
        // While the block waits nothing is drawn: what was drawn would hide that its state comes back.
        let waited = b.waited(x.epoch);
        let preempt = if waited { x.preempt.take() } else { None };
        let over = turn(x, b, if waited { Schedule::Forward } else { x.schedule });
        x.preempt = preempt.or(x.preempt.take());
        b.exchange(x);
        if over? {
            return Ok(true);
        }
        b.turn_over(x);
        if b.asleep {
            return Ok(false);
        }
        left -= x.polled as u32;
    }
    Ok(false)
}

/// Who waits for what, where no block can go on.
fn asleep(x: &Exec, resident: &[Resident], left: u64) -> FaultKind {
    let mut waits = Vec::new();
    for b in resident {
        let [i, j, k] = b.at;
        let Some(p) = b.poll else {
            let pc = b.warps.iter().flat_map(|w| &w.groups).map(|g| g.pc).next().unwrap_or(0);
            waits.push(format!("block ({i},{j},{k}) repeats itself, and changes nothing: @{pc}"));
            continue;
        };
        let buffer = &x.global.buffers[p.buffer as usize];
        let [tx, ty, tz] = x.shape.thread(p.warp, p.lane);
        let value = p.value(x.global);
        let last = match x.watch.as_ref().and_then(|w| w.writer(p.buffer, p.at)) {
            Some(w) if w as u64 == b.number => "its own block was the last to write".to_string(),
            Some(w) => {
                let [gx, gy, _] = x.shape.grid;
                format!("block ({},{},{}) was the last to write", w % gx, w / gx % gy, w / gx / gy)
            }
            None => "which no block has written".to_string(),
        };
        waits.push(format!(
            "block ({i},{j},{k}), thread ({tx},{ty},{tz}) reads {value:#x} again and again from {}, {last}: @{}",
            x.global.about(buffer.lo + p.at),
            p.pc
        ));
    }
    shorten(&mut waits);
    if left > 0 {
        waits.push(format!("{left} more blocks have not begun: the machine holds {} of these at once", resident.len()));
    }
    FaultKind::BlockDeadlock { waits }
}

fn shorten(waits: &mut Vec<String>) {
    let more = waits.len().saturating_sub(12);
    waits.truncate(12);
    if more > 0 {
        waits.push(format!("and {more} more"));
    }
}

/// What was raised in a block, with all that tells where.
fn fault(x: &Exec, module: &Module, kernel: &str, b: &Resident, (raise, who): Failed) -> Fault {
    let Raise { kind, lane } = *raise;
    let pc = who.map_or(0, |w| b.warps[w].at.0 as usize);
    let at = Where { block: b.at, warp: who.map(|w| w as u32), pc, executed: x.executed };
    let thread = who.zip(lane).map(|(w, l)| x.shape.thread(w as u32, l));
    findings::fault(module, x.program, kernel, kind, lane, at, thread)
}

/// Rounds of the block's warps until it is over (true), until one of them has polled, or until the turn is long.
fn turn(x: &mut Exec, b: &mut Resident, schedule: Schedule) -> Result<bool, Failed> {
    let start = x.executed;
    while x.live > 0 {
        b.rounds += 1;
        let mut progress = false;
        for i in schedule.order(b.warps.len(), b.number << 32 | b.rounds) {
            let w = &mut b.warps[i];
            let can_run = w.groups.iter().any(|g| match g.state {
                State::Ready => true,
                State::Parked => false,
                State::Barrier { id, phase } => x.barriers[id as usize].phase != phase,
                State::Phase { at, parity } => x.phase_over(at, parity),
                State::Products { group, until } => x.told_by_all(group) >= until,
                State::Cluster { phase } => x.units.cluster.phase != phase,
            });
            if can_run {
                progress = true;
                x.warp(w).map_err(|e| (e, Some(i)))?;
            }
        }
        if !progress {
            return Err((Box::new(stuck(x, &b.warps)), None));
        }
        if x.live > 0 && (x.polled || x.executed - start > TURN) {
            return Ok(false);
        }
    }
    x.finish_units().map_err(|e| (e, None))?;
    if let Some(o) = &mut x.observer {
        o.block_end().map_err(|(kind, lane)| (Box::new(Raise { kind, lane: Some(lane) }), None))?;
    }
    Ok(true)
}

/// Why no warp can go on.
fn stuck(x: &Exec, pool: &[Warp]) -> Raise {
    let mut waits = Vec::new();
    let mut divergent = false;
    for w in pool {
        for g in &w.groups {
            let who = format!("warp {} lanes {:#010x}", w.index, g.mask);
            let op = &x.program.ops[g.pc as usize];
            let what = match g.state {
                State::Barrier { id, .. } => {
                    let b = &x.barriers[id as usize];
                    let target = if b.count > 0 { b.count } else { x.live };
                    format!("{who} at barrier {id} ({} of {target} threads have come)", b.arrived)
                }
                State::Phase { at, .. } => {
                    format!("{who} for the mbarrier at {}{}", x.about_shared(at as u64), x.about_mbarrier(at))
                }
                State::Cluster { .. } => {
                    format!("{who} at the barrier of the cluster ({} of {} threads have come)", x.units.cluster.count, x.live)
                }
                State::Products { group, until } => {
                    let missing = until - x.told_by_all(group);
                    format!("{who} for the other warps of its warp group, which have not come to {missing} of its products")
                }
                _ if op.code == Code::Bar => {
                    divergent = true;
                    format!("{who} before a barrier, without the other lanes of {:#010x}", w.live)
                }
                _ => format!("{who} for other lanes of its mask"),
            };
            waits.push(format!("{what}: @{}", g.pc));
        }
    }
    shorten(&mut waits);
    let kind = if divergent { FaultKind::DivergentBarrier { waits } } else { FaultKind::Deadlock { waits } };
    Raise { kind, lane: None }
}

/// What the race check and the counters have to know beforehand.
pub(super) fn watched(x: &Exec, launch: &Launch) -> Watched {
    let p = x.program;
    // Accesses are aligned to their size, so the narrowest one divides all. In shared memory the granule may be as wide as 16
    // bytes: shared memory sees most of the accesses, and a wide granule makes the race check cheap.
    let (mut narrowest, mut units) = ((16, 4), false);
    for op in &p.ops {
        let whole = || p.mems[op.c as usize].bytes as u32 * p.mems[op.c as usize].count as u32;
        let (bytes, space) = match op.code {
            Code::LdShared | Code::StShared => (whole(), Some(Space::Shared)),
            Code::LdGlobal | Code::StGlobal => (whole(), Some(Space::Global)),
            Code::LdGeneric | Code::StGeneric => (whole(), None),
            Code::LdStrong | Code::StStrong => (whole(), strong::space(op.x)),
            Code::CpAsync => (op.x as u32, Some(Space::Shared)),
            Code::Rare => match &p.extras[op.x as usize] {
                Extra::Rare(x) if matches!(x.what, What::Wgmma(_) | What::Bulk(_) | What::ProxyFence { .. }) => {
                    units = true;
                    continue;
                }
                _ => (8, Some(Space::Shared)),
            },
            Code::Atom => match &p.extras[op.x as usize] {
                Extra::Atom(a) => (a.ty.bytes(), a.space),
                _ => continue,
            },
            _ => continue,
        };
        if space != Some(Space::Global) {
            narrowest.0 = narrowest.0.min(bytes);
        }
        if space != Some(Space::Shared) {
            narrowest.1 = narrowest.1.min(bytes);
        }
    }
    let buffers = x.global.buffers.iter().enumerate().map(|(i, b)| {
        let mut spans = x.global.spans.iter().filter(|s| s.buffer == i).peekable();
        // A buffer that the launch does not name needs no shadow memory: its size counts as 0.
        (if spans.peek().is_some() { b.len } else { 0 }, spans.any(|s| s.write))
    });
    Watched {
        ops: p.ops.len(),
        warps: x.shape.threads().div_ceil(32) as usize,
        all_fences: x.all_fences,
        units: if units { x.shape.threads().div_ceil(128) as usize + 1 } else { 0 },
        blocks: launch.grid.iter().map(|&n| n as u64).product(),
        shared: x.shape.shared as usize,
        buffers: buffers.collect(),
        narrowest,
    }
}

/// The traffic, with the instructions that were executed.
pub(super) fn counters(t: Traffic, x: &Exec, module: &Module, profile: &[Executed], blocks: u64) -> Counters {
    let p = x.program;
    let place = |source: Option<(u32, u32)>, line: u32| source.unwrap_or((0, line));
    let mut c = t.finish(|pc| {
        let site = p.sites[pc as usize];
        let f = &module.source.functions[p.functions[site.function as usize].source as usize];
        let Some(i) = f.body.get(site.instr as usize) else { return (0, 0) };
        place(i.loc.map(|l| (module.source.locs[l as usize].file, module.source.locs[l as usize].line)), i.line)
    });
    c.blocks = blocks;
    for e in profile {
        c.executed(&e.opcode, place(e.source, e.line), e.warps, e.lanes);
    }
    c
}

/// Executions by PTX instruction.
pub(super) fn profile(x: &Exec, module: &Module) -> Vec<Executed> {
    let p = x.program;
    let mut rows = Vec::new();
    for (pc, &[warps, lanes]) in x.tally.iter().enumerate() {
        let site = p.sites[pc];
        if warps == 0 || !site.first {
            continue;
        }
        let f = &module.source.functions[p.functions[site.function as usize].source as usize];
        let Some(i) = f.body.get(site.instr as usize) else { continue };
        let source = i.loc.map(|l| (module.source.locs[l as usize].file, module.source.locs[l as usize].line));
        rows.push(Executed { opcode: i.opcode.clone(), line: i.line, source, warps, lanes });
    }
    rows
}
