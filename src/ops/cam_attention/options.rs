//! What the paper leaves open in equations 7 to 9, as the op's fields.

use serde::{Deserialize, Serialize};

/// Which units weigh into the map.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Units {
    /// The fake half (eq. 8).
    F,
    All,
}

/// The weight α of a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Weight {
    /// |z| (eq. 8).
    Abs,
    /// z: what raises |z| in the unit's own sign.
    Signed,
    /// sign(z).
    Sign,
}

/// How a map is brought to the scale of the mask. The paper does not say; see `docs/ambiguities.md`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Norm {
    /// Literal eq. 8.
    None,
    /// Divided by Σ|α|.
    Weight,
    /// (m − min) / (max − min).
    Minmax,
    /// max(m, 0) / max.
    ReluMax,
    /// σ(t · (m − mean) / std) with the temperature t.
    Sigmoid,
    /// σ(t · m).
    SigmoidRaw,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reduce {
    Mean,
    Sum,
}

#[derive(Debug, Clone, PartialEq)]
pub struct CamAttention {
    pub units: Units,
    pub weight: Weight,
    pub norm: Norm,
    /// ReLU on m before the norm.
    pub relu: bool,
    pub align_corners: bool,
    /// Treat minimum and maximum as constants.
    pub minmax_stopgrad: bool,
    pub temperature: f64,
    pub pixel_reduce: Reduce,
    /// No gradient through α = |z|.
    pub detach_z: bool,
}

impl Default for CamAttention {
    fn default() -> Self {
        CamAttention {
            units: Units::F,
            weight: Weight::Abs,
            norm: Norm::Minmax,
            relu: false,
            align_corners: false,
            minmax_stopgrad: false,
            temperature: 1.0,
            pixel_reduce: Reduce::Mean,
            detach_z: false,
        }
    }
}

impl CamAttention {
    /// The units that weigh into the map, of `d`.
    pub(super) fn range(&self, d: usize) -> std::ops::Range<usize> {
        match self.units {
            Units::F => d / 2..d,
            Units::All => 0..d,
        }
    }
}
