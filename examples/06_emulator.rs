//! Testing somebody else's PTX: a race is found, with its line.
//!
//! The kernel reverses the 64 values of a block in place, in shared memory:
//!
//! ```text
//! tile[i] = x[i];  __syncthreads();  v = tile[63 - i];  /* here */  tile[i] = v;  __syncthreads();  y[i] = tile[i];
//! ```
//! A barrier is missing: a thread may overwrite a value before the opposite thread has read it. The result is right whenever the
//! warps happen to read first, so a comparison of results may pass for years. The emulator does not compare: it looks for accesses
//! that nothing orders, and names both.
//!
//! `ptx::Machine` knows nothing of the engine. From the shell: `lae-engine ptx run FILE --kernel NAME …`. What is checked and
//! what is modelled: docs/emulator.md.
//!
//!     cargo run --example 06_emulator

use lae_engine::ptx::{Arg, Config, Fault, FaultKind, Launch, Machine, Module, Schedule};

/// What `nvcc -ptx` could have written. In line 24 belongs the barrier.
const REVERSE: &str = "\
.version 8.0
.target sm_80
.address_size 64
.visible .entry reverse(.param .u64 y, .param .u64 x) {
    .reg .b32 %r<8>;
    .reg .f32 %f<4>;
    .reg .b64 %rd<6>;
    .shared .align 4 .b8 tile[256];
    ld.param.u64 %rd1, [y];
    ld.param.u64 %rd2, [x];
    mov.u32 %r1, %tid.x;
    mul.wide.u32 %rd3, %r1, 4;
    add.s64 %rd4, %rd2, %rd3;
    add.s64 %rd5, %rd1, %rd3;
    mov.u32 %r2, tile;
    shl.b32 %r3, %r1, 2;
    add.u32 %r4, %r2, %r3;        // &tile[i]
    sub.u32 %r5, %r2, %r3;
    add.u32 %r6, %r5, 252;        // &tile[63 - i]
    ld.global.f32 %f1, [%rd4];
    st.shared.f32 [%r4], %f1;
    bar.sync 0;
    ld.shared.f32 %f2, [%r6];
    // here
    st.shared.f32 [%r4], %f2;
    bar.sync 0;
    ld.shared.f32 %f3, [%r4];
    st.global.f32 [%rd5], %f3;
    ret;
}
";

const N: u64 = 64;

/// Run the kernel with every check on; its result, or the first fault.
fn reverse(text: &str, schedule: Schedule) -> Result<Vec<f32>, Fault> {
    let module = Module::parse("reverse.ptx", text).expect("the text is PTX");
    let mut machine = Machine::new(Config { schedule, ..Config::default() });
    let (y, x) = (machine.alloc("y", 4 * N), machine.alloc("x", 4 * N));
    let values: Vec<u8> = (0..N).flat_map(|i| (i as f32).to_le_bytes()).collect();
    machine.write(x, &values).expect("x has room");
    // The kernel may write y, may only read x, and may touch nothing else.
    let args = vec![Arg::Write { addr: y, len: 4 * N }, Arg::Read { addr: x, len: 4 * N }];
    machine.launch(
        &module,
        "reverse",
        &Launch { grid: [1; 3], block: [N as u32, 1, 1], shared: 0, args, ..Launch::default() },
    )?;
    let bytes = machine.bytes(y, 4 * N).expect("y is there");
    Ok(bytes.chunks(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect())
}

fn main() {
    let fixed = REVERSE.replace("// here", "bar.sync 0;");
    for schedule in [Schedule::Forward, Schedule::Reverse, Schedule::Random(1)] {
        let fault = reverse(REVERSE, schedule).expect_err("the race is found under every schedule");
        println!("without a barrier, {schedule:?}:\n{fault}\n");
        assert!(matches!(fault.kind, FaultKind::Race { .. }), "{fault}");
        let report = fault.to_string();
        assert!(report.contains("ptx line 23") && report.contains("ptx line 25"), "the load and the store are named");

        let y = reverse(&fixed, schedule).expect("with the barrier nothing is reported");
        assert!(y.iter().enumerate().all(|(i, &v)| v == (N - 1) as f32 - i as f32), "the result is right");
    }
    println!("with `bar.sync 0;` in line 24: no fault under any schedule, and the values are reversed");
}
