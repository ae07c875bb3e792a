//! Transposed 2-D convolution: the adjoint of [`super::conv2d`], so its fprop is that op's dgrad and the other way round.
//!
//! `x` N×H×W×K, `w` K×R×S×C, y N×H'×W'×C with H' = (H−1)·stride − 2·pad + R. Torch writes the filter [K, C, R, S] = [in, out, kh, kw].
//!
//! ```text
//! y[n,h,w,c] = Σ x[n,p,q,k] · w[k,r,s,c] + b[c]   over  h = p·stride − pad + r,  w = q·stride − pad + s
//! ```

use super::conv_half::{self, Convolution};
use super::conv_host::{self, Direction, check_bias};
use super::conv_launch;
use super::conv2d::Conv2d;
use crate::core::case::{Case, Sampling, case};
use crate::core::launch::Operands;
use crate::core::op::{Cost, Host, Keeps, Op, Pass, Set};
use crate::core::real::Real;
use crate::core::shape::{Shape, shape};
use crate::core::tape::{Tape, Var};
use crate::device::Precision;
use crate::error::Result;
use crate::host::sizes::ConvSizes;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConvTranspose2d {
    pub stride: usize,
    pub pad: usize,
}

/// `bias` is a vector of C.
pub fn conv_transpose2d(t: &mut Tape, x: Var, w: Var, bias: Option<Var>, op: ConvTranspose2d) -> Result<Var> {
    conv_half::record(t, x, w, bias, op)
}

impl ConvTranspose2d {
    /// The convolution that this op is the adjoint of: from y to x.
    fn sizes(&self, x: Shape, w: Shape) -> Result<ConvSizes, String> {
        if x.c != w.n {
            return Err(format!("input has {} channels, filter expects {} (x {x}, w {w})", x.c, w.n));
        }
        let out = |len: u32, kernel: u32| {
            (((len as usize).checked_sub(1)?) * self.stride + kernel as usize).checked_sub(2 * self.pad).filter(|&o| o > 0)
        };
        let (Some(h), Some(wd)) = (out(x.h, w.h), out(x.w, w.w)) else {
            return Err(format!("padding {} leaves no picture (x {x}, w {w})", self.pad));
        };
        let y = shape(x.n as usize, h, wd, w.c as usize);
        Conv2d::new(self.stride, self.pad).sizes(y, w)
    }
}

impl Convolution for ConvTranspose2d {
    const HALF: &'static str = "conv_transpose2d_bf16";
    const DIRECTION: Direction = Direction::Dgrad;
    fn recorded(&self, xs: &[Shape]) -> ConvSizes {
        self.sizes(xs[0], xs[1]).expect("checked when recorded")
    }
}

impl Op for ConvTranspose2d {
    fn name(&self) -> &'static str {
        "conv_transpose2d"
    }
    fn infer(&self, x: &[Shape]) -> Result<Vec<Shape>, String> {
        let (x, w, bias) = conv_host::operands(x)?;
        check_bias(bias, w.c)?;
        Ok(vec![self.sizes(x, w)?.x()])
    }
    fn keeps(&self, wants: Set) -> Keeps {
        conv_host::keeps(wants)
    }
    fn scratch(&self, pass: Pass, xs: &[Shape], _: &[Shape], wants: Set) -> usize {
        conv_host::scratch(&self.recorded(xs), Direction::Dgrad, pass, wants)
    }
    fn cost(&self, pass: Pass, xs: &[Shape], _: &[Shape]) -> Cost {
        conv_host::cost(&self.recorded(xs), pass)
    }
    fn forward<T: Real>(&self, m: Host<T>) {
        conv_host::forward(&self.recorded(m.xs), Direction::Dgrad, m);
    }
    fn backward<T: Real>(&self, m: Host<T>) {
        conv_host::backward(&self.recorded(m.xs), Direction::Dgrad, m);
    }

    fn gpu_scratch(&self, pass: Pass, xs: &[Shape], _: &[Shape], wants: Set, precision: Precision) -> usize {
        conv_launch::scratch(&self.recorded(xs), Direction::Dgrad, pass, wants, precision)
    }
    fn gpu_forward(&self, g: &Operands) -> Result<()> {
        conv_launch::forward(g, &self.recorded(g.xs), Direction::Dgrad)
    }
    fn gpu_backward(&self, g: &Operands) -> Result<()> {
        conv_launch::backward(g, &self.recorded(g.xs), Direction::Dgrad)
    }
}

pub fn cases() -> Vec<Case> {
    let row = |stride, pad, x: Shape, c: usize, r: usize| {
        let w = (shape(x.c as usize, r, r, c), Sampling::Normal);
        let label = format!("k{r}s{stride}p{pad} {x} to {c}");
        case(label, ConvTranspose2d { stride, pad }, &[(x, Sampling::Normal), w, (Shape::vector(c), Sampling::Normal)])
    };
    vec![
        row(1, 0, shape(2, 1, 1, 7), 5, 4),
        row(2, 1, shape(2, 3, 4, 5), 3, 4),
        row(2, 1, shape(1, 4, 4, 17), 8, 4),
        row(3, 2, shape(1, 3, 3, 2), 4, 5),
        // As the layers of the decoder are cut into tiles on a GPU (ops/conv_launch.rs).
        row(1, 0, shape(3, 1, 1, 12), 8, 4),
        row(2, 1, shape(1, 5, 5, 20), 36, 4),
        row(2, 1, shape(1, 8, 16, 8), 3, 4),
        row(2, 1, shape(1, 3, 43, 16), 8, 4),
        row(2, 1, shape(1, 1, 127, 4), 12, 4),
        row(1, 0, shape(32, 1, 1, 128), 256, 4).bench("decoder.0"),
        row(2, 1, shape(32, 8, 8, 128), 64, 4).bench("decoder.4"),
        row(2, 1, shape(32, 32, 32, 32), 3, 4).bench("decoder.12"),
    ]
}
