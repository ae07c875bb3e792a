//! Speed of the PTX emulator, in warp instructions a second on one thread: `cargo bench --bench emulator`.
//!
//! `fma` is a loop of 16 multiply-adds on 8 accumulators, as a product has them; `chain` the same on one, each waiting for the
//! one before; `gemm` the shared-memory product of `tests/ptx/basic.cu`, two 16-byte loads for 16 multiply-adds; `saxpy` streams
//! global memory; `wgmma` is the ring of tiles of `tests/ptx/hopper.cu`, in multiply-adds a second: one tile of 128 × 128, products of
//! warp groups in tf32 on operands that bulk copies bring. Each runs with bounds checks alone, with the check for uninitialised values, with counters, and with the race
//! check. `native` is the work of `fma` and `chain` in plain Rust, 32 lanes to an instruction and compiled for the oldest x86-64
//! (multiply, then add, four lanes wide), so that the rates on different machines can be compared by their ratio.

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use lae_ptx::tensor_map::{Cut, ElementType, Swizzle};
use lae_ptx::{Arg, Checks, Config, Launch, Machine, Module, TensorMap};

const LOOPS: u32 = 20_000;

/// A loop of 16 multiply-adds on so many accumulators.
fn fma(name: &str, accumulators: usize) -> Module {
    let each = |what: &dyn Fn(usize) -> String| (0..16).map(what).collect::<String>();
    let zero = each(&|i| format!("mov.f32 %a{i}, 0f3F800000;\n"));
    let body = each(&|i| format!("fma.rn.f32 %a{0}, %a{0}, %f2, %f3;\n", i % accumulators));
    let sum = each(&|i| format!("add.rn.f32 %f1, %f1, %a{i};\n"));
    let text = format!(
        ".version 8.0\n.target sm_80\n.address_size 64
        .visible .entry {name}(.param .u64 y, .param .u32 n) {{
        .reg .pred %p<2>; .reg .b32 %r<4>; .reg .f32 %f<4>, %a<16>; .reg .b64 %rd<4>;
        ld.param.u64 %rd1, [y]; ld.param.u32 %r1, [n];
        mov.f32 %f1, 0f00000000; mov.f32 %f2, 0f3F7FFFF0; mov.f32 %f3, 0f3A800000; mov.u32 %r2, 0; {zero}
        L: {body} add.s32 %r2, %r2, 1; setp.lt.s32 %p1, %r2, %r1; @%p1 bra L; {sum}
        mov.u32 %r3, %tid.x; mul.wide.u32 %rd2, %r3, 4; add.s64 %rd3, %rd1, %rd2; st.global.f32 [%rd3], %f1; ret; }}"
    );
    Module::parse("fma.ptx", &text).expect("the text is PTX")
}

/// The same work by the host.
fn native<const N: usize>(m: f32, a: f32) -> f32 {
    let mut x = [[1f32; 32]; N];
    for _ in 0..LOOPS as usize * 16 / N {
        for v in x.as_flattened_mut() {
            *v = *v * m + a;
        }
    }
    x.as_flattened().iter().sum()
}

fn checks() -> [(&'static str, Config); 4] {
    let with = |init, race, counters| Config { checks: Checks { init, race, tf32: true }, counters, ..Config::default() };
    [
        ("bounds", with(false, false, false)),
        ("init", with(true, false, false)),
        ("counters", with(true, false, true)),
        ("race", with(true, true, false)),
    ]
}

fn emulator(c: &mut Criterion) {
    let (loose, chain, basic) = (
        fma("fma", 8),
        fma("chain", 1),
        Module::parse("basic.ptx", include_str!("../tests/ptx/basic.ptx")).expect("nvcc wrote it"),
    );
    for (name, config) in checks() {
        let mut g = c.benchmark_group(format!("emulator/{name}"));
        g.sample_size(10).warm_up_time(Duration::from_millis(200)).measurement_time(Duration::from_secs(1));
        let mut m = Machine::new(config);
        let mut buffer = |name: &str, words: u64| {
            let a = m.alloc(name, 4 * words);
            m.write(a, &vec![0; 4 * words as usize]).expect("just allocated");
            (a, 4 * words)
        };
        let read = |(addr, len)| Arg::Read { addr, len };
        let update = |(addr, len)| Arg::Update { addr, len };
        let (rows, columns, depth, n) = (128u32, 128u32, 512u32, 1u32 << 16);
        let y = buffer("y", 32);
        let (a, b) = (buffer("A", (depth * rows) as u64), buffer("B", (depth * columns) as u64));
        let (product, x, z) = (buffer("C", (rows * columns) as u64), buffer("x", n as u64), buffer("z", n as u64));
        let hopper = Module::parse("hopper.ptx", include_str!("../tests/ptx/hopper.ptx")).expect("nvcc wrote it");
        let k = 512u32;
        let (left, right, out) = (buffer("A", (128 * k) as u64), buffer("B", (128 * k) as u64), buffer("C", 128 * 128));
        let map = |element, (address, _), columns: u32, rows: u32, swizzle| {
            TensorMap::dense(element, address, vec![columns as u64, 128], Cut::Tiled(vec![32, rows]), swizzle)
        };
        let launches = [
            (
                "fma",
                &loose,
                Launch { grid: [1; 3], block: [32, 1, 1], shared: 0, args: vec![update(y), LOOPS.into()], ..Launch::default() },
            ),
            (
                "chain",
                &chain,
                Launch { grid: [1; 3], block: [32, 1, 1], shared: 0, args: vec![update(y), LOOPS.into()], ..Launch::default() },
            ),
            (
                "gemm",
                &basic,
                Launch {
                    grid: [2, 2, 1],
                    block: [256, 1, 1],
                    shared: 0,
                    args: vec![rows.into(), columns.into(), depth.into(), read(a), read(b), update(product)],
                    ..Launch::default()
                },
            ),
            (
                "saxpy",
                &basic,
                Launch {
                    grid: [8, 1, 1],
                    block: [256, 1, 1],
                    shared: 0,
                    args: vec![n.into(), 2f32.into(), read(x), update(z)],
                    ..Launch::default()
                },
            ),
        ];
        for (kernel, module, launch) in &launches {
            let report = m.launch(module, kernel, launch).unwrap_or_else(|f| panic!("{f}"));
            g.throughput(Throughput::Elements(report.instructions));
            g.bench_function(*kernel, |b| b.iter(|| m.launch(module, kernel, launch).expect("it ran before")));
        }
        let factor = |of| Arg::Map { map: map(ElementType::Tf32, of, k, 128, Swizzle::B128), write: false };
        let sums = Arg::Map { map: map(ElementType::F32, out, 128, 64, Swizzle::None), write: true };
        let args = vec![factor(left), factor(right), sums, k.into()];
        let launch = Launch { grid: [1; 3], block: [384, 1, 1], shared: 4 * 32768 + 64 + 1024, args, ..Launch::default() };
        g.throughput(Throughput::Elements(128 * 128 * k as u64));
        g.bench_function("wgmma", |b| b.iter(|| m.launch(&hopper, "gemm_tf32", &launch).unwrap_or_else(|f| panic!("{f}"))));
        g.finish();
    }
    threads(c, &basic);
    let mut g = c.benchmark_group("native");
    g.sample_size(10).warm_up_time(Duration::from_millis(200)).measurement_time(Duration::from_secs(1));
    g.throughput(Throughput::Elements(19 * LOOPS as u64));
    g.bench_function("fma", |b| b.iter(|| native::<8>(black_box(0.999_999), black_box(0.001))));
    g.bench_function("chain", |b| b.iter(|| native::<1>(black_box(0.999_999), black_box(0.001))));
    g.finish();
}

/// Launches of many blocks, on one thread of the host and on two; bounds, uninitialised values and races are checked.
fn threads(c: &mut Criterion, basic: &Module) {
    for threads in [1, 2] {
        let mut g = c.benchmark_group(format!("emulator/{threads} threads"));
        g.sample_size(10).warm_up_time(Duration::from_millis(200)).measurement_time(Duration::from_secs(3));
        let mut m = Machine::new(Config { threads, ..Config::default() });
        let mut buffer = |name: &str, words: u64| {
            let a = m.alloc(name, 4 * words);
            m.write(a, &vec![0; 4 * words as usize]).expect("just allocated");
            (a, 4 * words)
        };
        let (rows, depth, n) = (1024u32, 128u32, 1u32 << 22);
        let (a, b, x) = (buffer("A", (depth * rows) as u64), buffer("B", (depth * rows) as u64), buffer("x", n as u64));
        let (product, z) = (buffer("C", (rows * rows) as u64), buffer("z", n as u64));
        let read = |(addr, len)| Arg::Read { addr, len };
        let update = |(addr, len)| Arg::Update { addr, len };
        let args = vec![rows.into(), rows.into(), depth.into(), read(a), read(b), update(product)];
        let gemm = Launch { grid: [16, 16, 1], block: [256, 1, 1], shared: 0, args, ..Launch::default() };
        let args = vec![n.into(), 2f32.into(), read(x), update(z)];
        let saxpy = Launch { grid: [n / 1024, 1, 1], block: [256, 1, 1], shared: 0, args, ..Launch::default() };
        for (kernel, module, launch) in [("gemm", basic, &gemm), ("saxpy", basic, &saxpy)] {
            let report = m.launch(module, kernel, launch).unwrap_or_else(|f| panic!("{f}"));
            g.throughput(Throughput::Elements(report.instructions));
            g.bench_function(kernel, |b| b.iter(|| m.launch(module, kernel, launch).expect("it ran before")));
        }
        g.finish();
    }
}

criterion_group!(benches, emulator);
criterion_main!(benches);
