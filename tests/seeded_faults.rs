//! Faults put into the shipped PTX, one at a time: a barrier or a wait deleted, a bound ignored or off by one, a guard removed, a
//! shuffle's distance or an offset changed. At least 95 % must be caught, by a check of the
//! emulator or by a wrong value. In kernels for sm_90a: a fence, a commit, an arrival, a copy or a product deleted, the wait of a
//! barrier deleted or given another parity, other bytes announced, a descriptor's offset, stride or swizzle changed.
//!
//! A fault is put only where some row of the case tables executes it; the rows that do are tried in turn, cheapest first. What is
//! not caught is printed with its line; docs/emulator.md explains the misses. `LAE_FAULTS=N` sets how many faults of a kind each
//! module gets (6; `all` takes minutes), `cargo test --test seeded_faults -- --nocapture` shows what was missed.
//!
//! Changes that cannot alter any result are no faults. They are listed (`HARMLESS`), and tried as well: one that is caught, or that
//! is no longer there, fails the test.

mod common;

use std::collections::BTreeMap;
use std::process::ExitCode;

use common::{Bench, Ran, agree, emulator, epsilon, inputs, normals, on_hopper, terms};
use lae_engine::core::case::Case;
use lae_engine::core::plan::Memory;
use lae_engine::device::emu::{Emulator, Options};
use lae_engine::device::{Device, Hopper, Precision, kernels};
use lae_engine::error::Error;
use lae_engine::ops::OPS;
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
    /// Of sm_90a: makes barriers known to copies, orders registers before products.
    Fence,
    Commit,
    ProductWait,
    Product,
    Copy,
    Arrival,
    /// The wait for a barrier that holds nobody.
    BarrierWait,
    Parity,
    Bytes,
    /// The place, the distance of groups of rows or the swizzle in a descriptor of a tile.
    Descriptor,
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
    let gone = [
        ("wgmma.fence", Kind::Fence),
        ("fence.mbarrier_init", Kind::Fence),
        ("fence.proxy", Kind::Fence),
        ("wgmma.commit_group", Kind::Commit),
        ("wgmma.wait_group", Kind::ProductWait),
        ("wgmma.mma_async", Kind::Product),
        ("cp.async.bulk.tensor", Kind::Copy),
        ("mbarrier.arrive.shared", Kind::Arrival),
    ];
    if let Some((_, kind)) = gone.iter().find(|(word, _)| code.starts_with(word)) {
        put(*kind, String::new());
    }
    if let Some((head, parity)) = code.strip_prefix("mbarrier.try_wait.parity").and_then(|c| c.rsplit_once(", ")) {
        let p = head.split_whitespace().nth(1).unwrap_or_default().trim_end_matches(',');
        put(Kind::BarrierWait, format!("setp.eq.u32 {p}, 0, 0;"));
        for other in ["0;", "1;"].into_iter().filter(|o| *o != parity) {
            put(Kind::Parity, format!("mbarrier.try_wait.parity{head}, {other}"));
        }
    }
    if let Some((head, _)) = code.strip_prefix("mbarrier.arrive.expect_tx").and_then(|c| c.rsplit_once(", ")) {
        for bytes in [4096, 1 << 20, 0] {
            put(Kind::Bytes, format!("mbarrier.arrive.expect_tx{head}, {bytes};"));
        }
    }
    // Descriptors have bit 62 set, for the swizzle of 128 bytes, and the distance of groups of rows from bit 32 on.
    if let Some((head, n)) = code.strip_prefix("or.b64").and_then(|c| c.trim_end_matches(';').rsplit_once(", "))
        && let Ok(n) = n.parse::<u64>()
        && n >> 62 == 1
    {
        // Factors that lie across have a distance of their pieces, too, from bit 16 on; for others it stands for nothing.
        let pieces = (n >> 16 & 0x3fff > 1).then_some(n ^ 64 << 16);
        for other in [n ^ 2, n + 8, n ^ 1 << 32, n ^ 1 << 62, n ^ 3 << 62].into_iter().chain(pieces) {
            put(Kind::Descriptor, format!("or.b64{head}, {other};"));
        }
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

/// Lines of kernels/ where a change alters no result: the file, how the line begins, which changes, and why.
const HARMLESS: &[(&str, &str, &[Kind], &str)] = &[
    (
        "conv_gemm.cuh",
        "if (i + STAGES - 1 < steps) a.copy(",
        &[Kind::Bound, Kind::OffByOne],
        "copies behind the last step are of size zero; not to start them saves time",
    ),
    (
        "cam_attention.cu",
        "for (unsigned first = t / 32 * 4; first < c.",
        &[Kind::OffByOne],
        "four rows that are all past the end are worked out and dropped, as those of a last, ragged four are",
    ),
    (
        "conv_gemm.cuh",
        "if (m >= rows) return;",
        &[Kind::Bound, Kind::OffByOne],
        "a tile behind the last row copies zeros and stores nothing; not to compute it saves time",
    ),
];

/// For each line of PTX, the line of kernels/ that it comes from, by `.loc`: file, number, text. Empty where nvcc names none.
fn origins(ptx: &str) -> Vec<(String, usize, String)> {
    let name = |path: &str| path.rsplit('/').next().unwrap_or(path).trim_matches('"').to_string();
    let files: BTreeMap<&str, String> = ptx
        .lines()
        .filter_map(|l| l.trim().strip_prefix(".file")?.trim().split_once(char::is_whitespace))
        .map(|(i, path)| (i, name(path.split('"').nth(1).unwrap_or(path))))
        .collect();
    let texts: BTreeMap<&String, Vec<String>> = files
        .values()
        .filter_map(|f| Some((f, std::fs::read_to_string(format!("{}/kernels/{f}", env!("CARGO_MANIFEST_DIR"))).ok()?)))
        .map(|(f, text)| (f, text.lines().map(|l| l.trim().to_string()).collect()))
        .collect();
    let mut at = Default::default();
    let each = ptx.lines().map(|l| {
        let mut words = l.split_whitespace();
        if words.next() == Some(".loc")
            && let (Some(file), Some(Ok(line))) = (words.next().and_then(|f| files.get(f)), words.next().map(str::parse::<usize>))
        {
            let text = texts.get(file).and_then(|t| t.get(line.wrapping_sub(1))).cloned().unwrap_or_default();
            at = (file.clone(), line, text);
        }
        at.clone()
    });
    each.collect()
}

/// A row of the tables with its right answer.
struct Row {
    case: Case,
    precision: Precision,
    /// On the kernels for sm_90a.
    hopper: bool,
    x: Vec<Vec<f64>>,
    u: Vec<f64>,
    exact: Ran,
    /// Values of all inputs: the cost.
    size: usize,
}

impl Row {
    fn new(case: Case, precision: Precision, hopper: bool) -> Row {
        let x = inputs(&case, 22);
        let mut oracle = Bench::<f64>::new(&case);
        let u: Vec<f64> = normals(oracle.cotangent_len(), 23, 0).iter().map(|&x| x as f32 as f64).collect();
        let exact = oracle.run(&x, &u);
        let size = x.iter().map(Vec::len).sum();
        Row { case, precision, hopper, x, u, exact, size }
    }

    fn emulator(&self, options: Options) -> std::sync::Arc<Emulator> {
        emulator(options, self.hopper.then_some(Hopper::WherePossible))
    }

    fn run(&self, emulator: &std::sync::Arc<Emulator>) -> Result<Ran, Error> {
        let device = Device::Gpu(emulator.clone(), self.precision);
        Bench::on(&device, &self.case, Memory::Planned)?.try_run(&self.x, &self.u)
    }

    fn check(&self, ran: &Ran) -> Result<(), String> {
        agree(ran, &self.exact, epsilon(self.precision), terms(&self.case))
    }
}

fn rows() -> Vec<Row> {
    let mut out = Vec::new();
    for (op, table) in OPS {
        for case in table().into_iter().filter(|c| c.bench.is_none()) {
            if matches!(*op, "conv2d" | "conv_transpose2d") {
                out.push(Row::new(case.clone(), Precision::Tf32, false));
                out.push(Row::new(case.clone(), Precision::Tf32x3, false));
                if on_hopper(&case) {
                    out.push(Row::new(case.clone(), Precision::Tf32, true));
                }
            }
            if *op == "conv_bf16" && on_hopper(&case) {
                out.push(Row::new(case.clone(), Precision::F32, true));
            }
            out.push(Row::new(case, Precision::F32, false));
        }
    }
    out.sort_by_key(|r| r.size);
    out
}

/// For each line of each module that a row executes: the rows that do, cheapest first.
type Coverage = BTreeMap<(&'static str, u32), Vec<usize>>;

fn coverage(rows: &[Row]) -> Coverage {
    let mut seen = Coverage::new();
    for (i, row) in rows.iter().enumerate() {
        let emulator = row.emulator(Options { counters: true, ..Options::default() });
        emulator.keep_reports();
        let ran = row.run(&emulator).unwrap_or_else(|e| panic!("{}: {e}", row.case.label));
        row.check(&ran).unwrap_or_else(|e| panic!("{} is wrong without any fault: {e}", row.case.label));
        for l in emulator.take_reports() {
            // Rows of other ops end in a scalar product that nobody looks at.
            if l.kernel.module.name == "dot" && row.case.op.name() != "dot" {
                continue;
            }
            for e in &l.report.profile {
                let rows = seen.entry((l.kernel.module.name, e.line)).or_default();
                if rows.last() != Some(&i) {
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
    /// The line of kernels/: file, number, text.
    origin: (String, usize, String),
    /// The entry of `HARMLESS`.
    harmless: Option<usize>,
}

/// An even choice of the faults that can be executed: at most `most` of a kind and module, and a third as many of the harmless ones
/// (which run all their rows).
fn choose(seen: &Coverage, most: usize) -> Vec<Fault> {
    let mut out = Vec::new();
    for module in kernels::MODULES.iter() {
        let mut kinds: BTreeMap<(Kind, Option<usize>), Vec<Fault>> = BTreeMap::new();
        let lines: Vec<&str> = module.ptx.lines().collect();
        let origins = origins(module.ptx);
        for (i, &old) in lines.iter().enumerate() {
            let line = i as u32 + 1;
            if seen.contains_key(&(module.name, line)) {
                let code = |l: &&&str| !l.trim().is_empty() && !l.trim().starts_with(['.', '/', '$']);
                let next = lines[i + 1..].iter().find(code).map_or("", |l| l.trim());
                let before = lines[..i].iter().rev().find(code).map_or("", |l| l.trim());
                for (kind, new) in faults(before, old, next) {
                    let origin = origins[i].clone();
                    let listed =
                        |h: &(&str, &str, &[Kind], &str)| h.0 == origin.0 && origin.2.starts_with(h.1) && h.2.contains(&kind);
                    let harmless = HARMLESS.iter().position(listed);
                    let f = Fault { module, line, kind, old: old.trim().to_string(), new, origin, harmless };
                    kinds.entry((kind, harmless)).or_default().push(f);
                }
            }
        }
        for ((_, harmless), list) in kinds {
            let most = if harmless.is_some() { most.div_ceil(3) } else { most };
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
        let emulator = rows[i].emulator(Options { budget: 30_000_000, ..Options::default() });
        if let Err(e) = emulator.replace_module(f.module, &text) {
            panic!("{} line {}: {:?} is no PTX: {e}", f.module.name, f.line, f.new);
        }
        match rows[i].run(&emulator) {
            Err(Error::Launch { why, .. }) => return Some(why.split([':', ' ']).next().unwrap_or("?").to_string()),
            Err(e) => return Some(e.to_string()),
            Ok(ran) if rows[i].check(&ran).is_err() => return Some("value".to_string()),
            Ok(_) => {}
        }
    }
    None
}

fn all() -> Result<(), Failed> {
    let most = match std::env::var("LAE_FAULTS") {
        Ok(n) if n == "all" => usize::MAX,
        Ok(n) => n.parse().map_err(|_| format!("LAE_FAULTS={n}: a number or `all`"))?,
        Err(_) => 6,
    };
    let rows = rows();
    let seen = coverage(&rows);
    let mut table: BTreeMap<Kind, BTreeMap<String, usize>> = BTreeMap::new();
    let (mut tried, mut misses, mut harmless, mut wrong) = (0, Vec::new(), vec![0; HARMLESS.len()], Vec::new());
    for f in choose(&seen, most) {
        let how = caught(&f, &rows, &seen);
        let ((file, number, text), new) = (&f.origin, f.new.trim());
        let what = format!("{:?}: {} line {}: {}  →  {new}    {file}:{number} {text}", f.kind, f.module.name, f.line, f.old);
        match (f.harmless, how) {
            (Some(i), None) => harmless[i] += 1,
            (Some(_), Some(how)) => wrong.push(format!("listed as harmless, but caught ({how}): {what}")),
            (None, how) => {
                tried += 1;
                if how.is_none() {
                    misses.push(what);
                }
                *table.entry(f.kind).or_default().entry(how.unwrap_or_else(|| "missed".into())).or_default() += 1;
            }
        }
    }
    for (kind, how) in &table {
        println!("{kind:?}: {} tried, {how:?}", how.values().sum::<usize>());
    }
    println!("{tried} faults, {} missed; {} harmless changes", misses.len(), harmless.iter().sum::<usize>());
    misses.iter().for_each(|m| println!("  {m}"));
    for (h, _) in HARMLESS.iter().zip(&harmless).filter(|(_, n)| **n == 0) {
        wrong.push(format!("listed as harmless, but not there: {}: {}", h.0, h.1));
    }
    if !wrong.is_empty() {
        return Err(wrong.join("\n  ").into());
    }
    if tried < 400 {
        return Err(format!("only {tried} faults were tried").into());
    }
    if misses.len() * 20 > tried {
        return Err(format!("{} of {tried} faults were missed:\n  {}", misses.len(), misses.join("\n  ")).into());
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
