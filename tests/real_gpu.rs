//! On a real GPU, where there is one: what `tests/op_kernels.rs` and `tests/network_launches.rs` ask of the PTX emulator.
//!
//! `kernels/OP/ROW` and `64 px/LAYER`, `128 px/…`, `256 px/…` run a row of the case tables, or an op of training with two pictures,
//! once step by step, once recorded and once replayed, and ask:
//!
//! * does each output of both passes agree with the f64 host pass, by the one formula of `docs/numerics.md`?
//! * do all three runs give the same bits?
//! * does the emulator give these bits, with the tensor cores' arithmetic of that GPU? (No kernel uses approximate instructions,
//!   whose values are the hardware's own.)
//!
//! Convolutions run with `precision` f32, tf32 and 3xtf32, ops that take bf16 in bf16, too. On Hopper those in tf32 take the kernels for
//! sm_90a where these are faster, with `LAE_SM90A=always` wherever sizes allow it, and the emulator takes the same. Most of the time is
//! the emulator's and the f64 pass's. Without a GPU nothing runs, and the list says so.

mod common;

use std::process::ExitCode;

use common::{Bench, agree, bits, convolves, emulator, epsilon, inputs, network_cases, normals, oracle, terms};
use lae_engine::core::case::Case;
use lae_engine::core::plan::Memory;
use lae_engine::device::emu::Options;
use lae_engine::device::{Device, Precision};
use lae_engine::ops::OPS;
use lae_engine::ptx::{Checks, Tensor};
use libtest_mimic::{Arguments, Failed, Trial};

/// A thread's own driver, so that a recording holds the launches of one row.
fn gpu() -> Device {
    thread_local!(static OPEN: Device = Device::choose("cuda").expect("it was there before").0);
    OPEN.with(Device::clone)
}

/// `like`: the tensor cores that the emulator is to copy; none if it has no model of them.
fn row(case: &Case, precision: Precision, like: Option<Tensor>) -> Result<(), Failed> {
    let x = inputs(case, 22);
    let values = Bench::<f64>::new(case).cotangent_len();
    let u: Vec<f64> = normals(values, 23, 0).iter().map(|&x| x as f32 as f64).collect();
    let exact = oracle(case, &x, &u);
    let Device::Gpu(driver, _) = gpu() else { unreachable!("a GPU was asked for") };
    let hopper = driver.sm_90a().ok();
    let mut bench = Bench::on(&Device::Gpu(driver, precision), case, Memory::Planned)?;
    let mut first: Option<Vec<u32>> = None;
    for how in ["looped", "recorded", "replayed"] {
        let ran = bench.try_run(&x, &u).map_err(|e| format!("{how}: {e}"))?;
        match &first {
            Some(first) if *first != bits(&ran) => return Err(format!("{how}: other bits than the first run").into()),
            Some(_) => continue,
            None => first = Some(bits(&ran)),
        }
        agree(&ran, &exact, epsilon(precision), terms(case))?;
    }
    if let Some(tensor) = like {
        let checks = Checks { init: false, race: false, tf32: false };
        let options = Options { checks, tensor, ..Options::default() };
        let emulated =
            bits(&Bench::on(&Device::Gpu(emulator(options, hopper), precision), case, Memory::Planned)?.try_run(&x, &u)?);
        let gpu = first.expect("ran above");
        let zero = |x: u32| if f32::from_bits(x) == 0.0 { 0 } else { x };
        let other: Vec<usize> = (0..gpu.len()).filter(|&i| zero(gpu[i]) != zero(emulated[i])).collect();
        if let Some(&i) = other.first() {
            let [a, b] = [gpu[i], emulated[i]].map(f32::from_bits);
            let of = gpu.len();
            return Err(
                format!("{} of {of} values have other bits on the emulator; [{i}] is {a:e}, there {b:e}", other.len()).into()
            );
        }
    }
    Ok(())
}

fn main() -> ExitCode {
    let args = Arguments::from_args();
    let why = match Device::choose("cuda") {
        Ok((_, why)) => why,
        Err(e) => {
            let skip = Trial::test(format!("nothing runs: {e}"), || Ok(())).with_ignored_flag(true);
            return libtest_mimic::run(&args, vec![skip]).exit_code();
        }
    };
    println!("{why}");
    // Tensor cores that the emulator has no model of are compared with f64 alone.
    let models = [("sm_80", Tensor::Ampere), ("sm_86", Tensor::Ampere), ("sm_87", Tensor::Ampere), ("sm_90", Tensor::Hopper)];
    let tensor = models.into_iter().find(|(sm, _)| why.contains(sm)).map(|t| t.1);
    let mut rows: Vec<(String, Case)> = Vec::new();
    for (op, table) in OPS {
        let table = table().into_iter().enumerate().filter(|(_, c)| c.bench.is_none());
        rows.extend(table.map(|(i, c)| (format!("kernels/{op}/{i} {}", c.label), c)));
    }
    for (i, (size, c)) in network_cases().into_iter().enumerate() {
        let x = c.inputs.first().map_or(String::new(), |(s, _)| format!(" {s}"));
        rows.push((format!("{size} px/{i} {} {}{x}", c.label, c.op.name()), c));
    }
    let mut trials = Vec::new();
    for (name, halved) in rows.iter().filter_map(|(name, c)| Some((format!("{name} bf16"), c.halved()?))) {
        let like = if convolves(&halved) { tensor } else { Some(Tensor::Ideal) };
        trials.push(Trial::test(name, move || row(&halved, Precision::Bf16, like)));
    }
    for (name, case) in rows {
        let all = [(Precision::F32, ""), (Precision::Tf32, " tf32"), (Precision::Tf32x3, " 3xtf32")];
        for (precision, word) in all.into_iter().take(if convolves(&case) { 3 } else { 1 }) {
            // Operands in bf16 go to the tensor cores whatever the precision.
            let plain = precision == Precision::F32 && !case.op.name().ends_with("_bf16");
            let like = if plain { Some(Tensor::Ideal) } else { tensor };
            let case = case.clone();
            trials.push(Trial::test(format!("{name}{word}"), move || row(&case, precision, like)));
        }
    }
    assert!(trials.len() > 200, "only {} rows", trials.len());
    libtest_mimic::run(&args, trials).exit_code()
}
