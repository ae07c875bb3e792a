//! The epoch loop: the one for all stages of all detectors.

use std::time::{Duration, Instant};

use serde_json::json;

use super::detector::{ACCURACY, Detector, Draw, Stage};
use super::draw::Drawer;
use super::recorder::{Recorder, Step, Terms};
use super::run::Run;
use crate::core::tape::Var;
use crate::data::dataset::{Batch, Split};
use crate::error::{Error, Result};
use crate::nn::Mode;
use crate::report::terminal::{Progress, say};

/// A recorded step of a stage with the values that tell how many verdicts of its batch are right.
struct Judged {
    step: Step,
    scores: Var,
}

impl Judged {
    fn record(run: &Run, stage: usize, mode: Mode, n: usize) -> Result<Judged> {
        let mut r = Recorder::new(&run.store, mode, n, run.config.size);
        let scores = run.detector.record(&mut r, stage)?;
        Ok(Judged { step: r.finish(&run.device, &[scores])?, scores })
    }

    /// The terms of the step just run, with `accuracy` behind them.
    fn with_accuracy(&self, detector: &dyn Detector, mut terms: Terms, label_true: &[f32]) -> Result<Terms> {
        let plan = &self.step.plan;
        let rows = plan.fetch(self.scores)?.chunks(plan.shape(self.scores).per_image());
        let n = rows.len();
        let right = rows.zip(label_true).filter(|(row, label)| detector.judge(row).fake == (**label == 0.0)).count();
        terms.push(ACCURACY, right as f64 / n as f64);
        Ok(terms)
    }
}

impl Run {
    /// Train stage `index` from where the run's state stands to its end, to early stopping, or to the step at which a test stops it.
    pub(super) fn fit(&mut self, index: usize) -> Result<()> {
        let start = Instant::now();
        let before = self.state.seconds(self.stages[index].name);
        let stage = self.stages[index].clone();
        let name = stage.name;
        let chosen = match stage.draw {
            Draw::Balanced => Default::default(),
            Draw::Annotated(_) => self.annotated(&stage)?,
        };
        let reselect = matches!(&stage.draw, Draw::Annotated(a) if a.selection.reselect);
        let mut draw = Drawer::new(&self.data, &stage, self.config.seed, chosen);
        let mut train = Judged::record(self, index, Mode::Train, draw.pictures())?;
        let mut validators: Vec<Judged> = Vec::new();
        let (mut batch, mut select) = (Batch::default(), Vec::new());
        let per_epoch = draw.steps();
        let total = (stage.epochs * per_epoch) as u64;
        let done = (self.state.epoch * per_epoch + self.state.step) as u64;
        let mut progress = Progress::new(name, total, done, "steps");
        while self.state.epoch < stage.epochs {
            let epoch = self.state.epoch;
            if reselect && epoch > 0 && self.state.step == 0 {
                let again = self.choose(&stage)?;
                self.write_selection(&again)?;
                draw.choose(again.indices);
            }
            draw.begin(epoch, self.state.epochs_before);
            while self.state.step < per_epoch {
                draw.fill(self.state.step, &mut batch, &mut select)?;
                self.state.t += 1;
                self.state.step += 1;
                self.state.steps += 1;
                let t = self.state.t;
                train.step.feed_batch(&batch, &select, t)?;
                let factor = stage.schedule.factor(t, total, epoch);
                let terms = train.step.run(&mut self.store, t, factor)?;
                let terms = train.with_accuracy(&*self.detector, terms, &batch.label_true)?;
                self.log_step(index, &terms)?;
                progress.add(1, || brief(&terms, 3));
                if self.stopped() {
                    return Ok(());
                }
                if self.saved.elapsed() > Duration::from_secs_f64(60.0 * self.config.train.save_minutes) {
                    self.state.set_seconds(name, before + start.elapsed().as_secs_f64());
                    self.save()?;
                }
            }
            let stop = self.end_of_epoch(index, &stage, &mut validators)?;
            self.state.epoch += 1;
            self.state.step = 0;
            if stop {
                let (watched, epochs) = (stage.watched(), stage.patience.unwrap_or(0));
                say(&format!("{name:<9} no better {watched} for {epochs} epochs: stopped early"));
                break;
            }
            self.state.set_seconds(name, before + start.elapsed().as_secs_f64());
            self.save()?;
        }
        drop(progress);
        if stage.patience.is_none() || self.state.best.is_none() {
            self.save_model(index, "last epoch")?;
        }
        self.state.set_seconds(name, before + start.elapsed().as_secs_f64());
        Ok(())
    }

    /// Validate, if the stage does, and keep the best weights. True if the stage shall end here.
    fn end_of_epoch(&mut self, index: usize, stage: &Stage, validators: &mut Vec<Judged>) -> Result<bool> {
        let Some(patience) = stage.patience else { return Ok(false) };
        let (name, epoch) = (stage.name, self.state.epoch);
        let terms = self.validate(index, stage, validators)?;
        let watched = terms.get(stage.watch).expect("checked in validate");
        let better = self.state.best.is_none_or(|b| stage.better(watched, b));
        self.log
            .write(&json!({ "stage": index + 1, "epoch": epoch, "validation": terms, "watched": stage.watch, "best": better }))?;
        for (term, value) in terms.iter() {
            self.events.scalar(&format!("{}/validation/{term}", tag(name)), self.state.steps, value)?;
        }
        let mark = if better { "  (best so far)" } else { "" };
        let accuracy = 100.0 * terms.get("accuracy").unwrap_or(f64::NAN);
        say(&format!(
            "{name:<9} epoch {:>2}  validation {} {watched:.4}  {}accuracy {accuracy:.1} %{mark}",
            epoch + 1,
            stage.watched(),
            others(&terms, stage.watch, 1, 4)
        ));
        if better {
            self.state.best = Some(watched);
            self.state.best_epoch = epoch;
            self.save_model(index, &format!("best validation {}", stage.watched()))?;
        }
        Ok(epoch + 1 - self.state.best_epoch > patience)
    }

    /// The mean terms over all validation pictures: running statistics, no noise. `validators` holds a step for full batches and one
    /// for the rest, once recorded.
    fn validate(&mut self, index: usize, stage: &Stage, validators: &mut Vec<Judged>) -> Result<Terms> {
        let mut batch = Batch::default();
        let indices: Vec<u32> = (0..self.data.len(Split::Val) as u32).collect();
        let mut mean = Terms::default();
        for part in indices.chunks(stage.batch) {
            let n = part.len();
            if !validators.iter().any(|v| v.step.n == n) {
                validators.push(Judged::record(self, index, Mode::Eval, n)?);
            }
            let validator = validators.iter_mut().find(|v| v.step.n == n).expect("just made");
            self.data.fill_training(Split::Val, 0, part, &mut batch)?;
            validator.step.feed_batch(&batch, &[], 0)?;
            let terms = validator.step.run(&mut self.store, 0, 0.0)?;
            let terms = validator.with_accuracy(&*self.detector, terms, &batch.label_true)?;
            mean.add(&terms, n as f64);
        }
        mean.over(indices.len() as f64);
        match mean.get(stage.watch) {
            Some(loss) if loss.is_finite() => Ok(mean),
            Some(value) => {
                let what = format!("the validation {}", stage.watched());
                Err(Error::Diverged { step: self.state.steps, what, value, key: "train.lr".into() })
            }
            None => {
                let why = format!("{} watches {:?}, which is no term of it", stage.name, stage.watch);
                Err(Error::config("detector", why))
            }
        }
    }

    fn log_step(&mut self, index: usize, terms: &Terms) -> Result<()> {
        let s = &self.state;
        self.log.write(&json!({ "stage": index + 1, "epoch": s.epoch, "step": s.t, "train": terms }))?;
        if s.t % 10 == 1 {
            let name = tag(self.stages[index].name);
            for (term, value) in terms.iter() {
                self.events.scalar(&format!("{name}/train/{term}"), s.steps, value)?;
            }
        }
        Ok(())
    }
}

/// `stage1` of `stage 1`: a name without spaces.
fn tag(name: &str) -> String {
    name.replace(' ', "")
}

/// The whole loss (or the first term, where no term is called total) and another term, for a line of progress.
fn brief(terms: &Terms, digits: usize) -> String {
    let Some((first, value)) = terms.iter().find(|t| t.0 == "total").or_else(|| terms.iter().next()) else {
        return String::new();
    };
    let word = if first == "total" { "loss" } else { first };
    format!("{word} {value:.digits$}  {}", others(terms, first, 1, digits)).trim_end().into()
}

/// Up to `most` terms other than the one watched, the total and the accuracy.
fn others(terms: &Terms, watched: &str, most: usize, digits: usize) -> String {
    let other = terms.iter().filter(|(name, _)| ![watched, "total", "accuracy"].contains(name));
    other.take(most).map(|(name, value)| format!("{name} {value:.digits$}  ")).collect()
}
