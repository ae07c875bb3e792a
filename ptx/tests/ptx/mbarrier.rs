//! Barriers in shared memory, and what the system provides to kernels: printf, malloc, free.

use lae_ptx::*;

use crate::warp::{configs, each, run};

/// The head of a body with an mbarrier `bar` at %r20 for `count` threads, initialised by thread 0.
fn with_barrier(count: u32, body: &str) -> String {
    format!(
        ".shared .align 8 .b64 bar; mov.u32 %r20, bar; setp.eq.u32 %p7, %r1, 0; mov.u32 %r21, tile; mad.lo.u32 %r22, %r1, 4, %r21;
        @%p7 mbarrier.init.shared::cta.b64 [%r20], {count}; bar.sync 0;
        {body}"
    )
}

/// What all configurations give for y, on `threads` threads.
fn all(threads: u32, body: &str) -> Vec<u32> {
    let list: Vec<_> =
        configs().iter().map(|c| run(c, threads, |i| i, body).unwrap_or_else(|f| panic!("{f}\n{body}")).0).collect();
    list.iter().for_each(|y| assert_eq!(*y, list[0]));
    list[0].clone()
}

fn fault(threads: u32, body: &str) -> Fault {
    let kinds: Vec<_> = configs().iter().map(|c| run(c, threads, |i| i, body).expect_err(body)).collect();
    kinds.iter().for_each(|f| assert_eq!(f.kind.name(), kinds[0].kind.name(), "{f}"));
    kinds[0].clone()
}

/// Asserts that every configuration finds what is unordered: as a race, or, where the reader comes first, as something that was
/// not written yet.
fn unordered(threads: u32, body: &str) {
    for c in configs() {
        let f = run(&c, threads, |i| i, body).expect_err(body);
        assert!(matches!(f.kind.name(), "race" | "uninitialised" | "mbarrier"), "{f}\n{body}");
    }
}

/// Spins until the phase of the state %rd8 has ended, as libcu++ does on sm_80.
const SPIN: &str = "SPIN: mbarrier.test_wait.shared.b64 %p1, [%r20], %rd8; @!%p1 bra SPIN;";

#[test]
fn a_barrier_of_the_block() {
    for wait in [
        SPIN,
        "mbarrier.try_wait.shared::cta.b64 %p1, [%r20], %rd8;",
        "mbarrier.try_wait.parity.acquire.cta.shared::cta.b64 %p1, [%r20], 0, 1000;",
    ] {
        let body = with_barrier(
            96,
            &format!(
                "st.shared.u32 [%r22], %r1; st.global.u32 [%rd3], %r1; mbarrier.arrive.shared.b64 %rd8, [%r20]; {wait}
                xor.b32 %r5, %r1, 33; min.u32 %r5, %r5, 95; mad.lo.u32 %r6, %r5, 4, %r21; ld.shared.u32 %r9, [%r6];
                mad.wide.u32 %rd9, %r5, 4, %rd1; ld.global.u32 %r8, [%rd9]; mad.lo.u32 %r9, %r9, 1000, %r8; st.global.u32 [%rd4], %r9;"
            ),
        );
        let y = all(96, &body);
        assert_eq!(y[..96], (0..96).map(|i: u32| (i ^ 33).min(95) * 1001).collect::<Vec<_>>()[..]);
        unordered(96, &body.replace(wait, ""));
    }
}

#[test]
fn phases_follow_each_other() {
    // Four rounds: each thread reads what its neighbour in another warp wrote in the round before.
    let body = with_barrier(
        64,
        "mov.u32 %r10, 0; mov.u32 %r9, %r1; xor.b32 %r5, %r1, 32; mad.lo.u32 %r6, %r5, 4, %r21;
        ROUND: st.shared.u32 [%r22], %r9; mbarrier.arrive.shared.b64 %rd8, [%r20];
        A: mbarrier.test_wait.shared.b64 %p1, [%r20], %rd8; @!%p1 bra A;
        ld.shared.u32 %r9, [%r6]; add.u32 %r9, %r9, 100; mbarrier.arrive.shared.b64 _, [%r20];
        B: mbarrier.test_wait.parity.shared.b64 %p1, [%r20], 1; @!%p1 bra B;
        add.u32 %r10, %r10, 1; setp.lt.u32 %p2, %r10, 4; @%p2 bra ROUND; st.global.u32 [%rd4], %r9;",
    );
    let y = all(64, &body);
    assert_eq!(y[..64], (0..64).map(|i| i + 400).collect::<Vec<_>>()[..]);
    // One wait less: the next round overwrites what the neighbour still reads.
    assert_eq!(fault(64, &body.replace("@!%p1 bra B", "")).kind.name(), "race");
}

#[test]
fn producers_and_consumers() {
    // Warp 0 fills, warp 1 empties; a full and an empty barrier, two rounds.
    let body = |full: &str| {
        format!(
            ".shared .align 8 .b64 full; .shared .align 8 .b64 empty; mov.u32 %r20, full; mov.u32 %r19, empty; mov.u32 %r21, tile;
            setp.eq.u32 %p7, %r1, 0; @%p7 mbarrier.init.shared.b64 [%r20], 32; @%p7 mbarrier.init.shared.b64 [%r19], 32; bar.sync 0;
            and.b32 %r5, %r1, 31; mad.lo.u32 %r22, %r5, 4, %r21; mov.u32 %r10, 0; mov.u32 %r9, 0;
            setp.ge.u32 %p6, %r1, 32; @%p6 bra CONSUME;
            PRODUCE: and.b32 %r11, %r10, 1; xor.b32 %r12, %r11, 1; mbarrier.try_wait.parity.shared.b64 %p1, [%r19], %r12;
            mad.lo.u32 %r13, %r10, 100, %r5; st.shared.u32 [%r22], %r13; {full}
            add.u32 %r10, %r10, 1; setp.lt.u32 %p2, %r10, 3; @%p2 bra PRODUCE; bra.uni DONE;
            CONSUME: and.b32 %r11, %r10, 1; mbarrier.try_wait.parity.shared.b64 %p1, [%r20], %r11;
            xor.b32 %r14, %r5, 1; mad.lo.u32 %r14, %r14, 4, %r21; ld.shared.u32 %r13, [%r14]; add.u32 %r9, %r9, %r13;
            mbarrier.arrive.release.cta.shared.b64 _, [%r19];
            add.u32 %r10, %r10, 1; setp.lt.u32 %p2, %r10, 3; @%p2 bra CONSUME; st.global.u32 [%rd4], %r9;"
        )
    };
    let arrive = "mbarrier.arrive.release.cta.shared.b64 _, [%r20];";
    let y = all(64, &body(arrive));
    assert_eq!(y[32..64], each(|i| 3 * (i ^ 1) + 300)[..]);
    // A relaxed arrival publishes nothing.
    assert_eq!(fault(64, &body("mbarrier.arrive.relaxed.cta.shared.b64 _, [%r20];")).kind.name(), "race");
    // Nobody says that it is full: the deadlock names the barrier and what is missing.
    let f = fault(64, &body(""));
    assert_eq!(f.kind.name(), "deadlock", "{f}");
    assert!(f.to_string().contains("for the mbarrier at `full` + 0 (32 arrivals are missing)"), "{f}");
}

#[test]
fn counts() {
    let one = |body: &str| {
        all(32, &with_barrier(5, &format!("setp.ne.u32 %p1, %r1, 0; @%p1 bra DONE; {body} st.global.u32 [%rd4], %r9;")))[0]
    };
    // The state says what was missing before the arrival.
    let get = "mbarrier.pending_count.b64 %r9, %rd8;";
    assert_eq!(one(&format!("mbarrier.arrive.shared.b64 %rd8, [%r20]; {get}")), 5);
    assert_eq!(
        one(&format!("mbarrier.arrive.noComplete.shared.b64 %rd8, [%r20], 3; mbarrier.arrive.shared.b64 %rd8, [%r20]; {get}")),
        2
    );
    // Whoever drops out is not waited for in the next phase.
    let drop = "mbarrier.arrive_drop.shared.b64 _, [%r20]; mbarrier.arrive.shared::cta.b64 _, [%r20], 4;";
    assert_eq!(one(&format!("{drop} mbarrier.arrive.shared.b64 %rd8, [%r20]; {get}")), 4);
    assert_eq!(
        one(&format!("mbarrier.arrive_drop.noComplete.shared.b64 _, [%r20], 2; mbarrier.arrive.shared.b64 %rd8, [%r20]; {get}")),
        3
    );
    // Bytes are waited for as well.
    let is = |parity: u32| format!("mbarrier.test_wait.parity.shared.b64 %p2, [%r20], {parity}; selp.u32 %r9, 1, 0, %p2;");
    let bytes = "mbarrier.arrive.expect_tx.shared::cta.b64 %rd8, [%r20], 16; mbarrier.arrive.shared::cta.b64 _, [%r20], 4;";
    assert_eq!(one(&format!("{bytes} {}", is(0))), 0);
    let came = "mbarrier.complete_tx.relaxed.cta.shared::cta.b64 [%r20], 16;";
    assert_eq!(one(&format!("{bytes} {came} {}", is(0))), 1);
    assert_eq!(one(&format!("mbarrier.expect_tx.relaxed.cta.shared::cta.b64 [%r20], 8; {came} {}", is(0))), 0);
    assert_eq!(one(&format!("mbarrier.arrive_drop.expect_tx.shared::cta.b64 %rd8, [%r20], 16; {came} {}", is(0))), 0);
    // The phase before the first counts as over.
    assert_eq!(one(&is(1)), 1);
    assert_eq!(
        one(
            "mbarrier.inval.shared.b64 [%r20]; mbarrier.init.shared.b64 [%r20], 2; mbarrier.arrive.shared.b64 %rd8, [%r20]; mbarrier.pending_count.b64 %r9, %rd8;"
        ),
        2
    );
}

#[test]
fn misuse() {
    let one = |body: &str| fault(32, &with_barrier(2, &format!("setp.ne.u32 %p1, %r1, 0; @%p1 bra DONE; {body}")));
    for (body, words) in [
        ("mbarrier.arrive.shared.b64 %rd8, [%r20+8];", "was not initialised"),
        ("mbarrier.init.shared.b64 [%r20], 0;", "0 arrivals; it must be 1 to"),
        ("mbarrier.init.shared.b64 [%r20], 1;", "was initialised already"),
        ("mbarrier.inval.shared.b64 [%r20]; mbarrier.arrive.shared.b64 %rd8, [%r20];", "was not initialised"),
        ("st.shared.u64 [%r20], 5; mbarrier.arrive.shared.b64 %rd8, [%r20];", "something else was written there"),
        ("mbarrier.arrive.shared::cta.b64 %rd8, [%r20], 3;", "3 arrivals at once, where 2 are missing"),
        ("mbarrier.arrive.noComplete.shared.b64 %rd8, [%r20], 2;", "completes the phase"),
        ("mov.b64 %rd8, 7; mbarrier.test_wait.shared.b64 %p2, [%r20], %rd8;", "no state of an mbarrier"),
    ] {
        let f = one(body);
        assert!(f.kind.name() == "mbarrier" && f.to_string().contains(words), "{body}: {f}");
    }
    assert_eq!(one("mbarrier.arrive.shared.b64 %rd8, [%r20+4];").kind.name(), "misaligned");
    assert_eq!(one("mbarrier.arrive.b64 %rd8, [%rd1];").kind.name(), "operand");
    // The first thread may not have initialised it yet.
    unordered(64, &with_barrier(64, "mbarrier.arrive.shared.b64 %rd8, [%r20];").replace("bar.sync 0;", ""));
}

#[test]
fn copies_arrive_at_barriers() {
    let body = |arrive: &str, count: u32, wait: &str| {
        with_barrier(
            count,
            &format!(
                "cp.async.ca.shared.global [%r22], [%rd3], 4; {arrive} {wait}
                xor.b32 %r5, %r1, 33; mad.lo.u32 %r6, %r5, 4, %r21; ld.shared.u32 %r9, [%r6]; st.global.u32 [%rd4], %r9;"
            ),
        )
    };
    let wait = "SPIN: mbarrier.test_wait.parity.shared.b64 %p1, [%r20], 0; @!%p1 bra SPIN;";
    let own = "mbarrier.arrive.shared.b64 _, [%r20];";
    // Counted: one arrival for each thread. Not counted: each thread arrives for itself as well.
    let counted = "cp.async.mbarrier.arrive.noinc.shared.b64 [%r20];";
    let plain = format!("cp.async.mbarrier.arrive.shared.b64 [%r20]; {own}");
    let both = format!("{counted} {own}");
    for (arrive, count) in [(counted, 64), (plain.as_str(), 64), (both.as_str(), 128)] {
        let y = all(64, &body(arrive, count, wait));
        assert_eq!(y[..64], (0..64).map(|i| i ^ 33).collect::<Vec<_>>()[..], "{arrive}");
        unordered(64, &body(arrive, count, ""));
    }
    // An arrival that does not wait for the copies does not cover them.
    let f = run(&Config::default(), 64, |i| i, &body(own, 64, wait)).unwrap_err();
    assert!(matches!(f.kind.name(), "race" | "uninitialised"), "{f}");
    // A thread's own copy is not there before the wait either.
    let own = body(counted, 32, "").replace("xor.b32 %r5, %r1, 33", "mov.u32 %r5, %r1");
    let late = Config::default();
    assert!(matches!(run(&late, 32, |i| i, &own).unwrap_err().kind.name(), "uninitialised" | "race"));
}

#[test]
fn named_barriers_order_global_memory() {
    // Two warps of three meet at a barrier of 64 threads and exchange a word through global memory.
    let body = |barrier: &str| {
        format!(
            "setp.ge.u32 %p1, %r1, 64; @%p1 bra DONE; st.global.u32 [%rd3], %r1; {barrier}
            xor.b32 %r5, %r1, 32; mad.wide.u32 %rd9, %r5, 4, %rd1; ld.global.u32 %r9, [%rd9]; st.global.u32 [%rd4], %r9;"
        )
    };
    let y = all(96, &body("bar.sync 1, 64;"));
    assert_eq!(y[..64], (0..64).map(|i| i ^ 32).collect::<Vec<_>>()[..]);
    assert_eq!(fault(96, &body("")).kind.name(), "race");
}

/// Module with what nvcc declares for calls to the system.
fn system(body: &str) -> Module {
    let text = format!(
        ".version 8.0\n.target sm_80\n.address_size 64
        .extern .func (.param .b32 r) vprintf(.param .b64 f, .param .b64 a);
        .extern .func (.param .b64 r) malloc(.param .b64 n);
        .extern .func free(.param .b64 p);
        .extern .func __assertfail(.param .b64 a, .param .b64 b, .param .b32 c, .param .b64 d, .param .b64 e);
        .global .align 1 .b8 fmt[32] = {{116, 32, 37, 100, 32, 37, 46, 50, 102, 32, 37, 115, 32, 37, 108, 108, 120, 10, 0}};
        .global .align 1 .b8 str[4] = {{97, 98, 99, 0}};
        .visible .entry k(.param .u64 y) {{
        .local .align 8 .b8 args[32]; .reg .pred %p<4>; .reg .b32 %r<9>; .reg .b64 %rd<9>; .reg .f64 %d<2>;
        ld.param.u64 %rd1, [y]; mov.u32 %r1, %tid.x;
        {body}
        DONE: ret; }}"
    );
    Module::parse("system.ptx", &text).unwrap_or_else(|e| panic!("{e}"))
}

fn launch(m: &mut Machine, module: &Module, y: u64) -> Result<Report, Fault> {
    let args = vec![Arg::Update { addr: y, len: 256 }];
    m.launch(module, "k", &Launch { grid: [1; 3], block: [4, 1, 1], shared: 0, args, ..Launch::default() })
}

fn machine() -> (Machine, u64) {
    let mut m = Machine::new(Config { counters: true, ..Config::default() });
    let y = m.alloc("y", 256);
    m.write(y, &[0; 256]).unwrap();
    (m, y)
}

const MALLOC: &str = "{ .param .b64 n; .param .b64 r; st.param.b64 [n], 16; call.uni (r), malloc, (n); ld.param.b64 %rd3, [r]; }";
const FREE: &str = "{ .param .b64 p; st.param.b64 [p], %rd3; call.uni free, (p); }";

#[test]
fn printf() {
    let body = "mov.u64 %rd2, args; cvta.local.u64 %rd3, %rd2; cvt.rn.f64.u32 %d1, %r1; st.local.u32 [args], %r1; st.local.f64 [args+8], %d1;
        mov.u64 %rd4, str; cvta.global.u64 %rd4, %rd4; st.local.u64 [args+16], %rd4; mov.b64 %rd5, -1; st.local.u64 [args+24], %rd5;
        mov.u64 %rd4, fmt; cvta.global.u64 %rd4, %rd4;
        { .param .b64 a; .param .b64 b; .param .b32 r; st.param.b64 [a], %rd4; st.param.b64 [b], %rd3; call.uni (r), vprintf, (a, b);
        ld.param.b32 %r2, [r]; } mad.wide.u32 %rd6, %r1, 4, %rd1; st.global.u32 [%rd6], %r2;";
    let (mut m, y) = machine();
    let r = launch(&mut m, &system(body), y).unwrap_or_else(|f| panic!("{f}"));
    let line = |i: u32| format!("t {i} {i}.00 abc ffffffffffffffff\n");
    assert_eq!(r.printed, (0..4).map(line).collect::<String>());
    assert_eq!(m.bytes(y, 4).unwrap(), [4, 0, 0, 0]);
    // What was printed before a fault is kept.
    let then = format!("{body} trap;");
    assert!(launch(&mut m, &system(&then), y).is_err());
    assert_eq!(m.printed(), r.printed);
    let unset = body.replace("st.local.f64 [args+8], %d1;", "");
    assert_eq!(launch(&mut m, &system(&unset), y).unwrap_err().kind.name(), "uninitialised");
}

#[test]
fn assertions_say_what_failed() {
    let body = "mov.u64 %rd2, str; cvta.global.u64 %rd2, %rd2; { .param .b64 a; .param .b64 b; .param .b32 c; .param .b64 d; .param .b64 e;
        st.param.b64 [a], %rd2; st.param.b64 [b], %rd2; st.param.b32 [c], 17; st.param.b64 [d], %rd2; st.param.b64 [e], 1;
        call.uni __assertfail, (a, b, c, d, e); }";
    let (mut m, y) = machine();
    let f = launch(&mut m, &system(body), y).unwrap_err();
    assert!(f.kind.name() == "trap" && f.to_string().contains("an assertion failed: abc, abc:17"), "{f}");
}

#[test]
fn the_heap_of_the_device() {
    let (mut m, y) = machine();
    let keep = format!("{MALLOC} st.u32 [%rd3+12], %r1; mad.wide.u32 %rd6, %r1, 8, %rd1; st.global.u64 [%rd6], %rd3;");
    launch(&mut m, &system(&keep), y).unwrap_or_else(|f| panic!("{f}"));
    // What one launch allocated, the next one may use.
    let take = "mad.wide.u32 %rd6, %r1, 8, %rd1; ld.global.u64 %rd3, [%rd6]; ld.u32 %r2, [%rd3+12]; st.global.u64 [%rd6], %r2;"
        .replace("u64 [%rd6], %r2", "u32 [%rd6], %r2");
    let back = take.clone() + FREE;
    launch(&mut m, &system(&back), y).unwrap_or_else(|f| panic!("{f}"));
    assert_eq!(m.bytes(y, 32).unwrap().chunks(8).map(|b| b[0]).collect::<Vec<_>>(), [0, 1, 2, 3]);
    let name = |body: &str| {
        let (mut m, y) = machine();
        let f = launch(&mut m, &system(body), y).expect_err(body);
        (f.kind.name(), f.to_string())
    };
    assert_eq!(name(&format!("{MALLOC} ld.u32 %r2, [%rd3]; st.global.u32 [%rd1], %r2;")).0, "uninitialised");
    let (kind, text) = name(&format!("{MALLOC} st.u32 [%rd3+16], %r1;"));
    assert!(kind == "out-of-bounds" && text.contains("device heap (`allocated by the kernel`, 16 bytes)"), "{text}");
    assert_eq!(name(&format!("{MALLOC} {FREE} st.u32 [%rd3], %r1;")).0, "use-after-free");
    assert_eq!(name(&format!("{MALLOC} {FREE} {FREE}")).0, "heap");
    let (kind, text) = name(&format!("mov.b64 %rd3, %rd1; {FREE}"));
    assert!(kind == "heap" && text.contains("`y` was not allocated by a kernel"), "{text}");
    assert_eq!(name(&format!("{MALLOC} add.u64 %rd3, %rd3, 8; {FREE}")).0, "heap");
    // Too much is null.
    let much = MALLOC.replace("[n], 16", "[n], 0x10000000");
    assert_eq!(name(&format!("{much} st.u32 [%rd3], %r1;")).0, "null");
    let (mut m, y) = machine();
    launch(&mut m, &system(&format!("{much} {FREE}")), y).unwrap_or_else(|f| panic!("{f}"));
}

#[test]
fn surveys_go_on_past_what_is_misused() {
    let survey = |body: &str| {
        let (mut m, y) = machine();
        let args = vec![Arg::Update { addr: y, len: 256 }];
        let s = m.survey(&system(body), "k", &Launch::new([1; 3], [4, 1, 1], args), 99);
        let found: Vec<_> = s.findings.iter().map(|f| (f.fault.kind.name(), f.times)).collect();
        let end = (s.complete, s.ended_by());
        (found, end, m.bytes(y, 16).unwrap().chunks(4).map(|b| b[0]).collect::<Vec<_>>())
    };
    let store = "mad.wide.u32 %rd6, %r1, 4, %rd1; st.global.u32 [%rd6], %r2;";
    // A second `free`; a `printf` whose text lies nowhere, which has printed nothing.
    let print = "{ .param .b64 a; .param .b64 b; .param .b32 r; st.param.b64 [a], 64; st.param.b64 [b], 64; call.uni (r), vprintf, (a, b);
        ld.param.b32 %r2, [r]; }";
    let (found, end, y) = survey(&format!("{MALLOC} {FREE} {FREE} {print} {store}"));
    assert_eq!((found, end, y), (vec![("heap", 4), ("null", 4)], (true, None), vec![255; 4]));
    // An mbarrier that is not there: nobody arrives, and who waits goes on. Initialised twice: that is all right from then on.
    let wait = |label: &str| format!("{label}: mbarrier.test_wait.parity.shared.b64 %p1, [%r3], 0; @!%p1 bra {label};");
    let body = format!(
        ".shared .align 8 .b64 bar; mov.u32 %r3, bar; mov.u32 %r2, 7; mbarrier.arrive.shared.b64 %rd8, [%r3]; {} bar.sync 0;
        setp.eq.u32 %p2, %r1, 0; @%p2 mbarrier.init.shared.b64 [%r3], 4; @%p2 mbarrier.init.shared.b64 [%r3], 4; bar.sync 0;
        mbarrier.arrive.shared.b64 %rd8, [%r3]; {} {store}",
        wait("W"),
        wait("V")
    );
    let (found, end, y) = survey(&body);
    assert_eq!((found, end, y), (vec![("mbarrier", 4), ("mbarrier", 4), ("mbarrier", 1)], (true, None), vec![7; 4]));
    // At no address at all: the wait is over as well.
    let (found, end, _) = survey(&format!("mov.u32 %r3, 4096; mov.u32 %r2, 7; {} {store}", wait("W")));
    assert_eq!((found, end), (vec![("out-of-bounds", 4)], (true, None)));
    // What nothing goes on behind is named.
    let (found, end, _) = survey(&format!("{MALLOC} {FREE} {FREE} trap;"));
    assert_eq!((found, end), (vec![("heap", 4), ("trap", 1)], (false, Some("trap"))));
}
