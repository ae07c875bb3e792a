//! Forging in a window around the hole, so that the cost depends on the hole and not on the picture.

use super::forger::Forger;
use crate::core::rng::Rng;
use crate::data::picture::{Mask, Picture};
use crate::error::Result;

/// A rectangle of pixels: left, top, width, height.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    pub x: usize,
    pub y: usize,
    pub w: usize,
    pub h: usize,
}

impl Window {
    /// The bounding box of a hole; nothing for an empty one.
    pub fn of(hole: &Mask) -> Option<Window> {
        let rows: Vec<usize> = (0..hole.h).filter(|y| hole.on[y * hole.w..][..hole.w].iter().any(|&v| v != 0)).collect();
        let (y, end) = (*rows.first()?, rows.last()? + 1);
        let of_row = |y: usize| &hole.on[y * hole.w..][..hole.w];
        let x = (y..end).filter_map(|y| of_row(y).iter().position(|&v| v != 0)).min()?;
        let right = (y..end).filter_map(|y| of_row(y).iter().rposition(|&v| v != 0)).max()? + 1;
        Some(Window { x, y, w: right - x, h: end - y })
    }

    /// With `by` pixels more on each side, as far as a picture of `w` × `h` goes.
    pub fn grown(self, by: usize, w: usize, h: usize) -> Window {
        let (x, y) = (self.x.saturating_sub(by), self.y.saturating_sub(by));
        Window { x, y, w: (self.x + self.w + by).min(w) - x, h: (self.y + self.h + by).min(h) - y }
    }
}

/// The window that a forger needs of a picture of `w` × `h` pixels to fill a hole with this bounding box.
pub fn needed(forger: &dyn Forger, hole: Window, w: usize, h: usize) -> Window {
    hole.grown(forger.reach(hole.w.max(hole.h)), w, h)
}

/// [`Forger::fill`] on what the forger needs around the hole. `donor(w, h)` gives a donor of the window's size, and is asked
/// only by forgers that need one. A forger that looks no further than its reach gives the same bytes as on the whole picture.
pub fn fill_window(
    forger: &dyn Forger,
    mut picture: Picture,
    hole: &Mask,
    donor: impl FnOnce(usize, usize) -> Result<Picture>,
    rng: &mut Rng,
) -> Result<Picture> {
    let bounds = Window::of(hole).unwrap_or(Window { x: 0, y: 0, w: hole.w, h: hole.h });
    let at = needed(forger, bounds, picture.w, picture.h);
    let part = picture.crop(at.x, at.y, at.w, at.h);
    let inside = Mask::from_fn(at.w, at.h, |x, y| hole.get(at.x + x, at.y + y));
    let donor = if forger.needs_donor() { Some(donor(at.w, at.h)?) } else { None };
    let filled = forger.fill(&part, &inside, donor.as_ref().unwrap_or(&part), rng)?;
    for y in 0..at.h {
        picture.rgb[((at.y + y) * picture.w + at.x) * 3..][..at.w * 3].copy_from_slice(&filled.rgb[y * at.w * 3..][..at.w * 3]);
    }
    Ok(picture)
}

#[cfg(test)]
mod tests {
    use super::super::FORGERS;
    use super::super::tests::scene;
    use super::*;
    use crate::core::rng::stream;
    use crate::data::hole::Hole;

    #[test]
    fn a_window_gives_what_the_whole_picture_gives() {
        let (picture, donor) = (scene(120, 90, 1), scene(120, 90, 2));
        for f in FORGERS.into_iter().filter(|f| f.name() != "patchmatch") {
            for (i, hole) in [Hole::Rect, Hole::Stroke, Hole::Rect, Hole::Central].into_iter().enumerate() {
                let mask = hole.draw(120, 90, (0.02, 0.1), &mut Rng::new(5, stream("hole"), i as u64));
                let bounds = Window::of(&mask).unwrap();
                let at = needed(f, bounds, 120, 90);
                let part = |w, h| {
                    assert_eq!((w, h), (at.w, at.h));
                    Ok(donor.crop(at.x, at.y, w, h))
                };
                let whole = f.fill(&picture, &mask, &donor, &mut Rng::new(1, 2, 3)).unwrap();
                assert_eq!(
                    fill_window(f, picture.clone(), &mask, part, &mut Rng::new(1, 2, 3)).unwrap(),
                    whole,
                    "{} {i}",
                    f.name()
                );
                assert!(i != 0 || at.w * at.h < 120 * 90, "{}", f.name());
            }
        }
    }

    #[test]
    fn boxes_hold_the_hole_and_no_more() {
        let hole = Mask::from_fn(20, 10, |x, y| (x, y) == (3, 7) || (x, y) == (11, 2));
        assert_eq!(Window::of(&hole), Some(Window { x: 3, y: 2, w: 9, h: 6 }));
        assert_eq!(Window::of(&hole).unwrap().grown(4, 20, 10), Window { x: 0, y: 0, w: 16, h: 10 });
        assert_eq!(Window::of(&Mask::new(4, 4)), None);
    }
}
