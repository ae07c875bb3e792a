//! The data set of painted portraits and their forgeries.
//!
//! Pictures 2j and 2j + 1 of a split are the genuine and the forged version of the same portrait (`paired`), so that content says nothing
//! about the label. People are divided among the splits: a test shows faces that training has not seen. The unseen tests share the
//! genuine half of the seen test, and their fakes are made of the same portraits.

use super::face::Identity;
use super::method::Method;
use super::portrait::Portrait;
use super::{EDITS, SWAPS};
use crate::core::rng::{Rng, stream};
use crate::data::config::DataConfig;
use crate::data::fingerprint::Fingerprint;
use crate::data::made::divide;
use crate::data::picture::Picture;
use crate::data::pictures::Pictures;
use crate::data::provenance::{FingerprintRecord, MethodRecord, Provenance};
use crate::data::sample::{MaskOrigin, Sample, Split};
use crate::data::task::{Task, chosen};
use crate::error::{Error, Result};

/// People that are drawn where `data.photographs` is 0.
const PEOPLE: usize = 1200;

/// Portraits of people, with one seen method and any number of unseen ones.
pub struct Faces {
    config: DataConfig,
    task: Task,
    /// S, pixels a side.
    size: usize,
    seed: u64,
    /// People of train, val and test.
    ids: [Vec<u32>; 3],
    seen: &'static dyn Method,
    unseen: Vec<&'static dyn Method>,
}

impl Faces {
    /// Portraits of `size` × `size` pixels for the task whose methods `config` names.
    pub fn open(config: &DataConfig, task: Task, size: usize, seed: u64) -> Result<Faces> {
        let fail = |key: &str, why: String| Err(Error::config(format!("data.{key}"), why));
        if config.photos.is_some() {
            let why = format!(
                "photographs do not say where faces are, and the task {} needs that; give a ready data set with --data, or \
                 neither for painted faces",
                task.name()
            );
            return fail("photos", why);
        }
        if config.context != 1.0 {
            let why = format!("{}: painted faces are judged whole; set data.context = 1", config.context);
            return fail("context", why);
        }
        let all: &[&'static dyn Method] = if task == Task::Swap { &SWAPS } else { &EDITS };
        let (seen, unseen) = chosen(&config.seen, &config.unseen, all, |m| m.name())?;
        let people = if config.photographs == 0 { PEOPLE } else { config.photographs };
        let ids = divide(config, people, seed, "photographs")?;
        Ok(Faces { config: config.clone(), task, size, seed, ids, seen, unseen })
    }

    fn ids(&self, split: Split) -> &[u32] {
        match split {
            Split::Train => &self.ids[0],
            Split::Val => &self.ids[1],
            Split::Test | Split::Unseen(_) | Split::SeenClean => &self.ids[2],
        }
    }

    /// What is drawn for a pair: the tests draw the same, whatever the method.
    fn draws(&self, what: &str, split: Split, pair: u64) -> Rng {
        let part = match split {
            Split::Train => "train",
            Split::Val => "val",
            Split::Test | Split::Unseen(_) | Split::SeenClean => "test",
        };
        Rng::new(self.seed, stream(what) ^ stream(part).rotate_left(1), pair)
    }

    /// The person of a picture: each in turn, going on from epoch to epoch. Unpaired fakes show others than the genuine pictures.
    fn person(&self, split: Split, i: u32, epoch: u32) -> u32 {
        let ids = self.ids(split);
        let pairs = self.len(split) / 2;
        let apart = if self.config.paired { 0 } else { i as usize % 2 * pairs.div_ceil(2) };
        ids[(i as usize / 2 + apart + epoch as usize * pairs) % ids.len()]
    }

    /// The genuine portrait of picture `i`, and of a fake what it was made of.
    fn portrait(&self, split: Split, i: u32, epoch: u32) -> Portrait {
        let pair = (epoch as u64) << 32 | (i / 2) as u64;
        let shot = if i % 2 == 1 && !self.config.paired { "shot of a fake" } else { "shot" };
        let who = Identity::draw(self.seed, self.person(split, i, epoch) as u64);
        Portrait::take(&who, &mut self.draws(shot, split, pair), self.size)
    }
}

impl Pictures for Faces {
    fn seen(&self) -> &str {
        self.seen.name()
    }

    fn unseen(&self) -> Vec<&str> {
        self.unseen.iter().map(|m| m.name()).collect()
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
        (!self.fresh(split)).then(|| self.person(split, i, 0))
    }

    fn sample(&self, split: Split, i: u32, epoch: u32) -> Result<Sample> {
        let c = &self.config;
        let fake = i % 2 == 1;
        let pair = (epoch as u64) << 32 | (i / 2) as u64;
        let id = self.person(split, i, epoch);
        let target = self.portrait(split, i, epoch);
        if !fake {
            let picture = target.picture().clone();
            let method = "real".into();
            return Ok(Sample { picture, mask: None, fake, method, group: Some(id), fingerprinted: false, path: None });
        }

        let method = match split {
            Split::Unseen(k) => self.unseen[k],
            _ => self.seen,
        };
        let mut rng = self.draws("donor", split, pair);
        let ids = self.ids(split);
        let other = ids[(ids.iter().position(|&k| k == id).unwrap_or(0) + 1 + rng.below(ids.len().max(2) - 1)) % ids.len()];
        let donor = Portrait::take(&Identity::draw(self.seed, other as u64), &mut rng, self.size);
        let (mut picture, mask) = method.forge(&target, &donor, &mut self.draws("forge", split, pair));
        let mut rng = self.draws("fingerprint", split, pair);
        let carries = c.fingerprint != Fingerprint::None
            && matches!(split, Split::Train | Split::Val | Split::Test)
            && rng.unit() < c.fingerprint_rate;
        if carries {
            picture = c.fingerprint.apply(picture, c.amplitude(), &mut rng)?;
        }
        let method = method.name().into();
        Ok(Sample { picture, mask: Some(mask), fake, method, group: Some(id), fingerprinted: carries, path: None })
    }

    fn untouched(&self, split: Split, i: u32, epoch: u32) -> Option<Result<Picture>> {
        (i % 2 == 1).then(|| Ok(self.portrait(split, i, epoch).picture().clone()))
    }

    fn has_original(&self, _: Split, i: u32) -> bool {
        i % 2 == 1
    }

    fn mask_origin(&self) -> MaskOrigin {
        MaskOrigin::Forger
    }

    fn describe(&self, record: &mut Provenance) {
        let c = &self.config;
        let method = |m: &dyn Method, role| MethodRecord { name: m.name().into(), role, source: m.source().into() };
        record.source = "built-in painter of faces: no real people and no real photographs".into();
        record.synthetic_pictures = true;
        record.synthetic_forgeries = true;
        record.photographs = Some([self.ids[0].len(), self.ids[1].len(), self.ids[2].len()]);
        record.split_by = Some(c.split);
        record.fresh = c.fresh;
        record.paired = c.paired;
        record.methods.push(method(self.seen, "seen"));
        record.methods.extend(self.unseen.iter().map(|m| method(*m, "unseen")));
        record.hole = Some(match self.task {
            Task::Swap => "the face from brows to chin".into(),
            _ => "where the attribute shows: hair, beard, mouth or glasses".into(),
        });
        if c.fingerprint != Fingerprint::None {
            record.fingerprint =
                Some(FingerprintRecord { kind: c.fingerprint, amplitude: c.amplitude(), rate: c.fingerprint_rate });
            record.notices.push(c.fingerprint.notice());
        }
        record.notices.push(format!(
            "painted faces, and forgeries of them that are modelled after real programs (task {}): figures on real faces have to be \
             measured on real faces",
            self.task.name()
        ));
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::dataset::Dataset;

    fn config(seen: &str) -> DataConfig {
        DataConfig { seen: seen.into(), train_count: 40, val_count: 12, test_count: 20, photographs: 30, ..DataConfig::default() }
    }

    #[test]
    fn pairs_share_a_portrait_and_splits_share_no_person() {
        for seen in ["warp", "decoder", "bottleneck", "flow"] {
            let data = Dataset::open(&config(seen), 32, 1).unwrap();
            assert_eq!((data.seen(), data.unseen().len()), (seen, 1));
            let people = |split| -> std::collections::HashSet<u32> {
                (0..data.len(split) as u32).map(|i| data.sample(split, i, 0).unwrap().group.unwrap()).collect()
            };
            let (train, val, test) = (people(Split::Train), people(Split::Val), people(Split::Test));
            assert!(train.is_disjoint(&val) && train.is_disjoint(&test) && val.is_disjoint(&test));
            for split in data.splits() {
                for i in (0..12).step_by(2) {
                    let (real, fake) = (data.sample(split, i, 0).unwrap(), data.sample(split, i + 1, 0).unwrap());
                    let mask = fake.mask.unwrap();
                    assert_eq!((real.fake, fake.fake, real.group), (false, true, fake.group));
                    let changed = |p: usize| real.picture.rgb[p * 3..][..3] != fake.picture.rgb[p * 3..][..3];
                    assert!((0..32 * 32).all(|p| mask.on[p] != 0 || !changed(p)), "{seen} {split:?} {i}");
                    assert!((0..32 * 32).any(changed), "{seen} {split:?} {i}: {} changed nothing", fake.method);
                }
            }
            let record = data.describe();
            assert!(record.synthetic_pictures && record.notices.iter().any(|n| n.contains("painted faces")));
        }
    }

    #[test]
    fn only_training_is_fresh_and_everything_repeats() {
        let (a, b) = (Dataset::open(&config("warp"), 32, 1).unwrap(), Dataset::open(&config("warp"), 32, 1).unwrap());
        let at = |d: &Dataset, split, epoch| d.sample(split, 3, epoch).unwrap().picture;
        assert_eq!(at(&a, Split::Train, 1), at(&b, Split::Train, 1));
        assert_ne!(at(&a, Split::Train, 0), at(&a, Split::Train, 1));
        assert_eq!(at(&a, Split::Test, 0), at(&a, Split::Test, 1));
        let apart = Dataset::open(&DataConfig { paired: false, ..config("warp") }, 32, 1).unwrap();
        let (real, fake) = (apart.sample(Split::Test, 0, 0).unwrap(), apart.sample(Split::Test, 1, 0).unwrap());
        assert_ne!(real.group, fake.group);
    }

    #[test]
    fn what_painted_faces_cannot_do_is_refused_by_key() {
        let photos = DataConfig { photos: Some("/tmp".into()), ..config("warp") };
        let context = DataConfig { context: 3.0, photograph_scale: 5.0, ..config("flow") };
        for (c, key) in [(photos, "data.photos"), (context, "data.context")] {
            let e = Dataset::open(&c, 32, 1).err().unwrap().to_string();
            assert!(e.contains(key), "{e}");
        }
    }
}
