//! Damaged PTX: no text may make the parser or the decoder panic, hang or eat memory, nor a launch of what is left.
//!
//! 20,000 texts by default; `LAE_PTX_FUZZ=200000` says how many.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use lae_ptx::*;

const HEAD: &str = ".version 9.0\n.target sm_90\n.address_size 64\n";

struct Rng(u64);

impl Rng {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ x >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ x >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ x >> 31
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n.max(1) as u64) as usize
    }
}

/// Small texts that are PTX: every kernel of what nvcc wrote, alone, and the cases of the grammar.
fn corpus() -> Vec<String> {
    let mut list = Vec::new();
    for text in [include_str!("ptx/basic.ptx"), include_str!("ptx/wmma.ptx")] {
        let mut parts = text.split("\n.visible .entry");
        let top = parts.next().unwrap();
        list.extend(parts.filter(|p| p.len() < 8000).map(|p| format!("{top}\n.visible .entry{p}")));
    }
    for part in include_str!("ptx/grammar.txt").split("#### ").skip(1) {
        let text = part.split_once('\n').unwrap().1;
        let text = match text.split_once("====\n") {
            None => text.to_string(),
            Some((top, body)) => format!(
                "{top}.visible .entry k(.param .u64 out)\n{{ .reg .b64 %o,%d<9>; .reg .b32 %r<9>; .reg .pred %p<3>;
                .reg .f32 %f<9>; .reg .b16 %h<9>;\nld.param.u64 %o,[out];\n{body}\nret;\n}}\n"
            ),
        };
        list.push(format!("{HEAD}{}", text.replace("NN", "_1")));
    }
    for text in &list {
        assert!(try_text(text, true).is_some_and(|t| t.0 > 0), "undamaged:\n{text}");
    }
    assert!(list.len() > 100, "{}", list.len());
    list
}

const WORDS: [&str; 64] = [
    "{",
    "}",
    "(",
    ")",
    "[",
    "]",
    ";",
    ",",
    ":",
    "::",
    "|",
    "!",
    "@",
    "%",
    "+",
    "-",
    "~",
    "?",
    "<",
    ">",
    "=",
    "\"",
    "/*",
    "*/",
    "//",
    "_",
    ".reg",
    ".b32",
    ".b64",
    ".b128",
    ".pred",
    ".v2",
    ".v4",
    ".param",
    ".shared",
    ".global",
    ".const",
    ".local",
    ".align",
    ".entry",
    ".func",
    ".visible",
    ".extern",
    ".alias",
    ".branchtargets",
    ".callprototype",
    ".calltargets",
    ".section",
    ".loc",
    ".pragma",
    "ret",
    "call",
    "brx.idx",
    "mov.u64",
    "st.param.b32",
    "ld.shared.v4.f32",
    "bar.sync",
    "cp.async.ca.shared.global",
    "%tid.x",
    "WARP_SZ",
    "generic(",
    "0f3f800000",
    "é",
    "\0",
];
const NUMBERS: [&str; 16] = [
    "0",
    "1",
    "-1",
    "3",
    "7",
    "31",
    "255",
    "65535",
    "65536",
    "1048576",
    "1073741824",
    "2147483648",
    "4294967295",
    "4294967296",
    "9223372036854775807",
    "18446744073709551615",
];

fn damage(text: &str, all: &[String], r: &mut Rng) -> String {
    let mut t = text.as_bytes().to_vec();
    for _ in 0..1 + r.below(2) {
        let at = r.below(t.len());
        let until = (at + 1 + r.below(40)).min(t.len());
        let word = |c: &u8| c.is_ascii_alphanumeric() || matches!(c, b'_' | b'$' | b'%' | b'.');
        match r.below(13) {
            0 => {
                t.drain(at..until);
            }
            1 => t[at] = b' ' + r.below(95) as u8,
            2 => t.insert(at, b' ' + r.below(95) as u8),
            3 => {
                let piece = t[at..until].to_vec();
                let to = r.below(t.len());
                t.splice(to..to, piece);
            }
            4 | 5 => {
                let w = WORDS[r.below(WORDS.len())].as_bytes().to_vec();
                t.splice(at..at, w);
            }
            6 | 7 | 12 => {
                // A number for a number.
                if let Some(from) = t[at..].iter().position(u8::is_ascii_digit).map(|i| at + i) {
                    let n = t[from..].iter().take_while(|c| c.is_ascii_digit()).count();
                    t.splice(from..from + n, NUMBERS[r.below(NUMBERS.len())].bytes());
                }
            }
            8 => {
                // A word of another place for a word.
                let from = t[at..].iter().position(word).map_or(at, |i| at + i);
                let n = t[from..].iter().take_while(|c| word(c)).count();
                let other = r.below(t.len());
                let piece: Vec<u8> = t[other..].iter().skip_while(|c| !word(c)).take_while(|c| word(c)).copied().collect();
                t.splice(from..from + n, piece);
            }
            9 => {
                let other = all[r.below(all.len())].as_bytes();
                let from = r.below(other.len());
                let piece = other[from..(from + r.below(300)).min(other.len())].to_vec();
                t.splice(at..at, piece);
            }
            10 => t.truncate(at),
            _ => {
                let piece = t[at..until.min(at + 3)].repeat(r.below(2000));
                t.splice(at..at, piece);
            }
        }
        if t.is_empty() {
            break;
        }
    }
    String::from_utf8_lossy(&t).into_owned()
}

/// Parses, decodes every kernel, and launches what can be launched. Gives how many kernels were decoded and launched, or that the
/// whole text was refused.
fn try_text(text: &str, launch: bool) -> Option<(usize, usize)> {
    let Ok(module) = Module::parse("damaged.ptx", text) else { return None };
    module.unread();
    let (mut decoded, mut launched) = (0, 0);
    for (entry, result) in module.check() {
        match result {
            Err(e) => assert!(!e.kernel.is_empty() && e.line > 0),
            Ok(()) => decoded += 1,
        }
        if launch && small(&module, entry) {
            let mut m = Machine::new(Config { budget: 5000, ..Config::default() });
            let x = m.alloc("x", 4096);
            m.write(x, &[0; 4096]).unwrap();
            let arg = |p: &Param| match p.size {
                8 => Arg::Update { addr: x, len: 4096 },
                n => Arg::Bytes(vec![1; n as usize]),
            };
            let args = entry.params.iter().map(arg).collect();
            let _ = m.launch(
                &module,
                &entry.name,
                &Launch { grid: [2, 1, 1], block: [33, 1, 1], shared: 64, args, ..Launch::default() },
            );
            launched += 1;
        }
    }
    Some((decoded, launched))
}

/// Large variables are legal, and cost as much memory as they ask for.
fn small(module: &Module, entry: &Entry) -> bool {
    module.shared(entry).is_ok() && module.bytes() < 1 << 24
}

#[test]
fn damaged_texts() {
    let texts: u64 = std::env::var("LAE_PTX_FUZZ").map_or(20_000, |n| n.parse().expect("LAE_PTX_FUZZ is a number"));
    let corpus = corpus();
    let (mut parsed, mut decoded, mut launched, mut slowest) = (0, 0, 0, Duration::ZERO);
    let mut failures = Vec::new();
    let hook = std::panic::take_hook();
    // A panic says where; the seed says what.
    static WHERE: std::sync::Mutex<String> = std::sync::Mutex::new(String::new());
    std::panic::set_hook(Box::new(|p| *WHERE.lock().unwrap() = p.location().map_or(String::new(), |l| l.to_string())));
    for seed in 0..texts {
        let mut r = Rng(seed);
        let text = damage(&corpus[r.below(corpus.len())], &corpus, &mut r);
        let start = Instant::now();
        match catch_unwind(AssertUnwindSafe(|| try_text(&text, seed % 2 == 0))) {
            Ok(None) => {}
            Ok(Some((d, l))) => (parsed, decoded, launched) = (parsed + 1, decoded + d as u64, launched + l as u64),
            Err(_) => failures.push(format!("seed {seed}: panic at {}", WHERE.lock().unwrap())),
        }
        slowest = slowest.max(start.elapsed());
        if start.elapsed() > Duration::from_secs(5) {
            failures.push(format!("seed {seed}: {:?}", start.elapsed()));
        }
    }
    std::panic::set_hook(hook);
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|l| l.strip_prefix("VmHWM:")).unwrap_or("").trim().to_string();
    println!("{texts} texts: {parsed} parsed, {decoded} kernels decoded, {launched} launched; slowest {slowest:?}, peak {peak}");
    assert!(failures.is_empty(), "{} failures:\n{}", failures.len(), failures[..failures.len().min(20)].join("\n"));
    assert!(parsed > texts / 2 && decoded > texts / 8, "{parsed} and {decoded} of {texts}");
    if let Some(kb) = peak.split(' ').next().and_then(|n| n.parse::<u64>().ok()) {
        assert!(kb < 1 << 20, "{kb} kB");
    }
}

/// Texts that grow: time must grow with them, not with their square.
#[test]
fn long_texts() {
    let kernel = |body: &str| format!("{HEAD}.entry k(.param .u64 out) {{ .reg .b32 %r<1000000>; .reg .pred %p; {body} ret; }}");
    let n = 50_000;
    let many = |f: &dyn Fn(usize) -> String| (0..n).map(f).collect::<String>();
    for (what, text) in [
        ("opening braces", kernel(&"{".repeat(n))),
        ("pairs of braces", kernel(&"{}".repeat(n))),
        ("parentheses", kernel(&format!("mov.u32 %r1, {};", "(".repeat(n)))),
        ("lists", kernel(&format!("mov.u32 %r1, {};", "{".repeat(n)))),
        ("signs", kernel(&format!("mov.u32 %r1, {}1;", "-".repeat(n)))),
        ("sums", kernel(&format!("mov.u32 %r1, {}1;", "1+".repeat(n)))),
        ("conditions", kernel(&format!("mov.u32 %r1, {}1;", "1?2:".repeat(n)))),
        ("initial values", format!("{HEAD}.global .b32 g[] = {{ {} 1 }};", "1,".repeat(n))),
        ("nested initial values", format!("{HEAD}.global .b32 g[] = {};", "{".repeat(n))),
        ("dimensions", format!("{HEAD}.global .b32 g{};", "[1]".repeat(n))),
        ("ranges of registers", kernel(&many(&|i| format!(".reg .b32 r{i}_<1000000>;")))),
        ("registers", kernel(&many(&|i| format!("mov.u32 %r{}, 1;", i % 30000)))),
        ("labels", kernel(&many(&|i| format!("L{i}: ")))),
        ("unknown statements", kernel(&"frobnicate [;".repeat(n))),
        ("unknown directives", kernel(&".frobnicate [;".repeat(n))),
        ("unknown declarations", format!("{HEAD}{}", ".frobnicate x;\n".repeat(n))),
        ("unknown text", format!("{HEAD}{}", "} ; ? word\n".repeat(n))),
        ("heads", format!("{HEAD}{}", ".func f(.reg .b32 \n".repeat(n))),
        ("kernels", format!("{HEAD}{}", many(&|i| format!(".entry k{i}() {{ ret; }}\n")))),
        ("functions", format!("{HEAD}{}", many(&|i| format!(".func f{i}() {{ call f{}; ret; }}\n", i.max(1) - 1)))),
        ("variables", format!("{HEAD}{}", many(&|i| format!(".global .b32 g{i} = {i};\n")))),
        ("broken variables", format!("{HEAD}{}", many(&|i| format!(".global .b32 g{i};\n.global .b32 h{i} what;\n")))),
        ("huge variables", format!("{HEAD}{}", many(&|i| format!(".global .b8 g{i}[1073741824];\n")))),
        ("huge shared", kernel(&many(&|i| format!(".shared .align 16777216 .b8 g{i}[1073741824]; mov.u32 %r1,g{i};")))),
        ("parameters", format!("{HEAD}.entry k({} .param .b8 x) {{ ret; }}", many(&|i| format!(".param .b8 x{i},")))),
        (
            "large parameters",
            format!("{HEAD}.func f({} .param .b8 x) {{ ret; }}", many(&|i| format!(".param .b8 x{i}[99999999],"))),
        ),
        ("aliases", format!("{HEAD}{}", many(&|i| format!(".alias a{i},a{};\n", i + 1)))),
        ("comments", format!("{HEAD}{}", "/**/ // x\n".repeat(n))),
        ("blanks", format!("{HEAD}{}.frob;", " \n".repeat(n))),
        ("sections", format!("{HEAD}{}", ".section .debug_str { a: .b8 1,2,3 }\n".repeat(n))),
        ("strings", format!("{HEAD}{}", ".pragma \"a\";\n".repeat(n))),
        ("targets", kernel(&format!("T: .branchtargets L<50000>; brx.idx %r1,T; {}", many(&|i| format!("L{i}: "))))),
        ("tables", kernel(&format!("A: {}", many(&|i| format!("T{i}: .branchtargets A<65536>;"))))),
    ] {
        let start = Instant::now();
        match Module::parse("long.ptx", &text) {
            Ok(module) => {
                for e in module.entries().iter().take(10) {
                    let _ = module.shared(e);
                }
                module.unread();
            }
            Err(e) => assert!(e.to_string().len() < 1000, "{e}"),
        }
        let time = start.elapsed();
        println!("{what}: {} bytes in {time:?}", text.len());
        assert!(time < Duration::from_secs(8), "{what}: {time:?}");
    }
}
