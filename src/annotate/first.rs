//! What a first mask is made from: the difference between a fake and its original, as a picture that the page cuts at a threshold.
//!
//! The difference of a pixel is the largest over its channels; its square root fills 0 to 255, so that traces of one grey level (16)
//! can be told from none. Where most pixels are the same to the bit the difference is exact. Elsewhere (both pictures were
//! compressed) it is taken between 3 × 3 means, in which the noise of compression is weaker. A pair that was compressed alike, so that
//! blocks away from the forgery stayed the same, counts as exact: the first mask is then all blocks that the forgery touches, and the
//! page's threshold has to be raised by hand.

use crate::data::Picture;

/// Grey values of w·h pixels, and the threshold above which a pixel counts at first.
#[derive(Debug, Clone, PartialEq)]
pub struct Difference {
    pub grey: Vec<u8>,
    pub threshold: u8,
}

/// Share of pixels that are the same from which a difference is exact.
const EXACT: f64 = 0.3;

/// None where the two differ in size, or in nothing.
pub fn difference(fake: &Picture, original: &Picture) -> Option<Difference> {
    if (fake.w, fake.h) != (original.w, original.h) || fake.rgb == original.rgb {
        return None;
    }
    let same = fake.rgb.chunks_exact(3).zip(original.rgb.chunks_exact(3)).filter(|(a, b)| a == b).count();
    let exact = same as f64 >= EXACT * (fake.w * fake.h) as f64;
    let signed: Vec<i32> = fake.rgb.iter().zip(&original.rgb).map(|(&a, &b)| a as i32 - b as i32).collect();
    let (w, h) = (fake.w as isize, fake.h as isize);
    let at = |x: isize, y: isize, c: usize| {
        let (x, y) = (x.clamp(0, w - 1), y.clamp(0, h - 1));
        signed[(y * w + x) as usize * 3 + c]
    };
    let level = |x: isize, y: isize| {
        let channel = |c: usize| match exact {
            true => at(x, y, c).abs() as f32,
            false => {
                let sum: i32 =
                    (-1..=1).flat_map(|dy| (-1..=1).map(move |dx| (dx, dy))).map(|(dx, dy)| at(x + dx, y + dy, c)).sum();
                sum.abs() as f32 / 9.0
            }
        };
        let most = (0..3).map(channel).fold(0.0, f32::max);
        ((most / 255.0).sqrt() * 255.0).round() as u8
    };
    let grey: Vec<u8> = (0..h).flat_map(|y| (0..w).map(move |x| (x, y))).map(|(x, y)| level(x, y)).collect();
    let threshold = if exact { 0 } else { otsu(&grey) };
    Some(Difference { grey, threshold })
}

/// Otsu's threshold (IEEE Trans. SMC 9, 1979): the level that parts the values into the two classes with the largest variance
/// between them; values above it are the upper class.
pub fn otsu(grey: &[u8]) -> u8 {
    let mut counts = [0u64; 256];
    grey.iter().for_each(|&v| counts[v as usize] += 1);
    let (n, sum) = (grey.len() as f64, grey.iter().map(|&v| v as f64).sum::<f64>());
    let (mut below, mut sum_below, mut best) = (0.0, 0.0, (0.0, 0u8));
    for (level, &count) in counts.iter().enumerate() {
        below += count as f64;
        sum_below += level as f64 * count as f64;
        let above = n - below;
        if below > 0.0 && above > 0.0 {
            let between = below * above * (sum_below / below - (sum - sum_below) / above).powi(2);
            if between > best.0 {
                best = (between, level as u8);
            }
        }
    }
    best.1
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::procedural::photograph;

    #[test]
    fn otsu_parts_two_heaps() {
        assert_eq!(otsu(&[10, 10, 10, 12, 200, 200, 205]), 12);
        assert_eq!(otsu(&[7; 9]), 0);
    }

    #[test]
    fn exact_pairs_give_the_changed_pixels() {
        let photo = photograph(3, 1, 64);
        let inside = |x: usize, y: usize| (20..40).contains(&x) && (10..30).contains(&y);
        let fake = Picture::from_fn(64, 64, |x, y| {
            let p = photo.at(x, y);
            if inside(x, y) { [p[0] ^ 1, p[1], 255 - p[2] / 2] } else { p }
        });
        let d = difference(&fake, &photo).unwrap();
        assert_eq!(d.threshold, 0);
        assert!((0..64 * 64).all(|i| (d.grey[i] > 0) == inside(i % 64, i / 64)));
        assert_eq!(difference(&photo, &photo), None);
        assert_eq!(difference(&photo, &photograph(3, 1, 32)), None);
    }
}
