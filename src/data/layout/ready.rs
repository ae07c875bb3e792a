//! This program's own layout: `DIR/{train,val,test}/{real,fake,mask}/` and `DIR/unseen/METHOD/{fake,mask}/`, with what `manifest.jsonl`
//! says. Training reads such a folder by [`super::super::folder`]; here it becomes rows, to write a manifest of it.

use std::path::Path;

use super::reading::{Layout, Reading, folders};
use super::row::{Place, Row};
use crate::data::manifest::{self, slashes};
use crate::error::{Error, Result};

pub const LAYOUT: Layout = Layout {
    name: "ready",
    title: "a data set of this program (train, val, test, unseen)",
    shape: "train/, val/, test/, each with real/ and fake/",
    seen: &[],
    detect: |root| ["train", "val", "test"].iter().any(|s| ["real", "fake"].iter().any(|c| root.join(s).join(c).is_dir())),
    read,
};

fn read(root: &Path, out: &mut Reading) -> Result<()> {
    let entries = manifest::read(root)?;
    let split = |place: Place| (root.join(place.name()), place, "fake".to_string());
    let mut parts: Vec<_> = [Place::Train, Place::Val, Place::Test].map(split).into_iter().filter(|p| p.0.is_dir()).collect();
    parts.extend(folders(&root.join("unseen"))?.into_iter().map(|(name, dir)| (dir, Place::Unseen, name)));
    for (dir, place, name) in parts {
        let masks = dir.join("mask");
        let mut masks = if masks.is_dir() { Some(out.by_stem(&masks)?) } else { None };
        for (class, fake) in [("real", false), ("fake", true)] {
            let folder = dir.join(class);
            if !folder.is_dir() {
                if fake || place != Place::Unseen {
                    return Err(Error::data(folder, "this folder is missing; a data set has DIR/{train,val,test}/{real,fake}/"));
                }
                continue;
            }
            for (stem, path) in out.by_stem(&folder)? {
                let entry = path.strip_prefix(root).ok().and_then(|p| entries.get(&slashes(p)));
                let told = entry.map(|e| e.method.as_str()).filter(|_| place != Place::Unseen);
                let mut row = Row::new(path, fake, if fake { told.unwrap_or(&name) } else { "" });
                if place == Place::Unseen {
                    row.method = name.clone();
                }
                row.split = Some(place);
                if fake && let Some(masks) = &mut masks {
                    row.mask = masks.remove(&stem);
                    if row.mask.is_none() {
                        return Err(Error::data(
                            row.path,
                            "no mask with its stem in the mask folder; add it, or remove the picture",
                        ));
                    }
                }
                if let Some(e) = entry {
                    row.group = e.group.map(|g| g.to_string());
                    row.original = e.original.as_ref().filter(|_| fake).map(|o| root.join(o));
                    (row.fingerprinted, row.side, row.bounds) = (e.fingerprinted, e.side, e.bounds);
                }
                out.rows.push(row);
            }
        }
        if let Some((_, mask)) = masks.iter().flatten().next() {
            return Err(Error::data(mask, "a mask without a picture; add the picture or remove the mask"));
        }
    }
    Ok(())
}
