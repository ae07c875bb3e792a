//! `lae-engine forge`: writes a data set of genuine and forged pictures as a folder.

use std::path::PathBuf;
use std::sync::Mutex;

use clap::Args;

use super::DataArgs;
use crate::data::dataset::Dataset;
use crate::data::export::export;
use crate::error::{Error, Result};
use crate::report::terminal::{Progress, print, say};
use crate::text::shown;
use crate::train::resolve;

#[derive(Args)]
pub struct ForgeArgs {
    #[command(flatten)]
    data: DataArgs,
    /// Folder to write; must not exist
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Side of the pictures in pixels
    #[arg(long, value_name = "N", default_value = "256")]
    size: usize,
    /// Pictures of the training split, half of them forged; validation and test get a quarter each
    #[arg(long, value_name = "N", default_value = "200")]
    count: usize,
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
        if self.count < 2 || self.count % 2 == 1 {
            let why = format!("{}: half of the pictures are forged; give an even number from 2", self.count);
            return Err(Error::config("--count", why));
        }
        let quarter = (self.count / 4).max(2) / 2 * 2;
        let mut set: Vec<String> = WHOLE.iter().map(|s| s.to_string()).collect();
        set.extend(self.data.settings()?);
        set.push(format!("size={}", self.size));
        set.push(format!("seed={}", self.seed));
        set.push(format!("data.train_count={}", self.count));
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
        p.methods.iter().for_each(|m| text += &format!("  {:<6} {:<11} {}\n", m.role, m.name, m.source));
        p.notices.iter().for_each(|n| text += &format!("  note: {n}\n"));
        text += &format!("train on it: lae-engine train --data {}\n", shown(&self.out));
        print(&text)?;
        Ok(0)
    }
}
