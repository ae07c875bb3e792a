//! What was decided about a picture or mask that another viewer would decide otherwise: told, never silent.

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use crate::text::shown;

/// The kinds of decisions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// One frame or page of several was taken.
    Frame,
    /// Transparency was laid over white.
    Alpha,
    /// An alpha channel that is zero everywhere was ignored.
    EmptyAlpha,
    /// Colours were converted from an embedded profile to sRGB.
    Profile,
    /// An embedded colour profile was not applied.
    ProfileIgnored,
    /// Colours were converted to sRGB from the gamma and the primaries, or the CICP codes, that a PNG file names.
    Gamma,
    /// Such were not applied.
    GammaIgnored,
    /// A complete JPEG file without its end marker.
    NoEnd,
    /// A forged picture is turned by its EXIF orientation; its mask was taken as drawn on the turned picture.
    Turned,
    /// A mask was turned as its picture is turned.
    MaskTurned,
    /// A mask that covers most of the picture and its border.
    MaskInverted,
    /// A mask with many values between black and white.
    MaskGrey,
    /// A mask that looks like a grey photograph.
    MaskPhotograph,
    /// A mask whose colours had to be told into forged and genuine.
    MaskColours,
    /// A mask whose transparent pixels were taken for forged or for genuine.
    MaskAlpha,
}

impl Kind {
    /// The sentence about `n` files of this kind.
    fn counted(self, n: usize) -> String {
        let (one, many, what) = match self {
            Kind::Frame => ("picture has", "pictures have", "several frames or pages: the first was taken"),
            Kind::Alpha => ("picture has", "pictures have", "transparent pixels: they were laid over white"),
            Kind::EmptyAlpha => ("picture has", "pictures have", "an alpha channel that is zero everywhere: it was ignored"),
            Kind::Profile => ("picture was", "pictures were", "converted from an embedded colour profile to sRGB"),
            Kind::ProfileIgnored => ("picture has", "pictures have", "a colour profile that was not applied"),
            Kind::Gamma => ("PNG file was", "PNG files were", "converted from the gamma, primaries or CICP codes to sRGB"),
            Kind::GammaIgnored => ("PNG file has", "PNG files have", "gamma, primaries or CICP codes that were not applied"),
            Kind::NoEnd => ("JPEG file", "JPEG files", "without an end marker: complete all the same"),
            Kind::Turned => {
                ("fake is", "fakes are", "turned by the EXIF orientation: the mask was taken as drawn on the turned picture")
            }
            Kind::MaskTurned => ("mask was", "masks were", "turned as the EXIF orientation turns the picture"),
            Kind::MaskInverted => {
                ("mask covers", "masks cover", "most of the picture and its border: white was taken for forged; perhaps inverted")
            }
            Kind::MaskGrey => ("mask has", "masks have", "many grey values: above 127 of 255 was taken for forged"),
            Kind::MaskPhotograph => {
                ("mask looks", "masks look", "like a grey photograph: above 127 of 255 was taken for forged; put masks there")
            }
            Kind::MaskColours => ("mask has", "masks have", "colours that were told into forged and genuine"),
            Kind::MaskAlpha => ("mask has", "masks have", "transparent pixels that were told into forged and genuine"),
        };
        format!("{n} {} {what}", if n == 1 { one } else { many })
    }
}

/// One decision about one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    pub kind: Kind,
    /// In words, without the file's name.
    pub text: String,
}

impl Note {
    pub fn new(kind: Kind, text: impl Into<String>) -> Note {
        Note { kind, text: text.into() }
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// The notes of a data set: the user is told of the first file of each kind, and all files are counted by kind.
pub struct Noted {
    tell: fn(&str),
    files: Mutex<BTreeMap<Kind, HashSet<PathBuf>>>,
}

impl Noted {
    /// No note yet.
    pub fn new(tell: fn(&str)) -> Noted {
        Noted { tell, files: Mutex::default() }
    }

    /// Counts a file under the kind of each of its notes; any number of readings of a file count once.
    pub fn add(&self, file: &Path, notes: &[Note]) {
        for note in notes {
            let mut files = self.files.lock().unwrap_or_else(|p| p.into_inner());
            let of_kind = files.entry(note.kind).or_default();
            if of_kind.insert(file.to_path_buf()) && of_kind.len() == 1 {
                (self.tell)(&format!("note      {}: {note} (more of this kind are only counted)", shown(file)));
            }
        }
    }

    /// One sentence for each kind that occurred.
    pub fn sentences(&self) -> Vec<String> {
        let files = self.files.lock().unwrap_or_else(|p| p.into_inner());
        files.iter().map(|(kind, files)| kind.counted(files.len())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_are_counted_by_kind_and_file() {
        let noted = Noted::new(|_| ());
        let note = |kind| Note::new(kind, "words");
        noted.add(Path::new("a.gif"), &[note(Kind::Frame), note(Kind::Alpha)]);
        noted.add(Path::new("b.gif"), &[note(Kind::Frame)]);
        noted.add(Path::new("b.gif"), &[note(Kind::Frame)]);
        assert_eq!(
            noted.sentences(),
            [
                "2 pictures have several frames or pages: the first was taken",
                "1 picture has transparent pixels: they were laid over white"
            ]
        );
    }
}
