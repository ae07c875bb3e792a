//! All parameters of all networks in a few flat arenas: one optimiser step, one checkpoint and one gradient norm cover them.

use std::ops::Range;
use std::sync::Arc;

use super::buffer::Buffer;
use super::dtype::DType;
use super::real::Real;
use super::rng::{Rng, stream};
use super::shape::Shape;
use crate::device::{Driver, Mem, Span};
use crate::error::{Error, Result};

/// A parameter of a store, by its number: `Copy`, so that models are plain data.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, PartialOrd, Ord)]
pub struct ParamId(pub u32);

/// Who changes a parameter.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Has a gradient and optimiser state.
    Trained,
    /// Read only: the comparator's filters.
    Frozen,
    /// Written by the forward pass: batch norm's running statistics.
    Running,
}

/// The arenas, as indices. A parameter lies in `Weights`, `Frozen` or `Running`; `Grads`, `M` and `V` mirror `Weights`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
#[repr(usize)]
pub enum Arena {
    Weights = 0,
    Grads = 1,
    M = 2,
    V = 3,
    Frozen = 4,
    Running = 5,
}
pub const ARENAS: usize = 6;

/// How a parameter is written to a checkpoint: torch's axes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Form {
    /// `{n, h, w, c}` here, `[n, c, h, w]` in torch: `[out, in, kh, kw]`, and `[in, out, kh, kw]` of a transposed convolution.
    Filter,
    /// `{n, 1, 1, c}` here, `[out, in]` in torch.
    Matrix,
    /// `{n, h, w, c}` here, `[n, c·h·w]` in torch: the matrix of a linear layer over flattened pictures.
    Flat,
    /// `{1, 1, 1, c}` here, `[c]` in torch.
    Vector,
}

/// What a store knows of a parameter; its values lie in [`Param::arena`] at [`Param::range`].
#[derive(Clone, Debug)]
pub struct Param {
    pub name: String,
    pub shape: Shape,
    pub kind: Kind,
    pub form: Form,
    pub offset: usize,
}

impl Param {
    pub fn arena(&self) -> Arena {
        match self.kind {
            Kind::Trained => Arena::Weights,
            Kind::Frozen => Arena::Frozen,
            Kind::Running => Arena::Running,
        }
    }
    pub fn range(&self) -> Range<usize> {
        self.offset..self.offset + self.shape.len()
    }
}

/// Some parameters of a store: a handle for what is trained, counted or differentiated together. [`ParamStore::group`] finds one by
/// name. An optimiser works on one range of memory, so the trained parameters of its group must have been added one after another.
///
/// ```
/// use lae_engine::{Form, Init, Kind, ParamStore, Shape};
///
/// let mut store = ParamStore::<f32>::new(0);
/// for name in ["body.0.bias", "body.1.bias", "head.bias"] {
///     store.add(name, Shape::vector(8), Kind::Trained, Form::Vector, Init::Constant(0.0));
/// }
/// let (body, head) = (store.group("body"), store.group("head"));
/// assert_eq!(store.count(&body, Kind::Trained), 16);
/// assert_eq!(body.and(&head).ids().len(), 3);
/// assert!(store.range(&store.group("body.0").and(&head)).is_err(), "body.1 lies between them");
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Group(Vec<ParamId>);

impl Group {
    /// In the order in which the parameters were added, each once.
    pub fn of(ids: impl IntoIterator<Item = ParamId>) -> Group {
        let mut ids: Vec<ParamId> = ids.into_iter().collect();
        ids.sort_unstable();
        ids.dedup();
        Group(ids)
    }
    pub fn ids(&self) -> &[ParamId] {
        &self.0
    }
    /// The parameters of both.
    pub fn and(&self, other: &Group) -> Group {
        Group::of(self.0.iter().chain(&other.0).copied())
    }
    pub fn contains(&self, id: ParamId) -> bool {
        self.0.binary_search(&id).is_ok()
    }

    /// Where the trained parameters of this group lie in the weight arena; the reason if others lie between them.
    pub(crate) fn range(&self, params: &[Param]) -> Result<Range<usize>, String> {
        let trained = || params.iter().enumerate().filter(|(_, p)| p.kind == Kind::Trained);
        let mine = || trained().filter(|(i, _)| self.contains(ParamId(*i as u32)));
        let lo = mine().map(|(_, p)| p.offset).min();
        let hi = mine().map(|(_, p)| p.range().end.next_multiple_of(LINE)).max();
        let Some((lo, hi)) = lo.zip(hi) else {
            let names: Vec<&str> = trained().take(3).map(|(_, p)| &*p.name).collect();
            return Err(format!("the group holds no trained parameter; there are {}, …", names.join(", ")));
        };
        match trained().find(|(i, p)| !self.contains(ParamId(*i as u32)) && (lo..hi).contains(&p.offset)) {
            None => Ok(lo..hi),
            Some((_, p)) => {
                let first = mine().next().map_or("", |(_, p)| &p.name);
                Err(format!(
                    "{} lies between the parameters of the group of {first}; add those of a group one after another",
                    p.name
                ))
            }
        }
    }
}

/// Values of f32 in a cache line: every parameter begins on one.
const LINE: usize = 64 / size_of::<f32>();

/// Initial values. Draws depend on the seed and the parameter's own name only, so adding a layer changes no other layer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Init {
    Constant(f64),
    /// N(mean, std).
    Normal {
        mean: f64,
        std: f64,
    },
    /// U(-bound, bound).
    Uniform {
        bound: f64,
    },
    /// N(mean, std), drawn again beyond two deviations: TensorFlow's truncated normal.
    TruncatedNormal {
        mean: f64,
        std: f64,
    },
}

impl Init {
    /// Kaiming normal for ReLU (He et al. 2015): std = √(2 / fan).
    pub fn kaiming(fan: usize) -> Init {
        Init::Normal { mean: 0.0, std: (2.0 / fan as f64).sqrt() }
    }
    /// PyTorch's default of convolutions and linear layers: U(±1/√fan_in), for weights and biases alike.
    pub fn torch_default(fan_in: usize) -> Init {
        Init::Uniform { bound: 1.0 / (fan_in as f64).sqrt() }
    }
    pub fn fill<T: Real>(self, seed: u64, name: &str, out: &mut [T]) {
        let mut rng = Rng::new(seed, stream(name), 0);
        out.iter_mut().for_each(|x| {
            *x = T::of(match self {
                Init::Constant(c) => c,
                Init::Normal { mean, std } => mean + std * rng.normal() as f64,
                Init::Uniform { bound } => bound * (2.0 * rng.unit() as f64 - 1.0),
                Init::TruncatedNormal { mean, std } => loop {
                    let z = rng.normal() as f64;
                    if z.abs() <= 2.0 {
                        break mean + std * z;
                    }
                },
            })
        });
    }
}

/// Names, shapes and memory of every parameter. Initial values follow from the seed and the parameter's name.
///
/// ```
/// use lae_engine::{Init, Form, Kind, ParamStore, Shape, shape};
///
/// let mut store = ParamStore::<f32>::new(0);
/// let w = store.add("net.weight", shape(3, 1, 1, 4), Kind::Trained, Form::Matrix, Init::torch_default(4));
/// store.add("net.bias", Shape::vector(3), Kind::Trained, Form::Vector, Init::Constant(0.5));
/// assert_eq!(store.value(store.find("net.bias").unwrap()), [0.5; 3]);
/// store.value_mut(w).fill(1.0);
/// assert_eq!(store.grad(w), [0.0; 12]);      // filled by plans with a backward pass
/// ```
///
/// [`Net::build`](crate::nn::Net::build) adds the parameters of a whole network. Add all of them before the first
/// [`Tape`](super::tape::Tape): a tape knows the parameters that were there when it was made.
///
/// Plans of a GPU work on a copy of the arenas in its memory. What the host changes is uploaded by the next run; what a run
/// changed must be fetched with [`ParamStore::pull`] before the host looks: looking at old values panics.
pub struct ParamStore<T = f32> {
    pub seed: u64,
    /// What tapes over this store keep activations in: f32, or bf16 where the op that computes them has it. The parameters themselves,
    /// their gradients and the optimiser's moments are never bf16.
    pub activations: DType,
    params: Vec<Param>,
    pub(crate) arenas: [Buffer<T>; ARENAS],
    resident: Option<Resident>,
}

/// The arenas on a device.
struct Resident {
    driver: Arc<dyn Driver>,
    mem: [Option<Mem>; ARENAS],
    bytes: [usize; ARENAS],
    newer: [Newer; ARENAS],
}

/// Which copy of an arena holds the latest values.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Newer {
    Host,
    Both,
    Device,
}

impl Drop for Resident {
    fn drop(&mut self) {
        let mem: Vec<Mem> = self.mem.iter().flatten().copied().collect();
        self.driver.free(&mem);
    }
}

/// The host's copy; a device has none until it is used.
impl<T: Clone> Clone for ParamStore<T> {
    fn clone(&self) -> Self {
        (0..ARENAS).for_each(|a| self.must_be_current(a));
        ParamStore {
            seed: self.seed,
            activations: self.activations,
            params: self.params.clone(),
            arenas: self.arenas.clone(),
            resident: None,
        }
    }
}

impl<T> ParamStore<T> {
    fn must_be_current(&self, arena: usize) {
        let stale = self.resident.as_ref().is_some_and(|r| r.newer[arena] == Newer::Device);
        assert!(!stale, "arena {arena} was changed on the device: call ParamStore::pull first");
    }
    fn host_writes(&mut self, arena: usize) {
        self.must_be_current(arena);
        if let Some(r) = &mut self.resident {
            r.newer[arena] = Newer::Host;
        }
    }
}

impl<T: Real> ParamStore<T> {
    /// Bring the host's copy up to date. Free where nothing ran on a device.
    pub fn pull(&mut self) -> Result<()> {
        let Some(r) = &mut self.resident else { return Ok(()) };
        for (a, newer) in r.newer.iter_mut().enumerate().filter(|(_, n)| **n == Newer::Device) {
            let span = Span::whole(r.mem[a].expect("an arena that a device changed"), r.bytes[a]);
            r.driver.download(span, bytemuck::cast_slice_mut(&mut self.arenas[a]))?;
            *newer = Newer::Both;
        }
        Ok(())
    }

    /// Forget the device's copy, after pulling it.
    fn leave_device(&mut self) -> Result<()> {
        self.pull()?;
        self.resident = None;
        Ok(())
    }

    /// Make the device's copy current and return its memory, arena by arena (empty arenas have none).
    pub(crate) fn push(&mut self, driver: &Arc<dyn Driver>) -> Result<[Option<Mem>; ARENAS]> {
        if self.resident.as_ref().is_some_and(|r| !Arc::ptr_eq(&r.driver, driver)) {
            self.leave_device()?;
        }
        if self.resident.is_none() {
            let names = ["weights", "gradients", "adam.m", "adam.v", "frozen", "running"];
            let bytes: [usize; ARENAS] = std::array::from_fn(|a| std::mem::size_of_val(&self.arenas[a][..]));
            let used: Vec<usize> = (0..ARENAS).filter(|&a| bytes[a] > 0).collect();
            let blocks: Vec<_> = used.iter().map(|&a| (names[a].to_string(), bytes[a])).collect();
            let mut mem = [None; ARENAS];
            for (&a, m) in used.iter().zip(driver.alloc(&blocks)?) {
                mem[a] = Some(m);
            }
            self.resident = Some(Resident { driver: driver.clone(), mem, bytes, newer: [Newer::Host; ARENAS] });
        }
        let r = self.resident.as_mut().expect("just made");
        for (a, newer) in r.newer.iter_mut().enumerate().filter(|(_, n)| **n == Newer::Host) {
            if let Some(mem) = r.mem[a] {
                r.driver.upload(Span::whole(mem, r.bytes[a]), bytemuck::cast_slice(&self.arenas[a]))?;
            }
            *newer = Newer::Both;
        }
        Ok(r.mem)
    }

    /// The host is about to run a plan that changes these arenas.
    pub(crate) fn host_runs(&mut self, writes: [bool; ARENAS]) -> Result<()> {
        self.pull()?;
        (0..ARENAS).filter(|&a| writes[a]).for_each(|a| self.host_writes(a));
        Ok(())
    }

    /// The device's copy of these arenas has changed.
    pub(crate) fn device_wrote(&mut self, arenas: [bool; ARENAS]) {
        let Some(r) = &mut self.resident else { return };
        for (newer, _) in r.newer.iter_mut().zip(arenas).filter(|(_, wrote)| *wrote) {
            *newer = Newer::Device;
        }
    }

    /// An empty store. The seed decides the initial values.
    pub fn new(seed: u64) -> Self {
        ParamStore { seed, activations: DType::F32, params: Vec::new(), arenas: Default::default(), resident: None }
    }

    /// Add a parameter. Panics if the name is taken: names are written by our own builders.
    pub fn add(&mut self, name: &str, shape: Shape, kind: Kind, form: Form, init: Init) -> ParamId {
        assert!(self.find(name).is_none(), "parameter {name} exists");
        let mut p = Param { name: name.to_string(), shape, kind, form, offset: 0 };
        let arena = p.arena() as usize;
        // Arenas grow: the device gets new ones.
        self.leave_device().expect("parameters are added before training");
        p.offset = self.arenas[arena].len();
        // Every parameter starts on a cache line; the padding stays zero under every optimiser.
        let len = p.offset + shape.len().next_multiple_of(LINE);
        self.arenas[arena].resize(len);
        if kind == Kind::Trained {
            [Arena::Grads, Arena::M, Arena::V].iter().for_each(|&a| self.arenas[a as usize].resize(len));
        }
        init.fill(self.seed, name, &mut self.arenas[arena][p.range()]);
        self.params.push(p);
        ParamId(self.params.len() as u32 - 1)
    }

    /// Name, shape and place of a parameter.
    pub fn get(&self, id: ParamId) -> &Param {
        &self.params[id.0 as usize]
    }
    /// All parameters, in the order in which they were added.
    pub fn iter(&self) -> impl Iterator<Item = (ParamId, &Param)> {
        self.params.iter().enumerate().map(|(i, p)| (ParamId(i as u32), p))
    }
    /// The parameter of exactly that name.
    pub fn find(&self, name: &str) -> Option<ParamId> {
        self.params.iter().position(|p| p.name == name).map(|i| ParamId(i as u32))
    }
    /// The values of a parameter. Panics if a GPU has newer ones: see [`ParamStore::pull`].
    pub fn value(&self, id: ParamId) -> &[T] {
        let p = self.get(id);
        self.must_be_current(p.arena() as usize);
        &self.arenas[p.arena() as usize][p.range()]
    }
    /// The values of a parameter, to be changed; a GPU gets them with its next run.
    pub fn value_mut(&mut self, id: ParamId) -> &mut [T] {
        let (arena, range) = (self.get(id).arena() as usize, self.get(id).range());
        self.host_writes(arena);
        &mut self.arenas[arena][range]
    }
    /// The gradient of a trained parameter, after a plan with a backward pass has run.
    pub fn grad(&self, id: ParamId) -> &[T] {
        let p = self.get(id);
        assert_eq!(p.kind, Kind::Trained, "{} has no gradient", p.name);
        self.must_be_current(Arena::Grads as usize);
        &self.arenas[Arena::Grads as usize][p.range()]
    }
    /// A whole arena, paddings between parameters included.
    pub fn arena(&self, a: Arena) -> &[T] {
        self.must_be_current(a as usize);
        &self.arenas[a as usize]
    }
    /// A whole arena, to be changed.
    pub fn arena_mut(&mut self, a: Arena) -> &mut [T] {
        self.host_writes(a as usize);
        &mut self.arenas[a as usize]
    }

    /// The parameter `name`, or those below it: `lae.encoder` is `lae.encoder.0.weight` and so on. Empty if there is no such
    /// parameter; an optimiser refuses an empty group.
    pub fn group(&self, name: &str) -> Group {
        let below = |p: &Param| p.name.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
        Group::of(self.iter().filter(|(_, p)| below(p)).map(|(id, _)| id))
    }

    /// Where the trained parameters of `group` lie in the weight arena and its mirrors.
    pub fn range(&self, group: &Group) -> Result<Range<usize>> {
        group.range(&self.params).map_err(|why| Error::Shape { op: "group", at: String::new(), why })
    }

    /// Number of values in the parameters of `group` that are of `kind`.
    pub fn count(&self, group: &Group, kind: Kind) -> usize {
        group.ids().iter().map(|&id| self.get(id)).filter(|p| p.kind == kind).map(|p| p.shape.len()).sum()
    }

    /// The same store in another number type.
    pub fn cast<U: Real>(&self) -> ParamStore<U> {
        (0..ARENAS).for_each(|a| self.must_be_current(a));
        let arenas = std::array::from_fn(|i| {
            let mut b = Buffer::new(self.arenas[i].len());
            b.iter_mut().zip(self.arenas[i].iter()).for_each(|(y, x)| *y = U::of(x.f64()));
            b
        });
        ParamStore { seed: self.seed, activations: self.activations, params: self.params.clone(), arenas, resident: None }
    }
}
