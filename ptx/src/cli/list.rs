//! `ptx list`, `ptx census`, `ptx isa`: what a file has, and what can be run.

use std::fmt::Write;
use std::path::Path;

use super::load;
use super::names::demangled;
use super::slot::slots;
use crate::isa;

/// The kernels of a file: names, parameters, limits, and whether each can be run. The code is 2 if one cannot.
pub fn list(file: &Path) -> Result<(String, i32), String> {
    let module = load::module(file)?;
    let (mut out, mut code) = (String::new(), 0);
    for (e, result) in module.check() {
        let name = demangled(&e.name);
        let mut line = e.name.clone();
        if name != e.name {
            write!(line, "\n    {name}").expect("a String grows");
        }
        for (i, p) in slots(&module, e).iter().enumerate() {
            write!(line, "\n    argument {i}: {}: {}", p.name, p.words()).expect("a String grows");
        }
        if let Some([x, y, z]) = e.max_threads {
            let (word, kind) = if e.required { ("exactly", ".reqntid") } else { ("at most", ".maxntid") };
            let shape = if e.required { format!("{x} × {y} × {z}") } else { (x as u64 * y as u64 * z as u64).to_string() };
            write!(line, "\n    block: {word} {shape} threads ({kind})").expect("a String grows");
        }
        if let (Ok(fixed), Ok(dynamic)) = (module.shared(e), module.dynamic_shared(e))
            && (fixed > 0 || dynamic)
        {
            let more = if dynamic { ", and dynamic: the launch says how much" } else { "" };
            write!(line, "\n    shared memory: {fixed} bytes static{more}").expect("a String grows");
        }
        match result {
            Ok(()) => line += "\n    can be run",
            Err(why) => {
                write!(line, "\n    cannot be run: {why}").expect("a String grows");
                code = 2;
            }
        }
        writeln!(out, "{line}").expect("a String grows");
    }
    for v in module.variables() {
        let name = demangled(&v.name);
        let long = if name != v.name { format!(" ({name})") } else { String::new() };
        let space = if v.constant { "constant" } else { "device" };
        writeln!(out, "variable {}{long}: {} bytes, {space} memory", v.name, v.size).expect("a String grows");
    }
    for e in module.unread() {
        writeln!(out, "not understood: {e}").expect("a String grows");
    }
    if module.entries().is_empty() {
        return Err(format!("{}: has no kernels", file.display()));
    }
    Ok((out, code))
}

/// How often each instruction occurs. The code is 2 if one is not supported.
pub fn census(file: &Path) -> Result<(String, i32), String> {
    let list = isa::census(&load::module(file)?);
    let row = |f: &isa::Form| format!("{:8}  {}{}\n", f.count, f.opcode, if f.supported { "" } else { "    not supported" });
    Ok((list.iter().map(row).collect(), if list.iter().any(|f| !f.supported) { 2 } else { 0 }))
}

/// Every form that the emulator knows, and those that it refuses.
pub fn forms() -> String {
    let rows: String = isa::table().iter().map(|r| format!("{}\n", r.form)).collect();
    let left: String = isa::left().iter().map(|l| format!("{:28} {}\n", l.form, l.reason)).collect();
    format!("{{a|b}}: one of; [a|b]: one of, or nothing\n\n{rows}\nnot supported, with these modifiers among others:\n\n{left}")
}

/// Text without line breaks and control characters, for a comment.
pub fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}
