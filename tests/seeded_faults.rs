//! Faults put into the shipped PTX, one at a time: a barrier or a wait deleted, a bound ignored or off by one, a guard removed, a
//! shuffle's distance or an offset changed. At least 95 % must be caught, by a check of the
//! emulator or by a wrong value.
//!
//! A fault is put only where some row of the case tables executes it; the rows that do are tried in turn, cheapest first. What is
//! not caught is printed with its kernel and line; docs/emulator.md explains the misses. `LAE_FAULTS=N` sets how many faults of a
//! kind each module gets (6), `cargo test --test seeded_faults -- --nocapture` shows all.

mod common;

use std::collections::BTreeMap;
use std::process::ExitCode;

use common::{Bench, Ran, close, inputs, normals, terms};
use lae_engine::core::plan::Memory;
use lae_engine::device::emu::{Emulator, Options};
use lae_engine::device::{Device, Precision, kernels};
use lae_engine::error::Error;
use lae_engine::ops::{Case, OPS};
use libtest_mimic::{Arguments, Failed, Trial};

/// What is done to an instruction.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Kind {
    Barrier,
    CopyWait,
    /// A comparison of two registers that lets everybody pass.
    Bound,
    /// One that lets one more pass, or one less.
    OffByOne,
    Guard,
    Shuffle,
    Offset,
}

/// The faults that this line can have, between the instructions `before` and `next`.
fn faults(before: &str, line: &str, next: &str) -> Vec<(Kind, String)> {
    let code = line.trim();
    let mut out = Vec::new();
    let mut put = |kind, text: String| {
        if text != line {
            out.push((kind, text));
        }
    };
    if code.starts_with("bar.sync") || code.starts_with("barrier.sync") || code.starts_with("bar.warp.sync") {
        put(Kind::Barrier, String::new());
    }
    if code.starts_with("cp.async.wait") {
        put(Kind::CopyWait, String::new());
    }
    // Bounds: a comparison of two registers that alone decides the branch behind it. Others are the compiler's: with constants or
    // joined to another, about how often a loop was unrolled (both ways do the same); with a selection, arithmetic. Less or equal
    // means inside, greater or equal outside; where there is equality there is no neighbour.
    let decides = |p: &str| next.strip_prefix('@').is_some_and(|g| g.trim_start_matches('!').starts_with(p) && g.contains("bra"));
    let turns = [
        ("setp.lt.", "setp.le.", true),
        ("setp.le.", "setp.lt.", true),
        ("setp.gt.", "setp.ge.", false),
        ("setp.ge.", "setp.gt.", false),
    ];
    let operands: Vec<&str> = code.trim_end_matches(';').split(',').map(str::trim).collect();
    for (from, to, inside) in turns {
        if code.starts_with(from)
            && !code.contains(".f32")
            && operands.len() == 3
            && operands[0].split_whitespace().nth(1).is_some_and(decides)
            && operands[1..].iter().all(|o| o.starts_with('%'))
        {
            let (head, a) = (operands[0], operands[1]);
            let always = if inside { "setp.eq." } else { "setp.ne." };
            put(Kind::Bound, format!("{}, {a}, {a};", head.replacen(from, always, 1)));
            put(Kind::OffByOne, line.replacen(from, to, 1));
        }
    }
    if let Some((guard, rest)) = code.strip_prefix('@').and_then(|c| c.split_once([' ', '\t']))
        && (rest.trim_start().starts_with("ld.") || rest.trim_start().starts_with("st."))
        && !guard.is_empty()
    {
        put(Kind::Guard, rest.trim_start().to_string());
    }
    // The second of two shuffles alike is the lower half of a 64-bit value: its loss is below every tolerance.
    let tail = |c: &str| c.splitn(3, ", ").nth(2).map(String::from);
    if code.starts_with("shfl.sync") && !(before.starts_with("shfl.sync") && tail(before) == tail(code)) {
        // The distance, then the mask: destination, value, distance, clamp, mask.
        for (i, other) in [(2, "0"), (4, "0x0000ffff")] {
            let mut operands: Vec<&str> = code.trim_end_matches(';').split(", ").collect();
            if operands.len() == 5 {
                operands[i] = other;
                put(Kind::Shuffle, operands.join(", ") + ";");
            }
        }
    }
    let memory =
        code.contains("ld.global") || code.contains("st.global") || code.contains("ld.shared") || code.contains("st.shared");
    if memory
        && let Some((before, rest)) = line.split_once('[')
        && let Some((address, after)) = rest.split_once(']')
    {
        // The next element: 4 bytes, or as many as a vector has.
        let step = if line.contains(".v4.") {
            16
        } else if line.contains(".v2.") {
            8
        } else {
            4
        };
        let (base, offset) = address.split_once('+').unwrap_or((address, "0"));
        if let Ok(n) = offset.parse::<i64>() {
            put(Kind::Offset, format!("{before}[{base}+{}]{after}", n + step));
        }
    }
    out
}

/// A row of the tables with its right answer.
struct Row {
    case: Case,
    precision: Precision,
    x: Vec<Vec<f64>>,
    u: Vec<f64>,
    exact: Ran,
    /// Values of all inputs: the cost.
    size: usize,
}

impl Row {
    fn new(case: Case, precision: Precision) -> Row {
        let x = inputs(&case, 22);
        let mut oracle = Bench::<f64>::new(&case);
        let u: Vec<f64> = normals(oracle.cotangent_len(), 23, 0).iter().map(|&x| x as f32 as f64).collect();
        let exact = oracle.run(&x, &u);
        let size = x.iter().map(Vec::len).sum();
        Row { case, precision, x, u, exact, size }
    }

    fn run(&self, emulator: &std::sync::Arc<Emulator>) -> Result<Ran, Error> {
        let device = Device::Gpu(emulator.clone(), self.precision);
        Bench::on(&device, &self.case, Memory::Planned)?.try_run(&self.x, &self.u)
    }

    fn agrees(&self, ran: &Ran) -> bool {
        let eps = if self.precision == Precision::F32 { f32::EPSILON as f64 } else { 2f64.powi(-10) };
        let terms = terms(&self.case);
        let outputs = ran.outputs.iter().zip(&self.exact.outputs).all(|(a, b)| close(&a.0, &a.1, &b.1, eps, terms).is_ok());
        outputs && ran.grads.iter().zip(&self.exact.grads).all(|(a, b)| close("dx", &a.1, &b.1, eps, terms).is_ok())
    }
}

fn rows() -> Vec<Row> {
    let mut out = Vec::new();
    for (op, table) in OPS {
        for case in table().into_iter().filter(|c| c.bench.is_none()) {
            if matches!(*op, "conv2d" | "conv_transpose2d") {
                out.push(Row::new(case.clone(), Precision::Tf32));
            }
            out.push(Row::new(case, Precision::F32));
        }
    }
    out.sort_by_key(|r| r.size);
    out
}

/// For each line of each module that a row executes: the cheapest rows that do.
type Coverage = BTreeMap<(&'static str, u32), Vec<usize>>;

fn coverage(rows: &[Row]) -> Coverage {
    let mut seen = Coverage::new();
    for (i, row) in rows.iter().enumerate() {
        let emulator = Emulator::new(Options { counters: true, ..Options::default() });
        emulator.keep_reports();
        let ran = row.run(&emulator).unwrap_or_else(|e| panic!("{}: {e}", row.case.label));
        assert!(row.agrees(&ran), "{} is wrong without any fault", row.case.label);
        for l in emulator.take_reports() {
            // Rows of other ops end in a scalar product that nobody looks at.
            if l.kernel.module.name == "dot" && row.case.op.name() != "dot" {
                continue;
            }
            for e in &l.report.profile {
                let rows = seen.entry((l.kernel.module.name, e.line)).or_default();
                // Some that differ are enough.
                if rows.len() < 10 && !rows.contains(&i) {
                    rows.push(i);
                }
            }
        }
    }
    seen
}

struct Fault {
    module: &'static kernels::Module,
    line: u32,
    kind: Kind,
    old: String,
    new: String,
}

/// An even choice of the faults that can be executed: at most `most` of a kind and module.
fn choose(seen: &Coverage, most: usize) -> Vec<Fault> {
    let mut out = Vec::new();
    for module in kernels::MODULES.iter() {
        let mut kinds: BTreeMap<Kind, Vec<Fault>> = BTreeMap::new();
        let lines: Vec<&str> = module.ptx.lines().collect();
        for (i, &old) in lines.iter().enumerate() {
            let line = i as u32 + 1;
            if seen.contains_key(&(module.name, line)) {
                let code = |l: &&&str| !l.trim().is_empty() && !l.trim().starts_with(['.', '/', '$']);
                let next = lines[i + 1..].iter().find(code).map_or("", |l| l.trim());
                let before = lines[..i].iter().rev().find(code).map_or("", |l| l.trim());
                for (kind, new) in faults(before, old, next) {
                    let f = Fault { module, line, kind, old: old.trim().to_string(), new };
                    kinds.entry(kind).or_default().push(f);
                }
            }
        }
        for (_, list) in kinds {
            let (n, take) = (list.len(), most.min(list.len()));
            out.extend(list.into_iter().enumerate().filter(|(i, _)| (i + 1) * take / n > i * take / n).map(|(_, f)| f));
        }
    }
    out
}

/// How a fault was caught: the word of a check, or `value`. None if no row noticed it.
fn caught(f: &Fault, rows: &[Row], seen: &Coverage) -> Option<String> {
    let mut text = String::with_capacity(f.module.ptx.len() + 16);
    for (i, line) in f.module.ptx.lines().enumerate() {
        text.push_str(if i as u32 + 1 == f.line { &f.new } else { line });
        text.push('\n');
    }
    for &i in &seen[&(f.module.name, f.line)] {
        let emulator = Emulator::new(Options { budget: 30_000_000, ..Options::default() });
        if let Err(e) = emulator.replace_module(f.module, &text) {
            panic!("{} line {}: {:?} is no PTX: {e}", f.module.name, f.line, f.new);
        }
        match rows[i].run(&emulator) {
            Err(Error::Launch { why, .. }) => return Some(why.split([':', ' ']).next().unwrap_or("?").to_string()),
            Err(e) => return Some(e.to_string()),
            Ok(ran) if !rows[i].agrees(&ran) => return Some("value".to_string()),
            Ok(_) => {}
        }
    }
    None
}

fn all() -> Result<(), Failed> {
    let most = std::env::var("LAE_FAULTS").ok().and_then(|n| n.parse().ok()).unwrap_or(6);
    let rows = rows();
    let seen = coverage(&rows);
    let faults = choose(&seen, most);
    let mut table: BTreeMap<Kind, BTreeMap<String, usize>> = BTreeMap::new();
    let mut misses = Vec::new();
    for f in &faults {
        let how = caught(f, &rows, &seen);
        if how.is_none() {
            misses.push(format!("{:?}: {} line {}: {}  →  {}", f.kind, f.module.name, f.line, f.old, f.new.trim()));
        }
        *table.entry(f.kind).or_default().entry(how.unwrap_or_else(|| "missed".into())).or_default() += 1;
    }
    for (kind, how) in &table {
        println!("{kind:?}: {how:?}");
    }
    println!("{} faults, {} missed", faults.len(), misses.len());
    misses.iter().for_each(|m| println!("  {m}"));
    if faults.len() < 100 {
        return Err(format!("only {} faults were tried", faults.len()).into());
    }
    // A bound that is off by one is a fault only if an index of some row equals the bound; whether one does depends on the rows as
    // much as on the checks. These are counted apart, and half of them must be caught.
    let missed = |near: bool| misses.iter().filter(|m| m.starts_with("OffByOne") == near).count();
    let tried = |near: bool| faults.iter().filter(|f| (f.kind == Kind::OffByOne) == near).count();
    println!("off by one: {} of {} missed; all others: {} of {}", missed(true), tried(true), missed(false), tried(false));
    if missed(false) * 20 > tried(false) || missed(true) * 2 > tried(true) {
        return Err(format!("too many faults were missed:\n  {}", misses.join("\n  ")).into());
    }
    Ok(())
}

fn main() -> ExitCode {
    let args = Arguments::from_args();
    let built = !kernels::KERNELS.is_empty();
    let name = if built { "faults in the shipped PTX" } else { "faults in the shipped PTX (kernels were not built)" };
    let trial = Trial::test(name, all).with_ignored_flag(!built);
    libtest_mimic::run(&args, vec![trial]).exit_code()
}
