//! What tells the label without looking at the picture: format, size, JPEG quality, metadata, the colour of the border. A detector
//! learns such a difference first, and fails where it is missing.
//!
//! What comes in kinds is judged by how many labels the kind tells right, each picture by all others of its kind (leave one out), so
//! that a kind of one picture tells nothing; both classes weigh the same: 50 % is chance. Numbers are judged by the area under the ROC
//! curve.

use std::collections::HashMap;
use std::fs::File;
use std::hash::Hash;
use std::io::Read;
use std::path::Path;

use rayon::prelude::*;

use super::picture::Picture;
use super::walk::{Content, sniff};
use crate::text::shown;

/// From this share of right labels on a difference is a fault.
pub const RED: f64 = 0.9;
/// From here on it is to be looked at.
pub const YELLOW: f64 = 0.75;
/// Fewer pictures of a class than this show nothing.
pub const LEAST: usize = 10;

/// What the first bytes of a file say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    pub format: &'static str,
    /// Sum of the first quantisation table of a JPEG file: the lower, the better the quality.
    pub quality: Option<u32>,
    /// Which blocks of metadata there are, in words.
    pub metadata: String,
}

impl Header {
    /// Reads as much of a file as holds metadata. None for a file that is no picture.
    pub fn of(path: &Path) -> Option<Header> {
        let mut bytes = Vec::new();
        File::open(path).ok()?.take(1 << 18).read_to_end(&mut bytes).ok()?;
        let Content::Read(format) = sniff(&bytes) else { return None };
        let (quality, mut found) = match format {
            "jpeg" => jpeg(&bytes),
            "png" => (None, png(&bytes)),
            _ => (None, Vec::new()),
        };
        found.sort();
        found.dedup();
        Some(Header { format, quality, metadata: found.join("+") })
    }
}

/// The first quantisation table and the kinds of metadata.
fn jpeg(bytes: &[u8]) -> (Option<u32>, Vec<&'static str>) {
    let (mut i, mut quality, mut found) = (2, None, Vec::new());
    while let Some(&[0xFF, marker, a, b]) = bytes.get(i..i + 4).and_then(|s| <&[u8; 4]>::try_from(s).ok()) {
        let length = u16::from_be_bytes([a, b]) as usize;
        let body = bytes.get(i + 4..i + 2 + length.max(2)).unwrap_or_default();
        match marker {
            0xDA => break,
            0xDB if quality.is_none() => {
                let wide = body.first().is_some_and(|b| b >> 4 != 0);
                let table = body.get(1..if wide { 129 } else { 65 }).unwrap_or_default();
                let wide_sum = || table.chunks_exact(2).map(|c| u16::from_be_bytes([c[0], c[1]]) as u32).sum();
                quality = Some(if wide { wide_sum() } else { table.iter().map(|&v| v as u32).sum() });
            }
            0xE1 if body.starts_with(b"Exif") => found.push("Exif"),
            0xE1 => found.push("XMP"),
            0xE2 if body.starts_with(b"ICC_PROFILE") => found.push("ICC"),
            0xED => found.push("IPTC"),
            0xEE => found.push("Adobe"),
            0xFE => found.push("comment"),
            _ => {}
        }
        i += 2 + length.max(2);
    }
    (quality, found)
}

fn png(bytes: &[u8]) -> Vec<&'static str> {
    let (mut i, mut found) = (8, Vec::new());
    while let Some(head) = bytes.get(i..i + 8) {
        match &head[4..] {
            b"IDAT" => break,
            b"eXIf" => found.push("Exif"),
            b"iCCP" => found.push("ICC"),
            b"tEXt" | b"zTXt" | b"iTXt" => found.push("text"),
            _ => {}
        }
        i += 12 + u32::from_be_bytes([head[0], head[1], head[2], head[3]]) as usize;
    }
    found
}

/// Mean red, green and blue of the outermost pixels, and how much their brightness varies.
pub fn border(p: &Picture) -> [f64; 4] {
    let across = (0..p.w).flat_map(|x| [(x, 0), (x, p.h - 1)]);
    let down = (0..p.h).flat_map(|y| [(0, y), (p.w - 1, y)]);
    let (mut sum, mut squares, mut n) = ([0.0; 4], 0.0, 0.0);
    for (x, y) in across.chain(down) {
        let rgb = p.at(x, y).map(f64::from);
        let light = (rgb[0] + rgb[1] + rgb[2]) / 3.0;
        (0..3).for_each(|c| sum[c] += rgb[c]);
        sum[3] += light;
        squares += light * light;
        n += 1.0;
    }
    let mean = sum.map(|s| s / n);
    [mean[0], mean[1], mean[2], (squares / n - mean[3] * mean[3]).max(0.0).sqrt()]
}

/// Share of the labels that a kind tells right, 0..=1; 0.5 where a class has too few pictures.
pub fn by_kind<K: Hash + Eq>(real: &[K], fake: &[K]) -> f64 {
    if real.len().min(fake.len()) < LEAST {
        return 0.5;
    }
    let mut kinds: HashMap<&K, [f64; 2]> = HashMap::new();
    real.iter().for_each(|k| kinds.entry(k).or_default()[0] += 1.0);
    fake.iter().for_each(|k| kinds.entry(k).or_default()[1] += 1.0);
    let n = [real.len() as f64, fake.len() as f64];
    let mut right = 0.0;
    for counts in kinds.values() {
        for class in 0..2 {
            // One picture of the class is asked about, the others are known.
            let mine = (counts[class] - 1.0).max(0.0) / (n[class] - 1.0);
            let other = counts[1 - class] / n[1 - class];
            let share = if mine > other {
                1.0
            } else if mine == other {
                0.5
            } else {
                0.0
            };
            right += share * counts[class] / n[class] / 2.0;
        }
    }
    right
}

/// Area under the ROC curve of a number, at least 0.5: which class has the larger ones does not matter.
pub fn by_number(real: &[f64], fake: &[f64]) -> f64 {
    if real.len().min(fake.len()) < LEAST {
        return 0.5;
    }
    let mut all: Vec<(f64, bool)> = real.iter().map(|&x| (x, false)).chain(fake.iter().map(|&x| (x, true))).collect();
    all.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (mut wins, mut below) = (0.0, 0.0);
    for tied in all.chunk_by(|a, b| a.0 == b.0) {
        let reals = tied.iter().filter(|t| !t.1).count() as f64;
        wins += (tied.len() as f64 - reals) * (below + reals / 2.0);
        below += reals;
    }
    let auc = wins / (real.len() * fake.len()) as f64;
    auc.max(1.0 - auc)
}

/// What the headers of two classes give away: what, share of the labels, an example of each class.
pub fn headers(real: &[(Header, (usize, usize))], fake: &[(Header, (usize, usize))]) -> Vec<(&'static str, f64, String)> {
    type Of = fn(&(Header, (usize, usize))) -> Option<String>;
    let kinds: [(&'static str, Of); 4] = [
        ("format", |h| Some(h.0.format.into())),
        ("size", |h| Some(format!("{} x {}", h.1.0, h.1.1))),
        ("JPEG quality", |h| h.0.quality.map(|q| format!("quantisation {q}"))),
        ("metadata", |h| Some(if h.0.metadata.is_empty() { "none".into() } else { h.0.metadata.clone() })),
    ];
    let judge = |(what, of): (&'static str, Of)| {
        let (r, f): (Vec<String>, Vec<String>) = (real.iter().filter_map(of).collect(), fake.iter().filter_map(of).collect());
        let text = match r.is_empty() && f.is_empty() {
            true => "no such files".into(),
            false => format!("real mostly {}, fake mostly {}", commonest(&r), commonest(&f)),
        };
        (what, by_kind(&r, &f), text)
    };
    kinds.into_iter().map(judge).collect()
}

/// Files of a class whose headers are searched by [`notices`].
const LOOKED_AT: usize = 200;

/// A notice for each thing but the format that tells the files of two classes apart, by the first of each. `dir`: of the forged ones.
pub fn notices<'a>(real: impl Iterator<Item = &'a Path>, fake: impl Iterator<Item = &'a Path>, dir: &Path) -> Vec<String> {
    let facts = |files: Vec<&Path>| -> Vec<_> {
        files.par_iter().filter_map(|f| Some((Header::of(f)?, Picture::probe(f).ok()?))).collect()
    };
    let found = headers(&facts(real.take(LOOKED_AT).collect()), &facts(fake.take(LOOKED_AT).collect()));
    let red = found.into_iter().filter(|(what, share, _)| *what != "format" && *share >= RED);
    let words = |(what, share, text): (&str, f64, String)| {
        format!("leak by {what}: {:.0} % of the labels can be told by it alone ({}: {text})", 100.0 * share, shown(dir))
    };
    red.map(words).collect()
}

fn commonest(kinds: &[String]) -> String {
    let mut counts: HashMap<&String, usize> = HashMap::new();
    kinds.iter().for_each(|k| *counts.entry(k).or_default() += 1);
    counts.into_iter().max_by(|a, b| a.1.cmp(&b.1).then(b.0.cmp(a.0))).map_or("none", |c| c.0).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::procedural::photograph;

    #[test]
    fn a_kind_tells_what_others_of_it_were() {
        let (a, b) = (vec!["jpg"; 20], vec!["png"; 12]);
        assert_eq!((by_kind(&a, &b), by_kind(&a, &a), by_kind(&a, &b[..9])), (1.0, 0.5, 0.5));
        // Every picture has a size of its own: nothing is known of the next one.
        let own: Vec<usize> = (0..40).collect();
        assert!((by_kind(&own[..20], &own[20..]) - 0.5).abs() < 1e-9);
        let mixed = [&b[..], &a[..12]].concat();
        assert!((by_kind(&a, &mixed) - 0.75).abs() < 1e-9);
        let x: Vec<f64> = (0..20).map(f64::from).collect();
        let above: Vec<f64> = x.iter().map(|v| v + 30.0).collect();
        assert_eq!((by_number(&x, &above), by_number(&above, &x), by_number(&x, &x)), (1.0, 1.0, 0.5));
    }

    #[test]
    fn headers_are_read() {
        let dir = tempfile::tempdir().unwrap();
        let header = |name: &str, bytes: Vec<u8>| {
            std::fs::write(dir.path().join(name), bytes).unwrap();
            Header::of(&dir.path().join(name))
        };
        let p = photograph(1, 0, 24);
        let (good, bad) = (header("a", p.to_jpeg(95).unwrap()).unwrap(), header("b", p.to_jpeg(50).unwrap()).unwrap());
        assert!(good.quality.unwrap() * 3 < bad.quality.unwrap() && good.metadata.is_empty(), "{good:?} {bad:?}");
        let mut exif = p.to_jpeg(95).unwrap();
        exif.splice(2..2, *b"\xff\xe1\0\x08Exif\0\0\xff\xfe\0\x03x");
        assert_eq!(header("c", exif).unwrap(), Header { metadata: "Exif+comment".into(), ..good });
        let png = header("d", p.to_png().unwrap()).unwrap();
        assert_eq!((png.format, png.quality, png.metadata.as_str()), ("png", None, ""));
        assert!(header("e", b"words".to_vec()).is_none() && header("f", b"\xff\xd8\xff".to_vec()).is_some());
        assert_eq!(
            border(&Picture::from_fn(5, 4, |x, y| if x % 4 == 0 || y % 3 == 0 { [9, 8, 7] } else { [200; 3] })),
            [9.0, 8.0, 7.0, 0.0]
        );
    }
}
