//! A map for every detector: its own or Grad-CAM's.

use lae_engine::core::params::ParamStore;
use lae_engine::core::rng::{Rng, stream};
use lae_engine::detectors::{self, DETECTORS};
use lae_engine::device::Device;
use lae_engine::train::detector::Purpose;
use lae_engine::train::score::{Scorer, Verdict};

const SIDE: usize = 64;

fn judge(name: &str, size: usize, x: &[f32], maps: bool) -> (Option<usize>, Vec<Verdict>) {
    let set = [format!("size={size}"), "detect.view=whole".into()];
    let (entry, c) = detectors::resolve(Some(name), "smoke", None, &set).unwrap();
    let mut store = ParamStore::new(5);
    let detector = (entry.build)(&c, &mut store, Purpose::Judge).unwrap();
    let make = if maps { Scorer::new } else { Scorer::without_maps };
    let mut scorer = make(&Device::Cpu, &*detector, &store, size, 4).unwrap();
    let verdicts = scorer.run(&*detector, &mut store, x).unwrap();
    (scorer.grid, verdicts)
}

/// Pictures whose left half is noise and whose right half is a ramp.
fn pictures(n: usize, side: usize) -> Vec<f32> {
    let mut rng = Rng::new(6, stream("pictures"), 0);
    let mut value = |i: usize| if i / 3 % side < side / 2 { rng.range(0.0, 1.0) } else { (i / 3 % side) as f32 / side as f32 };
    (0..n * side * side * 3).map(&mut value).collect()
}

#[test]
fn every_detector_has_a_map() {
    let x = pictures(3, SIDE);
    let mut places = 0;
    for entry in DETECTORS {
        let (grid, verdicts) = judge(entry.name, SIDE, &x, true);
        let grid = grid.unwrap_or_else(|| panic!("{} has no map", entry.name));
        assert!((2..=32).contains(&grid), "{}: {grid}", entry.name);
        assert_eq!(verdicts.len(), 3, "a batch of four that is not full");
        for v in &verdicts {
            let map = v.map.as_ref().unwrap();
            assert!(map.len() == grid * grid && map.iter().all(|m| m.is_finite()), "{}", entry.name);
            places += map.iter().any(|m| *m != map[0]) as usize;
        }
        // Another batch around a picture, and no maps at all, leave its verdict and its map as they are.
        let (_, alone) = judge(entry.name, SIDE, &x[x.len() / 3..][..x.len() / 3], true);
        assert_eq!(alone[0], verdicts[1], "{}", entry.name);
        let (none, plain) = judge(entry.name, SIDE, &x, false);
        assert!(none.is_none() && plain.iter().zip(&verdicts).all(|(a, b)| a.map.is_none() && a.values == b.values));
    }
    assert!(places >= 2 * DETECTORS.len(), "{places} maps show a place");
}

#[test]
fn a_single_cell_is_no_map() {
    for (name, size) in [("xception", 32), ("transfer", 16)] {
        let (grid, verdicts) = judge(name, size, &pictures(1, size), true);
        assert!(grid.is_none() && verdicts[0].map.is_none(), "{name}");
    }
}
