//! Products of bf16: a block of 32 pixels × 32 filters, sums in f32.
//!
//! ```text
//! for tap, for each 32 of `depth`: sums[i][j] += Σ_c a[at + taps[tap] + i·row + c] · b[step, c, j]
//! ```
//! `a` is read where it lies: a tile register (AMX) takes 16 rows of 64 bytes at any distance, and a pair of values can be broadcast
//! from anywhere (AVX512-BF16). `b` has the two values of a pair side by side, as both instruction sets want them: rows of 16 filters,
//! a row for each pair, 16 rows for each half of the filters, all at any distance ([`Second`]).
//!
//! With AMX four tile registers hold the sums, two rows of pixels, two columns of filters: a step loads four tiles and makes four
//! products of 16 × 32 × 16 from them. Both instruction sets take subnormal bf16 for zero, and flush subnormal sums.

use half::bf16;

/// Pixels and filters of a block, products of a step.
pub const SIDE: usize = 32;
/// Values of packed `b` in a step.
pub const STEP: usize = SIDE * SIDE;
/// Filters of one tile, and pairs of a step.
const TILE: usize = SIDE / 2;

/// What multiplies bf16. Only detection makes one, so holding it proves that its instructions exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pairs(Isa);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Isa {
    /// Plain loops, for tests on machines that have nothing better: f32 is faster.
    Portable,
    #[cfg(target_arch = "x86_64")]
    Avx512,
    #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
    Amx,
}

/// Sums of a block: pixels × filters.
#[repr(C, align(64))]
pub struct Sums(pub [[f32; SIDE]; SIDE]);

/// The operands of a block.
pub struct Block<'a> {
    pub a: &'a [bf16],
    /// Where the first row lies in `a`, but for the tap, and how far apart rows lie.
    pub at: usize,
    pub row: usize,
    pub taps: &'a [usize],
    /// Products for each tap: a multiple of [`SIDE`].
    pub depth: usize,
    pub b: Second<'a>,
}

/// The second factor: pair `p`, filter `j` of a step at `at + step·steps + j/16·half + p·row + j%16·2`.
#[derive(Clone, Copy)]
pub struct Second<'a> {
    pub b: &'a [bf16],
    pub at: usize,
    pub row: usize,
    pub half: usize,
    pub step: usize,
}

impl Second<'_> {
    /// Packed without a gap: [`place`] has the order of a step.
    pub fn packed(b: &[bf16]) -> Second<'_> {
        Second { b, at: 0, row: SIDE, half: STEP / 2, step: STEP }
    }
    /// Whether so many steps, at least one, lie within the slice.
    fn holds(&self, steps: usize) -> bool {
        let last = (steps - 1).checked_mul(self.step).and_then(|n| n.checked_add((TILE - 1).checked_mul(self.row)?));
        last.and_then(|n| n.checked_add(self.half)?.checked_add(self.at)?.checked_add(SIDE))
            .is_some_and(|end| end <= self.b.len())
    }
}

impl Pairs {
    /// The best of this machine; none where only the portable loops exist.
    pub fn best() -> Option<Pairs> {
        Pairs::all().last().filter(|p| p.0 != Isa::Portable)
    }

    /// Everything that this machine can run, slowest first.
    pub fn all() -> impl Iterator<Item = Pairs> {
        let isas = [
            Some(Isa::Portable),
            #[cfg(target_arch = "x86_64")]
            (is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bf16")).then_some(Isa::Avx512),
            #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
            amx::granted().then_some(Isa::Amx),
        ];
        isas.into_iter().flatten().map(Pairs)
    }

    /// As keys and reports write it.
    pub fn name(self) -> &'static str {
        match self.0 {
            Isa::Portable => "portable",
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => "avx512",
            #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
            Isa::Amx => "amx",
        }
    }

    /// Overwrites `sums`.
    pub fn run(self, t: &Block, sums: &mut Sums) {
        assert!(t.depth.is_multiple_of(SIDE), "block: {} products for each tap", t.depth);
        let Some(&last) = t.taps.iter().max().filter(|_| t.depth > 0) else {
            sums.0 = [[0.0; SIDE]; SIDE];
            return;
        };
        let end = (SIDE - 1).checked_mul(t.row).and_then(|n| n.checked_add(t.depth)?.checked_add(t.at)?.checked_add(last));
        assert!(end.is_some_and(|end| end <= t.a.len()), "block: a row lies behind the end of a");
        assert!(t.b.holds(t.taps.len() * (t.depth / SIDE)), "block: a step lies behind the end of b");
        match self.0 {
            Isa::Portable => portable(t, sums),
            // SAFETY: the asserts above cover every address of a and b; the instructions were detected.
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => unsafe { avx512(t, sums) },
            // SAFETY: as above, and the kernel has granted the tiles to this process.
            #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
            Isa::Amx => unsafe { amx::run(t, sums) },
        }
    }
}

/// Where product `c` of a step and filter `j` stand in the step's part of packed `b`.
pub fn place(c: usize, j: usize) -> usize {
    ((j / TILE * TILE + c / 2) * TILE + j % TILE) * 2 + c % 2
}

fn portable(t: &Block, sums: &mut Sums) {
    for (i, sums) in sums.0.iter_mut().enumerate() {
        *sums = [0.0; SIDE];
        let mut at = t.b.at;
        for tap in t.taps {
            for c in (0..t.depth).step_by(SIDE) {
                let a = &t.a[t.at + tap + i * t.row + c..][..SIDE];
                for (j, sum) in sums.iter_mut().enumerate() {
                    for (c, a) in a.iter().enumerate() {
                        *sum += a.to_f32() * t.b.b[at + j / TILE * t.b.half + c / 2 * t.b.row + j % TILE * 2 + c % 2].to_f32();
                    }
                }
                at += t.b.step;
            }
        }
    }
}

/// Eight pixels at a time: 16 sums, two vectors of filters, broadcasts from memory.
///
/// # Safety
/// As [`Pairs::run`] checks; the instructions must exist.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bf16")]
unsafe fn avx512(t: &Block, sums: &mut Sums) {
    use std::arch::x86_64::*;
    const PIXELS: usize = 8;
    // SAFETY: the caller's promise. Vectors of bf16 and of integers are the same 64 bytes.
    unsafe {
        for i in (0..SIDE).step_by(PIXELS) {
            let mut acc = [[_mm512_setzero_ps(); 2]; PIXELS];
            let mut b = t.b.b.as_ptr().add(t.b.at);
            for &tap in t.taps {
                let a = t.a.as_ptr().add(t.at + tap + i * t.row);
                for c in (0..t.depth).step_by(SIDE) {
                    for pair in 0..TILE {
                        let filters = |half: usize| {
                            std::mem::transmute::<__m512i, __m512bh>(_mm512_loadu_si512(
                                b.add(half * t.b.half + pair * t.b.row).cast(),
                            ))
                        };
                        let filters = [filters(0), filters(1)];
                        for (m, acc) in acc.iter_mut().enumerate() {
                            let both = a.add(m * t.row + c + 2 * pair).cast::<i32>().read_unaligned();
                            let both = std::mem::transmute::<__m512i, __m512bh>(_mm512_set1_epi32(both));
                            acc[0] = _mm512_dpbf16_ps(acc[0], both, filters[0]);
                            acc[1] = _mm512_dpbf16_ps(acc[1], both, filters[1]);
                        }
                    }
                    b = b.add(t.b.step);
                }
            }
            for (m, acc) in acc.iter().enumerate() {
                _mm512_storeu_ps(sums.0[i + m].as_mut_ptr(), acc[0]);
                _mm512_storeu_ps(sums.0[i + m].as_mut_ptr().add(TILE), acc[1]);
            }
        }
    }
}

#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
mod amx {
    use std::arch::asm;
    use std::arch::x86_64::__cpuid_count;
    use std::sync::OnceLock;

    use half::bf16;

    use super::{Block, Sums};

    /// What `ldtilecfg` reads: eight tiles of 16 rows of 64 bytes.
    #[repr(C, align(64))]
    struct Shapes {
        palette: u8,
        start: u8,
        reserved: [u8; 14],
        bytes: [u16; 16],
        rows: [u8; 16],
    }
    const FULL: (u16, u8) = (64, 16);
    static SHAPES: Shapes = {
        let (mut bytes, mut rows) = ([0; 16], [0; 16]);
        let mut i = 0;
        while i < 8 {
            (bytes[i], rows[i]) = FULL;
            i += 1;
        }
        Shapes { palette: 1, start: 0, reserved: [0; 14], bytes, rows }
    };

    /// Whether the processor has AMX with bf16 and the kernel lets this process use it. Asked once: the answer holds for all threads.
    pub fn granted() -> bool {
        static GRANTED: OnceLock<bool> = OnceLock::new();
        *GRANTED.get_or_init(|| {
            // Leaf 7, EDX: bit 22 AMX-BF16, bit 24 AMX-TILE.
            let has = __cpuid_count(0, 0).eax >= 7 && __cpuid_count(7, 0).edx & (1 << 22 | 1 << 24) == 1 << 22 | 1 << 24;
            const ARCH_PRCTL: i64 = 158;
            const ARCH_REQ_XCOMP_PERM: u64 = 0x1023;
            const XTILEDATA: u64 = 18;
            let mut refused: i64 = ARCH_PRCTL;
            if has {
                // SAFETY: the system call reads two numbers and no memory; kernels that do not know it answer EINVAL.
                unsafe {
                    asm!("syscall", inlateout("rax") refused, in("rdi") ARCH_REQ_XCOMP_PERM, in("rsi") XTILEDATA,
                         lateout("rcx") _, lateout("r11") _, options(nostack));
                }
            }
            has && refused == 0
        })
    }

    /// What the loop below reads from memory, in bytes where it is a distance.
    #[repr(C)]
    struct Task {
        a: *const bf16,
        taps_end: *const usize,
        depth: usize,
        half: usize,
        sums: *mut f32,
    }

    /// # Safety
    /// As [`super::Pairs::run`] checks, with at least one step; the tiles must be granted.
    pub unsafe fn run(t: &Block, sums: &mut Sums) {
        const BYTES: usize = 2;
        // SAFETY: the caller's promise. The tiles are set up, used and released here, so that no state outlives the block and threads
        // stay cheap to switch.
        unsafe {
            let task = Task {
                a: t.a.as_ptr().add(t.at),
                taps_end: t.taps.as_ptr().add(t.taps.len()),
                depth: t.depth,
                half: t.b.half * BYTES,
                sums: sums.0.as_mut_ptr().cast(),
            };
            asm!(
                "ldtilecfg [rip + {shapes}]",
                "tilezero tmm0",
                "tilezero tmm1",
                "tilezero tmm2",
                "tilezero tmm3",
                "mov {b2}, [{task} + 24]",
                "add {b2}, {b}",                         // the other half of the filters
                "2:",                                    // a tap
                "mov {p}, [{taps}]",
                "add {p}, {p}",
                "add {p}, [{task}]",
                "mov {q}, {row}",
                "shl {q}, 4",
                "add {q}, {p}",                          // 16 rows further
                "mov {n}, [{task} + 16]",
                "3:",                                    // a step
                "tileloadd tmm4, [{p} + {row}*1]",
                "tileloadd tmm6, [{b} + {b_row}*1]",
                "tdpbf16ps tmm0, tmm4, tmm6",
                "tileloadd tmm7, [{b2} + {b_row}*1]",
                "tdpbf16ps tmm1, tmm4, tmm7",
                "tileloadd tmm5, [{q} + {row}*1]",
                "tdpbf16ps tmm2, tmm5, tmm6",
                "tdpbf16ps tmm3, tmm5, tmm7",
                "add {p}, 64",
                "add {q}, 64",
                "add {b}, {b_step}",
                "add {b2}, {b_step}",
                "sub {n}, 32",
                "jnz 3b",
                "add {taps}, 8",
                "cmp {taps}, [{task} + 8]",
                "jne 2b",
                "mov {p}, [{task} + 32]",
                "mov {q}, 128",
                "tilestored [{p} + {q}*1], tmm0",
                "tilestored [{p} + {q}*1 + 64], tmm1",
                "tilestored [{p} + {q}*1 + 2048], tmm2",
                "tilestored [{p} + {q}*1 + 2112], tmm3",
                "tilerelease",
                shapes = sym SHAPES,
                task = in(reg) &task,
                row = in(reg) t.row * BYTES,
                taps = inout(reg) t.taps.as_ptr() => _,
                b = inout(reg) t.b.b.as_ptr().add(t.b.at) => _,
                b2 = out(reg) _,
                b_row = in(reg) t.b.row * BYTES,
                b_step = in(reg) t.b.step * BYTES,
                p = out(reg) _,
                q = out(reg) _,
                n = out(reg) _,
                out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
                options(nostack),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::rng::Rng;

    /// Sums that bf16 and f32 hold exactly, in any order: every instruction set gives the very same.
    #[test]
    fn blocks_are_exact() {
        let mut rng = Rng::new(3, 0, 0);
        let mut small = |n: usize| -> Vec<bf16> { (0..n).map(|_| bf16::from_f32(rng.below(15) as f32 - 7.0)).collect() };
        for (depth, row, taps) in [(32, 32, vec![0]), (64, 96, vec![7, 0, 64]), (96, 96, vec![3, 500])] {
            let (at, steps) = (11, taps.len() * depth / SIDE);
            let a = small(at + taps.iter().max().unwrap() + 31 * row + depth);
            let packed = small(steps * STEP);
            let apart = small(5 + (steps - 1) * 700 + 15 * 40 + 900 + SIDE);
            for b in [Second::packed(&packed), Second { b: &apart, at: 5, row: 40, half: 900, step: 700 }] {
                let t = Block { a: &a, at, row, taps: &taps, depth, b };
                let mut want = [[0.0; SIDE]; SIDE];
                for (i, want) in want.iter_mut().enumerate() {
                    for (j, want) in want.iter_mut().enumerate() {
                        for k in 0..taps.len() * depth {
                            let (tap, c) = (k / depth, k % depth);
                            let at_b = b.at + k / SIDE * b.step + j / TILE * b.half + c % SIDE / 2 * b.row + j % TILE * 2 + c % 2;
                            *want += a[at + taps[tap] + i * row + c].to_f32() * b.b[at_b].to_f32();
                        }
                    }
                }
                for pairs in Pairs::all() {
                    let mut sums = Sums([[f32::NAN; SIDE]; SIDE]);
                    pairs.run(&t, &mut sums);
                    assert!(sums.0 == want, "{}: {depth} products, {} taps", pairs.name(), taps.len());
                }
            }
        }
        let mut sums = Sums([[f32::NAN; SIDE]; SIDE]);
        let nothing = Block { a: &[], at: 0, row: 8, taps: &[], depth: 32, b: Second::packed(&[]) };
        Pairs::all().for_each(|p| p.run(&nothing, &mut sums));
        assert!(sums.0 == [[0.0; SIDE]; SIDE]);
    }

    fn one_block(a: usize, b: usize) {
        let (a, b) = (vec![bf16::ONE; a], vec![bf16::ONE; b]);
        let pairs = Pairs::all().last().unwrap();
        let t = Block { a: &a, at: 0, row: 40, taps: &[0], depth: 32, b: Second::packed(&b) };
        pairs.run(&t, &mut Sums([[0.0; SIDE]; SIDE]));
    }

    #[test]
    #[should_panic(expected = "a row lies behind the end")]
    fn a_value_of_a_too_many() {
        one_block(31 * 40 + 31, STEP);
    }
    #[test]
    #[should_panic(expected = "a step lies behind the end")]
    fn a_value_of_b_too_many() {
        one_block(31 * 40 + 32, STEP - 1);
    }
}
