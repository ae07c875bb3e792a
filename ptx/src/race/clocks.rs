//! The order of warps and lanes inside a block.

use super::stamp::LIMIT;

/// The clocks of one running block.
pub(super) struct Clocks {
    /// Barriers of the whole block so far, plus 1.
    pub generation: u32,
    /// Per warp: `.sync` instructions and partial barriers so far, plus 1.
    pub clock: Vec<u32>,
    /// Per warp: the clock at the last sync of all its lanes.
    pub whole: Vec<u32>,
    /// Per warp: clocks and masks of the syncs of some lanes since that clock.
    pub partial: Vec<Vec<(u32, u32)>>,
    /// `known[w][v]`: the clock of warp v up to which warp w is ordered after it; empty until a partial barrier.
    pub known: Vec<Vec<u32>>,
}

impl Clocks {
    pub fn new(warps: usize) -> Clocks {
        Clocks {
            generation: 1,
            clock: vec![1; warps],
            whole: vec![1; warps],
            partial: vec![Vec::new(); warps],
            known: Vec::new(),
        }
    }

    /// Everything of the block up to here is ordered before everything after.
    pub fn barrier(&mut self) {
        self.generation += 1;
        self.known.clear();
        self.partial.iter_mut().for_each(Vec::clear);
    }

    pub fn sync(&mut self, warp: usize, mask: u32, live: u32) {
        self.clock[warp] += 1;
        let now = self.clock[warp];
        if live & !mask == 0 {
            self.whole[warp] = now;
            self.partial[warp].clear();
        } else {
            match self.partial[warp].last_mut() {
                Some((at, m)) if *m == mask => *at = now,
                _ => self.partial[warp].push((now, mask)),
            }
        }
    }

    pub fn precise(&mut self) {
        if self.known.is_empty() {
            let n = self.clock.len();
            self.known = vec![vec![0; n]; n];
        }
    }

    /// Warp `w` is from now on ordered after all that warp `v` has done and knows.
    pub fn publish(&mut self, clocks: &mut [u32], v: usize) {
        self.precise();
        for (c, k) in clocks.iter_mut().zip(&self.known[v]) {
            *c = (*c).max(*k);
        }
        clocks[v] = clocks[v].max(self.clock[v]);
        self.clock[v] += 1;
    }
    pub fn learn(&mut self, clocks: &[u32], w: usize) {
        self.precise();
        for (k, c) in self.known[w].iter_mut().zip(clocks) {
            *k = (*k).max(*c);
        }
    }

    /// Whether what the lanes `lanes` of a warp did at `clock` of this generation comes before what lane `lane` of that warp does
    /// now.
    pub fn within(&self, warp: usize, clock: u32, lanes: u32, lane: u32) -> bool {
        if lanes & !(1 << lane) == 0 || clock < self.whole[warp] || clock >= LIMIT {
            return true;
        }
        // Each sync spreads what any of its lanes knows to all of them.
        let reaches = |from: u32| {
            let mut reach = 1u32 << from;
            for &(at, mask) in &self.partial[warp] {
                if at > clock && reach & mask != 0 {
                    reach |= mask;
                }
            }
            reach >> lane & 1 == 1
        };
        (0..32).filter(|i| lanes >> i & 1 == 1).all(reaches)
    }

    /// Whether what warp `v` did at `clock` of this generation comes before what warp `w` does now.
    pub fn between(&self, v: usize, clock: u32, w: usize) -> bool {
        clock >= LIMIT || self.known.get(w).is_some_and(|k| k[v] >= clock)
    }
}
