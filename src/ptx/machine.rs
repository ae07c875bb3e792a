//! The machine: memory that outlives launches, and the launch itself.

use std::collections::HashMap;

use super::counters::{Counters, Traffic};
use super::decode::{self, Program};
use super::exec::Exec;
use super::fault::{Details, Fault, FaultKind, Raise};
use super::mem::{Bytes, Global, Span};
use super::module::{Entry, Module};
use super::num::approx::Approx;
use super::num::mma::Tensor;
use super::observe::Observer;
use super::op::{Code, Extra};
use super::schedule::{Preempt, Schedule};
use super::simd::Level;
use super::source::Space;
use super::state::{Barrier, Shape, State, Warp};
use super::watch::{Watch, Watched};

/// Which checks run beside the ones that always do (bounds, alignment, barriers, masks, budget).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checks {
    /// Values that nothing wrote, followed to a branch, an address or global memory.
    pub init: bool,
    /// Accesses to shared or global memory that nothing orders.
    pub race: bool,
    /// tf32 operands that were not rounded.
    pub tf32: bool,
}

/// When the copies of `cp.async` take effect. A correct kernel cannot tell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Copies {
    /// As late as is legal: when a wait covers them. Until then the destination holds no value.
    #[default]
    Late,
    /// At once.
    Eager,
}

/// How kernels are run.
#[derive(Clone, Debug)]
pub struct Config {
    pub checks: Checks,
    pub schedule: Schedule,
    /// Most warp instructions of one launch.
    pub budget: u64,
    /// Count executions of every instruction ([`Report::profile`]).
    pub counters: bool,
    pub copies: Copies,
    /// Values of the approximate functions (`ex2.approx` and its like).
    pub approx: Approx,
    /// Arithmetic of the tensor cores.
    pub tensor: Tensor,
    /// Most bytes of shared memory of a block; sm_80 has 163 KiB, sm_90 227.
    pub max_shared: u32,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            checks: Checks { init: true, race: true, tf32: true },
            schedule: Schedule::Forward,
            budget: 1 << 33,
            counters: false,
            copies: Copies::Late,
            approx: Approx::Central,
            tensor: Tensor::Ideal,
            max_shared: 227 << 10,
        }
    }
}

/// An argument of a launch. Pointers say what the kernel may do with what they point to; it may touch nothing else.
#[derive(Clone, Debug, PartialEq)]
pub enum Arg {
    /// A pointer to memory that the kernel must not change.
    Read { addr: u64, len: u64 },
    /// A pointer to memory that the kernel fills.
    Write { addr: u64, len: u64 },
    /// A pointer to memory that the kernel reads and changes.
    Update { addr: u64, len: u64 },
    /// A null pointer.
    Null,
    /// A value, as it lies in memory: a number or a struct.
    Bytes(Vec<u8>),
}

impl From<u32> for Arg {
    fn from(v: u32) -> Arg {
        Arg::Bytes(v.to_le_bytes().to_vec())
    }
}
impl From<i32> for Arg {
    fn from(v: i32) -> Arg {
        Arg::Bytes(v.to_le_bytes().to_vec())
    }
}
impl From<f32> for Arg {
    fn from(v: f32) -> Arg {
        Arg::Bytes(v.to_le_bytes().to_vec())
    }
}
impl From<u64> for Arg {
    fn from(v: u64) -> Arg {
        Arg::Bytes(v.to_le_bytes().to_vec())
    }
}

/// A range of addresses that is not inside one live allocation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoSuchMemory(String);

impl std::fmt::Display for NoSuchMemory {
    fn fmt(&self, o: &mut std::fmt::Formatter) -> std::fmt::Result {
        o.write_str(&self.0)
    }
}

impl std::error::Error for NoSuchMemory {}

/// What to launch a kernel with.
#[derive(Clone, Debug)]
pub struct Launch {
    /// Blocks along x, y and z.
    pub grid: [u32; 3],
    /// Threads of a block along x, y and z.
    pub block: [u32; 3],
    /// Bytes of dynamic shared memory.
    pub shared: u32,
    /// One for each parameter, in order.
    pub args: Vec<Arg>,
}

/// What a launch did.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Warp instructions.
    pub instructions: u64,
    pub blocks: u64,
    /// With [`Config::counters`]: a row for each PTX instruction of the kernel that was executed.
    pub profile: Vec<Executed>,
    /// With [`Config::counters`]: instructions, traffic and bank conflicts, in all and by line.
    pub counters: Counters,
}

/// How often an instruction was executed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Executed {
    pub opcode: String,
    /// Line of the PTX text.
    pub line: u32,
    /// Source line, if known: file number of `.file`, line.
    pub source: Option<(u32, u32)>,
    /// Times a warp executed it, and active lanes summed over them.
    pub warps: u64,
    pub lanes: u64,
}

/// A GPU that runs one launch at a time, block after block. Tests that want parallelism use a machine each.
///
/// ```
/// use lae_engine::ptx::{Arg, Config, Launch, Machine, Module};
///
/// let module = Module::parse("twice.ptx", r#"
///     .version 8.0
///     .target sm_80
///     .address_size 64
///     .visible .entry twice(.param .u64 x, .param .u32 n) {
///         .reg .pred %p<2>;
///         .reg .b32 %r<4>;
///         .reg .f32 %f<3>;
///         .reg .b64 %rd<4>;
///         ld.param.u64 %rd1, [x];
///         ld.param.u32 %r1, [n];
///         mov.u32 %r2, %tid.x;
///         setp.ge.u32 %p1, %r2, %r1;
///         @%p1 bra DONE;
///         mul.wide.u32 %rd2, %r2, 4;
///         add.s64 %rd3, %rd1, %rd2;
///         ld.global.f32 %f1, [%rd3];
///         add.rn.f32 %f2, %f1, %f1;
///         st.global.f32 [%rd3], %f2;
///     DONE:
///         ret;
///     }"#)?;
/// let mut machine = Machine::new(Config::default());
/// let x = machine.alloc("x", 12);
/// machine.write(x, &[1f32, 2.0, 3.0].map(f32::to_le_bytes).concat())?;
/// let args = vec![Arg::Update { addr: x, len: 12 }, 3u32.into()];
/// machine.launch(&module, "twice", &Launch { grid: [1; 3], block: [32, 1, 1], shared: 0, args })?;
/// let mut y = [0; 12];
/// machine.read(x, &mut y)?;
/// assert_eq!(y[8..], 6f32.to_le_bytes());
///
/// // One element more than there is memory for:
/// let args = vec![Arg::Update { addr: x, len: 12 }, 4u32.into()];
/// let fault = machine.launch(&module, "twice", &Launch { grid: [1; 3], block: [32, 1, 1], shared: 0, args }).unwrap_err();
/// assert!(fault.to_string().starts_with("out of bounds: read of 4 bytes in global memory"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Machine {
    config: Config,
    global: Global,
    /// Variables of modules, by module and index.
    variables: HashMap<(u64, u32), u64>,
    level: Level,
}

impl Machine {
    pub fn new(config: Config) -> Machine {
        Machine { config, global: Global::new(), variables: HashMap::new(), level: Level::best() }
    }

    pub fn config(&self) -> &Config {
        &self.config
    }

    pub fn config_mut(&mut self) -> &mut Config {
        &mut self.config
    }

    /// The instruction sets that this build can use here, slowest first.
    pub fn levels() -> Vec<&'static str> {
        Level::all().map(Level::name).collect()
    }

    /// Uses one of [`Machine::levels`]; results do not depend on it.
    pub fn set_level(&mut self, name: &str) -> bool {
        let found = Level::all().find(|l| l.name() == name);
        self.level = found.unwrap_or(self.level);
        found.is_some()
    }

    /// Memory of `bytes` bytes that nothing has written. The name is for messages. Addresses are multiples of 256 and never used
    /// again.
    pub fn alloc(&mut self, name: &str, bytes: u64) -> u64 {
        self.global.alloc(name, Bytes::unknown(bytes as usize))
    }

    /// Frees the allocation that begins at `addr`.
    pub fn free(&mut self, addr: u64) -> Result<(), NoSuchMemory> {
        let (i, at) = self.range(addr, 0)?;
        if at != 0 {
            return Err(NoSuchMemory(format!("free({addr:#x}): `{}` begins {at} bytes earlier", self.global.buffers[i].name)));
        }
        let b = &mut self.global.buffers[i];
        b.freed = true;
        b.bytes = Bytes::default();
        Ok(())
    }

    /// Copies to the machine.
    pub fn write(&mut self, addr: u64, data: &[u8]) -> Result<(), NoSuchMemory> {
        let (i, at) = self.range(addr, data.len() as u64)?;
        let b = &mut self.global.buffers[i].bytes;
        b.data[at..at + data.len()].copy_from_slice(data);
        b.mark(at, data.len());
        Ok(())
    }

    /// Copies from the machine, uninitialised bytes included: see [`Machine::initialised`].
    pub fn read(&self, addr: u64, data: &mut [u8]) -> Result<(), NoSuchMemory> {
        data.copy_from_slice(self.bytes(addr, data.len() as u64)?);
        Ok(())
    }

    /// The bytes of a range, without a copy.
    pub fn bytes(&self, addr: u64, len: u64) -> Result<&[u8], NoSuchMemory> {
        let (i, at) = self.range(addr, len)?;
        Ok(&self.global.buffers[i].bytes.data[at..at + len as usize])
    }

    /// Whether every byte of the range was written.
    pub fn initialised(&self, addr: u64, len: u64) -> Result<bool, NoSuchMemory> {
        let (i, at) = self.range(addr, len)?;
        Ok(self.global.buffers[i].bytes.is_known(at, len as usize))
    }

    /// Makes the range uninitialised and fills it with a pattern.
    pub fn forget(&mut self, addr: u64, len: u64) -> Result<(), NoSuchMemory> {
        let (i, at) = self.range(addr, len)?;
        self.global.buffers[i].bytes.forget(at, len as usize);
        Ok(())
    }

    fn range(&self, addr: u64, len: u64) -> Result<(usize, usize), NoSuchMemory> {
        self.global.range(addr, len).map_err(NoSuchMemory)
    }

    /// Address and size of a `.global` or `.const` variable. It keeps its contents from launch to launch.
    pub fn symbol(&mut self, module: &Module, name: &str) -> Option<(u64, usize)> {
        self.place_variables(module);
        let i = module.source.vars.iter().position(|v| v.name == name)?;
        let addr = *self.variables.get(&(module.id, i as u32))?;
        Some((addr, module.source.vars[i].size as usize))
    }

    /// Gives the module's variables addresses and initial values, once.
    fn place_variables(&mut self, module: &Module) {
        let vars = &module.source.vars;
        let global = |v: &super::source::Var| matches!(v.space, Space::Global | Space::Const);
        if !vars.iter().enumerate().any(|(i, v)| global(v) && !self.variables.contains_key(&(module.id, i as u32))) {
            return;
        }
        for (i, v) in vars.iter().enumerate().filter(|(_, v)| global(v)) {
            // Variables without a value begin as zeros.
            let addr = self.global.alloc(&v.name, Bytes::zeros(v.size as usize));
            self.variables.insert((module.id, i as u32), addr);
        }
        for (i, v) in vars.iter().enumerate().filter(|(_, v)| global(v)) {
            let mut data = v.init.clone();
            for (at, name, plus) in &v.relocations {
                let target = vars.iter().position(|v| v.name == *name).and_then(|k| self.variables.get(&(module.id, k as u32)));
                // An address of something else stays null, and faults where it is used.
                let value = target.map_or(0, |&a| a.wrapping_add(*plus as u64)).to_le_bytes();
                data[*at as usize..*at as usize + 8].copy_from_slice(&value);
            }
            let addr = self.variables[&(module.id, i as u32)];
            self.write(addr, &data).expect("the variable was just placed");
        }
    }

    /// Runs a kernel to its end, or to the first fault.
    pub fn launch(&mut self, module: &Module, kernel: &str, launch: &Launch) -> Result<Report, Fault> {
        self.launch_observed(module, kernel, launch, None)
    }

    /// The same, watched by an observer.
    pub fn launch_observed(
        &mut self,
        module: &Module,
        kernel: &str,
        launch: &Launch,
        observer: Option<&mut dyn Observer>,
    ) -> Result<Report, Fault> {
        let refuse = |kind: FaultKind| {
            Fault::from(Details {
                kind,
                kernel: kernel.to_string(),
                block: None,
                thread: None,
                lane: None,
                site: None,
                executed: 0,
            })
        };
        let wrong = |why: String| refuse(FaultKind::Launch { why });
        let Some(entry) = module.entry(kernel) else {
            let names: Vec<&str> = module.entries().iter().map(|e| e.name.as_str()).collect();
            return Err(wrong(format!("`{}` has no kernel of this name; it has {}", module.name(), names.join(", "))));
        };
        let program = module.program(entry).map_err(|e| refuse(FaultKind::Unsupported { why: e.to_string() }))?;
        let (shared, dynamic_at) = self.sizes(module, entry, program, launch).map_err(wrong)?;
        self.place_variables(module);
        let params = self.arguments(module, entry, program, launch).map_err(wrong)?;
        let symbols =
            (0..module.source.vars.len() as u32).map(|i| self.variables.get(&(module.id, i)).copied().unwrap_or(0)).collect();
        let shape = Shape {
            grid: launch.grid,
            block: launch.block,
            at: [0; 3],
            params,
            dynamic_at,
            shared,
            dynamic: launch.shared,
            symbols,
        };
        let c = &self.config;
        let ops = if c.counters { program.ops.len() } else { 0 };
        let mut x = Exec {
            program,
            global: &mut self.global,
            shape,
            shared: Bytes::unknown(shared as usize),
            barriers: [Barrier::default(); 16],
            live: 0,
            initcheck: c.checks.init,
            tf32check: c.checks.tf32,
            late_copies: c.copies == Copies::Late,
            approx: c.approx,
            tensor: c.tensor,
            counters: c.counters,
            tally: vec![[0; 2]; ops],
            executed: 0,
            budget: c.budget,
            hints: vec![0; program.mems.len()],
            watch: None,
            // A shorter borrow of the same observer.
            observer: match observer {
                Some(o) => Some(&mut *o),
                None => None,
            },
            preempt: if let Schedule::Random(seed) = c.schedule { Some(Preempt::new(seed)) } else { None },
            level: self.level,
            bits: std::hint::black_box(super::exec::BITS),
        };
        if c.checks.race || c.counters {
            x.watch = Some(Box::new(Watch::new(watched(&x, launch), c.checks.race, c.counters)));
        }
        let result = run_grid(&mut x, module, kernel, launch, c.schedule);
        let report = result.map(|blocks| {
            let profile = profile(&x, module);
            let traffic = x.watch.take().and_then(|w| w.traffic);
            let counters = traffic.map(|t| counters(t, &x, module, &profile, blocks)).unwrap_or_default();
            Report { instructions: x.executed, blocks, profile, counters }
        });
        self.global.spans.clear();
        report
    }

    /// Checks grid, block and shared memory. Gives the bytes of shared memory, and where its dynamic part begins.
    fn sizes(&self, module: &Module, entry: &Entry, program: &Program, launch: &Launch) -> Result<(u32, u32), String> {
        let [x, y, z] = launch.block;
        let threads = x as u64 * y as u64 * z as u64;
        if threads == 0 || threads > 1024 || z > 64 {
            return Err(format!("a block of {x} × {y} × {z} threads; it must have 1 to 1024, at most 64 along z"));
        }
        let [gx, gy, gz] = launch.grid;
        if gx == 0 || gy == 0 || gz == 0 || gx > i32::MAX as u32 || gy > 65535 || gz > 65535 {
            return Err(format!("a grid of {gx} × {gy} × {gz} blocks; limits are 1 to 2147483647 × 65535 × 65535"));
        }
        if let Some([mx, my, mz]) = entry.max_threads {
            let most = mx as u64 * my as u64 * mz as u64;
            if entry.required && launch.block != [mx, my, mz] {
                return Err(format!("a block of {x} × {y} × {z} threads; the kernel requires {mx} × {my} × {mz} (.reqntid)"));
            }
            if threads > most {
                return Err(format!("a block of {threads} threads; the kernel allows {most} (.maxntid)"));
            }
        }
        // Dynamic shared memory follows the static part, as its declaration asks.
        let align = module.source.vars.iter().filter(|v| v.space == Space::Shared && v.external).map(|v| v.align).max();
        let dynamic_at = program.shared.next_multiple_of(align.unwrap_or(16).max(16));
        let shared = if launch.shared > 0 { dynamic_at as u64 + launch.shared as u64 } else { program.shared as u64 };
        if shared > self.config.max_shared as u64 {
            let (fixed, more, max) = (program.shared, launch.shared, self.config.max_shared);
            return Err(format!("{shared} bytes of shared memory ({fixed} static, {more} dynamic); a block may have {max}"));
        }
        Ok((shared as u32, dynamic_at))
    }

    /// Checks the arguments, and lays them out as the kernel reads them.
    fn arguments(&mut self, module: &Module, entry: &Entry, program: &Program, launch: &Launch) -> Result<Vec<u8>, String> {
        if launch.args.len() != entry.params.len() {
            return Err(format!("{} arguments for {} parameters", launch.args.len(), entry.params.len()));
        }
        self.global.spans.clear();
        let (offsets, size) = decode::layout(&module.source.functions[entry.function].params, 0);
        let mut params = vec![0; size as usize];
        for (i, (arg, p)) in launch.args.iter().zip(&entry.params).enumerate() {
            let pointer;
            let bytes: &[u8] = match arg {
                Arg::Bytes(b) => b,
                Arg::Null => &[0; 8],
                Arg::Read { addr, len } | Arg::Write { addr, len } | Arg::Update { addr, len } => {
                    let (buffer, _) = self.global.range(*addr, *len).map_err(|e| format!("argument {i} (`{}`): {e}", p.name))?;
                    let write = !matches!(arg, Arg::Read { .. });
                    let what = format!("argument {i}");
                    self.global.spans.push(Span { lo: *addr, hi: addr + len, buffer, write, what });
                    pointer = addr.to_le_bytes();
                    &pointer
                }
            };
            if bytes.len() != p.size as usize {
                return Err(format!("argument {i} has {} bytes; parameter `{}` has {}", bytes.len(), p.name, p.size));
            }
            params[offsets[i] as usize..offsets[i] as usize + bytes.len()].copy_from_slice(bytes);
        }
        // Variables can reach each other through initial values, so a program that names one may touch all.
        if !program.globals.is_empty() {
            for (i, v) in module.source.vars.iter().enumerate() {
                if let Some(&lo) = self.variables.get(&(module.id, i as u32)) {
                    let (buffer, _) = self.global.range(lo, v.size as u64)?;
                    let write = v.space == Space::Global;
                    self.global.spans.push(Span { lo, hi: lo + v.size as u64, buffer, write, what: "variable".into() });
                }
            }
        }
        Ok(params)
    }
}

/// All blocks, in the order of the schedule.
fn run_grid(x: &mut Exec, module: &Module, kernel: &str, launch: &Launch, schedule: Schedule) -> Result<u64, Fault> {
    let [gx, gy, gz] = launch.grid.map(|n| n as u64);
    let blocks = gx * gy * gz;
    let warps = x.shape.threads().div_ceil(32);
    let mut pool: Vec<Warp> = (0..warps).map(Warp::new).collect();
    // An order of blocks is a list only where it has to be.
    let shuffled = if matches!(schedule, Schedule::Random(_)) { schedule.order(blocks as usize, 0) } else { Vec::new() };
    for n in 0..blocks {
        let b = match schedule {
            Schedule::Forward => n,
            Schedule::Reverse => blocks - 1 - n,
            Schedule::Random(_) => shuffled[n as usize] as u64,
        };
        x.shape.at = [(b % gx) as u32, (b / gx % gy) as u32, (b / gx / gy) as u32];
        if let Err((raise, who)) = run_block(x, &mut pool, schedule, b) {
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

/// Reports of several places carry op numbers as `@123`: put the instruction there.
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

/// One block to its end. An error names the warp it happened in, if one did.
fn run_block(x: &mut Exec, pool: &mut [Warp], schedule: Schedule, number: u64) -> Result<(), (Box<Raise>, Option<usize>)> {
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
        for i in schedule.order(pool.len(), number << 32 | turn) {
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
                _ if op.code == super::op::Code::Bar => {
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
fn watched(x: &Exec, launch: &Launch) -> Watched {
    let p = x.program;
    // Accesses are aligned to their size, so the narrowest one divides all. Shared memory is the busier by far: up to 16 bytes.
    let mut narrowest = (16, 4);
    for op in &p.ops {
        let whole = || p.mems[op.c as usize].bytes as u32 * p.mems[op.c as usize].count as u32;
        let (bytes, space) = match op.code {
            Code::LdShared | Code::StShared => (whole(), Some(Space::Shared)),
            Code::LdGlobal | Code::StGlobal => (whole(), Some(Space::Global)),
            Code::LdGeneric | Code::StGeneric => (whole(), None),
            Code::LdStrong | Code::StStrong => (whole(), super::decode::strong::space(op.x)),
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
        // What the launch does not name costs nothing.
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
fn counters(t: Traffic, x: &Exec, module: &Module, profile: &[Executed], blocks: u64) -> Counters {
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
fn profile(x: &Exec, module: &Module) -> Vec<Executed> {
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
