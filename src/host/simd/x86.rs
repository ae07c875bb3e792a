//! AVX2 and AVX-512 registers, and the functions that switch their instructions on.
//!
//! Two kinds of `unsafe` here, and one reason for each: intrinsics run only inside functions whose `target_feature` a detected
//! [`Level`](super::Level) vouches for, and pointers are the promise of the safe functions in the parent module.

use std::arch::x86_64::*;

pub mod winograd;

use super::{Kernel, Out, Pixels, Start, Tap, Vector, copy_rows, gather_lines, gather_taps, spread_lines, spread_taps, tile};

pub static AVX2: &[Kernel] = &[
    kernel!(4, 1, avx2_4, avx2_4, 1; 1 2 3 4 5 6 7 8 9 10 11 12),
    kernel!(8, 1, avx2_8, avx2_8, 1; 1 2 3 4 5 6 7 8 9 10 11 12),
    kernel!(16, 1, avx2_8, avx2_8, 2; 1 2 3 4 5 6),
];
pub static AVX512: &[Kernel] = &[
    kernel!(4, 4, avx512_quads, avx512_4, 1; 1 2 3 4 5 6 7 8 9 10 11 12 13 14),
    kernel!(8, 2, avx512_pairs, avx512_8, 1; 1 2 3 4 5 6 7 8 9 10 11 12 13 14),
    kernel!(16, 1, avx512_16, avx512_16, 1; 1 2 3 4 5 6 7 8 9 10 11 12 13 14),
    kernel!(32, 1, avx512_16, avx512_16, 2; 1 2 3 4 5 6 7 8 9 10 11 12 13 14),
];

/// [`tile`] over one register, compiled for the instructions it needs.
macro_rules! compile {
    ($($name:ident: $vector:ty, $features:literal;)*) => { $(
        /// # Safety
        /// As [`tile`].
        #[target_feature(enable = $features)]
        unsafe fn $name<const M: usize, const NV: usize, const STRIP: bool>(a: *const f32, b: *const f32, depth: usize, out: &Out) {
            // SAFETY: the caller's promise.
            unsafe { tile::<$vector, M, NV, STRIP>(a, b, depth, out) }
        }
    )* };
}
compile! {
    avx2_4: __m128, "avx2,fma";
    avx2_8: __m256, "avx2,fma";
    avx512_4: __m128, "avx512f,avx512vl";
    avx512_8: __m256, "avx512f,avx512vl";
    avx512_16: __m512, "avx512f";
    avx512_pairs: Pairs, "avx512f";
    avx512_quads: Quads, "avx512f";
}

/// # Safety
/// As [`copy_rows`].
#[target_feature(enable = "avx512f")]
pub unsafe fn copy_rows_512(s: *const f32, s_step: usize, d: *mut f32, d_step: usize, rows: usize, len: usize) {
    // SAFETY: the caller's promise.
    unsafe { copy_rows::<__m512>(s, s_step, d, d_step, rows, len) }
}
/// # Safety
/// As [`copy_rows`].
#[target_feature(enable = "avx2,fma")]
pub unsafe fn copy_rows_256(s: *const f32, s_step: usize, d: *mut f32, d_step: usize, rows: usize, len: usize) {
    // SAFETY: the caller's promise.
    unsafe { copy_rows::<__m256>(s, s_step, d, d_step, rows, len) }
}

/// # Safety
/// As [`gather_lines`].
#[target_feature(enable = "avx512f")]
pub unsafe fn gather_lines_512(taps: &[usize], x: *const f32, w: *const f32, width: usize, start: [f32; 4], sums: *mut f32) {
    // SAFETY: the caller's promise.
    unsafe { gather_lines::<__m512>(taps, x, w, width, start, sums) }
}
/// # Safety
/// As [`spread_lines`].
#[target_feature(enable = "avx512f")]
pub unsafe fn spread_lines_512(taps: &[usize], x: *const f32, dy: (*const f32, usize, usize), width: usize, sums: *mut f32) {
    // SAFETY: the caller's promise.
    unsafe { spread_lines::<__m512>(taps, x, dy, width, sums) }
}
/// # Safety
/// As [`gather_lines`].
#[target_feature(enable = "avx2,fma")]
pub unsafe fn gather_lines_256(taps: &[usize], x: *const f32, w: *const f32, width: usize, start: [f32; 4], sums: *mut f32) {
    // SAFETY: the caller's promise.
    unsafe { gather_lines::<__m256>(taps, x, w, width, start, sums) }
}
/// # Safety
/// As [`spread_lines`].
#[target_feature(enable = "avx2,fma")]
pub unsafe fn spread_lines_256(taps: &[usize], x: *const f32, dy: (*const f32, usize, usize), width: usize, sums: *mut f32) {
    // SAFETY: the caller's promise.
    unsafe { spread_lines::<__m256>(taps, x, dy, width, sums) }
}
/// # Safety
/// As [`gather_taps`].
#[target_feature(enable = "avx512f")]
pub unsafe fn gather_taps_512(p: Pixels, taps: &[Tap], x: *const f32, w: *const f32, y: *mut f32, start: Start) {
    // SAFETY: the caller's promise.
    unsafe { gather_taps::<__m512>(p, taps, x, w, y, start) }
}
/// # Safety
/// As [`gather_taps`].
#[target_feature(enable = "avx2,fma")]
pub unsafe fn gather_taps_256(p: Pixels, taps: &[Tap], x: *const f32, w: *const f32, y: *mut f32, start: Start) {
    // SAFETY: the caller's promise.
    unsafe { gather_taps::<__m256>(p, taps, x, w, y, start) }
}
/// # Safety
/// As [`spread_taps`].
#[target_feature(enable = "avx512f")]
pub unsafe fn spread_taps_512(p: Pixels, taps: &[Tap], x: *const f32, dy: *const f32, sums: *mut f32) {
    // SAFETY: the caller's promise.
    unsafe { spread_taps::<__m512>(p, taps, x, dy, sums) }
}
/// # Safety
/// As [`spread_taps`].
#[target_feature(enable = "avx2,fma")]
pub unsafe fn spread_taps_256(p: Pixels, taps: &[Tap], x: *const f32, dy: *const f32, sums: *mut f32) {
    // SAFETY: the caller's promise.
    unsafe { spread_taps::<__m256>(p, taps, x, dy, sums) }
}

/// Transposes 16 × 16 floats: pairs, quads, then 128-bit lanes change places.
///
/// # Safety
/// 16 rows of 16 floats at either pointer, `s_step` and `d_step` apart.
#[target_feature(enable = "avx512f")]
pub unsafe fn transpose_16(s: *const f32, s_step: usize, d: *mut f32, d_step: usize) {
    // SAFETY: the caller's promise.
    unsafe {
        let rows: [__m512; 16] = std::array::from_fn(|i| _mm512_loadu_ps(s.add(i * s_step)));
        let mut pairs = [_mm512_setzero_ps(); 16];
        for i in 0..8 {
            pairs[2 * i] = _mm512_unpacklo_ps(rows[2 * i], rows[2 * i + 1]);
            pairs[2 * i + 1] = _mm512_unpackhi_ps(rows[2 * i], rows[2 * i + 1]);
        }
        // quads[4·i + c] holds columns c, c + 4, c + 8, c + 12 of rows 4·i..4·i + 4.
        let mut quads = [_mm512_setzero_ps(); 16];
        for i in 0..4 {
            for c in 0..4 {
                let (a, b) = (pairs[4 * i + c / 2], pairs[4 * i + 2 + c / 2]);
                quads[4 * i + c] = if c % 2 == 0 { _mm512_shuffle_ps::<0x44>(a, b) } else { _mm512_shuffle_ps::<0xee>(a, b) };
            }
        }
        for c in 0..4 {
            let (lo, hi) =
                (_mm512_shuffle_f32x4::<0x88>(quads[c], quads[4 + c]), _mm512_shuffle_f32x4::<0xdd>(quads[c], quads[4 + c]));
            let (lo2, hi2) = (
                _mm512_shuffle_f32x4::<0x88>(quads[8 + c], quads[12 + c]),
                _mm512_shuffle_f32x4::<0xdd>(quads[8 + c], quads[12 + c]),
            );
            _mm512_storeu_ps(d.add(c * d_step), _mm512_shuffle_f32x4::<0x88>(lo, lo2));
            _mm512_storeu_ps(d.add((c + 4) * d_step), _mm512_shuffle_f32x4::<0x88>(hi, hi2));
            _mm512_storeu_ps(d.add((c + 8) * d_step), _mm512_shuffle_f32x4::<0xdd>(lo, lo2));
            _mm512_storeu_ps(d.add((c + 12) * d_step), _mm512_shuffle_f32x4::<0xdd>(hi, hi2));
        }
    }
}

impl Vector for __m512 {
    const LANES: usize = 16;
    #[inline(always)]
    unsafe fn zero() -> Self {
        // SAFETY: here and below, only functions that enable the instructions use this type, and pointers are the
        // caller's promise.
        unsafe { _mm512_setzero_ps() }
    }
    #[inline(always)]
    unsafe fn splat(p: *const f32) -> Self {
        unsafe { _mm512_set1_ps(*p) }
    }
    #[inline(always)]
    unsafe fn load(p: *const f32) -> Self {
        unsafe { _mm512_loadu_ps(p) }
    }
    #[inline(always)]
    unsafe fn store(self, p: *mut f32) {
        unsafe { _mm512_storeu_ps(p, self) }
    }
    #[inline(always)]
    unsafe fn load_part(p: *const f32, n: usize) -> Self {
        unsafe { _mm512_maskz_loadu_ps((1u16 << n) - 1, p) }
    }
    #[inline(always)]
    unsafe fn store_part(self, p: *mut f32, n: usize) {
        unsafe { _mm512_mask_storeu_ps(p, (1u16 << n) - 1, self) }
    }
    #[inline(always)]
    unsafe fn add(self, o: Self) -> Self {
        unsafe { _mm512_add_ps(self, o) }
    }
    #[inline(always)]
    unsafe fn prefetch(p: *const f32) {
        unsafe { _mm_prefetch::<_MM_HINT_T1>(p.cast()) }
    }
    #[inline(always)]
    unsafe fn fma(self, a: Self, b: Self) -> Self {
        unsafe { _mm512_fmadd_ps(a, b, self) }
    }
}

/// Registers of a narrow kernel: as [`__m512`], but with STEP partial sums for each of LANES columns.
macro_rules! narrow {
    ($(#[$doc:meta])* $t:ident, $lanes:literal, $step:literal, |$p:ident| $splat:expr, |$sums:ident| $fold:expr) => {
        $(#[$doc])*
        #[derive(Clone, Copy)]
        struct $t(__m512);

        impl Vector for $t {
            const LANES: usize = $lanes;
            const STEP: usize = $step;
            #[inline(always)]
            unsafe fn zero() -> Self {
                // SAFETY: here and below, as for __m512.
                $t(unsafe { __m512::zero() })
            }
            #[inline(always)]
            unsafe fn splat($p: *const f32) -> Self {
                $t(unsafe { $splat })
            }
            #[inline(always)]
            unsafe fn load(p: *const f32) -> Self {
                $t(unsafe { __m512::load(p) })
            }
            #[inline(always)]
            unsafe fn store(self, p: *mut f32) {
                unsafe { self.0.store(p) }
            }
            #[inline(always)]
            unsafe fn load_part(p: *const f32, n: usize) -> Self {
                $t(unsafe { __m512::load_part(p, n) })
            }
            #[inline(always)]
            unsafe fn store_part(self, p: *mut f32, n: usize) {
                unsafe { self.0.store_part(p, n) }
            }
            #[inline(always)]
            unsafe fn add(self, o: Self) -> Self {
                $t(unsafe { self.0.add(o.0) })
            }
            #[inline(always)]
            unsafe fn fma(self, a: Self, b: Self) -> Self {
                $t(unsafe { self.0.fma(a.0, b.0) })
            }
            #[inline(always)]
            unsafe fn fold(self) -> Self {
                let $sums = self.0;
                $t(unsafe { $fold })
            }
            #[inline(always)]
            unsafe fn prefetch(p: *const f32) {
                unsafe { __m512::prefetch(p) }
            }
        }
    };
}

narrow!(
    /// Eight columns of two steps.
    Pairs,
    8,
    2,
    |p| _mm512_castpd_ps(_mm512_set1_pd(p.cast::<f64>().read_unaligned())),
    |sums| {
        let sums = _mm512_add_ps(sums, _mm512_permute_ps::<0b10_11_00_01>(sums));
        _mm512_maskz_compress_ps(0x5555, sums)
    }
);
narrow!(
    /// Four columns of four steps.
    Quads,
    4,
    4,
    |p| _mm512_broadcast_f32x4(_mm_loadu_ps(p)),
    |sums| {
        let sums = _mm512_add_ps(sums, _mm512_permute_ps::<0b10_11_00_01>(sums));
        let sums = _mm512_add_ps(sums, _mm512_permute_ps::<0b01_00_11_10>(sums));
        _mm512_maskz_compress_ps(0x1111, sums)
    }
);

/// The first n lanes of a masked load or store are on: read from `LANES - n`.
static MASK: [i32; 16] = [-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0];

impl Vector for __m256 {
    const LANES: usize = 8;
    #[inline(always)]
    unsafe fn zero() -> Self {
        // SAFETY: as for __m512.
        unsafe { _mm256_setzero_ps() }
    }
    #[inline(always)]
    unsafe fn splat(p: *const f32) -> Self {
        unsafe { _mm256_set1_ps(*p) }
    }
    #[inline(always)]
    unsafe fn load(p: *const f32) -> Self {
        unsafe { _mm256_loadu_ps(p) }
    }
    #[inline(always)]
    unsafe fn store(self, p: *mut f32) {
        unsafe { _mm256_storeu_ps(p, self) }
    }
    #[inline(always)]
    unsafe fn load_part(p: *const f32, n: usize) -> Self {
        unsafe { _mm256_maskload_ps(p, _mm256_loadu_si256(MASK.as_ptr().add(8 - n).cast())) }
    }
    #[inline(always)]
    unsafe fn store_part(self, p: *mut f32, n: usize) {
        unsafe { _mm256_maskstore_ps(p, _mm256_loadu_si256(MASK.as_ptr().add(8 - n).cast()), self) }
    }
    #[inline(always)]
    unsafe fn add(self, o: Self) -> Self {
        unsafe { _mm256_add_ps(self, o) }
    }
    #[inline(always)]
    unsafe fn prefetch(p: *const f32) {
        unsafe { _mm_prefetch::<_MM_HINT_T1>(p.cast()) }
    }
    #[inline(always)]
    unsafe fn fma(self, a: Self, b: Self) -> Self {
        unsafe { _mm256_fmadd_ps(a, b, self) }
    }
}

impl Vector for __m128 {
    const LANES: usize = 4;
    #[inline(always)]
    unsafe fn zero() -> Self {
        // SAFETY: as for __m512.
        unsafe { _mm_setzero_ps() }
    }
    #[inline(always)]
    unsafe fn splat(p: *const f32) -> Self {
        unsafe { _mm_set1_ps(*p) }
    }
    #[inline(always)]
    unsafe fn load(p: *const f32) -> Self {
        unsafe { _mm_loadu_ps(p) }
    }
    #[inline(always)]
    unsafe fn store(self, p: *mut f32) {
        unsafe { _mm_storeu_ps(p, self) }
    }
    #[inline(always)]
    unsafe fn load_part(p: *const f32, n: usize) -> Self {
        unsafe { _mm_maskload_ps(p, _mm_loadu_si128(MASK.as_ptr().add(8 - n).cast())) }
    }
    #[inline(always)]
    unsafe fn store_part(self, p: *mut f32, n: usize) {
        unsafe { _mm_maskstore_ps(p, _mm_loadu_si128(MASK.as_ptr().add(8 - n).cast()), self) }
    }
    #[inline(always)]
    unsafe fn add(self, o: Self) -> Self {
        unsafe { _mm_add_ps(self, o) }
    }
    #[inline(always)]
    unsafe fn prefetch(p: *const f32) {
        unsafe { _mm_prefetch::<_MM_HINT_T1>(p.cast()) }
    }
    #[inline(always)]
    unsafe fn fma(self, a: Self, b: Self) -> Self {
        unsafe { _mm_fmadd_ps(a, b, self) }
    }
}
