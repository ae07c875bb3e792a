//! The networks of the paper, each as its table.

pub mod dcgan;
pub mod lae;
pub mod meso;
pub mod vgg;
