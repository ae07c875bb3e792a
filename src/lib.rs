//! lae-engine: a minimal autodiff engine and the Locality-Aware AutoEncoder built on it.

pub mod core;
pub mod data;
pub mod error;
pub mod host;
pub mod metrics;
pub mod report;

pub use error::{Error, Result};
