//! A whole tiny run through the real binary: the same bytes twice, at one and two threads, and after being stopped and resumed.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn lae(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_lae-engine")).args(args).output().expect("the binary runs")
}

fn ok(args: &[&str]) -> Output {
    let out = lae(args);
    assert!(out.status.success(), "{args:?}\n{}", String::from_utf8_lossy(&out.stderr));
    out
}

fn path(p: &Path) -> &str {
    p.to_str().unwrap()
}

/// Everything of a run that must not depend on time, threads or interruptions.
fn bytes(run: &Path) -> Vec<(&'static str, Vec<u8>)> {
    let files = ["metrics.jsonl", "stage1.safetensors", "model.safetensors", "selection.json"];
    files.map(|f| (f, std::fs::read(run.join(f)).unwrap_or_else(|e| panic!("{f}: {e}")))).to_vec()
}

fn same(a: &Path, b: &Path) {
    for ((name, x), (_, y)) in bytes(a).into_iter().zip(bytes(b)) {
        assert!(x == y, "{name} differs between {} and {}", a.display(), b.display());
    }
}

fn train(run: &Path, more: &[&str]) {
    let mut args = vec!["train", "--preset", "smoke", "--out", path(run)];
    args.extend(more);
    ok(&args);
}

#[test]
fn same_seed_same_bytes_at_any_thread_count() {
    let dir = tempfile::tempdir().unwrap();
    let [a, b, c, d]: [PathBuf; 4] = ["a", "b", "c", "d"].map(|n| dir.path().join(n));
    train(&a, &["--threads", "1"]);
    train(&b, &["--threads", "1"]);
    train(&c, &["--threads", "2"]);
    train(&d, &["--threads", "1", "--seed", "1"]);
    same(&a, &b);
    same(&a, &c);
    assert_ne!(bytes(&a), bytes(&d), "another seed gives another run");
}

#[test]
fn a_killed_run_resumes_to_the_same_bytes() {
    use lae_engine::device::Device;
    use lae_engine::train::TrainConfig;
    use lae_engine::train::run::Run;
    let dir = tempfile::tempdir().unwrap();
    // Checkpoints after every step, so that a stop is met anywhere.
    let set = ["train.save_minutes=0.0".to_string()];
    let config = TrainConfig::resolve("smoke", None, &set).unwrap();
    let whole = dir.path().join("whole");
    Run::create(config.clone(), &whole, String::new(), &Device::Cpu).unwrap().run().unwrap();
    // 8 steps an epoch: in the first epoch, at its end, in the second, in stage 2.
    for steps in [3, 8, 13, 21] {
        let run = dir.path().join(format!("stopped-{steps}"));
        let mut first = Run::create(config.clone(), &run, String::new(), &Device::Cpu).unwrap();
        first.stop_after = Some(steps);
        assert!(first.run().is_err(), "the run was to stop after {steps} steps");
        drop(first);
        Run::resume(&run, String::new(), &Device::Cpu).unwrap().run().unwrap();
        same(&whole, &run);
    }
}

#[test]
fn detect_and_eval_use_a_run() {
    let dir = tempfile::tempdir().unwrap();
    let (run, set, heat) = (dir.path().join("run"), dir.path().join("set"), dir.path().join("heat"));
    train(&run, &[]);
    for f in ["report.html", "report.json", "config.toml"] {
        assert!(run.join(f).is_file(), "{f}");
    }
    ok(&["forge", "--out", path(&set), "--count", "16", "--size", "32"]);
    let fakes = set.join("test/fake");
    let out = ok(&["detect", path(&run), path(&fakes), "--json", "--heatmaps", path(&heat)]);
    let lines: Vec<serde_json::Value> =
        String::from_utf8(out.stdout).unwrap().lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    assert!(!lines.is_empty());
    assert!(lines.iter().all(|l| (0.0..=1.0).contains(&l["p_fake"].as_f64().unwrap())));
    assert_eq!(std::fs::read_dir(&heat).unwrap().count(), lines.len());
    let out = ok(&["eval", path(&run), "--data", path(&set)]);
    assert!(String::from_utf8_lossy(&out.stdout).contains("unseen"));
    // One broken picture among good ones is counted and printed, not fatal.
    std::fs::write(fakes.join("broken.png"), b"not a picture").unwrap();
    let out = lae(&["detect", path(&run), path(&fakes)]);
    assert_eq!(out.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&out.stderr).contains("broken.png"));
}

#[test]
fn wrong_arguments_are_named_and_lose_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let run = dir.path().join("run");
    let cases: [(&[&str], &str); 7] = [
        (&["--set", "trian.lr=1"], "train.lr"),
        (&["--set", "train.lr=fast"], "train.lr"),
        (&["--set", "train.lr=-1"], "train.lr"),
        (&["--set", "train.batch=7"], "train.batch"),
        (&["--set", "size=48"], "size"),
        (&["--set", "lae.grid=5"], "lae.grid"),
        (&["--set", "data.seen=teles"], "telea"),
    ];
    for (more, word) in cases {
        let mut args = vec!["train", "--preset", "smoke", "--out", path(&run)];
        args.extend(more);
        let out = lae(&args);
        let text = String::from_utf8_lossy(&out.stderr);
        assert_eq!(out.status.code(), Some(2), "{more:?}: {text}");
        assert!(text.contains(word) && !text.contains("panicked"), "{more:?}: {text}");
        assert!(!run.exists(), "{more:?} left a folder");
    }
    std::fs::create_dir(&run).unwrap();
    let out = lae(&["train", "--preset", "smoke", "--out", path(&run)]);
    assert_eq!(out.status.code(), Some(2));
    assert_eq!(lae(&["train", "--resume", path(&run)]).status.code(), Some(2));
}
