//! Files to pixels as they are stored, within the limits on size and memory; and pixels to files.

use std::fs;
use std::io::{BufRead, BufReader, Cursor, Read, Seek, SeekFrom};
use std::path::Path;

use image::codecs::jpeg::JpegDecoder;
use image::metadata::Orientation;
use image::{ColorType, ImageDecoder, ImageError, ImageFormat, ImageReader, Limits};
use jpeg_encoder::{ChromaSubsamplingMethod, SamplingFactor};

use super::budget::{self, Reserved};
use super::note::{Kind, Note};
use super::png::{self, Colours};
use super::{frames, jpeg};
use crate::error::{Error, Result};

pub use super::budget::MAX_BYTES;

/// Longest side that is decoded, pixels. A header that claims more is refused before anything is allocated.
pub const MAX_SIDE: u32 = 30_000;
/// Most memory for what is neither pixels nor compressed pixels of a PNG: profiles, texts, a row.
const MAX_EXTRAS: u64 = 64 << 20;

/// Size in pixels as shown, and how the stored pixels are turned to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    pub w: usize,
    pub h: usize,
    pub orientation: Orientation,
}

impl Shape {
    pub fn shown(self) -> (usize, usize) {
        (self.w, self.h)
    }

    pub fn stored(self) -> (usize, usize) {
        if turned(self.orientation) { (self.h, self.w) } else { (self.w, self.h) }
    }
}

/// A picture's pixels as its file stores them.
pub(super) struct Raw {
    pub w: usize,
    pub h: usize,
    pub color: ColorType,
    /// `3·w·h` bytes, or more where a pixel takes more. The pixels are the last `w·h·bytes_per_pixel` of them, so that rows can be
    /// turned into RGB from the front without a second buffer. Numbers of 16 and 32 bits in the machine's order.
    pub bytes: Vec<u8>,
    pub orientation: Orientation,
    pub icc: Option<Vec<u8>>,
    /// PNG: what its chunks say of its colours.
    pub colours: Option<Colours>,
    pub notes: Vec<Note>,
    pub reserved: Reserved,
}

impl Raw {
    /// Where the pixels begin in `bytes`.
    pub fn start(&self) -> usize {
        self.bytes.len() - self.w * self.h * self.color.bytes_per_pixel() as usize
    }
}

trait Input: BufRead + Seek {}
impl<T: BufRead + Seek> Input for T {}

/// A file whose header was read.
struct Opened {
    decoder: Box<dyn ImageDecoder>,
    format: ImageFormat,
    /// Bytes of the file.
    length: u64,
    /// A JPEG file as a whole.
    jpeg: Vec<u8>,
    /// WebP: bytes per pixel that the decoder takes beside its output.
    webp: u64,
    frames: Option<Note>,
    /// PNG: what its chunks say of its colours.
    colours: Option<Colours>,
}

/// Size as stored, orientation and the memory that reading takes, from the header alone.
pub(super) fn header(path: &Path) -> Result<((u32, u32), Orientation, u64)> {
    let mut opened = open(path)?;
    let size = opened.size(path)?;
    // An orientation that cannot be read is none, as viewers take it.
    let orientation = opened.decoder.orientation().unwrap_or(Orientation::NoTransforms);
    let cost = opened.cost(path, size, orientation)?;
    Ok((size, orientation, cost))
}

/// Whether the orientation exchanges width and height.
pub(super) fn turned(o: Orientation) -> bool {
    use Orientation::*;
    matches!(o, Rotate90 | Rotate270 | Rotate90FlipH | Rotate270FlipH)
}

/// Reads a whole file. Waits while other threads take the memory that this one needs.
pub(super) fn decode(path: &Path) -> Result<Raw> {
    let mut opened = open(path)?;
    let (w, h) = opened.size(path)?;
    let orientation = opened.decoder.orientation().unwrap_or(Orientation::NoTransforms);
    let cost = opened.cost(path, (w, h), orientation)?;
    let reserved = budget::reserve(cost);
    let mut notes: Vec<Note> = opened.frames.take().into_iter().collect();
    if opened.format == ImageFormat::Jpeg {
        match jpeg::check(&opened.jpeg).map_err(|flaw| flawed(path, flaw))? {
            jpeg::Ending::Marked => {}
            jpeg::Ending::Unmarked => {
                notes.push(Note::new(Kind::NoEnd, "the JPEG file has no end marker, but all of its data: read as a whole"));
            }
        }
    }
    // A profile that is there and cannot be read is empty here, which is told as damaged.
    let part = jpeg::has_profile(&opened.jpeg).then(Vec::new);
    let mut decoder = opened.decoder;
    let colours = opened.colours;
    let icc = decoder.icc_profile().unwrap_or_else(|_| Some(Vec::new())).or(part);
    drop(opened.jpeg);
    let color = decoder.color_type();
    let total = decoder.total_bytes() as usize;
    let mut limits = limits();
    limits.max_alloc = Some(cost);
    decoder.set_limits(limits).map_err(|e| explain(path, e))?;
    let mut bytes = vec![0; total.max(w as usize * h as usize * 3)];
    let start = bytes.len() - total;
    decoder.read_image_boxed(&mut bytes[start..]).map_err(|e| explain(path, e))?;
    Ok(Raw { w: w as usize, h: h as usize, color, bytes, orientation, icc, colours, notes, reserved })
}

impl Opened {
    fn size(&self, path: &Path) -> Result<(u32, u32)> {
        let (w, h) = self.decoder.dimensions();
        if w == 0 || h == 0 {
            return Err(Error::data(path, "the picture has no pixels; remove it"));
        }
        if w > MAX_SIDE || h > MAX_SIDE {
            return Err(too_large(path, &format!("{w} x {h} pixels")));
        }
        Ok((w, h))
    }

    /// Most memory that decoding and converting take, bytes; an error where that is too much.
    fn cost(&self, path: &Path, (w, h): (u32, u32), orientation: Orientation) -> Result<u64> {
        let (w, pixels) = (w as u64, w as u64 * h as u64);
        let buffer = self.decoder.total_bytes().max(3 * pixels);
        // What each decoder holds beside its output; measured by `tests/memory.rs`.
        let own = match self.format {
            ImageFormat::Jpeg => {
                let frame = jpeg::frame(&self.jpeg).map_err(|flaw| flawed(path, flaw))?;
                let held = frame.filter(|f| f.held).map_or(0, |f| 2 * f.coefficients + f.coefficients / 8);
                2 * self.length + held + 512 * w
            }
            ImageFormat::WebP => self.length + self.webp * pixels,
            ImageFormat::Gif => 5 * pixels,
            // A second buffer of all values (CMYK has four where the output has three), and a strip of any size before it.
            ImageFormat::Tiff => 2 * self.decoder.total_bytes().max(4 * pixels) + self.decoder.total_bytes() / 3,
            _ => pixels / 8,
        };
        // After decoding: the picture that an orientation turns, or a mask's pixels and the turned mask.
        let after = if turned(orientation) { 3 * pixels } else { 2 * pixels };
        let cost = buffer + own.max(after) + (4 << 20);
        if cost > MAX_BYTES {
            return Err(too_large(path, &format!("{w} x {h} pixels, {} MiB while it is decoded", cost >> 20)));
        }
        Ok(cost)
    }
}

fn limits() -> Limits {
    let mut limits = Limits::no_limits();
    limits.max_image_width = Some(MAX_SIDE);
    limits.max_image_height = Some(MAX_SIDE);
    limits.max_alloc = Some(MAX_BYTES);
    limits
}

/// The format by the first bytes. `image` knows all but BigTIFF, which its decoder reads all the same.
fn guess(start: &[u8]) -> Option<ImageFormat> {
    if start.starts_with(b"II+\0\x08\0\0\0") || start.starts_with(b"MM\0+\0\x08\0\0") {
        return Some(ImageFormat::Tiff);
    }
    let format = image::guess_format(start).ok()?;
    format.reading_enabled().then_some(format)
}

fn open(path: &Path) -> Result<Opened> {
    let io = |e| Error::io(path, e);
    let file = fs::File::open(path).map_err(io)?;
    let length = file.metadata().map_err(io)?.len();
    if length == 0 {
        return Err(Error::data(path, "the file is empty; copy it again or remove it"));
    }
    let mut file = BufReader::new(file);
    let mut start = Vec::new();
    file.by_ref().take(32).read_to_end(&mut start).map_err(io)?;
    let Some(format) = guess(&start) else {
        return Err(Error::data(path, "not a picture of a known format; use png, jpeg, webp, bmp, tiff, gif or pnm"));
    };
    let frames = frames::note(format, &mut file);
    let colours = if format == ImageFormat::Png { png::colours(&mut file) } else { None };
    let webp = if format == ImageFormat::WebP { webp(path, &mut file, &start, length)? } else { 0 };
    file.seek(SeekFrom::Start(0)).map_err(io)?;
    let mut jpeg = Vec::new();
    let input: Box<dyn Input> = if format == ImageFormat::Jpeg {
        if length > MAX_BYTES / 4 {
            return Err(too_large(path, &format!("a JPEG file of {} MiB", length >> 20)));
        }
        file.read_to_end(&mut jpeg).map_err(io)?;
        jpeg = jpeg::with_tables(jpeg);
        // Kinds of JPEG that are not read get their name here; the decoder says less.
        jpeg::frame(&jpeg).map_err(|flaw| flawed(path, flaw))?;
        Box::new(Cursor::new(jpeg.clone()))
    } else {
        Box::new(file)
    };
    let mut reader = ImageReader::with_format(input, format);
    let mut limits = limits();
    if format == ImageFormat::Png {
        limits.max_alloc = Some(MAX_EXTRAS);
    }
    reader.limits(limits);
    let decoder = Box::new(reader.into_decoder().map_err(|e| explain(path, e))?);
    Ok(Opened { decoder, format, length, jpeg, webp, frames, colours })
}

/// Bytes per pixel that the WebP decoder takes beside its output: planes of YUV, the argb of lossless data, alpha, a canvas. A
/// chunk that is longer than the file is refused, for the decoder would allocate it.
fn webp(path: &Path, file: &mut (impl Read + Seek), start: &[u8], length: u64) -> Result<u64> {
    let mut at = 12;
    let mut head = [0; 8];
    while at + 8 <= length && file.seek(SeekFrom::Start(at)).is_ok() && file.read_exact(&mut head).is_ok() {
        let chunk = u32::from_le_bytes([head[4], head[5], head[6], head[7]]) as u64;
        at += 8 + chunk + chunk % 2;
        if at > length + 1 {
            return Err(Error::data(path, "the file is truncated; copy it again or remove it"));
        }
    }
    Ok(match start.get(12..16) {
        Some(b"VP8 ") => 2,
        Some(b"VP8L") => 5,
        _ if start.get(20).is_some_and(|flags| flags & 2 != 0) => 15, // animated
        _ => 8,
    })
}

fn too_large(path: &Path, what: &str) -> Error {
    Error::data(
        path,
        format!(
            "too large ({what}); the limits are {MAX_SIDE} pixels a side and {} MiB: shrink it or remove it",
            MAX_BYTES >> 20
        ),
    )
}

fn flawed(path: &Path, flaw: jpeg::Flaw) -> Error {
    match flaw {
        jpeg::Flaw::Damaged(what) => Error::data(path, format!("the JPEG file is {what}; copy it again or remove it")),
        jpeg::Flaw::NotRead(what) => Error::data(path, what),
    }
}

fn explain(path: &Path, error: ImageError) -> Error {
    match error {
        ImageError::Limits(e) => too_large(path, &e.to_string()),
        ImageError::IoError(e) if e.kind() == std::io::ErrorKind::UnexpectedEof => {
            Error::data(path, "the file is truncated; copy it again or remove it")
        }
        ImageError::IoError(e) => Error::io(path, e),
        ImageError::Unsupported(e) => Error::data(path, format!("{e}; convert it to 8-bit PNG or JPEG")),
        e => Error::data(path, format!("damaged or truncated ({e}); copy it again or remove it")),
    }
}

/// Pixels (`w` · `h` · 3 bytes of RGB) after one JPEG of that quality (1..=100), written in memory and read by the decoder that
/// files meet. `half`: chroma at half the resolution (4:2:0, means of 2 × 2 pixels as libjpeg takes them), else 4:4:4.
pub(super) fn jpeg_round_trip(rgb: &[u8], (w, h): (usize, usize), quality: u8, half: bool) -> Result<Vec<u8>> {
    let fail = |why: String| Error::data("picture", format!("JPEG round trip failed ({why}); set augment.jpeg = 0"));
    let (Ok(across), Ok(down)) = (u16::try_from(w), u16::try_from(h)) else {
        return Err(fail(format!("{w} x {h} pixels are too many")));
    };
    let mut bytes = Vec::with_capacity(rgb.len() / 4);
    let mut encoder = jpeg_encoder::Encoder::new(&mut bytes, quality.clamp(1, 100));
    encoder.set_sampling_factor(if half { SamplingFactor::R_4_2_0 } else { SamplingFactor::R_4_4_4 });
    encoder.set_chroma_subsampling_method(ChromaSubsamplingMethod::Average);
    encoder.encode(rgb, across, down, jpeg_encoder::ColorType::Rgb).map_err(|e| fail(e.to_string()))?;
    let decoder = JpegDecoder::new(Cursor::new(bytes)).map_err(|e| fail(e.to_string()))?;
    if decoder.total_bytes() as usize != rgb.len() {
        return Err(fail("another size came back".into()));
    }
    let mut out = vec![0; rgb.len()];
    decoder.read_image(&mut out).map_err(|e| fail(e.to_string()))?;
    Ok(out)
}

/// Pixels as the bytes of a file.
pub(super) fn encode(data: &[u8], w: usize, h: usize, color: image::ExtendedColorType, format: ImageFormat) -> Result<Vec<u8>> {
    let mut bytes = Cursor::new(Vec::new());
    image::write_buffer_with_format(&mut bytes, data, w as u32, h as u32, color, format)
        .map_err(|e| Error::data("picture", format!("cannot be encoded ({e})")))?;
    Ok(bytes.into_inner())
}
