//! Every scalar instruction of the table against a model that shares nothing with the emulator: whole numbers of 128 bits, and
//! numbers held exactly. Edges of every type meet edges, and random values meet each other, on every instruction set.

#[path = "scalar/approximate.rs"]
mod approximate;
#[path = "scalar/model.rs"]
mod model;
#[path = "scalar/rare.rs"]
mod rare;
#[path = "scalar/real.rs"]
mod real;

use lae_ptx::*;
use model::{Case, Half, Reg, Ty, Want};
use real::{F16, F32, F64, Format};

/// Numbers of a counter, well mixed.
struct Draws(u64);

impl Draws {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ z >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ z >> 31
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }
}

/// A row's forms, every choice of its modifiers.
fn forms(form: &str) -> Vec<String> {
    let Some(at) = form.find(['{', '[']) else { return vec![form.to_string()] };
    let end = at + form[at..].find(['}', ']']).unwrap();
    let (before, inside) = (&form[..at], &form[at + 1..end]);
    let mut choices: Vec<&str> = inside.split('|').collect();
    if form.as_bytes()[at] == b'[' {
        choices.push("");
    }
    let rests = forms(&form[end + 1..]);
    choices.iter().flat_map(|c| rests.iter().map(move |r| format!("{before}{c}{r}"))).collect()
}

/// The form of a row in which every choice is the first: rows of memory have hundreds of thousands.
fn first(form: &str) -> String {
    let Some(at) = form.find(['{', '[']) else { return form.to_string() };
    let end = at + form[at..].find(['}', ']']).unwrap();
    let choice = form[at + 1..end].split('|').next().unwrap();
    format!("{}{choice}{}", &form[..at], first(&form[end + 1..]))
}

/// Whether a row is no scalar arithmetic.
fn other(form: &str) -> bool {
    let word = form.split(['.', '[', '{']).next().unwrap();
    OTHERS.iter().any(|(names, _)| names.split(' ').any(|n| n == word))
}

/// Rows that are no scalar arithmetic, by their first words, and what tests them.
const OTHERS: [(&str, &str); 9] = [
    (
        "ld ldu st prefetch prefetchu applypriority discard createpolicy atom red cp mbarrier",
        "memory: tests/ptx/kernels.rs, faults.rs",
    ),
    ("membar fence", "order: tests/race.rs, tests/ptx/faults.rs"),
    ("cvta isspacep", "addresses, whose bases are the emulator's own: tests/ptx/instructions.txt"),
    ("ldmatrix stmatrix mma movmatrix wmma", "matrices: tests/ptx/wmma.rs, kernels.rs, units of num::mma"),
    ("wgmma mapa getctarank", "products of warp groups, and clusters: tests/ptx/hopper.rs"),
    ("bra brx call ret exit trap brkpt", "control: tests/ptx/kernels.rs, faults.rs"),
    ("nanosleep pmevent griddepcontrol setmaxnreg", "do nothing"),
    ("bar barrier", "barriers: tests/ptx/faults.rs, warp.rs"),
    ("shfl vote match redux activemask elect", "lanes together: tests/ptx/warp.rs"),
];

/// Opcodes that a row's text allows, but that neither ptxas nor the emulator takes. Moves of vectors are no scalar instructions
/// (tests/ptx/grammar.txt).
fn refused(opcode: &str) -> bool {
    let mods: Vec<&str> = opcode.split('.').skip(1).collect();
    if opcode.starts_with("mov.v") || opcode == "mov.b128" {
        return true;
    }
    // To a whole number, but in another type.
    let integral = mods.iter().any(|m| matches!(*m, "rni" | "rzi" | "rmi" | "rpi"));
    let float = |m: &str| m.starts_with('f') || m.starts_with("bf");
    opcode.starts_with("cvt.") && integral && mods.len() > 2 && {
        let (to, from) = (mods[mods.len() - 2], mods[mods.len() - 1]);
        float(to) && float(from) && to != from
    }
}

/// Values of a type at which something changes.
fn edges(ty: Ty) -> Vec<u64> {
    match ty {
        Ty::Int(1) => vec![0, 1],
        Ty::Int(n) if n <= 64 => {
            let top = 1u64 << (n - 1);
            let half = 1u64 << (n / 2);
            let alternate = 0x5555_5555_5555_5555;
            let list = [
                0,
                1,
                2,
                3,
                7,
                10,
                half - 1,
                half,
                half + 1,
                top - 1,
                top,
                top + 1,
                u64::MAX,
                u64::MAX - 1,
                u64::MAX - 6,
                alternate,
                !alternate,
                0x80,
                0x7f,
                0xff,
                0x17f,
                0xff80,
                0x8000,
                0x7fff,
                0x1_8000,
                0x8000_0000,
                0x1_ffff_ffff,
                0xffff_fffe,
            ];
            list.map(|x| x & u64::MAX >> (64 - n)).to_vec()
        }
        // A float in a wider register: what stands above must not matter.
        Ty::Int(n) => {
            let f = [F16, F32, F64].into_iter().find(|f| f.bits as u32 == n - 64).expect("a format");
            edges(Ty::Float(f)).into_iter().enumerate().map(|(i, x)| x | (i as u64 * 0x0123_4567_89ab_cdef) << f.bits).collect()
        }
        Ty::Count => {
            vec![0, 1, 2, 7, 8, 15, 16, 17, 23, 31, 32, 33, 47, 63, 64, 65, 127, 128, 255, 256, 257, 0x8000_0000, 0xffff_ffff]
        }
        Ty::Float(f) => {
            let (inf, one, ulp) = (f.infinity(), f.one(), 1u64 << (f.precision - 1));
            let int = |x: i128| f.int(x, real::Mode::Even);
            let mut list = vec![
                0,
                1,
                2,
                3,
                ulp - 1,
                ulp,
                ulp + 1,
                2 * ulp,
                one - 1,
                one,
                one + 1,
                one + ulp / 2,
                one + ulp,
                one - ulp,
                inf - 1,
                inf,
                inf + 1,
                inf + ulp / 2,
                f.nan(),
                one + ulp / 2 + ulp,
                one + 3 * ulp / 4,
                int(127),
                int(128),
                int(255),
                int(32768),
            ];
            list.extend([1 << 31, 1 << 32, 1 << 63, (1i128 << 31) - 1, 3].map(int));
            // Halves of whole numbers: ties.
            list.extend([1, 3, 5, 255, 511].map(|x| int(x).wrapping_sub(ulp)));
            list.iter().flat_map(|&x| [x, x | f.sign()]).collect()
        }
        Ty::Pair(f) => {
            let e = edges(Ty::Float(f));
            (0..e.len()).map(|i| e[i] | e[(i * 7 + 3) % e.len()] << 16).collect()
        }
    }
}

/// Any value of a register, near those where something happens more often than not.
fn draw(ty: Ty, r: &mut Draws) -> u64 {
    let x = r.next();
    match ty {
        Ty::Int(n) if n <= 64 => {
            // As many small numbers as large ones.
            let x = if x & 1 == 0 { r.next() } else { ((r.next() as i64) >> (r.next() % 64)) as u64 };
            x & u64::MAX >> (64 - n)
        }
        Ty::Int(n) => {
            let f = [F16, F32, F64].into_iter().find(|f| f.bits as u32 == n - 64).expect("a format");
            draw(Ty::Float(f), r) | r.next() << f.bits
        }
        Ty::Count => {
            if x & 1 == 0 {
                r.next() % 70
            } else {
                r.next() & 0xffff_ffff
            }
        }
        Ty::Float(f) => {
            let any = r.next() & (f.sign() | f.nan());
            let near = f.one() + ((r.next() % 9) << (f.precision - 1));
            match x % 4 {
                0 => any,
                // An exponent near that of 1; few bits, so that ties occur.
                1 => any & !f.infinity() | near & f.infinity(),
                2 => any & f.sign() | near & f.infinity() | (r.next() % 8) << (f.precision - 4),
                // A whole number, to 2^66, and its halves.
                _ => f
                    .int((r.next() as i128) >> (r.next() % 64), real::Mode::Even)
                    .saturating_sub((x >> 8 & 1) << (f.precision - 1)),
            }
        }
        Ty::Pair(f) => draw(Ty::Float(f), r) | draw(Ty::Float(f), r) << 16,
    }
}

/// The values of all threads; `all`: every pair of edges.
fn inputs(sources: &[(Reg, Ty)], seed: u64, all: bool) -> Vec<Vec<u64>> {
    let mut r = Draws(seed);
    let mut threads: Vec<Vec<u64>> = Vec::new();
    let lists: Vec<Vec<u64>> = sources.iter().map(|s| edges(s.1)).collect();
    match lists.as_slice() {
        [] => threads.push(Vec::new()),
        [a] => threads.extend(a.iter().map(|&a| vec![a])),
        [a, b] if all => threads.extend(a.iter().flat_map(|&a| b.iter().map(move |&b| vec![a, b]))),
        // Too many to try all.
        more => threads.extend((0..if all { 1500 } else { 250 }).map(|_| more.iter().map(|l| l[r.below(l.len())]).collect())),
    }
    let random = threads.len() + 256;
    while threads.len() < random || !threads.len().is_multiple_of(256) {
        let mut x: Vec<u64> = sources.iter().map(|s| draw(s.1, &mut r)).collect();
        match (sources, r.next() % 4) {
            // Equal operands, and sums that cancel.
            ([(_, a), (_, b), ..], 0) if a == b => x[1] = x[0],
            ([(_, Ty::Float(f)), _, (_, Ty::Float(_))], 1) => {
                let p = real::mul(&f.decode(x[0]), &f.decode(x[1]));
                x[2] = f.round(&real::negate(&p), real::Mode::Even).wrapping_add(r.next() % 3);
            }
            _ => {}
        }
        threads.push(x);
    }
    // The predicates of a case are 0 or 1.
    for x in &mut threads {
        x.iter_mut().zip(sources).filter(|(_, s)| s.0 == Reg::P).for_each(|(x, _)| *x &= 1);
    }
    threads
}

fn letter(r: Reg) -> &'static str {
    match r {
        Reg::P => "p",
        Reg::H => "h",
        Reg::W => "w",
        Reg::L => "l",
    }
}

/// A result that no instruction gives, where none is written.
const UNTOUCHED: u64 = 0x5a5a_1234_5678_abcd;

/// How an instruction is tried: alone; under a guard; with a number as its last source; with its result in its first source.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Way {
    Alone,
    Guarded,
    Number(u64),
    InPlace,
}

fn ways(c: &Case, threads: &[Vec<u64>], r: &mut Draws) -> Vec<Way> {
    let mut ways = vec![Way::Alone, Way::Guarded];
    if c.immediate {
        let x = threads[r.below(threads.len())].last().copied().expect("a source");
        ways.push(Way::Number(x));
    }
    if c.sources.first().is_some_and(|s| s.0 == c.result) && !c.text.contains('{') {
        ways.push(Way::InPlace);
    }
    ways
}

fn mov(r: Reg) -> &'static str {
    match r {
        Reg::P => "mov.pred",
        Reg::H => "mov.b16",
        Reg::W => "mov.b32",
        Reg::L => "mov.b64",
    }
}

/// A kernel in which each thread takes its values and tries the instruction in all ways.
fn kernel(c: &Case, ways: &[Way]) -> String {
    let mut body = String::new();
    for (i, (r, _)) in c.sources.iter().enumerate() {
        let (n, at) = (i + 1, 8 * i);
        body += &match r {
            Reg::P => format!("ld.global.b32 %w30, [%in+{at}]; setp.ne.s32 %p{n}, %w30, 0;\n"),
            Reg::H => format!("ld.global.b16 %h{n}, [%in+{at}];\n"),
            Reg::W => format!("ld.global.b32 %w{n}, [%in+{at}];\n"),
            Reg::L => format!("ld.global.b64 %l{n}, [%in+{at}];\n"),
        };
    }
    let d = letter(c.result);
    for (k, way) in ways.iter().enumerate() {
        let result = format!("%{d}{}", 20 + k);
        let mut text = c.text.replace("$d", &result);
        for (i, (r, ty)) in c.sources.iter().enumerate() {
            let last = i + 1 == c.sources.len();
            let name = ["$a", "$b", "$c", "$e"][i];
            let with = match (way, ty) {
                (Way::Number(x), Ty::Float(f)) if last && *f == F32 => format!("0f{x:08x}"),
                (Way::Number(x), Ty::Float(_)) if last => format!("0d{x:016x}"),
                (Way::Number(x), _) if last && x & 1 == 0 => format!("{x}"),
                (Way::Number(x), _) if last => format!("0x{x:x}"),
                (Way::InPlace, _) if i == 0 => result.clone(),
                _ => format!("%{}{}", letter(*r), i + 1),
            };
            text = text.replace(name, &with);
        }
        if *way == Way::InPlace {
            body += &format!("{} {result}, %{}1;\n", mov(c.result), letter(c.sources[0].0));
        }
        if *way == Way::Guarded {
            body += &match c.result {
                Reg::P => format!("setp.ne.u32 {result}, %t, %t;\n"),
                Reg::H => format!("mov.b16 {result}, {};\n", UNTOUCHED as u16),
                Reg::W => format!("mov.b32 {result}, {};\n", UNTOUCHED as u32),
                Reg::L => format!("mov.b64 {result}, {UNTOUCHED};\n"),
            };
            // Of several instructions the last gives the result.
            let at = text.rfind('\n').map_or(0, |i| i + 1);
            text.insert_str(at, "@%p30 ");
        }
        body += &format!("{text};\n");
        let at = 8 * k;
        body += &match c.result {
            Reg::P => format!("selp.b32 %w30, 1, 0, {result}; st.global.b32 [%out+{at}], %w30;\n"),
            Reg::H => format!("st.global.b16 [%out+{at}], {result};\n"),
            Reg::W => format!("st.global.b32 [%out+{at}], {result};\n"),
            Reg::L => format!("st.global.b64 [%out+{at}], {result};\n"),
        };
    }
    format!(
        ".version 8.0\n.target sm_80\n.address_size 64\n.visible .entry k(.param .u64 in, .param .u64 out)\n{{
        .reg .b16 %h<31>; .reg .b32 %w<31>, %t, %u; .reg .b64 %l<31>, %in, %out; .reg .pred %p<31>;
        ld.param.u64 %in, [in]; ld.param.u64 %out, [out];
        mov.u32 %t, %tid.x; mov.u32 %u, %ctaid.x; mad.lo.u32 %t, %u, 256, %t;
        mad.wide.u32 %in, %t, {}, %in; mad.wide.u32 %out, %t, {}, %out;
        and.b32 %u, %t, 5; setp.eq.u32 %p30, %u, 1;
        {body}ret;\n}}\n",
        8 * c.sources.len(),
        8 * ways.len()
    )
}

/// Whether a thread executes what is guarded.
fn guarded(thread: usize) -> bool {
    thread & 5 == 1
}

fn bits(r: Reg) -> u64 {
    match r {
        Reg::P => 1,
        Reg::H => 0xffff,
        Reg::W => 0xffff_ffff,
        Reg::L => u64::MAX,
    }
}

fn fits(want: Want, got: u64) -> bool {
    let between = |low: f64, high: f64, f: Format, got: u64| {
        let x = approximate::number(f, got);
        low <= x && x <= high
    };
    let half = |h: Half, got: u64| match h {
        Half::Bits(x) => x == got,
        Half::Nan(f) => f.is_nan(got),
        Half::Between(low, high, f) => between(low, high, f, got),
    };
    match want {
        Want::Bits(x) => x == got,
        Want::Nan(f) => f.is_nan(got),
        Want::Halves(low, high) => half(low, got & 0xffff) && half(high, got >> 16),
        Want::Between(low, high, f) => between(low, high, f, got),
    }
}

/// Runs a case on every instruction set, and says what is wrong; counts the results that were looked at.
fn wrong(opcode: &str, c: &Case, seed: u64, all: bool, looked: &mut u64) -> Option<String> {
    let threads = inputs(&c.sources, seed, all);
    let ways = ways(c, &threads, &mut Draws(seed ^ 99));
    let text = kernel(c, &ways);
    let module = match Module::parse("scalar.ptx", &text) {
        Ok(m) => m,
        Err(e) => return Some(format!("{}: {e}", c.text)),
    };
    // A model's answer depends on the inputs alone.
    let want: Vec<Want> = threads.iter().map(|x| (c.f)(x)).collect();
    let number = ways.iter().find_map(|w| if let Way::Number(x) = w { Some(*x) } else { None });
    let with_number: Vec<Want> = number.map_or(Vec::new(), |n| {
        let set = |x: &Vec<u64>| {
            let mut x = x.clone();
            *x.last_mut().expect("a source") = n;
            (c.f)(&x)
        };
        threads.iter().map(set).collect()
    });
    let approximate = opcode.contains(".approx") || opcode.contains(".full");
    for level in Machine::levels() {
        for approx in [Approx::Central, Approx::Within(7), Approx::Within(8)].into_iter().take(if approximate { 3 } else { 1 }) {
            let checks = Checks { init: true, race: false, tf32: false };
            let mut m = Machine::new(Config { approx, checks, ..Config::default() });
            assert!(m.set_level(level));
            let (n, sources) = (threads.len() as u64, c.sources.len() as u64);
            let (in_bytes, out_bytes) = (8 * n * sources, 8 * n * ways.len() as u64);
            let (input, out) = (m.alloc("in", in_bytes), m.alloc("out", out_bytes));
            let values: Vec<u8> = threads.iter().flatten().flat_map(|x| x.to_le_bytes()).collect();
            m.write(input, &values).unwrap();
            m.write(out, &vec![0; out_bytes as usize]).unwrap();
            let args = vec![Arg::Read { addr: input, len: in_bytes }, Arg::Update { addr: out, len: out_bytes }];
            let launch = Launch { grid: [(n / 256) as u32, 1, 1], block: [256, 1, 1], shared: 0, args, ..Launch::default() };
            if let Err(f) = m.launch(&module, "k", &launch) {
                return Some(format!("{}: {f}", c.text));
            }
            let bytes = m.bytes(out, out_bytes).unwrap();
            let got: Vec<u64> = bytes.chunks_exact(8).map(|b| u64::from_le_bytes(b.try_into().unwrap())).collect();
            for (t, got) in got.chunks_exact(ways.len()).enumerate() {
                for (way, &got) in ways.iter().zip(got) {
                    let want = match way {
                        Way::Guarded if !guarded(t) => {
                            Want::Bits(if c.result == Reg::P { 0 } else { UNTOUCHED & bits(c.result) })
                        }
                        Way::Number(_) => with_number[t],
                        _ => want[t],
                    };
                    *looked += 1;
                    if !fits(want, got) {
                        let x = &threads[t];
                        return Some(format!("{} of {x:x?} ({way:x?}, {level}, {approx:?}): {got:#x}, not {want:x?}", c.text));
                    }
                }
            }
        }
    }
    None
}

/// Tries the forms of the table whose mnemonic `of` takes.
fn try_forms(of: impl Fn(&str) -> bool, least: u64) {
    let (mut problems, mut cases, mut looked) = (Vec::new(), 0u64, 0u64);
    for row in isa::table().iter().filter(|r| !other(r.form)) {
        for opcode in forms(row.form).iter().filter(|o| of(o) && row.decodes(o) && !refused(o)) {
            for (i, c) in model::model(opcode).iter().enumerate() {
                cases += 1;
                // The other ways to write an opcode differ in registers, not in arithmetic.
                problems.extend(wrong(opcode, c, cases * 1000, i == 0, &mut looked));
            }
        }
    }
    assert!(
        problems.is_empty(),
        "{} wrong:\n{}",
        problems.len(),
        problems.iter().take(60).cloned().collect::<Vec<_>>().join("\n")
    );
    assert!(cases >= least, "only {cases} cases");
    println!("{cases} ways to write them, {looked} results");
}

fn name(opcode: &str) -> &str {
    opcode.split('.').next().unwrap()
}

fn ends(opcode: &str, types: &[&str]) -> bool {
    types.contains(&opcode.rsplit('.').next().unwrap())
}

const FLOATS: [&str; 6] = ["f16", "f16x2", "bf16", "bf16x2", "f32", "f64"];

#[test]
fn integers() {
    try_forms(|o| !matches!(name(o), "setp" | "set" | "cvt") && !ends(o, &FLOATS), 400);
}

#[test]
fn singles_and_doubles() {
    try_forms(|o| !matches!(name(o), "setp" | "set" | "cvt") && ends(o, &["f32", "f64"]), 100);
}

#[test]
fn halves() {
    try_forms(|o| !matches!(name(o), "setp" | "set" | "cvt") && ends(o, &FLOATS[..4]), 50);
}

#[test]
fn comparisons() {
    try_forms(|o| matches!(name(o), "setp" | "set"), 1000);
}

#[test]
fn conversions_to_integers() {
    try_forms(|o| name(o) == "cvt" && !FLOATS.iter().any(|f| o.contains(&format!(".{f}."))), 500);
}

#[test]
fn conversions_to_floats() {
    try_forms(|o| name(o) == "cvt" && FLOATS.iter().any(|f| o.contains(&format!(".{f}."))), 200);
}

/// A row without a model is no scalar instruction, and stands in the list of those.
#[test]
fn every_row_has_a_model() {
    let mut missing = Vec::new();
    for row in isa::table() {
        let other = other(row.form);
        let all = if other { vec![first(row.form)] } else { forms(row.form) };
        for opcode in all.iter().filter(|o| other || row.decodes(o) && !refused(o)) {
            if other != model::model(opcode).is_empty() {
                missing.push(opcode.clone());
            }
        }
    }
    assert!(missing.is_empty(), "{} without a model (or with one and in the list):\n{}", missing.len(), missing.join("\n"));
}

/// Chains of sums, differences and products that share the carry flag, in 32 and 64 bits, some under guards, among predicates
/// that are in use before and after.
#[test]
fn carry_chains() {
    const THREADS: usize = 64;
    let mut r = Draws(5);
    let mut after = [0; 4];
    for chain in 0..400 {
        let predicates = r.below(5);
        let mut body = String::new();
        let values: Vec<Vec<u64>> = (0..THREADS)
            .map(|_| {
                let one = |i: usize, r: &mut Draws| {
                    let ty = Ty::Int(if i < 4 { 32 } else { 64 });
                    let e = edges(ty);
                    if r.next() & 1 == 0 { e[r.below(e.len())] } else { draw(ty, r) }
                };
                (0..8).map(|i| one(i, &mut r)).collect()
            })
            .collect();
        // (The carry stands for no borrow.)
        let mut flags = [false; THREADS];
        let mut want: Vec<Vec<u64>> = vec![Vec::new(); THREADS];
        let mut beside: Vec<Vec<u64>> = vec![Vec::new(); THREADS];
        for k in 0..predicates {
            let (a, b) = (r.below(4), r.below(4));
            body += &format!("setp.lt.u32 %p{k}, %w{a}, %w{b};\n");
            beside.iter_mut().zip(&values).for_each(|(p, x)| p.push((x[a] < x[b]) as u64));
        }
        let length = 2 + r.below(8);
        for k in 0..length {
            let (wide, reads, writes) = (r.next() & 1 == 1, k > 0 && r.below(4) > 0, k == 0 || r.below(4) > 0);
            let (writes, kind) = (writes || !reads, r.below(4));
            let (bits, bank, first) = if wide { (64, "l", 4) } else { (32, "w", 0) };
            let s = [(); 3].map(|_| first + r.below(4));
            let signed = r.next() & 1 == 1;
            let guard = k > 0 && r.below(4) == 0;
            let name = ["add", "sub", "mad", "mad"][kind];
            let opcode = format!(
                "{name}{}{}{}.{}{bits}",
                if reads { "c" } else { "" },
                ["", "", ".lo", ".hi"][kind],
                if writes { ".cc" } else { "" },
                if signed { "s" } else { "u" }
            );
            let operands = s[..if kind < 2 { 2 } else { 3 }].iter().map(|i| format!("%{bank}{i}")).collect::<Vec<_>>().join(", ");
            body += &format!("mov.b{bits} %{bank}9, {k};\n{}{opcode} %{bank}9, {operands};\n", if guard { "@%p30 " } else { "" });
            body += &format!("st.global.b{bits} [%out+{}], %{bank}9;\n", 8 * k);
            for t in 0..THREADS {
                if guard && !guarded(t) {
                    want[t].push(k as u64);
                    continue;
                }
                let mask = u64::MAX >> (64 - bits);
                let [a, b, c] = s.map(|i| values[t][i]);
                let signed_value = |x: u64| if bits == 64 { x as i64 as i128 } else { x as u32 as i32 as i128 };
                let product = if signed { (signed_value(a) * signed_value(b)) as u128 } else { a as u128 * b as u128 };
                let carry = if reads { flags[t] } else { kind == 1 } as u128;
                let sum = carry
                    + match kind {
                        0 => a as u128 + b as u128,
                        1 => a as u128 + (!b & mask) as u128,
                        2 => (product as u64 & mask) as u128 + c as u128,
                        _ => ((product >> bits) as u64 & mask) as u128 + c as u128,
                    };
                if writes {
                    flags[t] = sum >> bits != 0;
                    after[kind] += flags[t] as u32;
                }
                want[t].push(sum as u64 & mask);
            }
        }
        let mut uses = String::new();
        for k in 0..predicates {
            uses += &format!("selp.b32 %w9, 1, 0, %p{k};\nst.global.b32 [%out+{}], %w9;\n", 8 * (length + k));
        }
        let loads: String = (0..8)
            .map(|i| {
                if i < 4 {
                    format!("ld.global.b32 %w{i}, [%in+{}];\n", 8 * i)
                } else {
                    format!("ld.global.b64 %l{i}, [%in+{}];\n", 8 * i)
                }
            })
            .collect();
        let results = length + predicates;
        let text = format!(
            ".version 8.0\n.target sm_80\n.address_size 64\n.visible .entry k(.param .u64 in, .param .u64 out)\n{{
            .reg .b32 %w<10>, %t, %u; .reg .b64 %l<10>, %in, %out; .reg .pred %p<31>;
            ld.param.u64 %in, [in]; ld.param.u64 %out, [out]; mov.u32 %t, %tid.x;
            mad.wide.u32 %in, %t, 64, %in; mad.wide.u32 %out, %t, {}, %out;
            and.b32 %u, %t, 5; setp.eq.u32 %p30, %u, 1;
            {loads}{body}{uses}ret;\n}}\n",
            8 * results
        );
        let module = Module::parse("chain.ptx", &text).unwrap();
        let mut m = Machine::new(Config::default());
        let (input, out) = (m.alloc("in", 64 * THREADS as u64), m.alloc("out", (8 * results * THREADS) as u64));
        m.write(input, &values.iter().flatten().flat_map(|x| x.to_le_bytes()).collect::<Vec<u8>>()).unwrap();
        m.write(out, &vec![0; 8 * results * THREADS]).unwrap();
        let args = vec![
            Arg::Read { addr: input, len: 64 * THREADS as u64 },
            Arg::Update { addr: out, len: (8 * results * THREADS) as u64 },
        ];
        let launch = Launch { grid: [1; 3], block: [THREADS as u32, 1, 1], shared: 0, args, ..Launch::default() };
        m.launch(&module, "k", &launch).unwrap_or_else(|f| panic!("chain {chain}: {f}\n{text}"));
        let got: Vec<u64> = m
            .bytes(out, (8 * results * THREADS) as u64)
            .unwrap()
            .chunks_exact(8)
            .map(|b| u64::from_le_bytes(b.try_into().unwrap()))
            .collect();
        for (t, got) in got.chunks_exact(results).enumerate() {
            assert_eq!(got[length..], beside[t], "chain {chain}, predicates of thread {t}\n{text}");
            assert_eq!(got[..length], want[t], "chain {chain}, thread {t} of {:x?}\n{text}", values[t]);
        }
    }
    assert!(after.iter().all(|&n| n > 1000), "carries left by each kind: {after:?}");
}
