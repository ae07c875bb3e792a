//! What conv2d, conv_transpose2d and linear share on the host: shapes, and the three products of one set of sizes. f32 runs the
//! blocked kernels of [`crate::host::conv`], f64 the plain loops of [`crate::host::plain`].

use crate::core::op::{Cost, Host, Keeps, Pass, Set};
use crate::core::real::Real;
use crate::core::shape::Shape;
use crate::host::sizes::ConvSizes;
use crate::host::{conv, plain};

/// Which product of [`ConvSizes`] an op's forward pass is. The gradient of its input is the other one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    /// y = fprop(x): convolution and linear layer.
    Fprop,
    /// y = dgrad(x): transposed convolution.
    Dgrad,
}
use Direction::*;

impl Direction {
    /// Shapes of the op's input and of its result.
    pub(super) fn source(self, z: &ConvSizes) -> Shape {
        if self == Fprop { z.x() } else { z.y() }
    }
    pub(super) fn output(self, z: &ConvSizes) -> Shape {
        if self == Fprop { z.y() } else { z.x() }
    }
    /// The product that is the gradient of the op's input.
    pub(super) fn turned(self) -> Direction {
        if self == Fprop { Dgrad } else { Fprop }
    }
    /// Channels and pixels of the op's result.
    pub(super) fn result(self, z: &ConvSizes) -> (usize, usize) {
        match self {
            Fprop => (z.k as usize, z.y().pixels()),
            Dgrad => (z.c as usize, z.x().pixels()),
        }
    }
}

/// Input, filter and perhaps bias.
pub(super) fn operands(x: &[Shape]) -> Result<(Shape, Shape, Option<Shape>), String> {
    match *x {
        [x, w] => Ok((x, w, None)),
        [x, w, b] => Ok((x, w, Some(b))),
        _ => Err(format!("needs input, filter and perhaps bias, got {x:?}")),
    }
}

pub(super) fn check_bias(bias: Option<Shape>, k: u32) -> Result<(), String> {
    match bias {
        Some(b) if b.len() != k as usize => Err(format!("bias has {} values for {k} filters", b.len())),
        _ => Ok(()),
    }
}

/// The gradient of the input needs the filter, that of the filter the input.
pub(super) fn keeps(wants: Set) -> Keeps {
    Keeps::x(Set::of(1).when(wants.has(0)).union(Set::of(0).when(wants.has(1))))
}

pub(super) fn cost(z: &ConvSizes, pass: Pass) -> Cost {
    let bytes = 4 * (z.x().len() + z.filters().len() + z.y().len()) as u64;
    match pass {
        Pass::Forward => Cost { macs: z.macs(), bytes },
        Pass::Backward => Cost { macs: 2 * z.macs(), bytes: 2 * bytes },
    }
}

/// Workspace in values: the most that a product of the pass needs.
pub(super) fn scratch(z: &ConvSizes, direction: Direction, pass: Pass, wants: Set) -> usize {
    let (forward, dx) = match direction {
        Fprop => (conv::fprop_scratch as fn(&ConvSizes) -> usize, conv::dgrad_scratch as fn(&ConvSizes) -> usize),
        Dgrad => (conv::dgrad_scratch as fn(&ConvSizes) -> usize, conv::fprop_scratch as fn(&ConvSizes) -> usize),
    };
    if pass == Pass::Forward {
        return forward(z);
    }
    let (k, rows) = direction.result(z);
    let needs = [dx(z), conv::wgrad_scratch(z), conv::bias_grad_scratch(k, rows)];
    needs.into_iter().enumerate().filter(|&(i, _)| wants.has(i)).map(|(_, n)| n).max().unwrap_or(0)
}

pub(super) fn forward<T: Real>(z: &ConvSizes, direction: Direction, m: Host<T>) {
    let [y, ..] = m.out;
    forwards(z, direction, m.x[0], m.x[1], m.x[2], y, m.scratch);
}

/// The op's result.
pub(super) fn forwards<T: Real>(
    z: &ConvSizes,
    direction: Direction,
    x: &[T],
    w: &[T],
    bias: &[T],
    y: &mut [T],
    scratch: &mut [T],
) {
    match direction {
        Fprop => fprop(z, x, w, bias, y, scratch),
        Dgrad => dgrad(z, x, w, bias, y, scratch),
    }
}
/// The gradient of its input.
pub(super) fn backwards<T: Real>(z: &ConvSizes, direction: Direction, dy: &[T], w: &[T], dx: &mut [T], scratch: &mut [T]) {
    match direction {
        Fprop => dgrad(z, dy, w, &[], dx, scratch),
        Dgrad => fprop(z, dy, w, &[], dx, scratch),
    }
}
/// The gradient of its filters.
pub(super) fn filters<T: Real>(z: &ConvSizes, direction: Direction, x: &[T], dy: &[T], dw: &mut [T], scratch: &mut [T]) {
    match direction {
        Fprop => wgrad(z, x, dy, dw, scratch),
        Dgrad => wgrad(z, dy, x, dw, scratch),
    }
}

pub(super) fn backward<T: Real>(z: &ConvSizes, direction: Direction, m: Host<T>) {
    let ([dx, dw, db, ..], [x, w, ..], dy) = (m.out, m.x, m.dy);
    if !dx.is_empty() {
        backwards(z, direction, dy, w, dx, m.scratch);
    }
    if !dw.is_empty() {
        filters(z, direction, x, dy, dw, m.scratch);
    }
    if !db.is_empty() {
        bias_grad(direction.result(z).0, dy, db, m.scratch);
    }
}

fn fprop<T: Real>(z: &ConvSizes, x: &[T], w: &[T], bias: &[T], y: &mut [T], scratch: &mut [T]) {
    let bias = (!bias.is_empty()).then_some(bias);
    match (T::as_f32(x), T::as_f32(w), bias.map(T::as_f32), T::as_f32_mut(y)) {
        (Some(x), Some(w), b, Some(y)) => conv::fprop(z, x, w, b.flatten(), y, T::as_f32_mut(scratch).unwrap_or_default()),
        (.., Some(_)) => unreachable!("all operands have one type"),
        (.., None) => plain::fprop(z, x, w, bias, y),
    }
}
fn dgrad<T: Real>(z: &ConvSizes, dy: &[T], w: &[T], bias: &[T], dx: &mut [T], scratch: &mut [T]) {
    let bias = (!bias.is_empty()).then_some(bias);
    match (T::as_f32(dy), T::as_f32(w), bias.map(T::as_f32), T::as_f32_mut(dx)) {
        (Some(dy), Some(w), b, Some(dx)) => conv::dgrad(z, dy, w, b.flatten(), dx, T::as_f32_mut(scratch).unwrap_or_default()),
        (.., Some(_)) => unreachable!("all operands have one type"),
        (.., None) => plain::dgrad(z, dy, w, bias, dx),
    }
}
fn wgrad<T: Real>(z: &ConvSizes, x: &[T], dy: &[T], dw: &mut [T], scratch: &mut [T]) {
    match (T::as_f32(x), T::as_f32(dy), T::as_f32_mut(dw)) {
        (Some(x), Some(dy), Some(dw)) => conv::wgrad(z, x, dy, dw, T::as_f32_mut(scratch).unwrap_or_default()),
        (.., Some(_)) => unreachable!("all operands have one type"),
        (.., None) => plain::wgrad(z, x, dy, dw),
    }
}
pub(super) fn bias_grad<T: Real>(k: usize, dy: &[T], db: &mut [T], scratch: &mut [T]) {
    match (T::as_f32(dy), T::as_f32_mut(db)) {
        (Some(dy), Some(db)) => conv::bias_grad(k, dy, db, T::as_f32_mut(scratch).unwrap_or_default()),
        (.., Some(_)) => unreachable!("all operands have one type"),
        (.., None) => plain::bias_grad(k, dy, db),
    }
}
