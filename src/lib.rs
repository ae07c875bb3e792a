//! lae-engine: a minimal autodiff engine and the Locality-Aware AutoEncoder built on it.

// Formulas index with brackets (`y[n,p,q,k]`), which rustdoc takes for links.
#![allow(rustdoc::broken_intra_doc_links)]

pub mod cli;
pub mod core;
pub mod data;
pub mod detectors;
pub mod device;
pub mod error;
pub mod host;
pub mod metrics;
pub mod models;
pub mod nn;
pub mod ops;
pub mod profile;
pub mod ptx;
pub mod report;
pub mod train;

pub use error::{Error, Result};
