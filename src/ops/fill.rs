//! Fill: y = value everywhere. The seed of every backward pass (1) and the gradient of parameters that a loss ignores (0).

use super::edges::EDGES;
use crate::core::case::{Case, case};

use crate::core::launch::Operands;
use crate::core::op::{Host, Keeps, Op, Set};
use crate::core::real::Real;
use crate::core::shape::Shape;
use crate::error::Result;

#[derive(Debug, Clone)]
pub struct Fill {
    pub shape: Shape,
    pub value: f64,
}

/// The kernel's sizes: `struct Fill` of kernels/fill.cu.
#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Params {
    count: u32,
    value: f32,
}

impl Op for Fill {
    fn name(&self) -> &'static str {
        "fill"
    }
    fn infer(&self, _: &[Shape]) -> Result<Vec<Shape>, String> {
        Ok(vec![self.shape])
    }
    fn keeps(&self, _: Set) -> Keeps {
        Keeps::NOTHING
    }
    fn differentiable(&self) -> Set {
        Set::NONE
    }
    fn forward<T: Real>(&self, m: Host<T>) {
        let [y, ..] = m.out;
        y.fill(T::of(self.value));
    }
    fn backward<T: Real>(&self, _: Host<T>) {}

    fn gpu_forward(&self, g: &Operands) -> Result<()> {
        let p = Params { count: self.shape.len() as u32, value: self.value as f32 };
        g.call("fill_fwd_f32")?.elements(self.shape.len()).write(g.out(0)).value(&p).go()
    }
}

pub fn cases() -> Vec<Case> {
    EDGES.map(|shape| case(format!("1.5 {shape}"), Fill { shape, value: 1.5 }, &[])).to_vec()
}
