//! A folder of photographs that forgeries are to be made from: what can be wrong with it.

use std::path::{Path, PathBuf};

use rayon::prelude::*;

use super::line::{Level, Line, below, by_kind, few, line};
use crate::data::duplicates::{Look, copies_among};
use crate::data::note::Note;
use crate::data::picture::Picture;
use crate::data::source::{Tell, data_set_in};
use crate::data::walk::{Found, Passed, explained, walk};
use crate::error::{Error, Result};

/// Photographs from which the tests have ten or more by default (`data.test_share`): with fewer the figures say little.
const ENOUGH: usize = 50;

/// A file that was read: size, look, notes.
type Read = Result<((usize, usize), Look, Vec<Note>)>;

fn read(path: &PathBuf) -> Read {
    let opened = Picture::open_noted(path).map_err(explained)?;
    let p = &opened.picture;
    Ok(((p.w, p.h), Look::of(p), opened.notes))
}

/// Looks at everything in `root`, a folder for `--photos`. `tell` hears how far it is.
pub fn check(root: &Path, tell: Tell) -> Result<Vec<Line>> {
    if !root.is_dir() {
        return Err(Error::data(root, "no such folder; data check --photos wants a folder of photographs"));
    }
    let Found { pictures, passed } = walk(root, false)?;
    if pictures.is_empty() {
        let beside = if passed.is_empty() { String::new() } else { format!("; passed over: {}", passed.line()) };
        return Err(Error::data(root, format!("holds no pictures (png, jpg, webp, bmp, tiff, gif, pnm){beside}")));
    }
    tell(&format!("data      reading {} photographs", pictures.len()));
    let seen: Vec<Read> = pictures.par_iter().with_max_len(1).map(read).collect();
    let looks: Vec<Option<&Look>> = seen.iter().map(|s| s.as_ref().ok().map(|s| &s.1)).collect();
    let copies = copies_among(&pictures, &looks);
    let mut lines: Vec<Line> = data_set(root).into_iter().collect();
    lines.push(number(&seen, copies.len()));
    lines.push(unreadable(&pictures, &seen, root));
    lines.extend(sizes(seen.iter().filter_map(|s| Some(s.as_ref().ok()?.0))));
    lines.push(beside(pictures.len(), &passed));
    let twice = copies
        .iter()
        .take(3)
        .map(|&(i, a, how)| format!("{} of {} ({})", below(&pictures[i], root), below(&pictures[a], root), how.words()));
    let twice = twice.collect::<Vec<_>>().join(", ");
    let more = if copies.len() > 3 { ", …" } else { "" };
    lines.push(match copies.len() {
        0 => {
            line("same twice", Level::Green, format!("no photograph twice among {} (files, pixels, copies)", pictures.len()), "")
        }
        n => {
            let are = if n == 1 { "is a copy" } else { "are copies" };
            let found = format!("{n} {are} of others and would be left out: {twice}{more}");
            line("same twice", Level::Yellow, found, "keep one of each")
        }
    });
    let notes = pictures.iter().zip(&seen).filter_map(|(p, s)| Some((p.as_path(), s.as_ref().ok()?.2.as_slice())));
    lines.extend(by_kind(notes, root));
    Ok(lines)
}

fn data_set(root: &Path) -> Option<Line> {
    let found = format!("this is a data set ({}): its forgeries and masks would be taken for photographs", data_set_in(root)?);
    Some(line("layout", Level::Red, found, "check and use it as a data set: data check DIR, train --data DIR"))
}

fn number(seen: &[Read], copies: usize) -> Line {
    let n = seen.iter().filter(|s| s.is_ok()).count() - copies;
    let level = match n {
        0..3 => Level::Red,
        3..ENOUGH => Level::Yellow,
        _ => Level::Green,
    };
    let remedy = "3 are needed for train, val and test (data.split=crop does with one), 50 for tests of ten; give more";
    line("photographs", level, format!("{n} different ones that can be read"), remedy)
}

fn unreadable(pictures: &[PathBuf], seen: &[Read], root: &Path) -> Line {
    let bad: Vec<(&Path, &Error)> =
        pictures.iter().zip(seen).filter_map(|(p, s)| Some((p.as_path(), s.as_ref().err()?))).collect();
    let Some((_, first)) = bad.first() else {
        return line("unreadable", Level::Green, format!("all {} pictures can be read", pictures.len()), "");
    };
    let paths: Vec<&Path> = bad.iter().map(|b| b.0).collect();
    let first = crate::text::line(&first.to_string());
    let found = format!("of {} pictures cannot be read: {}; the first: {first}", pictures.len(), few(&paths, root));
    let level = if bad.len() == pictures.len() { Level::Red } else { Level::Yellow };
    line("unreadable", level, found, "copy them again or remove them")
}

fn sizes(sizes: impl Iterator<Item = (usize, usize)>) -> Option<Line> {
    let sizes: Vec<(usize, usize)> = sizes.collect();
    let (least, most) = (sizes.iter().min_by_key(|s| s.0.min(s.1))?, sizes.iter().max_by_key(|s| s.0 * s.1)?);
    let small = sizes.iter().filter(|s| s.0.min(s.1) < 64).count();
    let level = if 2 * small > sizes.len() { Level::Yellow } else { Level::Green };
    let found = format!("{} x {} to {} x {} pixels; {small} below 64 pixels", least.0, least.1, most.0, most.1);
    Some(line("sizes", level, found, "crops of small photographs are enlarged: give larger ones"))
}

fn beside(pictures: usize, passed: &Passed) -> Line {
    let level = if passed.pictures() > 0 { Level::Yellow } else { Level::Green };
    let found =
        if passed.is_empty() { format!("nothing but {pictures} pictures") } else { format!("passed over: {}", passed.line()) };
    line("not in the data", level, found, "convert what belongs to the photographs")
}
