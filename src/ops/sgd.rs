//! Stochastic gradient descent with momentum and weight decay, in place, over a flat range of the parameter arena:
//! u ← μu + g + λw;  w ← w − lr·u.

use crate::core::case::{Case, Sampling, case};

use crate::core::launch::Operands;
use crate::core::op::{Cost, Host, Keeps, Op, Pass, Set};
use crate::core::params::{Arena, Group};
use crate::core::real::Real;
use crate::core::shape::Shape;
use crate::core::tape::{Tape, Var};
use crate::error::Result;

#[derive(Debug, Clone)]
pub struct Sgd {
    /// μ, 0 for plain descent.
    pub momentum: f64,
    /// λ.
    pub weight_decay: f64,
}

/// Record one update of the trained parameters of `group`; `lr` is one number, fed per step.
pub fn sgd(t: &mut Tape, group: &Group, sgd: Sgd, lr: Var) -> Result<()> {
    let range = t.range(group)?;
    let [g, w, u] = [Arena::Grads, Arena::Weights, Arena::M].map(|a| t.arena(a, range.clone()));
    t.apply_all(sgd, &[g, lr, w, u]).map(|_| ())
}

/// `struct Sgd` of kernels/sgd.cu.
#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Params {
    count: u32,
    momentum: f32,
    decay: f32,
}

impl Op for Sgd {
    fn name(&self) -> &'static str {
        "sgd"
    }
    fn infer(&self, x: &[Shape]) -> Result<Vec<Shape>, String> {
        match x {
            [g, lr, w, u] if g == w && g == u && lr.len() == 1 => Ok(vec![]),
            _ => Err(format!("needs gradient, one number, weights and momentum of one shape, got {x:?}")),
        }
    }
    fn keeps(&self, _: Set) -> Keeps {
        Keeps::NOTHING
    }
    fn differentiable(&self) -> Set {
        Set::NONE
    }
    fn updates(&self) -> &'static [usize] {
        &[2, 3]
    }
    /// Gradient, weights and momentum are read, the last two written.
    fn cost(&self, _: Pass, xs: &[Shape], _: &[Shape]) -> Cost {
        let n = xs[0].len() as u64;
        Cost { macs: 3 * n, bytes: 5 * 4 * n }
    }
    fn forward<T: Real>(&self, x: Host<T>) {
        let ([w, u, ..], g, lr) = (x.out, x.x[0], x.x[1][0]);
        let (mu, decay) = (T::of(self.momentum), T::of(self.weight_decay));
        for ((w, u), &g) in w.iter_mut().zip(u).zip(g) {
            *u = mu * *u + g + decay * *w;
            *w -= lr * *u;
        }
    }
    fn backward<T: Real>(&self, _: Host<T>) {}

    fn gpu_forward(&self, g: &Operands) -> Result<()> {
        let n = g.xs[0].len();
        let p = Params { count: n as u32, momentum: self.momentum as f32, decay: self.weight_decay as f32 };
        let call = g.call("sgd_fwd_f32")?.elements(n).update(g.out(0)).update(g.out(1));
        call.read(g.x(0)).read(g.x(1)).value(&p).go()
    }
}

pub fn cases() -> Vec<Case> {
    let row = |n| {
        let (s, lr) = (Shape::vector(n), (Shape::SCALAR, Sampling::Positive));
        let sgd = Sgd { momentum: 0.9, weight_decay: 5e-4 };
        case(format!("{n}"), sgd, &[(s, Sampling::Normal), lr, (s, Sampling::Normal), (s, Sampling::Normal)])
    };
    vec![row(37), row(1023), row(1024), row(1028), row(1030), row(512).bench("linear model")]
}
