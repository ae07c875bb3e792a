//! A run: every stage of a detector's training from the first step to the report, in a folder, resumable at any moment.
//!
//! ```text
//! config.toml               all keys
//! metrics.jsonl             every step and every validation, one object a line; tensorboard/ holds the same for TensorBoard
//! resume.safetensors        everything that going on needs
//! stageN.safetensors        the weights that a stage but the last one left
//! data.json                 the files that it is trained on, by size and checksum
//! selection.json            which fakes were to be annotated, if a stage draws such, why, and who made their masks
//! masks/                    the masks that a person drew, if the run waits for such (masks.rs)
//! model.safetensors         the weights that the last stage left
//! report.html, report.json  seen and unseen test sets, maps
//! ```
//! What a step computes depends on the configuration and the step's number only, so a resumed run ends with the bytes of an
//! uninterrupted one.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Instant;

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::annotated::{Annotated, Masks, Select};
use super::checkpoint::{self, What};
use super::config::{TrainConfig, View};
use super::detector::{Detector, Draw, Entry, Purpose, Stage};
use super::inventory::{DATA, Inventory};
use super::place::{Hold, Place};
use super::score::Scorer;
use super::select::{Features, LinearModel, MaskUse, Selection, select};
use crate::core::dtype::DType;
use crate::core::file::write_whole;
use crate::core::params::{Arena, Kind, ParamStore};
use crate::core::text::thousands;
use crate::data::counter::Left;
use crate::data::dataset::{Batch, Dataset, Split};
use crate::device::Device;
use crate::error::{Error, Result};
use crate::report::JsonLog;
use crate::report::ReportData;
use crate::report::tensorboard::EventWriter;
use crate::report::terminal::{Progress, say};

/// What a model that was trained on built-in pictures is worth on photographs: one run of the preset `small`, seed 0, measured as
/// docs/photographs.md says.
const PAINTED: &str = "what built-in pictures teach, measured on 27 photographs: regions of a quarter of the side are ranked with an AUC of \
                       0.96 [0.92, 1.00], but 20 of the 27 untouched photographs are called fake (thresholds hold after `train --photos` only)";

pub const CONFIG: &str = "config.toml";
pub const RESUME: &str = "resume.safetensors";
pub const MODEL: &str = "model.safetensors";
pub const SELECTION: &str = "selection.json";
pub const METRICS: &str = "metrics.jsonl";
pub const EVENTS: &str = "tensorboard";

/// The file with the weights that stage `index` of `stages` leaves.
pub fn stage_file(index: usize, stages: usize) -> String {
    if index + 1 == stages { MODEL.to_string() } else { format!("stage{}.safetensors", index + 1) }
}

/// Everything but the arrays that going on needs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct State {
    /// Of the program that wrote it.
    version: String,
    /// The stage that runs, or their number when all are done.
    stage: usize,
    /// Whether the stage has what it starts from: the best weights of the one before it, and annotated fakes if it draws such.
    ready: bool,
    /// Epoch of the stage, from 0, and steps done in it.
    pub epoch: usize,
    pub step: usize,
    /// Steps that the optimisers count.
    pub t: u64,
    /// Steps of the whole run.
    pub steps: u64,
    pub best: Option<f64>,
    pub best_epoch: usize,
    /// Epochs of all stages before this one.
    pub epochs_before: usize,
    log_bytes: u64,
    /// Seconds of work by what was done.
    pub seconds: Vec<(String, f64)>,
    /// What happened on the way that a reader of the report must know.
    notices: Vec<String>,
    /// Pairs that no counterexample could be made of.
    #[serde(default)]
    left_out: Vec<Left>,
}

impl State {
    fn start() -> State {
        State {
            version: env!("CARGO_PKG_VERSION").into(),
            stage: 0,
            ready: true,
            epoch: 0,
            step: 0,
            t: 0,
            steps: 0,
            best: None,
            best_epoch: 0,
            epochs_before: 0,
            log_bytes: 0,
            seconds: Vec::new(),
            notices: Vec::new(),
            left_out: Vec::new(),
        }
    }
    /// The state in a resume checkpoint, whose arrays go into the store.
    fn load(store: &mut ParamStore, file: &Path) -> Result<State> {
        let lost = |why: String| Error::data(file, format!("{why}; without this file the run starts anew: remove it"));
        let meta = checkpoint::load(store, file, What::Everything).map_err(|e| match e {
            Error::Data { why, .. } => lost(why),
            e => e,
        })?;
        let text = meta.get("state").ok_or_else(|| lost("has no state: not a resume checkpoint".into()))?;
        let written_by = |v: &serde_json::Value| v.get("version").and_then(|v| v.as_str()).map(str::to_string);
        let version = serde_json::from_str(text).ok().as_ref().and_then(written_by).unwrap_or("0.1".into());
        if version != env!("CARGO_PKG_VERSION") {
            let mine = env!("CARGO_PKG_VERSION");
            let why = format!("was written by version {version}, this is {mine}: resume with that version, or start a new run");
            return Err(Error::data(file, why));
        }
        serde_json::from_str(text).map_err(|e| lost(format!("its state cannot be read: {e}")))
    }
    pub fn seconds(&self, what: &str) -> f64 {
        self.seconds.iter().find(|s| s.0 == what).map_or(0.0, |s| s.1)
    }
    pub fn set_seconds(&mut self, what: &str, seconds: f64) {
        match self.seconds.iter_mut().find(|s| s.0 == what) {
            Some(s) => s.1 = seconds,
            None => self.seconds.push((what.to_string(), seconds)),
        }
    }
}

pub struct Run {
    pub dir: PathBuf,
    pub config: TrainConfig,
    pub(super) entry: &'static Entry,
    pub(super) device: Device,
    pub(super) data: Rc<Dataset>,
    pub(super) store: ParamStore,
    pub(super) detector: Box<dyn Detector>,
    pub(super) stages: Vec<Stage>,
    pub(super) log: JsonLog,
    pub(super) events: EventWriter,
    pub(super) state: State,
    pub(super) command: String,
    pub(super) started: Instant,
    pub(super) saved: Instant,
    /// Whether stage 2 takes those masks of a person that are there, instead of waiting for all.
    pub masks_so_far: bool,
    /// Stop after so many steps of the run, as if killed (tests).
    pub stop_after: Option<u64>,
    _hold: Hold,
}

/// What a run works with, before there is a folder.
struct Parts {
    data: Rc<Dataset>,
    store: ParamStore,
    detector: Box<dyn Detector>,
    stages: Vec<Stage>,
    device: Device,
}

impl Parts {
    fn build(entry: &Entry, config: &TrainConfig, device: &Device) -> Result<Parts> {
        let device = device.clone().with_precision(config.precision);
        config.cpu.apply()?;
        let mut store = ParamStore::new(config.seed);
        store.activations = config.activations();
        let mut detector = (entry.build)(config, &mut store, Purpose::Train)?;
        let data = Dataset::open_processed(&config.data, &config.augment, config.size, config.seed, say)?;
        let data = Rc::new(data.with_counter(&config.counter)?);
        // Nothing to learn from: a folder of tests alone, as `forge --whole` writes.
        if let (Some(dir), true) = (&config.data.dir, data.is_empty(Split::Train) || data.is_empty(Split::Val)) {
            let why = "holds tests alone: training needs DIR/train/{real,fake} and DIR/val/{real,fake}; `lae-engine eval RUN \
                       --data DIR` judges a run by it";
            return Err(Error::data(dir, why));
        }
        let stages = detector.stages();
        check_against_data(&stages, &data)?;
        if detector.needs_calibration() {
            let indices: Vec<u32> = (0..data.len(Split::Val).min(8) as u32).collect();
            let mut few = Batch::default();
            data.fill(Split::Val, 0, &indices, &mut few)?;
            detector.calibrate(&mut store, &device, &few)?;
        }
        Ok(Parts { data, store, detector, stages, device })
    }
}

impl Run {
    /// Start in a new folder. `entry` is the registry's row of the detector that `config` names.
    pub fn create(
        entry: &'static Entry,
        config: TrainConfig,
        place: impl Into<Place>,
        command: String,
        device: &Device,
    ) -> Result<Run> {
        let place = place.into();
        place.check()?;
        // Everything that can be refused is refused before the folder is made.
        let parts = Parts::build(entry, &config, device)?;
        let files = Inventory::of(&parts.data)?;
        let (dir, hold) = begin(&place, &config, &files)?;
        let log = JsonLog::create(dir.join(METRICS))?;
        let events = EventWriter::create(dir.join(EVENTS))?;
        Ok(Self::of(entry, config, parts, (log, events, State::start()), (&dir, hold), command))
    }

    /// Start in a new folder behind the first stage of another run, `from`, that ended there and was told the same (`trunk`) but for
    /// the keys that this stage does not read ([`Entry::later`]). Ends with the bytes of a run that did the first stage itself.
    pub fn branch(
        entry: &'static Entry,
        config: TrainConfig,
        (from, trunk): (&Path, &TrainConfig),
        place: impl Into<Place>,
        command: String,
        device: &Device,
    ) -> Result<Run> {
        let place = place.into();
        place.check()?;
        let wrong = |why: String| Error::data(from, why);
        let late =
            |key: &str| entry.later.iter().any(|l| key.strip_prefix(l).is_some_and(|k| k.is_empty() || k.starts_with('.')));
        let its: HashMap<String, String> = trunk.rows().into_iter().collect();
        let its = |key: &str| its.get(key).map_or("(none)", String::as_str);
        let of_first = config.rows().into_iter().filter(|(key, _)| !late(key) && key != "preset");
        if let Some((key, mine)) = of_first.into_iter().find(|(key, mine)| its(key) != mine) {
            let its = its(&key);
            let why = format!("its first stage had {key} = {its}, this run has {mine}: give the same, or train without --from");
            return Err(wrong(why));
        }
        let mut parts = Parts::build(entry, &config, device)?;
        let file = from.join(RESUME);
        let mut state = State::load(&mut parts.store, &file)?;
        if parts.stages.len() < 2 {
            return Err(wrong(format!("{} has one stage here, so there is nothing to go on with behind it", entry.name)));
        }
        let first = from.join(MODEL);
        if from.join(stage_file(0, 2)).exists() || state.stage != 1 || !first.exists() {
            let why = "is no run of a first stage alone that has ended: make one with --annotations 0, or end it with --resume";
            return Err(wrong(why.into()));
        }
        let files = Inventory::of(&parts.data)?;
        same_files(from, &parts.data, state.steps, false)?;
        let log = from.join(METRICS);
        let mut log = std::fs::read(&log).map_err(|e| Error::io(log, e))?;
        log.truncate(state.log_bytes as usize);
        let (dir, hold) = begin(&place, &config, &files)?;
        write_whole(dir.join(METRICS), &log)?;
        (state.stage, state.ready) = (1, false);
        parts.data.set_left_out(state.left_out.clone());
        let log = JsonLog::resume(dir.join(METRICS), state.log_bytes)?;
        let events = EventWriter::resume(dir.join(EVENTS), state.steps)?;
        let mut run = Self::of(entry, config, parts, (log, events, state), (&dir, hold), command);
        // The weights that the first stage kept, as this run's own; then those that it ended with.
        let meta = checkpoint::load(&mut run.store, &first, What::Model)?;
        let why = meta.get("stage").and_then(|s| s.split_once(": ")).map_or("from another run", |s| s.1);
        run.save_model(0, why)?;
        State::load(&mut run.store, &file)?;
        run.save()?;
        Ok(run)
    }

    /// Go on where a run folder stands; `config` is what its [`CONFIG`] says. Other pictures than the run began with are an error
    /// unless `changed_data` lets them pass: the report then says so.
    pub fn resume(
        entry: &'static Entry,
        config: TrainConfig,
        dir: &Path,
        command: String,
        device: &Device,
        changed_data: bool,
    ) -> Result<Run> {
        let hold = Hold::take(dir, CONFIG, say)?;
        let file = dir.join(RESUME);
        let mut parts = Parts::build(entry, &config, device)?;
        // Stopped before its first checkpoint: from the start, which is where it was.
        let (mut state, mut log) = (State::start(), None);
        if file.exists() {
            state = State::load(&mut parts.store, &file)?;
            parts.data.set_left_out(state.left_out.clone());
            log = Some(JsonLog::resume(dir.join(METRICS), state.log_bytes)?);
        }
        state.notices.extend(same_files(dir, &parts.data, state.steps, changed_data)?);
        let log = log.map_or_else(|| JsonLog::create(dir.join(METRICS)), Ok)?;
        let events = EventWriter::resume(dir.join(EVENTS), state.steps)?;
        Ok(Self::of(entry, config, parts, (log, events, state), (dir, hold), command))
    }

    fn of(
        entry: &'static Entry,
        config: TrainConfig,
        parts: Parts,
        (log, events, state): (JsonLog, EventWriter, State),
        (dir, _hold): (&Path, Hold),
        command: String,
    ) -> Run {
        let Parts { data, store, detector, stages, device } = parts;
        let (dir, now) = (dir.to_path_buf(), Instant::now());
        let (started, saved, stop_after, masks_so_far) = (now, now, None, false);
        #[rustfmt::skip]
        let run = Run { dir, config, entry, device, data, store, detector, stages, log, events, state, command, started, saved, masks_so_far, stop_after, _hold };
        run
    }

    /// To the end.
    pub fn run(&mut self) -> Result<ReportData> {
        self.announce();
        while self.state.stage < self.stages.len() {
            let stage = self.state.stage;
            if !self.state.ready {
                self.prepare(stage)?;
            } else {
                self.fit(stage)?;
                if !self.stopped() {
                    self.finish_stage();
                }
            }
            if self.stopped() {
                return Err(Error::config("stop", "stopped as asked"));
            }
            self.save()?;
        }
        self.read_windows()?;
        self.report()
    }

    /// Seconds of work so far, interruptions left out.
    pub fn seconds(&self) -> f64 {
        self.state.seconds.iter().map(|s| s.1).sum()
    }

    pub(super) fn stopped(&self) -> bool {
        self.stop_after.is_some_and(|n| self.state.steps >= n)
    }

    fn announce(&self) {
        let p = self.data.describe();
        say(&format!("run       {}", crate::text::shown(&self.dir)));
        say(&format!("detector  {}: {}", self.entry.name, self.entry.title));
        if self.store.activations == DType::Bf16 {
            say("precision activations in bf16; parameters, sums and verdicts in f32");
        }
        say(&format!("data      {}", p.source));
        let (unseen, seen): (Vec<_>, Vec<_>) = p.counts.iter().partition(|n| n.split.starts_with("unseen/"));
        for (counts, what) in [(seen, "true+fake"), (unseen, "tested only")] {
            let words: Vec<String> = counts.iter().map(|n| format!("{} {}+{}", n.split, n.real, n.fake)).collect();
            if !words.is_empty() {
                say(&format!("          {} ({what})", words.join(", ").replace("unseen/", "")));
            }
        }
        for notice in self.notices() {
            say(&format!("note      {notice}"));
        }
        let networks: Vec<String> = self.parameters().into_iter().map(|(title, n)| format!("{title} {n}")).collect();
        let side = self.config.size;
        say(&format!("networks  {} parameters; {side}×{side} pixels, {}", networks.join(", "), self.detector.space().words()));
    }

    /// Networks with their numbers of parameters, as the report shows them.
    pub(super) fn parameters(&self) -> Vec<(String, String)> {
        let row = |n: crate::train::detector::Network| {
            let kind = if n.trained { Kind::Trained } else { Kind::Frozen };
            let title = if n.trained { n.title.to_string() } else { format!("{} (frozen)", n.title) };
            (title, thousands(self.store.count(&n.group, kind)))
        };
        self.detector.networks().into_iter().map(row).collect()
    }

    /// What a reader must know before any figure.
    pub(super) fn notices(&self) -> Vec<String> {
        let (c, p) = (&self.config, self.data.describe());
        let mut out = Vec::new();
        if p.synthetic_pictures {
            out.push("the pictures are synthetic (built-in painter), not photographs".to_string());
        }
        if p.synthetic_pictures && c.detect.view == View::Windows && (&*c.detector, &*c.preset) == ("lae", "small") {
            out.push(PAINTED.to_string());
        }
        if p.synthetic_forgeries {
            out.push("the forgeries were made by this program".to_string());
        }
        out.extend(self.detector.notices());
        if c.preset != "paper" {
            out.push(format!("preset {}: sizes are reduced, figures are not comparable with the paper's", c.preset));
        }
        out.extend(p.notices);
        out.extend(self.state.notices.iter().cloned());
        out.extend(self.mask_notice());
        out
    }

    pub(super) fn save(&mut self) -> Result<()> {
        self.store.pull()?;
        self.state.log_bytes = self.log.len_bytes();
        self.state.left_out = self.data.left_out();
        self.log.sync()?;
        self.events.flush()?;
        let state = serde_json::to_string(&self.state).expect("plain data");
        let meta = HashMap::from([("state".to_string(), state)]);
        checkpoint::save(&self.store, &self.dir.join(RESUME), What::Everything, meta)?;
        self.saved = Instant::now();
        Ok(())
    }

    /// Write the weights that stage `index` leaves; `why` these.
    pub(super) fn save_model(&mut self, index: usize, why: &str) -> Result<()> {
        self.store.pull()?;
        let c = &self.config;
        let meta = [
            ("program", format!("lae-engine {}", env!("CARGO_PKG_VERSION"))),
            ("detector", c.detector.clone()),
            ("stage", format!("{}: {why}", self.stages[index].name)),
            ("preset", c.preset.clone()),
            ("seed", c.seed.to_string()),
            ("size", c.size.to_string()),
            ("data", self.data.describe().source),
            ("notices", self.notices().join("; ")),
            ("config", c.to_toml()),
        ];
        let meta = meta.into_iter().map(|(k, v)| (k.to_string(), v)).collect();
        let file = self.dir.join(stage_file(index, self.stages.len()));
        checkpoint::save(&self.store, &file, What::Model, meta)
    }

    fn finish_stage(&mut self) {
        let s = &mut self.state;
        s.epochs_before += s.epoch;
        s.stage += 1;
        (s.epoch, s.step, s.best, s.best_epoch, s.ready) = (0, 0, None, 0, false);
    }

    /// Give a later stage what it starts from: the weights that the stage before it kept, annotated fakes, fresh moments.
    fn prepare(&mut self, index: usize) -> Result<()> {
        let start = Instant::now();
        self.store.pull()?;
        checkpoint::load(&mut self.store, &self.dir.join(stage_file(index - 1, self.stages.len())), What::Model)?;
        let stage = self.stages[index].clone();
        if let Draw::Annotated(a) = &stage.draw {
            let selection = self.choose(&stage)?;
            let how = if a.selection.mode == Select::Active { "active" } else { "random" };
            let (n, right) = (selection.indices.len(), selection.linear_accuracy);
            say(&format!("selection {n} fakes to annotate ({how}); linear concept model {:.1} % right", 100.0 * right));
            self.log.write(&json!({ "selection": how, "annotations": n, "linear_accuracy": right }))?;
            self.write_selection(&selection)?;
        }
        if stage.fresh_moments {
            [Arena::M, Arena::V].iter().for_each(|&a| self.store.arena_mut(a).fill(0.0));
            self.state.t = 0;
        }
        self.state.ready = true;
        let before = self.state.seconds("selection");
        self.state.set_seconds("selection", before + start.elapsed().as_secs_f64());
        Ok(())
    }

    /// Which fakes a person would be asked to mask now.
    pub(super) fn choose(&mut self, stage: &Stage) -> Result<Selection> {
        let Draw::Annotated(Annotated { selection, concept, .. }) = &stage.draw else {
            unreachable!("asked of annotated stages")
        };
        let c = &self.config;
        let mut scorer = Scorer::without_maps(&self.device, &*self.detector, &self.store, c.size, stage.batch)?;
        let mut progress = Progress::new("selection", self.data.len(Split::Train) as u64, 0, "pictures");
        let tick = |n| progress.add(n as u64, String::new);
        let mut features = Features::of(&self.data, &*self.detector, &mut scorer, &mut self.store, tick)?;
        drop(progress);
        let model = LinearModel::train(&features, concept, c.seed)?;
        // Only fakes that somebody can mask are candidates.
        let by_person = selection.masks == Masks::Person;
        for (i, fake) in features.fake.iter_mut().enumerate() {
            *fake = *fake && (by_person || self.data.has_mask(Split::Train, i as u32));
        }
        let mut chosen = select(&features, &model, selection, c.seed);
        if !by_person {
            let origin = Some(self.data.mask_origin());
            let one = |&index: &u32| MaskUse { index, origin, by: String::new(), without: String::new(), crc32c: None };
            chosen.masks = chosen.indices.iter().map(one).collect();
        }
        Ok(chosen)
    }

    pub(super) fn write_selection(&self, selection: &Selection) -> Result<()> {
        write_whole(self.dir.join(SELECTION), &serde_json::to_vec_pretty(selection).expect("plain data"))
    }

    pub(super) fn selected(&self) -> Result<Selection> {
        let file = self.dir.join(SELECTION);
        let text = std::fs::read(&file).map_err(|e| Error::io(&file, e))?;
        serde_json::from_slice(&text).map_err(|e| Error::data(&file, format!("not a selection: {e}")))
    }
}

/// Make the folder of a run, with its configuration and the list of its files, and hold it.
fn begin(place: &Place, config: &TrainConfig, files: &Inventory) -> Result<(PathBuf, Hold)> {
    let dir = place.make()?;
    write_whole(dir.join(CONFIG), config.to_toml().as_bytes()).inspect_err(|_| {
        // Best effort: a folder without a configuration would only be in the way.
        let _ = std::fs::remove_dir(&dir);
    })?;
    let hold = Hold::take(&dir, CONFIG, say)?;
    files.write(&dir)?;
    Ok((dir, hold))
}

/// Compare the data with what the run in `dir` began with; the notice for the report if they differ and `accept` lets that pass.
/// A run without a step behind it may begin with any.
fn same_files(dir: &Path, data: &Dataset, steps: u64, accept: bool) -> Result<Option<String>> {
    let now = Inventory::of(data)?;
    if steps == 0 {
        now.write(dir)?;
        return Ok(None);
    }
    let then = Inventory::read(dir);
    let changes = match &then {
        Ok(then) => then.changes(&now),
        // Built-in pictures do not change.
        Err(_) if now.is_empty() => return now.write(dir).map(|()| None),
        Err(_) if accept => Some("what it began with is not known".into()),
        Err(Error::Data { file, why }) => {
            let why = format!(
                "{why}, and without this list of the files that the run began with nobody knows whether the pictures are still \
                 the same. Put it back, or go on over the pictures as they are now with --changed-data (the report will say so)"
            );
            return Err(Error::data(file, why));
        }
        Err(_) => return then.map(|_| None),
    };
    let Some(changes) = changes else { return Ok(None) };
    if !accept {
        let why = format!(
            "the pictures are not those that this run began with: {changes}. Put them back, start a new run, or go on over them \
             with --changed-data (the report will say so)"
        );
        return Err(Error::data(dir.join(DATA), why));
    }
    now.after(then.ok()).write(dir)?;
    Ok(Some(format!("from step {} on, the pictures were not those that the run began with: {changes}", steps + 1)))
}

/// What only the data can tell of a configuration, found before hours are spent.
fn check_against_data(stages: &[Stage], data: &Dataset) -> Result<()> {
    let pictures = data.epoch_order(Split::Train, 0, 2).len();
    for stage in stages {
        if pictures < stage.batch {
            let why = format!("{}: the training set has {pictures} pictures (balanced); give at most that many", stage.batch);
            return Err(Error::config("train.batch", why));
        }
        let Draw::Annotated(a) = &stage.draw else { continue };
        let by_person = a.selection.masks == Masks::Person;
        let can = |&i: &u32| if by_person { data.is_fake(Split::Train, i) } else { data.has_mask(Split::Train, i) };
        let masked = (0..data.len(Split::Train) as u32).filter(can).count();
        if a.selection.annotations > masked {
            let what = if by_person { "" } else { " with a mask" };
            let why = format!("{}: the training set has {masked} fakes{what}", a.selection.annotations);
            let rest = match masked {
                0 => "give masks, let a person draw them (--wait-for-masks), or --annotations 0 (no stage 2)",
                _ => "give --annotations up to that, or 0 (no stage 2)",
            };
            return Err(Error::config("selection.annotations", format!("{why}; {rest}")));
        }
    }
    Ok(())
}
