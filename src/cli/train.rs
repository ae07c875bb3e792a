//! `lae-engine train`: a configuration from the words on the command line, then a run.

use std::path::PathBuf;

use clap::Args;

use super::DataArgs;
use crate::detectors;
use crate::device::Device;
use crate::error::{Error, Result};
use crate::report::terminal::{print, say};
use crate::text::shown;
use crate::train::place::Place;
use crate::train::run::Run;

#[derive(Args)]
pub struct TrainArgs {
    /// What is forged: inpainting, swap (faces) or attribute (of faces)
    #[arg(long, default_value = "inpainting", value_name = "TASK")]
    task: String,
    /// The method to train: lae, meso, residual, stats, suppress, transfer, xception [default: lae]
    #[arg(long, value_name = "NAME")]
    detector: Option<String>,
    #[command(flatten)]
    data: DataArgs,
    /// small (minutes), paper (by the letter: days), smoke (seconds)
    #[arg(long, default_value = "small")]
    preset: String,
    /// auto, cpu, cuda or emu (the PTX emulator: slow, checks every access)
    #[arg(long, default_value = "auto")]
    device: String,
    /// Run folder [default: runs/TASK-DETECTOR-PRESET-NUMBER]
    #[arg(long, value_name = "RUN")]
    out: Option<PathBuf>,
    /// Configuration file (TOML), over the preset
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// One setting, over preset and file; repeat as needed
    #[arg(long = "set", value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Fakes that a person would mask for stage 2 (0: no stage 2)
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    annotations: Option<usize>,
    /// How they are chosen: active or random
    #[arg(long, value_name = "HOW")]
    select: Option<String>,
    /// Stop between the selection and stage 2 until a person has drawn the masks (`lae-engine annotate RUN`)
    #[arg(long)]
    wait_for_masks: bool,
    /// Seed of everything random [default: 0]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    seed: Option<u64>,
    /// Go on with a run that was stopped
    #[arg(long, value_name = "RUN", conflicts_with_all = ["out", "config", "set", "annotations", "select", "wait_for_masks", "seed", "photos", "data"])]
    resume: Option<PathBuf>,
    /// Start behind the first stage of a run that was made with --annotations 0 and otherwise the same settings
    #[arg(long, value_name = "RUN", conflicts_with = "resume")]
    from: Option<PathBuf>,
    /// With --resume: go on although the pictures changed since the run began
    #[arg(long, requires = "resume")]
    changed_data: bool,
    /// With --resume: go on with the masks that a person has drawn so far
    #[arg(long, requires = "resume")]
    masks_so_far: bool,
    /// Print the resolved configuration and stop
    #[arg(long)]
    print_config: bool,
}

impl TrainArgs {
    pub fn run(self) -> Result<i32> {
        let (device, why) = Device::choose(&self.device)?;
        if let Some(dir) = &self.resume {
            let (entry, _) = detectors::of_run(dir)?;
            if let Some(name) = self.detector.as_deref().filter(|n| *n != entry.name) {
                let why = format!("{name}: the run {} was trained with {}; leave --detector out", shown(dir), entry.name);
                return Err(Error::config("--detector", why));
            }
            say(&format!("device    {why}"));
            let mut run = detectors::resume(dir, command(), &device, self.changed_data, self.data.allow_duplicates)?;
            run.masks_so_far = self.masks_so_far;
            run.run()?;
            return Ok(0);
        }
        let mut set = vec![format!("task={}", self.task)];
        set.extend(self.data.settings()?);
        set.extend(self.annotations.map(|n| format!("selection.annotations={n}")));
        set.extend(self.select.as_ref().map(|s| format!("selection.mode={s}")));
        set.extend(self.wait_for_masks.then(|| "selection.masks=person".into()));
        set.extend(self.seed.map(|s| format!("seed={s}")));
        set.extend(self.set.iter().cloned());
        let (entry, mut config) = detectors::resolve(self.detector.as_deref(), &self.preset, self.config.as_deref(), &set)?;
        config.find_files(entry.files)?;
        if self.print_config {
            print(&config.to_toml())?;
            return Ok(0);
        }
        // `runs/inpainting-lae-small-3`: the first number that is free.
        let numbered =
            || Place::Numbered { parent: "runs".into(), name: format!("{}-{}-{}", self.task, entry.name, self.preset) };
        let place = self.out.as_ref().map_or_else(numbered, Place::from);
        say(&format!("device    {why}"));
        let mut run = match &self.from {
            Some(from) => {
                let (_, trunk) = detectors::of_run(from)?;
                Run::branch(entry, config, (from, &trunk), place, command(), &device)?
            }
            None => Run::create(entry, config, place, command(), &device)?,
        };
        run.run()?;
        Ok(0)
    }
}

/// The command line as it was typed, names escaped.
pub fn command() -> String {
    let words = std::env::args_os().skip(1).map(shown).map(|a| if a.contains(' ') { format!("'{a}'") } else { a });
    std::iter::once("lae-engine".to_string()).chain(words).collect::<Vec<_>>().join(" ")
}
