//! Every launch that training the paper's networks makes at 64, 128 and 256 pixels, on the PTX emulator: each op of both stages with
//! the very shapes of its layer (two pictures a batch), both passes, under every check and three schedules of blocks and
//! warps. The first schedule's results are compared with the f64 host pass by the one formula of `docs/numerics.md`, those of the
//! others bit by bit with the first. At 64 pixels convolutions also run with `precision = tf32` and `3xtf32`; at 128 and 256 these
//! two would take longer than all else together; their kernels' tile edges are rows of `tests/kernels.rs`.

mod common;

use std::process::ExitCode;

use common::{Bench, SCHEDULES, agree, bits, epsilon, inputs, normals, terms};
use lae_engine::core::params::ParamStore;
use lae_engine::core::plan::Memory;
use lae_engine::device::emu::{Emulator, Options};
use lae_engine::device::{Device, Precision, kernels};
use lae_engine::ops::Case;
use lae_engine::train::config::TrainConfig;
use lae_engine::train::step::{Networks, Stage1, Stage2};
use libtest_mimic::{Arguments, Failed, Trial};

/// The ops of both stages at this size, each once.
fn rows(size: usize) -> Vec<Case> {
    let set = [format!("size={size}"), "train.batch=2".to_string(), "lae.grid=16".to_string()];
    let c = TrainConfig::resolve("paper", None, &set).unwrap();
    let mut store = ParamStore::new(0);
    let nets = Networks::build(&mut store, &c, &Device::Cpu).unwrap();
    let mut rows = Stage1::new(&c, &nets, &store).unwrap().plan.cases();
    rows.extend(Stage2::new(&c, &nets, &store, 1, 1).unwrap().plan.cases());
    rows
}

fn run(size: usize, case: &Case) -> Result<(), Failed> {
    let x = inputs(case, 22);
    let mut oracle = Bench::<f64>::new(case);
    let u: Vec<f64> = normals(oracle.cotangent_len(), 23, 0).iter().map(|&x| x as f32 as f64).collect();
    let exact = oracle.run(&x, &u);
    drop(oracle);
    let precisions: &[Precision] = match case.op.name() {
        "conv2d" | "conv_transpose2d" if size == 64 => &[Precision::F32, Precision::Tf32, Precision::Tf32x3],
        _ => &[Precision::F32],
    };
    for &precision in precisions {
        let mut first: Option<Vec<u32>> = None;
        for schedule in SCHEDULES {
            let device = Device::Gpu(Emulator::new(Options { schedule, ..Options::default() }), precision);
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

fn main() -> ExitCode {
    let args = Arguments::from_args();
    if kernels::KERNELS.is_empty() {
        let skip = Trial::test("network launches (kernels were not built; see `lae-engine doctor`)", || Ok(()));
        return libtest_mimic::run(&args, vec![skip.with_ignored_flag(true)]).exit_code();
    }
    let mut cases: Vec<(usize, Case)> = Vec::new();
    for size in [64, 128, 256] {
        for case in rows(size) {
            let same = |(_, c): &&(usize, Case)| {
                format!("{:?}", c.op) == format!("{:?}", case.op) && c.inputs == case.inputs && c.wants == case.wants
            };
            if cases.iter().find(same).is_none() {
                cases.push((size, case));
            }
        }
    }
    assert!(cases.len() > 100, "only {} launches", cases.len());
    let trials = cases.into_iter().enumerate().map(|(i, (size, case))| {
        let x = case.inputs.first().map_or(String::new(), |(s, _)| format!(" {s}"));
        Trial::test(format!("{size} px/{i} {} {}{x}", case.label, case.op.name()), move || run(size, &case))
    });
    libtest_mimic::run(&args, trials.collect()).exit_code()
}
