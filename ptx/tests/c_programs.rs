//! Random C, compiled by nvcc and by the host's C compiler: the emulator gives what the host gives, bit for bit.
//!
//! Needs nvcc, found as the build of the workspace finds it, and `cc` (or `$CC`). Without one the test says so and passes, unless
//! `LAE_CUDA=require`. `LAE_C_PROGRAMS=2000` tries more programs, `LAE_C_SEED=7` other ones.

#[path = "c/generate.rs"]
mod generate;
#[path = "../../build/nvcc.rs"]
#[allow(dead_code)]
mod nvcc;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use generate::{INPUTS, OUTPUTS};
use lae_ptx::*;

/// Numbers of a counter, well mixed.
pub struct Draws(u64);

impl Draws {
    pub fn word(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ z >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ z >> 31
    }

    pub fn below(&mut self, n: usize) -> usize {
        (self.word() % n as u64) as usize
    }
}

const THREADS: usize = 64;

/// Programs of one file; several files are compiled at once.
const PER_FILE: usize = 50;

fn var(name: &str) -> Option<std::ffi::OsString> {
    std::env::var_os(name).filter(|v| !v.is_empty())
}

fn setting(name: &str, default: u64) -> u64 {
    match var(name) {
        Some(v) => v.to_str().and_then(|v| v.parse().ok()).unwrap_or_else(|| panic!("{name}={v:?} is no number")),
        None => default,
    }
}

/// The CUDA compiler, or why there is none.
fn compiler(scratch: &Path) -> Result<nvcc::Nvcc, String> {
    if var("LAE_CUDA").is_some_and(|v| v == "off") {
        return Err("LAE_CUDA=off".into());
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace");
    let search = nvcc::search(&var, root, &|file| nvcc::trial(file, scratch));
    search.found.ok_or_else(|| format!("no CUDA compiler; looked at {}", search.remarks.join("; ")))
}

fn succeed(what: &str, command: &mut Command) {
    let out = command.output().unwrap_or_else(|e| panic!("{what}: {e}"));
    let text = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success(), "{what}: {}\n{}", out.status, text.lines().take(40).collect::<Vec<_>>().join("\n"));
}

/// The two texts of a file of programs: for nvcc, and for the host, which reads the inputs of all threads and writes their
/// results.
fn texts(programs: &[String], first: usize) -> (String, String) {
    let all: String = programs.concat();
    let (mut kernels, mut table) = (String::new(), String::new());
    for k in first..first + programs.len() {
        kernels += &format!(
            "extern \"C\" __global__ void k{k}(const u64 *in, u64 *out) {{ p{k}(in + {INPUTS} * threadIdx.x, out + {OUTPUTS} * threadIdx.x); }}\n"
        );
        table += &format!("p{k}, ");
    }
    let main = format!(
        "typedef void (*P)(const u64 *, u64 *);
static const P programs[] = {{ {table} }};
static u64 in[{THREADS} * {INPUTS}], out[{OUTPUTS}];
int main(void)
{{
    for (unsigned k = 0; k < sizeof programs / sizeof *programs; k++) {{
        if (fread(in, 8, {THREADS} * {INPUTS}, stdin) != {THREADS} * {INPUTS}) return 2;
        for (int t = 0; t < {THREADS}; t++) {{
            memset(out, 0, sizeof out);
            programs[k](in + {INPUTS} * t, out);
            if (fwrite(out, 8, {OUTPUTS}, stdout) != {OUTPUTS}) return 3;
        }}
    }}
    return 0;
}}\n"
    );
    let prelude = include_str!("c/prelude.h");
    (format!("{prelude}{all}{kernels}"), format!("{prelude}{all}{main}"))
}

/// Words that mean something as integers and as floats.
fn input(r: &mut Draws) -> u64 {
    let f32s = [0u64, 0x8000_0000, 0x3f80_0000, 0x7f80_0000, 0x7fc0_0000, 1, 0x4b00_0000, 0xcf00_0000, 0x40a0_0000];
    let x = r.word();
    match x % 6 {
        0 => r.word(),
        1 => r.word() >> (r.word() % 64),
        2 => ((r.word() as i64) >> (r.word() % 64)) as u64,
        3 => r.word() % 9,
        4 => f32s[r.below(f32s.len())],
        _ => (1023 + r.word() % 70).wrapping_sub(4) << 52 | r.word() >> 12 | (x >> 60) << 63,
    }
}

#[test]
fn random_programs_give_what_the_host_gives() {
    let scratch = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("c_programs");
    std::fs::create_dir_all(&scratch).unwrap();
    let cc = var("CC").unwrap_or("cc".into());
    let host = Command::new(&cc).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    let found = compiler(&scratch).and_then(|n| match host {
        Ok(s) if s.success() => Ok(n),
        _ => Err(format!("no C compiler {cc:?}")),
    });
    let nvcc = match found {
        Ok(nvcc) => nvcc,
        Err(why) if var("LAE_CUDA").is_some_and(|v| v == "require") => panic!("LAE_CUDA=require: {why}"),
        Err(why) => return println!("skipped, no random C programs: {why}"),
    };
    let (count, seed) = (setting("LAE_C_PROGRAMS", 100) as usize, setting("LAE_C_SEED", 1));
    let mut r = Draws(seed);
    let programs: Vec<String> = (0..count).map(|k| generate::program(k, &mut r)).collect();
    let mut problems = Vec::new();
    let files: Vec<(usize, &[String])> = programs.chunks(PER_FILE).enumerate().collect();
    // Two at a time: a compiler takes one core and half a gigabyte.
    for pair in files.chunks(2) {
        let started: Vec<_> = std::thread::scope(|s| {
            let start = |&(i, list): &(usize, &[String])| {
                let (nvcc, scratch, cc) = (&nvcc, &scratch, &cc);
                let list = list.to_vec();
                s.spawn(move || compile(nvcc, cc.as_ref(), scratch, &list, i))
            };
            let running: Vec<_> = pair.iter().map(start).collect();
            running.into_iter().map(|t| t.join().expect("a compiler")).collect()
        });
        for (&(i, list), (ptx, host)) in pair.iter().zip(started) {
            compare(&ptx, &host, list, i * PER_FILE, seed, &mut problems);
        }
    }
    assert!(
        problems.is_empty(),
        "{} of {count} wrong (seed {seed}):\n{}",
        problems.len(),
        problems[..problems.len().min(3)].join("\n")
    );
    println!("{count} programs, {THREADS} inputs each: bit for bit");
}

/// The PTX text and the host's program of file `i`. The names hold a digest, so that what has been compiled is not compiled
/// again.
fn compile(nvcc: &nvcc::Nvcc, cc: &Path, scratch: &Path, list: &[String], i: usize) -> (String, PathBuf) {
    let (cuda, host) = texts(list, i * PER_FILE);
    let digest = cuda
        .bytes()
        .chain(nvcc.version.bytes())
        .fold(0xcbf2_9ce4_8422_2325u64, |h, b| (h ^ b as u64).wrapping_mul(0x100_0000_01b3));
    let at = |end: &str| scratch.join(format!("{i}-{digest:016x}{end}"));
    let (cu, c, ptx, exe) = (at(".cu"), at(".c"), at(".ptx"), at(".exe"));
    if !ptx.exists() || !exe.exists() {
        std::fs::write(&cu, cuda).unwrap();
        std::fs::write(&c, host).unwrap();
        // `-ffp-contract=off` and `-fmad=false`: a product and a sum are two roundings unless the text says otherwise.
        succeed("cc", Command::new(cc).args(["-std=gnu11", "-O1", "-ffp-contract=off", "-w", "-o"]).args([&exe, &c]).arg("-lm"));
        let partial = at(".part");
        let arch = format!("-arch=compute_{}", nvcc::BASELINE);
        succeed("nvcc", Command::new(&nvcc.path).args(["-ptx", &arch, "-fmad=false", "-w", "-o"]).args([&partial, &cu]));
        std::fs::rename(&partial, &ptx).unwrap();
    }
    (std::fs::read_to_string(&ptx).unwrap(), exe)
}

/// Runs all programs of a file on the host and on the emulator.
fn compare(ptx: &str, exe: &Path, list: &[String], first: usize, seed: u64, problems: &mut Vec<String>) {
    use std::io::Write;
    let mut r = Draws(seed ^ (first as u64 + 1) << 32);
    let words: Vec<u64> = (0..list.len() * THREADS * INPUTS).map(|_| input(&mut r)).collect();
    let bytes: Vec<u8> = words.iter().flat_map(|x| x.to_le_bytes()).collect();
    let mut child = Command::new(exe).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let feed = bytes.clone();
    let writer = std::thread::spawn(move || stdin.write_all(&feed));
    let out = child.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    assert!(out.status.success(), "the host's program: {}", out.status);
    let want: Vec<u64> = out.stdout.chunks_exact(8).map(|b| u64::from_le_bytes(b.try_into().unwrap())).collect();
    assert_eq!(want.len(), list.len() * THREADS * OUTPUTS);

    let module = Module::parse("programs.ptx", ptx).unwrap();
    let levels = Machine::levels();
    for (k, (text, want)) in list.iter().zip(want.chunks_exact(THREADS * OUTPUTS)).enumerate() {
        // nvcc packs registers that nothing wrote into halves of 64 bits and masks them out: no finding.
        let mut m = Machine::new(Config { budget: 1 << 24, ..Config::default() });
        assert!(m.set_level(levels[k % levels.len()]));
        let (in_bytes, out_bytes) = (8 * THREADS * INPUTS, 8 * THREADS * OUTPUTS);
        let (input, output) = (m.alloc("in", in_bytes as u64), m.alloc("out", out_bytes as u64));
        m.write(input, &bytes[k * in_bytes..(k + 1) * in_bytes]).unwrap();
        m.write(output, &vec![0; out_bytes]).unwrap();
        let args = vec![Arg::Read { addr: input, len: in_bytes as u64 }, Arg::Update { addr: output, len: out_bytes as u64 }];
        let launch = Launch { grid: [1; 3], block: [THREADS as u32, 1, 1], shared: 0, args, ..Launch::default() };
        let name = format!("k{}", first + k);
        if let Err(f) = m.launch(&module, &name, &launch) {
            problems.push(format!("{name}: {f}\n{text}"));
            continue;
        }
        let got = m.bytes(output, out_bytes as u64).unwrap().chunks_exact(8).map(|b| u64::from_le_bytes(b.try_into().unwrap()));
        if let Some((i, (got, want))) = got.zip(want).enumerate().find(|(_, (got, want))| got != *want) {
            let (t, word) = (i / OUTPUTS, i % OUTPUTS);
            let x = &words[(k * THREADS + t) * INPUTS..][..INPUTS];
            problems.push(format!("{name}: result {word} of {x:x?} is {got:#x}, on the host {want:#x}\n{text}"));
        }
    }
}
