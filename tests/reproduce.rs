//! `lae-engine reproduce` through the real binary: all tables, a killed run, a diverged one, folders of something else.

mod binary;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use binary::{command, lae, ok, path, same, text};
use lae_engine::detectors::DETECTORS;
use serde_json::Value;

fn json(dir: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(dir.join("reproduce.json")).unwrap()).unwrap()
}

/// The figures, without what may differ between machines: the same runs give the same bytes.
fn csv(dir: &Path) -> String {
    std::fs::read_to_string(dir.join("reproduce.csv")).unwrap()
}

#[test]
fn all_tables_at_the_smallest_scale() {
    let root = tempfile::tempdir().unwrap();
    let out = root.path().join("all");
    let said = text(&ok(&["reproduce", "--scale", "smoke", "--out", path(&out)]).stdout);
    for what in ["Table 3", "Table 4", "Table 5", "Table 6", "Figure 5", "not resolved"] {
        assert!(said.contains(what), "{what} in\n{said}");
    }
    let shown = json(&out);
    let cells = shown["cells"].as_array().unwrap();
    let table = |name: &str| shown["tables"].as_array().unwrap().iter().find(|t| t["name"] == name).unwrap().clone();
    // Every detector that can be trained has a row, and the LAE three.
    let rows: Vec<String> = table("Table 3")["rows"].as_array().unwrap().iter().map(|r| r["job"].to_string()).collect();
    assert_eq!(rows.len(), DETECTORS.len() - 1 + 3, "{rows:?}");
    for name in DETECTORS.iter().map(|e| e.name).filter(|n| *n != "lae") {
        assert!(rows.contains(&format!("{name:?}")), "{name} in {rows:?}");
    }
    // Every cell of every table has a figure from one run.
    for t in ["Table 3", "Table 4", "Table 5", "Table 6", "Figure 5"].map(table) {
        for row in t["rows"].as_array().unwrap() {
            for cell in row["cells"].as_array().unwrap() {
                let value = cell["mean"]["value"].as_f64();
                assert!(value.is_some_and(|v| (0.0..=1.0).contains(&v)), "{} {}: {cell}", t["name"], row["label"]);
                assert_eq!(cell["seeds"].as_array().unwrap().len(), 1);
            }
        }
    }
    assert!(shown["claims"].as_array().unwrap().iter().all(|c| c["verdict"] == "not_resolved"), "seconds decide nothing");
    assert!(!shown["pictures"]["failures"]["looks"].as_array().unwrap().is_empty());
    let page = std::fs::read_to_string(out.join("reproduce.html")).unwrap();
    // Pictures stand in the page as base64, which may spell anything.
    let behind = |part: &str| part.split_once('"').map_or(String::new(), |p| p.1.to_string());
    let mut parts = page.split("data:image/png;base64,");
    let words = parts.next().unwrap().to_string() + &parts.map(behind).collect::<String>();
    assert!(words.contains("maps are Grad-CAM's"), "a reader is told which maps were trained");
    assert!(!words.contains("NaN") && page.contains("Section 3.5") && page.contains("Figure 3") && page.contains("<polyline"));
    // A cell alone, by its command, is the same run.
    for job in ["meso", "lae-8-active"] {
        let cell = cells.iter().find(|c| c["job"] == job).unwrap();
        let alone = root.path().join(job);
        let words = format!("{} --out {}", cell["command"].as_str().unwrap(), path(&alone));
        ok(&words.split(' ').skip(1).collect::<Vec<_>>());
        same(&out.join(format!("runs/{job}-0")), &alone);
    }
    // A folder that is complete is only shown again.
    let before = csv(&out);
    let again = ok(&["reproduce", "--scale", "smoke", "--out", path(&out), "--resume"]);
    assert!(!text(&again.stderr).contains("run       "), "nothing is trained again: {}", text(&again.stderr));
    assert_eq!(before, csv(&out));
}

#[test]
fn a_killed_reproduction_goes_on_to_the_same_bytes() {
    let root = tempfile::tempdir().unwrap();
    let [whole, killed] = ["whole", "killed"].map(|n| root.path().join(n));
    let args = |out: &Path, more: &[&str]| -> Vec<String> {
        let all = ["reproduce", "--scale", "smoke", "--table", "3,4", "--detectors", "lae,meso", "--out", path(out)];
        all.iter().chain(more).map(|s| s.to_string()).collect()
    };
    let run = |args: Vec<String>| ok(&args.iter().map(String::as_str).collect::<Vec<_>>());
    run(args(&whole, &[]));
    // Killed in the middle of its first run, and again in a later one.
    for (at, more) in [("runs/lae-stage1-0/metrics.jsonl", vec![]), ("runs/lae-4-active-0/config.toml", vec!["--resume"])] {
        let mut child =
            command().args(args(&killed, &more)).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the binary runs");
        let start = Instant::now();
        while !killed.join(at).exists() {
            assert!(start.elapsed() < Duration::from_secs(300), "{at} never came");
            assert!(child.try_wait().unwrap().is_none(), "it ended before {at}");
            std::thread::sleep(Duration::from_millis(2));
        }
        child.kill().unwrap();
        child.wait().unwrap();
    }
    run(args(&killed, &["--resume"]));
    assert_eq!(csv(&whole), csv(&killed));
    for run in std::fs::read_dir(whole.join("runs")).unwrap() {
        let name = run.unwrap().file_name();
        same(&whole.join("runs").join(&name), &killed.join("runs").join(&name));
    }
}

#[test]
fn trainings_against_a_trace_go_on_to_the_same_bytes() {
    let root = tempfile::tempdir().unwrap();
    let [whole, killed] = ["whole", "killed"].map(|n| root.path().join(n));
    let args = |out: &Path, more: &[&str]| -> Vec<String> {
        let all = ["reproduce", "--scale", "smoke", "--table", "shortcut", "--out", path(out)];
        all.iter().chain(more).map(|s| s.to_string()).collect()
    };
    let run = |args: Vec<String>| text(&ok(&args.iter().map(String::as_str).collect::<Vec<_>>()).stdout);
    let said = run(args(&whole, &[]));
    assert!(said.contains("Table shortcut") && said.contains("than the paper's training"), "{said}");
    let shown = json(&whole);
    let tables = shown["tables"].as_array().unwrap();
    assert_eq!(tables.len(), 1, "tables of the paper were not asked for");
    let columns: Vec<&str> = tables[0]["columns"].as_array().unwrap().iter().map(|c| c.as_str().unwrap()).collect();
    assert_eq!(columns[..2], ["seen, with the trace", "seen, without it"]);
    let last = ["genuine with the trace, called fake", "exchanged, called fake", "reversed, called genuine"];
    assert_eq!(columns[columns.len() - 3..], last);
    assert_eq!(columns.len(), 2 + 4 + 3, "{columns:?}");
    let rows = tables[0]["rows"].as_array().unwrap();
    assert_eq!(rows.len(), 10, "five ways of training, after stage 1 and after stage 2");
    for row in rows {
        for cell in row["cells"].as_array().unwrap() {
            assert!(cell["mean"]["value"].as_f64().is_some_and(|v| (0.0..=1.0).contains(&v)), "{}: {cell}", row["label"]);
        }
    }
    assert_eq!(shown["gains"].as_array().unwrap().len(), 2 * 2 * 3);
    assert!(shown["gains"].as_array().unwrap().iter().all(|c| c["verdict"] == "not_resolved"), "seconds decide nothing");
    // What was done is recorded where a reader looks.
    let transplant = whole.join("runs/lae-checkerboard-transplant-0");
    let report: Value = serde_json::from_slice(&std::fs::read(transplant.join("report.json")).unwrap()).unwrap();
    assert!(report["notices"].to_string().contains("50 % of each class by transplant"), "{}", report["notices"]);
    assert!(report["config"].to_string().contains("counter.transplant"));
    // A run that was not judged is judged again, and a killed one goes on.
    std::fs::remove_file(transplant.join("shortcut-checkerboard.json")).unwrap();
    let before = csv(&whole);
    run(args(&whole, &["--resume"]));
    assert_eq!(before, csv(&whole));
    let mut child = command().args(args(&killed, &[])).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let (start, at) = (Instant::now(), killed.join("runs/lae-checkerboard-transplant-0/stage1.safetensors"));
    let at = [at, killed.join("runs/lae-checkerboard-transplant-0/model.safetensors")];
    while !at.iter().any(|f| f.exists()) {
        assert!(start.elapsed() < Duration::from_secs(300), "the run never came");
        assert!(child.try_wait().unwrap().is_none(), "it ended before");
        std::thread::sleep(Duration::from_millis(2));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    run(args(&killed, &["--resume"]));
    assert_eq!(before, csv(&killed));
    for run in std::fs::read_dir(whole.join("runs")).unwrap() {
        let name = run.unwrap().file_name();
        same(&whole.join("runs").join(&name), &killed.join("runs").join(&name));
    }
}

#[test]
fn what_diverged_is_a_cell_that_says_so() {
    let root = tempfile::tempdir().unwrap();
    let out = root.path().join("out");
    let args = ["reproduce", "--scale", "smoke", "--table", "4", "--detectors", "lae", "--out", path(&out)];
    ok(&args);
    // As a run leaves it whose loss is no number any more.
    let file = out.join("runs/lae-stage1-0/cell.json");
    let mut cell: BTreeMap<String, Value> = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    cell.insert("failed".into(), "training diverged at step 3".into());
    std::fs::write(&file, serde_json::to_vec(&cell).unwrap()).unwrap();
    std::fs::remove_dir_all(out.join("runs/lae-8-active-0")).unwrap();
    let again = lae(&[&args[..], &["--resume"]].concat());
    assert_eq!(again.status.code(), Some(1), "{}", text(&again.stderr));
    let said = text(&again.stdout);
    let line = |row: &str| said.lines().find(|l| l.starts_with(row)).unwrap_or_else(|| panic!("{row} in\n{said}"));
    assert!(line("AE_latent_rec").contains("diverged") && line("LAE ").contains("diverged"), "{said}");
    assert!(line("AE_rec").contains('%'), "other cells are there: {said}");
    assert!(json(&out)["notices"].to_string().contains("its first stage: training diverged at step 3"));
}

#[test]
fn what_cannot_be_done_is_said_before_it_is_begun() {
    let root = tempfile::tempdir().unwrap();
    let out = root.path().join("out");
    let refused = |more: &[&str], words: &str| {
        let e = text(&lae(&[&["reproduce", "--scale", "smoke", "--out", path(&out)], more].concat()).stderr);
        assert!(e.contains(words), "{words} in {e}");
    };
    refused(&["--table", "7"], "give 1, 3, 4, 5, 6 or all");
    refused(&["--table", "shortcut", "--trace", "chess"], "checkerboard-0.5, jpeg");
    refused(&["--table", "4", "--trace", "jpeg"], "--table shortcut");
    refused(&["--figure", "1"], "2, 3, 4, 5, failures or all");
    refused(&["--detectors", "mezo"], "did you mean meso?");
    refused(&["--table", "4", "--detectors", "meso"], "need the LAE");
    refused(&["--task", "faceswap"], "task");
    refused(&["--photos", "nowhere"], "nowhere");
    refused(&["--resume"], "reproduce.toml");
    assert!(!out.exists(), "a refusal leaves no folder");
    ok(&["reproduce", "--scale", "smoke", "--table", "3", "--detectors", "meso", "--out", path(&out)]);
    refused(&["--table", "3", "--detectors", "meso"], "--resume");
    let e = text(&lae(&["reproduce", "--scale", "small", "--resume", "--out", path(&out)]).stderr);
    assert!(e.contains("made with --scale smoke, this is small"), "{e}");
    refused(&["--resume", "--hole", "central"], "built-in pictures");
    let file = out.join("reproduce.toml");
    let old = std::fs::read_to_string(&file).unwrap().replace(env!("CARGO_PKG_VERSION"), "0.0.1");
    std::fs::write(&file, old).unwrap();
    refused(&["--resume"], "made with version 0.0.1");
}
