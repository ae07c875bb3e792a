//! A line of `data check`, and what many lines need: paths in a few words, notes by kind.

use std::collections::BTreeMap;
use std::path::Path;

use crate::data::note::{Kind, Note};
use crate::text::shown;

/// How bad a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    Green,
    /// To be looked at.
    Yellow,
    /// Results would be wrong, or training would end with an error.
    Red,
}

impl Level {
    pub fn word(self) -> &'static str {
        match self {
            Level::Green => "green",
            Level::Yellow => "yellow",
            Level::Red => "red",
        }
    }
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Line {
    pub level: Level,
    /// In a word or two: `balance`.
    pub what: &'static str,
    pub found: String,
    /// What to do; empty where nothing is wrong.
    pub remedy: &'static str,
}

/// A line: `bad` with a remedy where there is something to say, else green.
pub fn line(what: &'static str, level: Level, found: String, remedy: &'static str) -> Line {
    Line { level, what, found, remedy: if level == Level::Green { "" } else { remedy } }
}

/// `12 (a.png, b.png, c.png, …)`.
pub fn few(paths: &[&Path], root: &Path) -> String {
    if paths.is_empty() {
        return "0".into();
    }
    let words: Vec<String> = paths.iter().take(3).map(|p| below(p, root)).collect();
    format!("{} ({}{})", paths.len(), words.join(", "), if paths.len() > 3 { ", …" } else { "" })
}

/// A path as seen from the folder that is checked.
pub fn below(path: &Path, root: &Path) -> String {
    shown(path.strip_prefix(root).unwrap_or(path))
}

/// A line for each kind of note: the files, and what was decided about the first of them.
pub fn by_kind<'a>(files: impl Iterator<Item = (&'a Path, &'a [Note])>, root: &Path) -> Vec<Line> {
    let mut kinds: BTreeMap<Kind, Vec<(&Path, &Note)>> = BTreeMap::new();
    for (path, notes) in files {
        notes.iter().for_each(|note| kinds.entry(note.kind).or_default().push((path, note)));
    }
    let row = |(kind, files): (Kind, Vec<(&Path, &Note)>)| {
        let (what, level, remedy) = words(kind);
        let text = &files[0].1.text;
        let first = if files.iter().all(|f| f.1.text == *text) { "" } else { "the first: " };
        let paths: Vec<&Path> = files.iter().map(|f| f.0).collect();
        line(what, level, format!("{}: {first}{text}", few(&paths, root)), remedy)
    };
    kinds.into_iter().map(row).collect()
}

/// What a kind of note is called, how bad it is, and what to do.
fn words(kind: Kind) -> (&'static str, Level, &'static str) {
    use Level::*;
    match kind {
        Kind::Frame => ("frames", Yellow, "save the frames or pages that are meant as files of their own"),
        Kind::Alpha => ("transparency", Yellow, "save them without transparency, on the ground that is meant"),
        Kind::EmptyAlpha => ("empty alpha", Yellow, "save them without an alpha channel"),
        Kind::Profile => ("colour profile", Green, ""),
        Kind::ProfileIgnored => ("profile ignored", Yellow, "convert them to sRGB"),
        Kind::Gamma => ("PNG colours", Green, ""),
        Kind::GammaIgnored => ("PNG colours", Yellow, "convert them to sRGB"),
        Kind::NoEnd => ("JPEG ending", Yellow, "copy them again: the end of the file may be lost"),
        Kind::Turned => ("turned pictures", Yellow, "turn the mask if it was drawn on the stored pixels"),
        Kind::MaskTurned => ("turned masks", Yellow, "look whether picture and mask agree; apply the EXIF orientation to both"),
        Kind::MaskInverted => ("inverted masks", Yellow, "white is forged: invert the mask if white is what was left alone"),
        Kind::MaskGrey => ("grey masks", Yellow, "draw what is forged white and all else black, if another threshold is meant"),
        Kind::MaskPhotograph => ("no masks", Red, "put masks there: what is forged white, all else black"),
        Kind::MaskColours => {
            ("coloured masks", Yellow, "draw what is forged white and all else black, if something else is meant")
        }
        Kind::MaskAlpha => ("mask holes", Yellow, "draw what is forged white and all else black, if something else is meant"),
    }
}
