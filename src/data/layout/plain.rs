//! Folders named by their label: `0_real` and `1_fake`, alone or below splits and methods.
//!
//! ```text
//! 0_real/a.png, 1_fake/b.png                        no splits: divided by group
//! train/0_real, train/1_fake, test/…                splits
//! test/StyleGAN/0_real, test/StyleGAN/1_fake        what stands between the split and the label is the method
//! ```
//!
//! Pictures of one stem in both folders are one group.

use std::path::{Path, PathBuf};

use super::reading::{Layout, Reading, folders, videos, videos_only};
use super::row::{Place, Row};
use crate::error::{Error, Result};

pub const LAYOUT: Layout = Layout {
    name: "plain",
    title: "folders named by label (0_real, 1_fake)",
    shape: "0_real/ and 1_fake/, alone or below train/, val/, test/ and methods",
    seen: &[],
    detect: |root| pairs(root, 0).is_ok_and(|found| !found.is_empty()),
    read,
};

/// How many folders may stand above a label.
const DEPTH: usize = 3;

/// Folders that hold `0_real` or `1_fake`.
fn pairs(dir: &Path, depth: usize) -> Result<Vec<PathBuf>> {
    let found = folders(dir)?;
    if found.iter().any(|(name, _)| name == "0_real" || name == "1_fake") {
        return Ok(vec![dir.into()]);
    }
    let mut out = Vec::new();
    if depth < DEPTH {
        for (_, below) in found {
            out.extend(pairs(&below, depth + 1)?);
        }
    }
    Ok(out)
}

fn read(root: &Path, out: &mut Reading) -> Result<()> {
    let places = [("train", Place::Train), ("val", Place::Val), ("valid", Place::Val), ("test", Place::Test)];
    for dir in pairs(root, 0)? {
        let between: Vec<String> =
            dir.strip_prefix(root).unwrap_or(&dir).iter().map(|c| c.to_string_lossy().into_owned()).collect();
        let split = between.first().and_then(|first| places.iter().find(|p| p.0 == first)).map(|p| p.1);
        let method = between[split.is_some() as usize..].join("/");
        for (label, fake) in [("0_real", false), ("1_fake", true)] {
            let folder = dir.join(label);
            if !folder.is_dir() {
                return Err(Error::data(folder, "this folder is missing: 0_real and 1_fake go together; add it"));
            }
            let files = out.by_stem(&folder)?;
            if files.is_empty() {
                return Err(match videos(&folder) {
                    0 => Error::data(folder, "no pictures in this folder"),
                    n => videos_only(&folder, n),
                });
            }
            for (stem, path) in files {
                let mut row = Row::new(
                    path,
                    fake,
                    if !fake {
                        ""
                    } else if method.is_empty() {
                        "fake"
                    } else {
                        &method
                    },
                );
                row.split = split;
                // Below different methods the same stem is another picture.
                row.group = Some(Path::new(&method).join(stem).to_string_lossy().into_owned()).filter(|_| split.is_none());
                out.rows.push(row);
            }
        }
    }
    Ok(())
}
