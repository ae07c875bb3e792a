//! Races: two accesses to the same memory, one of them a write, that nothing orders.
//!
//! The rule is happens-before, as FastTrack (Flanagan and Freund, PLDI 2009) computes it, with the warp as the unit between warps
//! and the lane as the unit within one. A race is reported if any schedule could make a value wrong, whether or not the
//! emulator's schedule did. Two accesses are ordered by
//! * one thread's own order;
//! * a barrier of the whole block: it begins a new generation, and everything of an older one is ordered before it;
//! * a barrier of some warps, and `arrive` before `sync`: clocks of warps, kept exactly from the first such barrier on;
//! * within a warp, a `.sync` instruction whose mask has both lanes, also in several steps;
//! * between blocks, for locks and for flags: a fence, then an atomic or a strong write (`.volatile`, `.relaxed`); and afterwards
//!   an atomic on the same address, or a strong read of it and a fence. The first fence covers what the whole block did before
//!   its last barrier, and what its own warp did. `.release` and `.acquire` are such an access with its fence.
//!
//! Bulk copies and the products of warp groups go their own way to memory, beside the warps (the async proxy). What they read or
//! write is under way from the instruction that tells them so to the wait that covers it; it is ordered after what that instruction
//! is ordered after, if for writes of threads a `fence.proxy.async` lies between, and before what comes after the wait. That
//! ordinary *reads* before a copy to the same place need such a fence is not checked.
//!
//! Strong accesses and atomics do not race with each other, but with ordinary ones they do.
//!
//! Memory is watched in granules, which no access divides: of global memory 4 bytes, or fewer if the kernel has narrower accesses
//! to it; of shared memory up to 16, if all its accesses are that wide. A stamp counts 65 535 barriers of a block and as many
//! syncs of a warp; beyond these, and for grids of more than 2²⁰ blocks, the check forgets. The check never invents: every report
//! is a pair of accesses that the rules above leave unordered.

mod access;
mod clocks;
mod global;
mod shared;
mod stamp;
#[cfg(test)]
mod tests;

pub use access::{Access, Conflict, Touch, WarpAccess};
pub use global::{GlobalClocks, GlobalRaces};
pub use shared::{SharedRaces, Teller, Unit};
