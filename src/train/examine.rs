//! What a trained model says of one picture: the whole of it, shrunk to the size that the model was trained on, or window by window at
//! the picture's own size.

use std::path::Path;

use super::config::{TrainConfig, View};
use super::detector::Detector;
use super::photo::{Map, NO_READING, Reading, reading_of};
use super::scan::{Scan, Scanner};
use super::score::{Scorer, Verdict};
use crate::core::params::ParamStore;
use crate::data::picture::Picture;
use crate::device::Device;
use crate::error::{Error, Result};
use crate::metrics::calibration;
use crate::report::heatmap::bilinear;

/// Judges pictures of any size, one after the other.
pub struct Examiner {
    pub way: Way,
    size: usize,
}

/// How a picture is looked at.
pub enum Way {
    Whole(Box<Scorer>),
    Windows(Box<Scanner>, Box<Reading>),
}

/// What was found in a picture.
pub struct Finding {
    /// `fake`, `real`, or with windows `fake`, `inconclusive`, `no sign found`.
    pub word: &'static str,
    /// None where validation could not calibrate it.
    pub p_fake: Option<f64>,
    /// Named by [`Examiner::names`].
    pub values: Vec<f64>,
    /// What the model's own validation says of such a score.
    pub experience: Option<String>,
    /// What a reader must know of this picture's verdict.
    pub notes: Vec<String>,
    place: Place,
}

enum Place {
    Nowhere,
    Grid(Vec<f32>, usize),
    Windows(Vec<Scan>, f32),
}

/// Above this share of marked windows a picture is called marked all over.
const ALL_OVER: f64 = 0.6;

impl Examiner {
    /// `notes`: the metadata of the checkpoint `file`, from which the weights in `store` came. An error if windows are asked for and
    /// the model has no reading of them.
    pub fn new(
        device: &Device,
        detector: &dyn Detector,
        store: &ParamStore,
        config: &TrainConfig,
        view: View,
        (notes, file): (&std::collections::HashMap<String, String>, &Path),
    ) -> Result<Examiner> {
        let size = config.size;
        if view == View::Whole {
            return Ok(Examiner { way: Way::Whole(Box::new(Scorer::new(device, detector, store, size, 1)?)), size });
        }
        let Some(reading) = reading_of(notes, file)? else {
            let why = match notes.get(NO_READING) {
                Some(why) => format!(
                    "windows: this model could not be calibrated when it was trained ({why}); give --view whole, or train on more \
                     photographs"
                ),
                None => {
                    "windows: this model was trained to see whole pictures, and what its windows mean was never measured; give \
                         --view whole, or train anew with --set detect.view=windows"
                        .into()
                }
            };
            return Err(Error::config("detect.view", why));
        };
        Ok(Examiner {
            way: Way::Windows(Box::new(Scanner::new(device, detector, store, size, &config.detect.windows)?), Box::new(reading)),
            size,
        })
    }

    /// What [`Finding::values`] are called.
    pub fn names(&self) -> &[&'static str] {
        match &self.way {
            Way::Whole(scorer) => scorer.names,
            Way::Windows(..) => &["score", "windows"],
        }
    }

    /// Whether findings have a map.
    pub fn has_map(&self) -> bool {
        match &self.way {
            Way::Whole(scorer) => scorer.grid.is_some(),
            Way::Windows(..) => true,
        }
    }

    /// Whether these maps are Grad-CAM's.
    pub fn has_grad_cam(&self) -> bool {
        matches!(&self.way, Way::Whole(scorer) if scorer.has_grad_cam())
    }

    /// An error for a picture that no verdict could be about: too small, or of one colour.
    pub fn examine(&mut self, detector: &dyn Detector, store: &mut ParamStore, picture: &Picture) -> Result<Finding> {
        match &mut self.way {
            Way::Whole(scorer) => {
                let x: Vec<f32> = picture.resize(self.size).rgb.iter().map(|&v| v as f32 / 255.0).collect();
                let verdict = scorer.run(detector, store, &x)?.remove(0);
                Ok(whole(verdict, scorer.grid))
            }
            Way::Windows(scanner, reading) => {
                if picture.rgb.chunks_exact(3).all(|p| p == &picture.rgb[..3]) {
                    let why = "is all one colour: a regenerated region would look the same, and no verdict is given";
                    return Err(Error::data("picture", why));
                }
                let scans = scanner.scan(detector, store, picture)?;
                Ok(windows(scans, reading, picture))
            }
        }
    }
}

fn whole(verdict: Verdict, grid: Option<usize>) -> Finding {
    Finding {
        word: if verdict.called_fake() { "fake" } else { "real" },
        p_fake: Some(verdict.p_fake()),
        values: verdict.values.iter().map(|&x| x as f64).collect(),
        experience: None,
        notes: Vec::new(),
        place: verdict.map.zip(grid).map_or(Place::Nowhere, |(map, grid)| Place::Grid(map, grid)),
    }
}

fn windows(scans: Vec<Scan>, reading: &Reading, picture: &Picture) -> Finding {
    let score = reading.pool.of(&scans);
    let windows: usize = scans.iter().map(|s| s.evidence.len()).sum();
    let own = &scans[scans.len() / 2];
    let mut notes = Vec::new();
    let largest = scans.iter().map(|s| s.side).max().unwrap_or(0);
    if picture.short_side() < largest {
        let (w, h) = (picture.w, picture.h);
        notes.push(format!("{w} × {h} pixels are less than a window of {largest}: there is little to go by"));
    }
    let marked = own.evidence.iter().filter(|&&x| x > reading.mark).count() as f64 / own.evidence.len() as f64;
    if marked > ALL_OVER {
        let share = (100.0 * marked).round();
        notes.push(format!(
            "{share} % of the windows look forged: the whole picture may be made, or smoothed, enlarged or denoised"
        ));
    }
    Finding {
        word: reading.calibration.verdict(score).words(),
        p_fake: reading.calibration.p_fake(score),
        values: vec![score, windows as f64],
        experience: Some(reading.calibration.sentence(score)),
        notes,
        place: Place::Windows(scans, reading.mark),
    }
}

impl Finding {
    pub fn called_fake(&self) -> bool {
        self.word == calibration::Verdict::Fake.words()
    }

    /// Whether a map's values mean the same in every picture.
    pub fn absolute(&self) -> bool {
        matches!(self.place, Place::Windows(..))
    }

    /// Where a picture of `from` pixels looks forged, as `to` values; none of a detector without a map. Of windows, as
    /// [`Map::shown`] has it; of whole pictures, what the detector's own map has.
    pub fn map(&self, from: (usize, usize), to: (usize, usize)) -> Result<Option<Vec<f32>>> {
        match &self.place {
            Place::Nowhere => Ok(None),
            Place::Grid(map, grid) => bilinear(map, *grid, *grid, to.0, to.1).map(Some),
            Place::Windows(scans, mark) => Ok(Some(Map::of(scans, from, to).shown(*mark))),
        }
    }
}
