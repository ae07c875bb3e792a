//! What a model says of a paired set whose regions are exchanged: whether it looks at what was forged, or at what lies around it.
//!
//! Of a fake and its original four pictures are made that no training has seen: the forged region on the original's outside and the
//! original's region on the fake's outside (exchanged, reversed), and both with the difference outside of the region taken away or added
//! (transplanted). Only the first and the third hold a forged region.

use serde::{Deserialize, Serialize};

use super::detector::Detector;
use super::evaluate;
use super::score::Scorer;
use crate::core::params::ParamStore;
use crate::data::counter::{CounterConfig, Exchange, LeftOut, Pair, Residual};
use crate::data::dataset::{Dataset, Split};
use crate::data::picture::Picture;
use crate::error::{Error, Result};
use crate::metrics::{Bootstrap, Interval, paired_accuracy};

/// Pictures of one kind, each judged.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Copies {
    /// Heads its column.
    pub name: String,
    /// The share of them that the name says.
    pub value: Interval,
    /// For each picture 1 if it counts in that share, 0 if not.
    counts: String,
    /// Their photographs; empty where they are not known.
    groups: Vec<u64>,
    /// Pairs that could not be made, by their reasons.
    pub left_out: Vec<(String, usize)>,
}

/// The forged region on the original's outside.
pub const EXCHANGED: &str = "exchanged, called fake";
/// The original's region on the fake's outside.
pub const REVERSED: &str = "reversed, called genuine";

impl Copies {
    /// From whether each picture counts, and its photograph.
    pub fn new(name: String, counts: &[bool], groups: &[Option<u64>], how: &Bootstrap) -> Result<Copies> {
        let groups: Vec<u64> = groups.iter().copied().collect::<Option<_>>().unwrap_or_default();
        let share = |weight: &[u32]| {
            let (mut sum, mut all) = (0u64, 0u64);
            for (&w, &c) in weight.iter().zip(counts) {
                all += w as u64;
                sum += w as u64 * c as u64;
            }
            (all > 0).then(|| [sum as f64 / all as f64])
        };
        let value = how.run(counts.len(), &groups, share)?.figures[0];
        let counts = counts.iter().map(|&c| if c { '1' } else { '0' }).collect();
        Ok(Copies { name, value, counts, groups, left_out: vec![] })
    }

    /// Pictures that were judged.
    pub fn pictures(&self) -> usize {
        self.counts.len()
    }

    /// This share less that of `other` on the same pictures, with its interval over them; none if the pictures are others.
    pub fn less(&self, other: &Copies, how: &Bootstrap) -> Option<Interval> {
        let bits = |c: &Copies| c.counts.bytes().map(|b| b == b'1').collect::<Vec<_>>();
        let same = self.name == other.name && self.groups == other.groups && self.counts.len() == other.counts.len();
        same.then(|| paired_accuracy(&bits(other), &bits(self), &self.groups, how).ok())?
    }
}

/// Pictures with their photographs.
pub type Grouped = Vec<(Picture, Option<u64>)>;

/// A model that judges pictures of the side that it was trained on.
pub struct Judge<'a> {
    pub detector: &'a dyn Detector,
    pub scorer: Scorer,
    pub store: &'a mut ParamStore,
    pub how: Bootstrap,
}

impl Judge<'_> {
    /// A set of genuine pictures and fakes: the share that is right.
    pub fn set(&mut self, data: &Dataset, split: Split, name: String) -> Result<Copies> {
        let rows = evaluate::judge(data, split, self.detector, &mut self.scorer, self.store, |_| ())?;
        let right: Vec<bool> = rows.iter().map(|r| r.verdict.called_fake() == r.fake).collect();
        let groups: Vec<Option<u64>> = rows.iter().map(|r| r.group).collect();
        Copies::new(name, &right, &groups, &self.how)
    }

    /// Pictures of one kind: the share that is called fake, or genuine.
    pub fn pictures(&mut self, name: &str, all: &Grouped, fake: bool) -> Result<Copies> {
        let mut counts = Vec::with_capacity(all.len());
        for part in all.chunks(self.scorer.batch) {
            let x: Vec<f32> = part.iter().flat_map(|(p, _)| p.rgb.iter().map(|&v| v as f32 / 255.0)).collect();
            let verdicts = self.scorer.run(self.detector, self.store, &x)?;
            counts.extend(verdicts.iter().map(|v| v.called_fake() == fake));
        }
        let groups: Vec<Option<u64>> = all.iter().map(|a| a.1).collect();
        Copies::new(name.into(), &counts, &groups, &self.how)
    }

    /// The pairs with their regions exchanged, and reversed.
    pub fn exchanged(&mut self, pairs: &Pairs) -> Result<[Copies; 2]> {
        let mut out = [
            self.pictures(EXCHANGED, &pairs.each(Exchange::exchanged), true)?,
            self.pictures(REVERSED, &pairs.each(Exchange::reversed), false)?,
        ];
        out.iter_mut().for_each(|c| c.left_out.clone_from(&pairs.left_out));
        Ok(out)
    }

    /// Everything that can be asked of pairs alone: as they are, exchanged, reversed, transplanted.
    pub fn all(&mut self, pairs: &Pairs) -> Result<Vec<Copies>> {
        let c = CounterConfig::default();
        let residual = |p: &Pair| Residual::of(p, c.fill, c.period);
        let mut out = vec![
            self.pictures("fakes as they are, called fake", &pairs.each(|p| p.fake.clone()), true)?,
            self.pictures("originals as they are, called genuine", &pairs.each(|p| p.before.clone()), false)?,
        ];
        out.extend(self.exchanged(pairs)?);
        out.push(self.pictures(
            "fakes less the difference outside, called fake",
            &pairs.each(|p| residual(p).on(&p.fake, -1, c.clip)),
            true,
        )?);
        out.push(self.pictures(
            "originals with the difference outside, called genuine",
            &pairs.each(|p| residual(p).on(&p.before, 1, c.clip)),
            false,
        )?);
        out.iter_mut().for_each(|c| c.left_out.clone_from(&pairs.left_out));
        Ok(out)
    }
}

/// The pairs of a test, and those that are none.
pub struct Pairs {
    pub pairs: Vec<(Pair, Option<u64>)>,
    /// How many could not be made, by their reasons, with the first one's name.
    pub left_out: Vec<(String, usize)>,
}

impl Pairs {
    /// Of every fake of `split`, at the side of the data's pictures.
    pub fn of(data: &Dataset, split: Split) -> Result<Pairs> {
        let mut out = Pairs { pairs: vec![], left_out: vec![] };
        for i in (0..data.len(split) as u32).filter(|&i| data.is_fake(split, i)) {
            match Pairs::one(data, split, i)? {
                Ok(pair) => out.pairs.push(pair),
                Err(why) => match out.left_out.iter_mut().find(|l| l.0.starts_with(why.words())) {
                    Some(row) => row.1 += 1,
                    None => {
                        let name = data.path(split, i).map_or_else(|| format!("picture {i}"), crate::text::shown);
                        out.left_out.push((format!("{}; the first one is {name}", why.words()), 1));
                    }
                },
            }
        }
        Ok(out)
    }

    fn one(data: &Dataset, split: Split, i: u32) -> Result<Result<(Pair, Option<u64>), LeftOut>> {
        let sample = data.sample(split, i, 0)?;
        let own = data.path(split, i);
        if own.is_some() && own != sample.path.as_deref() {
            return Ok(Err(LeftOut::StandIn));
        }
        let Some(mask) = sample.mask else { return Ok(Err(LeftOut::NoMask)) };
        let before = match data.untouched(split, i) {
            None => return Ok(Err(LeftOut::NoOriginal)),
            Some(Err(Error::Data { .. } | Error::Io { .. })) => return Ok(Err(LeftOut::Unreadable)),
            Some(before) => before?,
        };
        if own.map(Picture::probe).transpose()?.is_some_and(|size| size != (before.w, before.h)) {
            return Ok(Err(LeftOut::Sizes));
        }
        let pair = Pair::new(sample.picture, before.resize(data.size()), mask);
        Ok(pair.map(|pair| (pair, sample.group.map(u64::from))))
    }

    fn each(&self, make: impl Fn(&Pair) -> Picture) -> Grouped {
        self.pairs.iter().map(|(p, group)| (make(p), *group)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_have_intervals_and_pairs_have_narrower_ones() {
        let how = Bootstrap { resamples: 300, seed: 1 };
        let groups: Vec<Option<u64>> = (0..200).map(|i| Some(i / 4)).collect();
        let of = |right: fn(usize) -> bool| {
            let counts: Vec<bool> = (0..200).map(right).collect();
            Copies::new("seen".into(), &counts, &groups, &how).unwrap()
        };
        let (half, more) = (of(|i| i % 8 < 4), of(|i| i % 8 < 6));
        assert_eq!((half.value.value, more.value.value, half.pictures()), (0.5, 0.75, 200));
        let gain = more.less(&half, &how).unwrap();
        assert!(gain.value == 0.25 && gain.lo > 0.15 && half.value.lo < 0.45, "{gain:?} {half:?}");
        let other = Copies { name: "unseen".into(), ..half.clone() };
        assert_eq!(other.less(&half, &how), None);
    }
}
