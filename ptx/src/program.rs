//! A decoded kernel: its micro-ops, its functions, and what their registers hold when a call begins.

use super::op::{Bank, Extra, Mem, Num, Op};
use super::source::Var;

/// A kernel and the functions that it calls, ready to run.
pub(crate) struct Program {
    pub ops: Vec<Op>,
    /// For each op, how many ops from this one on are plain arithmetic: the run loop executes them in one stretch.
    pub plain: Vec<u16>,
    /// For each op, how many ops from this one on have the same code and the same guard: the run loop dispatches them once. More
    /// than one only for codes that write no predicate, which could be the guard.
    pub alike: Vec<u16>,
    /// Where each op comes from.
    pub sites: Vec<OpSite>,
    pub functions: Vec<Func>,
    pub mems: Vec<Mem>,
    pub extras: Vec<Extra>,
    pub nums: Vec<Num>,
    /// Static shared memory: bytes, and the variables in it for reports.
    pub shared: u32,
    pub shared_vars: Vec<(String, u32, u32)>,
    /// Module variables that the program names (indices into [`Source::vars`]).
    pub globals: Vec<u32>,
    /// If a call goes through a register: the module's functions by number, for messages.
    pub function_names: Vec<String>,
    pub rounds: Rounds,
}

/// What a program does about the operands of its tf32 products.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Rounds {
    /// It has such products.
    pub tf32: bool,
    /// It rounds values to tf32 (`cvt`).
    pub by_cvt: bool,
    /// It adds half a unit of the last place to an operand.
    pub by_half_ulp: bool,
}

impl Program {
    /// Whether some function asks where dynamic shared memory begins.
    pub fn dynamic_shared(&self) -> bool {
        self.functions.iter().flat_map(|f| &f.presets).any(|(.., p)| matches!(p, Preset::DynamicShared(_)))
    }
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct OpSite {
    pub function: u32,
    pub instr: u32,
    /// The first op of its instruction: counting these counts instructions.
    pub first: bool,
}

pub(crate) struct Func {
    /// Index into [`Source::functions`].
    pub source: u32,
    pub start: u32,
    pub banks: [u16; 3],
    pub presets: Vec<(Bank, u16, Preset)>,
    /// Bytes of `.local` variables.
    pub local: u32,
    /// Bytes of parameter memory per thread: formals, return values and call parameters.
    pub params: u32,
    /// Registers that may be read before they are written.
    pub uninitialised: Vec<(Bank, u16)>,
}

/// What a slot holds when a frame begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Preset {
    Bits(u64),
    Special(Special),
    KernelParam {
        at: u32,
        bytes: u8,
        signed: bool,
    },
    /// Address of a module variable, plus an offset.
    Symbol(u32, i64),
    /// Where dynamic shared memory begins.
    DynamicShared(i64),
    /// Address of a local variable in this frame, plus an offset.
    Local(i64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Special {
    Tid(u8),
    Ntid(u8),
    Ctaid(u8),
    Nctaid(u8),
    LaneId,
    WarpId,
    NWarpId,
    WarpSize,
    SmId,
    NSmId,
    GridId,
    /// Lanes equal, less, less or equal, greater, greater or equal.
    LaneMask(u8),
    DynamicShared,
    TotalShared,
    /// `%envreg1` and `%envreg2`: the upper and the lower half of the address of the grid's workspace.
    Workspace(u8),
}

/// The name of the part of shared memory that is reserved for the system. What it holds at first is anybody's guess, but it is a
/// value: cooperative groups clear their own bits of it.
pub(crate) const RESERVED: &str = "reserved shared memory";

/// Offsets of parameters, one behind the other, each aligned.
pub(crate) fn layout(vars: &[Var], mut at: u32) -> (Vec<u32>, u32) {
    let mut offsets = Vec::new();
    for v in vars {
        at = at.next_multiple_of(v.align.max(1));
        offsets.push(at);
        at += v.size;
    }
    (offsets, at)
}
