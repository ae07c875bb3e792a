//! One launch on several threads of the host, with the same bits and the same report as on one.
//!
//! The launch itself goes on as ever, from the front of the order of blocks. Other threads run blocks from the back, each on a
//! copy of the memory. When the two meet, a word that one side wrote and another touched, a fault, or anything else that is not
//! as usual in what the other threads did means that their work is thrown away, and the launch goes on with the block that is
//! next. Otherwise the blocks did not depend on each other, and what the others wrote is taken over. So the threads can be wrong
//! about nothing; they can only have worked in vain, and kernels whose blocks talk to each other (atomics, strong accesses,
//! printing) are not given to them.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::fault::Fault;
use super::footprint::Footprint;
use super::grid::{Run, Supply, run_blocks, watched};
use super::launch::Config;
use super::mem::Global;
use super::op::{Code, Extra, strong};
use super::program::Program;
use super::source::Space;
use super::state::Exec;
use super::watch::Watch;

/// How long a launch runs before it asks other threads: as long as it takes to find out how long the rest will take. A matter of
/// time, not of instructions, of which some take a hundred times as long as others; nothing but [`Exec::helped`] depends on it.
const ALONE: Duration = Duration::from_millis(2);
/// The rest of a launch must take this long, for each thread.
const WORTH: Duration = Duration::from_millis(4);
/// The time in which a byte is copied, and looked through.
const BYTE: Duration = Duration::from_nanos(2);

/// Runs all blocks of a launch.
pub(super) fn run_grid(x: &mut Exec, run: Run, config: &Config) -> Result<(), Fault> {
    let blocks = run.order.blocks;
    let cores = || std::thread::available_parallelism().map_or(1, |n| n.get());
    let threads = if config.threads == 0 { cores() } else { config.threads };
    // An observer must see one block after the other.
    let many = threads > 1 && blocks >= 4 && x.observer.is_none() && alone(x.program);
    let start = Instant::now();
    let mut first = Front { begun: 0, blocks, pause: many.then_some(start) };
    run_blocks(x, run, &mut first)?;
    if first.begun == blocks {
        return Ok(());
    }
    let each = start.elapsed().as_nanos() as u64 / first.begun.max(1);
    let begun = side_by_side(x, run, config, (first.begun, each), threads as u64)?;
    run_blocks(x, run, &mut Front { begun, blocks, pause: None })
}

/// Whether no block can see what another does, but by a race.
fn alone(p: &Program) -> bool {
    p.ops.iter().all(|op| match op.code {
        Code::Atom => matches!(&p.extras[op.x as usize], Extra::Atom(a) if a.space == Some(Space::Shared)),
        Code::LdStrong | Code::StStrong => strong::space(op.x) == Some(Space::Shared),
        Code::Rare => match &p.extras[op.x as usize] {
            Extra::Rare(x) => x.what.of_its_block(),
            _ => false,
        },
        // It counts what was executed before.
        Code::Clock => false,
        _ => true,
    })
}

/// The blocks from the front, to the last; with `pause` until the launch, which began then, has run for a while.
struct Front {
    begun: u64,
    blocks: u64,
    pause: Option<Instant>,
}

impl Supply for Front {
    fn next(&mut self, _: &Exec, idle: bool) -> Option<u64> {
        let long = || self.begun > 0 && self.pause.is_some_and(|start| start.elapsed() > ALONE);
        if self.begun == self.blocks || idle && long() {
            return None;
        }
        self.begun += 1;
        Some(self.begun - 1)
    }
    fn left(&self) -> u64 {
        self.blocks - self.begun
    }
}

/// Blocks that nobody has taken: places from `front` to `back`.
struct Middle {
    range: Mutex<(u64, u64)>,
    blocks: u64,
    threads: u64,
    /// An equal share of the blocks for each thread.
    share: u64,
    /// The other threads' work is of no use.
    vain: AtomicBool,
}

impl Middle {
    fn range(&self) -> std::sync::MutexGuard<'_, (u64, u64)> {
        self.range.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// The last places, so many if there are.
    fn take_back(&self, take: u64) -> (u64, u64) {
        let mut r = self.range();
        let end = r.1;
        r.1 -= take.min(r.1 - r.0);
        (r.1, end)
    }
}

/// For the launch itself.
struct FromFront<'a>(&'a Middle);

impl Supply for FromFront<'_> {
    fn next(&mut self, _: &Exec, _: bool) -> Option<u64> {
        let mut r = self.0.range();
        let end = if self.0.vain.load(Ordering::Relaxed) { self.0.blocks } else { r.1 };
        (r.0 < end).then(|| {
            r.0 += 1;
            r.0 - 1
        })
    }
    fn waits(&mut self) {
        self.0.vain.store(true, Ordering::Relaxed);
    }
    fn left(&self) -> u64 {
        self.0.blocks - self.0.range().0
    }
}

/// For another thread: pieces from the back, each from its first place to its last.
struct FromBack<'a> {
    middle: &'a Middle,
    piece: (u64, u64),
    /// Without the race check nothing would tell that a piece needs what comes before it and was run later: one piece only.
    once: bool,
}

impl<'a> FromBack<'a> {
    /// With a first piece.
    fn new(middle: &'a Middle, once: bool) -> FromBack<'a> {
        let take = if once { middle.share } else { middle.share.div_ceil(4) };
        FromBack { middle, piece: middle.take_back(take), once }
    }
}

impl Supply for FromBack<'_> {
    fn next(&mut self, _: &Exec, _: bool) -> Option<u64> {
        if self.piece.0 == self.piece.1 && !self.once {
            let r = *self.middle.range();
            self.piece = self.middle.take_back((r.1 - r.0).div_ceil(4 * self.middle.threads));
        }
        let next = self.piece.0;
        (next < self.piece.1 && !self.middle.vain.load(Ordering::Relaxed)).then(|| {
            self.piece.0 += 1;
            next
        })
    }
    fn waits(&mut self) {
        self.middle.vain.store(true, Ordering::Relaxed);
    }
    fn left(&self) -> u64 {
        0
    }
}

/// What another thread did.
struct Done {
    global: Global,
    watch: Box<Watch>,
    print: Footprint,
    tally: Vec<[u64; 2]>,
    executed: u64,
}

/// Runs the blocks from place `begun` on with other threads, if that is worth it, where a block takes `each` nanoseconds. Gives the
/// place that comes next: the number of blocks if all are over.
fn side_by_side(x: &mut Exec, run: Run, config: &Config, (begun, each): (u64, u64), threads: u64) -> Result<u64, Fault> {
    let blocks = run.order.blocks;
    let rest = each.saturating_mul(blocks - begun);
    let named = |i: usize, write: bool| x.global.spans.iter().any(|s| s.buffer == i && (s.write || !write));
    let sizes = |write| -> Vec<u64> {
        x.global.buffers.iter().enumerate().map(|(i, b)| if named(i, write) { b.len } else { 0 }).collect()
    };
    let (bytes, sizes) = (sizes(false).iter().sum::<u64>(), sizes(true));
    let least = WORTH.as_nanos() as u64 + bytes.saturating_mul(BYTE.as_nanos() as u64);
    let others = threads.min(rest / least).min(blocks - begun).saturating_sub(1);
    if others == 0 {
        return Ok(begun);
    }
    // Without the race check and the counters nothing watches the launch.
    let unwatched = x.watch.is_none();
    if unwatched {
        x.watch = Some(Box::new(Watch::new(watched(x, run.launch), false, false)));
    }
    let once = !x.watch.as_ref().is_some_and(|w| w.finds_races());
    let share = (blocks - begun) / (others + 1);
    let (range, vain) = (Mutex::new((begun, blocks)), AtomicBool::new(false));
    let middle = Middle { range, blocks, threads: others + 1, share, vain };
    let fork = |_| (x.global.fork(), x.watch.as_ref().map(|w| Box::new(w.fork())), FromBack::new(&middle, once));
    let copies: Vec<_> = (0..others).map(fork).collect();
    let (program, shape, level, budget) = (x.program, x.shape.clone(), x.level, x.budget - x.executed);
    let other = |mut global: Global, watch: Option<Box<Watch>>, mut pieces: FromBack| {
        let mut y = Exec::new(config, level, &mut global, program, shape.clone());
        (y.watch, y.budget, y.stop) = (watch, budget, Some(&middle.vain));
        if let Some(w) = &mut y.watch {
            w.keep_footprint(&sizes);
        }
        let result = run_blocks(&mut y, run, &mut pieces);
        let (watch, tally, executed) = (y.watch, y.tally, y.executed);
        if result.is_err() {
            middle.vain.store(true, Ordering::Relaxed);
        }
        let mut watch = watch.filter(|_| result.is_ok())?;
        let print = watch.footprint();
        Some(Done { global, watch, print, tally, executed })
    };
    if let Some(w) = &mut x.watch {
        w.keep_footprint(&sizes);
    }
    let (result, print, done) = std::thread::scope(|scope| {
        let started: Vec<_> = copies.into_iter().map(|(g, w, p)| scope.spawn(|| other(g, w, p))).collect();
        let result = run_blocks(x, run, &mut FromFront(&middle));
        if result.is_err() {
            middle.vain.store(true, Ordering::Relaxed);
        }
        // What the launch itself touched is looked up while the others finish.
        let print = x.watch.as_mut().map(|w| w.footprint());
        // A panic in another thread is one in the launch.
        let join = |t: std::thread::ScopedJoinHandle<_>| t.join().unwrap_or_else(|e| std::panic::resume_unwind(e));
        (result, print, started.into_iter().map(join).collect::<Option<Vec<Done>>>())
    });
    result?;
    let front = middle.range().0;
    let over = !middle.vain.load(Ordering::Relaxed) && print.zip(done).is_some_and(|(print, done)| take_over(x, print, done));
    if unwatched {
        x.watch = None;
    } else if let Some(w) = &mut x.watch {
        w.footprint = None;
    }
    x.helped = if over { blocks - front } else { 0 };
    Ok(if over { blocks } else { front })
}

/// Takes over what other threads did, unless something depends on something else: then nothing.
fn take_over(x: &mut Exec, print: Footprint, done: Vec<Done>) -> bool {
    let executed = x.executed + done.iter().map(|d| d.executed).sum::<u64>();
    let prints: Vec<&Footprint> = [&print].into_iter().chain(done.iter().map(|d| &d.print)).collect();
    let meet = |i: usize| prints[..i].iter().any(|p| p.meets(prints[i]));
    if executed > x.budget || (1..prints.len()).any(meet) {
        return false;
    }
    x.executed = executed;
    for d in &done {
        d.print.runs(|buffer, at, len| {
            let to = &mut x.global.buffers[buffer].bytes;
            // The last word of a buffer may be cut short.
            to.take(&d.global.buffers[buffer].bytes, at, len.min(to.data.len() - at));
        });
        for (a, b) in x.tally.iter_mut().zip(&d.tally) {
            *a = [a[0] + b[0], a[1] + b[1]];
        }
        let own = x.watch.as_mut().and_then(|w| w.traffic.as_mut());
        if let (Some(to), Some(from)) = (own, &d.watch.traffic) {
            to.merge(from);
        }
    }
    true
}
