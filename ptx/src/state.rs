//! The state of a running block: registers, frames, warps, barriers, and [`Exec`], which holds all that its warps share.

use std::collections::VecDeque;
use std::sync::atomic::AtomicBool;

use super::fault::{Raise, Raised};
use super::findings::{Findings, Where};
use super::lanes::{BITS, L, W, lanes_of};
use super::launch::{Config, Copies, Fences, Truncation};
use super::mem::{Bytes, Global, POISON};
use super::num::approx::Approx;
use super::num::mma::Tensor;
use super::observe::Observer;
use super::op::{Bank, Op};
use super::program::{Func, Preset, Program, Special};
use super::schedule::{Preempt, Schedule};
use super::simd::Level;
use super::units::Units;
use super::watch::Watch;

/// Registers of a frame. A register is tainted in the lanes that hold an uninitialised value, be it in one bit.
#[derive(Default)]
pub(crate) struct Regs {
    pub w: Vec<W>,
    pub l: Vec<L>,
    /// Predicates: a bit for each lane. Number 0 is all ones.
    pub p: Vec<u32>,
    /// For each register of `w`: a mask of its tainted lanes.
    pub tw: Vec<u32>,
    /// For each register of `l`: a mask of its tainted lanes.
    pub tl: Vec<u32>,
    /// For each predicate: a mask of its tainted lanes.
    pub tp: Vec<u32>,
    /// For each register of `w`, which bits hold no value in the lanes that `tw` says are tainted; empty while all of them.
    bits_w: Vec<[u32; 32]>,
    /// The same for `l`.
    bits_l: Vec<[u64; 32]>,
    /// Whether a register may be tainted. While false, the run loop skips `tw`, `tl` and `tp`: its fast path.
    pub tainted: bool,
    /// Instructions since [`Regs::heal`] last looked through the masks.
    since: u32,
}

impl Regs {
    /// Called for every instruction on the slow path. Every 512 calls, clears `tainted` if no register holds an uninitialised
    /// lane, which returns the warp to the fast path.
    pub fn heal(&mut self) {
        self.since += 1;
        if self.since == 512 {
            self.since = 0;
            let any = |t: &[u32]| t.iter().any(|&t| t != 0);
            self.tainted = any(&self.tw) || any(&self.tl) || any(&self.tp);
        }
    }

    /// Clears `tainted` at once if it can be.
    pub fn look_again(&mut self) {
        self.since = 511;
        if self.tainted {
            self.heal();
        }
    }

    fn reset(&mut self, banks: [u16; 3]) {
        let [w, l, p] = banks.map(|n| n as usize);
        let poison = (POISON as u64) << 32 | POISON as u64;
        self.w.clear();
        self.w.resize(w, W([POISON; 32]));
        self.l.clear();
        self.l.resize(l, L([poison; 32]));
        self.p.clear();
        self.p.resize(p, 0);
        self.p[0] = !0;
        for (taint, n) in [(&mut self.tw, w), (&mut self.tl, l), (&mut self.tp, p)] {
            taint.clear();
            taint.resize(n, 0);
        }
        self.bits_w.clear();
        self.bits_l.clear();
        self.tainted = false;
    }

    /// The lanes in which any bit of a register holds no value.
    pub fn taint(&self, bank: Bank, slot: u16) -> u32 {
        match bank {
            Bank::W => self.tw[slot as usize],
            Bank::L => self.tl[slot as usize],
            Bank::P => self.tp[slot as usize],
        }
    }

    /// The bits of a register that hold no value in a lane; of a predicate, 1 if it holds none.
    pub fn undefined(&self, bank: Bank, slot: u16, lane: usize) -> u64 {
        if self.taint(bank, slot) >> lane & 1 == 0 {
            return 0;
        }
        match bank {
            Bank::W => self.bits_w.get(slot as usize).map_or(u32::MAX, |b| b[lane]) as u64,
            Bank::L => self.bits_l.get(slot as usize).map_or(u64::MAX, |b| b[lane]),
            Bank::P => 1,
        }
    }

    /// The lanes in which any of these bits of a register holds no value.
    pub fn taint_within(&self, bank: Bank, slot: u16, bits: u64) -> u32 {
        lanes_of(self.taint(bank, slot)).fold(0, |t, i| t | ((self.undefined(bank, slot, i) & bits != 0) as u32) << i)
    }

    /// The lanes of `m` become tainted, in all bits, where `t` says so, and clean elsewhere.
    pub fn set_taint(&mut self, bank: Bank, slot: u16, m: u32, t: u32) {
        let x = match bank {
            Bank::W => &mut self.tw[slot as usize],
            Bank::L => &mut self.tl[slot as usize],
            Bank::P => &mut self.tp[slot as usize],
        };
        *x = *x & !m | t & m;
        if t & m != 0 {
            self.tainted = true;
            match bank {
                Bank::W if !self.bits_w.is_empty() => lanes_of(t & m).for_each(|i| self.bits_w[slot as usize][i] = !0),
                Bank::L if !self.bits_l.is_empty() => lanes_of(t & m).for_each(|i| self.bits_l[slot as usize][i] = !0),
                _ => {}
            }
        }
    }

    /// The lanes of `m` hold no value in these bits of a register of `w` or `l`, and hold values in the others.
    pub fn set_undefined(&mut self, bank: Bank, slot: u16, m: u32, bits: &[u64; 32]) {
        let all = if bank == Bank::W { u32::MAX as u64 } else { u64::MAX };
        let (mut t, mut whole) = (0, true);
        for i in lanes_of(m) {
            t |= ((bits[i] & all != 0) as u32) << i;
            whole &= bits[i] & all == 0 || bits[i] & all == all;
        }
        self.set_taint(bank, slot, m, t);
        if whole {
            return;
        }
        if bank == Bank::W {
            self.bits_w.resize(self.w.len(), [!0; 32]);
            lanes_of(t).for_each(|i| self.bits_w[slot as usize][i] = bits[i] as u32);
        } else {
            self.bits_l.resize(self.l.len(), [!0; 32]);
            lanes_of(t).for_each(|i| self.bits_l[slot as usize][i] = bits[i]);
        }
    }
}

/// One activation of a function, shared by lanes that diverged inside the function and by lanes that call it from the same place.
pub(crate) struct Frame {
    pub function: u32,
    pub regs: Regs,
    /// Parameter memory, `Func::params` bytes for each lane in turn.
    pub params: Bytes,
    /// Lanes that have called and not returned.
    pub mask: u32,
    pub parent: u32,
    pub depth: u32,
    /// The op at which the caller goes on.
    pub ret: u32,
    /// The [`Call`](super::op::Call) that was executed: an index into [`Program::extras`].
    pub call: u16,
    /// Offset of the function's local variables in the local memory of a lane.
    pub local: u32,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum State {
    Ready,
    /// At an instruction that needs more lanes of its warp.
    Parked,
    /// At a barrier, until its phase is over.
    Barrier {
        id: u8,
        phase: u32,
    },
    /// At a `try_wait` for the phase of this parity of the mbarrier at `at`.
    Phase {
        at: u32,
        parity: bool,
    },
    /// At the second half of the cluster's barrier.
    Cluster {
        phase: u32,
    },
    /// At a `wgmma.wait_group`, until all warps of the warp group have told so many products.
    Products {
        group: u32,
        until: u64,
    },
}

/// Lanes that run together.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Group {
    pub frame: u32,
    pub pc: u32,
    pub mask: u32,
    pub state: State,
    /// The value of [`Warp::turn`] when the group last used up its slice; see `pick` in `exec.rs`.
    pub turn: u64,
}

pub(crate) struct Warp {
    pub index: u32,
    pub frames: Vec<Frame>,
    pub groups: Vec<Group>,
    /// Lanes that have not exited.
    pub live: u32,
    /// Local memory: words of the lanes interleaved.
    pub local: Bytes,
    /// Copies under way, in the order in which they were issued.
    pub copies: VecDeque<InFlight>,
    pub commits: [u32; 32],
    pub turn: u64,
    /// The op and the frame at which the warp stopped: where a fault happened.
    pub at: (u32, u32),
}

#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Barrier {
    pub arrived: u32,
    /// Threads that must arrive; 0: all that have not exited.
    pub count: u32,
    pub phase: u32,
    pub popc: u32,
    pub all: bool,
    pub any: bool,
    /// The reductions (`popc`, `all`, `any`) of the phase that ended last.
    pub result: (u32, bool, bool),
}

/// The shape of a launch, and the place of the running block in it.
#[derive(Clone)]
pub(crate) struct Shape {
    pub grid: [u32; 3],
    pub block: [u32; 3],
    pub at: [u32; 3],
    pub params: Vec<u8>,
    pub dynamic_at: u32,
    pub shared: u32,
    pub dynamic: u32,
    /// Addresses of module variables.
    pub symbols: Vec<u64>,
    /// Address of the grid's workspace, in which blocks of a cooperative launch meet; 0 if the program does not ask for it.
    pub workspace: u64,
}

impl Shape {
    pub fn threads(&self) -> u32 {
        self.block.iter().product()
    }

    pub fn thread(&self, warp: u32, lane: u32) -> [u32; 3] {
        let t = warp * 32 + lane;
        match self.block {
            [_, 1, 1] => [t, 0, 0],
            [x, y, _] => [t % x, t / x % y, t / x / y],
        }
    }

    fn special(&self, s: Special, warp: u32, lane: u32) -> u32 {
        match s {
            Special::Tid(a) => self.thread(warp, lane)[a as usize],
            Special::Ntid(a) => self.block[a as usize],
            Special::Ctaid(a) => self.at[a as usize],
            Special::Nctaid(a) => self.grid[a as usize],
            Special::LaneId => lane,
            Special::WarpId => warp,
            Special::NWarpId => self.threads().div_ceil(32),
            Special::WarpSize => 32,
            Special::SmId | Special::GridId => 0,
            Special::NSmId => 1,
            Special::LaneMask(0) => 1 << lane,
            Special::LaneMask(1) => (1 << lane) - 1,
            Special::LaneMask(2) => !0 >> (31 - lane),
            Special::LaneMask(3) => !(!0 >> (31 - lane)),
            Special::LaneMask(_) => !((1 << lane) - 1),
            Special::DynamicShared => self.dynamic,
            Special::TotalShared => self.shared,
            Special::Workspace(1) => (self.workspace >> 32) as u32,
            Special::Workspace(_) => self.workspace as u32,
        }
    }

    fn value(&self, p: Preset, frame_local: u32, warp: u32, lane: u32) -> u64 {
        match p {
            Preset::Bits(b) => b,
            Preset::Special(s) => self.special(s, warp, lane) as u64,
            Preset::KernelParam { at, bytes, signed } => {
                let at = at as usize;
                let mut b = [0; 8];
                b[..bytes as usize].copy_from_slice(&self.params[at..at + bytes as usize]);
                let x = u64::from_le_bytes(b);
                let up = 64 - 8 * bytes as u32;
                if signed { (((x << up) as i64) >> up) as u64 } else { x }
            }
            Preset::Symbol(i, plus) => self.symbols[i as usize].wrapping_add(plus as u64),
            Preset::DynamicShared(plus) => (self.dynamic_at as i64 + plus) as u64,
            Preset::Local(at) => (frame_local as i64 + at) as u64,
        }
    }
}

impl Frame {
    pub fn new() -> Frame {
        Frame {
            function: 0,
            regs: Regs::default(),
            params: Bytes::default(),
            mask: 0,
            parent: 0,
            depth: 0,
            ret: 0,
            call: 0,
            local: 0,
        }
    }

    /// Registers, constants and special registers of a fresh activation.
    pub fn enter(&mut self, number: u32, f: &Func, shape: &Shape, warp: u32, initcheck: bool) {
        self.function = number;
        self.regs.reset(f.banks);
        self.params = Bytes::unknown(f.params as usize * 32);
        for &(bank, slot, p) in &f.presets {
            let uniform = !matches!(p, Preset::Special(Special::Tid(_) | Special::LaneId | Special::LaneMask(_)));
            let first = shape.value(p, self.local, warp, 0);
            let value = |lane| if uniform { first } else { shape.value(p, self.local, warp, lane) };
            match bank {
                Bank::W => self.regs.w[slot as usize] = W(std::array::from_fn(|i| value(i as u32) as u32)),
                Bank::L => self.regs.l[slot as usize] = L(std::array::from_fn(|i| value(i as u32))),
                Bank::P => self.regs.p[slot as usize] = first as u32,
            }
        }
        if initcheck {
            for &(bank, slot) in &f.uninitialised {
                self.regs.set_taint(bank, slot, !0, !0);
            }
        }
    }
}

impl Warp {
    pub fn new(index: u32) -> Warp {
        Warp {
            index,
            frames: Vec::new(),
            groups: Vec::new(),
            live: 0,
            local: Bytes::default(),
            copies: VecDeque::new(),
            commits: [0; 32],
            turn: 0,
            at: (0, 0),
        }
    }

    /// Makes the warp ready for the next block.
    pub fn reset(&mut self, entry: &Func, shape: &Shape, initcheck: bool) {
        let threads = shape.threads() - self.index * 32;
        self.live = if threads >= 32 { !0 } else { (1 << threads) - 1 };
        self.frames.truncate(1);
        if self.frames.is_empty() {
            self.frames.push(Frame::new());
        }
        self.frames[0].local = 0;
        self.frames[0].depth = 0;
        self.frames[0].mask = self.live;
        self.frames[0].enter(0, entry, shape, self.index, initcheck);
        self.local = Bytes::unknown(entry.local.next_multiple_of(16) as usize * 32);
        self.groups.clear();
        self.groups.push(Group { frame: 0, pc: entry.start, mask: self.live, state: State::Ready, turn: 0 });
        self.copies.clear();
        self.commits = [0; 32];
        self.turn = 0;
    }
}

/// A running block without its warps: the program, memory, the configuration of the launch, and what is counted.
pub(crate) struct Exec<'a> {
    pub program: &'a Program,
    pub global: &'a mut Global,
    pub shape: Shape,
    pub shared: Bytes,
    pub barriers: [Barrier; 16],
    /// Threads of the block that have not exited.
    pub live: u32,
    /// Whether the running warp has found that another must run first.
    pub give_way: bool,
    /// `cp.async.mbarrier.arrive` under way.
    pub landings: Vec<Landing>,
    /// What works beside the warps.
    pub units: Units,
    /// What `printf` has printed.
    pub printed: String,
    /// Whether uninitialised values are followed.
    pub initcheck: bool,
    /// Whether tf32 operands must be rounded.
    pub tf32check: bool,
    /// Whether every fence before the async proxy must be there.
    pub all_fences: bool,
    /// Whether copies arrive at the wait that covers them, not at once.
    pub late_copies: bool,
    pub approx: Approx,
    pub tensor: Tensor,
    pub counters: bool,
    /// For each op, if `counters`: warps that executed it, and their active lanes summed.
    pub tally: Vec<[u64; 2]>,
    /// The most blocks that are on the machine at once, if the launch says.
    pub resident: Option<u32>,
    /// How often something has changed global memory.
    pub epoch: u64,
    /// Of the running warp: strong reads of global memory, and atomics without effect, since it was given its turn.
    pub polls: u32,
    /// The last of them by a warp of the running block; and whether there was one in the block's turn.
    pub poll: Option<Poll>,
    pub polled: bool,
    /// Warp instructions of the launch so far, and how many it may take.
    pub executed: u64,
    pub budget: u64,
    /// For each memory operand of the program: the span that was hit last, and is tried first.
    pub hints: Vec<u16>,
    pub watch: Option<Box<Watch>>,
    pub observer: Option<&'a mut dyn Observer>,
    /// What was found, if the launch goes on after a finding.
    pub findings: Option<Box<Findings<'a>>>,
    /// Blocks that other threads of the host ran.
    pub helped: u64,
    /// Set when what is run here is of no use any more.
    pub stop: Option<&'a AtomicBool>,
    pub schedule: Schedule,
    /// Counts memory instructions to the next pre-emption; `None` unless the schedule is random.
    pub preempt: Option<Preempt>,
    pub level: Level,
    /// A run-time copy of [`super::lanes::BITS`]: with the constant, LLVM treats each lane separately and the loop is not
    /// vectorised.
    pub bits: [u32; 32],
}

/// The strong read of global memory, or the atomic without effect, that a block did last.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Poll {
    pub warp: u32,
    pub lane: u32,
    pub pc: u32,
    pub buffer: u32,
    pub at: u64,
    pub bytes: u32,
}

impl Exec<'_> {
    /// After a fault at an op of a warp: `Ok` if the launch goes on.
    #[cold]
    pub fn admit(&mut self, raise: Box<Raise>, warp: u32, pc: usize) -> Raised {
        self.admit_pair(raise, warp, pc, u32::MAX)
    }

    /// The same for a race, of which `other` is the other instruction.
    #[cold]
    pub fn admit_pair(&mut self, raise: Box<Raise>, warp: u32, pc: usize, other: u32) -> Raised {
        let Some(f) = &mut self.findings else { return Err(raise) };
        let at = Where { block: self.shape.at, warp: Some(warp), pc, executed: self.executed };
        let thread = raise.lane.map(|l| self.shape.thread(warp, l));
        if f.goes_on(&raise, at, thread, other) { Ok(()) } else { Err(raise) }
    }
}

impl Poll {
    /// What is there now.
    pub fn value(&self, global: &Global) -> u64 {
        global.buffers[self.buffer as usize].bytes.get(self.at as usize, self.bytes.min(8) as usize)
    }
}

impl<'a> Exec<'a> {
    /// Before the first block; nothing watches it yet.
    pub fn new(c: &Config, level: Level, global: &'a mut Global, program: &'a Program, shape: Shape) -> Exec<'a> {
        Exec {
            program,
            global,
            shared: Bytes::default(),
            shape,
            give_way: false,
            landings: Vec::new(),
            units: Units::default(),
            printed: String::new(),
            barriers: [Barrier::default(); 16],
            live: 0,
            initcheck: c.checks.init,
            tf32check: c.checks.tf32 && {
                let r = program.rounds;
                c.truncation == Truncation::Never || r.by_cvt && !r.by_half_ulp
            },
            all_fences: c.fences == Fences::All,
            late_copies: c.copies == Copies::Late,
            approx: c.approx,
            tensor: c.tensor,
            counters: c.counters,
            tally: vec![[0; 2]; if c.counters { program.ops.len() } else { 0 }],
            resident: c.resident,
            epoch: 0,
            polls: 0,
            poll: None,
            polled: false,
            executed: 0,
            budget: c.budget,
            hints: vec![0; program.mems.len()],
            watch: None,
            observer: None,
            findings: None,
            helped: 0,
            stop: None,
            schedule: c.schedule,
            preempt: None,
            level,
            bits: std::hint::black_box(BITS),
        }
    }
}

/// What a special op did with the group.
pub(crate) enum Flow {
    Next,
    /// The group was put back among the warp's groups, or has ended.
    Leave,
}

/// One op as a group of lanes executes it.
#[derive(Clone, Copy)]
pub(crate) struct Issue<'a> {
    pub op: &'a Op,
    /// Its index in the program.
    pub pc: usize,
    /// The frame whose registers it names.
    pub frame: u32,
    /// The lanes whose guard lets them execute it.
    pub m: u32,
}

/// Lanes that arrive at mbarriers as soon as their copies have arrived: at the latest when somebody waits there.
#[derive(Clone, Debug)]
pub(crate) struct Landing {
    pub warp: u32,
    pub copies: Vec<InFlight>,
    pub lanes: u32,
    /// For each lane, the mbarrier.
    pub at: [u32; 32],
}

/// The copies that one `cp.async` of a warp has begun.
#[derive(Clone, Debug)]
pub(crate) struct InFlight {
    pub pc: u32,
    /// Bytes of each lane's destination.
    pub bytes: u32,
    /// Lanes whose copy has not arrived. The fields below are by lane.
    pub lanes: u32,
    /// The commit group.
    pub group: [u32; 32],
    pub to: [u64; 32],
    /// Bytes that come from memory; the rest of the destination becomes zero.
    pub from: [u8; 32],
    /// The source: a buffer and an offset. No source spans two buffers, as buffers never touch.
    pub source: [(u32, usize); 32],
}
