//! Forgers: each fills the hole of a picture in its own way, and leaves every pixel outside the hole exactly as it was.
//!
//! All are hand-written from the papers that their files cite, work on 8-bit sRGB values as the common tools do, and round once at
//! the end. A forgery therefore differs from the genuine picture only inside the mask.
//!
//! To add one: write `src/data/forge/NAME.rs` with a [`Forger`], and add its module, its re-export and its word in [`FORGERS`] here.
//! The tests below run every forger of that list.

mod biharmonic;
mod cholesky;
mod forger;
mod harmonic;
mod multigrid;
mod patchmatch;
mod poisson;
mod telea;
mod unknowns;
mod window;

pub use biharmonic::Biharmonic;
pub use forger::Forger;
pub use harmonic::Harmonic;
pub use patchmatch::PatchMatch;
pub use poisson::Poisson;
pub use telea::Telea;
pub use window::{Window, fill_window, needed};

use crate::error::{Error, Result};

/// All forgers, the default seen one first.
pub static FORGERS: [&dyn Forger; 5] = [&Telea, &Harmonic, &Biharmonic, &PatchMatch, &Poisson];

/// The forger of that name. `key` is the config key that asked for it and heads the error.
pub fn forger(key: &str, name: &str) -> Result<&'static dyn Forger> {
    FORGERS.iter().copied().find(|f| f.name() == name).ok_or_else(|| {
        let names: Vec<_> = FORGERS.iter().map(|f| f.name()).collect();
        let near = names.iter().max_by(|a, b| strsim::jaro_winkler(a, name).total_cmp(&strsim::jaro_winkler(b, name)));
        let hint =
            near.filter(|n| strsim::jaro_winkler(n, name) > 0.7).map(|n| format!("did you mean {n:?}? ")).unwrap_or_default();
        Error::config(key, format!("no forger {name:?}; {hint}the forgers are {}", names.join(", ")))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::rng::{Rng, stream};
    use crate::data::hole::Hole;
    use crate::data::picture::{Mask, Picture, to_u8};

    pub(super) fn scene(w: usize, h: usize, seed: u64) -> Picture {
        let mut rng = Rng::new(seed, stream("scene"), 0);
        let (a, b) = (rng.range(0.05, 0.3), rng.range(0.05, 0.3));
        Picture::from_fn(w, h, |x, y| {
            let v = 120.0 + 60.0 * (a * x as f32).sin() + 50.0 * (b * y as f32 + 0.1 * x as f32).cos() + rng.range(-8.0, 8.0);
            [to_u8(v), to_u8(255.0 - v), to_u8(v * 0.5 + 40.0)]
        })
    }

    #[test]
    fn names_are_unique_and_misspellings_are_answered() {
        for (i, f) in FORGERS.iter().enumerate() {
            assert!(FORGERS[..i].iter().all(|g| g.name() != f.name()));
            assert_eq!(forger("data.seen", f.name()).unwrap().name(), f.name());
            assert!(f.source().contains("20"), "{} cites a year", f.name());
        }
        let e = forger("data.seen", "tela").err().unwrap().to_string();
        assert!(e.contains("data.seen") && e.contains("did you mean \"telea\""), "{e}");
        assert!(forger("data.seen", "xyz").err().unwrap().to_string().contains("poisson"));
    }

    #[test]
    fn the_outside_stays_and_the_inside_changes() {
        for f in FORGERS {
            for (w, h) in [(48, 48), (40, 23), (17, 50), (75, 75)] {
                let (picture, donor) = (scene(w, h, 1), scene(w, h, 2));
                for hole in [Hole::Central, Hole::Rect, Hole::Stroke] {
                    for i in 0..3 {
                        let mask = hole.draw(w, h, (0.05, 0.5), &mut Rng::new(5, stream("hole"), i));
                        let out = f.fill(&picture, &mask, &donor, &mut Rng::new(1, 2, i)).unwrap();
                        assert_eq!((out.w, out.h), (w, h));
                        for (p, &on) in mask.on.iter().enumerate() {
                            assert!(
                                on != 0 || out.rgb[p * 3..][..3] == picture.rgb[p * 3..][..3],
                                "{} changed pixel {p}",
                                f.name()
                            );
                        }
                        assert_ne!(out, picture, "{} did nothing", f.name());
                        let again = f.fill(&picture, &mask, &donor, &mut Rng::new(1, 2, i)).unwrap();
                        assert_eq!(out, again, "{} is not repeatable", f.name());
                    }
                }
            }
        }
    }

    /// Holes at the border, in a corner, all but one pixel, and pictures of one row.
    #[test]
    fn awkward_holes() {
        for f in FORGERS {
            for (w, h) in [(12, 9), (9, 1), (1, 9), (2, 1)] {
                let (picture, donor) = (scene(w, h, 3), scene(w, h, 4));
                let holes: [&dyn Fn(usize, usize) -> bool; 5] = [
                    &|x, y| x < w.div_ceil(2) && y < h.div_ceil(2) && (w > 1 || y < h / 2),
                    &|x, y| (x, y) != (0, 0),
                    &|x, y| (x, y) != (w - 1, h - 1),
                    &|x, y| (x + y) % 2 == 0,
                    &|x, y| x >= w / 2 && y >= h / 2,
                ];
                for on in holes {
                    let mask = Mask::from_fn(w, h, on);
                    let fails = mask.area() == 0 || mask.area() == w * h;
                    let out = f.fill(&picture, &mask, &donor, &mut Rng::new(1, 2, 3));
                    assert_eq!(out.is_err(), fails, "{} {w}x{h}", f.name());
                }
            }
        }
    }

    #[test]
    fn impossible_holes_are_errors() {
        let picture = scene(8, 8, 1);
        for f in FORGERS {
            for (mask, word) in [
                (Mask::new(8, 8), "empty"),
                (Mask::from_fn(8, 8, |_, _| true), "whole"),
                (Mask::from_fn(8, 7, |x, _| x == 3), "8 x 7"),
            ] {
                let e = f.fill(&picture, &mask, &picture, &mut Rng::new(0, 0, 0)).unwrap_err().to_string();
                assert!(e.contains(word) && e.contains(f.name()), "{e}");
            }
        }
    }
}
