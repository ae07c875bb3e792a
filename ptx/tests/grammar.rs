//! The grammar of PTX: what ptxas accepts is read, and means what ptxas takes it to mean.

use lae_ptx::*;

const CASES: &str = include_str!("ptx/grammar.txt");
const HEAD: &str = ".version 9.0\n.target sm_90\n.address_size 64\n";

struct Case {
    name: &'static str,
    kernel: String,
    text: String,
    want: Vec<u32>,
}

fn cases() -> Vec<Case> {
    let number = |t: &str| match t.strip_prefix("0x") {
        Some(h) => u32::from_str_radix(h, 16).unwrap(),
        None => t.parse().unwrap_or_else(|_| panic!("number `{t}`")),
    };
    let case = |(n, part): (usize, &'static str)| {
        let (head, text) = part.split_once('\n').unwrap();
        let (name, want) = head.split_once(" : ").unwrap_or_else(|| panic!("no words: {head}"));
        let text = match text.split_once("====\n") {
            None => text.to_string(),
            Some((top, body)) => format!(
                "{top}.visible .entry kNN(.param .u64 out)\n{{\n.reg .b64 %o,%d<9>; .reg .b32 %r<9>; .reg .pred %p<3>;
                .reg .f32 %f<9>; .reg .b16 %h<9>;\nld.param.u64 %o,[out];\n{body}\nret;\n}}\n"
            ),
        };
        let text = text.replace("NN", &format!("_{n}"));
        Case { name, kernel: format!("k_{n}"), text, want: want.split_whitespace().map(number).collect() }
    };
    CASES.split("#### ").skip(1).enumerate().map(case).collect()
}

/// What a kernel of one thread writes to its only argument.
fn run(module: &Module, kernel: &str, words: usize) -> Result<Vec<u32>, Fault> {
    let mut m = Machine::new(Config::default());
    let len = 4 * words as u64;
    let out = m.alloc("out", len);
    let args = vec![Arg::Write { addr: out, len }];
    m.launch(module, kernel, &Launch { grid: [1; 3], block: [1, 1, 1], shared: 0, args, ..Launch::default() })?;
    Ok(m.bytes(out, len).unwrap().chunks_exact(4).map(|b| u32::from_le_bytes(b.try_into().unwrap())).collect())
}

#[test]
fn every_case_runs() {
    let mut wrong = Vec::new();
    for c in cases() {
        let module = Module::parse("case.ptx", &format!("{HEAD}{}", c.text)).unwrap_or_else(|e| panic!("{}: {e}", c.name));
        match run(&module, &c.kernel, c.want.len()) {
            Ok(got) if got == c.want => {}
            Ok(got) => wrong.push(format!("{}: {got:x?}, not {:x?}", c.name, c.want)),
            Err(f) => wrong.push(format!("{}: {f}", c.name)),
        }
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
    assert!(cases().len() >= 60);
}

#[test]
fn all_cases_as_one_module() {
    let text: String = cases().iter().map(|c| c.text.as_str()).collect();
    let module = Module::parse("all.ptx", &format!("{HEAD}{text}")).unwrap();
    for c in cases() {
        assert_eq!(run(&module, &c.kernel, c.want.len()).unwrap(), c.want, "{}", c.name);
    }
}

/// Where a CUDA compiler may lie.
fn ptxas() -> Option<std::path::PathBuf> {
    let mut places: Vec<std::path::PathBuf> = Vec::new();
    let lib = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/cuda/lib");
    for python in std::fs::read_dir(lib).into_iter().flatten().flatten() {
        places.push(python.path().join("site-packages/nvidia/cu13/bin/ptxas"));
    }
    let folders = ["CUDA_HOME", "CUDA_PATH"].into_iter().filter_map(std::env::var_os);
    places.extend(folders.map(|p| std::path::Path::new(&p).join("bin/ptxas")));
    places.extend(std::env::var_os("PATH").iter().flat_map(std::env::split_paths).map(|p| p.join("ptxas")));
    places.into_iter().find(|p| p.is_file())
}

#[test]
fn ptxas_accepts_every_case() {
    let Some(ptxas) = ptxas() else {
        println!("no ptxas: not asked whether the cases are PTX");
        return;
    };
    let version = std::process::Command::new(&ptxas).arg("--version").output().unwrap();
    let known = String::from_utf8_lossy(&version.stdout).contains("release 13");
    for apart in [false, true] {
        let file = std::env::temp_dir().join(format!("lae-grammar-{}-{apart}.ptx", std::process::id()));
        let text: String = cases().iter().filter(|c| c.name.starts_with("apart") == apart).map(|c| c.text.as_str()).collect();
        std::fs::write(&file, format!("{HEAD}{text}")).unwrap();
        let out = std::process::Command::new(&ptxas).args(["-arch=sm_90", "-o", "/dev/null"]).arg(&file).output().unwrap();
        std::fs::remove_file(&file).unwrap();
        if !out.status.success() && !known {
            println!("a ptxas that is not 13: not asked whether the cases are PTX");
            return;
        }
        assert!(out.status.success(), "{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    }
}
