//! A folder of masks: `a/7.png` belongs to the picture whose path ends in `a/7`. The layout of `DIR/train/mask` (docs/data.md).

use std::path::Path;

use super::pair::{Found, Out};
use crate::data::Mask;
use crate::data::walk::walk;
use crate::error::{Error, Result};
use crate::text::shown;

/// Every mask below `dir`, read as the masks of a data set are: what soft edges and colours mean is decided in one place.
pub(super) fn read(dir: &Path, notes: &mut Vec<String>) -> Result<Vec<Found>> {
    let files = walk(dir, false)?.pictures;
    if files.is_empty() {
        return Err(Error::data(dir, "holds neither pictures nor labelme JSON: give a folder of masks"));
    }
    let one = |file: &std::path::PathBuf| {
        let (mask, said) = Mask::open_noted(file)?;
        notes.extend(said.iter().map(|n| format!("{}: {}", shown(file), n.text)));
        let below = file.strip_prefix(dir).unwrap_or(file);
        Ok(Found { name: shown(below), file: file.clone(), mask })
    };
    files.iter().map(one).collect()
}

/// Black and white PNG, by the names of their pictures below `train/fake`.
pub(super) fn write(dir: &Path, masks: &[Out]) -> Result<()> {
    for out in masks {
        let file = dir.join(out.stem() + ".png");
        let parent = file.parent().unwrap_or(dir);
        std::fs::create_dir_all(parent).map_err(|e| Error::io(parent, e))?;
        out.mask.save(&file)?;
    }
    Ok(())
}
