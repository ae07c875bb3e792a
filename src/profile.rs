//! What the kernels do at given shapes: every launch of a list of ops, run on the PTX emulator, counted and judged.
//!
//! Counts are exact, or bounds that [`crate::ptx::counters`] states. Times are estimates of [`crate::ptx::roofline`]; nothing here
//! was measured on a GPU.

use rayon::prelude::*;

use crate::core::case::{Case, Sampling};
use crate::core::dtype::DType;
use crate::core::op::{Pass, Set};
use crate::core::params::ParamStore;
use crate::core::plan::{Memory, Plan};
use crate::core::real::Real;
use crate::core::rng::{Rng, stream};
use crate::core::shape::Shape;
use crate::core::tape::{Tape, Var};
use crate::device::emu::{Emulator, Launched, Options};
use crate::device::kernels::{Kernel, Target};
use crate::device::{Device, Hopper, Precision};
use crate::error::Result;
use crate::ops::{cast, dot};
use crate::ptx::Checks;
use crate::ptx::counters::Counters;
use crate::ptx::occupancy::Occupancy;
use crate::ptx::roofline::{self, DataSheet};

/// The launches of one kernel that one op makes in a step.
pub struct Row {
    /// The layer that the op was recorded in, and the op.
    pub layer: String,
    pub op: &'static str,
    /// Shapes of the inputs.
    pub inputs: String,
    pub kernel: &'static Kernel,
    pub launches: u64,
    /// Of the first launch.
    pub grid: [u32; 3],
    pub threads: u32,
    /// Static and dynamic shared memory of a block, bytes.
    pub shared: u32,
    /// Per thread, for the GPU that was asked for.
    pub registers: u32,
    pub spilled: u32,
    pub counters: Counters,
    /// Multiply-adds that the op needs, where the kernel is one that multiplies matrices.
    pub useful_macs: Option<u64>,
    pub occupancy: Option<Occupancy>,
    /// Estimated, with the resource that binds the longest launch. None: the block does not fit that GPU.
    pub seconds: Option<f64>,
    pub bound: &'static str,
    longest: f64,
}

impl Row {
    /// Useful multiply-adds over executed ones: what tiles waste at their edges.
    pub fn tile_use(&self) -> Option<f64> {
        self.useful_macs.map(|m| m as f64 / self.counters.all_macs() as f64)
    }
    /// Bytes between L1 and L2 over the bytes of memory that the kernel touched.
    pub fn moved_over_compulsory(&self) -> f64 {
        let touched = self.counters.read.bytes + self.counters.written.bytes;
        self.counters.moved_bytes() as f64 / touched.max(1) as f64
    }
}

/// Runs every case once, forward and backward, and gives a row for each case and kernel; on kernels for sm_90a where that is asked
/// for. `done` hears of each case that ended.
pub fn profile(
    cases: &[Case],
    precision: Precision,
    gpu: &'static DataSheet,
    hopper: Option<Hopper>,
    done: impl Fn() + Sync,
) -> Result<Vec<Row>> {
    let rows: Vec<Vec<Row>> = cases
        .par_iter()
        .map(|c| {
            let rows = one(c, precision, gpu, hopper);
            done();
            rows
        })
        .collect::<Result<_>>()?;
    Ok(rows.into_iter().flatten().collect())
}

fn one(case: &Case, precision: Precision, gpu: &'static DataSheet, hopper: Option<Hopper>) -> Result<Vec<Row>> {
    // Checks are the tests' business.
    let checks = Checks { init: false, race: false, tf32: false };
    let options = Options { checks, counters: true, ..Options::default() };
    let emulator = match hopper {
        Some(when) => Emulator::hopper(options, when),
        None => Emulator::new(options),
    };
    let store = ParamStore::new(0);
    let mut t = Tape::new(&store);
    let mut store = store;
    let x = t.case_inputs(case);
    let mut fed: Vec<(Var, Shape, Sampling)> = x.iter().zip(&case.inputs).map(|(&v, &(s, f))| (v, s, f)).collect();
    let y = t.record_case(case, &x)?;
    let wanted: Vec<Var> = (0..x.len()).filter(|&i| case.wants.has(i)).map(|i| x[i]).collect();
    let mut fetch = y.clone();
    fetch.extend(case.op.updates().iter().map(|&i| x[i]));
    if !y.is_empty() && case.wants != Set::NONE && !wanted.is_empty() {
        let shape = t.shape(y[0]);
        let u = t.input(shape);
        fed.push((u, shape, Sampling::Normal));
        let real = cast::cast(&mut t, y[0], DType::F32)?;
        let loss = dot::dot(&mut t, real, u)?;
        let g = t.backward(loss, &wanted)?;
        fetch.extend(wanted.iter().filter_map(|&v| g.of(v)));
    }
    let ys: Vec<Shape> = y.iter().map(|&v| t.shape(v)).collect();
    let xs: Vec<Shape> = case.inputs.iter().map(|i| i.0).collect();
    let macs = case.op.cost(Pass::Forward, &xs, &ys).macs;
    let mut plan = Plan::on(&Device::Gpu(emulator.clone(), precision), t, &fetch, Memory::Planned)?;
    for (i, &(v, s, f)) in fed.iter().enumerate() {
        let values = f.values(s, &mut Rng::new(22, stream("case"), i as u64));
        match plan.dtype(v) {
            DType::F32 => plan.feed(v)?.copy_from_slice(&values),
            DType::Bf16 => plan.feed_bf16(v)?.iter_mut().zip(&values).for_each(|(d, s)| *d = s.bf16()),
        }
    }
    emulator.keep_reports();
    plan.run(&mut store)?;
    let launches = emulator.take_reports();
    // Between the passes stands the scalar product that gives the backward pass something to derive, in casts if y is bf16.
    let at = |name: &str| launches.iter().position(|l| l.kernel.name == name).filter(|_| case.op.name() != "dot");
    let casts = y.iter().take(1).filter(|&&v| plan.dtype(v) == DType::Bf16).count();
    let between = at("dot_fwd_f32").zip(at("dot_bwd_f32")).map_or(0..0, |(first, last)| first - casts..last + 1 + casts);
    let mut rows: Vec<Row> = Vec::new();
    for (_, l) in launches.into_iter().enumerate().filter(|(i, _)| !between.contains(i)) {
        add(&mut rows, case, &xs, macs, l, gpu);
    }
    Ok(rows)
}

fn add(rows: &mut Vec<Row>, case: &Case, xs: &[Shape], macs: u64, l: Launched, gpu: &'static DataSheet) {
    let built = l.kernel.on(if gpu.sm >= 90 { 90 } else { 80 });
    let registers = built.map_or(0, |r| r.registers);
    let threads = l.block.iter().product();
    let shared = l.shared + l.kernel.shared;
    let c = l.report.counters;
    let half = l.kernel.name.contains("wgmma") && l.kernel.name.ends_with("_bf16");
    let shape = roofline::Shape { threads, registers, shared, half };
    let e = roofline::estimate(&c, shape, gpu);
    let (seconds, bound) = e.as_ref().map_or((None, "does not fit"), |e| (Some(e.seconds), e.bound_name()));
    let i = rows.iter().position(|r| r.kernel.name == l.kernel.name).unwrap_or_else(|| {
        rows.push(Row {
            layer: case.label.clone(),
            op: case.op.name(),
            inputs: xs.iter().map(Shape::to_string).collect::<Vec<_>>().join(" "),
            kernel: l.kernel,
            launches: 0,
            grid: l.grid,
            threads,
            shared,
            registers,
            spilled: built.map_or(0, |r| r.spill_stores + r.spill_loads),
            counters: Counters::default(),
            useful_macs: None,
            occupancy: e.as_ref().map(|e| e.occupancy),
            seconds: Some(0.0),
            bound,
            longest: 0.0,
        });
        rows.len() - 1
    });
    let row = &mut rows[i];
    row.launches += 1;
    // fprop and dgrad of a case may be two launches of one kernel for sm_90a.
    if ["fprop", "dgrad", "wgrad", "linear_fwd", "wgmma"].iter().any(|p| row.kernel.name.contains(p)) {
        // With 3xtf32 each factor is a sum of two, and three of the four products are formed.
        let times = if row.kernel.name.contains("3xtf32") { 3 } else { 1 };
        *row.useful_macs.get_or_insert(0) += macs * times;
    }
    row.counters.merge(&c);
    row.seconds = row.seconds.zip(seconds).map(|(a, b)| a + b);
    if seconds.unwrap_or(f64::INFINITY) > row.longest {
        (row.longest, row.bound) = (seconds.unwrap_or(f64::INFINITY), bound);
    }
}

/// A kernel in a step of training, all its launches together.
pub struct InStep {
    pub kernel: &'static str,
    pub launches: u64,
    pub counters: Counters,
    pub useful_macs: Option<u64>,
    /// Estimated, and what binds the longest of its rows.
    pub seconds: f64,
    pub bound: &'static str,
    longest: f64,
}

/// The kernels of a step of `pictures`, the longest first, from what the emulator counts with two and with four: `two[i]` and `four[i]`
/// are the same op, each as often as the step runs it. A count is a constant and a share of each picture, but for tiles at the ends of
/// small layers. Convolutions whose filters stay as they are, which have no sums over pixels, are counted with two pictures alone, as are
/// cases whose kernels are others with four: these counts are multiplied.
pub fn step(
    two: &[Case],
    four: &[Case],
    pictures: u64,
    precision: Precision,
    gpu: &'static DataSheet,
    hopper: Option<Hopper>,
    done: impl Fn() + Sync,
) -> Result<Vec<InStep>> {
    assert_eq!(two.len(), four.len(), "one step, recorded twice");
    let mut unique: Vec<(&Case, &Case, u64)> = Vec::new();
    for (a, b) in two.iter().zip(four) {
        match unique.iter_mut().find(|u| u.0.same_work(a) && u.0.wants == a.wants) {
            Some(u) => u.2 += 1,
            None => unique.push((a, b, 1)),
        }
    }
    let each = unique.par_iter().map(|&(a, b, times)| {
        let multiplied = a.op.name().starts_with("conv") && !a.wants.has(1);
        let more = if multiplied { Vec::new() } else { one(b, precision, gpu, hopper)? };
        let rows = (one(a, precision, gpu, hopper)?, more, times);
        done();
        Ok(rows)
    });
    let mut out: Vec<InStep> = Vec::new();
    for (a, b, times) in each.collect::<Result<Vec<_>>>()? {
        let same = a.len() == b.len() && a.iter().zip(&b).all(|(a, b)| a.kernel.name == b.kernel.name);
        for (i, two) in a.into_iter().enumerate() {
            // c(n) = c(2) + (n/2 − 1)·(c(4) − c(2)), or c(2)·n/2.
            let pairs = pictures / 2;
            let along = |x: u64, y: u64| if same { (x + (pairs - 1) * y).saturating_sub((pairs - 1) * x) } else { x * pairs };
            let none = Counters::default();
            let mut c = two.counters.extrapolated(if same { &b[i].counters } else { &none }, along);
            if two.kernel.module.target == Target::Sm90a {
                // One for each multiprocessor, however many pictures there are.
                c.blocks = two.launches * gpu.multiprocessors as u64;
            }
            let useful = two.useful_macs.map(|x| along(x, b.get(i).and_then(|r| r.useful_macs).unwrap_or(0)));
            let half = two.kernel.name.contains("wgmma") && two.kernel.name.ends_with("_bf16");
            let shape = roofline::Shape { threads: two.threads, registers: two.registers, shared: two.shared, half };
            let e = roofline::estimate(&c, shape, gpu);
            let bound = e.as_ref().map_or("does not fit", |e| e.bound_name());
            let seconds = e.map_or(f64::INFINITY, |e| e.seconds) + (two.launches - 1) as f64 * roofline::LAUNCH;
            let k = out.iter().position(|r| r.kernel == two.kernel.name).unwrap_or_else(|| {
                let (kernel, counters) = (two.kernel.name, Counters::default());
                out.push(InStep { kernel, launches: 0, counters, useful_macs: None, seconds: 0.0, bound, longest: 0.0 });
                out.len() - 1
            });
            let row = &mut out[k];
            for _ in 0..times {
                row.counters.merge(&c);
            }
            row.launches += times * two.launches;
            row.useful_macs = useful.map(|u| row.useful_macs.unwrap_or(0) + times * u);
            row.seconds += times as f64 * seconds;
            if seconds > row.longest {
                (row.longest, row.bound) = (seconds, bound);
            }
        }
    }
    out.sort_by(|a, b| b.seconds.total_cmp(&a.seconds));
    Ok(out)
}
