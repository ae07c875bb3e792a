//! Which trainings the tables and figures need: each once, a first stage before what goes on from it.

use std::str::FromStr;

use super::arms::{ARMS, Trace};
use super::paper;
use crate::data::Task;
use crate::detectors;
use crate::train::detector::Entry;
use crate::train::resolve::whole_pictures;

/// A table or a figure, most of them of the paper.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    Table1,
    Table3,
    Table4,
    Table5,
    Table6,
    Figure2,
    Figure3,
    Figure4,
    Figure5,
    /// §3.5: where right and wrong verdicts look.
    Failures,
    /// Not of the paper: trainings against a planted trace.
    Shortcut,
}

impl Part {
    pub const TABLES: [(&'static str, Part); 5] =
        [("1", Part::Table1), ("3", Part::Table3), ("4", Part::Table4), ("5", Part::Table5), ("6", Part::Table6)];
    /// Tables that are not of the paper, made only if they are asked for by name.
    pub const BEYOND: [(&'static str, Part); 1] = [("shortcut", Part::Shortcut)];
    pub const FIGURES: [(&'static str, Part); 5] =
        [("2", Part::Figure2), ("3", Part::Figure3), ("4", Part::Figure4), ("5", Part::Figure5), ("failures", Part::Failures)];

    /// As the report calls it.
    pub fn name(self) -> String {
        let of = |all: &[(&str, Part)], what: &str| {
            all.iter()
                .find(|p| p.1 == self)
                .map(|p| if p.0 == "failures" { "Section 3.5".into() } else { format!("{what} {}", p.0) })
        };
        let tables = of(&Part::TABLES, "Table").or_else(|| of(&Part::BEYOND, "Table"));
        tables.or_else(|| of(&Part::FIGURES, "Figure")).expect("one of all")
    }
}

/// How large everything is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scale {
    /// Seconds: shows that everything works, and nothing else.
    Smoke,
    /// 64 pixels, hours on two cores.
    Small,
    /// The paper's sizes: days on a GPU.
    Paper,
}

impl FromStr for Scale {
    type Err = String;
    fn from_str(s: &str) -> Result<Scale, String> {
        match s {
            "smoke" => Ok(Scale::Smoke),
            "small" => Ok(Scale::Small),
            "paper" => Ok(Scale::Paper),
            _ => Err("give smoke, small or paper".into()),
        }
    }
}

/// Over pictures that are judged as a whole, what keeps 24 trainings of the LAE a seed within hours: ten epochs for sixteen, and a comparator of half the width, which
/// is most of a step's work.
const HASTE: &str = "train.epochs = 10\ncomparator.width = 0.125";

impl Scale {
    /// The name of the presets.
    pub fn name(self) -> &'static str {
        match self {
            Scale::Smoke => "smoke",
            Scale::Small => "small",
            Scale::Paper => "paper",
        }
    }

    /// The numbers of annotated pictures of the paper's LAE_100, LAE_400 and LAE_800, fewer where there are few pictures.
    pub fn annotations(self) -> [usize; 3] {
        if self == Scale::Smoke { [2, 4, 8] } else { [100, 400, 800] }
    }

    /// The configuration over the preset that the runs of a detector share.
    pub fn settings(self, entry: &Entry) -> String {
        if self != Scale::Small {
            return String::new();
        }
        let mut table = whole_pictures(Some(entry));
        if entry.name == LAE {
            let haste: toml::Table = HASTE.parse().expect("two keys");
            for (name, keys) in haste {
                let of = table.entry(name).or_insert_with(|| toml::Value::Table(Default::default()));
                of.as_table_mut().expect("a table").extend(keys.as_table().expect("a table").clone());
            }
        }
        toml::to_string(&table).expect("plain data")
    }
}

const LAE: &str = "lae";

/// A training, whatever its seed.
#[derive(Debug, Clone, PartialEq)]
pub struct Job {
    /// Name of its folders: `lae-100-active`.
    pub name: String,
    pub detector: &'static str,
    /// `key=value` over what all runs of the detector share.
    pub set: Vec<String>,
    /// The job whose first stage it goes on from.
    pub from: Option<String>,
}

/// A row of a table: what it is called, the job that it reads, the paper's figures for seen and unseen.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    pub label: String,
    pub job: String,
    pub paper: Option<[f64; 2]>,
}

/// The name of the job of the first stage as the paper has it.
pub const FIRST: &str = "lae-stage1";

/// The job that annotates `n` fakes.
pub fn annotated(n: usize, random: bool) -> String {
    format!("lae-{n}-{}", if random { "random" } else { "active" })
}

fn weights(beta: [f64; 3]) -> String {
    if beta == paper::TABLE_5[0].0 { FIRST.into() } else { format!("lae-beta-{}-{}-{}", beta[0], beta[1], beta[2]) }
}

fn balance(lambda: [f64; 2], most: usize) -> String {
    // The LAE of Table 3 has these weights.
    if lambda == [0.5, 1.0] { annotated(most, false) } else { format!("lae-lambda-{}-{}", lambda[0], lambda[1]) }
}

/// Which trainings are made, and which rows read them.
pub struct Plan {
    pub task: Task,
    pub scale: Scale,
    pub parts: Vec<Part>,
    /// Names of the detectors that take part.
    pub detectors: Vec<&'static str>,
    /// Traces that the table of shortcuts is made for.
    pub traces: Vec<Trace>,
}

impl Plan {
    fn takes(&self, name: &str) -> bool {
        self.detectors.contains(&name)
    }

    fn has(&self, part: Part) -> bool {
        self.parts.contains(&part)
    }

    /// The rows of a table that these detectors fill. Table 3 has one for every detector of the registry, in the paper or not.
    pub fn rows(&self, part: Part) -> Vec<Row> {
        let counts = self.scale.annotations();
        let lae = self.takes(LAE);
        let row = |label: String, job: String, paper: [f64; 2]| Row { label, job, paper: Some(paper) };
        match part {
            Part::Table3 => {
                let baselines = detectors::DETECTORS.iter().filter(|e| e.name != LAE && self.takes(e.name));
                let baselines = baselines.map(|e| Row {
                    label: e.title.into(),
                    job: e.name.into(),
                    paper: paper::BASELINES.iter().find(|b| b.0 == e.name).map(|b| paper::of(&b.1, self.task)),
                });
                let ours = counts.into_iter().zip(paper::LAE.iter().map(|l| paper::of(l, self.task))).filter(|_| lae);
                baselines.chain(ours.map(|(n, paper)| row(format!("LAE_{n}"), annotated(n, false), paper))).collect()
            }
            Part::Table4 if lae => {
                let jobs =
                    ["lae-rec".into(), "lae-latent".into(), "lae-latent-pixel".into(), FIRST.into(), annotated(counts[2], false)];
                paper::TABLE_4.into_iter().zip(jobs).map(|((name, paper), job)| row(name.into(), job, paper)).collect()
            }
            Part::Table5 if lae => {
                let label = |b: [f64; 3]| format!("β₁ {}, β₂ {}, β₃ {}", b[0], b[1], b[2]);
                paper::TABLE_5.into_iter().map(|(b, paper)| row(label(b), weights(b), paper)).collect()
            }
            Part::Table6 if lae => {
                let label = |l: [f64; 2]| format!("λ₁ {}, λ₂ {}", l[0], l[1]);
                paper::TABLE_6.into_iter().map(|(l, paper)| row(label(l), balance(l, counts[2]), paper)).collect()
            }
            Part::Figure5 if lae => {
                let row = |label: String, job: String| Row { label, job, paper: None };
                let both = |n| [(n, "active", false), (n, "at random", true)];
                let points =
                    counts.into_iter().flat_map(both).map(|(n, how, random)| row(format!("{n} {how}"), annotated(n, random)));
                [row("no annotations".into(), FIRST.into())].into_iter().chain(points).collect()
            }
            _ => Vec::new(),
        }
    }

    /// The rows about a trace: every arm after stage 1 and, with the fewest annotations, after stage 2.
    pub fn arms(&self, trace: &Trace) -> Vec<Row> {
        let (n, lae) = (self.scale.annotations()[0], self.takes(LAE));
        let rows = ARMS.iter().filter(|_| lae).flat_map(|arm| {
            let jobs = match arm.job(trace) {
                None => [FIRST.to_string(), annotated(n, false)],
                Some(job) => [job.clone(), format!("{job}-{n}")],
            };
            let stages = ["stage 1".to_string(), format!("LAE_{n}")];
            stages.into_iter().zip(jobs).map(|(stage, job)| Row { label: format!("{}: {stage}", arm.label), job, paper: None })
        });
        rows.collect()
    }

    /// Every training once, in an order in which what a job goes on from comes before it.
    pub fn jobs(&self) -> Vec<Job> {
        let mut jobs: Vec<Job> = Vec::new();
        let mut need = |job: Job| {
            if jobs.iter().all(|j| j.name != job.name) {
                jobs.push(job);
            }
        };
        let counts = self.scale.annotations();
        let first = |name: &str, set: &[&str]| Job {
            name: name.into(),
            detector: LAE,
            set: ["selection.annotations=0"].iter().chain(set).map(|s| s.to_string()).collect(),
            from: None,
        };
        let second = |name: String, n: usize, more: Vec<String>| Job {
            name,
            detector: LAE,
            set: [vec![format!("selection.annotations={n}")], more].concat(),
            from: Some(FIRST.into()),
        };
        let active = |n: usize| second(annotated(n, false), n, vec![]);
        if self.takes(LAE) {
            need(first(FIRST, &[]));
        }
        if self.has(Part::Table3) || self.has(Part::Figure3) {
            for e in detectors::DETECTORS.iter().filter(|e| e.name != LAE && self.takes(e.name)) {
                need(Job { name: e.name.into(), detector: e.name, set: vec![], from: None });
            }
            counts.into_iter().filter(|_| self.takes(LAE)).for_each(|n| need(active(n)));
        }
        let largest = [Part::Table4, Part::Figure4, Part::Failures, Part::Table6].iter().any(|p| self.has(*p));
        if self.takes(LAE) && largest {
            need(active(counts[2]));
        }
        if self.takes(LAE) && self.has(Part::Table4) {
            need(first("lae-rec", &["loss.alpha2=0"]));
            need(first("lae-latent", &["loss.alpha1=0"]));
            need(first("lae-latent-pixel", &["loss.beta2=0", "loss.beta3=0"]));
        }
        if self.takes(LAE) && self.has(Part::Figure5) {
            for n in counts {
                need(active(n));
                need(second(annotated(n, true), n, vec!["selection.mode=random".into()]));
            }
        }
        if self.takes(LAE) && self.has(Part::Table5) {
            for (b, ..) in paper::TABLE_5.into_iter().skip(1) {
                let set: Vec<String> = b.iter().enumerate().map(|(i, b)| format!("loss.beta{}={b:?}", i + 1)).collect();
                need(first(&weights(b), &set.iter().map(String::as_str).collect::<Vec<_>>()));
            }
        }
        if self.takes(LAE) && self.has(Part::Shortcut) {
            let n = counts[0];
            need(active(n));
            for (trace, arm) in self.traces.iter().flat_map(|t| ARMS.iter().map(move |a| (t, a))) {
                let (Some(name), set) = (arm.job(trace), arm.settings(trace)) else { continue };
                need(first(&name, &set.iter().map(String::as_str).collect::<Vec<_>>()));
                need(Job { from: Some(name.clone()), ..second(format!("{name}-{n}"), n, set) });
            }
        }
        if self.takes(LAE) && self.has(Part::Table6) {
            for (l, ..) in paper::TABLE_6 {
                let set = l.iter().enumerate().map(|(i, l)| format!("loss.lambda{}={l:?}", i + 1)).collect();
                need(second(balance(l, counts[2]), counts[2], set));
            }
        }
        jobs
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reproduce::arms::TRACES;

    fn plan(parts: Vec<Part>, detectors: Vec<&'static str>) -> Plan {
        Plan { task: Task::Inpainting, scale: Scale::Small, parts, detectors, traces: TRACES.to_vec() }
    }

    fn all() -> Plan {
        let parts = Part::TABLES.iter().chain(&Part::FIGURES).map(|p| p.1).collect();
        plan(parts, detectors::DETECTORS.iter().map(|e| e.name).collect())
    }

    #[test]
    fn every_row_reads_a_job_that_is_made_once_and_after_what_it_needs() {
        let all = all();
        let jobs = all.jobs();
        for part in all.parts.clone() {
            for row in all.rows(part) {
                assert_eq!(jobs.iter().filter(|j| j.name == row.job).count(), 1, "{part:?}: {}", row.label);
            }
        }
        for (i, job) in jobs.iter().enumerate() {
            let before = |from: &String| jobs[..i].iter().any(|j| j.name == *from);
            assert!(job.from.as_ref().is_none_or(before), "{} comes before {:?}", job.name, job.from);
            assert!(jobs[..i].iter().all(|j| (&j.detector, &j.set) != (&job.detector, &job.set)), "{} is there twice", job.name);
        }
        // One stage 1 serves Table 3's three rows, Table 4's two, one of Table 5, nine of Table 6 and all of Figure 5.
        assert_eq!(jobs.iter().filter(|j| j.from.as_deref() == Some(FIRST)).count(), 3 + 3 + 8);
        assert_eq!(jobs.iter().filter(|j| j.detector == "lae" && j.from.is_none()).count(), 1 + 3 + 6);
    }

    #[test]
    fn the_table_of_shortcuts_shares_the_run_without_a_trace() {
        let own = plan(vec![Part::Shortcut], vec!["lae", "meso"]);
        let jobs = own.jobs();
        for trace in &TRACES {
            let rows = own.arms(trace);
            assert_eq!(rows.len(), 2 * ARMS.len());
            for row in &rows {
                assert_eq!(jobs.iter().filter(|j| j.name == row.job).count(), 1, "{}", row.label);
            }
            assert_eq!((rows[0].job.as_str(), rows[1].job.as_str()), (FIRST, "lae-100-active"));
        }
        for (i, job) in jobs.iter().enumerate() {
            assert!(job.from.as_ref().is_none_or(|from| jobs[..i].iter().any(|j| j.name == *from)), "{}", job.name);
        }
        assert_eq!(jobs.len(), 2 + 2 * (ARMS.len() - 1) * TRACES.len());
        assert!(plan(vec![Part::Shortcut], vec!["meso"]).jobs().is_empty());
        assert!(all().parts.iter().all(|p| *p != Part::Shortcut), "it is no table of the paper");
    }

    #[test]
    fn settings_of_every_job_are_keys_of_its_detector() {
        for scale in [Scale::Smoke, Scale::Small, Scale::Paper] {
            let dir = tempfile::tempdir().unwrap();
            let parts = [all().parts, vec![Part::Shortcut]].concat();
            for job in (Plan { scale, parts, ..all() }).jobs() {
                let entry = detectors::find(job.detector).unwrap();
                let file = dir.path().join("settings.toml");
                std::fs::write(&file, scale.settings(entry)).unwrap();
                let (_, c) = detectors::resolve(Some(job.detector), scale.name(), Some(&file), &job.set).unwrap();
                assert_eq!(c.detect.view, crate::train::config::View::Whole, "{}: the paper judges whole pictures", job.name);
                assert!(scale != Scale::Small || (c.size, c.augment.on()) == (64, false), "{}", job.name);
            }
        }
    }

    #[test]
    fn the_papers_figures_are_those_of_the_task() {
        let first =
            |task| Plan { task, ..all() }.rows(Part::Table3).into_iter().find(|r| r.job == "meso").unwrap().paper.unwrap();
        assert_eq!(Task::ALL.map(first), [[86.90, 61.34], [94.38, 47.32], [100.0, 50.01]]);
    }

    #[test]
    fn only_what_is_asked_for_is_made() {
        let one = plan(vec![Part::Table3], vec!["meso"]);
        assert_eq!(one.jobs().iter().map(|j| j.name.as_str()).collect::<Vec<_>>(), ["meso"]);
        assert!(plan(vec![Part::Table4], vec!["meso"]).jobs().is_empty());
        let five = plan(vec![Part::Figure5], vec!["lae", "meso"]).jobs();
        assert_eq!(five.len(), 7, "{five:?}");
    }
}
