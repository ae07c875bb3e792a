//! The emulator's files: no two need each other, directly or through others.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Modules by their path below `src`, with their text. `a/b.rs` and `a/b/mod.rs` are both module `a::b`, `lib.rs` is the root.
fn modules(dir: &Path, prefix: &str, found: &mut BTreeMap<String, String>) {
    for entry in std::fs::read_dir(dir).unwrap().map(Result::unwrap) {
        let (path, name) = (entry.path(), entry.file_name().into_string().unwrap());
        let join = |name: &str| if prefix.is_empty() { name.to_string() } else { format!("{prefix}::{name}") };
        if path.is_dir() {
            modules(&path, &join(&name), found);
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        if let Some(name) = name.strip_suffix(".rs").filter(|n| *n != "tests") {
            found.insert(if name == "mod" || name == "lib" { prefix.to_string() } else { join(name) }, text);
        }
    }
}

/// The code of a module: no comments, and none of its tests.
fn code(text: &str) -> String {
    let text = text.split("#[cfg(test)]").next().unwrap();
    text.lines().map(|l| l.split("//").next().unwrap()).collect::<Vec<_>>().join("\n")
}

/// `a::{b, c::{d}}` as `a::b`, `a::c::d`.
fn expand(tree: &str) -> Vec<String> {
    let Some((head, rest)) = tree.split_once('{') else { return vec![tree.trim().to_string()] };
    let rest = &rest[..rest.rfind('}').unwrap()];
    let (mut depth, mut from, mut list) = (0, 0, Vec::new());
    for (i, c) in rest.char_indices().chain([(rest.len(), ',')]) {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                list.extend(expand(&rest[from..i]).into_iter().map(|t| format!("{}{t}", head.trim())));
                from = i + 1;
            }
            _ => {}
        }
    }
    list
}

/// The paths that a module's code names: in `use` items, and those that begin with `super::` or `crate::` anywhere.
fn paths(code: &str) -> Vec<String> {
    let mut list = Vec::new();
    for start in ["\nuse ", "\npub use ", "\npub(crate) use ", "\n    use "] {
        list.extend(code.split(start).skip(1).flat_map(|item| expand(item.split(';').next().unwrap())));
    }
    for start in ["super::", "crate::"] {
        for (at, _) in code.match_indices(start) {
            let end = code[at..].find(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':')).unwrap_or(code.len() - at);
            if !code[at + end..].starts_with('{') {
                list.push(code[at..at + end].to_string());
            }
        }
    }
    list
}

/// For each module, the modules of the emulator that its code names.
fn imports(modules: &BTreeMap<String, String>) -> BTreeMap<String, BTreeSet<String>> {
    let resolve = |module: &str, path: &str| -> Option<String> {
        let mut at: Vec<&str> = if module.is_empty() { vec![] } else { module.split("::").collect() };
        let mut parts = path.split("::").map(str::trim).peekable();
        match *parts.peek()? {
            "crate" => {
                parts.next();
                at.clear();
            }
            "super" => {
                while parts.next_if_eq(&"super").is_some() {
                    assert!(at.pop().is_some(), "{module} names {path}, which is above the root");
                }
            }
            _ => {}
        }
        // The deepest file on the way; what is left of the path is an item of it.
        let mut here = at.join("::");
        for part in parts {
            let next = if here.is_empty() { part.to_string() } else { format!("{here}::{part}") };
            if !modules.contains_key(&next) {
                break;
            }
            here = next;
        }
        Some(here).filter(|h| h != module)
    };
    let of = |(module, text): (&String, &String)| {
        (module.clone(), paths(&code(text)).iter().filter_map(|p| resolve(module, p)).collect())
    };
    modules.iter().map(of).collect()
}

#[test]
fn files_without_circles() {
    let mut all = BTreeMap::new();
    modules(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), "", &mut all);
    let mut left = imports(&all);
    assert!(left.len() > 40 && left["exec"].contains("state") && left["decode::wmma"].contains("op"), "{left:?}");
    // A module that needs none of those left, or that none of them needs, is part of no circle.
    loop {
        let needed: BTreeSet<String> = left.values().flatten().cloned().collect();
        let before = left.len();
        let all: BTreeSet<String> = left.keys().cloned().collect();
        left.retain(|m, needs| needed.contains(m) && needs.iter().any(|n| all.contains(n)));
        if left.len() == before {
            break;
        }
    }
    assert!(left.is_empty(), "files that need each other: {left:#?}");
}
