//! The benchmark rows of every op, forward and backward: `cargo bench --bench kernels -- conv2d`.
//!
//! Groups are called `cpu/<op>/<pass>` and, where there is a GPU, `cuda/<op>/<pass>`; rows `<layer> <sizes>`. Throughput is
//! multiply-accumulates where the op has more than one per value it moves, else bytes; see `Op::cost`. Only the op itself is timed:
//! the pass runs inside a plan, as in training, and the clock is the plan's on the host, CUDA events on a GPU. Where there is no
//! GPU, what the PTX emulator counts of the same launches is printed in place of times. `--test` runs every row once, and counts
//! only small ones.

use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group};
use lae_engine::core::case::{Case, Sampling};
use lae_engine::core::dtype::DType;
use lae_engine::core::op::Pass;
use lae_engine::core::params::ParamStore;
use lae_engine::core::plan::{Memory, Plan};
use lae_engine::core::real::Real;
use lae_engine::core::rng::{Rng, stream};
use lae_engine::core::shape::Shape;
use lae_engine::core::tape::{Tape, Var};
use lae_engine::device::{Device, Precision, kernels as built};
use lae_engine::ops::{OPS, cast::cast, dot::dot};
use lae_engine::profile;
use lae_engine::ptx::roofline::GPUS;

fn fill(kind: Sampling, s: Shape, index: u64, out: &mut [f32]) {
    let mut r = Rng::new(1, stream("bench"), index);
    let value = |r: &mut Rng| match kind {
        Sampling::Normal | Sampling::OffZero | Sampling::Distinct => r.normal(),
        Sampling::Positive => r.range(0.5, 1.5),
        Sampling::Binary => r.below(2) as f32,
        Sampling::Class(k) => r.below(k) as f32,
        Sampling::Counter => 7.0,
        Sampling::Mask => 0.0,
    };
    out.iter_mut().for_each(|x| *x = value(&mut r));
    if kind == Sampling::Mask {
        // The middle quarter of every picture.
        let (h, w) = (s.h as usize, s.w as usize);
        for (i, row) in out.chunks_mut(w).enumerate() {
            if (h / 4..h - h / 4).contains(&(i % h)) {
                row[w / 4..w - w / 4].fill(1.0);
            }
        }
    }
}

/// The layer that a row is recorded in: what stands around it is not timed.
const ROW: &str = "row";

/// One row in a plan: the op, a scalar made of its output if it is none, and the backward steps if asked for.
struct Row {
    plan: Plan<f32>,
    store: ParamStore<f32>,
}

impl Row {
    fn new(device: &Device, case: &Case, pass: Pass) -> Row {
        let store = ParamStore::new(0);
        let mut t = Tape::new(&store);
        let x = t.case_inputs(case);
        let y = t.scope(ROW, |t| t.record_case(case, &x)).expect("a row fits");
        let mut feeds: Vec<(Var, Shape, Sampling)> = x.iter().zip(&case.inputs).map(|(&v, &(s, f))| (v, s, f)).collect();
        if pass == Pass::Backward {
            let s = t.shape(y[0]);
            let loss = if s == Shape::SCALAR {
                y[0]
            } else {
                let u = t.input(s);
                feeds.push((u, s, Sampling::Normal));
                let real = cast(&mut t, y[0], DType::F32).expect("a value");
                dot(&mut t, real, u).expect("equal shapes")
            };
            let wrt: Vec<Var> = x.iter().enumerate().filter(|&(i, _)| case.wants.has(i)).map(|(_, &v)| v).collect();
            t.backward(loss, &wrt).expect("a scalar");
        }
        let mut plan = Plan::on(device, t, &y, Memory::Planned).expect("a row fits the device");
        for (i, (v, s, kind)) in feeds.into_iter().enumerate() {
            let mut values = vec![0.0; s.len()];
            fill(kind, s, i as u64, &mut values);
            match plan.dtype(v) {
                DType::F32 => plan.feed(v).unwrap().copy_from_slice(&values),
                DType::Bf16 => plan.feed_bf16(v).unwrap().iter_mut().zip(&values).for_each(|(d, s)| *d = s.bf16()),
            }
        }
        Row { plan, store }
    }
    /// Seconds that the pass itself took in one run.
    fn time(&mut self, pass: Pass) -> f64 {
        let rows = self.plan.run_timed(&mut self.store).expect("a row runs");
        rows.iter().filter(|r| r.layer == ROW && r.pass == pass).map(|r| r.seconds).sum()
    }
}

fn kernels(c: &mut Criterion) {
    groups(c, "cpu", &Device::Cpu);
    match Device::choose("cuda") {
        Ok((device, _)) => groups(c, "cuda", &device),
        Err(why) => println!("\nno times on a GPU: {why}"),
    }
}

/// Every row that the command line does not filter out, on the emulator: counts of the launches of both passes.
fn counts() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let filter = args.iter().find(|a| !a.starts_with('-'));
    // The emulator does some hundred million multiply-adds a second.
    let most = if args.iter().any(|a| a == "--test") { 20_000_000 } else { 2_000_000_000 };
    if built::KERNELS.is_empty() {
        return println!("no counts either: this build has no kernels; see `lae-engine doctor`");
    }
    println!(
        "counts of the PTX emulator, both passes of a row (bytes between L1 and L2 over bytes touched; no time was measured):"
    );
    for (op, table) in OPS {
        for case in table().into_iter().filter(|c| c.bench.is_some()) {
            let name = format!("emu/{op}/{} {}", case.bench.unwrap_or_default(), case.label);
            if filter.is_some_and(|f| !name.contains(f.as_str())) {
                continue;
            }
            let xs: Vec<Shape> = case.inputs.iter().map(|&(s, _)| s).collect();
            let macs = case.op.cost(Pass::Forward, &xs, &case.op.infer("", &xs).expect("a row fits")).macs;
            if macs > most {
                println!("{name:<44} left out: {macs} operations are much for an emulator; see `lae-engine kernels`");
                continue;
            }
            for r in profile::profile(&[case], Precision::F32, &GPUS[0], None, || {}).expect("a row runs") {
                println!(
                    "{name:<44} {:<28} {:>12} warp instructions  {:>6.2} moved/touched  {:>8} bank conflicts",
                    r.kernel.name,
                    r.counters.instructions,
                    r.moved_over_compulsory(),
                    r.counters.conflicts(),
                );
            }
        }
    }
}

fn groups(c: &mut Criterion, place: &str, device: &Device) {
    for (op, table) in OPS {
        for (pass, word) in [(Pass::Forward, "forward"), (Pass::Backward, "backward")] {
            let rows: Vec<Case> = table().into_iter().filter(|case| case.bench.is_some()).collect();
            // Optimisers and noise have no backward.
            let rows: Vec<Case> = rows
                .into_iter()
                .filter(|case| {
                    pass == Pass::Forward || (0..case.inputs.len()).any(|i| case.wants.has(i) && case.op.differentiable().has(i))
                })
                .collect();
            if rows.is_empty() {
                continue;
            }
            let mut group = c.benchmark_group(format!("{place}/{op}/{word}"));
            group.sample_size(10).warm_up_time(Duration::from_millis(200)).measurement_time(Duration::from_millis(800));
            for case in rows {
                let xs: Vec<Shape> = case.inputs.iter().map(|&(s, _)| s).collect();
                let ys = case.op.infer("", &xs).expect("a row fits");
                let cost = case.op.cost(pass, &xs, &ys);
                group.throughput(if cost.macs > cost.bytes {
                    Throughput::Elements(cost.macs)
                } else {
                    Throughput::Bytes(cost.bytes)
                });
                let label = format!("{} {}", case.bench.unwrap_or_default(), case.label);
                // Made on first use: rows that a filter leaves out cost nothing.
                let mut row = None;
                group.bench_function(label, |b| {
                    let row = row.get_or_insert_with(|| Row::new(device, &case, pass));
                    b.iter_custom(|times| Duration::from_secs_f64((0..times).map(|_| row.time(pass)).sum()));
                });
            }
            group.finish();
        }
    }
}

criterion_group!(benches, kernels);

fn main() {
    benches();
    Criterion::default().configure_from_args().final_summary();
    if Device::choose("cuda").is_err() {
        counts();
    }
}
