//! The Locality-Aware AutoEncoder: Algorithm 1 of Du, Pentyala, Li, Hu: "Towards Generalizable Deepfake Detection with
//! Locality-Aware AutoEncoder", CIKM 2020, arXiv 1909.05999.
//!
//! ```text
//! stage 1   autoencoder (eq. 2) and discriminator (eq. 6), early stopping
//! stage 2   encoder alone, with the attention loss on annotated fakes (eq. 12)
//! ```

pub mod config;

use config::{BatchNorm, Distance, LaeKeys, NoiseTarget, RealPictures, Target, ValidationLoss};

use crate::core::dtype::DType;
use crate::core::params::ParamStore;
use crate::core::plan::{Memory, Plan};
use crate::core::shape::{Shape, shape};
use crate::core::tape::{Tape, Var};
use crate::data::dataset::Batch;
use crate::device::Device;
use crate::error::Result;
use crate::models::dcgan::Dcgan;
use crate::models::lae::Lae;
use crate::models::vgg::Vgg;
use crate::nn::Mode;
use crate::ops::add::add;
use crate::ops::affine::{affine, scale};
use crate::ops::bce_logits::bce_constant;
use crate::ops::bilinear::bilinear;
use crate::ops::cam_attention::Reduce;
use crate::ops::cast::cast;
use crate::ops::first::first;
use crate::ops::latent::{latent_loss, weighted_latent_loss};
use crate::ops::linear::linear;
use crate::ops::noise::{Noise, noise};
use crate::train::TrainConfig;
use crate::train::annotated::{Annotated, Pool};
use crate::train::detector::{
    Attention, Detector, Draw, Entry, Judgement, Local, MEAN, Network, Purpose, STD, Schedule, Scores, Space, Stage, check_as,
    defaults_of, parse_as,
};
use crate::train::recorder::{Optimiser, Rate, Recorder, Windows};

pub static ENTRY: Entry = Entry {
    name: "lae",
    title: "Locality-Aware AutoEncoder",
    source: "Du, Pentyala, Li, Hu: CIKM 2020, arXiv 1909.05999",
    presets: include_str!("presets.toml"),
    defaults: defaults_of::<LaeKeys>,
    parse: parse_as::<LaeKeys>,
    check: check_as::<LaeKeys>,
    files: &["comparator.weights"],
    later: &["selection", "concept", "stage2", "cam", "attention", "loss.lambda1", "loss.lambda2"],
    former: config::FORMER,
    build,
};

/// Scale of `norm.target = scaled_tanh`: the brightest blue of ImageNet's normalisation.
const TANH_SCALE: f64 = 2.64;

struct Method {
    c: TrainConfig,
    k: LaeKeys,
    lae: Lae,
    /// Absent where its loss weighs nothing.
    vgg: Option<Vgg>,
    disc: Option<Dcgan>,
    /// Mean |C(x)| of one batch; divides the perceptual loss.
    perceptual_unit: f64,
}

fn build(c: &TrainConfig, store: &mut ParamStore, purpose: Purpose) -> Result<Box<dyn Detector>> {
    let k: LaeKeys = c.own();
    let mut lae = Lae::build(store, &k.lae, c.size)?;
    let (mut disc, mut vgg) = (None, None);
    lae.add_windows(store, &k.latent.windows);
    if purpose == Purpose::Train && k.loss.beta3 > 0.0 {
        disc = Some(Dcgan::build(store, k.discriminator.arch, c.size, k.discriminator.width)?);
    }
    if purpose == Purpose::Train && k.loss.beta2 > 0.0 {
        let comparator = &k.comparator;
        let side = if comparator.input == 0 { c.size } else { comparator.input };
        vgg = Some(Vgg::build(store, side, &comparator.layer, comparator.post_relu, comparator.width)?);
        if let Some(file) = &comparator.weights {
            Vgg::load(store, file)?;
        }
    }
    Ok(Box::new(Method { c: c.clone(), k, lae, vgg, disc, perceptual_unit: 1.0 }))
}

impl Detector for Method {
    fn space(&self) -> Space {
        Space::Imagenet
    }

    fn stages(&self) -> Vec<Stage> {
        let (t, k) = (&self.c.train, &self.k);
        let watch = if k.validation.loss == ValidationLoss::Latent { "latent" } else { "total" };
        let first = Stage { name: "stage 1", ..Stage::training(&self.c, watch) };
        if k.selection.annotations == 0 {
            return vec![first];
        }
        let annotated = Annotated {
            pool: k.stage2.pool,
            batch: k.stage2.annotated_batch,
            selection: k.selection.clone(),
            concept: k.concept.clone(),
        };
        let second = Stage {
            name: "stage 2",
            epochs: k.stage2_epochs(),
            batch: t.batch,
            epoch_steps: k.stage2.epoch_steps,
            schedule: Schedule::TenthEvery(k.stage2.decay_epochs),
            patience: None,
            watch: "total",
            draw: Draw::Annotated(annotated),
            fresh_moments: k.stage2.reset_adam,
        };
        vec![first, second]
    }

    fn record(&self, r: &mut Recorder, stage: usize) -> Result<Var> {
        if stage == 0 { self.stage1(r) } else { self.stage2(r) }
    }

    fn verdict(&self, r: &mut Recorder) -> Result<Scores> {
        let (x, n) = (r.pictures(), r.n());
        let t = &mut r.tape;
        let input = self.space().of(t, x)?;
        let code = self.lae.encode(t, input, Mode::Eval)?;
        let label = t.input(shape(n, 1, 1, 1));
        let (_, values) = latent_loss(t, code.z, label, self.k.latent.distance)?;
        let values = self.activations_of_windows(t, code.f)?.unwrap_or(values);
        // The map is what the fused loss computes on its way; no mask is selected.
        let (mask, none) = (t.input(shape(n, 1, 1, 1)), t.input(shape(n, 1, 1, 1)));
        let map = self.lae.attention(t, self.k.cam_op(), code.f, mask, none)?.map;
        Ok(Scores { values, names: &["a_true", "a_fake"], map: Some(Attention::Own(map)), features: Some(code.g) })
    }

    fn local(&self, r: &mut Recorder) -> Result<Option<Local>> {
        let x = r.pictures();
        let t = &mut r.tape;
        let input = self.space().of(t, x)?;
        Ok(Some(Local { features: self.lae.encode(t, input, Mode::Eval)?.f, reach: self.lae.reach() }))
    }

    fn head(&self, r: &mut Recorder, mean: Var) -> Result<Var> {
        let label = r.label();
        let t = &mut r.tape;
        let [w, b] = self.lae.head().map(|id| t.param(id));
        let z = linear(t, mean, w, Some(b))?;
        Ok(latent_loss(t, z, label, self.k.latent.distance)?.1)
    }

    /// True if and only if a_T > a_F (§2.2; a tie is fake); p_fake = a_F / (a_F + a_T), 0.5 where both vanish. Of several windows the
    /// one with the largest a_F − a_T decides.
    fn judge(&self, row: &[f32]) -> Judgement {
        let row = self.decisive(row);
        let (t, f) = (row[0] as f64, row[1] as f64);
        Judgement { p_fake: if t + f > 0.0 { f / (t + f) } else { 0.5 }, fake: row[0] <= row[1], evidence: f - t }
    }

    fn decisive<'a>(&self, row: &'a [f32]) -> &'a [f32] {
        let evidence = |w: &&[f32]| w[1] - w[0];
        row.chunks_exact(2).max_by(|a, b| evidence(a).total_cmp(&evidence(b))).unwrap_or(row)
    }

    fn networks(&self) -> Vec<Network<'_>> {
        let net = |model, title, net, group: &crate::core::params::Group, trained| Network {
            model,
            title,
            net,
            group: group.clone(),
            trained,
        };
        let mut all = vec![
            net("lae", "LAE encoder", &self.lae.encoder, &self.lae.encoder_group, true),
            net("lae", "LAE decoder", &self.lae.decoder, &self.lae.decoder_group, true),
        ];
        all.extend(self.vgg.as_ref().map(|v| net("vgg", "comparator", &v.net, &v.group, false)));
        all.extend(self.disc.as_ref().map(|d| net("dcgan", "discriminator", &d.net, &d.group, true)));
        all
    }

    fn notices(&self) -> Vec<String> {
        let mut out = Vec::new();
        let comparator = &self.k.comparator;
        if self.vgg.is_some() && comparator.weights.is_none() {
            let width = if comparator.width == 1.0 { String::new() } else { format!(", {} of its width", comparator.width) };
            out.push(format!("the comparator (VGG-16 to {}{width}) has random weights", comparator.layer));
        }
        if !self.k.latent.windows.is_empty() {
            out.push(
                "the masks of all training fakes label their windows (latent.windows): more than the paper's labels of pictures"
                    .into(),
            );
        }
        if self.k.selection.annotations == 0 {
            out.push("no annotations were asked for (selection.annotations = 0): there is no stage 2".into());
        }
        out
    }

    fn needs_calibration(&self) -> bool {
        self.vgg.is_some() && self.k.comparator.weights.is_none() && self.k.comparator.calibrate
    }

    /// The mean of |C(x)| over a batch, so that a random comparator's loss has the size of a relative error.
    fn calibrate(&mut self, store: &mut ParamStore, device: &Device, few: &Batch) -> Result<()> {
        let Some(vgg) = &self.vgg else { return Ok(()) };
        let mut t = Tape::new(store);
        let x = t.input(shape(few.n, self.c.size, self.c.size, 3));
        let y = self.to_target(&mut t, x)?;
        let y = self.for_comparator(&mut t, y)?;
        let features = vgg.run(&mut t, y)?;
        let features = cast(&mut t, features, DType::F32)?;
        let mut plan = Plan::on(device, t, &[features], Memory::Planned)?;
        plan.feed(x)?.copy_from_slice(&few.x);
        plan.run(store)?;
        let f = plan.fetch(features)?;
        self.perceptual_unit = (f.iter().map(|x| x.abs() as f64).sum::<f64>() / f.len() as f64).max(1e-12);
        Ok(())
    }
}

impl Method {
    /// Equation 2 on a batch; in training the discriminator's own step (eq. 6) comes first and noise is added. In evaluation the
    /// terms are means over the batch, whatever `reduce` says.
    fn stage1(&self, r: &mut Recorder) -> Result<Var> {
        let (c, k) = (&self.c, &self.k);
        let (clean, label, mode, training) = (r.pictures(), r.label(), r.mode(), r.training());
        let noisy = if training { self.noisy(r, clean, c.seed)? } else { clean };
        let t = &mut r.tape;
        let input = self.space().of(t, noisy)?;
        let code = self.lae.encode(t, input, mode)?;
        let (latent, act) = latent_loss(t, code.z, label, self.k.latent.distance)?;
        let (latent, act) = self.latent_of_windows(r, code.f)?.unwrap_or((latent, act));
        r.term("latent", latent);
        let factor = self.batch_factor(r, r.n());
        let mut terms = vec![(k.loss.alpha2 * factor, latent)];
        if k.loss.alpha1 > 0.0 {
            let t = &mut r.tape;
            let source = if k.noise.target == NoiseTarget::Noisy { noisy } else { clean };
            let target = self.to_target(t, source)?;
            let recon = self.lae.decode(t, &code, mode)?;
            let recon = if k.norm.target == Target::ScaledTanh { scale(t, recon, TANH_SCALE)? } else { recon };
            let factor = k.loss.alpha1 * factor;
            if k.loss.beta1 > 0.0 {
                let loss = t.apply(k.reconstruction.pixel.op(), &[recon, target])?;
                r.term("pixel", loss);
                terms.push((factor * k.loss.beta1, loss));
            }
            if let Some(vgg) = &self.vgg {
                let loss = self.perceptual(&mut r.tape, vgg, recon, target)?;
                r.term("perceptual", loss);
                terms.push((factor * k.loss.beta2, loss));
            }
            if let Some(disc) = self.disc.as_ref().filter(|_| training || !k.validation.excludes_adversarial) {
                if training {
                    self.discriminator_step(r, disc, clean, target, recon)?;
                }
                let logits = disc.run(&mut r.tape, recon, mode)?;
                let loss = bce_constant(&mut r.tape, logits, 1.0)?;
                r.term("adversarial", loss);
                terms.push((factor * k.loss.beta3, loss));
            }
        }
        let total = r.weighted(&terms)?;
        r.minimise("total", total, &self.lae.group, self.adam(), Rate::new("train.lr", c.train.lr))?;
        Ok(act)
    }

    /// The mean latent loss over windows of every size, and the activations of the largest ones, if the configuration names any.
    fn latent_of_windows(&self, r: &mut Recorder, f: Var) -> Result<Option<(Var, Var)>> {
        let (sizes, cell) = (&self.k.latent.windows, self.c.size / self.k.lae.grid);
        let (mut losses, mut largest) = (Vec::new(), (0, None));
        for &cells in sizes {
            let every = (cells / 4).max(1);
            let of = Windows { side: cells * cell, step: every * cell, least: self.k.latent.least };
            let (label, weight) = r.windows(of);
            let z = self.lae.windows(&mut r.tape, f, cells, every)?;
            let (loss, act) = weighted_latent_loss(&mut r.tape, z, label, weight, self.k.latent.distance)?;
            losses.push((1.0 / sizes.len() as f64, loss));
            if cells > largest.0 {
                largest = (cells, Some(act));
            }
        }
        let Some(act) = largest.1 else { return Ok(None) };
        Ok(Some((r.weighted(&losses)?, act)))
    }

    /// The activations of the largest windows that have a loss, if the configuration names any.
    fn activations_of_windows(&self, t: &mut Tape, f: Var) -> Result<Option<Var>> {
        let Some(&cells) = self.k.latent.windows.iter().max() else { return Ok(None) };
        let z = self.lae.windows(t, f, cells, (cells / 4).max(1))?;
        let s = t.shape(z);
        let label = t.input(Shape { c: 1, ..s });
        Ok(Some(latent_loss(t, z, label, self.k.latent.distance)?.1))
    }

    /// Equation 5's distance of the comparator's features.
    fn perceptual(&self, t: &mut Tape, vgg: &Vgg, recon: Var, target: Var) -> Result<Var> {
        let (a, b) = (self.for_comparator(t, recon)?, self.for_comparator(t, target)?);
        // C(x) first: its maps are forgotten as it goes, while those of C(x̂) must wait for the backward pass.
        let b = vgg.run(t, b)?;
        let a = vgg.run(t, a)?;
        let loss = t.apply(self.k.reconstruction.perceptual.op(), &[a, b])?;
        let power = if self.k.reconstruction.perceptual == Distance::Mae { 1 } else { 2 };
        scale(t, loss, self.perceptual_unit.powi(-power))
    }

    /// Equation 6, on the reconstruction as it is: no gradient leaves the discriminator's parameters.
    fn discriminator_step(&self, r: &mut Recorder, disc: &Dcgan, clean: Var, target: Var, recon: Var) -> Result<()> {
        let (mode, n) = (r.mode(), r.n());
        let t = &mut r.tape;
        let real = match self.k.discriminator.real {
            RealPictures::All => target,
            // Batches are ordered true first.
            RealPictures::TrueOnly => {
                let half = first(t, clean, n / 2)?;
                self.to_target(t, half)?
            }
        };
        let d_real = disc.run(t, real, mode)?;
        let d_fake = disc.run(t, recon, mode)?;
        let (a, b) = (bce_constant(t, d_real, 1.0)?, bce_constant(t, d_fake, 0.0)?);
        let loss = add(t, a, b)?;
        let adam = Optimiser::adam(self.k.discriminator.beta1, self.c.train.beta2);
        r.minimise("discriminator", loss, &disc.group, adam, Rate::new("discriminator.lr", self.k.discriminator.lr))
    }

    /// Equation 12: the encoder alone. The pictures of the training set come first, annotated ones behind them.
    fn stage2(&self, r: &mut Recorder) -> Result<Var> {
        let (c, k) = (&self.c, &self.k);
        let n = r.n();
        let n_full = if k.stage2.pool == Pool::ActivePlusTrue { c.train.batch / 2 } else { c.train.batch };
        let (x, label, mask, select) = (r.pictures(), r.label(), r.mask(), r.select());
        let noisy = self.noisy(r, x, c.seed ^ 2)?;
        let t = &mut r.tape;
        let input = self.space().of(t, noisy)?;
        let mode = if k.stage2.batch_norm == BatchNorm::Train { r.mode() } else { Mode::Eval };
        let t = &mut r.tape;
        let code = self.lae.encode(t, input, mode)?;
        let counted = if k.stage2.active_in_latent { n } else { n_full };
        let (z, of) = match counted == n {
            true => (code.z, label),
            false => (first(t, code.z, counted)?, first(t, label, counted)?),
        };
        let (latent, act) = latent_loss(t, z, of, self.k.latent.distance)?;
        let (latent, act) = self.latent_of_windows(r, code.f)?.unwrap_or((latent, act));
        let t = &mut r.tape;
        let attention = self.lae.attention(t, k.cam_op(), code.f, mask, select)?.loss;
        r.term("latent", latent);
        r.term("attention", attention);
        // Both are means, the second over the annotated pictures; with `stage2.pool = full` their number differs from step to step.
        let annotated = if n > n_full { n - n_full } else { n };
        let (a, b) = (self.batch_factor(r, counted), self.batch_factor(r, annotated));
        let total = r.weighted(&[(k.loss.lambda1 * a, latent), (k.loss.lambda2 * b, attention)])?;
        r.minimise("total", total, &self.lae.encoder_group, self.adam(), Rate::new("stage2.lr", k.stage2.lr))?;
        Ok(act)
    }

    /// Noise augmentation (§2.4), with its own stream of random numbers.
    fn noisy(&self, r: &mut Recorder, x: Var, seed: u64) -> Result<Var> {
        let step = r.step();
        noise(&mut r.tape, x, step, Noise { seed, max_sigma: self.k.noise.max_sigma, clip: self.k.noise.clip })
    }

    fn adam(&self) -> Optimiser {
        Optimiser::adam(self.c.train.beta1, self.c.train.beta2)
    }

    /// What makes a mean over `n` pictures a sum, if the configuration asks for sums.
    fn batch_factor(&self, r: &Recorder, n: usize) -> f64 {
        match self.k.reduce {
            Reduce::Sum if r.training() => n as f64,
            _ => 1.0,
        }
    }

    /// A picture of the comparison space, as the comparator wants it: ImageNet-normalised.
    fn for_comparator(&self, t: &mut Tape, y: Var) -> Result<Var> {
        let y = match self.k.norm.target {
            // x01 = (y + 1)/2, then normalised.
            Target::Pm1 => affine(t, y, &STD.map(|s| 0.5 / s), &std::array::from_fn::<f64, 3, _>(|i| (0.5 - MEAN[i]) / STD[i]))?,
            Target::Imagenet | Target::ScaledTanh => y,
        };
        let side = self.k.comparator.input;
        if side == 0 || side == self.c.size { Ok(y) } else { bilinear(t, y, side, side, false) }
    }

    /// A picture in [0, 1] in the comparison space.
    fn to_target(&self, t: &mut Tape, x01: Var) -> Result<Var> {
        match self.k.norm.target {
            Target::Pm1 => Space::Symmetric.of(t, x01),
            Target::Imagenet | Target::ScaledTanh => Space::Imagenet.of(t, x01),
        }
    }
}
