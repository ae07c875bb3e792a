//! One training step on three machines: the CPU, the PTX emulator and, where there is one, a GPU.
//!
//! The step is recorded once for each device, by the same lines; only the plan knows where it runs. The emulator runs the kernels
//! that this build carries, with the launches that a GPU would get, and checks every access. Losses agree with the CPU's by the one
//! formula of `docs/numerics.md`; they are not equal, because sums have another order on a GPU. Two runs on one device give the same
//! bits, and a GPU gives the emulator's, because no kernel has an instruction whose result the hardware may choose.
//!
//!     cargo run --example 05_devices

use lae_engine::core::rng::{Rng, stream};
use lae_engine::nn::{Filters, Initialisation, Layer, Mode, Net};
use lae_engine::ops::bce_logits::bce_logits;
use lae_engine::ops::sgd::{Sgd, sgd};
use lae_engine::{Device, Kind, Memory, ParamStore, Plan, Result, Shape, Tape, shape};

const STEPS: u64 = 5;
const PICTURES: Shape = shape(4, 16, 16, 3);

/// A small network without kinks: tanh in place of ReLU, so that a rounding error stays one.
const ROWS: [Layer; 6] = [
    Layer::Conv(Filters::new(8, 3).stride(2).pad(1)),
    Layer::Tanh,
    Layer::Conv(Filters::new(8, 3).same()),
    Layer::Tanh,
    Layer::Gap,
    Layer::Linear(1),
];

/// The loss of each of a few training steps.
fn train(device: &Device) -> Result<Vec<f64>> {
    let mut store = ParamStore::new(3);
    let one = Shape { n: 1, ..PICTURES };
    let net = Net::build(&mut store, "net", one, &ROWS, Initialisation::TorchDefault, Kind::Trained)?;
    let group = store.group("net");
    let mut t = Tape::new(&store);
    let (x, label, rate) = (t.input(PICTURES), t.input(shape(4, 1, 1, 1)), t.input(Shape::SCALAR));
    let logits = net.run(&mut t, x, Mode::Train)?;
    let loss = bce_logits(&mut t, logits, label)?;
    let weights = t.trained(&group);
    t.backward(loss, &weights)?;
    sgd(&mut t, &group, Sgd { momentum: 0.9, weight_decay: 0.0 }, rate)?;
    let mut plan = Plan::on(device, t, &[loss], Memory::Planned)?;

    // Noise; the pictures of class 1 are brighter.
    let (mut rng, labels) = (Rng::new(5, stream("pictures"), 0), [1.0, 0.0, 1.0, 0.0]);
    plan.feed(label)?.copy_from_slice(&labels);
    plan.feed(rate)?[0] = 0.2;
    for (picture, label) in plan.feed(x)?.chunks_mut(PICTURES.per_image()).zip(labels) {
        picture.fill_with(|| label + rng.unit());
    }
    (0..STEPS)
        .map(|_| {
            plan.run(&mut store)?;
            plan.scalar(loss)
        })
        .collect()
}

fn main() -> Result<()> {
    let mut runs = Vec::new();
    for name in ["cpu", "emu", "cuda"] {
        match Device::choose(name) {
            Ok((device, what)) => {
                println!("{name}: {what}");
                let losses = train(&device)?;
                assert_eq!(losses, train(&device)?, "{name}: the second run gave other bits than the first");
                runs.push((name, losses));
            }
            // The text says what is missing, and what to do.
            Err(why) => println!("{why}"),
        }
    }

    print!("\nstep");
    runs.iter().for_each(|(name, _)| print!("{name:>22}"));
    println!();
    for step in 0..STEPS as usize {
        print!("{:>4}", step + 1);
        runs.iter().for_each(|(_, losses)| print!("{:>22.15}", losses[step]));
        println!();
    }

    let cpu = runs[0].1.clone();
    assert!(cpu.windows(2).all(|l| l[1] < l[0]), "the loss falls with every step");
    // docs/numerics.md: 8 ε √terms (rms + |b|), terms being the largest input of an op, here of the first tanh.
    let terms: f64 = 4.0 * 8.0 * 8.0 * 8.0;
    for (name, losses) in &runs[1..] {
        let apart = losses.iter().zip(&cpu).map(|(a, b)| (a - b).abs() / (2.0 * b.abs())).fold(0.0, f64::max);
        let bound = 8.0 * f32::EPSILON as f64 * terms.sqrt();
        println!("\n{name} and cpu are at most {apart:.1e} apart, relative; the bound is {bound:.1e}");
        assert!(apart <= bound, "{name} and cpu disagree");
    }
    if let [_, (_, emulated), (_, gpu)] = &runs[..] {
        assert_eq!(emulated, gpu, "the emulator gives the GPU's bits");
        println!("emu and cuda agree to the bit");
    }
    Ok(())
}
