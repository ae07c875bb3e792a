//! What the race checks are told, and what they report.

/// What an access does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Touch {
    Read,
    Write,
    /// A `.volatile` or `.relaxed` access, or a stronger one. Two strong accesses, or one and an atomic, do not race.
    StrongRead,
    StrongWrite,
    Atomic,
    /// A `cp.async` was issued: its bytes arrive at some time before the wait that covers it ends.
    Copy,
    /// A wait that covers a `cp.async` ended: the bytes have arrived.
    Arrived,
    /// A tensor core, or a bulk copy, was told to read: it does at some time before the wait that covers it ends.
    Fetch,
}

impl Touch {
    #[inline(always)]
    pub(super) fn strong(self) -> bool {
        matches!(self, Touch::StrongRead | Touch::StrongWrite | Touch::Atomic)
    }
    #[inline(always)]
    pub(crate) fn reads_only(self) -> bool {
        matches!(self, Touch::Read | Touch::StrongRead | Touch::Fetch)
    }
}

/// A memory instruction of one warp.
#[derive(Clone, Copy, Debug)]
pub struct WarpAccess<'a> {
    pub touch: Touch,
    pub warp: u32,
    /// The instruction, as the caller numbers them.
    pub pc: u32,
    /// Bytes from the start of shared memory, or of the buffer, to which `pieces` are relative.
    pub base: u64,
    /// Distinct offsets from `base`, each with the lanes that point there.
    pub pieces: &'a [(i32, u32)],
    /// Bytes that each lane touches.
    pub bytes: u32,
}

/// One side of a race.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Access {
    pub touch: Touch,
    /// Linear index in the grid.
    pub block: u32,
    pub warp: u32,
    pub lane: u32,
    /// The instruction, as the caller numbers them; unknown beyond 2¹⁹.
    pub pc: u32,
}

/// Two accesses that nothing orders.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Conflict {
    /// The granule of both accesses: bytes from the start of shared memory or of the allocation.
    pub at: u64,
    pub first: Access,
    pub second: Access,
    /// The two are in order, but go by different ways to memory, and no `fence.proxy.async` lies between.
    pub proxy: bool,
}

impl Conflict {
    /// What kind of race it is: `write after read` and so on.
    pub fn hazard(&self) -> &'static str {
        if self.proxy {
            return "the async proxy after an ordinary write, without fence.proxy.async between them";
        }
        match (self.first.touch, self.second.touch) {
            (Touch::Copy, _) => "access to memory that an unfinished cp.async writes",
            (Touch::Fetch, _) => "write to memory that an unfinished product or bulk copy reads",
            (Touch::Read | Touch::StrongRead, _) => "write after read",
            (_, Touch::Read | Touch::StrongRead | Touch::Fetch) => "read after write",
            _ => "write after write",
        }
    }
}
