//! Compiles `kernels/*.cu` to PTX and writes the table that `src/device/kernels.rs` includes.
//!
//! ```text
//! LAE_CUDA=auto      kernels if there is a compiler, else a build without them and one warning (the default)
//!          require   no compiler is an error
//!          off       no kernels
//! LAE_CUDA_ARCHS=80,90   machine code for these besides the PTX, so that the driver need not translate
//! ```
//! A source with the line `// sm_90a` is compiled for that alone, where the compiler can; where it cannot, the build goes without
//! these kernels and its report says so.
//! Nothing is downloaded and no GPU is asked for.

#[path = "build/nvcc.rs"]
mod nvcc;
#[path = "build/ptx.rs"]
mod ptx;

use std::ffi::OsString;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use nvcc::{BASELINE, HOPPER_LINE, Nvcc, Search};

/// PTX of a newer instruction set than the driver knows is refused, and the compiler stamps its own version however old the
/// instructions are. The first of these that the assembler takes is stamped instead: CUDA 12.0, 12.3, 12.8.
const OLDER: [(u32, u32); 3] = [(8, 0), (8, 3), (8, 7)];

/// No `-fmad`: the sources say where a product and a sum are one operation, so that the PTX fixes every rounding.
const FLAGS: [&str; 5] = ["-ptx", "-O3", "-lineinfo", "-fmad=false", "-std=c++17"];

/// Figures of `ptxas -v` are kept for these: Ampere and Hopper.
const MEASURED: [u32; 2] = [80, 90];

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=build");
    println!("cargo:rerun-if-changed=kernels");
    if let Err(why) = build() {
        eprintln!("{why}");
        std::process::exit(1);
    }
}

fn build() -> Result<(), String> {
    let root = PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").ok_or("no CARGO_MANIFEST_DIR")?);
    let out = PathBuf::from(std::env::var_os("OUT_DIR").ok_or("no OUT_DIR")?);
    let mode = var("LAE_CUDA").map_or("auto".into(), |m| m.to_string_lossy().into_owned());
    let search = match mode.as_str() {
        "off" => Search { remarks: vec!["LAE_CUDA=off".into()], ..Search::default() },
        "auto" | "require" if var("DOCS_RS").is_some() => Search { remarks: vec!["DOCS_RS is set".into()], ..Search::default() },
        "auto" | "require" => nvcc::search(&var, &root, &|file| nvcc::trial(file, &out)),
        _ => return Err(format!("LAE_CUDA={mode}: use auto, require or off")),
    };
    let Some(nvcc) = search.found else {
        let why = format!("no CUDA compiler, so no GPU kernels; looked at {}", search.remarks.join("; "));
        let remedy = "Name a compiler with NVCC=/path/to/nvcc and build again";
        match mode.as_str() {
            "require" => return Err(format!("LAE_CUDA=require: {why}. {remedy}.")),
            "auto" => println!("cargo:warning={why}. {remedy}."),
            _ => {}
        }
        return write(&out, &[], &Table { report: why, ptx: (0, 0), hash: 0 });
    };
    println!("cargo:rerun-if-changed={}", nvcc.path.display());
    let known = nvcc::architectures(&nvcc.path)?;
    let archs = match var("LAE_CUDA_ARCHS") {
        Some(list) => nvcc::wanted(&list.to_string_lossy(), &known)?,
        None => Vec::new(),
    };
    let measured: Vec<u32> = MEASURED.into_iter().filter(|a| known.contains(a)).collect();
    let mut sources = Sources::read(&root.join("kernels"), &nvcc)?;
    let mut hopper = String::new();
    if !sources.hopper.is_empty() {
        match nvcc::hopper(&nvcc.path, &out) {
            Ok(()) => hopper = ", compute_90a".to_string(),
            Err(why) => {
                let left: Vec<String> = sources.hopper.iter().map(|f| stem(f)).collect();
                sources.files.retain(|f| !sources.hopper.contains(f));
                hopper = format!(", without {}, since this nvcc cannot make sm_90a: {why}", left.join(", "));
            }
        }
    }
    let job = Job { nvcc: &nvcc, root: &root, out: &out, sources: &sources, archs: &archs, measured: &measured };
    let modules = in_parallel(&sources.files, |file| job.compile(file))?;
    let ptx = modules.iter().map(|m| m.version).max().unwrap_or_default();
    let code = archs.iter().map(|a| format!(", sm_{a}")).collect::<String>();
    let report = format!(
        "nvcc {} ({}), PTX {}.{} for compute_{BASELINE}{code}{hopper}",
        nvcc.version,
        search.remarks.last().unwrap(),
        ptx.0,
        ptx.1
    );
    write(&out, &modules, &Table { report, ptx, hash: sources.hash })
}

/// An environment variable, where empty counts as unset. Cargo runs this script again if what was read has changed.
fn var(name: &str) -> Option<OsString> {
    println!("cargo:rerun-if-env-changed={name}");
    std::env::var_os(name).filter(|v| !v.is_empty())
}

/// The `.cu` files in order, and hashes of everything that the results depend on.
struct Sources {
    files: Vec<PathBuf>,
    /// Those of `files` that are for sm_90a alone.
    hopper: Vec<PathBuf>,
    /// Of the compiler, its flags and the headers: what every file depends on.
    common: Hash,
    /// Of all that and the files.
    hash: u64,
}

impl Sources {
    fn read(dir: &Path, nvcc: &Nvcc) -> Result<Sources, String> {
        let entries = std::fs::read_dir(dir).map_err(|e| format!("{}: {e}", dir.display()))?;
        let mut all: Vec<PathBuf> = entries.flatten().map(|e| e.path()).filter(|p| p.is_file()).collect();
        all.sort();
        let of_kind = |kind: &str| all.iter().filter(|f| f.extension().is_some_and(|e| e == kind)).cloned().collect::<Vec<_>>();
        let add = |hash: Hash, f: &PathBuf| {
            Ok::<_, String>(hash.add(f.file_name().unwrap().as_encoded_bytes()).add(&read(f)?.into_bytes()))
        };
        let toolchain = Hash::new().add(nvcc.version.as_bytes()).add(format!("{FLAGS:?} {OLDER:?} {BASELINE}").as_bytes());
        let common = of_kind("cuh").iter().try_fold(toolchain, add)?;
        let files = of_kind("cu");
        let hash = files.iter().try_fold(common, add)?.0;
        let mut hopper = Vec::new();
        for f in &files {
            if read(f)?.lines().any(|l| l.trim_end() == HOPPER_LINE) {
                hopper.push(f.clone());
            }
        }
        Ok(Sources { files, hopper, common, hash })
    }
}

/// FNV-1a, 64 bits: the same on every machine and for every version of Rust.
#[derive(Clone, Copy)]
struct Hash(u64);

impl Hash {
    fn new() -> Hash {
        Hash(0xcbf2_9ce4_8422_2325)
    }
    fn add(self, bytes: &[u8]) -> Hash {
        let length = (bytes.len() as u64).to_le_bytes();
        Hash(length.iter().chain(bytes).fold(self.0, |h, &b| (h ^ b as u64).wrapping_mul(0x0100_0000_01b3)))
    }
}

/// At most as many at once as Cargo's `-j`. Errors of all files are told, in the order of the files.
fn in_parallel<T: Send>(files: &[PathBuf], work: impl Fn(&Path) -> Result<T, String> + Sync) -> Result<Vec<T>, String> {
    let jobs = std::env::var("NUM_JOBS").ok().and_then(|n| n.parse().ok()).unwrap_or(1usize);
    let (next, done) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|s| {
        for _ in 0..jobs.clamp(1, files.len().max(1)) {
            s.spawn(|| {
                while let Some((i, file)) = Some(next.fetch_add(1, Ordering::Relaxed)).and_then(|i| Some((i, files.get(i)?))) {
                    let result = work(file);
                    done.lock().unwrap().push((i, result));
                }
            });
        }
    });
    let mut done = done.into_inner().unwrap();
    done.sort_by_key(|(i, _)| *i);
    let (good, bad): (Vec<_>, Vec<_>) = done.into_iter().map(|(_, r)| r).partition(|r| r.is_ok());
    match bad.is_empty() {
        true => Ok(good.into_iter().flatten().collect()),
        false => Err(bad.into_iter().filter_map(Result::err).collect::<Vec<_>>().join("\n")),
    }
}

/// The instruction set that a file is compiled for. Code for sm_80 runs on all newer GPUs, code for sm_90a on compute capability 9.0.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Target {
    Sm80,
    Sm90a,
}

impl Target {
    /// `80`, `90a`
    fn name(self) -> String {
        match self {
            Target::Sm80 => BASELINE.to_string(),
            Target::Sm90a => "90a".to_string(),
        }
    }
    /// What to ask the assembler for, to get machine code for a GPU: none if the file cannot run there.
    fn on(self, arch: u32) -> Option<String> {
        match self {
            Target::Sm80 => Some(arch.to_string()),
            Target::Sm90a => (arch == 90).then(|| self.name()),
        }
    }
}

/// One compiled file.
struct Module {
    name: String,
    target: Target,
    ptx: PathBuf,
    version: (u32, u32),
    cubins: Vec<(u32, PathBuf)>,
    entries: Vec<ptx::Entry>,
    resources: Vec<ptx::Resources>,
}

/// What every compilation needs.
struct Job<'a> {
    nvcc: &'a Nvcc,
    root: &'a Path,
    out: &'a Path,
    sources: &'a Sources,
    archs: &'a [u32],
    measured: &'a [u32],
}

impl Job<'_> {
    fn compile(&self, cu: &Path) -> Result<Module, String> {
        let name = cu.file_stem().and_then(|n| n.to_str()).ok_or_else(|| format!("{}: the name is not UTF-8", cu.display()))?;
        let target = if self.sources.hopper.iter().any(|h| h == cu) { Target::Sm90a } else { Target::Sm80 };
        let on = |archs: &[u32]| archs.iter().copied().filter(|a| target.on(*a).is_some()).collect::<Vec<u32>>();
        let (archs, measured) = (on(self.archs), on(self.measured));
        let at = |end: &str| self.out.join(format!("{name}.{end}"));
        let (file, report) = (at("ptx"), |arch: u32| at(&format!("sm_{arch}.txt")));
        // What an earlier run made of the same source is kept, so that an edit of one kernel compiles one kernel.
        let stamp = format!("{:016x} {archs:?} {measured:?} {target:?}", self.sources.common.add(read(cu)?.as_bytes()).0);
        if !std::fs::read_to_string(at("stamp")).is_ok_and(|s| s == stamp) {
            let _ = std::fs::remove_file(at("stamp"));
            let source = Path::new("kernels").join(cu.file_name().unwrap());
            let arch = format!("-arch=compute_{}", target.name());
            let flags = FLAGS.map(OsString::from).into_iter().chain([arch.into(), "-o".into()]);
            self.nvcc(flags.chain([file.clone().into(), source.into()]))?;
            let text = ptx::portable_paths(&read(&file)?);
            let first = if target == Target::Sm80 { BASELINE } else { 90 };
            save(&report(first), &self.lower(&file, &text, target, first)?)?;
            for &arch in archs.iter().chain(measured.iter().filter(|a| !archs.contains(a))).filter(|a| **a != first) {
                save(&report(arch), &self.assemble(&file, target, arch)?)?;
            }
            save(&at("stamp"), &stamp)?;
        }
        let text = read(&file)?;
        let context = |why: String| format!("{}: {why}", file.display());
        let mut resources = Vec::new();
        for &arch in &measured {
            resources.extend(ptx::resources(&read(&report(arch))?).map_err(context)?);
        }
        Ok(Module {
            name: name.to_string(),
            target,
            version: ptx::version(&text).ok_or_else(|| context("no .version".into()))?,
            entries: ptx::entries(&text).map_err(context)?,
            cubins: archs.iter().map(|&a| (a, cubin(&file, a))).collect(),
            resources,
            ptx: file.clone(),
        })
    }

    /// Write the PTX under the oldest version that the assembler takes it for. Returns what it says for its first architecture.
    fn lower(&self, file: &Path, text: &str, target: Target, arch: u32) -> Result<String, String> {
        for version in OLDER.into_iter().filter(|v| ptx::version(text) > Some(*v)) {
            save(file, &ptx::with_version(text, version))?;
            if let Ok(report) = self.assemble(file, target, arch) {
                return Ok(report);
            }
        }
        save(file, text)?;
        self.assemble(file, target, arch)
    }

    /// Machine code of a module's PTX, and what the assembler says of it.
    fn assemble(&self, ptx: &Path, target: Target, arch: u32) -> Result<String, String> {
        let code = target.on(arch).expect("asked for GPUs that run the file");
        let args = ["-cubin", "-lineinfo", "-Xptxas=-v", &format!("-arch=sm_{code}"), "-o"].map(OsString::from);
        self.nvcc(args.into_iter().chain([cubin(ptx, arch).into(), ptx.into()]))
    }

    /// Run the compiler in the package's folder. On failure its words are the error, verbatim; warnings are passed on.
    fn nvcc(&self, args: impl Iterator<Item = OsString>) -> Result<String, String> {
        let mut command = Command::new(&self.nvcc.path);
        command.current_dir(self.root).args(args);
        let output = command.output().map_err(|e| format!("{}: {e}", self.nvcc.path.display()))?;
        let words = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        if !output.status.success() {
            return Err(format!("nvcc failed ({}): {command:?}\n{words}", output.status));
        }
        for line in words.lines().filter(|l| l.contains("warning")) {
            println!("cargo:warning={line}");
        }
        Ok(words)
    }
}

/// `fill.sm_90.cubin` beside `fill.ptx`.
fn cubin(ptx: &Path, arch: u32) -> PathBuf {
    ptx.with_extension(format!("sm_{arch}.cubin"))
}

fn stem(file: &Path) -> String {
    file.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

fn read(file: &Path) -> Result<String, String> {
    std::fs::read_to_string(file).map_err(|e| format!("{}: {e}", file.display()))
}

fn save(file: &Path, text: &str) -> Result<(), String> {
    std::fs::write(file, text).map_err(|e| format!("{}: {e}", file.display()))
}

/// What the table says of the whole build.
struct Table {
    report: String,
    ptx: (u32, u32),
    hash: u64,
}

/// The generated file: types in `src/device/kernels.rs`.
fn write(out: &Path, modules: &[Module], table: &Table) -> Result<(), String> {
    let (mut files, mut kernels) = (String::new(), String::new());
    for (i, m) in modules.iter().enumerate() {
        let cubins: String =
            m.cubins.iter().map(|(a, f)| format!("Cubin {{ arch: {a}, code: include_bytes!({f:?}) }}, ")).collect();
        writeln!(
            files,
            "    Module {{ name: {:?}, target: Target::{:?}, ptx: include_str!({:?}), cubins: &[{cubins}] }},",
            m.name, m.target, m.ptx
        )
        .unwrap();
        for e in &m.entries {
            let params: String = e.params.iter().map(|(s, a)| format!("Param {{ size: {s}, align: {a} }}, ")).collect();
            let ptxas: String = m.resources.iter().filter(|r| r.name == e.name).map(|r| resources(r) + ", ").collect();
            let (name, threads) = (&e.name, e.max_threads.unwrap_or(1024));
            let shared = m.resources.iter().filter(|r| r.name == e.name).map(|r| r.shared).max().unwrap_or(0);
            writeln!(
                kernels,
                "    Kernel {{ name: {name:?}, module: &MODULES[{i}], params: &[{params}], max_threads: {threads}, ptxas: &[{ptxas}], shared: {shared} }},"
            )
            .unwrap();
        }
    }
    let Table { report, ptx, hash } = table;
    let text = format!(
        "pub static MODULES: &[Module] = &[\n{files}];\n\
         pub static KERNELS: &[Kernel] = &[\n{kernels}];\n\
         pub const BUILD_REPORT: &str = {report:?};\n\
         pub const PTX_VERSION: (u32, u32) = {ptx:?};\n\
         pub const SOURCES_HASH: u64 = {hash:#018x};\n"
    );
    save(&out.join("kernels.rs"), &text)
}

fn resources(r: &ptx::Resources) -> String {
    let ptx::Resources { name: _, arch, registers, shared, stack, spill_stores, spill_loads, barriers } = r;
    format!(
        "Resources {{ arch: {arch}, registers: {registers}, shared: {shared}, stack: {stack}, \
         spill_stores: {spill_stores}, spill_loads: {spill_loads}, barriers: {barriers} }}"
    )
}
