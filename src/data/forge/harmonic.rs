//! Harmonic fill: the hole is the membrane Δu = 0 spanned by the pixels around it, the smoothest first-order interpolation.
//!
//! T. F. Chan, J. Shen, "Mathematical Models for Local Nontexture Inpaintings", SIAM J. Appl. Math. 62(3), 2002 (§ on harmonic
//! inpainting). Five-point Laplacian; where the hole meets the border of the picture the missing neighbour is left out
//! (du/dn = 0). The fill leaves very smooth, blurred holes that pass through every pixel of the rim.

use super::cholesky;
use super::forger::{Forger, check};
use super::multigrid::Multigrid;
use super::unknowns::{NONE, Unknowns, neighbours};
use crate::core::rng::Rng;
use crate::data::picture::{Mask, Picture, to_u8};
use crate::error::Result;

pub struct Harmonic;

/// Numbers of a Cholesky factor up to which it is made (64 MiB; a square of 200 pixels); larger holes are solved by iteration.
const DIRECT: usize = 8 << 20;

/// Minus the five-point Laplacian on the unknowns of a hole.
pub(super) fn laplacian(hole: &Mask, unknowns: &Unknowns) -> std::sync::Arc<cholesky::Factor> {
    cholesky::remembered("laplace", hole, || {
        cholesky::Factor::new(unknowns.pixel.len(), |i, row| {
            for q in neighbours(unknowns.pixel[i] as usize, hole.w, hole.h) {
                row.push((i, 1.0));
                let j = unknowns.number[q];
                if j != NONE && (j as usize) < i {
                    row.push((j as usize, -1.0));
                }
            }
        })
    })
}

/// Solves -Δu = source inside the hole, u = picture around it, and returns the picture with u rounded in.
pub(super) fn membrane(picture: &Picture, hole: &Mask, source: impl Fn(usize, usize) -> f64) -> Picture {
    let unknowns = Unknowns::of(hole);
    let mut u: Vec<[f64; 3]> = unknowns
        .pixel
        .iter()
        .map(|&p| {
            std::array::from_fn(|c| {
                let rim: f64 = neighbours(p as usize, hole.w, hole.h)
                    .filter(|&q| hole.on[q] == 0)
                    .map(|q| picture.rgb[q * 3 + c] as f64)
                    .sum();
                rim + source(p as usize, c)
            })
        })
        .collect();
    if unknowns.envelope(hole) <= DIRECT {
        laplacian(hole, &unknowns).solve(&mut u);
    } else {
        let grid = Multigrid::new(hole, &unknowns);
        for c in 0..3 {
            let right: Vec<f64> = u.iter().map(|v| v[c]).collect();
            u.iter_mut().zip(grid.solve(&right)).for_each(|(u, v)| u[c] = v);
        }
    }
    let mut out = picture.clone();
    for (u, &p) in u.iter().zip(&unknowns.pixel) {
        (0..3).for_each(|c| out.rgb[p as usize * 3 + c] = to_u8(u[c] as f32));
    }
    out
}

impl Forger for Harmonic {
    fn name(&self) -> &'static str {
        "harmonic"
    }
    fn source(&self) -> &'static str {
        "Chan, Shen: Mathematical Models for Local Nontexture Inpaintings, SIAM J. Appl. Math. 2002"
    }
    fn fill(&self, picture: &Picture, hole: &Mask, _: &Picture, _: &mut Rng) -> Result<Picture> {
        check(self.name(), picture, hole, None)?;
        Ok(membrane(picture, hole, |_, _| 0.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_linear_ramp_comes_back_exactly() {
        let ramp = Picture::from_fn(40, 30, |x, y| [(2 * x + 3 * y) as u8, (200 - 3 * x) as u8, (5 * y) as u8]);
        let hole = Mask::from_fn(40, 30, |x, y| (8..33).contains(&x) && (5..22).contains(&y) && (x + y) % 7 != 0);
        assert_eq!(Harmonic.fill(&ramp, &hole, &ramp, &mut Rng::new(0, 0, 0)).unwrap(), ramp);
    }

    /// Every filled value is the mean of its neighbours to within rounding, and obeys the maximum principle.
    #[test]
    fn the_discrete_laplace_equation_holds() {
        let picture = super::super::tests::scene(32, 24, 9);
        let hole = Mask::from_fn(32, 24, |x, y| x > 6 && (4..20).contains(&y)); // touches the right border
        let out = Harmonic.fill(&picture, &hole, &picture, &mut Rng::new(0, 0, 0)).unwrap();
        for p in (0..out.w * out.h).filter(|&p| hole.on[p] != 0) {
            for c in 0..3 {
                let around: Vec<f32> = neighbours(p, 32, 24).map(|q| out.rgb[q * 3 + c] as f32).collect();
                let mean = around.iter().sum::<f32>() / around.len() as f32;
                assert!((out.rgb[p * 3 + c] as f32 - mean).abs() <= 1.0, "pixel {p}");
            }
        }
    }
}
