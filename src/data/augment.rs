//! Processing that genuine photographs have had: resizing, blur, sharpening, noise, colour, JPEG.
//!
//! One chain is applied before forging, so that the hole is filled in a photograph that was processed already, and another one
//! after it, as whoever publishes a picture saves it. Genuine and forged pictures go through the same chains with the same
//! numbers, so that processing tells nothing of the label. The steps stand in the order of a photograph's way through an
//! editor, JPEG last.

use serde::{Deserialize, Serialize};

use super::codec::jpeg_round_trip;
use super::picture::{Picture, to_u8};
use crate::core::rng::Rng;
use crate::error::{Error, Result};

/// The table `[augment]` of a config file: how often pictures are processed, and how.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AugmentConfig {
    /// Share of the pictures that are processed before forging. 0: none.
    pub before: f32,
    /// Share of the pictures that are processed after forging. 0: none.
    pub after: f32,
    /// Share of the chains that resize.
    pub resize: f32,
    /// Least and most scale, log-uniform.
    pub resize_scale: [f32; 2],
    /// Share of the chains that blur.
    pub blur: f32,
    /// Least and most deviation of the Gaussian, pixels.
    pub blur_sigma: [f32; 2],
    /// Share of the chains that sharpen.
    pub sharpen: f32,
    /// Least and most weight of the unsharp mask, whose Gaussian has a deviation of one pixel.
    pub sharpen_amount: [f32; 2],
    /// Share of the chains that add Gaussian noise, half of them the same noise to all channels.
    pub noise: f32,
    /// Least and most deviation of the noise, grey levels of 255.
    pub noise_sigma: [f32; 2],
    /// Share of the chains that change colours.
    pub colour: f32,
    /// How far brightness, contrast, gamma and saturation change, each by up to this share.
    pub colour_strength: f32,
    /// Share of the chains that end with JPEG, half of them with 4:2:0, the others with 4:4:4.
    pub jpeg: f32,
    /// Least and most JPEG quality.
    pub jpeg_quality: [u8; 2],
}

impl Default for AugmentConfig {
    fn default() -> AugmentConfig {
        AugmentConfig {
            before: 0.0,
            after: 0.0,
            resize: 0.3,
            resize_scale: [0.5, 1.5],
            blur: 0.15,
            blur_sigma: [0.3, 1.2],
            sharpen: 0.2,
            sharpen_amount: [0.3, 1.2],
            noise: 0.2,
            noise_sigma: [0.5, 4.0],
            colour: 0.3,
            colour_strength: 0.2,
            jpeg: 0.7,
            jpeg_quality: [60, 98],
        }
    }
}

impl AugmentConfig {
    /// Whether any picture is processed.
    pub fn on(&self) -> bool {
        self.before > 0.0 || self.after > 0.0
    }

    /// Refuses impossible values, naming the key.
    pub fn check(&self) -> Result<()> {
        let shares = [
            ("before", self.before, "the pictures"),
            ("after", self.after, "the pictures"),
            ("resize", self.resize, "the chains"),
            ("blur", self.blur, "the chains"),
            ("sharpen", self.sharpen, "the chains"),
            ("noise", self.noise, "the chains"),
            ("colour", self.colour, "the chains"),
            ("colour_strength", self.colour_strength, "a value"),
            ("jpeg", self.jpeg, "the chains"),
        ];
        for (key, share, of) in shares {
            if !(0.0..=1.0).contains(&share) {
                return Err(Error::config(format!("augment.{key}"), format!("{share} is no share of {of}; use 0 to 1")));
            }
        }
        let ranges = [
            ("resize_scale", self.resize_scale, 0.25, 4.0, "scales"),
            ("blur_sigma", self.blur_sigma, 0.0, 10.0, "deviations in pixels"),
            ("sharpen_amount", self.sharpen_amount, 0.0, 5.0, "weights"),
            ("noise_sigma", self.noise_sigma, 0.0, 64.0, "deviations in grey levels"),
            ("jpeg_quality", self.jpeg_quality.map(f32::from), 1.0, 100.0, "JPEG qualities"),
        ];
        for (key, [lo, hi], least, most, what) in ranges {
            if !(lo >= least && lo <= hi && hi <= most) {
                let why = format!("[{lo}, {hi}] is no range of {what}; use {least} <= least <= most <= {most}");
                return Err(Error::config(format!("augment.{key}"), why));
            }
        }
        Ok(())
    }

    /// The settings in words, for reports. None where nothing is processed.
    pub fn describe(&self) -> Option<String> {
        let percent = |x: f32| format!("{} %", (x * 1000.0).round() / 10.0);
        let kinds = [
            (self.resize, format!("scale {} to {}", self.resize_scale[0], self.resize_scale[1])),
            (self.blur, format!("blur {} to {} pixels", self.blur_sigma[0], self.blur_sigma[1])),
            (self.sharpen, format!("sharpening {} to {}", self.sharpen_amount[0], self.sharpen_amount[1])),
            (self.noise, format!("noise {} to {} levels", self.noise_sigma[0], self.noise_sigma[1])),
            (self.colour, format!("colours within {}", percent(self.colour_strength))),
            (self.jpeg, format!("JPEG quality {} to {}", self.jpeg_quality[0], self.jpeg_quality[1])),
        ];
        let kinds = kinds.into_iter().filter(|k| k.0 > 0.0).map(|(share, what)| format!("{what} in {}", percent(share)));
        let kinds: Vec<String> = kinds.collect();
        self.on().then(|| {
            format!(
                "{} of the pictures before forging, {} after it, genuine and forged alike: {}",
                percent(self.before),
                percent(self.after),
                kinds.join(", ")
            )
        })
    }
}

/// Change of colours: contrast about mid grey after gamma, an offset, then the distance from the pixel's own grey.
#[derive(Clone, Debug, PartialEq)]
struct Colour {
    /// Grey levels of 255.
    brightness: f32,
    contrast: f32,
    gamma: f32,
    saturation: f32,
}

/// One drawn chain; what is None is left out.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Chain {
    scale: Option<f32>,
    blur: Option<f32>,
    sharpen: Option<f32>,
    /// Deviation, and whether all channels get the same noise.
    noise: Option<(f32, bool)>,
    colour: Option<Colour>,
    /// Quality, and whether chroma has half the resolution.
    jpeg: Option<(u8, bool)>,
}

/// Side of a block of JPEG with 4:2:0, pixels.
const BLOCK: usize = 16;

impl Chain {
    /// Draws a chain that is applied to `share` of the pictures. The number of draws is the same whatever they say.
    pub fn draw(c: &AugmentConfig, share: f32, rng: &mut Rng) -> Chain {
        let on = rng.unit() < share;
        let mut kind = |share: f32| rng.unit() < share && on;
        let [resize, blur, sharpen, noise, colour, jpeg] =
            [c.resize, c.blur, c.sharpen, c.noise, c.colour, c.jpeg].map(&mut kind);
        let mut within = |[lo, hi]: [f32; 2]| rng.range(lo, hi);
        let [least, most] = c.resize_scale;
        let scale = least * (most / least).powf(within([0.0, 1.0]));
        let sigma = within(c.blur_sigma);
        let amount = within(c.sharpen_amount);
        let deviation = within(c.noise_sigma);
        let s = c.colour_strength;
        let [brightness, contrast, gamma, saturation] = [(); 4].map(|()| within([-s, s]));
        let quality = within([c.jpeg_quality[0] as f32, c.jpeg_quality[1] as f32 + 1.0]);
        let quality = (quality as u8).min(c.jpeg_quality[1]);
        let (grey, half) = (rng.unit() < 0.5, rng.unit() < 0.5);
        let colours = Colour {
            brightness: 128.0 * brightness,
            contrast: 1.0 + contrast,
            gamma: 2f32.powf(gamma),
            saturation: 1.0 + saturation,
        };
        Chain {
            scale: resize.then_some(scale),
            blur: blur.then_some(sigma).filter(|&s| s > 0.0),
            sharpen: sharpen.then_some(amount),
            noise: noise.then_some((deviation, grey)),
            colour: colour.then_some(colours),
            jpeg: jpeg.then_some((quality, half)),
        }
    }

    /// Factor of the resizing, 1 without.
    pub fn scale(&self) -> f32 {
        self.scale.unwrap_or(1.0)
    }

    /// Whether pixels stay what they are.
    pub fn is_identity(&self) -> bool {
        *self == Chain::default()
    }

    /// The part of `n` pixels, as (first, number), that must be processed so that the `size` pixels from `at` are what they are
    /// when all are processed: neighbours, and whole blocks of JPEG counted from pixel 0.
    pub fn needed(&self, at: usize, size: usize, n: usize) -> (usize, usize) {
        // The upsampling of chroma looks at neighbouring blocks, whose pixels the Gaussians must have found all of theirs for.
        let chroma = if self.jpeg.is_some() { BLOCK } else { 0 };
        let gaussians = self.blur.map_or(0, radius) + self.sharpen.map_or(0, |_| radius(1.0));
        let grid = |x: usize| x / BLOCK * BLOCK;
        let first = grid(grid(at.saturating_sub(chroma)).saturating_sub(gaussians));
        let end = grid(grid(at + size + chroma + BLOCK - 1) + gaussians + BLOCK - 1);
        (first, end.min(n) - first)
    }

    /// The picture after every step but resizing, which the caller does. `rng` draws the noise.
    pub fn apply(&self, picture: Picture, rng: &mut Rng) -> Result<Picture> {
        let mut p = picture;
        if let Some(sigma) = self.blur {
            p = blurred(&p, sigma);
        }
        if let Some(amount) = self.sharpen {
            let soft = blurred(&p, 1.0);
            p.rgb.iter_mut().zip(&soft.rgb).for_each(|(v, &s)| *v = to_u8(*v as f32 + amount * (*v as f32 - s as f32)));
        }
        if let Some((sigma, grey)) = self.noise {
            for pixel in p.rgb.chunks_exact_mut(3) {
                let first = rng.normal();
                for (c, v) in pixel.iter_mut().enumerate() {
                    let n = if grey || c == 0 { first } else { rng.normal() };
                    *v = to_u8(*v as f32 + sigma * n);
                }
            }
        }
        if let Some(c) = &self.colour {
            c.apply(&mut p);
        }
        match self.jpeg {
            Some((quality, half)) => recompressed(&p, quality, half),
            None => Ok(p),
        }
    }
}

impl Colour {
    fn apply(&self, p: &mut Picture) {
        let curve: [f32; 256] = std::array::from_fn(|v| {
            let v = 255.0 * (v as f32 / 255.0).powf(self.gamma);
            self.contrast * (v - 128.0) + 128.0 + self.brightness
        });
        for pixel in p.rgb.chunks_exact_mut(3) {
            let [r, g, b] = [0, 1, 2].map(|c| curve[pixel[c] as usize]);
            let grey = 0.299 * r + 0.587 * g + 0.114 * b;
            pixel.iter_mut().zip([r, g, b]).for_each(|(v, x)| *v = to_u8(grey + self.saturation * (x - grey)));
        }
    }
}

fn recompressed(p: &Picture, quality: u8, half: bool) -> Result<Picture> {
    Ok(Picture { w: p.w, h: p.h, rgb: jpeg_round_trip(&p.rgb, (p.w, p.h), quality, half)? })
}

/// Pixels to each side that a Gaussian of that deviation takes in.
fn radius(sigma: f32) -> usize {
    (3.0 * sigma).ceil() as usize
}

/// Separable Gaussian; the border is repeated.
fn blurred(p: &Picture, sigma: f32) -> Picture {
    let r = radius(sigma);
    if r == 0 {
        return p.clone();
    }
    let mut kernel: Vec<f32> = (0..=2 * r).map(|i| (-0.5 * ((i as f32 - r as f32) / sigma).powi(2)).exp()).collect();
    let sum: f32 = kernel.iter().sum();
    kernel.iter_mut().for_each(|k| *k /= sum);
    let (w, h) = (p.w, p.h);
    // Rows with a repeated border, then columns: the inner loops are sums of shifted rows, which vectorise.
    let mut across = vec![0f32; w * h * 3];
    let mut padded = vec![0f32; (w + 2 * r) * 3];
    for y in 0..h {
        let row = &p.rgb[y * w * 3..][..w * 3];
        for (x, pixel) in padded.chunks_exact_mut(3).enumerate() {
            let from = x.saturating_sub(r).min(w - 1) * 3;
            (0..3).for_each(|c| pixel[c] = row[from + c] as f32);
        }
        let out = &mut across[y * w * 3..][..w * 3];
        for (i, k) in kernel.iter().enumerate() {
            out.iter_mut().zip(&padded[i * 3..]).for_each(|(o, v)| *o += k * v);
        }
    }
    let mut out = Picture::new(w, h);
    let mut sum = vec![0f32; w * 3];
    for y in 0..h {
        sum.fill(0.0);
        for (i, k) in kernel.iter().enumerate() {
            let from = (y + i).saturating_sub(r).min(h - 1);
            sum.iter_mut().zip(&across[from * w * 3..][..w * 3]).for_each(|(s, v)| *s += k * v);
        }
        out.rgb[y * w * 3..][..w * 3].iter_mut().zip(&sum).for_each(|(o, &v)| *o = to_u8(v));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::rng::stream;
    use crate::data::procedural;

    fn psnr(a: &Picture, b: &Picture) -> f64 {
        assert_eq!((a.w, a.h), (b.w, b.h));
        let mse = a.rgb.iter().zip(&b.rgb).map(|(a, b)| (a.abs_diff(*b) as f64).powi(2)).sum::<f64>() / a.rgb.len() as f64;
        10.0 * (255.0 * 255.0 / mse).log10()
    }

    fn rng() -> Rng {
        Rng::new(1, stream("test"), 0)
    }

    /// Each kind alone, at a strength that shows.
    fn alone() -> Vec<(&'static str, Chain)> {
        let colour = Colour { brightness: 9.0, contrast: 1.1, gamma: 0.9, saturation: 1.3 };
        vec![
            ("blur", Chain { blur: Some(0.8), ..Chain::default() }),
            ("sharpen", Chain { sharpen: Some(0.8), ..Chain::default() }),
            ("noise", Chain { noise: Some((3.0, false)), ..Chain::default() }),
            ("grey noise", Chain { noise: Some((3.0, true)), ..Chain::default() }),
            ("colour", Chain { colour: Some(colour), ..Chain::default() }),
            ("jpeg", Chain { jpeg: Some((75, false)), ..Chain::default() }),
            ("jpeg 4:2:0", Chain { jpeg: Some((75, true)), ..Chain::default() }),
        ]
    }

    #[test]
    fn jpeg_costs_what_its_quality_says() {
        let p = procedural::photograph(3, 1, 96);
        let at = |quality, half| psnr(&recompressed(&p, quality, half).unwrap(), &p);
        for half in [false, true] {
            let all = [30, 60, 75, 90, 98].map(|q| at(q, half));
            assert!(all.windows(2).all(|w| w[0] < w[1]), "{half}: {all:?}");
            assert!(all[0] > 20.0 && all[0] < 36.0 && all[4] > if half { 30.0 } else { 38.0 }, "{half}: {all:?}");
        }
        assert!(at(98, true) < at(98, false), "4:2:0 keeps less than 4:4:4");
    }

    #[test]
    fn every_kind_changes_the_picture_and_none_ruins_it() {
        let p = procedural::photograph(3, 2, 64);
        for (name, chain) in alone() {
            let out = chain.apply(p.clone(), &mut rng()).unwrap();
            let far = psnr(&out, &p);
            assert!((15.0..50.0).contains(&far), "{name}: {far} dB");
            assert_eq!(out, chain.apply(p.clone(), &mut rng()).unwrap(), "{name} is not repeatable");
        }
        let same = Chain::default();
        assert!(same.is_identity() && same.apply(p.clone(), &mut rng()).unwrap() == p);
        // Blur takes detail away and sharpening adds some; grey noise has no colour.
        let detail = |p: &Picture| p.rgb.windows(4).map(|w| w[0].abs_diff(w[3]) as u64).sum::<u64>();
        let done = |name: &str| alone().into_iter().find(|a| a.0 == name).unwrap().1.apply(p.clone(), &mut rng()).unwrap();
        assert!(detail(&done("blur")) < detail(&p) && detail(&done("sharpen")) > detail(&p));
        let flat = Picture::from_fn(32, 32, |_, _| [100; 3]);
        let chain = |grey| Chain { noise: Some((3.0, grey)), ..Chain::default() };
        let coloured = |p: &Picture| p.rgb.chunks(3).any(|v| v[0] != v[1] || v[1] != v[2]);
        assert!(!coloured(&chain(true).apply(flat.clone(), &mut rng()).unwrap()));
        assert!(coloured(&chain(false).apply(flat, &mut rng()).unwrap()));
    }

    /// A window needs only its neighbourhood to be processed: the same bytes as when the whole picture is.
    #[test]
    fn a_part_is_processed_as_the_whole_is() {
        let p = procedural::photograph(3, 3, 150);
        let colour = Colour { brightness: 9.0, contrast: 1.1, gamma: 0.9, saturation: 1.3 };
        let all = Chain { blur: Some(1.2), sharpen: Some(1.0), colour: Some(colour), jpeg: Some((70, true)), ..Chain::default() };
        for (name, chain) in alone().into_iter().chain([("all", all)]).filter(|c| c.1.noise.is_none()) {
            let whole = chain.apply(p.clone(), &mut rng()).unwrap();
            for (x, y) in [(0, 0), (37, 51), (86, 86), (86, 3)] {
                let ((x0, w), (y0, h)) = (chain.needed(x, 64, p.w), chain.needed(y, 64, p.h));
                let part = chain.apply(p.crop(x0, y0, w, h), &mut rng()).unwrap();
                assert_eq!((part.w, part.h), (w, h));
                assert!(part.crop(x - x0, y - y0, 64, 64) == whole.crop(x, y, 64, 64), "{name} at {x}, {y}");
            }
        }
    }

    #[test]
    fn chains_come_as_often_as_they_should_and_within_their_ranges() {
        let c = AugmentConfig { after: 0.5, ..AugmentConfig::default() };
        let all: Vec<Chain> = (0..2000).map(|i| Chain::draw(&c, c.after, &mut Rng::new(1, stream("chain"), i))).collect();
        let share = |f: &dyn Fn(&Chain) -> bool| all.iter().filter(|c| f(c)).count() as f32 / 2000.0;
        for (found, wanted) in [
            (share(&|c| c.jpeg.is_some()), 0.35),
            (share(&|c| c.jpeg.is_some_and(|j| j.1)), 0.175),
            (share(&|c| c.scale.is_some()), 0.15),
            (share(&|c| c.blur.is_some()), 0.075),
            (share(&|c| c.sharpen.is_some()), 0.1),
            (share(&|c| c.noise.is_some()), 0.1),
            (share(&|c| c.colour.is_some()), 0.15),
        ] {
            assert!((found - wanted).abs() < 0.04, "{found}, not {wanted}");
        }
        let qualities: Vec<u8> = all.iter().filter_map(|c| Some(c.jpeg?.0)).collect();
        assert_eq!((qualities.iter().min(), qualities.iter().max()), (Some(&60), Some(&98)));
        assert!(all.iter().all(|c| (0.5..=1.5).contains(&c.scale())));
        assert!((0..100).all(|i| Chain::draw(&c, 0.0, &mut Rng::new(1, stream("chain"), i)).is_identity()));
    }

    #[test]
    fn impossible_values_name_their_key() {
        let d = AugmentConfig::default;
        for (key, c) in [
            ("augment.before", AugmentConfig { before: 1.5, ..d() }),
            ("augment.after", AugmentConfig { after: f32::NAN, ..d() }),
            ("augment.jpeg", AugmentConfig { jpeg: -0.1, ..d() }),
            ("augment.jpeg_quality", AugmentConfig { jpeg_quality: [90, 60], ..d() }),
            ("augment.jpeg_quality", AugmentConfig { jpeg_quality: [0, 60], ..d() }),
            ("augment.resize_scale", AugmentConfig { resize_scale: [0.0, 1.0], ..d() }),
            ("augment.blur_sigma", AugmentConfig { blur_sigma: [0.0, 11.0], ..d() }),
            ("augment.sharpen_amount", AugmentConfig { sharpen_amount: [2.0, 1.0], ..d() }),
            ("augment.noise_sigma", AugmentConfig { noise_sigma: [-1.0, 1.0], ..d() }),
            ("augment.colour_strength", AugmentConfig { colour_strength: 2.0, ..d() }),
        ] {
            let e = c.check().expect_err(key).to_string();
            assert!(e.starts_with(key) && e.contains("use "), "{key}: {e}");
        }
        d().check().unwrap();
        assert!(!d().on() && d().describe().is_none());
        assert!(AugmentConfig { after: 0.5, ..d() }.describe().unwrap().contains("JPEG quality 60 to 98 in 70 %"));
    }
}
