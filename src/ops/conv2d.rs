//! 2-D convolution, any kernel, stride, padding, dilation and groups; NHWC, filters K×R×S×(C/groups).
//!
//! ```text
//! fprop  y[n,p,q,k] = Σ_rsc x[n, p·stride−pad+r·dil, q·stride−pad+s·dil, c] · w[k,r,s,c] + b[k]
//! dgrad  dx = the transposed convolution of dy     wgrad  dw[k,r,s,c] = Σ_npq dy[n,p,q,k] · x[…]     db[k] = Σ_npq dy
//! ```
//! f32 runs the blocked kernels of [`crate::host::conv`], f64 the plain loops of [`crate::host::plain`].

use super::conv_half::{self, Convolution};
use super::conv_host::{self, Direction, check_bias};
use super::conv_launch;
use crate::core::case::{Case, Sampling, case};
use crate::core::launch::Operands;
use crate::core::op::{Cost, Host, Keeps, Op, Pass, Set};
use crate::core::real::Real;
use crate::core::shape::{Shape, shape};
use crate::core::tape::{Tape, Var};
use crate::device::Precision;
use crate::error::Result;
use crate::host::sizes::ConvSizes;

/// How filters move over a picture: `(vertical, horizontal)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Conv2d {
    pub stride: (usize, usize),
    pub pad: (usize, usize),
    pub dilation: (usize, usize),
    pub groups: usize,
}

impl Conv2d {
    pub const fn new(stride: usize, pad: usize) -> Conv2d {
        Conv2d { stride: (stride, stride), pad: (pad, pad), dilation: (1, 1), groups: 1 }
    }
}

/// `x` N×H×W×C, `w` K×R×S×(C/groups), `bias` a vector of K.
pub fn conv2d(t: &mut Tape, x: Var, w: Var, bias: Option<Var>, op: Conv2d) -> Result<Var> {
    conv_half::record(t, x, w, bias, op)
}

impl Conv2d {
    /// Sizes of the convolution of `x` with `w`, or why there is none.
    pub fn sizes(&self, x: Shape, w: Shape) -> Result<ConvSizes, String> {
        let ((sh, sw), (ph, pw), (dh, dw), g) = (self.stride, self.pad, self.dilation, self.groups);
        if sh == 0 || sw == 0 || dh == 0 || dw == 0 || g == 0 {
            return Err("stride, dilation and groups must be positive".to_string());
        }
        if !(x.c as usize).is_multiple_of(g) || !(w.n as usize).is_multiple_of(g) {
            return Err(format!("{g} groups divide neither {} input channels nor {} filters (x {x}, w {w})", x.c, w.n));
        }
        if x.c as usize != w.c as usize * g {
            return Err(format!("input has {} channels, filter expects {} (x {x}, w {w})", x.c, w.c as usize * g));
        }
        let out = |len: u32, kernel: u32, stride: usize, pad: usize, dil: usize| {
            let span = (len as usize + 2 * pad).checked_sub(dil * (kernel as usize - 1) + 1)?;
            Some((span / stride + 1) as u32)
        };
        let (Some(p), Some(q)) = (out(x.h, w.h, sh, ph, dh), out(x.w, w.w, sw, pw, dw)) else {
            return Err(format!("the filter is larger than the padded picture (x {x}, w {w}, padding {ph}, {pw})"));
        };
        Ok(ConvSizes {
            n: x.n,
            h: x.h,
            w: x.w,
            c: x.c,
            k: w.n,
            r: w.h,
            s: w.w,
            p,
            q,
            stride_h: sh as u32,
            stride_w: sw as u32,
            pad_h: ph as u32,
            pad_w: pw as u32,
            dil_h: dh as u32,
            dil_w: dw as u32,
            groups: g as u32,
        })
    }
}

impl Convolution for Conv2d {
    const HALF: &'static str = "conv2d_bf16";
    const DIRECTION: Direction = Direction::Fprop;
    fn recorded(&self, xs: &[Shape]) -> ConvSizes {
        self.sizes(xs[0], xs[1]).expect("checked when recorded")
    }
}

impl Op for Conv2d {
    fn name(&self) -> &'static str {
        "conv2d"
    }
    fn infer(&self, x: &[Shape]) -> Result<Vec<Shape>, String> {
        let (x, w, bias) = conv_host::operands(x)?;
        check_bias(bias, w.n)?;
        Ok(vec![self.sizes(x, w)?.y()])
    }
    fn keeps(&self, wants: Set) -> Keeps {
        conv_host::keeps(wants)
    }
    fn scratch(&self, pass: Pass, xs: &[Shape], _: &[Shape], wants: Set) -> usize {
        conv_host::scratch(&self.recorded(xs), Direction::Fprop, pass, wants)
    }
    fn cost(&self, pass: Pass, xs: &[Shape], _: &[Shape]) -> Cost {
        conv_host::cost(&self.recorded(xs), pass)
    }
    fn forward<T: Real>(&self, m: Host<T>) {
        conv_host::forward(&self.recorded(m.xs), Direction::Fprop, m);
    }
    fn backward<T: Real>(&self, m: Host<T>) {
        conv_host::backward(&self.recorded(m.xs), Direction::Fprop, m);
    }

    fn gpu_scratch(&self, pass: Pass, xs: &[Shape], _: &[Shape], wants: Set, precision: Precision) -> usize {
        conv_launch::scratch(&self.recorded(xs), Direction::Fprop, pass, wants, precision)
    }
    fn gpu_forward(&self, g: &Operands) -> Result<()> {
        conv_launch::forward(g, &self.recorded(g.xs), Direction::Fprop)
    }
    fn gpu_backward(&self, g: &Operands) -> Result<()> {
        conv_launch::backward(g, &self.recorded(g.xs), Direction::Fprop)
    }
}

/// (pixels, channels, filters) of 1×1 layers. Each bounds check of each tile kernel on a GPU (is this row, this column, this step still
/// inside?) is the last one to hold in some row of the table, so a check that is off by one fails a test. Two tiles need far larger
/// results: 128x64 has rows of its own in [`cases`], and the unit test in conv_launch.rs covers 128x128.
#[rustfmt::skip]
const EDGES: [(usize, usize, usize); 58] = [
    // Channels that do not come in fours: tiles 128x64, 64x48, 64x64, 128x8, 8x48.
    (137, 12, 69), (153, 36, 78), (169, 9, 87), (185, 33, 92), (201, 10, 37), (217, 34, 46), (233, 11, 55), (249, 35, 60),
    (17, 65, 65), (18, 66, 66), (19, 67, 67), (20, 97, 68), (21, 98, 34), (22, 99, 35), (23, 49, 37), (24, 51, 36),
    (60, 3, 5), (70, 5, 7), (66, 7, 6), (65, 1, 2), (30, 2, 1), (80, 6, 3),
    (10, 6, 3), (35, 3, 5), (100, 5, 7), (120, 3, 6),
    // In fours: 32x64, 128x128 filters.
    (69, 68, 132), (77, 76, 124), (85, 84, 116), (93, 124, 108), (37, 92, 100), (45, 132, 92), (53, 100, 84), (61, 108, 76),
    // 64x64 filters, 32x64 filters and 128x32.
    (33, 60, 36), (34, 52, 44), (35, 44, 52), (36, 36, 60), (37, 40, 68),
    (9, 20, 28), (25, 28, 20), (41, 24, 24), (57, 20, 20), (73, 28, 28), (89, 20, 28), (233, 28, 20), (128, 20, 28),
    // 128x16, 128x8 and 128x3.
    (9, 4, 12), (40, 12, 4), (70, 8, 12), (100, 12, 8), (41, 8, 4),
    (126, 1, 4), (125, 2, 8), (30, 3, 4), (20, 4, 1), (70, 4, 2), (66, 8, 3),
];

pub fn cases() -> Vec<Case> {
    let row = |label: &str, op: Conv2d, x: Shape, k: usize, (r, s): (usize, usize), bias: bool| {
        let w = shape(k, r, s, x.c as usize / op.groups);
        let mut inputs = vec![(x, Sampling::Normal), (w, Sampling::Normal)];
        if bias {
            inputs.push((Shape::vector(k), Sampling::Normal));
        }
        case(label, op, &inputs)
    };
    let wide = |stride, pad, dilation, groups| Conv2d { stride, pad, dilation, groups };
    let mut rows = vec![
        row("k4s2p1", Conv2d::new(2, 1), shape(2, 8, 6, 3), 5, (4, 4), true),
        row("k3s1p1", Conv2d::new(1, 1), shape(1, 5, 7, 4), 6, (3, 3), true),
        row("k3s2p1 odd", Conv2d::new(2, 1), shape(2, 7, 9, 17), 33, (3, 3), false),
        row("k1s1p0", Conv2d::new(1, 0), shape(2, 3, 3, 5), 4, (1, 1), true),
        row("k4s1p0 to one pixel", Conv2d::new(1, 0), shape(3, 4, 4, 8), 1, (4, 4), true),
        row("rectangular 1x7", wide((1, 1), (0, 3), (1, 1), 1), shape(1, 4, 9, 1), 4, (1, 7), false),
        row("dilation 2", wide((1, 1), (2, 2), (2, 2), 1), shape(1, 7, 8, 3), 4, (3, 3), true),
        row("stride 3, dilation 2, mixed", wide((3, 2), (2, 1), (1, 2), 1), shape(1, 10, 11, 2), 3, (5, 3), true),
        row("groups 2", wide((1, 1), (1, 1), (1, 1), 2), shape(2, 5, 5, 4), 6, (3, 3), true),
        row("depthwise", wide((2, 2), (1, 1), (1, 1), 6), shape(2, 7, 6, 6), 6, (3, 3), false),
        row("padding beyond the kernel", wide((1, 1), (3, 3), (1, 1), 1), shape(1, 2, 2, 3), 2, (2, 2), true),
        row("tile edges", Conv2d::new(1, 1), shape(1, 6, 5, 16), 65, (3, 3), true),
        // Every tile of the GPU kernels (ops/conv_launch.rs), with edges one below, at and one above it.
        row("128x32 and 128x8 tiles, a pixel short", Conv2d::new(1, 1), shape(1, 1, 127, 8), 32, (3, 3), true),
        row("128x16 tile, full", Conv2d::new(1, 1), shape(1, 8, 16, 16), 16, (3, 3), true),
        row("128x8 and 128x16 tiles, a pixel over", Conv2d::new(1, 1), shape(1, 3, 43, 12), 8, (3, 3), true),
        row("32x64 tiles, a pixel over", Conv2d::new(1, 1), shape(1, 3, 11, 4), 68, (3, 3), true),
        row("32x64 tile, full", Conv2d::new(1, 1), shape(1, 4, 8, 64), 64, (1, 1), true),
        row("four phases, 128x128 filters", Conv2d::new(2, 1), shape(2, 9, 7, 36), 68, (3, 3), true),
        row("phases without taps", Conv2d::new(3, 0), shape(1, 11, 10, 8), 40, (2, 2), true),
        row("dilation 2, fours", wide((1, 1), (2, 2), (2, 2), 1), shape(1, 9, 9, 8), 12, (3, 3), true),
        row("stride 2, dilation 3, fours", wide((2, 2), (3, 3), (3, 3), 1), shape(1, 9, 9, 4), 8, (3, 3), true),
        row("to a picture", Conv2d::new(1, 1), shape(1, 9, 15, 8), 3, (3, 3), true),
        row("from a picture", Conv2d::new(1, 1), shape(1, 9, 15, 3), 12, (3, 3), true),
        row("from a picture, 64x48 filters", Conv2d::new(2, 1), shape(1, 10, 14, 3), 36, (4, 4), true),
        row("pixels in splits", Conv2d::new(1, 1), shape(1, 23, 25, 4), 8, (3, 3), true),
        row("64 px", Conv2d::new(2, 1), shape(32, 64, 64, 3), 64, (4, 4), true).bench("encoder.0"),
        row("64 px", Conv2d::new(2, 1), shape(32, 32, 32, 64), 128, (4, 4), true).bench("encoder.2"),
        row("16 px", Conv2d::new(1, 1), shape(32, 16, 16, 256), 256, (3, 3), true).bench("encoder.12"),
        row("64 px", Conv2d::new(1, 1), shape(8, 64, 64, 64), 64, (3, 3), true).bench("vgg.2"),
    ];
    let depthwise = |label: &str, op: Conv2d, x: Shape, taps, bias| {
        let c = x.c as usize;
        row(&format!("depthwise, {label}"), Conv2d { groups: c, ..op }, x, c, taps, bias)
    };
    rows.extend([
        depthwise("fours", Conv2d::new(1, 1), shape(2, 7, 9, 8), (3, 3), true),
        depthwise("no padding", Conv2d::new(1, 0), shape(1, 6, 5, 4), (3, 3), false),
        depthwise("three channels, stride 2", Conv2d::new(2, 1), shape(2, 9, 8, 3), (3, 3), true),
        depthwise("fours, stride 2", Conv2d::new(2, 1), shape(1, 9, 10, 12), (3, 3), true),
        depthwise("dilation 2", wide((1, 1), (2, 2), (2, 2), 1), shape(1, 9, 10, 4), (3, 3), true),
        depthwise("stride 3, dilation 2", wide((3, 2), (2, 0), (2, 1), 1), shape(1, 11, 9, 4), (3, 3), false),
        depthwise("tiles of channels", Conv2d::new(1, 1), shape(1, 5, 5, 72), (3, 3), true),
        depthwise("tiles of single channels", Conv2d::new(1, 1), shape(1, 4, 19, 37), (3, 3), true),
        depthwise("tiles of columns", Conv2d::new(1, 1), shape(1, 3, 67, 4), (3, 3), false),
        depthwise("strips of rows", Conv2d::new(1, 1), shape(2, 37, 3, 4), (3, 3), false),
        depthwise("strips of rows, stride 2", Conv2d::new(2, 1), shape(1, 75, 4, 4), (3, 3), false),
        depthwise("several strips to a block", Conv2d::new(1, 1), shape(540, 2, 2, 4), (3, 3), false),
        depthwise("5x5", Conv2d::new(1, 2), shape(2, 7, 6, 8), (5, 5), true),
        depthwise("5x5, stride 2, three channels", Conv2d::new(2, 0), shape(1, 9, 11, 3), (5, 5), false),
        depthwise("4x2", Conv2d::new(1, 1), shape(1, 6, 7, 8), (4, 2), true),
        depthwise("padding beyond the kernel", Conv2d::new(2, 4), shape(1, 3, 3, 4), (3, 3), false),
        depthwise("no room for a ring", wide((1, 1), (0, 0), (40, 40), 1), shape(1, 82, 81, 32), (3, 3), false),
        depthwise("16 px", Conv2d::new(1, 1), shape(32, 16, 16, 728), (3, 3), false).bench("xception.middle"),
    ]);
    // The 128x64 tiles are for results that give each of 132 multiprocessors one: few pixels and many channels do, with little work.
    // They end at each of a thread's rows and columns.
    rows.extend([5, 21, 37, 53, 77, 93, 109, 125].into_iter().enumerate().flat_map(|(i, pixels)| {
        let channels = 131 * 64 + 8 * i + 4;
        let (x, op) = (|c| shape(1, 1, pixels, c), Conv2d::new(1, 0));
        [
            row(&format!("128x64 tiles, {pixels} pixels to {channels}"), op, x(4), channels, (1, 1), true).only(Set::of(2)),
            row(&format!("128x64 tiles, {pixels} pixels from {channels}"), op, x(channels), 4, (1, 1), true).only(Set::of(0)),
        ]
    }));
    rows.extend(EDGES.iter().map(|&(pixels, c, k)| {
        row(&format!("{pixels} pixels, {c} to {k}"), Conv2d::new(1, 0), shape(1, 1, pixels, c), k, (1, 1), true)
    }));
    // For blocks of Hopper's kernels with 64 filters: several tiles, and more stages than
    // their rings have.
    rows.extend([("256", 65), ("512", 100)].map(|(pixels, width)| {
        let label = format!("64x{pixels} tiles, several");
        row(&label, Conv2d::new(1, 0), shape(1, 20, width, 96), 64, (1, 1), true).only(Set::of(2))
    }));
    rows
}
