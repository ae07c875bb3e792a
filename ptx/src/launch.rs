//! What a launch is given, and what it reports.

use super::counters::Counters;
use super::findings::Finding;
use super::num::approx::Approx;
use super::num::mma::Tensor;
use super::schedule::Schedule;
use super::suppress::Suppression;

/// Which checks run beside the ones that always do (bounds, alignment, barriers, masks, budget).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checks {
    /// Values that nothing wrote, followed to a branch, an address or global memory.
    pub init: bool,
    /// Accesses to shared or global memory that nothing orders.
    pub race: bool,
    /// tf32 operands that were not rounded; see [`Truncation`].
    pub tf32: bool,
}

/// Whether a kernel may leave it to the tensor core to cut its tf32 operands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Truncation {
    /// If it rounds none of them, or adds half a unit of the last place: then that is deliberate. One that rounds some is checked.
    #[default]
    Recognised,
    /// No: every operand must have been rounded, be it by another kernel.
    Never,
}

/// When the copies of `cp.async` take effect. A correct kernel cannot tell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Copies {
    /// As late as is legal: when a wait covers them. Until then the destination holds no value.
    #[default]
    Late,
    /// When `cp.async` is executed.
    Eager,
}

/// How kernels are run.
#[derive(Clone, Debug)]
pub struct Config {
    pub checks: Checks,
    pub truncation: Truncation,
    pub suppressions: Vec<Suppression>,
    pub schedule: Schedule,
    /// Most warp instructions of one launch.
    pub budget: u64,
    /// Count executions of every instruction ([`Report::profile`]).
    pub counters: bool,
    pub copies: Copies,
    /// Values of the approximate functions (`ex2.approx` and its like).
    pub approx: Approx,
    /// Arithmetic of the tensor cores.
    pub tensor: Tensor,
    /// Most bytes of shared memory of a block; sm_80 has 163 KiB, sm_90 227.
    pub max_shared: u32,
    /// Most blocks that are on the machine at once, of which one may wait for another; None: as many as an H100 holds.
    pub resident: Option<u32>,
    /// Threads of the host that a launch of many blocks may take, whose blocks do not depend on each other; 0: as many as there
    /// are cores. What a launch gives and reports does not depend on it.
    pub threads: usize,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            checks: Checks { init: true, race: true, tf32: true },
            truncation: Truncation::Recognised,
            suppressions: Vec::new(),
            schedule: Schedule::Forward,
            budget: 1 << 33,
            counters: false,
            copies: Copies::Late,
            approx: Approx::Central,
            tensor: Tensor::Ideal,
            max_shared: 227 << 10,
            resident: None,
            threads: 0,
        }
    }
}

/// An argument of a launch. Every pointer says which bytes the kernel may touch through it, and how; all other memory is out of
/// bounds for the launch.
#[derive(Clone, Debug, PartialEq)]
pub enum Arg {
    /// A pointer to memory that the kernel must not change.
    Read { addr: u64, len: u64 },
    /// A pointer to memory that the kernel fills.
    Write { addr: u64, len: u64 },
    /// A pointer to memory that the kernel reads and changes.
    Update { addr: u64, len: u64 },
    /// A null pointer.
    Null,
    /// A value, as it lies in memory: a number or a struct.
    Bytes(Vec<u8>),
}

impl From<u32> for Arg {
    fn from(v: u32) -> Arg {
        Arg::Bytes(v.to_le_bytes().to_vec())
    }
}
impl From<i32> for Arg {
    fn from(v: i32) -> Arg {
        Arg::Bytes(v.to_le_bytes().to_vec())
    }
}
impl From<f32> for Arg {
    fn from(v: f32) -> Arg {
        Arg::Bytes(v.to_le_bytes().to_vec())
    }
}
impl From<u64> for Arg {
    fn from(v: u64) -> Arg {
        Arg::Bytes(v.to_le_bytes().to_vec())
    }
}

/// What to launch a kernel with.
#[derive(Clone, Debug)]
pub struct Launch {
    /// Blocks along x, y and z.
    pub grid: [u32; 3],
    /// Threads of a block along x, y and z.
    pub block: [u32; 3],
    /// Bytes of dynamic shared memory.
    pub shared: u32,
    /// One for each parameter, in order.
    pub args: Vec<Arg>,
}

/// What a launch did.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Warp instructions.
    pub instructions: u64,
    pub blocks: u64,
    /// With [`Config::counters`]: a row for each PTX instruction of the kernel that was executed.
    pub profile: Vec<Executed>,
    /// With [`Config::counters`]: instructions, traffic and bank conflicts, in all and by line.
    pub counters: Counters,
    /// For each of [`Config::suppressions`]: how often it applied.
    pub suppressed: Vec<u64>,
}

/// What a launch did that goes on after a finding ([`Machine::survey`](super::Machine::survey)).
#[derive(Clone, Debug, Default)]
pub struct Survey {
    /// All findings, in the order in which the launch came by them; each pair of a kind and an instruction once.
    pub findings: Vec<Finding>,
    /// Whether the launch came to its end: it does not if it cannot go on after the last finding, or has as many as were asked for.
    pub complete: bool,
    pub report: Report,
}

/// How often an instruction was executed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Executed {
    pub opcode: String,
    /// Line of the PTX text.
    pub line: u32,
    /// Source line, if known: file number of `.file`, line.
    pub source: Option<(u32, u32)>,
    /// Times that a warp executed the instruction.
    pub warps: u64,
    /// Active lanes, summed over these times.
    pub lanes: u64,
}
