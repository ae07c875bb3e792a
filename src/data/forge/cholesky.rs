//! Direct solution of the symmetric positive definite systems of the harmonic, biharmonic and Poisson fills.
//!
//! Envelope (skyline) Cholesky: A. George, J. W. Liu, "Computer Solution of Large Sparse Positive Definite Systems", 1981, ch. 4.
//! Row i of the factor is kept from its first non-zero to the diagonal. For a 32 × 32 hole the rows form a band of 32 (Laplace) or 64
//! (biharmonic): a millisecond, exact to rounding, with no tolerance to choose. The matrix depends on the hole only, so that holes
//! that come again (the central one always) reuse their factor.

use std::sync::{Arc, LazyLock};

use crate::data::cache::Cache;
use crate::data::picture::Mask;

/// L of A = L·Lᵀ, rows within the envelope, f64.
pub struct Factor {
    /// First stored column of each row.
    first: Vec<u32>,
    /// Where each row starts in `values`, and the end.
    start: Vec<usize>,
    values: Vec<f64>,
}

impl Factor {
    /// Factorises the matrix whose row i has the entries `row(i)` = (column ≤ i, value); duplicates add up. The caller must make the
    /// matrix positive definite.
    pub fn new(n: usize, mut row: impl FnMut(usize, &mut Vec<(usize, f64)>)) -> Factor {
        let (mut first, mut start, mut values) = (Vec::with_capacity(n), vec![0], Vec::new());
        let mut entries = Vec::new();
        for i in 0..n {
            entries.clear();
            row(i, &mut entries);
            let f = entries.iter().map(|e| e.0).min().unwrap_or(i).min(i);
            let base = values.len();
            values.resize(base + i - f + 1, 0.0);
            for &(j, v) in entries.iter().filter(|e| e.0 <= i) {
                values[base + j - f] += v;
            }
            first.push(f as u32);
            start.push(values.len());
        }
        let mut factor = Factor { first, start, values };
        factor.factorise();
        factor
    }

    fn factorise(&mut self) {
        for i in 0..self.first.len() {
            let fi = self.first[i] as usize;
            let (done, rest) = self.values.split_at_mut(self.start[i]);
            let row = &mut rest[..i - fi + 1];
            for j in fi..i {
                let fj = self.first[j] as usize;
                let above = &done[self.start[j]..self.start[j + 1]];
                let from = fi.max(fj);
                let sum = dot(&row[from - fi..j - fi], &above[from - fj..j - fj]);
                row[j - fi] = (row[j - fi] - sum) / above[j - fj];
            }
            let (left, diagonal) = row.split_at_mut(i - fi);
            diagonal[0] = (diagonal[0] - dot(left, left)).sqrt();
        }
    }

    /// Solves A·x = b for three right-hand sides at once (the colour channels), in place.
    pub fn solve(&self, b: &mut [[f64; 3]]) {
        for i in 0..b.len() {
            let (f, row) = (self.first[i] as usize, &self.values[self.start[i]..self.start[i + 1]]);
            let mut x = b[i];
            for (l, y) in row[..i - f].iter().zip(&b[f..i]) {
                (0..3).for_each(|c| x[c] -= l * y[c]);
            }
            b[i] = x.map(|v| v / row[i - f]);
        }
        for i in (0..b.len()).rev() {
            let (f, row) = (self.first[i] as usize, &self.values[self.start[i]..self.start[i + 1]]);
            let x = b[i].map(|v| v / row[i - f]);
            b[i] = x;
            for (l, y) in row[..i - f].iter().zip(&mut b[f..i]) {
                (0..3).for_each(|c| y[c] -= l * x[c]);
            }
        }
    }

    fn bytes(&self) -> usize {
        self.values.len() * 8 + self.first.len() * 12
    }
}

/// Eight partial sums, so that the loop is vectorised without changing the order of additions from run to run.
fn dot(a: &[f64], b: &[f64]) -> f64 {
    let (a8, a1) = a.as_chunks::<8>();
    let (b8, b1) = b.as_chunks::<8>();
    let mut s = [0.0; 8];
    for (x, y) in a8.iter().zip(b8) {
        (0..8).for_each(|k| s[k] += x[k] * y[k]);
    }
    let tail: f64 = a1.iter().zip(b1).map(|(x, y)| x * y).sum();
    ((s[0] + s[4]) + (s[1] + s[5])) + ((s[2] + s[6]) + (s[3] + s[7])) + tail
}

/// The factor of an operator on a hole, remembered between pictures (64 MiB at most).
pub fn remembered(operator: &'static str, hole: &Mask, make: impl FnOnce() -> Factor) -> Arc<Factor> {
    static FACTORS: LazyLock<Cache<(&'static str, Mask), Factor>> = LazyLock::new(|| Cache::new(64 << 20));
    let made = FACTORS.get_or(&(operator, hole.clone()), || {
        let factor = make();
        let bytes = factor.bytes() + hole.on.len();
        Ok::<_, std::convert::Infallible>((factor, bytes))
    });
    match made {
        Ok(factor) => factor,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::rng::Rng;

    #[test]
    fn solves_a_random_banded_system() {
        let (n, band) = (60, 9);
        let mut rng = Rng::new(1, 2, 3);
        let mut a = vec![vec![0.0f64; n]; n];
        let pairs: Vec<(usize, usize)> =
            (0..n).flat_map(|i| (i.saturating_sub(rng.below(band + 1))..i).map(move |j| (i, j))).collect();
        for (i, j) in pairs {
            a[i][j] = rng.normal() as f64;
            a[j][i] = a[i][j];
        }
        (0..n).for_each(|i| a[i][i] = 1.0 + a[i].iter().map(|v| v.abs()).sum::<f64>());
        let x: Vec<[f64; 3]> = (0..n).map(|_| [rng.normal() as f64, rng.normal() as f64, 1.0]).collect();
        let mut b: Vec<[f64; 3]> = (0..n).map(|i| std::array::from_fn(|c| (0..n).map(|j| a[i][j] * x[j][c]).sum())).collect();
        Factor::new(n, |i, out| out.extend((0..=i).filter(|&j| a[i][j] != 0.0).map(|j| (j, a[i][j])))).solve(&mut b);
        for (got, want) in b.iter().zip(&x) {
            (0..3).for_each(|c| assert!((got[c] - want[c]).abs() < 1e-12));
        }
    }
}
