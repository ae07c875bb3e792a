//! A loaded PTX file.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use super::decode;
use super::error::Error;
use super::fault::Site;
use super::parse;
use super::program::Program;
use super::signature::{Kind, Part, Use, kinds, uses};
use super::source::{self, Operand, Source};

/// A PTX file: its kernels and variables. Kernels are decoded when they are first launched, so that a statement that is not
/// supported or not understood fails only the kernels that contain it, or call a function that does.
pub struct Module {
    name: String,
    pub(crate) source: Source,
    entries: Vec<Entry>,
    programs: Vec<OnceLock<Result<Program, Error>>>,
    /// Tells modules apart on a machine.
    pub(crate) id: u64,
}

/// A kernel's signature.
#[derive(Clone, Debug)]
pub struct Entry {
    pub name: String,
    pub params: Vec<Param>,
    /// `.maxntid` or `.reqntid`: most threads of a block along each axis.
    pub max_threads: Option<[u32; 3]>,
    /// Whether blocks must have exactly that shape (`.reqntid`).
    pub required: bool,
    pub(crate) function: usize,
}

/// One parameter of a kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Param {
    pub name: String,
    /// Bytes.
    pub size: u32,
    pub align: u32,
}

/// A variable of the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Variable {
    pub name: String,
    /// Bytes.
    pub size: u32,
    /// `__constant__`: kernels cannot write it.
    pub constant: bool,
}

/// Whether an operand has a variable of the module in it.
#[cfg_attr(not(feature = "cli"), allow(dead_code))]
fn names(s: &Source, o: &Operand, var: u32) -> bool {
    match o {
        Operand::Name(n) => s.var(n) == Some(var),
        Operand::Global(i) => *i == var,
        Operand::Address(base, _) | Operand::Element(base, ..) => names(s, base, var),
        Operand::Pair(a, b) => names(s, a, var) || names(s, b, var),
        Operand::Vector(list) | Operand::List(list) | Operand::Bracket(list) => list.iter().any(|o| names(s, o, var)),
        _ => false,
    }
}

impl Module {
    /// Reads PTX text. The name is for messages.
    pub fn parse(name: &str, text: &str) -> Result<Module, Error> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let source = parse::parse(name, text)?;
        let entry = |(function, f): (usize, &source::Function)| Entry {
            name: f.name.clone(),
            params: f.params.iter().map(|p| Param { name: p.name.clone(), size: p.size, align: p.align }).collect(),
            max_threads: f.max_threads,
            required: f.required_threads,
            function,
        };
        let entries: Vec<Entry> = source.functions.iter().enumerate().filter(|(_, f)| f.entry && f.has_body).map(entry).collect();
        let programs = entries.iter().map(|_| OnceLock::new()).collect();
        Ok(Module { name: name.to_string(), source, entries, programs, id: NEXT.fetch_add(1, Ordering::Relaxed) })
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    pub fn entry(&self, name: &str) -> Option<&Entry> {
        self.entries.iter().find(|e| e.name == name)
    }

    /// Decodes every kernel: whether each can be run.
    pub fn check(&self) -> Vec<(&Entry, Result<(), Error>)> {
        self.entries.iter().map(|e| (e, self.program(e).map(|_| ()).map_err(Clone::clone))).collect()
    }

    /// Statements at module scope that were not understood. They cost the kernels that name what they declare, no others.
    pub fn unread(&self) -> Vec<Error> {
        let error = |r: &source::Refusal| Error {
            module: self.name.clone(),
            line: r.line,
            kernel: String::new(),
            why: format!("{}\n    {}", r.why, r.text),
        };
        self.source.unread.iter().map(error).collect()
    }

    /// Bytes of the module's `.global` and `.const` variables, which its first launch allocates.
    pub fn bytes(&self) -> u64 {
        let lasting = |v: &&source::Var| matches!(v.space, source::Space::Global | source::Space::Const);
        self.source.vars.iter().filter(lasting).map(|v| v.size as u64).sum()
    }

    /// Bytes of static shared memory of a kernel.
    pub fn shared(&self, entry: &Entry) -> Result<u32, Error> {
        self.program(entry).map(|p| p.shared).map_err(Clone::clone)
    }

    /// What each parameter of a kernel is: by its declaration, and by what the kernel does with it.
    pub fn kinds(&self, entry: &Entry) -> Vec<Kind> {
        kinds(&self.source, entry.function)
    }

    /// What a kernel does with the memory that its parameters point to, by parameter and offset in it.
    #[cfg_attr(not(feature = "cli"), allow(dead_code))]
    pub(crate) fn uses(&self, entry: &Entry) -> std::collections::BTreeMap<Part, Use> {
        uses(&self.source, entry.function)
    }

    /// Whether some instruction of a kernel has this text in it.
    #[cfg_attr(not(feature = "cli"), allow(dead_code))]
    pub(crate) fn mentions(&self, entry: &Entry, text: &str) -> bool {
        self.source.functions[entry.function].body.iter().any(|i| i.text.contains(text))
    }

    /// The `.global` and `.const` variables, which [`Machine::symbol`](super::Machine::symbol) finds.
    pub fn variables(&self) -> Vec<Variable> {
        let vars = self.source.vars.iter().filter(|v| matches!(v.space, source::Space::Global | source::Space::Const));
        let variable =
            |v: &source::Var| Variable { name: v.name.clone(), size: v.size, constant: v.space == source::Space::Const };
        vars.map(variable).collect()
    }

    /// Those of [`Module::variables`] that a kernel or a function that it calls names, and whether each may be changed: its
    /// address is taken, or an instruction other than a load has it. None if the kernel cannot be run.
    #[cfg_attr(not(feature = "cli"), allow(dead_code))]
    pub(crate) fn named_variables(&self, entry: &Entry) -> Vec<(Variable, bool)> {
        let Ok(program) = self.program(entry) else { return Vec::new() };
        let (vars, s) = (&self.source.vars, &self.source);
        let changed = |i: u32| {
            let pointed = vars.iter().any(|v| v.relocations.iter().any(|r| r.to == source::Target::Var(i)));
            let mut body = program.functions.iter().flat_map(|f| &s.functions[f.source as usize].body);
            pointed
                || body.any(|x| {
                    let load = x.opcode.starts_with("ld.");
                    x.operands
                        .iter()
                        .any(|o| names(s, o, i) && !(load && matches!(o, Operand::Address(..) | Operand::Element(..))))
                })
        };
        let lasting = |v: &source::Var| matches!(v.space, source::Space::Global | source::Space::Const);
        let used = program.globals.iter().map(|&i| (i, &vars[i as usize])).filter(|(_, v)| lasting(v));
        used.map(|(i, v)| {
            let constant = v.space == source::Space::Const;
            (Variable { name: v.name.clone(), size: v.size, constant }, !constant && changed(i))
        })
        .collect()
    }

    /// The source files that the text names (`.file`), as written there.
    pub fn source_files(&self) -> Vec<String> {
        let mut list: Vec<String> = self.source.files.values().cloned().collect();
        list.sort();
        list
    }

    /// Whether a kernel, or a function that it calls, uses shared memory whose size the launch gives.
    pub fn dynamic_shared(&self, entry: &Entry) -> Result<bool, Error> {
        self.program(entry).map(Program::dynamic_shared).map_err(Clone::clone)
    }

    pub(crate) fn program(&self, entry: &Entry) -> Result<&Program, &Error> {
        let i = self.entries.iter().position(|e| e.function == entry.function).expect("the entry is of this module");
        self.programs[i].get_or_init(|| decode::program(&self.source, &self.name, entry.function)).as_ref()
    }

    /// Where a micro-op stands in the text and in the source.
    pub(crate) fn site(&self, p: &Program, pc: usize) -> Option<Site> {
        let at = p.sites.get(pc)?;
        let f = &self.source.functions[p.functions[at.function as usize].source as usize];
        let instr = f.body.get(at.instr as usize)?;
        let s = &self.source;
        let file = |n: u32| {
            let path = s.files.get(&n).map_or("?", |f| f.as_str());
            path.rsplit(['/', '\\']).next().unwrap_or(path).to_string()
        };
        let mut lines = Vec::new();
        let mut loc = instr.loc.map(|l| &s.locs[l as usize]);
        while let Some(l) = loc {
            lines.push(format!("{}:{}:{}", file(l.file), l.line, l.col));
            loc = None;
            if let Some((_, file, line, col)) = l.inlined {
                // The place of inlining may itself be inlined: find a row that says so.
                let parent = s.locs.iter().find(|p| (p.file, p.line, p.col) == (file, line, col));
                match parent {
                    Some(p) if lines.len() < 16 && p != l => loc = Some(p),
                    _ => lines.push(format!("{}:{line}:{col}", self.file(file))),
                }
            }
        }
        Some(Site { text: instr.text.clone(), line: instr.line, source: lines })
    }

    fn file(&self, n: u32) -> &str {
        let path = self.source.files.get(&n).map_or("?", |f| f.as_str());
        path.rsplit(['/', '\\']).next().unwrap_or(path)
    }
}
