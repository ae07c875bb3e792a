//! `lae-engine data check`: what is wrong with a data folder, before hours are spent on it. Every file is read.
//!
//! The folder is listed here on its own, and not opened as training opens it: opening ends at the first fault, and all of them are
//! wanted.

mod line;
mod listed;
mod masks;
mod photos;
mod pictures;

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use super::layout;
use super::source::Tell;
use super::walk::{Found, Identity, identity, walk};
use crate::error::{Error, Result};
use crate::text::shown;

pub use line::{Level, Line};
use line::{few, line};
pub use photos::check as photographs;
use pictures::{Part, Seen, all, balance, content, sizes, stem, unreadable};

/// Looks at everything in `root`, a folder in the layout of [`super::folder`] or another that is known, or a manifest. `tell` hears how
/// far it is.
pub fn check(root: &Path, tell: Tell) -> Result<Vec<Line>> {
    if !root.exists() {
        return Err(Error::data(root, "no such folder; data check wants DIR/{train,val,test}/{real,fake,mask}/"));
    }
    if let Some(found) = layout::detect(root, None)?.filter(|l| !layout::is_ready(Some(l))) {
        return listed::check(root, found, tell);
    }
    if !["train", "val", "test"].iter().any(|s| root.join(s).is_dir()) {
        return Err(no_data_set(root)?);
    }
    let parts = parts(root, tell)?;
    let mut lines = vec![complete(&parts), balance(&parts), unreadable(&parts, root), sizes(&parts), beside(root, &parts)?];
    lines.extend(content(&parts, root));
    Ok(lines)
}

/// Says what a folder is that lacks the layout of a data set, and how it can be checked.
fn no_data_set(root: &Path) -> Result<Error> {
    let why = "has none of train, val and test; a data set is DIR/{train,val,test}/{real,fake,mask}/";
    let has = |name| root.join(name).is_dir();
    if has("fake") && (has("real") || has("mask")) {
        return Ok(Error::data(root, format!("{why}. It looks like one split of such: give the folder that it is in")));
    }
    let hint = match walk(root, false)?.pictures.len() {
        0 => "It holds no picture either".to_string(),
        n => {
            let s = if n == 1 { "" } else { "s" };
            format!(
                "It holds {n} picture{s}: if these are photographs to make forgeries from, `lae-engine data check --photos DIR`"
            )
        }
    };
    Ok(Error::data(root, format!("{why}. {hint}")))
}

fn parts(root: &Path, tell: Tell) -> Result<Vec<Part>> {
    let mut dirs: Vec<(String, usize)> =
        ["train", "val", "test"].into_iter().enumerate().map(|(i, n)| (n.to_string(), i)).collect();
    let mut paths: Vec<PathBuf> = dirs.iter().map(|d| root.join(&d.0)).collect();
    let unseen = root.join("unseen");
    if unseen.is_dir() {
        let entries = std::fs::read_dir(&unseen).map_err(|e| Error::io(&unseen, e))?;
        let mut found: Vec<PathBuf> = entries.filter_map(|e| Some(e.ok()?.path())).filter(|p| p.is_dir()).collect();
        found.sort();
        dirs.extend(found.iter().map(|p| (format!("unseen/{}", shown(p.file_name().unwrap_or_default())), 2)));
        paths.extend(found);
    }
    let mut parts = Vec::new();
    for ((name, side), dir) in dirs.into_iter().zip(paths) {
        tell(&format!("data      reading {name}"));
        let (mut classes, mut missing) = ([Vec::new(), Vec::new()], Vec::new());
        for (k, class) in ["real", "fake"].into_iter().enumerate() {
            let folder = dir.join(class);
            if folder.is_dir() {
                let found = walk(&folder, k == 1)?;
                classes[k] = found.pictures.into_par_iter().with_max_len(1).map(|p| Seen::read(&folder, p)).collect();
            } else if k == 1 || side < 2 || name == "test" {
                missing.push(class);
            }
        }
        let folder = dir.join("mask");
        let masks = if folder.is_dir() {
            let found = walk(&folder, true)?;
            Some(found.pictures.into_iter().map(|p| (stem(&folder, &p), p)).collect())
        } else {
            None
        };
        parts.push(Part { name, side, classes, missing, masks, paired: true });
    }
    Ok(parts)
}

/// Whether every part is there.
fn complete(parts: &[Part]) -> Line {
    let lack = |p: &Part| p.missing.iter().map(|c| format!("{}/{c}", p.name)).collect::<Vec<_>>();
    let missing: Vec<String> = parts.iter().flat_map(lack).collect();
    let empty =
        parts.iter().filter(|p| p.classes[1].is_empty() && !p.missing.contains(&"fake")).map(|p| format!("{}/fake", p.name));
    let empty_real = parts
        .iter()
        .filter(|p| p.side < 2 || p.name == "test")
        .filter(|p| p.classes[0].is_empty() && !p.missing.contains(&"real"));
    let empty: Vec<String> = empty.chain(empty_real.map(|p| format!("{}/real", p.name))).collect();
    match (missing.is_empty(), empty.is_empty()) {
        (true, true) => line("layout", Level::Green, format!("train, val, test; unseen methods: {}", parts.len() - 3), ""),
        _ => {
            let words = [("missing", missing), ("empty", empty)]
                .map(|(w, l)| if l.is_empty() { String::new() } else { format!("{w}: {}", l.join(", ")) });
            let words = words.into_iter().filter(|w| !w.is_empty()).collect::<Vec<_>>().join("; ");
            line("layout", Level::Red, words, "a data set has DIR/{train,val,test}/{real,fake}/ with pictures in each")
        }
    }
}

/// What the folder holds that is not in the data.
fn beside(root: &Path, parts: &[Part]) -> Result<Line> {
    let masks = || parts.iter().filter_map(|p| p.masks.as_ref()).flat_map(BTreeMap::values);
    // Class folders may be links to other places within the folder: what counts is the file, not its name.
    let known: HashSet<Identity> = all(parts).map(|s| &s.path).chain(masks()).filter_map(|p| identity(p).ok()).collect();
    let Found { pictures, passed } = walk(root, true)?;
    let outside: Vec<&Path> =
        pictures.iter().filter(|p| !identity(p).is_ok_and(|id| known.contains(&id))).map(|p| &**p).collect();
    let mut words = Vec::new();
    if !outside.is_empty() {
        words.push(format!("in no class folder: {}", few(&outside, root)));
    }
    if !passed.is_empty() {
        words.push(format!("passed over: {}", passed.line()));
    }
    let level = if outside.is_empty() && passed.pictures() == 0 { Level::Green } else { Level::Yellow };
    let found = match words.is_empty() {
        true => format!("nothing but {} pictures and {} masks", all(parts).count(), masks().count()),
        false => words.join("; "),
    };
    Ok(line("not in the data", level, found, "convert or move what belongs into the data"))
}
