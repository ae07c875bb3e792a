//! Windows over a whole picture: what one pass of the encoder in tiles gives is what each window's own features give.

use lae_engine::Device;
use lae_engine::core::params::ParamStore;
use lae_engine::data::picture::Picture;
use lae_engine::data::procedural;
use lae_engine::detectors;
use lae_engine::nn::Mode;
use lae_engine::train::TrainConfig;
use lae_engine::train::detector::{Detector, Entry, Purpose};
use lae_engine::train::recorder::{Recorder, inputs};
use lae_engine::train::scan::{LEAST_SIDE, Scanner};
use lae_engine::train::score::Scorer;

const WINDOWS: &[f64] = &[0.5, 1.0, 2.0];

fn built(name: &str) -> (&'static Entry, TrainConfig, ParamStore, Box<dyn Detector>) {
    // Without windows of its own the verdict of the autoencoder is about the whole picture, too.
    let set: &[String] = if name == "lae" { &["latent.windows=[]".to_string()] } else { &[] };
    let (entry, config) = detectors::resolve(Some(name), "small", None, set).unwrap();
    let mut store = ParamStore::new(3);
    let detector = (entry.build)(&config, &mut store, Purpose::Judge).unwrap();
    (entry, config, store, detector)
}

fn photograph(w: usize, h: usize) -> Picture {
    procedural::photograph(1, 2, w.max(h)).crop(0, 0, w, h)
}

/// The features of a whole picture in one plan.
fn features(detector: &dyn Detector, store: &mut ParamStore, picture: &Picture) -> (Vec<f32>, [usize; 3]) {
    let mut r = Recorder::of_size(store, Mode::Eval, 1, (picture.h, picture.w));
    let f = detector.local(&mut r).unwrap().unwrap().features;
    let mut step = r.finish(&Device::Cpu, &[f]).unwrap();
    let x: Vec<f32> = picture.rgb.iter().map(|&v| v as f32 / 255.0).collect();
    step.feed(inputs::PICTURES, &x).unwrap();
    step.plan.run(store).unwrap();
    let s = step.plan.shape(f);
    (step.plan.fetch(f).unwrap().to_vec(), [s.h as usize, s.w as usize, s.c as usize])
}

#[test]
fn windows_of_tiles_are_windows_of_the_whole() {
    let (_, config, mut store, detector) = built("lae");
    // Larger than a tile both ways, and no multiple of anything.
    let picture = photograph(1107, 611);
    let mut scanner = Scanner::new(&Device::Cpu, &*detector, &store, config.size, WINDOWS).unwrap();
    let scan = scanner.scan(&*detector, &mut store, &picture).unwrap().remove(1);
    // The pixels beyond the last whole cell are left out.
    let (f, [h, w, c]) = features(&*detector, &mut store, &picture.crop(0, 0, 1104, 608));
    let stride = picture.w / w;
    let (cells, every) = (scan.side / stride, scan.step / stride);
    assert_eq!((scan.side, scan.across, scan.down), (config.size, (w - cells) / every + 1, (h - cells) / every + 1));
    assert_eq!(scan.evidence.len(), scan.across * scan.down);

    let mut r = Recorder::of_size(&store, Mode::Eval, 1, (1, 1));
    let g = r.input("g", lae_engine::core::shape::shape(1, 1, 1, c));
    let row = detector.head(&mut r, g).unwrap();
    let mut head = r.finish(&Device::Cpu, &[row]).unwrap();
    let mut most = 0f32;
    for k in 0..200 {
        let (i, j) = (k * 7919 % scan.across, k * 104729 % scan.down);
        let mean: Vec<f32> = (0..c)
            .map(|c0| {
                let cell = |y: usize, x: usize| f[((j * every + y) * w + i * every + x) * c + c0] as f64;
                let sum: f64 = (0..cells).flat_map(|y| (0..cells).map(move |x| (y, x))).map(|(y, x)| cell(y, x)).sum();
                (sum / (cells * cells) as f64) as f32
            })
            .collect();
        head.feed("g", &mean).unwrap();
        head.plan.run(&mut store).unwrap();
        let evidence = detector.judge(head.plan.fetch(row).unwrap()).evidence as f32;
        most = most.max((evidence - scan.evidence[j * scan.across + i]).abs());
    }
    assert!(most < 1e-5, "{most}");
}

#[test]
fn one_window_of_its_own_size_is_the_picture_by_itself() {
    for name in ["lae", "meso", "transfer"] {
        let (_, config, mut store, detector) = built(name);
        let picture = photograph(config.size, config.size);
        let mut scanner = Scanner::new(&Device::Cpu, &*detector, &store, config.size, WINDOWS).unwrap();
        let scans = scanner.scan(&*detector, &mut store, &picture).unwrap();
        let own = scans.iter().find(|s| s.side == config.size).unwrap();
        let mut scorer = Scorer::new(&Device::Cpu, &*detector, &store, config.size, 1).unwrap();
        let x: Vec<f32> = picture.rgb.iter().map(|&v| v as f32 / 255.0).collect();
        let evidence = scorer.run(&*detector, &mut store, &x).unwrap()[0].judgement.evidence as f32;
        assert_eq!(own.evidence.len(), 1, "{name}");
        assert!((evidence - own.evidence[0]).abs() < 1e-4, "{name}");
    }
}

#[test]
fn small_and_narrow_pictures_are_judged_or_refused() {
    for name in ["lae", "meso", "transfer"] {
        let (_, config, mut store, detector) = built(name);
        let mut scanner = Scanner::new(&Device::Cpu, &*detector, &store, config.size, WINDOWS).unwrap();
        for (w, h) in [(LEAST_SIDE, LEAST_SIDE), (40, 30), (2000, 17), (63, 300), (65, 64)] {
            for scan in scanner.scan(&*detector, &mut store, &photograph(w, h)).unwrap() {
                assert_eq!(scan.evidence.len(), scan.across * scan.down, "{name} {w}x{h}");
                assert!(scan.evidence.iter().all(|x| x.is_finite()) && !scan.evidence.is_empty(), "{name} {w}x{h}");
            }
        }
        let e = scanner.scan(&*detector, &mut store, &Picture::new(900, 1)).unwrap_err().to_string();
        assert!(e.contains("900 × 1 pixels"), "{e}");
    }
}
