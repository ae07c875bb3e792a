//! What a detector is: networks, input, stages, losses and a verdict. Training, evaluation and reports know nothing else of it.
//!
//! A detector is one entry of the registry `crate::detectors`; everything here is what such an entry says about itself. CONTRIBUTING.md
//! walks through adding one.

use serde_json::Value;

use super::annotated::Annotated;
use super::config::{OwnKeys, TrainConfig};
use super::recorder::Recorder;
use crate::core::params::{Group, ParamStore};
use crate::core::tape::{Tape, Var};
use crate::data::dataset::Batch;
use crate::device::Device;
use crate::error::Result;
use crate::nn::Net;
use crate::ops::affine::affine;
use crate::words;

/// A row of the registry of detectors.
pub struct Entry {
    /// The word after `--detector`.
    pub name: &'static str,
    /// What it is, in a line.
    pub title: &'static str,
    /// The publication it follows.
    pub source: &'static str,
    /// TOML with one table for each preset (`[paper]`, `[small]`, `[smoke]`), laid over what the preset says to every detector.
    pub presets: &'static str,
    /// Default values of its own tables of keys.
    pub defaults: fn() -> Value,
    /// Its own tables from a tree of values, as a complete tree; the reason if that is impossible.
    pub parse: fn(&Value) -> Result<Value, serde_json::Error>,
    /// Refuse impossible values of its own keys, and sizes that it cannot take.
    pub check: fn(&TrainConfig) -> Result<()>,
    /// Its own keys whose values are files.
    pub files: &'static [&'static str],
    /// Keys, or tables of them, that its first stage does not read: runs that differ in nothing else may share it
    /// ([`Run::branch`](super::run::Run::branch)). Empty for a detector of one stage.
    pub later: &'static [&'static str],
    /// Keys that were given up, with their present names.
    pub former: &'static [(&'static str, &'static str)],
    /// Add its parameters to the store.
    pub build: fn(&TrainConfig, &mut ParamStore, Purpose) -> Result<Box<dyn Detector>>,
}

/// Default values of a type of keys.
pub fn defaults_of<K: OwnKeys>() -> Value {
    serde_json::to_value(K::default()).expect("defaults are plain data")
}
/// A type's keys from a tree, and back, which fills in the defaults.
pub fn parse_as<K: OwnKeys>(tree: &Value) -> Result<Value, serde_json::Error> {
    serde_json::to_value(serde_json::from_value::<K>(tree.clone())?)
}
/// A type's own check.
pub fn check_as<K: OwnKeys>(c: &TrainConfig) -> Result<()> {
    c.own::<K>().check(c)
}

/// What a detector is built for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Purpose {
    /// All networks that training needs.
    Train,
    /// Only what a verdict needs: no discriminator, no comparator.
    Judge,
}

/// One method of the paper's tables.
pub trait Detector {
    /// The range of values that its networks take. Nothing converts by itself: [`Recorder::pictures`] are in [0, 1], and `record` and
    /// `verdict` bring them here by `self.space().of(&mut r.tape, x)`.
    fn space(&self) -> Space;

    /// The stages of its training, in order; at least one.
    fn stages(&self) -> Vec<Stage>;

    /// Record one step of a stage: the losses as terms and, in [`Mode::Train`](crate::nn::Mode), the updates ([`Recorder::minimise`] records none
    /// otherwise). Returns what [`Detector::judge`] reads, for the accuracy of a batch: N×1×1×K.
    fn record(&self, r: &mut Recorder, stage: usize) -> Result<Var>;

    /// Record what a verdict needs, in [`Mode::Eval`](crate::nn::Mode).
    fn verdict(&self, r: &mut Recorder) -> Result<Scores>;

    /// Record the features of a picture of any size in [`Mode::Eval`](crate::nn::Mode), if the verdict on a window is a function of
    /// their mean over the window; none if it is not.
    fn local(&self, _r: &mut Recorder) -> Result<Option<Local>> {
        Ok(None)
    }

    /// Record what [`Detector::judge`] reads, from the mean features N×1×1×C of N windows. Only asked where [`Detector::local`] gives
    /// features.
    fn head(&self, _r: &mut Recorder, _mean: Var) -> Result<Var> {
        unreachable!("a detector with local features has a head")
    }

    /// The verdict on one picture from its row of [`Scores::values`].
    fn judge(&self, row: &[f32]) -> Judgement;

    /// The part of a row that decided: as many values as [`Scores::names`] has. A detector that judges several windows of a picture
    /// has a row of all of them.
    fn decisive<'a>(&self, row: &'a [f32]) -> &'a [f32] {
        row
    }

    /// Its networks, for `describe` and the table of parameters.
    fn networks(&self) -> Vec<Network<'_>>;

    /// What a reader must know before any figure: random weights, stand-ins.
    fn notices(&self) -> Vec<String> {
        Vec::new()
    }

    /// Measure what depends on the data, once before training, on a few pictures of the validation set.
    fn calibrate(&mut self, _store: &mut ParamStore, _device: &Device, _few: &Batch) -> Result<()> {
        Ok(())
    }

    /// Whether [`Detector::calibrate`] needs its pictures.
    fn needs_calibration(&self) -> bool {
        false
    }
}

words!(
    /// The range of values in which a network takes RGB pictures.
    Space {
        /// 0 to 1.
        Unit,
        /// −1 to 1.
        Symmetric,
        /// Less ImageNet's channel means, over its deviations.
        Imagenet,
    }
);

pub use crate::models::{MEAN, STD};

impl Space {
    /// Pictures in [0, 1] in this space.
    pub fn of(self, t: &mut Tape, x01: Var) -> Result<Var> {
        match self {
            Space::Unit => Ok(x01),
            Space::Symmetric => affine(t, x01, &[2.0], &[-1.0]),
            Space::Imagenet => affine(t, x01, &STD.map(|s| 1.0 / s), &std::array::from_fn::<f64, 3, _>(|i| -MEAN[i] / STD[i])),
        }
    }
    pub fn words(self) -> &'static str {
        match self {
            Space::Unit => "RGB in [0, 1]",
            Space::Symmetric => "RGB in [-1, 1]",
            Space::Imagenet => "RGB, normalised as for ImageNet",
        }
    }
}

/// One stage of a training.
#[derive(Debug, Clone)]
pub struct Stage {
    /// `stage 1`, or what the stage trains: `head`.
    pub name: &'static str,
    /// Most epochs.
    pub epochs: usize,
    /// Pictures of the training set per step, half of them true.
    pub batch: usize,
    /// Steps per epoch; 0: one pass.
    pub epoch_steps: usize,
    /// How the rates of the stage's updates fall.
    pub schedule: Schedule,
    /// Early stopping: the epochs without a better validation before the stage ends; its best weights are kept. None: the stage
    /// runs all its epochs, its last weights are kept, and nothing is validated.
    pub patience: Option<usize>,
    /// The term whose mean over the validation set early stopping watches: a loss, or [`ACCURACY`].
    pub watch: &'static str,
    pub draw: Draw,
    /// Start with fresh moments of the optimisers, and count steps from 1.
    pub fresh_moments: bool,
}

/// The term that training adds to a detector's: the share of right verdicts.
pub const ACCURACY: &str = "accuracy";

impl Stage {
    /// The stage of a detector that has one, as the keys of `train` say: balanced batches, early stopping by `watch`.
    pub fn training(c: &TrainConfig, watch: &'static str) -> Stage {
        let t = &c.train;
        Stage {
            name: "training",
            epochs: t.epochs,
            batch: t.batch,
            epoch_steps: t.epoch_steps,
            schedule: Schedule::Anneal(t.anneal),
            patience: Some(t.patience),
            watch,
            draw: Draw::Balanced,
            fresh_moments: true,
        }
    }
    /// Whether `value` of the watched term is better than `best`: lower, but an accuracy must be higher.
    pub fn better(&self, value: f64, best: f64) -> bool {
        if self.watch == ACCURACY { value > best } else { value < best }
    }
    /// What the watched term is called in words.
    pub fn watched(&self) -> &'static str {
        if self.watch == ACCURACY { ACCURACY } else { "loss" }
    }
}

/// Which pictures a step sees.
#[derive(Debug, Clone)]
pub enum Draw {
    /// A balanced batch of the training set.
    Balanced,
    /// Annotated fakes beside them, or among them. They are chosen once before the stage.
    Annotated(Annotated),
}

/// The factor on all rates of a stage.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Schedule {
    Constant,
    /// Constant, then linear to zero over this share of the steps, at the end.
    Anneal(f64),
    /// Divided by ten after so many epochs, again and again.
    TenthEvery(usize),
}

impl Schedule {
    /// `step` counts from 1 to `steps`, `epoch` from 0.
    pub fn factor(self, step: u64, steps: u64, epoch: usize) -> f64 {
        match self {
            Schedule::Constant => 1.0,
            Schedule::Anneal(share) => {
                let length = share * steps as f64;
                let left = (steps + 1).saturating_sub(step) as f64;
                if length > 0.0 { (left / length).min(1.0) } else { 1.0 }
            }
            Schedule::TenthEvery(epochs) => 0.1f64.powi((epoch / epochs) as i32),
        }
    }
}

/// What a verdict is made of, as values of the tape.
#[derive(Debug, Clone)]
pub struct Scores {
    /// N×1×1×K: what [`Detector::judge`] reads.
    pub values: Var,
    /// What the K values are called in `detect --json` and `--csv`.
    pub names: &'static [&'static str],
    /// Where the picture looks forged, if the detector can say so.
    pub map: Option<Attention>,
    /// N×1×1×C: features that a linear concept model can read, if the detector has such.
    pub features: Option<Var>,
}

/// Where a picture looks forged, as values of the tape.
#[derive(Debug, Clone)]
pub enum Attention {
    /// N×grid×grid×1, which the network gives by itself.
    Own(Var),
    /// What Grad-CAM makes a map of ([`grad_cam`](super::grad_cam)).
    GradCam(Cam),
}

impl Attention {
    /// Grad-CAM of what [`Net::run_with_maps`](crate::nn::Net::run_with_maps) gives; none where pictures are so small that maps of a single
    /// cell are left.
    pub fn grad_cam(t: &Tape, maps: Vec<Var>, values: Var, weights: Vec<f32>) -> Option<Attention> {
        let cells = |&m: &Var| t.shape(m).h * t.shape(m).w;
        (maps.iter().map(cells).min() > Some(1)).then_some(Attention::GradCam(Cam { maps, values, weights }))
    }
}

/// A layer, and the score that it is asked about.
#[derive(Debug, Clone)]
pub struct Cam {
    /// N×h×w×K: the layer's maps; of several layers, the sum is shown.
    pub maps: Vec<Var>,
    /// N×1×1×J, computed from the maps.
    pub values: Var,
    /// The score of a fake is Σ_j `weights`\[j\]·`values`\[j\]: before a sigmoid or softmax, which would flatten its gradient.
    pub weights: Vec<f32>,
}

/// Features with a place, as values of the tape.
#[derive(Debug, Clone, Copy)]
pub struct Local {
    /// 1×h×w×C, one cell for each square of pixels.
    pub features: Var,
    /// Cells at an edge whose features know of the edge: half of the field that a cell sees.
    pub reach: usize,
}

/// The verdict on one picture.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Judgement {
    /// 0 (real) to 1 (fake): what ranks pictures.
    pub p_fake: f64,
    /// The method's own decision.
    pub fake: bool,
    /// The evidence for a fake on a scale without ends, along which `p_fake` does not fall: what windows are pooled by.
    pub evidence: f64,
}

/// A network of a detector.
pub struct Network<'a> {
    /// The word after `describe --model`; several networks may share one.
    pub model: &'static str,
    /// In the report's table of parameters: `LAE encoder`.
    pub title: &'static str,
    pub net: &'a Net,
    pub group: Group,
    /// Whether training changes it.
    pub trained: bool,
}
