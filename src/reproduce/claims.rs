//! The ordinal claims that the paper's text and tables make, each held against our runs: what should come out in this order at any size.

use serde::Serialize;

use super::cells::{Runs, Set, interval, p_value};
use super::paper;
use super::plan::{FIRST, Part, Plan, Row, Scale, annotated};
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
fn said(differences: &[f64]) -> String {
    match differences.len() {
        0 => "no pair of runs yet".into(),
        1 => format!("{} points, one seed: no interval", signed(100.0 * differences[0], 1)),
        n => format!("{} points, p = {:.3}, {n} seeds", interval(differences).points(), p_value(differences)),
    }
}

/// The interval of two or more differences; none from one seed, which says nothing of the spread.
fn spread(differences: &[f64]) -> Option<Interval> {
    (differences.len() > 1).then(|| interval(differences))
}

/// Holds if every difference is clearly above zero, does not if one is clearly below.
fn all_above(differences: &[Option<Interval>]) -> Verdict {
    if differences.iter().flatten().any(|i| i.hi < 0.0) {
        Verdict::DoesNot
    } else if !differences.is_empty() && differences.iter().all(|i| i.is_some_and(|i| i.lo > 0.0)) {
        Verdict::Holds
    } else {
        Verdict::NotResolved
    }
}

/// Accuracies near that of guessing.
const CHANCE: (f64, f64) = (0.4, 0.6);
/// What every method of the paper reaches on the forger it has seen, MesoInception's 86.9 % apart.
const HIGH: f64 = 0.85;

/// All seven, and the two paired tests of the tables' headline: the LAE against the best baseline, active against random.
pub fn claims(plan: &Plan, runs: &Runs) -> Vec<Claim> {
    let counts = plan.scale.annotations();
    let (seen, unseen) = (Set::Seen, Set::AllUnseen);
    let most = annotated(counts[2], false);
    let accuracy = |job: &str, set: &Set| runs.figure(job, |o| o.accuracy(set));
    let less = |a: &str, b: &str, set: &Set| runs.differences(a, b, |o| o.accuracy(set));
    let mut out = Vec::new();
    // Trainings of seconds decide nothing.
    let idle = plan.scale == Scale::Smoke;
    let mut add = |claim: &str, verdict, because: String| {
        let verdict = if idle { Verdict::NotResolved } else { verdict };
        out.push(Claim { claim: claim.into(), verdict, because });
    };

    // 1
    let rows = plan.rows(Part::Table3);
    let of = |set: &Set| rows.iter().map(|r| (r, accuracy(&r.job, set).mean)).collect::<Vec<_>>();
    let (on_seen, on_unseen) = (of(&seen), of(&unseen));
    let missing = on_seen.iter().chain(&on_unseen).any(|r| r.1.is_none()) || rows.is_empty();
    let known =
        |all: &[(&Row, Option<Interval>)]| all.iter().filter_map(|(r, i)| Some((r.label.clone(), (*i)?))).collect::<Vec<_>>();
    let (on_seen, on_unseen) = (known(&on_seen), known(&on_unseen));
    let lowest = on_seen.iter().min_by(|a, b| a.1.value.total_cmp(&b.1.value));
    let highest = on_unseen.iter().max_by(|a, b| a.1.value.total_cmp(&b.1.value));
    if let (Some((low, l)), Some((high, h))) = (lowest, highest) {
        let wrong = on_seen.iter().any(|s| s.1.hi < HIGH) || on_unseen.iter().any(|s| s.1.lo > CHANCE.1);
        let right = on_seen.iter().all(|s| s.1.lo >= HIGH) && on_unseen.iter().all(|s| s.1.lo >= CHANCE.0 && s.1.hi <= CHANCE.1);
        let verdict = match (wrong, right && !missing) {
            (true, _) => Verdict::DoesNot,
            (_, true) => Verdict::Holds,
            _ => Verdict::NotResolved,
        };
        let because = format!(
            "lowest on seen pictures: {low} {}; highest on unseen ones: {high} {}. Holds if all are above {:.0} % on seen and between \
             {:.0} and {:.0} % on unseen pictures",
            l.percent(),
            h.percent(),
            100.0 * HIGH,
            100.0 * CHANCE.0,
            100.0 * CHANCE.1
        );
        add("Every method is right on the forger it has seen and near guessing on others.", verdict, because);
    }

    // 2
    if plan.parts.contains(&Part::Table4) {
        let figure = accuracy("lae-rec", &seen);
        let (verdict, because) = match figure.mean {
            None => (Verdict::NotResolved, figure.text()),
            Some(i) => {
                let verdict = match (i.lo > CHANCE.1 || i.hi < CHANCE.0, i.lo <= 0.5 && i.hi >= 0.5) {
                    (true, _) => Verdict::DoesNot,
                    (_, true) => Verdict::Holds,
                    _ => Verdict::NotResolved,
                };
                (verdict, format!("{} on seen pictures", i.percent()))
            }
        };
        add("The reconstruction alone (AE_rec) tells nothing.", verdict, because);
    }

    // 3
    if plan.parts.iter().any(|p| [Part::Table3, Part::Table4, Part::Figure5].contains(p)) {
        let on_seen = less(&most, FIRST, &seen);
        let steps: Vec<Vec<f64>> = counts.iter().map(|&n| less(&annotated(n, false), FIRST, &unseen)).collect();
        let gains: Vec<f64> = steps.iter().filter(|s| !s.is_empty()).map(|s| s.iter().sum::<f64>() / s.len() as f64).collect();
        let rises = gains.len() == 3 && gains.is_sorted_by(|a, b| a <= b);
        let verdict = match (spread(&on_seen), spread(&steps[2])) {
            (Some(s), _) if s.hi < -0.01 => Verdict::DoesNot,
            (_, Some(u)) if u.hi < 0.0 => Verdict::DoesNot,
            (Some(s), Some(u)) if s.lo > -0.01 && u.lo > 0.0 && rises => Verdict::Holds,
            _ => Verdict::NotResolved,
        };
        let each = counts.iter().zip(&steps).map(|(n, s)| format!("{n} annotations {}", said(s))).collect::<Vec<_>>().join("; ");
        let because = format!("on seen pictures {}; on unseen ones, against stage 1: {each}", said(&on_seen));
        add(
            "The attention loss leaves accuracy on seen pictures and raises it on unseen ones, the more the more pictures are annotated.",
            verdict,
            because,
        );
    }

    // 4
    if plan.parts.contains(&Part::Figure5) {
        let pairs: Vec<Vec<f64>> = counts.iter().map(|&n| less(&annotated(n, false), &annotated(n, true), &unseen)).collect();
        // One number a seed: its mean over the numbers of annotations.
        let seeds = pairs.iter().map(Vec::len).min().unwrap_or(0);
        let means: Vec<f64> = (0..seeds).map(|s| pairs.iter().map(|p| p[s]).sum::<f64>() / pairs.len() as f64).collect();
        let verdict = all_above(&[spread(&means)]);
        let because = format!("active less random on unseen pictures, mean over {counts:?} annotations: {}", said(&means));
        add("Pictures chosen by the concept model teach more than random ones.", verdict, because);
    }

    // 5 and 6
    let rows = plan.rows(Part::Table5);
    // The first row has the paper's weights, the last two a β₃ of 0.1 and of 0.05.
    if let (true, [default, .., tenth, twentieth]) = (plan.parts.contains(&Part::Table5), &rows[..]) {
        let (tenth, twentieth) = (less(&tenth.job, &default.job, &seen), less(&twentieth.job, &default.job, &seen));
        let both = [spread(&tenth), spread(&twentieth)];
        let diverged = |row: &Row| !accuracy(&row.job, &seen).failed.is_empty();
        let broken = rows.iter().rev().take(2).all(diverged);
        let verdict = match both {
            _ if broken => Verdict::Holds,
            [Some(a), Some(b)] if a.hi < 0.0 && b.hi < 0.0 => Verdict::Holds,
            [Some(a), Some(b)] if a.lo > -0.02 && b.lo > -0.02 => Verdict::DoesNot,
            _ => Verdict::NotResolved,
        };
        let because =
            format!("accuracy on seen pictures against β₃ = 0.01: at 0.1 {}; at 0.05 {}", said(&tenth), said(&twentieth));
        add("A weight β₃ of the adversarial loss of 0.05 and more breaks the training.", verdict, because);
    }
    let rows = plan.rows(Part::Table6);
    if plan.parts.contains(&Part::Table6) && !rows.is_empty() {
        let job =
            |l: [f64; 2]| paper::TABLE_6.iter().position(|r| r.0 == l).map(|i| rows[i].job.clone()).expect("a row of the table");
        let by_two: Vec<Vec<f64>> = [1.0, 0.5, 0.1].map(|l| less(&job([l, 1.0]), &job([l, 0.1]), &unseen)).into_iter().collect();
        let by_one: Vec<Vec<f64>> = [1.0, 0.1].map(|l| less(&job([0.5, 1.0]), &job([l, 1.0]), &unseen)).into_iter().collect();
        let spreads: Vec<Option<Interval>> = by_two.iter().chain(&by_one).map(|d| spread(d)).collect();
        let because = format!(
            "on unseen pictures, λ₂ = 1 less λ₂ = 0.1: at λ₁ = 1 {}, at 0.5 {}, at 0.1 {}; λ₁ = 0.5 less λ₁ = 1 {}, less λ₁ = 0.1 {} (λ₂ = 1)",
            said(&by_two[0]),
            said(&by_two[1]),
            said(&by_two[2]),
            said(&by_one[0]),
            said(&by_one[1])
        );
        add(
            "More weight λ₂ of the attention loss is better on unseen pictures, and λ₁ = 0.5 is best.",
            all_above(&spreads),
            because,
        );
    }

    // 7
    if runs.of(&most).next().is_some() {
        let gain = |set: &Set| runs.differences(&most, FIRST, |o| o.iou(set, false));
        let (on_seen, on_unseen) = (gain(&seen), gain(&unseen));
        let verdict = all_above(&[spread(&on_seen), spread(&on_unseen)]);
        let because = format!("IoU at 0.5 against stage 1: seen fakes {}; unseen fakes {}", said(&on_seen), said(&on_unseen));
        add("After stage 2 the map lies more on the forged region, of seen and of unseen forgers.", verdict, because);
    }

    // The headline of Table 3.
    let baselines: Vec<(String, String, f64)> = plan
        .rows(Part::Table3)
        .into_iter()
        .filter(|r| crate::detectors::DETECTORS.iter().any(|e| e.name == r.job))
        .filter_map(|r| Some((r.label.clone(), r.job.clone(), accuracy(&r.job, &unseen).mean?.value)))
        .collect();
    if let Some((label, job, _)) = baselines.iter().max_by(|a, b| a.2.total_cmp(&b.2)) {
        let d = less(&most, job, &unseen);
        let because = format!(
            "LAE with {} annotations less {label}, the best baseline on unseen pictures, seed by seed: {}",
            counts[2],
            said(&d)
        );
        add("The LAE is better on unseen forgers than the best baseline.", all_above(&[spread(&d)]), because);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
