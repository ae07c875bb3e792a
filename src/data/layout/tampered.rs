//! Spliced and copied photographs as CASIA and its like have them:
//!
//! ```text
//! Au/Au_ani_00001.jpg        authentic
//! Tp/Tp_D_CND_00001.tif      tampered (folders below are methods: Tp/CM, Tp/Sp)
//! Gt/Tp_D_CND_00001_gt.png   masks, by stem with or without _gt, _mask
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::reading::{Layout, Reading, folder_named, videos, videos_only};
use super::row::Row;
use crate::error::{Error, Result};

const AUTHENTIC: [&str; 4] = ["Au", "Authentic", "real", "originals"];
const TAMPERED: [&str; 2] = ["Tp", "Tampered"];
const MASKS: [&str; 6] = ["Gt", "Groundtruth", "CASIA 2 Groundtruth", "masks", "mask", "Tp_masks"];
const SUFFIXES: [&str; 5] = ["", "_gt", "_mask", "-mask", "_edgemask"];

pub const LAYOUT: Layout = Layout {
    name: "tampered",
    title: "authentic, tampered, masks (Au, Tp, Gt)",
    shape: "Tp/ beside Au/ and Gt/",
    seen: &[],
    detect: |root| folder_named(root, &TAMPERED).is_some() && !root.join("train").is_dir(),
    read,
};

fn read(root: &Path, out: &mut Reading) -> Result<()> {
    let tampered = folder_named(root, &TAMPERED).unwrap_or_else(|| root.join("Tp"));
    let Some(authentic) = folder_named(root, &AUTHENTIC) else {
        let why = "this part is missing: genuine pictures, without which nothing is learned or judged; put them into Au";
        return Err(Error::data(root.join("Au"), why));
    };
    let masks = folder_named(root, &MASKS);
    let masks: BTreeMap<PathBuf, PathBuf> = masks.map_or(Ok(BTreeMap::new()), |m| out.by_stem(&m))?;
    for (dir, fake) in [(authentic, false), (tampered, true)] {
        let files = out.by_stem(&dir)?;
        if files.is_empty() {
            return Err(match videos(&dir) {
                0 => Error::data(dir, "no pictures in this folder"),
                n => videos_only(&dir, n),
            });
        }
        let (mut used, mut unmasked, all) = (BTreeSet::new(), 0, files.len());
        for (stem, path) in files {
            let above = stem.parent().map(|p| p.to_string_lossy().into_owned()).filter(|p| !p.is_empty());
            let mut row = Row::new(path, fake, if fake { above.as_deref().unwrap_or("tampered") } else { "" });
            if fake {
                let found = mask_of(&stem, &masks);
                unmasked += found.is_none() as usize;
                row.mask = found.map(|(name, mask)| {
                    used.insert(name.clone());
                    mask.clone()
                });
            }
            out.rows.push(row);
        }
        if !fake {
            continue;
        }
        masks.iter().filter(|(name, _)| !used.contains(*name)).for_each(|(_, mask)| out.leave("masks without a picture", mask));
        if unmasked > 0 {
            out.notes.push(format!("{unmasked} of {all} tampered pictures have no mask"));
        }
    }
    Ok(())
}

/// The mask with the path of the picture, or with its name alone where the masks lie in one folder.
fn mask_of<'a>(stem: &Path, masks: &'a BTreeMap<PathBuf, PathBuf>) -> Option<(&'a PathBuf, &'a PathBuf)> {
    let name = stem.file_name()?.to_string_lossy().into_owned();
    let folders = [stem.parent().unwrap_or(Path::new("")), Path::new("")];
    let wanted = folders.iter().flat_map(|f| SUFFIXES.iter().map(|s| f.join(format!("{name}{s}"))));
    wanted.filter_map(|w| masks.get_key_value(&w)).next()
}
