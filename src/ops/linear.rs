//! Linear: y = W x + b, W K×1×1×C (torch [out, in]) or K×H×W×C; a 1×1 convolution on 1×1 pictures.

use super::conv2d::{Conv2d, backward_scratch, bias_grad, check_bias, dgrad, fprop, wgrad};
use super::{Case, Fill, case, conv_launch};
use crate::core::op::{Cost, Host, Keeps, Op, Pass, Set};
use crate::core::real::Real;
use crate::core::shape::{Shape, shape};
use crate::core::tape::{Tape, Var};
use crate::device::{Gpu, Precision, Span, gpu};
use crate::error::Result;
use crate::host::conv;
use crate::host::sizes::ConvSizes;

#[derive(Debug, Clone)]
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

/// Rows of the batch that one launch of the filter gradient adds up; longer batches are added in parts, then the parts.
const CHUNK: usize = 512;

/// `struct Linear` of kernels/linear.cu.
#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Params {
    n: u32,
    c: u32,
    k: u32,
    chunk: u32,
    vec: u32,
}

impl Params {
    fn of(xs: &[Shape]) -> Params {
        let z = sizes(xs[0], xs[1]).expect("checked when recorded");
        Params { n: z.n, c: z.c, k: z.k, chunk: CHUNK as u32, vec: 1 }
    }
    fn dims(&self) -> (usize, usize, usize) {
        (self.n as usize, self.c as usize, self.k as usize)
    }
}

/// y = x wᵀ + b: also for convolutions whose filter covers the picture.
pub(super) fn forward(g: &Gpu, z: &ConvSizes, x: Span, w: Span, b: Option<Span>, y: Span) -> Result<()> {
    let p = Params { n: z.n, c: z.c, k: z.k, chunk: CHUNK as u32, vec: gpu::vec4(z.c as usize, &[x, w]) as u32 };
    let (n, _, k) = p.dims();
    let call = g.call("linear_fwd_f32")?.grid([k.div_ceil(4), n.div_ceil(8), 1]).block(128);
    call.write(y).read(x).read(w).read_or_null(b).value(&p).go()
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

    fn gpu_scratch(&self, pass: Pass, xs: &[Shape], _: &[Shape], wants: Set, _: Precision) -> usize {
        if pass == Pass::Forward {
            return 0;
        }
        let z = sizes(xs[0], xs[1]).expect("checked when recorded");
        let parts = (z.n as usize).div_ceil(CHUNK);
        let dw = if wants.has(1) && parts > 1 { gpu::F32 * parts * xs[1].len() } else { 0 };
        dw.max(if wants.has(2) { conv_launch::bias_scratch(z.n as usize, z.k as usize) } else { 0 })
    }
    fn gpu_forward(&self, g: &Gpu) -> Result<()> {
        forward(g, &sizes(g.xs[0], g.xs[1]).expect("checked when recorded"), g.x(0), g.x(1), g.x[2], g.out(0))
    }
    fn gpu_backward(&self, g: &Gpu) -> Result<()> {
        let p = Params::of(g.xs);
        let (n, c, k) = p.dims();
        if g.wants(0) {
            let call = g.call("linear_dgrad_f32")?.grid([c.div_ceil(32), n.div_ceil(8), 1]).block(256);
            call.write(g.out(0)).read(g.dy()).read(g.x(1)).value(&p).go()?;
        }
        if g.wants(1) {
            let parts = n.div_ceil(CHUNK);
            let dw = if parts > 1 { g.scratch(0, parts * k * c) } else { g.out(1) };
            let call = g.call("linear_wgrad_f32")?.grid([c.div_ceil(32), k.div_ceil(8), parts]).block(256);
            call.write(dw).read(g.dy()).read(g.x(0)).value(&p).go()?;
            if parts > 1 {
                let call = g.call("sum_splits_f32")?.grid([(k * c).div_ceil(256), 1, 1]).block(256);
                call.read(dw).write(g.out(1)).value(&[(k * c) as u32, parts as u32]).go()?;
            }
        }
        if g.wants(2) {
            conv_launch::bias_grad(g, n, k, g.dy(), g.out(2))?;
        }
        Ok(())
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
        // A matrix that has the picture's shape.
        case(
            "2×2×3×4 to 3, K×H×W×C",
            Linear,
            &[(shape(2, 2, 3, 4), Fill::Normal), (shape(3, 2, 3, 4), Fill::Normal), (Shape::vector(3), Fill::Normal)],
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
