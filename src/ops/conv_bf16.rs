//! Rows of convolutions of bf16 operands, whose ops are in conv_half.rs.

use std::sync::Arc;

use super::conv_half::{ConvHalf, Convolution};
use super::conv_transpose2d::ConvTranspose2d;
use super::conv2d::Conv2d;
use crate::core::case::{Case, Sampling, case};
use crate::core::dtype::DType;
use crate::core::op::DynOp;
use crate::core::shape::{Shape, shape};

/// The row of an f32 convolution with operands in bf16, but for the bias. None for other ops.
pub fn in_bf16(c: &Case) -> Option<Case> {
    fn half(c: &Case, op: impl Convolution) -> Case {
        let types = [DType::Bf16, DType::Bf16, DType::F32];
        let half = case(c.label.clone(), ConvHalf(op), &c.inputs).dtypes(&types[..c.inputs.len()]);
        Case { bench: c.bench, wants: c.wants, ..half }
    }
    let op: &dyn std::any::Any = &*c.op;
    match (op.downcast_ref::<Conv2d>(), op.downcast_ref::<ConvTranspose2d>()) {
        (Some(op), _) => Some(half(c, *op)),
        (_, Some(op)) => Some(half(c, *op)),
        _ => None,
    }
}

/// The f32 convolution that a row of bf16 stands for, all operands in f32: the same formula without its roundings. None for other ops.
pub fn in_f32(c: &Case) -> Option<Case> {
    let op: &dyn std::any::Any = &*c.op;
    let op: Arc<dyn DynOp + Send + Sync> =
        match (op.downcast_ref::<ConvHalf<Conv2d>>(), op.downcast_ref::<ConvHalf<ConvTranspose2d>>()) {
            (Some(op), _) => Arc::new(op.0),
            (_, Some(op)) => Arc::new(op.0),
            _ => return None,
        };
    Some(Case { op, dtypes: vec![DType::F32; c.inputs.len()], ..c.clone() })
}

pub fn cases() -> Vec<Case> {
    let wide = |stride, pad, dilation, groups| Conv2d { stride, pad, dilation, groups };
    let row = |label: &str, op: Conv2d, x: Shape, k: usize, (r, s): (usize, usize), bias: bool| {
        let w = shape(k, r, s, x.c as usize / op.groups);
        let mut inputs = vec![(x, Sampling::Normal), (w, Sampling::Normal)];
        inputs.extend(bias.then_some((Shape::vector(k), Sampling::Normal)));
        in_bf16(&case(label, op, &inputs)).expect("a convolution")
    };
    let real_filters = |c: Case| {
        let types = [DType::Bf16, DType::F32, DType::F32];
        let types = types[..c.inputs.len()].to_vec();
        Case { label: format!("{}, f32 filters", c.label), dtypes: types, ..c }
    };
    let mut rows = vec![
        // Of Hopper's kernels: ends inside tiles, stages, pictures and phases; more stages than a ring has.
        row("k3s1p1", Conv2d::new(1, 1), shape(2, 9, 8, 72), 136, (3, 3), true),
        row("k3s1p1, few channels", Conv2d::new(1, 1), shape(1, 7, 5, 8), 16, (3, 3), false),
        row("k4s2p1", Conv2d::new(2, 1), shape(2, 16, 12, 64), 40, (4, 4), true),
        row("k3s2p1 odd", Conv2d::new(2, 1), shape(2, 9, 7, 16), 24, (3, 3), true),
        row("k1, one picture's end", Conv2d::new(1, 0), shape(1, 1, 127, 64), 128, (1, 1), true),
        row("k1, many pixels", Conv2d::new(1, 0), shape(3, 20, 33, 64), 64, (1, 1), true),
        row("k5x3s2p2", Conv2d::new(2, 2), shape(3, 6, 11, 40), 8, (5, 3), true),
        row("dilation 2", wide((1, 1), (2, 2), (2, 2), 1), shape(1, 9, 9, 32), 32, (3, 3), true),
        row("to one pixel", Conv2d::new(1, 0), shape(5, 4, 4, 32), 72, (4, 4), true),
        row("rectangular, strides 1 and 2", wide((1, 2), (1, 0), (1, 1), 1), shape(1, 6, 21, 24), 16, (3, 2), true),
        // Of the others.
        row("from a picture", Conv2d::new(2, 1), shape(1, 10, 14, 3), 40, (4, 4), true),
        row("to a picture", Conv2d::new(1, 1), shape(1, 9, 15, 8), 3, (3, 3), true),
        row("fours", Conv2d::new(1, 1), shape(1, 6, 5, 12), 20, (3, 3), true),
        row("groups 2", wide((1, 1), (1, 1), (1, 1), 2), shape(2, 5, 5, 16), 32, (3, 3), true),
        row("depthwise", Conv2d { groups: 8, ..Conv2d::new(1, 1) }, shape(2, 7, 9, 8), 8, (3, 3), true),
        row("stride 2, dilation 3", wide((2, 2), (3, 3), (3, 3), 1), shape(1, 9, 9, 8), 8, (3, 3), true),
        row("64 px", Conv2d::new(2, 1), shape(32, 32, 32, 64), 128, (4, 4), true).bench("encoder.2"),
    ];
    rows.push(real_filters(row("k4s2p1", Conv2d::new(2, 1), shape(1, 8, 6, 24), 72, (4, 4), true)));
    rows.push(real_filters(row("fours", Conv2d::new(1, 1), shape(1, 6, 5, 12), 20, (3, 3), true)));
    let transpose = |stride, pad, x: Shape, c: usize| {
        let inputs =
            [(x, Sampling::Normal), (shape(x.c as usize, 4, 4, c), Sampling::Normal), (Shape::vector(c), Sampling::Normal)];
        in_bf16(&case(format!("transposed, {x} to {c}"), ConvTranspose2d { stride, pad }, &inputs)).expect("a convolution")
    };
    rows.extend([transpose(1, 0, shape(3, 1, 1, 16), 24), transpose(2, 1, shape(1, 5, 5, 40), 16)]);
    rows.extend([transpose(2, 1, shape(1, 3, 43, 16), 3), real_filters(transpose(2, 1, shape(2, 4, 4, 64), 64))]);
    rows
}
