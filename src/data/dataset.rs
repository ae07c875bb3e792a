//! The one face that training and evaluation see: random access to labelled samples, and batches filled in parallel.
//!
//! Where pictures and forgeries are made here (photographs or the built-in source), pictures 2j and 2j + 1 of a split are the
//! genuine and the forged version of the *same* crop (`paired`), so content says nothing about the label. The unseen tests share
//! the genuine half of the seen test (models.md A35), and their fakes are made from the same crops with the same holes as the seen
//! forger's: methods are compared on pairs.
//!
//! Every sample belongs to (seed, split, epoch, index) alone: neither the order of calls, nor the number of threads, nor what is
//! cached changes a byte.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::cache::Cache;
use super::fingerprint::Fingerprint;
use super::folder::Folder;
use super::forge::{FORGERS, Forger, forger};
use super::hole::Hole;
use super::picture::{Mask, Picture};
use super::source::{Source, random_crop};
use crate::core::rng::{Rng, stream};
use crate::error::{Error, Result};

/// How the photographs are divided.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SplitBy {
    /// Train, validation and test share no photograph. The honest default.
    #[default]
    Photo,
    /// All three draw crops from all photographs: for a few photographs, where a split by photograph says little. Reports name it.
    Crop,
}

/// The `[data]` table of a config file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DataConfig {
    /// Folder of photographs, searched recursively; forgeries are made here. With neither `photos` nor `dir` the built-in
    /// painter is the source.
    pub photos: Option<PathBuf>,
    /// Ready-made data set: `DIR/{train,val,test}/{real,fake,mask}/` and `DIR/unseen/<method>/{fake,mask}/`.
    pub dir: Option<PathBuf>,
    /// Forger of the fakes that are trained on: telea, harmonic, biharmonic, patchmatch or poisson.
    pub seen: String,
    /// Forgers that are only tested on. Empty: all the others.
    pub unseen: Vec<String>,
    /// Shape of the forged region: central (the paper), rect or stroke.
    pub hole: Hole,
    /// Least and most area of a random hole, as a share of the picture, in (0, 0.9].
    pub hole_share: [f32; 2],
    /// Training pictures are made anew every epoch (crop, flip, hole, forgery). `false` freezes them. Validation and test are
    /// always frozen.
    pub fresh: bool,
    /// Divide by photograph or by crop.
    pub split: SplitBy,
    /// Share of the photographs that is kept for validation (split = "photo").
    pub val_share: f32,
    /// Share of the photographs that is kept for the tests (split = "photo").
    pub test_share: f32,
    /// Training pictures per epoch, half of them genuine.
    pub train_count: usize,
    /// Validation pictures, half genuine.
    pub val_count: usize,
    /// Test pictures, half genuine; each unseen test has as many.
    pub test_count: usize,
    /// Photographs that the built-in painter makes, all splits together. 0: as many as its half of `cache_mib` holds, 60 to 1200
    /// (1200 at 64 pixels, 151 at 256); more are painted again each time that they are needed.
    pub photographs: usize,
    /// Side of a built-in photograph in units of the picture size.
    pub photograph_scale: f32,
    /// Least and most side of a crop window in units of the picture size; windows are limited to the photograph.
    pub crop_scale: [f32; 2],
    /// Mirror half of the crops.
    pub flip: bool,
    /// A genuine picture and the fake after it show the same crop. `false`: different crops.
    pub paired: bool,
    /// Trace planted on the seen forger's fakes: none, checkerboard, jpeg, resample or noise.
    pub fingerprint: Fingerprint,
    /// Its strength: grey levels of 255 (checkerboard 3, noise 2), JPEG quality (85) or factor (1.3). Unset: the value in brackets.
    pub fingerprint_amplitude: Option<f32>,
    /// Share of the seen fakes that carry it, 0..=1.
    pub fingerprint_rate: f32,
    /// Memory for photographs and for frozen samples, MiB (half each).
    pub cache_mib: usize,
}

impl Default for DataConfig {
    fn default() -> DataConfig {
        DataConfig {
            photos: None,
            dir: None,
            seen: "telea".into(),
            unseen: Vec::new(),
            hole: Hole::Rect,
            hole_share: [0.06, 0.25],
            fresh: true,
            split: SplitBy::Photo,
            val_share: 0.1,
            test_share: 0.2,
            train_count: 6400,
            val_count: 512,
            test_count: 1000,
            photographs: 0,
            photograph_scale: 3.0,
            crop_scale: [1.0, 4.0],
            flip: true,
            paired: true,
            fingerprint: Fingerprint::None,
            fingerprint_amplitude: None,
            fingerprint_rate: 1.0,
            cache_mib: 512,
        }
    }
}

impl DataConfig {
    /// Refuses impossible values, naming the key.
    pub fn check(&self) -> Result<()> {
        let fail = |key: &str, why: String| Err(Error::config(format!("data.{key}"), why));
        if self.photos.is_some() && self.dir.is_some() {
            return fail("photos", "photos and dir exclude each other: give photographs to forge, or a ready data set".into());
        }
        for (key, n) in [("train_count", self.train_count), ("val_count", self.val_count), ("test_count", self.test_count)] {
            if n < 2 || !n.is_multiple_of(2) || n > 100_000_000 {
                return fail(
                    key,
                    format!("{n} pictures cannot be half genuine, half fake; use an even number from 2 to 100,000,000"),
                );
            }
        }
        let [lo, hi] = self.hole_share;
        if !(lo > 0.0 && lo <= hi && hi <= 0.9) {
            return fail("hole_share", format!("[{lo}, {hi}] is no range of area shares; use 0 < least <= most <= 0.9"));
        }
        let [lo, hi] = self.crop_scale;
        if !(lo >= 0.1 && lo <= hi && hi <= 1000.0) {
            return fail("crop_scale", format!("[{lo}, {hi}] is no range of window sizes; use 0.1 <= least <= most"));
        }
        if !(0.5..=16.0).contains(&self.photograph_scale) {
            return fail("photograph_scale", format!("{} is out of range; use 0.5 to 16", self.photograph_scale));
        }
        for (key, share) in [("val_share", self.val_share), ("test_share", self.test_share)] {
            if !(share > 0.0 && share < 1.0) {
                return fail(key, format!("{share} is no share; use a number between 0 and 1"));
            }
        }
        if self.val_share + self.test_share >= 1.0 {
            return fail("test_share", "val_share and test_share together leave nothing to train on; make them smaller".into());
        }
        if !(0.0..=1.0).contains(&self.fingerprint_rate) {
            return fail("fingerprint_rate", format!("{} is no share of fakes; use 0 to 1", self.fingerprint_rate));
        }
        if self.photographs > u32::MAX as usize {
            return fail("photographs", format!("{} are too many; use at most {}", self.photographs, u32::MAX));
        }
        self.fingerprint.check("data.fingerprint_amplitude", self.amplitude())?;
        if self.dir.is_some() && self.fingerprint != Fingerprint::None {
            return fail(
                "fingerprint",
                "a trace can only be planted on fakes that are made here; use data.photos, or neither, instead of data.dir"
                    .into(),
            );
        }
        self.forgers().map(|_| ())
    }

    /// Strength of the fingerprint, the default of its kind where none is set.
    pub fn amplitude(&self) -> f32 {
        self.fingerprint_amplitude.unwrap_or(self.fingerprint.default_amplitude())
    }

    /// The seen forger and the unseen ones.
    fn forgers(&self) -> Result<(&'static dyn Forger, Vec<&'static dyn Forger>)> {
        let seen = forger("data.seen", &self.seen)?;
        if self.unseen.is_empty() {
            return Ok((seen, FORGERS.into_iter().filter(|f| f.name() != seen.name()).collect()));
        }
        let mut unseen: Vec<&'static dyn Forger> = Vec::new();
        for name in &self.unseen {
            let f = forger("data.unseen", name)?;
            if f.name() == seen.name() {
                return Err(Error::config("data.unseen", format!("{name} is also data.seen; take it off one of them")));
            }
            if unseen.iter().all(|u| u.name() != f.name()) {
                unseen.push(f);
            }
        }
        Ok((seen, unseen))
    }
}

/// A part of the data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Split {
    Train,
    Val,
    /// The seen forger, as trained (with the fingerprint, if any).
    Test,
    /// Unseen method by its number in [`Dataset::unseen`].
    Unseen(usize),
    /// `Test` without the fingerprint: only where one is planted.
    SeenClean,
}

/// One labelled picture.
#[derive(Clone, Debug)]
pub struct Sample {
    /// S × S.
    pub picture: Picture,
    /// S × S, 1 = manipulated. None for genuine pictures and for fakes whose mask is not known.
    pub mask: Option<Mask>,
    pub fake: bool,
    /// Forger or folder name; "real" for genuine pictures.
    pub method: Arc<str>,
    /// Number of the photograph that it is from, where known.
    pub group: Option<u32>,
    /// Carries the planted trace.
    pub fingerprinted: bool,
    /// The file that it was read from: the picture of a folder, or the photograph that was cropped.
    pub path: Option<PathBuf>,
}

/// A batch in the layout of the engine (NHWC). Buffers are kept from one fill to the next.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// Pictures.
    pub n: usize,
    /// S.
    pub size: usize,
    /// n·S·S·3, sRGB values 0..=1.
    pub x: Vec<f32>,
    /// n: the paper's l, 1 = genuine, 0 = fake.
    pub label_true: Vec<f32>,
    /// n·S·S: 1 = manipulated; all 0 where `has_mask` is 0.
    pub mask: Vec<f32>,
    /// n: 1 = a fake whose mask is known.
    pub has_mask: Vec<f32>,
    /// n: photograph, or [`Batch::NO_GROUP`].
    pub group: Vec<u32>,
    /// n: index in the split.
    pub index: Vec<u32>,
}

impl Batch {
    /// In `group`: the photograph is not known.
    pub const NO_GROUP: u32 = u32::MAX;

    /// Become the pictures of `a`, then those of `b`.
    pub fn set_concatenation(&mut self, a: &Batch, b: &Batch) {
        fn join<T: Copy>(to: &mut Vec<T>, a: &[T], b: &[T]) {
            to.clear();
            to.extend_from_slice(a);
            to.extend_from_slice(b);
        }
        self.n = a.n + b.n;
        self.size = a.size;
        join(&mut self.x, &a.x, &b.x);
        join(&mut self.label_true, &a.label_true, &b.label_true);
        join(&mut self.mask, &a.mask, &b.mask);
        join(&mut self.has_mask, &a.has_mask, &b.has_mask);
        join(&mut self.group, &a.group, &b.group);
        join(&mut self.index, &a.index, &b.index);
    }
}

/// A data set, opened: cheap to open, made or read as it is used, shared by threads.
pub struct Dataset {
    config: DataConfig,
    size: usize,
    seed: u64,
    kind: Kind,
    /// (split, index) of frozen samples.
    frozen: Cache<(Split, u32), Sample>,
}

enum Kind {
    Made(Box<Made>),
    Folder(Box<Folder>),
}

/// Pictures from photographs, forged here.
struct Made {
    source: Source,
    /// Photographs of train, val and test.
    ids: [Vec<u32>; 3],
    seen: &'static dyn Forger,
    unseen: Vec<&'static dyn Forger>,
}

impl Dataset {
    /// Opens the data that `config` describes for `size` × `size` pictures. Reads names and headers only.
    pub fn open(config: &DataConfig, size: usize, seed: u64) -> Result<Dataset> {
        config.check()?;
        if !(4..=4096).contains(&size) {
            return Err(Error::config("size", format!("{size} pixels a side are not supported; use 4 to 4096")));
        }
        let half_cache = config.cache_mib.saturating_mul(1 << 20) / 2;
        let kind = if let Some(dir) = &config.dir {
            Kind::Folder(Box::new(Folder::open(dir)?))
        } else {
            let (seen, unseen) = config.forgers()?;
            let (source, key) = match &config.photos {
                Some(dir) => {
                    (Source::photos(dir, size, ((size as f32 * config.crop_scale[1]) as usize).max(size), half_cache)?, "photos")
                }
                None => {
                    let side = ((size as f32 * config.photograph_scale).round() as usize).max(1);
                    let count = match config.photographs {
                        0 => (half_cache / (side * side * 3)).clamp(60, 1200),
                        n => n,
                    };
                    (Source::procedural(seed, count, side, half_cache), "photographs")
                }
            };
            Kind::Made(Box::new(Made { ids: divide(config, source.len(), seed, key)?, source, seen, unseen }))
        };
        Ok(Dataset { config: config.clone(), size, seed, kind, frozen: Cache::new(half_cache) })
    }

    /// S, pixels a side.
    pub fn size(&self) -> usize {
        self.size
    }

    pub fn config(&self) -> &DataConfig {
        &self.config
    }

    /// Name of the method that is trained on; "fake" for a folder that does not tell.
    pub fn seen(&self) -> &str {
        match &self.kind {
            Kind::Made(m) => m.seen.name(),
            Kind::Folder(f) => f.seen(),
        }
    }

    /// Names of the methods that are only tested on, in the order of `Split::Unseen`.
    pub fn unseen(&self) -> Vec<&str> {
        match &self.kind {
            Kind::Made(m) => m.unseen.iter().map(|f| f.name()).collect(),
            Kind::Folder(f) => f.unseen(),
        }
    }

    /// The seen method, then the unseen ones.
    pub fn methods(&self) -> Vec<&str> {
        std::iter::once(self.seen()).chain(self.unseen()).collect()
    }

    /// Every split that has pictures, in the order of a table: train, val, test, seen without the trace, unseen.
    pub fn splits(&self) -> Vec<Split> {
        let mut splits = vec![Split::Train, Split::Val, Split::Test];
        if self.config.fingerprint != Fingerprint::None {
            splits.push(Split::SeenClean);
        }
        splits.extend((0..self.unseen().len()).map(Split::Unseen));
        splits
    }

    /// Pictures in a split; 0 where there is no such split.
    pub fn len(&self, split: Split) -> usize {
        match (&self.kind, split) {
            (Kind::Folder(f), _) => f.counts(split).0 + f.counts(split).1,
            (Kind::Made(m), Split::Unseen(k)) if k >= m.unseen.len() => 0,
            (_, Split::Train) => self.config.train_count,
            (_, Split::Val) => self.config.val_count,
            (_, Split::SeenClean) if self.config.fingerprint == Fingerprint::None => 0,
            _ => self.config.test_count,
        }
    }

    pub fn is_empty(&self, split: Split) -> bool {
        self.len(split) == 0
    }

    /// The label, without making the picture.
    pub fn is_fake(&self, split: Split, i: u32) -> bool {
        match &self.kind {
            Kind::Made(_) => i % 2 == 1,
            Kind::Folder(f) => f.is_fake(split, i as usize),
        }
    }

    /// Whether picture `i` is a fake whose mask is known.
    pub fn has_mask(&self, split: Split, i: u32) -> bool {
        match &self.kind {
            Kind::Made(_) => i % 2 == 1,
            Kind::Folder(f) => f.has_mask(split, i as usize),
        }
    }

    /// The photograph of a frozen picture, for resampling by photograph. None where it is not known: a folder, or fresh training
    /// pictures (whose photograph changes with the epoch; [`Sample::group`] has it). Should a photograph turn out unreadable,
    /// another takes its place, and only [`Sample::group`] knows.
    pub fn group(&self, split: Split, i: u32) -> Option<u32> {
        match &self.kind {
            Kind::Made(m) if !(split == Split::Train && self.config.fresh) => {
                let ids = m.ids(split);
                Some(ids[self.place(split, i, 0) % ids.len()])
            }
            Kind::Made(_) => None,
            Kind::Folder(f) => f.group(split, i as usize),
        }
    }

    /// Picture `i` of a split. `epoch` matters only for fresh training pictures.
    pub fn sample(&self, split: Split, i: u32, epoch: u32) -> Result<Sample> {
        Ok(self.shared(split, i, epoch)?.as_ref().clone())
    }

    fn shared(&self, split: Split, i: u32, epoch: u32) -> Result<Arc<Sample>> {
        if i as usize >= self.len(split) {
            return Err(Error::config("data", format!("{split:?} has {} pictures, no number {i}", self.len(split))));
        }
        let fresh = split == Split::Train && self.config.fresh && matches!(self.kind, Kind::Made(_));
        if fresh {
            return self.make(split, i, epoch).map(Arc::new);
        }
        // Genuine pictures of the tests are the same everywhere: remembered once.
        let shared_true =
            matches!(self.kind, Kind::Made(_)) && matches!(split, Split::Unseen(_) | Split::SeenClean) && i.is_multiple_of(2);
        let split = if shared_true { Split::Test } else { split };
        self.frozen.get_or(&(split, i), || {
            let sample = self.make(split, i, 0)?;
            let bytes = sample.picture.rgb.len() + sample.mask.as_ref().map_or(0, |m| m.on.len()) + 128;
            Ok((sample, bytes))
        })
    }

    /// Position in the split's list of photographs: each is used equally often, and fresh epochs go on where the last one ended.
    fn place(&self, split: Split, i: u32, epoch: u32) -> usize {
        let per_epoch = self.len(split) / 2;
        let (pair, other) = (i as usize / 2, if self.config.paired { 0 } else { i as usize % 2 * per_epoch.div_ceil(2) });
        pair + other + epoch as usize * per_epoch
    }

    fn make(&self, split: Split, i: u32, epoch: u32) -> Result<Sample> {
        match &self.kind {
            Kind::Made(m) => self.forge(m, split, i, epoch),
            Kind::Folder(f) => f.load(split, i as usize, self.size),
        }
    }

    fn forge(&self, made: &Made, split: Split, i: u32, epoch: u32) -> Result<Sample> {
        let c = &self.config;
        let fake = i % 2 == 1;
        // All tests share crops, holes, donors and forging numbers.
        let part = match split {
            Split::Train => "train",
            Split::Val => "val",
            Split::Test | Split::Unseen(_) | Split::SeenClean => "test",
        };
        let pair = (epoch as u64) << 32 | (i / 2) as u64;
        let draws = |what: &str, index: u64| Rng::new(self.seed, stream(what) ^ stream(part).rotate_left(1), index);
        let scale = (c.crop_scale[0], c.crop_scale[1]);

        let ids = made.ids(split);
        let (id, photograph) = made.source.usable(ids, self.place(split, i, epoch) % ids.len())?;
        let which = if fake && !c.paired { "crop of a fake" } else { "crop" };
        let crop = random_crop(&photograph, self.size, scale, c.flip, &mut draws(which, pair));
        let path = made.source.path(id).map(Path::to_path_buf);
        if !fake {
            let method = "real".into();
            return Ok(Sample { picture: crop, mask: None, fake, method, group: Some(id), fingerprinted: false, path });
        }

        let forger = match split {
            Split::Unseen(k) => made.unseen[k],
            _ => made.seen,
        };
        let hole = c.hole.draw(self.size, self.size, (c.hole_share[0], c.hole_share[1]), &mut draws("hole", pair));
        let donor = if forger.needs_donor() {
            let mut rng = draws("donor", pair);
            let (_, other) = made.source.usable(ids, rng.below(ids.len()))?;
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

    /// Fills a batch with the pictures `indices` of a split, in parallel. The buffers of `batch` are reused.
    pub fn fill(&self, split: Split, epoch: u32, indices: &[u32], batch: &mut Batch) -> Result<()> {
        let (n, pixels) = (indices.len(), self.size * self.size);
        batch.n = n;
        batch.size = self.size;
        batch.x.resize(n * pixels * 3, 0.0);
        batch.mask.resize(n * pixels, 0.0);
        batch.label_true.resize(n, 0.0);
        batch.has_mask.resize(n, 0.0);
        batch.group.resize(n, 0);
        batch.index.clear();
        batch.index.extend_from_slice(indices);
        let pictures = batch.x.par_chunks_mut(pixels * 3).zip(batch.mask.par_chunks_mut(pixels));
        let facts = batch.label_true.par_iter_mut().zip(&mut batch.has_mask).zip(&mut batch.group);
        // One picture per task: forgeries differ in cost.
        pictures.zip(facts).zip(indices).with_max_len(1).try_for_each(|(((x, mask), ((label, has_mask), group)), &i)| {
            let sample = self.shared(split, i, epoch)?;
            x.iter_mut().zip(&sample.picture.rgb).for_each(|(x, &v)| *x = v as f32 / 255.0);
            match &sample.mask {
                Some(m) => mask.iter_mut().zip(&m.on).for_each(|(x, &v)| *x = v as f32),
                None => mask.fill(0.0),
            }
            *label = !sample.fake as u8 as f32;
            *has_mask = sample.mask.is_some() as u8 as f32;
            *group = sample.group.unwrap_or(Batch::NO_GROUP);
            Ok(())
        })
    }

    /// The order of an epoch: every full batch of `batch` (even) pictures has as many genuine as forged ones, both shuffled. Where
    /// the classes differ in number the smaller one goes round again, so that the length is twice the larger class.
    pub fn epoch_order(&self, split: Split, epoch: u32, batch: usize) -> Vec<u32> {
        let (mut fake, mut real): (Vec<u32>, Vec<u32>) = (0..self.len(split) as u32).partition(|&i| self.is_fake(split, i));
        if fake.is_empty() || real.is_empty() {
            return real.into_iter().chain(fake).collect();
        }
        let mut rng = Rng::new(self.seed, stream("epoch order"), epoch as u64);
        let longest = fake.len().max(real.len());
        // A picture and its own forgery in one batch: what they share cancels out of the gradient, what is left is the forgery.
        let twins = self.config.paired && matches!(self.kind, Kind::Made(_));
        if twins {
            rng.shuffle(&mut real);
            fake = real.iter().map(|i| i + 1).collect();
        }
        for class in [&mut real, &mut fake].into_iter().filter(|_| !twins) {
            let once = class.clone();
            class.clear();
            while class.len() < longest {
                let mut round = once.clone();
                rng.shuffle(&mut round);
                class.extend(round);
            }
            class.truncate(longest);
        }
        let half = (batch / 2).max(1);
        let mut order = Vec::with_capacity(2 * longest);
        for (r, f) in real.chunks(half).zip(fake.chunks(half)) {
            order.extend_from_slice(r);
            order.extend_from_slice(f);
        }
        order
    }

    /// What a report has to say about the data.
    pub fn describe(&self) -> Provenance {
        let c = &self.config;
        let method = |f: &dyn Forger, role| MethodRecord { name: f.name().into(), role, source: f.source().into() };
        let mut record = Provenance {
            source: String::new(),
            synthetic_pictures: false,
            synthetic_forgeries: true,
            size: self.size,
            seed: self.seed,
            photographs: None,
            split_by: None,
            fresh: false,
            paired: false,
            skipped_files: 0,
            formats: Vec::new(),
            counts: Vec::new(),
            methods: Vec::new(),
            hole: None,
            fingerprint: None,
            notices: Vec::new(),
        };
        for split in self.splits() {
            let total = self.len(split);
            let fake = (0..total as u32).filter(|&i| self.is_fake(split, i)).count();
            record.counts.push(Count { split: self.name(split), real: total - fake, fake });
        }
        match &self.kind {
            Kind::Made(m) => {
                record.source = match &c.photos {
                    Some(dir) => format!("photographs in {}", dir.display()),
                    None => "built-in painter (dead leaves with 1/f texture): no real photographs".into(),
                };
                record.synthetic_pictures = c.photos.is_none();
                record.photographs = Some([m.ids[0].len(), m.ids[1].len(), m.ids[2].len()]);
                record.split_by = Some(c.split);
                record.fresh = c.fresh;
                record.paired = c.paired;
                record.skipped_files = m.source.skipped();
                record.methods.push(method(m.seen, "seen"));
                record.methods.extend(m.unseen.iter().map(|f| method(*f, "unseen")));
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
                if m.source.small() > 0 {
                    let small = m.source.small();
                    record
                        .notices
                        .push(format!("{small} photographs are smaller than {0} x {0} pixels and are enlarged", self.size));
                }
                if c.split == SplitBy::Photo && m.ids[2].len() < 10 {
                    record.notices.push(format!("only {} photographs are in the tests: the figures say little", m.ids[2].len()));
                }
                if c.split == SplitBy::Crop {
                    record.notices.push("train, validation and test share photographs (split by crop)".into());
                }
            }
            Kind::Folder(f) => {
                record.source = format!("folder {}", f.root.display());
                record.synthetic_forgeries = false;
                record.skipped_files = f.skipped();
                let folder = |name: &str, role| MethodRecord { name: name.into(), role, source: "folder".into() };
                record.methods.push(folder(f.seen(), "seen"));
                record.methods.extend(f.unseen().iter().map(|u| folder(u, "unseen")));
                record.formats = f.formats();
                record.notices.extend(f.notices.iter().cloned());
            }
        }
        match record.skipped_files {
            0 => {}
            1 => record.notices.push("1 unreadable picture was skipped".into()),
            n => record.notices.push(format!("{n} unreadable pictures were skipped")),
        }
        record
    }

    /// Name of a split in tables and folders.
    pub fn name(&self, split: Split) -> String {
        match split {
            Split::Train => "train".into(),
            Split::Val => "val".into(),
            Split::Test => "test".into(),
            Split::SeenClean => "seen without trace".into(),
            Split::Unseen(k) => format!("unseen/{}", self.unseen().get(k).unwrap_or(&"?")),
        }
    }
}

impl Made {
    fn ids(&self, split: Split) -> &[u32] {
        match split {
            Split::Train => &self.ids[0],
            Split::Val => &self.ids[1],
            Split::Test | Split::Unseen(_) | Split::SeenClean => &self.ids[2],
        }
    }
}

/// Photographs of train, val and test.
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

/// Where the data came from, for reports: serialisable, complete.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Provenance {
    /// In words.
    pub source: String,
    /// The genuine pictures are painted by the program.
    pub synthetic_pictures: bool,
    /// The fakes were made by the program.
    pub synthetic_forgeries: bool,
    /// Pixels a side.
    pub size: usize,
    pub seed: u64,
    /// Of train, val and test (the same ones three times if split by crop).
    pub photographs: Option<[usize; 3]>,
    pub split_by: Option<SplitBy>,
    /// Training pictures are new in every epoch.
    pub fresh: bool,
    /// Every fake has its genuine twin in the set.
    pub paired: bool,
    /// Unreadable files passed over so far.
    pub skipped_files: usize,
    /// Of a folder: (class folder, file format, files).
    pub formats: Vec<(String, String, usize)>,
    pub counts: Vec<Count>,
    pub methods: Vec<MethodRecord>,
    pub hole: Option<String>,
    pub fingerprint: Option<FingerprintRecord>,
    /// What a reader must know: planted traces, shared photographs, missing masks, format leaks.
    pub notices: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Count {
    pub split: String,
    pub real: usize,
    pub fake: usize,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct MethodRecord {
    pub name: String,
    /// "seen" or "unseen".
    pub role: &'static str,
    /// Citation, or "folder".
    pub source: String,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FingerprintRecord {
    pub kind: Fingerprint,
    pub amplitude: f32,
    pub rate: f32,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::procedural;

    fn small() -> DataConfig {
        DataConfig { train_count: 40, val_count: 12, test_count: 20, photographs: 15, ..DataConfig::default() }
    }

    fn threads<T: Send>(n: usize, f: impl FnOnce() -> T + Send) -> T {
        rayon::ThreadPoolBuilder::new().num_threads(n).build().unwrap().install(f)
    }

    #[test]
    fn a_batch_is_what_its_samples_are_at_any_thread_count() {
        for split in [Split::Train, Split::Test, Split::Unseen(2)] {
            let order: Vec<u32> = vec![5, 0, 3, 12, 1, 7];
            let fill = |n| {
                threads(n, || {
                    let mut batch = Batch::default();
                    Dataset::open(&small(), 32, 9).unwrap().fill(split, 3, &order, &mut batch).unwrap();
                    batch
                })
            };
            let (a, b) = (fill(1), fill(2));
            assert_eq!((&a.x, &a.mask, &a.label_true, &a.group), (&b.x, &b.mask, &b.label_true, &b.group));
            let data = Dataset::open(&small(), 32, 9).unwrap();
            for (k, &i) in order.iter().enumerate() {
                let s = data.sample(split, i, 3).unwrap();
                assert_eq!((s.fake, a.label_true[k]), (i % 2 == 1, (i % 2 == 0) as u8 as f32));
                assert_eq!(data.is_fake(split, i), s.fake);
                assert_eq!((a.group[k], a.index[k]), (s.group.unwrap(), i));
                let x: Vec<f32> = s.picture.rgb.iter().map(|&v| v as f32 / 255.0).collect();
                assert_eq!(&a.x[k * 32 * 32 * 3..][..32 * 32 * 3], &x);
                let area: f32 = a.mask[k * 32 * 32..][..32 * 32].iter().sum();
                assert_eq!(area as usize, s.mask.as_ref().map_or(0, Mask::area));
                assert_eq!(a.has_mask[k], s.fake as u8 as f32);
            }
        }
    }

    #[test]
    fn a_fake_differs_from_its_genuine_twin_inside_the_mask_only() {
        let data = Dataset::open(&small(), 32, 1).unwrap();
        for split in data.splits() {
            for i in (0..12).step_by(2) {
                let (real, fake) = (data.sample(split, i, 0).unwrap(), data.sample(split, i + 1, 0).unwrap());
                assert_eq!((real.method.as_ref(), real.mask.is_none(), real.group), ("real", true, fake.group));
                let mask = fake.mask.unwrap();
                let changed = |p: usize| real.picture.rgb[p * 3..][..3] != fake.picture.rgb[p * 3..][..3];
                assert!((0..32 * 32).all(|p| mask.on[p] != 0 || !changed(p)));
                assert!((0..32 * 32).any(changed), "{split:?} {i}: {} changed nothing", fake.method);
            }
        }
        let apart = Dataset::open(&DataConfig { paired: false, ..small() }, 32, 1).unwrap();
        let (real, fake) = (apart.sample(Split::Test, 0, 0).unwrap(), apart.sample(Split::Test, 1, 0).unwrap());
        assert_ne!(real.group, fake.group);
    }

    #[test]
    fn only_training_is_fresh() {
        let data = Dataset::open(&small(), 32, 1).unwrap();
        let at = |d: &Dataset, split, epoch| d.sample(split, 3, epoch).unwrap().picture;
        assert_ne!(at(&data, Split::Train, 0), at(&data, Split::Train, 1));
        assert_eq!(at(&data, Split::Train, 1), at(&data, Split::Train, 1));
        for split in [Split::Val, Split::Test, Split::Unseen(0)] {
            assert_eq!(at(&data, split, 0), at(&data, split, 1));
        }
        let frozen = Dataset::open(&DataConfig { fresh: false, ..small() }, 32, 1).unwrap();
        assert_eq!(at(&frozen, Split::Train, 0), at(&frozen, Split::Train, 5));
        assert_eq!(at(&frozen, Split::Train, 0), at(&data, Split::Train, 0));
        assert_ne!(at(&Dataset::open(&small(), 32, 2).unwrap(), Split::Val, 0), at(&data, Split::Val, 0));
        // What is remembered changes nothing.
        let forgetful = Dataset::open(&DataConfig { cache_mib: 0, ..small() }, 32, 1).unwrap();
        assert_eq!(at(&forgetful, Split::Test, 0), at(&data, Split::Test, 0));
    }

    #[test]
    fn splits_share_no_photograph_and_tests_share_their_genuine_half() {
        let data = Dataset::open(&DataConfig { fresh: false, ..small() }, 16, 4).unwrap();
        let groups = |split| -> std::collections::HashSet<u32> {
            (0..data.len(split) as u32).map(|i| data.group(split, i).unwrap()).collect()
        };
        let (train, val, test) = (groups(Split::Train), groups(Split::Val), groups(Split::Test));
        assert!(train.is_disjoint(&val) && train.is_disjoint(&test) && val.is_disjoint(&test));
        assert_eq!(groups(Split::Unseen(1)), test);
        for i in 0..6 {
            let (seen, other) = (data.sample(Split::Test, i, 0).unwrap(), data.sample(Split::Unseen(1), i, 0).unwrap());
            assert_eq!(seen.group, data.group(Split::Test, i));
            assert_eq!(seen.mask, other.mask, "same holes");
            assert_eq!(seen.picture == other.picture, i % 2 == 0);
        }
        let by_crop = Dataset::open(&DataConfig { split: SplitBy::Crop, fresh: false, ..small() }, 16, 4).unwrap();
        let train: Vec<_> = (0..40).filter_map(|i| by_crop.group(Split::Train, i)).collect();
        assert!((0..20).any(|i| train.contains(&by_crop.group(Split::Test, i).unwrap())));
        assert_ne!(by_crop.sample(Split::Train, 0, 0).unwrap().picture, by_crop.sample(Split::Test, 0, 0).unwrap().picture);
    }

    #[test]
    fn the_trace_is_on_seen_fakes_only() {
        let c = DataConfig { fingerprint: Fingerprint::Checkerboard, fingerprint_rate: 0.5, test_count: 200, ..small() };
        let data = Dataset::open(&c, 16, 4).unwrap();
        assert_eq!(data.splits().len(), 8);
        let mut carried = 0;
        for i in 0..200 {
            let (with, without) = (data.sample(Split::Test, i, 0).unwrap(), data.sample(Split::SeenClean, i, 0).unwrap());
            assert!(!without.fingerprinted && !data.sample(Split::Unseen(0), i, 0).unwrap().fingerprinted);
            assert_eq!(with.picture != without.picture, with.fingerprinted);
            assert!(with.fake || !with.fingerprinted);
            carried += with.fingerprinted as usize;
        }
        assert!((30..70).contains(&carried), "{carried} of 100");
        let record = data.describe();
        assert!(record.notices[0].contains("Checkerboard") && record.fingerprint.unwrap().amplitude == 3.0);
        assert_eq!(Dataset::open(&small(), 16, 4).unwrap().len(Split::SeenClean), 0);
    }

    #[test]
    fn an_epoch_is_balanced_complete_and_new_every_time() {
        let data = Dataset::open(&small(), 16, 4).unwrap();
        let order = data.epoch_order(Split::Train, 0, 8);
        for batch in order.chunks(8) {
            assert_eq!(batch.iter().filter(|&&i| data.is_fake(Split::Train, i)).count(), 4);
        }
        let mut sorted = order.clone();
        sorted.sort();
        assert_eq!(sorted, (0..40).collect::<Vec<_>>());
        assert_eq!(order, data.epoch_order(Split::Train, 0, 8));
        assert_ne!(order, data.epoch_order(Split::Train, 1, 8));
    }

    #[test]
    fn photographs_of_a_folder() {
        let dir = tempfile::tempdir().unwrap();
        for i in 0..6 {
            procedural::photograph(8, i, 50 + 10 * i as usize).save(dir.path().join(format!("{i}.png"))).unwrap();
        }
        let data = Dataset::open(&DataConfig { photos: Some(dir.path().into()), ..small() }, 32, 1).unwrap();
        let s = data.sample(Split::Test, 1, 0).unwrap();
        assert!(s.path.unwrap().starts_with(dir.path()) && s.group.unwrap() < 6);
        assert!(!data.describe().synthetic_pictures && data.describe().synthetic_forgeries);
        // Two photographs cannot be divided.
        (2..6).for_each(|i| std::fs::remove_file(dir.path().join(format!("{i}.png"))).unwrap());
        let c = DataConfig { photos: Some(dir.path().into()), ..small() };
        let e = Dataset::open(&c, 32, 1).err().unwrap().to_string();
        assert!(e.contains("data.photos") && e.contains("data.split"), "{e}");
        Dataset::open(&DataConfig { split: SplitBy::Crop, ..c }, 32, 1).unwrap();
    }

    #[test]
    fn impossible_configurations_name_their_key() {
        let path = Some(PathBuf::from("/nowhere"));
        let cases: Vec<(&str, DataConfig)> = vec![
            ("data.photos", DataConfig { photos: path.clone(), dir: path.clone(), ..small() }),
            ("/nowhere", DataConfig { photos: path.clone(), ..small() }),
            ("/nowhere", DataConfig { dir: path.clone(), ..small() }),
            ("data.fingerprint", DataConfig { dir: path, fingerprint: Fingerprint::Noise, ..small() }),
            ("data.train_count", DataConfig { train_count: 7, ..small() }),
            ("data.test_count", DataConfig { test_count: 0, ..small() }),
            ("data.hole_share", DataConfig { hole_share: [0.5, 0.2], ..small() }),
            ("data.hole_share", DataConfig { hole_share: [f32::NAN, 0.2], ..small() }),
            ("data.crop_scale", DataConfig { crop_scale: [0.0, 1.0], ..small() }),
            ("data.test_share", DataConfig { test_share: 0.95, ..small() }),
            ("data.photographs", DataConfig { photographs: 2, ..small() }),
            ("data.seen", DataConfig { seen: "telly".into(), ..small() }),
            ("data.unseen", DataConfig { unseen: vec!["telea".into()], ..small() }),
            ("data.fingerprint_rate", DataConfig { fingerprint_rate: 1.5, ..small() }),
            (
                "data.fingerprint_amplitude",
                DataConfig { fingerprint: Fingerprint::Jpeg, fingerprint_amplitude: Some(0.0), ..small() },
            ),
        ];
        for (key, config) in cases {
            let e = Dataset::open(&config, 32, 1).err().unwrap_or_else(|| panic!("{key} accepted")).to_string();
            assert!(e.contains(key), "{key}: {e}");
        }
        assert!(Dataset::open(&small(), 3, 1).is_err());
        let data = Dataset::open(&small(), 32, 1).unwrap();
        assert!(data.sample(Split::Test, 20, 0).is_err() && data.sample(Split::Unseen(9), 0, 0).is_err());
    }

    #[test]
    fn the_configuration_survives_toml_and_refuses_unknown_keys() {
        let c = DataConfig { hole: Hole::Stroke, fingerprint: Fingerprint::Jpeg, split: SplitBy::Crop, ..small() };
        let text = toml::to_string(&c).unwrap();
        assert!(text.contains("hole = \"stroke\"") && text.contains("split = \"crop\""), "{text}");
        assert_eq!(toml::from_str::<DataConfig>(&text).unwrap(), c);
        assert_eq!(toml::from_str::<DataConfig>("").unwrap(), DataConfig::default());
        assert!(toml::from_str::<DataConfig>("sene = \"telea\"").unwrap_err().to_string().contains("sene"));
    }
}
