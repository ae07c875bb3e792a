//! Which files a run was trained on: `data.json` of the run folder, written when the run begins and compared when it goes on.
//!
//! A run that goes on over other pictures ends with weights that no single data set explains, so a change is an error that names the
//! files. Each file is known by its size and a checksum of its first and last 64 KiB: pictures that differ do so there, and a
//! large collection need not be read whole.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::core::file::write_whole;
use crate::data::dataset::Dataset;
use crate::error::{Error, Result};

/// The record's name in a run folder.
pub const DATA: &str = "data.json";

/// Bytes at either end of a file that the checksum covers.
const ENDS: u64 = 64 << 10;

/// The files of a data set by name: bytes and checksum.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Inventory {
    files: BTreeMap<String, (u64, u32)>,
}

/// The size of a file and CRC-32C of its ends.
fn known_by(path: &Path) -> std::io::Result<(u64, u32)> {
    let mut file = File::open(path)?;
    let len = file.metadata()?.len();
    let mut bytes = Vec::new();
    Read::by_ref(&mut file).take(ENDS).read_to_end(&mut bytes)?;
    if len > 2 * ENDS {
        file.seek(SeekFrom::Start(len - ENDS))?;
    }
    file.take(ENDS).read_to_end(&mut bytes)?;
    Ok((len, crc32c::crc32c(&bytes)))
}

impl Inventory {
    /// All files that the data set hands out; none for built-in pictures.
    pub fn of(data: &Dataset) -> Result<Inventory> {
        let files = data.files();
        let row = |(name, path): (String, &Path)| Ok((name, known_by(path).map_err(|e| Error::io(path, e))?));
        Ok(Inventory { files: files.into_par_iter().map(row).collect::<Result<_>>()? })
    }

    pub fn write(&self, run: &Path) -> Result<()> {
        write_whole(run.join(DATA), &serde_json::to_vec(self).expect("plain data"))
    }

    /// What a run was begun with.
    pub fn read(run: &Path) -> Result<Inventory> {
        let file = run.join(DATA);
        let bytes = std::fs::read(&file).map_err(|e| Error::io(&file, e))?;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_change_has_a_name() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        let of = |bytes: &[u8]| {
            std::fs::write(&path, bytes).unwrap();
            known_by(&path).unwrap()
        };
        let mut long = vec![7u8; 3 * ENDS as usize];
        let whole = of(&long);
        for at in [0, ENDS as usize - 1, 2 * ENDS as usize, 3 * ENDS as usize - 1] {
            long[at] ^= 1;
            assert_ne!(of(&long), whole, "byte {at}");
            long[at] ^= 1;
        }
        assert_eq!(of(&long), whole);
        let mut short = vec![7u8; ENDS as usize + 1];
        let whole = of(&short);
        *short.last_mut().unwrap() = 8;
        assert_ne!(of(&short), whole);
        assert_ne!(of(b""), of(b"x"));

        let list = |rows: &[(&str, u32)]| Inventory { files: rows.iter().map(|&(n, c)| (n.to_string(), (1, c))).collect() };
        let (a, b) = (list(&[("x", 1), ("y", 1)]), list(&[("y", 2), ("z", 1)]));
        assert_eq!(a.changes(&a), None);
        assert_eq!(a.changes(&b).unwrap(), "1 gone (x); 1 with other content (y); 1 new (z)");
        a.write(dir.path()).unwrap();
        assert_eq!(Inventory::read(dir.path()).unwrap(), a);
    }
}
