//! `basic.cu`, compiled: every kernel's result against plain Rust.

use lae_ptx::*;

fn module() -> Module {
    Module::parse("basic.ptx", include_str!("basic.ptx")).unwrap()
}

fn floats(n: usize, seed: u32) -> Vec<f32> {
    (0..n as u32).map(|i| (i.wrapping_mul(2654435761).wrapping_add(seed * 77) >> 8) as f32 / (1 << 23) as f32 - 1.0).collect()
}

pub(crate) trait Memory {
    fn put<T: bytemuck::Pod>(&mut self, name: &str, x: &[T]) -> u64;
    fn get<T: bytemuck::Pod>(&self, addr: u64, n: usize) -> Vec<T>;
}

impl Memory for Machine {
    fn put<T: bytemuck::Pod>(&mut self, name: &str, x: &[T]) -> u64 {
        let bytes: &[u8] = bytemuck::cast_slice(x);
        let a = self.alloc(name, bytes.len() as u64);
        self.write(a, bytes).unwrap();
        a
    }
    fn get<T: bytemuck::Pod>(&self, addr: u64, n: usize) -> Vec<T> {
        let len = (n * size_of::<T>()) as u64;
        assert!(self.initialised(addr, len).unwrap(), "part of the result was never written");
        self.bytes(addr, len).unwrap().chunks_exact(size_of::<T>()).map(bytemuck::pod_read_unaligned).collect()
    }
}

fn read(addr: u64, n: usize) -> Arg {
    Arg::Read { addr, len: 4 * n as u64 }
}
fn write(addr: u64, n: usize) -> Arg {
    Arg::Write { addr, len: 4 * n as u64 }
}
fn update(addr: u64, n: usize) -> Arg {
    Arg::Update { addr, len: 4 * n as u64 }
}

/// The machines that every test runs on: all schedules, all instruction sets, both ways of asynchronous copies.
pub(crate) fn machines() -> Vec<Machine> {
    let mut all = Vec::new();
    for schedule in [Schedule::Forward, Schedule::Reverse, Schedule::Random(1), Schedule::Random(2)] {
        all.push(Machine::new(Config { schedule, fences: Fences::All, ..Config::default() }));
    }
    for level in Machine::levels() {
        let mut m = Machine::new(Config { copies: Copies::Eager, counters: true, ..Config::default() });
        assert!(m.set_level(level));
        all.push(m);
    }
    all
}

#[test]
fn saxpy() {
    for mut m in machines() {
        let n = 1000;
        let (x, y) = (floats(n, 1), floats(n, 2));
        let (px, py) = (m.put("x", &x), m.put("y", &y));
        let args = vec![(n as i32).into(), 1.5f32.into(), read(px, n), update(py, n)];
        m.launch(&module(), "saxpy", &Launch { grid: [3, 1, 1], block: [96, 1, 1], shared: 0, args, ..Launch::default() })
            .unwrap();
        let want: Vec<f32> = x.iter().zip(&y).map(|(x, y)| 1.5f32.mul_add(*x, *y)).collect();
        assert_eq!(m.get::<f32>(py, n), want);
    }
}

#[test]
fn bilinear() {
    for mut m in machines() {
        let (n, h, w, c) = (2, 6, 8, 3);
        let x = floats(n * h / 2 * w / 2 * c, 3);
        let total = n * h * w * c;
        let (px, py) = (m.put("x", &x), m.alloc("y", 4 * total as u64));
        let sizes = [n as u32, h as u32, w as u32, c as u32, 0.5f32.to_bits()];
        let args = vec![Arg::Bytes(bytemuck::cast_slice(&sizes).to_vec()), read(px, x.len()), write(py, total)];
        m.launch(&module(), "bilinear", &Launch { grid: [2, 1, 1], block: [256, 1, 1], shared: 0, args, ..Launch::default() })
            .unwrap();
        let y: Vec<f32> = m.get(py, total);
        let at = |k: usize, i: isize, j: isize, l: usize| {
            let (i, j) = (i.clamp(0, h as isize / 2 - 1) as usize, j.clamp(0, w as isize / 2 - 1) as usize);
            x[((k * h / 2 + i) * w / 2 + j) * c + l] as f64
        };
        for (i, got) in y.iter().enumerate() {
            let (l, q, p, k) = (i % c, i / c % w, i / c / w % h, i / c / w / h);
            let (sy, sx) = ((p as f64 * 0.5 - 0.25).max(0.0), (q as f64 * 0.5 - 0.25).max(0.0));
            let (fy, fx) = (sy.fract(), sx.fract());
            let (i, j) = (sy as isize, sx as isize);
            let row = |i| at(k, i, j, l) * (1.0 - fx) + at(k, i, j + 1, l) * fx;
            let want = row(i) * (1.0 - fy) + row(i + 1) * fy;
            assert!((*got as f64 - want).abs() < 1e-6, "{i}: {got} {want}");
        }
    }
}

#[test]
fn reduction() {
    for mut m in machines() {
        let n = 1000;
        let x: Vec<f32> = (0..n).map(|i| (i % 17) as f32).collect();
        let (px, py) = (m.put("x", &x), m.alloc("y", 4));
        let args = vec![(n as i32).into(), read(px, n), write(py, 1)];
        m.launch(&module(), "reduce", &Launch { grid: [1, 1, 1], block: [128, 1, 1], shared: 0, args, ..Launch::default() })
            .unwrap();
        assert_eq!(m.get::<f32>(py, 1), [x.iter().sum::<f32>()]);
    }
}

#[test]
fn gemm() {
    for mut m in machines() {
        let (rows, columns, depth) = (128, 64, 48);
        let (a, b) = (floats(depth * rows, 5), floats(depth * columns, 6));
        let (pa, pb, pc) = (m.put("A", &a), m.put("B", &b), m.alloc("C", 4 * (rows * columns) as u64));
        let args = vec![
            (rows as i32).into(),
            (columns as i32).into(),
            (depth as i32).into(),
            read(pa, a.len()),
            read(pb, b.len()),
            write(pc, rows * columns),
        ];
        m.launch(&module(), "gemm", &Launch { grid: [1, 2, 1], block: [256, 1, 1], shared: 0, args, ..Launch::default() })
            .unwrap();
        let c: Vec<f32> = m.get(pc, rows * columns);
        for i in 0..rows {
            for j in 0..columns {
                let want = (0..depth).fold(0f32, |s, k| a[k * rows + i].mul_add(b[k * columns + j], s));
                assert_eq!(c[i * columns + j], want, "row {i}, column {j}");
            }
        }
    }
}

#[test]
fn division() {
    for mut m in machines() {
        let a = [7, -7, 100, i32::MAX, i32::MIN, 0, 12345, -1];
        let b = [2, 2, -7, 3, 5, 9, 12345, 1];
        let (pa, pb) = (m.put("a", &a), m.put("b", &b));
        let out: Vec<u64> = ["q", "r", "f", "u"].map(|n| m.alloc(n, 32)).to_vec();
        let l = m.alloc("l", 64);
        let mut args = vec![8i32.into(), read(pa, 8), read(pb, 8)];
        args.extend(out.iter().map(|&o| write(o, 8)));
        args.push(write(l, 16));
        m.launch(&module(), "division", &Launch { grid: [1, 1, 1], block: [32, 1, 1], shared: 0, args, ..Launch::default() })
            .unwrap();
        let each = |f: &dyn Fn(i32, i32) -> u32| a.iter().zip(b).map(|(&a, b)| f(a, b)).collect::<Vec<u32>>();
        assert_eq!(m.get::<u32>(out[0], 8), each(&|a, b| (a / b) as u32));
        assert_eq!(m.get::<u32>(out[1], 8), each(&|a, b| (a % b) as u32));
        assert_eq!(m.get::<u32>(out[2], 8), each(&|a, b| (a as f32 / b as f32).to_bits()));
        assert_eq!(m.get::<u32>(out[3], 8), each(&|a, b| a as u32 / b as u32));
        assert_eq!(m.get::<i64>(l, 8), a.iter().zip(b).map(|(&a, b)| a as i64 * 1000003 / b as i64).collect::<Vec<_>>());
    }
}

#[test]
fn library_functions() {
    for mut m in machines() {
        // Large arguments take the slow path of the sine, through local memory and a table in global memory.
        let x = [0.0f32, 1.0, -1.0, 0.3, -2.5, 10.0, 3e5, -7e8];
        let (px, py) = (m.put("x", &x), m.alloc("y", 4 * 64));
        let args = vec![8i32.into(), read(px, 8), write(py, 64)];
        m.launch(&module(), "functions", &Launch { grid: [1, 1, 1], block: [32, 1, 1], shared: 0, args, ..Launch::default() })
            .unwrap();
        let y: Vec<f32> = m.get(py, 64);
        for (i, &x) in x.iter().enumerate() {
            let v = x as f64;
            let want = [
                v.exp(),
                ((x.abs() + 1e-3) as f64).ln(),
                v.sin(),
                v.tanh(),
                v.abs().powf(0.3f32 as f64),
                v.abs().sqrt(),
                (-v.abs()).exp().ln_1p(),
                v / (v.abs() + 1.0).sqrt(),
            ];
            for (k, want) in want.into_iter().enumerate() {
                let got = y[8 * i + k] as f64;
                assert!(
                    got == want || (got - want).abs() <= 4e-7 * want.abs() + 1e-9 || want > f32::MAX as f64,
                    "f{k}({x}) = {got}, not {want}"
                );
            }
        }
    }
}

#[test]
fn calls() {
    for mut m in machines() {
        let x = floats(8 * 32, 7);
        let px = m.put("x", &x);
        let launch =
            Launch { grid: [1, 1, 1], block: [32, 1, 1], shared: 0, args: vec![update(px, 8 * 32)], ..Launch::default() };
        m.launch(&module(), "calls", &launch).unwrap();
        let y: Vec<f32> = m.get(px, 32);
        for t in 0..32 {
            let c = (x[t] as i32 & 3) as usize;
            let want = if t & 1 != 0 { (c..c + 3).fold(x[t], |v, k| v * x[k * 32 + t] + 1.0) } else { x[t] };
            assert_eq!(y[t], want, "thread {t}");
        }
    }
}

#[test]
fn recursion() {
    for mut m in machines() {
        let py = m.alloc("y", 4 * 64);
        m.launch(
            &module(),
            "recursion",
            &Launch { grid: [1, 1, 1], block: [64, 1, 1], shared: 0, args: vec![write(py, 64)], ..Launch::default() },
        )
        .unwrap();
        let want: Vec<i32> = (0..64).map(|t| [0, 1, 1, 2, 3, 5, 8, 13][t % 8]).collect();
        assert_eq!(m.get::<i32>(py, 64), want);
    }
}

#[test]
fn variables() {
    for mut m in machines() {
        let module = module();
        let (table, bytes) = m.symbol(&module, "table").unwrap();
        assert_eq!(bytes, 64);
        m.write(table, bytemuck::cast_slice(&floats(16, 8))).unwrap();
        let px = m.put("x", &[0i32; 72]);
        let launch = Launch { grid: [1, 1, 1], block: [64, 1, 1], shared: 256, args: vec![update(px, 72)], ..Launch::default() };
        m.launch(&module, "variables", &launch).unwrap();
        m.launch(&module, "variables", &launch).unwrap();
        let (total, _) = m.symbol(&module, "total").unwrap();
        assert_eq!(m.get::<f32>(total, 4), [129.0, 2.0, 3.0, 4.0]);
        let x: Vec<f32> = m.get(px, 72);
        for t in 0..64 {
            assert_eq!(x[t], floats(16, 8)[(t ^ 1) & 15] + [2.0, 3.0][t & 1], "thread {t}");
        }
        assert_eq!(x[64..68], [3.0, 5.0, 8.0, 1.0]);
        assert_eq!(x[68].to_bits(), 2 * 60 * 3);
    }
}

#[test]
fn a_lock_makes_progress() {
    for mut m in machines() {
        // Threads of a warp hold the lock in turns, which the race check does not follow.
        m.config_mut().checks.race = false;
        let (mutex, count) = (m.put("mutex", &[0u32]), m.put("count", &[0u32]));
        let args = vec![update(mutex, 1), update(count, 1)];
        m.launch(&module(), "lock", &Launch { grid: [2, 1, 1], block: [64, 1, 1], shared: 0, args, ..Launch::default() })
            .unwrap();
        assert_eq!(m.get::<u32>(count, 1), [128]);
    }
}
