//! TensorBoard event files, written by hand: no protobuf compiler, no other crate.
//!
//! A file is a row of TFRecords: length (u64), masked CRC-32C of the length, bytes, masked CRC-32C of the bytes, all little-endian.
//! Each record is an `Event` message (tensorflow/core/util/event.proto, framework/summary.proto):
//! `wall_time = 1: double, step = 2: int64, file_version = 3: string, summary = 5: Summary, session_log = 7: SessionLog`;
//! `Summary.value = 1 { tag = 1: string, simple_value = 2: float, image = 4 { height = 1, width = 2, colorspace = 3, bytes = 4 } }`.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::error::{Error, Result};

#[derive(Debug)]
pub struct EventWriter {
    out: BufWriter<File>,
    path: PathBuf,
}

impl EventWriter {
    /// A new file `events.out.tfevents.<seconds>.<k>.lae-engine` in `folder`, which is made if needed. Several files in one folder are
    /// one run, read in the order of their names.
    pub fn create(folder: impl AsRef<Path>) -> Result<EventWriter> {
        EventWriter::resume(folder, 0)
    }

    /// A further file of a run that goes on at `step`: TensorBoard then drops what older files say about that step and later ones.
    pub fn resume(folder: impl AsRef<Path>, step: u64) -> Result<EventWriter> {
        let folder = folder.as_ref();
        std::fs::create_dir_all(folder).map_err(|e| Error::io(folder, e))?;
        // TensorBoard reads the files of a folder in the order of their names: a later one must sort later.
        let seconds = now() as u64;
        for k in 0..10_000 {
            let path = folder.join(format!("events.out.tfevents.{seconds:010}.{k:04}.lae-engine"));
            match File::create_new(&path) {
                Ok(file) => {
                    let mut w = EventWriter { out: BufWriter::new(file), path };
                    let mut event = Message::event(0);
                    event.text(3, b"brain.Event:2");
                    w.record(&event.0)?;
                    let mut event = Message::event(step);
                    event.text(7, &[1 << 3 | VARINT as u8, SESSION_START]);
                    w.record(&event.0)?;
                    w.flush()?;
                    return Ok(w);
                }
                Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => continue,
                Err(e) => return Err(Error::io(&path, e)),
            }
        }
        Err(Error::data(folder, "ten thousand event files within one second"))
    }

    /// One point of a curve. `tag` may hold slashes: `train/latent`.
    pub fn scalar(&mut self, tag: &str, step: u64, value: f64) -> Result<()> {
        let mut v = Message::tagged(tag);
        v.key(2, FIXED32);
        v.0.extend((value as f32).to_le_bytes());
        self.value(step, v)
    }

    /// A picture of w × h pixels as a PNG file.
    pub fn image_png(&mut self, tag: &str, step: u64, w: usize, h: usize, png: &[u8]) -> Result<()> {
        let mut image = Message(Vec::new());
        image.number(1, h as u64);
        image.number(2, w as u64);
        image.number(3, 3); // RGB
        image.text(4, png);
        let mut v = Message::tagged(tag);
        v.text(4, &image.0);
        self.value(step, v)
    }

    /// Hands everything written so far to the system.
    pub fn flush(&mut self) -> Result<()> {
        self.out.flush().map_err(|e| Error::io(&self.path, e))
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    fn value(&mut self, step: u64, value: Message) -> Result<()> {
        let mut summary = Message(Vec::new());
        summary.text(1, &value.0);
        let mut event = Message::event(step);
        event.text(5, &summary.0);
        self.record(&event.0)
    }

    fn record(&mut self, bytes: &[u8]) -> Result<()> {
        let len = (bytes.len() as u64).to_le_bytes();
        let parts = [&len[..], &masked_crc(&len).to_le_bytes(), bytes, &masked_crc(bytes).to_le_bytes()];
        self.out.write_all(&parts.concat()).map_err(|e| Error::io(&self.path, e))
    }
}

/// Seconds since 1970; a clock before that counts as 0.
fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |d| d.as_secs_f64())
}

/// The CRC-32C of the bytes, rotated and shifted, so that the CRC of data that holds CRCs stays useful (tensorflow/core/lib/hash/crc32c.h).
fn masked_crc(bytes: &[u8]) -> u32 {
    crc32c::crc32c(bytes).rotate_right(15).wrapping_add(0xa282_ead8)
}

/// `SessionLog { status = 1: START }`
const SESSION_START: u8 = 1;

const VARINT: u64 = 0;
const FIXED64: u64 = 1;
const BYTES: u64 = 2;
const FIXED32: u64 = 5;

/// A protobuf message under construction.
struct Message(Vec<u8>);

impl Message {
    fn event(step: u64) -> Message {
        let mut m = Message(Vec::new());
        m.key(1, FIXED64);
        m.0.extend(now().to_le_bytes());
        m.number(2, step);
        m
    }
    fn tagged(tag: &str) -> Message {
        let mut m = Message(Vec::new());
        m.text(1, tag.as_bytes());
        m
    }
    fn key(&mut self, field: u64, wire: u64) {
        self.varint(field << 3 | wire);
    }
    fn varint(&mut self, mut x: u64) {
        while x >= 0x80 {
            self.0.push(x as u8 | 0x80);
            x >>= 7;
        }
        self.0.push(x as u8);
    }
    fn number(&mut self, field: u64, x: u64) {
        self.key(field, VARINT);
        self.varint(x);
    }
    fn text(&mut self, field: u64, bytes: &[u8]) {
        self.key(field, BYTES);
        self.varint(bytes.len() as u64);
        self.0.extend(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Splits a file into records and checks both checksums of each.
    fn records(mut b: &[u8]) -> Vec<Vec<u8>> {
        let mut out = vec![];
        while !b.is_empty() {
            let crc = |at: &[u8]| u32::from_le_bytes(at[..4].try_into().unwrap());
            let n = u64::from_le_bytes(b[..8].try_into().unwrap()) as usize;
            assert_eq!(crc(&b[8..]), masked_crc(&b[..8]));
            let body = &b[12..12 + n];
            assert_eq!(crc(&b[12 + n..]), masked_crc(body));
            out.push(body.to_vec());
            b = &b[16 + n..];
        }
        out
    }

    /// Fields of a message: (number, raw bytes; a varint as 8 bytes).
    fn fields(mut b: &[u8]) -> Vec<(u64, Vec<u8>)> {
        fn varint(b: &mut &[u8]) -> u64 {
            let (mut x, mut shift) = (0, 0);
            loop {
                let byte = b[0];
                *b = &b[1..];
                x |= ((byte & 0x7f) as u64) << shift;
                shift += 7;
                if byte < 0x80 {
                    return x;
                }
            }
        }
        let mut out = vec![];
        while !b.is_empty() {
            let key = varint(&mut b);
            let n = match key & 7 {
                VARINT => {
                    out.push((key >> 3, varint(&mut b).to_le_bytes().to_vec()));
                    continue;
                }
                FIXED64 => 8,
                FIXED32 => 4,
                BYTES => varint(&mut b) as usize,
                other => panic!("wire type {other}"),
            };
            out.push((key >> 3, b[..n].to_vec()));
            b = &b[n..];
        }
        out
    }

    fn field(b: &[u8], number: u64) -> Vec<u8> {
        fields(b).into_iter().find(|(n, _)| *n == number).unwrap_or_else(|| panic!("no field {number}")).1
    }

    #[test]
    fn what_was_written_is_read_back() {
        let dir = tempfile::tempdir().unwrap();
        let mut w = EventWriter::create(dir.path().join("tb")).unwrap();
        w.scalar("train/latent", 300, 0.25).unwrap();
        w.image_png("maps/unseen", 7, 200, 100, b"not really a png").unwrap();
        w.flush().unwrap();
        let all = records(&std::fs::read(w.path()).unwrap());
        assert_eq!(all.len(), 4);
        assert_eq!(field(&all[0], 3), b"brain.Event:2");
        let all = &all[1..];
        assert_eq!((field(&all[0], 2), field(&all[0], 7)), (0u64.to_le_bytes().to_vec(), vec![8, 1]));

        assert_eq!(field(&all[1], 2), 300u64.to_le_bytes());
        let wall = f64::from_le_bytes(field(&all[1], 1).try_into().unwrap());
        assert!((wall - now()).abs() < 60.0);
        let value = field(&field(&all[1], 5), 1);
        assert_eq!(field(&value, 1), b"train/latent");
        assert_eq!(field(&value, 2), 0.25f32.to_le_bytes());

        let image = field(&field(&field(&all[2], 5), 1), 4);
        assert_eq!((field(&image, 1), field(&image, 2)), (100u64.to_le_bytes().to_vec(), 200u64.to_le_bytes().to_vec()));
        assert_eq!(field(&image, 4), b"not really a png");
    }

    #[test]
    fn a_resumed_run_adds_a_file_that_sorts_later() {
        let dir = tempfile::tempdir().unwrap();
        let (a, b) = (EventWriter::create(dir.path()).unwrap(), EventWriter::create(dir.path()).unwrap());
        assert!(a.path() < b.path());
        assert!(a.path().file_name().unwrap().to_str().unwrap().contains("tfevents"));
    }

    /// CRC-32C of "123456789" is e3069283 (RFC 3720); masking as in TensorFlow.
    #[test]
    fn masked_checksum() {
        assert_eq!(crc32c::crc32c(b"123456789"), 0xe306_9283);
        assert_eq!(masked_crc(b"123456789"), 0xe306_9283u32.rotate_right(15).wrapping_add(0xa282_ead8));
    }
}
