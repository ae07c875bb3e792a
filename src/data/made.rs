//! Pictures from photographs (of a folder, or painted by the built-in source), with the forgeries made here.
//!
//! Pictures 2j and 2j + 1 of a split are the genuine and the forged version of the *same* crop (`paired`), so content says nothing
//! about the label. The unseen tests share the genuine half of the seen test (models.md A35), and their fakes are made from the same
//! crops with the same holes as the seen forger's: methods are compared on pairs.
//!
//! What is cropped, processed and forged is a context; the picture is a window of it (`data.context` = 1: all of it). The twin
//! of a fake is the same window of the context that was not forged, or, of some (`data.hard_negatives`), a window beside the
//! hole of the context that was. Everything is drawn by the number of the pair, so that both of a pair have had the same
//! processing.

use std::path::Path;
use std::sync::Arc;

use super::augment::{AugmentConfig, Chain};
use super::cache::Cache;
use super::config::{DataConfig, SplitBy};
use super::fingerprint::Fingerprint;
use super::forge::Forger;
use super::held::Keep;
use super::hole::Hole;
use super::picture::{Mask, Picture};
use super::pictures::Pictures;
use super::provenance::{FingerprintRecord, MethodRecord, Provenance};
use super::sample::{MaskOrigin, Sample, Split};
use super::source::{Source, Tell, random_crop};
use super::window;
use crate::core::rng::{Rng, stream};
use crate::error::{Error, Result};

/// Photographs of a [`Source`], divided into splits, with one seen forger and any number of unseen ones.
pub struct Made {
    config: DataConfig,
    augment: AugmentConfig,
    /// S, pixels a side.
    size: usize,
    seed: u64,
    source: Source,
    /// Photographs of train, val and test.
    ids: [Vec<u32>; 3],
    /// What training crops are taken from, in turn: the photographs of train and, with `data.painted`, painted ones between them.
    pool: Vec<u32>,
    seen: &'static dyn Forger,
    unseen: Vec<&'static dyn Forger>,
    /// Contexts that both of a pair need, and what forgers made of them.
    contexts: Cache<Place, Context>,
    forged: Cache<(&'static str, Place), Picture>,
}

/// Which context: the streams of its split, its pair (with the epoch), and whether it is the fake's own (`paired = false`).
type Place = (&'static str, u64, bool);

/// What is forged, and how the picture is made of it.
struct Context {
    /// The photograph.
    id: u32,
    /// Processed, not forged.
    picture: Picture,
    hole: Mask,
    /// The processing that follows.
    after: Chain,
    /// Side after that processing, pixels, and the hole at that side where it is another.
    side: usize,
    mask: Option<Mask>,
    /// Where the window of the fake and its twin begins, and where the hard negative's does.
    window: (usize, usize),
    beside: Option<(usize, usize)>,
}

impl Context {
    fn mask(&self) -> &Mask {
        self.mask.as_ref().unwrap_or(&self.hole)
    }

    /// The `size` × `size` window at (`x`, `y`) of `picture` (this context, forged or not) after the rest of its processing. No
    /// more than the window needs is processed.
    fn finish(&self, picture: &Picture, (x, y): (usize, usize), size: usize, rng: &mut Rng) -> Result<Picture> {
        let ((x0, w), (y0, h)) = (self.after.needed(x, size, self.side), self.after.needed(y, size, self.side));
        let part = match self.side == picture.w {
            true => picture.crop(x0, y0, w, h),
            // All of it: a window of fast_image_resize that begins between two pixels may read beyond its buffer.
            false => picture.resize(self.side).crop(x0, y0, w, h),
        };
        Ok(self.after.apply(part, rng)?.crop(x - x0, y - y0, size, size))
    }
}

impl Made {
    /// Opens `config.photos`, or the built-in source without it, for `size` × `size` pictures that `augment` processes.
    /// Photographs take at most `cache_bytes` of memory. `tell` hears of each file that is passed over.
    pub fn open(
        config: &DataConfig,
        augment: &AugmentConfig,
        size: usize,
        seed: u64,
        cache_bytes: usize,
        tell: Tell,
    ) -> Result<Made> {
        let (seen, unseen) = config.forgers()?;
        let context = config.context_side(size);
        if context > MOST {
            let why =
                format!("{context} pixels a side are too many; use at most {:.2} for size {size}", MOST as f32 / size as f32);
            return Err(Error::config("data.context", why));
        }
        // Contexts are remembered where the second of a pair needs what the first had to make.
        let shared = if config.context > 1.0 || augment.on() { cache_bytes / 8 } else { 0 };
        let cache_bytes = cache_bytes - shared;
        let side = ((size as f32 * config.photograph_scale).round() as usize).max(1);
        let (mut source, key) = match &config.photos {
            Some(dir) => {
                let largest = largest(context, size, augment);
                let short = ((largest as f32 * config.crop_scale[1]) as usize).max(largest);
                let keep = |count| match config.native > 0.0 {
                    true => Keep::native(seed, short, (size, largest), count),
                    false => Keep::shrunk(short),
                };
                (Source::photos(dir, keep, cache_bytes, config.allow_duplicates, tell)?, "photos")
            }
            None => {
                let count = match config.photographs {
                    0 => (cache_bytes / (side * side * 3)).clamp(60, 1200),
                    n => n,
                };
                (Source::procedural(seed, count, side, cache_bytes), "photographs")
            }
        };
        let ids = divide(config, source.len(), seed, key)?;
        let pool = match config.photos.is_some() && config.painted > 0.0 {
            // Painted ones take half of the memory at most.
            true => {
                let count = (cache_bytes / 2 / (side * side * 3)).clamp(16, 1200);
                let count = if config.photographs > 0 { count.min(config.photographs) } else { count };
                mix(&ids[0], source.paint_beside(seed, count, side).collect(), config.painted)
            }
            false => ids[0].clone(),
        };
        let (config, augment) = (config.clone(), augment.clone());
        let (contexts, forged) = (Cache::new(shared / 2), Cache::new(shared / 2));
        Ok(Made { config, augment, size, seed, source, ids, pool, seen, unseen, contexts, forged })
    }

    fn ids(&self, split: Split) -> &[u32] {
        match split {
            Split::Train => &self.ids[0],
            Split::Val => &self.ids[1],
            Split::Test | Split::Unseen(_) | Split::SeenClean => &self.ids[2],
        }
    }

    /// What the crops of a split are taken from, in turn.
    fn pool(&self, split: Split) -> &[u32] {
        if split == Split::Train { &self.pool } else { self.ids(split) }
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

/// Largest side of a context, pixels.
const MOST: usize = 8192;

/// Holes that are drawn until one leaves room for a genuine window beside it.
const TRIES: usize = 12;

/// The context that is cropped where the chains leave `total` of its side: as large as configured, and so large that a window
/// remains.
fn wanted(context: usize, size: usize, total: f32) -> usize {
    context.max((size as f32 / total).ceil() as usize)
}

/// The largest context that any pair is cropped as.
fn largest(context: usize, size: usize, augment: &AugmentConfig) -> usize {
    let least = |share: f32| if share > 0.0 && augment.resize > 0.0 { augment.resize_scale[0].min(1.0) } else { 1.0 };
    wanted(context, size, least(augment.before) * least(augment.after))
}

/// The name of a split in the streams. All tests draw from those named "test": the same crops, holes, donors and random numbers
/// of the forger.
fn part(split: Split) -> &'static str {
    match split {
        Split::Train => "train",
        Split::Val => "val",
        Split::Test | Split::Unseen(_) | Split::SeenClean => "test",
    }
}

impl Made {
    fn draws(&self, what: &str, (part, pair, _): Place) -> Rng {
        Rng::new(self.seed, stream(what) ^ stream(part).rotate_left(1), pair)
    }

    /// Tiles of large photographs change from one epoch of fresh training to another.
    fn generation(&self, split: Split, epoch: u32) -> u32 {
        match self.fresh(split) {
            true => {
                let painted = if self.source.painted_beside() > 0 { self.config.painted } else { 0.0 };
                let pairs = (self.len(split) / 2) as f32 * (1.0 - painted);
                self.source.generation(epoch, pairs as usize, self.ids(split).len())
            }
            false => 0,
        }
    }

    fn context(&self, split: Split, i: u32, epoch: u32, place: Place) -> Result<Context> {
        let (c, a, size) = (&self.config, &self.augment, self.size);
        let before = Chain::draw(a, a.before, &mut self.draws("before forging", place));
        let after = Chain::draw(a, a.after, &mut self.draws("after forging", place));
        let native = c.native > 0.0 && self.draws("native", place).unit() < c.native;
        let scale = if native { (1.0, 1.0) } else { (c.crop_scale[0], c.crop_scale[1]) };

        let ids = self.pool(split);
        let start = self.place(split, i, epoch) % ids.len();
        let (id, held) = self.source.usable(ids, start, self.generation(split, epoch))?;
        let photograph = held.at(native);
        // A photograph that is smaller than a context gives a smaller one; it is enlarged only if it is smaller than a picture.
        let wanted = wanted(c.context_side(size), size, before.scale() * after.scale());
        let wanted = wanted.min(photograph.short_side()).max(size);
        let which = if place.2 { "crop of a fake" } else { "crop" };
        let mut picture = random_crop(photograph, wanted, scale, c.flip, &mut self.draws(which, place));
        let scaled = |side: usize, chain: &Chain| ((side as f32 * chain.scale()).round() as usize).max(size);
        if scaled(wanted, &before) != wanted {
            picture = picture.resize(scaled(wanted, &before));
        }
        if !before.is_identity() {
            picture = before.apply(picture, &mut self.draws("noise before", place))?;
        }
        let side = scaled(picture.w, &after);

        let mut rng = self.draws("hole", place);
        let mut draw = || {
            let hole = if c.context > 1.0 {
                // In pixels of the window that is cut in the end.
                let unit = size as f32 * picture.w as f32 / side as f32;
                c.hole.draw_side(picture.w, picture.h, (c.hole_side[0] * unit, c.hole_side[1] * unit), &mut rng)
            } else {
                c.hole.draw(picture.w, picture.h, (c.hole_share[0], c.hole_share[1]), &mut rng)
            };
            let mask = (side != picture.w).then(|| hole.resize_to(side, side));
            (hole, mask)
        };
        let (mut hole, mut mask) = draw();
        let mut beside = None;
        if c.hard_negatives > 0.0 {
            let mut rng = self.draws("hard negative", place);
            if rng.unit() < c.hard_negatives {
                for _ in 0..TRIES {
                    beside = window::genuine(mask.as_ref().unwrap_or(&hole), size, &mut rng);
                    if beside.is_some() {
                        break;
                    }
                    (hole, mask) = draw();
                }
            }
        }
        let window = match side == size {
            true => (0, 0),
            false => {
                let forged = mask.as_ref().unwrap_or(&hole);
                window::forged(forged, size, c.forged_least, &mut self.draws("window", place))
            }
        };
        Ok(Context { id, picture, hole, after, side, mask, window, beside })
    }

    /// The context after a forger.
    fn forged(&self, forger: &'static dyn Forger, split: Split, context: &Context, place: Place) -> Result<Arc<Picture>> {
        self.forged.get_or(&(forger.name(), place), || {
            let c = &self.config;
            let donor = if forger.needs_donor() {
                let mut rng = self.draws("donor", place);
                let ids = self.pool(split);
                let epoch = (place.1 >> 32) as u32;
                let (_, other) = self.source.usable(ids, rng.below(ids.len()), self.generation(split, epoch))?;
                let native = c.native > 0.0 && self.draws("native", place).unit() < c.native;
                let scale = if native { (1.0, 1.0) } else { (c.crop_scale[0], c.crop_scale[1]) };
                Some(random_crop(other.at(native), context.picture.w, scale, c.flip, &mut rng))
            } else {
                None
            };
            let donor = donor.as_ref().unwrap_or(&context.picture);
            let picture = forger.fill(&context.picture, &context.hole, donor, &mut self.draws("forge", place))?;
            let bytes = picture.rgb.len();
            Ok((picture, bytes))
        })
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
        let ids = self.pool(split);
        (!self.fresh(split)).then(|| ids[self.place(split, i, 0) % ids.len()])
    }

    fn sample(&self, split: Split, i: u32, epoch: u32) -> Result<Sample> {
        let c = &self.config;
        let fake = i % 2 == 1;
        let pair = (epoch as u64) << 32 | (i / 2) as u64;
        let place: Place = (part(split), pair, fake && !c.paired);
        let context = self.contexts.get_or(&place, || {
            let context = self.context(split, i, epoch, place)?;
            let bytes = context.picture.rgb.len() + context.hole.on.len() + context.mask.as_ref().map_or(0, |m| m.on.len()) + 256;
            Ok::<_, Error>((context, bytes))
        })?;
        let (id, size) = (context.id, self.size);
        let path = self.source.path(id).map(Path::to_path_buf);
        // The same noise for both of a pair.
        let mut noise = self.draws("noise after", place);
        if !fake {
            let picture = match context.beside {
                Some(at) => context.finish(&*self.forged(self.seen, split, &context, place)?, at, size, &mut noise)?,
                None => context.finish(&context.picture, context.window, size, &mut noise)?,
            };
            let method = "real".into();
            return Ok(Sample { picture, mask: None, fake, method, group: Some(id), fingerprinted: false, path });
        }

        let forger = match split {
            Split::Unseen(k) => self.unseen[k],
            _ => self.seen,
        };
        let forged = self.forged(forger, split, &context, place)?;
        let (x, y) = context.window;
        let mut picture = context.finish(&forged, (x, y), size, &mut noise)?;
        let mask = context.mask().crop(x, y, size, size);
        let mut rng = self.draws("fingerprint", place);
        let carries = c.fingerprint != Fingerprint::None
            && matches!(split, Split::Train | Split::Val | Split::Test)
            && rng.unit() < c.fingerprint_rate;
        if carries {
            picture = c.fingerprint.apply(picture, c.amplitude(), &mut rng)?;
        }
        let method = forger.name().into();
        Ok(Sample { picture, mask: Some(mask), fake, method, group: Some(id), fingerprinted: carries, path })
    }

    /// Made anew: the context, before the forger.
    fn untouched(&self, split: Split, i: u32, epoch: u32) -> Option<Result<Picture>> {
        let pair = (epoch as u64) << 32 | (i / 2) as u64;
        let place: Place = (part(split), pair, !self.config.paired);
        let finish =
            |context: Context| context.finish(&context.picture, context.window, self.size, &mut self.draws("noise after", place));
        (i % 2 == 1).then(|| self.context(split, i, epoch, place).and_then(finish))
    }

    fn has_original(&self, _: Split, i: u32) -> bool {
        i % 2 == 1
    }

    fn mask_origin(&self) -> MaskOrigin {
        MaskOrigin::Forger
    }

    fn files(&self) -> Vec<(String, &Path)> {
        self.named(0..self.source.len() as u32)
    }

    fn files_of(&self, split: Split) -> Vec<(String, &Path)> {
        self.named(self.ids(split).iter().copied())
    }

    fn photographs(&self, split: Split) -> Option<(&Source, &[u32])> {
        Some((&self.source, self.ids(split)))
    }

    fn describe(&self, record: &mut Provenance) {
        let c = &self.config;
        let method = |f: &dyn Forger, role| MethodRecord { name: f.name().into(), role, source: f.source().into() };
        record.source = match &c.photos {
            Some(dir) => format!("photographs in {}", crate::text::shown(dir)),
            None => "built-in painter (dead leaves with 1/f texture): no real photographs".into(),
        };
        let painted = self.source.painted_beside();
        if painted > 0 {
            record.source +=
                &format!("; {} of the training crops from {painted} painted ones (data.painted)", percent(c.painted));
        }
        record.synthetic_pictures = c.photos.is_none();
        record.synthetic_forgeries = true;
        record.photographs = Some([self.ids[0].len(), self.ids[1].len(), self.ids[2].len()]);
        record.split_by = Some(c.split);
        record.fresh = c.fresh;
        record.paired = c.paired && c.hard_negatives == 0.0;
        record.skipped_files = self.source.skipped();
        record.methods.push(method(self.seen, "seen"));
        record.methods.extend(self.unseen.iter().map(|f| method(*f, "unseen")));
        let sides = [c.hole_side[0], c.hole_side[1].min(Hole::MOST * c.context)].map(|x| (x * self.size as f32).round());
        record.hole = Some(match c.hole {
            _ if c.context > 1.0 => {
                let kind = match c.hole {
                    Hole::Central => "square in the middle of the context",
                    Hole::Rect => "random rectangle",
                    Hole::Stroke => "random brush stroke",
                };
                format!("{kind}, {} to {} pixels a side", sides[0], sides[1])
            }
            Hole::Central => "central half, always".into(),
            Hole::Rect => format!("random rectangle, {} to {} of the area", c.hole_share[0], c.hole_share[1]),
            Hole::Stroke => format!("random brush stroke, {} to {} of the area", c.hole_share[0], c.hole_share[1]),
        });
        if c.fingerprint != Fingerprint::None {
            record.fingerprint =
                Some(FingerprintRecord { kind: c.fingerprint, amplitude: c.amplitude(), rate: c.fingerprint_rate });
            record.notices.push(c.fingerprint.notice());
        }
        record.notices.extend(self.source.notices());
        let context = c.context_side(self.size);
        if c.context > 1.0 {
            record.context = Some(format!("{context} x {context} pixels, of which a picture is a window"));
            let narrow = self.source.smaller_than(context);
            if narrow > 0 {
                record.notices.push(format!(
                    "{narrow} photographs are smaller than the context of {context} x {context} pixels (data.context): \
                     theirs is smaller"
                ));
            }
        }
        if c.native > 0.0 {
            record.scale = Some(format!("{} of the crops at the photographs' own scale", percent(c.native)));
        }
        record.processing = self.augment.describe();
        if c.hard_negatives > 0.0 {
            record.notices.push(format!(
                "genuine windows of forged pictures: {} of the genuine pictures (data.hard_negatives)",
                percent(c.hard_negatives)
            ));
        }
        let tiled = self.source.tiled();
        if tiled > 0 {
            record.notices.push(format!(
                "of {tiled} large photographs a part at a time is seen at its own scale, another one after some epochs"
            ));
        }
        let small = self.source.smaller_than(self.size);
        if small > 0 && c.photos.is_some() {
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

fn percent(share: f32) -> String {
    format!("{} %", (share * 1000.0).round() / 10.0)
}

/// Both kinds of photographs in turn, such that `share` of the list is painted, and every photograph is in it at least once.
fn mix(real: &[u32], painted: Vec<u32>, share: f32) -> Vec<u32> {
    let all = (painted.len() as f32 / share).max(real.len() as f32 / (1.0 - share)).round() as usize;
    let before = |i: usize| (i as f32 * share).floor() as usize;
    let at = |i: usize| match before(i + 1) > before(i) {
        true => painted[before(i) % painted.len()],
        false => real[(i - before(i)) % real.len()],
    };
    (0..all).map(at).collect()
}

/// The numbers 0..`count` of the photographs, divided into train, val and test. `key` heads the error if there are too few.
pub(super) fn divide(c: &DataConfig, count: usize, seed: u64, key: &str) -> Result<[Vec<u32>; 3]> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::dataset::Dataset;
    use crate::data::procedural;
    use crate::data::sample::Batch;

    const S: usize = 32;

    /// Windows of contexts of painted photographs.
    fn wide() -> DataConfig {
        DataConfig {
            train_count: 80,
            val_count: 12,
            test_count: 20,
            photographs: 12,
            photograph_scale: 5.0,
            context: 3.0,
            native: 1.0,
            ..DataConfig::default()
        }
    }

    fn all(share: f32) -> AugmentConfig {
        AugmentConfig { before: share, after: share, ..AugmentConfig::default() }
    }

    fn open(c: &DataConfig, a: &AugmentConfig) -> Dataset {
        Dataset::open_processed(c, a, S, 3, |_| ()).unwrap()
    }

    fn made(c: &DataConfig, a: &AugmentConfig) -> Made {
        Made::open(c, a, S, 3, 1 << 26, |_| ()).unwrap()
    }

    fn context(m: &Made, i: u32) -> Context {
        m.context(Split::Train, i, 0, ("train", (i / 2) as u64, false)).unwrap()
    }

    /// Six photographs as PNG files, 150 to 300 pixels a side.
    fn folder() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for i in 0..6 {
            let side = 150 + 30 * i as usize;
            procedural::photograph(8, i, side).save(dir.path().join(format!("{i}.png"))).unwrap();
        }
        dir
    }

    /// Where the picture lies in its photograph, pixel by pixel.
    fn found(s: &Sample) -> Option<(usize, usize)> {
        let photo = Picture::open(s.path.as_ref().unwrap()).unwrap();
        let places = (0..=photo.h - S).flat_map(|y| (0..=photo.w - S).map(move |x| (x, y)));
        places.into_iter().find(|&(x, y)| photo.at(x, y) == s.picture.at(0, 0) && photo.crop(x, y, S, S) == s.picture)
    }

    /// The defaults are a crop, a hole and a fill, each by its own stream, and nothing else: data sets keep their bytes.
    #[test]
    fn without_context_and_processing_nothing_is_drawn_or_done() {
        let c = DataConfig { context: 1.0, native: 0.0, ..wide() };
        let m = made(&c, &AugmentConfig::default());
        for i in [1, 7, 12] {
            let s = m.sample(Split::Train, i, 2).unwrap();
            let draws = |what: &str| Rng::new(3, stream(what) ^ stream("train").rotate_left(1), 2 << 32 | (i / 2) as u64);
            let photo = procedural::photograph(3, s.group.unwrap() as u64, 160);
            let crop = random_crop(&photo, S, (1.0, 4.0), true, &mut draws("crop"));
            let hole = Hole::Rect.draw(S, S, (0.06, 0.25), &mut draws("hole"));
            let forged = m.seen.fill(&crop, &hole, &crop, &mut draws("forge")).unwrap();
            assert_eq!(s.picture, if s.fake { forged } else { crop });
            assert_eq!(s.mask, s.fake.then_some(hole));
        }
        assert_eq!((m.contexts.bytes(), m.forged.bytes()), (0, 0));
    }

    #[test]
    fn a_pair_has_had_the_same_processing() {
        // Steps that know no neighbours: the twins differ inside of the mask alone.
        let points = AugmentConfig {
            resize: 0.0,
            blur: 0.0,
            sharpen: 0.0,
            jpeg: 0.0,
            noise: 0.9,
            noise_sigma: [3.0, 9.0],
            colour: 0.9,
            ..all(1.0)
        };
        let (plain, data) = (open(&wide(), &AugmentConfig::default()), open(&wide(), &points));
        let mut processed = 0;
        for split in [Split::Train, Split::Test, Split::Unseen(3)] {
            for i in (0..20).step_by(2) {
                let (real, fake) = (data.sample(split, i, 0).unwrap(), data.sample(split, i + 1, 0).unwrap());
                let mask = fake.mask.unwrap();
                let differ = |p: usize| real.picture.rgb[p * 3..][..3] != fake.picture.rgb[p * 3..][..3];
                assert!((0..S * S).all(|p| mask.on[p] != 0 || !differ(p)), "{split:?} {i}");
                assert_eq!(real.group, fake.group);
                processed += (plain.sample(split, i, 0).unwrap().picture != real.picture) as usize;
            }
        }
        assert!(processed > 20, "{processed} of 30");
        // Steps that do: most pixels outside are still the same on average.
        let data = open(&wide(), &all(1.0));
        let (mut apart, mut n) = (0u64, 0u64);
        for i in (0..40).step_by(2) {
            let (real, fake) = (data.sample(Split::Train, i, 0).unwrap(), data.sample(Split::Train, i + 1, 0).unwrap());
            let mask = fake.mask.unwrap();
            for p in (0..S * S).filter(|&p| mask.on[p] == 0) {
                apart += (0..3).map(|c| real.picture.rgb[p * 3 + c].abs_diff(fake.picture.rgb[p * 3 + c]) as u64).sum::<u64>();
                n += 3;
            }
        }
        assert!((apart as f64) < 2.0 * n as f64, "{apart} levels on {n} values");
    }

    #[test]
    fn native_crops_are_parts_of_the_photograph_pixel_by_pixel() {
        let dir = folder();
        let c = DataConfig { photos: Some(dir.path().into()), flip: false, crop_scale: [1.3, 4.0], ..wide() };
        for context in [1.0, 3.0] {
            let at = |native| open(&DataConfig { native, context, ..c.clone() }, &AugmentConfig::default());
            let count =
                |d: &Dataset| (0..40).step_by(2).filter(|&i| found(&d.sample(Split::Train, i, 0).unwrap()).is_some()).count();
            assert_eq!((count(&at(1.0)), count(&at(0.0))), (20, 0), "context {context}");
            let half = count(&at(0.5));
            assert!((4..=16).contains(&half), "{half} of 20 at native = 0.5");
        }
    }

    /// Painted photographs come between those of the folder, in training alone, at the share asked for.
    #[test]
    fn painted_photographs_teach_beside_a_folder_and_judge_nothing() {
        let dir = folder();
        let c = DataConfig { photos: Some(dir.path().into()), painted: 0.4, ..wide() };
        let m = made(&c, &AugmentConfig::default());
        let painted = |split, i| m.sample(split, i, 0).unwrap().path.is_none();
        let count = (0..80).step_by(2).filter(|&i| painted(Split::Train, i)).count();
        assert_eq!(count, 16, "of 40 pairs");
        for i in (0..80).step_by(2) {
            assert_eq!(painted(Split::Train, i), painted(Split::Train, i + 1), "pair {i}");
        }
        assert!((0..12).all(|i| !painted(Split::Val, i)) && (0..20).all(|i| !painted(Split::Test, i)));
        assert!(m.files_of(Split::Train).len() < m.files().len());
        let mut record = Provenance::new(S, 0);
        m.describe(&mut record);
        assert!(record.source.contains("40 % of the training crops"), "{}", record.source);
        assert_eq!(record.photographs.unwrap().iter().sum::<usize>(), m.files().len(), "painted ones are not counted");
    }

    #[test]
    fn mixing_keeps_the_share_and_uses_every_photograph() {
        for (real, painted, share) in [(16, 100, 0.4), (500, 20, 0.4), (3, 60, 0.9), (7, 16, 0.05)] {
            let ids: Vec<u32> = (0..real).collect();
            let all = mix(&ids, (real..real + painted).collect(), share);
            let count = all.iter().filter(|&&id| id >= real).count() as f32;
            assert!((count - share * all.len() as f32).abs() <= 1.0, "{count} of {}", all.len());
            assert!((0..real + painted).all(|id| all.contains(&id)), "{real} and {painted} at {share}");
        }
    }

    #[test]
    fn fakes_show_enough_of_the_hole() {
        for (hole, least) in [(Hole::Rect, 0.14), (Hole::Stroke, 0.05), (Hole::Central, 0.14)] {
            let data = open(&DataConfig { hole, forged_least: least, ..wide() }, &all(0.5));
            let mut shares: Vec<f32> = Vec::new();
            for i in (1..80).step_by(2) {
                let mask = data.sample(Split::Train, i, 0).unwrap().mask.unwrap();
                assert_eq!((mask.w, mask.h), (S, S));
                shares.push(mask.area() as f32 / (S * S) as f32);
            }
            assert!(shares.iter().all(|&s| s >= least), "{hole:?}: {shares:?}");
            let (few, full) = (shares.iter().filter(|s| **s < 0.4).count(), shares.iter().filter(|s| **s > 0.8).count());
            // A stroke seldom fills a window.
            assert!(
                few > 2 && (full > 2 || hole == Hole::Stroke),
                "{hole:?}: of 40 windows {few} show little of the hole, {full} little else"
            );
        }
    }

    #[test]
    fn hard_negatives_are_windows_of_forged_pictures_without_a_forged_pixel() {
        let dir = folder();
        let photos = DataConfig { photos: Some(dir.path().into()), flip: false, hard_negatives: 1.0, ..wide() };
        let m = made(&photos, &AugmentConfig::default());
        for i in (0..40).step_by(2) {
            let hard = context(&m, i);
            let (x, y) = hard.beside.expect("a hole that leaves room");
            assert_eq!(hard.mask().crop(x, y, S, S).area(), 0);
            let (real, fake) = (m.sample(Split::Train, i, 0).unwrap(), m.sample(Split::Train, i + 1, 0).unwrap());
            assert!(!real.fake && real.mask.is_none() && real.method.as_ref() == "real" && found(&real).is_some());
            assert!(fake.fake && fake.mask.is_some() && found(&fake).is_none());
        }
        // After processing, too, which moves the hole.
        let m = made(&photos, &AugmentConfig { resize: 1.0, ..all(1.0) });
        for i in (0..40).step_by(2) {
            let hard = context(&m, i);
            assert!(hard.beside.is_none_or(|(x, y)| hard.mask().crop(x, y, S, S).area() == 0));
        }
        let m = made(&DataConfig { hard_negatives: 0.25, ..wide() }, &AugmentConfig::default());
        let some = (0..400).step_by(2).filter(|&i| context(&m, i).beside.is_some()).count();
        assert!((30..70).contains(&some), "{some} of 200");
        let record = open(&DataConfig { hard_negatives: 0.25, ..wide() }, &all(0.5)).describe();
        assert!(record.notices.iter().any(|n| n.contains("genuine windows of forged pictures: 25 %")), "{:?}", record.notices);
        assert!(!record.paired && record.processing.unwrap().contains("JPEG"));
    }

    #[test]
    fn contexts_of_every_scale_give_windows() {
        let a = AugmentConfig { resize: 1.0, blur: 0.0, sharpen: 0.0, noise: 0.0, colour: 0.0, jpeg: 0.0, ..all(1.0) };
        for times in [1.0, 1.5] {
            let m = made(&DataConfig { context: times, hole_side: [0.4, 0.6], ..wide() }, &a);
            let mut sides = std::collections::HashSet::new();
            for i in 0..300 {
                let s = m.sample(Split::Train, i, 0).unwrap();
                assert_eq!((s.picture.w, s.picture.h), (S, S));
                assert!(s.mask.is_none_or(|m| m.area() > 0));
                sides.insert(context(&m, i).side);
            }
            assert!(sides.len() > 15, "{} sides", sides.len());
        }
    }

    #[test]
    fn neither_threads_nor_order_nor_memory_change_a_byte() {
        let dir = folder();
        let painted = DataConfig { native: 0.5, hard_negatives: 0.3, ..wide() };
        let photos = DataConfig { photos: Some(dir.path().into()), split: SplitBy::Crop, ..painted.clone() };
        let apart = DataConfig { paired: false, ..painted.clone() };
        for c in [painted, photos, apart] {
            let fill = |c: &DataConfig, threads: usize, turn: &dyn Fn(&mut Vec<u32>)| {
                let data = open(c, &all(0.5));
                let mut order: Vec<u32> = (0..24).collect();
                turn(&mut order);
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                let mut batch = Batch::default();
                pool.install(|| data.fill(Split::Train, 1, &order, &mut batch)).unwrap();
                let one = |i: u32| {
                    let k = order.iter().position(|&o| o == i).unwrap();
                    (batch.x[k * S * S * 3..][..S * S * 3].to_vec(), batch.mask[k * S * S..][..S * S].to_vec(), batch.group[k])
                };
                (0..24).map(one).collect::<Vec<_>>()
            };
            let first = fill(&c, 1, &|_| ());
            assert!(first == fill(&c, 2, &|o| o.reverse()));
            assert!(first == fill(&DataConfig { cache_mib: 0, ..c.clone() }, 2, &|_| ()));
        }
    }

    #[test]
    fn photographs_smaller_than_a_context_give_smaller_ones() {
        let dir = folder();
        for (name, side) in [("small", 50), ("tiny", 20)] {
            procedural::photograph(9, 1, side).save(dir.path().join(format!("{name}.png"))).unwrap();
        }
        let c = DataConfig { photos: Some(dir.path().into()), split: SplitBy::Crop, hard_negatives: 0.5, ..wide() };
        let data = open(&c, &AugmentConfig::default());
        let mut seen = std::collections::HashSet::new();
        for i in 0..40 {
            let s = data.sample(Split::Train, i, 0).unwrap();
            assert_eq!((s.picture.w, s.picture.h), (S, S));
            assert!(s.mask.is_none_or(|m| m.area() > 0));
            seen.insert(s.group);
        }
        let notices = data.describe().notices;
        assert_eq!(seen.len(), 8);
        for wanted in ["2 photographs are smaller than the context of 96 x 96 pixels", "1 photographs are smaller than 32 x 32"] {
            assert!(notices.iter().any(|n| n.contains(wanted)), "{notices:?}");
        }
    }

    #[test]
    fn impossible_contexts_name_their_key_and_the_remedy() {
        let w = wide;
        for (key, remedy, c) in [
            ("data.native", "0 to 1", DataConfig { native: 1.5, ..w() }),
            ("data.context", "1 (the picture itself)", DataConfig { context: 0.5, ..w() }),
            ("data.context", "1 (the picture itself)", DataConfig { context: f32::NAN, ..w() }),
            ("data.hole_side", "least <= most", DataConfig { hole_side: [2.0, 1.0], ..w() }),
            ("data.hole_side", "data.context larger", DataConfig { hole_side: [3.0, 3.0], ..w() }),
            ("data.forged_least", "data.hole_side", DataConfig { forged_least: 0.5, ..w() }),
            ("data.hard_negatives", "0 to 1", DataConfig { hard_negatives: -0.1, ..w() }),
            ("data.hard_negatives", "data.context = 3", DataConfig { hard_negatives: 0.2, context: 1.0, ..w() }),
            (
                "data.hard_negatives",
                "data.context = 2.5",
                DataConfig { hard_negatives: 0.2, context: 2.0, hole: Hole::Central, ..w() },
            ),
            ("data.photograph_scale", "data.context", DataConfig { photograph_scale: 2.0, ..w() }),
            ("augment.after", "0 to 1", w()),
        ] {
            let a = AugmentConfig { after: if key == "augment.after" { 2.0 } else { 0.0 }, ..AugmentConfig::default() };
            let e = Dataset::open_processed(&c, &a, S, 3, |_| ()).err().unwrap_or_else(|| panic!("{key} accepted")).to_string();
            assert!(e.starts_with(key) && e.contains(remedy), "{key}: {e}");
        }
        let e = Dataset::open(&DataConfig { context: 16.0, photograph_scale: 16.0, ..w() }, 1024, 3).err().unwrap().to_string();
        assert!(e.starts_with("data.context") && e.contains("at most 8"), "{e}");
    }

    /// What a sample of the preset `small` costs: `cargo test --release --lib time_per_sample -- --ignored --nocapture`.
    #[test]
    #[ignore = "prints times and judges nothing"]
    fn time_per_sample() {
        let c = DataConfig {
            photographs: 12,
            photograph_scale: 5.0,
            train_count: 2000,
            test_count: 100,
            context: 3.0,
            native: 0.6,
            hole_side: [0.4, 4.0],
            hard_negatives: 0.25,
            ..DataConfig::default()
        };
        let time = |what: &str, c: &DataConfig, a: &AugmentConfig, split: Split, n: u32| {
            let m = Made::open(c, a, 64, 3, 1 << 28, |_| ()).unwrap();
            (0..24).for_each(|i| drop(m.sample(split, i, 0).unwrap()));
            let start = std::time::Instant::now();
            (0..n).for_each(|i| drop(m.sample(split, i + 24, 0).unwrap()));
            println!("{what}: {:.2} ms per sample", start.elapsed().as_secs_f64() * 1e3 / n as f64);
        };
        let off = AugmentConfig::default();
        time(
            "crops and holes of a picture",
            &DataConfig { context: 1.0, hard_negatives: 0.0, ..c.clone() },
            &off,
            Split::Train,
            1000,
        );
        time("contexts", &c, &off, Split::Train, 1000);
        time("contexts, processed", &c, &all(0.5), Split::Train, 1000);
        for (k, f) in made(&c, &off).unseen().into_iter().enumerate() {
            time(f, &c, &all(0.5), Split::Unseen(k), 40);
        }
    }

    /// What photographs of twelve megapixels cost, epoch by epoch: as above, `time_of_large`.
    #[test]
    #[ignore = "prints times and judges nothing"]
    fn time_of_large_photographs() {
        let dir = tempfile::tempdir().unwrap();
        for i in 0..24 {
            let mut rng = Rng::new(1, 2, i);
            let mut photo = procedural::photograph(8, i, 700).resize_to(4000, 3000);
            photo.rgb.iter_mut().for_each(|v| *v = v.saturating_add((rng.next_u32() >> 30) as u8));
            photo.save(dir.path().join(format!("{i}.jpg"))).unwrap();
        }
        let c = DataConfig {
            photos: Some(dir.path().into()),
            train_count: 1600,
            native: 0.6,
            crop_scale: [1.0, 4.0],
            hard_negatives: 0.25,
            ..wide()
        };
        let data = Dataset::open_processed(&c, &all(0.5), 64, 3, |l| println!("{l}")).unwrap();
        println!("{:?}", data.describe().notices);
        let mut batch = Batch::default();
        for epoch in 0..6 {
            let order = data.epoch_order(Split::Train, epoch, 32);
            let start = std::time::Instant::now();
            order.chunks(32).for_each(|step| data.fill(Split::Train, epoch, step, &mut batch).unwrap());
            println!("epoch {epoch}: {:.2} ms per picture", start.elapsed().as_secs_f64() * 1e3 / order.len() as f64);
        }
    }
}
