//! Linear: y = W x + b, W K×1×1×C (torch [out, in]); a 1×1 convolution on 1×1 pictures.

use super::conv2d::{Conv2d, backward_scratch, bias_grad, check_bias, dgrad, fprop, wgrad};
use super::{Case, Fill, case};
use crate::core::op::{Cost, Host, Keeps, Op, Pass, Set};
use crate::core::real::Real;
use crate::core::shape::{Shape, shape};
use crate::core::tape::{Tape, Var};
use crate::error::Result;
use crate::host::conv;
use crate::host::sizes::ConvSizes;

#[derive(Debug, Clone)]
pub struct Linear;

/// `x` N×H×W×C is read as N rows of H·W·C values; the result is N×1×1×K.
pub fn linear(t: &mut Tape, x: Var, w: Var, bias: Option<Var>) -> Result<Var> {
    match bias {
        Some(b) => t.apply(Linear, &[x, w, b]),
        None => t.apply(Linear, &[x, w]),
    }
}

fn sizes(x: Shape, w: Shape) -> Result<ConvSizes, String> {
    let flat = shape(x.n as usize, 1, 1, x.per_image());
    if w.h != 1 || w.w != 1 || w.c != flat.c {
        return Err(format!("input has {} values per picture, matrix expects {} (x {x}, w {w})", flat.c, w.per_image()));
    }
    Conv2d::new(1, 0).sizes(flat, w)
}

impl Op for Linear {
    fn name(&self) -> &'static str {
        "linear"
    }
    fn infer(&self, x: &[Shape]) -> Result<Vec<Shape>, String> {
        let (x, w, b) = match x {
            [x, w] => (x, w, None),
            [x, w, b] => (x, w, Some(b)),
            _ => return Err(format!("needs input, matrix and perhaps bias, got {x:?}")),
        };
        check_bias(b, w.n)?;
        Ok(vec![sizes(*x, *w)?.y()])
    }
    fn keeps(&self, wants: Set) -> Keeps {
        Keeps::x(Set::of(1).when(wants.has(0)).union(Set::of(0).when(wants.has(1))))
    }
    fn scratch(&self, pass: Pass, xs: &[Shape], _: &[Shape], wants: Set) -> usize {
        let z = sizes(xs[0], xs[1]).expect("checked when recorded");
        match pass {
            Pass::Forward => conv::fprop_scratch(&z),
            Pass::Backward => {
                let (dx, dw) = (conv::dgrad_scratch(&z), conv::wgrad_scratch(&z));
                backward_scratch(wants, dx, dw, z.k as usize, z.n as usize)
            }
        }
    }
    fn cost(&self, pass: Pass, xs: &[Shape], _: &[Shape]) -> Cost {
        let z = sizes(xs[0], xs[1]).expect("checked when recorded");
        let bytes = 4 * (z.x().len() + z.filters().len() + z.y().len()) as u64;
        match pass {
            Pass::Forward => Cost { macs: z.macs(), bytes },
            Pass::Backward => Cost { macs: 2 * z.macs(), bytes: 2 * bytes },
        }
    }
    fn forward<T: Real>(&self, m: Host<T>) {
        let [y, ..] = m.out;
        fprop(&sizes(m.xs[0], m.xs[1]).expect("checked when recorded"), m.x[0], m.x[1], m.x[2], y, m.scratch);
    }
    fn backward<T: Real>(&self, m: Host<T>) {
        let [dx, dw, db, ..] = m.out;
        let z = sizes(m.xs[0], m.xs[1]).expect("checked when recorded");
        if !dx.is_empty() {
            dgrad(&z, m.dy, m.x[1], &[], dx, m.scratch);
        }
        if !dw.is_empty() {
            wgrad(&z, m.x[0], m.dy, dw, m.scratch);
        }
        if !db.is_empty() {
            bias_grad(z.k as usize, m.dy, db, m.scratch);
        }
    }
}

pub fn cases() -> Vec<Case> {
    let row = |x: Shape, k: usize| {
        let w = (shape(k, 1, 1, x.per_image()), Fill::Normal);
        case(format!("{x} to {k}"), Linear, &[(x, Fill::Normal), w, (Shape::vector(k), Fill::Normal)])
    };
    vec![
        row(shape(3, 1, 1, 7), 5),
        row(shape(2, 2, 3, 4), 1),
        row(shape(5, 1, 1, 33), 17),
        row(shape(64, 1, 1, 512), 128).bench("encoder.14"),
    ]
}
