//! Where a plan runs: the host, or a driver with a few verbs.
//!
//! The host is a first-class device and the default where there is no GPU. A GPU backend implements [`Driver`]; the launches
//! that reach it are recorded by the ops themselves (`Op::gpu_forward`, `Op::gpu_backward`), so that an emulator of the driver
//! runs the very launches that hardware would.

pub mod gpu;
pub mod kernels;
pub mod tiles;

use std::sync::Arc;

use crate::error::{Error, Result};
pub use gpu::Gpu;
use kernels::Kernel;

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

impl Span {
    /// Values (f32) `first..first + len` of this span.
    pub fn values(self, first: usize, len: usize) -> Span {
        let (offset, len) = (first * gpu::F32, len * gpu::F32);
        assert!(offset + len <= self.len, "{len} bytes from {offset} of a span of {}", self.len);
        Span { mem: self.mem, offset: self.offset + offset, len }
    }
}

/// One launch: kernel, grid, block, dynamic shared memory in bytes, and its arguments in the kernel's order.
#[derive(Clone, Debug)]
pub struct Launch {
    pub kernel: &'static Kernel,
    pub grid: [u32; 3],
    pub block: [u32; 3],
    pub shared: u32,
    pub args: Vec<Arg>,
}

/// An argument of a launch. What the kernel may do with a buffer is said per buffer, so that an emulator can enforce it.
#[derive(Clone, Debug)]
pub enum Arg {
    Read(Span),
    /// Filled by the kernel: contents are undefined before.
    Write(Span),
    /// Read and changed.
    Update(Span),
    /// A pointer that the kernel does not follow: an operand that is absent.
    Null,
    /// Sizes: one plain struct by value.
    Value(Box<[u8]>),
}

impl Arg {
    /// Bytes that the argument takes in the parameter list.
    pub fn size(&self) -> usize {
        match self {
            Arg::Value(bytes) => bytes.len(),
            _ => size_of::<u64>(),
        }
    }
}

impl Launch {
    /// Compare with the signature in the PTX: number and sizes of the arguments, and an empty grid.
    pub fn check(&self) -> Result<()> {
        let (name, params) = (self.kernel.name, self.kernel.params);
        let wrong = |why: String| Err(Error::Launch { kernel: name.to_string(), at: String::new(), why });
        if self.args.len() != params.len() {
            return wrong(format!("takes {} arguments, got {}", params.len(), self.args.len()));
        }
        for (i, (a, p)) in self.args.iter().zip(params).enumerate() {
            if a.size() != p.size as usize {
                return wrong(format!("argument {i} takes {} bytes, got {}", p.size, a.size()));
            }
        }
        if self.grid.contains(&0) || self.block.contains(&0) {
            return wrong(format!("grid {:?} of blocks {:?} has no threads", self.grid, self.block));
        }
        Ok(())
    }
}

/// What a GPU (or its emulator) must be able to do.
pub trait Driver: Send + Sync {
    fn name(&self) -> &str;
    /// Memory for several blocks of `(name, bytes)`. Hardware may serve them from one allocation; each begins at a multiple of
    /// 256 bytes. Contents are undefined.
    fn alloc(&self, blocks: &[(String, usize)]) -> Result<Vec<Mem>>;
    /// Give back what one call of `alloc` returned.
    fn free(&self, blocks: &[Mem]);
    fn upload(&self, dst: Span, src: &[u8]) -> Result<()>;
    /// Waits for the work that was launched before.
    fn download(&self, src: Span, dst: &mut [u8]) -> Result<()>;
    fn launch(&self, l: &Launch) -> Result<()>;
    fn sync(&self) -> Result<()>;
    /// Run `body` while noting its launches, to be replayed as one. `body` may only launch (and discard).
    fn record(&self, body: &mut dyn FnMut() -> Result<()>) -> Result<Box<dyn Replay>>;
    /// From here on the contents are undefined: a checking driver poisons them.
    fn discard(&self, _: Span) -> Result<()> {
        Ok(())
    }
}

pub trait Replay: Send {
    fn replay(&self) -> Result<()>;
}

/// What convolutions on a GPU may round their factors to. Sums are always f32.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, serde::Serialize, serde::Deserialize)]
pub enum Precision {
    /// Plain f32 arithmetic.
    #[default]
    #[serde(rename = "f32")]
    F32,
    /// Tensor cores, 10 bits of fraction.
    #[serde(rename = "tf32")]
    Tf32,
    /// Tensor cores, each factor as the sum of two: nearly f32.
    #[serde(rename = "3xtf32")]
    Tf32x3,
}

#[derive(Clone)]
pub enum Device {
    Cpu,
    Gpu(Arc<dyn Driver>, Precision),
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
    /// The same device with convolutions in this precision; the CPU has only f32.
    pub fn with_precision(self, p: Precision) -> Device {
        match self {
            Device::Cpu => Device::Cpu,
            Device::Gpu(driver, _) => Device::Gpu(driver, p),
        }
    }
    pub fn name(&self) -> &str {
        match self {
            Device::Cpu => "cpu",
            Device::Gpu(d, _) => d.name(),
        }
    }
}
impl std::fmt::Display for Device {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        match self {
            Device::Cpu => write!(f, "cpu, {}", cpu_features()),
            Device::Gpu(d, Precision::F32) => write!(f, "{}", d.name()),
            Device::Gpu(d, Precision::Tf32) => write!(f, "{}, convolutions in tf32", d.name()),
            Device::Gpu(d, Precision::Tf32x3) => write!(f, "{}, convolutions in 3xtf32", d.name()),
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
