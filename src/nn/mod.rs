//! Layers in the words of the paper's tables, and networks as lists of them.

pub mod layer;
pub mod weights;

pub use layer::{Layer, Mode, Net, Start};
