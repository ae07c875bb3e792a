//! The networks of the paper, each as its table.

pub mod dcgan;
pub mod lae;
pub mod meso;
pub mod residual;
pub mod stats;
pub mod suppress;
pub mod transfer;
pub mod vgg;
pub mod xception;

/// ImageNet's channel means and deviations, of values in [0, 1].
pub const MEAN: [f64; 3] = [0.485, 0.456, 0.406];
pub const STD: [f64; 3] = [0.229, 0.224, 0.225];
