//! Configuration by dotted keys: defaults, then TOML tables, then `key=value` settings, each value checked by itself so that a wrong
//! one is reported under its full name, with what may have been meant.

use serde_json::Value;

use crate::error::{Error, Result};

/// All keys of a configuration with their default values, and the keys that were given up.
pub struct Keys<'a> {
    /// A tree of objects whose leaves are the default values.
    pub defaults: Value,
    /// Former tables and keys with their present names, `("al", "selection")`; the longest match counts.
    pub former: &'a [(&'a str, &'a str)],
    /// Says of a key that is not here where it belongs, if anywhere.
    pub elsewhere: &'a dyn Fn(&str) -> Option<String>,
}

impl Keys<'_> {
    /// The defaults with `table` laid over them. `valid` gives the reason why a tree is impossible; it is asked after every key.
    pub fn resolve(&self, table: toml::Table, valid: impl Fn(&Value) -> Result<(), String>) -> Result<Value> {
        let known = self.all();
        let mut given = Vec::new();
        flatten("", &toml::Value::Table(table), &mut given);
        for (key, _) in &given {
            if !known.contains(key) {
                return Err(Error::config(key, self.suggestion(key, &known)));
            }
        }
        let mut tree = self.defaults.clone();
        for (key, value) in given {
            if value.as_float().is_some_and(|x| !x.is_finite()) {
                return Err(Error::config(key, format!("{value}: give a finite number")));
            }
            let slot = tree.pointer_mut(&pointer(&key)).expect("known key");
            let default = slot.clone();
            *slot = serde_json::to_value(&value).expect("TOML is plain data");
            if let Err(why) = valid(&tree) {
                let why = why.replace("unknown variant", "unknown value");
                return Err(Error::config(key, format!("{why} (default {})", written(&default))));
            }
        }
        Ok(tree)
    }

    /// Every key, dotted, in alphabetical order.
    pub fn all(&self) -> Vec<String> {
        let mut keys = Vec::new();
        walk("", &self.defaults, &mut keys);
        keys
    }

    /// What may have been meant by a key that does not exist.
    fn suggestion(&self, key: &str, known: &[String]) -> String {
        let renamed = self.former.iter().filter_map(|(old, new)| {
            let rest = key.strip_prefix(old).filter(|rest| rest.is_empty() || rest.starts_with('.'))?;
            Some((old.len(), format!("{new}{rest}")))
        });
        if let Some((_, new)) = renamed.max_by_key(|r| r.0) {
            return format!("is called {new} now");
        }
        let inside: Vec<&str> = known.iter().filter_map(|k| k.strip_prefix(key)?.strip_prefix('.')).collect();
        if !inside.is_empty() {
            let keys: Vec<String> = inside.iter().map(|k| join(key, k)).collect();
            return format!("a table, not a value; its keys are {}", keys.join(", "));
        }
        if let Some(place) = (self.elsewhere)(key) {
            return place;
        }
        // `epochs` for `train.epochs`: all keys with that last word; else the key that is typed most alike.
        let same: Vec<&str> = known.iter().filter(|k| k.ends_with(&format!(".{key}"))).map(String::as_str).collect();
        let distance = |k: &str| strsim::damerau_levenshtein(k, key);
        match (same.is_empty(), known.iter().min_by_key(|k| distance(k))) {
            (true, Some(near)) if 2 * distance(near) <= key.len() => format!("no such key; did you mean {near}?"),
            (true, _) => "no such key; `lae-engine train --print-config` prints all of them".into(),
            (false, _) => format!("no such key; did you mean {}?", same.join(" or ")),
        }
    }
}

/// `train.lr` as a JSON pointer.
pub fn pointer(key: &str) -> String {
    format!("/{}", key.replace('.', "/"))
}

fn walk(prefix: &str, v: &Value, keys: &mut Vec<String>) {
    match v {
        Value::Object(map) => map.iter().for_each(|(k, v)| walk(&join(prefix, k), v, keys)),
        _ => keys.push(prefix.to_string()),
    }
}

pub fn join(prefix: &str, key: &str) -> String {
    if prefix.is_empty() { key.to_string() } else { format!("{prefix}.{key}") }
}

/// Dotted keys and values of a TOML value.
pub fn flatten(prefix: &str, v: &toml::Value, out: &mut Vec<(String, toml::Value)>) {
    match v {
        toml::Value::Table(t) => t.iter().for_each(|(k, v)| flatten(&join(prefix, k), v, out)),
        _ => out.push((prefix.to_string(), v.clone())),
    }
}

/// Lay `from` over `into`, table by table.
pub fn merge(into: &mut toml::Table, from: toml::Table) {
    for (k, v) in from {
        match (into.get_mut(&k), v) {
            (Some(toml::Value::Table(a)), toml::Value::Table(b)) => merge(a, b),
            (_, v) => {
                into.insert(k, v);
            }
        }
    }
}

/// Lay the setting `key=value` over `table`.
pub fn set(table: &mut toml::Table, setting: &str) -> Result<()> {
    let (key, value) = setting
        .split_once('=')
        .filter(|(key, _)| !key.trim().is_empty())
        .ok_or_else(|| Error::config("--set", format!("{setting:?} is no setting; write --set key=value")))?;
    insert(table, key.trim(), parse_value(value.trim()))
}

fn insert(table: &mut toml::Table, key: &str, value: toml::Value) -> Result<()> {
    match key.split_once('.') {
        None => {
            table.insert(key.to_string(), value);
            Ok(())
        }
        Some((head, rest)) => {
            let slot = table.entry(head).or_insert_with(|| toml::Value::Table(toml::Table::new()));
            let inner = slot.as_table_mut().ok_or_else(|| Error::config(key, format!("{head} is a value, not a table")))?;
            insert(inner, rest, value)
        }
    }
}

/// A TOML value, or the text itself where it is none (`--set cam.norm=none` without quotes).
fn parse_value(text: &str) -> toml::Value {
    match format!("x = {text}").parse::<toml::Table>() {
        Ok(mut t) => t.remove("x").expect("just parsed"),
        Err(_) => toml::Value::String(text.to_string()),
    }
}

/// Declares an enum whose variants are the values of a key, in snake case.
#[macro_export]
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum $name { $($(#[$vdoc])* $variant),* }
    };
}

/// A value as one would write it: JSON widens an f32 to f64, and 0.06 would show as 0.05999999865889549.
fn written(v: &Value) -> String {
    match v {
        Value::String(s) => s.clone(),
        Value::Null => "none".into(),
        Value::Array(all) => format!("[{}]", all.iter().map(written).collect::<Vec<_>>().join(", ")),
        Value::Number(n) => match n.as_f64().filter(|&x| n.is_f64() && x == x as f32 as f64) {
            Some(x) => (x as f32).to_string(),
            None => n.to_string(),
        },
        other => other.to_string(),
    }
}

/// Declares a table of keys: `name: type = default`, with the explanation as doc comment.
#[macro_export]
macro_rules! table {
    ($(#[$doc:meta])* $name:ident { $($(#[$fdoc:meta])* $field:ident: $ty:ty = $default:expr),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
        #[serde(deny_unknown_fields, default)]
        pub struct $name { $($(#[$fdoc])* pub $field: $ty),* }
        impl Default for $name {
            fn default() -> Self {
                $name { $($field: $default),* }
            }
        }
    };
}

/// Checks of values, each error under its key.
pub mod check {
    use crate::error::{Error, Result};

    /// Whole numbers from 1 to the third number of each row.
    pub fn counts(rows: &[(&str, usize, usize)]) -> Result<()> {
        match rows.iter().find(|(_, n, most)| *n == 0 || n > most) {
            Some((key, n, most)) => Err(Error::config(*key, format!("{n}: give 1 to {most}"))),
            None => Ok(()),
        }
    }
    /// Rates and factors: finite and above zero.
    pub fn positive(rows: &[(&str, f64)]) -> Result<()> {
        match rows.iter().find(|(_, x)| !(x.is_finite() && *x > 0.0)) {
            Some((key, x)) => Err(Error::config(*key, format!("{x}: give a positive number"))),
            None => Ok(()),
        }
    }
    /// Weights of losses: finite and not below zero.
    pub fn not_negative(rows: &[(&str, f64)]) -> Result<()> {
        match rows.iter().find(|(_, x)| !(x.is_finite() && *x >= 0.0)) {
            Some((key, x)) => Err(Error::config(*key, format!("{x}: give 0 or a positive number"))),
            None => Ok(()),
        }
    }
    /// Decays of Adam's moments.
    pub fn decays(rows: &[(&str, f64)]) -> Result<()> {
        match rows.iter().find(|(_, b)| !(0.0..1.0).contains(b)) {
            Some((key, b)) => Err(Error::config(*key, format!("{b}: a decay of Adam lies in 0 ≤ β < 1"))),
            None => Ok(()),
        }
    }
    /// A share of something, from 0 to 1.
    pub fn shares(rows: &[(&str, f64, &str)]) -> Result<()> {
        match rows.iter().find(|(_, x, _)| !(0.0..=1.0).contains(x)) {
            Some((key, x, of)) => Err(Error::config(*key, format!("{x}: a share of {of} lies between 0 and 1"))),
            None => Ok(()),
        }
    }
}
