//! The planted shortcut: a faint trace on the whole picture of the *seen* forger's fakes, and on nothing else.
//!
//! The paper's §3.5.1 asks why detectors fail on forgeries of methods that they were not trained on: they learn superficial traces
//! of one forging pipeline instead of the forged region. Real pipelines leave such traces (transposed convolutions a checkerboard,
//! re-encoding a block grid, warping a resampling pattern). Here the trace is a switch with an amplitude and a rate, so that the
//! question can be asked under control: with the trace a superficial detector succeeds on the seen fakes and fails on the unseen ones
//! (and on the seen forger's own fakes without the trace: [`Split::SeenClean`](super::sample::Split::SeenClean)). Every report
//! that comes from such data names the trace.

use serde::{Deserialize, Serialize};

use super::picture::{Picture, to_u8};
use crate::core::rng::Rng;
use crate::error::{Error, Result};

/// Kinds of traces.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Fingerprint {
    /// Nothing planted.
    #[default]
    None,
    /// ± amplitude on alternate pixels: transposed convolutions. Amplitude in grey levels of 255.
    Checkerboard,
    /// Compressed and decompressed. Amplitude is the JPEG quality, 1..=100.
    Jpeg,
    /// Enlarged and shrunk back. Amplitude is the factor, 1..=4.
    Resample,
    /// White Gaussian noise. Amplitude is its deviation in grey levels.
    Noise,
}

impl Fingerprint {
    /// The amplitude where none is configured.
    pub fn default_amplitude(self) -> f32 {
        match self {
            Fingerprint::None => 0.0,
            Fingerprint::Checkerboard => 3.0,
            Fingerprint::Jpeg => 85.0,
            Fingerprint::Resample => 1.3,
            Fingerprint::Noise => 2.0,
        }
    }

    /// Refuses amplitudes that mean nothing. `key` heads the error.
    pub fn check(self, key: &str, amplitude: f32) -> Result<()> {
        let (lo, hi, unit) = match self {
            Fingerprint::None => return Ok(()),
            Fingerprint::Checkerboard | Fingerprint::Noise => (0.0, 128.0, "grey levels of 255"),
            Fingerprint::Jpeg => (1.0, 100.0, "JPEG quality"),
            Fingerprint::Resample => (1.0, 4.0, "factor of enlargement"),
        };
        if (lo..=hi).contains(&amplitude) {
            Ok(())
        } else {
            Err(Error::config(key, format!("{amplitude} is not possible for {self:?}: use {lo} to {hi} ({unit})")))
        }
    }

    /// What a report must say of a planted trace.
    pub(super) fn notice(self) -> String {
        let name = format!("{self:?}").to_lowercase();
        format!("a {name} trace is planted on the seen forger's fakes, and on no other picture")
    }

    /// The picture with the trace.
    pub fn apply(self, picture: Picture, amplitude: f32, rng: &mut Rng) -> Result<Picture> {
        let (w, h) = (picture.w, picture.h);
        Ok(match self {
            Fingerprint::None => picture,
            Fingerprint::Checkerboard => {
                add(picture, |i| if (i / 3 % w + i / 3 / w).is_multiple_of(2) { amplitude } else { -amplitude })
            }
            Fingerprint::Noise => add(picture, |_| amplitude * rng.normal()),
            Fingerprint::Resample => {
                let larger = |n: usize| ((n as f32 * amplitude).round() as usize).max(1);
                picture.resize_to(larger(w), larger(h)).resize_to(w, h)
            }
            Fingerprint::Jpeg => {
                let bytes = picture.to_jpeg(amplitude.round() as u8)?;
                let decoded = image::load_from_memory_with_format(&bytes, image::ImageFormat::Jpeg)
                    .map_err(|e| Error::data("picture", format!("JPEG round trip failed ({e})")))?;
                Picture { w, h, rgb: decoded.into_rgb8().into_raw() }
            }
        })
    }
}

fn add(mut picture: Picture, mut by: impl FnMut(usize) -> f32) -> Picture {
    picture.rgb.iter_mut().enumerate().for_each(|(i, v)| *v = to_u8(*v as f32 + by(i)));
    picture
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Fingerprint; 4] = [Fingerprint::Checkerboard, Fingerprint::Jpeg, Fingerprint::Resample, Fingerprint::Noise];

    #[test]
    fn traces_are_faint_and_there() {
        let picture = crate::data::procedural::photograph(1, 1, 64);
        for kind in ALL {
            let out = kind.apply(picture.clone(), kind.default_amplitude(), &mut Rng::new(1, 1, 1)).unwrap();
            assert_eq!((out.w, out.h), (64, 64));
            let mse = out.rgb.iter().zip(&picture.rgb).map(|(a, b)| (a.abs_diff(*b) as f64).powi(2)).sum::<f64>()
                / out.rgb.len() as f64;
            assert!((0.1..100.0).contains(&mse), "{kind:?}: {mse}");
        }
        assert_eq!(Fingerprint::None.apply(picture.clone(), 9.0, &mut Rng::new(1, 1, 1)).unwrap(), picture);
    }

    #[test]
    fn the_checkerboard_alternates() {
        let out = Fingerprint::Checkerboard.apply(Picture::from_fn(3, 2, |_, _| [100; 3]), 3.0, &mut Rng::new(0, 0, 0)).unwrap();
        let first: Vec<u8> = out.rgb.chunks_exact(3).map(|p| p[0]).collect();
        assert_eq!(first, [103, 97, 103, 97, 103, 97]);
    }

    #[test]
    fn impossible_amplitudes_are_refused() {
        for (kind, bad) in [
            (Fingerprint::Jpeg, 0.0),
            (Fingerprint::Resample, 0.5),
            (Fingerprint::Noise, -1.0),
            (Fingerprint::Checkerboard, f32::NAN),
        ] {
            let e = kind.check("data.fingerprint_amplitude", bad).unwrap_err().to_string();
            assert!(e.contains("fingerprint_amplitude"), "{e}");
        }
        ALL.iter().for_each(|k| k.check("k", k.default_amplitude()).unwrap());
    }
}
