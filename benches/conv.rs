//! GFLOP/s of the host convolutions on the layers that matter, beside the machine's measured multiply-add peak.
//!
//! ```text
//! cargo bench --bench conv                 every row
//! cargo bench --bench conv -- vgg wgrad    rows whose name holds every word
//! cargo bench --bench conv -- batch=1      another batch
//! cargo bench --bench conv -- level=0      the portable level; 1: AVX2
//! cargo bench --bench conv -- winograd     3×3 at stride 1: direct, F(2×2, 3×3) and F(4×4, 3×3) in turn
//! cargo bench --bench conv -- errors       what they are off by, beside f64
//! cargo bench --bench conv -- cpu          one thread, timed by the CPU it had, for a machine that others use too (Linux)
//! ```

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use lae_engine::core::rng::{Rng, stream};
use lae_engine::host::simd::{Layout, Level, ROW, Start, Tile};
use lae_engine::host::sizes::ConvSizes;
use lae_engine::host::winograd::{Pass, Winograd};
use lae_engine::host::{conv, plain};

/// `c → k`, square filter `f`/stride/pad on an `hw`² picture, batch `n`.
fn layer(n: u32, c: u32, k: u32, (f, stride, pad): (u32, u32, u32), hw: u32) -> ConvSizes {
    let p = (hw + 2 * pad - f) / stride + 1;
    let (h, w, q, r, s) = (hw, hw, p, f, f);
    let (stride_h, stride_w, pad_h, pad_w, dil_h, dil_w, groups) = (stride, stride, pad, pad, 1, 1, 1);
    ConvSizes { n, h, w, c, k, r, s, p, q, stride_h, stride_w, pad_h, pad_w, dil_h, dil_w, groups }
}

fn rows() -> Vec<(&'static str, ConvSizes)> {
    let (down, same, full) = ((4, 2, 1), (3, 1, 1), (4, 1, 0));
    let mut rows = Vec::new();
    for (n, px) in [(4, 256), (32, 64)] {
        let name = if px == 256 { "encoder256" } else { "encoder64" };
        for (i, (c, k)) in [(3, 64), (64, 128), (128, 256), (256, 512)].into_iter().enumerate() {
            rows.push((name, layer(n, c, k, down, px >> i)));
        }
        rows.push((name, layer(n, 512, 512, same, px / 16)));
    }
    rows.push(("grid16", layer(32, 3, 32, down, 64)));
    rows.push(("grid16", layer(32, 32, 64, down, 32)));
    for (c, k) in [(64, 128), (128, 256), (256, 256)] {
        rows.push(("grid16", layer(32, c, k, same, 16)));
    }
    for (n, px) in [(4, 256), (32, 64)] {
        let name = if px == 256 { "vgg256" } else { "vgg64" };
        for (c, k, by) in
            [(3, 64, 1), (64, 64, 1), (64, 128, 2), (128, 128, 2), (128, 256, 4), (256, 256, 4), (256, 512, 8), (512, 512, 8)]
        {
            rows.push((name, layer(n, c, k, same, px / by)));
        }
    }
    rows.push(("dcgan", layer(32, 512, 512, down, 8)));
    rows.push(("dcgan", layer(32, 512, 1, full, 4)));
    // A transposed convolution is the dgrad of the convolution that goes the other way.
    rows.push(("decoder", layer(32, 256, 128, full, 4)));
    for (i, (k, c)) in [(256, 128), (128, 64), (64, 32), (32, 16), (16, 8), (8, 3)].into_iter().enumerate() {
        rows.push(("decoder", layer(if i < 4 { 32 } else { 4 }, c, k, down, 8 << i)));
    }
    for groups in [4, 64] {
        rows.push(("groups", ConvSizes { groups, ..layer(4, 64, 64, same, 64) }));
    }
    for (n, c, px) in [(32, 728, 16), (32, 128, 64)] {
        rows.push(("depthwise", ConvSizes { groups: c, ..layer(n, c, c, same, px) }));
    }
    rows.push(("linear", layer(64, 512, 128, (1, 1, 0), 1)));
    rows
}

/// Seconds of one call: the best of a few, after one to warm up.
fn seconds(clock: Clock, mut f: impl FnMut()) -> f64 {
    f();
    let (begin, mut best) = (Instant::now(), f64::MAX);
    while begin.elapsed() < Duration::from_millis(80) {
        let t = clock();
        f();
        best = best.min(clock() - t);
    }
    best
}

/// Seconds since some moment.
type Clock = fn() -> f64;

fn wall() -> f64 {
    static START: OnceLock<Instant> = OnceLock::new();
    START.get_or_init(Instant::now).elapsed().as_secs_f64()
}

/// Seconds that this thread has run, for a machine that others use too. The kernel brings its count up to date when the
/// thread offers to yield.
fn on_cpu() -> f64 {
    std::thread::yield_now();
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").expect("schedstat exists on Linux");
    stat.split(' ').next().and_then(|ns| ns.parse::<f64>().ok()).expect("schedstat begins with nanoseconds") * 1e-9
}

/// FLOP/s of full tiles on L1 data, on every thread at once: what the convolutions could reach.
fn peak(level: Level, clock: Clock) -> f64 {
    let kernel = level.widest();
    let (depth, times) = (128, 4000);
    let per_thread = rayon::broadcast(|_| {
        let (a, b) = (vec![1.0; kernel.rows * ROW], vec![1.0; depth * kernel.lanes]);
        let mut c = vec![0.0; kernel.rows * kernel.lanes];
        let rows: Vec<_> = (0..kernel.rows).map(|i| i * kernel.lanes).collect();
        let s = seconds(clock, || {
            for _ in 0..times {
                let (a, start, width) = (Layout::Rows(&a), Start::Zero, kernel.lanes);
                kernel.run(Tile { a, b: &b, depth, c: &mut c, rows: &rows, width, start, ahead: &[] });
            }
        });
        (2 * times * depth * kernel.rows * kernel.lanes) as f64 / s
    });
    per_thread.iter().sum()
}

const FORMS: [(Winograd, &str); 3] = [(Winograd::Off, "direct"), (Winograd::F2, "F(2×2, 3×3)"), (Winograd::F4, "F(4×4, 3×3)")];
const PASSES: [&str; 2] = ["fprop", "dgrad"];

/// The rows that words choose, of 3×3 at stride 1, and the passes of each.
fn winograd_rows(words: &[String]) -> Vec<(String, ConvSizes, Vec<usize>)> {
    let is_pass = |w: &&String| PASSES.contains(&w.as_str());
    let chosen = |i: &usize| !words.iter().any(|w| is_pass(&w)) || words.iter().any(|w| w == PASSES[*i]);
    let rows = rows().into_iter().filter(|(_, z)| Pass::of_fprop(z, Winograd::F4).is_some());
    let named =
        rows.map(|(name, z)| (format!("{name} {:>3}→{:<3} {:>3}² ×{}", z.c, z.k, z.h, z.n), z, (0..2).filter(chosen).collect()));
    named.filter(|(name, ..)| words.iter().filter(|w| !is_pass(w)).all(|w| name.contains(w.as_str()))).collect()
}

/// One pass in one form; `scratch` is made as large as it must be.
fn run(
    level: Level,
    form: Winograd,
    pass: usize,
    z: &ConvSizes,
    (from, w): (&[f32], &[f32]),
    to: &mut [f32],
    scratch: &mut Vec<f32>,
) {
    form.set();
    if pass == 0 {
        scratch.resize(conv::fprop_scratch(z), 0.0);
        conv::fprop_at(level, z, from, w, None, to, scratch);
    } else {
        scratch.resize(conv::dgrad_scratch(z), 0.0);
        conv::dgrad_at(level, z, from, w, None, to, scratch);
    }
}

/// Times of the three forms, the least of several turns.
fn forms(level: Level, clock: Clock, words: &[String], peak: f64) {
    for (name, z, passes) in winograd_rows(words) {
        let fill = |len: usize| (0..len).map(|i| (i % 17) as f32 * 0.1 - 0.8).collect::<Vec<f32>>();
        let (mut x, w, mut y) = (fill(z.x().len()), fill(z.filters().len()), fill(z.y().len()));
        let mut scratch = [Vec::new(), Vec::new(), Vec::new()];
        for pass in passes {
            let (from, to) = if pass == 0 { (&x, &mut y) } else { (&y, &mut x) };
            let mut best = [f64::MAX; 3];
            for turn in 0..8 {
                for (i, (form, _)) in FORMS.into_iter().enumerate() {
                    let t = clock();
                    run(level, form, pass, &z, (from, &w), to, &mut scratch[i]);
                    best[i] = if turn == 0 { f64::MAX } else { best[i].min(clock() - t) };
                }
            }
            let rate = 2.0 * z.macs() as f64 / best[0];
            print!("{name:<27} {}  direct {:8.3} ms {:3.0} %", PASSES[pass], best[0] * 1e3, 100.0 * rate / peak);
            for i in 1..3 {
                print!("   {} {:8.3} ms {:5.2}×", FORMS[i].1, best[i] * 1e3, best[0] / best[i]);
            }
            println!();
        }
    }
}

/// Errors of the three forms beside f64, one picture, pixels as a ReLU leaves them, gradients and filters normal: the root mean square and the
/// largest, both over the root mean square of the results, and the largest as a share of what docs/numerics.md allows.
fn errors(level: Level, words: &[String]) {
    let normal = |what: &str, len: usize| {
        let mut rng = Rng::new(1, stream(what), 0);
        (0..len).map(|_| rng.normal()).collect::<Vec<f32>>()
    };
    for (name, mut z, passes) in winograd_rows(words) {
        z.n = 1;
        let x: Vec<f32> = normal("x", z.x().len()).into_iter().map(|v| v.max(0.0)).collect();
        let (w, dy) = (normal("w", z.filters().len()), normal("dy", z.y().len()));
        let wide = |x: &[f32]| x.iter().map(|&v| v as f64).collect::<Vec<f64>>();
        for pass in passes {
            let (from, to) = if pass == 0 { (&x, z.y().len()) } else { (&dy, z.x().len()) };
            let mut want = vec![0.0; to];
            match pass {
                0 => plain::fprop(&z, &wide(from), &wide(&w), None, &mut want),
                _ => plain::dgrad(&z, &wide(from), &wide(&w), None, &mut want),
            }
            let rms = (want.iter().map(|v| v * v).sum::<f64>() / to as f64).sqrt();
            let bound = 8.0 * f32::EPSILON as f64 * (z.x().len().max(z.filters().len()) as f64).sqrt();
            print!("{name:<27} {}", PASSES[pass]);
            for (form, form_name) in FORMS {
                let mut got = vec![0.0; to];
                run(level, form, pass, &z, (from, &w), &mut got, &mut Vec::new());
                let (mut squares, mut largest, mut share) = (0.0, 0.0f64, 0.0f64);
                for (&a, &b) in got.iter().zip(&want) {
                    let off = (a as f64 - b).abs();
                    squares += off * off;
                    largest = largest.max(off);
                    share = share.max(off / (bound * (rms + b.abs())));
                }
                let mean = (squares / to as f64).sqrt();
                print!("   {form_name} {:.1e} {:.1e} {:.2} %", mean / rms, largest / rms, 100.0 * share);
            }
            println!();
        }
    }
}

fn main() {
    let (options, words): (Vec<_>, Vec<_>) = std::env::args()
        .skip(1)
        .filter(|a| !a.starts_with('-'))
        .partition(|a| a.contains('=') || ["cpu", "winograd", "errors"].contains(&a.as_str()));
    let batch = options.iter().find_map(|o| o.strip_prefix("batch=")?.parse().ok());
    let mut clock: Clock = wall;
    if options.iter().any(|o| o == "cpu") {
        clock = on_cpu;
        rayon::ThreadPoolBuilder::new().num_threads(1).use_current_thread().build_global().expect("the first pool");
    }
    let slowest_first = |o: &String| Level::all().nth(o.strip_prefix("level=")?.parse().ok()?);
    let level = options.iter().find_map(slowest_first).unwrap_or(Level::best());
    let peak = peak(level, clock);
    println!("{level:?}, {} threads, peak {:.0} GFLOP/s", rayon::current_num_threads(), peak / 1e9);
    if options.iter().any(|o| o == "winograd") {
        return forms(level, clock, &words, peak);
    }
    if options.iter().any(|o| o == "errors") {
        return errors(level, &words);
    }
    for (name, mut z) in rows() {
        z.n = batch.unwrap_or(z.n);
        let shape = format!("{name} {:>3}→{:<3} {}/{}/{} {:>3}² ×{}", z.c, z.k, z.r, z.stride_h, z.pad_h, z.h, z.n);
        if !words.iter().all(|w| shape.contains(w.as_str()) || ["fprop", "dgrad", "wgrad"].contains(&w.as_str())) {
            continue;
        }
        let fill = |len: usize| (0..len).map(|i| (i % 17) as f32 * 0.1 - 0.8).collect::<Vec<f32>>();
        let (mut x, mut w, mut y) = (fill(z.x().len()), fill(z.filters().len()), fill(z.y().len()));
        let mut scratch = vec![0.0; conv::fprop_scratch(&z).max(conv::dgrad_scratch(&z)).max(conv::wgrad_scratch(&z))];
        let mut line = format!("{shape:<34}");
        for pass in ["fprop", "dgrad", "wgrad"] {
            let other = |w: &String| ["fprop", "dgrad", "wgrad"].contains(&w.as_str()) && w != pass;
            if words.iter().any(other) {
                continue;
            }
            let s = seconds(clock, || match pass {
                "fprop" => conv::fprop_at(level, &z, &x, &w, None, &mut y, &mut scratch),
                "dgrad" => conv::dgrad_at(level, &z, &y, &w, None, &mut x, &mut scratch),
                _ => conv::wgrad_at(level, &z, &x, &y, &mut w, &mut scratch),
            });
            let rate = 2.0 * z.macs() as f64 / s;
            line += &format!("  {pass} {:8.3} ms {:4.0} GFLOP/s {:3.0} %", s * 1e3, rate / 1e9, 100.0 * rate / peak);
        }
        println!("{line}");
    }
}
