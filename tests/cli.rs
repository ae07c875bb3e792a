//! Bad input through the real binary: each is refused with exit code 2 and a line that names the file or key and the remedy, or
//! is skipped, printed and counted where one bad picture among many should not stop a run. Never a panic, never a lost checkpoint.
//!
//! Over 600 lines because it is a list: a test for each kind of fault, none longer than a screen.

mod binary;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use binary::{command, lae, ok, path, same, text, train};
use lae_engine::data::{Mask, Picture};
use tempfile::TempDir;

/// Exit code 2, one `error:` line with all of `words`, no panic.
#[track_caller]
fn refused(out: &Output, words: &[&str]) {
    let said = text(&out.stderr);
    assert_eq!(out.status.code(), Some(2), "{said}");
    let line = said.lines().find(|l| l.starts_with("error: ")).unwrap_or_else(|| panic!("no error line in:\n{said}"));
    let rest = &said[said.find(line).unwrap()..];
    assert!(words.iter().all(|w| rest.contains(w)), "{words:?} in:\n{said}");
    assert!(!said.contains("panicked"), "{said}");
}

/// A finished smoke run that the tests only read.
fn finished() -> &'static Path {
    static RUN: OnceLock<(TempDir, PathBuf)> = OnceLock::new();
    let (_, run) = RUN.get_or_init(|| {
        let dir = tempfile::tempdir().unwrap();
        let run = dir.path().join("run");
        train(&run, &[]);
        (dir, run)
    });
    run
}

/// A copy that a test may spoil.
fn copy_of_run(to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(finished()).unwrap().map(|e| e.unwrap().path()).filter(|p| p.is_file()) {
        fs::copy(&entry, to.join(entry.file_name().unwrap())).unwrap();
    }
}

/// A sound data set: 12 genuine and 12 forged training pictures, 4 and 4 in validation and test.
fn data_set(dir: &Path) {
    for (k, (part, n)) in [("train", 12), ("val", 4), ("test", 4), ("unseen/glue", 4)].into_iter().enumerate() {
        for i in 0..n {
            let save = |class: &str, p: &Picture| {
                let folder = dir.join(part).join(class);
                fs::create_dir_all(&folder).unwrap();
                p.save(folder.join(format!("{i}.png"))).unwrap();
            };
            // Another picture in every split: what two splits share is refused.
            let photograph = lae_engine::data::procedural::photograph(5, (20 * k + i) as u64, 48);
            let shade = |x: usize, y: usize| photograph.at(x, y);
            save("real", &Picture::from_fn(40, 40, shade));
            save("fake", &Picture::from_fn(40, 40, |x, y| if x < 15 && y < 20 { [90; 3] } else { shade(x + 3, y) }));
            let mask = dir.join(part).join("mask");
            fs::create_dir_all(&mask).unwrap();
            Mask::from_fn(40, 40, |x, y| x < 15 && y < 20).save(mask.join(format!("{i}.png"))).unwrap();
        }
    }
}

fn train_on(data: &Path, run: &Path, more: &[&str]) -> Output {
    let mut args = vec!["train", "--preset", "smoke", "--data", path(data), "--out", path(run)];
    args.extend([
        "--set",
        "train.epochs=1",
        "--set",
        "stage2.epochs=1",
        "--set",
        "train.batch=8",
        "--set",
        "selection.annotations=4",
    ]);
    args.extend(more);
    lae(&args)
}

/// A PNG file with its own header: enough for a size, whatever follows.
fn png_header(w: u32, h: u32) -> Vec<u8> {
    let mut chunk = b"IHDR".to_vec();
    chunk.extend(w.to_be_bytes());
    chunk.extend(h.to_be_bytes());
    chunk.extend([8, 2, 0, 0, 0]);
    let mut crc = !0u32;
    for b in &chunk {
        crc ^= *b as u32;
        (0..8).for_each(|_| crc = if crc & 1 == 1 { crc >> 1 ^ 0xEDB8_8320 } else { crc >> 1 });
    }
    let mut file = b"\x89PNG\r\n\x1a\n\0\0\0\x0d".to_vec();
    file.extend(&chunk);
    file.extend((!crc).to_be_bytes());
    file.extend(b"\0\0\0\x20IDAT\x78\x9c");
    file
}

#[test]
fn pictures_of_every_kind_are_judged_or_refused_by_name() {
    use base64::Engine;
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let p = Picture::from_fn(64, 48, |x, y| [(x * 4) as u8, (y * 5) as u8, 90]);
    p.save(at("sound.png")).unwrap();
    p.save(at("sound.jpg")).unwrap();
    let write = |name: &str, data: &[u8], size: (u32, u32), kind: image::ExtendedColorType| {
        image::save_buffer(at(name), data, size.0, size.1, kind).unwrap();
    };
    write("deep.png", &[0x12; 64 * 48 * 6], (64, 48), image::ExtendedColorType::Rgb16);
    write("grey.png", &[77; 64 * 48], (64, 48), image::ExtendedColorType::L8);
    write("one.png", &[1, 2, 3], (1, 1), image::ExtendedColorType::Rgb8);
    write("wide.png", &vec![120; 20_000 * 3], (20_000, 3), image::ExtendedColorType::L8);
    write("long.png", &vec![120; 20_000], (1, 20_000), image::ExtendedColorType::L8);
    fs::write(at("cmyk.jpg"), base64::prelude::BASE64_STANDARD.decode(CMYK).unwrap()).unwrap();
    let run = path(finished());
    let heat = at("heat");
    for name in ["sound.png", "sound.jpg", "deep.png", "grey.png", "one.png", "wide.png", "long.png", "cmyk.jpg"] {
        let out = ok(&["detect", run, path(&at(name)), "--json", "--heatmaps", path(&heat)]);
        let line: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
        assert!(line["p_fake"].as_f64().is_some_and(|p| (0.0..=1.0).contains(&p)), "{name}: {line}");
        let map = Picture::open(line["heatmap"].as_str().unwrap()).unwrap();
        let (w, h) = Picture::probe(at(name)).unwrap();
        assert!(map.w.max(map.h) == w.max(h).min(1024), "{name}: a map of {} x {} for {w} x {h}", map.w, map.h);
    }
    // And what cannot be judged: named, with what to do.
    for (from, to) in [("sound.png", "cut.png"), ("sound.jpg", "cut.jpg")] {
        let bytes = fs::read(at(from)).unwrap();
        fs::write(at(to), &bytes[..bytes.len() * 2 / 3]).unwrap();
    }
    fs::write(at("huge.png"), png_header(20_000, 20_000)).unwrap();
    fs::write(at("beyond.png"), png_header(70_000, 70_000)).unwrap();
    fs::write(at("empty.png"), b"").unwrap();
    fs::write(at("words.png"), b"no picture at all").unwrap();
    fs::write(at("notes.txt"), b"no picture at all").unwrap();
    let cases = [
        ("cut.png", "copy it again"),
        ("cut.jpg", "copy it again"),
        ("huge.png", "shrink it"),
        ("beyond.png", "shrink it"),
        ("empty.png", "copy it again"),
        ("words.png", "use png, jpeg"),
        ("notes.txt", "is it a picture?"),
        ("none.png", "no such file"),
    ];
    for (name, word) in cases {
        let out = lae(&["detect", run, path(&at(name))]);
        let said = text(&out.stderr);
        assert_eq!(out.status.code(), Some(2), "{name}: {said}");
        assert!(said.contains(name) && said.contains(word) && !said.contains("panicked"), "{name}: {said}");
    }
    // Among others each is a printed, counted skip, and the rest is judged.
    let out = lae(&["detect", run, path(dir.path()), "--csv"]);
    let (table, said) = (text(&out.stdout), text(&out.stderr));
    assert_eq!(out.status.code(), Some(1), "{said}");
    assert!(said.contains("6 of 14 pictures could not be judged"), "{said}");
    // The heat maps of before are no evidence.
    assert!(said.contains("8 heat maps") && said.contains("1 other file"), "{said}");
    assert_eq!(table.lines().count(), 1 + 14, "{table}");
    assert!(table.lines().any(|l| l.contains("cut.png,,,,,,") && l.contains("copy it again")), "{table}");
}

/// Red and cyan halves, made by Pillow: `Image.fromarray(a, "CMYK").save(..., quality=90)`.
const CMYK: &str = "/9j/7gAOQWRvYmUAZAAAAAAA/9sAQwADAgIDAgIDAwMDBAMDBAUIBQUEBAUKBwcGCAwKDAwLCgsLDQ4SEA0OEQ4LCxAWEBETFBUVFQwP\
    FxgWFBgSFBUU/8AAFAgACAAQBEMRAE0RAFkRAEsRAP/EABYAAQEBAAAAAAAAAAAAAAAAAAkKAP/EABQQAQAAAAAAAAAAAAAAAAAAAAD/\
    2gAOBEMATQBZAEsAAD8AVMVQqippV1VCqhn/2Q==";

#[test]
fn one_bad_picture_among_many_is_skipped_and_counted() {
    let dir = tempfile::tempdir().unwrap();
    let (data, run) = (dir.path().join("data"), dir.path().join("run"));
    data_set(&data);
    // Found when the folder is opened, found when it is read, an unreadable mask, an empty mask.
    fs::write(data.join("train/real/0.png"), b"not a picture").unwrap();
    let half = fs::read(data.join("train/real/1.png")).unwrap();
    fs::write(data.join("train/real/1.png"), &half[..half.len() / 2]).unwrap();
    fs::write(data.join("train/mask/2.png"), b"not a mask").unwrap();
    Mask::new(40, 40).save(data.join("train/mask/3.png")).unwrap();
    let out = train_on(&data, &run, &[]);
    let said = text(&out.stderr);
    assert!(out.status.success(), "{said}");
    for bad in ["train/real/0.png", "train/real/1.png", "train/mask/2.png"] {
        assert_eq!(said.lines().filter(|l| l.starts_with("skipped") && l.contains(bad)).count(), 1, "{bad}: {said}");
    }
    assert!(text(&out.stdout).contains("3 unreadable pictures were skipped"), "{}", text(&out.stdout));
    // An empty mask costs its picture the mask only.
    assert!(said.contains("1 of 11 masks cover nothing") && said.contains("train/mask/3.png first"), "{said}");
    assert!(fs::read_to_string(run.join("report.html")).unwrap().contains("3 unreadable pictures were skipped"));

    // Photographs likewise.
    let photos = dir.path().join("photos");
    fs::create_dir(&photos).unwrap();
    for i in 0..8 {
        Picture::from_fn(60, 50, |x, y| [(x * 4) as u8, (y * 5 + i * 9) as u8, (x * i) as u8])
            .save(photos.join(format!("{i}.png")))
            .unwrap();
    }
    fs::write(photos.join("broken.jpg"), b"not a picture").unwrap();
    let out = lae(&["forge", "--photos", path(&photos), "--out", path(&dir.path().join("set")), "--count", "8", "--size", "32"]);
    assert!(out.status.success() && text(&out.stderr).contains("broken.jpg"), "{}", text(&out.stderr));
    assert!(text(&out.stdout).contains("1 unreadable picture was skipped"), "{}", text(&out.stdout));
}

/// Photographs at their own size, written as tests, judged by `eval` and refused by `train`.
#[test]
fn photographs_at_their_own_size_are_tests() {
    let dir = tempfile::tempdir().unwrap();
    let photos = dir.path().join("photos");
    fs::create_dir(&photos).unwrap();
    for (i, (w, h)) in [(300, 200), (180, 240), (90, 90)].into_iter().enumerate() {
        let photograph = lae_engine::data::procedural::photograph(9, i as u64, 300).crop(0, 0, w, h);
        photograph.save(photos.join(format!("{i}.png"))).unwrap();
    }
    fs::write(photos.join("broken.jpg"), b"not a picture").unwrap();
    let set = dir.path().join("set");
    let args = ["forge", "--whole", "--photos", path(&photos), "--out", path(&set), "--sizes", "12.5,50"];
    let out = lae(&args);
    assert!(out.status.success() && text(&out.stderr).contains("broken.jpg"), "{}", text(&out.stderr));
    assert!(text(&out.stdout).starts_with("33 pictures of 3 photographs"), "{}", text(&out.stdout));
    let manifest = fs::read_to_string(set.join("manifest.jsonl")).unwrap();
    let lines: Vec<serde_json::Value> = manifest.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    assert_eq!(lines.len(), 33);
    for fake in lines.iter().filter(|l| l["label"] == "fake") {
        let mask = Mask::open(set.join(fake["mask"].as_str().unwrap())).unwrap();
        let forged = Picture::open(set.join(fake["path"].as_str().unwrap())).unwrap();
        assert_eq!((mask.w, mask.h), (forged.w, forged.h));
        let [x, y, w, h] = [0, 1, 2, 3].map(|k| fake["box"][k].as_u64().unwrap() as usize);
        let boxed = Mask::from_fn(mask.w, mask.h, |i, j| (x..x + w).contains(&i) && (y..y + h).contains(&j));
        assert!(boxed == mask && [0.125, 0.5].contains(&fake["side"].as_f64().unwrap()), "{fake}");
    }
    // The same bytes once more.
    let again = dir.path().join("again");
    ok(&["forge", "--whole", "--photos", path(&photos), "--out", path(&again), "--sizes", "12.5,50", "--threads", "1"]);
    for l in &lines {
        let file = l["path"].as_str().unwrap();
        assert_eq!(fs::read(set.join(file)).unwrap(), fs::read(again.join(file)).unwrap(), "{file}");
    }
    let judged = lae(&["eval", path(finished()), "--data", path(&set), "--json"]);
    let report: serde_json::Value =
        serde_json::from_slice(&judged.stdout).unwrap_or_else(|e| panic!("{e}: {}", text(&judged.stderr)));
    assert_eq!(report["detection"].as_array().unwrap().len(), 5, "{report}");
    let run = dir.path().join("run");
    let refusal = lae(&["train", "--preset", "smoke", "--data", path(&set), "--out", path(&run)]);
    refused(&refusal, &["set", "tests alone", "train/{real,fake}", "eval"]);
    assert!(!run.exists());
}

#[test]
fn data_sets_that_cannot_be_used_are_refused_before_a_folder_is_made() {
    let dir = tempfile::tempdir().unwrap();
    let run = dir.path().join("run");
    type Spoil = fn(&Path);
    let cases: [(&str, Spoil, &[&str]); 9] = [
        ("a missing mask", |d| fs::remove_file(d.join("train/mask/3.png")).unwrap(), &["train/fake/3.png", "no mask", "add it"]),
        (
            "a mask of another shape",
            |d| Mask::from_fn(40, 20, |_, _| true).save(d.join("val/mask/1.png")).unwrap(),
            &["val/mask/1.png", "40 x 20", "same picture"],
        ),
        (
            "a mask without its picture",
            |d| fs::remove_file(d.join("test/fake/2.png")).unwrap(),
            &["test/mask/2.png", "remove the mask"],
        ),
        (
            "an empty class",
            |d| {
                fs::remove_dir_all(d.join("val/real")).unwrap();
                fs::create_dir(d.join("val/real")).unwrap();
            },
            &["val/real", "no pictures", "put png"],
        ),
        ("a missing class", |d| fs::remove_dir_all(d.join("test/fake")).unwrap(), &["test/fake", "missing"]),
        ("a missing split", |d| fs::remove_dir_all(d.join("val")).unwrap(), &["val/real", "missing"]),
        (
            "mostly unreadable",
            |d| (0..8).for_each(|i| fs::write(d.join(format!("train/real/{i}.png")), b"x").unwrap()),
            &["train/real", "8 of 12", "copy the folder again"],
        ),
        ("no masks at all", |d| fs::remove_dir_all(d.join("train/mask")).unwrap(), &["selection.annotations", "--annotations 0"]),
        (
            "a broken manifest",
            |d| fs::write(d.join("manifest.jsonl"), "{\n").unwrap(),
            &["manifest.jsonl", "line 1", "remove the file"],
        ),
    ];
    for (name, spoil, words) in cases {
        let data = dir.path().join(name);
        data_set(&data);
        spoil(&data);
        refused(&train_on(&data, &run, &[]), words);
        assert!(!run.exists(), "{name} left a folder");
    }
    // Fewer fakes than annotations, fewer pictures than a batch.
    let data = dir.path().join("sound");
    data_set(&data);
    refused(&train_on(&data, &run, &["--set", "selection.annotations=13"]), &["selection.annotations", "12 fakes"]);
    refused(&train_on(&data, &run, &["--set", "train.batch=26"]), &["train.batch", "24 pictures"]);
    assert!(!run.exists());
    // Masks are read when the folder is opened: where all are empty, none can be annotated.
    let data = dir.path().join("nothing but empty masks");
    data_set(&data);
    (0..12).for_each(|i| Mask::new(40, 40).save(data.join(format!("train/mask/{i}.png"))).unwrap());
    refused(&train_on(&data, &run, &[]), &["selection.annotations", "0 fakes with a mask"]);
    assert!(!run.exists());
    // Without masks and without stage 2 it works.
    let data = dir.path().join("sound");
    ["train", "val", "test", "unseen/glue"].iter().for_each(|p| fs::remove_dir_all(data.join(p).join("mask")).unwrap());
    let out = train_on(&data, &run, &["--set", "selection.annotations=0"]);
    assert!(out.status.success(), "{}", text(&out.stderr));
}

/// What a run was trained with stays so: another detector, a map of a single cell, a folder of another version.
#[test]
fn a_run_of_another_detector_or_version_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let run = dir.path().join("run");
    train(&run, &["--detector", "meso", "--set", "train.epochs=1"]);
    refused(&lae(&["train", "--resume", path(&run), "--detector", "lae"]), &["--detector", "was trained with meso"]);
    let picture = dir.path().join("p.png");
    image::RgbImage::new(40, 40).save(&picture).unwrap();
    let heat = dir.path().join("heat");
    let told = text(&ok(&["detect", path(&run), path(&picture), "--heatmaps", path(&heat)]).stderr);
    assert!(told.contains("Grad-CAM") && heat.join("p.heat.png").is_file(), "{told}");
    // At 32 pixels XceptionNet is left with one cell.
    let single = dir.path().join("single");
    train(&single, &["--detector", "xception", "--set", "train.epochs=1"]);
    let none = dir.path().join("none");
    refused(
        &lae(&["detect", path(&single), path(&picture), "--heatmaps", path(&none)]),
        &["--heatmaps", "32 pixels", "xception", "single cell"],
    );
    assert!(!none.exists());
    let csv = text(&ok(&["detect", path(&run), path(&picture), "--csv"]).stdout);
    assert!(csv.starts_with("path,verdict,p_fake,logit,heatmap,error,notes\n"), "{csv}");
    assert!(csv.lines().all(|l| l.matches(',').count() == 6), "{csv}");

    // Version 0.1 wrote no key `detector`.
    let config = fs::read_to_string(run.join("config.toml")).unwrap();
    fs::write(run.join("config.toml"), config.replace("detector = \"meso\"\n", "")).unwrap();
    refused(&lae(&["eval", path(&run)]), &["config.toml", "detector", "version 0.1", "train anew"]);
    fs::write(run.join("config.toml"), config.replace("\"meso\"", "\"mesonet\"")).unwrap();
    refused(&lae(&["eval", path(&run)]), &["config.toml", "detector", "did you mean meso?"]);
    fs::write(run.join("config.toml"), config.replace("\"meso\"", "\"lae\"")).unwrap();
    refused(&lae(&["eval", path(&run)]), &["stage1.safetensors", "a finished run of lae", "config.toml, key detector"]);
    refused(&lae(&["detect", path(&run), path(&picture)]), &["tensor lae.encoder.0.weight is missing", "another configuration"]);
}

#[test]
fn keys_and_values_that_make_no_sense_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let run = dir.path().join("run");
    let set = |setting| vec!["--set", setting];
    let cases: Vec<(Vec<&str>, &[&str])> = vec![
        (set("trian.lr=1"), &["trian.lr", "train.lr"]),
        (set("learning_rate=1"), &["learning_rate", "--print-config"]),
        (set("epochs=3"), &["epochs", "concept.epochs or stage2.epochs or train.epochs"]),
        (set("train=3"), &["train", "a table", "train.epochs"]),
        (set("size.x=3"), &["size", "not a table"]),
        (set("train.lr"), &["train.lr", "--set key=value"]),
        (set("=3"), &["--set key=value"]),
        (set("train.lr=fast"), &["train.lr", "default 0.001"]),
        (set("train.lr=-1"), &["train.lr", "positive"]),
        (set("train.lr=nan"), &["train.lr", "finite"]),
        (set("loss.alpha1=inf"), &["loss.alpha1", "finite"]),
        (set("loss.beta1=-0.1"), &["loss.beta1", "positive"]),
        (set("noise.max_sigma=-1"), &["noise.max_sigma"]),
        (set("train.epochs=0"), &["train.epochs", "1 to"]),
        (set("train.batch=0"), &["train.batch"]),
        (set("train.batch=7"), &["train.batch", "even"]),
        (set("train.batch=1000"), &["train.batch", "128 pictures"]),
        (set("train.anneal=2"), &["train.anneal"]),
        (set("size=48"), &["size", "lae takes powers of two", "try 32 or 64"]),
        (set("size=0"), &["size", "16 to 1024"]),
        (set("lae.grid=5"), &["lae.grid", "try one of"]),
        (set("lae.width=0"), &["lae.width", "1 to"]),
        (set("lae.width=1000000"), &["lae.width", "1 to"]),
        (set("lae.latent=3"), &["lae.latent", "even"]),
        (set("lae.encoder_kernel=5"), &["lae.encoder_kernel", "3 and 4"]),
        (set("discriminator.width=0"), &["discriminator.width", "1 to"]),
        (set("discriminator.arch=patchy"), &["discriminator.arch", "extended"]),
        (set("comparator.width=1e9"), &["comparator.width", "up to 4"]),
        (set("comparator.input=100000"), &["comparator.input", "1024"]),
        (set("comparator.layer=conv5_1"), &["comparator.layer", "conv4_3"]),
        (vec!["--set", "comparator.weights=none.safetensors"], &["comparator.width", "comparator.width=1"]),
        (
            vec!["--set", "comparator.weights=none.safetensors", "--set", "comparator.width=1"],
            &["none.safetensors", "check the path"],
        ),
        (set("cam.norm=softmax"), &["cam.norm", "minmax"]),
        (set("cam.temperature=0"), &["cam.temperature"]),
        (set("selection.topk=0"), &["selection.topk", "1 to 64"]),
        (set("selection.topk=65"), &["selection.topk", "1 to 64"]),
        (set("stage2.annotated_batch=0"), &["stage2.annotated_batch"]),
        (set("stage2.decay_epochs=0"), &["stage2.decay_epochs"]),
        (set("eval.resamples=0"), &["eval.resamples"]),
        (set("data.train_count=3"), &["data.train_count", "even"]),
        (set("data.photographs=2"), &["data.photographs", "at least 3"]),
        (set("data.hole_share=[0.5,0.1]"), &["data.hole_share", "least"]),
        (set("data.hole_share=0.5"), &["data.hole_share", "default [0.06, 0.25]"]),
        (set("data.seen=teles"), &["data.seen", "telea"]),
        (set("data.unseen=[\"telea\"]"), &["data.unseen", "also data.seen"]),
        (vec!["--annotations", "65"], &["selection.annotations", "64 fakes"]),
        (vec!["--select", "best"], &["selection.mode", "active"]),
        (vec!["--fingerprint", "jpeg", "--fingerprint-amplitude", "500"], &["fingerprint_amplitude", "1 to 100"]),
        (vec!["--fingerprint", "checkerboard", "--fingerprint-rate", "2"], &["fingerprint_rate", "0 to 1"]),
        (vec!["--hole", "round"], &["data.hole", "stroke"]),
        (vec!["--photos", "/no/such/folder"], &["/no/such/folder", "check the path"]),
        (vec!["--data", "/no/such/folder"], &["/no/such/folder", "check the path"]),
        (vec!["--config", "/no/such/file.toml"], &["/no/such/file.toml", "check the path"]),
        (vec!["--device", "tpu"], &["--device", "tpu"]),
        (vec!["--task", "faceswap"], &["task", "inpainting"]),
        (vec!["--detector", "mesa"], &["detector", "mesa", "did you mean meso?"]),
        (set("detector=xyzzy"), &["detector", "one of lae, suppress"]),
        (vec!["--detector", "meso", "--set", "lae.width=3"], &["lae.width", "a key of lae, not of meso", "--detector lae"]),
        (vec!["--detector", "meso", "--set", "lae.wdith=3"], &["lae.wdith", "no such key"]),
        (vec!["--detector", "meso", "--annotations", "5"], &["selection.annotations", "a key of lae"]),
        (vec!["--detector", "meso", "--set", "size=100"], &["size", "multiple of 32", "96 or 128"]),
        (vec!["--detector", "lae", "--set", "detector=meso"], &["detector", "meso"]),
        (set("al.annotations=3"), &["al.annotations", "is called selection.annotations now"]),
        (set("ft.lr0=0.1"), &["ft.lr0", "is called stage2.lr now"]),
        // Parsed by clap, whose errors have the option and the value.
        (vec!["--annotations", "-5"], &["--annotations", "-5"]),
        (vec!["--seed", "-1"], &["--seed", "-1"]),
        (vec!["--seed", "1.5"], &["--seed", "1.5"]),
        (vec!["--threads", "0"], &["--threads", "1..=1024"]),
        (vec!["--threads", "100000"], &["--threads", "1..=1024"]),
        (vec!["--photos", ".", "--data", "."], &["--photos", "--data"]),
    ];
    for (more, words) in cases {
        let mut args = vec!["train", "--preset", "smoke", "--out", path(&run)];
        args.extend(&more);
        let out = lae(&args);
        println!("{more:?}: {}", text(&out.stderr).lines().find(|l| l.starts_with("error")).unwrap_or("no error"));
        refused(&out, words);
        assert!(!run.exists(), "{more:?} left a folder");
    }
    refused(&lae(&["train", "--preset", "smal", "--out", path(&run)]), &["--preset", "small, paper, smoke"]);
    // The same from a file, and a file that is none.
    let file = dir.path().join("my.toml");
    for (content, words) in [
        ("[trian]\nlr = 1.0\n", ["trian.lr", "train.lr"]),
        ("[train]\nlr = \"fast\"\n", ["train.lr", "default 0.001"]),
        ("[train\n", ["my.toml", "line 1"]),
    ] {
        fs::write(&file, content).unwrap();
        refused(&lae(&["train", "--preset", "smoke", "--out", path(&run), "--config", path(&file)]), &words);
    }
    // Losses that leave the numbers name the rate to lower.
    for (setting, key) in [("train.lr=1e30", "train.lr"), ("stage2.lr=1e30", "stage2.lr"), ("concept.lr=1e300", "concept.lr")] {
        let run = dir.path().join(key);
        refused(&lae(&["train", "--preset", "smoke", "--out", path(&run), "--set", setting]), &["diverged", key]);
    }
    // More memory than any machine has that runs this.
    let run = dir.path().join("large");
    let large = ["size=512", "lae.grid=32", "data.train_count=60000", "train.batch=60000"].map(|s| ["--set", s]);
    let args: Vec<&str> =
        ["train", "--preset", "smoke", "--out", path(&run)].into_iter().chain(large.into_iter().flatten()).collect();
    refused(&lae(&args), &["GiB of memory", "train.batch"]);
    // Other commands.
    let run = path(finished());
    for (args, words) in [
        (vec!["eval", "nowhere"], ["nowhere", "not a run folder"]),
        (vec!["eval", run, "--data", "nowhere"], ["nowhere", "no such folder"]),
        (vec!["detect", "nowhere", "x.png"], ["nowhere", "not a run folder"]),
        (vec!["detect", run, path(dir.path())], ["holds no pictures", "png"]),
        (vec!["forge", "--out", run], ["run", "not an empty folder"]),
        (vec!["forge", "--out", "new", "--count", "3"], ["--count", "even"]),
        (vec!["forge", "--whole", "--out", run], ["run", "not an empty folder"]),
        (vec!["forge", "--whole", "--out", "new", "--sizes", "10,90"], ["sizes", "90 % of the short side"]),
        (vec!["forge", "--whole", "--out", "new", "--data", run], ["--data", "--photos"]),
        (vec!["forge", "--whole", "--out", "new", "--photos", run, "--size", "64"], ["--size", "their own size"]),
        (vec!["forge", "--whole", "--out", "new", "--fingerprint", "jpeg"], ["--fingerprint", "leave it out"]),
        (vec!["describe", "--model", "resnet"], ["--model", "lae, vgg, dcgan, suppress"]),
        (vec!["describe", "--size", "100"], ["size", "powers of two"]),
    ] {
        refused(&lae(&args), &words);
    }
}

#[test]
fn a_run_folder_that_exists_is_not_touched() {
    let dir = tempfile::tempdir().unwrap();
    let run = dir.path().join("run");
    fs::create_dir(&run).unwrap();
    fs::write(run.join("thesis.txt"), "precious").unwrap();
    refused(&lae(&["train", "--preset", "smoke", "--out", path(&run)]), &["run", "exists already", "--resume"]);
    let left: Vec<_> = fs::read_dir(&run).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!((left.len(), fs::read(run.join("thesis.txt")).unwrap()), (1, b"precious".to_vec()));
}

#[test]
fn spoiled_run_folders_are_named_and_nothing_in_them_is_lost() {
    let dir = tempfile::tempdir().unwrap();
    let cut = |f: &str, keep: usize| {
        let f = f.to_string();
        move |run: &Path| {
            let bytes = fs::read(run.join(&f)).unwrap();
            fs::write(run.join(&f), &bytes[..keep.min(bytes.len() - 1)]).unwrap();
        }
    };
    let resume = "--resume";
    /// What is wrong, how it is made so, words of the message.
    type Row = (&'static str, Box<dyn Fn(&Path)>, &'static [&'static str]);
    let cases: Vec<Row> = vec![
        (resume, Box::new(cut("resume.safetensors", 0)), &["resume.safetensors", "remove it"]),
        (resume, Box::new(cut("resume.safetensors", 4000)), &["resume.safetensors", "remove it"]),
        (resume, Box::new(cut("resume.safetensors", usize::MAX)), &["resume.safetensors", "remove it"]),
        (
            resume,
            Box::new(|r| drop(fs::copy(r.join("model.safetensors"), r.join("resume.safetensors")))),
            &["resume.safetensors", "adam.m", "remove it"],
        ),
        (resume, Box::new(cut("metrics.jsonl", 100)), &["metrics.jsonl", "100 bytes", "restore"]),
        (resume, Box::new(|r| fs::remove_file(r.join("metrics.jsonl")).unwrap()), &["metrics.jsonl", "check the path"]),
        (resume, Box::new(|r| fs::remove_file(r.join("config.toml")).unwrap()), &["not a run folder", "config.toml"]),
        (resume, Box::new(cut("config.toml", 61)), &["config.toml", "not valid TOML"]),
        (resume, Box::new(cut("stage1.safetensors", 4000)), &["stage1.safetensors", "not a checkpoint"]),
        (
            resume,
            Box::new(|r| fs::remove_file(r.join("model.safetensors")).unwrap()),
            &["model.safetensors", "is missing", "Put the file back"],
        ),
        ("eval", Box::new(cut("model.safetensors", 4000)), &["model.safetensors", "not a checkpoint"]),
        ("eval", Box::new(cut("model.safetensors", 0)), &["model.safetensors", "not a checkpoint"]),
        ("detect", Box::new(cut("model.safetensors", usize::MAX)), &["model.safetensors", "not a checkpoint"]),
        (
            "detect",
            Box::new(|r| {
                let config = fs::read_to_string(r.join("config.toml")).unwrap();
                fs::write(r.join("config.toml"), config.replace("latent = 16", "latent = 18")).unwrap();
            }),
            &["model.safetensors", "shape [16, 64]", "[18, 64]"],
        ),
    ];
    for (i, (what, spoil, words)) in cases.into_iter().enumerate() {
        let run = dir.path().join(i.to_string());
        copy_of_run(&run);
        spoil(&run);
        let picture = dir.path().join("p.png");
        Picture::new(8, 8).save(&picture).unwrap();
        let before: Vec<_> = listing(&run);
        let out = match what {
            "eval" => lae(&["eval", path(&run)]),
            "detect" => lae(&["detect", path(&run), path(&picture)]),
            _ => lae(&["train", "--resume", path(&run)]),
        };
        println!("{i} {what}: {}", text(&out.stderr).lines().last().unwrap_or_default());
        refused(&out, words);
        let after: Vec<_> = listing(&run);
        assert!(before.iter().all(|f| after.contains(f)), "case {i} lost a file or changed one");
    }
    // Data that went away.
    let (data, run) = (dir.path().join("data"), dir.path().join("run"));
    data_set(&data);
    assert!(train_on(&data, &run, &[]).status.success());
    fs::rename(&data, dir.path().join("moved")).unwrap();
    refused(&lae(&["train", "--resume", path(&run)]), &["data", "no such folder"]);
}

/// A model in half the bytes judges as the whole one does.
#[test]
fn a_model_is_exported_in_another_type_and_used() {
    let dir = tempfile::tempdir().unwrap();
    let (run, model) = (dir.path().join("run"), finished().join("model.safetensors"));
    copy_of_run(&run);
    let picture = dir.path().join("p.png");
    Picture::from_fn(40, 40, |x, y| [(7 * x) as u8, (5 * y) as u8, (x * y) as u8]).save(&picture).unwrap();
    let p_fake = || {
        let said = text(&ok(&["detect", path(&run), path(&picture), "--json"]).stdout);
        said.split("\"p_fake\":").nth(1).unwrap().split([',', '}']).next().unwrap().parse::<f64>().unwrap()
    };
    let (whole, bytes) = (p_fake(), fs::metadata(&model).unwrap().len());
    for (dtype, bound) in [("f16", 1e-2), ("bf16", 5e-2), ("f32", 0.0)] {
        let out = dir.path().join(format!("{dtype}.safetensors"));
        let said = text(&ok(&["export", path(&run), "--dtype", dtype, "--out", path(&out)]).stdout);
        assert!(said.contains(dtype) && said.contains("tensors"), "{said}");
        let size = fs::metadata(&out).unwrap().len();
        assert!((size < bytes) == (dtype != "f32"), "{size} of {bytes} bytes");
        fs::copy(&out, run.join("model.safetensors")).unwrap();
        let p = p_fake();
        assert!((p - whole).abs() <= bound, "{dtype}: {p}, not {whole}");
        if dtype == "bf16" {
            ok(&["eval", path(&run)]);
        }
        fs::copy(&model, run.join("model.safetensors")).unwrap();
    }
    let taken = path(&model);
    refused(&lae(&["export", path(&run), "--out", taken]), &["model.safetensors", "exists", "--out"]);
    let out = dir.path().join("new.safetensors");
    refused(&lae(&["export", path(&run), "--dtype", "f64", "--out", path(&out)]), &["--dtype", "f64", "f32, f16 or bf16"]);
    refused(&lae(&["export", path(dir.path()), "--out", path(&out)]), &["model.safetensors", "check the path"]);
    assert!(!out.exists());
}

/// Names and contents of a run's files, TensorBoard's aside.
fn listing(run: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let files = fs::read_dir(run).unwrap().map(|e| e.unwrap().path()).filter(|p| p.is_file());
    files.map(|p| (p.clone(), fs::read(&p).unwrap())).collect()
}

/// A disk that is full, made by a limit on the size of files: writing beyond it fails with an error instead of a signal.
#[cfg(unix)]
fn limited(blocks: u32, args: &[&str]) -> Output {
    let script = format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$0\" \"$@\"");
    std::process::Command::new("sh")
        .arg("-c")
        .arg(script)
        .arg(env!("CARGO_BIN_EXE_lae-engine"))
        .args(args)
        .output()
        .expect("sh runs")
}

#[cfg(unix)]
#[test]
fn a_full_disk_is_an_error_and_the_run_goes_on_once_there_is_room() {
    let dir = tempfile::tempdir().unwrap();
    let whole = dir.path().join("whole");
    train(&whole, &["--set", "train.save_minutes=0"]);
    // Blocks of 512 bytes: room for nothing; for the configuration and the log, but not for a checkpoint.
    for blocks in [0, 16] {
        let run = dir.path().join(format!("full-{blocks}"));
        let out = limited(blocks, &["train", "--preset", "smoke", "--out", path(&run), "--set", "train.save_minutes=0"]);
        println!("{blocks}: {}", text(&out.stderr).lines().last().unwrap_or_default());
        refused(&out, &[path(&run), "make room", "--resume"]);
        if blocks == 0 {
            assert!(!run.exists(), "an empty folder stayed");
            continue;
        }
        let half = fs::read_dir(&run).unwrap().filter(|e| e.as_ref().unwrap().path().to_string_lossy().ends_with(".tmp")).count();
        assert_eq!(half, 0, "half a file stayed");
        ok(&["train", "--resume", path(&run)]);
        same(&whole, &run);
    }
    // A resumed run that finds no room keeps the checkpoint that it started from.
    let run = dir.path().join("later");
    kill_when(&run, || lines(&run) >= 5);
    let kept = fs::read(run.join("resume.safetensors")).unwrap();
    refused(&limited(1000, &["train", "--resume", path(&run)]), &["resume.safetensors", "make room"]);
    assert!(fs::read(run.join("resume.safetensors")).unwrap() == kept, "the checkpoint changed");
    ok(&["train", "--resume", path(&run)]);
    same(&whole, &run);
    // Other writers.
    let heat = dir.path().join("heat");
    let picture = dir.path().join("p.png");
    Picture::from_fn(300, 300, |x, y| [(x * y) as u8, x as u8, y as u8]).save(&picture).unwrap();
    let out = limited(1, &["detect", path(finished()), path(&picture), "--heatmaps", path(&heat)]);
    assert!(out.status.code() == Some(2) && text(&out.stderr).contains("make room"), "{}", text(&out.stderr));
    let set = dir.path().join("set");
    refused(&limited(1, &["forge", "--out", path(&set), "--count", "8", "--size", "64"]), &[path(&set), "make room"]);
}

fn lines(run: &Path) -> usize {
    fs::read(run.join("metrics.jsonl")).map_or(0, |b| b.iter().filter(|c| **c == b'\n').count())
}

/// Trains the smoke preset with a checkpoint after every step and kills it (SIGKILL) as soon as `moment` comes. Returns whether
/// it came before the end.
#[cfg(unix)]
fn kill_when(run: &Path, moment: impl Fn() -> bool) -> bool {
    use std::os::unix::process::ExitStatusExt;
    let mut c = command();
    match run.exists() {
        true => c.args(["train", "--resume", path(run)]),
        false => c.args(["train", "--preset", "smoke", "--out", path(run), "--set", "train.save_minutes=0"]),
    };
    let mut child = c.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the binary runs");
    let start = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            assert!(status.success(), "{status}");
            return false;
        }
        if moment() {
            child.kill().unwrap();
            return child.wait().unwrap().signal() == Some(9);
        }
        assert!(start.elapsed() < Duration::from_secs(120), "the moment never came");
        std::thread::sleep(Duration::from_micros(200));
    }
}

#[cfg(unix)]
#[test]
fn a_run_that_is_killed_at_any_moment_resumes_to_the_same_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let whole = dir.path().join("whole");
    train(&whole, &["--set", "train.save_minutes=0"]);
    let run = |name: &str| dir.path().join(name);
    type Moment = fn(&Path) -> bool;
    // 2 epochs of 8 steps and a validation, the selection, 2 epochs of 8 steps.
    let moments: Vec<(&str, Moment)> = vec![
        ("before the first step", |r| r.join("config.toml").exists()),
        ("after the first step", |r| lines(r) >= 1),
        ("within epoch 1", |r| lines(r) >= 5),
        ("at its end", |r| lines(r) >= 9),
        ("while a checkpoint is written", |r| lines(r) >= 3 && r.join("resume.safetensors.tmp").exists()),
        ("within epoch 2", |r| lines(r) >= 13),
        ("at the end of stage 1", |r| lines(r) >= 18),
        ("as stage 2 starts", |r| r.join("selection.json").exists()),
        ("within stage 2", |r| lines(r) >= 25),
        ("at the evaluation", |r| r.join("model.safetensors").exists()),
    ];
    let mut killed = 0;
    for (name, moment) in moments {
        let run = run(name);
        killed += kill_when(&run, || moment(&run)) as usize;
        ok(&["train", "--resume", path(&run)]);
        same(&whole, &run);
        assert!(run.join("report.html").is_file(), "{name}");
    }
    // One run, killed again and again, a little later each time.
    let often = run("often");
    for n in [2, 7, 15, 21, 30] {
        killed += kill_when(&often, || lines(&often) >= n && n > 0) as usize;
    }
    ok(&["train", "--resume", path(&often)]);
    same(&whole, &often);
    // A kill that came too late proves nothing; nearly all must have come in time.
    assert!(killed >= 12, "only {killed} of 15 runs were killed before their end");
    // A finished run that is resumed makes its report again and changes nothing else.
    ok(&["train", "--resume", path(&often)]);
    same(&whole, &often);
}

#[cfg(unix)]
#[test]
fn output_that_nobody_reads_is_no_error() {
    let run = finished();
    let binary = env!("CARGO_BIN_EXE_lae-engine");
    let sh = |script: String| std::process::Command::new("sh").arg("-c").arg(script).output().expect("sh runs");
    for args in ["describe", "doctor", &format!("eval {}", path(run))] {
        let out = sh(format!("\"{binary}\" {args} | true"));
        assert!(!text(&out.stderr).contains("panicked"), "{args}: {}", text(&out.stderr));
        let out = sh(format!("exec \"{binary}\" {args} > /dev/full"));
        refused(&out, &["standard output", "make room"]);
    }
}
