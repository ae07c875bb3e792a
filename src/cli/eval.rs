use std::path::PathBuf;

use clap::Args;

use super::train::run_config;
use crate::core::params::ParamStore;
use crate::data::dataset::Dataset;
use crate::device::Device;
use crate::error::Result;
use crate::metrics::Bootstrap;
use crate::models::lae::Lae;
use crate::report::terminal::{print, say};
use crate::report::{ReportData, table};
use crate::train::checkpoint::{self, What};
use crate::train::evaluate::evaluate;
use crate::train::run::{MODEL, STAGE1};
use crate::train::step::Scorer;

#[derive(Args)]
pub struct EvalArgs {
    /// Run folder
    run: PathBuf,
    /// Judge this data set (the layout of `train --data`) instead of the run's own
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// auto, cpu, cuda or emu
    #[arg(long, default_value = "auto")]
    device: String,
    /// Print JSON instead of the table
    #[arg(long)]
    json: bool,
}

impl EvalArgs {
    pub fn run(self) -> Result<i32> {
        let (device, why) = Device::choose(&self.device)?;
        eprintln!("device    {why}");
        let mut config = run_config(&self.run)?;
        if let Some(dir) = &self.data {
            config.data.dir = Some(dir.clone());
            config.data.photos = None;
        }
        let data = Dataset::open_telling(&config.data, config.size, config.seed, say)?;
        let mut before = ParamStore::new(config.seed);
        let lae = Lae::build(&mut before, &config.lae, config.size)?;
        let mut after = before.clone();
        checkpoint::load(&mut before, &self.run.join(STAGE1), What::Model)?;
        checkpoint::load(&mut after, &self.run.join(MODEL), What::Model)?;
        let mut scorer = Scorer::new(&device, &config, &lae, &before, 32)?;
        let how = Bootstrap { resamples: config.eval.resamples, seed: config.seed };
        let second = (config.al.annotations > 0).then_some(&mut after);
        let e = evaluate(&data, &mut scorer, [Some(&mut before), second], &how, 0, |_| {})?;
        let p = data.describe();
        let mut notices = p.notices;
        notices.extend(p.synthetic_pictures.then(|| "the pictures are synthetic (built-in painter), not photographs".into()));
        notices.extend(p.synthetic_forgeries.then(|| "the forgeries were made by this program".into()));
        notices.extend(e.notices);
        let report = ReportData { notices, detection: e.detection, localisation: e.localisation, ..ReportData::default() };
        if self.json {
            print(&format!("{}\n", serde_json::to_string_pretty(&report).expect("plain data")))?;
        } else {
            print(&format!("{}\n", table::summary(&report)))?;
        }
        Ok(0)
    }
}
