use clap::Args;

use crate::core::params::{Kind, ParamStore};
use crate::core::text::thousands;
use crate::error::{Error, Result};
use crate::models::dcgan::Dcgan;
use crate::models::lae::Lae;
use crate::models::vgg::Vgg;
use crate::report::terminal::print;
use crate::train::config::TrainConfig;

#[derive(Args)]
pub struct DescribeArgs {
    /// lae, vgg or dcgan [default: all]
    #[arg(long)]
    model: Option<String>,
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
        let c = TrainConfig::resolve(&self.preset, None, &set)?;
        let all = ["lae", "vgg", "dcgan"];
        if let Some(m) = self.model.as_deref().filter(|m| !all.contains(m)) {
            return Err(Error::config("--model", format!("{m:?} is not a network; one of {}", all.join(", "))));
        }
        let wants = |m: &str| self.model.as_deref().is_none_or(|x| x == m);
        let mut store = ParamStore::<f32>::new(0);
        if wants("lae") {
            let lae = Lae::build(&mut store, &c.lae, c.size)?;
            let total = thousands(store.count(Lae::GROUP, Kind::Trained));
            print(&format!("{}{}LAE: {total} parameters\n\n", lae.encoder.describe(&store), lae.decoder.describe(&store)))?;
        }
        if wants("vgg") {
            let side = if c.comp.input == 0 { c.size } else { c.comp.input };
            let vgg = Vgg::build(&mut store, side, &c.comp.layer, c.comp.post_relu, c.comp.width)?;
            print(&format!("{}\n", vgg.net.describe(&store)))?;
        }
        if wants("dcgan") {
            let d = Dcgan::build(&mut store, c.disc.arch, c.size, c.disc.width)?;
            print(&format!("{}\n", d.net.describe(&store)))?;
        }
        Ok(0)
    }
}
