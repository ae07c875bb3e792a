//! `lae-engine eval`: the tables of a trained run, on its own test sets or on another data set.

use std::path::PathBuf;

use clap::Args;

use crate::core::params::ParamStore;
use crate::data::dataset::Dataset;
use crate::detectors;
use crate::device::Device;
use crate::error::Result;
use crate::metrics::Bootstrap;
use crate::report::terminal::{print, say};
use crate::report::{ReportData, table};
use crate::train::detector::Purpose;
use crate::train::evaluate::evaluate;
use crate::train::inventory::met_before;
use crate::train::score::Scorer;
use crate::train::summary::stage_models;

#[derive(Args)]
pub struct EvalArgs {
    /// Run folder
    run: PathBuf,
    /// Judge this data set (the layout of `train --data`) instead of the run's own
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Go on where a picture is in two splits, has two labels, or was trained on
    #[arg(long)]
    allow_duplicates: bool,
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
        let (entry, mut config) = detectors::of_run(&self.run)?;
        if let Some(dir) = &self.data {
            config.data.dir = Some(dir.clone());
            config.data.photos = None;
        }
        config.data.allow_duplicates |= self.allow_duplicates;
        let data = Dataset::open_processed(&config.data, &config.augment, config.size, config.seed, say)?;
        let met = met_before(&self.run, &data, config.data.allow_duplicates)?;
        let mut store = ParamStore::new(config.seed);
        let detector = (entry.build)(&config, &mut store, Purpose::Judge)?;
        let stages = detector.stages();
        let names: Vec<&str> = stages.iter().map(|s| s.name).collect();
        let mut models = stage_models(&self.run, entry.name, &names, &store)?;
        let mut scorer = Scorer::new(&device, &*detector, &store, config.size, 32)?;
        let how = Bootstrap { resamples: config.eval.resamples, seed: config.seed };
        let e = evaluate(&data, &*detector, &mut scorer, &mut models, &how, 0, |_| {})?;
        let p = data.describe();
        let mut notices = met;
        notices.extend(p.notices);
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
