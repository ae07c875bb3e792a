//! Training on the PTX emulator, step for step beside the CPU: the launches, kernels and buffers of whole training steps.

use lae_engine::core::params::{Arena, ParamStore};
use lae_engine::core::rng::{Rng, stream};
use lae_engine::data::dataset::Batch;
use lae_engine::device::emu::{Emulator, Options};
use lae_engine::device::{Device, Precision, kernels};
use lae_engine::train::config::TrainConfig;
use lae_engine::train::step::{Networks, Stage1, Stage2, Terms, Terms2};

fn config() -> TrainConfig {
    TrainConfig::resolve("smoke", None, &["train.batch=4".to_string()]).unwrap()
}

fn emulator() -> Device {
    Device::Gpu(Emulator::new(Options::default()), Precision::F32)
}

/// Random pictures, half of them true, with a square mask on the fakes.
fn batch(c: &TrainConfig, n: usize, seed: u64) -> Batch {
    let (mut rng, s) = (Rng::new(seed, stream("devices"), 0), c.size);
    let square = |i: usize| (i / s % s > s / 4 && i / s % s < s / 2 && i % s > s / 3) as u8 as f32;
    Batch {
        n,
        size: s,
        x: (0..n * s * s * 3).map(|_| rng.unit()).collect(),
        label_true: (0..n).map(|i| (i < n / 2) as u8 as f32).collect(),
        mask: (0..n * s * s).map(square).collect(),
        ..Batch::default()
    }
}

/// How the steps of a plan are run.
#[derive(Clone, Copy, PartialEq, Debug)]
enum How {
    /// One after the other, always.
    Stepwise,
    /// Looped, recorded, then replayed.
    Recorded,
}

fn stage1(device: &Device, how: How, steps: u64) -> (Vec<Terms>, ParamStore) {
    let c = config();
    let mut store = ParamStore::new(1);
    let nets = Networks::build(&mut store, &c, device).unwrap();
    let mut step = Stage1::new(&c, &nets, &store).unwrap();
    step.plan.stepwise(how == How::Stepwise);
    let terms = (1..=steps).map(|t| step.run(&mut store, &batch(&c, 4, t), t, 1e-3, 2e-4).unwrap()).collect();
    store.pull().unwrap();
    (terms, store)
}

fn stage2(device: &Device, steps: u64) -> (Vec<Terms2>, ParamStore) {
    let c = config();
    let mut store = ParamStore::new(1);
    let nets = Networks::build(&mut store, &c, device).unwrap();
    let mut step = Stage2::new(&c, &nets, &store, 4).unwrap();
    let select = [0.0, 0.0, 1.0, 1.0];
    let terms = (1..=steps).map(|t| step.run(&mut store, &batch(&c, 4, t), &select, t, 1e-4).unwrap()).collect();
    store.pull().unwrap();
    (terms, store)
}

/// `docs/numerics.md`: 8 · ε · √terms · (scale + |b|), where the longest sum is over a batch of pictures and a step inherits the error
/// of the steps before it.
fn close(what: &str, step: usize, a: f64, b: f64) {
    let terms = (4 * 32 * 32 * 64) as f64;
    let bound = 8.0 * f32::EPSILON as f64 * terms.sqrt() * (1.0 + b.abs()) * (step + 1) as f64;
    assert!((a - b).abs() <= bound, "step {}: {what} {a} on the emulator, {b} on the CPU (bound {bound:.1e})", step + 1);
}

#[test]
fn ten_steps_of_stage_1_agree_with_the_cpu() {
    if kernels::KERNELS.is_empty() {
        return eprintln!("SKIP: kernels were not built");
    }
    let (cpu, _) = stage1(&Device::Cpu, How::Recorded, 10);
    let (emu, _) = stage1(&emulator(), How::Recorded, 10);
    for (i, (a, b)) in emu.iter().zip(&cpu).enumerate() {
        for (what, a, b) in [
            ("loss", a.total, b.total),
            ("latent", a.latent, b.latent),
            ("pixel", a.pixel, b.pixel),
            ("perceptual", a.perceptual, b.perceptual),
            ("adversarial", a.adversarial, b.adversarial),
            ("discriminator", a.discriminator, b.discriminator),
        ] {
            close(what, i, a, b);
        }
    }
    assert!(cpu.windows(2).all(|w| w[0] != w[1]), "training changes the loss");
}

#[test]
fn ten_steps_of_stage_2_agree_with_the_cpu() {
    if kernels::KERNELS.is_empty() {
        return eprintln!("SKIP: kernels were not built");
    }
    let (cpu, _) = stage2(&Device::Cpu, 10);
    let (emu, _) = stage2(&emulator(), 10);
    for (i, (a, b)) in emu.iter().zip(&cpu).enumerate() {
        for (what, a, b) in [("loss", a.total, b.total), ("latent", a.latent, b.latent), ("attention", a.attention, b.attention)]
        {
            close(what, i, a, b);
        }
    }
    assert!(cpu.windows(2).all(|w| w[0] != w[1]), "training changes the loss");
}

#[test]
fn stepwise_and_recorded_runs_agree_to_the_bit() {
    if kernels::KERNELS.is_empty() {
        return eprintln!("SKIP: kernels were not built");
    }
    let (a, b) = (stage1(&emulator(), How::Stepwise, 4), stage1(&emulator(), How::Recorded, 4));
    assert_eq!(a.0, b.0);
    for arena in [Arena::Weights, Arena::Grads, Arena::M, Arena::V, Arena::Running] {
        let bits = |s: &ParamStore| s.arena(arena).iter().map(|x| x.to_bits()).collect::<Vec<_>>();
        assert!(bits(&a.1) == bits(&b.1), "{arena:?} differ");
    }
}
