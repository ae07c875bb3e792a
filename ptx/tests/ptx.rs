//! The PTX emulator on what nvcc writes, and on small pieces of PTX by hand.

#[path = "ptx/arguments.rs"]
mod arguments;
#[path = "ptx/calls.rs"]
mod calls;
#[path = "ptx/faults.rs"]
mod faults;
#[path = "ptx/forms.rs"]
mod forms;
#[path = "ptx/hopper.rs"]
mod hopper;
#[path = "ptx/instructions.rs"]
mod instructions;
#[path = "ptx/kernels.rs"]
mod kernels;
#[path = "ptx/layers.rs"]
mod layers;
#[path = "ptx/mbarrier.rs"]
mod mbarrier;
#[path = "ptx/warp.rs"]
mod warp;
#[path = "ptx/wmma.rs"]
mod wmma;
