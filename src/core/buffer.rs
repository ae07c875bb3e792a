//! Memory aligned to cache lines, so that vector loads never straddle two of them.

use std::marker::PhantomData;

use bytemuck::Pod;

#[repr(C, align(64))]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Line([u8; 64]);

/// A fixed number of values, zeroed at birth, aligned to 64 bytes. `Default` is empty and owns nothing.
#[derive(Clone)]
pub struct Buffer<T> {
    lines: Vec<Line>,
    len: usize,
    of: PhantomData<T>,
}

impl<T> Default for Buffer<T> {
    fn default() -> Self {
        Buffer { lines: Vec::new(), len: 0, of: PhantomData }
    }
}

impl<T: Pod> Buffer<T> {
    pub fn new(len: usize) -> Self {
        let mut b = Buffer::default();
        b.resize(len);
        b
    }
    /// None if the system refuses the memory.
    pub fn try_new(len: usize) -> Option<Self> {
        let mut b = Buffer::default();
        b.lines.try_reserve_exact(len.checked_mul(size_of::<T>())?.div_ceil(64)).ok()?;
        b.resize(len);
        Some(b)
    }
    /// Keeps the old values; new ones are zero.
    pub fn resize(&mut self, len: usize) {
        self.lines.resize((len * size_of::<T>()).div_ceil(64), Line([0; 64]));
        self.len = len;
    }
    pub fn bytes(&self) -> usize {
        self.lines.len() * 64
    }
    /// The same memory as values of another type. Panics unless they fill it.
    pub fn cast<U: Pod>(self) -> Buffer<U> {
        let bytes = self.len * size_of::<T>();
        assert!(bytes.is_multiple_of(size_of::<U>()), "{bytes} bytes are no values of {} bytes", size_of::<U>());
        Buffer { lines: self.lines, len: bytes / size_of::<U>(), of: PhantomData }
    }
}

impl<T: Pod> std::ops::Deref for Buffer<T> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        &bytemuck::cast_slice(&self.lines)[..self.len]
    }
}

impl<T: Pod> std::ops::DerefMut for Buffer<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        &mut bytemuck::cast_slice_mut(&mut self.lines)[..self.len]
    }
}
