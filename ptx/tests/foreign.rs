//! Programs that others wrote, or wrote about, and that once went wrong here: one function a program, with the values of its
//! comments.

use lae_ptx::*;

/// The 32-bit words that the one kernel of `text` leaves in its last parameter; the parameters before it are the `inputs`.
fn words(text: &str, threads: u32, inputs: &[&[u32]], n: u64, config: Config) -> Result<Vec<u32>, String> {
    let module = Module::parse("foreign.ptx", text).map_err(|e| e.to_string())?;
    let mut m = Machine::new(config);
    let mut args = Vec::new();
    for x in inputs {
        let (addr, len) = (m.alloc("in", 4 * x.len() as u64), 4 * x.len() as u64);
        m.write(addr, bytemuck::cast_slice(x)).unwrap();
        args.push(Arg::Read { addr, len });
    }
    let out = m.alloc("out", 4 * n);
    args.push(Arg::Write { addr: out, len: 4 * n });
    let launch = Launch { grid: [1; 3], block: [threads, 1, 1], shared: 0, args, ..Launch::default() };
    m.launch(&module, &module.entries()[0].name, &launch).map_err(|f| f.to_string())?;
    Ok(m.bytes(out, 4 * n).unwrap().chunks_exact(4).map(|b| u32::from_le_bytes(b.try_into().unwrap())).collect())
}

/// [`words`] of one thread without inputs.
fn alone(text: &str, n: u64) -> Vec<u32> {
    words(text, 1, &[], n, Config::default()).unwrap()
}

#[test]
fn sum_of_three_limbs() {
    assert_eq!(alone(include_str!("foreign/sum_of_three_limbs.ptx"), 3), [1, u32::MAX, 0]);
}

#[test]
fn carry_out_zero() {
    assert_eq!(alone(include_str!("foreign/carry_out_zero.ptx"), 1), [0]);
}

#[test]
fn carry_under_guard() {
    let text = include_str!("foreign/carry_under_guard.ptx");
    assert_eq!(words(text, 2, &[], 4, Config::default()).unwrap(), [u32::MAX, 0, 1, 1]);
}

#[test]
fn carry_after_borrow() {
    assert_eq!(alone(include_str!("foreign/carry_after_borrow.ptx"), 2), [0, 1]);
}

#[test]
fn widen() {
    let text = include_str!("foreign/widen.ptx");
    let low = -2i32 as u32;
    assert_eq!(words(text, 1, &[&[0xfe]], 4, Config::default()).unwrap(), [low, -5i32 as u32, low, 0]);
}

#[test]
fn narrow_address() {
    let why = words(include_str!("foreign/narrow_address.ptx"), 1, &[], 1, Config::default()).unwrap_err();
    assert!(why.contains("`narrow`") && why.contains("`other`") && why.contains("line 4"), "{why}");
}

#[test]
fn two_to_the_third() {
    for seed in 0..100 {
        let config = Config { approx: Approx::Within(seed), ..Config::default() };
        assert_eq!(words(include_str!("foreign/two_to_the_third.ptx"), 1, &[], 1, config).unwrap(), [8f32.to_bits()]);
    }
}

/// Eighths from -2 to 2 as bits of a 16-bit float, and the numbers.
fn eighths(n: usize, seed: u32, to: num::half::Half) -> (Vec<u16>, Vec<f32>) {
    let x: Vec<f32> =
        (0..n as u32).map(|i| ((i.wrapping_mul(2654435761).wrapping_add(seed) >> 11) % 33) as f32 / 8.0 - 2.0).collect();
    (x.iter().map(|x| num::half::narrow(x.to_bits(), to, num::Round::Nearest) as u16).collect(), x)
}

/// A product that Triton compiled for Hopper, A and B, and C after it; under every schedule.
fn triton(text: &str, [m, n, k]: [usize; 3], half: num::half::Half, along_k: bool, launch: impl Fn([u64; 3]) -> Launch) {
    let module = Module::parse("triton.ptx", text).unwrap();
    let ((a, xa), (b, xb)) = (eighths(m * k, 1, half), eighths(n * k, 2, half));
    for schedule in [Schedule::Forward, Schedule::Reverse, Schedule::Random(1), Schedule::Random(2)] {
        let mut machine = Machine::new(Config { schedule, ..Config::default() });
        let mut put = |x: &[u16]| {
            let addr = machine.alloc("in", 2 * x.len() as u64);
            machine.write(addr, bytemuck::cast_slice(x)).unwrap();
            addr
        };
        let (pa, pb) = (put(&a), put(&b));
        let c = machine.alloc("c", (4 * m * n) as u64);
        machine.launch(&module, "mm", &launch([pa, pb, c])).unwrap_or_else(|f| panic!("{f}"));
        let got = machine.bytes(c, (4 * m * n) as u64).unwrap();
        let got = got.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap()));
        for (x, got) in got.enumerate() {
            let (i, j) = (x / n, x % n);
            let want: f32 = (0..k).map(|l| xa[i * k + l] * xb[if along_k { j * k + l } else { l * n + j }]).sum();
            assert_eq!(got, want, "row {i}, column {j}");
        }
    }
}

/// `wgmma` on tiles that `cp.async` brings, B along N.
#[test]
fn a_product_by_triton() {
    let [m, n, k] = [100, 128, 192];
    triton(include_str!("foreign/triton_f16.ptx"), [m, n, k], num::half::Half::F16, false, |[a, b, c]| {
        let read = |addr, count: usize| Arg::Read { addr, len: 2 * count as u64 };
        let mut args = vec![read(a, m * k), read(b, n * k), Arg::Write { addr: c, len: (4 * m * n) as u64 }];
        args.extend([m, n, k, k, n, n].map(|x| Arg::from(x as i32)));
        args.extend([Arg::Null, Arg::Null]);
        Launch::new([1; 3], [256, 1, 1], args).shared(98304)
    });
}

/// `wgmma` on tiles that bulk copies bring and take away.
#[test]
fn a_product_by_triton_through_tensor_maps() {
    use tensor_map::{Cut, ElementType, Swizzle};
    let [m, n, k] = [200, 64, 320];
    triton(include_str!("foreign/triton_tma.ptx"), [m, n, k], num::half::Half::Bf16, true, |[a, b, c]| {
        let tensor = |element: ElementType, address, columns: usize, rows: usize, sides: [u32; 2], write| {
            let (dims, cut) = (vec![columns as u64, rows as u64], Cut::Tiled(sides.to_vec()));
            let map = TensorMap::dense(element, address, dims, cut, Swizzle::B128);
            let sizes = [Arg::from(rows as i32), (columns as i32).into(), (columns as i64).into(), 1i64.into()];
            [vec![Arg::Map { map, write }], sizes.to_vec()].concat()
        };
        let args = [
            tensor(ElementType::Bf16, a, k, m, [64, 128], false),
            tensor(ElementType::Bf16, b, k, n, [64, 64], false),
            tensor(ElementType::F32, c, n, m, [32, 128], true),
            vec![(k as i32).into(), Arg::Null, Arg::Null],
        ];
        Launch::new([2, 1, 1], [128, 1, 1], args.concat()).shared(73752)
    });
}
