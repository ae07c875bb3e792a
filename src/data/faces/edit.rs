//! Edited attributes: the colour of the hair, a beard, the smile, glasses.

use super::face::{HAIR, Identity, Shot};
use super::method::Method;
use super::portrait::Portrait;
use super::swap::transposed;
use crate::core::rng::Rng;
use crate::data::picture::{Mask, Picture, to_u8};

/// What is changed about a face.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attribute {
    Hair,
    Beard,
    Smile,
    Glasses,
}

impl Attribute {
    pub const ALL: [Attribute; 4] = [Attribute::Hair, Attribute::Beard, Attribute::Smile, Attribute::Glasses];

    /// The person and the shot with the attribute changed.
    pub fn edited(self, who: &Identity, shot: &Shot, rng: &mut Rng) -> (Identity, Shot) {
        let (mut who, mut shot) = (who.clone(), shot.clone());
        match self {
            Attribute::Hair => {
                let far = |c: &[f32; 3]| (c[0].max(1e-3) / who.hair[0].max(1e-3)).ln().abs() > 0.8;
                let others: Vec<[f32; 3]> = HAIR.into_iter().filter(far).collect();
                who.hair = others[rng.below(others.len())];
            }
            Attribute::Beard => who.beard = if who.beard > 0.0 { 0.0 } else { rng.range(0.6, 0.95) },
            Attribute::Smile => {
                shot.smile = if shot.smile > 0.2 { rng.range(-0.8, -0.4) } else { rng.range(0.8, 1.2) };
                shot.open = if shot.open > 0.3 { 0.0 } else { rng.range(0.6, 1.0) };
            }
            Attribute::Glasses => who.glasses = !who.glasses,
        }
        (who, shot)
    }
}

/// Pixels of the region around what changes: generators do not end at its edge.
fn margin(side: usize) -> usize {
    (side / 48).max(1)
}

/// Original and edited picture as a network sees them, without noise, and the region in which they differ.
fn change(target: &Portrait, rng: &mut Rng) -> (Picture, Picture, Mask) {
    let side = target.side();
    let before = target.clean(&target.who, &target.shot, side);
    let first = rng.below(Attribute::ALL.len());
    // An attribute may not show: a beard behind a turned head, brows under hair.
    let tries = (0..Attribute::ALL.len()).map(|k| Attribute::ALL[(first + k) % Attribute::ALL.len()]);
    let mut best: Option<(Picture, Mask)> = None;
    for attribute in tries {
        let (who, shot) = attribute.edited(&target.who, &target.shot, rng);
        let after = target.clean(&who, &shot, side);
        let differs = |p: usize| (0..3).any(|c| after.rgb[p * 3 + c].abs_diff(before.rgb[p * 3 + c]) > 8);
        let changed = Mask::from_fn(side, side, |x, y| differs(y * side + x));
        let m = margin(side);
        let mask = Mask::from_fn(side, side, |x, y| {
            let around = |c: usize| c.saturating_sub(m)..(c + m + 1).min(side);
            around(y).any(|y| around(x).any(|x| changed.on[y * side + x] != 0))
        });
        let enough = changed.area() * 100 >= side * side;
        if enough || best.as_ref().is_none_or(|(_, m)| m.area() < mask.area()) {
            best = Some((after, mask));
        }
        if enough {
            break;
        }
    }
    let (after, mask) = best.expect("there are attributes");
    (before, after, mask)
}

/// Every second row and column, each pixel a mean of its neighbours by (1, 2, 1)/4 along both axes; the border goes on outwards. Enough
/// of them for [`transposed`] to give `side` × `side` pixels.
fn halved(field: &[[f32; 3]], side: usize) -> (Vec<[f32; 3]>, usize) {
    let small = side / 2 + 1;
    let near = |i: usize, d: usize| (2 * i + d).saturating_sub(1).min(side - 1);
    let mean = |x: usize, y: usize| -> [f32; 3] {
        let mut sum = [0f32; 3];
        for (dy, wy) in [0.25f32, 0.5, 0.25].into_iter().enumerate() {
            for (dx, wx) in [0.25f32, 0.5, 0.25].into_iter().enumerate() {
                let v = field[near(y, dy) * side + near(x, dx)];
                (0..3).for_each(|c| sum[c] += wy * wx * v[c]);
            }
        }
        sum
    };
    ((0..small * small).map(|p| mean(p % small, p / small)).collect(), small)
}

/// The change at half the resolution, enlarged by a transposed convolution, added to the photograph, whose noise is smoothed away in
/// the region: an encoder and a decoder lose it.
pub struct Bottleneck;

impl Method for Bottleneck {
    fn name(&self) -> &'static str {
        "bottleneck"
    }
    fn source(&self) -> &'static str {
        "painted faces: the change through half the resolution and a transposed convolution, noise smoothed; after StarGAN (Choi 2018)"
    }
    fn forge(&self, target: &Portrait, _: &Portrait, rng: &mut Rng) -> (Picture, Mask) {
        let side = target.side();
        let (before, after, mask) = change(target, rng);
        let photo = target.picture();
        // What the network keeps of the photograph (half the resolution), and what it adds.
        let through: Vec<[f32; 3]> = (0..side * side)
            .map(|p| {
                std::array::from_fn(|c| {
                    let [new, old, seen] = [&after, &before, photo].map(|x| x.rgb[p * 3 + c] as f32);
                    seen + new - old
                })
            })
            .collect();
        let (half, small) = halved(&through, side);
        let made = transposed(&half, small, side);
        let mut out = photo.clone();
        for p in (0..side * side).filter(|&p| mask.on[p] != 0) {
            (0..3).for_each(|c| out.rgb[p * 3 + c] = to_u8(made[p][c]));
        }
        (out, mask)
    }
}

/// The region made anew at full resolution, with white noise in place of a sensor's.
pub struct Flow;

/// Deviation of the noise of a flow's samples, grey levels.
const NOISE: f32 = 1.5;

impl Method for Flow {
    fn name(&self) -> &'static str {
        "flow"
    }
    fn source(&self) -> &'static str {
        "painted faces: the region made anew with white noise; after Glow (Kingma, Dhariwal 2018)"
    }
    fn forge(&self, target: &Portrait, _: &Portrait, rng: &mut Rng) -> (Picture, Mask) {
        let side = target.side();
        let (_, after, mask) = change(target, rng);
        let mut out = target.picture().clone();
        for p in (0..side * side).filter(|&p| mask.on[p] != 0) {
            (0..3).for_each(|c| out.rgb[p * 3 + c] = to_u8(after.rgb[p * 3 + c] as f32 + NOISE * rng.normal()));
        }
        (out, mask)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::portrait;
    use super::*;
    use crate::core::rng::stream;

    /// Every attribute moves pixels of most faces, each in its own place.
    #[test]
    fn every_attribute_shows() {
        for attribute in Attribute::ALL {
            let shown = (0..20u64).filter(|&k| {
                let me = portrait(k, k, 64);
                let (who, shot) = attribute.edited(&me.who, &me.shot, &mut Rng::new(2, stream("edit"), k));
                assert_ne!((&who, &shot), (&me.who, &me.shot), "{attribute:?}");
                me.clean(&who, &shot, 64) != me.clean(&me.who, &me.shot, 64)
            });
            let shown = shown.count();
            assert!(shown >= 16, "{attribute:?} shows on {shown} of 20 faces");
        }
    }
}
