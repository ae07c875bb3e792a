//! `lae-engine data check`: a line for everything that can be wrong with a data set; `data import`: a manifest of any layout.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::exchange;
use crate::core::text::thousands;
use crate::data::check::{Level, check, photographs};
use crate::data::config::DataConfig;
use crate::data::layout::{self, Kind, Wanted};
use crate::error::{Error, Result};
use crate::report::terminal::{print, say};
use crate::text::{json_line, shown};

#[derive(Args)]
pub struct DataCommand {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Say what is wrong with a data set before hours are spent on it; exit code 1 if a line is red
    Check {
        /// Data set, as for `train --data`: a folder or a manifest
        #[arg(required_unless_present = "photos", conflicts_with = "photos")]
        dir: Option<PathBuf>,
        /// Folder of photographs to make forgeries from, as for `train --photos`, instead of a data set
        #[arg(long, value_name = "DIR")]
        photos: Option<PathBuf>,
        /// Instead: what the model of this run says of the set's fakes with the forged region exchanged with their originals'
        #[arg(long, value_name = "RUN", conflicts_with = "photos")]
        exchange: Option<PathBuf>,
        /// auto, cpu, cuda or emu (for --exchange)
        #[arg(long, default_value = "auto", requires = "exchange")]
        device: String,
        /// One JSON object per line
        #[arg(long)]
        json: bool,
    },
    /// Write one manifest of a data set in any layout that is known: path, label, method, group, split, mask, original, box
    Import(ImportArgs),
}

#[derive(Args)]
struct ImportArgs {
    /// Data set, as for `train --data`: a folder or a manifest
    #[arg(value_name = "PATH")]
    from: PathBuf,
    /// The manifest to write: FILE.csv or FILE.jsonl
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// The layout, where a folder could be two: manifest, faceforensics, celeba, deepfakebench, plain, tampered, ready
    #[arg(long, value_name = "NAME")]
    layout: Option<String>,
    /// The method that is trained on, or all; the others are only tested on [default: of FaceForensics++ Face2Face, of CelebA StarGAN, else
    /// all]
    #[arg(long, value_name = "METHOD")]
    seen: Option<String>,
    /// Cut pictures by a square about the mask (mask), or not (none)
    #[arg(long, value_name = "HOW", default_value = "none")]
    crop: String,
    /// Where a fake has an original and no mask: make one of their difference (difference, in the folder FILE.masks), or not (none)
    #[arg(long, value_name = "HOW", default_value = "none")]
    masks: String,
    /// Seed of the division of a set without splits
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// Go on where a group (video, identity) is in two splits
    #[arg(long)]
    allow_duplicates: bool,
}

impl ImportArgs {
    fn run(self) -> Result<i32> {
        Kind::of(&self.out)?;
        if self.out.exists() {
            return Err(Error::data(&self.out, "is there already; remove it, or give another name"));
        }
        let differences = match self.masks.as_str() {
            "difference" => true,
            "none" => false,
            other => return Err(Error::config("--masks", format!("{other:?} is no way to make masks; give difference or none"))),
        };
        let by_masks = match self.crop.as_str() {
            "mask" => true,
            "none" => false,
            other => return Err(Error::config("--crop", format!("{other:?} is no way to cut pictures; give mask or none"))),
        };
        let Some(layout) = layout::detect(&self.from, self.layout.as_deref())? else { return Err(layout::unknown(&self.from)) };
        let config = DataConfig::default();
        let wanted = Wanted {
            seen: self.seen,
            unseen: Vec::new(),
            shares: (config.val_share as f64, config.test_share as f64),
            seed: self.seed,
            straddling: self.allow_duplicates,
        };
        let mut reading = layout::open(&self.from, layout, &wanted)?;
        reading.understood().iter().for_each(|line| say(line));
        let before = reading.remarks();
        if differences {
            // Names of rows are what the manifest is written from, so the folder is as absolute as they may be.
            let dir = std::path::absolute(self.out.with_extension("masks")).map_err(|e| Error::io(&self.out, e))?;
            layout::difference::write(&mut reading, &dir)?;
        }
        if by_masks {
            layout::crop::by_masks(&mut reading)?;
        }
        reading.remarks().iter().filter(|r| !before.contains(r)).for_each(|r| say(&format!("note      {r}")));
        layout::write(&reading, &self.out)?;
        say(&format!("manifest  {} with {} rows; train --data {0}", shown(&self.out), thousands(reading.rows.len())));
        Ok(0)
    }
}

impl DataCommand {
    pub fn run(self) -> Result<i32> {
        let (dir, photos, json) = match self.what {
            What::Import(import) => return import.run(),
            What::Check { dir: Some(dir), exchange: Some(run), device, json, .. } => {
                return exchange::run(&dir, &run, &device, json);
            }
            What::Check { dir, photos, json, .. } => (dir, photos, json),
        };
        let lines = match (dir, photos) {
            (Some(dir), _) => check(&dir, say)?,
            (None, photos) => photographs(&photos.expect("one of the two"), say)?,
        };
        let mut text = String::new();
        for l in &lines {
            if json {
                text += &format!("{}\n", json_line(&serde_json::to_value(l).expect("plain data")));
            } else {
                let remedy = if l.remedy.is_empty() { String::new() } else { format!(". {}", l.remedy) };
                text += &format!("{:<6}  {:<16} {}{remedy}\n", l.level.word(), l.what, l.found);
            }
        }
        print(&text)?;
        Ok(lines.iter().any(|l| l.level == Level::Red) as i32)
    }
}
