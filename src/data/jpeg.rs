//! Whether the entropy-coded data of a JPEG file are all there: every scan is Huffman-decoded, nothing is transformed.
//!
//! The decoder behind `image` fills what it cannot decode with grey and reports success; its strict mode, which `image` does not
//! offer, tells data that end early and stray markers, but not blocks that are out of place. Damage is
//! found here where a code is in no table, a coefficient lies beyond its block, a brightness lies far outside of the range, a
//! restart marker is missing or out of turn, data end before the last block, or data are left over after it; and where
//! progressive scans stop before full precision. A change that leaves all of these intact (one that only changes the bits of a
//! value) cannot be told from another picture: JPEG has no checksum.

mod entropy;
mod standard;

use entropy::{Bits, Scan, Table, progressive, restart, sequential};

/// What the headers say, for the memory that decoding takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Coefficients of all components.
    pub coefficients: u64,
    /// All coefficients must be held until the last scan: a progressive file, or one with a scan for each component.
    pub held: bool,
}

/// What the walk found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// An end marker after the last scan.
    Marked,
    /// All blocks are there, but no end marker follows.
    Unmarked,
}

/// Why a file is refused, without its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// What is broken: `truncated: …`, `damaged: …`.
    Damaged(String),
    /// A kind of JPEG that is not read, with what to convert it to.
    NotRead(String),
}

impl From<String> for Flaw {
    fn from(what: String) -> Flaw {
        Flaw::Damaged(what)
    }
}

impl From<&str> for Flaw {
    fn from(what: &str) -> Flaw {
        Flaw::Damaged(what.into())
    }
}

/// Most scans: an encoder writes about ten, and each scan of a progressive file costs a walk over all blocks.
const MOST_SCANS: usize = 256;

/// The frame header and what the first scan tells. None where the file has neither.
pub fn frame(bytes: &[u8]) -> Result<Option<Frame>, Flaw> {
    let (mut at, mut layout) = (2, None::<Layout>);
    while let Some((marker, segment)) = segment(bytes, &mut at) {
        match marker {
            _ if is_frame(marker) => layout = Some(Layout::read(marker, segment)?),
            0xD9 => return Ok(None),
            0xDA => {
                return Ok(layout.map(|l| Frame {
                    coefficients: l.parts.iter().map(|p| 64 * p.across_padded as u64 * p.down_padded as u64).sum(),
                    held: l.progressive || segment.first().is_some_and(|&n| (n as usize) < l.parts.len()),
                }));
            }
            _ => {}
        }
    }
    Ok(None)
}

/// The file with the standard's Huffman tables where it is a baseline one that has none before its first scan: a frame of MJPEG
/// video, whose format fixes the tables and leaves them out.
pub fn with_tables(bytes: Vec<u8>) -> Vec<u8> {
    let (mut at, mut baseline) = (2, false);
    while let Some((marker, _)) = segment(&bytes, &mut at) {
        match marker {
            0xC4 | 0xD9 => return bytes,
            0xDA if baseline => return [&bytes[..2], &standard::segment(), &bytes[2..]].concat(),
            0xDA => return bytes,
            0xC0 | 0xC1 => baseline = true,
            _ => {}
        }
    }
    bytes
}

/// Whether there is a colour profile, or a part of one.
pub fn has_profile(bytes: &[u8]) -> bool {
    let mut at = 2;
    while let Some((marker, segment)) = segment(bytes, &mut at) {
        match marker {
            0xE2 if segment.starts_with(b"ICC_PROFILE\0") => return true,
            0xD9 | 0xDA => return false,
            _ => {}
        }
    }
    false
}

/// SOF0 to SOF15, without DHT, JPG and DAC, which lie between them.
fn is_frame(marker: u8) -> bool {
    matches!(marker, 0xC0..=0xC3 | 0xC5..=0xC7 | 0xC9..=0xCB | 0xCD..=0xCF)
}

/// Walks the whole file.
pub fn check(bytes: &[u8]) -> Result<Ending, Flaw> {
    let mut walk = Walk::default();
    let mut at = 2; // after SOI
    while let Some((marker, segment)) = segment(bytes, &mut at) {
        match marker {
            0xD9 => return walk.finished().map(|()| Ending::Marked),
            _ if is_frame(marker) => {
                if walk.layout.is_some() {
                    return Err("damaged: a second frame header".into());
                }
                walk.layout = Some(Layout::read(marker, segment)?);
            }
            0xC4 => walk.huffman_tables(segment)?,
            0xDB => walk.quantisation(segment)?,
            0xDD => walk.restart = if let [a, b, ..] = segment { u16::from_be_bytes([*a, *b]) as usize } else { 0 },
            0xDA => {
                at = walk.scan(segment, bytes, at)?;
                let finished = walk.finished();
                if left_over(bytes, &mut at, finished.is_ok())? {
                    return finished.map(|()| Ending::Unmarked);
                }
            }
            _ => {}
        }
    }
    // The walk ran off the end, or met a segment that is longer than the file.
    walk.finished().map(|()| Ending::Unmarked)
}

/// The next marker and its segment's content; `at` moves behind it. Stray bytes before a marker are passed over.
fn segment<'a>(bytes: &'a [u8], at: &mut usize) -> Option<(u8, &'a [u8])> {
    loop {
        let (a, b) = (*bytes.get(*at)?, *bytes.get(*at + 1)?);
        match (a, b) {
            (0xFF, 0xD9) => {
                *at += 2;
                return Some((b, &[]));
            }
            (0xFF, 0x00 | 0x01 | 0xD0..=0xD8) => *at += 2,
            (0xFF, 0xFF) => *at += 1,
            (0xFF, _) => {
                let length = u16::from_be_bytes([*bytes.get(*at + 2)?, *bytes.get(*at + 3)?]) as usize;
                let content = bytes.get(*at + 4..*at + 2 + length)?;
                *at += 2 + length;
                return Some((b, content));
            }
            _ => *at += 1,
        }
    }
}

/// A component of the frame: sampling and blocks.
struct Part {
    id: u8,
    h: usize,
    v: usize,
    /// Blocks that the component's pixels need.
    across: usize,
    down: usize,
    /// Blocks with those that fill the last MCU.
    across_padded: usize,
    down_padded: usize,
    quantisation: usize,
    /// Precision that scans have brought so far, for each coefficient in zigzag order: bits still missing; 255 = nothing yet.
    missing: [u8; 64],
    /// Progressive: which coefficients of each block are not zero.
    nonzero: Vec<u64>,
}

struct Layout {
    progressive: bool,
    parts: Vec<Part>,
    /// MCUs of interleaved scans.
    mcus: (usize, usize),
}

impl Layout {
    fn read(marker: u8, segment: &[u8]) -> Result<Layout, Flaw> {
        match marker {
            0xC0..=0xC2 => {}
            0xC3 | 0xC7 | 0xCB | 0xCF => {
                return Err(Flaw::NotRead("a lossless JPEG file, which is not read; convert it to PNG".into()));
            }
            0xC5 | 0xC6 | 0xCD | 0xCE => {
                return Err(Flaw::NotRead("a hierarchical JPEG file, which is not read; convert it to PNG".into()));
            }
            _ => return Err(Flaw::NotRead("a JPEG file with arithmetic coding, which is not read; convert it to PNG".into())),
        }
        let &[bits, h1, h0, w1, w0, n, ref rest @ ..] = segment else { return Err("damaged: a short frame header".into()) };
        if bits != 8 {
            return Err(Flaw::NotRead(format!(
                "a JPEG file of {bits} bits a value, which is not read; convert it to 16-bit PNG"
            )));
        }
        let (w, h) = (u16::from_be_bytes([w1, w0]) as usize, u16::from_be_bytes([h1, h0]) as usize);
        if rest.len() < 3 * n as usize || !(1..=4).contains(&n) || w == 0 || h == 0 {
            return Err("damaged: a frame header without pixels or components".into());
        }
        let parts = &rest[..3 * n as usize];
        let most = |f: fn(u8) -> u8| parts.chunks_exact(3).map(|p| f(p[1]) as usize).max().unwrap_or(1);
        let (hmax, vmax) = (most(|s| s >> 4), most(|s| s & 15));
        if parts.chunks_exact(3).any(|p| !(1..=4).contains(&(p[1] >> 4)) || !(1..=4).contains(&(p[1] & 15)) || p[2] > 3) {
            return Err("damaged: impossible sampling in the frame header".into());
        }
        let mcus = (w.div_ceil(8 * hmax), h.div_ceil(8 * vmax));
        let part = |p: &[u8]| {
            let (h_i, v_i) = ((p[1] >> 4) as usize, (p[1] & 15) as usize);
            Part {
                id: p[0],
                h: h_i,
                v: v_i,
                across: (w * h_i).div_ceil(hmax).div_ceil(8),
                down: (h * v_i).div_ceil(vmax).div_ceil(8),
                across_padded: mcus.0 * h_i,
                down_padded: mcus.1 * v_i,
                quantisation: p[2] as usize,
                missing: [255; 64],
                nonzero: Vec::new(),
            }
        };
        Ok(Layout { progressive: marker == 0xC2, parts: parts.chunks_exact(3).map(part).collect(), mcus })
    }
}

/// Four tables of 64 steps.
#[derive(Clone, Copy)]
struct Steps([[u16; 64]; 4]);

impl Default for Steps {
    fn default() -> Steps {
        Steps([[1; 64]; 4])
    }
}

#[derive(Default)]
struct Walk {
    layout: Option<Layout>,
    dc: [Option<Table>; 4],
    ac: [Option<Table>; 4],
    /// Quantisation steps in zigzag order.
    steps: Steps,
    restart: usize,
    scans: usize,
}

impl Walk {
    /// Whether every coefficient of every component has come in full precision.
    fn finished(&self) -> Result<(), Flaw> {
        let Some(layout) = &self.layout else { return Err("truncated: no frame header".into()) };
        match layout.parts.iter().flat_map(|p| &p.missing).max() {
            Some(0) => Ok(()),
            Some(255) => Err("truncated: not all of its scans are there".into()),
            _ => Err("truncated: its scans end before full precision".into()),
        }
    }

    fn huffman_tables(&mut self, mut segment: &[u8]) -> Result<(), Flaw> {
        while segment.len() >= 17 {
            let n: usize = segment[1..17].iter().map(|&n| n as usize).sum();
            let (class, id) = (segment[0] >> 4, (segment[0] & 15) as usize);
            if n > 256 || segment.len() < 17 + n || class > 1 || id > 3 {
                return Err("damaged: an impossible Huffman table".into());
            }
            let table = Table::new(&segment[1..17], &segment[17..17 + n]).ok_or("damaged: an impossible Huffman table")?;
            if class == 0 {
                self.dc[id] = Some(table)
            } else {
                self.ac[id] = Some(table)
            }
            segment = &segment[17 + n..];
        }
        Ok(())
    }

    fn quantisation(&mut self, mut segment: &[u8]) -> Result<(), Flaw> {
        while let Some(&head) = segment.first() {
            let size = 1 + if head >> 4 == 0 { 64 } else { 128 };
            if segment.len() < size || head & 15 > 3 {
                return Err("damaged: an impossible quantisation table".into());
            }
            let wide = head >> 4 != 0;
            for (k, step) in self.steps.0[(head & 15) as usize].iter_mut().enumerate() {
                let at = |i: usize| segment[1 + i] as u16;
                *step = if wide { at(2 * k) << 8 | at(2 * k + 1) } else { at(k) };
            }
            segment = &segment[size..];
        }
        Ok(())
    }

    fn read_scan(&self, layout: &Layout, segment: &[u8]) -> Result<Scan, Flaw> {
        let bad = || Flaw::from("damaged: an impossible scan header");
        let n = *segment.first().ok_or_else(bad)? as usize;
        if !(1..=4).contains(&n) || segment.len() < 4 + 2 * n {
            return Err(bad());
        }
        let mut parts: Vec<(usize, usize, usize)> = Vec::new();
        for p in segment[1..1 + 2 * n].chunks_exact(2) {
            let part = layout.parts.iter().position(|l| l.id == p[0]).ok_or_else(bad)?;
            if parts.iter().any(|&(other, ..)| other == part) {
                return Err(bad());
            }
            parts.push((part, (p[1] >> 4) as usize & 3, (p[1] & 3) as usize));
        }
        let &[first, last, precision] = &segment[1 + 2 * n..4 + 2 * n] else { return Err(bad()) };
        if !layout.progressive {
            return Ok(Scan { parts, first: 0, last: 63, high: 0, low: 0 });
        }
        let scan = Scan { parts, first: first as usize, last: last as usize, high: precision >> 4, low: precision & 15 };
        let whole = if first == 0 { last == 0 } else { first <= last && last < 64 && n == 1 };
        if !whole || scan.low > 13 || (scan.high != 0 && scan.high != scan.low + 1) {
            return Err(bad());
        }
        Ok(scan)
    }

    /// Decodes the scan whose data begin at `at`; returns where they end. The table of a component that is asked for must be there.
    fn scan(&mut self, segment: &[u8], bytes: &[u8], at: usize) -> Result<usize, Flaw> {
        self.scans += 1;
        if self.scans > MOST_SCANS {
            return Err(format!("damaged: more than {MOST_SCANS} scans").into());
        }
        let Some(mut layout) = self.layout.take() else { return Err("damaged: a scan before the frame header".into()) };
        let scan = self.read_scan(&layout, segment)?;
        for &(part, ..) in &scan.parts {
            let p = &mut layout.parts[part];
            if layout.progressive && p.nonzero.is_empty() {
                p.nonzero = vec![0; p.across_padded * p.down_padded];
            }
            for m in &mut p.missing[scan.first..=scan.last] {
                // A first pass may come once, and each refinement only on top of the pass before it.
                if if scan.high == 0 { *m != 255 } else { *m != scan.high } {
                    return Err("damaged: scans out of turn".into());
                }
                *m = scan.low;
            }
        }
        let mut bits = Bits { bytes, at, held: 0, n: 0 };
        let done = self.blocks(&mut layout, &scan, &mut bits);
        self.layout = Some(layout);
        done.map_err(|(mcu, of, why)| format!("damaged: {why} in block {mcu} of {of} of scan {}", self.scans))?;
        // Bytes that were read ahead belong to what follows: whole bytes are left over, bits of the last byte are padding.
        let ahead = bits.n / 8;
        let mut end = bits.at;
        for _ in 0..ahead {
            end -= if end >= 2 && bytes[end - 2..end] == [0xFF, 0] { 2 } else { 1 };
        }
        Ok(end)
    }

    /// All MCUs of a scan. The error tells which one of how many, and why.
    fn blocks(&self, layout: &mut Layout, scan: &Scan, bits: &mut Bits) -> Result<(), (usize, usize, &'static str)> {
        let one = scan.parts.len() == 1;
        let (across, down) = match scan.parts[..] {
            [(p, ..)] => (layout.parts[p].across, layout.parts[p].down),
            _ => layout.mcus,
        };
        let total = across * down;
        let mut before = [0i32; 4];
        let mut run = 0u32; // blocks that an end-of-band run still covers
        let mut turn = 0u8;
        for mcu in 0..total {
            if self.restart > 0 && mcu > 0 && mcu % self.restart == 0 {
                if run > 0 {
                    return Err((mcu, total, "a run over a restart marker"));
                }
                restart(bits, turn).map_err(|e| (mcu, total, e))?;
                turn = (turn + 1) % 8;
                before = [0; 4];
            }
            let (x, y) = (mcu % across, mcu / across);
            for &(p, dc, ac) in &scan.parts {
                let part = &mut layout.parts[p];
                let (h, v) = if one { (1, 1) } else { (part.h, part.v) };
                for k in 0..h * v {
                    let tables = (self.dc[dc].as_ref(), self.ac[ac].as_ref());
                    let steps = &self.steps.0[part.quantisation];
                    let done = if layout.progressive {
                        let nonzero = &mut part.nonzero[(y * v + k / h) * part.across_padded + x * h + k % h];
                        progressive(bits, tables, scan, nonzero, &mut run, (&mut before[p], steps))
                    } else {
                        sequential(bits, tables, (&mut before[p], steps))
                    };
                    done.map_err(|e| (mcu, total, e))?;
                }
            }
        }
        if run > 0 { Err((total, total, "a run beyond the last block")) } else { Ok(()) }
    }
}

/// What lies between the end of a scan and the next marker. True: no marker of this picture follows.
///
/// Padding may lie there. Other bytes before a marker are data that found no block: the blocks were not where the data say. Other
/// bytes after the last scan, with no end marker behind them, are what somebody appended to a complete picture.
fn left_over(bytes: &[u8], at: &mut usize, last: bool) -> Result<bool, Flaw> {
    let mut strange = 0;
    loop {
        match (bytes.get(*at), bytes.get(*at + 1)) {
            (Some(0xFF), Some(0xFF)) => *at += 1,
            (Some(0xFF), Some(0)) => {
                strange += 1;
                *at += 2;
            }
            (Some(0xFF), Some(&marker)) if strange > 0 && (marker == 0xD9 || !last) => {
                return Err(format!("damaged: {strange} bytes are left over after the last block of a scan").into());
            }
            (Some(0xFF), Some(0xC0..=0xD7 | 0xD9..=0xFE)) if strange == 0 => return Ok(false),
            (Some(0xFF), _) | (_, None) => return Ok(true),
            (Some(b), _) => {
                strange += (*b != 0) as usize;
                *at += 1;
            }
            (None, _) => return Ok(true),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::rng::Rng;
    use crate::data::procedural::photograph;

    /// Made by `tests/pictures/make.py`, and by the `image` crate.
    fn files() -> Vec<(&'static str, Vec<u8>)> {
        let mut files: Vec<(&str, Vec<u8>)> = vec![
            ("baseline", include_bytes!("../../tests/pictures/baseline.jpg").to_vec()),
            ("progressive", include_bytes!("../../tests/pictures/progressive.jpg").to_vec()),
            ("restart", include_bytes!("../../tests/pictures/restart.jpg").to_vec()),
            ("optimised", include_bytes!("../../tests/pictures/optimised.jpg").to_vec()),
            ("grey", include_bytes!("../../tests/pictures/grey.jpg").to_vec()),
            ("cmyk", include_bytes!("../../tests/pictures/cmyk.jpg").to_vec()),
        ];
        files.push(("4:4:4", photograph(1, 2, 40).crop(0, 0, 40, 33).to_jpeg(90).unwrap()));
        files
    }

    /// Where the data of the first scan begin.
    fn data(bytes: &[u8]) -> usize {
        let mut at = 2;
        while segment(bytes, &mut at).unwrap().0 != 0xDA {}
        at
    }

    fn damaged(bytes: &[u8]) -> bool {
        matches!(check(bytes), Err(Flaw::Damaged(_)))
    }

    #[test]
    fn sound_files_of_every_kind_pass() {
        for (name, bytes) in files() {
            assert_eq!(check(&bytes), Ok(Ending::Marked), "{name}");
            let frame = frame(&bytes).unwrap().unwrap();
            assert_eq!(frame.held, ["progressive", "grey"].contains(&name), "{name}");
        }
        for side in 1..40 {
            for quality in [1, 50, 100] {
                let bytes = photograph(3, side, 40).crop(0, 0, side as usize, 41 - side as usize).to_jpeg(quality).unwrap();
                assert_eq!(check(&bytes), Ok(Ending::Marked), "{side} {quality}");
            }
        }
    }

    #[test]
    fn a_complete_file_may_lack_its_end_marker() {
        for (name, bytes) in files() {
            let bare = &bytes[..bytes.len() - 2];
            let with = |tail: &[u8]| check(&[bare, tail].concat());
            assert_eq!(with(&[]), Ok(Ending::Unmarked), "{name}");
            assert_eq!(with(b"words that somebody appended"), Ok(Ending::Unmarked), "{name}");
            assert_eq!(with(&bytes), Ok(Ending::Unmarked), "{name}: a second picture");
            assert_eq!(with(&[0xFF, 0xFF, 0xD9, 7, 7, 7]), Ok(Ending::Marked), "{name}: a fill byte, and a tail");
            assert_eq!(with(&[0, 0, 0xFF, 0xD9]), Ok(Ending::Marked), "{name}: padding");
            assert!(damaged(&[bare, &[1, 2, 3, 0xFF, 0xD9]].concat()), "{name}: data left over");
        }
    }

    /// The shares that docs/pictures.md gives.
    #[test]
    #[ignore = "a measurement"]
    fn how_much_damage_is_found() {
        let baseline = photograph(1, 0, 256).to_jpeg(85).unwrap();
        let progressive = include_bytes!("../../tests/pictures/progressive.jpg").to_vec();
        for (name, bytes) in [("baseline, 256 x 256", baseline), ("progressive, 48 x 40", progressive)] {
            let begin = data(&bytes);
            type Damage = fn(&mut Vec<u8>, usize, &mut Rng);
            let kinds: [(&str, Damage); 5] = [
                ("64 bytes of noise", |b, at, rng| b[at..at + 64].iter_mut().for_each(|x| *x = rng.next_u32() as u8)),
                ("64 zeros", |b, at, _| b[at..at + 64].fill(0)),
                ("a byte lost", |b, at, _| {
                    b.remove(at);
                }),
                ("a byte added", |b, at, rng| b.insert(at, rng.next_u32() as u8)),
                ("a byte changed", |b, at, rng| b[at] ^= 1 + rng.below(255) as u8),
            ];
            for (what, damage) in kinds {
                let mut rng = Rng::new(1, 2, 3);
                let found = (0..2000).filter(|_| {
                    let mut bytes = bytes.clone();
                    let at = begin + rng.below(bytes.len() - begin - 66);
                    damage(&mut bytes, at, &mut rng);
                    damaged(&bytes)
                });
                println!("{name}: {what}: {:.0} % found", found.count() as f64 / 20.0);
            }
        }
    }

    #[test]
    fn files_that_end_early_are_damaged_with_and_without_an_end_marker() {
        for (name, bytes) in files() {
            let begin = data(&bytes);
            // The last byte of data may be nothing but padding and the last bits of a value.
            for keep in begin..bytes.len() - 3 {
                assert!(damaged(&bytes[..keep]), "{name} cut to {keep} of {}", bytes.len());
                assert!(damaged(&[&bytes[..keep], &[0xFF, 0xD9]].concat()), "{name} cut to {keep}, with an end marker");
            }
        }
    }

    /// Runs of bytes that a bad sector or a bad copy replaced are nearly always found. A single byte lost, added or changed often
    /// is not: Huffman codes fall into step again before the block ends, and then the number of blocks is right.
    #[test]
    fn shifted_data_are_found() {
        let mut rng = Rng::new(5, 0, 0);
        let big = photograph(1, 7, 256);
        let progressive = include_bytes!("../../tests/pictures/progressive.jpg").to_vec();
        let mut shares = [[0.0; 5]; 2];
        for (file, bytes) in [big.to_jpeg(85).unwrap(), progressive].iter().enumerate() {
            let begin = data(bytes);
            for (kind, share) in shares[file].iter_mut().enumerate() {
                let tries = 600;
                let caught = (0..tries).filter(|_| {
                    let mut other = bytes.clone();
                    let at = begin + rng.below(bytes.len() - 4 - begin);
                    let run = |n: usize| at..(at + n).min(bytes.len() - 3);
                    match kind {
                        0 => drop(other.remove(at)),
                        1 => other.insert(at, rng.below(255) as u8),
                        2 => other[at] ^= (rng.below(255) + 1) as u8,
                        3 => other[run(64)].iter_mut().for_each(|b| *b = rng.below(255) as u8),
                        _ => other[run(64)].fill(0),
                    }
                    damaged(&other)
                });
                *share = 100.0 * caught.count() as f64 / tries as f64;
            }
        }
        println!(
            "caught, % (a byte lost, added, changed; 64 random, 64 zero): baseline {:?}, progressive {:?}",
            shares[0], shares[1]
        );
        for [lost, added, changed, random, zero] in shares {
            assert!(lost.min(added).min(changed) > 25.0 && random > 80.0 && zero > 60.0, "{shares:?}");
        }
    }

    #[test]
    fn restart_markers_are_counted() {
        let bytes = include_bytes!("../../tests/pictures/restart.jpg").to_vec();
        let begin = data(&bytes);
        let marks: Vec<usize> =
            (begin..bytes.len() - 2).filter(|&i| bytes[i] == 0xFF && matches!(bytes[i + 1], 0xD0..=0xD7)).collect();
        assert!(marks.len() > 2);
        for &at in &marks {
            let mut other = bytes.clone();
            other[at + 1] = 0xD0 + (other[at + 1] - 0xD0 + 1) % 8;
            assert!(damaged(&other));
            other.drain(at..at + 2);
            assert!(damaged(&other));
        }
        // An interval lost between two markers.
        let mut other = bytes.clone();
        other.drain(marks[0]..marks[1]);
        assert!(damaged(&other));
    }

    /// The same data under the coarsest steps: brighter than white.
    #[test]
    fn coefficients_that_no_picture_has_are_damage() {
        for name in ["baseline", "progressive"] {
            let bytes = files().into_iter().find(|f| f.0 == name).unwrap().1;
            let table = bytes.windows(2).position(|w| w == [0xFF, 0xDB]).unwrap() + 5;
            let coarse = |from: usize, to: usize| {
                let mut other = bytes.clone();
                other[table + from..table + to].fill(255);
                match check(&other) {
                    Err(Flaw::Damaged(why)) => why,
                    read => panic!("{name}: {read:?}"),
                }
            };
            assert!(coarse(0, 1).contains("a brightness outside"), "{name}");
            assert!(coarse(1, 64).contains("a coefficient outside"), "{name}");
        }
    }

    #[test]
    fn kinds_that_are_not_read_have_a_name() {
        let bytes = include_bytes!("../../tests/pictures/baseline.jpg").to_vec();
        let sof = bytes.windows(2).position(|w| w == [0xFF, 0xC0]).unwrap();
        let why = |at: usize, value: u8| {
            let mut other = bytes.clone();
            other[at] = value;
            let Err(Flaw::NotRead(why)) = check(&other) else { panic!("read") };
            why
        };
        assert!(why(sof + 4, 12).contains("12 bits") && why(sof + 4, 12).contains("convert"));
        assert!(why(sof + 1, 0xC9).contains("arithmetic"));
        assert!(why(sof + 1, 0xC3).contains("lossless"));
        assert!(why(sof + 1, 0xC5).contains("hierarchical"));
    }

    /// Scans of a progressive file that are left out: a preview is not the picture.
    #[test]
    fn missing_scans_are_damage() {
        let bytes = include_bytes!("../../tests/pictures/progressive.jpg").to_vec();
        let (mut at, mut scans) = (2, Vec::new());
        while let Some((marker, _)) = segment(&bytes, &mut at) {
            if marker == 0xDA {
                scans.push(at);
            }
        }
        assert!(scans.len() > 5);
        // Up to the last scan's tables: everything before is whole.
        let header = |scan: usize| bytes[..scan].windows(2).rposition(|w| w == [0xFF, 0xDA]).unwrap();
        for &scan in &scans[1..] {
            let other = [&bytes[..header(scan)], &[0xFF, 0xD9][..]].concat();
            assert!(matches!(check(&other), Err(Flaw::Damaged(w)) if w.contains("scans")), "{scan}");
        }
    }
}
