//! Scores in falling order with their ties, and what a ranking says about two classes.
//!
//! The order is found once; every resample then is one pass with integer weights, so that ties, AUC and the ROC points are exact.

/// Indices by falling score; equal scores form one group, because no threshold can part them.
#[derive(Clone, Debug)]
pub struct Ranking {
    order: Vec<u32>,
    /// End of each tie group in `order`.
    ends: Vec<u32>,
}

/// Area under the ROC curve, average precision and equal error rate of one (weighted) ranking.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RankScores {
    pub auc: f64,
    pub ap: f64,
    pub eer: f64,
}

impl Ranking {
    /// Sorts the scores, which must be finite.
    pub fn of_f64(scores: &[f64]) -> Ranking {
        // −0.0 + 0.0 = 0.0: the two zeros tie.
        Ranking::build(scores.len(), |i| {
            let b = (scores[i] + 0.0).to_bits();
            if b >> 63 == 1 { !b } else { b | 1 << 63 }
        })
    }

    pub fn of_f32(scores: &[f32]) -> Ranking {
        Ranking::build(scores.len(), |i| {
            let b = (scores[i] + 0.0).to_bits();
            (if b >> 31 == 1 { !b } else { b | 1 << 31 }) as u64
        })
    }

    /// `key` grows with the score.
    fn build(n: usize, key: impl Fn(usize) -> u64) -> Ranking {
        assert!(n <= u32::MAX as usize, "a ranking of more than 2^32 items");
        let mut keyed: Vec<(u64, u32)> = (0..n).map(|i| (!key(i), i as u32)).collect();
        keyed.sort_unstable();
        let ends = (1..=n).filter(|&i| i == n || keyed[i].0 != keyed[i - 1].0).map(|i| i as u32).collect();
        Ranking { order: keyed.into_iter().map(|(_, i)| i).collect(), ends }
    }

    /// Indices of the highest score: more than one when they tie.
    pub fn top(&self) -> &[u32] {
        &self.order[..self.ends.first().map_or(0, |&e| e as usize)]
    }

    /// Calls `visit(true positives, false positives, highest index position)` after each tie group, from the highest score down.
    /// `count(i)` is how often item i counts as positive and as negative.
    pub fn walk(&self, count: impl Fn(usize) -> (u64, u64), mut visit: impl FnMut(u64, u64)) {
        let (mut tp, mut fp, mut start) = (0u64, 0u64, 0usize);
        for &end in &self.ends {
            for &i in &self.order[start..end as usize] {
                let (p, n) = count(i as usize);
                tp += p;
                fp += n;
            }
            start = end as usize;
            visit(tp, fp);
        }
    }

    /// `None` when one of the classes has no weight: then none of the three is defined.
    ///
    /// * AUC: share of (positive, negative) pairs in the right order, ties half.
    /// * AP: Σ (R_k − R_{k−1}) P_k over the distinct scores, as scikit-learn's `average_precision_score`.
    /// * EER: the false positive rate at the ROC point with the smallest |FNR − FPR|, the first one when they tie
    ///   (no interpolation; as DeepfakeBench, but over *all* ROC points, where scikit-learn by default drops collinear ones).
    pub fn scores(&self, count: impl Fn(usize) -> (u64, u64), positives: u64, negatives: u64) -> Option<RankScores> {
        if positives == 0 || negatives == 0 {
            return None;
        }
        let (p, n) = (positives as u128, negatives as u128);
        let (mut pairs, mut ap) = (0u128, 0.0f64);
        let (mut tp0, mut fp0) = (0u64, 0u64);
        // The curve starts at (0, 0), where FNR = 1.
        let (mut gap, mut eer_fp) = (p * n, 0u64);
        self.walk(count, |tp, fp| {
            pairs += (fp - fp0) as u128 * (tp + tp0) as u128;
            if tp > tp0 {
                ap += (tp - tp0) as f64 * (tp as f64 / (tp + fp) as f64);
            }
            // |FNR − FPR| · P · N in whole numbers, so that rounding decides no tie.
            let g = ((positives - tp) as u128 * n).abs_diff(fp as u128 * p);
            if g < gap {
                (gap, eer_fp) = (g, fp);
            }
            (tp0, fp0) = (tp, fp);
        });
        Some(RankScores {
            auc: pairs as f64 / (2 * p * n) as f64,
            ap: ap / positives as f64,
            eer: eer_fp as f64 / negatives as f64,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scores(s: &[f64], fake: &[bool]) -> Option<RankScores> {
        let p = fake.iter().filter(|&&f| f).count() as u64;
        Ranking::of_f64(s).scores(|i| (fake[i] as u64, !fake[i] as u64), p, fake.len() as u64 - p)
    }

    #[test]
    fn by_hand() {
        // Falling: fake .9 | real .7 | fake + real .5 | real .1. Pairs: 3 + (1 + ½) of 6.
        let r = scores(&[0.1, 0.5, 0.9, 0.7, 0.5], &[false, true, true, false, false]).unwrap();
        assert!((r.auc - 4.5 / 6.0).abs() < 1e-15);
        // Recall ½ at precision 1, then ½ more at precision 2/4.
        assert!((r.ap - 0.75).abs() < 1e-15);
        // (FPR, FNR): (0, ½), (⅓, ½), (⅔, 0): the second is nearest.
        assert!((r.eer - 1.0 / 3.0).abs() < 1e-15);
    }

    #[test]
    fn all_tied_is_chance() {
        let r = scores(&[0.5; 4], &[true, false, false, false]).unwrap();
        assert_eq!((r.auc, r.ap), (0.5, 0.25));
        assert!(scores(&[0.5; 4], &[true; 4]).is_none());
    }

    #[test]
    fn order_holds_across_signs_and_zeros() {
        let r = Ranking::of_f32(&[-1.0, -0.0, 2.0, 0.0, -3.0, 2.0]);
        assert_eq!(r.top(), &[2, 5]);
        let mut sizes = vec![];
        r.walk(|_| (1, 0), |tp, _| sizes.push(tp));
        assert_eq!(sizes, [2, 4, 5, 6]);
        assert_eq!(r.order, [2, 5, 1, 3, 0, 4]);
    }
}
