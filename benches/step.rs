//! One training step of a detector, whole (of the LAE: stage 1, discriminator and autoencoder), and one forward pass: images per second,
//! memory, and where the time goes.
//!
//! ```text
//! cargo bench --bench step -- [--detector lae] [--device cpu] [--size 64] [--batch 32] [--steps 7] [--threads 2] [--set key=value]... [--profile | --layers]
//! ```
//! Networks and losses are the paper's at the given size (four stride-2 convolutions, full comparator with random weights, extended
//! discriminator): the step that the same networks take in PyTorch; `benches/baselines.py` times the baselines there. Data are random:
//! loading is not measured. `--test` runs one small step.

use std::time::Instant;

use lae_engine::core::params::ParamStore;
use lae_engine::core::plan::Timed;
use lae_engine::core::rng::{Rng, stream};
use lae_engine::data::dataset::Batch;
use lae_engine::detectors;
use lae_engine::device::Device;
use lae_engine::train::TrainConfig;
use lae_engine::train::detector::{Detector, Entry, Purpose};
use lae_engine::train::score::Scorer;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let test = args.iter().any(|a| a == "--test");
    let value = |name: &str, default: usize| {
        let at = args.iter().position(|a| a == name);
        at.and_then(|i| args.get(i + 1)).map_or(default, |v| v.parse().unwrap_or_else(|_| panic!("{name} takes a number")))
    };
    let size = value("--size", if test { 32 } else { 64 });
    let (batch, steps) = (value("--batch", if test { 2 } else { 32 }), value("--steps", if test { 1 } else { 7 }));
    let word = |name: &str, default: &'static str| args.windows(2).find(|w| w[0] == name).map_or(default, |w| w[1].as_str());
    let detector = word("--detector", "lae");
    let mut set = vec![format!("size={size}"), format!("train.batch={batch}")];
    set.extend((detector == "lae").then(|| format!("lae.grid={}", size / 16)));
    set.extend(args.windows(2).filter(|w| w[0] == "--set").map(|w| w[1].clone()));
    let (entry, config) = detectors::resolve(Some(detector), "paper", None, &set).unwrap();
    let (device, why) = Device::choose(word("--device", "cpu")).unwrap_or_else(|e| panic!("{e}"));
    println!("{why}");
    let pool = rayon::ThreadPoolBuilder::new().num_threads(value("--threads", 0)).build().unwrap();
    let flag = |name: &str| args.iter().any(|a| a == name);
    pool.install(|| run(entry, &config, &device, steps, flag("--profile"), flag("--layers")));
}

fn run(entry: &Entry, c: &TrainConfig, device: &Device, steps: usize, by_op: bool, by_layer: bool) {
    let device = device.clone().with_precision(c.precision);
    c.cpu.apply().unwrap_or_else(|e| panic!("{e}"));
    let mut store = ParamStore::new(0);
    store.activations = c.activations();
    let detector = (entry.build)(c, &mut store, Purpose::Train).unwrap();
    let mut step = detectors::step(&*detector, c, &store, 0, c.train.batch, &device).unwrap();
    let (n, each) = (c.train.batch, c.size * c.size * 3);
    let mut rng = Rng::new(0, stream("bench"), 0);
    let batch = Batch {
        n,
        size: c.size,
        x: (0..n * each).map(|_| rng.unit()).collect(),
        label_true: (0..n).map(|i| (i < n / 2) as u8 as f32).collect(),
        ..Batch::default()
    };
    step.feed_batch(&batch, &[], 1).unwrap();
    step.run(&mut store, 1, 1.0).unwrap();
    let mut times: Vec<f64> = (0..steps)
        .map(|i| {
            let start = Instant::now();
            let t = i as u64 + 2;
            step.feed_batch(&batch, &[], t).unwrap();
            step.run(&mut store, t, 1.0).unwrap();
            start.elapsed().as_secs_f64()
        })
        .collect();
    times.sort_by(f64::total_cmp);
    let median = times[times.len() / 2];
    let forward = forward(c, &*detector, &mut store, &device, &batch.x, steps);
    println!(
        "lae-engine {} NHWC, {}; size {} batch {n} threads {}: {:.1} ms/step, {:.2} images/s, {:.1} ms/forward ({} steps, plan {:.0} MiB)",
        entry.name,
        device,
        c.size,
        rayon::current_num_threads(),
        1e3 * median,
        n as f64 / median,
        1e3 * forward,
        steps,
        step.plan.bytes() as f64 / 1048576.0
    );
    if by_op || by_layer {
        let mut rows: Vec<Timed> = Vec::new();
        for r in step.plan.run_timed(&mut store).unwrap() {
            match rows.iter_mut().find(|o| (o.op, o.pass) == (r.op, r.pass) && (by_op || o.layer == r.layer)) {
                Some(o) => o.seconds += r.seconds,
                None => rows.push(r),
            }
        }
        rows.sort_by(|a, b| b.seconds.total_cmp(&a.seconds));
        let total: f64 = rows.iter().map(|r| r.seconds).sum();
        for Timed { layer, op, pass, seconds } in rows {
            let layer = if by_op { String::new() } else { format!("{layer:<20} ") };
            println!("{layer}{op:>20} {:<9} {:>9.3} ms {:>5.1} %", format!("{pass:?}"), 1e3 * seconds, 100.0 * seconds / total);
        }
    }
}

/// Seconds of a verdict on the batch, without maps; the median.
fn forward(c: &TrainConfig, detector: &dyn Detector, store: &mut ParamStore, device: &Device, x: &[f32], steps: usize) -> f64 {
    let mut scorer = Scorer::without_maps(device, detector, store, c.size, c.train.batch).unwrap();
    let mut times: Vec<f64> = (0..steps + 1)
        .map(|_| {
            let start = Instant::now();
            scorer.run(detector, store, x).unwrap();
            start.elapsed().as_secs_f64()
        })
        .skip(1)
        .collect();
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}
