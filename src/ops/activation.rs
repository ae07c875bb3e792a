//! Activations: one value in, one value out. Each derivative is written in terms of the output, so the input can be forgotten.
//!
//! | | y | dy/dx |
//! |---|---|---|
//! | ReLU | max(x, 0) | y > 0 |
//! | LeakyReLU(s) | x > 0 ? x : s·x | y > 0 ? 1 : s |
//! | Tanh | tanh x | 1 − y² |
//! | Sigmoid | 1 / (1 + e⁻ˣ) | y (1 − y) |

use super::edges::EDGES;
use crate::core::case::{Case, Sampling, case};

use crate::core::launch::Operands;
use crate::core::op::{Halves, Host, Keeps, Op, Pass, Set};
use crate::core::real::Real;
use crate::core::shape::{Shape, shape};
use crate::core::tape::{Tape, Var};
use crate::error::Result;

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Activation {
    Relu,
    /// Slope of the negative side.
    LeakyRelu(f64),
    Tanh,
    Sigmoid,
}

pub fn relu(t: &mut Tape, x: Var) -> Result<Var> {
    t.apply(Activation::Relu, &[x])
}
pub fn leaky_relu(t: &mut Tape, x: Var, slope: f64) -> Result<Var> {
    t.apply(Activation::LeakyRelu(slope), &[x])
}
pub fn tanh(t: &mut Tape, x: Var) -> Result<Var> {
    t.apply(Activation::Tanh, &[x])
}
pub fn sigmoid(t: &mut Tape, x: Var) -> Result<Var> {
    t.apply(Activation::Sigmoid, &[x])
}

/// `struct LeakyRelu` of kernels/activation.cu.
#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct LeakyRelu {
    count: u32,
    slope: f32,
}

impl Op for Activation {
    fn name(&self) -> &'static str {
        match self {
            Activation::Relu => "relu",
            Activation::LeakyRelu(_) => "leaky_relu",
            Activation::Tanh => "tanh",
            Activation::Sigmoid => "sigmoid",
        }
    }
    fn infer(&self, x: &[Shape]) -> Result<Vec<Shape>, String> {
        match x {
            [x] => Ok(vec![*x]),
            _ => Err(format!("needs one input, got {}", x.len())),
        }
    }
    fn halves(&self) -> Halves {
        Halves::follow(Set::of(0))
    }
    fn half_on_host(&self, _: Pass) -> bool {
        true
    }
    fn half_on_gpu(&self, _: Pass, _: &[Shape]) -> bool {
        true
    }
    fn keeps(&self, _: Set) -> Keeps {
        Keeps::y(Set::of(0))
    }
    fn forward<T: Real>(&self, m: Host<T>) {
        match *self {
            Activation::Relu => m.map(move |x| x.max(T::ZERO)),
            // Select the factor and multiply: this compiles to a blend. `if x > 0 { x } else { s * x }` compiled to a branch, which
            // mispredicts on random signs.
            Activation::LeakyRelu(s) => {
                let s = T::of(s);
                m.map(move |x| x * if x > T::ZERO { T::ONE } else { s })
            }
            Activation::Tanh => m.map(move |x| x.tanh()),
            Activation::Sigmoid => m.map(move |x| T::ONE / (T::ONE + (-x).exp())),
        }
    }
    fn backward<T: Real>(&self, m: Host<T>) {
        match *self {
            Activation::Relu => m.map_back(move |y, d| if y > T::ZERO { d } else { T::ZERO }),
            Activation::LeakyRelu(s) => {
                let s = T::of(s);
                m.map_back(move |y, d| d * if y > T::ZERO { T::ONE } else { s })
            }
            Activation::Tanh => m.map_back(move |y, d| (T::ONE - y * y) * d),
            Activation::Sigmoid => m.map_back(move |y, d| y * (T::ONE - y) * d),
        }
    }

    fn gpu_forward(&self, g: &Operands) -> Result<()> {
        let n = g.xs[0].len();
        let call = g.typed(&format!("{}_fwd", self.name()), g.out(0))?.elements(n).write(g.out(0)).read(g.x(0));
        match *self {
            Activation::LeakyRelu(s) => call.value(&LeakyRelu { count: n as u32, slope: s as f32 }).go(),
            _ => call.value(&(n as u32)).go(),
        }
    }
    fn gpu_backward(&self, g: &Operands) -> Result<()> {
        let n = g.xs[0].len();
        let call = g.typed(&format!("{}_bwd", self.name()), g.out(0))?.elements(n).write(g.out(0)).read(g.y(0)).read(g.dy());
        match *self {
            Activation::LeakyRelu(s) => call.value(&LeakyRelu { count: n as u32, slope: s as f32 }).go(),
            _ => call.value(&(n as u32)).go(),
        }
    }
}

pub fn cases() -> Vec<Case> {
    let all = [Activation::Relu, Activation::LeakyRelu(0.2), Activation::Tanh, Activation::Sigmoid];
    let small = all.iter().flat_map(|&a| EDGES.map(|s| case(format!("{a:?} {s}"), a, &[(s, Sampling::OffZero)])));
    let large = [
        case("Relu", Activation::Relu, &[(shape(32, 32, 32, 64), Sampling::OffZero)]).bench("encoder.1"),
        case("LeakyRelu", Activation::LeakyRelu(0.2), &[(shape(32, 32, 32, 64), Sampling::OffZero)]).bench("dcgan.1"),
        case("Tanh", Activation::Tanh, &[(shape(32, 64, 64, 3), Sampling::OffZero)]).bench("decoder.13"),
    ];
    small.chain(large).collect()
}
