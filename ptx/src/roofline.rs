//! An estimate of a launch's time on a named GPU: the slowest of its resources, and no more than that.
//!
//! Every figure that comes out of here is an estimate: counted work (exact, or a stated bound) divided by published peaks.
//! Latencies, caches and contention are not modelled. The estimate tells which resource binds, how far the others are, and what a
//! change does to the bound.

use super::counters::{Counters, Kind};
use super::occupancy::{self, Arch, Occupancy};

/// A GPU's published peaks.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct DataSheet {
    pub name: &'static str,
    /// As the command line names it.
    pub key: &'static str,
    pub sm: u32,
    pub multiprocessors: u32,
    /// Boost clock, Hz.
    pub clock: f64,
    /// Bytes a second.
    pub dram: f64,
    pub l2: f64,
    /// Multiply-adds of a multiprocessor in a clock: f32 lanes, tensor tf32, tensor f16 and bf16 (f32 sums, dense).
    pub fp32: f64,
    pub tf32: f64,
    pub half: f64,
    /// The part of the tensor peak that `mma.sync` can reach.
    pub mma_sync: f64,
}

/// Sources. Multiprocessors, clocks, DRAM and peaks: NVIDIA's architecture papers ("NVIDIA A100 Tensor Core GPU Architecture",
/// tables 1 and 4; "NVIDIA Ampere GA102 GPU Architecture" and "NVIDIA Ada GPU Architecture", appendices A; "NVIDIA H100 Tensor
/// Core GPU Architecture", tables 1 to 3). The H100's clock is that of its tensor peaks; its f32 peak is quoted at 1.98 GHz. L2:
/// A100 5120 bytes a clock (the same paper); for the others reads as measured by Chips and Cheese ("Microbenchmarking Nvidia's
/// RTX 4090"; "Nvidia's H100: Funny L2, and Tons of Bandwidth", on the PCIe card), rounded. The share of `mma.sync` on Hopper is
/// an estimate (full rate needs wgmma: arXiv 2402.13499); on the others `mma.sync` is the native form. The H200 is an H100 with
/// faster memory (NVIDIA's data sheet).
pub const GPUS: [DataSheet; 5] = [
    DataSheet {
        name: "A100 SXM 80 GB",
        key: "a100",
        sm: 80,
        multiprocessors: 108,
        clock: 1.41e9,
        dram: 2.039e12,
        l2: 5120.0 * 1.41e9,
        fp32: 64.0,
        tf32: 512.0,
        half: 1024.0,
        mma_sync: 1.0,
    },
    DataSheet {
        name: "RTX 3090",
        key: "rtx3090",
        sm: 86,
        multiprocessors: 82,
        clock: 1.695e9,
        dram: 0.936e12,
        l2: 2.5e12,
        fp32: 128.0,
        tf32: 128.0,
        half: 256.0,
        mma_sync: 1.0,
    },
    DataSheet {
        name: "RTX 4090",
        key: "rtx4090",
        sm: 89,
        multiprocessors: 128,
        clock: 2.52e9,
        dram: 1.008e12,
        l2: 5.0e12,
        fp32: 128.0,
        tf32: 128.0,
        half: 256.0,
        mma_sync: 1.0,
    },
    H100,
    DataSheet { name: "H200 SXM", key: "h200", dram: 4.8e12, ..H100 },
];

const H100: DataSheet = DataSheet {
    name: "H100 SXM",
    key: "h100",
    sm: 90,
    multiprocessors: 132,
    clock: 1.83e9,
    dram: 3.35e12,
    l2: 5.5e12,
    fp32: 128.0,
    tf32: 1024.0,
    half: 2048.0,
    mma_sync: 0.62,
};

/// The GPU that the command line names.
pub fn gpu(key: &str) -> Option<&'static DataSheet> {
    GPUS.iter().find(|g| g.key == key)
}

/// Warp instructions that a multiprocessor issues in a clock.
const ISSUE: f64 = 4.0;
/// Bytes of L1 or shared memory in a clock: one wavefront.
const WAVE_BYTES: f64 = 128.0;
/// Lanes in a clock: 32-bit integers and logic, special functions, conversions. (CUDA programming guide, "Arithmetic
/// Instructions", throughput for 8.x and 9.0.)
const INTEGER: f64 = 64.0;
const SPECIAL: f64 = 16.0;
/// From one kernel to the next on the device, seconds. An assumption: 2 to 4 µs is usual.
pub const LAUNCH: f64 = 3e-6;

/// A resource that a launch uses.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Resource {
    Dram,
    L2,
    /// Passes of L1 and shared memory.
    Shared,
    Issue,
    Fp32,
    Integer,
    Special,
    Tensor,
}

impl Resource {
    pub fn name(self) -> &'static str {
        match self {
            Resource::Dram => "DRAM",
            Resource::L2 => "L2",
            Resource::Shared => "L1/shared",
            Resource::Issue => "issue",
            Resource::Fp32 => "FP32",
            Resource::Integer => "integer",
            Resource::Special => "special functions",
            Resource::Tensor => "tensor",
        }
    }
    /// The share of its peak that a good kernel reaches. An assumption.
    fn reach(self) -> f64 {
        match self {
            Resource::Dram => 0.85,
            Resource::Tensor => 0.75,
            _ => 0.8,
        }
    }
}

/// Where a kernel's time goes, were each resource alone.
#[derive(Clone, PartialEq, Debug)]
pub struct Estimate {
    pub gpu: &'static DataSheet,
    /// Seconds, the slowest first.
    pub terms: Vec<(Resource, f64)>,
    /// Blocks over what the GPU runs at a time: 1.2 waves take the time of 2.
    pub waves: f64,
    pub occupancy: Occupancy,
    /// Seconds for the launch: an estimate.
    pub seconds: f64,
}

impl Estimate {
    /// The resource that binds; none if the launch alone takes longer than the work.
    pub fn bound(&self) -> Option<Resource> {
        self.terms.first().filter(|t| t.1 > LAUNCH).map(|t| t.0)
    }
    pub fn bound_name(&self) -> &'static str {
        self.bound().map_or("launch", Resource::name)
    }
}

/// How a kernel was built and launched.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Shape {
    pub threads: u32,
    /// From ptxas.
    pub registers: u32,
    /// Static and dynamic, bytes.
    pub shared: u32,
    /// Whether tensor cores multiply 16-bit numbers; else tf32.
    pub half: bool,
}

/// The estimate for one launch. None if its blocks do not fit a multiprocessor of this GPU.
pub fn estimate(c: &Counters, s: Shape, gpu: &'static DataSheet) -> Option<Estimate> {
    let arch: Arch = occupancy::arch(gpu.sm)?;
    let occupancy = occupancy::occupancy(arch, s.threads, s.registers, s.shared);
    if occupancy.blocks == 0 || c.blocks == 0 {
        return None;
    }
    // The last wave is as long as a full one.
    let waves = c.blocks as f64 / (gpu.multiprocessors * occupancy.blocks) as f64;
    let tail = if waves > 1.0 { waves.ceil() / waves } else { 1.0 };
    let busy = (c.blocks as f64).min(gpu.multiprocessors as f64);
    let sm = |work: f64, per_clock: f64| work / per_clock / busy / gpu.clock * tail;
    // A multiprocessor is four quarters, each with a scheduler and lanes of its own, and a warp stays in one.
    let together = (c.blocks as f64 / gpu.multiprocessors as f64).ceil().min(occupancy.blocks as f64);
    let quarters = (together * s.threads.div_ceil(32) as f64).min(4.0) / 4.0;
    let lanes = |work: f64, per_clock: f64| sm(work, per_clock) / quarters;
    let kind = |k: Kind| c.kinds[k as usize] as f64 * 32.0;
    let tensor = if s.half { gpu.half } else { gpu.tf32 };
    let mut terms = vec![
        (Resource::Dram, (c.read.sector_bytes + c.written.sector_bytes) as f64 / gpu.dram),
        (Resource::L2, c.moved_bytes() as f64 / gpu.l2),
        (Resource::Shared, sm(c.shared_waves() as f64 * WAVE_BYTES + c.moved_bytes() as f64, WAVE_BYTES)),
        (Resource::Issue, lanes(c.slots10 as f64 / 10.0, ISSUE)),
        (Resource::Fp32, lanes((c.fma + c.add + c.mul) as f64, gpu.fp32)),
        (Resource::Integer, lanes(kind(Kind::Integer), INTEGER)),
        (Resource::Special, lanes(kind(Kind::Special), SPECIAL)),
        // `wgmma` alone reaches the tensor cores' peak.
        (Resource::Tensor, lanes((c.macs - c.group_macs) as f64, tensor * gpu.mma_sync) + sm(c.group_macs as f64, tensor)),
    ];
    terms.sort_by(|a, b| b.1.total_cmp(&a.1));
    let (slowest, time) = terms[0];
    Some(Estimate { gpu, terms, waves, occupancy, seconds: time / slowest.reach() + LAUNCH })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::counters::{GlobalTraffic, SharedTraffic, Touched};

    /// The table's peaks, multiplied out, are the published ones.
    #[test]
    fn published_peaks() {
        let tera = |g: &DataSheet, macs: f64| (2.0 * macs * g.multiprocessors as f64 * g.clock / 1e11).round() / 10.0;
        for (key, fp32, tf32, half) in [
            ("a100", 19.5, 155.9, 311.9),
            ("rtx3090", 35.6, 35.6, 71.2),
            ("rtx4090", 82.6, 82.6, 165.2),
            ("h100", 61.8, 494.7, 989.4),
        ] {
            let g = gpu(key).unwrap();
            assert_eq!([tera(g, g.fp32), tera(g, g.tf32), tera(g, g.half)], [fp32, tf32, half], "{key}");
        }
    }

    const SHAPE: Shape = Shape { threads: 256, registers: 64, shared: 0, half: false };

    #[test]
    fn a_copy_is_bound_by_dram() {
        let bytes = 1 << 30;
        let c = Counters {
            blocks: 100_000,
            load: GlobalTraffic { requests: bytes / 512, sectors: bytes / 32, bytes },
            store: GlobalTraffic { requests: bytes / 512, sectors: bytes / 32, bytes },
            read: Touched { bytes, sector_bytes: bytes },
            written: Touched { bytes, sector_bytes: bytes },
            slots10: bytes / 512 * 60,
            ..Default::default()
        };
        let e = estimate(&c, SHAPE, gpu("h100").unwrap()).unwrap();
        assert_eq!(e.bound(), Some(Resource::Dram));
        let ideal = 2.0 * bytes as f64 / 3.35e12;
        assert!((e.seconds - ideal / 0.85 - LAUNCH).abs() < 1e-9);
    }

    #[test]
    fn a_product_is_bound_by_its_unit_and_a_tail_counts() {
        let h100 = gpu("h100").unwrap();
        let c = |blocks| Counters { blocks, macs: 1 << 36, ..Default::default() };
        let full = estimate(&c(132 * 4 * 10), SHAPE, h100).unwrap();
        assert_eq!((full.bound(), full.occupancy.blocks), (Some(Resource::Tensor), 4));
        assert!((full.terms[0].1 - (1u64 << 37) as f64 / (494.7e12 * 0.62)).abs() / full.terms[0].1 < 1e-3);
        // One block more begins an eleventh wave; one block alone has one multiprocessor.
        let tail = estimate(&c(132 * 4 * 10 + 1), SHAPE, h100).unwrap();
        assert!((tail.terms[0].1 / full.terms[0].1 - 1.1).abs() < 1e-3);
        let one = estimate(&c(1), SHAPE, h100).unwrap();
        assert!((one.terms[0].1 / full.terms[0].1 - 132.0).abs() < 1e-6);
        // A warp has a quarter of a multiprocessor; four have it all, in one block or in several.
        let warps = |threads, blocks| estimate(&c(blocks), Shape { threads, ..SHAPE }, h100).unwrap().terms[0].1;
        assert!((warps(32, 1) / warps(128, 1) - 4.0).abs() < 1e-6 && (warps(96, 1) / warps(128, 1) - 4.0 / 3.0).abs() < 1e-6);
        assert!((warps(64, 264) / warps(128, 264) - 1.0).abs() < 1e-6);
        // Bank conflicts show in another term.
        let waves = SharedTraffic { requests: 1 << 24, waves: 1 << 28, ideal: 1 << 24 };
        let e = estimate(&Counters { shared_load: waves, ..c(5280) }, SHAPE, h100).unwrap();
        assert_eq!(e.bound(), Some(Resource::Shared));
    }

    #[test]
    fn warp_groups_reach_the_peak() {
        let h100 = gpu("h100").unwrap();
        let shape = Shape { threads: 384, registers: 168, shared: 200_000, half: false };
        let macs = 132 << 32;
        let by = |group_macs| {
            let c = Counters { blocks: 132, macs, group_macs, ..Counters::default() };
            let e = estimate(&c, shape, h100).unwrap();
            e.terms.iter().find(|t| t.0 == Resource::Tensor).unwrap().1
        };
        // 1024 multiply-adds in tf32 for each clock of a multiprocessor, by `wgmma` alone.
        let peak = (1u64 << 32) as f64 / h100.tf32 / h100.clock;
        assert!((by(macs) / peak - 1.0).abs() < 1e-9, "{} {peak}", by(macs));
        assert!((by(0) * h100.mma_sync / peak - 1.0).abs() < 1e-9);
    }

    #[test]
    fn what_does_not_fit_has_no_estimate() {
        let c = Counters { blocks: 1, ..Default::default() };
        assert!(estimate(&c, Shape { shared: 120_000, ..SHAPE }, gpu("rtx4090").unwrap()).is_none());
        let e = estimate(&c, SHAPE, gpu("rtx4090").unwrap()).unwrap();
        assert_eq!((e.bound(), e.bound_name(), e.seconds), (None, "launch", LAUNCH));
    }
}
