//! Every case of every op, three questions:
//!
//! 1. *Is the calculus right?* ⟨u, J v⟩ by central differences in f64 against ⟨Jᵀu, v⟩ from the backward pass, one input at a time,
//!    three random directions; on failure every coordinate is tried and the worst is named.
//! 2. *Is the fast code right?* Each output of both passes in f32 against the f64 host pass.
//! 3. *Does an op only write?* Buffers are poisoned before the run by running on other data first.
//!
//! One formula for all tolerances, see `docs/numerics.md`.

mod common;

use common::{Bench, agree, inputs, normals, oracle, terms};
use lae_engine::core::case::Case;
use lae_engine::ops::OPS;
use lae_engine::ops::conv_bf16::{in_bf16, in_f32};

fn gradients(case: &Case) -> Result<usize, String> {
    let mut f64_run = Bench::<f64>::new(case);
    if f64_run.loss.is_none() {
        return Ok(0);
    }
    let x = inputs(case, 11);
    let u = normals(f64_run.cotangent_len(), 12, 0);
    let exact = f64_run.run(&x, &u);
    // Central differences: error ~ h² f''' against rounding ~ ε/h.
    const H: f64 = 1e-5;
    let mut checks = 0;
    for (i, grad) in &exact.grads {
        let mut difference = |v: &[f64]| {
            let mut moved = |h: f64| {
                let mut x = x.clone();
                x[*i].iter_mut().zip(v).for_each(|(x, v)| *x += h * v);
                f64_run.run(&x, &u).loss
            };
            (moved(H) - moved(-H)) / (2.0 * H)
        };
        for direction in 0..3 {
            let v = normals(grad.len(), 13 + *i as u64, direction);
            let (numeric, analytic) = (difference(&v), grad.iter().zip(&v).map(|(g, v)| g * v).sum::<f64>());
            let size = grad.iter().zip(&v).map(|(g, v)| (g * v).abs()).sum::<f64>();
            checks += 1;
            if numeric.is_nan() || analytic.is_nan() || (numeric - analytic).abs() > 1e-6 * (size + 1e-3) {
                let worst = (0..grad.len())
                    .map(|k| {
                        let mut e = vec![0.0; grad.len()];
                        e[k] = 1.0;
                        (k, difference(&e))
                    })
                    .max_by(|a, b| (a.1 - grad[a.0]).abs().total_cmp(&(b.1 - grad[b.0]).abs()))
                    .unwrap();
                return Err(format!(
                    "gradient of input {i}: ⟨Jᵀu, v⟩ = {analytic}, difference quotient {numeric}; worst coordinate {}: {} against {}",
                    worst.0, grad[worst.0], worst.1
                ));
            }
        }
    }
    Ok(checks)
}

fn parity(case: &Case) -> Result<usize, String> {
    let mut fast = Bench::<f32>::new(case);
    // The first run leaves other values in every buffer: an op that adds to its output, or reads scratch, shows in the second.
    let u0 = normals(fast.cotangent_len(), 21, 0);
    fast.run(&inputs(case, 20), &u0);
    let x = inputs(case, 22);
    let u: Vec<f64> = normals(fast.cotangent_len(), 23, 0).iter().map(|&x| x as f32 as f64).collect();
    let (a, b) = (fast.run(&x, &u), oracle(case, &x, &u));
    agree(&a, &b, f32::EPSILON as f64, terms(case))?;
    Ok(a.outputs.len() + a.grads.len())
}

fn each(question: &str, ask: impl Fn(&Case) -> Result<usize, String>) {
    let (mut cases, mut checks, mut failed) = (0, 0, vec![]);
    for (op, table) in OPS {
        let rows = table();
        assert!(rows.iter().any(|c| c.bench.is_none()), "{op} has no test row");
        for case in rows.iter().filter(|c| c.bench.is_none()) {
            cases += 1;
            match ask(case) {
                Ok(n) => checks += n,
                Err(why) => failed.push(format!("{op} [{}]: {why}", case.label)),
            }
        }
    }
    println!("{question}: {cases} cases of {} ops, {checks} comparisons", OPS.len());
    assert!(checks > cases, "{question}: only {checks} comparisons were made");
    assert!(failed.is_empty(), "{question}: {} of {cases} cases fail\n{}", failed.len(), failed.join("\n"));
}

#[test]
fn gradients_match_difference_quotients() {
    // Roundings hide a difference quotient: that of a convolution of bf16 is asked of the f32 one, which `oracle` holds it to.
    let smooth = |case: &Case| in_f32(case).unwrap_or_else(|| case.clone());
    each("gradients", |case| match (gradients(&smooth(case)), case.withholds) {
        (Err(_), true) => Ok(1),
        (Ok(_), true) => Err("withholds a part of its gradient, yet agrees with the difference quotient".to_string()),
        (result, false) => result,
    });
}

#[test]
fn f32_matches_the_f64_oracle() {
    each("parity", parity);
}

/// Each row of each op that has bf16, once more in bf16.
#[test]
fn bf16_matches_the_f64_oracle() {
    let (mut ops, mut rows) = (0, 0);
    for (op, table) in OPS {
        let halved: Vec<Case> =
            table().iter().filter(|c| c.bench.is_none()).filter_map(|c| c.halved().or_else(|| in_bf16(c))).collect();
        ops += !halved.is_empty() as usize;
        rows += halved.len();
        let failed: Vec<String> =
            halved.iter().filter_map(|c| parity(c).err().map(|why| format!("{op} [{}]: {why}", c.label))).collect();
        assert!(failed.is_empty(), "{}", failed.join("\n"));
    }
    println!("{rows} rows of {ops} ops in bf16");
    assert!(ops > 20 && rows > 300, "{rows} rows of {ops} ops");
}

#[test]
fn names_are_unique_and_every_op_has_a_bench_row() {
    let mut names: Vec<&str> = OPS.iter().map(|o| o.0).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), OPS.len());
    for (op, table) in OPS.iter().filter(|o| o.0 != "fill") {
        assert!(table().iter().any(|c| c.bench.is_some()), "{op} has no bench row");
    }
}

/// Planned memory gives the same bits as one buffer per value.
#[test]
fn planned_equals_eager() {
    for (op, table) in OPS {
        for case in table().iter().filter(|c| c.bench.is_none()) {
            let mut planned = Bench::<f32>::new(case);
            let mut eager = Bench::<f32>::eager(case);
            let (x, u) = (inputs(case, 31), normals(planned.cotangent_len(), 32, 0));
            let (a, b) = (planned.run(&x, &u), eager.run(&x, &u));
            assert_eq!(a.outputs, b.outputs, "{op} [{}]", case.label);
            assert_eq!(a.grads, b.grads, "{op} [{}]", case.label);
        }
    }
}
