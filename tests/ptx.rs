//! The PTX emulator on what nvcc writes, and on small pieces of PTX by hand.

#[path = "ptx/faults.rs"]
mod faults;
#[path = "ptx/kernels.rs"]
mod kernels;
