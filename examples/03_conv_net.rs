//! A small convolutional network learns to tell genuine pictures from forged ones.
//!
//! The pictures are the crate's own: painted photographs, and the same photographs with a rectangle filled in from its edge by the
//! harmonic forger (`data::forge`). The network is a table of rows; convolutions, batch norm and pooling are its words. Training
//! runs in `Mode::Train` (batch norm uses the batch), testing in `Mode::Eval` (its running averages), as two plans over one store.
//!
//!     cargo run --example 03_conv_net

use lae_engine::core::rng::{Rng, stream};
use lae_engine::data::forge::forger;
use lae_engine::data::hole::Hole;
use lae_engine::data::procedural::photograph;
use lae_engine::nn::{BN, Filters, Initialisation, Layer, Mode, Net};
use lae_engine::ops::adam::{Adam, adam};
use lae_engine::ops::bce_logits::bce_logits;
use lae_engine::{Device, Kind, Memory, ParamStore, Plan, Result, Shape, Tape, shape};

const SIDE: usize = 32;
const BATCH: usize = 32;
const STEPS: u64 = 80;
const HELD_OUT: usize = 200;

const fn conv(out: usize, s: usize) -> Layer {
    Layer::Conv(Filters::new(out, 3).stride(s).pad(1).bias(false))
}
use Layer::{Gap, Linear, Relu};
const ROWS: [Layer; 11] = [conv(16, 1), BN, Relu, conv(16, 2), BN, Relu, conv(32, 2), BN, Relu, Gap, Linear(1)];

/// `n` pictures as values −1 to 1 and their labels: photographs `first..first + n/2`, each followed by its own forgery (label 1).
fn pictures(n: usize, first: u64) -> Result<(Vec<f32>, Vec<f32>)> {
    let (mut x, mut label) = (Vec::new(), Vec::new());
    for i in first..first + n as u64 / 2 {
        let mut rng = Rng::new(1, stream("forgery"), i);
        let genuine = photograph(1, i, SIDE);
        let hole = Hole::Rect.draw(SIDE, SIDE, (0.3, 0.5), &mut rng);
        let forged = forger("example", "harmonic")?.fill(&genuine, &hole, &genuine, &mut rng)?;
        for (picture, fake) in [(genuine, 0.0), (forged, 1.0)] {
            x.extend(picture.rgb.iter().map(|&v| v as f32 / 127.5 - 1.0));
            label.push(fake);
        }
    }
    Ok((x, label))
}

fn main() -> Result<()> {
    let (device, what) = Device::choose("auto")?;
    println!("running on {what}\n");
    let mut store = ParamStore::new(0);
    let net = Net::build(&mut store, "net", shape(1, SIDE, SIDE, 3), &ROWS, Initialisation::KaimingIn, Kind::Trained)?;
    println!("{}", net.describe(&store));
    let group = store.group("net");

    let mut t = Tape::new(&store);
    let (x, label, hyper) = (t.input(shape(BATCH, SIDE, SIDE, 3)), t.input(shape(BATCH, 1, 1, 1)), t.input(Shape::vector(2)));
    let logits = net.run(&mut t, x, Mode::Train)?;
    let loss = bce_logits(&mut t, logits, label)?;
    let weights = t.trained(&group);
    t.backward(loss, &weights)?;
    let optimiser = Adam::default();
    adam(&mut t, &group, optimiser.clone(), hyper)?;
    let mut training = Plan::on(&device, t, &[loss], Memory::Planned)?;

    let mut t = Tape::new(&store);
    let test_x = t.input(shape(HELD_OUT, SIDE, SIDE, 3));
    let test_logits = net.run(&mut t, test_x, Mode::Eval)?;
    let mut testing = Plan::on(&device, t, &[test_logits], Memory::Planned)?;

    let mut losses = Vec::new();
    for step in 1..=STEPS {
        let (batch, labels) = pictures(BATCH, step * BATCH as u64 / 2)?;
        training.feed(x)?.copy_from_slice(&batch);
        training.feed(label)?.copy_from_slice(&labels);
        training.feed(hyper)?.copy_from_slice(&optimiser.hyper(1e-2, step));
        training.run(&mut store)?;
        losses.push(training.scalar(loss)?);
        if step % 20 == 0 {
            let mean = losses[losses.len() - 20..].iter().sum::<f64>() / 20.0;
            println!("steps to {step:>3}   mean loss {mean:.4}");
        }
    }

    // Photographs that no step has seen.
    let (held_out, truth) = pictures(HELD_OUT, 1_000_000)?;
    testing.feed(test_x)?.copy_from_slice(&held_out);
    testing.run(&mut store)?;
    let right = testing.fetch(test_logits)?.iter().zip(&truth).filter(|(z, fake)| (**z > 0.0) == (**fake > 0.5)).count();
    let accuracy = right as f64 / truth.len() as f64;
    println!("\nheld-out accuracy {:.1} % on {HELD_OUT} pictures, half of them forged; chance is 50 %", 100.0 * accuracy);
    assert!(accuracy > 0.8, "the network has learned what the forger leaves");
    Ok(())
}
