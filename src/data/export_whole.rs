//! `lae-engine forge --whole`: photographs at their own size and their forgeries as a folder of tests.
//!
//! The layout is that of [`super::folder`] with tests alone: `test/{real,fake,mask}` for the seen forger,
//! `unseen/<method>/{fake,mask}` for the others, `manifest.jsonl` with the side of the region and its box, `provenance.json`.
//! All versions of a photograph begin with its number and name: `test/real/0003-beach.png`,
//! `unseen/poisson/fake/0003-beach-poisson-25.png`.

use std::collections::HashSet;
use std::fs;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use rayon::prelude::*;

use super::export::{check_empty, describe};
use super::hole::Hole;
use super::manifest::Entry;
use super::provenance::{Count, MethodRecord, Provenance};
use super::whole::{Whole, WholeItem, WholeMeta, shares};
use crate::core::file::write_quickly;
use crate::error::{Error, Result};
use crate::text::{line, shown};

/// Writes the items below `out`, which must not exist or be empty: PNG, or, with `jpeg`, genuine and forged pictures alike
/// through one JPEG of that quality (masks stay PNG). `progress` is called after each item with the number done and the total. A
/// photograph that turns out unreadable is left out with all its forgeries, with a notice. Returns the number of pictures and
/// the record.
pub fn export_whole(
    whole: &Whole,
    out: &Path,
    jpeg: Option<u8>,
    progress: impl Fn(usize, usize) + Sync,
) -> Result<(usize, Provenance)> {
    check_empty(out)?;
    let seen = whole.data().seen().to_string();
    if !(0..whole.len()).any(|i| whole.meta(i).seen) {
        let why = format!("{seen} fills none of these regions, so that test/fake would be empty; name another with data.seen");
        return Err(Error::config("data.seen", why));
    }
    let jobs: Vec<Job> = jobs(whole, if jpeg.is_some() { "jpg" } else { "png" });
    for folder in jobs.iter().flat_map(|j| [Some(&j.path), j.mask.as_ref()]).flatten().filter_map(|p| Path::new(p).parent()) {
        let folder = out.join(folder);
        fs::create_dir_all(&folder).map_err(|e| Error::io(&folder, e))?;
    }
    let done = AtomicUsize::new(0);
    let broken: Mutex<Vec<(Option<u32>, String)>> = Mutex::default();
    let write = |job: &Job| -> Result<Option<Entry>> {
        let item = match whole.make(job.item) {
            Ok(item) => item,
            Err(e @ (Error::Data { .. } | Error::Io { .. })) => {
                let mut broken = broken.lock().unwrap_or_else(|p| p.into_inner());
                broken.push((whole.meta(job.item).group, line(&e.to_string())));
                return Ok(None);
            }
            Err(e) => return Err(e),
        };
        let bytes = match jpeg {
            Some(quality) => item.picture.to_jpeg(quality)?,
            None => item.picture.to_png()?,
        };
        write_quickly(out.join(&job.path), &bytes)?;
        if let (Some(mask), Some(path)) = (&item.mask, &job.mask) {
            mask.save(out.join(path))?;
        }
        progress(done.fetch_add(1, Ordering::Relaxed) + 1, jobs.len());
        Ok(Some(entry(job, &item)))
    };
    let mut entries: Vec<Entry> =
        jobs.par_iter().with_max_len(1).map(write).collect::<Result<Vec<_>>>()?.into_iter().flatten().collect();
    let broken = broken.into_inner().unwrap_or_else(|p| p.into_inner());
    let groups: HashSet<Option<u32>> = broken.iter().map(|b| b.0).collect();
    for entry in entries.iter().filter(|e| groups.contains(&e.group)) {
        for file in [Some(&entry.path), entry.mask.as_ref()].into_iter().flatten() {
            let _ = fs::remove_file(out.join(file)); // a file that stays is read as a picture without its twin
        }
    }
    entries.retain(|e| !groups.contains(&e.group));
    let mut record = record(whole, &entries);
    if let Some((_, first)) = broken.iter().min() {
        record.skipped_files = groups.len();
        record.notices.push(format!("{} photographs turned out unreadable and are left out ({first})", groups.len()));
    }
    if entries.iter().all(|e| e.label == "real") || entries.iter().all(|e| e.label == "fake") {
        return Err(Error::data(out, format!("no photograph could be read and forged: {}", record.notices.join("; "))));
    }
    if let Some(quality) = jpeg {
        record.notices.push(format!("genuine and forged pictures went through one JPEG of quality {quality}"));
    }
    describe(out, &entries, &record)?;
    Ok((entries.len(), record))
}

/// An item and where it goes, relative to the folder.
struct Job {
    item: usize,
    dir: String,
    path: String,
    mask: Option<String>,
}

fn jobs(whole: &Whole, ending: &str) -> Vec<Job> {
    let (mut number, mut before) = (0, None);
    let mut job = |i: usize| {
        let meta = whole.meta(i);
        if before.is_some() && before != Some(meta.group) {
            number += 1;
        }
        before = Some(meta.group);
        let dir = if meta.fake && !meta.seen { format!("unseen/{}", meta.method) } else { "test".into() };
        let (label, name) = (if meta.fake { "fake" } else { "real" }, name(number, meta));
        let mask = meta.fake.then(|| format!("{dir}/mask/{name}.png"));
        Job { item: i, path: format!("{dir}/{label}/{name}.{ending}"), dir, mask }
    };
    (0..whole.len()).map(&mut job).collect()
}

/// `0003-beach-telea-25`. Of the photograph's own name what every file system takes.
fn name(number: usize, meta: &WholeMeta) -> String {
    let stem = meta.path.as_ref().and_then(|p| p.file_stem()).map(|s| s.to_string_lossy().into_owned()).unwrap_or_default();
    let plain: String = stem.chars().take(40).map(|c| if c.is_ascii_alphanumeric() || c == '_' { c } else { '-' }).collect();
    let plain = if plain.is_empty() { "painted" } else { plain.trim_matches('-') };
    match meta.side {
        Some(side) => format!("{number:04}-{plain}-{}-{}", meta.method, shares(side)),
        None => format!("{number:04}-{plain}"),
    }
}

fn entry(job: &Job, item: &WholeItem) -> Entry {
    Entry {
        path: job.path.clone(),
        label: if item.meta.fake { "fake" } else { "real" }.into(),
        method: item.meta.method.to_string(),
        group: item.meta.group,
        split: job.dir.clone(),
        mask: item.mask.as_ref().and(job.mask.clone()),
        original: None,
        fingerprinted: false,
        side: item.meta.side,
        bounds: item.bounds.map(|b| [b.x, b.y, b.w, b.h]),
    }
}

fn record(whole: &Whole, entries: &[Entry]) -> Provenance {
    let (data, config) = (whole.data(), whole.data().config());
    let painted = config.photos.is_none();
    let mut record = Provenance::new(if painted { whole.config().side } else { 0 }, data.seed());
    record.source = match &config.photos {
        Some(dir) => format!("photographs in {} at their own size", shown(dir)),
        None => "built-in painter (dead leaves with 1/f texture): no real photographs".into(),
    };
    (record.synthetic_pictures, record.synthetic_forgeries, record.paired) = (painted, true, true);
    let described = data.describe();
    let used = |m: &MethodRecord| entries.iter().any(|e| e.method == m.name);
    record.methods = described.methods.into_iter().filter(used).collect();
    let mut dirs: Vec<&str> = entries.iter().map(|e| e.split.as_str()).collect();
    dirs.sort();
    dirs.dedup();
    for dir in dirs {
        let of = |label: &str| entries.iter().filter(|e| e.split == dir && e.label == label).count();
        record.counts.push(Count { split: dir.into(), real: of("real"), fake: of("fake") });
    }
    let sides: Vec<String> = whole.config().sizes.iter().map(|s| shares(*s)).collect();
    record.hole = Some(format!(
        "{}, {} % of the short side",
        match config.hole {
            Hole::Central => "central square",
            Hole::Rect => "square or nearly so at a random place",
            Hole::Stroke => "brush stroke in a square at a random place",
        },
        sides.join(", ")
    ));
    record.notices = whole.notices().to_vec();
    record.notices.extend(data.photographs(whole.split()).map(|p| p.0.notices()).unwrap_or_default());
    record
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::procedural::photograph;
    use crate::data::{DataConfig, Dataset, Split, WholeConfig};

    /// Photographs of several shapes, one of them damaged behind a sound header.
    fn photos() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (i, (w, h)) in [(160, 120), (100, 140), (130, 130), (90, 110)].into_iter().enumerate() {
            photograph(3, i as u64, 160).crop(0, 0, w, h).save(dir.path().join(format!("a photo {i}.png"))).unwrap();
        }
        dir
    }

    fn config(dir: &Path) -> DataConfig {
        let split = crate::data::config::SplitBy::Crop;
        DataConfig {
            photos: Some(dir.into()),
            split,
            unseen: vec!["poisson".into(), "patchmatch".into()],
            ..DataConfig::default()
        }
    }

    #[test]
    fn a_written_set_is_read_back_item_by_item() {
        let dir = photos();
        let data = Dataset::open(&config(dir.path()), 16, 7).unwrap();
        let whole = Whole::of(&data, Split::Test, &WholeConfig { sizes: vec![0.1, 0.25], ..WholeConfig::default() }).unwrap();
        assert_eq!((whole.photographs(), whole.len()), (4, 4 * (1 + 3 * 2)));
        let out = dir.path().join("set");
        let (n, record) = export_whole(&whole, &out, None, |_, _| ()).unwrap();
        assert_eq!((n, record.counts.len()), (28, 3));
        assert!(out.join("provenance.json").is_file());

        let read = Dataset::open(&DataConfig { dir: Some(out.clone()), ..DataConfig::default() }, 16, 7).unwrap();
        assert_eq!((read.seen(), read.unseen()), ("telea", vec!["patchmatch", "poisson"]));
        assert!(read.is_empty(Split::Train) && read.is_empty(Split::Val) && read.len(Split::Test) == 4 + 8);
        let again = Whole::of(&read, Split::Test, &WholeConfig { sizes: vec![0.1, 0.25], ..WholeConfig::default() }).unwrap();
        assert_eq!((again.len(), again.photographs()), (28, 4));
        for i in 0..again.len() {
            let b = again.make(i).unwrap();
            let same = |m: &WholeMeta| {
                (m.fake, &*m.method, m.seen, m.side, m.group)
                    == (b.meta.fake, &*b.meta.method, b.meta.seen, b.meta.side, b.meta.group)
            };
            let k = (0..whole.len()).find(|&k| same(whole.meta(k))).unwrap_or_else(|| panic!("{:?}", b.meta));
            let a = whole.make(k).unwrap();
            assert_eq!((&a.picture, &a.mask, a.bounds), (&b.picture, &b.mask, b.bounds), "{:?}", b.meta);
        }
        let part = WholeConfig { sizes: vec![0.25], limit: 2, forgers: vec!["poisson".into()], ..WholeConfig::default() };
        let part = Whole::of(&read, Split::Test, &part).unwrap();
        assert_eq!((part.len(), part.photographs()), (2 + 2, 2));
        let e = export_whole(&whole, &out, None, |_, _| ()).unwrap_err().to_string();
        assert!(e.contains("not an empty folder"), "{e}");
    }

    #[test]
    fn one_jpeg_for_both_classes_and_a_broken_photograph_leaves_no_twin() {
        let dir = photos();
        let file = dir.path().join("a photo 2.png");
        let bytes = fs::read(&file).unwrap();
        fs::write(&file, &bytes[..bytes.len() / 2]).unwrap();
        let data = Dataset::open_telling(&config(dir.path()), 16, 7, |_| ()).unwrap();
        let whole = Whole::of(&data, Split::Test, &WholeConfig { sizes: vec![0.25], ..WholeConfig::default() }).unwrap();
        let out = dir.path().join("set");
        let (n, record) = export_whole(&whole, &out, Some(90), |_, _| ()).unwrap();
        assert_eq!(n, 3 * 4);
        assert!(record.notices.iter().any(|n| n.starts_with("1 photographs turned out unreadable")), "{:?}", record.notices);
        let names = |d: &str| {
            let mut names: Vec<String> =
                fs::read_dir(out.join(d)).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
            names.sort();
            names
        };
        let (real, fake) = (names("test/real"), names("test/fake"));
        assert_eq!((real.len(), fake.len(), names("unseen/poisson/mask").len()), (3, 3, 3));
        for (r, f) in real.iter().zip(&fake) {
            assert!(r.ends_with(".jpg") && *f == r.replace(".jpg", "-telea-25.jpg"), "{r} {f}");
        }
        let read = Dataset::open(&DataConfig { dir: Some(out), ..DataConfig::default() }, 16, 7).unwrap();
        assert!(!read.describe().notices.iter().any(|n| n.contains("leak")), "{:?}", read.describe().notices);
    }
}
