//! Whether a probability means what it says: of pictures with p = 0.8, are 80 % forged?
//!
//! C. Guo, G. Pleiss, Y. Sun, K. Q. Weinberger, "On Calibration of Modern Neural Networks", ICML 2017 (expected calibration
//! error, reliability diagram), here for the probability of "fake", not for that of the class that was chosen.

use serde::{Deserialize, Serialize};

use super::interval::Interval;
use crate::error::{Error, Result};

/// How pictures are put together.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Bins {
    /// This many stretches of [0, 1] of equal width; empty ones are left out.
    Width(usize),
    /// This many bins with about as many pictures each. Pictures of equal p are never parted.
    Mass(usize),
}

impl Bins {
    /// Ten stretches where there are enough pictures to fill them, else bins of twenty pictures, at least two bins.
    pub fn for_pictures(n: usize) -> Bins {
        if n >= 1000 { Bins::Width(10) } else { Bins::Mass((n / 20).clamp(2, 10)) }
    }
}

/// Which mixture the probabilities are for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Mixture {
    /// That of the pictures: each counts once.
    AsGiven,
    /// As many forged as genuine pictures: each class weighs one half, whatever its number.
    Balanced,
}

/// Pictures of about the same probability.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Bin {
    pub genuine: usize,
    pub forged: usize,
    /// Part of the whole, by the weights of the mixture; all bins make 1.
    pub weight: f64,
    /// Mean probability.
    pub p: f64,
    /// Share of forged pictures, with its 95 % interval (Wilson).
    pub share: Interval,
}

/// The bins of pictures (p, forged), by rising p. An error for no pictures, and for a p outside [0, 1].
pub fn reliability(pictures: &[(f64, bool)], bins: Bins, mixture: Mixture) -> Result<Vec<Bin>> {
    if let Some(i) = pictures.iter().position(|x| !(0.0..=1.0).contains(&x.0)) {
        return Err(Error::data("reliability", format!("probability {i} is {}, outside [0, 1]", pictures[i].0)));
    }
    if pictures.is_empty() {
        return Err(Error::data("reliability", "no pictures"));
    }
    let forged = pictures.iter().filter(|x| x.1).count();
    let genuine = pictures.len() - forged;
    // Weight of a genuine and of a forged picture.
    let weight = match mixture {
        Mixture::Balanced if forged > 0 && genuine > 0 => [0.5 / genuine as f64, 0.5 / forged as f64],
        _ => [1.0 / pictures.len() as f64; 2],
    };
    let mut sorted = pictures.to_vec();
    sorted.sort_by(|a, b| a.0.total_cmp(&b.0));
    Ok(divide(&sorted, bins).into_iter().map(|part| bin(part, weight)).collect())
}

fn divide(sorted: &[(f64, bool)], bins: Bins) -> Vec<&[(f64, bool)]> {
    let n = sorted.len();
    match bins {
        Bins::Width(count) => {
            let place = |p: f64| ((p * count as f64) as usize).min(count.saturating_sub(1));
            sorted.chunk_by(|a, b| place(a.0) == place(b.0)).collect()
        }
        Bins::Mass(count) => {
            let (mut parts, mut start) = (Vec::new(), 0);
            for k in 1..=count.max(1) {
                let mut end = (n * k / count).max(start);
                // The last picture takes those with it that have the same p.
                while end > start && end < n && sorted[end].0 == sorted[end - 1].0 {
                    end += 1;
                }
                if end > start {
                    parts.push(&sorted[start..end]);
                    start = end;
                }
            }
            parts
        }
    }
}

fn bin(part: &[(f64, bool)], weight: [f64; 2]) -> Bin {
    let forged = part.iter().filter(|x| x.1).count();
    let total: f64 = part.iter().map(|x| weight[x.1 as usize]).sum();
    let p = part.iter().map(|x| weight[x.1 as usize] * x.0).sum::<f64>() / total;
    // Weights multiply the odds of a share by one number; that is increasing, so the bounds of the interval are mapped like the
    // share.
    let mixed = |s: f64| weight[1] * s / (weight[1] * s + weight[0] * (1.0 - s));
    let i = Interval::wilson(forged, part.len());
    let share = Interval { value: mixed(i.value), lo: mixed(i.lo), hi: mixed(i.hi) };
    Bin { genuine: part.len() - forged, forged, weight: total, p, share }
}

/// Expected calibration error: mean distance of probability and share over the bins, by their weights.
pub fn ece_of(bins: &[Bin]) -> f64 {
    bins.iter().map(|b| b.weight * (b.p - b.share.value).abs()).sum()
}

/// [`ece_of`] `bins` stretches of equal width, as Guo et al. reckon it.
pub fn ece(pictures: &[(f64, bool)], bins: usize) -> Result<f64> {
    reliability(pictures, Bins::Width(bins), Mixture::AsGiven).map(|b| ece_of(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ten stretches: {.05, .08 | none forged}, {.31, .39 | one}, {.97, 1 | both}, and .4 alone, forged.
    const SET: [(f64, bool); 7] =
        [(0.97, true), (0.05, false), (0.31, true), (0.4, true), (1.0, true), (0.08, false), (0.39, false)];

    #[test]
    fn the_error_by_hand() {
        // (2·|.065 − 0| + 2·|.35 − .5| + 1·|.4 − 1| + 2·|.985 − 1|) / 7
        let want = (2.0 * 0.065 + 2.0 * 0.15 + 0.6 + 2.0 * 0.015) / 7.0;
        assert!((ece(&SET, 10).unwrap() - want).abs() < 1e-12);
        let bins = reliability(&SET, Bins::Width(10), Mixture::AsGiven).unwrap();
        assert_eq!(bins.iter().map(|b| (b.genuine, b.forged)).collect::<Vec<_>>(), [(2, 0), (1, 1), (0, 1), (0, 2)]);
        assert!((bins.iter().map(|b| b.weight).sum::<f64>() - 1.0).abs() < 1e-12);
        assert!(bins[0].share.lo == 0.0 && (bins[0].share.hi - 0.6576).abs() < 1e-4, "{:?}", bins[0]);
    }

    #[test]
    fn bins_of_equal_mass_part_no_ties() {
        let bins = reliability(&SET, Bins::Mass(3), Mixture::AsGiven).unwrap();
        assert_eq!(bins.iter().map(|b| b.genuine + b.forged).collect::<Vec<_>>(), [2, 2, 3]);
        let tied: Vec<(f64, bool)> = (0..10).map(|i| (if i < 7 { 0.5 } else { 0.9 }, i % 2 == 0)).collect();
        let bins = reliability(&tied, Bins::Mass(5), Mixture::AsGiven).unwrap();
        assert_eq!(bins.iter().map(|b| b.genuine + b.forged).collect::<Vec<_>>(), [7, 3]);
        assert_eq!(Bins::for_pictures(30), Bins::Mass(2));
    }

    /// One genuine and three forged pictures of p = ½ are what p = ½ says where three of four pictures are forged anyway.
    #[test]
    fn a_balanced_mixture_weighs_the_classes_alike() {
        let set = [(0.5, false), (0.5, true), (0.5, true), (0.5, true)];
        let at = |m| reliability(&set, Bins::Width(10), m).unwrap();
        assert_eq!((at(Mixture::AsGiven)[0].share.value, at(Mixture::Balanced)[0].share.value), (0.75, 0.5));
        assert_eq!((ece_of(&at(Mixture::AsGiven)), ece_of(&at(Mixture::Balanced))), (0.25, 0.0));
        let i = at(Mixture::Balanced)[0].share;
        // Wilson of 3 in 4: [0.3006, 0.9544]; odds over three.
        assert!((i.lo - 0.1253).abs() < 1e-3 && (i.hi - 0.8746).abs() < 1e-3, "{i:?}");
    }

    #[test]
    fn what_is_no_probability_is_refused() {
        assert!(ece(&[], 10).is_err());
        assert!(ece(&[(0.2, true), (f64::NAN, true)], 10).unwrap_err().to_string().contains("probability 1 is NaN"));
    }
}
