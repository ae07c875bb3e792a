//! ResidualNet (Cozzolino, Poggi, Verdoliva: IH&MMSec 2017, arXiv 1703.04615): a histogram of residuals as a network, which
//! training relaxes; softmax cross entropy, Adam. A reconstruction: no code was published. Learning rate and batch are those of
//! the LAE paper (§3.1.2), with its early stopping.

use super::classifier::Classifier;
use crate::core::params::ParamStore;
use crate::error::Result;
use crate::models::residual::{Residual, luma};
use crate::table;
use crate::train::TrainConfig;
use crate::train::config::{OwnKeys, Shared};
use crate::train::detector::{Detector, Entry, Purpose, Space, check_as, defaults_of, parse_as};
use crate::train::keys::check;

pub static ENTRY: Entry = Entry {
    name: "residual",
    title: "ResidualNet",
    source: "Cozzolino, Poggi, Verdoliva: IH&MMSec 2017, arXiv 1703.04615 (reconstruction)",
    presets: PRESETS,
    defaults: defaults_of::<ResidualKeys>,
    parse: parse_as::<ResidualKeys>,
    check: check_as::<ResidualKeys>,
    files: &[],
    later: &[],
    former: &[],
    build,
};

const PRESETS: &str = r#"
# Batch 16, Adam 1e-5, at most 40 epochs with patience 10 (LAE paper, §3.1.2).
[paper]
train = { batch = 16, lr = 1e-5 }

# Unfinished, and no good rate is known yet. Seed 0, stopped after 9 of 20 epochs: 65 to 68 % right in validation.
# Windows are partly forged, compressed, scaled and blurred, and a global mean dilutes what is local: fitted to 1,800
# pictures made alike, the best linear classifier of the 162 hand-crafted shares is right on 73 to 76 % of 600 others (q = 1
# or 3, soft or hard).
[small]
train = { epochs = 20, batch = 16, lr = 3e-3, anneal = 0.5 }

[smoke]
train.lr = 3e-3
"#;

table!(ResidualKeys { residual: ResidualConfig = ResidualConfig::default() });
table!(ResidualConfig {
    /// Step in which residuals are rounded to −1, 0 and 1, grey levels; the network starts there.
    q: f64 = 3.0,
    /// Temperature of the softmax over the 81 patterns, in units of q²: towards 0 its mean is a histogram.
    tau: f64 = 1.0,
    /// Train all weights; false: the linear classifier alone, on the hand-crafted histogram.
    relaxed: bool = true,
});

impl OwnKeys for ResidualKeys {
    fn check(&self, _: &Shared) -> Result<()> {
        check::positive(&[("residual.q", self.residual.q), ("residual.tau", self.residual.tau)])
    }
}

fn build(c: &TrainConfig, store: &mut ParamStore, _: Purpose) -> Result<Box<dyn Detector>> {
    let k = c.own::<ResidualKeys>().residual;
    let residual = Residual::build(store, c.size, k.q, k.tau)?;
    let trained = if k.relaxed { residual.group } else { residual.head };
    Ok(Box::new(Classifier {
        config: c.clone(),
        model: "residual",
        title: "ResidualNet",
        net: residual.net,
        space: Space::Unit,
        prepare: luma,
        stages: vec![(Classifier::training(c), trained)],
        constrained: Vec::new(),
        notices: vec!["ResidualNet is a reconstruction: its authors published no code (docs/ambiguities.md)".into()],
    }))
}
