//! What PTX instructions compute: pure functions over register bits, one value or one warp at a time.
//!
//! Three kinds of arithmetic meet here, and each says which it is:
//! * what IEEE 754 or the integers fix ([`float`], [`half`], [`convert`], [`int`]): equal to a GPU bit for bit, except that a NaN
//!   is always the canonical one;
//! * what the PTX ISA only bounds ([`approx`]): the central value, or on request another value inside the bound;
//! * what tensor cores do ([`mma`]): an ideal sum, or a model of the hardware.

pub mod approx;
pub mod convert;
pub mod exact;
pub mod float;
pub mod half;
pub mod int;
pub mod matrix;
pub mod mma;
pub mod narrow;
pub mod product;
pub mod video;

/// One 32-bit register of a warp.
pub type Lanes = [u32; 32];

/// The rounding modifiers of PTX: `.rn`, `.rz`, `.rm`, `.rp`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Round {
    /// To nearest, ties to even.
    Nearest,
    Zero,
    Down,
    Up,
}

#[cfg(test)]
mod tests {
    /// Bits that cover a type: every class of number, edges of every range, and draws of a counter.
    pub fn samples(bits: u32, count: u32) -> impl Iterator<Item = u64> {
        let (exponent, mask) = match bits {
            16 => (0x7c00u64, 0xffff),
            32 => (0x7f80_0000, 0xffff_ffff),
            _ => (0x7ff0_0000_0000_0000, u64::MAX),
        };
        let one = exponent >> 1 & exponent;
        let sign = 1u64 << (bits - 1);
        let least = exponent & exponent.wrapping_neg();
        let edges =
            [0, 1, 2, 3, least - 1, least, least + 1, one - 1, one, one + 1, one + least, exponent - 1, exponent, exponent + 1];
        let edges = edges.into_iter().flat_map(move |x| [x, x | sign]);
        edges.chain((0..count).map(move |i| {
            let [a, b, c, _] = crate::rng::philox([7, bits], [i, 0, 0, 0]);
            let x = (a as u64) << 32 | b as u64;
            // A third of the draws have exponents near that of 1, so that sums and products of two of them meet.
            let near = (x & !exponent) | ((one + (c as u64 >> 8) % 8 * least) & exponent);
            (if c % 3 == 0 { near } else { x }) & mask
        }))
    }
}
