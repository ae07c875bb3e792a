//! Every launch that training the paper's networks makes at 64, 128 and 256 pixels, on the PTX emulator: each op of both stages with
//! the very shapes of its layer (one or two pictures a batch), both passes, against the f64 host pass by the one formula of
//! `docs/numerics.md`, under every check.

mod common;

use std::process::ExitCode;

use common::{Bench, close, inputs, normals, terms};
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

fn run(case: &Case) -> Result<(), Failed> {
    let device = Device::Gpu(Emulator::new(Options::default()), Precision::F32);
    let x = inputs(case, 22);
    let mut oracle = Bench::<f64>::new(case);
    let u: Vec<f64> = normals(oracle.cotangent_len(), 23, 0).iter().map(|&x| x as f32 as f64).collect();
    let exact = oracle.run(&x, &u);
    let ran = Bench::on(&device, case, Memory::Planned)?.try_run(&x, &u)?;
    for ((name, a), (_, b)) in ran.outputs.iter().zip(&exact.outputs) {
        close(name, a, b, f32::EPSILON as f64, terms(case))?;
    }
    for ((i, a), (_, b)) in ran.grads.iter().zip(&exact.grads) {
        close(&format!("dx[{i}]"), a, b, f32::EPSILON as f64, terms(case))?;
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
        Trial::test(format!("{size} px/{i} {} {}{x}", case.label, case.op.name()), move || run(&case))
    });
    libtest_mimic::run(&args, trials.collect()).exit_code()
}
