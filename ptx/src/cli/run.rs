//! `ptx run`: one launch, from words of the command line.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use clap::Args;

use super::argument::{Maker, Memory, Rights};
use super::compare::{Numbers, Tolerance, difference};
use super::files::load;
use super::types::Type;
use super::values::{type_named, values};
use super::{load, names, slot};
use crate::fault::FaultKind;
use crate::launch::{Arg, Checks, Config, Copies, Launch, Report};
use crate::machine::Machine;
use crate::module::Module;
use crate::num::approx::Approx;
use crate::num::mma::Tensor;
use crate::schedule::Schedule;

#[derive(Args)]
pub struct RunArgs {
    /// PTX text, as `nvcc -ptx` writes it (`-lineinfo` gives reports source lines)
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The kernel: its name, mangled or not, or a part that no other has; not needed if there is only one
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
    #[arg(long = "arg", value_name = "ARG", allow_hyphen_values = true)]
    args: Vec<String>,
    /// Set a __device__ or __constant__ variable before the launch: NAME=TYPE:VALUES, or NAME=ARG for one that holds a pointer
    #[arg(long, value_name = "NAME=…")]
    set_var: Vec<String>,
    /// Print a variable after the launch
    #[arg(long, value_name = "NAME=TYPE")]
    get_var: Vec<String>,
    /// Compare the memory of argument N (N.8: of the pointer at its offset 8) with VALUES; more than allowed is a finding
    #[arg(long, value_name = "N=VALUES")]
    expect: Vec<String>,
    /// With --expect: how far a value may be off, relative to the one that is wanted
    #[arg(long, value_name = "X", default_value_t = 0.0)]
    rtol: f64,
    /// With --expect: how far a value may be off
    #[arg(long, value_name = "X", default_value_t = 0.0)]
    atol: f64,
    /// With --expect: how many values may be off by more
    #[arg(long, value_name = "COUNT", default_value_t = 0)]
    max_bad: u64,
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
    /// Findings after which the launch ends
    #[arg(long, value_name = "N", default_value_t = 16)]
    findings: usize,
    /// Most warp instructions
    #[arg(long, value_name = "N", default_value_t = 1 << 33)]
    budget: u64,
    /// Most memory of all arguments together [default: 4096, or a quarter of what is free]
    #[arg(long, value_name = "MIB")]
    memory: Option<u64>,
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

/// `forward`, `reverse` or `random:SEED`.
pub fn schedule(text: &str) -> Result<Schedule, String> {
    match text {
        "forward" => Ok(Schedule::Forward),
        "reverse" => Ok(Schedule::Reverse),
        s => match s.strip_prefix("random:").and_then(|n| n.parse().ok()) {
            Some(seed) => Ok(Schedule::Random(seed)),
            None => Err(format!("`{s}` is no schedule; it is forward, reverse or random:SEED")),
        },
    }
}

/// Checks without those that are named.
pub fn checks<S: AsRef<str>>(without: &[S]) -> Result<Checks, String> {
    let mut checks = Config::default().checks;
    for w in without {
        match w.as_ref() {
            "init" => checks.init = false,
            "race" => checks.race = false,
            "tf32" => checks.tf32 = false,
            w => return Err(format!("`{w}` is no check that can be left out{}", names::meant(w, &["init", "race", "tf32"]))),
        }
    }
    Ok(checks)
}

pub fn tensor(text: &str) -> Result<Tensor, String> {
    match text {
        "ideal" => Ok(Tensor::Ideal),
        "ampere" => Ok(Tensor::Ampere),
        "hopper" => Ok(Tensor::Hopper),
        t => Err(format!("`{t}` is no model of tensor cores; it is ideal, ampere or hopper")),
    }
}

/// Whether a fault says that the launch was wrong, rather than the kernel.
pub fn wrong_call(kind: &FaultKind) -> bool {
    matches!(kind, FaultKind::Launch { .. } | FaultKind::Unsupported { .. })
}

/// A random order is a list of all blocks.
pub fn orderable(schedule: Schedule, grid: [u32; 3]) -> Result<(), String> {
    let blocks: u64 = grid.iter().map(|&n| n as u64).fold(1, u64::saturating_mul);
    if matches!(schedule, Schedule::Random(_)) && blocks > 1 << 26 {
        return Err(format!(
            "{blocks} blocks are too many for a random schedule, which takes up to {}: use forward or reverse",
            1 << 26
        ));
    }
    Ok(())
}

/// `X[,Y[,Z]]`
fn extent(key: &str, text: &str) -> Result<[u32; 3], String> {
    let mut out = [1; 3];
    let parts: Vec<&str> = text.split(',').collect();
    if parts.len() > 3 {
        return Err(format!("{key}: `{text}` has more than three parts"));
    }
    for (o, p) in out.iter_mut().zip(parts) {
        *o = p.trim().parse().map_err(|_| format!("{key}: `{p}` is not a number"))?;
    }
    Ok(out)
}

/// A variable of the module by any of its names: address, bytes, and the name that is found.
pub fn variable(machine: &mut Machine, module: &Module, name: &str) -> Result<(u64, u64, String), String> {
    let all = module.variables();
    let symbols: Vec<&str> = all.iter().map(|v| v.name.as_str()).collect();
    let found = &all[names::find("variable", name, &symbols)?].name;
    let (addr, size) = machine.symbol(module, found).ok_or_else(|| format!("variable `{found}` has no address"))?;
    Ok((addr, size as u64, found.clone()))
}

/// Which values of a range were written; empty if all were.
pub fn known(m: &Machine, addr: u64, len: u64, ty: Type) -> Vec<bool> {
    if m.initialised(addr, len).unwrap_or(false) {
        return Vec::new();
    }
    let size = ty.size() as u64;
    (0..len / size).map(|i| m.initialised(addr + i * size, size).unwrap_or(false)).collect()
}

impl RunArgs {
    fn config(&self) -> Result<Config, String> {
        let schedule = schedule(&self.schedule).map_err(|e| format!("--schedule: {e}"))?;
        let checks = checks(&self.without).map_err(|e| format!("--without: {e}"))?;
        let tensor = tensor(&self.tensor).map_err(|e| format!("--tensor: {e}"))?;
        let copies = if self.eager { Copies::Eager } else { Copies::Late };
        let approx = self.perturb.map_or(Approx::Central, Approx::Within);
        let (budget, counters) = (self.budget, self.counters);
        Ok(Config { checks, schedule, budget, counters, copies, approx, tensor, ..Config::default() })
    }

    /// What is printed, and the exit code. Faults and notes go to the second text, for stderr.
    pub fn run(&self) -> Result<(String, String, i32), String> {
        let module = load::module(&self.file)?;
        let entry = names::kernel(&module, self.kernel.as_deref()).map_err(|e| format!("--kernel: {e}"))?;
        let slots = slot::slots(&module, entry);
        slot::count(self.args.len(), &slots).map_err(|e| format!("--arg: {}: {e}", entry.name))?;
        let mut machine = Machine::new(self.config()?);
        let limit = load::memory_limit(self.memory);
        let (memory, also, notes) = (Vec::new(), Vec::new(), Vec::new());
        let mut make = Maker { machine: &mut machine, base: PathBuf::new(), left: limit, memory, also, notes };
        let mut args = Vec::new();
        for (i, a) in self.args.iter().enumerate() {
            args.push(make.argument(&i.to_string(), a, slots.get(i)).map_err(|e| format!("--arg {a}: {e}"))?);
        }
        for s in &self.set_var {
            set_variable(&mut make, &module, s).map_err(|e| format!("--set-var {s}: {e}"))?;
        }
        let Maker { memory, also, notes, .. } = make;
        let grid = extent("--grid", &self.grid)?;
        let launch = Launch { grid, block: extent("--block", &self.block)?, shared: self.shared, args, also };
        orderable(machine.config().schedule, grid).map_err(|e| format!("--schedule: {e}"))?;
        // What may be wrong with these words is found before the launch.
        let outputs = self.out.iter().map(|o| labelled("--out", o, &memory)).collect::<Result<Vec<_>, _>>()?;
        let mut wanted = Vec::new();
        for e in &self.expect {
            wanted.push(expected(&mut machine, &module, e, &memory, limit)?);
        }
        let mut shown = Vec::new();
        for g in &self.get_var {
            let fail = |e| format!("--get-var {g}: {e}");
            let (name, ty) = g.split_once('=').ok_or_else(|| fail("expected NAME=TYPE".into()))?;
            let ty = type_named(ty).map_err(fail)?;
            let (addr, len, name) = variable(&mut machine, &module, name).map_err(fail)?;
            shown.push((name, addr, len - len % ty.size() as u64, ty));
        }
        let mut errors: String = notes.iter().map(|n| format!("note: {n}\n")).collect();
        let survey = machine.survey(&module, &entry.name, &launch, self.findings.max(1));
        // What the kernel printed comes first, whatever became of it.
        let mut out = machine.printed().to_string();
        if !out.is_empty() && !out.ends_with('\n') {
            out.push('\n');
        }
        if let Some(f) = survey.findings.iter().find(|f| wrong_call(&f.fault.kind)) {
            return Err(format!("{errors}{}", f.fault));
        }
        for f in &survey.findings {
            let times = if f.times > 1 { format!("\n  {} times", f.times) } else { String::new() };
            writeln!(errors, "{}{times}", names::readable(&f.fault.to_string())).expect("a String grows");
        }
        if !survey.findings.is_empty() {
            if !survey.complete {
                let why = match survey.ended_by() {
                    Some(kind) => format!("nothing goes on behind a fault of the kind `{kind}`"),
                    None => format!("--findings {} is the most that are told", self.findings),
                };
                writeln!(errors, "the launch ended there ({why})").expect("a String grows");
            }
            return Ok((out, errors, 1));
        }
        let report = survey.report;
        let name = names::demangled(&entry.name);
        writeln!(out, "{name}: {} warp instructions in {} blocks, no fault", report.instructions, report.blocks)
            .expect("a String grows");
        for b in memory.iter().filter(|b| b.rights != Rights::Read) {
            self.show(&machine, &format!("argument {}", b.label), b.addr, b.len, b.ty, &mut out);
        }
        for (name, addr, len, ty) in shown {
            self.show(&machine, &format!("variable {name}"), addr, len, ty, &mut out);
        }
        for (b, file) in outputs {
            let bytes = machine.bytes(b.addr, b.len).map_err(|e| e.to_string())?;
            std::fs::write(file, bytes).map_err(|e| format!("--out {}={file}: {e}", b.label))?;
        }
        let mut code = 0;
        for (what, addr, len, ty, want) in &wanted {
            let got = machine.bytes(*addr, *len).map_err(|e| e.to_string())?;
            let got = Numbers { ty: *ty, bytes: got, known: &known(&machine, *addr, *len, *ty) };
            let tolerance = Tolerance { rtol: self.rtol, atol: self.atol, max_bad: self.max_bad };
            if let Some(text) = difference(got, Numbers { ty: want.0, bytes: &want.1, known: &[] }, tolerance) {
                writeln!(errors, "value: {what}: {text}\n  in {name}").expect("a String grows");
                code = 1;
            }
        }
        if self.counters {
            counters(&report, &mut out);
        }
        Ok((out, errors, code))
    }

    /// The values of a range in words; `?` stands for a value that nothing wrote.
    fn show(&self, m: &Machine, what: &str, addr: u64, len: u64, ty: Type, out: &mut String) {
        let known = known(m, addr, len, ty);
        let numbers = Numbers { ty, bytes: m.bytes(addr, len).unwrap_or_default(), known: &known };
        let count = numbers.count();
        let shown = if self.all { count } else { count.min(16) };
        let values: Vec<String> = (0..shown).map(|i| numbers.show(i)).collect();
        let more = if shown < count { format!(" … ({count} in all)") } else { String::new() };
        writeln!(out, "{what}: {}{more}", values.join(" ")).expect("a String grows");
    }
}

/// `N=REST`, with N the label of memory.
fn labelled<'a>(key: &str, text: &'a str, memory: &'a [Memory]) -> Result<(&'a Memory, &'a str), String> {
    let found = text.split_once('=').and_then(|(n, rest)| Some((memory.iter().find(|b| b.label == n)?, rest)));
    found.ok_or_else(|| {
        let labels: Vec<&str> = memory.iter().map(|b| b.label.as_str()).collect();
        let have = if labels.is_empty() { "no argument is".into() } else { format!("memory is {}", names::some(&labels)) };
        format!("{key} {text}: expected N=…, with N an argument that is memory; {have}")
    })
}

/// What was asked for, where it lies, and what is wanted there: its type and bytes.
type Wanted = (String, u64, u64, Type, (Type, Vec<u8>));

/// `N=VALUES`, or `NAME=TYPE:VALUES` of a variable.
fn expected(machine: &mut Machine, module: &Module, text: &str, memory: &[Memory], limit: u64) -> Result<Wanted, String> {
    let fail = |e: String| format!("--expect {text}: {e}");
    let by_number = text.split_once('=').is_some_and(|(n, _)| n.starts_with(|c: char| c.is_ascii_digit()));
    let (what, addr, len, ty, list) = if by_number {
        let (b, list) = labelled("--expect", text, memory)?;
        (format!("argument {}", b.label), b.addr, b.len, b.ty, list)
    } else {
        let words = text.split_once('=').and_then(|(name, rest)| Some((name, rest.split_once(':')?)));
        let (name, (ty, list)) = words.ok_or_else(|| fail("expected N=VALUES, or NAME=TYPE:VALUES of a variable".into()))?;
        let ty = type_named(ty).map_err(fail)?;
        let (addr, len, name) = variable(machine, module, name).map_err(fail)?;
        (format!("variable {name}"), addr, len, ty, list)
    };
    let want = match list.strip_prefix('@') {
        // A reference may be in another type than the result.
        Some(file) => load(Path::new(""), file, ty, limit).map(|l| (l.ty, l.bytes)),
        None => values(ty, list, Path::new(""), limit).map(|b| (ty, b)),
    };
    let want = want.map_err(fail)?;
    if want.0 != ty && !(want.0.float() && ty.float()) {
        return Err(fail(format!("holds {}, and the result is {}", want.0.name(), ty.name())));
    }
    let (have, need) = (want.1.len() / want.0.size(), len as usize / ty.size());
    if have != need {
        return Err(fail(format!("{have} values for a result of {need}")));
    }
    Ok((what, addr, len, ty, want))
}

/// `NAME=TYPE:VALUES`, or `NAME=ARG`.
fn set_variable(make: &mut Maker, module: &Module, text: &str) -> Result<(), String> {
    let (name, value) = text.split_once('=').ok_or("expected NAME=TYPE:VALUES, or NAME=ARG")?;
    let (addr, size, found) = variable(make.machine, module, name)?;
    let typed = value.split_once(':').and_then(|(t, rest)| Some((Type::named(t)?, rest)));
    let bytes = match typed {
        Some((ty, list)) => values(ty, list, &make.base, size)?,
        None => {
            let arg = make.argument(&found, value, None)?;
            let bytes = arg.to_bytes()?;
            if !matches!(arg, Arg::Bytes(_) | Arg::Null) {
                make.also.push(arg);
            }
            bytes
        }
    };
    if bytes.len() as u64 != size {
        return Err(format!("{} bytes for `{found}`, which has {size}", bytes.len()));
    }
    make.machine.write(addr, &bytes).map_err(|e| e.to_string())
}

fn counters(report: &Report, out: &mut String) {
    out.push('\n');
    for (name, value) in report.counters.metrics() {
        writeln!(out, "{name:70} {value}").expect("a String grows");
    }
    *out += "\nby PTX line: executions by warps, active lanes on average\n";
    for e in &report.profile {
        let lanes = e.lanes as f64 / e.warps as f64;
        writeln!(out, "{:6}  {:40} {:>12} {lanes:>6.1}", e.line, e.opcode, e.warps).expect("a String grows");
    }
}
