//! The addresses of one memory access, lane by lane, relative to each other: what the race check and the counters work on.
//!
//! An instruction in a loop mostly repeats its pattern at another address. Bank conflicts, distinct addresses and sectors depend
//! on the pattern, the address modulo 32 and nothing else, so they are computed once for a pattern and remembered with the
//! instruction.

use super::lanes::union;

/// Distinct pieces of memory, and what they cost.
#[derive(Clone, Debug, Default)]
pub struct Pattern {
    /// The lanes for which `pieces` were computed, and their addresses relative to the first active one.
    mask: u32,
    relative: Box<[u32; 32]>,
    /// The size of each access, and the first address modulo 32, for which the costs below were computed.
    bytes: u32,
    low: u32,
    /// Distinct addresses, in bytes relative to the first active lane's, each with the lanes that point there.
    pub pieces: Vec<(i32, u32)>,
    // Costs.
    /// The pieces as ranges of memory without overlaps: offset and length in bytes.
    pub ranges: Vec<(i32, u32)>,
    /// 32-byte sectors of global memory.
    pub sectors: u32,
    /// The cost as a load from shared memory, and as a store.
    pub load: Passes,
    pub store: Passes,
}

/// Passes through the 32 banks of shared memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Passes {
    pub waves: u32,
    /// The passes that the access would need if no two lanes met in a bank.
    pub ideal: u32,
}

/// The addresses of a warp's active lanes.
#[derive(Clone, Debug)]
pub struct Lanes {
    pub mask: u32,
    /// The address of the first active lane.
    pub first: u64,
    /// Each lane's address less `first`; 0 for inactive lanes. No two addresses are further apart than 2 GiB.
    relative: [u32; 32],
}

impl Lanes {
    /// `mask` is not empty.
    #[inline(always)]
    pub fn new(address: &[u64; 32], mask: u32) -> Lanes {
        let first = address[mask.trailing_zeros() as usize & 31];
        let mut relative = [0; 32];
        for i in 0..32 {
            relative[i] = if mask >> i & 1 != 0 { (address[i] as u32).wrapping_sub(first as u32) } else { 0 };
        }
        Lanes { mask, first, relative }
    }

    /// [`Lanes::new`] for offsets in shared memory.
    #[inline(always)]
    pub fn narrow(address: &[u32; 32], mask: u32) -> Lanes {
        let first = address[mask.trailing_zeros() as usize & 31];
        let mut relative = [0; 32];
        for i in 0..32 {
            relative[i] = if mask >> i & 1 != 0 { address[i].wrapping_sub(first) } else { 0 };
        }
        Lanes { mask, first: first as u64, relative }
    }
}

/// Bytes of a sector, the unit of traffic between L1, L2 and DRAM.
pub const SECTOR: u32 = 32;
const BANKS: u32 = 32;

impl Pattern {
    /// Makes this the pattern of `lanes`, `bytes` each. Nothing is computed if the last access had the same pattern. The costs
    /// are computed with `costs` only: only the counters read them.
    #[inline(always)]
    pub fn update(&mut self, lanes: &Lanes, bytes: u32, costs: bool) {
        let mut other = [0; 32];
        for i in 0..32 {
            other[i] = self.relative[i] ^ lanes.relative[i];
        }
        if (self.mask ^ lanes.mask) | union(other) != 0 {
            self.compute(lanes.relative, lanes.mask);
        }
        let low = lanes.first as u32 % SECTOR;
        if costs && (self.bytes ^ bytes) | (self.low ^ low) != 0 {
            self.cost(bytes, low);
        }
    }

    #[cold]
    #[inline(never)]
    fn compute(&mut self, relative: [u32; 32], mask: u32) {
        // The costs are stale. No access has 0 bytes, so that `update` will not take them for valid.
        (self.mask, self.bytes) = (mask, 0);
        *self.relative = relative;
        self.pieces.clear();
        for i in (0..32usize).filter(|i| mask >> i & 1 == 1) {
            self.pieces.push((relative[i] as i32, 1 << i));
        }
        self.pieces.sort_unstable();
        self.pieces.dedup_by(|b, a| {
            let same = a.0 == b.0;
            a.1 |= if same { b.1 } else { 0 };
            same
        });
    }

    #[cold]
    #[inline(never)]
    fn cost(&mut self, bytes: u32, low: u32) {
        (self.bytes, self.low) = (bytes, low);
        let (relative, mask) = (&self.relative, self.mask);
        let lanes = || (0..32usize).filter(|i| mask >> i & 1 == 1);
        self.ranges.clear();
        for &(at, _) in &self.pieces {
            match self.ranges.last_mut() {
                Some((from, len)) if at as i64 <= *from as i64 + *len as i64 => *len = (*len).max((at - *from) as u32 + bytes),
                _ => self.ranges.push((at, bytes)),
            }
        }
        // Sectors: intervals of each piece, in ascending order.
        self.sectors = 0;
        let mut last = i64::MIN;
        for &(at, _) in &self.pieces {
            let from = (at as i64 + low as i64).div_euclid(SECTOR as i64);
            let to = (at as i64 + (low + bytes) as i64 - 1).div_euclid(SECTOR as i64);
            self.sectors += (to - from.max(last + 1) + 1).max(0) as u32;
            last = last.max(to);
        }
        // 32 bits go in one phase of 32 lanes, 64 bits in two of 16, 128 bits in four of 8. Loads go in half as many where each
        // lane asks for the same as its neighbour (lanes 0 and 1, 2 and 3, …) or as its second neighbour (0 and 2, 1 and 3, …):
        // so says NVIDIA (forums.developer.nvidia.com/t/unexpected-shared-memory-bank-conflict/77228), and so an H200 counts.
        // That a lane without a partner does not matter is assumed.
        let alike = |d: usize| lanes().all(|i| mask >> (i ^ d) & 1 == 0 || relative[i] == relative[i ^ d]);
        let per = (32 * 4 / bytes.max(4)).min(32) as usize;
        self.store = self.passes(per);
        self.load = if per < 32 && (alike(1) || alike(2)) { self.passes(2 * per) } else { self.store };
    }

    /// `per` lanes are served at a time; each phase takes as many passes as the fullest bank has distinct words.
    fn passes(&self, per: usize) -> Passes {
        let (relative, words) = (&self.relative, self.bytes.div_ceil(4) as i64);
        let mut all = Passes::default();
        for phase in (0..32).step_by(per) {
            let active = (phase..phase + per).filter(|i| self.mask >> i & 1 == 1);
            let first = |i: usize| (relative[i] as i32 as i64 + self.low as i64).div_euclid(4);
            let mut touched: Vec<i64> = active.flat_map(|i| first(i)..first(i) + words).collect();
            if touched.is_empty() {
                continue;
            }
            touched.sort_unstable();
            touched.dedup();
            let mut banks = [0; BANKS as usize];
            touched.iter().for_each(|w| banks[w.rem_euclid(BANKS as i64) as usize] += 1);
            all.waves += banks.iter().max().copied().unwrap_or(0);
            all.ideal += 1;
        }
        all
    }
}

/// Passes of `ldmatrix` for the rows of one 8×8 matrix, 16 bytes each: one, unless two rows lie in the same group of four banks.
pub fn matrix_waves(rows: &[u32]) -> u32 {
    let mut distinct = rows.to_vec();
    distinct.sort_unstable();
    distinct.dedup();
    let mut groups = [0; 8];
    distinct.iter().for_each(|r| groups[(r >> 4) as usize & 7] += 1);
    groups.iter().max().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::array::from_fn;

    fn pattern(bytes: u32, mask: u32, f: impl Fn(u32) -> u32) -> (u32, u32, u32, usize) {
        let mut p = Pattern::default();
        p.update(&Lanes::narrow(&from_fn(|i| f(i as u32)), mask), bytes, true);
        (p.sectors, p.store.waves, p.store.ideal, p.pieces.len())
    }

    #[test]
    fn sectors_and_banks() {
        let all = u32::MAX;
        // Contiguous words: 4 sectors, no conflict. Shifted by one word: 5 sectors.
        assert_eq!(pattern(4, all, |i| 4096 + 4 * i), (4, 1, 1, 32));
        assert_eq!(pattern(4, all, |i| 4100 + 4 * i), (5, 1, 1, 32));
        // One word for all: broadcast.
        assert_eq!(pattern(4, all, |_| 64), (1, 1, 1, 1));
        // A stride of 32 words: every lane in one bank. Of 33: none meet.
        assert_eq!(pattern(4, all, |i| 128 * i), (32, 32, 1, 32));
        assert_eq!(pattern(4, all, |i| 132 * i).1, 1);
        // Two words apart: two in each bank.
        assert_eq!(pattern(4, all, |i| 8 * i), (8, 2, 1, 32));
        // 64 and 128 bits: two and four phases.
        assert_eq!(pattern(8, all, |i| 8 * i), (8, 2, 2, 32));
        assert_eq!(pattern(16, all, |i| 16 * i), (16, 4, 4, 32));
        // Rows of 128 bytes, a lane reads 16 bytes of its row: eight lanes of a phase meet in four banks.
        assert_eq!(pattern(16, all, |i| 128 * i), (32, 32, 4, 32));
        // Half the lanes, backwards; and one lane.
        assert_eq!(pattern(4, 0xffff, |i| 4096 - 4 * i), (3, 1, 1, 16));
        assert_eq!(pattern(4, 1 << 31, |i| 4 * i), (1, 1, 1, 1));
        // Bytes: four lanes share a word.
        assert_eq!(pattern(1, all, |i| i), (1, 1, 1, 32));
        assert_eq!(pattern(2, all, |i| 2 * i + 62), (3, 1, 1, 32));
        // 16 bytes that straddle nothing, in 8 lanes: one phase.
        assert_eq!(pattern(16, 0xff, |i| 16 * i), (4, 1, 1, 8));
    }

    /// How a product of matrices reads its operands: 8 chunks across a warp and 4 down.
    #[test]
    fn wide_loads_of_what_neighbours_load() {
        let load = |bytes: u32, mask: u32, f: fn(u32) -> u32| {
            let mut p = Pattern::default();
            p.update(&Lanes::narrow(&from_fn(|i| f(i as u32)), mask), bytes, true);
            (p.load.waves, p.load.ideal, p.store.waves)
        };
        let all = u32::MAX;
        // Lanes 0 and 1 alike, 0 and 2 alike; with lanes missing as well.
        assert_eq!(load(16, all, |i| i / 2 % 8 * 16), (2, 2, 4));
        assert_eq!(load(16, all, |i| (i % 2 + i / 16 * 2) * 16), (2, 2, 4));
        assert_eq!(load(16, 0x7fff_fff6, |i| i / 2 % 8 * 16), (2, 2, 4));
        // Only lanes 0 and 8 alike: four phases as ever. All alike: both rules, one halving.
        assert_eq!(load(16, all, |i| i % 8 * 16), (4, 4, 4));
        assert_eq!(load(16, all, |_| 0), (2, 2, 4));
        // Conflicts of the merged phases: 8 rows of 128 bytes.
        assert_eq!(load(16, all, |i| i / 2 % 8 * 128), (16, 2, 16));
        assert_eq!(load(8, all, |i| i / 2 * 8), (1, 1, 2));
        assert_eq!(load(4, all, |i| i / 2 * 4), (1, 1, 1));
    }

    fn lanes_of(mask: u32) -> impl Iterator<Item = usize> {
        (0..32).filter(move |i| mask >> i & 1 == 1)
    }

    #[test]
    fn remembered_only_while_the_same() {
        let mut p = Pattern::default();
        for round in 0..200u32 {
            let [a, b, c, _] = crate::rng::philox([1, 2], [round / 3, 0, 0, 0]);
            let bytes = 4 << (a % 3);
            let address: [u32; 32] = from_fn(|i| (b % 999 + c % 40 * i as u32) * bytes + round % 3 * 4096);
            let mask = if a & 64 == 0 { u32::MAX } else { b | 1 << (c % 32) };
            p.update(&Lanes::narrow(&address, mask), bytes, true);
            let all: u32 = p.ranges.iter().map(|r| r.1).sum();
            let mut touched: Vec<u32> = lanes_of(mask).flat_map(|i| address[i]..address[i] + bytes).collect();
            touched.sort_unstable();
            touched.dedup();
            assert_eq!(all as usize, touched.len());
            let mut fresh = Pattern::default();
            fresh.update(&Lanes::new(&address.map(u64::from), mask), bytes, true);
            assert_eq!((p.sectors, p.load, p.store, &p.pieces), (fresh.sectors, fresh.load, fresh.store, &fresh.pieces));
            // Sectors by brute force.
            let mut sectors: Vec<u32> = touched.iter().map(|a| a / SECTOR).collect();
            sectors.dedup();
            assert_eq!(p.sectors as usize, sectors.len());
        }
    }

    #[test]
    fn rows_of_ldmatrix() {
        assert_eq!(matrix_waves(&from_fn::<u32, 8, _>(|i| 16 * i as u32)), 1);
        assert_eq!(matrix_waves(&from_fn::<u32, 8, _>(|i| 128 * i as u32)), 8);
        assert_eq!(matrix_waves(&from_fn::<u32, 8, _>(|i| 144 * i as u32)), 1);
        assert_eq!(matrix_waves(&from_fn::<u32, 8, _>(|i| 64 * i as u32 + 16 * (i as u32 / 2 % 4))), 1);
        assert_eq!(matrix_waves(&[256; 8]), 1);
    }
}
