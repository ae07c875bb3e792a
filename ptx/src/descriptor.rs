//! Matrices in shared memory as `wgmma` finds them: by a descriptor of 64 bits (PTX ISA, "Matrix descriptor format", and the
//! canonical layouts of CUTLASS, `cute/arch/mma_sm90_desc.hpp`).
//!
//! A matrix consists of pieces of 16 bytes. Along K (`K-major`), a piece holds neighbours of one row; along M or N (`MN-major`), of
//! one column. Eight pieces make a core matrix, and a swizzle exchanges pieces of neighbouring lines.

use super::tensor_map::Swizzle;

/// A matrix descriptor, taken apart; offsets in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Matrix {
    start: u32,
    /// The leading dimension's offset and the stride dimension's.
    lead: u32,
    stride: u32,
    swizzle: Swizzle,
}

impl Matrix {
    /// An error says what a multiprocessor would misread.
    pub fn new(bits: u64) -> Result<Matrix, String> {
        let field = |from: u32| (bits >> from & 0x3fff) as u32 * 16;
        let swizzle = [Swizzle::None, Swizzle::B128, Swizzle::B64, Swizzle::B32][(bits >> 62) as usize];
        let m = Matrix { start: field(0), lead: field(16), stride: field(32), swizzle };
        // What no field owns.
        if bits & (3 << 14 | 3 << 30 | 7 << 46 | 0x3ff << 52) != 0 {
            return Err(format!("matrix descriptor {bits:#018x} has bits where the format has none"));
        }
        if bits >> 49 & 7 != 0 {
            return Err(format!("matrix descriptor {bits:#018x} has a base offset; begin the matrix where its swizzle begins"));
        }
        if let Some(span) = swizzle.span()
            && m.start % (8 * span) >= span
        {
            let why = format!("matrix descriptor {bits:#018x}: the matrix begins at {:#x}, inside its swizzle", m.start);
            return Err(format!("{why}; it must begin in the first {span} bytes of a multiple of {}", 8 * span));
        }
        Ok(m)
    }

    /// Where the 16 bytes of a row lie that begin at byte 16 · `piece` of the instruction's 32 bytes along K.
    pub fn along_k(&self, row: u32, piece: u32) -> u32 {
        let (group, line) = (row / 8 * self.stride, row % 8);
        match self.swizzle.span() {
            None => self.start + group + line * 16 + piece * self.lead,
            Some(span) => self.swizzle.apply(self.start + group + line * span + piece * 16),
        }
    }

    /// Where rows (or columns of B) 8 · `piece` to 8 · `piece` + 7 of the column (row of B) `k` lie: elements of 16 bits.
    pub fn along_mn(&self, piece: u32, k: u32) -> u32 {
        let (group, line) = (k / 8, k % 8);
        match self.swizzle.span() {
            None => self.start + piece * self.stride + line * 16 + group * self.lead,
            Some(span) => {
                let per = span / 16;
                let at = piece % per * 16 + piece / per * self.lead;
                self.swizzle.apply(self.start + at + line * span + group * self.stride)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bits(start: u64, lead: u64, stride: u64, swizzle: u64) -> u64 {
        start >> 4 | lead >> 4 << 16 | stride >> 4 << 32 | swizzle << 62
    }

    /// Every layout holds every piece once, within the bytes that the matrix has.
    #[test]
    fn pieces_do_not_overlap() {
        for (k, swizzle) in [(0u64, 0u64), (1, 3), (2, 2), (3, 1)] {
            let span = [0u64, 32, 64, 128][k as usize];
            let (lead, stride) = if span == 0 { (128, 256) } else { (16, 8 * span) };
            let m = Matrix::new(bits(1024, lead, stride, swizzle)).unwrap();
            let mut all: Vec<u32> = (0..64).flat_map(|r| [m.along_k(r, 0), m.along_k(r, 1)]).collect();
            all.sort();
            all.dedup();
            assert_eq!(all.len(), 128, "swizzle {swizzle}");
            assert!(all.iter().all(|&a| a % 16 == 0 && (1024..1024 + 64 * span.max(32) as u32).contains(&a)));
            // 64 along MN, 16 along K, of 16 bits.
            let (lead, stride) = if span == 0 { (1024, 128) } else { (16 * span, 8 * span) };
            let m = Matrix::new(bits(2048, lead, stride, swizzle)).unwrap();
            let mut all: Vec<u32> = (0..8).flat_map(|p| (0..16).map(move |k| (p, k))).map(|(p, k)| m.along_mn(p, k)).collect();
            all.sort();
            all.dedup();
            assert_eq!((all.len(), all[0], all[127]), (128, 2048, 2048 + 2047 - 15), "swizzle {swizzle}");
        }
    }

    #[test]
    fn by_hand() {
        // Row 3 of the second group of eight, second piece, in 128 bytes: piece 1 of line 3 is found at piece 1 ^ 3.
        let m = Matrix::new(bits(0x4000, 16, 1024, 1)).unwrap();
        assert_eq!(m.along_k(11, 1), 0x4000 + 1024 + 3 * 128 + (1 ^ 3) * 16);
        // 32 bytes further along K, inside the same line: piece 3 is found at piece 0.
        let m = Matrix::new(bits(0x4020, 16, 1024, 1)).unwrap();
        assert_eq!(m.along_k(11, 1), 0x4000 + 1024 + 3 * 128);
        assert!(Matrix::new(bits(0x4080, 16, 1024, 1)).unwrap_err().contains("inside its swizzle"));
        assert!(Matrix::new(1 << 49).unwrap_err().contains("base offset"));
        assert!(Matrix::new(1 << 46).unwrap_err().contains("has none"));
    }
}
