//! What a launch is given, and what it reports.

use super::counters::Counters;
use super::findings::Finding;
use super::num::approx::Approx;
use super::num::mma::Tensor;
use super::schedule::Schedule;
use super::suppress::Suppression;
use super::tensor_map::TensorMap;

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
    /// If it rounds none of them, or adds half a unit of the last place: then that is deliberate. One that rounds some is
    /// checked.
    #[default]
    Recognised,
    /// No: every operand must have been rounded, be it by another kernel.
    Never,
}

/// Which fences the race check asks for between ordinary writes and the async proxy (bulk copies, `wgmma`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fences {
    /// Those that compilers write: none behind `cp.async`, and none behind the initialisation of an mbarrier that a barrier of the
    /// block orders.
    #[default]
    Usual,
    /// All that the ISA and the programming guide ask for.
    All,
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
    pub fences: Fences,
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
            fences: Fences::Usual,
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
    /// A pointer to memory that the kernel fills. Fresh memory holds no values: a kernel that adds to what is there needs
    /// [`Arg::Update`], and values (zeros) written before.
    Write { addr: u64, len: u64 },
    /// A pointer to memory that the kernel reads and changes.
    Update { addr: u64, len: u64 },
    /// A null pointer.
    Null,
    /// A value, as it lies in memory: a number or a struct.
    Bytes(Vec<u8>),
    /// A struct by value with pointers in it: its bytes, and what to put at which offset. The kernel may touch what the pointers
    /// grant; a field may be a struct again.
    ///
    /// ```
    /// # use lae_ptx::{Arg, Config, Machine};
    /// # let mut machine = Machine::new(Config::default());
    /// let (x, y) = (machine.alloc("x", 64), machine.alloc("y", 64));
    /// // struct { const float* x; float* y; int n; }
    /// let arg = Arg::Struct {
    ///     bytes: vec![0; 24],
    ///     pointers: vec![(0, Arg::Read { addr: x, len: 64 }), (8, Arg::Write { addr: y, len: 64 }), (16, 16i32.into())],
    /// };
    /// assert_eq!(arg.to_bytes()?[8..16], y.to_le_bytes());
    /// # Ok::<(), String>(())
    /// ```
    Struct { bytes: Vec<u8>, pointers: Vec<(u32, Arg)> },
    /// A tensor map by value (`const __grid_constant__ CUtensorMap`): through it, bulk copies may read the tensor, and with `write`
    /// change it.
    Map { map: TensorMap, write: bool },
}

/// Memory that an argument grants: where, how long, whether the kernel may write, and the way to it (`, offset 8`).
pub(crate) struct Grant {
    pub addr: u64,
    pub len: u64,
    pub write: bool,
    pub way: String,
}

impl Arg {
    /// What the kernel gets: an address or a value, as it lies in memory. Written into a table or a variable of the module
    /// ([`Machine::write`](super::Machine::write)), the address serves a kernel that [`Launch::also`] grants the memory. An error
    /// names the field of a struct that lies outside of the struct.
    pub fn to_bytes(&self) -> Result<Vec<u8>, String> {
        self.lay("", &mut Vec::new())
    }

    /// [`Arg::to_bytes`], with all that the argument grants; `way` leads to this part of it.
    pub(crate) fn lay(&self, way: &str, grants: &mut Vec<Grant>) -> Result<Vec<u8>, String> {
        Ok(match self {
            Arg::Bytes(b) => b.clone(),
            Arg::Null => vec![0; 8],
            Arg::Read { addr, len } | Arg::Write { addr, len } | Arg::Update { addr, len } => {
                let write = !matches!(self, Arg::Read { .. });
                grants.push(Grant { addr: *addr, len: *len, write, way: way.to_string() });
                addr.to_le_bytes().to_vec()
            }
            Arg::Map { map, write } => {
                let bytes = map.encode().map_err(|e| format!("a tensor map: {e}"))?;
                grants.push(Grant { addr: map.address, len: map.extent(), write: *write, way: way.to_string() });
                bytes.to_vec()
            }
            Arg::Struct { bytes, pointers } => {
                let mut out = bytes.clone();
                let mut taken: Vec<(usize, usize)> = Vec::new();
                for (at, field) in pointers {
                    let way = format!("{way}, offset {at}");
                    let value = field.lay(&way, grants)?;
                    let (at, end) = (*at as usize, *at as usize + value.len());
                    let size = out.len();
                    let place = way.trim_start_matches(", ");
                    let Some(room) = out.get_mut(at..end) else {
                        return Err(format!("{place}: a field of {} bytes does not fit into a struct of {size}", value.len()));
                    };
                    if let Some((other, _)) = taken.iter().find(|&&(lo, hi)| at < hi && lo < end) {
                        return Err(format!("{place}: the field overlaps the one at offset {other}"));
                    }
                    room.copy_from_slice(&value);
                    taken.push((at, end));
                }
                out
            }
        })
    }
}

/// Numbers as arguments. Half-precision numbers are given by their bits, as `u16`.
macro_rules! from_numbers {
    ($($t:ty)*) => {
        $(impl From<$t> for Arg {
            fn from(v: $t) -> Arg {
                Arg::Bytes(v.to_le_bytes().to_vec())
            }
        })*
    };
}
from_numbers!(u8 i8 u16 i16 u32 i32 u64 i64 f32 f64);

/// `bool` of C++: one byte.
impl From<bool> for Arg {
    fn from(v: bool) -> Arg {
        Arg::Bytes(vec![v as u8])
    }
}

/// What to launch a kernel with: [`Launch::new`], or a literal that ends in `..Launch::default()`, which further fields leave
/// as it is.
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
    /// Further memory that the kernel may touch: through addresses that lie in tables in memory or in variables of the module.
    pub also: Vec<Arg>,
}

/// One block of one thread, without arguments.
impl Default for Launch {
    fn default() -> Launch {
        Launch { grid: [1; 3], block: [1; 3], shared: 0, args: Vec::new(), also: Vec::new() }
    }
}

impl Launch {
    /// A launch without dynamic shared memory.
    pub fn new(grid: [u32; 3], block: [u32; 3], args: Vec<Arg>) -> Launch {
        Launch { grid, block, args, ..Launch::default() }
    }

    /// The launch with this many bytes of dynamic shared memory.
    pub fn shared(self, bytes: u32) -> Launch {
        Launch { shared: bytes, ..self }
    }

    /// The launch with further memory that the kernel may touch ([`Launch::also`]).
    pub fn also(mut self, memory: Arg) -> Launch {
        self.also.push(memory);
        self
    }
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
    /// What the kernel printed with `printf`; at most a mebibyte.
    pub printed: String,
}

/// What a launch did that goes on after a finding ([`Machine::survey`](super::Machine::survey)).
#[derive(Clone, Debug, Default)]
pub struct Survey {
    /// All findings, in the order in which the launch came by them; each pair of a kind and an instruction once.
    pub findings: Vec<Finding>,
    /// Whether the launch came to its end: it does not if it cannot go on after the last finding
    /// ([`FaultKind::ends_a_launch`](super::FaultKind::ends_a_launch)), or has as many as were asked for.
    pub complete: bool,
    pub report: Report,
}

impl Survey {
    /// The kind of the last finding, by name, if the launch ended because nothing goes on behind such a fault.
    pub fn ended_by(&self) -> Option<&'static str> {
        let last = self.findings.last().filter(|_| !self.complete)?;
        last.fault.kind.ends_a_launch().then(|| last.fault.kind.name())
    }
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
