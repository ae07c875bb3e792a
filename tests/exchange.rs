//! Counterexamples and exchanged pairs through the real binary, on a ready data set.

mod binary;

use binary::{lae, ok, path, same, text, train};

#[test]
fn a_ready_set_is_exchanged_in_training_and_in_a_check() {
    let root = tempfile::tempdir().unwrap();
    let [set, run, again] = ["set", "run", "again"].map(|n| root.path().join(n));
    ok(&["forge", "--out", path(&set), "--count", "64", "--size", "32", "--fingerprint", "checkerboard"]);
    let how = [
        "--data",
        path(&set),
        "--allow-duplicates",
        "--set",
        "selection.annotations=8",
        "--set",
        "counter.transplant=0.3",
        "--set",
        "counter.exchange=0.3",
        "--set",
        "counter.pseudo=0.3",
        "--set",
        "latent.distance=ce",
    ];
    train(&run, &how);
    train(&again, &how);
    same(&run, &again);
    let report = std::fs::read_to_string(run.join("report.json")).unwrap();
    assert!(report.contains("30 % of each class by transplant, 30 % of each class by exchange, 30 % of the fakes by pseudo"));

    let check = ["data", "check", path(&set), "--exchange", path(&run), "--device", "cpu"];
    let said = text(&ok(&check).stdout);
    for row in ["exchanged, called fake", "reversed, called genuine", "fakes as they are", "unseen/poisson", "difference outside"]
    {
        assert!(said.contains(row), "{row} in\n{said}");
    }
    let lines = text(&ok(&[&check[..], &["--json"]].concat()).stdout);
    let rows: Vec<serde_json::Value> = lines.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    // Telea with the trace, the four others, and Telea without it.
    assert_eq!(rows.len(), 6 * 6, "{lines}");
    assert!(rows.iter().all(|r| (0.0..=1.0).contains(&r["value"].as_f64().unwrap()) && r["pictures"] == 8), "{lines}");

    // Without originals nothing can be exchanged, and both say what is missing.
    std::fs::remove_file(set.join("manifest.jsonl")).unwrap();
    let e = text(&lae(&check).stderr);
    assert!(e.contains("8 fakes were left out, without an original") && e.contains("manifest.jsonl"), "{e}");
    let other = root.path().join("other");
    let e = text(&lae(&[&["train", "--preset", "smoke", "--out", path(&other)], &how[..]].concat()).stderr);
    assert!(e.contains("counter.transplant") && e.contains("original") && !other.exists(), "{e}");
}
