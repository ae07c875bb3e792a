//! Who imports whom: the sources are read, and no file or folder may lie on a circle of imports, nor import a higher floor.
//!
//! An import is a path that begins with `crate`, `super`, `self` or a child module, in a `use` or anywhere in code; comments, strings
//! and what stands under `#[cfg(test)]` are no imports. A path counts for the file that defines what it names: a path through a
//! re-export is followed to its end. A `mod.rs` that declares and re-exports its own files imports none of them; one that declares
//! files through a macro keeps a registry, and imports all of those.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt::Write;
use std::path::Path;

/// Folders of `src` (and files beside them) from the lowest floor to the highest. Each may import those before it and no other.
const FLOORS: [&str; 17] = [
    "text",
    "error",
    "device",
    "core",
    "host",
    "ops",
    "nn",
    "models",
    "profile",
    "data",
    "metrics",
    "report",
    "train",
    "detectors",
    "annotate",
    "reproduce",
    "cli",
];

/// Folders in which the files, too, must not import one another in a circle.
const ORDERLY: [&str; 8] = ["core", "ops", "data", "train", "report", "detectors", "annotate", "reproduce"];

#[test]
fn no_import_leads_upwards() {
    let imports = imports(&sources(), folder);
    let floor = |name: &str| FLOORS.iter().position(|f| *f == name);
    let mut wrong = String::new();
    let found: BTreeSet<String> = sources().keys().map(|file| folder(file)).filter(|f| f != "lib" && f != "main").collect();
    let listed: BTreeSet<String> = FLOORS.iter().map(|f| f.to_string()).collect();
    found.difference(&listed).for_each(|f| writeln!(wrong, "src/{f} has no floor: give it a place in FLOORS").unwrap());
    listed.difference(&found).for_each(|f| writeln!(wrong, "FLOORS lists {f}, and src has nothing of that name").unwrap());
    for ((from, to), places) in &imports {
        if floor(from) < floor(to) && floor(from).is_some() {
            writeln!(wrong, "{from} imports {to}, which lies above: {}", places.join(", ")).unwrap();
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
}

#[test]
fn no_circle_of_folders() {
    let found = circles(&imports(&sources(), folder));
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}

#[test]
fn no_circle_of_files_within_a_folder() {
    let all = imports(&sources(), str::to_string);
    let mut found = Vec::new();
    for of in ORDERLY {
        let inside = |file: &str| folder(file) == of;
        found.extend(circles(
            &all.iter().filter(|((a, b), _)| inside(a) && inside(b)).map(|(k, v)| (k.clone(), v.clone())).collect(),
        ));
    }
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}

/// A made-up crate: each rule of the reader by an example.
#[test]
fn the_reader_finds_a_circle_and_nothing_else() {
    let tree = |files: &[(&str, &str)]| -> Sources { files.iter().map(|(f, text)| (f.to_string(), text.to_string())).collect() };
    let clean = [
        ("lib.rs", "pub mod a; pub mod b; pub mod top;"),
        ("a/mod.rs", "mod base;\nmod leaf;\npub use base::{Base, help as aid};\npub use leaf::Leaf;"),
        ("a/base.rs", "pub struct Base;\npub fn help() {}\n// use super::leaf::Leaf;\nconst S: &str = \"crate::a::leaf\";"),
        ("a/leaf.rs", "use super::{\n    Base,\n    aid,\n};\npub struct Leaf<'a>(&'a str);\nconst Q: char = '\"';"),
        ("b.rs", "use crate::a::Leaf;\n#[cfg(test)]\nmod tests { use crate::top::{Top}; }\npub fn b() {}"),
        ("top.rs", "fn f() { crate::b::b(); let s = r#\"\"use crate::x\"#; }\npub struct Top;"),
    ];
    let files = imports(&tree(&clean), str::to_string);
    let found: Vec<String> = files.iter().map(|((a, b), places)| format!("{a} {b} {}", places[0])).collect();
    let expected = [
        "a/leaf.rs a/base.rs src/a/leaf.rs:2 Base",
        "b.rs a/leaf.rs src/b.rs:1 crate::a::Leaf",
        "top.rs b.rs src/top.rs:1 crate::b::b",
    ];
    assert_eq!(found.len(), expected.len(), "{found:#?}");
    for (f, e) in found.iter().zip(expected) {
        assert!(e.split(' ').take(3).eq(f.split(' ').take(3)), "{f}, not {e}");
    }
    assert!(circles(&files).is_empty());

    // base -> leaf -> base through the re-export: one circle, with both places.
    let mut circle = tree(&clean);
    circle.insert("a/base.rs".into(), "\npub struct Base(Option<Box<super::Leaf<'static>>>);\npub fn help() {}".into());
    let found = circles(&imports(&circle, str::to_string));
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].contains("src/a/base.rs:2") && found[0].contains("src/a/leaf.rs:2"), "{found:?}");
    assert!(circles(&imports(&circle, folder)).is_empty(), "both lie in one folder");

    // a -> b -> a: a circle of folders, though no two files form one.
    let mut folders = tree(&clean);
    folders.insert("a/mod.rs".into(), "mod base; mod leaf; mod high; pub use base::*; pub use leaf::Leaf;".into());
    folders.insert("a/high.rs".into(), "use crate::{error, b as c};".into());
    assert!(circles(&imports(&folders, str::to_string)).is_empty());
    let found = circles(&imports(&folders, folder));
    assert!(found.len() == 1 && found[0].contains("src/a/high.rs:1") && found[0].contains("src/b.rs:1"), "{found:?}");

    // A registry imports what its macro declares: it must not define what its files need.
    let registry = tree(&[
        ("ops/mod.rs", "macro_rules! ops { ($($n:ident)*) => { $(pub mod $n;)* } }\nops! { add }\npub const EDGES: u8 = 1;"),
        ("ops/add.rs", "use super::EDGES;"),
    ]);
    assert_eq!(circles(&imports(&registry, str::to_string)).len(), 1);
    // What the parent itself imports from another crate is not the parent's.
    let borrowed = tree(&[("x/mod.rs", "use std::sync::Arc; mod y; fn f() { y::g() }"), ("x/y.rs", "use super::Arc;")]);
    assert!(circles(&imports(&borrowed, str::to_string)).is_empty());
    // Inner modules: `super` is the file itself.
    let inner = tree(&[("x/mod.rs", "pub mod y;\npub fn f() {}"), ("x/y.rs", "mod z { use super::g; }\nfn g() {}")]);
    assert!(imports(&inner, str::to_string).is_empty());
}

/// Files below `src`, by their path there, with their text.
type Sources = BTreeMap<String, String>;
/// (importer, imported) and the places, each `src/FILE:LINE PATH`.
type Imports = BTreeMap<(String, String), Vec<String>>;

fn sources() -> Sources {
    fn visit(dir: &Path, below: &str, found: &mut Sources) {
        for entry in std::fs::read_dir(dir).expect("a folder of sources") {
            let path = entry.expect("an entry").path();
            let name = format!("{below}{}", path.file_name().expect("a name").to_string_lossy());
            if path.is_dir() {
                visit(&path, &format!("{name}/"), found);
            } else if name.ends_with(".rs") {
                found.insert(name, std::fs::read_to_string(&path).expect("a source"));
            }
        }
    }
    let mut found = Sources::new();
    visit(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), "", &mut found);
    found
}

/// `data` of `data/forge/mod.rs`, `error` of `error.rs`.
fn folder(file: &str) -> String {
    file.split('/').next().unwrap_or(file).trim_end_matches(".rs").to_string()
}

/// The imports of a tree, between the groups that `group` puts files in.
fn imports(sources: &Sources, group: impl Fn(&str) -> String) -> Imports {
    let tree = Tree::read(sources);
    let mut found = Imports::new();
    for (module, m) in tree.0.iter().filter(|(_, m)| m.file != "lib.rs") {
        let file = m.file.as_str();
        for path in &m.paths {
            let Some(to) = tree.defines(module, &path.segments, 0) else { continue };
            let own = path.reexport && file.ends_with("mod.rs") && to.starts_with(file.trim_end_matches("mod.rs"));
            if to != "lib.rs" && to != file && !own && group(file) != group(&to) {
                let place = format!("src/{file}:{} {}", path.line, path.segments.join("::"));
                found.entry((group(file), group(&to))).or_default().push(place);
            }
        }
    }
    found
}

/// A shortest circle through each group that lies on one, each circle once.
fn circles(imports: &Imports) -> Vec<String> {
    let mut next: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    imports.keys().for_each(|(from, to)| next.entry(from).or_default().push(to));
    let mut seen: BTreeSet<Vec<&str>> = BTreeSet::new();
    let mut found = Vec::new();
    for &start in next.keys() {
        let mut from: BTreeMap<&str, &str> = BTreeMap::new();
        let mut queue = VecDeque::from([start]);
        while let Some(at) = queue.pop_front() {
            for &to in next.get(at).into_iter().flatten() {
                if !from.contains_key(to) {
                    from.insert(to, at);
                    queue.push_back(to);
                }
            }
        }
        if !from.contains_key(start) {
            continue;
        }
        let mut circle = vec![start];
        let mut at = from[start];
        while at != start {
            circle.push(at);
            at = from[at];
        }
        circle.reverse();
        let mut members = circle.clone();
        members.sort();
        if seen.insert(members) {
            let mut text = format!("a circle of {}:", circle.len());
            for (i, &a) in circle.iter().enumerate() {
                let b = circle[(i + 1) % circle.len()];
                write!(text, "\n    {a} -> {b}: {}", imports[&(a.to_string(), b.to_string())][0]).unwrap();
            }
            found.push(text);
        }
    }
    found
}

/// A path in the code of a module, from the root of the crate: `["data", "forge", "Forger"]`.
struct Reference {
    segments: Vec<String>,
    line: usize,
    /// Written in a `pub use`.
    reexport: bool,
}

#[derive(Default)]
struct Module {
    file: String,
    paths: Vec<Reference>,
    /// What `use` binds here: name (`*` for a glob) and its path from the root, None for a path into another crate.
    names: Vec<(String, Option<Vec<String>>)>,
}

/// The modules that have a file, by their path from the root.
struct Tree(BTreeMap<Vec<String>, Module>);

impl Tree {
    fn read(sources: &Sources) -> Tree {
        let module = |file: &str| -> Vec<String> {
            let stem = file.trim_end_matches(".rs");
            let stem = if stem == "lib" || stem == "main" { "" } else { stem.strip_suffix("/mod").unwrap_or(stem) };
            stem.split('/').filter(|s| !s.is_empty()).map(str::to_string).collect()
        };
        let files: Vec<(Vec<String>, &String)> = sources.keys().filter(|f| *f != "main.rs").map(|f| (module(f), f)).collect();
        let mut tree = Tree(BTreeMap::new());
        for (at, file) in &files {
            let children: Vec<&str> = files
                .iter()
                .filter(|(m, _)| m.len() == at.len() + 1 && m.starts_with(at))
                .map(|(m, _)| m[at.len()].as_str())
                .collect();
            let mut module = Module { file: file.to_string(), ..Module::default() };
            read_module(&code(&sources[*file]), at, &children, &mut module);
            tree.0.insert(at.clone(), module);
        }
        tree
    }

    /// The file that defines what `path` names, seen from `importer`. None for what is no module of this crate.
    fn defines(&self, importer: &[String], path: &[String], depth: usize) -> Option<String> {
        let mut at: Vec<String> = Vec::new();
        for (i, segment) in path.iter().enumerate() {
            let mut child = at.clone();
            child.push(segment.clone());
            if self.0.contains_key(&child) {
                at = child;
                continue;
            }
            let names = &self.0.get(&at)?.names;
            // Items are not read: a name that nothing else explains is taken to come through a glob, if there is one.
            let named = names.iter().find(|(name, _)| name == segment).map(|(_, to)| (to.as_ref(), &path[i + 1..]));
            let glob = || names.iter().find(|(name, to)| name == "*" && to.is_some()).map(|(_, to)| (to.as_ref(), &path[i..]));
            let Some((to, rest)) = named.or_else(glob) else { break };
            let to: Vec<String> = to?.iter().filter(|s| *s != "*").chain(rest).cloned().collect();
            // What is bound in the importing module is its own import already, and a loop of re-exports ends nowhere.
            return (depth < 16 && at != importer).then(|| self.defines(&at, &to, depth + 1)).flatten();
        }
        Some(self.0.get(&at)?.file.clone())
    }
}

/// Finds the paths and the bound names in code without comments, strings and tests.
fn read_module(code: &str, at: &[String], children: &[&str], module: &mut Module) {
    let bytes = code.as_bytes();
    let ident = |c: u8| c.is_ascii_alphanumeric() || c == b'_';
    let line = |i: usize| code[..i].matches('\n').count() + 1;
    // Depth of inner modules at a place: their `super` begins lower.
    let mut inner: Vec<usize> = Vec::new();
    let (mut depth, mut i) = (0, 0);
    let mut declared: BTreeSet<&str> = BTreeSet::new();
    let mut opening_inner = false;
    while i < bytes.len() {
        match bytes[i] {
            b'{' => {
                depth += 1;
                if std::mem::take(&mut opening_inner) {
                    inner.push(depth);
                }
                i += 1;
            }
            b'}' => {
                if inner.last() == Some(&depth) {
                    inner.pop();
                }
                depth -= 1;
                i += 1;
            }
            c if ident(c) => {
                let start = i;
                while i < bytes.len() && ident(bytes[i]) {
                    i += 1;
                }
                let word = &code[start..i];
                let before = code[..start].trim_end();
                let rest = code[i..].trim_start();
                let level = inner.len();
                match word {
                    "use" if !rest.starts_with('<') => {
                        let end = i + code[i..].find(';').unwrap_or(code.len() - i);
                        let statement = before.rsplit([';', '{', '}']).next().unwrap_or("");
                        let public = statement.split_whitespace().any(|word| word.starts_with("pub"));
                        let mut leaves = Vec::new();
                        use_tree(&code[i..end], i, &[], &mut leaves);
                        for (segments, name, place) in leaves {
                            let path = absolute(&segments, at, level, children);
                            if level == 0 {
                                module.names.push((name, path.clone()));
                            }
                            let Some(path) = path else { continue };
                            let segments =
                                if path.last().is_some_and(|s| s == "*") { path[..path.len() - 1].to_vec() } else { path };
                            module.paths.push(Reference { segments, line: line(place), reexport: public });
                        }
                        i = end;
                    }
                    "mod" if rest.starts_with(|c: char| c.is_alphabetic() || c == '_') => {
                        let name = &rest[..rest.bytes().position(|c| !ident(c)).unwrap_or(rest.len())];
                        declared.insert(name);
                        opening_inner = rest[name.len()..].trim_start().starts_with('{');
                        i += code[i..].find(name).expect("found above") + name.len();
                    }
                    _ if rest.starts_with("::") && !before.ends_with("::") => {
                        let mut segments = vec![word.to_string()];
                        while code[i..].starts_with("::") && bytes.get(i + 2).copied().is_some_and(ident) {
                            let from = i + 2;
                            i = from;
                            while i < bytes.len() && ident(bytes[i]) {
                                i += 1;
                            }
                            segments.push(code[from..i].to_string());
                        }
                        if let Some(segments) = absolute(&segments, at, level, children) {
                            module.paths.push(Reference { segments, line: line(start), reexport: false });
                        }
                    }
                    _ => {}
                }
            }
            _ => i += 1,
        }
    }
    // A macro that declares modules lists them: files that no `mod` of this text declares.
    if code.contains("mod $") {
        for child in children.iter().filter(|c| !declared.contains(*c)) {
            let place = code.rfind(&format!("{child},")).or(code.rfind(child)).unwrap_or(0);
            let segments = [at, &[child.to_string()]].concat();
            module.paths.push(Reference { segments, line: line(place), reexport: false });
        }
    }
}

/// The path from the root of the crate. None for a path into another crate.
fn absolute(segments: &[String], at: &[String], inner: usize, children: &[&str]) -> Option<Vec<String>> {
    let mut path = at.to_vec();
    let mut rest = segments;
    let mut level = inner;
    match rest.first()?.as_str() {
        "crate" | "lae_engine" => {
            path.clear();
            rest = &rest[1..];
        }
        "self" => rest = &rest[1..],
        "super" => {
            while rest.first().is_some_and(|s| s == "super") {
                if level > 0 {
                    level -= 1;
                } else {
                    path.pop();
                }
                rest = &rest[1..];
            }
        }
        first if inner == 0 && children.contains(&first) => {}
        _ => return None,
    }
    path.extend_from_slice(rest);
    Some(path)
}

/// The leaves of a use tree: path, bound name, place.
fn use_tree(text: &str, place: usize, before: &[String], leaves: &mut Vec<(Vec<String>, String, usize)>) {
    let start = place + text.len() - text.trim_start().len();
    let text = text.trim();
    if let Some(open) = text.find('{') {
        let mut path = before.to_vec();
        path.extend(text[..open].split("::").map(str::trim).filter(|s| !s.is_empty()).map(str::to_string));
        let body = &text[open + 1..text.rfind('}').unwrap_or(text.len())];
        let (mut depth, mut from) = (0, 0);
        for (i, c) in body.char_indices().chain([(body.len(), ',')]) {
            match c {
                '{' => depth += 1,
                '}' => depth -= 1,
                ',' if depth == 0 => {
                    use_tree(&body[from..i], start + open + 1 + from, &path, leaves);
                    from = i + 1;
                }
                _ => {}
            }
        }
        return;
    }
    if text.is_empty() {
        return;
    }
    let (path, name) = text.split_once(" as ").map_or((text, None), |(p, n)| (p.trim(), Some(n.trim().to_string())));
    let mut full = before.to_vec();
    full.extend(
        path.split("::").map(str::trim).filter(|s| !s.is_empty() && (*s != "self" || before.is_empty())).map(str::to_string),
    );
    let name = name.or(full.last().cloned()).unwrap_or_default();
    leaves.push((full, name, start));
}

/// The text with comments, strings, characters and items under `#[cfg(test)]` as blanks; lines stay where they are.
fn code(text: &str) -> String {
    let mut out: Vec<u8> = text.bytes().map(|b| if b.is_ascii() { b } else { b'?' }).collect();
    let ident = |c: u8| c.is_ascii_alphanumeric() || c == b'_';
    let blank =
        |out: &mut [u8], range: std::ops::Range<usize>| out[range].iter_mut().filter(|b| **b != b'\n').for_each(|b| *b = b' ');
    let find = |from: usize, what: &str| {
        text.as_bytes()[from.min(text.len())..].windows(what.len()).position(|w| w == what.as_bytes()).map(|p| from + p)
    };
    let mut i = 0;
    while i < out.len() {
        let after_ident = i > 0 && ident(out[i - 1]);
        let end = match &out[i..] {
            [b'/', b'/', ..] => find(i, "\n").unwrap_or(out.len()),
            [b'/', b'*', ..] => find(i + 2, "*/").map_or(out.len(), |e| e + 2),
            [b'r', b'#' | b'"', ..] if !after_ident || out[i - 1] == b'b' => {
                let hashes = out[i + 1..].iter().take_while(|b| **b == b'#').count();
                if out.get(i + 1 + hashes) != Some(&b'"') {
                    i += 1;
                    continue; // r#ident
                }
                let close = format!("\"{}", "#".repeat(hashes));
                find(i + 2 + hashes, &close).map_or(out.len(), |e| e + close.len())
            }
            [b'"', ..] => {
                let mut j = i + 1;
                while j < out.len() && out[j] != b'"' {
                    j += if out[j] == b'\\' { 2 } else { 1 };
                }
                j + 1
            }
            // A character, not a lifetime: a backslash follows, or the closing quote comes after one (possibly long) character.
            [b'\'', b'\\', ..] => find(i + 3, "'").map_or(out.len(), |e| e + 1),
            [b'\'', ..] => {
                let long = text[i + 1..].chars().next().map_or(1, char::len_utf8);
                if out.get(i + 1 + long) != Some(&b'\'') {
                    i += 1;
                    continue;
                }
                i + 2 + long
            }
            _ => {
                i += 1;
                continue;
            }
        };
        let end = end.min(out.len());
        blank(&mut out, i..end);
        i = end;
    }
    let is = |out: &[u8], at: usize, what: &str| out[at..].starts_with(what.as_bytes());
    let mut i = 0;
    while i < out.len() {
        if !is(&out, i, "#[cfg(test)]") {
            i += 1;
            continue;
        }
        // To the end of the item: a `;` before any brace, or the brace that closes the first.
        let (mut j, mut depth) = (i, 0);
        while j < out.len() {
            match out[j] {
                b'{' => depth += 1,
                b'}' if depth == 1 => break,
                b'}' => depth -= 1,
                b';' if depth == 0 => break,
                _ => {}
            }
            j += 1;
        }
        let end = (j + 1).min(out.len());
        blank(&mut out, i..end);
        i = end;
    }
    String::from_utf8(out).expect("ASCII")
}
