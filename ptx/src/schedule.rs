//! The order in which blocks and warps run. The results of a correct kernel do not depend on the order.

use super::rng::philox;

/// The order of blocks and warps, and whether warps are pre-empted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Schedule {
    /// Blocks and warps in rising order, each warp until it has to wait.
    #[default]
    Forward,
    /// Blocks and warps in falling order, each warp until it has to wait.
    Reverse,
    /// Blocks and warps in an order drawn from the seed; warps are also pre-empted, behind memory instructions.
    Random(u64),
}

impl Schedule {
    /// The numbers 0 to n − 1 in the order of the schedule; `turn` counts the orders that were asked for.
    pub(crate) fn order(self, n: usize, turn: u64) -> Vec<usize> {
        match self {
            Schedule::Forward => (0..n).collect(),
            Schedule::Reverse => (0..n).rev().collect(),
            Schedule::Random(seed) => {
                let mut v: Vec<usize> = (0..n).collect();
                for i in (1..n).rev() {
                    let [a, ..] = philox([seed as u32, (seed >> 32) as u32], [i as u32, turn as u32, (turn >> 32) as u32, 1]);
                    v.swap(i, a as usize % (i + 1));
                }
                v
            }
        }
    }
}

/// Stops a warp at some of its memory instructions.
pub(crate) struct Preempt {
    seed: u64,
    block: u64,
    count: u32,
    left: u32,
    pub due: bool,
}

impl Preempt {
    pub fn new(seed: u64, block: u64) -> Preempt {
        let mut p = Preempt { seed, block, count: 0, left: 0, due: false };
        p.draw();
        p
    }

    fn draw(&mut self) {
        let [a, ..] =
            philox([self.seed as u32, (self.seed >> 32) as u32], [self.count, self.block as u32, (self.block >> 32) as u32, 2]);
        self.count = self.count.wrapping_add(1);
        // Most intervals are at most 16 instructions long; one in four is at most 200.
        self.left = 1 + (a >> 8) % if a % 4 == 0 { 200 } else { 16 };
    }

    /// Counts a memory instruction, and sets `due` if the warp has to stop behind it.
    #[inline(always)]
    pub fn tick(&mut self) {
        self.left -= 1;
        if self.left == 0 {
            self.due = true;
            self.draw();
        }
    }

    /// Returns `due`, and clears it.
    pub fn take(&mut self) -> bool {
        std::mem::take(&mut self.due)
    }
}
