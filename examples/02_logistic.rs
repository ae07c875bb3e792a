//! Logistic regression: the smallest training loop, on the engine's bare names.
//!
//! Two clouds of points that overlap. The model is p = σ(w·x + b); its loss is the cross entropy, its optimiser gradient descent.
//! The best possible rule for these clouds is known (their centres are ±(1, ½), their spread is 1), so the accuracy has something
//! to be compared with: Φ(√1.25) = 86.8 %.
//!
//!     cargo run --example 02_logistic

use lae_engine::core::rng::{Rng, stream};
use lae_engine::ops::bce_logits::bce_logits;
use lae_engine::ops::linear::linear;
use lae_engine::ops::sgd::{Sgd, sgd};
use lae_engine::{Device, Form, Init, Kind, Memory, ParamStore, Plan, Result, Shape, Tape, Var, shape};

const BATCH: usize = 128;

/// Points (n×2) and their classes (n), half of each class. The numbers depend on `index` alone.
fn points(n: usize, index: u64) -> (Vec<f32>, Vec<f32>) {
    let mut rng = Rng::new(1, stream("points"), index);
    let class: Vec<f32> = (0..n).map(|i| (i % 2) as f32).collect();
    let x = class.iter().flat_map(|c| {
        let side = 2.0 * c - 1.0;
        [side + rng.normal(), 0.5 * side + rng.normal()]
    });
    (x.collect(), class)
}

/// The model on `n` points: where points are fed, and their logits.
fn model(t: &mut Tape, store: &ParamStore, n: usize) -> Result<(Var, Var)> {
    let x = t.input(shape(n, 1, 1, 2));
    let [w, b] = ["w", "b"].map(|name| t.param(store.find(name).expect("added in main")));
    Ok((x, linear(t, x, w, Some(b))?))
}

fn main() -> Result<()> {
    let (device, what) = Device::choose("cpu")?;
    println!("running on {what}\n");
    let mut store = ParamStore::new(0);
    store.add("w", shape(1, 1, 1, 2), Kind::Trained, Form::Matrix, Init::Constant(0.0));
    store.add("b", Shape::vector(1), Kind::Trained, Form::Vector, Init::Constant(0.0));
    let group = store.group("w").and(&store.group("b"));

    // Training: forward, backward, update.
    let mut t = Tape::new(&store);
    let (x, logits) = model(&mut t, &store, BATCH)?;
    let (label, rate) = (t.input(shape(BATCH, 1, 1, 1)), t.input(Shape::SCALAR));
    let loss = bce_logits(&mut t, logits, label)?;
    let weights = t.trained(&group);
    t.backward(loss, &weights)?;
    sgd(&mut t, &group, Sgd { momentum: 0.9, weight_decay: 0.0 }, rate)?;
    let mut training = Plan::on(&device, t, &[loss], Memory::Planned)?;

    // Testing: a second plan over the same store, forward only, of another size.
    let mut t = Tape::new(&store);
    let (test_x, test_logits) = model(&mut t, &store, 2000)?;
    let mut testing = Plan::on(&device, t, &[test_logits], Memory::Planned)?;
    let (held_out, class) = points(2000, 0);
    testing.feed(test_x)?.copy_from_slice(&held_out);

    let (mut first, mut last) = (0.0, 0.0);
    for step in 1..=100 {
        let (batch, labels) = points(BATCH, step);
        training.feed(x)?.copy_from_slice(&batch);
        training.feed(label)?.copy_from_slice(&labels);
        training.feed(rate)?[0] = 0.05;
        training.run(&mut store)?;
        last = training.scalar(loss)?;
        if step == 1 {
            first = last;
        }
        if step == 1 || step % 20 == 0 {
            println!("step {step:>3}   loss {last:.4}");
        }
    }

    testing.run(&mut store)?;
    let right = testing.fetch(test_logits)?.iter().zip(&class).filter(|(z, c)| (**z > 0.0) == (**c > 0.5)).count();
    let accuracy = right as f64 / class.len() as f64;
    store.pull()?; // free on the CPU; from a GPU it brings the weights
    let [w, b] = ["w", "b"].map(|name| store.value(store.find(name).expect("added above")));
    println!("\nw = [{:.2}, {:.2}], b = {:.2}; the best rule has w = [2, 1], b = 0", w[0], w[1], b[0]);
    println!("accuracy on 2000 other points: {:.1} % (the best rule: 86.8 %)", 100.0 * accuracy);
    assert!((first - std::f64::consts::LN_2).abs() < 1e-6, "weights of zero give every point p = ½");
    assert!(last < 0.5 * first, "the loss falls");
    assert!(accuracy > 0.85, "the accuracy is near the best possible");
    Ok(())
}
