//! Where the CUDA compiler is. The first place that holds a compiler which works wins; every place looked at is noted.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Kernels are compiled for this virtual architecture: Ampere, the first with cp.async and TF32.
pub const BASELINE: u32 = 80;

/// A source with this line alone uses instructions of Hopper that run on compute capability 9.0 and on nothing else, older or newer.
pub const HOPPER_LINE: &str = "// sm_90a";

/// A compiler that made PTX of a trial kernel.
#[derive(Debug, Clone)]
pub struct Nvcc {
    pub path: PathBuf,
    /// `13.0.88`
    pub version: String,
}

/// The places searched, one remark each, and the compiler if there is one.
#[derive(Debug, Default)]
pub struct Search {
    pub found: Option<Nvcc>,
    pub remarks: Vec<String>,
}

/// Variables that name a toolkit's folder, most specific first.
const TOOLKITS: [&str; 4] = ["CUDA_HOME", "CUDA_PATH", "CUDA_ROOT", "CUDA_TOOLKIT_ROOT_DIR"];

/// Look for nvcc. `var` reads an environment variable (empty counts as unset); `root` is the package's folder, `scratch` a folder
/// for the trial. `works` tries one executable: [`trial`], or a test's stand-in.
pub fn search(var: &dyn Fn(&str) -> Option<OsString>, root: &Path, works: &dyn Fn(&Path) -> Result<Nvcc, String>) -> Search {
    let mut s = Search::default();
    // Whoever names a compiler wants that one: nothing else is tried.
    if let Some(named) = var("NVCC") {
        let path = PathBuf::from(named);
        s.look("NVCC", &[path], works);
        return s;
    }
    let mut unset = vec!["NVCC"];
    for name in TOOLKITS {
        match var(name) {
            Some(dir) => s.look(name, &[Path::new(&dir).join("bin").join(exe())], works),
            None => unset.push(name),
        }
        if s.found.is_some() {
            return s;
        }
    }
    s.remarks.push(format!("{}: not set", unset.join(", ")));
    let path = var("PATH").map(|p| std::env::split_paths(&p).map(|d| d.join(exe())).collect::<Vec<_>>());
    s.look("PATH", &path.unwrap_or_default(), works);
    if s.found.is_none() {
        s.look("/usr/local/cuda*, /opt/cuda, /usr/lib/cuda", &usual(), works);
    }
    if s.found.is_none() {
        let home = var("HOME").or_else(|| var("USERPROFILE")).map(|h| Path::new(&h).join(".local"));
        let local = Some(root.join("target").join("cuda"));
        let named = ["VIRTUAL_ENV", "CONDA_PREFIX"].map(|v| var(v).map(PathBuf::from));
        let fixed = ["/usr/local", "/usr"].map(|d| Some(PathBuf::from(d)));
        let prefixes = named.into_iter().chain([local, home]).chain(fixed).flatten();
        let wheels: Vec<PathBuf> = prefixes.flat_map(|p| wheels(&p)).collect();
        s.look("pip wheels (VIRTUAL_ENV, CONDA_PREFIX, target/cuda, ~/.local, /usr/local, /usr)", &wheels, works);
    }
    s
}

impl Search {
    /// Try the files of one place that exist, in order.
    fn look(&mut self, place: &str, files: &[PathBuf], works: &dyn Fn(&Path) -> Result<Nvcc, String>) {
        let mut none = true;
        // A folder may be called nvcc: only files count. A bare name (NVCC=nvcc-13) is left to the system to find.
        for f in files.iter().filter(|f| f.is_file() || f.components().count() == 1) {
            none = false;
            match works(f) {
                Ok(nvcc) => {
                    let place = place.split(" (").next().unwrap_or(place);
                    self.remarks.push(format!("{place}: {}", f.display()));
                    self.found = Some(nvcc);
                    return;
                }
                Err(why) => self.remarks.push(format!("{place}: {} does not work: {why}", f.display())),
            }
        }
        if none {
            self.remarks.push(match files {
                [one] => format!("{place}: no file {}", one.display()),
                _ => format!("{place}: no nvcc"),
            });
        }
    }
}

fn exe() -> &'static str {
    if cfg!(windows) { "nvcc.exe" } else { "nvcc" }
}

/// Folders that installers and distributions use; of several versions the newest.
fn usual() -> Vec<PathBuf> {
    let mut dirs: Vec<PathBuf> = vec!["/usr/local/cuda".into()];
    let mut versions = children(Path::new("/usr/local"), |n| n.starts_with("cuda-"));
    versions.sort_by_key(|d| std::cmp::Reverse(numbers(d)));
    dirs.extend(versions);
    dirs.extend(["/opt/cuda", "/usr/lib/cuda"].map(PathBuf::from));
    dirs.into_iter().map(|d| d.join("bin").join(exe())).collect()
}

/// `nvidia/cu13/bin/nvcc` of the wheel `nvidia-cuda-nvcc` under a Python prefix. Distributions rename `site-packages`.
fn wheels(prefix: &Path) -> Vec<PathBuf> {
    let mut pythons = children(&prefix.join("lib"), |n| n.starts_with("python3"));
    pythons.sort_by_key(|d| std::cmp::Reverse(numbers(d)));
    pythons.push(prefix.join("Lib")); // Windows
    let packages = pythons.iter().flat_map(|p| ["site-packages", "dist-packages"].map(|s| p.join(s).join("nvidia")));
    packages
        .flat_map(|nvidia| {
            let mut toolkits = children(&nvidia, |n| n.strip_prefix("cu").is_some_and(|v| v.parse::<u32>().is_ok()));
            toolkits.sort_by_key(|d| std::cmp::Reverse(numbers(d)));
            toolkits
        })
        .map(|toolkit| toolkit.join("bin").join(exe()))
        .filter(|f| f.is_file())
        .collect()
}

fn children(dir: &Path, keep: impl Fn(&str) -> bool) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(dir) else { return Vec::new() };
    let names = entries.flatten().filter(|e| e.file_name().to_str().is_some_and(&keep));
    names.map(|e| e.path()).collect()
}

/// The numbers in a folder's name, so that `cuda-12.10` comes after `cuda-12.9`.
fn numbers(dir: &Path) -> Vec<u32> {
    let name = dir.file_name().and_then(|n| n.to_str()).unwrap_or_default();
    name.split(|c: char| !c.is_ascii_digit()).filter_map(|n| n.parse().ok()).collect()
}

/// Ask for the version, then compile a one-line kernel: that also proves the host compiler, the headers and the architecture.
pub fn trial(nvcc: &Path, scratch: &Path) -> Result<Nvcc, String> {
    let run = |args: &[OsString]| -> Result<String, String> {
        let out = Command::new(nvcc).current_dir(scratch).args(args).output().map_err(|e| e.to_string())?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_string();
        match out.status.success() {
            true => Ok(text(&out.stdout)),
            false => {
                Err(format!("{}: {} {}", out.status, text(&out.stderr), text(&out.stdout)).replace('\n', "; ").trim().into())
            }
        }
    };
    let words = run(&["--version".into()])?;
    // "Cuda compilation tools, release 13.0, V13.0.88"
    let version =
        words.split_whitespace().find_map(|w| w.strip_prefix('V').filter(|v| v.starts_with(|c: char| c.is_ascii_digit())));
    let version = version
        .ok_or_else(|| format!("it does not say which CUDA it is of: {:?}", words.chars().take(80).collect::<String>()))?;
    std::fs::write(scratch.join("trial.cu"), "extern \"C\" __global__ void trial(float *y) { y[threadIdx.x] = 1.0f; }\n")
        .map_err(|e| e.to_string())?;
    let arch = format!("-arch=compute_{BASELINE}");
    run(&["-ptx", &arch, "-std=c++17", "-o", "trial.ptx", "trial.cu"].map(OsString::from))?;
    Ok(Nvcc { path: nvcc.to_path_buf(), version: version.to_string() })
}

/// Whether the compiler can make machine code for sm_90a, which it does not list: CUDA 12.0 and newer can. After [`trial`].
pub fn hopper(nvcc: &Path, scratch: &Path) -> Result<(), String> {
    let args = ["-cubin", "-arch=sm_90a", "-std=c++17", "-o", "trial.cubin", "trial.cu"];
    let out = Command::new(nvcc).current_dir(scratch).args(args).output().map_err(|e| e.to_string())?;
    let words = String::from_utf8_lossy(&out.stderr);
    match out.status.success() {
        true => Ok(()),
        false => Err(words.lines().find(|l| !l.trim().is_empty()).unwrap_or("it says nothing").trim().to_string()),
    }
}

/// Architectures that the compiler can make machine code for, as in `sm_90`.
pub fn architectures(nvcc: &Path) -> Result<Vec<u32>, String> {
    let out = Command::new(nvcc).arg("--list-gpu-code").output().map_err(|e| e.to_string())?;
    let text = String::from_utf8_lossy(&out.stdout);
    Ok(text.split_whitespace().filter_map(|w| w.strip_prefix("sm_")?.parse().ok()).collect())
}

/// `LAE_CUDA_ARCHS="80,86,90"`: architectures to make machine code for besides the PTX.
pub fn wanted(list: &str, known: &[u32]) -> Result<Vec<u32>, String> {
    let mut wanted = Vec::new();
    for word in list.split([',', ' ']).filter(|w| !w.is_empty()) {
        let n = word.trim_start_matches("sm_").parse::<u32>();
        let n = n.map_err(|_| format!("LAE_CUDA_ARCHS: {word:?} is not an architecture; write numbers, as in 80,86,90"))?;
        if n < BASELINE {
            return Err(format!(
                "LAE_CUDA_ARCHS: the kernels need sm_{BASELINE} or newer (cp.async, TF32), so none can be made for sm_{n}"
            ));
        }
        if !known.contains(&n) {
            let known = known.iter().map(|k| format!("sm_{k}")).collect::<Vec<_>>().join(" ");
            return Err(format!("LAE_CUDA_ARCHS: this nvcc cannot make sm_{n}; it knows {known}"));
        }
        wanted.push(n);
    }
    wanted.sort();
    wanted.dedup();
    Ok(wanted)
}
