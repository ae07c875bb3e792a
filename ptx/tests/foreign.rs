//! Programs that others wrote, or wrote about, and that once went wrong here: one function a program, with the values of its
//! comments.

use lae_ptx::*;

/// The 32-bit words that the one kernel of `text` leaves in its last parameter; the parameters before it are the `inputs`.
fn words(text: &str, threads: u32, inputs: &[&[u32]], n: u64, config: Config) -> Result<Vec<u32>, String> {
    let module = Module::parse("foreign.ptx", text).map_err(|e| e.to_string())?;
    let mut m = Machine::new(config);
    let mut args = Vec::new();
    for x in inputs {
        let (addr, len) = (m.alloc("in", 4 * x.len() as u64), 4 * x.len() as u64);
        m.write(addr, bytemuck::cast_slice(x)).unwrap();
        args.push(Arg::Read { addr, len });
    }
    let out = m.alloc("out", 4 * n);
    args.push(Arg::Write { addr: out, len: 4 * n });
    let launch = Launch { grid: [1; 3], block: [threads, 1, 1], shared: 0, args, ..Launch::default() };
    m.launch(&module, &module.entries()[0].name, &launch).map_err(|f| f.to_string())?;
    Ok(m.bytes(out, 4 * n).unwrap().chunks_exact(4).map(|b| u32::from_le_bytes(b.try_into().unwrap())).collect())
}

/// [`words`] of one thread without inputs.
fn alone(text: &str, n: u64) -> Vec<u32> {
    words(text, 1, &[], n, Config::default()).unwrap()
}

#[test]
fn sum_of_three_limbs() {
    assert_eq!(alone(include_str!("foreign/sum_of_three_limbs.ptx"), 3), [1, u32::MAX, 0]);
}

#[test]
fn carry_out_zero() {
    assert_eq!(alone(include_str!("foreign/carry_out_zero.ptx"), 1), [0]);
}

#[test]
fn carry_under_guard() {
    let text = include_str!("foreign/carry_under_guard.ptx");
    assert_eq!(words(text, 2, &[], 4, Config::default()).unwrap(), [u32::MAX, 0, 1, 1]);
}

#[test]
fn carry_after_borrow() {
    assert_eq!(alone(include_str!("foreign/carry_after_borrow.ptx"), 2), [0, 1]);
}

#[test]
fn widen() {
    let text = include_str!("foreign/widen.ptx");
    let low = -2i32 as u32;
    assert_eq!(words(text, 1, &[&[0xfe]], 4, Config::default()).unwrap(), [low, -5i32 as u32, low, 0]);
}

#[test]
fn narrow_address() {
    let why = words(include_str!("foreign/narrow_address.ptx"), 1, &[], 1, Config::default()).unwrap_err();
    assert!(why.contains("`narrow`") && why.contains("`other`") && why.contains("line 4"), "{why}");
}

#[test]
fn two_to_the_third() {
    for seed in 0..100 {
        let config = Config { approx: Approx::Within(seed), ..Config::default() };
        assert_eq!(words(include_str!("foreign/two_to_the_third.ptx"), 1, &[], 1, config).unwrap(), [8f32.to_bits()]);
    }
}
