//! The trace of a pair: its difference outside of the forged region, and inside of it copies of that.
//!
//! ```text
//! r(p) = fake(p) − original(p)     outside of the region: the trace and nothing else
//! r(p) = r(p + k·d)                inside: d the nearest place, in steps of `period`, that lies outside
//! ```
//! Inside, the difference is the forgery and hides the trace. Steps of the trace's own period keep a copy aligned with what it
//! continues; where none leads outside the steps are halved, and at one pixel there is always one.

use super::config::{Clip, Fill};
use super::pair::Pair;
use crate::data::picture::{Mask, Picture};

/// Grey levels to be added to each value of a picture.
pub struct Residual {
    w: usize,
    h: usize,
    values: Vec<i16>,
}

impl Residual {
    /// Of a pair.
    pub fn of(pair: &Pair, fill: Fill, period: usize) -> Residual {
        let (w, h) = (pair.fake.w, pair.fake.h);
        let mut values: Vec<i16> =
            pair.fake.rgb.iter().zip(&pair.before.rgb).map(|(&fake, &before)| fake as i16 - before as i16).collect();
        for p in (0..w * h).filter(|&p| pair.mask.on[p] != 0) {
            let copy = match fill {
                Fill::Zero => [0; 3],
                Fill::Shift => {
                    let q = nearest(&pair.mask, (p % w, p / w), period);
                    [values[q * 3], values[q * 3 + 1], values[q * 3 + 2]]
                }
            };
            values[p * 3..p * 3 + 3].copy_from_slice(&copy);
        }
        Residual { w, h, values }
    }

    /// `picture`, of the pair's size, with the residual added (`sign` 1) or taken away (−1).
    pub fn on(&self, picture: &Picture, sign: i16, clip: Clip) -> Picture {
        assert_eq!((self.w, self.h), (picture.w, picture.h), "pictures of a data set have one size");
        let mut out = picture.clone();
        for (v, r) in out.rgb.iter_mut().zip(&self.values) {
            let sum = *v as i16 + sign * r;
            *v = match clip {
                Clip::Keep if !(0..=255).contains(&sum) => *v,
                _ => sum.clamp(0, 255) as u8,
            };
        }
        out
    }
}

/// The pixel outside of the region that (`x`, `y`) inside copies: on the first ring around it, in steps of `period`, that has one.
fn nearest(mask: &Mask, (x, y): (usize, usize), period: usize) -> usize {
    let (w, h) = (mask.w as isize, mask.h as isize);
    let (x, y) = (x as isize, y as isize);
    let mut step = period as isize;
    loop {
        let rings = w.max(h) / step;
        for k in 1..=rings {
            let ring = (-k..=k).flat_map(|j| {
                // The top and the bottom row of the ring whole, of the others the ends.
                let stride = if j.abs() == k { 1 } else { 2 * k };
                (-k..=k).step_by(stride as usize).map(move |i| (i, j))
            });
            for (i, j) in ring {
                let (u, v) = (x + i * step, y + j * step);
                if (0..w).contains(&u) && (0..h).contains(&v) && !mask.get(u as usize, v as usize) {
                    return (v * w + u) as usize;
                }
            }
        }
        assert!(step > 1, "a pair's mask leaves something outside");
        step /= 2;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::rng::Rng;
    use crate::data::fingerprint::Fingerprint;
    use crate::data::procedural::photograph;

    const S: usize = 40;

    fn hole() -> Mask {
        Mask::from_fn(S, S, |x, y| (9..27).contains(&x) && (5..30).contains(&y))
    }

    /// Values in the middle of the range, so that nothing is clipped.
    fn scene() -> Picture {
        let mut p = photograph(3, 1, S);
        p.rgb.iter_mut().for_each(|v| *v = 60 + *v / 2);
        p
    }

    fn forged() -> Picture {
        let mut p = scene();
        for i in (0..S * S).filter(|&i| hole().on[i] != 0) {
            p.rgb[i * 3..i * 3 + 3].copy_from_slice(&[40, 200, 90]);
        }
        p
    }

    /// A checkerboard repeats after two pixels, and copies at multiples of eight continue it through the hole exactly.
    #[test]
    fn a_periodic_trace_is_taken_away_and_added_exactly() {
        let plant = |p: Picture| Fingerprint::Checkerboard.apply(p, 3.0, &mut Rng::new(0, 0, 0)).unwrap();
        let pair = Pair::new(plant(forged()), scene(), hole()).unwrap();
        for period in [8, 2, 4] {
            let r = Residual::of(&pair, Fill::Shift, period);
            assert_eq!(r.on(&pair.fake, -1, Clip::Cut), forged(), "period {period}");
            let mut other = photograph(3, 2, S);
            other.rgb.iter_mut().for_each(|v| *v = 60 + *v / 2);
            assert_eq!(r.on(&other, 1, Clip::Cut), plant(other.clone()), "period {period}");
        }
    }

    #[test]
    fn outside_of_the_mask_any_trace_is_moved_exactly_and_the_hole_is_filled() {
        for kind in [Fingerprint::Jpeg, Fingerprint::Noise, Fingerprint::Resample] {
            let fake = kind.apply(forged(), kind.default_amplitude(), &mut Rng::new(1, 1, 1)).unwrap();
            let pair = Pair::new(fake, scene(), hole()).unwrap();
            for fill in [Fill::Shift, Fill::Zero] {
                let r = Residual::of(&pair, fill, 8);
                let (without, with) = (r.on(&pair.fake, -1, Clip::Cut), r.on(&scene(), 1, Clip::Cut));
                let (mut filled, mut of) = (0, 0);
                for p in 0..S * S {
                    let at = p * 3..p * 3 + 3;
                    if hole().on[p] == 0 {
                        assert_eq!(without.rgb[at.clone()], scene().rgb[at.clone()], "{kind:?}");
                        assert_eq!(with.rgb[at.clone()], pair.fake.rgb[at], "{kind:?}");
                    } else {
                        filled += (with.rgb[at.clone()] != scene().rgb[at.clone()]) as usize;
                        assert!(fill == Fill::Shift || r.values[at] == [0; 3]);
                        of += 1;
                    }
                }
                let least = if fill == Fill::Zero { 0..=0 } else { of / 2..=of };
                assert!(least.contains(&filled), "{kind:?} {fill:?}: {filled} of {of}");
            }
        }
    }

    #[test]
    fn values_at_the_end_of_the_range_are_cut_or_kept() {
        let flat = |v: u8| Picture::from_fn(8, 8, |_, _| [v; 3]);
        let mut fake = flat(110);
        fake.rgb[..3].fill(0);
        let pair = Pair::new(fake, flat(100), Mask::from_fn(8, 8, |x, y| x + y == 0)).unwrap();
        let r = Residual::of(&pair, Fill::Shift, 8);
        let at = |v: u8, sign, clip| r.on(&flat(v), sign, clip).rgb[100];
        assert_eq!([at(250, 1, Clip::Cut), at(250, 1, Clip::Keep), at(245, 1, Clip::Keep)], [255, 250, 255]);
        assert_eq!([at(4, -1, Clip::Cut), at(4, -1, Clip::Keep), at(10, -1, Clip::Keep)], [0, 4, 0]);
        // No step of eight leads out of a picture of eight pixels: shorter ones do.
        assert_eq!(r.on(&flat(100), 1, Clip::Cut), flat(110));
    }

    #[test]
    fn one_pixel_outside_is_enough() {
        let mask = Mask::from_fn(16, 12, |x, y| (x, y) != (15, 11));
        for p in (0..16 * 12).filter(|&p| mask.on[p] != 0) {
            assert_eq!(nearest(&mask, (p % 16, p / 16), 8), 16 * 12 - 1);
        }
    }
}
