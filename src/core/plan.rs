//! A tape made ready to run: every value has a place in a buffer (decided in `layout.rs`), and running is a `for` loop. After the
//! plan is made, a run allocates nothing.

use std::sync::Arc;

use half::bf16;

use super::buffer::Buffer;
use super::dtype::DType;
use super::launch::Operands;
pub use super::layout::Memory;
use super::layout::{Layout, Part, Place, Prepared, Write};
use super::op::{Element, Half, Host, MAX, Pass};
use super::params::{ARENAS, ParamStore};
use super::shape::Shape;
use super::tape::{Home, Tape, Var};
use super::widen;
use crate::device::{Device, Driver, F32, Mem, Precision, Replay, Span};
use crate::error::{Error, Result};

/// What one step of a run took, by [`Plan::run_timed`].
#[derive(Clone, Debug)]
pub struct Timed {
    /// The layer that the op was recorded in.
    pub layer: String,
    pub op: &'static str,
    pub pass: Pass,
    pub seconds: f64,
}

/// A tape with memory, ready to run. `T` is f32 for training, f64 for the oracle (on the host only).
///
/// Made by [`Plan::on`] for a device, or by [`Plan::new`] for the host in any number type. Each run is fed, run and read:
///
/// ```
/// use lae_engine::ops::activation::relu;
/// use lae_engine::{Device, Memory, ParamStore, Plan, Shape, Tape};
///
/// let mut store = ParamStore::new(0);
/// let mut t = Tape::new(&store);
/// let x = t.input(Shape::vector(3));
/// let y = relu(&mut t, x)?;
/// let z = relu(&mut t, y)?;
/// let mut plan = Plan::on(&Device::Cpu, t, &[z], Memory::Planned)?;
///
/// plan.fill(x, &[-1.0, 0.5, 2.0])?;                       // inputs keep what they were filled with
/// plan.run(&mut store)?;
/// assert_eq!(plan.fetch(z)?, [0.0, 0.5, 2.0]);
/// assert!(plan.fetch(y).is_err());                        // not in the list: its memory has been used again
/// # Ok::<(), lae_engine::Error>(())
/// ```
///
/// The size of the batch is part of a plan: training and testing are two plans over one store, as in `examples/02_logistic.rs`.
pub struct Plan<T = f32> {
    pub(crate) tape: Tape,
    steps: Vec<Prepared>,
    /// The values that outlive a run, beside the inputs.
    fetched: Vec<Var>,
    place: Vec<Option<Place>>,
    /// The plan's slots, in bytes: a slot may hold values of several types, one after the other. On a GPU only those of inputs and
    /// fetched values are here, as copies; the others are empty.
    pool: Vec<Buffer<u8>>,
    scratch: Buffer<T>,
    /// Arenas that a run changes.
    writes: [bool; ARENAS],
    gpu: Option<OnGpu>,
}

/// The store's arenas in a device's memory; empty ones have none.
type ArenaMem = [Option<Mem>; ARENAS];

/// The slots in a device's memory, and what has been recorded of a run.
struct OnGpu {
    driver: Arc<dyn Driver>,
    precision: Precision,
    slots: Vec<Mem>,
    scratch: Option<Mem>,
    /// Bytes of all slots and the scratch memory.
    bytes: usize,
    /// Bytes of scratch memory, step by step.
    scratch_bytes: Vec<usize>,
    /// Slots to upload before a run and to download after it, with their bytes.
    inputs: Vec<(usize, usize)>,
    fetched: Vec<(usize, usize)>,
    /// A recorded run, for arenas at these places.
    graph: Option<(Box<dyn Replay>, ArenaMem)>,
    runs: usize,
    /// Wait after every step, record nothing: an asynchronous fault then names its op.
    stepwise: bool,
}

impl Drop for OnGpu {
    fn drop(&mut self) {
        self.graph = None;
        self.slots.extend(self.scratch);
        self.driver.free(&self.slots);
    }
}

impl Plan<f32> {
    /// A plan for `device`. On a GPU the first run loops over the steps, the second is recorded, later ones are replayed; the
    /// environment variable `LAE_EAGER=1` keeps to the loop and waits after every step.
    pub fn on(device: &Device, tape: Tape, fetch: &[Var], memory: Memory) -> Result<Plan<f32>> {
        let (driver, precision) = match device {
            Device::Cpu => {
                let (plan, sizes) = Plan::layout(tape, fetch, memory)?;
                return plan.at_home(sizes);
            }
            Device::Gpu(driver, precision) => (driver.clone(), *precision),
        };
        let (mut plan, sizes) = Plan::layout(tape, fetch, memory)?;
        let place = |v: Var| plan.place[v.index()].filter(|p| p.buffer >= ARENAS).map(|p| (p.buffer - ARENAS, p.len));
        let all = (0..plan.tape.values.len()).map(|i| plan.tape.var(i));
        let inputs: Vec<_> = all.filter(|v| plan.tape.values[v.index()].home == Home::Input).filter_map(place).collect();
        let fetched: Vec<_> = fetch.iter().copied().filter_map(place).collect();
        let step_bytes = |(s, p): (&super::tape::Step, &Prepared)| {
            let own = s.op.gpu_scratch(s.pass, &p.xs, &p.ys, s.wants, precision.of_factors(p.widens_on_gpu > 0));
            own + p.widens_on_gpu * F32
        };
        let scratch_bytes: Vec<usize> = plan.tape.steps.iter().zip(&plan.steps).map(step_bytes).collect();
        let largest = scratch_bytes.iter().copied().max().unwrap_or(0);
        let mut blocks: Vec<_> = sizes.iter().enumerate().map(|(i, &n)| (format!("slot {i}"), n)).collect();
        if largest > 0 {
            blocks.push(("scratch".to_string(), largest));
        }
        let bytes = blocks.iter().map(|b| b.1).sum();
        let mut slots = driver.alloc(&blocks)?;
        let scratch = if largest > 0 { slots.pop() } else { None };
        for &(slot, len) in inputs.iter().chain(&fetched) {
            let len = len.max(plan.pool[slot].len());
            plan.pool[slot].resize(len);
        }
        let stepwise = std::env::var_os("LAE_EAGER").is_some_and(|v| v == "1");
        plan.gpu = Some(OnGpu {
            driver,
            precision,
            slots,
            scratch,
            bytes,
            scratch_bytes,
            inputs,
            fetched,
            graph: None,
            runs: 0,
            stepwise,
        });
        Ok(plan)
    }
}

/// Bytes of memory and swap that nobody uses, where the system tells (Linux).
fn free_memory() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let kib = |key: &str| text.lines().find_map(|l| l.strip_prefix(key)?.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
    Some((kib("MemAvailable:")? + kib("SwapFree:").unwrap_or(0)) * 1024)
}

impl<T: Element> Plan<T> {
    /// A plan for the host, in any number type. Decides where everything lives: values in `fetch` and all inputs keep their buffers
    /// to the end of the run. An error if the host has too little memory, or if a value of `fetch` belongs to another tape.
    pub fn new(tape: Tape, fetch: &[Var], memory: Memory) -> Result<Plan<T>> {
        let (plan, sizes) = Plan::layout(tape, fetch, memory)?;
        plan.at_home(sizes)
    }

    /// With slots in the host's memory, if it has so much.
    fn at_home(mut self, sizes: Vec<usize>) -> Result<Plan<T>> {
        let scratch = self.steps.iter().map(|s| s.widens + s.scratch).max().unwrap_or(0);
        let bytes = (sizes.iter().sum::<usize>() + scratch * size_of::<T>()) as u64;
        let too_much = |free: Option<u64>| {
            let gib = |b: u64| b as f64 / (1u64 << 30) as f64;
            let free = free.map_or("the system refuses that".to_string(), |f| format!("{:.1} GiB are free", gib(f)));
            let why = format!(
                "one step needs {:.1} GiB of memory, {free}; a smaller train.batch, size or width needs less",
                gib(bytes)
            );
            Error::Device { device: "cpu".into(), why }
        };
        // Systems promise more memory than they have, and kill whoever uses it.
        if let Some(free) = free_memory().filter(|&f| bytes > f) {
            return Err(too_much(Some(free)));
        }
        self.scratch = Buffer::try_new(scratch).ok_or_else(|| too_much(None))?;
        let slot = |bytes| Buffer::try_new(bytes).ok_or_else(|| too_much(None));
        self.pool = sizes.into_iter().map(slot).collect::<Result<_>>()?;
        Ok(self)
    }

    /// Everything but the memory: the plan, with empty buffers, and the bytes of its slots.
    fn layout(tape: Tape, fetch: &[Var], memory: Memory) -> Result<(Plan<T>, Vec<usize>)> {
        tape.check_owned("plan", fetch)?;
        let Layout { place, slots, steps, writes } = Layout::of::<T>(&tape, fetch, memory);
        let pool = slots.iter().map(|_| Buffer::default()).collect();
        let fetched = fetch.to_vec();
        Ok((Plan { tape, steps, place, pool, fetched, scratch: Buffer::default(), writes, gpu: None }, slots))
    }

    /// Where an input or a fetched value of that type lies: its slot in the pool and its bytes.
    fn slot(&self, what: &'static str, v: Var, dtype: DType) -> Result<(usize, usize)> {
        self.tape.check_owned(what, &[v])?;
        let refused = |why: String| Err(Error::Shape { op: what, at: String::new(), why });
        let found = self.tape.dtype(v);
        if found != dtype {
            let name = what.trim_end_matches("_bf16");
            let other = if found == DType::Bf16 { "_bf16" } else { "" };
            return refused(format!("value {} ({}) is {found}, not {dtype}: use {name}{other}", v.index(), self.tape.shape(v)));
        }
        match (self.tape.values[v.index()].home, self.place[v.index()]) {
            (Home::Arena(..), _) => refused(format!("value {} is a parameter: read it from the store", v.index())),
            (Home::Computed, _) if !self.fetched.contains(&v) => refused(format!(
                "value {} ({}) was not in the list of values to fetch when the plan was made, so its memory is used again",
                v.index(),
                self.tape.shape(v)
            )),
            (_, Some(p)) => Ok((p.buffer - ARENAS, p.len)),
            (_, None) => refused(format!("value {} is computed by no step of this plan", v.index())),
        }
    }

    /// Fill an input before a run. An error for anything but an f32 input of this plan, and for another number of values.
    pub fn fill(&mut self, v: Var, values: &[T]) -> Result<()> {
        let to = self.feed(v)?;
        if to.len() != values.len() {
            let (takes, shape) = (to.len(), self.tape.shape(v));
            let why = format!("the input {shape} takes {takes} values, got {}", values.len());
            return Err(Error::Shape { op: "fill", at: String::new(), why });
        }
        to.copy_from_slice(values);
        Ok(())
    }

    /// The buffer of an input, to be filled before a run: zeros until then, and afterwards what it was filled with last. An error
    /// for anything but an f32 input of this plan.
    pub fn feed(&mut self, v: Var) -> Result<&mut [T]> {
        self.input("feed", v, DType::F32).map(bytemuck::cast_slice_mut)
    }

    /// The buffer of a bf16 input; otherwise as [`Plan::feed`].
    pub fn feed_bf16(&mut self, v: Var) -> Result<&mut [bf16]> {
        self.input("feed_bf16", v, DType::Bf16).map(bytemuck::cast_slice_mut)
    }

    fn input(&mut self, what: &'static str, v: Var, dtype: DType) -> Result<&mut [u8]> {
        self.tape.check_owned(what, &[v])?;
        if self.tape.values[v.index()].home != Home::Input {
            let why = format!("value {} is no input: only inputs are fed", v.index());
            return Err(Error::Shape { op: what, at: String::new(), why });
        }
        let (slot, len) = self.slot(what, v, dtype)?;
        Ok(&mut self.pool[slot][..len])
    }

    /// The values of an f32 input, or of an f32 variable that was in the plan's list to fetch, after a run. Anything else is an
    /// error: its memory holds another value by then.
    pub fn fetch(&self, v: Var) -> Result<&[T]> {
        let (slot, len) = self.slot("fetch", v, DType::F32)?;
        Ok(bytemuck::cast_slice(&self.pool[slot][..len]))
    }

    /// The values of a bf16 variable; otherwise as [`Plan::fetch`].
    pub fn fetch_bf16(&self, v: Var) -> Result<&[bf16]> {
        let (slot, len) = self.slot("fetch_bf16", v, DType::Bf16)?;
        Ok(bytemuck::cast_slice(&self.pool[slot][..len]))
    }

    /// The first number of a fetched variable: a loss.
    pub fn scalar(&self, v: Var) -> Result<f64> {
        Ok(self.fetch(v)?[0].f64())
    }

    /// The shape of a value of this plan's tape.
    pub fn shape(&self, v: Var) -> Shape {
        self.tape.shape(v)
    }
    pub fn dtype(&self, v: Var) -> DType {
        self.tape.dtype(v)
    }

    /// Run every step in order. `store` is the one that the tape was made over, or one of the same layout. On the host nothing can
    /// fail; on a GPU the error is the device's. A GPU leaves changed parameters in its memory: see [`ParamStore::pull`].
    pub fn run(&mut self, store: &mut ParamStore<T>) -> Result<()> {
        if self.gpu.is_some() {
            return self.run_gpu(store);
        }
        store.host_runs(self.writes)?;
        (0..self.steps.len()).for_each(|i| self.exec(i, store));
        Ok(())
    }

    /// On a GPU: wait after every step and record nothing, as `LAE_EAGER=1` does.
    pub fn stepwise(&mut self, on: bool) {
        if let Some(gpu) = &mut self.gpu {
            gpu.stepwise = on;
        }
    }

    /// Upload the inputs, run on the device, download what is fetched.
    fn run_gpu(&mut self, store: &mut ParamStore<T>) -> Result<()> {
        let gpu = self.gpu.as_ref().expect("a plan for a GPU");
        let arenas = self.upload(gpu, store)?;
        let all = || (0..self.steps.len()).try_for_each(|i| self.launch(gpu, i, &arenas));
        let mut recorded = None;
        match &gpu.graph {
            Some((graph, at)) if *at == arenas && !gpu.stepwise => graph.replay()?,
            _ if gpu.runs > 0 && !gpu.stepwise => {
                let graph = gpu.driver.record(&mut { all })?;
                graph.replay()?;
                recorded = Some((graph, arenas));
            }
            _ => all()?,
        }
        store.device_wrote(self.writes);
        for &(slot, len) in &gpu.fetched {
            gpu.driver.download(Span::whole(gpu.slots[slot], len), &mut self.pool[slot][..len])?;
        }
        let gpu = self.gpu.as_mut().expect("a plan for a GPU");
        gpu.runs += 1;
        gpu.graph = recorded.or(gpu.graph.take());
        Ok(())
    }

    /// Bring parameters and inputs to the device.
    fn upload(&self, gpu: &OnGpu, store: &mut ParamStore<T>) -> Result<ArenaMem> {
        let arenas = store.push(&gpu.driver)?;
        for &(slot, len) in &gpu.inputs {
            gpu.driver.upload(Span::whole(gpu.slots[slot], len), &self.pool[slot][..len])?;
        }
        Ok(arenas)
    }

    /// The launches of one step.
    fn launch(&self, gpu: &OnGpu, i: usize, arenas: &ArenaMem) -> Result<()> {
        let (step, prepared) = (&self.tape.steps[i], &self.steps[i]);
        let span = |p: Place| {
            let mem = match p.buffer.checked_sub(ARENAS) {
                Some(slot) => gpu.slots[slot],
                None => arenas[p.buffer].expect("a parameter lies in an arena"),
            };
            Span { mem, offset: p.offset, len: p.len, unit: p.dtype.bytes::<f32>() }
        };
        let pick = |ps: &[Option<Place>], i: usize| ps.get(i).copied().flatten().map(span);
        let mut out = [None; MAX];
        for (i, v) in step.out.iter().enumerate() {
            out[i] = v.and_then(|v| self.place[v.index()]).map(span);
        }
        // What the step computes anew: all of it but the updated inputs, which come after the outputs of a forward pass.
        let fresh = if step.pass == Pass::Forward { step.y.len() } else { step.out.len() };
        let scratch = gpu.scratch.map(|mem| Span::whole(mem, gpu.scratch_bytes[i])).filter(|s| s.len > 0);
        for s in out[..fresh].iter().flatten().copied().chain(scratch) {
            gpu.driver.discard(s)?;
        }
        let operands = Operands {
            driver: &*gpu.driver,
            precision: gpu.precision.of_factors(prepared.widens_on_gpu > 0),
            at: &step.at,
            xs: &prepared.xs,
            ys: &prepared.ys,
            x: std::array::from_fn(|i| pick(&prepared.x, i)),
            y: std::array::from_fn(|i| pick(&prepared.y, i)),
            dy: prepared.dy.map(span),
            out,
            scratch,
        };
        match prepared.widens_on_gpu {
            0 => step.op.launch(step.pass, &operands)?,
            _ => widen::launches(step, operands)?,
        }
        if gpu.stepwise { gpu.driver.sync().map_err(|e| e.at(&step.at)) } else { Ok(()) }
    }

    /// Run, timing every step, in order. On a GPU by its own clock, without copies; a device without one (the emulator) says so.
    pub fn run_timed(&mut self, store: &mut ParamStore<T>) -> Result<Vec<Timed>> {
        let arenas = match &self.gpu {
            Some(gpu) => self.upload(gpu, store)?,
            None => {
                store.host_runs(self.writes)?;
                [None; ARENAS]
            }
        };
        let mut rows = Vec::new();
        for i in 0..self.steps.len() {
            let seconds = match &self.gpu {
                Some(gpu) => gpu.driver.seconds(&mut || self.launch(gpu, i, &arenas))?,
                None => {
                    let start = std::time::Instant::now();
                    self.exec(i, store);
                    start.elapsed().as_secs_f64()
                }
            };
            let s = &self.tape.steps[i];
            rows.push(Timed { layer: s.at.to_string(), op: s.op.name(), pass: s.pass, seconds });
        }
        if self.gpu.is_some() {
            store.device_wrote(self.writes);
        }
        Ok(rows)
    }

    /// One step, in safe code: take the written buffers out of their places, borrow the read ones, put them back.
    fn exec(&mut self, i: usize, store: &mut ParamStore<T>) {
        let (step, prepared) = (&self.tape.steps[i], &self.steps[i]);
        let mut taken: [Buffer<u8>; MAX] = Default::default();
        for (Write { buffer, .. }, t) in prepared.writes.iter().zip(&mut taken) {
            *t = match buffer.checked_sub(ARENAS) {
                Some(slot) => std::mem::take(&mut self.pool[slot]),
                None => std::mem::take(&mut store.arenas[*buffer]).cast(),
            };
        }
        {
            let (pool, arenas) = (&self.pool, &store.arenas);
            let bytes = |p: Place| -> &[u8] {
                let b: &[u8] = match p.buffer.checked_sub(ARENAS) {
                    Some(slot) => &pool[slot],
                    None => bytemuck::cast_slice(&arenas[p.buffer]),
                };
                &b[p.offset..p.offset + p.len]
            };
            let real =
                |p: Option<Place>| -> &[T] { p.and_then(|p| p.of(DType::F32)).map_or(&[], |p| bytemuck::cast_slice(bytes(p))) };
            let half = |p: Option<Place>| -> &[bf16] {
                p.and_then(|p| p.of(DType::Bf16)).map_or(&[], |p| bytemuck::cast_slice(bytes(p)))
            };
            let (mut out, mut out_half): ([&mut [T]; MAX], [&mut [bf16]; MAX]) = Default::default();
            for (Write { parts, .. }, buffer) in prepared.writes.iter().zip(&mut taken) {
                let (mut rest, mut base) = (&mut buffer[..], 0);
                for &Part { operand, place } in parts {
                    let (_, tail) = rest.split_at_mut(place.offset - base);
                    let (mine, tail) = tail.split_at_mut(place.len);
                    match place.dtype {
                        DType::F32 => out[operand] = bytemuck::cast_slice_mut(mine),
                        DType::Bf16 => out_half[operand] = bytemuck::cast_slice_mut(mine),
                    }
                    (rest, base) = (tail, place.offset + place.len);
                }
            }
            let pick = |ps: &[Option<Place>], i: usize| ps.get(i).copied().flatten();
            let host = Host {
                xs: &prepared.xs,
                ys: &prepared.ys,
                x: std::array::from_fn(|i| real(pick(&prepared.x, i))),
                y: std::array::from_fn(|i| real(pick(&prepared.y, i))),
                dy: real(prepared.dy),
                out,
                scratch: &mut self.scratch[..prepared.widens + prepared.scratch],
                half: Half {
                    x: std::array::from_fn(|i| half(pick(&prepared.x, i))),
                    y: std::array::from_fn(|i| half(pick(&prepared.y, i))),
                    dy: half(prepared.dy),
                    out: out_half,
                },
            };
            match prepared.widens {
                0 => T::run(&*step.op, step.pass, host),
                _ => widen::run(step, host),
            }
        }
        for (Write { buffer, .. }, t) in prepared.writes.iter().zip(&mut taken) {
            match buffer.checked_sub(ARENAS) {
                Some(slot) => self.pool[slot] = std::mem::take(t),
                None => store.arenas[*buffer] = std::mem::take(t).cast(),
            }
        }
    }

    /// Bytes of all buffers that this plan owns, on the GPU if it runs there. (What goes up and comes down lies on the host too.)
    pub fn bytes(&self) -> usize {
        self.gpu.as_ref().map_or_else(|| self.pool.iter().map(Buffer::bytes).sum::<usize>() + self.scratch.bytes(), |g| g.bytes)
    }

    /// Number of steps.
    pub fn len(&self) -> usize {
        self.steps.len()
    }
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// Check that no two values that are alive at the same time share memory; the name of the first offender otherwise.
    pub fn audit(&self, fetch: &[Var]) -> Result<(), String> {
        let n = self.tape.values.len();
        let (mut first, mut last) = (vec![usize::MAX; n], vec![0usize; n]);
        for (i, s) in self.tape.steps.iter().enumerate() {
            s.out.iter().flatten().for_each(|v| first[v.index()] = first[v.index()].min(i));
            s.reads().chain(s.out.iter().flatten().copied()).for_each(|v| last[v.index()] = i);
        }
        fetch.iter().for_each(|v| last[v.index()] = usize::MAX);
        let live: Vec<usize> = (0..n).filter(|&v| first[v] != usize::MAX || self.tape.values[v].home == Home::Input).collect();
        for (k, &a) in live.iter().enumerate() {
            for &b in &live[k + 1..] {
                let (Some(pa), Some(pb)) = (self.place[a], self.place[b]) else { continue };
                let input = |v: usize| self.tape.values[v].home == Home::Input;
                let (fa, fb) = (if input(a) { 0 } else { first[a] }, if input(b) { 0 } else { first[b] });
                let (la, lb) = (if input(a) { usize::MAX } else { last[a] }, if input(b) { usize::MAX } else { last[b] });
                let apart = pa.buffer != pb.buffer || pa.offset + pa.len <= pb.offset || pb.offset + pb.len <= pa.offset;
                let arena = pa.buffer < ARENAS;
                if !apart && !arena && fa <= lb && fb <= la {
                    return Err(format!("values {a} and {b} share buffer {} while both are alive", pa.buffer));
                }
            }
        }
        Ok(())
    }
}
