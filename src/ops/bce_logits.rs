//! Binary cross entropy on logits: L = mean( softplus(x) − t·x ). dx = (σ(x) − t)/n. Equation 6 and 10 in their stable form:
//! −log σ(x) = softplus(−x) = softplus(x) − x.

use super::edges::SUM_EDGES;
use super::sum;
use crate::core::case::{Case, Sampling, case};
use crate::core::launch::Operands;
use crate::core::op::{Host, Keeps, Op, Pass, Set};
use crate::core::par;
use crate::core::real::Real;
use crate::core::shape::{Shape, shape};
use crate::core::tape::{Tape, Var};
use crate::device::Precision;
use crate::error::Result;

#[derive(Debug, Clone)]
pub struct BceLogits {
    /// The same target for every element; `None` reads targets from a second input.
    pub target: Option<f64>,
}

/// Mean cross entropy of logits `x` against one constant target (1: "real", 0: "generated").
pub fn bce_constant(t: &mut Tape, x: Var, target: f64) -> Result<Var> {
    t.apply(BceLogits { target: Some(target) }, &[x])
}

/// Mean cross entropy of logits `x` against targets in [0, 1] of the same shape.
pub fn bce_logits(t: &mut Tape, x: Var, target: Var) -> Result<Var> {
    t.apply(BceLogits { target: None }, &[x, target])
}

/// log(1 + eˣ) without overflow.
pub fn softplus<T: Real>(x: T) -> T {
    x.max(T::ZERO) + (-x.abs()).exp().ln_1p()
}

pub fn sigmoid<T: Real>(x: T) -> T {
    T::ONE / (T::ONE + (-x).exp())
}

/// `struct Bce` of kernels/bce_logits.cu.
#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Params {
    count: u32,
    target: f32,
}

impl BceLogits {
    fn params(&self, x: Shape) -> Params {
        Params { count: x.len() as u32, target: self.target.unwrap_or(0.0) as f32 }
    }
}

impl Op for BceLogits {
    fn name(&self) -> &'static str {
        "bce_logits"
    }
    fn infer(&self, x: &[Shape]) -> Result<Vec<Shape>, String> {
        match (x, self.target) {
            ([_], Some(_)) => Ok(vec![Shape::SCALAR]),
            ([a, b], None) if a == b => Ok(vec![Shape::SCALAR]),
            _ => Err(format!("needs logits, and targets of the same shape unless the target is constant; got {x:?}")),
        }
    }
    fn keeps(&self, _: Set) -> Keeps {
        Keeps::x(Set::first(2))
    }
    fn differentiable(&self) -> Set {
        Set::of(0)
    }
    fn forward<T: Real>(&self, m: Host<T>) {
        let ([y, ..], x) = (m.out, m.x[0]);
        let sum = match self.target {
            Some(t) => par::sum2(x, x, |x, _| softplus(x) - T::of(t) * x),
            None => par::sum2(x, m.x[1], |x, t| softplus(x) - t * x),
        };
        y[0] = T::of(sum / x.len() as f64);
    }
    fn backward<T: Real>(&self, m: Host<T>) {
        let ([dx, ..], x) = (m.out, m.x[0]);
        let k = T::of(m.dy[0].f64() / x.len() as f64);
        match self.target {
            Some(t) => par::map(dx, x, move |x| (sigmoid(x) - T::of(t)) * k),
            None => par::map2(dx, x, m.x[1], move |x, t| (sigmoid(x) - t) * k),
        }
    }

    fn gpu_scratch(&self, pass: Pass, xs: &[Shape], _: &[Shape], _: Set, _: Precision) -> usize {
        if pass == Pass::Forward { sum::scratch(sum::blocks(xs[0].len())) } else { 0 }
    }
    fn gpu_forward(&self, g: &Operands) -> Result<()> {
        let n = g.xs[0].len();
        let blocks = sum::blocks(n);
        let call = g.call("bce_logits_fwd_f32")?.grid([blocks, 1, 1]).block(256).write(sum::partial(g, blocks));
        call.read(g.x(0)).read_or_null(g.x[1]).value(&self.params(g.xs[0])).go()?;
        sum::finish(g, g.out(0), blocks, n)
    }
    fn gpu_backward(&self, g: &Operands) -> Result<()> {
        let call = g.call("bce_logits_bwd_f32")?.elements(g.xs[0].len()).write(g.out(0));
        call.read(g.x(0)).read_or_null(g.x[1]).read(g.dy()).value(&self.params(g.xs[0])).go()
    }
}

pub fn cases() -> Vec<Case> {
    let s = shape(5, 1, 1, 3);
    let mut rows = vec![
        case("real", BceLogits { target: Some(1.0) }, &[(s, Sampling::Normal)]),
        case("generated", BceLogits { target: Some(0.0) }, &[(s, Sampling::Normal)]),
    ];
    rows.extend(
        SUM_EDGES
            .map(|s| case(format!("targets {s}"), BceLogits { target: None }, &[(s, Sampling::Normal), (s, Sampling::Binary)])),
    );
    rows.push(case("batch", BceLogits { target: Some(1.0) }, &[(shape(64, 1, 1, 1), Sampling::Normal)]).bench("dcgan loss"));
    rows
}
