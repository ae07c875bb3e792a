//! What can go wrong in a launch, and the report of it.

use std::fmt;

/// The end of a launch that did something wrong. Its text names kernel, block, thread, instruction, the line of the PTX and of
/// the source, and what was touched.
#[derive(Clone, Debug)]
pub struct Fault(Box<Details>);

/// The fields of a [`Fault`], which dereferences to them.
#[derive(Clone, Debug)]
pub struct Details {
    pub kind: FaultKind,
    pub kernel: String,
    pub block: Option<[u32; 3]>,
    pub thread: Option<[u32; 3]>,
    /// Warp of the block, and lane of the warp.
    pub lane: Option<(u32, u32)>,
    pub site: Option<Site>,
    /// Instructions executed before the fault, over all warps.
    pub executed: u64,
}

impl std::ops::Deref for Fault {
    type Target = Details;
    fn deref(&self) -> &Details {
        &self.0
    }
}

impl From<Details> for Fault {
    fn from(d: Details) -> Fault {
        Fault(Box::new(d))
    }
}

/// Where an instruction stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Site {
    /// The instruction as written.
    pub text: String,
    /// Line of the PTX text.
    pub line: u32,
    /// `file:line:col` of the source, innermost first, then the places it was inlined at; empty without `-lineinfo`.
    pub source: Vec<String>,
}

impl fmt::Display for Site {
    fn fmt(&self, o: &mut fmt::Formatter) -> fmt::Result {
        write!(o, "{}   ", self.text)?;
        for (i, s) in self.source.iter().enumerate() {
            write!(o, "{}{s}", if i > 0 { " inlined from " } else { "" })?;
        }
        write!(o, "{}ptx line {}", if self.source.is_empty() { "" } else { "   " }, self.line)
    }
}

/// An address, and the allocation that the address lies in or near.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    pub address: u64,
    /// `x + 16 (argument 2, 1024 bytes)`, or what is nearest.
    pub about: String,
}

impl fmt::Display for Place {
    fn fmt(&self, o: &mut fmt::Formatter) -> fmt::Result {
        write!(o, "{:#x}: {}", self.address, self.about)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FaultKind {
    /// An access outside every span that the launch named (or outside shared, local or parameter memory).
    OutOfBounds { space: &'static str, write: bool, bytes: u32, at: Place },
    /// An address that is no multiple of the access's size.
    Misaligned { space: &'static str, bytes: u32, at: Place },
    /// An access through a null pointer, or within 64 KiB of one.
    Null { write: bool, address: u64 },
    /// An access to an allocation that was freed.
    UseAfterFree { write: bool, at: Place },
    /// A write through an argument that was given as [`Arg::Read`](super::Arg::Read), or to constant memory.
    ReadOnly { at: Place },
    /// A value that nothing has written decided a branch or an address, or was stored to global memory.
    Uninitialised { used_as: &'static str },
    /// Part of a warp waits at a barrier that whole warps must reach together.
    DivergentBarrier { waits: Vec<String> },
    /// No warp of the block can go on: which lanes wait where.
    Deadlock { waits: Vec<String> },
    /// No block can go on, as each waits for another: which one reads what again and again.
    BlockDeadlock { waits: Vec<String> },
    /// A `*.sync` instruction whose mask is zero or lacks the lane that executes it.
    SyncMask { mask: u32 },
    /// Barrier operands that make no sense: number ≥ 16, a count that is no multiple of 32 or that the threads disagree on.
    Barrier { why: String },
    /// A misused mbarrier: not initialised, or counts that it cannot have.
    Mbarrier { why: String, at: Place },
    /// Products of a warp group (`wgmma`): a group that is not whole or does not agree, a fence or a wait that is missing, registers
    /// that were written meanwhile, a descriptor that cannot be.
    Warpgroup { why: String },
    /// A bulk copy: its tensor map, coordinates, sizes, or the wait that it needs.
    Bulk { why: String },
    /// `free` of what `malloc` did not return, or of what was freed.
    Heap { why: String },
    /// An operand that the instruction does not allow: the source size of a copy, the stride of a matrix.
    Operand { why: String },
    /// More instructions than the launch was allowed.
    Budget { limit: u64 },
    /// An instruction, modifier or special register that the emulator does not know; found before any instruction is executed.
    Unsupported { why: String },
    /// Arguments, block or shared memory that do not fit the kernel.
    Launch { why: String },
    /// The kernel executed `trap`, or an assertion failed.
    Trap { why: String },
    /// A tf32 operand whose low 13 bits are not zero: the tensor core would truncate it silently.
    Tf32 { operand: &'static str, bits: u32 },
    /// Two accesses that nothing orders: what kind, where, and both sides.
    Race { hazard: &'static str, at: Place, sides: Vec<String> },
    /// A function call nested too deep for the stack.
    StackOverflow,
}

impl FaultKind {
    /// Whether a launch ends at such a fault in any case, as [`Machine::survey`](super::Machine::survey) has nothing to go on with:
    /// barriers and `.sync` instructions that are met by the wrong threads, deadlocks, products of warp groups and bulk copies, whose
    /// state is then none, traps, the budget, a stack overflow, and what is found before anything runs.
    pub fn ends_a_launch(&self) -> bool {
        use FaultKind::*;
        match self {
            Race { .. } | OutOfBounds { .. } | Misaligned { .. } | Null { .. } | UseAfterFree { .. } | ReadOnly { .. } => false,
            Uninitialised { .. } | Operand { .. } | Tf32 { .. } | Mbarrier { .. } | Heap { .. } => false,
            DivergentBarrier { .. } | Deadlock { .. } | BlockDeadlock { .. } | SyncMask { .. } | Barrier { .. } => true,
            Warpgroup { .. } | Bulk { .. } | Budget { .. } | Unsupported { .. } | Launch { .. } | Trap { .. } | StackOverflow => {
                true
            }
        }
    }

    /// One word for tables and tests.
    pub fn name(&self) -> &'static str {
        match self {
            FaultKind::OutOfBounds { .. } => "out-of-bounds",
            FaultKind::Misaligned { .. } => "misaligned",
            FaultKind::Null { .. } => "null",
            FaultKind::UseAfterFree { .. } => "use-after-free",
            FaultKind::ReadOnly { .. } => "read-only",
            FaultKind::Uninitialised { .. } => "uninitialised",
            FaultKind::DivergentBarrier { .. } => "divergent-barrier",
            FaultKind::Deadlock { .. } => "deadlock",
            FaultKind::BlockDeadlock { .. } => "deadlock",
            FaultKind::SyncMask { .. } => "sync-mask",
            FaultKind::Barrier { .. } => "barrier",
            FaultKind::Mbarrier { .. } => "mbarrier",
            FaultKind::Warpgroup { .. } => "warpgroup",
            FaultKind::Bulk { .. } => "bulk",
            FaultKind::Heap { .. } => "heap",
            FaultKind::Operand { .. } => "operand",
            FaultKind::Budget { .. } => "budget",
            FaultKind::Unsupported { .. } => "unsupported",
            FaultKind::Launch { .. } => "launch",
            FaultKind::Trap { .. } => "trap",
            FaultKind::Tf32 { .. } => "tf32",
            FaultKind::Race { .. } => "race",
            FaultKind::StackOverflow => "stack-overflow",
        }
    }
}

impl fmt::Display for FaultKind {
    fn fmt(&self, o: &mut fmt::Formatter) -> fmt::Result {
        let verb = |write: &bool| if *write { "write" } else { "read" };
        match self {
            FaultKind::OutOfBounds { space, write, bytes, at } => {
                write!(o, "out of bounds: {} of {bytes} bytes in {space} memory at {at}", verb(write))
            }
            FaultKind::Misaligned { space, bytes, at } => {
                write!(o, "misaligned: access of {bytes} bytes in {space} memory at {at}")
            }
            FaultKind::Null { write, address } => write!(o, "null pointer: {} at {address:#x}", verb(write)),
            FaultKind::UseAfterFree { write, at } => write!(o, "use after free: {} at {at}", verb(write)),
            FaultKind::ReadOnly { at } => write!(o, "write to read-only memory at {at}"),
            FaultKind::Uninitialised { used_as } => {
                write!(o, "uninitialised value used as {used_as}")?;
                // The usual cause: an output that the kernel adds to, in memory that was given to be filled.
                match *used_as {
                    "memory of an atomic" => o.write_str(
                        "; a kernel that accumulates needs values to begin with: `Update` memory, with zeros written to it",
                    ),
                    "the value of a store to global memory" => o.write_str(
                        "; if the kernel adds to its output, the output must be `Update` memory, with zeros written to it",
                    ),
                    _ => Ok(()),
                }
            }
            FaultKind::DivergentBarrier { waits } => {
                write!(o, "divergent barrier: not all threads of a warp reach the same one{}", list(waits))
            }
            FaultKind::Deadlock { waits } => write!(o, "deadlock: no thread of the block can go on{}", list(waits)),
            FaultKind::BlockDeadlock { waits } => {
                write!(o, "deadlock: every block that is left repeats itself, and none changes memory{}", list(waits))
            }
            FaultKind::SyncMask { mask } => {
                write!(o, "bad mask {mask:#010x} of a .sync instruction: it must name the lane that executes it")
            }
            FaultKind::Barrier { why } => write!(o, "bad barrier: {why}"),
            FaultKind::Mbarrier { why, at } => write!(o, "bad use of an mbarrier: {why}, at {at}"),
            FaultKind::Warpgroup { why } => write!(o, "product of a warp group: {why}"),
            FaultKind::Bulk { why } => write!(o, "bulk copy: {why}"),
            FaultKind::Heap { why } => write!(o, "device heap: {why}"),
            FaultKind::Operand { why } => write!(o, "bad operand: {why}"),
            FaultKind::Budget { limit } => write!(o, "budget exhausted: {limit} warp instructions"),
            FaultKind::Unsupported { why } => write!(o, "unsupported: {why}"),
            FaultKind::Launch { why } => write!(o, "launch: {why}"),
            FaultKind::Trap { why } => write!(o, "trap: {why}"),
            FaultKind::Tf32 { operand, bits } => write!(
                o,
                "tf32 operand {operand} = {bits:#010x} has low bits that the tensor core ignores; round it with cvt.rna.tf32"
            ),
            FaultKind::Race { hazard, at, sides } => write!(o, "race: {hazard}, at {at}{}", list(sides)),
            FaultKind::StackOverflow => write!(o, "stack overflow: calls are nested too deep"),
        }
    }
}

fn list(lines: &[String]) -> String {
    lines.iter().map(|l| format!("\n    {l}")).collect()
}

impl fmt::Display for Fault {
    fn fmt(&self, o: &mut fmt::Formatter) -> fmt::Result {
        write!(o, "{}\n  in {}", self.kind, self.kernel)?;
        if let Some([x, y, z]) = self.block {
            write!(o, ", block ({x},{y},{z})")?;
        }
        if let Some([x, y, z]) = self.thread {
            write!(o, ", thread ({x},{y},{z})")?;
        }
        if let Some((warp, lane)) = self.lane {
            write!(o, ", warp {warp} lane {lane}")?;
        }
        if let Some(site) = &self.site {
            write!(o, "\n  {site}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Fault {}

/// A fault on its way to the launch, which adds the kernel, the block and the instruction.
#[derive(Debug)]
pub(crate) struct Raise {
    pub kind: FaultKind,
    pub lane: Option<u32>,
}

pub(crate) type Raised<T = ()> = Result<T, Box<Raise>>;

pub(crate) fn raise<T>(kind: FaultKind, lane: impl Into<Option<u32>>) -> Raised<T> {
    Err(Box::new(Raise { kind, lane: lane.into() }))
}
