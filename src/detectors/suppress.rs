//! SuppressNet (Bayar, Stamm: IH&MMSec 2016), or its successor MISLnet (IEEE TIFS 2018): softmax cross entropy, Adam, and after
//! each update the constraint of the first layer. Learning rate and batch are those of the LAE paper (§3.1.2), with its early
//! stopping.

use crate::core::params::{Group, ParamStore};
use crate::core::shape::shape;
use crate::core::tape::{Tape, Var};
use crate::error::{Error, Result};
use crate::models::suppress::{self, Arch, Input, SuppressConfig};
use crate::ops::affine::{affine, scale};
use crate::ops::conv2d::{Conv2d, conv2d};
use crate::ops::fill::Fill;
use crate::ops::project_filter::ProjectFilter;
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

# Seed 0: 90.5 and 89.5 % right on the validation pictures in the last two of 20 epochs, 88.2 % [84.5, 91.5] on the seen forger's test
# pictures, and the loss was still falling: more epochs may be better, which was not tried.
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

/// 255 times a mix of red, green and blue, as one channel.
fn mix(t: &mut Tape, x: Var, weights: [f64; 3]) -> Result<Var> {
    let x = affine(t, x, &weights.map(|w| 255.0 * w), &[0.0; 3])?;
    let ones = t.apply(Fill { shape: shape(1, 1, 1, 3), value: 1.0 }, &[])?;
    conv2d(t, x, ones, None, Conv2d::new(1, 0))
}

/// From pictures in [0, 1] to grey levels.
fn prepare(input: Input) -> fn(&mut Tape, Var) -> Result<Var> {
    match input {
        Input::Green => |t, x| mix(t, x, [0.0, 1.0, 0.0]),
        Input::Luma => |t, x| mix(t, x, [0.299, 0.587, 0.114]),
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
        project: |r, p| r.project(ProjectFilter, p),
        constrained,
        notices: of_2018
            .then(|| "SuppressNet is MISLnet here, its successor of 2018 (suppress.arch = mislnet)".into())
            .into_iter()
            .collect(),
    }))
}
