//! Host (CPU) convolutions. `plain` is the generic oracle (obviously right), `conv` the blocked f32 kernels (fast).

pub mod conv;
pub mod plain;
pub mod sizes;
