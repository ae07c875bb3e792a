//! `wgmma`, bulk copies and their barriers: the kernels of `hopper.cu`, compiled, against exact products; and every way to break them
//! that the text allows ends in a report.

use lae_ptx::num::Round;
use lae_ptx::num::half::{Half, narrow, widen};
use lae_ptx::tensor_map::{Cut, ElementType, Swizzle, TensorMap};
use lae_ptx::*;

use crate::kernels::{Memory, machines};

const TEXT: &str = include_str!("hopper.ptx");

fn module() -> Module {
    Module::parse("hopper.ptx", TEXT).unwrap()
}

/// Eighths from -2 to 2: all sums of products of them are exact in f32, whatever the order.
fn eighths(n: usize, seed: u32) -> Vec<f32> {
    (0..n as u32).map(|i| ((i.wrapping_mul(2654435761).wrapping_add(seed * 40503) >> 11) % 33) as f32 / 8.0 - 2.0).collect()
}

fn halves(x: &[f32], to: Half) -> Vec<u16> {
    x.iter().map(|x| narrow(x.to_bits(), to, Round::Nearest) as u16).collect()
}

fn matrix(element: ElementType, address: u64, rows: usize, columns: usize, sides: [u32; 2]) -> TensorMap {
    let (dims, cut) = (vec![columns as u64, rows as u64], Cut::Tiled(sides.to_vec()));
    TensorMap::dense(element, address, dims, cut, Swizzle::B128)
}

/// A GEMM in tf32 of that size, and what it gives.
struct Gemm {
    m: usize,
    n: usize,
    k: usize,
    a: Vec<f32>,
    b: Vec<f32>,
}

impl Gemm {
    fn new(m: usize, n: usize, k: usize) -> Gemm {
        Gemm { m, n, k, a: eighths(m * k, 1), b: eighths(n * k, 2) }
    }

    fn run(&self, machine: &mut Machine, module: &Module) -> Result<(Vec<f32>, Report), Fault> {
        let Gemm { m, n, k, .. } = *self;
        let (a, b) = (machine.put("a", &self.a), machine.put("b", &self.b));
        let c = machine.alloc("c", (m * n * 4) as u64);
        let map = |element, address, rows, columns, sides, write| Arg::Map {
            map: matrix(element, address, rows, columns, sides),
            write,
        };
        let args = vec![
            map(ElementType::Tf32, a, m, k, [32, 128], false),
            map(ElementType::Tf32, b, n, k, [32, 128], false),
            Arg::Map { map: TensorMap { swizzle: Swizzle::None, ..matrix(ElementType::F32, c, m, n, [32, 64]) }, write: true },
            (k as i32).into(),
        ];
        let grid = [m.div_ceil(128) as u32, n.div_ceil(128) as u32, 1];
        let launch = Launch { grid, block: [384, 1, 1], shared: 4 * 32768 + 64 + 1024, args, ..Launch::default() };
        let report = machine.launch(module, "gemm_tf32", &launch)?;
        // A broken kernel may leave out a part.
        let whole = machine.initialised(c, (m * n * 4) as u64).unwrap();
        Ok((if whole { machine.get(c, m * n) } else { Vec::new() }, report))
    }

    fn want(&self) -> Vec<f32> {
        let Gemm { m, n, k, .. } = *self;
        let dot = |i: usize, j: usize| (0..k).map(|l| self.a[i * k + l] as f64 * self.b[j * k + l] as f64).sum::<f64>() as f32;
        (0..m * n).map(|x| dot(x / n, x % n)).collect()
    }
}

#[test]
fn a_ring_of_tiles() {
    let module = module();
    // Tiles that are whole; rows, columns and a depth that are not; more steps than stages.
    for gemm in [Gemm::new(128, 128, 32), Gemm::new(100, 132, 300), Gemm::new(256, 128, 200)] {
        for mut machine in machines() {
            let (c, report) = gemm.run(&mut machine, &module).unwrap();
            assert!(c == gemm.want());
            if machine.config().counters {
                let (tiles, steps) = (gemm.m.div_ceil(128) * gemm.n.div_ceil(128), gemm.k.div_ceil(32));
                assert_eq!(report.counters.group_macs, (tiles * 128 * 128 * steps * 32) as u64);
                assert_eq!(report.counters.macs, report.counters.group_macs);
                assert_eq!(report.counters.shared_operands.conflicts(), 0);
                assert_eq!(report.counters.bulk_bytes, (tiles * (steps * 32768 + 65536)) as u64);
            }
        }
    }
}

#[test]
fn hardware_rounds_as_its_model() {
    let mut gemm = Gemm::new(128, 128, 64);
    gemm.a.iter_mut().chain(&mut gemm.b).enumerate().for_each(|(i, x)| *x += (i * 2654435761 % 1000) as f32 * 1e-4);
    let run = |tensor| {
        let mut machine = Machine::new(Config { tensor, ..Config::default() });
        gemm.run(&mut machine, &module()).unwrap().0
    };
    let (ideal, hopper) = (run(Tensor::Ideal), run(Tensor::Hopper));
    let worst = ideal.iter().zip(&hopper).map(|(x, y)| (x - y).abs()).fold(0.0, f32::max);
    assert!(worst > 0.0 && worst < 64.0 * 4.0 * 2f32.powi(-18), "{worst}");
}

#[test]
fn operands_along_m_and_n() {
    let (m, n, k) = (64, 64, 48);
    let (a, b) = (eighths(k * m, 3), eighths(k * n, 4));
    for mut machine in machines() {
        let (pa, pb) = (machine.put("a", &halves(&a, Half::Bf16)), machine.put("b", &halves(&b, Half::Bf16)));
        let c = machine.alloc("c", (m * n * 4) as u64);
        let map = |address| Arg::Map { map: matrix(ElementType::Bf16, address, k, 64, [64, 16]), write: false };
        let args = vec![map(pa), map(pb), Arg::Write { addr: c, len: (m * n * 4) as u64 }, (k as i32).into()];
        machine.launch(&module(), "gemm_bf16_mn", &Launch::new([1; 3], [128, 1, 1], args)).unwrap();
        let want: Vec<f32> = (0..m * n).map(|x| (0..k).map(|l| a[l * m + x / n] * b[l * n + x % n]).sum()).collect();
        assert!(machine.get::<f32>(c, m * n) == want);
    }
}

#[test]
fn a_in_registers_and_b_without_a_swizzle() {
    let (a, b) = (eighths(64 * 16, 5), eighths(64 * 16, 6));
    for mut machine in machines() {
        let (pa, pb) = (machine.put("a", &halves(&a, Half::Bf16)), machine.put("b", &halves(&b, Half::Bf16)));
        let c = machine.alloc("c", 64 * 64 * 4);
        let args =
            vec![Arg::Read { addr: pa, len: 2048 }, Arg::Read { addr: pb, len: 2048 }, Arg::Write { addr: c, len: 64 * 64 * 4 }];
        machine.launch(&module(), "product_rs", &Launch::new([1; 3], [128, 1, 1], args)).unwrap();
        let want: Vec<f32> = (0..64 * 64).map(|x| (0..16).map(|l| a[x / 64 * 16 + l] * b[x % 64 * 16 + l]).sum()).collect();
        assert!(machine.get::<f32>(c, 64 * 64) == want);
    }
}

#[test]
fn sums_in_f16_and_runs_of_bytes() {
    let (a, b) = (eighths(64 * 16, 7), eighths(8 * 16, 8));
    // Stored with the swizzle of 32 bytes, since a run of bytes has none: bit 4 of the address takes bit 7.
    let stored = |x: &[f32]| {
        let h = halves(x, Half::F16);
        (0..h.len()).map(|i| h[Swizzle::B32.apply(2 * i as u32) as usize / 2]).collect::<Vec<u16>>()
    };
    for mut machine in machines() {
        let (pa, pb) = (machine.put("a", &stored(&a)), machine.put("b", &stored(&b)));
        let c = machine.alloc("c", 64 * 8 * 2);
        let args = vec![Arg::Read { addr: pa, len: 2048 }, Arg::Read { addr: pb, len: 256 }, Arg::Write { addr: c, len: 1024 }];
        machine.launch(&module(), "product_f16", &Launch::new([1; 3], [128, 1, 1], args)).unwrap();
        for (x, got) in machine.get::<u16>(c, 64 * 8).into_iter().enumerate() {
            let want: f32 = 1.0 - (0..16).map(|l| a[x / 8 * 16 + l] * b[x % 8 * 16 + l]).sum::<f32>();
            assert_eq!(f32::from_bits(widen(got as u32, Half::F16)), want);
        }
    }
}

/// One place of the text broken in one way: the line, what was done, the text.
fn breaks() -> Vec<(usize, &'static str, String)> {
    let lines: Vec<&str> = TEXT.lines().collect();
    let mut list = Vec::new();
    let mut with = |i: usize, what: &'static str, line: String| {
        let mut all: Vec<&str> = lines.clone();
        all[i] = &line;
        list.push((i + 1, what, all.join("\n")));
    };
    for (i, line) in lines.iter().enumerate() {
        let has = |parts: &[&str]| parts.iter().any(|p| line.trim_start().starts_with(p));
        let operands: Vec<&str> = line.split([',', ' ', '\t', ';']).filter(|o| !o.is_empty()).collect();
        let last = *operands.last().unwrap_or(&"");
        // Assembly within braces ends with its last instruction; a brace stays.
        if has(&[
            "wgmma.fence",
            "wgmma.commit",
            "wgmma.wait",
            "fence.",
            "bar.sync",
            "mbarrier.init",
            "mbarrier.arrive",
            "cp.async.bulk",
        ]) {
            with(i, "left out", String::new());
        }
        if has(&["mbarrier.try_wait"]) {
            with(i, "a wait that does not wait", "setp.eq.b32 p, 0, 0;".into());
            with(
                i,
                "the other parity",
                format!(".reg .b32 flip; xor.b32 flip, {last}, 1;{}", line.replace(&format!(", {last};"), ", flip;")),
            );
        }
        if has(&["mbarrier.arrive.expect_tx"]) {
            for (what, by) in [("16 bytes more expected", 16), ("16 bytes fewer expected", -16)] {
                let changed = line.replace(&format!(", {last};"), ", bytes;");
                with(i, what, format!("{{.reg .b32 bytes; add.s32 bytes, {last}, {by};{changed}}}"));
            }
        }
        if has(&["wgmma.wait_group.sync.aligned 0"]) {
            with(i, "a group not waited for", line.replace(" 0;", " 1;"));
        }
        if has(&["wgmma.mma_async"]) {
            let descriptors: Vec<&str> = operands.iter().copied().filter(|o| o.starts_with("%rd")).collect();
            for (what, by) in [
                ("a descriptor 16 bytes further", 1u64),
                ("a descriptor one line further", 8),
                ("a descriptor a tile further", 1 << 9),
                ("a descriptor out of bounds", 0x3c00),
                ("another stride", 1 << 34),
                ("another swizzle", 1 << 63),
            ] {
                for d in &descriptors {
                    let changed = line.replace(&format!("{d},"), "other,");
                    with(i, what, format!("{{.reg .b64 other; xor.b64 other, {d}, {by};{changed}}}"));
                }
            }
        }
        if has(&["cp.async.bulk.tensor"]) {
            for (k, o) in operands.iter().enumerate().filter(|(_, o)| o.starts_with("{%") || o.ends_with("}]")) {
                let register = o.trim_matches(['{', '}', ']']);
                let what = if k % 2 == 0 { "a coordinate one further" } else { "the other coordinate one further" };
                let changed = line.replacen(o, &o.replace(register, "moved"), 1);
                with(i, what, format!("{{.reg .b32 moved; add.s32 moved, {register}, 1;{changed}}}"));
            }
        }
    }
    list
}

/// One of the smaller kernels, and the bytes that it leaves; none if it leaves out a part.
fn small(config: Config, module: &Module, kernel: &str) -> Result<Option<Vec<u8>>, Fault> {
    let mut m = Machine::new(config);
    let (half, len) = if kernel == "product_f16" { (Half::F16, 1024) } else { (Half::Bf16, 16384) };
    let (a, b) = (m.put("a", &halves(&eighths(64 * 48, 3), half)), m.put("b", &halves(&eighths(64 * 48, 4), half)));
    let c = m.alloc("c", len);
    let out = Arg::Write { addr: c, len };
    let map = |address| Arg::Map { map: matrix(ElementType::Bf16, address, 48, 64, [64, 16]), write: false };
    let pointer = |addr| Arg::Read { addr, len: 64 * 48 * 2 };
    let args = match kernel {
        "gemm_bf16_mn" => vec![map(a), map(b), out, 48i32.into()],
        _ => vec![pointer(a), pointer(b), out],
    };
    m.launch(module, kernel, &Launch::new([1; 3], [128, 1, 1], args))?;
    Ok(m.initialised(c, len).unwrap().then(|| m.bytes(c, len).unwrap().to_vec()))
}

/// Every one of them, under each schedule: a report, or another result.
#[test]
fn what_is_broken_is_found() {
    let gemm = Gemm::new(128, 128, 200);
    let want = gemm.want();
    let kernels = ["gemm_tf32", "gemm_bf16_mn", "product_rs", "product_f16"];
    let right = kernels[1..].iter().map(|k| (*k, small(Config::default(), &module(), k).unwrap()));
    let right: std::collections::BTreeMap<&str, Option<Vec<u8>>> = right.collect();
    let same = |module: &Module, kernel: &str, config: Config| -> Result<bool, Fault> {
        match kernel {
            "gemm_tf32" => Ok(gemm.run(&mut Machine::new(config), module)?.0 == want),
            _ => Ok(small(config, module, kernel)? == right[kernel]),
        }
    };
    let entry = |l: &str| kernels.into_iter().find(|k| l.contains(&format!(".entry {k}(")));
    let entries: Vec<(usize, &str)> = TEXT.lines().enumerate().filter_map(|(i, l)| Some((i, entry(l)?))).collect();
    let (mut missed, mut kinds, mut all) = (Vec::new(), std::collections::BTreeMap::<String, usize>::new(), 0);
    for (line, what, text) in breaks() {
        let kernel = entries.iter().rfind(|(at, _)| *at < line).expect("a line of a kernel").1;
        let module = Module::parse("broken.ptx", &text).unwrap_or_else(|e| panic!("line {line}, {what}: {e}"));
        let found = [Schedule::Forward, Schedule::Reverse, Schedule::Random(1)].into_iter().find_map(|schedule| {
            match same(&module, kernel, Config { schedule, budget: 1 << 22, fences: Fences::All, ..Config::default() }) {
                Err(f) => {
                    assert!(f.kind.name() != "unsupported", "line {line}, {what}: {f}");
                    Some(f.kind.name())
                }
                Ok(false) => Some("another result"),
                Ok(true) => None,
            }
        });
        all += 1;
        match found {
            Some(kind) => *kinds.entry(kind.to_string()).or_default() += 1,
            None => missed.push(format!("{kernel}, line {line}, {what}: {}", TEXT.lines().nth(line - 1).unwrap().trim())),
        }
    }
    println!("{all} broken, {} missed; found as {kinds:?}\n{}", missed.len(), missed.join("\n"));
    assert!(all > 150 && 50 * missed.len() <= all, "of {all}, {} were missed:\n{}", missed.len(), missed.join("\n"));
}

/// 128 windows of a picture through im2col, and what lies outside of it.
const WINDOWS: &str = r#"
    .version 8.0
    .target sm_90a
    .address_size 64
    .visible .entry windows(.param .align 64 .b8 map[128], .param .u64 out, .param .s32 x, .param .s32 y, .param .s32 n)
    {
        .reg .pred %p, %q;
        .reg .b16 %h<3>;
        .reg .b32 %t, %a, %v, %x, %y, %n;
        .reg .b64 %m, %o, %w;
        .shared .align 1024 .b8 tile[16384];
        .shared .align 8 .b64 full;
        mov.b64 %m, map;
        cvta.param.u64 %m, %m;
        ld.param.u64 %o, [out];
        ld.param.s32 %x, [x];
        ld.param.s32 %y, [y];
        ld.param.s32 %n, [n];
        mov.u32 %t, %tid.x;
        setp.ne.u32 %p, %t, 0;
        @%p bra WAIT;
        prefetch.tensormap [%m];
        mbarrier.init.shared::cta.b64 [full], 1;
        fence.mbarrier_init.release.cluster;
        mov.b16 %h1, 1;
        mov.b16 %h2, 2;
        cp.async.bulk.prefetch.tensor.4d.L2.global.im2col [%m, {0, %x, %y, %n}], {%h1, %h2};
        mbarrier.arrive.expect_tx.shared::cta.b64 _, [full], 16384;
        cp.async.bulk.tensor.4d.shared::cluster.global.im2col.mbarrier::complete_tx::bytes [tile], [%m, {0, %x, %y, %n}], [full], {%h1, %h2};
    WAIT:
        bar.sync 0;
    AGAIN:
        mbarrier.try_wait.parity.shared::cta.b64 %q, [full], 0;
        @!%q bra AGAIN;
        mov.u32 %a, tile;
    COPY:
        mad.lo.u32 %v, %t, 4, %a;
        mul.wide.u32 %w, %t, 4;
        add.u64 %w, %w, %o;
        ld.shared.u32 %v, [%v];
        st.global.u32 [%w], %v;
        add.u32 %t, %t, 128;
        setp.lt.u32 %p, %t, 4096;
        @%p bra COPY;
        cp.async.bulk.prefetch.L2.global [%o], 16;
        ret;
    }"#;

#[test]
fn windows_of_a_convolution() {
    let module = Module::parse("windows.ptx", WINDOWS).unwrap();
    let (c, w, h, n) = (32usize, 9i32, 7i32, 3i32);
    let x = eighths(c * (w * h * n) as usize, 9);
    for mut machine in machines() {
        let (picture, out) = (machine.put("x", &x), machine.alloc("out", 16384));
        // 3 × 3 with a border of 1 and steps of 2.
        let map = TensorMap {
            element: ElementType::Tf32,
            address: picture,
            dims: vec![c as u64, w as u64, h as u64, n as u64],
            strides: vec![128, 128 * w as u64, 128 * (w * h) as u64],
            cut: Cut::Im2col { lower: vec![-1, -1], upper: vec![-1, -1], channels: 32, pixels: 128 },
            steps: vec![1, 2, 2, 1],
            swizzle: Swizzle::B128,
            nan: false,
        };
        let first = 13;
        let (q, p) = ((w + 1) / 2, (h + 1) / 2);
        let at = |i: i32| (i % q * 2 - 1, i / q % p * 2 - 1, i / q / p);
        let (x0, y0, n0) = at(first);
        let args = vec![Arg::Map { map, write: false }, Arg::Write { addr: out, len: 16384 }, x0.into(), y0.into(), n0.into()];
        machine.launch(&module, "windows", &Launch::new([1; 3], [128, 1, 1], args)).unwrap();
        let got = machine.get::<f32>(out, 4096);
        for i in 0..128 {
            let (wx, wy, wn) = at(first + i);
            let (wx, wy) = (wx + 1, wy + 2);
            for k in 0..c {
                let inside = (0..w).contains(&wx) && (0..h).contains(&wy) && wn < n;
                let want = if inside { x[((wn * h + wy) * w + wx) as usize * c + k] } else { 0.0 };
                let place = Swizzle::B128.apply((i as usize * 128 + k * 4) as u32) as usize / 4;
                assert_eq!(got[place], want, "window {i}, channel {k}");
            }
        }
    }
}

/// What is asked of a bulk copy that cannot be, by name.
#[test]
fn what_a_bulk_copy_cannot_do() {
    let map = TensorMap {
        element: ElementType::F32,
        address: 0,
        dims: vec![32, 9, 7, 3],
        strides: vec![128, 1152, 8064],
        cut: Cut::Im2col { lower: vec![-1, -1], upper: vec![-1, -1], channels: 32, pixels: 128 },
        steps: vec![1; 4],
        swizzle: Swizzle::B128,
        nan: false,
    };
    let refused = |text: &str, change: &dyn Fn(&mut TensorMap), at: [i32; 3]| {
        let module = Module::parse("windows.ptx", text).unwrap();
        let mut machine = Machine::new(Config { budget: 1 << 20, fences: Fences::All, ..Config::default() });
        let (picture, out) = (machine.put("x", &vec![0f32; 32 * 9 * 7 * 3]), machine.alloc("out", 16384));
        let mut map = TensorMap { address: picture, ..map.clone() };
        change(&mut map);
        let [x, y, n] = at.map(Arg::from);
        let args = vec![Arg::Map { map, write: false }, Arg::Write { addr: out, len: 16384 }, x, y, n];
        let launch = Launch::new([1; 3], [128, 1, 1], args);
        machine.launch(&module, "windows", &launch).map_or_else(|f| f.to_string(), |_| "no fault".to_string())
    };
    let none = |_: &mut TensorMap| {};
    let is = |text: String, part: &str| assert!(text.contains(part), "{text}");
    is(refused(WINDOWS, &none, [-2, 0, 0]), "coordinate 1 is -2; the windows of this map begin at -1 to 7");
    is(refused(WINDOWS, &|m| m.swizzle = Swizzle::B64, [0; 3]), "with B64 it must have at most 64");
    is(refused(WINDOWS, &|m| m.address += 4, [0; 3]), "the tensor's address");
    is(refused(WINDOWS, &|m| m.dims[3] = 4, [0, 0, 3]), "exceed `x`");
    is(
        refused(WINDOWS, &|m| m.cut = Cut::Tiled(vec![32, 8, 8, 2]), [0; 3]),
        "an instruction of 4 coordinates with a tiled map of 4",
    );
    is(refused(&WINDOWS.replace("[tile], [%m", "[tile+64], [%m"), &none, [0; 3]), "misaligned");
    is(refused(&WINDOWS.replace(".b8 tile[16384]", ".b8 tile[8192]"), &none, [0; 3]), "out of bounds");
    is(refused(&WINDOWS.replace("mov.b64 %m, map;", "ld.param.u64 %m, [out];"), &none, [0; 3]), "there is no tensor map");
    is(refused(&WINDOWS.replace("cvta.param.u64 %m, %m;", "add.u64 %m, %m, 4;"), &none, [0; 3]), "no multiple of 64");
    is(refused(&WINDOWS.replace("b64 _, [full], 16384", "b64 _, [full], 16256"), &none, [0; 3]), "128 bytes more have come");
    is(
        refused(&WINDOWS.replace("b64 _, [full], 16384", "b64 _, [full], 16512"), &none, [0; 3]),
        "0 arrivals and 128 bytes are missing",
    );
    is(refused(&WINDOWS.replace("bar.sync 0;", ""), &none, [0; 3]), "race");
    is(refused(&WINDOWS.replace("fence.mbarrier_init.release.cluster;", ""), &none, [0; 3]), "without fence.proxy.async");
    is(
        refused(&WINDOWS.replace("AGAIN:\n", "ret;\nAGAIN:\n"), &none, [0; 3]),
        "exits while a bulk copy to its shared memory is under way",
    );
}

/// Whatever stands in a map or in the text: a fault or a result, and no panic.
#[test]
fn nothing_panics() {
    let mut state = 7u64;
    let mut next = |n: usize| {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 33) as usize % n
    };
    let windows = Module::parse("windows.ptx", WINDOWS).unwrap();
    let (mut faults, mut fine) = (0, 0);
    for _ in 0..1500 {
        let mut m = Machine::new(Config { budget: 1 << 16, ..Config::default() });
        let (picture, out) = (m.put("x", &[0f32; 32 * 9 * 7 * 3]), m.alloc("out", 16384));
        let mut map = TensorMap {
            element: [ElementType::Tf32, ElementType::F32, ElementType::U8, ElementType::F64][next(4)],
            address: picture,
            dims: vec![32, 9, 7, 3],
            strides: vec![128, 1152, 8064],
            cut: Cut::Im2col { lower: vec![-1, -1], upper: vec![-1, -1], channels: 32, pixels: 128 },
            steps: vec![1, 1 + next(3) as u32, 1, 1],
            swizzle: [Swizzle::None, Swizzle::B32, Swizzle::B64, Swizzle::B128][next(4)],
            nan: next(2) == 0,
        };
        let far = [0u64, 1, 16, 48, 1 << 20, 1 << 31, 1 << 32, (1 << 40) - 16, u64::MAX];
        for _ in 0..next(3) {
            match if map.dims.len() == 4 && map.strides.len() == 3 { next(6) } else { 3 } {
                0 => map.dims[next(4)] = far[next(9)],
                1 => map.strides[next(3)] = far[next(9)],
                2 => map.address = map.address.wrapping_add(far[next(9)]),
                3 => map.cut = Cut::Tiled((0..4).map(|_| [1, 2, 4, 16, 256][next(5)]).collect()),
                4 => {
                    let corner = |n: usize| [-128, -3, 0, 1, 127][n];
                    map.cut = Cut::Im2col {
                        lower: vec![corner(next(5)), corner(next(5))],
                        upper: vec![corner(next(5)), corner(next(5))],
                        channels: [1, 4, 32, 256][next(4)],
                        pixels: [1, 8, 1024][next(3)],
                    }
                }
                _ => {
                    map.dims.truncate(next(5));
                    map.strides.truncate(map.dims.len().saturating_sub(1));
                    map.steps.truncate(map.dims.len());
                }
            }
        }
        let mut at = || Arg::from([0, -1, 3, i32::MAX, i32::MIN][next(5)]);
        let args = vec![Arg::Map { map, write: false }, Arg::Write { addr: out, len: 16384 }, at(), at(), at()];
        match m.launch(&windows, "windows", &Launch::new([1; 3], [128, 1, 1], args)) {
            Ok(_) => fine += 1,
            Err(_) => faults += 1,
        }
    }
    assert!(fine > 20 && faults > 500, "{fine} {faults}");
    let lines: Vec<&str> = TEXT.lines().collect();
    let numbers = ["0", "1", "-1", "3", "16", "127", "1024", "4095", "65536", "2147483647", "4294967295", "-9223372036854775808"];
    for _ in 0..400 {
        let mut text: Vec<String> = lines.iter().map(|l| l.to_string()).collect();
        for _ in 0..1 + next(3) {
            let i = next(text.len());
            match (next(3), text[i].rsplit_once([' ', '\t'])) {
                (0, _) => text[i] = String::new(),
                (1, Some((head, last))) if last.trim_end_matches(';').parse::<i64>().is_ok() => {
                    text[i] = format!("{head} {};", numbers[next(12)]);
                }
                _ => {
                    let k = next(text.len());
                    text.swap(i, k);
                }
            }
        }
        let Ok(module) = Module::parse("damaged.ptx", &text.join("\n")) else { continue };
        let config = Config { budget: 1 << 14, ..Config::default() };
        for kernel in ["gemm_bf16_mn", "product_rs", "product_f16"].into_iter().filter(|k| module.entry(k).is_some()) {
            let _ = small(config.clone(), &module, kernel);
        }
        if module.entry("gemm_tf32").is_some() {
            let _ = Gemm::new(128, 128, 64).run(&mut Machine::new(config), &module);
        }
    }
}

/// A cluster of one block: its barrier in two halves, and the address of a variable in the block of rank 0.
const CLUSTER: &str = r#"
    .version 8.0
    .target sm_90
    .address_size 64
    .visible .entry cluster(.param .u64 out)
    {
        .reg .pred %p;
        .reg .b32 %t, %a, %b, %v, %rank;
        .reg .b64 %o, %w;
        .shared .align 256 .b32 words[64];
        .shared .align 8 .b64 bar;
        ld.param.u64 %o, [out];
        mov.u32 %t, %tid.x;
        setp.eq.u32 %p, %t, 0;
        mov.u32 %b, bar;
        @%p mbarrier.init.shared::cta.b64 [%b], 64;
        shl.b32 %a, %t, 2;
        mov.u32 %v, words;
        add.u32 %a, %a, %v;
        st.shared.u32 [%a], %t;
        barrier.cluster.arrive.release.aligned;
        barrier.cluster.wait.acquire.aligned;
        xor.b32 %a, %a, 128;
        mov.u32 %rank, 0;
        mapa.shared::cluster.u32 %a, %a, %rank;
        ld.shared.u32 %v, [%a];
        getctarank.shared::cluster.u32 %rank, %a;
        add.u32 %v, %v, %rank;
        mapa.shared::cluster.u32 %b, %b, %rank;
        mbarrier.arrive.release.cluster.shared::cluster.b64 _, [%b];
        mul.wide.u32 %w, %t, 4;
        add.u64 %o, %o, %w;
        st.global.u32 [%o], %v;
        ret;
    }"#;

#[test]
fn a_cluster_of_one_block() {
    let run = |text: &str, machine: &mut Machine| {
        let module = Module::parse("cluster.ptx", text).unwrap();
        let out = machine.alloc("out", 256);
        let args = vec![Arg::Write { addr: out, len: 256 }];
        machine.launch(&module, "cluster", &Launch::new([1; 3], [64, 1, 1], args)).map(|_| machine.get::<u32>(out, 64))
    };
    for mut machine in machines() {
        let want: Vec<u32> = (0..64).map(|t| t ^ 32).collect();
        assert_eq!(run(CLUSTER, &mut machine).unwrap(), want);
    }
    let fails = |from: &str, to: &str, part: &str| {
        let text = CLUSTER.replacen(from, to, 1);
        assert_ne!(text, CLUSTER);
        let e = run(&text, &mut Machine::new(Config::default())).unwrap_err().to_string();
        assert!(e.contains(part), "{e}");
    };
    fails("arrive.release", "arrive.relaxed", "read after write");
    fails("barrier.cluster.wait.acquire.aligned;", "", "race");
    fails("barrier.cluster.arrive.release.aligned;", "", "wait without barrier.cluster.arrive");
    fails("barrier.cluster.wait.acquire.aligned;", "barrier.cluster.arrive.aligned;", "arrive twice");
    fails("mov.u32 %rank, 0;", "mov.u32 %rank, 1;", "block 1 of a cluster that has one block");
}
