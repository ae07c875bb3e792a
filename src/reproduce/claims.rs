//! The ordinal claims that the paper's text and tables make, each held against our runs: what should come out in this order at any size.

use serde::Serialize;

use super::cells::{Figure, Runs, Set, interval, p_value};
use super::paper;
use super::plan::{FIRST, Part, Plan, Row, Scale, annotated};
use crate::detectors::DETECTORS;
use crate::metrics::Interval;
use crate::metrics::interval::signed;

/// What the runs say of a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    Holds,
    DoesNot,
    /// Intervals are too wide, or runs are missing.
    NotResolved,
}

impl Verdict {
    pub fn words(self) -> &'static str {
        match self {
            Verdict::Holds => "holds",
            Verdict::DoesNot => "does not",
            Verdict::NotResolved => "not resolved at this size",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Claim {
    /// What the paper says.
    pub claim: String,
    pub verdict: Verdict,
    /// The statistics that decide.
    pub because: String,
}

/// `+1.2 points [−0.3, +2.7], p = 0.04, 3 seeds`
pub(super) fn said(differences: &[f64]) -> String {
    match differences.len() {
        0 => "no pair of runs yet".into(),
        1 => format!("{} points, one seed: no interval", signed(100.0 * differences[0], 1)),
        n => format!("{} points, p = {:.3}, {n} seeds", interval(differences).points(), p_value(differences)),
    }
}

/// The interval of two or more differences; none from one seed, which says nothing of the spread.
pub(super) fn spread(differences: &[f64]) -> Option<Interval> {
    (differences.len() > 1).then(|| interval(differences))
}

/// Holds if every difference is clearly above zero, does not if one is clearly below.
pub(super) fn all_above(differences: &[Option<Interval>]) -> Verdict {
    if differences.iter().flatten().any(|i| i.hi < 0.0) {
        Verdict::DoesNot
    } else if !differences.is_empty() && differences.iter().all(|i| i.is_some_and(|i| i.lo > 0.0)) {
        Verdict::Holds
    } else {
        Verdict::NotResolved
    }
}

/// With its interval, if it has one.
fn shown(i: &Interval) -> String {
    if i.hi > i.lo { i.percent() } else { i.percent_value() }
}

/// Accuracies near that of guessing.
const CHANCE: (f64, f64) = (0.4, 0.6);
/// Accuracy on seen pictures that may be lost and still counts as kept.
const KEPT: f64 = 0.01;
/// A loss of accuracy below it is no broken training.
const UNBROKEN: f64 = 0.02;
/// What every method of the paper reaches on the forger it has seen; the lowest is MesoInception's 86.9 %.
const HIGH: f64 = 0.85;

/// What the claims are judged by.
struct Evidence<'a> {
    plan: &'a Plan,
    runs: &'a Runs,
}

impl Evidence<'_> {
    fn has(&self, part: Part) -> bool {
        self.plan.parts.contains(&part)
    }

    fn accuracy(&self, job: &str, set: &Set) -> Figure {
        self.runs.figure(job, |o| o.accuracy(set))
    }

    /// Accuracy of one job less that of another, seed by seed.
    fn less(&self, a: &str, b: &str, set: &Set) -> Vec<f64> {
        self.runs.differences(&[(a.into(), b.into())], |o| o.accuracy(set))
    }

    /// The LAE with the most annotations.
    fn most(&self) -> String {
        annotated(self.plan.scale.annotations()[2], false)
    }

    /// How many of the paper's baselines have a figure on unseen pictures, if some lack one: a claim about all or the best of them
    /// cannot hold then.
    fn missing_baselines(&self) -> Option<String> {
        let there = |b: &&(&str, _)| self.accuracy(b.0, &Set::AllUnseen).mean.is_some();
        let (n, all) = (paper::BASELINES.iter().filter(there).count(), paper::BASELINES.len());
        (n < all).then(|| format!("; {n} of the paper's {all} baselines took part"))
    }

    fn seen_and_unseen(&self) -> Option<Claim> {
        if ![Part::Table3, Part::Figure3].iter().any(|p| self.has(*p)) {
            return None;
        }
        let rows = self.plan.rows(Part::Table3);
        let of = |set: &Set| -> Vec<(&str, Interval, bool)> {
            let figure = |r: &Row| {
                let f = self.accuracy(&r.job, set);
                // With one seed a mean over forgers has no interval, and decides nothing.
                f.mean.map(|i| (i, f.seeds.len() > 1 || i.hi > i.lo))
            };
            rows.iter().filter_map(|r| figure(r).map(|(i, known)| (r.label.as_str(), i, known))).collect()
        };
        let (seen, unseen) = (of(&Set::Seen), of(&Set::AllUnseen));
        let lowest = seen.iter().min_by(|a, b| a.1.value.total_cmp(&b.1.value))?;
        let highest = unseen.iter().max_by(|a, b| a.1.value.total_cmp(&b.1.value))?;
        let wrong = seen.iter().any(|s| s.2 && s.1.hi < HIGH) || unseen.iter().any(|s| s.2 && s.1.lo > CHANCE.1);
        let right =
            seen.iter().all(|s| s.2 && s.1.lo >= HIGH) && unseen.iter().all(|s| s.2 && s.1.lo >= CHANCE.0 && s.1.hi <= CHANCE.1);
        let missing = self.missing_baselines();
        let complete = seen.len() == rows.len() && unseen.len() == rows.len() && missing.is_none();
        let verdict = match (wrong, right && complete) {
            (true, _) => Verdict::DoesNot,
            (_, true) => Verdict::Holds,
            _ => Verdict::NotResolved,
        };
        let because = format!(
            "lowest on seen pictures: {} {}; highest on unseen ones: {} {}. Holds if all are above {:.0} % on seen and between {:.0} \
             and {:.0} % on unseen pictures{}",
            lowest.0,
            shown(&lowest.1),
            highest.0,
            shown(&highest.1),
            100.0 * HIGH,
            100.0 * CHANCE.0,
            100.0 * CHANCE.1,
            missing.unwrap_or_default()
        );
        claim("Every method is right on the forger it has seen and near guessing on others.", verdict, because)
    }

    fn reconstruction_alone(&self) -> Option<Claim> {
        let figure = self.has(Part::Table4).then(|| self.accuracy("lae-rec", &Set::Seen))?;
        let verdict = match figure.mean {
            Some(i) if i.lo > CHANCE.1 || i.hi < CHANCE.0 => Verdict::DoesNot,
            Some(i) if i.lo <= 0.5 && i.hi >= 0.5 => Verdict::Holds,
            _ => Verdict::NotResolved,
        };
        claim("The reconstruction alone (AE_rec) tells nothing.", verdict, format!("{} on seen pictures", figure.text()))
    }

    fn attention_loss(&self) -> Option<Claim> {
        let needed =
            [Part::Table3, Part::Table4, Part::Figure5].iter().any(|p| self.has(*p)) && self.plan.detectors.contains(&"lae");
        let counts = self.plan.scale.annotations();
        let seen = needed.then(|| self.less(&self.most(), FIRST, &Set::Seen))?;
        let steps = counts.map(|n| self.less(&annotated(n, false), FIRST, &Set::AllUnseen));
        let gains: Vec<f64> = steps.iter().filter(|s| !s.is_empty()).map(|s| s.iter().sum::<f64>() / s.len() as f64).collect();
        let rises = gains.len() == 3 && gains.is_sorted();
        let verdict = match (spread(&seen), spread(&steps[2])) {
            (Some(s), _) if s.hi < -KEPT => Verdict::DoesNot,
            (_, Some(u)) if u.hi < 0.0 => Verdict::DoesNot,
            (Some(s), Some(u)) if s.lo > -KEPT && u.lo > 0.0 && rises => Verdict::Holds,
            _ => Verdict::NotResolved,
        };
        let each = counts.iter().zip(&steps).map(|(n, s)| format!("{n} annotations {}", said(s))).collect::<Vec<_>>().join("; ");
        let because = format!(
            "on seen pictures {}; on unseen ones, against stage 1: {each}. Holds if less than a point is lost on seen pictures and the \
             means on unseen ones rise",
            said(&seen)
        );
        let what = "The attention loss leaves accuracy on seen pictures and raises it on unseen ones, the more the more pictures are \
                    annotated.";
        claim(what, verdict, because)
    }

    fn active_choice(&self) -> Option<Claim> {
        let counts = self.plan.scale.annotations();
        let pairs = counts.map(|n| (annotated(n, false), annotated(n, true)));
        let gain = self.has(Part::Figure5).then(|| self.runs.differences(&pairs, |o| o.accuracy(&Set::AllUnseen)))?;
        let because = format!("active less random on unseen pictures, mean over {counts:?} annotations: {}", said(&gain));
        claim("Pictures chosen by the concept model teach more than random ones.", all_above(&[spread(&gain)]), because)
    }

    fn adversarial_weight(&self) -> Option<Claim> {
        // The first row has the paper's weights, the last two a β₃ of 0.1 and of 0.05.
        let rows = self.plan.rows(Part::Table5);
        let [default, .., tenth, twentieth] = &rows[..] else { return None };
        if !self.has(Part::Table5) {
            return None;
        }
        let lost = [tenth, twentieth].map(|row| self.less(&row.job, &default.job, &Set::Seen));
        // Broken: no seed of either was trained to its end, and every one of the default was.
        let [usual, high, lower] = [default, tenth, twentieth].map(|row| self.accuracy(&row.job, &Set::Seen));
        let lost_all = |f: &Figure| f.seeds.is_empty() && !f.failed.is_empty();
        let broken = lost_all(&high) && lost_all(&lower) && usual.failed.is_empty() && !usual.seeds.is_empty();
        let diverged = |f: &Figure| match f.failed.len() {
            0 => String::new(),
            n => format!(" ({n} of {} seeds diverged)", n + f.seeds.len()),
        };
        let verdict = match [spread(&lost[0]), spread(&lost[1])] {
            _ if broken => Verdict::Holds,
            [Some(a), Some(b)] if a.hi < 0.0 && b.hi < 0.0 => Verdict::Holds,
            [Some(a), Some(b)] if a.lo > -UNBROKEN && b.lo > -UNBROKEN => Verdict::DoesNot,
            _ => Verdict::NotResolved,
        };
        let because = format!(
            "accuracy on seen pictures against β₃ = 0.01{}: at 0.1 {}{}; at 0.05 {}{}. Does not if both lose less than two points",
            diverged(&usual),
            said(&lost[0]),
            diverged(&high),
            said(&lost[1]),
            diverged(&lower)
        );
        claim("A weight β₃ of the adversarial loss of 0.05 and more breaks the training.", verdict, because)
    }

    fn weights_of_stage_2(&self) -> Option<Claim> {
        let rows = self.plan.rows(Part::Table6);
        let job = |l: [f64; 2]| Some(rows.get(paper::TABLE_6.iter().position(|r| r.0 == l)?)?.job.clone());
        if !self.has(Part::Table6) {
            return None;
        }
        let less = |a, b| Some(self.less(&job(a)?, &job(b)?, &Set::AllUnseen));
        let [one, half, tenth] = [1.0, 0.5, 0.1].map(|l| less([l, 1.0], [l, 0.1]));
        let [over_one, over_tenth] = [1.0, 0.1].map(|l| less([0.5, 1.0], [l, 1.0]));
        let all = [one?, half?, tenth?, over_one?, over_tenth?];
        let because = format!(
            "on unseen pictures, λ₂ = 1 less λ₂ = 0.1: at λ₁ = 1 {}, at 0.5 {}, at 0.1 {}; λ₁ = 0.5 less λ₁ = 1 {}, less λ₁ = 0.1 {} \
             (λ₂ = 1)",
            said(&all[0]),
            said(&all[1]),
            said(&all[2]),
            said(&all[3]),
            said(&all[4])
        );
        let what = "More weight λ₂ of the attention loss is better on unseen pictures, and λ₁ = 0.5 is best.";
        claim(what, all_above(&all.map(|d| spread(&d))), because)
    }

    fn maps_improve(&self) -> Option<Claim> {
        let most = self.most();
        self.runs.of(&most).next()?;
        let gain = |set: &Set| self.runs.differences(&[(most.clone(), FIRST.into())], |o| o.iou(set, false));
        let (seen, unseen) = (gain(&Set::Seen), gain(&Set::AllUnseen));
        let because = format!("IoU at 0.5 against stage 1: seen fakes {}; unseen fakes {}", said(&seen), said(&unseen));
        let what = "After stage 2 the map lies more on the forged region, of seen and of unseen forgers.";
        claim(what, all_above(&[spread(&seen), spread(&unseen)]), because)
    }

    /// The headline of Table 3.
    fn best_baseline(&self) -> Option<Claim> {
        let most = self.most();
        self.runs.of(&most).next()?;
        let rows = self.plan.rows(Part::Table3);
        let baselines = rows.iter().filter(|r| DETECTORS.iter().any(|e| e.name == r.job));
        let known = baselines.filter_map(|r| Some((r, self.accuracy(&r.job, &Set::AllUnseen).mean?.value)));
        let (best, _) = known.max_by(|a, b| a.1.total_cmp(&b.1))?;
        let gain = self.less(&most, &best.job, &Set::AllUnseen);
        let because = format!(
            "LAE with {} annotations less {}, the best baseline on unseen pictures, seed by seed: {}{}",
            self.plan.scale.annotations()[2],
            best.label,
            said(&gain),
            self.missing_baselines().unwrap_or_default()
        );
        let verdict = match all_above(&[spread(&gain)]) {
            Verdict::Holds if self.missing_baselines().is_some() => Verdict::NotResolved,
            verdict => verdict,
        };
        claim("The LAE is better on unseen forgers than the best baseline.", verdict, because)
    }
}

fn claim(claim: &str, verdict: Verdict, because: String) -> Option<Claim> {
    Some(Claim { claim: claim.into(), verdict, because })
}

/// The paper's ordinal claims, and the headline of its Table 3; those that the plan has runs for.
pub fn claims(plan: &Plan, runs: &Runs) -> Vec<Claim> {
    let e = Evidence { plan, runs };
    let all = [
        e.seen_and_unseen(),
        e.reconstruction_alone(),
        e.attention_loss(),
        e.active_choice(),
        e.adversarial_weight(),
        e.weights_of_stage_2(),
        e.maps_improve(),
        e.best_baseline(),
    ];
    // Trainings of seconds decide nothing.
    let idle = plan.scale == Scale::Smoke;
    all.into_iter().flatten().map(|c| if idle { Claim { verdict: Verdict::NotResolved, ..c } } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Task;
    use crate::metrics::{Bootstrap, Scored};
    use crate::report::{DetectionRow, ModelKey, Origin};
    use crate::reproduce::cells::{Cell, Outcome};

    #[test]
    fn a_claim_needs_an_interval() {
        assert_eq!(all_above(&[spread(&[0.3])]), Verdict::NotResolved, "one seed has no spread");
        assert_eq!(all_above(&[spread(&[0.30, 0.31, 0.29])]), Verdict::Holds);
        assert_eq!(all_above(&[spread(&[-0.30, -0.31, -0.29])]), Verdict::DoesNot);
        assert_eq!(all_above(&[spread(&[0.30, 0.31, 0.29]), spread(&[0.1, -0.1])]), Verdict::NotResolved);
        assert_eq!(all_above(&[]), Verdict::NotResolved);
        assert_eq!(said(&[0.012]), "+1.2 points, one seed: no interval");
        assert!(said(&[0.01, 0.02]).contains("2 seeds") && said(&[]).contains("no pair"));
    }

    /// A run with these accuracies on the seen forger and on one unseen forger; none: it diverged.
    fn run(job: &str, seed: u64, accuracy: Option<[f64; 2]>) -> Outcome {
        let row = |split, right: f64| {
            let mut scored = Scored::new();
            for i in 0..200 {
                let (fake, right) = (i % 2 == 0, (i / 2) as f64 <= 100.0 * right - 0.5);
                scored.push(if fake == right { 0.9 } else { 0.1 }, fake, fake == right, None);
            }
            let how = Bootstrap { resamples: 100, seed: 0 };
            DetectionRow::new(split, "telea", &[(ModelKey::new("m", ""), scored)], &how).unwrap()
        };
        let cell = Cell {
            job: job.into(),
            seed,
            detector: String::new(),
            command: String::new(),
            device: String::new(),
            data: None,
            config: String::new(),
            seconds: 1.0,
            failed: accuracy.is_none().then(|| "diverged".into()),
        };
        let detection = accuracy.map_or(vec![], |[seen, unseen]| vec![row(Origin::Seen, seen), row(Origin::Unseen, unseen)]);
        Outcome { cell, detection, localisation: vec![], notices: vec![], linear: None, copies: vec![] }
    }

    fn verdict(part: Part, runs: Vec<Outcome>, start: &str) -> Option<(Verdict, String)> {
        let plan = Plan {
            task: Task::Inpainting,
            scale: Scale::Small,
            parts: vec![part],
            detectors: DETECTORS.iter().map(|e| e.name).collect(),
            traces: vec![],
        };
        let found = claims(&plan, &Runs(runs)).into_iter().find(|c| c.claim.starts_with(start));
        found.map(|c| (c.verdict, c.because))
    }

    const EVERY: &str = "Every method";

    /// All methods of Table 3 with the same accuracies, one for each seed.
    fn all(accuracy: &[[f64; 2]]) -> Vec<Outcome> {
        let lae = Scale::Small.annotations().map(|n| annotated(n, false));
        let jobs = paper::BASELINES.iter().map(|b| b.0.to_string()).chain(lae);
        let seeds = || accuracy.iter().enumerate();
        jobs.flat_map(|job| seeds().map(move |(seed, &a)| run(&job, seed as u64, Some(a))).collect::<Vec<_>>()).collect()
    }

    #[test]
    fn all_methods_need_figures_with_intervals() {
        let of = |runs| verdict(Part::Table3, runs, EVERY).unwrap();
        assert_eq!(of(all(&[[0.96, 0.5], [0.95, 0.5]])).0, Verdict::Holds, "an interval of no width is one");
        assert_eq!(of(all(&[[0.96, 0.5]])).0, Verdict::NotResolved, "the mean of one seed over forgers has none");
        assert_eq!(of(all(&[[0.96, 0.9], [0.95, 0.9]])).0, Verdict::DoesNot);
        assert_eq!(of(all(&[[0.7, 0.5]])).0, Verdict::DoesNot, "test pictures give seen pictures an interval");
        let mut few = all(&[[0.96, 0.5], [0.95, 0.5]]);
        few.retain(|o| o.cell.job != "meso");
        let (few, because) = of(few);
        assert!(few == Verdict::NotResolved && because.contains("5 of the paper's 6"), "{because}");
        assert!(verdict(Part::Table6, all(&[[0.96, 0.5], [0.95, 0.5]]), EVERY).is_none(), "Table 3 was not asked for");
    }

    #[test]
    fn the_best_baseline_is_one_of_all() {
        let with = |lae: f64, without: &str| {
            let mut runs = all(&[[0.9, 0.60], [0.9, 0.62]]);
            runs.retain(|o| !o.cell.job.starts_with("lae") && o.cell.job != without);
            let most = annotated(Scale::Small.annotations()[2], false);
            runs.extend([run(&most, 0, Some([0.9, lae])), run(&most, 1, Some([0.9, lae + 0.02]))]);
            verdict(Part::Table3, runs, "The LAE is better").unwrap().0
        };
        assert_eq!([with(0.8, ""), with(0.8, "stats")], [Verdict::Holds, Verdict::NotResolved]);
        assert_eq!([with(0.5, ""), with(0.5, "stats")], [Verdict::DoesNot; 2], "one better baseline will do");
    }

    #[test]
    fn a_training_is_broken_if_no_seed_survives() {
        let plan = Plan {
            task: Task::Inpainting,
            scale: Scale::Small,
            parts: vec![Part::Table5],
            detectors: vec!["lae"],
            traces: vec![],
        };
        let rows = plan.rows(Part::Table5);
        let of = |usual: [Option<f64>; 2], high: [Option<f64>; 2]| {
            let seeds = |job: &str, a: [Option<f64>; 2]| [0, 1].map(|s| run(job, s, a[s as usize].map(|a| [a, 0.5])));
            let runs = [seeds(&rows[0].job, usual), seeds(&rows[5].job, high), seeds(&rows[6].job, high)];
            verdict(Part::Table5, runs.into_iter().flatten().collect(), "A weight").unwrap()
        };
        let good = [Some(0.95), Some(0.94)];
        let (all, because) = of(good, [None; 2]);
        assert!(all == Verdict::Holds && because.contains("2 of 2 seeds diverged"), "{because}");
        assert_eq!(of(good, [Some(0.95), None]).0, Verdict::NotResolved, "one seed of two");
        assert_eq!(of([None; 2], [None; 2]).0, Verdict::NotResolved, "the usual weight fails as well");
        assert_eq!(of(good, [Some(0.5), Some(0.51)]).0, Verdict::Holds);
        assert_eq!(of(good, good).0, Verdict::DoesNot);
    }

    #[test]
    fn a_reconstruction_that_diverged_is_told() {
        let of = |a| verdict(Part::Table4, vec![run("lae-rec", 0, a)], "The reconstruction").unwrap();
        assert_eq!(of(None), (Verdict::NotResolved, "diverged on seen pictures".into()));
        assert_eq!(of(Some([0.5, 0.5])).0, Verdict::Holds);
        assert_eq!(of(Some([0.9, 0.5])).0, Verdict::DoesNot);
    }
}
