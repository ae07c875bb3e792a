//! A training step, recorded instead of declared: what is fed has a name, what is logged is a term, and what is minimised is updated
//! in the order in which it was recorded.
//!
//! ```
//! use lae_engine::core::params::{Form, Init, Kind, ParamStore};
//! use lae_engine::core::shape::{Shape, shape};
//! use lae_engine::device::Device;
//! use lae_engine::nn::Mode;
//! use lae_engine::ops::{bce_logits::bce_logits, linear::linear};
//! use lae_engine::train::recorder::{Optimiser, Rate, Recorder};
//!
//! let mut store = ParamStore::new(0);
//! let w = store.add("model.w", shape(1, 1, 1, 2), Kind::Trained, Form::Matrix, Init::Constant(0.0));
//! let mut r = Recorder::new(&store, Mode::Train, 4, 1);
//! let (x, y) = (r.input("points", shape(4, 1, 1, 2)), r.input("class", shape(4, 1, 1, 1)));
//! let wv = r.tape.param(w);
//! let logits = linear(&mut r.tape, x, wv, None)?;
//! let loss = bce_logits(&mut r.tape, logits, y)?;
//! r.minimise("loss", loss, &store.group("model"), Optimiser::sgd(0.0), Rate::new("lr", 0.5))?;
//! let mut step = r.finish(&Device::Cpu, &[])?;
//! step.feed("points", &[0.0, 1.0, 0.2, 0.9, 1.0, 0.1, 0.8, 0.0])?;
//! step.feed("class", &[0.0, 0.0, 1.0, 1.0])?;
//! let first = step.run(&mut store, 1, 1.0)?.get("loss").unwrap();
//! let last = (2..50).map(|t| step.run(&mut store, t, 1.0).unwrap().get("loss").unwrap()).last().unwrap();
//! assert!(last < 0.5 * first);
//! # Ok::<(), lae_engine::Error>(())
//! ```

use rayon::prelude::*;
use serde::ser::{Serialize, SerializeMap, Serializer};

use crate::core::op::Op;
use crate::core::params::{Group, ParamId, ParamStore};
use crate::core::plan::{Memory, Plan};
use crate::core::real::Real;
use crate::core::shape::{Shape, shape};
use crate::core::tape::{Tape, Var};
use crate::data::dataset::Batch;
use crate::data::sums::Sums;
use crate::device::Device;
use crate::error::{Error, Result};
use crate::nn::Mode;
use crate::ops::adam::{Adam, adam};
use crate::ops::add::add;
use crate::ops::affine::scale;
use crate::ops::fill::Fill;
use crate::ops::sgd::{Sgd, sgd};

/// Names of the inputs that training feeds. A detector may ask for others, and then nobody fills them but itself.
pub mod inputs {
    /// N×side×side×3 in [0, 1].
    pub const PICTURES: &str = "pictures";
    /// N×1×1×1: 1 for a true picture, 0 for a fake.
    pub const LABEL: &str = "label";
    /// N×side×side×1: 1 where a fake is forged.
    pub const MASK: &str = "mask";
    /// N×1×1×1: 1 where the mask of a picture counts.
    pub const SELECT: &str = "select";
    /// The number of the step, for random numbers.
    pub const STEP: &str = "step";
}

/// Records a step: the tape, and what must be fed, logged and updated.
pub struct Recorder {
    pub tape: Tape,
    mode: Mode,
    n: usize,
    /// Rows and columns of the pictures.
    size: (usize, usize),
    inputs: Vec<(&'static str, Var)>,
    terms: Vec<(&'static str, Var)>,
    rules: Vec<Rule>,
    windows: Vec<WindowInput>,
}

/// Square windows of pictures whose forged regions are known: each is a picture with a label of its own.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Windows {
    /// Pixels of a window, and from one to the next.
    pub side: usize,
    pub step: usize,
    /// Windows with less than this share of forged pixels, but not none, are neither genuine nor fake, and do not count.
    pub least: f64,
}

/// Labels and weights of windows, computed from the masks of a batch.
struct WindowInput {
    of: Windows,
    label: Var,
    weight: Var,
}

/// How a group of parameters follows its gradient.
#[derive(Debug, Clone)]
pub enum Optimiser {
    Adam(Adam),
    Sgd(Sgd),
}

impl Optimiser {
    /// Adam with these decays of its moments and ε = 1e-8.
    pub fn adam(beta1: f64, beta2: f64) -> Optimiser {
        Optimiser::Adam(Adam { beta1, beta2, eps: 1e-8 })
    }
    /// Descent with this momentum, without weight decay.
    pub fn sgd(momentum: f64) -> Optimiser {
        Optimiser::Sgd(Sgd { momentum, weight_decay: 0.0 })
    }
}

/// A learning rate and the key of the configuration that set it, for errors.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rate {
    pub key: &'static str,
    pub value: f64,
}

impl Rate {
    pub fn new(key: &'static str, value: f64) -> Rate {
        Rate { key, value }
    }
}

/// One update: what is fed to the optimiser, step by step.
struct Rule {
    term: &'static str,
    loss: Var,
    hyper: Var,
    optimiser: Optimiser,
    rate: Rate,
}

impl Recorder {
    /// For steps on `n` pictures of `side` pixels a side. Parameters that are added to the store later are unknown to the step.
    pub fn new<T: Real>(store: &ParamStore<T>, mode: Mode, n: usize, side: usize) -> Recorder {
        Recorder::of_size(store, mode, n, (side, side))
    }

    /// For steps on `n` pictures of `size` (rows, columns) pixels.
    pub fn of_size<T: Real>(store: &ParamStore<T>, mode: Mode, n: usize, size: (usize, usize)) -> Recorder {
        Recorder {
            tape: Tape::new(store),
            mode,
            n,
            size,
            inputs: Vec::new(),
            terms: Vec::new(),
            rules: Vec::new(),
            windows: Vec::new(),
        }
    }

    /// The same with all values in f32, whatever the store keeps activations in: for verdicts, which then are those of any program.
    pub fn exact(mut self) -> Recorder {
        self.tape.keep_f32();
        self
    }

    /// Take it into a variable first: a call that records holds `self.tape`.
    pub fn mode(&self) -> Mode {
        self.mode
    }
    /// Whether updates are recorded.
    pub fn training(&self) -> bool {
        self.mode == Mode::Train
    }
    /// Pictures per step.
    pub fn n(&self) -> usize {
        self.n
    }
    /// The input of that name; the shape counts when it is asked for the first time.
    pub fn input(&mut self, name: &'static str, shape: Shape) -> Var {
        match self.inputs.iter().find(|i| i.0 == name) {
            Some(&(_, v)) => v,
            None => {
                let v = self.tape.input(shape);
                self.inputs.push((name, v));
                v
            }
        }
    }
    /// N × rows × columns × 3, in [0, 1].
    pub fn pictures(&mut self) -> Var {
        self.input(inputs::PICTURES, shape(self.n, self.size.0, self.size.1, 3))
    }
    /// N × 1: 1 for a true picture, 0 for a fake, as in the LAE paper.
    pub fn label(&mut self) -> Var {
        self.input(inputs::LABEL, shape(self.n, 1, 1, 1))
    }
    /// N × rows × columns × 1: 1 where a picture was forged; zeros where that is not known.
    pub fn mask(&mut self) -> Var {
        self.input(inputs::MASK, shape(self.n, self.size.0, self.size.1, 1))
    }
    /// N × 1: 1 for a fake whose mask a person gave, in stages that draw such.
    pub fn select(&mut self) -> Var {
        self.input(inputs::SELECT, shape(self.n, 1, 1, 1))
    }
    /// Labels (1 genuine, 0 fake) and weights of all windows of the pictures, N×d×d×1 each with d = (side − w.side)/w.step + 1, from
    /// their masks. Genuine and fake windows weigh alike, and the weights of a batch have the mean 1. Of a fake whose mask is not
    /// known only the window that is the whole picture counts.
    pub fn windows(&mut self, w: Windows) -> (Var, Var) {
        let places = |length: usize| (length - w.side) / w.step + 1;
        let of = shape(self.n, places(self.size.0), places(self.size.1), 1);
        let (label, weight) = (self.tape.input(of), self.tape.input(of));
        self.windows.push(WindowInput { of: w, label, weight });
        (label, weight)
    }
    /// The number of the step, which dropout and noise draw from.
    pub fn step(&mut self) -> Var {
        self.input(inputs::STEP, Shape::SCALAR)
    }

    /// Log, chart and fetch the number `v` under `name`.
    pub fn term(&mut self, name: &'static str, v: Var) {
        self.terms.push((name, v));
    }

    /// The weighted sum of scalars; those of weight 0 are left out.
    pub fn weighted(&mut self, terms: &[(f64, Var)]) -> Result<Var> {
        let t = &mut self.tape;
        let mut total: Option<Var> = None;
        for &(weight, term) in terms.iter().filter(|t| t.0 != 0.0) {
            let term = if weight == 1.0 { term } else { scale(t, term, weight)? };
            total = Some(match total {
                Some(sum) => add(t, sum, term)?,
                None => term,
            });
        }
        match total {
            Some(total) => Ok(total),
            None => t.apply(Fill { shape: Shape::SCALAR, value: 0.0 }, &[]),
        }
    }

    /// Log `loss` as the term `name`; in training, differentiate it by the trained parameters of `group` and update them, here and
    /// now: what is recorded later sees the new values. A loss that is no finite number ends the run and names the rate's key.
    pub fn minimise(&mut self, name: &'static str, loss: Var, group: &Group, optimiser: Optimiser, rate: Rate) -> Result<()> {
        self.term(name, loss);
        if !self.training() {
            return Ok(());
        }
        let hyper = self.tape.input(match optimiser {
            Optimiser::Adam(_) => Shape::vector(2),
            Optimiser::Sgd(_) => Shape::SCALAR,
        });
        let wrt = self.tape.trained(group);
        self.tape.scope(name, |t| {
            t.backward(loss, &wrt)?;
            match &optimiser {
                Optimiser::Adam(a) => adam(t, group, a.clone(), hyper),
                Optimiser::Sgd(s) => sgd(t, group, s.clone(), hyper),
            }
        })?;
        self.rules.push(Rule { term: name, loss, hyper, optimiser, rate });
        Ok(())
    }

    /// Put a parameter back where it must lie, after its update: `op` changes its only input in place ([`Op::updates`]). In
    /// evaluation nothing is recorded.
    pub fn project(&mut self, op: impl Op + Send + Sync, param: ParamId) -> Result<()> {
        if self.training() {
            let v = self.tape.param(param);
            self.tape.apply_all(op, &[v])?;
        }
        Ok(())
    }

    /// Make the step ready to run on `device`; `fetch` are values to look at beside the terms.
    pub fn finish(self, device: &Device, fetch: &[Var]) -> Result<Step> {
        let all: Vec<Var> = self.terms.iter().map(|t| t.1).chain(fetch.iter().copied()).collect();
        let plan = Plan::on(device, self.tape, &all, Memory::Planned)?;
        Ok(Step {
            plan,
            n: self.n,
            inputs: self.inputs,
            terms: self.terms,
            rules: self.rules,
            windows: self.windows,
            labels: Vec::new(),
        })
    }
}

/// A recorded step, ready to be fed and run.
pub struct Step {
    pub plan: Plan,
    /// Pictures per step.
    pub n: usize,
    inputs: Vec<(&'static str, Var)>,
    terms: Vec<(&'static str, Var)>,
    rules: Vec<Rule>,
    windows: Vec<WindowInput>,
    /// Workspace for the labels of windows.
    labels: Vec<f32>,
}

impl Windows {
    /// Fill `label` and `weight` for the pictures of a batch.
    fn fill(&self, batch: &Batch, label: &mut [f32], weight: &mut [f32]) {
        let s = batch.size;
        let places = (s - self.side) / self.step + 1;
        let (of_picture, pixels) = (places * places, s * s);
        label.par_chunks_mut(of_picture).zip(weight.par_chunks_mut(of_picture)).enumerate().for_each(|(i, (label, weight))| {
            let fake = batch.label_true[i] == 0.0;
            if !fake || batch.has_mask[i] == 0.0 {
                label.fill(!fake as u8 as f32);
                weight.fill((!fake || places == 1) as u8 as f32);
                return;
            }
            let mask = &batch.mask[i * pixels..][..pixels];
            let sums = Sums::of(s, s, |p| mask[p] > 0.5);
            for (k, (label, weight)) in label.iter_mut().zip(weight).enumerate() {
                let (x, y) = (k % places * self.step, k / places * self.step);
                let forged = sums.count((x, y), (self.side, self.side));
                let share = forged as f64 / (self.side * self.side) as f64;
                *label = (forged == 0) as u8 as f32;
                // The window that is the whole picture has the picture's label.
                *weight = (forged == 0 || share >= self.least || places == 1) as u8 as f32;
            }
        });
        let count = |class: f32| label.iter().zip(&*weight).filter(|(l, w)| **l == class && **w > 0.0).count();
        let counts = [count(0.0), count(1.0)];
        let classes = counts.iter().filter(|&&n| n > 0).count().max(1);
        let all = label.len() as f64 / classes as f64;
        let each = counts.map(|n| if n > 0 { (all / n as f64) as f32 } else { 0.0 });
        weight.iter_mut().zip(label).for_each(|(w, l)| *w *= each[*l as usize]);
    }
}

impl Step {
    /// Whether the step has an input of that name.
    pub fn takes(&self, name: &str) -> bool {
        self.inputs.iter().any(|i| i.0 == name)
    }

    /// Fill the input of that name. An error if there is none, or if the number of values is another.
    pub fn feed(&mut self, name: &str, values: &[f32]) -> Result<()> {
        let to = self.input(name)?;
        if to.len() != values.len() {
            let why = format!("input {name} takes {} values, got {}", to.len(), values.len());
            return Err(Error::Shape { op: "feed", at: String::new(), why });
        }
        to.copy_from_slice(values);
        Ok(())
    }

    /// The buffer of the input of that name.
    pub fn input(&mut self, name: &str) -> Result<&mut [f32]> {
        let Some(&(_, v)) = self.inputs.iter().find(|i| i.0 == name) else {
            let names: Vec<&str> = self.inputs.iter().map(|i| i.0).collect();
            let why = format!("the step has no input {name:?}; it has {}", names.join(", "));
            return Err(Error::Shape { op: "feed", at: String::new(), why });
        };
        self.plan.feed(v)
    }

    /// Fill, of the inputs that training knows, those that this step has.
    pub fn feed_batch(&mut self, batch: &Batch, select: &[f32], t: u64) -> Result<()> {
        let counted = [t as f32];
        let known = [
            (inputs::PICTURES, &batch.x[..]),
            (inputs::LABEL, &batch.label_true),
            (inputs::MASK, &batch.mask),
            (inputs::SELECT, select),
            (inputs::STEP, &counted),
        ];
        for (name, values) in known {
            if self.takes(name) {
                self.feed(name, values)?;
            }
        }
        for w in &self.windows {
            let mut label = std::mem::take(&mut self.labels);
            let weight = self.plan.feed(w.weight)?;
            label.resize(weight.len(), 0.0);
            w.of.fill(batch, &mut label, weight);
            self.plan.feed(w.label)?.copy_from_slice(&label);
            self.labels = label;
        }
        Ok(())
    }

    /// Run step number `t` = 1, 2, … on what was fed, every rate times `factor`.
    pub fn run(&mut self, store: &mut ParamStore, t: u64, factor: f64) -> Result<Terms> {
        self.set_rates(t, factor)?;
        self.plan.run(store)?;
        let mut terms = Terms::default();
        for &(name, v) in &self.terms {
            terms.push(name, self.plan.scalar(v)?);
        }
        self.check_finite(t)?;
        Ok(terms)
    }

    /// One loss that is not a number spoils those that are computed from the same networks, so all their rates are named.
    fn check_finite(&self, t: u64) -> Result<()> {
        let (mut first, mut keys) = (None, Vec::new());
        for rule in &self.rules {
            let value = self.plan.scalar(rule.loss)?;
            if !value.is_finite() {
                first.get_or_insert((rule.term, value));
                keys.push(rule.rate.key);
            }
        }
        let Some((term, value)) = first else { return Ok(()) };
        keys.dedup();
        Err(Error::Diverged { step: t, what: format!("the term {term} of the loss"), value, key: keys.join(" or ") })
    }

    /// What the optimisers are fed at step `t`, without running it.
    pub fn set_rates(&mut self, t: u64, factor: f64) -> Result<()> {
        for rule in &self.rules {
            let rate = rule.rate.value * factor;
            let to = self.plan.feed(rule.hyper)?;
            match &rule.optimiser {
                Optimiser::Adam(a) => to.copy_from_slice(&a.hyper(rate, t)),
                Optimiser::Sgd(_) => to[0] = rate as f32,
            }
        }
        Ok(())
    }
}

/// The numbers that a step logs, in the order in which they were recorded.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Terms(Vec<(&'static str, f64)>);

impl Terms {
    pub fn push(&mut self, name: &'static str, value: f64) {
        self.0.push((name, value));
    }
    pub fn get(&self, name: &str) -> Option<f64> {
        self.0.iter().find(|t| t.0 == name).map(|t| t.1)
    }
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, f64)> + '_ {
        self.0.iter().copied()
    }
    /// Add `weight` times `other`, term by term.
    pub fn add(&mut self, other: &Terms, weight: f64) {
        for (name, value) in other.iter() {
            match self.0.iter_mut().find(|t| t.0 == name) {
                Some(t) => t.1 += weight * value,
                None => self.push(name, weight * value),
            }
        }
    }
    /// Every term over `n`.
    pub fn over(&mut self, n: f64) {
        self.0.iter_mut().for_each(|t| t.1 /= n);
    }
}

impl Serialize for Terms {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        let mut map = s.serialize_map(Some(self.0.len()))?;
        self.0.iter().try_for_each(|(name, value)| map.serialize_entry(name, value))?;
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_have_the_labels_of_their_own_pixels() {
        // Three pictures of 8 pixels: genuine; a fake with a mask in the left upper corner; a fake whose mask is not known.
        let mut batch =
            Batch { n: 3, size: 8, label_true: vec![1.0, 0.0, 0.0], has_mask: vec![0.0, 1.0, 0.0], ..Batch::default() };
        batch.mask = vec![0.0; 3 * 64];
        (0..3).for_each(|y| batch.mask[64 + 8 * y..][..3].fill(1.0));
        let fill = |side, step, least| {
            let places = (8 - side) / step + 1;
            let (mut label, mut weight) = (vec![9.0; 3 * places * places], vec![9.0; 3 * places * places]);
            Windows { side, step, least }.fill(&batch, &mut label, &mut weight);
            (label, weight)
        };
        // Windows of 4 pixels, side by side: 9 of 16 forged in one, none in three.
        let (label, weight) = fill(4, 4, 0.25);
        assert_eq!(label, [[1.0; 4], [0.0, 1.0, 1.0, 1.0], [0.0; 4]].concat());
        // Seven genuine windows and one fake, twelve in all: 6/7 and 6.
        let (g, f) = (6.0 / 7.0, 6.0);
        assert_eq!(weight, [[g; 4], [f, g, g, g], [0.0; 4]].concat());
        // Two pixels further right there are 3 of 16: too few to be a fake, too many to be genuine.
        let (label, weight) = fill(4, 2, 0.25);
        assert_eq!((label[9 + 1], weight[9 + 1]), (0.0, 0.0));
        assert!(weight[9] > 0.0 && weight[9 + 8] > 0.0);
        // As whole pictures all count.
        let (label, weight) = fill(8, 2, 0.9);
        assert_eq!((label, weight), (vec![1.0, 0.0, 0.0], vec![1.5, 0.75, 0.75]));
    }
}
