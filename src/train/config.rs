//! Everything a run can be told, in one struct: presets, then a file, then `--set key=value`. Unknown keys are errors with a
//! suggestion. The resolved configuration is written into the run folder. `docs/ambiguities.md` says which key decides which open
//! question of the paper.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::data::dataset::DataConfig;
use crate::device::Precision;
use crate::error::{Error, Result};
use crate::models::dcgan::Arch;
use crate::models::lae::LaeConfig;
use crate::ops::cam_attention::{CamAttention, Norm, Reduce, Units, Weight};
use crate::ops::difference::Difference;

/// The presets, with their text.
pub const PRESETS: &[(&str, &str)] = &[
    ("small", include_str!("../../configs/small.toml")),
    ("paper", include_str!("../../configs/paper.toml")),
    ("smoke", include_str!("../../configs/smoke.toml")),
];

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum $name { $($(#[$vdoc])* $variant),* }
    };
}

words!(
    /// What is forged.
    Task {
        /// The central (or a random) region is filled in.
        Inpainting
    }
);
words!(
    /// The space in which pictures and reconstructions are compared (§3.1.4: inputs are ImageNet-normalised, the decoder ends in Tanh).
    Target {
        /// 2x − 1, which Tanh can reach.
        Pm1,
        /// ImageNet-normalised, Tanh as it is: dark and bright pixels cannot be reached.
        Imagenet,
        /// ImageNet-normalised, 2.64·Tanh.
        ScaledTanh,
    }
);
words!(
    /// A distance of equation 5: its text says mean absolute error, its formula squared.
    Distance { Mae, Mse, Sse }
);
words!(
    /// What the reconstruction should equal.
    NoiseTarget { Clean, Noisy }
);
words!(
    /// Pictures that the discriminator is told are real.
    RealPictures { All, TrueOnly }
);
words!(
    /// What early stopping watches.
    ValLoss { L1, Latent }
);
words!(
    /// Which pictures a stage-2 step sees.
    Pool {
        /// A balanced batch of the training set, and `ft.batch_att` annotated ones.
        Mixed,
        /// Batches of the training set; attention only where an annotated picture happens to be in them.
        Full,
        /// The annotated fakes and as many random true pictures.
        ActivePlusTrue,
    }
);
words!(
    /// How channels are ranked by the linear model's weights.
    Rank { Signed, Abs }
);
words!(
    /// How a picture is scored from the top channels.
    Score { Sum, Weighted, Max, MeanRank }
);
words!(
    /// How candidates for annotation are chosen.
    Select { Active, Random }
);
words!(
    /// Batch norm in stage 2.
    BnMode { Train, Eval }
);

impl Distance {
    pub fn op(self) -> Difference {
        match self {
            Distance::Mae => Difference::L1,
            Distance::Mse => Difference::Mse,
            Distance::Sse => Difference::Sse,
        }
    }
}

macro_rules! table {
    ($(#[$doc:meta])* $name:ident { $($(#[$fdoc:meta])* $field:ident: $ty:ty = $default:expr),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
        #[serde(deny_unknown_fields, default)]
        pub struct $name { $($(#[$fdoc])* pub $field: $ty),* }
        impl Default for $name {
            fn default() -> Self {
                $name { $($field: $default),* }
            }
        }
    };
}

table!(
    /// The whole configuration. Defaults are the paper's, or the choice of `docs/ambiguities.md` where it is silent.
    TrainConfig {
        /// What is forged.
        task: Task = Task::Inpainting,
        /// Preset that the other values started from.
        preset: String = "paper".into(),
        /// Seed of everything random.
        seed: u64 = 0,
        /// Side of the pictures in pixels (paper: 256).
        size: usize = 256,
        /// What convolutions on a GPU may round their factors to: f32, tf32 or 3xtf32. The CPU always computes in f32.
        precision: Precision = Precision::F32,
        data: DataConfig = DataConfig::default(),
        lae: LaeConfig = LaeConfig::default(),
        norm: NormConfig = NormConfig::default(),
        noise: NoiseConfig = NoiseConfig::default(),
        loss: LossConfig = LossConfig::default(),
        rec: RecConfig = RecConfig::default(),
        /// Sum or mean over the pictures of a batch (the paper prints sums).
        reduce: Reduce = Reduce::Mean,
        comp: CompConfig = CompConfig::default(),
        disc: DiscConfig = DiscConfig::default(),
        train: StageConfig = StageConfig::default(),
        val: ValConfig = ValConfig::default(),
        cam: CamConfig = CamConfig::default(),
        att: AttConfig = AttConfig::default(),
        linmodel: LinModelConfig = LinModelConfig::default(),
        al: ActiveConfig = ActiveConfig::default(),
        ft: FineTuneConfig = FineTuneConfig::default(),
        eval: EvalConfig = EvalConfig::default(),
    }
);
table!(NormConfig {
    /// Space of the reconstruction losses.
    target: Target = Target::Pm1,
});
table!(
    /// Noise augmentation, training only (§2.4).
    NoiseConfig {
        /// Largest standard deviation in grey levels of 255; each batch draws its own between 0 and this.
        max_sigma: f64 = 5.0,
        /// Clip noisy pictures to the range of pixels.
        clip: bool = true,
        /// Reconstruct the clean or the noisy picture.
        target: NoiseTarget = NoiseTarget::Clean,
    }
);
table!(
    /// Weights of the losses (§3.1.4).
    LossConfig {
        /// Reconstruction (eq. 2).
        alpha1: f64 = 1.0,
        /// Latent loss (eq. 2).
        alpha2: f64 = 1.0,
        /// Pixel loss (eq. 5).
        beta1: f64 = 1.0,
        /// Perceptual loss (eq. 5).
        beta2: f64 = 1.0,
        /// Adversarial loss (eq. 5).
        beta3: f64 = 0.01,
        /// Latent loss in stage 2 (eq. 12).
        lambda1: f64 = 0.5,
        /// Attention loss in stage 2 (eq. 12).
        lambda2: f64 = 1.0,
    }
);
table!(RecConfig {
    /// Pixel distance.
    pixel: Distance = Distance::Mae,
    /// Distance of comparator features.
    perc: Distance = Distance::Mae,
});
table!(
    /// The comparator.
    CompConfig {
        /// safetensors file of VGG-16 with torchvision's names; none: seeded random weights, named in every report.
        weights: Option<PathBuf> = None,
        /// Last layer: conv1_2, conv2_2, conv3_3 or conv4_3 (paper).
        layer: String = "conv4_3".into(),
        /// Side that pictures are resized to before it; 0: their own (224 gives the paper's 28×28 maps).
        input: usize = 0,
        /// Features after the ReLU.
        post_relu: bool = true,
        /// Scale of all channel counts; other than 1 only with random weights.
        width: f64 = 1.0,
        /// Random weights only: divide the loss by the mean |C(x)| of one fixed batch, so that beta2 keeps its meaning.
        calibrate: bool = true,
    }
);
table!(
    /// The discriminator and its optimiser.
    DiscConfig {
        arch: Arch = Arch::Extended,
        /// Channels of the first stage.
        width: usize = 64,
        /// Adam's rate (paper: one rate for all; DCGAN: 2e-4).
        lr: f64 = 1e-3,
        /// Adam's first moment (DCGAN: 0.5).
        beta1: f64 = 0.9,
        /// Pictures that count as real.
        real: RealPictures = RealPictures::All,
    }
);
table!(
    /// Stage 1.
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
table!(ValConfig {
    /// Early stopping watches all of eq. 2 or the latent loss alone.
    loss: ValLoss = ValLoss::L1,
    /// Leave out the adversarial term, which moves with the discriminator.
    excludes_adv: bool = true,
});
table!(
    /// The class activation map (eq. 7-8).
    CamConfig {
        units: Units = Units::F,
        weight: Weight = Weight::Abs,
        norm: Norm = Norm::Minmax,
        relu: bool = false,
        align_corners: bool = false,
        minmax_stopgrad: bool = false,
        /// Of the sigmoid norms.
        temperature: f64 = 1.0,
    }
);
table!(
    /// The attention loss (eq. 9).
    AttConfig {
        /// Sum or mean over the pixels of a map.
        pixel_reduce: Reduce = Reduce::Mean,
        /// No gradient through |z|.
        detach_z: bool = false,
    }
);
table!(
    /// The linear concept model (eq. 10).
    LinModelConfig {
        bias: bool = false,
        lr: f64 = 1e-3,
        epochs: usize = 5,
        batch: usize = 64,
    }
);
table!(
    /// Active learning (§2.4).
    ActiveConfig {
        /// Pictures to annotate.
        annotations: usize = 100,
        mode: Select = Select::Active,
        /// Channels that score a picture.
        topk: usize = 10,
        rank: Rank = Rank::Signed,
        score: Score = Score::Sum,
        /// Choose anew at every epoch of stage 2 (Algorithm 1 prints it inside the loop; the budget implies once).
        reselect: bool = false,
    }
);
table!(
    /// Stage 2.
    FineTuneConfig {
        /// Epochs; 0: 4 up to 100 annotations, 7 up to 400, 9 beyond.
        epochs: usize = 0,
        /// Adam's first rate.
        lr0: f64 = 1e-4,
        /// Divide the rate by ten after so many epochs.
        decay_epochs: usize = 3,
        pool: Pool = Pool::Mixed,
        /// Annotated pictures per step (pool = mixed).
        batch_att: usize = 16,
        /// The annotated pictures of a mixed step count in the latent loss too.
        active_in_latent: bool = true,
        /// Steps per epoch; 0: one pass.
        epoch_steps: usize = 0,
        bn_mode: BnMode = BnMode::Train,
        /// Start with fresh Adam moments.
        reset_adam: bool = true,
    }
);
table!(EvalConfig {
    /// Resamples of the bootstrap.
    resamples: usize = 1000,
    /// Pictures per method in the report's gallery.
    gallery: usize = 4,
});

impl TrainConfig {
    /// Preset, then file, then `key=value` settings.
    pub fn resolve(preset: &str, file: Option<&Path>, set: &[String]) -> Result<TrainConfig> {
        let Some((_, text)) = PRESETS.iter().find(|p| p.0 == preset) else {
            let names: Vec<&str> = PRESETS.iter().map(|p| p.0).collect();
            return Err(Error::config("--preset", format!("{preset:?} is not a preset; one of {}", names.join(", "))));
        };
        let mut table: toml::Table = text.parse().expect("presets are valid TOML");
        if let Some(file) = file {
            let text = std::fs::read_to_string(file).map_err(|e| Error::io(file, e))?;
            let more: toml::Table = text.parse().map_err(|e| Error::data(file, format!("not valid TOML: {e}")))?;
            merge(&mut table, more);
        }
        for s in set {
            let (key, value) = s
                .split_once('=')
                .filter(|(key, _)| !key.trim().is_empty())
                .ok_or_else(|| Error::config("--set", format!("{s:?} is no setting; write --set key=value")))?;
            insert(&mut table, key.trim(), parse_value(value.trim()))?;
        }
        Self::from_table(table)
    }

    /// The configuration that a run folder holds.
    pub fn load(file: &Path) -> Result<TrainConfig> {
        let text = std::fs::read_to_string(file).map_err(|e| Error::io(file, e))?;
        let table = text.parse().map_err(|e| Error::data(file, format!("not valid TOML: {e}")))?;
        Self::from_table(table)
    }

    fn from_table(table: toml::Table) -> Result<TrainConfig> {
        let known = Self::keys();
        let mut given = Vec::new();
        leaves("", &toml::Value::Table(table.clone()), &mut given);
        for key in given {
            if !known.contains(&key) {
                return Err(Error::config(&key, suggestion(&key, &known)));
            }
        }
        // One key at a time, so that a wrong value is reported under its full name.
        let mut json = serde_json::to_value(Self::default()).expect("defaults are plain data");
        let mut flat = Vec::new();
        flatten("", &toml::Value::Table(table), &mut flat);
        for (key, value) in flat {
            if value.as_float().is_some_and(|x| !x.is_finite()) {
                return Err(Error::config(key, format!("{value}: give a finite number")));
            }
            let pointer = format!("/{}", key.replace('.', "/"));
            let slot = json.pointer_mut(&pointer).expect("known key");
            *slot = serde_json::to_value(&value).expect("TOML is plain data");
            if let Err(e) = serde_json::from_value::<TrainConfig>(json.clone()) {
                let why = e.to_string().replace("unknown variant", "unknown value");
                let default = Self::default().rows().into_iter().find(|r| r.0 == key).map_or(String::new(), |r| r.1);
                return Err(Error::config(key, format!("{why} (default {default})")));
            }
        }
        let config: TrainConfig = serde_json::from_value(json).map_err(|e| Error::config("configuration", e))?;
        config.check()?;
        Ok(config)
    }

    /// Every key, dotted.
    pub fn keys() -> Vec<String> {
        let mut keys = Vec::new();
        fn walk(prefix: &str, v: &serde_json::Value, keys: &mut Vec<String>) {
            match v {
                serde_json::Value::Object(map) => map.iter().for_each(|(k, v)| walk(&join(prefix, k), v, keys)),
                _ => keys.push(prefix.to_string()),
            }
        }
        walk("", &serde_json::to_value(Self::default()).expect("defaults are plain data"), &mut keys);
        keys
    }

    /// Key and value of everything, for the report.
    pub fn rows(&self) -> Vec<(String, String)> {
        // By way of the text, which has 0.06 where an f32 as f64 has 0.05999999865889549.
        let table = self.to_toml().parse::<toml::Table>().expect("what we wrote");
        let mut given = Vec::new();
        flatten("", &toml::Value::Table(table), &mut given);
        let value = |key: &String| match given.iter().find(|g| g.0 == *key) {
            Some((_, toml::Value::String(s))) => s.clone(),
            Some((_, v)) => v.to_string(),
            None => "(none)".into(),
        };
        Self::keys().into_iter().map(|k| (k.clone(), value(&k))).collect()
    }

    pub fn to_toml(&self) -> String {
        toml::to_string(self).expect("plain data")
    }

    pub fn cam_op(&self) -> CamAttention {
        CamAttention {
            units: self.cam.units,
            weight: self.cam.weight,
            norm: self.cam.norm,
            relu: self.cam.relu,
            align_corners: self.cam.align_corners,
            minmax_stopgrad: self.cam.minmax_stopgrad,
            temperature: self.cam.temperature,
            pixel_reduce: self.att.pixel_reduce,
            detach_z: self.att.detach_z,
        }
    }

    /// Epochs of stage 2 (§3.1.4 gives 4 for 100 pictures and 7 for 500).
    pub fn fine_tune_epochs(&self) -> usize {
        match (self.ft.epochs, self.al.annotations) {
            (0, ..=100) => 4,
            (0, ..=400) => 7,
            (0, _) => 9,
            (n, _) => n,
        }
    }

    /// Refuse impossible values, each by its key.
    fn check(&self) -> Result<()> {
        let bad = |key: &str, why: String| Err(Error::config(key, why));
        if !(16..=1024).contains(&self.size) || !self.size.is_power_of_two() {
            return bad("size", format!("{} pixels: give a power of two from 16 to 1024", self.size));
        }
        // Upper ends are far above what makes sense, and below what no machine could allocate.
        let counts = [
            ("train.epochs", self.train.epochs, 1_000_000),
            ("train.batch", self.train.batch, 65_536),
            ("lae.width", self.lae.width, 1024),
            ("lae.latent", self.lae.latent, 65_536),
            ("disc.width", self.disc.width, 1024),
            ("linmodel.batch", self.linmodel.batch, 65_536),
            ("al.topk", self.al.topk, 8 * self.lae.width),
            ("ft.decay_epochs", self.ft.decay_epochs, 1_000_000),
            ("eval.resamples", self.eval.resamples, 1_000_000),
        ];
        for (key, n, most) in counts {
            if n == 0 || n > most {
                return bad(key, format!("{n}: give 1 to {most}"));
            }
        }
        if self.train.batch < 2 || self.train.batch % 2 == 1 {
            return bad("train.batch", format!("{}: half of a batch is true, half fake; give an even number", self.train.batch));
        }
        let rates = [
            ("train.lr", self.train.lr),
            ("disc.lr", self.disc.lr),
            ("ft.lr0", self.ft.lr0),
            ("linmodel.lr", self.linmodel.lr),
            ("comp.width", self.comp.width),
            ("cam.temperature", self.cam.temperature),
        ];
        for (key, x) in rates {
            if !(x.is_finite() && x > 0.0) {
                return bad(key, format!("{x}: give a positive number"));
            }
        }
        let l = &self.loss;
        let weights = [
            ("loss.alpha1", l.alpha1),
            ("loss.alpha2", l.alpha2),
            ("loss.beta1", l.beta1),
            ("loss.beta2", l.beta2),
            ("loss.beta3", l.beta3),
            ("loss.lambda1", l.lambda1),
            ("loss.lambda2", l.lambda2),
            ("noise.max_sigma", self.noise.max_sigma),
            ("train.save_minutes", self.train.save_minutes),
        ];
        for (key, x) in weights {
            if !(x.is_finite() && x >= 0.0) {
                return bad(key, format!("{x}: give 0 or a positive number"));
            }
        }
        for (key, b) in [("train.beta1", self.train.beta1), ("train.beta2", self.train.beta2), ("disc.beta1", self.disc.beta1)] {
            if !(0.0..1.0).contains(&b) {
                return bad(key, format!("{b}: a decay of Adam lies in 0 ≤ β < 1"));
            }
        }
        if !(0.0..=1.0).contains(&self.train.anneal) {
            return bad("train.anneal", format!("{}: a share of the steps lies between 0 and 1", self.train.anneal));
        }
        if self.comp.width != 1.0 && self.comp.weights.is_some() {
            let why =
                format!("{}: pretrained weights (comp.weights) have their own width; add --set comp.width=1", self.comp.width);
            return bad("comp.width", why);
        }
        if self.comp.width > 4.0 {
            return bad("comp.width", format!("{}: give a number up to 4; 1 is VGG-16", self.comp.width));
        }
        if self.comp.input != 0 && !(8..=1024).contains(&self.comp.input) {
            let why = format!("{} pixels: the comparator pools three times; give 0 or 8 to 1024", self.comp.input);
            return bad("comp.input", why);
        }
        if self.ft.pool == Pool::Mixed && self.ft.batch_att == 0 {
            return bad("ft.batch_att", "0: a mixed step needs annotated pictures; give 1 or more".into());
        }
        if !self.ft.active_in_latent && self.ft.pool != Pool::Mixed {
            let why = "false: only a mixed step (ft.pool = \"mixed\") has pictures beside the annotated ones; leave it at true";
            return bad("ft.active_in_latent", why.into());
        }
        self.data.check()
    }
}

/// What may have been meant by a key that does not exist.
fn suggestion(key: &str, known: &[String]) -> String {
    let inside: Vec<&str> = known.iter().filter_map(|k| k.strip_prefix(key)?.strip_prefix('.')).collect();
    if !inside.is_empty() {
        return format!(
            "a table, not a value; its keys are {}",
            inside.iter().map(|k| join(key, k)).collect::<Vec<_>>().join(", ")
        );
    }
    // `epochs` for `train.epochs`: all keys with that last word; else what is typed alike.
    let same: Vec<&str> = known.iter().filter(|k| k.ends_with(&format!(".{key}"))).map(String::as_str).collect();
    let distance = |k: &str| strsim::damerau_levenshtein(k, key);
    match (same.is_empty(), known.iter().min_by_key(|k| distance(k))) {
        (true, Some(near)) if 2 * distance(near) <= key.len() => format!("no such key; did you mean {near}?"),
        (true, _) => "no such key; `lae-engine train --print-config` prints all of them".into(),
        (false, _) => format!("no such key; did you mean {}?", same.join(" or ")),
    }
}

fn join(prefix: &str, key: &str) -> String {
    if prefix.is_empty() { key.to_string() } else { format!("{prefix}.{key}") }
}

fn leaves(prefix: &str, v: &toml::Value, keys: &mut Vec<String>) {
    match v {
        toml::Value::Table(t) => t.iter().for_each(|(k, v)| leaves(&join(prefix, k), v, keys)),
        _ => keys.push(prefix.to_string()),
    }
}

fn flatten(prefix: &str, v: &toml::Value, out: &mut Vec<(String, toml::Value)>) {
    match v {
        toml::Value::Table(t) => t.iter().for_each(|(k, v)| flatten(&join(prefix, k), v, out)),
        _ => out.push((prefix.to_string(), v.clone())),
    }
}

fn merge(into: &mut toml::Table, from: toml::Table) {
    for (k, v) in from {
        match (into.get_mut(&k), v) {
            (Some(toml::Value::Table(a)), toml::Value::Table(b)) => merge(a, b),
            (_, v) => {
                into.insert(k, v);
            }
        }
    }
}

fn insert(table: &mut toml::Table, key: &str, value: toml::Value) -> Result<()> {
    match key.split_once('.') {
        None => {
            table.insert(key.to_string(), value);
            Ok(())
        }
        Some((head, rest)) => {
            let slot = table.entry(head).or_insert_with(|| toml::Value::Table(toml::Table::new()));
            let inner = slot.as_table_mut().ok_or_else(|| Error::config(key, format!("{head} is a value, not a table")))?;
            insert(inner, rest, value)
        }
    }
}

/// A TOML value, or the text itself where it is none (`--set cam.norm=none` without quotes).
fn parse_value(text: &str) -> toml::Value {
    match format!("x = {text}").parse::<toml::Table>() {
        Ok(mut t) => t.remove("x").expect("just parsed"),
        Err(_) => toml::Value::String(text.to_string()),
    }
}
