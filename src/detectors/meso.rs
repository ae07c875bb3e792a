//! MesoInception-4 (Afchar, Nozick, Yamagishi, Echizen: WIFS 2018, arXiv 1809.00888): mean squared error between the sigmoid of one
//! logit and the label (1: true), Adam. Learning rate and batch are those of the LAE paper (§3.1.2), with its early stopping.

use crate::core::params::ParamStore;
use crate::core::tape::Var;
use crate::error::Result;
use crate::models::meso::{Meso, layers};
use crate::nn::{Context, Mode};
use crate::ops::activation::sigmoid;
use crate::ops::difference::mse;
use crate::table;
use crate::train::TrainConfig;
use crate::train::config::{OwnKeys, Shared};
use crate::train::detector::{
    Attention, Detector, Entry, Judgement, Network, Purpose, Scores, Space, Stage, check_as, defaults_of, parse_as,
};
use crate::train::recorder::{Optimiser, Rate, Recorder};

pub static ENTRY: Entry = Entry {
    name: "meso",
    title: "MesoInception-4",
    source: "Afchar, Nozick, Yamagishi, Echizen: WIFS 2018, arXiv 1809.00888",
    presets: PRESETS,
    defaults: defaults_of::<MesoKeys>,
    parse: parse_as::<MesoKeys>,
    check: check_as::<MesoKeys>,
    files: &[],
    later: &[],
    former: &[],
    build,
};

const PRESETS: &str = r#"
# Batch 64, Adam 1e-3, at most 40 epochs with patience 10 (LAE paper, §3.1.2): the defaults.
[paper]

# A rate that falls to zero over the second half, so that short runs settle. Seed 0: 97.0 % right on the validation pictures in the
# last epoch, whose loss was the lowest of all 30; 96.2 % on the seen forger's test pictures, 54 to 99 % on the unseen ones'.
[small]
train = { epochs = 30, batch = 32, anneal = 0.5 }

[smoke]
"#;

table!(
    /// MesoInception-4 has no keys of its own: the network is the authors', the rest is shared.
    MesoKeys {}
);

impl OwnKeys for MesoKeys {
    fn check(&self, c: &Shared) -> Result<()> {
        layers(c.size).map(drop)
    }
}

struct Method {
    c: TrainConfig,
    net: Meso,
}

fn build(c: &TrainConfig, store: &mut ParamStore, _: Purpose) -> Result<Box<dyn Detector>> {
    Ok(Box::new(Method { c: c.clone(), net: Meso::build(store, c.size)? }))
}

impl Detector for Method {
    fn space(&self) -> Space {
        Space::Unit
    }

    fn stages(&self) -> Vec<Stage> {
        vec![Stage::training(&self.c, "mse")]
    }

    fn record(&self, r: &mut Recorder, _: usize) -> Result<Var> {
        let (x, label) = (r.pictures(), r.label());
        let x = self.space().of(&mut r.tape, x)?;
        let context = if r.training() { Context::train(r.step()) } else { Context::EVAL };
        let logit = self.net.run(&mut r.tape, x, context)?;
        let p_true = sigmoid(&mut r.tape, logit)?;
        let loss = mse(&mut r.tape, p_true, label)?;
        let adam = Optimiser::adam(self.c.train.beta1, self.c.train.beta2);
        r.minimise("mse", loss, &self.net.group, adam, Rate::new("train.lr", self.c.train.lr))?;
        Ok(logit)
    }

    fn verdict(&self, r: &mut Recorder) -> Result<Scores> {
        let x = r.pictures();
        let x = self.space().of(&mut r.tape, x)?;
        let (maps, values) = self.net.net.run_with_maps(&mut r.tape, x, Mode::Eval)?;
        // The logit speaks for a true picture.
        let map = Attention::grad_cam(&r.tape, maps, values, vec![-1.0]);
        Ok(Scores { values, names: &["logit"], map, features: None })
    }

    /// The sigmoid of the logit is the probability of a true picture; even odds are called fake, as everywhere here.
    fn judge(&self, row: &[f32]) -> Judgement {
        let logit = row[0] as f64;
        Judgement { p_fake: 1.0 / (1.0 + logit.exp()), fake: logit <= 0.0, evidence: -logit }
    }

    fn networks(&self) -> Vec<Network<'_>> {
        vec![Network {
            model: "meso",
            title: "MesoInception-4",
            net: &self.net.net,
            group: self.net.group.clone(),
            trained: true,
        }]
    }
}
