//! Pictures from photographs (of a folder, or painted by the built-in source), with the forgeries made here.
//!
//! Pictures 2j and 2j + 1 of a split are the genuine and the forged version of the *same* crop (`paired`), so content says nothing
//! about the label. The unseen tests share the genuine half of the seen test (models.md A35), and their fakes are made from the same
//! crops with the same holes as the seen forger's: methods are compared on pairs.

use std::path::Path;

use super::config::{DataConfig, SplitBy};
use super::fingerprint::Fingerprint;
use super::forge::Forger;
use super::hole::Hole;
use super::pictures::Pictures;
use super::provenance::{FingerprintRecord, MethodRecord, Provenance};
use super::sample::{Sample, Split};
use super::source::{Source, Tell, random_crop};
use crate::core::rng::{Rng, stream};
use crate::error::{Error, Result};

/// Photographs of a [`Source`], divided into splits, with one seen forger and any number of unseen ones.
pub struct Made {
    config: DataConfig,
    /// S, pixels a side.
    size: usize,
    seed: u64,
    source: Source,
    /// Photographs of train, val and test.
    ids: [Vec<u32>; 3],
    seen: &'static dyn Forger,
    unseen: Vec<&'static dyn Forger>,
}

impl Made {
    /// Opens `config.photos`, or the built-in source without it, for `size` × `size` pictures. Photographs take at most
    /// `cache_bytes` of memory. `tell` hears of each file that is passed over.
    pub fn open(config: &DataConfig, size: usize, seed: u64, cache_bytes: usize, tell: Tell) -> Result<Made> {
        let (seen, unseen) = config.forgers()?;
        let (source, key) = match &config.photos {
            Some(dir) => {
                let keep = ((size as f32 * config.crop_scale[1]) as usize).max(size);
                (Source::photos(dir, (size, keep), cache_bytes, config.allow_duplicates, tell)?, "photos")
            }
            None => {
                let side = ((size as f32 * config.photograph_scale).round() as usize).max(1);
                let count = match config.photographs {
                    0 => (cache_bytes / (side * side * 3)).clamp(60, 1200),
                    n => n,
                };
                (Source::procedural(seed, count, side, cache_bytes), "photographs")
            }
        };
        let ids = divide(config, source.len(), seed, key)?;
        Ok(Made { config: config.clone(), size, seed, source, ids, seen, unseen })
    }

    fn ids(&self, split: Split) -> &[u32] {
        match split {
            Split::Train => &self.ids[0],
            Split::Val => &self.ids[1],
            Split::Test | Split::Unseen(_) | Split::SeenClean => &self.ids[2],
        }
    }

    /// Files of photographs, by their names in the folder.
    fn named(&self, ids: impl Iterator<Item = u32>) -> Vec<(String, &Path)> {
        let Some(root) = &self.config.photos else { return Vec::new() };
        let name = |path: &Path| crate::text::shown(path.strip_prefix(root).unwrap_or(path));
        ids.filter_map(|id| self.source.path(id)).map(|path| (name(path), path)).collect()
    }

    /// Position in the split's list of photographs, to be taken modulo its length: each photograph is used equally often, and a fresh
    /// epoch goes on where the epoch before ended.
    fn place(&self, split: Split, i: u32, epoch: u32) -> usize {
        let per_epoch = self.len(split) / 2;
        let (pair, other) = (i as usize / 2, if self.config.paired { 0 } else { i as usize % 2 * per_epoch.div_ceil(2) });
        pair + other + epoch as usize * per_epoch
    }
}

impl Pictures for Made {
    fn seen(&self) -> &str {
        self.seen.name()
    }

    fn unseen(&self) -> Vec<&str> {
        self.unseen.iter().map(|f| f.name()).collect()
    }

    fn len(&self, split: Split) -> usize {
        match split {
            Split::Train => self.config.train_count,
            Split::Val => self.config.val_count,
            Split::Unseen(k) if k >= self.unseen.len() => 0,
            Split::SeenClean if self.config.fingerprint == Fingerprint::None => 0,
            Split::Test | Split::Unseen(_) | Split::SeenClean => self.config.test_count,
        }
    }

    fn is_fake(&self, _: Split, i: u32) -> bool {
        i % 2 == 1
    }

    fn has_mask(&self, _: Split, i: u32) -> bool {
        i % 2 == 1
    }

    fn group(&self, split: Split, i: u32) -> Option<u32> {
        let ids = self.ids(split);
        (!self.fresh(split)).then(|| ids[self.place(split, i, 0) % ids.len()])
    }

    fn sample(&self, split: Split, i: u32, epoch: u32) -> Result<Sample> {
        let c = &self.config;
        let fake = i % 2 == 1;
        // All tests draw from the streams named "test": the same crops, holes, donors and random numbers of the forger.
        let part = match split {
            Split::Train => "train",
            Split::Val => "val",
            Split::Test | Split::Unseen(_) | Split::SeenClean => "test",
        };
        let pair = (epoch as u64) << 32 | (i / 2) as u64;
        let draws = |what: &str, index: u64| Rng::new(self.seed, stream(what) ^ stream(part).rotate_left(1), index);
        let scale = (c.crop_scale[0], c.crop_scale[1]);

        let ids = self.ids(split);
        let (id, photograph) = self.source.usable(ids, self.place(split, i, epoch) % ids.len())?;
        let which = if fake && !c.paired { "crop of a fake" } else { "crop" };
        let crop = random_crop(&photograph, self.size, scale, c.flip, &mut draws(which, pair));
        let path = self.source.path(id).map(Path::to_path_buf);
        if !fake {
            let method = "real".into();
            return Ok(Sample { picture: crop, mask: None, fake, method, group: Some(id), fingerprinted: false, path });
        }

        let forger = match split {
            Split::Unseen(k) => self.unseen[k],
            _ => self.seen,
        };
        let hole = c.hole.draw(self.size, self.size, (c.hole_share[0], c.hole_share[1]), &mut draws("hole", pair));
        let donor = if forger.needs_donor() {
            let mut rng = draws("donor", pair);
            let (_, other) = self.source.usable(ids, rng.below(ids.len()))?;
            Some(random_crop(&other, self.size, scale, c.flip, &mut rng))
        } else {
            None
        };
        let mut picture = forger.fill(&crop, &hole, donor.as_ref().unwrap_or(&crop), &mut draws("forge", pair))?;
        let mut rng = draws("fingerprint", pair);
        let carries = c.fingerprint != Fingerprint::None
            && matches!(split, Split::Train | Split::Val | Split::Test)
            && rng.unit() < c.fingerprint_rate;
        if carries {
            picture = c.fingerprint.apply(picture, c.amplitude(), &mut rng)?;
        }
        let method = forger.name().into();
        Ok(Sample { picture, mask: Some(hole), fake, method, group: Some(id), fingerprinted: carries, path })
    }

    fn files(&self) -> Vec<(String, &Path)> {
        self.named(0..self.source.len() as u32)
    }

    fn files_of(&self, split: Split) -> Vec<(String, &Path)> {
        self.named(self.ids(split).iter().copied())
    }

    fn describe(&self, record: &mut Provenance) {
        let c = &self.config;
        let method = |f: &dyn Forger, role| MethodRecord { name: f.name().into(), role, source: f.source().into() };
        record.source = match &c.photos {
            Some(dir) => format!("photographs in {}", crate::text::shown(dir)),
            None => "built-in painter (dead leaves with 1/f texture): no real photographs".into(),
        };
        record.synthetic_pictures = c.photos.is_none();
        record.synthetic_forgeries = true;
        record.photographs = Some([self.ids[0].len(), self.ids[1].len(), self.ids[2].len()]);
        record.split_by = Some(c.split);
        record.fresh = c.fresh;
        record.paired = c.paired;
        record.skipped_files = self.source.skipped();
        record.methods.push(method(self.seen, "seen"));
        record.methods.extend(self.unseen.iter().map(|f| method(*f, "unseen")));
        record.hole = Some(match c.hole {
            Hole::Central => "central half, always".into(),
            Hole::Rect => format!("random rectangle, {} to {} of the area", c.hole_share[0], c.hole_share[1]),
            Hole::Stroke => format!("random brush stroke, {} to {} of the area", c.hole_share[0], c.hole_share[1]),
        });
        if c.fingerprint != Fingerprint::None {
            record.fingerprint =
                Some(FingerprintRecord { kind: c.fingerprint, amplitude: c.amplitude(), rate: c.fingerprint_rate });
            record.notices.push(format!(
                "a {} trace is planted on the seen forger's fakes, and on no other picture",
                format!("{:?}", c.fingerprint).to_lowercase()
            ));
        }
        record.notices.extend(self.source.notices());
        let small = self.source.small();
        if small > 0 {
            record.notices.push(format!("{small} photographs are smaller than {0} x {0} pixels and are enlarged", self.size));
        }
        if c.split == SplitBy::Photo && self.ids[2].len() < 10 {
            record.notices.push(format!("only {} photographs are in the tests: the figures say little", self.ids[2].len()));
        }
        if c.split == SplitBy::Crop {
            record.notices.push("train, validation and test share photographs (split by crop)".into());
        }
    }

    fn fresh(&self, split: Split) -> bool {
        split == Split::Train && self.config.fresh
    }

    /// The tests share their genuine half, which is remembered once, as pictures of [`Split::Test`].
    fn home(&self, split: Split, i: u32) -> Split {
        if matches!(split, Split::Unseen(_) | Split::SeenClean) && i.is_multiple_of(2) { Split::Test } else { split }
    }

    fn twins(&self) -> bool {
        self.config.paired
    }
}

/// The numbers 0..`count` of the photographs, divided into train, val and test. `key` heads the error if there are too few.
fn divide(c: &DataConfig, count: usize, seed: u64, key: &str) -> Result<[Vec<u32>; 3]> {
    let mut ids: Vec<u32> = (0..count as u32).collect();
    Rng::new(seed, stream("split"), 0).shuffle(&mut ids);
    if c.split == SplitBy::Crop {
        return Ok([ids.clone(), ids.clone(), ids]);
    }
    if count < 3 {
        return Err(Error::config(
            format!("data.{key}"),
            format!(
                "{count} photographs cannot be divided into train, val and test; give at least 3, or set data.split = \"crop\""
            ),
        ));
    }
    let part = |share: f32| ((count as f32 * share).round() as usize).clamp(1, count / 3);
    let test = ids.split_off(count - part(c.test_share));
    let val = ids.split_off(ids.len() - part(c.val_share));
    Ok([ids, val, test])
}
