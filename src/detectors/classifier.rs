//! What most baselines are: a network with two logits (0: true, 1: fake), softmax cross entropy, Adam, early stopping. A detector
//! of this kind fills in a [`Classifier`] and has nothing else to say; it is no entry of the registry itself.

use crate::core::params::{Group, ParamId};
use crate::core::tape::{Tape, Var};
use crate::error::Result;
use crate::nn::{Context, Net};
use crate::ops::affine::affine;
use crate::ops::cross_entropy::cross_entropy;
use crate::ops::project_filter::ProjectFilter;
use crate::train::TrainConfig;
use crate::train::detector::{Attention, Detector, Judgement, Network, Scores, Space, Stage};
use crate::train::recorder::{Optimiser, Rate, Recorder};

/// A network of two logits and how it is trained.
pub struct Classifier {
    pub config: TrainConfig,
    /// The word after `describe --model`.
    pub model: &'static str,
    /// In the report's table of parameters.
    pub title: &'static str,
    /// From the prepared input to N×1×1×2: the logits of *true* and of *fake*.
    pub net: Net,
    pub space: Space,
    /// From pictures in `space` to the input of `net`: a channel of them, a residual.
    pub prepare: fn(&mut Tape, Var) -> Result<Var>,
    /// The stages of the training, each with the parameters that it trains. Most have one: [`Classifier::training`].
    pub stages: Vec<(Stage, Group)>,
    /// Filters that every update is followed by the projection of, so that they stay prediction errors ([`ProjectFilter`]).
    pub constrained: Vec<ParamId>,
    /// What a reader must know before any figure.
    pub notices: Vec<String>,
}

/// For a network that takes pictures as they are.
pub fn unprepared(_: &mut Tape, x: Var) -> Result<Var> {
    Ok(x)
}

impl Classifier {
    /// The one stage of most baselines: early stopping by the validation loss.
    pub fn training(c: &TrainConfig) -> Stage {
        Stage::training(c, LOSS)
    }

    /// The input of the network.
    fn input(&self, r: &mut Recorder) -> Result<Var> {
        let x = r.pictures();
        let x = self.space.of(&mut r.tape, x)?;
        (self.prepare)(&mut r.tape, x)
    }
}

/// The term of the loss.
const LOSS: &str = "cross_entropy";

impl Detector for Classifier {
    fn space(&self) -> Space {
        self.space
    }

    fn stages(&self) -> Vec<Stage> {
        self.stages.iter().map(|s| s.0.clone()).collect()
    }

    fn record(&self, r: &mut Recorder, stage: usize) -> Result<Var> {
        let context = if r.training() { Context::train(r.step()) } else { Context::EVAL };
        let input = self.input(r)?;
        let logits = self.net.run(&mut r.tape, input, context)?;
        let label = r.label();
        // The label is 1 for a true picture, the class number 1 for a fake.
        let fake = affine(&mut r.tape, label, &[-1.0], &[1.0])?;
        let loss = cross_entropy(&mut r.tape, logits, fake)?;
        let t = &self.config.train;
        let adam = Optimiser::adam(t.beta1, t.beta2);
        r.minimise(LOSS, loss, &self.stages[stage].1, adam, Rate::new("train.lr", t.lr))?;
        for &p in &self.constrained {
            r.project(ProjectFilter, p)?;
        }
        Ok(logits)
    }

    fn verdict(&self, r: &mut Recorder) -> Result<Scores> {
        let input = self.input(r)?;
        let (maps, values) = self.net.run_with_maps(&mut r.tape, input, Context::EVAL)?;
        let map = Attention::grad_cam(&r.tape, maps, values, vec![0.0, 1.0]);
        Ok(Scores { values, names: &["logit_true", "logit_fake"], map, features: None })
    }

    /// Softmax of the two logits; even odds are called fake, as everywhere here.
    fn judge(&self, row: &[f32]) -> Judgement {
        let evidence = row[1] as f64 - row[0] as f64;
        Judgement { p_fake: 1.0 / (1.0 + (-evidence).exp()), fake: evidence >= 0.0, evidence }
    }

    fn networks(&self) -> Vec<Network<'_>> {
        let group = Group::of(self.net.params_all());
        vec![Network { model: self.model, title: self.title, net: &self.net, group, trained: true }]
    }

    fn notices(&self) -> Vec<String> {
        self.notices.clone()
    }
}
