//! How well an attention map finds the forged region, beside how well a map does that never looks at the picture.
//!
//! With a hole that is always central a model can learn the constant "centre" and score an IoU of 0.95; so every figure of a model
//! is to be read beside the figure of [`ConstantMap`], the mean training mask, evaluated by the same code on the same pictures.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::bootstrap::{Bootstrap, Resampled};
use super::interval::Interval;
use super::rank::Ranking;
use crate::error::{Error, Result};

const FIGURES: usize = 8;

/// Figures of one map against one mask.
///
/// Min–max means (m − min)/(max − min) per picture; a flat map is all 0. AUC, AP, best IoU and pointing do not depend on it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct PixelScores {
    /// Share of (inside, outside) pixel pairs in the right order, ties half.
    pub auc: f64,
    /// Average precision over pixels; chance is the share of the picture that the mask covers.
    pub ap: f64,
    /// Intersection over union of mask and {min–max map ≥ 0.5}.
    pub iou_half: f64,
    /// Largest IoU over all thresholds on this picture: an upper bound that knows the answer.
    pub iou_best: f64,
    /// Σ of the positive part of the map inside the mask / Σ of it everywhere; 0 when nothing is positive. Map as given.
    pub energy: f64,
    /// 1 if the highest pixel lies inside; the share inside when several tie (Zhang et al., "pointing game", IJCV 2018).
    pub pointing: f64,
    /// Mean |map − mask| and mean (map − mask)² of the map as given: the residual of eq. (9).
    pub mae: f64,
    pub mse: f64,
}

impl PixelScores {
    fn row(&self) -> [f64; FIGURES] {
        [self.auc, self.ap, self.iou_half, self.iou_best, self.energy, self.pointing, self.mae, self.mse]
    }
}

/// A map with its pixels sorted. After the sort, scoring the map against a mask takes linear time; the constant map is scored against
/// hundreds of masks.
#[derive(Clone, Debug)]
pub struct RankedMap {
    map: Vec<f32>,
    ranking: Ranking,
    lo: f32,
    range: f32,
}

impl RankedMap {
    /// An error for an empty map or one that holds NaN or an infinity.
    pub fn new(map: &[f32]) -> Result<RankedMap> {
        if map.is_empty() {
            return Err(Error::data("attention map", "no pixels"));
        }
        if let Some(i) = map.iter().position(|m| !m.is_finite()) {
            return Err(Error::data("attention map", format!("pixel {i} is {}", map[i])));
        }
        let (lo, hi) = map.iter().fold((f32::MAX, f32::MIN), |(lo, hi), &m| (lo.min(m), hi.max(m)));
        Ok(RankedMap { ranking: Ranking::of_f32(map), map: map.to_vec(), lo, range: hi - lo })
    }

    /// `mask`: true where the picture was forged. An error if the mask has another size, or if it covers nothing or everything
    /// (AUC is not defined then).
    pub fn score(&self, mask: &[bool]) -> Result<PixelScores> {
        let n = self.map.len();
        if mask.len() != n {
            return Err(Error::data("mask", format!("{} pixels, the attention map has {n}", mask.len())));
        }
        let inside = mask.iter().filter(|&&m| m).count() as u64;
        let outside = n as u64 - inside;
        let count = |i: usize| (mask[i] as u64, !mask[i] as u64);
        let Some(rank) = self.ranking.scores(count, inside, outside) else {
            return Err(Error::data("mask", format!("covers {inside} of {n} pixels: nothing to tell apart")));
        };
        let mut iou_best = 0.0f64;
        self.ranking.walk(count, |tp, fp| iou_best = iou_best.max(tp as f64 / (inside + fp) as f64));
        // m ≥ 0.5 of min–max, without dividing; a flat map (range 0) is all 0 and never reaches 0.5.
        let half = self.lo as f64 + 0.5 * self.range as f64;
        let (mut hit, mut over) = (0u64, 0u64);
        let (mut energy_in, mut energy, mut abs, mut square) = (0.0f64, 0.0f64, 0.0f64, 0.0f64);
        for (&m, &g) in self.map.iter().zip(mask) {
            let m = m as f64;
            let above = self.range > 0.0 && m >= half;
            hit += (above && g) as u64;
            over += (above && !g) as u64;
            energy += m.max(0.0);
            energy_in += if g { m.max(0.0) } else { 0.0 };
            let d = m - g as u8 as f64;
            abs += d.abs();
            square += d * d;
        }
        let top = self.ranking.top();
        let pointing = top.iter().filter(|&&i| mask[i as usize]).count() as f64 / top.len() as f64;
        Ok(PixelScores {
            auc: rank.auc,
            ap: rank.ap,
            iou_half: hit as f64 / (inside + over) as f64,
            iou_best,
            energy: if energy > 0.0 { energy_in / energy } else { 0.0 },
            pointing,
            mae: abs / n as f64,
            mse: square / n as f64,
        })
    }

    /// `None` for a mask of the right size that covers nothing or everything.
    fn score_if_defined(&self, mask: &[bool]) -> Result<Option<PixelScores>> {
        let one_class = mask.iter().all(|&m| m) || !mask.iter().any(|&m| m);
        if mask.len() == self.map.len() && one_class { Ok(None) } else { self.score(mask).map(Some) }
    }
}

/// The mean training mask: the best map for all pictures at once in the sense of eq. (9).
#[derive(Clone, Debug, Default)]
pub struct ConstantMap {
    sum: Vec<f64>,
    count: u64,
}

impl ConstantMap {
    pub fn new() -> ConstantMap {
        ConstantMap::default()
    }
    /// One training mask; all must have the same size.
    pub fn add(&mut self, mask: &[bool]) -> Result<()> {
        if self.count == 0 {
            self.sum = vec![0.0; mask.len()];
        }
        if mask.len() != self.sum.len() {
            return Err(Error::data("training mask", format!("{} pixels, the ones before had {}", mask.len(), self.sum.len())));
        }
        self.sum.iter_mut().zip(mask).for_each(|(s, &m)| *s += m as u8 as f64);
        self.count += 1;
        Ok(())
    }
    pub fn count(&self) -> u64 {
        self.count
    }
    /// Share of the training masks that cover each pixel, in [0, 1]; an error before the first mask.
    pub fn map(&self) -> Result<Vec<f32>> {
        match self.count {
            0 => Err(Error::data("constant map", "no training masks to average")),
            n => Ok(self.sum.iter().map(|s| (s / n as f64) as f32).collect()),
        }
    }
}

/// Localisation figures of a set, means over pictures. All but the errors are rates in [0, 1].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Localisation {
    pub pictures: usize,
    /// Pictures left out because their mask covers nothing or everything.
    pub left_out: usize,
    pub auc: Interval,
    pub ap: Interval,
    pub iou_half: Interval,
    pub iou_best: Interval,
    pub energy: Interval,
    pub pointing: Interval,
    pub mae: Interval,
    pub mse: Interval,
    pub units: usize,
    pub by_photograph: bool,
}

/// The figures of each picture of a set, from which means and intervals are made.
#[derive(Clone, Debug, Default)]
pub struct LocalisationSet {
    rows: Vec<PixelScores>,
    group: Vec<u64>,
    left_out: usize,
}

impl LocalisationSet {
    pub fn new() -> LocalisationSet {
        LocalisationSet::default()
    }

    /// One fake with its mask. A mask that covers nothing or everything is counted and left out; a wrong size or a map with NaN
    /// is an error.
    pub fn push(&mut self, map: &[f32], mask: &[bool], photograph: Option<u64>) -> Result<()> {
        self.push_ranked(&RankedMap::new(map)?, mask, photograph)
    }

    /// As [`LocalisationSet::push`] for a map that meets many masks.
    pub fn push_ranked(&mut self, map: &RankedMap, mask: &[bool], photograph: Option<u64>) -> Result<()> {
        match map.score_if_defined(mask)? {
            Some(row) => self.keep(row, photograph),
            None => self.left_out += 1,
        }
        Ok(())
    }

    /// Many pictures at once on all threads: (map, mask, photograph).
    pub fn of(pictures: &[(&[f32], &[bool], Option<u64>)]) -> Result<LocalisationSet> {
        let score = |&(map, mask, g): &(&[f32], &[bool], _)| Ok((RankedMap::new(map)?.score_if_defined(mask)?, g));
        Ok(LocalisationSet::of_rows(pictures.par_iter().map(score).collect::<Result<_>>()?))
    }

    /// The constant map on the same pictures, in the same order: (mask, photograph).
    pub fn of_constant(map: &RankedMap, pictures: &[(&[bool], Option<u64>)]) -> Result<LocalisationSet> {
        let score = |&(mask, g): &(&[bool], _)| Ok((map.score_if_defined(mask)?, g));
        Ok(LocalisationSet::of_rows(pictures.par_iter().map(score).collect::<Result<_>>()?))
    }

    fn of_rows(rows: Vec<(Option<PixelScores>, Option<u64>)>) -> LocalisationSet {
        let mut set = LocalisationSet::new();
        for (row, photograph) in rows {
            match row {
                Some(row) => set.keep(row, photograph),
                None => set.left_out += 1,
            }
        }
        set
    }

    fn keep(&mut self, row: PixelScores, photograph: Option<u64>) {
        match photograph {
            Some(g) if self.group.len() == self.rows.len() => self.group.push(g),
            _ => self.group.clear(),
        }
        self.rows.push(row);
    }

    pub fn len(&self) -> usize {
        self.rows.len()
    }
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }
    /// Figures of each picture that was kept, in the order of arrival.
    pub fn rows(&self) -> &[PixelScores] {
        &self.rows
    }

    /// Means with intervals; an error when no picture was kept.
    pub fn summary(&self, how: &Bootstrap) -> Result<Localisation> {
        let rows: Vec<_> = self.rows.iter().map(PixelScores::row).collect();
        self.mean_of(&rows, how)
    }

    /// This map minus `baseline`, picture by picture, resampled in pairs; both sets must hold the same pictures in the same order.
    /// Above zero is better, but for `mae` and `mse` below zero is.
    pub fn gain_over(&self, baseline: &LocalisationSet, how: &Bootstrap) -> Result<Localisation> {
        if self.len() != baseline.len() || self.group != baseline.group {
            return Err(Error::data("paired comparison", "the two maps were not scored on the same pictures in the same order"));
        }
        let pairs = self.rows.iter().zip(&baseline.rows);
        let rows: Vec<_> = pairs.map(|(a, b)| std::array::from_fn(|k| a.row()[k] - b.row()[k])).collect();
        self.mean_of(&rows, how)
    }

    fn mean_of(&self, rows: &[[f64; FIGURES]], how: &Bootstrap) -> Result<Localisation> {
        if rows.is_empty() {
            let why = match self.left_out {
                0 => "no fakes with a mask".to_string(),
                n => format!("all {n} masks cover nothing or everything"),
            };
            return Err(Error::data("localisation", why));
        }
        let Resampled { figures, units, .. } = how.run(rows.len(), &self.group, |w| {
            let (mut sum, mut total) = ([0.0; FIGURES], 0u64);
            for (row, &w) in rows.iter().zip(w) {
                total += w as u64;
                (0..FIGURES).for_each(|k| sum[k] += w as f64 * row[k]);
            }
            Some(sum.map(|s| s / total as f64))
        })?;
        let [auc, ap, iou_half, iou_best, energy, pointing, mae, mse] = figures;
        let (left_out, by_photograph) = (self.left_out, !self.group.is_empty());
        let pictures = rows.len();
        Ok(Localisation { pictures, left_out, auc, ap, iou_half, iou_best, energy, pointing, mae, mse, units, by_photograph })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOW: Bootstrap = Bootstrap { resamples: 200, seed: 0 };

    /// A disc of radius r around (x, y) on an s×s picture.
    fn disc(s: usize, x: f32, y: f32, r: f32) -> Vec<bool> {
        (0..s * s).map(|i| ((i % s) as f32 - x).hypot((i / s) as f32 - y) < r).collect()
    }

    #[test]
    fn by_hand() {
        // Map −1 1 / 3 0; mask: the two lower pixels. Min–max: 0 .5 / 1 .25.
        let s = RankedMap::new(&[-1.0, 1.0, 3.0, 0.0]).unwrap().score(&[false, false, true, true]).unwrap();
        // 3 beats both, 0 beats −1 only.
        assert_eq!(s.auc, 0.75);
        // Recall ½ at 1, then ½ at 2/3.
        assert!((s.ap - (0.5 + 0.5 * 2.0 / 3.0)).abs() < 1e-15);
        // ≥ ½: the pixels 1 and 3: one inside of a union of three. Best: all but the −1, 2 of 3.
        assert_eq!((s.iou_half, s.iou_best), (1.0 / 3.0, 2.0 / 3.0));
        assert_eq!((s.energy, s.pointing), (0.75, 1.0));
        assert_eq!((s.mae, s.mse), ((1.0 + 1.0 + 2.0 + 1.0) / 4.0, (1.0 + 1.0 + 4.0 + 1.0) / 4.0));
    }

    #[test]
    fn a_flat_map_says_nothing() {
        let mask = disc(16, 8.0, 8.0, 4.0);
        let share = mask.iter().filter(|&&m| m).count() as f64 / 256.0;
        let s = RankedMap::new(&[0.3; 256]).unwrap().score(&mask).unwrap();
        assert_eq!((s.auc, s.iou_half, s.iou_best, s.pointing), (0.5, 0.0, share, share));
        assert!((s.energy - share).abs() < 1e-12);
        let negative = RankedMap::new(&[-0.3; 256]).unwrap().score(&mask).unwrap();
        assert_eq!(negative.energy, 0.0);
    }

    #[test]
    fn bad_input_is_an_error_or_counted() {
        assert!(RankedMap::new(&[]).is_err());
        assert!(RankedMap::new(&[0.0, f32::NAN]).unwrap_err().to_string().contains("pixel 1 is NaN"));
        let map = RankedMap::new(&[0.0, 1.0]).unwrap();
        assert!(map.score(&[true]).is_err() && map.score(&[true, true]).is_err() && map.score(&[false, false]).is_err());
        let mut set = LocalisationSet::new();
        assert!(set.summary(&HOW).unwrap_err().to_string().contains("no fakes"));
        set.push(&[0.0, 1.0], &[true, true], None).unwrap();
        assert!(set.summary(&HOW).unwrap_err().to_string().contains("all 1 masks"));
        set.push(&[0.0, 1.0], &[false, true], None).unwrap();
        assert!(set.push(&[0.0], &[false, true], None).is_err());
        let l = set.summary(&HOW).unwrap();
        assert_eq!((l.pictures, l.left_out, l.iou_half.value), (1, 1, 1.0));
        assert!(ConstantMap::new().map().is_err());
        let mut c = ConstantMap::new();
        c.add(&[true]).unwrap();
        assert!(c.add(&[true, false]).is_err());
    }

    #[test]
    fn central_holes_are_solved_by_the_constant_and_random_ones_are_not() {
        let mut rng = crate::core::rng::Rng::new(4, 2, 0);
        let mut at = |central: bool| {
            let mut spot = || if central { 16.0 } else { rng.range(6.0, 26.0) };
            let masks: Vec<_> = (0..60).map(|_| disc(32, spot(), spot(), 6.0)).collect();
            let mut constant = ConstantMap::new();
            masks[..30].iter().for_each(|m| constant.add(m).unwrap());
            assert_eq!(constant.count(), 30);
            let map = RankedMap::new(&constant.map().unwrap()).unwrap();
            let test: Vec<(&[bool], _)> = masks[30..].iter().zip(0u64..).map(|(m, g)| (&m[..], Some(g))).collect();
            let base = LocalisationSet::of_constant(&map, &test).unwrap();
            // A model that sees the hole, blurred.
            let maps: Vec<Vec<f32>> = test.iter().map(|(m, _)| m.iter().map(|&g| if g { 0.9 } else { 0.1 }).collect()).collect();
            let pictures: Vec<(&[f32], &[bool], _)> = maps.iter().zip(&test).map(|(a, &(m, g))| (&a[..], m, g)).collect();
            let model = LocalisationSet::of(&pictures).unwrap();
            (base.summary(&HOW).unwrap(), model.gain_over(&base, &HOW).unwrap())
        };
        let (central, random) = (at(true), at(false));
        assert_eq!((central.0.iou_half.value, central.1.iou_half.value), (1.0, 0.0));
        assert!(random.0.iou_half.value < 0.4 && random.1.iou_half.lo > 0.5, "{:?}", random.1);
        assert!(random.1.mse.hi < 0.0, "an error gains by falling");
        assert_eq!((random.1.units, random.1.by_photograph), (30, true));
    }

    #[test]
    fn one_by_one_and_all_at_once_agree() {
        let mut rng = crate::core::rng::Rng::new(8, 2, 0);
        let maps: Vec<Vec<f32>> = (0..5).map(|_| (0..64).map(|_| rng.normal()).collect()).collect();
        let masks: Vec<Vec<bool>> = (0..5).map(|i| disc(8, i as f32 + 1.0, 4.0, 2.5)).collect();
        let mut one = LocalisationSet::new();
        maps.iter().zip(&masks).for_each(|(a, m)| one.push(a, m, None).unwrap());
        let all: Vec<(&[f32], &[bool], _)> = maps.iter().zip(&masks).map(|(a, m)| (&a[..], &m[..], None)).collect();
        assert_eq!(one.rows(), LocalisationSet::of(&all).unwrap().rows());
        let mut more = LocalisationSet::of(&all).unwrap();
        more.push(&maps[0], &masks[0], None).unwrap();
        assert!(one.gain_over(&more, &HOW).is_err());
    }

    #[test]
    fn three_hundred_large_maps_are_quick() {
        let mut rng = crate::core::rng::Rng::new(6, 2, 0);
        let noise: Vec<f32> = (0..256 * 256).map(|_| rng.normal()).collect();
        let mask = disc(256, 100.0, 120.0, 60.0);
        let start = std::time::Instant::now();
        let pictures = vec![(&noise[..], &mask[..], None); 300];
        let set = LocalisationSet::of(&pictures).unwrap();
        let took = start.elapsed();
        assert_eq!(set.len(), 300);
        assert!(took.as_secs_f64() < 6.0, "{took:?}");
        println!("300 maps of 256x256: {took:?}");
    }
}
