//! A run folder through the real binary: two processes at once, pictures that change under a run, masks that tell nothing.

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
