//! build.rs, run as Cargo runs it, on kernels and compilers that misbehave; and its readers of PTX and of the assembler's report.
//! Where this build has kernels its own compiler is used as well. The stand-ins are shell scripts.
#![cfg(unix)]

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use tempfile::TempDir;

use lae_engine::device::kernels;

#[path = "../build/ptx.rs"]
mod ptx;

/// The script as a program, built once.
fn script() -> &'static Path {
    static SCRIPT: OnceLock<(TempDir, PathBuf)> = OnceLock::new();
    let (_, program) = SCRIPT.get_or_init(|| {
        let dir = TempDir::new().unwrap();
        let program = dir.path().join("build-script");
        let rustc = std::env::var_os("RUSTC").unwrap_or("rustc".into());
        let mut c = Command::new(rustc);
        c.args(["--edition", "2024", "-o"]).arg(&program).arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("build.rs"));
        let out = c.output().unwrap();
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        (dir, program)
    });
    program
}

/// A package with one kernel, in a folder with a space in its name, and an environment that names no compiler.
struct Package {
    dir: TempDir,
    settings: Vec<(String, String)>,
}

struct Ran {
    code: i32,
    out: String,
    error: String,
    /// The generated table; empty if there is none.
    table: String,
}

const FILL: &str = include_str!("../kernels/fill.cu");
const HEADER: &str = include_str!("../kernels/lae.cuh");
/// What the header includes.
const BF16: &str = include_str!("../kernels/bf16.cuh");

impl Package {
    fn new() -> Package {
        let p = Package { dir: TempDir::new().unwrap(), settings: Vec::new() };
        p.file("kernels/fill.cu", FILL).file("kernels/lae.cuh", HEADER).file("kernels/bf16.cuh", BF16).file("out dir/keep", "");
        p
    }
    fn root(&self) -> PathBuf {
        self.dir.path().join("a package")
    }
    fn file(&self, name: &str, text: &str) -> &Package {
        let file = self.root().join(name);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, text).unwrap();
        self
    }
    /// An executable of that name under the package's folder.
    fn program(&self, name: &str, script: &str) -> PathBuf {
        self.file(name, &format!("#!/bin/sh\n{script}\n"));
        let file = self.root().join(name);
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
        file
    }
    fn with(mut self, name: &str, value: impl AsRef<Path>) -> Package {
        self.settings.push((name.to_string(), value.as_ref().to_str().unwrap().to_string()));
        self
    }
    fn run(&self) -> Ran {
        let _ = std::fs::remove_file(self.root().join("out dir/kernels.rs"));
        let mut c = Command::new(script());
        c.env_clear().env("CARGO_MANIFEST_DIR", self.root()).env("OUT_DIR", self.root().join("out dir")).env("NUM_JOBS", "2");
        // Not the machine's PATH: it may hold a compiler.
        c.env("PATH", "/no/such:/folders").envs(self.settings.iter().cloned());
        let out = c.current_dir(self.root()).output().unwrap();
        let text = |b: &[u8]| String::from_utf8_lossy(b).into_owned();
        Ran {
            code: out.status.code().unwrap_or(-1),
            out: text(&out.stdout),
            error: text(&out.stderr),
            table: std::fs::read_to_string(self.root().join("out dir/kernels.rs")).unwrap_or_default(),
        }
    }
}

impl Ran {
    fn warnings(&self) -> Vec<&str> {
        self.out.lines().filter_map(|l| l.strip_prefix("cargo:warning=")).collect()
    }
    fn report(&self) -> &str {
        self.table.lines().find(|l| l.contains("BUILD_REPORT")).expect("the table has a report")
    }
    fn built(&self) -> bool {
        self.table.contains("fill_fwd_f32")
    }
    /// Built without kernels, and said so once, in the warning and in the table.
    fn without(&self) -> &Ran {
        assert_eq!((self.code, self.warnings().len()), (0, 1), "{} {}", self.out, self.error);
        let said = self.warnings()[0].split(". Name a compiler").next().unwrap();
        assert!(said.starts_with("no CUDA compiler, so no GPU kernels; looked at "), "{said}");
        assert!(self.report().contains(&format!("{said:?}")), "{} is not {said}", self.report());
        assert!(self.table.contains("KERNELS: &[Kernel] = &[\n];"), "{}", self.table);
        self
    }
}

/// This machine may have a compiler where installers put it; then "nothing found" cannot be shown.
fn machine_has_one() -> bool {
    let usual = ["/usr/local/cuda/bin/nvcc", "/opt/cuda/bin/nvcc", "/usr/lib/cuda/bin/nvcc"];
    usual.iter().any(|f| Path::new(f).exists())
}

/// A stand-in that passes the trial and writes PTX of one entry.
const GOOD: &str = r#"case "$*" in
*--version*) echo "release 12.4, V12.4.99" ;;
*--list-gpu-code*) echo sm_80; echo sm_90 ;;
*trial.cu*) ;;
*-cubin*) while [ "$1" != -o ]; do shift; done; echo code > "$2"
   echo "ptxas info    : Compiling entry function 'fill_fwd_f32' for 'sm_80'"
   echo "    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads"
   echo "ptxas info    : Used 20 registers, used 0 barriers, 368 bytes cmem[0]" ;;
*-ptx*) while [ "$1" != -o ]; do shift; done
   printf '.version 8.4\n.target sm_80\n.visible .entry fill_fwd_f32(\n.param .u64 a,\n.param .align 4 .b8 b[8]\n)\n.maxntid 256, 1, 1\n{\n}\n' > "$2"
   echo "kernels/fill.cu(7): warning #177-D: variable \"x\" was declared but never referenced" >&2 ;;
esac"#;

#[test]
fn no_compiler_builds_without_kernels() {
    if machine_has_one() {
        return eprintln!("SKIP: this machine has a compiler in a usual folder");
    }
    let ran = Package::new().run();
    let said = ran.without().warnings()[0];
    for place in
        ["NVCC, CUDA_HOME, CUDA_PATH, CUDA_ROOT, CUDA_TOOLKIT_ROOT_DIR: not set", "PATH: no nvcc", "/opt/cuda", "pip wheels"]
    {
        assert!(said.contains(place), "{place} in {said}");
    }
    // Empty is unset, and so is a variable that names nothing.
    let ran = Package::new().with("NVCC", "").with("CUDA_HOME", "").with("CUDA_PATH", "/no/such").run();
    assert!(
        ran.without().warnings()[0].contains("CUDA_PATH: no file /no/such/bin/nvcc; NVCC, CUDA_HOME, "),
        "{:?}",
        ran.warnings()
    );
    let ran = Package::new().with("LAE_CUDA", "require").run();
    assert_eq!((ran.code, ran.table.as_str()), (1, ""));
    assert!(
        ran.error.starts_with("LAE_CUDA=require: no CUDA compiler") && ran.error.contains("NVCC=/path/to/nvcc"),
        "{}",
        ran.error
    );
}

#[test]
fn off_is_off() {
    let p = Package::new();
    let nvcc = p.program("nvcc", GOOD);
    let p = p.with("NVCC", nvcc).with("LAE_CUDA", "off");
    let ran = p.run();
    assert!(ran.code == 0 && ran.warnings().is_empty() && !ran.built(), "{}", ran.out);
    assert!(ran.report().contains("looked at LAE_CUDA=off"), "{}", ran.report());
    let ran = Package { settings: vec![("DOCS_RS".into(), "1".into())], ..Package::new() }.run();
    assert!(ran.code == 0 && !ran.built() && ran.report().contains("DOCS_RS is set"));
    let ran = Package::new().with("LAE_CUDA", "yes").run();
    assert_eq!((ran.code, ran.error.trim()), (1, "LAE_CUDA=yes: use auto, require or off"));
}

#[test]
fn a_broken_compiler_counts_as_none_and_its_words_are_kept() {
    let rows = [
        ("echo 'cannot open libnvvm' >&2; exit 7", "does not work: exit status: 7: cannot open libnvvm"),
        ("echo hello", "it does not say which CUDA it is of: \"hello\""),
        (
            "case \"$*\" in *--version*) echo V10.1.2 ;; *) echo \"nvcc fatal : Unsupported gpu architecture 'compute_80'\"; exit 1 ;; esac",
            "Unsupported gpu architecture 'compute_80'",
        ),
    ];
    for (words, said) in rows {
        let p = Package::new();
        let nvcc = p.program("bin/nvcc", words);
        let ran = p.with("NVCC", &nvcc).run();
        let warning = ran.without().warnings()[0];
        assert!(warning.contains(&format!("NVCC: {}", nvcc.display())) && warning.contains(said), "{warning}");
    }
    // A folder of that name, a file that cannot run.
    let p = Package::new();
    p.file("nvcc/readme", "");
    let named = p.root().join("nvcc");
    assert!(p.with("NVCC", named).run().without().warnings()[0].contains("NVCC: no file "));
    let p = Package::new();
    p.file("bin/nvcc", "text");
    let named = p.root().join("bin/nvcc");
    assert!(p.with("NVCC", named).run().without().warnings()[0].contains("does not work: Permission denied"));
}

#[test]
fn places_are_searched_in_order() {
    // (where it lies, the setting that leads there, what the report calls the place)
    let rows = [
        ("cuda/bin/nvcc", "CUDA_HOME", "cuda", "CUDA_HOME: "),
        ("cuda/bin/nvcc", "CUDA_PATH", "cuda", "CUDA_PATH: "),
        ("cuda/bin/nvcc", "CUDA_TOOLKIT_ROOT_DIR", "cuda", "CUDA_TOOLKIT_ROOT_DIR: "),
        ("tools/nvcc", "PATH", "tools", "PATH: "),
        ("env/lib/python3.13/site-packages/nvidia/cu13/bin/nvcc", "VIRTUAL_ENV", "env", "pip wheels"),
        ("env/lib/python3/dist-packages/nvidia/cu14/bin/nvcc", "CONDA_PREFIX", "env", "pip wheels"),
        (".local/lib/python3.11/site-packages/nvidia/cu13/bin/nvcc", "HOME", "", "pip wheels"),
        ("target/cuda/lib/python3.12/site-packages/nvidia/cu13/bin/nvcc", "HOME", "nowhere", "pip wheels"),
    ];
    for (file, name, value, place) in rows {
        if place.starts_with("pip") && machine_has_one() {
            continue;
        }
        let p = Package::new();
        let nvcc = p.program(file, &format!("PATH=/usr/bin:/bin\n{GOOD}"));
        let value = p.root().join(value);
        let ran = p.with(name, value).run();
        assert_eq!(ran.code, 0, "{name}: {}", ran.error);
        assert!(
            ran.built() && ran.report().contains(place) && ran.report().contains(nvcc.to_str().unwrap()),
            "{name}: {}",
            ran.report()
        );
    }
    // The first place that works wins, and a broken one before it does not stop the search.
    let p = Package::new();
    let (bad, good) = (p.program("bad/bin/nvcc", "exit 1"), p.program("good/bin/nvcc", &format!("PATH=/usr/bin:/bin\n{GOOD}")));
    let up = |f: &Path| f.ancestors().nth(2).unwrap().to_path_buf();
    let p = p.with("CUDA_HOME", up(&bad)).with("CUDA_PATH", up(&good)).with("CUDA_ROOT", "/no/such");
    assert!(p.run().report().contains("CUDA_PATH: "));
    // Whoever names a compiler gets that one or none.
    let ran = p.with("NVCC", &bad).run();
    assert!(!ran.without().warnings()[0].contains("CUDA_PATH"), "{:?}", ran.warnings());
}

#[test]
fn what_a_good_compiler_gives() {
    let p = Package::new();
    let nvcc = p.program("bin/nvcc", &format!("PATH=/usr/bin:/bin\n{GOOD}"));
    let p = p.with("NVCC", &nvcc);
    let ran = p.run();
    assert_eq!(ran.code, 0, "{}", ran.error);
    let kernel = "Kernel { name: \"fill_fwd_f32\", module: &MODULES[0], params: &[Param { size: 8, align: 8 }, Param { size: 8, align: 4 }, ], \
                  max_threads: 256, ptxas: &[Resources { arch: 80, registers: 20, ";
    assert!(ran.table.contains(kernel), "{}", ran.table);
    assert!(ran.table.contains("PTX_VERSION: (u32, u32) = (8, 0)"), "the older version was taken: {}", ran.table);
    assert_eq!(ran.warnings().len(), 1);
    assert!(ran.warnings()[0].contains("#177-D"), "warnings of the compiler are passed on");
    // Cargo runs the script again if, and only if, one of these changes; a missing file would change for ever.
    let watched: Vec<&str> = ran.out.lines().filter_map(|l| l.strip_prefix("cargo:rerun-if-changed=")).collect();
    assert_eq!(watched, ["build.rs", "build", "kernels", nvcc.to_str().unwrap()]);
    let variables: Vec<&str> = ran.out.lines().filter_map(|l| l.strip_prefix("cargo:rerun-if-env-changed=")).collect();
    assert_eq!(variables, ["LAE_CUDA", "DOCS_RS", "NVCC", "LAE_CUDA_ARCHS"], "what was not read does not matter");
    // The same again compiles nothing: the compiler may be gone by then but for the trial.
    p.program("bin/nvcc", &format!("PATH=/usr/bin:/bin\ncase \"$*\" in *-cubin*|*kernels*) exit 9 ;; esac\n{GOOD}"));
    let again = p.run();
    assert!(again.code == 0 && again.table == ran.table, "{}", again.error);
    p.file("kernels/lae.cuh", "// changed\n");
    assert_eq!(p.run().code, 1, "a changed header compiles anew");
}

#[test]
fn an_error_in_a_kernel_is_shown_as_the_compiler_wrote_it() {
    let p = Package::new();
    let words = "kernels/fill.cu(3): error: expected a ';'\\n\\n1 error detected";
    let nvcc = p.program(
        "bin/nvcc",
        &format!("case \"$*\" in *kernels*) printf \"{words}\" >&2; exit 2 ;; esac\nPATH=/usr/bin:/bin\n{GOOD}"),
    );
    let ran = p.with("NVCC", nvcc).run();
    assert_eq!((ran.code, ran.table.as_str()), (1, ""));
    assert!(
        ran.error.contains("nvcc failed (exit status: 2)") && ran.error.contains(&words.replace("\\n", "\n")),
        "{}",
        ran.error
    );
    assert!(!ran.error.contains("panicked"), "{}", ran.error);
}

#[test]
fn architectures_that_cannot_be_made() {
    let rows = [
        ("75", "the kernels need sm_80 or newer"),
        ("sm_120", "this nvcc cannot make sm_120; it knows sm_80 sm_90"),
        ("80,ampere", "\"ampere\" is not an architecture"),
        ("native", "\"native\" is not an architecture"),
    ];
    for (archs, said) in rows {
        let p = Package::new();
        let nvcc = p.program("bin/nvcc", &format!("PATH=/usr/bin:/bin\n{GOOD}"));
        let ran = p.with("NVCC", nvcc).with("LAE_CUDA_ARCHS", archs).run();
        assert_eq!(ran.code, 1, "{archs}");
        assert!(ran.error.starts_with("LAE_CUDA_ARCHS: ") && ran.error.contains(said), "{archs}: {}", ran.error);
    }
    let p = Package::new();
    let nvcc = p.program("bin/nvcc", &format!("PATH=/usr/bin:/bin\n{GOOD}"));
    let ran = p.with("NVCC", nvcc).with("LAE_CUDA_ARCHS", "90, 80,90").run();
    assert_eq!(ran.code, 0, "{}", ran.error);
    let cubins: Vec<_> = ran.table.match_indices("Cubin { arch: ").map(|(i, w)| &ran.table[i + w.len()..][..2]).collect();
    assert_eq!(cubins, ["80", "90"]);
}

/// Kernels for sm_90a are compiled for it and for nothing else; a compiler that cannot leaves them out, and is not at fault.
#[test]
fn kernels_for_hopper() {
    let p = Package::new();
    p.file("kernels/tiles.cu", "// sm_90a\nextern \"C\" __global__ void tiles(float *y) { y[0] = 1; }\n");
    let note = "echo \"$*\" >> said\nPATH=/usr/bin:/bin\n";
    let nvcc = p.program("bin/nvcc", &format!("{note}{GOOD}"));
    let p = p.with("NVCC", &nvcc).with("LAE_CUDA_ARCHS", "80,90");
    let ran = p.run();
    assert_eq!(ran.code, 0, "{}", ran.error);
    assert!(ran.report().contains("for compute_80, sm_80, sm_90, compute_90a\""), "{}", ran.report());
    let modules: Vec<&str> = ran.table.lines().filter(|l| l.contains("Module {")).collect();
    assert!(modules[0].contains("\"fill\", target: Target::Sm80") && modules[0].contains("arch: 80"), "{}", modules[0]);
    assert!(modules[1].contains("\"tiles\", target: Target::Sm90a") && !modules[1].contains("arch: 80"), "{}", modules[1]);
    let said = std::fs::read_to_string(p.root().join("said")).unwrap();
    let of = |file: &str| said.lines().filter(|l| l.ends_with(file)).collect::<Vec<_>>();
    assert!(of("kernels/tiles.cu").iter().all(|l| l.contains("compute_90a")), "{said}");
    assert!(of("kernels/fill.cu").iter().all(|l| l.contains("compute_80")), "{said}");
    assert!(of("tiles.ptx").iter().all(|l| l.contains("sm_90a")) && of("tiles.ptx").len() == 1, "{said}");
    // One that does not know sm_90a.
    p.program("bin/nvcc", &format!("case \"$*\" in *90a*) echo 'nvcc fatal : no sm_90a' >&2; exit 1 ;; esac\n{note}{GOOD}"));
    let ran = p.run();
    assert!(ran.code == 0 && ran.built() && !ran.table.contains("tiles.ptx"), "{}", ran.error);
    let why = ", without tiles, since this nvcc cannot make sm_90a: nvcc fatal : no sm_90a\"";
    assert!(ran.report().contains(why), "{}", ran.report());
}

/// With this build's own compiler: spaces in paths, machine code, and that an older PTX version changes no instruction.
#[test]
fn the_real_compiler() {
    let Some(nvcc) = kernels::BUILD_REPORT.split_once(": ").and_then(|(_, rest)| rest.split_once("), PTX")).map(|(file, _)| file)
    else {
        return eprintln!("SKIP: this build has no kernels: {}", kernels::BUILD_REPORT);
    };
    let path = std::env::var("PATH").unwrap();
    let p = Package::new().with("NVCC", nvcc).with("LAE_CUDA_ARCHS", "80").with("PATH", &path);
    let ran = p.run();
    assert!(ran.code == 0 && ran.built(), "{}", ran.error);
    let ptx = std::fs::read_to_string(p.root().join("out dir/fill.ptx")).unwrap();
    assert!(!ptx.contains(p.root().to_str().unwrap()), "the PTX holds no path of the machine");
    assert!(ptx.contains("\"kernels/fill.cu\""), "{ptx}");
    let cubin = std::fs::read(p.root().join("out dir/fill.sm_80.cubin")).unwrap();
    assert!(cubin.starts_with(b"\x7fELF"));
    // The assembler notes the version, and nothing else differs.
    let file = p.root().join("out dir/fill.ptx");
    std::fs::write(&file, ptx::with_version(&ptx, (8, 1))).unwrap();
    let mut again = Command::new(nvcc);
    again.current_dir(p.root()).args(["-cubin", "-lineinfo", "-Xptxas=-v", "-arch=sm_80", "-o"]);
    assert!(again.arg(p.root().join("out dir/fill.sm_80.cubin")).arg(&file).output().unwrap().status.success());
    let other = std::fs::read(p.root().join("out dir/fill.sm_80.cubin")).unwrap();
    let differ = cubin.iter().zip(&other).filter(|(a, b)| a != b).count();
    assert!(cubin.len() == other.len() && differ == 1, "{differ} bytes of {} differ", cubin.len());
    // A mistake, in the compiler's words.
    p.file("kernels/fill.cu", "extern \"C\" __global__ void broken(float *y) { y[0] = undefined_name; }\n");
    let ran = p.run();
    let said = ran.error.lines().any(|l| l.starts_with("kernels/fill.cu(1): error:") && l.contains("undefined_name"));
    assert!(ran.code == 1 && said, "{}", ran.error);
}

#[test]
fn every_kernel_of_this_build_has_its_figures() {
    for k in kernels::KERNELS {
        let archs: Vec<u32> = k.ptxas.iter().map(|r| r.arch).collect();
        let want: &[u32] = if k.module.target == kernels::Target::Sm90a { &[90] } else { &[80, 90] };
        assert_eq!(archs, want, "{}", k.name);
        assert!(k.ptxas.iter().all(|r| r.registers > 0 && r.registers <= 255), "{}", k.name);
        assert!(k.max_threads >= 32 && k.max_threads <= 1024, "{}", k.name);
        assert!(!k.params.is_empty(), "{}", k.name);
        assert_eq!(ptx::entries(k.module.ptx).unwrap().iter().filter(|e| e.name == k.name).count(), 1);
        assert_eq!(kernels::find(k.name).unwrap().name, k.name, "names are unique over all modules");
        // Static shared memory by the assembler is what is declared, so the same everywhere.
        assert!(k.ptxas.iter().all(|r| r.shared == k.shared), "{}", k.name);
    }
    for m in kernels::MODULES {
        assert!(ptx::version(m.ptx).unwrap() <= kernels::PTX_VERSION, "{}", m.name);
    }
}

#[test]
fn no_kernel_spills() {
    for (k, r) in kernels::KERNELS.iter().flat_map(|k| k.ptxas.iter().map(move |r| (k, r))) {
        assert_eq!((r.spill_stores, r.spill_loads), (0, 0), "{} on sm_{}", k.name, r.arch);
    }
}

#[test]
fn entries_of_ptx() {
    let text = "
        .version 8.0 // .entry in_a_comment(
        .visible .entry plain(
            .param .u64 .ptr .global .align 16 plain_param_0,
            .param .align 4 .b8 plain_param_1[24],
            .param .f32 x, .param .u8 flag, .param .align 16 .b8 wide[32], .param .f64 y, .param .s16 z
        )
        .maxntid 16, 8, 1
        .minnctapersm 2
        { ret; }
        .entry none() { }
        .entry bare { }
        .weak .entry fixed(.param .b64 p) .reqntid 32 { }";
    let found = ptx::entries(text).unwrap();
    let names: Vec<_> = found.iter().map(|e| (e.name.as_str(), e.max_threads)).collect();
    assert_eq!(names, [("plain", Some(128)), ("none", None), ("bare", None), ("fixed", Some(32))]);
    assert_eq!(found[0].params, [(8, 8), (24, 4), (4, 4), (1, 1), (32, 16), (8, 8), (2, 2)]);
    assert!(found[1].params.is_empty() && found[2].params.is_empty());
    for bad in [
        ".entry a(.param .u64 x",
        ".entry a(.param .u64 x)",
        ".entry a(.param .pred x) {}",
        ".entry a(.param .b8 x[) {}",
        ".entry () {}",
    ] {
        assert!(ptx::entries(bad).is_err(), "{bad}");
    }
    assert_eq!(ptx::version(text), Some((8, 0)));
    assert_eq!(ptx::version("nothing"), None);
}

#[test]
fn paths_in_ptx() {
    let text =
        "\t.file\t1 \"/home/me/a package/kernels/fill.cu\"\n\t.file 2 \"/cuda/bin/..//include/crt/math.hpp\", 1, 2\n.loc 1 2 3\n";
    let want = "\t.file\t1 \"kernels/fill.cu\"\n\t.file 2 \"include/crt/math.hpp\", 1, 2\n.loc 1 2 3\n";
    assert_eq!(ptx::portable_paths(text), want);
    assert_eq!(ptx::portable_paths(".file 1 \"C:\\\\src\\\\x.cu\"\n"), ".file 1 \"C://src//x.cu\"\n");
}

#[test]
fn the_assemblers_report() {
    let text = "ptxas info    : 0 bytes gmem, 24 bytes cmem[4]
ptxas info    : Compiling entry function 'a' for 'sm_80'
ptxas info    : Function properties for a
    16 bytes stack frame, 4 bytes spill stores, 8 bytes spill loads
ptxas info    : Used 255 registers, used 2 barriers, 16 bytes cumulative stack size, 49152 bytes smem, 400 bytes cmem[0]
ptxas info    : Function properties for helper
    0 bytes stack frame, 12 bytes spill stores, 20 bytes spill loads
ptxas info    : Compile time = 25.275 ms
ptxas info    : Compiling entry function 'b' for 'sm_90a'
ptxas info    : Function properties for b
    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Used 10 registers\n";
    let a = ptx::Resources {
        name: "a".into(),
        arch: 80,
        registers: 255,
        shared: 49152,
        stack: 16,
        spill_stores: 16,
        spill_loads: 28,
        barriers: 2,
    };
    let b = ptx::Resources { name: "b".into(), arch: 90, registers: 10, ..Default::default() };
    assert_eq!(ptx::resources(text).unwrap(), [a, b]);
    assert!(
        ptx::resources("ptxas info    : Compiling entry function 'a' for 'sm_80'\n")
            .unwrap_err()
            .contains("no register count of a")
    );
}
