//! All findings of a launch, and those that are known and meant.

use lae_ptx::{Arg, Config, FaultKind, Launch, Machine, Module, Suppression, Survey};

/// Blocks of 64 threads on x and y of 128 words each; %r1 is the thread, %r2 the block, %rd1 and %rd2 the pointers, %rd4 and %rd5
/// the thread's words. Lines of the body begin with line 11 of the PTX.
fn survey(body: &str, blocks: u32, most: usize, suppressions: Vec<Suppression>) -> (Survey, Vec<u32>) {
    let text = format!(
        ".version 8.0\n.target sm_80\n.address_size 64
.visible .entry kernel(.param .u64 x, .param .u64 y) {{
.reg .pred %p<8>; .reg .b32 %r<32>; .reg .b64 %rd<16>;
.shared .align 16 .b8 tile[512];
ld.param.u64 %rd1, [x]; ld.param.u64 %rd2, [y];
mov.u32 %r1, %tid.x; mov.u32 %r2, %ctaid.x;
mul.wide.u32 %rd3, %r1, 4; add.s64 %rd4, %rd1, %rd3; add.s64 %rd5, %rd2, %rd3;
shl.b32 %r3, %r1, 2; mov.u32 %r4, tile; add.u32 %r3, %r4, %r3;
{body}
ret; }}"
    );
    let module = Module::parse("kernel.ptx", &text).unwrap_or_else(|e| panic!("{e}"));
    let mut m = Machine::new(Config { suppressions, ..Config::default() });
    let (x, y) = (m.alloc("x", 512), m.alloc("y", 512));
    for a in [x, y] {
        m.write(a, &(0..128u32).flat_map(u32::to_le_bytes).collect::<Vec<u8>>()).unwrap();
    }
    let args = vec![Arg::Read { addr: x, len: 512 }, Arg::Update { addr: y, len: 512 }];
    let launch = Launch { grid: [blocks, 1, 1], block: [64, 1, 1], shared: 0, args, ..Launch::default() };
    let survey = m.survey(&module, "kernel", &launch, most);
    let y = m.bytes(y, 512).unwrap().as_chunks().0.iter().map(|b| u32::from_le_bytes(*b)).collect();
    (survey, y)
}

fn kinds(s: &Survey) -> Vec<(&'static str, u32, u64)> {
    s.findings.iter().map(|f| (f.fault.kind.name(), f.fault.site.as_ref().map_or(0, |s| s.line), f.times)).collect()
}

/// Five mistakes, one after the other, and a store that is right.
const MISTAKES: &str = "ld.global.u32 %r5, [%rd4+384];
st.global.u32 [%rd4], %r1;
st.shared.u32 [%r3], %r1;
ld.shared.u32 %r6, [%r3+4];
ld.shared.u32 %r7, [%r3+256];
st.global.u32 [%rd5], %r7;
st.global.u32 [%rd5+256], %r1;";

#[test]
fn a_launch_goes_on_past_what_it_finds() {
    let (s, y) = survey(MISTAKES, 1, 100, Vec::new());
    // Each thread reads what its neighbour has written, with nothing between; thread 31 before thread 32 writes.
    let want = [("read-only", 12, 64), ("race", 14, 1), ("uninitialised", 16, 64), ("out-of-bounds", 11, 32), ("race", 13, 1)];
    assert_eq!(kinds(&s), want, "{s:#?}");
    assert!(s.complete && s.report.instructions > 0);
    assert_eq!(y[64..], (0..64).collect::<Vec<u32>>());
    // In each the first thread that made it.
    assert_eq!(s.findings[3].fault.thread, Some([32, 0, 0]));
    // Bounded; the last one ends the launch.
    let (s, _) = survey(MISTAKES, 1, 2, Vec::new());
    assert_eq!(kinds(&s), [("read-only", 12, 32), ("race", 14, 1)]);
    assert!(!s.complete && s.ended_by().is_none());
}

#[test]
fn matrices_at_no_address_are_zeros() {
    let body = "mov.u32 %r6, 4096;\nldmatrix.sync.aligned.m8n8.x1.shared.b16 {%r5}, [%r6];\nst.global.u32 [%rd5], %r5;
stmatrix.sync.aligned.m8n8.x1.shared.b16 [%r6], {%r5};\nst.global.u32 [%rd5+256], 7;";
    let (s, y) = survey(body, 1, 9, Vec::new());
    assert_eq!(kinds(&s), [("out-of-bounds", 12, 2), ("out-of-bounds", 14, 2)]);
    assert!(s.complete && y[..64] == [0; 64] && y[64..] == [7; 64]);
}

#[test]
fn what_a_launch_cannot_go_on_from_comes_last() {
    let body = "ld.global.u32 %r5, [%rd4+508];\nsetp.eq.u32 %p1, %r1, 3;\n@%p1 trap;\nst.global.u32 [%rd5], %r5;";
    let (s, _) = survey(body, 1, 100, Vec::new());
    let found: Vec<_> = s.findings.iter().map(|f| f.fault.kind.name()).collect();
    assert_eq!(found, ["out-of-bounds", "trap"]);
    assert!(!s.complete && s.ended_by() == Some("trap"));
    let s = survey("bra.uni L; L: bra.uni L;", 2, 9, Vec::new()).0;
    assert!(matches!(s.findings[..], [ref f] if matches!(f.fault.kind, FaultKind::BlockDeadlock { .. })), "{s:#?}");
}

#[test]
fn suppressions() {
    let by = |check: Option<&str>, line: Option<&str>, argument: Option<&str>, kernel: Option<&str>| {
        let own = |s: Option<&str>| s.map(String::from);
        Suppression { kernel: own(kernel), check: own(check), line: own(line), argument: own(argument), reason: "a test".into() }
    };
    // All blocks write the same words with different values: a race between blocks.
    let body = "st.global.u32 [%rd5], %r2;\nst.global.u32 [%rd5+256], %r2;";
    let (s, _) = survey(body, 2, 9, Vec::new());
    assert_eq!(kinds(&s), [("race", 11, 2), ("race", 12, 2)]);
    for (rule, left) in [
        (by(Some("race"), None, None, None), 0),
        (by(None, Some("ptx:11"), None, None), 1),
        (by(Some("race"), Some("ptx:12"), Some("1"), Some("kern")), 1),
        (by(None, None, Some("y"), None), 0),
        (by(None, None, Some("x"), None), 2),
        (by(None, None, Some("0"), None), 2),
        (by(Some("uninitialised"), None, None, None), 2),
        (by(None, None, None, Some("other")), 2),
    ] {
        let (s, _) = survey(body, 2, 9, vec![rule.clone()]);
        assert_eq!(s.findings.len(), left, "{rule:?} {s:#?}");
        assert_eq!(s.report.suppressed, [4 - 2 * left as u64], "{rule:?}");
        assert!(s.complete);
    }
    // A trap is never suppressed, and a launch that stops at its first finding knows suppressions as well.
    let (s, _) = survey("trap;", 1, 9, vec![by(None, None, None, None)]);
    assert_eq!(s.findings.len(), 1);
}
