//! The question of a person with a photograph, asked of a model: photographs at their own size, some with a region regenerated.
//!
//! Validation photographs teach what the windows of a picture mean ([`read_windows`]); test photographs tell what that is worth
//! ([`test()`]).

use std::collections::BTreeSet;
use std::time::Instant;

use rayon::prelude::*;

use super::checkpoint::{self, What};
use super::config::View;
use super::detector::Detector;
use super::evaluate::Model;
use super::examine::{Examiner, Way};
use super::photo::{Judged, MARKS, Map, NO_READING, READING, Reading, SHARES, top};
use super::run::{MODEL, Run};
use super::scan::Scanner;
use crate::core::params::ParamStore;
use crate::data::config::SplitBy;
use crate::data::dataset::Split;
use crate::data::picture::Mask;
use crate::data::whole::{Whole, WholeConfig};
use crate::error::{Error, Result};
use crate::metrics::{Bootstrap, ConstantMap, LocalisationSet, RankedMap, Scored};
use crate::report::calibration::CalibrationSection;
use crate::report::heatmap::bilinear;
use crate::report::terminal::{Progress, say};
use crate::report::{DetectionRow, FullSizeSection, Gallery, GalleryItem, LocalisationRow, ModelKey, Origin, Rgb};

/// Longest side of the maps that are compared with masks, pixels: enough for the smallest holes, and sorted in no time.
const MAP: usize = 512;

/// Quality of the JPEG that validation pictures are judged after, every second photograph.
const QUALITY: u8 = 90;

/// Cells of the constant map, which has no pixels of its own: photographs differ in size.
const CONSTANT: usize = 64;

/// The size at which maps and masks of a picture are compared.
fn map_size(w: usize, h: usize) -> (usize, usize) {
    let scale = (MAP as f64 / w.max(h) as f64).min(1.0);
    let side = |n: usize| ((n as f64 * scale).round() as usize).max(1);
    (side(w), side(h))
}

/// The mask at another size: on where the middle of a pixel is.
fn sampled(mask: &Mask, (w, h): (usize, usize)) -> Vec<bool> {
    let at = |o: usize, to: usize, from: usize| ((2 * o + 1) * from / (2 * to)).min(from - 1);
    (0..h).flat_map(|y| (0..w).map(move |x| (x, y))).map(|(x, y)| mask.get(at(x, w, mask.w), at(y, h, mask.h))).collect()
}

fn iou(region: &[bool], mask: &[bool]) -> f64 {
    let count = |(hit, either): (u32, u32), (&m, &g): (&bool, &bool)| (hit + (m && g) as u32, either + (m || g) as u32);
    let (hit, either) = region.iter().zip(mask).fold((0, 0), count);
    if either == 0 { 0.0 } else { hit as f64 / either as f64 }
}

/// With fewer validation photographs, untouched training photographs are taken beside them for the thresholds.
const FEW_PHOTOGRAPHS: usize = 20;

impl Run {
    /// Learn from validation photographs what the windows of a picture mean, and write it into the last stage's weights; once.
    pub(super) fn read_windows(&mut self) -> Result<()> {
        if self.config.detect.view != View::Windows {
            return Ok(());
        }
        let file = self.dir.join(MODEL);
        let mut store = self.store.clone();
        let mut notes = checkpoint::load(&mut store, &file, What::Model)?;
        if notes.contains_key(READING) || notes.contains_key(NO_READING) {
            return Ok(());
        }
        let start = Instant::now();
        let (device, detector) = (self.device.clone(), &*self.detector);
        let mut left_out = Vec::new();
        let read = (|| {
            let whole = Whole::of(&self.data, Split::Val, &self.config.validation_photographs(self.data.seen()))?;
            // Where splits share their photographs, those of training are the same ones.
            let others = self.data.config().split == SplitBy::Photo && self.data.photographs(Split::Train).is_some();
            let limit = if others { FEW_PHOTOGRAPHS.saturating_sub(whole.photographs()) } else { 0 };
            let genuine = WholeConfig { limit, ..self.config.validation_photographs(self.data.seen()) };
            let more = (limit > 0).then(|| Whole::of(&self.data, Split::Train, &genuine)).transpose()?;
            let mut scanner = Scanner::new(&device, detector, &store, self.config.size, &self.config.detect.windows)?;
            let total = whole.len() + more.as_ref().map_or(0, Whole::photographs);
            let mut progress = Progress::new("calibration", total as u64, 0, "photographs");
            let tick = |n| progress.add(n as u64, String::new);
            let read = read_windows(&whole, more.as_ref(), detector, &mut scanner, &mut store, &mut left_out, tick)?;
            Ok((read, scanner.windows))
        })();
        left_out.iter().for_each(|l| say(&format!("note      {l}")));
        match read {
            Ok((reading, windows)) => {
                let c = &reading.calibration;
                say(&format!("windows   score: {}; {}", reading.pool.words(&windows), c.fake_from.sentence()));
                notes.insert(READING.into(), serde_json::to_string(&reading).expect("plain data"));
            }
            Err(Error::Data { why, .. }) => {
                say(&format!("note      pictures cannot be judged window by window: {why}"));
                notes.insert(NO_READING.into(), why);
            }
            Err(e) => return Err(e),
        }
        checkpoint::save(&store, &file, What::Model, notes)?;
        self.state.set_seconds("calibration", start.elapsed().as_secs_f64());
        Ok(())
    }
}

/// What a photograph gave; none for one that cannot be read or judged, whose reason goes to `left_out`. Other errors end the work.
fn usable<T>(made: Result<T>, left_out: &mut Vec<String>) -> Result<Option<T>> {
    match made {
        Ok(made) => Ok(Some(made)),
        Err(e @ Error::Data { .. }) => {
            left_out.push(format!("a photograph was left out: {e}"));
            Ok(None)
        }
        Err(e) => Err(e),
    }
}

/// What validation photographs say of the windows of a model. An error, to be shown and not to end a run, where they are too few.
/// `left_out` hears of photographs that cannot be judged.
/// `more`: photographs whose genuine pictures count, too. Training has seen them, but other windows of them, processed otherwise; what
/// it learned of them shows little in their own pixels, and a threshold from four photographs is worth less.
pub fn read_windows(
    whole: &Whole,
    more: Option<&Whole>,
    detector: &dyn Detector,
    scanner: &mut Scanner,
    store: &mut ParamStore,
    left_out: &mut Vec<String>,
    mut tick: impl FnMut(usize),
) -> Result<Reading> {
    let mut judged = Vec::new();
    let all = (0..whole.len()).map(|i| (whole, i));
    let genuine = more.into_iter().flat_map(|m| (0..m.len()).filter(|&i| !m.meta(i).fake).map(move |i| (m, i)));
    for (of, i) in all.chain(genuine) {
        tick(1);
        let Some(mut item) = usable(of.make(i), left_out)? else { continue };
        // Every second photograph, with its forgeries, as it is after one more JPEG: the marks must hold for both.
        if item.meta.group.is_some_and(|g| g % 2 == 1) {
            item.picture = item.picture.through_jpeg(QUALITY)?;
        }
        let Some(scans) = usable(scanner.scan(detector, store, &item.picture), left_out)? else { continue };
        let ious = item.mask.as_ref().map(|mask| {
            let size = map_size(item.picture.w, item.picture.h);
            let (map, mask) = (Map::of(&scans, (item.picture.w, item.picture.h), size), sampled(mask, size));
            MARKS.par_iter().map(|&mark| iou(&map.region(mark), &mask)).collect()
        });
        let tops = SHARES.iter().map(|&share| scans.iter().map(|s| top(s, share)).collect()).collect();
        judged.push(Judged { fake: item.meta.fake, tops, ious: ious.unwrap_or_default() });
    }
    let trained = more.map_or(0, Whole::photographs);
    Ok(Reading { trained, ..Reading::fit(&judged)? })
}

/// One test photograph with a verdict.
struct Tested {
    fake: bool,
    /// Whether the forger was trained on.
    seen: bool,
    method: String,
    /// Side of the forged region over the short side.
    side: Option<f64>,
    group: u64,
    score: f64,
    called_fake: bool,
    map: Option<Mapped>,
}

/// A map beside the truth.
struct Mapped {
    map: Vec<f32>,
    mask: Vec<bool>,
    size: (usize, usize),
    group: u64,
}

/// The tables and pictures of the test at full size.
#[derive(Default)]
pub struct FullSize {
    pub detection: Vec<DetectionRow>,
    pub localisation: Vec<LocalisationRow>,
    pub gallery: Option<Gallery>,
    /// What the scores are worth.
    pub calibration: Option<CalibrationSection>,
    /// How the figures came about.
    pub notes: Vec<String>,
    pub notices: Vec<String>,
}

impl FullSize {
    /// For the report; none where nothing was judged.
    pub fn section(&self) -> Option<FullSizeSection> {
        let (detection, localisation) = (self.detection.clone(), self.localisation.clone());
        (!detection.is_empty()).then(|| FullSizeSection { notes: self.notes.clone(), detection, localisation })
    }
}

/// Judge every picture of `whole` with a model; rows by method and size of the region, the seen forger first.
pub fn test(
    whole: &Whole,
    detector: &dyn Detector,
    examiner: &mut Examiner,
    model: &mut Model,
    how: &Bootstrap,
    gallery: usize,
    mut tick: impl FnMut(usize),
) -> Result<FullSize> {
    let mut out = FullSize { notices: whole.notices().to_vec(), ..FullSize::default() };
    let (mut tested, mut items): (Vec<Tested>, Vec<GalleryItem>) = (Vec::new(), Vec::new());
    let key = ModelKey { model: model.name.clone(), stage: model.stage.clone() };
    let mut constant = ConstantMap::new();
    for i in 0..whole.len() {
        tick(1);
        let Some(item) = usable(whole.make(i), &mut out.notices)? else { continue };
        let (meta, w, h) = (&item.meta, item.picture.w, item.picture.h);
        let found = examiner.examine(detector, &mut model.store, &item.picture);
        let Some(found) = usable(found, &mut out.notices)? else { continue };
        let size = map_size(w, h);
        let map = found.map((w, h), size)?;
        if let Some(mask) = &item.mask {
            constant.add(&sampled(mask, (CONSTANT, CONSTANT)))?;
        }
        let wanted = item.mask.is_some() && meta.side.is_none_or(|s| (0.2..0.3).contains(&s)) && meta.seen;
        if items.len() < gallery && wanted {
            let shown = item.picture.resize_to(size.0, size.1);
            let rgb = Rgb::new(size.0, size.1, shown.rgb)?;
            let mask = item.mask.as_ref().map(|m| sampled(m, size));
            let maps: Vec<(&ModelKey, Vec<f32>, f64)> =
                map.iter().map(|m| (&key, m.clone(), found.p_fake.unwrap_or(f64::NAN))).collect();
            items.push(GalleryItem::with_absolute_maps(format!("{} {w}×{h}", meta.method), &rgb, mask.as_deref(), &maps)?);
        }
        // A picture whose photograph is not known stands for itself.
        let group = meta.group.map_or(u64::MAX - i as u64, u64::from);
        let mask = item.mask.as_ref().map(|m| sampled(m, size));
        let map = map.zip(mask).map(|(map, mask)| Mapped { map, mask, size, group });
        tested.push(Tested {
            fake: meta.fake,
            seen: meta.seen,
            method: meta.method.to_string(),
            side: meta.side,
            group,
            // Tables take scores from 0 to 1; their order is all that counts.
            score: found.p_fake.unwrap_or_else(|| 1.0 / (1.0 + (-found.values[0]).exp())),
            called_fake: found.called_fake(),
            map,
        });
    }
    if let Way::Windows(scanner, reading) = &examiner.way {
        let c = &reading.calibration;
        out.notes.push(format!("The score of a picture is {}.", reading.pool.words(&scanner.windows)));
        out.notes.extend(reading.caveat().map(|c| format!("{c}.")));
        let pictures = format!("{} pictures at their own size from validation photographs", c.genuine + c.forged);
        out.calibration = Some(CalibrationSection { model: key.label(), pictures, figures: c.clone() });
    }
    let constant = if constant.count() == 0 { None } else { Some(constant.map()?) };
    let percent = |t: &Tested| t.side.map(|s| (100.0 * s).round() as u32);
    let kind = |t: &Tested| (!t.seen, t.method.clone(), percent(t));
    let kinds: BTreeSet<_> = tested.iter().filter(|t| t.fake).map(kind).collect();
    for (unseen, method, side) in kinds {
        let rows: Vec<&Tested> = tested.iter().filter(|t| !t.fake || kind(t) == (unseen, method.clone(), side)).collect();
        let origin = if unseen { Origin::Unseen } else { Origin::Seen };
        let note = side.map(|s| format!("{s} % of the short side")).unwrap_or_default();
        let mut scored = Scored::new();
        rows.iter().for_each(|t| scored.push(t.score, t.fake, t.called_fake, Some(t.group)));
        match DetectionRow::new(origin, &method, &[(key.clone(), scored)], how) {
            Ok(mut row) => {
                row.note = note.clone();
                out.detection.push(row);
            }
            Err(e @ (Error::Data { .. } | Error::Config { .. })) => out.notices.push(format!("{method} {note}: {e}")),
            Err(e) => return Err(e),
        }
        let maps: Vec<&Mapped> = rows.iter().filter_map(|t| t.map.as_ref()).filter(|m| tells(&m.mask)).collect();
        if maps.is_empty() {
            continue;
        }
        let set = LocalisationSet::of(&maps.iter().map(|m| (&m.map[..], &m.mask[..], Some(m.group))).collect::<Vec<_>>())?;
        let baseline = constant.as_ref().map(|c| constant_set(c, &maps)).transpose()?;
        let mut row = LocalisationRow::new(origin, &method, &[(key.clone(), set)], baseline.as_ref(), how)?;
        row.note = note;
        out.localisation.push(row);
    }
    out.gallery = (!items.is_empty()).then(|| Gallery { heading: "Photographs at their own size".into(), items });
    Ok(out)
}

/// Whether a mask has an inside and an outside.
fn tells(mask: &[bool]) -> bool {
    mask.contains(&true) && mask.contains(&false)
}

/// What the mean mask scores on the same pictures, stretched to each. It has seen the masks that it is judged on, which can only
/// flatter it.
fn constant_set(constant: &[f32], maps: &[&Mapped]) -> Result<LocalisationSet> {
    let mut set = LocalisationSet::new();
    for m in maps {
        let stretched = bilinear(constant, CONSTANT, CONSTANT, m.size.0, m.size.1)?;
        set.push_ranked(&RankedMap::new(&stretched)?, &m.mask, Some(m.group))?;
    }
    Ok(set)
}
