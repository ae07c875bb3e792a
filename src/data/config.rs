//! The `[data]` table of a config file: what the pictures are, how they are forged, how they are divided.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::faces::{EDITS, SWAPS};
use super::fingerprint::Fingerprint;
use super::forge::{FORGERS, Forger};
use super::hole::Hole;
use super::task::{Task, chosen};
use crate::error::{Error, Result};

/// How the photographs are divided.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SplitBy {
    /// Train, validation and test share no photograph, so that a test tells how a model does on photographs that are new to it.
    #[default]
    Photo,
    /// Train, validation and test draw crops from the same photographs. For collections so small that a split by photograph would
    /// leave one or two for the tests. Reports carry a notice.
    Crop,
}

/// The `[data]` table of a config file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DataConfig {
    /// Folder of photographs, searched recursively; forgeries are made here. With neither `photos` nor `dir` the built-in
    /// painter is the source.
    #[serde(with = "crate::text::optional_path")]
    pub photos: Option<PathBuf>,
    /// Ready-made data set: `DIR/{train,val,test}/{real,fake,mask}/` and `DIR/unseen/<method>/{fake,mask}/`, a folder of another layout of
    /// [`layout::LAYOUTS`](super::layout::LAYOUTS), or a manifest (CSV, JSON lines).
    #[serde(with = "crate::text::optional_path")]
    pub dir: Option<PathBuf>,
    /// Method of the fakes that are trained on: telea, harmonic, biharmonic, patchmatch or poisson; warp or decoder (swap);
    /// bottleneck or flow (attribute). With `dir`: a method of the data set, or all; names of the program's methods are not looked at.
    pub seen: String,
    /// Methods that are only tested on. Empty: all the others of the task.
    pub unseen: Vec<String>,
    /// Shape of the forged region: central (the paper), rect or stroke.
    pub hole: Hole,
    /// Least and most area of a random hole, as a share of the picture, in (0, 0.9].
    pub hole_share: [f32; 2],
    /// Training pictures are made anew every epoch (crop, flip, hole, forgery). `false` freezes them. Validation and test are
    /// always frozen.
    pub fresh: bool,
    /// Divide by photograph or by crop.
    pub split: SplitBy,
    /// Share of the photographs that is kept for validation (split = "photo").
    pub val_share: f32,
    /// Share of the photographs that is kept for the tests (split = "photo").
    pub test_share: f32,
    /// Training pictures per epoch, half of them genuine.
    pub train_count: usize,
    /// Validation pictures, half genuine.
    pub val_count: usize,
    /// Test pictures, half genuine; each unseen test has as many.
    pub test_count: usize,
    /// Photographs that the built-in painter makes, all splits together. 0: as many as half of `cache_mib` holds, 60 to 1200
    /// (1200 at 64 pixels, 151 at 256); more are painted again each time that they are needed.
    pub photographs: usize,
    /// Side of a built-in photograph in units of the picture size.
    pub photograph_scale: f32,
    /// With `photos`: share of the training crops that are cut from photographs of the built-in painter, 0..=0.9. Validation and
    /// tests see none of them.
    pub painted: f32,
    /// Least and most side of a crop window in units of the picture size; windows are limited to the photograph.
    pub crop_scale: [f32; 2],
    /// Share of the crops that are taken at the photograph's own scale, without resampling, 0..=1; the others follow
    /// `crop_scale`.
    pub native: f32,
    /// Side of the context: the part of a photograph that is forged and processed, of which a picture is a window. In units of
    /// the picture size; 1: the picture itself.
    pub context: f32,
    /// Least and most side of the hole where the context is larger than the picture (√area, in units of the picture size).
    pub hole_side: [f32; 2],
    /// Least share of forged pixels in a fake that is a window of a larger context.
    pub forged_least: f32,
    /// Share of the genuine pictures that are windows of a forged context without a forged pixel, 0..=1.
    pub hard_negatives: f32,
    /// Mirror half of the crops.
    pub flip: bool,
    /// A genuine picture and the fake after it show the same crop. `false`: different crops.
    pub paired: bool,
    /// Trace planted on the seen forger's fakes: none, checkerboard, jpeg, resample or noise.
    pub fingerprint: Fingerprint,
    /// Strength of the trace: grey levels of 255 (checkerboard 3, noise 2), JPEG quality (85) or factor (1.3). Unset: the value in brackets.
    pub fingerprint_amplitude: Option<f32>,
    /// Share of the seen fakes that carry the trace, 0..=1.
    pub fingerprint_rate: f32,
    /// Go on where pictures lie in two splits or carry two labels, and keep copies among photographs.
    pub allow_duplicates: bool,
    /// Memory for photographs and for frozen samples, MiB (half each).
    pub cache_mib: usize,
}

impl Default for DataConfig {
    fn default() -> DataConfig {
        DataConfig {
            photos: None,
            dir: None,
            seen: "telea".into(),
            unseen: Vec::new(),
            hole: Hole::Rect,
            hole_share: [0.06, 0.25],
            fresh: true,
            split: SplitBy::Photo,
            val_share: 0.1,
            test_share: 0.2,
            train_count: 6400,
            val_count: 512,
            test_count: 1000,
            photographs: 0,
            photograph_scale: 3.0,
            painted: 0.0,
            crop_scale: [1.0, 4.0],
            native: 0.0,
            context: 1.0,
            hole_side: [0.4, 3.5],
            forged_least: 0.1,
            hard_negatives: 0.0,
            flip: true,
            paired: true,
            fingerprint: Fingerprint::None,
            fingerprint_amplitude: None,
            fingerprint_rate: 1.0,
            allow_duplicates: false,
            cache_mib: 512,
        }
    }
}

impl DataConfig {
    /// Refuses impossible values, naming the key.
    pub fn check(&self) -> Result<()> {
        let fail = |key: &str, why: String| Err(Error::config(format!("data.{key}"), why));
        if self.photos.is_some() && self.dir.is_some() {
            return fail("photos", "photos and dir exclude each other: give photographs to forge, or a ready data set".into());
        }
        for (key, n) in [("train_count", self.train_count), ("val_count", self.val_count), ("test_count", self.test_count)] {
            if n < 2 || !n.is_multiple_of(2) || n > 100_000_000 {
                return fail(
                    key,
                    format!("{n} pictures cannot be half genuine, half fake; use an even number from 2 to 100,000,000"),
                );
            }
        }
        let [lo, hi] = self.hole_share;
        if !(lo > 0.0 && lo <= hi && hi <= 0.9) {
            return fail("hole_share", format!("[{lo}, {hi}] is no range of area shares; use 0 < least <= most <= 0.9"));
        }
        let [lo, hi] = self.crop_scale;
        if !(lo >= 0.1 && lo <= hi && hi <= 1000.0) {
            return fail("crop_scale", format!("[{lo}, {hi}] is no range of window sizes; use 0.1 <= least <= most"));
        }
        for (key, share) in
            [("native", self.native), ("hard_negatives", self.hard_negatives), ("forged_least", self.forged_least)]
        {
            if !(0.0..=1.0).contains(&share) {
                return fail(key, format!("{share} is no share; use 0 to 1"));
            }
        }
        if !(0.0..=0.9).contains(&self.painted) {
            let why = format!("{} is no share; use 0 to 0.9: with 1 leave data.photos out", self.painted);
            return fail("painted", why);
        }
        self.check_context()?;
        if !(0.5..=16.0).contains(&self.photograph_scale) {
            return fail("photograph_scale", format!("{} is out of range; use 0.5 to 16", self.photograph_scale));
        }
        for (key, share) in [("val_share", self.val_share), ("test_share", self.test_share)] {
            if !(share > 0.0 && share < 1.0) {
                return fail(key, format!("{share} is no share; use a number between 0 and 1"));
            }
        }
        if self.val_share + self.test_share >= 1.0 {
            return fail("test_share", "val_share and test_share together leave nothing to train on; make them smaller".into());
        }
        if !(0.0..=1.0).contains(&self.fingerprint_rate) {
            return fail("fingerprint_rate", format!("{} is no share of fakes; use 0 to 1", self.fingerprint_rate));
        }
        if self.photographs > u32::MAX as usize {
            return fail("photographs", format!("{} are too many; use at most {}", self.photographs, u32::MAX));
        }
        self.fingerprint.check("data.fingerprint_amplitude", self.amplitude())?;
        if self.dir.is_some() && self.fingerprint != Fingerprint::None {
            return fail(
                "fingerprint",
                "a trace can only be planted on fakes that are made here; use data.photos, or neither, instead of data.dir"
                    .into(),
            );
        }
        // A ready data set names its methods itself.
        if self.dir.is_some() { Ok(()) } else { self.check_methods() }
    }

    /// The folder that the names of a ready data set are relative to: `dir`, or the folder of the manifest.
    pub fn root(&self) -> Option<&Path> {
        let dir = self.dir.as_deref()?;
        if dir.is_file() { dir.parent() } else { Some(dir) }
    }

    /// What belongs to contexts that are larger than the pictures.
    fn check_context(&self) -> Result<()> {
        let fail = |key: &str, why: String| Err(Error::config(format!("data.{key}"), why));
        let context = self.context;
        if !(1.0..=16.0).contains(&context) {
            return fail("context", format!("{context} is no side of a context; use 1 (the picture itself) to 16"));
        }
        let [lo, hi] = self.hole_side;
        if !(lo >= 0.05 && lo <= hi && hi <= 16.0) {
            return fail("hole_side", format!("[{lo}, {hi}] is no range of sides; use 0.05 <= least <= most <= 16"));
        }
        if context == 1.0 {
            return match self.hard_negatives > 0.0 {
                true => {
                    fail("hard_negatives", "a context of one picture has no window beside the hole; set data.context = 3".into())
                }
                false => Ok(()),
            };
        }
        // A rectangle of aspect 2 loses to a window what it is longer; strokes fill half of what they span.
        let most = 0.9 * (lo * lo).min(1.0);
        if self.forged_least > most {
            let why = format!(
                "the smallest hole ({lo} pictures a side) covers less; use at most {most:.2}, or a larger data.hole_side"
            );
            return fail("forged_least", why);
        }
        let (longest, windows) = if self.hole == Hole::Central { (lo, 2.0) } else { (lo * std::f32::consts::SQRT_2, 1.0) };
        if lo > Hole::MOST * context {
            return fail(
                "hole_side",
                format!("holes from {lo} pictures a side fill a context of {context}; make data.context larger"),
            );
        }
        if self.hard_negatives > 0.0 && longest + windows > context {
            let why = format!(
                "a context of {context} has no window beside its hole; set data.context = {:.1}",
                longest + windows + 0.05
            );
            return fail("hard_negatives", why);
        }
        let paints = self.dir.is_none() && (self.photos.is_none() || self.painted > 0.0);
        if paints && self.photograph_scale < context {
            let why = format!(
                "{}: painted photographs are smaller than data.context = {context}; make it larger",
                self.photograph_scale
            );
            return fail("photograph_scale", why);
        }
        Ok(())
    }

    /// Side of the context in pixels for pictures of `size` × `size` pixels.
    pub(super) fn context_side(&self, size: usize) -> usize {
        ((size as f32 * self.context).round() as usize).max(size)
    }

    /// Strength of the fingerprint, the default of its kind where none is set.
    pub fn amplitude(&self) -> f32 {
        self.fingerprint_amplitude.unwrap_or(self.fingerprint.default_amplitude())
    }

    /// The seen forger and the unseen ones, of the task `inpainting`.
    pub(super) fn forgers(&self) -> Result<(&'static dyn Forger, Vec<&'static dyn Forger>)> {
        chosen(&self.seen, &self.unseen, &FORGERS, |f| f.name())
    }

    /// That all methods are of one task.
    fn check_methods(&self) -> Result<()> {
        match Task::of_method("data.seen", &self.seen)? {
            Task::Inpainting => self.forgers().map(drop),
            Task::Swap => chosen(&self.seen, &self.unseen, &SWAPS, |m| m.name()).map(drop),
            Task::Attribute => chosen(&self.seen, &self.unseen, &EDITS, |m| m.name()).map(drop),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_configuration_survives_toml_and_refuses_unknown_keys() {
        let c = DataConfig { hole: Hole::Stroke, fingerprint: Fingerprint::Jpeg, split: SplitBy::Crop, ..DataConfig::default() };
        let text = toml::to_string(&c).unwrap();
        assert!(text.contains("hole = \"stroke\"") && text.contains("split = \"crop\""), "{text}");
        assert_eq!(toml::from_str::<DataConfig>(&text).unwrap(), c);
        assert_eq!(toml::from_str::<DataConfig>("").unwrap(), DataConfig::default());
        assert!(toml::from_str::<DataConfig>("sene = \"telea\"").unwrap_err().to_string().contains("sene"));
    }
}
