//! `ptx init`: a first specification for a PTX file, to be filled in.

use std::fmt::Write;
use std::path::Path;

use super::names::{base, demangled};
use super::slot::{Slot, slots};
use super::types::Type;
use super::{list, load};
use crate::module::{Entry, Module};
use crate::signature::{Kind, Use};

/// Values of each buffer, and what whole numbers begin with: sizes of two axes that fill a buffer.
const COUNT: u32 = 1024;
const WHOLE: u32 = 32;

const HEAD: &str = "\
# Launches of {file}, for `lae-ptx check` (docs/kernel-authors.md). A first version: sizes, contents and what is expected are
# guesses that run, not what the kernels are for.
ptx = {name}

[defaults]
# Every launch runs in each of these orders, from the same memory; results that differ are a finding, unless may_differ = true.
schedules = [\"forward\", \"reverse\", \"random:1\"]
budget = 100_000_000           # most warp instructions: a kernel that does not end is a finding
# without = [\"tf32\"]          # checks to leave out: init, race, tf32
# tensor = \"hopper\"           # arithmetic of tensor cores: ideal, ampere, hopper
";

const BUFFERS: &str = "
# Memory by name; launches that name the same buffer share it. Contents: zeros = true, value = 1.5, values = [1, 2],
# random = SEED (low = …, high = …), normal = SEED (mean = …, std = …), iota = 0, file = \"x.npy\"; without them there are none.
[buffers]
";

/// The specification as text.
pub fn init(file: &Path) -> Result<String, String> {
    let module = load::module(file)?;
    if module.entries().is_empty() {
        return Err(format!("{}: has no kernels, so there is nothing to launch", file.display()));
    }
    let name = file.file_name().map_or("kernels.ptx".into(), |n| n.to_string_lossy());
    let mut out = HEAD.replace("{file}", &name.escape_debug().to_string()).replace("{name}", &quoted(&name));
    let vars: Vec<_> =
        module.variables().into_iter().filter(|v| !v.name.starts_with("__cudart_") && !v.name.starts_with('$')).collect();
    if !vars.is_empty() {
        out += "\n# Variables have the values of their initialisers unless something is said here: a type, and value, file, …\n";
        out += "[variables]\n";
        for v in &vars {
            writeln!(out, "# {} = {{ type = \"f32\", zeros = true }}      # {} bytes", quoted(&v.name), v.size)
                .expect("a String grows");
        }
    }
    let (mut buffers, mut launches) = (String::new(), String::new());
    let mut used = std::collections::BTreeSet::new();
    for e in module.entries() {
        kernel(&module, e, &mut used, &mut buffers, &mut launches);
    }
    out += BUFFERS;
    Ok(out + &buffers + &launches)
}

fn quoted(text: &str) -> String {
    let mut o = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => o.extend(['\\', c]),
            c if c.is_control() => write!(o, "\\u{:04x}", c as u32).expect("a String grows"),
            c => o.push(c),
        }
    }
    o + "\""
}

fn kernel(module: &Module, e: &Entry, used: &mut std::collections::BTreeSet<String>, buffers: &mut String, out: &mut String) {
    let long = demangled(&e.name);
    let title = if long == e.name { String::new() } else { format!("# {}\n", list::one_line(&long)) };
    if let Err(why) = module.shared(e) {
        let why = list::one_line(&why.to_string());
        write!(out, "\n{title}# {} cannot be run: {why}\n", quoted(&e.name)).expect("a String grows");
        return;
    }
    // Names that TOML takes bare, each once.
    let mut short: String = base(&long).chars().map(|c| if c.is_ascii_alphanumeric() || c == '_' { c } else { '_' }).collect();
    if short.is_empty() || !used.insert(short.clone()) {
        short = (2..).map(|n| format!("{short}_{n}")).find(|s| used.insert(s.clone())).expect("some number is free");
    }
    let uses = module.uses(e);
    let (mut args, mut result) = (Vec::new(), None);
    for (i, s) in slots(module, e).iter().enumerate() {
        let (text, note) = argument(s, i, &short, &uses, buffers, &mut result);
        args.push(format!("    {text},{}# {i}: {}{note}\n", " ".repeat(34usize.saturating_sub(text.len()).max(1)), s.words()));
    }
    let block = e.max_threads.filter(|m| e.required || m.iter().product::<u32>() > 0).unwrap_or([128, 1, 1]);
    let (kind, mut block_text) = (if e.required { "   # .reqntid" } else { "" }, format!("{:?}", block));
    if block[1..] == [1, 1] {
        block_text = format!("[{}]", block[0]);
    }
    // Blocks that do not know their number do the same work in the same place.
    let grid = if module.mentions(e, "%ctaid") { 4 } else { 1 };
    write!(out, "\n{title}[[launch]]\nkernel = {}\ngrid = [{grid}]\nblock = {block_text}{kind}\n", quoted(&e.name))
        .expect("a String grows");
    if module.dynamic_shared(e).unwrap_or(false) {
        *out += "shared = 4096                 # bytes of dynamic shared memory\n";
    }
    if args.is_empty() {
        *out += "args = []\n";
    } else {
        write!(out, "args = [\n{}]\n", args.concat()).expect("a String grows");
    }
    if let Some(name) = result {
        writeln!(out, "# expect = {{ {name} = {{ file = \"want.npy\", rtol = 1e-6 }} }}").expect("a String grows");
    }
}

/// An argument that runs, and a remark; buffers that it needs are added.
fn argument(
    s: &Slot,
    i: usize,
    short: &str,
    uses: &std::collections::BTreeMap<(usize, u32), Use>,
    buffers: &mut String,
    result: &mut Option<String>,
) -> (String, &'static str) {
    let mut memory = |at: Option<u32>| {
        let u = uses.get(&(i, at.unwrap_or(0))).cloned().unwrap_or_default();
        let name = at.map_or(format!("{short}_{i}"), |a| format!("{short}_{i}_{a}"));
        // Atomics without a type are locks and counters.
        let ty = match u.ty.as_deref() {
            Some(".b32") if u.atomic => Type::U32,
            t => usual(t.unwrap_or(".f32")),
        };
        let how = match (u.read, u.written) {
            (true, false) => "read",
            (false, true) => "write",
            _ => "update",
        };
        let fill = match how {
            "write" => "".to_string(),
            _ if ty.float() && !u.atomic => format!(", random = {}", i + 1),
            _ => ", zeros = true".to_string(),
        };
        if how != "read" && result.is_none() {
            *result = Some(name.clone());
        }
        writeln!(buffers, "{name} = {{ type = \"{}\", count = {COUNT}{fill} }}", ty.name()).expect("a String grows");
        format!("{{ {how} = \"{name}\" }}")
    };
    match &s.kind {
        Kind::Pointer | Kind::UsedAsPointer => (memory(None), ""),
        Kind::Struct { pointers } if pointers.is_empty() => {
            (format!("{{ hex = \"{}\" }}", "00".repeat(s.size as usize)), "; zeros")
        }
        Kind::Struct { pointers } => {
            let fields: Vec<String> =
                pointers.iter().map(|&at| memory(Some(at)).replace("{ ", &format!("{{ at = {at}, "))).collect();
            (format!("{{ struct = [{}] }}", fields.join(", ")), "; zeros elsewhere")
        }
        _ => match s.usual() {
            Some(t) if t.float() => (format!("{{ {} = 1.0 }}", t.name()), ""),
            Some(t) => (format!("{{ {} = {WHOLE} }}", t.name()), ""),
            None => (format!("{{ hex = \"{}\" }}", "00".repeat(s.size as usize)), "; zeros"),
        },
    }
}

/// The type of numbers that an access of a PTX type moves, if it does not say.
fn usual(ptx: &str) -> Type {
    match ptx {
        ".f64" => Type::F64,
        ".s8" => Type::I8,
        ".b8" | ".u8" => Type::U8,
        ".s16" => Type::I16,
        ".u16" => Type::U16,
        ".b16" | ".f16" | ".f16x2" => Type::F16,
        ".bf16" | ".bf16x2" => Type::Bf16,
        ".s32" => Type::I32,
        ".u32" => Type::U32,
        ".s64" => Type::I64,
        ".u64" | ".b64" => Type::U64,
        _ => Type::F32,
    }
}
