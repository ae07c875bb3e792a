//! Instructions across lanes and memory, each against what the PTX ISA says of it.

use lae_ptx::num::matrix;
use lae_ptx::*;

/// Runs a body on `threads` threads. %r1 is the thread, x holds 1024 words `init(i)` at %rd1, y gets 1024 words at %rd2; %rd3 and
/// %rd4 are the thread's words of x and y. Gives y, and x as it is afterwards.
pub(crate) fn run(config: &Config, threads: u32, init: impl Fn(u32) -> u32, body: &str) -> Result<(Vec<u32>, Vec<u32>), Fault> {
    let text = format!(
        ".version 8.0\n.target sm_80\n.address_size 64\n
        .visible .entry k(.param .u64 x, .param .u64 y) {{
        .reg .pred %p<8>; .reg .b16 %h<8>; .reg .b32 %r<32>; .reg .f32 %f<16>; .reg .f64 %d<4>; .reg .b64 %rd<16>;
        .shared .align 16 .b8 tile[4096];
        ld.param.u64 %rd1, [x]; ld.param.u64 %rd2, [y];
        mov.u32 %r1, %tid.x; mul.wide.u32 %rd5, %r1, 4; add.s64 %rd3, %rd1, %rd5; add.s64 %rd4, %rd2, %rd5;
        {body}
        DONE: ret; }}"
    );
    let module = Module::parse("test.ptx", &text).unwrap_or_else(|e| panic!("{e}\n{body}"));
    let mut m = Machine::new(config.clone());
    let (x, y) = (m.alloc("x", 4096), m.alloc("y", 4096));
    m.write(x, &(0..1024).flat_map(|i| init(i).to_le_bytes()).collect::<Vec<u8>>()).unwrap();
    m.write(y, &[0; 4096]).unwrap();
    let args = vec![Arg::Update { addr: x, len: 4096 }, Arg::Update { addr: y, len: 4096 }];
    m.launch(&module, "k", &Launch { grid: [1; 3], block: [threads, 1, 1], shared: 0, args, ..Launch::default() })?;
    let words = |a| m.bytes(a, 4096).unwrap().chunks_exact(4).map(|b| u32::from_le_bytes(b.try_into().unwrap())).collect();
    Ok((words(y), words(x)))
}

/// y of 32 threads with x[i] = i, the same under every schedule and way of copying.
pub(crate) fn warp(body: &str) -> Vec<u32> {
    let all: Vec<Vec<u32>> =
        configs().iter().map(|c| run(c, 32, |i| i, body).unwrap_or_else(|f| panic!("{f}\n{body}")).0).collect();
    assert!(all.iter().all(|y| *y == all[0]), "schedules differ: {body}");
    all[0][..32].to_vec()
}

pub(crate) fn configs() -> Vec<Config> {
    let mut list: Vec<Config> = [Schedule::Forward, Schedule::Reverse, Schedule::Random(7)]
        .map(|schedule| Config { schedule, ..Config::default() })
        .to_vec();
    list.push(Config { copies: Copies::Eager, counters: true, ..Config::default() });
    list
}

pub(crate) fn each(f: impl Fn(u32) -> u32) -> Vec<u32> {
    (0..32).map(f).collect()
}

pub(crate) const STORE: &str = "st.global.u32 [%rd4], %r9;";

#[test]
fn shuffles() {
    let shfl = |form: &str| warp(&format!("shfl.sync.{form}; {STORE}"));
    assert_eq!(shfl("up.b32 %r9, %r1, 3, 0, -1"), each(|i| if i >= 3 { i - 3 } else { i }));
    assert_eq!(shfl("down.b32 %r9, %r1, 3, 31, -1"), each(|i| if i + 3 < 32 { i + 3 } else { i }));
    assert_eq!(shfl("bfly.b32 %r9, %r1, 5, 31, -1"), each(|i| i ^ 5));
    assert_eq!(shfl("idx.b32 %r9, %r1, 7, 31, -1"), each(|_| 7));
    // Segments of 8 lanes: the mask of the segment is 32 − 8 in bits 8 to 12.
    assert_eq!(shfl("down.b32 %r9, %r1, 2, 0x181f, -1"), each(|i| if i % 8 < 6 { i + 2 } else { i }));
    assert_eq!(shfl("up.b32 %r9, %r1, 2, 0x1800, -1"), each(|i| if i % 8 >= 2 { i - 2 } else { i }));
    assert_eq!(shfl("idx.b32 %r9, %r1, 3, 0x181f, -1"), each(|i| i / 8 * 8 + 3));
    // The predicate tells whether the source was in range.
    let y = warp(&format!("shfl.sync.down.b32 %r8|%p1, %r1, 4, 31, -1; selp.u32 %r9, 1, 0, %p1; {STORE}"));
    assert_eq!(y, each(|i| (i < 28) as u32));
    // Half warps, each with its own mask, on two sides of a branch.
    let y = warp(&format!(
        "setp.lt.u32 %p1, %r1, 16; @%p1 bra A;
        shfl.sync.idx.b32 %r9, %r1, 20, 31, 0xffff0000; bra.uni B;
        A: shfl.sync.idx.b32 %r9, %r1, 5, 31, 0x0000ffff;
        B: {STORE}"
    ));
    assert_eq!(y, each(|i| if i < 16 { 5 } else { 20 }));
    // One instruction, two masks.
    let y = warp(&format!(
        "setp.lt.u32 %p1, %r1, 16; selp.b32 %r5, 0xffff, 0xffff0000, %p1; and.b32 %r6, %r1, 16;
        shfl.sync.idx.b32 %r9, %r1, %r6, 31, %r5; {STORE}"
    ));
    assert_eq!(y, each(|i| i & 16));
}

#[test]
fn votes_and_matches() {
    let vote = |p: &str, form: &str, get: &str| warp(&format!("setp.{p} %p1, %r1, 5; {form}; {get} {STORE}"));
    let flag = "selp.u32 %r9, 1, 0, %p2;";
    assert_eq!(vote("lt.u32", "vote.sync.ballot.b32 %r9, %p1, -1", ""), each(|_| 31));
    assert_eq!(vote("lt.u32", "vote.sync.any.pred %p2, %p1, -1", flag), each(|_| 1));
    assert_eq!(vote("lt.u32", "vote.sync.all.pred %p2, %p1, -1", flag), each(|_| 0));
    assert_eq!(vote("lt.u32", "vote.sync.all.pred %p2, !%p1, -1", flag), each(|_| 0));
    assert_eq!(vote("lt.u32", "vote.sync.uni.pred %p2, %p1, -1", flag), each(|_| 0));
    assert_eq!(vote("gt.u32", "vote.sync.uni.pred %p2, %p2, -1", "setp.eq.u32 %p2, 0, 0; selp.u32 %r9, 1, 0, %p2;").len(), 32);
    let y = warp(&format!("and.b32 %r5, %r1, 3; match.any.sync.b32 %r9, %r5, -1; {STORE}"));
    assert_eq!(y, each(|i| 0x1111_1111 << (i & 3)));
    let y = warp(&format!("shr.u32 %r5, %r1, 4; cvt.u64.u32 %rd6, %r5; match.any.sync.b64 %r9, %rd6, -1; {STORE}"));
    assert_eq!(y, each(|i| if i < 16 { 0xffff } else { 0xffff_0000 }));
    let y = warp(&format!("mov.u32 %r5, 9; match.all.sync.b32 %r9|%p1, %r5, -1; @!%p1 mov.u32 %r9, 1; {STORE}"));
    assert_eq!(y, each(|_| !0));
    let y = warp(&format!("match.all.sync.b32 %r9|%p1, %r1, -1; @%p1 mov.u32 %r9, 1; {STORE}"));
    assert_eq!(y, each(|_| 0));
}

#[test]
fn reductions_of_a_warp() {
    let redux = |form: &str| warp(&format!("sub.s32 %r5, %r1, 10; {form} %r9, %r5, -1; {STORE}"))[3] as i32;
    assert_eq!(redux("redux.sync.add.s32"), (0..32).map(|i| i - 10).sum::<i32>());
    assert_eq!((redux("redux.sync.min.s32"), redux("redux.sync.max.s32")), (-10, 21));
    assert_eq!((redux("redux.sync.min.u32"), redux("redux.sync.max.u32")), (0, -1));
    assert_eq!((redux("redux.sync.and.b32"), redux("redux.sync.or.b32")), (0, -1));
    assert_eq!(redux("redux.sync.xor.b32"), (0..32).fold(0, |s, i| s ^ (i - 10)));
    // In a branch, with the mask of those that are there.
    let y = warp(&format!(
        "mov.u32 %r9, 0; setp.ge.u32 %p1, %r1, 4; @%p1 bra A; activemask.b32 %r5; redux.sync.add.u32 %r9, %r1, %r5; A: {STORE}"
    ));
    assert_eq!(y, each(|i| if i < 4 { 6 } else { 0 }));
}

#[test]
fn barriers_of_a_block() {
    for c in configs() {
        // Words written by the other warp.
        for (bar, n) in
            [("bar.sync 0", 64), ("barrier.cta.sync.aligned 3", 64), ("barrier.sync 3, 64", 64), ("bar.cta.sync 1, 64", 64)]
        {
            let body = format!(
                "mov.u32 %r5, tile; shl.b32 %r6, %r1, 2; add.s32 %r7, %r5, %r6; st.shared.u32 [%r7], %r1; {bar};
                xor.b32 %r6, %r6, 128; add.s32 %r7, %r5, %r6; ld.shared.u32 %r9, [%r7]; {STORE}"
            );
            let (y, _) = run(&c, n, |i| i, &body).unwrap();
            assert_eq!(y[..64], (0..64).map(|i| i ^ 32).collect::<Vec<u32>>());
        }
        let red = |form: &str, get: &str| {
            let body = format!("setp.lt.u32 %p1, %r1, 40; {form}; {get} {STORE}");
            let (y, _) = run(&c, 64, |i| i, &body).unwrap_or_else(|f| panic!("{f}"));
            assert!(y[..64].iter().all(|v| *v == y[0]));
            y[0]
        };
        let flag = "selp.u32 %r9, 1, 0, %p2;";
        assert_eq!(red("bar.red.popc.u32 %r9, 0, %p1", ""), 40);
        assert_eq!(red("bar.red.popc.u32 %r9, 0, !%p1", ""), 24);
        assert_eq!(red("barrier.red.popc.aligned.u32 %r9, 0, 64, %p1", ""), 40);
        assert_eq!(red("bar.red.and.pred %p2, 1, %p1", flag), 0);
        assert_eq!(red("barrier.cta.red.or.pred %p2, 1, %p1", flag), 1);
    }
}

#[test]
fn carries() {
    // 64-bit arithmetic of halves.
    let y =
        warp(&format!("mov.u32 %r5, 0xfffffff0; add.cc.u32 %r6, %r5, %r1; addc.u32 %r7, %r1, 0; sub.u32 %r9, %r7, %r1; {STORE}"));
    assert_eq!(y, each(|i| (i >= 16) as u32));
    let y = warp(&format!("sub.cc.u32 %r6, %r1, 16; subc.cc.u32 %r7, %r1, %r1; subc.u32 %r9, 0, 0; {STORE}"));
    assert_eq!(y, each(|i| if i < 16 { !0 } else { 0 }));
    let y = warp(&format!("mov.u32 %r5, 0x80000000; mad.lo.cc.u32 %r6, %r1, %r5, %r5; madc.hi.u32 %r9, %r1, %r5, 0; {STORE}"));
    assert_eq!(y, each(|i| ((((i as u64) << 31) + (1 << 31)) >> 32) as u32));
    let y = warp(&format!("add.cc.u32 %r6, -1, 1; addc.cc.u32 %r7, -1, 0; addc.u32 %r9, 0, 0; {STORE}"));
    assert_eq!(y, each(|_| 1));
}

#[test]
fn loads_and_stores() {
    // Words to bytes and back, vectors, dropped components, widened registers.
    let body = "
        shl.b32 %r5, %r1, 4; mov.u32 %r6, tile; add.s32 %r6, %r6, %r5;
        st.shared.v4.u32 [%r6], {%r1, 0x80, 0x8001, 0xffffffff};
        ld.shared.s8 %r7, [%r6+4]; ld.shared.u8 %r8, [%r6+4]; ld.shared.s16 %r10, [%r6+8]; ld.shared.u16 %h1, [%r6+8];
        ld.shared.v4.b32 {%r11, _, %r12, _}, [%r6]; ld.shared::cta.v2.u32 {%r13, %r14}, [%r6+8]; ld.shared.s32 %rd6, [%r6+12];
        add.s32 %r9, %r7, %r8; add.s32 %r9, %r9, %r10; cvt.u32.u16 %r15, %h1; add.s32 %r9, %r9, %r15;
        add.s32 %r9, %r9, %r11; add.s32 %r9, %r9, %r12; add.s32 %r9, %r9, %r13; add.s32 %r9, %r9, %r14;
        cvt.u32.u64 %r15, %rd6; add.s32 %r9, %r9, %r15;";
    let y = warp(&format!("{body} {STORE}"));
    let sum = |i: u32| (-128i64 + 128 - 0x7fff + 0x8001 + i as i64 + 0x8001 + 0x8001 - 1 - 1) as u32;
    assert_eq!(y, each(sum));
    // Every cache and order modifier reads the same.
    for form in [
        "ld.global.u32",
        "ld.global.nc.u32",
        "ld.global.ca.u32",
        "ld.volatile.global.u32",
        "ld.relaxed.gpu.global.u32",
        "ld.acquire.sys.global.u32",
        "ld.global.nc.L1::no_allocate.L2::128B.u32",
        "ld.global.cs.u32",
        "ld.u32",
        "ldu.global.u32",
        "ld.weak.global.u32",
    ] {
        assert_eq!(warp(&format!("{form} %r9, [%rd3]; {STORE}")), each(|i| i), "{form}");
    }
    for form in [
        "st.global.u32",
        "st.volatile.global.u32",
        "st.global.cs.u32",
        "st.relaxed.gpu.global.u32",
        "st.release.gpu.global.u32",
        "st.u32",
        "st.global.wt.u32",
    ] {
        assert_eq!(warp(&format!("add.s32 %r9, %r1, 7; {form} [%rd4], %r9;")), each(|i| i + 7), "{form}");
    }
    assert_eq!(warp(&format!("prefetch.global.L2 [%rd3]; nanosleep.u32 20; mov.u32 %r9, 1; {STORE}")), each(|_| 1));
    // Generic addresses, of two spaces at once.
    let y = warp(&format!(
        "mov.u64 %rd6, tile; cvta.shared.u64 %rd7, %rd6; add.s64 %rd7, %rd7, %rd5; st.u32 [%rd7], 99; st.shared::cta.u32 [tile+1024], 0;
        and.b32 %r5, %r1, 1; setp.eq.u32 %p1, %r5, 0; selp.b64 %rd8, %rd3, %rd7, %p1; ld.u32 %r9, [%rd8]; {STORE}"
    ));
    assert_eq!(y, each(|i| if i % 2 == 0 { i } else { 99 }));
    // 64 bits in local memory, per lane.
    let y = warp(&format!(
        ".local .align 8 .b8 depot[64]; mov.u64 %rd6, depot; and.b32 %r5, %r1, 7; mul.wide.u32 %rd7, %r5, 8; add.s64 %rd6, %rd6, %rd7;
        cvt.u64.u32 %rd8, %r1; shl.b64 %rd9, %rd8, 33; st.local.u64 [%rd6], %rd9; ld.local.u64 %rd10, [%rd6]; shr.u64 %rd10, %rd10, 32;
        cvt.u32.u64 %r9, %rd10; {STORE}"
    ));
    assert_eq!(y, each(|i| 2 * i));
    // Early exit, and a branch on a negated predicate.
    let y = warp(&format!(
        "mov.u32 %r9, 1; {STORE} setp.lt.u32 %p1, %r1, 8; @%p1 exit; @!%p1 bra A; bra.uni DONE; A: mov.u32 %r9, 2; {STORE}"
    ));
    assert_eq!(y, each(|i| if i < 8 { 1 } else { 2 }));
    assert_eq!(run(&Config::default(), 32, |i| i, "brkpt;").unwrap_err().kind.name(), "trap");
}

#[test]
fn special_registers() {
    for (name, value) in [
        ("%laneid", each(|i| i)),
        ("%warpid", each(|_| 0)),
        ("%ntid.x", each(|_| 32)),
        ("%tid.y", each(|_| 0)),
        ("%ctaid.z", each(|_| 0)),
        ("%nctaid.x", each(|_| 1)),
        ("%lanemask_eq", each(|i| 1 << i)),
        ("%lanemask_lt", each(|i| (1 << i) - 1)),
        ("%lanemask_le", each(|i| ((2u64 << i) - 1) as u32)),
        ("%lanemask_gt", each(|i| !((2u64 << i) - 1) as u32)),
        ("%lanemask_ge", each(|i| !((1u32 << i) - 1))),
        ("%total_smem_size", each(|_| 0)),
    ] {
        assert_eq!(warp(&format!("mov.u32 %r9, {name}; {STORE}")), value, "{name}");
    }
    let y = warp(&format!(
        "mov.u64 %rd6, %clock64; mov.u64 %rd7, %clock64; setp.gt.u64 %p1, %rd7, %rd6; selp.u32 %r9, 1, 0, %p1; {STORE}"
    ));
    assert_eq!(y, each(|_| 1));
}

#[test]
fn atomics() {
    // 32 lanes on word 0 of x, which holds 100; the old values are a permutation, and the end is known.
    let end = |form: &str, operand: &str| {
        let mut ends: Vec<u32> = Vec::new();
        for c in configs() {
            let body = format!("cvt.rn.f32.u32 %f1, %r1; {form} %r9, [%rd1], {operand}; {STORE}");
            ends.push(run(&c, 32, |_| 100, &body).unwrap_or_else(|f| panic!("{form}: {f}")).1[0]);
        }
        ends.dedup();
        assert_eq!(ends.len(), 1, "{form}");
        ends[0]
    };
    assert_eq!(end("atom.global.add.u32", "%r1"), 100 + 496);
    assert_eq!(end("atom.add.u32", "2"), 164);
    assert_eq!(end("atom.relaxed.gpu.global.add.s32", "-1"), 68);
    assert_eq!(end("atom.global.min.u32", "%r1"), 0);
    assert_eq!(end("atom.global.max.s32", "%r1"), 100);
    assert_eq!(end("atom.global.inc.u32", "110"), (100 + 32 - 111));
    assert_eq!(end("atom.global.dec.u32", "200"), 68);
    assert_eq!(end("atom.global.and.b32", "0x64"), 100);
    assert_eq!(end("atom.global.or.b32", "1"), 101);
    assert_eq!(end("atom.global.xor.b32", "%r1"), 100);
    assert_eq!(end("atom.global.exch.b32", "7"), 7);
    let one = |body: &str, init: u32| run(&Config::default(), 32, |_| init, body).unwrap_or_else(|f| panic!("{body}: {f}"));
    // Compare and swap: the first lane finds 100.
    let (y, x) = one(&format!("add.s32 %r8, %r1, 1; atom.global.cas.b32 %r9, [%rd1], 100, %r8; {STORE}"), 100);
    assert_eq!((x[0], y[0], y[1]), (1, 100, 1));
    let (_, x) = one("mov.u16 %h1, 100; mov.u16 %h2, 5; atom.global.cas.b16 %h3, [%rd1], %h1, %h2;", 100);
    assert_eq!(x[0], 5);
    let (y, x) = one(&format!("mov.f32 %f1, 0f3F000000; atom.global.add.f32 %f2, [%rd1], %f1; mov.b32 %r9, %f2; {STORE}"), 0);
    assert_eq!((f32::from_bits(x[0]), f32::from_bits(y[31])), (16.0, 15.5));
    let (_, x) =
        one("red.global.add.f32 [%rd1], 0f3F800000; red.add.u32 [%rd1+4], 1; red.release.gpu.global.max.u32 [%rd1+8], %r1;", 0);
    assert_eq!((f32::from_bits(x[0]), x[1], x[2]), (32.0, 32, 31));
    let (_, x) = one("mov.f64 %d1, 0d3FE0000000000000; atom.global.add.f64 %d2, [%rd1], %d1;", 0);
    assert_eq!(f64::from_bits((x[1] as u64) << 32 | x[0] as u64), 16.0);
    let (_, x) = one("mov.u64 %rd6, 0x100000001; atom.global.add.u64 %rd7, [%rd1], %rd6;", 0);
    assert_eq!(x[..2], [32, 32]);
    let (_, x) = one("mov.b32 %r5, 0x3c004000; atom.global.add.noftz.f16x2 %r6, [%rd1], %r5;", 0);
    assert_eq!(x[0], 0x5000_5400);
    let (_, x) = one("mov.b32 %r5, 0x3f804000; red.global.add.noftz.bf16x2 [%rd1], %r5;", 0);
    assert_eq!(x[0], 0x4200_4280);
    let (_, x) = one("mov.b16 %h1, 0x3c00; atom.global.add.noftz.f16 %h2, [%rd1], %h1;", 0);
    assert_eq!(x[0], 0x5000);
    // Shared memory, then a fence and a read by all.
    let y = warp(&format!(
        "setp.eq.u32 %p1, %r1, 0; @%p1 st.shared.u32 [tile], 0; bar.sync 0; atom.shared.add.u32 %r5, [tile], 1; membar.cta; membar.gl;
        fence.acq_rel.gpu; fence.sc.cta; bar.warp.sync -1; ld.shared.u32 %r9, [tile]; {STORE}"
    ));
    assert_eq!(y, each(|_| 32));
}

#[test]
fn asynchronous_copies() {
    let read = format!("shl.b32 %r6, %r1, 2; add.s32 %r7, %r5, %r6; ld.shared.u32 %r9, [%r7]; {STORE}");
    // 4, 8 and 16 bytes a lane; lanes beyond the data copy nothing and fill with zeros.
    for (kind, bytes) in [("ca", 4), ("ca", 8), ("ca", 16), ("cg", 16)] {
        let lanes = 128 / bytes;
        let y = warp(&format!(
            "mov.u32 %r5, tile; mul.lo.u32 %r6, %r1, {bytes}; add.s32 %r7, %r5, %r6; mul.wide.u32 %rd6, %r1, {bytes}; add.s64 %rd6, %rd1, %rd6;
            setp.lt.u32 %p1, %r1, {lanes}; @%p1 cp.async.{kind}.shared.global [%r7], [%rd6], {bytes};
            cp.async.commit_group; cp.async.wait_group 0; bar.sync 0; {read}"
        ));
        assert_eq!(y, each(|i| i), "{kind} {bytes}");
    }
    let y = warp(&format!(
        "mov.u32 %r5, tile; shl.b32 %r6, %r1, 4; add.s32 %r7, %r5, %r6; mul.wide.u32 %rd6, %r1, 16; add.s64 %rd6, %rd1, %rd6;
        setp.lt.u32 %p1, %r1, 3; selp.b32 %r8, 16, 0, %p1; setp.eq.u32 %p2, %r1, 3; selp.b32 %r8, 8, %r8, %p2;
        cp.async.cg.shared.global.L2::128B [%r7], [%rd6], 16, %r8; cp.async.wait_all; bar.sync 0; {read}"
    ));
    assert_eq!(y, each(|i| if i < 14 { i } else { 0 }));
    // Two groups in flight; waiting for all but one makes the first visible, and the second not.
    let two = |wait: &str| {
        format!(
            "mov.u32 %r5, tile; shl.b32 %r6, %r1, 2; add.s32 %r7, %r5, %r6; cp.async.ca.shared.global [%r7], [%rd3], 4; cp.async.commit_group;
            cp.async.ca.shared.global [%r7+128], [%rd3+128], 4; cp.async.commit_group; {wait}
            ld.shared.u32 %r9, [%r7]; {STORE}"
        )
    };
    assert_eq!(warp(&two("cp.async.wait_group 1;")), each(|i| i));
    for wait in ["", "cp.async.wait_group 2;"] {
        let f = run(&Config::default(), 32, |i| i, &two(wait)).unwrap_err();
        assert!(["uninitialised", "race"].contains(&f.kind.name()), "a missing wait gave {f}");
        let eager =
            Config { copies: Copies::Eager, checks: Checks { race: false, ..Config::default().checks }, ..Config::default() };
        assert_eq!(run(&eager, 32, |i| i, &two(wait)).unwrap().0[..32], each(|i| i));
    }
    // Checks of the source and of the destination.
    let f =
        run(&Config::default(), 32, |i| i, "mov.u32 %r5, tile; cp.async.ca.shared.global [%r5], [%rd3+4092], 4;").unwrap_err();
    assert_eq!(f.kind.name(), "out-of-bounds");
    let f = run(&Config::default(), 32, |i| i, "mov.u32 %r5, tile; cp.async.cg.shared.global [%r5+8], [%rd1], 16;").unwrap_err();
    assert_eq!(f.kind.name(), "misaligned");
}

/// 64 times, thread 0 of each of two warps adds 1 to a word without an atomic. Warps that run until they wait lose nothing; a
/// random schedule stops them between a load and its store.
#[test]
fn random_schedules_stop_warps_at_plain_accesses() {
    let plain = ("ld.global.u32 %r7, [%rd2];", "st.global.u32 [%rd2], %r7;");
    let matrix = ("ldmatrix.sync.aligned.m8n8.x1.shared.b16 {%r7}, [%r5];", "st.shared.u32 [%r5], %r7;");
    for (load, store) in [plain, matrix] {
        let body = format!(
            "mov.u32 %r5, tile; mov.u32 %r6, 0; setp.eq.u32 %p3, %r1, 0; @%p3 st.shared.v4.u32 [%r5], {{%r6,%r6,%r6,%r6}}; bar.sync 0;
            and.b32 %r8, %r1, 31; setp.eq.u32 %p1, %r8, 0;
            LOOP: {load} add.u32 %r7, %r7, 1; @%p1 {store} add.u32 %r6, %r6, 1; setp.lt.u32 %p2, %r6, 64; @%p2 bra LOOP;
            bar.sync 0; @!%p3 bra DONE; {load_again} st.global.u32 [%rd2], %r7;",
            load_again = if load == plain.0 { plain.0 } else { "ld.shared.u32 %r7, [%r5];" },
        );
        let count = |schedule| {
            let checks = Checks { race: false, ..Config::default().checks };
            run(&Config { schedule, checks, ..Config::default() }, 64, |i| i, &body).unwrap().0[0]
        };
        assert_eq!((count(Schedule::Forward), count(Schedule::Reverse)), (128, 128), "{load}");
        let random = count(Schedule::Random(7));
        assert!((64..128).contains(&random), "{load}: {random}");
    }
}

/// A row-major matrix of small integers, as 16-bit elements two to a word: words of a row one behind the other.
fn small(i: usize, k: usize) -> f32 {
    ((i * 7 + k * 3) % 9) as f32 - 4.0
}

#[test]
fn matrices_from_shared_memory() {
    // Tile: row r (16 bytes) of matrix m at 128·m + 16·r, element c = 256·m + 16·r + c.
    let fill = "mov.u32 %r5, tile; shl.b32 %r6, %r1, 4; add.s32 %r7, %r5, %r6;
        cvt.u64.u32 %rd6, %r6; add.s64 %rd6, %rd1, %rd6; ld.global.v4.u32 {%r10,%r11,%r12,%r13}, [%rd6];
        st.shared.v4.u32 [%r7], {%r10,%r11,%r12,%r13}; bar.sync 0;";
    let element = |m: u32, r: u32, c: u32| 64 * m + 8 * r + c;
    let init = |w: u32| {
        let (m, r, c) = (w / 32, w / 4 % 8, w % 4 * 2);
        element(m, r, c) | element(m, r, c + 1) << 16
    };
    for (form, n, trans) in [
        ("ldmatrix.sync.aligned.m8n8.x4.shared.b16", 4, false),
        ("ldmatrix.sync.aligned.m8n8.x2.shared.b16", 2, false),
        ("ldmatrix.sync.aligned.m8n8.x1.trans.shared.b16", 1, true),
        ("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16", 4, true),
        ("ldmatrix.sync.aligned.x4.trans.m8n8.shared.b16", 4, true),
    ] {
        let regs = &["{%r20}", "{%r20,%r21}", "", "{%r20,%r21,%r22,%r23}"][n - 1];
        for k in 0..n {
            let body = format!("{fill} {form} {regs}, [%r7]; mov.u32 %r9, %r{}; {STORE}", 20 + k);
            for c in configs() {
                let (y, _) = run(&c, 32, init, &body).unwrap_or_else(|f| panic!("{f}"));
                let want = each(|lane| {
                    let (r, c) = (lane / 4, lane % 4 * 2);
                    let at = |c| if trans { element(k as u32, c, r) } else { element(k as u32, r, c) };
                    at(c) | at(c + 1) << 16
                });
                assert_eq!(y[..32], want, "{form} matrix {k}");
            }
        }
    }
}

#[test]
fn matrix_products() {
    let f16 = |x: f32| num::half::narrow(x.to_bits(), num::half::Half::F16, num::Round::Nearest);
    let bf16 = |x: f32| x.to_bits() >> 16;
    for (form, k, wide, half_sum) in [
        ("mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32", 8, 0, false),
        ("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32", 16, 0, false),
        ("mma.sync.aligned.m16n8k16.row.col.f16.f16.f16.f16", 16, 0, true),
        ("mma.sync.aligned.m16n8k8.row.col.f16.f16.f16.f16", 8, 0, true),
        ("mma.sync.aligned.m16n8k8.row.col.f32.bf16.bf16.f32", 8, 1, false),
        ("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32", 16, 1, false),
        ("mma.sync.aligned.m16n8k4.row.col.f32.tf32.tf32.f32", 4, 2, false),
        ("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32", 8, 2, false),
    ] {
        // Fragments, made on the host by the layout of the ISA: word 32·r + lane of x is register r.
        let per = if wide == 2 { 1 } else { 2 };
        let (na, nb, nc) = (16 * k / 32 / per, 8 * k / 32 / per, if half_sum { 2 } else { 4 });
        let bits = |x: f32| match wide {
            0 => f16(x),
            1 => bf16(x),
            _ => x.to_bits(),
        };
        let init = |w: u32| {
            let (r, lane) = (w as usize / 32, w as usize % 32);
            if r < na {
                return if wide == 2 {
                    let (i, k) = matrix::a32(lane, r);
                    bits(small(i, k))
                } else {
                    let at = |h| {
                        let (i, k) = matrix::a16(lane, r, h);
                        bits(small(i, k))
                    };
                    at(0) | at(1) << 16
                };
            }
            if r < na + nb {
                let r = r - na;
                return if wide == 2 {
                    let (k, j) = matrix::b32(lane, r);
                    bits(small(j + 5, k))
                } else {
                    let at = |h| {
                        let (k, j) = matrix::b16(lane, r, h);
                        bits(small(j + 5, k))
                    };
                    at(0) | at(1) << 16
                };
            }
            if half_sum { f16(1.0) * 0x10001 } else { 1f32.to_bits() }
        };
        let loads: String = (0..na + nb + nc).map(|r| format!("ld.global.u32 %r{}, [%rd3+{}];", 10 + r, 128 * r)).collect();
        let list = |from: usize, n: usize| {
            let regs: Vec<String> = (from..from + n).map(|r| format!("%r{}", 10 + r)).collect();
            format!("{{{}}}", regs.join(","))
        };
        let (a, b, c) = (list(0, na), list(na, nb), list(na + nb, nc));
        let stores: String = (0..nc).map(|r| format!("st.global.u32 [%rd4+{}], %r{};", 128 * r, 10 + na + nb + r)).collect();
        for tensor in [Tensor::Ideal, Tensor::Ampere, Tensor::Hopper] {
            let config = Config { tensor, ..Config::default() };
            let (y, _) = run(&config, 32, init, &format!("{loads} {form} {c}, {a}, {b}, {c}; {stores}"))
                .unwrap_or_else(|f| panic!("{form}: {f}"));
            let mut seen = 0;
            for lane in 0..32 {
                for r in 0..nc {
                    let word = y[32 * r + lane];
                    let mut check = |(i, j): (usize, usize), got: f32| {
                        let want = 1.0 + (0..k).map(|k| small(i, k) * small(j + 5, k)).sum::<f32>();
                        assert_eq!(got, want, "{form} {tensor:?}: row {i}, column {j}");
                        seen += 1;
                    };
                    if half_sum {
                        for h in 0..2 {
                            let half = num::half::widen(word >> (16 * h) & 0xffff, num::half::Half::F16);
                            check(matrix::c16(lane, r, h), f32::from_bits(half));
                        }
                    } else {
                        check(matrix::c32(lane, r), f32::from_bits(word));
                    }
                }
            }
            assert_eq!(seen, 128);
        }
    }
}

#[test]
fn divergence_meets_again() {
    // A loop that lanes leave one after the other, a barrier behind it, and the counts.
    for c in configs() {
        let body = format!(
            "mov.u32 %r9, 0; L: setp.ge.u32 %p1, %r9, %r1; @%p1 bra OUT; add.s32 %r9, %r9, 1; bra.uni L; OUT: bar.sync 0; bar.warp.sync -1; {STORE}"
        );
        let (y, _) = run(&c, 64, |i| i, &body).unwrap();
        assert_eq!(y[..64], (0..64).collect::<Vec<u32>>());
        // One warp waits for a flag that the other sets.
        let body = format!(
            "setp.ge.u32 %p1, %r1, 32; @%p1 bra SET;
            WAIT: ld.volatile.global.u32 %r5, [%rd1+2048]; setp.eq.u32 %p2, %r5, 512; @%p2 bra WAIT; mov.u32 %r9, 5; {STORE} bra.uni DONE;
            SET: setp.eq.u32 %p3, %r1, 32; @%p3 atom.global.exch.b32 %r6, [%rd1+2048], 1;"
        );
        let c = Config { checks: Checks { race: false, ..c.checks }, ..c };
        assert_eq!(run(&c, 64, |i| i, &body).unwrap().0[..32], each(|_| 5));
    }
}
