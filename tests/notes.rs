//! Notes about pictures and masks through the real binary: beside a verdict, and counted in a data set.

mod binary;

use std::fs;
use std::path::{Path, PathBuf};

use binary::{lae, ok, path, text, train};
use image::ImageEncoder;
use lae_engine::data::procedural::photograph;
use lae_engine::data::{Mask, Picture};

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

    // What chunks of a PNG file say of its colours; a frame of MJPEG video, which has no Huffman tables, is a picture like any
    // other.
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

/// A data set of 8 pictures of each class in training and 4 in the others; its masks are the upper left corner.
fn data_set(data: &Path) {
    let mut photographs = 0..;
    for (part, n) in [("train", 8), ("val", 4), ("test", 4)] {
        for i in 0..n {
            for class in ["real", "fake", "mask"] {
                fs::create_dir_all(data.join(part).join(class)).unwrap();
                let file = data.join(part).join(class).join(format!("{i}.png"));
                match class {
                    "mask" => Mask::from_fn(40, 40, |x, y| x < 15 && y < 20).save(file).unwrap(),
                    _ => photograph(1, photographs.next().unwrap(), 40).save(file).unwrap(),
                }
            }
        }
    }
}

#[test]
fn a_data_set_counts_its_notes() {
    let dir = tempfile::tempdir().unwrap();
    let (data, run) = (dir.path().join("data"), dir.path().join("run"));
    data_set(&data);
    for i in 0..3 {
        Mask::from_fn(40, 40, |x, y| x > 14 || y > 19).save(data.join(format!("train/mask/{i}.png"))).unwrap();
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

/// The lines of `data check` with the given level and name.
fn checked(args: &[&str], code: i32) -> impl Fn(&str, &str) -> String + use<> {
    let out = lae(&[&["data", "check", "--json"], args].concat());
    assert_eq!(out.status.code(), Some(code), "{}{}", text(&out.stdout), text(&out.stderr));
    let lines: Vec<serde_json::Value> = text(&out.stdout).lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    move |level, what| {
        let line = lines.iter().find(|l| l["what"] == what && l["level"] == level);
        let line = line.unwrap_or_else(|| panic!("{level} {what} in {lines:#?}"));
        assert!(level == "green" || !line["remedy"].as_str().unwrap().is_empty(), "{line}");
        line["found"].as_str().unwrap().to_string()
    }
}

#[test]
fn data_check_says_what_was_taken_for_forged() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    data_set(&data);
    checked(&[path(&data)], 0)("green", "mask coverage");
    let mask = |i: usize| data.join(format!("train/mask/{i}.png"));
    let forged = |x: u32, y: u32| x < 15 && y < 20;
    let draw = |i: usize, f: &dyn Fn(u32, u32) -> [u8; 4]| {
        image::RgbaImage::from_fn(40, 40, |x, y| image::Rgba(f(x, y))).save(mask(i)).unwrap();
    };
    let of = |yes: [u8; 4], no: [u8; 4]| move |x, y| if forged(x, y) { yes } else { no };
    draw(0, &of([0, 0, 0, 255], [255; 4])); // inverted
    draw(1, &of([255, 0, 0, 255], [0, 255, 0, 255]));
    draw(2, &|x, y| [if forged(x, y) { 255 } else { 100 * (x < 22) as u8 }, 0, 0, 255]); // values between
    draw(3, &of([0; 4], [0, 0, 0, 255])); // a hole
    // A picture that its orientation turns, and a mask of the stored shape.
    let mut turned = Vec::new();
    let mut encoder = image::codecs::png::PngEncoder::new(&mut turned);
    encoder.set_exif_metadata(b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0".to_vec()).unwrap();
    let p = photograph(1, 99, 40).crop(0, 0, 40, 20);
    encoder.write_image(&p.rgb, 40, 20, image::ExtendedColorType::Rgb8).unwrap();
    fs::write(data.join("train/fake/7.png"), turned).unwrap();
    Mask::from_fn(40, 20, |x, y| x < 9 && y < 9).save(mask(7)).unwrap();
    checked(&[path(&data)], 0)("green", "unreadable");
    draw(4, &|x, y| [6 * x as u8, 6 * y as u8, (x * y) as u8, 255]); // as many colours and, next, grey values as a photograph
    image::GrayImage::from_fn(40, 40, |x, y| image::Luma([20 + ((5 * x + 3 * y + x * y) % 216) as u8])).save(mask(5)).unwrap();
    draw(6, &of([0, 0, 255, 255], [255; 4])); // blue on white
    let line = checked(&[path(&data)], 1);
    for (level, what, words) in [
        ("yellow", "inverted masks", "1 (train/mask/0.png): the mask covers 81 % of the picture"),
        ("yellow", "coloured masks", "1 (train/mask/1.png): red was taken for forged, green for genuine"),
        ("yellow", "grey masks", "1 (train/mask/2.png): "),
        ("yellow", "mask holes", "1 (train/mask/3.png): its transparent pixels were taken for forged (a hole)"),
        ("yellow", "turned masks", "1 (train/mask/7.png): the mask has the shape of the stored pixels"),
        ("red", "no masks", "1 (train/mask/4.png): refused, it looks like a photograph"),
        ("red", "mask colours", "1 (train/mask/6.png): refused, the colours of the mask are white and blue"),
    ] {
        let found = line(level, what);
        assert!(found.starts_with(words), "{what}: {found}");
    }
    // A grey photograph opens, and is red all the same.
    fs::copy(data.join("val/mask/1.png"), mask(4)).unwrap();
    let found = checked(&[path(&data)], 1)("red", "no masks");
    assert!(found.starts_with("1 (train/mask/5.png): it looks like a grey photograph"), "{found}");
    let table = text(&lae(&["data", "check", path(&data)]).stdout);
    assert!(table.lines().any(|l| l.starts_with("red     no masks         1 (train/mask/5.png)")), "{table}");
}

#[test]
fn data_check_looks_at_photographs() {
    let dir = tempfile::tempdir().unwrap();
    let photos = dir.path().join("photos");
    fs::create_dir_all(photos.join("deep")).unwrap();
    let at = |n: &str| photos.join(n);
    (0..50).for_each(|i| photograph(3, i, 70).save(at(&format!("deep/{i}.png"))).unwrap());
    let line = checked(&["--photos", path(&photos)], 0);
    for what in ["photographs", "unreadable", "sizes", "not in the data", "same twice"] {
        line("green", what);
    }
    assert!(line("green", "photographs").starts_with("50 different ones"));
    // One of each fault.
    fs::write(at("broken.png"), "no picture").unwrap();
    fs::write(at("phone.heic"), b"\0\0\0\x18ftypheic").unwrap();
    fs::copy(at("deep/1.png"), at("again.png")).unwrap();
    Picture::open(at("deep/2.png")).unwrap().save(at("two.jpg")).unwrap();
    fs::copy(fixture("animated.gif"), at("animated.gif")).unwrap();
    image::RgbaImage::from_fn(64, 64, |x, y| image::Rgba([x as u8 * 3, y as u8 * 3, 90, 200])).save(at("clear.png")).unwrap();
    let line = checked(&["--photos", path(&photos)], 0);
    assert!(line("green", "photographs").starts_with("52 different ones"));
    for (what, words) in [
        ("unreadable", "of 55 pictures cannot be read: 1 (broken.png); the first: "),
        ("not in the data", "passed over: 1 HEIC"),
        ("same twice", "2 are copies of others and would be left out: "),
        ("frames", "1 (animated.gif): an animation of 3 frames: frame 1 was judged"),
        ("transparency", "1 (clear.png): 100.0 % of its pixels are transparent"),
    ] {
        let found = line("yellow", what);
        assert!(found.starts_with(words), "{what}: {found}");
    }
    let twice = line("yellow", "same twice");
    assert!(twice.contains("(the same file)") && twice.contains("(a copy)"), "{twice}");
    // Too few, none, and a data set in the place of photographs.
    let few = dir.path().join("few");
    fs::create_dir(&few).unwrap();
    photograph(3, 1, 70).save(few.join("1.png")).unwrap();
    assert!(checked(&["--photos", path(&few)], 1)("red", "photographs").starts_with("1 different"));
    fs::remove_file(few.join("1.png")).unwrap();
    let out = lae(&["data", "check", "--photos", path(&few)]);
    assert!(out.status.code() == Some(2) && text(&out.stderr).contains("holds no pictures"), "{}", text(&out.stderr));
    let set = dir.path().join("set");
    data_set(&set);
    let found = checked(&["--photos", path(&set)], 1)("red", "layout");
    assert!(found.contains("is a data set (train/real, train/fake, "), "{found}");
    let out = ok(&["forge", "--photos", path(&set), "--out", path(&dir.path().join("out")), "--count", "4", "--size", "32"]);
    assert!(text(&out.stderr).contains("forgeries and masks were taken for photographs"), "{}", text(&out.stderr));
    assert_eq!(lae(&["data", "check"]).status.code(), Some(2));
}
