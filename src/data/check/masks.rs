//! The masks of a data set: coverage, polarity, shape, and what was taken for "forged".

use std::path::Path;

use rayon::prelude::*;

use super::line::{Level, Line, by_kind, few, line};
use crate::data::codec::Shape;
use crate::data::mask::Mask;
use crate::data::meaning::Cause;
use crate::data::note::{Kind, Note};
use crate::error::Error;

/// A mask that was read: its share of the picture, and what was decided about it.
type Read = Result<(f64, Vec<Note>), (Cause, Error)>;

fn read(path: &Path, of: Option<Shape>) -> Read {
    let (mut mask, mut notes) = Mask::judged(path)?;
    if let Some(of) = of {
        (mask, notes) = mask.fit(notes, path, of).map_err(|e| (Cause::File, e))?;
    }
    let share = mask.area() as f64 / mask.on.len().max(1) as f64;
    // What covers everything has a line of its own.
    notes.retain(|n| n.kind != Kind::MaskInverted || share < 1.0);
    Ok((share, notes))
}

/// The lines about masks, each given with the shape of its picture where that could be read.
pub fn check(masks: &[(&Path, Option<Shape>)], root: &Path) -> Vec<Line> {
    if masks.is_empty() {
        return Vec::new();
    }
    let seen: Vec<Read> = masks.par_iter().with_max_len(1).map(|&(path, of)| read(path, of)).collect();
    let those =
        |test: &dyn Fn(&Read) -> bool| masks.iter().zip(&seen).filter(|(_, s)| test(s)).map(|(m, _)| m.0).collect::<Vec<_>>();
    let share = |test: &dyn Fn(f64) -> bool| those(&|s| s.as_ref().is_ok_and(|s| test(s.0)));
    let mut lines = vec![coverage(&seen, &share(&|s| s == 0.0), &share(&|s| s == 1.0), &those(&because(Cause::File)), root)];
    let most = share(&|s| s > 0.5 && s < 1.0);
    let found = format!("of {} masks are white in more than half: {}", masks.len(), few(&most, root));
    let level = if 2 * most.len() > masks.len() { Level::Yellow } else { Level::Green };
    lines.push(line("mask polarity", level, found, "white is forged; invert the masks if white is what was left alone"));
    // What is refused, and photographs that are not: grey ones.
    for (cause, what, remedy) in [
        (Cause::Photograph, "no masks", "put masks there: what is forged white, all else black"),
        (Cause::Colours, "mask colours", "draw what is forged white and all else black (or red and green)"),
    ] {
        let first = seen.iter().filter_map(|s| s.as_ref().err()).find(|(c, _)| *c == cause);
        if let Some((_, Error::Data { why, .. })) = first {
            // The reason ends with the remedy, which is the line's.
            let why = why.split(": ").next().unwrap_or(why);
            let found = format!("{}: refused, {why}", few(&those(&because(cause)), root));
            lines.push(line(what, Level::Red, found, remedy));
        }
    }
    let notes = masks.iter().zip(&seen).filter_map(|(m, s)| Some((m.0, s.as_ref().ok()?.1.as_slice())));
    lines.extend(by_kind(notes, root));
    lines
}

fn because(cause: Cause) -> impl Fn(&Read) -> bool {
    move |s| s.as_ref().is_err_and(|(c, _)| *c == cause)
}

fn coverage(seen: &[Read], nothing: &[&Path], everything: &[&Path], spoiled: &[&Path], root: &Path) -> Line {
    let mut sorted: Vec<f64> = seen.iter().filter_map(|s| Some(s.as_ref().ok()?.0)).collect();
    sorted.sort_by(f64::total_cmp);
    let at = |q: f64| sorted.get(((sorted.len().max(1) - 1) as f64 * q) as usize).map_or(0.0, |s| 100.0 * s);
    let mut words = vec![format!("{:.0} to {:.0} % of the picture, median {:.0} %", at(0.0), at(1.0), at(0.5))];
    for (what, paths) in
        [("cover nothing", nothing), ("cover everything", everything), ("cannot be read or have another shape", spoiled)]
    {
        if !paths.is_empty() {
            words.push(format!("{what}: {}", few(paths, root)));
        }
    }
    let level = if words.len() == 1 { Level::Green } else { Level::Red };
    let remedy = "draw the forged pixels white and all others black, at the picture's shape";
    line("mask coverage", level, words.join("; "), remedy)
}
