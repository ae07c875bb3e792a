//! What a score means, learned from validation pictures: a probability, and thresholds with known false alarms.
//!
//! A [`Calibration`] is plain data, stored as JSON beside the weights that made the scores, and says nothing about scores that
//! were made in another way. Scores are any real numbers, higher = more like a fake. Give them on a scale without ends (a
//! difference, a log odds): a bound from mean and deviation can lie beyond the end of a bounded one, and no picture is called
//! fake then.
//!
//! * Probability: Platt's curve ([`Platt`]), for a picture that is as likely forged as genuine beforehand.
//! * Threshold at a rate of false alarms: the lowest one that a new genuine picture reaches with at most that probability, from
//!   the rank among the genuine validation pictures: of n of them at most rate·(n + 1) − 1 reach it (V. Vovk, A. Gammerman, G.
//!   Shafer, "Algorithmic Learning in a Random World", 2005: conformal prediction, sound for any distribution). Below 100
//!   pictures that is coarse or impossible, so the one-sided normal prediction bound mean + t(1 − rate, n − 1)·s·√(1 + 1/n) is
//!   taken where it is higher (G. J. Hahn, W. Q. Meeker, "Statistical Intervals", 1991).
//! * Three verdicts: [`Calibration::verdict`].

use serde::{Deserialize, Serialize};

use super::interval::{Interval, fixed};
use super::platt::Platt;
use super::reliability::{Bin, Bins, Mixture, ece_of, reliability};
use super::student;
use crate::error::{Error, Result};

/// Fewer genuine validation pictures than this have no threshold, and fewer pictures of a class no probability.
pub const LEAST: usize = 4;
/// Parts of the validation set, each judged by a curve that was fitted to the others.
const FOLDS: usize = 5;
/// Scores beyond this are no scores, and their squares overflow.
const LARGEST: f64 = 1e100;

/// Scores of one model turned into verdicts. Made by [`Calibration::fit`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Calibration {
    /// Validation pictures behind it.
    pub genuine: usize,
    pub forged: usize,
    pub probability: Probability,
    /// At 1 % false alarms.
    pub at_1: Threshold,
    /// At 5 % false alarms. Not above `at_1`.
    pub at_5: Threshold,
    /// From this score on a picture is called fake.
    pub fake_from: Cut,
    /// Below this score no sign of forgery is found; from here to `fake_from` the verdict is "inconclusive".
    pub genuine_below: Cut,
    /// Of `p_fake`: mean distance from the share of fakes, classes weighed alike. Each fifth of the pictures is judged by a
    /// curve that was fitted to the other four. None without a probability.
    pub ece: Option<f64>,
    /// The same of what the model said before ([`Calibration::compare_with`]).
    pub ece_before: Option<f64>,
    /// Reliability behind `ece`.
    pub bins: Vec<Bin>,
    /// Reliability behind `ece_before`.
    pub bins_before: Vec<Bin>,
}

/// Whether a score has a probability.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Probability {
    /// For a picture that is as likely forged as genuine beforehand.
    Platt(Platt),
    /// No forged validation pictures, or fewer than [`LEAST`].
    TooFewForged,
    /// Forged validation pictures score no higher than genuine ones.
    NoHigher,
}

/// A score to cut at, and what validation pictures do there.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Cut {
    pub score: f64,
    /// Genuine pictures with this score or a higher one.
    pub false_alarms: Share,
    /// Forged pictures with this score or a higher one; `of` is 0 where there are none.
    pub detected: Share,
}

/// So many of so many.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Share {
    pub count: usize,
    pub of: usize,
}

/// A cut at a rate of false alarms.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Threshold {
    /// 0.01 or 0.05: the most that a new genuine picture reaches the cut.
    pub rate: f64,
    pub how: How,
    #[serde(flatten)]
    pub cut: Cut,
}

/// Where a threshold comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum How {
    /// The rank among genuine validation pictures: holds for any distribution.
    Empirical,
    /// Mean and deviation of genuine validation pictures: holds as far as their scores are normal.
    Tolerance,
}

/// What is said of a picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    Fake,
    Inconclusive,
    /// No sign of forgery was found, which is not a proof that there is none.
    Genuine,
}

impl Verdict {
    /// `fake`, `inconclusive`, `no sign found`
    pub fn words(self) -> &'static str {
        match self {
            Verdict::Fake => "fake",
            Verdict::Inconclusive => "inconclusive",
            Verdict::Genuine => "no sign found",
        }
    }
}

impl Share {
    /// None where there is nothing to take a share of.
    pub fn interval(&self) -> Option<Interval> {
        (self.of > 0).then(|| Interval::wilson(self.count, self.of))
    }

    /// `2 (0.6–16 %)`: the count and the 95 % interval of the share.
    fn words(&self) -> String {
        let Some(i) = self.interval() else { return self.count.to_string() };
        format!("{} ({}\u{2013}{} %)", self.count, percent(i.lo), percent(i.hi))
    }
}

/// Two digits at least.
fn percent(x: f64) -> String {
    let x = 100.0 * x;
    fixed(x, (x < 9.95 && x > 0.0) as usize)
}

impl Cut {
    fn at(score: f64, scores: &[(f64, bool)]) -> Cut {
        let share = |class: bool| {
            let of = scores.iter().filter(|s| s.1 == class);
            Share { count: of.clone().filter(|s| s.0 >= score).count(), of: of.count() }
        };
        Cut { score, false_alarms: share(false), detected: share(true) }
    }

    /// `of 40 genuine validation pictures 2 (1.4–17 %) score at or above it; of 120 forged ones 97 (73–87 %)`
    pub fn sentence(&self) -> String {
        let Cut { false_alarms, detected, .. } = self;
        let verb = if false_alarms.count == 1 { "scores" } else { "score" };
        let forged = match detected.of {
            0 => "; there were no forged ones".into(),
            of => format!("; of {of} forged ones {}", detected.words()),
        };
        format!("of {} genuine validation pictures {} {verb} at or above it{forged}", false_alarms.of, false_alarms.words())
    }
}

impl Threshold {
    fn new(rate: f64, scores: &[(f64, bool)]) -> Threshold {
        let mut genuine: Vec<f64> = scores.iter().filter(|s| !s.1).map(|s| s.0).collect();
        genuine.sort_by(|a, b| b.total_cmp(a));
        let n = genuine.len();
        // So many genuine pictures may reach the cut, and the one after them must not; with less than one the rank says nothing,
        // and the cut is above all of them at least. A little is added because 0.05 · 20 is below 1 in floating point.
        let room = rate * (n + 1) as f64 + 1e-9;
        let allowed = (room as usize).saturating_sub(1);
        let empirical = genuine[allowed].next_up();
        let mean = genuine.iter().sum::<f64>() / n as f64;
        let spread = (genuine.iter().map(|s| (s - mean).powi(2)).sum::<f64>() / (n - 1) as f64).sqrt();
        let bound = mean + student::quantile(1.0 - rate, n - 1) * spread * (1.0 + 1.0 / n as f64).sqrt();
        let (score, how) = match room < 1.0 {
            true => (bound.max(empirical), How::Tolerance),
            false => (empirical, How::Empirical),
        };
        Threshold { rate, how, cut: Cut::at(score, scores) }
    }

    /// `5 %`
    pub fn percent(&self) -> String {
        format!("{} %", fixed(self.rate * 100.0, 0))
    }
}

impl Calibration {
    /// From (score, forged) of validation pictures, in any order. The genuine ones should be independent of one another, one to
    /// a photograph; the intervals take the forged ones as if they were.
    ///
    /// Genuine pictures alone give thresholds without a probability ([`Calibration::lacks`] says so). An error for fewer than
    /// [`LEAST`] genuine pictures, for scores that are not finite, and where the genuine ones have one score only.
    pub fn fit(scores: &[(f64, bool)]) -> Result<Calibration> {
        let fail = |why: String| Err(Error::data("calibration", why));
        if let Some(i) = scores.iter().position(|s| s.0.is_nan() || s.0.abs() > LARGEST) {
            return fail(format!("score {i} is {}, which is not a finite number below 1e100; is the model sound?", scores[i].0));
        }
        let forged = scores.iter().filter(|s| s.1).count();
        let genuine = scores.len() - forged;
        if genuine < LEAST {
            return fail(match (genuine, forged) {
                (0, 0) => "there are no validation pictures".into(),
                (0, n) => format!("all {n} validation pictures are forged, so false alarms are not known; add genuine ones"),
                (g, n) => format!("{g} genuine validation pictures (beside {n} forged ones) are too few: give {LEAST} or more"),
            });
        }
        let mut of_genuine = scores.iter().filter(|s| !s.1).map(|s| s.0);
        let first = of_genuine.next().unwrap_or_default();
        if of_genuine.all(|s| s == first) {
            return fail(format!("all {genuine} genuine validation pictures score {first}: such a score has no threshold"));
        }
        let probability = match forged {
            n if n < LEAST => Probability::TooFewForged,
            _ => match Platt::fit(scores).balanced(scores) {
                curve if curve.a > 0.0 && curve.even().is_some() => Probability::Platt(curve),
                _ => Probability::NoHigher,
            },
        };
        let (at_1, at_5) = (Threshold::new(0.01, scores), Threshold::new(0.05, scores));
        let (a, b) = match probability {
            Probability::Platt(curve) => (curve.even().unwrap_or(at_5.cut.score), at_5.cut.score),
            _ => (at_1.cut.score, at_5.cut.score),
        };
        let mut made = Calibration {
            genuine,
            forged,
            probability,
            at_1,
            at_5,
            fake_from: Cut::at(a.max(b), scores),
            genuine_below: Cut::at(a.min(b), scores),
            ece: None,
            ece_before: None,
            bins: Vec::new(),
            bins_before: Vec::new(),
        };
        if let Probability::Platt(_) = probability {
            made.bins = bins(&held_out(scores))?;
            made.ece = Some(ece_of(&made.bins));
        }
        Ok(made)
    }

    /// Adds what the model said of validation pictures before: (its own `p_fake`, forged). For the report alone. Nothing is
    /// added where a class is missing.
    pub fn compare_with(&mut self, before: &[(f64, bool)]) -> Result<()> {
        if before.iter().any(|x| x.1) && before.iter().any(|x| !x.1) {
            self.bins_before = bins(before)?;
            self.ece_before = Some(ece_of(&self.bins_before));
        }
        Ok(())
    }

    /// Probability that a picture with this score is forged, where one picture in two is. None where it is not known.
    pub fn p_fake(&self, score: f64) -> Option<f64> {
        match self.probability {
            Probability::Platt(curve) if !score.is_nan() => Some(curve.p(score)),
            _ => None,
        }
    }

    /// What is said of a picture with this score.
    ///
    /// There are two marks: the threshold at 5 % false alarms, and the score at which `p_fake` is ½, where genuine and forged
    /// validation pictures are equally frequent. At or above both the picture is called fake: few genuine pictures score so
    /// high, and more forged ones. Below both no sign was found. Between them the marks contradict each other: the score is
    /// commoner among fakes, but too many genuine pictures reach it (or none does, but no fakes do either); an editor has to
    /// look. Where no probability is known, the marks are the thresholds at 1 and 5 %. A score that is no number is
    /// inconclusive.
    pub fn verdict(&self, score: f64) -> Verdict {
        match score {
            s if s >= self.fake_from.score => Verdict::Fake,
            s if s < self.genuine_below.score => Verdict::Genuine,
            _ => Verdict::Inconclusive,
        }
    }

    /// The lowest of the two rates of false alarms, 1 or 5 %, whose threshold a score reaches.
    pub fn rarity(&self, score: f64) -> Option<&Threshold> {
        [&self.at_1, &self.at_5].into_iter().find(|t| score >= t.cut.score)
    }

    /// What this model's own validation says of the verdict on a picture with this score. One sentence without its full stop.
    pub fn sentence(&self, score: f64) -> String {
        match self.verdict(score) {
            Verdict::Fake => {
                format!("from {} on a picture is called fake: {}", short(self.fake_from.score), self.fake_from.sentence())
            }
            Verdict::Inconclusive => {
                let between = |f: fn(&Cut) -> Share| {
                    let (below, above) = (f(&self.genuine_below), f(&self.fake_from));
                    Share { count: below.count.saturating_sub(above.count), of: below.of }
                };
                let (genuine, forged) = (between(|c| c.false_alarms), between(|c| c.detected));
                format!(
                    "between {} and {} validation does not tell: {} of {} genuine and {} of {} forged pictures lie there",
                    short(self.genuine_below.score),
                    short(self.fake_from.score),
                    genuine.count,
                    genuine.of,
                    forged.count,
                    forged.of
                )
            }
            Verdict::Genuine => match self.genuine_below.detected {
                Share { of: 0, .. } => format!(
                    "below {} no sign is found; how many fakes are missed there is not known: there were no forged ones",
                    short(self.genuine_below.score)
                ),
                Share { count, of } => format!(
                    "below {} no sign is found: of {of} forged validation pictures {} lie there too",
                    short(self.genuine_below.score),
                    Share { count: of - count, of }.words()
                ),
            },
        }
    }

    /// What is not known, or rests on little: sentences for a reader; empty for a calibration without gaps.
    pub fn lacks(&self) -> Vec<String> {
        let mut out = Vec::new();
        match self.probability {
            Probability::Platt(_) => {}
            Probability::TooFewForged => out.push(format!(
                "p_fake is not calibrated: {} forged validation pictures, {LEAST} at least are needed; thresholds are known, as \
                 {} genuine ones are enough for those",
                self.forged, self.genuine
            )),
            Probability::NoHigher => out.push(format!(
                "p_fake is not calibrated: the {} forged validation pictures score no higher than the {} genuine ones, so the \
                 score tells nothing of forgery",
                self.forged, self.genuine
            )),
        }
        let guessed: Vec<&Threshold> = [&self.at_1, &self.at_5].into_iter().filter(|t| t.how == How::Tolerance).collect();
        if !guessed.is_empty() {
            let rates: Vec<String> = guessed.iter().map(|t| t.percent()).collect();
            out.push(format!(
                "{} genuine validation pictures are few: at {} false alarms the threshold rests on their mean and deviation, as \
                 if scores were normal",
                self.genuine,
                rates.join(" and ")
            ));
        }
        out
    }
}

/// Three digits that matter, whatever the unit of the score.
fn short(score: f64) -> String {
    let decimals = (2.0 - score.abs().max(1e-9).log10().floor()).clamp(0.0, 9.0);
    fixed(score, decimals as usize)
}

fn bins(pictures: &[(f64, bool)]) -> Result<Vec<Bin>> {
    reliability(pictures, Bins::for_pictures(pictures.len()), Mixture::Balanced)
}

/// `p_fake` of every picture by a curve that did not see it. A picture's fold is its place within its class, so that all folds
/// have both classes alike.
fn held_out(scores: &[(f64, bool)]) -> Vec<(f64, bool)> {
    let mut seen = [0, 0];
    let fold: Vec<usize> = scores
        .iter()
        .map(|s| {
            seen[s.1 as usize] += 1;
            seen[s.1 as usize] % FOLDS
        })
        .collect();
    let mut out = Vec::with_capacity(scores.len());
    for k in 0..FOLDS {
        let others: Vec<(f64, bool)> = scores.iter().zip(&fold).filter(|(_, f)| **f != k).map(|(s, _)| *s).collect();
        let curve = Platt::fit(&others).balanced(&others);
        out.extend(scores.iter().zip(&fold).filter(|(_, f)| **f == k).map(|(s, _)| (curve.p(s.0), s.1)));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::rng::Rng;

    /// Normal scores, genuine around 0 and forged around `shift`.
    fn normal(genuine: usize, forged: usize, shift: f64, seed: u64) -> Vec<(f64, bool)> {
        let mut rng = Rng::new(seed, 7, 0);
        (0..genuine + forged).map(|i| (rng.normal() as f64 + if i < genuine { 0.0 } else { shift }, i >= genuine)).collect()
    }

    fn counted(genuine: usize) -> Vec<(f64, bool)> {
        (0..genuine).map(|i| (i as f64, false)).collect()
    }

    /// Genuine scores 0, 1, …, 199: 201 · 5 % − 1 = 9.05, so nine may reach the cut: it is just above 190. 201 · 1 % − 1 = 1.01:
    /// one may, and it is just above 198.
    #[test]
    fn many_pictures_set_thresholds_by_rank() {
        let c = Calibration::fit(&counted(200)).unwrap();
        assert_eq!((c.at_5.cut.score, c.at_5.how, c.at_5.cut.false_alarms.count), (190f64.next_up(), How::Empirical, 9));
        assert_eq!((c.at_1.cut.score, c.at_1.how, c.at_1.cut.false_alarms.count), (198f64.next_up(), How::Empirical, 1));
    }

    /// Scores 0..9: mean 4.5, s = √(82.5/9) = 3.02765; t(0.95, 9) = 1.833113, t(0.99, 9) = 2.821438 (tables); √1.1 = 1.048809.
    #[test]
    fn few_pictures_set_thresholds_by_mean_and_deviation() {
        let c = Calibration::fit(&counted(10)).unwrap();
        assert!((c.at_5.cut.score - (4.5 + 1.833113 * 3.02765 * 1.048809)).abs() < 1e-4, "{:?}", c.at_5);
        assert!((c.at_1.cut.score - (4.5 + 2.821438 * 3.02765 * 1.048809)).abs() < 1e-4, "{:?}", c.at_1);
        assert_eq!((c.at_5.how, c.at_1.how), (How::Tolerance, How::Tolerance));
        // One genuine picture far out: the rank overrules the normal bound at 5 %, of 30 pictures none may reach it.
        let mut out: Vec<(f64, bool)> = (0..29).map(|i| (i as f64 * 0.01, false)).collect();
        out.push((9.0, false));
        let c = Calibration::fit(&out).unwrap();
        assert_eq!((c.at_5.how, c.at_5.cut.score), (How::Empirical, 9f64.next_up()));
        assert!(c.at_1.cut.score >= c.at_5.cut.score);
        // And where the normal bound is higher, at 24.9: from 19 pictures on the rank alone promises 5 %.
        let c = Calibration::fit(&counted(25)).unwrap();
        assert_eq!((c.at_5.how, c.at_5.cut.score, c.at_1.how), (How::Empirical, 24f64.next_up(), How::Tolerance));
    }

    /// New genuine pictures, of two distributions, over many validation sets of every size.
    #[test]
    fn false_alarms_of_new_pictures_are_as_rare_as_promised() {
        for skewed in [false, true] {
            for n in [8, 25, 60, 150] {
                let (mut alarms, mut total) = ([0, 0], 0);
                for seed in 0..400 {
                    let mut rng = Rng::new(seed, 3, n as u64);
                    let mut draw = || {
                        let z = rng.normal() as f64;
                        if skewed { z.exp() } else { z }
                    };
                    let set: Vec<(f64, bool)> = (0..n).map(|_| (draw(), false)).collect();
                    let c = Calibration::fit(&set).unwrap();
                    for _ in 0..50 {
                        let s = draw();
                        alarms[0] += (s >= c.at_5.cut.score) as usize;
                        alarms[1] += (s >= c.at_1.cut.score) as usize;
                        total += 1;
                    }
                }
                let rate = alarms.map(|a| a as f64 / total as f64);
                // Where the rank can speak it holds for any scores; the normal bound holds for normal ones.
                assert!(rate[0] < 0.0575 || (skewed && n < 19), "{skewed} {n}: {rate:?}");
                assert!(rate[1] < 0.013 || (skewed && n < 99), "{skewed} {n}: {rate:?}");
                assert!(rate[0] > 0.02 || n < 20 || skewed, "{skewed} {n}: {rate:?} is needlessly strict");
            }
        }
    }

    #[test]
    fn a_calibrated_probability_is_reliable_and_the_raw_one_was_not() {
        let scores = normal(1000, 3000, 1.5, 2);
        let mut c = Calibration::fit(&scores).unwrap();
        // Two normal classes at distance d: log odds d·s − d²/2.
        let Probability::Platt(curve) = c.probability else { panic!("{c:?}") };
        assert!((curve.a - 1.5).abs() < 0.12 && (curve.even().unwrap() - 0.75).abs() < 0.05, "{curve:?}");
        let before: Vec<(f64, bool)> = scores.iter().map(|s| (1.0 / (1.0 + (-8.0 * s.0).exp()), s.1)).collect();
        c.compare_with(&before).unwrap();
        assert!(c.ece.unwrap() < 0.03 && c.ece_before.unwrap() > 0.1, "{:?} {:?}", c.ece, c.ece_before);
        assert!(
            c.bins.iter().filter(|b| b.share.lo <= b.p && b.p <= b.share.hi).count() * 10 >= c.bins.len() * 7,
            "{:#?}",
            c.bins
        );
        let again: Calibration = serde_json::from_str(&serde_json::to_string(&c).unwrap()).unwrap();
        assert_eq!(again, c);
    }

    #[test]
    fn verdicts_have_a_band_between_the_two_marks() {
        let c = Calibration::fit(&normal(400, 400, 1.0, 5)).unwrap();
        let (even, line) = (c.genuine_below.score, c.at_5.cut.score);
        assert!((even - 0.5).abs() < 0.1 && (line - 1.645).abs() < 0.25 && c.fake_from.score == line, "{even} {line}");
        assert_eq!([line, line - 1e-9, even, even - 1e-9].map(|s| c.verdict(s)), {
            use Verdict::*;
            [Fake, Inconclusive, Inconclusive, Genuine]
        });
        assert_eq!(c.verdict(f64::NAN), Verdict::Inconclusive);
        assert!((c.p_fake(even).unwrap() - 0.5).abs() < 1e-12 && c.p_fake(line).unwrap() > 0.7 && c.p_fake(f64::NAN).is_none());
        assert_eq!((c.rarity(5.0).unwrap().rate, c.rarity(line).unwrap().rate, c.rarity(0.0)), (0.01, 0.05, None));
        // Classes far apart: the threshold lies near the genuine ones, and a score between them is called by nobody.
        let c = Calibration::fit(&normal(400, 400, 20.0, 5)).unwrap();
        assert!(c.fake_from.score > c.at_5.cut.score + 3.0 && c.verdict(c.at_5.cut.score) == Verdict::Inconclusive);
        assert!(c.p_fake(c.fake_from.score).unwrap() > 0.499_999);
    }

    #[test]
    fn sentences_count_the_validation_pictures() {
        let mut scores: Vec<(f64, bool)> = (0..40).map(|i| (i as f64 / 40.0, false)).collect();
        scores.extend((0..120).map(|i| (if i < 97 { 2.0 + i as f64 / 100.0 } else { 0.2 }, true)));
        let c = Calibration::fit(&scores).unwrap();
        let fake = c.sentence(9.0);
        assert!(
            fake.contains("of 40 genuine validation pictures 0 (0–8.8 %) score at or above it; of 120 forged ones 97 (73–87 %)"),
            "{fake}"
        );
        let genuine = c.sentence(0.0);
        assert!(genuine.contains("of 120 forged validation pictures 23 (13–27 %) lie there too"), "{genuine}");
        let between = c.sentence(c.genuine_below.score);
        assert!(between.contains("validation does not tell: 1 of 40 genuine and 0 of 120 forged"), "{between}");
        assert_eq!((short(1234.5), short(-0.01234), short(0.5)), ("1234".into(), "−0.0123".into(), "0.500".into()));
    }

    #[test]
    fn without_fakes_there_are_thresholds_and_no_probability() {
        let c = Calibration::fit(&normal(50, 0, 0.0, 1)).unwrap();
        assert_eq!((c.probability, c.p_fake(1.0), c.ece, c.bins.len()), (Probability::TooFewForged, None, None, 0));
        assert_eq!((c.fake_from.score, c.genuine_below.score), (c.at_1.cut.score, c.at_5.cut.score));
        assert!(c.lacks()[0].contains("0 forged validation pictures, 4 at least"), "{:?}", c.lacks());
        assert!(c.sentence(9.0).ends_with("there were no forged ones") && c.sentence(-9.0).contains("not known"));
        assert!(Calibration::fit(&normal(50, 3, 5.0, 1)).unwrap().lacks()[0].contains("3 forged"));
        assert!(Calibration::fit(&normal(500, 500, 2.0, 1)).unwrap().lacks().is_empty());
    }

    #[test]
    fn scores_that_fall_with_forgery_have_no_probability() {
        let c = Calibration::fit(&normal(60, 60, -1.0, 3)).unwrap();
        assert_eq!((c.probability, c.p_fake(0.0)), (Probability::NoHigher, None));
        assert!(c.lacks()[0].contains("no higher") && c.fake_from.score >= c.at_5.cut.score);
    }

    #[test]
    fn scores_without_meaning_are_refused_by_name() {
        let why = |s: &[(f64, bool)]| Calibration::fit(s).unwrap_err().to_string();
        assert!(why(&[]).contains("no validation pictures"));
        assert!(why(&normal(0, 9, 1.0, 1)).contains("all 9 validation pictures are forged"));
        assert!(why(&normal(3, 9, 1.0, 1)).contains("3 genuine validation pictures (beside 9 forged ones) are too few"));
        assert!(why(&[(0.5, false); 7]).contains("all 7 genuine validation pictures score 0.5"));
        for bad in [f64::NAN, f64::INFINITY, -1e200] {
            let mut s = normal(9, 9, 1.0, 1);
            s[4].0 = bad;
            assert!(why(&s).contains("score 4 is"), "{}", why(&s));
        }
        assert!(Calibration::fit(&normal(9, 9, 1.0, 1)).unwrap().compare_with(&[(1.5, true), (0.1, false)]).is_err());
    }
}
