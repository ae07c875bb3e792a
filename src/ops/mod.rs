//! The operations: one file each, forward and backward side by side.
//!
//! To add one: write `src/ops/NAME.rs` with an [`Op`](crate::core::op::Op), a recording function and `cases()`, and add the word
//! to the list below. The cases are gradient checks, device parity tests and benchmarks at once.

// Shared by ops, no ops themselves.
mod conv_depthwise;
mod conv_half;
mod conv_half_launch;
mod conv_host;
mod conv_launch;
mod conv_wgmma;
mod conv_wgmma_wgrad;
mod edges;
mod sum;

// Differentiation, and what a plan's steps are as rows of a case table.
mod backward;
mod plan_cases;

use crate::core::case::Case;
pub use backward::Grads;

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
    avg_pool,
    batch_norm,
    bce_logits,
    bilinear,
    cam_attention,
    cast,
    concat,
    conv2d,
    conv_bf16,
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
    lrn,
    max_pool,
    mix,
    moments_pool,
    nearest,
    noise,
    project_filter,
    select_half,
    sgd,
    softmax,
    weigh_channels,
}
