//! All that is to be found in a launch, under several schedules, and a finding that is known and meant.
//!
//! `cargo run -p lae-ptx --example survey`

use lae_ptx::{Arg, Config, Launch, Machine, Module, Schedule, Suppression};

/// Blocks add to one counter without an atomic, and read a value of another warp without a barrier.
const MISTAKES: &str = r#"
.version 8.0
.target sm_80
.address_size 64
.visible .entry mistakes(.param .u64 counter, .param .u64 y) {
    .reg .b32 %r<9>; .reg .b64 %rd<5>;
    .shared .align 4 .b8 tile[256];
    ld.param.u64 %rd1, [counter];
    ld.param.u64 %rd2, [y];
    mov.u32 %r1, %tid.x;
    shl.b32 %r2, %r1, 2;
    mov.u32 %r3, tile;
    add.u32 %r3, %r3, %r2;
    st.shared.u32 [%r3], %r1;
    xor.b32 %r4, %r2, 128;
    mov.u32 %r5, tile;
    add.u32 %r5, %r5, %r4;
    ld.shared.u32 %r6, [%r5];
    ld.global.u32 %r7, [%rd1];
    add.u32 %r7, %r7, 1;
    st.global.u32 [%rd1], %r7;
    mul.wide.u32 %rd3, %r1, 4;
    add.s64 %rd4, %rd2, %rd3;
    st.global.u32 [%rd4], %r6;
    ret;
}"#;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let module = Module::parse("mistakes.ptx", MISTAKES)?;
    let meant = Suppression {
        check: Some("race".into()),
        argument: Some("0".into()),
        reason: "the counter is a rough one".into(),
        ..Suppression::default()
    };
    let mut found = 0;
    for schedule in [Schedule::Forward, Schedule::Reverse, Schedule::Random(1)] {
        let mut machine = Machine::new(Config { schedule, suppressions: vec![meant.clone()], ..Config::default() });
        let (counter, y) = (machine.alloc("counter", 4), machine.alloc("y", 256));
        machine.write(counter, &[0; 4])?;
        let args = vec![Arg::Update { addr: counter, len: 4 }, Arg::Write { addr: y, len: 256 }];
        let survey = machine.survey(&module, "mistakes", &Launch::new([1, 1, 1], [64, 1, 1], args), 20);
        println!("{schedule:?}: {} findings, {} suppressed", survey.findings.len(), survey.report.suppressed[0]);
        for f in &survey.findings {
            println!("  {} times: {}\n", f.times, f.fault);
            assert!(!f.fault.to_string().contains("`counter`"));
        }
        found += survey.findings.len();
    }
    assert!(found >= 3);
    Ok(())
}
