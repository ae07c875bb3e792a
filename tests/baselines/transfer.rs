//! ForensicTransfer against PyTorch, without and with the residual.

use lae_engine::core::op::Element;
use lae_engine::core::params::{Kind, ParamStore};
use lae_engine::core::plan::Plan;
use lae_engine::core::shape::shape;
use lae_engine::core::tape::{Tape, Var};
use lae_engine::error::Result;
use lae_engine::models::transfer::Transfer;
use lae_engine::nn::Mode;
use lae_engine::ops::add::add;
use lae_engine::ops::affine::{affine, scale};
use lae_engine::ops::difference::l1;
use lae_engine::train::detector::Cam;

use crate::golden::{File, cams, close, emulated, host};

/// The biases of convolutions in front of batch norm.
fn cancels(name: &str) -> bool {
    ["encoder.2", "encoder.5", "encoder.8", "decoder.1", "decoder.5", "decoder.9", "decoder.13"]
        .iter()
        .any(|row| name == format!("{row}.bias"))
}

fn compare<T: Element>(prefix: &'static str, plan: impl Fn(Tape, &[Var]) -> Result<Plan<T>>) {
    let file = File::open(include_bytes!("../golden/transfer.safetensors"), prefix);
    let (size, pictures) = file.pictures::<T>("x");
    let side = size.h as usize;
    let build = || {
        let mut store = ParamStore::<T>::new(0);
        let net = Transfer::build(&mut store, side, 2, prefix == "residual/").unwrap();
        let ids = net.group.ids().to_vec();
        file.weights(&mut store, "transfer.", &ids);
        (store, net, ids)
    };
    let (mut store, net, ids) = build();
    let rows = net.encoder.rows().count() + net.decoder.rows().count();
    // Every row rounds anew, so the random walk of the formula is that many times as long.
    let (terms, mut compared) = (size.len() * rows, 0);
    let inputs = |t: &mut Tape| {
        let (x, label) = (t.input(size), t.input(shape(size.n as usize, 1, 1, 1)));
        let symmetric = affine(t, x, &[2.0], &[-1.0]).unwrap();
        (x, label, net.input(t, symmetric).unwrap())
    };
    let feed = |plan: &mut Plan<T>, x: Var, label: Var| {
        plan.feed(x).unwrap().copy_from_slice(&pictures);
        plan.feed(label).unwrap().iter_mut().zip(file.get("label")).for_each(|(d, l)| *d = T::of(l));
    };

    let mut t = Tape::new(&store);
    let (x, label, input) = inputs(&mut t);
    let h = net.encode(&mut t, input, Mode::Eval).unwrap();
    let values = net.activations(&mut t, h, label).unwrap().values;
    let mut eval = plan(t, &[values]).unwrap();
    feed(&mut eval, x, label);
    eval.run(&mut store).unwrap();
    compared += close("activations in evaluation", eval.fetch(values).unwrap(), &file.get("eval.activations"), terms);

    let record = |t: &mut Tape, x: Var| {
        let symmetric = affine(t, x, &[2.0], &[-1.0]).unwrap();
        let input = net.input(t, symmetric).unwrap();
        let h = net.encode(t, input, Mode::Eval).unwrap();
        let (values, weights) = net.fake_activation(t, h).unwrap();
        Cam { maps: vec![h], values, weights }
    };
    compared += cams(&file, &mut store, (size, &pictures), terms, record, &plan);

    let (mut store, _, _) = build();
    let mut t = Tape::new(&store);
    let (x, label, input) = inputs(&mut t);
    let h = net.encode(&mut t, input, Mode::Train).unwrap();
    let a = net.activations(&mut t, h, label).unwrap();
    let output = net.decode(&mut t, h, label, Mode::Train).unwrap();
    let rec = l1(&mut t, output, input).unwrap();
    let weighted = scale(&mut t, rec, 0.1).unwrap();
    let loss = add(&mut t, a.loss, weighted).unwrap();
    let wrt = t.trained(&net.group);
    t.backward(loss, &wrt).unwrap();
    let mut step = plan(t, &[a.values, a.loss, rec, loss, output]).unwrap();
    feed(&mut step, x, label);
    step.run(&mut store).unwrap();
    store.pull().unwrap();
    for (name, v) in [("activations", a.values), ("act", a.loss), ("rec", rec), ("loss", loss)] {
        compared += close(name, step.fetch(v).unwrap(), &file.get(name), terms);
    }
    let first: Vec<f64> = file.pictures::<f64>("output").1;
    compared += close("output", &step.fetch(output).unwrap()[..first.len()], &first, terms);
    for id in ids {
        let name = store.get(id).name.strip_prefix("transfer.").unwrap().to_string();
        let (what, x) = match store.get(id).kind {
            Kind::Running => (format!("after.{name}"), store.value(id)),
            _ => (format!("grad.{name}"), store.grad(id)),
        };
        if !file.has(&what) {
            continue;
        }
        if cancels(&name) {
            // Batch norm takes off what such a bias adds: torch and the engine have a gradient of rounding errors.
            let size = file.get(&what.replace("bias", "weight")).iter().map(|g| g.abs()).fold(0.0, f64::max);
            let bound = size * if size_of::<T>() == 8 { 1e-12 } else { 1e-4 };
            assert!(x.iter().all(|g| g.f64().abs() < bound), "{what}: {x:?}, the weights have {size:.1e}");
        } else {
            compared += file.close_param(&store, id, x, &what, terms);
        }
    }
    let least = if prefix.is_empty() { 12_300 + 3072 } else { 110 + 6 * 19 + 6144 };
    assert!(compared > least, "{compared} values, fewer than {least}");
}

#[test]
fn f64_equals_torch() {
    ["", "residual/"].iter().for_each(|p| compare::<f64>(p, host));
}

#[test]
fn f32_equals_torch() {
    ["", "residual/"].iter().for_each(|p| compare::<f32>(p, host));
}

#[test]
fn the_kernels_equal_torch() {
    ["", "residual/"].iter().for_each(|p| emulated().into_iter().for_each(|plan| compare::<f32>(p, plan)));
}
