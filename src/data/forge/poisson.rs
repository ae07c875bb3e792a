//! Seamless cloning: the gradients of a donor, the rim of the picture.
//!
//! P. Pérez, M. Gangnet, A. Blake, "Poisson Image Editing", SIGGRAPH 2003, eq. 7–8 and 10–11 (importing gradients): Δu = Δdonor
//! inside the hole, u = picture around it. The donor is another crop, so that the forgery has the fine texture of a genuine
//! photograph everywhere and only its content and its low frequencies are wrong: the hardest of the five to see.

use super::forger::{Forger, check};
use super::harmonic::membrane;
use super::unknowns::neighbours;
use crate::core::rng::Rng;
use crate::data::picture::{Mask, Picture};
use crate::error::Result;

pub struct Poisson;

impl Forger for Poisson {
    fn name(&self) -> &'static str {
        "poisson"
    }
    fn source(&self) -> &'static str {
        "Perez, Gangnet, Blake: Poisson Image Editing, SIGGRAPH 2003"
    }
    fn needs_donor(&self) -> bool {
        true
    }
    fn fill(&self, picture: &Picture, hole: &Mask, donor: &Picture, _: &mut Rng) -> Result<Picture> {
        check(self.name(), picture, hole, Some(donor))?;
        Ok(membrane(picture, hole, |p, c| {
            let own = donor.rgb[p * 3 + c] as f64;
            neighbours(p, picture.w, picture.h).map(|q| own - donor.rgb[q * 3 + c] as f64).sum()
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::scene;
    use super::*;

    #[test]
    fn a_picture_cloned_into_itself_is_itself() {
        let picture = scene(40, 31, 5);
        for hole in [
            Mask::from_fn(40, 31, |x, y| (10..30).contains(&x) && (8..20).contains(&y)),
            Mask::from_fn(40, 31, |x, y| x > 15 && y > 9),
        ] {
            assert_eq!(Poisson.fill(&picture, &hole, &picture, &mut Rng::new(0, 0, 0)).unwrap(), picture);
        }
    }

    /// A donor that is brighter by a constant has the same gradients.
    #[test]
    fn brightness_of_the_donor_does_not_matter() {
        let picture = Picture::from_fn(24, 24, |x, y| [(40 + (x * y) % 60) as u8; 3]);
        let mut donor = picture.clone();
        donor.rgb.iter_mut().for_each(|v| *v += 100);
        let hole = Mask::from_fn(24, 24, |x, y| (5..18).contains(&x) && (7..19).contains(&y));
        assert_eq!(Poisson.fill(&picture, &hole, &donor, &mut Rng::new(0, 0, 0)).unwrap(), picture);
    }
}
