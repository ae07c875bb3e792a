//! The loops of `simd/winograd.rs`, compiled for AVX2 and AVX-512.

use std::arch::x86_64::*;

use crate::host::simd::winograd::{Part, Products, Steps, filters, pixels, product, products, results};

macro_rules! compile {
    ($features:literal, $vector:ty: $product:ident, $filters:ident, $pixels:ident, $results:ident) => {
        /// # Safety
        /// As [`product`].
        #[target_feature(enable = $features)]
        unsafe fn $product<const M: usize, const NV: usize>(
            a: *const f32,
            b: *const f32,
            depth: usize,
            c: *mut f32,
            add: bool,
            ahead: *const f32,
        ) {
            // SAFETY: the caller's promise.
            unsafe { product::<$vector, M, NV>(a, b, depth, c, add, ahead) }
        }
        /// # Safety
        /// As [`filters`].
        #[target_feature(enable = $features)]
        pub unsafe fn $filters(n: usize, taps: *const f32, count: usize, to: *mut f32, step: usize) {
            // SAFETY: the caller's promise.
            unsafe { filters::<$vector>(n, taps, count, to, step) }
        }
        /// # Safety
        /// As [`pixels`].
        #[target_feature(enable = $features)]
        pub unsafe fn $pixels(n: usize, x: *const f32, from: Steps, blocks: usize, to: *mut f32, step: usize, block: usize) {
            // SAFETY: the caller's promise.
            unsafe { pixels::<$vector>(n, x, from, blocks, to, step, block) }
        }
        /// # Safety
        /// As [`results`].
        #[target_feature(enable = $features)]
        pub unsafe fn $results(n: usize, sums: *const f32, step: usize, bias: *const f32, part: Part, y: *mut f32, to: Steps) {
            // SAFETY: the caller's promise.
            unsafe { results::<$vector>(n, sums, step, bias, part, y, to) }
        }
    };
}
compile!("avx2,fma", __m256: product_256, filters_256, pixels_256, results_256);
compile!("avx512f", __m512: product_512, filters_512, pixels_512, results_512);

pub static AVX2: Products = products!(16, product_256, 2; 1 2 3 4 5 6);
pub static AVX512: Products = products!(32, product_512, 2; 1 2 3 4 5 6 7 8 9 10 11 12 13 14);
