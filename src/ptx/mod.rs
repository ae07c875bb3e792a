//! A PTX emulator: runs the text that `nvcc` writes on the host, and checks what it does.

pub mod counters;
pub mod num;
pub mod occupancy;
pub mod pattern;
pub mod race;
pub mod roofline;
