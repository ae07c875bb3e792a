//! The fused CAM-attention loss against equations 7 to 9 written out: one map per unit, weighted sum, norm, full-size picture,
//! masked squared error. Values and gradients for every combination of the switches, plus the exact identities of the loss. On the
//! other devices, a selection of the combinations in which every two values of two switches meet.
//!
//! Over 600 lines because the oracle, equations 7 to 9 and their gradients written out, stands beside what it judges.

mod common;

use std::collections::BTreeSet;

use common::close;
use lae_engine::core::op::Element;
use lae_engine::core::params::ParamStore;
use lae_engine::core::plan::{Memory, Plan};
use lae_engine::core::rng::{Rng, stream};
use lae_engine::core::shape::{Shape, shape};
use lae_engine::core::tape::{Tape, Var};
use lae_engine::device::emu::{Emulator, Options};
use lae_engine::device::{Device, Precision, kernels};
use lae_engine::error::Result;
use lae_engine::ops::bilinear::bilinear;
use lae_engine::ops::cam_attention::{CamAttention, Norm, Reduce, Units, Weight};
use lae_engine::ops::latent::{Distance, latent_loss};

const EPS: f64 = 1e-6;

/// Sizes and data of one batch; all numbers are exact in f32.
#[derive(Clone)]
struct Batch {
    n: usize,
    h: usize,
    w: usize,
    k: usize,
    d: usize,
    /// Height and width of the masks.
    full: (usize, usize),
    /// f N×h×w×K, W D×K, b D, masks N×S×S, selection N.
    x: [Vec<f64>; 5],
}

impl Batch {
    fn new(seed: u64, (n, h, w, k, d): (usize, usize, usize, usize, usize), full: (usize, usize)) -> Batch {
        let mut r = Rng::new(seed, stream("cam"), 0);
        let mut draw = |n: usize, f: fn(&mut Rng) -> f32| (0..n).map(|_| f(&mut r) as f64).collect::<Vec<_>>();
        // Behind a ReLU: some features are zero.
        let f = draw(n * h * w * k, |r| (r.normal() + 0.5).max(0.0));
        let (weight, bias) = (draw(d * k, Rng::normal), draw(d, Rng::normal));
        let mut mask = vec![0.0; n * full.0 * full.1];
        for (i, mask) in mask.chunks_mut(full.0 * full.1).enumerate() {
            for p in full.0 / 4..full.0 - i.min(2) {
                mask[p * full.1 + full.1 / 3..p * full.1 + full.1 - i.min(2)].fill(1.0);
            }
        }
        let select = (0..n).map(|i| if i % 3 == 1 { 0.0 } else { 1.0 }).collect();
        Batch { n, h, w, k, d, full, x: [f, weight, bias, mask, select] }
    }
    fn shapes(&self) -> [Shape; 5] {
        let (oh, ow) = self.full;
        let &Batch { n, h, w, k, d, .. } = self;
        [shape(n, h, w, k), shape(d, 1, 1, k), Shape::vector(d), shape(n, oh, ow, 1), shape(n, 1, 1, 1)]
    }
}

/// What a stop-gradient switch holds constant, per image.
#[derive(Clone)]
struct Held {
    alpha: Vec<f64>,
    lo: f64,
    hi: f64,
}

/// Where output pixel `o` of `out` reads among `len`, by the definition of bilinear upsampling, written without the engine's helper.
fn source(o: usize, len: usize, out: usize, align_corners: bool) -> (usize, usize, f64) {
    let src = if align_corners {
        if out == 1 { 0.0 } else { o as f64 * (len - 1) as f64 / (out - 1) as f64 }
    } else {
        ((o as f64 + 0.5) * len as f64 / out as f64 - 0.5).max(0.0)
    };
    let i0 = src.floor() as usize;
    (i0, (i0 + 1).min(len - 1), src - src.floor())
}

/// The loss, and per image what its switches would hold constant. With `held`, the switches do hold it.
fn naive(op: &CamAttention, b: &Batch, held: Option<&[Held]>) -> (f64, Vec<Held>, Vec<Vec<f64>>) {
    let [f, weight, bias, mask, select] = &b.x;
    let (pixels, (oh, ow)) = (b.h * b.w, b.full);
    let units = match op.units {
        Units::F => b.d / 2..b.d,
        Units::All => 0..b.d,
    };
    let (mut total, mut seen, mut maps) = (0.0, vec![], vec![]);
    for i in 0..b.n {
        let at = |p: usize, k: usize| f[(i * pixels + p) * b.k + k];
        // GAP and the last layer.
        let z = |c: usize| {
            let gap = |k: usize| (0..pixels).map(|p| at(p, k)).sum::<f64>() / pixels as f64;
            (0..b.k).map(|k| weight[c * b.k + k] * gap(k)).sum::<f64>() + bias[c]
        };
        let sign = |x: f64| if x == 0.0 { 0.0 } else { x.signum() };
        let mut alpha: Vec<f64> = units
            .clone()
            .map(|c| match op.weight {
                Weight::Abs => z(c).abs(),
                Weight::Signed => z(c),
                Weight::Sign => sign(z(c)),
            })
            .collect();
        let fresh = alpha.clone();
        if let (true, Some(held)) = (op.detach_z, held) {
            alpha.clone_from(&held[i].alpha);
        }
        // Eq. 7: one map per unit. Eq. 8: their weighted sum.
        let mut m = vec![0.0; pixels];
        for (alpha, c) in alpha.iter().zip(units.clone()) {
            for (p, m) in m.iter_mut().enumerate() {
                *m += alpha * (0..b.k).map(|k| weight[c * b.k + k] * at(p, k)).sum::<f64>();
            }
        }
        if op.norm == Norm::Weight {
            let sigma = alpha.iter().map(|a| a.abs()).sum::<f64>() + EPS;
            m.iter_mut().for_each(|m| *m /= sigma);
        }
        if op.relu {
            m.iter_mut().for_each(|m| *m = m.max(0.0));
        }
        let (mut lo, mut hi) = m.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(lo, hi), &m| (lo.min(m), hi.max(m)));
        seen.push(Held { alpha: fresh, lo, hi });
        if let (true, Some(held)) = (op.minmax_stopgrad, held) {
            (lo, hi) = (held[i].lo, held[i].hi);
        }
        let mean = m.iter().sum::<f64>() / pixels as f64;
        let std = (m.iter().map(|m| (m - mean) * (m - mean)).sum::<f64>() / pixels as f64).sqrt();
        let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
        for m in &mut m {
            *m = match op.norm {
                Norm::None | Norm::Weight => *m,
                Norm::Minmax => (*m - lo) / (hi - lo + EPS),
                Norm::ReluMax => m.max(0.0) / (hi.max(0.0) + EPS),
                Norm::Sigmoid => sigmoid(op.temperature * (*m - mean) / (std + EPS)),
                Norm::SigmoidRaw => sigmoid(op.temperature * *m),
            };
        }
        // The full-size picture, eq. 9.
        let mut error = 0.0;
        for p in 0..oh {
            let (i0, i1, l) = source(p, b.h, oh, op.align_corners);
            for q in 0..ow {
                let (j0, j1, k) = source(q, b.w, ow, op.align_corners);
                let top = (1.0 - k) * m[i0 * b.w + j0] + k * m[i0 * b.w + j1];
                let bottom = (1.0 - k) * m[i1 * b.w + j0] + k * m[i1 * b.w + j1];
                error += ((1.0 - l) * top + l * bottom - mask[(i * oh + p) * ow + q]).powi(2);
            }
        }
        let per = if op.pixel_reduce == Reduce::Mean { (oh * ow) as f64 } else { 1.0 };
        total += select[i] * error / per;
        maps.push(m);
    }
    let chosen: f64 = select.iter().sum();
    (if chosen > 0.0 { total / chosen } else { 0.0 }, seen, maps)
}

/// The fused op: loss, its other outputs, gradients of f, W and b.
struct Fused<T: Element> {
    plan: Plan<T>,
    store: ParamStore<T>,
    x: Vec<Var>,
    y: Vec<Var>,
    grads: Vec<Var>,
}

impl<T: Element> Fused<T> {
    fn new(op: &CamAttention, b: &Batch) -> Fused<T> {
        Fused::record(op, b, |t, fetch| Plan::new(t, fetch, Memory::Planned)).unwrap()
    }
    fn record(op: &CamAttention, b: &Batch, plan: impl FnOnce(Tape, &[Var]) -> Result<Plan<T>>) -> Result<Fused<T>> {
        let store = ParamStore::new(0);
        let mut t = Tape::new(&store);
        let x: Vec<Var> = b.shapes().iter().map(|&s| t.input(s)).collect();
        let y = t.apply_all(op.clone(), &x).unwrap();
        let g = t.backward(y[0], &x[..3]).unwrap();
        let grads: Vec<Var> = x[..3].iter().map(|&v| g.of(v).unwrap()).collect();
        let fetch: Vec<Var> = y.iter().chain(&grads).copied().collect();
        Ok(Fused { plan: plan(t, &fetch)?, store, x, y, grads })
    }
    fn run(&mut self, b: &Batch) -> f64 {
        for (&v, x) in self.x.iter().zip(&b.x) {
            self.plan.feed(v).unwrap().iter_mut().zip(x).for_each(|(d, &s)| *d = T::of(s));
        }
        self.plan.run(&mut self.store).unwrap();
        self.plan.scalar(self.y[0]).unwrap()
    }
    fn output(&self, i: usize) -> Vec<f64> {
        self.plan.fetch(self.y[i]).unwrap().iter().map(|x| x.f64()).collect()
    }
    fn grad(&self, i: usize) -> Vec<f64> {
        self.plan.fetch(self.grads[i]).unwrap().iter().map(|x| x.f64()).collect()
    }
}

impl Fused<f32> {
    fn on(device: &Device, op: &CamAttention, b: &Batch) -> Result<Fused<f32>> {
        Fused::record(op, b, |t, fetch| Plan::on(device, t, fetch, Memory::Planned))
    }
}

/// Every combination of switches that means something: min and max are held only where the norm has them.
fn combinations() -> Vec<CamAttention> {
    let mut all = vec![];
    let norms = [Norm::None, Norm::Weight, Norm::Minmax, Norm::ReluMax, Norm::Sigmoid, Norm::SigmoidRaw];
    for units in [Units::F, Units::All] {
        for weight in [Weight::Abs, Weight::Signed, Weight::Sign] {
            for norm in norms {
                for bits in 0..32 {
                    let on = |i: usize| bits >> i & 1 == 1;
                    let minmax_stopgrad = on(0);
                    if minmax_stopgrad && !matches!(norm, Norm::Minmax | Norm::ReluMax) {
                        continue;
                    }
                    all.push(CamAttention {
                        units,
                        weight,
                        norm,
                        minmax_stopgrad,
                        relu: on(1),
                        align_corners: on(2),
                        pixel_reduce: if on(3) { Reduce::Sum } else { Reduce::Mean },
                        detach_z: on(4),
                        temperature: 0.75,
                    });
                }
            }
        }
    }
    all
}

/// Fewer combinations, in which every two values of two switches still meet: always the one with the most new pairs.
fn pairs() -> Vec<CamAttention> {
    let settings = |op: &CamAttention| -> BTreeSet<(String, String)> {
        let each = format!("{op:?}");
        let each: Vec<&str> = each.trim_end_matches(" }").split_once(" { ").unwrap().1.split(", ").collect();
        let pair = |i: usize, j: usize| (each[i].to_string(), each[j].to_string());
        (0..each.len()).flat_map(|j| (0..j).map(move |i| (i, j))).map(|(i, j)| pair(i, j)).collect()
    };
    let all: Vec<_> = combinations().into_iter().map(|op| (settings(&op), op)).collect();
    let mut missing: BTreeSet<_> = all.iter().flat_map(|(s, _)| s.iter()).collect();
    let mut chosen = vec![];
    while !missing.is_empty() {
        let news = |s: &BTreeSet<_>| s.iter().filter(|p| missing.contains(p)).count();
        let (s, op) = all.iter().rev().max_by_key(|(s, _)| news(s)).unwrap();
        s.iter().for_each(|p| {
            missing.remove(p);
        });
        chosen.push(op.clone());
    }
    chosen
}

/// The host in f32, and the emulator if this build has kernels.
fn devices() -> Vec<Device> {
    let emulator = || Device::Gpu(Emulator::new(Options::default()), Precision::F32);
    if kernels::KERNELS.is_empty() {
        eprintln!("SKIP: kernels were not built");
        return vec![Device::Cpu];
    }
    vec![Device::Cpu, emulator()]
}

/// Every output and gradient on `device` against the f64 host pass, by the formula of docs/numerics.md.
fn meets_the_oracle(device: &Device, op: &CamAttention, batch: &Batch) -> Result<usize, String> {
    let terms = batch.x.iter().map(Vec::len).max().unwrap().max(16) as f64;
    let mut fused = Fused::on(device, op, batch).map_err(|e| e.to_string())?;
    // Another batch first: what an op adds to, or forgets to write, then holds wrong values.
    fused.run(&Batch::new(97, (batch.n, batch.h, batch.w, batch.k, batch.d), batch.full));
    fused.run(batch);
    let mut oracle = Fused::<f64>::new(op, batch);
    oracle.run(batch);
    let outputs = ["loss", "map", "dmap", "z", "g", "raw map"];
    for (i, name) in outputs.iter().enumerate() {
        close(name, &fused.output(i), &oracle.output(i), f32::EPSILON as f64, terms)?;
    }
    for (i, name) in ["df", "dW", "db"].iter().enumerate() {
        close(name, &fused.grad(i), &oracle.grad(i), f32::EPSILON as f64, terms)?;
    }
    Ok(outputs.len() + 3)
}

#[test]
fn every_device_meets_the_oracle_where_switches_meet() {
    let chosen = pairs();
    let (mut compared, mut failed) = (0, vec![]);
    // One channel at a time and four, a row of 64 columns and more.
    for (sizes, full) in [((3, 4, 5, 5, 6), (9, 11)), ((2, 3, 7, 12, 10), (5, 67))] {
        let mut batch = Batch::new(9, sizes, full);
        // Small maps: where a sigmoid is saturated, 1 − σ has no digits left in f32, and its gradient none.
        batch.x[1].iter_mut().for_each(|w| *w *= 0.25);
        for (device, op) in devices().iter().flat_map(|d| chosen.iter().map(move |op| (d, op))) {
            match meets_the_oracle(device, op, &batch) {
                Ok(n) => compared += n,
                Err(why) => failed.push(format!("{} {op:?} {sizes:?}: {why}", device.name())),
            }
        }
    }
    println!("{} combinations, {compared} comparisons", chosen.len());
    assert!(chosen.len() >= 18 && chosen.len() < 60, "{} combinations", chosen.len());
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

#[test]
fn fused_equals_naive_for_every_combination_of_switches() {
    let all = combinations();
    assert_eq!(all.len(), 768);
    let batch = Batch::new(1, (3, 4, 5, 5, 6), (9, 11));
    let mut failed = vec![];
    for op in &all {
        let (expected, _, maps) = naive(op, &batch, None);
        let mut f64_run = Fused::<f64>::new(op, &batch);
        let (exact, single) = (f64_run.run(&batch), Fused::<f32>::new(op, &batch).run(&batch));
        let off = |a: f64, bound: f64| a.is_nan() || (a - expected).abs() > bound * expected.abs();
        if off(exact, 1e-10) || off(single, 1e-5) {
            failed.push(format!("{op:?}: naive {expected}, f64 {exact}, f32 {single}"));
        }
        let map = f64_run.output(1);
        if map.iter().zip(maps.iter().flatten()).any(|(a, b)| a.is_nan() || (a - b).abs() > 1e-10 * (1.0 + b.abs())) {
            failed.push(format!("{op:?}: the map differs"));
        }
    }
    assert!(failed.is_empty(), "{} of {}\n{}", failed.len(), all.len(), failed.join("\n"));
}

/// Every coordinate of f, W and b by central differences of the naive composition.
#[test]
fn gradients_equal_difference_quotients_of_the_naive_composition() {
    const H: f64 = 1e-5;
    let all = combinations();
    let batch = Batch::new(2, (3, 3, 4, 4, 4), (7, 9));
    let (mut failed, mut compared) = (vec![], 0);
    for op in &all {
        let mut fused = Fused::<f64>::new(op, &batch);
        fused.run(&batch);
        let (_, held, _) = naive(op, &batch, None);
        for (i, name) in ["f", "W", "b"].into_iter().enumerate() {
            let grad = fused.grad(i);
            let mut moved = batch.clone();
            let mut loss = |at: usize, h: f64| {
                moved.x[i][at] = batch.x[i][at] + h;
                let l = naive(op, &moved, Some(&held)).0;
                moved.x[i][at] = batch.x[i][at];
                l
            };
            let numeric: Vec<f64> = (0..grad.len()).map(|at| (loss(at, H) - loss(at, -H)) / (2.0 * H)).collect();
            let size = numeric.iter().fold(0.0f64, |a, b| a.max(b.abs()));
            let worst = (0..grad.len()).map(|j| (grad[j] - numeric[j]).abs()).fold(0.0, f64::max);
            compared += grad.len();
            if grad.iter().any(|g| g.is_nan()) || worst > 1e-6 * (size + 1e-3) {
                failed.push(format!("{op:?}: d{name} is off by {worst:.1e}, largest {size:.1e}"));
            }
        }
    }
    println!("{} combinations, {compared} partial derivatives", all.len());
    assert!(failed.is_empty(), "{} of {}\n{}", failed.len(), 3 * all.len(), failed.join("\n"));
}

/// The 128-unit head on a 16×16 map and 64×64 masks, as the network at S = 64 has it.
#[test]
fn fused_equals_naive_at_the_size_of_the_network() {
    let batch = Batch::new(3, (2, 16, 16, 24, 128), (64, 64));
    for norm in [Norm::None, Norm::Weight, Norm::Minmax] {
        for align_corners in [false, true] {
            let op = CamAttention { norm, align_corners, ..CamAttention::default() };
            let (expected, ..) = naive(&op, &batch, None);
            let (exact, single) = (Fused::<f64>::new(&op, &batch).run(&batch), Fused::<f32>::new(&op, &batch).run(&batch));
            assert!((exact - expected).abs() < 1e-10 * expected, "{op:?}: {exact} {expected}");
            assert!((single - expected).abs() < 1e-5 * expected, "{op:?}: {single} {expected}");
        }
    }
}

/// Row matrix of the upsampling from 16 to S, from the engine's own op: the images of the unit vectors.
fn rows(s: usize, align_corners: bool) -> Vec<Vec<f64>> {
    let mut store = ParamStore::<f64>::new(0);
    let mut t = Tape::new(&store);
    let x = t.input(shape(16, 16, 1, 1));
    let y = bilinear(&mut t, x, s, 1, align_corners).unwrap();
    let mut plan = Plan::new(t, &[y], Memory::Planned).unwrap();
    plan.feed(x).unwrap().iter_mut().enumerate().for_each(|(i, x)| *x = if i % 17 == 0 { 1.0 } else { 0.0 });
    plan.run(&mut store).unwrap();
    (0..s).map(|o| (0..16).map(|i| plan.fetch(y).unwrap()[i * s + o]).collect()).collect()
}

fn gram(u: &[Vec<f64>]) -> Vec<Vec<f64>> {
    (0..16).map(|i| (0..16).map(|j| u.iter().map(|row| row[i] * row[j]).sum()).collect()).collect()
}

#[test]
fn upsampling_matrix_has_the_documented_values() {
    for align_corners in [false, true] {
        let u = rows(256, align_corners);
        for (o, row) in u.iter().enumerate() {
            assert!((row.iter().sum::<f64>() - 1.0).abs() < 1e-14, "row {o} of U");
            let (i0, i1, l) = source(o, 16, 256, align_corners);
            let expected: Vec<f64> =
                (0..16).map(|i| if i == i0 { 1.0 - l } else { 0.0 } + if i == i1 { l } else { 0.0 }).collect();
            assert!(row.iter().zip(&expected).all(|(a, b)| (a - b).abs() < 1e-14), "row {o}: {row:?}");
        }
        if !align_corners {
            (0..16).for_each(|i| {
                let column: f64 = u.iter().map(|row| row[i]).sum();
                assert!((column - 256.0 / 16.0).abs() < 1e-12, "column {i} of U sums to {column}");
            });
        }
        let (corner, inner, beside) = match align_corners {
            false => (853.0 / 64.0, 341.0 / 32.0, 171.0 / 64.0),
            // 1 + Σ (j/17)², 1 + 2 Σ (j/17)² and Σ j (17 − j)/17², j = 1 … 16.
            true => (1.0 + 1496.0 / 289.0, 1.0 + 2992.0 / 289.0, 816.0 / 289.0),
        };
        for (i, row) in gram(&u).iter().enumerate() {
            for (j, &a) in row.iter().enumerate() {
                let expected = match i.abs_diff(j) {
                    0 if i == 0 || i == 15 => corner,
                    0 => inner,
                    1 => beside,
                    _ => 0.0,
                };
                assert!((a - expected).abs() < 1e-12, "A[{i},{j}] = {a}, expected {expected} (corners {align_corners})");
            }
        }
    }
}

/// ‖Um̃Uᵀ − G‖² = ⟨m̃, A m̃ A⟩ − 2⟨m̃, UᵀGU⟩ + ‖G‖² and d̃ = κ (A m̃ A − UᵀGU): no full-size picture is needed to know the loss.
/// Loss and d̃ from the 16×16 maps and the 256×256 masks of a batch.
fn low_resolution(map: &[f64], batch: &Batch, align_corners: bool) -> (f64, Vec<f64>) {
    let u = rows(256, align_corners);
    let a = gram(&u);
    let product = |l: &dyn Fn(usize, usize) -> f64, m: &[f64]| -> Vec<f64> {
        // L m Lᵀ for a 16×n matrix L and an n×n picture m.
        let n = (m.len() as f64).sqrt() as usize;
        let half: Vec<f64> = (0..16 * n).map(|i| (0..n).map(|p| l(i / n, p) * m[p * n + i % n]).sum()).collect();
        (0..256).map(|i| (0..n).map(|q| half[i / 16 * n + q] * l(i % 16, q)).sum()).collect()
    };
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let chosen: f64 = batch.x[4].iter().sum();
    let (mut loss, mut dmap) = (0.0, vec![]);
    for (i, &phi) in batch.x[4].iter().enumerate() {
        let (m, g) = (&map[i * 256..][..256], &batch.x[3][i * 65536..][..65536]);
        let (ama, gs) = (product(&|i, j| a[i][j], m), product(&|i, p| u[p][i], g));
        loss += phi / chosen * (dot(m, &ama) - 2.0 * dot(m, &gs) + dot(g, g)) / 65536.0;
        dmap.extend(ama.iter().zip(&gs).map(|(a, g)| 2.0 * phi / chosen / 65536.0 * (a - g)));
    }
    (loss, dmap)
}

#[test]
fn exact_low_resolution_form_gives_the_loss_and_its_gradient() {
    for (norm, align_corners) in [Norm::Weight, Norm::Minmax].into_iter().flat_map(|n| [(n, false), (n, true)]) {
        // Image 1 is not selected: only image 0 counts.
        let batch = Batch::new(4, (2, 16, 16, 6, 8), (256, 256));
        let op = CamAttention { norm, align_corners, ..CamAttention::default() };
        let mut fused = Fused::<f64>::new(&op, &batch);
        let loss = fused.run(&batch);
        let (expected, dmap) = low_resolution(&fused.output(1), &batch, align_corners);
        assert!((loss - expected).abs() < 1e-10 * loss, "{op:?}: {loss}, low resolution {expected}");
        let size = dmap.iter().fold(0.0f64, |a, b| a.max(b.abs()));
        for (p, (d, e)) in fused.output(2).iter().zip(&dmap).enumerate() {
            assert!((d - e).abs() <= 1e-12 * size, "{op:?}: dmap[{p}] is {d}, expected {e}");
        }
        for device in devices() {
            let mut fused = Fused::on(&device, &op, &batch).unwrap();
            let loss = fused.run(&batch);
            let (expected, dmap) = low_resolution(&fused.output(1), &batch, align_corners);
            assert!((loss - expected).abs() < 1e-5 * expected, "{}, {op:?}: {loss} {expected}", device.name());
            close("dmap", &fused.output(2), &dmap, f32::EPSILON as f64, 65536.0).unwrap();
        }
    }
}

/// models.md, 2.5.3: the mean of the map is Σ |z_c| (z_c − b_c).
#[test]
fn mean_of_the_map_follows_from_the_latent_code() {
    let batch = Batch::new(5, (3, 16, 16, 12, 128), (16, 16));
    let op = CamAttention { norm: Norm::None, ..CamAttention::default() };
    let mut fused = Fused::<f64>::new(&op, &batch);
    fused.run(&batch);
    let (map, z) = (fused.output(1), fused.output(3));
    for i in 0..3 {
        let mean = map[i * 256..][..256].iter().sum::<f64>() / 256.0;
        let terms: Vec<f64> = (64..128).map(|c| z[i * 128 + c].abs() * (z[i * 128 + c] - batch.x[2][c])).collect();
        let (expected, size) = (terms.iter().sum::<f64>(), terms.iter().map(|t| t.abs()).sum::<f64>());
        assert!((mean - expected).abs() < 1e-12 * size, "image {i}: {mean} {expected}");
    }
}

/// The average of a resized picture is that of the small one (align_corners off), and is not in general with corners on corners.
#[test]
fn upsampled_mean_is_the_mean_without_align_corners() {
    let u = rows(64, false);
    let m: Vec<f64> = (0..256).map(|i| ((i * 37 % 101) as f64).sin()).collect();
    let full: f64 =
        (0..64 * 64).map(|p| (0..256).map(|i| u[p / 64][i / 16] * u[p % 64][i % 16] * m[i]).sum::<f64>()).sum::<f64>();
    assert!((full / 4096.0 - m.iter().sum::<f64>() / 256.0).abs() < 1e-13);
}

fn with_every_combination(check: impl Fn(&CamAttention)) {
    for op in combinations() {
        check(&op);
    }
}

fn finite<T: Element>(op: &CamAttention, b: &Batch) -> Fused<T> {
    let mut fused = Fused::<T>::new(op, b);
    let loss = fused.run(b);
    assert!(loss.is_finite(), "{op:?}: loss {loss}");
    for i in 0..3 {
        assert!(fused.grad(i).iter().all(|g| g.is_finite()), "{op:?}: gradient {i} is not finite");
    }
    fused
}

#[test]
fn no_selected_image_means_no_loss_and_no_gradient() {
    let mut batch = Batch::new(6, (2, 3, 4, 5, 6), (8, 8));
    batch.x[4].fill(0.0);
    with_every_combination(|op| {
        let fused = finite::<f32>(op, &batch);
        assert_eq!(fused.output(0), [0.0]);
        (0..3).for_each(|i| assert!(fused.grad(i).iter().all(|&g| g == 0.0), "{op:?}"));
    });
}

/// An image without a mask changes nothing, whatever it shows.
#[test]
fn unselected_images_do_not_matter() {
    let a = Batch::new(7, (3, 3, 4, 5, 6), (8, 8));
    let mut b = a.clone();
    // Image 1 is not selected.
    let per = a.x[0].len() / 3;
    b.x[0][per..2 * per].iter_mut().for_each(|x| *x = 3.0 - *x);
    b.x[3][64..128].iter_mut().for_each(|x| *x = 1.0 - *x);
    with_every_combination(|op| {
        let (fa, fb) = (finite::<f32>(op, &a), finite::<f32>(op, &b));
        assert_eq!(fa.output(0), fb.output(0), "{op:?}");
        for i in 0..3 {
            assert_eq!(fa.grad(i), fb.grad(i), "{op:?}");
        }
        assert!(fa.grad(0)[per..2 * per].iter().all(|&g| g == 0.0), "{op:?}");
    });
}

/// Maps without any contrast, dead features, and a head of zeros: every quotient stays finite.
#[test]
fn flat_maps_stay_finite() {
    let base = Batch::new(8, (3, 3, 4, 5, 6), (8, 8));
    let constant = |value: f64| {
        let mut b = base.clone();
        b.x[0].fill(value);
        b
    };
    let mut headless = base.clone();
    headless.x[1].fill(0.0);
    headless.x[2].fill(0.0);
    for batch in [constant(0.75), constant(0.1), constant(0.0), headless] {
        with_every_combination(|op| {
            finite::<f32>(op, &batch);
            finite::<f64>(op, &batch);
        });
    }
}

/// No picture with a mask, and flat maps, on the other devices.
#[test]
fn edges_hold_on_every_device() {
    let base = Batch::new(6, (2, 3, 4, 5, 6), (8, 8));
    let (mut unselected, mut flat, mut headless) = (base.clone(), base.clone(), base);
    unselected.x[4].fill(0.0);
    flat.x[0].fill(0.75);
    headless.x[1].fill(0.0);
    headless.x[2].fill(0.0);
    for (device, op) in devices().iter().flat_map(|d| pairs().into_iter().map(move |op| (d, op))) {
        let run = |batch: &Batch| {
            let mut fused = Fused::on(device, &op, batch).unwrap();
            fused.run(batch);
            let values: Vec<f64> = (0..6).flat_map(|i| fused.output(i)).chain((0..3).flat_map(|i| fused.grad(i))).collect();
            assert!(values.iter().all(|x| x.is_finite()), "{}, {op:?}", device.name());
            fused
        };
        run(&flat);
        run(&headless);
        let fused = run(&unselected);
        assert_eq!(fused.output(0), [0.0], "{}, {op:?}", device.name());
        (0..3).for_each(|i| assert!(fused.grad(i).iter().all(|&g| g == 0.0), "{}, {op:?}: gradient {i}", device.name()));
    }
}

/// A row of the mask lives in shared memory, which is finite: too wide a mask is an error that says so.
#[test]
fn masks_too_wide_for_a_block_are_refused() {
    let batch = Batch::new(6, (1, 1, 2, 1, 2), (1, 12_000));
    for device in devices().iter().filter(|d| !matches!(d, Device::Cpu)) {
        let mut fused = Fused::on(device, &CamAttention::default(), &batch).unwrap();
        let why = fused.plan.run(&mut fused.store).unwrap_err().to_string();
        assert!(why.contains("masks 12000 pixels wide") && why.contains("shared memory"), "{why}");
    }
}

fn latent(z: &[f64], labels: &[f64]) -> (f64, Vec<f64>, Vec<f64>) {
    let (n, d) = (labels.len(), z.len() / labels.len());
    let mut store = ParamStore::<f64>::new(0);
    let mut t = Tape::new(&store);
    let (zv, lv) = (t.input(shape(n, 1, 1, d)), t.input(shape(n, 1, 1, 1)));
    let (loss, act) = latent_loss(&mut t, zv, lv, Distance::L1).unwrap();
    let dz = t.backward(loss, &[zv]).unwrap().of(zv).unwrap();
    let mut plan = Plan::new(t, &[loss, act, dz], Memory::Planned).unwrap();
    plan.feed(zv).unwrap().copy_from_slice(z);
    plan.feed(lv).unwrap().copy_from_slice(labels);
    plan.run(&mut store).unwrap();
    (plan.scalar(loss).unwrap(), plan.fetch(act).unwrap().to_vec(), plan.fetch(dz).unwrap().to_vec())
}

/// models.md, 12.2 item 6: hand-made codes of the latent loss.
#[test]
fn latent_loss_of_hand_made_codes() {
    let code = |t: f64, f: f64| [vec![t; 64], vec![f; 64]].concat();
    assert_eq!(latent(&code(1.0, 0.0), &[1.0]).0, 0.0);
    assert_eq!(latent(&code(-1.0, 0.0), &[1.0]).0, 0.0, "only |z| counts");
    assert_eq!(latent(&code(0.0, 1.0), &[1.0]).0, 2.0);
    assert_eq!(latent(&code(0.0, 1.0), &[0.0]).0, 0.0);
    assert_eq!(latent(&code(1.0, 0.0), &[0.0]).0, 2.0);
    // Mean over the half, not over all 128, and mean over the batch: (|0.5 − 1| + |0.25 − 0|)/2 with the second image perfect.
    let (loss, act, dz) = latent(&[code(0.5, -0.25), code(0.0, 1.0)].concat(), &[1.0, 0.0]);
    assert_eq!((loss, act), (0.375, vec![0.5, 0.25, 0.0, 1.0]));
    // 1/B · 2/d · sign(a − target) · sign(z); sign(0) = 0.
    let k = 0.5 * 2.0 / 128.0;
    assert!(dz[..64].iter().all(|&d| d == -k) && dz[64..128].iter().all(|&d| d == -k), "{:?}", &dz[..128]);
    assert!(dz[128..].iter().all(|&d| d == 0.0));
}
