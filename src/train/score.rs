//! What a trained detector says of pictures: the only plan that `detect` and `eval` need.

use super::detector::{Detector, Judgement, Scores};
use super::recorder::{Recorder, Step, inputs};
use crate::core::params::ParamStore;
use crate::device::Device;
use crate::error::{Error, Result};
use crate::nn::Mode;

/// Judges up to a fixed number of pictures at once.
pub struct Scorer {
    /// Most pictures of a run.
    pub batch: usize,
    /// Side of the map; none if the detector has no map.
    pub grid: Option<usize>,
    /// What the values behind a verdict are called.
    pub names: &'static [&'static str],
    step: Step,
    scores: Scores,
}

/// One judged picture.
#[derive(Debug, Clone, PartialEq)]
pub struct Verdict {
    pub judgement: Judgement,
    /// The values behind it, named by [`Scorer::names`].
    pub values: Vec<f32>,
    /// grid × grid, as the detector normalises it.
    pub map: Option<Vec<f32>>,
}

impl Verdict {
    pub fn p_fake(&self) -> f64 {
        self.judgement.p_fake
    }
    pub fn called_fake(&self) -> bool {
        self.judgement.fake
    }
}

impl Scorer {
    /// `side`: pixels of the pictures.
    pub fn new(device: &Device, detector: &dyn Detector, store: &ParamStore, side: usize, batch: usize) -> Result<Scorer> {
        let mut r = Recorder::new(store, Mode::Eval, batch, side);
        let scores = detector.verdict(&mut r)?;
        let fetch: Vec<_> = [Some(scores.values), scores.map, scores.features].into_iter().flatten().collect();
        let grid = scores.map.map(|m| r.tape.shape(m).h as usize);
        let step = r.finish(device, &fetch)?;
        Ok(Scorer { batch, grid, names: scores.names, step, scores })
    }

    /// The verdicts on `x01`: up to `batch` pictures of side·side·3 values in [0, 1].
    pub fn run(&mut self, detector: &dyn Detector, store: &mut ParamStore, x01: &[f32]) -> Result<Vec<Verdict>> {
        let input = self.step.input(inputs::PICTURES)?;
        let n = x01.len() * self.batch / input.len();
        input[..x01.len()].copy_from_slice(x01);
        input[x01.len()..].fill(0.0);
        self.step.plan.run(store)?;
        let plan = &self.step.plan;
        let each = plan.shape(self.scores.values).per_image();
        let values = plan.fetch(self.scores.values)?.chunks(each).take(n);
        let pixels = self.grid.map_or(0, |g| g * g);
        let maps = self.scores.map.map(|m| plan.fetch(m)).transpose()?;
        let verdict = |(i, row): (usize, &[f32])| Verdict {
            judgement: detector.judge(row),
            values: detector.decisive(row).to_vec(),
            map: maps.map(|m| m[i * pixels..][..pixels].to_vec()),
        };
        Ok(values.enumerate().map(verdict).collect())
    }

    /// Features of the pictures of the last run, one row each. An error if the detector has none.
    pub fn features(&self) -> Result<impl Iterator<Item = &[f32]>> {
        let Some(v) = self.scores.features else {
            let why = "this detector has no features that a concept model could read; annotations cannot be chosen by them";
            return Err(Error::config("detector", why));
        };
        let plan = &self.step.plan;
        Ok(plan.fetch(v)?.chunks(plan.shape(v).c as usize))
    }
}
