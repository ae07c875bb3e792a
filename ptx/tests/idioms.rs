//! Code that looks like a mistake and is none, and its neighbours that are: `programs/cas.cu`, compiled, and products in tf32.

use lae_ptx::{Arg, Config, Fault, Launch, Machine, Module, Schedule, Truncation};

/// 4 blocks of 64 threads, on memory of words: what is there afterwards.
fn run(config: &Config, module: &Module, kernel: &str, words: &[&[u32]]) -> Result<Vec<Vec<u32>>, Fault> {
    let mut m = Machine::new(config.clone());
    let mut args = Vec::new();
    for (i, w) in words.iter().enumerate() {
        let (addr, len) = (m.alloc(&format!("arg{i}"), 4 * w.len() as u64), 4 * w.len() as u64);
        m.write(addr, bytemuck::cast_slice(w)).unwrap();
        args.push(Arg::Update { addr, len });
    }
    let n = module.entry(kernel).unwrap().params.len();
    m.launch(
        module,
        kernel,
        &Launch { grid: [4, 1, 1], block: [64, 1, 1], shared: 0, args: args[..n].to_vec(), ..Launch::default() },
    )?;
    let words = |a: &Arg| match a {
        Arg::Update { addr, len } => m.bytes(*addr, *len).unwrap().as_chunks().0.iter().map(|b| u32::from_le_bytes(*b)).collect(),
        _ => unreachable!(),
    };
    Ok(args.iter().map(words).collect())
}

fn schedules() -> [Config; 4] {
    [Schedule::Forward, Schedule::Reverse, Schedule::Random(1), Schedule::Random(2)]
        .map(|schedule| Config { schedule, ..Config::default() })
}

#[test]
fn loops_of_compare_and_swap() {
    let module = Module::parse("cas.ptx", include_str!("programs/cas.ptx")).unwrap();
    let y = vec![0; 512];
    for config in schedules() {
        let run = |kernel: &str, x: &[u32]| run(&config, &module, kernel, &[x, &y]).unwrap_or_else(|f| panic!("{kernel}: {f}"));
        let sum = run("guide_double", &[0, 0]);
        assert_eq!(f64::from_bits((sum[0][1] as u64) << 32 | sum[0][0] as u64), 256.0);
        let product = f32::from_bits(run("product", &[1f32.to_bits()])[0][0]);
        assert!((product as f64 - (1.0 + 1.0 / 1024.0f64).powi(256)).abs() < 1e-4, "{product}");
        assert_eq!(run("half_of_a_word", &[0x0001_0007])[0][0], 0x0101_0007);
        // bf16 counts to 256 and no further.
        assert_eq!(run("header_bf16", &[0xabcd_0000])[0][0], 0xabcd_4380);
        assert_eq!(run("header_bf16x2", &[0])[0][0], 0x4380_4380);
        let x: Vec<u32> = (0..64).map(|i| (i as f32 * 37.0 % 64.0).to_bits()).collect();
        assert_eq!(f32::from_bits(self::run(&one_block(&config), &module, "shared_maximum", &[&x, &[0]]).unwrap()[1][0]), 63.0);
    }
}

/// A race between blocks about `y[0]` is not the subject.
fn one_block(c: &Config) -> Config {
    let mut c = c.clone();
    c.checks.race = false;
    c
}

#[test]
fn what_only_resembles_such_a_loop_is_a_race() {
    let module = Module::parse("cas.ptx", include_str!("programs/cas.ptx")).unwrap();
    for config in schedules() {
        for kernel in ["also_stored", "also_decides", "also_written"] {
            let fault = run(&config, &module, kernel, &[&[0], &[0; 512]]).unwrap_err();
            assert!(fault.to_string().starts_with("race") && fault.to_string().contains("cas.cu"), "{kernel}: {fault}");
        }
    }
}

/// A product of ones, which `prepare` has changed in %r1 (of A) and %r2 (of B).
fn product(prepare: &str) -> Module {
    let text = format!(
        ".version 8.0\n.target sm_80\n.address_size 64
        .visible .entry k(.param .u64 y) {{
        .reg .pred %p<3>; .reg .b32 %r<9>; .reg .f32 %f<9>; .reg .b64 %rd<3>;
        ld.param.u64 %rd1, [y]; ld.global.u32 %r1, [%rd1+64]; mov.u32 %r2, %r1; mov.f32 %f1, 0f00000000;
        {prepare}
        mma.sync.aligned.m16n8k4.row.col.f32.tf32.tf32.f32 {{%f2,%f3,%f4,%f5}}, {{%r1,%r1}}, {{%r2}}, {{%f1,%f1,%f1,%f1}};
        mov.u32 %r3, %tid.x; setp.ne.u32 %p1, %r3, 0; mov.u32 %r4, %ctaid.x; setp.ne.or.u32 %p2, %r4, 0, %p1; @%p2 ret;
        st.global.f32 [%rd1], %f2; ret; }}"
    );
    Module::parse("product.ptx", &text).unwrap()
}

#[test]
fn operands_that_are_cut_on_purpose() {
    let one = 1f32.to_bits();
    let with = |config: Config, prepare: &str, bits: u32| {
        let words = [vec![0; 16], vec![bits; 48]].concat();
        let mut config = config;
        config.checks.race = false;
        // One warp: the kernel has no use for more.
        run(&config, &product(prepare), "k", &[&words]).map(|w| f32::from_bits(w[0][0])).map_err(|f| f.to_string())
    };
    let recognised = |prepare: &str, bits| with(Config::default(), prepare, bits);
    let never = |prepare: &str, bits| with(Config { truncation: Truncation::Never, ..Config::default() }, prepare, bits);
    let round = "cvt.rna.tf32.f32 %r1, %r1;";
    let trick = "add.u32 %r1, %r1, 0x1000; add.u32 %r2, %r2, 4096;";
    let finite = "add.u32 %r5, %r1, 0x1000; setp.lt.u32 %p1, %r1, 0x7f800000; selp.b32 %r1, %r5, %r1, %p1; mov.u32 %r2, %r1;";
    // Nothing is rounded: truncation on purpose. Half a unit is added: rounding. One operand is rounded, the other forgotten: a
    // fault.
    assert_eq!(recognised("", one | 1), Ok(4.0));
    assert_eq!(recognised(trick, one), Ok(4.0));
    assert_eq!(recognised(finite, one), Ok(4.0));
    assert!(recognised(round, one | 1).unwrap_err().contains("tf32 operand B = 0x3f800001"));
    assert_eq!(recognised(round, one), Ok(4.0));
    // An offset of 4096 that goes elsewhere is no rounding.
    let offset = "cvt.rna.tf32.f32 %r1, %r1; mov.u32 %r6, %tid.x; add.u32 %r6, %r6, 0x1000;";
    assert!(recognised(offset, one | 1).unwrap_err().contains("tf32 operand B"));
    for prepare in ["", trick, finite, round] {
        assert!(never(prepare, one | 1).unwrap_err().contains("tf32 operand"), "{prepare}");
    }
    assert_eq!(never("", one), Ok(4.0));
}
