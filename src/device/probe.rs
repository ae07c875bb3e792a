//! Is there a driver, and a GPU that the kernels run on? Asked before the first call of cudarc, which panics where the library is
//! missing or lacks a function.

use std::error::Error;
use std::fmt;

use libloading::Library;

use super::kernels;

/// Oldest driver that the bindings are made for: CUDA 12.0.
pub const OLDEST: Cuda = Cuda(12000);

/// The kernels are made for sm_80 and newer.
pub const OLDEST_ARCH: u32 = 80;

/// A version of CUDA as the driver counts: 12040 is 12.4.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Cuda(pub i32);

impl Cuda {
    /// The first whose driver reads PTX of that version. NVIDIA's table: "PTX release history" in the PTX ISA.
    pub fn that_reads(ptx: (u32, u32)) -> Cuda {
        match ptx {
            (8, minor @ 0..=5) => Cuda(12000 + 10 * minor as i32),
            (8, 6) => Cuda(12070),
            (8, 7) => Cuda(12080),
            (8, _) => Cuda(12090),
            (major @ 9.., minor) => Cuda(1000 * (major as i32 + 4) + 10 * minor as i32),
            _ => OLDEST,
        }
    }
    /// Major version of the first Linux driver that has it, where known: "CUDA Toolkit and Corresponding Driver Versions".
    pub fn driver(self) -> Option<u32> {
        let first = [(12000, 525), (12010, 530), (12020, 535), (12030, 545), (12040, 550), (12050, 555), (12060, 560)];
        let later = [(12080, 570), (12090, 575), (13000, 580)];
        first.into_iter().chain(later).find(|(cuda, _)| *cuda == self.0).map(|(_, driver)| driver)
    }
}

impl fmt::Display for Cuda {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{}.{}", self.0 / 1000, self.0 % 1000 / 10)
    }
}

/// What this build asks of a driver.
pub fn needed() -> Cuda {
    Cuda::that_reads(kernels::PTX_VERSION).max(OLDEST)
}

/// A GPU that the driver shows.
#[derive(Clone, PartialEq, Debug)]
pub struct Card {
    /// The card's number among the visible ones.
    pub ordinal: usize,
    pub name: String,
    /// 90 for compute capability 9.0.
    pub arch: u32,
    /// Bytes.
    pub memory: u64,
}

impl fmt::Display for Card {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "cuda:{} {}, sm_{}, {:.1} GiB", self.ordinal, self.name, self.arch, self.memory as f64 / (1u64 << 30) as f64)
    }
}

/// What was found. `Display` is one sentence, [`Probe::remedy`] what to do about it.
#[derive(Clone, PartialEq, Debug)]
pub enum Probe {
    NoDriver {
        why: String,
    },
    /// The library that the linker uses, not the driver's, or something else of that name.
    StubDriver {
        library: String,
        why: String,
    },
    InitFailed {
        code: i32,
    },
    DriverTooOld {
        have: Cuda,
        need: Cuda,
    },
    NoDevice,
    ArchUnsupported {
        gpus: Vec<Card>,
    },
    Ready {
        driver: Cuda,
        gpus: Vec<Card>,
    },
}

impl fmt::Display for Probe {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Probe::NoDriver { why } => write!(f, "no NVIDIA driver: {why}"),
            Probe::StubDriver { library, why } => write!(f, "{library} is not an NVIDIA driver: {why}"),
            Probe::InitFailed { code } => write!(f, "the NVIDIA driver does not start: {}", super::codes::name(*code)),
            Probe::DriverTooOld { have, need } => {
                write!(f, "the NVIDIA driver is too old: it has CUDA {have}, this build needs CUDA {need}")
            }
            Probe::NoDevice => match visible() {
                Some(v) => write!(f, "the NVIDIA driver shows no GPU; CUDA_VISIBLE_DEVICES={v}"),
                None => write!(f, "the NVIDIA driver shows no GPU"),
            },
            Probe::ArchUnsupported { gpus } => {
                let seen: Vec<String> = gpus.iter().map(|g| format!("{} is sm_{}", g.name, g.arch)).collect();
                write!(f, "no GPU for these kernels, which need sm_{OLDEST_ARCH} or newer: {}", seen.join(", "))
            }
            Probe::Ready { driver, gpus } => {
                let gpus: Vec<String> = gpus.iter().map(Card::to_string).collect();
                write!(f, "driver with CUDA {driver}; {}", gpus.join("; "))
            }
        }
    }
}

impl Probe {
    /// What a user can do; empty for `Ready`.
    pub fn remedy(&self) -> String {
        let cpu = "use --device cpu";
        match self {
            Probe::NoDriver { .. } => format!("install NVIDIA's driver, or {cpu}"),
            Probe::StubDriver { .. } => format!("take the toolkit's stubs folder off the library path, or {cpu}"),
            Probe::InitFailed { code } => super::codes::remedy(*code).unwrap_or(cpu).to_string(),
            Probe::DriverTooOld { need, .. } => match need.driver() {
                Some(driver) => format!("update to driver {driver} or newer, or {cpu}"),
                None => format!("update the driver, or {cpu}"),
            },
            Probe::NoDevice => format!("check nvidia-smi -L and CUDA_VISIBLE_DEVICES, or {cpu}"),
            Probe::ArchUnsupported { .. } => cpu.to_string(),
            Probe::Ready { .. } => String::new(),
        }
    }
}

/// The mask that hides GPUs from this process.
pub fn visible() -> Option<String> {
    std::env::var("CUDA_VISIBLE_DEVICES").ok()
}

/// Every function that `cuda.rs` and the parts of cudarc that it uses will call.
const FUNCTIONS: &[&str] = &[
    "cuInit",
    "cuDriverGetVersion",
    "cuDeviceGet",
    "cuDeviceGetCount",
    "cuDeviceGetName",
    "cuDeviceGetAttribute",
    "cuDeviceTotalMem_v2",
    "cuDevicePrimaryCtxRetain",
    "cuDevicePrimaryCtxRelease_v2",
    "cuCtxGetCurrent",
    "cuCtxSetCurrent",
    "cuCtxSynchronize",
    "cuMemAlloc_v2",
    "cuMemFree_v2",
    "cuMemGetInfo_v2",
    "cuMemHostAlloc",
    "cuMemFreeHost",
    "cuMemcpyHtoDAsync_v2",
    "cuMemcpyDtoHAsync_v2",
    "cuMemcpyDtoDAsync_v2",
    "cuModuleLoadDataEx",
    "cuModuleUnload",
    "cuModuleGetFunction",
    "cuFuncSetAttribute",
    "cuLaunchKernel",
    "cuStreamCreate",
    "cuStreamDestroy_v2",
    "cuStreamSynchronize",
    "cuStreamWaitEvent",
    "cuStreamBeginCapture_v2",
    "cuStreamEndCapture",
    "cuEventCreate",
    "cuEventRecord",
    "cuEventSynchronize",
    "cuEventDestroy_v2",
    "cuGraphInstantiateWithFlags",
    "cuGraphLaunch",
    "cuGraphExecDestroy",
    "cuGraphDestroy",
    "cuTensorMapEncodeTiled",
    "cuTensorMapEncodeIm2col",
];

const NO_DEVICE: i32 = 100;
const STUB_LIBRARY: i32 = 34;

/// Look. Starts the driver if there is one; the library stays loaded.
pub fn probe() -> Probe {
    let (name, library) = match load() {
        Ok(found) => found,
        Err(why) => return Probe::NoDriver { why },
    };
    // SAFETY: a library is asked for names alone; nothing is called through this type.
    let has = |f: &&&str| unsafe { library.get::<*const ()>(f.as_bytes()) }.is_ok();
    if let Some(missing) = FUNCTIONS.iter().find(|f| !has(f)) {
        return Probe::StubDriver { library: name, why: format!("it has no {missing}") };
    }
    // SAFETY: the signatures are those of cuda.h; the driver writes through the pointers while the calls last.
    unsafe {
        match call::<unsafe extern "C" fn(u32) -> i32>(library, "cuInit")(0) {
            0 => {}
            STUB_LIBRARY => return Probe::StubDriver { library: name, why: "it is the toolkit's stub, made for linking".into() },
            NO_DEVICE => return Probe::NoDevice,
            code => return Probe::InitFailed { code },
        }
        let number = |f: &str| {
            let mut n = 0;
            match call::<unsafe extern "C" fn(*mut i32) -> i32>(library, f)(&mut n) {
                0 => Ok(n),
                code => Err(Probe::InitFailed { code }),
            }
        };
        let version = match number("cuDriverGetVersion") {
            Ok(v) => Cuda(v),
            Err(e) => return e,
        };
        if version < needed() {
            return Probe::DriverTooOld { have: version, need: needed() };
        }
        let count = match number("cuDeviceGetCount") {
            Ok(n) => n,
            Err(e) => return e,
        };
        let mut gpus = Vec::new();
        for ordinal in 0..count {
            match describe(library, ordinal) {
                Ok(gpu) => gpus.push(gpu),
                Err(code) => return Probe::InitFailed { code },
            }
        }
        match gpus.iter().any(|g| g.arch >= OLDEST_ARCH) {
            _ if gpus.is_empty() => Probe::NoDevice,
            true => Probe::Ready { driver: version, gpus },
            false => Probe::ArchUnsupported { gpus },
        }
    }
}

/// The library that cudarc will take: the same names in the same order. Where only WSL's folder has it, loading it here lets the
/// loader find it again by its name. Never unloaded, as cudarc never unloads it.
fn load() -> Result<(String, &'static Library), String> {
    let names = ["cuda", "nvcuda"].into_iter().flat_map(cudarc::get_lib_name_candidates);
    let wsl = ["/usr/lib/wsl/lib/libcuda.so.1".to_string()].into_iter().filter(|_| cfg!(target_os = "linux"));
    let mut broken = None;
    for name in names.chain(wsl) {
        // SAFETY: loading runs the library's initialisers. NVIDIA's have none that matter before cuInit, and whoever puts another
        // library of that name on the path wants it run.
        match unsafe { Library::new(&name) } {
            Ok(library) => return Ok((name, Box::leak(Box::new(library)))),
            // A file that is there and cannot be loaded is worth telling of.
            Err(e) => {
                let why = e.source().map_or(e.to_string(), |s| s.to_string());
                broken = broken.or(Some(why).filter(|w| !w.contains("No such file")));
            }
        }
    }
    Err(match broken {
        Some(why) if !cfg!(windows) => why,
        _ => format!("{} not found", if cfg!(windows) { "nvcuda.dll" } else { "libcuda.so.1" }),
    })
}

/// # Safety
/// `F` is the type of that function, which the library has.
unsafe fn call<F: Copy>(library: &Library, name: &str) -> F {
    // SAFETY: the caller's promise.
    *unsafe { library.get::<F>(name.as_bytes()) }.expect("looked for before")
}

/// # Safety
/// The library is a driver that `cuInit` has started.
unsafe fn describe(library: &Library, ordinal: i32) -> Result<Card, i32> {
    /// `CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR` and `_MINOR`.
    const CAPABILITY: [i32; 2] = [75, 76];
    let done = |code| if code == 0 { Ok(()) } else { Err(code) };
    let (mut device, mut arch, mut memory, mut name) = (0, [0; 2], 0usize, [0u8; 128]);
    // SAFETY: signatures of cuda.h; the name's length is passed.
    unsafe {
        done(call::<unsafe extern "C" fn(*mut i32, i32) -> i32>(library, "cuDeviceGet")(&mut device, ordinal))?;
        let attribute = call::<unsafe extern "C" fn(*mut i32, i32, i32) -> i32>(library, "cuDeviceGetAttribute");
        for (value, which) in arch.iter_mut().zip(CAPABILITY) {
            done(attribute(value, which, device))?;
        }
        done(call::<unsafe extern "C" fn(*mut usize, i32) -> i32>(library, "cuDeviceTotalMem_v2")(&mut memory, device))?;
        let length = name.len() as i32 - 1;
        done(call::<unsafe extern "C" fn(*mut u8, i32, i32) -> i32>(library, "cuDeviceGetName")(
            name.as_mut_ptr(),
            length,
            device,
        ))?;
    }
    let name = String::from_utf8_lossy(name.split(|b| *b == 0).next().unwrap_or_default()).into_owned();
    Ok(Card { ordinal: ordinal as usize, name, arch: (10 * arch[0] + arch[1]) as u32, memory: memory as u64 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_ptx_and_cuda() {
        for (ptx, cuda) in [((7, 4), 12000), ((8, 0), 12000), ((8, 4), 12040), ((8, 7), 12080), ((9, 0), 13000), ((9, 1), 13010)]
        {
            assert_eq!(Cuda::that_reads(ptx).max(OLDEST), Cuda(cuda), "{ptx:?}");
        }
        assert_eq!(Cuda(12040).to_string(), "12.4");
        assert_eq!((Cuda(12000).driver(), Cuda(13000).driver(), Cuda(19000).driver()), (Some(525), Some(580), None));
    }

    /// The tests' driver has these functions and no other, so what it can run needs no more than the probe has looked for.
    #[test]
    fn the_fake_driver_has_what_is_looked_for() {
        let source = include_str!("../../tests/fake/libcuda.c");
        let mut fake: Vec<&str> = source.lines().filter_map(|l| l.strip_prefix("R ")?.split('(').next()).collect();
        let mut wanted = FUNCTIONS.to_vec();
        fake.sort();
        wanted.sort();
        assert_eq!(fake, wanted);
    }
}
