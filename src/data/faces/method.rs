//! What every forgery of a face answers.

use super::portrait::Portrait;
use crate::core::rng::Rng;
use crate::data::picture::{Mask, Picture};

/// One way to forge a portrait.
pub trait Method: Sync {
    /// Name in configs, folders and tables.
    fn name(&self) -> &'static str;
    /// What it is modelled after.
    fn source(&self) -> &'static str;
    /// The forged picture, and the mask of all pixels that the method may have changed: outside it the picture is `target`'s to the
    /// byte. `donor` shows another person and is not looked at by methods that edit.
    fn forge(&self, target: &Portrait, donor: &Portrait, rng: &mut Rng) -> (Picture, Mask);
}
