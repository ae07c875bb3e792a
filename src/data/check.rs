//! `lae-engine data check`: what is wrong with a data folder, before hours are spent on it. Every file is read.
//!
//! The folder is listed here on its own, and not opened as training opens it: opening ends at the first fault, and all of them are
//! wanted.

mod line;
mod masks;
mod photos;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use super::duplicates::{Look, Member, Twins, find_among};
use super::leak::{self, Header, LEAST, RED, YELLOW};
use super::manifest::{self, slashes};
use super::note::Note;
use super::picture::{Opened, Picture, Shape};
use super::source::Tell;
use super::walk::{Found, Identity, explained, identity, walk, without_ending};
use crate::error::{Error, Result};
use crate::text::shown;

pub use line::{Level, Line};
use line::{by_kind, few, line};
pub use photos::check as photographs;

/// A picture that was read.
struct Seen {
    path: PathBuf,
    stem: PathBuf,
    header: Option<Header>,
    /// What the decoded picture is like, or why there is none.
    read: Result<Facts>,
}

struct Facts {
    shape: Shape,
    border: [f64; 4],
    look: Look,
    notes: Vec<Note>,
}

/// A split, or an unseen method.
struct Part {
    name: String,
    side: usize,
    /// Genuine, forged.
    classes: [Vec<Seen>; 2],
    missing: Vec<&'static str>,
    /// Masks by stem. None without a folder of masks.
    masks: Option<BTreeMap<PathBuf, PathBuf>>,
}

/// Looks at everything in `root`, a folder in the layout of [`super::folder`]. `tell` hears how far it is.
pub fn check(root: &Path, tell: Tell) -> Result<Vec<Line>> {
    if !root.is_dir() {
        return Err(Error::data(root, "no such folder; data check wants DIR/{train,val,test}/{real,fake,mask}/"));
    }
    if !["train", "val", "test"].iter().any(|s| root.join(s).is_dir()) {
        return Err(no_data_set(root)?);
    }
    let parts = parts(root, tell)?;
    let mut lines = vec![layout(&parts), balance(&parts), unreadable(&parts, root), sizes(&parts), beside(root, &parts)?];
    lines.push(pairing(&parts, root));
    lines.extend(masks::check(&pairs(&parts), root));
    let notes = all(&parts).filter_map(|s| Some((s.path.as_path(), s.read.as_ref().ok()?.notes.as_slice())));
    lines.extend(by_kind(notes, root));
    lines.extend(twins(&parts, root));
    lines.extend(leaks(&parts));
    Ok(lines)
}

/// Says what a folder is that lacks the layout of a data set, and how it can be checked.
fn no_data_set(root: &Path) -> Result<Error> {
    let why = "has none of train, val and test; a data set is DIR/{train,val,test}/{real,fake,mask}/";
    let has = |name| root.join(name).is_dir();
    if has("fake") && (has("real") || has("mask")) {
        return Ok(Error::data(root, format!("{why}. It looks like one split of such: give the folder that it is in")));
    }
    let hint = match walk(root, false)?.pictures.len() {
        0 => "It holds no picture either".to_string(),
        n => {
            let s = if n == 1 { "" } else { "s" };
            format!(
                "It holds {n} picture{s}: if these are photographs to make forgeries from, `lae-engine data check --photos DIR`"
            )
        }
    };
    Ok(Error::data(root, format!("{why}. {hint}")))
}

fn parts(root: &Path, tell: Tell) -> Result<Vec<Part>> {
    let mut dirs: Vec<(String, usize)> =
        ["train", "val", "test"].into_iter().enumerate().map(|(i, n)| (n.to_string(), i)).collect();
    let mut paths: Vec<PathBuf> = dirs.iter().map(|d| root.join(&d.0)).collect();
    let unseen = root.join("unseen");
    if unseen.is_dir() {
        let entries = std::fs::read_dir(&unseen).map_err(|e| Error::io(&unseen, e))?;
        let mut found: Vec<PathBuf> = entries.filter_map(|e| Some(e.ok()?.path())).filter(|p| p.is_dir()).collect();
        found.sort();
        dirs.extend(found.iter().map(|p| (format!("unseen/{}", shown(p.file_name().unwrap_or_default())), 2)));
        paths.extend(found);
    }
    let mut parts = Vec::new();
    for ((name, side), dir) in dirs.into_iter().zip(paths) {
        tell(&format!("data      reading {name}"));
        let (mut classes, mut missing) = ([Vec::new(), Vec::new()], Vec::new());
        for (k, class) in ["real", "fake"].into_iter().enumerate() {
            let folder = dir.join(class);
            if folder.is_dir() {
                let found = walk(&folder, k == 1)?;
                classes[k] = found.pictures.into_par_iter().with_max_len(1).map(|p| Seen::read(&folder, p)).collect();
            } else if k == 1 || side < 2 || name == "test" {
                missing.push(class);
            }
        }
        let folder = dir.join("mask");
        let masks = if folder.is_dir() {
            let found = walk(&folder, true)?;
            Some(found.pictures.into_iter().map(|p| (stem(&folder, &p), p)).collect())
        } else {
            None
        };
        parts.push(Part { name, side, classes, missing, masks });
    }
    Ok(parts)
}

fn stem(dir: &Path, path: &Path) -> PathBuf {
    without_ending(path.strip_prefix(dir).unwrap_or(path))
}

impl Seen {
    fn read(dir: &Path, path: PathBuf) -> Seen {
        let facts = |opened: Opened| {
            let p = &opened.picture;
            Facts { shape: opened.shape(), border: leak::border(p), look: Look::of(p), notes: opened.notes }
        };
        let read = Picture::open_noted(&path).map_err(explained).map(facts);
        Seen { stem: stem(dir, &path), header: Header::of(&path), path, read }
    }
}

fn all(parts: &[Part]) -> impl Iterator<Item = &Seen> {
    parts.iter().flat_map(|p| p.classes.iter().flatten())
}

fn layout(parts: &[Part]) -> Line {
    let lack = |p: &Part| p.missing.iter().map(|c| format!("{}/{c}", p.name)).collect::<Vec<_>>();
    let missing: Vec<String> = parts.iter().flat_map(lack).collect();
    let empty =
        parts.iter().filter(|p| p.classes[1].is_empty() && !p.missing.contains(&"fake")).map(|p| format!("{}/fake", p.name));
    let empty_real = parts
        .iter()
        .filter(|p| p.side < 2 || p.name == "test")
        .filter(|p| p.classes[0].is_empty() && !p.missing.contains(&"real"));
    let empty: Vec<String> = empty.chain(empty_real.map(|p| format!("{}/real", p.name))).collect();
    match (missing.is_empty(), empty.is_empty()) {
        (true, true) => line("layout", Level::Green, format!("train, val, test; unseen methods: {}", parts.len() - 3), ""),
        _ => {
            let words = [("missing", missing), ("empty", empty)]
                .map(|(w, l)| if l.is_empty() { String::new() } else { format!("{w}: {}", l.join(", ")) });
            let words = words.into_iter().filter(|w| !w.is_empty()).collect::<Vec<_>>().join("; ");
            line("layout", Level::Red, words, "a data set has DIR/{train,val,test}/{real,fake}/ with pictures in each")
        }
    }
}

fn balance(parts: &[Part]) -> Line {
    let counts = |p: &Part| (p.classes[0].len(), p.classes[1].len());
    let words: Vec<String> = parts.iter().map(|p| format!("{} {}+{}", p.name, counts(p).0, counts(p).1)).collect();
    let skewed = parts.iter().filter(|p| p.side < 2 || p.name == "test").any(|p| {
        let (r, f) = counts(p);
        r.max(f) > 3 * r.min(f)
    });
    let level = if skewed { Level::Yellow } else { Level::Green };
    line(
        "balance",
        level,
        format!("real+fake: {}", words.join(", ")),
        "the smaller class is repeated in training; give it more pictures",
    )
}

fn unreadable(parts: &[Part], root: &Path) -> Line {
    let bad: Vec<&Seen> = all(parts).filter(|s| s.read.is_err()).collect();
    let total = all(parts).count();
    let mostly = parts.iter().flat_map(|p| &p.classes).any(|c| 2 * c.iter().filter(|s| s.read.is_err()).count() > c.len());
    let level = match (bad.is_empty(), mostly) {
        (true, _) => Level::Green,
        (_, true) => Level::Red,
        _ => Level::Yellow,
    };
    let found = match bad.first().and_then(|s| s.read.as_ref().err()) {
        None => format!("all {total} pictures can be read"),
        Some(e) => {
            let paths: Vec<&Path> = bad.iter().map(|s| s.path.as_path()).collect();
            format!("of {total} pictures cannot be read: {}; the first: {}", few(&paths, root), crate::text::line(&e.to_string()))
        }
    };
    line("unreadable", level, found, "copy them again or remove them (with their masks)")
}

fn sizes(parts: &[Part]) -> Line {
    let sizes: Vec<(usize, usize)> = all(parts).filter_map(|s| Some(s.read.as_ref().ok()?.shape.shown())).collect();
    let (Some(least), Some(most)) = (sizes.iter().min_by_key(|s| s.0.min(s.1)), sizes.iter().max_by_key(|s| s.0 * s.1)) else {
        return line("sizes", Level::Red, "no picture".into(), "put pictures into the folders");
    };
    let tiny = sizes.iter().filter(|s| s.0.min(s.1) < 64).count();
    let long = sizes.iter().filter(|s| s.0.max(s.1) > 3 * s.0.min(s.1)).count();
    let level = if 2 * tiny > sizes.len() || 10 * long > sizes.len() { Level::Yellow } else { Level::Green };
    let found = format!(
        "{} x {} to {} x {} pixels; {tiny} below 64 pixels, {long} more than three times as long as wide",
        least.0, least.1, most.0, most.1
    );
    line(
        "sizes",
        level,
        found,
        "pictures become squares of one size: small ones are enlarged, long ones squeezed; crop or replace them",
    )
}

/// What the folder holds that is not in the data.
fn beside(root: &Path, parts: &[Part]) -> Result<Line> {
    let masks = || parts.iter().filter_map(|p| p.masks.as_ref()).flat_map(BTreeMap::values);
    // Class folders may be links to other places within the folder: what counts is the file, not its name.
    let known: HashSet<Identity> = all(parts).map(|s| &s.path).chain(masks()).filter_map(|p| identity(p).ok()).collect();
    let Found { pictures, passed } = walk(root, true)?;
    let outside: Vec<&Path> =
        pictures.iter().filter(|p| !identity(p).is_ok_and(|id| known.contains(&id))).map(|p| &**p).collect();
    let mut words = Vec::new();
    if !outside.is_empty() {
        words.push(format!("in no class folder: {}", few(&outside, root)));
    }
    if !passed.is_empty() {
        words.push(format!("passed over: {}", passed.line()));
    }
    let level = if outside.is_empty() && passed.pictures() == 0 { Level::Green } else { Level::Yellow };
    let found = match words.is_empty() {
        true => format!("nothing but {} pictures and {} masks", all(parts).count(), masks().count()),
        false => words.join("; "),
    };
    Ok(line("not in the data", level, found, "convert or move what belongs into the data"))
}

fn pairing(parts: &[Part], root: &Path) -> Line {
    let (mut alone, mut left, mut twice, mut without, mut pairs) = (Vec::new(), Vec::new(), Vec::new(), Vec::new(), 0);
    for part in parts {
        let Some(masks) = &part.masks else {
            without.push(part.name.clone());
            continue;
        };
        let mut stems: HashMap<&Path, usize> = HashMap::new();
        part.classes[1].iter().for_each(|s| *stems.entry(&s.stem).or_default() += 1);
        let of = |test: &dyn Fn(&Seen) -> bool| {
            part.classes[1].iter().filter(|s| test(s)).map(|s| s.path.as_path()).collect::<Vec<_>>()
        };
        alone.extend(of(&|s| !masks.contains_key(&s.stem)));
        twice.extend(of(&|s| stems[s.stem.as_path()] > 1));
        left.extend(masks.iter().filter(|(stem, _)| !stems.contains_key(stem.as_path())).map(|m| m.1.as_path()));
        pairs += part.classes[1].len();
    }
    let mut words = Vec::new();
    for (what, paths) in [("fakes without a mask", &alone), ("masks without a fake", &left), ("fakes that share a stem", &twice)]
    {
        if !paths.is_empty() {
            words.push(format!("{what}: {}", few(paths, root)));
        }
    }
    if !without.is_empty() {
        words.push(format!("no masks in {}", without.join(", ")));
    }
    let level = match (alone.len() + left.len() + twice.len(), without.len()) {
        (0, 0) => Level::Green,
        (0, _) => Level::Yellow,
        _ => Level::Red,
    };
    let found = if words.is_empty() { format!("each of {pairs} fakes has its mask") } else { words.join("; ") };
    line("pairing", level, found, "a mask has the path and stem of its fake: fake/a/7.jpg and mask/a/7.png")
}

/// The masks of fakes, each with the shape of its picture.
fn pairs(parts: &[Part]) -> Vec<(&Path, Option<Shape>)> {
    let with_masks = parts.iter().filter_map(|p| Some((p, p.masks.as_ref()?)));
    with_masks
        .flat_map(|(p, masks)| {
            let shape = |s: &Seen| s.read.as_ref().ok().map(|r| r.shape);
            p.classes[1].iter().filter_map(move |s| Some((masks.get(&s.stem)?.as_path(), shape(s))))
        })
        .collect()
}

fn twins(parts: &[Part], root: &Path) -> Vec<Line> {
    let (mut members, mut looks) = (Vec::new(), Vec::new());
    let manifest = manifest::read(root);
    let group = |s: &Seen| manifest.as_ref().ok()?.get(&slashes(s.path.strip_prefix(root).ok()?))?.group;
    for (k, part) in parts.iter().enumerate() {
        for (c, class) in part.classes.iter().enumerate() {
            for s in class {
                let group = group(s);
                members.push(Member { path: s.path.clone(), side: part.side, folder: 2 * k + c, fake: c == 1, group });
                looks.push(s.read.as_ref().ok().map(|r| &r.look));
            }
        }
    }
    let found: Twins = find_among(&members, Some(&looks));
    let faults = found.faults(&members, root);
    let remedy = "take them out of one of the two, or train with --allow-duplicates";
    let mut lines: Vec<Line> = faults.into_iter().map(|f| line("same twice", Level::Red, f, remedy)).collect();
    let copies = found.copies(&members, root);
    lines.extend(copies.map(|c| line("copies", Level::Yellow, c, "keep one of each: copies weigh double")));
    if lines.is_empty() {
        let text = format!("no picture twice among {} (files, pixels, copies, forgeries of one original)", members.len());
        lines.push(line("same twice", Level::Green, text, ""));
    }
    if let Err(e) = &manifest {
        lines.push(line("manifest", Level::Red, crate::text::line(&e.to_string()), "correct it, or remove it"));
    }
    lines
}

/// How well the label can be told without the picture, the worst split of each kind.
fn leaks(parts: &[Part]) -> Vec<Line> {
    let mut worst: Vec<(&'static str, f64, String)> = Vec::new();
    let mut note = |what: &'static str, share: f64, text: String| match worst.iter_mut().find(|w| w.0 == what) {
        Some(w) if w.1 >= share => {}
        Some(w) => *w = (what, share, text),
        None => worst.push((what, share, text)),
    };
    let test = parts.iter().find(|p| p.name == "test");
    let mut few = Vec::new();
    for part in parts {
        let real = if part.classes[0].is_empty() { test.map_or(&[][..], |t| &t.classes[0]) } else { &part.classes[0] };
        let fake = &part.classes[1];
        if real.len().min(fake.len()) < LEAST {
            few.push(part.name.as_str());
            continue;
        }
        let facts = |class: &[Seen]| -> Vec<(Header, (usize, usize))> {
            class.iter().filter_map(|s| Some((s.header.clone()?, s.read.as_ref().ok()?.shape.shown()))).collect()
        };
        for (what, share, text) in leak::headers(&facts(real), &facts(fake)) {
            note(what, share, format!("{}: {text}", part.name));
        }
        let number = |class: &[Seen], k: usize| -> Vec<f64> {
            class.iter().filter_map(|s| Some(s.read.as_ref().ok()?.border[k])).collect()
        };
        let share = (0..4).map(|k| leak::by_number(&number(real, k), &number(fake, k))).fold(0.5, f64::max);
        note("border", share, format!("{}: the outermost pixels", part.name));
    }
    let remedy = "save both classes in the same way: same source, size, format, quality, metadata";
    let judge = |(what, share, text): (&'static str, f64, String)| {
        let level = if share >= RED {
            Level::Red
        } else if share >= YELLOW {
            Level::Yellow
        } else {
            Level::Green
        };
        let measure = if what == "border" { format!("AUC {share:.2}") } else { format!("{:.0} % of the labels", 100.0 * share) };
        let what = match what {
            "format" => "leak by format",
            "size" => "leak by size",
            "JPEG quality" => "leak by quality",
            "metadata" => "leak by metadata",
            _ => "leak by border",
        };
        line(what, level, format!("{measure} ({text})"), remedy)
    };
    let mut lines: Vec<Line> = worst.into_iter().map(judge).collect();
    if !few.is_empty() {
        lines.push(line(
            "leaks",
            Level::Yellow,
            format!("fewer than {LEAST} pictures of a class in {}: not judged", few.join(", ")),
            "give more pictures",
        ));
    }
    lines
}
