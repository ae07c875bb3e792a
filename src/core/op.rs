//! What an op is: output shapes, what its backward needs, and both passes on the host and on a GPU, side by side.

use std::fmt::Debug;

use half::bf16;

use super::dtype::DType;
use super::launch::Gpu;
use super::real::Real;
use super::shape::Shape;
use crate::device::Precision;
use crate::error::{Error, Result};

/// Most inputs and outputs that an op may have.
pub const MAX: usize = 6;

#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Pass {
    Forward,
    Backward,
}

/// Which inputs or outputs: a set of small numbers.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Set(u8);

impl Set {
    pub const NONE: Set = Set(0);
    pub const fn of(i: usize) -> Set {
        Set(1 << i)
    }
    pub const fn first(n: usize) -> Set {
        Set(((1u16 << n) - 1) as u8)
    }
    pub const fn and(self, i: usize) -> Set {
        Set(self.0 | 1 << i)
    }
    pub const fn when(self, condition: bool) -> Set {
        if condition { self } else { Set(0) }
    }
    pub const fn union(self, o: Set) -> Set {
        Set(self.0 | o.0)
    }
    pub const fn has(self, i: usize) -> bool {
        self.0 >> i & 1 == 1
    }
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }
}

/// What the backward pass reads besides the gradient: forward inputs `x` and forward outputs `y`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Keeps {
    pub x: Set,
    pub y: Set,
}

impl Keeps {
    pub const NOTHING: Keeps = Keeps { x: Set::NONE, y: Set::NONE };
    pub const fn x(x: Set) -> Keeps {
        Keeps { x, y: Set::NONE }
    }
    pub const fn y(y: Set) -> Keeps {
        Keeps { x: Set::NONE, y }
    }
}

/// Work of one pass: multiply-accumulates (or plain operations where there are none) and bytes that must move at least once.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Cost {
    pub macs: u64,
    pub bytes: u64,
}

/// The operands of one pass on the host. Absent ones (not kept, not wanted) are empty slices.
///
/// Forward reads `x`, writes `out` = the outputs. Backward reads `dy` (gradient of output 0), the kept `x` and `y`, and writes
/// `out` = the gradients of the inputs. An op only ever *writes* its outputs, except values that it declares in
/// [`Op::updates`], which it reads and writes.
pub struct Host<'a, T> {
    /// Shapes of the forward inputs and outputs, in both passes.
    pub xs: &'a [Shape],
    pub ys: &'a [Shape],
    pub x: [&'a [T]; MAX],
    pub y: [&'a [T]; MAX],
    pub dy: &'a [T],
    pub out: [&'a mut [T]; MAX],
    pub scratch: &'a mut [T],
    /// The operands that are bf16; those above are empty in their places.
    pub half: Half<'a>,
}

/// The operands of one pass that are bf16, as in [`Host`].
#[derive(Default)]
pub struct Half<'a> {
    pub x: [&'a [bf16]; MAX],
    pub y: [&'a [bf16]; MAX],
    pub dy: &'a [bf16],
    pub out: [&'a mut [bf16]; MAX],
}

/// An operation with a derivative. Only output 0 carries a gradient; further outputs are what backward wants to remember.
pub trait Op: Debug + 'static {
    /// The word that errors, traces and kernels use.
    fn name(&self) -> &'static str;

    /// Shapes of the outputs, or why the inputs do not fit. The only place that may reject shapes.
    fn infer(&self, x: &[Shape]) -> Result<Vec<Shape>, String>;

    /// Types of the `outputs` outputs, or why those of the inputs do not fit. Unless an op says otherwise it knows f32 alone.
    fn dtypes(&self, x: &[DType], outputs: usize) -> Result<Vec<DType>, String> {
        match x.iter().position(|&t| t != DType::F32) {
            None => Ok(vec![DType::F32; outputs]),
            Some(i) => Err(format!("takes f32 values, got {} for input {i}; cast it first (ops::cast)", x[i])),
        }
    }

    /// What backward reads when the gradients in `wants` are asked for.
    fn keeps(&self, wants: Set) -> Keeps;

    /// Inputs that have a gradient at all (labels and masks have none).
    fn differentiable(&self) -> Set {
        Set::first(MAX)
    }

    /// Inputs that the forward pass updates in place (running statistics): they are written as outputs after the inferred
    /// ones, in this order, and hold their old value on entry.
    fn updates(&self) -> &'static [usize] {
        &[]
    }

    /// Workspace in elements.
    fn scratch(&self, _pass: Pass, _xs: &[Shape], _ys: &[Shape], _wants: Set) -> usize {
        0
    }

    /// One operation per output value unless the op knows better; bytes are those of all operands, f32.
    fn cost(&self, pass: Pass, xs: &[Shape], ys: &[Shape]) -> Cost {
        let (x, y) = (xs.iter().map(|s| s.len()).sum::<usize>(), ys.iter().map(|s| s.len()).sum::<usize>());
        match pass {
            Pass::Forward => Cost { macs: y as u64, bytes: 4 * (x + y) as u64 },
            Pass::Backward => Cost { macs: x as u64, bytes: 4 * (2 * x + y) as u64 },
        }
    }

    fn forward<T: Real>(&self, m: Host<T>);
    fn backward<T: Real>(&self, m: Host<T>);

    /// Workspace of the launches, in bytes.
    fn gpu_scratch(&self, _pass: Pass, _xs: &[Shape], _ys: &[Shape], _wants: Set, _precision: Precision) -> usize {
        0
    }
    /// The launches of the forward pass; see [`crate::core::launch`]. The same contract as `forward`: outputs are only written
    /// (their old contents are undefined), except those in [`Op::updates`].
    fn gpu_forward(&self, g: &Gpu) -> Result<()> {
        Err(g.no_kernel(self.name()))
    }
    fn gpu_backward(&self, g: &Gpu) -> Result<()> {
        Err(g.no_kernel(self.name()))
    }
}

/// [`Op`] without its type parameters: what a tape stores.
pub trait DynOp: Debug {
    fn name(&self) -> &'static str;
    fn infer(&self, at: &str, x: &[Shape]) -> Result<Vec<Shape>>;
    fn dtypes(&self, at: &str, x: &[DType], outputs: usize) -> Result<Vec<DType>>;
    fn keeps(&self, wants: Set) -> Keeps;
    fn differentiable(&self) -> Set;
    fn updates(&self) -> &'static [usize];
    fn scratch(&self, pass: Pass, xs: &[Shape], ys: &[Shape], wants: Set) -> usize;
    fn cost(&self, pass: Pass, xs: &[Shape], ys: &[Shape]) -> Cost;
    fn run_f32(&self, pass: Pass, m: Host<f32>);
    fn run_f64(&self, pass: Pass, m: Host<f64>);
    fn gpu_scratch(&self, pass: Pass, xs: &[Shape], ys: &[Shape], wants: Set, precision: Precision) -> usize;
    fn launch(&self, pass: Pass, g: &Gpu) -> Result<()>;
}

impl<O: Op> DynOp for O {
    fn name(&self) -> &'static str {
        Op::name(self)
    }
    fn infer(&self, at: &str, x: &[Shape]) -> Result<Vec<Shape>> {
        Op::infer(self, x).map_err(|why| Error::Shape { op: Op::name(self), at: at.to_string(), why })
    }
    fn dtypes(&self, at: &str, x: &[DType], outputs: usize) -> Result<Vec<DType>> {
        Op::dtypes(self, x, outputs).map_err(|why| Error::Shape { op: Op::name(self), at: at.to_string(), why })
    }
    fn keeps(&self, wants: Set) -> Keeps {
        Op::keeps(self, wants)
    }
    fn differentiable(&self) -> Set {
        Op::differentiable(self)
    }
    fn updates(&self) -> &'static [usize] {
        Op::updates(self)
    }
    fn scratch(&self, pass: Pass, xs: &[Shape], ys: &[Shape], wants: Set) -> usize {
        Op::scratch(self, pass, xs, ys, wants)
    }
    fn cost(&self, pass: Pass, xs: &[Shape], ys: &[Shape]) -> Cost {
        Op::cost(self, pass, xs, ys)
    }
    fn run_f32(&self, pass: Pass, m: Host<f32>) {
        match pass {
            Pass::Forward => self.forward(m),
            Pass::Backward => self.backward(m),
        }
    }
    fn run_f64(&self, pass: Pass, m: Host<f64>) {
        match pass {
            Pass::Forward => self.forward(m),
            Pass::Backward => self.backward(m),
        }
    }
    fn gpu_scratch(&self, pass: Pass, xs: &[Shape], ys: &[Shape], wants: Set, precision: Precision) -> usize {
        Op::gpu_scratch(self, pass, xs, ys, wants, precision)
    }
    fn launch(&self, pass: Pass, g: &Gpu) -> Result<()> {
        match pass {
            Pass::Forward => self.gpu_forward(g),
            Pass::Backward => self.gpu_backward(g),
        }
    }
}

/// A number type that a plan can run in.
pub trait Element: Real {
    fn run(op: &dyn DynOp, pass: Pass, m: Host<Self>);
}
impl Element for f32 {
    fn run(op: &dyn DynOp, pass: Pass, m: Host<f32>) {
        op.run_f32(pass, m)
    }
}
impl Element for f64 {
    fn run(op: &dyn DynOp, pass: Pass, m: Host<f64>) {
        op.run_f64(pass, m)
    }
}
