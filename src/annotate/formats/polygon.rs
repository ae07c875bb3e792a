//! Polygons and pixels. A pixel belongs to a polygon if its centre lies inside (even–odd); pixel (x, y) covers x to x + 1 and y to
//! y + 1. The outline that [`outlines`] gives runs along pixel edges, so that filling it gives the pixels back, exactly.

use crate::data::Mask;

/// Turns on the pixels of a polygon; what lies outside of the mask is cut off.
pub fn fill(mask: &mut Mask, points: &[[f64; 2]]) {
    let mut crossings = Vec::new();
    for y in 0..mask.h {
        let centre = y as f64 + 0.5;
        crossings.clear();
        for (i, &[x0, y0]) in points.iter().enumerate() {
            let [x1, y1] = points[(i + 1) % points.len()];
            if (y0 <= centre) != (y1 <= centre) {
                crossings.push(x0 + (centre - y0) * (x1 - x0) / (y1 - y0));
            }
        }
        crossings.sort_by(f64::total_cmp);
        for pair in crossings.chunks_exact(2) {
            // The first pixel whose centre is not left of the crossing.
            let [from, to] = [pair[0], pair[1]].map(|x| (x - 0.5).ceil().clamp(0.0, mask.w as f64) as usize);
            mask.on[y * mask.w + from..y * mask.w + to.max(from)].fill(1);
        }
    }
}

/// A region whose pixels touch along edges: its outline, or the region itself where it has holes, which no polygon has.
pub enum Region {
    Outline(Vec<[f64; 2]>),
    /// The region's pixels in its bounding box at (x, y).
    Pixels {
        x: usize,
        y: usize,
        mask: Mask,
    },
}

/// The regions of a mask, from the top.
pub fn outlines(mask: &Mask) -> Vec<Region> {
    let mut label = vec![0u32; mask.on.len()];
    let mut regions = Vec::new();
    for start in 0..mask.on.len() {
        if mask.on[start] == 0 || label[start] != 0 {
            continue;
        }
        let id = regions.len() as u32 + 1;
        let (mut stack, mut cells) = (vec![start], Vec::new());
        label[start] = id;
        while let Some(i) = stack.pop() {
            cells.push(i);
            let (x, y) = (i % mask.w, i / mask.w);
            let near = [
                (x > 0, i.wrapping_sub(1)),
                (x + 1 < mask.w, i + 1),
                (y > 0, i.wrapping_sub(mask.w)),
                (y + 1 < mask.h, i + mask.w),
            ];
            for (_, j) in near.into_iter().filter(|(inside, _)| *inside) {
                if mask.on[j] != 0 && label[j] == 0 {
                    label[j] = id;
                    stack.push(j);
                }
            }
        }
        regions.push(region(mask, &label, id, &cells));
    }
    regions
}

/// Directions: right, down, left, up.
const STEPS: [(isize, isize); 4] = [(1, 0), (0, 1), (-1, 0), (0, -1)];

fn region(mask: &Mask, label: &[u32], id: u32, cells: &[usize]) -> Region {
    let (w, h) = (mask.w as isize, mask.h as isize);
    let own = |x: isize, y: isize| (0..w).contains(&x) && (0..h).contains(&y) && label[(y * w + x) as usize] == id;
    // Whether the region lies to the right of the edge that leaves corner (x, y) in direction `d`, and nothing of it to the left.
    let edge = |x: isize, y: isize, d: usize| {
        let [right, left] = match d {
            0 => [(x, y), (x, y - 1)],
            1 => [(x - 1, y), (x, y)],
            2 => [(x - 1, y - 1), (x - 1, y)],
            _ => [(x, y - 1), (x - 1, y - 1)],
        };
        own(right.0, right.1) && !own(left.0, left.1)
    };
    let edges: usize = cells
        .iter()
        .map(|&i| (i as isize % w, i as isize / w))
        .map(|(x, y)| STEPS.iter().filter(|(dx, dy)| !own(x + dx, y + dy)).count())
        .sum();
    let first = cells.iter().copied().min().expect("a region has a pixel");
    let begin = (first as isize % w, first as isize / w);
    let (mut at, mut d, mut walked, mut points) = (begin, 0, 0, Vec::new());
    loop {
        points.push([at.0 as f64, at.1 as f64]);
        while edge(at.0, at.1, d) {
            at = (at.0 + STEPS[d].0, at.1 + STEPS[d].1);
            walked += 1;
            // Where two pixels of the region touch at a corner alone, the walk turns towards its own pixel.
            if edge(at.0, at.1, (d + 1) % 4) {
                break;
            }
        }
        if at == begin {
            break;
        }
        d = [(d + 1) % 4, (d + 3) % 4].into_iter().find(|&d| edge(at.0, at.1, d)).expect("an outline is closed");
    }
    if walked == edges {
        return Region::Outline(points);
    }
    let xs = || cells.iter().map(|i| i % mask.w);
    let ys = || cells.iter().map(|i| i / mask.w);
    let [x0, x1] = [xs().min(), xs().max()].map(|v| v.unwrap_or(0));
    let [y0, y1] = [ys().min(), ys().max()].map(|v| v.unwrap_or(0));
    let part = Mask::from_fn(x1 - x0 + 1, y1 - y0 + 1, |x, y| own((x0 + x) as isize, (y0 + y) as isize));
    Region::Pixels { x: x0, y: y0, mask: part }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::rng::{Rng, stream};

    fn again(m: &Mask) -> (Mask, usize) {
        let (mut out, mut holes) = (Mask::new(m.w, m.h), 0);
        for region in outlines(m) {
            match region {
                Region::Outline(points) => fill(&mut out, &points),
                Region::Pixels { x, y, mask } => {
                    holes += 1;
                    let part = mask.within(m.w, m.h, x, y);
                    out.on.iter_mut().zip(&part.on).for_each(|(o, p)| *o |= p);
                }
            }
        }
        (out, holes)
    }

    #[test]
    fn outlines_give_the_pixels_back() {
        let mut rng = Rng::new(2, stream("outlines"), 0);
        let mut holes = 0;
        for k in 0..200 {
            let (w, h) = (1 + rng.below(12), 1 + rng.below(12));
            let share = 0.1 + 0.8 * (k as f32 / 200.0);
            let m = Mask::from_fn(w, h, |_, _| rng.unit() < share);
            let (out, n) = again(&m);
            assert_eq!(out, m, "{w} x {h}");
            holes += n;
        }
        assert!(holes > 20, "{holes} regions with holes");
        let ring = Mask::from_fn(9, 9, |x, y| x.abs_diff(4).max(y.abs_diff(4)) == 2);
        assert_eq!(again(&ring), (ring, 1));
        let square = Mask::from_fn(6, 5, |x, y| (1..4).contains(&x) && (2..5).contains(&y));
        let [Region::Outline(points)] = &outlines(&square)[..] else { panic!("one outline") };
        assert_eq!(points[..], [[1.0, 2.0], [4.0, 2.0], [4.0, 5.0], [1.0, 5.0]]);
    }

    #[test]
    fn centres_decide() {
        let fills = |points: &[[f64; 2]]| {
            let mut m = Mask::new(4, 3);
            fill(&mut m, points);
            m.on
        };
        // Of centres on the outline those on its left and upper side count, so that polygons side by side share no pixel.
        assert_eq!(fills(&[[0.5, 0.5], [2.5, 0.5], [2.5, 1.4], [0.5, 1.4]]), [1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(fills(&[[0.4, 0.4], [2.6, 0.4], [2.6, 1.4], [0.4, 1.4]]), [1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(fills(&[[-9.0, -9.0], [99.0, -9.0], [99.0, 99.0], [-9.0, 99.0]]), [1; 12]);
        assert_eq!(fills(&[[1.0, 1.0]]), [0; 12]);
    }
}
