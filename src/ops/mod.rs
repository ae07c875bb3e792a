//! The operations: one file each, forward and backward side by side.
//!
//! To add one: write `src/ops/NAME.rs` with an [`Op`], a recording function and `cases()`, and add the word
//! to the list below. The cases are gradient checks, device parity tests and benchmarks at once.

mod conv_host;
mod conv_launch;

mod backward;
mod plan_cases;

pub use crate::core::case::{Case, Sampling as Fill, case};
use crate::core::shape::{Shape, shape};
pub use backward::Grads;

// Shared by the loss ops, not an op itself: their sums on a GPU.
mod sum;

/// Test sizes of ops that work value by value: one below, at and above the 1024 values of a block, less than one thread's four, and
/// every rest by four.
const EDGES: [Shape; 6] =
    [shape(2, 5, 7, 3), shape(1, 1, 1, 1), shape(1, 11, 31, 3), shape(4, 8, 8, 4), shape(1, 5, 5, 41), shape(2, 3, 7, 4)];

/// Test sizes of sums: around the 4096 terms of a block, three blocks, and every rest by four.
const SUM_EDGES: [Shape; 7] = [
    shape(2, 5, 7, 3),
    shape(1, 1, 1, 1),
    shape(3, 5, 7, 39),
    shape(4, 16, 16, 4),
    shape(1, 17, 241, 1),
    shape(3, 9, 11, 37),
    shape(2, 3, 7, 4),
];

macro_rules! ops {
    ($($name:ident),* $(,)?) => {
        $(pub mod $name;)*
        /// Every op with its cases, in the order of the list.
        pub const OPS: &[(&str, fn() -> Vec<Case>)] = &[$((stringify!($name), $name::cases)),*];
    };
}

ops! {
    activation,
    adam,
    add,
    affine,
    batch_norm,
    bce_logits,
    bilinear,
    cam_attention,
    cast,
    concat,
    conv2d,
    conv_transpose2d,
    cross_entropy,
    difference,
    dot,
    dropout,
    fill,
    first,
    global_avg_pool,
    latent,
    linear,
    max_pool,
    noise,
    sgd,
}
