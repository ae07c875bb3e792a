//! The baselines against PyTorch, one module each; `tests/golden/NAME.py` writes the file that a module reads.

mod stats;
mod suppress;
mod twin;
