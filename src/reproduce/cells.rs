//! What the runs gave, and figures over their seeds.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::arms::TRACES;
use super::copies;
use crate::error::{Error, Result};
use crate::metrics::Interval;
use crate::metrics::student;
use crate::report::{DetectionRow, LocalisationRow, Origin, ReportData};
use crate::train::exchange::Copies;
use crate::train::run::SELECTION;

/// The record of a finished run in its folder.
pub const CELL: &str = "cell.json";

/// What a run took, and how to make it alone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Cell {
    pub job: String,
    pub seed: u64,
    pub detector: String,
    pub command: String,
    pub device: String,
    /// Checksum of the list of files that it was trained on; none for built-in pictures, which the configuration determines.
    pub data: Option<String>,
    /// Checksum of its config.toml.
    pub config: String,
    /// Of work, interruptions left out; what a shared first stage took is counted in it.
    pub seconds: f64,
    /// Why it has no figures: it diverged.
    pub failed: Option<String>,
}

/// A finished run: its record and the figures of its report.
pub struct Outcome {
    pub cell: Cell,
    pub detection: Vec<DetectionRow>,
    pub localisation: Vec<LocalisationRow>,
    /// What must be known before any figure.
    pub notices: Vec<String>,
    /// Share of the training pictures that the linear concept model gets right.
    pub linear: Option<f64>,
    /// For each trace that it was judged by, what it says of pictures with and without it.
    pub copies: Vec<(&'static str, Vec<Copies>)>,
}

impl Outcome {
    /// Of a run folder with a [`CELL`].
    pub fn load(dir: &Path) -> Result<Outcome> {
        let file = dir.join(CELL);
        let bytes = std::fs::read(&file).map_err(|e| Error::io(&file, e))?;
        let cell: Cell = serde_json::from_slice(&bytes).map_err(|e| {
            Error::data(&file, format!("not a record of `reproduce` ({e}); remove the folder and it is trained again"))
        })?;
        if cell.failed.is_some() {
            let (detection, localisation, notices, copies) = (vec![], vec![], vec![], vec![]);
            return Ok(Outcome { cell, detection, localisation, notices, linear: None, copies });
        }
        let report = ReportData::load(dir.join("report.json"))?;
        let linear = std::fs::read(dir.join(SELECTION)).ok();
        let linear = linear.and_then(|b| serde_json::from_slice::<serde_json::Value>(&b).ok()?["linear_accuracy"].as_f64());
        let mut judged = Vec::new();
        for trace in &TRACES {
            judged.extend(copies::load(dir, trace.name)?.map(|c| (trace.name, c)));
        }
        let ReportData { detection, localisation, notices, .. } = report;
        Ok(Outcome { cell, detection, localisation, notices, linear, copies: judged })
    }

    /// What it says of pictures with and without a trace; nothing where it was not judged by that.
    pub fn copies(&self, trace: &str) -> &[Copies] {
        self.copies.iter().find(|c| c.0 == trace).map_or(&[], |c| &c.1)
    }

    /// The accuracy of the weights that the last stage left, and its interval over test pictures.
    pub fn accuracy(&self, set: &Set) -> Option<Interval> {
        set.of(&self.detection, |r| (r.split, &r.method), |r| r.models.last().map(|m| m.figures.accuracy))
    }

    /// IoU at 0.5 of the map with the region, mean over the fakes of a set; `constant`: of the constant map.
    pub fn iou(&self, set: &Set, constant: bool) -> Option<Interval> {
        set.of(
            &self.localisation,
            |r| (r.split, &r.method),
            |r| match constant {
                true => r.constant.as_ref().map(|c| c.iou_half),
                false => r.last().map(|m| m.figures.iou_half),
            },
        )
    }
}

/// Pictures that a figure is about.
#[derive(Clone, Debug, PartialEq)]
pub enum Set {
    /// The test pictures of the forger that was trained on.
    Seen,
    /// Those of another.
    Unseen(String),
    /// The mean over all others, each counted once.
    AllUnseen,
}

impl Set {
    /// The figure of this set's row, or the mean of all unseen rows, which has no interval of its own.
    fn of<R>(
        &self,
        rows: &[R],
        key: impl Fn(&R) -> (Origin, &String),
        figure: impl Fn(&R) -> Option<Interval>,
    ) -> Option<Interval> {
        let is = |r: &&R| match (self, key(r)) {
            (Set::Seen, (split, _)) => split == Origin::Seen,
            (Set::Unseen(name), (split, method)) => split == Origin::Unseen && method == name,
            (Set::AllUnseen, (split, _)) => split == Origin::Unseen,
        };
        let all: Vec<Interval> = rows.iter().filter(is).filter_map(&figure).collect();
        match self {
            Set::AllUnseen if !all.is_empty() => {
                Some(Interval::point(all.iter().map(|i| i.value).sum::<f64>() / all.len() as f64))
            }
            _ => all.first().copied(),
        }
    }

    pub fn name(&self) -> String {
        match self {
            Set::Seen => "seen".into(),
            Set::Unseen(name) => format!("unseen: {name}"),
            Set::AllUnseen => "unseen, mean".into(),
        }
    }
}

/// A figure over seeds: the mean with Student's 95 % interval from two seeds on, the run's own interval over test pictures with one.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Figure {
    /// None without a run that gave the figure.
    pub mean: Option<Interval>,
    /// Each seed and its value.
    pub seeds: Vec<(u64, f64)>,
    /// Why runs have no figure.
    pub failed: Vec<String>,
}

impl Figure {
    /// From the values of seeds. `own`: the interval that a single run gave.
    fn of(seeds: Vec<(u64, f64)>, own: Option<Interval>, failed: Vec<String>) -> Figure {
        let values: Vec<f64> = seeds.iter().map(|s| s.1).collect();
        let mean = match values.len() {
            0 => None,
            1 => Some(own.unwrap_or(Interval::point(values[0]))),
            _ => Some(interval(&values)),
        };
        Figure { mean, seeds, failed }
    }

    /// `93.2 % [92.1, 94.3]`, or why there is none.
    pub fn text(&self) -> String {
        let failed = if self.failed.is_empty() { String::new() } else { format!(" ({} diverged)", self.failed.len()) };
        match &self.mean {
            Some(i) if i.lo == i.hi => i.percent_value() + &failed,
            Some(i) => i.percent() + &failed,
            None if failed.is_empty() => "not yet".into(),
            None => "diverged".into(),
        }
    }
}

/// Mean and Student's 95 % interval of two or more values.
pub fn interval(values: &[f64]) -> Interval {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let deviation = (values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (n - 1.0)).sqrt();
    let half = student::quantile(0.975, values.len() - 1) * deviation / n.sqrt();
    Interval { value: mean, lo: mean - half, hi: mean + half }
}

/// Two-sided probability of a mean so far from zero, by Student's t on two or more differences.
pub fn p_value(differences: &[f64]) -> f64 {
    let n = differences.len() as f64;
    let mean = differences.iter().sum::<f64>() / n;
    let variance = differences.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (n - 1.0);
    if variance == 0.0 {
        return if mean == 0.0 { 1.0 } else { 0.0 };
    }
    2.0 * (1.0 - student::cumulative(mean.abs() / (variance / n).sqrt(), differences.len() - 1))
}

/// All finished runs.
#[derive(Default)]
pub struct Runs(pub Vec<Outcome>);

impl Runs {
    pub fn of<'a>(&'a self, job: &'a str) -> impl Iterator<Item = &'a Outcome> {
        self.0.iter().filter(move |o| o.cell.job == job)
    }

    /// A figure of a job over its seeds.
    pub fn figure(&self, job: &str, of: impl Fn(&Outcome) -> Option<Interval>) -> Figure {
        let found: Vec<(u64, Interval)> = self.of(job).filter_map(|o| Some((o.cell.seed, of(o)?))).collect();
        let failed = self.of(job).filter_map(|o| o.cell.failed.clone()).collect();
        Figure::of(found.iter().map(|f| (f.0, f.1.value)).collect(), found.first().map(|f| f.1), failed)
    }

    /// `of` of the first job of each pair less that of the second, mean over the pairs; one number for every seed that has all.
    pub fn differences(&self, pairs: &[(String, String)], of: impl Fn(&Outcome) -> Option<Interval>) -> Vec<f64> {
        let value = |job: &str, seed: u64| self.of(job).find(|o| o.cell.seed == seed).and_then(&of).map(|i| i.value);
        let of_seed = |seed: u64| {
            let each: Option<Vec<f64>> = pairs.iter().map(|(a, b)| Some(value(a, seed)? - value(b, seed)?)).collect();
            each.map(|each| each.iter().sum::<f64>() / each.len() as f64)
        };
        let seeds: std::collections::BTreeSet<u64> = self.0.iter().map(|o| o.cell.seed).collect();
        seeds.into_iter().filter_map(of_seed).collect()
    }

    /// The forgers that tests have and training has not, in the order of the reports.
    pub fn unseen(&self) -> Vec<String> {
        let first = self.0.iter().find(|o| !o.detection.is_empty());
        let rows = first.into_iter().flat_map(|o| &o.detection).filter(|r| r.split == Origin::Unseen);
        rows.map(|r| r.method.clone()).collect()
    }

    /// The forger that training has.
    pub fn seen(&self) -> Option<&str> {
        self.0.iter().flat_map(|o| &o.detection).find(|r| r.split == Origin::Seen).map(|r| r.method.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn means_have_students_interval() {
        // t(0.975, 2) = 4.303; deviation 1, n = 3.
        let i = interval(&[1.0, 2.0, 3.0]);
        assert!((i.value - 2.0).abs() < 1e-12 && (i.hi - 2.0 - 4.303 / 3f64.sqrt()).abs() < 1e-3, "{i:?}");
        // Two differences 1 and 3: t = 2/1, one degree of freedom: p = 1 − 2·atan(2)/π.
        let p = p_value(&[1.0, 3.0]);
        assert!((p - (1.0 - 2.0 * 2f64.atan() / std::f64::consts::PI)).abs() < 1e-9, "{p}");
        assert_eq!((p_value(&[0.0, 0.0]), p_value(&[1.0, 1.0])), (1.0, 0.0));
    }

    #[test]
    fn a_figure_says_what_it_lacks() {
        let of = |seeds: &[(u64, f64)], failed: &[&str]| {
            Figure::of(seeds.to_vec(), None, failed.iter().map(|s| s.to_string()).collect()).text()
        };
        assert_eq!(of(&[], &[]), "not yet");
        assert_eq!(of(&[], &["step 3"]), "diverged");
        assert_eq!(of(&[(0, 0.5)], &[]), "50.0 %");
        assert_eq!(of(&[(0, 0.5), (1, 0.5)], &["step 3"]), "50.0 % (1 diverged)");
        assert!(of(&[(0, 0.5), (1, 0.6)], &[]).starts_with("55.0 % ["));
    }
}
