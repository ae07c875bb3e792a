//! A PTX emulator: runs on the host the text that `nvcc` writes, lane by lane as a GPU would, and checks every step of it.
//!
//! ```text
//! text ──parse──► syntax tree ──decode──► micro-ops ──run──► memory, faults, counts
//!                    source               program, op   exec, alu, access, sync, matrix
//! ```
//! A kernel that touches memory outside its arguments, uses an uninitialised value, or waits at a barrier that not all threads
//! reach ends in a [`Fault`], which names the instruction, its source line, the thread and the memory. An instruction that the
//! emulator does not know is refused by name.
//!
//! [`Machine`] has an example. No two files need each other (`tests/ptx/layers.rs`).

// A loop over lanes indexes several arrays at once.
#![allow(clippy::needless_range_loop)]

mod access;
mod alu;
mod atomic;
mod calls;
#[cfg(feature = "cli")]
pub mod cli;
mod copy;
pub mod counters;
mod decode;
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
mod program;
pub mod race;
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
mod watch;

pub use error::Error;
pub use fault::{Details, Fault, FaultKind, Place, Site};
pub use findings::Finding;
pub use launch::{Arg, Checks, Config, Copies, Executed, Launch, Report, Survey, Truncation};
pub use machine::{Machine, NoSuchMemory, Snapshot};
pub use module::{Entry, Module, Param, Variable};
pub use num::approx::Approx;
pub use num::mma::Tensor;
pub use schedule::Schedule;
pub use signature::Kind;
pub use suppress::Suppression;
