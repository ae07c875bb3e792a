//! The networks are the paper's: parameter counts and the sizes of Table 2.

use half::{bf16, f16};
use lae_engine::core::params::{Kind, ParamStore};
use lae_engine::core::shape::Shape;
use lae_engine::models::dcgan::{Arch, Dcgan};
use lae_engine::models::lae::{self, Lae, LaeConfig};
use lae_engine::models::meso::Meso;
use lae_engine::models::residual::Residual;
use lae_engine::models::stats;
use lae_engine::models::suppress::{self, Input, LrnPlace, SuppressConfig};
use lae_engine::models::transfer::Transfer;
use lae_engine::models::vgg::Vgg;
use lae_engine::models::xception::Xception;
use lae_engine::nn::Layer;
use safetensors::tensor::{Dtype, TensorView};

fn sizes(net: &lae_engine::nn::Net) -> Vec<(u32, u32)> {
    net.rows().map(|(_, s)| (s.c, s.h)).collect()
}

fn count(store: &ParamStore<f32>, name: &str, kind: Kind) -> usize {
    store.count(&store.group(name), kind)
}

#[test]
fn table_2() {
    let c = LaeConfig::default();
    assert_eq!(lae::encoder(&c, 256).unwrap(), lae::ENCODER);
    assert_eq!(lae::decoder(&c, 256, &[]).unwrap(), lae::DECODER);
    let mut store = ParamStore::<f32>::new(0);
    let net = Lae::build(&mut store, &c, 256).unwrap();
    let encoder = [
        (64, 128),
        (64, 128),
        (128, 64),
        (128, 64),
        (128, 64),
        (256, 32),
        (256, 32),
        (256, 32),
        (512, 16),
        (512, 16),
        (512, 16),
        (512, 16),
        (512, 16),
        (512, 1),
        (128, 1),
    ];
    assert_eq!(sizes(&net.encoder), encoder);
    let up = [(256, 4), (128, 8), (64, 16), (32, 32), (16, 64), (8, 128)];
    let mut decoder: Vec<(u32, u32)> = up.iter().flat_map(|&s| [s; 3]).collect();
    decoder.extend([(3, 256); 2]);
    assert_eq!(sizes(&net.decoder), decoder);
    assert_eq!(count(&store, "lae.encoder", Kind::Trained), 5_183_808);
    assert_eq!(count(&store, "lae.decoder", Kind::Trained), 1_224_555);
    let mut store = ParamStore::<f32>::new(0);
    Lae::build(&mut store, &LaeConfig { encoder_kernel: 3, ..c }, 256).unwrap();
    assert_eq!(count(&store, "lae.encoder", Kind::Trained), 3_978_240);
}

#[test]
fn comparator_and_discriminator() {
    let mut store = ParamStore::<f32>::new(0);
    let vgg = Vgg::build(&mut store, 256, "conv4_3", true, 1.0).unwrap();
    assert_eq!(count(&store, "vgg", Kind::Frozen), 7_635_264);
    assert_eq!(sizes(&vgg.net).last(), Some(&(512, 32)));
    for (size, expected) in [(32, 663_296), (64, 2_765_568), (128, 6_960_896), (256, 11_156_224)] {
        let mut store = ParamStore::<f32>::new(0);
        Dcgan::build(&mut store, Arch::Extended, size, 64).unwrap();
        assert_eq!(count(&store, "dcgan", Kind::Trained), expected, "size {size}");
    }
    let mut store = ParamStore::<f32>::new(0);
    Dcgan::build(&mut store, Arch::Slim, 256, 64).unwrap();
    assert_eq!(count(&store, "dcgan", Kind::Trained), 2_804_416);
}

#[test]
fn smaller_pictures_keep_the_grid_and_lose_decoder_stages() {
    // (size, grid, stride-2 convolutions): widths stay those of Table 2.
    for (size, grid, halvings) in [(64, 16, 2), (128, 16, 3), (64, 4, 4), (32, 8, 2), (256, 16, 4)] {
        let c = LaeConfig { grid, ..LaeConfig::default() };
        let mut store = ParamStore::<f32>::new(0);
        let net = Lae::build(&mut store, &c, size).unwrap();
        let convolutions: Vec<(u32, u32)> =
            net.encoder.rows().filter(|r| matches!(r.0, Layer::Conv { .. })).map(|(_, s)| (s.c, s.h)).collect();
        let side = |i: u32| (size >> i.min(halvings)) as u32;
        assert_eq!(convolutions, [(64, side(1)), (128, side(2)), (256, side(3)), (512, side(4)), (512, grid as u32)]);
        assert_eq!(net.encoder.output().per_image(), 128);
        let out = net.decoder.output();
        assert_eq!((out.c, out.h, out.w), (3, size as u32, size as u32));
        let stages = net.decoder.rows().filter(|r| matches!(r.0, Layer::Up { .. })).count();
        assert_eq!(stages, size.ilog2() as usize - 1);
    }
    let mut store = ParamStore::<f32>::new(0);
    let net = Lae::build(&mut store, &LaeConfig::default(), 64).unwrap();
    let widths: Vec<u32> = net.decoder.rows().filter(|r| matches!(r.0, Layer::Up { .. })).map(|r| r.1.c).collect();
    assert_eq!(widths, [256, 128, 64, 32, 3]);
}

/// A safetensors file with torchvision's names: `features.N.weight` [out, in, 3, 3], its biases, and a classifier beside them.
/// `shrink` divides all channel counts.
fn torchvision(convolutions: &[(usize, usize, usize)], shrink: usize, of: impl Fn(usize, usize) -> f32) -> Vec<u8> {
    let f32_bytes = |x: f32| x.to_le_bytes().to_vec();
    torchvision_in(Dtype::F32, f32_bytes, convolutions, shrink, of)
}

/// The same in another number type, whose bytes `bytes` gives.
fn torchvision_in(
    dtype: Dtype,
    bytes: impl Fn(f32) -> Vec<u8>,
    convolutions: &[(usize, usize, usize)],
    shrink: usize,
    of: impl Fn(usize, usize) -> f32,
) -> Vec<u8> {
    let mut tensors = vec![("classifier.0.weight".to_string(), vec![2, 2], vec![9.0f32; 4])];
    for (n, &(index, from, to)) in convolutions.iter().enumerate() {
        let (from, to) = (if from == 3 { 3 } else { from / shrink }, to / shrink);
        let values = (0..to * from * 9).map(|i| of(n, i)).collect();
        tensors.push((format!("features.{index}.weight"), vec![to, from, 3, 3], values));
        tensors.push((format!("features.{index}.bias"), vec![to], (0..to).map(|i| of(n + 100, i)).collect()));
    }
    let tensors: Vec<(String, Vec<usize>, Vec<u8>)> =
        tensors.into_iter().map(|(name, shape, x)| (name, shape, x.into_iter().flat_map(&bytes).collect())).collect();
    let views = tensors.iter().map(|(name, shape, x)| (name.as_str(), TensorView::new(dtype, shape.clone(), x).unwrap()));
    safetensors::serialize(views, None).unwrap()
}

/// Index in torchvision's `features`, channels in and out.
const VGG16: &[(usize, usize, usize)] = &[
    (0, 3, 64),
    (2, 64, 64),
    (5, 64, 128),
    (7, 128, 128),
    (10, 128, 256),
    (12, 256, 256),
    (14, 256, 256),
    (17, 256, 512),
    (19, 512, 512),
    (21, 512, 512),
];

#[test]
fn comparator_takes_torchvisions_names_and_axes() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("vgg.safetensors");
    let of = |n: usize, i: usize| (n * 10_000 + i) as f32;
    std::fs::write(&file, torchvision(VGG16, 16, of)).unwrap();
    let fresh = || {
        let mut store = ParamStore::<f32>::new(0);
        Vgg::build(&mut store, 32, "conv4_3", true, 1.0 / 16.0).unwrap();
        store
    };
    let mut store = fresh();
    Vgg::load(&mut store, &file).unwrap();
    let mut checked = 0;
    for (n, &(index, from, to)) in VGG16.iter().enumerate() {
        let (from, to) = (if from == 3 { 3 } else { from / 16 }, to / 16);
        let weight = store.value(store.find(&format!("vgg.features.{index}.weight")).unwrap());
        for k in 0..to {
            for (c, rs) in (0..from).flat_map(|c| (0..9).map(move |rs| (c, rs))) {
                // Ours is [out, 3, 3, in], torch's [out, in, 3, 3].
                assert_eq!(weight[(k * 9 + rs) * from + c], of(n, (k * from + c) * 9 + rs), "features.{index} {k} {c} {rs}");
                checked += 1;
            }
            assert_eq!(store.value(store.find(&format!("vgg.features.{index}.bias")).unwrap())[k], of(n + 100, k));
        }
    }
    assert_eq!(checked, VGG16.iter().map(|&(_, i, o)| 9 * (o / 16) * if i == 3 { 3 } else { i / 16 }).sum::<usize>());
    // What does not fit is named.
    let fails = |bytes: &[u8], words: &[&str]| {
        std::fs::write(&file, bytes).unwrap();
        let e = Vgg::load(&mut fresh(), &file).unwrap_err().to_string();
        assert!(words.iter().all(|w| e.contains(w)) && e.contains("vgg.safetensors"), "{words:?} in {e}");
    };
    fails(&torchvision(&VGG16[..9], 16, of), &["features.21.weight", "torchvision"]);
    fails(&torchvision(VGG16, 8, of), &["features.0.weight", "[8, 3, 3, 3]", "[4, 3, 3, 3]"]);
    fails(b"PK\x03\x04 a pickle", &["not a safetensors file", "torchvision"]);
}

/// Files of half the size give the values that their type holds; others are refused.
#[test]
fn comparator_takes_f16_and_bf16() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("vgg.safetensors");
    let of = |n: usize, i: usize| ((n * 7919 + i * 104_729) % 65_521) as f32 / 65_521.0 - 0.5;
    let load = |bytes: Vec<u8>| {
        std::fs::write(&file, bytes).unwrap();
        let mut store = ParamStore::<f32>::new(0);
        let vgg = Vgg::build(&mut store, 32, "conv4_3", true, 1.0 / 16.0).unwrap();
        Vgg::load(&mut store, &file).map(|()| vgg.group.ids().iter().flat_map(|&id| store.value(id).to_vec()).collect::<Vec<_>>())
    };
    let wide = load(torchvision(VGG16, 16, of)).unwrap();
    let f16s = load(torchvision_in(Dtype::F16, |x| f16::from_f32(x).to_le_bytes().to_vec(), VGG16, 16, of)).unwrap();
    let bf16s = load(torchvision_in(Dtype::BF16, |x| bf16::from_f32(x).to_le_bytes().to_vec(), VGG16, 16, of)).unwrap();
    assert!(wide.len() > 20_000 && f16s.len() == wide.len() && bf16s.len() == wide.len());
    for ((&x, a), b) in wide.iter().zip(f16s).zip(bf16s) {
        assert_eq!((a.to_bits(), b.to_bits()), (f16::from_f32(x).to_f32().to_bits(), bf16::from_f32(x).to_f32().to_bits()));
    }
    let why = load(torchvision_in(Dtype::F64, |x| (x as f64).to_le_bytes().to_vec(), VGG16, 16, of)).unwrap_err().to_string();
    assert!(["vgg.safetensors", "features.0.weight", "F64", "f32, f16 and bf16"].iter().all(|w| why.contains(w)), "{why}");
}

#[test]
fn a_run_with_loaded_weights_does_not_call_them_random() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("vgg.safetensors");
    std::fs::write(&file, torchvision(&VGG16[..2], 1, |n, i| ((n * 7 + i * 31) % 13) as f32 / 130.0 - 0.05)).unwrap();
    let train = |more: &[&str]| {
        let run = dir.path().join(format!("run{}", more.len()));
        let mut args = vec!["train", "--preset", "smoke", "--annotations", "0", "--set", "train.epochs=1", "--out"];
        args.push(run.to_str().unwrap());
        args.extend(["--set", "comparator.layer=conv1_2", "--set", "comparator.width=1"]);
        args.extend(more);
        let out =
            std::process::Command::new(env!("CARGO_BIN_EXE_lae-engine")).current_dir(dir.path()).args(&args).output().unwrap();
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        let said = String::from_utf8_lossy(&out.stdout).into_owned();
        (said, std::fs::read(run.join("metrics.jsonl")).unwrap(), run)
    };
    let (random, by_random, _) = train(&[]);
    let (loaded, by_loaded, run) = train(&["--set", "comparator.weights=vgg.safetensors"]);
    assert!(random.contains("random weights") && !loaded.contains("random weights"), "{loaded}");
    assert_ne!(by_random, by_loaded, "the weights were not used");
    // The path is kept in full: the run can be gone on with from anywhere.
    let config = lae_engine::detectors::of_run(&run).unwrap().1;
    assert!(config.own::<lae_engine::detectors::lae::config::LaeKeys>().comparator.weights.unwrap().is_absolute());
}

/// MesoInception-4 as its authors' code has it: sizes after the rows, parameters of the rows and in all.
#[test]
fn meso_inception_4() {
    let mut store = ParamStore::<f32>::new(0);
    let meso = Meso::build(&mut store, 256).unwrap();
    assert_eq!(count(&store, "meso", Kind::Trained), 28_615);
    assert_eq!(count(&store, "meso", Kind::Running), 2 * (11 + 12 + 16 + 16));
    let size = |s: Shape| (s.c, s.h);
    let rows = [
        (11, 256), // Inception(1, 4, 4, 2)
        (11, 256),
        (11, 128),
        (12, 128), // Inception(2, 4, 4, 2)
        (12, 128),
        (12, 64),
        (16, 64),
        (16, 64),
        (16, 64),
        (16, 32),
        (16, 32),
        (16, 32),
        (16, 32), // the maps
        (16, 8),
        (16, 8),
        (16, 1),
        (16, 1),
        (16, 1),
        (1, 1),
    ];
    assert_eq!(sizes(&meso.net), rows);
    // ReLU before batch norm, batch norm with Keras's constants.
    let layers: Vec<&Layer> = meso.net.rows().map(|r| r.0).collect();
    let norms: Vec<usize> = (0..layers.len()).filter(|&i| matches!(layers[i], Layer::BatchNorm { .. })).collect();
    assert_eq!(norms, [1, 4, 8, 12]);
    for i in norms {
        assert_eq!(layers[i], &Layer::BatchNorm { eps: 1e-3, momentum: 0.01 });
        assert!(matches!(layers[i - 1], Layer::Relu | Layer::Branches(_)) && matches!(layers[i + 1], Layer::MaxPool(_)));
    }
    // Each branch: its convolutions as (channels, kernel, dilation), every one with a ReLU behind it and the size kept.
    for (row, input, branches) in [
        (0, 3, [vec![(1, 1, 1)], vec![(4, 1, 1), (4, 3, 1)], vec![(4, 1, 1), (4, 3, 2)], vec![(2, 1, 1), (2, 3, 3)]]),
        (3, 11, [vec![(2, 1, 1)], vec![(4, 1, 1), (4, 3, 1)], vec![(4, 1, 1), (4, 3, 2)], vec![(2, 1, 1), (2, 3, 3)]]),
    ] {
        let parts = meso.net.parts(row);
        assert_eq!(parts.len(), 4);
        for (part, expected) in parts.iter().zip(&branches) {
            let rows: Vec<(&Layer, Shape)> = part.rows().collect();
            assert_eq!(part.input.c, input);
            for (pair, &(out, k, d)) in rows.chunks(2).zip(expected) {
                let Layer::Conv(f) = pair[0].0 else { panic!("{:?}", pair[0]) };
                assert_eq!((f.out, f.kernel, f.dilation, f.stride, f.groups, f.bias), (out, (k, k), (d, d), (1, 1), 1, true));
                assert_eq!(pair[1].0, &Layer::Relu);
                assert_eq!(size(pair[0].1), (out as u32, part.input.h));
            }
            assert_eq!(rows.len(), 2 * expected.len());
        }
    }
    // Names are those of torch's nested nn.Sequential and nn.ModuleList.
    for (name, count) in [
        ("meso.0.0.0.weight", 3),
        ("meso.0.2.2.weight", 4 * 4 * 9),
        ("meso.6.weight", 12 * 16 * 25),
        ("meso.15.weight", 16 * 1024),
    ] {
        assert_eq!(store.get(store.find(name).unwrap_or_else(|| panic!("{name}"))).shape.len(), count, "{name}");
    }
    // Glorot's bound is reached and kept: √(6 / (12·25 + 16·25)) for the first 5×5 convolution.
    let weights = store.value(store.find("meso.6.weight").unwrap());
    let (bound, largest) = ((6.0f32 / 700.0).sqrt(), weights.iter().fold(0f32, |a, w| a.max(w.abs())));
    assert!(largest <= bound && largest > 0.99 * bound, "{largest} of {bound}");
    assert!(store.value(store.find("meso.6.bias").unwrap()).iter().all(|&b| b == 0.0));
}

#[test]
fn meso_takes_pictures_that_its_strides_divide() {
    for size in [32, 64, 96, 224, 256] {
        let mut store = ParamStore::<f32>::new(0);
        let meso = Meso::build(&mut store, size).unwrap();
        let side = size / 32;
        assert_eq!(count(&store, "meso", Kind::Trained), 28_615 - 16 * 1024 + 16 * 16 * side * side, "size {size}");
        assert_eq!(meso.net.output().per_image(), 1);
    }
    for (size, words) in [(0, "32 or 64"), (20, "32 or 64"), (100, "96 or 128"), (299, "288 or 320")] {
        let e = Meso::build(&mut ParamStore::<f32>::new(0), size).unwrap_err().to_string();
        assert!(e.contains(words) && e.contains("256") && e.contains("size"), "{e}");
    }
}

/// Bayar and Stamm's network: maps at 227 and 256 pixels, and nearly all parameters in the wide layers.
#[test]
fn suppressnet_of_2016() {
    for (size, maps, total) in [(227, [223, 112, 56, 56, 28], 171_049_118), (256, [252, 126, 63, 63, 31], 205_848_734)] {
        let [first, one, pooled, two, last] = maps;
        let count_of = |fc: usize| {
            let c = SuppressConfig { fc, ..SuppressConfig::default() };
            let mut store = ParamStore::<f32>::new(0);
            let net = suppress::build(&mut store, size, &c, 1).unwrap();
            let fc = fc as u32;
            let convolutions =
                [(12, first), (64, one), (64, one), (64, pooled), (64, pooled), (48, two), (48, two), (48, last), (48, last)];
            let wide = [(fc, 1), (fc, 1), (fc, 1), (fc, 1), (fc, 1), (fc, 1), (2, 1)];
            assert_eq!(sizes(&net), [&convolutions[..], &wide].concat());
            count(&store, "suppress", Kind::Trained)
        };
        // Of 4096 units the weights alone are 0.8 GB: the count is a polynomial of their number.
        let of = |fc: usize| 300 + 37_696 + 76_848 + (48 * (last * last) as usize + 1) * fc + (fc + 1) * fc + (fc + 1) * 2;
        assert_eq!((count_of(8), count_of(24)), (of(8), of(24)));
        assert_eq!(of(SuppressConfig::default().fc), total, "{size} pixels");
    }
    let net = |c: SuppressConfig| {
        let mut store = ParamStore::<f32>::new(0);
        let net = suppress::build(&mut store, 64, &SuppressConfig { fc: 8, ..c }, 1).unwrap();
        (store, net)
    };
    let c = SuppressConfig::default();
    let kinds =
        |net: &lae_engine::nn::Net| -> Vec<char> { net.rows().map(|(l, _)| format!("{l:?}").chars().next().unwrap()).collect() };
    assert_eq!(kinds(&net(c.clone()).1)[1..5], ['C', 'R', 'M', 'L']);
    assert_eq!(kinds(&net(SuppressConfig { lrn: LrnPlace::BeforePool, ..c.clone() }).1)[1..5], ['C', 'R', 'L', 'M']);
    assert_eq!(kinds(&net(SuppressConfig { lrn: LrnPlace::None, ..c.clone() }).1)[1..5], ['C', 'R', 'M', 'C']);
    // Three channels have three slices to a filter. No bias before the first block, 0.1 in all others; Caffe's bound is reached.
    let (store, rgb) = net(SuppressConfig { input: Input::Rgb, ..c });
    assert_eq!((store.value(rgb.params(0)[0]).len(), rgb.params(0).len()), (12 * 25 * 3, 1));
    assert!(store.value(rgb.params(1)[1]).iter().chain(store.value(rgb.params(9)[1])).all(|&b| b == 0.1));
    let (bound, largest) = ((3.0f32 / 588.0).sqrt(), store.value(rgb.params(1)[0]).iter().fold(0f32, |a, w| a.max(w.abs())));
    assert!(largest <= bound && largest > 0.99 * bound, "{largest} of {bound}");
}

/// The release of 2018: 252→126→63→31→15→7.
#[test]
fn mislnet_of_2018() {
    let c = SuppressConfig { arch: suppress::Arch::Mislnet, ..SuppressConfig::default() };
    let mut store = ParamStore::<f32>::new(0);
    let net = suppress::build(&mut store, 256, &c, 1).unwrap();
    let block = |channels, side, pooled| [(channels, side), (channels, side), (channels, side), (channels, pooled)];
    let blocks = [block(96, 126, 63), block(64, 63, 31), block(64, 31, 15), block(128, 15, 7)].concat();
    let dense = [(200, 1), (200, 1), (200, 1), (200, 1), (2, 1)];
    assert_eq!(sizes(&net), [&[(3, 252)], &blocks[..], &dense].concat());
    assert_eq!(count(&store, "suppress", Kind::Trained), 1_574_637);
    assert_eq!(count(&store, "suppress", Kind::Running), 2 * (96 + 64 + 64 + 128));
    let poolings = net.rows().filter(|(l, _)| matches!(l, Layer::MaxPool(_) | Layer::AvgPool(_)));
    assert!(poolings.map(|(l, _)| matches!(l, Layer::AvgPool(_))).eq([false, false, false, true]));
    // The least side, and one below it.
    for (size, fits) in [(c.least(), true), (c.least() - 1, false)] {
        assert_eq!(suppress::build(&mut ParamStore::<f32>::new(0), size, &c, 1).is_ok(), fits, "{size} pixels");
        let set = [format!("size={size}"), "suppress.arch=mislnet".to_string()];
        let why = lae_engine::detectors::resolve(Some("suppress"), "paper", None, &set).err().map(|e| e.to_string());
        assert!(why.as_ref().map_or(fits, |why| !fits && why.contains("need 51") && why.starts_with("size")), "{why:?}");
    }
}

/// Stats-2L: the authors' figure, at any size; truncated normals.
#[test]
fn statsnet() {
    for size in [16, 100, 256] {
        let mut store = ParamStore::<f32>::new(0);
        let net = stats::build(&mut store, size, 1).unwrap();
        assert_eq!(count(&store, "stats", Kind::Trained), 284_610, "{size} pixels");
        let side = size as u32;
        let maps = [(32, side), (32, side), (64, side), (64, side)];
        assert_eq!(sizes(&net), [&maps[..], &[(256, 1), (1024, 1), (1024, 1), (1024, 1), (2, 1)]].concat());
        let of = |row: usize, i: usize| store.value(net.params(row)[i]);
        let (std, largest) = ((2.0f32 / 288.0).sqrt(), of(2, 0).iter().fold(0f32, |a, w| a.max(w.abs())));
        assert!(largest <= 2.0 * std && largest > 1.98 * std, "{largest}: {std}");
        let mean = of(5, 1).iter().sum::<f32>() / 1024.0;
        assert!((mean - 0.5).abs() < 0.02 && of(5, 1).iter().all(|b| (b - 0.5).abs() <= 0.2 + 1e-6), "{mean}");
    }
}

/// XceptionNet as FaceForensics++ has it: parameters for 1000 and for two classes, sizes for 299 and 256 pixels.
#[test]
fn xception() {
    let of = |size, classes| {
        let mut store = ParamStore::<f32>::new(0);
        let net = Xception::build(&mut store, size, 1.0, 8, classes).unwrap().net;
        (count(&store, "xception", Kind::Trained), sizes(&net))
    };
    let rows = |sides: [u32; 6]| {
        let [conv1, conv2, block1, block2, block3, block12] = sides;
        let mut rows = vec![(32, conv1); 3];
        rows.extend([(64, conv2); 3]);
        rows.extend([(128, block1), (256, block2)]);
        rows.extend([(728, block3); 9]);
        rows.push((1024, block12));
        rows.extend([(1536, block12); 4].iter().chain(&[(2048, block12); 4]));
        let (convolutions, head) = ([18, 22], [(2048, 1), (2, 1)]);
        convolutions.iter().for_each(|&i| rows[i] = (rows[i - 1].0, block12)); // 3×3 per channel: channels stay
        rows.extend(head);
        rows
    };
    assert_eq!(of(299, 1000).0, 22_855_952);
    assert_eq!(of(299, 2), (20_811_050, rows([149, 147, 74, 37, 19, 10])));
    assert_eq!(of(256, 2), (20_811_050, rows([127, 125, 63, 32, 16, 8])));
    // Any side will do, and each block of the middle flow costs three separable convolutions.
    let small = |middle| {
        let mut store = ParamStore::<f32>::new(0);
        let net = Xception::build(&mut store, 64, 0.25, middle, 2).unwrap().net;
        (count(&store, "xception", Kind::Trained), net.output().per_image())
    };
    assert_eq!(small(3).0 - small(2).0, 3 * (184 * 184 + 9 * 184 + 2 * 184));
    assert_eq!(small(1).1, 2);
}

/// models.md §6.2: 81 patterns of four residuals in two directions; §6.6: widths 8 to 128 and their decoder.
#[test]
fn residual_and_transfer_have_their_published_sizes() {
    let mut store = ParamStore::<f32>::new(0);
    let net = Residual::build(&mut store, 256, 3.0, 1.0).unwrap().net;
    assert_eq!(sizes(&net), [(162, 1), (2, 1)]);
    let of = |i: usize| net.parts(0)[i].rows().map(|(_, s)| (s.c, s.h, s.w)).collect::<Vec<_>>();
    assert_eq!(of(0), [(4, 256, 250), (81, 256, 250), (81, 256, 250), (81, 1, 1)]);
    assert_eq!(of(1), [(4, 253, 253), (81, 253, 253), (81, 253, 253), (81, 1, 1)]);
    // 28 + 64 filter values, 2·(81·4 + 81), 162·2 + 2.
    assert_eq!(count(&store, "residual", Kind::Trained), 1_228);

    for (residual, expected) in [(false, 197_107), (true, 197_542)] {
        let mut store = ParamStore::<f32>::new(0);
        let net = Transfer::build(&mut store, 256, 8, residual).unwrap();
        assert_eq!(count(&store, "transfer", Kind::Trained), expected);
        let convolutions = |net: &lae_engine::nn::Net| {
            net.rows().filter(|r| matches!(r.0, Layer::Conv(_))).map(|(_, s)| (s.c, s.h)).collect::<Vec<_>>()
        };
        assert_eq!(convolutions(&net.encoder), [(8, 256), (16, 128), (32, 64), (64, 32), (128, 16)]);
        let last = if residual { 6 } else { 3 };
        assert_eq!(convolutions(&net.decoder), [(64, 32), (32, 64), (16, 128), (8, 256), (last, 256)]);
    }
    let e = Transfer::build(&mut ParamStore::<f32>::new(0), 72, 8, false).map(drop).unwrap_err().to_string();
    assert!(e.contains("size") && e.contains("multiple of 16") && e.contains("64 or 80"), "{e}");
}
