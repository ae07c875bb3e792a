//! How many blocks fit a multiprocessor: threads, registers, shared memory, whichever runs out first.
//!
//! The rules are those of `cuda_occupancy.h` (CUDA runtime), against whose results they are tested.

/// What a multiprocessor of an architecture has. (CUDA programming guide, "Technical Specifications per Compute Capability".)
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Arch {
    /// Compute capability × 10.
    pub sm: u32,
    pub threads: u32,
    pub blocks: u32,
    /// Bytes of shared memory; a block can have 1 KiB less, and each block costs 1 KiB more than it asks for.
    pub shared: u32,
}

pub const ARCHS: [Arch; 4] = [
    Arch { sm: 80, threads: 2048, blocks: 32, shared: 164 << 10 },
    Arch { sm: 86, threads: 1536, blocks: 16, shared: 100 << 10 },
    Arch { sm: 89, threads: 1536, blocks: 24, shared: 100 << 10 },
    Arch { sm: 90, threads: 2048, blocks: 32, shared: 228 << 10 },
];

const REGISTERS: u32 = 65536;
/// A warp gets its registers in portions.
const REGISTER_PORTION: u32 = 256;
const SHARED_PORTION: u32 = 128;
const SHARED_RESERVED: u32 = 1024;
/// A multiprocessor has four parts with registers and warps of their own.
const PARTS: u32 = 4;

/// What decides the number of blocks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Limit {
    Warps,
    Blocks,
    Registers,
    Shared,
}

impl Limit {
    pub fn name(self) -> &'static str {
        match self {
            Limit::Warps => "warps",
            Limit::Blocks => "blocks",
            Limit::Registers => "registers",
            Limit::Shared => "shared memory",
        }
    }
}

/// Blocks of a kernel that run on one multiprocessor at a time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Occupancy {
    /// 0: the kernel cannot be launched.
    pub blocks: u32,
    pub warps: u32,
    pub max_warps: u32,
    pub limit: Limit,
}

impl Occupancy {
    /// Share of the warps that a multiprocessor can hold: Nsight Compute's `sm__maximum_warps_per_active_cycle_pct`, as 0 to 1.
    pub fn share(&self) -> f64 {
        self.warps as f64 / self.max_warps as f64
    }
}

/// The architecture `sm` (80, 86, 89, 90).
pub fn arch(sm: u32) -> Option<Arch> {
    ARCHS.into_iter().find(|a| a.sm == sm)
}

/// For blocks of `threads`, `registers` per thread, and `shared` bytes of static and dynamic shared memory together.
pub fn occupancy(arch: Arch, threads: u32, registers: u32, shared: u32) -> Occupancy {
    let warps = threads.div_ceil(32).max(1);
    let max_warps = arch.threads / 32;
    let per_warp = (registers.max(1) * 32).next_multiple_of(REGISTER_PORTION);
    // A block spreads its warps evenly over the four parts, and must fit all registers.
    let fits = warps.next_multiple_of(PARTS) * per_warp <= REGISTERS && threads <= 1024;
    let by_registers = if fits { REGISTERS / PARTS / per_warp * PARTS / warps } else { 0 };
    let block_shared = (shared + SHARED_RESERVED).next_multiple_of(SHARED_PORTION);
    let by_shared = if shared + SHARED_RESERVED <= arch.shared { arch.shared / block_shared } else { 0 };
    let limits = [
        (max_warps / warps, Limit::Warps),
        (arch.blocks, Limit::Blocks),
        (by_registers, Limit::Registers),
        (by_shared, Limit::Shared),
    ];
    let (blocks, limit) = limits.into_iter().min_by_key(|l| l.0).unwrap_or((0, Limit::Warps));
    Occupancy { blocks, warps: blocks * warps, max_warps, limit }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Blocks per multiprocessor as NVIDIA's own header computes them.
    #[test]
    fn as_cuda_occupancy_h() {
        let mut rows = 0;
        for line in include_str!("../../tests/golden/occupancy.csv").lines().filter(|l| !l.starts_with('#')) {
            let v: Vec<u32> = line.split(',').map(|x| x.parse().unwrap()).collect();
            let [sm, threads, registers, shared, blocks] = v[..] else { panic!("{line}") };
            let got = occupancy(arch(sm).unwrap(), threads, registers, shared);
            assert_eq!(got.blocks, blocks, "{line}: {got:?}");
            rows += 1;
        }
        assert!(rows > 1000, "{rows}");
    }

    #[test]
    fn what_limits() {
        let h100 = arch(90).unwrap();
        let cases = [
            ((256, 64, 8_704), (4, Limit::Registers)),
            ((128, 126, 36_864), (4, Limit::Registers)),
            ((256, 20, 100_000), (2, Limit::Shared)),
            ((32, 20, 0), (32, Limit::Blocks)),
            ((512, 20, 0), (4, Limit::Warps)),
        ];
        for ((threads, registers, shared), want) in cases {
            let o = occupancy(h100, threads, registers, shared);
            assert_eq!((o.blocks, o.limit), want, "{threads} {registers} {shared}");
        }
        assert_eq!(occupancy(h100, 256, 64, 8_704).share(), 0.5);
        assert_eq!(occupancy(h100, 32, 32, 240_000).blocks, 0);
    }
}
