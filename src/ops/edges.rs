//! Sizes for the rows of the ops' tables, chosen so that every bound of the kernels is met from both sides.

use crate::core::shape::{Shape, shape};

/// Test sizes of ops that work value by value: one below, at and above the 1024 values of a block, less than one thread's four, and
/// every rest by four.
pub const EDGES: [Shape; 6] =
    [shape(2, 5, 7, 3), shape(1, 1, 1, 1), shape(1, 11, 31, 3), shape(4, 8, 8, 4), shape(1, 5, 5, 41), shape(2, 3, 7, 4)];

/// Test sizes of sums: around the 4096 terms of a block, three blocks, and every rest by four.
pub const SUM_EDGES: [Shape; 7] = [
    shape(2, 5, 7, 3),
    shape(1, 1, 1, 1),
    shape(3, 5, 7, 39),
    shape(4, 16, 16, 4),
    shape(1, 17, 241, 1),
    shape(3, 9, 11, 37),
    shape(2, 3, 7, 4),
];
