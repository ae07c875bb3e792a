//! What the trainings against a planted trace gain over the paper's method, seed by seed.

use super::arms::{ARMS, PAPER, Trace};
use super::cells::{Outcome, Runs};
use super::claims::{Claim, Verdict, all_above, said, spread};
use super::copies::{TRACED_GENUINE, UNTRACED};
use super::plan::{Part, Plan, Scale};
use crate::metrics::{Bootstrap, Interval};
use crate::train::exchange::{Copies, REVERSED};

/// Points that may be missing to the run without any trace for a training to count as as good.
const NEAR: f64 = 0.03;

/// A column of the table, and whether more is better.
struct Column {
    name: String,
    better_high: bool,
}

/// One job against another, in one column.
struct Less<'a> {
    runs: &'a Runs,
    trace: &'a Trace,
}

impl Less<'_> {
    fn copies<'r>(&self, o: &'r Outcome, column: &Column) -> Option<&'r Copies> {
        o.copies(self.trace.name).iter().find(|c| c.name == column.name)
    }

    /// For each seed that has both: the value of `a` less that of `b`, above zero where `a` is better.
    fn differences(&self, a: &str, b: &str, column: &Column) -> Vec<f64> {
        let of = |o: &Outcome| self.copies(o, column).map(|c| c.value);
        let sign = if column.better_high { 1.0 } else { -1.0 };
        self.runs.differences(&[(a.into(), b.into())], of).into_iter().map(|d| sign * d).collect()
    }

    /// In words, with the interval over test pictures where one seed gives no other.
    fn said(&self, a: &str, b: &str, column: &Column) -> String {
        let all = self.differences(a, b, column);
        let own = || -> Option<Interval> {
            let [a, b] = [a, b].map(|job| self.runs.of(job).find_map(|o| self.copies(o, column)));
            let i = a?.less(b?, &Bootstrap::default())?;
            Some(if column.better_high { i } else { Interval { value: -i.value, lo: -i.hi, hi: -i.lo } })
        };
        match (all.len(), own()) {
            (1, Some(i)) => format!("{}: {} points over the test pictures, one seed", column.name, i.points()),
            _ => format!("{}: {}", column.name, said(&all)),
        }
    }
}

/// Every arm but the reference and the paper's against the paper's, after stage 1 and after stage 2.
pub fn gains(plan: &Plan, runs: &Runs) -> Vec<Claim> {
    let mut out = Vec::new();
    for trace in plan.traces.iter().filter(|_| plan.parts.contains(&Part::Shortcut)) {
        let less = Less { runs, trace };
        let rows = plan.arms(trace);
        // Two rows an arm, in the order of the arms.
        let of = |arm: usize, stage: usize| rows.get(2 * arm + stage).map(|r| r.job.as_str());
        let place = |name: &str| ARMS.iter().position(|a| a.name == name).expect("an arm of the table");
        let untraced = ARMS.iter().position(|a| !a.traced).expect("a reference");
        for (arm, stage) in (0..ARMS.len()).flat_map(|a| [(a, 0), (a, 1)]) {
            let (Some(job), Some(paper), Some(reference)) = (of(arm, stage), of(place(PAPER.name), stage), of(untraced, stage))
            else {
                continue;
            };
            if !ARMS[arm].traced || ARMS[arm].name == PAPER.name {
                continue;
            }
            let unseen = runs.unseen().into_iter().map(|u| (format!("unseen: {u}"), true));
            let columns = [(UNTRACED.to_string(), true)].into_iter().chain(unseen);
            let columns = columns.chain([(TRACED_GENUINE.to_string(), false), (REVERSED.to_string(), true)]);
            let columns: Vec<Column> = columns.map(|(name, better_high)| Column { name, better_high }).collect();
            let main = less.differences(job, paper, &columns[0]);
            if main.is_empty() {
                continue;
            }
            let after = if stage == 0 { "stage 1" } else { "stage 2" };
            let each: Vec<String> = columns.iter().map(|c| less.said(job, paper, c)).collect();
            out.push(Claim {
                claim: format!(
                    "{}, {after}: finds more fakes without the {} trace than the paper's training.",
                    ARMS[arm].label, trace.name
                ),
                verdict: all_above(&[spread(&main)]),
                because: format!("better than the paper's by: {}", each.join("; ")),
            });
            let missing = less.differences(job, reference, &columns[0]);
            let verdict = match spread(&missing) {
                Some(i) if i.lo > -NEAR => Verdict::Holds,
                Some(i) if i.hi < -NEAR => Verdict::DoesNot,
                _ => Verdict::NotResolved,
            };
            out.push(Claim {
                claim: format!(
                    "{}, {after}: as good without the trace as a training that never saw one, within {:.0} points.",
                    ARMS[arm].label,
                    100.0 * NEAR
                ),
                verdict,
                because: format!("less the run without a trace: {}", less.said(job, reference, &columns[0])),
            });
        }
    }
    // Trainings of seconds decide nothing.
    let idle = plan.scale == Scale::Smoke;
    out.into_iter().map(|c| if idle { Claim { verdict: Verdict::NotResolved, ..c } } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Task;
    use crate::reproduce::arms::TRACES;
    use crate::reproduce::cells::Cell;

    /// A run whose pictures of the column `UNTRACED` are right in that share.
    fn run(job: &str, seed: u64, right: f64) -> Outcome {
        let cell = Cell {
            job: job.into(),
            seed,
            detector: String::new(),
            command: String::new(),
            device: String::new(),
            data: None,
            config: String::new(),
            seconds: 1.0,
            failed: None,
        };
        let counts: Vec<bool> = (0..200).map(|i| (i as f64) < 200.0 * right).collect();
        let how = Bootstrap { resamples: 100, seed: 0 };
        let copies = Copies::new(UNTRACED.into(), &counts, &[None; 200], &how).unwrap();
        let copies = vec![(TRACES[0].name, vec![copies])];
        Outcome { cell, detection: vec![], localisation: vec![], notices: vec![], linear: None, copies }
    }

    fn verdicts(transplant: &[f64]) -> Vec<(Verdict, String)> {
        let (parts, detectors, traces) = (vec![Part::Shortcut], vec!["lae"], vec![TRACES[0]]);
        let plan = Plan { task: Task::Inpainting, scale: Scale::Small, parts, detectors, traces };
        let rows = plan.arms(&TRACES[0]);
        let job = |name: &str| &rows[2 * ARMS.iter().position(|a| a.name == name).unwrap()].job;
        let seeds = 0..transplant.len() as u64;
        let mut runs: Vec<Outcome> = seeds.clone().map(|s| run(job("paper"), s, 0.5)).collect();
        runs.extend(seeds.clone().map(|s| run(job("untraced"), s, 0.94)));
        runs.extend(seeds.map(|s| run(job("transplant"), s, transplant[s as usize])));
        gains(&plan, &Runs(runs)).into_iter().map(|c| (c.verdict, c.because)).collect()
    }

    #[test]
    fn a_gain_needs_seeds_and_a_near_miss_is_none() {
        let [gain, near] = &verdicts(&[0.93, 0.94, 0.935])[..] else { panic!("two claims") };
        assert_eq!((gain.0, near.0), (Verdict::Holds, Verdict::Holds));
        let [gain, near] = &verdicts(&[0.5, 0.51, 0.505])[..] else { panic!("two claims") };
        assert_eq!((gain.0 == Verdict::Holds, near.0), (false, Verdict::DoesNot));
        let [gain, _] = &verdicts(&[0.9])[..] else { panic!("two claims") };
        assert!(gain.0 == Verdict::NotResolved && gain.1.contains("+40.0 [") && gain.1.contains("one seed"), "{}", gain.1);
    }
}
