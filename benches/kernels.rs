//! The benchmark rows of every op on the host, forward and backward: `cargo bench --bench kernels -- conv2d`.
//!
//! Groups are called `cpu/<op>/<pass>`, rows `<layer> <sizes>`. Throughput is multiply-accumulates where the op has more than one
//! per value it moves, else bytes; see `Op::cost`. Only the op itself is timed, by the plan's own clock: the pass runs inside a
//! plan, as in training. `--test` runs every row once.

use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use lae_engine::core::op::Pass;
use lae_engine::core::params::ParamStore;
use lae_engine::core::plan::{Memory, Plan};
use lae_engine::core::rng::{Rng, stream};
use lae_engine::core::shape::Shape;
use lae_engine::core::tape::{Tape, Var};
use lae_engine::ops::{Case, Fill, OPS, dot::dot};

fn fill(kind: Fill, s: Shape, index: u64, out: &mut [f32]) {
    let mut r = Rng::new(1, stream("bench"), index);
    let value = |r: &mut Rng| match kind {
        Fill::Normal | Fill::OffZero | Fill::Distinct => r.normal(),
        Fill::Positive => r.range(0.5, 1.5),
        Fill::Binary => r.below(2) as f32,
        Fill::Class(k) => r.below(k) as f32,
        Fill::Counter => 7.0,
        Fill::Mask => 0.0,
    };
    out.iter_mut().for_each(|x| *x = value(&mut r));
    if kind == Fill::Mask {
        // The middle quarter of every picture.
        let (h, w) = (s.h as usize, s.w as usize);
        for (i, row) in out.chunks_mut(w).enumerate() {
            if (h / 4..h - h / 4).contains(&(i % h)) {
                row[w / 4..w - w / 4].fill(1.0);
            }
        }
    }
}

/// One row in a plan: the op, a scalar made of its output if it is none, and the backward steps if asked for.
struct Row {
    plan: Plan<f32>,
    store: ParamStore<f32>,
    name: &'static str,
}

impl Row {
    fn new(case: &Case, pass: Pass) -> Row {
        let store = ParamStore::new(0);
        let mut t = Tape::new(&store);
        let x: Vec<Var> = case.inputs.iter().map(|&(s, _)| t.input(s)).collect();
        let y = t.record_case(case, &x).expect("a row fits");
        let mut feeds: Vec<(Var, Shape, Fill)> = x.iter().zip(&case.inputs).map(|(&v, &(s, f))| (v, s, f)).collect();
        if pass == Pass::Backward {
            let s = t.shape(y[0]);
            let loss = if s == Shape::SCALAR {
                y[0]
            } else {
                let u = t.input(s);
                feeds.push((u, s, Fill::Normal));
                dot(&mut t, y[0], u).expect("equal shapes")
            };
            let wrt: Vec<Var> = x.iter().enumerate().filter(|&(i, _)| case.wants.has(i)).map(|(_, &v)| v).collect();
            t.backward(loss, &wrt).expect("a scalar");
        }
        let mut plan = Plan::new(t, &y, Memory::Planned);
        for (i, (v, s, kind)) in feeds.into_iter().enumerate() {
            fill(kind, s, i as u64, plan.feed(v));
        }
        Row { plan, store, name: case.op.name() }
    }
    /// Seconds that the pass itself took in one run.
    fn time(&mut self, pass: Pass) -> f64 {
        let rows = self.plan.run_timed(&mut self.store);
        rows.into_iter().filter(|r| r.0 == self.name && r.1 == pass).map(|r| r.2).sum()
    }
}

fn kernels(c: &mut Criterion) {
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
            let mut group = c.benchmark_group(format!("cpu/{op}/{word}"));
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
                    let row = row.get_or_insert_with(|| Row::new(&case, pass));
                    b.iter_custom(|times| Duration::from_secs_f64((0..times).map(|_| row.time(pass)).sum()));
                });
            }
            group.finish();
        }
    }
}

criterion_group!(benches, kernels);
criterion_main!(benches);
