//! `lae-engine ptx`: run and inspect PTX of any origin on the emulator.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::core::file::write_whole;
use crate::error::{Error, Result};
use crate::ptx::{Approx, Arg, Checks, Config, Copies, Launch, Machine, Module, Report, Schedule, Tensor, isa};

#[derive(Args)]
pub struct PtxArgs {
    #[command(subcommand)]
    command: PtxCommand,
}

#[derive(Subcommand)]
enum PtxCommand {
    /// Run a kernel, check every access, and print what it wrote
    #[command(after_help = ARGUMENTS)]
    Run(Box<RunArgs>),
    /// Print the kernels of a file, their parameters, and whether the emulator can run them
    List(FileArgs),
    /// Print how often each instruction occurs in a file
    Census(FileArgs),
    /// Print every instruction that the emulator knows
    Isa,
}

#[derive(Args)]
struct FileArgs {
    /// PTX text, as `nvcc -ptx` writes it
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

const ARGUMENTS: &str = "\
An argument is TYPE:VALUE for a number (i32, u32, f32, i64, u64, f64, u8, u16), hex:... for a struct byte by byte, null, or memory:

  read:TYPE:VALUES    that the kernel may only read
  update:TYPE:VALUES  that it may change
  write:TYPE:COUNT    that it fills

VALUES are numbers with commas between, N*V (N times V), A..B (whole numbers from A to B - 1), or @FILE (raw bytes).

Exit code: 0 no fault, 1 a fault (printed), 2 wrong usage.";

#[derive(Args)]
struct RunArgs {
    /// PTX text, as `nvcc -ptx` writes it (`-lineinfo` gives reports source lines)
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The kernel's name in the PTX; not needed if there is only one
    #[arg(long, value_name = "NAME")]
    kernel: Option<String>,
    /// Blocks along x, y and z
    #[arg(long, value_name = "X[,Y[,Z]]", default_value = "1")]
    grid: String,
    /// Threads of a block along x, y and z
    #[arg(long, value_name = "X[,Y[,Z]]", default_value = "32")]
    block: String,
    /// Bytes of dynamic shared memory
    #[arg(long, value_name = "BYTES", default_value_t = 0)]
    shared: u32,
    /// An argument of the kernel, in order; see below
    #[arg(long = "arg", value_name = "ARG")]
    args: Vec<String>,
    /// Order of blocks and warps: forward, reverse, random:SEED
    #[arg(long, value_name = "ORDER", default_value = "forward")]
    schedule: String,
    /// Checks to leave out: init, race, tf32
    #[arg(long, value_name = "CHECK", value_delimiter = ',')]
    without: Vec<String>,
    /// Tensor core arithmetic: ideal, ampere, hopper
    #[arg(long, value_name = "MODEL", default_value = "ideal")]
    tensor: String,
    /// Perturb approximate functions within their bounds, by a seed
    #[arg(long, value_name = "SEED")]
    perturb: Option<u64>,
    /// Let asynchronous copies take effect at once instead of as late as is legal
    #[arg(long)]
    eager: bool,
    /// Most warp instructions
    #[arg(long, value_name = "N", default_value_t = 1 << 33)]
    budget: u64,
    /// Print counters, by their names in Nsight Compute
    #[arg(long)]
    counters: bool,
    /// Print all values of a result, not the first 16
    #[arg(long)]
    all: bool,
    /// Write the memory of argument N to a file
    #[arg(long, value_name = "N=FILE")]
    out: Vec<String>,
}

impl PtxArgs {
    pub fn run(self) -> Result<i32> {
        match self.command {
            PtxCommand::Run(a) => a.run(),
            PtxCommand::List(a) => a.list(),
            PtxCommand::Census(a) => a.census(),
            PtxCommand::Isa => {
                println!("{{a|b}}: one of; [a|b]: one of, or nothing\n");
                isa::table().iter().for_each(|r| println!("{}", r.form));
                Ok(0)
            }
        }
    }
}

fn load(file: &PathBuf) -> Result<Module> {
    let text = std::fs::read(file).map_err(|e| Error::io(file, e))?;
    let text = String::from_utf8(text).map_err(|_| Error::data(file, "is not text; the emulator reads PTX, not a cubin"))?;
    let name = file.file_name().map_or("PTX".into(), |n| n.to_string_lossy());
    Module::parse(&name, &text).map_err(|e| Error::data(file, e))
}

impl FileArgs {
    fn list(&self) -> Result<i32> {
        let module = load(&self.file)?;
        let mut bad = 0;
        for (e, result) in module.check() {
            let params: Vec<String> = e.params.iter().map(|p| format!("{} bytes", p.size)).collect();
            let limit = e.max_threads.map(|[x, y, z]| format!(", at most {} threads", x * y * z)).unwrap_or_default();
            let shared = module.shared(e).map(|b| format!(", {b} bytes of shared memory")).unwrap_or_default();
            println!("{}({}){limit}{shared}", e.name, params.join(", "));
            if let Err(why) = result {
                println!("    cannot be run: {why}");
                bad = 1;
            }
        }
        Ok(bad)
    }

    fn census(&self) -> Result<i32> {
        let list = isa::census(&load(&self.file)?);
        for f in &list {
            println!("{:8}  {}{}", f.count, f.opcode, if f.supported { "" } else { "    not supported" });
        }
        Ok(list.iter().any(|f| !f.supported) as i32)
    }
}

/// The memory that an argument points to.
struct Buffer {
    /// Position of the argument, from 0.
    index: usize,
    kind: String,
    ty: Type,
    addr: u64,
    len: u64,
}

#[derive(Clone, Copy)]
struct Type(&'static str, usize);

const TYPES: [Type; 8] = [
    Type("i32", 4),
    Type("u32", 4),
    Type("f32", 4),
    Type("i64", 8),
    Type("u64", 8),
    Type("f64", 8),
    Type("u8", 1),
    Type("u16", 2),
];

impl Type {
    fn named(name: &str) -> Option<Type> {
        TYPES.into_iter().find(|t| t.0 == name)
    }

    /// The bytes of a number.
    fn bytes(self, v: &str) -> Option<Vec<u8>> {
        let int = || match v.strip_prefix("0x") {
            Some(h) => i128::from_str_radix(h, 16).ok(),
            None => v.parse().ok(),
        };
        Some(match self.0 {
            "f32" => v.parse::<f32>().ok()?.to_le_bytes().to_vec(),
            "f64" => v.parse::<f64>().ok()?.to_le_bytes().to_vec(),
            t => {
                let (x, bits) = (int()?, 8 * self.1 as u32);
                let (low, high) =
                    if t.starts_with('i') { (-(1i128 << (bits - 1)), 1i128 << (bits - 1)) } else { (0, 1i128 << bits) };
                (low..high).contains(&x).then(|| x.to_le_bytes()[..self.1].to_vec())?
            }
        })
    }

    fn show(self, b: &[u8]) -> String {
        let mut wide = [0; 8];
        wide[..b.len()].copy_from_slice(b);
        let x = u64::from_le_bytes(wide);
        match self.0 {
            "f32" => f32::from_bits(x as u32).to_string(),
            "f64" => f64::from_bits(x).to_string(),
            "i32" => (x as i32).to_string(),
            "i64" => (x as i64).to_string(),
            _ => x.to_string(),
        }
    }

    /// Contents of memory: VALUES of [`ARGUMENTS`].
    fn values(self, spec: &str) -> Result<Vec<u8>, String> {
        if let Some(file) = spec.strip_prefix('@') {
            return std::fs::read(file).map_err(|e| format!("{file}: {e}"));
        }
        let mut out = Vec::new();
        for v in spec.split(',') {
            let bad = || format!("`{v}` is not a {}", self.0);
            if let Some((n, v)) = v.split_once('*') {
                let n: usize = n.trim().parse().map_err(|_| format!("`{n}` is not a count"))?;
                out.extend(self.bytes(v.trim()).ok_or_else(bad)?.repeat(n));
            } else if let Some((a, b)) = v.split_once("..")
                && let (Ok(a), Ok(b)) = (a.parse::<i64>(), b.parse::<i64>())
            {
                for x in a..b {
                    out.extend(self.bytes(&x.to_string()).ok_or_else(bad)?);
                }
            } else {
                out.extend(self.bytes(v.trim()).ok_or_else(bad)?);
            }
        }
        Ok(out)
    }
}

/// Reads one argument, and makes the memory that the argument points to.
fn argument(m: &mut Machine, index: usize, text: &str, buffers: &mut Vec<Buffer>) -> Result<Arg, String> {
    if text == "null" {
        return Ok(Arg::Null);
    }
    let (kind, rest) = text.split_once(':').ok_or("expected TYPE:VALUE, read:…, update:…, write:…, hex:… or null")?;
    if let Some(ty) = Type::named(kind) {
        return ty.bytes(rest).map(Arg::Bytes).ok_or(format!("`{rest}` is not a {kind}"));
    }
    if kind == "hex" {
        let digits: Option<Vec<u8>> =
            (0..rest.len()).step_by(2).map(|i| rest.get(i..i + 2).and_then(|d| u8::from_str_radix(d, 16).ok())).collect();
        return digits.map(Arg::Bytes).ok_or(format!("`{rest}` is not an even number of hexadecimal digits"));
    }
    if !["read", "update", "write"].contains(&kind) {
        return Err(format!("`{kind}` is neither a type nor read, update, write, hex or null"));
    }
    let (ty, spec) = rest.split_once(':').ok_or(format!("expected {kind}:TYPE:VALUES"))?;
    let ty = Type::named(ty).ok_or(format!("`{ty}` is no type; types are i32, u32, f32, i64, u64, f64, u8, u16"))?;
    let name = format!("arg{index}");
    let (addr, len) = if kind == "write" {
        let n: u64 = spec.parse().map_err(|_| format!("`{spec}` is not a count"))?;
        let len = n.checked_mul(ty.1 as u64).filter(|&l| l <= 1 << 34).ok_or(format!("{n} elements are too many"))?;
        (m.alloc(&name, len), len)
    } else {
        let data = ty.values(spec)?;
        let addr = m.alloc(&name, data.len() as u64);
        m.write(addr, &data).map_err(|e| e.to_string())?;
        (addr, data.len() as u64)
    };
    buffers.push(Buffer { index, kind: kind.to_string(), ty, addr, len });
    Ok(match kind {
        "read" => Arg::Read { addr, len },
        "update" => Arg::Update { addr, len },
        _ => Arg::Write { addr, len },
    })
}

/// `X[,Y[,Z]]`
fn extent(key: &str, text: &str) -> Result<[u32; 3]> {
    let mut out = [1; 3];
    let parts: Vec<&str> = text.split(',').collect();
    if parts.len() > 3 {
        return Err(Error::config(key, format!("`{text}` has more than three parts")));
    }
    for (o, p) in out.iter_mut().zip(parts) {
        *o = p.trim().parse().map_err(|_| Error::config(key, format!("`{p}` is not a number")))?;
    }
    Ok(out)
}

impl RunArgs {
    fn config(&self) -> Result<Config> {
        let schedule = match self.schedule.as_str() {
            "forward" => Schedule::Forward,
            "reverse" => Schedule::Reverse,
            s => match s.strip_prefix("random:").and_then(|n| n.parse().ok()) {
                Some(seed) => Schedule::Random(seed),
                None => return Err(Error::config("--schedule", format!("`{s}`; it is forward, reverse or random:SEED"))),
            },
        };
        let mut checks = Checks { init: true, race: true, tf32: true };
        for w in &self.without {
            match w.as_str() {
                "init" => checks.init = false,
                "race" => checks.race = false,
                "tf32" => checks.tf32 = false,
                _ => return Err(Error::config("--without", format!("`{w}`; checks are init, race and tf32"))),
            }
        }
        let tensor = match self.tensor.as_str() {
            "ideal" => Tensor::Ideal,
            "ampere" => Tensor::Ampere,
            "hopper" => Tensor::Hopper,
            t => return Err(Error::config("--tensor", format!("`{t}`; it is ideal, ampere or hopper"))),
        };
        let copies = if self.eager { Copies::Eager } else { Copies::Late };
        let approx = self.perturb.map_or(Approx::Central, Approx::Within);
        let (budget, counters) = (self.budget, self.counters);
        Ok(Config { checks, schedule, budget, counters, copies, approx, tensor, ..Config::default() })
    }

    fn run(&self) -> Result<i32> {
        let module = load(&self.file)?;
        let kernel = match (&self.kernel, module.entries()) {
            (Some(k), _) => k.clone(),
            (None, [one]) => one.name.clone(),
            (None, all) => {
                let names: Vec<&str> = all.iter().map(|e| e.name.as_str()).collect();
                return Err(Error::config("--kernel", format!("choose one of {}", names.join(", "))));
            }
        };
        let mut m = Machine::new(self.config()?);
        let mut buffers = Vec::new();
        let mut args = Vec::new();
        for (i, a) in self.args.iter().enumerate() {
            args.push(argument(&mut m, i, a, &mut buffers).map_err(|why| Error::config(format!("--arg {a}"), why))?);
        }
        let mut outputs = Vec::new();
        for o in &self.out {
            let pair = o.split_once('=').and_then(|(n, file)| Some((n.parse::<usize>().ok()?, file)));
            let found = pair.and_then(|(n, file)| Some((buffers.iter().find(|b| b.index == n)?, file)));
            outputs.push(
                found.ok_or_else(|| Error::config(format!("--out {o}"), "expected N=FILE, with N an argument that is memory"))?,
            );
        }
        let launch = Launch {
            grid: extent("--grid", &self.grid)?,
            block: extent("--block", &self.block)?,
            shared: self.shared,
            args,
            ..Launch::default()
        };
        let report = match m.launch(&module, &kernel, &launch) {
            Ok(report) => report,
            Err(fault) => {
                eprintln!("{fault}");
                return Ok(1);
            }
        };
        println!("{kernel}: {} warp instructions in {} blocks, no fault", report.instructions, report.blocks);
        for b in buffers.iter().filter(|b| b.kind != "read") {
            self.show(&m, b);
        }
        for (b, file) in outputs {
            let bytes = m.bytes(b.addr, b.len).expect("the buffer was made above");
            write_whole(file, bytes)?;
        }
        if self.counters {
            counters(&report);
        }
        Ok(0)
    }

    /// The values of a buffer in words; `?` stands for a value that nothing wrote.
    fn show(&self, m: &Machine, b: &Buffer) {
        let count = b.len as usize / b.ty.1;
        let shown = if self.all { count } else { count.min(16) };
        let value = |i: usize| {
            let at = b.addr + (i * b.ty.1) as u64;
            let known = m.initialised(at, b.ty.1 as u64).expect("inside the buffer");
            if known { b.ty.show(m.bytes(at, b.ty.1 as u64).expect("inside the buffer")) } else { "?".into() }
        };
        let values: Vec<String> = (0..shown).map(value).collect();
        let more = if shown < count { format!(" … ({count} in all)") } else { String::new() };
        println!("argument {}: {}{more}", b.index, values.join(" "));
    }
}

fn counters(report: &Report) {
    println!();
    for (name, value) in report.counters.metrics() {
        println!("{name:70} {value}");
    }
    println!("\nby PTX line: executions by warps, active lanes on average");
    for e in &report.profile {
        println!("{:6}  {:40} {:>12} {:>6.1}", e.line, e.opcode, e.warps, e.lanes as f64 / e.warps as f64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_arguments() {
        let f = Type::named("f32").unwrap();
        assert_eq!(f.values("1,2*0.5").unwrap(), [1f32, 0.5, 0.5].map(f32::to_le_bytes).concat());
        let i = Type::named("i32").unwrap();
        assert_eq!(i.values("-1..2,7").unwrap(), [-1i32, 0, 1, 7].map(i32::to_le_bytes).concat());
        assert_eq!(i.values("0x10").unwrap(), 16i32.to_le_bytes());
        assert!(i.values("3000000000").unwrap_err().contains("is not a i32"));
        assert!(f.values("x").is_err() && f.values("3*").is_err() && f.values("@/no/such/file").is_err());
        assert_eq!(i.show(&(-5i32).to_le_bytes()), "-5");
    }

    #[test]
    fn arguments() {
        let mut m = Machine::new(Config::default());
        let mut b = Vec::new();
        let mut arg = |t: &str| argument(&mut m, 0, t, &mut b);
        assert_eq!(arg("f32:1.5").unwrap(), 1.5f32.into());
        assert_eq!(arg("hex:0aff").unwrap(), Arg::Bytes(vec![10, 255]));
        assert_eq!(arg("null").unwrap(), Arg::Null);
        assert!(matches!(arg("write:u8:10").unwrap(), Arg::Write { len: 10, .. }));
        assert!(matches!(arg("read:f64:0..3").unwrap(), Arg::Read { len: 24, .. }));
        for bad in ["7", "f33:1", "hex:abc", "write:f32:x", "read:f32", "read:q:1", "u32:-1"] {
            assert!(arg(bad).is_err(), "{bad}");
        }
    }
}
