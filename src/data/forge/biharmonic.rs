//! Biharmonic fill: the hole is the thin plate Δ²u = 0 that continues values and slopes of the pixels around it.
//!
//! S. B. Damelin, N. S. Hoang, "On Surface Completion and Image Inpainting by Biharmonic Functions: Numerical Aspects",
//! International Journal of Mathematics and Mathematical Sciences, 2018. Thirteen-point stencil, written as the minimum of
//! Σ (Δu)² over every five-point Laplacian that touches the hole, with the missing neighbours of border pixels left out: symmetric
//! positive definite for any hole, also at the border of the picture. The fill is smooth like the harmonic one, and overshoots.

use super::cholesky;
use super::forger::{Forger, check};
use super::unknowns::{NONE, Unknowns, neighbours};
use crate::core::rng::Rng;
use crate::data::picture::{Mask, Picture, to_u8};
use crate::error::Result;

pub struct Biharmonic;

/// The second difference along one or both axes at `p`: entries (pixel, weight). At the border of the picture only the axis that
/// has both neighbours counts, which in a corner is neither.
fn bend(p: usize, w: usize, h: usize, out: &mut Vec<(usize, f64)>) {
    out.clear();
    let (x, y) = (p % w, p / w);
    if x > 0 && x + 1 < w {
        out.extend([(p - 1, 1.0), (p + 1, 1.0), (p, -2.0)]);
    }
    if y > 0 && y + 1 < h {
        out.extend([(p - w, 1.0), (p + w, 1.0), (p, -2.0)]);
    }
}

impl Forger for Biharmonic {
    fn name(&self) -> &'static str {
        "biharmonic"
    }
    fn source(&self) -> &'static str {
        "Damelin, Hoang: On Surface Completion and Image Inpainting by Biharmonic Functions, IJMMS 2018"
    }
    /// The factor of 300 × 300 unknowns is a band of 600: 430 MB, and 6 s of one core. Twice the side takes eight times
    /// the memory and sixteen times the time.
    fn largest_hole(&self) -> usize {
        300
    }
    fn fill(&self, picture: &Picture, hole: &Mask, _: &Picture, _: &mut Rng) -> Result<Picture> {
        check(self.name(), picture, hole, None)?;
        let (w, h) = (picture.w, picture.h);
        let unknowns = Unknowns::of(hole);
        // The rows of A = BᵀB by unknown, B the second differences at the hole's pixels and their neighbours; the known columns go
        // to the right-hand side.
        let each_row = |i: usize, visit: &mut dyn FnMut(usize, f64)| {
            let p = unknowns.pixel[i] as usize;
            let mut stencil = Vec::with_capacity(6);
            for centre in neighbours(p, w, h).chain([p]) {
                bend(centre, w, h, &mut stencil);
                let own: f64 = stencil.iter().filter(|e| e.0 == p).map(|e| e.1).sum();
                if own != 0.0 {
                    stencil.iter().for_each(|&(q, v)| visit(q, own * v));
                }
            }
            // A membrane of weight 1e-6 makes the system definite where a hole leaves too few known pixels to fix a plane. In all
            // other holes its effect vanishes in the rounding to 8 bits.
            for q in neighbours(p, w, h) {
                visit(p, TIE);
                visit(q, -TIE);
            }
        };
        let factor = cholesky::remembered("biharmonic", hole, || {
            cholesky::Factor::new(unknowns.pixel.len(), |i, row| {
                each_row(i, &mut |q, v| {
                    let j = unknowns.number[q];
                    if j != NONE && j as usize <= i {
                        row.push((j as usize, v));
                    }
                });
            })
        });
        let mut u: Vec<[f64; 3]> = (0..unknowns.pixel.len())
            .map(|i| {
                let mut right = [0.0; 3];
                each_row(i, &mut |q, v| {
                    if unknowns.number[q] == NONE {
                        (0..3).for_each(|c| right[c] -= v * picture.rgb[q * 3 + c] as f64);
                    }
                });
                right
            })
            .collect();
        factor.solve(&mut u);
        let mut out = picture.clone();
        for (u, &p) in u.iter().zip(&unknowns.pixel) {
            (0..3).for_each(|c| out.rgb[p as usize * 3 + c] = to_u8(u[c] as f32));
        }
        Ok(out)
    }
}

const TIE: f64 = 1e-6;

#[cfg(test)]
mod tests {
    use super::*;

    fn fill(picture: &Picture, hole: &Mask) -> Picture {
        Biharmonic.fill(picture, hole, picture, &mut Rng::new(0, 0, 0)).unwrap()
    }

    #[test]
    fn planes_come_back_even_through_the_border() {
        let ramp = Picture::from_fn(30, 24, |x, y| [(2 * x + 3 * y) as u8, (200 - 3 * x) as u8, (5 * y) as u8]);
        for hole in [
            Mask::from_fn(30, 24, |x, y| (5..25).contains(&x) && (6..19).contains(&y)),
            Mask::from_fn(30, 24, |x, y| x >= 12 && y >= 10),
            Mask::from_fn(30, 24, |x, _| x < 9),
        ] {
            assert_eq!(fill(&ramp, &hole), ramp);
        }
    }

    /// Δ² of any cubic is 0, and the hole is away from the border: the same polynomial is the only solution.
    #[test]
    fn cubics_come_back() {
        let bowl = Picture::from_fn(36, 36, |x, y| {
            let (x, y) = (x as f32 - 18.0, y as f32 - 16.0);
            [to_u8(0.25 * x * x + 0.15 * y * y + 20.0), to_u8(128.0 + 0.01 * x * x * x - 0.2 * x * y), to_u8(0.3 * x * y + 120.0)]
        });
        let hole = Mask::from_fn(36, 36, |x, y| (9..27).contains(&x) && (9..27).contains(&y) && (x, y) != (12, 13));
        let worst = fill(&bowl, &hole).rgb.iter().zip(&bowl.rgb).map(|(a, b)| a.abs_diff(*b)).max();
        // The rim is rounded to integers, whose slopes the plate extrapolates.
        assert!(worst <= Some(4), "{worst:?}");
    }
}
