//! `lae-engine eval`: the tables of a trained run, on its own test sets or on another data set.

use std::path::PathBuf;

use clap::Args;

use crate::core::params::ParamStore;
use crate::data::dataset::{DataConfig, Dataset, Split};
use crate::data::whole::{Whole, WholeConfig};
use crate::detectors;
use crate::device::Device;
use crate::error::Result;
use crate::metrics::Bootstrap;
use crate::report::terminal::{Progress, print, say};
use crate::report::{ReportData, table};
use crate::train::checkpoint::{self, What};
use crate::train::config::View;
use crate::train::detector::Purpose;
use crate::train::evaluate::evaluate;
use crate::train::examine::Examiner;
use crate::train::full_size;
use crate::train::inventory::met_before;
use crate::train::run::MODEL;
use crate::train::score::Scorer;
use crate::train::summary::{mask_rows, stage_models};

#[derive(Args)]
pub struct EvalArgs {
    /// Run folder
    run: PathBuf,
    /// Judge this data set (a folder or a manifest, as for `train --data`) instead of the run's own
    #[arg(long, value_name = "PATH")]
    data: Option<PathBuf>,
    /// Go on where a picture is in two splits, has two labels, or was trained on
    #[arg(long)]
    allow_duplicates: bool,
    /// How to look at pictures: windows (at their own size) or whole (shrunk, as the paper has it) [default: as trained]
    #[arg(long, value_name = "HOW")]
    view: Option<View>,
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
            // What the run was trained on says nothing of which methods another set has.
            (config.data.seen, config.data.unseen) = (DataConfig::default().seen, Vec::new());
        }
        config.data.allow_duplicates |= self.allow_duplicates;
        let view = self.view.unwrap_or(config.detect.view);
        let data = Dataset::open_processed(&config.data, &config.augment, config.size, config.seed, say)?;
        let met = met_before(&self.run, &data, config.data.allow_duplicates)?;
        let mut store = ParamStore::new(config.seed);
        config.cpu.apply()?;
        let detector = (entry.build)(&config, &mut store, Purpose::Judge)?;
        let stages = detector.stages();
        let names: Vec<&str> = stages.iter().map(|s| s.name).collect();
        let mut models = stage_models(&self.run, entry.name, &names, &store)?;
        let how = Bootstrap { resamples: config.eval.resamples, seed: config.seed };
        let tests: Vec<Split> = data.splits().into_iter().filter(|s| !matches!(s, Split::Train | Split::Val)).collect();
        let mut report = ReportData { masks: mask_rows(&data, &tests), ..ReportData::default() };
        // Windows are for photographs: the pictures of a folder are judged as they are, and those that a run made for itself both ways.
        if view == View::Whole || self.data.is_none() {
            let mut scorer = Scorer::new(&device, &*detector, &store, config.size, 32)?;
            let e = evaluate(&data, &*detector, &mut scorer, &mut models, &how, 0, |_| {})?;
            (report.detection, report.localisation) = (e.detection, e.localisation);
            report.notices.extend(e.notices);
            let size = config.size;
            report.notices.push(format!("view: whole, pictures of {size} × {size} pixels"));
        }
        if view == View::Windows {
            let file = self.run.join(MODEL);
            let model = models.last_mut().expect("a run has a stage");
            let notes = checkpoint::load(&mut model.store, &file, What::Model)?;
            let mut examiner = Examiner::new(&device, &*detector, &model.store, &config, view, (&notes, &file))?;
            // A data set is judged whole.
            let limit = if self.data.is_some() { 0 } else { config.eval.photographs };
            let whole = Whole::of(&data, Split::Test, &WholeConfig { limit, ..config.test_photographs() })?;
            let mut progress = Progress::new("photographs", whole.len() as u64, 0, "pictures");
            let tick = |n| progress.add(n as u64, String::new);
            let full = full_size::test(&whole, &*detector, &mut examiner, model, &how, 0, tick)?;
            drop(progress);
            report.notices.extend(full.notices.iter().cloned());
            report.notices.push("view: windows, photographs at their own size".into());
            (report.full_size, report.calibration) = (full.section(), full.calibration);
        }
        let p = data.describe();
        let mut notices = met;
        notices.extend(p.notices);
        notices.extend(p.synthetic_pictures.then(|| "the pictures are synthetic (built-in painter), not photographs".into()));
        notices.extend(p.synthetic_forgeries.then(|| "the forgeries were made by this program".into()));
        notices.append(&mut report.notices);
        report.notices = notices;
        if self.json {
            print(&format!("{}\n", serde_json::to_string_pretty(&report).expect("plain data")))?;
        } else {
            print(&format!("{}\n", table::summary(&report)))?;
        }
        Ok(0)
    }
}
