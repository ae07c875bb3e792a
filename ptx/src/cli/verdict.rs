//! What a check found out: a verdict for every launch.

use crate::fault::Site;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Ran under every schedule, and nothing was found.
    Ok,
    Finding,
    /// Could not be run: the specification, a file or the kernel is not as it must be.
    Wrong,
    /// Left out, because a launch before, whose memory this one needs, did not end well.
    NotRun,
}

impl Verdict {
    pub fn word(self) -> &'static str {
        match self {
            Verdict::Ok => "ok",
            Verdict::Finding => "finding",
            Verdict::Wrong => "wrong",
            Verdict::NotRun => "not run",
        }
    }
}

/// One thing that was found.
#[derive(Clone, Debug)]
pub struct Finding {
    /// `race`, `out-of-bounds`, …; `value`: another result than expected; `schedule`: a result that depends on the order.
    pub kind: &'static str,
    pub text: String,
    /// The buffer or variable that it is about, where there is one.
    pub about: String,
    /// What makes two findings of different schedules the same one, beside the kind.
    pub key: String,
    /// How often a launch came by it.
    pub times: u64,
    /// The schedules under which it was found.
    pub schedules: Vec<String>,
    pub site: Option<Site>,
    /// Line of the specification.
    pub line: u32,
}

#[derive(Clone, Debug)]
pub struct LaunchReport {
    pub name: String,
    /// The kernel's name, demangled.
    pub kernel: String,
    /// Line of the specification.
    pub line: u32,
    pub verdict: Verdict,
    pub findings: Vec<Finding>,
    /// Findings that are known and meant: the reason, and how often it applied.
    pub suppressed: Vec<(String, u64)>,
    /// Why the launch is wrong or was not run.
    pub why: Vec<String>,
    pub schedules: Vec<String>,
    /// Of the first schedule.
    pub instructions: u64,
    pub blocks: u64,
    pub seconds: f64,
}

/// A specification with its PTX.
#[derive(Clone, Debug, Default)]
pub struct FileReport {
    pub ptx: String,
    pub spec: String,
    /// What is wrong with the files as such.
    pub problems: Vec<String>,
    /// What is worth knowing, and no finding.
    pub notes: Vec<String>,
    pub launches: Vec<LaunchReport>,
    /// Source files that the PTX names.
    pub sources: Vec<String>,
}

/// How many launches there are of each verdict, and findings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    pub ok: usize,
    pub finding: usize,
    pub wrong: usize,
    pub not_run: usize,
    pub findings: usize,
    /// Files that could not be used.
    pub unusable: usize,
}

impl Summary {
    pub fn of(files: &[FileReport]) -> Summary {
        let mut s = Summary { unusable: files.iter().filter(|f| !f.problems.is_empty()).count(), ..Summary::default() };
        for l in files.iter().flat_map(|f| &f.launches) {
            s.findings += l.findings.len();
            match l.verdict {
                Verdict::Ok => s.ok += 1,
                Verdict::Finding => s.finding += 1,
                Verdict::Wrong => s.wrong += 1,
                Verdict::NotRun => s.not_run += 1,
            }
        }
        s
    }

    pub fn launches(&self) -> usize {
        self.ok + self.finding + self.wrong + self.not_run
    }

    /// 0 nothing found, 1 findings, 2 something could not be checked; a check of nothing is one that did not happen.
    pub fn code(&self) -> i32 {
        match () {
            _ if self.wrong + self.unusable > 0 || self.ok + self.finding == 0 => 2,
            _ if self.finding > 0 => 1,
            _ => 0,
        }
    }
}
