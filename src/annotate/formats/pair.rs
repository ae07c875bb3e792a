//! A mask and its picture, on the way in and on the way out.

use std::path::PathBuf;

use crate::annotate::queue::Item;
use crate::data::Mask;
use crate::train::masks::Annotation;

/// A mask and the name that the file gives to its picture.
pub(super) struct Found {
    pub name: String,
    /// The file, for messages.
    pub file: PathBuf,
    pub mask: Mask,
}

/// A finished mask on its way out.
pub(super) struct Out<'a> {
    pub item: &'a Item,
    pub mask: Mask,
    pub line: Option<&'a Annotation>,
}

impl Out<'_> {
    /// The picture's path, or for a built-in one the name of its mask.
    pub fn picture(&self) -> String {
        if self.item.picture.is_empty() { format!("{}.png", self.item.name) } else { self.item.picture.clone() }
    }
    /// For the name of a file: the picture's below its class folder, without the ending.
    pub fn stem(&self) -> String {
        let name = self.picture();
        let below = name.strip_prefix("train/fake/").unwrap_or(&name);
        below.rsplit_once('.').map_or(below, |(stem, _)| stem).to_string()
    }
}
