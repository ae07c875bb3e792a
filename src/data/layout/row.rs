//! One picture of a data set as manifests and layouts tell of it.

use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// Where a picture is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Place {
    Train,
    Val,
    Test,
    /// A test of a method that is never trained on.
    Unseen,
}

impl Place {
    /// As the column `split` has it.
    pub fn name(self) -> &'static str {
        ["train", "val", "test", "unseen"][self as usize]
    }

    /// Train, validation, tests: what must share no picture.
    pub fn side(self) -> usize {
        (self as usize).min(2)
    }
}

/// The part of a picture that is used, in pixels of the picture as shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Crop {
    pub x: usize,
    pub y: usize,
    pub w: usize,
    pub h: usize,
}

impl Crop {
    /// Refuses a box that is not inside a picture of `size` (w, h). `line`: of the manifest, 0 where there is none.
    pub fn check(self, file: &Path, size: (usize, usize), line: usize) -> Result<()> {
        let Crop { x, y, w, h } = self;
        let inside = |from: usize, side: usize, all: usize| side > 0 && from.checked_add(side).is_some_and(|end| end <= all);
        if inside(x, w, size.0) && inside(y, h, size.1) {
            return Ok(());
        }
        let at = if line > 0 { format!("line {line} of the manifest: ") } else { String::new() };
        let why = format!(
            "{at}the box x, y, w, h = {x}, {y}, {w}, {h} is not inside the picture of {} x {} pixels; correct it, or leave the four \
             columns empty to take the whole picture",
            size.0, size.1
        );
        Err(Error::data(file, why))
    }
}

/// One picture. Paths are absolute, or begin with the folder that was given.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    pub path: PathBuf,
    pub fake: bool,
    /// Of a fake: who made it. Of a genuine picture: empty, or the unseen method in whose test it is.
    pub method: String,
    /// Video, identity or photograph: pictures of a group stay on one side of the split.
    pub group: Option<String>,
    pub split: Option<Place>,
    pub mask: Option<PathBuf>,
    /// Of a fake: the picture before it was forged, pixel by pixel beside it.
    pub original: Option<PathBuf>,
    pub crop: Option<Crop>,
    /// Of the manifest; 0 where a layout gave the row.
    pub line: usize,
    /// Carries the planted trace (manifests of `forge`).
    pub fingerprinted: bool,
    /// Of a fake at its own size: side of the forged region over the short side of the picture (manifests of `forge --whole`).
    pub side: Option<f64>,
    /// Of the forged region: left, top, width, height in pixels (manifests of `forge --whole`).
    pub bounds: Option<[usize; 4]>,
}

impl Row {
    pub fn new(path: PathBuf, fake: bool, method: &str) -> Row {
        Row {
            path,
            fake,
            method: method.into(),
            group: None,
            split: None,
            mask: None,
            original: None,
            crop: None,
            line: 0,
            fingerprinted: false,
            side: None,
            bounds: None,
        }
    }

    /// "real" or "fake".
    pub fn label(&self) -> &'static str {
        if self.fake { "fake" } else { "real" }
    }

    /// What the rows that belong together share: the group, else the picture that a fake was made from, else the picture.
    pub fn together(&self) -> (bool, &std::ffi::OsStr) {
        match &self.group {
            Some(group) => (true, group.as_ref()),
            None => (false, self.original.as_ref().unwrap_or(&self.path).as_os_str()),
        }
    }

    /// As the column `split` has it: `train`, `unseen/NAME`; empty where the set has no splits.
    pub fn split_name(&self) -> String {
        match self.split {
            None => String::new(),
            Some(Place::Unseen) => format!("unseen/{}", self.method),
            Some(place) => place.name().into(),
        }
    }
}
