//! Every fault, caused on purpose, and the report of it.

use lae_ptx::*;

/// A kernel of parameters `x` and `y` (pointers) and `n`, with this body. Thread index in %r1, addresses of the thread's words
/// of x and y in %rd3 and %rd4.
fn kernel(body: &str) -> Module {
    let text = format!(
        ".version 8.0\n.target sm_80\n.address_size 64\n
        .visible .entry k(.param .u64 x, .param .u64 y, .param .u32 n) {{
        .reg .pred %p<8>; .reg .b16 %h<8>; .reg .b32 %r<24>; .reg .f32 %f<8>; .reg .b64 %rd<24>;
        .shared .align 16 .b8 tile[1024];
        ld.param.u64 %rd1, [x];
        ld.param.u64 %rd2, [y];
        ld.param.u32 %r2, [n];
        mov.u32 %r1, %tid.x;
        mul.wide.u32 %rd5, %r1, 4;
        add.s64 %rd3, %rd1, %rd5;
        add.s64 %rd4, %rd2, %rd5;
        {body}
        DONE: ret; }}"
    );
    Module::parse("test.ptx", &text).unwrap_or_else(|e| panic!("{e}\n{text}"))
}

/// Runs it on 64 threads: x holds 0 … 63, read only; y is to be written.
fn run_with(config: Config, body: &str, n: u32) -> Result<Vec<u32>, Fault> {
    let mut m = Machine::new(config);
    let (x, y) = (m.alloc("x", 256), m.alloc("y", 256));
    m.write(x, &(0..64u32).flat_map(u32::to_le_bytes).collect::<Vec<u8>>()).unwrap();
    let args = vec![Arg::Read { addr: x, len: 256 }, Arg::Write { addr: y, len: 256 }, n.into()];
    m.launch(&kernel(body), "k", &Launch { grid: [1; 3], block: [64, 1, 1], shared: 0, args, ..Launch::default() })?;
    Ok(m.bytes(y, 256).unwrap().chunks_exact(4).map(|b| u32::from_le_bytes(b.try_into().unwrap())).collect())
}

fn run(body: &str) -> Result<Vec<u32>, Fault> {
    run_with(Config::default(), body, 64)
}

/// The name of the fault, and that its report holds these words.
fn fault(body: &str, words: &[&str]) -> &'static str {
    let f = run(body).expect_err("this kernel is wrong");
    let text = f.to_string();
    for w in words {
        assert!(text.contains(w), "no `{w}` in: {text}");
    }
    f.kind.name()
}

#[test]
fn a_correct_kernel_has_no_fault() {
    let y = run("ld.global.u32 %r3, [%rd3]; add.s32 %r3, %r3, 1; st.global.u32 [%rd4], %r3;").unwrap();
    assert_eq!(y, (1..65).collect::<Vec<u32>>());
}

#[test]
fn out_of_bounds() {
    let name = fault(
        "ld.global.u32 %r3, [%rd3+4];",
        &[
            "read of 4 bytes in global memory",
            "at the end of argument 0 (`x`, 256 bytes)",
            "block (0,0,0)",
            "thread (63,0,0)",
            "warp 1 lane 31",
            "ld.global.u32 %r3, [%rd3+4]",
            "ptx line 15",
        ],
    );
    assert_eq!(name, "out-of-bounds");
    fault("ld.global.u32 %r3, [%rd3+-8];", &["8 bytes before argument 0", "thread (0,0,0)"]);
    // Half of a vector.
    fault("add.s64 %rd3, %rd1, 248; ld.global.v4.u32 {%r3,%r4,%r5,%r6}, [%rd3+0];", &["misaligned"]);
    fault("st.shared.u32 [tile+1024], %r1;", &["write of 4 bytes in shared memory", "past `tile`"]);
    fault("mov.u32 %r3, tile; ld.shared.u32 %r4, [%r3+-4];", &["in shared memory"]);
    fault(
        ".local .align 4 .b8 depot[16]; mov.u64 %rd6, depot; add.s64 %rd6, %rd6, %rd5; st.local.u32 [%rd6], %r1;",
        &["local memory", "thread (4,0,0)"],
    );
}

#[test]
fn an_allocation_that_is_no_argument() {
    let mut m = Machine::new(Config::default());
    let (x, y, z) = (m.alloc("x", 256), m.alloc("y", 256), m.alloc("secret", 256));
    m.write(x, &[0; 256]).unwrap();
    let args = vec![Arg::Read { addr: x, len: 256 }, Arg::Write { addr: y, len: 256 }, ((z - x) as u32).into()];
    let body = "cvt.u64.u32 %rd6, %r2; add.s64 %rd6, %rd6, %rd1; ld.global.u32 %r3, [%rd6];";
    let f = m
        .launch(&kernel(body), "k", &Launch { grid: [1; 3], block: [32, 1, 1], shared: 0, args, ..Launch::default() })
        .unwrap_err();
    assert!(f.to_string().contains("offset 0 of `secret` (256 bytes), which is no argument of this launch"), "{f}");
}

#[test]
fn misaligned() {
    assert_eq!(fault("ld.global.u32 %r3, [%rd3+2];", &["access of 4 bytes", "offset 2 of argument 0"]), "misaligned");
    assert_eq!(fault("mov.u32 %r3, tile; ld.shared.v2.u32 {%r4,%r5}, [%r3+4];", &["access of 8 bytes"]), "misaligned");
}

#[test]
fn null() {
    assert_eq!(fault("mov.u64 %rd6, 0; ld.global.u32 %r3, [%rd6+16];", &["null pointer: read at 0x10"]), "null");
    let mut m = Machine::new(Config::default());
    let args = vec![Arg::Null, Arg::Null, 0u32.into()];
    let body = "st.global.u32 [%rd4], %r1;";
    let f = m
        .launch(&kernel(body), "k", &Launch { grid: [1; 3], block: [32, 1, 1], shared: 0, args, ..Launch::default() })
        .unwrap_err();
    assert_eq!(f.kind, FaultKind::Null { write: true, address: 0 });
}

#[test]
fn use_after_free() {
    let mut m = Machine::new(Config::default());
    let (x, y) = (m.alloc("x", 256), m.alloc("y", 256));
    m.write(x, &[0; 256]).unwrap();
    m.free(y).unwrap();
    // A stale address, passed as a number.
    let args = vec![Arg::Read { addr: x, len: 256 }, Arg::Bytes(y.to_le_bytes().to_vec()), 0u32.into()];
    let launch = Launch { grid: [1; 3], block: [32, 1, 1], shared: 0, args, ..Launch::default() };
    let f = m.launch(&kernel("st.global.u32 [%rd4], %r1;"), "k", &launch).unwrap_err();
    assert_eq!(f.kind.name(), "use-after-free");
    assert!(f.to_string().contains("offset 0 of `y`"), "{f}");
    // A freed allocation cannot be an argument, nor be freed again.
    let args = vec![Arg::Read { addr: x, len: 256 }, Arg::Write { addr: y, len: 256 }, 0u32.into()];
    let f = m
        .launch(&kernel(""), "k", &Launch { grid: [1; 3], block: [32, 1, 1], shared: 0, args, ..Launch::default() })
        .unwrap_err();
    assert!(f.to_string().contains("argument 1 (`y`): `y` was freed"), "{f}");
    assert!(m.free(y).is_err());
    assert_ne!(m.alloc("z", 256), y);
}

#[test]
fn read_only() {
    assert_eq!(fault("st.global.u32 [%rd3], %r1;", &["offset 0 of argument 0 (`x`, 256 bytes)"]), "read-only");
    assert_eq!(fault("atom.global.add.u32 %r3, [%rd3], 1;", &[]), "read-only");
}

#[test]
fn uninitialised() {
    let load = "ld.global.u32 %r3, [%rd4]; ";
    for (body, used_as) in [
        ("setp.eq.u32 %p1, %r3, 0; @%p1 bra DONE;", "a branch condition"),
        ("mul.wide.u32 %rd6, %r3, 4; add.s64 %rd6, %rd6, %rd1; ld.global.u32 %r4, [%rd6];", "an address"),
        ("add.s32 %r4, %r3, 1; st.global.u32 [%rd4], %r4;", "the value of a store to global memory"),
        ("atom.global.add.u32 %r4, [%rd4], 1;", "memory of an atomic"),
        ("setp.eq.u32 %p1, %r3, 0; @%p1 mov.u32 %r4, 1;", "the guard of an instruction"),
    ] {
        assert_eq!(fault(&format!("{load}{body}"), &[used_as]), "uninitialised");
    }
    // Through shared memory, local memory, a shuffle, 64-bit arithmetic and a selection.
    for way in [
        "mov.u32 %r4, tile; shl.b32 %r5, %r1, 2; add.s32 %r4, %r4, %r5; st.shared.u32 [%r4], %r3; ld.shared.u32 %r6, [%r4];",
        ".local .align 8 .b8 depot[16]; mov.u64 %rd6, depot; st.local.u32 [%rd6+8], %r3; ld.local.u32 %r6, [%rd6+8];",
        "shfl.sync.idx.b32 %r6, %r3, 0, 31, -1;",
        "cvt.u64.u32 %rd6, %r3; shl.b64 %rd6, %rd6, 3; cvt.u32.u64 %r6, %rd6;",
        "setp.eq.u32 %p1, %r1, 0; selp.b32 %r6, %r1, %r3, %p1;",
        "mov.b64 %rd6, {%r1, %r3}; mov.b64 {%r7, %r6}, %rd6;",
    ] {
        assert_eq!(fault(&format!("{load}{way} st.global.u32 [%rd4], %r6;"), &["a store to global memory"]), "uninitialised");
    }
    // cp.async takes along what it finds, byte by byte: here y[0] was written, y[1] was not.
    for bytes in [8, 16] {
        let copy = |word: u32| {
            format!(
                "setp.ne.u32 %p1, %r1, 0; @%p1 bra DONE; st.global.u32 [%rd2], %r1; mov.u32 %r5, tile;
                cp.async.ca.shared.global [%r5], [%rd2], {bytes}; cp.async.wait_all;
                ld.shared.u32 %r3, [%r5+{}]; st.global.u32 [%rd2], %r3;",
                4 * word
            )
        };
        run(&copy(0)).unwrap();
        assert_eq!(fault(&copy(1), &["a store to global memory"]), "uninitialised");
    }
    // ldmatrix: row 9 was not written, which is row 1 of the second matrix.
    let matrix = |register: u32| {
        format!(
            "setp.ge.u32 %p1, %r1, 32; @%p1 bra DONE; mov.u32 %r5, tile; shl.b32 %r6, %r1, 4; add.s32 %r7, %r5, %r6;
            setp.ne.u32 %p2, %r1, 9; @%p2 st.shared.v4.u32 [%r7], {{%r1,%r1,%r1,%r1}}; bar.warp.sync -1;
            ldmatrix.sync.aligned.m8n8.x4.shared.b16 {{%r10,%r11,%r12,%r13}}, [%r7]; st.global.u32 [%rd4], %r{register};"
        )
    };
    run(&matrix(10)).unwrap();
    assert_eq!(fault(&matrix(11), &["thread (4,0,0)", "a store to global memory"]), "uninitialised");
    // Fresh shared memory of a block is uninitialised.
    assert_eq!(fault("ld.shared.u32 %r3, [tile]; st.global.u32 [%rd4], %r3;", &[]), "uninitialised");
    // What is loaded but not used is fine, and so is a value that a selection drops or an `and` decides.
    for good in [
        "",
        "setp.lt.u32 %p1, %r1, 64; selp.b32 %r6, %r1, %r3, %p1; st.global.u32 [%rd4], %r6;",
        "setp.eq.u32 %p1, %r3, 0; setp.gt.u32 %p2, %r1, 64; and.pred %p3, %p1, %p2; selp.b32 %r6, 1, 2, %p3; st.global.u32 [%rd4], %r6;",
        "mov.u32 %r3, 7; st.global.u32 [%rd4], %r3;",
    ] {
        run(&format!("{load}{good}")).unwrap();
    }
    // The check can be off; then the pattern is read.
    let config = Config { checks: Checks { init: false, ..Config::default().checks }, ..Config::default() };
    assert_eq!(run_with(config, &format!("{load} st.global.u32 [%rd4], %r3;"), 0).unwrap()[0], 0x7fc0_dead);
}

/// Bits of a register are told apart: `%r9` and `%h7` hold nothing, and what is made of the rest of a register with them in it is
/// fine. `%r3` is a number. The second text of a pair uses the bits that hold nothing.
#[test]
fn parts_of_registers_that_nothing_wrote() {
    let pack = "ld.global.u32 %r3, [%rd3]; mov.b64 %rd6, {%r3, %r9};";
    let low = "and.b64 %rd7, %rd6, 0xffffffff;";
    let high = "and.b64 %rd7, %rd6, 0x1ffffffff;";
    for (good, bad) in [
        ("cvt.u32.u64 %r4, %rd6;", "shr.u64 %rd7, %rd6, 1; cvt.u32.u64 %r4, %rd7;"),
        (&format!("{low} shr.u64 %rd7, %rd7, 3; cvt.u32.u64 %r4, %rd7;"), &format!("{high} shr.u64 %rd7, %rd7, 3; cvt.u32.u64 %r4, %rd7;")),
        ("add.s64 %rd7, %rd6, %rd6; cvt.u32.u64 %r4, %rd7;", "add.s64 %rd7, %rd6, %rd6; mov.b64 {%r5, %r4}, %rd7;"),
        ("mul.lo.s64 %rd7, %rd6, %rd5; cvt.u32.u64 %r4, %rd7;", "mul.hi.u64 %rd7, %rd6, %rd5; cvt.u32.u64 %r4, %rd7;"),
        ("shl.b64 %rd7, %rd6, 32; shr.u64 %rd7, %rd7, 32; cvt.u32.u64 %r4, %rd7;", "shl.b64 %rd7, %rd6, 31; mov.b64 {%r5, %r4}, %rd7;"),
        ("bfe.u64 %rd7, %rd6, 4, 28; mov.b64 {%r4, %r5}, %rd7;", "bfe.u64 %rd7, %rd6, 4, 29; cvt.u32.u64 %r4, %rd7;"),
        ("or.b64 %rd7, %rd6, 0xffffffff00000000; mov.b64 {%r5, %r4}, %rd7;", "or.b64 %rd7, %rd6, 0xfffffffe00000000; mov.b64 {%r5, %r4}, %rd7;"),
        ("mov.b64 {%r4, %r5}, %rd6;", "mov.b64 {%r5, %r4}, %rd6;"),
        ("prmt.b32 %r4, %r3, %r9, 0x0123;", "prmt.b32 %r4, %r3, %r9, 0x0124;"),
        ("lop3.b32 %r4, %r3, %r9, 0, 0x80; or.b32 %r4, %r4, %r3;", "lop3.b32 %r4, %r3, %r9, -1, 0x80;"),
        ("shf.r.wrap.b32 %r4, %r3, %r9, 0;", "shf.r.wrap.b32 %r4, %r3, %r9, 1;"),
        ("bfi.b32 %r4, %r3, %r9, 0, 32;", "bfi.b32 %r4, %r3, %r9, 0, 31;"),
        (
            "cvt.u16.u32 %h1, %r3; mov.b32 %r5, {%h1, %h7}; and.b32 %r4, %r5, 0xffff;",
            "cvt.u16.u32 %h1, %r3; mov.b32 %r5, {%h1, %h7}; shr.u32 %r4, %r5, 15;",
        ),
        (
            "cvt.u16.u32 %h1, %r3; mov.b64 %rd7, {%h1, %h7, %h1, %h7}; mov.b64 {%h2, %h3, %h4, %h5}, %rd7; cvt.u32.u16 %r4, %h4;",
            "cvt.u16.u32 %h1, %r3; mov.b64 %rd7, {%h1, %h7, %h1, %h7}; mov.b64 {%h2, %h3, %h4, %h5}, %rd7; cvt.u32.u16 %r4, %h5;",
        ),
        // Through memory byte by byte, and through a shuffle.
        (
            ".local .align 8 .b8 depot[16]; mov.u64 %rd8, depot; st.local.u64 [%rd8], %rd6; ld.local.u32 %r4, [%rd8];",
            ".local .align 8 .b8 depot[16]; mov.u64 %rd8, depot; st.local.u64 [%rd8], %rd6; ld.local.u32 %r4, [%rd8+4];",
        ),
        (
            "mul.wide.u32 %rd8, %r1, 8; cvt.u32.u64 %r6, %rd8; mov.u32 %r5, tile; add.s32 %r5, %r5, %r6; st.shared.u64 [%r5], %rd6;
             ld.shared.v2.u32 {%r4, %r7}, [%r5];",
            "mul.wide.u32 %rd8, %r1, 8; cvt.u32.u64 %r6, %rd8; mov.u32 %r5, tile; add.s32 %r5, %r5, %r6; st.shared.u64 [%r5], %rd6;
             ld.shared.v2.u32 {%r7, %r4}, [%r5];",
        ),
        (
            "and.b32 %r5, %r9, 0xff00; or.b32 %r5, %r5, 3; shfl.sync.idx.b32 %r6, %r5, 0, 31, -1; and.b32 %r4, %r6, 0xff;",
            "and.b32 %r5, %r9, 0xff00; or.b32 %r5, %r5, 3; shfl.sync.idx.b32 %r6, %r5, 0, 31, -1; and.b32 %r4, %r6, 0x1ff;",
        ),
        // Decided by bits that hold a value, or not; a selection between equals.
        (
            "or.b32 %r5, %r9, 0x100; setp.gt.u32 %p1, %r5, 255; selp.u32 %r4, 1, 2, %p1;",
            "or.b32 %r5, %r9, 0x100; setp.gt.u32 %p1, %r5, 256; selp.u32 %r4, 1, 2, %p1;",
        ),
        (
            "and.b32 %r5, %r9, 7; setp.eq.s32 %p1, %r5, 8; @%p1 bra DONE; mov.u32 %r4, %r5; mov.u32 %r4, 1;",
            "and.b32 %r5, %r9, 7; setp.eq.s32 %p1, %r5, 7; selp.u32 %r4, 1, 2, %p1;",
        ),
        ("setp.eq.u32 %p1, %r9, 0; selp.u32 %r4, %r3, %r3, %p1;", "setp.eq.u32 %p1, %r9, 0; selp.u32 %r4, %r3, %r1, %p1; add.u32 %r4, %r4, %r9;"),
    ] {
        let run_one = |body: &str| run(&format!("{pack} {body} st.global.u32 [%rd4], %r4;"));
        run_one(good).unwrap_or_else(|f| panic!("{good}: {f}"));
        let f = run_one(bad).expect_err(bad);
        assert_eq!(f.kind.name(), "uninitialised", "{bad}: {f}");
    }
    // A store of the bytes that hold a value; of one more.
    run(&format!("{pack} st.global.u32 [%rd4], %rd6;")).unwrap();
    run("and.b32 %r5, %r9, 0xff00; st.global.u8 [%rd4], %r5;").unwrap();
    assert_eq!(fault("and.b32 %r5, %r9, 0xff00; st.global.u16 [%rd4], %r5;", &["a store to global memory"]), "uninitialised");
    // Of what memory holds, a byte that nobody wrote is one byte of the register.
    let bytes = "mov.u32 %r5, tile; st.shared.u8 [%r5], 7; bar.sync 0; ld.shared.u16 %h1, [%r5]; cvt.u32.u16 %r6, %h1;";
    run(&format!("setp.ne.u32 %p1, %r1, 0; @%p1 bra DONE; {bytes} and.b32 %r4, %r6, 0xff; st.global.u32 [%rd4], %r4;")
        .replace("bar.sync 0;", ""))
    .unwrap();
    let used = format!("setp.ne.u32 %p1, %r1, 0; @%p1 bra DONE; {bytes} st.global.u32 [%rd4], %r6;").replace("bar.sync 0;", "");
    assert_eq!(fault(&used, &["a store to global memory"]), "uninitialised");
}

/// Warp 0 writes the rows that warp 1 loads as matrices; every access is of 16 bytes.
#[test]
fn matrices_before_their_barrier() {
    let body = |barrier: &str| {
        format!(
            "mov.u32 %r5, tile; and.b32 %r6, %r1, 31; shl.b32 %r6, %r6, 4; add.s32 %r7, %r5, %r6;
            setp.ge.u32 %p1, %r1, 32; @%p1 bra LOAD; st.shared.v4.u32 [%r7], {{%r1,%r1,%r1,%r1}}; {barrier} bra.uni DONE;
            LOAD: {barrier} ldmatrix.sync.aligned.m8n8.x4.shared.b16 {{%r10,%r11,%r12,%r13}}, [%r7]; st.global.u32 [%rd4], %r10;"
        )
    };
    run(&body("bar.sync 0;")).unwrap();
    assert_eq!(fault(&body(""), &["read after write", "ldmatrix", "st.shared.v4"]), "race");
}

#[test]
fn registers_that_nothing_wrote() {
    assert_eq!(fault("st.global.u32 [%rd4], %r9;", &["a store to global memory"]), "uninitialised");
    assert_eq!(fault("@%p5 bra DONE;", &["a branch condition"]), "uninitialised");
    // Written on one path only.
    let body = "setp.eq.u32 %p1, %r1, 0; @%p1 mov.u32 %r9, 5; st.global.u32 [%rd4], %r9;";
    assert_eq!(fault(body, &["thread (1,0,0)"]), "uninitialised");
}

#[test]
fn divergent_barrier() {
    let name = fault(
        "setp.lt.u32 %p1, %r1, 16; @%p1 bra A; bar.sync 0; bra.uni DONE; A: bar.sync 0;",
        &["lanes 0x0000ffff before a barrier", "lanes 0xffff0000 before a barrier", "bar.sync 0", "ptx line"],
    );
    assert_eq!(name, "divergent-barrier");
    let spin = "setp.eq.u32 %p1, %r1, 3; @%p1 bar.sync 0; L: bra.uni L;";
    assert_eq!(run_with(Config { budget: 10_000, ..Config::default() }, spin, 0).unwrap_err().kind.name(), "budget");
    // Without .aligned the pieces of a warp may come to the barrier by different ways.
    run("setp.lt.u32 %p1, %r1, 16; @%p1 bra A; barrier.sync 0; bra.uni DONE; A: barrier.sync 0;").unwrap();
    // Threads that have exited are not waited for.
    run("setp.lt.u32 %p1, %r1, 40; @%p1 bra DONE; bar.sync 0;").unwrap();
}

#[test]
fn deadlock() {
    // Warp 1 waits at another barrier.
    let body = "setp.lt.u32 %p1, %r1, 32; @%p1 bra A; bar.sync 1; bra.uni DONE; A: bar.sync 0;";
    let name = fault(body, &["warp 0 lanes 0xffffffff at barrier 0 (32 of 64 threads have come)", "at barrier 1"]);
    assert_eq!(name, "deadlock");
    // A barrier of 64 threads to which only one warp comes.
    assert_eq!(fault("setp.lt.u32 %p1, %r1, 32; @%p1 bra DONE; bar.sync 1, 64;", &["32 of 64"]), "deadlock");
    // A shuffle that half of its mask skips.
    let body = "setp.lt.u32 %p1, %r1, 16; @%p1 bra A; bar.sync 0; A: shfl.sync.idx.b32 %r3, %r1, 0, 31, -1; bar.sync 0;";
    assert_eq!(fault(body, &["for other lanes of its mask"]), "divergent-barrier");
    let body = "setp.eq.u32 %p1, %r1, 0; @%p1 bra A; bar.warp.sync -1; bra.uni DONE; A: bar.warp.sync -1; ";
    assert_eq!(fault(body, &["for other lanes of its mask"]), "deadlock");
}

#[test]
fn barrier_operands() {
    assert_eq!(fault("bar.sync 16;", &["barrier 16; there are 16"]), "barrier");
    assert_eq!(fault("bar.sync 1, 48;", &["must be a multiple of 32"]), "barrier");
    assert_eq!(fault("bar.sync %r1;", &["disagree on the barrier"]), "barrier");
    let body = "setp.lt.u32 %p1, %r1, 32; @%p1 bra A; bar.sync 1, 64; bra.uni DONE; A: bar.sync 1;";
    assert_eq!(fault(body, &["is used for all threads and for 64 threads at once"]), "barrier");
    // Producer and consumer: one warp arrives, the other waits.
    let body = "setp.lt.u32 %p1, %r1, 32; @%p1 bra A; ld.global.u32 %r3, [%rd3]; st.shared.u32 [tile], 9; bar.arrive 1, 64; bra.uni DONE;
        A: bar.sync 1, 64; ld.shared.u32 %r3, [tile]; st.global.u32 [%rd4], %r3;";
    assert_eq!(run(body).unwrap()[..32], [9; 32]);
}

#[test]
fn operands() {
    let copy = |size: u32| {
        format!("mov.u32 %r3, tile; mov.u32 %r4, {size}; cp.async.ca.shared.global [%r3], [%rd1], 4, %r4; cp.async.wait_all;")
    };
    run(&format!("setp.ne.u32 %p1, %r1, 0; @%p1 bra DONE; {}", copy(4))).unwrap();
    assert_eq!(fault(&copy(8), &["cp.async of 4 bytes with a source size of 8"]), "operand");
}

/// Zeros come from nowhere: neither an address nor a buffer is needed for them.
#[test]
fn a_copy_of_nothing() {
    let text = ".version 8.0\n.target sm_80\n.address_size 64\n
        .visible .entry k() {
            .shared .align 16 .b8 tile[16]; .reg .pred %p<2>; .reg .b32 %r<4>; .reg .b64 %rd<2>;
            mov.u32 %r1, tile; mov.u64 %rd1, 0; mov.u32 %r2, 0;
            cp.async.cg.shared.global [%r1], [%rd1], 16, %r2; cp.async.wait_all;
            ld.shared.u32 %r3, [tile+12]; setp.eq.u32 %p1, %r3, 0; @%p1 bra DONE; trap;
        DONE: ret; }";
    let module = Module::parse("test.ptx", text).unwrap();
    for copies in [Copies::Late, Copies::Eager] {
        let mut m = Machine::new(Config { copies, ..Config::default() });
        m.launch(&module, "k", &Launch { grid: [1; 3], block: [1; 3], shared: 0, args: vec![], ..Launch::default() }).unwrap();
    }
}

#[test]
fn sync_mask() {
    assert_eq!(fault("shfl.sync.idx.b32 %r3, %r1, 0, 31, 0x7fffffff;", &["0x7fffffff", "lane 31"]), "sync-mask");
    assert_eq!(fault("setp.eq.u32 %p1, %r1, 1; vote.sync.any.pred %p2, %p1, 0;", &["bad mask 0x00000000"]), "sync-mask");
    // A value from a lane that is not in the mask is no value.
    let body = "setp.lt.u32 %p1, %r1, 16; @%p1 bra A; bra.uni DONE; A: shfl.sync.idx.b32 %r3, %r1, 20, 31, 0xffff; st.global.u32 [%rd4], %r3;";
    let f = run(body).unwrap_err();
    assert!(["uninitialised", "sync-mask"].contains(&f.kind.name()), "{f}");
}

#[test]
fn budget() {
    let config = Config { budget: 10_000, ..Config::default() };
    let f = run_with(config, "L: bra.uni L;", 0).unwrap_err();
    assert_eq!(f.kind, FaultKind::Budget { limit: 10_000 });
    assert!(f.executed < 11_000 && f.site.as_ref().unwrap().text == "bra.uni L");
}

#[test]
fn unsupported() {
    let f = run("txq.width.b32 %r3, [%rd1];").unwrap_err();
    let text = f.to_string();
    assert_eq!(f.kind.name(), "unsupported");
    for w in ["test.ptx:15", "kernel `k`", "instruction `txq.width.b32` is not supported", "txq.width.b32 %r3, [%rd1]"] {
        assert!(text.contains(w), "no `{w}` in: {text}");
    }
    for (body, word) in [
        ("add.wrap.s32 %r3, %r1, 1;", "this form of `add`"),
        ("mov.u32 %r3, %cluster_ctaid.w;", "special register `%cluster_ctaid.w`"),
        ("add.s32 %r3, %rd1, 1;", "register %rd1 has the wrong size"),
        ("add.s32 %r3, %r1;", "expected 3 operands"),
        ("ld.global.v2.u32 %r3, [%rd3];", "expected 2 registers"),
        ("st.global.u64 [%rd3], %r1;", "64-bit register"),
        ("call nowhere;", "`nowhere`, which is not in the module"),
        ("setp.eq.u32 %r3, %r1, 1;", "wrong size for a result"),
        ("mov.u32 %r3, nothing;", "`nothing` is not a register"),
    ] {
        let f = run(body).map(|_| ()).unwrap_err().to_string();
        assert!(f.contains(word), "no `{word}` in: {f}");
    }
}

#[test]
fn trap() {
    assert_eq!(fault("setp.eq.u32 %p1, %r1, 40; @%p1 trap;", &["executed `trap`", "thread (40,0,0)"]), "trap");
}

#[test]
fn tf32_operands() {
    let body = |low: &str| {
        format!(
            "mov.u32 %r3, 0x3f800{low}; mov.f32 %f1, 0f00000000; mov.u32 %r4, 0x40000000; cvt.rna.tf32.f32 %r4, %r4;
            mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {{%f2,%f3,%f4,%f5}}, {{%r3,%r3,%r3,%r3}}, {{%r4,%r4}}, {{%f1,%f1,%f1,%f1}};
            st.global.f32 [%rd4], %f2;"
        )
    };
    assert_eq!(run(&body("000")).unwrap(), [16f32.to_bits(); 64]);
    assert_eq!(fault(&body("001"), &["tf32 operand A = 0x3f800001", "cvt.rna.tf32"]), "tf32");
    let config = Config { checks: Checks { tf32: false, ..Config::default().checks }, ..Config::default() };
    assert_eq!(run_with(config, &body("001"), 0).unwrap(), [16f32.to_bits(); 64]);
    // Not all lanes.
    let part = format!("setp.lt.u32 %p1, %r1, 16; @%p1 bra DONE; {}", body("000"));
    assert_eq!(fault(&part, &["mask 0xffff0000"]), "sync-mask");
}

#[test]
fn stack_overflow() {
    let text = ".version 8.0\n.target sm_80\n.address_size 64\n
        .func f() { call.uni f, (); ret; }
        .visible .entry k() { call.uni f, (); ret; }";
    let module = Module::parse("test.ptx", text).unwrap();
    let mut m = Machine::new(Config::default());
    let f = m
        .launch(&module, "k", &Launch { grid: [1; 3], block: [1; 3], shared: 0, args: vec![], ..Launch::default() })
        .unwrap_err();
    assert_eq!(f.kind, FaultKind::StackOverflow);
}

#[test]
fn wrong_launches() {
    let text = ".version 8.0\n.target sm_80\n.address_size 64\n
        .extern .shared .align 16 .b8 more[];
        .visible .entry k(.param .u64 x, .param .align 8 .b8 sizes[24], .param .f32 a) .maxntid 128, 1, 1 {
            .shared .b8 tile[4096]; .reg .b32 %r<4>;
            mov.u32 %r1, tile; ret; }
        .visible .entry exact() .reqntid 64, 2 { ret; }";
    let module = Module::parse("test.ptx", text).unwrap();
    let mut m = Machine::new(Config::default());
    let x = m.alloc("x", 64);
    let good = || vec![Arg::Read { addr: x, len: 64 }, Arg::Bytes(vec![0; 24]), 1f32.into()];
    let mut go = |name: &str, grid: [u32; 3], block: [u32; 3], shared: u32, args: Vec<Arg>| {
        m.launch(&module, name, &Launch { grid, block, shared, args, ..Launch::default() }).map(|_| ()).map_err(|f| f.to_string())
    };
    go("k", [1; 3], [128, 1, 1], 0, good()).unwrap();
    go("exact", [1; 3], [64, 2, 1], 0, vec![]).unwrap();
    let mut short = good();
    short.pop();
    let mut narrow = good();
    narrow[2] = Arg::Bytes(vec![0; 8]);
    let mut outside = good();
    outside[0] = Arg::Read { addr: x + 32, len: 64 };
    let mut nowhere = good();
    nowhere[0] = Arg::Read { addr: 4096, len: 64 };
    for (result, words) in [
        (go("none", [1; 3], [32, 1, 1], 0, vec![]), "no kernel of this name; it has k, exact"),
        (go("k", [1; 3], [32, 1, 1], 0, short), "2 arguments for 3 parameters"),
        (go("k", [1; 3], [32, 1, 1], 0, narrow), "argument 2 has 8 bytes; parameter `a` has 4"),
        (go("k", [1; 3], [32, 1, 1], 0, outside), "argument 0 (`x`): 64 bytes at offset 32 exceed `x`, which has 64 bytes"),
        (go("k", [1; 3], [32, 1, 1], 0, nowhere), "no address of this machine"),
        (go("k", [1; 3], [256, 1, 1], 0, good()), "a block of 256 threads; the kernel allows 128 (.maxntid)"),
        (go("exact", [1; 3], [128, 1, 1], 0, vec![]), "the kernel requires 64 × 2 × 1"),
        (go("k", [1; 3], [0, 1, 1], 0, good()), "a block of 0 × 1 × 1 threads"),
        (go("k", [1; 3], [2048, 1, 1], 0, good()), "it must have 1 to 1024"),
        (go("k", [0, 1, 1], [32, 1, 1], 0, good()), "a grid of 0 × 1 × 1 blocks"),
        (go("k", [1, 70000, 1], [32, 1, 1], 0, good()), "a grid of 1 × 70000 × 1"),
        (go("k", [1; 3], [32, 1, 1], 230_000, good()), "234096 bytes of shared memory (4096 static, 230000 dynamic)"),
    ] {
        let text = result.expect_err(words);
        assert!(text.starts_with("launch: ") && text.contains(words), "no `{words}` in: {text}");
    }
}

#[test]
fn text_that_is_not_ptx() {
    for (text, line, words) in [
        ("", 1, "not PTX text, which begins with `.version`: this is empty"),
        ("int main() {}", 1, "this begins with `int main() {}`"),
        ("\u{7f}ELF\u{2}\u{1}\0\0", 1, "this begins with"),
        (".target sm_80\n.version 8.0", 1, "this begins with `.target sm_80`"),
        (".version eight", 1, "no version"),
        (".version 10.0\n", 1, "PTX version 10.0 is newer than 9.x, the newest that is known: compile with an older CUDA"),
        (
            ".version 8.7\n.target sm_120a\n",
            2,
            "target `sm_120a` is newer than sm_90, the newest that is known: compile for sm_90 or older (nvcc -arch=sm_90 -ptx)",
        ),
        (".version 8.0\n.target gfx90a", 2, "target `gfx90a` is not supported"),
        (".version 8.0\n.target sm_80, map_f64_to_f32", 2, "`map_f64_to_f32` is not supported"),
        (".version 8.0\n.target sm_80\n.address_size 32\n", 3, "only .address_size 64"),
        (".version 8.0\n.entry k() {\n ret;\n", 4, "the file is truncated"),
        (".version 8.0\n.entry k(.param .u99 x) {\n ret;\n", 2, "the file is truncated"),
        (".version 8.0\n/* no end", 2, "a comment does not end"),
        (".version 8.0\n.pragma \"no end;\n", 2, "a string does not end"),
        (".version 8.0\n.section .debug_str { a: .b8 1", 2, "the file is truncated"),
    ] {
        let e = Module::parse("bad.ptx", text).map(|_| ()).expect_err(words);
        assert!(e.to_string().contains(words), "no `{words}` in: {e}");
        assert_eq!(e.line, line, "{e}");
        assert!(e.to_string().starts_with("bad.ptx:"), "{e}");
    }
    for target in ["sm_70", "sm_80", "sm_86", "sm_89", "sm_90", "sm_90a", "sm_80, texmode_independent"] {
        Module::parse("good.ptx", &format!(".version 8.0\n.target {target}\n.address_size 64\n\0")).unwrap();
    }
}
