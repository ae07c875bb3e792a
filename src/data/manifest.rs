//! `manifest.jsonl` of a data folder: what the names of its files do not tell.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::text::{line, shown};

/// One line of `manifest.jsonl`. Paths are relative to the data folder, with forward slashes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    pub path: String,
    /// "real" or "fake".
    pub label: String,
    pub method: String,
    /// Photograph.
    pub group: Option<u32>,
    pub split: String,
    pub mask: Option<String>,
    /// Of a fake: the picture before it was forged, pixel by pixel beside it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub original: Option<String>,
    /// Carries the planted trace.
    #[serde(default)]
    pub fingerprinted: bool,
    /// Of a fake at its own size: side of the forged region over the short side of the picture.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub side: Option<f64>,
    /// Of the forged region: left, top, width, height, pixels.
    #[serde(rename = "box", default, skip_serializing_if = "Option::is_none")]
    pub bounds: Option<[usize; 4]>,
}

/// A path below a data folder with forward slashes, escaped: what entries are looked up by.
pub(super) fn slashes(path: &Path) -> String {
    path.components().map(|c| shown(c.as_os_str())).collect::<Vec<_>>().join("/")
}

/// The entries of a data folder by `slashes`; none without a manifest.
pub fn read(root: &Path) -> Result<HashMap<String, Entry>> {
    let path = root.join("manifest.jsonl");
    if !path.is_file() {
        return Ok(HashMap::new());
    }
    let text = fs::read_to_string(&path).map_err(|e| Error::io(&path, e))?;
    let mut entries = HashMap::new();
    for (n, words) in text.lines().enumerate().filter(|(_, l)| !l.trim().is_empty()) {
        let mut entry: Entry = serde_json::from_str(words)
            .map_err(|e| Error::data(&path, format!("line {}: {e}; correct it, or remove the file", n + 1)))?;
        entry.method = line(&entry.method);
        entries.insert(shown(&entry.path), entry);
    }
    Ok(entries)
}
