//! Where in a forged context a picture is cut: with enough forged pixels for a fake, with none for a genuine picture.

use super::picture::Mask;
use super::sums::Sums;
use crate::core::rng::Rng;

/// A place of a `size` × `size` window with at least `least` (0..=1) of its pixels forged, all such places equally likely.
/// Where no window has as many: one of those that have most.
pub fn forged(mask: &Mask, size: usize, least: f32, rng: &mut Rng) -> (usize, usize) {
    let counts = Counts::of(mask, size);
    let most = counts.forged.iter().copied().max().unwrap_or(0);
    let wanted = ((least * (size * size) as f32).ceil() as u32).clamp(1, most.max(1)).min(most);
    counts.choose(|n| n >= wanted, rng).unwrap_or((0, 0))
}

/// A place of a `size` × `size` window without a forged pixel, all such places equally likely. None where there is none.
pub fn genuine(mask: &Mask, size: usize, rng: &mut Rng) -> Option<(usize, usize)> {
    Counts::of(mask, size).choose(|n| n == 0, rng)
}

/// Forged pixels of the window at every place.
struct Counts {
    /// Places in a row.
    across: usize,
    forged: Vec<u32>,
}

impl Counts {
    fn of(mask: &Mask, size: usize) -> Counts {
        let (w, h) = (mask.w, mask.h);
        let (across, down) = (w + 1 - size.min(w), h + 1 - size.min(h));
        let (sums, window) = (Sums::of(w, h, |i| mask.on[i] != 0), (size.min(w), size.min(h)));
        let forged = (0..down).flat_map(|y| (0..across).map(move |x| (x, y))).map(|at| sums.count(at, window)).collect();
        Counts { across, forged }
    }

    fn choose(&self, good: impl Fn(u32) -> bool, rng: &mut Rng) -> Option<(usize, usize)> {
        let number = self.forged.iter().filter(|&&n| good(n)).count();
        let chosen = rng.below(number.max(1));
        let place = self.forged.iter().enumerate().filter(|&(_, &n)| good(n)).nth(chosen)?.0;
        Some((place % self.across, place / self.across))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rng(i: u64) -> Rng {
        Rng::new(2, 3, i)
    }

    #[test]
    fn windows_have_as_many_forged_pixels_as_asked() {
        let mask = Mask::from_fn(60, 50, |x, y| (20..34).contains(&x) && (10..31).contains(&y));
        let mut places = std::collections::HashSet::new();
        for i in 0..400 {
            let (x, y) = forged(&mask, 16, 0.25, &mut rng(i));
            assert!(mask.crop(x, y, 16, 16).area() >= 64);
            places.insert((x, y));
            let (x, y) = genuine(&mask, 16, &mut rng(i)).unwrap();
            assert_eq!(mask.crop(x, y, 16, 16).area(), 0);
        }
        assert!(places.len() > 150, "{} places", places.len());
        // The window with exactly the least share counts: 14 columns of 16 are all that this hole has in a row.
        let full: Vec<_> = (0..50).map(|i| forged(&mask, 16, 0.875, &mut rng(i))).collect();
        assert!(full.iter().all(|&(x, y)| mask.crop(x, y, 16, 16).area() == 14 * 16));
    }

    #[test]
    fn impossible_wishes_get_the_nearest() {
        let dot = Mask::from_fn(40, 40, |x, y| (x, y) == (30, 5));
        assert!((0..50).all(|i| {
            let (x, y) = forged(&dot, 16, 0.5, &mut rng(i));
            dot.crop(x, y, 16, 16).area() == 1
        }));
        assert_eq!(genuine(&Mask::from_fn(40, 40, |x, _| x % 16 == 0), 16, &mut rng(0)), None);
        assert_eq!(forged(&Mask::from_fn(16, 16, |x, _| x < 3), 16, 0.9, &mut rng(0)), (0, 0));
    }
}
