//! Tensor core instructions.

use super::exec::Exec;
use super::fault::{FaultKind, Raised, raise};
use super::op::Op;
use super::state::{Regs, Warp};

impl Exec<'_> {
    /// `ldmatrix`, `mma` and `wmma`, with all 32 lanes present.
    pub fn matrix(&mut self, _w: &mut Warp, _r: &mut Regs, _frame: u32, _op: &Op, _pc: usize) -> Raised {
        raise(FaultKind::Unsupported { why: "matrix instructions".into() }, None)
    }
}
