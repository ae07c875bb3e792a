//! The page for authors of kernels, docs/kernel-authors.md, is run as it stands: its files are written, its commands executed,
//! what they print and how they end compared. nvcc is found as the build of lae-engine finds it; `LAE_CUDA=require` makes its
//! absence a failure.

use std::path::{Path, PathBuf};
use std::process::Command;

#[allow(dead_code)]
#[path = "../../build/nvcc.rs"]
mod nvcc;

const PAGE: &str = include_str!("../../docs/kernel-authors.md");

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Blocks of the page: the words behind the fence, and the text.
fn blocks() -> Vec<(Vec<&'static str>, String)> {
    let mut out: Vec<(Vec<&str>, String)> = Vec::new();
    let mut inside = false;
    for line in PAGE.lines() {
        match line.strip_prefix("```") {
            Some(words) if !inside => (inside, _) = (true, out.push((words.split_whitespace().collect(), String::new()))),
            Some(_) => inside = false,
            None if inside => {
                let (_, text) = out.last_mut().expect("a block has begun");
                *text += line;
                text.push('\n');
            }
            None => {}
        }
    }
    out
}

/// Runs a command of the page; its exit code and what it printed.
fn run(line: &str, dir: &Path, path: &std::ffi::OsStr) -> (i32, String) {
    let out = Command::new("bash").args(["-c", line]).current_dir(dir).env("PATH", path).output().expect("bash runs");
    let text = format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    (out.status.code().expect("no signal"), text)
}

#[test]
fn the_page_as_it_stands() {
    let dir = tempfile::tempdir().unwrap();
    let var = |name: &str| std::env::var_os(name).filter(|v| !v.is_empty());
    let found = nvcc::search(&var, &root(), &|f| nvcc::trial(f, dir.path()));
    let Some(nvcc) = found.found else {
        let why = format!("no nvcc, so the page's commands cannot be run: {}", found.remarks.join("; "));
        assert!(var("LAE_CUDA").is_none_or(|v| v != "require"), "{why}");
        println!("skipped: {why}");
        return;
    };
    // `nvcc` and `lae-ptx` by their names.
    let bin = dir.path().join("bin");
    std::fs::create_dir(&bin).unwrap();
    let nvcc = std::fs::canonicalize(&nvcc.path).unwrap_or(nvcc.path);
    let script = format!("#!/bin/sh\nexec '{}' \"$@\"\n", nvcc.display());
    std::fs::write(bin.join("nvcc"), script).unwrap();
    let script = format!("#!/bin/sh\nexec '{}' \"$@\"\n", env!("CARGO_BIN_EXE_lae-ptx"));
    std::fs::write(bin.join("lae-ptx"), script).unwrap();
    #[cfg(unix)]
    for f in ["nvcc", "lae-ptx"] {
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(bin.join(f), std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    let path = std::env::join_paths([bin].into_iter().chain(std::env::split_paths(&var("PATH").unwrap()))).unwrap();
    let (mut printed, mut commands, mut outputs) = (String::new(), 0, 0);
    for (words, text) in blocks() {
        match words.as_slice() {
            ["sh"] => {
                for line in text.lines().filter(|l| !l.is_empty()) {
                    let code = line.split_once("exit code ").map_or(0, |(_, n)| n[..1].parse().expect("a digit"));
                    let (ended, out) = run(line, dir.path(), &path);
                    assert_eq!(ended, code, "{line}\n{out}");
                    (printed, commands) = (out, commands + 1);
                }
            }
            ["yaml"] => {
                for line in text.lines().filter_map(|l| l.trim().strip_prefix("- run: ")) {
                    let (ended, out) = run(line, dir.path(), &path);
                    assert_eq!(ended, 0, "{line}\n{out}");
                    commands += 1;
                }
                for f in ["kernels.xml", "kernels.sarif"] {
                    assert!(text.contains(f) && dir.path().join(f).is_file(), "the job writes no {f}");
                }
            }
            ["text"] => {
                for line in text.lines() {
                    assert!(printed.contains(line), "no `{line}` in:\n{printed}");
                }
                outputs += 1;
            }
            ["cuda" | "toml", name] => std::fs::write(dir.path().join(name), text).unwrap(),
            ["sh", "install"] => {}
            // `ptx/python/tests` runs it.
            ["python"] => {}
            other => panic!("a block of {other:?}: what is to be done with it?"),
        }
    }
    assert!(commands >= 9 && outputs == 2, "{commands} commands, {outputs} outputs");
}

/// The compiler of the page is the one that the gate installs.
#[test]
fn the_wheels_are_those_of_the_gate() {
    let gate = std::fs::read_to_string(root().join("tests/all.sh")).unwrap();
    let wheels = gate.split_once("wheels=(").and_then(|(_, rest)| rest.split_once(")\n")).expect("all.sh names the wheels").0;
    assert_eq!(PAGE.matches(&format!("pip install {wheels}\n")).count(), 2, "{wheels}");
}

/// Every key that the reader of specifications asks for is on the page.
#[test]
fn every_key_is_on_the_page() {
    let code = include_str!("../src/cli/spec.rs").split("#[cfg(test)]").next().unwrap();
    let mut keys = Vec::new();
    for word in [
        "t.text(\"",
        "t.flag(\"",
        "t.whole(\"",
        "t.wholes(\"",
        "t.number(\"",
        "t.list(\"",
        "t.texts(\"",
        "t.get(\"",
        "extent(\"",
        "size(\"",
    ] {
        keys.extend(code.split(word).skip(1).map(|rest| rest.split('"').next().unwrap()));
    }
    keys.extend(["read", "write", "update"]);
    assert!(keys.len() > 40, "{keys:?}");
    for key in keys {
        let named = ["`{}`", "`{} =", "{ {} =", "`[{}]`", "`[[{}]]`", "{ {},", " {},", " {} }", " {}"].iter();
        assert!(
            named.map(|n| n.replacen("{}", key, 1)).any(|n| PAGE.contains(&n)),
            "docs/kernel-authors.md does not explain `{key}`"
        );
    }
}
