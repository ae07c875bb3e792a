//! From presets, a file and settings to a checked configuration.

use std::path::Path;

use serde_json::Value;

use super::config::{Shared, TrainConfig, join};
use super::detector::Entry;
use super::keys::{self, Keys};
use crate::data::Task;
use crate::error::{Error, Result};

/// The presets, with what they say to every detector; each detector adds its own, see [`Entry::presets`].
pub const PRESETS: &[(&str, &str)] = &[
    ("small", include_str!("../../configs/small.toml")),
    ("paper", include_str!("../../configs/paper.toml")),
    ("smoke", include_str!("../../configs/smoke.toml")),
];

/// Preset, then file, then `key=value` settings. `elsewhere` says of an unknown key which other detector has it.
pub fn resolve(
    entry: &Entry,
    preset: &str,
    file: Option<&Path>,
    set: &[String],
    elsewhere: &dyn Fn(&str) -> Option<String>,
) -> Result<TrainConfig> {
    let mut table = preset_table(preset)?;
    let own: toml::Table = entry.presets.parse().expect("presets are valid TOML");
    if let Some(toml::Value::Table(own)) = own.get(preset) {
        keys::merge(&mut table, own.clone());
    }
    table.insert("detector".into(), toml::Value::String(entry.name.into()));
    let file = file.map(read).transpose()?.unwrap_or_default();
    keys::merge(&mut table, of_task(asked_task(&file, set)?, preset, Some(entry)));
    keys::merge(&mut table, file);
    set.iter().try_for_each(|s| keys::set(&mut table, s))?;
    from_table(entry, table, elsewhere)
}

/// The shared keys alone, for commands that make data and train nothing.
pub fn shared(preset: &str, set: &[String]) -> Result<Shared> {
    let mut table = preset_table(preset)?;
    keys::merge(&mut table, of_task(asked_task(&toml::Table::new(), set)?, preset, None));
    set.iter().try_for_each(|s| keys::set(&mut table, s))?;

    let keys = Keys { defaults: serde_json::to_value(Shared::default()).expect("plain data"), former: &[], elsewhere: &|_| None };
    let parse = |tree: &Value| serde_json::from_value::<Shared>(tree.clone());
    let tree = keys.resolve(table, |tree| parse(tree).map(drop).map_err(|e| e.to_string()))?;
    let config = parse(&tree).map_err(|e| Error::config("configuration", e))?;
    config.check()?;
    Ok(config)
}

/// Pictures shrunk to 64 pixels and judged as a whole, as the paper has it.
const SHRUNK: &str = include_str!("../../docs/shrunk.toml");
/// Its tables that every detector reads; the others are the LAE's own or set its pace.
const OF_ALL: [&str; 4] = ["size", "data", "augment", "detect"];

/// What judges pictures as a whole in place of windows of photographs, over the preset `small` of a detector.
pub fn whole_pictures(entry: Option<&Entry>) -> toml::Table {
    let mut table: toml::Table = SHRUNK.parse().expect("a file of this repository");
    if entry.is_none_or(|e| e.name != "lae") {
        table.retain(|key, _| OF_ALL.contains(&key));
    }
    table
}

/// What a task says over a preset: its first method is the seen one, and painted faces are pictures, not photographs with windows.
fn of_task(task: Task, preset: &str, entry: Option<&Entry>) -> toml::Table {
    if task == Task::Inpainting {
        return toml::Table::new();
    }
    let mut table = if preset == "small" { whole_pictures(entry) } else { toml::Table::new() };
    let faces: toml::Table = format!("data = {{ seen = {:?}, photographs = 0 }}", task.methods()[0]).parse().expect("two keys");
    keys::merge(&mut table, faces);
    table
}

/// The task that settings or a file name, settings first.
fn asked_task(file: &toml::Table, set: &[String]) -> Result<Task> {
    let mut table = toml::Table::new();
    if let Some(task) = file.get("task") {
        table.insert("task".into(), task.clone());
    }
    set.iter().filter(|s| s.trim_start().starts_with("task")).try_for_each(|s| keys::set(&mut table, s))?;
    match table.get("task") {
        Some(toml::Value::String(name)) => name.parse().map_err(|why| Error::config("task", why)),
        // Anything else is refused with all keys.
        _ => Ok(Task::default()),
    }
}

/// What a preset says to every detector.
fn preset_table(preset: &str) -> Result<toml::Table> {
    let Some((_, text)) = PRESETS.iter().find(|p| p.0 == preset) else {
        let names: Vec<&str> = PRESETS.iter().map(|p| p.0).collect();
        return Err(Error::config("--preset", format!("{preset:?} is not a preset; one of {}", names.join(", "))));
    };
    Ok(text.parse().expect("presets are valid TOML"))
}

/// The configuration of that table, whose key `detector` names `entry`.
pub fn from_table(entry: &Entry, table: toml::Table, elsewhere: &dyn Fn(&str) -> Option<String>) -> Result<TrainConfig> {
    let keys = keys_of(entry, elsewhere);
    let tree = keys.resolve(table, |tree| split(entry, tree).map(drop).map_err(|e| e.to_string()))?;
    let config = split(entry, &tree).map_err(|e| Error::config("configuration", e))?;
    if config.detector != entry.name {
        let why = format!("{:?}, and --detector says {}: give one of them", config.detector, entry.name);
        return Err(Error::config("detector", why));
    }
    config.check()?;
    (entry.check)(&config)?;
    Ok(config)
}

/// Every key of a detector, dotted: the shared ones and its own.
pub fn all_keys(entry: &Entry) -> Vec<String> {
    keys_of(entry, &|_| None).all()
}

fn keys_of<'a>(entry: &'a Entry, elsewhere: &'a dyn Fn(&str) -> Option<String>) -> Keys<'a> {
    Keys { defaults: join(&Shared::default(), &(entry.defaults)()), former: entry.former, elsewhere }
}

/// The inverse of [`join`].
fn split(entry: &Entry, tree: &Value) -> Result<TrainConfig, serde_json::Error> {
    let own = (entry.defaults)();
    let own = own.as_object().expect("a table");
    let (mut shared, mut mine) = (serde_json::Map::new(), serde_json::Map::new());
    for (key, value) in tree.as_object().expect("a table") {
        let to = if own.contains_key(key) { &mut mine } else { &mut shared };
        to.insert(key.clone(), value.clone());
    }
    let own = (entry.parse)(&Value::Object(mine))?;
    Ok(TrainConfig::new(serde_json::from_value(Value::Object(shared))?, own))
}

/// A TOML file as a table.
pub fn read(file: &Path) -> Result<toml::Table> {
    let text = std::fs::read_to_string(file).map_err(|e| Error::io(file, e))?;
    text.parse().map_err(|e| Error::data(file, format!("not valid TOML: {e}")))
}
