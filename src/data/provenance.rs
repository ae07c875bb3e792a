//! Where the data came from: the record that reports print and exports write beside the pictures.

use serde::Serialize;

use super::config::SplitBy;
use super::fingerprint::Fingerprint;

/// Where the data came from, for reports: serialisable, complete.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Provenance {
    /// In words.
    pub source: String,
    /// The genuine pictures are painted by the program.
    pub synthetic_pictures: bool,
    /// The fakes were made by the program.
    pub synthetic_forgeries: bool,
    /// Pixels a side; 0: each picture its own.
    pub size: usize,
    pub seed: u64,
    /// Of train, val and test (the same ones three times if split by crop).
    pub photographs: Option<[usize; 3]>,
    pub split_by: Option<SplitBy>,
    /// Training pictures are new in every epoch.
    pub fresh: bool,
    /// Every fake has its genuine twin in the set.
    pub paired: bool,
    /// Unreadable files passed over so far.
    pub skipped_files: usize,
    /// Of a folder: (class folder, file format, files).
    pub formats: Vec<(String, String, usize)>,
    pub counts: Vec<Count>,
    pub methods: Vec<MethodRecord>,
    pub hole: Option<String>,
    /// What is forged where it is more than the picture.
    pub context: Option<String>,
    /// The scale of the crops where some are not resampled.
    pub scale: Option<String>,
    /// Processing that genuine and forged pictures have had, in words.
    pub processing: Option<String>,
    pub fingerprint: Option<FingerprintRecord>,
    /// Counterexamples among the training pictures, in words.
    pub counter: Option<String>,
    /// What a reader must know: planted traces, shared photographs, missing masks, format leaks.
    pub notices: Vec<String>,
}

impl Provenance {
    /// A record that knows only the side of the pictures and the seed.
    pub fn new(size: usize, seed: u64) -> Provenance {
        Provenance { size, seed, ..Provenance::default() }
    }

    /// Adds the notice about `skipped_files`, if there were any.
    pub fn note_skipped(&mut self) {
        match self.skipped_files {
            0 => {}
            1 => self.notices.push("1 unreadable picture was skipped".into()),
            n => self.notices.push(format!("{n} unreadable pictures were skipped")),
        }
    }
}

/// Pictures of one split.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Count {
    /// Its name, as in [`Dataset::name`](super::Dataset::name).
    pub split: String,
    pub real: usize,
    pub fake: usize,
}

/// One forging method.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct MethodRecord {
    /// In configs, folders and tables.
    pub name: String,
    /// "seen" or "unseen".
    pub role: &'static str,
    /// Citation, or "folder".
    pub source: String,
}

/// The trace that is planted on the seen forger's fakes.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FingerprintRecord {
    pub kind: Fingerprint,
    /// In the unit of its kind: grey levels of 255, JPEG quality, or factor of enlargement.
    pub amplitude: f32,
    /// Share of the seen fakes that carry the trace, 0..=1.
    pub rate: f32,
}
