//! Programs of ordinary CUDA C++ (`programs/forms.cu`, `cub_sort.cu`), as nvcc compiled them for sm_80 and sm_90: right under
//! every schedule, and each with a planted bug that is found.

use lae_ptx::num::Round;
use lae_ptx::num::half::{Half, narrow, widen};
use lae_ptx::num::narrow::Eight;
use lae_ptx::{Arg, Config, Fault, Launch, Machine, Module, Report, Schedule};

const AMPERE: &str = include_str!("programs/forms.ptx");
const HOPPER: &str = include_str!("programs/forms90.ptx");

fn schedules() -> impl Iterator<Item = Schedule> {
    [Schedule::Forward, Schedule::Reverse].into_iter().chain((0..3).map(Schedule::Random))
}

/// A launch: its memory, what it may do, and what came out.
struct Run {
    machine: Machine,
    args: Vec<Arg>,
    places: Vec<(u64, usize)>,
}

impl Run {
    fn new(schedule: Schedule) -> Run {
        let machine = Machine::new(Config { schedule, ..Config::default() });
        Run { machine, args: Vec::new(), places: Vec::new() }
    }

    fn update<T: bytemuck::Pod>(mut self, name: &str, values: &[T]) -> Run {
        let bytes: &[u8] = bytemuck::cast_slice(values);
        let addr = self.machine.alloc(name, bytes.len() as u64);
        self.machine.write(addr, bytes).unwrap();
        self.places.push((addr, bytes.len()));
        self.args.push(Arg::Update { addr, len: bytes.len() as u64 });
        self
    }

    fn write(mut self, name: &str, bytes: usize) -> Run {
        let addr = self.machine.alloc(name, bytes as u64);
        self.places.push((addr, bytes));
        self.args.push(Arg::Write { addr, len: bytes as u64 });
        self
    }

    fn value(mut self, v: u32) -> Run {
        self.args.push(v.into());
        self
    }

    fn go(&mut self, text: &str, kernel: &str, blocks: u32, threads: u32) -> Result<Report, Fault> {
        let module = Module::parse("program.ptx", text).unwrap_or_else(|e| panic!("{e}"));
        let args = self.args.clone();
        self.machine.launch(
            &module,
            kernel,
            &Launch { grid: [blocks, 1, 1], block: [threads, 1, 1], shared: 0, args, ..Launch::default() },
        )
    }

    /// The memory of the k-th pointer.
    fn get<T: bytemuck::Pod>(&self, k: usize) -> Vec<T> {
        let (addr, len) = self.places[k];
        let bytes = self.machine.bytes(addr, len as u64).unwrap();
        bytes.chunks_exact(size_of::<T>()).map(bytemuck::pod_read_unaligned).collect()
    }
}

/// The text of a kernel with one place changed: the `nth` of `from` in it.
fn edit(text: &str, kernel: &str, from: &str, nth: usize, to: &str) -> String {
    let start = text.find(&format!(".entry {kernel}(")).expect("the kernel is there");
    let end = text[start..].find("\n}\n").map_or(text.len(), |n| start + n);
    let at = text[start..end].match_indices(from).nth(nth).unwrap_or_else(|| panic!("`{from}` {nth} of {kernel}")).0 + start;
    format!("{}{to}{}", &text[..at], &text[at + from.len()..])
}

fn barriers(text: &str, kernel: &str) -> usize {
    let start = text.find(&format!(".entry {kernel}(")).unwrap();
    let end = text[start..].find("\n}\n").map_or(text.len(), |n| start + n);
    text[start..end].matches("bar.sync").count()
}

fn draws(n: usize) -> Vec<u32> {
    (1..=n as u32).map(|i| i.wrapping_mul(0x9e37_79b9) ^ i.wrapping_mul(0x85eb_ca6b) >> 7).collect()
}

/// What every schedule says of a run that must fail: the kinds of the faults.
fn faults(run: impl Fn(Schedule) -> Result<(), String>) -> Vec<String> {
    schedules().map(|s| run(s).expect_err("the bug is not found")).collect()
}

#[test]
fn histogram() {
    let samples: Vec<u8> = draws(1000).iter().map(|x| (x >> 13) as u8).collect();
    let run = |text: &str, schedule| -> Result<(), String> {
        let mut r =
            Run::new(schedule).update("samples", &samples).value(1000).update("bins", &[0u32; 17]).update("done", &[0u32]);
        r.go(text, "histogram", 5, 96).map_err(|f| f.kind.name().to_string())?;
        let bins: Vec<u32> = r.get(1);
        let want = |b: u32| samples.iter().filter(|s| (**s & 15) as u32 == b).count() as u32;
        let right = (0..16).all(|b| bins[b as usize] == want(b)) && bins[16] == 1000;
        if right { Ok(()) } else { Err(format!("{bins:?}")) }
    };
    for text in [AMPERE, HOPPER] {
        schedules().for_each(|s| run(text, s).unwrap());
        for nth in 0..2 {
            let bug = edit(text, "histogram", "bar.sync", nth, "// bar.sync");
            faults(|s| run(&bug, s)).iter().for_each(|f| assert!(matches!(f.as_str(), "race" | "uninitialised"), "{f}"));
        }
    }
}

#[test]
fn radix_sort() {
    let keys = draws(128);
    let mut sorted = keys.clone();
    sorted.sort_unstable();
    let run = |text: &str, schedule| -> Result<(), String> {
        let mut r = Run::new(schedule).update("keys", &keys);
        r.go(text, "radix_sort", 1, 128).map_err(|f| f.kind.name().to_string())?;
        if r.get::<u32>(0) == sorted { Ok(()) } else { Err("order".into()) }
    };
    for text in [AMPERE, HOPPER] {
        schedules().for_each(|s| run(text, s).unwrap());
    }
    assert!(barriers(AMPERE, "radix_sort") >= 3);
    for nth in 0..barriers(AMPERE, "radix_sort") {
        let bug = edit(AMPERE, "radix_sort", "bar.sync", nth, "// bar.sync");
        faults(|s| run(&bug, s)).iter().for_each(|f| assert!(matches!(f.as_str(), "race" | "uninitialised"), "{nth}: {f}"));
    }
}

#[test]
fn sort_of_cub() {
    const TEXT: &str = include_str!("programs/cub_sort.ptx");
    let keys: Vec<u32> = draws(128).iter().map(|k| k & 0xff00_00ff).collect();
    let mut order: Vec<u32> = (0..128).collect();
    order.sort_by_key(|&i| keys[i as usize]);
    let run = |text: &str, schedule| -> Result<(), String> {
        let mut r = Run::new(schedule).update("keys", &keys).update("values", &(0..128u32).collect::<Vec<_>>());
        r.go(text, "cub_sort", 1, 64).map_err(|f| f.kind.name().to_string())?;
        if r.get::<u32>(1) == order { Ok(()) } else { Err("order".into()) }
    };
    schedules().for_each(|s| run(TEXT, s).unwrap());
    // Of its barriers one or two keep nothing apart here; most do.
    let missed = (0..barriers(TEXT, "cub_sort"))
        .filter(|&nth| {
            let bug = edit(TEXT, "cub_sort", "bar.sync", nth, "// bar.sync");
            schedules().any(|s| run(&bug, s).is_ok())
        })
        .count();
    assert!(missed <= 2, "{missed} of {} missing barriers are not found", barriers(TEXT, "cub_sort"));
}

#[test]
fn division_of_128_bits() {
    let wide = |k: usize| -> Vec<u128> {
        let d = draws(1024);
        (0..64)
            .map(|i| (0..4).fold(0, |x, j| x << 32 | d[(16 * i + 4 * k + j) % 1024] as u128) >> (17 * i * (k + 1) % 127))
            .collect()
    };
    let (mut a, mut b): (Vec<u128>, Vec<u128>) = (wide(0), wide(1).iter().map(|x| x | 1).collect());
    (a[0], b[0], a[1], b[1], a[2], b[2]) = (u128::MAX, 1, 1 << 127, u128::MAX, u64::MAX as u128, 1 << 64);
    let run = |text: &str, schedule| -> Result<(), String> {
        let mut r = Run::new(schedule).update("a", &a).update("b", &b).write("q", 1024).write("r", 1024).write("p", 1024);
        r.go(text, "divide", 1, 64).map_err(|f| f.kind.name().to_string())?;
        let (q, rem, p): (Vec<u128>, Vec<i128>, Vec<u128>) = (r.get(2), r.get(3), r.get(4));
        for i in 0..64 {
            let want = (a[i] / b[i], (a[i] as i128).wrapping_rem(b[i] as i128), a[i].wrapping_mul(b[i]));
            if (q[i], rem[i], p[i]) != want {
                return Err(format!("{} / {}: {:x?}, not {want:x?}", a[i], b[i], (q[i], rem[i], p[i])));
            }
        }
        Ok(())
    };
    for text in [AMPERE, HOPPER] {
        schedules().for_each(|s| run(text, s).unwrap());
        let bug = edit(text, "divide", "mul.hi.u64", 0, "mul.lo.u64");
        faults(|s| run(&bug, s));
    }
}

#[test]
fn eight_bits() {
    // Every code, its neighbours in f32 and the middles between codes; the edges of f32.
    let mut x: Vec<f32> = Vec::new();
    for kind in [Eight::E4m3, Eight::E5m2] {
        let value = |c: u32| f32::from_bits(widen(kind.decode(c), Half::F16));
        for c in 0..256 {
            let (v, next) = (value(c), value((c + 1) & 0xff));
            x.extend([
                v,
                f32::from_bits(v.to_bits().wrapping_add(1)),
                f32::from_bits(v.to_bits().wrapping_sub(1)),
                (v + next) / 2.0,
            ]);
        }
    }
    x.extend([
        0.0,
        -0.0,
        f32::MAX,
        f32::MIN,
        f32::INFINITY,
        f32::NEG_INFINITY,
        f32::NAN,
        f32::MIN_POSITIVE,
        1e-45,
        448.0,
        464.0,
        465.0,
    ]);
    x.resize(x.len().next_multiple_of(256), 1.0);
    let blocks = (x.len() / 256) as u32;
    let run = |text: &str, schedule| -> Result<(), String> {
        let mut r = Run::new(schedule).update("x", &x).write("codes", 2 * x.len()).write("halves", 4 * x.len());
        r.go(text, "eight_bits", blocks, 256).map_err(|f| f.to_string())?;
        let (codes, halves): (Vec<u8>, Vec<u16>) = (r.get(1), r.get(2));
        for (i, &x) in x.iter().enumerate() {
            for (k, kind) in [Eight::E4m3, Eight::E5m2].into_iter().enumerate() {
                let (got, want) = (codes[2 * i + k] as u32, kind.encode(x as f64, false));
                // The software of sm_80 keeps the sign of a NaN.
                if got != want && !(x.is_nan() && got & 0x7f == want) {
                    return Err(format!("{x} as {kind:?}: {got:#x}, not {want:#x}"));
                }
                let (got, want) = (halves[2 * i + k] as u32, kind.decode(i as u32 & 0xff));
                let nan = |h: u32| f32::from_bits(widen(h, Half::F16)).is_nan();
                if got != want && !(nan(got) && nan(want)) {
                    return Err(format!("{kind:?} {:#x}: {got:#x}, not {want:#x}", i & 0xff));
                }
            }
        }
        Ok(())
    };
    for text in [AMPERE, HOPPER] {
        schedules().for_each(|s| run(text, s).unwrap());
    }
    let bug = edit(HOPPER, "eight_bits", "cvt.rn.satfinite.e4m3x2", 0, "cvt.rn.satfinite.e5m2x2");
    faults(|s| run(&bug, s));
    // Rounding in f16 first would be rounding twice.
    let twice = |x: f32| {
        Eight::E4m3.encode(f32::from_bits(widen(narrow(x.to_bits(), Half::F16, Round::Nearest), Half::F16)) as f64, false)
    };
    assert!(x.iter().any(|&v| twice(v) != Eight::E4m3.encode(v as f64, false)));
}

#[test]
fn sum_of_a_grid() {
    let x: Vec<f32> = (0..3000).map(|i| (i % 17) as f32).collect();
    let run = |text: &str, schedule| -> Result<(), String> {
        let mut r = Run::new(schedule).update("x", &x).value(3000).write("partial", 4 * 7).write("sum", 4);
        r.go(text, "grid_sum", 7, 128).map_err(|f| f.kind.name().to_string())?;
        // A second launch finds the workspace as the first one did.
        r.go(text, "grid_sum", 7, 128).map_err(|f| f.kind.name().to_string())?;
        let sum: Vec<f32> = r.get(2);
        if sum[0] == x.iter().sum::<f32>() { Ok(()) } else { Err(format!("{sum:?}")) }
    };
    for text in [AMPERE, HOPPER] {
        schedules().for_each(|s| run(text, s).unwrap());
        let bug = edit(text, "grid_sum", "atom.add.release.gpu", 0, "atom.add.relaxed.gpu");
        faults(|s| run(&bug, s)).iter().for_each(|f| assert_eq!(f, "race"));
        // A block that comes last needs to acquire nothing after its own arrival: only some orders show it.
        let bug = edit(text, "grid_sum", "ld.acquire.gpu", 0, "ld.relaxed.gpu");
        assert!(schedules().any(|s| run(&bug, s) == Err("race".into())));
    }
}

#[test]
fn wide_tiles() {
    let run = |text: &str, schedule| -> Result<(), String> {
        let x: Vec<i32> = (0..256).collect();
        let mut r = Run::new(schedule).update("x", &x);
        r.go(text, "wide_tiles", 1, 256).map_err(|f| f.kind.name().to_string())?;
        let y: Vec<i32> = r.get(0);
        let right = (0..256).all(|i| y[i as usize] == i / 64 * 64 + 63 - i % 64 + i / 64);
        if right { Ok(()) } else { Err(format!("{y:?}")) }
    };
    for text in [AMPERE, HOPPER] {
        schedules().for_each(|s| run(text, s).unwrap());
    }
}

#[test]
fn staged_copies() {
    let x: Vec<f32> = (0..1280).map(|i| (i * 7 % 101) as f32).collect();
    let run = |text: &str, schedule| -> Result<(), String> {
        let mut r = Run::new(schedule).update("x", &x).write("y", 256).value(5);
        r.go(text, "staged", 1, 64).map_err(|f| f.kind.name().to_string())?;
        let y: Vec<f32> = r.get(1);
        let want = |t: usize| -> f32 {
            (0..5).map(|s| (0..4).map(|i| x[256 * s + 255 - 4 * t - i] * (i + 1) as f32).sum::<f32>()).sum()
        };
        if (0..64).all(|t| y[t] == want(t)) { Ok(()) } else { Err(format!("{y:?}")) }
    };
    schedules().for_each(|s| run(AMPERE, s).unwrap());
    let last = barriers(AMPERE, "staged") - 1;
    let bug = edit(AMPERE, "staged", "bar.sync", last, "// bar.sync");
    faults(|s| run(&bug, s)).iter().for_each(|f| assert!(matches!(f.as_str(), "race" | "uninitialised"), "{f}"));
    let bug = edit(AMPERE, "staged", "cp.async.mbarrier.arrive", 0, "// cp.async.mbarrier.arrive");
    faults(|s| run(&bug, s)).iter().for_each(|f| assert!(matches!(f.as_str(), "race" | "uninitialised"), "{f}"));
}

#[test]
fn printing() {
    for text in [AMPERE, HOPPER] {
        for schedule in schedules() {
            let mut r = Run::new(schedule).update("x", &[1, 2, 3, 40, -5, 600i32]);
            let report = r.go(text, "tells", 1, 6).unwrap_or_else(|f| panic!("{f}"));
            let mut lines: Vec<&str> = report.printed.lines().collect();
            lines.sort_unstable();
            assert_eq!(lines, ["x[2] = +0003 (odd, 0.429)", "x[3] = +0040 (even, 5.71)", "x[5] = +0600 (even, 85.7)"]);
        }
    }
}

#[test]
fn lists_on_the_heap() {
    let run = |text: &str, schedule| -> Result<(), String> {
        let mut r = Run::new(schedule).value(10).write("sums", 4 * 40);
        r.go(text, "lists", 1, 40).map_err(|f| f.kind.name().to_string())?;
        if r.get::<i32>(0) == (0..40).map(|t| 45 * t).collect::<Vec<_>>() { Ok(()) } else { Err("sums".into()) }
    };
    for text in [AMPERE, HOPPER] {
        schedules().for_each(|s| run(text, s).unwrap());
        // A node is freed again with the one behind it.
        let call = "call.uni \n\tfree, \n\t(\n\tparam0\n\t);";
        assert!(text.contains(call));
        let bug = text.replace(call, &format!("{call}\n{call}"));
        faults(|s| run(&bug, s)).iter().for_each(|f| assert_eq!(f, "heap"));
    }
}
