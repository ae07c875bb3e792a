//! Where a plan runs: the host, or a driver with a few verbs.
//!
//! The host is a first-class device and the default where there is no GPU. A GPU backend implements [`Driver`]; the launches
//! that reach it are recorded by the ops themselves (`Op::gpu_forward`, `Op::gpu_backward`), so that an emulator of the driver
//! runs the very launches that hardware would.

#[cfg(feature = "cuda")]
mod codes;
#[cfg(feature = "cuda")]
pub mod cuda;
pub mod emu;
pub mod kernels;
#[cfg(feature = "cuda")]
pub mod probe;
pub mod tiles;

use std::sync::Arc;

use crate::error::{Error, Result};
pub use crate::ptx::TensorMap;
use kernels::{Kernel, Target};

/// A block of device memory, by the driver's own number.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub struct Mem(pub u64);

/// Bytes of one f32 value.
pub const F32: usize = size_of::<f32>();

/// `len` bytes of device memory from `offset`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Span {
    pub mem: Mem,
    pub offset: usize,
    pub len: usize,
    /// Bytes of one value: 4 for f32, 2 for bf16. Offsets are multiples of it.
    pub unit: usize,
}

impl Span {
    /// `len` bytes from the begin of a block that holds f32.
    pub fn whole(mem: Mem, len: usize) -> Span {
        Span { mem, offset: 0, len, unit: F32 }
    }
    /// Values `first..first + len` of this span.
    pub fn values(self, first: usize, len: usize) -> Span {
        let (offset, len) = (first * self.unit, len * self.unit);
        assert!(offset + len <= self.len, "{len} bytes from {offset} of a span of {}", self.len);
        Span { offset: self.offset + offset, len, ..self }
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
    /// A tensor map by value: through it, copies by hardware read boxes of the tensor that the span holds, and with `write` change
    /// them. The driver encodes the map; its address is the span's, whatever the description says.
    Map {
        span: Span,
        map: Box<TensorMap>,
        write: bool,
    },
}

impl Arg {
    /// Bytes that the argument takes in the parameter list.
    pub fn size(&self) -> usize {
        match self {
            Arg::Value(bytes) => bytes.len(),
            Arg::Map { .. } => crate::ptx::tensor_map::BYTES,
            _ => size_of::<u64>(),
        }
    }
    /// The memory that the kernel may touch through it.
    pub fn span(&self) -> Option<Span> {
        match self {
            Arg::Read(s) | Arg::Write(s) | Arg::Update(s) | Arg::Map { span: s, .. } => Some(*s),
            Arg::Null | Arg::Value(_) => None,
        }
    }
}

/// Alignment of a tensor map by value, in bytes.
const MAP_ALIGN: u32 = 64;

/// Why that map of that memory would be refused, if it would.
fn map_fault(map: &TensorMap, span: Span) -> Option<String> {
    let remedy = "other sizes, or precision f32, take a kernel without tensor maps";
    if !span.offset.is_multiple_of(16) {
        return Some(format!("the tensor begins {} bytes into its block, which is no multiple of 16; {remedy}", span.offset));
    }
    match map.check() {
        Err(why) => Some(format!("{why}; {remedy}")),
        Ok(()) if map.extent() > span.len as u64 => {
            Some(format!("the tensor has {} bytes, the memory {}", map.extent(), span.len))
        }
        Ok(()) => None,
    }
}

/// When an op that has kernels for sm_80 and for sm_90a takes the latter.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Hopper {
    /// Where the op's rule expects them to take less time.
    WhereFaster,
    /// Wherever the sizes allow it, so that small cases check them.
    WherePossible,
}

/// The error of a launch on a driver that cannot run its kernel.
fn refuse_target(driver: &dyn Driver, l: &Launch) -> Result<()> {
    match (l.kernel.module.target, driver.sm_90a()) {
        (Target::Sm90a, Err(why)) => {
            let why = format!("is compiled for sm_90a: {why}");
            Err(Error::Launch { kernel: l.kernel.name.to_string(), at: String::new(), why })
        }
        _ => Ok(()),
    }
}

/// Shared memory of a block, in bytes: 227 KiB on sm_90 and sm_100, less elsewhere.
const MOST_SHARED: u64 = 227 * 1024;

impl Launch {
    /// Compare with the signature in the PTX: number and sizes of the arguments; and with what every GPU asks of a launch.
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
            match a {
                Arg::Value(_) => {}
                Arg::Map { .. } if p.align < MAP_ALIGN => {
                    return wrong(format!("argument {i} is aligned to {} bytes, a tensor map needs {MAP_ALIGN}", p.align));
                }
                Arg::Map { span, map, .. } => {
                    if let Some(why) = map_fault(map, *span) {
                        return wrong(format!("argument {i}, a tensor map: {why}"));
                    }
                }
                _ if p.align as usize != size_of::<u64>() => {
                    return wrong(format!("argument {i} is a value aligned to {} bytes, got a pointer", p.align));
                }
                Arg::Read(s) | Arg::Write(s) | Arg::Update(s) if s.offset % s.unit != 0 => {
                    return wrong(format!("argument {i} points between values: {} bytes from the begin of its block", s.offset));
                }
                _ => {}
            }
        }
        let ([gx, gy, gz], [bx, by, bz]) = (self.grid, self.block);
        if self.grid.contains(&0) || self.block.contains(&0) {
            return wrong(format!("grid {:?} of blocks {:?} has no threads", self.grid, self.block));
        }
        if gx > i32::MAX as u32 || gy.max(gz) > 65535 {
            return wrong(format!("grid {:?} is larger than 2147483647 x 65535 x 65535 blocks", self.grid));
        }
        let threads = [bx, by, bz].iter().fold(1u64, |n, &b| n.saturating_mul(b as u64));
        if threads > self.kernel.max_threads as u64 || bz > 64 {
            let most = self.kernel.max_threads;
            return wrong(format!("blocks {:?} have {threads} threads; at most {most}, and 64 along z", self.block));
        }
        let shared = self.shared as u64 + self.kernel.shared as u64;
        if shared > MOST_SHARED {
            return wrong(format!("takes {shared} bytes of shared memory; no GPU gives a block more than {MOST_SHARED}"));
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
    /// Seconds that the launches of `body` took, by the device's own clock.
    fn seconds(&self, _body: &mut dyn FnMut() -> Result<()>) -> Result<f64> {
        Err(Error::Device { device: self.name().to_string(), why: "has no clock: it counts, it does not time".to_string() })
    }
    /// When ops are to take kernels for [`Target::Sm90a`]; or why it cannot run them.
    fn sm_90a(&self) -> Result<Hopper, String> {
        Err(format!("{} does not run them", self.name()))
    }
    /// From here on the contents are undefined: a checking driver poisons them.
    fn discard(&self, _: Span) -> Result<()> {
        Ok(())
    }
}

pub trait Replay: Send {
    fn replay(&self) -> Result<()>;
}

/// What activations and the factors of convolutions may be rounded to. Sums are always f32.
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
    /// Activations, their gradients and the weights that they meet are stored as bf16, on every device.
    #[serde(rename = "bf16")]
    Bf16,
}

impl Precision {
    /// What a launch may round its factors to. Under [`Precision::Bf16`] the factors that are bf16 lose nothing in tf32, and the others
    /// are f32 because bf16 would not do.
    pub fn of_factors(self, half: bool) -> Precision {
        match self {
            Precision::Bf16 if half => Precision::Tf32,
            Precision::Bf16 => Precision::F32,
            p => p,
        }
    }
}

/// Where a plan runs.
///
/// ```
/// use lae_engine::Device;
///
/// let (device, what) = Device::choose("auto")?;      // a GPU if one works, else the CPU
/// println!("running on {what}");                     // cpu (2 threads, AVX-512; …the reason…)
/// # let _ = device;
/// assert!(Device::choose("gpu").is_err());            // no such name: the error lists them
/// # Ok::<(), lae_engine::Error>(())
/// ```
///
/// An emulator with settings of its own: `Device::Gpu(Emulator::new(options), Precision::F32)`, see [`emu`].
#[derive(Clone)]
pub enum Device {
    /// The host.
    Cpu,
    /// A driver, and what convolutions on it may round their factors to.
    Gpu(Arc<dyn Driver>, Precision),
}

impl Device {
    /// `auto`, `cpu`, `cuda`, `cuda:N` or `emu`, and one line that says what was taken and why. `auto` takes the first GPU that the
    /// kernels run on, else the CPU. A device that was asked for by name is never replaced: [`Error::Unavailable`] says what is
    /// missing and what to do.
    pub fn choose(name: &str) -> Result<(Device, String)> {
        match (name, name.strip_prefix("cuda:").map(str::parse)) {
            ("cpu", _) => Ok((Device::Cpu, format!("cpu ({})", cpu_features()))),
            ("auto", _) => Ok(open_cuda(None).unwrap_or_else(|e| (Device::Cpu, format!("cpu ({}; {})", cpu_features(), e.why)))),
            ("cuda", _) => open_cuda(None).map_err(|e| e.of(name)),
            (_, Some(Ok(n))) => open_cuda(Some(n)).map_err(|e| e.of(name)),
            ("emu", _) if kernels::KERNELS.is_empty() => {
                let why = "this build has no kernels to run on the PTX emulator".to_string();
                Err(Missing { why, remedy: "`lae-engine doctor` says why; use --device cpu".to_string() }.of(name))
            }
            ("emu", _) => {
                let device = Device::Gpu(emu::Emulator::new(emu::Options::default()), Precision::F32);
                Ok((device, "emu (the PTX emulator: every access is checked; thousands of times slower than a GPU)".to_string()))
            }
            _ => Err(Error::config("--device", format!("{name:?} is not a device; use auto, cpu, cuda, cuda:N or emu"))),
        }
    }
    /// The same device with convolutions in this precision; those on the CPU sum products of f32, of bf16 values, too.
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

/// Why there is no GPU to run on.
struct Missing {
    why: String,
    remedy: String,
}

impl Missing {
    fn of(self, device: &str) -> Error {
        Error::Unavailable { device: device.to_string(), why: format!("{}; {}", self.why, self.remedy) }
    }
}

/// The GPU of that number, or the first that the kernels run on.
#[cfg(feature = "cuda")]
fn open_cuda(wanted: Option<usize>) -> Result<(Device, String), Missing> {
    let cpu = "use --device cpu";
    if kernels::KERNELS.is_empty() {
        let remedy = format!("build again with LAE_CUDA=require and see what it says, or {cpu}");
        return Err(Missing { why: "this build has no GPU kernels, `lae-engine doctor` says why".to_string(), remedy });
    }
    let (driver, gpus) = match probe::probe() {
        probe::Probe::Ready { driver, gpus } => (driver, gpus),
        p => return Err(Missing { why: p.to_string(), remedy: p.remedy() }),
    };
    let able = |g: &&probe::Card| g.arch >= probe::OLDEST_ARCH;
    let gpu = match wanted {
        None => gpus.iter().find(able).expect("a driver that is ready shows one"),
        Some(n) => match gpus.get(n) {
            Some(gpu) if able(&gpu) => gpu,
            Some(gpu) => {
                let why = format!("{} is sm_{}, the kernels need sm_{} or newer", gpu.name, gpu.arch, probe::OLDEST_ARCH);
                return Err(Missing { why, remedy: format!("choose another GPU, or {cpu}") });
            }
            None => {
                let mask = probe::visible().map_or("not set".to_string(), |v| format!("{v:?}"));
                let why = format!("no such GPU; visible are {}, CUDA_VISIBLE_DEVICES is {mask}", gpus.len());
                return Err(Missing { why, remedy: format!("use cuda:0 to cuda:{}", gpus.len() - 1) });
            }
        },
    };
    let why = format!("{gpu}, driver with CUDA {driver}");
    match cuda::Cuda::new(gpu.ordinal) {
        Ok(cuda) => Ok((Device::Gpu(Arc::new(cuda), Precision::default()), why)),
        Err(e) => Err(Missing { why: e.to_string(), remedy: cpu.to_string() }),
    }
}

#[cfg(not(feature = "cuda"))]
fn open_cuda(_: Option<usize>) -> Result<(Device, String), Missing> {
    let why = "built without the feature `cuda`".to_string();
    Err(Missing { why, remedy: "build with --features cuda, or use --device cpu".to_string() })
}

impl std::fmt::Display for Device {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        match self {
            Device::Cpu => write!(f, "cpu, {}", cpu_features()),
            Device::Gpu(d, Precision::F32 | Precision::Bf16) => write!(f, "{}", d.name()),
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
