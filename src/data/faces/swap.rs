//! Face swaps: another person's brows, eyes, nose and mouth in the picture of a person.

use super::method::Method;
use super::portrait::Portrait;
use crate::core::rng::Rng;
use crate::data::forge::{Forger, Poisson};
use crate::data::picture::{Mask, Picture, to_u8};

/// The donor's photograph, warped onto the target's pose, with the target's mean colour, feathered in: after FaceSwap.
pub struct Warp;

/// The donor's face with the target's pose, light and expression, made at half the resolution, enlarged as decoders do, cloned into the
/// target by its gradients: after the auto-encoder swaps that are called deepfakes.
pub struct Decoder;

/// A value between the pixels of a picture, bilinear; the border goes on outwards.
fn between(picture: &Picture, x: f32, y: f32) -> [f32; 3] {
    let most = (picture.w - 1) as f32;
    let (x, y) = (x.clamp(0.0, most), y.clamp(0.0, most));
    let (x0, y0) = (x as usize, y as usize);
    let (x1, y1) = ((x0 + 1).min(picture.w - 1), (y0 + 1).min(picture.h - 1));
    let (fx, fy) = (x - x0 as f32, y - y0 as f32);
    let at = |x, y| picture.at(x, y).map(f32::from);
    let (a, b, c, d) = (at(x0, y0), at(x1, y0), at(x0, y1), at(x1, y1));
    std::array::from_fn(|k| {
        let (upper, lower) = (a[k] + fx * (b[k] - a[k]), c[k] + fx * (d[k] - c[k]));
        upper + fy * (lower - upper)
    })
}

/// `donor` moved so that its face lies where the target's does.
fn warped(target: &Portrait, donor: &Portrait) -> Vec<[f32; 3]> {
    let (side, s) = (target.side(), target.side() as f32);
    (0..side * side)
        .map(|p| {
            let at = [(p % side) as f32 + 0.5, (p / side) as f32 + 0.5].map(|v| v / s);
            let [u, v] = target.shot.pose.inward(at);
            // Faces differ in width.
            let [x, y] = donor.shot.pose.outward([u * donor.who.width / target.who.width, v]);
            between(donor.picture(), x * s - 0.5, y * s - 0.5)
        })
        .collect()
}

/// Mean and deviation of each channel over a mask.
fn moments(mask: &Mask, value: impl Fn(usize) -> [f32; 3]) -> [[f32; 2]; 3] {
    let n = mask.area() as f32;
    let inside = || (0..mask.on.len()).filter(|&p| mask.on[p] != 0).map(&value);
    std::array::from_fn(|c| {
        let mean = inside().map(|v| v[c]).sum::<f32>() / n;
        let variance = inside().map(|v| (v[c] - mean).powi(2)).sum::<f32>() / n;
        [mean, variance.sqrt()]
    })
}

impl Method for Warp {
    fn name(&self) -> &'static str {
        "warp"
    }
    fn source(&self) -> &'static str {
        "painted faces: the donor's photograph warped, colours moved (Reinhard 2001), feathered in; after FaceSwap (Kowalski 2016)"
    }
    fn forge(&self, target: &Portrait, donor: &Portrait, _: &mut Rng) -> (Picture, Mask) {
        let mask = target.hull();
        let face = warped(target, donor);
        let own = |p: usize| -> [f32; 3] { std::array::from_fn(|c| target.picture().rgb[p * 3 + c] as f32) };
        let (from, to) = (moments(&mask, |p| face[p]), moments(&mask, own));
        let (side, s) = (target.side(), target.side() as f32);
        let mut out = target.picture().clone();
        for p in (0..side * side).filter(|&p| mask.on[p] != 0) {
            let [u, v] = target.shot.pose.inward([((p % side) as f32 + 0.5) / s, ((p / side) as f32 + 0.5) / s]);
            let rho = ((u / (0.86 * target.who.width)).powi(2) + ((v - 0.2) / 0.66).powi(2)).sqrt();
            let alpha = ((1.0 - rho) / 0.25).clamp(0.0, 1.0);
            let old = own(p);
            for c in 0..3 {
                let gain = (to[c][1] / from[c][1].max(1.0)).clamp(0.5, 2.0);
                let new = to[c][0] + gain * (face[p][c] - from[c][0]);
                out.rgb[p * 3 + c] = to_u8(old[c] + alpha * (new - old[c]));
            }
        }
        (out, mask)
    }
}

/// How much more a transposed convolution of three taps and stride 2 adds up on every second row and column than between them: a
/// kernel (a, 1, a) with 2a = 1 + UNEVEN. Trained decoders come near 0, but seldom to it (A. Odena et al. 2016).
const UNEVEN: f32 = 0.012;

/// Twice the side, by a transposed convolution: along each axis the values themselves, and between them half of both neighbours, times
/// 1 + `UNEVEN`. `out` × `out` pixels of it.
pub(super) fn transposed(half: &[[f32; 3]], side: usize, out: usize) -> Vec<[f32; 3]> {
    let taps = |i: usize| -> [(usize, f32); 2] {
        let (a, b) = ((i / 2).min(side - 1), (i / 2 + 1).min(side - 1));
        if i.is_multiple_of(2) { [(a, 1.0), (a, 0.0)] } else { [(a, 0.5 * (1.0 + UNEVEN)), (b, 0.5 * (1.0 + UNEVEN))] }
    };
    (0..out * out)
        .map(|p| {
            let mut sum = [0f32; 3];
            for (y, wy) in taps(p / out) {
                for (x, wx) in taps(p % out) {
                    (0..3).for_each(|c| sum[c] += wy * wx * half[y * side + x][c]);
                }
            }
            sum
        })
        .collect()
}

impl Method for Decoder {
    fn name(&self) -> &'static str {
        "decoder"
    }
    fn source(&self) -> &'static str {
        "painted faces: made at half the resolution, enlarged by a transposed convolution, cloned in (Perez 2003); after auto-encoder swaps (2017)"
    }
    fn forge(&self, target: &Portrait, donor: &Portrait, rng: &mut Rng) -> (Picture, Mask) {
        let (side, mask) = (target.side(), target.hull());
        let small = side / 2 + 1;
        // The pose in units of a picture that is a little larger than half; pixel i of the small one becomes pixel 2i of the large.
        let mut shot = target.shot.clone();
        let ratio = side as f32 / (2 * small) as f32;
        shot.pose.centre = shot.pose.centre.map(|c| c * ratio + 0.25 / small as f32);
        shot.pose.scale *= ratio;
        let face = target.clean(&donor.who, &shot, small);
        let half: Vec<[f32; 3]> = face.rgb.chunks_exact(3).map(|p| [p[0] as f32, p[1] as f32, p[2] as f32]).collect();
        let large = transposed(&half, small, side);
        let made = Picture { w: side, h: side, rgb: large.iter().flatten().map(|&v| to_u8(v)).collect() };
        let cloned = Poisson.fill(target.picture(), &mask, &made, rng);
        (cloned.expect("the hull is neither empty nor all of the picture"), mask)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::portrait;
    use super::*;

    /// A donor that is the target itself: the warp is the identity, and its colours need not be moved.
    #[test]
    fn a_face_that_is_warped_onto_itself_stays() {
        let me = portrait(4, 4, 64);
        let (fake, _) = Warp.forge(&me, &me, &mut Rng::new(0, 0, 0));
        let worst = fake.rgb.iter().zip(&me.picture().rgb).map(|(a, b)| a.abs_diff(*b)).max().unwrap();
        assert!(worst <= 1, "{worst} grey levels");
    }

    #[test]
    fn a_transposed_convolution_keeps_a_flat_colour_but_for_its_uneven_overlap() {
        let large = transposed(&[[100.0; 3]; 16], 4, 7);
        for (p, v) in large.iter().enumerate() {
            let odd = (p % 7 % 2 + p / 7 % 2) as i32;
            assert!((v[0] - 100.0 * (1.0 + UNEVEN).powi(odd)).abs() < 1e-3, "pixel {p}: {v:?}");
        }
    }
}
