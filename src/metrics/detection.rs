//! How well fakes are told from real pictures.

use serde::{Deserialize, Serialize};

use super::bootstrap::{Bootstrap, Resampled};
use super::interval::Interval;
use super::rank::Ranking;
use crate::error::{Error, Result};

/// Verdicts on labelled pictures, in any order. Fake is the positive class.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Scored {
    /// `p_fake`, in [0, 1].
    score: Vec<f64>,
    fake: Vec<bool>,
    called_fake: Vec<bool>,
    /// Photograph of each picture; empty where that is not known.
    group: Vec<u64>,
}

impl Scored {
    pub fn new() -> Scored {
        Scored::default()
    }

    /// One picture: its score `p_fake`, its true label, the verdict, and the photograph that it was made from, if known.
    ///
    /// The verdict is passed in because the paper's rule (§2.2: true iff a_T > a_F, ties are fake) and `score >= 0.5` can differ
    /// in the last bit of a tie.
    pub fn push(&mut self, score: f64, fake: bool, called_fake: bool, photograph: Option<u64>) {
        // A set where only some photographs are known cannot be resampled by photograph.
        match photograph {
            Some(g) if self.group.len() == self.score.len() => self.group.push(g),
            _ => self.group.clear(),
        }
        self.score.push(score);
        self.fake.push(fake);
        self.called_fake.push(called_fake);
    }

    /// From columns; without verdicts, fake means `score >= 0.5`. `group` may be empty.
    pub fn from_columns(score: &[f64], fake: &[bool], called_fake: Option<&[bool]>, group: &[u64]) -> Result<Scored> {
        let n = score.len();
        let called = called_fake.map_or_else(|| score.iter().map(|&s| s >= 0.5).collect(), <[bool]>::to_vec);
        if fake.len() != n || called.len() != n || !(group.is_empty() || group.len() == n) {
            let why = format!("{n} scores, {} labels, {} verdicts, {} photographs", fake.len(), called.len(), group.len());
            return Err(Error::data("detection scores", why));
        }
        Ok(Scored { score: score.to_vec(), fake: fake.to_vec(), called_fake: called, group: group.to_vec() })
    }

    /// Adds the pictures of another set.
    pub fn extend(&mut self, other: &Scored) {
        let known = |s: &Scored| s.group.len() == s.score.len();
        match known(self) && known(other) {
            true => self.group.extend(&other.group),
            false => self.group.clear(),
        }
        self.score.extend(&other.score);
        self.fake.extend(&other.fake);
        self.called_fake.extend(&other.called_fake);
    }

    pub fn len(&self) -> usize {
        self.score.len()
    }
    pub fn is_empty(&self) -> bool {
        self.score.is_empty()
    }
    pub fn scores(&self) -> &[f64] {
        &self.score
    }
    pub fn labels(&self) -> &[bool] {
        &self.fake
    }
    pub fn verdicts(&self) -> &[bool] {
        &self.called_fake
    }
    /// Empty where photographs are not known.
    pub fn photographs(&self) -> &[u64] {
        &self.group
    }
    /// Which verdicts are right.
    pub fn correct(&self) -> Vec<bool> {
        self.fake.iter().zip(&self.called_fake).map(|(a, b)| a == b).collect()
    }

    fn check(&self) -> Result<()> {
        let fakes = self.fake.iter().filter(|&&f| f).count();
        if let Some(i) = self.score.iter().position(|s| !(0.0..=1.0).contains(s)) {
            return Err(Error::data("detection scores", format!("score {i} is {}, outside [0, 1]", self.score[i])));
        }
        match (fakes, self.len() - fakes) {
            (0, 0) => Err(Error::data("detection scores", "no pictures")),
            (0, n) => Err(Error::data("detection scores", format!("{n} real pictures and no fake: AUC and AP need both"))),
            (n, 0) => Err(Error::data("detection scores", format!("{n} fakes and no real picture: AUC and AP need both"))),
            _ => Ok(()),
        }
    }
}

/// Detection figures of one model on one set. Rates in [0, 1].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Detection {
    pub real: usize,
    pub fake: usize,
    /// Share of right verdicts (the paper's figure).
    pub accuracy: Interval,
    /// Share of real pictures called real.
    pub recall_real: Interval,
    /// Share of fakes called fake.
    pub recall_fake: Interval,
    /// Mean of the two recalls: chance is 0.5 whatever the share of fakes.
    pub balanced: Interval,
    pub auc: Interval,
    /// Average precision; chance is the share of fakes.
    pub ap: Interval,
    /// Equal error rate; lower is better.
    pub eer: Interval,
    /// Expected calibration error of `p_fake` over ten equal bins (Guo et al., ICML 2017, on the probability of "fake").
    pub ece: Interval,
    /// Independent units behind the intervals, and whether they are photographs (else pictures).
    pub units: usize,
    pub by_photograph: bool,
    /// Resamples made, and how many of them held one class only and were left out.
    pub resamples: usize,
    pub skipped: usize,
}

/// What a second model changes on the same pictures: after minus before, resampled in pairs.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Change {
    pub accuracy: Interval,
    pub recall_real: Interval,
    pub recall_fake: Interval,
    pub balanced: Interval,
    pub auc: Interval,
    pub ap: Interval,
    /// Below zero is better.
    pub eer: Interval,
    /// Below zero is better.
    pub ece: Interval,
}

const BINS: usize = 10;
const FIGURES: usize = 8;

/// A set of verdicts, sorted once, so that the figures for a vector of weights take one pass.
struct Prepared<'a> {
    set: &'a Scored,
    ranking: Ranking,
    bin: Vec<u8>,
}

impl<'a> Prepared<'a> {
    fn new(set: &'a Scored) -> Result<Prepared<'a>> {
        set.check()?;
        let bin = set.score.iter().map(|s| ((s * BINS as f64) as usize).min(BINS - 1) as u8).collect();
        Ok(Prepared { set, ranking: Ranking::of_f64(&set.score), bin })
    }

    /// In the order of the fields of [`Detection`]; `None` if a class has no weight.
    fn figures(&self, weight: &[u32]) -> Option<[f64; FIGURES]> {
        // [real, fake] × [all, right]
        let (mut all, mut right) = ([0u64; 2], [0u64; 2]);
        let (mut mass, mut excess) = ([0u64; BINS], [0f64; BINS]);
        for (i, &w) in weight.iter().enumerate() {
            let (fake, w) = (self.set.fake[i], w as u64);
            all[fake as usize] += w;
            right[fake as usize] += w * (fake == self.set.called_fake[i]) as u64;
            let bin = self.bin[i] as usize;
            mass[bin] += w;
            excess[bin] += w as f64 * (self.set.score[i] - fake as u8 as f64);
        }
        let count = |i: usize| if self.set.fake[i] { (weight[i] as u64, 0) } else { (0, weight[i] as u64) };
        let rank = self.ranking.scores(count, all[1], all[0])?;
        let total = (all[0] + all[1]) as f64;
        let recall = [right[0] as f64 / all[0] as f64, right[1] as f64 / all[1] as f64];
        let ece = excess.iter().map(|e| e.abs()).sum::<f64>() / total;
        let accuracy = (right[0] + right[1]) as f64 / total;
        Some([accuracy, recall[0], recall[1], (recall[0] + recall[1]) / 2.0, rank.auc, rank.ap, rank.eer, ece])
    }
}

impl Detection {
    /// An error for an empty or one-class set and for scores outside [0, 1].
    pub fn of(set: &Scored, how: &Bootstrap) -> Result<Detection> {
        let ready = Prepared::new(set)?;
        let Resampled { figures, units, skipped } = how.run(set.len(), &set.group, |w| ready.figures(w))?;
        let [accuracy, recall_real, recall_fake, balanced, auc, ap, eer, ece] = figures;
        let fake = set.fake.iter().filter(|&&f| f).count();
        let (real, by_photograph) = (set.len() - fake, !set.group.is_empty());
        Ok(Detection {
            real,
            fake,
            accuracy,
            recall_real,
            recall_fake,
            balanced,
            auc,
            ap,
            eer,
            ece,
            units,
            by_photograph,
            resamples: how.resamples,
            skipped,
        })
    }
}

impl Change {
    /// Both sets must hold the same pictures in the same order.
    pub fn between(before: &Scored, after: &Scored, how: &Bootstrap) -> Result<Change> {
        if before.fake != after.fake || before.group != after.group {
            return Err(Error::data(
                "paired comparison",
                "the two models were not scored on the same pictures in the same order",
            ));
        }
        let (a, b) = (Prepared::new(before)?, Prepared::new(after)?);
        let found = how.run(before.len(), &before.group, |w| {
            let (a, b) = (a.figures(w)?, b.figures(w)?);
            Some(std::array::from_fn::<f64, FIGURES, _>(|k| b[k] - a[k]))
        })?;
        let [accuracy, recall_real, recall_fake, balanced, auc, ap, eer, ece] = found.figures;
        Ok(Change { accuracy, recall_real, recall_fake, balanced, auc, ap, eer, ece })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// p_fake around 0.5 with the given shift for fakes; two pictures per photograph.
    fn noisy(n: usize, shift: f64, seed: u64) -> Scored {
        let mut rng = crate::core::rng::Rng::new(seed, 1, 0);
        let mut set = Scored::new();
        for i in 0..n {
            let fake = i % 2 == 0;
            let s = (0.5 + 0.15 * rng.normal() as f64 + if fake { shift } else { -shift }).clamp(0.0, 1.0);
            set.push(s, fake, s >= 0.5, Some(i as u64 / 2));
        }
        set
    }

    #[test]
    fn by_hand() {
        let score = [0.9, 0.6, 0.4, 0.5, 0.1, 0.7];
        let fake = [true, true, true, false, false, false];
        let set = Scored::from_columns(&score, &fake, None, &[]).unwrap();
        let d = Detection::of(&set, &Bootstrap { resamples: 50, seed: 0 }).unwrap();
        assert_eq!((d.real, d.fake, d.units, d.by_photograph), (3, 3, 6, false));
        assert_eq!(d.accuracy.value, 0.5);
        assert_eq!((d.recall_real.value, d.recall_fake.value), (1.0 / 3.0, 2.0 / 3.0));
        // 9 pairs: .9 wins 3, .6 wins 2, .4 wins 1.
        assert!((d.auc.value - 6.0 / 9.0).abs() < 1e-15);
        // Each score is alone in its bin: mean |score − label|.
        assert!((d.ece.value - (0.1 + 0.4 + 0.6 + 0.5 + 0.1 + 0.7) / 6.0).abs() < 1e-12);
    }

    #[test]
    fn unequal_classes_do_not_move_the_balanced_figure() {
        // 9 fakes, 1 real, all called fake.
        let fake: Vec<bool> = (0..10).map(|i| i > 0).collect();
        let set = Scored::from_columns(&[0.8; 10], &fake, None, &[]).unwrap();
        let d = Detection::of(&set, &Bootstrap::default()).unwrap();
        assert_eq!((d.accuracy.value, d.balanced.value), (0.9, 0.5));
        assert!(d.skipped > 250 && d.skipped < 450, "{}", d.skipped);
    }

    /// Ten copies of each picture tell nothing new: resampled by photograph the interval stays as wide as without them.
    #[test]
    fn intervals_are_those_of_photographs() {
        let one = noisy(200, 0.05, 9);
        let mut copies = Scored::new();
        for i in 0..2000 {
            let (k, g) = (i / 10, one.photographs()[i / 10]);
            copies.push(one.scores()[k], one.labels()[k], one.verdicts()[k], Some(g));
        }
        let how = Bootstrap::default();
        let (a, b) = (Detection::of(&one, &how).unwrap(), Detection::of(&copies, &how).unwrap());
        assert_eq!((a.units, b.units, b.by_photograph), (100, 100, true));
        assert_eq!((a.accuracy, a.eer), (b.accuracy, b.eer));
    }

    #[test]
    fn a_passed_verdict_overrules_the_threshold() {
        let set = Scored::from_columns(&[0.5 - 1e-9, 0.2], &[true, false], Some(&[true, false]), &[]).unwrap();
        assert_eq!(Detection::of(&set, &Bootstrap { resamples: 9, seed: 0 }).unwrap().accuracy.value, 1.0);
    }

    #[test]
    fn bad_input_is_an_error_that_says_why() {
        let how = Bootstrap::default();
        let why = |score: &[f64], fake: &[bool]| {
            Detection::of(&Scored::from_columns(score, fake, None, &[]).unwrap(), &how).unwrap_err().to_string()
        };
        assert!(why(&[], &[]).contains("no pictures"));
        assert!(why(&[0.1, 0.2], &[true, true]).contains("2 fakes and no real"));
        assert!(why(&[0.1], &[false]).contains("no fake"));
        assert!(why(&[0.1, f64::NAN], &[true, false]).contains("score 1 is NaN"));
        assert!(why(&[0.1, 1.5], &[true, false]).contains("outside [0, 1]"));
        assert!(Scored::from_columns(&[0.1], &[true, false], None, &[]).is_err());
    }

    #[test]
    fn a_change_is_that_of_the_same_pictures() {
        let (a, b) = (noisy(400, 0.05, 1), noisy(400, 0.25, 2));
        let how = Bootstrap::default();
        let c = Change::between(&a, &b, &how).unwrap();
        let (da, db) = (Detection::of(&a, &how).unwrap(), Detection::of(&b, &how).unwrap());
        assert!((c.auc.value - (db.auc.value - da.auc.value)).abs() < 1e-15);
        assert!(c.auc.lo > 0.1 && c.eer.hi < 0.0 && c.accuracy.excludes_zero());
        assert_eq!(Change::between(&a, &a, &how).unwrap().ap, Interval::point(0.0));
        assert!(Change::between(&a, &noisy(300, 0.1, 1), &how).is_err());
    }

    #[test]
    fn photographs_of_only_some_pictures_are_not_used() {
        let mut set = noisy(10, 0.1, 3);
        assert_eq!(set.photographs().len(), 10);
        set.push(0.3, false, false, None);
        set.push(0.3, false, false, Some(4));
        assert!(set.photographs().is_empty());
        let mut both = noisy(10, 0.1, 3);
        both.extend(&noisy(6, 0.1, 4));
        assert_eq!((both.len(), both.photographs().len()), (16, 16));
        both.extend(&set);
        assert_eq!((both.len(), both.photographs().len()), (28, 0));
    }

    /// 2,000 pictures and 1,000 resamples of all eight figures: a fraction of a second.
    #[test]
    fn a_thousand_resamples_are_quick() {
        let set = noisy(2000, 0.1, 5);
        let start = std::time::Instant::now();
        let d = Detection::of(&set, &Bootstrap::default()).unwrap();
        let took = start.elapsed();
        assert!(d.auc.lo < d.auc.value && d.auc.value < d.auc.hi);
        // Generous: the tests share the computer.
        assert!(took.as_secs_f64() < 3.0, "{took:?}");
        println!("2000 pictures x 1000 resamples: {took:?}");
    }
}
