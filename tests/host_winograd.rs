//! Winograd's convolutions against the plain f64 ones, at every SIMD level of this machine and for both sizes of tiles, and with the
//! same bits at any number of threads.

use lae_engine::core::rng::{Rng, stream};
use lae_engine::host::simd::Level;
use lae_engine::host::sizes::ConvSizes;
use lae_engine::host::winograd::{Pass, Winograd};
use lae_engine::host::{conv, plain};

/// A 3×3 convolution of `n` pictures.
fn sizes(n: u32, (h, w): (u32, u32), c: u32, k: u32, (pad_h, pad_w): (u32, u32)) -> ConvSizes {
    let (p, q, r, s) = (h + 2 * pad_h - 2, w + 2 * pad_w - 2, 3, 3);
    let (stride_h, stride_w, dil_h, dil_w, groups) = (1, 1, 1, 1, 1);
    ConvSizes { n, h, w, c, k, r, s, p, q, stride_h, stride_w, pad_h, pad_w, dil_h, dil_w, groups }
}

fn cases() -> Vec<ConvSizes> {
    vec![
        sizes(1, (8, 8), 16, 32, (1, 1)), // nothing has a rest
        sizes(1, (1, 1), 16, 16, (1, 1)), // a picture of one pixel
        sizes(1, (2, 3), 16, 16, (1, 1)), // below a tile
        sizes(1, (3, 3), 32, 8, (0, 0)),  // one result
        sizes(2, (5, 6), 16, 33, (0, 0)), // a rest in every direction
        sizes(1, (9, 7), 17, 31, (1, 1)), // channels beyond a block, filters below a panel
        sizes(3, (7, 10), 40, 5, (2, 2)), // more results than pixels; few filters
        sizes(2, (6, 11), 5, 70, (0, 2)), // less than a block of channels; the padding differs
        sizes(1, (13, 9), 24, 20, (2, 0)),
        sizes(1, (12, 12), 16, 1, (1, 1)),
        sizes(1, (12, 12), 1, 16, (1, 1)),   // dgrad of one channel
        sizes(1, (10, 300), 16, 16, (1, 1)), // rows of tiles longer than a block
        sizes(2, (40, 37), 20, 40, (1, 1)),  // bands of a picture, the last one shorter
        sizes(40, (4, 4), 18, 36, (1, 1)),   // several pictures to a task, and a rest of them
        sizes(9, (11, 13), 16, 34, (1, 1)),
        sizes(1, (9, 9), 300, 290, (1, 1)), // sums in several parts, several groups of filters
        sizes(1, (17, 18), 64, 64, (1, 1)),
        sizes(1, (4, 5), 2100, 16, (1, 1)), // blocks of fewer tiles
    ]
}

fn random(len: usize, what: &str) -> Vec<f32> {
    let mut rng = Rng::new(7, stream(what), len as u64);
    (0..len).map(|_| rng.normal()).collect()
}
fn wide(x: &[f32]) -> Vec<f64> {
    x.iter().map(|&x| x as f64).collect()
}

/// The formula of docs/numerics.md.
fn assert_close(got: &[f32], want: &[f64], terms: usize, what: &str) {
    let rms = (want.iter().map(|v| v * v).sum::<f64>() / want.len() as f64).sqrt();
    let bound = 8.0 * f32::EPSILON as f64 * (terms.max(16) as f64).sqrt();
    for (i, (&a, &b)) in got.iter().zip(want).enumerate() {
        let error = (a as f64 - b).abs();
        assert!(
            error <= bound * (rms + b.abs()),
            "{what}: element {i} is {a}, want {b}, off by {:.2} of the bound",
            error / (bound * (rms + b.abs()))
        );
    }
}

struct Data {
    x: Vec<f32>,
    w: Vec<f32>,
    dy: Vec<f32>,
    over_k: Vec<f32>,
    over_c: Vec<f32>,
}
impl Data {
    fn of(z: &ConvSizes) -> Data {
        Data {
            x: random(z.x().len(), "x"),
            w: random(z.filters().len(), "w"),
            dy: random(z.y().len(), "dy"),
            over_k: random(z.k as usize, "bias over k"),
            over_c: random(z.c as usize, "bias over c"),
        }
    }
}

/// fprop and dgrad, each without and with a bias, into buffers of NaN; no result for a pass that has no such form.
fn fast(level: Level, which: Winograd, z: &ConvSizes, d: &Data) -> [Option<Vec<f32>>; 4] {
    let run = |pass: Option<Pass>, x: &[f32], bias: Option<&[f32]>, len: usize| {
        pass.map(|pass| {
            let (mut y, mut scratch) = (vec![f32::NAN; len], vec![f32::NAN; pass.scratch()]);
            pass.run(level, x, &d.w, bias, &mut y, &mut scratch);
            y
        })
    };
    let (f, b) = (Pass::of_fprop(z, which), Pass::of_dgrad(z, which));
    [
        run(f, &d.x, None, z.y().len()),
        run(f, &d.x, Some(&d.over_k), z.y().len()),
        run(b, &d.dy, None, z.x().len()),
        run(b, &d.dy, Some(&d.over_c), z.x().len()),
    ]
}

#[test]
fn agrees_with_the_oracle() {
    for z in cases() {
        let d = Data::of(&z);
        let (x, w, dy) = (wide(&d.x), wide(&d.w), wide(&d.dy));
        let mut want = [z.y(), z.y(), z.x(), z.x()].map(|s| vec![f64::NAN; s.len()]);
        plain::fprop(&z, &x, &w, None, &mut want[0]);
        plain::fprop(&z, &x, &w, Some(&wide(&d.over_k)), &mut want[1]);
        plain::dgrad(&z, &dy, &w, None, &mut want[2]);
        plain::dgrad(&z, &dy, &w, Some(&wide(&d.over_c)), &mut want[3]);
        let terms = z.x().len().max(z.filters().len());
        for level in Level::all() {
            for which in [Winograd::F2, Winograd::F4] {
                let names = ["fprop", "fprop + bias", "dgrad", "dgrad + bias"];
                for (i, got) in fast(level, which, &z, &d).into_iter().enumerate() {
                    let got = got.unwrap_or_else(|| panic!("{} of {z:?} has no {which:?}", names[i]));
                    assert_close(&got, &want[i], terms, &format!("{} of {z:?} as {which:?} at {level:?}", names[i]));
                }
            }
        }
    }
}

#[test]
fn bits_do_not_depend_on_threads() {
    for z in cases() {
        let d = Data::of(&z);
        for level in Level::all() {
            for which in [Winograd::F2, Winograd::F4] {
                let [one, two, three] = [1, 2, 3].map(|threads| {
                    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                    let bits = |y: Vec<f32>| y.into_iter().map(f32::to_bits).collect::<Vec<_>>();
                    pool.install(|| fast(level, which, &z, &d)).map(|y| y.map(bits))
                });
                assert!(one == two && two == three, "{z:?} as {which:?} at {level:?}");
            }
        }
    }
}

/// The rule that docs/numerics.md states: results of a tile in each direction that fprop and dgrad take by themselves.
#[test]
fn the_rule_takes_what_gains() {
    let auto =
        |z: ConvSizes| [Pass::of_fprop(&z, Winograd::Auto), Pass::of_dgrad(&z, Winograd::Auto)].map(|p| p.map(|p| p.tile()));
    let square = |n, c, k, side| sizes(n, (side, side), c, k, (1, 1));
    assert_eq!(auto(square(4, 64, 64, 256)), [Some(4); 2]);
    assert_eq!(auto(square(32, 512, 512, 8)), [Some(4); 2]);
    assert_eq!(auto(square(4, 512, 512, 32)), [Some(4); 2]);
    assert_eq!(auto(square(32, 512, 512, 6)), [Some(2); 2], "nine tiles of four results, not four half empty ones of sixteen");
    assert_eq!(auto(square(32, 1024, 1024, 3)), [Some(4); 2]);
    assert_eq!(auto(square(32, 1024, 1024, 2)), [Some(2); 2]);
    assert_eq!(auto(square(32, 256, 256, 3)), [None; 2], "a picture takes too few products");
    assert_eq!(auto(square(1, 512, 512, 8)), [None; 2], "too few tiles for the filters");
    assert_eq!(auto(square(4, 3, 64, 256)), [None; 2], "three channels fill no block");
    assert_eq!(auto(square(32, 15, 64, 64)), [None; 2]);
    assert_eq!(auto(square(32, 16, 64, 64)), [Some(4); 2]);
    assert_eq!(auto(square(32, 64, 64, 8)), [None; 2], "a picture takes too few products");
    assert_eq!(auto(sizes(4, (64, 64), 64, 64, (3, 3))), [Some(4), None], "dgrad would cut the picture");
    let z = square(4, 64, 64, 64);
    for other in [
        ConvSizes { stride_h: 2, p: 32, ..z },
        ConvSizes { stride_w: 2, q: 32, ..z },
        ConvSizes { dil_h: 2, p: 62, ..z },
        ConvSizes { dil_w: 2, q: 62, ..z },
        ConvSizes { groups: 2, ..z },
        ConvSizes { r: 2, p: 65, ..z },
        ConvSizes { s: 5, q: 62, ..z },
        ConvSizes { n: 0, ..z },
    ] {
        for which in [Winograd::Auto, Winograd::F2, Winograd::F4] {
            assert!(Pass::of_fprop(&other, which).is_none() && Pass::of_dgrad(&other, which).is_none(), "{other:?}");
        }
    }
    assert!(Pass::of_fprop(&z, Winograd::Off).is_none() && Pass::of_dgrad(&z, Winograd::Off).is_none());
}

/// What the process has set is what the convolutions do. No other test of this file reads the setting.
#[test]
fn the_setting_is_followed() {
    let z = sizes(2, (16, 16), 128, 128, (1, 1));
    let d = Data::of(&z);
    let bits = |y: &[f32]| y.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
    let run = |which: Winograd| {
        which.set();
        assert_eq!(Winograd::setting(), which);
        let (mut y, mut dx) = (vec![f32::NAN; z.y().len()], vec![f32::NAN; z.x().len()]);
        conv::fprop(&z, &d.x, &d.w, None, &mut y, &mut vec![f32::NAN; conv::fprop_scratch(&z)]);
        conv::dgrad(&z, &d.dy, &d.w, None, &mut dx, &mut vec![f32::NAN; conv::dgrad_scratch(&z)]);
        Winograd::Auto.set();
        [bits(&y), bits(&dx)]
    };
    let of = |which| {
        let [y, _, dx, _] = fast(Level::best(), which, &z, &d).map(|y| bits(&y.unwrap()));
        [y, dx]
    };
    assert!(run(Winograd::F2) == of(Winograd::F2));
    assert!(run(Winograd::F4) == of(Winograd::F4));
    assert!(run(Winograd::Auto) == of(Winograd::F4));
    let direct = run(Winograd::Off);
    assert!(direct != of(Winograd::F2) && direct != of(Winograd::F4));
}
