//! A PTX emulator: runs on the host the text that `nvcc -ptx` writes, lane by lane as a GPU would, and checks every step of it.
//! No GPU, no driver and no CUDA are needed.
//!
//! A kernel that touches memory outside its arguments, races, uses a value that nothing wrote, or waits at a barrier that not all
//! threads reach ends in a [`Fault`], which names the instruction, its source line, the thread and the memory. An instruction
//! that the emulator does not know is refused by name, for the kernels that have it. A kernel, tested:
//!
//! ```
//! use lae_ptx::{Arg, Config, Launch, Machine, Module, Schedule};
//!
//! // With nvcc: Module::parse("add.ptx", &std::fs::read_to_string("add.ptx")?)
//! let module = Module::parse("add.ptx", r#"
//!     .version 8.0
//!     .target sm_80
//!     .address_size 64
//!     .visible .entry add_one(.param .u64 x, .param .u32 n) {
//!         .reg .pred %p; .reg .b32 %n, %i, %v; .reg .b64 %x, %o;
//!         ld.param.u64 %x, [x]; ld.param.u32 %n, [n];
//!         mov.u32 %i, %tid.x; setp.ge.u32 %p, %i, %n; @%p ret;
//!         mul.wide.u32 %o, %i, 4; add.u64 %x, %x, %o;
//!         ld.global.u32 %v, [%x]; add.u32 %v, %v, 1; st.global.u32 [%x], %v; ret;
//!     }"#)?;
//! for schedule in [Schedule::Forward, Schedule::Reverse, Schedule::Random(1)] {
//!     let mut machine = Machine::new(Config { schedule, ..Config::default() });
//!     let x = machine.alloc("x", 400);
//!     machine.write(x, &[7; 400])?;
//!     let args = |n: u32| vec![Arg::Update { addr: x, len: 400 }, n.into()];
//!     machine.launch(&module, "add_one", &Launch::new([1; 3], [128, 1, 1], args(100)))?;
//!     assert_eq!(machine.bytes(x, 4)?, [8, 7, 7, 7]);
//!     // A hundred values, and a kernel that is told of one more:
//!     let fault = machine.launch(&module, "add_one", &Launch::new([1; 3], [128, 1, 1], args(101))).unwrap_err();
//!     assert!(fault.to_string().starts_with("out of bounds: read of 4 bytes"));
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! * [`Module`] reads PTX, [`Machine`] holds memory and runs launches: [`Machine::launch`] to the first fault, [`Machine::survey`] past all
//!   that a launch can go on from. [`Config`] says how: schedule, checks, models of arithmetic, [`Suppression`]s.
//! * [`Arg`] and [`Launch`] grant memory, pointers in structs and tables included; a kernel may touch nothing else.
//! * [`counters`], [`occupancy`] and [`roofline`] count and estimate; [`isa`] lists what runs and what does not.
//! * The examples: `struct` (pointers in a struct), `survey` (all findings, under several schedules).
//! * With the feature `cli`, a program for CI: `lae-ptx check`. The repository has a C header (`ptx/c`) and a Python package (`ptx/python`).
//!
//! What the checks and models mean, and their limits: `docs/emulator.md` in the repository.
//!
//! # How it is built
//!
//! ```text
//! text ──parse──► syntax tree ──decode──► micro-ops ──run──► memory, faults, counts
//!                    source               program, op   exec, alu, access, sync, matrix
//! ```
//! No two files need each other (`tests/ptx/layers.rs`).

// A loop over lanes indexes several arrays at once.
#![allow(clippy::needless_range_loop)]

mod access;
mod alu;
mod atomic;
mod bulk;
mod calls;
#[cfg(feature = "cli")]
pub mod cli;
mod cluster;
mod copy;
pub mod counters;
mod decode;
mod descriptor;
mod error;
mod exec;
mod fast;
mod fault;
mod findings;
mod flow;
mod footprint;
mod grid;
mod idioms;
pub mod isa;
mod lanes;
mod launch;
mod machine;
mod matrix;
mod mbarrier;
mod mem;
mod module;
pub mod num;
pub mod observe;
pub mod occupancy;
mod op;
mod operands;
mod parallel;
mod parse;
pub mod pattern;
mod phase;
mod program;
mod provided;
pub mod race;
mod rare;
mod resident;
mod rng;
pub mod roofline;
mod schedule;
mod signature;
mod simd;
mod source;
mod state;
mod suppress;
mod sync;
mod taint;
pub mod tensor_map;
mod undefined;
mod units;
mod warpgroup;
mod watch;

pub use error::Error;
pub use fault::{Details, Fault, FaultKind, Place, Site};
pub use findings::Finding;
pub use launch::{Arg, Checks, Config, Copies, Executed, Fences, Launch, Report, Survey, Truncation};
pub use machine::{Machine, NoSuchMemory, Snapshot};
pub use module::{Entry, Module, Param, Variable};
pub use num::approx::Approx;
pub use num::mma::Tensor;
pub use schedule::Schedule;
pub use signature::Kind;
pub use suppress::Suppression;
pub use tensor_map::TensorMap;
