//! Masks from the difference between a fake and its original, for outputs of networks that come without: mean over the channels, Gaussian of
//! σ = 2 pixels, more than a tenth of the range of grey values, opened and closed by 3 × 3 pixels. A network that repaints the whole picture
//! changes every pixel a little, which is no edit.

use std::path::{Path, PathBuf};

use rayon::prelude::*;

use super::reading::Reading;
use crate::core::text::thousands;
use crate::data::picture::{Mask, Picture};
use crate::error::{Error, Result};

const SIGMA: f32 = 2.0;
/// Of 255 grey values.
const THRESHOLD: f32 = 25.5;

/// Gives every fake with an original and without a mask a mask in the folder `dir`, which must not be there. Pictures of another size than
/// their originals, and pairs that differ nowhere, stay without; a note says how many. Errors: pictures that cannot be read.
pub fn write(reading: &mut Reading, dir: &Path) -> Result<()> {
    if dir.exists() {
        return Err(Error::data(dir, "is there already; remove it, or give the manifest another name"));
    }
    std::fs::create_dir_all(dir).map_err(|e| Error::io(dir, e))?;
    let made: Vec<Option<PathBuf>> = reading
        .rows
        .par_iter()
        .enumerate()
        .with_max_len(1)
        .map(|(i, row)| {
            let Some(original) = row.original.as_ref().filter(|_| row.fake && row.mask.is_none()) else { return Ok(None) };
            let Some(mask) = between(&Picture::open(&row.path)?, &Picture::open(original)?) else { return Ok(None) };
            let file = dir.join(format!("{i:06}.png"));
            mask.save(&file).map(|()| Some(file))
        })
        .collect::<Result<_>>()?;
    let (mut done, mut without) = (0, 0);
    for (row, file) in reading.rows.iter_mut().zip(made) {
        done += file.is_some() as usize;
        row.mask = row.mask.take().or(file);
        without += (row.fake && row.mask.is_none()) as usize;
    }
    reading.notes.push(format!(
        "{} masks were made from differences; {} fakes stay without (no original, one of another size, or no difference above a tenth of the range)",
        thousands(done),
        thousands(without)
    ));
    Ok(())
}

/// None where the sizes differ or nothing is above the threshold.
fn between(fake: &Picture, original: &Picture) -> Option<Mask> {
    let (w, h) = (fake.w, fake.h);
    if (w, h) != (original.w, original.h) {
        return None;
    }
    let pairs = fake.rgb.chunks_exact(3).zip(original.rgb.chunks_exact(3));
    let grey: Vec<f32> = pairs.map(|(a, b)| a.iter().zip(b).map(|(a, b)| a.abs_diff(*b) as f32).sum::<f32>() / 3.0).collect();
    let across = blur(&grey, w, h, |x, y, d| (shift(x, d, w), y));
    let smooth = blur(&across, w, h, |x, y, d| (x, shift(y, d, h)));
    let on = Mask::from_fn(w, h, |x, y| smooth[y * w + x] > THRESHOLD);
    let opened = grow(&grow(&on, false), true);
    Some(grow(&grow(&opened, true), false)).filter(|m| m.area() > 0)
}

/// `at + by` inside 0..all.
fn shift(at: usize, by: isize, all: usize) -> usize {
    at.saturating_add_signed(by).min(all - 1)
}

/// One direction of a Gaussian; `at(x, y, d)` is the pixel `d` steps from (x, y).
fn blur(grey: &[f32], w: usize, h: usize, at: impl Fn(usize, usize, isize) -> (usize, usize)) -> Vec<f32> {
    let weights: Vec<(isize, f32)> = (-6..=6).map(|d| (d, (-(d * d) as f32 / (2.0 * SIGMA * SIGMA)).exp())).collect();
    let total: f32 = weights.iter().map(|w| w.1).sum();
    let one = |x: usize, y: usize| {
        let sum: f32 = weights
            .iter()
            .map(|&(d, weight)| {
                weight * {
                    let (x, y) = at(x, y, d);
                    grey[y * w + x]
                }
            })
            .sum();
        sum / total
    };
    (0..w * h).map(|i| one(i % w, i / w)).collect()
}

/// The mask one pixel larger (`out`) or smaller; what is outside of the picture decides nothing.
fn grow(mask: &Mask, out: bool) -> Mask {
    Mask::from_fn(mask.w, mask.h, |x, y| {
        let beside = (-1..=1).flat_map(|dy| (-1..=1).map(move |dx| (dx, dy)));
        let mut on = beside.map(|(dx, dy)| mask.get(shift(x, dx, mask.w), shift(y, dy, mask.h)));
        if out { on.any(|v| v) } else { on.all(|v| v) }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_edit_is_found_and_a_slight_change_of_everything_is_not() {
        let original = Picture::from_fn(64, 48, |x, y| [(3 * x) as u8, (4 * y) as u8, 90]);
        let edited = |strong: bool| {
            Picture::from_fn(64, 48, |x, y| {
                let p = original.at(x, y).map(|v| v.saturating_add(((x + y) % 3 * 4) as u8));
                if strong && (20..40).contains(&x) && (10..30).contains(&y) { p.map(|v| v ^ 0x80) } else { p }
            })
        };
        assert_eq!(between(&edited(false), &original), None);
        let mask = between(&edited(true), &original).unwrap();
        // A Gaussian of two pixels moves the rim by at most three.
        let inside = |m: usize, x: usize, y: usize| (20 - m..40 + m).contains(&x) && (10 - m..30 + m).contains(&y);
        assert!((0..48).all(|y| (0..64).all(|x| !mask.get(x, y) || inside(3, x, y))), "{}", mask.area());
        assert!((10..30).all(|y| (20..40).all(|x| mask.get(x, y))));
        assert_eq!(between(&original, &Picture::new(10, 10)), None);
    }
}
