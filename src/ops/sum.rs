//! Sums on a GPU, in two launches: blocks leave f64 shares in scratch memory (`sum_terms` in kernels/lae.cuh), then one block adds
//! them up. How many blocks there are depends on the number of terms alone, and so does every bit of the result.

use crate::core::launch::Operands;
use crate::device::Span;
use crate::error::Result;

/// Values (f32) that one share takes in scratch memory.
const SHARE: usize = size_of::<f64>() / size_of::<f32>();

/// Blocks that share out `count` terms: sixteen terms to a thread, more where that would take over 1024 blocks.
pub fn blocks(count: usize) -> usize {
    count.div_ceil(4096).clamp(1, 1024)
}

/// Bytes of scratch memory for that many blocks.
pub fn scratch(blocks: usize) -> usize {
    blocks * size_of::<f64>()
}

/// The shares of `blocks` blocks: all of the scratch memory.
pub fn partial(g: &Operands, blocks: usize) -> Span {
    g.scratch(0, blocks * SHARE)
}

/// `struct Sum` of kernels/sum.cu.
#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Params {
    count: u32,
    divisor: u32,
}

/// y = Σ shares / divisor: the second launch.
pub fn finish(g: &Operands, y: Span, blocks: usize, divisor: usize) -> Result<()> {
    let p = Params { count: blocks as u32, divisor: divisor as u32 };
    g.call("sum_fwd_f32")?.block(256).write(y).read(partial(g, blocks)).value(&p).go()
}
