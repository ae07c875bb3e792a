//! The autodiff engine: an op knows both passes, a tape is a list of steps, a plan runs that list in reused memory.
//!
//! ```text
//! op ────────► tape ────────────► plan ──────────► device
//! shapes,      steps, in order;   a place for       host code, or launches
//! both passes  backward appends   every value       through a driver
//! ```
//!
//! * [`shape`]: four named sizes, batch, height, width, channels. There are no ranks and no strides.
//! * [`op`]: [`Op`](op::Op), the contract of an operation. [`real`]: the numbers that host code is generic over (f32 trains, f64 is
//!   the oracle of the tests). [`launch`]: what an op's launch code works with. [`case`](mod@case): rows of an op's table of test sizes.
//! * [`tape`]: recording. A [`Var`](tape::Var) is a value on a tape; [`Tape::backward`](tape::Tape::backward), which stands with the
//!   ops, appends the gradients.
//! * [`params`]: parameters by name in flat arenas, so that one update, one checkpoint and one norm cover all of them.
//! * [`cast`]: numbers in another type. `widen`: passes that know one type, over operands in bf16. `elementwise`: loops over either.
//! * [`plan`]: memory and execution. A plan allocates when it is made; runs allocate nothing. `layout`: which value lies where.
//! * [`rng`]: a draw is a function of seed, stream and index, independent of threads and of what was drawn before.
//! * [`par`]: loops over values on all threads, with results that do not depend on how many there are. [`buffer`]: aligned memory.
//! * [`file`](mod@file): files that are either old or new, whenever the program is stopped.

pub mod buffer;
pub mod case;
pub mod cast;
pub mod dtype;
mod elementwise;
pub mod file;
pub mod launch;
mod layout;
pub mod op;
pub mod par;
pub mod params;
pub mod plan;
pub mod real;
pub mod rng;
pub mod shape;
pub mod tape;
pub mod text;
mod widen;
