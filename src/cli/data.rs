//! `lae-engine data check`: a line for everything that can be wrong with a data folder.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::exchange;
use crate::data::check::{Level, check, photographs};
use crate::error::Result;
use crate::report::terminal::{print, say};
use crate::text::json_line;

#[derive(Args)]
pub struct DataCommand {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Say what is wrong with a data set before hours are spent on it; exit code 1 if a line is red
    Check {
        /// Data set: DIR/{train,val,test}/{real,fake,mask} and DIR/unseen/METHOD/{fake,mask}
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
}

impl DataCommand {
    pub fn run(self) -> Result<i32> {
        let What::Check { dir, photos, exchange, device, json } = self.what;
        if let (Some(dir), Some(run)) = (&dir, &exchange) {
            return exchange::run(dir, run, &device, json);
        }
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
