//! The one face that training and evaluation see: random access to labelled samples, and batches filled in parallel.
//!
//! Every sample belongs to (seed, split, epoch, index) alone: neither the order of calls, nor the number of threads, nor what is
//! cached changes a byte.

use std::path::Path;
use std::sync::Arc;

use rayon::prelude::*;

use super::augment::AugmentConfig;
use super::cache::Cache;
pub use super::config::DataConfig;
use super::counter::{CounterConfig, Left};
use super::counterexamples::Counterexamples;
use super::faces::Faces;
use super::folder::Folder;
use super::layout;
use super::made::Made;
use super::manifest::Entry;
use super::picture::Picture;
use super::pictures::Pictures;
use super::provenance::{Count, Provenance};
pub use super::sample::{Batch, MaskOrigin, Sample, Split};
use super::source::{Source, Tell};
use super::task::Task;
use crate::core::rng::{Rng, stream};
use crate::error::{Error, Result};
use crate::text::shown;

/// An opened data set. Pictures are made or read when they are first asked for; any number of threads may ask at once.
pub struct Dataset {
    config: DataConfig,
    size: usize,
    seed: u64,
    pictures: Box<dyn Pictures>,
    /// What replaces training and validation pictures in [`Dataset::fill_training`], if anything does.
    counter: Option<Counterexamples>,
    /// (split, index) of samples that are the same in every epoch.
    frozen: Cache<(Split, u32), Sample>,
}

impl Dataset {
    /// Opens the data that `config` describes for `size` × `size` pictures, 4 ≤ `size` ≤ 4096. Reads names and headers only. A line
    /// on standard error names each file that is passed over, now or later.
    pub fn open(config: &DataConfig, size: usize, seed: u64) -> Result<Dataset> {
        Dataset::open_telling(config, size, seed, |line| eprintln!("{line}"))
    }

    /// [`Dataset::open`], with the lines about files that are passed over going to `tell` (each file once, from any thread).
    pub fn open_telling(config: &DataConfig, size: usize, seed: u64, tell: Tell) -> Result<Dataset> {
        Dataset::open_processed(config, &AugmentConfig::default(), size, seed, tell)
    }

    /// [`Dataset::open_telling`], with the processing that `augment` asks for applied to all pictures that are made here; those
    /// of a ready data set (`config.dir`) are taken as they are.
    pub fn open_processed(config: &DataConfig, augment: &AugmentConfig, size: usize, seed: u64, tell: Tell) -> Result<Dataset> {
        config.check()?;
        augment.check()?;
        if !(4..=4096).contains(&size) {
            return Err(Error::config("size", format!("{size} pixels a side are not supported; use 4 to 4096")));
        }
        let half_cache = config.cache_mib.saturating_mul(1 << 20) / 2;
        let pictures: Box<dyn Pictures> = match &config.dir {
            Some(path) => Box::new(ready(config, path, size, seed, tell)?),
            None => match Task::of_method("data.seen", &config.seen)? {
                Task::Inpainting => Box::new(Made::open(config, augment, size, seed, half_cache, tell)?),
                // Faces are not processed: nothing would be drawn from `augment`.
                task if augment.on() => {
                    let why = format!(
                        "painted faces (task {}) are not processed; set augment.before = 0, augment.after = 0",
                        task.name()
                    );
                    return Err(Error::config("augment", why));
                }
                task => Box::new(Faces::open(config, task, size, seed)?),
            },
        };
        Ok(Dataset { config: config.clone(), size, seed, pictures, counter: None, frozen: Cache::new(half_cache) })
    }

    /// With the counterexamples that `config` asks for in [`Dataset::fill_training`].
    pub fn with_counter(mut self, config: &CounterConfig) -> Result<Dataset> {
        config.check()?;
        if config.on() {
            self.counter = Some(Counterexamples::new(config, &*self.pictures, self.size, self.seed)?);
        }
        Ok(self)
    }

    /// S, pixels a side.
    pub fn size(&self) -> usize {
        self.size
    }

    /// What the data set was opened with.
    pub fn config(&self) -> &DataConfig {
        &self.config
    }

    /// Name of the method that is trained on; "fake" for a folder that does not tell.
    pub fn seen(&self) -> &str {
        self.pictures.seen()
    }

    /// Names of the methods that are only tested on, in the order of `Split::Unseen`.
    pub fn unseen(&self) -> Vec<&str> {
        self.pictures.unseen()
    }

    /// The seen method, then the unseen ones.
    pub fn methods(&self) -> Vec<&str> {
        std::iter::once(self.seen()).chain(self.unseen()).collect()
    }

    /// Every split that has pictures, in the order of a table: train, val, test, seen without the trace, unseen.
    pub fn splits(&self) -> Vec<Split> {
        let mut splits = vec![Split::Train, Split::Val, Split::Test];
        if !self.is_empty(Split::SeenClean) {
            splits.push(Split::SeenClean);
        }
        splits.extend((0..self.unseen().len()).map(Split::Unseen));
        splits
    }

    /// Pictures in a split; 0 where there is no such split.
    pub fn len(&self, split: Split) -> usize {
        self.pictures.len(split)
    }

    /// Whether a split has no pictures.
    pub fn is_empty(&self, split: Split) -> bool {
        self.len(split) == 0
    }

    /// The label, without making the picture.
    pub fn is_fake(&self, split: Split, i: u32) -> bool {
        self.pictures.is_fake(split, i)
    }

    /// Whether picture `i` is a fake whose mask is known.
    pub fn has_mask(&self, split: Split, i: u32) -> bool {
        self.pictures.has_mask(split, i)
    }

    /// The photograph of a frozen picture, for resampling by photograph. None where it is not known: a folder, or fresh training
    /// pictures (whose photograph changes with the epoch; [`Sample::group`] has it). Should a photograph turn out unreadable,
    /// another takes its place, and only [`Sample::group`] knows.
    pub fn group(&self, split: Split, i: u32) -> Option<u32> {
        self.pictures.group(split, i)
    }

    /// Picture `i` of a split. `epoch` matters only for fresh training pictures.
    pub fn sample(&self, split: Split, i: u32, epoch: u32) -> Result<Sample> {
        Ok(self.shared(split, i, epoch)?.as_ref().clone())
    }

    fn shared(&self, split: Split, i: u32, epoch: u32) -> Result<Arc<Sample>> {
        if i as usize >= self.len(split) {
            return Err(Error::config("data", format!("{split:?} has {} pictures, no number {i}", self.len(split))));
        }
        if self.pictures.fresh(split) {
            return self.pictures.sample(split, i, epoch).map(Arc::new);
        }
        let home = self.pictures.home(split, i);
        self.frozen.get_or(&(home, i), || {
            let sample = self.pictures.sample(home, i, 0)?;
            let bytes = sample.picture.rgb.len() + sample.mask.as_ref().map_or(0, |m| m.on.len()) + 128;
            Ok((sample, bytes))
        })
    }

    /// Fills a batch with the pictures `indices` of a split, in parallel. The buffers of `batch` are reused.
    pub fn fill(&self, split: Split, epoch: u32, indices: &[u32], batch: &mut Batch) -> Result<()> {
        self.fill_from(indices, batch, |i| self.shared(split, i, epoch))
    }

    /// [`Dataset::fill`] for a step of training or of validation: some pictures are counterexamples, if the data set has any
    /// ([`Dataset::with_counter`]). Labels and masks are those of the pictures that they replace.
    pub fn fill_training(&self, split: Split, epoch: u32, indices: &[u32], batch: &mut Batch) -> Result<()> {
        let Some(counter) = &self.counter else { return self.fill(split, epoch, indices, batch) };
        self.fill_from(indices, batch, |i| {
            let sample = self.shared(split, i, epoch)?;
            let other = counter.of(&*self.pictures, split, i, epoch, &sample)?;
            Ok(other.map_or_else(|| sample.clone(), |picture| Arc::new(Sample { picture, ..sample.as_ref().clone() })))
        })
    }

    fn fill_from(&self, indices: &[u32], batch: &mut Batch, sample: impl Fn(u32) -> Result<Arc<Sample>> + Sync) -> Result<()> {
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
            let sample = sample(i)?;
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
        // A picture and its own forgery come into the same batch. Their labels differ, so what both pictures show cancels out of the
        // gradient, and what the forger changed remains.
        let twins = self.pictures.twins();
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

    /// The files behind the pictures and the masks, by name; see [`Pictures::files`].
    pub fn files(&self) -> Vec<(String, &Path)> {
        self.pictures.files()
    }

    /// The picture files of a split; see [`Pictures::files_of`].
    pub fn files_of(&self, split: Split) -> Vec<(String, &Path)> {
        self.pictures.files_of(split)
    }

    /// The photographs that a split is made from, as their source and their numbers; see [`Pictures::photographs`].
    pub fn photographs(&self, split: Split) -> Option<(&Source, &[u32])> {
        self.pictures.photographs(split)
    }

    /// Picture `i` at the size that its file has; see [`Pictures::original`]. Never from the cache, and not kept.
    pub fn original(&self, split: Split, i: u32) -> Option<Result<Sample>> {
        self.pictures.original(split, i)
    }

    /// Fake `i` before it was forged, in the size of [`Dataset::whole`]; see [`Pictures::untouched`].
    pub fn untouched(&self, split: Split, i: u32) -> Option<Result<Picture>> {
        self.pictures.untouched(split, i, 0)
    }

    /// Picture `i` as a person sees it: at the size that its file has, or as it is made in epoch 0.
    pub fn whole(&self, split: Split, i: u32) -> Result<Sample> {
        self.original(split, i).unwrap_or_else(|| self.pictures.sample(split, i, 0))
    }

    /// Who made the masks.
    pub fn mask_origin(&self) -> MaskOrigin {
        self.pictures.mask_origin()
    }

    /// The file of picture `i` of a ready data set.
    pub fn path(&self, split: Split, i: u32) -> Option<&Path> {
        self.pictures.path(split, i)
    }

    /// Width and height of [`Dataset::whole`] for a ready data set, in pixels, without reading the picture.
    pub fn own_size(&self, split: Split, i: u32) -> Option<Result<(usize, usize)>> {
        self.pictures.own_size(split, i)
    }

    /// What the manifest of a folder says of picture `i`.
    pub fn entry(&self, split: Split, i: u32) -> Option<&Entry> {
        self.pictures.entry(split, i)
    }

    /// Pairs that no counterexample could be made of so far.
    pub fn left_out(&self) -> Vec<Left> {
        self.counter.as_ref().map_or(Vec::new(), |c| c.left().rows())
    }

    /// Counts on from what a run had left out that goes on now.
    pub fn set_left_out(&self, left: Vec<Left>) {
        if let Some(counter) = &self.counter {
            counter.left().set(left);
        }
    }

    /// The numbers that everything drawn begins with.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// What a report has to say about the data.
    pub fn describe(&self) -> Provenance {
        let mut record = Provenance::new(self.size, self.seed);
        for split in self.splits() {
            let total = self.len(split);
            let fake = (0..total as u32).filter(|&i| self.is_fake(split, i)).count();
            record.counts.push(Count { split: self.name(split), real: total - fake, fake });
        }
        self.pictures.describe(&mut record);
        if let Some(counter) = &self.counter {
            record.counter = Some(counter.describe());
            record.notices.extend(counter.notices());
        }
        record.note_skipped();
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

/// The data set in `path`: a folder of the program's own layout, else a manifest or a layout that is known.
fn ready(config: &DataConfig, path: &Path, size: usize, seed: u64, tell: Tell) -> Result<Folder> {
    // Names of methods of the program count where pictures are made.
    let named = |name: &&String| Task::of_method("data.seen", name).is_err();
    let seen = Some(&config.seen).filter(named).cloned();
    let unseen: Vec<String> = config.unseen.iter().filter(named).cloned().collect();
    let layout = layout::detect(path, None)?;
    if let Some(layout) = layout.filter(|l| !layout::is_ready(Some(l))) {
        let wanted = layout::Wanted {
            seen,
            unseen,
            shares: (config.val_share as f64, config.test_share as f64),
            seed,
            straddling: config.allow_duplicates,
        };
        return Folder::listed(layout::open(path, layout, &wanted)?, size, config.allow_duplicates, tell);
    }
    if layout.is_none() && !["train", "val", "test"].iter().any(|s| path.join(s).exists()) {
        return Err(layout::unknown(path));
    }
    let folder = Folder::open(path, size, config.allow_duplicates, tell)?;
    for (key, names) in [("data.seen", seen.into_iter().collect()), ("data.unseen", unseen)] {
        if let Some(name) = names.iter().find(|n| n.as_str() != folder.seen() && !folder.unseen().contains(&n.as_str())) {
            let why = format!("{name:?}: the folders of {} say which methods are seen and unseen; leave it out", shown(path));
            return Err(Error::config(key, why));
        }
    }
    Ok(folder)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::data::config::SplitBy;
    use crate::data::fingerprint::Fingerprint;
    use crate::data::hole::Hole;
    use crate::data::picture::Mask;
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
        // A cache that holds nothing gives the same pictures.
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
        assert!(record.notices.iter().any(|n| n.contains("checkerboard")) && record.fingerprint.unwrap().amplitude == 3.0);
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

    /// Every forger, hole and trace at sides that no power of two divides.
    #[test]
    fn pictures_of_any_side() {
        for (side, traces) in [
            (4, vec![Fingerprint::None]),
            (75, vec![Fingerprint::Checkerboard, Fingerprint::Jpeg, Fingerprint::Resample, Fingerprint::Noise]),
            (227, vec![Fingerprint::Resample]),
        ] {
            let holes = [Hole::Central, Hole::Rect, Hole::Stroke];
            for (k, trace) in traces.into_iter().enumerate() {
                let c = DataConfig { photograph_scale: 1.3, hole: holes[k % 3], fingerprint: trace, ..small() };
                let data = Dataset::open(&c, side, 5).unwrap();
                for split in data.splits() {
                    let (real, fake) = (data.sample(split, 2, 0).unwrap(), data.sample(split, 3, 0).unwrap());
                    let mask = fake.mask.unwrap();
                    for (w, h) in [(real.picture.w, real.picture.h), (fake.picture.w, fake.picture.h), (mask.w, mask.h)] {
                        assert_eq!((w, h), (side, side), "{split:?} {trace:?}");
                    }
                    let changed = |p: usize| real.picture.rgb[p * 3..][..3] != fake.picture.rgb[p * 3..][..3];
                    assert!((0..side * side).any(changed), "{split:?} {trace:?}");
                    let outside = (0..side * side).any(|p| mask.on[p] == 0 && changed(p));
                    assert_eq!(outside, fake.fingerprinted, "{split:?} {trace:?}");
                }
                let mut batch = Batch::default();
                data.fill(Split::Test, 0, &[1, 0, 3], &mut batch).unwrap();
                assert_eq!((batch.size, batch.x.len(), batch.mask.len()), (side, 3 * side * side * 3, 3 * side * side));
                let last = data.sample(Split::Test, 3, 0).unwrap();
                assert_eq!(batch.x[batch.x.len() - 1], last.picture.rgb[side * side * 3 - 1] as f32 / 255.0);
                assert_eq!(batch.mask[2 * side * side..].iter().sum::<f32>() as usize, last.mask.unwrap().area());
            }
        }
    }

    /// Crops of photographs that are oblong, larger than the pictures, and smaller.
    #[test]
    fn photographs_as_pictures_of_any_side() {
        let dir = tempfile::tempdir().unwrap();
        for (i, (w, h)) in [(301, 233), (233, 301), (80, 61), (75, 75), (500, 97), (229, 640)].into_iter().enumerate() {
            let photo = procedural::photograph(8, i as u64, 160).resize_to(w, h);
            photo.save(dir.path().join(format!("{i}.png"))).unwrap();
        }
        for side in [75, 227] {
            let c = DataConfig { photos: Some(dir.path().into()), split: SplitBy::Crop, seen: "harmonic".into(), ..small() };
            let data = Dataset::open(&c, side, 2).unwrap();
            let mut batch = Batch::default();
            let order = data.epoch_order(Split::Test, 0, 4);
            data.fill(Split::Test, 0, &order[..12], &mut batch).unwrap();
            assert_eq!((batch.x.len(), batch.size), (12 * side * side * 3, side));
            let groups: std::collections::HashSet<u32> = (0..12).map(|i| data.group(Split::Test, i).unwrap()).collect();
            assert_eq!(groups.len(), 6, "every photograph is used");
            let small = if side == 75 { 1 } else { 3 };
            let notice = format!("{small} photographs are smaller than {side} x {side} pixels");
            assert!(data.describe().notices.iter().any(|n| n.contains(&notice)), "{:?}", data.describe().notices);
        }
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
}
