//! Exemplar fill: the hole is a collage of patches from the rest of the picture, coherent at every scale.
//!
//! C. Barnes, E. Shechtman, A. Finkelstein, D. B. Goldman, "PatchMatch: A Randomized Correspondence Algorithm for Structural Image
//! Editing", SIGGRAPH 2009, for the search (propagation from neighbours, random search in shrinking windows); the energy, the
//! coarse-to-fine iteration and the weights of the votes follow Y. Wexler, E. Shechtman, M. Irani, "Space-Time Completion of
//! Video", PAMI 29(3), 2007, as Barnes et al. do. The fill leaves plausible texture, repeated from elsewhere, with faint seams.

use super::forger::{Forger, check};
use super::harmonic::membrane;
use crate::core::rng::Rng;
use crate::data::picture::{Mask, Picture, to_u8};
use crate::error::Result;

pub struct PatchMatch;

/// Side of a patch, pixels (less in pictures that have no room for it).
const PATCH: usize = 5;
/// Rounds of search and vote: on the coarsest level, and on each finer one.
const ROUNDS: (usize, usize) = (6, 3);
/// Passes of the search in each round.
const PASSES: usize = 2;
/// A vote counts 1.3⁻ᵈ, d = distance from the rim in pixels (Wexler et al.): what is near the known counts more.
const FADE: f32 = 1.3;

impl Forger for PatchMatch {
    fn name(&self) -> &'static str {
        "patchmatch"
    }
    fn source(&self) -> &'static str {
        "Barnes, Shechtman, Finkelstein, Goldman: PatchMatch, SIGGRAPH 2009"
    }
    /// As far as the hole is wide on each side: eight times its area to take patches from.
    fn reach(&self, side: usize) -> usize {
        side.max(64)
    }
    fn fill(&self, picture: &Picture, hole: &Mask, _: &Picture, rng: &mut Rng) -> Result<Picture> {
        check(self.name(), picture, hole, None)?;
        let mut pyramid = vec![(picture.clone(), hole.clone())];
        while let Some(coarser) = pyramid.last().and_then(|(p, m)| shrink(p, m)) {
            pyramid.push(coarser);
        }
        let mut coarse: Option<Level> = None;
        while let Some((known, hole)) = pyramid.pop() {
            let rounds = if coarse.is_some() { ROUNDS.1 } else { ROUNDS.0 };
            let mut level = Level::new(&known, hole, coarse.as_ref(), rng);
            for round in 0..rounds {
                (0..PASSES).for_each(|pass| level.search((round * PASSES + pass).is_multiple_of(2), rng));
                level.vote();
            }
            coarse = Some(level);
        }
        Ok(coarse.map_or_else(|| picture.clone(), |level| level.picture))
    }
}

/// The picture at half the size: means of the known pixels of each 2 × 2; a pixel with an unknown part is unknown. None when the coarser level
/// would have no room for a patch beside the hole, or nothing to gain.
fn shrink(picture: &Picture, hole: &Mask) -> Option<(Picture, Mask)> {
    let (w, h) = (picture.w / 2, picture.h / 2);
    if w.min(h) < 2 * PATCH {
        return None;
    }
    let block = |x: usize, y: usize| [(2 * x, 2 * y), (2 * x + 1, 2 * y), (2 * x, 2 * y + 1), (2 * x + 1, 2 * y + 1)];
    // An odd last row or column has no block of its own and may hold the only unknown pixels.
    let mask = Mask::from_fn(w, h, |x, y| block(x, y).iter().any(|&(x, y)| hole.get(x, y)));
    let sources = sources(&mask, PATCH).iter().filter(|s| **s).count();
    if mask.area() == 0 || sources < 16 {
        return None;
    }
    let small = Picture::from_fn(w, h, |x, y| {
        std::array::from_fn(|c| ((block(x, y).iter().map(|&(x, y)| picture.at(x, y)[c] as u32).sum::<u32>() + 2) / 4) as u8)
    });
    Some((small, mask))
}

/// For each pixel of the picture: whether the patch whose top left pixel it is lies inside the picture and is known throughout.
fn sources(hole: &Mask, patch: usize) -> Vec<bool> {
    let mut ok = vec![false; hole.w * hole.h];
    for y in 0..=hole.h - patch {
        for x in 0..=hole.w - patch {
            ok[y * hole.w + x] = (0..patch).all(|d| hole.on[(y + d) * hole.w + x..][..patch].iter().all(|&b| b == 0));
        }
    }
    ok
}

/// One scale of the problem.
struct Level {
    picture: Picture,
    hole: Mask,
    patch: usize,
    is_source: Vec<bool>,
    sources: Vec<u32>,
    /// Patches that overlap the hole, in scan order, and the number of each position in that list.
    targets: Vec<u32>,
    number: Vec<u32>,
    /// Best source of each target, and its squared difference.
    best: Vec<u32>,
    error: Vec<u32>,
    /// Weight of a vote by position of the pixel that the target is centred on.
    confidence: Vec<f32>,
}

const NO_TARGET: u32 = u32::MAX;

impl Level {
    fn new(known: &Picture, hole: Mask, coarse: Option<&Level>, rng: &mut Rng) -> Level {
        let (w, h) = (known.w, known.h);
        // The largest patch that has a source. A patch of one pixel always has one, because the hole is not everything.
        let (patch, is_source) = (1..=PATCH.min(w).min(h))
            .rev()
            .map(|patch| (patch, sources(&hole, patch)))
            .find(|(_, s)| s.contains(&true))
            .unwrap_or_else(|| (1, sources(&hole, 1)));
        let sources: Vec<u32> = (0..is_source.len() as u32).filter(|&i| is_source[i as usize]).collect();
        let mut targets = Vec::new();
        let mut number = vec![NO_TARGET; w * h];
        for y in 0..=h - patch {
            for x in 0..=w - patch {
                if !is_source[y * w + x] {
                    number[y * w + x] = targets.len() as u32;
                    targets.push((y * w + x) as u32);
                }
            }
        }

        // The first guess of the pixels: the coarser solution enlarged, or a membrane on the coarsest level.
        let picture = first_guess(known, &hole, coarse);
        let best: Vec<u32> = targets
            .iter()
            .map(|&t| {
                let from_coarse = coarse.filter(|c| c.patch == patch).and_then(|c| {
                    let (x, y) = (t as usize % w, t as usize / w);
                    let (cx, cy) = ((x / 2).min(c.picture.w - patch), (y / 2).min(c.picture.h - patch));
                    let s = c.match_at(cy * c.picture.w + cx);
                    let (sx, sy) = (2 * (s % c.picture.w) + x % 2, 2 * (s / c.picture.w) + y % 2);
                    let s = sy * w + sx;
                    (sx + patch <= w && sy + patch <= h && is_source[s]).then_some(s as u32)
                });
                from_coarse.unwrap_or_else(|| sources[rng.below(sources.len())])
            })
            .collect();
        let confidence = confidence(&hole);
        let error = vec![0; targets.len()];
        let mut level = Level { picture, hole, patch, is_source, sources, targets, number, best, error, confidence };
        level.measure();
        level
    }

    /// Where the patch at a position comes from: a source is its own match.
    fn match_at(&self, position: usize) -> usize {
        match self.number[position] {
            NO_TARGET => position,
            t => self.best[t as usize] as usize,
        }
    }

    fn measure(&mut self) {
        for i in 0..self.targets.len() {
            self.error[i] = self.difference(self.targets[i] as usize, self.best[i] as usize, u32::MAX);
        }
    }

    /// Sum of squared differences of two patches; stops where it reaches `limit`.
    fn difference(&self, a: usize, b: usize, limit: u32) -> u32 {
        let (row, n) = (self.picture.w * 3, self.patch * 3);
        let mut sum = 0;
        for d in 0..self.patch {
            let (pa, pb) = (&self.picture.rgb[a * 3 + d * row..][..n], &self.picture.rgb[b * 3 + d * row..][..n]);
            sum += pa.iter().zip(pb).map(|(&p, &q)| (p as i32 - q as i32).pow(2) as u32).sum::<u32>();
            if sum >= limit {
                break;
            }
        }
        sum
    }

    fn try_source(&mut self, i: usize, source: usize) {
        let error = self.difference(self.targets[i] as usize, source, self.error[i]);
        if error < self.error[i] {
            (self.best[i], self.error[i]) = (source as u32, error);
        }
    }

    /// One pass over all targets, forwards or backwards.
    fn search(&mut self, forwards: bool, rng: &mut Rng) {
        let (w, h, patch) = (self.picture.w, self.picture.h, self.patch);
        for k in 0..self.targets.len() {
            let i = if forwards { k } else { self.targets.len() - 1 - k };
            let t = self.targets[i] as usize;
            let (x, y) = (t % w, t / w);
            // Propagation: the source of a neighbour that was treated before, shifted by one pixel, is a candidate here.
            let before = if forwards {
                [(x > 0).then(|| (t - 1, 1isize)), (y > 0).then(|| (t - w, w as isize))]
            } else {
                [(x + patch < w).then_some((t + 1, -1)), (y + patch < h).then_some((t + w, -(w as isize)))]
            };
            for (neighbour, step) in before.into_iter().flatten() {
                if self.number[neighbour] != NO_TARGET
                    && let Some(s) = self.match_at(neighbour).checked_add_signed(step)
                    && self.is_source.get(s) == Some(&true)
                {
                    self.try_source(i, s);
                }
            }
            // Random search: windows around the best so far, halved down to one pixel.
            let mut radius = w.max(h);
            while radius >= 1 && self.error[i] > 0 {
                let (bx, by) = (self.best[i] as usize % w, self.best[i] as usize / w);
                let mut draw = |b: usize, n: usize| {
                    let (lo, hi) = (b.saturating_sub(radius), (b + radius).min(n - patch));
                    lo + rng.below(hi - lo + 1)
                };
                let s = draw(by, h) * w + draw(bx, w);
                if self.is_source[s] {
                    self.try_source(i, s);
                }
                radius /= 2;
            }
        }
        // Where sources are few and far, windows around the best so far miss them, so one is drawn from the list of all.
        if self.sources.len() * 8 < w * h {
            for i in 0..self.targets.len() {
                let s = self.sources[rng.below(self.sources.len())] as usize;
                self.try_source(i, s);
            }
        }
    }

    /// Every pixel of the hole becomes the weighted mean of what the patches over it propose.
    fn vote(&mut self) {
        let (w, patch) = (self.picture.w, self.patch);
        // Similarity is judged against the 75th percentile of the errors (Wexler et al.), in a rational kernel.
        let mut sorted = self.error.clone();
        let rank = sorted.len() * 3 / 4;
        let scale = 1.0 / (*sorted.select_nth_unstable(rank).1 as f32).max(1.0);
        let mut sum = vec![[0f32; 4]; w * self.picture.h];
        for (i, &t) in self.targets.iter().enumerate() {
            let (t, s) = (t as usize, self.best[i] as usize);
            let middle = t + patch / 2 * (w + 1);
            let unlike = 1.0 + 3.0 * self.error[i] as f32 * scale;
            let weight = self.confidence[middle] / (unlike * unlike);
            for d in 0..patch {
                for e in 0..patch {
                    let (to, from) = (t + d * w + e, s + d * w + e);
                    if self.hole.on[to] != 0 {
                        let rgb = &self.picture.rgb[from * 3..][..3];
                        (0..3).for_each(|c| sum[to][c] += weight * rgb[c] as f32);
                        sum[to][3] += weight;
                    }
                }
            }
        }
        for (p, sum) in sum.iter().enumerate().filter(|(_, s)| s[3] > 0.0) {
            (0..3).for_each(|c| self.picture.rgb[p * 3 + c] = to_u8(sum[c] / sum[3]));
        }
        self.measure();
    }
}

/// `known` with a first guess in its hole.
fn first_guess(known: &Picture, hole: &Mask, coarse: Option<&Level>) -> Picture {
    let Some(coarse) = coarse else { return membrane(known, hole, |_, _| 0.0) };
    let large = coarse.picture.resize_to(known.w, known.h);
    let mut out = known.clone();
    for p in (0..hole.on.len()).filter(|&p| hole.on[p] != 0) {
        out.rgb[p * 3..p * 3 + 3].copy_from_slice(&large.rgb[p * 3..p * 3 + 3]);
    }
    out
}

/// 1.3⁻ᵈ with the city-block distance d to the known pixels (two sweeps).
fn confidence(hole: &Mask) -> Vec<f32> {
    let (w, h) = (hole.w, hole.h);
    let mut d: Vec<u32> = hole.on.iter().map(|&b| if b != 0 { u32::MAX / 2 } else { 0 }).collect();
    for p in 0..w * h {
        let left = if p % w > 0 { d[p - 1] + 1 } else { u32::MAX };
        let up = if p >= w { d[p - w] + 1 } else { u32::MAX };
        d[p] = d[p].min(left).min(up);
    }
    for p in (0..w * h).rev() {
        let right = if p % w + 1 < w { d[p + 1] + 1 } else { u32::MAX };
        let down = if p + w < w * h { d[p + w] + 1 } else { u32::MAX };
        d[p] = d[p].min(right).min(down);
    }
    d.into_iter().map(|d| FADE.powi(-(d.min(60) as i32))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::rng::stream;

    /// The fill of a periodic texture is the texture, nearly everywhere to the bit. (A random fill would be 80 grey levels off; where
    /// two phases of the pattern meet, a seam remains.)
    #[test]
    fn a_periodic_texture_is_continued() {
        for (period, seed) in [(6, 1), (8, 2), (11, 3)] {
            let tile: Vec<u8> = (0..period * period).map(|i| Rng::new(seed, stream("tile"), i as u64).below(256) as u8).collect();
            let texture = Picture::from_fn(72, 64, |x, y| {
                let v = tile[y % period * period + x % period];
                [v, 255 - v, v / 2]
            });
            let hole = Mask::from_fn(72, 64, |x, y| (24..48).contains(&x) && (20..41).contains(&y));
            let out = PatchMatch.fill(&texture, &hole, &texture, &mut Rng::new(4, 5, 6)).unwrap();
            let off: Vec<u8> = out.rgb.iter().zip(&texture.rgb).map(|(a, b)| a.abs_diff(*b)).collect();
            let values = 3 * hole.area();
            let mean = off.iter().map(|&d| d as f64).sum::<f64>() / values as f64;
            let wrong = off.iter().filter(|d| **d > 2).count();
            assert!(mean < 8.0 && wrong * 5 < values, "period {period}: mean error {mean}, {wrong} of {values} values wrong");
        }
    }

    #[test]
    fn confidence_falls_with_depth() {
        let hole = Mask::from_fn(7, 7, |x, y| (1..6).contains(&x) && (1..6).contains(&y));
        let c = confidence(&hole);
        assert_eq!(c[0], 1.0);
        assert!((c[3 * 7 + 3] - 1.3f32.powi(-3)).abs() < 1e-6);
    }
}
