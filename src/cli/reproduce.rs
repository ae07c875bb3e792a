//! `lae-engine reproduce`: which tables and figures, from the words on the command line.

use std::path::PathBuf;

use clap::Args;

use super::DataArgs;
use crate::data::Task;
use crate::detectors;
use crate::device::Device;
use crate::error::{Error, Result};
use crate::report::terminal::say;
use crate::reproduce::arms::{TRACES, Trace};
use crate::reproduce::plan::Plan;
use crate::reproduce::{Options, Part, Scale, reproduce};

#[derive(Args)]
pub struct ReproduceArgs {
    /// Tables of the paper, separated by commas: 1, 3, 4, 5, 6 or all [default: all, and all figures]; beside them shortcut: trainings
    /// against a planted trace
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    table: Vec<String>,
    /// Figures of the paper, separated by commas: 2, 3, 4, 5, failures (section 3.5) or all
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    figure: Vec<String>,
    /// What is forged: inpainting, swap (faces) or attribute (of faces)
    #[arg(long, default_value = "inpainting", value_name = "TASK")]
    task: Task,
    /// smoke (seconds a run, says nothing), small (64 pixels: hours on two cores) or paper (days)
    #[arg(long, default_value = "small", value_name = "SCALE")]
    scale: Scale,
    #[command(flatten)]
    data: DataArgs,
    /// Seeds 0 to K − 1 [default: 3; smoke: 1]
    #[arg(long, value_name = "K", value_parser = clap::value_parser!(u64).range(1..=1000))]
    seeds: Option<u64>,
    /// Traces of the table shortcut, separated by commas: checkerboard, checkerboard-0.9 (on nine fakes of ten), checkerboard-0.5, jpeg,
    /// resample, noise or all [default: checkerboard]
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    trace: Vec<String>,
    /// Methods that take part, separated by commas [default: all]
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    detectors: Vec<String>,
    /// Folder of the runs and the report [default: reproduce-SCALE]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Go on in a folder that was made by this command
    #[arg(long)]
    resume: bool,
    /// auto, cpu, cuda or emu
    #[arg(long, default_value = "auto")]
    device: String,
}

/// `beyond`: what is not meant by `all`.
fn parts(flag: &str, words: &[String], all: &[(&str, Part)], beyond: &[(&str, Part)]) -> Result<Vec<Part>> {
    let mut out = Vec::new();
    for word in words {
        match all.iter().chain(beyond).find(|p| p.0 == word) {
            Some(p) => out.push(p.1),
            None if word == "all" => out.extend(all.iter().map(|p| p.1)),
            None => {
                let names: Vec<&str> = all.iter().map(|p| p.0).collect();
                let more: String = beyond.iter().map(|p| format!(" (the paper's), or {}", p.0)).collect();
                return Err(Error::config(flag, format!("{word:?}: give {} or all{more}", names.join(", "))));
            }
        }
    }
    Ok(out)
}

fn traces(words: &[String]) -> Result<Vec<Trace>> {
    if words.iter().any(|w| w == "all") {
        return Ok(TRACES.to_vec());
    }
    let find = |word: &String| {
        let names: Vec<&str> = TRACES.iter().map(|t| t.name).collect();
        let unknown = || Error::config("--trace", format!("{word:?}: give {} or all", names.join(", ")));
        TRACES.iter().find(|t| t.name == word).copied().ok_or_else(unknown)
    };
    match words {
        [] => Ok(vec![TRACES[0]]),
        words => words.iter().map(find).collect(),
    }
}

impl ReproduceArgs {
    pub fn run(self) -> Result<i32> {
        let (device, why) = Device::choose(&self.device)?;
        let tables = parts("--table", &self.table, &Part::TABLES, &Part::BEYOND)?;
        let mut parts = [tables, parts("--figure", &self.figure, &Part::FIGURES, &[])?].concat();
        if parts.is_empty() {
            parts = Part::TABLES.iter().chain(&Part::FIGURES).map(|p| p.1).collect();
        }
        parts.sort();
        parts.dedup();
        let mut detectors: Vec<&'static str> = Vec::new();
        for name in &self.detectors {
            let entry = detectors::find(name).map_err(|e| match e {
                Error::Config { why, .. } => Error::config("--detectors", why),
                e => e,
            })?;
            detectors.push(entry.name);
        }
        if detectors.is_empty() {
            detectors = detectors::DETECTORS.iter().map(|e| e.name).collect();
        }
        let traces = traces(&self.trace)?;
        if !self.trace.is_empty() && !parts.contains(&Part::Shortcut) {
            return Err(Error::config("--trace", "belongs to --table shortcut; ask for that table, or leave it out"));
        }
        let plan = Plan { task: self.task, scale: self.scale, parts, detectors, traces };
        let options = Options {
            plan,
            data: self.data.settings()?,
            seeds: self.seeds.unwrap_or(if self.scale == Scale::Smoke { 1 } else { 3 }),
            out: self.out.clone().unwrap_or_else(|| format!("reproduce-{}", self.scale.name()).into()),
            resume: self.resume,
            command: super::train::command(),
        };
        say(&format!("device    {why}"));
        reproduce(&options, &device)
    }
}
