//! A launch on its way: the blocks of a grid in the order of the schedule, the warps of a block in turn, and what is counted.

use super::counters::{Counters, Traffic};
use super::fault::{Details, Fault, FaultKind, Raise};
use super::launch::{Executed, Launch};
use super::module::Module;
use super::op::{Code, Extra, strong};
use super::schedule::Schedule;
use super::source::Space;
use super::state::{Barrier, Exec, State, Warp};
use super::watch::Watched;

/// All blocks, in the order of the schedule.
pub(super) fn run_grid(x: &mut Exec, module: &Module, kernel: &str, launch: &Launch) -> Result<u64, Fault> {
    let schedule = x.schedule;
    let [gx, gy, gz] = launch.grid.map(|n| n as u64);
    let blocks = gx * gy * gz;
    let warps = x.shape.threads().div_ceil(32);
    let mut pool: Vec<Warp> = (0..warps).map(Warp::new).collect();
    // A list of all blocks is made for a random order only: a grid may have billions.
    let shuffled = if matches!(schedule, Schedule::Random(_)) { schedule.order(blocks as usize, 0) } else { Vec::new() };
    for n in 0..blocks {
        let b = match schedule {
            Schedule::Forward => n,
            Schedule::Reverse => blocks - 1 - n,
            Schedule::Random(_) => shuffled[n as usize] as u64,
        };
        x.shape.at = [(b % gx) as u32, (b / gx % gy) as u32, (b / gx / gy) as u32];
        if let Err((raise, who)) = run_block(x, &mut pool, b) {
            let Raise { kind, lane } = *raise;
            let site = who.and_then(|w| module.site(x.program, pool[w].at.0 as usize));
            return Err(Fault::from(Details {
                kind: name_sites(kind, x, module),
                kernel: kernel.to_string(),
                block: Some(x.shape.at),
                thread: who.zip(lane).map(|(w, l)| x.shape.thread(w as u32, l)),
                lane: who.zip(lane).map(|(w, l)| (w as u32, l)),
                site,
                executed: x.executed,
            }));
        }
    }
    Ok(blocks)
}

/// Replaces op numbers in a report of several places, written `@123`, by the instructions.
fn name_sites(kind: FaultKind, x: &Exec, module: &Module) -> FaultKind {
    let name = |line: String| match line.split_once('@') {
        Some((before, pc)) => match pc.parse().ok().and_then(|pc| module.site(x.program, pc)) {
            Some(site) => format!("{before}{site}"),
            None => line,
        },
        None => line,
    };
    match kind {
        FaultKind::Deadlock { waits } => FaultKind::Deadlock { waits: waits.into_iter().map(name).collect() },
        FaultKind::Race { hazard, at, sides } => FaultKind::Race { hazard, at, sides: sides.into_iter().map(name).collect() },
        FaultKind::DivergentBarrier { waits } => FaultKind::DivergentBarrier { waits: waits.into_iter().map(name).collect() },
        k => k,
    }
}

/// Runs one block to its end. An error comes with the warp that raised it, if a warp did.
fn run_block(x: &mut Exec, pool: &mut [Warp], number: u64) -> Result<(), (Box<Raise>, Option<usize>)> {
    x.shared.reset();
    x.live = x.shape.threads();
    x.barriers = [Barrier { all: true, ..Barrier::default() }; 16];
    for w in pool.iter_mut() {
        w.reset(&x.program.functions[0], &x.shape, x.initcheck);
    }
    if let Some(watch) = &mut x.watch {
        watch.begin(number as u32);
    }
    if let Some(o) = &mut x.observer {
        o.block(x.shape.at, pool.len() as u32, x.shared.data.len() as u32);
    }
    let mut turn = 0;
    while x.live > 0 {
        turn += 1;
        let mut progress = false;
        for i in x.schedule.order(pool.len(), number << 32 | turn) {
            let w = &mut pool[i];
            let can_run = w.groups.iter().any(|g| match g.state {
                State::Ready => true,
                State::Parked => false,
                State::Barrier { id, phase } => x.barriers[id as usize].phase != phase,
            });
            if can_run {
                progress = true;
                x.warp(w).map_err(|e| (e, Some(i)))?;
            }
        }
        if !progress {
            return Err((Box::new(stuck(x, pool)), None));
        }
    }
    if let Some(o) = &mut x.observer {
        o.block_end().map_err(|(kind, lane)| (Box::new(Raise { kind, lane: Some(lane) }), None))?;
    }
    Ok(())
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
                _ if op.code == Code::Bar => {
                    divergent = true;
                    format!("{who} before a barrier, without the other lanes of {:#010x}", w.live)
                }
                _ => format!("{who} for other lanes of its mask"),
            };
            waits.push(format!("{what}: @{}", g.pc));
        }
    }
    let more = waits.len().saturating_sub(12);
    waits.truncate(12);
    if more > 0 {
        waits.push(format!("and {more} more"));
    }
    let kind = if divergent { FaultKind::DivergentBarrier { waits } } else { FaultKind::Deadlock { waits } };
    Raise { kind, lane: None }
}

/// What the race check and the counters have to know beforehand.
pub(super) fn watched(x: &Exec, launch: &Launch) -> Watched {
    let p = x.program;
    // Accesses are aligned to their size, so the narrowest one divides all. In shared memory the granule may be as wide as 16
    // bytes: shared memory sees most of the accesses, and a wide granule makes the race check cheap.
    let mut narrowest = (16, 4);
    for op in &p.ops {
        let whole = || p.mems[op.c as usize].bytes as u32 * p.mems[op.c as usize].count as u32;
        let (bytes, space) = match op.code {
            Code::LdShared | Code::StShared => (whole(), Some(Space::Shared)),
            Code::LdGlobal | Code::StGlobal => (whole(), Some(Space::Global)),
            Code::LdGeneric | Code::StGeneric => (whole(), None),
            Code::LdStrong | Code::StStrong => (whole(), strong::space(op.x)),
            Code::CpAsync => (op.x as u32, Some(Space::Shared)),
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
        blocks: launch.grid.iter().map(|&n| n as u64).product(),
        shared: x.shared.data.len(),
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
