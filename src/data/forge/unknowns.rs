//! The unknowns of the linear systems that [`harmonic`](super::harmonic) and [`biharmonic`](super::biharmonic) solve.

use super::window::Window;
use crate::data::picture::Mask;

/// The unknown pixels of a hole, numbered along the shorter side of their bounding box first, so that neighbours in the plane stay
/// near each other in the numbering (a narrow band for the linear solver).
pub(super) struct Unknowns {
    /// Pixel (y · w + x) of each unknown.
    pub(super) pixel: Vec<u32>,
    /// Unknown of each pixel, or `NONE`.
    pub(super) number: Vec<u32>,
}

/// In [`Unknowns::number`]: the pixel is known.
pub(super) const NONE: u32 = u32::MAX;

impl Unknowns {
    pub(super) fn of(hole: &Mask) -> Unknowns {
        let bounds = |on: &dyn Fn(usize) -> bool, n: usize| {
            let first = (0..n).find(|&i| on(i)).unwrap_or(0);
            (0..n).rev().find(|&i| on(i)).unwrap_or(0) + 1 - first
        };
        let across = bounds(&|x| (0..hole.h).any(|y| hole.get(x, y)), hole.w);
        let down = bounds(&|y| (0..hole.w).any(|x| hole.get(x, y)), hole.h);
        let mut pixel: Vec<u32> = (0..hole.on.len() as u32).filter(|&i| hole.on[i as usize] != 0).collect();
        if down < across {
            let w = hole.w as u32;
            pixel.sort_unstable_by_key(|&i| (i % w, i / w));
        }
        let mut number = vec![NONE; hole.on.len()];
        for (n, &p) in pixel.iter().enumerate() {
            number[p as usize] = n as u32;
        }
        Unknowns { pixel, number }
    }
    /// About how many numbers the factor of a five-point operator has: unknowns times the shorter side of their bounding box.
    pub(super) fn envelope(&self, hole: &Mask) -> usize {
        let side = Window::of(hole).map_or(0, |b| b.w.min(b.h));
        self.pixel.len() * side
    }
}

/// The neighbours of a pixel inside the picture, up to four.
pub(super) fn neighbours(p: usize, w: usize, h: usize) -> impl Iterator<Item = usize> {
    let (x, y) = (p % w, p / w);
    [(x > 0, p.wrapping_sub(1)), (x + 1 < w, p + 1), (y > 0, p.wrapping_sub(w)), (y + 1 < h, p + w)]
        .into_iter()
        .filter_map(|(inside, q)| inside.then_some(q))
}
