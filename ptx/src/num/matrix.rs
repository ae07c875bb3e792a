//! Which lane holds which element of a matrix: fragments of `mma.sync` and `ldmatrix`. Those of `wmma` are made of them.
//!
//! Layouts of `mma` and `ldmatrix` are the PTX ISA's ("Matrix Fragments for mma.m16n8k…", "ldmatrix"). With `group = lane / 4`
//! and `t = lane mod 4`, every fragment is made of 8×8 (or 8×4) tiles in which a lane owns row `group` and the columns of `t`.

use super::Lanes;

/// Where an element of a fragment lies: (row, column).
pub type At = (usize, usize);

/// A of m16n8kK with 16-bit elements: register `r`, its low or high half.
#[inline(always)]
pub const fn a16(lane: usize, r: usize, half: usize) -> At {
    (lane / 4 + 8 * (r % 2), lane % 4 * 2 + half + 8 * (r / 2))
}
/// B, 16-bit elements: (k, n).
#[inline(always)]
pub const fn b16(lane: usize, r: usize, half: usize) -> At {
    (lane % 4 * 2 + half + 8 * r, lane / 4)
}
/// A of m16n8k4 and m16n8k8 with tf32 elements: one to a register.
#[inline(always)]
pub const fn a32(lane: usize, r: usize) -> At {
    (lane / 4 + 8 * (r % 2), lane % 4 + 4 * (r / 2))
}
/// B, tf32 elements: (k, n).
#[inline(always)]
pub const fn b32(lane: usize, r: usize) -> At {
    (lane % 4 + 4 * r, lane / 4)
}
/// C and D of m16n8, f32.
#[inline(always)]
pub const fn c32(lane: usize, r: usize) -> At {
    (lane / 4 + 8 * (r / 2), lane % 4 * 2 + r % 2)
}
/// C and D of m16n8, f16: two to a register.
#[inline(always)]
pub const fn c16(lane: usize, r: usize, half: usize) -> At {
    (lane / 4 + 8 * r, lane % 4 * 2 + half)
}

/// `ldmatrix` of `out.len()` matrices of 8×8 16-bit elements. `rows[8·i + j]` are the 16 bytes of row j of matrix i, which lane
/// 8·i + j pointed to. With `trans`, a lane receives a column's pair instead of a row's.
#[inline(always)]
pub fn ldmatrix(rows: &[[u32; 4]], trans: bool, out: &mut [Lanes]) {
    for (matrix, d) in rows.chunks_exact(8).zip(out) {
        for (lane, d) in d.iter_mut().enumerate() {
            *d = if trans {
                let (i, j) = (lane % 4 * 2, lane / 4);
                let element = |i: usize| matrix[i][j / 2] >> (16 * (j % 2)) & 0xffff;
                element(i) | element(i + 1) << 16
            } else {
                matrix[lane / 4][lane % 4]
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every element is held once.
    fn covers(rows: usize, columns: usize, slots: impl Iterator<Item = At>) {
        let mut seen = vec![0; rows * columns];
        slots.for_each(|(i, j)| seen[i * columns + j] += 1);
        assert!(seen.iter().all(|&n| n == 1), "{rows} × {columns}: {seen:?}");
    }
    fn slots(registers: usize) -> impl Iterator<Item = (usize, usize)> {
        (0..32).flat_map(move |lane| (0..registers).map(move |r| (lane, r)))
    }
    fn pairs(registers: usize) -> impl Iterator<Item = (usize, usize, usize)> {
        slots(registers).flat_map(|(lane, r)| [(lane, r, 0), (lane, r, 1)])
    }

    #[test]
    fn fragments_cover() {
        covers(16, 16, pairs(4).map(|(l, r, h)| a16(l, r, h)));
        covers(16, 8, pairs(2).map(|(l, r, h)| a16(l, r, h)));
        covers(16, 8, pairs(2).map(|(l, r, h)| b16(l, r, h)));
        covers(8, 8, pairs(1).map(|(l, r, h)| b16(l, r, h)));
        covers(16, 8, slots(4).map(|(l, r)| a32(l, r)));
        covers(16, 4, slots(2).map(|(l, r)| a32(l, r)));
        covers(8, 8, slots(2).map(|(l, r)| b32(l, r)));
        covers(4, 8, slots(1).map(|(l, r)| b32(l, r)));
        covers(16, 8, slots(4).map(|(l, r)| c32(l, r)));
        covers(16, 8, pairs(2).map(|(l, r, h)| c16(l, r, h)));
    }

    /// Lane 13 (group 3, t = 1), as the ISA's figures show it.
    #[test]
    fn fragments_of_one_lane() {
        assert_eq!(
            [a16(13, 0, 0), a16(13, 0, 1), a16(13, 1, 0), a16(13, 2, 0), a16(13, 3, 1)],
            [(3, 2), (3, 3), (11, 2), (3, 10), (11, 11)]
        );
        assert_eq!([b16(13, 0, 0), b16(13, 0, 1), b16(13, 1, 0)], [(2, 3), (3, 3), (10, 3)]);
        assert_eq!([a32(13, 0), a32(13, 1), a32(13, 2), a32(13, 3)], [(3, 1), (11, 1), (3, 5), (11, 5)]);
        assert_eq!([b32(13, 0), b32(13, 1)], [(1, 3), (5, 3)]);
        assert_eq!([c32(13, 0), c32(13, 1), c32(13, 2), c32(13, 3)], [(3, 2), (3, 3), (11, 2), (11, 3)]);
        assert_eq!([c16(13, 0, 1), c16(13, 1, 0)], [(3, 3), (11, 2)]);
    }

    /// `ldmatrix` gives the fragments of `mma`: x4 that of A, and `.trans` turns rows into the columns that B wants.
    #[test]
    fn ldmatrix_feeds_mma() {
        // Element (i, j) of a 16×16 matrix is 16·i + j; lanes 0-7, 8-15, 16-23, 24-31 point to the four quarters.
        let word = |i: usize, j: usize| (16 * i + j) as u32 | ((16 * i + j + 1) as u32) << 16;
        let row = |i: usize, j: usize| [word(i, j), word(i, j + 2), word(i, j + 4), word(i, j + 6)];
        let rows: Vec<[u32; 4]> = (0..32).map(|l| row(l % 16, l / 16 * 8)).collect();
        let mut regs = [[0; 32]; 4];
        ldmatrix(&rows, false, &mut regs);
        for (l, r, h) in pairs(4) {
            let (i, j) = a16(l, r, h);
            assert_eq!(regs[r][l] >> (16 * h) & 0xffff, (16 * i + j) as u32);
        }
        // The matrix read as B[k][n], k down: transposed loads put (k, n) where B's fragment has it.
        ldmatrix(&rows, true, &mut regs);
        for (l, r, h) in pairs(2) {
            let (k, n) = b16(l, r, h);
            assert_eq!(regs[r][l] >> (16 * h) & 0xffff, (16 * k + n) as u32);
        }
    }
}
