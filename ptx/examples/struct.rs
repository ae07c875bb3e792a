//! Pointers that a kernel takes in a struct, as most C++ kernels do: each is granted by its offset.
//!
//! `cargo run -p lae-ptx --example struct`

use lae_ptx::{Arg, Config, Launch, Machine, Module};

/// What nvcc makes of `struct View { const float* x; float* y; int n; };  __global__ void negate(View v)`.
const NEGATE: &str = r#"
.version 8.0
.target sm_80
.address_size 64
.visible .entry negate(.param .align 8 .b8 view[24]) {
    .reg .pred %p<2>; .reg .b32 %r<5>; .reg .f32 %f<3>; .reg .b64 %rd<6>;
    ld.param.u64 %rd1, [view];
    ld.param.u64 %rd2, [view+8];
    ld.param.u32 %r1, [view+16];
    mov.u32 %r2, %ctaid.x;
    mov.u32 %r3, %ntid.x;
    mov.u32 %r4, %tid.x;
    mad.lo.u32 %r4, %r2, %r3, %r4;
    setp.ge.s32 %p1, %r4, %r1;
    @%p1 ret;
    mul.wide.u32 %rd3, %r4, 4;
    add.s64 %rd4, %rd1, %rd3;
    add.s64 %rd5, %rd2, %rd3;
    ld.global.f32 %f1, [%rd4];
    neg.f32 %f2, %f1;
    st.global.f32 [%rd5], %f2;
    ret;
}"#;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let module = Module::parse("negate.ptx", NEGATE)?;
    let mut machine = Machine::new(Config::default());
    let n = 1000i32;
    let (x, y, len) = (machine.alloc("x", 4 * n as u64), machine.alloc("y", 4 * n as u64), 4 * n as u64);
    machine.write(x, &(0..n).flat_map(|i| (i as f32).to_le_bytes()).collect::<Vec<u8>>())?;

    let view = |n: i32| Arg::Struct {
        bytes: vec![0; 24],
        pointers: vec![(0, Arg::Read { addr: x, len }), (8, Arg::Write { addr: y, len }), (16, n.into())],
    };
    let report = machine.launch(&module, "negate", &Launch::new([4, 1, 1], [256, 1, 1], vec![view(n)]))?;
    let last: [u8; 4] = machine.bytes(y + len - 4, 4)?.try_into()?;
    println!(
        "{} warp instructions in {} blocks; the last value is {}",
        report.instructions,
        report.blocks,
        f32::from_le_bytes(last)
    );
    assert_eq!(f32::from_le_bytes(last), -999.0);

    // One more than there is memory for: the report says which pointer of which argument.
    let fault = machine.launch(&module, "negate", &Launch::new([4, 1, 1], [256, 1, 1], vec![view(n + 1)])).unwrap_err();
    println!("\n{fault}");
    assert!(fault.to_string().contains("argument 0, offset 0 (`x`, 4000 bytes)"));
    Ok(())
}
