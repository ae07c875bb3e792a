//! Boxes from masks: a square about the forged region, the same for a fake, its original and all that was made of it, so that the square
//! tells nothing of the label.
//!
//! The square is ClassNSeg's for FaceForensics++: about the centroid of the mask's largest part, 1.3 times as high as that part; moved inside
//! the picture, and no larger than its short side.

use std::collections::HashMap;
use std::path::PathBuf;

use rayon::prelude::*;

use super::reading::Reading;
use super::row::Crop;
use crate::data::picture::{Mask, Picture};
use crate::error::{Error, Result};

/// Side of the square over the height of the region.
const SCALE: f64 = 1.3;

/// Gives every row the square of its mask. A fake without a mask, and a genuine picture of which no fake with a mask was made, is left out
/// and counted: taken whole, they would show their label by their frame. Errors: a mask of another shape, no pair at all.
pub fn by_masks(reading: &mut Reading) -> Result<()> {
    let squares: Vec<Result<Option<Crop>>> = reading
        .rows
        .par_iter()
        .with_max_len(1)
        .map(|row| {
            let Some(mask) = row.mask.as_ref().filter(|_| row.fake) else { return Ok(None) };
            let shape = Picture::shape(&row.path)?;
            let (mask, _) = Mask::fitted(mask, shape)?;
            Ok(square(&mask))
        })
        .collect();
    let squares: Vec<Option<Crop>> = squares.into_iter().collect::<Result<_>>()?;
    // The first fake of an original decides; without an original each fake for itself.
    let mut of: HashMap<PathBuf, Crop> = HashMap::new();
    for (row, square) in reading.rows.iter().zip(&squares) {
        if let (Some(original), Some(square)) = (&row.original, square) {
            of.entry(original.clone()).or_insert(*square);
        }
    }
    if !reading.rows.iter().any(|r| !r.fake && of.contains_key(&r.path)) {
        let why = "no genuine picture is the original of a fake with a mask: a crop by masks would cut the fakes alone, and show the label; \
                   give boxes in a manifest instead";
        return Err(Error::data(&reading.given, why));
    }
    let rows = std::mem::take(&mut reading.rows);
    for (mut row, square) in rows.into_iter().zip(squares) {
        let found = match (&row.original, row.fake) {
            (Some(original), true) => of.get(original).copied(),
            (None, true) => square,
            (_, false) => of.get(&row.path).copied(),
        };
        match found {
            Some(square) => {
                row.crop = Some(square);
                reading.rows.push(row);
            }
            None if row.fake => reading.leave("fakes without a mask to cut them by", &row.path),
            None => reading.leave("genuine pictures without a masked fake to cut them by", &row.path),
        }
    }
    Ok(())
}

/// None for a mask of nothing.
fn square(mask: &Mask) -> Option<Crop> {
    let part = largest(mask)?;
    let (mut sum, mut top, mut bottom) = ((0u64, 0u64), usize::MAX, 0);
    for &i in &part {
        let (x, y) = (i % mask.w, i / mask.w);
        (sum.0, sum.1) = (sum.0 + x as u64, sum.1 + y as u64);
        (top, bottom) = (top.min(y), bottom.max(y));
    }
    let n = part.len() as f64;
    let centre = (sum.0 as f64 / n + 0.5, sum.1 as f64 / n + 0.5);
    let side = ((SCALE * (bottom - top + 1) as f64).round() as usize).clamp(1, mask.w.min(mask.h));
    let from = |centre: f64, all: usize| ((centre - side as f64 / 2.0).round().max(0.0) as usize).min(all - side);
    Some(Crop { x: from(centre.0, mask.w), y: from(centre.1, mask.h), w: side, h: side })
}

/// The pixels of the largest part that hangs together by sides.
fn largest(mask: &Mask) -> Option<Vec<usize>> {
    let mut left = mask.on.clone();
    let mut best: Vec<usize> = Vec::new();
    for start in 0..left.len() {
        if left[start] == 0 {
            continue;
        }
        let (mut part, mut next) = (vec![start], 0);
        left[start] = 0;
        while next < part.len() {
            let i = part[next];
            next += 1;
            let (x, y) = (i % mask.w, i / mask.w);
            let beside = [
                (x > 0, i.wrapping_sub(1)),
                (x + 1 < mask.w, i + 1),
                (y > 0, i.wrapping_sub(mask.w)),
                (y + 1 < mask.h, i + mask.w),
            ];
            for (inside, j) in beside {
                if inside && left[j] != 0 {
                    left[j] = 0;
                    part.push(j);
                }
            }
        }
        if part.len() > best.len() {
            best = part;
        }
    }
    Some(best).filter(|b| !b.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_square_is_about_the_largest_part_and_inside() {
        // 10 rows of 6 columns, and a speck far away that moves nothing.
        let mask = Mask::from_fn(60, 40, |x, y| ((20..26).contains(&x) && (10..20).contains(&y)) || (x, y) == (59, 39));
        assert_eq!(square(&mask), Some(Crop { x: 17, y: 9, w: 13, h: 13 }));
        // At the rim it is moved inside, and no larger than the picture.
        let rim = Mask::from_fn(60, 40, |x, y| x < 4 && y < 10);
        assert_eq!(square(&rim), Some(Crop { x: 0, y: 0, w: 13, h: 13 }));
        assert_eq!(square(&Mask::from_fn(60, 40, |_, _| true)), Some(Crop { x: 10, y: 0, w: 40, h: 40 }));
        assert_eq!(square(&Mask::new(8, 8)), None);
    }
}
