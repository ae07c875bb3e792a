//! StatsNet (Rahmouni, Nozick, Yamagishi, Echizen: WIFS 2017), its variant Stats-2L: softmax cross entropy, Adam. Learning rate
//! and batch are those of the LAE paper (§3.1.2), with its early stopping. The authors judge patches of 100 pixels and
//! aggregate; here a picture of `size` pixels is one.

use crate::core::params::{Group, ParamStore};
use crate::error::Result;
use crate::models::stats;
use crate::table;
use crate::train::TrainConfig;
use crate::train::config::{OwnKeys, Shared};
use crate::train::detector::{Detector, Entry, Purpose, Space, check_as, defaults_of, parse_as};

use super::classifier::{Classifier, unprepared};

pub static ENTRY: Entry = Entry {
    name: "stats",
    title: "StatsNet (Stats-2L)",
    source: "Rahmouni, Nozick, Yamagishi, Echizen: WIFS 2017",
    presets: PRESETS,
    defaults: defaults_of::<StatsKeys>,
    parse: parse_as::<StatsKeys>,
    check: check_as::<StatsKeys>,
    files: &[],
    later: &[],
    former: &[],
    build,
};

const PRESETS: &str = r#"
# Batch 64, Adam 1e-4, at most 40 epochs with patience 10 (LAE paper, §3.1.2).
[paper]
train.lr = 1e-4

# Too short for this network: with seed 0 and 12 epochs 64.0 % are right on the validation pictures in the last epoch, whose loss
# (0.655) was the lowest, and 60.0 % [56.5, 63.5] on the seen forger's test pictures, 46 to 61 % on the unseen ones'. Three times
# the rate was no faster (62 % after 6 epochs), nor were pictures without [augment] (62.5 % after 2, with it 60.5 %).
[small]
train = { epochs = 20, batch = 32, lr = 1e-3, anneal = 0.5 }

[smoke]
train.lr = 1e-3
"#;

table!(
    /// StatsNet has no keys of its own: the network is the authors', the rest is shared.
    StatsKeys {}
);

impl OwnKeys for StatsKeys {
    fn check(&self, _: &Shared) -> Result<()> {
        Ok(())
    }
}

fn build(c: &TrainConfig, store: &mut ParamStore, _: Purpose) -> Result<Box<dyn Detector>> {
    let net = stats::build(store, c.size, 1)?;
    let group = Group::of(net.params_all());
    Ok(Box::new(Classifier {
        config: c.clone(),
        model: "stats",
        title: "StatsNet",
        net,
        space: Space::Unit,
        prepare: unprepared,
        stages: vec![(Classifier::training(c), group)],
        constrained: Vec::new(),
        notices: Vec::new(),
    }))
}
