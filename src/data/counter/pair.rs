//! A fake, what it was before it was forged, and the region: what counterexamples are made of, and why some pairs cannot be used.

use serde::{Deserialize, Serialize};

use crate::data::picture::{Mask, Picture};

/// A fake beside its original, pixel by pixel.
pub struct Pair {
    pub fake: Picture,
    /// The fake before it was forged; of a kind that needs no original, a genuine picture.
    pub before: Picture,
    /// The forged region: it leaves something of the picture outside.
    pub mask: Mask,
}

/// Why a pair was left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LeftOut {
    /// Nothing says what the fake was before.
    NoOriginal,
    /// No region is known.
    NoMask,
    /// The region is the whole picture: outside of it there is nothing that could tell the trace.
    Everything,
    /// Fake and original have different sizes.
    Sizes,
    /// Outside of the region the two differ about as much as inside, and more than a trace does.
    NotItsOriginal,
    /// The original cannot be read.
    Unreadable,
    /// The fake's own file cannot be read, and another picture stands in for it.
    StandIn,
}

impl LeftOut {
    /// To go on with after a number of pairs.
    pub fn words(self) -> &'static str {
        match self {
            LeftOut::NoOriginal => "without an original (`original` in manifest.jsonl)",
            LeftOut::NoMask => "without a mask",
            LeftOut::Everything => "whose mask covers the whole picture",
            LeftOut::Sizes => "whose original has another size",
            LeftOut::NotItsOriginal => {
                "whose original is another picture: outside of the mask they differ about as much as inside"
            }
            LeftOut::Unreadable => "whose original cannot be read",
            LeftOut::StandIn => "whose own file cannot be read",
        }
    }
}

/// Mean difference outside of the region that a trace may have whatever a forger changed, grey levels: in a flat region a fill
/// changes less than a trace does, and another picture differs by several times this.
const FAINT: f64 = 8.0;
/// Share of the mean difference inside that the one outside may reach. Of two pictures that have nothing to do with each other one is
/// as large as the other, give or take.
const SHARE: f64 = 0.5;

impl Pair {
    /// The pair, if its parts fit together.
    pub fn new(fake: Picture, before: Picture, mask: Mask) -> Result<Pair, LeftOut> {
        if (fake.w, fake.h) != (before.w, before.h) || (fake.w, fake.h) != (mask.w, mask.h) {
            return Err(LeftOut::Sizes);
        }
        let pair = Pair::without_original(fake, before, mask)?;
        let (mut sum, mut n) = ([0u64; 2], [0u64; 2]);
        for (p, &on) in pair.mask.on.iter().enumerate() {
            let side = (on != 0) as usize;
            n[side] += 3;
            let at = p * 3..p * 3 + 3;
            sum[side] +=
                pair.fake.rgb[at.clone()].iter().zip(&pair.before.rgb[at]).map(|(a, b)| a.abs_diff(*b) as u64).sum::<u64>();
        }
        let [outside, inside] = [0, 1].map(|k| sum[k] as f64 / n[k] as f64);
        if outside > FAINT && outside >= SHARE * inside {
            return Err(LeftOut::NotItsOriginal);
        }
        Ok(pair)
    }

    /// For a kind that needs none: `genuine` is any picture of that size.
    pub fn without_original(fake: Picture, genuine: Picture, mask: Mask) -> Result<Pair, LeftOut> {
        match mask.area() {
            0 => Err(LeftOut::NoMask),
            area if area == mask.on.len() => Err(LeftOut::Everything),
            _ => Ok(Pair { fake, before: genuine, mask }),
        }
    }

    /// `inside` in the region, `outside` elsewhere: both exactly.
    pub fn composite(&self, inside: &Picture, outside: &Picture) -> Picture {
        let mut out = outside.clone();
        for (p, _) in self.mask.on.iter().enumerate().filter(|(_, on)| **on != 0) {
            out.rgb[p * 3..p * 3 + 3].copy_from_slice(&inside.rgb[p * 3..p * 3 + 3]);
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::procedural::photograph;

    fn why(fake: Picture, before: Picture, mask: Mask) -> Option<LeftOut> {
        Pair::new(fake, before, mask).err()
    }

    #[test]
    fn pairs_that_do_not_fit_are_told_apart() {
        let (a, b) = (photograph(1, 1, 24), photograph(1, 2, 24));
        let hole = || Mask::from_fn(24, 24, |x, y| (6..14).contains(&x) && (6..14).contains(&y));
        let mut forged = a.clone();
        for p in (0..24 * 24).filter(|&p| hole().on[p] != 0) {
            forged.rgb[p * 3..p * 3 + 3].fill(0);
        }
        assert_eq!(why(forged.clone(), a.clone(), hole()), None);
        assert_eq!(why(forged.clone(), photograph(1, 1, 25), hole()), Some(LeftOut::Sizes));
        assert_eq!(why(forged.clone(), a.clone(), Mask::from_fn(24, 24, |_, _| true)), Some(LeftOut::Everything));
        assert_eq!(why(forged.clone(), a.clone(), Mask::new(24, 24)), Some(LeftOut::NoMask));
        assert_eq!(why(b, a.clone(), hole()), Some(LeftOut::NotItsOriginal));
        // A trace is stronger than what a fill changed in a flat region, and the pair is a pair.
        let flat = Picture::from_fn(24, 24, |_, _| [90; 3]);
        let traced = Picture::from_fn(24, 24, |x, y| [if hole().get(x, y) { 91 } else { 90 + 3 * ((x + y) % 2) as u8 }; 3]);
        assert_eq!(why(traced, flat, hole()), None);
    }
}
