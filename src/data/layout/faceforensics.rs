//! FaceForensics++ with its frames taken out:
//!
//! ```text
//! original_sequences/youtube/c23/images/000/0000.png                     (or frames/)
//! manipulated_sequences/Face2Face/c23/images/000_003/0000.png            target_source
//! manipulated_sequences/Face2Face/masks/images/000_003/0000.png          (or raw/masks, c23/masks)
//! splits/{train,val,test}.json                                           [["000", "003"], …]
//! ```
//!
//! The frame of a fake and that of the original with its number show one moment. A pair of videos is one group, so that neither face is
//! on two sides of a split.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::path::{Path, PathBuf};

use super::pairs::{Pairs, numbered, pair};
use super::reading::{Layout, Reading, folders, videos, videos_only};
use super::row::{Place, Row};
use crate::error::{Error, Result};
use crate::text::shown;

pub const LAYOUT: Layout = Layout {
    name: "faceforensics",
    title: "FaceForensics++ (original_sequences, manipulated_sequences)",
    shape: "original_sequences/ and manipulated_sequences/",
    seen: &["Face2Face"],
    detect: |root| root.join("original_sequences").is_dir() || root.join("manipulated_sequences").is_dir(),
    read,
};

/// Best first: the paper trains on c23.
const COMPRESSIONS: [&str; 3] = ["c23", "c40", "raw"];
const FRAMES: [&str; 2] = ["images", "frames"];

/// Frames by video, then by the stem of the frame.
type Videos = BTreeMap<String, BTreeMap<PathBuf, PathBuf>>;

/// The folder of the frames of one sequence at one compression.
fn frames(sequence: &Path, compression: &str) -> Option<PathBuf> {
    FRAMES.iter().map(|f| sequence.join(compression).join(f)).find(|d| d.is_dir())
}

fn read(root: &Path, out: &mut Reading) -> Result<()> {
    let part = |name: &str| -> Result<Vec<(String, PathBuf)>> {
        let found = folders(&root.join(name))?;
        if found.is_empty() {
            let why = "this part of FaceForensics++ is missing: both original_sequences/youtube and manipulated_sequences/METHOD are needed";
            return Err(Error::data(root.join(name), why));
        }
        Ok(found)
    };
    let (originals, methods) = (part("original_sequences")?, part("manipulated_sequences")?);
    let there = |list: &[(String, PathBuf)], c: &str| list.iter().any(|(_, dir)| frames(dir, c).is_some());
    let both: Vec<&str> = COMPRESSIONS.into_iter().filter(|c| there(&originals, c) && there(&methods, c)).collect();
    let Some(&compression) = both.first() else { return Err(no_frames(root, &originals, &methods)) };
    if both.len() > 1 {
        out.notes.push(format!("compression {compression} was taken; {} is there, too", both[1..].join(" and ")));
    }
    let mut real = Videos::new();
    for (name, dir) in &originals {
        match frames(dir, compression) {
            Some(dir) => real.extend(list(&dir, out)?),
            None => out.notes.push(format!("original_sequences/{name} has no frames in {compression}: not used")),
        }
    }
    let mut forged: Vec<(&str, Videos, Videos)> = Vec::new();
    for (name, dir) in &methods {
        match frames(dir, compression) {
            Some(frames) => forged.push((name, list(&frames, out)?, masks(dir, compression, out)?)),
            None => {
                let n = videos(dir);
                let why = format!("manipulated_sequences/{name} has no frames in {compression} ({n} videos): not used");
                out.notes.push(why);
            }
        }
    }
    if real.is_empty() || forged.iter().all(|f| f.1.is_empty()) {
        return Err(no_frames(root, &originals, &methods));
    }
    let splits = splits(root, &real, out)?;
    let mut pairs = Pairs::default();
    for name in forged.iter().flat_map(|f| f.1.keys()) {
        if let Some((a, b)) = pair(name) {
            // Without official splits the groups are what the pairs join.
            if splits.as_ref().is_none_or(|s| s.get(a) == s.get(b)) {
                pairs.join(a, b);
            }
        }
    }
    let place = |id: &str| splits.as_ref().map(|s| s.get(id).copied());
    for (id, frames) in &real {
        if !numbered(id) {
            leave(out, "frames of originals whose names are no numbers", frames);
        } else if place(id) == Some(None) {
            leave(out, "frames of originals that no split names", frames);
        } else {
            for path in frames.values() {
                let mut row = Row::new(path.clone(), false, "");
                (row.group, row.split) = (Some(pairs.of(id)), place(id).flatten());
                out.rows.push(row);
            }
        }
    }
    for (method, videos, masks) in &forged {
        let mut unmasked = 0;
        for (name, frames) in videos {
            let Some((target, source)) = pair(name) else {
                leave(out, "frames of fakes whose names are no TARGET_SOURCE", frames);
                continue;
            };
            let split = place(target);
            match (split, place(source)) {
                (Some(None), _) => {
                    leave(out, "frames of fakes that no split names", frames);
                    continue;
                }
                (a, b) if a != b => {
                    leave(out, "frames of fakes whose two videos are in two splits", frames);
                    continue;
                }
                _ => {}
            }
            for (frame, path) in frames {
                let mut row = Row::new(path.clone(), true, method);
                (row.group, row.split) = (Some(pairs.of(target)), split.flatten());
                row.mask = masks.get(name).and_then(|m| m.get(frame)).cloned();
                row.original = real.get(target).and_then(|m| m.get(frame)).cloned();
                unmasked += row.mask.is_none() as usize;
                out.rows.push(row);
            }
        }
        for (name, masks) in masks {
            let fakes = videos.get(name);
            masks.iter().filter(|(frame, _)| !fakes.is_some_and(|f| f.contains_key(*frame))).for_each(|(_, mask)| {
                out.leave("masks without a frame", mask);
            });
        }
        if unmasked > 0 {
            out.notes.push(format!("{unmasked} frames of {method} have no mask"));
        }
    }
    Ok(())
}

fn leave(out: &mut Reading, why: &str, frames: &BTreeMap<PathBuf, PathBuf>) {
    frames.values().for_each(|path| out.leave(why, path));
}

/// Neither compression has frames on both sides: only videos, or nothing.
fn no_frames(root: &Path, originals: &[(String, PathBuf)], methods: &[(String, PathBuf)]) -> Error {
    let all = || originals.iter().chain(methods);
    if let Some((dir, n)) =
        all().map(|(_, dir)| (dir, videos(dir))).find(|v| v.1 > 0 && COMPRESSIONS.iter().all(|c| frames(v.0, c).is_none()))
    {
        return videos_only(dir, n);
    }
    let why = "no compression (c23, c40, raw) has frames of originals and of fakes; they lie in original_sequences/youtube/c23/images/000 and \
               manipulated_sequences/METHOD/c23/images/000_003";
    Error::data(root, why)
}

/// The frames of a folder with one folder for each video.
fn list(dir: &Path, out: &mut Reading) -> Result<Videos> {
    let mut found = Videos::new();
    for (stem, path) in out.by_stem(dir)? {
        let mut parts = stem.iter();
        match (parts.next(), parts.next(), parts.next()) {
            (Some(video), Some(frame), None) => {
                found.entry(video.to_string_lossy().into_owned()).or_default().insert(frame.into(), path);
            }
            _ => out.leave("pictures that are not in the folder of a video", &path),
        }
    }
    Ok(found)
}

/// The masks of a method: frames, in one of the places where they are found.
fn masks(method: &Path, compression: &str, out: &mut Reading) -> Result<Videos> {
    let places = ["masks/images", "masks/frames", "raw/masks"].map(|p| method.join(p));
    let beside = [method.join(compression).join("masks"), method.join("c23/masks")];
    let place = places.into_iter().chain(beside).find(|d| d.is_dir());
    let films = method.join("masks/videos");
    if place.is_none() && films.is_dir() {
        let name = out.name(&films);
        out.notes.push(format!(
            "the masks in {name} are videos, which are not read: take frames out of them into masks/images/VIDEO, as of the videos"
        ));
    }
    place.map_or(Ok(Videos::new()), |dir| list(&dir, out))
}

/// The split of each video by the official lists; none without lists.
fn splits(root: &Path, real: &Videos, out: &mut Reading) -> Result<Option<HashMap<String, Place>>> {
    let files = |dir: &PathBuf| [Place::Train, Place::Val, Place::Test].map(|p| (p, dir.join(format!("{}.json", p.name()))));
    let dirs = ["splits", "dataset/splits", ""].map(|d| root.join(d));
    let Some(dir) = dirs.iter().find(|dir| files(dir).iter().any(|f| f.1.is_file())) else { return Ok(None) };
    let mut of: HashMap<String, Place> = HashMap::new();
    for (place, file) in files(dir) {
        if !file.is_file() {
            let why = "this list of a split is missing, and others are there: train.json, val.json and test.json go together";
            return Err(Error::data(file, why));
        }
        let text = fs::read_to_string(&file).map_err(|e| Error::io(&file, e))?;
        let pairs: Vec<[String; 2]> = serde_json::from_str(&text)
            .map_err(|e| Error::data(&file, format!("is no list of pairs, [[\"000\", \"003\"], …] ({e}); fetch it again")))?;
        let ids: BTreeSet<&String> = pairs.iter().flatten().collect();
        for id in &ids {
            if let Some(other) = of.insert((*id).clone(), place).filter(|other| *other != place) {
                let why = format!("video {} is also in {}.json; a video belongs to one split", shown(id), other.name());
                return Err(Error::data(&file, why));
            }
        }
        let absent: Vec<&&String> = ids.iter().filter(|id| !real.contains_key(id.as_str())).collect();
        if absent.len() == ids.len() {
            let why = format!(
                "names {} videos, and original_sequences has frames of none of them ({} first): take them out, or remove the lists of splits",
                ids.len(),
                absent.first().map_or("none", |id| id.as_str())
            );
            return Err(Error::data(&file, why));
        }
        if let Some(first) = absent.first() {
            let name = out.name(&file);
            out.notes.push(format!(
                "{name} names {} videos of which no original frame is here (video {} first)",
                absent.len(),
                shown(first)
            ));
        }
        out.sources.push(file);
    }
    Ok(Some(of))
}
