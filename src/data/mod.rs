//! Pictures, masks, forgeries and data sets.
//!
//! Everything here is 8-bit sRGB until a batch is filled: a genuine picture and a forged one go through the same crop, the same
//! antialiased resize and the same rounding, so that a detector can only learn from the forgery itself (and from the planted
//! trace of [`fingerprint`], if one was asked for).

pub mod augment;
pub mod budget;
pub mod cache;
pub mod check;
mod class;
mod codec;
mod colour;
pub mod config;
mod convert;
pub mod counter;
mod counterexamples;
pub mod dataset;
pub mod duplicates;
pub mod export;
pub mod export_whole;
pub mod faces;
pub mod fingerprint;
pub mod folder;
pub mod forge;
mod frames;
mod held;
pub mod hole;
mod jpeg;
pub mod layout;
pub mod leak;
pub mod made;
pub mod manifest;
pub mod mask;
mod meaning;
pub mod note;
pub mod picture;
pub mod pictures;
pub mod png;
pub mod procedural;
pub mod provenance;
pub mod sample;
pub mod source;
pub mod sums;
pub mod task;
pub mod walk;
pub mod whole;
mod window;

pub use augment::AugmentConfig;
pub use config::DataConfig;
pub use counter::CounterConfig;
pub use dataset::Dataset;
pub use picture::{Mask, Picture};
pub use provenance::Provenance;
pub use sample::{Batch, MaskOrigin, Sample, Split};
pub use task::Task;
pub use whole::{Whole, WholeConfig};
