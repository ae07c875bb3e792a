//! What an op is: output shapes, what its backward needs, and both passes on the host and on a GPU, side by side.
//!
//! [`Op`] is the contract and has an example. [`Host`] holds the operands of a pass on the host, [`Operands`] those of a pass on a GPU.
//! [`DynOp`] and [`Element`] are the engine's own view: an op without its type parameter, and the number types of a plan.

use std::any::Any;
use std::fmt::Debug;

use half::bf16;

use super::dtype::DType;
pub use super::launch::MAX;
use super::launch::Operands;
use super::real::Real;
use super::shape::Shape;
use crate::device::Precision;
use crate::error::{Error, Result};

/// Which of its two passes a step of a tape runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Pass {
    Forward,
    Backward,
}

/// Which inputs or outputs: a set of numbers below 8.
///
/// ```
/// use lae_engine::core::op::Set;
/// let wants = Set::of(0).and(2);
/// assert!(wants.has(0) && !wants.has(1) && wants.has(2));
/// assert_eq!(Set::first(2), Set::of(0).and(1));
/// assert!(Set::of(1).when(false).is_empty());
/// ```
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

/// What the backward pass reads besides the gradient of output 0: forward inputs `x` and forward outputs `y`. All others are gone
/// by then: the plan has given their memory to later values.
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

/// The operands of one pass on the host, as plain slices in the layout of [`Shape`]. Operands that the pass does not get (not kept,
/// not wanted, past the last one) are empty slices.
///
/// | field | forward | backward |
/// |---|---|---|
/// | `xs`, `ys` | shapes of the forward inputs and outputs | the same |
/// | `x` | inputs, but those in [`Op::updates`] | the inputs that [`Op::keeps`] named |
/// | `y` | empty | the outputs that [`Op::keeps`] named |
/// | `dy` | empty | gradient of output 0, of its shape |
/// | `out` | the outputs, then the updated inputs | gradients of the inputs, by number of the input; empty if not wanted |
/// | `scratch` | [`Op::scratch`] values | the same |
///
/// What `out` and `scratch` hold on entry is undefined (the remains of other values), but for updated inputs. What is written
/// overlaps nothing else.
pub struct Host<'a, T> {
    /// Shapes of the forward inputs and outputs, in both passes.
    pub xs: &'a [Shape],
    pub ys: &'a [Shape],
    /// Inputs that this pass reads.
    pub x: [&'a [T]; MAX],
    /// Outputs that the backward pass reads.
    pub y: [&'a [T]; MAX],
    /// Gradient of output 0, in the backward pass.
    pub dy: &'a [T],
    /// What this pass writes, in full.
    pub out: [&'a mut [T]; MAX],
    /// Workspace; contents undefined.
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

/// What of an op may be bf16 instead of the plan's own type.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Halves {
    /// These inputs are of one type, either; all others are never bf16.
    pub x: Set,
    /// These outputs have the type of those inputs; all others are never bf16.
    pub y: Set,
    /// On a tape that keeps activations in bf16 these inputs are rounded for the op if they are not bf16 yet. Otherwise the op takes
    /// the type that comes, and f32 where types differ.
    pub rounds: bool,
}

impl Halves {
    pub const NONE: Halves = Halves { x: Set::NONE, y: Set::NONE, rounds: false };
    /// Inputs in `x` and output 0 are of one type.
    pub const fn follow(x: Set) -> Halves {
        Halves { x, y: Set::of(0), rounds: false }
    }
    /// Inputs in `x` may be bf16, all outputs are f32: a sum.
    pub const fn sum(x: Set) -> Halves {
        Halves { x, y: Set::NONE, rounds: false }
    }
    /// Inputs in `x` are the factors of products.
    pub const fn factors(x: Set, y: Set) -> Halves {
        Halves { x, y, rounds: true }
    }
}

/// An operation with a derivative. Only output 0 carries a gradient; further outputs are what backward wants to remember.
///
/// # The contract
///
/// An op is recorded once and run many times, so it is a value: its fields are constants of the step (a stride, a slope), set before
/// it is recorded and never changed. What varies from run to run is an input.
///
/// | when | what is called |
/// |---|---|
/// | recording the op ([`Tape::apply`](super::tape::Tape::apply)) | [`infer`](Op::infer), [`updates`](Op::updates) |
/// | recording its gradient ([`Tape::backward`](super::tape::Tape::backward)) | [`differentiable`](Op::differentiable), [`keeps`](Op::keeps) |
/// | making a plan | [`scratch`](Op::scratch), on a GPU [`gpu_scratch`](Op::gpu_scratch) |
/// | each run | [`forward`](Op::forward) and [`backward`](Op::backward), on a GPU [`gpu_forward`](Op::gpu_forward) and [`gpu_backward`](Op::gpu_backward) |
/// | describing and timing | [`name`](Op::name), [`cost`](Op::cost) |
///
/// What every pass keeps to, on every device:
///
/// * **It writes its outputs, all of each, and nothing else.** What an output held before is undefined, so a pass never adds to it.
///   Where two ops contribute to one gradient, the tape appends the sum.
/// * **It reads what it declared.** Forward reads the inputs; backward reads `dy` and what `keeps` named.
/// * **It cannot fail for a reason of shapes.** `infer` has refused what does not fit. On the host a pass returns nothing; a launch
///   returns the device's errors.
/// * **It gives the same bits every time**, for any number of threads. Work is cut by sizes alone and sums have a fixed order
///   ([`par`](super::par) has loops that do so); a place that many would add to is gathered by one. There are no float atomics.
/// * **It allocates nothing** that `scratch` can provide: after a plan is made, a run asks for no memory.
///
/// # An example
///
/// y = x², whole: the op, a function that records it, and a check of its gradient. `examples/04_new_op.rs` adds a CUDA kernel.
///
/// ```
/// use lae_engine::core::op::{Host, Keeps, Set};
/// use lae_engine::core::par;
/// use lae_engine::core::real::Real;
/// use lae_engine::ops::dot::dot;
/// use lae_engine::{Memory, Op, ParamStore, Plan, Result, Shape, Tape, Var};
///
/// #[derive(Debug)]
/// struct Square;
///
/// fn square(t: &mut Tape, x: Var) -> Result<Var> {
///     t.apply(Square, &[x])
/// }
///
/// impl Op for Square {
///     fn name(&self) -> &'static str {
///         "square"
///     }
///     fn infer(&self, x: &[Shape]) -> Result<Vec<Shape>, String> {
///         match x {
///             [x] => Ok(vec![*x]),
///             _ => Err(format!("needs one input, got {}", x.len())),
///         }
///     }
///     fn keeps(&self, _wants: Set) -> Keeps {
///         Keeps::x(Set::of(0))                                       // backward reads x, and y can go
///     }
///     fn forward<T: Real>(&self, m: Host<T>) {
///         let ([y, ..], x) = (m.out, m.x[0]);
///         par::map(y, x, |x| x * x);
///     }
///     fn backward<T: Real>(&self, m: Host<T>) {
///         let ([dx, ..], x, dy) = (m.out, m.x[0], m.dy);
///         par::map2(dx, x, dy, |x, dy| (x + x) * dy);
///     }
/// }
///
/// // f = ⟨u, x²⟩ at x = (1, −2, 3), u = (1, 10, 100). df/dx = 2·x·u.
/// let mut store = ParamStore::<f64>::new(0);
/// let mut t = Tape::new(&store);
/// let (x, u) = (t.input(Shape::vector(3)), t.input(Shape::vector(3)));
/// let y = square(&mut t, x)?;
/// let f = dot(&mut t, y, u)?;
/// let dx = t.backward(f, &[x])?.of(x).expect("asked for");
/// let mut plan = Plan::<f64>::new(t, &[f, dx], Memory::Planned)?;
/// plan.feed(x)?.copy_from_slice(&[1.0, -2.0, 3.0]);
/// plan.feed(u)?.copy_from_slice(&[1.0, 10.0, 100.0]);
/// plan.run(&mut store)?;
/// assert_eq!(plan.scalar(f)?, 1.0 + 40.0 + 900.0);
/// assert_eq!(plan.fetch(dx)?, [2.0, -40.0, 600.0]);
/// # Ok::<(), lae_engine::Error>(())
/// ```
pub trait Op: Debug + 'static {
    /// The word that errors, traces and tables use: lower case, unique among the ops. Kernels are named after it.
    fn name(&self) -> &'static str;

    /// Shapes of the outputs for inputs of shapes `x`, or why these do not fit. The only place that may reject shapes, and it sees
    /// shapes alone, before there is memory. The text should name what was given and what is expected; the engine adds the op and
    /// the layer: `net.2: linear: input has 64 values per picture, matrix expects 128 …`. At most [`MAX`] inputs and outputs. An
    /// op without outputs (an optimiser) has something to update.
    fn infer(&self, x: &[Shape]) -> Result<Vec<Shape>, String>;

    /// Which inputs and outputs may be bf16. Default: none.
    ///
    /// The passes of such an op need no bf16 code: the plan hands them operands of its own type in scratch memory, and rounds each
    /// result once (`src/core/widen.rs`). An op that reads and writes bf16 itself says so by [`Op::half_on_host`] and
    /// [`Op::half_on_gpu`].
    fn halves(&self) -> Halves {
        Halves::NONE
    }
    /// Whether this pass on the host takes the operands in [`Host::half`] as they are.
    fn half_on_host(&self, _pass: Pass) -> bool {
        false
    }
    /// Whether the launches of this pass, of inputs of shapes `xs`, take bf16 operands as they are.
    fn half_on_gpu(&self, _pass: Pass, _xs: &[Shape]) -> bool {
        false
    }

    /// Types of the `outputs` outputs, or why those of the inputs do not fit. Default: as [`Op::halves`] says.
    fn dtypes(&self, x: &[DType], outputs: usize) -> Result<Vec<DType>, String> {
        let halves = self.halves();
        let one = x.iter().enumerate().find(|(i, _)| halves.x.has(*i)).map_or(DType::F32, |(_, &t)| t);
        for (i, &t) in x.iter().enumerate() {
            if t != if halves.x.has(i) { one } else { DType::F32 } {
                return Err(match halves.x.has(i) {
                    false => format!("takes f32 values, got {t} for input {i}; cast it first (ops::cast)"),
                    true => format!(
                        "takes values of one type, got {t} for input {i} behind {one}; cast one of them first (ops::cast)"
                    ),
                });
            }
        }
        Ok((0..outputs).map(|i| if halves.y.has(i) { one } else { DType::F32 }).collect())
    }

    /// What backward reads when the gradients in `wants` are asked for. `wants` holds the differentiable inputs that are a value in
    /// the `wrt` of [`Tape::backward`](super::tape::Tape::backward), or depend on one: a frozen filter is not in it, nor a picture.
    /// What is named here stays in memory until backward has run, so the answer should be small and may depend on `wants` (a
    /// convolution whose filter's gradient is not wanted does not keep its input).
    fn keeps(&self, wants: Set) -> Keeps;

    /// Inputs that have a gradient at all (labels, masks and an optimiser's operands have none). Default: all.
    fn differentiable(&self) -> Set {
        Set::first(MAX)
    }

    /// Inputs that the forward pass changes in place: running statistics, the operands of an optimiser. They are written as outputs
    /// after the inferred ones, in this order, hold their old value on entry, and are then not among `x`. Only these may be read
    /// from `out`. Recording backward through an op that kept an input which a later step updates is an error.
    fn updates(&self) -> &'static [usize] {
        &[]
    }

    /// Workspace of a pass on the host, in values. All steps of a plan share it, one after the other. Default: none.
    fn scratch(&self, _pass: Pass, _xs: &[Shape], _ys: &[Shape], _wants: Set) -> usize {
        0
    }

    /// What a pass must do at least: benchmarks and estimates divide by it. Default: one operation per output value (forward) or
    /// input value (backward), and the bytes of all operands in f32.
    fn cost(&self, pass: Pass, xs: &[Shape], ys: &[Shape]) -> Cost {
        let (x, y) = (xs.iter().map(|s| s.len()).sum::<usize>(), ys.iter().map(|s| s.len()).sum::<usize>());
        match pass {
            Pass::Forward => Cost { macs: y as u64, bytes: 4 * (x + y) as u64 },
            Pass::Backward => Cost { macs: x as u64, bytes: 4 * (2 * x + y) as u64 },
        }
    }

    /// The forward pass on the host: reads `m.x`, writes `m.out`. Written once over [`Real`]: in f32 it trains, in f64 it is the
    /// oracle that kernels and gradients are compared with, so the plain formula is better than a clever one.
    fn forward<T: Real>(&self, m: Host<T>);
    /// The backward pass on the host: reads `m.dy` and what was kept, writes `m.out[i]` = Σ dy · ∂y/∂x_i for each wanted input `i`.
    /// A gradient that is not wanted is an empty slice; skip its work. Never called for an op without a differentiable input.
    fn backward<T: Real>(&self, m: Host<T>);

    /// Workspace of the launches of a pass, in bytes. Default: none.
    fn gpu_scratch(&self, _pass: Pass, _xs: &[Shape], _ys: &[Shape], _wants: Set, _precision: Precision) -> usize {
        0
    }
    /// The launches of the forward pass, by [`Operands::call`]; see [`crate::core::launch`]. The same contract as `forward`: outputs are
    /// only written (their old contents are undefined), except those in [`Op::updates`]. A launch says of each buffer whether the
    /// kernel reads, writes or updates it, and the emulator enforces that. Default: an error that names the op, so that an op
    /// without kernels trains on the CPU and is refused elsewhere.
    fn gpu_forward(&self, g: &Operands) -> Result<()> {
        Err(g.no_kernel(self.name()))
    }
    /// The launches of the backward pass, with the contract of [`backward`](Op::backward); [`Operands::wants`] tells which gradients to
    /// compute.
    fn gpu_backward(&self, g: &Operands) -> Result<()> {
        Err(g.no_kernel(self.name()))
    }
}

/// [`Op`] without its type parameters: what a tape stores.
pub trait DynOp: Debug + Any {
    fn name(&self) -> &'static str;
    fn infer(&self, at: &str, x: &[Shape]) -> Result<Vec<Shape>>;
    fn dtypes(&self, at: &str, x: &[DType], outputs: usize) -> Result<Vec<DType>>;
    fn halves(&self) -> Halves;
    fn half_on_host(&self, pass: Pass) -> bool;
    fn half_on_gpu(&self, pass: Pass, xs: &[Shape]) -> bool;
    fn keeps(&self, wants: Set) -> Keeps;
    fn differentiable(&self) -> Set;
    fn updates(&self) -> &'static [usize];
    fn scratch(&self, pass: Pass, xs: &[Shape], ys: &[Shape], wants: Set) -> usize;
    fn cost(&self, pass: Pass, xs: &[Shape], ys: &[Shape]) -> Cost;
    fn run_f32(&self, pass: Pass, m: Host<f32>);
    fn run_f64(&self, pass: Pass, m: Host<f64>);
    fn gpu_scratch(&self, pass: Pass, xs: &[Shape], ys: &[Shape], wants: Set, precision: Precision) -> usize;
    fn launch(&self, pass: Pass, g: &Operands) -> Result<()>;
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
    fn halves(&self) -> Halves {
        Op::halves(self)
    }
    fn half_on_host(&self, pass: Pass) -> bool {
        Op::half_on_host(self, pass)
    }
    fn half_on_gpu(&self, pass: Pass, xs: &[Shape]) -> bool {
        Op::half_on_gpu(self, pass, xs)
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
    fn launch(&self, pass: Pass, g: &Operands) -> Result<()> {
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
