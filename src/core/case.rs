//! Rows of an op's table of sizes: each row is a gradient check, a comparison of devices and, if it names a layer, a benchmark.

use std::sync::Arc;

use super::dtype::DType;
use super::op::{DynOp, Op, Set};
use super::rng::Rng;
use super::shape::Shape;
use super::tape::{Tape, Var};
use crate::error::Result;

/// One row of an op's table: sizes that a test (and, if named, a benchmark) runs.
#[derive(Clone, Debug)]
pub struct Case {
    pub op: Arc<dyn DynOp + Send + Sync>,
    pub inputs: Vec<(Shape, Sampling)>,
    /// Types of the inputs, f32 unless [`Case::dtypes`] says otherwise. Drawn values are rounded to them.
    pub dtypes: Vec<DType>,
    /// The layer that this row stands for, if it is a benchmark row. Such rows are too large for gradient checks.
    pub bench: Option<&'static str>,
    /// A word that tells this row from its neighbours.
    pub label: String,
    /// The inputs whose gradients are checked.
    pub wants: Set,
    /// Set where the analytic gradient is partial on purpose or rounded, or the inputs lie on kinks: the test then *requires* that backward
    /// disagrees with difference quotients.
    pub withholds: bool,
}

/// How a test fills an input.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Sampling {
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

impl Sampling {
    /// Values for an input of this shape, exactly representable in f32.
    pub fn values(self, shape: Shape, rng: &mut Rng) -> Vec<f32> {
        let n = shape.len();
        match self {
            Sampling::Normal => (0..n).map(|_| rng.normal()).collect(),
            Sampling::OffZero => {
                let away = |x: f32| x + 0.1f32.copysign(x);
                (0..n).map(|_| away(rng.normal())).collect()
            }
            Sampling::Positive => (0..n).map(|_| rng.range(0.5, 1.5)).collect(),
            Sampling::Binary => (0..n).map(|i| if i == 0 { 1.0 } else { rng.below(2) as f32 }).collect(),
            Sampling::Class(k) => (0..n).map(|_| rng.below(k) as f32).collect(),
            Sampling::Counter => vec![7.0; n],
            Sampling::Distinct => {
                let mut xs: Vec<f32> = (0..n).map(|i| ((i as f64 - n as f64 / 2.0) * 0.0625 + 0.015625) as f32).collect();
                rng.shuffle(&mut xs);
                xs
            }
            Sampling::Mask => {
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

pub fn case(label: impl Into<String>, op: impl Op + Send + Sync, inputs: &[(Shape, Sampling)]) -> Case {
    let wants = op.differentiable();
    let dtypes = vec![DType::F32; inputs.len()];
    Case { op: Arc::new(op), inputs: inputs.to_vec(), dtypes, bench: None, label: label.into(), wants, withholds: false }
}

impl Case {
    /// Whether the other row is this op at these sizes, whatever gradients are asked of it.
    pub fn same_work(&self, other: &Case) -> bool {
        format!("{:?}", self.op) == format!("{:?}", other.op) && self.inputs == other.inputs && self.dtypes == other.dtypes
    }
    /// The types of the inputs, in order.
    pub fn dtypes(mut self, dtypes: &[DType]) -> Case {
        assert_eq!(dtypes.len(), self.inputs.len(), "{}: one type an input", self.label);
        self.dtypes = dtypes.to_vec();
        self
    }
    /// This row with bf16 wherever the op takes it; none if it does nowhere, or if the row says its types itself. Factors behind the
    /// first are parameters: drawn in f32 and rounded on the tape, as a network's are, with a gradient in f32.
    pub fn halved(&self) -> Option<Case> {
        let halves = self.op.halves();
        if halves.x.is_empty() || self.dtypes.contains(&DType::Bf16) {
            return None;
        }
        let half = |i: usize| halves.x.has(i) && (i == 0 || !halves.rounds);
        let dtypes = (0..self.inputs.len()).map(|i| if half(i) { DType::Bf16 } else { DType::F32 }).collect();
        Some(Case { dtypes, label: format!("{} bf16", self.label), ..self.clone() })
    }
    /// Whether input `i` reaches the op as bf16.
    pub fn rounds(&self, i: usize) -> bool {
        self.dtypes[i] == DType::Bf16 || self.op.halves().rounds && self.op.halves().x.has(i) && self.dtypes[0] == DType::Bf16
    }
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

impl Tape {
    /// The inputs of a row of an op's table.
    pub fn case_inputs(&mut self, case: &Case) -> Vec<Var> {
        case.inputs.iter().zip(&case.dtypes).map(|(&(s, _), &t)| self.input_of(s, t)).collect()
    }

    /// Record a row of an op's table.
    pub fn record_case(&mut self, case: &Case, x: &[Var]) -> Result<Vec<Var>> {
        match case.dtypes.contains(&DType::Bf16) {
            true => self.keeping(DType::Bf16, |t| t.record(case.op.clone(), x)),
            false => self.record(case.op.clone(), x),
        }
    }
}
