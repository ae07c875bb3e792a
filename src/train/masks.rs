//! The masks that a person draws for stage 2: the folder `masks` of a run.
//!
//! ```text
//! masks/train-000123.png          a finished mask: grey, 0 or 255, as large as its picture
//! masks/drafts/train-000123.png   what is being drawn
//! masks/annotations.jsonl         one object a line: who, when, how long, with what; the last line about a picture counts
//! ```
//! A mask is written before its line, which has the mask's checksum. A mask that is another than its line says, or has none, came
//! from elsewhere (or from a server that was killed between the two) and counts as a file.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::data::MaskOrigin;
use crate::error::{Error, Result};

pub const MASKS: &str = "masks";
pub const DRAFTS: &str = "drafts";
pub const ANNOTATIONS: &str = "annotations.jsonl";

/// What became of a picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    Masked,
    /// The annotator will not mask the picture, and says why.
    Skipped,
    /// Opened again after one of the others.
    Open,
}

/// A line of `annotations.jsonl`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Annotation {
    /// Into the training split of epoch 0.
    pub index: u32,
    /// The mask's file without its ending.
    pub name: String,
    /// The picture's file; empty for a built-in one.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub picture: String,
    pub outcome: Outcome,
    /// Of a skipped picture.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// Who; empty if nobody said.
    #[serde(default)]
    pub by: String,
    /// UTC, `2026-11-30T21:04:05Z`.
    #[serde(default)]
    pub when: String,
    /// At the picture.
    #[serde(default)]
    pub seconds: f64,
    /// In the order of first use: `brush`, `polygon`, `import coco`.
    #[serde(default)]
    pub tools: Vec<String>,
    /// What the first mask was made from: `difference`, `heat map`, `last mask`, `none`.
    #[serde(default)]
    pub first: String,
    /// Strokes and other changes after the first mask.
    #[serde(default)]
    pub edits: u32,
    /// Share of the picture that the mask covers.
    #[serde(default)]
    pub area: f64,
    /// Of the mask's file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub crc32c: Option<u32>,
    pub origin: MaskOrigin,
}

/// The name of a mask's file without its ending.
pub fn name(index: u32) -> String {
    format!("train-{index:06}")
}

/// The folder of masks of a run.
pub fn folder(run: &Path) -> PathBuf {
    run.join(MASKS)
}

/// The file of a finished mask.
pub fn file(run: &Path, index: u32) -> PathBuf {
    folder(run).join(name(index) + ".png")
}

/// All lines of `annotations.jsonl`; none without the file.
pub fn read(run: &Path) -> Result<Vec<Annotation>> {
    let path = folder(run).join(ANNOTATIONS);
    let text = match std::fs::read_to_string(&path) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        text => text.map_err(|e| Error::io(&path, e))?,
    };
    let line = |(n, words): (usize, &str)| {
        serde_json::from_str(words).map_err(|e| {
            Error::data(&path, format!("line {}: {e}; correct it, or move the file away (its masks then count as files)", n + 1))
        })
    };
    text.lines().enumerate().filter(|(_, l)| !l.trim().is_empty()).map(line).collect()
}

/// The last line about each picture.
pub fn latest(lines: Vec<Annotation>) -> BTreeMap<u32, Annotation> {
    lines.into_iter().map(|a| (a.index, a)).collect()
}

/// Where a chosen picture stands.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    Masked { origin: MaskOrigin, by: String },
    Skipped { reason: String },
    Missing,
}

/// Where the chosen pictures stand, in their order.
pub fn answers(run: &Path, chosen: &[u32]) -> Result<Vec<Answer>> {
    let lines = latest(read(run)?);
    let answer = |i: &u32| {
        let line = lines.get(i);
        match line.map(|a| a.outcome) {
            Some(Outcome::Skipped) => return Ok(Answer::Skipped { reason: line.map_or(String::new(), |a| a.reason.clone()) }),
            Some(Outcome::Open) => return Ok(Answer::Missing),
            _ => {}
        }
        let file = file(run, *i);
        let bytes = match std::fs::read(&file) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Answer::Missing),
            bytes => bytes.map_err(|e| Error::io(&file, e))?,
        };
        let own = line.filter(|a| a.crc32c == Some(crc32c::crc32c(&bytes)));
        let (origin, by) = own.map_or((MaskOrigin::File, String::new()), |a| (a.origin, a.by.clone()));
        Ok(Answer::Masked { origin, by })
    };
    chosen.iter().map(answer).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_and_the_file_decide_together() {
        let dir = tempfile::tempdir().unwrap();
        let run = dir.path();
        std::fs::create_dir(folder(run)).unwrap();
        assert_eq!(answers(run, &[1]).unwrap(), [Answer::Missing]);
        let line = |index: u32, outcome: &str, more: &str| {
            format!(
                "{{\"index\":{index},\"name\":\"x\",\"outcome\":\"{outcome}\",\"origin\":\"person\",\"by\":\"anna\"{more}}}\n"
            )
        };
        let of_x = format!(",\"crc32c\":{}", crc32c::crc32c(b"x"));
        let lines = [
            line(1, "masked", &of_x),
            line(2, "masked", ""),
            line(3, "masked", ""),
            line(3, "skipped", ",\"reason\":\"unsure\""),
            line(4, "open", ""),
            line(6, "masked", ",\"crc32c\":7"),
        ];
        std::fs::write(folder(run).join(ANNOTATIONS), lines.concat()).unwrap();
        [1, 3, 4, 5, 6].iter().for_each(|&i| std::fs::write(file(run, i), "x").unwrap());
        let masked = |origin, by: &str| Answer::Masked { origin, by: by.into() };
        assert_eq!(
            answers(run, &[6, 5, 4, 3, 2, 1]).unwrap(),
            [
                masked(MaskOrigin::File, ""),
                masked(MaskOrigin::File, ""),
                Answer::Missing,
                Answer::Skipped { reason: "unsure".into() },
                Answer::Missing,
                masked(MaskOrigin::Person, "anna"),
            ]
        );
        std::fs::write(folder(run).join(ANNOTATIONS), lines.concat() + "{\"index\":").unwrap();
        let e = read(run).unwrap_err().to_string();
        assert!(e.contains("annotations.jsonl") && e.contains("line 7"), "{e}");
    }
}
