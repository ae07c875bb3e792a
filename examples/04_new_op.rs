//! A new op with its CUDA kernel, both outside the crate: softsign, y = x / (1 + |x|).
//!
//! An op is one struct: shapes, what its backward pass reads, both passes on the host, both launches. The host code is generic over
//! f32 (training) and f64 (the oracle). The kernels are in `04_new_op.cu`; this file carries the PTX that `nvcc` made of it
//! (`04_new_op.ptx`) and registers it. The op is then checked in three ways:
//!
//! * its gradient against a difference quotient, in f64;
//! * its kernels on the PTX emulator, which checks every access, against the host;
//! * to the bit: each kernel rounds where the host rounds.
//!
//! An op *inside* the crate has less to do: a row of its table of cases makes all of these tests (CONTRIBUTING.md).
//!
//!     cargo run --example 04_new_op

use lae_engine::core::launch::Operands;
use lae_engine::core::op::{Element, Host, Keeps, Set};
use lae_engine::core::par;
use lae_engine::core::real::Real;
use lae_engine::core::rng::{Rng, stream};
use lae_engine::device::emu::{Emulator, Options};
use lae_engine::device::{Precision, kernels};
use lae_engine::ops::dot::dot;
use lae_engine::{Device, Memory, Op, ParamStore, Plan, Result, Shape, Tape, Var, shape};

#[derive(Debug)]
struct Softsign;

/// Record it. This is all that a model sees.
fn softsign(t: &mut Tape, x: Var) -> Result<Var> {
    t.apply(Softsign, &[x])
}

impl Op for Softsign {
    fn name(&self) -> &'static str {
        "softsign"
    }
    fn infer(&self, x: &[Shape]) -> Result<Vec<Shape>, String> {
        match x {
            [x] => Ok(vec![*x]),
            _ => Err(format!("needs one input, got {}", x.len())),
        }
    }
    /// The input. The output would do, since 1 − |y| = 1 / (1 + |x|), but loses digits where |y| is near 1.
    fn keeps(&self, _wants: Set) -> Keeps {
        Keeps::x(Set::of(0))
    }

    fn forward<T: Real>(&self, m: Host<T>) {
        let ([y, ..], x) = (m.out, m.x[0]);
        par::map(y, x, |x| x / (T::ONE + x.abs()));
    }
    fn backward<T: Real>(&self, m: Host<T>) {
        let ([dx, ..], x, dy) = (m.out, m.x[0], m.dy);
        par::map2(dx, x, dy, |x, dy| {
            let d = T::ONE + x.abs();
            dy / (d * d)
        });
    }

    fn gpu_forward(&self, g: &Operands) -> Result<()> {
        let n = g.xs[0].len();
        let call = g.call("example_softsign_fwd_f32")?.grid([n.div_ceil(256), 1, 1]).block(256);
        call.write(g.out(0)).read(g.x(0)).value(&(n as u32)).go()
    }
    fn gpu_backward(&self, g: &Operands) -> Result<()> {
        let n = g.xs[0].len();
        let call = g.call("example_softsign_bwd_f32")?.grid([n.div_ceil(256), 1, 1]).block(256);
        call.write(g.out(0)).read(g.x(0)).read(g.dy()).value(&(n as u32)).go()
    }
}

/// 3·37 values: the last block of a launch is not full.
const SIZE: Shape = shape(3, 1, 1, 37);

/// What one run gives: ⟨u, y⟩, y and d⟨u, y⟩/dx.
struct Ran<T> {
    loss: f64,
    y: Vec<T>,
    dx: Vec<T>,
}

/// Run y = softsign(x) and the gradient of ⟨u, y⟩ through the plan that `plan` makes.
fn run<T: Element>(x: &[f64], u: &[f64], plan: impl FnOnce(Tape, &[Var]) -> Result<Plan<T>>) -> Result<Ran<T>> {
    let mut store = ParamStore::new(0);
    let mut t = Tape::new(&store);
    let (xv, uv) = (t.input(SIZE), t.input(SIZE));
    let y = softsign(&mut t, xv)?;
    let loss = dot(&mut t, y, uv)?;
    let dx = t.backward(loss, &[xv])?.of(xv).expect("x was asked for");
    let mut plan = plan(t, &[loss, y, dx])?;
    for (v, values) in [(xv, x), (uv, u)] {
        plan.feed(v)?.iter_mut().zip(values).for_each(|(to, &from)| *to = T::of(from));
    }
    plan.run(&mut store)?;
    Ok(Ran { loss: plan.scalar(loss)?, y: plan.fetch(y)?.to_vec(), dx: plan.fetch(dx)?.to_vec() })
}

fn main() -> Result<()> {
    kernels::register("04_new_op", include_str!("04_new_op.ptx"))?;

    // Numbers that f32 holds exactly, so that every run gets the same ones.
    let mut rng = Rng::new(1, stream("values"), 0);
    let [x, u, v] = [(); 3].map(|()| (0..SIZE.len()).map(|_| rng.normal() as f64).collect::<Vec<f64>>());

    let host = |x: &[f64]| run::<f64>(x, &u, |t, fetch| Plan::new(t, fetch, Memory::Planned));
    let exact = host(&x)?;
    let moved = |h: f64| host(&x.iter().zip(&v).map(|(x, v)| x + h * v).collect::<Vec<_>>());
    let h = 1e-5;
    let quotient = (moved(h)?.loss - moved(-h)?.loss) / (2.0 * h);
    let gradient: f64 = exact.dx.iter().zip(&v).map(|(g, v)| g * v).sum();
    println!("gradient along a random direction  {gradient:.9}");
    println!("difference quotient                {quotient:.9}");
    assert!((gradient - quotient).abs() < 1e-6 * gradient.abs().max(1.0), "the backward pass is wrong");

    if kernels::KERNELS.is_empty() {
        println!("\nThis build has no kernels for the step's other ops: only the host ran. `lae-engine doctor` says why.");
        return Ok(());
    }
    let fast = run::<f32>(&x, &u, |t, fetch| Plan::new(t, fetch, Memory::Planned))?;
    let device = Device::Gpu(Emulator::new(Options::default()), Precision::F32);
    let emulated = run::<f32>(&x, &u, |t, fetch| Plan::on(&device, t, fetch, Memory::Planned))?;
    for (what, a, b, exact) in [("y", &emulated.y, &fast.y, &exact.y), ("dx", &emulated.dx, &fast.dx, &exact.dx)] {
        let apart = a.iter().zip(exact).map(|(&a, e)| (a as f64 - e).abs() / e.abs().max(1e-3)).fold(0.0, f64::max);
        let same = a.iter().zip(b).filter(|(a, b)| a.to_bits() == b.to_bits()).count();
        println!("\n{what}: the kernel is within {apart:.1e} of f64; {same} of {} values have the host's bits", a.len());
        assert!(apart < 4.0 * f32::EPSILON as f64, "the kernel is wrong");
        assert_eq!(same, a.len(), "the kernel rounds elsewhere than the host");
    }
    Ok(())
}
