//! Every file as its owner means it, through the real binary: what a folder holds beside its pictures is counted, links and pipes do
//! no harm, names cannot forge output, and the same picture twice is named.
//!
//! Over 600 lines because it is a list: a test for each kind of fault.

mod binary;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::OnceLock;

use binary::{command, lae, ok, path, text, train};
use lae_engine::data::procedural::photograph;
use lae_engine::data::{Mask, Picture};
use tempfile::TempDir;

/// A finished smoke run that the tests only read.
fn finished() -> &'static Path {
    static RUN: OnceLock<(TempDir, PathBuf)> = OnceLock::new();
    let (_, run) = RUN.get_or_init(|| {
        let dir = tempfile::tempdir().unwrap();
        let run = dir.path().join("run");
        train(&run, &["--detector", "meso", "--set", "train.epochs=1"]);
        (dir, run)
    });
    run
}

/// A finished smoke run with a map.
fn with_map() -> &'static Path {
    static RUN: OnceLock<(TempDir, PathBuf)> = OnceLock::new();
    let (_, run) = RUN.get_or_init(|| {
        let dir = tempfile::tempdir().unwrap();
        let run = dir.path().join("run");
        train(&run, &["--set", "train.epochs=1", "--annotations", "0"]);
        (dir, run)
    });
    run
}

fn code(out: &Output) -> (i32, String, String) {
    let said = text(&out.stderr);
    assert!(!said.contains("panicked"), "{said}");
    (out.status.code().expect("no signal"), text(&out.stdout), said)
}

#[track_caller]
fn says(said: &str, words: &[&str]) {
    words.iter().for_each(|w| assert!(said.contains(w), "{w:?} in:\n{said}"));
}

fn png(i: u64) -> Vec<u8> {
    photograph(3, i, 40).to_png().unwrap()
}

fn objects(out: &Output) -> Vec<serde_json::Value> {
    text(&out.stdout).lines().map(|l| serde_json::from_str(l).unwrap_or_else(|e| panic!("{e}: {l}"))).collect()
}

/// The verdicts of `detect`, without the object about what was passed over; the lines of `data check`.
fn judged(out: &Output) -> Vec<serde_json::Value> {
    objects(out).into_iter().filter(|v| v.get("passed_over").is_none()).collect()
}

#[test]
fn detect_says_what_it_did_not_look_at() {
    let dir = tempfile::tempdir().unwrap();
    let at = |n: &str| dir.path().join(n);
    let run = path(finished());
    fs::write(at("a.png"), png(0)).unwrap();
    fs::write(at("manifest.jsonl"), "{}\n").unwrap();
    fs::write(at("notes.txt"), "words").unwrap();
    let (status, _, said) = code(&lae(&["detect", run, path(dir.path())]));
    assert_eq!(status, 0, "{said}");
    says(&said, &["passed over: 2 other files"]);
    // A picture by its content is a picture, whatever its name.
    fs::write(at("no ending"), png(1)).unwrap();
    fs::write(at("really a png.heic"), png(2)).unwrap();
    let (status, table, said) = code(&lae(&["detect", run, path(dir.path())]));
    assert_eq!((status, table.lines().count()), (0, 3), "{table}{said}");
    // Pictures that are not read.
    let heic = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic";
    for name in ["1.heic", "2.HEIC", "without ending"] {
        fs::write(at(name), heic).unwrap();
    }
    fs::write(at("x.jp2"), b"\0\0\0\x0cjP  \r\n\x87\n").unwrap();
    let (status, table, said) = code(&lae(&["detect", run, path(dir.path())]));
    assert_eq!((status, table.lines().count()), (1, 3), "{table}{said}");
    says(&said, &["passed over: 3 HEIC (", "1 JPEG 2000 (", "x.jp2)", "2 other files", "convert to png or jpeg"]);
    // The same for programs: one object after the verdicts, by kind.
    let all = objects(&lae(&["detect", run, path(dir.path()), "--json"]));
    let rows = all.last().unwrap()["passed_over"].as_array().unwrap();
    let row = |i: usize| (&rows[i]["kind"], &rows[i]["count"], &rows[i]["pictures"]);
    assert_eq!((all.len(), rows.len(), row(0)), (4, 3, (&"HEIC".into(), &3.into(), &true.into())), "{rows:#?}");
    assert_eq!(
        (row(1), row(2)),
        ((&"JPEG 2000".into(), &1.into(), &true.into()), (&"other file".into(), &2.into(), &false.into()))
    );
    assert_eq!(rows[1]["first"], path(&at("x.jp2")));
    assert!(all[..3].iter().all(|v| v["path"].is_string() && v["p_fake"].is_number()), "{all:#?}");
    let alone = objects(&ok(&["detect", run, path(&at("a.png")), "--json"]));
    assert!(alone.len() == 1 && alone[0]["path"].is_string(), "{alone:#?}");
    // Under the name of a picture that is read: an error of its own, with the remedy.
    fs::write(at("phone.jpg"), heic).unwrap();
    let (status, _, said) = code(&lae(&["detect", run, path(&at("phone.jpg"))]));
    assert_eq!(status, 2);
    says(&said, &["phone.jpg", "is HEIC", "heif-convert"]);
    // Nothing else in the folder.
    fs::create_dir(at("only")).unwrap();
    fs::write(at("only/1.avif"), b"\0\0\0\x18ftypavif").unwrap();
    let (status, _, said) = code(&lae(&["detect", run, path(&at("only"))]));
    assert_eq!(status, 2);
    says(&said, &["holds no pictures", "1 AVIF", "heif-convert"]);
    // A hidden picture counts as one that was not looked at.
    fs::create_dir(at("hidden")).unwrap();
    fs::write(at("hidden/a.png"), png(0)).unwrap();
    fs::write(at("hidden/.b.png"), png(1)).unwrap();
    let (status, _, said) = code(&lae(&["detect", run, path(&at("hidden"))]));
    assert_eq!(status, 1);
    says(&said, &["1 hidden picture (", ".b.png)"]);
}

#[cfg(unix)]
#[test]
fn links_pipes_and_heat_maps_are_no_further_pictures() {
    use std::os::unix::fs::symlink;
    let dir = tempfile::tempdir().unwrap();
    let at = |n: &str| dir.path().join(n);
    let run = path(with_map());
    fs::create_dir_all(at("set/sub")).unwrap();
    fs::write(at("set/a.png"), png(0)).unwrap();
    photograph(3, 1, 40).save(at("set/sub/a.jpg")).unwrap();
    symlink("..", at("set/sub/up")).unwrap();
    symlink(".", at("set/self")).unwrap();
    symlink("a.png", at("set/again.png")).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(at("set/pipe.png")).status().unwrap().success());
    let set = at("set");
    let (status, table, said) = code(&lae(&["detect", run, path(&set)]));
    assert_eq!((status, table.lines().count()), (0, 2), "{table}{said}");
    says(&said, &["1 pipe", "1 further name"]);
    // The same file by two arguments.
    let (_, table, _) = code(&lae(&["detect", run, path(&at("set/a.png")), path(&set), path(&at("set/again.png"))]));
    assert_eq!(table.lines().count(), 2, "{table}");
    // Explicitly a pipe, a device, a link that leads nowhere: refused, not waited for.
    symlink("nowhere", at("set/broken.png")).unwrap();
    for (p, word) in
        [(path(&at("set/pipe.png")), "is a pipe"), ("/dev/zero", "is a device"), (path(&at("set/broken.png")), "leads nowhere")]
    {
        let (status, _, said) = code(&lae(&["detect", run, p]));
        assert_eq!(status, 2, "{said}");
        says(&said, &[p, word]);
    }
    // A link that cannot be followed may have been a picture.
    let (status, _, said) = code(&lae(&["detect", run, path(&set)]));
    assert_eq!(status, 1);
    says(&said, &["1 unreadable link (", "broken.png"]);
    fs::remove_file(at("set/broken.png")).unwrap();

    // Heat maps in the folder that is judged; one stem with two endings; again, and again.
    fs::write(at("set/a.gif"), fs::read(at("set/a.png")).unwrap().len().to_string()).unwrap();
    photograph(3, 2, 40).save(at("set/a.jpg")).unwrap();
    fs::remove_file(at("set/a.gif")).unwrap();
    let mut before = Vec::new();
    for round in 0..3 {
        let out = lae(&["detect", run, path(&set), "--json", "--heatmaps", path(&set)]);
        let (status, _, said) = code(&out);
        let mut maps: Vec<String> = judged(&out).iter().map(|v| v["heatmap"].as_str().unwrap().to_string()).collect();
        maps.sort();
        assert_eq!((status, maps.len()), (0, 3), "{said}");
        maps.dedup();
        assert_eq!(maps.len(), 3, "one map for two pictures: {maps:?}");
        if round > 0 {
            assert_eq!(maps, before, "another call, other names");
            says(&said, &["3 heat maps"]);
        }
        before = maps;
    }
    assert!(before.iter().any(|m| m.ends_with("a.png.heat.png")), "{before:?}");
    // The map of another folder's a.png does not take the place of this one.
    let (maps, other) = (at("maps"), at("other"));
    fs::create_dir(&other).unwrap();
    fs::write(other.join("a.png"), png(7)).unwrap();
    let map = |picture: &Path| {
        judged(&ok(&["detect", run, path(picture), "--json", "--heatmaps", path(&maps)]))[0]["heatmap"]
            .as_str()
            .unwrap()
            .to_string()
    };
    let (first, second) = (map(&at("set/a.png")), map(&other.join("a.png")));
    assert_ne!(first, second);
    assert_eq!((map(&at("set/a.png")), map(&other.join("a.png"))), (first, second));
    assert_eq!(fs::read_dir(&maps).unwrap().count(), 2);
    // A file of that name that is no heat map is somebody's.
    fs::write(maps.join("b.heat.png"), "precious").unwrap();
    fs::write(other.join("b.png"), png(8)).unwrap();
    assert!(map(&other.join("b.png")).ends_with("b.png.heat.png"));
    assert_eq!(fs::read(maps.join("b.heat.png")).unwrap(), b"precious");
}

#[cfg(unix)]
#[test]
fn names_cannot_forge_output() {
    use std::os::unix::ffi::OsStrExt;
    let dir = tempfile::tempdir().unwrap();
    let set = dir.path().join("set");
    fs::create_dir(&set).unwrap();
    let names: [&[u8]; 8] = [
        b"a\nreal  p_fake 0.001  b.png",
        b"\x1b[2Jclear.png",
        "x\u{202e}gnp.png".as_bytes(),
        b"=1+1.png",
        b"r\rreturn.png",
        b"quote\",comma.png",
        b"\xff.png",
        b"\xfe.png",
    ];
    let file = |n: &[u8]| set.join(std::ffi::OsStr::from_bytes(n));
    names.iter().enumerate().for_each(|(i, n)| fs::write(file(n), png(i as u64)).unwrap());
    fs::write(file(b"bad\x1b]0;title\x07\n\xff.png"), "no picture").unwrap();
    let run = path(finished());
    let tame = |bytes: &[u8]| {
        let t = String::from_utf8(bytes.to_vec()).expect("UTF-8");
        assert!(!t.chars().any(|c| c.is_control() && c != '\n' || c == '\u{202e}'), "{t:?}");
        t
    };
    for args in [vec![], vec!["--json"], vec!["--csv"]] {
        let out = lae(&[&["detect", run, path(&set)], &args[..]].concat());
        assert_eq!(out.status.code(), Some(1));
        let (table, said) = (tame(&out.stdout), tame(&out.stderr));
        let rows = 8 + if args.is_empty() { 0 } else { 1 } + if args == ["--csv"] { 1 } else { 0 };
        assert_eq!(table.lines().count(), rows, "{table}");
        says(&said, &["1 of 9 pictures"]);
        match args.first() {
            None => {
                says(&table, &["a\\nreal", "\\x1b[2J", "\\u{202e}", "\\xff.png", "\\xfe.png"]);
                says(&said, &["bad\\x1b]0;title\\x07\\n\\xff.png"]);
            }
            Some(&"--csv") => says(&table, &["\"quote\"\",comma.png\""].map(|w| w.trim_start_matches('"'))),
            _ => {
                let paths: Vec<PathBuf> = judged(&out).iter().map(original).collect();
                names.iter().for_each(|n| assert!(paths.contains(&file(n)), "{n:?} in {paths:?}"));
            }
        }
    }
    // A formula needs a field that begins with it: a path that is given as its name alone.
    let out = command().current_dir(&set).args(["detect", run, "=1+1.png", "--csv"]).output().unwrap();
    says(&text(&out.stdout), &["\n'=1+1.png,"]);
    let mut c = command();
    c.args(["detect", run]).arg(file(b"\nno such\x1b.png"));
    says(&tame(&c.output().unwrap().stderr), &["\\nno such\\x1b.png: no such file"]);
}

/// The file that a line of `--json` is about.
#[cfg(unix)]
fn original(line: &serde_json::Value) -> PathBuf {
    use base64::Engine;
    use std::os::unix::ffi::OsStringExt;
    match line["path_bytes"].as_str() {
        Some(b) => std::ffi::OsString::from_vec(base64::prelude::BASE64_STANDARD.decode(b).unwrap()).into(),
        None => line["path"].as_str().unwrap().into(),
    }
}

/// What is forged: not the border.
fn hole(x: usize, y: usize) -> bool {
    (4..19).contains(&x) && (5..25).contains(&y)
}

/// A sound data set of `n` pictures of each class in training, four in each other split.
fn data_set(dir: &Path, n: usize) {
    for (k, part) in ["train", "val", "test", "unseen/glue"].into_iter().enumerate() {
        for i in 0..if k == 0 { n } else { 4 } {
            let save = |class: &str, p: &Picture| {
                let folder = dir.join(part).join(class);
                fs::create_dir_all(&folder).unwrap();
                p.save(folder.join(format!("{i}.png"))).unwrap();
            };
            // An unseen method is tested on pictures of the test split.
            let photo = photograph(4, (100 * k.min(2) + i) as u64, 40);
            if k < 3 {
                save("real", &photo);
            }
            let grey = 60 + 10 * k as u8;
            save("fake", &Picture::from_fn(40, 40, |x, y| if hole(x, y) { [grey; 3] } else { photo.at(x, y) }));
            let mask = dir.join(part).join("mask");
            fs::create_dir_all(&mask).unwrap();
            Mask::from_fn(40, 40, hole).save(mask.join(format!("{i}.png"))).unwrap();
        }
    }
}

/// `train` in the shortest possible way.
fn short(data: &[&std::ffi::OsStr], run: &Path, more: &[&str]) -> Output {
    let mut c = command();
    c.args(["train", "--preset", "smoke", "--detector", "meso", "--set", "train.epochs=1", "--set", "train.batch=4"]);
    c.args([
        "--set",
        "data.train_count=8",
        "--set",
        "data.val_count=4",
        "--set",
        "data.test_count=4",
        "--set",
        "eval.resamples=5",
    ]);
    c.args(data).arg("--out").arg(run).args(more);
    c.output().unwrap()
}

#[cfg(unix)]
#[test]
fn folders_with_names_that_are_no_utf8_are_taken_everywhere() {
    use std::os::unix::ffi::OsStrExt;
    let dir = tempfile::tempdir().unwrap();
    let odd = |n: &[u8]| dir.path().join(std::ffi::OsStr::from_bytes(n));
    let (data, run, config) = (odd(b"set \xff\n%"), odd(b"run\xfe"), odd(b"c\xff.toml"));
    data_set(&data, 6);
    fs::write(&config, "[train]\nlr = 0.002\n").unwrap();
    let out = short(&["--data".as_ref(), data.as_ref(), "--config".as_ref(), config.as_ref()], &run, &[]);
    let (status, table, said) = code(&out);
    assert_eq!(status, 0, "{said}");
    says(&said, &["set \\xff\\n%", "run\\xfe"]);
    says(&table, &["run\\xfe/report.html"]);
    // The configuration was written, and is read again: by resume, eval and detect.
    let written = fs::read_to_string(run.join("config.toml")).unwrap();
    says(&written, &["dir = \"file:///", "set%20%FF%0A%25", "lr = 0.002"]);
    let report = fs::read_to_string(run.join("report.html")).unwrap();
    says(&report, &["set \\xff\\n%", "c\\xff.toml"]);
    let with = |args: &[&str], p: &Path| {
        let out = command().args(args).arg(p).output().unwrap();
        assert!(out.status.success(), "{args:?} {}", text(&out.stderr));
    };
    with(&["train", "--resume"], &run);
    with(&["eval"], &run);
    let out = command().arg("eval").arg(&run).arg("--data").arg(&data).output().unwrap();
    assert!(out.status.success(), "{}", text(&out.stderr));
    // Heat maps and photographs.
    let (maps, photos, set) = (odd(b"maps\xff"), odd(b"photos\xff"), odd(b"made\xff"));
    let out = command()
        .args(["detect", path(with_map()), "--json", "--heatmaps"])
        .arg(&maps)
        .arg(data.join("test/real"))
        .output()
        .unwrap();
    assert!(out.status.success(), "{}", text(&out.stderr));
    assert!(judged(&out).iter().all(|v| v["heatmap_bytes"].is_string() && v["path_bytes"].is_string()));
    assert_eq!(fs::read_dir(&maps).unwrap().count(), 4);
    fs::create_dir(&photos).unwrap();
    (0..6).for_each(|i| fs::write(photos.join(format!("{i}.png")), png(i)).unwrap());
    let out = command()
        .arg("forge")
        .arg("--photos")
        .arg(&photos)
        .arg("--out")
        .arg(&set)
        .args(["--count", "4", "--size", "32"])
        .output()
        .unwrap();
    assert!(out.status.success() && set.join("train/real").is_dir(), "{}", text(&out.stderr));
}

#[test]
fn a_data_folder_says_what_it_holds_beside_its_pictures() {
    let dir = tempfile::tempdir().unwrap();
    let (data, run) = (dir.path().join("data"), dir.path().join("run"));
    data_set(&data, 6);
    fs::write(data.join("train/real/phone.heic"), b"\0\0\0\x18ftypheic").unwrap();
    fs::write(data.join("val/fake/Thumbs.db"), b"words").unwrap();
    let out = short(&["--data".as_ref(), data.as_ref()], &run, &[]);
    let (status, table, said) = code(&out);
    assert_eq!(status, 0, "{said}");
    assert_eq!(
        said.lines().filter(|l| l.starts_with("passed over: 1 HEIC (") && l.contains("1 other file")).count(),
        1,
        "{said}"
    );
    says(&table, &["note: pictures that are not in the data were passed over: 1 HEIC"]);
    let (_, table, said) = code(&lae(&["eval", path(&run)]));
    says(&said, &["passed over: 1 HEIC"]);
    says(&table, &["were passed over: 1 HEIC"]);
    // Photographs.
    let photos = dir.path().join("photos");
    fs::create_dir(&photos).unwrap();
    (0..6).for_each(|i| fs::write(photos.join(format!("{i}.png")), png(i)).unwrap());
    fs::write(photos.join("7.nef"), b"II*\0\x08\0\0\0").unwrap();
    let out = ok(&["forge", "--photos", path(&photos), "--out", path(&dir.path().join("made")), "--count", "4", "--size", "32"]);
    says(&text(&out.stderr), &["passed over: 1 raw (", "7.nef"]);
    says(&text(&out.stdout), &["were passed over: 1 raw"]);
}

/// A picture encoded anew.
fn copy_as_jpeg(from: &Path, to: &Path) {
    Picture::open(from).unwrap().save(to).unwrap();
}

#[test]
fn a_picture_in_two_splits_or_with_two_labels_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    type Spoil = fn(&Path);
    let copy = |from: &str, to: &str, d: &Path| assert!(fs::copy(d.join(from), d.join(to)).is_ok());
    let cases: [(&str, Spoil, &[&str]); 6] = [
        (
            "the same file",
            |d| assert!(fs::copy(d.join("train/real/3.png"), d.join("test/real/x.png")).is_ok()),
            &["1 picture is in two splits", "train/real/3.png and test/real/x.png (the same file)"],
        ),
        (
            "encoded anew",
            |d| copy_as_jpeg(&d.join("train/real/2.png"), &d.join("val/real/x.jpg")),
            &["1 picture is in two splits", "train/real/2.png and val/real/x.jpg (a copy)"],
        ),
        (
            "a forgery of a training picture",
            |d| {
                let p = Picture::open(d.join("train/real/1.png")).unwrap();
                let fake = Picture::from_fn(40, 40, |x, y| if x > 25 && y > 22 { [200, 0, 0] } else { p.at(x, y) });
                fake.save(d.join("test/fake/x.png")).unwrap();
                Mask::from_fn(40, 40, |x, y| x > 25 && y > 22).save(d.join("test/mask/x.png")).unwrap();
            },
            &["in two splits", "train/real/1.png and test/fake/x.png (the same but for a region)"],
        ),
        (
            "a training picture among the fakes of an unseen method",
            |d| {
                fs::copy(d.join("train/fake/0.png"), d.join("unseen/glue/fake/x.png")).unwrap();
                fs::copy(d.join("train/mask/0.png"), d.join("unseen/glue/mask/x.png")).unwrap();
            },
            &["in two splits", "train/fake/0.png and unseen/glue/fake/x.png (the same file)"],
        ),
        (
            "both labels",
            |d| {
                fs::copy(d.join("train/real/0.png"), d.join("train/fake/x.png")).unwrap();
                fs::copy(d.join("train/mask/0.png"), d.join("train/mask/x.png")).unwrap();
            },
            &["1 picture is both real and fake", "train/real/0.png and train/fake/x.png (the same file)"],
        ),
        (
            "one photograph of the manifest in two splits",
            |d| {
                let entry = |path: &str, split: &str| {
                    format!(
                        "{{\"path\":\"{path}\",\"label\":\"real\",\"method\":\"real\",\"group\":7,\"split\":\"{split}\",\"mask\":null}}\n"
                    )
                };
                fs::write(d.join("manifest.jsonl"), entry("train/real/0.png", "train") + &entry("test/real/1.png", "test"))
                    .unwrap();
            },
            &["1 photograph of the manifest is in two splits", "group 7 with train/real/0.png and test/real/1.png"],
        ),
    ];
    let sound = dir.path().join("sound");
    data_set(&sound, 6);
    let runs = |n: usize| dir.path().join(format!("run{n}"));
    for (n, (name, spoil, words)) in cases.into_iter().enumerate() {
        let data = dir.path().join(name);
        data_set(&data, 6);
        spoil(&data);
        let (status, _, said) = code(&short(&["--data".as_ref(), data.as_ref()], &runs(n), &[]));
        assert_eq!(status, 2, "{name}: {said}");
        says(&said, words);
        says(&said, &["--allow-duplicates"]);
        assert!(!runs(n).exists(), "{name} left a folder");
        let (status, table, said) = code(&lae(&["eval", path(finished()), "--data", path(&data)]));
        assert_eq!(status, 2, "{name}: {table}{said}");
        says(&said, words);
        let (status, table, said) = code(&lae(&["data", "check", path(&data)]));
        assert_eq!(status, 1, "{name}: {table}{said}");
        assert!(
            table.lines().any(|l| l.starts_with("red     same twice") && words.iter().all(|w| l.contains(w))),
            "{name}: {table}"
        );
    }
    // Allowed: a notice in the report.
    let data = dir.path().join("encoded anew");
    let run = dir.path().join("allowed");
    let (status, table, said) = code(&short(&["--data".as_ref(), data.as_ref()], &run, &["--allow-duplicates"]));
    assert_eq!(status, 0, "{said}");
    says(&table, &["note: 1 picture is in two splits", "(a copy)", "(allowed)"]);
    says(&fs::read_to_string(run.join("config.toml")).unwrap(), &["allow_duplicates = true"]);
    ok(&["eval", path(&run)]);
    // Copies in one folder are a notice, and a forgery beside its original is what a data set consists of.
    copy("train/real/0.png", "train/real/again.png", &sound);
    let (status, table, said) = code(&short(&["--data".as_ref(), sound.as_ref()], &dir.path().join("sound run"), &[]));
    assert_eq!(status, 0, "{said}");
    says(&table, &["note: 1 picture is a copy of another in the same folder: train/real/0.png and train/real/again.png"]);
}

#[test]
fn copies_among_photographs_are_one_photograph() {
    let dir = tempfile::tempdir().unwrap();
    let photos = dir.path().join("photos");
    fs::create_dir(&photos).unwrap();
    let at = |n: &str| photos.join(n);
    (0..6).for_each(|i| photograph(3, i, 90).save(at(&format!("{i}.png"))).unwrap());
    fs::copy(at("1.png"), at("one again.png")).unwrap();
    copy_as_jpeg(&at("2.png"), &at("two as jpeg.jpg"));
    let three = photograph(3, 3, 90);
    three.resize_to(60, 60).save(at("three small.png")).unwrap();
    let forge = |name: &str, more: &[&str]| {
        let out = dir.path().join(name);
        let mut args = vec!["forge", "--photos", path(&photos), "--out", path(&out), "--count", "8", "--size", "32"];
        args.extend(more);
        let done = ok(&args);
        let manifest = fs::read_to_string(out.join("provenance.json")).unwrap();
        let v: serde_json::Value = serde_json::from_str(&manifest).unwrap();
        let photographs: u64 = v["photographs"].as_array().unwrap().iter().map(|n| n.as_u64().unwrap()).sum();
        (photographs, text(&done.stdout), text(&done.stderr))
    };
    let (n, table, said) = forge("once", &[]);
    assert_eq!(n, 6, "{table}{said}");
    for text in [&table, &said] {
        says(
            text,
            &[
                "3 photographs are copies of others and left out",
                "one again.png of 1.png (the same file)",
                "two as jpeg.jpg of 2.png (a copy)",
            ],
        );
    }
    let (n, table, _) = forge("twice", &["--allow-duplicates"]);
    assert_eq!(n, 9);
    assert!(!table.contains("left out"), "{table}");
}

/// Each fault gives its line, with the others as they were.
#[test]
fn data_check_has_a_line_for_every_fault() {
    let dir = tempfile::tempdir().unwrap();
    let sound = dir.path().join("sound");
    data_set(&sound, 12);
    let check = |d: &Path| -> (i32, Vec<serde_json::Value>) {
        let out = lae(&["data", "check", path(d), "--json"]);
        (code(&out).0, judged(&out))
    };
    let (status, lines) = check(&sound);
    assert_eq!(status, 0, "{lines:#?}");
    assert!(lines.iter().all(|l| l["level"] == "green" || l["what"] == "sizes" || l["what"] == "leaks"), "{lines:#?}");
    let table = text(&ok(&["data", "check", path(&sound)]).stdout);
    assert_eq!(table.lines().count(), lines.len(), "{table}");
    type Spoil = fn(&Path);
    fn each(d: &Path, folder: &str, f: impl Fn(&Path)) {
        let mut files: Vec<_> = fs::read_dir(d.join(folder)).unwrap().map(|e| e.unwrap().path()).collect();
        files.sort();
        files.iter().for_each(|p| f(p));
    }
    let cases: [(&str, &str, Spoil, &[&str]); 17] = [
        ("layout", "red", |d| fs::remove_dir_all(d.join("val/real")).unwrap(), &["missing: val/real"]),
        (
            "balance",
            "yellow",
            |d| (3..12).for_each(|i| fs::remove_file(d.join(format!("train/real/{i}.png"))).unwrap()),
            &["train 3+12"],
        ),
        ("unreadable", "yellow", |d| fs::write(d.join("val/real/1.png"), "x").unwrap(), &["cannot be read: 1 (val/real/1.png)"]),
        ("unreadable", "red", |d| each(d, "val/real", |p| fs::write(p, "x").unwrap()), &["cannot be read: 4 (val/real/0.png"]),
        ("sizes", "yellow", |_| (), &["40 x 40 to 40 x 40"]),
        ("not in the data", "yellow", |d| fs::write(d.join("train/real/1.heic"), "x").unwrap(), &["1 HEIC"]),
        (
            "not in the data",
            "yellow",
            |d| {
                fs::create_dir(d.join("train/fakes")).unwrap();
                fs::copy(d.join("train/fake/1.png"), d.join("train/fakes/1.png")).unwrap();
            },
            &["in no class folder: 1 (train/fakes/1.png)"],
        ),
        (
            "pairing",
            "red",
            |d| fs::remove_file(d.join("test/mask/1.png")).unwrap(),
            &["fakes without a mask: 1 (test/fake/1.png)"],
        ),
        (
            "pairing",
            "red",
            |d| fs::remove_file(d.join("test/fake/1.png")).unwrap(),
            &["masks without a fake: 1 (test/mask/1.png)"],
        ),
        ("pairing", "yellow", |d| fs::remove_dir_all(d.join("test/mask")).unwrap(), &["no masks in test"]),
        (
            "mask coverage",
            "red",
            |d| Mask::new(40, 40).save(d.join("val/mask/1.png")).unwrap(),
            &["cover nothing: 1 (val/mask/1.png)"],
        ),
        (
            "mask coverage",
            "red",
            |d| Mask::from_fn(40, 40, |_, _| true).save(d.join("val/mask/1.png")).unwrap(),
            &["cover everything: 1 ("],
        ),
        (
            "mask coverage",
            "red",
            |d| Mask::from_fn(40, 20, |_, _| true).save(d.join("val/mask/1.png")).unwrap(),
            &["another shape: 1 (val/mask/1.png)"],
        ),
        (
            "mask polarity",
            "yellow",
            |d| {
                for part in ["train", "val", "test", "unseen/glue"] {
                    each(d, &format!("{part}/mask"), |p| Mask::from_fn(40, 40, |x, y| !hole(x, y)).save(p).unwrap());
                }
            },
            &["of 24 masks are white in more than half: 24 ("],
        ),
        (
            "leak by format",
            "red",
            |d| {
                each(d, "train/real", |p| {
                    copy_as_jpeg(p, &p.with_extension("jpg"));
                    fs::remove_file(p).unwrap();
                })
            },
            &["100 % of the labels", "train: real mostly jpeg, fake mostly png"],
        ),
        (
            "leak by size",
            "red",
            |d| each(d, "train/real", |p| Picture::open(p).unwrap().resize_to(44, 44).save(p).unwrap()),
            &["100 % of the labels", "real mostly 44 x 44, fake mostly 40 x 40"],
        ),
        (
            "leak by border",
            "red",
            |d| {
                each(d, "train/fake", |p| {
                    let q = Picture::open(p).unwrap();
                    Picture::from_fn(40, 40, |x, y| if x % 39 == 0 || y % 39 == 0 { [0; 3] } else { q.at(x, y) })
                        .save(p)
                        .unwrap();
                })
            },
            &["AUC 1.00", "train: the outermost pixels"],
        ),
    ];
    for (n, (what, level, spoil, words)) in cases.into_iter().enumerate() {
        let data = dir.path().join(n.to_string());
        data_set(&data, 12);
        spoil(&data);
        let (status, lines) = check(&data);
        let found =
            lines.iter().find(|l| l["what"] == what && l["level"] == level).unwrap_or_else(|| panic!("{n} {what}: {lines:#?}"));
        says(found["found"].as_str().unwrap(), words);
        assert!(!found["remedy"].as_str().unwrap().is_empty(), "{what}");
        assert_eq!(status, (level == "red") as i32, "{what}: {lines:#?}");
    }
    // JPEG quality and metadata, and the same said by train.
    let data = dir.path().join("quality");
    data_set(&data, 12);
    for (class, quality) in [("real", 95), ("fake", 70)] {
        each(&data, &format!("train/{class}"), |p| {
            let mut bytes = Picture::open(p).unwrap().to_jpeg(quality).unwrap();
            if class == "fake" {
                bytes.splice(2..2, *b"\xff\xe1\0\x08Exif\0\0");
            }
            fs::write(p, bytes).unwrap();
        });
    }
    let (status, lines) = check(&data);
    assert_eq!(status, 1);
    for what in ["leak by quality", "leak by metadata"] {
        assert!(lines.iter().any(|l| l["what"] == what && l["level"] == "red"), "{what}: {lines:#?}");
    }
    let (status, table, said) = code(&short(&["--data".as_ref(), data.as_ref()], &dir.path().join("run"), &[]));
    assert_eq!(status, 0, "{said}");
    says(&table, &["leak by JPEG quality: 100 % of the labels", "leak by metadata: 100 %", "real mostly none, fake mostly Exif"]);
    // What is no data set.
    let (status, _, said) = code(&lae(&["data", "check", path(&sound.join("train"))]));
    assert_eq!(status, 2);
    says(&said, &["has none of train, val and test", "looks like one split", "give the folder that it is in"]);
    let (status, _, said) = code(&lae(&["data", "check", path(&sound.join("train/real"))]));
    assert_eq!(status, 2);
    says(&said, &["has none of train, val and test", "holds 12 pictures", "photographs", "data check --photos DIR"]);
    let (status, _, said) = code(&lae(&["data", "check", "nowhere"]));
    assert_eq!(status, 2);
    says(&said, &["no such folder"]);
}
