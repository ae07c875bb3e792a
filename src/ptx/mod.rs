//! A PTX emulator: runs the text that `nvcc` writes on the host, and checks what it does.

pub mod num;
pub mod pattern;
pub mod race;
