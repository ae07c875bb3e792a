//! What a kind of counterexample is.

use super::config::CounterConfig;
use super::pair::Pair;
use crate::core::rng::Rng;
use crate::data::picture::Picture;

/// One way of making pictures on which a trace and the label disagree. A label never changes: a fake stays forged in its region, and
/// a genuine picture has no forged pixel.
pub trait Counterexample: Sync {
    /// Its key in the table `[counter]`.
    fn name(&self) -> &'static str;
    /// The work that it follows.
    fn source(&self) -> &'static str;
    /// The share of a class that it takes.
    fn share(&self, config: &CounterConfig) -> f32;
    /// Whether [`Pair::before`] must be the fake's own original. If not, it is a genuine picture.
    fn needs_original(&self) -> bool;
    /// What takes the place of the pair's fake.
    fn fake(&self, pair: &Pair, config: &CounterConfig, rng: &mut Rng) -> Picture;
    /// Whether genuine pictures are replaced, too.
    fn replaces_genuine(&self) -> bool {
        true
    }
    /// What takes the place of the genuine picture `own`. Asked of a kind that replaces them.
    fn genuine(&self, own: &Picture, pair: &Pair, config: &CounterConfig) -> Picture;
}
