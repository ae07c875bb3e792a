//! Dropout (Srivastava et al. 2014), inverted: in training y = x·m / (1 − p), where m is 0 with probability p and else 1; dx = dy·m / (1 − p).
//! Evaluation has no step at all: whoever records the network leaves the op out.
//!
//! The draw of value i at step t depends on (seed, stream, t, i) alone (see [`crate::core::rng`]), so backward draws the mask again
//! instead of keeping it. Each layer has a stream of its own: two layers with one stream would drop the same places.

use rayon::prelude::*;

use super::edges::EDGES;
use crate::core::case::{Case, Sampling, case};

use crate::core::launch::Operands;
use crate::core::op::{Halves, Host, Keeps, Op, Pass, Set};
use crate::core::par;
use crate::core::real::Real;
use crate::core::rng::{key, philox, stream};
use crate::core::shape::{Shape, shape};
use crate::core::tape::{Tape, Var};
use crate::device::Span;
use crate::error::Result;

#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Dropout {
    /// Probability that a value becomes 0, below 1. Rounded to a multiple of 2⁻²⁴.
    pub p: f64,
    pub seed: u64,
    /// [`stream`] of the layer's name.
    pub stream: u64,
}

/// `x`: any shape; `step`: one whole number below 2²⁴.
pub fn dropout(t: &mut Tape, x: Var, step: Var, dropout: Dropout) -> Result<Var> {
    t.apply(dropout, &[x, step])
}

/// `struct Dropout` of kernels/dropout.cu.
#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Params {
    count: u32,
    key: [u32; 2],
    drop: u32,
    scale: f32,
}

impl Dropout {
    /// Draws have 24 bits: those below this number drop their value.
    fn threshold(&self) -> u32 {
        (self.p * 16_777_216.0).round() as u32
    }
    fn scale(&self) -> f64 {
        1.0 / (1.0 - self.threshold() as f64 / 16_777_216.0)
    }

    /// Both passes: what is dropped in y is dropped in dx.
    fn mask<T: Real>(&self, y: &mut [T], x: &[T], step: T) {
        let (k, step, drop, scale) = (key(self.seed, self.stream), step.f64() as u32, self.threshold(), T::of(self.scale()));
        y.par_chunks_mut(par::GRAIN).zip(x.par_chunks(par::GRAIN)).enumerate().for_each(|(chunk, (y, x))| {
            let first = (chunk * par::GRAIN / 4) as u32;
            for (i, (y, x)) in y.chunks_mut(4).zip(x.chunks(4)).enumerate() {
                let bits = philox(k, [first + i as u32, 0, step, 0]);
                for ((y, &x), bits) in y.iter_mut().zip(x).zip(bits) {
                    *y = if bits >> 8 < drop { T::ZERO } else { x * scale };
                }
            }
        });
    }

    fn launch(&self, g: &Operands, kernel: &str, x: Span) -> Result<()> {
        let n = g.xs[0].len();
        let (key, drop, scale) = (key(self.seed, self.stream), self.threshold(), self.scale() as f32);
        let p = Params { count: n as u32, key, drop, scale };
        g.typed(kernel, x)?.elements(n).write(g.out(0)).read(x).read(g.x(1)).value(&p).go()
    }
}

impl Op for Dropout {
    fn name(&self) -> &'static str {
        "dropout"
    }
    fn infer(&self, x: &[Shape]) -> Result<Vec<Shape>, String> {
        match x {
            _ if !(0.0..1.0).contains(&self.p) => Err(format!("a probability of {}; give one from 0 to below 1", self.p)),
            [x, step] if step.len() == 1 => Ok(vec![*x]),
            _ => Err(format!("needs values and one step number, got {x:?}")),
        }
    }
    fn halves(&self) -> Halves {
        Halves::follow(Set::of(0))
    }
    fn half_on_gpu(&self, _: Pass, _: &[Shape]) -> bool {
        true
    }
    fn keeps(&self, _: Set) -> Keeps {
        Keeps::x(Set::of(1))
    }
    fn differentiable(&self) -> Set {
        Set::of(0)
    }
    fn forward<T: Real>(&self, m: Host<T>) {
        let [y, ..] = m.out;
        self.mask(y, m.x[0], m.x[1][0]);
    }
    fn backward<T: Real>(&self, m: Host<T>) {
        let [dx, ..] = m.out;
        self.mask(dx, m.dy, m.x[1][0]);
    }

    fn gpu_forward(&self, g: &Operands) -> Result<()> {
        self.launch(g, "dropout_fwd", g.x(0))
    }
    fn gpu_backward(&self, g: &Operands) -> Result<()> {
        self.launch(g, "dropout_bwd", g.dy())
    }
}

pub fn cases() -> Vec<Case> {
    let row = |p, s| {
        let op = Dropout { p, seed: 3, stream: stream("net.4") };
        case(format!("{p} {s}"), op, &[(s, Sampling::Normal), (Shape::SCALAR, Sampling::Counter)])
    };
    let mut rows: Vec<Case> = EDGES.iter().map(|&s| row(0.5, s)).collect();
    rows.extend([0.0, 0.35, 0.999].map(|p| row(p, shape(2, 5, 7, 3))));
    rows.push(row(0.5, shape(64, 1, 1, 4096)).bench("fully connected"));
    rows
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::params::ParamStore;
    use crate::core::plan::{Memory, Plan};

    const N: usize = 40_000;

    /// y of ones, at one step.
    fn dropped(p: f64, stream: u64, step: u32) -> Vec<f32> {
        let mut store = ParamStore::<f32>::new(0);
        let mut t = Tape::new(&store);
        let (x, s) = (t.input(Shape::vector(N)), t.input(Shape::SCALAR));
        let y = dropout(&mut t, x, s, Dropout { p, seed: 5, stream }).unwrap();
        let mut plan = Plan::new(t, &[y], Memory::Planned).unwrap();
        plan.feed(x).unwrap().fill(1.0);
        plan.feed(s).unwrap()[0] = step as f32;
        plan.run(&mut store).unwrap();
        plan.fetch(y).unwrap().to_vec()
    }

    /// The share of zeros is p, and the mean stays 1: five deviations of N draws.
    #[test]
    fn shares_are_right() {
        for p in [0.1, 0.35, 0.5, 0.9] {
            let y = dropped(p, 1, 7);
            let share = y.iter().filter(|&&y| y == 0.0).count() as f64 / N as f64;
            assert!((share - p).abs() < 5.0 * (p * (1.0 - p) / N as f64).sqrt(), "{p}: {share} zeros");
            assert!(y.iter().all(|&y| y == 0.0 || (y as f64 * (1.0 - p) - 1.0).abs() < 1e-6), "{p}");
        }
        assert!(dropped(0.0, 1, 7).iter().all(|&y| y == 1.0));
    }

    /// Masks of two steps, and of two layers, agree in half of their places, as independent ones do; the same step gives the same mask.
    #[test]
    fn steps_and_streams_are_independent() {
        let one = dropped(0.5, 1, 7);
        assert_eq!(one, dropped(0.5, 1, 7));
        for other in [dropped(0.5, 1, 8), dropped(0.5, 2, 7)] {
            let same = one.iter().zip(&other).filter(|(a, b)| a == b).count() as f64 / N as f64;
            assert!((same - 0.5).abs() < 5.0 * (0.25 / N as f64).sqrt(), "{same} of the places agree");
        }
    }
}
