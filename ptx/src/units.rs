//! What works beside the warps of a block: bulk copies and the products of warp groups, as they are under way.

use std::collections::{HashMap, VecDeque};
use std::rc::Rc;

use super::num::mma::K;
use super::op::Multiply;
use super::race::Teller;
use super::tensor_map::TensorMap;

/// What works beside the warps of a block.
#[derive(Default)]
pub(crate) struct Units {
    pub cluster: ClusterBarrier,
    pub products: Vec<Products>,
    pub transfers: Vec<Transfer>,
    /// For each thread: groups of copies that it has committed.
    pub commits: HashMap<(u32, u32), u64>,
}

/// The barrier of the cluster, which is the block's own.
#[derive(Default)]
pub(crate) struct ClusterBarrier {
    /// Threads that have arrived in this phase.
    pub count: u32,
    pub phase: u32,
    /// By warp: lanes that have arrived and not waited, and the phase of their arrival.
    pub arrived: HashMap<u32, (u32, u32)>,
}

/// A bulk copy under way.
pub(crate) struct Transfer {
    pub who: Teller,
    pub way: Way,
    /// None: a run of bytes.
    pub map: Option<Rc<TensorMap>>,
    /// Where the tile begins in shared memory, and the bytes of each of its rows.
    pub at: u32,
    pub row: u32,
    pub lines: Vec<Line>,
}

/// A row of the tile: the part that lies inside the tensor.
#[derive(Clone, Copy)]
pub(crate) struct Line {
    pub buffer: u32,
    pub from: u64,
    pub lead: u32,
    pub len: u32,
}

pub(crate) enum Way {
    /// `here`: the bytes are there already.
    In { mbarrier: u32, here: bool },
    /// Once read: the bytes, and which of them hold a value.
    Out { group: Option<u64>, read: Option<(Vec<u8>, Vec<bool>)> },
}

impl Transfer {
    pub fn bytes(&self) -> u32 {
        self.row * self.lines.len() as u32
    }

    /// Whether it arrives at this mbarrier.
    pub fn reaches(&self, at: u32) -> bool {
        matches!(self.way, Way::In { mbarrier, .. } if mbarrier == at)
    }

    /// Where byte `i` of the tile lies in shared memory.
    pub fn place(&self, i: u32) -> usize {
        let at = self.at + i;
        self.map.as_ref().map_or(at, |m| m.swizzle.apply(at)) as usize
    }
}

impl Units {
    /// All that decides what comes next, but for registers and memory.
    pub fn state(&self) -> Vec<u64> {
        let mut list: Vec<u64> = vec![self.cluster.count as u64, self.cluster.phase as u64];
        list.extend(self.products.iter().flat_map(|p| p.state()));
        list.extend(self.transfers.iter().flat_map(|t| [t.who.pc as u64, t.at as u64, t.lines[0].from]));
        list
    }
}

/// What a warp group does.
#[derive(Default)]
pub(crate) struct Products {
    /// How many products each warp has told.
    pub told: [u64; 4],
    /// Those that not all warps have waited for; the first has the number `first`.
    pub list: VecDeque<Product>,
    pub first: u64,
    /// By warp of the group.
    pub warps: [Own; 4],
}

/// A product that at least one warp has told.
pub(crate) struct Product {
    pub pc: usize,
    pub what: Multiply,
    pub a: Option<u64>,
    pub b: u64,
    pub scale: bool,
    /// Registers of the sums: the same in all warps, which execute the same instruction.
    pub sums: Rc<Vec<u16>>,
    /// What it reads of shared memory, 16 bytes each: of A row by row or piece by piece, then of B.
    pub pieces: Rc<Vec<(u32, u32)>>,
    pub operands: Option<Rc<Operands>>,
    /// A bit for each warp that has its sums.
    pub taken: u8,
}

/// A and B as they were read.
pub(crate) struct Operands {
    /// Empty if A lies in registers.
    pub a: Vec<[u32; K]>,
    /// Eight columns each.
    pub b: Vec<[[u32; 8]; K]>,
    /// Rows and columns that hold what nothing wrote.
    pub rows: u64,
    pub columns: [u64; 4],
}

/// What one warp of the group remembers.
#[derive(Default)]
pub(crate) struct Own {
    /// Registers of sums and of A as they were at the last `wgmma.fence`; none before the first.
    pub fenced: Option<HashMap<u16, [u32; 32]>>,
    /// For each group of products that is committed and not waited for: products told up to it.
    pub commits: VecDeque<u64>,
    /// Products that are in the sums.
    pub done: u64,
    pub sums: Vec<Sums>,
    pub factors: VecDeque<Factor>,
}

/// Sums under way: the registers, and what they will hold.
pub(crate) struct Sums {
    pub frame: u32,
    pub regs: Vec<u16>,
    pub values: Vec<[u32; 32]>,
    pub taint: Vec<u32>,
    /// The product that was told last.
    pub last: u64,
}

/// A in registers, as it was when the product was told.
pub(crate) struct Factor {
    pub product: u64,
    pub regs: Vec<u16>,
    pub values: Vec<[u32; 32]>,
    pub taint: u32,
}

impl Products {
    /// How many products all four warps have told.
    pub fn told_by_all(&self) -> u64 {
        *self.told.iter().min().expect("four warps")
    }

    /// Whether a warp has products that it has not waited for.
    pub fn unfinished(&self) -> Option<(u32, usize)> {
        let of = |q: usize| self.told[q] > self.warps[q].done;
        (0..4).find(|&q| of(q)).map(|q| {
            let number = (self.warps[q].done - self.first) as usize;
            (q as u32, self.list[number].pc)
        })
    }

    /// All that decides what comes next, but for the registers.
    pub fn state(&self) -> impl Iterator<Item = u64> {
        let own = |o: &Own| [o.done, o.commits.len() as u64, o.sums.len() as u64];
        self.told.into_iter().chain(self.warps.iter().flat_map(own))
    }
}
