//! Compiles `kernels/*.cu` to PTX and writes the kernel table that `src/device/kernels.rs` includes.

use std::path::{Path, PathBuf};
use std::process::Command;

fn main() {
    println!("cargo:rerun-if-changed=kernels");
    println!("cargo:rerun-if-env-changed=NVCC");
    let out = PathBuf::from(std::env::var("OUT_DIR").unwrap());
    let nvcc = std::env::var("NVCC").unwrap_or_else(|_| "nvcc".to_string());
    let found = Command::new(&nvcc).arg("--version").output().is_ok_and(|o| o.status.success());
    let mut files: Vec<PathBuf> = match std::fs::read_dir("kernels") {
        Ok(dir) => dir.map(|f| f.unwrap().path()).filter(|p| p.extension().is_some_and(|e| e == "cu")).collect(),
        Err(_) => Vec::new(),
    };
    files.sort();
    let (mut modules, mut kernels) = (String::new(), String::new());
    if found {
        let jobs: Vec<_> = files
            .iter()
            .map(|cu| {
                let ptx = out.join(cu.with_extension("ptx").file_name().unwrap());
                let mut c = Command::new(&nvcc);
                c.args(["-ptx", "-arch=compute_80", "-O3", "-lineinfo", "-fmad=false", "-std=c++17", "-o"]).arg(&ptx).arg(cu);
                (cu, ptx, c.spawn().expect("nvcc starts"))
            })
            .collect();
        for (i, (cu, ptx, mut job)) in jobs.into_iter().enumerate() {
            assert!(job.wait().unwrap().success(), "nvcc failed on {}", cu.display());
            let name = cu.file_stem().unwrap().to_str().unwrap();
            modules += &format!("    Module {{ name: {name:?}, ptx: include_str!({ptx:?}) }},\n");
            for (entry, params) in entries(&ptx) {
                let params: Vec<String> = params.iter().map(|(s, a)| format!("Param {{ size: {s}, align: {a} }}")).collect();
                let params = params.join(", ");
                kernels += &format!("    Kernel {{ name: {entry:?}, module: &MODULES[{i}], params: &[{params}] }},\n");
            }
        }
    } else {
        println!("cargo:warning=no nvcc ({nvcc}): building without GPU kernels");
    }
    let table = format!("pub static MODULES: &[Module] = &[\n{modules}];\npub static KERNELS: &[Kernel] = &[\n{kernels}];\n");
    std::fs::write(out.join("kernels.rs"), table).unwrap();
}

/// `(entry, [(size, align)])` of every `.entry` in a PTX file.
fn entries(ptx: &Path) -> Vec<(String, Vec<(u32, u32)>)> {
    let text = std::fs::read_to_string(ptx).unwrap();
    let mut found = Vec::new();
    for part in text.split(".entry ").skip(1) {
        let open = part.find('(').expect("an entry has parameters");
        let list = &part[open + 1..][..part[open..].find(')').unwrap() - 1];
        let params = list.split(',').map(str::trim).filter(|p| !p.is_empty()).map(param).collect();
        found.push((part[..open].trim().to_string(), params));
    }
    found
}

/// `.param .u64 .ptr .align 1 name` or `.param .align 4 .b8 name[24]`.
fn param(text: &str) -> (u32, u32) {
    let words: Vec<&str> = text.split_whitespace().collect();
    let bytes = match words.iter().find_map(|w| w.strip_prefix(".b8").or_else(|| None)) {
        Some(_) => 1,
        None => words.iter().find_map(|w| w.get(2..)?.parse::<u32>().ok().filter(|_| w.starts_with('.'))).unwrap() / 8,
    };
    let count = text.rsplit_once('[').map_or(1, |(_, n)| n.trim_end_matches(']').parse().unwrap());
    let align = words.iter().position(|w| *w == ".align").filter(|_| !words.contains(&".ptr"));
    (bytes * count, align.map_or(bytes, |i| words[i + 1].parse().unwrap()))
}
