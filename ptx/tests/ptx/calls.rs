//! `calls.cu`, compiled: calls through addresses, against plain Rust.

use super::kernels::{Memory, machines};
use lae_ptx::*;

fn module() -> Module {
    Module::parse("calls.ptx", include_str!("calls.ptx")).unwrap()
}

/// What a kernel of 32 threads writes to its first argument.
fn run<T: bytemuck::Pod>(m: &mut Machine, kernel: &str, more: Vec<Arg>) -> Result<Vec<T>, Fault> {
    let y = m.alloc("y", 128);
    let mut args = vec![Arg::Write { addr: y, len: 128 }];
    args.extend(more);
    // A cluster has two blocks.
    let grid = [1 + (kernel == "clusters") as u32, 1, 1];
    m.launch(&module(), kernel, &Launch { grid, block: [32, 1, 1], shared: 0, args, ..Launch::default() })?;
    Ok(m.get(y, 32))
}

#[test]
fn function_pointers() {
    for mut m in machines() {
        let f = |t: usize, x: f32| [x + 1.0, x * 2.0, x * x][t % 3];
        let want: Vec<f32> = (0..32).map(|t| (0..3).fold(t as f32, |x, _| f(t, x))).collect();
        assert_eq!(run::<f32>(&mut m, "pointers", vec![3i32.into()]).unwrap(), want);
    }
}

#[test]
fn virtual_functions() {
    for mut m in machines() {
        let want: Vec<f32> = (0..32).map(|t| if t & 1 == 1 { t as f32 + 3.0 } else { t as f32 * 5.0 }).collect();
        assert_eq!(run::<f32>(&mut m, "virtuals", vec![]).unwrap(), want);
    }
}

#[test]
fn recursion() {
    for mut m in machines() {
        // Ackermann's function of 2 and n is 2n + 3.
        let want: Vec<i32> = (0..32).map(|t| 2 * (t % 4) + 3).collect();
        assert_eq!(run::<i32>(&mut m, "recursion", vec![]).unwrap(), want);
    }
}

#[test]
fn structs_by_value() {
    for mut m in machines() {
        let want: Vec<i32> = (0..32).map(|t| (2 * t + 1) * 100 + t + 1).collect();
        assert_eq!(run::<i32>(&mut m, "structs", vec![]).unwrap(), want);
    }
}

#[test]
fn addresses_as_initial_values() {
    for mut m in machines() {
        let want: Vec<i32> = (0..32).map(|t| 3000 + b"hello"[t % 5] as i32).collect();
        assert_eq!(run::<i32>(&mut m, "addresses", vec![]).unwrap(), want);
    }
}

#[test]
fn beside_textures() {
    let mut m = Machine::new(Config::default());
    assert_eq!(run::<i32>(&mut m, "clusters", vec![]).unwrap(), [5; 32]);
    let f = run::<f32>(&mut m, "textures", vec![Arg::Null]).unwrap_err();
    assert!(f.to_string().contains("kernel `textures`: instruction `tex.2d.v4.f32.f32` is not supported"), "{f}");
    assert!(f.to_string().contains("tex.2d.v4.f32.f32 {"), "{f}");
}
