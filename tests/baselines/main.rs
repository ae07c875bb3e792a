//! The networks of the baselines against PyTorch: forward, Grad-CAM, loss and every gradient of one training step with the same weights,
//! on the host in both precisions and through the launches on the emulator. Twins and files: `tests/golden/NAME.py`,
//! `NAME.safetensors`.

mod golden;
mod grad_cam;
mod meso;
mod residual;
mod stats;
mod suppress;
mod transfer;
mod twin;
mod xception;
