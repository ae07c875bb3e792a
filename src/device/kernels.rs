//! The kernels that this build carries: `kernels/*.cu`, compiled to PTX by `build.rs`, with what the PTX says of their arguments
//! and the assembler of their use of the machine.
//!
//! Generated with the tables: `BUILD_REPORT` (the compiler, or the places where none was found), `PTX_VERSION` (the highest of all
//! modules; (0, 0) without kernels) and `SOURCES_HASH` (of the sources, the compiler's version and its flags).

use std::collections::HashMap;
use std::sync::OnceLock;

/// One `.cu` file as PTX.
#[derive(Debug)]
pub struct Module {
    /// `batch_norm` for `kernels/batch_norm.cu`.
    pub name: &'static str,
    pub ptx: &'static str,
    /// Machine code for the architectures in `LAE_CUDA_ARCHS`, ascending.
    pub cubins: &'static [Cubin],
}

/// Machine code for one architecture: 90 for sm_90.
#[derive(Debug)]
pub struct Cubin {
    pub arch: u32,
    pub code: &'static [u8],
}

/// An argument of an entry: bytes and alignment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Param {
    pub size: u32,
    pub align: u32,
}

/// One entry of a module.
#[derive(Debug)]
pub struct Kernel {
    pub name: &'static str,
    pub module: &'static Module,
    pub params: &'static [Param],
    /// Most threads of a block: `__launch_bounds__`, else the hardware's 1024.
    pub max_threads: u32,
    /// What the assembler said, for sm_80 and sm_90.
    pub ptxas: &'static [Resources],
}

/// What one entry takes of the machine, from `ptxas -v`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resources {
    /// 80 for sm_80.
    pub arch: u32,
    /// Per thread.
    pub registers: u32,
    /// Static shared memory of a block, in bytes.
    pub shared: u32,
    /// Bytes of local memory per thread.
    pub stack: u32,
    /// Bytes per thread that did not fit into registers.
    pub spill_stores: u32,
    pub spill_loads: u32,
    /// Named barriers.
    pub barriers: u32,
}

include!(concat!(env!("OUT_DIR"), "/kernels.rs"));

/// The kernel of that name, if this build has it.
pub fn find(name: &str) -> Option<&'static Kernel> {
    static BY_NAME: OnceLock<HashMap<&'static str, &'static Kernel>> = OnceLock::new();
    BY_NAME.get_or_init(|| KERNELS.iter().map(|k| (k.name, k)).collect()).get(name).copied()
}

impl Kernel {
    /// What the assembler said for that architecture, if it was asked.
    pub fn on(&self, arch: u32) -> Option<&Resources> {
        self.ptxas.iter().find(|r| r.arch == arch)
    }
    /// Static shared memory in bytes: the same on every architecture.
    pub fn shared(&self) -> u32 {
        self.ptxas.iter().map(|r| r.shared).max().unwrap_or(0)
    }
}
