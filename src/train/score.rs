//! What a trained detector says of pictures: the only plan that `detect` and `eval` need.

use super::detector::{Attention, Detector, Judgement};
use super::grad_cam::GradCam;
use super::recorder::{Recorder, Step, inputs};
use crate::core::params::ParamStore;
use crate::core::tape::Var;
use crate::device::Device;
use crate::error::{Error, Result};
use crate::nn::Mode;

/// Judges up to a fixed number of pictures at once.
pub struct Scorer {
    /// Most pictures of a run.
    pub batch: usize,
    /// Side of the map; none if the detector has no map, or none was asked for.
    pub grid: Option<usize>,
    /// What the values behind a verdict are called.
    pub names: &'static [&'static str],
    step: Step,
    values: Var,
    map: Option<Source>,
    features: Option<Var>,
}

/// Where maps come from.
enum Source {
    Own(Var),
    GradCam(GradCam),
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
        Scorer::with(device, detector, store, (side, batch), true)
    }

    /// Verdicts alone, no maps.
    pub fn without_maps(
        device: &Device,
        detector: &dyn Detector,
        store: &ParamStore,
        side: usize,
        batch: usize,
    ) -> Result<Scorer> {
        Scorer::with(device, detector, store, (side, batch), false)
    }

    fn with(
        device: &Device,
        detector: &dyn Detector,
        store: &ParamStore,
        (side, batch): (usize, usize),
        maps: bool,
    ) -> Result<Scorer> {
        let mut r = Recorder::new(store, Mode::Eval, batch, side).exact();
        let scores = detector.verdict(&mut r)?;
        let map = match scores.map.filter(|_| maps) {
            None => None,
            Some(Attention::Own(map)) => Some(Source::Own(map)),
            Some(Attention::GradCam(cam)) => Some(Source::GradCam(GradCam::record(&mut r.tape, &cam)?)),
        };
        let (grid, layers) = match &map {
            None => (None, Vec::new()),
            Some(Source::Own(map)) => (Some(r.tape.shape(*map).h as usize), vec![*map]),
            Some(Source::GradCam(cam)) => (Some(cam.grid), cam.layers.clone()),
        };
        let fetch: Vec<Var> = [scores.values].into_iter().chain(layers).chain(scores.features).collect();
        let mut step = r.finish(device, &fetch)?;
        if let Some(Source::GradCam(cam)) = &map {
            cam.feed(&mut step.plan)?;
        }
        Ok(Scorer { batch, grid, names: scores.names, step, values: scores.values, map, features: scores.features })
    }

    /// Whether the maps are Grad-CAM's, not the network's own.
    pub fn has_grad_cam(&self) -> bool {
        matches!(self.map, Some(Source::GradCam(_)))
    }

    /// The verdicts on `x01`: up to `batch` pictures of side·side·3 values in [0, 1].
    pub fn run(&mut self, detector: &dyn Detector, store: &mut ParamStore, x01: &[f32]) -> Result<Vec<Verdict>> {
        let input = self.step.input(inputs::PICTURES)?;
        let n = x01.len() * self.batch / input.len();
        input[..x01.len()].copy_from_slice(x01);
        input[x01.len()..].fill(0.0);
        self.step.plan.run(store)?;
        let plan = &self.step.plan;
        let each = plan.shape(self.values).per_image();
        let values = plan.fetch(self.values)?.chunks(each).take(n);
        let pixels = self.grid.map_or(0, |g| g * g);
        let mut maps = match &self.map {
            None => Vec::new(),
            Some(Source::Own(map)) => plan.fetch(*map)?.chunks(pixels).take(n).map(<[f32]>::to_vec).collect(),
            Some(Source::GradCam(cam)) => cam.maps(plan, n)?,
        }
        .into_iter();
        let verdict =
            |row: &[f32]| Verdict { judgement: detector.judge(row), values: detector.decisive(row).to_vec(), map: maps.next() };
        Ok(values.map(verdict).collect())
    }

    /// Features of the pictures of the last run, one row each. An error if the detector has none.
    pub fn features(&self) -> Result<impl Iterator<Item = &[f32]>> {
        let Some(v) = self.features else {
            let why = "this detector has no features that a concept model could read; annotations cannot be chosen by them";
            return Err(Error::config("detector", why));
        };
        let plan = &self.step.plan;
        Ok(plan.fetch(v)?.chunks(plan.shape(v).c as usize))
    }
}
