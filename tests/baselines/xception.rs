//! XceptionNet against PyTorch: logits in both modes, the loss, every gradient and the running statistics of one training step,
//! from `tests/golden/xception.safetensors` (`xception.py` beside it writes the file and holds the twin). On the host in both
//! precisions, and in f32 through the launches, on the emulator. One formula for all tolerances, see `docs/numerics.md`. And
//! weight files with torch's names.

use std::collections::BTreeMap;
use std::path::Path;

use lae_engine::core::op::Element;
use lae_engine::core::params::{Kind, ParamStore};
use lae_engine::core::plan::Plan;
use lae_engine::core::shape::shape;
use lae_engine::core::tape::{Tape, Var};
use lae_engine::detectors;
use lae_engine::device::Device;
use lae_engine::error::Result;
use lae_engine::models::xception::{Xception, torch_name};
use lae_engine::nn::Mode;
use lae_engine::nn::weights::{to_torch, torch_shape};
use lae_engine::ops::cross_entropy::cross_entropy;
use lae_engine::train::detector::{Cam, Space};
use lae_engine::train::run::Run;
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use serde::Deserialize;

use crate::golden::{File, cams, close, emulated, header, host};

#[derive(Deserialize)]
struct Golden {
    torch: String,
    width: f64,
    middle: usize,
    /// Of the whole network with 1000 classes.
    names: BTreeMap<String, Vec<usize>>,
}

const BYTES: &[u8] = include_bytes!("../golden/xception.safetensors");

/// The network with torch's weights, read as from a published file, whose 1×1 filters have two axes.
fn network(file: &File, golden: &Golden) -> (ParamStore, Xception) {
    let of = |n: &str| file.tensors.tensor(&format!("weight.{n}")).unwrap();
    let mut weights = Vec::new();
    for name in file.tensors.names().iter().filter_map(|n| n.strip_prefix("weight.")) {
        let mut axes = of(name).shape().to_vec();
        axes.truncate(if name.ends_with("pointwise.weight") { 2 } else { 4 });
        weights.push((name.to_string(), axes, bytemuck::pod_collect_to_vec(of(name).data())));
    }
    let (mut store, net) = random(golden.width, golden.middle, 2);
    assert_eq!(weights.len(), net.group.ids().len());
    load(&mut store, &net, &weights).unwrap();
    (store, net)
}

/// A tensor of a weight file: name, axes, values.
type Weights = Vec<(String, Vec<usize>, Vec<f32>)>;

fn random(width: f64, middle: usize, classes: usize) -> (ParamStore, Xception) {
    let mut store = ParamStore::new(3);
    let net = Xception::build(&mut store, 64, width, middle, classes).unwrap();
    (store, net)
}

/// All parameters under torch's names.
fn exported(store: &ParamStore, net: &Xception) -> Weights {
    let of = |id| {
        let p = store.get(id);
        (torch_name(&p.name), torch_shape(p), to_torch(p, store.value(id)))
    };
    net.group.ids().iter().map(|&id| of(id)).collect()
}

fn write(file: &Path, weights: &Weights) {
    let view = |axes: &Vec<usize>, x| TensorView::new(Dtype::F32, axes.clone(), bytemuck::cast_slice(x)).unwrap();
    let views = weights.iter().map(|(name, axes, x)| (name, view(axes, &x[..])));
    std::fs::write(file, safetensors::serialize(views, None).unwrap()).unwrap();
}

fn load(store: &mut ParamStore, net: &Xception, weights: &Weights) -> Result<()> {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("xception.safetensors");
    write(&file, weights);
    net.load(store, &file)
}

/// Compare everything that the file has; the number of values.
fn compare<T: Element>(plan: impl Fn(Tape, &[Var]) -> Result<Plan<T>>) -> usize {
    let (file, golden): (File, Golden) = (File::open(BYTES, ""), header(BYTES));
    let (size, x) = file.pictures::<T>("x");
    let n = size.n as usize;
    let label: Vec<T> = file.get("label").into_iter().map(T::of).collect();
    let (store, model) = network(&file, &golden);
    // Every layer rounds anew, so the random walk of the formula is that many times as long.
    let terms = size.len() * model.group.ids().len();
    let mut compared = 0;

    let record = |t: &mut Tape, x: Var| {
        let input = Space::Symmetric.of(t, x).unwrap();
        let (maps, values) = model.net.run_with_maps(t, input, Mode::Eval).unwrap();
        Cam { maps, values, weights: vec![0.0, 1.0] }
    };
    compared += cams(&file, &mut store.cast::<T>(), (size, &x), terms, record, &plan);
    for mode in [Mode::Eval, Mode::Train] {
        let mut store = store.cast::<T>();
        let mut t = Tape::new(&store);
        let (pictures, truth) = (t.input(size), t.input(shape(n, 1, 1, 1)));
        let input = Space::Symmetric.of(&mut t, pictures).unwrap();
        let logits = model.net.run(&mut t, input, mode).unwrap();
        let loss = cross_entropy(&mut t, logits, truth).unwrap();
        if mode == Mode::Train {
            let wrt = t.trained(&model.group);
            t.backward(loss, &wrt).unwrap();
        }
        let mut plan = plan(t, &[logits, loss]).unwrap();
        plan.feed(pictures).unwrap().copy_from_slice(&x);
        plan.feed(truth).unwrap().copy_from_slice(&label);
        plan.run(&mut store).unwrap();
        let name = if mode == Mode::Train { "train.logits" } else { "eval.logits" };
        compared += close(name, plan.fetch(logits).unwrap(), &file.get(name), terms);
        if mode == Mode::Eval {
            continue;
        }
        store.pull().unwrap();
        compared += close("loss", plan.fetch(loss).unwrap(), &file.get("loss"), terms);
        for &id in model.group.ids() {
            let p = store.get(id).clone();
            let name = torch_name(&p.name);
            let (what, values) = match p.kind {
                Kind::Running => (format!("after.{name}"), store.value(id)),
                _ => (format!("grad.{name}"), store.grad(id)),
            };
            compared += close(&what, &to_torch(&p, values), &file.get(&what), terms);
        }
    }
    println!("{compared} values of torch {}", golden.torch);
    compared
}

#[test]
fn f64_equals_torch() {
    assert!(compare::<f64>(host) > 15_000);
}

#[test]
fn f32_equals_torch() {
    assert!(compare::<f32>(host) > 15_000);
}

#[test]
fn the_kernels_equal_torch() {
    emulated().into_iter().for_each(|plan| assert!(compare::<f32>(plan) > 15_000));
}

/// Every parameter of the published network has a name and axes of torch's, and none of those is left over.
#[test]
fn names_and_axes_are_torchs() {
    let (store, net) = random(1.0, 8, 1000);
    let ours: BTreeMap<String, Vec<usize>> =
        net.group.ids().iter().map(|&id| (torch_name(&store.get(id).name), torch_shape(store.get(id)))).collect();
    assert_eq!(ours, header::<Golden>(BYTES).names);
}

#[test]
fn a_file_with_torchs_names_gives_the_values_back() {
    let (store, net) = random(0.1, 2, 2);
    let weights = exported(&store, &net);
    let renamed = weights.iter().cloned().map(|(n, a, x)| (n.replace("fc.", "last_linear."), a, x)).collect();
    let mut counted = weights.clone();
    counted.push(("bn1.num_batches_tracked".into(), vec![1], vec![7.0]));
    for weights in [&weights, &renamed, &counted] {
        let mut other = ParamStore::new(4);
        let net = Xception::build(&mut other, 64, 0.1, 2, 2).unwrap();
        let differ = || net.group.ids().iter().filter(|&&id| store.value(id) != other.value(id)).count();
        assert!(differ() > 30);
        load(&mut other, &net, weights).unwrap();
        net.group.ids().iter().for_each(|&id| assert_eq!(store.value(id), other.value(id), "{}", store.get(id).name));
    }
}

#[test]
fn a_head_of_other_size_is_left_out() {
    let (of_1000, net) = random(0.1, 2, 1000);
    let weights = exported(&of_1000, &net);
    let mut store = ParamStore::new(4);
    let net = Xception::build(&mut store, 64, 0.1, 2, 2).unwrap();
    let head = |store: &ParamStore| net.head.ids().iter().flat_map(|&id| store.value(id).to_vec()).collect::<Vec<f32>>();
    let before = head(&store);
    load(&mut store, &net, &weights).unwrap();
    assert_eq!(head(&store), before);
    let conv1 = |s: &ParamStore| s.value(s.find("xception.conv1.weight").unwrap()).to_vec();
    assert_eq!(conv1(&store), conv1(&of_1000));
}

#[test]
fn what_does_not_fit_is_named() {
    let (store, net) = random(0.1, 2, 2);
    let weights = exported(&store, &net);
    let fails = |weights: &Weights, words: &[&str]| {
        let (mut store, net) = random(0.1, 2, 2);
        let e = load(&mut store, &net, weights).unwrap_err().to_string();
        assert!(words.iter().all(|w| e.contains(w)) && e.contains("xception.safetensors"), "{words:?} in {e}");
    };
    let without: Weights = weights.iter().filter(|w| w.0 != "block2.rep.1.pointwise.weight").cloned().collect();
    fails(&without, &["block2.rep.1.pointwise.weight", "legacy_xception"]);
    let (wide, net) = random(0.2, 2, 2);
    fails(&exported(&wide, &net), &["conv1.weight", "[8, 3, 3, 3]", "[4, 3, 3, 3]", "xcep.width"]);
    let (deep, net) = random(0.1, 3, 2);
    fails(&exported(&deep, &net), &["block6.rep.1.conv1.weight", "no place", "xcep.middle"]);
    let mut broken = weights.clone();
    broken[0].2[5] = f32::NAN;
    fails(&broken, &["conv1.weight", "NaN"]);
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("a.pth");
    std::fs::write(&file, b"PK\x03\x04 a pickle").unwrap();
    let (mut store, net) = random(0.1, 2, 2);
    let e = net.load(&mut store, &file).unwrap_err().to_string();
    assert!(e.contains("a.pth") && e.contains("not a safetensors file") && e.contains("torch's names"), "{e}");
}

/// From weights: the head alone, then all of it, and the epoch with the highest validation accuracy is kept. From none: no
/// first stage, and the reader is told.
#[test]
fn stages_follow_the_weights() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("weights.safetensors");
    let (store, net) = random(0.125, 1, 2);
    write(&file, &exported(&store, &net));
    let train = |name: &str, set: &[String]| {
        let set: Vec<String> = set.iter().cloned().chain(["train.epochs=4".into(), "train.lr=0.01".into()]).collect();
        let (entry, c) = detectors::resolve(Some("xception"), "smoke", None, &set).unwrap();
        let to = dir.path().join(name);
        let report = Run::create(entry, c, &to, String::new(), &Device::Cpu).unwrap().run().unwrap();
        (to, serde_json::to_string(&report).unwrap())
    };
    let (run, report) = train("loaded", &[format!("xcep.weights={:?}", file.to_str().unwrap()), "xcep.head_epochs=1".into()]);
    assert!(!report.contains("random weights"));
    let bytes = std::fs::read(run.join("stage1.safetensors")).unwrap();
    let stage1 = SafeTensors::deserialize(&bytes).unwrap();
    for &id in net.group.ids() {
        let p = store.get(id);
        let now: Vec<f32> = bytemuck::pod_collect_to_vec(stage1.tensor(&p.name).unwrap().data());
        let moves = net.head.contains(id) || p.kind == Kind::Running;
        assert_eq!(now != to_torch(p, store.value(id)), moves, "{}", p.name);
    }
    let log = std::fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    let lines = log.lines().map(|l| serde_json::from_str::<serde_json::Value>(l).unwrap());
    let (mut best, mut epochs) = (-1.0, 0);
    for line in lines.filter(|l| l["validation"].is_object()) {
        let accuracy = line["validation"]["accuracy"].as_f64().unwrap();
        assert_eq!(line["best"].as_bool().unwrap(), accuracy > best, "{line} after {best}");
        (best, epochs) = (accuracy.max(best), epochs + 1);
    }
    assert_eq!(epochs, 4, "the second stage is validated");

    let (run, report) = train("random", &[]);
    assert!(report.contains("random weights") && !run.join("stage1.safetensors").exists());
}
