//! What a forger is, and the checks that all of them start with.

use crate::core::rng::Rng;
use crate::data::picture::{Mask, Picture};
use crate::error::{Error, Result};

/// One way of forging.
pub trait Forger: Sync {
    /// Name in configs, folders and tables.
    fn name(&self) -> &'static str;
    /// The paper that the forger follows.
    fn source(&self) -> &'static str;
    /// Whether `fill` looks at the donor. If not, any picture may be passed as the donor, such as the picture itself.
    fn needs_donor(&self) -> bool {
        false
    }
    /// How far around the bounding box of a hole, whose longer side is `side` pixels, `fill` looks: what lies further away does
    /// not change the result (or, for a forger that searches the picture, is not searched).
    fn reach(&self, _side: usize) -> usize {
        16
    }
    /// The longest side of a hole in pixels that is filled in reasonable time and memory. Larger ones are filled all the same by
    /// `fill`; sets of pictures at their own size leave them out, and say so.
    fn largest_hole(&self) -> usize {
        usize::MAX
    }
    /// The picture with its hole filled. `donor` has the picture's size. Pixels outside the hole are returned as they are. A hole
    /// of another size, an empty hole, or one that leaves nothing known is an error.
    fn fill(&self, picture: &Picture, hole: &Mask, donor: &Picture, rng: &mut Rng) -> Result<Picture>;
}

/// Refuses a hole or a donor that [`Forger::fill`] cannot use. `op` is the forger's name and heads the error.
pub(super) fn check(op: &'static str, picture: &Picture, hole: &Mask, donor: Option<&Picture>) -> Result<()> {
    let fail = |why: String| Err(Error::Shape { op, at: "forge".into(), why });
    let area = hole.area();
    if (hole.w, hole.h) != (picture.w, picture.h) {
        fail(format!("the hole is {} x {} pixels, the picture {} x {}; make them equal", hole.w, hole.h, picture.w, picture.h))
    } else if let Some(d) = donor.filter(|d| (d.w, d.h) != (picture.w, picture.h)) {
        fail(format!("the donor is {} x {} pixels, the picture {} x {}; make them equal", d.w, d.h, picture.w, picture.h))
    } else if area == 0 {
        fail("the hole is empty: there is nothing to forge; make it larger (data.hole, data.hole_share)".into())
    } else if area == hole.on.len() {
        fail("the hole covers the whole picture: nothing is known to fill it from; make it smaller (data.hole_share)".into())
    } else {
        Ok(())
    }
}
