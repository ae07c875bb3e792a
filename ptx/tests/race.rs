//! The race check and the counters on small kernels: each with a fault that must be found, and without, when nothing may be.

use lae_ptx::{Arg, Checks, Config, Copies, Fault, FaultKind, Launch, Machine, Module, Report, Schedule};

/// A kernel of three pointers: x (read), y and t (both written), in %rd1 to %rd3; the thread's number in %r1, that of the block
/// in %r2; %rd4 and %rd5 are x and y plus four bytes for each thread before this one in the grid.
fn kernel(body: &str) -> String {
    format!(
        "
.version 8.0
.target sm_80
.address_size 64
.visible .entry k(.param .u64 x, .param .u64 y, .param .u64 t) {{
    .reg .pred %p<9>;
    .reg .b32 %r<40>;
    .reg .f32 %f<40>;
    .reg .b64 %rd<20>;
    .shared .align 16 .b8 tile[4096];
    .shared .align 4 .b8 flag[4];
    ld.param.u64 %rd1, [x];
    ld.param.u64 %rd2, [y];
    ld.param.u64 %rd3, [t];
    mov.u32 %r1, %tid.x;
    mov.u32 %r2, %ctaid.x;
    mov.u32 %r3, %ntid.x;
    mad.lo.u32 %r4, %r2, %r3, %r1;
    mul.wide.u32 %rd6, %r4, 4;
    add.s64 %rd4, %rd1, %rd6;
    add.s64 %rd5, %rd2, %rd6;
    mov.u32 %r5, tile;
    shl.b32 %r6, %r1, 2;
    add.u32 %r7, %r5, %r6;
{body}
    ret;
}}"
    )
}

const N: usize = 1024;
const BYTES: u64 = 4 * N as u64;

fn run_with(config: Config, body: &str, blocks: u32, threads: u32) -> (Result<Report, Fault>, Vec<f32>) {
    let module = Module::parse("race.ptx", &kernel(body)).unwrap();
    let mut m = Machine::new(config);
    let (x, y, t) = (m.alloc("x", BYTES), m.alloc("y", BYTES), m.alloc("t", 4));
    m.write(x, &(0..N).flat_map(|i| (i as f32).to_le_bytes()).collect::<Vec<_>>()).unwrap();
    m.write(y, &[0; 4 * N]).unwrap();
    m.write(t, &[0; 4]).unwrap();
    let args = vec![Arg::Read { addr: x, len: BYTES }, Arg::Update { addr: y, len: BYTES }, Arg::Update { addr: t, len: 4 }];
    let report =
        m.launch(&module, "k", &Launch { grid: [blocks, 1, 1], block: [threads, 1, 1], shared: 0, args, ..Launch::default() });
    let mut out = vec![0; 4 * N];
    m.read(y, &mut out).unwrap();
    (report, out.chunks(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect())
}

fn run(body: &str, blocks: u32, threads: u32) -> Result<Report, Fault> {
    run_with(Config { counters: true, ..Config::default() }, body, blocks, threads).0
}

/// The text of the race that `body` has.
fn race(body: &str, blocks: u32, threads: u32) -> String {
    // Without the check for values that nobody wrote, which may find the same fault first.
    let config = Config { checks: Checks { init: false, ..Config::default().checks }, ..Config::default() };
    let fault = run_with(config, body, blocks, threads).0.expect_err("a race that was not found");
    assert!(matches!(fault.kind, FaultKind::Race { .. }), "{fault}");
    fault.to_string()
}

/// With `line` the kernel is right, under every schedule and without a report; without it, it races.
fn needs(line: &str, body: &str, blocks: u32, threads: u32) -> String {
    assert!(body.contains(line), "{line}");
    for schedule in [Schedule::Forward, Schedule::Reverse, Schedule::Random(5)] {
        for copies in [Copies::Late, Copies::Eager] {
            let (r, _) = run_with(Config { schedule, copies, ..Config::default() }, body, blocks, threads);
            r.unwrap_or_else(|f| panic!("{schedule:?}, {copies:?}: {f}"));
        }
    }
    race(&body.replacen(line, "", 1), blocks, threads)
}

/// Each thread reads what its mirror image wrote.
const MIRROR: &str = "
    ld.global.f32 %f1, [%rd4];
    st.shared.f32 [%r7], %f1;
    bar.sync 0;
    sub.u32 %r8, 127, %r1;
    shl.b32 %r8, %r8, 2;
    add.u32 %r8, %r5, %r8;
    ld.shared.f32 %f2, [%r8];
    st.global.f32 [%rd5], %f2;";

#[test]
fn barrier_missing() {
    let text = needs("    bar.sync 0;\n", MIRROR, 2, 128);
    // Both sides, with their threads and lines, and the variable.
    for part in [
        "race: write after read, at 0x100: `tile` + 256",
        "earlier read by thread (63,0,0)",
        "now a write by thread (64,0,0)",
        "of block (0,0,0)",
        "st.shared.f32 [%r7], %f1",
        "ld.shared.f32 %f2, [%r8]",
        "ptx line 27",
    ] {
        assert!(text.contains(part), "{part} is not in: {text}");
    }
}

#[test]
fn buffer_reused_too_early() {
    // A second round overwrites what others may still be reading.
    let body = format!("{MIRROR}\n    bar.sync 0; // again\n    st.shared.f32 [%r7], %f2;");
    let text = needs("    bar.sync 0; // again\n", &body, 1, 128);
    assert!(text.contains("%f2, [%r8]") && text.contains("[%r7], %f2"), "{text}");
}

#[test]
fn warp_sync_missing() {
    let body = "
    ld.global.f32 %f1, [%rd4];
    st.shared.f32 [%r7], %f1;
    bar.warp.sync 0xffffffff;
    xor.b32 %r8, %r6, 4;
    add.u32 %r8, %r5, %r8;
    ld.shared.f32 %f2, [%r8];
    st.global.f32 [%rd5], %f2;";
    needs("    bar.warp.sync 0xffffffff;\n", body, 1, 64);
    // A shuffle synchronises its lanes as well.
    let body = body.replace("bar.warp.sync 0xffffffff;", "shfl.sync.bfly.b32 %r9, %r1, 1, 31, 0xffffffff;");
    run(&body, 1, 64).unwrap();
}

#[test]
fn named_barriers_of_producer_and_consumer() {
    // Warp 0 produces, passes barrier 1 by; warp 1 waits there and consumes; warp 2 does something else.
    let body = "
    shr.u32 %r10, %r1, 5;
    setp.eq.u32 %p1, %r10, 0;
    setp.eq.u32 %p2, %r10, 1;
    and.b32 %r11, %r6, 127;
    add.u32 %r11, %r5, %r11;
    @!%p1 bra CONSUME;
    ld.global.f32 %f1, [%rd4];
    st.shared.f32 [%r11], %f1;
    bar.arrive 1, 64;
    bra DONE;
CONSUME:
    @!%p2 bra DONE;
    bar.sync 1, 64;
    ld.shared.f32 %f2, [%r11];
    st.global.f32 [%rd5], %f2;
DONE:";
    run(body, 1, 96).unwrap();
    // The producer goes on writing after it has passed.
    let late = body.replace("    bar.arrive 1, 64;\n", "    bar.arrive 1, 64;\n    st.shared.f32 [%r11], %f1;\n");
    let text = race(&late, 1, 96);
    assert!(text.contains("warp 0"), "{text}");
}

#[test]
fn copies_need_their_wait() {
    let body = "
    cp.async.ca.shared.global [%r7], [%rd4], 4;
    cp.async.commit_group;
    cp.async.wait_group 0;
    bar.sync 0;
    sub.u32 %r8, 127, %r1;
    shl.b32 %r8, %r8, 2;
    add.u32 %r8, %r5, %r8;
    ld.shared.f32 %f2, [%r8];
    st.global.f32 [%rd5], %f2;";
    let text = needs("    cp.async.wait_group 0;\n", body, 1, 128);
    assert!(text.contains("unfinished cp.async"), "{text}");
    // (The barrier's place is behind the wait: before it, it orders nothing.)
    needs("    bar.sync 0;\n", body, 1, 128);
    race(&body.replace("    cp.async.wait_group 0;\n    bar.sync 0;\n", "    bar.sync 0;\n    cp.async.wait_group 0;\n"), 1, 128);
    // A copy into memory that is still being read is a race as well.
    let again =
        format!("{body}\n    bar.sync 0; // again\n    cp.async.ca.shared.global [%r7], [%rd4], 4;\n    cp.async.wait_all;");
    let text = needs("    bar.sync 0; // again\n", &again, 1, 128);
    assert!(text.contains("cp.async.ca.shared"), "{text}");
}

/// Each block sums its 64 values with a warp; the last block adds up the sums.
const LAST_BLOCK: &str = "
    ld.global.f32 %f1, [%rd4];
    shfl.sync.down.b32 %f2, %f1, 1, 31, 0xffffffff;
    mul.wide.u32 %rd7, %r2, 4;
    add.s64 %rd7, %rd2, %rd7;
    setp.ne.u32 %p1, %r1, 0;
    @!%p1 st.global.f32 [%rd7], %f2;
    membar.gl;
    bar.sync 0; // before the ticket
    @!%p1 atom.global.add.u32 %r9, [%rd3], 1;
    mov.u32 %r10, flag;
    @!%p1 st.shared.u32 [%r10], %r9;
    bar.sync 0; // after the ticket
    ld.shared.u32 %r9, [%r10];
    mov.u32 %r11, %nctaid.x;
    add.u32 %r9, %r9, 1;
    setp.ne.u32 %p2, %r9, %r11;
    @%p2 ret;
    setp.ge.u32 %p3, %r1, %r11;
    @%p3 ret;
    mul.wide.u32 %rd8, %r1, 4;
    add.s64 %rd8, %rd2, %rd8;
    ld.global.f32 %f3, [%rd8];
    add.s64 %rd9, %rd8, 2048;
    st.global.f32 [%rd9], %f3;";

#[test]
fn last_block() {
    let text = needs("    membar.gl;\n", LAST_BLOCK, 4, 64);
    for part in ["read after write", "`y`", "of block (0,0,0)", "of block (3,0,0)"] {
        assert!(text.contains(part), "{part} is not in: {text}");
    }
    needs("    bar.sync 0; // after the ticket\n", LAST_BLOCK, 4, 64);
    // Here the thread that draws is the one that wrote, so the first barrier is not needed; if another warp wrote, it is.
    let other = LAST_BLOCK
        .replace("    @!%p1 st.global.f32 [%rd7], %f2;", "    setp.eq.u32 %p4, %r1, 32;\n    @%p4 st.global.f32 [%rd7], %f2;");
    needs("    bar.sync 0; // before the ticket\n", &other, 4, 64);
}

/// Block 0 writes a word and sets a flag; block 1 reads the word if it sees the flag.
const MESSAGE: &str = "
    setp.ne.u32 %p1, %r2, 0;
    @%p1 bra READ;
    st.global.u32 [%rd2], 7;
    membar.gl; // release
    st.relaxed.gpu.global.u32 [%rd3], 1;
    ret;
READ:
    ld.relaxed.gpu.global.u32 %r9, [%rd3];
    fence.acq_rel.gpu; // acquire
    setp.ne.u32 %p2, %r9, 1;
    @%p2 ret;
    ld.global.u32 %r10, [%rd2];
    st.global.u32 [%rd5], %r10;";

#[test]
fn flags_between_blocks() {
    let text = needs("    membar.gl; // release\n", MESSAGE, 2, 1);
    assert!(text.contains("read after write") && text.contains("ld.global.u32 %r10, [%rd2]"), "{text}");
    needs("    fence.acq_rel.gpu; // acquire\n", MESSAGE, 2, 1);
    // A fence of the block alone does not reach the other one.
    race(&MESSAGE.replace("membar.gl; // release", "membar.cta;"), 2, 1);
    // Volatile accesses are as good as relaxed ones.
    let volatile = MESSAGE.replace("relaxed.gpu", "volatile");
    needs("    membar.gl; // release\n", &volatile, 2, 1);
    needs("    fence.acq_rel.gpu; // acquire\n", &volatile, 2, 1);
    // With their fences in them.
    let bare = MESSAGE.replace("    membar.gl; // release\n", "").replace("    fence.acq_rel.gpu; // acquire\n", "");
    let ordered = bare.replace("st.relaxed", "st.release").replace("ld.relaxed", "ld.acquire");
    run(&ordered, 2, 1).unwrap();
    race(&ordered.replace("st.release", "st.relaxed"), 2, 1);
    race(&ordered.replace("ld.acquire", "ld.relaxed"), 2, 1);
    race(&ordered.replace("st.release.gpu", "st.release.cta"), 2, 1);
    run(&ordered.replace("st.release.gpu.global.u32 [%rd3], 1", "red.release.gpu.global.add.u32 [%rd3], 1"), 2, 1).unwrap();
    race(&ordered.replace("st.release.gpu.global.u32 [%rd3], 1", "red.relaxed.gpu.global.add.u32 [%rd3], 1"), 2, 1);
    // The flag itself must be strong on both sides.
    let text = race(&MESSAGE.replace("st.relaxed.gpu.global", "st.global"), 2, 1);
    assert!(text.contains("now a strong read") && text.contains("ld.relaxed.gpu.global.u32 %r9, [%rd3]"), "{text}");
    let text = race(&MESSAGE.replace("ld.relaxed.gpu.global", "ld.global"), 2, 1);
    assert!(text.contains("strong write") && text.contains("ld.global.u32 %r9, [%rd3]"), "{text}");
}

#[test]
fn strong_accesses_of_one_place() {
    run("    ld.volatile.global.u32 %r9, [%rd3];\n    add.u32 %r9, %r9, 1;\n    st.volatile.global.u32 [%rd3], %r9;", 4, 1)
        .unwrap();
    run("    atom.global.add.u32 %r9, [%rd3], 1;\n    ld.volatile.u32 %r9, [%rd3];", 4, 64).unwrap();
    race("    st.global.u32 [%rd3], %r2;\n    ld.volatile.global.u32 %r9, [%rd3];", 4, 1);
    race("    ld.global.u32 %r9, [%rd3];\n    st.volatile.global.u32 [%rd3], %r2;", 4, 1);
}

#[test]
fn flags_between_warps() {
    // Warp 0 fills the tile and sets a flag in shared memory; warp 1 waits for it.
    let body = "
    mov.u32 %r10, flag;
    setp.eq.u32 %p1, %r1, 0;
    @%p1 st.shared.u32 [%r10], 0;
    bar.sync 0;
    setp.ge.u32 %p2, %r1, 32;
    @%p2 bra WAIT;
    st.shared.u32 [%r7], %r1;
    bar.warp.sync 0xffffffff;
    membar.cta; // release
    @%p1 st.volatile.shared.u32 [%r10], 1;
    ret;
WAIT:
    ld.volatile.shared.u32 %r9, [%r10];
    setp.ne.u32 %p3, %r9, 1;
    @%p3 bra WAIT;
    membar.cta; // acquire
    ld.shared.u32 %r11, [%r7+-128];
    st.global.u32 [%rd5], %r11;";
    let text = needs("    membar.cta; // release\n", body, 1, 64);
    assert!(text.contains("ld.shared.u32 %r11"), "{text}");
    needs("    membar.cta; // acquire\n", body, 1, 64);
    let bare = body.replace("    membar.cta; // release\n", "").replace("    membar.cta; // acquire\n", "");
    run(&bare.replace("st.volatile", "st.release.cta").replace("ld.volatile", "ld.acquire.cta"), 1, 64).unwrap();
    let text = race(&body.replace("ld.volatile.shared", "ld.shared"), 1, 64);
    assert!(text.contains("[%r10]"), "{text}");
}

#[test]
fn blocks_that_write_one_place() {
    let text = race("    add.s64 %rd7, %rd2, 64;\n    st.global.u32 [%rd7], %r2;", 2, 1);
    for part in ["write after write", "`y`", "thread (0,0,0) of block (0,0,0)", "thread (0,0,0) of block (1,0,0)"] {
        assert!(text.contains(part), "{part} is not in: {text}");
    }
    // Atomics may.
    run("    add.s64 %rd7, %rd2, 64;\n    red.global.add.u32 [%rd7], %r2;", 4, 64).unwrap();
    // A block reads what another wrote.
    let text = race("    st.global.u32 [%rd5], %r2;\n    ld.global.u32 %r9, [%rd2];\n    st.global.u32 [%rd5], %r9;", 2, 1);
    assert!(text.contains("read after write"), "{text}");
}

#[test]
fn lanes_that_write_one_place() {
    // One value: harmless. Different values: which stays is open.
    run("    st.shared.u32 [%r5], %r2;", 1, 32).unwrap();
    let text = race("    st.shared.u32 [%r5], %r1;", 1, 32);
    assert!(text.contains("lane 31") && text.contains("lane 0"), "{text}");
}

#[test]
fn checks_can_be_switched_off() {
    let body = MIRROR.replace("    bar.sync 0;\n", "");
    let off = Config { checks: Checks { race: false, init: false, tf32: false }, ..Config::default() };
    run_with(off, &body, 2, 128).0.unwrap();
}

#[test]
fn counters_by_hand() {
    let (r, out) = run_with(Config { counters: true, ..Config::default() }, MIRROR, 2, 128);
    let c = r.unwrap().counters;
    assert_eq!(out[0], 127.0);
    assert_eq!((c.blocks, c.load.requests, c.load.sectors, c.load.bytes), (2, 8, 32, 1024));
    assert_eq!((c.store.requests, c.store.sectors), (8, 32));
    assert_eq!((c.shared_load.requests, c.shared_load.waves, c.shared_store.waves, c.conflicts()), (8, 8, 8, 0));
    assert_eq!((c.read.bytes, c.written.bytes, c.read.sector_bytes), (1024, 1024, 1024));
    assert_eq!(c.instructions * 32, c.threads);
    // A column of a matrix of 32: one sector for each lane, one bank for all.
    let body = "
    and.b32 %r8, %r1, 31;
    shl.b32 %r8, %r8, 7;
    add.u32 %r9, %r5, %r8;
    st.shared.u32 [%r9], %r8;
    cvt.u64.u32 %rd7, %r8;
    add.s64 %rd7, %rd1, %rd7;
    ld.global.f32 %f1, [%rd7];
    st.global.f32 [%rd5], %f1;";
    let c = run(body, 1, 32).unwrap().counters;
    assert_eq!((c.load.sectors, c.store.sectors, c.shared_store.waves, c.conflicts()), (32, 4, 32, 31));
    // An asynchronous copy is a load of global memory, and no store. Its column of shared memory meets in one bank as well.
    let copy = body.replace("st.shared.u32 [%r9], %r8;", "cp.async.ca.shared.global [%r9], [%rd1], 4; cp.async.wait_all;");
    let c = run(&copy, 1, 32).unwrap().counters;
    assert_eq!((c.load.requests, c.shared_store.waves, c.shared_copy.waves, c.conflicts()), (2, 0, 32, 31));
    assert_eq!(c.worst(1)[0].1.wasted_bytes() + c.worst(2)[1].1.wasted_bytes(), 31 * 28 + 28);
}
