//! SuppressNet and MISLnet; the twins are `tests/golden/suppress.py`.

use lae_engine::core::params::ParamStore;
use lae_engine::core::plan::{Memory, Plan};
use lae_engine::core::real::Real;
use lae_engine::core::rng::{Rng, stream};
use lae_engine::core::shape::shape;
use lae_engine::core::tape::Tape;
use lae_engine::detectors;
use lae_engine::device::Device;
use lae_engine::models::suppress::{self, Arch, LrnPlace, SuppressConfig};
use lae_engine::ops::project_filter::ProjectFilter;
use lae_engine::train::detector::Purpose;

use crate::golden::{File, close};
use crate::twin::Twin;

const FILE: &[u8] = include_bytes!("../golden/suppress.safetensors");

fn agrees(name: &'static str, least: usize, c: SuppressConfig, divide: usize) {
    let twin = Twin::of(FILE, name);
    twin.agrees(1.0, least, |s, side| suppress::build(s, side, &c, divide), |s, side| suppress::build(s, side, &c, divide));
}

/// A quarter of the width.
#[test]
fn suppressnet_equals_torch() {
    let c = SuppressConfig { fc: 16, ..SuppressConfig::default() };
    agrees("after_pool", 9000, c.clone(), 4);
    agrees("before_pool", 9000, SuppressConfig { lrn: LrnPlace::BeforePool, ..c }, 4);
}

/// An eighth of the width, which leaves one constrained filter.
#[test]
fn mislnet_equals_torch() {
    agrees("mislnet", 5000, SuppressConfig { arch: Arch::Mislnet, ..SuppressConfig::default() }, 8);
}

/// The authors' three lines: the centre to 0, over the sum, the centre to −1.
#[test]
fn projection_equals_torch() {
    let file = File::open(FILE, "filters.");
    let (axes, raw, done) = (file.shape("raw"), file.get("raw"), file.get("projected"));
    let [k, c, r, s] = axes[..] else { panic!("{axes:?}") };
    // K,C,R,S → K,R,S,C.
    let order =
        |x: &[f64]| -> Vec<f64> { (0..x.len()).map(|i| x[(i / (r * s * c) * c + i % c) * r * s + i / c % (r * s)]).collect() };
    let mut store = ParamStore::<f64>::new(0);
    let mut t = Tape::new(&store);
    let w = t.input(shape(k, r, s, c));
    t.apply_all(ProjectFilter, &[w]).unwrap();
    let mut plan = Plan::new(t, &[w], Memory::Planned).unwrap();
    plan.feed(w).unwrap().copy_from_slice(&order(&raw));
    plan.run(&mut store).unwrap();
    close("projected", plan.fetch(w).unwrap(), &order(&done), r * s);
}

/// Filters K×R×S×C that sum to 0 with −1 at their centres.
fn constrained<T: Real>(w: &[T], taps: usize, channels: usize) -> bool {
    (0..w.len() / taps).all(|i| {
        let at = |tap: usize| w[(i / channels * taps + tap) * channels + i % channels].f64();
        at(taps / 2) == -1.0 && (0..taps).map(at).sum::<f64>().abs() < 1e-5
    })
}

/// Before the first step and after each, the filters foretell their centres; training moves them all the same.
#[test]
fn training_keeps_the_constraint() {
    for (set, channels) in [("suppress.input=green", 1), ("suppress.input=rgb", 3)] {
        let set = [set, "train.batch=4", "train.lr=0.01"].map(str::to_string);
        let (entry, c) = detectors::resolve(Some("suppress"), "smoke", None, &set).unwrap();
        let mut store = ParamStore::new(3);
        let d = (entry.build)(&c, &mut store, Purpose::Train).unwrap();
        let id = store.find("suppress.0.weight").unwrap();
        assert!(constrained(store.value(id), 25, channels), "{set:?}: at the start");
        let mut step = detectors::step(&*d, &c, &store, 0, 4, &Device::Cpu).unwrap();
        let mut rng = Rng::new(1, stream("pictures"), 0);
        for t in 1..=3 {
            let before = store.value(id).to_vec();
            let pictures: Vec<f32> = (0..4 * c.size * c.size * 3).map(|_| rng.unit()).collect();
            step.feed("pictures", &pictures).unwrap();
            step.feed("label", &[1.0, 0.0, 1.0, 0.0]).unwrap();
            step.feed("step", &[t as f32]).unwrap();
            step.run(&mut store, t, 1.0).unwrap();
            let moved = before.iter().zip(store.value(id)).filter(|(a, b)| (**a - **b).abs() > 1e-5).count();
            assert!(constrained(store.value(id), 25, channels), "{set:?}: after step {t}");
            assert!(moved > before.len() / 2, "{set:?}: {moved} of {} values moved in step {t}", before.len());
        }
    }
}
