//! Pseudo-forgeries: a region of a genuine picture is replaced by a changed version of itself. They are fakes without any trace of a
//! forging program, and need neither a forger nor an original.
//!
//! K. Shiohara, T. Yamasaki: "Detecting Deepfakes with Self-Blended Images", CVPR 2022, of which this has the parts that need no face:
//! the version is moved and scaled a little, its tones change, it loses or gains detail, and it is blended in softly. Pixels outside of
//! the region stay as they are.

use super::config::CounterConfig;
use super::kind::Counterexample;
use super::pair::Pair;
use crate::core::rng::Rng;
use crate::data::picture::{Picture, to_u8};
use crate::data::sums::Sums;

pub struct Pseudo;

/// The version moves by up to this share of the side, and is enlarged by up to twice it.
const MOVE: f32 = 0.04;
/// Gain of the tones, and grey levels that are added to each colour, at most.
const GAIN: f32 = 0.1;
const OFFSET: f32 = 8.0;
/// Least and most factor of the detail that is lost.
const COARSER: [f32; 2] = [1.3, 2.5];
/// Weights of the version in the middle of the region, as in the publication but the weakest.
const WEIGHTS: [f32; 5] = [0.5, 0.75, 1.0, 1.0, 1.0];

/// The picture moved, scaled, with other tones and another sharpness.
fn version(picture: &Picture, rng: &mut Rng) -> Picture {
    let (w, h) = (picture.w as f64, picture.h as f64);
    // A window inside of the picture, enlarged to its size: moved and scaled at once, and nothing beyond the border is needed.
    let (dx, dy) = (rng.range(0.0, MOVE) as f64, rng.range(0.0, MOVE) as f64);
    let (left, top) = (rng.unit() as f64 * dx * w, rng.unit() as f64 * dy * h);
    let mut out = picture.resize_window((left, top, (1.0 - dx) * w, (1.0 - dy) * h), picture.w, picture.h);
    if rng.unit() < 0.5 {
        let factor = rng.range(COARSER[0], COARSER[1]);
        let smaller = |n: usize| ((n as f32 / factor).round() as usize).max(1);
        out = out.resize_to(smaller(picture.w), smaller(picture.h)).resize_to(picture.w, picture.h);
    } else {
        let (soft, amount) = (out.resize_to(picture.w.div_ceil(2), picture.h.div_ceil(2)), rng.range(0.3, 1.0));
        let soft = soft.resize_to(picture.w, picture.h);
        out.rgb.iter_mut().zip(&soft.rgb).for_each(|(v, &s)| *v = to_u8(*v as f32 + amount * (*v as f32 - s as f32)));
    }
    let gain = 1.0 + rng.range(-GAIN, GAIN);
    let offset = [0; 3].map(|_| rng.range(-OFFSET, OFFSET));
    out.rgb.iter_mut().enumerate().for_each(|(i, v)| *v = to_u8(128.0 + gain * (*v as f32 - 128.0) + offset[i % 3]));
    out
}

impl Counterexample for Pseudo {
    fn name(&self) -> &'static str {
        "pseudo"
    }
    fn source(&self) -> &'static str {
        "Shiohara, Yamasaki: Detecting Deepfakes with Self-Blended Images, CVPR 2022"
    }
    fn share(&self, config: &CounterConfig) -> f32 {
        config.pseudo
    }
    fn needs_original(&self) -> bool {
        false
    }
    fn fake(&self, pair: &Pair, _: &CounterConfig, rng: &mut Rng) -> Picture {
        let genuine = &pair.before;
        let other = version(genuine, rng);
        let weight = WEIGHTS[rng.below(WEIGHTS.len())];
        let reach = rng.below(genuine.short_side() / 16 + 1);
        let (w, h) = (genuine.w, genuine.h);
        let sums = Sums::of(w, h, |p| pair.mask.on[p] != 0);
        let mut out = genuine.clone();
        for p in (0..w * h).filter(|&p| pair.mask.on[p] != 0) {
            // The share of the region around the pixel: below one near its border.
            let (x, y) = (p % w, p / w);
            let (x0, y0) = (x.saturating_sub(reach), y.saturating_sub(reach));
            let (bw, bh) = ((x + reach + 1).min(w) - x0, (y + reach + 1).min(h) - y0);
            let alpha = weight * sums.count((x0, y0), (bw, bh)) as f32 / (bw * bh) as f32;
            for c in p * 3..p * 3 + 3 {
                let (own, new) = (genuine.rgb[c] as f32, other.rgb[c] as f32);
                out.rgb[c] = to_u8(own + alpha * (new - own));
            }
        }
        out
    }
    fn replaces_genuine(&self) -> bool {
        false
    }
    fn genuine(&self, own: &Picture, _: &Pair, _: &CounterConfig) -> Picture {
        own.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::picture::Mask;
    use crate::data::procedural::photograph;

    #[test]
    fn a_pseudo_forgery_changes_the_region_and_nothing_else() {
        const S: usize = 48;
        let mask = Mask::from_fn(S, S, |x, y| (10..30).contains(&x) && (15..40).contains(&y));
        for i in 0..20 {
            let genuine = photograph(4, i, S);
            let pair = Pair::without_original(photograph(5, i, S), genuine.clone(), mask.clone()).unwrap();
            let make = || Pseudo.fake(&pair, &CounterConfig::default(), &mut Rng::new(1, 2, i));
            let out = make();
            assert_eq!(out, make(), "the same draw gives the same picture");
            let differs = |p: usize| out.rgb[p * 3..][..3] != genuine.rgb[p * 3..][..3];
            assert!((0..S * S).all(|p| mask.on[p] != 0 || !differs(p)), "{i}: outside");
            let changed = (0..S * S).filter(|&p| differs(p)).count();
            assert!(changed * 2 > mask.area(), "{i}: {changed} of {}", mask.area());
        }
    }
}
