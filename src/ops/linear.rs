//! Linear: y = W x + b, W K×1×1×C (torch [out, in]) or K×H×W×C; a 1×1 convolution on 1×1 pictures.

use super::conv_host::{self, Direction, check_bias};
use super::conv_launch;
use super::conv2d::Conv2d;
use crate::core::case::{Case, Sampling, case};
use crate::core::launch::Operands;
use crate::core::op::{Cost, Halves, Host, Keeps, Op, Pass, Set};
use crate::core::real::Real;
use crate::core::shape::{Shape, shape};
use crate::core::tape::{Tape, Var};
use crate::device::Precision;
use crate::error::Result;
use crate::host::sizes::ConvSizes;

#[derive(Debug, Clone, Copy)]
pub struct Linear;

/// `x` N×H×W×C is read as N rows of H·W·C values, and so is `w`, K×H×W×C or K×1×1×HWC; the result is N×1×1×K.
pub fn linear(t: &mut Tape, x: Var, w: Var, bias: Option<Var>) -> Result<Var> {
    match bias {
        Some(b) => t.apply(Linear, &[x, w, b]),
        None => t.apply(Linear, &[x, w]),
    }
}

fn sizes(x: Shape, w: Shape) -> Result<ConvSizes, String> {
    let flat = |s: Shape| shape(s.n as usize, 1, 1, s.per_image());
    if (w.h, w.w, w.c) != (x.h, x.w, x.c) && w != flat(Shape { n: w.n, ..x }) {
        return Err(format!("input has {} values per picture, matrix expects {} (x {x}, w {w})", x.per_image(), w.per_image()));
    }
    Conv2d::new(1, 0).sizes(flat(x), flat(w))
}

/// [`sizes`] of operands that `infer` has accepted.
fn recorded(xs: &[Shape]) -> ConvSizes {
    sizes(xs[0], xs[1]).expect("checked when recorded")
}

impl Op for Linear {
    fn name(&self) -> &'static str {
        "linear"
    }
    fn infer(&self, x: &[Shape]) -> Result<Vec<Shape>, String> {
        let (x, w, bias) = conv_host::operands(x)?;
        check_bias(bias, w.n)?;
        Ok(vec![sizes(x, w)?.y()])
    }
    fn halves(&self) -> Halves {
        Halves::factors(Set::first(2), Set::NONE)
    }
    fn keeps(&self, wants: Set) -> Keeps {
        conv_host::keeps(wants)
    }
    fn scratch(&self, pass: Pass, xs: &[Shape], _: &[Shape], wants: Set) -> usize {
        conv_host::scratch(&recorded(xs), Direction::Fprop, pass, wants)
    }
    fn cost(&self, pass: Pass, xs: &[Shape], _: &[Shape]) -> Cost {
        conv_host::cost(&recorded(xs), pass)
    }
    fn forward<T: Real>(&self, m: Host<T>) {
        conv_host::forward(&recorded(m.xs), Direction::Fprop, m);
    }
    fn backward<T: Real>(&self, m: Host<T>) {
        conv_host::backward(&recorded(m.xs), Direction::Fprop, m);
    }

    fn gpu_scratch(&self, pass: Pass, xs: &[Shape], _: &[Shape], wants: Set, _: Precision) -> usize {
        if pass == Pass::Forward { 0 } else { conv_launch::linear_scratch(&recorded(xs), wants) }
    }
    fn gpu_forward(&self, g: &Operands) -> Result<()> {
        conv_launch::linear(g, &recorded(g.xs), g.x(0), g.x(1), g.x[2], g.out(0))
    }
    fn gpu_backward(&self, g: &Operands) -> Result<()> {
        conv_launch::linear_backward(g, &recorded(g.xs))
    }
}

pub fn cases() -> Vec<Case> {
    let row = |x: Shape, k: usize| {
        let w = (shape(k, 1, 1, x.per_image()), Sampling::Normal);
        case(format!("{x} to {k}"), Linear, &[(x, Sampling::Normal), w, (Shape::vector(k), Sampling::Normal)])
    };
    vec![
        row(shape(3, 1, 1, 7), 5),
        row(shape(2, 2, 3, 4), 1),
        row(shape(5, 1, 1, 33), 17),
        // A matrix that has the picture's shape.
        case(
            "2×2×3×4 to 3, K×H×W×C",
            Linear,
            &[(shape(2, 2, 3, 4), Sampling::Normal), (shape(3, 2, 3, 4), Sampling::Normal), (Shape::vector(3), Sampling::Normal)],
        ),
        // Rows, outputs and values that end inside a block; a batch that is added in parts.
        row(shape(9, 1, 1, 130), 10),
        row(shape(8, 2, 8, 8), 8),
        row(shape(515, 1, 1, 3), 2),
        // Every number of rows and outputs that eight leave over.
        row(shape(4, 1, 1, 5), 3),
        row(shape(6, 1, 1, 3), 12),
        row(shape(7, 1, 1, 2), 6),
        row(shape(14, 1, 1, 40), 7),
        row(shape(10, 1, 1, 6), 15),
        // Steps of eight values for each warp; more values than fit at a time; and ends in each eighth of what does.
        row(shape(40, 1, 1, 6), 43),
        row(shape(2, 1, 1, 5), 300),
        row(shape(72, 1, 1, 3), 8),
        row(shape(110, 1, 1, 3), 2),
        row(shape(140, 1, 1, 3), 2),
        row(shape(170, 1, 1, 3), 2),
        row(shape(215, 1, 1, 3), 2),
        row(shape(250, 1, 1, 3), 2),
        row(shape(64, 1, 1, 512), 128).bench("encoder.14"),
    ]
}
