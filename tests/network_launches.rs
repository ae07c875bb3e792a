//! Every launch that training the paper's networks makes at 64, 128 and 256 pixels, on the PTX emulator: each op of both stages
//! with the very shapes of its layer, both passes, under every check and three schedules of blocks and warps; convolutions with
//! `precision` f32, tf32 and 3xtf32. The same of the baselines at the paper's 256 pixels, the lighter ones; the others on demand.
//! The first schedule's results are compared with the f64 host pass by the one formula of `docs/numerics.md`, those of the others
//! bit by bit with the first.
//!
//! Convolutions of more than 50 million multiply-adds run under one of the schedules, which take turns: the same kernels run under
//! all three in the rows of `tests/op_kernels.rs`. `cargo test --test network_launches -- --ignored` has them run under the others.
//!
//! A batch has two pictures. Convolutions at 128 and 256 pixels have one, but for those that with two launch a kernel which large
//! batches launch and no other row does; a test of its own asks whether any kernel of such batches is left out. A precision that
//! launches the same kernels for a layer as another one does not run them again. The convolutions and linear layers of the paper's
//! training run on the kernels for sm_90a as well, in tf32 and in bf16, where sizes allow it: at 64 pixels; those of more than 50 million
//! multiply-adds, and all at 128 and 256 pixels, on demand.

mod common;

use std::collections::BTreeSet;
use std::process::ExitCode;

use common::{
    Bench, SCHEDULES, agree, baseline_cases, bits, convolves, emulator, epsilon, inputs, kernels, network_cases, normals,
    on_hopper, terms,
};
use lae_engine::core::case::Case;
use lae_engine::core::op::Pass;
use lae_engine::core::plan::Memory;
use lae_engine::core::shape::Shape;
use lae_engine::device::emu::{Options, Schedule};
use lae_engine::device::kernels::KERNELS;
use lae_engine::device::{Device, Hopper, Precision};
use lae_engine::ops::conv_bf16::in_bf16;
use libtest_mimic::{Arguments, Failed, Trial};

const PRECISIONS: [Precision; 3] = [Precision::F32, Precision::Tf32, Precision::Tf32x3];

/// Those of which each launches other kernels than the ones before it.
fn precisions(case: &Case) -> Vec<Precision> {
    let mut seen: Vec<Kernels> = Vec::new();
    let mut new = |&p: &Precision| {
        let k = kernels(case, p);
        let new = !seen.contains(&k);
        seen.push(k);
        new
    };
    PRECISIONS.into_iter().take(if convolves(case) { 3 } else { 1 }).filter(|p| new(p)).collect()
}

type Kernels = BTreeSet<&'static str>;

/// What the same convolution of `n` pictures launches, in all precisions.
fn of_pictures(case: &Case, n: u32) -> (Case, Kernels) {
    let mut case = case.clone();
    case.inputs[0].0.n = n;
    let kernels = PRECISIONS.iter().flat_map(|&p| kernels(&case, p)).collect();
    (case, kernels)
}

/// A large batch: 64, the paper's, launches the same kernels, but to find that out takes 5 GB.
const LARGE: u32 = 8;

/// Convolutions at more than 64 pixels get one picture if that leaves out no kernel of large batches. Returns what the cases that are
/// not `later` leave out all the same, and how many kernels there are.
fn shrink(cases: &mut [(usize, Case)], later: &[bool]) -> (Kernels, usize) {
    let convolutions = || (0..cases.len()).filter(|&i| convolves(&cases[i].1));
    let full: Kernels = convolutions().flat_map(|i| of_pictures(&cases[i].1, LARGE).1).collect();
    let now = || convolutions().filter(|&i| !later[i]);
    let mut run: Kernels = now().flat_map(|i| of_pictures(&cases[i].1, if cases[i].0 > 64 { 1 } else { 2 }).1).collect();
    let large: Vec<usize> = convolutions().filter(|&i| cases[i].0 > 64).collect();
    for i in large {
        let (one, two) = (of_pictures(&cases[i].1, 1), of_pictures(&cases[i].1, 2));
        if !later[i] && two.1.iter().any(|k| full.contains(k) && !run.contains(k)) {
            run.extend(two.1);
        } else {
            cases[i].1 = one.0;
        }
    }
    (full.difference(&run).copied().collect(), full.len())
}

/// Which kernels of a convolution or linear layer.
#[derive(Clone, Copy, PartialEq)]
enum On {
    /// For sm_80, in all precisions.
    Sm80,
    /// For sm_90a.
    Tf32,
    Bf16,
}

impl On {
    fn word(self) -> &'static str {
        match self {
            On::Sm80 => "",
            On::Tf32 => " sm_90a",
            On::Bf16 => " sm_90a bf16",
        }
    }
    /// The case as these kernels run it, if there is something for them to do.
    fn case(self, case: &Case) -> Option<Case> {
        match self {
            On::Sm80 => Some(case.clone()),
            On::Tf32 => (convolves(case) && on_hopper(case)).then(|| case.clone()),
            On::Bf16 => in_bf16(case).filter(on_hopper),
        }
    }
}

fn run(case: &Case, schedules: &[Schedule], on: On) -> Result<(), Failed> {
    let x = inputs(case, 22);
    let mut oracle = Bench::<f64>::new(case);
    let u: Vec<f64> = normals(oracle.cotangent_len(), 23, 0).iter().map(|&x| x as f32 as f64).collect();
    let exact = oracle.run(&x, &u);
    drop(oracle);
    let (hopper, precisions) = match on {
        On::Sm80 => (None, precisions(case)),
        On::Tf32 => (Some(Hopper::WherePossible), vec![Precision::Tf32]),
        On::Bf16 => (Some(Hopper::WherePossible), vec![Precision::F32]),
    };
    for precision in precisions {
        let mut first: Option<Vec<u32>> = None;
        for &schedule in schedules {
            let options = Options { schedule, ..Options::default() };
            let device = Device::Gpu(emulator(options, hopper), precision);
            let what = |e: String| format!("{precision:?}, {schedule:?}: {e}");
            let ran = Bench::on(&device, case, Memory::Planned)?.try_run(&x, &u).map_err(|e| what(e.to_string()))?;
            match &first {
                Some(first) if *first != bits(&ran) => return Err(what("other bits than the first schedule".into()).into()),
                Some(_) => {}
                None => {
                    agree(&ran, &exact, epsilon(precision), terms(case)).map_err(what)?;
                    first = Some(bits(&ran));
                }
            }
        }
    }
    Ok(())
}

/// Multiply-adds of a forward pass above which a launch runs under one schedule, and one of a baseline not at all but by `--ignored`,
/// so that the gate ends in time.
const HEAVY: u64 = 50_000_000;

fn heavy(case: &Case) -> bool {
    let x: Vec<Shape> = case.inputs.iter().map(|i| i.0).collect();
    let y = case.op.infer("", &x).expect("a recorded op");
    case.op.cost(Pass::Forward, &x, &y).macs > HEAVY
}

fn main() -> ExitCode {
    let args = Arguments::from_args();
    if KERNELS.is_empty() {
        let skip = Trial::test("network launches (kernels were not built; see `lae-engine doctor`)", || Ok(()));
        return libtest_mimic::run(&args, vec![skip.with_ignored_flag(true)]).exit_code();
    }
    let mut cases = network_cases();
    assert!(cases.len() > 100, "only {} launches", cases.len());
    let lae = cases.len();
    let known = cases.clone();
    let new = |c: &Case| !known.iter().any(|(_, k)| k.same_work(c) && k.wants == c.wants);
    cases.extend(baseline_cases().into_iter().filter(|(_, c)| new(c)));
    assert!(cases.len() > lae + 100, "only {} launches of baselines", cases.len() - lae);
    let later: Vec<bool> = cases.iter().enumerate().map(|(i, (_, case))| i >= lae && heavy(case)).collect();
    let (left_out, of) = shrink(&mut cases, &later);
    let mut trials: Vec<Trial> = Vec::new();
    for (i, (size, case)) in cases.into_iter().enumerate() {
        let x = case.inputs.first().map_or(String::new(), |(s, _)| format!(" {s}"));
        let of = if i < lae { "" } else { "baselines " };
        let kinds = if i < lae { &[On::Sm80, On::Tf32, On::Bf16][..] } else { &[On::Sm80] };
        for (on, case) in kinds.iter().filter_map(|&on| Some((on, on.case(&case)?))) {
            let name = format!("{of}{size} px/{i} {} {}{x}{}", case.label, case.op.name(), on.word());
            let (turn, rest): (Vec<_>, Vec<_>) = SCHEDULES.into_iter().enumerate().partition(|(k, _)| k % 3 == i % 3);
            let [turn, rest] = [turn, rest].map(|list| list.into_iter().map(|(_, s)| s).collect::<Vec<_>>());
            // Schedules, whether the name says that they are not all, and whether they run on demand.
            let lists = match (later[i], heavy(&case), on) {
                (true, _, On::Sm80) => vec![(SCHEDULES.to_vec(), "", true)],
                (_, false, On::Sm80) => vec![(SCHEDULES.to_vec(), "", false)],
                (_, true, On::Sm80) => vec![(turn, "", false), (rest, ", the other schedules", true)],
                (_, false, _) => vec![(SCHEDULES.to_vec(), "", size > 64)],
                (_, true, _) => vec![(turn, ", heavy", true), (rest, ", heavy, the other schedules", true)],
            };
            for (schedules, word, ignored) in lists {
                let case = case.clone();
                trials.push(Trial::test(format!("{name}{word}"), move || run(&case, &schedules, on)).with_ignored_flag(ignored));
            }
        }
    }
    trials.push(Trial::test("every kernel of large batches runs", move || {
        if left_out.is_empty() && of > 20 { Ok(()) } else { Err(format!("of {of} kernels, no row launches {left_out:?}").into()) }
    }));
    libtest_mimic::run(&args, trials).exit_code()
}
