//! All sizes of a convolution in one plain struct, in CUTLASS's letters: input N·H·W·C, filters K·R·S·(C/groups), output N·P·Q·K.

use crate::core::shape::{Shape, shape};

/// ```text
/// y[n,p,q,k] = Σ_{r,s,c} x[n, p·stride_h − pad_h + r·dil_h, q·stride_w − pad_w + s·dil_w, c] · w[k,r,s,c] + bias[k]
/// ```
/// Pixels outside the picture read as zero. With `groups = g`, filter `k` sees the `C/g` channels of its group `k / (K/g)`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, bytemuck::Pod, bytemuck::Zeroable)]
pub struct ConvSizes {
    pub n: u32,
    pub h: u32,
    pub w: u32,
    pub c: u32,
    pub k: u32,
    pub r: u32,
    pub s: u32,
    pub p: u32,
    pub q: u32,
    pub stride_h: u32,
    pub stride_w: u32,
    pub pad_h: u32,
    pub pad_w: u32,
    pub dil_h: u32,
    pub dil_w: u32,
    pub groups: u32,
}

impl ConvSizes {
    pub const fn x(&self) -> Shape {
        shape(self.n as usize, self.h as usize, self.w as usize, self.c as usize)
    }
    pub const fn filters(&self) -> Shape {
        shape(self.k as usize, self.r as usize, self.s as usize, (self.c / self.groups) as usize)
    }
    pub const fn y(&self) -> Shape {
        shape(self.n as usize, self.p as usize, self.q as usize, self.k as usize)
    }
    /// A filter for each channel.
    pub const fn is_depthwise(&self) -> bool {
        self.groups > 1 && self.groups == self.c && self.groups == self.k
    }
    /// Multiply-accumulates of one pass, zero padding counted.
    pub const fn macs(&self) -> u64 {
        self.y().len() as u64 * self.r as u64 * self.s as u64 * (self.c / self.groups) as u64
    }
}
