//! What a data set hands out: one labelled picture, and a batch of them in the layout of the engine.

use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::picture::{Mask, Picture};

/// A part of the data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Split {
    Train,
    Val,
    /// The seen forger, as trained (with the fingerprint, if any).
    Test,
    /// Unseen method by its number in [`Dataset::unseen`](super::Dataset::unseen).
    Unseen(usize),
    /// `Test` without the fingerprint. Empty where no fingerprint is planted.
    SeenClean,
}

/// Who made a mask.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MaskOrigin {
    /// The forger that changed the pixels: exact.
    Forger,
    /// A file that came with the pictures, or was imported.
    File,
    /// A person, who drew or confirmed it.
    Person,
}

impl MaskOrigin {
    pub fn name(self) -> &'static str {
        match self {
            MaskOrigin::Forger => "forger",
            MaskOrigin::File => "file",
            MaskOrigin::Person => "person",
        }
    }

    /// To go on with after a number of masks: `12 masks by the forger`.
    pub fn words(self) -> &'static str {
        match self {
            MaskOrigin::Forger => "by the forger",
            MaskOrigin::File => "from files",
            MaskOrigin::Person => "by a person",
        }
    }
}

/// One labelled picture.
#[derive(Clone, Debug)]
pub struct Sample {
    /// S × S pixels.
    pub picture: Picture,
    /// S × S pixels, 1 = manipulated. None for genuine pictures and for fakes whose mask is not known.
    pub mask: Option<Mask>,
    pub fake: bool,
    /// Forger or folder name; "real" for genuine pictures.
    pub method: Arc<str>,
    /// Number of the photograph that the picture was cropped from, where known.
    pub group: Option<u32>,
    /// Whether the picture carries the planted trace.
    pub fingerprinted: bool,
    /// The file behind the picture: the picture of a folder, or the photograph that was cropped.
    pub path: Option<PathBuf>,
}

/// A batch in the layout of the engine (NHWC). Buffers are kept from one fill to the next.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// Number of pictures.
    pub n: usize,
    /// S, pixels a side.
    pub size: usize,
    /// n·S·S·3, sRGB values 0..=1.
    pub x: Vec<f32>,
    /// n: the paper's l, 1 = genuine, 0 = fake.
    pub label_true: Vec<f32>,
    /// n·S·S: 1 = manipulated; all 0 where `has_mask` is 0.
    pub mask: Vec<f32>,
    /// n: 1 = a fake whose mask is known.
    pub has_mask: Vec<f32>,
    /// n: photograph, or [`Batch::NO_GROUP`].
    pub group: Vec<u32>,
    /// n: index in the split.
    pub index: Vec<u32>,
}

impl Batch {
    /// In `group`: the photograph is not known.
    pub const NO_GROUP: u32 = u32::MAX;

    /// Replaces the contents by the pictures of `a`, then those of `b`.
    pub fn set_concatenation(&mut self, a: &Batch, b: &Batch) {
        fn join<T: Copy>(to: &mut Vec<T>, a: &[T], b: &[T]) {
            to.clear();
            to.extend_from_slice(a);
            to.extend_from_slice(b);
        }
        self.n = a.n + b.n;
        self.size = a.size;
        join(&mut self.x, &a.x, &b.x);
        join(&mut self.label_true, &a.label_true, &b.label_true);
        join(&mut self.mask, &a.mask, &b.mask);
        join(&mut self.has_mask, &a.has_mask, &b.has_mask);
        join(&mut self.group, &a.group, &b.group);
        join(&mut self.index, &a.index, &b.index);
    }
}
