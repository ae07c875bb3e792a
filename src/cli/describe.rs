//! `lae-engine describe`: the networks as tables.

use clap::Args;

use crate::core::dtype::DType;
use crate::core::params::{Kind, ParamStore};
use crate::core::text::thousands;
use crate::detectors::{self, DETECTORS};
use crate::error::{Error, Result};
use crate::report::terminal::print;
use crate::train::detector::{Detector, Purpose};

#[derive(Args)]
pub struct DescribeArgs {
    /// A network (lae, vgg, dcgan, meso …) or a detector: then all its networks [default: all of the detector]
    #[arg(long)]
    model: Option<String>,
    /// The detector whose networks are meant [default: lae, or the one that has the model]
    #[arg(long)]
    detector: Option<String>,
    /// Side of the pictures in pixels [default: the preset's]
    #[arg(long, value_name = "N")]
    size: Option<usize>,
    /// small, paper or smoke
    #[arg(long, default_value = "paper")]
    preset: String,
    /// One setting; repeat as needed
    #[arg(long = "set", value_name = "KEY=VALUE")]
    set: Vec<String>,
}

impl DescribeArgs {
    pub fn run(self) -> Result<i32> {
        let mut set: Vec<String> = self.size.map(|s| format!("size={s}")).into_iter().collect();
        set.extend(self.set);
        let names = |d: &dyn Detector| d.networks().iter().map(|n| n.model).collect::<Vec<_>>();
        let of = |detector: &str, preset: &str, set: &[String], purpose: Purpose| -> Result<(Box<dyn Detector>, ParamStore)> {
            let (entry, c) = detectors::resolve(Some(detector), preset, None, set)?;
            let mut store = ParamStore::new(0);
            store.activations = c.activations();
            Ok(((entry.build)(&c, &mut store, purpose)?, store))
        };
        // Whose network it is, where only the network is named: the smallest preset has them all, in little memory.
        let detector = match (&self.detector, &self.model) {
            (Some(d), _) => d.clone(),
            (None, Some(m)) if DETECTORS.iter().any(|e| e.name == m) => m.clone(),
            (None, Some(m)) => {
                let mut known = Vec::new();
                let mut owner = None;
                for e in DETECTORS {
                    let has = names(&*of(e.name, "smoke", &[], Purpose::Train)?.0);
                    owner = owner.or(has.contains(&m.as_str()).then_some(e.name));
                    known.extend(has);
                }
                known.dedup();
                owner
                    .ok_or_else(|| Error::config("--model", format!("{m:?} is not a network; one of {}", known.join(", "))))?
                    .to_string()
            }
            (None, None) => DETECTORS[0].name.to_string(),
        };
        // Drawing weights takes most of the time, so those of networks that only training needs are drawn if they are asked for.
        let (mut d, mut store) = of(&detector, &self.preset, &set, Purpose::Judge)?;
        if self.model.as_deref().is_none_or(|m| !names(&*d).contains(&m)) {
            (d, store) = of(&detector, &self.preset, &set, Purpose::Train)?;
        }
        // `lae` is a network and a detector: the network counts.
        let one = self.model.as_deref().filter(|m| names(&*d).contains(m));
        if let Some(m) = self.model.as_deref().filter(|m| one.is_none() && *m != detector) {
            let why = format!("{m:?} is not a network of {detector}; one of {}", names(&*d).join(", "));
            return Err(Error::config("--model", why));
        }
        let networks = d.networks();
        let mut models: Vec<&str> = networks.iter().map(|n| n.model).filter(|m| one.is_none_or(|one| one == *m)).collect();
        models.dedup();
        for model in models {
            let mut total = 0;
            for n in networks.iter().filter(|n| n.model == model) {
                print(&n.net.describe(&store))?;
                total += store.count(&n.group, if n.trained { Kind::Trained } else { Kind::Frozen });
            }
            print(&format!("{model}: {} parameters\n\n", thousands(total)))?;
        }
        if store.activations == DType::Bf16 {
            print("activations in bf16, parameters and their gradients in f32\n")?;
        }
        Ok(0)
    }
}
