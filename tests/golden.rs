//! Every op against PyTorch's float64: outputs, updated buffers, gradients and optimiser steps of `tests/golden/ops.safetensors`,
//! which `tests/golden/ops.py` writes. The file is in torch's layout, so this tests the layouts that the ops document, too.

use std::collections::BTreeMap;

use lae_engine::core::op::Element;
use lae_engine::core::params::{Arena, Form, Init, Kind, ParamStore};
use lae_engine::core::plan::{Memory, Plan};
use lae_engine::core::real::Real;
use lae_engine::core::rng::stream;
use lae_engine::core::shape::{Shape, shape};
use lae_engine::core::tape::{Tape, Var};
use lae_engine::error::Result;
use lae_engine::ops;
use lae_engine::ops::activation::Activation;
use lae_engine::ops::adam::Adam;
use lae_engine::ops::avg_pool::AvgPool;
use lae_engine::ops::batch_norm::{BatchNormEval, BatchNormTrain};
use lae_engine::ops::bce_logits::BceLogits;
use lae_engine::ops::bilinear::Bilinear;
use lae_engine::ops::cam_attention::{CamAttention, Norm};
use lae_engine::ops::conv_transpose2d::ConvTranspose2d;
use lae_engine::ops::conv2d::Conv2d;
use lae_engine::ops::cross_entropy::CrossEntropy;
use lae_engine::ops::difference::Difference;
use lae_engine::ops::dot::dot;
use lae_engine::ops::dropout::Dropout;
use lae_engine::ops::global_avg_pool::GlobalAvgPool;
use lae_engine::ops::latent::{Distance, Latent};
use lae_engine::ops::linear::Linear;
use lae_engine::ops::lrn::Lrn;
use lae_engine::ops::max_pool::MaxPool;
use lae_engine::ops::mix::Mix;
use lae_engine::ops::moments_pool::MomentsPool;
use lae_engine::ops::nearest::Nearest;
use lae_engine::ops::select_half::SelectHalf;
use lae_engine::ops::sgd::Sgd;
use lae_engine::ops::softmax::Softmax;
use safetensors::{Dtype, SafeTensors};
use serde::Deserialize;

/// Ops that the file must hold, and how many cases at least.
const REQUIRED: [(&str, usize); 29] = [
    ("adam", 2),
    ("avg_pool", 5),
    ("batch_norm_eval", 5),
    ("batch_norm_train", 5),
    ("bce_logits", 4),
    ("bilinear", 10),
    ("cam_attention", 6),
    ("conv2d", 13),
    ("conv_transpose2d", 7),
    ("cross_entropy", 3),
    ("dropout", 3),
    ("global_avg_pool", 2),
    ("l1", 1),
    ("latent_loss", 4),
    ("leaky_relu", 2),
    ("linear", 4),
    ("lrn", 3),
    ("max_pool", 8),
    ("mix", 2),
    ("moments_pool", 3),
    ("mse", 1),
    ("nearest", 2),
    ("relu", 2),
    ("select_half", 2),
    ("sgd", 4),
    ("sigmoid", 2),
    ("softmax", 3),
    ("sse", 1),
    ("tanh", 2),
];

#[derive(Deserialize)]
struct Golden {
    torch: String,
    cases: Vec<Case>,
}

/// One entry of the file; `ops.py` says what the fields mean.
#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
#[derive(Default)]
struct Case {
    op: String,
    label: String,
    params: Params,
    inputs: Vec<String>,
    wants: Vec<usize>,
    u: String,
    outputs: Vec<(usize, String)>,
    updated: Vec<(usize, String)>,
    grads: Vec<(usize, String)>,
    /// Optimisers: the weights before, the gradients of all steps, the weights after each.
    start: String,
    steps: String,
    path: String,
}

#[derive(Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
struct Params {
    // Convolutions have one number per direction, pooling and transposed convolution one.
    stride: Pair,
    pad: Pair,
    dilation: Pair,
    groups: usize,
    kernel: usize,
    ceil: bool,
    h: usize,
    w: usize,
    align_corners: bool,
    squared: bool,
    slope: f64,
    eps: f64,
    momentum: f64,
    target: Option<f64>,
    norm: Option<Norm>,
    lr: f64,
    beta1: f64,
    beta2: f64,
    weight_decay: f64,
    size: usize,
    alpha: f64,
    beta: f64,
    k: f64,
    p: f64,
    seed: u64,
    stream: String,
    temperature: f64,
    factor: usize,
    weights: [f64; 3],
}

#[derive(Deserialize, Clone, Copy)]
#[serde(untagged)]
enum Pair {
    One(usize),
    Two(usize, usize),
}
impl Default for Pair {
    fn default() -> Self {
        Pair::One(0)
    }
}
impl Pair {
    fn both(self) -> (usize, usize) {
        match self {
            Pair::One(a) => (a, a),
            Pair::Two(a, b) => (a, b),
        }
    }
}

/// A tensor of the file in the engine's layout.
fn tensor(file: &SafeTensors, name: &str) -> (Shape, Vec<f64>) {
    let t = file.tensor(name).unwrap_or_else(|e| panic!("{name}: {e}"));
    let x: Vec<f64> = match t.dtype() {
        Dtype::F64 => t.data().chunks(8).map(|b| f64::from_le_bytes(b.try_into().unwrap())).collect(),
        Dtype::F32 => t.data().chunks(4).map(|b| f32::from_le_bytes(b.try_into().unwrap()) as f64).collect(),
        Dtype::U8 => t.data().iter().map(|&b| b as f64).collect(),
        other => panic!("{name}: unexpected type {other:?}"),
    };
    match *t.shape() {
        [] => (Shape::SCALAR, x),
        [c] => (Shape::vector(c), x),
        [n, c] => (shape(n, 1, 1, c), x),
        // N,C,H,W → N,H,W,C; filters O,I,H,W → O,H,W,I; of a transposed convolution I,O,H,W → I,H,W,O.
        [n, c, h, w] => {
            let mut y = vec![0.0; x.len()];
            for (i, &v) in x.iter().enumerate() {
                let (q, p, k, image) = (i % w, i / w % h, i / (w * h) % c, i / (w * h * c));
                y[((image * h + p) * w + q) * c + k] = v;
            }
            (shape(n, h, w, c), y)
        }
        ref other => panic!("{name}: {other:?}"),
    }
}

fn record(t: &mut Tape, case: &Case, x: &[Var]) -> Result<Vec<Var>> {
    let p = &case.params;

    let (stride, pad) = (p.stride.both(), p.pad.both());
    match case.op.as_str() {
        "avg_pool" => t.apply_all(AvgPool { kernel: p.kernel, stride: stride.0, pad: pad.0, ceil: p.ceil }, x),
        "batch_norm_eval" => t.apply_all(BatchNormEval { eps: p.eps, slope: 1.0 }, x),
        "batch_norm_train" => t.apply_all(BatchNormTrain { eps: p.eps, momentum: p.momentum, slope: 1.0 }, x),
        "bce_logits" => t.apply_all(BceLogits { target: p.target }, x),
        "bilinear" => t.apply_all(Bilinear { h: p.h, w: p.w, align_corners: p.align_corners }, x),
        "cam_attention" => {
            let norm = p.norm.expect("a norm");
            t.apply_all(CamAttention { norm, align_corners: p.align_corners, ..CamAttention::default() }, x)
        }
        "conv2d" => t.apply_all(Conv2d { stride, pad, dilation: p.dilation.both(), groups: p.groups }, x),
        "conv_transpose2d" => t.apply_all(ConvTranspose2d { stride: stride.0, pad: pad.0 }, x),
        "cross_entropy" => t.apply_all(CrossEntropy, x),
        "dropout" => t.apply_all(Dropout { p: p.p, seed: p.seed, stream: stream(&p.stream) }, x),
        "global_avg_pool" => t.apply_all(GlobalAvgPool, x),
        "l1" => t.apply_all(Difference::L1, x),
        "latent_loss" => {
            let distance = if p.squared { Distance::Squared } else { Distance::L1 };
            t.apply_all(Latent { distance }, x)
        }
        "leaky_relu" => t.apply_all(Activation::LeakyRelu(p.slope), x),
        "linear" => t.apply_all(Linear, x),
        "lrn" => t.apply_all(Lrn { size: p.size, alpha: p.alpha, beta: p.beta, k: p.k }, x),
        "max_pool" => t.apply_all(MaxPool { kernel: p.kernel, stride: stride.0, pad: pad.0, ceil: p.ceil }, x),
        "mix" => t.apply_all(Mix { weights: p.weights }, x),
        "moments_pool" => t.apply_all(MomentsPool, x),
        "mse" => t.apply_all(Difference::Mse, x),
        "nearest" => t.apply_all(Nearest { factor: p.factor }, x),
        "relu" => t.apply_all(Activation::Relu, x),
        "select_half" => t.apply_all(SelectHalf, x),
        "sigmoid" => t.apply_all(Activation::Sigmoid, x),
        "softmax" => t.apply_all(Softmax { temperature: p.temperature }, x),
        "sse" => t.apply_all(Difference::Sse, x),
        "tanh" => t.apply_all(Activation::Tanh, x),
        other => panic!("no op is called {other}"),
    }
}

/// |a − b| ≤ 8·ε·√terms·(rms(b) + |b|): the formula of `docs/numerics.md`.
fn close<T: Real>(what: &str, a: &[T], b: &[f64], eps: f64, terms: usize) -> Result<(), String> {
    if a.len() != b.len() {
        return Err(format!("{what}: {} values, torch has {}", a.len(), b.len()));
    }
    let scale = (b.iter().map(|x| x * x).sum::<f64>() / b.len() as f64).sqrt();
    for (i, (a, &b)) in a.iter().zip(b).enumerate() {
        let bound = 8.0 * eps * (terms.max(16) as f64).sqrt() * (scale + b.abs()) + 1e-30;
        if a.f64().is_nan() || (a.f64() - b).abs() > bound {
            return Err(format!("{what}[{i}] = {a:?}, torch has {b} (bound {bound:.1e})"));
        }
    }
    Ok(())
}

/// Outputs, updated inputs and gradients of one case; the number of values compared.
fn run<T: Element>(file: &SafeTensors, case: &Case, eps: f64) -> Result<usize, String> {
    let mut store = ParamStore::<T>::new(0);
    let mut t = Tape::new(&store);
    let values: Vec<(Shape, Vec<f64>)> = case.inputs.iter().map(|name| tensor(file, name)).collect();
    let x: Vec<Var> = values.iter().map(|v| t.input(v.0)).collect();
    let y = record(&mut t, case, &x).map_err(|e| e.to_string())?;
    let (u_shape, u) = tensor(file, &case.u);
    if u_shape != t.shape(y[0]) {
        return Err(format!("the output is {}, torch has {u_shape}", t.shape(y[0])));
    }
    let cotangent = t.input(u_shape);
    let loss = dot(&mut t, y[0], cotangent).map_err(|e| e.to_string())?;
    let wrt: Vec<Var> = case.wants.iter().map(|&i| x[i]).collect();
    let grads = t.backward(loss, &wrt).map_err(|e| e.to_string())?;
    let mut checks: Vec<(String, Var, &String)> = vec![];
    checks.extend(case.outputs.iter().map(|(i, name)| (format!("output {i}"), y[*i], name)));
    checks.extend(case.updated.iter().map(|(i, name)| (format!("updated input {i}"), x[*i], name)));
    for (i, name) in &case.grads {
        checks.push((format!("gradient of input {i}"), grads.of(x[*i]).ok_or(format!("input {i} has no gradient"))?, name));
    }
    let fetch: Vec<Var> = checks.iter().map(|c| c.1).collect();
    let mut plan = Plan::<T>::new(t, &fetch, Memory::Planned).unwrap();
    for (v, data) in x.iter().zip(values.iter().map(|v| &v.1)).chain([(&cotangent, &u)]) {
        plan.feed(*v).unwrap().iter_mut().zip(data).for_each(|(d, &s)| *d = T::of(s));
    }
    plan.run(&mut store).unwrap();
    let terms = values.iter().map(|v| v.0.len()).max().unwrap_or(1);
    let mut compared = 0;
    for (what, v, name) in checks {
        let (s, expected) = tensor(file, name);
        // A scalar has no axes in torch and statistics are vectors in both.
        if s != plan.shape(v) {
            return Err(format!("{what} is {}, torch has {s}", plan.shape(v)));
        }
        close(&what, plan.fetch(v).unwrap(), &expected, eps, terms)?;
        compared += expected.len();
    }
    Ok(compared)
}

/// Steps of an optimiser over the arenas of a store, as training runs them.
fn optimise<T: Element>(file: &SafeTensors, case: &Case, eps: f64) -> Result<usize, String> {
    let ((_, start), (_, grads), (_, path)) = (tensor(file, &case.start), tensor(file, &case.steps), tensor(file, &case.path));
    let n = start.len();
    let mut store = ParamStore::<T>::new(0);
    let id = store.add("w", Shape::vector(n), Kind::Trained, Form::Vector, Init::Constant(0.0));
    store.value_mut(id).iter_mut().zip(&start).for_each(|(w, &s)| *w = T::of(s));
    let mut t = Tape::new(&store);
    let p = &case.params;
    let adam = Adam { beta1: p.beta1, beta2: p.beta2, eps: p.eps };
    let hyper = t.input(Shape::vector(if case.op == "adam" { 2 } else { 1 }));
    let recorded = match case.op.as_str() {
        "adam" => ops::adam::adam(&mut t, &store.group("w"), adam.clone(), hyper),
        _ => ops::sgd::sgd(&mut t, &store.group("w"), Sgd { momentum: p.momentum, weight_decay: p.weight_decay }, hyper),
    };
    recorded.map_err(|e| e.to_string())?;
    let mut plan = Plan::<T>::new(t, &[], Memory::Planned).unwrap();
    for (i, (g, w)) in grads.chunks(n).zip(path.chunks(n)).enumerate() {
        let step = i as u64 + 1;
        let fed = if case.op == "adam" { adam.hyper(p.lr, step).map(|x| x as f64).to_vec() } else { vec![p.lr] };
        // `hyper` is f32: it is checked against its formula, and the f64 run is fed the exact numbers.
        let exact = [p.lr / (1.0 - p.beta1.powi(step as i32)), 1.0 / (1.0 - p.beta2.powi(step as i32)).sqrt()];
        if case.op == "adam" {
            close("hyper", &fed, &exact, f32::EPSILON as f64, 1)?;
        }
        let fed = if case.op == "adam" && size_of::<T>() == 8 { exact.to_vec() } else { fed };
        plan.feed(hyper).unwrap().iter_mut().zip(&fed).for_each(|(d, &s)| *d = T::of(s));
        store.arena_mut(Arena::Grads)[..n].iter_mut().zip(g).for_each(|(d, &s)| *d = T::of(s));
        plan.run(&mut store).unwrap();
        close(&format!("weights after step {step}"), store.value(id), w, eps, 16)?;
        if store.arena(Arena::Weights)[n..].iter().any(|w| w.f64() != 0.0) {
            return Err("the padding behind the parameters moved".to_string());
        }
    }
    Ok(path.len())
}

fn all<T: Element>(precision: &str, eps: f64) {
    let bytes = include_bytes!("golden/ops.safetensors");
    let file = SafeTensors::deserialize(bytes).unwrap();
    let (_, header) = SafeTensors::read_metadata(bytes).unwrap();
    let golden: Golden = serde_json::from_str(&header.metadata().as_ref().unwrap()["golden"]).unwrap();
    let (mut ran, mut compared, mut failed) = (BTreeMap::<&str, usize>::new(), 0, vec![]);
    for case in &golden.cases {
        let result = if case.start.is_empty() { run::<T>(&file, case, eps) } else { optimise::<T>(&file, case, eps) };
        match result {
            Ok(n) => {
                assert!(n > 0, "{} [{}] compares nothing", case.op, case.label);
                compared += n;
            }
            Err(why) => failed.push(format!("{} [{}]: {why}", case.op, case.label)),
        }
        *ran.entry(&case.op).or_default() += 1;
    }
    println!("{precision}: {} cases of {} ops, {compared} values of torch {}", golden.cases.len(), ran.len(), golden.torch);
    assert!(failed.is_empty(), "{} of {} cases fail\n{}", failed.len(), golden.cases.len(), failed.join("\n"));
    for (op, least) in REQUIRED {
        let n = ran.get(op).copied().unwrap_or(0);
        assert!(n >= least, "{op}: {n} cases ran, the file should hold {least}");
    }
    assert_eq!(ran.len(), REQUIRED.len(), "an op of the file is not in the list: {ran:?}");
}

#[test]
fn f64_equals_torch() {
    all::<f64>("f64", f64::EPSILON);
}

#[test]
fn f32_equals_torch() {
    all::<f32>("f32", f32::EPSILON as f64);
}
