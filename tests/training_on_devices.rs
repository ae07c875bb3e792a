//! Training on the PTX emulator, and on a GPU where there is one, step for step beside the CPU: the launches, kernels and buffers of
//! whole training steps.

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

    /// The losses of one step, by the one formula, and the gradients that it left. Losses are continuous, gradients are not: one
    /// ReLU or one |z| whose argument is rounded to the other side of zero moves a whole row of them (1.5e-3 of their size was
    /// seen), so they must agree to 1e-2; each kernel by itself meets the formula (`tests/op_kernels.rs`, `tests/network_launches.rs`).
    fn compare(&mut self, t: u64, losses: &[(&str, f64, f64)]) {
        // The longest sum is over a batch of pictures.
        let terms = (4 * 32 * 32 * 64) as f64;
        for (what, a, b) in losses {
            let bound = 8.0 * f32::EPSILON as f64 * terms.sqrt() * (1.0 + b.abs());
            assert!((a - b).abs() <= bound, "step {t}: {what} {a} on {}, {b} on the CPU (bound {bound:.1e})", self.name);
        }
        self.gpu.pull().unwrap();
        let (a, b) = (self.gpu.arena(Arena::Grads), self.cpu.arena(Arena::Grads));
        let size = b.iter().map(|x| (*x as f64).powi(2)).sum::<f64>().sqrt();
        let distance = a.iter().zip(b).map(|(x, y)| (*x as f64 - *y as f64).powi(2)).sum::<f64>().sqrt();
        let bound = 1e-2 * size;
        assert!(
            size > 1e-3 && distance <= bound,
            "step {t}: gradients of size {size:.2e} differ by {distance:.1e} > {bound:.1e} on {}",
            self.name
        );
    }
}

#[test]
fn ten_steps_of_stage_1_agree_with_the_cpu() {
    for device in devices() {
        let c = config();
        let (mut cpu, mut gpu) = (ParamStore::new(1), ParamStore::new(1));
        let nets = [(&mut cpu, &Device::Cpu), (&mut gpu, &device)].map(|(s, d)| Networks::build(s, &c, d).unwrap());
        let mut on_cpu = Stage1::new(&c, &nets[0], &cpu).unwrap();
        let mut on_gpu = Stage1::new(&c, &nets[1], &gpu).unwrap();
        let mut pair = Pair { name: device.name().to_string(), cpu, gpu };
        let mut last = Terms::default();
        for t in 1..=10 {
            pair.align();
            let pictures = batch(&c, 4, t);
            let b = on_cpu.run(&mut pair.cpu, &pictures, t, 1e-3, 2e-4).unwrap();
            let a = on_gpu.run(&mut pair.gpu, &pictures, t, 1e-3, 2e-4).unwrap();
            let losses = [
                ("loss", a.total, b.total),
                ("latent", a.latent, b.latent),
                ("pixel", a.pixel, b.pixel),
                ("perceptual", a.perceptual, b.perceptual),
                ("adversarial", a.adversarial, b.adversarial),
                ("discriminator", a.discriminator, b.discriminator),
            ];
            pair.compare(t, &losses);
            assert_ne!(b, last, "training changes the losses");
            last = b;
        }
    }
}

#[test]
fn ten_steps_of_stage_2_agree_with_the_cpu() {
    for device in devices() {
        let c = config();
        let (mut cpu, mut gpu) = (ParamStore::new(1), ParamStore::new(1));
        let nets = [(&mut cpu, &Device::Cpu), (&mut gpu, &device)].map(|(s, d)| Networks::build(s, &c, d).unwrap());
        let mut on_cpu = Stage2::new(&c, &nets[0], &cpu, 2, 2).unwrap();
        let mut on_gpu = Stage2::new(&c, &nets[1], &gpu, 2, 2).unwrap();
        let mut pair = Pair { name: device.name().to_string(), cpu, gpu };
        let (select, mut last) = ([0.0, 0.0, 1.0, 1.0], Terms2::default());
        for t in 1..=10 {
            pair.align();
            let pictures = batch(&c, 4, t);
            let b = on_cpu.run(&mut pair.cpu, &pictures, &select, t, 1e-4).unwrap();
            let a = on_gpu.run(&mut pair.gpu, &pictures, &select, t, 1e-4).unwrap();
            pair.compare(
                t,
                &[("loss", a.total, b.total), ("latent", a.latent, b.latent), ("attention", a.attention, b.attention)],
            );
            assert_ne!(b, last, "training changes the losses");
            last = b;
        }
    }
}

/// No kernel has approximate instructions, so a GPU has no choice of bits.
#[test]
fn emulator_and_gpu_agree_to_the_bit() {
    let devices = devices();
    if devices.len() < 2 {
        return eprintln!("SKIP: no GPU to compare with");
    }
    let runs: Vec<_> = devices.iter().map(|device| stage1(device, How::Recorded, 4)).collect();
    for pair in runs.windows(2) {
        assert_eq!(pair[0].0, pair[1].0);
        for arena in ALL {
            assert!(same_bits(arena, &pair[0].1, &pair[1].1), "{arena:?} differ");
        }
    }
}

#[test]
fn stepwise_and_recorded_runs_agree_to_the_bit() {
    for device in devices() {
        let (a, b) = (stage1(&device, How::Stepwise, 4), stage1(&device, How::Recorded, 4));
        assert_eq!(a.0, b.0, "{}", device.name());
        for arena in ALL {
            assert!(same_bits(arena, &a.1, &b.1), "{arena:?} differ on {}", device.name());
        }
    }
}
