//! GFLOP/s of the host convolutions on the layers that matter, beside the machine's measured multiply-add peak.
//!
//! ```text
//! cargo bench --bench conv                 every row
//! cargo bench --bench conv -- vgg wgrad    rows whose name holds every word
//! cargo bench --bench conv -- batch=1      another batch
//! cargo bench --bench conv -- level=0      the portable level; 1: AVX2
//! cargo bench --bench conv -- cpu          one thread, timed by the CPU it had, for a machine that others use too (Linux)
//! ```

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use lae_engine::host::conv;
use lae_engine::host::simd::{Layout, Level, ROW, Start, Tile};
use lae_engine::host::sizes::ConvSizes;

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

fn main() {
    let (options, words): (Vec<_>, Vec<_>) =
        std::env::args().skip(1).filter(|a| !a.starts_with('-')).partition(|a| a.contains('=') || a == "cpu");
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
