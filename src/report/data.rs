//! Everything that a report shows, as plain data: written as `report.json` next to `report.html`, which can be made again from it.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::calibration::CalibrationSection;
use super::heatmap::{self, Rgb};
use crate::error::{Error, Result};
use crate::metrics::{Bootstrap, Change, Detection, Interval, Localisation, LocalisationSet, Scored};

/// A report. Every part may be empty: the page leaves it out and says so where that matters.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ReportData {
    pub title: String,
    /// The method in words: its name, what it is, the publication.
    pub detector: String,
    pub task: String,
    pub preset: String,
    pub seed: u64,
    /// The device in words: `CPU, 2 threads, AVX2`.
    pub device: String,
    pub version: String,
    /// The command line that makes this run again.
    pub command: String,
    /// What a reader must know before any figure: what was synthetic, random-weight, estimated. Shown at the very top.
    pub notices: Vec<String>,
    /// The outcome in sentences; empty: [`ReportData::sentences`] makes them from the tables.
    pub headline: Vec<String>,
    /// Where the data came from.
    pub provenance: Vec<KeyValue>,
    /// Who made the masks.
    pub masks: Vec<MaskRow>,
    pub detection: Vec<DetectionRow>,
    pub localisation: Vec<LocalisationRow>,
    /// What the scores are worth, from validation pictures.
    pub calibration: Option<CalibrationSection>,
    /// Photographs at their own size, where the model judges such.
    pub full_size: Option<FullSizeSection>,
    pub galleries: Vec<Gallery>,
    pub curves: Vec<Chart>,
    /// Pictures chosen for annotation, in the order of choice.
    pub candidates: Vec<Candidate>,
    /// How they were chosen, in a sentence.
    pub candidates_note: String,
    /// The resolved configuration.
    pub config: Vec<KeyValue>,
    pub timings: Vec<KeyValue>,
    /// Networks and their numbers of parameters.
    pub parameters: Vec<KeyValue>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct KeyValue {
    pub key: String,
    pub value: String,
}

impl KeyValue {
    pub fn new(key: impl Into<String>, value: impl ToString) -> KeyValue {
        KeyValue { key: key.into(), value: value.to_string() }
    }
}

/// Whether the forger of a test set made the training fakes too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    Seen,
    Unseen,
}

impl Origin {
    pub fn name(self) -> &'static str {
        match self {
            Origin::Seen => "seen",
            Origin::Unseen => "unseen",
        }
    }
    /// To begin a line with.
    pub fn title(self) -> &'static str {
        match self {
            Origin::Seen => "Seen",
            Origin::Unseen => "Unseen",
        }
    }
}

/// Which model a figure belongs to: a method and, where its stages are told apart, the stage that the weights come from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelKey {
    pub model: String,
    /// Empty for a method with one stage.
    #[serde(default)]
    pub stage: String,
}

impl ModelKey {
    pub fn new(model: impl Into<String>, stage: impl Into<String>) -> ModelKey {
        ModelKey { model: model.into(), stage: stage.into() }
    }
    /// `lae, stage 2`, or `meso`.
    pub fn label(&self) -> String {
        if self.stage.is_empty() { self.model.clone() } else { format!("{}, {}", self.model, self.stage) }
    }
}

/// Detection of one model on one test set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModelDetection {
    #[serde(flatten)]
    pub key: ModelKey,
    pub figures: Detection,
    /// These figures minus those of the model's stage before, on the same pictures.
    pub change: Option<Change>,
}

/// Detection on one test set, by model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DetectionRow {
    pub split: Origin,
    /// Forging method.
    pub method: String,
    /// What tells this set from others of the same method: `without the trace`.
    #[serde(default)]
    pub note: String,
    pub models: Vec<ModelDetection>,
}

impl DetectionRow {
    /// `scores`: what every model says of the same pictures; stages of a model follow each other.
    pub fn new(split: Origin, method: impl Into<String>, scores: &[(ModelKey, Scored)], how: &Bootstrap) -> Result<DetectionRow> {
        let mut models = Vec::new();
        for (i, (key, scored)) in scores.iter().enumerate() {
            let before = i.checked_sub(1).map(|i| &scores[i]).filter(|b| b.0.model == key.model);
            let change = before.map(|(_, b)| Change::between(b, scored, how)).transpose()?;
            models.push(ModelDetection { key: key.clone(), figures: Detection::of(scored, how)?, change });
        }
        Ok(DetectionRow { split, method: method.into(), note: String::new(), models })
    }

    /// Every model after its last stage.
    pub fn last_stages(&self) -> impl Iterator<Item = &ModelDetection> {
        let is_last = |i: usize| self.models.get(i + 1).is_none_or(|next| next.key.model != self.models[i].key.model);
        self.models.iter().enumerate().filter(move |(i, _)| is_last(*i)).map(|(_, m)| m)
    }
}

/// The map of one model on one test set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModelMaps {
    #[serde(flatten)]
    pub key: ModelKey,
    pub figures: Localisation,
    /// What the map gains over the constant map, picture by picture.
    pub gain: Option<Localisation>,
    /// These figures minus those of the model's stage before, on the same pictures.
    pub change: Option<Localisation>,
}

/// Localisation on the fakes of one test set, by model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LocalisationRow {
    pub split: Origin,
    pub method: String,
    #[serde(default)]
    pub note: String,
    /// The mean training mask on the same pictures.
    pub constant: Option<Localisation>,
    pub models: Vec<ModelMaps>,
}

/// The four figures that decide whether a map beats the constant one.
fn judged(l: &Localisation) -> [(&'static str, &Interval); 4] {
    [("pixel AUC", &l.auc), ("IoU at 0.5", &l.iou_half), ("best IoU", &l.iou_best), ("energy in mask", &l.energy)]
}

/// From this IoU on the holes of a set lie in so much the same place that finding them proves little.
const CONSTANT_IOU_TOO_GOOD: f64 = 0.6;

impl LocalisationRow {
    /// `maps`: what every model shows on the same pictures; stages of a model follow each other.
    pub fn new(
        split: Origin,
        method: impl Into<String>,
        maps: &[(ModelKey, LocalisationSet)],
        constant: Option<&LocalisationSet>,
        how: &Bootstrap,
    ) -> Result<LocalisationRow> {
        let mut models = Vec::new();
        for (i, (key, set)) in maps.iter().enumerate() {
            let before = i.checked_sub(1).map(|i| &maps[i]).filter(|b| b.0.model == key.model);
            models.push(ModelMaps {
                key: key.clone(),
                figures: set.summary(how)?,
                gain: constant.map(|c| set.gain_over(c, how)).transpose()?,
                change: before.map(|(_, b)| set.gain_over(b, how)).transpose()?,
            });
        }
        let constant = constant.map(|c| c.summary(how)).transpose()?;
        Ok(LocalisationRow { split, method: method.into(), note: String::new(), constant, models })
    }

    /// The last model after its last stage.
    pub fn last(&self) -> Option<&ModelMaps> {
        self.models.last()
    }

    /// Plain words where the figures of the model must not be taken at face value; `None` where it clearly beats the constant map
    /// in all of pixel AUC, both IoU and energy in mask, and the constant map is poor.
    pub fn warning(&self) -> Option<String> {
        let (model, text) = self.doubt()?;
        Some(format!("{} fakes ({}), {model}: {text}", self.split.title(), named(&self.method, &self.note)))
    }

    /// [`LocalisationRow::warning`] without its place: the model and the words.
    fn doubt(&self) -> Option<(String, String)> {
        let last = self.last()?;
        let model = last.key.label();
        let (Some(gain), Some(constant)) = (&last.gain, &self.constant) else {
            return Some((model, "there is no constant map to compare with, so these figures cannot be judged.".into()));
        };
        let not: Vec<&str> = judged(gain).iter().filter(|(_, i)| i.lo <= 0.0).map(|(name, _)| *name).collect();
        let mut text = match not.len() {
            0 => String::new(),
            4 => "the attention map is not better than a constant map that never looks at the picture, by any of \
                  pixel AUC, IoU and energy in mask."
                .into(),
            _ => format!(
                "in {} the attention map is not clearly better than a constant map that never looks at the picture.",
                list(&not)
            ),
        };
        if constant.iou_best.value >= CONSTANT_IOU_TOO_GOOD {
            let more = format!(
                "The constant map alone reaches an IoU of {:.2} here: the forged regions lie in nearly the same place in all \
                 pictures. Holes at random places show whether a model finds them.",
                constant.iou_best.value
            );
            text = if text.is_empty() { lower_first(&more) } else { format!("{text} {more}") };
        }
        (!text.is_empty()).then_some((model, text))
    }
}

/// How often a model is right on a test set, whether that is more than guessing, and what its last stage changed.
fn detection_sentence(row: &DetectionRow, m: &ModelDetection, name_it: bool) -> String {
    let d = &m.figures;
    let kind = match row.split {
        Origin::Seen => "the forger seen in training",
        Origin::Unseen => "a forger never seen in training",
    };
    let chance = match (d.balanced.lo, d.balanced.hi) {
        (lo, _) if lo > 0.5 => "",
        (_, hi) if hi < 0.5 => ", which is worse than guessing",
        _ => ", which cannot be told from guessing",
    };
    let stage = format!("{}{}", m.key.stage.get(..1).unwrap_or("").to_uppercase(), m.key.stage.get(1..).unwrap_or(""));
    let change = match &m.change {
        Some(c) if c.accuracy.excludes_zero() => {
            let verb = if c.accuracy.value > 0.0 { "raised" } else { "lowered" };
            let points = c.accuracy.value.abs() * 100.0;
            format!(" {stage} {verb} it by {points:.1} points (95 % interval {}).", c.accuracy.points_bounds())
        }
        Some(c) => format!(" {stage} did not clearly change it ({} points).", c.accuracy.points()),
        None => String::new(),
    };
    let who = if name_it { format!(" of {}", m.key.label()) } else { String::new() };
    format!(
        "On {kind} ({}), {} of {} verdicts{who} are right{chance}.{change}",
        named(&row.method, &row.note),
        d.accuracy.percent(),
        d.real + d.fake
    )
}

/// `telea`, or `telea without the trace`.
fn named(method: &str, note: &str) -> String {
    if note.is_empty() { method.into() } else { format!("{method} {note}") }
}

/// To go on with after a colon.
pub fn lower_first(s: &str) -> String {
    let mut chars = s.chars();
    chars.next().map_or_else(String::new, |c| c.to_lowercase().chain(chars).collect())
}

/// `a`, `a and b`, `a, b and c`
fn list<S: AsRef<str>>(words: &[S]) -> String {
    let words: Vec<&str> = words.iter().map(AsRef::as_ref).collect();
    match &words[..] {
        [] => String::new(),
        [one] => one.to_string(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

/// A line chart.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Chart {
    pub title: String,
    pub x_label: String,
    pub y_label: String,
    pub log_y: bool,
    /// One sentence under the chart.
    pub note: String,
    pub series: Vec<Series>,
}

/// A named line. Points that are not finite are never stored.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Series {
    pub name: String,
    points: Vec<[f64; 2]>,
}

impl Series {
    pub fn new(name: impl Into<String>) -> Series {
        Series { name: name.into(), points: Vec::new() }
    }
    pub fn from_points(name: impl Into<String>, points: impl IntoIterator<Item = (f64, f64)>) -> Series {
        let mut s = Series::new(name);
        points.into_iter().for_each(|(x, y)| s.push(x, y));
        s
    }
    /// `x` is a step or an epoch. A point that is not finite is dropped: the line has a gap in time, not a hole to infinity.
    pub fn push(&mut self, x: f64, y: f64) {
        if x.is_finite() && y.is_finite() {
            self.points.push([x, y]);
        }
    }
    pub fn points(&self) -> &[[f64; 2]] {
        &self.points
    }
}

/// The test on photographs at their own size, some with a region regenerated.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct FullSizeSection {
    /// How a picture's score comes from its windows, which pictures were judged, and what the threshold promises: sentences.
    pub notes: Vec<String>,
    /// By forger and size of the region.
    pub detection: Vec<DetectionRow>,
    pub localisation: Vec<LocalisationRow>,
}

impl FullSizeSection {
    /// What a person with a photograph must know: `On photographs at their own size …`; none without rows.
    pub fn sentence(&self) -> Option<String> {
        let quarter = |r: &&DetectionRow| r.split == Origin::Seen && r.note.starts_with("25 ");
        let row = self.detection.iter().find(quarter).or(self.detection.first())?;
        let d = &row.models.last()?.figures;
        let unseen: Vec<f64> = self
            .detection
            .iter()
            .filter(|r| r.split == Origin::Unseen && r.note == row.note)
            .filter_map(|r| Some(r.models.last()?.figures.auc.value))
            .collect();
        let others = match (unseen.iter().copied().reduce(f64::min), unseen.iter().copied().reduce(f64::max)) {
            (Some(lo), Some(hi)) => format!(", and {lo:.2} to {hi:.2} for forgers never seen"),
            _ => String::new(),
        };
        Some(format!(
            "On {} photographs at their own size, regions of {} filled by {} are told from untouched photographs with an AUC of \
             {:.2} [{:.2}, {:.2}]{others}; {} of the regions are found, and {} of the untouched photographs are called fake.",
            d.real,
            row.note,
            row.method,
            d.auc.value,
            d.auc.lo,
            d.auc.hi,
            d.recall_fake.percent(),
            Interval { value: 1.0 - d.recall_real.value, lo: 1.0 - d.recall_real.hi, hi: 1.0 - d.recall_real.lo }.percent(),
        ))
    }
}

/// A PNG inside the report.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Picture {
    pub width: usize,
    pub height: usize,
    /// What a reader who cannot see it is told.
    pub alt: String,
    #[serde(with = "base64_bytes")]
    pub png: Vec<u8>,
}

impl Picture {
    pub fn new(rgb: &Rgb, alt: impl Into<String>) -> Result<Picture> {
        Ok(Picture { width: rgb.w, height: rgb.h, alt: alt.into(), png: rgb.png()? })
    }
}

mod base64_bytes {
    use base64::{Engine, engine::general_purpose::STANDARD};
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub fn serialize<S: Serializer>(bytes: &[u8], s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&STANDARD.encode(bytes))
    }
    pub fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Vec<u8>, D::Error> {
        STANDARD.decode(String::deserialize(d)?).map_err(D::Error::custom)
    }
}

/// Pictures under one heading: `Unseen: PatchMatch`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Gallery {
    pub heading: String,
    pub items: Vec<GalleryItem>,
}

/// One test picture and its maps, as in the paper's Fig. 4.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct GalleryItem {
    pub name: String,
    pub panels: Vec<Panel>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Panel {
    pub title: String,
    /// A caption such as `p_fake 0.93`.
    pub note: String,
    pub picture: Picture,
}

impl GalleryItem {
    /// Picture, forged region and the map of every model, with its `p_fake`; what is missing is left out. A map has the size of the
    /// picture or is a smaller square.
    pub fn with_maps(
        name: impl Into<String>,
        picture: &Rgb,
        mask: Option<&[bool]>,
        maps: &[(&ModelKey, Vec<f32>, f64)],
    ) -> Result<GalleryItem> {
        GalleryItem::of(name, picture, mask, maps, heatmap::overlay)
    }

    /// [`GalleryItem::with_maps`] of maps in [0, 1] that are not stretched.
    pub fn with_absolute_maps(
        name: impl Into<String>,
        picture: &Rgb,
        mask: Option<&[bool]>,
        maps: &[(&ModelKey, Vec<f32>, f64)],
    ) -> Result<GalleryItem> {
        GalleryItem::of(name, picture, mask, maps, heatmap::overlay_absolute)
    }

    fn of(
        name: impl Into<String>,
        picture: &Rgb,
        mask: Option<&[bool]>,
        maps: &[(&ModelKey, Vec<f32>, f64)],
        overlay: fn(&Rgb, &[f32]) -> Result<Rgb>,
    ) -> Result<GalleryItem> {
        let name = name.into();
        let panel = |title: &str, note: String, rgb: &Rgb| -> Result<Panel> {
            let alt = format!("{name}: {}{}{note}", title.to_lowercase(), if note.is_empty() { "" } else { ", " });
            Ok(Panel { title: title.to_string(), note, picture: Picture::new(rgb, alt)? })
        };
        let mut panels = vec![panel("Picture", String::new(), picture)?];
        if let Some(mask) = mask {
            let mut outlined = picture.clone();
            heatmap::outline(&mut outlined, mask)?;
            let share = mask.iter().filter(|&&m| m).count() as f64 / mask.len() as f64;
            panels.push(panel("Forged region", format!("{:.0} % of the picture", share * 100.0), &outlined)?);
        }
        for (key, map, p_fake) in maps {
            let title = format!("Map of {}", key.label());
            panels.push(panel(&title, format!("p_fake {p_fake:.2}"), &overlay(picture, map)?)?);
        }
        Ok(GalleryItem { name, panels })
    }
}

/// Masks of one use and one origin.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MaskRow {
    /// What they are used for: `train`, `stage 2: annotated fakes`.
    pub of: String,
    /// `forger`, `file` or `person`; `none` counts pictures without.
    pub origin: String,
    pub count: usize,
    /// Names of people, reasons.
    #[serde(default)]
    pub note: String,
}

/// A picture chosen for annotation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Candidate {
    pub name: String,
    /// Score of the ranking that chose it; `None` for a random choice.
    pub score: Option<f64>,
    /// Who made its mask, or why there is none: `mask by a person`.
    #[serde(default)]
    pub mask: String,
    pub picture: Picture,
}

impl ReportData {
    /// Reads a `report.json`.
    pub fn load(path: impl AsRef<Path>) -> Result<ReportData> {
        let path = path.as_ref();
        let bytes = std::fs::read(path).map_err(|e| Error::io(path, e))?;
        serde_json::from_slice(&bytes).map_err(|e| Error::data(path, format!("not a report: {e}")))
    }

    /// The outcome in sentences, from the tables: seen, each unseen method, what a later stage changed, whether the map is to be
    /// trusted. Where several models stand side by side each sentence names its own.
    pub fn sentences(&self) -> Vec<String> {
        let mut out: Vec<String> = self.full_size.as_ref().and_then(FullSizeSection::sentence).into_iter().collect();
        for row in &self.detection {
            let several = row.last_stages().count() > 1;
            for m in row.last_stages() {
                out.push(detection_sentence(row, m, several));
            }
        }
        out.extend(self.map_sentence());
        out
    }

    /// On which sets the attention map clearly beats the constant map, by pixel AUC.
    fn map_sentence(&self) -> Option<String> {
        let beats = |r: &LocalisationRow| Some((named(&r.method, &r.note), r.last()?.gain.as_ref()?.auc.lo > 0.0));
        let judged: Vec<(String, bool)> = self.localisation.iter().filter_map(beats).collect();
        let names =
            |won: bool| list(&judged.iter().filter(|(_, w)| *w == won).map(|(name, _)| name.as_str()).collect::<Vec<_>>());
        let claim = "By pixel AUC the attention map clearly beats a constant map that never looks at the picture";
        match (names(true), names(false)) {
            (won, lost) if won.is_empty() && lost.is_empty() => None,
            (won, lost) if lost.is_empty() => Some(format!("{claim} ({won}).")),
            (won, _) if won.is_empty() => Some(format!("{claim} on none of the test sets.")),
            (won, lost) => Some(format!("{claim} on {won}, but not on {lost}.")),
        }
    }

    /// All localisation warnings in plain words; what is said of several forgers is said once.
    pub fn warnings(&self) -> Vec<String> {
        let mut said: Vec<(Origin, String, String, Vec<String>)> = Vec::new();
        for row in &self.localisation {
            let Some((model, text)) = row.doubt() else { continue };
            match said.iter_mut().find(|s| (s.0, &s.1, &s.2) == (row.split, &model, &text)) {
                Some(s) => s.3.push(named(&row.method, &row.note)),
                None => said.push((row.split, model, text, vec![named(&row.method, &row.note)])),
            }
        }
        said.into_iter()
            .map(|(split, model, text, who)| format!("{} fakes ({}), {model}: {text}", split.title(), list(&who)))
            .collect()
    }
}

/// `5 183 808`, with narrow no-break spaces.
pub fn thousands(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (i, c) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push('\u{202f}');
        }
        out.push(c);
    }
    out
}

/// `350 ms`, `12.4 s`, `3 min 05 s`, `2 h 07 min`.
pub fn duration(seconds: f64) -> String {
    match seconds.max(0.0) {
        s if s < 0.9995 => format!("{:.0} ms", s * 1000.0),
        s if s < 59.95 => format!("{s:.1} s"),
        s if s < 3599.5 => format!("{} min {:02} s", s.round() as u64 / 60, s.round() as u64 % 60),
        s => format!("{} h {:02} min", (s / 60.0).round() as u64 / 60, (s / 60.0).round() as u64 % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_for_people() {
        assert_eq!(thousands(999), "999");
        assert_eq!(thousands(7_635_264), "7\u{202f}635\u{202f}264");
        assert_eq!(duration(0.35), "350 ms");
        assert_eq!(duration(0.9999), "1.0 s");
        assert_eq!(duration(59.97), "1 min 00 s");
        assert_eq!(duration(3599.9), "1 h 00 min");
        assert_eq!(duration(7620.0), "2 h 07 min");
    }

    #[test]
    fn a_series_holds_finite_points_only() {
        let s = Series::from_points("a", [(0.0, 1.0), (1.0, f64::NAN), (2.0, f64::INFINITY), (3.0, 2.0)]);
        assert_eq!(s.points(), [[0.0, 1.0], [3.0, 2.0]]);
    }

    #[test]
    fn words_are_listed_as_people_do() {
        assert_eq!((list::<&str>(&[]), list(&["a"]), list(&["a", "b", "c"])), ("".into(), "a".into(), "a, b and c".into()));
    }
}
