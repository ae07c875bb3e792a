//! `ptx check`: runs what a specification describes.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::Instant;

use super::argument::Rights;
use super::compare::{Numbers, Tolerance, difference, unequal};
use super::files::load as load_file;
use super::load::{self, bytes};
use super::names::{self, demangled, meant};
use super::run::{known, orderable, variable, wrong_call};
use super::slot::{self, Slot};
use super::spec::{self, ArgSpec, Contents, Expect, Fill, Known, LaunchSpec, Named, Spec, put};
use super::tree::Value;
use super::types::Type;
use super::verdict::{FileReport, Finding, LaunchReport, Verdict};
use crate::fault::{Fault, FaultKind};
use crate::launch::{Arg, Config, Copies, Launch};
use crate::machine::Machine;
use crate::module::{Entry, Module};
use crate::num::approx::Approx;
use crate::suppress::Suppression;
use crate::tensor_map::BYTES;

/// What a check may cost, and which launches it is of.
#[derive(Clone, Debug, Default)]
pub struct Limits {
    pub only: Vec<String>,
    /// MiB.
    pub memory: Option<u64>,
    /// Most warp instructions of a launch, whatever the specification says.
    pub budget: Option<u64>,
    /// Findings that are known and meant, of all specifications, and the file that says so.
    pub suppress: Vec<(String, Known)>,
}

/// Specifications to check, each with its PTX file if that is known beforehand.
pub fn pairs(paths: &[PathBuf]) -> Result<Vec<(Option<PathBuf>, PathBuf)>, String> {
    let is = |p: &Path, ext: &str| p.extension().is_some_and(|e| e == ext);
    for p in paths {
        std::fs::metadata(p).map_err(|e| format!("{}: {e}; check the path", p.display()))?;
    }
    match paths {
        [dir] if dir.is_dir() => {
            let entries = std::fs::read_dir(dir).map_err(|e| format!("{}: {e}", dir.display()))?;
            let mut files: Vec<PathBuf> = entries.flatten().map(|e| e.path()).filter(|p| p.is_file()).collect();
            files.sort();
            let specs: Vec<_> = files.iter().filter(|f| is(f, "toml")).map(|f| (None, f.clone())).collect();
            if specs.is_empty() {
                let remedy =
                    "a folder has pairs of files, NAME.ptx and NAME.toml; `ptx init NAME.ptx > NAME.toml` writes a first one";
                return Err(format!("{}: has no specification: {remedy}", dir.display()));
            }
            Ok(specs)
        }
        [spec] if is(spec, "toml") => Ok(vec![(None, spec.clone())]),
        [ptx] => {
            let spec = ptx.with_extension("toml");
            if spec.is_file() {
                return Ok(vec![(Some(ptx.clone()), spec)]);
            }
            let (p, s) = (ptx.display(), spec.display());
            Err(format!("{p}: there is no {s} beside it: name the specification, or write one with `ptx init {p} > {s}`"))
        }
        [spec, ptx] if is(spec, "toml") && !is(ptx, "toml") => Ok(vec![(Some(ptx.clone()), spec.clone())]),
        [ptx, spec] => Ok(vec![(Some(ptx.clone()), spec.clone())]),
        _ => Err("expected FILE.ptx SPEC.toml, SPEC.toml, or a folder of pairs".into()),
    }
}

/// Checks specifications; PTX files of a folder that none of them names are problems of their own.
pub fn check(paths: &[PathBuf], limits: &Limits) -> Result<Vec<FileReport>, String> {
    let pairs = pairs(paths)?;
    let mut reports = Vec::new();
    let mut used = BTreeSet::new();
    for (ptx, spec) in &pairs {
        let report = check_file(ptx.as_deref(), spec, limits);
        used.insert(PathBuf::from(&report.ptx));
        reports.push(report);
    }
    if let [dir] = paths
        && let Ok(entries) = std::fs::read_dir(dir)
    {
        let mut orphans: Vec<PathBuf> =
            entries.flatten().map(|e| e.path()).filter(|p| p.extension().is_some_and(|e| e == "ptx")).collect();
        orphans.retain(|p| !used.contains(p));
        orphans.sort();
        for p in orphans {
            let ptx = p.display().to_string();
            let spec = p.with_extension("toml").display().to_string();
            let problems = vec![format!(
                "{ptx}: no specification names it: write {spec} (`ptx init {ptx} > {spec}`), or move the file away"
            )];
            reports.push(FileReport { ptx, spec, problems, ..FileReport::default() });
        }
    }
    if !limits.only.is_empty() {
        // A name need be of one file only.
        let missing: Vec<String> =
            reports.iter().flat_map(|r| r.problems.iter().filter(|p| p.starts_with(ONLY)).cloned()).collect();
        if missing.len() < reports.len() {
            reports.retain(|r| !r.problems.iter().any(|p| p.starts_with(ONLY)));
        }
    }
    Ok(reports)
}

/// Reads a file of `[[suppress]]`.
pub fn suppressions(path: &Path) -> Result<Vec<(String, Known)>, String> {
    let shown = path.display().to_string();
    let text = std::fs::read_to_string(path).map_err(|e| format!("{shown}: {e}; check the path"))?;
    let list = spec::read_suppressions(&text)
        .map_err(|problems| problems.iter().map(|(line, why)| format!("{shown}:{line}: {why}")).collect::<Vec<_>>().join("\n"))?;
    Ok(list.into_iter().map(|k| (shown.clone(), k)).collect())
}

/// Most warp instructions of a launch, where the specification says nothing: a minute or so.
const BUDGET: u64 = 1 << 30;
const ONLY: &str = "--only: ";

/// Checks one specification.
pub fn check_file(ptx: Option<&Path>, path: &Path, limits: &Limits) -> FileReport {
    let shown = path.display().to_string();
    let mut report =
        FileReport { spec: shown.clone(), ptx: ptx.map(|p| p.display().to_string()).unwrap_or_default(), ..Default::default() };
    let text = match std::fs::metadata(path) {
        Ok(m) if m.len() > 64 << 20 => Err("is too large for a specification".into()),
        Ok(_) => std::fs::read(path).map_err(|e| e.to_string()),
        Err(e) => Err(format!("{e}; check the path")),
    };
    let text = text.and_then(|b| String::from_utf8(b).map_err(|_| "is not text; a specification is TOML".to_string()));
    let text = match text {
        Ok(t) => t,
        Err(e) => {
            report.problems.push(format!("{shown}: {e}"));
            return report;
        }
    };
    let spec = match spec::read(&text) {
        Ok(spec) => spec,
        Err(list) => {
            report.problems = list.iter().map(|(line, why)| format!("{shown}:{line}: {why}")).collect();
            return report;
        }
    };
    let base = path.parent().unwrap_or(Path::new("")).to_path_buf();
    let ptx = match (ptx, &spec.ptx) {
        (Some(p), _) => p.to_path_buf(),
        (None, Some(name)) => base.join(name),
        (None, None) => path.with_extension("ptx"),
    };
    report.ptx = ptx.display().to_string();
    let module = match load::module(&ptx) {
        Ok(m) => m,
        Err(e) => {
            let remedy = if spec.ptx.is_none() && !ptx.exists() {
                format!("; {shown} may name its file: ptx = \"…\"")
            } else {
                String::new()
            };
            report.problems.push(format!("{e}{remedy}"));
            return report;
        }
    };
    report.sources = module.source_files();
    let mut c = Checker {
        base,
        machine: Machine::new(Config::default()),
        module: &module,
        left: load::memory_limit(limits.memory),
        most: limits.budget,
        buffers: BTreeMap::new(),
        suppress: spec.suppress.iter().map(|k| (shown.clone(), k.clone())).chain(limits.suppress.iter().cloned()).collect(),
        applied: BTreeSet::new(),
        shown,
    };
    c.left = c.left.saturating_sub(module.bytes());
    match c.selected(&spec, &limits.only).map_err(|e| vec![format!("{ONLY}{e}")]).and_then(|s| c.memory(&spec).map(|()| s)) {
        Ok(selected) => {
            report.launches = c.launches(&spec, &selected);
            // Only where everything ran that the file speaks of.
            let all =
                report.launches.len() == spec.launches.len() && report.launches.iter().all(|l| l.verdict != Verdict::NotRun);
            for k in (0..spec.suppress.len()).filter(|i| all && !c.applied.contains(i)).map(|i| &spec.suppress[i]) {
                report.notes.push(c.at(k.line, format!("suppress: applied to nothing (\"{}\"): remove it", k.what.reason)));
            }
        }
        Err(problems) => report.problems = problems,
    }
    report
}

/// A buffer or variable on the machine.
#[derive(Clone, Copy, Debug)]
struct Place {
    addr: u64,
    len: u64,
    ty: Option<Type>,
    variable: bool,
}

struct Checker<'a> {
    /// The specification, for messages.
    shown: String,
    base: PathBuf,
    machine: Machine,
    module: &'a Module,
    left: u64,
    most: Option<u64>,
    /// Buffers, and variables by the names that the specification has for them.
    buffers: BTreeMap<String, Place>,
    /// What is known and meant, and the file that says so; those of the specification first.
    suppress: Vec<(String, Known)>,
    /// Which of them applied.
    applied: BTreeSet<usize>,
}

/// A launch that can be run.
struct Ready<'a> {
    entry: &'a Entry,
    launch: Launch,
    /// Memory that begins without values.
    fresh: Vec<(u64, u64)>,
    set: Vec<(u64, Vec<u8>)>,
    wanted: Vec<Wanted>,
    /// What the launch may change, by name.
    results: Vec<(String, Place)>,
}

struct Wanted {
    name: String,
    place: Place,
    ty: Type,
    want: (Type, Vec<u8>),
    tolerance: Tolerance,
    line: u32,
}

/// Values that a run left in one buffer.
struct Left {
    bytes: Vec<u8>,
    known: Vec<bool>,
}

/// The memory that a launch of the specification names: buffers, and whether their contents matter to the launch; and those that
/// it may change.
fn touched(l: &LaunchSpec) -> (BTreeSet<&str>, BTreeSet<&str>) {
    fn visit<'a>(a: &'a ArgSpec, needs: &mut BTreeSet<&'a str>, changes: &mut BTreeSet<&'a str>) {
        match a {
            ArgSpec::Memory { rights, buffer, .. } => {
                if *rights != Rights::Write {
                    needs.insert(buffer);
                }
                if *rights != Rights::Read {
                    changes.insert(buffer);
                }
            }
            ArgSpec::Struct(fields) => fields.iter().for_each(|f| visit(&f.1, needs, changes)),
            ArgSpec::Map(m) if m.store => {
                changes.insert(&m.buffer);
            }
            ArgSpec::Map(m) => {
                needs.insert(&m.buffer);
            }
            _ => {}
        }
    }
    let (mut needs, mut changes) = (BTreeSet::new(), BTreeSet::new());
    l.args.iter().chain(&l.also).for_each(|(_, a)| visit(a, &mut needs, &mut changes));
    (needs, changes)
}

/// The instruction of a fault and, of a race, the other one: what is the same under every schedule.
fn place(f: &Fault) -> String {
    let mut lines: Vec<String> = f.site.iter().map(|s| format!("{} {}", s.line, s.text)).collect();
    if let FaultKind::Race { sides, .. } = &f.kind {
        // `…: instruction   source   ptx line N`, on both sides; which side comes first is the schedule's choice.
        lines = sides.iter().filter_map(|s| Some(s.split_once(": ")?.1.to_string())).collect();
        lines.sort();
        lines.dedup();
    }
    lines.join(" ")
}

impl<'a> Checker<'a> {
    fn at(&self, line: u32, why: impl std::fmt::Display) -> String {
        format!("{}:{line}: {why}", self.shown)
    }

    /// Which launches are run: all, or those that are named and those before whose results they need.
    fn selected(&self, spec: &Spec, only: &[String]) -> Result<Vec<bool>, String> {
        if only.is_empty() {
            return Ok(vec![true; spec.launches.len()]);
        }
        let all: Vec<&str> = spec.launches.iter().map(|l| l.name.as_str()).collect();
        let mut selected = vec![false; all.len()];
        for name in only {
            selected[names::find("launch", name, &all).map_err(|e| format!("{}: {e}", self.shown))?] = true;
        }
        for i in (0..all.len()).rev().filter(|&i| selected[i]).collect::<Vec<_>>() {
            let mut needs = self.needs(&spec.launches[i]).0;
            for k in (0..i).rev() {
                let (theirs, changes) = self.needs(&spec.launches[k]);
                if !needs.is_disjoint(&changes) {
                    selected[k] = true;
                    needs.extend(theirs);
                }
            }
        }
        Ok(selected)
    }

    /// [`touched`], variables of the kernel among it.
    fn needs<'s>(&self, l: &'s LaunchSpec) -> (BTreeSet<std::borrow::Cow<'s, str>>, BTreeSet<std::borrow::Cow<'s, str>>) {
        let (needs, changes) = touched(l);
        let own = |s: BTreeSet<&'s str>| s.into_iter().map(std::borrow::Cow::Borrowed).collect::<BTreeSet<_>>();
        let (mut needs, mut changes) = (own(needs), own(changes));
        if let Ok(e) = names::kernel(self.module, Some(&l.kernel)) {
            // Tables of the compiler's library are never written.
            for (v, changed) in self.module.named_variables(e).into_iter().filter(|(v, _)| !v.name.starts_with("__cudart_")) {
                needs.insert(format!("variable {}", v.name).into());
                if changed {
                    changes.insert(format!("variable {}", v.name).into());
                }
            }
        }
        (needs, changes)
    }

    fn alloc(&mut self, name: &str, len: u64) -> Result<u64, String> {
        self.left = self.left.checked_sub(len).ok_or_else(|| {
            let free = load::free().map(|f| format!("; {} are free on this machine", bytes(f))).unwrap_or_default();
            format!(
                "{} are more than the {} that are left of what memory may have (--memory MIB){free}",
                bytes(len),
                bytes(self.left)
            )
        })?;
        Ok(self.machine.alloc(name, len))
    }

    /// Makes the buffers, and gives variables their first contents. All that is wrong is told.
    fn memory(&mut self, spec: &Spec) -> Result<(), Vec<String>> {
        let mut problems = Vec::new();
        for b in &spec.buffers {
            if let Err(e) = self.buffer(b) {
                problems.push(self.at(b.line, format!("buffers.{}: {e}", b.name)));
            }
        }
        for v in &spec.variables {
            let done = self.variable(v).and_then(|place| {
                self.buffers.insert(v.name.clone(), place);
                match self.contents_of_variable(&v.contents, place)? {
                    Some(data) => self.machine.write(place.addr, &data).map_err(|e| e.to_string()),
                    None => Ok(()),
                }
            });
            if let Err(e) = done {
                problems.push(self.at(v.line, format!("variables.{}: {e}", v.name)));
            }
        }
        // Tables of addresses, when all memory has one.
        for b in &spec.buffers {
            if let Fill::Pointers(list) = &b.contents.fill
                && let Some(&place) = self.buffers.get(&b.name)
            {
                let done = self.addresses(list).and_then(|data| self.machine.write(place.addr, &data).map_err(|e| e.to_string()));
                if let Err(e) = done {
                    problems.push(self.at(b.line, format!("buffers.{}: {e}", b.name)));
                }
            }
        }
        if problems.is_empty() { Ok(()) } else { Err(problems) }
    }

    fn buffer(&mut self, b: &Named) -> Result<(), String> {
        let c = &b.contents;
        let (ty, len, data) = match &c.fill {
            Fill::Pointers(list) => (Type::U64, 8 * list.len() as u64, None),
            _ => {
                let ty = c.ty.unwrap_or(Type::U8);
                let (len, data) = c.bytes(ty, None, &self.base, self.left)?;
                (ty, len, data)
            }
        };
        if len == 0 {
            return Err("has no values".into());
        }
        let addr = self.alloc(&b.name, len)?;
        if let Some(data) = data {
            self.machine.write(addr, &data).map_err(|e| e.to_string())?;
        }
        self.buffers.insert(b.name.clone(), Place { addr, len, ty: Some(ty), variable: false });
        Ok(())
    }

    fn addresses(&self, list: &[String]) -> Result<Vec<u8>, String> {
        let address = |name: &String| match name.as_str() {
            "null" => Ok(0u64.to_le_bytes()),
            _ => self.place(name).map(|p| p.addr.to_le_bytes()),
        };
        Ok(list.iter().map(address).collect::<Result<Vec<_>, _>>()?.concat())
    }

    fn place(&self, name: &str) -> Result<Place, String> {
        let all: Vec<&String> = self.buffers.keys().collect();
        self.buffers.get(name).copied().ok_or_else(|| format!("there is no buffer `{name}`{}", meant(name, &all)))
    }

    /// The variable of the module that the specification names.
    fn variable(&mut self, v: &Named) -> Result<Place, String> {
        let (addr, len, _) = variable(&mut self.machine, self.module, &v.name)?;
        if let Some(ty) = v.contents.ty
            && !len.is_multiple_of(ty.size() as u64)
        {
            return Err(format!("the variable has {len} bytes, no whole number of {} values", ty.name()));
        }
        Ok(Place { addr, len, ty: v.contents.ty, variable: true })
    }

    fn contents_of_variable(&self, c: &Contents, place: Place) -> Result<Option<Vec<u8>>, String> {
        let data = match (&c.fill, c.ty.or(place.ty)) {
            (Fill::Nothing, _) => return Ok(None),
            (Fill::Pointers(list), _) => self.addresses(list)?,
            (Fill::Bytes(b), _) => b.clone(),
            (_, None) => return Err("contents need a type: type = \"f32\"".into()),
            (_, Some(ty)) => {
                c.bytes(ty, Some(place.len / ty.size() as u64), &self.base, place.len.max(self.left))?.1.unwrap_or_default()
            }
        };
        if data.len() as u64 != place.len {
            return Err(format!("{} bytes for a variable of {}", data.len(), place.len));
        }
        Ok(Some(data))
    }

    /// Runs the launches one after the other.
    fn launches(&mut self, spec: &Spec, selected: &[bool]) -> Vec<LaunchReport> {
        let mut out = Vec::new();
        // Memory whose contents are not what they should be, with the launch that is to blame.
        let mut spoilt: BTreeMap<String, String> = BTreeMap::new();
        // What is wrong with any launch is found before the first one runs.
        let ready: Vec<_> =
            spec.launches.iter().zip(selected).map(|(l, &s)| if s { Some(self.ready(l)) } else { None }).collect();
        for (l, ready) in spec.launches.iter().zip(ready) {
            let Some(ready) = ready else { continue };
            let kernel = names::kernel(self.module, Some(&l.kernel)).map_or(l.kernel.clone(), |e| demangled(&e.name));
            let schedules: Vec<String> = l.settings.schedules.iter().map(|s| s.0.clone()).collect();
            let (findings, why, suppressed) = (Vec::new(), Vec::new(), Vec::new());
            let mut r = LaunchReport {
                name: l.name.clone(),
                kernel,
                line: l.line,
                verdict: Verdict::Ok,
                findings,
                suppressed,
                why,
                schedules,
                instructions: 0,
                blocks: 0,
                seconds: 0.0,
            };
            let (needs, changes) = self.needs(l);
            let blame = needs.iter().find_map(|n| Some((n, spoilt.get(n.as_ref())?.clone())));
            let begun = Instant::now();
            match (ready, &blame) {
                (Err(why), _) => (r.verdict, r.why) = (Verdict::Wrong, why),
                (Ok(_), Some((memory, by))) => {
                    r.verdict = Verdict::NotRun;
                    r.why.push(format!("`{memory}` is what `{by}` left, which did not end well"));
                }
                (Ok(ready), None) => self.run(l, &ready, &mut r),
            }
            r.seconds = begun.elapsed().as_secs_f64();
            // A value that is wrong lies in memory that is as the kernel left it; after a fault it is not.
            let whole = r.findings.iter().all(|f| matches!(f.kind, "value" | "schedule"));
            if !(r.verdict == Verdict::Ok || r.verdict == Verdict::Finding && whole) {
                let by = blame.map_or(l.name.clone(), |b| b.1);
                spoilt.extend(changes.into_iter().map(|c| (c.into_owned(), by.clone())));
            }
            out.push(r);
        }
        out
    }

    /// Resolves what a launch names. All that is wrong is told.
    fn ready(&mut self, l: &LaunchSpec) -> Result<Ready<'a>, Vec<String>> {
        let module = self.module;
        let entry =
            names::kernel(module, Some(&l.kernel)).map_err(|e| vec![self.at(l.line, format!("`{}`: kernel: {e}", l.name))])?;
        let mut problems = Vec::new();
        let shown = self.shown.clone();
        let mut wrong =
            |line: u32, what: &str, why: String| problems.push(format!("{shown}:{line}: `{}`: {what}: {why}", l.name));
        if let Err(e) = module.shared(entry) {
            wrong(l.line, "the kernel cannot be run", e.to_string());
        }
        let slots = slot::slots(module, entry);
        if let Err(e) = slot::count(l.args.len(), &slots) {
            wrong(l.line, "args", e);
        }
        let mut fresh = Vec::new();
        let mut results: BTreeMap<String, Place> = BTreeMap::new();
        let mut args = Vec::new();
        for (i, ((line, a), slot)) in l.args.iter().zip(&slots).enumerate() {
            match self.arg(a, Some(slot), &mut fresh) {
                Ok(arg) => args.push(arg),
                Err(e) => wrong(*line, &format!("args[{i}]"), e),
            }
        }
        let mut also = Vec::new();
        for (i, (line, a)) in l.also.iter().enumerate() {
            match self.arg(a, None, &mut fresh) {
                Ok(arg) => also.push(arg),
                Err(e) => wrong(*line, &format!("also[{i}]"), e),
            }
        }
        for name in touched(l).1 {
            if let Ok(p) = self.place(name) {
                results.insert(name.to_string(), p);
            }
        }
        for (v, _) in module.named_variables(entry).into_iter().filter(|v| v.1) {
            if let Some((addr, len)) = self.machine.symbol(module, &v.name) {
                let ty = self.buffers.values().find(|p| p.addr == addr).and_then(|p| p.ty);
                results.insert(format!("variable {}", v.name), Place { addr, len: len as u64, ty, variable: true });
            }
        }
        let mut set = Vec::new();
        for v in &l.set {
            let data = self.variable(v).and_then(|place| {
                let place = Place { ty: place.ty.or(self.buffers.get(&v.name).and_then(|p| p.ty)), ..place };
                match self.contents_of_variable(&v.contents, place)? {
                    Some(data) => Ok((place.addr, data)),
                    None => Err("to what? value = …, values = […], file = …, pointers = […]".into()),
                }
            });
            match data {
                Ok(pair) => set.push(pair),
                Err(e) => wrong(v.line, &format!("set.{}", v.name), e),
            }
        }
        let mut wanted = Vec::new();
        for e in &l.expect {
            match self.wanted(e) {
                Ok(w) => wanted.push(w),
                Err(why) => wrong(e.line, &format!("expect.{}", e.name), why),
            }
        }
        for (name, s) in &l.settings.schedules {
            orderable(*s, l.grid).unwrap_or_else(|e| wrong(l.line, &format!("schedules: {name}"), e));
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        let launch = Launch { grid: l.grid, block: l.block, shared: l.shared, args, also };
        Ok(Ready { entry, launch, fresh, set, wanted, results: results.into_iter().collect() })
    }

    fn arg(&self, a: &ArgSpec, slot: Option<&Slot>, fresh: &mut Vec<(u64, u64)>) -> Result<Arg, String> {
        match a {
            ArgSpec::Number(v) => {
                let text = match v {
                    Value::Int(i) => i.to_string(),
                    Value::Float(t) => t.clone(),
                    _ => return Err("expected a number".into()),
                };
                match slot {
                    Some(s) => s.number(&text).map(Arg::Bytes),
                    None => Err(format!("{text}: of which type? {{ i32 = {text} }}")),
                }
            }
            ArgSpec::Typed(ty, v) => {
                slot.map_or(Ok(()), |s| s.takes(*ty))?;
                let mut out = Vec::new();
                put(*ty, v, &mut out)?;
                Ok(Arg::Bytes(out))
            }
            ArgSpec::Null => slot.map_or(Ok(()), Slot::takes_memory).map(|()| Arg::Null),
            ArgSpec::Bytes(b) => match slot {
                Some(s) if s.size as usize != b.len() => Err(format!("{} bytes for `{}`, which has {}", b.len(), s.name, s.size)),
                _ => Ok(Arg::Bytes(b.clone())),
            },
            ArgSpec::Memory { rights, buffer, offset, count } => {
                slot.map_or(Ok(()), Slot::takes_memory)?;
                let p = self.place(buffer)?;
                let size = p.ty.map_or(1, Type::size) as u64;
                let from = offset.checked_mul(size).filter(|&o| o < p.len);
                let from =
                    from.ok_or_else(|| format!("offset {offset} is beyond `{buffer}`, which has {} values", p.len / size))?;
                let len = match count {
                    None => p.len - from,
                    Some(n) => {
                        let len = n.checked_mul(size).filter(|&n| n <= p.len - from);
                        len.ok_or_else(|| format!("{n} values from {offset} on exceed `{buffer}`, which has {}", p.len / size))?
                    }
                };
                if *rights == Rights::Write {
                    fresh.push((p.addr + from, len));
                }
                Ok(rights.arg(p.addr + from, len))
            }
            ArgSpec::Map(m) => {
                if let Some(s) = slot.filter(|s| s.size as usize != BYTES) {
                    return Err(format!("a tensor map has {BYTES} bytes, `{}` has {}", s.name, s.size));
                }
                let p = self.place(&m.buffer)?;
                Ok(Arg::Map { map: m.map(p.addr, p.len, p.ty)?, write: m.store })
            }
            ArgSpec::Struct(fields) => {
                let (mut list, mut at, mut widest) = (Vec::new(), 0u32, 1);
                for (k, (given, f)) in fields.iter().enumerate() {
                    let arg = self.arg(f, None, fresh).map_err(|e| format!("struct[{k}]: {e}"))?;
                    let len = arg.to_bytes()?.len() as u32;
                    let align = if matches!(f, ArgSpec::Bytes(_)) { 1 } else { len.max(1) };
                    let here = given.or_else(|| at.checked_next_multiple_of(align)).ok_or("the offset is too large")?;
                    let end = here.checked_add(len).filter(|&e| e <= 1 << 16);
                    at = end.ok_or_else(|| format!("struct[{k}]: offset {here} is beyond the largest struct, 64 KiB"))?;
                    widest = widest.max(align);
                    list.push((here, arg));
                }
                let size = slot.map_or(at.next_multiple_of(widest), |s| s.size);
                let arg = Arg::Struct { bytes: vec![0; size as usize], pointers: list };
                arg.to_bytes()?;
                Ok(arg)
            }
        }
    }

    /// What is expected of a buffer or a variable, by its own type or the one that is given.
    fn wanted(&mut self, e: &Expect) -> Result<Wanted, String> {
        let place = match self.place(&e.name) {
            Ok(p) => p,
            Err(why) => match variable(&mut self.machine, self.module, &e.name) {
                Ok((addr, len, _)) => Place { addr, len, ty: None, variable: true },
                Err(_) => return Err(why.replace("no buffer", "no buffer and no variable")),
            },
        };
        let ty = e.contents.ty.or(place.ty).ok_or("a variable needs a type: type = \"f32\"")?;
        if !place.len.is_multiple_of(ty.size() as u64) {
            return Err(format!("{} bytes are no whole number of {} values", place.len, ty.name()));
        }
        let count = place.len / ty.size() as u64;
        let want = match &e.contents.fill {
            // A reference may be in another float type than the result.
            Fill::File(name) => {
                let found = load_file(&self.base, name, ty, self.left.max(2 * place.len).max(1 << 20))?;
                if found.ty != ty && !(found.ty.float() && ty.float()) {
                    return Err(format!("{name}: holds {}, and the result is {}", found.ty.name(), ty.name()));
                }
                if let (Some(want), Some(have)) = (&e.contents.shape, &found.shape)
                    && want != have
                {
                    return Err(format!("{name}: has the shape {have:?}, and {want:?} is wanted"));
                }
                (found.ty, found.bytes)
            }
            _ => (ty, e.contents.bytes(ty, Some(count), &self.base, place.len.max(1 << 20))?.1.unwrap_or_default()),
        };
        let have = (want.1.len() / want.0.size()) as u64;
        if have != count {
            return Err(format!("{have} values are expected of `{}`, which has {count}", e.name));
        }
        Ok(Wanted { name: e.name.clone(), place, ty, want, tolerance: e.tolerance, line: e.line })
    }

    fn config(&self, l: &LaunchSpec) -> Config {
        let s = &l.settings;
        let plain = Config::default();
        let budget = s.budget.unwrap_or(BUDGET).min(self.most.unwrap_or(u64::MAX));
        let copies = if s.eager { Copies::Eager } else { Copies::Late };
        let approx = s.perturb.map_or(Approx::Central, Approx::Within);
        Config { checks: s.checks, budget, copies, approx, tensor: s.tensor, ..plain }
    }

    /// Runs a launch under each schedule, from the same memory, and judges what is left. The first schedule comes last, so that
    /// its results are what later launches find.
    fn run(&mut self, l: &LaunchSpec, ready: &Ready, r: &mut LaunchReport) {
        for (addr, data) in &ready.set {
            self.machine.write(*addr, data).expect("the variable is there");
        }
        for &(addr, len) in &ready.fresh {
            self.machine.forget(addr, len).expect("the span lies in a buffer");
        }
        let schedules = &l.settings.schedules;
        let before = (schedules.len() > 1).then(|| self.machine.snapshot(self.module));
        let mut left: Vec<Option<Vec<Left>>> = (0..schedules.len()).map(|_| None).collect();
        let known = self.known(ready.entry);
        let suppressions: Vec<Suppression> = known.iter().map(|k| k.1.clone()).collect();
        for k in (1..schedules.len()).chain([0]) {
            if let Some(before) = before.as_ref().filter(|_| k != 1) {
                self.machine.restore(before);
            }
            let schedule = schedules[k].1;
            *self.machine.config_mut() = Config { schedule, suppressions: suppressions.clone(), ..self.config(l) };
            let (machine, module, most) = (&mut self.machine, self.module, l.settings.findings as usize);
            // A failure of the emulator itself is no verdict about the kernel.
            let done = catch_unwind(AssertUnwindSafe(|| machine.survey(module, &ready.entry.name, &ready.launch, most)));
            let done = done.map(|mut s| {
                for (i, &times) in s.report.suppressed.iter().enumerate().filter(|t| *t.1 > 0) {
                    self.applied.insert(known[i].0);
                    let reason = &known[i].1.reason;
                    match r.suppressed.iter_mut().find(|s| s.0 == *reason) {
                        Some(s) => s.1 += times,
                        None => r.suppressed.push((reason.clone(), times)),
                    }
                }
                let ended = s.ended_by();
                if s.findings.is_empty() { Ok(s.report) } else { Err((std::mem::take(&mut s.findings), ended)) }
            });
            match done {
                Err(_) => {
                    r.verdict = Verdict::Wrong;
                    r.why.push(format!(
                        "{}: the emulator itself failed (its message is on stderr): please report the kernel",
                        schedules[k].0
                    ));
                    return;
                }
                Ok(Err((list, _))) if wrong_call(&list[0].fault.kind) => {
                    r.verdict = Verdict::Wrong;
                    r.why.push(self.at(l.line, format!("`{}`: {}", l.name, list[0].fault)));
                    return;
                }
                Ok(Err((list, ended))) => {
                    for (i, f) in list.iter().enumerate() {
                        let (kind, site) = (f.fault.kind.name(), f.fault.site.clone());
                        let (mut text, schedules) = (names::readable(&f.fault.to_string()), vec![schedules[k].0.clone()]);
                        if let Some(kind) = ended.filter(|_| i + 1 == list.len()) {
                            text += &format!("\n  the launch ended there: nothing goes on behind a fault of the kind `{kind}`");
                        }
                        let (about, key, times) = (String::new(), place(&f.fault), f.times);
                        self.found(r, Finding { kind, text, about, key, times, schedules, site, line: l.line });
                    }
                }
                Ok(Ok(report)) => {
                    if k == 0 {
                        (r.instructions, r.blocks) = (report.instructions, report.blocks);
                    }
                    left[k] = Some(ready.results.iter().map(|(_, p)| self.left(*p)).collect());
                    // Wrong values are told of every schedule that has other bits than the first.
                    for w in &ready.wanted {
                        let got = self.left(Place { ty: Some(w.ty), ..w.place });
                        let got = Numbers { ty: w.ty, bytes: &got.bytes, known: &got.known };
                        if let Some(text) = difference(got, Numbers { ty: w.want.0, bytes: &w.want.1, known: &[] }, w.tolerance) {
                            let what = if w.place.variable { "variable" } else { "buffer" };
                            let text = format!("value: {what} `{}`: {text}", w.name);
                            self.found(
                                r,
                                Finding {
                                    kind: "value",
                                    text,
                                    about: w.name.clone(),
                                    key: w.name.clone(),
                                    times: 1,
                                    schedules: vec![schedules[k].0.clone()],
                                    site: None,
                                    line: w.line,
                                },
                            );
                        }
                    }
                }
            }
        }
        let Some(Some(first)) = left.first() else { return };
        for (k, other) in left.iter().enumerate().skip(1) {
            let Some(other) = other else { continue };
            for (i, (name, place)) in ready.results.iter().enumerate() {
                let ty = place.ty.unwrap_or(Type::U8);
                let [a, b] = [&first[i], &other[i]].map(|x| Numbers { ty, bytes: &x.bytes, known: &x.known });
                let text = match l.may_differ {
                    Some(t) if t.max_bad == u64::MAX => None,
                    Some(t) => difference(b, a, t),
                    None => unequal(a, b),
                };
                if let Some(text) = text {
                    let names = [schedules[0].0.clone(), schedules[k].0.clone()];
                    let remedy = "if the order of sums may vary, say may_differ = { rtol = … }";
                    let text =
                        format!("result depends on the schedule: `{name}`, {} and {}: {text}; {remedy}", names[0], names[1]);
                    self.found(
                        r,
                        Finding {
                            kind: "schedule",
                            text,
                            about: name.clone(),
                            key: name.clone(),
                            times: 1,
                            schedules: names.to_vec(),
                            site: None,
                            line: l.line,
                        },
                    );
                }
            }
        }
    }

    fn left(&self, p: Place) -> Left {
        let bytes = self.machine.bytes(p.addr, p.len).unwrap_or_default().to_vec();
        Left { bytes, known: known(&self.machine, p.addr, p.len, p.ty.unwrap_or(Type::U8)) }
    }

    /// What is known and meant of a kernel, by number. The kernel may be named as it is mangled or not.
    fn known(&self, entry: &Entry) -> Vec<(usize, Suppression)> {
        let names = [entry.name.clone(), demangled(&entry.name)];
        let of = |s: &Suppression| s.kernel.as_ref().is_none_or(|k| names.iter().any(|n| n.contains(k.as_str())));
        let all = self.suppress.iter().enumerate().filter(|(_, k)| of(&k.1.what));
        all.map(|(i, k)| (i, Suppression { kernel: None, ..k.1.what.clone() })).collect()
    }

    /// Keeps a finding; the same one of another schedule is one finding.
    fn found(&self, r: &mut LaunchReport, f: Finding) {
        r.verdict = Verdict::Finding;
        let same = |g: &&mut Finding| (g.kind, &g.key) == (f.kind, &f.key);
        match r.findings.iter_mut().find(same) {
            Some(g) => {
                g.schedules.extend(f.schedules);
                // In the order of the specification, each once.
                let all = g.schedules.clone();
                g.schedules = r.schedules.iter().filter(|s| all.contains(s)).cloned().collect();
            }
            None => r.findings.push(f),
        }
    }
}
