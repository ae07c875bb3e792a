//! ResidualNet against PyTorch, and its start against the histogram that it stands for, counted.

use lae_engine::core::op::Element;
use lae_engine::core::params::ParamStore;
use lae_engine::core::plan::Plan;
use lae_engine::core::rng::{Rng, stream};
use lae_engine::core::shape::shape;
use lae_engine::core::tape::{Tape, Var};
use lae_engine::error::Result;
use lae_engine::models::residual::{Residual, luma};
use lae_engine::nn::Mode;
use lae_engine::ops::cross_entropy::cross_entropy;
use lae_engine::train::detector::Cam;

use crate::golden::{File, cams, close, emulated, host};

fn compare<T: Element>(plan: impl Fn(Tape, &[Var]) -> Result<Plan<T>>) {
    let file = File::open(include_bytes!("../golden/residual.safetensors"), "");
    let (size, x) = file.pictures::<T>("x");
    let mut store = ParamStore::<T>::new(0);
    let residual = Residual::build(&mut store, size.h as usize, 3.0, 1.0).unwrap();
    let ids = residual.net.params_all();
    // Every row rounds anew, so the random walk of the formula is that many times as long; there are four rows to a branch.
    let (terms, mut compared) = (size.len() * 6, 0);
    for &id in &ids[..ids.len() - 2] {
        let name = store.get(id).name.replace("residual.", "start.");
        compared += file.close_param(&store, id, store.value(id), &name, 1);
    }
    file.weights(&mut store, "residual.", &ids);
    let mut t = Tape::new(&store);
    let (pictures, class) = (t.input(size), t.input(shape(size.n as usize, 1, 1, 1)));
    let input = luma(&mut t, pictures).unwrap();
    let rows = residual.net.run_all(&mut t, input, Mode::Train, &[]).unwrap();
    let loss = cross_entropy(&mut t, rows[1], class).unwrap();
    let wrt = t.trained(&residual.group);
    t.backward(loss, &wrt).unwrap();
    let mut step = plan(t, &[rows[0], rows[1], loss]).unwrap();
    step.feed(pictures).unwrap().copy_from_slice(&x);
    step.feed(class).unwrap().iter_mut().zip(file.get("label")).for_each(|(c, l)| *c = T::of(1.0 - l));
    step.run(&mut store).unwrap();
    store.pull().unwrap();
    for (name, v) in [("shares", rows[0]), ("logits", rows[1]), ("loss", loss)] {
        compared += close(name, step.fetch(v).unwrap(), &file.get(name), terms);
    }
    let record = |t: &mut Tape, x: Var| {
        let input = luma(t, x).unwrap();
        let (maps, values) = residual.net.run_with_maps(t, input, Mode::Eval).unwrap();
        Cam { maps, values, weights: vec![0.0, 1.0] }
    };
    compared += cams(&file, &mut store, (size, &x), terms, record, &plan);
    for id in ids {
        let name = store.get(id).name.replace("residual.", "grad.");
        compared += file.close_param(&store, id, store.grad(id), &name, terms);
    }
    assert!(compared > 2700, "{compared} values");
}

#[test]
fn f64_equals_torch() {
    compare::<f64>(host);
}

#[test]
fn f32_equals_torch() {
    compare::<f32>(host);
}

#[test]
fn the_kernels_equal_torch() {
    emulated().into_iter().for_each(compare::<f32>);
}

/// A ramp with a bit of noise, in whole grey levels: no residual lies half-way between two levels of step 3.
fn grey(side: usize) -> Vec<f64> {
    let mut rng = Rng::new(5, stream("grey"), 0);
    (0..side * side).map(|i| (100 + i / side + rng.below(2)) as f64).collect()
}

/// At a low temperature the network's features are the histogram of residuals, counted here from its definition.
#[test]
fn the_start_is_the_histogram() {
    let (side, q) = (41, 3.0);
    let mut store = ParamStore::<f64>::new(0);
    let residual = Residual::build(&mut store, side, q, 1e-4).unwrap();
    let mut t = Tape::new(&store);
    let x = t.input(shape(1, side, side, 1));
    let shares = residual.net.run_all(&mut t, x, Mode::Eval, &[]).unwrap()[0];
    let mut plan = host::<f64>(t, &[shares]).unwrap();
    let grey = grey(side);
    plan.feed(x).unwrap().copy_from_slice(&grey);
    plan.run(&mut store).unwrap();

    let at = |row: usize, column: usize| grey[row * side + column];
    // The third derivative along the row, rounded and clipped: 0, 1 or 2.
    let level = |row: usize, column: usize| {
        let r = at(row, column) - 3.0 * at(row, column + 1) + 3.0 * at(row, column + 2) - at(row, column + 3);
        ((r / q).round().clamp(-1.0, 1.0) + 1.0) as usize
    };
    let mut counts = [[0.0; 81]; 2];
    for row in 0..side {
        for column in 0..side - 3 {
            let pattern = |level: &dyn Fn(usize) -> usize| level(0) + 3 * level(1) + 9 * level(2) + 27 * level(3);
            if column + 3 < side - 3 {
                counts[0][pattern(&|k| level(row, column + k))] += 1.0 / (side * (side - 6)) as f64;
            }
            if row + 3 < side {
                counts[1][pattern(&|k| level(row + k, column))] += 1.0 / ((side - 3) * (side - 3)) as f64;
            }
        }
    }
    let used = counts.as_flattened().iter().filter(|&&c| c > 0.0).count();
    assert!(used > 100, "only {used} patterns occur: the test would not see much");
    for (j, (a, b)) in plan.fetch(shares).unwrap().iter().zip(counts.as_flattened()).enumerate() {
        assert!((a - b).abs() < 1e-12, "pattern {j}: {a}, counted {b}");
    }
}

/// Patterns are a product grid, so the softmax over 81 is the product of a softmax over three levels for each of the four
/// values.
#[test]
fn the_softmax_factorises_at_the_start() {
    let (side, q, tau) = (12, 3.0, 0.7);
    let mut store = ParamStore::<f64>::new(0);
    let residual = Residual::build(&mut store, side, q, tau).unwrap();
    for branch in residual.net.parts(0) {
        let mut t = Tape::new(&store);
        let x = t.input(shape(1, side, side, 1));
        let rows = branch.run_all(&mut t, x, Mode::Eval, &[]).unwrap();
        let mut plan = host::<f64>(t, &rows).unwrap();
        plan.feed(x).unwrap().copy_from_slice(&grey(side));
        plan.run(&mut store).unwrap();
        let (values, soft) = (plan.fetch(rows[0]).unwrap(), plan.fetch(rows[2]).unwrap());
        for (v, soft) in values.chunks(4).zip(soft.chunks(81)) {
            // Of one value v: e^(−(v − q·c)²/(τ·q²)) over the sum, c = −1, 0, 1.
            let share = |v: f64, c: i32| {
                let e = |c: i32| (-(v - q * c as f64).powi(2) / (tau * q * q)).exp();
                e(c) / (e(-1) + e(0) + e(1))
            };
            for (j, soft) in soft.iter().enumerate() {
                let product: f64 = (0..4).map(|k| share(v[k], (j / 3usize.pow(k as u32) % 3) as i32 - 1)).product();
                assert!((soft - product).abs() < 1e-12, "{soft}, the product is {product}");
            }
        }
    }
}
