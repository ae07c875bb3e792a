//! Host (CPU) convolution kernels, f32.
