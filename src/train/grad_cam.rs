//! Grad-CAM (Selvaraju, Cogswell, Das, Vedantam, Parikh, Batra: ICCV 2017, arXiv 1610.02391): where a network without a map of its own
//! saw what speaks for its score.
//!
//! ```text
//! α_k = mean over p of ∂score/∂A_k(p)          map(p) = max(0, Σ_k α_k·A_k(p)), stretched to 0…1 picture by picture
//! ```
//! `A` are maps of a late layer. A map finer than [`FINEST`] cells a side is averaged over squares of cells first: a layer that has not
//! shrunk the picture votes pixel by pixel, and what counts is where its votes are dense. Several layers are added before the maximum.

use super::detector::Cam;
use crate::core::op::Element;
use crate::core::plan::Plan;
use crate::core::tape::{Tape, Var};
use crate::error::Result;
use crate::ops::dot::dot;
use crate::ops::global_avg_pool::global_avg_pool;
use crate::ops::weigh_channels::weigh_channels;
use crate::report::heatmap::min_max;

/// What a reader of such maps must know.
pub const NOTICE: &str = "maps are Grad-CAM's: made from the gradient of the score after training, which no mask has taught";

/// Most cells along a side of a map.
pub const FINEST: usize = 32;

/// Recorded on a tape behind a network in [`Mode::Eval`](crate::nn::Mode), where the pictures of a batch know nothing of one another:
/// then the gradient of the sum of their scores is that of each.
#[derive(Debug, Clone)]
pub struct GradCam {
    /// Σ_k α_k·A_k of each layer, N×h×w×1.
    pub layers: Vec<Var>,
    /// Cells along a side of the map.
    pub grid: usize,
    /// h and w of the layers.
    sizes: Vec<(usize, usize)>,
    weights: Vec<f32>,
    /// N times `weights`, an input.
    fed: Var,
}

impl GradCam {
    pub fn record(t: &mut Tape, cam: &Cam) -> Result<GradCam> {
        let fed = t.input(t.shape(cam.values));
        let score = dot(t, cam.values, fed)?;
        let grads = t.backward(score, &cam.maps)?;
        let (mut layers, mut sizes) = (Vec::new(), Vec::new());
        for &maps in &cam.maps {
            let gradient = grads.of(maps).expect("a detector names maps that its score is computed from");
            let alpha = global_avg_pool(t, gradient)?;
            layers.push(weigh_channels(t, maps, alpha)?);
            sizes.push((t.shape(maps).h as usize, t.shape(maps).w as usize));
        }
        let least = sizes.iter().map(|&(h, w)| h.min(w)).min().expect("a detector names a layer");
        let grid = least / least.div_ceil(FINEST);
        Ok(GradCam { layers, grid, sizes, weights: cam.weights.clone(), fed })
    }

    /// Once before the first run.
    pub fn feed<T: Element>(&self, plan: &mut Plan<T>) -> Result<()> {
        let weights = self.weights.iter().cycle();
        plan.feed(self.fed)?.iter_mut().zip(weights).for_each(|(to, &w)| *to = T::of(w as f64));
        Ok(())
    }

    /// The maps, grid × grid in [0, 1], of the first `n` pictures of the last run.
    pub fn maps(&self, plan: &Plan, n: usize) -> Result<Vec<Vec<f32>>> {
        let mut sums = vec![vec![0.0; self.grid * self.grid]; n];
        for (&layer, &size) in self.layers.iter().zip(&self.sizes) {
            for (sum, map) in sums.iter_mut().zip(plan.fetch(layer)?.chunks(size.0 * size.1)) {
                sum.iter_mut().zip(means(map, size, self.grid)).for_each(|(s, m)| *s += m);
            }
        }
        Ok(sums.iter().map(|sum| min_max(&sum.iter().map(|v| v.max(0.0)).collect::<Vec<_>>())).collect())
    }
}

/// Means over grid × grid cells of a map of h × w values. A value that two cells share counts in both, as in torch's
/// `adaptive_avg_pool2d`.
fn means(map: &[f32], (h, w): (usize, usize), grid: usize) -> Vec<f32> {
    let of = |i: usize, length: usize| i * length / grid..((i + 1) * length).div_ceil(grid);
    let mut out = Vec::with_capacity(grid * grid);
    for i in 0..grid {
        for j in 0..grid {
            let (rows, columns) = (of(i, h), of(j, w));
            let count = (rows.len() * columns.len()) as f32;
            out.push(rows.map(|y| map[y * w..][columns.clone()].iter().sum::<f32>()).sum::<f32>() / count);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_means_of_what_they_cover() {
        let map: Vec<f32> = (0..12).map(|v| v as f32).collect();
        assert_eq!(means(&map, (3, 4), 3), [0.5, 1.5, 2.5, 4.5, 5.5, 6.5, 8.5, 9.5, 10.5], "columns are shared");
        assert_eq!(means(&map[..9], (3, 3), 3), map[..9]);
        assert_eq!(means(&map, (6, 2), 2), [2.0, 3.0, 8.0, 9.0]);
    }
}
