//! Notes about pictures and masks through the real binary: beside a verdict, and counted in a data set.

mod binary;

use std::fs;
use std::path::{Path, PathBuf};

use binary::{lae, ok, path, text, train};
use lae_engine::data::Mask;
use lae_engine::data::procedural::photograph;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/pictures").join(name)
}

#[test]
fn detect_says_what_was_judged() {
    let dir = tempfile::tempdir().unwrap();
    let run = dir.path().join("run");
    train(&run, &["--detector", "meso", "--set", "train.epochs=1"]);
    let (gif, plain) = (fixture("animated.gif"), fixture("baseline.jpg"));
    let words = "an animation of 3 frames: frame 1 was judged";

    let out = ok(&["detect", path(&run), path(&gif), path(&plain), "--json"]);
    let lines: Vec<serde_json::Value> = text(&out.stdout).lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    assert_eq!((&lines[0]["notes"], &lines[1]["notes"]), (&serde_json::json!([words]), &serde_json::json!([])));

    let csv = text(&ok(&["detect", path(&run), path(&gif), path(&plain), "--csv"]).stdout);
    let rows: Vec<&str> = csv.lines().collect();
    assert!(rows[0].ends_with(",error,notes") && rows[1].ends_with(&format!(",,{words}")) && rows[2].ends_with(",,"), "{csv}");

    let out = ok(&["detect", path(&run), path(&gif), path(&plain)]);
    let said: Vec<String> = text(&out.stderr).lines().filter(|l| l.contains(words)).map(String::from).collect();
    assert_eq!(said, [format!("note      {}: {words}", gif.display())]);

    // What chunks of a PNG file say of its colours; a frame of MJPEG video, which has no Huffman tables, is a picture like any other.
    let (png, frame) = (dir.path().join("gamma.png"), dir.path().join("frame.jpg"));
    let bytes = photograph(1, 1, 40).to_png().unwrap();
    let gamma = [&[0, 0, 0, 4][..], b"gAMA", &55_556u32.to_be_bytes(), &0xDCB2DA02u32.to_be_bytes()].concat();
    fs::write(&png, [&bytes[..33], &gamma, &bytes[33..]].concat()).unwrap();
    let mut bytes = photograph(1, 2, 40).to_jpeg(90).unwrap();
    while let Some(at) = bytes.windows(2).position(|w| w == [0xFF, 0xC4]) {
        let length = u16::from_be_bytes([bytes[at + 2], bytes[at + 3]]) as usize;
        bytes.drain(at..at + 2 + length);
    }
    fs::write(&frame, bytes).unwrap();
    let out = ok(&["detect", path(&run), path(&png), path(&frame), "--json"]);
    let lines: Vec<serde_json::Value> = text(&out.stdout).lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    let words = "converted from the gamma 0.556 that the PNG file names to sRGB";
    assert_eq!((&lines[0]["notes"], &lines[1]["notes"]), (&serde_json::json!([words]), &serde_json::json!([])));

    // What is refused has no notes, and as many columns as the others.
    let cut = dir.path().join("cut.jpg");
    let bytes = fs::read(&plain).unwrap();
    fs::write(&cut, [&bytes[..bytes.len() * 3 / 4], &[0xFF, 0xD9]].concat()).unwrap();
    let out = lae(&["detect", path(&run), path(&cut), path(&plain), "--csv"]);
    let csv = text(&out.stdout);
    assert_eq!(out.status.code(), Some(1));
    let commas = |l: &str| l.matches(',').count();
    assert!(csv.lines().all(|l| commas(l) == commas("path,verdict,p_fake,logit,heatmap,error,notes")), "{csv}");
    assert!(csv.lines().nth(1).unwrap().ends_with("remove it\","), "{csv}");
}

#[test]
fn a_data_set_counts_its_notes() {
    let dir = tempfile::tempdir().unwrap();
    let (data, run) = (dir.path().join("data"), dir.path().join("run"));
    let mut photographs = 0..;
    for (part, n) in [("train", 8), ("val", 4), ("test", 4)] {
        for i in 0..n {
            for class in ["real", "fake", "mask"] {
                fs::create_dir_all(data.join(part).join(class)).unwrap();
                let file = data.join(part).join(class).join(format!("{i}.png"));
                match class {
                    "mask" if part == "train" && i < 3 => Mask::from_fn(40, 40, |x, y| x > 14 || y > 19).save(file).unwrap(),
                    "mask" => Mask::from_fn(40, 40, |x, y| x < 15 && y < 20).save(file).unwrap(),
                    _ => photograph(1, photographs.next().unwrap(), 40).save(file).unwrap(),
                }
            }
        }
    }
    // Two genuine pictures are animations (the content decides, not the name).
    for i in [0, 1] {
        fs::copy(fixture("animated.png"), data.join(format!("train/real/{i}.png"))).unwrap();
    }
    let args = ["train", "--preset", "smoke", "--data", path(&data), "--out", path(&run), "--set", "train.epochs=1"];
    let sizes = ["--set", "stage2.epochs=1", "--set", "train.batch=8", "--set", "selection.annotations=4"];
    let out = ok(&[&args[..], &sizes[..]].concat());
    let said = text(&out.stderr);
    let lines: Vec<&str> = said.lines().filter(|l| l.starts_with("note ") && l.contains("only counted")).collect();
    assert_eq!(lines.len(), 2, "the first of each kind: {said}");
    let report = fs::read_to_string(run.join("report.json")).unwrap();
    for counted in [
        "2 pictures have several frames or pages: the first was taken",
        "3 masks cover most of the picture and its border: white was taken for forged; perhaps inverted",
    ] {
        assert!(text(&out.stdout).contains(counted) && report.contains(counted), "{counted}: {}", text(&out.stdout));
    }
}
