//! What an op's launch code works with: the operands of one step as spans of device memory, and a builder for launches.
//!
//! ```text
//! g.call("conv2d_fprop_f32")?
//!     .grid([tiles, filters, 1]).block(256)
//!     .read(g.x(0)).read(g.x(1)).write(g.out(0))     // arguments in the kernel's order
//!     .value(&sizes)                                 // one #[repr(C)] struct by value
//!     .go()
//! ```

use super::shape::Shape;
use crate::device::kernels::{self, Kernel};
use crate::device::{Arg, Driver, Launch, Precision, Span, TensorMap};
use crate::error::{Error, Result};

pub use crate::device::F32;

/// Most inputs and outputs that an op may have.
pub const MAX: usize = 6;

/// How many channels a kernel may take at once: 4 if there are whole fours of them and every span allows float4, else 1.
pub fn vec4(channels: usize, spans: &[Span]) -> usize {
    if channels.is_multiple_of(4) && spans.iter().all(|s| s.offset.is_multiple_of(16)) { 4 } else { 1 }
}

/// The operands of one step. Absent ones (not kept, not wanted) are `None`.
pub struct Operands<'a> {
    pub driver: &'a dyn Driver,
    /// What conv2d and its relatives may round their factors to.
    pub precision: Precision,
    /// The layer that the step was recorded in, for errors.
    pub at: &'a str,
    /// Shapes of the forward inputs and outputs, in both passes.
    pub xs: &'a [Shape],
    pub ys: &'a [Shape],
    pub x: [Option<Span>; MAX],
    pub y: [Option<Span>; MAX],
    /// Backward: the gradient of output 0.
    pub dy: Option<Span>,
    /// Forward: outputs, then updated inputs. Backward: gradients of the inputs.
    pub out: [Option<Span>; MAX],
    /// `Op::gpu_scratch` bytes, contents undefined.
    pub scratch: Option<Span>,
}

impl Operands<'_> {
    /// Forward input `i`, which this pass reads.
    pub fn x(&self, i: usize) -> Span {
        self.x[i].expect("the op keeps this input")
    }
    /// Forward output `i`, which backward reads.
    pub fn y(&self, i: usize) -> Span {
        self.y[i].expect("the op keeps this output")
    }
    pub fn dy(&self) -> Span {
        self.dy.expect("a backward pass has a gradient")
    }
    /// What this pass writes: output `i`, or the gradient of input `i`.
    pub fn out(&self, i: usize) -> Span {
        self.out[i].expect("the output is wanted")
    }
    pub fn wants(&self, i: usize) -> bool {
        self.out[i].is_some()
    }
    /// Values `first..first + len` of the scratch memory.
    pub fn scratch(&self, first: usize, len: usize) -> Span {
        self.scratch.expect("the op asked for scratch memory").values(first, len)
    }
    /// Begin a launch of the kernel of that name. Kernels count values in 32 bits.
    pub fn call(&self, kernel: &str) -> Result<Call<'_>> {
        if let Some(s) = self.xs.iter().chain(self.ys).find(|s| s.len() > u32::MAX as usize) {
            let why = format!("a value of {s} has {} numbers, and kernels count to {}; use a smaller batch", s.len(), u32::MAX);
            return Err(Error::Launch { kernel: kernel.to_string(), at: self.at.to_string(), why });
        }
        let Some(kernel) = kernels::find(kernel) else {
            let why = match kernels::KERNELS.is_empty() {
                true => "this build has no kernels; `lae-engine doctor` says why".to_string(),
                false => format!("this build has no kernel {kernel}: add it to kernels/, or hand its PTX to kernels::register"),
            };
            return Err(Error::Unavailable { device: self.driver.name().to_string(), why });
        };
        Ok(Call {
            driver: self.driver,
            at: self.at,
            kernel,
            grid: [1; 3],
            block: [1; 3],
            shared: 0,
            args: Vec::new(),
            misaligned: None,
        })
    }
    /// The kernel `NAME_f32` or `NAME_bf16`, by the type of what `s` holds.
    pub fn typed(&self, name: &str, s: Span) -> Result<Call<'_>> {
        self.call(&format!("{name}_{}", if s.unit == F32 { "f32" } else { "bf16" }))
    }
    pub fn no_kernel(&self, op: &str) -> Error {
        Error::Unavailable { device: self.driver.name().to_string(), why: format!("{op} has no kernel in this build") }
    }
}

/// A launch in the making: arguments are added in the kernel's order.
pub struct Call<'a> {
    driver: &'a dyn Driver,
    at: &'a str,
    kernel: &'static Kernel,
    grid: [u32; 3],
    block: [u32; 3],
    shared: u32,
    args: Vec<Arg>,
    /// A value whose alignment is not the kernel's: the two structs differ.
    misaligned: Option<String>,
}

/// What does not fit is refused by [`Launch::check`].
fn saturate(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

impl Call<'_> {
    /// Blocks along x, y, z.
    pub fn grid(mut self, grid: [usize; 3]) -> Self {
        self.grid = grid.map(saturate);
        self
    }
    /// Threads of a block.
    pub fn block(self, threads: usize) -> Self {
        self.block3([threads, 1, 1])
    }
    pub fn block3(mut self, block: [usize; 3]) -> Self {
        self.block = block.map(saturate);
        self
    }
    /// Enough threads for `count` values, four to each: what `my_four` in kernels/lae.cuh expects.
    pub fn elements(self, count: usize) -> Self {
        self.grid([count.div_ceil(1024), 1, 1]).block(256)
    }
    /// Dynamic shared memory in bytes.
    pub fn shared(mut self, bytes: usize) -> Self {
        self.shared = saturate(bytes);
        self
    }
    /// A pointer that the kernel only reads through.
    pub fn read(self, s: Span) -> Self {
        self.arg(Arg::Read(s))
    }
    /// A pointer to memory that the kernel fills; what was there is undefined.
    pub fn write(self, s: Span) -> Self {
        self.arg(Arg::Write(s))
    }
    /// A pointer to values that the kernel reads and changes.
    pub fn update(self, s: Span) -> Self {
        self.arg(Arg::Update(s))
    }
    /// `read` if there is something to read, else a null pointer.
    pub fn read_or_null(self, s: Option<Span>) -> Self {
        self.arg(s.map_or(Arg::Null, Arg::Read))
    }
    /// `write` if somebody wants the values, else a null pointer.
    pub fn write_or_null(self, s: Option<Span>) -> Self {
        self.arg(s.map_or(Arg::Null, Arg::Write))
    }
    /// A tensor map by value, through which the kernel's copies read the tensor that `s` holds.
    pub fn map(self, s: Span, map: TensorMap) -> Self {
        self.arg(Arg::Map { span: s, map: Box::new(map), write: false })
    }
    /// Plain data by value: sizes and constants.
    pub fn value<T: bytemuck::NoUninit>(mut self, v: &T) -> Self {
        let (i, align) = (self.args.len(), align_of::<T>());
        if let Some(p) = self.kernel.params.get(i).filter(|p| p.align as usize != align) {
            self.misaligned = Some(format!("argument {i} is aligned to {} bytes in the kernel, to {align} here", p.align));
        }
        self.arg(Arg::Value(bytemuck::bytes_of(v).into()))
    }
    fn arg(mut self, a: Arg) -> Self {
        self.args.push(a);
        self
    }
    pub fn go(self) -> Result<()> {
        if let Some(why) = self.misaligned {
            return Err(Error::Launch { kernel: self.kernel.name.to_string(), at: self.at.to_string(), why });
        }
        let launch = Launch { kernel: self.kernel, grid: self.grid, block: self.block, shared: self.shared, args: self.args };
        launch.check().and_then(|()| self.driver.launch(&launch)).map_err(|e| e.at(self.at))
    }
}
