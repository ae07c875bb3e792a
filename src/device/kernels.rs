//! The kernels that this build carries: `kernels/*.cu`, compiled to PTX by `build.rs`, with what the PTX says of their arguments
//! and the assembler of their use of the machine.
//!
//! [`register`] adds kernels that were compiled elsewhere: an op of another crate brings its PTX with it.
//!
//! Generated with the tables: `BUILD_REPORT` (the compiler, or the places where none was found), `PTX_VERSION` (the highest of all
//! modules; (0, 0) without kernels) and `SOURCES_HASH` (of the sources, the compiler's version and its flags).

use std::collections::HashMap;
use std::sync::{Mutex, OnceLock, PoisonError};

use crate::error::{Error, Result};
use crate::ptx;

/// The instruction set that a module is compiled for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// Runs on compute capability 8.0 and newer.
    Sm80,
    /// wgmma and the copies of tiles by hardware that feed it: runs on compute capability 9.0 and on nothing else.
    Sm90a,
}

/// One `.cu` file as PTX.
#[derive(Debug)]
pub struct Module {
    /// `batch_norm` for `kernels/batch_norm.cu`.
    pub name: &'static str,
    pub target: Target,
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
    /// What the assembler said, for sm_80 and sm_90, of [`Target::Sm90a`] for the latter alone; empty for registered kernels.
    pub ptxas: &'static [Resources],
    /// Static shared memory of a block in bytes: the same on every architecture.
    pub shared: u32,
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

/// Modules that [`register`] added.
static REGISTERED: Mutex<Vec<(&'static Module, &'static [Kernel])>> = Mutex::new(Vec::new());

/// Whether this build has kernels for sm_90a. A compiler older than CUDA 12.0 cannot make them; `BUILD_REPORT` says so.
pub fn hopper() -> bool {
    MODULES.iter().any(|m| m.target == Target::Sm90a)
}

/// Why no kernel for sm_90a runs where [`hopper`] is false.
pub const NO_HOPPER: &str = "this build has none; build with nvcc of CUDA 12.0 or newer";

/// The kernel of that name: one of this build, else a registered one.
pub fn find(name: &str) -> Option<&'static Kernel> {
    static BY_NAME: OnceLock<HashMap<&'static str, &'static Kernel>> = OnceLock::new();
    let built = BY_NAME.get_or_init(|| KERNELS.iter().map(|k| (k.name, k)).collect()).get(name).copied();
    built.or_else(|| {
        let registered = REGISTERED.lock().unwrap_or_else(PoisonError::into_inner);
        registered.iter().flat_map(|(_, kernels)| *kernels).find(|k| k.name == name)
    })
}

/// Make the kernels of a PTX text known to every device, as if `build.rs` had compiled them: from then on `Gpu::call` finds them by
/// name. `module` names the text in errors. The text stays in memory to the end of the program; registering it again does nothing.
///
/// The emulator runs the text itself. A GPU's driver translates it at the first launch, and refuses a `.version` that is newer than
/// the driver: compile with the oldest toolkit that will do.
///
/// ```
/// use lae_engine::device::kernels;
///
/// let ptx = r#"
///     .version 8.0
///     .target sm_80
///     .address_size 64
///     .visible .entry my_op_fwd_f32(.param .u64 y, .param .u64 x, .param .u32 n) { ret; }"#;
/// kernels::register("my_op", ptx)?;
/// let kernel = kernels::find("my_op_fwd_f32").expect("just registered");
/// assert_eq!(kernel.params.len(), 3);
/// # Ok::<(), lae_engine::Error>(())
/// ```
///
/// Errors: text that is not PTX or has no kernel, an instruction that the emulator does not know (nothing could check such a kernel),
/// and a module or kernel whose name is taken by another text.
pub fn register(module: &str, text: &str) -> Result<()> {
    let refused = |why: String| Err(Error::data(module, why));
    let parsed = match ptx::Module::parse(module, text) {
        Ok(parsed) => parsed,
        Err(e) => return refused(format!("line {}: {}; compile it with nvcc -ptx", e.line, e.why)),
    };
    if let Some((entry, Err(e))) = parsed.check().into_iter().find(|(_, known)| known.is_err()) {
        return refused(format!("line {}: kernel {}: {}", e.line, entry.name, e.why));
    }
    if parsed.entries().is_empty() {
        return refused("has no kernel; declare it `extern \"C\" __global__`".to_string());
    }
    let mut registered = REGISTERED.lock().unwrap_or_else(PoisonError::into_inner);
    match MODULES.iter().chain(registered.iter().map(|(m, _)| *m)).find(|m| m.name == module) {
        Some(m) if m.ptx == text => return Ok(()),
        Some(_) => return refused("another module has this name; choose a name of your own".to_string()),
        None => {}
    }
    let known = || KERNELS.iter().chain(registered.iter().flat_map(|(_, kernels)| *kernels));
    if let Some(k) = known().find(|k| parsed.entry(k.name).is_some()) {
        return refused(format!("kernel {} exists in module {}; rename one of the two", k.name, k.module.name));
    }
    let stays = |s: &str| -> &'static str { s.to_string().leak() };
    let hopper = text.lines().any(|l| l.trim().strip_prefix(".target").is_some_and(|t| t.contains("sm_90a")));
    let target = if hopper { Target::Sm90a } else { Target::Sm80 };
    let m: &'static Module = Box::leak(Box::new(Module { name: stays(module), target, ptx: stays(text), cubins: &[] }));
    let kernel = |e: &ptx::Entry| Kernel {
        name: stays(&e.name),
        module: m,
        params: e.params.iter().map(|p| Param { size: p.size, align: p.align }).collect::<Vec<_>>().leak(),
        max_threads: e.max_threads.map_or(1024, |t| t.iter().product()),
        ptxas: &[],
        shared: parsed.shared(e).expect("checked above"),
    };
    registered.push((m, parsed.entries().iter().map(kernel).collect::<Vec<_>>().leak()));
    Ok(())
}

impl Kernel {
    /// What the assembler said for that architecture, if it was asked.
    pub fn on(&self, arch: u32) -> Option<&Resources> {
        self.ptxas.iter().find(|r| r.arch == arch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "
        .version 8.0
        .target sm_80
        .address_size 64
        .visible .entry registered_here(.param .u64 y, .param .align 4 .b8 sizes[12]) .maxntid 64, 2, 1
        {
            .reg .b32 %r<2>;
            .shared .align 16 .b8 tile[512];
            mov.u32 %r1, tile;
            ret;
        }";

    #[test]
    fn a_registered_kernel_has_the_signature_of_its_text() {
        register("registered", TEXT).unwrap();
        register("registered", TEXT).expect("the same text twice is no conflict");
        let k = find("registered_here").unwrap();
        assert_eq!(k.params, [Param { size: 8, align: 8 }, Param { size: 12, align: 4 }]);
        assert_eq!((k.max_threads, k.shared, k.module.name, k.module.ptx), (128, 512, "registered", TEXT));
        assert!(k.on(80).is_none());
    }

    #[test]
    fn what_cannot_be_registered_is_refused_by_name() {
        register("registered", TEXT).unwrap();
        let refusal = |module: &str, text: &str| register(module, text).unwrap_err().to_string();
        let e = refusal("registered", &TEXT.replace("512", "256"));
        assert!(e.starts_with("registered: another module has this name"), "{e}");
        let e = refusal("second", TEXT);
        assert!(e.starts_with("second: kernel registered_here exists in module registered"), "{e}");
        let e = refusal("third", "int main() {}");
        assert!(e.starts_with("third: line 1: ") && e.contains("nvcc -ptx"), "{e}");
        let e = refusal("fourth", ".version 8.0\n.target sm_80\n.address_size 64\n");
        assert!(e.contains("has no kernel"), "{e}");
        let unknown = TEXT.replace("registered_here", "unknown_here").replace("ret;", "tcgen05.wait::ld.sync.aligned; ret;");
        let e = refusal("fifth", &unknown);
        assert!(e.contains("kernel unknown_here") && e.contains("tcgen05"), "{e}");
        assert!(find("unknown_here").is_none());
        if let (Some(m), Some(k)) = (MODULES.first(), KERNELS.first()) {
            assert!(refusal(m.name, TEXT).contains("another module"));
            let e = refusal("sixth", &TEXT.replace("registered_here", k.name));
            assert!(e.contains(k.name) && e.contains("rename"), "{e}");
        }
    }
}
