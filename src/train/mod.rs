//! Algorithm 1 of the paper, end to end: configuration, the two training steps, the run with its checkpoints, evaluation.

pub mod checkpoint;
pub mod config;
pub mod evaluate;
pub mod run;
pub mod select;
pub mod step;

pub use config::TrainConfig;
