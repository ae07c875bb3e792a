//! The specification of launches, SPEC.toml: what it says, checked as far as it can be without the PTX.
//!
//! ```toml
//! [buffers]
//! x = { type = "f32", count = 1024, random = 7 }
//! y = { type = "f32", count = 1024, zeros = true }
//! [[launch]]
//! kernel = "saxpy"
//! grid = [4]
//! block = [256]
//! args = [1024, { f32 = 2.0 }, { read = "x" }, { update = "y" }]
//! expect = { y = { file = "want.npy", rtol = 1e-6 } }
//! schedules = ["forward", "reverse", "random:1"]
//! ```

use std::path::Path;

use super::argument::{Rights, hex};
use super::compare::Tolerance;
use super::files::load;
use super::map::MapSpec;
use super::names::meant;
use super::run;
use super::tree::{Node, Problems, Table, Value, parse};
use super::types::Type;
use super::values::{Draw, draw, type_named};
use crate::launch::Checks;
use crate::num::mma::Tensor;
use crate::schedule::Schedule;
use crate::suppress::Suppression;

/// Longest specification that is read.
const LONGEST: usize = 16 << 20;

#[derive(Debug, Default)]
pub struct Spec {
    /// The PTX file, if the specification names it; from the specification's folder.
    pub ptx: Option<String>,
    pub buffers: Vec<Named>,
    pub variables: Vec<Named>,
    pub launches: Vec<LaunchSpec>,
    pub suppress: Vec<Known>,
}

/// `[[suppress]]`: findings that are known and meant.
#[derive(Clone, Debug)]
pub struct Known {
    pub line: u32,
    pub what: Suppression,
}

/// Memory by its name.
#[derive(Clone, Debug)]
pub struct Named {
    pub name: String,
    pub line: u32,
    pub contents: Contents,
}

/// A type, a number of values, and how these come about.
#[derive(Clone, Debug, Default)]
pub struct Contents {
    pub ty: Option<Type>,
    pub count: Option<u64>,
    pub shape: Option<Vec<u64>>,
    pub fill: Fill,
}

#[derive(Clone, Debug, Default)]
pub enum Fill {
    /// Nothing is written.
    #[default]
    Nothing,
    Zeros,
    /// One value, everywhere.
    Value(Value),
    Values(Vec<Value>),
    Random {
        seed: u64,
        draw: Option<Draw>,
    },
    Iota {
        from: i128,
        step: i128,
    },
    File(String),
    /// The addresses of buffers.
    Pointers(Vec<String>),
    Bytes(Vec<u8>),
}

/// An argument, or a field of a struct.
#[derive(Clone, Debug)]
pub enum ArgSpec {
    /// A number of the parameter's type.
    Number(Value),
    Typed(Type, Value),
    Null,
    Bytes(Vec<u8>),
    Memory {
        rights: Rights,
        buffer: String,
        offset: u64,
        count: Option<u64>,
    },
    Struct(Vec<(Option<u32>, ArgSpec)>),
    Map(MapSpec),
}

#[derive(Clone, Debug)]
pub struct Expect {
    /// A buffer or a variable.
    pub name: String,
    pub line: u32,
    pub contents: Contents,
    pub tolerance: Tolerance,
}

#[derive(Clone, Debug)]
pub struct LaunchSpec {
    pub name: String,
    pub line: u32,
    pub kernel: String,
    pub grid: [u32; 3],
    pub block: [u32; 3],
    pub shared: u32,
    pub args: Vec<(u32, ArgSpec)>,
    pub also: Vec<(u32, ArgSpec)>,
    pub set: Vec<Named>,
    pub expect: Vec<Expect>,
    pub settings: Settings,
    /// None: results of all schedules are the same bits.
    pub may_differ: Option<Tolerance>,
}

/// How a launch is run: of `[defaults]`, and what a launch says otherwise.
#[derive(Clone, Debug)]
pub struct Settings {
    pub schedules: Vec<(String, Schedule)>,
    pub checks: Checks,
    pub tensor: Tensor,
    pub perturb: Option<u64>,
    pub eager: bool,
    pub budget: Option<u64>,
    /// Findings of a schedule after which a launch ends.
    pub findings: u64,
}

/// Reads a specification. Errors are lines and sentences, all that were found.
pub fn read(text: &str) -> Result<Spec, Vec<(u32, String)>> {
    if text.len() > LONGEST {
        return Err(vec![(1, format!("{} bytes are too many for a specification", text.len()))]);
    }
    let root = parse(text).map_err(|e| vec![e])?;
    let mut p = Problems::default();
    let mut t = Table::new("", &root, &mut p);
    let ptx = t.text("ptx", &mut p).map(str::to_string);
    let buffers = t.get("buffers").map(|n| named("buffers", n, true, &mut p)).unwrap_or_default();
    let variables = t.get("variables").map(|n| named("variables", n, false, &mut p)).unwrap_or_default();
    let plain = Settings {
        schedules: vec![("forward".into(), Schedule::Forward)],
        checks: crate::launch::Config::default().checks,
        tensor: Tensor::Ideal,
        perturb: None,
        eager: false,
        budget: None,
        findings: 16,
    };
    let defaults = match t.get("defaults") {
        Some(n) => {
            let mut t = Table::new("defaults", n, &mut p);
            let s = settings(&mut t, &plain, &mut p);
            t.finish(&mut p);
            s
        }
        None => plain,
    };
    let mut launches: Vec<LaunchSpec> = Vec::new();
    for (i, n) in t.list("launch", &mut p).unwrap_or_default().iter().enumerate() {
        if let Some(l) = launch(&format!("launch[{i}]"), n, &defaults, &mut p) {
            launches.push(l);
        }
    }
    let suppress = known(&mut t, &mut p);
    t.finish(&mut p);
    if launches.is_empty() && p.0.is_empty() {
        p.add(1, "", "has no [[launch]]: nothing would be checked (`ptx init FILE.ptx` writes a first specification)");
    }
    unique(&mut launches, &mut p);
    for n in variables.iter().filter(|v| buffers.iter().any(|b| b.name == v.name)) {
        p.add(n.line, "variables", format!("`{}` is a buffer, too: rename the buffer", n.name));
    }
    p.0.sort_by_key(|e| e.0);
    if p.0.is_empty() { Ok(Spec { ptx, buffers, variables, launches, suppress }) } else { Err(p.0) }
}

/// Reads a file of nothing but `[[suppress]]`.
pub fn read_suppressions(text: &str) -> Result<Vec<Known>, Vec<(u32, String)>> {
    let root = parse(text).map_err(|e| vec![e])?;
    let mut p = Problems::default();
    let mut t = Table::new("", &root, &mut p);
    let list = known(&mut t, &mut p);
    t.finish(&mut p);
    if list.is_empty() && p.0.is_empty() {
        p.add(1, "", "has no [[suppress]]");
    }
    if p.0.is_empty() { Ok(list) } else { Err(p.0) }
}

fn known(t: &mut Table, p: &mut Problems) -> Vec<Known> {
    let mut list = Vec::new();
    for (i, n) in t.list("suppress", p).unwrap_or_default().iter().enumerate() {
        let path = format!("suppress[{i}]");
        let mut t = Table::new(&path, n, p);
        let mut text = |key, p: &mut Problems| t.text(key, p).map(str::to_string);
        let (kernel, check, line, argument) = (text("kernel", p), text("check", p), text("line", p), text("argument", p));
        let reason = text("reason", p).filter(|r| !r.trim().is_empty());
        t.finish(p);
        if let Some(c) = &check
            && !CHECKS.contains(&c.as_str())
        {
            p.add(
                n.line,
                &path,
                format!("check = \"{c}\"{}; checks that can be suppressed are {}", meant(c, &CHECKS), CHECKS.join(", ")),
            );
        }
        let Some(reason) = reason else {
            p.add(n.line, &path, "has no reason: why is the finding meant? (reason = \"…\")");
            continue;
        };
        if kernel.is_none() && check.is_none() && line.is_none() && argument.is_none() {
            p.add(n.line, &path, "would suppress everything: give a kernel, a check, a line or an argument");
        }
        list.push(Known { line: n.line, what: Suppression { kernel, check, line, argument, reason } });
    }
    list
}

/// What a launch can go on from.
const CHECKS: [&str; 9] =
    ["race", "out-of-bounds", "misaligned", "null", "use-after-free", "read-only", "uninitialised", "operand", "tf32"];

/// Launches without a name have their kernel's; a second one of that name is numbered. Names that were given are there once.
fn unique(launches: &mut [LaunchSpec], p: &mut Problems) {
    for i in 0..launches.len() {
        let (before, rest) = launches.split_at_mut(i);
        let l = &mut rest[0];
        if l.name.is_empty() {
            let taken = |name: &str| before.iter().any(|b| b.name == name);
            let numbered = std::iter::once(l.kernel.clone()).chain((2..).map(|n| format!("{} #{n}", l.kernel)));
            l.name = numbered.into_iter().find(|n| !taken(n)).expect("some number is free");
        } else if before.iter().any(|b| b.name == l.name) {
            p.add(l.line, &format!("launch[{i}].name"), format!("`{}` is the name of another launch", l.name));
        }
    }
}

fn named(path: &str, n: &Node, buffers: bool, p: &mut Problems) -> Vec<Named> {
    let table = Table::new(path, n, p);
    let mut out = Vec::new();
    for (name, n) in table.entries() {
        let path = format!("{path}.{name}");
        let mut t = Table::new(&path, n, p);
        let c = contents(&mut t, p);
        t.finish(p);
        if buffers {
            let pointers = matches!(c.fill, Fill::Pointers(_) | Fill::Bytes(_));
            if c.ty.is_none() && !pointers {
                p.add(n.line, &path, "a buffer needs a type: type = \"f32\"");
            }
            let sized = matches!(c.fill, Fill::Values(_) | Fill::File(_)) || pointers;
            if c.count.is_none() && !sized {
                p.add(n.line, &path, "a buffer needs a count (or a shape, values, or a file)");
            }
        }
        out.push(Named { name: name.clone(), line: n.line, contents: c });
    }
    out
}

/// The keys of [`Contents`].
fn contents(t: &mut Table, p: &mut Problems) -> Contents {
    let (path, line) = (t.path.clone(), t.line);
    let ty = t.text("type", p).and_then(|name| type_named(name).map_err(|e| p.add(line, &path, e)).ok());
    let shape = t.wholes("shape", p);
    let mut count = t.whole("count", p);
    if let Some(s) = &shape {
        let product = s.iter().try_fold(1u64, |n, &d| n.checked_mul(d));
        match (product, count) {
            (None, _) => p.add(line, &path, format!("shape {s:?} is too large")),
            (Some(n), Some(c)) if n != c => p.add(line, &path, format!("shape {s:?} has {n} values, and count says {c}")),
            (n, _) => count = n,
        }
    }
    let mut fills: Vec<(&str, Fill)> = Vec::new();
    match t.flag("zeros", p) {
        Some(true) => fills.push(("zeros", Fill::Zeros)),
        Some(false) => p.add(line, &path, "zeros = false says nothing: leave it out for memory without values"),
        None => {}
    }
    if let Some(n) = t.get("value") {
        if number(&n.value) {
            fills.push(("value", Fill::Value(n.value.clone())));
        } else {
            p.add(n.line, &path, "value is one number (values = […] are several)");
        }
    }
    if let Some(list) = t.list("values", p) {
        if let Some(bad) = list.iter().find(|n| !number(&n.value)) {
            p.add(bad.line, &path, "values are numbers (or text: \"0x7fc00000\", the bits of a float)");
        }
        fills.push(("values", Fill::Values(list.iter().map(|n| n.value.clone()).collect())));
    }
    let (low, high) = (t.number("low", p), t.number("high", p));
    let (mean, std) = (t.number("mean", p), t.number("std", p));
    let (random, normal) = (t.whole("random", p), t.whole("normal", p));
    if let Some(seed) = random {
        let draw = match (low, high) {
            (None, None) => None,
            (Some(low), Some(high)) => Some(Draw::Uniform { low, high }),
            _ => {
                p.add(line, &path, "low and high go together");
                None
            }
        };
        fills.push(("random", Fill::Random { seed, draw }));
    } else if low.is_some() || high.is_some() {
        p.add(line, &path, "low and high need random = SEED");
    }
    if let Some(seed) = normal {
        let draw = Draw::Normal { mean: mean.unwrap_or(0.0), std: std.unwrap_or(1.0) };
        fills.push(("normal", Fill::Random { seed, draw: Some(draw) }));
    } else if mean.is_some() || std.is_some() {
        p.add(line, &path, "mean and std need normal = SEED");
    }
    let step = t.get("step");
    let whole = |n: &Node| if let Value::Int(i) = n.value { i64::try_from(i).ok().map(i128::from) } else { None };
    match (t.get("iota"), step) {
        (Some(n), step) => match (whole(n), step.map(whole)) {
            (Some(from), None) => fills.push(("iota", Fill::Iota { from, step: 1 })),
            (Some(from), Some(Some(step))) => fills.push(("iota", Fill::Iota { from, step })),
            _ => p.add(n.line, &path, "iota = FIRST and step = STEP are whole numbers"),
        },
        (None, Some(n)) => p.add(n.line, &path, "step needs iota = FIRST"),
        (None, None) => {}
    }
    if let Some(file) = t.text("file", p) {
        fills.push(("file", Fill::File(file.to_string())));
    }
    if let Some(names) = t.texts("pointers", p) {
        fills.push(("pointers", Fill::Pointers(names.into_iter().map(str::to_string).collect())));
    }
    if let Some(text) = t.text("hex", p) {
        match hex(text) {
            Ok(b) => fills.push(("hex", Fill::Bytes(b))),
            Err(e) => p.add(line, &path, e),
        }
    }
    if fills.len() > 1 {
        let words: Vec<&str> = fills.iter().map(|f| f.0).collect();
        p.add(line, &path, format!("{} exclude each other: keep one", words.join(" and ")));
    }
    let fill = fills.pop().map(|f| f.1).unwrap_or_default();
    Contents { ty, count, shape, fill }
}

/// Whether a value is a number, perhaps as text (`"0x7fc00000"`).
fn number(v: &Value) -> bool {
    matches!(v, Value::Int(_) | Value::Float(_) | Value::Text(_))
}

/// Appends a number of the specification; an error says what it is not.
pub fn put(ty: Type, v: &Value, out: &mut Vec<u8>) -> Result<(), String> {
    let (fits, shown) = match v {
        Value::Int(i) => (ty.put_int(*i, out), i.to_string()),
        Value::Float(t) | Value::Text(t) => (ty.put(t, out), t.clone()),
        _ => (false, "this".into()),
    };
    if fits { Ok(()) } else { Err(format!("`{shown}` is not a {}", ty.name())) }
}

impl Contents {
    /// The bytes, `count` values of them if the contents do not say how many; none if nothing is to be written. `limit` bounds
    /// them; files are looked for from `base`. [`Fill::Pointers`] are not known here.
    pub fn bytes(&self, ty: Type, count: Option<u64>, base: &Path, limit: u64) -> Result<(u64, Option<Vec<u8>>), String> {
        let size = ty.size() as u64;
        let fits = |n: u64| match n.checked_mul(size) {
            Some(b) if b <= limit => Ok(n as usize),
            _ => Err(format!(
                "{n} values of {} are more than the {} that memory may still have (--memory MIB)",
                ty.name(),
                super::load::bytes(limit)
            )),
        };
        let wanted = self.count.or(count);
        let needed = || wanted.ok_or_else(|| "how many? count = N".to_string()).and_then(fits);
        let mut out = Vec::new();
        match &self.fill {
            Fill::Nothing => return Ok((needed()? as u64 * size, None)),
            Fill::Zeros => out.resize(needed()? * size as usize, 0),
            Fill::Value(v) => {
                put(ty, v, &mut out)?;
                out = out.repeat(needed()?);
            }
            Fill::Values(list) => {
                fits(list.len() as u64)?;
                list.iter().try_for_each(|v| put(ty, v, &mut out))?;
            }
            Fill::Random { seed, draw: how } => {
                let how = how.unwrap_or(Draw::usual(ty));
                how.check(ty)?;
                draw(ty, needed()? as u64, *seed, how, &mut out);
            }
            Fill::Iota { from, step } => {
                let n = needed()?;
                let last = from + step * (n as i128 - 1).max(0);
                if !(0..n).all(|i| ty.put_int(from + step * i as i128, &mut out)) {
                    return Err(format!("{from} to {last} exceed {}", ty.name()));
                }
            }
            Fill::File(name) => {
                let found = load(base, name, ty, limit)?;
                if found.ty != ty {
                    return Err(format!(
                        "{name}: holds {}, and the type is {}: write type = \"{0}\", or convert the file",
                        found.ty.name(),
                        ty.name()
                    ));
                }
                if let (Some(want), Some(have)) = (&self.shape, &found.shape)
                    && want != have
                {
                    return Err(format!("{name}: has the shape {have:?}, and {want:?} is wanted"));
                }
                out = found.bytes;
            }
            Fill::Bytes(b) => {
                fits((b.len() as u64).div_ceil(size))?;
                if !(b.len() as u64).is_multiple_of(size) {
                    return Err(format!("{} bytes of hex are no whole number of {} values", b.len(), ty.name()));
                }
                out = b.clone();
            }
            Fill::Pointers(_) => return Err("pointers are for buffers and variables alone".into()),
        }
        let have = out.len() as u64 / size;
        if let Some(n) = wanted
            && n != have
        {
            return Err(format!("{have} values, and {n} are wanted"));
        }
        Ok((out.len() as u64, Some(out)))
    }
}

fn settings(t: &mut Table, default: &Settings, p: &mut Problems) -> Settings {
    let (path, line) = (t.path.clone(), t.line);
    let mut s = default.clone();
    if let Some(words) = t.texts("schedules", p) {
        s.schedules = Vec::new();
        for w in words {
            match run::schedule(w) {
                Ok(found) if s.schedules.iter().all(|x| x.0 != w) => s.schedules.push((w.to_string(), found)),
                Ok(_) => p.add(line, &path, format!("schedules: `{w}` is there twice")),
                Err(e) => p.add(line, &path, format!("schedules: {e}")),
            }
        }
        if s.schedules.is_empty() {
            p.add(line, &path, "schedules: none is left; leave the key out for forward alone");
        }
    }
    if let Some(words) = t.texts("without", p) {
        run::checks(&words).map(|c| s.checks = c).unwrap_or_else(|e| p.add(line, &path, format!("without: {e}")));
    }
    if let Some(w) = t.text("tensor", p) {
        run::tensor(w).map(|x| s.tensor = x).unwrap_or_else(|e| p.add(line, &path, e));
    }
    s.perturb = t.whole("perturb", p).or(s.perturb);
    s.eager = t.flag("eager", p).unwrap_or(s.eager);
    s.budget = t.whole("budget", p).or(s.budget);
    s.findings = t.whole("findings", p).map_or(s.findings, |n| n.clamp(1, 1 << 20));
    s
}

fn launch(path: &str, n: &Node, defaults: &Settings, p: &mut Problems) -> Option<LaunchSpec> {
    let mut t = Table::new(path, n, p);
    let line = n.line;
    let kernel = t.text("kernel", p).map(str::to_string);
    let name = t.text("name", p).unwrap_or("").to_string();
    let extent = |key: &'static str, t: &mut Table, p: &mut Problems| {
        let list = t.wholes(key, p)?;
        let mut out = [1u32; 3];
        if list.is_empty() || list.len() > 3 {
            p.add(line, &format!("{path}.{key}"), format!("{} numbers; one to three are wanted, along x, y and z", list.len()));
        }
        for (o, &v) in out.iter_mut().zip(&list) {
            match u32::try_from(v) {
                Ok(v) => *o = v,
                Err(_) => p.add(line, &format!("{path}.{key}"), format!("{v} is too large")),
            }
        }
        Some(out)
    };
    let grid = extent("grid", &mut t, p).unwrap_or([1; 3]);
    let block = extent("block", &mut t, p);
    let shared = t.whole("shared", p).unwrap_or(0);
    let shared = u32::try_from(shared).unwrap_or_else(|_| {
        p.add(line, &format!("{path}.shared"), format!("{shared} bytes are too many"));
        0
    });
    let mut args = Vec::new();
    for (i, n) in t.list("args", p).unwrap_or_default().iter().enumerate() {
        if let Some(a) = argument(&format!("{path}.args[{i}]"), n, None, p) {
            args.push((n.line, a));
        }
    }
    let mut also = Vec::new();
    for (i, n) in t.list("also", p).unwrap_or_default().iter().enumerate() {
        let here = format!("{path}.also[{i}]");
        match argument(&here, n, None, p) {
            Some(a @ ArgSpec::Memory { .. }) => also.push((n.line, a)),
            Some(_) => p.add(n.line, &here, "expected memory: { read = \"NAME\" }, write or update"),
            None => {}
        }
    }
    let set = t.get("set").map(|n| named(&format!("{path}.set"), n, false, p)).unwrap_or_default();
    let mut expect = Vec::new();
    if let Some(n) = t.get("expect") {
        let table = Table::new(&format!("{path}.expect"), n, p);
        expect = table.entries().iter().map(|(name, n)| expected(&format!("{path}.expect.{name}"), name, n, p)).collect();
    }
    let may_differ = match t.get("may_differ") {
        None => None,
        Some(n) => match &n.value {
            Value::Bool(b) => b.then_some(Tolerance { rtol: f64::INFINITY, atol: f64::INFINITY, max_bad: u64::MAX }),
            _ => {
                let mut t = Table::new(&format!("{path}.may_differ"), n, p);
                let found = tolerance(&mut t, p);
                t.finish(p);
                Some(found)
            }
        },
    };
    let settings = settings(&mut t, defaults, p);
    t.finish(p);
    if kernel.is_none() {
        p.add(line, path, "which kernel? kernel = \"NAME\" (`ptx list` prints the names)");
    }
    if block.is_none() {
        p.add(line, path, "how many threads? block = [X, Y, Z]");
    }
    let (kernel, block) = (kernel?, block?);
    Some(LaunchSpec { name, line, kernel, grid, block, shared, args, also, set, expect, settings, may_differ })
}

fn tolerance(t: &mut Table, p: &mut Problems) -> Tolerance {
    let (path, line) = (t.path.clone(), t.line);
    let size = |key: &'static str, t: &mut Table, p: &mut Problems| {
        let x = t.number(key, p).unwrap_or(0.0);
        if x.is_nan() || x < 0.0 {
            p.add(line, &path, format!("{key} = {x} is no tolerance"));
        }
        x
    };
    Tolerance { rtol: size("rtol", t, p), atol: size("atol", t, p), max_bad: t.whole("max_bad", p).unwrap_or(0) }
}

/// What is wanted of a buffer: a table, or in short a list, a number or a file.
fn expected(path: &str, name: &str, n: &Node, p: &mut Problems) -> Expect {
    let (mut contents_, mut tolerance_) = (Contents::default(), Tolerance::default());
    match &n.value {
        Value::List(l) => {
            if let Some(bad) = l.iter().find(|n| !number(&n.value)) {
                p.add(bad.line, path, "values are numbers");
            }
            contents_.fill = Fill::Values(l.iter().map(|n| n.value.clone()).collect());
        }
        v @ (Value::Int(_) | Value::Float(_)) => contents_.fill = Fill::Value(v.clone()),
        Value::Text(t) => contents_.fill = Fill::File(t.clone()),
        _ => {
            let mut t = Table::new(path, n, p);
            contents_ = contents(&mut t, p);
            tolerance_ = tolerance(&mut t, p);
            t.finish(p);
            if matches!(contents_.fill, Fill::Nothing) && matches!(n.value, Value::Table(_)) {
                p.add(n.line, path, "what is expected? file = …, values = […], value = …, zeros = true, iota, random");
            }
        }
    }
    Expect { name: name.to_string(), line: n.line, contents: contents_, tolerance: tolerance_ }
}

/// An argument; `at` is asked for if it is a field of a struct.
fn argument(path: &str, n: &Node, at: Option<&mut Option<u32>>, p: &mut Problems) -> Option<ArgSpec> {
    match &n.value {
        v @ (Value::Int(_) | Value::Float(_)) => return Some(ArgSpec::Number(v.clone())),
        Value::Text(t) if t == "null" => return Some(ArgSpec::Null),
        Value::Table(_) => {}
        _ => {
            let memory = "{ read = \"BUFFER\" }, write, update";
            p.add(
                n.line,
                path,
                format!(
                    "expected a number, \"null\", {{ TYPE = NUMBER }}, {memory}, {{ struct = […] }}, {{ map = \"BUFFER\", … }} or {{ hex = \"…\" }}"
                ),
            );
            return None;
        }
    }
    let mut t = Table::new(path, n, p);
    let mut found: Vec<(&str, ArgSpec)> = Vec::new();
    let field = at.is_some();
    if let Some(at) = at {
        *at = t.whole("at", p).and_then(|a| u32::try_from(a).ok());
    }
    let (offset, count) = (t.whole("offset", p), t.whole("count", p));
    for (key, rights) in [("read", Rights::Read), ("write", Rights::Write), ("update", Rights::Update)] {
        if let Some(buffer) = t.text(key, p) {
            found.push((key, ArgSpec::Memory { rights, buffer: buffer.to_string(), offset: offset.unwrap_or(0), count }));
        }
    }
    for name in super::types::NAMES.split(", ") {
        if let Some(n) = t.get(name) {
            match number(&n.value) {
                true => found.push((name, ArgSpec::Typed(Type::named(name).expect("a type of the list"), n.value.clone()))),
                false => p.add(n.line, path, format!("{name} is a number")),
            }
        }
    }
    if let Some(text) = t.text("hex", p) {
        match hex(text) {
            Ok(b) => found.push(("hex", ArgSpec::Bytes(b))),
            Err(e) => p.add(n.line, path, e),
        }
    }
    if t.flag("null", p).is_some() {
        found.push(("null", ArgSpec::Null));
    }
    if let Some(list) = t.list("struct", p) {
        if field {
            p.add(n.line, path, "a field is no struct; give the inner fields by their offsets");
        } else {
            let mut fields = Vec::new();
            for (i, n) in list.iter().enumerate() {
                let mut at = None;
                if let Some(a) = argument(&format!("{path}.struct[{i}]"), n, Some(&mut at), p) {
                    fields.push((at, a));
                }
            }
            found.push(("struct", ArgSpec::Struct(fields)));
        }
    }
    if let Some(map) = MapSpec::read(&mut t, p) {
        found.push(("map", ArgSpec::Map(map)));
    }
    let before = p.0.len();
    t.finish(p);
    match found.len() {
        1 => {
            if (offset.is_some() || count.is_some()) && !matches!(found[0].1, ArgSpec::Memory { .. }) {
                p.add(n.line, path, "offset and count go with read, write and update");
            }
            Some(found.remove(0).1)
        }
        // The unknown key says enough.
        0 if p.0.len() > before => None,
        0 => {
            p.add(n.line, path, "says nothing: give a number as { i32 = 5 }, or memory as { read = \"BUFFER\" }");
            None
        }
        _ => {
            let words: Vec<&str> = found.iter().map(|f| f.0).collect();
            p.add(n.line, path, format!("{} exclude each other: keep one", words.join(" and ")));
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_the_page() {
        let text: String = include_str!("spec.rs")
            .lines()
            .filter_map(|l| l.strip_prefix("//! "))
            .filter(|l| !l.starts_with("```"))
            .map(|l| format!("{l}\n"))
            .collect();
        let text = &text[text.find("[buffers]").unwrap()..];
        let s = read(text).unwrap();
        assert_eq!((s.buffers.len(), s.launches.len()), (2, 1));
        let l = &s.launches[0];
        assert_eq!((l.grid, l.block, l.args.len(), l.settings.schedules.len()), ([4, 1, 1], [256, 1, 1], 4, 3));
        assert_eq!(l.expect[0].tolerance.rtol, 1e-6);
    }

    #[test]
    fn what_is_wrong_is_named() {
        let whole = |launch: &str| {
            format!("[buffers]\nx = {{ type = \"f32\", count = 4 }}\n[[launch]]\nkernel = \"k\"\nblock = [32]\n{launch}\n")
        };
        for (text, line, words) in [
            ("", 1, "has no [[launch]]"),
            ("launch = 3", 1, "launch: expected a list, found a whole number"),
            ("[lunch]\n", 1, "unknown key `lunch`; did you mean `launch`?"),
            ("[buffers]\nx = { type = \"f32\", cuont = 4 }", 2, "buffers.x: unknown key `cuont`; did you mean `count`?"),
            ("[buffers]\nx = { typ = \"f32\" }", 2, "did you mean `type`?"),
            ("[buffers]\nx = { type = \"float\", count = 1 }", 2, "`float` is no type"),
            ("[buffers]\nx = { type = \"f32\" }", 2, "a buffer needs a count"),
            ("[buffers]\nx = { count = 4 }", 2, "a buffer needs a type"),
            ("[buffers]\nx = { type = \"f32\", count = -4 }", 2, "buffers.x.count: expected a whole number from 0 on"),
            ("[buffers]\nx = { type = \"f32\", shape = [2, 3], count = 5 }", 2, "shape [2, 3] has 6 values, and count says 5"),
            ("[buffers]\nx = { type = \"f32\", shape = [4294967296, 4294967296] }", 2, "is too large"),
            ("[buffers]\nx = { type = \"f32\", count = 4, zeros = true, random = 1 }", 2, "zeros and random exclude each other"),
            ("[buffers]\nx = { type = \"f32\", count = 4, low = 1 }", 2, "low and high need random"),
            ("[buffers]\nx = { type = \"f32\", count = 4, std = 1 }", 2, "mean and std need normal"),
            ("[buffers]\nx = 3", 2, "buffers.x: expected a table, found a whole number"),
            ("[[launch]]\nblock = [1]", 1, "which kernel?"),
            ("[[launch]]\nkernel = \"k\"", 1, "how many threads?"),
            (&whole("grid = [1, 2, 3, 4]"), 3, "launch[0].grid: 4 numbers; one to three"),
            (&whole("grid = [99999999999]"), 3, "99999999999 is too large"),
            (&whole("grid = [4.5]"), 6, "launch[0].grid: expected whole numbers"),
            (&whole("schedules = [\"backward\"]"), 3, "`backward` is no schedule"),
            (&whole("schedules = [\"forward\", \"forward\"]"), 3, "is there twice"),
            (&whole("schedules = []"), 3, "none is left"),
            (&whole("without = [\"races\"]"), 3, "did you mean `race`?"),
            (&whole("tensor = \"volta\""), 3, "ideal, ampere or hopper"),
            (&whole("args = [true]"), 6, "launch[0].args[0]: expected a number"),
            (&whole("args = [{ reed = \"x\" }]"), 6, "args[0]: unknown key `reed`; did you mean `read`?"),
            (&whole("args = [{ read = \"x\", update = \"x\" }]"), 6, "read and update exclude each other"),
            (&whole("args = [{ i32 = \"x\", }, {}]"), 6, "args[1]: says nothing"),
            (&whole("args = [{ f32 = true }]"), 6, "f32 is a number"),
            (&whole("args = [{ struct = [{ at = 8, struct = [] }] }]"), 6, "a field is no struct"),
            (&whole("also = [5]"), 6, "also[0]: expected memory"),
            (&whole("expect = { x = {} }"), 6, "expect.x: what is expected?"),
            (&whole("expect = { x = { value = 1, rtol = -1 } }"), 6, "rtol = -1 is no tolerance"),
            (
                &whole("name = \"a\"\n[[launch]]\nkernel = \"k\"\nblock = [1]\nname = \"a\""),
                7,
                "`a` is the name of another launch",
            ),
            ("[variables]\nx = {}\n[buffers]\nx = { type = \"f32\", count = 1 }", 2, "is a buffer, too"),
        ] {
            let errors = read(text).map(|_| ()).expect_err(text);
            assert!(errors.iter().any(|(l, e)| *l == line && e.contains(words)), "no `{line}: {words}` in: {errors:?}\n{text}");
        }
        // All that is wrong is told at once.
        assert_eq!(read("[[launch]]\nblok = [1]\ngrd = [1]").unwrap_err().len(), 4);
    }

    #[test]
    fn contents_of_memory() {
        let bytes = |text: &str, limit: u64| {
            let n = parse(&format!("x = {{{text}}}")).unwrap();
            let Value::Table(t) = n.value else { panic!() };
            let mut p = Problems::default();
            let mut table = Table::new("x", &t[0].1, &mut p);
            let c = contents(&mut table, &mut p);
            assert!(p.0.is_empty(), "{:?}", p.0);
            c.bytes(c.ty.unwrap(), None, Path::new("."), limit)
        };
        let good = |text: &str| bytes(text, 1 << 20).unwrap().1.unwrap();
        assert_eq!(good("type = 'u8', values = [1, 0x10, 255]"), [1, 16, 255]);
        assert_eq!(good("type = 'i8', count = 3, iota = -1"), [255, 0, 1]);
        assert_eq!(good("type = 'u8', count = 3, iota = 9, step = -4"), [9, 5, 1]);
        assert_eq!(good("type = 'f32', count = 2, value = 0.1"), [0.1f32; 2].map(f32::to_le_bytes).concat());
        assert_eq!(good("type = 'f32', values = ['0x7fc00000', nan, 2]").len(), 12);
        assert_eq!(good("type = 'u16', hex = '0aff'"), [10, 255]);
        assert_eq!(bytes("type = 'f32', count = 5", 1 << 20).unwrap(), (20, None));
        assert_eq!(good("type = 'f32', count = 4, random = 7").len(), 16);
        for (text, words) in [
            ("type = 'f32', count = 4294967296", "4294967296 values of f32 are more than the 1.0 MiB"),
            ("type = 'f64', count = 9223372036854775807, zeros = true", "are more than"),
            ("type = 'u8', values = [256]", "`256` is not a u8"),
            ("type = 'u8', values = [1.5]", "`1.5` is not a u8"),
            ("type = 'u8', values = [1], count = 2", "1 values, and 2 are wanted"),
            ("type = 'u8', count = 300, iota = 0", "0 to 299 exceed u8"),
            ("type = 'u8', count = 3, random = 1, low = 0, high = 300", "0 to 300 exceed u8"),
            ("type = 'f32', file = 'none.npy'", "check the path"),
            ("type = 'f32', hex = '0a'", "no whole number of f32"),
        ] {
            let why = bytes(text, 1 << 20).expect_err(text);
            assert!(why.contains(words), "no `{words}` in: {why}");
        }
    }
}
