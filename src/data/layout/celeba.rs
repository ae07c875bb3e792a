//! CelebA with forged outputs beside the originals:
//!
//! ```text
//! list_eval_partition.txt                 000001.jpg 0        (0 train, 1 val, 2 test)
//! identity_CelebA.txt                     000001.jpg 2880     (if there: groups)
//! img_align_celeba/000001.jpg             originals
//! StarGAN/000001.png, Glow/000001_Smiling.png      a folder for each method; the name begins with that of the original
//! masks/StarGAN/000001.png                (if there)
//! ```

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::reading::{Layout, Reading, folder_named, folders};
use super::row::{Place, Row};
use crate::error::{Error, Result};
use crate::text::shown;

const LIST: &str = "list_eval_partition.txt";
const IDENTITIES: &str = "identity_CelebA.txt";
const ORIGINALS: [&str; 5] = ["img_align_celeba", "img_celeba", "celeba-hq", "originals", "images"];

pub const LAYOUT: Layout = Layout {
    name: "celeba",
    title: "CelebA originals beside forged outputs (list_eval_partition.txt)",
    shape: "list_eval_partition.txt beside img_align_celeba/",
    seen: &["StarGAN"],
    detect: |root| root.join(LIST).is_file(),
    read,
};

fn read(root: &Path, out: &mut Reading) -> Result<()> {
    let partition: HashMap<String, Place> = table(&root.join(LIST), |word| {
        [("0", Place::Train), ("1", Place::Val), ("2", Place::Test)].into_iter().find(|p| p.0 == word).map(|p| p.1)
    })?;
    out.sources.push(root.join(LIST));
    let identities: HashMap<String, String> = match root.join(IDENTITIES) {
        file if file.is_file() => {
            out.sources.push(file.clone());
            table(&file, |word| Some(word.to_string()))?
        }
        _ => HashMap::new(),
    };
    let Some(dir) = folder_named(root, &ORIGINALS) else {
        let why = format!("this part of CelebA is missing: the originals, in one of {}", ORIGINALS.join(", "));
        return Err(Error::data(root.join(ORIGINALS[0]), why));
    };
    let originals = out.by_stem(&dir)?;
    let beside: Vec<(String, PathBuf)> = folders(root)?.into_iter().filter(|(name, path)| *path != dir && !aside(name)).collect();
    if beside.is_empty() {
        let why = "no forged outputs beside the originals: one folder for each method, StarGAN/000001.png; to forge the originals here, \
                   train --photos DIR";
        return Err(Error::data(root, why));
    }
    let stem = |name: &str| name.rsplit_once('.').map_or(name, |n| n.0).to_string();
    let places: HashMap<String, Place> = partition.iter().map(|(name, place)| (stem(name), *place)).collect();
    let groups: HashMap<String, &String> = identities.iter().map(|(name, id)| (stem(name), id)).collect();
    let mut used: HashMap<PathBuf, ()> = HashMap::new();
    for (method, folder) in &beside {
        let masks = ["masks", "mask"].iter().find_map(|m| folder_named(root, &[m])).and_then(|m| folder_named(&m, &[method]));
        let masks = masks.or_else(|| folder_named(root, &[&format!("{method}_masks")]));
        let mut masks = masks.map(|m| out.by_stem(&m)).transpose()?;
        let mut unmasked = 0;
        for (name, path) in out.by_stem(folder)? {
            let Some(original) = original_of(&name, |n| originals.contains_key(n)) else {
                out.leave(format!("outputs of {} without an original", shown(method)), &path);
                continue;
            };
            let key = original.to_string_lossy().into_owned();
            let Some(&place) = places.get(&key) else {
                out.leave(format!("outputs whose original {LIST} does not name"), &path);
                continue;
            };
            let mut row = Row::new(path, true, method);
            row.split = Some(place);
            row.group = Some(groups.get(&key).map_or(key, |id| id.to_string()));
            row.original = originals.get(&original).cloned();
            row.mask = masks.as_mut().and_then(|m| m.remove(&name).or_else(|| m.get(&original).cloned()));
            unmasked += row.mask.is_none() as usize;
            used.insert(original, ());
            out.rows.push(row);
        }
        if unmasked > 0 {
            out.notes.push(format!("{unmasked} outputs of {} have no mask", shown(method)));
        }
        let of_original = |stem: &PathBuf| used.contains_key(stem);
        masks.iter().flatten().filter(|(stem, _)| !of_original(stem)).for_each(|(_, m)| out.leave("masks without an output", m));
    }
    let absent = places.keys().filter(|k| !originals.contains_key(Path::new(k.as_str()))).count();
    if absent == places.len() {
        return Err(Error::data(root.join(LIST), format!("names {absent} pictures, and {} has none of them", shown(&dir))));
    }
    if absent > 0 {
        out.notes.push(format!("{LIST} names {absent} pictures that are not here"));
    }
    for (name, path) in originals {
        let key = name.to_string_lossy().into_owned();
        match places.get(&key) {
            _ if !used.contains_key(&name) => out.leave("originals of which nothing was forged", &path),
            None => out.leave(format!("originals that {LIST} does not name"), &path),
            Some(&place) => {
                let mut row = Row::new(path, false, "");
                row.split = Some(place);
                row.group = Some(groups.get(&key).map_or(key, |id| id.to_string()));
                out.rows.push(row);
            }
        }
    }
    Ok(())
}

/// Folders that hold no forged outputs.
fn aside(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    name == "anno" || name.starts_with("annotation") || name.starts_with("mask") || name.ends_with("_masks")
}

/// The original of an output: its name, or what stands before a `_` or `-` of its name, the longest first.
fn original_of(name: &Path, known: impl Fn(&PathBuf) -> bool) -> Option<PathBuf> {
    let text = name.file_name()?.to_str()?;
    let ends = text.char_indices().filter(|(_, c)| matches!(c, '_' | '-')).map(|(i, _)| i);
    let mut ends: Vec<usize> = ends.chain([text.len()]).collect();
    ends.reverse();
    ends.into_iter().map(|end| PathBuf::from(&text[..end])).find(known)
}

/// The lines `NAME VALUE` of a list; an error names the line.
fn table<T>(file: &Path, value: impl Fn(&str) -> Option<T>) -> Result<HashMap<String, T>> {
    let text = fs::read_to_string(file).map_err(|e| Error::io(file, e))?;
    let mut found = HashMap::new();
    for (n, line) in text.lines().enumerate().filter(|(_, l)| !l.trim().is_empty()) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let read = match words[..] {
            [name, word] => value(word).map(|v| (name.to_string(), v)),
            _ => None,
        };
        let bad = || {
            let why = "want the name of a picture and a number (of a partition: 0 train, 1 val, 2 test)";
            Error::data(file, format!("line {}: {}: {why}; fetch the list again", n + 1, crate::text::line(line)))
        };
        let (name, v) = read.ok_or_else(bad)?;
        if found.insert(name, v).is_some() {
            return Err(Error::data(file, format!("line {}: {} is there twice", n + 1, shown(words[0]))));
        }
    }
    Ok(found)
}
