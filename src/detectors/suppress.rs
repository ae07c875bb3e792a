//! SuppressNet (Bayar, Stamm: IH&MMSec 2016), or its successor MISLnet (IEEE TIFS 2018): softmax cross entropy, Adam, and after
//! each update the constraint of the first layer. Learning rate and batch are those of the LAE paper (§3.1.2), with its early
//! stopping.

use crate::core::params::{Group, ParamStore};
use crate::core::tape::{Tape, Var};
use crate::error::{Error, Result};
use crate::models::suppress::{self, Arch, Input, SuppressConfig};
use crate::ops::affine::scale;
use crate::ops::mix::{LUMA, mix};
use crate::table;
use crate::train::TrainConfig;
use crate::train::config::{OwnKeys, Shared};
use crate::train::detector::{Detector, Entry, Purpose, Space, check_as, defaults_of, parse_as};
use crate::train::keys::check;

use super::classifier::Classifier;

pub static ENTRY: Entry = Entry {
    name: "suppress",
    title: "SuppressNet",
    source: "Bayar, Stamm: IH&MMSec 2016",
    presets: PRESETS,
    defaults: defaults_of::<SuppressKeys>,
    parse: parse_as::<SuppressKeys>,
    check: check_as::<SuppressKeys>,
    files: &[],
    later: &[],
    former: &[],
    build,
};

const PRESETS: &str = r#"
# Batch 64, Adam 1e-5, at most 40 epochs with patience 10 (LAE paper, §3.1.2).
[paper]
train.lr = 1e-5

# A sixteenth of the wide layers, and a rate that falls to zero over the second half. Seed 0: 89.5 % right on the validation
# pictures in the last of 20 epochs, whose loss was the lowest and still falling; 88.2 % [84.5, 91.5] on the seen forger's test
# pictures, 51 to 90 % on the unseen ones'. More epochs were not tried.
[small]
suppress.fc = 256
train = { epochs = 20, batch = 32, lr = 5e-4, anneal = 0.5 }

[smoke]
suppress.fc = 32
train.lr = 1e-4
"#;

table!(SuppressKeys { suppress: SuppressConfig = SuppressConfig::default() });

impl OwnKeys for SuppressKeys {
    fn check(&self, c: &Shared) -> Result<()> {
        let least = self.suppress.least();
        if c.size < least {
            let why = format!("{} pixels: the windows of mislnet need {least}, such as 64 (paper: 256)", c.size);
            return Err(Error::config("size", why));
        }
        check::counts(&[("suppress.fc", self.suppress.fc, 65_536)])
    }
}

/// From pictures in [0, 1] to grey levels.
fn prepare(input: Input) -> fn(&mut Tape, Var) -> Result<Var> {
    match input {
        Input::Green => |t, x| mix(t, x, [0.0, 255.0, 0.0]),
        Input::Luma => |t, x| mix(t, x, LUMA.map(|w| 255.0 * w)),
        Input::Rgb => |t, x| scale(t, x, 255.0),
    }
}

fn build(c: &TrainConfig, store: &mut ParamStore, _: Purpose) -> Result<Box<dyn Detector>> {
    let k = c.own::<SuppressKeys>().suppress;
    let net = suppress::build(store, c.size, &k, 1)?;
    let (constrained, group) = (vec![net.params(0)[0]], Group::of(net.params_all()));
    let of_2018 = k.arch == Arch::Mislnet;
    Ok(Box::new(Classifier {
        config: c.clone(),
        model: "suppress",
        title: if of_2018 { "MISLnet" } else { "SuppressNet" },
        net,
        space: Space::Unit,
        prepare: prepare(k.input),
        stages: vec![(Classifier::training(c), group)],
        constrained,
        notices: of_2018
            .then(|| "SuppressNet is MISLnet here, its successor of 2018 (suppress.arch = mislnet)".into())
            .into_iter()
            .collect(),
    }))
}
