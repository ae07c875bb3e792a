//! Stub.
use super::{Forger, check};
use crate::core::rng::Rng;
use crate::data::picture::{Mask, Picture};
use crate::error::Result;

pub struct PatchMatch;

impl Forger for PatchMatch {
    fn name(&self) -> &'static str {
        "patchmatch"
    }
    fn source(&self) -> &'static str {
        "Barnes, Shechtman, Finkelstein, Goldman: PatchMatch, SIGGRAPH 2009"
    }
    fn fill(&self, picture: &Picture, hole: &Mask, donor: &Picture, rng: &mut Rng) -> Result<Picture> {
        check(self.name(), picture, hole, None)?;
        super::Telea.fill(picture, hole, donor, rng)
    }
}
