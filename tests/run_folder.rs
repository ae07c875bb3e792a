//! A run folder through the real binary: two processes at once, pictures that change under a run or come back in a test, masks
//! that tell nothing.

mod binary;

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use binary::{command, lae, ok, path, text};
use lae_engine::data::picture::{Mask, Picture};
use lae_engine::data::procedural::photograph;
use serde_json::Value;

/// A data set of 12 genuine and 12 forged pictures in every split, and two unseen forgers.
fn data_set(dir: &Path) {
    let args =
        ["forge", "--out", path(dir), "--count", "24", "--size", "32", "--set", "data.unseen=[\"harmonic\", \"biharmonic\"]"];
    ok(&args);
}

fn waits_for(file: &Path) {
    let start = Instant::now();
    while !file.exists() {
        assert!(start.elapsed() < Duration::from_secs(60), "{} does not come", file.display());
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn of_two_runs_in_one_folder_one_wins() {
    let dir = tempfile::tempdir().unwrap();
    let start = |args: &[&str]| {
        let mut c = command();
        c.args(args).current_dir(dir.path()).stdout(Stdio::null()).stderr(Stdio::piped());
        c.spawn().unwrap()
    };
    // The same --out at the same moment: one trains, the other is refused and has touched nothing.
    let both = ["a", "b"].map(|_| start(&["train", "--preset", "smoke", "--out", "run"]));
    let ends: Vec<_> = both.into_iter().map(|c| c.wait_with_output().unwrap()).collect();
    let codes: Vec<_> = ends.iter().map(|o| o.status.code().unwrap()).collect();
    assert!(codes.contains(&0) && codes.contains(&2), "{codes:?}");
    let loser = ends.iter().find(|o| !o.status.success()).unwrap();
    assert!(text(&loser.stderr).contains("exists already"), "{}", text(&loser.stderr));
    ok(&["eval", path(&dir.path().join("run"))]);

    // Without --out each takes a number of its own.
    let both = ["a", "b"].map(|_| start(&["train", "--preset", "smoke", "--detector", "meso"]));
    for child in both {
        let out = child.wait_with_output().unwrap();
        assert!(out.status.success(), "{}", text(&out.stderr));
    }
    for n in [1, 2] {
        ok(&["eval", path(&dir.path().join(format!("runs/inpainting-meso-smoke-{n}")))]);
    }
}

#[test]
fn a_run_that_goes_on_is_not_resumed_beside_itself() {
    let dir = tempfile::tempdir().unwrap();
    let run = dir.path().join("run");
    let mut first = command();
    first.args(["train", "--preset", "smoke", "--set", "train.epochs=400", "--out", path(&run)]);
    let mut first = first.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    waits_for(&run.join("metrics.jsonl"));
    let second = lae(&["train", "--resume", path(&run)]);
    assert_eq!(second.status.code(), Some(2));
    assert!(text(&second.stderr).contains("another process trains in this folder"), "{}", text(&second.stderr));
    // The hold ends with the process, also with one that is killed.
    first.kill().unwrap();
    first.wait().unwrap();
    let third = lae(&["train", "--resume", path(&run), "--changed-data", "--detector", "meso"]);
    assert!(text(&third.stderr).contains("was trained with lae"), "{}", text(&third.stderr));
}

/// Pictures that are gone, replaced or new when a run goes on: refused with their names, unless the user accepts the change.
#[test]
fn a_run_goes_on_over_the_pictures_it_began_with() {
    let dir = tempfile::tempdir().unwrap();
    let (data, run) = (dir.path().join("set"), dir.path().join("run"));
    data_set(&data);
    ok(&["train", "--preset", "smoke", "--data", path(&data), "--annotations", "4", "--out", path(&run)]);
    ok(&["train", "--resume", path(&run)]);
    let a = data.join("train/real/000000.png");
    let before = fs::read(&a).unwrap();
    let refused = |words: &[&str]| {
        let out = lae(&["train", "--resume", path(&run)]);
        let err = text(&out.stderr);
        assert!(out.status.code() == Some(2) && words.iter().all(|w| err.contains(w)), "{words:?} in {err}");
    };
    photograph(77, 1, 32).save(&a).unwrap();
    refused(&["data.json", "1 with other content (train/real/000000.png)", "--changed-data"]);
    fs::write(&a, &before).unwrap();
    photograph(78, 2, 32).save(data.join("test/real/new.png")).unwrap();
    refused(&["1 new (test/real/new.png)"]);
    fs::remove_file(data.join("test/real/new.png")).unwrap();
    fs::remove_file(&a).unwrap();
    refused(&["1 gone (train/real/000000.png)"]);
    // A mask counts as much as a picture.
    fs::write(&a, &before).unwrap();
    Mask::from_fn(32, 32, |x, y| x < 9 && y < 9).save(data.join("train/mask/000001.png")).unwrap();
    refused(&["train/mask/000001.png"]);
    ok(&["train", "--resume", path(&run), "--changed-data"]);
    let report: Value = serde_json::from_slice(&fs::read(run.join("report.json")).unwrap()).unwrap();
    let notices = report["notices"].to_string();
    assert!(notices.contains("train/mask/000001.png") && notices.contains("the run began with"), "{notices}");
}

/// The code, and what was printed and said.
fn said(args: &[&str]) -> (Option<i32>, String, String) {
    let out = lae(args);
    (out.status.code(), text(&out.stdout), text(&out.stderr))
}

#[test]
fn the_list_of_pictures_that_is_missing_has_a_remedy() {
    let dir = tempfile::tempdir().unwrap();
    let (data, run) = (dir.path().join("set"), dir.path().join("run"));
    data_set(&data);
    ok(&["train", "--preset", "smoke", "--detector", "meso", "--data", path(&data), "--out", path(&run)]);
    for spoil in [None, Some("no list")] {
        fs::remove_file(run.join("data.json")).unwrap();
        spoil.iter().for_each(|text| fs::write(run.join("data.json"), text).unwrap());
        let (code, _, err) = said(&["train", "--resume", path(&run)]);
        let why = if spoil.is_none() { "is missing" } else { "not a list of files" };
        let words = [why, "data.json", "the files that the run began with", "Put it back", "--changed-data"];
        assert!(code == Some(2) && words.iter().all(|w| err.contains(w)), "{err}");
        fs::write(run.join("data.json"), "{}").unwrap();
    }
    fs::remove_file(run.join("data.json")).unwrap();
    let out = ok(&["train", "--resume", path(&run), "--changed-data"]);
    assert!(text(&out.stdout).contains("what it began with is not known"), "{}", text(&out.stdout));
    // Built-in pictures cannot change, so nothing is missing.
    let run = dir.path().join("built-in");
    ok(&["train", "--preset", "smoke", "--detector", "meso", "--out", path(&run)]);
    fs::remove_file(run.join("data.json")).unwrap();
    ok(&["train", "--resume", path(&run)]);
    let (code, _, err) = said(&["train", "--resume", path(&run), "--allow-duplicates"]);
    assert!(code == Some(2) && err.contains("--allow-duplicates") && err.contains("photographs"), "{err}");
}

/// Pictures in two splits that came in after the run began: what lets a new run pass lets the resumed one pass.
#[test]
fn duplicates_are_allowed_to_a_resumed_run_too() {
    let dir = tempfile::tempdir().unwrap();
    let (data, run) = (dir.path().join("set"), dir.path().join("run"));
    data_set(&data);
    ok(&["train", "--preset", "smoke", "--detector", "meso", "--data", path(&data), "--out", path(&run)]);
    fs::copy(data.join("train/real/000000.png"), data.join("test/real/again.png")).unwrap();
    let (code, _, err) = said(&["train", "--resume", path(&run), "--changed-data"]);
    assert!(code == Some(2) && err.contains("1 picture is in two splits") && err.contains("--allow-duplicates"), "{err}");
    let (code, _, err) = said(&["train", "--resume", path(&run), "--allow-duplicates"]);
    assert!(code == Some(2) && err.contains("1 new (test/real/again.png)") && err.contains("--changed-data"), "{err}");
    let out = ok(&["train", "--resume", path(&run), "--changed-data", "--allow-duplicates"]);
    let table = text(&out.stdout);
    assert!(table.contains("1 picture is in two splits") && table.contains("(allowed)"), "{table}");
}

/// What a run was trained on says nothing in a test, whichever folder the test is in.
#[test]
fn a_test_of_pictures_that_the_run_was_trained_on_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (data, other, run) = (dir.path().join("set"), dir.path().join("other"), dir.path().join("run"));
    data_set(&data);
    ok(&["forge", "--out", path(&other), "--count", "24", "--size", "32", "--seed", "7"]);
    ok(&["train", "--preset", "smoke", "--detector", "meso", "--data", path(&data), "--out", path(&run)]);
    let silent = |args: &[&str]| {
        let out = ok(args);
        assert!(!text(&out.stdout).contains("trained on"), "{}", text(&out.stdout));
    };
    silent(&["eval", path(&run)]);
    silent(&["eval", path(&run), "--data", path(&data)]);
    // Only the tests are judged: what lies in another split of the folder does not matter.
    fs::copy(data.join("train/real/000000.png"), other.join("train/real/x.png")).unwrap();
    silent(&["eval", path(&run), "--data", path(&other)]);
    fs::rename(other.join("train/real/x.png"), other.join("test/real/x.png")).unwrap();
    for class in ["fake", "mask"] {
        let from = |d: &Path, split: &str| fs::read_dir(d.join(split).join(class)).unwrap().next().unwrap().unwrap().path();
        fs::copy(from(&data, "val"), other.join("unseen/harmonic").join(class).join("y.png")).unwrap();
    }
    let (code, _, err) = said(&["eval", path(&run), "--data", path(&other)]);
    assert_eq!(code, Some(2), "{err}");
    for words in [
        path(&other),
        "2 of ",
        "are files that the run was trained on or chosen by",
        "test/real/x.png was train/real/000000.png",
        "unseen/harmonic/fake/y.png was val/fake/",
        "--allow-duplicates",
    ] {
        assert!(err.contains(words), "{words} in {err}");
    }
    let out = ok(&["eval", path(&run), "--data", path(&other), "--allow-duplicates"]);
    assert!(text(&out.stdout).contains("test/real/x.png was train/real/000000.png"), "{}", text(&out.stdout));
    let notices = |args: &[&str]| {
        let report: Value = serde_json::from_slice(&ok(&[&["eval", path(&run), "--json"], args].concat()).stdout).unwrap();
        report["notices"].to_string()
    };
    let said = notices(&["--data", path(&other), "--allow-duplicates"]);
    assert!(said.contains("are files that the run was trained on") && said.contains("(allowed)"), "{said}");
    // A run folder that does not tell: judged, and said.
    let list = run.join("data.json");
    let mut old: Value = serde_json::from_slice(&fs::read(&list).unwrap()).unwrap();
    old.as_object_mut().unwrap().remove("learnt").unwrap();
    fs::write(&list, old.to_string()).unwrap();
    let said = notices(&["--data", path(&other)]);
    assert!(said.contains("cannot be told") && said.contains("data.json does not say which pictures"), "{said}");
    fs::remove_file(&list).unwrap();
    let said = notices(&["--data", path(&other)]);
    assert!(said.contains("cannot be told") && said.contains("data.json is missing"), "{said}");
}

/// Photographs that are added divide the collection anew, and some that were trained on come into the tests.
#[test]
fn a_collection_that_grew_does_not_test_on_what_was_trained_on() {
    let dir = tempfile::tempdir().unwrap();
    let (photos, run) = (dir.path().join("photos"), dir.path().join("run"));
    fs::create_dir(&photos).unwrap();
    let add = |i: u64| photograph(5, i, 60).save(photos.join(format!("{i:02}.png"))).unwrap();
    (0..10).for_each(add);
    ok(&["train", "--preset", "smoke", "--detector", "meso", "--photos", path(&photos), "--out", path(&run)]);
    ok(&["eval", path(&run)]);
    (10..16).for_each(add);
    let (code, _, err) = said(&["eval", path(&run)]);
    assert!(code == Some(2) && err.contains("that the run was trained on") && err.contains(path(&photos)), "{err}");
    ok(&["eval", path(&run), "--allow-duplicates"]);
}

/// Masks that cover everything in one test set and nothing in another: the training keeps its report, which says what is missing and
/// why, and the user hears of it when the folder is opened.
#[test]
fn masks_that_tell_nothing_cost_no_report() {
    let dir = tempfile::tempdir().unwrap();
    let (data, run) = (dir.path().join("set"), dir.path().join("run"));
    data_set(&data);
    for entry in fs::read_dir(data.join("unseen/harmonic/mask")).unwrap() {
        Mask::from_fn(32, 32, |_, _| true).save(entry.unwrap().path()).unwrap();
    }
    for entry in fs::read_dir(data.join("unseen/biharmonic/mask")).unwrap() {
        Mask::from_fn(32, 32, |_, _| false).save(entry.unwrap().path()).unwrap();
    }
    let out = ok(&["train", "--preset", "smoke", "--data", path(&data), "--annotations", "4", "--out", path(&run)]);
    let err = text(&out.stderr);
    let first_step = err.find("networks").unwrap();
    for what in ["masks cover everything", "masks cover nothing"] {
        assert!(err.find(what).is_some_and(|at| at < first_step), "{what} in {err}");
    }
    let report: Value = serde_json::from_slice(&fs::read(run.join("report.json")).unwrap()).unwrap();
    let notices = report["notices"].to_string();
    assert!(notices.contains("harmonic: ") && notices.contains("masks cover nothing or everything"), "{notices}");
    let rows = report["localisation"].as_array().unwrap().len();
    assert_eq!(rows + 2, report["detection"].as_array().unwrap().len(), "sets without usable masks have no row");
    Picture::new(8, 8).save(dir.path().join("p.png")).unwrap();
    ok(&["detect", path(&run), path(&dir.path().join("p.png"))]);
}
