//! The whole report from TEST DATA: invented scores, maps and pictures, which say nothing about any model.
//!
//! The page is left in `target/tmp/report-test/report.html` to look at.

use lae_engine::core::rng::{Rng, stream};
use lae_engine::metrics::{Bootstrap, Calibration, ConstantMap, LocalisationSet, RankedMap, Scored};
use lae_engine::report::data::{duration, thousands};
use lae_engine::report::{
    CalibrationSection, Candidate, Chart, DetectionRow, Gallery, GalleryItem, KeyValue, LocalisationRow, ModelKey, Origin,
    Picture, ReportData, Rgb, Series, html, table,
};

const SIDE: usize = 64;
const HOW: Bootstrap = Bootstrap { resamples: 300, seed: 0 };

fn rng(index: u64) -> Rng {
    Rng::new(11, stream("report test"), index)
}

/// Scores of 300 pictures, two per photograph; `shift` 0 is guessing.
fn scored(shift: f64, index: u64) -> Scored {
    let mut rng = rng(index);
    let mut set = Scored::new();
    for i in 0..300u64 {
        let fake = i % 2 == 1;
        let s = (0.5 + 0.12 * rng.normal() as f64 + if fake { shift } else { -shift }).clamp(0.0, 1.0);
        set.push(s, fake, s >= 0.5, Some(i / 2));
    }
    set
}

fn square(x: usize, y: usize, r: usize) -> Vec<bool> {
    (0..SIDE * SIDE).map(|i| (i % SIDE).abs_diff(x) < r && (i / SIDE).abs_diff(y) < r).collect()
}

fn masks(n: usize, central: bool, index: u64) -> Vec<Vec<bool>> {
    let mut rng = rng(index);
    (0..n)
        .map(|_| if central { square(32, 32, 16) } else { square(14 + rng.below(36), 14 + rng.below(36), 8 + rng.below(5)) })
        .collect()
}

/// A 16×16 map that sees the mask with some strength, brought to size.
fn map(mask: &[bool], strength: f32, index: u64) -> Vec<f32> {
    let mut rng = rng(index);
    let small: Vec<f32> =
        (0..256).map(|i| strength * mask[(i / 16 * 4 + 2) * SIDE + i % 16 * 4 + 2] as u8 as f32 + rng.range(0.0, 0.6)).collect();
    lae_engine::report::heatmap::bilinear(&small, 16, 16, SIDE, SIDE).unwrap()
}

fn maps(masks: &[Vec<bool>], strength: f32) -> LocalisationSet {
    let maps: Vec<Vec<f32>> = masks.iter().zip(0..).map(|(m, i)| map(m, strength, i)).collect();
    let all: Vec<(&[f32], &[bool], _)> = maps.iter().zip(masks).zip(0..).map(|((a, m), g)| (&a[..], &m[..], Some(g))).collect();
    LocalisationSet::of(&all).unwrap()
}

/// A stage of the one model of these tests.
fn stage(n: usize) -> ModelKey {
    ModelKey::new("lae", format!("stage {n}"))
}

fn localisation(split: Origin, method: &str, central: bool, strengths: (f32, f32)) -> LocalisationRow {
    let mut constant = ConstantMap::new();
    masks(200, central, 900).iter().for_each(|m| constant.add(m).unwrap());
    let constant = RankedMap::new(&constant.map().unwrap()).unwrap();
    let test = masks(80, central, 901);
    let pairs: Vec<(&[bool], _)> = test.iter().zip(0..).map(|(m, g)| (&m[..], Some(g))).collect();
    let baseline = LocalisationSet::of_constant(&constant, &pairs).unwrap();
    let (a, b) = (maps(&test, strengths.0), maps(&test, strengths.1));
    LocalisationRow::new(split, method, &[(stage(1), a), (stage(2), b)], Some(&baseline), &HOW).unwrap()
}

/// A picture of nothing: two colour ramps and some grain.
fn picture(index: u64) -> Rgb {
    let mut rng = rng(index);
    let (a, b) = (rng.range(0.3, 2.0), rng.range(0.3, 2.0));
    let data = (0..SIDE * SIDE)
        .flat_map(|i| {
            let (x, y) = ((i % SIDE) as f32 / SIDE as f32, (i / SIDE) as f32 / SIDE as f32);
            let grain = rng.range(-12.0, 12.0);
            [200.0 * x.powf(a), 160.0 * y + 40.0 * (9.0 * b * x).sin(), 220.0 * (1.0 - x * y)]
                .map(|c| (c + grain).clamp(0.0, 255.0) as u8)
        })
        .collect();
    Rgb::new(SIDE, SIDE, data).unwrap()
}

fn item(name: &str, index: u64) -> GalleryItem {
    let (p, mask) = (picture(index), &masks(1, false, index)[0]);
    let (before, after) = (map(mask, 0.2, index), map(mask, 1.2, index));
    GalleryItem::with_maps(name, &p, Some(mask), &[(&stage(1), before, 0.71), (&stage(2), after, 0.93)]).unwrap()
}

fn curve(name: &str, from: f64, to: f64, n: u64, index: u64) -> Series {
    let mut rng = rng(index);
    let y = |i: u64, noise: f32| to + (from - to) * (-4.0 * i as f64 / n as f64).exp() + 0.02 * noise as f64;
    Series::from_points(name, (0..n).map(|i| (i as f64 * 3.0, y(i, rng.normal()).max(1e-3))))
}

/// 40 genuine pictures and 160 fakes, whose raw `p_fake` is too sure of itself.
fn calibration() -> CalibrationSection {
    let mut rng = rng(77);
    let scores: Vec<(f64, bool)> = (0..200).map(|i| (rng.normal() as f64 + if i < 40 { 0.0 } else { 2.0 }, i >= 40)).collect();
    let mut figures = Calibration::fit(&scores).unwrap();
    let raw: Vec<(f64, bool)> = scores.iter().map(|s| (1.0 / (1.0 + (-6.0 * s.0).exp()), s.1)).collect();
    figures.compare_with(&raw).unwrap();
    let pictures = "40 invented photographs at their own size, each once genuine and forged in four ways";
    CalibrationSection { model: "lae, stage 2".into(), pictures: pictures.into(), figures }
}

fn report() -> ReportData {
    let chart = |title: &str, log_y, series| Chart {
        title: title.into(),
        x_label: "step".into(),
        y_label: "loss".into(),
        log_y,
        series,
        ..Chart::default()
    };
    let row = |split, method: &str, a, b, index| {
        let scores = [(stage(1), scored(a, index)), (stage(2), scored(b, index + 100))];
        DetectionRow::new(split, method, &scores, &HOW).unwrap()
    };
    let mut unseen = row(Origin::Unseen, "patchmatch", 0.005, 0.06, 2);
    unseen.note = "exemplar fill".into();
    ReportData {
        title: "TEST DATA: not a result of any model".into(),
        task: "inpainting".into(),
        preset: "small".into(),
        seed: 1,
        device: "CPU, 2 threads".into(),
        version: "0.1.0".into(),
        command: "lae-engine train --task inpainting --preset small --annotations 200 --select active --seed 1".into(),
        notices: vec![
            "TEST DATA: all figures and pictures on this page are invented to test the page.".into(),
            "The comparator network (VGG-16) has random weights.".into(),
            "All seen fakes carry a planted checkerboard of ±3 grey levels.".into(),
        ],
        provenance: vec![
            KeyValue::new("Photographs", "built-in procedural pictures, seed 1"),
            KeyValue::new("Seen forger", "telea"),
            KeyValue::new("Splits", "by photograph: 40 / 8 / 12"),
        ],
        calibration: Some(calibration()),
        detection: vec![
            row(Origin::Seen, "telea", 0.22, 0.22, 1),
            unseen,
            row(Origin::Unseen, "poisson <clone> & co", -0.003, 0.004, 3),
        ],
        localisation: vec![
            localisation(Origin::Seen, "telea", false, (0.1, 1.0)),
            localisation(Origin::Unseen, "patchmatch", false, (0.05, 0.12)),
            localisation(Origin::Unseen, "central holes", true, (0.1, 1.0)),
        ],
        galleries: vec![
            Gallery {
                heading: "Seen: telea".into(),
                items: (0..2).map(|i| item(&format!("crop {i} of photo-a.jpg"), i)).collect(),
            },
            Gallery {
                heading: "Unseen: patchmatch".into(),
                items: (2..4).map(|i| item(&format!("crop {i} of photo-b.jpg"), i)).collect(),
            },
        ],
        curves: vec![
            chart(
                "Stage 1: losses",
                false,
                vec![
                    curve("latent", 1.0, 0.2, 900, 20),
                    curve("pixel", 0.6, 0.1, 900, 21),
                    curve("perceptual", 0.8, 0.4, 900, 22),
                    curve("adversarial", 0.7, 0.69, 900, 23),
                ],
            ),
            chart("Stage 1: validation", false, vec![curve("latent", 1.0, 0.3, 9, 24), curve("accuracy", 0.5, 0.93, 9, 25)]),
            chart("Stage 2: losses", true, vec![curve("attention", 0.34, 0.02, 300, 26), curve("latent", 0.2, 0.15, 300, 27)]),
        ],
        candidates: (0..9)
            .map(|i| Candidate {
                name: format!("crop {i}"),
                score: Some(0.99 - 0.01 * i as f64),
                mask: "mask by a person".into(),
                picture: Picture::new(&picture(50 + i), format!("candidate {i}")).unwrap(),
            })
            .collect(),
        candidates_note: "Active: fakes with the highest sum over the channels that the concept model ranks first.".into(),
        config: vec![KeyValue::new("train.lr", 2e-4), KeyValue::new("cam.norm", "minmax"), KeyValue::new("data.fresh", true)],
        timings: vec![KeyValue::new("Stage 1", duration(187.4)), KeyValue::new("Evaluation", duration(0.35))],
        parameters: vec![KeyValue::new("Encoder", thousands(5_183_808)), KeyValue::new("Decoder", thousands(1_224_555))],
        ..ReportData::default()
    }
}

#[test]
fn the_page_is_whole_and_stands_alone() {
    let folder = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("report-test");
    std::fs::create_dir_all(&folder).unwrap();
    let data = report();
    data.save(&folder).unwrap();
    let page = std::fs::read_to_string(folder.join("report.html")).unwrap();
    println!("{}\n{} bytes", table::summary(&data), page.len());

    // Made again from its data, the page is the same.
    let again = ReportData::load(folder.join("report.json")).unwrap();
    assert!(html::render(&again) == page);

    // No request, no script, no unescaped name.
    let without_pictures = page.replace("data:image/png;base64,", "");
    assert!(!page.contains("<script") && !without_pictures.contains("http://") && !without_pictures.contains("https://"));
    assert!(!page.contains("<clone>") && page.contains("poisson &lt;clone&gt; &amp; co"));
    assert_eq!(page.matches("<img").count(), page.matches(" alt=\"").count());
    assert!(!page.contains("NaN") && !page.contains(">inf"));

    // Every part is there, notices first.
    let at = |s: &str| page.find(s).unwrap_or_else(|| panic!("{s} is not on the page"));
    assert!(at("Read this first") < at("random weights") && at("random weights") < at("id=\"detection\""));
    for id in ["detection", "localisation", "maps", "curves", "candidates", "data", "run", "terms"] {
        at(&format!("<section id=\"{id}\""));
    }
    // The table shows the figures that the data hold, with their intervals.
    let d = &data.detection[0].models[0].figures;
    at(&format!("<td>{}<small>{}</small></td>", d.auc.percent_value(), d.auc.percent_bounds()));
    at("<td>300<small>150 + 150</small></td>");
    at("5\u{202f}183\u{202f}808");
    at("3 min 07 s");
}

#[test]
fn a_map_that_does_not_beat_the_constant_is_called_so() {
    let data = report();
    let [seen, unseen, central] = &data.localisation[..] else { panic!() };
    assert_eq!(seen.warning(), None);
    assert!(unseen.warning().unwrap().contains("not better than a constant map"), "{:?}", unseen.warning());
    assert!(central.warning().unwrap().contains("reaches an IoU of 1.00"), "{:?}", central.warning());
    let page = html::render(&data);
    assert!(page.contains("not better than a constant map"));
    let text = table::summary(&data);
    assert!(text.contains("warning: Unseen fakes (patchmatch), lae, stage 2"), "{text}");
}

#[test]
fn sentences_say_when_it_is_guessing() {
    let s = report().sentences();
    assert!(s[0].starts_with("On the forger seen in training (telea), 9") && !s[0].contains("guessing"), "{s:?}");
    assert!(s[2].contains("cannot be told from guessing") && s[2].contains("did not clearly change it"), "{s:?}");
    assert!(s[1].contains("Stage 2 raised it by"), "{s:?}");
    assert!(s[3].contains("on telea, but not on patchmatch and central holes"), "{s:?}");
}

/// Nine methods stand in one table; a change is between stages of one method only, and sentences name theirs.
#[test]
fn a_table_holds_several_methods() {
    let keys = ["suppress", "residual", "stats", "meso", "xception", "transfer", "a", "b"].map(|m| ModelKey::new(m, ""));
    let mut scores: Vec<_> = keys.iter().cloned().zip((0..).map(|i| scored(0.2, i))).collect();
    scores.extend([(stage(1), scored(0.1, 50)), (stage(2), scored(0.4, 150))]);
    let row = DetectionRow::new(Origin::Seen, "telea", &scores, &HOW).unwrap();
    let changes: Vec<&str> = row.models.iter().filter(|m| m.change.is_some()).map(|m| m.key.stage.as_str()).collect();
    assert_eq!((row.models.len(), row.last_stages().count(), changes), (10, 9, vec!["stage 2"]));
    let data = ReportData { detection: vec![row], ..ReportData::default() };
    let (page, text) = (html::render(&data), table::summary(&data));
    for key in keys.iter().map(ModelKey::label).chain(["lae, stage 1".into(), "lae, stage 2".into()]) {
        assert!(page.contains(&format!(">{key}<")) && text.contains(&key), "{key} is missing");
    }
    let s = data.sentences();
    assert!(s.len() == 9 && s[3].contains("verdicts of meso are right") && s[8].contains("of lae, stage 2"), "{s:?}");
    // The rows come back from their JSON.
    let again: ReportData = serde_json::from_str(&serde_json::to_string(&data).unwrap()).unwrap();
    let keys = |d: &ReportData| d.detection[0].models.iter().map(|m| m.key.clone()).collect::<Vec<_>>();
    assert_eq!(keys(&again), keys(&data));
}

#[test]
fn missing_parts_are_left_out() {
    let empty = html::render(&ReportData::default());
    assert!(empty.contains("no test figures yet") && !empty.contains("<table") && !empty.contains("<img"));
    let mut data = report();
    for row in &mut data.detection {
        row.models.truncate(1);
    }
    for row in &mut data.localisation {
        row.models.truncate(1);
        (row.models[0].gain, row.constant) = (None, None);
    }
    data.galleries.truncate(1);
    data.calibration = None;
    data.galleries[0].items = vec![GalleryItem::with_maps("x", &picture(1), None, &[]).unwrap()];
    let page = html::render(&data);
    assert!(page.contains("no constant map to compare with"));
    assert!(!page.contains(">change<") && !page.contains("stage 2"));
    assert!(table::summary(&data).lines().count() > 6);
    // An older or hand-written report.json may lack any field.
    let few: ReportData = serde_json::from_str(r#"{"title": "t"}"#).unwrap();
    assert_eq!(few.title, "t");
}

#[test]
fn a_broken_report_file_is_an_error_that_names_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("report.json");
    assert!(ReportData::load(&path).is_err());
    std::fs::write(&path, "{").unwrap();
    let e = ReportData::load(&path).unwrap_err().to_string();
    assert!(e.contains("report.json") && e.contains("not a report"), "{e}");
}
