//! The machine: memory that outlives launches, and the launch itself.

use std::collections::HashMap;

use super::fault::{Details, Fault, FaultKind};
use super::findings::{Finding, Findings};
use super::grid::{Order, Run, counters, profile, watched};
use super::launch::{Arg, Config, Launch, Report, Survey};
use super::mem::{Bytes, Global, Span, function_address};
use super::module::{Entry, Module};
use super::observe::Observer;
use super::parallel::run_grid;
use super::program::{Preset, Program, Special, layout};
use super::simd::Level;
use super::source::{Space, Target, Var};
use super::state::{Exec, Shape};
use super::watch::Watch;

/// A range of addresses that is not inside one live allocation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoSuchMemory(String);

impl std::fmt::Display for NoSuchMemory {
    fn fmt(&self, o: &mut std::fmt::Formatter) -> std::fmt::Result {
        o.write_str(&self.0)
    }
}

impl std::error::Error for NoSuchMemory {}

/// Contents of memory at one time ([`Machine::snapshot`]): the same launch is run from them again, in another order.
#[derive(Clone)]
pub struct Snapshot(Vec<Bytes>);

/// A GPU that runs one launch at a time, block after block. Tests that want parallelism use a machine each.
///
/// ```
/// use lae_ptx::{Arg, Config, Launch, Machine, Module};
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
/// machine.launch(&module, "twice", &Launch::new([1; 3], [32, 1, 1], args))?;
/// let mut y = [0; 12];
/// machine.read(x, &mut y)?;
/// assert_eq!(y[8..], 6f32.to_le_bytes());
///
/// // One element more than there is memory for:
/// let args = vec![Arg::Update { addr: x, len: 12 }, 4u32.into()];
/// let fault = machine.launch(&module, "twice", &Launch::new([1; 3], [32, 1, 1], args)).unwrap_err();
/// assert!(fault.to_string().starts_with("out of bounds: read of 4 bytes in global memory"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Machine {
    config: Config,
    global: Global,
    /// Variables of modules, by module and index.
    variables: HashMap<(u64, u32), u64>,
    /// Where blocks of a cooperative launch meet; 0 until a launch needs it.
    workspace: u64,
    /// What the last launch printed.
    printed: String,
    level: Level,
    helped: u64,
}

impl Machine {
    pub fn new(config: Config) -> Machine {
        Machine {
            config,
            global: Global::new(),
            variables: HashMap::new(),
            workspace: 0,
            printed: String::new(),
            level: Level::best(),
            helped: 0,
        }
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

    /// Makes the range uninitialised, and fills the range with the pattern of uninitialised memory.
    pub fn forget(&mut self, addr: u64, len: u64) -> Result<(), NoSuchMemory> {
        let (i, at) = self.range(addr, len)?;
        self.global.buffers[i].bytes.forget(at, len as usize);
        Ok(())
    }

    fn range(&self, addr: u64, len: u64) -> Result<(usize, usize), NoSuchMemory> {
        self.global.range(addr, len).map_err(NoSuchMemory)
    }

    /// Address and size of a `.global` or `.const` variable. Variables keep their contents from launch to launch.
    pub fn symbol(&mut self, module: &Module, name: &str) -> Option<(u64, usize)> {
        self.place_variables(module);
        let i = module.source.var(name)?;
        let addr = *self.variables.get(&(module.id, i))?;
        Some((addr, module.source.vars[i as usize].size as usize))
    }

    /// The contents of all memory as they are, the variables of `module` among them.
    pub fn snapshot(&mut self, module: &Module) -> Snapshot {
        self.place_variables(module);
        Snapshot(self.global.buffers.iter().map(|b| b.bytes.clone()).collect())
    }

    /// Puts contents back, which values are initialised included. Memory that was made or freed since stays as it is.
    pub fn restore(&mut self, contents: &Snapshot) {
        for (b, old) in self.global.buffers.iter_mut().zip(&contents.0).filter(|(b, _)| !b.freed) {
            b.bytes.clone_from(old);
        }
    }

    /// Gives the module's variables addresses and initial values, unless they have them.
    fn place_variables(&mut self, module: &Module) {
        let vars = &module.source.vars;
        let global = |v: &Var| matches!(v.space, Space::Global | Space::Const);
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
            for r in &v.relocations {
                let target = match r.to {
                    Target::Var(k) => self.variables.get(&(module.id, k)).copied(),
                    Target::Function(f) => Some(function_address(f)),
                    Target::Nothing => None,
                };
                // The address of what has none stays null, so that an access through it is a fault.
                let value = target.map_or(0, |a| a.wrapping_add_signed(r.plus)).to_le_bytes();
                let (at, first, n) = (r.at as usize, r.first as usize, r.bytes as usize);
                data[at..at + n].copy_from_slice(&value[first..first + n]);
            }
            let addr = self.variables[&(module.id, i as u32)];
            self.write(addr, &data).expect("the variable was just placed");
        }
    }

    /// What the last launch printed with `printf`, up to its end or its fault; at most a mebibyte.
    pub fn printed(&self) -> &str {
        &self.printed
    }

    /// Runs a kernel to its end, or to the first fault.
    pub fn launch(&mut self, module: &Module, kernel: &str, launch: &Launch) -> Result<Report, Fault> {
        self.launch_observed(module, kernel, launch, None)
    }

    /// [`Machine::launch`], watched by an observer.
    pub fn launch_observed(
        &mut self,
        module: &Module,
        kernel: &str,
        launch: &Launch,
        observer: Option<&mut dyn Observer>,
    ) -> Result<Report, Fault> {
        self.run(module, kernel, launch, observer, 0).0
    }

    /// Blocks of the last launch that other threads of the host ran ([`Config::threads`]); how many is a matter of chance.
    pub fn helped(&self) -> u64 {
        self.helped
    }

    /// Runs a kernel to its end, and past findings that a launch can go on from: up to `most` of them. Lanes that must not access
    /// memory do without the access and read zeros; values that nobody wrote count as known once they were reported; a misused mbarrier
    /// is left as it was, and who waits for it goes on; a wrong `free` frees nothing. [`FaultKind::ends_a_launch`] lists what a launch
    /// cannot go on from; [`Survey::ended_by`] says that it came to that.
    pub fn survey(&mut self, module: &Module, kernel: &str, launch: &Launch, most: usize) -> Survey {
        let (result, mut findings) = self.run(module, kernel, launch, None, most.max(1));
        match result {
            Ok(report) => Survey { findings, complete: true, report },
            Err(fault) => {
                let report = Report { instructions: fault.executed, ..Report::default() };
                // The finding that the launch ended at is in the list, unless a launch cannot go on from it.
                if findings.len() < most.max(1) {
                    findings.push(Finding { fault, times: 1 });
                }
                Survey { findings, complete: false, report }
            }
        }
    }

    /// Runs a kernel, to its first fault (`most` = 0) or past up to `most` findings.
    fn run(
        &mut self,
        module: &Module,
        kernel: &str,
        launch: &Launch,
        observer: Option<&mut dyn Observer>,
        most: usize,
    ) -> (Result<Report, Fault>, Vec<Finding>) {
        self.printed.clear();
        let (program, shape) = match self.prepare(module, kernel, launch) {
            Ok(prepared) => prepared,
            Err(kind) => {
                let kernel = kernel.to_string();
                let d = Details { kind, kernel, block: None, thread: None, lane: None, site: None, executed: 0 };
                return (Err(Fault::from(d)), Vec::new());
            }
        };
        let c = &self.config;
        let mut x = Exec::new(c, self.level, &mut self.global, program, shape);
        if c.checks.race || c.counters {
            x.watch = Some(Box::new(Watch::new(watched(&x, launch), c.checks.race, c.counters)));
        }
        if most > 0 || !c.suppressions.is_empty() {
            x.findings = Some(Box::new(Findings::new(module, program, kernel, &c.suppressions, most)));
        }
        // A shorter borrow of the same observer.
        x.observer = match observer {
            Some(o) => Some(&mut *o),
            None => None,
        };
        let order = Order::new(x.schedule, launch.grid);
        let result = run_grid(&mut x, Run { module, kernel, launch, order: &order }, c);
        let (findings, suppressed) = x.findings.take().map_or_else(Default::default, |f| (f.list, f.suppressed));
        let report = result.map(|()| {
            let profile = profile(&x, module);
            let traffic = x.watch.take().and_then(|w| w.traffic);
            let counters = traffic.map(|t| counters(t, &x, module, &profile, order.blocks)).unwrap_or_default();
            Report { instructions: x.executed, blocks: order.blocks, profile, counters, suppressed, printed: x.printed.clone() }
        });
        self.helped = x.helped;
        self.printed = std::mem::take(&mut x.printed);
        self.global.spans.clear();
        (report, findings)
    }

    /// Checks a launch, and gives its kernel's program and what its blocks know of themselves.
    fn prepare<'a>(&mut self, module: &'a Module, kernel: &str, launch: &Launch) -> Result<(&'a Program, Shape), FaultKind> {
        let wrong = |why: String| FaultKind::Launch { why };
        let Some(entry) = module.entry(kernel) else {
            let names: Vec<&str> = module.entries().iter().map(|e| e.name.as_str()).collect();
            return Err(wrong(format!("`{}` has no kernel of this name; it has {}", module.name(), names.join(", "))));
        };
        let program = module.program(entry).map_err(|e| FaultKind::Unsupported { why: e.to_string() })?;
        let (shared, dynamic_at) = self.sizes(module, entry, program, launch).map_err(wrong)?;
        self.place_variables(module);
        let params = self.arguments(module, entry, program, launch).map_err(wrong)?;
        let address = |i| self.variables.get(&(module.id, i)).copied().unwrap_or(0);
        let symbols = (0..module.source.vars.len() as u32).map(address).collect();
        let workspace = self.workspace(program).map_err(wrong)?;
        let (grid, block, dynamic) = (launch.grid, launch.block, launch.shared);
        Ok((program, Shape { workspace, grid, block, at: [0; 3], params, dynamic_at, shared, dynamic, symbols }))
    }

    /// The memory in which the blocks of a cooperative launch meet (`grid.sync`), as zeros: its size and a counter. None for a
    /// program that does not ask where it is.
    fn workspace(&mut self, program: &Program) -> Result<u64, String> {
        const BYTES: u64 = 8;
        let asks = |p: &Preset| matches!(p, Preset::Special(Special::Workspace(_)));
        if !program.functions.iter().any(|f| f.presets.iter().any(|(_, _, p)| asks(p))) {
            return Ok(0);
        }
        if self.workspace == 0 {
            self.workspace = self.global.alloc("grid workspace", Bytes::zeros(BYTES as usize));
        }
        let (lo, hi) = (self.workspace, self.workspace + BYTES);
        let (buffer, at) = self.global.range(lo, BYTES)?;
        self.global.buffers[buffer].bytes.set(at, 4, BYTES, true);
        self.global.buffers[buffer].bytes.set(at + 4, 4, 0, true);
        self.global.spans.push(Span { lo, hi, buffer, write: true, what: "workspace".into() });
        Ok(lo)
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
        let (offsets, size) = layout(&module.source.functions[entry.function].params, 0);
        let mut params = vec![0; size as usize];
        for (i, (arg, p)) in launch.args.iter().zip(&entry.params).enumerate() {
            let bytes = self.grant(&format!("argument {i}"), &format!(" (`{}`)", p.name), arg)?;
            if bytes.len() != p.size as usize {
                return Err(format!("argument {i} has {} bytes; parameter `{}` has {}", bytes.len(), p.name, p.size));
            }
            params[offsets[i] as usize..offsets[i] as usize + bytes.len()].copy_from_slice(&bytes);
        }
        for (i, arg) in launch.also.iter().enumerate() {
            self.grant(&format!("also {i}"), "", arg)?;
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
        // What kernels have allocated themselves, they may use in any launch.
        for (i, b) in self.global.buffers.iter().enumerate().filter(|(_, b)| b.heap && !b.freed) {
            self.global.spans.push(Span { lo: b.lo, hi: b.lo + b.len, buffer: i, write: true, what: "device heap".into() });
        }
        Ok(params)
    }

    /// Lets the launch touch what an argument grants, and gives the argument's bytes. `what` is the argument's name in messages.
    fn grant(&mut self, what: &str, of: &str, arg: &Arg) -> Result<Vec<u8>, String> {
        let mut grants = Vec::new();
        let bytes = arg.lay("", &mut grants).map_err(|e| format!("{what}{of}, {e}"))?;
        for g in grants {
            let (buffer, _) = self.global.range(g.addr, g.len).map_err(|e| format!("{what}{of}{}: {e}", g.way))?;
            let what = format!("{what}{}", g.way);
            self.global.spans.push(Span { lo: g.addr, hi: g.addr + g.len, buffer, write: g.write, what });
        }
        Ok(bytes)
    }
}
