//! The methods that can be trained: one file each, or a folder. To add one, write its network in `src/models`, its entry here (an
//! [`Entry`] and a [`Detector`]), and add the word to the list below.

pub mod classifier;

use std::path::Path;

use crate::core::case::Case;
use crate::core::params::ParamStore;
use crate::device::Device;
use crate::error::{Error, Result};
use crate::nn::Mode;
use crate::train::detector::{Detector, Entry, Purpose};
use crate::train::recorder::{Recorder, Step};
use crate::train::run::{CONFIG, Run};
use crate::train::{TrainConfig, resolve as config};

macro_rules! detectors {
    ($($name:ident),* $(,)?) => {
        $(pub mod $name;)*
        /// Every detector, in the order of the list; the first is the default.
        pub static DETECTORS: &[&Entry] = &[$(&$name::ENTRY),*];
    };
}

detectors! {
    lae,
    suppress,
    residual,
    stats,
    meso,
    xception,
    transfer,
}

/// The entry of that name, or what may have been meant.
pub fn find(name: &str) -> Result<&'static Entry> {
    if let Some(e) = DETECTORS.iter().find(|e| e.name == name) {
        return Ok(e);
    }
    let near = DETECTORS.iter().min_by_key(|e| strsim::damerau_levenshtein(e.name, name)).expect("there are detectors");
    let meant = if 2 * strsim::damerau_levenshtein(near.name, name) <= name.len() {
        format!("did you mean {}?", near.name)
    } else {
        format!("one of {}", DETECTORS.iter().map(|e| e.name).collect::<Vec<_>>().join(", "))
    };
    Err(Error::config("detector", format!("{name:?} is not a detector; {meant}")))
}

/// The configuration of a training: a detector (`None`: the one that the file or a setting names, else the default), a preset, a file
/// over it, and `key=value` settings over both.
pub fn resolve(
    detector: Option<&str>,
    preset: &str,
    file: Option<&Path>,
    set: &[String],
) -> Result<(&'static Entry, TrainConfig)> {
    let named = match file {
        Some(file) => config::read(file)?.get("detector").and_then(|v| v.as_str()).map(str::to_string),
        None => None,
    };
    let set_to = set.iter().rev().find_map(|s| s.split_once('=').filter(|(k, _)| k.trim() == "detector")).map(|(_, v)| v.trim());
    let name = detector.or(set_to).or(named.as_deref()).unwrap_or(DETECTORS[0].name);
    let entry = find(name.trim_matches('"'))?;
    Ok((entry, config::resolve(entry, preset, file, set, &|key| elsewhere(entry, key))?))
}

/// Says which other detectors have a key that `entry` has not.
fn elsewhere(entry: &Entry, key: &str) -> Option<String> {
    let others = DETECTORS.iter().filter(|e| e.name != entry.name);
    let has: Vec<&str> = others.filter(|e| config::all_keys(e).iter().any(|k| k == key)).map(|e| e.name).collect();
    let with = has.first()?;
    Some(format!("is a key of {}, not of {}; leave it out, or give --detector {with}", has.join(" and "), entry.name))
}

/// The entry and the configuration of a run folder, or what is wrong with it.
pub fn of_run(dir: &Path) -> Result<(&'static Entry, TrainConfig)> {
    let file = dir.join(CONFIG);
    if !file.is_file() {
        return Err(Error::data(dir, format!("is not a run folder: it has no {CONFIG}; `lae-engine train` makes one")));
    }
    let table = config::read(&file)?;
    let Some(name) = table.get("detector").and_then(|v| v.as_str()) else {
        let why = "has no key `detector`: it was written by version 0.1; use that version, or train anew";
        return Err(Error::data(&file, why));
    };
    let in_file = |e: Error| match e {
        Error::Config { key, why } => Error::data(&file, format!("{key}: {why}")),
        e => e,
    };
    let entry = find(name).map_err(in_file)?;
    let config = config::from_table(entry, table, &|key| elsewhere(entry, key)).map_err(in_file)?;
    Ok((entry, config))
}

/// Go on with a run that was stopped; see [`Run::resume`]. `allow_duplicates`: also over pictures in two splits or with two
/// labels, which a data set may hold that changed since the run began.
pub fn resume(dir: &Path, command: String, device: &Device, changed_data: bool, allow_duplicates: bool) -> Result<Run> {
    let (entry, mut config) = of_run(dir)?;
    if allow_duplicates && config.data.dir.is_none() && !config.data.allow_duplicates {
        let why = "the run makes its forgeries from photographs, whose copies it leaves out: resume it without";
        return Err(Error::config("--allow-duplicates", why));
    }
    config.data.allow_duplicates |= allow_duplicates;
    Run::resume(entry, config, dir, command, device, changed_data)
}

/// One step of a stage on `n` pictures, ready to run.
pub fn step(
    detector: &dyn Detector,
    config: &TrainConfig,
    store: &ParamStore,
    stage: usize,
    n: usize,
    device: &Device,
) -> Result<Step> {
    let mut r = Recorder::new(store, Mode::Train, n, config.size);
    let scores = detector.record(&mut r, stage)?;
    r.finish(device, &[scores])
}

/// The ops of a training step of every stage, with `n` pictures each, once for every set of gradients asked of them.
pub fn cases(entry: &Entry, config: &TrainConfig, n: impl Fn(usize) -> usize) -> Result<Vec<Case>> {
    let mut store = ParamStore::new(config.seed);
    store.activations = config.activations();
    let detector = (entry.build)(config, &mut store, Purpose::Train)?;
    let mut cases: Vec<Case> = Vec::new();
    for stage in 0..detector.stages().len() {
        for case in step(&*detector, config, &store, stage, n(stage), &Device::Cpu)?.plan.cases() {
            if !cases.iter().any(|c| c.same_work(&case) && c.wants == case.wants) {
                cases.push(case);
            }
        }
    }
    Ok(cases)
}
