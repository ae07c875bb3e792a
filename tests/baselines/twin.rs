//! A network of two logits against its twin in PyTorch: logits in both modes, the loss, every gradient and the running
//! statistics of one training step, from a file that `tests/golden/classifier.py` laid out. On the host in both precisions, and
//! in f32 through the launches, on the emulator. One formula for all tolerances, see `docs/numerics.md`.

use lae_engine::core::op::Element;
use lae_engine::core::params::{Kind, ParamStore};
use lae_engine::core::plan::Plan;
use lae_engine::core::real::Real;
use lae_engine::core::shape::{Shape, shape};
use lae_engine::core::tape::{Tape, Var};
use lae_engine::error::Result;
use lae_engine::nn::weights::to_torch;
use lae_engine::nn::{Context, Net};
use lae_engine::ops::cross_entropy::cross_entropy;
use lae_engine::train::detector::Cam;
use serde::Deserialize;

use crate::golden::{File, cams, close, emulated, header, host};

#[derive(Deserialize)]
struct Golden {
    torch: String,
    seed: u64,
    step: u32,
}

/// The tensors of one network in a file: those whose names begin with its name.
pub struct Twin {
    golden: Golden,
    pub file: File,
}

impl Twin {
    pub fn of(bytes: &'static [u8], name: &str) -> Twin {
        Twin { golden: header(bytes), file: File::open(bytes, &format!("{name}.")) }
    }
    /// The network with torch's weights.
    fn network<T: Real>(&self, build: &impl Fn(&mut ParamStore<T>, usize) -> Result<Net>, side: usize) -> (ParamStore<T>, Net) {
        let mut store = ParamStore::<T>::new(self.golden.seed);
        let net = build(&mut store, side).unwrap();
        self.file.weights(&mut store, &format!("{}.", net.name), &net.params_all());
        (store, net)
    }

    /// Compare everything that the file has; the number of values.
    fn compare<T: Element>(
        &self,
        scale: f64,
        build: &impl Fn(&mut ParamStore<T>, usize) -> Result<Net>,
        plan: impl Fn(Tape, &[Var]) -> Result<Plan<T>>,
    ) -> usize {
        // Bytes over 256 in the file; the network takes bytes times `scale`.
        let (size, mut x) = self.file.pictures::<T>("x");
        x.iter_mut().for_each(|x| *x *= T::of(256.0 * scale));
        let (side, n) = (size.h as usize, size.n as usize);
        let get = |what: &str| self.file.get(what);
        let mut compared = 0;

        let (mut store, net) = self.network(build, side);
        // Every row of the network rounds anew, so the random walk of the formula is that many times as long.
        let terms = size.len() * net.rows().count();
        let mut t = Tape::new(&store);
        let pictures = t.input(size);
        let logits = net.run(&mut t, pictures, Context::EVAL).unwrap();
        let mut eval = plan(t, &[logits]).unwrap();
        eval.feed(pictures).unwrap().copy_from_slice(&x);
        eval.run(&mut store).unwrap();
        compared += close("logits in evaluation", eval.fetch(logits).unwrap(), &get("eval.logits"), terms);

        let record = |t: &mut Tape, x: Var| {
            let (maps, values) = net.run_with_maps(t, x, Context::EVAL).unwrap();
            Cam { maps, values, weights: vec![0.0, 1.0] }
        };
        compared += cams(&self.file, &mut store, (size, &x), terms, record, &plan);

        let (mut store, net) = self.network(build, side);
        let mut t = Tape::new(&store);
        let (pictures, label, step) = (t.input(size), t.input(shape(n, 1, 1, 1)), t.input(Shape::SCALAR));
        let logits = net.run(&mut t, pictures, Context::train(step)).unwrap();
        let loss = cross_entropy(&mut t, logits, label).unwrap();
        let wrt = t.trained(&store.group(&net.name));
        t.backward(loss, &wrt).unwrap();
        let mut train = plan(t, &[logits, loss]).unwrap();
        train.feed(pictures).unwrap().copy_from_slice(&x);
        train.feed(label).unwrap().iter_mut().zip(get("label")).for_each(|(to, l)| *to = T::of(l));
        train.feed(step).unwrap()[0] = T::of(self.golden.step as f64);
        train.run(&mut store).unwrap();
        store.pull().unwrap();
        compared += close("logits in training", train.fetch(logits).unwrap(), &get("train.logits"), terms);
        compared += close("loss", train.fetch(loss).unwrap(), &get("loss"), terms);
        for id in net.params_all() {
            let p = store.get(id).clone();
            let name = row(&net, &p.name);
            compared += match p.kind {
                Kind::Running => close(&p.name, &to_torch(&p, store.value(id)), &get(&format!("after.{name}")), terms),
                // A bias before batch norm is taken off again with the mean: its gradient is rounding, and not in the file.
                _ if !self.file.has(&format!("grad.{name}")) => {
                    assert!(name.ends_with("bias") && store.grad(id).iter().all(|g| g.f64().abs() < 1e-4), "gradient of {name}");
                    0
                }
                _ => close(&format!("gradient of {name}"), &to_torch(&p, store.grad(id)), &get(&format!("grad.{name}")), terms),
            };
        }
        println!("{}: {compared} values of torch {}", self.file.prefix, self.golden.torch);
        compared
    }

    /// f64 and f32 on the host, f32 through the kernels; more than `least` values each.
    pub fn agrees(
        &self,
        scale: f64,
        least: usize,
        f32s: impl Fn(&mut ParamStore<f32>, usize) -> Result<Net>,
        f64s: impl Fn(&mut ParamStore<f64>, usize) -> Result<Net>,
    ) {
        assert!(self.compare::<f64>(scale, &f64s, host) > least);
        assert!(self.compare::<f32>(scale, &f32s, host) > least);
        emulated().into_iter().for_each(|plan| assert!(self.compare::<f32>(scale, &f32s, plan) > least));
    }
}

/// A parameter's name behind the network's.
fn row<'a>(net: &Net, name: &'a str) -> &'a str {
    &name[net.name.len() + 1..]
}
