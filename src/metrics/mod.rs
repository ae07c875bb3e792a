//! Detection and localisation metrics with bootstrap intervals.
//!
//! Fake is the positive class everywhere. Every figure comes with the interval that resampling photographs gives, and a map's
//! figures are meant to be read beside those of a [`localisation::ConstantMap`].

pub mod bootstrap;
pub mod calibration;
pub mod detection;
pub mod interval;
pub mod localisation;
pub mod platt;
pub mod rank;
pub mod reliability;
pub mod student;

pub use bootstrap::{Bootstrap, Resampled, paired_accuracy};
pub use calibration::Calibration;
pub use detection::{Change, Detection, Scored};
pub use interval::Interval;
pub use localisation::{ConstantMap, Localisation, LocalisationSet, PixelScores, RankedMap};
