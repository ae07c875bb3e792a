//! Photographs at their own size, through the real binary: a model that looks at windows is trained, calibrated, asked.

mod binary;

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use binary::{lae, ok, path, text};
use lae_engine::data::{Picture, procedural};
use serde_json::Value;
use tempfile::TempDir;

/// A finished smoke run of windows, and photographs that it has not seen.
fn finished() -> (&'static Path, &'static Path) {
    static RUN: OnceLock<(TempDir, PathBuf, PathBuf)> = OnceLock::new();
    let (_, run, photos) = RUN.get_or_init(|| {
        let dir = tempfile::tempdir().unwrap();
        let (run, photos) = (dir.path().join("run"), dir.path().join("photos"));
        #[rustfmt::skip]
        ok(&[
            "train", "--preset", "smoke", "--annotations", "0", "--set", "detect.view=windows", "--set", "eval.photographs=5",
            "--set", "latent.windows=[8, 4]", "--set", "latent.distance=squared", "--set", "lae.input=both",
            "--set", "lae.full_resolution=1", "--set", "eval.resamples=50", "--set", "data.unseen=[\"harmonic\"]", "--out", path(&run),
        ]);
        std::fs::create_dir(&photos).unwrap();
        for i in 0..3 {
            procedural::photograph(77, i, 200).crop(0, 0, 200, 150).save(photos.join(format!("{i}.png"))).unwrap();
        }
        (dir, run, photos)
    });
    (run, photos)
}

fn said(args: &[&str]) -> String {
    text(&ok(args).stdout)
}

fn objects(out: &str) -> Vec<Value> {
    out.lines().map(|l| serde_json::from_str(l).unwrap()).collect()
}

#[test]
fn a_run_of_windows_reports_photographs_at_their_own_size() {
    let (run, _) = finished();
    let report: Value = serde_json::from_slice(&std::fs::read(run.join("report.json")).unwrap()).unwrap();
    let full = &report["full_size"];
    let rows = full["detection"].as_array().unwrap();
    let of = |split: &str| rows.iter().filter(|r| r["split"] == split).count();
    // Four sizes of the seen forger's regions, and of the unseen one's.
    assert_eq!((of("seen"), of("unseen")), (4, 4), "{full}");
    assert!(rows.iter().any(|r| r["method"] == "telea" && r["note"] == "25 % of the short side"), "{rows:?}");
    assert_eq!(full["localisation"].as_array().unwrap().len(), 8);
    assert!(full["localisation"].as_array().unwrap().iter().all(|r| !r["constant"].is_null()), "each beside the constant map");
    let notes = full["notes"].to_string();
    assert!(notes.contains("The score of a picture is") && notes.contains("training photographs"), "{notes}");
    assert!(!report["calibration"]["figures"]["at_5"].is_null());
    let page = std::fs::read_to_string(run.join("report.html")).unwrap();
    assert!(page.contains("Photographs at their own size"), "the page has the section");
    assert!(page.contains("On 5 photographs at their own size"), "and the outcome in a sentence");
}

#[test]
fn detect_gives_verdicts_with_what_validation_says_of_them() {
    let (run, photos) = finished();
    let out = said(&["detect", path(run), path(photos), "--json", "--stability"]);
    let found = objects(&out);
    assert_eq!(found.len(), 3);
    for o in &found {
        let verdict = o["verdict"].as_str().unwrap();
        assert!(["fake", "inconclusive", "no sign found"].contains(&verdict), "{o}");
        assert!(o["score"].is_f64() && o["windows"].as_f64().unwrap() > 100.0, "{o}");
        assert!(o["validation"].as_str().unwrap().contains("validation"), "{o}");
        assert_eq!(o["stability"].as_object().unwrap().len(), 3, "{o}");
        assert!(o["stability"]["JPEG 75"]["verdict"].is_string(), "{o}");
    }
    // The same, as lines and as a table.
    let lines = said(&["detect", path(run), path(photos), "--stability"]);
    assert!(lines.contains("score ") && lines.contains("after JPEG 90"), "{lines}");
    let table = said(&["detect", path(run), path(photos), "--csv"]);
    assert!(table.starts_with("path,verdict,p_fake,score,windows,heatmap,error,notes\n"), "{table}");
    // The paper's way stays.
    let whole = objects(&said(&["detect", path(run), path(photos), "--json", "--view", "whole"]));
    assert!(
        whole.iter().all(|o| o["a_true"].is_f64() && ["fake", "real"].contains(&o["verdict"].as_str().unwrap())),
        "{whole:?}"
    );
}

#[test]
fn a_map_has_the_size_of_its_picture() {
    let (run, photos) = finished();
    let maps = tempfile::tempdir().unwrap();
    ok(&["detect", path(run), path(photos), "--heatmaps", path(maps.path())]);
    let map = Picture::open(maps.path().join("0.heat.png")).unwrap();
    assert_eq!((map.w, map.h), (200, 150));
}

#[test]
fn no_verdict_without_meaning() {
    let (run, _) = finished();
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    procedural::photograph(77, 9, 40).crop(0, 0, 40, 24).save(at("a small one.png")).unwrap();
    procedural::photograph(77, 9, 900).crop(0, 0, 900, 1).save(at("b strip.png")).unwrap();
    Picture::from_fn(300, 200, |_, _| [90, 120, 30]).save(at("c one colour.png")).unwrap();
    procedural::photograph(77, 9, 2000).crop(0, 0, 2000, 40).save(at("d panorama.png")).unwrap();
    let out = lae(&["detect", path(run), path(dir.path()), "--json"]);
    assert_eq!(out.status.code(), Some(1), "two of four could not be judged");
    let found = objects(&text(&out.stdout));
    let error = |i: usize| found[i]["error"].as_str().unwrap_or_else(|| panic!("{}", found[i])).to_string();
    assert!(found[0]["verdict"].is_string(), "{}", found[0]);
    assert!(found[0]["notes"].to_string().contains("less than a window"), "{}", found[0]);
    assert!(error(1).contains("b strip.png") && error(1).contains("900 × 1 pixels"), "{}", error(1));
    assert!(error(2).contains("c one colour.png") && error(2).contains("one colour"), "{}", error(2));
    assert!(found[3]["verdict"].is_string(), "{}", found[3]);
}

#[test]
fn eval_says_how_it_looked() {
    let (run, photos) = finished();
    let out = said(&["eval", path(run)]);
    assert!(
        out.contains("view: whole") && out.contains("view: windows") && out.contains("photographs at their own size"),
        "{out}"
    );
    let set = tempfile::tempdir().unwrap();
    let set = set.path().join("set");
    #[rustfmt::skip]
    ok(&["forge", "--whole", "--photos", path(photos), "--out", path(&set), "--sizes", "25", "--set", "data.unseen=[\"harmonic\"]"]);
    let out = said(&["eval", path(run), "--data", path(&set)]);
    assert!(out.contains("view: windows") && !out.contains("view: whole"), "{out}");
    assert!(out.contains("25 % of the short side") && out.contains("unseen harmonic"), "{out}");
}

/// A detector without local features judges overlapping windows one by one, and has a map all the same.
#[test]
fn a_detector_without_local_features_looks_at_windows() {
    let (_, photos) = finished();
    let dir = tempfile::tempdir().unwrap();
    let (run, maps) = (dir.path().join("run"), dir.path().join("maps"));
    #[rustfmt::skip]
    ok(&[
        "train", "--preset", "smoke", "--detector", "meso", "--set", "train.epochs=1", "--set", "detect.view=windows", "--set", "eval.photographs=5",
        "--set", "data.unseen=[\"harmonic\"]", "--set", "eval.resamples=50", "--out", path(&run),
    ]);
    let found = objects(&said(&["detect", path(&run), path(photos), "--json", "--heatmaps", path(&maps)]));
    assert_eq!(found.len(), 3);
    // 200 × 150 pixels, windows of 32 every 16.
    assert!(found.iter().all(|o| o["windows"] == 11.0 * 8.0 && o["verdict"].is_string()), "{found:?}");
    assert!(maps.join("0.heat.png").is_file());
}

/// What windows mean is unknown where it was never measured, and where the photographs were too few for it: both are refused by name.
#[test]
fn windows_without_a_calibration_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let run = dir.path().join("run");
    // Shrunk pictures only: what windows mean was never measured.
    ok(&["train", "--preset", "smoke", "--annotations", "0", "--set", "train.epochs=1", "--out", path(&run)]);
    let photo = dir.path().join("photo.png");
    procedural::photograph(77, 3, 120).save(&photo).unwrap();
    let out = lae(&["detect", path(&run), path(&photo), "--view", "windows"]);
    let said = text(&out.stderr);
    assert_eq!(out.status.code(), Some(2), "{said}");
    assert!(said.contains("detect.view") && said.contains("--view whole") && said.contains("detect.view=windows"), "{said}");

    let few = dir.path().join("few");
    let photos = dir.path().join("photos");
    std::fs::create_dir(&photos).unwrap();
    (0..3).for_each(|i| procedural::photograph(5, i, 80).save(photos.join(format!("{i}.png"))).unwrap());
    let set = ["detect.view=windows", "train.epochs=1", "data.unseen=[\"harmonic\"]", "eval.resamples=50"].map(|s| ["--set", s]);
    let args = ["train", "--preset", "smoke", "--annotations", "0", "--photos", path(&photos), "--out", path(&few)];
    let out = ok(&args.into_iter().chain(set.into_iter().flatten()).collect::<Vec<_>>());
    assert!(text(&out.stderr).contains("cannot be judged window by window: 2 genuine"), "{}", text(&out.stderr));
    let out = lae(&["detect", path(&few), path(&photo)]);
    let said = text(&out.stderr);
    assert_eq!(out.status.code(), Some(2), "{said}");
    assert!(said.contains("2 genuine validation pictures") && said.contains("train on more photographs"), "{said}");
}
