//! Where a picture is forged: the hole that an inpainting forger fills, and the true mask of the result.

use serde::{Deserialize, Serialize};

use super::picture::Mask;
use crate::core::rng::Rng;

/// The shape of the hole. `share` below is the hole's area over the picture's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Hole {
    /// Rows and columns S/4..3S/4, always: the paper (128 of 256 pixels). A constant map then localises perfectly.
    Central,
    /// A rectangle anywhere, area uniform in `share`, aspect log-uniform in 1:2..2:1. The rectangle may touch the border.
    #[default]
    Rect,
    /// A free-form brush stroke: a random polyline of discs, area near a target that is uniform in `share`.
    Stroke,
}

impl Hole {
    /// Longest side of a hole of [`Hole::draw_side`], as a share of the context's: something must be known to fill it from.
    pub const MOST: f32 = 0.875;

    /// Draws a hole whose side (√area) is log-uniform in `side` pixels, as far as [`Hole::MOST`] of a `w` × `h` context: a
    /// square in the middle (central), a rectangle of aspect 1:2 to 2:1 anywhere (rect), a stroke in a square anywhere
    /// (stroke), of which it covers about half. Never empty and never everything.
    pub fn draw_side(self, w: usize, h: usize, side: (f32, f32), rng: &mut Rng) -> Mask {
        let limit = (Hole::MOST * w.min(h) as f32).max(1.0);
        let (lo, hi) = (side.0.clamp(1.0, limit), side.1.clamp(1.0, limit));
        let side = lo * (hi / lo).powf(rng.unit());
        let stretch = 2f32.powf(rng.range(-0.5, 0.5));
        let whole = |x: f32| (x.min(limit).round() as usize).clamp(1, w.min(h));
        let (hw, hh) = match self {
            Hole::Central => (whole(side), whole(side)),
            Hole::Rect => (whole(side * stretch), whole(side * side / (side * stretch).min(limit))),
            Hole::Stroke => (whole(side * std::f32::consts::SQRT_2), whole(side * std::f32::consts::SQRT_2)),
        };
        let (x0, y0) = match self {
            Hole::Central => ((w - hw) / 2, (h - hh) / 2),
            _ => (rng.below(w - hw + 1), rng.below(h - hh + 1)),
        };
        let mut mask = match self {
            Hole::Stroke => stroke(hw, hh, (0.35, 0.65), rng).within(w, h, x0, y0),
            _ => Mask::from_fn(hw, hh, |_, _| true).within(w, h, x0, y0),
        };
        if mask.area() == mask.on.len() {
            mask.on[0] = 0;
        } else if mask.area() == 0 {
            mask.on[y0 * w + x0] = 1;
        }
        mask
    }

    /// Draws a hole for a `w` × `h` picture, never empty and never everything. `share` = (least, most) part of the area, in (0, 1).
    pub fn draw(self, w: usize, h: usize, share: (f32, f32), rng: &mut Rng) -> Mask {
        let mut mask = match self {
            Hole::Central => Mask::from_fn(w, h, |x, y| (w / 4..w - w / 4).contains(&x) && (h / 4..h - h / 4).contains(&y)),
            Hole::Rect => rectangle(w, h, share, rng),
            Hole::Stroke => stroke(w, h, share, rng),
        };
        // In pictures of a few pixels rounding can make the hole everything or nothing: then one pixel is kept, or one is forged.
        let area = mask.area();
        if area == mask.on.len() {
            mask.on[0] = 0;
        } else if area == 0 {
            let middle = mask.on.len() / 2;
            mask.on[middle] = 1;
        }
        mask
    }
}

/// A hole as `side` says: a square of `side` pixels for [`Hole::Central`] (in the middle), anywhere and up to 5:4 oblong for
/// [`Hole::Rect`], a stroke in such a square for [`Hole::Stroke`]. Never empty and never everything, as long as the picture has
/// two pixels.
pub fn of_side(hole: Hole, side: usize, w: usize, h: usize, rng: &mut Rng) -> Mask {
    let aspect = if hole == Hole::Rect { (5f32 / 4.0).powf(rng.range(-0.5, 0.5)) } else { 1.0 };
    let mut hw = ((side as f32 * aspect).round() as usize).clamp(1, w);
    let mut hh = ((side as f32 / aspect).round() as usize).clamp(1, h);
    // Something must stay known.
    match (hw == w && hh == h, w > 1) {
        (true, true) => hw -= 1,
        (true, false) => hh = hh.saturating_sub(1).max(1),
        (false, _) => {}
    }
    let (x, y) = match hole {
        Hole::Central => ((w - hw) / 2, (h - hh) / 2),
        _ => (rng.below(w - hw + 1), rng.below(h - hh + 1)),
    };
    let inner = if hole == Hole::Stroke && hw * hh > 1 { Some(hole.draw(hw, hh, (0.3, 0.6), rng)) } else { None };
    let mut mask = Mask::new(w, h);
    for dy in 0..hh {
        for dx in 0..hw {
            mask.on[(y + dy) * w + x + dx] = inner.as_ref().is_none_or(|m| m.get(dx, dy)) as u8;
        }
    }
    mask
}

fn rectangle(w: usize, h: usize, share: (f32, f32), rng: &mut Rng) -> Mask {
    let area = rng.range(share.0, share.1) * (w * h) as f32;
    let aspect = 2f32.powf(rng.range(-1.0, 1.0));
    let rw = ((area * aspect).sqrt().round() as usize).clamp(1, w);
    let rh = ((area / rw as f32).round() as usize).clamp(1, h);
    let (x0, y0) = (rng.below(w - rw + 1), rng.below(h - rh + 1));
    Mask::from_fn(w, h, |x, y| (x0..x0 + rw).contains(&x) && (y0..y0 + rh).contains(&y))
}

fn stroke(w: usize, h: usize, share: (f32, f32), rng: &mut Rng) -> Mask {
    let side = w.min(h) as f32;
    let target = (rng.range(share.0, share.1) * (w * h) as f32).max(1.0) as usize;
    let most = (share.1 * (w * h) as f32).max(1.0) as usize;
    let mut mask = Mask::new(w, h);
    let mut area = 0;
    let (mut x, mut y) = (rng.range(0.2, 0.8) * w as f32, rng.range(0.2, 0.8) * h as f32);
    let mut angle = rng.range(0.0, std::f32::consts::TAU);
    // Each turn of the loop is one straight piece of the polyline. Three dozen pieces cover any share that is allowed; the bound
    // only ends strokes that keep crossing themselves.
    for _ in 0..36 {
        let radius = (side * rng.range(1.0 / 20.0, 1.0 / 9.0)).max(0.6);
        let steps = (side * rng.range(0.1, 0.4)).ceil() as usize;
        angle += rng.range(-1.2, 1.2);
        let (dy, dx) = angle.sin_cos();
        for _ in 0..steps {
            area += disc(&mut mask, x, y, radius, most - area);
            if area >= target {
                return mask;
            }
            (x, y) = (x + dx, y + dy);
            if x < 0.0 || y < 0.0 || x >= w as f32 || y >= h as f32 {
                (x, y) = (x.clamp(0.0, w as f32 - 1.0), y.clamp(0.0, h as f32 - 1.0));
                angle += std::f32::consts::PI * rng.range(0.6, 1.4);
                break;
            }
        }
    }
    mask
}

/// Switches a disc on, at most `left` new pixels; returns how many were new.
fn disc(mask: &mut Mask, cx: f32, cy: f32, r: f32, left: usize) -> usize {
    let range = |c: f32, n: usize| ((c - r).floor().max(0.0) as usize)..((c + r).ceil().max(0.0) as usize + 1).min(n);
    let mut new = 0;
    for y in range(cy, mask.h) {
        for x in range(cx, mask.w) {
            let inside = (x as f32 - cx).powi(2) + (y as f32 - cy).powi(2) <= r * r;
            let pixel = &mut mask.on[y * mask.w + x];
            if inside && *pixel == 0 && new < left {
                *pixel = 1;
                new += 1;
            }
        }
    }
    new
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::rng::stream;

    #[test]
    fn central_is_the_papers_square() {
        let m = Hole::Central.draw(256, 256, (0.1, 0.2), &mut Rng::new(0, 0, 0));
        assert_eq!(m.area(), 128 * 128);
        assert!(m.get(64, 64) && m.get(191, 191) && !m.get(63, 64) && !m.get(192, 191));
    }

    #[test]
    fn sides_in_pixels_stay_in_their_range_and_are_log_uniform() {
        for hole in [Hole::Central, Hole::Rect, Hole::Stroke] {
            let mut sides = Vec::new();
            for i in 0..300 {
                let m = hole.draw_side(192, 192, (25.0, 256.0), &mut Rng::new(3, stream("hole"), i));
                sides.push((m.area() as f32).sqrt());
                assert!((15.0..=169.0).contains(&sides[i as usize]), "{hole:?} {i}: {}", sides[i as usize]);
                let [left, right] = [0, 191].map(|far: usize| (0..192).take_while(|x| !m.get(far.abs_diff(*x), 96)).count());
                assert!(hole != Hole::Central || left.abs_diff(right) <= 1, "{left} and {right} columns beside the middle");
            }
            sides.sort_by(f32::total_cmp);
            // The middle of log-uniform sides from 25 to 168 pixels is 65.
            assert!((50.0..80.0).contains(&sides[150]), "{hole:?}: median side {}", sides[150]);
        }
        for (w, h) in [(1, 2), (2, 1), (2, 2), (1, 9), (5, 3)] {
            for hole in [Hole::Central, Hole::Rect, Hole::Stroke] {
                let m = hole.draw_side(w, h, (0.1, 90.0), &mut Rng::new(3, 1, 0));
                assert!(m.area() > 0 && m.area() < w * h, "{hole:?} {w}x{h}");
            }
        }
    }

    #[test]
    fn a_side_is_what_the_hole_measures() {
        for hole in [Hole::Central, Hole::Rect, Hole::Stroke] {
            let mut places = std::collections::HashSet::new();
            for i in 0..20 {
                let m = of_side(hole, 40, 200, 90, &mut Rng::new(3, stream("hole"), i));
                let area = m.area() as f64 / 1600.0;
                let bounds = if hole == Hole::Stroke { 0.1..0.65 } else { 0.97..1.03 };
                assert!(bounds.contains(&area), "{hole:?} {i}: {area}");
                places.insert(m.on.iter().position(|&v| v != 0));
            }
            assert_eq!(places.len() > 1, hole != Hole::Central);
            for (w, h) in [(1, 2), (2, 1), (1, 50), (2, 2), (9, 9)] {
                let m = of_side(hole, 9, w, h, &mut Rng::new(3, 1, 0));
                assert!(m.area() > 0 && m.area() < w * h, "{hole:?} {w}x{h}: {}", m.area());
            }
        }
    }

    #[test]
    fn areas_stay_in_their_range_and_pictures_of_any_size_work() {
        for hole in [Hole::Rect, Hole::Stroke] {
            let mut shares = Vec::new();
            for i in 0..200 {
                let m = hole.draw(64, 48, (0.06, 0.25), &mut Rng::new(3, stream("hole"), i));
                let share = m.area() as f32 / m.on.len() as f32;
                assert!((0.03..=0.27).contains(&share), "{hole:?} {i}: {share}");
                shares.push(share);
            }
            let mean = shares.iter().sum::<f32>() / 200.0;
            assert!((0.12..0.19).contains(&mean), "{hole:?}: mean share {mean}");
        }
        for (w, h) in [(1, 2), (2, 1), (2, 2), (1, 9), (5, 3)] {
            for hole in [Hole::Central, Hole::Rect, Hole::Stroke] {
                let m = hole.draw(w, h, (0.06, 0.25), &mut Rng::new(3, 1, 0));
                assert!(m.area() > 0 && m.area() < w * h, "{hole:?} {w}x{h}");
            }
        }
    }
}
