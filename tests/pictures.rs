//! What is decided about a picture that another viewer would decide otherwise, each with its right value.

use std::fs;
use std::path::{Path, PathBuf};

use image::metadata::Orientation;
use image::{ColorType, DynamicImage, ExtendedColorType, ImageEncoder};
use lae_engine::data::picture::{EXTENSIONS, Kind, Mask, Picture, is_picture_name};
use lae_engine::data::procedural::photograph;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/pictures").join(name)
}

/// The texts of a picture's notes.
fn notes(path: impl AsRef<Path>) -> Vec<String> {
    Picture::open_noted(path).unwrap().notes.into_iter().map(|n| n.text).collect()
}

fn why<T>(result: lae_engine::Result<T>) -> String {
    result.err().expect("an error").to_string()
}

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Folder {
        Folder(tempfile::tempdir().unwrap())
    }
    fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.0.path().join(name);
        fs::write(&path, bytes).unwrap();
        path
    }
    fn pixels(&self, name: &str, data: &[u8], size: (u32, u32), color: ExtendedColorType) -> PathBuf {
        let path = self.0.path().join(name);
        image::save_buffer(&path, data, size.0, size.1, color).unwrap();
        path
    }
}

#[test]
fn one_frame_of_several_is_named() {
    assert_eq!(notes(fixture("animated.gif")), ["an animation of 3 frames: frame 1 was judged"]);
    assert_eq!(notes(fixture("animated.webp")), ["an animation of 3 frames: frame 1 was judged"]);
    assert_eq!(notes(fixture("animated.png")), ["an animation of 3 frames: frame 1 was judged"]);
    assert_eq!(
        notes(fixture("apart.png")),
        [
            "an animation of 2 frames whose default picture is not part of it: the default picture was judged, no frame of the animation"
        ]
    );
    let pages = notes(fixture("pages.tif"));
    assert!(pages.len() == 1 && pages[0].starts_with("a TIFF file of 3 pages: page 1 was judged"), "{pages:?}");
    for still in ["baseline.jpg", "progressive.jpg", "lossy.webp", "lossless.webp", "big.tif", "cmyk.jpg"] {
        assert!(notes(fixture(still)).is_empty(), "{still}");
    }
    // The first frame is what was judged.
    let page = Picture::open(fixture("pages.tif")).unwrap();
    assert_eq!(Picture::open(fixture("animated.png")).unwrap(), page);
    assert_eq!(Picture::open(fixture("apart.png")).unwrap(), page);
    // A chain of pages that bites its tail ends; the decoder refuses it. A still GIF and PNG have one frame.
    let dir = Folder::new();
    let mut bytes = fs::read(fixture("big.tif")).unwrap();
    let first = u64::from_le_bytes(bytes[8..16].try_into().unwrap()) as usize;
    let entries = u64::from_le_bytes(bytes[first..first + 8].try_into().unwrap()) as usize;
    let next = first + 8 + 20 * entries;
    bytes[next..next + 8].copy_from_slice(&(first as u64).to_le_bytes());
    assert!(why(Picture::open(dir.write("round.tif", &bytes))).contains("damaged"));
    for name in ["still.gif", "still.png"] {
        assert!(notes(dir.pixels(name, &[9; 12], (2, 2), ExtendedColorType::Rgb8)).is_empty(), "{name}");
    }
}

#[test]
fn big_tiff_is_read() {
    let (big, page) = (Picture::open(fixture("big.tif")).unwrap(), Picture::open(fixture("pages.tif")).unwrap());
    assert_eq!(big, page);
    assert_eq!(Picture::probe(fixture("big.tif")).unwrap(), (16, 12));
}

#[test]
fn transparency_is_named_and_no_opacity_at_all_is_none() {
    let dir = Folder::new();
    let quarter: Vec<u8> = (0..16u8).flat_map(|i| [10 * i, 3, 200, if i < 4 { 0 } else { 255 }]).collect();
    let path = dir.pixels("quarter.png", &quarter, (4, 4), ExtendedColorType::Rgba8);
    assert_eq!(notes(&path), ["25.0 % of its pixels are transparent: laid over white"]);
    assert_eq!(Picture::open(&path).unwrap().at(1, 0), [255; 3]);
    let opaque: Vec<u8> = (0..16u8).flat_map(|i| [i, 3, 200, 255]).collect();
    assert!(notes(dir.pixels("opaque.png", &opaque, (4, 4), ExtendedColorType::Rgba8)).is_empty());
    // 32-bit BMP of old editors: the fourth byte was never set.
    let none: Vec<u8> = (0..16u8).flat_map(|i| [i, 3, 200, 0]).collect();
    for name in ["none.png", "none.bmp", "none.tif"] {
        let path = dir.pixels(name, &none, (4, 4), ExtendedColorType::Rgba8);
        assert_eq!(Picture::open(&path).unwrap().at(3, 1), [7, 3, 200], "{name}");
        assert_eq!(notes(&path), ["its alpha channel is zero everywhere: ignored, the colours were judged"], "{name}");
    }
    let grey: Vec<u8> = (0..16u8).flat_map(|i| [i, 0]).collect();
    assert_eq!(Picture::open(dir.pixels("grey.png", &grey, (4, 4), ExtendedColorType::La8)).unwrap().at(3, 1), [7; 3]);
}

type Point = (f64, f64);

/// Columns: the linear primaries in XYZ, scaled so that their sum is the white of D65.
fn to_xyz(primaries: [Point; 3]) -> [[f64; 3]; 3] {
    let xyz = |(x, y): Point| [x / y, 1.0, (1.0 - x - y) / y];
    let white = xyz((0.3127, 0.3290));
    let columns = primaries.map(xyz);
    let m = [0, 1, 2].map(|r| [0, 1, 2].map(|c| columns[c][r]));
    let scale = apply(inverse(m), white);
    [0, 1, 2].map(|r| [0, 1, 2].map(|c| m[r][c] * scale[c]))
}

fn apply(m: [[f64; 3]; 3], v: [f64; 3]) -> [f64; 3] {
    m.map(|row| row.iter().zip(v).map(|(a, b)| a * b).sum())
}

fn inverse(m: [[f64; 3]; 3]) -> [[f64; 3]; 3] {
    let minor = |r: usize, c: usize| {
        let (a, b, d, e) = ((r + 1) % 3, (r + 2) % 3, (c + 1) % 3, (c + 2) % 3);
        m[a][d] * m[b][e] - m[a][e] * m[b][d]
    };
    let det: f64 = (0..3).map(|c| m[0][c] * minor(0, c)).sum();
    [0, 1, 2].map(|r| [0, 1, 2].map(|c| minor(c, r) / det))
}

const SRGB: [Point; 3] = [(0.64, 0.33), (0.30, 0.60), (0.15, 0.06)];

fn srgb_curve(v: f64) -> f64 {
    if v <= 0.04045 { v / 12.92 } else { ((v + 0.055) / 1.055).powf(2.4) }
}

/// What a colour of another space is in sRGB, by the definitions of both spaces.
fn expected(rgb: [u8; 3], primaries: [Point; 3], curve: impl Fn(f64) -> f64) -> [u8; 3] {
    let linear = apply(inverse(to_xyz(SRGB)), apply(to_xyz(primaries), rgb.map(|v| curve(v as f64 / 255.0))));
    linear.map(|v| {
        let v = v.clamp(0.0, 1.0);
        let v = if v <= 0.0031308 { 12.92 * v } else { 1.055 * v.powf(1.0 / 2.4) - 0.055 };
        (255.0 * v).round() as u8
    })
}

fn with_profile(dir: &Folder, name: &str, data: &[u8], size: (u32, u32), color: ExtendedColorType, icc: &[u8]) -> PathBuf {
    let mut bytes = Vec::new();
    if name.ends_with(".jpg") {
        let mut encoder = image::codecs::jpeg::JpegEncoder::new_with_quality(&mut bytes, 100);
        encoder.set_icc_profile(icc.to_vec()).unwrap();
        encoder.write_image(data, size.0, size.1, color).unwrap();
    } else {
        let mut encoder = image::codecs::png::PngEncoder::new(&mut bytes);
        encoder.set_icc_profile(icc.to_vec()).unwrap();
        encoder.write_image(data, size.0, size.1, color).unwrap();
    }
    dir.write(name, &bytes)
}

#[test]
fn colours_come_back_as_srgb() {
    let dir = Folder::new();
    let colours: Vec<[u8; 3]> =
        (0..6u8 * 36).map(|i| [i % 6 * 51, i / 6 % 6 * 51, i / 36 * 51]).chain((0..40).map(|i| [i * 6; 3])).collect();
    let rgb: Vec<u8> = colours.concat();
    let deep: Vec<u8> = rgb.iter().flat_map(|&v| (v as u16 * 257).to_ne_bytes()).collect();
    let alpha: Vec<u8> = colours.iter().flat_map(|c| [c[0], c[1], c[2], 255]).collect();
    let n = (colours.len() as u32, 1);
    let adobe = moxcms::ColorProfile::new_adobe_rgb().encode().unwrap();
    let p3 = moxcms::ColorProfile::new_display_p3().encode().unwrap();
    let primaries_adobe = [(0.64, 0.33), (0.21, 0.71), (0.15, 0.06)];
    let primaries_p3 = [(0.68, 0.32), (0.265, 0.69), (0.15, 0.06)];
    let check = |path: PathBuf, primaries: [Point; 3], curve: &dyn Fn(f64) -> f64, word: &str, bound: u8| {
        let opened = Picture::open_noted(&path).unwrap();
        let mut changed = 0;
        for (x, &c) in colours.iter().enumerate() {
            let (got, want) = (opened.picture.at(x, 0), expected(c, primaries, curve));
            assert!(got.iter().zip(want).all(|(a, b)| a.abs_diff(b) <= bound), "{}: {c:?} -> {got:?}, {want:?}", path.display());
            changed = changed.max(got.iter().zip(c).map(|(a, b)| a.abs_diff(b)).max().unwrap());
        }
        assert!(changed > 20, "nothing was converted");
        let [note] = &opened.notes[..] else { panic!("{:?}", opened.notes) };
        assert!(note.kind == Kind::Profile && note.text.contains(word) && note.text.contains("sRGB"), "{note}");
    };
    let power = |v: f64| v.powf(563.0 / 256.0);
    for (name, data, color) in [
        ("a8.png", &rgb, ExtendedColorType::Rgb8),
        ("a16.png", &deep, ExtendedColorType::Rgb16),
        ("aa.png", &alpha, ExtendedColorType::Rgba8),
    ] {
        check(with_profile(&dir, name, data, n, color, &adobe), primaries_adobe, &power, "Adobe", 2);
        check(with_profile(&dir, name, data, n, color, &p3), primaries_p3, &srgb_curve, "P3", 2);
    }
    // sRGB itself, and none: the same bytes and no note.
    let srgb = moxcms::ColorProfile::new_srgb().encode().unwrap();
    let path = with_profile(&dir, "s.png", &rgb, n, ExtendedColorType::Rgb8, &srgb);
    assert_eq!((Picture::open(&path).unwrap().rgb, notes(&path)), (rgb.clone(), vec![]));
    let grey = with_profile(&dir, "g.jpg", &[128; 64], (8, 8), ExtendedColorType::L8, &adobe);
    let (got, want) = (Picture::open(&grey).unwrap().at(3, 3), expected([128; 3], primaries_adobe, power));
    assert!(got[0].abs_diff(want[0]) <= 2 && got[0] == got[2] && want[0] != 128, "{got:?} {want:?}");
}

#[test]
fn profiles_that_are_not_applied_are_named() {
    let dir = Folder::new();
    let rgb: Vec<u8> = (0..64u8).flat_map(|i| [i * 4, 255 - i, 7]).collect();
    let adobe = moxcms::ColorProfile::new_adobe_rgb().encode().unwrap();
    let grey = moxcms::ColorProfile::new_gray_with_gamma(1.8).encode().unwrap();
    let mut cmyk = adobe.clone();
    cmyk[16..20].copy_from_slice(b"CMYK");
    for (icc, word) in [(&grey[..], "grey"), (&cmyk[..], "CMYK"), (&adobe[..150], "damaged"), (&b"no profile"[..], "damaged")] {
        let path = with_profile(&dir, "x.png", &rgb, (64, 1), ExtendedColorType::Rgb8, icc);
        assert_eq!(Picture::open(&path).unwrap().rgb, rgb, "{word}");
        let said = notes(&path);
        assert!(said.len() == 1 && said[0].contains(word) && said[0].contains("not applied"), "{said:?}");
    }
    // One of two parts of a JPEG file's profile.
    let path = with_profile(&dir, "part.jpg", &rgb, (64, 1), ExtendedColorType::Rgb8, &adobe);
    let mut bytes = fs::read(&path).unwrap();
    let at = bytes.windows(12).position(|w| w == b"ICC_PROFILE\0").unwrap();
    bytes[at + 13] = 2;
    assert!(notes(dir.write("part.jpg", &bytes))[0].contains("damaged"));
}

/// A PNG file of these colours with chunks behind its header.
fn with_chunks(dir: &Folder, colours: &[[u8; 3]], deep: bool, chunks: &[(&[u8; 4], Vec<u8>)]) -> PathBuf {
    let (n, rgb) = ((colours.len() as u32, 1), colours.concat());
    let mut png = Vec::new();
    let encoder = image::codecs::png::PngEncoder::new(&mut png);
    if deep {
        let values: Vec<u8> = rgb.iter().flat_map(|&v| (v as u16 * 257).to_ne_bytes()).collect();
        encoder.write_image(&values, n.0, n.1, ExtendedColorType::Rgb16).unwrap();
    } else {
        encoder.write_image(&rgb, n.0, n.1, ExtendedColorType::Rgb8).unwrap();
    }
    let chunk = |(kind, content): &(&[u8; 4], Vec<u8>)| {
        let crc = lae_engine::data::png::checksum(&[&kind[..], content].concat());
        [&(content.len() as u32).to_be_bytes()[..], &kind[..], content, &crc.to_be_bytes()].concat()
    };
    let chunks: Vec<u8> = chunks.iter().flat_map(chunk).collect();
    dir.write("c.png", &[&png[..33], &chunks, &png[33..]].concat())
}

/// The chunk of white (D65) and primaries.
fn chrm(primaries: [Point; 3]) -> Vec<u8> {
    let points = [(0.3127, 0.3290), primaries[0], primaries[1], primaries[2]];
    points.iter().flat_map(|p| [p.0, p.1]).flat_map(|v| ((v * 1e5_f64).round() as u32).to_be_bytes()).collect()
}

#[test]
fn png_chunks_of_colour_are_applied_or_named() {
    let dir = Folder::new();
    let colours: Vec<[u8; 3]> =
        (0..6u8 * 36).map(|i| [i % 6 * 51, i / 6 % 6 * 51, i / 36 * 51]).chain((0..40).map(|i| [i * 6; 3])).collect();
    let rgb = colours.concat();
    let gamma = |n: u32| n.to_be_bytes().to_vec();
    let adobe = [(0.64, 0.33), (0.21, 0.71), (0.15, 0.06)];
    let (p3, bt2020) = ([(0.68, 0.32), (0.265, 0.69), (0.15, 0.06)], [(0.708, 0.292), (0.170, 0.797), (0.131, 0.046)]);
    let p3_chunk = chrm(p3);
    type Case<'a> = (Vec<(&'a [u8; 4], Vec<u8>)>, [Point; 3], &'a dyn Fn(f64) -> f64, &'a str);
    let applied: Vec<Case> = vec![
        (vec![(b"gAMA", vec![0, 1, 0x86, 0xA0])], SRGB, &|v| v, "the gamma 1.000 that"),
        (vec![(b"gAMA", vec![0, 0, 0xD9, 4])], SRGB, &|v: f64| v.powf(1.0 / 0.55556), "the gamma 0.556 that"),
        (
            vec![(b"cHRM", p3_chunk), (b"gAMA", vec![0, 0, 0xB1, 0x8F])],
            p3,
            &|v: f64| v.powf(1.0 / 0.45455),
            "0.455 and primaries",
        ),
        (vec![(b"cICP", vec![12, 13, 0, 1])], p3, &srgb_curve, "CICP codes 12/13/0/1"),
        (vec![(b"cICP", vec![9, 8, 0, 1])], bt2020, &|v| v, "CICP codes 9/8/0/1"),
        // Codes count more than what else there is.
        (
            vec![(b"gAMA", vec![0, 1, 0x86, 0xA0]), (b"sRGB", vec![0]), (b"cICP", vec![1, 5, 0, 1])],
            SRGB,
            &|v: f64| v.powf(2.8),
            "1/5/0/1",
        ),
    ];
    for (chunks, primaries, curve, words) in &applied {
        for deep in [false, true] {
            let path = with_chunks(&dir, &colours, deep, chunks);
            let opened = Picture::open_noted(&path).unwrap();
            for (x, &c) in colours.iter().enumerate() {
                let (got, want) = (opened.picture.at(x, 0), expected(c, *primaries, curve));
                assert!(got.iter().zip(want).all(|(a, b)| a.abs_diff(b) <= 2), "{words} {deep}: {c:?} -> {got:?}, {want:?}");
            }
            let [note] = &opened.notes[..] else { panic!("{:?}", opened.notes) };
            assert!(note.kind == Kind::Gamma && note.text.contains(words), "{note}");
        }
    }
    // sRGB in other words, and chunks that are damaged or say nothing: the same bytes, no note.
    type Chunks<'a> = Vec<(&'a [u8; 4], Vec<u8>)>;
    let same: [Chunks; 5] = [
        vec![(b"gAMA", vec![0, 0, 0xB1, 0x8F])],
        vec![(b"gAMA", vec![0, 0, 0xB1, 0x8F]), (b"cHRM", chrm(SRGB))],
        vec![(b"sRGB", vec![0]), (b"gAMA", vec![0, 1, 0x86, 0xA0])],
        vec![(b"cICP", vec![1, 13, 0, 1])],
        vec![(b"gAMA", vec![0, 1])],
    ];
    for chunks in &same {
        let path = with_chunks(&dir, &colours, false, chunks);
        assert_eq!((Picture::open(&path).unwrap().rgb, notes(&path)), (rgb.clone(), vec![]), "{chunks:?}");
    }
    let mut bytes = fs::read(with_chunks(&dir, &colours, false, &[(b"gAMA", gamma(100_000))])).unwrap();
    bytes[33 + 8] ^= 1; // no longer what its checksum is of
    let path = dir.write("damaged.png", &bytes);
    assert_eq!((Picture::open(&path).unwrap().rgb, notes(&path)), (rgb.clone(), vec![]));
    // What is not applied is named.
    let flat = [(0.64, 0.33), (0.64, 0.33), (0.15, 0.06)];
    let named: [(Chunks, &str); 6] = [
        (vec![(b"cICP", vec![9, 16, 0, 1])], "CICP codes 9/16/0/1"),
        (vec![(b"cICP", vec![1, 1, 0, 1])], "CICP codes 1/1/0/1"),
        (vec![(b"cICP", vec![12, 13, 0, 0])], "CICP codes 12/13/0/0"),
        (vec![(b"cHRM", chrm(adobe))], "primaries of"),
        (vec![(b"gAMA", gamma(0))], "gamma 0.000 of"),
        (vec![(b"gAMA", gamma(45_455)), (b"cHRM", chrm(flat))], "gamma 0.455 and primaries"),
    ];
    for (chunks, words) in &named {
        let path = with_chunks(&dir, &colours, false, chunks);
        let opened = Picture::open_noted(&path).unwrap();
        let [note] = &opened.notes[..] else { panic!("{words}: {:?}", opened.notes) };
        assert!(note.kind == Kind::GammaIgnored && note.text.contains(words) && note.text.contains("not applied"), "{note}");
        assert_eq!(opened.picture.rgb, rgb, "{words}");
    }
}

/// Baseline JPEG without Huffman tables, with and without the mark of AVI: the tables are those of the standard.
#[test]
fn frames_of_mjpeg_video_are_read() {
    let dir = Folder::new();
    let whole = photograph(2, 3, 60).to_jpeg(80).unwrap();
    let mut bare = whole.clone();
    while let Some(at) = bare.windows(2).position(|w| w == [0xFF, 0xC4]) {
        let length = u16::from_be_bytes([bare[at + 2], bare[at + 3]]) as usize;
        bare.drain(at..at + 2 + length);
    }
    assert!(bare.len() + 400 < whole.len());
    let marked = [&bare[..2], b"\xff\xe0\0\x10AVI1\0\0\0\0\0\0\0\0\0\0", &bare[2..]].concat();
    let want = Picture::open(dir.write("whole.jpg", &whole)).unwrap();
    for (name, bytes) in [("bare.jpg", &bare), ("marked.jpg", &marked)] {
        let path = dir.write(name, bytes);
        assert_eq!((Picture::open(&path).unwrap(), notes(&path)), (want.clone(), vec![]), "{name}");
        assert_eq!(Picture::probe(&path).unwrap(), (60, 60));
        let cut = dir.write(name, &bytes[..bytes.len() * 2 / 3]);
        assert!(why(Picture::open(cut)).contains("the data end early"), "{name}");
    }
}

#[test]
fn floats_outside_of_the_range_are_refused() {
    let dir = Folder::new();
    let write = |name: &str, values: &[f32]| {
        let path = dir.0.path().join(name);
        let image = image::Rgb32FImage::from_raw(values.len() as u32 / 3, 1, values.to_vec()).unwrap();
        image.save(&path).unwrap();
        path
    };
    let path = write("in.tif", &[0.0, 0.5, 1.0]);
    assert_eq!((Picture::open(&path).unwrap().rgb, notes(&path)), (vec![0, 128, 255], vec![]));
    for (values, words) in [
        ([0.0, 0.5, 1.5], ["from 0 to 1.5", "scale"]),
        ([-0.25, 0.5, 1.0], ["from -0.25 to 1", "scale"]),
        ([0.0, f32::NAN, 255.0], ["1 values are not finite", "0 to 255"]),
        ([0.0, f32::INFINITY, 1.0], ["not finite", "scale"]),
    ] {
        let path = write("out.tif", &values);
        let e = why(Picture::open(&path));
        assert!(e.contains("out.tif") && words.iter().all(|w| e.contains(w)), "{e}");
        assert!(why(Mask::open(&path)).contains("floating-point"));
    }
}

/// Without a profile the bytes are those that `image` itself gives, in every kind of pixel.
#[test]
fn pixels_of_every_kind_are_what_they_were() {
    let dir = Folder::new();
    let n = 640usize;
    let bytes: Vec<u8> = (0..n as u32 * 4 * 2).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let kinds = [
        ColorType::L8,
        ColorType::La8,
        ColorType::Rgb8,
        ColorType::Rgba8,
        ColorType::L16,
        ColorType::La16,
        ColorType::Rgb16,
        ColorType::Rgba16,
    ];
    for color in kinds {
        let data = &bytes[..n * color.bytes_per_pixel() as usize];
        let path = dir.pixels("k.png", data, (64, 10), color.into());
        let p = Picture::open(&path).unwrap();
        let rgba = image::open(&path).unwrap().to_rgba8();
        let want: Vec<u8> = match color.has_alpha() {
            false => image::open(&path).unwrap().into_rgb8().into_raw(),
            true => rgba
                .pixels()
                .flat_map(|p| {
                    let a = p.0[3] as u32;
                    [0, 1, 2].map(|c| ((p.0[c] as u32 * a + 255 * (255 - a) + 127) / 255) as u8)
                })
                .collect(),
        };
        assert_eq!(p.rgb, want, "{color:?}");
        let mask = Mask::from_fn(64, 10, |x, y| {
            let [r, g, b, a] = rgba.get_pixel(x as u32, y as u32).0;
            r.max(g).max(b) > 127 && (!color.has_alpha() || a > 127)
        });
        // A mask of noise with transparent pixels looks like a picture with holes, one of colours like a photograph.
        if matches!(color, ColorType::L8 | ColorType::L16) {
            assert_eq!(Mask::open(&path).unwrap(), mask, "{color:?}");
        }
    }
    let floats: Vec<f32> = (0..n * 3).map(|i| (i % 251) as f32 / 250.0).collect();
    let image = image::Rgb32FImage::from_raw(64, 10, floats).unwrap();
    image.save(dir.0.path().join("k.tif")).unwrap();
    let want = DynamicImage::ImageRgb32F(image).into_rgb8().into_raw();
    assert_eq!(Picture::open(dir.0.path().join("k.tif")).unwrap().rgb, want);
}

/// TIFF header, one entry: tag 0x0112 (orientation), SHORT, one value.
fn exif(orientation: u8) -> Vec<u8> {
    let mut exif = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0".to_vec();
    exif[18] = orientation;
    exif
}

fn turned_png(dir: &Folder, name: &str, data: &[u8], size: (u32, u32), orientation: u8) -> PathBuf {
    let mut bytes = Vec::new();
    let mut encoder = image::codecs::png::PngEncoder::new(&mut bytes);
    encoder.set_exif_metadata(exif(orientation)).unwrap();
    encoder.write_image(data, size.0, size.1, ExtendedColorType::Rgb8).unwrap();
    dir.write(name, &bytes)
}

#[test]
fn orientations_are_those_of_image() {
    let dir = Folder::new();
    let rgb: Vec<u8> = (0..5 * 3 * 3).collect();
    for o in 1..=8u8 {
        let path = turned_png(&dir, "o.png", &rgb, (5, 3), o);
        let mut want = DynamicImage::ImageRgb8(image::RgbImage::from_raw(5, 3, rgb.clone()).unwrap());
        want.apply_orientation(Orientation::from_exif(o).unwrap());
        let p = Picture::open(&path).unwrap();
        assert_eq!((p.w as u32, p.h as u32), (want.width(), want.height()), "{o}");
        assert_eq!(p.rgb, want.into_rgb8().into_raw(), "{o}");
        assert_eq!(Picture::probe(&path).unwrap(), (p.w, p.h));
    }
}

#[test]
fn masks_of_turned_pictures() {
    let dir = Folder::new();
    let rgb = vec![90; 8 * 4 * 3];
    let stored = Mask::from_fn(8, 4, |x, y| x < 2 && y < 1);
    stored.save(dir.0.path().join("stored.png")).unwrap();
    // Orientation 6: the stored top left corner is shown at the top right.
    let picture = Picture::shape(turned_png(&dir, "p.png", &rgb, (8, 4), 6)).unwrap();
    assert_eq!((picture.shown(), picture.stored()), ((4, 8), (8, 4)));
    let (mask, notes) = Mask::open_for_noted(dir.0.path().join("stored.png"), picture).unwrap();
    assert_eq!(mask, Mask::from_fn(4, 8, |x, y| x == 3 && y < 2));
    assert!(notes.len() == 1 && notes[0].kind == Kind::MaskTurned, "{notes:?}");
    Mask::check_fits(Path::new("m"), (8, 4), picture).unwrap();
    assert!(why(Mask::check_fits(Path::new("m"), (5, 5), picture)).contains("another shape"));
    // A mask of the shown shape stays as it is, and so does one whose shape tells nothing; either is told.
    let shown = Mask::from_fn(4, 8, |x, y| x < 2 && y < 1);
    shown.save(dir.0.path().join("shown.png")).unwrap();
    let upside = Picture::shape(turned_png(&dir, "q.png", &rgb, (8, 4), 3)).unwrap();
    for (name, want, picture) in [("shown.png", &shown, picture), ("stored.png", &stored, upside)] {
        let (mask, notes) = Mask::open_for_noted(dir.0.path().join(name), picture).unwrap();
        assert_eq!(&mask, want);
        assert!(notes.len() == 1 && notes[0].kind == Kind::Turned, "{notes:?}");
    }
    let plain = Picture::shape(turned_png(&dir, "r.png", &rgb, (8, 4), 1)).unwrap();
    assert!(Mask::open_for_noted(dir.0.path().join("stored.png"), plain).unwrap().1.is_empty());
}

#[test]
fn jpeg_files_are_whole_or_refused() {
    let dir = Folder::new();
    for name in ["baseline.jpg", "progressive.jpg", "restart.jpg", "grey.jpg", "optimised.jpg"] {
        let bytes = fs::read(fixture(name)).unwrap();
        let whole = Picture::open(fixture(name)).unwrap();
        for tail in [&[][..], b"appended words", &bytes] {
            let path = dir.write(name, &[&bytes[..bytes.len() - 2], tail].concat());
            assert_eq!(Picture::open(&path).unwrap(), whole, "{name}: the same pixels without an end marker");
            assert_eq!(notes(&path), ["the JPEG file has no end marker, but all of its data: read as a whole"]);
        }
        let path = dir.write(name, &[&bytes[..bytes.len() * 3 / 4], &[0xFF, 0xD9]].concat());
        let e = why(Picture::open(&path));
        assert!(e.contains(name) && e.contains("copy it again"), "{e}");
    }
    let mut deep = fs::read(fixture("baseline.jpg")).unwrap();
    let sof = deep.windows(2).position(|w| w == [0xFF, 0xC0]).unwrap();
    deep[sof + 4] = 12;
    let path = dir.write("deep.jpg", &deep);
    assert!(why(Picture::open(&path)).contains("12 bits") && why(Picture::probe(&path)).contains("12 bits"));
}

#[test]
fn names_of_every_format_count() {
    for name in ["a.pbm", "a.PAM", "a.dib", "a.jfif", "a.JPG"] {
        assert!(is_picture_name(Path::new(name)), "{name}");
    }
    assert!(!is_picture_name(Path::new("a.txt")) && EXTENSIONS.len() == 17);
    let dir = Folder::new();
    let pam = b"P7\nWIDTH 2\nHEIGHT 1\nDEPTH 3\nMAXVAL 255\nTUPLTYPE RGB\nENDHDR\nabcdef";
    assert_eq!(Picture::open(dir.write("a.pam", pam)).unwrap().rgb, b"abcdef");
}
