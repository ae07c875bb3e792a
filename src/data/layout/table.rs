//! Manifests: CSV with a header, or JSON lines. Columns `path, label, method, group, split, mask, original, x, y, w, h`, of which `path`
//! and `label` must be there. Paths are relative to the folder of the manifest. JSON lines may also have `fingerprinted`, `side` and `box`,
//! which `forge` writes.
//!
//! Parquet is refused by name: its smallest well-kept reader weighs more than this program.

use std::fs;
use std::path::{Component, Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::reading::{Layout, Reading};
use super::row::{Crop, Place, Row};
use crate::core::file::write_whole;
use crate::error::{Error, Result};
use crate::text::{line, shown};

/// The columns in the order in which they are written.
pub const COLUMNS: [&str; 11] = ["path", "label", "method", "group", "split", "mask", "original", "x", "y", "w", "h"];

pub const MANIFEST: Layout = Layout {
    name: "manifest",
    title: "a manifest",
    shape: "a file .csv or .jsonl with the columns path and label",
    seen: &[],
    detect: |path| path.is_file() && Kind::of(path).is_ok(),
    read,
};

/// How a manifest is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Csv,
    Jsonl,
}

impl Kind {
    /// By the ending of the name; an error names the endings that are known.
    pub fn of(path: &Path) -> Result<Kind> {
        let ending = path.extension().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
        match ending.as_str() {
            "csv" => Ok(Kind::Csv),
            "jsonl" | "ndjson" => Ok(Kind::Jsonl),
            "parquet" | "pq" => Err(Error::data(
                path,
                "Parquet is not supported: convert it to CSV, `python3 -c \"import pandas, sys; \
                 pandas.read_parquet(sys.argv[1]).to_csv(sys.argv[2], index=False)\" FILE.parquet FILE.csv`",
            )),
            "tsv" | "xlsx" | "xls" | "ods" => {
                Err(Error::data(path, "is no manifest: save the table as CSV with commas, FILE.csv"))
            }
            _ => Err(Error::data(path, "is no manifest by its name; a manifest is FILE.csv or FILE.jsonl")),
        }
    }
}

/// One line, before it is checked. Numbers may be written as text and the other way round.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    path: Option<String>,
    label: Option<Value>,
    method: Option<String>,
    group: Option<Value>,
    split: Option<String>,
    mask: Option<String>,
    original: Option<String>,
    x: Option<Value>,
    y: Option<Value>,
    w: Option<Value>,
    h: Option<Value>,
    #[serde(default)]
    fingerprinted: bool,
    side: Option<f64>,
    #[serde(rename = "box")]
    bounds: Option<[usize; 4]>,
}

fn read(path: &Path, out: &mut Reading) -> Result<()> {
    let text = fs::read(path).map_err(|e| Error::io(path, e))?;
    out.sources.push(path.into());
    let root = out.root.clone();
    let mut row = |n: usize, line: Line| -> Result<()> {
        let row = line.row(&root, n).map_err(|why| Error::data(path, format!("line {n}: {why}")))?;
        out.rows.push(row);
        Ok(())
    };
    match Kind::of(path)? {
        Kind::Csv => csv(path, &text, &mut row)?,
        Kind::Jsonl => {
            let text = std::str::from_utf8(&text)
                .map_err(|e| Error::data(path, format!("is no UTF-8 (byte {}); save it as UTF-8", e.valid_up_to())))?;
            for (n, words) in text.trim_start_matches('\u{feff}').lines().enumerate().filter(|(_, l)| !l.trim().is_empty()) {
                let read: Line = serde_json::from_str(words).map_err(|e| {
                    let why = format!("line {}: {e}; the columns are {}", n + 1, COLUMNS.join(", "));
                    Error::data(path, line(&why))
                })?;
                row(n + 1, read)?;
            }
        }
    }
    if out.rows.is_empty() {
        return Err(Error::data(path, "has no row; a row is a picture: path, label (real or fake), …"));
    }
    Ok(())
}

fn csv(path: &Path, text: &[u8], row: &mut dyn FnMut(usize, Line) -> Result<()>) -> Result<()> {
    let bad = |e: csv::Error| {
        let at = e.position().map_or(String::new(), |p| format!("line {}: ", p.line()));
        let why = match e.kind() {
            csv::ErrorKind::UnequalLengths { expected_len, len, .. } => {
                format!("{at}{len} fields, and the header has {expected_len}; quote what holds a comma, and leave no field out")
            }
            csv::ErrorKind::Utf8 { .. } => format!("{at}is no UTF-8; save the table as UTF-8"),
            _ => format!("{at}{e}"),
        };
        Error::data(path, line(&why))
    };
    let mut table = csv::ReaderBuilder::new().from_reader(text);
    let names: Vec<String> =
        table.headers().map_err(bad)?.iter().map(|n| n.trim_start_matches('\u{feff}').trim().to_string()).collect();
    let header = |why: String| Err(Error::data(path, format!("line 1: {why}")));
    if let [one] = &names[..]
        && (one.contains(';') || one.contains('\t'))
    {
        return header("the columns are not parted by commas; save the table with commas".into());
    }
    for (i, name) in names.iter().enumerate() {
        if !COLUMNS.contains(&name.as_str()) {
            let near = COLUMNS.into_iter().max_by(|a, b| strsim::jaro_winkler(a, name).total_cmp(&strsim::jaro_winkler(b, name)));
            let hint = near.filter(|n| strsim::jaro_winkler(n, name) > 0.7).map(|n| format!("did you mean {n:?}? "));
            let why =
                format!("unknown column {:?}; {}the columns are {}", line(name), hint.unwrap_or_default(), COLUMNS.join(", "));
            return header(why);
        }
        if names[..i].contains(name) {
            return header(format!("the column {name:?} is there twice; remove one"));
        }
    }
    if let Some(missing) = ["path", "label"].into_iter().find(|m| names.iter().all(|n| n != m)) {
        return header(format!("no column {missing:?}; a manifest has at least path and label (real or fake)"));
    }
    for record in table.records() {
        let record = record.map_err(bad)?;
        let at = record.position().map_or(0, |p| p.line() as usize);
        let mut line = Line::default();
        for (name, field) in names.iter().zip(&record) {
            let text = Some(field).filter(|f| !f.is_empty()).map(str::to_string);
            let value = text.clone().map(Value::String);
            match name.as_str() {
                "path" => line.path = text,
                "label" => line.label = value,
                "method" => line.method = text,
                "group" => line.group = value,
                "split" => line.split = text,
                "mask" => line.mask = text,
                "original" => line.original = text,
                "x" => line.x = value,
                "y" => line.y = value,
                "w" => line.w = value,
                _ => line.h = value,
            }
        }
        row(at, line)?;
    }
    Ok(())
}

impl Line {
    /// The row, or what is wrong with it. `root`: the folder of the manifest.
    fn row(self, root: &Path, n: usize) -> Result<Row, String> {
        let filled = |text: Option<String>| text.filter(|t| !t.is_empty());
        let path = filled(self.path).ok_or("no path; a row names its picture")?;
        let label = word("label", self.label)?.ok_or("no label; write real or fake")?;
        let fake = match label.to_ascii_lowercase().as_str() {
            "real" => false,
            "fake" => true,
            "0" | "1" => {
                return Err(format!("label {label}: in some sets 1 is fake, in others genuine; write real or fake"));
            }
            _ => return Err(format!("label {:?} is unknown; write real or fake", line(&label))),
        };
        let mut row = Row::new(root.join(path), fake, "");
        let method = filled(self.method);
        let split = filled(self.split);
        row.split = match split.as_deref() {
            None => None,
            Some("train") => Some(Place::Train),
            Some("val") => Some(Place::Val),
            Some("test") => Some(Place::Test),
            Some("unseen") => Some(Place::Unseen),
            Some(other) if other.starts_with("unseen/") && other.len() > "unseen/".len() => Some(Place::Unseen),
            Some(other) => {
                return Err(format!(
                    "split {:?} is unknown; write train, val, test or unseen/METHOD, or nothing in any row",
                    line(other)
                ));
            }
        };
        let told = split.as_deref().and_then(|s| s.strip_prefix("unseen/")).map(str::to_string);
        row.method = match (fake, told) {
            (_, Some(told)) => told,
            (true, None) => method.unwrap_or_else(|| "fake".into()),
            (false, None) => String::new(),
        };
        if !fake && row.split == Some(Place::Unseen) && row.method.is_empty() {
            return Err("a genuine picture in the split unseen, of no method; write unseen/METHOD".into());
        }
        row.group = word("group", self.group)?;
        row.mask = filled(self.mask).map(|m| root.join(m));
        row.original = filled(self.original).map(|o| root.join(o));
        if !fake && (row.mask.is_some() || row.original.is_some()) {
            return Err("a genuine picture has neither mask nor original; is its label wrong?".into());
        }
        let sides = [("x", self.x), ("y", self.y), ("w", self.w), ("h", self.h)];
        let mut numbers = Vec::new();
        for (name, value) in sides {
            let Some(text) = word(name, value)? else { continue };
            numbers.push(text.parse::<usize>().map_err(|_| format!("{name} {:?} is no whole number of pixels", line(&text)))?);
        }
        row.crop = match numbers[..] {
            [] => None,
            [x, y, w, h] if w > 0 && h > 0 => Some(Crop { x, y, w, h }),
            [_, _, _, _] => return Err("a box of no width or height; leave x, y, w, h empty to take the whole picture".into()),
            _ => return Err("x, y, w, h: give all four, or none".into()),
        };
        (row.line, row.fingerprinted, row.side, row.bounds) = (n, self.fingerprinted, self.side, self.bounds);
        Ok(row)
    }
}

/// Text or a number as text; none where the field is empty.
fn word(name: &str, value: Option<Value>) -> Result<Option<String>, String> {
    match value {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(s)) => Ok(Some(s).filter(|s| !s.is_empty())),
        Some(Value::Number(n)) => Ok(Some(n.to_string())),
        Some(other) => Err(format!("{name} is {other}; write text or a number")),
    }
}

/// Writes the rows to `path` as CSV or JSON lines by its ending, under a temporary name that is then changed. Paths become relative to
/// the folder of `path`. A path that is no UTF-8 is an error: no manifest can name it.
pub fn write(reading: &Reading, path: &Path) -> Result<()> {
    let kind = Kind::of(path)?;
    if kind == Kind::Csv && reading.rows.iter().any(|r| r.fingerprinted || r.side.is_some() || r.bounds.is_some()) {
        let why = "CSV has no columns for what the data set says of planted traces and of sizes of regions; write FILE.jsonl";
        return Err(Error::data(path, why));
    }
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let folder = fs::canonicalize(folder).map_err(|e| Error::io(folder, e))?;
    let root = fs::canonicalize(&reading.root).map_err(|e| Error::io(&reading.root, e))?;
    let base = relative(&folder, &root);
    let name = |p: &Path| -> Result<String> {
        let below = match p.strip_prefix(&reading.root) {
            Ok(rest) => base.join(rest),
            Err(_) => relative(&folder, &std::path::absolute(p).map_err(|e| Error::io(p, e))?),
        };
        let words: Option<Vec<&str>> = below.components().map(|c| c.as_os_str().to_str()).collect();
        let text =
            words.ok_or_else(|| Error::data(p, "its name is no UTF-8, which a manifest cannot hold; rename it"))?.join("/");
        let text = text.replacen("//", "/", 1);
        // A spreadsheet takes a field that begins so for a formula.
        Ok(if text.starts_with(['=', '+', '-', '@']) { format!("./{text}") } else { text })
    };
    let memory = |e: csv::Error| Error::data(path, format!("cannot be written: {e}"));
    let mut table = csv::Writer::from_writer(Vec::new());
    let mut lines = String::new();
    table.write_record(COLUMNS).map_err(memory)?;
    for r in &reading.rows {
        let written = Written {
            path: name(&r.path)?,
            label: r.label(),
            method: if r.fake { r.method.clone() } else { "real".into() },
            group: r.group.clone(),
            split: Some(r.split_name()).filter(|s| !s.is_empty()),
            mask: r.mask.as_deref().map(name).transpose()?,
            original: r.original.as_deref().map(name).transpose()?,
            x: r.crop.map(|c| c.x),
            y: r.crop.map(|c| c.y),
            w: r.crop.map(|c| c.w),
            h: r.crop.map(|c| c.h),
            fingerprinted: r.fingerprinted,
            side: r.side,
            bounds: r.bounds,
        };
        match kind {
            Kind::Csv => table.write_record(written.fields()).map_err(memory)?,
            Kind::Jsonl => lines += &format!("{}\n", serde_json::to_string(&written).expect("plain data")),
        }
    }
    let bytes = match kind {
        Kind::Csv => table.into_inner().map_err(|e| Error::data(path, format!("cannot be written: {e}")))?,
        Kind::Jsonl => lines.into_bytes(),
    };
    write_whole(path, &bytes)
}

#[derive(Serialize)]
struct Written {
    path: String,
    label: &'static str,
    method: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    group: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    split: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mask: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    original: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    x: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    y: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    w: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    h: Option<usize>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    fingerprinted: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    side: Option<f64>,
    #[serde(rename = "box", skip_serializing_if = "Option::is_none")]
    bounds: Option<[usize; 4]>,
}

impl Written {
    /// In the order of [`COLUMNS`].
    fn fields(&self) -> [String; 11] {
        let text = |o: &Option<String>| o.clone().unwrap_or_default();
        let number = |o: Option<usize>| o.map_or(String::new(), |v| v.to_string());
        [
            self.path.clone(),
            self.label.into(),
            self.method.clone(),
            text(&self.group),
            text(&self.split),
            text(&self.mask),
            text(&self.original),
            number(self.x),
            number(self.y),
            number(self.w),
            number(self.h),
        ]
    }
}

/// The way from one folder to another file or folder, both absolute.
fn relative(from: &Path, to: &Path) -> PathBuf {
    let (from, to): (Vec<Component>, Vec<Component>) = (from.components().collect(), to.components().collect());
    let common = from.iter().zip(&to).take_while(|(a, b)| a == b).count();
    let up = from[common..].iter().map(|_| Component::ParentDir);
    up.chain(to[common..].iter().copied()).collect()
}

/// The first row that repeats an earlier one: the same picture with the same box.
pub fn repeated(reading: &Reading) -> Result<()> {
    let mut seen = std::collections::HashMap::new();
    for row in &reading.rows {
        if let Some(first) = seen.insert((&row.path, row.crop), row.line)
            && row.line > 0
        {
            let why = format!("line {}: {} is there already, in line {first}; remove one", row.line, shown(&row.path));
            return Err(Error::data(&reading.given, why));
        }
    }
    Ok(())
}
