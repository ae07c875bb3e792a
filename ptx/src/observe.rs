//! Hooks for checks and counters that watch a launch from outside the run loop.

use super::fault::FaultKind;
use super::source::Space;

/// What an access does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccessKind {
    Read,
    Write,
    Atomic,
    /// The write of a `cp.async` to shared memory, when the copy takes effect. The read from global memory is an
    /// [`AccessKind::Read`], when the copy is issued.
    AsyncWrite,
}

/// The memory that an access touches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Memory {
    Global,
    Shared,
    Local,
    Param,
}

impl From<Space> for Memory {
    fn from(s: Space) -> Memory {
        match s {
            Space::Global | Space::Const => Memory::Global,
            Space::Shared => Memory::Shared,
            Space::Local => Memory::Local,
            Space::Param => Memory::Param,
        }
    }
}

/// A memory instruction of one warp, checked and about to take effect.
#[derive(Clone, Copy, Debug)]
pub struct Access<'a> {
    pub kind: AccessKind,
    pub memory: Memory,
    pub warp: u32,
    /// Index of the micro-op: a key for tables by instruction.
    pub pc: u32,
    pub mask: u32,
    /// For each lane of the mask: a global address, or an offset in shared memory.
    pub address: &'a [u64; 32],
    /// Bytes that each lane touches.
    pub bytes: u32,
}

/// Watches a launch. Every method has a default that does nothing; an error stops the launch with that fault, at the lane given.
#[allow(unused_variables)]
pub trait Observer {
    /// A block begins, with fresh shared memory of this many bytes.
    fn block(&mut self, at: [u32; 3], warps: u32, shared: u32) {}
    /// A block that has begun goes on: the one before it waits for another block, or has waited long enough.
    fn turn(&mut self, at: [u32; 3]) {}
    fn access(&mut self, a: &Access) -> Result<(), (FaultKind, u32)> {
        Ok(())
    }
    /// Lanes of a warp meet at a `.sync` instruction.
    fn warp_sync(&mut self, warp: u32, mask: u32) {}
    /// Lanes of a warp arrive at a barrier: what these lanes did before is visible to all lanes that leave this phase.
    fn arrive(&mut self, warp: u32, mask: u32, barrier: u32, phase: u32) {}
    /// Lanes of a warp leave a barrier whose phase `phase` is complete.
    fn leave(&mut self, warp: u32, mask: u32, barrier: u32, phase: u32) {}
    /// `membar` or `fence`; `device`: of gpu or system scope.
    fn fence(&mut self, warp: u32, mask: u32, device: bool) {}
    /// A matrix multiply-accumulate of this many multiplications.
    fn matrix(&mut self, warp: u32, pc: u32, macs: u64) {}
    /// All warps of the block have exited.
    fn block_end(&mut self) -> Result<(), (FaultKind, u32)> {
        Ok(())
    }
}
