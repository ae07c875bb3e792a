//! MesoInception-4 against PyTorch: logits in both modes, the loss, every gradient and the running statistics of one training step,
//! from `tests/golden/meso.safetensors` (`meso.py` beside it writes the file and holds the twin). On the host in both precisions, and
//! in f32 through the launches, on the emulator. One formula for all tolerances, see `docs/numerics.md`.

use lae_engine::core::op::Element;
use lae_engine::core::params::{Kind, ParamStore};
use lae_engine::core::plan::{Memory, Plan};
use lae_engine::core::real::Real;
use lae_engine::core::shape::{Shape, shape};
use lae_engine::core::tape::{Tape, Var};
use lae_engine::device::emu::{Emulator, Options};
use lae_engine::device::{Device, Precision, kernels};
use lae_engine::error::Result;
use lae_engine::models::meso::Meso;
use lae_engine::nn::Context;
use lae_engine::nn::weights::{from_torch, to_torch, torch_shape};
use lae_engine::ops::activation::sigmoid;
use lae_engine::ops::difference::mse;
use safetensors::{Dtype, SafeTensors};
use serde::Deserialize;

#[derive(Deserialize)]
struct Golden {
    torch: String,
    seed: u64,
    step: u32,
    side: usize,
    batch: usize,
}

struct File<'a> {
    golden: Golden,
    tensors: SafeTensors<'a>,
}

impl File<'_> {
    fn open() -> File<'static> {
        let bytes = include_bytes!("golden/meso.safetensors");
        let (_, header) = SafeTensors::read_metadata(bytes).unwrap();
        let golden = serde_json::from_str(&header.metadata().as_ref().unwrap()["golden"]).unwrap();
        File { golden, tensors: SafeTensors::deserialize(bytes).unwrap() }
    }
    /// Values in torch's order.
    fn get(&self, name: &str) -> Vec<f64> {
        let t = self.tensors.tensor(name).unwrap_or_else(|e| panic!("{name}: {e}"));
        match t.dtype() {
            Dtype::F64 => bytemuck::pod_collect_to_vec(t.data()),
            Dtype::F32 => bytemuck::pod_collect_to_vec::<u8, f32>(t.data()).into_iter().map(f64::from).collect(),
            Dtype::U8 => t.data().iter().map(|&b| b as f64 / 256.0).collect(),
            other => panic!("{name}: unexpected type {other:?}"),
        }
    }
    /// The network with torch's weights: each parameter once, none left over.
    fn network<T: Real>(&self) -> (ParamStore<T>, Meso) {
        let mut store = ParamStore::<T>::new(self.golden.seed);
        let meso = Meso::build(&mut store, self.golden.side).unwrap();
        let ids = meso.net.params_all();
        assert_eq!(ids.len(), store.iter().count());
        assert_eq!(ids.len(), self.tensors.names().iter().filter(|n| n.starts_with("weight.")).count());
        for id in ids {
            let p = store.get(id).clone();
            let name = format!("weight.{}", p.name.strip_prefix("meso.").unwrap());
            assert_eq!(self.tensors.tensor(&name).unwrap().shape(), torch_shape(&p), "{name}");
            let values: Vec<T> = self.get(&name).into_iter().map(T::of).collect();
            from_torch(&p, &values, store.value_mut(id));
        }
        (store, meso)
    }
    /// Pictures N,C,H,W, in the engine's order.
    fn pictures<T: Real>(&self) -> (Shape, Vec<T>) {
        let (n, side, x) = (self.golden.batch, self.golden.side, self.get("x"));
        let (area, mut y) = (side * side, vec![T::ZERO; x.len()]);
        for (i, &v) in x.iter().enumerate() {
            y[(i / (3 * area) * area + i % area) * 3 + i / area % 3] = T::of(v);
        }
        (shape(n, side, side, 3), y)
    }
}

/// |a − b| ≤ 8·ε·√terms·(rms(b) + |b|).
fn close<T: Real>(what: &str, a: &[T], b: &[f64], terms: usize) -> usize {
    let eps = if size_of::<T>() == 8 { f64::EPSILON } else { f32::EPSILON as f64 };
    assert_eq!(a.len(), b.len(), "{what}");
    let scale = (b.iter().map(|x| x * x).sum::<f64>() / b.len() as f64).sqrt();
    for (i, (a, &b)) in a.iter().zip(b).enumerate() {
        let bound = 8.0 * eps * (terms as f64).sqrt() * (scale + b.abs());
        assert!((a.f64() - b).abs() <= bound, "{what}[{i}] = {a:?}, torch has {b} (bound {bound:.1e})");
    }
    a.len()
}

/// Compare everything that the file has; the number of values.
fn compare<T: Element>(plan: impl Fn(Tape, &[Var]) -> Result<Plan<T>>) -> usize {
    let file = File::open();
    let (size, x) = file.pictures::<T>();
    let label: Vec<T> = file.get("label").into_iter().map(T::of).collect();
    let mut compared = 0;

    let (mut store, meso) = file.network::<T>();
    // Every row of the network rounds anew, so the random walk of the formula is that many times as long.
    let terms = size.len() * meso.net.rows().count();
    let mut t = Tape::new(&store);
    let pictures = t.input(size);
    let logit = meso.run(&mut t, pictures, Context::EVAL).unwrap();
    let mut eval = plan(t, &[logit]).unwrap();
    eval.feed(pictures).unwrap().copy_from_slice(&x);
    eval.run(&mut store).unwrap();
    compared += close("logit in evaluation", eval.fetch(logit).unwrap(), &file.get("eval.logit"), terms);

    let (mut store, meso) = file.network::<T>();
    let mut t = Tape::new(&store);
    let (pictures, truth, step) = (t.input(size), t.input(shape(size.n as usize, 1, 1, 1)), t.input(Shape::SCALAR));
    let out = meso.run_with_maps(&mut t, pictures, Context::train(step)).unwrap();
    let p = sigmoid(&mut t, out.logit).unwrap();
    let loss = mse(&mut t, p, truth).unwrap();
    let wrt = t.trained(&store.group("meso"));
    t.backward(loss, &wrt).unwrap();
    let mut train = plan(t, &[out.logit, out.maps, loss]).unwrap();
    train.feed(pictures).unwrap().copy_from_slice(&x);
    train.feed(truth).unwrap().copy_from_slice(&label);
    train.feed(step).unwrap()[0] = T::of(file.golden.step as f64);
    train.run(&mut store).unwrap();
    store.pull().unwrap();
    compared += close("logit in training", train.fetch(out.logit).unwrap(), &file.get("train.logit"), terms);
    compared += close("loss", train.fetch(loss).unwrap(), &file.get("loss"), terms);
    // The file has the maps of the first picture: C,H,W.
    let (maps, area) = (file.get("maps"), (file.golden.side / 8).pow(2));
    let maps: Vec<f64> = (0..maps.len()).map(|i| maps[i % 16 * area + i / 16]).collect();
    compared += close("maps", &train.fetch(out.maps).unwrap()[..maps.len()], &maps, terms);
    for id in meso.net.params_all() {
        let p = store.get(id).clone();
        let name = p.name.strip_prefix("meso.").unwrap();
        compared += match p.kind {
            Kind::Running => close(&p.name, &to_torch(&p, store.value(id)), &file.get(&format!("after.{name}")), terms),
            _ => close(&format!("gradient of {name}"), &to_torch(&p, store.grad(id)), &file.get(&format!("grad.{name}")), terms),
        };
    }
    println!("{compared} values of torch {}", file.golden.torch);
    compared
}

#[test]
fn f64_equals_torch() {
    assert!(compare::<f64>(|t, fetch| Plan::new(t, fetch, Memory::Planned)) > 14_000);
}

#[test]
fn f32_equals_torch() {
    assert!(compare::<f32>(|t, fetch| Plan::new(t, fetch, Memory::Planned)) > 14_000);
}

#[test]
fn the_kernels_equal_torch() {
    if kernels::KERNELS.is_empty() {
        return; // built without nvcc: nothing to run (the gate builds with LAE_CUDA=require)
    }
    let device = Device::Gpu(Emulator::new(Options::default()), Precision::F32);
    assert!(compare::<f32>(|t, fetch| Plan::on(&device, t, fetch, Memory::Planned)) > 14_000);
}
