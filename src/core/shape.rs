//! Four named dimensions, no strides. Everything here is a picture, a filter bank or a vector.

use std::fmt;

/// Shape of a value: `n` pictures of `h` × `w` pixels with `c` channels, contiguous, channels innermost (NHWC).
/// A filter bank reads `{ n: K, h: R, w: S, c: C }`, a vector `{ n, h: 1, w: 1, c }`, a scalar is all ones.
///
/// ```
/// use lae_engine::{Shape, shape};
///
/// let pictures = shape(32, 64, 64, 3);
/// assert_eq!((pictures.len(), pictures.pixels(), pictures.per_image()), (393_216, 131_072, 12_288));
/// assert_eq!(pictures.to_string(), "32×64×64×3");
/// assert_eq!(Shape { n: 1, ..pictures }, shape(1, 64, 64, 3));
/// assert_eq!(Shape::vector(10), shape(1, 1, 1, 10));
/// ```
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, bytemuck::Pod, bytemuck::Zeroable)]
pub struct Shape {
    pub n: u32,
    pub h: u32,
    pub w: u32,
    pub c: u32,
}

/// A shape of four sizes. Panics if one of them does not fit into 32 bits.
pub const fn shape(n: usize, h: usize, w: usize, c: usize) -> Shape {
    Shape { n: size(n), h: size(h), w: size(w), c: size(c) }
}

const fn size(n: usize) -> u32 {
    assert!(n <= u32::MAX as usize, "a side of a shape has at most 4,294,967,295 values");
    n as u32
}

impl Shape {
    pub const SCALAR: Shape = shape(1, 1, 1, 1);

    /// A vector of `c` values, one row.
    pub const fn vector(c: usize) -> Shape {
        shape(1, 1, 1, c)
    }
    pub const fn len(self) -> usize {
        self.n as usize * self.h as usize * self.w as usize * self.c as usize
    }
    pub const fn is_empty(self) -> bool {
        self.len() == 0
    }
    /// `n·h·w`: the number of pixels of the whole batch.
    pub const fn pixels(self) -> usize {
        self.n as usize * self.h as usize * self.w as usize
    }
    /// `h·w·c`: the number of values of one picture.
    pub const fn per_image(self) -> usize {
        self.h as usize * self.w as usize * self.c as usize
    }
    /// The four sizes as `usize`: `(n, h, w, c)`.
    pub const fn dims(self) -> (usize, usize, usize, usize) {
        (self.n as usize, self.h as usize, self.w as usize, self.c as usize)
    }
}

/// `32×128×128×64`: batch, height, width, channels.
impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{}×{}×{}×{}", self.n, self.h, self.w, self.c)
    }
}

impl fmt::Debug for Shape {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
