//! A mask as run lengths: how it travels between the page and the server.
//!
//! Row by row from the top left pixel, lengths of runs that are off and on by turns; the first is off and may be 0. They add up to
//! the number of pixels.

use crate::data::Mask;

/// The lengths.
pub fn of(mask: &Mask) -> Vec<u32> {
    let (mut runs, mut last, mut n) = (Vec::new(), 0, 0);
    for &v in &mask.on {
        if (v != 0) as u8 != last {
            runs.push(n);
            (last, n) = (1 - last, 0);
        }
        n += 1;
    }
    runs.push(n);
    runs
}

/// The mask of `w` × `h` pixels, or what is wrong with the lengths.
pub fn mask(w: usize, h: usize, runs: &[u32]) -> Result<Mask, String> {
    let total: u64 = runs.iter().map(|&n| n as u64).sum();
    let pixels = w as u64 * h as u64;
    if total != pixels {
        return Err(format!("the runs add up to {total} pixels, {w} x {h} are {pixels}"));
    }
    let mut mask = Mask::new(w, h);
    let mut at = 0;
    for (i, &n) in runs.iter().enumerate() {
        mask.on[at..at + n as usize].fill((i % 2) as u8);
        at += n as usize;
    }
    Ok(mask)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::rng::{Rng, stream};

    #[test]
    fn there_and_back() {
        let mut rng = Rng::new(1, stream("runs"), 0);
        for (w, h) in [(1, 1), (7, 3), (64, 64)] {
            for share in [0.0, 0.1, 0.5, 1.1] {
                let m = Mask::from_fn(w, h, |_, _| rng.unit() < share);
                assert_eq!(mask(w, h, &of(&m)).unwrap(), m);
            }
        }
        assert_eq!(of(&Mask::new(3, 2)), [6]);
        assert_eq!(of(&Mask::from_fn(3, 2, |x, _| x == 0)), [0, 1, 2, 1, 2]);
        assert!(mask(3, 2, &[7]).unwrap_err().contains("3 x 2 are 6"));
        assert!(mask(3, 2, &[u32::MAX; 5]).is_err() && mask(3, 2, &[]).is_err());
    }
}
