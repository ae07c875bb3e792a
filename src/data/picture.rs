//! 8-bit sRGB pictures: reading every format that `image` knows, resizing, cropping, writing.

use std::path::Path;

use fast_image_resize as fir;
use fir::images::{TypedImage, TypedImageRef};
use fir::pixels::U8x3;
use image::ImageFormat;
use image::metadata::Orientation;

use super::budget::Reserved;
use super::codec::{self, encode, turned};
use super::convert::turn;
use crate::core::file::write_quickly;
use crate::error::{Error, Result};

pub use super::codec::{MAX_BYTES, MAX_SIDE, Shape};
pub use super::mask::Mask;
pub use super::note::{Kind, Note};

/// File name endings that are looked at in a data folder (lower case).
pub const EXTENSIONS: [&str; 17] =
    ["png", "apng", "jpg", "jpeg", "jpe", "jfif", "webp", "bmp", "dib", "tif", "tiff", "gif", "ppm", "pgm", "pbm", "pam", "pnm"];

/// Whether the name ends like a picture.
pub fn is_picture_name(path: &Path) -> bool {
    path.extension().and_then(|e| e.to_str()).is_some_and(|e| EXTENSIONS.contains(&e.to_ascii_lowercase().as_str()))
}

/// 8-bit sRGB, interleaved, row-major: `rgb.len() == w * h * 3`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picture {
    /// Pixels across.
    pub w: usize,
    /// Pixels down.
    pub h: usize,
    pub rgb: Vec<u8>,
}

/// A picture and what was decided on the way to it.
pub struct Opened {
    pub picture: Picture,
    /// What another viewer may decide otherwise: frames, transparency, colour profiles.
    pub notes: Vec<Note>,
    /// How the stored pixels were turned.
    pub orientation: Orientation,
    /// The picture's share of the memory of all threads ([`MAX_BYTES`]), until it is dropped. Drop the whole before another file is
    /// opened, so that other threads need not wait.
    _reserved: Reserved,
}

impl Opened {
    /// Size as shown, and how it came from the stored one.
    pub fn shape(&self) -> Shape {
        Shape { w: self.picture.w, h: self.picture.h, orientation: self.orientation }
    }
}

impl Picture {
    pub fn new(w: usize, h: usize) -> Picture {
        Picture { w, h, rgb: vec![0; w * h * 3] }
    }

    /// A picture of `f(x, y)`.
    pub fn from_fn(w: usize, h: usize, mut f: impl FnMut(usize, usize) -> [u8; 3]) -> Picture {
        let mut rgb = Vec::with_capacity(w * h * 3);
        for y in 0..h {
            for x in 0..w {
                rgb.extend(f(x, y));
            }
        }
        Picture { w, h, rgb }
    }

    pub fn at(&self, x: usize, y: usize) -> [u8; 3] {
        let i = (y * self.w + x) * 3;
        [self.rgb[i], self.rgb[i + 1], self.rgb[i + 2]]
    }

    /// Reads a file of any known format; the content decides, not the name. The result is what a viewer shows: EXIF orientation
    /// applied, colours converted from an embedded profile to sRGB, 16 bits rounded to 8, grey copied to three channels, CMYK
    /// converted, transparency laid over white. Of an animation, the first frame.
    pub fn open(path: impl AsRef<Path>) -> Result<Picture> {
        Ok(Picture::open_noted(path)?.picture)
    }

    /// [`open`](Self::open), with notes about what another viewer may decide otherwise. Waits while other threads decode pictures
    /// that together with this one would take more than [`MAX_BYTES`].
    pub fn open_noted(path: impl AsRef<Path>) -> Result<Opened> {
        let path = path.as_ref();
        let (raw, notes) = codec::decode(path)?.into_rgb(path)?;
        let (mut reserved, orientation) = (raw.reserved, raw.orientation);
        let (rgb, w, h) = turn(raw.bytes, (raw.w, raw.h), 3, orientation);
        reserved.shrink(rgb.len() as u64);
        Ok(Opened { picture: Picture { w, h, rgb }, notes, orientation, _reserved: reserved })
    }

    /// Size from the header alone: (w, h) in pixels as [`open`](Self::open) would return it. Fast, and finds most broken files.
    pub fn probe(path: impl AsRef<Path>) -> Result<(usize, usize)> {
        Ok(Picture::shape(path)?.shown())
    }

    /// [`probe`](Self::probe), with the orientation.
    pub fn shape(path: impl AsRef<Path>) -> Result<Shape> {
        let ((w, h), orientation, _) = codec::header(path.as_ref())?;
        let (w, h) = if turned(orientation) { (h, w) } else { (w, h) };
        Ok(Shape { w: w as usize, h: h as usize, orientation })
    }

    /// Most memory that reading the file takes, bytes; an error if that is above [`MAX_BYTES`].
    pub fn memory(path: impl AsRef<Path>) -> Result<u64> {
        Ok(codec::header(path.as_ref())?.2)
    }

    /// The shorter side, pixels.
    pub fn short_side(&self) -> usize {
        self.w.min(self.h)
    }

    /// `side` × `side` pixels with antialiasing. The aspect is not kept: crop first where it matters.
    pub fn resize(&self, side: usize) -> Picture {
        self.resize_to(side, side)
    }

    /// `w` × `h` pixels, Catmull-Rom stretched by the scale when shrinking (the filter that Pillow calls BICUBIC), so nothing aliases.
    pub fn resize_to(&self, w: usize, h: usize) -> Picture {
        self.resize_window((0.0, 0.0, self.w as f64, self.h as f64), w, h)
    }

    /// A window (left, top, width, height, in pixels, inside the picture) as `w` × `h` pixels, as [`resize_to`](Self::resize_to).
    pub fn resize_window(&self, window: (f64, f64, f64, f64), w: usize, h: usize) -> Picture {
        let (w, h) = (w.max(1), h.max(1));
        let (left, top, width, height) = window;
        if (left, top) == (0.0, 0.0) && (self.w, self.h) == (w, h) && (width, height) == (w as f64, h as f64) {
            return self.clone();
        }
        let options = fir::ResizeOptions::new()
            .resize_alg(fir::ResizeAlg::Convolution(fir::FilterType::CatmullRom))
            .crop(left, top, width, height);
        // With typed views only the resizing code for pixels of three bytes is compiled, a thirteenth of what the crate has.
        let mut rgb = vec![0; w * h * 3];
        let source = TypedImageRef::<U8x3>::from_buffer(self.w as u32, self.h as u32, &self.rgb);
        let target = TypedImage::<U8x3>::from_buffer(w as u32, h as u32, &mut rgb);
        let (source, mut target) = (source.expect("w · h · 3 bytes by construction"), target.expect("w · h · 3 bytes"));
        fir::Resizer::new().resize_typed(&source, &mut target, &options).expect("the window lies inside the picture");
        Picture { w, h, rgb }
    }

    /// The window whose top left pixel is (x, y). Clipped to the picture; at least one pixel.
    pub fn crop(&self, x: usize, y: usize, w: usize, h: usize) -> Picture {
        let (x, y) = (x.min(self.w - 1), y.min(self.h - 1));
        let (w, h) = (w.clamp(1, self.w - x), h.clamp(1, self.h - y));
        let mut rgb = Vec::with_capacity(w * h * 3);
        for row in y..y + h {
            rgb.extend_from_slice(&self.rgb[(row * self.w + x) * 3..][..w * 3]);
        }
        Picture { w, h, rgb }
    }

    /// Left and right exchanged.
    pub fn flip(&self) -> Picture {
        let mut out = self.clone();
        for row in out.rgb.chunks_exact_mut(self.w * 3) {
            for x in 0..self.w / 2 {
                for c in 0..3 {
                    row.swap(x * 3 + c, (self.w - 1 - x) * 3 + c);
                }
            }
        }
        out
    }

    /// Writes PNG or JPEG (quality 95) by the name's ending. See [`write_quickly`].
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        let ending = path.extension().and_then(|e| e.to_str()).unwrap_or("").to_ascii_lowercase();
        let bytes = match ending.as_str() {
            "png" => self.to_png(),
            "jpg" | "jpeg" => self.to_jpeg(95),
            _ => return Err(Error::data(path, "pictures are written as .png or .jpg; give the name one of these endings")),
        };
        write_quickly(path, &bytes?)
    }

    /// The bytes of a PNG file.
    pub fn to_png(&self) -> Result<Vec<u8>> {
        encode(&self.rgb, self.w, self.h, image::ExtendedColorType::Rgb8, ImageFormat::Png)
    }

    /// The picture after one JPEG of that quality (1..=100), 4:2:0, as most programs write it. At most 65,535 pixels a side.
    pub fn through_jpeg(&self, quality: u8) -> Result<Picture> {
        Ok(Picture { rgb: codec::jpeg_round_trip(&self.rgb, (self.w, self.h), quality, true)?, ..*self })
    }

    /// The bytes of a JPEG file (baseline, 4:2:0 is not used by this encoder), quality 1..=100.
    pub fn to_jpeg(&self, quality: u8) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        image::codecs::jpeg::JpegEncoder::new_with_quality(&mut bytes, quality.clamp(1, 100))
            .encode(&self.rgb, self.w as u32, self.h as u32, image::ExtendedColorType::Rgb8)
            .map_err(|e| Error::data("picture", format!("cannot be encoded as JPEG ({e}); save it as PNG")))?;
        Ok(bytes)
    }
}

/// Rounds to 8 bits, halves up.
pub(super) fn to_u8(x: f32) -> u8 {
    (x + 0.5).clamp(0.0, 255.0) as u8 // NaN would become 0; no caller makes one
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::Engine;
    use image::{ExtendedColorType, ImageEncoder};
    use std::fs;

    fn written(
        dir: &tempfile::TempDir,
        name: &str,
        data: &[u8],
        size: (u32, u32),
        color: ExtendedColorType,
    ) -> std::path::PathBuf {
        let path = dir.path().join(name);
        let format = ImageFormat::from_path(&path).unwrap();
        image::save_buffer_with_format(&path, data, size.0, size.1, color, format).unwrap();
        path
    }

    fn why(result: Result<impl Sized>) -> String {
        result.err().expect("an error").to_string()
    }

    #[test]
    fn every_format_comes_back() {
        let dir = tempfile::tempdir().unwrap();
        let p = Picture::from_fn(21, 13, |x, y| [(x * 12) as u8, (y * 19) as u8, 90]);
        for name in ["a.png", "a.webp", "a.bmp", "a.tif", "a.ppm", "a.gif", "a.jpg"] {
            let path = written(&dir, name, &p.rgb, (21, 13), ExtendedColorType::Rgb8);
            let q = Picture::open(&path).unwrap();
            assert_eq!((q.w, q.h), (21, 13), "{name}");
            assert_eq!(Picture::probe(&path).unwrap(), (21, 13));
            let worst = p.rgb.iter().zip(&q.rgb).map(|(a, b)| a.abs_diff(*b)).max().unwrap();
            assert!(
                worst
                    <= match name {
                        "a.jpg" => 40,
                        "a.gif" => 60,
                        _ => 0,
                    },
                "{name}: {worst}"
            );
        }
        // The content decides, not the name.
        fs::copy(dir.path().join("a.png"), dir.path().join("b.jpg")).unwrap();
        assert_eq!(Picture::open(dir.path().join("b.jpg")).unwrap(), p);
    }

    #[test]
    fn depths_channels_and_alpha() {
        let dir = tempfile::tempdir().unwrap();
        let deep: Vec<u8> = [0u16, 0x80FF, 0xFFFF].iter().flat_map(|v| v.to_ne_bytes()).collect();
        let q = Picture::open(written(&dir, "deep.png", &deep, (3, 1), ExtendedColorType::L16)).unwrap();
        assert_eq!(q.rgb, [0, 0, 0, 128, 128, 128, 255, 255, 255]);
        let q = Picture::open(written(&dir, "grey.png", &[7, 9], (2, 1), ExtendedColorType::L8)).unwrap();
        assert_eq!(q.rgb, [7, 7, 7, 9, 9, 9]);
        let q =
            Picture::open(written(&dir, "a.png", &[10, 20, 30, 255, 10, 20, 30, 0], (2, 1), ExtendedColorType::Rgba8)).unwrap();
        assert_eq!(q.rgb, [10, 20, 30, 255, 255, 255]);
        let q = Picture::open(written(&dir, "one.png", &[1, 2, 3], (1, 1), ExtendedColorType::Rgb8)).unwrap();
        assert_eq!((q.resize(8).at(7, 7), q.crop(5, 5, 9, 9).w), ([1, 2, 3], 1));
    }

    /// Red and cyan halves, made by Pillow: `Image.fromarray(a, "CMYK").save(..., quality=90)`.
    #[test]
    fn cmyk_jpeg() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("cmyk.jpg");
        fs::write(&path, base64::prelude::BASE64_STANDARD.decode(CMYK).unwrap()).unwrap();
        let p = Picture::open(&path).unwrap();
        let (left, right) = (p.at(1, 4), p.at(14, 4));
        assert!(left[0] > 200 && left[1] < 60 && left[2] < 60, "{left:?}");
        assert!(right[0] < 60 && right[1] > 200 && right[2] > 200, "{right:?}");
    }

    const CMYK: &str = "/9j/7gAOQWRvYmUAZAAAAAAA/9sAQwADAgIDAgIDAwMDBAMDBAUIBQUEBAUKBwcGCAwKDAwLCgsLDQ4SEA0OEQ4LCxAWEBETFBUVFQwP\
        FxgWFBgSFBUU/8AAFAgACAAQBEMRAE0RAFkRAEsRAP/EABYAAQEBAAAAAAAAAAAAAAAAAAkKAP/EABQQAQAAAAAAAAAAAAAAAAAAAAD/\
        2gAOBEMATQBZAEsAAD8AVMVQqippV1VCqhn/2Q==";

    #[test]
    fn exif_orientation_is_applied() {
        let dir = tempfile::tempdir().unwrap();
        let p = Picture::from_fn(16, 8, |x, _| if x < 8 { [255; 3] } else { [0; 3] });
        // TIFF header, one entry: tag 0x0112 (orientation), SHORT, 1 value, 6 = turn by 90 degrees clockwise.
        let exif = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0".to_vec();
        let path = dir.path().join("turned.jpg");
        let mut bytes = Vec::new();
        let mut encoder = image::codecs::jpeg::JpegEncoder::new_with_quality(&mut bytes, 95);
        encoder.set_exif_metadata(exif).unwrap();
        encoder.write_image(&p.rgb, 16, 8, ExtendedColorType::Rgb8).unwrap();
        fs::write(&path, bytes).unwrap();
        let q = Picture::open(&path).unwrap();
        assert_eq!((q.w, q.h), (8, 16));
        assert_eq!(Picture::probe(&path).unwrap(), (8, 16));
        assert!(q.at(4, 2)[0] > 200 && q.at(4, 13)[0] < 50);
    }

    #[test]
    fn truncated_files_are_named() {
        let dir = tempfile::tempdir().unwrap();
        let p = crate::data::procedural::photograph(1, 1, 64);
        for name in ["t.png", "t.jpg", "t.webp", "t.bmp", "t.tif", "t.ppm", "t.gif"] {
            let path = written(&dir, name, &p.rgb, (64, 64), ExtendedColorType::Rgb8);
            let bytes = fs::read(&path).unwrap();
            for keep in [0, 1, 10, 40, bytes.len() / 2, bytes.len() - 9] {
                fs::write(&path, &bytes[..keep]).unwrap();
                // A GIF that lacks its last bytes is complete but for the trailer; everything else must be refused.
                if let Ok(q) = Picture::open(&path) {
                    assert!(
                        keep == bytes.len() - 9 && matches!(name, "t.gif" | "t.tif"),
                        "{name} cut to {keep} of {}",
                        bytes.len()
                    );
                    assert_eq!((q.w, q.h), (64, 64));
                } else {
                    let e = why(Picture::open(&path));
                    assert!(e.contains(name) && e.contains(['c', 'p', 'y']), "{e}");
                }
            }
        }
        assert!(why(Picture::open(dir.path().join("none.png"))).contains("none.png"));
        fs::write(dir.path().join("words.png"), "these are words, not pixels").unwrap();
        assert!(why(Picture::open(dir.path().join("words.png"))).contains("known format"));
    }

    #[test]
    fn wide_pictures_work_and_bombs_are_refused_before_allocation() {
        let dir = tempfile::tempdir().unwrap();
        let wide = written(&dir, "wide.png", &vec![200; 20_000 * 3], (20_000, 3), ExtendedColorType::L8);
        let p = Picture::open(wide).unwrap();
        assert_eq!((p.w, p.h, p.resize_to(100, 3).at(50, 1)), (20_000, 3, [200; 3]));
        // Headers that promise far more than the file holds.
        let ppm = dir.path().join("bomb.ppm");
        for size in ["60000 60000", "29999 29999", "40000 2"] {
            fs::write(&ppm, format!("P6 {size} 255\n12")).unwrap();
            let e = why(Picture::open(&ppm));
            assert!(e.contains("bomb.ppm") && e.contains("too large") && e.contains("shrink"), "{e}");
            assert!(why(Picture::probe(&ppm)).contains("too large"));
        }
    }

    #[test]
    fn resizing_does_not_alias_and_windows_are_windows() {
        // Columns of 0 and 255 average out.
        let stripes = Picture::from_fn(128, 128, |x, _| [255 * (x % 2) as u8; 3]);
        assert!(stripes.resize(16).crop(1, 0, 14, 16).rgb.iter().all(|v| v.abs_diff(127) <= 1));
        let p = crate::data::procedural::photograph(1, 2, 40);
        assert_eq!(p.resize(40), p);
        assert_eq!(p.resize_window((3.0, 5.0, 20.0, 20.0), 20, 20), p.crop(3, 5, 20, 20));
        assert_eq!(p.flip().flip(), p);
        assert_eq!(p.flip().at(0, 7), p.at(39, 7));
    }

    #[test]
    fn nothing_is_left_beside_a_written_file() {
        let dir = tempfile::tempdir().unwrap();
        Picture::new(2, 2).save(dir.path().join("a.png")).unwrap();
        Picture::new(2, 2).save(dir.path().join("a.jpg")).unwrap();
        assert!(why(Picture::new(2, 2).save(dir.path().join("a.xyz"))).contains(".png or .jpg"));
        assert!(why(Picture::new(2, 2).save(dir.path().join("no/such/a.png"))).contains("a.png"));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
    }
}
