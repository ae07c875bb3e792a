//! Ready-made data sets: `DIR/{train,val,test}/{real,fake,mask}/` and `DIR/unseen/<method>/{fake,mask}/`.
//!
//! * Pictures of any size and of every format that is read, in folders as deep as you like; they are resized to S × S (the aspect
//!   is not kept) with antialiasing.
//! * A mask pairs with its fake by path and stem: `fake/a/7.jpg` ↔ `mask/a/7.png`. A fake without its mask, or a mask without its
//!   fake, is an error that names the stem: pairs must never shift. A split without a mask folder is accepted, with a notice.
//! * `unseen/<method>/real/` is optional; without it the test's genuine pictures are used (models.md A35).
//! * Pictures that cannot be read are skipped, told to the user and counted, as long as they are at most half of their class.
//! * `manifest.jsonl`, if there (the program's own export writes it), adds methods and photograph numbers.
//!
//! Data sets of other layouts and manifests come as the rows of a [`Reading`]; what holds of the pictures holds of them, too.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::class::{Class, Item};
use super::duplicates::{self, Member};
use super::layout::{Place, Reading, Row};
use super::leak;
use super::manifest::{self, Entry};
use super::note::Noted;
use super::picture::Picture;
use super::pictures::Pictures;
use super::provenance::{MethodRecord, Provenance};
use super::sample::{MaskOrigin, Sample, Split};
use super::source::{Tell, tell_passed};
use super::walk::Passed;
use crate::error::{Error, Result};
use crate::text::shown;

/// Both classes of one split.
struct Part {
    /// None: an unseen method without genuine pictures of its own, which is tested on those of the test split.
    real: Option<Class>,
    fake: Class,
    method: Arc<str>,
}

/// An opened data folder.
pub struct Folder {
    root: PathBuf,
    /// In words, for the report.
    source: String,
    /// Files that told of the pictures.
    told_by: Vec<PathBuf>,
    /// S: pictures and masks are resized to S × S.
    size: usize,
    /// What a reader must know: missing masks, format leaks.
    notices: Vec<String>,
    /// What was decided about pictures and masks on reading them.
    noted: Noted,
    /// Train, val and test. A folder of tests alone has no train and no val.
    seen: [Option<Part>; 3],
    unseen: Vec<Part>,
}

impl Folder {
    /// Lists the folder, pairs the masks, reads headers. Pictures are handed out as `size` × `size`. `tell` hears of each file that is
    /// passed over. Pictures in two splits or with two labels are an error unless `duplicates` allows them.
    pub fn open(root: &Path, size: usize, duplicates: bool, tell: Tell) -> Result<Folder> {
        if !root.is_dir() {
            return Err(Error::data(root, "no such folder; data.dir wants DIR/{train,val,test}/{real,fake,mask}/"));
        }
        let manifest = manifest::read(root)?;
        let (mut notices, mut passed) = (Vec::new(), Passed::default());
        let mut part = |dir: &Path, name: &str, needs_real: bool| -> Result<Part> {
            let real = dir.join("real");
            let real = if needs_real || real.is_dir() {
                Some(Class::open(root, &real, None, &manifest, tell, &mut passed)?)
            } else {
                None
            };
            let masks = Some(dir.join("mask")).filter(|m| m.is_dir());
            if masks.is_none() {
                notices.push(format!("{} has no mask folder: its fakes are used without masks", shown(dir)));
            }
            let mut fake = Class::open(root, &dir.join("fake"), masks.as_deref(), &manifest, tell, &mut passed)?;
            notices.extend(fake.settle_masks(size)?);
            let mut methods = fake.items.iter().map(|i| i.entry.as_ref().map(|e| e.method.as_str()));
            let first = methods.next().flatten();
            let method = first.filter(|f| methods.all(|m| m == Some(*f))).unwrap_or(name).into();
            Ok(Part { real, fake, method })
        };
        // A set that is only judged has neither train nor val; a part that is there must be whole.
        let tests_alone = root.join("test").is_dir() && !root.join("train").exists() && !root.join("val").exists();
        let mut learned = |name: &str| if tests_alone { Ok(None) } else { part(&root.join(name), "fake", true).map(Some) };
        let (train, val) = (learned("train")?, learned("val")?);
        let seen = [train, val, Some(part(&root.join("test"), "fake", true)?)];
        let mut unseen = Vec::new();
        let folder = root.join("unseen");
        if folder.is_dir() {
            let mut methods: Vec<PathBuf> = fs::read_dir(&folder)
                .map_err(|e| Error::io(&folder, e))?
                .filter_map(|e| e.ok().map(|e| e.path()))
                .filter(|p| p.is_dir() && !p.file_name().is_some_and(|n| n.as_encoded_bytes().starts_with(b".")))
                .collect();
            methods.sort();
            for dir in methods {
                let name = shown(dir.file_name().unwrap_or_default());
                let mut opened = part(&dir, &name, false)?;
                opened.method = name.into(); // the folder's name tells a variant from the method itself
                unseen.push(opened);
            }
        }
        let source = format!("folder {}", shown(root));
        let told_by = Vec::new();
        let mut folder =
            Folder { root: root.to_path_buf(), source, told_by, size, notices, noted: Noted::new(tell), seen, unseen };
        folder.look_for_leaks();
        folder.notices.extend(passed.notice());
        tell_passed(&passed, tell);
        folder.look_for_twins(root, duplicates, tell)
    }

    /// The data set of these rows, each of which has its split. As [`Folder::open`] in everything else; what was understood is told first.
    pub fn listed(reading: Reading, size: usize, duplicates: bool, tell: Tell) -> Result<Folder> {
        reading.understood().iter().for_each(|line| tell(line));
        let mut notices = reading.remarks();
        let Reading { given, root, sources, rows, title, .. } = reading;
        let mut groups: HashMap<String, u32> = HashMap::new();
        let mut classes: BTreeMap<(Place, String, bool), Vec<Item>> = BTreeMap::new();
        for row in rows {
            let place = row.split.unwrap_or(Place::Test);
            let method = if place == Place::Unseen { row.method.clone() } else { String::new() };
            classes.entry((place, method, row.fake)).or_default().push(item(row, &root, &mut groups));
        }
        let mut methods: Vec<String> = classes.keys().filter(|k| k.0 == Place::Unseen).map(|k| k.1.clone()).collect();
        methods.dedup();
        let whole: Vec<Place> = [Place::Train, Place::Val, Place::Test]
            .into_iter()
            .filter(|p| {
                // A set that is only judged has neither train nor val; a part that is there must be whole.
                *p == Place::Test || classes.keys().any(|k| matches!(k.0, Place::Train | Place::Val))
            })
            .collect();
        let mut part = |place: Place, method: &str| -> Result<Part> {
            let name = if place == Place::Unseen { format!("unseen/{method}") } else { place.name().to_string() };
            let mut class = |fake: bool| -> Result<Option<Class>> {
                let name = format!("{name}/{}", if fake { "fake" } else { "real" });
                let items = classes.remove(&(place, method.to_string(), fake));
                items.map(|items| Class::of(items, &given.join(&name), name, tell)).transpose()
            };
            let missing = |what: &str| {
                Error::data(
                    &given,
                    format!("has no {what} picture in {name}: training, validation and test each need both kinds"),
                )
            };
            let real = class(false)?;
            if real.is_none() && place != Place::Unseen {
                return Err(missing("genuine"));
            }
            let mut fake = class(true)?.ok_or_else(|| missing("forged"))?;
            let without = fake.items.iter().filter(|i| i.mask.is_none()).count();
            if without > 0 {
                notices.push(format!("{without} of {} fakes in {name} have no mask: they are used without", fake.items.len()));
            }
            notices.extend(fake.settle_masks(size)?);
            let mut methods = fake.items.iter().map(|i| i.entry.as_ref().map(|e| e.method.as_str()));
            let first = methods.next().flatten();
            let one = first.filter(|f| methods.all(|m| m == Some(*f))).unwrap_or("fake");
            let method = if place == Place::Unseen { method.into() } else { one.into() };
            Ok(Part { real, fake, method })
        };
        let mut seen = [None, None, None];
        for place in whole {
            seen[place as usize] = Some(part(place, "")?);
        }
        let unseen = methods.iter().map(|m| part(Place::Unseen, m)).collect::<Result<Vec<Part>>>()?;
        let source = format!("{title}: {}", shown(&given));
        let mut folder = Folder { root, source, told_by: sources, size, notices, noted: Noted::new(tell), seen, unseen };
        folder.look_for_leaks();
        folder.look_for_twins(&given, duplicates, tell)
    }

    fn look_for_leaks(&mut self) {
        let mut notices = self.format_leaks();
        for part in self.parts().map(|p| p.1) {
            let (real, fake) = (self.real(part), &part.fake.items);
            notices.extend(leak::notices(real.iter().map(|i| &*i.path), fake.iter().map(|i| &*i.path), &part.fake.dir));
        }
        self.notices.extend(notices);
    }

    /// Pictures in two splits or with two labels are an error unless `allowed`. `given`: what heads it.
    fn look_for_twins(mut self, given: &Path, allowed: bool, tell: Tell) -> Result<Folder> {
        let pixels = self.classes().map(|c| c.pixels).sum();
        let notices = duplicates::check(&self.members(), given, pixels, allowed, tell)?;
        self.notices.extend(notices);
        Ok(self)
    }

    fn part(&self, split: Split) -> Option<&Part> {
        match split {
            Split::Train => self.seen[0].as_ref(),
            Split::Val => self.seen[1].as_ref(),
            Split::Test => self.seen[2].as_ref(),
            Split::Unseen(k) => self.unseen.get(k),
            Split::SeenClean => None,
        }
    }

    /// The genuine pictures that go with a part: its own or the test's.
    fn real<'a>(&'a self, part: &'a Part) -> &'a [Item] {
        part.real.as_ref().or(self.test_real()).map_or(&[], |c| &c.items)
    }

    fn test_real(&self) -> Option<&Class> {
        self.seen[2].as_ref()?.real.as_ref()
    }

    /// Every part with its number: 0 train, 1 val, 2 test, from 3 on unseen methods.
    fn parts(&self) -> impl Iterator<Item = (usize, &Part)> {
        let seen = self.seen.iter().enumerate().filter_map(|(k, p)| Some((k, p.as_ref()?)));
        seen.chain(self.unseen.iter().enumerate().map(|(k, p)| (k + 3, p)))
    }

    /// Genuine and forged pictures of a split. Genuine ones come first in its numbering, each class in the order of its names.
    fn counts(&self, split: Split) -> (usize, usize) {
        self.part(split).map_or((0, 0), |p| (self.real(p).len(), p.fake.items.len()))
    }

    fn item(&self, split: Split, i: u32) -> Option<&Item> {
        let (part, i) = (self.part(split)?, i as usize);
        let real = self.real(part);
        real.get(i).or_else(|| part.fake.items.get(i - real.len()))
    }

    fn name(&self, path: &Path) -> String {
        shown(path.strip_prefix(&self.root).unwrap_or(path))
    }

    fn classes(&self) -> impl Iterator<Item = &Class> {
        self.parts().flat_map(|(_, p)| p.real.iter().chain([&p.fake]))
    }

    /// Every picture, for the search for pictures that are the same.
    fn members(&self) -> Vec<Member> {
        let mut members = Vec::new();
        for (k, part) in self.parts() {
            for (class, fake) in part.real.iter().map(|c| (c, false)).chain([(&part.fake, true)]) {
                members.extend(class.items.iter().map(|item| {
                    let group = item.entry.as_ref().and_then(|e| e.group);
                    Member { path: item.path.clone(), side: k.min(2), folder: 2 * k + fake as usize, fake, group }
                }));
            }
        }
        members
    }

    /// Files by folder (relative) and format: (folder, format, files).
    fn formats(&self) -> Vec<(String, String, usize)> {
        let mut rows = Vec::new();
        for class in self.classes() {
            rows.extend(class.formats().into_iter().map(|(format, n)| (class.name.clone(), format, n)));
        }
        rows
    }

    /// A notice for each split whose name endings tell genuine from forged pictures. Files of different formats were compressed in
    /// different ways, and traces of compression survive decoding: a detector could learn those in place of the forgery.
    fn format_leaks(&self) -> Vec<String> {
        let mut leaks = Vec::new();
        for (_, part) in self.parts() {
            let Some(real) = part.real.as_ref().or(self.test_real()) else { continue };
            let (r, f) = (real.formats(), part.fake.formats());
            let share = |formats: &BTreeMap<String, usize>, key: &String| {
                *formats.get(key).unwrap_or(&0) as f64 / formats.values().sum::<usize>().max(1) as f64
            };
            let mut keys: Vec<&String> = r.keys().chain(f.keys()).collect();
            keys.sort();
            keys.dedup();
            let accuracy = keys.iter().map(|k| share(&r, k).max(share(&f, k))).sum::<f64>() / 2.0;
            if accuracy > 0.75 {
                let list = |m: &BTreeMap<String, usize>| m.keys().cloned().collect::<Vec<_>>().join(", ");
                leaks.push(format!(
                    "format leak: {:.0} % of the labels can be told from the file format alone ({} is {}, {} is {}); a detector may \
                     learn the compression. Save both classes in the same way",
                    accuracy * 100.0,
                    shown(&real.dir),
                    list(&r),
                    shown(&part.fake.dir),
                    list(&f)
                ));
            }
        }
        leaks
    }
}

impl Pictures for Folder {
    /// What the manifest says of the training fakes (without them: of the test's) if all of them agree, else "fake".
    fn seen(&self) -> &str {
        self.seen.iter().flatten().next().map_or("fake", |p| &p.method)
    }

    /// Names of the folders below `unseen`, sorted.
    fn unseen(&self) -> Vec<&str> {
        self.unseen.iter().map(|p| p.method.as_ref()).collect()
    }

    fn len(&self, split: Split) -> usize {
        let (real, fake) = self.counts(split);
        real + fake
    }

    fn is_fake(&self, split: Split, i: u32) -> bool {
        i as usize >= self.counts(split).0
    }

    fn has_mask(&self, split: Split, i: u32) -> bool {
        self.is_fake(split, i) && self.item(split, i).is_some_and(|item| item.mask.is_some())
    }

    /// The photograph that the manifest names.
    fn group(&self, split: Split, i: u32) -> Option<u32> {
        self.item(split, i)?.entry.as_ref()?.group
    }

    /// Reads a picture (and its mask). Where the file turns out unreadable, the next readable one of its class takes its place, the
    /// same one every time; an error once more than half of the class is unreadable.
    fn sample(&self, split: Split, i: u32, _epoch: u32) -> Result<Sample> {
        let i = i as usize;
        let missing = || Error::data(&self.root, format!("no picture {i} in {split:?}"));
        let part = self.part(split).ok_or_else(missing)?;
        let reals = self.real(part).len();
        let fake = i >= reals;
        let class = if fake { &part.fake } else { part.real.as_ref().or(self.test_real()).ok_or_else(missing)? };
        let start = if fake { i - reals } else { i };
        for step in 0..class.items.len() {
            let item = &class.items[(start + step) % class.items.len()];
            match item.load(Some(self.size), &self.noted) {
                Ok((picture, mask)) => {
                    let method = if fake { part.method.clone() } else { "real".into() };
                    return Ok(item.sample(picture, mask, fake, method));
                }
                Err(e) => {
                    class.skipped.report(&item.path, &e);
                    class.mostly_readable()?;
                }
            }
        }
        Err(missing())
    }

    /// The file itself: no other takes the place of an unreadable one.
    fn original(&self, split: Split, i: u32) -> Option<Result<Sample>> {
        let item = self.item(split, i)?;
        let fake = self.is_fake(split, i);
        let method = if fake { self.part(split)?.method.clone() } else { "real".into() };
        Some(item.load(None, &self.noted).map(|(picture, mask)| item.sample(picture, mask, fake, method)))
    }

    fn untouched(&self, split: Split, i: u32, _epoch: u32) -> Option<Result<Picture>> {
        let item = self.item(split, i)?;
        let path = self.root.join(item.entry.as_ref()?.original.as_ref()?);
        self.is_fake(split, i).then(|| item.untouched(&path))
    }

    fn has_original(&self, split: Split, i: u32) -> bool {
        let entry = self.item(split, i).and_then(|item| item.entry.as_ref());
        self.is_fake(split, i) && entry.is_some_and(|e| e.original.is_some())
    }

    fn mask_origin(&self) -> MaskOrigin {
        MaskOrigin::File
    }

    fn path(&self, split: Split, i: u32) -> Option<&Path> {
        Some(&self.item(split, i)?.path)
    }

    fn own_size(&self, split: Split, i: u32) -> Option<Result<(usize, usize)>> {
        Some(self.item(split, i)?.size())
    }

    fn entry(&self, split: Split, i: u32) -> Option<&Entry> {
        self.item(split, i)?.entry.as_ref()
    }

    fn files(&self) -> Vec<(String, &Path)> {
        let items = self.classes().flat_map(|c| &c.items);
        let files = items.flat_map(|i| [Some(&i.path), i.mask.as_ref()]).flatten().chain(&self.told_by);
        files.map(|path| (self.name(path), &**path)).collect()
    }

    fn files_of(&self, split: Split) -> Vec<(String, &Path)> {
        let Some(part) = self.part(split) else { return Vec::new() };
        self.real(part).iter().chain(&part.fake.items).map(|i| (self.name(&i.path), &*i.path)).collect()
    }

    fn describe(&self, record: &mut Provenance) {
        let method = |name: &str, role| MethodRecord { name: name.into(), role, source: "folder".into() };
        record.source = self.source.clone();
        record.skipped_files = self.classes().map(|c| c.skipped.count()).sum();
        record.methods.push(method(self.seen(), "seen"));
        record.methods.extend(self.unseen().iter().map(|name| method(name, "unseen")));
        record.formats = self.formats();
        record.notices.extend(self.notices.iter().cloned());
        record.notices.extend(self.noted.sentences());
    }
}

/// A row as an item; its group by number, in the order of the first picture of each.
fn item(row: Row, root: &Path, groups: &mut HashMap<String, u32>) -> Item {
    let name = |p: &PathBuf| p.strip_prefix(root).unwrap_or(p).to_string_lossy().into_owned();
    let next = groups.len() as u32;
    let entry = Entry {
        path: name(&row.path),
        label: row.label().into(),
        method: crate::text::line(if row.fake { &row.method } else { "real" }),
        group: row.group.as_ref().map(|g| *groups.entry(g.clone()).or_insert(next)),
        split: row.split_name(),
        mask: row.mask.as_ref().map(&name),
        original: row.original.as_ref().map(&name),
        fingerprinted: row.fingerprinted,
        side: row.side,
        bounds: row.bounds,
    };
    Item { path: row.path, mask: row.mask, entry: Some(entry), crop: row.crop, line: row.line }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::dataset::{DataConfig, Dataset};
    use crate::data::picture::Mask;
    use crate::data::procedural::photograph;

    /// A sound data folder: 3 genuine and 3 forged pictures in each part, one unseen method.
    fn sound(real: &str, fake: &str) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        let save = |part: &str, class: &str, name: String, i: u64| {
            let folder = dir.path().join(part).join(class);
            fs::create_dir_all(&folder).unwrap();
            if class == "mask" {
                Mask::from_fn(48, 40, |x, _| x < 20).save(folder.join(name)).unwrap();
            } else {
                photograph(1, i, 48).crop(0, 0, 48, 40).save(folder.join(name)).unwrap();
            }
        };
        for (k, part) in ["train", "val", "test", "unseen/glue"].into_iter().enumerate() {
            for i in 0..3 {
                if k < 3 {
                    save(part, "real", format!("{i}.{real}"), 10 * k as u64 + i);
                }
                save(part, "fake", format!("f{i}.{fake}"), 100 + 10 * k as u64 + i);
                save(part, "mask", format!("f{i}.png"), 0);
            }
        }
        dir
    }

    fn open(dir: &tempfile::TempDir) -> Result<Dataset> {
        Dataset::open(&DataConfig { dir: Some(dir.path().into()), ..DataConfig::default() }, 16, 0)
    }

    fn fails(dir: &tempfile::TempDir, words: &[&str]) {
        let e = open(dir).err().expect("an error").to_string();
        assert!(words.iter().all(|w| e.contains(w)), "{words:?} in: {e}");
    }

    #[test]
    fn a_sound_folder() {
        let dir = sound("png", "png");
        let data = open(&dir).unwrap();
        assert_eq!((data.len(Split::Train), data.seen(), data.unseen()), (6, "fake", vec!["glue"]));
        for split in [Split::Train, Split::Test, Split::Unseen(0)] {
            for i in 0..6 {
                let s = data.sample(split, i, 0).unwrap();
                assert_eq!((s.fake, data.is_fake(split, i), s.mask.is_some()), (i > 2, i > 2, i > 2));
                assert_eq!((s.picture.w, s.picture.h, s.group), (16, 16, None));
            }
        }
        let (a, b) = (data.sample(Split::Test, 1, 0).unwrap(), data.sample(Split::Unseen(0), 1, 0).unwrap());
        assert_eq!(a.path, b.path);
        let record = data.describe();
        assert!(record.notices.is_empty() && record.formats.contains(&("test/real".into(), "png".into(), 3)), "{record:?}");
        let order = data.epoch_order(Split::Train, 0, 2);
        assert!(order.chunks(2).all(|b| data.is_fake(Split::Train, b[0]) != data.is_fake(Split::Train, b[1])));
    }

    /// Pictures of 48 × 40 pixels, whose masks cover the left 20 columns, handed out with sides that are no power of two.
    #[test]
    fn pictures_and_masks_of_any_side() {
        let dir = sound("png", "jpg");
        for side in [5, 75, 227] {
            let data = Dataset::open(&DataConfig { dir: Some(dir.path().into()), ..DataConfig::default() }, side, 0).unwrap();
            let s = data.sample(Split::Unseen(0), 4, 0).unwrap();
            let mask = s.mask.unwrap();
            assert_eq!((s.picture.w, s.picture.h, mask.w, mask.h), (side, side, side, side));
            let rim = (side as f64 * 20.0 / 48.0).round() as usize;
            assert_eq!(mask, Mask::from_fn(side, side, |x, _| x < rim), "side {side}");
        }
    }

    #[test]
    fn gaps_between_pictures_and_masks_name_the_stem() {
        let dir = sound("png", "png");
        fs::remove_file(dir.path().join("val/mask/f1.png")).unwrap();
        fails(&dir, &["val/fake", "\"f1\"", "no mask"]);
        fs::rename(dir.path().join("val/fake/f1.png"), dir.path().join("val/real/f1.png")).unwrap();
        open(&dir).unwrap();
        fs::remove_file(dir.path().join("test/fake/f2.png")).unwrap();
        fails(&dir, &["test/mask", "\"f2\"", "without a picture"]);
        fs::remove_dir_all(dir.path().join("test/mask")).unwrap();
        let data = open(&dir).unwrap();
        assert!(data.sample(Split::Test, 4, 0).unwrap().mask.is_none());
        assert!(data.describe().notices[0].contains("without masks"));
        fs::copy(dir.path().join("train/fake/f0.png"), dir.path().join("train/fake/f0.jpg")).unwrap();
        fails(&dir, &["same stem", "f0"]);
    }

    #[test]
    fn missing_and_empty_classes_are_named() {
        let dir = sound("png", "png");
        fs::remove_dir_all(dir.path().join("val/real")).unwrap();
        fails(&dir, &["val/real", "missing"]);
        fs::create_dir(dir.path().join("val/real")).unwrap();
        fails(&dir, &["val/real", "no pictures"]);
    }

    #[test]
    fn bad_files_are_passed_over_until_they_are_too_many() {
        let dir = sound("png", "png");
        let fake = |i: usize| dir.path().join(format!("train/fake/f{i}.png"));
        fs::write(fake(0), "no picture").unwrap();
        let data = open(&dir).unwrap();
        assert_eq!((data.len(Split::Train), data.describe().skipped_files), (5, 1));
        // A sound header: found when it is read, and replaced by its neighbour.
        let bytes = fs::read(fake(1)).unwrap();
        fs::write(fake(1), &bytes[..bytes.len() / 2]).unwrap();
        let data = open(&dir).unwrap();
        let e = data.sample(Split::Train, 3, 0).err().unwrap().to_string(); // 2 of 3
        assert!(e.contains("train/fake") && e.contains("2 of 3"), "{e}");
        fs::copy(fake(2), fake(0)).unwrap();
        let data = open(&dir).unwrap();
        assert_eq!(data.sample(Split::Train, 4, 0).unwrap().path.unwrap(), fake(2));
        assert_eq!(data.describe().skipped_files, 1);
        // An empty mask says nothing of where: its picture is used without.
        Mask::new(48, 40).save(dir.path().join("val/mask/f2.png")).unwrap();
        let data = open(&dir).unwrap();
        let s = data.sample(Split::Val, 5, 0).unwrap();
        assert!(s.path.unwrap().ends_with("f2.png") && s.mask.is_none() && !data.has_mask(Split::Val, 5));
        let notices = data.describe().notices;
        assert!(notices.iter().any(|n| n.contains("1 of 3 masks cover nothing") && n.contains("val/mask/f2.png")), "{notices:?}");
        // A mask of another shape is a wrong pairing.
        Mask::from_fn(40, 40, |_, _| true).save(dir.path().join("val/mask/f2.png")).unwrap();
        fails(&dir, &["val/mask/f2.png", "40 x 40", "48 x 40"]);
        (0..3).for_each(|i| fs::write(fake(i), "no picture").unwrap());
        fs::write(dir.path().join("val/mask/f2.png"), "x").unwrap();
        fails(&dir, &["train/fake", "3 of 3"]);
    }

    #[test]
    fn a_format_that_tells_the_label_is_reported() {
        let leaks = |d: &Dataset| d.describe().notices.iter().filter(|n| n.contains("format leak: 100 %")).count();
        assert_eq!(leaks(&open(&sound("jpg", "png")).unwrap()), 4);
        assert_eq!(leaks(&open(&sound("jpg", "jpg")).unwrap()), 0);
    }
}
