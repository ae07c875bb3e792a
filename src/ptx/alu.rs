//! The names that the tables of [`super::op`] use: arithmetic of [`super::num`], and a few words of their own.

pub(crate) use super::num::float::{
    copysign, f32_bits as bits, f64_bits as dbits, ftz, max as max_f32, max64, min as min_f32, min64,
};
pub(crate) use super::num::half::tf32_rna;
pub(crate) use super::num::int::*;

#[inline(always)]
pub(crate) fn f(a: u32) -> f32 {
    f32::from_bits(a)
}

#[inline(always)]
pub(crate) fn d(a: u64) -> f64 {
    f64::from_bits(a)
}

/// A 16-bit register as a signed number.
#[inline(always)]
pub(crate) fn s16(a: u32) -> i32 {
    a as u16 as i16 as i32
}

/// The low 24 bits as a signed number.
pub(crate) fn s24(a: u32) -> i32 {
    ((a << 8) as i32) >> 8
}
