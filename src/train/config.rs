//! Everything a run can be told: the keys that every detector shares, and the detector's own tables. Presets, then a file, then
//! `--set key=value` (see [`super::resolve`]). The resolved configuration is written into the run folder.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::keys::{self, Keys, check};
use crate::core::dtype::DType;
use crate::data::dataset::DataConfig;
use crate::data::whole::WholeConfig;
use crate::data::{AugmentConfig, CounterConfig, Task};
use crate::device::{Device, Precision};
use crate::error::{Error, Result};
use crate::host::half::{Products, bf16_on_cpu};
use crate::host::winograd::Winograd;
use crate::{table, words};

impl std::str::FromStr for View {
    type Err = String;
    fn from_str(s: &str) -> Result<View, String> {
        match s {
            "whole" => Ok(View::Whole),
            "windows" => Ok(View::Windows),
            _ => Err("give windows or whole".into()),
        }
    }
}

table!(
    /// The keys that every detector has.
    Shared {
        /// The method that is trained: a name of the registry of detectors.
        detector: String = "lae".into(),
        /// What is forged.
        task: Task = Task::Inpainting,
        /// Preset that the other values started from.
        preset: String = "paper".into(),
        /// Seed of everything random.
        seed: u64 = 0,
        /// Side of the pictures in pixels (paper: 256).
        size: usize = 256,
        /// bf16: what activations, their gradients and the weights that they meet are stored in, on every device. tf32, 3xtf32: what
        /// convolutions on a GPU may round their factors to, in f32 on the CPU. f32: neither.
        precision: Precision = Precision::F32,
        cpu: CpuConfig = CpuConfig::default(),
        data: DataConfig = DataConfig::default(),
        augment: AugmentConfig = AugmentConfig::default(),
        counter: CounterConfig = CounterConfig::default(),
        train: StageConfig = StageConfig::default(),
        detect: DetectConfig = DetectConfig::default(),
        eval: EvalConfig = EvalConfig::default(),
    }
);
table!(CpuConfig {
    /// Which 3×3 convolutions at stride 1 take Winograd's form: auto (where it is faster), off, f2 or f4 (all of them).
    winograd: Winograd = Winograd::Auto,
    /// What multiplies the convolutions of precision = bf16: auto (amx where the machine has it), convert (f32), avx512 or amx.
    bf16: Products = Products::Auto,
});
impl CpuConfig {
    /// Sets what these keys say for the whole process, before plans are made.
    pub fn apply(&self) -> Result<()> {
        self.winograd.set();
        self.bf16.set()
    }
}
table!(
    /// The first stage of training, of most detectors the only one.
    StageConfig {
        /// Most epochs.
        epochs: usize = 40,
        /// Pictures per step, half of them true.
        batch: usize = 64,
        /// Adam's rate.
        lr: f64 = 1e-3,
        /// Share of the steps, at the end, over which the rate falls linearly to zero (paper: constant, 0).
        anneal: f64 = 0.0,
        /// Adam's moments.
        beta1: f64 = 0.9,
        beta2: f64 = 0.999,
        /// Epochs without a lower validation loss before stopping.
        patience: usize = 10,
        /// Steps per epoch; 0: one pass over the training set.
        epoch_steps: usize = 0,
        /// Minutes between checkpoints within an epoch.
        save_minutes: f64 = 5.0,
    }
);
words!(
    /// How a picture is looked at.
    View {
        /// Shrunk to the size of the pictures that the model was trained on: the paper.
        Whole,
        /// At its own size, window by window.
        Windows,
    }
);
table!(DetectConfig {
    /// How `detect` and `eval` look at a picture: whole (the paper) or windows.
    view: View = View::Whole,
    /// Sides of the windows, in units of `size`, smallest first: small ones see small regions and where they end, large ones are surer.
    windows: Vec<f64> = vec![0.25, 0.5, 1.0],
});
table!(EvalConfig {
    /// Resamples of the bootstrap.
    resamples: usize = 1000,
    /// Pictures per method in the report's gallery.
    gallery: usize = 4,
    /// With detect.view = windows: photographs that the test judges at their own size, genuine and forged (0: all that there are).
    photographs: usize = 24,
});

/// The shared keys (as fields, through `Deref`) and the tables of one detector.
#[derive(Debug, Clone, PartialEq)]
pub struct TrainConfig {
    shared: Shared,
    /// The detector's own tables as a tree of values.
    own: Value,
}

impl std::ops::Deref for TrainConfig {
    type Target = Shared;
    fn deref(&self) -> &Shared {
        &self.shared
    }
}
impl std::ops::DerefMut for TrainConfig {
    fn deref_mut(&mut self) -> &mut Shared {
        &mut self.shared
    }
}

/// A detector's own keys: plain data with a default for every one.
pub trait OwnKeys: Default + Serialize + for<'a> Deserialize<'a> {
    /// Refuse impossible values, each by its key. The shared keys are checked already.
    fn check(&self, c: &Shared) -> Result<()>;
}

impl TrainConfig {
    /// What a training step keeps activations in.
    pub fn activations(&self) -> DType {
        if self.precision == Precision::Bf16 { DType::Bf16 } else { DType::F32 }
    }

    /// The device in words, with what the precision makes of it.
    pub fn words(&self, device: &Device) -> String {
        match (self.activations(), device) {
            (DType::F32, _) => device.to_string(),
            (DType::Bf16, Device::Cpu) => format!("{device}; activations in bf16: {}", bf16_on_cpu()),
            (DType::Bf16, Device::Gpu(..)) => format!("{device}; activations in bf16"),
        }
    }

    /// From both parts, as they were checked.
    pub(super) fn new(shared: Shared, own: Value) -> TrainConfig {
        TrainConfig { shared, own }
    }

    /// The detector's own keys. The caller names the type that its registry entry was made with.
    pub fn own<K: OwnKeys>(&self) -> K {
        serde_json::from_value(self.own.clone()).expect("checked when the configuration was made")
    }

    /// Change the detector's own keys (tests and benchmarks).
    pub fn set_own<K: OwnKeys>(&mut self, own: &K) {
        self.own = serde_json::to_value(own).expect("plain data");
    }

    /// The validation photographs that teach what windows mean: genuine, and forged by the seen forger.
    pub fn validation_photographs(&self, seen: &str) -> WholeConfig {
        let (forgers, sizes) = (vec![seen.to_string()], vec![0.1, 0.25, 0.5]);
        WholeConfig { forgers, sizes, limit: self.eval.photographs, side: self.painted() }
    }

    /// The photographs of the test at full size: genuine, and forged by all forgers.
    pub fn test_photographs(&self) -> WholeConfig {
        WholeConfig { limit: self.eval.photographs, side: self.painted(), ..WholeConfig::default() }
    }

    /// Side of a painted photograph in pixels: six pictures.
    fn painted(&self) -> usize {
        (6 * self.size).clamp(192, 768)
    }

    /// Key and value of everything, for the report.
    pub fn rows(&self) -> Vec<(String, String)> {
        let mut given = Vec::new();
        keys::flatten("", &toml::Value::Table(self.table()), &mut given);
        let value = |key: &String| match given.iter().find(|g| g.0 == *key) {
            Some((_, toml::Value::String(s))) => crate::text::line(s),
            Some((_, v)) => v.to_string(),
            None => "(none)".into(),
        };
        let known = Keys { defaults: join(&self.shared, &self.own), former: &[], elsewhere: &|_| None }.all();
        known.into_iter().map(|k| (k.clone(), value(&k))).collect()
    }

    /// Make the paths absolute, so that a run folder finds its files from anywhere; an error for one that is not there.
    /// `own`: the detector's own keys that are paths, [`Entry::files`](super::detector::Entry::files).
    pub fn find_files(&mut self, own: &[&str]) -> Result<()> {
        let absolute = |path: &mut PathBuf| -> Result<()> {
            *path = std::fs::canonicalize(&*path).map_err(|e| Error::io(&*path, e))?;
            Ok(())
        };
        [&mut self.shared.data.photos, &mut self.shared.data.dir].into_iter().flatten().try_for_each(absolute)?;
        for key in own {
            if let Some(Value::String(text)) = self.own.pointer_mut(&keys::pointer(key)) {
                let mut path = crate::text::unword(text);
                absolute(&mut path)?;
                *text = crate::text::word(&path);
            }
        }
        Ok(())
    }

    pub fn to_toml(&self) -> String {
        toml::to_string(&self.table()).expect("plain data")
    }

    /// By way of the text, which has 0.06 where an f32 as f64 has 0.05999999865889549.
    fn table(&self) -> toml::Table {
        let text = |r: Result<String, toml::ser::Error>| r.expect("plain data").parse::<toml::Table>().expect("what we wrote");
        let mut table = text(toml::to_string(&self.shared));
        keys::merge(&mut table, text(toml::to_string(&without_null(&self.own))));
        table
    }
}

impl Shared {
    /// Refuse impossible values, each by its key.
    pub(super) fn check(&self) -> Result<()> {
        if !(16..=1024).contains(&self.size) {
            return Err(Error::config("size", format!("{} pixels: give a side from 16 to 1024", self.size)));
        }
        // Upper ends are far above what makes sense, and below what no machine could allocate.
        check::counts(&[
            ("train.epochs", self.train.epochs, 1_000_000),
            ("train.batch", self.train.batch, 65_536),
            ("eval.resamples", self.eval.resamples, 1_000_000),
        ])?;
        if self.train.batch % 2 == 1 {
            let why = format!("{}: half of a batch is true, half fake; give an even number", self.train.batch);
            return Err(Error::config("train.batch", why));
        }
        let windows = &self.detect.windows;
        if windows.is_empty() || !windows.is_sorted_by(|a, b| a < b) || windows.iter().any(|w| !(*w >= 0.05 && *w <= 8.0)) {
            let why = format!("{windows:?}: give sides in units of `size` from 0.05 to 8, smallest first");
            return Err(Error::config("detect.windows", why));
        }
        check::positive(&[("train.lr", self.train.lr)])?;
        check::not_negative(&[("train.save_minutes", self.train.save_minutes)])?;
        check::decays(&[("train.beta1", self.train.beta1), ("train.beta2", self.train.beta2)])?;
        check::shares(&[("train.anneal", self.train.anneal, "the steps")])?;
        self.augment.check()?;
        self.counter.check()?;
        self.data.check()?;
        // A ready data set names its methods itself.
        match self.data.dir {
            Some(_) => Ok(()),
            None => self.task.check(&self.data.seen, &self.data.unseen),
        }
    }
}

/// One tree of the shared keys and a detector's own.
pub(super) fn join(shared: &Shared, own: &Value) -> Value {
    let mut tree = serde_json::to_value(shared).expect("plain data");
    let all = tree.as_object_mut().expect("a table");
    for (key, value) in own.as_object().expect("a table") {
        let taken = all.insert(key.clone(), value.clone());
        assert!(taken.is_none(), "{key} is a key of every detector");
    }
    tree
}

/// TOML has no null: an optional key without a value is left out.
fn without_null(v: &Value) -> Value {
    match v {
        Value::Object(map) => {
            Value::Object(map.iter().filter(|(_, v)| !v.is_null()).map(|(k, v)| (k.clone(), without_null(v))).collect())
        }
        v => v.clone(),
    }
}
