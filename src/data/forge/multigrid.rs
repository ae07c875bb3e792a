//! The membrane of a large hole: conjugate gradients, preconditioned by one V-cycle of aggregated grids.
//!
//! A band of the Cholesky factor that [`cholesky`](super::cholesky) keeps for a hole of s × s pixels takes s³ numbers: a
//! gigabyte at 500. Here memory and time are proportional to the hole. Blocks of 2 × 2 unknowns become one unknown of the next
//! grid (Galerkin with constant interpolation; D. Braess, "Towards Algebraic Multigrid for Elliptic Problems of Second Order",
//! Computing 55, 1995), whose links are halved, because constant interpolation makes a slope twice as steep as it is. Red-black
//! Gauss-Seidel forwards before and backwards after the coarse correction keeps the cycle symmetric, which conjugate gradients
//! need.

use super::unknowns::{NONE, Unknowns, neighbours};
use crate::data::picture::Mask;

/// Largest error of a grey value where the iteration ends: far below the half that rounding takes.
const TOLERANCE: f64 = 0.01;
/// Most steps. Twenty are usual; the bound only ends what rounding would keep from ending.
const STEPS: usize = 300;
/// Sweeps before and after the coarse correction.
const SWEEPS: usize = 2;

/// The equations of one grid: diagonal · u − Σ link · neighbour = right-hand side, a box of cells of which some are unknown.
struct Grid {
    w: usize,
    h: usize,
    /// 0: the cell is no unknown.
    diagonal: Vec<f64>,
    /// Weight of the link to the right and downwards, 0 where one end is no unknown.
    east: Vec<f64>,
    south: Vec<f64>,
}

/// Minus the five-point Laplacian on the unknowns of a hole, with all coarser grids.
pub struct Multigrid {
    grids: Vec<Grid>,
    /// Cell of the first grid for each unknown.
    cell: Vec<u32>,
    /// Longest side of the box of the hole, pixels.
    side: usize,
}

impl Multigrid {
    pub(super) fn new(hole: &Mask, unknowns: &Unknowns) -> Multigrid {
        let xs = || unknowns.pixel.iter().map(|&p| p as usize % hole.w);
        let ys = || unknowns.pixel.iter().map(|&p| p as usize / hole.w);
        let (x0, y0) = (xs().min().unwrap_or(0), ys().min().unwrap_or(0));
        let (w, h) = (xs().max().unwrap_or(0) + 1 - x0, ys().max().unwrap_or(0) + 1 - y0);
        let mut grid = Grid { w, h, diagonal: vec![0.0; w * h], east: vec![0.0; w * h], south: vec![0.0; w * h] };
        let cell: Vec<u32> = xs().zip(ys()).map(|(x, y)| ((y - y0) * w + x - x0) as u32).collect();
        for (&p, &c) in unknowns.pixel.iter().zip(&cell) {
            let (p, c) = (p as usize, c as usize);
            for q in neighbours(p, hole.w, hole.h) {
                grid.diagonal[c] += 1.0;
                if unknowns.number[q] != NONE {
                    grid.east[c] += (q == p + 1) as u8 as f64;
                    grid.south[c] += (q == p + hole.w) as u8 as f64;
                }
            }
        }
        let mut grids = vec![grid];
        while let Some(coarser) = grids.last().filter(|g| g.w.max(g.h) > 4).map(Grid::coarser) {
            grids.push(coarser);
        }
        Multigrid { grids, cell, side: w.max(h) }
    }

    /// Solves for one right-hand side, one value an unknown.
    pub(super) fn solve(&self, right: &[f64]) -> Vec<f64> {
        let fine = &self.grids[0];
        let n = fine.diagonal.len();
        let mut r = vec![0.0; n];
        right.iter().zip(&self.cell).for_each(|(v, &c)| r[c as usize] = *v);
        // The error of u is at most side²/8 times the largest residual, the height of a membrane under an even load.
        let enough = TOLERANCE * 8.0 / (self.side * self.side) as f64;
        let (mut u, mut z, mut p, mut ap) = (vec![0.0; n], vec![0.0; n], vec![0.0; n], vec![0.0; n]);
        let mut work: Vec<[Vec<f64>; 2]> =
            self.grids[1..].iter().map(|g| [vec![0.0; g.diagonal.len()], vec![0.0; g.diagonal.len()]]).collect();
        let mut before = 0.0;
        for step in 0..STEPS {
            if r.iter().all(|v| v.abs() <= enough) {
                break;
            }
            cycle(&self.grids, &r, &mut z, &mut work);
            let rz = dot(&r, &z);
            let beta = if step == 0 { 0.0 } else { rz / before };
            p.iter_mut().zip(&z).for_each(|(p, z)| *p = z + beta * *p);
            fine.times(&p, &mut ap);
            let alpha = rz / dot(&p, &ap);
            if !alpha.is_finite() {
                break; // the residual is zero to rounding
            }
            u.iter_mut().zip(&p).for_each(|(u, p)| *u += alpha * p);
            r.iter_mut().zip(&ap).for_each(|(r, a)| *r -= alpha * a);
            before = rz;
        }
        self.cell.iter().map(|&c| u[c as usize]).collect()
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

impl Grid {
    /// Blocks of 2 × 2 cells.
    fn coarser(&self) -> Grid {
        let (w, h) = (self.w.div_ceil(2), self.h.div_ceil(2));
        let mut out = Grid { w, h, diagonal: vec![0.0; w * h], east: vec![0.0; w * h], south: vec![0.0; w * h] };
        for y in 0..self.h {
            for x in 0..self.w {
                let (i, c) = (y * self.w + x, y / 2 * w + x / 2);
                out.diagonal[c] += 0.5 * self.diagonal[i];
                // A link within a block leaves both of its ends.
                if x % 2 == 0 {
                    out.diagonal[c] -= self.east[i]
                } else {
                    out.east[c] += 0.5 * self.east[i]
                }
                if y % 2 == 0 { out.diagonal[c] -= self.south[i] } else { out.south[c] += 0.5 * self.south[i] }
            }
        }
        out
    }

    /// Σ link · neighbour of cell i.
    fn pull(&self, u: &[f64], x: usize, i: usize) -> f64 {
        let mut sum = 0.0;
        if x + 1 < self.w {
            sum += self.east[i] * u[i + 1];
        }
        if x > 0 {
            sum += self.east[i - 1] * u[i - 1];
        }
        if i + self.w < u.len() {
            sum += self.south[i] * u[i + self.w];
        }
        if i >= self.w {
            sum += self.south[i - self.w] * u[i - self.w];
        }
        sum
    }

    fn times(&self, u: &[f64], out: &mut [f64]) {
        for y in 0..self.h {
            for x in 0..self.w {
                let i = y * self.w + x;
                out[i] = self.diagonal[i] * u[i] - self.pull(u, x, i);
            }
        }
    }

    /// One colour of the chequerboard.
    fn relax(&self, right: &[f64], u: &mut [f64], colour: usize) {
        for y in 0..self.h {
            for x in ((y + colour) % 2..self.w).step_by(2) {
                let i = y * self.w + x;
                if self.diagonal[i] > 0.0 {
                    u[i] = (right[i] + self.pull(u, x, i)) / self.diagonal[i];
                }
            }
        }
    }
}

/// One V-cycle from zero: u ≈ A⁻¹ · right.
fn cycle(grids: &[Grid], right: &[f64], u: &mut [f64], work: &mut [[Vec<f64>; 2]]) {
    let g = &grids[0];
    u.fill(0.0);
    let Some(([to, correction], rest)) = work.split_first_mut() else {
        // At most 4 × 4 cells: as good as solved.
        for k in 0..32 {
            g.relax(right, u, k % 2);
        }
        for k in 0..32 {
            g.relax(right, u, (k + 1) % 2);
        }
        return;
    };
    for k in 0..2 * SWEEPS {
        g.relax(right, u, k % 2);
    }
    to.fill(0.0);
    let cw = grids[1].w;
    for y in 0..g.h {
        for x in 0..g.w {
            let i = y * g.w + x;
            if g.diagonal[i] > 0.0 {
                to[y / 2 * cw + x / 2] += right[i] - g.diagonal[i] * u[i] + g.pull(u, x, i);
            }
        }
    }
    cycle(&grids[1..], to, correction, rest);
    for y in 0..g.h {
        for x in 0..g.w {
            let i = y * g.w + x;
            if g.diagonal[i] > 0.0 {
                u[i] += correction[y / 2 * cw + x / 2];
            }
        }
    }
    for k in 0..2 * SWEEPS {
        g.relax(right, u, (k + 1) % 2);
    }
}

#[cfg(test)]
mod tests {
    use super::super::harmonic::laplacian;
    use super::*;
    use crate::core::rng::Rng;
    use crate::data::hole::Hole;

    /// The direct solution, for holes inside, at the border, of odd sides, with islands of known pixels, and for strokes.
    #[test]
    fn the_iteration_ends_at_the_direct_solution() {
        let square = |n: usize| Mask::from_fn(n + 9, n + 7, |x, y| (3..n + 3).contains(&x) && (2..n + 2).contains(&y));
        let holes = [
            square(97),
            Mask::from_fn(90, 75, |x, y| x > 4 && y > 5),
            Mask::from_fn(81, 64, |x, y| (x % 17, y % 13) != (3, 4)),
            Mask::from_fn(40, 3, |x, _| x > 0),
            Hole::Stroke.draw(150, 130, (0.3, 0.4), &mut Rng::new(3, 1, 4)),
            square(2),
        ];
        for (k, hole) in holes.iter().enumerate() {
            let unknowns = Unknowns::of(hole);
            let mut rng = Rng::new(1, 2, k as u64);
            let mut direct: Vec<[f64; 3]> = (0..unknowns.pixel.len()).map(|_| [rng.range(-90.0, 90.0) as f64; 3]).collect();
            let right: Vec<f64> = direct.iter().map(|v| v[0]).collect();
            laplacian(hole, &unknowns).solve(&mut direct);
            let found = Multigrid::new(hole, &unknowns).solve(&right);
            let worst = found.iter().zip(&direct).map(|(a, b)| (a - b[0]).abs()).fold(0.0, f64::max);
            assert!(worst < TOLERANCE, "hole {k}: {worst}");
        }
    }
}
