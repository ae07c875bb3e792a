//! One launch on several threads: the bits, the counts and the reports of one.

use lae_ptx::{Arg, Checks, Config, Fault, Launch, Machine, Module, Report, Schedule};

/// y[i] = a sum of `n` steps that begins with x[i]; then what `more` does. %r1 is the thread of the grid, %rd4 and %rd5 its
/// words.
fn module(more: &str) -> Module {
    let text = format!(
        ".version 8.0\n.target sm_80\n.address_size 64
        .visible .entry k(.param .u64 x, .param .u64 y, .param .u32 n) {{
        .reg .pred %p<4>; .reg .b32 %r<12>; .reg .f32 %f<4>; .reg .b64 %rd<8>;
        .shared .align 4 .b8 tile[512];
        ld.param.u64 %rd1, [x]; ld.param.u64 %rd2, [y]; ld.param.u32 %r9, [n];
        mov.u32 %r2, %tid.x; mov.u32 %r3, %ctaid.x; mov.u32 %r4, %ntid.x; mad.lo.u32 %r1, %r3, %r4, %r2;
        mul.wide.u32 %rd3, %r1, 4; add.u64 %rd4, %rd1, %rd3; add.u64 %rd5, %rd2, %rd3;
        ld.global.f32 %f1, [%rd4];
        mov.u32 %r5, 0;
        L: fma.rn.f32 %f1, %f1, 0f3F7FFFF0, 0f3A800000; add.u32 %r5, %r5, 1; setp.lt.u32 %p1, %r5, %r9; @%p1 bra L;
        shl.b32 %r6, %r2, 2; mov.u32 %r7, tile; add.u32 %r7, %r7, %r6;
        st.shared.f32 [%r7], %f1; bar.sync 0; ld.shared.f32 %f2, [%r7];
        st.global.f32 [%rd5], %f2;
        {more}
        ret; }}"
    );
    Module::parse("k.ptx", &text).unwrap()
}

struct Out {
    result: Result<Report, Fault>,
    y: Vec<u8>,
    helped: u64,
}

/// 64 blocks of 128 threads.
fn run(config: Config, module: &Module, steps: u32, in_place: bool) -> Out {
    let mut m = Machine::new(config);
    let n = 64 * 128u64;
    let words = |k: u32| (0..n as u32).flat_map(|i| ((i * 7 + k) as f32).to_le_bytes()).collect::<Vec<u8>>();
    // A word more on both sides, for what reaches over.
    let (x, y) = (m.alloc("x", 4 * n), m.alloc("y", 4 * n));
    m.write(x, &words(0)).unwrap();
    m.write(y, &words(3)).unwrap();
    let update = |addr| Arg::Update { addr, len: 4 * n };
    let args = vec![if in_place { update(y) } else { Arg::Read { addr: x, len: 4 * n } }, update(y), steps.into()];
    let result = m.launch(module, "k", &Launch { grid: [64, 1, 1], block: [128, 1, 1], shared: 0, args, ..Launch::default() });
    Out { result, y: m.bytes(y, 4 * n).unwrap().to_vec(), helped: m.helped() }
}

fn configs(race: bool) -> impl Iterator<Item = Config> {
    let orders = [Schedule::Forward, Schedule::Reverse, Schedule::Random(3)];
    orders.into_iter().flat_map(move |schedule| {
        [false, true].map(|counters| {
            let checks = Checks { race, ..Config::default().checks };
            Config { schedule, counters, checks, threads: 1, ..Config::default() }
        })
    })
}

#[test]
fn independent_blocks() {
    let module = module("");
    for config in configs(true).chain(configs(false)) {
        let alone = run(config.clone(), &module, 4000, false);
        let want = alone.result.unwrap();
        assert_eq!(alone.helped, 0);
        for threads in [2, 3, 7] {
            let many = run(Config { threads, ..config.clone() }, &module, 4000, false);
            let got = many.result.unwrap();
            assert!(many.helped > 0, "{config:?}");
            assert_eq!(many.y, alone.y);
            assert_eq!((got.instructions, got.blocks, &got.profile), (want.instructions, want.blocks, &want.profile));
            assert_eq!(got.counters, want.counters);
        }
    }
}

#[test]
fn what_blocks_share_is_found_as_on_one_thread() {
    // Every block writes a word of the next one; adds to a word of all; reads a word of the one before.
    for more in [
        "setp.ne.u32 %p2, %r2, 0; setp.eq.u32 %p3, %r3, 63; @%p2 ret; @%p3 ret; st.global.f32 [%rd5+512], %f2;",
        "atom.global.add.f32 %f3, [%rd2], %f2;",
        "setp.eq.u32 %p3, %r3, 0; @%p3 ret; ld.global.f32 %f3, [%rd5+-512]; add.f32 %f3, %f3, %f2; st.global.f32 [%rd5], %f3;",
        "setp.ne.u32 %p2, %r3, 61; @%p2 ret; st.global.f32 [%rd5+4096], %f2;",
        "setp.ne.u32 %p2, %r3, 2; @%p2 ret; trap;",
    ] {
        let module = module(more);
        for config in configs(true).chain(configs(false)).step_by(3) {
            let alone = run(config.clone(), &module, 3000, false);
            for threads in [2, 5] {
                let many = run(Config { threads, ..config.clone() }, &module, 3000, false);
                match (&alone.result, &many.result) {
                    (Ok(a), Ok(b)) => {
                        assert_eq!((a.instructions, &a.counters), (b.instructions, &b.counters));
                        assert_eq!(alone.y, many.y, "{more} {config:?}");
                    }
                    (Err(a), Err(b)) => assert_eq!(a.to_string(), b.to_string()),
                    (a, b) => panic!("{more}: {a:?}, {b:?}"),
                }
            }
        }
    }
}

#[test]
fn a_budget_is_that_of_all_blocks() {
    let module = module("");
    let whole = run(Config { threads: 1, ..Config::default() }, &module, 4000, false).result.unwrap().instructions;
    for (budget, fits) in [(whole, true), (whole - 1, false), (whole / 2, false)] {
        for threads in [1, 4] {
            let out = run(Config { budget, threads, ..Config::default() }, &module, 4000, false);
            assert_eq!(out.result.is_ok(), fits, "{budget} of {whole}, {threads} threads");
        }
    }
}

#[test]
fn in_place() {
    let module = module("");
    let one = run(Config { threads: 1, ..Config::default() }, &module, 4000, true);
    let two = run(Config { threads: 2, ..Config::default() }, &module, 4000, true);
    assert!(one.y == two.y && two.helped > 0 && two.result.is_ok());
}
