//! `wmma`: the kernels of `wmma.cu`, compiled, against exact products; and what is wrong with an operand is reported.

use lae_ptx::num::Round;
use lae_ptx::num::half::{Half, narrow, widen};
use lae_ptx::*;

use crate::kernels::{Memory, machines};

fn module() -> Module {
    Module::parse("wmma.ptx", include_str!("wmma.ptx")).unwrap()
}

/// How a number is stored.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Type {
    F16,
    Bf16,
    F32,
}

impl Type {
    fn bytes(self) -> usize {
        if self == Type::F32 { 4 } else { 2 }
    }
    fn half(self) -> Half {
        if self == Type::F16 { Half::F16 } else { Half::Bf16 }
    }
    fn put(self, x: f64, to: &mut [u8]) {
        let bits = (x as f32).to_bits();
        let bits = if self == Type::F32 { bits } else { narrow(bits, self.half(), Round::Nearest) };
        to.copy_from_slice(&bits.to_le_bytes()[..self.bytes()]);
    }
    fn get(self, from: &[u8]) -> f64 {
        let mut b = [0; 4];
        b[..from.len()].copy_from_slice(from);
        let bits = u32::from_le_bytes(b);
        f32::from_bits(if self == Type::F32 { bits } else { widen(bits, self.half()) }) as f64
    }
}

/// A matrix in memory, its rows or columns `pad` elements longer than they need be. The padding holds nothing.
#[derive(Clone, Copy)]
struct Matrix {
    ty: Type,
    rows: usize,
    columns: usize,
    row_major: bool,
    pad: usize,
}

impl Matrix {
    fn ld(&self) -> usize {
        self.pad + if self.row_major { self.columns } else { self.rows }
    }
    fn len(&self) -> usize {
        self.ty.bytes() * self.ld() * if self.row_major { self.rows } else { self.columns }
    }
    fn at(&self, i: usize, j: usize) -> usize {
        self.ty.bytes() * if self.row_major { i * self.ld() + j } else { j * self.ld() + i }
    }
    fn fill(&self, m: &mut Machine, name: &str, f: impl Fn(usize, usize) -> f64) -> u64 {
        let p = m.alloc(name, self.len() as u64);
        for i in 0..self.rows {
            for j in 0..self.columns {
                let mut b = [0; 4];
                self.ty.put(f(i, j), &mut b[..self.ty.bytes()]);
                m.write(p + self.at(i, j) as u64, &b[..self.ty.bytes()]).unwrap();
            }
        }
        p
    }
    fn get(&self, m: &Machine, p: u64, i: usize, j: usize) -> f64 {
        self.ty.get(m.bytes(p + self.at(i, j) as u64, self.ty.bytes() as u64).unwrap())
    }
}

/// The kernels called PRODUCT in `wmma.cu`, by their names.
struct Product {
    name: String,
    tile: [usize; 2],
    step: usize,
    a: Matrix,
    b: Matrix,
    c: Matrix,
}

impl Product {
    /// Two by two tiles, four steps of k; but one tile where a second would begin at 16 bytes, which `wmma` does not allow.
    fn all() -> Vec<Product> {
        module().entries().iter().map(|e| e.name.clone()).filter(|n| n != "staged").map(Product::new).collect()
    }

    fn new(name: String) -> Product {
        let words: Vec<&str> = name.split('_').collect();
        let [element, sum, shape, layouts] = words[..] else { panic!("kernel `{name}`") };
        let (element, step) = match element {
            "f16" => (Type::F16, 16),
            "bf16" => (Type::Bf16, 16),
            "tf32" => (Type::F32, 8),
            _ => panic!("kernel `{name}`"),
        };
        let (m, n) = shape[1..].split_once('n').unwrap();
        let [m, n]: [usize; 2] = [m, n].map(|x| x.parse().unwrap());
        let row: Vec<bool> = layouts.chars().map(|c| c == 'r').collect();
        let one = |extent: usize, contiguous: bool| extent == 8 && contiguous && element == Type::F16;
        let rows = if one(m, !row[0]) { m } else { 2 * m };
        let columns = if one(n, row[1]) { n } else { 2 * n };
        let k = 4 * step;
        let matrix = |ty: Type, rows, columns, row_major| Matrix { ty, rows, columns, row_major, pad: 16 / ty.bytes() };
        Product {
            tile: [m, n],
            step,
            a: matrix(element, rows, k, row[0]),
            b: matrix(element, k, columns, row[1]),
            c: matrix(if sum == "f16" { Type::F16 } else { Type::F32 }, rows, columns, row[2]),
            name,
        }
    }

    fn k(&self) -> usize {
        self.a.columns
    }

    fn run(&self, m: &mut Machine, [a, b, c]: [u64; 3]) -> Result<Report, Fault> {
        let args = vec![
            (self.k() as i32).into(),
            Arg::Read { addr: a, len: self.a.len() as u64 },
            (self.a.ld() as i32).into(),
            Arg::Read { addr: b, len: self.b.len() as u64 },
            (self.b.ld() as i32).into(),
            Arg::Update { addr: c, len: self.c.len() as u64 },
            (self.c.ld() as i32).into(),
        ];
        let grid = [(self.c.columns / self.tile[1]) as u32, (self.c.rows / self.tile[0]) as u32, 1];
        m.launch(&module(), &self.name, &Launch { grid, block: [32, 1, 1], shared: 0, args, ..Launch::default() })
    }
}

/// Small integers without symmetry: every sum is exact in every type.
fn small(i: usize, j: usize, seed: u32) -> f64 {
    ((i as u32 * 64 + j as u32).wrapping_add(seed << 16).wrapping_mul(2654435761) >> 20) as f64 % 7.0 - 3.0
}

/// Between −1 and 1.
fn dense(i: usize, j: usize, seed: u32) -> f64 {
    (i as u32 * 64 + j as u32).wrapping_add(seed << 16).wrapping_mul(2654435761) as i32 as f64 / 2f64.powi(31)
}

#[test]
fn products_are_exact() {
    let all = Product::all();
    assert_eq!(all.len(), 28);
    let (mut checked, mut counted) = (0, 0);
    for p in &all {
        for mut m in machines() {
            let data = [
                p.a.fill(&mut m, "A", |i, k| small(i, k, 1)),
                p.b.fill(&mut m, "B", |k, j| small(k, j, 2)),
                p.c.fill(&mut m, "C", |i, j| small(i, j, 3)),
            ];
            let report = p.run(&mut m, data).unwrap_or_else(|f| panic!("{}: {f}", p.name));
            for i in 0..p.c.rows {
                for j in 0..p.c.columns {
                    let want = small(i, j, 3) + (0..p.k()).map(|k| small(i, k, 1) * small(k, j, 2)).sum::<f64>();
                    assert_eq!(p.c.get(&m, data[2], i, j), want, "{}: row {i}, column {j}", p.name);
                    checked += 1;
                }
            }
            let c = report.counters;
            if m.config_mut().counters {
                counted += 1;
                assert_eq!(c.macs as usize, p.c.rows * p.c.columns * p.k(), "{}", p.name);
                // Every matrix of a step moves once, whole.
                let tiles = p.c.rows / p.tile[0] * (p.c.columns / p.tile[1]);
                let step = (p.tile[0] + p.tile[1]) * p.step * p.a.ty.bytes();
                let sum = p.tile[0] * p.tile[1] * p.c.ty.bytes();
                assert_eq!(c.load.bytes as usize, tiles * (sum + step * p.k() / p.step), "{}", p.name);
                assert_eq!(c.store.bytes as usize, tiles * sum, "{}", p.name);
                assert_eq!(c.written.bytes as usize, tiles * sum, "{}", p.name);
            }
        }
    }
    assert!(checked > 28 * 6 * 256 && counted >= 28, "only {checked}");
}

#[test]
fn products_round_as_mma_does() {
    for p in Product::all() {
        for tensor in [Tensor::Ideal, Tensor::Ampere, Tensor::Hopper] {
            let mut m = Machine::new(Config { tensor, ..Config::default() });
            let data = [
                p.a.fill(&mut m, "A", |i, k| dense(i, k, 1)),
                p.b.fill(&mut m, "B", |k, j| dense(k, j, 2)),
                p.c.fill(&mut m, "C", |i, j| dense(i, j, 3)),
            ];
            // What the products see: the elements as stored, or rounded to tf32 by the kernel.
            let seen = |x: &Matrix, v: f64| {
                let bits = (v as f32).to_bits();
                f32::from_bits(match x.ty {
                    Type::F32 => num::half::tf32_rna(bits),
                    ty => widen(narrow(bits, ty.half(), Round::Nearest), ty.half()),
                }) as f64
            };
            let start = |v: f64| match p.c.ty {
                Type::F32 => v as f32 as f64,
                _ => seen(&p.c, v),
            };
            p.run(&mut m, data).unwrap_or_else(|f| panic!("{}: {f}", p.name));
            for i in 0..p.c.rows {
                for j in 0..p.c.columns {
                    let terms = (0..p.k()).map(|k| seen(&p.a, dense(i, k, 1)) * seen(&p.b, dense(k, j, 2)));
                    let (sum, size) =
                        terms.fold((start(dense(i, j, 3)), start(dense(i, j, 3)).abs()), |(s, a), t| (s + t, a + t.abs()));
                    // docs/emulator.md: (k + 2)·2⁻²³ of the sizes, here for the k of all steps; an f16 sum is also rounded in
                    // each of 4.
                    let half = if p.c.ty == Type::F16 { 4.0 * 2f64.powi(-11) } else { 0.0 };
                    let bound = ((p.k() + 8) as f64 * 2f64.powi(-23) + half) * size;
                    let got = p.c.get(&m, data[2], i, j);
                    assert!((got - sum).abs() <= bound, "{} {tensor:?}: row {i}, column {j}: {got}, not {sum} ± {bound}", p.name);
                }
            }
        }
    }
}

#[test]
fn through_shared_memory() {
    for mut m in machines() {
        let square = |ty| Matrix { ty, rows: 16, columns: 16, row_major: true, pad: 0 };
        let (h, f) = (square(Type::F16), square(Type::F32));
        let (a, b) = (h.fill(&mut m, "A", |i, k| small(i, k, 1)), h.fill(&mut m, "B", |k, j| small(k, j, 2)));
        let d = m.alloc("D", f.len() as u64);
        let args = vec![Arg::Read { addr: a, len: 512 }, Arg::Read { addr: b, len: 512 }, Arg::Write { addr: d, len: 1024 }];
        let launch = Launch { grid: [1; 3], block: [32, 1, 1], shared: 0, args, ..Launch::default() };
        let report = m.launch(&module(), "staged", &launch).unwrap_or_else(|f| panic!("{f}"));
        let got: Vec<f32> = m.get(d, 256);
        for i in 0..16 {
            for j in 0..16 {
                let want = 2.0 * (0..16).map(|k| (small(i, k, 1) + 1.0) * small(k, j, 2)).sum::<f64>();
                assert_eq!(got[16 * i + j] as f64, want, "row {i}, column {j}");
            }
        }
        if m.config_mut().counters {
            let c = report.counters;
            assert_eq!(c.macs, 16 * 16 * 16);
            // Rows of 24 elements spread over the banks.
            for (form, requests) in [("load.a", 4), ("load.b", 4), ("store.d", 4)] {
                let text = include_str!("wmma.ptx");
                let is = |l: &str| l.contains(form) && l.contains(".shared.");
                let line = text.lines().position(is).unwrap() as u32 + 1;
                let shared = c.lines[&(0, line)].shared;
                assert_eq!((shared.requests, shared.conflicts()), (requests, 0), "{form}");
            }
        }
    }
}

/// Element `i` of x below: f16 from 1 to 2, no two neighbours alike.
fn element(i: u32) -> u16 {
    0x3c00 + (i * 37 % 1024) as u16
}

/// A kernel on pointers x (2048 bytes, all written) and y (2048 bytes) with a body, and the fault or y.
fn run(config: Config, body: &str) -> Result<Vec<u32>, Fault> {
    let text = format!(
        ".version 8.0\n.target sm_80\n.address_size 64\n
        .visible .entry k(.param .u64 x, .param .u64 y) {{
        .reg .pred %p<4>; .reg .b32 %r<40>; .reg .f32 %f<24>; .reg .b64 %rd<8>;
        .shared .align 32 .b8 tile[1024];
        ld.param.u64 %rd1, [x]; ld.param.u64 %rd2, [y]; mov.u32 %r1, %tid.x;
        {body}
        ret; }}"
    );
    let module = Module::parse("test.ptx", &text).unwrap_or_else(|e| panic!("{e}\n{text}"));
    let mut m = Machine::new(config);
    let (x, y) = (m.alloc("x", 2048), m.alloc("y", 2048));
    m.write(x, &(0..1024u32).flat_map(|i| element(i).to_le_bytes()).collect::<Vec<u8>>()).unwrap();
    let args = vec![Arg::Read { addr: x, len: 2048 }, Arg::Write { addr: y, len: 2048 }];
    m.launch(&module, "k", &Launch { grid: [1; 3], block: [32, 1, 1], shared: 0, args, ..Launch::default() })?;
    Ok(m.bytes(y, 2048).unwrap().chunks_exact(4).map(|b| u32::from_le_bytes(b.try_into().unwrap())).collect())
}

/// The name of the fault, and that its report holds these words.
fn fault(body: &str, words: &[&str]) -> &'static str {
    let f = run(Config::default(), body).expect_err("this kernel is wrong");
    let text = f.to_string();
    for w in words {
        assert!(text.contains(w), "no `{w}` in: {text}");
    }
    f.kind.name()
}

const A: &str = "{%r2,%r3,%r4,%r5,%r6,%r7,%r8,%r9}";
const B: &str = "{%r10,%r11,%r12,%r13,%r14,%r15,%r16,%r17}";
const C: &str = "{%r18,%r19,%r20,%r21}";
const F: &str = "{%f1,%f2,%f3,%f4,%f5,%f6,%f7,%f8}";

#[test]
fn bounds() {
    let load = |at: &str| format!("wmma.load.a.sync.aligned.row.m16n16k16.global.f16 {A}, {at};");
    run(Config::default(), &load("[%rd1]")).unwrap();
    // The last row lies at 15·64 halves.
    run(Config::default(), &load("[%rd1+96], 64")).unwrap();
    let words =
        ["read of 4 bytes in global memory", "of argument 0 (`x`, 2048 bytes)", "wmma.load.a.sync.aligned.row", "ptx line 9"];
    assert_eq!(fault(&load("[%rd1], 72"), &words), "out-of-bounds");
    assert_eq!(fault(&load("[%rd1+2048]"), &["read of 32 bytes"]), "out-of-bounds");
    let body = format!("wmma.load.b.sync.aligned.col.m16n16k16.shared.f16 {B}, [tile+544], 16;");
    assert_eq!(fault(&body, &["in shared memory", "past `tile`"]), "out-of-bounds");
    let zero: String = (1..9).map(|i| format!("mov.f32 %f{i}, 0f00000000;")).collect();
    let store = |at: &str| format!("{zero} wmma.store.d.sync.aligned.row.m16n16k16.f32 {at}, {F}, 16;");
    run(Config::default(), &store("[%rd2]")).unwrap();
    assert_eq!(fault(&store("[%rd2+1056]"), &["write of 8 bytes in global memory", "argument 1 (`y`"]), "out-of-bounds");
    assert_eq!(fault(&store("[%rd1]"), &["`x`"]), "read-only");
}

/// Without a stride a matrix is as tight as its shape.
#[test]
fn default_strides() {
    for (form, stride) in [
        ("a.sync.aligned.row.m8n32k16", 16),
        ("a.sync.aligned.col.m8n32k16", 8),
        ("b.sync.aligned.row.m8n32k16", 32),
        ("b.sync.aligned.col.m8n32k16", 16),
        ("a.sync.aligned.col.m32n8k16", 32),
        ("b.sync.aligned.row.m32n8k16", 8),
    ] {
        let load = |stride: String| {
            let stores: String = (2..10).map(|i| format!("st.global.u32 [%rd3+{}], %r{i};", 128 * (i - 2))).collect();
            let body = format!("wmma.load.{form}.global.f16 {A}, [%rd1]{stride}; mad.wide.u32 %rd3, %r1, 4, %rd2; {stores}");
            run(Config::default(), &body).unwrap()
        };
        assert_eq!(load(String::new()), load(format!(", {stride}")), "{form}");
        assert_ne!(load(String::new()), load(format!(", {}", stride + 8)), "{form}");
    }
    // A tight store of 8×32 leaves the rest alone.
    for (layout, stride) in [("row", 32), ("col", 8)] {
        let zero: String = (1..9).map(|i| format!("mov.f32 %f{i}, 0f40000000;")).collect();
        let store = |s: &str| format!("{zero} wmma.store.d.sync.aligned.{layout}.m8n32k16.global.f32 [%rd2]{s}, {F}, {stride};");
        let tight = store("").replace(&format!(", {stride};"), ";");
        let y = run(Config::default(), &tight).unwrap();
        assert!(y[..256].iter().all(|&w| w == 2f32.to_bits()) && y[256..].iter().all(|&w| w == 0x7fc0_dead), "{layout}");
        assert_eq!(y, run(Config::default(), &store("")).unwrap());
    }
}

#[test]
fn operands() {
    let load = |at: &str| format!("wmma.load.a.sync.aligned.row.m16n16k16.global.f16 {A}, {at};");
    assert_eq!(fault(&load("[%rd1+16]"), &["access of 32 bytes", "offset 16 of argument 0"]), "misaligned");
    assert_eq!(fault(&load("[%rd1], 20"), &["a stride of 20 elements of 2 bytes", "multiple of 16 bytes"]), "operand");
    assert_eq!(fault(&format!("shl.b32 %r30, %r1, 4; {}", load("[%rd1], %r30")), &["disagree", "thread (1,0,0)"]), "operand");
    assert_eq!(fault(&load("[%rd1], %r30"), &["an address"]), "uninitialised");
    let part = format!("setp.lt.u32 %p1, %r1, 16; @%p1 bra OUT; {} OUT:", load("[%rd1]"));
    assert_eq!(fault(&part, &["0xffff0000"]), "sync-mask");
    // What is not there is refused by name.
    for (form, word) in [
        (
            "wmma.load.a.sync.aligned.row.m16n16k16.s4 {%r2,%r3}, [%rd1]",
            "`wmma.load.a.sync.aligned.row.m16n16k16.s4`: this form of `wmma`",
        ),
        ("wmma.load.a.sync.aligned.row.m16n16k16.f16 {%r2,%r3}, [%rd1]", "expected 8 registers"),
        (&format!("wmma.mma.sync.aligned.row.col.m16n16k16.f16.f16.satfinite {C}, {A}, {B}, {C}"), "this form of `wmma`"),
    ] {
        assert_eq!(fault(&format!("{form};"), &[word, "kernel `k`", "test.ptx:9"]), "unsupported");
    }
}

#[test]
fn uninitialised() {
    let a = format!("wmma.load.a.sync.aligned.row.m16n16k16.global.f16 {A}, [%rd1], 16;");
    let b = format!("wmma.load.b.sync.aligned.row.m16n16k16.global.f16 {B}, [%rd1], 16;");
    let zero: String = (1..9).map(|i| format!("mov.f32 %f{i}, 0f00000000;")).collect();
    let mma = format!("wmma.mma.sync.aligned.row.row.m16n16k16.f32.f32 {F}, {A}, {B}, {F};");
    let store = format!("wmma.store.d.sync.aligned.row.m16n16k16.global.f32 [%rd2], {F}, 16;");
    run(Config::default(), &format!("{a}{b}{zero}{mma}{store}")).unwrap();
    let words = ["the value of a store to global memory", "wmma.store.d"];
    // A fragment that nothing filled: A, B, the sum.
    for body in [format!("{b}{zero}{mma}{store}"), format!("{a}{zero}{mma}{store}"), format!("{a}{b}{mma}{store}")] {
        assert_eq!(fault(&body, &words), "uninitialised");
    }
    // Of shared memory that nothing wrote; row 3 of B, which `movmatrix` turns.
    let fill = "mul.wide.u32 %rd3, %r1, 16; mov.u64 %rd4, tile; add.s64 %rd4, %rd4, %rd3; setp.ne.u32 %p1, %r1, 7;";
    let put = "st.shared.v4.u32 [%rd4], {%r1,%r1,%r1,%r1}; bar.warp.sync -1;";
    let b = format!("wmma.load.b.sync.aligned.row.m16n16k16.shared.f16 {B}, [tile], 16;");
    run(Config::default(), &format!("{fill}{put}{a}{b}{zero}{mma}{store}")).unwrap();
    assert_eq!(fault(&format!("{fill} @%p1 {put}{a}{b}{zero}{mma}{store}"), &words), "uninitialised");
}

#[test]
fn races() {
    // Another lane wrote what the load reads, and no `.sync` stands between the stores: `wmma.load` is one itself. But a second
    // warp has none.
    let text = format!(
        ".version 8.0\n.target sm_80\n.address_size 64\n.visible .entry k() {{
        .reg .b32 %r<24>; .shared .align 32 .b8 tile[1024];
        mov.u32 %r1, %tid.x; shl.b32 %r22, %r1, 3; mov.u32 %r23, tile; add.s32 %r23, %r23, %r22;
        st.shared.v2.u32 [%r23], {{%r1,%r1}};
        wmma.load.a.sync.aligned.row.m16n16k16.shared.f16 {A}, [tile], 16; ret; }}"
    );
    let module = Module::parse("test.ptx", &text).unwrap();
    let launch = |threads| {
        let mut m = Machine::new(Config::default());
        m.launch(&module, "k", &Launch { grid: [1; 3], block: [threads, 1, 1], shared: 0, args: vec![], ..Launch::default() })
            .map(|_| ())
    };
    let f = launch(64).unwrap_err().to_string();
    assert!(f.contains("race: ") && f.contains("wmma.load.a") && f.contains("st.shared.v2.u32"), "{f}");
}

#[test]
fn tf32_operands_must_be_rounded() {
    let zero: String = (1..9).map(|i| format!("mov.f32 %f{i}, 0f00000000;")).collect();
    let body = |bits: &str| {
        format!(
            "mov.u32 %r2, 0x3f800{bits}; mov.u32 %r3, 0x40000000; cvt.rna.tf32.f32 %r3, %r3; {zero}
            wmma.mma.sync.aligned.row.col.m16n16k8.f32.tf32.tf32.f32 {F}, {{%r3,%r3,%r3,%r3}}, {{%r2,%r2,%r2,%r2}}, {F};
            wmma.store.d.sync.aligned.col.m16n16k8.f32 [%rd2], {F};"
        )
    };
    assert_eq!(run(Config::default(), &body("000")).unwrap()[..256], [16f32.to_bits(); 256]);
    assert_eq!(fault(&body("001"), &["tf32 operand B = 0x3f800001"]), "tf32");
}

/// A product may write over its own operands, and `movmatrix` is a transpose.
#[test]
fn registers_may_coincide() {
    let both = |d: &str| {
        format!(
            "wmma.load.a.sync.aligned.row.m16n16k16.global.f16 {A}, [%rd1], 16;
            wmma.load.b.sync.aligned.col.m16n16k16.global.f16 {B}, [%rd1], 16;
            mov.u32 %r18, 0; mov.u32 %r19, 0; mov.u32 %r20, 0; mov.u32 %r21, 0;
            wmma.mma.sync.aligned.row.col.m16n16k16.f16.f16 {d}, {A}, {B}, {C};
            wmma.store.d.sync.aligned.row.m16n16k16.global.f16 [%rd2], {d};"
        )
    };
    let want = run(Config::default(), &both("{%r30,%r31,%r32,%r33}")).unwrap();
    // Sums of 16 products between 1 and 4.
    assert!(want[..128].iter().all(|w| (0x4c00..0x5400).contains(&(w & 0xffff))), "{want:x?}");
    for d in [C, "{%r2,%r3,%r4,%r5}", "{%r12,%r13,%r10,%r11}", "{%r21,%r20,%r19,%r18}"] {
        assert_eq!(run(Config::default(), &both(d)).unwrap(), want, "{d}");
    }
    let body = "mul.wide.u32 %rd3, %r1, 4; add.s64 %rd4, %rd1, %rd3; add.s64 %rd5, %rd2, %rd3;
        ld.global.u32 %r2, [%rd4]; movmatrix.sync.aligned.m8n8.trans.b16 %r3, %r2; st.global.u32 [%rd5], %r3;";
    let y = run(Config::default(), body).unwrap();
    for i in 0..8 {
        for j in 0..8 {
            assert_eq!(y[4 * i + j / 2] >> (16 * (j % 2)) & 0xffff, element(8 * j as u32 + i as u32) as u32);
        }
    }
}
