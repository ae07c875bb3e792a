//! The JSON lists of DeepfakeBench: `{SET: {METHOD: {train|val|test: {[c23:] {VIDEO: {label, frames: [PATH, …]}}}}}}`.
//!
//! Paths are relative to the folder that the list was made in, usually `datasets/rgb`; that folder is looked for beside the list. A mask has
//! the path of its frame with `masks` for `frames`. A label with the word real is genuine. Several of its lists name a frame in more
//! than one split: the test keeps it.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::pairs::{Pairs, pair};
use super::reading::{Layout, Reading};
use super::row::{Place, Row};
use crate::error::{Error, Result};
use crate::text::line;

pub const LAYOUT: Layout = Layout {
    name: "deepfakebench",
    title: "a JSON list of DeepfakeBench",
    shape: "SET.json or dataset_json/SET.json of DeepfakeBench",
    seen: &["FF-F2F"],
    detect: |path| lists(path).is_ok_and(|found| !found.is_empty()),
    read,
};

const SPLITS: [(&str, Place); 3] = [("test", Place::Test), ("val", Place::Val), ("train", Place::Train)];

/// The list itself, or the lists in a folder or its `dataset_json`.
fn lists(path: &Path) -> Result<Vec<PathBuf>> {
    let json = |p: &Path| p.is_file() && p.extension().is_some_and(|e| e.eq_ignore_ascii_case("json"));
    if json(path) {
        return Ok(vec![path.into()]);
    }
    let mut found = Vec::new();
    for dir in [path.join("dataset_json"), path.join("preprocessing/dataset_json")].iter().filter(|d| d.is_dir()) {
        let entries = fs::read_dir(dir).map_err(|e| Error::io(dir, e))?;
        found.extend(entries.filter_map(|e| e.ok().map(|e| e.path())).filter(|p| json(p)));
    }
    found.sort();
    Ok(found)
}

fn read(path: &Path, out: &mut Reading) -> Result<()> {
    let found = lists(path)?;
    let [file] = &found[..] else {
        let names: Vec<String> = found.iter().map(|f| out.name(f)).collect();
        return Err(Error::data(
            path,
            format!("has {} lists; give one of them instead of the folder: {}", found.len(), names.join(", ")),
        ));
    };
    let text = fs::read_to_string(file).map_err(|e| Error::io(file, e))?;
    let bad = |why: &str| Error::data(file, format!("is no list of DeepfakeBench: {why}"));
    let list: Value = serde_json::from_str(&text).map_err(|e| bad(&line(&e.to_string())))?;
    let sets =
        list.as_object().filter(|s| s.len() == 1).ok_or_else(|| bad("want one set, {SET: {METHOD: {train, val, test}}}"))?;
    let methods = sets.values().next().and_then(Value::as_object).ok_or_else(|| bad("the set has no methods"))?;
    out.sources.push(file.clone());
    let base = Base::new(file);
    let mut seen: HashMap<PathBuf, Place> = HashMap::new();
    let mut others = Vec::new();
    for (split, place) in SPLITS {
        for (method, splits) in methods {
            let Some(videos) = splits.get(split).and_then(Value::as_object) else { continue };
            // One level more where there are compressions.
            let compressions = ["c23", "c40", "raw"].iter().filter(|c| videos.get(**c).is_some_and(Value::is_object));
            let compressions: Vec<&&str> = compressions.collect();
            let videos = match compressions.first() {
                Some(c) => videos[**c].as_object().expect("asked above"),
                None => videos,
            };
            others.extend(compressions.into_iter().skip(1));
            for (video, facts) in videos {
                let at = || format!("{method}, {split}, {video}");
                let label =
                    facts.get("label").and_then(Value::as_str).ok_or_else(|| bad(&format!("{}: no label", line(&at()))))?;
                let fake = !label.to_ascii_lowercase().contains("real");
                let frames = facts.get("frames").and_then(Value::as_array);
                for frame in frames.ok_or_else(|| bad(&format!("{}: no frames", line(&at()))))? {
                    let text = frame.as_str().ok_or_else(|| bad(&format!("{}: a frame is no path", line(&at()))))?;
                    let path = base.find(text);
                    if let Some(other) = seen.insert(path.clone(), place) {
                        // What the test has stays there.
                        seen.insert(path.clone(), other);
                        out.leave(format!("frames of {split} that are in {} already", other.name()), &path);
                        continue;
                    }
                    let mut row = Row::new(path, fake, if fake { method } else { "" });
                    row.split = Some(place);
                    row.group = Some(video.clone());
                    row.mask =
                        Some(base.find(&text.replace("frames", "masks"))).filter(|m| fake && *m != row.path && m.is_file());
                    out.rows.push(row);
                }
            }
        }
    }
    if out.rows.is_empty() {
        return Err(bad("it names no frame in train, val or test"));
    }
    // 000, 001, 000_001 and 001_000 are one group; other names are groups of their own.
    let mut pairs = Pairs::default();
    for (a, b) in out.rows.iter().filter_map(|r| pair(r.group.as_deref()?)) {
        pairs.join(a, b);
    }
    for row in &mut out.rows {
        row.group = row.group.take().map(|name| pairs.of(pair(&name).map_or(name.as_str(), |p| p.0)));
    }
    others.sort();
    others.dedup();
    if !others.is_empty() {
        let others: Vec<&str> = others.into_iter().copied().collect();
        out.notes.push(format!("of the compressions one was taken; {} is there, too", others.join(" and ")));
    }
    Ok(())
}

/// Where the frames may lie.
struct Base(Vec<PathBuf>);

impl Base {
    fn new(file: &Path) -> Base {
        let file = fs::canonicalize(file).unwrap_or_else(|_| file.into());
        let above = file.ancestors().skip(1).take(4);
        Base(above.flat_map(|dir| [dir.into(), dir.join("rgb"), dir.join("datasets/rgb"), dir.join("datasets")]).collect())
    }

    /// The file that a path of the list means; where there is none, beside the list.
    fn find(&self, text: &str) -> PathBuf {
        let text = text.replace('\\', "/");
        let text = text.trim_start_matches("./");
        if Path::new(text).is_absolute() {
            return text.into();
        }
        self.0.iter().map(|b| b.join(text)).find(|p| p.is_file()).unwrap_or_else(|| self.0[0].join(text))
    }
}
