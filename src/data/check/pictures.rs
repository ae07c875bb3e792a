//! What is looked at, by split and class, and the lines that hold of pictures whatever told of them.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use super::line::{Level, Line, by_kind, few, line};
use super::masks;
use crate::data::duplicates::{Look, Member, Twins, find_among};
use crate::data::leak::{self, Header, LEAST, RED, YELLOW};
use crate::data::manifest::{self, slashes};
use crate::data::note::Note;
use crate::data::picture::{Opened, Picture, Shape};
use crate::data::walk::{explained, without_ending};
use crate::error::Result;

/// A picture that was read.
pub struct Seen {
    pub path: PathBuf,
    pub stem: PathBuf,
    pub header: Option<Header>,
    /// The video or identity that a manifest or a layout names, by number.
    pub group: Option<u32>,
    /// What the decoded picture is like, or why there is none.
    pub read: Result<Facts>,
}

pub struct Facts {
    pub shape: Shape,
    pub border: [f64; 4],
    pub look: Look,
    pub notes: Vec<Note>,
}

/// A split, or an unseen method.
pub struct Part {
    pub name: String,
    pub side: usize,
    /// Genuine, forged.
    pub classes: [Vec<Seen>; 2],
    pub missing: Vec<&'static str>,
    /// Masks by stem. None without a folder of masks.
    pub masks: Option<BTreeMap<PathBuf, PathBuf>>,
    /// Whether each fake must have a mask if one has: in a folder a mask that is missing shifts no pair, and is a fault all the same.
    pub paired: bool,
}

impl Seen {
    pub fn read(dir: &Path, path: PathBuf) -> Seen {
        let facts = |opened: Opened| {
            let p = &opened.picture;
            Facts { shape: opened.shape(), border: leak::border(p), look: Look::of(p), notes: opened.notes }
        };
        let read = Picture::open_noted(&path).map_err(explained).map(facts);
        Seen { stem: stem(dir, &path), header: Header::of(&path), group: None, path, read }
    }
}

pub fn all(parts: &[Part]) -> impl Iterator<Item = &Seen> {
    parts.iter().flat_map(|p| p.classes.iter().flatten())
}

pub fn stem(dir: &Path, path: &Path) -> PathBuf {
    without_ending(path.strip_prefix(dir).unwrap_or(path))
}

/// What holds of the pictures, whatever told of them.
pub fn content(parts: &[Part], root: &Path) -> Vec<Line> {
    let mut lines = vec![pairing(parts, root)];
    lines.extend(masks::check(&pairs(parts), root));
    let notes = all(parts).filter_map(|s| Some((s.path.as_path(), s.read.as_ref().ok()?.notes.as_slice())));
    lines.extend(by_kind(notes, root));
    lines.extend(twins(parts, root));
    lines.extend(leaks(parts));
    lines
}

pub fn balance(parts: &[Part]) -> Line {
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

pub fn unreadable(parts: &[Part], root: &Path) -> Line {
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

pub fn sizes(parts: &[Part]) -> Line {
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
        (n, _) if n == alone.len() && parts.iter().all(|p| !p.paired) => Level::Yellow,
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
                let group = s.group.or_else(|| group(s));
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
