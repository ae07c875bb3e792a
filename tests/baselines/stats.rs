//! StatsNet; the twin is `tests/golden/stats.py`.

use lae_engine::models::stats;

use crate::twin::Twin;

/// An eighth of the width.
#[test]
fn statsnet_equals_torch() {
    let twin = Twin::of(include_bytes!("../golden/stats.safetensors"), "stats");
    twin.agrees(1.0 / 256.0, 4900, |s, side| stats::build(s, side, 8), |s, side| stats::build(s, side, 8));
}
