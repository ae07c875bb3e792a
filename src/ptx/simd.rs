//! The run loop, compiled for every instruction set that a machine may turn out to have. Lane loops are plain Rust over arrays;
//! what makes them fast is that this function switches AVX on around all of them. Without it a multiply-add is a library call
//! for each lane, twenty times slower. All `unsafe` of the emulator is here.

use super::exec::{Exec, run};
use super::fault::Raised;
use super::state::{Group, Warp};

/// What the machine can do. Only detection makes one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Level(Isa);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Isa {
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

    pub fn name(self) -> &'static str {
        match self.0 {
            Isa::Portable => "portable",
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => "avx2",
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => "avx512",
        }
    }

    /// Runs a group of lanes.
    pub fn run(self, x: &mut Exec, w: &mut Warp, g: Group) -> Raised {
        match self.0 {
            Isa::Portable => run(x, w, g),
            // SAFETY: a Level with this instruction set exists only if the machine has it.
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => unsafe { avx2(x, w, g) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => unsafe { avx512(x, w, g) },
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma,bmi1,bmi2,lzcnt,popcnt")]
fn avx2(x: &mut Exec, w: &mut Warp, g: Group) -> Raised {
    run(x, w, g)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma,bmi1,bmi2,lzcnt,popcnt,avx512f,avx512bw,avx512dq,avx512vl")]
fn avx512(x: &mut Exec, w: &mut Warp, g: Group) -> Raised {
    run(x, w, g)
}

/// Rows become columns: what four lanes load, four words each, becomes a part of four registers. The compiler does not find these
/// shuffles by itself.
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
