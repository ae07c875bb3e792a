//! The kernels that this build carries: `kernels/*.cu`, compiled to PTX by `build.rs`, with what their PTX says of their arguments.

use std::collections::HashMap;
use std::sync::OnceLock;

/// One `.cu` file as PTX.
#[derive(Debug)]
pub struct Module {
    /// `batch_norm` for `kernels/batch_norm.cu`.
    pub name: &'static str,
    pub ptx: &'static str,
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
}

include!(concat!(env!("OUT_DIR"), "/kernels.rs"));

/// The kernel of that name, if this build has it.
pub fn find(name: &str) -> Option<&'static Kernel> {
    static BY_NAME: OnceLock<HashMap<&'static str, &'static Kernel>> = OnceLock::new();
    BY_NAME.get_or_init(|| KERNELS.iter().map(|k| (k.name, k)).collect()).get(name).copied()
}
