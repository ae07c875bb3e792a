//! XceptionNet (Chollet: CVPR 2017, arXiv 1610.02357; as a detector of forgeries Rössler et al.: ICCV 2019, arXiv 1901.08971):
//! from ImageNet weights, first the head alone, then all of it; the epoch with the highest validation accuracy is kept (LAE
//! paper, §3.1.2).

use std::path::PathBuf;

use super::classifier::{Classifier, unprepared};
use crate::core::params::ParamStore;
use crate::error::{Error, Result};
use crate::models::xception::{MIDDLE, Xception};
use crate::table;
use crate::train::TrainConfig;
use crate::train::config::{OwnKeys, Shared};
use crate::train::detector::{ACCURACY, Detector, Entry, Purpose, Schedule, Space, Stage, check_as, defaults_of, parse_as};
use crate::train::keys::check;

pub static ENTRY: Entry = Entry {
    name: "xception",
    title: "XceptionNet",
    source: "Chollet: CVPR 2017, arXiv 1610.02357; Rössler et al.: ICCV 2019, arXiv 1901.08971",
    presets: PRESETS,
    defaults: defaults_of::<XceptionKeys>,
    parse: parse_as::<XceptionKeys>,
    check: check_as::<XceptionKeys>,
    files: &["xcep.weights"],
    later: &[],
    former: &[],
    build,
};

const PRESETS: &str = r#"
# Batch 32, Adam 2e-4; three epochs of the head alone (where weights are loaded), twenty of all, the best by validation accuracy
# (LAE paper, §3.1.2). No early stopping: patience covers all epochs.
[paper]
train = { epochs = 20, batch = 32, lr = 2e-4, patience = 20 }

# A quarter of the width (725,810 parameters) and a larger rate, which falls to zero over the second half, so that short runs
# settle. Seed 0: 95.0 % right on the validation pictures in the last epoch, the best of all 30; 95.5 % on the seen forger's test
# pictures, 55 to 96.5 % on the unseen ones'.
[small]
train = { epochs = 30, batch = 32, lr = 1e-3, anneal = 0.5, patience = 30 }
xcep = { width = 0.25, middle = 2 }

[smoke]
xcep = { width = 0.125, middle = 1 }
"#;

table!(XceptionKeys { xcep: XcepConfig = XcepConfig::default() });
table!(
    /// The network and where its weights come from.
    XcepConfig {
        /// Scale of all channel counts, which are rounded to fours; 1 is the publication's network.
        width: f64 = 1.0,
        /// Blocks of the middle flow; 8 is the publication's network.
        middle: usize = 8,
        /// safetensors file of Xception with torch's names (timm: legacy_xception); none: seeded random weights, named in every
        /// report.
        #[serde(with = "crate::text::optional_path")]
        weights: Option<PathBuf> = None,
        /// With weights: epochs that train the head alone, before all is trained.
        head_epochs: usize = 3,
    }
);

impl OwnKeys for XceptionKeys {
    fn check(&self, _: &Shared) -> Result<()> {
        let k = &self.xcep;
        check::positive(&[("xcep.width", k.width)])?;
        if k.width > 4.0 {
            return Err(Error::config("xcep.width", format!("{}: give a number up to 4; 1 is Xception", k.width)));
        }
        if k.head_epochs > 1_000_000 {
            return Err(Error::config("xcep.head_epochs", format!("{}: give 0 to 1000000", k.head_epochs)));
        }
        check::counts(&[("xcep.middle", k.middle, MIDDLE.len())])
    }
}

fn build(c: &TrainConfig, store: &mut ParamStore, purpose: Purpose) -> Result<Box<dyn Detector>> {
    let k = c.own::<XceptionKeys>().xcep;
    let model = Xception::build(store, c.size, k.width, k.middle, 2)?;
    let all = Stage { name: "network", watch: ACCURACY, ..Classifier::training(c) };
    let mut stages = vec![(all.clone(), model.group.clone())];
    let mut notices = Vec::new();
    match &k.weights {
        None => notices.push("XceptionNet starts from random weights, not from ImageNet's (xcep.weights)".to_string()),
        Some(file) => {
            // A judge gets the weights of a run.
            if purpose == Purpose::Train {
                model.load(store, file)?;
            }
            if k.head_epochs > 0 {
                let head = Stage { name: "head", epochs: k.head_epochs, schedule: Schedule::Constant, patience: None, ..all };
                stages.insert(0, (head, model.head.clone()));
            }
        }
    }
    Ok(Box::new(Classifier {
        config: c.clone(),
        model: "xception",
        title: "XceptionNet",
        net: model.net,
        space: Space::Symmetric,
        prepare: unprepared,
        stages,
        constrained: Vec::new(),
        notices,
    }))
}
