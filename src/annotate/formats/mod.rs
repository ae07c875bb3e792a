//! Masks from and for other programs: a folder of pictures, labelme's JSON, COCO's JSON with run-length encodings.
//!
//! An import is read and checked whole before anything is taken from it. Its masks count as files, not as a person's.

mod coco;
mod folder;
mod labelme;
mod pair;
mod polygon;
mod rle;

use std::collections::BTreeMap;
use std::path::Path;

use pair::{Found, Out};

use super::clock;
use super::queue::{Item, Queue};
use super::store::Store;
use crate::data::{Mask, MaskOrigin};
use crate::error::{Error, Result};
use crate::train::masks::{Annotation, Outcome};

/// What can be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    Folder,
    Labelme,
    Coco,
    CocoLists,
}

const NAMES: [(&str, Format); 4] =
    [("folder", Format::Folder), ("labelme", Format::Labelme), ("coco", Format::Coco), ("coco-lists", Format::CocoLists)];

impl std::str::FromStr for Format {
    type Err = Error;

    fn from_str(word: &str) -> Result<Format> {
        NAMES.iter().find(|(name, _)| *name == word).map(|(_, f)| *f).ok_or_else(|| {
            let names: Vec<&str> = NAMES.iter().map(|n| n.0).collect();
            Error::config("--export", format!("{word:?} is not a format; one of {}", names.join(", ")))
        })
    }
}

/// What an import did.
#[derive(Debug, Default)]
pub struct Done {
    pub taken: usize,
    /// Pictures with a finished mask, which was kept.
    pub kept: usize,
    /// Masks of pictures that were not chosen.
    pub others: usize,
    pub notes: Vec<String>,
}

impl Done {
    pub fn words(&self) -> String {
        let mut words = format!("{} masks taken", self.taken);
        if self.kept > 0 {
            words += &format!("; {} pictures have a finished mask, which was kept (--replace takes the file's)", self.kept);
        }
        if self.others > 0 {
            words += &format!("; {} masks belong to no chosen picture", self.others);
        }
        words
    }
}

/// Takes masks from `path`: a folder of pictures or of labelme files, one labelme file, or a COCO file.
pub fn import(queue: &Queue, store: &mut Store, path: &Path, by: &str, replace: bool) -> Result<Done> {
    let mut notes = Vec::new();
    let (kind, found) = read(path, &mut notes)?;
    let mut done = Done { notes, ..Done::default() };
    let mut masks: BTreeMap<usize, (Mask, &Found)> = BTreeMap::new();
    for f in &found {
        let Some(place) = find(&queue.items, &f.name) else {
            done.others += 1;
            continue;
        };
        if let Some((_, before)) = masks.get(&place) {
            let why = format!("is for the same picture as {}: remove one of the two", crate::text::shown(&before.file));
            return Err(Error::data(&f.file, why));
        }
        let mask = fitted(f, &queue.items[place], &mut done.notes)?;
        match mask.area() {
            0 => done.notes.push(format!(
                "{}: the mask of {} is empty: not taken",
                crate::text::shown(&f.file),
                crate::text::line(&f.name)
            )),
            _ => drop(masks.insert(place, (mask, f))),
        }
    }
    if found.len() == done.others {
        let why = format!(
            "{} masks, and none of a chosen picture: a mask has the name of its picture ({}) or of its mask ({})",
            found.len(),
            queue.items.first().map_or("", |i| &i.picture),
            queue.items.first().map_or("", |i| &i.name)
        );
        return Err(Error::data(path, why));
    }
    for (place, (mask, _)) in masks {
        let item = &queue.items[place];
        if !replace && store.latest(item.index).is_some_and(|a| a.outcome == Outcome::Masked) {
            done.kept += 1;
            continue;
        }
        let line = Annotation {
            index: item.index,
            name: item.name.clone(),
            picture: item.picture.clone(),
            outcome: Outcome::Masked,
            reason: String::new(),
            by: by.into(),
            when: clock::now(),
            seconds: 0.0,
            tools: vec![format!("import {kind}")],
            first: "file".into(),
            edits: 0,
            area: mask.area() as f64 / (mask.w * mask.h) as f64,
            crc32c: None,
            origin: MaskOrigin::File,
        };
        store.settle(line, Some(&mask))?;
        done.taken += 1;
    }
    Ok(done)
}

/// The name of the format, and its masks.
fn read(path: &Path, notes: &mut Vec<String>) -> Result<(&'static str, Vec<Found>)> {
    let is_json = |p: &Path| p.extension().is_some_and(|e| e.eq_ignore_ascii_case("json"));
    if path.is_dir() {
        let mut files = Vec::new();
        below(path, &mut files)?;
        files.retain(|f| is_json(f));
        return match files.is_empty() {
            false => Ok(("labelme", files.iter().map(|f| labelme::read(f, notes)).collect::<Result<_>>()?)),
            true => Ok(("folder", folder::read(path, notes)?)),
        };
    }
    let text = std::fs::read(path).map_err(|e| Error::io(path, e))?;
    let value: serde_json::Value = serde_json::from_slice(&text).map_err(|e| {
        Error::data(path, format!("is neither a folder nor JSON ({e}): give a folder of masks, labelme JSON or COCO JSON"))
    })?;
    match (value.get("shapes").is_some(), value.get("annotations").is_some()) {
        (true, false) => Ok(("labelme", vec![labelme::read(path, notes)?])),
        (false, true) => Ok(("coco", coco::read(path, &value, notes)?)),
        _ => Err(Error::data(path, "is neither labelme JSON (key shapes) nor COCO JSON (keys images and annotations)")),
    }
}

/// Every file below a folder, in the order of names.
fn below(dir: &Path, files: &mut Vec<std::path::PathBuf>) -> Result<()> {
    let mut here: Vec<_> = std::fs::read_dir(dir).map_err(|e| Error::io(dir, e))?.flatten().collect();
    here.sort_by_key(|e| e.file_name());
    for entry in here {
        match entry.file_type().map_err(|e| Error::io(entry.path(), e))? {
            t if t.is_dir() => below(&entry.path(), files)?,
            _ => files.push(entry.path()),
        }
    }
    Ok(())
}

/// The picture that a name means: its path, with or without ending; the name of its mask; or the name of its file, if that is the
/// only one of that name.
fn find(items: &[Item], name: &str) -> Option<usize> {
    let name = name.replace('\\', "/");
    let bare = |n: &str| match n.rsplit_once('.') {
        Some((stem, ending)) if !ending.contains('/') && !stem.is_empty() => stem.to_string(),
        _ => n.to_string(),
    };
    let last = |n: &str| n.rsplit('/').next().unwrap_or(n).to_string();
    let one = |same: &dyn Fn(&Item) -> bool| {
        let mut all = items.iter().enumerate().filter(|(_, i)| same(i));
        let first = all.next()?;
        all.next().is_none().then_some(first.0)
    };
    one(&|i| i.name == bare(&last(&name)))
        .or_else(|| one(&|i| !i.picture.is_empty() && i.picture == name))
        .or_else(|| one(&|i| !i.picture.is_empty() && bare(&i.picture) == bare(&name)))
        .or_else(|| one(&|i| !i.picture.is_empty() && bare(&i.picture).ends_with(&format!("/{}", bare(&name)))))
        .or_else(|| one(&|i| !i.picture.is_empty() && bare(&last(&i.picture)) == bare(&last(&name))))
}

/// The mask at the size of its picture. A smaller one of the same shape is enlarged, with a note; any other is refused.
fn fitted(found: &Found, item: &Item, notes: &mut Vec<String>) -> Result<Mask> {
    let (m, w, h) = (&found.mask, item.w, item.h);
    if let Some(why) = &item.broken {
        return Err(Error::data(&found.file, format!("its picture cannot be read: {why}")));
    }
    if (m.w, m.h) == (w, h) {
        return Ok(m.clone());
    }
    if m.w > w || m.h > h {
        let why = format!(
            "the mask of {} is {} x {} pixels, larger than its picture ({w} x {h}): make it from this very picture",
            crate::text::line(&found.name),
            m.w,
            m.h
        );
        return Err(Error::data(&found.file, why));
    }
    Mask::check_shape(&found.file, (m.w, m.h), (w, h))?;
    notes.push(format!("{}: enlarged from {} x {} to {w} x {h} pixels", crate::text::shown(&found.file), m.w, m.h));
    Ok(m.resize_to(w, h))
}

/// Writes the finished masks to `path`, which must not exist; how many.
pub fn export(queue: &Queue, store: &Store, format: Format, path: &Path) -> Result<usize> {
    if path.symlink_metadata().is_ok() {
        return Err(Error::data(path, "exists already: give another name"));
    }
    let mut out = Vec::new();
    for item in &queue.items {
        let line = store.latest(item.index);
        if line.is_some_and(|a| a.outcome != Outcome::Masked) {
            continue;
        }
        if let Some(mask) = store.mask(item.index)? {
            out.push(Out { item, mask, line });
        }
    }
    if out.is_empty() {
        return Err(Error::data(path, "there are no finished masks to export yet"));
    }
    match format {
        Format::Folder => folder::write(path, &out)?,
        Format::Labelme => labelme::write(path, &out)?,
        Format::Coco => coco::write(path, &out, true)?,
        Format::CocoLists => coco::write(path, &out, false)?,
    }
    Ok(out.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(index: u32, picture: &str) -> Item {
        Item { index, name: crate::train::masks::name(index), picture: picture.into(), w: 8, h: 4, broken: None }
    }

    #[test]
    fn names_find_their_pictures() {
        let items = [item(5, "train/fake/a/7.jpg"), item(6, "train/fake/b/7.jpg"), item(7, "train/fake/c.v2.png"), item(8, "")];
        for (name, place) in [
            ("train/fake/a/7.jpg", Some(0)),
            ("train/fake/b/7.png", Some(1)),
            ("b/7", Some(1)),
            ("a\\7.png", Some(0)),
            ("7.png", None),
            ("c.v2.png", Some(2)),
            ("train-000006.png", Some(1)),
            ("train-000008", Some(3)),
            ("elsewhere.png", None),
            ("", None),
        ] {
            assert_eq!(find(&items, name), place, "{name}");
        }
    }

    #[test]
    fn a_mask_that_is_larger_than_its_picture_is_refused_by_name() {
        let of = |w, h| Found { name: "a".into(), file: "masks/a.png".into(), mask: Mask::from_fn(w, h, |_, _| true) };
        let mut notes = Vec::new();
        let picture = item(1, "train/fake/a.png");
        for (w, h) in [(9, 4), (8, 5), (16, 8)] {
            let e = fitted(&of(w, h), &picture, &mut notes).unwrap_err().to_string();
            assert!(e.contains("masks/a.png") && e.contains(&format!("{w} x {h}")) && e.contains("larger"), "{e}");
        }
        assert!(fitted(&of(3, 4), &picture, &mut notes).unwrap_err().to_string().contains("another shape"));
        assert!(notes.is_empty());
        assert_eq!(fitted(&of(4, 2), &picture, &mut notes).unwrap(), Mask::from_fn(8, 4, |_, _| true));
        assert!(notes[0].contains("enlarged"));
    }
}
