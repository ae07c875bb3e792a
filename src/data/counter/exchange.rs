//! Exchange of the region, both ways: the fake's inside on its original's outside (fake), the original's inside on the fake's outside
//! (genuine).
//!
//! What lies outside of the region then says nothing of the label. What lies inside does: there a fake carries the trace and a genuine
//! picture does not, so whoever reads the trace in the region alone is right on every picture.

use super::config::CounterConfig;
use super::kind::Counterexample;
use super::pair::Pair;
use crate::core::rng::Rng;
use crate::data::picture::Picture;

pub struct Exchange;

impl Exchange {
    /// The fake's inside on its original's outside: a fake.
    pub fn exchanged(pair: &Pair) -> Picture {
        pair.composite(&pair.fake, &pair.before)
    }

    /// The original's inside on the fake's outside: no pixel of it was forged.
    pub fn reversed(pair: &Pair) -> Picture {
        pair.composite(&pair.before, &pair.fake)
    }
}

impl Counterexample for Exchange {
    fn name(&self) -> &'static str {
        "exchange"
    }
    fn source(&self) -> &'static str {
        "after INP-X, arXiv 2602.00192, 2026, which exchanges in tests"
    }
    fn share(&self, config: &CounterConfig) -> f32 {
        config.exchange
    }
    fn needs_original(&self) -> bool {
        true
    }
    fn fake(&self, pair: &Pair, _: &CounterConfig, _: &mut Rng) -> Picture {
        Exchange::exchanged(pair)
    }
    fn genuine(&self, _: &Picture, pair: &Pair, _: &CounterConfig) -> Picture {
        Exchange::reversed(pair)
    }
}
