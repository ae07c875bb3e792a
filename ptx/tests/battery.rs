//! Several hundred forms of instructions that ptxas takes (`battery.txt`): how many the emulator decodes and runs, and that each
//! form it does not take is in the list of what is left, with a reason. Values are the business of `ptx/instructions.txt`.

use std::path::PathBuf;
use std::process::Command;

use lae_ptx::*;

const FORMS: &str = include_str!("battery.txt");

/// The least architecture, and the instruction.
fn forms() -> Vec<(u32, &'static str)> {
    let line = |l: &'static str| {
        let (sm, text) = l.split_once(' ').unwrap_or_else(|| panic!("line `{l}`"));
        (sm.parse().unwrap_or_else(|_| panic!("line `{l}`")), text)
    };
    FORMS.lines().filter(|l| !l.trim().is_empty() && !l.starts_with('#')).map(line).collect()
}

/// The instruction with `%` before its registers.
fn registers(instruction: &str) -> String {
    let mut out = String::new();
    let mut word = String::new();
    for c in instruction.chars().chain([' ']) {
        if c.is_ascii_alphanumeric() || matches!(c, '_' | '%' | ':') {
            word.push(c);
            continue;
        }
        let after_dot = out.ends_with('.');
        let numbered = word.len() == 2 && "wlhp".contains(&word[..1]) && word.as_bytes()[1].is_ascii_digit();
        if !after_dot && (numbered || matches!(word.as_str(), "g" | "s" | "n" | "k" | "m")) {
            out.push('%');
        }
        out.push_str(&word);
        out.push(c);
        word.clear();
    }
    out.trim().to_string()
}

const HEAD: &str =
    ".version 9.0\n.target sm_SM\n.address_size 64\n.const .align 8 .b8 cvar[64];\n.shared .align 16 .b8 svar[4096];\n";

/// A kernel that gives all registers a value and executes the instruction. `wide`: whether 128-bit registers are declared.
fn kernel(number: usize, instruction: &str, wide: bool) -> String {
    let mut set = String::new();
    for i in 0..10 {
        set += &format!(
            "mov.b32 %w{i}, {}; mov.b64 %l{i}, {}; mov.b16 %h{i}, {i}; setp.ne.u32 %p{i}, {}, 0;\n",
            i + 3,
            i + 5,
            i % 2
        );
    }
    let quad = if wide { ".reg .b128 %q<4>;" } else { "" };
    if wide {
        set += "mov.b128 %q1, {%l1, %l2}; mov.b128 %q2, {%l1, %l2};\n";
    }
    // Strides of matrices in memory: w8 and w9 are multiples of 16 and of 128 elements.
    format!(
        ".visible .entry k{number}(.param .u64 in, .param .u64 count) {{
        .reg .b32 %w<10>, %s, %m, %z; .reg .b64 %l<10>, %g, %n, %k, %b; .reg .b16 %h<10>; .reg .pred %p<10>, %first; {quad}
        .local .align 8 .b8 lvar[64];
        {set} mov.u32 %w8, 64; mov.u32 %w9, 128; mov.u64 %l6, 0xa000000000000000; // an mbarrier's state, of the phase before
        ld.param.u64 %g, [in]; mov.u64 %n, %g; mov.u32 %s, svar; mov.u32 %m, svar; add.u32 %m, %m, 2048;
        mov.u64 %b, svar; cvta.shared.u64 %k, %b;
        st.local.u64 [lvar], %l1; st.local.u64 [lvar+8], %l1;
        mov.u32 %z, %tid.x;
        FILL: st.shared.u32 [svar+0], 0; setp.eq.u32 %first, %z, 0;
        @!%first bra READY;
        mov.u32 %w0, 0;
        LOOP: add.u32 %w1, %s, %w0; st.shared.u32 [%w1], 0; add.u32 %w0, %w0, 4; setp.lt.u32 %first, %w0, 4096; @%first bra LOOP;
        {init} mov.u32 %w0, 3; mov.u32 %w1, 4;
        READY: bar.sync 0; setp.eq.u32 %first, %z, 0;
        {instruction};
        ret; }}\n",
        instruction = registers(instruction),
        init = if instruction.contains("[m]") && !instruction.contains("mbarrier.init") {
            "mbarrier.init.shared.b64 [%m], 64;"
        } else {
            ""
        },
    )
}

/// Decodes and runs one form on one warp.
fn run(sm: u32, instruction: &str) -> Result<(), String> {
    let wide = instruction.contains("%q");
    let text = HEAD.replace("SM", &sm.to_string()) + &kernel(0, instruction, wide);
    let module = Module::parse("battery.ptx", &text).map_err(|e| e.to_string())?;
    let checks = Checks { init: true, race: false, tf32: false };
    let mut m = Machine::new(Config { checks, budget: 1 << 20, ..Config::default() });
    let g = m.alloc("g", 65536);
    m.write(g, &[0; 65536]).unwrap();
    let args = vec![Arg::Update { addr: g, len: 65536 }, 1u64.into()];
    m.launch(&module, "k0", &Launch { grid: [1; 3], block: [32, 1, 1], shared: 0, args, ..Launch::default() })
        .map_err(|f| f.to_string())?;
    Ok(())
}

#[test]
fn forms_run_or_are_listed() {
    let forms = forms();
    assert!(forms.len() > 400, "{}", forms.len());
    let mut refused = Vec::new();
    for &(sm, text) in &forms {
        if let Err(why) = run(sm, text) {
            refused.push(format!("{text}\n        {}", why.lines().next().unwrap_or("")));
        }
    }
    // What is refused has a reason in the list.
    let opcode = |r: &str| r.split_whitespace().find(|w| !w.starts_with('@')).unwrap_or("").to_string();
    let unlisted: Vec<&String> = refused.iter().filter(|r| isa::reason(&opcode(r)).is_none()).collect();
    assert!(unlisted.is_empty(), "refused without a reason: {unlisted:#?}");
    let ran = forms.len() - refused.len();
    println!("{ran} of {} forms run; refused:\n    {}", forms.len(), refused.join("\n    "));
    assert!(ran * 100 >= forms.len() * 95, "{ran} of {}; refused:\n    {}", forms.len(), refused.join("\n    "));
}

/// ptxas of the toolkit that the gate installs, or of `PTXAS`.
fn ptxas() -> Option<PathBuf> {
    let named = std::env::var_os("PTXAS").map(PathBuf::from);
    let wheel = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../target/cuda/lib");
    let pythons = std::fs::read_dir(wheel).into_iter().flatten().flatten();
    let wheels = pythons.map(|d| d.path().join("site-packages/nvidia/cu13/bin/ptxas"));
    named.into_iter().chain(wheels).find(|p| p.is_file())
}

#[test]
fn ptxas_takes_every_form() {
    let Some(ptxas) = ptxas() else {
        println!("no ptxas: not checked that it takes every form");
        return;
    };
    let forms = forms();
    let mut targets: Vec<u32> = forms.iter().map(|f| f.0).collect();
    targets.sort_unstable();
    targets.dedup();
    let dir = std::env::temp_dir().join(format!("lae-battery-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    for sm in targets {
        let list = forms.iter().enumerate().filter(|(_, f)| f.0 == sm);
        let text = HEAD.replace("SM", &sm.to_string()) + &list.map(|(i, f)| kernel(i, f.1, true)).collect::<String>();
        let file = dir.join(format!("sm_{sm}.ptx"));
        std::fs::write(&file, text).unwrap();
        let out = Command::new(&ptxas).arg(format!("-arch=sm_{sm}")).args(["-o", "/dev/null"]).arg(&file).output().unwrap();
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    }
    std::fs::remove_dir_all(dir).unwrap();
}

#[test]
fn the_list_of_what_is_left() {
    // Nothing in it is in the table, and every reason reaches the refusal.
    for l in isa::left().iter().filter(|l| l.form != "vote" && l.form != "shfl" && l.form != "mma.m8n8k4") {
        assert!(isa::table().iter().all(|r| !r.decodes(l.form)), "{} is supported", l.form);
        assert_eq!(isa::reason(l.form), Some(l.reason), "{}", l.form);
    }
    assert_eq!(isa::reason("vote.sync.all.pred"), None);
    let why = run(90, "red.async.relaxed.cluster.shared::cluster.mbarrier::complete_tx::bytes.add.u32 [s], w1, [m]").unwrap_err();
    assert!(why.contains("is not supported: reductions that complete at an mbarrier"), "{why}");
}
