//! What the tests of ops share: values for the rows of the case tables, one run of a row on any device, and the one tolerance.

#![allow(dead_code, reason = "each test uses its part")]

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use lae_engine::core::case::{Case, Sampling};
use lae_engine::core::dtype::DType;
use lae_engine::core::op::{Element, Set};
use lae_engine::core::params::ParamStore;
use lae_engine::core::plan::{Memory, Plan};
use lae_engine::core::real::Real;
use lae_engine::core::rng::{Rng, stream};
use lae_engine::core::shape::Shape;
use lae_engine::core::tape::{Tape, Var};
use lae_engine::detectors::{self, DETECTORS};
use lae_engine::device::emu::{Emulator, Options, Schedule};
use lae_engine::device::{Device, Driver, Hopper, Launch, Mem, Precision, Replay, Span};
use lae_engine::error::Result;
use lae_engine::ops::{cast::cast, conv_bf16::in_f32, dot::dot};

/// Values for an input, in f64 but exactly representable in f32.
pub fn fill(kind: Sampling, shape: Shape, rng: &mut Rng) -> Vec<f64> {
    kind.values(shape, rng).into_iter().map(f64::from).collect()
}

/// Everything that one run of a case gives: outputs, then gradients of the wanted inputs.
pub struct Ran {
    pub loss: f64,
    /// (name, values)
    pub outputs: Vec<(String, Vec<f64>)>,
    pub grads: Vec<(usize, Vec<f64>)>,
    /// Which of the outputs, and of the gradients, were rounded to bf16.
    pub half: (Vec<bool>, Vec<bool>),
}

pub struct Bench<T: Element> {
    plan: Plan<T>,
    inputs: Vec<Var>,
    outputs: Vec<(String, Var)>,
    cotangent: Option<Var>,
    pub loss: Option<Var>,
    grads: Vec<(usize, Var)>,
    store: ParamStore<T>,
}

impl<T: Element> Bench<T> {
    pub fn new(case: &Case) -> Bench<T> {
        Bench::with(case, Memory::Planned)
    }
    pub fn eager(case: &Case) -> Bench<T> {
        Bench::with(case, Memory::Eager)
    }
    fn with(case: &Case, memory: Memory) -> Bench<T> {
        Bench::record(case, |t, fetch| Plan::new(t, fetch, memory)).expect("the host runs every case")
    }
    fn record(case: &Case, plan: impl FnOnce(Tape, &[Var]) -> Result<Plan<T>>) -> Result<Bench<T>> {
        let store = ParamStore::new(0);
        let mut t = Tape::new(&store);
        let inputs = t.case_inputs(case);
        let ys = t.record_case(case, &inputs).unwrap_or_else(|e| panic!("{}: {e}", case.label));
        let wanted: Vec<usize> = (0..inputs.len()).filter(|&i| case.wants.has(i)).collect();
        let mut outputs: Vec<(String, Var)> = ys.iter().enumerate().map(|(i, &v)| (format!("y[{i}]"), v)).collect();
        outputs.extend(case.op.updates().iter().map(|&i| (format!("updated x[{i}]"), inputs[i])));
        let (mut cotangent, mut loss, mut grads) = (None, None, vec![]);
        if !ys.is_empty() && case.wants != Set::NONE && !wanted.is_empty() {
            let u = t.input(t.shape(ys[0]));
            let real = cast(&mut t, ys[0], DType::F32).unwrap();
            let l = dot(&mut t, real, u).unwrap();
            let wrt: Vec<Var> = wanted.iter().map(|&i| inputs[i]).collect();
            let g = t.backward(l, &wrt).unwrap();
            grads = wanted.iter().map(|&i| (i, g.of(inputs[i]).expect("gradient"))).collect();
            (cotangent, loss) = (Some(u), Some(l));
        }
        let fetch: Vec<Var> = outputs.iter().map(|o| o.1).chain(loss).chain(grads.iter().map(|g| g.1)).collect();
        let plan = plan(t, &fetch)?;
        plan.audit(&fetch).unwrap();
        Ok(Bench { plan, inputs, outputs, cotangent, loss, grads, store })
    }
    pub fn run(&mut self, x: &[Vec<f64>], u: &[f64]) -> Ran {
        self.try_run(x, u).expect("the host runs every case")
    }
    pub fn try_run(&mut self, x: &[Vec<f64>], u: &[f64]) -> Result<Ran> {
        for (v, x) in self.inputs.iter().zip(x).chain(self.cotangent.iter().zip([&u.to_vec()])) {
            feed(&mut self.plan, *v, x);
        }
        self.plan.run(&mut self.store)?;
        let get = |v: Var| fetch(&self.plan, v);
        Ok(Ran {
            loss: self.loss.map_or(0.0, |l| self.plan.scalar(l).unwrap()),
            outputs: self.outputs.iter().map(|(n, v)| (n.clone(), get(*v))).collect(),
            grads: self.grads.iter().map(|(i, v)| (*i, get(*v))).collect(),
            half: {
                let half = |v: Var| self.plan.dtype(v) == DType::Bf16;
                (self.outputs.iter().map(|o| half(o.1)).collect(), self.grads.iter().map(|g| half(g.1)).collect())
            },
        })
    }
    pub fn cotangent_len(&self) -> usize {
        self.cotangent.map_or(0, |v| self.plan.shape(v).len())
    }
}

/// Fill an input, rounding to its type.
pub fn feed<T: Element>(plan: &mut Plan<T>, v: Var, x: &[f64]) {
    match plan.dtype(v) {
        DType::F32 => plan.feed(v).unwrap().iter_mut().zip(x).for_each(|(d, &s)| *d = T::of(s)),
        DType::Bf16 => plan.feed_bf16(v).unwrap().iter_mut().zip(x).for_each(|(d, &s)| *d = s.bf16()),
    }
}

/// What a run left in `v`, of any type.
pub fn fetch<T: Element>(plan: &Plan<T>, v: Var) -> Vec<f64> {
    match plan.dtype(v) {
        DType::F32 => plan.fetch(v).unwrap().iter().map(|x| x.f64()).collect(),
        DType::Bf16 => plan.fetch_bf16(v).unwrap().iter().map(|&x| f64::of_bf16(x)).collect(),
    }
}

/// A device that only notes which kernels it is asked to launch; with the second, one that runs those for sm_90a.
struct Names(Mutex<BTreeSet<&'static str>>, Option<Hopper>);

impl Driver for Names {
    fn name(&self) -> &str {
        "names"
    }
    fn alloc(&self, blocks: &[(String, usize)]) -> Result<Vec<Mem>> {
        Ok((0..blocks.len() as u64).map(Mem).collect())
    }
    fn free(&self, _: &[Mem]) {}
    fn upload(&self, _: Span, _: &[u8]) -> Result<()> {
        Ok(())
    }
    fn download(&self, _: Span, _: &mut [u8]) -> Result<()> {
        Ok(())
    }
    fn launch(&self, l: &Launch) -> Result<()> {
        self.0.lock().unwrap().insert(l.kernel.name);
        Ok(())
    }
    fn sync(&self) -> Result<()> {
        Ok(())
    }
    fn sm_90a(&self) -> Result<Hopper, String> {
        self.1.ok_or_else(String::new)
    }
    fn record(&self, _: &mut dyn FnMut() -> Result<()>) -> Result<Box<dyn Replay>> {
        unreachable!("only loops are asked for")
    }
}

/// The kernels that a case launches, without running any.
pub fn kernels(case: &Case, precision: Precision) -> BTreeSet<&'static str> {
    kernels_on(case, precision, None)
}

/// An emulator of a GPU that runs the kernels for sm_90a when that says so, or of one that cannot.
pub fn emulator(options: Options, hopper: Option<Hopper>) -> Arc<Emulator> {
    match hopper {
        Some(when) => Emulator::hopper(options, when),
        None => Emulator::new(options),
    }
}

/// Whether a case launches kernels for sm_90a, in tf32, where its sizes allow them. None does in a build without them.
pub fn on_hopper(case: &Case) -> bool {
    let known = lae_engine::device::kernels::hopper();
    known && kernels_on(case, Precision::Tf32, Some(Hopper::WherePossible)).iter().any(|k| k.contains("wgmma"))
}

fn kernels_on(case: &Case, precision: Precision, hopper: Option<Hopper>) -> BTreeSet<&'static str> {
    let names = Arc::new(Names(Mutex::default(), hopper));
    let mut bench = Bench::on(&Device::Gpu(names.clone(), precision), case, Memory::Eager).unwrap();
    bench.plan.run(&mut bench.store).unwrap();
    let kernels = names.0.lock().unwrap();
    kernels.clone()
}

impl Bench<f32> {
    pub fn on(device: &Device, case: &Case, memory: Memory) -> Result<Bench<f32>> {
        Bench::record(case, |t, fetch| Plan::on(device, t, fetch, memory))
    }
}

/// Values for the inputs of a row, rounded to what the op sees of them.
pub fn inputs(case: &Case, seed: u64) -> Vec<Vec<f64>> {
    let draw = |(i, &(s, f)): (usize, &(Shape, Sampling))| {
        let x = fill(f, s, &mut Rng::new(seed, stream("case"), i as u64));
        if case.rounds(i) { x.iter().map(|x| f64::of_bf16(x.bf16())).collect() } else { x }
    };
    case.inputs.iter().enumerate().map(draw).collect()
}

/// What a row gives in f64. Of a row in bf16 that is the plain f64 pass, which rounds nothing, over rounded inputs; but a backward pass
/// that reads an output reads it as it was stored.
pub fn oracle(case: &Case, x: &[Vec<f64>], u: &[f64]) -> Ran {
    let typed = || Bench::<f64>::new(case).run(x, u);
    if !case.dtypes.contains(&DType::Bf16) || case.op.name() == "cast" {
        return typed();
    }
    let wide = in_f32(case).unwrap_or_else(|| Case { dtypes: vec![DType::F32; case.inputs.len()], ..case.clone() });
    let stored = case.op.halves().y.has(0);
    let u: Vec<f64> = u.iter().map(|u| if stored { f64::of_bf16(u.bf16()) } else { *u }).collect();
    let mut exact = Bench::<f64>::new(&wide).run(x, &u);
    if stored && case.op.keeps(case.wants).y.has(0) {
        let typed = typed();
        (exact.grads, exact.half.1) = (typed.grads, typed.half.1);
    }
    exact
}

pub fn normals(n: usize, seed: u64, index: u64) -> Vec<f64> {
    let mut r = Rng::new(seed, stream("direction"), index);
    (0..n).map(|_| r.normal() as f64).collect()
}

/// |a − b| ≤ c·ε·(√terms·scale + |b|), element-wise; `scale` is the root mean square of b. The worst offender otherwise.
pub fn close(name: &str, a: &[f64], b: &[f64], eps: f64, terms: f64) -> Result<(), String> {
    close_stored(name, a, b, eps, terms, 0.0)
}

/// Half the distance of neighbours of bf16, relative: what rounding to it once costs at most.
pub const BF16_ROUNDOFF: f64 = 1.0 / 256.0;

/// As [`close`], and what is computed so is then rounded, with this unit roundoff.
pub fn close_stored(name: &str, a: &[f64], b: &[f64], eps: f64, terms: f64, roundoff: f64) -> Result<(), String> {
    assert_eq!(a.len(), b.len());
    let scale = (b.iter().map(|x| x * x).sum::<f64>() / b.len().max(1) as f64).sqrt();
    let bound = |x: f64| {
        let computed = 8.0 * eps * terms.sqrt() * (scale + x.abs()) + 1e-30;
        computed + roundoff * (x.abs() + computed)
    };
    let worst = (0..a.len()).max_by(|&i, &j| {
        let r = |k: usize| if a[k].is_nan() { f64::INFINITY } else { (a[k] - b[k]).abs() / bound(b[k]) };
        r(i).total_cmp(&r(j))
    });
    match worst {
        Some(i) if a[i].is_nan() || (a[i] - b[i]).abs() > bound(b[i]) => {
            Err(format!("{name}[{i}] = {} but expected {} (bound {:.2e})", a[i], b[i], bound(b[i])))
        }
        _ => Ok(()),
    }
}

/// Every output and gradient of a run against the exact ones, as [`close`] says; values that either run has rounded to bf16 may be off by
/// that, too.
pub fn agree(ran: &Ran, exact: &Ran, eps: f64, terms: f64) -> Result<(), String> {
    let roundoff = |a: bool, b: bool| BF16_ROUNDOFF * (a as u32 + b as u32) as f64;
    for (k, ((name, a), (_, b))) in ran.outputs.iter().zip(&exact.outputs).enumerate() {
        close_stored(name, a, b, eps, terms, roundoff(ran.half.0[k], exact.half.0[k]))?;
    }
    for (k, ((i, a), (_, b))) in ran.grads.iter().zip(&exact.grads).enumerate() {
        close_stored(&format!("dx[{i}]"), a, b, eps, terms, roundoff(ran.half.1[k], exact.half.1[k]))?;
    }
    Ok(())
}

/// All that a run gives, bit by bit.
pub fn bits(r: &Ran) -> Vec<u32> {
    let values = r.outputs.iter().map(|o| &o.1).chain(r.grads.iter().map(|g| &g.1));
    values.flatten().map(|&x| (x as f32).to_bits()).collect()
}

/// ε of a pass whose factors are rounded: 10 bits of fraction, or twice that less the product of two low parts.
pub fn epsilon(p: Precision) -> f64 {
    match p {
        Precision::F32 | Precision::Bf16 => f32::EPSILON as f64,
        Precision::Tf32 => 2f64.powi(-10),
        Precision::Tf32x3 => 2f64.powi(-20),
    }
}

/// In which orders blocks and warps run.
pub const SCHEDULES: [Schedule; 3] = [Schedule::Forward, Schedule::Reverse, Schedule::Random(7)];

/// Number of terms in the longest sum that this case forms: the bound grows with its root.
pub fn terms(case: &Case) -> f64 {
    case.inputs.iter().map(|(s, _)| s.len()).max().unwrap_or(1).max(16) as f64
}

pub fn convolves(case: &Case) -> bool {
    matches!(case.op.name(), "conv2d" | "conv_transpose2d")
}

/// The ops of the paper's training at 64, 128 and 256 pixels with two pictures, each once, with the size where it appears first.
pub fn network_cases() -> Vec<(usize, Case)> {
    let mut cases: Vec<(usize, Case)> = Vec::new();
    for size in [64, 128, 256] {
        let set = [format!("size={size}"), "train.batch=2".to_string(), "lae.grid=16".to_string()];
        let (entry, c) = detectors::resolve(None, "paper", None, &set).unwrap();
        add(&mut cases, size, detectors::cases(entry, &c, |_| 2).unwrap());
    }
    cases
}

/// The same of the baselines at the paper's size; SuppressNet's wide layers have 256 units of 4096, which would take 10 GB.
pub fn baseline_cases() -> Vec<(usize, Case)> {
    let mut cases: Vec<(usize, Case)> = Vec::new();
    for entry in DETECTORS.iter().filter(|e| e.name != "lae") {
        let mut set = vec!["train.batch=2".to_string()];
        set.extend((entry.name == "suppress").then(|| "suppress.fc=256".to_string()));
        let (entry, c) = detectors::resolve(Some(entry.name), "paper", None, &set).unwrap();
        add(&mut cases, c.size, detectors::cases(entry, &c, |_| 2).unwrap());
    }
    cases
}

fn add(cases: &mut Vec<(usize, Case)>, size: usize, more: Vec<Case>) {
    for case in more {
        if !cases.iter().any(|(_, c)| c.same_work(&case) && c.wants == case.wants) {
            cases.push((size, case));
        }
    }
}
