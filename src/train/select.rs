//! Which pictures a person should mask (§2.4): a linear concept model on GAP features finds the channels that speak of forgery, and
//! the fakes that excite them most are asked for first.

use serde::{Deserialize, Serialize};

use super::annotated::{ConceptConfig, Rank, Score, Select, SelectionConfig};
use super::detector::Detector;
use super::recorder::{Optimiser, Rate, Recorder};
use super::score::Scorer;
use crate::core::params::{Form, Init, Kind, ParamStore};
use crate::core::rng::{Rng, stream};
use crate::core::shape::{Shape, shape};
use crate::data::MaskOrigin;
use crate::data::dataset::{Batch, Dataset, Split};
use crate::device::Device;
use crate::error::{Error, Result};
use crate::nn::Mode;
use crate::ops::bce_logits::bce_logits;
use crate::ops::linear::linear;

/// GAP features of a split, one row of `k` values per picture.
pub struct Features {
    pub k: usize,
    pub u: Vec<f32>,
    pub fake: Vec<bool>,
}

impl Features {
    pub fn row(&self, i: usize) -> &[f32] {
        &self.u[i * self.k..][..self.k]
    }
    /// The training pictures of epoch 0: the pool from which a person would be asked to mask some.
    pub fn of(
        data: &Dataset,
        detector: &dyn Detector,
        scorer: &mut Scorer,
        store: &mut ParamStore,
        mut tick: impl FnMut(usize),
    ) -> Result<Features> {
        let indices: Vec<u32> = (0..data.len(Split::Train) as u32).collect();
        let (mut batch, mut out) = (Batch::default(), Features { k: 0, u: Vec::new(), fake: Vec::new() });
        for part in indices.chunks(scorer.batch) {
            data.fill(Split::Train, 0, part, &mut batch)?;
            scorer.run(detector, store, &batch.x)?;
            for row in scorer.features()?.take(part.len()) {
                out.k = row.len();
                out.u.extend_from_slice(row);
            }
            out.fake.extend(batch.label_true.iter().map(|&l| l == 0.0));
            tick(part.len());
        }
        Ok(out)
    }
}

/// Equation 10 with its sign mended: p(fake) = σ(w·u), trained by plain SGD from w = 0.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LinearModel {
    pub w: Vec<f32>,
    pub b: f32,
    /// On the pictures it was trained on.
    pub accuracy: f64,
}

impl LinearModel {
    pub fn train(f: &Features, c: &ConceptConfig, seed: u64) -> Result<LinearModel> {
        let (n, k) = (f.fake.len(), f.k);
        let batch = c.batch.min(n);
        let mut store = ParamStore::<f32>::new(seed);
        let w = store.add("concept.weight", shape(1, 1, 1, k), Kind::Trained, Form::Matrix, Init::Constant(0.0));
        let b = c.bias.then(|| store.add("concept.bias", Shape::SCALAR, Kind::Trained, Form::Vector, Init::Constant(0.0)));
        let mut r = Recorder::new(&store, Mode::Train, batch, 1);
        let (u, y) = (r.input("features", shape(batch, 1, 1, k)), r.input("fake", shape(batch, 1, 1, 1)));
        let (wv, bv) = (r.tape.param(w), b.map(|b| r.tape.param(b)));
        let logits = linear(&mut r.tape, u, wv, bv)?;
        let loss = bce_logits(&mut r.tape, logits, y)?;
        r.minimise("loss", loss, &store.group("concept"), Optimiser::sgd(0.0), Rate::new("concept.lr", c.lr))?;
        let mut step = r.finish(&Device::Cpu, &[])?;
        let (mut order, mut steps): (Vec<usize>, u64) = ((0..n).collect(), 0);
        for epoch in 0..c.epochs {
            Rng::new(seed, stream("linear model"), epoch as u64).shuffle(&mut order);
            for part in order.chunks_exact(batch) {
                for (slot, &i) in part.iter().enumerate() {
                    step.input("features")?[slot * k..][..k].copy_from_slice(f.row(i));
                    step.input("fake")?[slot] = f.fake[i] as u8 as f32;
                }
                steps += 1;
                step.run(&mut store, steps, 1.0)?;
            }
        }
        let mut model = LinearModel { w: store.value(w).to_vec(), b: b.map_or(0.0, |b| store.value(b)[0]), accuracy: 0.0 };
        if let Some(w) = model.w.iter().find(|w| !w.is_finite()) {
            let (step, what) = (steps, "a weight of the linear concept model".to_string());
            return Err(Error::Diverged { step, what, value: *w as f64, key: "concept.lr".into() });
        }
        let right = (0..n).filter(|&i| (model.logit(f.row(i)) > 0.0) == f.fake[i]).count();
        model.accuracy = right as f64 / n.max(1) as f64;
        Ok(model)
    }

    fn logit(&self, u: &[f32]) -> f64 {
        u.iter().zip(&self.w).map(|(u, w)| (u * w) as f64).sum::<f64>() + self.b as f64
    }

    /// The `topk` channels of largest weight, best first; ties go to the lower channel.
    pub fn channels(&self, topk: usize, rank: Rank) -> Vec<usize> {
        let value = |i: usize| if rank == Rank::Abs { self.w[i].abs() } else { self.w[i] };
        let mut order: Vec<usize> = (0..self.w.len()).collect();
        order.sort_by(|&a, &b| value(b).total_cmp(&value(a)).then(a.cmp(&b)));
        order.truncate(topk);
        order
    }
}

/// The pictures to annotate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Selection {
    /// Indices into the training split of epoch 0, in the order of choice.
    pub indices: Vec<u32>,
    /// Their scores; empty for a random choice.
    pub scores: Vec<f64>,
    pub channels: Vec<usize>,
    /// Accuracy of the linear model (§3.1.5 reports it).
    pub linear_accuracy: f64,
    /// Of each of `channels`: its weight in the linear model, and its mean over all candidates.
    #[serde(default)]
    pub weights: Vec<f32>,
    #[serde(default)]
    pub pool_mean: Vec<f32>,
    /// Of each chosen picture: what `channels` say.
    #[serde(default)]
    pub activations: Vec<Vec<f32>>,
    /// Who made the mask of each chosen picture; empty while a person has still to draw them.
    #[serde(default)]
    pub masks: Vec<MaskUse>,
}

/// The mask that stage 2 has of a chosen picture.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MaskUse {
    pub index: u32,
    /// Who made the mask; none where there is none, and stage 2 leaves the picture out.
    pub origin: Option<MaskOrigin>,
    /// Of a person's: the name, if one was given.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub by: String,
    /// Why there is none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub without: String,
    /// Of the mask's file, where it is one of the run folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub crc32c: Option<u32>,
}

/// Choose `c.annotations` fakes, or all there are.
pub fn select(f: &Features, model: &LinearModel, c: &SelectionConfig, seed: u64) -> Selection {
    let mut fakes: Vec<usize> = (0..f.fake.len()).filter(|&i| f.fake[i]).collect();
    let channels = model.channels(c.topk, c.rank);
    let mut scores = Vec::new();
    match c.mode {
        Select::Random => {
            Rng::new(seed, stream("random annotations"), 0).shuffle(&mut fakes);
            fakes.truncate(c.annotations);
        }
        Select::Active => {
            let of = score(f, &fakes, &channels, model, c.score);
            let mut order: Vec<usize> = (0..fakes.len()).collect();
            order.sort_by(|&a, &b| of[b].total_cmp(&of[a]).then(a.cmp(&b)));
            order.truncate(c.annotations);
            scores = order.iter().map(|&i| of[i]).collect();
            fakes = order.iter().map(|&i| fakes[i]).collect();
        }
    }
    let of = |i: usize| channels.iter().map(|&k| f.row(i)[k]).collect::<Vec<f32>>();
    let pool: Vec<usize> = (0..f.fake.len()).filter(|&i| f.fake[i]).collect();
    let mean = |&k: &usize| (pool.iter().map(|&i| f.row(i)[k] as f64).sum::<f64>() / pool.len().max(1) as f64) as f32;
    Selection {
        scores,
        linear_accuracy: model.accuracy,
        weights: channels.iter().map(|&k| model.w[k]).collect(),
        pool_mean: channels.iter().map(mean).collect(),
        activations: fakes.iter().map(|&i| of(i)).collect(),
        masks: Vec::new(),
        indices: fakes.into_iter().map(|i| i as u32).collect(),
        channels,
    }
}

/// Scores of the pictures `who` from the top channels.
fn score(f: &Features, who: &[usize], channels: &[usize], model: &LinearModel, how: Score) -> Vec<f64> {
    let value = |i: usize, k: usize| f.row(i)[k] as f64;
    match how {
        Score::Sum => who.iter().map(|&i| channels.iter().map(|&k| value(i, k)).sum()).collect(),
        Score::Weighted => who.iter().map(|&i| channels.iter().map(|&k| value(i, k) * model.w[k] as f64).sum()).collect(),
        Score::Max => who.iter().map(|&i| channels.iter().map(|&k| value(i, k)).fold(f64::NEG_INFINITY, f64::max)).collect(),
        Score::MeanRank => {
            let mut total = vec![0.0; who.len()];
            for &k in channels {
                let mut order: Vec<usize> = (0..who.len()).collect();
                order.sort_by(|&a, &b| value(who[a], k).total_cmp(&value(who[b], k)).then(b.cmp(&a)));
                order.iter().enumerate().for_each(|(rank, &i)| total[i] += rank as f64);
            }
            total.iter().map(|t| t / channels.len().max(1) as f64).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn toy() -> Features {
        // Channel 0 grows for fakes, channel 1 for true pictures, channel 2 says nothing.
        let mut rng = Rng::new(1, stream("toy"), 0);
        let (mut u, mut fake) = (Vec::new(), Vec::new());
        for i in 0..200 {
            let f = i % 2 == 1;
            let up = |on: bool, rng: &mut Rng| if on { 2.0 } else { 0.5 } + 0.1 * rng.normal();
            u.extend([up(f, &mut rng), up(!f, &mut rng), 1.0 + 0.1 * rng.normal()]);
            fake.push(f);
        }
        Features { k: 3, u, fake }
    }

    #[test]
    fn weights_point_towards_fake() {
        let c = ConceptConfig { lr: 0.1, ..Default::default() };
        let m = LinearModel::train(&toy(), &c, 0).unwrap();
        assert!(m.w[0] > 0.0 && m.w[1] < 0.0, "{:?}", m.w);
        assert_eq!(m.channels(1, Rank::Signed), [0]);
        assert!(m.accuracy > 0.95);
    }

    #[test]
    fn active_choice_takes_the_strongest_fakes_and_random_ones_differ_by_seed() {
        let f = toy();
        let m = LinearModel::train(&f, &ConceptConfig { lr: 0.1, ..Default::default() }, 0).unwrap();
        let c = SelectionConfig { annotations: 7, topk: 1, ..Default::default() };
        let s = select(&f, &m, &c, 0);
        assert_eq!(s.indices.len(), 7);
        assert!(s.indices.iter().all(|&i| f.fake[i as usize]));
        assert!(s.scores.windows(2).all(|w| w[0] >= w[1]));
        let rest = (0..200).filter(|&i| f.fake[i] && !s.indices.contains(&(i as u32))).map(|i| f.row(i)[0] as f64);
        assert!(rest.fold(0.0, f64::max) <= s.scores[6]);
        let random = |seed| select(&f, &m, &SelectionConfig { mode: Select::Random, ..c.clone() }, seed).indices;
        assert_eq!(random(3), random(3));
        assert_ne!(random(3), random(4));
        for score in [Score::Weighted, Score::Max, Score::MeanRank] {
            assert_eq!(select(&f, &m, &SelectionConfig { score, ..c.clone() }, 0).indices, s.indices, "{score:?}");
        }
    }
}
