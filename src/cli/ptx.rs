//! `lae-engine ptx`: the commands of the emulator's crate, which has a program of its own, `lae-ptx`.

pub use crate::ptx::cli::PtxArgs;
