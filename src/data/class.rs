//! The pictures of one class of a data set, genuine or forged: each with its mask and its box, read when asked for; what cannot be read is
//! told and counted, as long as it is at most half.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rayon::prelude::*;

use super::layout::Crop;
use super::manifest::{Entry, slashes};
use super::note::Noted;
use super::picture::{Mask, Picture};
use super::sample::Sample;
use super::source::{Skipped, Tell};
use super::walk::{Found, Passed, explained, identity, walk, without_ending};
use crate::error::{Error, Result};
use crate::text::shown;

/// Files of a class whose headers are read when the folder is opened. Files after these are first read when a picture is asked for.
const PROBED: usize = 4000;

/// A picture file, its mask file, what the manifest says of it.
pub struct Item {
    pub path: PathBuf,
    pub mask: Option<PathBuf>,
    pub entry: Option<Entry>,
    /// The part that is used, of picture, mask and original.
    pub crop: Option<Crop>,
    /// Of the manifest that names the picture; 0 where none does.
    pub line: usize,
}

/// The pictures of one class folder: genuine or forged.
pub struct Class {
    pub items: Vec<Item>,
    /// Files found, readable or not.
    found: usize,
    /// Of all pictures, reckoned from those whose headers were read.
    pub pixels: u64,
    pub skipped: Skipped,
    /// The folder; of a manifest its path and the name of the class.
    pub dir: PathBuf,
    /// As reports name it: `train/fake`.
    pub name: String,
}

impl Item {
    /// The picture and its mask, both `size` × `size`; without a size as they are.
    pub fn load(&self, size: Option<usize>, noted: &Noted) -> Result<(Picture, Option<Mask>)> {
        let opened = Picture::open_noted(&self.path)?;
        noted.add(&self.path, &opened.notes);
        let shape = opened.shape();
        let picture = match (size, self.crop) {
            (Some(size), None) => {
                let small = opened.picture.resize(size);
                drop(opened);
                small
            }
            (None, None) => opened.picture,
            (size, Some(crop)) => {
                crop.check(&self.path, shape.shown(), self.line)?;
                let part = cut(&opened.picture, crop);
                drop(opened);
                size.map_or_else(|| part.clone(), |size| part.resize(size))
            }
        };
        let mask = match &self.mask {
            Some(path) => {
                let (mask, notes) = Mask::fitted(path, shape)?;
                noted.add(path, &notes);
                let mask = self.crop.map_or_else(|| mask.clone(), |c| mask.crop(c.x, c.y, c.w, c.h));
                Some(size.map_or_else(|| mask.clone(), |size| mask.resize_to(size, size))).filter(|m| m.area() > 0)
            }
            None => None,
        };
        Ok((picture, mask))
    }

    /// The picture `original` as this fake's was cut.
    pub fn untouched(&self, original: &Path) -> Result<Picture> {
        let picture = Picture::open(original)?;
        match self.crop {
            None => Ok(picture),
            Some(crop) => crop.check(original, (picture.w, picture.h), self.line).map(|()| cut(&picture, crop)),
        }
    }

    /// Width and height in pixels, of the part that is used.
    pub fn size(&self) -> Result<(usize, usize)> {
        self.crop.map_or_else(|| Picture::probe(&self.path), |c| Ok((c.w, c.h)))
    }

    pub fn sample(&self, picture: Picture, mask: Option<Mask>, fake: bool, method: Arc<str>) -> Sample {
        let entry = self.entry.as_ref();
        Sample {
            picture,
            mask,
            fake,
            method,
            group: entry.and_then(|e| e.group),
            fingerprinted: entry.is_some_and(|e| e.fingerprinted),
            path: Some(self.path.clone()),
        }
    }
}

impl Class {
    /// Lists a folder of pictures, pairs each with a mask if there is a mask folder, and drops what is unreadable.
    pub fn open(
        root: &Path,
        dir: &Path,
        masks: Option<&Path>,
        manifest: &HashMap<String, Entry>,
        tell: Tell,
        passed: &mut Passed,
    ) -> Result<Class> {
        if !dir.is_dir() {
            return Err(Error::data(
                dir,
                "this folder is missing; a data set has DIR/{train,val,test}/{real,fake}/ (and mask/), and \
                 DIR/unseen/<method>/fake/",
            ));
        }
        // With masks a file counts under each of its names until pairs are made.
        let Found { pictures: files, passed: beside } = walk(dir, masks.is_some())?;
        passed.join(beside);
        let mut masks = masks.map(|m| stems(m, passed)).transpose()?;
        let (mut items, mut names) = (Vec::new(), HashSet::new());
        let mut stems_seen: HashMap<String, PathBuf> = HashMap::new();
        for path in files {
            let stem = stem(dir, &path);
            let mask = match &mut masks {
                None => None,
                Some(of) => {
                    if let Some(twin) = stems_seen.insert(stem.clone(), path.clone()) {
                        return Err(Error::data(
                            &path,
                            format!("has the same stem as {}, so that their mask is ambiguous; rename one", shown(&twin)),
                        ));
                    }
                    Some(of.1.remove(&stem).ok_or_else(|| {
                        Error::data(
                            &path,
                            format!("no mask with the stem \"{stem}\" in {}; add it, or remove the picture", shown(&of.0)),
                        )
                    })?)
                }
            };
            let entry = path.strip_prefix(root).ok().and_then(|p| manifest.get(&slashes(p)).cloned());
            match identity(&path) {
                Ok(id) if !names.insert(id.clone()) => passed.add_name(&path),
                _ => items.push(Item { path, mask, entry, crop: None, line: 0 }),
            }
        }
        if let Some((_, left)) = &masks
            && let Some((stem, path)) = left.iter().min()
        {
            return Err(Error::data(
                path,
                format!(
                    "a mask without a picture: no file with the stem \"{stem}\" in {}; add the picture or remove the mask",
                    shown(dir)
                ),
            ));
        }
        if items.is_empty() {
            return Err(Error::data(dir, "no pictures in this folder; put png, jpeg, webp, bmp, tiff, gif or pnm files here"));
        }
        Class::of(items, dir, slashes(dir.strip_prefix(root).unwrap_or(dir)), tell)
    }

    /// The class of these pictures, of which at least one must be there. `dir` and `name`: see the fields.
    pub fn of(items: Vec<Item>, dir: &Path, name: String, tell: Tell) -> Result<Class> {
        let found = items.len();
        let mut class = Class { items, found, pixels: 0, skipped: Skipped::new(tell), dir: dir.to_path_buf(), name };
        class.probe()?;
        Ok(class)
    }

    /// Drops files whose headers are unreadable. A mask of another shape is an error: a wrong pairing, not a bad file.
    fn probe(&mut self) -> Result<()> {
        // Outer error: the pairing is wrong; inner: the file is bad.
        let probe = |item: &Item| -> Result<Result<u64>> {
            let shape = match Picture::shape(&item.path).map_err(explained) {
                Ok(shape) => shape,
                Err(e) => return Ok(Err(e)),
            };
            if let Some(crop) = item.crop {
                crop.check(&item.path, shape.shown(), item.line)?;
            }
            let pixels = item.crop.map_or(shape.w * shape.h, |c| c.w * c.h) as u64;
            match item.mask.as_ref().map(|mask| (mask, Picture::probe(mask))) {
                None => Ok(Ok(pixels)),
                Some((_, Err(e))) => Ok(Err(e)),
                Some((mask, Ok(of_mask))) => Mask::check_fits(mask, of_mask, shape).map(|()| Ok(pixels)),
            }
        };
        let probes: Vec<_> = self.items.par_iter().take(PROBED).map(probe).collect();
        let mut bad = Vec::new();
        for (i, probe) in probes.into_iter().enumerate() {
            match probe? {
                Ok(pixels) => self.pixels += pixels,
                Err(e) => {
                    self.skipped.report(&self.items[i].path, &e);
                    bad.push(i);
                }
            }
        }
        self.pixels = self.pixels * self.items.len() as u64 / self.items.len().clamp(1, PROBED) as u64;
        self.drop_items(&bad)
    }

    /// Leaves out the items of these numbers, in order. An error if too many are left out by now.
    fn drop_items(&mut self, bad: &[usize]) -> Result<()> {
        self.mostly_readable()?;
        let mut i = 0;
        self.items.retain(|_| {
            i += 1;
            bad.binary_search(&(i - 1)).is_err()
        });
        Ok(())
    }

    /// Reads every mask now, so that no training ends with masks that cannot be used. One that covers nothing says nothing of where,
    /// and its picture is used without it; one that cannot be read costs its picture. The notices for the report.
    pub fn settle_masks(&mut self, size: usize) -> Result<Vec<String>> {
        let share = |item: &Item| -> Option<Result<usize>> {
            let mask = item.mask.as_ref()?;
            let fitted = Picture::shape(&item.path).and_then(|shape| Mask::fitted(mask, shape));
            Some(fitted.map(|(m, _)| {
                let part = item.crop.map_or_else(|| m.clone(), |c| m.crop(c.x, c.y, c.w, c.h));
                part.resize_to(size, size).area()
            }))
        };
        let areas: Vec<_> = self.items.par_iter().with_max_len(1).map(share).collect();
        let total = areas.iter().flatten().count();
        let (mut bad, mut nothing, mut everything) = (Vec::new(), Vec::new(), Vec::new());
        for (i, area) in areas.into_iter().enumerate() {
            match area {
                Some(Err(e)) => {
                    self.skipped.report(&self.items[i].path, &e);
                    bad.push(i);
                }
                Some(Ok(0)) => nothing.extend(self.items[i].mask.take()),
                Some(Ok(area)) if area == size * size => everything.extend(self.items[i].mask.clone()),
                _ => {}
            }
        }
        self.drop_items(&bad)?;
        let rows = [
            (nothing, "nothing", "their pictures are used without masks"),
            (everything, "everything", "no map is judged by them"),
        ];
        let notice = |(masks, what, so): (Vec<PathBuf>, &str, &str)| {
            let first = shown(masks.first()?);
            Some(format!("{} of {total} masks cover {what} at {size} × {size} pixels ({first} first): {so}", masks.len()))
        };
        Ok(rows.into_iter().filter_map(notice).collect())
    }

    pub fn mostly_readable(&self) -> Result<()> {
        let bad = self.skipped.count();
        if bad * 2 > self.found {
            return Err(Error::data(
                &self.dir,
                format!(
                    "{bad} of {} pictures (or their masks) cannot be read: more than half; copy the folder again",
                    self.found
                ),
            ));
        }
        Ok(())
    }

    pub fn formats(&self) -> BTreeMap<String, usize> {
        let mut formats = BTreeMap::new();
        for item in &self.items {
            let ending = item.path.extension().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
            let format = match ending.as_str() {
                "jpeg" | "jpe" | "jfif" => "jpg".into(),
                "dib" => "bmp".into(),
                "tiff" => "tif".into(),
                "apng" => "png".into(),
                _ => ending,
            };
            *formats.entry(format).or_default() += 1;
        }
        formats
    }
}

/// A part of a picture.
fn cut(picture: &Picture, c: Crop) -> Picture {
    picture.crop(c.x, c.y, c.w, c.h)
}

/// A mask folder and its files by stem.
fn stems(dir: &Path, passed: &mut Passed) -> Result<(PathBuf, HashMap<String, PathBuf>)> {
    let mut by_stem = HashMap::new();
    let found = walk(dir, true)?;
    passed.join(found.passed);
    for path in found.pictures {
        if let Some(twin) = by_stem.insert(stem(dir, &path), path.clone()) {
            return Err(Error::data(&path, format!("has the same stem as {}; remove one of the two masks", shown(&twin))));
        }
    }
    Ok((dir.to_path_buf(), by_stem))
}

/// The path below `dir` without the ending of a picture, with forward slashes.
fn stem(dir: &Path, path: &Path) -> String {
    slashes(&without_ending(path.strip_prefix(dir).unwrap_or(path)))
}
