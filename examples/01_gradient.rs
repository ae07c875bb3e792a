//! A gradient, and how to know that it is right.
//!
//! f = mean of (tanh(W x + b) − t)², one number. The tape records f; `backward` appends the steps of its gradient; a plan in f64 runs
//! both. A difference quotient, (f(w + h) − f(w − h)) / 2h, must give the same number for every weight.
//!
//!     cargo run --example 01_gradient

use lae_engine::ops::activation::tanh;
use lae_engine::ops::difference::mse;
use lae_engine::ops::linear::linear;
use lae_engine::{Form, Init, Kind, Memory, ParamStore, Plan, Result, Shape, Tape, shape};

fn main() -> Result<()> {
    // Parameters live in a store, by name. Their first values follow from the seed and the name.
    let mut store = ParamStore::<f64>::new(7);
    let w = store.add("net.weight", shape(3, 1, 1, 4), Kind::Trained, Form::Matrix, Init::torch_default(4));
    let b = store.add("net.bias", Shape::vector(3), Kind::Trained, Form::Vector, Init::torch_default(4));
    let net = store.group("net");

    // Recording: shapes are checked here, nothing is computed yet.
    let mut t = Tape::new(&store);
    let (x, target) = (t.input(shape(1, 1, 1, 4)), t.input(shape(1, 1, 1, 3)));
    let (wv, bv) = (t.param(w), t.param(b));
    let y = linear(&mut t, x, wv, Some(bv))?;
    let y = tanh(&mut t, y)?;
    let f = mse(&mut t, y, target)?;
    let weights = t.trained(&net);
    let grads = t.backward(f, &weights)?;
    // Gradients of parameters lie in the store after a run; that of an input would be fetched: `grads.of(x)`.
    assert!(grads.of(wv).is_some() && grads.of(x).is_none(), "only what was asked for has a gradient");

    let mut plan = Plan::<f64>::new(t, &[f], Memory::Planned)?;
    plan.feed(x)?.copy_from_slice(&[0.5, -1.0, 0.25, 2.0]);
    plan.feed(target)?.copy_from_slice(&[0.1, -0.2, 0.3]);
    plan.run(&mut store)?;
    println!("f = {:.6}, {} steps\n", plan.scalar(f)?, plan.len());

    println!("{:<14} {:>14} {:>20} {:>10}", "df/d…", "backward", "difference quotient", "apart");
    let h = 1e-5;
    // Copies: every further run overwrites the gradients in the store.
    let exact: Vec<Vec<f64>> = net.ids().iter().map(|&id| store.grad(id).to_vec()).collect();
    for (id, exact) in net.ids().iter().zip(exact) {
        for (i, exact) in exact.into_iter().enumerate() {
            let mut at = |by: f64| -> Result<f64> {
                store.value_mut(*id)[i] += by;
                plan.run(&mut store)?;
                store.value_mut(*id)[i] -= by;
                plan.scalar(f)
            };
            let quotient = (at(h)? - at(-h)?) / (2.0 * h);
            let apart = (exact - quotient).abs();
            println!("{:<14} {exact:>14.9} {quotient:>20.9} {apart:>10.1e}", format!("{}[{i}]", store.get(*id).name));
            // The quotient is off by h²·f‴/6, about 1e-11, and by rounding, about 1e-16/h.
            assert!(apart < 1e-9, "the gradient is wrong");
        }
    }
    Ok(())
}
