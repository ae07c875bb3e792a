//! Why PTX cannot be loaded.

use std::fmt;

/// PTX that cannot be loaded: not PTX, truncated, or (for one kernel) an instruction that is not supported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// The module's name, as given to [`Module::parse`](super::Module::parse).
    pub module: String,
    /// Line of the text, from 1.
    pub line: u32,
    /// The kernel that cannot be run; empty if the whole file cannot.
    pub kernel: String,
    pub why: String,
}

impl fmt::Display for Error {
    fn fmt(&self, o: &mut fmt::Formatter) -> fmt::Result {
        write!(o, "{}:{}: ", self.module, self.line)?;
        if !self.kernel.is_empty() {
            write!(o, "kernel `{}`: ", self.kernel)?;
        }
        write!(o, "{}", self.why)
    }
}

impl std::error::Error for Error {}
