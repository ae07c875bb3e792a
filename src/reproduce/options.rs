//! What a reproduction was asked for, and where its parts lie.

use std::path::{Path, PathBuf};

use super::plan::{Job, Plan};
use crate::detectors;
use crate::error::Result;
use crate::text::shown;
use crate::train::TrainConfig;
use crate::train::detector::Entry;

/// What was asked for.
pub struct Options {
    pub plan: Plan,
    /// Where pictures come from, as `key=value`.
    pub data: Vec<String>,
    pub seeds: u64,
    pub out: PathBuf,
    /// Go on in a folder that exists.
    pub resume: bool,
    /// The command line, for the report.
    pub command: String,
}

impl Options {
    /// The run folder of a job.
    pub fn folder(&self, job: &str, seed: u64) -> PathBuf {
        self.out.join("runs").join(format!("{job}-{seed}"))
    }

    /// All settings of a run over what the runs of its detector share.
    fn settings(&self, job: &Job, seed: u64) -> Vec<String> {
        let shared = [format!("task={}", self.plan.task.name()), format!("seed={seed}")];
        shared.into_iter().chain(self.data.iter().cloned()).chain(job.set.iter().cloned()).collect()
    }

    /// The configuration of a run. `dir` holds the shared settings.
    pub fn config(&self, job: &Job, seed: u64, dir: &Path) -> Result<(&'static Entry, TrainConfig)> {
        let file = settings_file(dir, job.detector);
        let set = self.settings(job, seed);
        let (entry, mut config) = detectors::resolve(Some(job.detector), self.plan.scale.name(), Some(&file), &set)?;
        config.find_files(entry.files)?;
        Ok((entry, config))
    }

    /// The command that makes a run alone.
    pub fn alone(&self, job: &Job, seed: u64) -> String {
        let word = |s: String| if s.contains(|c: char| " '\"[]()*?&;|<>$".contains(c)) { format!("'{s}'") } else { s };
        let mut words = vec!["lae-engine train".to_string()];
        words.push(format!("--detector {} --preset {}", job.detector, self.plan.scale.name()));
        words.push(format!("--config {}", word(shown(settings_file(&self.out, job.detector)))));
        words.extend(self.settings(job, seed).into_iter().map(|s| format!("--set {}", word(s))));
        words.extend(job.from.as_ref().map(|from| format!("--from {}", word(shown(self.folder(from, seed))))));
        words.join(" ")
    }
}

/// What all runs of a detector share, in the folder of the reproduction.
pub fn settings_file(dir: &Path, detector: &str) -> PathBuf {
    dir.join("settings").join(format!("{detector}.toml"))
}
