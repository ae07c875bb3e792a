//! Photographs at their own size, each once genuine and once for every forger and size of the forged region.
//!
//! Items are made one at a time when they are asked for, so that the memory is that of a photograph and its forgery, whatever
//! the number of items. The side of the region is a share of the *short side* of the photograph. All forgers fill the same
//! holes, and everything drawn belongs to (seed, split, photograph, side) alone: a part of the items is the same as in the whole
//! set.
//!
//! Of a ready data folder the items are its pictures and masks at the size of their files; nothing is forged.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::dataset::Dataset;
use super::fingerprint::Fingerprint;
use super::forge::{Forger, Window, fill_window, forger};
use super::hole::of_side;
use super::picture::{Mask, Picture};
use super::sample::Split;
use super::source::Source;
use crate::core::rng::{Rng, stream};
use crate::error::{Error, Result};

/// Photographs with a shorter side than this, pixels, are left out: a region of 5 % is less than a pixel.
const LEAST: usize = 16;

/// Which items there are.
#[derive(Clone, Debug, PartialEq)]
pub struct WholeConfig {
    /// Sides of the forged region over the short side of the photograph, each in (0, 0.75].
    pub sizes: Vec<f64>,
    /// Names of forgers (of a folder: of methods). Empty: the seen one and all unseen ones of the data set.
    pub forgers: Vec<String>,
    /// Most photographs, drawn by the seed. 0: all of the split.
    pub limit: usize,
    /// Side of the photographs that the built-in painter makes, pixels.
    pub side: usize,
}

impl Default for WholeConfig {
    fn default() -> WholeConfig {
        WholeConfig { sizes: vec![0.05, 0.1, 0.25, 0.5], forgers: Vec::new(), limit: 0, side: 768 }
    }
}

/// What is known of an item before it is made.
#[derive(Clone, Debug, PartialEq)]
pub struct WholeMeta {
    pub fake: bool,
    /// Forger, or the folder's name of the method; "real" for genuine pictures.
    pub method: Arc<str>,
    /// Whether the method is the data set's seen one. False for genuine pictures.
    pub seen: bool,
    /// Side of the forged region over the short side of the picture; none for genuine pictures and where a folder does not tell.
    pub side: Option<f64>,
    /// Number of the photograph: items with the same number show the same one.
    pub group: Option<u32>,
    /// The file behind the picture; none for the built-in painter.
    pub path: Option<PathBuf>,
}

/// An item, made.
#[derive(Clone, Debug)]
pub struct WholeItem {
    pub picture: Picture,
    /// As large as the picture. None for genuine pictures and for fakes whose mask is not known.
    pub mask: Option<Mask>,
    /// Bounding box of the mask.
    pub bounds: Option<Window>,
    pub meta: WholeMeta,
}

/// Where an item comes from.
#[derive(Clone, Copy)]
enum Kind {
    Genuine { id: u32 },
    Forged { id: u32, forger: &'static dyn Forger, side: f64 },
    File { split: Split, index: u32 },
}

/// The items of a split.
pub struct Whole<'a> {
    data: &'a Dataset,
    split: Split,
    config: WholeConfig,
    items: Vec<(Kind, WholeMeta)>,
    photographs: usize,
    notices: Vec<String>,
}

impl<'a> Whole<'a> {
    /// The items of a split of `data`: train, val or test. Reads headers only. An error for impossible sizes and names, and for
    /// a split without a usable photograph.
    pub fn of(data: &'a Dataset, split: Split, config: &WholeConfig) -> Result<Whole<'a>> {
        config.check()?;
        let mut whole = Whole { data, split, config: config.clone(), items: Vec::new(), photographs: 0, notices: Vec::new() };
        match data.photographs(split) {
            Some((source, ids)) => whole.plan(source, ids)?,
            None => whole.list()?,
        }
        if whole.items.is_empty() {
            let why = match whole.notices.first() {
                Some(first) => format!("no item is left of {}: {first}", data.name(split)),
                None => format!("{} has no pictures; name another split, or other methods", data.name(split)),
            };
            return Err(Error::config("data", why));
        }
        Ok(whole)
    }

    /// Photographs, each with its forgeries.
    fn plan(&mut self, source: &Source, ids: &[u32]) -> Result<()> {
        let seen = self.data.seen().to_string();
        let names: Vec<String> = match self.config.forgers.is_empty() {
            true => self.data.methods().iter().map(|m| m.to_string()).collect(),
            false => self.config.forgers.clone(),
        };
        let forgers = names.iter().map(|n| forger("forgers", n)).collect::<Result<Vec<_>>>()?;
        let most = if self.config.limit == 0 { ids.len() } else { self.config.limit };
        let (mut small, mut broken) = (Vec::new(), Vec::new());
        let mut left_out = vec![vec![0usize; self.config.sizes.len()]; forgers.len()];
        for &id in ids {
            if self.photographs == most {
                break;
            }
            let shown = || source.path(id).map_or_else(|| format!("photograph {id}"), crate::text::shown);
            let short = match source.original_size(id, self.config.side) {
                Ok((w, h)) if w.min(h) >= LEAST => w.min(h),
                Ok(_) => {
                    small.push(shown());
                    continue;
                }
                Err(e) => {
                    broken.push(e.to_string());
                    continue;
                }
            };
            self.photographs += 1;
            let meta = |fake: bool, method: &str, side| WholeMeta {
                fake,
                method: method.into(),
                seen: fake && method == seen,
                side,
                group: Some(id),
                path: source.path(id).map(|p| p.to_path_buf()),
            };
            self.items.push((Kind::Genuine { id }, meta(false, "real", None)));
            for (f, &forger) in forgers.iter().enumerate() {
                for (s, &side) in self.config.sizes.iter().enumerate() {
                    if pixels(side, short) > forger.largest_hole() {
                        left_out[f][s] += 1;
                    } else {
                        self.items.push((Kind::Forged { id, forger, side }, meta(true, forger.name(), Some(side))));
                    }
                }
            }
        }
        for (f, of_sizes) in forgers.iter().zip(left_out) {
            let sizes: Vec<String> = of_sizes
                .iter()
                .zip(&self.config.sizes)
                .filter(|(n, _)| **n > 0)
                .map(|(n, s)| format!("{} % ({n} of {})", shares(*s), self.photographs))
                .collect();
            if !sizes.is_empty() {
                self.notices.push(format!(
                    "{} fills no region above {} pixels a side, which would take minutes and gigabytes; left out: {}",
                    f.name(),
                    f.largest_hole(),
                    sizes.join(", ")
                ));
            }
        }
        if let Some(first) = small.first() {
            let n = small.len();
            self.notices.push(format!("{n} photographs have a side below {LEAST} pixels and are left out ({first})"));
        }
        if let Some(first) = broken.first() {
            self.notices.push(format!("{} photographs cannot be read and are left out ({first})", broken.len()));
        }
        if self.data.config().fingerprint != Fingerprint::None {
            self.notices.push("no trace is planted on pictures at their own size".into());
        }
        Ok(())
    }

    /// The pictures of a folder; with those of the tests come the unseen methods' fakes.
    fn list(&mut self) -> Result<()> {
        let data = self.data;
        let mut splits = vec![self.split];
        if self.split == Split::Test {
            splits.extend((0..data.unseen().len()).map(Split::Unseen));
        }
        let own: HashSet<&Path> = data.files_of(self.split).into_iter().map(|f| f.1).collect();
        let mut kept: HashSet<u32> = HashSet::new();
        for split in splits {
            let mut counts = [0, 0];
            for index in 0..data.len(split) as u32 {
                let fake = data.is_fake(split, index);
                let method: Arc<str> = match (fake, split) {
                    (false, _) => "real".into(),
                    (true, Split::Unseen(k)) => data.unseen()[k].into(),
                    (true, _) => data.seen().into(),
                };
                let group = data.group(split, index);
                let side = data.entry(split, index).and_then(|e| e.side);
                // The genuine pictures of an unseen method are those of the tests, or its own.
                let again = !fake && split != self.split && data.path(split, index).is_some_and(|p| own.contains(p));
                let named = !fake || self.config.forgers.is_empty() || self.config.forgers.iter().any(|f| **f == *method);
                // A set of other sizes is judged as it is, unless sizes were asked for.
                let asked = self.config.sizes != WholeConfig::default().sizes;
                let sized = !asked || side.is_none_or(|s| self.config.sizes.iter().any(|w| (w - s).abs() < 1e-3));
                if again || !named || !sized {
                    continue;
                }
                if self.config.limit > 0 {
                    // Whole photographs where they are known, else so many pictures of a class.
                    let full = match group {
                        Some(g) => !kept.contains(&g) && kept.len() == self.config.limit,
                        None => counts[fake as usize] == self.config.limit,
                    };
                    if full {
                        continue;
                    }
                }
                kept.extend(group);
                counts[fake as usize] += 1;
                let path = data.path(split, index).map(|p| p.to_path_buf());
                let seen = fake && !matches!(split, Split::Unseen(_));
                self.items.push((Kind::File { split, index }, WholeMeta { fake, method, seen, side, group, path }));
            }
        }
        self.photographs = if kept.is_empty() { self.items.iter().filter(|i| !i.1.fake).count() } else { kept.len() };
        Ok(())
    }

    /// Number of items.
    pub fn len(&self) -> usize {
        self.items.len()
    }

    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Photographs behind the items.
    pub fn photographs(&self) -> usize {
        self.photographs
    }

    /// What a reader must know: what was left out.
    pub fn notices(&self) -> &[String] {
        &self.notices
    }

    /// The split that the photographs come from.
    pub fn split(&self) -> Split {
        self.split
    }

    pub fn data(&self) -> &'a Dataset {
        self.data
    }

    pub fn config(&self) -> &WholeConfig {
        &self.config
    }

    /// What is known of item `i < len()` before it is made.
    pub fn meta(&self, i: usize) -> &WholeMeta {
        &self.items[i].1
    }

    /// Makes item `i < len()`. Any number of threads may ask at once; each holds a photograph, its forgery and its mask. An
    /// error for a file whose pixels cannot be read.
    pub fn make(&self, i: usize) -> Result<WholeItem> {
        let (kind, meta) = &self.items[i];
        let made = |picture, mask: Option<Mask>| {
            let bounds = mask.as_ref().and_then(Window::of);
            WholeItem { picture, mask, bounds, meta: meta.clone() }
        };
        match *kind {
            Kind::File { split, index } => {
                let missing = || Error::config("data", format!("no picture {index} in {split:?}"));
                let sample = self.data.original(split, index).ok_or_else(missing)??;
                Ok(made(sample.picture, sample.mask))
            }
            Kind::Genuine { id } => Ok(made(self.source()?.0.original(id, self.config.side)?, None)),
            Kind::Forged { id, forger, side } => {
                let (source, ids) = self.source()?;
                let picture = source.original(id, self.config.side)?;
                let (w, h) = (picture.w, picture.h);
                let draws = |what: &str| {
                    let part = stream(&self.data.name(self.split)).rotate_left(1);
                    Rng::new(self.data.seed(), stream(what) ^ part, (id as u64) << 32 | (side * 1e6).round() as u64)
                };
                let hole = of_side(self.data.config().hole, pixels(side, w.min(h)), w, h, &mut draws("whole hole"));
                let donor =
                    |w: usize, h: usize| window_of_another(source, ids, id, self.config.side, (w, h), &mut draws("whole donor"));
                let forged = fill_window(forger, picture, &hole, donor, &mut draws("whole forge"))?;
                Ok(made(forged, Some(hole)))
            }
        }
    }

    fn source(&self) -> Result<(&'a Source, &'a [u32])> {
        self.data.photographs(self.split).ok_or_else(|| Error::config("data", "a ready data set has no photographs to forge"))
    }
}

impl WholeConfig {
    fn check(&self) -> Result<()> {
        if self.sizes.is_empty() {
            return Err(Error::config(
                "sizes",
                "no size is given; name one or more, such as 5,10,25,50 (percent of the short side)",
            ));
        }
        for (i, s) in self.sizes.iter().enumerate() {
            if !(*s > 0.0 && *s <= 0.75) {
                return Err(Error::config("sizes", format!("{} % of the short side; use more than 0 and at most 75", s * 100.0)));
            }
            if self.sizes[..i].contains(s) {
                return Err(Error::config("sizes", format!("{} % is given twice; take one off", s * 100.0)));
            }
        }
        if !(LEAST..=8192).contains(&self.side) {
            return Err(Error::config("size", format!("{} pixels a side are not painted; use {LEAST} to 8192", self.side)));
        }
        Ok(())
    }
}

/// Side of the region in pixels, at least one.
fn pixels(side: f64, short: usize) -> usize {
    ((side * short as f64).round() as usize).max(1)
}

/// Percent, as short as it can be written: `5`, `12.5`.
pub fn shares(side: f64) -> String {
    format!("{}", (side * 1e4).round() / 100.0)
}

/// A window of another photograph at its own scale; enlarged where that one is smaller than the window. Of the same photograph
/// where no other can be read.
fn window_of_another(
    source: &Source,
    ids: &[u32],
    id: u32,
    side: usize,
    (w, h): (usize, usize),
    rng: &mut Rng,
) -> Result<Picture> {
    let others: Vec<u32> = ids.iter().copied().filter(|&other| other != id).collect();
    let start = if others.is_empty() { 0 } else { rng.below(others.len()) };
    let readable = (0..others.len()).find_map(|k| source.original(others[(start + k) % others.len()], side).ok());
    let other = match readable {
        Some(other) => other,
        None => source.original(id, side)?,
    };
    let scale = (w as f64 / other.w as f64).max(h as f64 / other.h as f64);
    let other = if scale > 1.0 {
        let grown = |n: usize, least: usize| ((n as f64 * scale).ceil() as usize).max(least);
        other.resize_to(grown(other.w, w), grown(other.h, h))
    } else {
        other
    };
    Ok(other.crop(rng.below(other.w - w + 1), rng.below(other.h - h + 1), w, h))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::hole::Hole;
    use crate::data::procedural::photograph;
    use crate::data::{DataConfig, Dataset};

    fn painted(hole: Hole) -> Dataset {
        let c = DataConfig { train_count: 4, val_count: 2, test_count: 2, photographs: 12, hole, ..DataConfig::default() };
        Dataset::open(&c, 16, 5).unwrap()
    }

    fn small(sizes: &[f64]) -> WholeConfig {
        WholeConfig { sizes: sizes.to_vec(), side: 120, ..WholeConfig::default() }
    }

    #[test]
    fn a_photograph_is_there_once_genuine_and_once_for_each_forger_and_side() {
        for hole in [Hole::Rect, Hole::Central, Hole::Stroke] {
            let data = painted(hole);
            let whole = Whole::of(&data, Split::Test, &small(&[0.05, 0.25])).unwrap();
            assert_eq!((whole.photographs(), whole.len()), (2, 2 * (1 + 5 * 2)));
            let mut genuine = whole.make(0).unwrap();
            for i in 0..whole.len() {
                let item = whole.make(i).unwrap();
                assert_eq!((&item.meta, item.picture.w, item.picture.h), (whole.meta(i), 120, 120));
                let Some(mask) = &item.mask else {
                    genuine = item;
                    continue;
                };
                assert_eq!((mask.w, mask.h, item.meta.group), (120, 120, genuine.meta.group));
                let changed = |p: usize| item.picture.rgb[p * 3..][..3] != genuine.picture.rgb[p * 3..][..3];
                assert!((0..120 * 120).all(|p| mask.on[p] != 0 || !changed(p)), "{:?}", item.meta);
                assert!((0..120 * 120).any(changed), "{:?}", item.meta);
                let (b, side) = (item.bounds.unwrap(), 120.0 * item.meta.side.unwrap());
                let ratio = ((b.w * b.h) as f64).sqrt() / side;
                assert!((0.6..1.1).contains(&ratio) && (hole == Hole::Stroke || ratio > 0.9), "{hole:?} {b:?} {side}");
                assert_eq!(item.meta.seen, &*item.meta.method == "telea");
            }
        }
    }

    #[test]
    fn a_part_is_the_same_as_in_the_whole_and_splits_share_nothing() {
        let data = painted(Hole::Rect);
        let all = Whole::of(&data, Split::Test, &small(&[0.05, 0.1, 0.25])).unwrap();
        let part = WholeConfig { forgers: vec!["poisson".into(), "patchmatch".into()], limit: 1, ..small(&[0.25]) };
        let part = Whole::of(&data, Split::Test, &part).unwrap();
        assert_eq!((part.photographs(), part.len()), (1, 3));
        for i in 0..part.len() {
            let k = (0..all.len()).find(|&k| all.meta(k) == part.meta(i)).unwrap();
            let (a, b) = (all.make(k).unwrap(), part.make(i).unwrap());
            assert!(a.picture == b.picture && a.mask == b.mask, "{:?}", b.meta);
        }
        // All forgers fill the same hole.
        assert_eq!(part.make(1).unwrap().mask, part.make(2).unwrap().mask);
        let groups = |w: &Whole| (0..w.len()).filter_map(|i| w.meta(i).group).collect::<HashSet<u32>>();
        let val = Whole::of(&data, Split::Val, &small(&[0.25])).unwrap();
        assert!(groups(&all).is_disjoint(&groups(&val)));
    }

    #[test]
    fn what_is_left_out_is_said() {
        let dir = tempfile::tempdir().unwrap();
        photograph(1, 0, 700).save(dir.path().join("large.png")).unwrap();
        photograph(1, 1, 90).save(dir.path().join("middle.png")).unwrap();
        photograph(1, 2, 90).crop(0, 0, 90, 9).save(dir.path().join("strip.png")).unwrap();
        let split = crate::data::config::SplitBy::Crop;
        let unseen = vec!["biharmonic".into()];
        let c = DataConfig { photos: Some(dir.path().into()), split, unseen, ..DataConfig::default() };
        let data = Dataset::open_telling(&c, 16, 5, |_| ()).unwrap();
        let whole = Whole::of(&data, Split::Test, &WholeConfig { sizes: vec![0.1, 0.5], ..WholeConfig::default() }).unwrap();
        assert_eq!((whole.photographs(), whole.len()), (2, 2 * 5 - 1));
        let n = whole.notices();
        assert!(n[0].starts_with("biharmonic fills no region above 300 pixels") && n[0].contains("50 % (1 of 2)"), "{n:?}");
        assert!(n[1].contains("1 photographs have a side below 16 pixels") && n[1].contains("strip.png"), "{n:?}");
    }

    #[test]
    fn impossible_wishes_are_named() {
        let data = painted(Hole::Rect);
        let why = |c: WholeConfig| Whole::of(&data, Split::Test, &c).err().unwrap().to_string();
        assert!(why(small(&[])).contains("sizes: no size"));
        assert!(why(small(&[0.9])).contains("90 % of the short side"));
        assert!(why(small(&[0.1, 0.1])).contains("10 % is given twice"));
        assert!(why(small(&[f64::NAN])).contains("sizes"));
        assert!(why(WholeConfig { side: 3, ..small(&[0.1]) }).contains("3 pixels a side"));
        assert!(why(WholeConfig { forgers: vec!["tela".into()], ..small(&[0.1]) }).contains("did you mean \"telea\""));
    }
}
