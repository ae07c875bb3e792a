//! What a folder holds: the pictures that are read, sorted, and everything else by kind, so that a verdict about a folder says what it
//! leaves out.
//!
//! * Each real folder is visited once and each file is given once, whatever links lead to it. Names that are no links come first.
//! * Regular files only: a pipe or a device is never opened, since opening a pipe waits for its writer.
//! * A file is a picture by the ending of its name or by its content ([`sniff`]). Heat maps ([`is_heat_map`]) and hidden files are not
//!   given; they are counted like pictures of kinds that are not read, links that lead nowhere, and all other files.

use std::collections::{BTreeMap, HashSet};
use std::fs::{self, File, FileType};
use std::io::Read;
use std::path::{Path, PathBuf};

use super::picture::is_picture_name;
use crate::error::{Error, Result};
use crate::text::shown;

/// What the names of heat maps end with.
pub const HEAT: &str = ".heat.png";

/// Where the chunk that names the owner stands in a heat map: after the PNG signature and the header.
pub const HEAT_CHUNK: usize = 8 + 25;

/// How the chunk begins, after its length. The owner's number follows.
pub const HEAT_KEYWORD: &[u8] = b"tEXtlae-engine heat map of\0";

/// Kinds of pictures and videos that are not read, by the endings of their names.
const UNREAD: &[(&str, &[&str])] = &[
    ("HEIC", &["heic", "heif", "heics", "hif"]),
    ("AVIF", &["avif", "avifs"]),
    ("JPEG 2000", &["jp2", "j2k", "jpf", "jpx", "j2c", "jpc"]),
    ("JPEG XL", &["jxl"]),
    ("JPEG XR", &["jxr", "wdp", "hdp"]),
    (
        "raw",
        &[
            "cr2", "cr3", "crw", "nef", "nrw", "arw", "srf", "sr2", "dng", "raf", "orf", "rw2", "pef", "srw", "x3f", "raw",
            "3fr", "iiq", "erf", "kdc", "dcr", "mrw",
        ],
    ),
    ("PSD", &["psd", "psb"]),
    ("XCF", &["xcf"]),
    ("SVG", &["svg", "svgz"]),
    ("OpenEXR", &["exr"]),
    ("Radiance", &["hdr"]),
    ("TGA", &["tga", "icb", "vda"]),
    ("ICO", &["ico", "cur", "icns"]),
    ("QOI", &["qoi"]),
    ("PCX", &["pcx"]),
    ("DDS", &["dds"]),
    ("farbfeld", &["ff"]),
    ("DICOM", &["dcm"]),
    ("MNG", &["mng"]),
    ("video", &["mp4", "mov", "avi", "mkv", "webm", "m4v", "mpg", "mpeg", "wmv", "3gp"]),
];

/// What the first bytes of a file are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// A picture that is read: its format.
    Read(&'static str),
    /// A picture or a video that is not read: its kind.
    Unread(&'static str),
    /// No picture that is known here.
    Other,
}

/// What a file is by its first bytes (64 are enough).
pub fn sniff(head: &[u8]) -> Content {
    use Content::*;
    let at = |i: usize, magic: &[u8]| head.get(i..i + magic.len()) == Some(magic);
    let brand = |names: &[&str]| at(4, b"ftyp") && names.iter().any(|n| at(8, n.as_bytes()));
    let digit = |i: usize| head.get(i).is_some_and(|b| b.is_ascii_digit() || *b == b'#');
    let pnm = head.len() > 3 && head[0] == b'P' && head[2].is_ascii_whitespace();
    match head {
        _ if at(0, b"\x89PNG\r\n\x1a\n") => Read("png"),
        _ if at(0, b"\xff\xd8\xff") => Read("jpeg"),
        _ if at(0, b"GIF87a") || at(0, b"GIF89a") => Read("gif"),
        _ if at(0, b"RIFF") && at(8, b"WEBP") => Read("webp"),
        _ if at(0, b"II*\0") && at(8, b"CR") => Unread("raw"),
        _ if at(0, b"II*\0") || at(0, b"MM\0*") || at(0, b"II+\0") || at(0, b"MM\0+") => Read("tiff"),
        _ if at(0, b"BM") && at(6, &[0; 4]) && head.get(14).is_some_and(|n| [12, 40, 52, 56, 64, 108, 124].contains(n)) => {
            Read("bmp")
        }
        _ if pnm && (b'1'..=b'6').contains(&head[1]) && digit(3) => Read("pnm"),
        _ if pnm && head[1] == b'7' && at(3, b"WIDTH") => Read("pnm"),
        _ if brand(&["heic", "heix", "hevc", "heim", "heis", "mif1", "msf1"]) => Unread("HEIC"),
        _ if brand(&["avif", "avis"]) => Unread("AVIF"),
        _ if brand(&["crx "]) => Unread("raw"),
        _ if brand(&["isom", "iso2", "iso4", "iso5", "iso6", "mp41", "mp42", "avc1", "qt  ", "M4V ", "3gp"]) => Unread("video"),
        _ if at(0, b"\x1a\x45\xdf\xa3") || (at(0, b"RIFF") && at(8, b"AVI ")) => Unread("video"),
        _ if at(0, b"\0\0\0\x0cjP  ") || at(0, b"\xff\x4f\xff\x51") => Unread("JPEG 2000"),
        _ if at(0, b"\xff\x0a") || at(0, b"\0\0\0\x0cJXL ") => Unread("JPEG XL"),
        _ if at(0, b"II\xbc\x01") => Unread("JPEG XR"),
        _ if at(0, b"FUJIFILMCCD") || at(0, b"IIRO") || at(0, b"IIU\0") => Unread("raw"),
        _ if at(0, b"8BPS") => Unread("PSD"),
        _ if at(0, b"gimp xcf") => Unread("XCF"),
        _ if at(0, b"<svg") => Unread("SVG"),
        _ if at(0, b"\x76\x2f\x31\x01") => Unread("OpenEXR"),
        _ if at(0, b"#?RADIANCE") || at(0, b"#?RGBE") => Unread("Radiance"),
        _ if at(0, b"qoif") => Unread("QOI"),
        _ if at(0, b"DDS ") => Unread("DDS"),
        _ if at(0, b"farbfeld") => Unread("farbfeld"),
        _ if at(0, b"\x8aMNG") => Unread("MNG"),
        _ => Other,
    }
}

/// The first `n` bytes of a regular file.
pub fn head_of(path: &Path, n: usize) -> std::io::Result<Vec<u8>> {
    let mut head = Vec::with_capacity(n);
    File::open(path)?.take(n as u64).read_to_end(&mut head)?;
    Ok(head)
}

/// The error of a file that cannot be read as a picture, with what the file really is where its content tells.
pub fn explained(error: Error) -> Error {
    let Error::Data { file, why } = &error else { return error };
    match head_of(file, 64).map(|h| sniff(&h)) {
        Ok(Content::Unread(kind)) => Error::data(file, format!("is {kind}, which is not read here; {}", remedy(&[kind]))),
        _ if !is_picture_name(file) && !why.contains("is it a picture?") => {
            Error::data(file, format!("{why} (is it a picture?)"))
        }
        _ => error,
    }
}

/// What to do about pictures of these kinds.
fn remedy(kinds: &[&str]) -> String {
    match kinds {
        ["video"] => "take frames out of it, `ffmpeg -i FILE frame%05d.png`".into(),
        ["HEIC" | "AVIF"] => "convert it, `heif-convert FILE FILE.png` or `magick FILE FILE.png`".into(),
        _ => "convert to png or jpeg, `magick FILE FILE.png`".into(),
    }
}

/// Refuses what opening would wait for: pipes, sockets, devices. Also folders. Links are followed.
pub fn regular(path: &Path) -> Result<()> {
    let meta = fs::metadata(path).map_err(|e| match e.kind() {
        std::io::ErrorKind::NotFound if fs::symlink_metadata(path).is_ok() => {
            Error::data(path, "is a link that leads nowhere; restore the file behind it, or remove the link")
        }
        std::io::ErrorKind::NotFound => Error::data(path, "no such file"),
        _ => Error::io(path, e),
    })?;
    match special(meta.file_type()) {
        None => Ok(()),
        Some(kind) => Err(Error::data(path, format!("is a {kind}, not a regular file; give a picture in a file"))),
    }
}

/// What a thing that is no regular file is.
fn special(kind: FileType) -> Option<&'static str> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::FileTypeExt;
        if kind.is_fifo() {
            return Some("pipe");
        }
        if kind.is_socket() {
            return Some("socket");
        }
        if kind.is_block_device() || kind.is_char_device() {
            return Some("device");
        }
    }
    match kind {
        k if k.is_file() => None,
        k if k.is_dir() => Some("folder"),
        _ => Some("special file"),
    }
}

/// What a name leads to: two names of one file or folder have the same.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Identity {
    /// Device and inode.
    Inode(u64, u64),
    /// The path without links, where the system has no inodes.
    Path(PathBuf),
}

/// See [`Identity`]. Links are followed.
pub fn identity(path: &Path) -> std::io::Result<Identity> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        let meta = fs::metadata(path)?;
        Ok(Identity::Inode(meta.dev(), meta.ino()))
    }
    #[cfg(not(unix))]
    fs::canonicalize(path).map(Identity::Path)
}

/// What a walk did not give, by kind.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Passed {
    /// (in the order of the line, kind) with how many and the first of them.
    kinds: BTreeMap<(u8, &'static str), (usize, PathBuf)>,
}

/// In the order of the line. The first three hold or may hold pictures.
const UNREAD_PICTURE: u8 = 0;
const HIDDEN_PICTURE: u8 = 1;
const UNREADABLE: u8 = 2;
const NO_PICTURE: u8 = 3;

impl Passed {
    pub(super) fn add(&mut self, rank: u8, kind: &'static str, path: &Path) {
        self.kinds.entry((rank, kind)).or_insert_with(|| (0, path.to_path_buf())).0 += 1;
    }

    /// One more name of a file that was given already.
    pub fn add_name(&mut self, path: &Path) {
        self.add(NO_PICTURE, "further name", path);
    }

    /// Takes what another walk passed over.
    pub fn join(&mut self, other: Passed) {
        for (key, (n, path)) in other.kinds {
            self.kinds.entry(key).or_insert((0, path)).0 += n;
        }
    }

    /// Pictures among them, and what may be or hold pictures: links, files and folders that cannot be read.
    pub fn pictures(&self) -> usize {
        self.kinds.iter().filter(|((rank, _), _)| *rank < NO_PICTURE).map(|(_, (n, _))| n).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.kinds.is_empty()
    }

    /// For a report, if pictures are among them.
    pub fn notice(&self) -> Option<String> {
        (self.pictures() > 0).then(|| format!("pictures that are not in the data were passed over: {}", self.line()))
    }

    /// Each kind: its name, how many, the first of them, whether these are or may be pictures. In the order of [`Passed::line`].
    pub fn kinds(&self) -> impl Iterator<Item = (&'static str, usize, &Path, bool)> {
        self.kinds.iter().map(|((rank, kind), (n, first))| (*kind, *n, first.as_path(), *rank < NO_PICTURE))
    }

    /// `3 HEIC (a/1.heic first), 1 JPEG 2000 (b.jp2), 2 other files; what to do`. Empty where nothing was passed over.
    pub fn line(&self) -> String {
        let words = self.kinds.iter().map(|((rank, kind), (n, first))| {
            let plural = if *rank == UNREAD_PICTURE || *n == 1 { "" } else { "s" };
            match (rank, n) {
                (&NO_PICTURE, _) => format!("{n} {kind}{plural}"),
                (_, 1) => format!("{n} {kind}{plural} ({})", shown(first)),
                _ => format!("{n} {kind}{plural} ({} first)", shown(first)),
            }
        });
        let words = words.collect::<Vec<_>>().join(", ");
        let unread: Vec<&str> = self.kinds.keys().filter(|k| k.0 == UNREAD_PICTURE).map(|k| k.1).collect();
        if unread.is_empty() { words } else { format!("{words}; {}", remedy(&unread)) }
    }
}

/// What [`walk`] found.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// Files that are pictures by name or content, sorted.
    pub pictures: Vec<PathBuf>,
    pub passed: Passed,
}

/// Everything below a folder. `every_name`: give a file under each of its names (masks: a thousand fakes may share one).
/// Only a folder `dir` that cannot be listed is an error.
pub fn walk(dir: &Path, every_name: bool) -> Result<Found> {
    let root = fs::canonicalize(dir).map_err(|e| Error::io(dir, e))?;
    let mut walk =
        Walk { root, every_name, found: Found::default(), folders: HashSet::new(), files: HashSet::new(), links: Vec::new() };
    fs::read_dir(dir).map_err(|e| Error::io(dir, e))?;
    walk.folder(dir);
    // Links wait until everything has been visited under its own name.
    while !walk.links.is_empty() {
        let mut links = std::mem::take(&mut walk.links);
        links.sort();
        links.iter().for_each(|link| walk.link(link));
    }
    walk.found.pictures.sort();
    Ok(walk.found)
}

struct Walk {
    /// The folder itself, without links.
    root: PathBuf,
    every_name: bool,
    found: Found,
    folders: HashSet<Identity>,
    files: HashSet<Identity>,
    links: Vec<PathBuf>,
}

impl Walk {
    fn pass(&mut self, rank: u8, kind: &'static str, path: &Path) {
        self.found.passed.add(rank, kind, path);
    }

    /// Visits a folder and the folders below. The folders that wait are a list, since a chain of folders may be deeper than the stack.
    fn folder(&mut self, dir: &Path) {
        let mut waiting = vec![dir.to_path_buf()];
        while let Some(dir) = waiting.pop() {
            match identity(&dir) {
                Ok(id) if self.folders.insert(id.clone()) => {}
                Ok(_) => continue,
                Err(_) => {
                    self.pass(UNREADABLE, "unreadable folder", &dir);
                    continue;
                }
            }
            let Ok(entries) = fs::read_dir(&dir).and_then(|d| d.collect::<std::io::Result<Vec<_>>>()) else {
                self.pass(UNREADABLE, "unreadable folder", &dir);
                continue;
            };
            let mut entries: Vec<_> = entries.into_iter().map(|e| (e.path(), e.file_type())).collect();
            entries.sort_by(|a, b| a.0.cmp(&b.0));
            for (path, kind) in entries {
                match kind {
                    Err(_) => self.pass(UNREADABLE, "unreadable file", &path),
                    Ok(k) if k.is_symlink() => self.links.push(path),
                    Ok(k) if k.is_dir() && hidden(&path) => self.pass(NO_PICTURE, "hidden folder", &path),
                    Ok(k) if k.is_dir() => waiting.push(path),
                    Ok(k) => self.file(path, k),
                }
            }
        }
    }

    fn link(&mut self, path: &Path) {
        match fs::metadata(path) {
            Err(_) => self.pass(UNREADABLE, "unreadable link", path),
            Ok(m) if m.is_dir() && hidden(path) => self.pass(NO_PICTURE, "hidden folder", path),
            // Who asks for a folder does not ask for what lies beside it.
            Ok(m) if m.is_dir() && fs::canonicalize(path).is_ok_and(|to| self.root.starts_with(to)) => {
                self.pass(NO_PICTURE, "upward link", path)
            }
            Ok(m) if m.is_dir() => self.folder(path),
            Ok(m) => self.file(path.to_path_buf(), m.file_type()),
        }
    }

    fn file(&mut self, path: PathBuf, kind: FileType) {
        if let Some(kind) = special(kind) {
            return self.pass(NO_PICTURE, kind, &path);
        }
        let ending = ending(&path);
        let by_name = UNREAD.iter().find(|(_, endings)| endings.contains(&ending.as_str())).map(|k| k.0);
        let listed = is_picture_name(&path);
        // The content is looked at where the name does not promise a picture that is read.
        let content = if listed && !hidden(&path) { Ok(Content::Other) } else { head_of(&path, 64).map(|h| sniff(&h)) };
        match (content, by_name) {
            (Err(_), _) => self.pass(UNREADABLE, "unreadable file", &path),
            (Ok(Content::Other), _) if hidden(&path) => self.pass(NO_PICTURE, "hidden file", &path),
            (Ok(_), _) if hidden(&path) => self.pass(HIDDEN_PICTURE, "hidden picture", &path),
            _ if listed && is_heat_map(&path) => self.pass(NO_PICTURE, "heat map", &path),
            _ if listed => self.picture(path),
            // Raw files of cameras are TIFF by their content; what a TIFF reader finds there is a thumbnail.
            (Ok(Content::Read("tiff")), Some("raw")) => self.pass(UNREAD_PICTURE, "raw", &path),
            // Text may begin like a PNM file: its content counts only where the name says nothing else.
            (Ok(Content::Read("pnm")), None) if !ending.is_empty() => self.pass(NO_PICTURE, "other file", &path),
            (Ok(Content::Read(_)), _) => self.picture(path),
            (Ok(Content::Unread(kind)), _) | (Ok(Content::Other), Some(kind)) => self.pass(UNREAD_PICTURE, kind, &path),
            (Ok(Content::Other), None) => self.pass(NO_PICTURE, "other file", &path),
        }
    }

    fn picture(&mut self, path: PathBuf) {
        match identity(&path) {
            Ok(id) if !self.files.insert(id.clone()) && !self.every_name => self.found.passed.add_name(&path),
            _ => self.found.pictures.push(path),
        }
    }
}

/// The ending of a name in lower case, as far as it is ASCII.
pub(super) fn ending(path: &Path) -> String {
    path.extension().unwrap_or_default().to_string_lossy().to_ascii_lowercase()
}

fn hidden(path: &Path) -> bool {
    path.file_name().is_some_and(|n| n.as_encoded_bytes().starts_with(b"."))
}

/// Whether a file is one that `detect --heatmaps` wrote, by its name and by the chunk that such a file carries: the name alone
/// would let anybody take a picture out of the verdicts about a folder.
pub fn is_heat_map(path: &Path) -> bool {
    let named = path.file_name().is_some_and(|n| n.as_encoded_bytes().to_ascii_lowercase().ends_with(HEAT.as_bytes()));
    let from = HEAT_CHUNK + 4;
    named && head_of(path, from + HEAT_KEYWORD.len()).is_ok_and(|head| head.get(from..) == Some(HEAT_KEYWORD))
}

/// A name without the ending, if the ending is that of a picture: `frame.0001` keeps its number.
pub(super) fn without_ending(path: &Path) -> PathBuf {
    let ending = ending(path);
    let known = is_picture_name(path) || UNREAD.iter().any(|(_, endings)| endings.contains(&ending.as_str()));
    if known { path.with_extension("") } else { path.to_path_buf() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::procedural::photograph;

    fn names(found: &Found, dir: &Path) -> Vec<String> {
        found.pictures.iter().map(|p| p.strip_prefix(dir).unwrap().display().to_string()).collect()
    }

    #[test]
    fn contents_are_told_by_their_first_bytes() {
        let p = photograph(1, 0, 20);
        assert_eq!(sniff(&p.to_png().unwrap()[..64]), Content::Read("png"));
        assert_eq!(sniff(&p.to_jpeg(80).unwrap()[..64]), Content::Read("jpeg"));
        for (head, content) in [
            (&b"\0\0\0\x18ftypheic\0\0\0\0"[..], Content::Unread("HEIC")),
            (b"\0\0\0\x18ftypavif", Content::Unread("AVIF")),
            (b"\0\0\0\x18ftypisom", Content::Unread("video")),
            (b"\0\0\0\x0cjP  \r\n", Content::Unread("JPEG 2000")),
            (b"BMW is a car, and this is text", Content::Other),
            (b"P5\n4 4\n255\n", Content::Read("pnm")),
            (b"P5 is a format", Content::Other),
            (b"", Content::Other),
            (b"II*\0\x10\0\0\0CR\x02\0", Content::Unread("raw")),
        ] {
            assert_eq!(sniff(head), content, "{head:?}");
        }
    }

    #[test]
    fn what_is_not_given_is_counted_by_kind() {
        let dir = tempfile::tempdir().unwrap();
        let at = |n: &str| dir.path().join(n);
        let png = photograph(1, 0, 20).to_png().unwrap();
        for name in ["a.png", "no ending", "wrong.heic", "frame.0001", ".hidden", "a.heat.png", "w.txt"] {
            fs::write(at(name), &png).unwrap();
        }
        for name in ["1.HEIC", "2.heic", "x.jp2", "y.dng", "notes.txt", ".DS_Store"] {
            fs::write(at(name), b"words").unwrap();
        }
        fs::write(at("b.heat.png"), [&png[..HEAT_CHUNK], &[0; 4], HEAT_KEYWORD, &png[HEAT_CHUNK..]].concat()).unwrap();
        fs::write(at("z.dng"), b"II*\0\x08\0\0\0\0\0").unwrap();
        fs::write(at("video"), b"\0\0\0\x18ftypisom").unwrap();
        fs::write(at("p5.log"), b"P5\n4 4\n255\n").unwrap();
        fs::create_dir(at(".git")).unwrap();
        let found = walk(dir.path(), false).unwrap();
        assert_eq!(names(&found, dir.path()), ["a.heat.png", "a.png", "frame.0001", "no ending", "w.txt", "wrong.heic"]);
        let line = found.passed.line();
        for words in [
            "2 HEIC (",
            "1.HEIC first)",
            "1 JPEG 2000 (",
            "2 raw",
            "1 video",
            "1 hidden picture (",
            "2 other files",
            "1 heat map",
            "1 hidden file,",
            "1 hidden folder",
            "; convert to png",
        ] {
            assert!(line.contains(words), "{words} in {line}");
        }
        assert_eq!(found.passed.pictures(), 2 + 1 + 2 + 1 + 1);
        assert!(walk(&at("missing"), false).unwrap_err().to_string().contains("check the path"));
        assert_eq!((without_ending(Path::new("a.b.png")), without_ending(Path::new("f.01"))), ("a.b".into(), "f.01".into()));
    }

    #[cfg(unix)]
    #[test]
    fn links_are_followed_once_and_nothing_waits() {
        use std::os::unix::fs::symlink;
        let dir = tempfile::tempdir().unwrap();
        let at = |n: &str| dir.path().join(n);
        fs::create_dir_all(at("deep/er")).unwrap();
        let png = photograph(1, 0, 20).to_png().unwrap();
        fs::write(at("deep/er/z.png"), &png).unwrap();
        fs::write(at("b.png"), &png).unwrap();
        let outside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("o.png"), &png).unwrap();
        symlink("..", at("deep/up")).unwrap();
        symlink(".", at("deep/er/self")).unwrap();
        symlink("deep", at("a link to deep")).unwrap();
        symlink("b.png", at("a.png")).unwrap();
        fs::hard_link(at("b.png"), at("c.png")).unwrap();
        symlink("nowhere", at("broken.png")).unwrap();
        symlink("loop", at("loop")).unwrap();
        symlink(outside.path(), at("out1")).unwrap();
        symlink(outside.path(), at("out2")).unwrap();
        symlink("/dev/zero", at("zero.png")).unwrap();
        assert!(std::process::Command::new("mkfifo").arg(at("pipe.png")).status().unwrap().success());
        let _socket = std::os::unix::net::UnixListener::bind(at("socket.png")).unwrap();
        let found = walk(dir.path(), false).unwrap();
        assert_eq!(names(&found, dir.path()), ["b.png", "deep/er/z.png", "out1/o.png"]);
        let line = found.passed.line();
        for words in ["2 unreadable links", "1 pipe", "1 socket", "1 device", "2 further names"] {
            assert!(line.contains(words), "{words} in {line}");
        }
        assert_eq!(found.passed.pictures(), 2);
        // What lies beside the folder was not asked for.
        let below = walk(&at("deep"), false).unwrap();
        assert_eq!(names(&below, &at("deep")), ["er/z.png"]);
        assert!(below.passed.line().contains("1 upward link"), "{}", below.passed.line());
        // Masks keep each of their names.
        assert_eq!(walk(dir.path(), true).unwrap().pictures.len(), 5);
        for (name, word) in
            [("pipe.png", "pipe"), ("zero.png", "device"), ("loop", "loop"), ("broken.png", "leads nowhere"), ("deep", "folder")]
        {
            let e = regular(&at(name)).unwrap_err().to_string();
            assert!(e.contains(word) || (name == "loop" && e.contains("symbolic links")), "{e}");
        }
        regular(&at("a.png")).unwrap();
    }
}
