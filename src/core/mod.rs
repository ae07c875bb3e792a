//! The autodiff engine: shapes, ops, the tape, the plan, parameters and random numbers.

pub mod real;
pub mod rng;
pub mod shape;
