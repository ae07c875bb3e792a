//! A block that has begun and is not over: its warps and, while it does not run, what [`Exec`] holds of the running one.
//!
//! Blocks run one after the other, each to its end, unless one waits for another: for a flag, a lock or a grid barrier. Such a
//! block shows itself in two ways. Its warps *poll*: they read global memory with strong accesses, or by atomics that change
//! nothing; a warp that has polled for a while ends its run, and the block its turn. And its state *comes back*: registers,
//! shared and local memory and the place of every lane are what they were at the end of an earlier turn. As nothing else decides
//! what the block does next, the block will do the same for ever, until another changes global memory; so the block sleeps until
//! one has.

use super::mem::Bytes;
use super::program::RESERVED;
use super::schedule::{Preempt, Schedule};
use super::state::{Barrier, Exec, Landing, Poll, State, Warp};
use super::units::Units;
use super::watch::BlockWatch;

/// Ends of turns that are remembered: the longest cycle of turns that is recognised.
const REMEMBERED: usize = 64;

pub(crate) struct Resident {
    /// Linear index in the grid.
    pub number: u64,
    pub at: [u32; 3],
    pub warps: Vec<Warp>,
    pub shared: Bytes,
    pub barriers: [Barrier; 16],
    /// Threads that have not exited.
    pub live: u32,
    pub landings: Vec<Landing>,
    pub units: Units,
    pub watch: Option<BlockWatch>,
    /// Where a random schedule stops warps: drawn for each block, so that it is the same whatever ran before.
    preempt: Option<Preempt>,
    /// Rounds of the warps so far, a key for the order of the next.
    pub rounds: u64,
    /// What the block polled last.
    pub poll: Option<Poll>,
    /// What was there when its last turn ended.
    pub polled: Option<u64>,
    /// The states at the ends of its turns since global memory was last changed, which was change number `epoch`.
    states: Vec<u64>,
    pub epoch: u64,
    pub asleep: bool,
}

impl Resident {
    pub fn new(warps: u32, shared: usize, watch: Option<BlockWatch>) -> Resident {
        Resident {
            number: 0,
            at: [0; 3],
            warps: (0..warps).map(Warp::new).collect(),
            shared: Bytes::unknown(shared),
            barriers: [Barrier::default(); 16],
            live: 0,
            landings: Vec::new(),
            units: Units::default(),
            watch,
            preempt: None,
            rounds: 0,
            poll: None,
            polled: None,
            states: Vec::new(),
            epoch: 0,
            asleep: false,
        }
    }

    /// Makes this the block of that number, about to begin.
    pub fn begin(&mut self, number: u64, x: &mut Exec) {
        let [gx, gy, _] = x.shape.grid.map(u64::from);
        self.number = number;
        self.at = [(number % gx) as u32, (number / gx % gy) as u32, (number / gx / gy) as u32];
        self.shared.reset();
        if let Some((_, at, size)) = x.program.shared_vars.iter().find(|v| v.0 == RESERVED) {
            self.shared.mark(*at as usize, *size as usize);
        }
        self.live = x.shape.threads();
        self.landings.clear();
        self.units = Units::default();
        self.barriers = [Barrier { all: true, ..Barrier::default() }; 16];
        x.shape.at = self.at;
        for w in &mut self.warps {
            w.reset(&x.program.functions[0], &x.shape, x.initcheck);
        }
        if let Some(watch) = &mut self.watch {
            watch.begin(number as u32);
        }
        self.preempt = if let Schedule::Random(seed) = x.schedule { Some(Preempt::new(seed, number)) } else { None };
        (self.rounds, self.poll, self.epoch, self.asleep) = (0, None, x.epoch, false);
        self.states.clear();
        if let Some(o) = &mut x.observer {
            o.block(self.at, self.warps.len() as u32, self.shared.data.len() as u32);
        }
    }

    /// Exchanges the block's state with what is in its place in [`Exec`]: before a turn, and after it.
    pub fn exchange(&mut self, x: &mut Exec) {
        x.shape.at = self.at;
        std::mem::swap(&mut x.shared, &mut self.shared);
        std::mem::swap(&mut x.barriers, &mut self.barriers);
        std::mem::swap(&mut x.live, &mut self.live);
        std::mem::swap(&mut x.landings, &mut self.landings);
        std::mem::swap(&mut x.units, &mut self.units);
        std::mem::swap(&mut x.poll, &mut self.poll);
        std::mem::swap(&mut x.preempt, &mut self.preempt);
        if let (Some(watch), Some(own)) = (&mut x.watch, &mut self.watch) {
            std::mem::swap(&mut watch.block, own);
        }
    }

    /// Whether the last turn left global memory as it was: then the next one is run without pre-emption, which would hide that a
    /// state comes back.
    pub fn waited(&self, epoch: u64) -> bool {
        self.epoch == epoch && !self.states.is_empty()
    }

    /// A turn of the block, which is not over, has ended. The block sleeps if its state was there before.
    pub fn turn_over(&mut self, x: &Exec) {
        if self.epoch != x.epoch {
            self.epoch = x.epoch;
            self.states.clear();
        }
        let state = self.state();
        self.asleep = self.states.contains(&state);
        if self.states.len() == REMEMBERED {
            self.states.remove(0);
        }
        self.states.push(state);
        self.polled = self.poll.map(|p| p.value(x.global));
    }

    /// A number for all that decides what the block does next.
    fn state(&self) -> u64 {
        let mut h = Hash(0);
        h.bytes(&self.shared.data);
        for b in &self.barriers {
            let (popc, all, any) = b.result;
            h.add([b.arrived, b.count, b.popc, popc].map(u64::from));
            h.add([b.all, b.any, all, any].map(u64::from));
        }
        h.add([self.landings.len() as u64]);
        self.units.state().iter().for_each(|&s| h.add([s]));
        for w in &self.warps {
            h.add([w.live as u64, w.copies.len() as u64]);
            h.add(w.commits.map(u64::from));
            h.bytes(&w.local.data);
            for c in &w.copies {
                h.add([c.pc as u64, c.lanes as u64]);
                h.add(c.to);
                h.add(c.source.map(|(b, at)| (b as u64) << 40 | at as u64));
            }
            for g in &w.groups {
                h.add([g.frame, g.pc, g.mask].map(u64::from));
                h.add([match g.state {
                    State::Ready => 0,
                    State::Parked => 1,
                    // Phases count on for ever: what matters is whether this one is over.
                    State::Barrier { id, phase } => 2 + 2 * id as u64 + (self.barriers[id as usize].phase != phase) as u64,
                    State::Phase { at, parity } => 64 + 2 * at as u64 + parity as u64,
                    State::Cluster { phase } => 1 << 41 | (self.units.cluster.phase != phase) as u64,
                    State::Products { group, until } => 1 << 40 | (group as u64) << 32 | until & 0xffff_ffff,
                }]);
            }
            for f in w.frames.iter().filter(|f| f.mask != 0) {
                h.add([f.function, f.mask, f.parent, f.depth, f.ret].map(u64::from));
                h.bytes(&f.params.data);
                f.regs.w.iter().for_each(|r| h.bytes(bytemuck::cast_slice(&r.0)));
                f.regs.l.iter().for_each(|r| h.bytes(bytemuck::cast_slice(&r.0)));
                f.regs.p.iter().for_each(|&p| h.add([p as u64]));
            }
        }
        h.0
    }
}

/// A hash of 64 bits, eight bytes at a time.
struct Hash(u64);

impl Hash {
    #[inline(always)]
    fn add<const N: usize>(&mut self, words: [u64; N]) {
        for w in words {
            self.0 = (self.0.rotate_left(23) ^ w).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        }
    }

    fn bytes(&mut self, b: &[u8]) {
        let (words, rest) = b.as_chunks::<8>();
        words.iter().for_each(|w| self.add([u64::from_le_bytes(*w)]));
        let mut last = [0; 8];
        last[..rest.len()].copy_from_slice(rest);
        self.add([u64::from_le_bytes(last), b.len() as u64]);
    }
}
