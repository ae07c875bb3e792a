use std::path::{Path, PathBuf};

use clap::Args;

use super::DataArgs;
use crate::device::Device;
use crate::error::{Error, Result};
use crate::report::terminal::{print, say};
use crate::train::config::TrainConfig;
use crate::train::run::{CONFIG, Run};

#[derive(Args)]
pub struct TrainArgs {
    /// What is forged
    #[arg(long, default_value = "inpainting", value_name = "TASK")]
    task: String,
    #[command(flatten)]
    data: DataArgs,
    /// small (minutes), paper (by the letter: days), smoke (seconds)
    #[arg(long, default_value = "small")]
    preset: String,
    /// auto, cpu, cuda or emu (the PTX emulator: slow, checks every access)
    #[arg(long, default_value = "auto")]
    device: String,
    /// Run folder [default: runs/TASK-PRESET-NUMBER]
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
    /// Seed of everything random [default: 0]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    seed: Option<u64>,
    /// Go on with a run that was stopped
    #[arg(long, value_name = "RUN", conflicts_with_all = ["out", "config", "set", "annotations", "select", "seed", "photos", "data"])]
    resume: Option<PathBuf>,
    /// Print the resolved configuration and stop
    #[arg(long)]
    print_config: bool,
}

impl TrainArgs {
    pub fn run(self) -> Result<i32> {
        let (device, why) = Device::choose(&self.device)?;
        if let Some(dir) = &self.resume {
            say(&format!("device    {why}"));
            Run::resume(dir, command(), &device)?.run()?;
            return Ok(0);
        }
        let mut set = vec![format!("task={}", self.task)];
        set.extend(self.data.settings()?);
        set.extend(self.annotations.map(|n| format!("al.annotations={n}")));
        set.extend(self.select.as_ref().map(|s| format!("al.mode={s}")));
        set.extend(self.seed.map(|s| format!("seed={s}")));
        set.extend(self.set.iter().cloned());
        let mut config = TrainConfig::resolve(&self.preset, self.config.as_deref(), &set)?;
        // A run folder must find its files from anywhere.
        for path in [&mut config.comp.weights, &mut config.data.photos, &mut config.data.dir].into_iter().flatten() {
            *path = std::fs::canonicalize(&*path).map_err(|e| Error::io(&*path, e))?;
        }
        if self.print_config {
            print(&config.to_toml())?;
            return Ok(0);
        }
        let dir = match &self.out {
            Some(dir) => dir.clone(),
            None => next_folder(Path::new("runs"), &format!("{}-{}", self.task, self.preset))?,
        };
        say(&format!("device    {why}"));
        Run::create(config, &dir, command(), &device)?.run()?;
        Ok(0)
    }
}

/// `runs/inpainting-small-3`: the first number that is free.
fn next_folder(parent: &Path, name: &str) -> Result<PathBuf> {
    let free = (1..100_000).map(|i| parent.join(format!("{name}-{i}"))).find(|d| !d.exists());
    free.ok_or_else(|| Error::config("--out", "no free folder name under runs/; give one"))
}

/// The command line as it was typed.
fn command() -> String {
    let words = std::env::args().skip(1).map(|a| if a.contains(' ') { format!("'{a}'") } else { a });
    std::iter::once("lae-engine".to_string()).chain(words).collect::<Vec<_>>().join(" ")
}

/// The configuration of a run folder, or what is wrong with it.
pub fn run_config(dir: &Path) -> Result<TrainConfig> {
    let file = dir.join(CONFIG);
    if !file.is_file() {
        return Err(Error::data(dir, format!("is not a run folder: it has no {CONFIG}; `lae-engine train` makes one")));
    }
    TrainConfig::load(&file)
}
