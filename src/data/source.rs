//! Where genuine pictures come from: a folder of photographs, or the built-in painter.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use rayon::prelude::*;

use super::cache::Cache;
use super::duplicates::{copies, copies_notice};
use super::held::{Held, Keep};
use super::note::Noted;
use super::picture::Picture;
use super::procedural;
use super::walk::{Found, Passed, explained, walk};
use crate::core::rng::Rng;
use crate::error::{Error, Result};
use crate::text::line;

/// Photographs that are numbered 0..len and made or read when first asked for.
pub struct Source {
    kind: Kind,
    /// Painted photographs beside those of a folder, numbered from [`Source::len`] on.
    beside: Painter,
    /// By photograph and generation of its tile.
    cache: Cache<(u32, u32), Held>,
}

enum Kind {
    Photos { files: Vec<PathBuf>, sizes: Vec<(usize, usize)>, keep: Keep, skipped: Skipped, notices: Vec<String>, noted: Noted },
    Procedural(Painter),
}

/// `count` painted photographs of `side` × `side` pixels.
#[derive(Clone, Copy, Default)]
struct Painter {
    seed: u64,
    count: usize,
    side: usize,
}

impl Painter {
    fn paint(&self, number: u64) -> Held {
        Held::whole(procedural::photograph(self.seed, number, self.side))
    }
}

/// Takes one line of text for the user, from any thread.
pub type Tell = fn(&str);

/// Files that could not be used: the user is told of each once, and all are counted.
pub struct Skipped {
    tell: Tell,
    files: Mutex<HashSet<PathBuf>>,
}

impl Skipped {
    /// No file yet.
    pub fn new(tell: Tell) -> Skipped {
        Skipped { tell, files: Mutex::default() }
    }

    /// Tells of the error unless its file was reported before.
    pub fn report(&self, file: &Path, error: &Error) {
        let new = self.files.lock().unwrap_or_else(|p| p.into_inner()).insert(file.to_path_buf());
        if new {
            (self.tell)(&format!("skipped   {}", line(&error.to_string())));
        }
    }

    /// Files reported so far.
    pub fn count(&self) -> usize {
        self.files.lock().unwrap_or_else(|p| p.into_inner()).len()
    }
}

/// Tells in one line what a walk did not give, if anything.
pub fn tell_passed(passed: &Passed, tell: Tell) {
    if !passed.is_empty() {
        tell(&format!("passed over: {}", passed.line()));
    }
}

/// What shows that a folder is a data set (`train/fake, test/fake`), not a collection of photographs.
pub fn data_set_in(dir: &Path) -> Option<String> {
    let there = |split: &&str| dir.join(split).join("fake").is_dir() && dir.join(split).join("real").is_dir();
    let splits: Vec<&str> = ["train", "val", "test"].into_iter().filter(there).collect();
    (!splits.is_empty()).then(|| splits.iter().map(|s| format!("{s}/real, {s}/fake")).collect::<Vec<_>>().join(", "))
}

/// Takes copies of earlier photographs out of the list, and gives the notice about them.
fn leave_out_copies(files: &mut Vec<PathBuf>, sizes: &mut Vec<(usize, usize)>, dir: &Path, tell: Tell) -> Option<String> {
    let pixels = sizes.iter().map(|(w, h)| (w * h) as u64).sum();
    let copies = copies(files, pixels, dir, tell);
    let notice = copies_notice(&copies, files, dir)?;
    tell(&format!("note      {notice}"));
    let out: HashSet<usize> = copies.iter().map(|c| c.0).collect();
    let mut i = 0..;
    files.retain(|_| !out.contains(&i.next().expect("endless")));
    let mut i = 0..;
    sizes.retain(|_| !out.contains(&i.next().expect("endless")));
    Some(notice)
}

impl Source {
    /// The built-in source: `count` photographs of `side` × `side` pixels. Nothing is painted yet.
    pub fn procedural(seed: u64, count: usize, side: usize, cache_bytes: usize) -> Source {
        let kind = Kind::Procedural(Painter { seed, count, side });
        Source { kind, beside: Painter::default(), cache: Cache::new(cache_bytes) }
    }

    /// Adds `count` painted photographs of `side` × `side` pixels to those of a folder, and gives their numbers. They have no file,
    /// and [`Source::len`] does not count them.
    pub fn paint_beside(&mut self, seed: u64, count: usize, side: usize) -> std::ops::Range<u32> {
        self.beside = Painter { seed, count, side };
        self.len() as u32..(self.len() + count) as u32
    }

    /// A folder of photographs, searched recursively. Only headers are read here; an unreadable file is skipped, told to
    /// `tell` and counted; a folder without a readable one is an error. `keep` says for a number of photographs what is kept of
    /// each. Copies of a photograph are left out, with a notice, so that no two splits share it; `duplicates` keeps them.
    pub fn photos(
        dir: &Path,
        keep: impl FnOnce(usize) -> Keep,
        cache_bytes: usize,
        duplicates: bool,
        tell: Tell,
    ) -> Result<Source> {
        if !dir.is_dir() {
            return Err(Error::data(dir, "no such folder; data.photos wants a folder of photographs"));
        }
        let Found { pictures: found, passed } = walk(dir, false)?;
        tell_passed(&passed, tell);
        let skipped = Skipped::new(tell);
        let probed: Vec<Result<(usize, usize)>> = found.par_iter().map(|f| Picture::probe(f).map_err(explained)).collect();
        let (mut files, mut sizes) = (Vec::new(), Vec::new());
        for (file, probe) in found.into_iter().zip(probed) {
            match probe {
                Ok(size) => {
                    files.push(file);
                    sizes.push(size);
                }
                Err(e) => skipped.report(&file, &e),
            }
        }
        if files.is_empty() {
            return Err(Error::data(
                dir,
                format!(
                    "no readable photograph in this folder ({} skipped{}); give a folder of png, jpeg, webp, bmp, tiff, gif or pnm files",
                    skipped.count(),
                    if passed.is_empty() { String::new() } else { format!("; passed over: {}", passed.line()) }
                ),
            ));
        }
        let mut notices: Vec<String> = passed.notice().into_iter().collect();
        if let Some(found) = data_set_in(dir) {
            let notice = format!(
                "the folder of photographs is a data set ({found}): its forgeries and masks were taken for photographs; \
                 --data reads it as a data set"
            );
            tell(&format!("note      {notice}"));
            notices.push(notice);
        }
        if !duplicates {
            notices.extend(leave_out_copies(&mut files, &mut sizes, dir, tell));
        }
        let keep = keep(files.len());
        let bytes = sizes.iter().map(|&s| keep.bytes(s)).sum::<usize>();
        if bytes > cache_bytes && sizes.iter().any(|&s| keep.tiled(s)) {
            let notice = format!(
                "{} photographs take {} MiB, and data.cache_mib leaves {} MiB for them: they are decoded again and again; \
                 the same pictures come faster with data.cache_mib = {}",
                files.len(),
                bytes >> 20,
                cache_bytes >> 20,
                3 * (bytes >> 20).max(1)
            );
            tell(&format!("note      {notice}"));
        }
        let kind = Kind::Photos { files, sizes, keep, skipped, notices, noted: Noted::new(tell) };
        Ok(Source { kind, beside: Painter::default(), cache: Cache::new(cache_bytes) })
    }

    /// Number of photographs, at least 1.
    pub fn len(&self) -> usize {
        match &self.kind {
            Kind::Photos { files, .. } => files.len(),
            Kind::Procedural(p) => p.count,
        }
    }

    /// Number of painted photographs beside those of a folder.
    pub fn painted_beside(&self) -> usize {
        self.beside.count
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Files that turned out unreadable so far.
    pub fn skipped(&self) -> usize {
        match &self.kind {
            Kind::Photos { skipped, .. } => skipped.count(),
            Kind::Procedural(_) => 0,
        }
    }

    /// What a reader must know: pictures that were passed over, copies that were left out, what was decided about photographs on
    /// reading them.
    pub fn notices(&self) -> Vec<String> {
        match &self.kind {
            Kind::Photos { notices, noted, .. } => notices.iter().cloned().chain(noted.sentences()).collect(),
            Kind::Procedural(_) => Vec::new(),
        }
    }

    /// Photographs with a short side below `side` pixels.
    pub fn smaller_than(&self, side: usize) -> usize {
        match &self.kind {
            Kind::Photos { sizes, .. } => sizes.iter().filter(|(w, h)| *w.min(h) < side).count(),
            Kind::Procedural(p) => {
                if p.side < side {
                    p.count
                } else {
                    0
                }
            }
        }
    }

    /// Photographs of which only a part at a time is kept at their own scale.
    pub fn tiled(&self) -> usize {
        match &self.kind {
            Kind::Photos { sizes, keep, .. } => sizes.iter().filter(|s| keep.tiled(**s)).count(),
            Kind::Procedural(_) => 0,
        }
    }

    /// The number of the tiles that epoch `epoch` sees, where each of `pairs` pairs of crops visits one of `count` photographs.
    pub fn generation(&self, epoch: u32, pairs: usize, count: usize) -> u32 {
        match &self.kind {
            Kind::Photos { keep, .. } => epoch / (keep.visits() * count / pairs.max(1)).clamp(1, u32::MAX as usize) as u32,
            Kind::Procedural(_) => 0,
        }
    }

    /// The file of a photograph; none for a painted one.
    pub fn path(&self, id: u32) -> Option<&Path> {
        match &self.kind {
            Kind::Photos { files, .. } => files.get(id as usize).map(PathBuf::as_path),
            Kind::Procedural(_) => None,
        }
    }

    /// What is kept of a photograph: from the cache, or read from its file, or painted. `generation` numbers the tiles of those
    /// of which only a part is kept.
    pub fn photograph(&self, id: u32, generation: u32) -> Result<Arc<Held>> {
        let generation = match &self.kind {
            Kind::Photos { sizes, keep, .. } if sizes.get(id as usize).is_some_and(|&s| keep.tiled(s)) => generation,
            _ => 0,
        };
        self.cache.get_or(&(id, generation), || {
            let held = match &self.kind {
                Kind::Procedural(painter) => painter.paint(id as u64),
                Kind::Photos { files, .. } if id as usize >= files.len() => self.beside.paint((id as usize - files.len()) as u64),
                Kind::Photos { files, keep, noted, .. } => {
                    let opened = Picture::open_noted(&files[id as usize])?;
                    noted.add(&files[id as usize], &opened.notes);
                    let picture = opened.picture;
                    keep.cut(picture, id, generation)
                }
            };
            let bytes = held.bytes();
            Ok((held, bytes))
        })
    }

    /// A photograph at its own size, not from the cache and not kept: read from its file, or painted with a side of `side`
    /// pixels (the picture of another side is another picture).
    pub fn original(&self, id: u32, side: usize) -> Result<Picture> {
        match &self.kind {
            Kind::Procedural(painter) => Ok(Painter { side, ..*painter }.paint(id as u64).at(true).clone()),
            Kind::Photos { files, noted, .. } => {
                let opened = Picture::open_noted(&files[id as usize])?;
                noted.add(&files[id as usize], &opened.notes);
                Ok(opened.picture)
            }
        }
    }

    /// Width and height of [`Source::original`], from the header of the file.
    pub fn original_size(&self, id: u32, side: usize) -> Result<(usize, usize)> {
        match &self.kind {
            Kind::Procedural(_) => Ok((side, side)),
            Kind::Photos { files, .. } => Picture::probe(&files[id as usize]),
        }
    }

    /// The first usable photograph of `ids`, starting at position `start` and going round. A file that is found broken only
    /// when it is decoded is passed over, so that the same start gives the same photograph every time.
    pub fn usable(&self, ids: &[u32], start: usize, generation: u32) -> Result<(u32, Arc<Held>)> {
        let mut last = None;
        for step in 0..ids.len() {
            let id = ids[(start + step) % ids.len()];
            match self.photograph(id, generation) {
                Ok(held) => return Ok((id, held)),
                Err(e) => {
                    if let Kind::Photos { files, skipped, .. } = &self.kind {
                        skipped.report(&files[id as usize], &e);
                    }
                    last = Some(e);
                }
            }
        }
        Err(last.unwrap_or_else(|| Error::config("data.photographs", "there are no photographs in this split; give more")))
    }
}

/// A square window of a photograph as `size` × `size` pixels: side log-uniform between `scale.0` and `scale.1` times `size` (as far
/// as the photograph goes), anywhere, flipped half of the time, resized with antialiasing, rounded to 8 bits. Genuine pictures
/// and the crops that fakes are made from both come from this function, so that resizing tells nothing of the label.
pub fn random_crop(photograph: &Picture, size: usize, scale: (f32, f32), flip: bool, rng: &mut Rng) -> Picture {
    let short = photograph.short_side();
    let limit = |s: f32| ((size as f32 * s).round() as usize).clamp(1, short);
    let (lo, hi) = (limit(scale.0), limit(scale.1));
    let side = ((lo as f32 * (hi as f32 / lo as f32).powf(rng.unit())).round() as usize).clamp(lo, hi);
    let (x, y) = (rng.below(photograph.w - side + 1), rng.below(photograph.h - side + 1));
    let flipped = rng.unit() < 0.5 && flip;
    // At the photograph's own scale pixels are copied.
    let crop = match side == size {
        true => photograph.crop(x, y, side, side),
        false => photograph.resize_window((x as f64, y as f64, side as f64, side as f64), size, size),
    };
    if flipped { crop.flip() } else { crop }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::core::rng::stream;

    #[test]
    fn crops_are_square_fresh_and_inside() {
        let photo = procedural::photograph(3, 0, 100);
        let mut seen = HashSet::new();
        for i in 0..20 {
            let c = random_crop(&photo, 32, (1.0, 4.0), true, &mut Rng::new(1, stream("crop"), i));
            assert_eq!((c.w, c.h), (32, 32));
            seen.insert(c.rgb);
        }
        assert_eq!(seen.len(), 20);
        // At scale 1 a crop is a part of the photograph, pixel by pixel, flipped or not.
        for i in 0..20 {
            let c = random_crop(&photo, 32, (1.0, 1.0), true, &mut Rng::new(2, stream("crop"), i));
            let parts = (0..=68).flat_map(|y| (0..=68).map(move |x| (x, y)));
            let found = parts.map(|(x, y)| photo.crop(x, y, 32, 32)).any(|p| p == c || p == c.flip());
            assert!(found, "crop {i} was resampled");
        }
        // A photograph smaller than the crop is enlarged, one pixel too.
        assert_eq!(random_crop(&Picture::new(1, 1), 32, (1.0, 4.0), true, &mut Rng::new(1, 1, 1)).w, 32);
    }

    #[test]
    fn a_folder_with_bad_files_gives_the_good_ones() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("deep/er")).unwrap();
        for i in 0..3 {
            procedural::photograph(1, i, 40).save(dir.path().join(format!("deep/er/{i}.png"))).unwrap();
        }
        fs::write(dir.path().join("broken.png"), b"not a picture").unwrap();
        fs::write(dir.path().join("README.md"), b"words").unwrap();
        // A sound header with half of its data: found when it is read.
        let bytes = procedural::photograph(1, 9, 40).to_png().unwrap();
        fs::write(dir.path().join("aaa.png"), &bytes[..bytes.len() / 2]).unwrap();
        let source = Source::photos(dir.path(), |_| Keep::shrunk(32), 1 << 20, false, |_| ()).unwrap();
        assert_eq!((source.len(), source.skipped()), (4, 1));
        assert_eq!((source.smaller_than(41), source.smaller_than(40)), (4, 0));
        let ids: Vec<u32> = (0..4).collect();
        let (id, held) = source.usable(&ids, 0, 0).unwrap();
        assert_eq!((id, held.at(false).short_side(), source.skipped()), (1, 32, 2));

        let empty = tempfile::tempdir().unwrap();
        fs::write(empty.path().join("broken.jpg"), b"x").unwrap();
        let e = Source::photos(empty.path(), |_| Keep::shrunk(32), 0, false, |_| ()).err().unwrap().to_string();
        assert!(e.contains("no readable photograph") && e.contains("1 skipped"), "{e}");
    }
}
