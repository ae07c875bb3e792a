//! Which files a run was trained on: `data.json` of the run folder, written when the run begins, compared when it goes on and
//! when it is judged.
//!
//! A run that goes on over other pictures ends with weights that no single data set explains, so a change is an error that names the
//! files. Each file is known by its size and a checksum of its first and last 64 KiB: pictures that differ do so there, and a
//! large collection need not be read whole.
//!
//! A picture that the run was trained on and meets again in a test flatters, whatever folder the test is in ([`met_before`]). For
//! that the pictures of training and validation are listed by a checksum of all of a file up to 1 MiB, and of 16 parts of a
//! longer one: of two pictures without compression that differ in a region, the ends may be the same.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::core::file::write_whole;
use crate::core::text::thousands;
use crate::data::config::SplitBy;
use crate::data::dataset::{Dataset, Split};
use crate::error::{Error, Result};
use crate::text::shown;

/// The record's name in a run folder.
pub const DATA: &str = "data.json";

/// Bytes of each part of a file that the checksum covers.
const PART: u64 = 64 << 10;
/// Parts of every file: its ends.
const ENDS: u64 = 2;
/// Parts of a picture that is learnt from.
const PARTS: u64 = 16;

/// A file's bytes and checksum.
type Known = (u64, u32);

/// The files of a data set.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Inventory {
    /// All of them by name, by the checksum of their ends.
    files: BTreeMap<String, Known>,
    /// The pictures of training and validation by the checksum of their parts. None: written before these were listed.
    #[serde(default)]
    learnt: Option<BTreeSet<(String, Known)>>,
}

/// The size of a file and CRC-32C of so many parts of it, evenly spaced from the first bytes to the last; of all of it where that
/// is less.
fn known_by(path: &Path, parts: u64) -> std::io::Result<Known> {
    let mut file = File::open(path)?;
    let len = file.metadata()?.len();
    let mut bytes = Vec::new();
    if len <= parts * PART {
        file.take(parts * PART).read_to_end(&mut bytes)?;
        return Ok((len, crc32c::crc32c(&bytes)));
    }
    for k in 0..parts {
        file.seek(SeekFrom::Start((len - PART) * k / (parts - 1)))?;
        Read::by_ref(&mut file).take(PART).read_to_end(&mut bytes)?;
    }
    Ok((len, crc32c::crc32c(&bytes)))
}

/// Names and checksums, in parallel.
fn known<C: FromParallelIterator<(String, Known)> + Send>(files: Vec<(String, &Path)>, parts: u64) -> Result<C> {
    let row = |(name, path): (String, &Path)| Ok((name, known_by(path, parts).map_err(|e| Error::io(path, e))?));
    files.into_par_iter().map(row).collect()
}

impl Inventory {
    /// All files that the data set hands out; none for built-in pictures.
    pub fn of(data: &Dataset) -> Result<Inventory> {
        let learnt = [Split::Train, Split::Val].into_iter().flat_map(|split| data.files_of(split)).collect();
        Ok(Inventory { files: known(data.files(), ENDS)?, learnt: Some(known(learnt, PARTS)?) })
    }

    /// Whether there is no file: the pictures are built-in ones.
    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// The same files; learnt from are those of `before`, too, which the run was trained on until its data changed.
    pub fn after(mut self, before: Option<Inventory>) -> Inventory {
        self.learnt = before.and_then(|b| b.learnt).zip(self.learnt).map(|(b, now)| &b | &now);
        self
    }

    pub fn write(&self, run: &Path) -> Result<()> {
        write_whole(run.join(DATA), &serde_json::to_vec(self).expect("plain data"))
    }

    /// What a run was begun with.
    pub fn read(run: &Path) -> Result<Inventory> {
        let file = run.join(DATA);
        let bytes = match std::fs::read(&file) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Err(Error::data(&file, "is missing")),
            bytes => bytes.map_err(|e| Error::data(&file, format!("cannot be read ({e})")))?,
        };
        serde_json::from_slice(&bytes).map_err(|e| Error::data(&file, format!("not a list of files ({e})")))
    }

    /// What is different in `now`, in words with the first names; `None` if nothing is.
    pub fn changes(&self, now: &Inventory) -> Option<String> {
        let missing = |a: &Inventory, b: &Inventory| -> Vec<String> {
            a.files.keys().filter(|name| !b.files.contains_key(*name)).cloned().collect()
        };
        let other = self.files.iter().filter(|(name, known)| now.files.get(*name).is_some_and(|n| n != *known));
        let kinds = [
            ("gone", missing(self, now)),
            ("with other content", other.map(|(n, _)| n.clone()).collect()),
            ("new", missing(now, self)),
        ];
        let words = |(kind, names): (&str, Vec<String>)| {
            let rest = if names.len() > 3 { ", …" } else { "" };
            (!names.is_empty()).then(|| format!("{} {kind} ({}{rest})", names.len(), names[..names.len().min(3)].join(", ")))
        };
        let words: Vec<String> = kinds.into_iter().filter_map(words).collect();
        (!words.is_empty()).then(|| words.join("; "))
    }
}

/// Compares the pictures of all tests with those that the run in `run` was trained on or chosen by: notices for the report. A
/// picture that is the same file is an error unless that is allowed. Where it cannot be known a notice says so. Pictures that
/// were encoded anew are not found: the run folder has checksums, no pictures.
pub fn met_before(run: &Path, data: &Dataset, allowed: bool) -> Result<Vec<String>> {
    let config = data.config();
    // Crops of the same photographs in every split are what such a run was asked for, and its report says so.
    if config.dir.is_none() && config.split == SplitBy::Crop {
        return Ok(Vec::new());
    }
    let tests = data.splits().into_iter().filter(|split| !matches!(split, Split::Train | Split::Val));
    let tests: BTreeMap<String, &Path> = tests.flat_map(|split| data.files_of(split)).collect();
    if tests.is_empty() {
        return Ok(Vec::new());
    }
    let unknown = |file: &Path, why: &str| {
        Ok(vec![format!("whether the run was trained on pictures of this test cannot be told: {} {why}", shown(file))])
    };
    let learnt = match Inventory::read(run) {
        Ok(Inventory { learnt: Some(learnt), .. }) => learnt,
        Ok(_) => return unknown(&run.join(DATA), "does not say which pictures those were"),
        Err(Error::Data { file, why }) => return unknown(&file, &why),
        Err(e) => return Err(e),
    };
    let learnt: HashMap<Known, &str> = learnt.iter().map(|(name, known)| (*known, name.as_str())).collect();
    let tests: BTreeMap<String, Known> = known(tests.into_iter().collect(), PARTS)?;
    let met: Vec<(&str, &str)> = tests.iter().filter_map(|(name, known)| Some((name.as_str(), *learnt.get(known)?))).collect();
    if met.is_empty() {
        return Ok(Vec::new());
    }
    let words: Vec<String> = met.iter().take(3).map(|(name, then)| format!("{name} was {then}")).collect();
    let found = format!(
        "{} of {} pictures of the tests {} that the run was trained on or chosen by: {}{}",
        thousands(met.len()),
        thousands(tests.len()),
        if met.len() == 1 { "is a file" } else { "are files" },
        words.join(", "),
        if met.len() > 3 { ", …" } else { "" }
    );
    if allowed {
        return Ok(vec![format!("{found} (allowed)")]);
    }
    let root = config.dir.as_ref().or(config.photos.as_ref()).expect("files come from a folder");
    Err(Error::data(root, format!("{found}. A test on them would flatter: take them out, or go on with --allow-duplicates")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_change_has_a_name() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        let of = |bytes: &[u8]| {
            std::fs::write(&path, bytes).unwrap();
            [ENDS, PARTS].map(|parts| known_by(&path, parts).unwrap())
        };
        const PART: usize = super::PART as usize;
        let mut long = vec![7u8; 3 * PART];
        let whole = of(&long);
        for at in [0, PART - 1, 2 * PART, 3 * PART - 1, PART] {
            long[at] ^= 1;
            let [ends, parts] = of(&long);
            assert!((ends != whole[0]) == (at != PART) && parts != whole[1], "byte {at}");
            long[at] ^= 1;
        }
        assert_eq!(of(&long), whole);
        let mut longer = vec![7u8; 40 * PART + 5];
        let whole = of(&longer);
        // Parts begin at every 2.6th.
        for at in [0, PART - 1, 20 * PART, 21 * PART, 39 * PART + 5, 40 * PART + 4] {
            longer[at] ^= 1;
            let found = of(&longer)[1] != whole[1];
            assert_eq!(found, at != 20 * PART, "byte {at}");
            longer[at] ^= 1;
        }
        let mut short = vec![7u8; PART + 1];
        let whole = of(&short);
        *short.last_mut().unwrap() = 8;
        assert_ne!(of(&short), whole);
        assert_ne!(of(b""), of(b"x"));

        let row = |&(n, c): &(&str, u32)| (n.to_string(), (1, c));
        let list = |rows: &[(&str, u32)]| Inventory {
            files: rows.iter().map(row).collect(),
            learnt: Some(rows.iter().map(row).collect()),
        };
        let (a, b) = (list(&[("x", 1), ("y", 1)]), list(&[("y", 2), ("z", 1)]));
        assert_eq!(a.changes(&a), None);
        assert_eq!(a.changes(&b).unwrap(), "1 gone (x); 1 with other content (y); 1 new (z)");
        a.write(dir.path()).unwrap();
        assert_eq!(Inventory::read(dir.path()).unwrap(), a);
        let both = b.clone().after(Some(a.clone()));
        assert_eq!((both.files, both.learnt.unwrap().len()), (b.files.clone(), 4));
        // What was learnt before is not known.
        std::fs::write(dir.path().join(DATA), "{\"files\":{\"x\":[1,1],\"y\":[1,1]}}").unwrap();
        let old = Inventory::read(dir.path()).unwrap();
        assert_eq!((old.changes(&a), &old.learnt, b.after(Some(old.clone())).learnt), (None, &None, None));
    }
}
