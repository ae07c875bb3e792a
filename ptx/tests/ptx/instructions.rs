//! Every form of the instruction table on known values (`instructions.txt`), on every instruction set; and that no row of the
//! table lacks a test.

use lae_ptx::*;

const CASES: &str = include_str!("instructions.txt");

/// The bits of a number; None is a NaN of that many bits.
fn number(t: &str) -> Option<u64> {
    let float = |t: &str| t.parse::<f64>().unwrap_or_else(|_| panic!("number `{t}`"));
    let half = |x: f64, digits: i32, bias: i32| {
        // Exactly representable numbers only.
        let e = if x == 0.0 { -bias } else { x.abs().log2().floor() as i32 };
        let f = x.abs() / 2f64.powi(e) * 2f64.powi(digits);
        assert_eq!(f, f.trunc());
        (x < 0.0) as u64 * 0x8000 + (((e + bias) as u64) << digits) + (f as u64 - (1 << digits))
    };
    if let Some(h) = t.strip_prefix("0x") {
        return Some(u64::from_str_radix(h, 16).unwrap_or_else(|_| panic!("number `{t}`")));
    }
    if t.starts_with("nan") {
        return None;
    }
    Some(match t.as_bytes()[t.len() - 1] {
        b'f' => (float(&t[..t.len() - 1]) as f32).to_bits() as u64,
        b'd' => float(&t[..t.len() - 1]).to_bits(),
        b'h' => half(float(&t[..t.len() - 1]), 10, 15),
        b'b' => half(float(&t[..t.len() - 1]), 7, 127),
        b'w' => t[..t.len() - 1].parse::<i64>().unwrap() as u32 as u64,
        b's' => t[..t.len() - 1].parse::<i64>().unwrap() as u16 as u64,
        _ => t.parse::<i64>().unwrap_or_else(|_| panic!("number `{t}`")) as u64,
    })
}

/// A kernel that loads the inputs of its lane, executes the instruction, and stores register 0.
fn kernel(instruction: &str) -> (String, usize) {
    // A word behind a dot is a modifier, or a part of a register.
    let mut words = Vec::new();
    let mut start = 0;
    for (at, c) in instruction.char_indices().chain([(instruction.len(), ' ')]) {
        if !c.is_ascii_alphanumeric() {
            words.push((start, &instruction[start..at]));
            start = at + 1;
        }
    }
    let is_register = |(at, w): &(usize, &str)| {
        let behind_dot = *at > 0 && instruction.as_bytes()[at - 1] == b'.';
        !behind_dot && w.len() == 2 && "wlhp".contains(&w[..1]) && w.as_bytes()[1].is_ascii_digit()
    };
    words.retain(is_register);
    let mut text = instruction.to_string();
    for (at, _) in words.iter().rev() {
        text.insert(*at, '%');
    }
    let mut names: Vec<&str> = words.iter().map(|w| w.1).collect();
    names.sort_by_key(|n| n.as_bytes()[1]);
    names.dedup();
    let inputs: Vec<&&str> = names.iter().filter(|n| !n.ends_with('0')).collect();
    let load = |(i, n): (usize, &&&str)| {
        let at = format!("ld.global.u64 %x, [%in+{}];", 8 * i);
        match &n[..1] {
            "l" => format!("{at} mov.b64 %{n}, %x;\n"),
            "p" => format!("{at} setp.ne.u64 %{n}, %x, 0;\n"),
            "h" => format!("{at} cvt.u16.u64 %{n}, %x;\n"),
            _ => format!("{at} cvt.u32.u64 %{n}, %x;\n"),
        }
    };
    let loads: String = inputs.iter().enumerate().map(load).collect();
    let result = match names.iter().find(|n| n.ends_with('0')).expect("register 0 is the result") {
        n if n.starts_with('l') => format!("mov.b64 %x, %{n};"),
        n if n.starts_with('p') => format!("selp.u64 %x, 1, 0, %{n};"),
        n if n.starts_with('h') => format!("cvt.u64.u16 %x, %{n};"),
        n => format!("cvt.u64.u32 %x, %{n};"),
    };
    let text = format!(
        ".version 8.0\n.target sm_80\n.address_size 64
        .visible .entry k(.param .u64 in, .param .u64 out) {{
        .reg .b32 %w<6>, %t; .reg .b64 %l<6>, %x, %in, %out; .reg .b16 %h<6>; .reg .pred %p<6>;
        ld.param.u64 %in, [in]; ld.param.u64 %out, [out];
        mov.u32 %t, %tid.x; mad.wide.u32 %in, %t, 64, %in; mad.wide.u32 %out, %t, 8, %out;
        {loads}{text};\n{result} st.global.u64 [%out], %x; ret; }}"
    );
    (text, inputs.len())
}

/// Inputs, and the result; None is a NaN.
type Case = (Vec<u64>, Option<u64>);

fn cases() -> impl Iterator<Item = (&'static str, Vec<Case>)> {
    let lines = CASES.lines().filter(|l| !l.trim().is_empty() && !l.starts_with('#'));
    lines.map(|l| {
        let (instruction, list) = l.split_once(" : ").unwrap_or_else(|| panic!("no cases: {l}"));
        let case = |c: &str| {
            let (inputs, result) = c.split_once('=').unwrap_or_else(|| panic!("no result: {l}"));
            (inputs.split_whitespace().map(|t| number(t).expect("an input")).collect(), number(result.trim()))
        };
        (instruction.trim(), list.split(';').map(case).collect())
    })
}

#[test]
fn every_instruction_gives_its_result() {
    let (mut wrong, mut run) = (Vec::new(), 0);
    for (instruction, list) in cases() {
        let (text, inputs) = kernel(instruction);
        let module = Module::parse("test.ptx", &text).unwrap_or_else(|e| panic!("{instruction}: {e}"));
        for level in Machine::levels() {
            let mut m = Machine::new(Config::default());
            assert!(m.set_level(level));
            let (input, out) = (m.alloc("in", 32 * 64), m.alloc("out", 32 * 8));
            // The cases take turns on the lanes.
            let case = |lane: usize| &list[lane % list.len()];
            for lane in 0..32 {
                assert_eq!(case(lane).0.len(), inputs, "{instruction}: number of inputs");
                let bytes: Vec<u8> = case(lane).0.iter().flat_map(|v| v.to_le_bytes()).collect();
                m.write(input + 64 * lane as u64, &bytes).unwrap();
            }
            let args = vec![Arg::Read { addr: input, len: 32 * 64 }, Arg::Write { addr: out, len: 32 * 8 }];
            let launch = Launch { grid: [1; 3], block: [32, 1, 1], shared: 0, args, ..Launch::default() };
            if let Err(f) = m.launch(&module, "k", &launch) {
                wrong.push(format!("{instruction}: {f}"));
                break;
            }
            for (lane, b) in m.bytes(out, 256).unwrap().chunks_exact(8).enumerate() {
                let got = u64::from_le_bytes(b.try_into().unwrap());
                let want = case(lane).1.unwrap_or(0x7fff_ffff);
                if got != want && !wrong.last().is_some_and(|w| w.starts_with(instruction)) {
                    wrong.push(format!("{instruction} of {:x?} on {level}: {got:#x}, not {want:#x}", case(lane).0));
                }
                run += 1;
            }
        }
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
    assert!(run > 5000, "only {run} cases ran");
}

#[test]
fn every_row_of_the_table_has_a_test() {
    let compiled = [include_str!("basic.ptx"), include_str!("wmma.ptx"), include_str!("hopper.ptx")];
    let written = [
        CASES,
        include_str!("faults.rs"),
        include_str!("warp.rs"),
        include_str!("wmma.rs"),
        include_str!("forms.rs"),
        include_str!("mbarrier.rs"),
        include_str!("hopper.rs"),
        include_str!("grammar.txt"),
    ];
    let word = |c: char| !(c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | ':'));
    let opcodes: std::collections::BTreeSet<&str> = compiled
        .iter()
        .chain(&written)
        .flat_map(|t| t.split(word))
        .filter(|w| w.contains('.') || matches!(*w, "ret" | "exit" | "trap" | "bra" | "brkpt" | "call"))
        .collect();
    let missing: Vec<&str> = isa::table().iter().filter(|r| !opcodes.iter().any(|o| r.decodes(o))).map(|r| r.form).collect();
    assert!(missing.is_empty(), "no test for:\n{}", missing.join("\n"));
    assert!(isa::table().len() > 250);
}

#[test]
fn no_row_hides_behind_another() {
    // Every row decodes its own first form, so that the order of the table loses nothing.
    for r in isa::table() {
        let mut form = String::new();
        let mut rest = r.form;
        while let Some(c) = rest.chars().next() {
            match c {
                '[' => rest = &rest[rest.find(']').unwrap() + 1..],
                '{' => {
                    let end = rest.find('}').unwrap();
                    form.push_str(rest[1..end].split('|').next().unwrap());
                    rest = &rest[end + 1..];
                }
                _ => {
                    form.push(c);
                    rest = &rest[1..];
                }
            }
        }
        let plain = isa::table().iter().any(|o| o.decodes(&form));
        assert!(plain, "`{}` does not decode its own form `{form}`", r.form);
    }
}

#[test]
fn census() {
    let module = Module::parse("basic.ptx", include_str!("basic.ptx")).unwrap();
    let census = isa::census(&module);
    assert!(census.iter().all(|f| f.supported), "{census:?}");
    assert_eq!(census[0].opcode, "fma.rn.f32");
    assert!(census.iter().map(|f| f.count).sum::<u64>() > 1000);
}
