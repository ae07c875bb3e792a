//! The check of a data set that comes as rows: a manifest, or a layout other than the program's own.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use super::line::{Level, Line, few, line};
use super::pictures::{Part, Seen, all, balance, content, sizes, unreadable};
use crate::data::config::DataConfig;
use crate::data::layout::{self, Layout, Place, Reading, Wanted};
use crate::data::source::Tell;
use crate::error::Result;

/// As [`super::check`].
pub fn check(given: &Path, found: &Layout, tell: Tell) -> Result<Vec<Line>> {
    let config = DataConfig::default();
    let shares = (config.val_share as f64, config.test_share as f64);
    // What is wrong with groups is said with the other lines.
    let wanted = Wanted { shares, straddling: true, ..Wanted::default() };
    let reading = layout::open(given, found, &wanted)?;
    reading.understood().iter().for_each(|l| tell(l));
    let root = reading.root.clone();
    let parts = parts(&reading, tell);
    let boxes = boxes(&reading, &parts);
    let mut lines = vec![line("layout", Level::Green, format!("{}: {} rows", reading.title, reading.rows.len()), "")];
    lines.extend(reading.remarks().into_iter().map(|r| line("layout", Level::Yellow, r, "")));
    lines.extend([balance(&parts), unreadable(&parts, &root), sizes(&parts), boxes]);
    lines.extend(content(&parts, &root));
    Ok(lines)
}

fn parts(reading: &Reading, tell: Tell) -> Vec<Part> {
    let mut names: BTreeMap<(Place, String), Vec<usize>> = BTreeMap::new();
    for (i, row) in reading.rows.iter().enumerate() {
        let place = row.split.unwrap_or(Place::Test);
        names.entry((place, row.split_name())).or_default().push(i);
    }
    // Every test needs the genuine pictures of `test`.
    let mut groups: HashMap<&str, u32> = HashMap::new();
    let mut parts = Vec::new();
    for ((place, name), rows) in names {
        tell(&format!("data      reading {name}"));
        let mut part = Part { name, side: place.side(), classes: [vec![], vec![]], missing: vec![], masks: None, paired: false };
        let mut masks: BTreeMap<PathBuf, PathBuf> = BTreeMap::new();
        let seen: Vec<Seen> = rows
            .par_iter()
            .with_max_len(1)
            .map(|&i| Seen { stem: stem(i), ..Seen::read(&reading.root, reading.rows[i].path.clone()) })
            .collect();
        for (&i, mut seen) in rows.iter().zip(seen) {
            let row = &reading.rows[i];
            let next = groups.len() as u32;
            seen.group = row.group.as_deref().map(|g| *groups.entry(g).or_insert(next));
            masks.extend(row.mask.iter().map(|m| (stem(i), m.clone())));
            part.classes[row.fake as usize].push(seen);
        }
        part.masks = Some(masks).filter(|m| !m.is_empty());
        parts.push(part);
    }
    parts
}

/// Rows pair with their masks by number, not by name.
fn stem(row: usize) -> PathBuf {
    format!("{row}").into()
}

fn boxes(reading: &Reading, parts: &[Part]) -> Line {
    let shapes: HashMap<&Path, (usize, usize)> =
        all(parts).filter_map(|s| Some((s.stem.as_path(), s.read.as_ref().ok()?.shape.shown()))).collect();
    let (mut outside, mut total) = (Vec::new(), 0);
    for (i, row) in reading.rows.iter().enumerate() {
        let Some(crop) = row.crop else { continue };
        total += 1;
        if shapes.get(stem(i).as_path()).is_some_and(|&size| crop.check(&row.path, size, row.line).is_err()) {
            outside.push(row.path.as_path());
        }
    }
    match outside.is_empty() {
        true => line("boxes", Level::Green, format!("{total}, each inside its picture"), ""),
        false => {
            line("boxes", Level::Red, format!("not inside the picture: {}", few(&outside, &reading.root)), "correct x, y, w, h")
        }
    }
}
