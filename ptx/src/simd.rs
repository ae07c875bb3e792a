//! Instruction sets. The run loop, and what of the rest takes its time, is compiled for every set that a machine may turn out to
//! have (`at_level!`, written beside each such function), and [`Level`] chooses among them at run time. Lane loops are plain Rust
//! over arrays; AVX is switched on around all of them, without which a multiply-add is a library call for each lane, twenty times
//! slower. All `unsafe` of the emulator is written here.

use super::num::Lanes;
use super::num::mma::Mma;

/// An instruction set that this machine has: only detection makes a `Level`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Level(Isa);

/// The instruction sets with a compilation of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Isa {
    Portable,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "x86_64")]
    Avx512,
}

impl Level {
    /// Every level of this machine, slowest first.
    pub fn all() -> impl Iterator<Item = Level> {
        #[cfg(target_arch = "x86_64")]
        let levels = {
            let avx2 = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") && is_x86_feature_detected!("bmi2");
            let avx512 = avx2
                && is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512dq")
                && is_x86_feature_detected!("avx512vl");
            [Some(Isa::Portable), avx2.then_some(Isa::Avx2), avx512.then_some(Isa::Avx512)]
        };
        #[cfg(not(target_arch = "x86_64"))]
        let levels = [Some(Isa::Portable)];
        levels.into_iter().flatten().map(Level)
    }

    pub fn best() -> Level {
        Level::all().last().expect("the portable level always exists")
    }

    /// What the level stands for. A `Level` cannot be made from it, so that holding one proves that the machine has the set.
    pub fn isa(self) -> Isa {
        self.0
    }

    pub fn name(self) -> &'static str {
        match self.0 {
            Isa::Portable => "portable",
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => "avx2",
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => "avx512",
        }
    }
}

/// Methods of [`Level`] that call a function as it is compiled for the level. The function must be `inline(always)`: only code
/// that is inlined into a function with target features is compiled with them.
macro_rules! at_level {
    ($($(#[$doc:meta])* fn $name:ident($($arg:ident: $ty:ty),*) $(-> $ret:ty)? = $f:path;)*) => {
        impl $crate::simd::Level {
            $($(#[$doc])* pub fn $name(self, $($arg: $ty),*) $(-> $ret)? {
                #[cfg(target_arch = "x86_64")]
                #[target_feature(enable = "avx2,fma,bmi1,bmi2,lzcnt,popcnt")]
                fn avx2($($arg: $ty),*) $(-> $ret)? {
                    $f($($arg),*)
                }
                #[cfg(target_arch = "x86_64")]
                #[target_feature(enable = "avx2,fma,bmi1,bmi2,lzcnt,popcnt,avx512f,avx512bw,avx512dq,avx512vl")]
                fn avx512($($arg: $ty),*) $(-> $ret)? {
                    $f($($arg),*)
                }
                use $crate::simd::Isa;
                match self.isa() {
                    Isa::Portable => $f($($arg),*),
                    // SAFETY: a Level with this instruction set exists only if the machine has it.
                    #[cfg(target_arch = "x86_64")]
                    Isa::Avx2 => unsafe { avx2($($arg),*) },
                    // SAFETY: a Level with this instruction set exists only if the machine has it.
                    #[cfg(target_arch = "x86_64")]
                    Isa::Avx512 => unsafe { avx512($($arg),*) },
                }
            })*
        }
    };
}

pub(crate) use at_level;

at_level! {
    /// [`Mma::fragments`], compiled for the level.
    fn fragments(m: &Mma, a: &[&Lanes], b: &[&Lanes], c: &[&Lanes], d: &mut [Lanes]) = Mma::fragments;
}

impl Level {
    /// [`Mma::fragments`] with the same results on every level.
    pub fn multiply(self, m: &Mma, a: &[&Lanes], b: &[&Lanes], c: &[&Lanes], d: &mut [Lanes]) {
        match (self.0, a, b, c) {
            #[cfg(target_arch = "x86_64")]
            (Isa::Avx512, &[a0, a1, a2, a3], &[b0, b1], &[c0, c1, c2, c3]) if m.is_tf32() => {
                // SAFETY: a Level with this instruction set exists only if the machine has it.
                unsafe { tf32(&[a0, a1, a2, a3], &[b0, b1], &[c0, c1, c2, c3], d) }
            }
            _ => self.fragments(m, a, b, c, d),
        }
    }
}

/// The product that convolutions are made of, m16n8k8 in tf32 with exact sums, by hand: what the compiler makes of
/// [`Mma::fragments`] takes twice as long. A row of D is eight f64 in one register. In four neighbouring lanes, registers 2h and
/// 2h + 1 of C hold the even and the odd columns of a row, so all rows here have their columns in the order 0 2 4 6 1 3 5 7.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma,bmi1,bmi2,lzcnt,popcnt,avx512f,avx512bw,avx512dq,avx512vl")]
fn tf32(a: &[&Lanes; 4], b: &[&Lanes; 2], c: &[&Lanes; 4], d: &mut [Lanes]) {
    use super::num::float::NAN;
    use super::num::half::TF32_CUT;
    use std::arch::x86_64::*;
    let widen = |x: __m256i| _mm512_cvtps_pd(_mm256_castsi256_ps(_mm256_andnot_si256(_mm256_set1_epi32(TF32_CUT as i32), x)));
    // Lanes 4·j to 4·j + 3 of register r hold column j of B, its k from 4·r.
    let mut rows_b = [_mm512_setzero_pd(); 8];
    for (rows, b) in rows_b.as_chunks_mut::<4>().0.iter_mut().zip(b) {
        let [c0, c1, c2, c3, c4, c5, c6, c7]: [[u32; 4]; 8] = bytemuck::cast(**b);
        let (even, odd) = (transpose([c0, c2, c4, c6]), transpose([c1, c3, c5, c7]));
        for (row, (even, odd)) in rows.iter_mut().zip(even.into_iter().zip(odd)) {
            *row = widen(_mm256_set_m128i(bytemuck::cast(odd), bytemuck::cast(even)));
        }
    }
    // Lanes 4·i to 4·i + 3 of registers 0 and 2 hold row i of A, of 1 and 3 row i + 8: rows_a[r][i] is four values of a row.
    let mut rows_a = [[[0f64; 4]; 8]; 4];
    for (to, a) in rows_a.iter_mut().zip(a) {
        for (to, part) in to.as_chunks_mut::<2>().0.iter_mut().zip(a.as_chunks::<8>().0) {
            let x = widen(bytemuck::cast(*part));
            *to = bytemuck::cast([_mm512_castpd512_pd256(x), _mm512_extractf64x4_pd::<1>(x)]);
        }
    }
    let c = c.map(|c| c.as_chunks::<4>().0);
    let [d0, d1, d2, d3] = d else { unreachable!("D has four registers") };
    let d = [d0, d1, d2, d3].map(|d| d.as_chunks_mut::<4>().0);
    for i in 0..8 {
        // Two rows at once: the sum of one row waits for each of its products, and meanwhile the other row proceeds. Even and odd
        // columns are joined in a register, as a store and a wider load of it would stall.
        let row = |even: [u32; 4], odd: [u32; 4]| _mm256_set_m128i(bytemuck::cast(odd), bytemuck::cast(even));
        let start = [row(c[0][i], c[1][i]), row(c[2][i], c[3][i])];
        let [mut upper, mut lower] = start.map(|x| _mm512_cvtps_pd(_mm256_castsi256_ps(x)));
        for k in 0..8 {
            let (r, k4) = (k / 4 * 2, k % 4);
            upper = _mm512_fmadd_pd(_mm512_set1_pd(rows_a[r][i][k4]), rows_b[k], upper);
            lower = _mm512_fmadd_pd(_mm512_set1_pd(rows_a[r + 1][i][k4]), rows_b[k], lower);
        }
        for (h, sum) in [upper, lower].into_iter().enumerate() {
            let sum = _mm512_cvtpd_ps(sum);
            let nan = _mm256_cmp_ps_mask::<_CMP_UNORD_Q>(sum, sum);
            let sum = _mm256_mask_blend_epi32(nan, _mm256_castps_si256(sum), _mm256_set1_epi32(NAN as i32));
            d[2 * h][i] = bytemuck::cast(_mm256_castsi256_si128(sum));
            d[2 * h + 1][i] = bytemuck::cast(_mm256_extracti128_si256::<1>(sum));
        }
    }
}

/// Asks the processor to fetch the cache line of `data[at]`.
#[inline(always)]
pub(crate) fn prefetch(data: &[u8], at: usize) {
    #[cfg(target_arch = "x86_64")]
    if let Some(byte) = data.get(at) {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: a hint; it reads nothing, and the address is one of `data`.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(std::ptr::from_ref(byte).cast()) }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (data, at);
}

/// The transpose: four words of each of four lanes become four lanes of each of four registers. Written with intrinsics, because
/// the compiler does not find these shuffles in plain Rust.
#[inline(always)]
pub(crate) fn transpose(rows: [[u32; 4]; 4]) -> [[u32; 4]; 4] {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::*;
        let [a, b, c, d]: [__m128i; 4] = bytemuck::cast(rows);
        // SAFETY: SSE2 is part of x86-64.
        unsafe {
            let (ab, cd) = (_mm_unpacklo_epi32(a, b), _mm_unpacklo_epi32(c, d));
            let (ab_hi, cd_hi) = (_mm_unpackhi_epi32(a, b), _mm_unpackhi_epi32(c, d));
            bytemuck::cast([
                _mm_unpacklo_epi64(ab, cd),
                _mm_unpackhi_epi64(ab, cd),
                _mm_unpacklo_epi64(ab_hi, cd_hi),
                _mm_unpackhi_epi64(ab_hi, cd_hi),
            ])
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        let [a, b, c, d] = rows;
        [[a[0], b[0], c[0], d[0]], [a[1], b[1], c[1], d[1]], [a[2], b[2], c[2], d[2]], [a[3], b[3], c[3], d[3]]]
    }
}

#[cfg(test)]
mod tests {
    use super::super::num::mma::{Element, Tensor};
    use super::*;
    use crate::rng::philox;

    fn refs(regs: &[Lanes]) -> Vec<&Lanes> {
        regs.iter().collect()
    }

    /// Ordinary, extreme and non-finite operands, whatever an instruction's registers may hold.
    #[test]
    fn levels_multiply_alike() {
        let mut nans = 0;
        for (element, k) in [(Element::F16, 16), (Element::Bf16, 8), (Element::Tf32, 4), (Element::Tf32, 8)] {
            for model in [Tensor::Ideal, Tensor::Ampere] {
                let m = Mma::new(element, false, k, model).unwrap();
                let (ra, rb, rc) = m.registers();
                for round in 0..40 {
                    let regs = |n: usize, operand: u32| -> Vec<Lanes> {
                        let draw = |i: u32| philox([round, operand], [i, 0, 0, 0])[0];
                        // Half the rounds: f32 of ordinary size.
                        let bits = |x: u32| if round % 2 == 0 { ((x % 9_999) as f32 - 5e3).to_bits() } else { x };
                        (0..n as u32).map(|r| std::array::from_fn(|i| bits(draw(32 * r + i as u32)))).collect()
                    };
                    let (a, b, c) = (regs(ra, 0), regs(rb, 1), regs(rc, 2));
                    let (a, b, c) = (refs(&a), refs(&b), refs(&c));
                    let mut want = vec![[0; 32]; rc];
                    m.fragments(&a, &b, &c, &mut want);
                    nans += want.iter().flatten().filter(|&&x| f32::from_bits(x).is_nan()).count();
                    for level in Level::all() {
                        let mut d = vec![[0; 32]; rc];
                        level.multiply(&m, &a, &b, &c, &mut d);
                        assert!(d == want, "{} {m:?}, round {round}", level.name());
                    }
                }
            }
        }
        assert!(nans > 100, "{nans}");
    }
}
