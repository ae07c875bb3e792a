//! The autodiff engine: an op knows both passes, a tape is a list of steps, a plan runs that list in reused memory.

pub mod buffer;
pub mod case;
pub mod dtype;
pub mod file;
pub mod launch;
pub mod op;
pub mod par;
pub mod params;
pub mod plan;
pub mod real;
pub mod rng;
pub mod shape;
pub mod tape;
