//! Training on the PTX emulator, and on a GPU where there is one, step for step beside the CPU: the launches, kernels and buffers of
//! whole training steps.

use lae_engine::core::params::{Arena, ParamStore};
use lae_engine::core::rng::{Rng, stream};
use lae_engine::data::dataset::Batch;
use lae_engine::detectors;
use lae_engine::device::emu::{Emulator, Options};
use lae_engine::device::{Device, Precision, kernels};
use lae_engine::train::TrainConfig;
use lae_engine::train::detector::{Entry, Purpose};
use lae_engine::train::recorder::{Step, Terms};

/// A detector of four pictures a step at the size of the smoke preset.
fn config(detector: &str, precision: &str) -> (&'static Entry, TrainConfig) {
    let set = ["train.batch=4".to_string(), format!("precision={precision}")];
    detectors::resolve(Some(detector), "smoke", None, &set).unwrap()
}

/// A stage's step on `n` pictures, with the store it trains.
fn recorded((detector, precision): (&str, &str), stage: usize, n: usize, device: &Device) -> (Step, ParamStore) {
    let (entry, c) = config(detector, precision);
    let mut store = ParamStore::new(1);
    store.activations = c.activations();
    let device = &device.clone().with_precision(c.precision);
    let d = (entry.build)(&c, &mut store, Purpose::Train).unwrap();
    (detectors::step(&*d, &c, &store, stage, n, device).unwrap(), store)
}

/// What is compared with the CPU.
fn devices() -> Vec<Device> {
    if kernels::KERNELS.is_empty() {
        eprintln!("SKIP: kernels were not built");
        return Vec::new();
    }
    let emulator = Device::Gpu(Emulator::new(Options::default()), Precision::F32);
    let gpu = Device::choose("cuda").inspect_err(|e| eprintln!("the emulator alone: {e}")).ok();
    [emulator].into_iter().chain(gpu.map(|(gpu, _)| gpu)).collect()
}

/// Random pictures, half of them true, with a square mask on the fakes.
fn batch(n: usize, seed: u64) -> Batch {
    let (mut rng, s) = (Rng::new(seed, stream("devices"), 0), 32);
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

fn first_stage(detector: (&str, &str), device: &Device, how: How, steps: u64) -> (Vec<Terms>, ParamStore) {
    let (mut step, mut store) = recorded(detector, 0, 4, device);
    step.plan.stepwise(how == How::Stepwise);
    let run = |t| {
        step.feed_batch(&batch(4, t), &[], t).unwrap();
        step.run(&mut store, t, 1.0).unwrap()
    };
    let terms = (1..=steps).map(run).collect();
    store.pull().unwrap();
    (terms, store)
}

const ALL: [Arena; 5] = [Arena::Weights, Arena::Grads, Arena::M, Arena::V, Arena::Running];

fn same_bits(arena: Arena, a: &ParamStore, b: &ParamStore) -> bool {
    let bits = |s: &ParamStore| s.arena(arena).iter().map(|x| x.to_bits()).collect::<Vec<_>>();
    bits(a) == bits(b)
}

/// Two stores of the same networks, on the CPU and on a device.
struct Pair {
    name: String,
    cpu: ParamStore,
    gpu: ParamStore,
}

impl Pair {
    /// Both begin a step with the same values. Left to themselves the two runs drift apart: a ReLU, a |x| or an Adam step at a
    /// gradient near zero takes a rounding error to the size of the learning rate (here a few times in ten steps, after which the
    /// discriminator's losses differ by one per cent). That is the dynamics of training, not an error of a kernel.
    fn align(&mut self) {
        self.gpu.pull().unwrap();
        ALL.iter().for_each(|&a| self.gpu.arena_mut(a).copy_from_slice(self.cpu.arena(a)));
    }

    /// The losses of one step, by the one formula with what values `roundoff` may be off by; the distance of the gradients that it left,
    /// as a share of their size.
    fn compare(&mut self, t: u64, got: &Terms, expected: &Terms, roundoff: f64) -> f64 {
        // The longest sum is over a batch of pictures.
        let terms = (4 * 32 * 32 * 64) as f64;
        assert!(got.iter().map(|t| t.0).eq(expected.iter().map(|t| t.0)), "{got:?}");
        for ((what, a), (_, b)) in got.iter().zip(expected.iter()) {
            let bound = (8.0 * f32::EPSILON as f64 * terms.sqrt() + roundoff) * (1.0 + b.abs());
            assert!((a - b).abs() <= bound, "step {t}: {what} {a} on {}, {b} on the CPU (bound {bound:.1e})", self.name);
        }
        self.gpu.pull().unwrap();
        let (a, b) = (self.gpu.arena(Arena::Grads), self.cpu.arena(Arena::Grads));
        let size = b.iter().map(|x| (*x as f64).powi(2)).sum::<f64>().sqrt();
        assert!(size > 1e-3, "step {t}: gradients of size {size:.1e}");
        distance(a, b)
    }
}

/// |a − b| / |b|
fn distance(a: &[f32], b: &[f32]) -> f64 {
    let norm = |x: &mut dyn Iterator<Item = f64>| x.map(|x| x * x).sum::<f64>().sqrt();
    norm(&mut a.iter().zip(b).map(|(x, y)| *x as f64 - *y as f64)) / norm(&mut b.iter().map(|x| *x as f64))
}

/// Ten steps of a stage on every device, each from the CPU's values.
///
/// Losses are continuous, gradients are not: one ReLU, one |z| or one maximum of a pooling window whose rounding falls to the other
/// side moves a whole row of them. Such a step is rare, and a kernel that is wrong is wrong in every step: half of the steps must
/// agree to 1e-4 of the gradients' size, and all of them to 5e-2. Each kernel by itself meets the formula (`tests/op_kernels.rs`,
/// `tests/network_launches.rs`).
fn ten_steps_agree(detector: &str, stage: usize, select: &[f32]) {
    for device in devices() {
        let mut distances = distances((detector, "f32"), stage, select, 10, &device);
        distances.sort_by(|a, b| a.0.total_cmp(&b.0));
        let (half, most) = (distances[5].0, distances[9].0);
        assert!(half <= 1e-4 && most <= 5e-2, "gradients differ by {distances:?} of their size on {}", device.name());
    }
}

/// How far the gradients of each step lie from the CPU's, and those of the CPU from what it computes in f32, as shares of their size.
fn distances((detector, precision): (&str, &str), stage: usize, select: &[f32], steps: u64, device: &Device) -> Vec<(f64, f64)> {
    let made = |precision, device| recorded((detector, precision), stage, 4, device);
    let ((mut on_cpu, cpu), (mut on_gpu, gpu)) = (made(precision, &Device::Cpu), made(precision, device));
    let (mut in_f32, mut exact) = made("f32", &Device::Cpu);
    let mut pair = Pair { name: device.name().to_string(), cpu, gpu };
    let (mut last, mut distances) = (Terms::default(), Vec::new());
    for t in 1..=steps {
        pair.align();
        ALL.iter().for_each(|&a| exact.arena_mut(a).copy_from_slice(pair.cpu.arena(a)));
        let pictures = batch(4, t);
        [&mut on_cpu, &mut on_gpu, &mut in_f32].into_iter().for_each(|s| s.feed_batch(&pictures, select, t).unwrap());
        let b = on_cpu.run(&mut pair.cpu, t, 1.0).unwrap();
        let a = on_gpu.run(&mut pair.gpu, t, 1.0).unwrap();
        in_f32.run(&mut exact, t, 1.0).unwrap();
        let roundoff = if precision == "bf16" { 1.0 / 256.0 } else { 0.0 };
        let apart = pair.compare(t, &a, &b, roundoff);
        distances.push((apart, distance(pair.cpu.arena(Arena::Grads), exact.arena(Arena::Grads))));
        assert_ne!(b, last, "training changes the losses");
        last = b;
    }
    let shown: Vec<String> = distances.iter().map(|d| format!("{:.1e} ({:.1e} from f32)", d.0, d.1)).collect();
    println!("{detector} in {precision}, stage {stage}, {}: gradients differ by {} of their size", pair.name, shown.join(", "));
    distances
}

#[test]
fn ten_steps_of_stage_1_agree_with_the_cpu() {
    ten_steps_agree("lae", 0, &[]);
}

/// Where a sum in another order falls to the other side of a tie, a value moves by a unit roundoff, and with it, a little, all values
/// behind it: then two runs in bf16 are as far apart as rounding throws either. Each is off what f32 gives by that, so their distance may
/// be twice the CPU's from f32, which itself is no more than a tenth of the gradients.
#[test]
fn steps_in_bf16_agree_with_the_cpu() {
    for device in devices() {
        for (stage, select) in [(0, vec![]), (1, vec![0.0, 0.0, 1.0, 1.0])] {
            let mut steps = distances(("lae", "bf16"), stage, &select, 5, &device);
            assert!(steps.iter().all(|&(apart, rounding)| apart <= 2.0 * rounding && rounding > 0.0), "{steps:?}");
            steps.sort_by(|a, b| a.1.total_cmp(&b.1));
            assert!(steps[2].1 <= 0.1, "{steps:?}");
        }
    }
}

#[test]
fn ten_steps_of_stage_2_agree_with_the_cpu() {
    ten_steps_agree("lae", 1, &[0.0, 0.0, 1.0, 1.0]);
}

/// Ten steps of the first stage of every other detector.
#[test]
fn ten_steps_of_every_detector_agree_with_the_cpu() {
    let others: Vec<_> = detectors::DETECTORS.iter().filter(|e| e.name != "lae").collect();
    assert!(!others.is_empty());
    others.iter().for_each(|e| ten_steps_agree(e.name, 0, &[]));
}

/// No kernel has approximate instructions, so a GPU has no choice of bits.
#[test]
fn emulator_and_gpu_agree_to_the_bit() {
    let devices = devices();
    if devices.len() < 2 {
        return eprintln!("SKIP: no GPU to compare with");
    }
    let runs: Vec<_> = devices.iter().map(|device| first_stage(("lae", "f32"), device, How::Recorded, 4)).collect();
    for pair in runs.windows(2) {
        assert_eq!(pair[0].0, pair[1].0);
        for arena in ALL {
            assert!(same_bits(arena, &pair[0].1, &pair[1].1), "{arena:?} differ");
        }
    }
}

#[test]
fn stepwise_and_recorded_runs_agree_to_the_bit() {
    for (device, precision) in devices().iter().flat_map(|d| ["f32", "bf16"].map(|p| (d, p))) {
        let run = |how| first_stage(("lae", precision), device, how, 4);
        let (a, b) = (run(How::Stepwise), run(How::Recorded));
        assert_eq!(a.0, b.0, "{}", device.name());
        for arena in ALL {
            assert!(same_bits(arena, &a.1, &b.1), "{arena:?} differ on {}", device.name());
        }
    }
}
