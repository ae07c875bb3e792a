//! What a launch did, counted: instructions by kind, traffic, bank conflicts, multiply-adds.
//!
//! Names follow Nsight Compute's, and [`Counters::metrics`] gives them in its words. What is exact and what is not: requests,
//! sectors, wavefronts and multiply-adds go one to one from PTX to machine code, as long as the assembler neither unrolls
//! differently nor merges accesses; instruction counts are of PTX, so [`slots10`] weighs each by the machine instructions
//! that it becomes. Bank conflicts are those of the access pattern, a lower bound of what the hardware counts. docs/gpu-runs.md
//! compares all of them with what an H200 counted.

use std::collections::BTreeMap;

use super::pattern::{Lanes, Pattern, SECTOR};

/// Pipes of a multiprocessor, as far as PTX tells them apart.
#[derive(Clone, Copy, PartialEq, Eq, Debug, PartialOrd, Ord)]
pub enum Kind {
    Fp32,
    Fp64,
    Half,
    Integer,
    Convert,
    /// Reciprocals, roots, exponentials, sines.
    Special,
    Tensor,
    /// Loads, stores, atomics, copies, `ldmatrix`.
    Memory,
    /// Shuffles, votes and barriers.
    Sync,
    Control,
    /// Moves between registers, which mostly vanish.
    Move,
}

impl Kind {
    pub const ALL: [Kind; 11] = [
        Kind::Fp32,
        Kind::Fp64,
        Kind::Half,
        Kind::Integer,
        Kind::Convert,
        Kind::Special,
        Kind::Tensor,
        Kind::Memory,
        Kind::Sync,
        Kind::Control,
        Kind::Move,
    ];
    pub fn name(self) -> &'static str {
        match self {
            Kind::Fp32 => "fp32",
            Kind::Fp64 => "fp64",
            Kind::Half => "half",
            Kind::Integer => "integer",
            Kind::Convert => "convert",
            Kind::Special => "special",
            Kind::Tensor => "tensor",
            Kind::Memory => "memory",
            Kind::Sync => "sync",
            Kind::Control => "control",
            Kind::Move => "move",
        }
    }

    /// The kind of an instruction, from its opcode.
    pub fn of(opcode: &str) -> Kind {
        let mut parts = opcode.split('.');
        let name = parts.next().unwrap_or_default();
        let ends = |t: &str| opcode.ends_with(t);
        match name {
            "ld" | "st" | "atom" | "red" | "cp" | "ldmatrix" | "ldu" | "prefetch" | "prefetchu" => Kind::Memory,
            "mma" => Kind::Tensor,
            "wgmma" if opcode.starts_with("wgmma.mma") => Kind::Tensor,
            "wmma" if opcode.starts_with("wmma.mma.") => Kind::Tensor,
            "wmma" => Kind::Memory,
            "bar" | "barrier" | "shfl" | "vote" | "match" | "redux" | "movmatrix" | "membar" | "fence" | "activemask"
            | "nanosleep" | "wgmma" | "mbarrier" | "elect" | "setmaxnreg" => Kind::Sync,
            "bra" | "brx" | "ret" | "exit" | "call" | "trap" | "brkpt" => Kind::Control,
            "mov" | "cvta" | "isspacep" => Kind::Move,
            "cvt" => Kind::Convert,
            "ex2" | "lg2" | "sin" | "cos" | "tanh" | "rsqrt" => Kind::Special,
            "rcp" | "sqrt" if ends(".f32") => Kind::Special,
            "div" if opcode.contains("approx") || opcode.contains("full") => Kind::Special,
            _ if ends(".f32") => Kind::Fp32,
            _ if ends(".f64") => Kind::Fp64,
            _ if ends("f16") || ends("f16x2") || ends("bf16x2") => Kind::Half,
            _ => Kind::Integer,
        }
    }
}

/// Machine instructions that a PTX instruction becomes on its main path, tenths. Measured by comparing PTX with the code that
/// ptxas 13.0 makes of it for sm_90; what is not listed is one to one.
pub fn slots10(opcode: &str) -> u64 {
    let (name, rest) = opcode.split_once('.').unwrap_or((opcode, ""));
    let ends = |t: &str| rest.ends_with(t);
    let ftz = rest.contains("ftz");
    let one = match name {
        "mov" | "cvta" => 0.0,
        "cvt" if rest == "u32.u64" => 0.0,
        "cvt" if rest.contains("rna.tf32") => 3.0,
        "cvt" if rest.starts_with("rn.bf16.") || rest.starts_with("rn.f16.") => 2.0,
        "add" | "sub" if ends("s64") || ends("u64") => 2.0,
        "shl" | "shr" if ends("64") => 2.0,
        "and" | "or" | "xor" | "not" if ends("b64") => 2.0,
        "mad" if rest.starts_with("wide") => 3.0,
        "mul" if rest.starts_with("lo") && ends("64") => 4.0,
        "clz" | "redux" => 2.0,
        // Two `mma`; four loads or stores, without the transposes that some of them need.
        "wmma" if rest.starts_with("mma") => 2.0,
        "wmma" => 4.0,
        "bfe" => 5.0,
        "bfi" => 6.0,
        "rsqrt" | "ex2" | "lg2" | "sqrt" if rest.contains("approx") => {
            if ftz {
                1.0
            } else {
                4.0
            }
        }
        "sin" | "cos" => 2.0,
        "div" if rest.contains("approx") => {
            if ftz {
                2.0
            } else {
                5.0
            }
        }
        "div" if rest.contains("full") => 8.0,
        "div" if ends("f32") => 12.0,
        "rcp" if !rest.contains("approx") => 13.0,
        "sqrt" if ends("f32") => 14.0,
        "div" | "rem" if ends("64") => 70.0,
        "div" if ends("u32") => 18.0,
        "div" | "rem" => 25.0,
        _ => 1.0,
    };
    (one * 10.0) as u64
}

/// Accesses to global memory of one kind.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct GlobalTraffic {
    /// Warp instructions.
    pub requests: u64,
    /// 32-byte pieces that these instructions fetched or sent.
    pub sectors: u64,
    /// Bytes that the lanes asked for; a byte counts once for each lane that asked for it.
    pub bytes: u64,
}

impl GlobalTraffic {
    #[inline(always)]
    fn add(&mut self, o: &GlobalTraffic) {
        self.requests += o.requests;
        self.sectors += o.sectors;
        self.bytes += o.bytes;
    }
}

/// Accesses to shared memory of one kind.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct SharedTraffic {
    pub requests: u64,
    /// Passes through the banks.
    pub waves: u64,
    /// Passes without conflicts.
    pub ideal: u64,
}

impl SharedTraffic {
    #[inline(always)]
    fn add(&mut self, o: &SharedTraffic) {
        self.requests += o.requests;
        self.waves += o.waves;
        self.ideal += o.ideal;
    }
    pub fn conflicts(&self) -> u64 {
        self.waves - self.ideal
    }
}

/// Memory that a launch touched, each place once.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Touched {
    /// In words of 4 bytes.
    pub bytes: u64,
    /// In sectors: what DRAM must move at least, if nothing was in a cache.
    pub sector_bytes: u64,
}

/// One source line (or PTX line, where there is no source).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct LineCount {
    pub instructions: u64,
    pub threads: u64,
    pub global: GlobalTraffic,
    pub shared: SharedTraffic,
    pub macs: u64,
}

impl LineCount {
    /// Bytes moved between L1 and L2 that no lane asked for.
    pub fn wasted_bytes(&self) -> u64 {
        (self.global.sectors * SECTOR as u64).saturating_sub(self.global.bytes)
    }
    fn add(&mut self, o: &LineCount) {
        self.instructions += o.instructions;
        self.threads += o.threads;
        self.global.add(&o.global);
        self.shared.add(&o.shared);
        self.macs += o.macs;
    }
}

/// Everything that was counted of one launch, or of several added up.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Counters {
    pub blocks: u64,
    /// Warp instructions of PTX, and active lanes summed over them.
    pub instructions: u64,
    pub threads: u64,
    /// Warp instructions by kind, in the order of [`Kind::ALL`].
    pub kinds: [u64; Kind::ALL.len()],
    /// Estimated machine instructions, tenths.
    pub slots10: u64,
    /// f32 operations of active lanes.
    pub fma: u64,
    pub add: u64,
    pub mul: u64,
    pub load: GlobalTraffic,
    pub store: GlobalTraffic,
    pub atomic: GlobalTraffic,
    pub shared_load: SharedTraffic,
    /// Atomics too.
    pub shared_store: SharedTraffic,
    /// What `cp.async` writes.
    pub shared_copy: SharedTraffic,
    /// What products of warp groups (`wgmma`) read.
    pub shared_operands: SharedTraffic,
    /// Bytes of shared memory that bulk copies filled or read, what lies outside of a tensor included.
    pub bulk_bytes: u64,
    /// Multiply-adds of tensor cores, and their instructions.
    pub macs: u64,
    /// Those of them that `wgmma` did.
    pub group_macs: u64,
    pub read: Touched,
    pub written: Touched,
    /// By source: (file, line); file 0 is the PTX itself.
    pub lines: BTreeMap<(u32, u32), LineCount>,
}

impl Counters {
    /// Adds an instruction that warps executed `warps` times with `lanes` active lanes in all.
    pub fn executed(&mut self, opcode: &str, at: (u32, u32), warps: u64, lanes: u64) {
        self.instructions += warps;
        self.threads += lanes;
        self.kinds[Kind::of(opcode) as usize] += warps;
        self.slots10 += warps * slots10(opcode);
        if opcode.ends_with(".f32") {
            match opcode.split('.').next() {
                Some("fma" | "mad") => self.fma += lanes,
                Some("add" | "sub") => self.add += lanes,
                Some("mul") => self.mul += lanes,
                _ => {}
            }
        }
        let line = self.lines.entry(at).or_default();
        line.instructions += warps;
        line.threads += lanes;
    }

    /// Adds what another launch did.
    pub fn merge(&mut self, o: &Counters) {
        self.blocks += o.blocks;
        self.instructions += o.instructions;
        self.threads += o.threads;
        self.kinds.iter_mut().zip(o.kinds).for_each(|(a, b)| *a += b);
        self.slots10 += o.slots10;
        self.fma += o.fma;
        self.add += o.add;
        self.mul += o.mul;
        self.load.add(&o.load);
        self.store.add(&o.store);
        self.atomic.add(&o.atomic);
        self.shared_load.add(&o.shared_load);
        self.shared_store.add(&o.shared_store);
        self.shared_copy.add(&o.shared_copy);
        self.shared_operands.add(&o.shared_operands);
        self.bulk_bytes += o.bulk_bytes;
        self.macs += o.macs;
        self.group_macs += o.group_macs;
        for (a, b) in [(&mut self.read, &o.read), (&mut self.written, &o.written)] {
            a.bytes += b.bytes;
            a.sector_bytes += b.sector_bytes;
        }
        o.lines.iter().for_each(|(at, l)| self.line(*at, l));
    }

    /// What `along` makes of each count of this launch and of another, those of lines left out: of the same launch with more work, say.
    pub fn extrapolated(&self, o: &Counters, along: impl Fn(u64, u64) -> u64) -> Counters {
        let f = &along;
        let global = |a: &GlobalTraffic, b: &GlobalTraffic| GlobalTraffic {
            requests: f(a.requests, b.requests),
            sectors: f(a.sectors, b.sectors),
            bytes: f(a.bytes, b.bytes),
        };
        let shared = |a: &SharedTraffic, b: &SharedTraffic| SharedTraffic {
            requests: f(a.requests, b.requests),
            waves: f(a.waves, b.waves),
            ideal: f(a.ideal, b.ideal),
        };
        let touched =
            |a: &Touched, b: &Touched| Touched { bytes: f(a.bytes, b.bytes), sector_bytes: f(a.sector_bytes, b.sector_bytes) };
        Counters {
            blocks: f(self.blocks, o.blocks),
            instructions: f(self.instructions, o.instructions),
            threads: f(self.threads, o.threads),
            kinds: std::array::from_fn(|i| f(self.kinds[i], o.kinds[i])),
            slots10: f(self.slots10, o.slots10),
            fma: f(self.fma, o.fma),
            add: f(self.add, o.add),
            mul: f(self.mul, o.mul),
            load: global(&self.load, &o.load),
            store: global(&self.store, &o.store),
            atomic: global(&self.atomic, &o.atomic),
            shared_load: shared(&self.shared_load, &o.shared_load),
            shared_store: shared(&self.shared_store, &o.shared_store),
            shared_copy: shared(&self.shared_copy, &o.shared_copy),
            shared_operands: shared(&self.shared_operands, &o.shared_operands),
            bulk_bytes: f(self.bulk_bytes, o.bulk_bytes),
            macs: f(self.macs, o.macs),
            group_macs: f(self.group_macs, o.group_macs),
            read: touched(&self.read, &o.read),
            written: touched(&self.written, &o.written),
            lines: BTreeMap::new(),
        }
    }

    /// Adds the memory traffic and the multiply-adds of a line.
    pub fn line(&mut self, at: (u32, u32), count: &LineCount) {
        self.lines.entry(at).or_default().add(count);
    }

    /// Global sectors for each request, loads.
    pub fn sectors_per_load(&self) -> f64 {
        self.load.sectors as f64 / self.load.requests.max(1) as f64
    }
    pub fn sectors_per_store(&self) -> f64 {
        self.store.sectors as f64 / self.store.requests.max(1) as f64
    }
    pub fn conflicts(&self) -> u64 {
        self.shared_load.conflicts()
            + self.shared_store.conflicts()
            + self.shared_copy.conflicts()
            + self.shared_operands.conflicts()
    }
    /// Passes through the banks of shared memory.
    pub fn shared_waves(&self) -> u64 {
        self.shared_load.waves + self.shared_store.waves + self.shared_copy.waves + self.shared_operands.waves
    }
    /// Bytes between L1 and L2: every sector of every request, as if L1 kept nothing.
    pub fn moved_bytes(&self) -> u64 {
        (self.load.sectors + self.store.sectors + self.atomic.sectors) * SECTOR as u64
    }
    /// Multiply-adds of all units.
    pub fn all_macs(&self) -> u64 {
        self.macs + self.fma
    }

    /// The counters in Nsight Compute's names.
    pub fn metrics(&self) -> Vec<(&'static str, f64)> {
        let m = |x: u64| x as f64;
        vec![
            ("smsp__inst_executed.sum", m(self.slots10) / 10.0),
            ("smsp__thread_inst_executed_per_inst_executed.ratio", m(self.threads) / m(self.instructions.max(1))),
            ("smsp__sass_thread_inst_executed_op_ffma_pred_on.sum", m(self.fma)),
            ("smsp__sass_thread_inst_executed_op_fadd_pred_on.sum", m(self.add)),
            ("smsp__sass_thread_inst_executed_op_fmul_pred_on.sum", m(self.mul)),
            ("l1tex__t_requests_pipe_lsu_mem_global_op_ld.sum", m(self.load.requests)),
            ("l1tex__t_sectors_pipe_lsu_mem_global_op_ld.sum", m(self.load.sectors)),
            ("l1tex__average_t_sectors_per_request_pipe_lsu_mem_global_op_ld.ratio", self.sectors_per_load()),
            ("l1tex__t_requests_pipe_lsu_mem_global_op_st.sum", m(self.store.requests)),
            ("l1tex__t_sectors_pipe_lsu_mem_global_op_st.sum", m(self.store.sectors)),
            ("l1tex__average_t_sectors_per_request_pipe_lsu_mem_global_op_st.ratio", self.sectors_per_store()),
            ("smsp__inst_executed_op_shared_ld.sum", m(self.shared_load.requests)),
            ("smsp__inst_executed_op_shared_st.sum", m(self.shared_store.requests)),
            ("l1tex__data_pipe_lsu_wavefronts_mem_shared_op_ld.sum", m(self.shared_load.waves)),
            ("l1tex__data_pipe_lsu_wavefronts_mem_shared_op_st.sum", m(self.shared_store.waves)),
            ("l1tex__data_bank_conflicts_pipe_lsu_mem_shared_op_ld.sum", m(self.shared_load.conflicts())),
            ("l1tex__data_bank_conflicts_pipe_lsu_mem_shared_op_st.sum", m(self.shared_store.conflicts())),
            ("sm__inst_executed_pipe_tensor.sum", m(self.kinds[Kind::Tensor as usize])),
            ("dram__bytes_read.sum", m(self.read.sector_bytes)),
            ("dram__bytes_write.sum", m(self.written.sector_bytes)),
        ]
    }

    /// The lines that waste most: by bytes moved that no lane asked for, then by bank conflicts.
    pub fn worst(&self, n: usize) -> Vec<((u32, u32), LineCount)> {
        let mut all: Vec<_> = self.lines.iter().map(|(k, v)| (*k, *v)).collect();
        all.retain(|(_, l)| l.wasted_bytes() > 0 || l.shared.conflicts() > 0);
        // A pass through the banks moves 128 bytes.
        all.sort_by_key(|(k, l)| (std::cmp::Reverse(l.wasted_bytes() + 128 * l.shared.conflicts()), *k));
        all.truncate(n);
        all
    }
}

/// Which words of a buffer were touched.
#[derive(Default)]
struct Bits(Vec<u64>);

impl Bits {
    fn join(&mut self, o: &Bits) {
        if self.0.is_empty() {
            self.0 = o.0.clone();
        } else {
            self.0.iter_mut().zip(&o.0).for_each(|(a, b)| *a |= b);
        }
    }

    #[inline(always)]
    fn set(&mut self, words: usize, from: usize, n: usize) {
        if self.0.is_empty() {
            self.0 = vec![0; words.div_ceil(64)];
        }
        let (mut i, end) = (from, from + n);
        while i < end {
            let take = (64 - i % 64).min(end - i);
            self.0[i / 64] |= (u64::MAX >> (64 - take)) << (i % 64);
            i += take;
        }
    }
    fn touched(&self) -> Touched {
        let words: u64 = self.0.iter().map(|w| w.count_ones() as u64).sum();
        // A byte of the map is a sector.
        let sectors: u64 = self.0.iter().map(|w| w.to_le_bytes().iter().filter(|b| **b != 0).count() as u64).sum();
        Touched { bytes: words * 4, sector_bytes: sectors * SECTOR as u64 }
    }
}

/// What a memory access counts as.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Op {
    Load,
    Store,
    Atomic,
    /// `cp.async` into shared memory.
    Copy,
}

/// The memory traffic of a running launch.
pub struct Traffic {
    /// Bytes of each buffer.
    sizes: Vec<u64>,
    read: Vec<Bits>,
    written: Vec<Bits>,
    /// By instruction.
    lines: Vec<LineCount>,
    counters: Counters,
}

impl Traffic {
    /// For buffers of these sizes in bytes.
    pub fn new(sizes: Vec<u64>) -> Traffic {
        let bits = || sizes.iter().map(|_| Bits::default()).collect();
        Traffic { read: bits(), written: bits(), sizes, lines: Vec::new(), counters: Counters::default() }
    }

    /// A kernel allocates a buffer, the next one.
    pub fn allocate(&mut self, bytes: u64) {
        self.sizes.push(bytes);
        self.read.push(Bits::default());
        self.written.push(Bits::default());
    }

    #[inline(always)]
    fn at(&mut self, pc: u32) -> &mut LineCount {
        if self.lines.len() <= pc as usize {
            self.lines.resize(pc as usize + 1, LineCount::default());
        }
        &mut self.lines[pc as usize]
    }

    /// An access to a buffer in global memory, `bytes` for each lane, at the offsets `at` of the pattern `p`.
    #[inline(always)]
    pub fn global(&mut self, op: Op, pc: u32, buffer: u32, at: &Lanes, p: &Pattern, bytes: u32) {
        let asked = at.mask.count_ones() as u64 * bytes as u64;
        let one = GlobalTraffic { requests: 1, sectors: p.sectors as u64, bytes: asked };
        self.at(pc).global.add(&one);
        match op {
            Op::Load => self.counters.load.add(&one),
            Op::Store => self.counters.store.add(&one),
            Op::Atomic => self.counters.atomic.add(&one),
            Op::Copy => unreachable!("on this side it is a load"),
        }
        let words = self.sizes[buffer as usize].div_ceil(4) as usize;
        for &(offset, len) in &p.ranges {
            let first = at.first.wrapping_add_signed(offset as i64);
            let (from, to) = ((first / 4) as usize, (first + len as u64).div_ceil(4) as usize);
            if op != Op::Store {
                self.read[buffer as usize].set(words, from, to - from);
            }
            if op != Op::Load {
                self.written[buffer as usize].set(words, from, to - from);
            }
        }
    }

    /// An access to shared memory.
    #[inline(always)]
    pub fn shared(&mut self, op: Op, pc: u32, p: &Pattern) {
        let passes = if op == Op::Load { p.load } else { p.store };
        let one = SharedTraffic { requests: 1, waves: passes.waves as u64, ideal: passes.ideal as u64 };
        self.at(pc).shared.add(&one);
        match op {
            Op::Load => self.counters.shared_load.add(&one),
            Op::Copy => self.counters.shared_copy.add(&one),
            Op::Store | Op::Atomic => self.counters.shared_store.add(&one),
        }
    }

    /// Operands that products of warp groups read from shared memory.
    pub fn operands(&mut self, pc: u32, waves: u64, ideal: u64) {
        let one = SharedTraffic { requests: 1, waves, ideal };
        self.at(pc).shared.add(&one);
        self.counters.shared_operands.add(&one);
    }

    /// Multiply-adds of a product of a warp group, which [`Traffic::matrix`] has counted.
    pub fn product(&mut self, macs: u64) {
        self.counters.group_macs += macs;
    }

    /// What a bulk copy moves between global and shared memory.
    pub fn bulk(&mut self, bytes: u64) {
        self.counters.bulk_bytes += bytes;
    }

    /// Multiply-adds of a tensor core instruction.
    #[inline(always)]
    pub fn matrix(&mut self, pc: u32, macs: u64) {
        self.at(pc).macs += macs;
        self.counters.macs += macs;
    }

    /// Adds what other blocks of the launch did.
    pub fn merge(&mut self, o: &Traffic) {
        for (pc, count) in o.lines.iter().enumerate() {
            self.at(pc as u32).add(count);
        }
        self.counters.merge(&o.counters);
        let sides = self.read.iter_mut().chain(&mut self.written).zip(o.read.iter().chain(&o.written));
        sides.for_each(|(to, from)| to.join(from));
    }

    /// For no launch yet, with the buffers of this one.
    pub fn fresh(&self) -> Traffic {
        Traffic::new(self.sizes.clone())
    }

    /// The end of the launch: `line` says where an instruction stands.
    pub fn finish(self, line: impl Fn(u32) -> (u32, u32)) -> Counters {
        let mut c = self.counters;
        for (pc, count) in self.lines.iter().enumerate() {
            if *count != LineCount::default() {
                c.line(line(pc as u32), count);
            }
        }
        let sum = |bits: &[Bits]| {
            bits.iter().map(Bits::touched).fold(Touched::default(), |a, b| Touched {
                bytes: a.bytes + b.bytes,
                sector_bytes: a.sector_bytes + b.sector_bytes,
            })
        };
        (c.read, c.written) = (sum(&self.read), sum(&self.written));
        c
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::array::from_fn;

    #[test]
    fn kinds_and_slots() {
        for (opcode, kind, slots) in [
            ("fma.rn.f32", Kind::Fp32, 10),
            ("add.s64", Kind::Integer, 20),
            ("mul.wide.s32", Kind::Integer, 10),
            ("mad.wide.s32", Kind::Integer, 30),
            ("ld.global.nc.v4.f32", Kind::Memory, 10),
            ("cp.async.cg.shared.global", Kind::Memory, 10),
            ("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32", Kind::Tensor, 10),
            ("wmma.load.a.sync.aligned.row.m16n16k16.f16", Kind::Memory, 40),
            ("wmma.mma.sync.aligned.row.col.m16n16k16.f32.f32", Kind::Tensor, 20),
            ("cvt.rna.tf32.f32", Kind::Convert, 30),
            ("cvt.u32.u64", Kind::Convert, 0),
            ("div.rn.f32", Kind::Fp32, 120),
            ("sqrt.rn.f32", Kind::Special, 140),
            ("rsqrt.approx.ftz.f32", Kind::Special, 10),
            ("ex2.approx.f32", Kind::Special, 40),
            ("rem.u32", Kind::Integer, 250),
            ("div.u64", Kind::Integer, 700),
            ("setp.lt.f32", Kind::Fp32, 10),
            ("fma.rn.bf16x2", Kind::Half, 10),
            ("add.f64", Kind::Fp64, 10),
            ("bar.sync", Kind::Sync, 10),
            ("shfl.sync.bfly.b32", Kind::Sync, 10),
            ("bra.uni", Kind::Control, 10),
            ("mov.u32", Kind::Move, 0),
        ] {
            assert_eq!((Kind::of(opcode), slots10(opcode)), (kind, slots), "{opcode}");
        }
        for (i, k) in Kind::ALL.into_iter().enumerate() {
            assert_eq!(k as usize, i, "{}", k.name());
        }
    }

    /// A made-up launch, counted by hand.
    #[test]
    fn traffic() {
        let mut t = Traffic::new(vec![4096, 4096]);
        let mut p = Pattern::default();
        // Twice the same 128 bytes, then a stride of 32 bytes: of each sector one word.
        let every = |stride: u64, base: u64| Lanes::new(&from_fn(|i| base + stride * i as u64), u32::MAX);
        p.update(&every(4, 256), 4, true);
        t.global(Op::Load, 3, 0, &every(4, 256), &p, 4);
        t.global(Op::Load, 3, 0, &every(4, 256), &p, 4);
        p.update(&every(32, 0), 4, true);
        t.global(Op::Load, 5, 1, &every(32, 0), &p, 4);
        t.global(Op::Store, 6, 1, &every(32, 4), &p, 4);
        t.global(Op::Atomic, 7, 1, &every(32, 4), &p, 4);
        p.update(&Lanes::new(&from_fn(|i| 8 * i as u64), u32::MAX), 4, true);
        t.shared(Op::Load, 8, &p);
        t.matrix(9, 1024);
        let mut c = t.finish(|pc| (1, pc / 4));
        c.executed("fma.rn.f32", (1, 0), 10, 300);
        assert_eq!(c.load, GlobalTraffic { requests: 3, sectors: 4 + 4 + 32, bytes: 3 * 128 });
        assert_eq!((c.store.sectors, c.atomic.sectors), (32, 32));
        assert_eq!(c.read, Touched { bytes: 128 + 256, sector_bytes: 128 + 1024 });
        assert_eq!(c.written, Touched { bytes: 128, sector_bytes: 1024 });
        assert_eq!((c.shared_load.waves, c.conflicts(), c.macs, c.fma, c.all_macs()), (2, 1, 1024, 300, 1324));
        assert_eq!(c.moved_bytes(), (40 + 64) * 32);
        assert_eq!(c.lines[&(1, 0)].global.sectors, 8);
        assert_eq!(c.lines[&(1, 0)].instructions, 10);
        let worst = c.worst(9);
        assert_eq!(worst.iter().map(|w| w.0).collect::<Vec<_>>(), [(1, 1), (1, 2)]);
        assert_eq!(worst[0].1.wasted_bytes(), 3 * (1024 - 128));
        let metric = |name: &str| c.metrics().iter().find(|m| m.0.contains(name)).unwrap().1;
        assert_eq!(metric("average_t_sectors_per_request_pipe_lsu_mem_global_op_st"), 32.0);
        assert_eq!(metric("dram__bytes_read"), 1152.0);
        assert_eq!(metric("bank_conflicts_pipe_lsu_mem_shared_op_ld"), 1.0);
    }
}
