//! A past access, small enough to be kept for every granule of memory.

use super::access::{Access, Touch};

/// A past access in 64 bits: generation 16, sync clock 16, warp 5, lane 5, three flags, instruction 19. 0 is none.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp(pub u64);

pub(super) const LIMIT: u32 = 0xffff;
/// A flag of a stamp: the write was atomic or strong.
pub(super) const SPECIAL: u64 = 1 << 20;
/// A flag of a stamp: a copy that has not arrived. Its generation is [`LIMIT`], the last one, so that no barrier orders it.
pub(super) const PENDING: u64 = 1 << 21;

/// A flag of a stamp: a `cp.async` wrote.
pub(super) const COPIED: u64 = 1 << 19;
const INSTRUCTION: u32 = 0x7_ffff;

impl Stamp {
    #[inline(always)]
    pub fn new(generation: u32, clock: u32, warp: u32, lane: u32, pc: u32) -> Stamp {
        let place = (warp as u64) << 27 | (lane as u64) << 22 | pc.min(INSTRUCTION) as u64;
        Stamp((generation.min(LIMIT) as u64) << 48 | (clock.min(LIMIT) as u64) << 32 | place)
    }
    /// This stamp with `lane` filled in; its lane bits must be zero.
    #[inline(always)]
    pub fn with_lane(self, lane: u32) -> Stamp {
        Stamp(self.0 | (lane as u64) << 22)
    }
    /// This stamp with its lane replaced.
    pub fn replace_lane(self, lane: u32) -> Stamp {
        Stamp(self.0 & !(31 << 22)).with_lane(lane)
    }
    #[inline(always)]
    pub fn generation(self) -> u32 {
        (self.0 >> 48) as u32
    }
    #[inline(always)]
    pub fn clock(self) -> u32 {
        (self.0 >> 32) as u32 & LIMIT
    }
    #[inline(always)]
    pub fn warp(self) -> u32 {
        (self.0 >> 27) as u32 & 31
    }
    #[inline(always)]
    pub fn clocks_and_warp(self) -> u64 {
        self.0 >> 27
    }
    /// Whether this is an ordinary write by the lane of `o`.
    #[inline(always)]
    pub fn plainly_by(self, o: Stamp) -> bool {
        const WHO: u64 = 1023 << 22 | SPECIAL | PENDING;
        self.0 & WHO == o.0 & WHO
    }
    #[inline(always)]
    pub fn lane(self) -> u32 {
        (self.0 >> 22) as u32 & 31
    }
    #[inline(always)]
    pub fn special(self) -> bool {
        self.0 & SPECIAL != 0
    }
    /// The stamp of a copy that was issued here and has not arrived.
    #[inline(always)]
    pub fn pending_copy(self) -> Stamp {
        Stamp(self.0 | PENDING | (LIMIT as u64) << 48)
    }
    #[inline(always)]
    pub fn pending(self) -> bool {
        self.0 & PENDING != 0
    }
    pub fn access(self, touch: Touch, block: u32) -> Access {
        Access { touch, block, warp: self.warp(), lane: self.lane(), pc: self.0 as u32 & INSTRUCTION }
    }
    pub fn wrote(self, block: u32) -> Access {
        let touch = if self.pending() {
            Touch::Copy
        } else if self.special() {
            Touch::Atomic
        } else {
            Touch::Write
        };
        self.access(touch, block)
    }
}
