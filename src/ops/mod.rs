//! The operations: one file each, forward and backward side by side.
//!
//! To add one: write `src/ops/NAME.rs` with an [`Op`], a recording function and `cases()`, and add the word
//! to the list below. The cases are gradient checks, device parity tests and benchmarks at once.

mod conv_host;
mod conv_launch;

use std::sync::Arc;

use crate::core::op::{DynOp, Op, Set};
use crate::core::rng::Rng;
use crate::core::shape::{Shape, shape};

/// One row of an op's table: sizes that a test (and, if named, a benchmark) runs.
#[derive(Clone, Debug)]
pub struct Case {
    pub op: Arc<dyn DynOp + Send + Sync>,
    pub inputs: Vec<(Shape, Fill)>,
    /// The layer that this row stands for, if it is a benchmark row. Such rows are too large for gradient checks.
    pub bench: Option<&'static str>,
    /// A word that tells this row from its neighbours.
    pub label: String,
    /// The inputs whose gradients are checked.
    pub wants: Set,
    /// Set where the analytic gradient is partial on purpose, or the inputs lie on kinks: the test then *requires* that backward
    /// disagrees with difference quotients.
    pub withholds: bool,
}

/// How a test fills an input.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fill {
    /// Standard normal.
    Normal,
    /// Normal, but at least 0.1 away from zero: clear of the kink of |x| and ReLU.
    OffZero,
    /// All values distinct by at least 0.05 (max pooling).
    Distinct,
    /// Positive, in [0.5, 1.5].
    Positive,
    /// 0 or 1.
    Binary,
    /// Class numbers below n.
    Class(usize),
    /// A rectangle of ones in zeros: a mask.
    Mask,
    /// Small whole numbers: a step counter.
    Counter,
}

impl Fill {
    /// Values for an input of this shape, exactly representable in f32.
    pub fn values(self, shape: Shape, rng: &mut Rng) -> Vec<f32> {
        let n = shape.len();
        match self {
            Fill::Normal => (0..n).map(|_| rng.normal()).collect(),
            Fill::OffZero => {
                let away = |x: f32| x + 0.1f32.copysign(x);
                (0..n).map(|_| away(rng.normal())).collect()
            }
            Fill::Positive => (0..n).map(|_| rng.range(0.5, 1.5)).collect(),
            Fill::Binary => (0..n).map(|i| if i == 0 { 1.0 } else { rng.below(2) as f32 }).collect(),
            Fill::Class(k) => (0..n).map(|_| rng.below(k) as f32).collect(),
            Fill::Counter => vec![7.0; n],
            Fill::Distinct => {
                let mut xs: Vec<f32> = (0..n).map(|i| ((i as f64 - n as f64 / 2.0) * 0.0625 + 0.015625) as f32).collect();
                rng.shuffle(&mut xs);
                xs
            }
            Fill::Mask => {
                let mut xs = vec![0.0; n];
                for image in xs.chunks_mut(shape.per_image()) {
                    let (h, w) = (shape.h as usize, shape.w as usize);
                    let (r0, c0) = (rng.below(h.div_ceil(2)), rng.below(w.div_ceil(2)));
                    for r in r0..(r0 + h / 2).min(h) {
                        image[r * w + c0..r * w + (c0 + w / 2).min(w)].fill(1.0);
                    }
                }
                xs
            }
        }
    }
}

pub fn case(label: impl Into<String>, op: impl Op + Send + Sync, inputs: &[(Shape, Fill)]) -> Case {
    let wants = op.differentiable();
    Case { op: Arc::new(op), inputs: inputs.to_vec(), bench: None, label: label.into(), wants, withholds: false }
}

impl Case {
    pub fn withholds(mut self) -> Case {
        self.withholds = true;
        self
    }
    /// Only these gradients are asked for: a kernel must leave out the others.
    pub fn only(mut self, wants: Set) -> Case {
        self.wants = wants;
        self
    }
    pub fn bench(mut self, layer: &'static str) -> Case {
        self.bench = Some(layer);
        self
    }
}

// Shared by the loss ops, not an op itself: their sums on a GPU.
mod sum;

/// Test sizes of ops that work value by value: one below, at and above the 1024 values of a block, less than one thread's four, and
/// every rest by four.
const EDGES: [Shape; 6] =
    [shape(2, 5, 7, 3), shape(1, 1, 1, 1), shape(1, 11, 31, 3), shape(4, 8, 8, 4), shape(1, 5, 5, 41), shape(2, 3, 7, 4)];

/// Test sizes of sums: around the 4096 terms of a block, three blocks, and every rest by four.
const SUM_EDGES: [Shape; 7] = [
    shape(2, 5, 7, 3),
    shape(1, 1, 1, 1),
    shape(3, 5, 7, 39),
    shape(4, 16, 16, 4),
    shape(1, 17, 241, 1),
    shape(3, 9, 11, 37),
    shape(2, 3, 7, 4),
];

macro_rules! ops {
    ($($name:ident),* $(,)?) => {
        $(pub mod $name;)*
        /// Every op with its cases, in the order of the list.
        pub const OPS: &[(&str, fn() -> Vec<Case>)] = &[$((stringify!($name), $name::cases)),*];
    };
}

ops! {
    activation,
    adam,
    add,
    affine,
    batch_norm,
    bce_logits,
    bilinear,
    cam_attention,
    concat,
    conv2d,
    conv_transpose2d,
    cross_entropy,
    difference,
    dot,
    dropout,
    fill,
    first,
    global_avg_pool,
    latent,
    linear,
    max_pool,
    noise,
    sgd,
}
