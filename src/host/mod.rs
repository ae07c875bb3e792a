//! Host (CPU) convolutions. [`plain`] is the generic oracle (obviously right), [`conv`] the blocked f32 kernels (fast).
//!
//! The fast passes are implicit matrix products, blocked for registers and caches:
//!
//! ```text
//! filters → panels of `lanes` columns × depth, once per call, in the caller's scratch            gather
//! for each task: a fixed range of output pixels, one disjoint slice of the output
//!   for each phase, for each block of ≤ 256 pixels                                               blocks
//!     for each ≤ 256 of the reduction: copy what the pixels read into rows, 256 × 256, L2        taps
//!       for each panel: 256 × 32 filters, L1
//!         for each tile of ≤ 14 pixels × 32 filters: registers                                   simd
//! ```
//! `wgrad` turns the roles: rows are filters, columns the taps × channels of one filter, the reduction runs over pixels. Linear
//! layers, 1×1 filters and filters as large as their picture all become one row of pixels ([`conv`]); filters per channel have
//! no reduction to block and get loops of their own (`depthwise`), and so have few channels at stride 1 (`narrow`) and linear
//! layers of a few rows (`thin`). fprop and dgrad of 3×3 filters at stride 1 take a quarter to four ninths of the products in
//! Winograd's form, where they are large enough to gain by it ([`winograd`]).
//!
//! Work is split by sizes only and every sum is taken in one order, so the number of threads never shows in the result. (The
//! SIMD level does: levels differ in the order of a sum's terms and in fused multiply-adds.) Nothing is allocated per call:
//! what a call needs is the caller's scratch, what a thread needs is made once. `cargo bench --bench conv` measures every layer
//! of the networks here beside the machine's peak.

mod blocks;
pub mod conv;
mod depthwise;
mod gather;
pub mod half;
pub mod half_wgrad;
mod narrow;
pub mod plain;
pub mod simd;
pub mod sizes;
mod taps;
mod thin;
mod wgrad;
pub mod winograd;
