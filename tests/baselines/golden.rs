//! What the twins share: the file of a twin, a network with its weights, and the one tolerance.

use lae_engine::core::op::Element;
use lae_engine::core::params::{ParamId, ParamStore};
use lae_engine::core::plan::{Memory, Plan};
use lae_engine::core::real::Real;
use lae_engine::core::shape::{Shape, shape};
use lae_engine::core::tape::{Tape, Var};
use lae_engine::device::emu::{Emulator, Options};
use lae_engine::device::{Device, Precision, kernels};
use lae_engine::error::Result;
use lae_engine::nn::weights::{from_torch, to_torch, torch_shape};
use lae_engine::train::detector::Cam;
use lae_engine::train::grad_cam::GradCam;
use safetensors::{Dtype, SafeTensors};
use serde::de::DeserializeOwned;

/// The file of a twin; names are looked up behind `prefix`.
pub struct File {
    pub tensors: SafeTensors<'static>,
    pub prefix: String,
}

/// What a twin's script says of its file.
pub fn header<G: DeserializeOwned>(bytes: &[u8]) -> G {
    let (_, header) = SafeTensors::read_metadata(bytes).unwrap();
    serde_json::from_str(&header.metadata().as_ref().unwrap()["golden"]).unwrap()
}

impl File {
    pub fn open(bytes: &'static [u8], prefix: &str) -> File {
        File { tensors: SafeTensors::deserialize(bytes).unwrap(), prefix: prefix.to_string() }
    }
    pub fn has(&self, name: &str) -> bool {
        self.tensors.tensor(&format!("{}{name}", self.prefix)).is_ok()
    }
    pub fn shape(&self, name: &str) -> Vec<usize> {
        self.tensors.tensor(&format!("{}{name}", self.prefix)).unwrap_or_else(|e| panic!("{name}: {e}")).shape().to_vec()
    }
    /// Values in torch's order; bytes over 256.
    pub fn get(&self, name: &str) -> Vec<f64> {
        let t = self.tensors.tensor(&format!("{}{name}", self.prefix)).unwrap_or_else(|e| panic!("{name}: {e}"));
        match t.dtype() {
            Dtype::F64 => bytemuck::pod_collect_to_vec(t.data()),
            Dtype::F32 => bytemuck::pod_collect_to_vec::<u8, f32>(t.data()).into_iter().map(f64::from).collect(),
            Dtype::U8 => t.data().iter().map(|&b| b as f64 / 256.0).collect(),
            other => panic!("{name}: unexpected type {other:?}"),
        }
    }
    /// N,C,H,W in the engine's order.
    pub fn pictures<T: Real>(&self, name: &str) -> (Shape, Vec<T>) {
        let [n, c, h, w] = self.shape(name)[..] else { panic!("{name} is no batch of pictures") };
        let x = self.get(name);
        let mut y = vec![T::ZERO; x.len()];
        for (i, &v) in x.iter().enumerate() {
            y[(i / (c * h * w) * h * w + i % (h * w)) * c + i / (h * w) % c] = T::of(v);
        }
        (shape(n, h, w, c), y)
    }
    /// Give the parameters torch's weights: each once, none left over. `network.` is left out of a parameter's name.
    pub fn weights<T: Real>(&self, store: &mut ParamStore<T>, network: &str, ids: &[ParamId]) {
        let start = format!("{}weight.", self.prefix);
        assert_eq!(ids.len(), self.tensors.names().iter().filter(|n| n.starts_with(&start)).count());
        for &id in ids {
            let p = store.get(id).clone();
            let name = format!("weight.{}", p.name.strip_prefix(network).unwrap());
            assert_eq!(self.shape(&name), torch_shape(&p), "{name}");
            let values: Vec<T> = self.get(&name).into_iter().map(T::of).collect();
            from_torch(&p, &values, store.value_mut(id));
        }
    }
    /// The parameter's values or gradient beside the file's.
    pub fn close_param<T: Real>(&self, store: &ParamStore<T>, id: ParamId, x: &[T], name: &str, terms: usize) -> usize {
        close(name, &to_torch(store.get(id), x), &self.get(name), terms)
    }
}

/// |a − b| ≤ 8·ε·√terms·(rms(b) + |b|); the number of values.
pub fn close<T: Real>(what: &str, a: &[T], b: &[f64], terms: usize) -> usize {
    let eps = if size_of::<T>() == 8 { f64::EPSILON } else { f32::EPSILON as f64 };
    assert_eq!(a.len(), b.len(), "{what}");
    let scale = (b.iter().map(|x| x * x).sum::<f64>() / b.len() as f64).sqrt();
    for (i, (a, &b)) in a.iter().zip(b).enumerate() {
        let bound = 8.0 * eps * (terms as f64).sqrt() * (scale + b.abs());
        assert!((a.f64() - b).abs() <= bound, "{what}[{i}] = {a:?}, torch has {b} (bound {bound:.1e})");
    }
    a.len()
}

/// The maps of [`GradCam`] before they are stretched, beside those of the file, in a network that is run on `x`: `record` says what
/// Grad-CAM reads. The number of values.
pub fn cams<T: Element>(
    file: &File,
    store: &mut ParamStore<T>,
    x: (Shape, &[T]),
    terms: usize,
    record: impl FnOnce(&mut Tape, Var) -> Cam,
    plan: impl Fn(Tape, &[Var]) -> Result<Plan<T>>,
) -> usize {
    let mut t = Tape::new(store);
    let pictures = t.input(x.0);
    let cam = record(&mut t, pictures);
    let cam = GradCam::record(&mut t, &cam).unwrap();
    let mut plan = plan(t, &cam.layers).unwrap();
    plan.feed(pictures).unwrap().copy_from_slice(x.1);
    cam.feed(&mut plan).unwrap();
    plan.run(store).unwrap();
    assert!(!file.has(&format!("cam.{}", cam.layers.len())), "a layer was not found");
    let each = cam.layers.iter().enumerate();
    each.map(|(i, &layer)| close(&format!("Grad-CAM {i}"), plan.fetch(layer).unwrap(), &file.get(&format!("cam.{i}")), terms))
        .sum()
}

/// A plan on the host.
pub fn host<T: Element>(t: Tape, fetch: &[Var]) -> Result<Plan<T>> {
    Plan::new(t, fetch, Memory::Planned)
}

/// A plan through the launches on the emulator; none in a build without kernels (the gate builds with `LAE_CUDA=require`).
pub fn emulated() -> Option<impl Fn(Tape, &[Var]) -> Result<Plan<f32>>> {
    let device = Device::Gpu(Emulator::new(Options::default()), Precision::F32);
    (!kernels::KERNELS.is_empty()).then_some(move |t: Tape, fetch: &[Var]| Plan::on(&device, t, fetch, Memory::Planned))
}
