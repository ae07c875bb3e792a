//! The PTX emulator as a driver: it runs the PTX that `build.rs` made with the launches that the ops make, and checks every access.
//! A check that fails is an error of the launch, with kernel, thread and source line.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};

use super::kernels::{self, Kernel};
use super::{Arg, Driver, Hopper, Launch, Mem, Replay, Span};
use crate::error::{Error, Result};
use crate::ptx;
pub use crate::ptx::{Config as Options, Schedule};

/// A device of its own, with its own memory.
pub struct Emulator {
    state: Arc<Mutex<State>>,
    hopper: Option<Hopper>,
}

struct State {
    machine: ptx::Machine,
    /// Address and length of each block, by its number.
    blocks: HashMap<u64, (u64, usize)>,
    next: u64,
    /// While a run is recorded: what it did.
    recording: Option<Vec<Command>>,
    reports: Vec<Launched>,
    keep_reports: bool,
    /// Modules that were replaced, by name.
    other: HashMap<&'static str, Arc<ptx::Module>>,
}

/// One launch that the emulator ran, and what it did.
pub struct Launched {
    pub kernel: &'static Kernel,
    pub grid: [u32; 3],
    pub block: [u32; 3],
    /// Dynamic shared memory, bytes.
    pub shared: u32,
    pub report: ptx::Report,
}

#[derive(Clone)]
enum Command {
    Launch(Launch),
    Discard(Span),
}

impl Emulator {
    /// As a GPU before Hopper: convolutions in tf32 take the kernels for sm_80.
    pub fn new(options: Options) -> Arc<Emulator> {
        Emulator::of(options, None)
    }

    /// As a GPU of compute capability 9.0, which runs the kernels for sm_90a as well.
    pub fn hopper(options: Options, when: Hopper) -> Arc<Emulator> {
        Emulator::of(options, Some(when))
    }

    fn of(options: Options, hopper: Option<Hopper>) -> Arc<Emulator> {
        // Operands of products may have been rounded by an earlier kernel: a kernel that rounds none does not cut them on purpose.
        let fences = ptx::Fences::All;
        let machine = ptx::Machine::new(Options { truncation: ptx::Truncation::Never, fences, ..options });
        let (blocks, reports) = (HashMap::new(), Vec::new());
        let state = State { machine, blocks, next: 0, recording: None, reports, keep_reports: false, other: HashMap::new() };
        Arc::new(Emulator { state: Arc::new(Mutex::new(state)), hopper })
    }

    /// From now on keep what each launch reports (its counters), until [`Emulator::take_reports`].
    pub fn keep_reports(&self) {
        self.lock().keep_reports = true;
    }

    /// Every launch since the last call, in order.
    pub fn take_reports(&self) -> Vec<Launched> {
        std::mem::take(&mut self.lock().reports)
    }

    /// Runs this text wherever a kernel of the module is launched: for tests that break kernels.
    pub fn replace_module(&self, module: &'static kernels::Module, ptx: &str) -> Result<()> {
        let parsed = ptx::Module::parse(module.name, ptx);
        let parsed = parsed.map_err(|e| Error::Device { device: "emu".into(), why: e.to_string() })?;
        self.lock().other.insert(module.name, Arc::new(parsed));
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

/// A panic while the machine ran leaves it as it was: tests that look further see a consistent state.
fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(|e| e.into_inner())
}

/// Modules are parsed once and shared by all emulators. Their names are unique, those of registered ones included.
fn module(kernel: &'static Kernel) -> Result<Arc<ptx::Module>> {
    type Parsed = Result<Arc<ptx::Module>, String>;
    static PARSED: Mutex<BTreeMap<&str, Arc<OnceLock<Parsed>>>> = Mutex::new(BTreeMap::new());
    // The lock covers the map alone: two modules may be parsed at the same time.
    let once = PARSED.lock().unwrap_or_else(|e| e.into_inner()).entry(kernel.module.name).or_default().clone();
    let parse = || ptx::Module::parse(kernel.module.name, kernel.module.ptx).map(Arc::new).map_err(|e| e.to_string());
    once.get_or_init(parse).clone().map_err(|why| Error::Device { device: "emu".into(), why })
}

impl State {
    fn address(&self, s: Span) -> u64 {
        let (base, len) = self.blocks[&s.mem.0];
        assert!(s.offset + s.len <= len, "span of {} bytes at {} of a block of {len}", s.len, s.offset);
        base + s.offset as u64
    }

    fn run(&mut self, l: &Launch) -> Result<()> {
        let module = match self.other.get(l.kernel.module.name) {
            Some(m) => m.clone(),
            None => module(l.kernel)?,
        };
        let arg = |a: &Arg| match a {
            Arg::Read(s) => ptx::Arg::Read { addr: self.address(*s), len: s.len as u64 },
            Arg::Write(s) => ptx::Arg::Write { addr: self.address(*s), len: s.len as u64 },
            Arg::Update(s) => ptx::Arg::Update { addr: self.address(*s), len: s.len as u64 },
            Arg::Null => ptx::Arg::Null,
            Arg::Value(bytes) => ptx::Arg::Bytes(bytes.to_vec()),
            Arg::Map { span, map, write } => {
                let map = ptx::TensorMap { address: self.address(*span), ..(**map).clone() };
                ptx::Arg::Map { map, write: *write }
            }
        };
        let launch = ptx::Launch {
            grid: l.grid,
            block: l.block,
            shared: l.shared,
            args: l.args.iter().map(arg).collect(),
            ..ptx::Launch::default()
        };
        let refused = |why: String| Error::Launch { kernel: l.kernel.name.to_string(), at: String::new(), why };
        let report = self.machine.launch(&module, l.kernel.name, &launch).map_err(|fault| refused(fault.to_string()))?;
        if self.keep_reports {
            self.reports.push(Launched { kernel: l.kernel, grid: l.grid, block: l.block, shared: l.shared, report });
        }
        Ok(())
    }

    fn discard(&mut self, s: Span) {
        let address = self.address(s);
        self.machine.forget(address, s.len as u64).expect("a span lies inside its block");
    }
}

impl Driver for Emulator {
    fn name(&self) -> &str {
        "emu"
    }

    /// Every block is an allocation of its own, so that a stray access meets a guard.
    fn alloc(&self, blocks: &[(String, usize)]) -> Result<Vec<Mem>> {
        let mut state = self.lock();
        let mut out = Vec::with_capacity(blocks.len());
        for (name, bytes) in blocks {
            let address = state.machine.alloc(name, *bytes as u64);
            let n = state.next;
            state.next += 1;
            state.blocks.insert(n, (address, *bytes));
            out.push(Mem(n));
        }
        Ok(out)
    }

    fn free(&self, blocks: &[Mem]) {
        let mut state = self.lock();
        for b in blocks {
            if let Some((address, _)) = state.blocks.remove(&b.0) {
                state.machine.free(address).expect("a block is freed once");
            }
        }
    }

    fn upload(&self, dst: Span, src: &[u8]) -> Result<()> {
        let mut state = self.lock();
        let address = state.address(dst);
        assert_eq!(dst.len, src.len(), "an upload fills its span");
        state.machine.write(address, src).expect("a span lies inside its block");
        Ok(())
    }

    fn download(&self, src: Span, dst: &mut [u8]) -> Result<()> {
        let state = self.lock();
        let address = state.address(src);
        assert_eq!(src.len, dst.len(), "a download takes its whole span");
        state.machine.read(address, dst).expect("a span lies inside its block");
        Ok(())
    }

    fn launch(&self, l: &Launch) -> Result<()> {
        super::refuse_target(self, l)?;
        let mut state = self.lock();
        match &mut state.recording {
            Some(list) => list.push(Command::Launch(l.clone())),
            None => state.run(l)?,
        }
        Ok(())
    }

    fn sm_90a(&self) -> Result<Hopper, String> {
        match self.hopper {
            Some(when) if kernels::hopper() => Ok(when),
            Some(_) => Err(kernels::NO_HOPPER.to_string()),
            None => Err("this emulator stands for a GPU before Hopper".to_string()),
        }
    }

    /// Launches run at once here.
    fn sync(&self) -> Result<()> {
        Ok(())
    }

    fn record(&self, body: &mut dyn FnMut() -> Result<()>) -> Result<Box<dyn Replay>> {
        self.lock().recording = Some(Vec::new());
        let done = body();
        let commands = self.lock().recording.take().expect("recording");
        done?;
        Ok(Box::new(Recorded { state: self.state.clone(), commands }))
    }

    fn discard(&self, s: Span) -> Result<()> {
        let mut state = self.lock();
        match &mut state.recording {
            Some(list) => list.push(Command::Discard(s)),
            None => state.discard(s),
        }
        Ok(())
    }
}

struct Recorded {
    state: Arc<Mutex<State>>,
    commands: Vec<Command>,
}

impl Replay for Recorded {
    fn replay(&self) -> Result<()> {
        let mut state = lock(&self.state);
        self.commands.iter().try_for_each(|c| match c {
            Command::Launch(l) => state.run(l),
            Command::Discard(s) => {
                state.discard(*s);
                Ok(())
            }
        })
    }
}
