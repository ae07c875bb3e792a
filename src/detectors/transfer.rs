//! ForensicTransfer (Cozzolino et al. 2018, arXiv 1812.02510): an autoencoder, half of whose innermost channels are active for
//! true pictures and half for fakes. Loss: activation + γ · reconstruction, Adam. Learning rate and batch are those of the LAE
//! paper (§3.1.2), with its early stopping; as there, nothing is tuned on unseen forgeries.

use crate::core::params::{Group, ParamStore};
use crate::core::shape::shape;
use crate::core::tape::Var;
use crate::error::Result;
use crate::models::transfer::{Transfer, check_size};
use crate::nn::Net;
use crate::ops::difference::l1;
use crate::table;
use crate::train::TrainConfig;
use crate::train::config::{OwnKeys, Shared};
use crate::train::detector::{
    Attention, Detector, Entry, Judgement, Local, Network, Purpose, Scores, Space, Stage, check_as, defaults_of, parse_as,
};
use crate::train::keys::check;
use crate::train::recorder::{Optimiser, Rate, Recorder};

pub static ENTRY: Entry = Entry {
    name: "transfer",
    title: "ForensicTransfer",
    source: "Cozzolino, Thies, Rössler, Riess, Nießner, Verdoliva: 2018, arXiv 1812.02510",
    presets: PRESETS,
    defaults: defaults_of::<TransferKeys>,
    parse: parse_as::<TransferKeys>,
    check: check_as::<TransferKeys>,
    files: &[],
    later: &[],
    former: &[],
    build,
};

const PRESETS: &str = r#"
# Batch 64, Adam 1e-3, at most 40 epochs with patience 10 (LAE paper, §3.1.2): the defaults.
[paper]

# A rate that falls to zero over the second half, so that short runs settle. Seed 0, stopped after 27 of 30 epochs: 80.5 % of the
# validation pictures in the last of them, whose loss was the lowest of all; 82 % in the one before. Not tested.
[small]
train = { epochs = 30, batch = 32, anneal = 0.5 }

[smoke]
transfer.width = 4
"#;

table!(TransferKeys { transfer: TransferConfig = TransferConfig::default() });
table!(TransferConfig {
    /// Channels of the first convolution; the others have 2, 4, 8 and 16 times as many.
    width: usize = 8,
    /// See, and reconstruct, the third derivatives of the colours beside the colours.
    residual: bool = false,
    /// Weight of the reconstruction; 0: no decoder runs.
    gamma: f64 = 0.1,
});

impl OwnKeys for TransferKeys {
    fn check(&self, c: &Shared) -> Result<()> {
        check::counts(&[("transfer.width", self.transfer.width, 256)])?;
        check::not_negative(&[("transfer.gamma", self.transfer.gamma)])?;
        check_size(c.size)
    }
}

struct Method {
    c: TrainConfig,
    gamma: f64,
    net: Transfer,
}

fn build(c: &TrainConfig, store: &mut ParamStore, _: Purpose) -> Result<Box<dyn Detector>> {
    let k = c.own::<TransferKeys>().transfer;
    let net = Transfer::build(store, c.size, k.width, k.residual)?;
    Ok(Box::new(Method { c: c.clone(), gamma: k.gamma, net }))
}

impl Method {
    /// The encoder's last maps, and what was encoded.
    fn maps(&self, r: &mut Recorder) -> Result<(Var, Var)> {
        let (x, mode) = (r.pictures(), r.mode());
        let t = &mut r.tape;
        let x = self.space().of(t, x)?;
        let input = self.net.input(t, x)?;
        Ok((self.net.encode(t, input, mode)?, input))
    }
}

impl Detector for Method {
    fn space(&self) -> Space {
        Space::Symmetric
    }

    fn stages(&self) -> Vec<Stage> {
        vec![Stage::training(&self.c, "total")]
    }

    fn record(&self, r: &mut Recorder, _: usize) -> Result<Var> {
        let (label, mode) = (r.label(), r.mode());
        let (maps, input) = self.maps(r)?;
        let activations = self.net.activations(&mut r.tape, maps, label)?;
        r.term("activation", activations.loss);
        let mut terms = vec![(1.0, activations.loss)];
        if self.gamma > 0.0 {
            let output = self.net.decode(&mut r.tape, maps, label, mode)?;
            let loss = l1(&mut r.tape, output, input)?;
            r.term("reconstruction", loss);
            terms.push((self.gamma, loss));
        }
        let total = r.weighted(&terms)?;
        let adam = Optimiser::adam(self.c.train.beta1, self.c.train.beta2);
        r.minimise("total", total, &self.net.group, adam, Rate::new("train.lr", self.c.train.lr))?;
        Ok(activations.values)
    }

    fn verdict(&self, r: &mut Recorder) -> Result<Scores> {
        let maps = self.maps(r)?.0;
        let label = r.tape.input(shape(r.n(), 1, 1, 1)); // the loss is not looked at
        let values = self.net.activations(&mut r.tape, maps, label)?.values;
        let (of_maps, weights) = self.net.fake_activation(&mut r.tape, maps)?;
        let map = Attention::grad_cam(&r.tape, vec![maps], of_maps, weights);
        Ok(Scores { values, names: &["a_true", "a_fake"], map, features: None })
    }

    fn local(&self, r: &mut Recorder) -> Result<Option<Local>> {
        let rows = self.net.encoder.rows().count();
        Ok(Some(Local { features: self.maps(r)?.0, reach: self.net.encoder.reach(rows - 1) }))
    }

    fn head(&self, r: &mut Recorder, mean: Var) -> Result<Var> {
        let label = r.label();
        Ok(self.net.activations(&mut r.tape, mean, label)?.values)
    }

    /// Fake if the fake half is the more active; a tie is fake, as everywhere here. p_fake = a_fake / (a_fake + a_true), 0.5
    /// where both vanish; the evidence is their difference, which has no ends.
    fn judge(&self, row: &[f32]) -> Judgement {
        let (t, f) = (row[0] as f64, row[1] as f64);
        Judgement { p_fake: if t + f > 0.0 { f / (t + f) } else { 0.5 }, fake: row[0] <= row[1], evidence: f - t }
    }

    fn networks(&self) -> Vec<Network<'_>> {
        let of = |net: &Net| Group::of(net.params_all());
        let net = |title, net| Network { model: "transfer", title, net, group: of(net), trained: true };
        vec![net("ForensicTransfer encoder", &self.net.encoder), net("ForensicTransfer decoder", &self.net.decoder)]
    }
}
