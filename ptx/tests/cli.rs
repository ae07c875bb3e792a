//! The program `lae-ptx`, as it is called: what it prints and which exit code it ends with.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Kernels by hand, for what nvcc's in `ptx/basic.ptx` do not show.
const KERNELS: &str = r#".version 8.0
.target sm_80
.address_size 64
.const .align 8 .b8 settings[16];
.global .align 4 .f32 factor = 0f40000000;
.global .align 4 .b8 counts[8];

// struct { const float* x; int n; float* y; }: y[i] = x[i] * factor
.visible .entry by_struct(.param .align 8 .b8 args[24]) {
    .reg .b64 %rd<8>; .reg .b32 %r<4>; .reg .f32 %f<4>; .reg .pred %p<2>;
    ld.param.u64 %rd1, [args]; ld.param.u32 %r1, [args+8]; ld.param.u64 %rd2, [args+16];
    mov.u32 %r2, %tid.x; setp.ge.u32 %p1, %r2, %r1; @%p1 bra DONE;
    mul.wide.u32 %rd3, %r2, 4; add.s64 %rd4, %rd1, %rd3; add.s64 %rd5, %rd2, %rd3;
    ld.global.f32 %f1, [%rd4]; ld.global.f32 %f2, [factor]; mul.rn.f32 %f3, %f1, %f2; st.global.f32 [%rd5], %f3;
DONE: ret; }

// y[0] = x[0], x from a table, y from `settings`
.visible .entry by_table(.param .u64 .ptr .align 8 table) {
    .reg .b64 %rd<5>; .reg .b32 %r;
    ld.param.u64 %rd1, [table]; ld.global.u64 %rd2, [%rd1+8]; ld.const.u64 %rd3, [settings+8];
    ld.global.u32 %r, [%rd2]; st.global.u32 [%rd3], %r; ret; }

// y[ticket] = number of the block: no race, and yet the order decides
.visible .entry tickets(.param .u64 ticket, .param .u64 y) {
    .reg .b64 %rd<5>; .reg .b32 %r<4>;
    ld.param.u64 %rd1, [ticket]; ld.param.u64 %rd2, [y]; mov.u32 %r1, %ctaid.x;
    atom.global.add.u32 %r2, [%rd1], 1;
    mul.wide.u32 %rd3, %r2, 4; add.s64 %rd4, %rd2, %rd3; st.global.u32 [%rd4], %r1; ret; }

.visible .entry bump() {
    .reg .b32 %r<2>; ld.global.u32 %r0, [counts+4]; add.u32 %r1, %r0, 1; st.global.u32 [counts+4], %r1; ret; }

// y[0] = a, in half precision
.visible .entry half(.param .b16 a, .param .u64 y) {
    .reg .b64 %rd; .reg .b16 %h; ld.param.b16 %h, [a]; ld.param.u64 %rd, [y]; st.global.b16 [%rd], %h; ret; }

.visible .entry _Z5scaleIfEvPT_i(.param .u64 x, .param .u32 n) { ret; }
.visible .entry _Z5scaleIdEvPT_i(.param .u64 x, .param .u32 n) .maxntid 128 { ret; }
.visible .entry texture() { .reg .b32 %r; txq.width.b32 %r, [settings]; ret; }
"#;

struct Run {
    code: i32,
    out: String,
    errors: String,
}

impl Run {
    #[track_caller]
    fn is(self, code: i32, words: &[&str]) -> Run {
        let all = format!("{}\n{}", self.out, self.errors);
        assert_eq!(self.code, code, "{all}");
        for w in words {
            assert!(all.contains(w), "no `{w}` in:\n{all}");
        }
        self
    }
}

/// A folder with files in it, and the program run there.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Place {
        let p = Place(tempfile::tempdir().unwrap());
        p.file("k.ptx", KERNELS);
        std::fs::copy(data("basic.ptx"), p.path("basic.ptx")).unwrap();
        p
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn file(&self, name: &str, contents: impl AsRef<[u8]>) {
        std::fs::write(self.path(name), contents).unwrap();
    }

    fn run(&self, args: &[&str]) -> Run {
        let out = Command::new(env!("CARGO_BIN_EXE_lae-ptx")).current_dir(self.0.path()).args(args).output().unwrap();
        let text = |b: &[u8]| String::from_utf8_lossy(b).into_owned();
        Run { code: out.status.code().expect("no signal"), out: text(&out.stdout), errors: text(&out.stderr) }
    }

    /// Words with blanks between.
    fn words(&self, line: &str) -> Run {
        self.run(&line.split_whitespace().collect::<Vec<_>>())
    }

    fn check(&self, spec: &str) -> Run {
        self.file("s.toml", spec);
        self.words("check k.ptx s.toml")
    }
}

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/ptx").join(name)
}

fn f32s(x: &[f32]) -> Vec<u8> {
    x.iter().flat_map(|v| v.to_le_bytes()).collect()
}

/// What `numpy.save` writes.
fn npy(descr: &str, shape: &str, data: &[u8]) -> Vec<u8> {
    let mut head = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}");
    head.extend(std::iter::repeat_n(' ', 63 - (10 + head.len()) % 64));
    head.push('\n');
    [b"\x93NUMPY\x01\0".as_slice(), &(head.len() as u16).to_le_bytes(), head.as_bytes(), data].concat()
}

const SAXPY: &str =
    "run basic.ptx --kernel saxpy --grid 2 --block 32 --arg 40 --arg 2 --arg read:f32:40*3 --arg update:f32:0..40";

#[test]
fn codes_are_the_same_everywhere() {
    let p = Place::new();
    p.file("not.ptx", "int main() {}");
    p.file("s.cubin", b"\x7fELF\0\0");
    p.file("s.cu", "__global__ void f() {}");
    p.file("new.ptx", ".version 8.0\n.target sm_130\n");
    p.file("none.ptx", ".version 8.0\n.target sm_80\n.address_size 64\n");
    for command in ["list", "census", "init", "run"] {
        p.words(&format!("{command} nowhere.ptx")).is(2, &["error: nowhere.ptx: ", "check the path"]);
        p.words(&format!("{command} not.ptx")).is(2, &["not.ptx:1: "]);
        p.words(&format!("{command} s.cubin")).is(2, &["machine code, not PTX", "cuobjdump -ptx"]);
        p.words(&format!("{command} s.cu")).is(2, &["CUDA source", "nvcc -ptx"]);
        p.words(&format!("{command} new.ptx")).is(2, &["target `sm_130` is newer than sm_90"]);
        p.words(&format!("{command} .")).is(2, &["is a folder"]);
        p.words(command).is(2, &["FILE"]);
    }
    p.words("list none.ptx").is(2, &["has no kernels"]);
    p.words("list basic.ptx").is(0, &[]);
    p.words("census basic.ptx").is(0, &[]);
    p.words("isa").is(0, &["mma"]);
    p.words("list k.ptx").is(2, &["cannot be run: k.ptx:", "txq.width.b32"]);
    p.words("census k.ptx").is(2, &["not supported"]);
    // A launch: fine, at fault, and wrong in every way that is not the kernel's.
    p.words(SAXPY).is(0, &["saxpy: ", "no fault", "argument 3: 6 7 8"]);
    p.words(&SAXPY.replace("--arg 40", "--arg 41")).is(1, &["out of bounds", "argument 3"]);
    for (line, words) in [
        (SAXPY.replace("saxpy", "saxpi"), "did you mean `saxpy`?"),
        (SAXPY.replace("--kernel saxpy", ""), "choose one of saxpy, bilinear"),
        (SAXPY.replace("--arg 2 ", ""), "3 arguments for 4 parameters"),
        (
            SAXPY.replace("--arg 2 ", "--arg read:f32:1 "),
            "--arg read:f32:1: memory for `saxpy_param_1`, a float of 4 bytes: give f32, or hex",
        ),
        (format!("{SAXPY} --arg 1"), "5 arguments for 4 parameters (saxpy_param_0: integer of 4 bytes; "),
        (SAXPY.replace("--arg 40", "--arg 1.5"), "`1.5` is no number for `saxpy_param_0`, an integer of 4 bytes"),
        (SAXPY.replace("--arg 40", "--arg f32:1"), "f32 for `saxpy_param_0`, an integer of 4 bytes: give i32 (or unsigned)"),
        (SAXPY.replace("--arg 40", "--arg i64:1"), "i64 for `saxpy_param_0`"),
        (SAXPY.replace("read:f32:40*3", "5"), "a pointer (used as): give memory"),
        (SAXPY.replace("--block 32", "--block 2048"), "a block of 2048"),
        (SAXPY.replace("--grid 2", "--grid x"), "--grid: `x` is not a number"),
        (format!("{SAXPY} --schedule back"), "--schedule: `back` is no schedule"),
        (format!("{SAXPY} --without rase"), "did you mean `race`?"),
        (format!("{SAXPY} --tensor volta"), "ideal, ampere or hopper"),
        (SAXPY.replace("40*3", "99999999999*3"), "--memory"),
        (format!("{SAXPY} --memory 0"), "more than"),
        (SAXPY.replace("--grid 2", "--grid 2000000000 --schedule random:1"), "too many for a random schedule"),
        (format!("{SAXPY} --out 9=x"), "memory is 2, 3"),
        (format!("{SAXPY} --set-var nope=f32:1"), "no variable `nope`"),
        ("run k.ptx --kernel texture".into(), "instruction `txq.width.b32` is not supported"),
    ] {
        p.words(&line).is(2, &["error: ", words]);
    }
}

#[test]
fn list_says_what_a_kernel_takes() {
    let p = Place::new();
    let out = p.words("list k.ptx").out;
    for words in [
        "argument 0: args: struct of 24 bytes with pointers (used as) at 0, 16",
        "argument 0: table: pointer\n",
        "argument 0: ticket: pointer (used as)",
        "void scale<double>(double*, int)\n    argument 0: x: integer of 8 bytes\n    argument 1: n: integer of 4 bytes\n",
        "    argument 1: n: integer of 4 bytes\n    block: at most 128 threads (.maxntid)\n    can be run",
        "variable settings: 16 bytes, constant memory",
        "variable factor: 4 bytes, device memory",
    ] {
        assert!(out.contains(words), "no `{words}` in:\n{out}");
    }
    let out = p.words("list basic.ptx").out;
    for words in [
        "shared memory: 8192 bytes static\n",
        "shared memory: 0 bytes static, and dynamic",
        "a",
        "saxpy_param_1: float of 4 bytes",
    ] {
        assert!(out.contains(words), "no `{words}` in:\n{out}");
    }
}

#[test]
fn kernels_by_any_of_their_names() {
    let p = Place::new();
    for name in ["_Z5scaleIfEvPT_i", "scale<float>", "void scale<float>(float*, int)", "scaleIf"] {
        p.run(&["run", "k.ptx", "--kernel", name, "--arg", "null", "--arg", "4"])
            .is(0, &["void scale<float>(float*, int): 1 warp"]);
    }
    let words = &["`scale` fits 2 kernels: void scale<float>(float*, int), void scale<double>(double*, int)"];
    p.words("run k.ptx --kernel scale --arg null --arg 4").is(2, words);
}

/// Pointers in a struct, in a table and in a variable.
#[test]
fn structs_tables_and_variables() {
    let p = Place::new();
    let by_struct = "run k.ptx --kernel by_struct --arg struct:read:f32:1,2,3;i32:3;write:f32:3";
    p.words(by_struct).is(0, &["argument 0.16: 2 4 6"]);
    p.words(&by_struct.replace("i32:3;", "16=")).is(0, &["argument 0.16: ? ? ?"]);
    p.words(&by_struct.replace("i32:3", "i32:4")).is(1, &["argument 0, offset 0"]);
    p.words(&by_struct.replace("write:f32:3", "null")).is(1, &["null pointer"]);
    p.words(&by_struct.replace("struct:", "struct:20="))
        .is(2, &["argument 0 (`args`), offset 20: a field of 8 bytes does not fit into a struct of 24"]);
    p.words(&format!("{by_struct} --set-var factor=f32:-1 --get-var factor=f32"))
        .is(0, &["argument 0.16: -1 -2 -3", "variable factor: -1"]);
    p.words(&format!("{by_struct} --set-var factor=f64:-1")).is(2, &["--set-var factor=f64:-1: "]);
    p.words(&format!("{by_struct} --expect 0.16=2,4,6")).is(0, &[]);
    p.words(&format!("{by_struct} --expect 0.8=2,4,6")).is(2, &["memory is 0.0, 0.16"]);

    let by_table = "run k.ptx --kernel by_table --arg table:null;read:u32:77 --set-var settings=table:null";
    p.words(by_table).is(2, &["8 bytes for `settings`, which has 16"]);
    let by_table = by_table.replace("=table:null", "=struct:8=write:u32:1");
    p.words(&by_table).is(0, &["argument settings.8: 77"]);
    p.words(&by_table.replace("write:u32:1", "read:u32:1")).is(1, &["write to read-only memory", "also 1, offset 8"]);
    p.words("run k.ptx --kernel bump --block 1 --set-var counts=i32:5,6 --get-var counts=i32 --expect counts=i32:5,7")
        .is(0, &["variable counts: 5 7"]);
    p.words("run k.ptx --kernel bump --block 1 --expect counts=i32:0,7")
        .is(1, &["value: variable counts: 1 of 2 values differ, the first at 1: got 1, wanted 7"]);
}

#[test]
fn numbers_of_every_kind() {
    let p = Place::new();
    for (arg, ty, shown) in
        [("f16:0.1", "f16", "0.099975586"), ("bf16:3", "bf16", "3"), ("1", "f16", "0.00006103515625"), ("0x3c00", "f16", "1")]
    {
        if arg == "1" {
            continue; // a plain number for `.b16` means an integer
        }
        p.words(&format!("run k.ptx --kernel half --block 1 --arg {arg} --arg write:{ty}:1"))
            .is(0, &[&format!("argument 1: {shown}\n")]);
    }
    // One value, and a note: the user may have meant sixty-four.
    let line = "run k.ptx --kernel by_struct --arg struct:read:f32:64;i32:1;write:f32:1";
    p.words(line).is(0, &["note: argument 0.0: `read:f32:64` is one value, 64; for 64 values write 64*0", "argument 0.16: 128"]);
    // Tiny numbers are short.
    p.words(&line.replace("f32:64", "f32:1e-30")).is(0, &["argument 0.16: 2e-30\n"]);
    let drawn = p.words(&line.replace("read:f32:64;i32:1;write:f32:1", "read:f32:8*random:7:0:1;i32:8;write:f32:8")).is(0, &[]);
    assert_eq!(drawn.out.split("0.16: ").nth(1).unwrap().split_whitespace().count(), 8);
}

#[test]
fn files_of_numbers() {
    let p = Place::new();
    let x = f32s(&[1.0, 2.0, 3.0, 4.0]);
    p.file("x.npy", npy("<f4", "(2, 2)", &x));
    p.file("wide.npy", npy("<f8", "(4,)", &[1f64, 2.0, 3.0, 4.0].map(f64::to_le_bytes).concat()));
    p.file("raw.bin", &x);
    p.file("odd.bin", &x[..7]);
    p.file("fake.npy", &x);
    let line = "run k.ptx --kernel by_struct --arg struct:read:f32:@x.npy;i32:4;write:f32:4";
    p.words(line).is(0, &["argument 0.16: 2 4 6 8"]);
    p.words(&line.replace("x.npy", "raw.bin")).is(0, &["argument 0.16: 2 4 6 8"]);
    p.words(&line.replace("x.npy", "odd.bin")).is(2, &["odd.bin: 7 bytes are no whole number of f32 values"]);
    p.words(&line.replace("x.npy", "fake.npy")).is(2, &["is named .npy and does not begin as one"]);
    p.words(&line.replace("x.npy", "wide.npy")).is(2, &["holds f64, not f32"]);
    let head =
        br#"{"w":{"dtype":"F32","shape":[4],"data_offsets":[0,16]},"v":{"dtype":"BF16","shape":[2],"data_offsets":[16,20]}}  "#;
    let head = &head[..head.len() - head.len() % 8];
    p.file("m.safetensors", [&(head.len() as u64).to_le_bytes(), head, &x, &[0, 0, 128, 63]].concat());
    p.words(&line.replace("x.npy", "m.safetensors#w")).is(0, &["argument 0.16: 2 4 6 8"]);
    p.words(&line.replace("x.npy", "m.safetensors")).is(2, &["several tensors; add #NAME, one of v, w"]);
    p.words(&line.replace("x.npy", "m.safetensors#ww")).is(2, &["has no tensor `ww`; did you mean `w`?"]);
    p.words(&line.replace("x.npy", "m.safetensors#v")).is(2, &["holds bf16, not f32"]);
    // A reference in f64 for a result in f32; and what is written can be read again.
    p.file("want.npy", npy("<f8", "(4,)", &[2.0, 4.0, 6.1, 8.0].map(f64::to_le_bytes).concat()));
    let differs =
        "value: argument 0.16: 1 of 4 values differ, the first at 2: got 6, wanted 6.1 (off by 0.09999999999999964, 0 allowed)";
    p.words(&format!("{line} --expect 0.16=@want.npy --out 0.16=y.bin")).is(1, &[differs]);
    p.words(&format!("{line} --expect 0.16=@want.npy --rtol 0.02")).is(0, &[]);
    p.words(&format!("{line} --expect 0.16=@want.npy --atol 0.2")).is(0, &[]);
    p.words(&format!("{line} --expect 0.16=@want.npy --max-bad 1")).is(0, &[]);
    p.words(&format!("{line} --expect 0.16=@y.bin")).is(0, &[]);
    p.words(&format!("{line} --expect 0.16=1,2")).is(2, &["2 values for a result of 4"]);
}

const GOOD: &str = r#"
[buffers]
x = { type = "f32", count = 3, iota = 1 }
y = { type = "f32", count = 3 }
u = { type = "u32", values = [77] }
v = { type = "u32", count = 1 }
table = { pointers = ["null", "u"] }
ticket = { type = "u32", count = 1, zeros = true }
order = { type = "u32", count = 8 }
[variables]
factor = { type = "f32", value = 3 }
settings = { pointers = ["null", "v"] }
[[launch]]
kernel = "by_struct"
block = [32]
args = [{ struct = [{ read = "x" }, { i32 = 3 }, { write = "y" }] }]
expect = { y = [3, 6, 9] }
schedules = ["forward", "reverse", "random:1"]
[[launch]]
kernel = "by_table"
block = 1
args = [{ read = "table" }]
also = [{ read = "u" }, { write = "v" }]
expect = { v = 77 }
[[launch]]
kernel = "tickets"
grid = 8
block = 1
args = [{ update = "ticket" }, { write = "order" }]
schedules = ["forward", "reverse"]
may_differ = true
expect = { order = { iota = 0, max_bad = 8 } }
"#;

#[test]
fn check_of_a_good_specification() {
    let p = Place::new();
    p.check(GOOD).is(0, &["k.ptx by s.toml", "ok       by_struct", "ok       by_table", "ok       tickets", "3 launches: 3 ok"]);
    let json: serde_json::Value = serde_json::from_str(&p.words("check k.ptx s.toml --json").is(0, &[]).out).unwrap();
    assert_eq!(json["summary"]["ok"], 3);
    assert_eq!(json["files"][0]["launches"][0]["schedules"].as_array().unwrap().len(), 3);
    p.words("check s.toml").is(2, &["s.ptx: ", "s.toml may name its file: ptx = "]);
    p.file("s.toml", format!("ptx = \"k.ptx\"\n{GOOD}"));
    p.words("check s.toml").is(0, &["3 ok"]);
    p.file("k.toml", GOOD);
    p.words("check k.ptx").is(0, &["3 ok"]);
    p.words("check k.ptx --only by_t").is(0, &["1 launch: 1 ok", "by_table"]);
    p.words("check k.ptx --only by_tabel").is(2, &["no launch `by_tabel`; did you mean `by_table`?"]);
}

const MAPS: &str = r#"
ptx = "hopper.ptx"
[buffers]
a = { type = "f32", count = 12800, value = 2 }
b = { type = "f32", count = 12800, value = 3 }
c = { type = "f32", count = 16384 }
[[launch]]
kernel = "gemm_tf32"
block = 384
shared = 132160
args = [
    { map = "a", dims = [100, 128], box = [32, 128], swizzle = 128, element = "tf32" },
    { map = "b", dims = [100, 128], box = [32, 128], swizzle = 128, element = "tf32" },
    { map = "c", dims = [128, 128], box = [32, 64], store = true },
    100,
]
expect = { c = { value = 600 } }
schedules = ["forward", "reverse", "random:1"]
"#;

/// A product of warp groups, fed by bulk copies: right, and with a map that is not.
#[test]
fn check_of_tensor_maps() {
    let p = Place::new();
    p.file("hopper.ptx", std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/ptx/hopper.ptx")).unwrap());
    let check = |text: &str| {
        p.file("s.toml", text);
        p.words("check s.toml")
    };
    check(MAPS).is(0, &["ok       gemm_tf32", "1 ok"]);
    // A box of half the rows: fewer bytes come than the kernel announces.
    check(&MAPS.replacen("box = [32, 128]", "box = [32, 64]", 1)).is(1, &["deadlock", "8192 bytes are missing"]);
    check(&MAPS.replacen("box = [32, 128]", "box = [33, 128]", 1)).is(2, &["132 bytes; it must be a multiple of 16"]);
    check(&MAPS.replacen("dims = [100, 128]", "dims = [100, 129]", 1)).is(2, &["the tensor has 51600 bytes, `a` has 51200"]);
    check(&MAPS.replacen("swizzle = 128", "swizzle = 48", 1)).is(2, &["swizzle = 48; it is 0, 32, 64 or 128"]);
    check(&MAPS.replacen("element = \"tf32\"", "element = \"tf23\"", 1)).is(2, &["\"tf23\" is none of u8"]);
    check(&MAPS.replacen("box = [32, 128]", "boxes = [32, 128]", 1)).is(2, &["unknown key `boxes`"]);
    check(&MAPS.replacen("    100,\n", "    { map = \"a\", dims = [4], box = [4] },\n", 1))
        .is(2, &["a tensor map has 128 bytes, `gemm_tf32_param_3` has 4"]);
}

#[test]
fn check_finds_what_is_wrong_with_kernels() {
    let p = Place::new();
    // A race, an access out of bounds, a value, a result that depends on the order, values that nothing wrote.
    let order = GOOD.replace("may_differ = true", "").replace("count = 8 }", "count = 8, zeros = true }");
    p.check(&order)
        .is(1, &["result depends on the schedule: `order`, forward and reverse: 8 of 8 values differ, the first at 0: 0 and 7"]);
    p.check(&order.replace("\"reverse\"]\n", "\"reverse\"]\nmay_differ = { atol = 7 }\n")).is(0, &[]);
    p.check(&GOOD.replace("[3, 6, 9]", "[3, 6, 10]")).is(
        1,
        &[
            "finding  by_struct",
            "value: buffer `y`: 1 of 3 values differ, the first at 2: got 9, wanted 10 (off by 1, 0 allowed)",
            "(forward, reverse, random:1)",
            "3 launches: 2 ok, 1 with findings",
        ],
    );
    p.check(&GOOD.replace("[3, 6, 9]", "{ values = [3, 6, 10], rtol = 0.1 }")).is(0, &[]);
    p.check(&GOOD.replace("{ i32 = 3 }", "{ i32 = 4 }")).is(1, &["out of bounds", "argument 0, offset 0 (`x`, 12 bytes)"]);
    p.check(&GOOD.replace("{ update = \"ticket\" }", "{ write = \"ticket\" }")).is(1, &["uninitialised", "`Update` memory"]);
    p.check(&GOOD.replace("also = [{ read = \"u\" }, ", "also = ["))
        .is(1, &["`u` (4 bytes), which is no argument of this launch"]);
    p.check(&GOOD.replace("block = [32]", "block = [32]\nbudget = 1")).is(1, &["budget exhausted: 1 warp instructions"]);
}

/// `mistakes`: a read beyond x, and a race of all blocks about y[0].
#[test]
fn what_is_known_and_meant() {
    let p = Place::new();
    let kernel = ".version 8.0\n.target sm_80\n.address_size 64\n.visible .entry mistakes(.param .u64 x, .param .u64 y) {
        .reg .b64 %rd<4>; .reg .b32 %r<4>;
        ld.param.u64 %rd1, [x]; ld.param.u64 %rd2, [y]; mov.u32 %r1, %ctaid.x;
        ld.global.u32 %r2, [%rd1+64];
        st.global.u32 [%rd2], %r1; ret; }";
    p.file("m.ptx", kernel);
    let spec = |more: &str| {
        let text = format!(
            "[buffers]\nx = {{ type = \"u32\", count = 4, zeros = true }}\ny = {{ type = \"u32\", count = 4, zeros = true }}\n\
             [[launch]]\nkernel = \"mistakes\"\ngrid = [2]\nblock = [1]\nargs = [{{ read = \"x\" }}, {{ update = \"y\" }}]\n{more}"
        );
        p.file("m.toml", &text);
        p.run(&["check", "m.toml"])
    };
    // Both are found in one run; of as many as were asked for.
    spec("").is(1, &["out of bounds: read of 4 bytes", "race: write after write", "2 times"]);
    // Two of a kind on one line are two, and the same two under every schedule.
    p.file("m.ptx", kernel.replace("[%rd2], %r1;", "[%rd2], %r1; st.global.u32 [%rd2+4], %r1;"));
    let two = spec("schedules = [\"forward\", \"reverse\", \"random:1\"]\n").is(1, &["out of bounds"]);
    assert_eq!(two.out.matches("race: write after write").count(), 2, "{}", two.out);
    assert_eq!(two.out.matches("(forward, reverse, random:1").count(), 3, "{}", two.out);
    p.file("m.ptx", kernel);
    let one = spec("findings = 1").is(1, &["out of bounds"]);
    assert!(!one.out.contains("race"), "{}", one.out);
    let race = "[[suppress]]\ncheck = \"race\"\nline = \"ptx:8\"\nreason = \"the last one wins\"\n";
    let both =
        format!("{race}[[suppress]]\nkernel = \"mist\"\nargument = \"0\"\ncheck = \"out-of-bounds\"\nreason = \"padding\"\n");
    let left = spec(race).is(1, &["out of bounds", "suppressed, 1 times: the last one wins"]);
    assert!(!left.out.contains("race:"), "{}", left.out);
    spec(&both).is(0, &["suppressed, 2 times: padding", "1 launch: 1 ok"]);
    // The same from a file, for all specifications.
    p.file("known.toml", &both);
    spec("");
    p.run(&["check", "m.toml", "--suppress", "known.toml"]).is(0, &["suppressed, 2 times: padding"]);
    p.run(&["check", "m.toml", "--suppress", "no.toml"]).is(2, &["no.toml", "check the path"]);
    // One that applies to nothing is told; one that says too little, or a check that there is not, is refused.
    spec(&format!("{both}[[suppress]]\ncheck = \"tf32\"\nreason = \"never\"\n"))
        .is(0, &["m.toml:", "applied to nothing (\"never\")"]);
    for (bad, why) in [
        ("[[suppress]]\ncheck = \"race\"\n", "has no reason"),
        ("[[suppress]]\nreason = \"all of it\"\n", "would suppress everything"),
        ("[[suppress]]\ncheck = \"races\"\nreason = \"x\"\n", "race"),
        ("[[suppress]]\ncheck = \"deadlock\"\nreason = \"x\"\n", "checks that can be suppressed"),
        ("[[suppress]]\nchecks = \"race\"\nreason = \"x\"\n", "checks"),
    ] {
        spec(bad).is(2, &[why]);
    }
}

/// Launches share memory and variables; after a fault what depends on its memory is not run.
#[test]
fn check_of_a_sequence() {
    let p = Place::new();
    let twice = |first: u32| {
        format!(
            "[buffers]\nx = {{ type = 'f32', values = [1, 2] }}\ny = {{ type = 'f32', count = 2 }}
            z = {{ type = 'f32', count = 2 }}
            [[launch]]\nname = 'one'\nkernel = 'by_struct'\nblock = 32
            args = [{{ struct = [{{ read = 'x' }}, {{ i32 = {first} }}, {{ write = 'y' }}] }}]
            [[launch]]\nname = 'two'\nkernel = 'by_struct'\nblock = 32
            set = {{ factor = {{ type = 'f32', value = 5 }} }}
            args = [{{ struct = [{{ read = 'y' }}, {{ i32 = 2 }}, {{ write = 'z' }}] }}]\nexpect = {{ z = [10, 20] }}
            [[launch]]\nkernel = 'bump'\nblock = 1
            [[launch]]\nkernel = 'bump'\nblock = 1\nexpect = {{ counts = {{ type = 'u32', values = [0, 2] }} }}\n"
        )
    };
    p.check(&twice(2)).is(0, &["bump #2", "4 launches: 4 ok"]);
    p.check(&twice(3)).is(
        1,
        &["not run  two", "`y` is what `one` left, which did not end well", "4 launches: 2 ok, 1 with findings, 1 not run"],
    );
    p.check(&twice(2));
    // What a launch needs is run with it.
    p.words("check k.ptx s.toml --only two").is(0, &["one", "two", "2 launches: 2 ok"]);
    p.run(&["check", "k.ptx", "s.toml", "--only", "bump #2"]).is(0, &["2 launches: 2 ok"]);
}

#[test]
fn check_names_what_cannot_be_checked() {
    let p = Place::new();
    p.file("x.npy", npy("<f4", "(3, 1)", &f32s(&[1.0, 2.0, 3.0])));
    p.file("short.bin", [0; 8]);
    let x = "{ type = \"f32\", count = 3, iota = 1 }";
    p.check(&GOOD.replace(x, "{ type = \"f32\", file = \"x.npy\" }")).is(0, &[]);
    for (spec, words) in [
        ("".into(), "s.toml:1: has no [[launch]]"),
        ("= 3".into(), "s.toml:1: "),
        (
            GOOD.replace("kernel = \"by_table\"", "kernel = \"by_tabel\""),
            "s.toml:19: `by_tabel`: kernel: k.ptx: no kernel `by_tabel`; did you mean `by_table`?",
        ),
        (GOOD.replace("kernel = \"by_table\"", "kernel = \"texture\""), "the kernel cannot be run: k.ptx:"),
        (
            GOOD.replace("count = 3, iota = 1", "cuont = 3, iota = 1"),
            "s.toml:3: buffers.x: unknown key `cuont`; did you mean `count`?",
        ),
        (GOOD.replace(x, "{ type = \"f32\", file = \"none.npy\" }"), "s.toml:3: buffers.x: none.npy: No such file"),
        (GOOD.replace(x, "{ type = \"f64\", file = \"x.npy\" }"), "holds f32, and the type is f64"),
        (GOOD.replace(x, "{ type = \"f32\", file = \"x.npy\", shape = [1, 3] }"), "has the shape [3, 1], and [1, 3] is wanted"),
        (GOOD.replace(x, "{ type = \"f32\", file = \"short.bin\", count = 3 }"), "2 values, and 3 are wanted"),
        (
            GOOD.replace(x, "{ type = \"f32\", count = 17179869184 }"),
            "s.toml:3: buffers.x: 17179869184 values of f32 are more than the",
        ),
        (GOOD.replace("read = \"table\"", "read = \"tabel\""), "there is no buffer `tabel`; did you mean `table`?"),
        (GOOD.replace("args = [{ read = \"table\" }]", "args = []"), "args: 0 arguments for 1 parameter (table: pointer)"),
        (
            GOOD.replace("args = [{ read = \"table\" }]", "args = [{ f32 = 1 }]"),
            "args[0]: f32 for `table`, a pointer: give memory",
        ),
        (
            GOOD.replace("args = [{ read = \"table\" }]", "args = [{ read = \"table\", count = 9 }]"),
            "9 values from 0 on exceed `table`, which has 2",
        ),
        (GOOD.replace("[\"null\", \"u\"]", "[\"null\", \"w\"]"), "buffers.table: there is no buffer `w`"),
        (GOOD.replace("factor = {", "facter = {"), "variables.facter: no variable `facter`; did you mean `factor`?"),
        (GOOD.replace("{ i32 = 3 }", "3"), "struct[1]: 3: of which type? { i32 = 3 }"),
        (GOOD.replace("expect = { v = 77 }", "expect = { v = [1, 2] }"), "2 values, and 1 are wanted"),
        (GOOD.replace("expect = { v = 77 }", "expect = { vv = 77 }"), "there is no buffer and no variable `vv`"),
        (GOOD.replace("expect = { v = 77 }", "expect = { v = \"no.npy\" }"), "expect.v: no.npy: "),
        (GOOD.replace("block = 1\n", "block = 5000\n"), "a block of 5000 × 1 × 1 threads"),
        (GOOD.replace("grid = 8", "grid = 4000000000"), "limits are"),
    ] {
        p.check(&spec).is(2, &[words]);
    }
    // Both what is wrong and what was found is told; what could not be checked decides.
    let both = GOOD.replace("[3, 6, 9]", "[3, 6, 10]").replace("kernel = \"by_table\"", "kernel = \"by_tabel\"");
    p.check(&both).is(2, &["finding  by_struct", "wrong    by_tabel", "3 launches: 1 ok, 1 with findings, 1 wrong"]);
    p.words("check k.ptx none.toml").is(2, &["none.toml: ", "check the path"]);
    p.words("check k.ptx").is(2, &["there is no k.toml beside it", "ptx init k.ptx > k.toml"]);
    p.words("check").is(2, &["PATH"]);
}

/// In one buffer, in the sum of buffers of which each fits, and on the command line: the size, what is left, and the remedy.
#[test]
fn a_launch_that_needs_more_memory_than_there_is() {
    let p = Place::new();
    let two = GOOD.replace(
        "v = { type = \"u32\", count = 1 }",
        "v = { type = \"u32\", count = 1 }\nw = { type = \"f32\", count = 200000 }\nz = { type = \"f32\", count = 200000 }",
    );
    p.check(&two).is(0, &["3 launches: 3 ok"]);
    let words = ["buffers.z: 200000 values of f32 are more than the", "KiB that memory may still have (--memory MIB)"];
    p.words("check k.ptx s.toml --memory 1").is(2, &words);
    p.words("check k.ptx s.toml --memory 2").is(0, &["3 launches: 3 ok"]);
    let none = "17179869184 values of f32 are more than the";
    p.check(&GOOD.replace("count = 3, iota = 1", "count = 17179869184")).is(2, &[none, "--memory MIB"]);
    p.words(&format!("{SAXPY} --memory 0")).is(2, &["more than", "--memory"]);
}

/// The reports are looked at field by field. Those of a folder with every verdict (ok, finding, wrong, not run, an unusable file) were
/// also validated by hand: SARIF against the JSON schema of 2.1.0 (rtm.5) that `@microsoft/jest-sarif` carries, JUnit against
/// `junit-10.xsd` of pytest's source package; no errors.
#[test]
fn check_of_a_folder_and_its_reports() {
    let p = Place::new();
    p.words("check .").is(2, &["has no specification", "ptx init"]);
    p.file("k.toml", GOOD);
    p.words("check .").is(2, &["basic.ptx: no specification names it", "1 file could not be used"]);
    // The kernel of the first example that misses nothing but a block too many: a race in a file with source lines.
    let launch = "kernel = 'recursion'\ngrid = 2\nblock = 64\nargs = [{ write = 'y' }]\n";
    p.file("basic.toml", format!("[buffers]\ny = {{ type = 'u32', count = 64 }}\n[[launch]]\n{launch}"));
    p.words("check . --junit out.xml --sarif out.sarif").is(1, &["4 launches: 3 ok, 1 with findings", "race: write after write"]);
    let xml = std::fs::read_to_string(p.path("out.xml")).unwrap();
    assert!(xml.contains("tests=\"4\" failures=\"1\" errors=\"0\"") && xml.contains("<failure type=\"race\""), "{xml}");
    let sarif: serde_json::Value = serde_json::from_slice(&std::fs::read(p.path("out.sarif")).unwrap()).unwrap();
    assert_eq!((&sarif["version"], &sarif["runs"][0]["tool"]["driver"]["name"]), (&"2.1.0".into(), &"lae-ptx".into()));
    let r = &sarif["runs"][0]["results"][0];
    assert_eq!(r["ruleId"], "race");
    let at = &r["locations"][0]["physicalLocation"];
    assert!(
        at["artifactLocation"]["uri"].as_str().unwrap().ends_with("basic.cu") && at["region"]["startLine"].as_u64() > Some(90),
        "{at}"
    );
    p.words("check . --junit no/such/folder.xml").is(2, &["choose another place"]);
}

/// The first specification of any file can be read and run: kernels may be at fault with its guesses, the specification is not.
#[test]
fn init_runs() {
    let p = Place::new();
    std::fs::copy(data("wmma.ptx"), p.path("wmma.ptx")).unwrap();
    for (file, code) in [("basic", 1), ("wmma", 1), ("k", 1)] {
        let spec = p.words(&format!("init {file}.ptx")).is(0, &["[[launch]]"]).out;
        p.file(&format!("{file}.toml"), &spec);
        let run = p.words(&format!("check {file}.ptx"));
        assert!(run.code <= code, "{}{}\n{spec}", run.out, run.errors);
        assert!(run.out.contains("ok  ") || file == "wmma", "{}", run.out);
    }
    let spec = p.words("init k.ptx").out;
    for words in [
        "# \"texture\" cannot be run: k.ptx:",
        "# void scale<double>(double*, int)\n[[launch]]",
        "block = [128]",
        "at = 16, write = \"by_struct_0_16\"",
        "update = \"tickets_0\"",
    ] {
        assert!(spec.contains(words), "no `{words}` in:\n{spec}");
    }
}

/// Damaged specifications: no panic, no hang, no memory that nobody has. `LAE_SPEC_FUZZ=100000` tries as many.
#[test]
fn damaged_specifications() {
    use lae_ptx::cli::check::{Limits, check_file};
    use lae_ptx::cli::report;
    let p = Place::new();
    let limits = Limits { only: vec![], memory: Some(8), budget: Some(20_000), suppress: vec![] };
    let count: u64 = std::env::var("LAE_SPEC_FUZZ").ok().map_or(1000, |n| n.parse().expect("LAE_SPEC_FUZZ is a number"));
    let mut state = 1u64;
    let mut next = |n: usize| {
        // splitmix64
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (state ^ state >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ z >> 31) % n.max(1) as u64) as usize
    };
    let words = [
        "=",
        "[",
        "]",
        "{",
        "}",
        "\"",
        "'",
        ",",
        "\n",
        "-1",
        "0",
        "18446744073709551615",
        "99999999999999999999999",
        "1e400",
        "nan",
        "-inf",
        "0x7f",
        "true",
        "1979-05-27",
        "[[launch]]",
        "[buffers]",
        "type = \"u8\"",
        "count = 4000000000",
        "random = 3",
        "\"x\"",
        "\"null\"",
        "struct = []",
        "at = 65536",
        "offset = 9223372036854775807",
        "hex = \"00\"",
        "shape = [0, 5]",
        "é",
        "\u{0}",
        "\"\"\"",
        "a.b.c",
        "# ",
        "iota = -9223372036854775808, step = 9223372036854775807",
        "schedules = [\"random:18446744073709551615\"]",
        "set = { factor = { type = \"f16\" } }",
        "grid = [65535, 65535, 65535]",
    ];
    let (mut verdicts, mut worst) = ([0u64; 3], 0.0f64);
    for i in 0..count {
        let mut text = GOOD.as_bytes().to_vec();
        // Every second one has other numbers and nothing else: most of those get as far as a launch.
        let mild = next(2) == 0;
        for _ in 0..1 + next(4) {
            let at = next(text.len());
            match if mild { 6 } else { next(6) } {
                6 => {
                    let numbers =
                        ["0", "1", "2", "3", "5", "8", "32", "33", "1000", "65536", "1048577", "4294967296", "-1", "2.5", "1e9"];
                    let begins =
                        |k: &usize| text[*k].is_ascii_digit() && !text[k - 1].is_ascii_alphanumeric() && text[k - 1] != b'_';
                    let starts: Vec<usize> = (1..text.len()).filter(begins).collect();
                    let k = starts[next(starts.len())];
                    let end = k + text[k..].iter().take_while(|c| c.is_ascii_digit()).count();
                    drop(text.splice(k..end, numbers[next(numbers.len())].bytes()));
                }
                0 => text[at] = next(256) as u8,
                1 => drop(text.drain(at..(at + 1 + next(30)).min(text.len()))),
                2 => drop(text.splice(at..at, words[next(words.len())].bytes())),
                3 => {
                    // Another number in the place of one.
                    let digits: Vec<usize> = (0..text.len()).filter(|&k| text[k].is_ascii_digit()).collect();
                    let k = digits[next(digits.len())];
                    drop(text.splice(k..k + 1, words[9 + next(8)].bytes()));
                }
                4 => {
                    let part = text[at..(at + next(60)).min(text.len())].to_vec();
                    let to = next(text.len());
                    drop(text.splice(to..to, part));
                }
                _ => {
                    let k = next(words.len());
                    drop(text.splice(at..(at + words[k].len()).min(text.len()), words[k].bytes()));
                }
            }
            if text.is_empty() {
                break;
            }
        }
        p.file("f.toml", &text);
        let begun = std::time::Instant::now();
        let files = [check_file(Some(&p.path("k.ptx")), &p.path("f.toml"), &limits)];
        worst = worst.max(begun.elapsed().as_secs_f64());
        let shown = report::text(&files);
        assert!(!shown.contains("the emulator itself failed"), "{i}:\n{shown}\n{}", String::from_utf8_lossy(&text));
        assert!(worst < 20.0, "{i}: {worst} s\n{}", String::from_utf8_lossy(&text));
        report::junit(&files);
        verdicts[report::sarif(&files)["runs"][0]["results"].as_array().map_or(0, |r| r.len().min(2))] += 1;
    }
    println!("{count} damaged specifications, by number of results (0, 1, more): {verdicts:?}; the slowest took {worst:.2} s");
    assert!(verdicts[0] > 0 && verdicts[1] > count / 4, "{verdicts:?}");
}
