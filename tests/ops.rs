//! Every case of every op, three questions:
//!
//! 1. *Is the calculus right?* ⟨u, J v⟩ by central differences in f64 against ⟨Jᵀu, v⟩ from the backward pass, one input at a time,
//!    three random directions; on failure every coordinate is tried and the worst is named.
//! 2. *Is the fast code right?* Each output of both passes in f32 against the f64 host pass.
//! 3. *Does an op only write?* Buffers are poisoned before the run by running on other data first.
//!
//! One formula for all tolerances, see `docs/numerics.md`.

use lae_engine::core::op::{Element, Set};
use lae_engine::core::params::ParamStore;
use lae_engine::core::plan::{Memory, Plan};
use lae_engine::core::rng::{Rng, stream};
use lae_engine::core::shape::Shape;
use lae_engine::core::tape::{Tape, Var};
use lae_engine::ops::{Case, Fill, OPS, dot::dot};

/// Values for an input, in f64 but exactly representable in f32.
fn fill(kind: Fill, shape: Shape, rng: &mut Rng) -> Vec<f64> {
    let n = shape.len();
    let value = |x: f32| x as f64;
    match kind {
        Fill::Normal => (0..n).map(|_| value(rng.normal())).collect(),
        Fill::OffZero => (0..n)
            .map(|_| {
                let x = rng.normal();
                value(x + 0.1f32.copysign(x))
            })
            .collect(),
        Fill::Positive => (0..n).map(|_| value(rng.range(0.5, 1.5))).collect(),
        Fill::Binary => (0..n).map(|i| if i == 0 { 1.0 } else { rng.below(2) as f64 }).collect(),
        Fill::Class(k) => (0..n).map(|_| rng.below(k) as f64).collect(),
        Fill::Counter => vec![7.0; n],
        Fill::Distinct => {
            let mut xs: Vec<f64> = (0..n).map(|i| (i as f64 - n as f64 / 2.0) * 0.0625 + 0.015625).collect();
            rng.shuffle(&mut xs);
            xs
        }
        Fill::Mask => {
            let mut xs = vec![0.0; n];
            for image in xs.chunks_mut(shape.per_image()) {
                let (h, w) = (shape.h as usize, shape.w as usize);
                let (r0, c0) = (rng.below(h.div_ceil(2)), rng.below(w.div_ceil(2)));
                for r in r0..(r0 + h / 2).min(h) {
                    image[r * w + c0..r * w + (c0 + w / 2).min(w)].fill(1.0);
                }
            }
            xs
        }
    }
}

/// Everything that one run of a case gives: outputs, then gradients of the wanted inputs.
struct Ran {
    loss: f64,
    /// (name, terms summed, values)
    outputs: Vec<(String, Vec<f64>)>,
    grads: Vec<(usize, Vec<f64>)>,
}

struct Bench<T: Element> {
    plan: Plan<T>,
    inputs: Vec<Var>,
    outputs: Vec<(String, Var)>,
    cotangent: Option<Var>,
    loss: Option<Var>,
    grads: Vec<(usize, Var)>,
    store: ParamStore<T>,
}

impl<T: Element> Bench<T> {
    fn new(case: &Case) -> Bench<T> {
        Bench::with(case, Memory::Planned)
    }
    fn eager(case: &Case) -> Bench<T> {
        Bench::with(case, Memory::Eager)
    }
    fn with(case: &Case, memory: Memory) -> Bench<T> {
        let store = ParamStore::new(0);
        let mut t = Tape::new(&store);
        let inputs: Vec<Var> = case.inputs.iter().map(|&(s, _)| t.input(s)).collect();
        let ys = t.record_case(case, &inputs).unwrap_or_else(|e| panic!("{}: {e}", case.label));
        let wanted: Vec<usize> = (0..inputs.len()).filter(|&i| case.wants.has(i)).collect();
        let mut outputs: Vec<(String, Var)> = ys.iter().enumerate().map(|(i, &v)| (format!("y[{i}]"), v)).collect();
        outputs.extend(case.op.updates().iter().map(|&i| (format!("updated x[{i}]"), inputs[i])));
        let (mut cotangent, mut loss, mut grads) = (None, None, vec![]);
        if !ys.is_empty() && case.wants != Set::NONE && !wanted.is_empty() {
            let u = t.input(t.shape(ys[0]));
            let l = dot(&mut t, ys[0], u).unwrap();
            let wrt: Vec<Var> = wanted.iter().map(|&i| inputs[i]).collect();
            let g = t.backward(l, &wrt).unwrap();
            grads = wanted.iter().map(|&i| (i, g.of(inputs[i]).expect("gradient"))).collect();
            (cotangent, loss) = (Some(u), Some(l));
        }
        let fetch: Vec<Var> = outputs.iter().map(|o| o.1).chain(loss).chain(grads.iter().map(|g| g.1)).collect();
        let plan = Plan::new(t, &fetch, memory);
        plan.audit(&fetch).unwrap();
        Bench { plan, inputs, outputs, cotangent, loss, grads, store }
    }
    fn run(&mut self, x: &[Vec<f64>], u: &[f64]) -> Ran {
        for (v, x) in self.inputs.iter().zip(x).chain(self.cotangent.iter().zip([&u.to_vec()])) {
            self.plan.feed(*v).iter_mut().zip(x).for_each(|(d, &s)| *d = T::of(s));
        }
        self.plan.run(&mut self.store).unwrap();
        let get = |v: Var| self.plan.fetch(v).iter().map(|x| x.f64()).collect::<Vec<f64>>();
        Ran {
            loss: self.loss.map_or(0.0, |l| self.plan.scalar(l)),
            outputs: self.outputs.iter().map(|(n, v)| (n.clone(), get(*v))).collect(),
            grads: self.grads.iter().map(|(i, v)| (*i, get(*v))).collect(),
        }
    }
    fn cotangent_len(&self) -> usize {
        self.cotangent.map_or(0, |v| self.plan.shape(v).len())
    }
}

fn inputs(case: &Case, seed: u64) -> Vec<Vec<f64>> {
    case.inputs.iter().enumerate().map(|(i, &(s, f))| fill(f, s, &mut Rng::new(seed, stream("case"), i as u64))).collect()
}

fn normals(n: usize, seed: u64, index: u64) -> Vec<f64> {
    let mut r = Rng::new(seed, stream("direction"), index);
    (0..n).map(|_| r.normal() as f64).collect()
}

/// |a − b| ≤ c·ε·(√terms·scale + |b|), element-wise; `scale` is the root mean square of b. The worst offender otherwise.
fn close(name: &str, a: &[f64], b: &[f64], eps: f64, terms: f64) -> Result<(), String> {
    assert_eq!(a.len(), b.len());
    let scale = (b.iter().map(|x| x * x).sum::<f64>() / b.len().max(1) as f64).sqrt();
    let bound = |x: f64| 8.0 * eps * terms.sqrt() * (scale + x.abs()) + 1e-30;
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

/// Number of terms in the longest sum that this case forms: the bound grows with its root.
fn terms(case: &Case) -> f64 {
    case.inputs.iter().map(|(s, _)| s.len()).max().unwrap_or(1).max(16) as f64
}

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
    let (mut fast, mut oracle) = (Bench::<f32>::new(case), Bench::<f64>::new(case));
    // The first run leaves other values in every buffer: an op that adds to its output, or reads scratch, shows in the second.
    let u0 = normals(fast.cotangent_len(), 21, 0);
    fast.run(&inputs(case, 20), &u0);
    let x = inputs(case, 22);
    let u: Vec<f64> = normals(fast.cotangent_len(), 23, 0).iter().map(|&x| x as f32 as f64).collect();
    let (a, b) = (fast.run(&x, &u), oracle.run(&x, &u));
    let (eps, terms) = (f32::EPSILON as f64, terms(case));
    for ((name, a), (_, b)) in a.outputs.iter().zip(&b.outputs) {
        close(name, a, b, eps, terms)?;
    }
    for ((i, a), (_, b)) in a.grads.iter().zip(&b.grads) {
        close(&format!("dx[{i}]"), a, b, eps, terms)?;
    }
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
    each("gradients", |case| match (gradients(case), case.withholds) {
        (Err(_), true) => Ok(1),
        (Ok(_), true) => Err("withholds a part of its gradient, yet agrees with the difference quotient".to_string()),
        (result, false) => result,
    });
}

#[test]
fn f32_matches_the_f64_oracle() {
    each("parity", parity);
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
