//! Adam (Kingma & Ba 2015) over one flat range of the parameter arena, in place; PyTorch's order of operations.
//!
//! ```text
//! m ← β₁m + (1−β₁)g     v ← β₂v + (1−β₂)g²     w ← w − rate · m / (√v · root + ε)
//! rate = lr / (1−β₁ᵗ)   root = 1 / √(1−β₂ᵗ)     fed per step, so that the recorded step is the same every time
//! ```

use rayon::prelude::*;

use crate::core::case::{Case, Sampling, case};

use crate::core::launch::Operands;
use crate::core::op::{Cost, Host, Keeps, Op, Pass, Set};
use crate::core::par;
use crate::core::params::{Arena, Group};
use crate::core::real::Real;
use crate::core::shape::Shape;
use crate::core::tape::{Tape, Var};
use crate::error::Result;

/// The constants of an update; the learning rate is fed, see [`Adam::hyper`].
#[derive(Debug, Clone)]
pub struct Adam {
    pub beta1: f64,
    pub beta2: f64,
    pub eps: f64,
}

/// The paper's constants, which are also torch's.
impl Default for Adam {
    fn default() -> Adam {
        Adam { beta1: 0.9, beta2: 0.999, eps: 1e-8 }
    }
}

impl Adam {
    /// What an update is fed before each run: `[rate, root]` for learning rate `lr` at step `t`, counted from 1. Panics at step 0,
    /// whose moments would be divided by 1 − β⁰ = 0.
    pub fn hyper(&self, lr: f64, t: u64) -> [f32; 2] {
        assert!(t > 0, "the first step is step 1");
        let t = t as i32;
        [(lr / (1.0 - self.beta1.powi(t))) as f32, (1.0 / (1.0 - self.beta2.powi(t)).sqrt()) as f32]
    }
}

/// Record one update of the trained parameters of `group`, after the backward pass that computes their gradients. `hyper` is an
/// input of two values, fed before each run with what [`Adam::hyper`] returns for the learning rate and the number of the step.
///
/// ```
/// use lae_engine::ops::{adam::{Adam, adam}, difference::mse};
/// use lae_engine::{Form, Init, Kind, Memory, ParamStore, Plan, Shape, Tape};
///
/// let mut store = ParamStore::<f32>::new(0);
/// let w = store.add("w", Shape::vector(3), Kind::Trained, Form::Vector, Init::Constant(0.0));
/// let mut t = Tape::new(&store);
/// let (wv, goal, hyper) = (t.param(w), t.input(Shape::vector(3)), t.input(Shape::vector(2)));
/// let loss = mse(&mut t, wv, goal)?;
/// t.backward(loss, &[wv])?;
/// let optimiser = Adam::default();
/// adam(&mut t, &store.group("w"), optimiser.clone(), hyper)?;
///
/// let mut plan = Plan::new(t, &[loss], Memory::Planned)?;
/// plan.feed(goal)?.copy_from_slice(&[1.0, -2.0, 3.0]);
/// for step in 1..=2000 {
///     plan.feed(hyper)?.copy_from_slice(&optimiser.hyper(0.01, step));
///     plan.run(&mut store)?;
/// }
/// assert!(plan.scalar(loss)? < 1e-6);
/// assert!((store.value(w)[1] + 2.0).abs() < 1e-2);
/// # Ok::<(), lae_engine::Error>(())
/// ```
pub fn adam(t: &mut Tape, group: &Group, adam: Adam, hyper: Var) -> Result<()> {
    let range = t.range(group)?;
    let [g, w, m, v] = [Arena::Grads, Arena::Weights, Arena::M, Arena::V].map(|a| t.arena(a, range.clone()));
    t.apply_all(adam, &[g, hyper, w, m, v]).map(|_| ())
}

/// `struct Adam` of kernels/adam.cu.
#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Params {
    count: u32,
    b1: f32,
    b2: f32,
    c1: f32,
    c2: f32,
    eps: f32,
}

impl Op for Adam {
    fn name(&self) -> &'static str {
        "adam"
    }
    fn infer(&self, x: &[Shape]) -> Result<Vec<Shape>, String> {
        match x {
            [g, hyper, w, m, v] if g == w && g == m && g == v && hyper.len() == 2 => Ok(vec![]),
            _ => Err(format!("needs gradient, two numbers, weights and two moments of one shape, got {x:?}")),
        }
    }
    fn keeps(&self, _: Set) -> Keeps {
        Keeps::NOTHING
    }
    fn differentiable(&self) -> Set {
        Set::NONE
    }
    fn updates(&self) -> &'static [usize] {
        &[2, 3, 4]
    }
    /// Gradient, weights and both moments are read, the last three written.
    fn cost(&self, _: Pass, xs: &[Shape], _: &[Shape]) -> Cost {
        let n = xs[0].len() as u64;
        Cost { macs: 5 * n, bytes: 7 * 4 * n }
    }
    fn forward<T: Real>(&self, x: Host<T>) {
        let ([w, m, v, ..], g, [rate, root]) = (x.out, x.x[0], [x.x[1][0], x.x[1][1]]);
        let (b1, b2, eps) = (T::of(self.beta1), T::of(self.beta2), T::of(self.eps));
        let (c1, c2) = (T::of(1.0 - self.beta1), T::of(1.0 - self.beta2));
        let chunks = w.par_chunks_mut(par::GRAIN).zip(m.par_chunks_mut(par::GRAIN));
        chunks.zip(v.par_chunks_mut(par::GRAIN)).zip(g.par_chunks(par::GRAIN)).for_each(|(((w, m), v), g)| {
            for (((w, m), v), &g) in w.iter_mut().zip(m).zip(v).zip(g) {
                *m = b1 * *m + c1 * g;
                *v = b2 * *v + c2 * g * g;
                *w -= rate * *m / (v.sqrt() * root + eps);
            }
        });
    }
    fn backward<T: Real>(&self, _: Host<T>) {}

    fn gpu_forward(&self, g: &Operands) -> Result<()> {
        let n = g.xs[0].len();
        let p = Params {
            count: n as u32,
            b1: self.beta1 as f32,
            b2: self.beta2 as f32,
            c1: (1.0 - self.beta1) as f32,
            c2: (1.0 - self.beta2) as f32,
            eps: self.eps as f32,
        };
        let call = g.call("adam_fwd_f32")?.elements(n).update(g.out(0)).update(g.out(1)).update(g.out(2));
        call.read(g.x(0)).read(g.x(1)).value(&p).go()
    }
}

pub fn cases() -> Vec<Case> {
    let row = |n| {
        let (s, adam) = (Shape::vector(n), Adam { beta1: 0.9, beta2: 0.999, eps: 1e-8 });
        let hyper = (Shape::vector(2), Sampling::Positive);
        case(
            format!("{n}"),
            adam,
            &[(s, Sampling::Normal), hyper, (s, Sampling::Normal), (s, Sampling::Normal), (s, Sampling::Positive)],
        )
    };
    vec![row(37), row(1023), row(1024), row(1028), row(1030), row(5_183_808).bench("lae.encoder")]
}
