//! The baselines against PyTorch, one module each; `tests/golden/NAME.py` writes the file that a module reads.

mod stats;
mod suppress;
mod twin;
//! The baselines' networks against their PyTorch twins, `tests/golden/NAME.py`, and what their detectors promise.

mod xception;
