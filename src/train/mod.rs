//! The machine that trains any detector: configuration, recorded steps, the epoch loop, checkpoints, evaluation.

pub mod annotated;
pub mod checkpoint;
pub mod config;
pub mod detector;
pub mod draw;
pub mod evaluate;
pub mod examine;
pub mod exchange;
mod fit;
pub mod full_size;
pub mod grad_cam;
pub mod inventory;
pub mod keys;
pub mod masks;
pub mod photo;
pub mod place;
pub mod recorder;
pub mod resolve;
pub mod run;
pub mod scan;
pub mod score;
pub mod select;
pub mod summary;
mod wait;

pub use config::TrainConfig;
