//! The keys of the Locality-Aware AutoEncoder. Defaults are the paper's, or the choice of `docs/ambiguities.md` where it is silent.

use std::path::PathBuf;

use crate::error::{Error, Result};
use crate::models::dcgan::Arch;
use crate::models::lae::LaeConfig;
use crate::ops::cam_attention::{CamAttention, Norm, Reduce, Units, Weight};
use crate::ops::difference::Difference;
use crate::ops::latent;
use crate::train::annotated::{ConceptConfig, Masks, Pool, SelectionConfig};
use crate::train::config::{OwnKeys, Shared};
use crate::train::keys::check;
use crate::{table, words};

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
    ValidationLoss { L1, Latent }
);
words!(
    /// Batch norm in stage 2.
    BatchNorm { Train, Eval }
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

table!(
    /// All tables of the Locality-Aware AutoEncoder.
    LaeKeys {
        lae: LaeConfig = LaeConfig::default(),
        norm: NormConfig = NormConfig::default(),
        noise: NoiseConfig = NoiseConfig::default(),
        loss: LossConfig = LossConfig::default(),
        latent: LatentConfig = LatentConfig::default(),
        reconstruction: ReconstructionConfig = ReconstructionConfig::default(),
        /// Sum or mean over the pictures of a batch (the paper prints sums).
        reduce: Reduce = Reduce::Mean,
        comparator: ComparatorConfig = ComparatorConfig::default(),
        discriminator: DiscriminatorConfig = DiscriminatorConfig::default(),
        validation: ValidationConfig = ValidationConfig::default(),
        cam: CamConfig = CamConfig::default(),
        attention: AttentionConfig = AttentionConfig::default(),
        concept: ConceptConfig = ConceptConfig::default(),
        selection: SelectionConfig = SelectionConfig::default(),
        stage2: Stage2Config = Stage2Config::default(),
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
table!(LatentConfig {
    /// Distance of an activation from its target (eq. 4; paper: l1). `squared` weighs a picture by how wrong it is; `ce`: cross
    /// entropy on a_T − a_F.
    distance: latent::Distance = latent::Distance::L1,
    /// Sides of windows, in cells of the encoder's last maps, that have a latent loss of their own each, with a label from the mask:
    /// genuine windows of forged pictures are genuine. Empty: the picture as a whole (paper).
    windows: Vec<usize> = Vec::new(),
    /// Windows with less than this share of forged pixels, but not none, do not count.
    least: f64 = 0.25,
});
table!(ReconstructionConfig {
    /// Pixel distance.
    pixel: Distance = Distance::Mae,
    /// Distance of comparator features.
    perceptual: Distance = Distance::Mae,
});
table!(
    /// The comparator.
    ComparatorConfig {
        /// safetensors file of VGG-16 with torchvision's names; none: seeded random weights, named in every report.
        #[serde(with = "crate::text::optional_path")]
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
    DiscriminatorConfig {
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
table!(ValidationConfig {
    /// Early stopping watches all of eq. 2 or the latent loss alone.
    loss: ValidationLoss = ValidationLoss::L1,
    /// Leave out the adversarial term, which moves with the discriminator.
    excludes_adversarial: bool = true,
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
    AttentionConfig {
        /// Sum or mean over the pixels of a map.
        pixel_reduce: Reduce = Reduce::Mean,
        /// No gradient through |z|.
        detach_z: bool = false,
    }
);
table!(
    /// Stage 2.
    Stage2Config {
        /// Epochs; 0: 4 up to 100 annotations, 7 up to 400, 9 beyond.
        epochs: usize = 0,
        /// Adam's first rate.
        lr: f64 = 1e-4,
        /// Divide the rate by ten after so many epochs.
        decay_epochs: usize = 3,
        pool: Pool = Pool::Mixed,
        /// Annotated pictures per step (pool = mixed).
        annotated_batch: usize = 16,
        /// The annotated pictures of a mixed step count in the latent loss too.
        active_in_latent: bool = true,
        /// Steps per epoch; 0: one pass.
        epoch_steps: usize = 0,
        batch_norm: BatchNorm = BatchNorm::Train,
        /// Start with fresh Adam moments.
        reset_adam: bool = true,
    }
);

/// Tables and keys of version 0.1, with their present names.
pub const FORMER: &[(&str, &str)] = &[
    ("rec", "reconstruction"),
    ("rec.perc", "reconstruction.perceptual"),
    ("comp", "comparator"),
    ("disc", "discriminator"),
    ("val", "validation"),
    ("val.excludes_adv", "validation.excludes_adversarial"),
    ("att", "attention"),
    ("linmodel", "concept"),
    ("al", "selection"),
    ("ft", "stage2"),
    ("ft.lr0", "stage2.lr"),
    ("ft.batch_att", "stage2.annotated_batch"),
    ("ft.bn_mode", "stage2.batch_norm"),
    ("lae.enc_kernel", "lae.encoder_kernel"),
];

impl LaeKeys {
    /// The fused attention loss that the tables `cam` and `attention` describe.
    pub fn cam_op(&self) -> CamAttention {
        CamAttention {
            units: self.cam.units,
            weight: self.cam.weight,
            norm: self.cam.norm,
            relu: self.cam.relu,
            align_corners: self.cam.align_corners,
            minmax_stopgrad: self.cam.minmax_stopgrad,
            temperature: self.cam.temperature,
            pixel_reduce: self.attention.pixel_reduce,
            detach_z: self.attention.detach_z,
        }
    }

    /// Epochs of stage 2 (§3.1.4 gives 4 for 100 pictures and 7 for 500).
    pub fn stage2_epochs(&self) -> usize {
        match (self.stage2.epochs, self.selection.annotations) {
            (0, ..=100) => 4,
            (0, ..=400) => 7,
            (0, _) => 9,
            (n, _) => n,
        }
    }
}

impl OwnKeys for LaeKeys {
    fn check(&self, c: &Shared) -> Result<()> {
        let bad = |key: &str, why: String| Err(Error::config(key, why));
        if !c.size.is_power_of_two() {
            let near = [c.size.next_power_of_two() / 2, c.size.next_power_of_two()].map(|s| s.clamp(16, 1024));
            let why = format!("{} pixels: lae takes powers of two from 16 to 1024; try {} or {}", c.size, near[0], near[1]);
            return bad("size", why);
        }
        if self.selection.masks == Masks::Person && self.selection.annotations == 0 {
            let why =
                "person: with selection.annotations = 0 there is no stage 2 that could take masks; give the number of pictures";
            return bad("selection.masks", why.into());
        }
        if self.selection.masks == Masks::Person && self.selection.reselect {
            let why = "true: pictures that are chosen anew in every epoch cannot be masked by a person; leave one of the two out";
            return bad("selection.reselect", why.into());
        }
        check::counts(&[
            ("lae.width", self.lae.width, 1024),
            ("lae.latent", self.lae.latent, 65_536),
            ("discriminator.width", self.discriminator.width, 1024),
            ("concept.batch", self.concept.batch, 65_536),
            ("selection.topk", self.selection.topk, self.lae.widths().last().copied().unwrap_or(1)),
            ("stage2.decay_epochs", self.stage2.decay_epochs, 1_000_000),
        ])?;
        check::positive(&[
            ("discriminator.lr", self.discriminator.lr),
            ("stage2.lr", self.stage2.lr),
            ("concept.lr", self.concept.lr),
            ("comparator.width", self.comparator.width),
            ("cam.temperature", self.cam.temperature),
        ])?;
        let l = &self.loss;
        check::not_negative(&[
            ("loss.alpha1", l.alpha1),
            ("loss.alpha2", l.alpha2),
            ("loss.beta1", l.beta1),
            ("loss.beta2", l.beta2),
            ("loss.beta3", l.beta3),
            ("loss.lambda1", l.lambda1),
            ("loss.lambda2", l.lambda2),
            ("noise.max_sigma", self.noise.max_sigma),
        ])?;
        check::decays(&[("discriminator.beta1", self.discriminator.beta1)])?;
        if let Some(w) = self.latent.windows.iter().find(|&&w| w == 0 || w > self.lae.grid) {
            let why = format!("{w} cells: the last maps have {} a side (lae.grid); give 1 to that", self.lae.grid);
            return bad("latent.windows", why);
        }
        if self.latent.windows.iter().collect::<std::collections::BTreeSet<_>>().len() < self.latent.windows.len() {
            return bad("latent.windows", "a size stands there twice; give each once".into());
        }
        check::shares(&[("latent.least", self.latent.least, "a window's pixels")])?;
        let comparator = &self.comparator;
        if comparator.width != 1.0 && comparator.weights.is_some() {
            let why = "pretrained weights (comparator.weights) have their own width; add --set comparator.width=1";
            return bad("comparator.width", format!("{}: {why}", comparator.width));
        }
        if comparator.width > 4.0 {
            return bad("comparator.width", format!("{}: give a number up to 4; 1 is VGG-16", comparator.width));
        }
        if comparator.input != 0 && !(8..=1024).contains(&comparator.input) {
            let why = format!("{} pixels: the comparator pools three times; give 0 or 8 to 1024", comparator.input);
            return bad("comparator.input", why);
        }
        if self.stage2.pool == Pool::Mixed && self.stage2.annotated_batch == 0 {
            return bad("stage2.annotated_batch", "0: a mixed step needs annotated pictures; give 1 or more".into());
        }
        if !self.stage2.active_in_latent && self.stage2.pool != Pool::Mixed {
            let why =
                "false: only a mixed step (stage2.pool = \"mixed\") has pictures beside the annotated ones; leave it at true";
            return bad("stage2.active_in_latent", why.into());
        }
        Ok(())
    }
}
