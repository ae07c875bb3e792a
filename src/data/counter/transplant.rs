//! Residual transplant: the trace is taken from fakes and given to genuine pictures, so that it is independent of the label.
//!
//! With a share of one half in each class P(trace | fake) = P(trace | genuine) = 1/2: no function of the trace alone is better than
//! guessing, and what the forger changed remains in every fake.

use super::config::CounterConfig;
use super::kind::Counterexample;
use super::pair::Pair;
use super::residual::Residual;
use crate::core::rng::Rng;
use crate::data::picture::Picture;

pub struct Transplant;

impl Counterexample for Transplant {
    fn name(&self) -> &'static str {
        "transplant"
    }
    fn source(&self) -> &'static str {
        "this program, docs/shortcuts.md, 2026"
    }
    fn share(&self, config: &CounterConfig) -> f32 {
        config.transplant
    }
    fn needs_original(&self) -> bool {
        true
    }
    fn fake(&self, pair: &Pair, c: &CounterConfig, _: &mut Rng) -> Picture {
        Residual::of(pair, c.fill, c.period).on(&pair.fake, -1, c.clip)
    }
    fn genuine(&self, own: &Picture, pair: &Pair, c: &CounterConfig) -> Picture {
        Residual::of(pair, c.fill, c.period).on(own, 1, c.clip)
    }
}
