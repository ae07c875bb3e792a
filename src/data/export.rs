//! `lae-engine forge`: writes a data set as a folder that other tools (and [`Folder`](super::folder::Folder)) can read.
//!
//! All pictures are PNG, genuine and forged alike, so that the format tells nothing. Beside the layout of [`super::folder`] there
//! are `manifest.jsonl` (one [`Entry`] a line) and `provenance.json` ([`super::provenance::Provenance`]). Fresh training data are
//! written as of epoch 0. Where a trace is planted, the seen forger's fakes without it are `unseen/<seen>-clean/`.

use std::fs;
use std::path::Path;

use rayon::prelude::*;

use super::dataset::Dataset;
use super::manifest::Entry;
use super::provenance::Provenance;
use super::sample::Split;
use crate::core::file::write_whole;
use crate::error::{Error, Result};

/// Writes the whole data set below `out`, which must not exist or be empty. `progress` is called after each picture with the number
/// done and the total. Returns the number of pictures.
pub fn export(dataset: &Dataset, out: &Path, progress: impl Fn(usize, usize) + Sync) -> Result<usize> {
    check_empty(out)?;
    let splits: Vec<(Split, String)> = dataset.splits().into_iter().map(|s| (s, folder_of(dataset, s))).collect();
    let mut jobs = Vec::new();
    for (split, dir) in &splits {
        let real = !matches!(split, Split::Unseen(_) | Split::SeenClean);
        for class in ["real", "fake", "mask"].iter().filter(|c| real || **c != "real") {
            let path = out.join(dir).join(class);
            fs::create_dir_all(&path).map_err(|e| Error::io(&path, e))?;
        }
        let (mut reals, mut fakes) = (0, 0);
        for i in 0..dataset.len(*split) as u32 {
            let counter = if dataset.is_fake(*split, i) { &mut fakes } else { &mut reals };
            if dataset.is_fake(*split, i) || real {
                jobs.push((*split, dir.as_str(), i, *counter));
            }
            *counter += 1;
        }
    }
    // Pictures of a folder are no pairs, and a hard negative is another window.
    let config = dataset.config();
    let pairs = config.dir.is_none() && config.paired && config.hard_negatives == 0.0;
    let done = std::sync::atomic::AtomicUsize::new(0);
    let entries: Vec<Entry> = jobs
        .par_iter()
        .map(|&(split, dir, i, number)| {
            let sample = dataset.sample(split, i, 0)?;
            let label = if sample.fake { "fake" } else { "real" };
            let path = format!("{dir}/{label}/{number:06}.png");
            sample.picture.save(out.join(&path))?;
            let mask = sample.mask.map(|m| (m, format!("{dir}/mask/{number:06}.png")));
            if let Some((m, path)) = &mask {
                m.save(out.join(path))?;
            }
            progress(done.fetch_add(1, std::sync::atomic::Ordering::Relaxed) + 1, jobs.len());
            Ok(Entry {
                path,
                label: label.into(),
                method: sample.method.to_string(),
                group: sample.group,
                split: dir.into(),
                mask: mask.map(|m| m.1),
                original: (sample.fake && pairs).then(|| format!("{}/real/{number:06}.png", twins_of(split, dir))),
                fingerprinted: sample.fingerprinted,
                side: None,
                bounds: None,
            })
        })
        .collect::<Result<_>>()?;
    // Fakes whose masks are not known: an empty mask folder would claim that they should be.
    for (_, dir) in &splits {
        let _ = fs::remove_dir(out.join(dir).join("mask")); // fails, as it should, where there are masks
    }
    describe(out, &entries, &dataset.describe())?;
    Ok(entries.len())
}

/// The folder with the genuine pictures of a split, whose fake of the same number each is.
fn twins_of(split: Split, dir: &str) -> &str {
    if matches!(split, Split::Unseen(_) | Split::SeenClean) { "test" } else { dir }
}

/// Refuses to write where something is.
pub(super) fn check_empty(out: &Path) -> Result<()> {
    if out.exists() && (!out.is_dir() || fs::read_dir(out).map_err(|e| Error::io(out, e))?.next().is_some()) {
        return Err(Error::data(out, "exists and is not an empty folder; name a new one, or empty it"));
    }
    Ok(())
}

/// Writes `manifest.jsonl` and `provenance.json`.
pub(super) fn describe(out: &Path, entries: &[Entry], record: &Provenance) -> Result<()> {
    let json = |e: serde_json::Error| Error::data(out, format!("cannot be described ({e})"));
    let mut manifest = String::new();
    for entry in entries {
        manifest += &serde_json::to_string(entry).map_err(json)?;
        manifest.push('\n');
    }
    write_whole(out.join("manifest.jsonl"), manifest.as_bytes())?;
    let provenance = serde_json::to_string_pretty(record).map_err(json)?;
    write_whole(out.join("provenance.json"), provenance.as_bytes())
}

fn folder_of(dataset: &Dataset, split: Split) -> String {
    match split {
        Split::Train => "train".into(),
        Split::Val => "val".into(),
        Split::Test => "test".into(),
        Split::SeenClean => format!("unseen/{}-clean", dataset.seen()),
        Split::Unseen(k) => format!("unseen/{}", dataset.unseen()[k]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::config::DataConfig;
    use crate::data::fingerprint::Fingerprint;

    #[test]
    fn what_is_written_is_what_is_read_again() {
        let config = DataConfig {
            train_count: 8,
            val_count: 4,
            test_count: 8,
            photographs: 10,
            fingerprint: Fingerprint::Checkerboard,
            fingerprint_rate: 0.5,
            ..DataConfig::default()
        };
        let made = Dataset::open(&config, 24, 3).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("set");
        let last = std::sync::atomic::AtomicUsize::new(0);
        let n = export(&made, &out, |_, total| last.store(total, std::sync::atomic::Ordering::Relaxed)).unwrap();
        assert_eq!((n, last.into_inner()), (8 + 4 + 8 + 4 + 4 * 4, n));

        let read = Dataset::open(&DataConfig { dir: Some(out.clone()), ..DataConfig::default() }, 24, 3).unwrap();
        assert_eq!(read.seen(), "telea");
        assert_eq!(read.unseen(), ["biharmonic", "harmonic", "patchmatch", "poisson", "telea-clean"]);
        assert!(read.describe().notices.is_empty(), "{:?}", read.describe().notices);
        for split in made.splits() {
            let name = folder_of(&made, split);
            let again = read.splits().into_iter().find(|s| folder_of(&read, *s) == name).unwrap();
            assert_eq!(read.len(again), made.len(split), "{name}");
            let half = made.len(split) as u32 / 2;
            for i in 0..made.len(split) as u32 {
                let j = i / 2 + if made.is_fake(split, i) { half } else { 0 };
                let (a, b) = (made.sample(split, i, 0).unwrap(), read.sample(again, j, 0).unwrap());
                assert_eq!((a.picture, a.mask, a.fake), (b.picture, b.mask, b.fake), "{name} {i}");
                assert_eq!((a.group, a.fingerprinted), (b.group, b.fingerprinted));
                assert_eq!(read.group(again, j), a.group);
                if a.fake {
                    let before = [&made, &read].map(|d| d.untouched(d.splits()[0], if d.config().dir.is_some() { 4 } else { 1 }));
                    let [Some(Ok(x)), Some(Ok(y))] = before else { panic!("the picture before is known") };
                    assert_eq!((&x, &x), (&y, &made.sample(Split::Train, 0, 0).unwrap().picture));
                }
                assert!(a.method == b.method || split == Split::SeenClean);
            }
        }
        let e = export(&made, &out, |_, _| ()).unwrap_err().to_string();
        assert!(e.contains("set") && e.contains("not an empty folder"), "{e}");
        assert!(out.join("provenance.json").is_file());
    }
}
