//! From the windows of a picture to its score, its map and its verdict.
//!
//! A region that was regenerated fills some windows and leaves the others alone, so a picture is judged by its highest windows. How
//! many of them count is chosen on validation pictures ([`Reading::fit`]), and so is what a score means ([`Calibration`]); both are
//! stored with the model.

use serde::{Deserialize, Serialize};

use super::scan::Scan;
use crate::error::{Error, Result};
use crate::metrics::calibration::Calibration;
use crate::metrics::rank::Ranking;

/// How the evidence in a picture's windows becomes its score. Of each size the mean of the highest windows counts, less an offset:
/// what few genuine pictures reach, since the highest of many small windows is higher than that of few large ones. The size that
/// goes farthest beyond its offset decides.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Pool {
    /// The mean of this share of the windows counts, the highest ones; at least one window.
    pub share: f64,
    pub sizes: Vec<PoolSize>,
}

/// Windows of one size that count.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct PoolSize {
    /// Position in [`Scanner::windows`](super::scan::Scanner::windows).
    pub scale: usize,
    pub offset: f64,
}

/// Shares that validation chooses from. The first one, with windows of all sizes, was best on photographs of other sources than those
/// of training; another choice has to be clearly better, since validation photographs are often few.
pub const SHARES: [f64; 5] = [0.001, 0.0, 0.003, 0.01, 0.03];

/// By so much AUC another pool has to be better.
const CLEARLY: f64 = 0.01;

/// The part of genuine validation pictures that stay below an offset.
const OFFSET: f64 = 0.75;

/// The mean evidence of the highest windows, `share` of all.
pub fn top(scan: &Scan, share: f64) -> f64 {
    let n = scan.evidence.len();
    let count = ((share * n as f64).round() as usize).clamp(1, n);
    let mut all = scan.evidence.clone();
    let (top, least, _) = all.select_nth_unstable_by(count - 1, |a, b| b.total_cmp(a));
    let least = *least as f64;
    // Sorted, so that the sum does not depend on how the selection went.
    top.sort_unstable_by(f32::total_cmp);
    (top.iter().map(|&x| x as f64).sum::<f64>() + least) / count as f64
}

impl Pool {
    /// The score of a picture: any number, higher for a fake.
    pub fn of(&self, scans: &[Scan]) -> f64 {
        let tops: Vec<f64> = scans.iter().map(|s| top(s, self.share)).collect();
        self.join(&tops)
    }

    /// From the mean of the highest windows of every size.
    fn join(&self, tops: &[f64]) -> f64 {
        self.sizes.iter().map(|s| tops[s.scale] - s.offset).fold(f64::NEG_INFINITY, f64::max)
    }

    /// `the mean of the highest 1 % of the windows of 64 or of 128 pixels`; `windows`: the sides of all.
    pub fn words(&self, windows: &[usize]) -> String {
        let sides: Vec<String> = self.sizes.iter().map(|s| windows[s.scale].to_string()).collect();
        let sides = sides.join(" or of ");
        match self.share {
            0.0 => format!("the highest window of {sides} pixels"),
            share => format!("the mean of the highest {} % of the windows of {sides} pixels", (1000.0 * share).round() / 10.0),
        }
    }
}

/// What the windows of a picture mean, as validation pictures taught it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reading {
    pub pool: Pool,
    pub calibration: Calibration,
    /// Places with more evidence than this count as forged on the map: the mark with the highest mean IoU on validation pictures.
    pub mark: f32,
    /// Of the genuine pictures behind the calibration, those of training photographs.
    #[serde(default)]
    pub trained: usize,
}

/// A validation picture, as the choice of a reading sees it.
pub struct Judged {
    pub fake: bool,
    /// By share and size: [`top`] for each of [`SHARES`], of every scan.
    pub tops: Vec<Vec<f64>>,
    /// IoU of the region and the mask at every mark of [`MARKS`]; empty for genuine pictures.
    pub ious: Vec<f64>,
}

/// Evidence that may become the mark of a map.
pub const MARKS: [f32; 13] = [-0.5, -0.3, -0.2, -0.1, 0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8];

/// The share of pairs of a fake and a genuine picture in which the fake scores higher, ties half. None without either.
fn auc(scores: &[f64], fake: &[bool]) -> Option<f64> {
    let fakes = fake.iter().filter(|&&f| f).count() as u64;
    let count = |i: usize| (fake[i] as u64, !fake[i] as u64);
    Some(Ranking::of_f64(scores).scores(count, fakes, fake.len() as u64 - fakes)?.auc)
}

impl Reading {
    /// What weakens it, if anything.
    pub fn caveat(&self) -> Option<String> {
        let (trained, genuine) = (self.trained, self.calibration.genuine);
        let why = "validation photographs are too few; other windows of them were trained on";
        (trained > 0)
            .then(|| format!("{trained} of the {genuine} genuine pictures behind the thresholds are training photographs: {why}"))
    }

    /// The pool with the highest AUC, its calibration, and the mark of the map.
    pub fn fit(pictures: &[Judged]) -> Result<Reading> {
        let fake: Vec<bool> = pictures.iter().map(|p| p.fake).collect();
        let scans = pictures.first().map_or(0, |p| p.tops[0].len());
        let offset = |k: usize, scale: usize| {
            let mut genuine: Vec<f64> = pictures.iter().filter(|p| !p.fake).map(|p| p.tops[k][scale]).collect();
            genuine.sort_unstable_by(f64::total_cmp);
            let at = (OFFSET * genuine.len() as f64) as usize;
            genuine.get(at.min(genuine.len().saturating_sub(1))).copied().unwrap_or(0.0)
        };
        let mut best: Option<(f64, Pool, Vec<f64>)> = None;
        // All sizes together, then each alone.
        let all = (scans > 1).then(|| (0..scans).collect::<Vec<usize>>());
        for sizes in all.into_iter().chain((0..scans).map(|i| vec![i])) {
            for (k, &share) in SHARES.iter().enumerate() {
                let sizes = sizes.iter().map(|&scale| PoolSize { scale, offset: offset(k, scale) }).collect();
                let pool = Pool { share, sizes };
                let scores: Vec<f64> = pictures.iter().map(|p| pool.join(&p.tops[k])).collect();
                let auc = auc(&scores, &fake).unwrap_or(0.0);
                if best.as_ref().is_none_or(|b| auc > b.0 + CLEARLY) {
                    best = Some((auc, pool, scores));
                }
            }
        }
        let (_, pool, scores) = best.expect("there are pools");
        let scores: Vec<(f64, bool)> = scores.into_iter().zip(fake).collect();
        let fakes: Vec<&Judged> = pictures.iter().filter(|p| !p.ious.is_empty()).collect();
        let mean = |i: usize| fakes.iter().map(|p| p.ious[i]).sum::<f64>();
        let middle = MARKS.iter().position(|&m| m == 0.0).expect("0 is a mark");
        let mark = (0..MARKS.len()).fold(middle, |best, i| if mean(i) > mean(best) { i } else { best });
        Ok(Reading { pool, calibration: Calibration::fit(&scores)?, mark: MARKS[mark], trained: 0 })
    }
}

/// The name under which a checkpoint's metadata hold the reading.
pub const READING: &str = "reading";

/// The name under which they say why there is none.
pub const NO_READING: &str = "no reading";

/// The reading of a checkpoint, none if it was trained without.
pub fn reading_of(notes: &std::collections::HashMap<String, String>, file: &std::path::Path) -> Result<Option<Reading>> {
    let Some(text) = notes.get(READING) else { return Ok(None) };
    let read = serde_json::from_str(text);
    read.map(Some).map_err(|e| Error::data(file, format!("its reading of windows cannot be understood ({e}): train again")))
}

/// Where a picture looks forged.
#[derive(Clone, Debug, PartialEq)]
pub struct Map {
    pub w: usize,
    pub h: usize,
    /// Evidence, `h` rows of `w`.
    pub evidence: Vec<f32>,
}

impl Map {
    /// Of a picture of `from` pixels, as `w` × `h` values: the mean evidence of the windows around each place, of the two
    /// smallest sizes. Between the middles of windows it is interpolated, beyond them it goes on as it is there.
    pub fn of(scans: &[Scan], from: (usize, usize), (w, h): (usize, usize)) -> Map {
        let scans = &scans[..scans.len().min(2)];
        let mut evidence = vec![0.0; w * h];
        for scan in scans {
            scan.spread(from, (w, h), &mut evidence);
        }
        evidence.iter_mut().for_each(|x| *x /= scans.len() as f32);
        Map { w, h, evidence }
    }

    /// The connected region above `mark` with the most evidence above it; empty where nothing is.
    pub fn region(&self, mark: f32) -> Vec<bool> {
        let mut label = vec![0u32; self.evidence.len()];
        let (mut best, mut next) = ((0.0, 0), 0);
        let mut stack = Vec::new();
        for start in 0..label.len() {
            if label[start] != 0 || self.evidence[start] <= mark {
                continue;
            }
            next += 1;
            let mut sum = 0.0f64;
            label[start] = next;
            stack.push(start);
            while let Some(i) = stack.pop() {
                sum += (self.evidence[i] - mark) as f64;
                let (x, y) = (i % self.w, i / self.w);
                let mut visit = |j: usize| {
                    if label[j] == 0 && self.evidence[j] > mark {
                        label[j] = next;
                        stack.push(j);
                    }
                };
                if x > 0 {
                    visit(i - 1)
                }
                if x + 1 < self.w {
                    visit(i + 1)
                }
                if y > 0 {
                    visit(i - self.w)
                }
                if y + 1 < self.h {
                    visit(i + self.w)
                }
            }
            if sum > best.0 {
                best = (sum, next);
            }
        }
        label.iter().map(|&l| l != 0 && l == best.1).collect()
    }

    /// For eyes and for figures: in [0, 1], a half at the mark, and above a half in [`Map::region`] only; lesser regions are paler.
    pub fn shown(&self, mark: f32) -> Vec<f32> {
        let value = |(&x, inside): (&f32, bool)| {
            let v = 1.0 / (1.0 + (-STEEP * (x - mark)).exp());
            if inside { v } else { v.min(0.5) * 0.98 }
        };
        self.evidence.iter().zip(self.region(mark)).map(value).collect()
    }
}

/// From this much evidence above the mark to this much below it a shown map goes from 0.95 to 0.05, over 3.
const STEEP: f32 = 6.0;

impl Scan {
    /// Add the evidence around each place of a picture of (pw, ph) pixels to `out`, `w` × `h` values.
    fn spread(&self, (pw, ph): (usize, usize), (w, h): (usize, usize), out: &mut [f32]) {
        let axis = |pixels: usize, to: usize, windows: usize| -> Vec<(usize, usize, f32)> {
            let half = self.side.min(pixels) as f32 / 2.0;
            let scale = pixels as f32 / to as f32;
            let place = |o: usize| {
                let at = (((o as f32 + 0.5) * scale - half) / self.step as f32).clamp(0.0, (windows - 1) as f32);
                let i = at as usize;
                (i, (i + 1).min(windows - 1), at - i as f32)
            };
            (0..to).map(place).collect()
        };
        let (xs, ys) = (axis(pw, w, self.across), axis(ph, h, self.down));
        for (&(y0, y1, v), out) in ys.iter().zip(out.chunks_mut(w)) {
            let (top, low) = (&self.evidence[y0 * self.across..], &self.evidence[y1 * self.across..]);
            for (&(x0, x1, u), out) in xs.iter().zip(out) {
                let along = |row: &[f32]| row[x0] + (row[x1] - row[x0]) * u;
                *out += along(top) + (along(low) - along(top)) * v;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scan(side: usize, across: usize, evidence: &[f32]) -> Scan {
        Scan { across, down: evidence.len() / across, step: 4, side, evidence: evidence.to_vec() }
    }

    #[test]
    fn the_highest_windows_count_and_the_size_that_stands_out_decides() {
        let small = scan(8, 5, &[0.1, 0.9, 0.2, 0.5, 0.3]);
        assert!((top(&small, 0.0) - 0.9).abs() < 1e-6, "one window at least");
        assert!((top(&small, 0.4) - 0.7).abs() < 1e-6, "two of five");
        let large = scan(16, 1, &[0.4]);
        let pool = |sizes: &[(usize, f64)]| Pool {
            share: 0.0,
            sizes: sizes.iter().map(|&(scale, offset)| PoolSize { scale, offset }).collect(),
        };
        let scans = [small, large];
        // 0.9 − 0.8 against 0.4 − 0.1.
        assert!((pool(&[(0, 0.8), (1, 0.1)]).of(&scans) - 0.3).abs() < 1e-6);
        assert!((pool(&[(0, 0.8)]).of(&scans) - 0.1).abs() < 1e-6);
        assert_eq!(pool(&[(0, 0.0), (1, 0.0)]).words(&[8, 16]), "the highest window of 8 or of 16 pixels");
    }

    #[test]
    fn a_reading_takes_the_size_that_tells_and_the_best_mark() {
        // The windows of size 1 tell fakes from genuine pictures, those of size 0 say the opposite.
        let judged = |i: usize, fake: bool| Judged {
            fake,
            tops: vec![vec![if fake { -1.0 } else { 5.0 + i as f64 }, if fake { 2.0 } else { 0.1 * i as f64 }]; SHARES.len()],
            ious: if fake { MARKS.iter().map(|&m| 1.0 - (m as f64 - 0.4).abs()).collect() } else { Vec::new() },
        };
        let pictures: Vec<Judged> = (0..20).map(|i| judged(i, i % 2 == 1)).collect();
        let reading = Reading::fit(&pictures).unwrap();
        assert_eq!(reading.pool.sizes.iter().map(|s| s.scale).collect::<Vec<_>>(), [1]);
        assert_eq!((reading.pool.share, reading.mark), (SHARES[0], 0.4));
        assert_eq!((reading.calibration.genuine, reading.calibration.forged), (10, 10));
        // Genuine pictures alone have thresholds; fakes alone have nothing to go by.
        let only = |fake| Reading::fit(&(0..6).map(|i| judged(i, fake)).collect::<Vec<_>>());
        assert!(only(false).unwrap().calibration.p_fake(1.0).is_none());
        assert!(only(true).unwrap_err().to_string().contains("all 6 validation pictures are forged"));
    }

    #[test]
    fn the_region_is_the_connected_one_with_the_most_evidence() {
        let map =
            Map { w: 6, h: 3, evidence: [[0.9, 0.0, 0.4, 0.4, 0.4, 0.0], [0.0, 0.0, 0.4, 0.0, 0.4, 0.0], [0.0; 6]].concat() };
        let region: Vec<usize> = map.region(0.1).iter().enumerate().filter(|r| *r.1).map(|r| r.0).collect();
        assert_eq!(region, [2, 3, 4, 8, 10], "five times 0.3 is more than 0.8");
        assert!(map.region(1.0).iter().all(|r| !r));
        let shown = map.shown(0.1);
        assert!(
            shown.iter().zip(map.region(0.1)).all(|(&v, inside)| (v >= 0.5) == inside && (0.0..=1.0).contains(&v)),
            "{shown:?}"
        );
    }

    #[test]
    fn evidence_lies_where_the_middle_of_its_window_is() {
        // Windows of 8 pixels every 4 of 16 × 8 pixels: middles at 4, 8 and 12.
        let map = Map::of(&[scan(8, 3, &[0.0, 1.0, 0.0])], (16, 8), (16, 8));
        let row = &map.evidence[3 * 16..4 * 16];
        assert_eq!((row[0], row[15]), (0.0, 0.0));
        assert!((row[7] - 0.875).abs() < 1e-6 && (row[8] - 0.875).abs() < 1e-6 && (row[5] - 0.375).abs() < 1e-6, "{row:?}");
        // Of two sizes the mean, at any size of the map.
        let two = Map::of(&[scan(8, 3, &[1.0; 3]), scan(8, 3, &[0.5; 3]), scan(8, 3, &[9.0; 3])], (16, 8), (4, 2));
        assert!(two.evidence.iter().all(|&x| x == 0.75));
    }
}
