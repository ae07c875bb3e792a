//! The end of a run: every test set judged with the weights that each stage left, and the report.

use std::path::Path;
use std::time::Instant;

use super::annotated::Select;
use super::checkpoint::{self, What};
use super::config::View;
use super::detector::Draw;
use super::evaluate::{Model, evaluate, test_sets};
use super::examine::Examiner;
use super::full_size::{self, FullSize};
use super::photo::NO_READING;
use super::run::{METRICS, MODEL, Run, stage_file};
use super::score::Scorer;
use super::select::MaskUse;
use super::wait::{stage_rows, words};
use crate::core::params::ParamStore;
use crate::data::MaskOrigin;
use crate::data::dataset::{Dataset, Split};
use crate::data::whole::Whole;
use crate::error::{Error, Result};
use crate::metrics::Bootstrap;
use crate::report::data::duration;
use crate::report::terminal::{self, Progress, say};
use crate::report::{Candidate, Chart, KeyValue, MaskRow, Picture, ReportData, Rgb, Series, table};

/// The weights that each stage of a run left, in order. `store` holds the parameters that a verdict needs.
pub fn stage_models(dir: &Path, detector: &str, stages: &[&str], store: &ParamStore) -> Result<Vec<Model>> {
    let mut models = Vec::new();
    for (i, name) in stages.iter().enumerate() {
        let mut store = store.clone();
        let file = dir.join(stage_file(i, stages.len()));
        if !file.exists() {
            let why = format!(
                "is missing: a finished run of {detector} has it. Put the file back, or end a run that was stopped by `train --resume`; \
                 if another detector was trained here, its name belongs into config.toml, key detector"
            );
            return Err(Error::data(file, why));
        }
        checkpoint::load(&mut store, &file, What::Model)?;
        let stage = if stages.len() == 1 { String::new() } else { name.to_string() };
        models.push(Model { name: detector.to_string(), stage, store });
    }
    Ok(models)
}

/// Who made the masks of these splits.
pub fn mask_rows(data: &Dataset, splits: &[Split]) -> Vec<MaskRow> {
    let row = |&split: &Split| {
        let fakes = || (0..data.len(split) as u32).filter(|&i| data.is_fake(split, i));
        let count = fakes().filter(|&i| data.has_mask(split, i)).count();
        let origin = data.mask_origin().name();
        let of = |origin: &str, count: usize| MaskRow { of: data.name(split), origin: origin.into(), count, note: String::new() };
        let without = fakes().count() - count;
        [(count > 0).then(|| of(origin, count)), (without > 0).then(|| of("none", without))]
    };
    splits.iter().flat_map(row).flatten().collect()
}

impl Run {
    /// Evaluate what every stage left and write the report.
    pub(super) fn report(&mut self) -> Result<ReportData> {
        let start = Instant::now();
        let c = self.config.clone();
        self.store.pull()?;
        let names: Vec<&str> = self.stages.iter().map(|s| s.name).collect();
        let mut models = stage_models(&self.dir, &c.detector, &names, &self.store)?;
        let mut scorer = Scorer::new(&self.device, &*self.detector, &self.store, c.size, 32)?;
        let total: u64 = test_sets(&self.data).iter().map(|s| (self.data.len(s.split) * models.len()) as u64).sum();
        let mut progress = Progress::new("evaluation", total, 0, "pictures");
        let how = Bootstrap { resamples: c.eval.resamples, seed: c.seed };
        let tick = |n| progress.add(n as u64, String::new);
        let e = evaluate(&self.data, &*self.detector, &mut scorer, &mut models, &how, c.eval.gallery, tick)?;
        drop(progress);
        let full = self.test_at_full_size(&mut models, &how)?;
        self.state.set_seconds("evaluation", start.elapsed().as_secs_f64());

        let (candidates, candidates_note) = self.candidates()?;
        let mut notices = self.notices();
        notices.extend(e.notices);
        notices.extend(full.notices.iter().cloned());
        let row = |(k, v): (String, String)| KeyValue::new(k, v);
        let data = ReportData {
            title: format!("lae-engine: {}, {} ({})", c.detector, c.task.name(), c.preset),
            detector: format!("{}: {} ({})", c.detector, self.entry.title, self.entry.source),
            task: c.task.name().into(),
            preset: c.preset.clone(),
            seed: c.seed,
            device: c.words(&self.device),
            version: env!("CARGO_PKG_VERSION").into(),
            command: self.command.clone(),
            notices,
            headline: vec![],
            provenance: self.provenance(),
            masks: self.masks()?,
            detection: e.detection,
            localisation: e.localisation,
            calibration: full.calibration.clone(),
            galleries: full.gallery.iter().cloned().chain(e.galleries).collect(),
            full_size: full.section(),
            curves: curves(&self.dir.join(METRICS), &names)?,
            candidates,
            candidates_note,
            config: c.rows().into_iter().map(row).collect(),
            timings: self.state.seconds.iter().map(|(what, s)| KeyValue::new(what, duration(*s))).collect(),
            parameters: self.parameters().into_iter().map(row).collect(),
        };
        data.save(&self.dir)?;
        for item in data.galleries.iter().flat_map(|g| &g.items) {
            for panel in item.panels.iter().filter(|p| p.title.starts_with("Map")) {
                let (tag, p) = (format!("{}/{}", panel.title, item.name), &panel.picture);
                self.events.image_png(&tag, self.state.steps, p.width, p.height, &p.png)?;
            }
        }
        self.events.flush()?;
        self.save()?;
        let page = self.dir.join("report.html");
        terminal::print(&format!("{}\nreport    {}\n", table::summary(&data), crate::text::shown(&page)))?;
        say(&format!("done      in {}", duration(self.started.elapsed().as_secs_f64())));
        Ok(data)
    }

    /// The test photographs at their own size, judged by the last stage's weights; nothing where pictures are looked at as a whole.
    fn test_at_full_size(&self, models: &mut [Model], how: &Bootstrap) -> Result<FullSize> {
        let c = &self.config;
        let file = self.dir.join(MODEL);
        let Some(model) = models.last_mut().filter(|_| c.detect.view == View::Windows) else { return Ok(FullSize::default()) };
        let notes = checkpoint::load(&mut model.store, &file, What::Model)?;
        if let Some(why) = notes.get(NO_READING) {
            let notice = format!("photographs were not tested at their own size: windows could not be calibrated ({why})");
            return Ok(FullSize { notices: vec![notice], ..FullSize::default() });
        }
        let whole = Whole::of(&self.data, Split::Test, &c.test_photographs())?;
        let mut examiner = Examiner::new(&self.device, &*self.detector, &model.store, c, View::Windows, (&notes, &file))?;
        let mut progress = Progress::new("photographs", whole.len() as u64, 0, "pictures");
        let tick = |n| progress.add(n as u64, String::new);
        full_size::test(&whole, &*self.detector, &mut examiner, model, how, c.eval.gallery, tick)
    }

    /// Where the pictures came from, as rows.
    fn provenance(&self) -> Vec<KeyValue> {
        let p = self.data.describe();
        let mut rows = vec![KeyValue::new("source", &p.source)];
        rows.extend(p.photographs.map(|n| KeyValue::new("photographs", format!("train {}, val {}, test {}", n[0], n[1], n[2]))));
        rows.extend(p.split_by.map(|s| KeyValue::new("split by", format!("{s:?}").to_lowercase())));
        rows.push(KeyValue::new("training pictures", if p.fresh { "new every epoch" } else { "the same every epoch" }));
        rows.extend(p.hole.iter().map(|h| KeyValue::new("forged region", h)));
        rows.extend(p.context.iter().map(|c| KeyValue::new("forged context", c)));
        rows.extend(p.scale.iter().map(|s| KeyValue::new("scale", s)));
        rows.extend(p.processing.iter().map(|a| KeyValue::new("processing", a)));
        rows.extend(p.methods.iter().map(|m| KeyValue::new(format!("{} forger {}", m.role, m.name), &m.source)));
        rows.extend(p.fingerprint.iter().map(|f| {
            let kind = format!("{:?}", f.kind).to_lowercase();
            KeyValue::new("planted trace", format!("{kind}, amplitude {}, on {} of the seen fakes", f.amplitude, f.rate))
        }));
        rows.extend(p.counter.iter().map(|c| KeyValue::new("counterexamples", c)));
        rows.extend(p.counts.iter().map(|n| KeyValue::new(&n.split, format!("{} true, {} fake", n.real, n.fake))));
        if p.skipped_files > 0 {
            rows.push(KeyValue::new("skipped", format!("{} unreadable pictures", p.skipped_files)));
        }
        rows
    }

    /// Who made the masks: of every split, and of the annotated fakes of stage 2.
    fn masks(&self) -> Result<Vec<MaskRow>> {
        let mut rows = mask_rows(&self.data, &self.data.splits());
        if self.stages.iter().any(|s| matches!(s.draw, Draw::Annotated(_))) {
            rows.extend(stage_rows(&self.selected()?.masks));
        }
        Ok(rows)
    }

    /// The first fakes that were chosen for annotation, and how, if any were.
    fn candidates(&self) -> Result<(Vec<Candidate>, String)> {
        let Some(Draw::Annotated(a)) = self.stages.iter().map(|s| &s.draw).find(|d| matches!(d, Draw::Annotated(_))) else {
            return Ok((vec![], String::new()));
        };
        let s = self.selected()?;
        let by = |i: usize| match s.masks.get(i) {
            Some(MaskUse { origin: Some(origin), .. }) => format!("mask {}", origin.words()),
            Some(m) => m.without.clone(),
            None => String::new(),
        };
        let mut out = Vec::new();
        for (i, &index) in s.indices.iter().take(12).enumerate() {
            let sample = self.data.sample(Split::Train, index, 0)?;
            let rgb = Rgb::new(sample.picture.w, sample.picture.h, sample.picture.rgb)?;
            let name = format!("train {index}");
            let picture = Picture::new(&rgb, format!("candidate {name}"))?;
            out.push(Candidate { name, score: s.scores.get(i).copied(), mask: by(i), picture });
        }
        let shown = out.len();
        let how = match a.selection.mode {
            Select::Active => format!("by the activation of channels {:?}", s.channels),
            Select::Random => "at random".to_string(),
        };
        let n = s.indices.len();
        let masks = match s.masks.iter().any(|m| m.origin == Some(MaskOrigin::Person) || m.origin.is_none()) {
            false if self.data.mask_origin() == MaskOrigin::Forger => {
                "Their masks are known exactly here, no person drew them.".to_string()
            }
            false => "Their masks came as files.".into(),
            true => words(&s.masks).map(|w| format!("{}{}.", w[..1].to_uppercase(), &w[1..])).unwrap_or_default(),
        };
        let note = format!("{n} fakes were chosen {how}; the first {shown} are shown. {masks}");
        Ok((out, note))
    }
}

/// The curves of one stage, as they are read from the log.
#[derive(Default)]
struct Curves {
    train: Vec<Series>,
    validation: Vec<Series>,
    accuracy: Vec<Series>,
    /// The last step, for validations, whose lines carry none.
    last: f64,
}

fn push(all: &mut Vec<Series>, name: &str, x: f64, y: f64) {
    let i = all.iter().position(|s| s.name == name).unwrap_or_else(|| {
        all.push(Series::new(name));
        all.len() - 1
    });
    all[i].push(x, y);
}

/// The curves of a run, read back from its log: for each stage its terms, its validation and its accuracy.
fn curves(log: &Path, stages: &[&str]) -> Result<Vec<Chart>> {
    let text = std::fs::read_to_string(log).map_err(|e| Error::io(log, e))?;
    let mut all: Vec<Curves> = stages.iter().map(|_| Curves::default()).collect();
    for line in text.lines() {
        let Ok(v) = serde_json::from_str::<serde_json::Value>(line) else { continue };
        let Some(c) = v["stage"].as_u64().and_then(|i| all.get_mut(i as usize - 1)) else { continue };
        if let Some(step) = v["step"].as_f64() {
            c.last = step;
        }
        for part in ["train", "validation"] {
            for (name, y) in v[part].as_object().into_iter().flatten() {
                let y = y.as_f64().unwrap_or(f64::NAN);
                match (name.as_str(), part) {
                    ("accuracy", _) => push(&mut c.accuracy, part, c.last, y),
                    (_, "train") => push(&mut c.train, name, c.last, y),
                    _ => push(&mut c.validation, name, c.last, y),
                }
            }
        }
    }
    let chart = |title: String, y: &str, note: &str, series: Vec<Series>| Chart {
        title,
        x_label: "step".into(),
        y_label: y.into(),
        log_y: false,
        note: note.into(),
        series,
    };
    let mut charts = Vec::new();
    for (name, c) in stages.iter().zip(all) {
        let name = format!("{}{}", name[..1].to_uppercase(), &name[1..]);
        charts.push(chart(format!("{name}: losses on training batches"), "loss", "Its terms, before their weights.", c.train));
        charts.push(chart(format!("{name}: validation"), "loss", "Running statistics, no noise.", c.validation));
        charts.push(chart(format!("{name}: accuracy"), "share right", "By the method's own decision.", c.accuracy));
    }
    Ok(charts.into_iter().filter(|c| c.series.iter().any(|s| !s.points().is_empty())).collect())
}
