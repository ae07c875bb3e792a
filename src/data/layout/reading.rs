//! What is read from a manifest or a layout: rows, and a count of everything that is left out.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::row::{Place, Row};
use crate::core::text::thousands;
use crate::data::walk::{Passed, walk, without_ending};
use crate::error::{Error, Result};
use crate::text::{line, shown};

/// A layout that is known: one file each, listed in [`super::LAYOUTS`].
pub struct Layout {
    /// As `--layout` takes it.
    pub name: &'static str,
    /// In words.
    pub title: &'static str,
    /// What makes it known, for errors.
    pub shape: &'static str,
    /// Methods that are trained on where nothing else is said; the first that is there counts. Empty: all.
    pub seen: &'static [&'static str],
    /// Whether the folder has this layout: looks at names, not into files.
    pub detect: fn(&Path) -> bool,
    pub read: fn(&Path, &mut Reading) -> Result<()>,
}

/// The rows of a data set, and what was decided on reading them.
pub struct Reading {
    /// Name of the layout: `manifest`, `faceforensics`, …
    pub name: &'static str,
    /// In words.
    pub title: &'static str,
    /// See [`Layout::seen`].
    pub preferred: &'static [&'static str],
    /// The folder or the file that was given.
    pub given: PathBuf,
    /// What names are relative to: the folder that was given, or that of the file.
    pub root: PathBuf,
    /// Files that told of the pictures: the manifest, the lists of splits.
    pub sources: Vec<PathBuf>,
    pub rows: Vec<Row>,
    /// What was decided, a sentence each.
    pub notes: Vec<String>,
    /// What a walk found beside pictures.
    pub passed: Passed,
    left: BTreeMap<String, (usize, PathBuf)>,
}

impl Reading {
    pub fn new(layout: &Layout, given: &Path) -> Reading {
        let folder = given.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let root = if given.is_dir() { given } else { folder };
        Reading {
            name: layout.name,
            title: layout.title,
            preferred: layout.seen,
            given: given.into(),
            root: root.into(),
            sources: Vec::new(),
            rows: Vec::new(),
            notes: Vec::new(),
            passed: Passed::default(),
            left: BTreeMap::new(),
        }
    }

    /// Counts a picture or a name that is left out. `why` goes on from a number: "frames of videos that no split names".
    pub fn leave(&mut self, why: impl Into<String>, first: &Path) {
        self.left.entry(why.into()).or_insert_with(|| (0, first.to_path_buf())).0 += 1;
    }

    /// Pictures below a folder, sorted; what else lies there is counted.
    pub fn pictures(&mut self, dir: &Path) -> Result<Vec<PathBuf>> {
        let found = walk(dir, false)?;
        self.passed.join(found.passed);
        Ok(found.pictures)
    }

    /// Pictures below a folder by their path there without the ending. Two of one stem are an error: masks and originals are found by it.
    pub fn by_stem(&mut self, dir: &Path) -> Result<BTreeMap<PathBuf, PathBuf>> {
        let mut found: BTreeMap<PathBuf, PathBuf> = BTreeMap::new();
        for path in self.pictures(dir)? {
            let stem = without_ending(path.strip_prefix(dir).unwrap_or(&path));
            if let Some(twin) = found.insert(stem, path.clone()) {
                let why = format!(
                    "has the same stem as {}, so that what belongs to it is ambiguous; remove or rename one",
                    shown(twin)
                );
                return Err(Error::data(path, why));
            }
        }
        Ok(found)
    }

    /// A name below the root, escaped.
    pub fn name(&self, path: &Path) -> String {
        shown(path.strip_prefix(&self.root).unwrap_or(path))
    }

    /// What was left out and decided, a sentence each.
    pub fn remarks(&self) -> Vec<String> {
        let left = self.left.iter().map(|(why, (n, first))| {
            let first = self.name(first);
            format!("left out: {} {why} ({first}{})", thousands(*n), if *n > 1 { " first" } else { "" })
        });
        left.chain(self.notes.iter().cloned()).chain(self.passed.notice()).collect()
    }

    /// What was understood, a line each: the layout, pictures by split, masks and groups, what was left out, five rows.
    pub fn understood(&self) -> Vec<String> {
        let mut out = vec![format!("layout    {}: {}", shown(&self.given), self.title)];
        let mut counts: BTreeMap<(Option<Place>, String), [usize; 2]> = BTreeMap::new();
        for row in &self.rows {
            counts.entry((row.split, row.split_name())).or_default()[row.fake as usize] += 1;
        }
        let words = counts.iter().map(|((_, name), [real, fake])| {
            let name = if name.is_empty() { "no split".into() } else { line(name) };
            format!("{name} {} real + {} fake", thousands(*real), thousands(*fake))
        });
        out.push(format!("found     {}", words.collect::<Vec<_>>().join(", ")));
        let mut methods: Vec<&str> = self.rows.iter().filter(|r| r.fake).map(|r| r.method.as_str()).collect();
        methods.sort();
        methods.dedup();
        let mut groups: Vec<&str> = self.rows.iter().filter_map(|r| r.group.as_deref()).collect();
        groups.sort();
        groups.dedup();
        let fakes = self.rows.iter().filter(|r| r.fake).count();
        let count = |test: fn(&Row) -> bool| self.rows.iter().filter(|r| test(r)).count();
        out.push(format!(
            "methods   {}; {} of {} fakes with a mask, {} with an original; {} boxes; {} groups",
            line(&methods.join(", ")),
            thousands(count(|r| r.fake && r.mask.is_some())),
            thousands(fakes),
            thousands(count(|r| r.fake && r.original.is_some())),
            thousands(count(|r| r.crop.is_some())),
            thousands(groups.len()),
        ));
        out.extend(self.remarks().into_iter().map(|r| format!("note      {r}")));
        let n = self.rows.len();
        let mut shown: Vec<usize> = (0..5).map(|k| k * n.saturating_sub(1) / 4).collect();
        shown.dedup();
        out.extend(shown.into_iter().filter(|i| *i < n).map(|i| self.sample(i)));
        out
    }

    /// A row in one line.
    fn sample(&self, i: usize) -> String {
        let r = &self.rows[i];
        let mut words = vec![format!("row {} of {}: {}", i + 1, self.rows.len(), self.name(&r.path)), r.label().into()];
        let named = [
            ("method", Some(r.method.as_str()).filter(|m| r.fake && !m.is_empty()).map(line)),
            ("group", r.group.as_deref().map(line)),
            ("split", Some(r.split_name()).filter(|s| !s.is_empty()).map(|s| line(&s))),
            ("mask", r.mask.as_ref().map(|m| self.name(m))),
            ("original", r.original.as_ref().map(|o| self.name(o))),
            ("box", r.crop.map(|c| format!("{},{},{},{}", c.x, c.y, c.w, c.h))),
        ];
        words.extend(named.into_iter().filter_map(|(name, word)| Some(format!("{name} {}", word?))));
        format!("          {}", words.join(" · "))
    }
}

/// Folders in `dir` that are not hidden, sorted, with their names; none where `dir` is no folder.
pub fn folders(dir: &Path) -> Result<Vec<(String, PathBuf)>> {
    if !dir.is_dir() {
        return Ok(Vec::new());
    }
    let entries = fs::read_dir(dir).and_then(|d| d.collect::<std::io::Result<Vec<_>>>()).map_err(|e| Error::io(dir, e))?;
    // A link is asked where it leads; a folder of a million files is not asked about each.
    let is_folder = |e: &fs::DirEntry| e.file_type().is_ok_and(|t| t.is_dir() || (t.is_symlink() && e.path().is_dir()));
    let named = |e: fs::DirEntry| (e.file_name().to_string_lossy().into_owned(), e.path());
    let mut found: Vec<_> = entries.into_iter().filter(is_folder).map(named).filter(|f| !f.0.starts_with('.')).collect();
    found.sort();
    Ok(found)
}

/// The folder in `dir` whose name is one of `names` in any case.
pub fn folder_named(dir: &Path, names: &[&str]) -> Option<PathBuf> {
    let found = folders(dir).ok()?;
    names.iter().find_map(|n| found.iter().find(|f| f.0.eq_ignore_ascii_case(n))).map(|f| f.1.clone())
}

/// The error of a folder that holds videos and no pictures.
pub fn videos_only(dir: &Path, videos: usize) -> Error {
    let why = format!(
        "holds {} video{} and no pictures, and videos are not read: take frames out of them, one folder for each video, with \
         `for v in *.mp4; do d=../images/\"${{v%.mp4}}\"; mkdir -p \"$d\"; ffmpeg -i \"$v\" \"$d/%04d.png\"; done`",
        thousands(videos),
        if videos == 1 { "" } else { "s" },
    );
    Error::data(dir, why)
}

/// Videos below a folder.
pub fn videos(dir: &Path) -> usize {
    walk(dir, false).map_or(0, |found| found.passed.kinds().filter(|k| k.0 == "video").map(|k| k.1).sum())
}
