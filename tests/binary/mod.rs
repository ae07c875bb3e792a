//! The real binary, and what its runs leave behind.

#![allow(dead_code, reason = "each test uses its part")]

use std::path::Path;
use std::process::{Command, Output};

pub fn command() -> Command {
    let mut c = Command::new(env!("CARGO_BIN_EXE_lae-engine"));
    c.env_remove("RUST_BACKTRACE");
    c
}

pub fn lae(args: &[&str]) -> Output {
    command().args(args).output().expect("the binary runs")
}

pub fn ok(args: &[&str]) -> Output {
    let out = lae(args);
    assert!(out.status.success(), "{args:?}\n{}", text(&out.stderr));
    out
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

pub fn path(p: &Path) -> &str {
    p.to_str().expect("temporary folders have plain names")
}

/// Everything of a run that must not depend on time, threads or interruptions.
pub fn bytes(run: &Path) -> Vec<(&'static str, Vec<u8>)> {
    let files = ["config.toml", "metrics.jsonl", "stage1.safetensors", "model.safetensors", "selection.json"];
    let read = |f| (f, std::fs::read(run.join(f)).unwrap_or_else(|e| panic!("{f}: {e}")));
    // Detectors with one stage have neither of the two.
    let optional = |f: &&str| ["stage1.safetensors", "selection.json"].contains(f);
    files.into_iter().filter(|f| !optional(f) || run.join(f).exists()).map(read).collect()
}

pub fn same(a: &Path, b: &Path) {
    let (x, y) = (bytes(a), bytes(b));
    assert!(x.iter().map(|f| f.0).eq(y.iter().map(|f| f.0)), "{} and {} hold different files", a.display(), b.display());
    for ((name, x), (_, y)) in x.into_iter().zip(y) {
        assert!(x == y, "{name} differs between {} and {}", a.display(), b.display());
    }
}

pub fn train(run: &Path, more: &[&str]) {
    let mut args = vec!["train", "--preset", "smoke", "--out", path(run)];
    args.extend(more);
    ok(&args);
}
