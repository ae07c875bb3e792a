//! What one step computes: the tapes of stage 1, stage 2, validation and scoring.

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
use crate::ops::adam::{Adam, adam};
use crate::ops::add::add;
use crate::ops::affine::{affine, scale};
use crate::ops::bce_logits::bce_constant;
use crate::ops::bilinear::bilinear;
use crate::ops::cam_attention::Reduce;
use crate::ops::first::first;
use crate::ops::latent::latent_loss;
use crate::ops::noise::{Noise, noise};
use crate::train::config::{BnMode, NoiseTarget, RealPictures, Target, TrainConfig, ValLoss};

/// ImageNet's channel means and deviations (§3.1.4).
pub const MEAN: [f64; 3] = [0.485, 0.456, 0.406];
pub const STD: [f64; 3] = [0.229, 0.224, 0.225];

/// Scale of `norm.target = scaled_tanh`: the brightest blue of ImageNet's normalisation.
const TANH_SCALE: f64 = 2.64;

/// All networks of a run, over one store.
pub struct Networks {
    pub lae: Lae,
    /// Absent where its loss weighs nothing.
    pub vgg: Option<Vgg>,
    pub disc: Option<Dcgan>,
    /// Mean |C(x)| of one batch; divides the perceptual loss.
    pub perceptual_unit: f64,
    /// Where their plans run.
    pub device: Device,
}

impl Networks {
    /// Add the parameters of all networks to `store`.
    pub fn build(store: &mut ParamStore, c: &TrainConfig, device: &Device) -> Result<Networks> {
        let lae = Lae::build(store, &c.lae, c.size)?;
        let disc = match c.loss.beta3 > 0.0 {
            true => Some(Dcgan::build(store, c.disc.arch, c.size, c.disc.width)?),
            false => None,
        };
        let vgg = match c.loss.beta2 > 0.0 {
            true => {
                let side = if c.comp.input == 0 { c.size } else { c.comp.input };
                let vgg = Vgg::build(store, side, &c.comp.layer, c.comp.post_relu, c.comp.width)?;
                if let Some(file) = &c.comp.weights {
                    Vgg::load(store, file)?;
                }
                Some(vgg)
            }
            false => None,
        };
        Ok(Networks { lae, vgg, disc, perceptual_unit: 1.0, device: device.clone().with_precision(c.precision) })
    }
}

fn imagenet(t: &mut Tape, x01: Var) -> Result<Var> {
    let scale = STD.map(|s| 1.0 / s);
    affine(t, x01, &scale, &std::array::from_fn::<f64, 3, _>(|i| -MEAN[i] / STD[i]))
}

/// A picture of the comparison space, as the comparator wants it: ImageNet-normalised.
fn for_comparator(t: &mut Tape, c: &TrainConfig, y: Var) -> Result<Var> {
    let y = match c.norm.target {
        // x01 = (y + 1)/2, then normalised.
        Target::Pm1 => affine(t, y, &STD.map(|s| 0.5 / s), &std::array::from_fn::<f64, 3, _>(|i| (0.5 - MEAN[i]) / STD[i]))?,
        Target::Imagenet | Target::ScaledTanh => y,
    };
    if c.comp.input == 0 || c.comp.input == c.size { Ok(y) } else { bilinear(t, y, c.comp.input, c.comp.input, false) }
}

/// A picture in [0, 1] in the comparison space.
fn to_target(t: &mut Tape, c: &TrainConfig, x01: Var) -> Result<Var> {
    match c.norm.target {
        Target::Pm1 => affine(t, x01, &[2.0], &[-1.0]),
        Target::Imagenet | Target::ScaledTanh => imagenet(t, x01),
    }
}

/// The mean of |C(x)| over a batch, so that a random comparator's loss has the size of a relative error.
pub fn perceptual_unit(c: &TrainConfig, nets: &Networks, store: &mut ParamStore, batch: &Batch) -> Result<f64> {
    let Some(vgg) = &nets.vgg else { return Ok(1.0) };
    let mut t = Tape::new(store);
    let x = t.input(pictures(batch.n, c.size));
    let y = to_target(&mut t, c, x)?;
    let y = for_comparator(&mut t, c, y)?;
    let features = vgg.run(&mut t, y)?;
    let mut plan = Plan::on(&nets.device, t, &[features], Memory::Planned)?;
    plan.feed(x)?.copy_from_slice(&batch.x);
    plan.run(store)?;
    let f = plan.fetch(features)?;
    Ok((f.iter().map(|x| x.abs() as f64).sum::<f64>() / f.len() as f64).max(1e-12))
}

fn pictures(n: usize, size: usize) -> Shape {
    shape(n, size, size, 3)
}

/// The terms of equation 2 as they were computed.
#[derive(Debug, Clone, Copy, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Terms {
    pub total: f64,
    pub latent: f64,
    pub pixel: f64,
    pub perceptual: f64,
    pub adversarial: f64,
    pub discriminator: f64,
    /// Share of the batch on the right side of a_T > a_F.
    pub accuracy: f64,
}

/// Weighted sum of recorded scalars.
fn weighted(t: &mut Tape, terms: &[(f64, Var)]) -> Result<Var> {
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
        None => t.apply(crate::ops::fill::Fill { shape: Shape::SCALAR, value: 0.0 }, &[]),
    }
}

/// Means over the batch become sums if the configuration says so.
fn batch_factor(c: &TrainConfig, n: usize) -> f64 {
    match c.reduce {
        Reduce::Mean => 1.0,
        Reduce::Sum => n as f64,
    }
}

struct Recorded {
    total: Var,
    latent: Var,
    act: Var,
    pixel: Option<Var>,
    perceptual: Option<Var>,
    adversarial: Option<Var>,
    loss_d: Option<Var>,
}

/// Equation 2 on pictures `x01` (clean) and `noisy`; with the discriminator's own step first if `train` is given.
#[allow(clippy::too_many_arguments)]
fn record(
    t: &mut Tape,
    c: &TrainConfig,
    nets: &Networks,
    clean: Var,
    noisy: Var,
    label: Var,
    mode: Mode,
    adversarial: bool,
    train: Option<(Var, Option<Var>)>,
) -> Result<Recorded> {
    let n = t.shape(clean).n as usize;
    let input = imagenet(t, noisy)?;
    let code = nets.lae.encode(t, input, mode)?;
    let (latent, act) = latent_loss(t, code.z, label)?;
    let mut terms = vec![(c.loss.alpha2 * batch_factor(c, n), latent)];
    let (mut pixel, mut perceptual, mut adv, mut loss_d) = (None, None, None, None);
    if c.loss.alpha1 > 0.0 {
        let source = if c.noise.target == NoiseTarget::Noisy { noisy } else { clean };
        let target = to_target(t, c, source)?;
        let recon = nets.lae.decode(t, &code, mode)?;
        let recon = if c.norm.target == Target::ScaledTanh { scale(t, recon, TANH_SCALE)? } else { recon };
        let factor = c.loss.alpha1 * batch_factor(c, n);
        if c.loss.beta1 > 0.0 {
            let loss = t.apply(c.rec.pixel.op(), &[recon, target])?;
            terms.push((factor * c.loss.beta1, loss));
            pixel = Some(loss);
        }
        if let Some(vgg) = &nets.vgg {
            let (a, b) = (for_comparator(t, c, recon)?, for_comparator(t, c, target)?);
            // C(x) first: its maps are forgotten as it goes, while those of C(x̂) must wait for the backward pass.
            let b = vgg.run(t, b)?;
            let a = vgg.run(t, a)?;
            let loss = t.apply(c.rec.perc.op(), &[a, b])?;
            let power = if c.rec.perc == crate::train::config::Distance::Mae { 1 } else { 2 };
            let loss = scale(t, loss, nets.perceptual_unit.powi(-power))?;
            terms.push((factor * c.loss.beta2, loss));
            perceptual = Some(loss);
        }
        if let Some(disc) = nets.disc.as_ref().filter(|_| adversarial) {
            if let Some((hyper_d, real)) = train {
                // Equation 6: the discriminator steps first, on the reconstruction as it is (no gradient leaves D's parameters).
                let real = match real {
                    Some(x01) => to_target(t, c, x01)?,
                    None => target,
                };
                let d_real = disc.run(t, real, mode)?;
                let d_fake = disc.run(t, recon, mode)?;
                let (r, f) = (bce_constant(t, d_real, 1.0)?, bce_constant(t, d_fake, 0.0)?);
                let loss = add(t, r, f)?;
                let wrt = t.trained(&disc.group);
                t.scope("discriminator", |t| t.backward(loss, &wrt))?;
                adam(t, &disc.group, disc_adam(c), hyper_d)?;
                loss_d = Some(loss);
            }
            let logits = disc.run(t, recon, mode)?;
            let loss = bce_constant(t, logits, 1.0)?;
            terms.push((factor * c.loss.beta3, loss));
            adv = Some(loss);
        }
    }
    let total = weighted(t, &terms)?;
    Ok(Recorded { total, latent, act, pixel, perceptual, adversarial: adv, loss_d })
}

fn disc_adam(c: &TrainConfig) -> Adam {
    Adam { beta1: c.disc.beta1, beta2: c.train.beta2, eps: 1e-8 }
}
fn lae_adam(c: &TrainConfig) -> Adam {
    Adam { beta1: c.train.beta1, beta2: c.train.beta2, eps: 1e-8 }
}

impl Recorded {
    fn fetch(&self) -> Vec<Var> {
        let optional = [self.pixel, self.perceptual, self.adversarial, self.loss_d];
        [self.total, self.latent, self.act].into_iter().chain(optional.into_iter().flatten()).collect()
    }
    fn terms(&self, plan: &Plan, label: &[f32]) -> Result<Terms> {
        let get = |v: Option<Var>| v.map_or(Ok(0.0), |v| plan.scalar(v));
        Ok(Terms {
            total: plan.scalar(self.total)?,
            latent: plan.scalar(self.latent)?,
            pixel: get(self.pixel)?,
            perceptual: get(self.perceptual)?,
            adversarial: get(self.adversarial)?,
            discriminator: get(self.loss_d)?,
            accuracy: accuracy(plan.fetch(self.act)?, label),
        })
    }
}

/// Share of the pictures in `act` called as they are: true if and only if a_T > a_F (§2.2; a tie is fake).
fn accuracy(act: &[f32], label: &[f32]) -> f64 {
    let right = act.chunks(2).zip(label).filter(|(a, l)| (a[0] > a[1]) == (**l == 1.0)).count();
    right as f64 / (act.len() / 2) as f64
}

/// One step of stage 1: discriminator, then autoencoder.
pub struct Stage1 {
    pub plan: Plan,
    x: Var,
    real: Option<Var>,
    label: Var,
    step: Var,
    hyper: Var,
    hyper_d: Var,
    recorded: Recorded,
    lae_adam: Adam,
    disc_adam: Adam,
}

impl Stage1 {
    pub fn new(c: &TrainConfig, nets: &Networks, store: &ParamStore) -> Result<Stage1> {
        let n = c.train.batch;
        let mut t = Tape::new(store);
        let x = t.input(pictures(n, c.size));
        let label = t.input(shape(n, 1, 1, 1));
        let step = t.input(Shape::SCALAR);
        let (hyper, hyper_d) = (t.input(Shape::vector(2)), t.input(Shape::vector(2)));
        // Batches are ordered true first: the first half is the discriminator's if it shall see true pictures only.
        let real = (c.disc.real == RealPictures::TrueOnly).then(|| t.input(pictures(n / 2, c.size)));
        let noisy = noise(&mut t, x, step, noise_op(c))?;
        let recorded = record(&mut t, c, nets, x, noisy, label, Mode::Train, true, Some((hyper_d, real)))?;
        let wrt = t.trained(&nets.lae.group);
        t.scope("autoencoder", |t| t.backward(recorded.total, &wrt))?;
        adam(&mut t, &nets.lae.group, lae_adam(c), hyper)?;
        let plan = Plan::on(&nets.device, t, &recorded.fetch(), Memory::Planned)?;
        Ok(Stage1 { plan, x, real, label, step, hyper, hyper_d, recorded, lae_adam: lae_adam(c), disc_adam: disc_adam(c) })
    }

    /// Step number `t` = 1, 2, … with the two learning rates.
    pub fn run(&mut self, store: &mut ParamStore, batch: &Batch, t: u64, lr: f64, lr_d: f64) -> Result<Terms> {
        self.feed(batch, t, lr, lr_d)?;
        self.plan.run(store)?;
        self.recorded.terms(&self.plan, &batch.label_true)
    }

    /// The inputs of a step, without running it.
    pub fn feed(&mut self, batch: &Batch, t: u64, lr: f64, lr_d: f64) -> Result<()> {
        self.plan.feed(self.x)?.copy_from_slice(&batch.x);
        self.plan.feed(self.label)?.copy_from_slice(&batch.label_true);
        self.plan.feed(self.step)?[0] = t as f32;
        self.plan.feed(self.hyper)?.copy_from_slice(&self.lae_adam.hyper(lr, t));
        self.plan.feed(self.hyper_d)?.copy_from_slice(&self.disc_adam.hyper(lr_d, t));
        if let Some(real) = self.real {
            let half = self.plan.shape(real).len();
            self.plan.feed(real)?.copy_from_slice(&batch.x[..half]);
        }
        Ok(())
    }
}

fn noise_op(c: &TrainConfig) -> Noise {
    Noise { seed: c.seed, max_sigma: c.noise.max_sigma, clip: c.noise.clip }
}

/// The validation loss: batch norm with running statistics, no noise; means over the batch, whatever `reduce` says.
pub struct Validator {
    plan: Plan,
    x: Var,
    label: Var,
    recorded: Recorded,
    latent_only: bool,
}

impl Validator {
    pub fn new(c: &TrainConfig, nets: &Networks, store: &ParamStore, n: usize) -> Result<Validator> {
        let mut t = Tape::new(store);
        let x = t.input(pictures(n, c.size));
        let label = t.input(shape(n, 1, 1, 1));
        let adversarial = !c.val.excludes_adv;
        let c = &TrainConfig { reduce: Reduce::Mean, ..c.clone() };
        let recorded = record(&mut t, c, nets, x, x, label, Mode::Eval, adversarial, None)?;
        let plan = Plan::on(&nets.device, t, &recorded.fetch(), Memory::Planned)?;
        Ok(Validator { plan, x, label, recorded, latent_only: c.val.loss == ValLoss::Latent })
    }
    pub fn run(&mut self, store: &mut ParamStore, batch: &Batch) -> Result<Terms> {
        self.plan.feed(self.x)?.copy_from_slice(&batch.x);
        self.plan.feed(self.label)?.copy_from_slice(&batch.label_true);
        self.plan.run(store)?;
        let mut terms = self.recorded.terms(&self.plan, &batch.label_true)?;
        if self.latent_only {
            terms.total = terms.latent;
        }
        Ok(terms)
    }
}

/// What the network says of pictures: activations, attention maps, GAP features. The only plan that `detect` needs.
pub struct Scorer {
    pub batch: usize,
    /// Side of the attention map.
    pub grid: usize,
    plan: Plan,
    x: Var,
    act: Var,
    map: Var,
    features: Var,
}

/// One scored picture.
#[derive(Debug, Clone, PartialEq)]
pub struct Verdict {
    pub a_true: f32,
    pub a_fake: f32,
    /// grid × grid, normalised as the configuration says.
    pub map: Vec<f32>,
}

impl Verdict {
    /// a_F / (a_F + a_T), 0.5 where both vanish.
    pub fn p_fake(&self) -> f64 {
        let (t, f) = (self.a_true as f64, self.a_fake as f64);
        if t + f > 0.0 { f / (t + f) } else { 0.5 }
    }
    /// The paper's rule: true if a_T > a_F, else fake.
    pub fn called_fake(&self) -> bool {
        self.a_true <= self.a_fake
    }
}

impl Scorer {
    pub fn new(device: &Device, c: &TrainConfig, lae: &Lae, store: &ParamStore, batch: usize) -> Result<Scorer> {
        let mut t = Tape::new(store);
        let x = t.input(pictures(batch, c.size));
        let input = imagenet(&mut t, x)?;
        let code = lae.encode(&mut t, input, Mode::Eval)?;
        let label = t.input(shape(batch, 1, 1, 1));
        let (_, act) = latent_loss(&mut t, code.z, label)?;
        // The map is what the fused loss computes on its way; no mask is selected.
        let (mask, none) = (t.input(shape(batch, 1, 1, 1)), t.input(shape(batch, 1, 1, 1)));
        let map = lae.attention(&mut t, c.cam_op(), code.f, mask, none)?.map;
        let plan = Plan::on(device, t, &[act, map, code.g], Memory::Planned)?;
        Ok(Scorer { batch, grid: c.lae.grid, plan, x, act, map, features: code.g })
    }

    /// Up to `batch` pictures of `size`·`size`·3 values in [0, 1].
    pub fn run(&mut self, store: &mut ParamStore, x01: &[f32]) -> Result<Vec<Verdict>> {
        let each = self.plan.shape(self.x).per_image();
        let n = x01.len() / each;
        let input = self.plan.feed(self.x)?;
        input[..x01.len()].copy_from_slice(x01);
        input[x01.len()..].fill(0.0);
        self.plan.run(store)?;
        let maps = self.plan.fetch(self.map)?.chunks(self.grid * self.grid);
        let acts = self.plan.fetch(self.act)?.chunks(2);
        Ok(acts.zip(maps).take(n).map(|(a, m)| Verdict { a_true: a[0], a_fake: a[1], map: m.to_vec() }).collect())
    }

    /// GAP features u of the pictures of the last run, one row each.
    pub fn features(&self) -> Result<impl Iterator<Item = &[f32]>> {
        Ok(self.plan.fetch(self.features)?.chunks(self.plan.shape(self.features).c as usize))
    }
}

/// One step of stage 2 (eq. 12): the encoder alone.
pub struct Stage2 {
    pub plan: Plan,
    n: usize,
    x: Var,
    label: Var,
    mask: Var,
    select: Var,
    step: Var,
    hyper: Var,
    total: Var,
    latent: Var,
    attention: Var,
    act: Var,
    adam: Adam,
}

/// Terms of equation 12.
#[derive(Debug, Clone, Copy, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Terms2 {
    pub total: f64,
    pub latent: f64,
    pub attention: f64,
    pub accuracy: f64,
}

impl Stage2 {
    /// Pictures per step: `n_full` of the training set, then `n_att` annotated ones.
    pub fn new(c: &TrainConfig, nets: &Networks, store: &ParamStore, n_full: usize, n_att: usize) -> Result<Stage2> {
        let lae = &nets.lae;
        let n = n_full + n_att;
        let mut t = Tape::new(store);
        let x = t.input(pictures(n, c.size));
        let (label, select) = (t.input(shape(n, 1, 1, 1)), t.input(shape(n, 1, 1, 1)));
        let mask = t.input(shape(n, c.size, c.size, 1));
        let step = t.input(Shape::SCALAR);
        let hyper = t.input(Shape::vector(2));
        let noisy = noise(&mut t, x, step, Noise { seed: c.seed ^ 2, ..noise_op(c) })?;
        let input = imagenet(&mut t, noisy)?;
        let mode = if c.ft.bn_mode == BnMode::Train { Mode::Train } else { Mode::Eval };
        let code = lae.encode(&mut t, input, mode)?;
        let counted = if c.ft.active_in_latent { n } else { n_full };
        let (z, of) = match counted == n {
            true => (code.z, label),
            false => (first(&mut t, code.z, counted)?, first(&mut t, label, counted)?),
        };
        let (latent, act) = latent_loss(&mut t, z, of)?;
        let attention = lae.attention(&mut t, c.cam_op(), code.f, mask, select)?.loss;
        // Both are means, the second over the annotated pictures; with `ft.pool = full` their number differs from step to step.
        let (k, k_att) = (batch_factor(c, counted), batch_factor(c, if n_att > 0 { n_att } else { n }));
        let total = weighted(&mut t, &[(c.loss.lambda1 * k, latent), (c.loss.lambda2 * k_att, attention)])?;
        let wrt = t.trained(&lae.encoder_group);
        t.backward(total, &wrt)?;
        adam(&mut t, &lae.encoder_group, lae_adam(c), hyper)?;
        let plan = Plan::on(&nets.device, t, &[total, latent, attention, act], Memory::Planned)?;
        Ok(Stage2 { plan, n, x, label, mask, select, step, hyper, total, latent, attention, act, adam: lae_adam(c) })
    }

    /// `select[i]` = 1 where the mask of picture i counts.
    pub fn run(&mut self, store: &mut ParamStore, batch: &Batch, select: &[f32], t: u64, lr: f64) -> Result<Terms2> {
        assert_eq!(batch.n, self.n, "a stage-2 step has a fixed size");
        self.plan.feed(self.x)?.copy_from_slice(&batch.x);
        self.plan.feed(self.label)?.copy_from_slice(&batch.label_true);
        self.plan.feed(self.mask)?.copy_from_slice(&batch.mask);
        self.plan.feed(self.select)?.copy_from_slice(select);
        self.plan.feed(self.step)?[0] = t as f32;
        self.plan.feed(self.hyper)?.copy_from_slice(&self.adam.hyper(lr, t));
        self.plan.run(store)?;
        Ok(Terms2 {
            total: self.plan.scalar(self.total)?,
            latent: self.plan.scalar(self.latent)?,
            attention: self.plan.scalar(self.attention)?,
            accuracy: accuracy(self.plan.fetch(self.act)?, &batch.label_true),
        })
    }
}
