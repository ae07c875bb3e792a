//! MesoInception-4 against PyTorch: logits in both modes, Grad-CAM, the loss, every gradient and the running statistics of one training step,
//! from `tests/golden/meso.safetensors` (`meso.py` beside it writes the file and holds the twin). On the host in both precisions, and
//! in f32 through the launches, on the emulator. One formula for all tolerances, see `docs/numerics.md`.

use lae_engine::core::op::Element;
use lae_engine::core::params::{Kind, ParamStore};
use lae_engine::core::plan::Plan;
use lae_engine::core::real::Real;
use lae_engine::core::shape::{Shape, shape};
use lae_engine::core::tape::{Tape, Var};
use lae_engine::error::Result;
use lae_engine::models::meso::Meso;
use lae_engine::nn::Context;
use lae_engine::nn::weights::to_torch;
use lae_engine::ops::activation::sigmoid;
use lae_engine::ops::difference::mse;
use lae_engine::train::detector::Cam;
use serde::Deserialize;

use crate::golden::{File, cams, close, emulated, header, host};

#[derive(Deserialize)]
struct Golden {
    torch: String,
    seed: u64,
    step: u32,
    side: usize,
}

const BYTES: &[u8] = include_bytes!("../golden/meso.safetensors");

/// The network with torch's weights.
fn network<T: Real>(file: &File, golden: &Golden) -> (ParamStore<T>, Meso) {
    let mut store = ParamStore::<T>::new(golden.seed);
    let meso = Meso::build(&mut store, golden.side).unwrap();
    let ids = meso.net.params_all();
    assert_eq!(ids.len(), store.iter().count());
    file.weights(&mut store, "meso.", &ids);
    (store, meso)
}

/// Compare everything that the file has; the number of values.
fn compare<T: Element>(plan: impl Fn(Tape, &[Var]) -> Result<Plan<T>>) -> usize {
    let (file, golden): (File, Golden) = (File::open(BYTES, ""), header(BYTES));
    let (size, x) = file.pictures::<T>("x");
    let label: Vec<T> = file.get("label").into_iter().map(T::of).collect();
    let mut compared = 0;

    let (mut store, meso) = network::<T>(&file, &golden);
    // Every row of the network rounds anew, so the random walk of the formula is that many times as long.
    let terms = size.len() * meso.net.rows().count();
    let mut t = Tape::new(&store);
    let pictures = t.input(size);
    let logit = meso.run(&mut t, pictures, Context::EVAL).unwrap();
    let mut eval = plan(t, &[logit]).unwrap();
    eval.feed(pictures).unwrap().copy_from_slice(&x);
    eval.run(&mut store).unwrap();
    compared += close("logit in evaluation", eval.fetch(logit).unwrap(), &file.get("eval.logit"), terms);

    let record = |t: &mut Tape, x: Var| {
        let (maps, values) = meso.net.run_with_maps(t, x, Context::EVAL).unwrap();
        Cam { maps, values, weights: vec![-1.0] }
    };
    compared += cams(&file, &mut store, (size, &x), terms, record, &plan);

    let (mut store, meso) = network::<T>(&file, &golden);
    let mut t = Tape::new(&store);
    let (pictures, truth, step) = (t.input(size), t.input(shape(size.n as usize, 1, 1, 1)), t.input(Shape::SCALAR));
    let logit = meso.run(&mut t, pictures, Context::train(step)).unwrap();
    let p = sigmoid(&mut t, logit).unwrap();
    let loss = mse(&mut t, p, truth).unwrap();
    let wrt = t.trained(&store.group("meso"));
    t.backward(loss, &wrt).unwrap();
    let mut train = plan(t, &[logit, loss]).unwrap();
    train.feed(pictures).unwrap().copy_from_slice(&x);
    train.feed(truth).unwrap().copy_from_slice(&label);
    train.feed(step).unwrap()[0] = T::of(golden.step as f64);
    train.run(&mut store).unwrap();
    store.pull().unwrap();
    compared += close("logit in training", train.fetch(logit).unwrap(), &file.get("train.logit"), terms);
    compared += close("loss", train.fetch(loss).unwrap(), &file.get("loss"), terms);
    for id in meso.net.params_all() {
        let p = store.get(id).clone();
        let name = p.name.strip_prefix("meso.").unwrap();
        compared += match p.kind {
            Kind::Running => close(&p.name, &to_torch(&p, store.value(id)), &file.get(&format!("after.{name}")), terms),
            _ => close(&format!("gradient of {name}"), &to_torch(&p, store.grad(id)), &file.get(&format!("grad.{name}")), terms),
        };
    }
    println!("{compared} values of torch {}", golden.torch);
    compared
}

#[test]
fn f64_equals_torch() {
    assert!(compare::<f64>(host) > 13_600);
}

#[test]
fn f32_equals_torch() {
    assert!(compare::<f32>(host) > 13_600);
}

#[test]
fn the_kernels_equal_torch() {
    emulated().into_iter().for_each(|plan| assert!(compare::<f32>(plan) > 13_600));
}
