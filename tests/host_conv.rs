//! The fast f32 convolutions against the plain f64 ones, at every SIMD level of this machine, and the properties that training
//! relies on: only written outputs, adjoint passes, the same bits at any number of threads.

use lae_engine::core::rng::{Rng, stream};
use lae_engine::host::simd::Level;
use lae_engine::host::sizes::ConvSizes;
use lae_engine::host::{conv, plain};

/// `pad`, `stride` and `dil` are (rows, columns).
struct Case {
    n: u32,
    hw: (u32, u32),
    c: u32,
    k: u32,
    rs: (u32, u32),
    stride: (u32, u32),
    pad: (u32, u32),
    dil: (u32, u32),
    groups: u32,
}

#[allow(clippy::too_many_arguments)]
const fn case(
    n: u32,
    hw: (u32, u32),
    c: u32,
    k: u32,
    rs: (u32, u32),
    s: (u32, u32),
    p: (u32, u32),
    d: (u32, u32),
    g: u32,
) -> Case {
    Case { n, hw, c, k, rs, stride: s, pad: p, dil: d, groups: g }
}

impl Case {
    fn sizes(&self) -> ConvSizes {
        let out = |len: u32, taps: u32, s: u32, p: u32, d: u32| (len + 2 * p - d * (taps - 1) - 1) / s + 1;
        let ((h, w), (r, s), (sh, sw), (ph, pw), (dh, dw)) = (self.hw, self.rs, self.stride, self.pad, self.dil);
        ConvSizes {
            n: self.n,
            h,
            w,
            c: self.c,
            k: self.k,
            r,
            s,
            p: out(h, r, sh, ph, dh),
            q: out(w, s, sw, pw, dw),
            stride_h: sh,
            stride_w: sw,
            pad_h: ph,
            pad_w: pw,
            dil_h: dh,
            dil_w: dw,
            groups: self.groups,
        }
    }
}

#[rustfmt::skip]
const CASES: &[Case] = &[
    //   n   h  w       c   k   r  s    stride  pad     dilation groups
    case(2, (8, 8),     3, 16, (4, 4), (2, 2), (1, 1), (1, 1), 1), // an encoder's first layer
    case(3, (8, 8),    16, 33, (4, 4), (2, 2), (1, 1), (1, 1), 1),
    case(2, (9, 7),    17, 33, (3, 3), (1, 1), (1, 1), (1, 1), 1), // nothing divides anything
    case(1, (1, 1),     1,  1, (1, 1), (1, 1), (0, 0), (1, 1), 1),
    case(5, (1, 1),    33, 17, (1, 1), (1, 1), (0, 0), (1, 1), 1), // a linear layer
    case(3, (1, 1),     5,  4, (3, 3), (1, 1), (1, 1), (1, 1), 1), // a map smaller than its filter
    case(2, (5, 6),    40, 24, (1, 1), (1, 1), (0, 0), (1, 1), 1),
    case(2, (5, 6),     9, 12, (1, 1), (2, 3), (0, 0), (1, 1), 1), // phases without taps
    case(3, (4, 4),    20,  9, (4, 4), (1, 1), (0, 0), (1, 1), 1), // the filter covers the picture
    case(2, (4, 4),     3,  5, (4, 4), (1, 1), (3, 3), (1, 1), 1), // padding of kernel - 1
    case(2, (4, 5),     3,  5, (2, 3), (1, 1), (3, 4), (1, 1), 1), // and more
    case(1, (11, 10),   4,  6, (1, 5), (3, 3), (0, 2), (1, 1), 1), // rectangular, stride 3
    case(1, (11, 10),   4,  6, (5, 1), (3, 2), (2, 0), (1, 1), 1),
    case(2, (10, 9),    6,  7, (3, 3), (1, 1), (2, 2), (2, 2), 1), // dilation
    case(2, (13, 12),   6,  7, (3, 4), (2, 3), (2, 3), (2, 3), 1), // stride and dilation with a common factor
    case(1, (13, 12),   5,  8, (3, 3), (4, 3), (2, 3), (2, 1), 1),
    case(2, (7, 7),     8, 12, (3, 3), (1, 1), (1, 1), (1, 1), 4), // groups
    case(2, (7, 7),    66, 34, (3, 3), (2, 2), (1, 1), (1, 1), 2),
    case(1, (7, 7),     6, 12, (3, 3), (2, 1), (1, 1), (1, 2), 6), // depthwise, two filters per channel
    case(1, (9, 5),    20, 20, (3, 3), (1, 1), (1, 1), (1, 1), 20),
    case(2, (9, 8),     7,  7, (3, 4), (2, 3), (2, 1), (2, 1), 7),
    case(2, (7, 35),   37, 37, (3, 3), (1, 1), (1, 1), (1, 1), 37), // eight pixels, four, two and one; registers with a rest
    case(2, (9, 13),   48, 48, (5, 5), (2, 2), (0, 0), (1, 1), 48),
    case(1, (12, 15),   3,  3, (3, 3), (2, 2), (2, 2), (2, 2), 3),
    case(1, (7, 9),     5,  5, (7, 6), (1, 1), (3, 3), (1, 1), 5), // more taps than are taken together
    case(1, (3, 2),    18, 18, (3, 3), (1, 1), (2, 3), (1, 1), 18), // results that read the padding alone
    case(1, (4, 40),  130, 70, (3, 3), (1, 1), (1, 1), (1, 1), 1), // a reduction in several cuts
    case(1, (3, 300),   2,  3, (3, 3), (1, 1), (1, 1), (1, 1), 1), // rows longer than a block
    case(1, (4, 600),   3,  2, (4, 4), (2, 2), (1, 1), (1, 1), 1),
    case(1, (5, 5),   300,  2, (3, 3), (1, 1), (1, 1), (1, 1), 1),
    case(40, (2, 2),   18, 36, (3, 3), (1, 1), (1, 1), (1, 1), 1), // many tiny pictures
    case(40, (4, 4),   10, 20, (4, 4), (2, 2), (1, 1), (1, 1), 1),
    case(2, (32, 32),   5, 20, (3, 3), (1, 1), (1, 1), (1, 1), 1), // several parts of wgrad
    case(2, (20, 20),   3, 300, (3, 3), (1, 1), (1, 1), (1, 1), 1), // several blocks of filters
    case(1, (12, 12),   2, 300, (3, 3), (1, 1), (1, 1), (1, 1), 2),
    case(1, (6, 6),     8, 300, (3, 3), (1, 1), (1, 1), (1, 1), 4), // blocks of filters that end within a group
    case(3, (6, 6),    16,  8, (4, 4), (2, 2), (1, 1), (1, 1), 1), // a decoder's last layers
    case(3, (6, 6),     3,  8, (4, 4), (2, 2), (1, 1), (1, 1), 1),
    case(1, (6, 6),    32,  9, (3, 3), (2, 2), (1, 1), (1, 1), 1), // phases of odd depth, full panels
    // A few rows: fours, two and one of them, tasks of filters with a rest, a depth that blocks do not divide.
    case(1, (1, 1), 70000, 15, (1, 1), (1, 1), (0, 0), (1, 1), 1),
    case(7, (1, 1),  4100, 260, (1, 1), (1, 1), (0, 0), (1, 1), 1),
    case(16, (2, 2), 1025, 256, (2, 2), (1, 1), (0, 0), (1, 1), 1),
    case(2, (1, 1),  8190, 129, (1, 1), (1, 1), (0, 0), (1, 1), 1),
    // Few channels at stride 1, where a register holds pixels of a line.
    case(2, (5, 24),    1,  1, (3, 3), (1, 1), (1, 1), (1, 1), 1),
    case(2, (9, 33),    4,  2, (3, 3), (1, 1), (3, 3), (3, 3), 1), // dilation; a block and a pixel
    case(1, (7, 64),    4,  3, (3, 3), (1, 1), (2, 2), (2, 2), 1),
    case(3, (4, 31),   16,  8, (3, 3), (1, 1), (1, 1), (1, 1), 1), // as many channels as are taken
    case(1, (3, 40),    8, 16, (3, 3), (1, 1), (1, 1), (1, 1), 1), // forward blocked, gradient of the input not
    case(1, (3, 40),   17,  8, (3, 3), (1, 1), (1, 1), (1, 1), 1), // one too many
    case(2, (20, 70),   3,  5, (5, 4), (1, 1), (2, 1), (1, 1), 1),
    case(1, (6, 27),    7,  6, (2, 3), (1, 1), (0, 0), (2, 1), 1), // no padding
    case(2, (5, 30),    3,  7, (1, 1), (1, 1), (0, 0), (1, 1), 1),
    case(1, (4, 26),    5,  4, (3, 2), (1, 1), (3, 2), (1, 1), 1), // more padding than the filter reaches
    case(1, (3, 90),    2,  2, (7, 1), (1, 1), (3, 0), (1, 1), 1), // lines that read the padding alone
    case(1, (9, 30),    8,  2, (8, 8), (1, 1), (4, 4), (1, 1), 1), // as many taps as are taken
    case(1, (9, 30),   16,  2, (6, 6), (1, 1), (3, 3), (1, 1), 1), // and more
    case(17, (2, 25),   2,  4, (3, 3), (1, 1), (1, 1), (1, 1), 1),
];

fn random(len: usize, what: &str) -> Vec<f32> {
    let mut rng = Rng::new(7, stream(what), len as u64);
    (0..len).map(|_| rng.normal()).collect()
}

fn wide(x: &[f32]) -> Vec<f64> {
    x.iter().map(|&x| x as f64).collect()
}

/// A sum of `terms` products of standard normals has size √terms, and so has its rounding error, in units of 2⁻²⁴ per term.
fn assert_close(got: &[f32], want: &[f64], terms: usize, what: &str) {
    let tolerance = 1e-6 * (terms as f64).sqrt().max(1.0) * (1.0 + (terms as f64).sqrt().ln());
    for (i, (&a, &b)) in got.iter().zip(want).enumerate() {
        let error = (a as f64 - b).abs();
        assert!(
            error <= tolerance + 1e-6 * b.abs(),
            "{what}: element {i} is {a}, expected {b}: off by {error:e} > {tolerance:e}"
        );
    }
}

/// A buffer nobody may read before writing.
fn poison(len: usize) -> Vec<f32> {
    vec![f32::NAN; len]
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
            over_k: random(z.k as usize, "bias"),
            over_c: random(z.c as usize, "bias"),
        }
    }
}

/// All results of the fast passes: y, y with bias, dx, dx with bias, dw, db.
fn fast(level: Level, z: &ConvSizes, d: &Data) -> [Vec<f32>; 6] {
    let mut out = [z.y(), z.y(), z.x(), z.x(), z.filters()].map(|s| poison(s.len()));
    for (bias, y) in [None, Some(&d.over_k[..])].into_iter().zip(&mut out[0..2]) {
        conv::fprop_at(level, z, &d.x, &d.w, bias, y, &mut poison(conv::fprop_scratch(z)));
    }
    for (bias, dx) in [None, Some(&d.over_c[..])].into_iter().zip(&mut out[2..4]) {
        conv::dgrad_at(level, z, &d.dy, &d.w, bias, dx, &mut poison(conv::dgrad_scratch(z)));
    }
    conv::wgrad_at(level, z, &d.x, &d.dy, &mut out[4], &mut poison(conv::wgrad_scratch(z)));
    let mut db = poison(z.k as usize);
    let scratch = conv::bias_grad_scratch(z.k as usize, z.y().pixels());
    conv::bias_grad(z.k as usize, &d.dy, &mut db, &mut poison(scratch));
    let [a, b, c, d, e] = out;
    [a, b, c, d, e, db]
}

#[test]
fn every_level_agrees_with_the_oracle() {
    CASES.iter().for_each(|case| agrees_with_the_oracle(&case.sizes()));
}

/// What no table thinks of.
#[test]
fn random_sizes_agree_with_the_oracle() {
    let mut rng = Rng::new(1, stream("sizes"), 0);
    for _ in 0..300 {
        let mut up_to = |n: usize| 1 + rng.below(n) as u32;
        let groups = if up_to(3) == 1 { up_to(4) } else { 1 };
        let mut case = case(
            up_to(3),
            (up_to(12), up_to(12)),
            groups * up_to(40),
            groups * up_to(40),
            (up_to(4), up_to(4)),
            (up_to(3), up_to(3)),
            (up_to(4) - 1, up_to(4) - 1),
            (up_to(2), up_to(2)),
            groups,
        );
        // A third are lines of few channels, or a few rows of a linear layer: passes of their own.
        match up_to(6) {
            1 => {
                (case.hw.1, case.c, case.k) = (20 + up_to(60), up_to(17), up_to(17));
                (case.stride, case.groups) = ((1, 1), 1);
            }
            2 => {
                case.groups = 1;
                (case.hw, case.rs, case.c, case.k) = ((1, 1), (1, 1), 4096 + up_to(100), 250 + up_to(40));
                (case.stride, case.pad) = ((1, 1), (0, 0));
            }
            _ => {}
        }
        // The padded picture holds at least one filter.
        case.hw.0 = case.hw.0.max(1 + case.dil.0 * (case.rs.0 - 1));
        case.hw.1 = case.hw.1.max(1 + case.dil.1 * (case.rs.1 - 1));
        agrees_with_the_oracle(&case.sizes());
    }
}

fn agrees_with_the_oracle(z: &ConvSizes) {
    let d = Data::of(z);
    let (x, w, dy, over_k, over_c) = (wide(&d.x), wide(&d.w), wide(&d.dy), wide(&d.over_k), wide(&d.over_c));
    let mut want = [z.y(), z.y(), z.x(), z.x(), z.filters()].map(|s| vec![f64::NAN; s.len()]);
    plain::fprop(z, &x, &w, None, &mut want[0]);
    plain::fprop(z, &x, &w, Some(&over_k), &mut want[1]);
    plain::dgrad(z, &dy, &w, None, &mut want[2]);
    plain::dgrad(z, &dy, &w, Some(&over_c), &mut want[3]);
    plain::wgrad(z, &x, &dy, &mut want[4]);
    let mut db = vec![f64::NAN; z.k as usize];
    plain::bias_grad(z.k as usize, &dy, &mut db);

    let area = (z.r * z.s) as usize;
    let pixels = z.y().pixels();
    let (forward, backward) = (area * (z.c / z.groups) as usize + 1, area * (z.k / z.groups) as usize + 1);
    for level in Level::all() {
        let got = fast(level, z, &d);
        let names = ["fprop", "fprop + bias", "dgrad", "dgrad + bias", "wgrad", "bias_grad"];
        let terms = [forward, forward, backward, backward, pixels, pixels];
        for (i, want) in want.iter().chain([&db]).enumerate() {
            assert_close(&got[i], want, terms[i], &format!("{} of {z:?} at {level:?}", names[i]));
        }
    }
}

/// ⟨fprop(x), dy⟩ = ⟨x, dgrad(dy)⟩ = ⟨w, wgrad(x, dy)⟩, of the oracle itself.
#[test]
fn passes_of_the_oracle_are_adjoint() {
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    for case in CASES {
        let z = case.sizes();
        let d = Data::of(&z);
        let (x, w, dy) = (wide(&d.x), wide(&d.w), wide(&d.dy));
        let (mut y, mut dx, mut dw) = (vec![f64::NAN; dy.len()], vec![f64::NAN; x.len()], vec![f64::NAN; w.len()]);
        plain::fprop(&z, &x, &w, None, &mut y);
        plain::dgrad(&z, &dy, &w, None, &mut dx);
        plain::wgrad(&z, &x, &dy, &mut dw);
        let (a, b, c) = (dot(&y, &dy), dot(&x, &dx), dot(&w, &dw));
        let size = dot(&y, &y).sqrt() * dot(&dy, &dy).sqrt();
        assert!((a - b).abs() <= 1e-12 * size && (a - c).abs() <= 1e-12 * size, "{z:?}: {a}, {b}, {c}");
    }
}

/// One picture, one channel, by hand: the oracle is right, not only consistent.
#[test]
fn the_oracle_knows_a_small_convolution() {
    let z = case(1, (2, 3), 1, 1, (2, 2), (1, 1), (0, 1), (1, 1), 1).sizes();
    assert_eq!((z.p, z.q), (1, 4));
    let mut y = [f64::NAN; 4];
    plain::fprop(&z, &[1., 2., 3., 4., 5., 6.], &[1., 10., 100., 1000.], Some(&[0.5]), &mut y);
    assert_eq!(y, [4010.5, 5421.5, 6532.5, 603.5]);
}

#[test]
fn bits_do_not_depend_on_threads() {
    let bits = |r: [Vec<f32>; 6]| r.map(|v| v.into_iter().map(f32::to_bits).collect::<Vec<_>>());
    for case in CASES {
        let z = case.sizes();
        let d = Data::of(&z);
        for level in Level::all() {
            let [one, two, three] = [1, 2, 3].map(|threads| {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                bits(pool.install(|| fast(level, &z, &d)))
            });
            assert!(one == two && two == three, "{z:?} at {level:?}");
        }
    }
}
