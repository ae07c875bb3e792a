//! What every kind of data set answers: how many pictures a split has, the label of each, and the picture itself.
//!
//! A new kind (a video, an archive) implements [`Pictures`] in a file of its own, and [`Dataset::open`](super::Dataset::open) chooses
//! it. Caching, batches and the order of an epoch are the same for all kinds and live in [`Dataset`](super::Dataset).

use std::path::Path;

use super::manifest::Entry;
use super::picture::Picture;
use super::provenance::Provenance;
use super::sample::{MaskOrigin, Sample, Split};
use super::source::Source;
use crate::error::Result;

/// Random access to the labelled pictures of all splits. `split` may be one that the data set lacks: its length is 0.
pub trait Pictures: Send + Sync {
    /// Name of the method that is trained on; "fake" for a folder that does not tell.
    fn seen(&self) -> &str;

    /// Names of the methods that are only tested on, in the order of [`Split::Unseen`].
    fn unseen(&self) -> Vec<&str>;

    /// Pictures in a split; 0 where there is no such split.
    fn len(&self, split: Split) -> usize;

    /// The label, without making the picture.
    fn is_fake(&self, split: Split, i: u32) -> bool;

    /// Whether picture `i` is a fake whose mask is known, without making the picture.
    fn has_mask(&self, split: Split, i: u32) -> bool;

    /// The photograph of a picture that is the same in every epoch. None where the photograph is not known.
    fn group(&self, split: Split, i: u32) -> Option<u32>;

    /// Makes or reads picture `i < len(split)`. `epoch` matters only where [`Pictures::fresh`] is true.
    fn sample(&self, split: Split, i: u32, epoch: u32) -> Result<Sample>;

    /// Adds to the record of the data's origin what only this kind knows: source, methods, files passed over, notices.
    fn describe(&self, record: &mut Provenance);

    /// The files behind the pictures and the masks, by the name they have in the folder that was given. None for built-in ones.
    fn files(&self) -> Vec<(String, &Path)> {
        Vec::new()
    }

    /// The picture files of a split, without masks, by their names in [`Pictures::files`]. None for built-in ones.
    fn files_of(&self, _split: Split) -> Vec<(String, &Path)> {
        Vec::new()
    }

    /// The photographs that a split is made from; none for a kind whose pictures are ready.
    fn photographs(&self, _split: Split) -> Option<(&Source, &[u32])> {
        None
    }

    /// Picture `i` at the size that its file has, with its mask at that size; none for a kind that makes its pictures.
    fn original(&self, _split: Split, _i: u32) -> Option<Result<Sample>> {
        None
    }

    /// Fake `i` as it was before it was forged, pixel by pixel beside it, in the size of [`Pictures::original`] or, without that, of
    /// [`Pictures::sample`]. None where that picture is not there. `epoch` as in [`Pictures::sample`].
    fn untouched(&self, _split: Split, _i: u32, _epoch: u32) -> Option<Result<Picture>> {
        None
    }

    /// Whether [`Pictures::untouched`] has a picture, without making it.
    fn has_original(&self, _split: Split, _i: u32) -> bool {
        false
    }

    /// Who made the masks.
    fn mask_origin(&self) -> MaskOrigin;

    /// The file of picture `i`, where each picture has its own.
    fn path(&self, _split: Split, _i: u32) -> Option<&Path> {
        None
    }

    /// Width and height of [`Pictures::original`], in pixels, without reading the picture.
    fn own_size(&self, _split: Split, _i: u32) -> Option<Result<(usize, usize)>> {
        None
    }

    /// The line of the manifest about picture `i`, where there is one.
    fn entry(&self, _split: Split, _i: u32) -> Option<&Entry> {
        None
    }

    /// Whether the pictures of a split change with the epoch, so that remembering one would be of no use.
    fn fresh(&self, _split: Split) -> bool {
        false
    }

    /// The split under which picture `i` is remembered. Another than `split` where two splits share the picture.
    fn home(&self, split: Split, _i: u32) -> Split {
        split
    }

    /// Whether genuine picture `i` and fake `i + 1` come from the same crop, and shall come into the same batch: two versions
    /// of it, or two windows of a larger one.
    fn twins(&self) -> bool {
        false
    }
}
