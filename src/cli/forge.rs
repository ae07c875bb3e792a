//! `lae-engine forge`: writes a data set of genuine and forged pictures as a folder.

use std::path::PathBuf;
use std::sync::Mutex;

use clap::Args;

use super::DataArgs;
use crate::data::dataset::Dataset;
use crate::data::export::export;
use crate::data::export_whole::export_whole;
use crate::data::{Provenance, Split, Task, Whole, WholeConfig};
use crate::error::{Error, Result};
use crate::report::terminal::{Progress, print, say};
use crate::text::shown;
use crate::train::resolve;

#[derive(Args)]
pub struct ForgeArgs {
    /// What is forged: inpainting, swap (faces) or attribute (of faces)
    #[arg(long, default_value = "inpainting", value_name = "TASK")]
    task: Task,
    #[command(flatten)]
    data: DataArgs,
    /// Folder to write; must not exist
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Side of the pictures in pixels [default: 256]; with --whole, of painted ones [default: 768]
    #[arg(long, value_name = "N")]
    size: Option<usize>,
    /// Pictures of the training split, half of them forged, a quarter each for validation and test [default: 200]; with --whole,
    /// photographs [default: all; 40 painted ones]
    #[arg(long, value_name = "N")]
    count: Option<usize>,
    /// A set of tests: photographs at their own size, each once genuine and forged by every forger at every size
    #[arg(long)]
    whole: bool,
    /// With --whole: sides of the forged region in percent of the short side
    #[arg(long, value_name = "PERCENT,…", default_value = "5,10,25,50", value_delimiter = ',', requires = "whole")]
    sizes: Vec<f64>,
    /// With --whole: all photographs, or those that `train` with the same photographs, seed and shares keeps for test or val
    #[arg(long, value_name = "SPLIT", default_value = "all", value_parser = ["all", "test", "val"], requires = "whole")]
    split: String,
    /// With --whole: write genuine and forged pictures through one JPEG of this quality [default: PNG]
    #[arg(long, value_name = "1..100", value_parser = clap::value_parser!(u8).range(1..=100), requires = "whole")]
    jpeg: Option<u8>,
    #[arg(long, value_name = "N", default_value = "0")]
    seed: u64,
    /// One setting, such as data.seen=patchmatch; repeat as needed
    #[arg(long = "set", value_name = "KEY=VALUE")]
    set: Vec<String>,
}

/// Where the preset is made for training on windows, a data set for any program has pictures that are forged as a whole, with
/// nothing but the forgery between the two of a pair.
const WHOLE: [&str; 8] = [
    "data.context=1",
    "data.native=0",
    "data.hard_negatives=0",
    "data.crop_scale=[1.0, 2.0]",
    "data.photographs=600",
    "data.photograph_scale=3.0",
    "augment.before=0",
    "augment.after=0",
];

impl ForgeArgs {
    pub fn run(self) -> Result<i32> {
        if self.whole {
            return self.run_whole();
        }
        let count = self.count.unwrap_or(200);
        if count < 2 || count % 2 == 1 {
            let why = format!("{count}: half of the pictures are forged; give an even number from 2");
            return Err(Error::config("--count", why));
        }
        let quarter = (count / 4).max(2) / 2 * 2;
        let mut set: Vec<String> = WHOLE.iter().map(|s| s.to_string()).collect();
        set.push(format!("task={}", self.task.name()));
        set.extend(self.data.settings()?);
        set.push(format!("size={}", self.size.unwrap_or(256)));
        set.push(format!("seed={}", self.seed));
        set.push(format!("data.train_count={count}"));
        set.push(format!("data.val_count={quarter}"));
        set.push(format!("data.test_count={quarter}"));
        set.extend(self.set);
        let config = resolve::shared("small", &set)?;
        let data = Dataset::open_processed(&config.data, &config.augment, config.size, config.seed, say)?;
        let progress: Mutex<Option<Progress>> = Mutex::new(None);
        let written = export(&data, &self.out, |_, total| {
            let mut bar = progress.lock().unwrap_or_else(|p| p.into_inner());
            bar.get_or_insert_with(|| Progress::new("forging", total as u64, 0, "pictures")).add(1, String::new);
        })?;
        drop(progress);
        let p = data.describe();
        let mut text = format!("{written} pictures in {}, {}×{} pixels, from {}\n", shown(&self.out), p.size, p.size, p.source);
        text += &told(&p);
        text += &format!("train on it: lae-engine train --data {}\n", shown(&self.out));
        print(&text)?;
        Ok(0)
    }

    /// Photographs at their own size.
    fn run_whole(self) -> Result<i32> {
        let fail = |key: &str, why: &str| Err(Error::config(key, why));
        if self.task != Task::Inpainting {
            return fail("--task", "painted faces have no size of their own, which --whole is about; leave one of both out");
        }
        if self.data.data.is_some() {
            return fail("--data", "is a ready data set, which --whole cannot forge again; give photographs with --photos");
        }
        if self.data.fingerprint.is_some() {
            return fail("--fingerprint", "no trace is planted on pictures at their own size; leave it out with --whole");
        }
        let painted = self.data.photos.is_none();
        if !painted && self.size.is_some() {
            return fail("--size", "photographs keep their own size with --whole; leave it out");
        }
        if self.count == Some(0) {
            return fail("--count", "0 photographs; give 1 or more, or leave it out for all of them");
        }
        let limit = self.count.unwrap_or(if painted { 40 } else { 0 });
        let mut set = self.data.settings()?;
        set.push(format!("seed={}", self.seed));
        if self.split == "all" {
            set.push("data.split=crop".into());
            if painted {
                set.push(format!("data.photographs={limit}"));
            }
        }
        set.extend(self.set);
        let config = resolve::shared("small", &set)?;
        let split = if self.split == "val" { Split::Val } else { Split::Test };
        let data = Dataset::open_telling(&config.data, config.size, config.seed, say)?;
        let sizes: Vec<f64> = self.sizes.iter().map(|s| s / 100.0).collect();
        let wanted = WholeConfig { sizes, limit, side: self.size.unwrap_or(768), ..WholeConfig::default() };
        let whole = Whole::of(&data, split, &wanted)?;
        let progress: Mutex<Option<Progress>> = Mutex::new(None);
        let (written, p) = export_whole(&whole, &self.out, self.jpeg, |_, total| {
            let mut bar = progress.lock().unwrap_or_else(|p| p.into_inner());
            bar.get_or_insert_with(|| Progress::new("forging", total as u64, 0, "pictures")).add(1, String::new);
        })?;
        drop(progress);
        let mut text =
            format!("{written} pictures of {} photographs in {}, from {}\n", whole.photographs(), shown(&self.out), p.source);
        text += &told(&p);
        text += &format!("judge a run by it: lae-engine eval RUN --data {}\n", shown(&self.out));
        print(&text)?;
        Ok(0)
    }
}

/// Methods and notices, a line each.
fn told(p: &Provenance) -> String {
    let mut text = String::new();
    p.methods.iter().for_each(|m| text += &format!("  {:<6} {:<11} {}\n", m.role, m.name, m.source));
    p.notices.iter().for_each(|n| text += &format!("  note: {n}\n"));
    text
}
