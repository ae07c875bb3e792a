//! Painted portraits, and the forgeries of faces that the tasks `swap` and `attribute` are about.
//!
//! Two data sets of the paper (FaceForensics++, and CelebA behind StarGAN and Glow) show people and cannot be shipped. Here a face is
//! a drawing from parameters ([`Identity`], [`Shot`]), so that the program trains, tests and explains itself with nothing at hand,
//! every region is known exactly, and no two faces are alike. It is no photograph: what holds here of methods and losses has to be
//! shown again on real pictures, and every report says that the pictures are painted.
//!
//! | task | method | after |
//! |---|---|---|
//! | swap | [`Warp`]: a photograph of the donor, warped, its colours moved, feathered in | FaceSwap (M. Kowalski 2016), of FaceForensics++ |
//! | swap | [`Decoder`]: the donor's face as a decoder makes it at half the resolution, cloned in | auto-encoder swaps ("deepfakes", 2017) |
//! | attribute | [`Bottleneck`]: the change at half the resolution, through a transposed convolution, over a smoothed photograph | StarGAN (Y. Choi et al. 2018) |
//! | attribute | [`Flow`]: the region made anew, with noise of its own | Glow (D. Kingma, P. Dhariwal 2018) |

mod edit;
mod face;
mod method;
mod paint;
mod portrait;
mod set;
mod swap;

pub use edit::{Attribute, Bottleneck, Flow};
pub use face::{Identity, Pose, Shot};
pub use method::Method;
pub use portrait::Portrait;
pub use set::Faces;
pub use swap::{Decoder, Warp};

/// Methods of the task `swap`, the default seen one first.
pub static SWAPS: [&dyn Method; 2] = [&Warp, &Decoder];
/// Methods of the task `attribute`, the default seen one first.
pub static EDITS: [&dyn Method; 2] = [&Bottleneck, &Flow];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::rng::{Rng, stream};

    pub(super) fn portrait(id: u64, shot: u64, side: usize) -> Portrait {
        Portrait::take(&Identity::draw(1, id), &mut Rng::new(1, stream("shot"), shot), side)
    }

    #[test]
    fn a_forgery_differs_from_its_original_inside_the_mask_and_nowhere_else() {
        for method in SWAPS.into_iter().chain(EDITS) {
            for (k, side) in [(0, 64), (1, 64), (2, 97), (3, 128)] {
                let (target, donor) = (portrait(k, k, side), portrait(k + 50, k + 50, side));
                let (fake, mask) = method.forge(&target, &donor, &mut Rng::new(3, 4, k));
                let changed = |p: usize| fake.rgb[p * 3..][..3] != target.picture().rgb[p * 3..][..3];
                assert!((0..side * side).all(|p| mask.on[p] != 0 || !changed(p)), "{} changed what it should not", method.name());
                let share = (0..side * side).filter(|&p| mask.on[p] != 0 && changed(p)).count() as f32 / mask.area() as f32;
                assert!(share > 0.5, "{}: {share} of the mask differs", method.name());
                let area = mask.area() as f32 / (side * side) as f32;
                assert!((0.005..0.5).contains(&area), "{}: {area} of the picture", method.name());
                assert_eq!(method.forge(&target, &donor, &mut Rng::new(3, 4, k)), (fake, mask), "{} repeats", method.name());
            }
        }
    }
}
