//! Percentile bootstrap over photographs.
//!
//! Crops of one photograph, and a picture and its forgery, are not independent: resampling single pictures would give intervals
//! that are too narrow. So whole groups are drawn with replacement (cluster bootstrap; Field and Welsh, J. R. Stat. Soc. B 69,
//! 2007). A resample is a vector of integer weights, one per picture, and a statistic is a function of weights.

use std::collections::HashMap;

use rayon::prelude::*;

use super::interval::Interval;
use crate::core::rng::{Rng, stream};
use crate::error::{Error, Result};

/// How to resample.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bootstrap {
    pub resamples: usize,
    pub seed: u64,
}

impl Default for Bootstrap {
    fn default() -> Bootstrap {
        Bootstrap { resamples: 1000, seed: 0 }
    }
}

/// K figures with their intervals.
#[derive(Clone, Debug, PartialEq)]
pub struct Resampled<const K: usize> {
    pub figures: [Interval; K],
    /// Independent units that were drawn: groups, or pictures where no groups are known.
    pub units: usize,
    /// Resamples in which the statistic was not defined (only one class drawn); they are left out.
    pub skipped: usize,
}

impl Bootstrap {
    /// 95 % percentile intervals of `statistic`, a function of the weights of `n` pictures (all ones: the figure itself).
    ///
    /// `group` names the photograph of each picture (any numbers); empty: every picture is its own unit. Resample r draws from the
    /// counter-based generator at index r, so the result depends on the seed only, not on threads. With one unit the interval has
    /// no width and says nothing; `units` tells how many there were.
    pub fn run<const K: usize>(
        &self,
        n: usize,
        group: &[u64],
        statistic: impl Fn(&[u32]) -> Option<[f64; K]> + Sync,
    ) -> Result<Resampled<K>> {
        if n == 0 {
            return Err(Error::data("bootstrap", "no pictures to resample"));
        }
        if !group.is_empty() && group.len() != n {
            return Err(Error::data("bootstrap", format!("{} photograph numbers for {n} pictures", group.len())));
        }
        let (unit, units) = number_units(n, group);
        let undefined = || Error::data("bootstrap", "the statistic is not defined for these pictures (only one class?)");
        let value = statistic(&vec![1; n]).ok_or_else(undefined)?;
        let drawn: Vec<Option<[f64; K]>> = (0..self.resamples as u64)
            .into_par_iter()
            .map_init(
                || (vec![0u32; units], vec![0u32; n]),
                |(count, weight), r| {
                    let mut rng = Rng::new(self.seed, stream("bootstrap"), r);
                    count.fill(0);
                    (0..units).for_each(|_| count[rng.below(units)] += 1);
                    weight.iter_mut().zip(&unit).for_each(|(w, &u)| *w = count[u as usize]);
                    statistic(weight)
                },
            )
            .collect();
        let kept: Vec<[f64; K]> = drawn.iter().flatten().copied().collect();
        let skipped = drawn.len() - kept.len();
        let figures = std::array::from_fn(|k| {
            let mut xs: Vec<f64> = kept.iter().map(|v| v[k]).collect();
            xs.sort_unstable_by(f64::total_cmp);
            match xs.is_empty() {
                true => Interval::point(value[k]),
                false => Interval { value: value[k], lo: quantile(&xs, 0.025), hi: quantile(&xs, 0.975) },
            }
        });
        Ok(Resampled { figures, units, skipped })
    }
}

/// Photograph numbers → 0..units in order of appearance.
fn number_units(n: usize, group: &[u64]) -> (Vec<u32>, usize) {
    if group.is_empty() {
        return ((0..n as u32).collect(), n);
    }
    let mut seen = HashMap::new();
    let unit = group
        .iter()
        .map(|g| {
            let next = seen.len() as u32;
            *seen.entry(g).or_insert(next)
        })
        .collect();
    (unit, seen.len())
}

/// Linear interpolation between order statistics (numpy's default). `sorted` is not empty.
fn quantile(sorted: &[f64], q: f64) -> f64 {
    let at = q * (sorted.len() - 1) as f64;
    let (i, t) = (at.floor() as usize, at.fract());
    let (a, b) = (sorted[i], sorted[(i + 1).min(sorted.len() - 1)]);
    a + (b - a) * t
}

/// Accuracy of `after` minus accuracy of `before` on the same pictures, resampled in pairs: much narrower than the two intervals
/// side by side when the two models err on the same pictures.
pub fn paired_accuracy(before: &[bool], after: &[bool], group: &[u64], how: &Bootstrap) -> Result<Interval> {
    if before.len() != after.len() {
        return Err(Error::data("paired accuracy", format!("{} pictures before, {} after", before.len(), after.len())));
    }
    let found = how.run(before.len(), group, |w| {
        let (mut gain, mut total) = (0i64, 0i64);
        for ((&w, &b), &a) in w.iter().zip(before).zip(after) {
            total += w as i64;
            gain += w as i64 * (a as i64 - b as i64);
        }
        Some([gain as f64 / total as f64])
    })?;
    Ok(found.figures[0])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mean(xs: &[f64]) -> impl Fn(&[u32]) -> Option<[f64; 1]> + Sync + '_ {
        move |w| {
            let total: u32 = w.iter().sum();
            Some([w.iter().zip(xs).map(|(&w, x)| w as f64 * x).sum::<f64>() / total as f64])
        }
    }

    fn rate(ones: usize, n: usize) -> Vec<f64> {
        (0..n).map(|i| (i < ones) as u8 as f64).collect()
    }

    #[test]
    fn width_is_that_of_the_binomial() {
        let xs = rate(700, 1000);
        let i = Bootstrap { resamples: 4000, seed: 1 }.run(1000, &[], mean(&xs)).unwrap().figures[0];
        // ±1.96 √(0.7·0.3/1000) = ±0.0284
        assert_eq!(i.value, 0.7);
        assert!((i.lo - 0.6716).abs() < 0.004 && (i.hi - 0.7284).abs() < 0.004, "{i:?}");
    }

    /// Ten copies of every observation carry no more information: by group the width stays, by picture it shrinks by √10.
    #[test]
    fn groups_keep_the_width_of_independent_units() {
        let (once, how) = (rate(70, 100), Bootstrap { resamples: 2000, seed: 3 });
        let xs: Vec<f64> = (0..1000).map(|i| once[i / 10]).collect();
        let group: Vec<u64> = (0..1000).map(|i| 1_000_000_007 * (i / 10)).collect();
        let width = |g: &[u64]| {
            let r = how.run(1000, g, mean(&xs)).unwrap();
            (r.figures[0].hi - r.figures[0].lo, r.units)
        };
        let ((by_group, units), (by_picture, n)) = (width(&group), width(&[]));
        assert_eq!((units, n), (100, 1000));
        assert!((2.6..3.8).contains(&(by_group / by_picture)), "{by_group} {by_picture}");
    }

    #[test]
    fn same_seed_same_interval_at_any_number_of_threads() {
        let xs = rate(30, 64);
        let at = |threads, seed| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| Bootstrap { resamples: 500, seed }.run(64, &[], mean(&xs)).unwrap())
        };
        assert_eq!(at(1, 9), at(3, 9));
        assert_ne!(at(1, 9), at(1, 10));
    }

    #[test]
    fn undefined_resamples_are_left_out_and_counted() {
        // Unit 0 must be drawn: it is missing from (1 − 1/8)^8 = 34 % of the resamples.
        let r = Bootstrap { resamples: 2000, seed: 5 }.run(8, &[], |w| (w[0] > 0).then_some([w[0] as f64])).unwrap();
        assert!((600..780).contains(&r.skipped), "{}", r.skipped);
        assert!(r.figures[0].lo >= 1.0);
    }

    #[test]
    fn bad_input_is_an_error() {
        let how = Bootstrap::default();
        assert!(how.run(0, &[], |_| Some([0.0])).is_err());
        assert!(how.run(3, &[1, 2], |_| Some([0.0])).is_err());
        assert!(how.run(3, &[], |_| None::<[f64; 1]>).is_err());
        assert!(paired_accuracy(&[true], &[true, false], &[], &how).is_err());
    }

    #[test]
    fn pairs_cancel_what_the_models_share() {
        // The same 300 pictures wrong in both, 20 of 1000 put right: +2 points, surely above zero.
        let before: Vec<bool> = (0..1000).map(|i| i >= 320).collect();
        let after: Vec<bool> = (0..1000).map(|i| i >= 300).collect();
        let i = paired_accuracy(&before, &after, &[], &Bootstrap::default()).unwrap();
        assert!((i.value - 0.02).abs() < 1e-15 && i.lo > 0.008 && i.hi < 0.033, "{i:?}");
        let same = paired_accuracy(&before, &before, &[], &Bootstrap::default()).unwrap();
        assert_eq!(same, Interval::point(0.0));
    }

    #[test]
    fn quantiles_interpolate() {
        let xs: Vec<f64> = (0..5).map(f64::from).collect();
        assert_eq!((quantile(&xs, 0.0), quantile(&xs, 0.375), quantile(&xs, 1.0)), (0.0, 1.5, 4.0));
    }
}
