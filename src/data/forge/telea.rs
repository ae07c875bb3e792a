//! Fast marching inpainting.
//!
//! A. Telea, "An Image Inpainting Technique Based on the Fast Marching Method", Journal of Graphics Tools 9(1), 2004. The hole is
//! filled from its rim inwards in the order of the distance T to the rim; each pixel is a weighted mean of the known pixels within
//! a radius, weighted by direction (along ∇T), distance and level of T. As in the paper's listing (and OpenCV's `inpaint` with
//! `INPAINT_TELEA`), the gradient term enters as a unit vector, so it moves a value by at most √2 grey levels.
//! The fill leaves streaks along ∇T, by which this forger is recognised.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::forger::{Forger, check};
use crate::core::rng::Rng;
use crate::data::picture::{Mask, Picture, to_u8};
use crate::error::Result;

/// Neighbourhood ε, pixels. 3 is the default of the common tools.
const RADIUS: isize = 3;
const FAR: f32 = 1e6;

pub struct Telea;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Flag {
    Known,
    Band,
    Inside,
}

/// The state of the march on a grid with a margin, so that no neighbour needs a bounds test.
struct March {
    stride: usize,
    flag: Vec<Flag>,
    t: Vec<f32>,
    /// Narrow band by distance; pixels at equal distance leave in the order in which they came. The bits of a non-negative
    /// float order as the float.
    heap: BinaryHeap<Reverse<(u32, u32, u32)>>,
    pushed: u32,
}

impl March {
    fn push(&mut self, p: usize) {
        self.heap.push(Reverse((self.t[p].to_bits(), self.pushed, p as u32)));
        self.pushed += 1;
    }

    fn pop(&mut self) -> Option<usize> {
        self.heap.pop().map(|Reverse((_, _, p))| p as usize)
    }

    fn around(&self, p: usize) -> [usize; 4] {
        [p - self.stride, p - 1, p + self.stride, p + 1]
    }

    /// Upwind solution of |∇T| = 1 from a vertical and a horizontal neighbour.
    fn eikonal(&self, a: usize, b: usize) -> f32 {
        let (ta, tb) = (self.t[a], self.t[b]);
        match (self.flag[a] != Flag::Inside, self.flag[b] != Flag::Inside) {
            (true, true) if (ta - tb).abs() < 1.0 => 0.5 * (ta + tb + (2.0 - (ta - tb) * (ta - tb)).sqrt()),
            (true, true) => 1.0 + ta.min(tb),
            (true, false) => 1.0 + ta,
            (false, true) => 1.0 + tb,
            (false, false) => FAR,
        }
    }

    fn distance(&self, p: usize) -> f32 {
        let [up, left, down, right] = self.around(p);
        self.eikonal(up, left).min(self.eikonal(down, left)).min(self.eikonal(up, right)).min(self.eikonal(down, right))
    }

    /// Central difference of T along `step` at `p`, one-sided where a neighbour is still inside the hole, else 0.
    fn slope(&self, p: usize, step: usize) -> f32 {
        let (ahead, behind) = (p + step, p - step);
        match (self.flag[ahead] != Flag::Inside, self.flag[behind] != Flag::Inside) {
            (true, true) => 0.5 * (self.t[ahead] - self.t[behind]),
            (true, false) => self.t[ahead] - self.t[p],
            (false, true) => self.t[p] - self.t[behind],
            (false, false) => 0.0,
        }
    }

    /// [`March::slope`] of the channels of `value`. One look at the flags serves all of them.
    fn slopes(&self, value: &[Channels], p: usize, step: usize) -> Channels {
        let (ahead, behind) = (p + step, p - step);
        let difference = |a: usize, b: usize| {
            let (a, b) = (value[a], value[b]);
            std::array::from_fn(|c| a[c] - b[c])
        };
        match (self.flag[ahead] != Flag::Inside, self.flag[behind] != Flag::Inside) {
            (true, true) => difference(ahead, behind).map(|d: f32| 0.5 * d),
            (true, false) => difference(ahead, p),
            (false, true) => difference(p, behind),
            (false, false) => [0.0; 4],
        }
    }
}

/// Red, green, blue and a fourth that fills a register.
type Channels = [f32; 4];

const MARGIN: usize = RADIUS as usize + 1;

impl Forger for Telea {
    fn name(&self) -> &'static str {
        "telea"
    }
    fn source(&self) -> &'static str {
        "Telea: An Image Inpainting Technique Based on the Fast Marching Method, J. Graphics Tools 2004"
    }
    fn fill(&self, picture: &Picture, hole: &Mask, _: &Picture, _: &mut Rng) -> Result<Picture> {
        check(self.name(), picture, hole, None)?;
        let (w, h) = (picture.w, picture.h);
        let stride = w + 2 * MARGIN;
        let size = stride * (h + 2 * MARGIN);
        let index = |x: usize, y: usize| (y + MARGIN) * stride + x + MARGIN;

        // The margin is neither known nor to be filled: its flag is `Inside`, so that no value is taken from it, and `within` keeps
        // the march out of it.
        let mut within = vec![false; size];
        let mut value: Vec<Channels> = vec![[0.0; 4]; size];
        let mut march = March { stride, flag: vec![Flag::Inside; size], t: vec![FAR; size], heap: BinaryHeap::new(), pushed: 0 };
        for y in 0..h {
            for x in 0..w {
                let p = index(x, y);
                within[p] = true;
                let [r, g, b] = picture.at(x, y).map(f32::from);
                value[p] = [r, g, b, 0.0];
                if !hole.get(x, y) {
                    march.flag[p] = Flag::Known;
                    march.t[p] = 0.0;
                }
            }
        }
        let rim: Vec<usize> = (0..size)
            .filter(|&p| {
                march.flag[p] == Flag::Known && march.around(p).iter().any(|&q| within[q] && march.flag[q] == Flag::Inside)
            })
            .collect();
        outside_distance(&mut march, &rim);
        for &p in &rim {
            march.flag[p] = Flag::Band;
            march.t[p] = 0.0; // not -0.0, whose bits would sort last
            march.push(p);
        }

        let near: Vec<(isize, f32, f32, f32)> = disc(stride);
        while let Some(p) = march.pop() {
            march.flag[p] = Flag::Known;
            for q in march.around(p) {
                if within[q] && march.flag[q] == Flag::Inside {
                    march.t[q] = march.distance(q);
                    value[q] = estimate(&march, &value, &near, q);
                    march.flag[q] = Flag::Band;
                    march.push(q);
                }
            }
        }

        let mut out = picture.clone();
        for (p, _) in hole.on.iter().enumerate().filter(|(_, on)| **on != 0) {
            let v = value[index(p % w, p / w)];
            (0..3).for_each(|c| out.rgb[p * 3 + c] = to_u8(v[c]));
        }
        Ok(out)
    }
}

/// T of the known pixels near the hole, negative outwards (the paper's -T_out), so that ∇T is sound at the rim.
fn outside_distance(march: &mut March, rim: &[usize]) {
    let known = march.flag.clone();
    let mut outward = March {
        stride: march.stride,
        flag: vec![Flag::Inside; known.len()],
        t: vec![FAR; known.len()],
        heap: BinaryHeap::new(),
        pushed: 0,
    };
    for &p in rim {
        outward.flag[p] = Flag::Band;
        outward.t[p] = 0.0;
        outward.push(p);
    }
    while let Some(p) = outward.pop() {
        outward.flag[p] = Flag::Known;
        march.t[p] = -outward.t[p];
        for q in outward.around(p) {
            if known[q] == Flag::Known && outward.flag[q] == Flag::Inside {
                outward.t[q] = outward.distance(q);
                outward.flag[q] = Flag::Band;
                if outward.t[q] <= (2 * RADIUS) as f32 {
                    outward.push(q);
                } else {
                    march.t[q] = -outward.t[q];
                }
            }
        }
    }
}

/// Offsets within the radius: (index, towards the centre in x, in y, 1/|r|³).
fn disc(stride: usize) -> Vec<(isize, f32, f32, f32)> {
    let mut near = Vec::new();
    for dy in -RADIUS..=RADIUS {
        for dx in -RADIUS..=RADIUS {
            let r2 = (dx * dx + dy * dy) as f32;
            if r2 > 0.0 && r2 <= (RADIUS * RADIUS) as f32 {
                near.push((dy * stride as isize + dx, -dx as f32, -dy as f32, 1.0 / (r2 * r2.sqrt())));
            }
        }
    }
    near
}

/// The value at `p` from the known pixels around it (the paper's inpaint step).
fn estimate(march: &March, value: &[Channels], near: &[(isize, f32, f32, f32)], p: usize) -> Channels {
    let (gx, gy) = (march.slope(p, 1), march.slope(p, march.stride));
    let (mut sum, mut jx, mut jy, mut total) = ([0f32; 4], [0f32; 4], [0f32; 4], 0f32);
    for &(offset, rx, ry, closeness) in near {
        let q = p.wrapping_add_signed(offset);
        if march.flag[q] == Flag::Inside {
            continue;
        }
        let along = rx * gx + ry * gy;
        let direction = if along.abs() <= 0.01 { 1e-6 } else { along.abs() };
        let weight = direction * closeness / (1.0 + (march.t[q] - march.t[p]).abs());
        total += weight;
        let (v, dx, dy) = (value[q], march.slopes(value, q, 1), march.slopes(value, q, march.stride));
        let (wx, wy) = (weight * rx, weight * ry);
        for c in 0..4 {
            sum[c] += weight * v[c];
            jx[c] -= wx * dx[c];
            jy[c] -= wy * dy[c];
        }
    }
    // At least the neighbour that the front came from is known, so `total` is positive.
    std::array::from_fn(|c| {
        let gradient = (jx[c] + jy[c]) / ((jx[c] * jx[c] + jy[c] * jy[c]).sqrt() + 1e-20);
        // Each value is rounded at once. Otherwise the unit vector would turn a slope that is only rounding noise into a grey level.
        to_u8(sum[c] / total + gradient) as f32
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// OpenCV 5.0.0, `cv2.inpaint(p, m, 3, cv2.INPAINT_TELEA)`, rows 5..11, columns 4..11. OpenCV rounds upwards twice
    /// at every pixel, so a level or two of difference is right.
    #[test]
    fn close_to_opencv() {
        let expected = [
            [99, 98, 104, 112, 119, 126, 136],
            [95, 97, 102, 112, 127, 137, 145],
            [97, 99, 114, 129, 137, 148, 155],
            [100, 108, 122, 138, 146, 156, 163],
            [107, 124, 140, 160, 167, 173, 167],
            [121, 142, 162, 177, 180, 179, 173],
        ];
        let p = Picture::from_fn(16, 16, |x, y| {
            [(60 + 6 * x + 3 * y + if x + y > 14 { 40 } else { 0 } - if x > 10 { 30 } else { 0 }) as u8; 3]
        });
        let hole = Mask::from_fn(16, 16, |x, y| (4..11).contains(&x) && (5..11).contains(&y) && (x, y) != (4, 5));
        let out = Telea.fill(&p, &hole, &p, &mut Rng::new(0, 0, 0)).unwrap();
        let mut sum = 0;
        for (y, row) in expected.iter().enumerate() {
            for (x, &want) in row.iter().enumerate() {
                let off = out.at(x + 4, y + 5)[0].abs_diff(want);
                assert!(off <= 5, "({x}, {y}): {off}");
                sum += off as usize;
            }
        }
        assert!(sum <= 42 * 2, "mean difference {}", sum as f64 / 42.0);
    }

    #[test]
    fn a_constant_stays_constant() {
        let p = Picture::from_fn(20, 15, |_, _| [10, 128, 250]);
        let hole = Mask::from_fn(20, 15, |x, y| x > 4 && y > 3);
        assert_eq!(Telea.fill(&p, &hole, &p, &mut Rng::new(0, 0, 0)).unwrap(), p);
    }
}
