//! Matrix products of tensor cores whose elements are integers, bits, eight-bit floats or f64: D = A·B + C, as `mma.sync` and
//! `wmma` have them. Integers are exact. In f64 each element of D is a chain of fused multiply-adds in order of k. Eight-bit
//! floats are summed exactly and rounded once ([`Tensor::Ideal`]); the models of the hardware take them as f16, sixteen deep at a
//! time: no publication says what the hardware does, so this is an assumption.

use super::half::{self, Half};
use super::mma::{Element, K, Mma, Tensor};
use super::narrow::Eight;
use super::{Round, float};

/// What the elements are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// A and B have `bits` bits each, signed or not; D is s32, at its limits or wrapped.
    Integer {
        bits: u32,
        signed: [bool; 2],
        saturate: bool,
    },
    /// Single bits: D counts those of a xor b, or of a and b.
    Bit {
        xor: bool,
    },
    /// D is f16 or f32.
    Eight {
        types: [Eight; 2],
        half_sum: bool,
    },
    Double,
}

/// A product of m×8×k.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Product {
    pub kind: Kind,
    pub m: usize,
    pub k: usize,
}

/// A register of the lanes, 32 bits wide but for f64.
pub type Register = [u64; 32];

/// The columns of D.
const N: usize = 8;

impl Product {
    /// Bits of an element of A or B.
    fn bits(&self) -> u32 {
        match self.kind {
            Kind::Integer { bits, .. } => bits,
            Kind::Bit { .. } => 1,
            Kind::Eight { .. } => 8,
            Kind::Double => 64,
        }
    }

    pub fn double(&self) -> bool {
        self.kind == Kind::Double
    }

    /// Elements of A and B in a register.
    fn each(&self) -> usize {
        if self.double() { 1 } else { 32 / self.bits() as usize }
    }

    /// Elements of C and D in a register.
    fn sums(&self) -> usize {
        if matches!(self.kind, Kind::Eight { half_sum: true, .. }) { 2 } else { 1 }
    }

    /// Registers of A, B and C.
    pub fn registers(&self) -> (usize, usize, usize) {
        let each = 32 * self.each();
        (self.m * self.k / each, N * self.k / each, self.m * N / 32 / self.sums())
    }

    pub fn macs(&self) -> u64 {
        (self.m * N * self.k) as u64
    }

    /// (row, k) of an element of A: a register holds neighbours along k; registers go down eight rows first.
    pub fn a_at(&self, lane: usize, r: usize, e: usize) -> (usize, usize) {
        let blocks = self.m / 8;
        (lane / 4 + 8 * (r % blocks), (lane % 4 + 4 * (r / blocks)) * self.each() + e)
    }

    /// (k, column) of an element of B.
    pub fn b_at(&self, lane: usize, r: usize, e: usize) -> (usize, usize) {
        ((lane % 4 + 4 * r) * self.each() + e, lane / 4)
    }

    /// (row, column) of an element of C and D.
    pub fn c_at(&self, lane: usize, r: usize, e: usize) -> (usize, usize) {
        if self.sums() == 2 { (lane / 4 + 8 * r, lane % 4 * 2 + e) } else { (lane / 4 + 8 * (r / 2), lane % 4 * 2 + r % 2) }
    }

    /// D of a warp; as many registers as [`Product::registers`] says.
    pub fn multiply(&self, a: &[Register], b: &[Register], c: &[Register], model: Tensor) -> Vec<Register> {
        let (bits, each) = (self.bits(), self.each());
        let element = |x: u64, e: usize| if bits == 64 { x } else { x >> (e as u32 * bits) & ((1 << bits) - 1) };
        let mut rows = vec![vec![0u64; self.k]; self.m];
        let mut columns = vec![vec![0u64; self.k]; N];
        for lane in 0..32 {
            for e in 0..each {
                for (r, x) in a.iter().enumerate() {
                    let (i, k) = self.a_at(lane, r, e);
                    rows[i][k] = element(x[lane], e);
                }
                for (r, x) in b.iter().enumerate() {
                    let (k, j) = self.b_at(lane, r, e);
                    columns[j][k] = element(x[lane], e);
                }
            }
        }
        let mut d = vec![[0u64; 32]; c.len()];
        for (r, c) in c.iter().enumerate() {
            for lane in 0..32 {
                for e in 0..self.sums() {
                    let (i, j) = self.c_at(lane, r, e);
                    let old = if self.sums() == 2 { c[lane] >> (16 * e) & 0xffff } else { c[lane] };
                    d[r][lane] |= self.sum(&rows[i], &columns[j], old, model) << (16 * e);
                }
            }
        }
        d
    }

    /// One element of D.
    fn sum(&self, a: &[u64], b: &[u64], c: u64, model: Tensor) -> u64 {
        let pairs = || a.iter().zip(b);
        match self.kind {
            Kind::Integer { bits, signed, saturate } => {
                let number = |x: u64, signed: bool| if signed { ((x << (64 - bits)) as i64) >> (64 - bits) } else { x as i64 };
                let sum: i64 = pairs().map(|(&a, &b)| number(a, signed[0]) * number(b, signed[1])).sum();
                let sum = sum + c as u32 as i32 as i64;
                let sum = if saturate { sum.clamp(i32::MIN as i64, i32::MAX as i64) } else { sum };
                sum as u32 as u64
            }
            Kind::Bit { xor } => {
                let count = pairs().map(|(a, b)| if xor { a ^ b } else { a & b }).sum::<u64>();
                (c as u32).wrapping_add(count as u32) as u64
            }
            Kind::Double => pairs().fold(c, |c, (&a, &b)| float::fma64(a, b, c, Round::Nearest)),
            Kind::Eight { types, half_sum } => {
                let wide = |x: u64, t: usize| types[t].decode(x as u32);
                if model == Tensor::Ideal {
                    let value = |h: u32| f32::from_bits(half::widen(h, Half::F16)) as f64;
                    let old = if half_sum { value(c as u32) } else { f32::from_bits(c as u32) as f64 };
                    let sum = pairs().fold(old, |s, (&a, &b)| s + value(wide(a, 0)) * value(wide(b, 1)));
                    let narrow = || half::narrow64(sum.to_bits(), Half::F16, Round::Nearest);
                    return if half_sum { narrow() } else { float::f32_bits(sum as f32) } as u64;
                }
                let mut sum = c as u32;
                for (a, b) in a.chunks(K).zip(b.chunks(K)) {
                    let mma = Mma::new(Element::F16, half_sum, a.len(), model).expect("sixteen deep");
                    let (mut row, mut column, mut d) = ([0; K], [[0; N]; K], [[sum; N]]);
                    for (k, (&a, &b)) in a.iter().zip(b).enumerate() {
                        (row[k], column[k][0]) = (wide(a, 0), wide(b, 1));
                    }
                    mma.product(&[row], &column, &mut d);
                    sum = d[0][0];
                }
                sum as u64
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [(Kind, &[(usize, usize)]); 5] = [
        (Kind::Integer { bits: 8, signed: [true, false], saturate: false }, &[(8, 16), (16, 16), (16, 32)]),
        (Kind::Integer { bits: 4, signed: [true, true], saturate: true }, &[(8, 32), (16, 32), (16, 64)]),
        (Kind::Bit { xor: true }, &[(8, 128), (16, 128), (16, 256)]),
        (Kind::Double, &[(8, 4), (16, 4), (16, 8), (16, 16)]),
        (Kind::Eight { types: [Eight::E4m3, Eight::E5m2], half_sum: true }, &[(16, 16), (16, 32)]),
    ];

    #[test]
    fn every_element_has_one_place() {
        for (kind, shapes) in ALL {
            for &(m, k) in shapes {
                let p = Product { kind, m, k };
                let (a, b, c) = p.registers();
                let places =
                    |n: usize, each: usize, at: &dyn Fn(usize, usize, usize) -> (usize, usize), rows: usize, columns: usize| {
                        let mut seen = vec![0; rows * columns];
                        for lane in 0..32 {
                            for r in 0..n {
                                for e in 0..each {
                                    let (i, j) = at(lane, r, e);
                                    seen[i * columns + j] += 1;
                                }
                            }
                        }
                        assert!(seen.iter().all(|n| *n == 1), "{p:?}: {rows}×{columns}");
                    };
                places(a, p.each(), &|l, r, e| p.a_at(l, r, e), m, k);
                places(b, p.each(), &|l, r, e| p.b_at(l, r, e), k, N);
                places(c, p.sums(), &|l, r, e| p.c_at(l, r, e), m, N);
            }
        }
    }

    #[test]
    fn layouts_of_the_isa() {
        // "Matrix Fragments for mma.m16n8k32" with .u8: a8 is in column 16 + 4·t of row g, a4 in row g + 8.
        let p = Product { kind: Kind::Integer { bits: 8, signed: [false; 2], saturate: false }, m: 16, k: 32 };
        assert_eq!([p.a_at(5, 0, 3), p.a_at(5, 1, 0), p.a_at(5, 2, 0), p.a_at(5, 3, 1)], [(1, 7), (9, 4), (1, 20), (9, 21)]);
        assert_eq!([p.b_at(6, 0, 1), p.b_at(6, 1, 1)], [(9, 1), (25, 1)]);
        // "mma.m16n8k16" with .f64: a2 is in column t + 4.
        let p = Product { kind: Kind::Double, m: 16, k: 16 };
        assert_eq!([p.a_at(5, 0, 0), p.a_at(5, 1, 0), p.a_at(5, 2, 0), p.a_at(5, 7, 0)], [(1, 1), (9, 1), (1, 5), (9, 13)]);
        assert_eq!(p.b_at(5, 3, 0), (13, 1));
    }

    #[test]
    fn limits_and_signs() {
        let p = |signed, saturate| Product { kind: Kind::Integer { bits: 8, signed, saturate }, m: 8, k: 16 };
        let d = |p: Product, a: u64, b: u64, c: u32| {
            p.multiply(&[[a; 32]], &[[b; 32]], &[[c as u64; 32]; 2], Tensor::Ideal)[1][3] as u32
        };
        assert_eq!(d(p([true; 2], false), 0xffff_ffff, 0x0202_0202, 5) as i32, 5 - 32);
        assert_eq!(d(p([false, true], false), 0xffff_ffff, 0xffff_ffff, 0) as i32, -255 * 16);
        assert_eq!(d(p([false; 2], true), 0xffff_ffff, 0xffff_ffff, i32::MAX as u32 - 7) as i32, i32::MAX);
        assert_eq!(d(p([false; 2], false), 0xffff_ffff, 0xffff_ffff, i32::MAX as u32), i32::MAX as u32 + 255 * 255 * 16);
    }

    #[test]
    fn eight_bit_models_agree_where_sums_are_exact() {
        let p = Product { kind: Kind::Eight { types: [Eight::E4m3; 2], half_sum: false }, m: 16, k: 32 };
        let lanes = |seed: u64| -> Register {
            std::array::from_fn(|i| {
                (0..4).fold(0, |x, e| x << 8 | [0x38, 0xb8, 0x40, 0x30][(i as u64 * 7 + e + seed) as usize % 4])
            })
        };
        let (a, b): (Vec<_>, Vec<_>) = ((0..4).map(lanes).collect(), (5..7).map(lanes).collect());
        let c = vec![[1f32.to_bits() as u64; 32]; 4];
        let ideal = p.multiply(&a, &b, &c, Tensor::Ideal);
        assert_eq!(ideal, p.multiply(&a, &b, &c, Tensor::Hopper));
        assert_eq!(ideal, p.multiply(&a, &b, &c, Tensor::Ampere));
    }
}
