//! Convolutions of bf16 on the CPU against the plain f64 ones, with every instruction set of this machine, and with the same bits at any
//! number of threads.

use half::bf16;
use lae_engine::core::rng::{Rng, stream};
use lae_engine::host::half::{Pass, Products};
use lae_engine::host::half_wgrad::{Gradient, Wgrad};
use lae_engine::host::plain;
use lae_engine::host::simd::half::Pairs;
use lae_engine::host::sizes::ConvSizes;

/// Pictures, height and width, channels, filters, taps; then strides, padding, dilation.
type Two = (u32, u32);
fn sizes(n: u32, (h, w): Two, (c, k): Two, (r, s): Two, (stride_h, stride_w): Two, (pad_h, pad_w): Two) -> ConvSizes {
    dilated(
        ConvSizes { n, h, w, c, k, r, s, p: 0, q: 0, stride_h, stride_w, pad_h, pad_w, dil_h: 1, dil_w: 1, groups: 1 },
        (1, 1),
    )
}
fn dilated(z: ConvSizes, (dil_h, dil_w): Two) -> ConvSizes {
    let out = |x: u32, f: u32, pad: u32, dil: u32, stride: u32| (x + 2 * pad - (f - 1) * dil - 1) / stride + 1;
    let (p, q) = (out(z.h, z.r, z.pad_h, dil_h, z.stride_h), out(z.w, z.s, z.pad_w, dil_w, z.stride_w));
    ConvSizes { p, q, dil_h, dil_w, ..z }
}

fn cases() -> Vec<ConvSizes> {
    vec![
        sizes(1, (8, 8), (32, 32), (3, 3), (1, 1), (1, 1)),   // whole panels and steps
        sizes(2, (5, 7), (40, 33), (3, 3), (1, 1), (1, 1)),   // a rest of channels and of filters
        sizes(3, (6, 4), (8, 70), (3, 3), (1, 1), (0, 0)),    // few channels
        sizes(2, (8, 12), (16, 24), (4, 4), (2, 2), (1, 1)),  // phases
        sizes(2, (9, 7), (16, 24), (3, 3), (2, 2), (1, 1)),   // odd pictures: the last phase is shorter
        sizes(1, (5, 21), (24, 16), (3, 2), (1, 2), (1, 0)),  // strides differ
        sizes(2, (11, 6), (33, 8), (5, 3), (2, 1), (2, 2)),   // taps beyond the picture
        sizes(1, (70, 66), (32, 8), (3, 3), (1, 1), (1, 1)),  // several tasks of a picture
        sizes(3, (33, 31), (32, 16), (4, 4), (2, 2), (1, 1)), // tasks are pictures in dgrad
        sizes(40, (4, 4), (36, 18), (3, 3), (1, 1), (1, 1)),  // several pictures to a task
        sizes(1, (13, 9), (64, 96), (1, 1), (2, 2), (0, 0)),  // phases without taps
        sizes(2, (10, 10), (16, 16), (2, 2), (3, 3), (0, 0)), // stride 3
        sizes(1, (9, 9), (300, 40), (3, 3), (1, 1), (1, 1)),  // long sums
        sizes(1, (12, 10), (16, 16), (7, 7), (1, 1), (3, 3)), // 49 taps
        sizes(5, (22, 39), (8, 33), (3, 3), (1, 1), (1, 1)),  // wgrad in parts
        sizes(1, (1, 9), (32, 32), (1, 3), (1, 1), (0, 1)),   // a line
        dilated(sizes(1, (12, 12), (16, 16), (3, 3), (1, 1), (2, 2)), (2, 2)),
        dilated(sizes(1, (11, 13), (16, 16), (3, 3), (2, 2), (3, 3)), (3, 3)),
    ]
}

fn random(len: usize, what: &str) -> Vec<bf16> {
    let mut rng = Rng::new(7, stream(what), len as u64);
    (0..len).map(|_| bf16::from_f32(rng.normal())).collect()
}
fn wide(x: &[bf16]) -> Vec<f64> {
    x.iter().map(|x| x.to_f64()).collect()
}

/// The formula of docs/numerics.md: sums in f32, rounded to bf16 once.
fn assert_close(got: &[bf16], want: &[f64], terms: usize, what: &str) {
    let rms = (want.iter().map(|v| v * v).sum::<f64>() / want.len() as f64).sqrt();
    for (i, (&a, &b)) in got.iter().zip(want).enumerate() {
        let computed = 8.0 * f32::EPSILON as f64 * (terms.max(16) as f64).sqrt() * (rms + b.abs());
        let bound = computed + (b.abs() + computed) / 256.0;
        let error = (a.to_f64() - b).abs();
        assert!(error <= bound, "{what}: element {i} is {a}, want {b}, off by {:.2} of the bound", error / bound);
    }
}

/// wgrad to f32 and to bf16, into buffers of NaN.
fn wgrad(pairs: Pairs, z: &ConvSizes) -> (Vec<f32>, Vec<bf16>) {
    let (x, dy, len) = (random(z.x().len(), "x"), random(z.y().len(), "dy"), z.filters().len());
    let pass = Wgrad::possible(z).unwrap_or_else(|| panic!("{z:?} has no such form"));
    let (mut real, mut half) = (vec![f32::NAN; len], vec![bf16::NAN; len]);
    pass.run(pairs, &x, &dy, Gradient::Real(&mut real), &mut vec![f32::NAN; pass.scratch()]);
    pass.run(pairs, &x, &dy, Gradient::Half(&mut half), &mut vec![f32::NAN; pass.scratch()]);
    (real, half)
}

/// fprop and dgrad, each without and with a bias, into buffers of NaN.
fn run(pairs: Pairs, z: &ConvSizes) -> [Vec<bf16>; 4] {
    let (x, w, dy) = (random(z.x().len(), "x"), random(z.filters().len(), "w"), random(z.y().len(), "dy"));
    let bias = |n: u32| -> Vec<f32> { random(n as usize, "bias").iter().map(|b| b.to_f32()).collect() };
    [(false, 0), (false, z.k), (true, 0), (true, z.c)].map(|(turned, bias_of)| {
        let pass = Pass::possible(z, turned).unwrap_or_else(|| panic!("{z:?} has no such form"));
        let (from, len) = if turned { (&dy, z.x().len()) } else { (&x, z.y().len()) };
        let (mut y, mut scratch) = (vec![bf16::NAN; len], vec![f32::NAN; pass.scratch()]);
        pass.run(pairs, from, &w, &bias(bias_of), &mut y, &mut scratch);
        y
    })
}

#[test]
fn agrees_with_the_oracle() {
    let mut compared = 0;
    for z in cases() {
        let (x, w, dy) = (random(z.x().len(), "x"), random(z.filters().len(), "w"), random(z.y().len(), "dy"));
        let (x, w, dy) = (wide(&x), wide(&w), wide(&dy));
        let bias = |n: u32| wide(&random(n as usize, "bias"));
        let mut want = [z.y(), z.y(), z.x(), z.x()].map(|s| vec![f64::NAN; s.len()]);
        plain::fprop(&z, &x, &w, None, &mut want[0]);
        plain::fprop(&z, &x, &w, Some(&bias(z.k)), &mut want[1]);
        plain::dgrad(&z, &dy, &w, None, &mut want[2]);
        plain::dgrad(&z, &dy, &w, Some(&bias(z.c)), &mut want[3]);
        let mut dw = vec![f64::NAN; z.filters().len()];
        plain::wgrad(&z, &x, &dy, &mut dw);
        for pairs in Pairs::all() {
            let (real, half) = wgrad(pairs, &z);
            assert_close(&half, &dw, z.y().pixels(), &format!("wgrad of {z:?} by {}", pairs.name()));
            assert_eq!(real.iter().map(|&x| bf16::from_f32(x)).collect::<Vec<_>>(), half, "one sum, rounded");
            compared += 1;
            for (i, got) in run(pairs, &z).iter().enumerate() {
                let name = ["fprop", "fprop + bias", "dgrad", "dgrad + bias"][i];
                let terms = (z.r * z.s * z.c.max(z.k)) as usize;
                assert_close(got, &want[i], terms, &format!("{name} of {z:?} by {}", pairs.name()));
                compared += 1;
            }
        }
    }
    println!("{compared} passes compared, by {:?}", Pairs::all().map(Pairs::name).collect::<Vec<_>>());
    assert!(compared >= 5 * cases().len());
}

#[test]
fn bits_do_not_depend_on_threads() {
    for z in cases() {
        for pairs in Pairs::all() {
            let [one, two, three] = [1, 2, 3].map(|threads| {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                pool.install(|| {
                    let dw: Vec<u32> = wgrad(pairs, &z).0.iter().map(|dw| dw.to_bits()).collect();
                    (run(pairs, &z).map(|y| y.iter().map(|y| y.to_bits()).collect::<Vec<_>>()), dw)
                })
            });
            assert!(one == two && two == three, "{z:?} by {}", pairs.name());
        }
    }
}

#[test]
fn the_rule_takes_what_gains() {
    let takes = |z: ConvSizes| [Pass::of_fprop(&z).is_some(), Pass::of_dgrad(&z).is_some()];
    let three = |n, c, k, side| sizes(n, (side, side), (c, k), (3, 3), (1, 1), (1, 1));
    assert_eq!(takes(three(4, 64, 64, 256)), [true; 2]);
    assert_eq!(takes(three(4, 3, 64, 256)), [false; 2], "of 32 channels three count");
    assert_eq!(takes(three(32, 512, 512, 8)), [true; 2]);
    assert_eq!(takes(three(32, 512, 512, 4)), [true; 2]);
    assert_eq!(takes(sizes(4, (64, 64), (64, 128), (4, 4), (2, 2), (1, 1))), [true; 2]);
    let z = three(4, 64, 64, 64);
    let line = sizes(4, (4, 4), (64, 64), (4, 4), (1, 1), (0, 0));
    for other in [ConvSizes { groups: 2, ..z }, ConvSizes { n: 0, ..z }, line] {
        assert_eq!([false, true].map(|turned| Pass::possible(&other, turned).is_some()), [false; 2], "{other:?}");
    }
}

#[test]
fn what_the_machine_lacks_is_refused_by_name() {
    let has = |name: &str| Pairs::all().any(|p| p.name() == name);
    for (word, name) in [(Products::Avx512, "avx512"), (Products::Amx, "amx")] {
        match word.set() {
            Ok(()) => assert!(has(name) && word.pairs().is_some_and(|p| p.name() == name)),
            Err(e) => {
                assert!(!has(name));
                assert!(e.to_string().contains("cpu.bf16") && e.to_string().contains(name), "{e}");
            }
        }
    }
    Products::Convert.set().unwrap();
    assert!(Products::setting().pairs().is_none());
    Products::Auto.set().unwrap();
}
