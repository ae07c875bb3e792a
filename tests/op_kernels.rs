//! Every row of the ops' case tables on the PTX emulator: the kernels that this build ships, with the launches that the ops make.
//!
//! `kernels/OP/ROW` runs the row three times through one plan (as a loop, recorded, replayed) under each schedule of warps and
//! blocks, every check switched on, and asks:
//!
//! * does each output of both passes agree with the f64 host pass, by the one formula of `docs/numerics.md`?
//! * do all runs and all schedules give the same bits?
//! * did any check report anything? (A report is an error of the run.)
//!
//! Rows of convolutions also run with `precision = tf32` and `3xtf32`, and in `tf32` on the kernels for sm_90a where sizes allow it, as do
//! those of convolutions of bf16; ops that take bf16 run in bf16, too: all rows of those with kernels for it, some of the others.
//!
//! `bits/OP/ROW`: ops whose kernels promise the host's bits (f32) keep the promise.
//!
//! `traffic/OP`: kernels that stream move at most 1.1 times the bytes that they must, and no access to shared memory waits for another.

mod common;

use std::process::ExitCode;

use common::{Bench, SCHEDULES, agree, bits, close, emulator, epsilon, inputs, normals, on_hopper, oracle, terms};
use lae_engine::core::case::Case;
use lae_engine::core::op::Pass;
use lae_engine::core::plan::Memory;
use lae_engine::device::emu::{Emulator, Options};
use lae_engine::device::{Device, Hopper, Precision, kernels};
use lae_engine::ops::OPS;
use libtest_mimic::{Arguments, Failed, Trial};

fn row(case: &Case, precision: Precision, hopper: Option<Hopper>) -> Result<(), Failed> {
    let x = inputs(case, 22);
    let values = Bench::<f64>::new(case).cotangent_len();
    let u: Vec<f64> = normals(values, 23, 0).iter().map(|&x| x as f32 as f64).collect();
    let exact = oracle(case, &x, &u);
    let mut first: Option<Vec<u32>> = None;
    for schedule in SCHEDULES {
        let options = Options { schedule, ..Options::default() };
        let device = Device::Gpu(emulator(options, hopper), precision);
        let mut bench = Bench::on(&device, case, Memory::Planned)?;
        for how in ["looped", "recorded", "replayed"] {
            let ran = bench.try_run(&x, &u).map_err(|e| format!("{schedule:?}, {how}: {e}"))?;
            let found = bits(&ran);
            match &first {
                Some(bits) if *bits != found => return Err(format!("{schedule:?}, {how}: other bits than the first run").into()),
                Some(_) => continue,
                None => first = Some(found),
            }
            agree(&ran, &exact, epsilon(precision), terms(case))?;
        }
    }
    Ok(())
}

/// Ops whose kernels compute what the host does, in its order and without contraction.
const HOST_BITS: &[&str] = &[
    "activation",
    "adam",
    "add",
    "affine",
    "avg_pool",
    "cast",
    "concat",
    "dropout",
    "fill",
    "max_pool",
    "mix",
    "nearest",
    "noise",
    "project_filter",
    "select_half",
    "sgd",
];

fn host_bits(case: &Case) -> Result<(), Failed> {
    let (mut x, mut host) = (inputs(case, 24), Bench::<f32>::new(case));
    let u: Vec<f64> = normals(host.cotangent_len(), 25, 0);
    let device = Device::Gpu(Emulator::new(Options::default()), Precision::F32);
    let mut device = Bench::on(&device, case, Memory::Planned)?;
    for what in ["drawn values", "whole numbers: zeros and ties"] {
        let (a, b) = (device.try_run(&x, &u)?, host.run(&x, &u));
        let zero = |x: u32| if x == (-0f32).to_bits() { 0 } else { x };
        if !bits(&a).into_iter().map(zero).eq(bits(&b).into_iter().map(zero)) {
            return Err(format!("other bits than the host for {what}").into());
        }
        x.iter_mut().flatten().for_each(|x| *x = x.round());
    }
    Ok(())
}

/// A mean of 1000 with a deviation of 1 costs batch norm no digits: E[x²] − E[x]² in f32 would keep one of seven.
fn far_from_zero() -> Result<(), Failed> {
    let rows = lae_engine::ops::batch_norm::cases();
    let rows: Vec<&Case> = rows.iter().filter(|c| c.bench.is_none() && c.label.starts_with("train")).collect();
    assert!(rows.len() > 5);
    for case in rows {
        let mut x = inputs(case, 26);
        x[0].iter_mut().for_each(|x| *x = (*x + 1000.0) as f32 as f64);
        let (mut oracle, device) = (Bench::<f64>::new(case), Device::Gpu(Emulator::new(Options::default()), Precision::F32));
        let u: Vec<f64> = normals(oracle.cotangent_len(), 27, 0).iter().map(|&x| x as f32 as f64).collect();
        let (a, b) = (Bench::on(&device, case, Memory::Planned)?.try_run(&x, &u)?, oracle.run(&x, &u));
        for ((name, a), (_, b)) in a.outputs.iter().zip(&b.outputs) {
            close(name, a, b, f32::EPSILON as f64, 16.0).map_err(|e| format!("{}: {e}", case.label))?;
        }
    }
    Ok(())
}

/// Ops that stream: nothing that they read is read twice, but for a channel's constants and a block's sums.
fn streams() -> Vec<Case> {
    use lae_engine::core::case::{Sampling::*, case};
    use lae_engine::core::dtype::DType;
    use lae_engine::core::shape::{Shape, shape};
    use lae_engine::ops::*;
    let (s, wide, pictures, flat) = (shape(4, 32, 32, 64), shape(2, 16, 16, 512), shape(4, 64, 64, 3), Shape::vector(100_000));
    let norm = |s: Shape| {
        let c = Shape::vector(s.c as usize);
        [(s, Normal), (c, Positive), (c, Normal), (c, Normal), (c, Positive)]
    };
    let colours = affine::Affine { scale: vec![1.0, 2.0, 3.0], shift: vec![0.5; 3] };
    let adam = adam::Adam { beta1: 0.9, beta2: 0.999, eps: 1e-8 };
    let moments = [(flat, Normal), (Shape::vector(2), Positive), (flat, Normal), (flat, Normal), (flat, Positive)];
    let train = |slope| batch_norm::BatchNormTrain { eps: 1e-5, momentum: 0.1, slope };
    let pool = max_pool::MaxPool { kernel: 2, stride: 2, pad: 0, ceil: false };
    let depthwise = |groups, pad| conv2d::Conv2d { groups, ..conv2d::Conv2d::new(1, pad) };
    let noise = noise::Noise { seed: 1, max_sigma: 5.0, clip: true };
    let halved = |c: Case| c.halved().expect("the op takes bf16");
    vec![
        case("relu", activation::Activation::Relu, &[(s, OffZero)]),
        case("adam", adam, &moments),
        case("add", add::Add, &[(s, Normal), (s, Normal)]),
        case("affine", colours, &[(pictures, Normal)]),
        case("batch_norm train relu", train(0.0), &norm(s)),
        case("batch_norm train", train(1.0), &norm(wide)),
        case("batch_norm eval", batch_norm::BatchNormEval { eps: 1e-5, slope: 1.0 }, &norm(s)),
        case("bce_logits", bce_logits::BceLogits { target: None }, &[(s, Normal), (s, Binary)]),
        case("dropout", dropout::Dropout { p: 0.5, seed: 1, stream: 2 }, &[(s, Normal), (Shape::SCALAR, Counter)]),
        case("cast to bf16", cast::Cast { to: DType::Bf16 }, &[(s, Normal)]),
        case("cast to f32", cast::Cast { to: DType::F32 }, &[(s, Normal)]).dtypes(&[DType::Bf16]),
        case("relu bf16", activation::Activation::Relu, &[(s, OffZero)]).dtypes(&[DType::Bf16]),
        case("add bf16", add::Add, &[(s, Normal), (s, Normal)]).dtypes(&[DType::Bf16; 2]),
        halved(case("batch_norm train relu", train(0.0), &norm(s))),
        halved(case("batch_norm eval", batch_norm::BatchNormEval { eps: 1e-5, slope: 1.0 }, &norm(s))),
        halved(case("concat", concat::Concat, &[(shape(4, 32, 32, 32), Normal), (s, Normal)])),
        halved(case("max_pool", max_pool::MaxPool { kernel: 2, stride: 2, pad: 0, ceil: false }, &[(s, Distinct)])),
        case("concat", concat::Concat, &[(shape(4, 32, 32, 32), Normal), (s, Normal)]),
        case("depthwise", depthwise(64, 1), &[(s, Normal), (shape(64, 3, 3, 1), Normal)]),
        case("depthwise 5x5", depthwise(512, 2), &[(wide, Normal), (shape(512, 5, 5, 1), Normal)]),
        // No stream, and small enough not to be asked: its shared memory is.
        case(
            "linear",
            linear::Linear,
            &[(shape(40, 1, 1, 36), Normal), (shape(43, 1, 1, 36), Normal), (Shape::vector(43), Normal)],
        ),
        case("l1", difference::Difference::L1, &[(s, Normal), (s, Normal)]),
        case("global_avg_pool", global_avg_pool::GlobalAvgPool, &[(wide, Normal)]),
        case("lrn", lrn::Lrn { size: 5, alpha: 1e-4, beta: 0.75, k: 1.0 }, &[(s, Normal)]),
        case("lrn in tiles", lrn::Lrn { size: 5, alpha: 1e-4, beta: 0.75, k: 1.0 }, &[(wide, Normal)]),
        case("max_pool", pool, &[(s, Distinct)]),
        case("moments_pool", moments_pool::MomentsPool, &[(wide, Distinct)]),
        case("mix", mix::Mix { weights: mix::LUMA }, &[(pictures, Normal)]),
        case("nearest", nearest::Nearest { factor: 2 }, &[(s, Normal)]),
        case("noise", noise, &[(pictures, Positive), (Shape::SCALAR, Counter)]),
        case("select_half", select_half::SelectHalf, &[(s, Normal), (shape(4, 1, 1, 1), Binary)]),
        case("softmax", softmax::Softmax { temperature: 1.0 }, &[(shape(2, 16, 13, 81), Normal)]),
    ]
}

fn traffic(case: &Case) -> Result<(), Failed> {
    let emulator = Emulator::new(Options { counters: true, ..Options::default() });
    emulator.keep_reports();
    let mut bench = Bench::on(&Device::Gpu(emulator.clone(), Precision::F32), case, Memory::Planned)?;
    let u = normals(bench.cotangent_len(), 29, 0);
    bench.try_run(&inputs(case, 28), &u)?;
    let launches = emulator.take_reports();
    assert!(!launches.is_empty());
    for l in launches {
        let c = &l.report.counters;
        let (moved, must) = (c.moved_bytes(), c.read.bytes + c.written.bytes);
        // Launches of a few kilobytes (seeds, totals) are no streams: a sector for one number is eight times too much.
        if must > 64 * 1024 && moved as f64 > 1.1 * must as f64 {
            return Err(format!("{} moves {moved} bytes where {must} would do", l.kernel.name).into());
        }
        if c.conflicts() > 0 {
            return Err(format!("{}: {} bank conflicts", l.kernel.name, c.conflicts()).into());
        }
    }
    Ok(())
}

fn main() -> ExitCode {
    let args = Arguments::from_args();
    if kernels::KERNELS.is_empty() {
        // Nothing to run is not a pass: the gate builds with LAE_CUDA=require and never comes here.
        let skip = Trial::test("kernels (not built: no nvcc; see `lae-engine doctor`)", || Ok(())).with_ignored_flag(true);
        return libtest_mimic::run(&args, vec![skip]).exit_code();
    }
    let mut trials = Vec::new();
    for (op, table) in OPS {
        for (i, case) in table().into_iter().enumerate().filter(|(_, c)| c.bench.is_none()) {
            let precisions: &[Precision] = match *op {
                "conv2d" | "conv_transpose2d" => &[Precision::F32, Precision::Tf32, Precision::Tf32x3],
                _ => &[Precision::F32],
            };
            for &p in precisions {
                let name = format!("kernels/{op}/{i} {}{}", case.label, if p == Precision::F32 { "" } else { " tf" });
                let name = if p == Precision::Tf32x3 { name.replace(" tf", " 3xtf32") } else { name.replace(" tf", " tf32") };
                let case = case.clone();
                trials.push(Trial::test(name, move || row(&case, p, None)));
            }
            // Most rows of that label are many channels for a tile of the kernels for sm_80.
            let wide = case.label.starts_with("128x64 tiles, ") && !case.label.contains(" 125 pixels");
            let hopper = match *op {
                "conv2d" | "conv_transpose2d" if !wide => Some((Precision::Tf32, " tf32")),
                "conv_bf16" => Some((Precision::F32, "")),
                _ => None,
            };
            if let Some((precision, word)) = hopper.filter(|_| on_hopper(&case)) {
                let name = format!("kernels/{op}/{i} {}{word} sm_90a", case.label);
                trials.push(Trial::test(name, move || row(&case, precision, Some(Hopper::WherePossible))));
            }
        }
    }
    // In bf16: every row of the ops that have kernels for it, and of others a few, as theirs run between casts.
    for (op, table) in OPS {
        let rows: Vec<Case> = table().iter().filter(|c| c.bench.is_none()).filter_map(Case::halved).collect();
        let own = |c: &Case| c.op.half_on_gpu(Pass::Forward, &c.inputs.iter().map(|i| i.0).collect::<Vec<_>>());
        let some = rows.len().div_ceil(6);
        for (i, case) in rows.into_iter().enumerate().filter(|(i, c)| own(c) || i % some == 0) {
            trials.push(Trial::test(format!("kernels/{op}/{i} {}", case.label), move || row(&case, Precision::Bf16, None)));
        }
    }
    for (op, table) in OPS.iter().filter(|(op, _)| HOST_BITS.contains(op)) {
        let rows: Vec<Case> = table().into_iter().filter(|c| c.bench.is_none()).collect();
        let halved: Vec<Case> = rows.iter().filter_map(Case::halved).collect();
        for (i, case) in rows.into_iter().chain(halved).enumerate() {
            trials.push(Trial::test(format!("bits/{op}/{i} {}", case.label), move || host_bits(&case)));
        }
    }
    trials.push(Trial::test("batch_norm/far from zero", far_from_zero));
    trials.extend(streams().into_iter().map(|case| Trial::test(format!("traffic/{}", case.label), move || traffic(&case))));
    assert!(trials.len() > 80, "only {} rows", trials.len());
    libtest_mimic::run(&args, trials).exit_code()
}
