//! A run: Algorithm 1 from the first step to the report, in a folder, resumable at any moment.
//!
//! ```text
//! stage 1      autoencoder and discriminator, early stopping            → stage1.safetensors (lowest validation loss)
//! selection    linear concept model, ranking, which fakes to annotate   → selection.json
//! stage 2      encoder with the attention loss on the annotated fakes   → model.safetensors
//! evaluation   seen and unseen test sets, maps before and after         → report.html, report.json
//! ```
//! `resume.safetensors` holds everything that going on needs. What a step computes depends on the configuration and the step's
//! number only, so a resumed run ends with the bytes of an uninterrupted one.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::core::file::write_whole;
use crate::core::params::{Arena, Kind, ParamStore};
use crate::core::rng::{Rng, stream};
use crate::core::text::thousands;
use crate::data::dataset::{Batch, Dataset, Split};
use crate::device::Device;
use crate::error::{Error, Result};
use crate::metrics::Bootstrap;
use crate::models::dcgan::Dcgan;
use crate::models::lae::Lae;
use crate::models::vgg::Vgg;
use crate::report::data::duration;
use crate::report::tensorboard::EventWriter;
use crate::report::terminal::{self, Progress, say};
use crate::report::{Candidate, Chart, JsonLog, KeyValue, Picture, ReportData, Rgb, Series, table};
use crate::train::checkpoint::{self, What};
use crate::train::config::{Pool, Select, TrainConfig};
use crate::train::evaluate::{evaluate, test_sets};
use crate::train::select::{Features, LinearModel, Selection, select};
use crate::train::step::{Networks, Scorer, Stage1, Stage2, Terms, Terms2, Validator, perceptual_unit};

pub const CONFIG: &str = "config.toml";
pub const RESUME: &str = "resume.safetensors";
pub const STAGE1: &str = "stage1.safetensors";
pub const MODEL: &str = "model.safetensors";
pub const SELECTION: &str = "selection.json";
pub const METRICS: &str = "metrics.jsonl";
pub const EVENTS: &str = "tensorboard";

/// Where a run stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Phase {
    Stage1,
    Selection,
    Stage2,
    Done,
}

/// Everything but the arrays that going on needs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct State {
    phase: Phase,
    /// Epoch of the phase, from 0, and steps done in it.
    epoch: usize,
    step: usize,
    /// Optimiser steps of the phase.
    t: u64,
    /// Steps of the whole run.
    steps: u64,
    best: Option<f64>,
    best_epoch: usize,
    stage1_epochs: usize,
    log_bytes: u64,
    seconds: [f64; 4],
}

impl State {
    const START: State = State {
        phase: Phase::Stage1,
        epoch: 0,
        step: 0,
        t: 0,
        steps: 0,
        best: None,
        best_epoch: 0,
        stage1_epochs: 0,
        log_bytes: 0,
        seconds: [0.0; 4],
    };
}

pub struct Run {
    pub dir: PathBuf,
    pub config: TrainConfig,
    data: Dataset,
    store: ParamStore,
    nets: Networks,
    log: JsonLog,
    events: EventWriter,
    state: State,
    command: String,
    started: Instant,
    saved: Instant,
    /// Stop after so many steps of the run, as if killed (tests).
    pub stop_after: Option<u64>,
}

impl Run {
    /// Start in a new folder.
    pub fn create(config: TrainConfig, dir: &Path, command: String, device: &Device) -> Result<Run> {
        if dir.exists() {
            let why = "exists already; give another --out, or --resume it";
            return Err(Error::data(dir, why));
        }
        // Everything that can be refused is refused before the folder is made.
        let (data, store, nets) = Self::build(&config, device)?;
        std::fs::create_dir_all(dir).map_err(|e| Error::io(dir, e))?;
        write_whole(dir.join(CONFIG), config.to_toml().as_bytes()).inspect_err(|_| {
            // Best effort: a folder without a configuration would only be in the way.
            let _ = std::fs::remove_dir(dir);
        })?;
        let log = JsonLog::create(dir.join(METRICS))?;
        let events = EventWriter::create(dir.join(EVENTS))?;
        let state = State::START;
        let now = Instant::now();
        let dir = dir.to_path_buf();
        Ok(Run { dir, config, data, store, nets, log, events, state, command, started: now, saved: now, stop_after: None })
    }

    /// Go on where a run folder stands.
    pub fn resume(dir: &Path, command: String, device: &Device) -> Result<Run> {
        let file = dir.join(RESUME);
        if !dir.join(CONFIG).is_file() {
            return Err(Error::data(dir, format!("is not a run folder: it has no {CONFIG}")));
        }
        let config = TrainConfig::load(&dir.join(CONFIG))?;
        let (data, mut store, nets) = Self::build(&config, device)?;
        // Stopped before its first checkpoint: from the start, which is where it was.
        let (mut state, mut log) = (State::START, None);
        if file.exists() {
            let lost = |why: String| Error::data(&file, format!("{why}; without this file the run starts anew: remove it"));
            let meta = checkpoint::load(&mut store, &file, What::Everything).map_err(|e| match e {
                Error::Data { why, .. } => lost(why),
                e => e,
            })?;
            let text = meta.get("state").ok_or_else(|| lost("has no state: not a resume checkpoint".into()))?;
            state = serde_json::from_str(text).map_err(|e| lost(format!("its state cannot be read: {e}")))?;
            log = Some(JsonLog::resume(dir.join(METRICS), state.log_bytes)?);
        }
        let log = log.map_or_else(|| JsonLog::create(dir.join(METRICS)), Ok)?;
        let events = EventWriter::resume(dir.join(EVENTS), state.steps)?;
        let now = Instant::now();
        let dir = dir.to_path_buf();
        Ok(Run { dir, config, data, store, nets, log, events, state, command, started: now, saved: now, stop_after: None })
    }

    fn build(config: &TrainConfig, device: &Device) -> Result<(Dataset, ParamStore, Networks)> {
        let mut store = ParamStore::new(config.seed);
        let mut nets = Networks::build(&mut store, config, device)?;
        let data = Dataset::open(&config.data, config.size, config.seed)?;
        check_against_data(config, &data)?;
        if config.comp.weights.is_none() && config.comp.calibrate && nets.vgg.is_some() {
            let indices: Vec<u32> = (0..data.len(Split::Val).min(8) as u32).collect();
            let mut batch = Batch::default();
            data.fill(Split::Val, 0, &indices, &mut batch)?;
            nets.perceptual_unit = perceptual_unit(config, &nets, &mut store, &batch)?;
        }
        Ok((data, store, nets))
    }

    /// To the end.
    pub fn run(&mut self) -> Result<ReportData> {
        self.announce();
        while self.state.phase != Phase::Done {
            let start = Instant::now();
            let phase = self.state.phase;
            match phase {
                Phase::Stage1 => self.stage1(start)?,
                Phase::Selection => self.selection()?,
                Phase::Stage2 => self.stage2(start)?,
                Phase::Done => {}
            }
            if phase == Phase::Selection {
                self.state.seconds[1] += start.elapsed().as_secs_f64();
            }
            if self.stopped() {
                return Err(Error::config("stop", "stopped as asked"));
            }
            self.save()?;
        }
        self.report()
    }

    fn stopped(&self) -> bool {
        self.stop_after.is_some_and(|n| self.state.steps >= n)
    }

    fn announce(&self) {
        let c = &self.config;
        let p = self.data.describe();
        say(&format!("run       {}", self.dir.display()));
        say(&format!("data      {}", p.source));
        let (unseen, seen): (Vec<_>, Vec<_>) = p.counts.iter().partition(|n| n.split.starts_with("unseen/"));
        for (counts, what) in [(seen, "true+fake"), (unseen, "tested only")] {
            let words: Vec<String> = counts.iter().map(|n| format!("{} {}+{}", n.split, n.real, n.fake)).collect();
            if !words.is_empty() {
                say(&format!("          {} ({what})", words.join(", ").replace("unseen/", "")));
            }
        }
        for notice in self.notices() {
            say(&format!("note      {notice}"));
        }
        let count = |prefix: &str, kind| thousands(self.store.count(prefix, kind));
        say(&format!(
            "networks  LAE {} parameters, discriminator {}, comparator {} (frozen); {}×{} pixels, attention map {}×{}",
            count(Lae::GROUP, Kind::Trained),
            count(Dcgan::GROUP, Kind::Trained),
            count(Vgg::GROUP, Kind::Frozen),
            c.size,
            c.size,
            c.lae.grid,
            c.lae.grid
        ));
    }

    /// What a reader must know before any figure.
    fn notices(&self) -> Vec<String> {
        let (c, p) = (&self.config, self.data.describe());
        let mut out = Vec::new();
        if p.synthetic_pictures {
            out.push("the pictures are synthetic (built-in painter), not photographs".to_string());
        }
        if p.synthetic_forgeries {
            out.push("the forgeries were made by this program".to_string());
        }
        if self.nets.vgg.is_some() && c.comp.weights.is_none() {
            let width = if c.comp.width == 1.0 { String::new() } else { format!(", {} of its width", c.comp.width) };
            out.push(format!("the comparator (VGG-16 to {}{width}) has random weights", c.comp.layer));
        }
        if c.preset != "paper" {
            out.push(format!("preset {}: sizes are reduced, figures are not comparable with the paper's", c.preset));
        }
        out.extend(p.notices);
        out
    }

    fn save(&mut self) -> Result<()> {
        self.store.pull()?;
        self.state.log_bytes = self.log.len_bytes();
        self.log.sync()?;
        self.events.flush()?;
        let state = serde_json::to_string(&self.state).expect("plain data");
        let meta = HashMap::from([("state".to_string(), state)]);
        checkpoint::save(&self.store, &self.dir.join(RESUME), What::Everything, meta)?;
        self.saved = Instant::now();
        Ok(())
    }

    fn save_model(&mut self, file: &str, stage: &str) -> Result<()> {
        self.store.pull()?;
        let c = &self.config;
        let meta = [
            ("program", format!("lae-engine {}", env!("CARGO_PKG_VERSION"))),
            ("stage", stage.to_string()),
            ("preset", c.preset.clone()),
            ("seed", c.seed.to_string()),
            ("size", c.size.to_string()),
            ("data", self.data.describe().source),
            ("notices", self.notices().join("; ")),
            ("config", c.to_toml()),
        ];
        let meta = meta.into_iter().map(|(k, v)| (k.to_string(), v)).collect();
        checkpoint::save(&self.store, &self.dir.join(file), What::Model, meta)
    }

    fn stage1(&mut self, start: Instant) -> Result<()> {
        let before = self.state.seconds[0];
        let c = self.config.clone();
        let mut step = Stage1::new(&c, &self.nets, &self.store)?;
        let mut validators: Vec<(usize, Validator)> = Vec::new();
        let mut batch = Batch::default();
        let whole = self.data.epoch_order(Split::Train, 0, c.train.batch).len() / c.train.batch;
        let per_epoch = if c.train.epoch_steps > 0 { c.train.epoch_steps.min(whole) } else { whole };
        let total = (c.train.epochs * per_epoch) as u64;
        let mut progress = Progress::new("stage 1", total, self.state.t, "steps");
        while self.state.epoch < c.train.epochs {
            let order = self.data.epoch_order(Split::Train, self.state.epoch as u32, c.train.batch);
            while self.state.step < per_epoch {
                let indices = &order[self.state.step * c.train.batch..][..c.train.batch];
                self.data.fill(Split::Train, self.state.epoch as u32, indices, &mut batch)?;
                self.state.t += 1;
                self.state.step += 1;
                self.state.steps += 1;
                let fade = anneal(c.train.anneal, self.state.t, total);
                let terms = step.run(&mut self.store, &batch, self.state.t, c.train.lr * fade, c.disc.lr * fade)?;
                self.log_stage1(&terms)?;
                progress.add(1, || format!("loss {:.3}  latent {:.3}", terms.total, terms.latent));
                if self.stopped() {
                    return Ok(());
                }
                if self.saved.elapsed() > Duration::from_secs_f64(60.0 * c.train.save_minutes) {
                    self.state.seconds[0] = before + start.elapsed().as_secs_f64();
                    self.save()?;
                }
            }
            let terms = self.validate(&mut validators)?;
            let better = self.state.best.is_none_or(|b| terms.total < b);
            self.log.write(&json!({ "stage": 1, "epoch": self.state.epoch, "validation": terms, "best": better }))?;
            self.events.scalar("stage1/validation/loss", self.state.steps, terms.total)?;
            self.events.scalar("stage1/validation/accuracy", self.state.steps, terms.accuracy)?;
            let mark = if better { "  (best so far)" } else { "" };
            say(&format!(
                "stage 1   epoch {:>2}  validation loss {:.4}  latent {:.4}  accuracy {:.1} %{mark}",
                self.state.epoch + 1,
                terms.total,
                terms.latent,
                100.0 * terms.accuracy
            ));
            if better {
                self.state.best = Some(terms.total);
                self.state.best_epoch = self.state.epoch;
                self.save_model(STAGE1, "1: lowest validation loss")?;
            }
            self.state.epoch += 1;
            self.state.step = 0;
            let stop = self.state.epoch - self.state.best_epoch > c.train.patience;
            if stop {
                say(&format!("stage 1   no lower loss for {} epochs: stopped early", c.train.patience));
                break;
            }
            self.state.seconds[0] = before + start.elapsed().as_secs_f64();
            self.save()?;
        }
        drop(progress);
        if self.state.best.is_none() {
            self.save_model(STAGE1, "1: no epoch was trained")?;
        }
        self.state.seconds[0] = before + start.elapsed().as_secs_f64();
        self.state.stage1_epochs = self.state.epoch;
        self.state.phase = Phase::Selection;
        (self.state.epoch, self.state.step, self.state.t) = (0, 0, self.state.t);
        Ok(())
    }

    fn log_stage1(&mut self, terms: &Terms) -> Result<()> {
        let s = &self.state;
        finite(s.steps, "train.lr", &[("the loss", terms.total)])?;
        finite(s.steps, "disc.lr", &[("the discriminator's loss", terms.discriminator)])?;
        self.log.write(&json!({ "stage": 1, "epoch": s.epoch, "step": s.t, "train": terms }))?;
        if s.t % 10 == 1 {
            let rows = [
                ("loss", terms.total),
                ("latent", terms.latent),
                ("pixel", terms.pixel),
                ("perceptual", terms.perceptual),
                ("adversarial", terms.adversarial),
                ("discriminator", terms.discriminator),
                ("accuracy", terms.accuracy),
            ];
            for (name, value) in rows {
                self.events.scalar(&format!("stage1/train/{name}"), s.steps, value)?;
            }
        }
        Ok(())
    }

    /// The means over all validation pictures. `validators` holds a plan for full batches and one for the rest, once made.
    fn validate(&mut self, validators: &mut Vec<(usize, Validator)>) -> Result<Terms> {
        let mut batch = Batch::default();
        let indices: Vec<u32> = (0..self.data.len(Split::Val) as u32).collect();
        let mut sum = [0.0; 6];
        for part in indices.chunks(self.config.train.batch) {
            if !validators.iter().any(|v| v.0 == part.len()) {
                validators.push((part.len(), Validator::new(&self.config, &self.nets, &self.store, part.len())?));
            }
            let (n, validator) = validators.iter_mut().find(|v| v.0 == part.len()).expect("just made");
            self.data.fill(Split::Val, 0, part, &mut batch)?;
            let t = validator.run(&mut self.store, &batch)?;
            for (s, x) in sum.iter_mut().zip([t.total, t.latent, t.pixel, t.perceptual, t.adversarial, t.accuracy]) {
                *s += x * *n as f64;
            }
        }
        let [total, latent, pixel, perceptual, adversarial, accuracy] = sum.map(|s| s / indices.len() as f64);
        finite(self.state.steps, "train.lr", &[("the validation loss", total)])?;
        Ok(Terms { total, latent, pixel, perceptual, adversarial, accuracy, discriminator: 0.0 })
    }

    /// Back to the best weights of stage 1; then choose what to annotate.
    fn selection(&mut self) -> Result<()> {
        self.store.pull()?;
        checkpoint::load(&mut self.store, &self.dir.join(STAGE1), What::Model)?;
        let c = &self.config;
        if c.al.annotations == 0 {
            say("selection no annotations asked for: stage 2 is left out");
            self.save_model(MODEL, "1 (no stage 2: al.annotations = 0)")?;
            self.state.phase = Phase::Done;
            return Ok(());
        }
        let selection = self.choose()?;
        let c = &self.config;
        let how = if c.al.mode == Select::Active { "active" } else { "random" };
        say(&format!(
            "selection {} fakes to annotate ({how}); linear concept model {:.1} % right",
            selection.indices.len(),
            100.0 * selection.linear_accuracy
        ));
        self.log.write(
            &json!({ "selection": how, "annotations": selection.indices.len(), "linear_accuracy": selection.linear_accuracy }),
        )?;
        let file = self.dir.join(SELECTION);
        write_whole(&file, &serde_json::to_vec_pretty(&selection).expect("plain data"))?;
        if self.config.ft.reset_adam {
            let range = self.store.group(Lae::GROUP);
            for arena in [Arena::M, Arena::V] {
                self.store.arena_mut(arena)[range.clone()].fill(0.0);
            }
            self.state.t = 0;
        }
        self.state.phase = Phase::Stage2;
        Ok(())
    }

    fn choose(&mut self) -> Result<Selection> {
        let c = self.config.clone();
        let mut scorer = Scorer::new(&self.nets.device, &c, &self.nets.lae, &self.store, c.train.batch)?;
        let mut progress = Progress::new("selection", self.data.len(Split::Train) as u64, 0, "pictures");
        let mut features = Features::of(&self.data, &mut scorer, &mut self.store, |n| progress.add(n as u64, String::new))?;
        drop(progress);
        let model = LinearModel::train(&features, &c.linmodel, c.seed)?;
        // Only fakes that somebody can mask are candidates.
        for (i, fake) in features.fake.iter_mut().enumerate() {
            *fake = *fake && self.data.has_mask(Split::Train, i as u32);
        }
        Ok(select(&features, &model, &c.al, c.seed))
    }

    fn selected(&self) -> Result<Selection> {
        let file = self.dir.join(SELECTION);
        let text = std::fs::read(&file).map_err(|e| Error::io(&file, e))?;
        serde_json::from_slice(&text).map_err(|e| Error::data(&file, format!("not a selection: {e}")))
    }

    fn stage2(&mut self, start: Instant) -> Result<()> {
        let before = self.state.seconds[2];
        let c = self.config.clone();
        let mut chosen = self.selected()?.indices;
        let n_att = match c.ft.pool {
            Pool::Mixed => c.ft.batch_att.min(chosen.len()),
            Pool::Full => 0,
            Pool::ActivePlusTrue => c.train.batch / 2,
        };
        let n_full = if c.ft.pool == Pool::ActivePlusTrue { c.train.batch / 2 } else { c.train.batch };
        let mut step = Stage2::new(&c, &self.nets, &self.store, n_full, n_att)?;
        let epochs = c.fine_tune_epochs();
        let whole = match c.ft.pool {
            Pool::Mixed | Pool::Full => self.data.epoch_order(Split::Train, 0, c.train.batch).len() / c.train.batch,
            Pool::ActivePlusTrue => chosen.len().div_ceil(n_att),
        };
        let per_epoch = if c.ft.epoch_steps > 0 { c.ft.epoch_steps.min(whole) } else { whole }.max(1);
        let done = self.state.epoch * per_epoch + self.state.step;
        let mut progress = Progress::new("stage 2", (epochs * per_epoch) as u64, done as u64, "steps");
        let (mut full, mut att, mut batch) = (Batch::default(), Batch::default(), Batch::default());
        while self.state.epoch < epochs {
            let epoch = self.state.epoch;
            if c.al.reselect && epoch > 0 && self.state.step == 0 {
                let again = self.choose()?;
                write_whole(self.dir.join(SELECTION), &serde_json::to_vec_pretty(&again).expect("plain data"))?;
                chosen = again.indices;
            }
            let lr = c.ft.lr0 * 0.1f64.powi((epoch / c.ft.decay_epochs) as i32);
            // Crops go on where stage 1 left off; the pool of candidates is epoch 0, which `full` needs to meet again.
            let fresh = match c.ft.pool {
                Pool::Mixed => (self.state.stage1_epochs + epoch) as u32,
                Pool::Full | Pool::ActivePlusTrue => 0,
            };
            let mut order = self.data.epoch_order(Split::Train, (self.state.stage1_epochs + epoch) as u32, c.train.batch);
            if c.ft.pool == Pool::ActivePlusTrue {
                order.retain(|&i| !self.data.is_fake(Split::Train, i));
            }
            let mut turn = chosen.clone();
            Rng::new(c.seed, stream("annotated order"), epoch as u64).shuffle(&mut turn);
            while self.state.step < per_epoch {
                let s = self.state.step;
                let indices: Vec<u32> = (0..n_full).map(|i| order[(s * n_full + i) % order.len()]).collect();
                let annotated: Vec<u32> = (0..n_att).map(|i| turn[(s * n_att + i) % turn.len()]).collect();
                self.data.fill(Split::Train, fresh, &indices, &mut full)?;
                self.data.fill(Split::Train, 0, &annotated, &mut att)?;
                batch.set_concatenation(&full, &att);
                let select: Vec<f32> = (0..n_full + n_att)
                    .map(|i| (i >= n_full || (c.ft.pool == Pool::Full && chosen.contains(&indices[i]))) as u8 as f32)
                    .collect();
                self.state.t += 1;
                self.state.step += 1;
                self.state.steps += 1;
                let terms = step.run(&mut self.store, &batch, &select, self.state.t, lr)?;
                self.log_stage2(&terms)?;
                progress.add(1, || format!("latent {:.3}  attention {:.4}", terms.latent, terms.attention));
                if self.stopped() {
                    return Ok(());
                }
                if self.saved.elapsed() > Duration::from_secs_f64(60.0 * c.train.save_minutes) {
                    self.state.seconds[2] = before + start.elapsed().as_secs_f64();
                    self.save()?;
                }
            }
            self.state.epoch += 1;
            self.state.step = 0;
            self.state.seconds[2] = before + start.elapsed().as_secs_f64();
            self.save()?;
        }
        drop(progress);
        self.save_model(MODEL, "2: attention loss")?;
        self.state.phase = Phase::Done;
        Ok(())
    }

    fn log_stage2(&mut self, terms: &Terms2) -> Result<()> {
        let s = &self.state;
        finite(s.steps, "ft.lr0", &[("the loss of stage 2", terms.total)])?;
        self.log.write(&json!({ "stage": 2, "epoch": s.epoch, "step": s.t, "train": terms }))?;
        if s.t % 10 == 1 {
            for (name, value) in [("latent", terms.latent), ("attention", terms.attention), ("accuracy", terms.accuracy)] {
                self.events.scalar(&format!("stage2/train/{name}"), s.steps, value)?;
            }
        }
        Ok(())
    }

    /// Evaluate both networks and write the report.
    fn report(&mut self) -> Result<ReportData> {
        let start = Instant::now();
        let c = self.config.clone();
        let stage2 = c.al.annotations > 0;
        self.store.pull()?;
        let mut before = self.store.clone();
        checkpoint::load(&mut before, &self.dir.join(STAGE1), What::Model)?;
        checkpoint::load(&mut self.store, &self.dir.join(MODEL), What::Model)?;
        let mut scorer = Scorer::new(&self.nets.device, &c, &self.nets.lae, &self.store, 32)?;
        let stages = 1 + stage2 as u64;
        let total: u64 = test_sets(&self.data).iter().map(|s| self.data.len(s.split) as u64 * stages).sum();
        let mut progress = Progress::new("evaluation", total, 0, "pictures");
        let how = Bootstrap { resamples: c.eval.resamples, seed: c.seed };
        let after = stage2.then_some(&mut self.store);
        let e = evaluate(&self.data, &mut scorer, [Some(&mut before), after], &how, c.eval.gallery, |n| {
            progress.add(n as u64, String::new)
        })?;
        drop(progress);
        self.state.seconds[3] = start.elapsed().as_secs_f64();

        let p = self.data.describe();
        let mut provenance = vec![KeyValue::new("source", &p.source)];
        provenance
            .extend(p.photographs.map(|n| KeyValue::new("photographs", format!("train {}, val {}, test {}", n[0], n[1], n[2]))));
        provenance.extend(p.split_by.map(|s| KeyValue::new("split by", format!("{s:?}").to_lowercase())));
        provenance.push(KeyValue::new("training pictures", if p.fresh { "new every epoch" } else { "the same every epoch" }));
        provenance.extend(p.hole.iter().map(|h| KeyValue::new("forged region", h)));
        provenance.extend(p.methods.iter().map(|m| KeyValue::new(format!("{} forger {}", m.role, m.name), &m.source)));
        provenance.extend(p.fingerprint.iter().map(|f| {
            let kind = format!("{:?}", f.kind).to_lowercase();
            KeyValue::new("planted trace", format!("{kind}, amplitude {}, on {} of the seen fakes", f.amplitude, f.rate))
        }));
        provenance.extend(p.counts.iter().map(|n| KeyValue::new(&n.split, format!("{} true, {} fake", n.real, n.fake))));
        if p.skipped_files > 0 {
            provenance.push(KeyValue::new("skipped", format!("{} unreadable pictures", p.skipped_files)));
        }

        let (candidates, candidates_note) = if stage2 { self.candidates()? } else { (vec![], String::new()) };
        let names = ["stage 1", "selection", "stage 2", "evaluation"];
        let timings = names.iter().zip(self.state.seconds).map(|(n, s)| KeyValue::new(*n, duration(s))).collect();
        let count = |prefix: &str, kind| thousands(self.store.count(prefix, kind));
        let mut notices = self.notices();
        notices.extend(e.notices);
        let data = ReportData {
            title: format!("lae-engine: {} ({})", "inpainting", c.preset),
            task: "inpainting".into(),
            preset: c.preset.clone(),
            seed: c.seed,
            device: self.nets.device.to_string(),
            version: env!("CARGO_PKG_VERSION").into(),
            command: self.command.clone(),
            notices,
            headline: vec![],
            provenance,
            detection: e.detection,
            localisation: e.localisation,
            galleries: e.galleries,
            curves: curves(&self.dir.join(METRICS))?,
            candidates,
            candidates_note,
            config: c.rows().into_iter().map(|(k, v)| KeyValue::new(k, v)).collect(),
            timings,
            parameters: vec![
                KeyValue::new("LAE encoder", count(Lae::ENCODER_GROUP, Kind::Trained)),
                KeyValue::new("LAE decoder", count("lae.decoder.", Kind::Trained)),
                KeyValue::new("discriminator", count(Dcgan::GROUP, Kind::Trained)),
                KeyValue::new("comparator (frozen)", count(Vgg::GROUP, Kind::Frozen)),
            ],
        };
        data.save(&self.dir)?;
        for row in data.galleries.iter().flat_map(|g| &g.items) {
            for panel in row.panels.iter().filter(|p| p.title.starts_with("Map")) {
                let (tag, p) = (format!("{}/{}", panel.title, row.name), &panel.picture);
                self.events.image_png(&tag, self.state.steps, p.width, p.height, &p.png)?;
            }
        }
        self.events.flush()?;
        self.save()?;
        let page = self.dir.join("report.html");
        terminal::print(&format!("{}\nreport    {}\n", table::summary(&data), page.display()))?;
        say(&format!("done      in {}", duration(self.started.elapsed().as_secs_f64())));
        Ok(data)
    }

    fn candidates(&self) -> Result<(Vec<Candidate>, String)> {
        let s = self.selected()?;
        let mut out = Vec::new();
        for (i, &index) in s.indices.iter().take(12).enumerate() {
            let sample = self.data.sample(Split::Train, index, 0)?;
            let rgb = Rgb::new(sample.picture.w, sample.picture.h, sample.picture.rgb)?;
            let name = format!("train {index}");
            let picture = Picture::new(&rgb, format!("candidate {name}"))?;
            out.push(Candidate { name, score: s.scores.get(i).copied(), picture });
        }
        let shown = out.len();
        let how = match self.config.al.mode {
            Select::Active => format!("by the activation of channels {:?}", s.channels),
            Select::Random => "at random".to_string(),
        };
        let n = s.indices.len();
        Ok((
            out,
            format!(
                "{n} fakes were chosen {how}; the first {shown} are shown. Their masks are known exactly here, no person drew them."
            ),
        ))
    }
}

/// What only the data can tell of a configuration, found before hours are spent.
fn check_against_data(c: &TrainConfig, data: &Dataset) -> Result<()> {
    let pictures = data.epoch_order(Split::Train, 0, 2).len();
    if pictures < c.train.batch {
        let why = format!("{}: the training set has {pictures} pictures (balanced); give at most that many", c.train.batch);
        return Err(Error::config("train.batch", why));
    }
    let masked = (0..data.len(Split::Train) as u32).filter(|&i| data.has_mask(Split::Train, i)).count();
    if c.al.annotations > masked {
        let why = format!("{}: the training set has {masked} fakes with a mask", c.al.annotations);
        let rest = if masked == 0 {
            "give masks, or --annotations 0 (no stage 2)"
        } else {
            "give --annotations up to that, or 0 (no stage 2)"
        };
        return Err(Error::config("al.annotations", format!("{why}; {rest}")));
    }
    Ok(())
}

/// Constant, then linear to zero over the last `share` of `total` steps; `t` counts from 1.
fn anneal(share: f64, t: u64, total: u64) -> f64 {
    let length = share * total as f64;
    let left = (total + 1).saturating_sub(t) as f64;
    if length > 0.0 { (left / length).min(1.0) } else { 1.0 }
}

/// `key`: the learning rate that is to blame.
fn finite(step: u64, key: &'static str, values: &[(&str, f64)]) -> Result<()> {
    match values.iter().find(|(_, v)| !v.is_finite()) {
        Some((what, value)) => Err(Error::Diverged { step, what: what.to_string(), value: *value, key }),
        None => Ok(()),
    }
}

/// The curves of a run, read back from its log.
fn curves(log: &Path) -> Result<Vec<Chart>> {
    let text = std::fs::read_to_string(log).map_err(|e| Error::io(log, e))?;
    let names = ["total", "latent", "pixel", "perceptual", "adversarial"];
    let mut train: Vec<Series> = names.iter().map(|n| Series::new(*n)).collect();
    let mut validation = vec![Series::new("loss"), Series::new("latent")];
    let mut accuracy = vec![Series::new("train"), Series::new("validation")];
    let mut second = vec![Series::new("latent"), Series::new("attention")];
    let mut last = 0.0;
    for line in text.lines() {
        let Ok(v) = serde_json::from_str::<serde_json::Value>(line) else { continue };
        let number = |p: &str| v.pointer(p).and_then(serde_json::Value::as_f64);
        let stage = number("/stage");
        if let (Some(1.0), Some(step)) = (stage, number("/step")) {
            last = step;
            for (series, name) in train.iter_mut().zip(names) {
                if let Some(y) = number(&format!("/train/{name}")) {
                    series.push(step, y);
                }
            }
            accuracy[0].push(step, number("/train/accuracy").unwrap_or(f64::NAN));
        } else if let (Some(1.0), Some(loss)) = (stage, number("/validation/total")) {
            validation[0].push(last, loss);
            validation[1].push(last, number("/validation/latent").unwrap_or(f64::NAN));
            accuracy[1].push(last, number("/validation/accuracy").unwrap_or(f64::NAN));
        } else if let (Some(2.0), Some(step)) = (stage, number("/step")) {
            second[0].push(step, number("/train/latent").unwrap_or(f64::NAN));
            second[1].push(step, number("/train/attention").unwrap_or(f64::NAN));
        }
    }
    let chart = |title: &str, y: &str, note: &str, series: Vec<Series>| Chart {
        title: title.into(),
        x_label: "step".into(),
        y_label: y.into(),
        log_y: false,
        note: note.into(),
        series,
    };
    let charts = vec![
        chart("Stage 1: losses on training batches", "loss", "Equation 2 and its terms, before their weights.", train),
        chart("Stage 1: validation", "loss", "Running statistics, no noise.", validation),
        chart("Stage 1: accuracy", "share right", "A picture is called true if a_T > a_F.", accuracy),
        chart("Stage 2: losses", "loss", "Equation 12, before its weights.", second),
    ];
    Ok(charts.into_iter().filter(|c| c.series.iter().any(|s| !s.points().is_empty())).collect())
}
