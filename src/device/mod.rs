//! Where a plan runs: the host, or a driver with seven verbs.
//!
//! The host is a first-class device and the default where there is no GPU. A GPU backend implements [`Driver`]; the launches
//! that reach it are recorded by the ops themselves (`Op::gpu_forward`, `Op::gpu_backward`), so that an emulator of the driver
//! runs the very launches that hardware would.

use std::sync::Arc;

use crate::error::{Error, Result};

/// A block of device memory, by the driver's own number.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub struct Mem(pub u64);

/// `len` bytes of device memory from `offset`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Span {
    pub mem: Mem,
    pub offset: usize,
    pub len: usize,
}

/// One launch: kernel entry, grid, block, and its arguments in the kernel's order.
#[derive(Clone, Debug)]
pub struct Launch {
    pub kernel: &'static str,
    pub grid: [u32; 3],
    pub block: [u32; 3],
    pub args: Vec<Arg>,
}

/// An argument of a launch. Reading and writing is said per buffer, so that an emulator can enforce it.
#[derive(Clone, Debug)]
pub enum Arg {
    Read(Span),
    Write(Span),
    /// Sizes: one plain struct by value.
    Value(Vec<u8>),
}

/// What a GPU (or its emulator) must be able to do.
pub trait Driver: Send + Sync {
    fn name(&self) -> &str;
    fn alloc(&self, bytes: usize) -> Result<Mem>;
    fn upload(&self, dst: Span, src: &[u8]) -> Result<()>;
    fn download(&self, src: Span, dst: &mut [u8]) -> Result<()>;
    fn launch(&self, l: &Launch) -> Result<()>;
    fn sync(&self) -> Result<()>;
    /// Run `body` while noting its launches, to be replayed as one.
    fn record(&self, body: &mut dyn FnMut() -> Result<()>) -> Result<Box<dyn Replay>>;
}

pub trait Replay: Send {
    fn replay(&self) -> Result<()>;
}

/// What an op's launch code writes into: the operands of one step on a driver.
pub struct Gpu<'a> {
    pub driver: &'a dyn Driver,
}

impl Gpu<'_> {
    pub fn no_kernel(&self, op: &str) -> Error {
        Error::Unavailable { device: self.driver.name().to_string(), why: format!("{op} has no kernel in this build") }
    }
}

#[derive(Clone)]
pub enum Device {
    Cpu,
    Gpu(Arc<dyn Driver>),
}

impl Device {
    /// `auto` or `cpu`; with one line that says what was chosen and why. A device that was asked for by name is never replaced.
    pub fn choose(name: &str) -> Result<(Device, String)> {
        match name {
            "cpu" => Ok((Device::Cpu, format!("cpu ({})", cpu_features()))),
            "auto" => Ok((Device::Cpu, format!("cpu ({}; this build has no GPU kernels)", cpu_features()))),
            "cuda" | "emu" => Err(Error::Unavailable {
                device: name.to_string(),
                why: "this build has no GPU kernels; use --device cpu (or auto)".to_string(),
            }),
            other => Err(Error::config("--device", format!("{other:?} is not a device; use auto or cpu"))),
        }
    }
    pub fn name(&self) -> &str {
        match self {
            Device::Cpu => "cpu",
            Device::Gpu(d) => d.name(),
        }
    }
}

/// Threads and the vector instructions that the convolutions will use.
pub fn cpu_features() -> String {
    let threads = rayon::current_num_threads();
    format!("{threads} thread{}, {}", if threads == 1 { "" } else { "s" }, simd_name())
}

#[cfg(target_arch = "x86_64")]
fn simd_name() -> &'static str {
    if is_x86_feature_detected!("avx512f") {
        "AVX-512"
    } else if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
        "AVX2"
    } else {
        "SSE2"
    }
}
#[cfg(not(target_arch = "x86_64"))]
fn simd_name() -> &'static str {
    "portable code"
}
