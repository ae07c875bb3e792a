//! Data sets as they lie on users' disks: a tiny tree of exactly each layout is read right, and its spoiled forms end in errors that name
//! the fault, or are counted. Manifests of all of them are read to the same pictures.
//!
//! Over 600 lines because it is a list: a layout, and then its faults.

mod binary;

use std::fs;
use std::path::{Path, PathBuf};

use binary::{lae, ok, path, text};
use lae_engine::data::dataset::{DataConfig, Dataset, Split};
use lae_engine::data::layout::{self, Place, Reading, Wanted};
use lae_engine::data::procedural::photograph;
use lae_engine::data::{Mask, Picture};
use tempfile::TempDir;

const W: usize = 48;
const H: usize = 40;

/// Genuine picture number `i`, another for every number.
fn genuine(i: usize) -> Picture {
    photograph(11, i as u64, W).crop(0, 0, W, H)
}

fn region(x: usize, y: usize) -> bool {
    (10..22).contains(&x) && (8..18).contains(&y)
}

/// The forgery of picture `i` by method `m`, with [`region`] as its mask.
fn forged(i: usize, m: usize) -> Picture {
    let p = genuine(i);
    Picture::from_fn(
        W,
        H,
        |x, y| if region(x, y) { [(40 * m + x) as u8, (5 * y) as u8, (7 * i % 200) as u8] } else { p.at(x, y) },
    )
}

fn mask() -> Mask {
    Mask::from_fn(W, H, region)
}

fn put(file: PathBuf, bytes: Vec<u8>) {
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(file, bytes).unwrap();
}

fn png(file: PathBuf, p: &Picture) {
    put(file, p.to_png().unwrap());
}

fn masked(file: PathBuf) {
    put(file, mask().to_png().unwrap());
}

/// FaceForensics++ with two frames of each of eight videos, two methods, masks, and the official lists, one of which names a pair that is
/// not there.
fn faceforensics(root: &Path) {
    let frame = |dir: String, k: usize| root.join(dir).join(format!("{k:04}.png"));
    for v in 0..8 {
        for k in 0..2 {
            png(frame(format!("original_sequences/youtube/c23/images/{v:03}"), k), &genuine(10 * v + k));
            let pair = format!("{v:03}_{:03}", v ^ 1);
            for (m, method) in ["Face2Face", "FaceSwap"].into_iter().enumerate() {
                png(frame(format!("manipulated_sequences/{method}/c23/images/{pair}"), k), &forged(10 * v + k, m));
                masked(frame(format!("manipulated_sequences/{method}/masks/images/{pair}"), k));
            }
        }
    }
    for (name, pairs) in [
        ("train", r#"[["000", "001"], ["003", "002"]]"#),
        ("val", r#"[["004", "005"]]"#),
        ("test", r#"[["006", "007"], ["998", "999"]]"#),
    ] {
        put(root.join(format!("splits/{name}.json")), pairs.into());
    }
}

/// CelebA with twelve pictures of six people, StarGAN's outputs of all with masks, Glow's of some without.
fn celeba(root: &Path) {
    let (mut list, mut people) = (String::new(), String::new());
    for i in 0..12 {
        let name = format!("{:06}", i + 1);
        list += &format!("{name}.jpg {}\n", [0, 0, 0, 1, 2, 2][i / 2]);
        people += &format!("{name}.jpg {}\n", 100 + i / 2);
        put(root.join(format!("img_align_celeba/{name}.jpg")), genuine(i).to_jpeg(95).unwrap());
        put(root.join(format!("StarGAN/{name}.jpg")), forged(i, 0).to_jpeg(95).unwrap());
        masked(root.join(format!("masks/StarGAN/{name}.png")));
        if i % 2 == 0 {
            put(root.join(format!("Glow/{name}_Smiling.jpg")), forged(i, 1).to_jpeg(95).unwrap());
        }
    }
    put(root.join("img_align_celeba/000013.jpg"), genuine(12).to_jpeg(95).unwrap());
    list += "000013.jpg 0\n000014.jpg 0\n";
    put(root.join("list_eval_partition.txt"), list.into());
    put(root.join("identity_CelebA.txt"), people.into());
}

/// Folders by label without splits: ten genuine pictures, ten forgeries of them under the same names.
fn plain(root: &Path) {
    for i in 0..10 {
        png(root.join(format!("0_real/{i}.png")), &genuine(i));
        png(root.join(format!("1_fake/{i}.png")), &forged(i, 0));
    }
}

/// Authentic, tampered by two methods, masks with a suffix.
fn tampered(root: &Path) {
    for i in 0..10 {
        png(root.join(format!("Au/Au_{i}.png")), &genuine(i));
        let kind = ["CM", "Sp"][i % 2];
        png(root.join(format!("Tp/{kind}/Tp_{i}.png")), &forged(20 + i, 0));
        masked(root.join(format!("Gt/{kind}/Tp_{i}_gt.png")));
    }
}

/// A list of DeepfakeBench: paths as Windows writes them, validation the same as the test.
fn deepfakebench(root: &Path) {
    let mut methods = serde_json::Map::new();
    for (m, method) in ["FF-real", "FF-F2F", "FF-FS"].into_iter().enumerate() {
        let mut splits = serde_json::Map::new();
        for (split, videos) in [("train", 0..4), ("val", 4..6), ("test", 4..6)] {
            let mut found = serde_json::Map::new();
            for v in videos {
                let video = if m == 0 { format!("{v:03}") } else { format!("{v:03}_{:03}", v ^ 1) };
                let frame = format!("FaceForensics++/{method}/c23/frames/{video}/000.png");
                let picture = if m == 0 { genuine(v) } else { forged(v, m) };
                png(root.join("datasets/rgb").join(&frame), &picture);
                if m > 0 {
                    masked(root.join("datasets/rgb").join(frame.replace("frames", "masks")));
                }
                let label = if m == 0 { "FF-real" } else { method };
                found.insert(video, serde_json::json!({"label": label, "frames": [frame.replace('/', "\\")]}));
            }
            splits.insert(split.into(), serde_json::json!({ "c23": found }));
        }
        methods.insert(method.into(), splits.into());
    }
    put(root.join("dataset_json/FaceForensics++.json"), serde_json::json!({ "FaceForensics++": methods }).to_string().into());
}

/// The program's own layout.
fn ready(root: &Path) {
    for (k, part) in ["train", "val", "test", "unseen/glue"].into_iter().enumerate() {
        for i in 0..3 {
            if k < 3 {
                png(root.join(part).join(format!("real/{i}.png")), &genuine(10 * k + i));
            }
            png(root.join(part).join(format!("fake/f{i}.png")), &forged(50 + 10 * k + i, 0));
            masked(root.join(part).join(format!("mask/f{i}.png")));
        }
    }
}

/// Writes a tree into an empty folder.
type Make = fn(&Path);

fn tree(make: Make) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    make(dir.path());
    dir
}

fn config(data: &Path) -> DataConfig {
    DataConfig { dir: Some(data.into()), ..DataConfig::default() }
}

fn open(data: &Path) -> Dataset {
    Dataset::open(&config(data), 16, 0).unwrap()
}

/// The rows as they are read, each with its place.
fn read(data: &Path) -> Reading {
    let wanted = Wanted { shares: (0.1, 0.2), ..Wanted::default() };
    layout::open(data, layout::detect(data, None).unwrap().expect("a layout"), &wanted).unwrap()
}

/// Genuine and forged pictures of train, val, test and the unseen methods.
fn counts(data: &Dataset) -> Vec<(String, usize, usize)> {
    data.describe().counts.into_iter().map(|c| (c.split, c.real, c.fake)).collect()
}

#[track_caller]
fn says(said: &str, words: &[&str]) {
    words.iter().for_each(|w| assert!(said.contains(w), "{w:?} in:\n{said}"));
}

/// Opening ends in an error that has all of the words.
#[track_caller]
fn fails(data: &Path, words: &[&str]) {
    let e = Dataset::open(&config(data), 16, 0).err().expect("an error").to_string();
    says(&e, words);
}

#[track_caller]
fn remarks(data: &Path, words: &[&str]) {
    says(&read(data).remarks().join("\n"), words);
}

fn row(of: &[(&str, usize, usize)]) -> Vec<(String, usize, usize)> {
    of.iter().map(|(n, r, f)| (n.to_string(), *r, *f)).collect()
}

#[test]
fn faceforensics_is_read_as_it_lies_on_disk() {
    let dir = tree(faceforensics);
    let data = open(dir.path());
    assert_eq!((data.seen(), data.unseen()), ("Face2Face", vec!["FaceSwap"]));
    assert_eq!(counts(&data), row(&[("train", 8, 8), ("val", 4, 4), ("test", 4, 4), ("unseen/FaceSwap", 4, 4)]));
    for split in [Split::Train, Split::Val, Split::Test, Split::Unseen(0)] {
        for i in 0..data.len(split) as u32 {
            let (whole, fake) = (data.whole(split, i).unwrap(), data.is_fake(split, i));
            let file = whole.path.clone().unwrap();
            let words: Vec<&str> = file.to_str().unwrap().rsplit('/').take(2).collect();
            let number: usize = words[1][..3].parse().unwrap();
            let frame: usize = words[0][..4].parse().unwrap();
            let (picture, method) = match split {
                _ if !fake => (genuine(10 * number + frame), "real"),
                Split::Unseen(_) => (forged(10 * number + frame, 1), "FaceSwap"),
                _ => (forged(10 * number + frame, 0), "Face2Face"),
            };
            assert!(whole.picture == picture && whole.method.as_ref() == method, "{words:?}");
            assert_eq!(whole.mask, fake.then(mask));
            let original = data.untouched(split, i).map(|p| p.unwrap());
            assert_eq!(original, fake.then(|| genuine(10 * number + frame)));
            let place = if number < 4 { Split::Train } else { [Split::Val, Split::Test][(number - 4) / 2] };
            assert!(split == place || (place == Split::Test && split == Split::Unseen(0)), "{words:?} in {split:?}");
        }
    }
    // A pair of videos is one group.
    let rows = read(dir.path()).rows;
    let group = |name: &str| rows.iter().find(|r| r.path.to_str().unwrap().contains(name)).unwrap().group.clone().unwrap();
    assert_eq!((group("/003/"), group("/002_003/"), group("/001_000/")), ("002".into(), "002".into(), "000".into()));
    remarks(
        dir.path(),
        &[
            "12 training and validation pictures of FaceSwap",
            "test.json names 2 videos of which no original frame is here (video 998",
        ],
    );
    // Another method is seen where that is asked for; an unknown one is an error.
    let seen = |name: &str| Dataset::open(&DataConfig { seen: name.into(), ..config(dir.path()) }, 16, 0);
    let other = seen("faceswap").unwrap();
    assert_eq!((other.seen(), other.unseen()), ("FaceSwap", vec!["Face2Face"]));
    assert_eq!(counts(&seen("all").unwrap()), row(&[("train", 8, 16), ("val", 4, 8), ("test", 4, 8)]));
    says(&seen("Facewap").err().unwrap().to_string(), &["data.seen", "Facewap", "Face2Face, FaceSwap"]);
}

#[test]
fn spoiled_faceforensics() {
    let dir = tree(faceforensics);
    let at = |name: &str| dir.path().join(name);
    let train = fs::read(at("splits/train.json")).unwrap();
    fs::remove_file(at("splits/val.json")).unwrap();
    fails(dir.path(), &["splits/val.json", "missing", "go together"]);
    put(at("splits/val.json"), r#"[["004", "000"]]"#.into());
    fails(dir.path(), &["splits/val.json", "video 000", "also in train.json"]);
    put(at("splits/val.json"), r#"[["904", "905"]]"#.into());
    fails(dir.path(), &["splits/val.json", "names 2 videos", "none of them", "904"]);
    put(at("splits/val.json"), r#"[["004", 5]]"#.into());
    fails(dir.path(), &["splits/val.json", "no list of pairs"]);
    put(at("splits/val.json"), r#"[["004", "005"]]"#.into());
    // Fakes that join two splits, and videos that no list names, are counted.
    for k in 0..2 {
        png(at(&format!("manipulated_sequences/Face2Face/c23/images/000_006/{k:04}.png")), &forged(70 + k, 0));
        png(at(&format!("original_sequences/youtube/c23/images/123/{k:04}.png")), &genuine(80 + k));
    }
    png(at("original_sequences/youtube/c23/images/loose.png"), &genuine(90));
    remarks(
        dir.path(),
        &[
            "2 frames of fakes whose two videos are in two splits",
            "2 frames of originals that no split names",
            "1 pictures that are not in the folder of a video",
        ],
    );
    assert_eq!(counts(&open(dir.path()))[0], ("train".into(), 8, 8));
    // A mask that is missing is counted, one of another size is an error.
    let mask = at("manipulated_sequences/Face2Face/masks/images/000_001/0001.png");
    fs::remove_file(&mask).unwrap();
    let data = open(dir.path());
    let notices = data.describe().notices.join("\n");
    says(&notices, &["1 frames of Face2Face have no mask", "1 of 8 fakes in train have no mask"]);
    put(mask.clone(), Mask::from_fn(40, 40, region).to_png().unwrap());
    fails(dir.path(), &["000_001/0001.png", "40 x 40", "48 x 40"]);
    masked(mask);
    let twin = at("manipulated_sequences/Face2Face/c23/images/000_001/0001.jpg");
    put(twin.clone(), forged(1, 0).to_jpeg(90).unwrap());
    fails(dir.path(), &["000_001/0001", "same stem"]);
    fs::remove_file(twin).unwrap();
    // Without lists the pairs are groups, and none is on two sides.
    fs::remove_dir_all(at("splits")).unwrap();
    fs::remove_dir_all(at("manipulated_sequences/Face2Face/c23/images/000_006")).unwrap();
    let rows = read(dir.path()).rows;
    assert!(rows.iter().any(|r| r.split == Some(Place::Val)) && rows.iter().any(|r| r.split == Some(Place::Test)));
    for r in &rows {
        let same = rows.iter().filter(|o| o.group == r.group).all(|o| o.split.unwrap().side() == r.split.unwrap().side());
        assert!(same, "{r:?}");
    }
    put(at("splits/train.json"), train);
    fs::rename(at("manipulated_sequences"), at("elsewhere")).unwrap();
    fails(dir.path(), &["manipulated_sequences", "missing"]);
}

#[test]
fn videos_alone_are_named_with_the_command_that_takes_frames_out() {
    let dir = tempfile::tempdir().unwrap();
    let film = b"\0\0\0\x18ftypisom\0\0\0\0".to_vec();
    put(dir.path().join("original_sequences/youtube/c23/videos/000.mp4"), film.clone());
    put(dir.path().join("manipulated_sequences/Face2Face/c23/videos/000_001.mp4"), film.clone());
    fails(dir.path(), &["original_sequences/youtube", "1 video", "ffmpeg -i"]);
    let other = tempfile::tempdir().unwrap();
    put(other.path().join("a.mp4"), film.clone());
    put(other.path().join("b.mp4"), film);
    fails(other.path(), &["2 videos", "not read", "ffmpeg -i"]);
}

#[test]
fn celeba_beside_forged_outputs() {
    let dir = tree(celeba);
    let data = open(dir.path());
    assert_eq!((data.seen(), data.unseen()), ("StarGAN", vec!["Glow"]));
    assert_eq!(counts(&data), row(&[("train", 6, 6), ("val", 2, 2), ("test", 4, 4), ("unseen/Glow", 4, 2)]));
    assert!(data.has_mask(Split::Train, 6) && !data.has_mask(Split::Unseen(0), 4));
    let original = data.untouched(Split::Unseen(0), 4).unwrap().unwrap();
    assert_eq!(original, Picture::open(dir.path().join("img_align_celeba/000009.jpg")).unwrap());
    remarks(
        dir.path(),
        &[
            "1 originals of which nothing was forged (img_align_celeba/000013.jpg)",
            "names 1 pictures that are not here",
            "6 outputs of Glow",
        ],
    );
    assert_eq!(read(dir.path()).rows.iter().find(|r| r.path.ends_with("000003.jpg")).unwrap().group.as_deref(), Some("101"));
    // Its faults.
    let at = |name: &str| dir.path().join(name);
    let (list, people) =
        (fs::read_to_string(at("list_eval_partition.txt")).unwrap(), fs::read(at("identity_CelebA.txt")).unwrap());
    fs::write(at("list_eval_partition.txt"), list.replace("000002.jpg 0", "000002.jpg 3")).unwrap();
    fails(dir.path(), &["list_eval_partition.txt", "line 2", "000002.jpg 3"]);
    // A person in training and in the test.
    fs::write(at("list_eval_partition.txt"), list.replace("000002.jpg 0", "000002.jpg 2")).unwrap();
    fails(dir.path(), &["group is in two splits", "100", "000002", "--allow-duplicates"]);
    fs::remove_file(at("identity_CelebA.txt")).unwrap();
    assert_eq!(counts(&open(dir.path()))[2], ("test".into(), 5, 5));
    fs::write(at("identity_CelebA.txt"), people).unwrap();
    fs::write(at("list_eval_partition.txt"), "900000.jpg 0\n").unwrap();
    fs::write(at("StarGAN/zzz.png"), b"x").unwrap();
    fails(dir.path(), &["list_eval_partition.txt", "none of them"]);
    fs::write(at("list_eval_partition.txt"), list).unwrap();
    remarks(dir.path(), &["1 outputs of StarGAN without an original (StarGAN/zzz.png)"]);
    fs::remove_file(at("StarGAN/zzz.png")).unwrap();
    fs::rename(at("img_align_celeba"), at("annotations")).unwrap();
    fails(dir.path(), &["img_align_celeba", "missing"]);
}

#[test]
fn masks_are_made_of_differences() {
    let dir = tree(celeba);
    let file = dir.path().join("set.csv");
    let said = text(&ok(&["data", "import", path(dir.path()), "--masks", "difference", "--out", path(&file)]).stderr);
    // Of Glow's six outputs the two of the test are used.
    says(&said, &["2 masks were made from differences; 0 fakes stay without"]);
    let data = open(&file);
    for i in 4..6 {
        let made = data.whole(Split::Unseen(0), i).unwrap().mask.expect("a mask");
        let both = made.on.iter().zip(&mask().on).filter(|(a, b)| **a + **b == 2).count();
        let any = made.on.iter().zip(&mask().on).filter(|(a, b)| **a + **b > 0).count();
        assert!(2 * both > any, "intersection {both}, union {any}");
    }
    let again = lae(&["data", "import", path(dir.path()), "--masks", "difference", "--out", path(&dir.path().join("set.jsonl"))]);
    says(&text(&again.stderr), &["set.masks", "already"]);
}

#[test]
fn folders_by_label() {
    let dir = tree(plain);
    let rows = read(dir.path()).rows;
    assert_eq!((rows.len(), rows.iter().filter(|r| r.fake).count()), (20, 10));
    // A picture and the forgery of its name are on one side, and every split has both.
    for r in &rows {
        let twin = rows.iter().find(|o| o.fake != r.fake && o.path.file_name() == r.path.file_name()).unwrap();
        assert_eq!(twin.split, r.split, "{r:?}");
    }
    assert_eq!(counts(&open(dir.path())), row(&[("train", 7, 7), ("val", 1, 1), ("test", 2, 2)]));
    remarks(dir.path(), &["no splits were given", "20 % for the tests", "seed 0"]);
    // Below splits and methods.
    let deep = tempfile::tempdir().unwrap();
    let at = |name: &str| deep.path().join(name);
    for (k, part) in ["train", "test/StyleGAN", "test/BigGAN"].into_iter().enumerate() {
        for i in 0..5 {
            png(at(&format!("{part}/0_real/{i}.png")), &genuine(10 * k + i));
            png(at(&format!("{part}/1_fake/{i}.png")), &forged(100 + 10 * k + i, 0));
        }
    }
    assert_eq!(counts(&open(deep.path())), row(&[("train", 4, 4), ("val", 1, 1), ("test", 10, 10)]));
    remarks(deep.path(), &["no validation was given"]);
    let seen = DataConfig { seen: "fake".into(), ..config(deep.path()) };
    let data = Dataset::open(&seen, 16, 0).err().unwrap().to_string();
    says(&data, &["no forged picture in test"]);
    fs::remove_dir_all(at("test/BigGAN/0_real")).unwrap();
    fails(deep.path(), &["test/BigGAN/0_real", "missing"]);
    // Two layouts in one folder.
    fs::create_dir(dir.path().join("Tp")).unwrap();
    fails(dir.path(), &["plain", "tampered", "--layout NAME"]);
}

#[test]
fn tampered_pictures_with_masks() {
    let dir = tree(tampered);
    let data = open(dir.path());
    assert_eq!(counts(&data), row(&[("train", 7, 7), ("val", 1, 1), ("test", 2, 2)]));
    assert!((7..14).all(|i| data.has_mask(Split::Train, i)));
    let mut methods: Vec<String> = read(dir.path()).rows.into_iter().filter(|r| r.fake).map(|r| r.method).collect();
    methods.sort();
    methods.dedup();
    assert_eq!(methods, ["CM", "Sp"]);
    fs::rename(dir.path().join("Gt/CM/Tp_0_gt.png"), dir.path().join("Gt/CM/stray.png")).unwrap();
    remarks(dir.path(), &["1 of 10 tampered pictures have no mask", "1 masks without a picture (Gt/CM/stray.png)"]);
    fs::rename(dir.path().join("Au"), dir.path().join("Bu")).unwrap();
    fails(dir.path(), &["Au", "missing", "genuine"]);
}

#[test]
fn lists_of_deepfakebench() {
    let dir = tree(deepfakebench);
    let data = open(dir.path());
    // Frames of val are in test already; validation is taken from training, by video.
    assert_eq!((data.seen(), data.unseen()), ("FF-F2F", vec!["FF-FS"]));
    let n = counts(&data);
    assert_eq!((n[0].1 + n[1].1, n[0].2 + n[1].2, n[2].clone()), (4, 4, ("test".into(), 2, 2)));
    assert!(n[1].1 == n[1].2 && n[1].1 > 0, "{n:?}");
    assert_eq!(data.whole(Split::Test, 2).unwrap().mask, Some(mask()));
    remarks(dir.path(), &["6 frames of val that are in test already"]);
    let list = dir.path().join("dataset_json/FaceForensics++.json");
    assert_eq!(counts(&open(&list)), n);
    let text = fs::read_to_string(&list).unwrap();
    fs::copy(&list, dir.path().join("dataset_json/other.json")).unwrap();
    fails(dir.path(), &["has 2 lists", "other.json"]);
    fs::write(&list, text.replace("\"label\":\"FF-F2F\"", "\"lable\":\"FF-F2F\"")).unwrap();
    fails(&list, &["FaceForensics++.json", "FF-F2F, test", "no label"]);
    fs::write(&list, &text[..text.len() / 2]).unwrap();
    fails(&list, &["FaceForensics++.json", "no list of DeepfakeBench"]);
    fs::write(&list, &text).unwrap();
    fs::rename(dir.path().join("datasets"), dir.path().join("moved")).unwrap();
    fails(&list, &["pictures are not there", "copy the pictures"]);
}

/// Every layout gives the same pictures directly, by a CSV manifest and by JSON lines in other folders.
#[test]
fn manifests_of_all_layouts_give_the_same_pictures() {
    let trees: [(Make, &str); 6] = [
        (faceforensics, "faceforensics"),
        (celeba, "celeba"),
        (plain, "plain"),
        (tampered, "tampered"),
        (deepfakebench, "deepfakebench"),
        (ready, "ready"),
    ];
    let names: Vec<&str> = layout::LAYOUTS.iter().map(|l| l.name).filter(|n| *n != "manifest").collect();
    assert!(trees.iter().all(|t| names.contains(&t.1)) && trees.len() == names.len(), "{names:?}: each with a tree");
    for (make, name) in trees {
        let dir = tree(make);
        assert_eq!(layout::detect(dir.path(), None).unwrap().unwrap().name, name);
        let lists = tempfile::tempdir().unwrap();
        let direct = open(dir.path());
        for file in [lists.path().join("set.csv"), dir.path().join("set.jsonl")] {
            let said = text(&ok(&["data", "import", path(dir.path()), "--out", path(&file)]).stderr);
            says(&said, &["layout ", "found ", "methods ", "row 1 of ", "manifest "]);
            assert_eq!(said.lines().filter(|l| l.trim_start().starts_with("row ")).count(), 5, "{said}");
            let listed = open(&file);
            assert_eq!((counts(&listed), listed.unseen()), (counts(&direct), direct.unseen()), "{name}");
            for split in direct.splits() {
                let all = |d: &Dataset| {
                    let of = |i| {
                        let s = d.sample(split, i, 0).unwrap();
                        let before = d.untouched(split, i).map(|p| p.unwrap().rgb);
                        (fs::canonicalize(s.path.unwrap()).unwrap(), s.fake, s.picture.rgb, s.mask, s.method, before)
                    };
                    let mut all: Vec<_> = (0..d.len(split) as u32).map(of).collect();
                    all.sort_by(|a, b| a.0.cmp(&b.0));
                    all
                };
                assert!(all(&listed) == all(&direct), "{name}, {split:?}");
            }
        }
        let out = lae(&["data", "import", path(dir.path()), "--out", path(&lists.path().join("set.csv"))]);
        assert_eq!(out.status.code(), Some(2));
        says(&text(&out.stderr), &["set.csv", "already"]);
        assert_eq!(fs::read_dir(lists.path()).unwrap().count(), 1, "nothing temporary is left");
    }
}

/// The thin path: a layout, its manifest, a run on it, the run judged by another manifest.
#[test]
fn a_run_is_trained_and_judged_by_manifests() {
    let dir = tree(faceforensics);
    let at = |name: &str| dir.path().join(name);
    ok(&["data", "import", path(dir.path()), "--out", path(&at("set.csv"))]);
    let short = ["--preset", "smoke", "--detector", "meso", "--set", "train.epochs=1", "--set", "train.batch=8"];
    let train = |data: &Path, run: &Path| {
        let mut args = vec!["train", "--data", path(data), "--out", path(run), "--task", "swap"];
        args.extend(short);
        text(&ok(&args).stderr)
    };
    let said = train(&at("set.csv"), &at("a"));
    says(&said, &["set.csv: a manifest", "train 8 real + 8 fake", "unseen/FaceSwap", "row 1 of 36"]);
    train(dir.path(), &at("b"));
    // Rows of one set in other words are one set. The header of the file has the configuration, and with it the path of the data.
    let weights = |run: &str| {
        let bytes = fs::read(at(run).join("model.safetensors")).unwrap();
        let header = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
        bytes[8 + header..].to_vec()
    };
    assert!(weights("a") == weights("b"), "the manifest trains to the weights of the layout");
    let report = fs::read_to_string(at("a/report.json")).unwrap();
    says(&report, &["a manifest", "FaceSwap"]);
    let other = tree(plain);
    ok(&["data", "import", path(other.path()), "--out", path(&at("other.jsonl"))]);
    let judged = ok(&["eval", path(&at("a")), "--data", path(&at("other.jsonl")), "--view", "whole", "--allow-duplicates"]);
    says(&text(&judged.stderr), &["other.jsonl: a manifest"]);
    // What is wrong with it is checked before.
    let out = lae(&["data", "check", path(&at("set.csv"))]);
    says(&text(&out.stdout), &["layout", "each inside its picture", "each of 20 fakes has its mask"]);
    let out = lae(&["train", "--data", path(&at("splits/none.csv"))]);
    says(&text(&out.stderr), &["none.csv", "check the path"]);
    fs::write(at("set.parquet"), b"PAR1").unwrap();
    let out = lae(&["train", "--preset", "smoke", "--data", path(&at("set.parquet")), "--out", path(&at("c"))]);
    says(&text(&out.stderr), &["set.parquet", "Parquet is not supported", "to_csv"]);
    assert_eq!(out.status.code(), Some(2));
}

/// A manifest of three groups of two pictures each, and a mask for each fake.
fn small_set(root: &Path) -> Vec<String> {
    let mut rows = Vec::new();
    for i in 0..6 {
        png(root.join(format!("r{i}.png")), &genuine(i));
        png(root.join(format!("f{i}.png")), &forged(i, 0));
        masked(root.join(format!("m{i}.png")));
        let split = ["train", "val", "test"][i / 2];
        rows.push(format!("r{i}.png,real,,{},{split},,,4,6,20,16", i / 2));
        rows.push(format!("f{i}.png,fake,glue,{},{split},m{i}.png,r{i}.png,4,6,20,16", i / 2));
    }
    rows
}

const HEADER: &str = "path,label,method,group,split,mask,original,x,y,w,h";

fn csv(file: &Path, rows: &[String]) {
    fs::write(file, format!("{HEADER}\n{}\n", rows.join("\n"))).unwrap();
}

#[test]
fn boxes_cut_picture_mask_and_original() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("set.csv");
    let rows = small_set(dir.path());
    csv(&file, &rows);
    let data = open(&file);
    assert_eq!(data.seen(), "glue");
    for (i, fake) in [(0, false), (2, true)] {
        let whole = data.whole(Split::Train, i).unwrap();
        let from = if fake { forged(0, 0) } else { genuine(0) };
        assert_eq!(whole.picture, from.crop(4, 6, 20, 16));
        assert_eq!(whole.mask, fake.then(|| mask().crop(4, 6, 20, 16)));
        let small = data.sample(Split::Train, i, 0).unwrap();
        assert_eq!(small.picture, from.crop(4, 6, 20, 16).resize(16));
        assert_eq!(small.mask, fake.then(|| mask().crop(4, 6, 20, 16).resize_to(16, 16)));
        assert_eq!(data.own_size(Split::Train, i).unwrap().unwrap(), (20, 16));
    }
    assert_eq!(data.untouched(Split::Train, 2).unwrap().unwrap(), genuine(0).crop(4, 6, 20, 16));
    // Outside of the picture: by the line, before anything is trained.
    for (bad, words) in [
        ("40,6,20,16", "40, 6, 20, 16"),
        ("4,30,20,16", "4, 30, 20, 16"),
        ("18446744073709551615,6,20,16", "18446744073709551615"),
    ] {
        let mut spoiled = rows.clone();
        spoiled[3] = spoiled[3].replace("4,6,20,16", bad);
        csv(&file, &spoiled);
        fails(&file, &["f1.png", "line 5", words, "48 x 40", "correct it"]);
        let out = lae(&["data", "check", path(&file)]);
        says(&text(&out.stdout), &["red", "boxes", "f1.png"]);
    }
}

#[test]
fn squares_about_masks_are_the_same_for_fakes_and_originals() {
    let dir = tree(faceforensics);
    let file = dir.path().join("cut.csv");
    ok(&["data", "import", path(dir.path()), "--crop", "mask", "--out", path(&file)]);
    let reading = read(&file);
    // The region is 12 × 10 about (16, 13): 13 pixels a side.
    assert!(reading.rows.iter().all(|r| r.crop == Some(layout::Crop { x: 10, y: 7, w: 13, h: 13 })), "{:?}", reading.rows[0]);
    assert_eq!(open(&file).whole(Split::Test, 0).unwrap().picture.w, 13);
    let bare = tree(tampered);
    let out = lae(&["data", "import", path(bare.path()), "--crop", "mask", "--out", path(&bare.path().join("cut.csv"))]);
    says(&text(&out.stderr), &["no genuine picture is the original of a fake with a mask", "show the label"]);
}

#[test]
fn spoiled_manifests_name_the_line() {
    let dir = tempfile::tempdir().unwrap();
    let rows = small_set(dir.path());
    let file = dir.path().join("set.csv");
    let spoil = |from: &str, to: &str, words: &[&str]| {
        let all = format!("{HEADER}\n{}\n", rows.join("\n"));
        assert!(all.contains(from), "{from}");
        fs::write(&file, all.replacen(from, to, 1)).unwrap();
        fails(&file, &[&["set.csv"], words].concat());
    };
    spoil("path,label,method", "path,label,metod", &["line 1", "unknown column \"metod\"", "did you mean \"method\"?"]);
    spoil("path,label,method", "path,label,label", &["line 1", "\"label\" is there twice"]);
    spoil("path,label,method", "original,x,method", &["line 1", "twice"]);
    spoil("f0.png,fake", "f0.png,fkae", &["line 3", "label \"fkae\"", "write real or fake"]);
    spoil("f0.png,fake", "f0.png,1", &["line 3", "label 1", "write real or fake"]);
    spoil("r1.png,real", "r1.png,", &["line 4", "no label"]);
    spoil("r1.png,real", ",real", &["line 4", "no path"]);
    spoil("r1.png,real,,0,train", "r1.png,real,,0,training", &["line 4", "split \"training\"", "unseen/METHOD"]);
    spoil("r1.png,real,,0,train", "r1.png,real,,0,", &["line 4", "r1.png has no split", "1 of 12"]);
    spoil("r1.png,real,,0,train", "r1.png,real,,0,unseen", &["line 4", "of no method"]);
    spoil("r1.png,real,,0,train", "r1.png,real,,0,test", &["group is in two splits", "group 0", "line 4, test"]);
    spoil("r1.png,real,,0,train,,", "r1.png,real,,0,train,m1.png,", &["line 4", "neither mask nor original"]);
    spoil("4,6,20,16", "4,6,20,", &["line 2", "all four"]);
    spoil("4,6,20,16", "4,6,0,16", &["line 2", "no width"]);
    spoil("4,6,20,16", "4,6,20,-3", &["line 2", "h \"-3\"", "whole number"]);
    spoil("4,6,20,16", "4,6,20", &["line 2", "10 fields", "11"]);
    spoil("r1.png,real", "r0.png,real", &["line 4", "r0.png is there already, in line 2"]);
    for part in [0, 2, 4] {
        // A part without one of the kinds.
        let left: Vec<String> =
            rows.iter().enumerate().filter(|(i, _)| i / 4 != part / 2 || i % 2 == 0).map(|r| r.1.clone()).collect();
        csv(&file, &left);
        fails(&file, &["set.csv", "no forged picture in", ["train", "val", "test"][part / 2]]);
    }
    fs::write(&file, format!("{HEADER}\n")).unwrap();
    fails(&file, &["set.csv", "no row"]);
    fs::write(&file, "path;label\nr0.png;real\n").unwrap();
    fails(&file, &["set.csv", "not parted by commas"]);
    fs::write(&file, b"path,label\nr0\xff.png,real\n").unwrap();
    fails(&file, &["set.csv", "line 2", "UTF-8"]);
    // A mask of another size, and one that is not there: an error, and a picture that is counted.
    fs::write(dir.path().join("m1.png"), Mask::from_fn(30, 40, region).to_png().unwrap()).unwrap();
    csv(&file, &rows);
    fails(&file, &["m1.png", "30 x 40", "48 x 40"]);
    fs::remove_file(dir.path().join("m1.png")).unwrap();
    let data = open(&file);
    assert_eq!((counts(&data)[0].clone(), data.describe().skipped_files), (("train".into(), 2, 1), 1));
    // JSON lines.
    let lines = dir.path().join("set.jsonl");
    for (line, words) in [
        (r#"{"path": "r0.png", "label": "real", "colour": 3}"#, &["line 1", "colour", "the columns are path"][..]),
        (r#"{"path": "r0.png", "label": "rael"}"#, &["line 1", "label \"rael\""]),
        (r#"{"path": "r0.png", "label": "real"}"#, &["no forged picture"]),
        ("{\"path\": \"r0.png\", \"label\": \"real\"}\n{\"path\": ", &["line 2"]),
        (r#"{"path": "r0.png", "label": "real", "x": 1, "y": 2.5, "w": 3, "h": 4}"#, &["line 1", "y \"2.5\""]),
    ] {
        fs::write(&lines, line).unwrap();
        fails(&lines, words);
    }
    for name in ["set.txt", "set.xlsx"] {
        fs::write(dir.path().join(name), "x").unwrap();
        fails(&dir.path().join(name), &[name, "no manifest"]);
    }
    let out = lae(&["data", "import", path(&file), "--out", path(&dir.path().join("o.parquet"))]);
    says(&text(&out.stderr), &["o.parquet", "Parquet is not supported"]);
}

#[test]
fn a_manifest_of_many_entries() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("set.csv");
    let mut rows = small_set(dir.path());
    rows.extend((0..200_000).map(|i| format!("gone/{i}.png,{},glue,g{i},train,,,,,,", ["real", "fake"][i % 2])));
    csv(&file, &rows);
    fails(&file, &["set.csv", "200,000 of 200,012 pictures are not there", "line 14", "gone/0.png first", "relative to"]);
    let last = rows.len() - 1;
    rows[last] = rows[last].replace(",fake,", ",forged,");
    csv(&file, &rows);
    fails(&file, &["set.csv", "line 200013", "\"forged\""]);
    // One picture that is not there is counted; the others are used.
    rows.truncate(12);
    rows[0] = rows[0].replace("r0.png", "r9.png");
    csv(&file, &rows);
    let data = open(&file);
    assert_eq!((counts(&data)[0].clone(), data.describe().skipped_files), (("train".into(), 1, 2), 1));
}
