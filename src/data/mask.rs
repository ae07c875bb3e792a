//! Binary masks: which pixels of a forged picture are manipulated. What a mask's colours mean is
//! decided in `meaning.rs`.

use std::path::Path;

use image::ImageFormat;
use image::metadata::Orientation;

use super::codec::{self, Shape, encode};
use super::convert::turn;
use super::meaning::{Cause, Meaning};
use super::note::{Kind, Note};
use crate::core::file::write_quickly;
use crate::error::{Error, Result};

/// One byte per pixel, 0 or 1 (1 = manipulated), row-major: `on.len() == w * h`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Mask {
    pub w: usize,
    pub h: usize,
    pub on: Vec<u8>,
}

impl Mask {
    pub fn new(w: usize, h: usize) -> Mask {
        Mask { w, h, on: vec![0; w * h] }
    }

    pub fn from_fn(w: usize, h: usize, mut f: impl FnMut(usize, usize) -> bool) -> Mask {
        let on = (0..w * h).map(|i| f(i % w, i / w) as u8).collect();
        Mask { w, h, on }
    }

    pub fn get(&self, x: usize, y: usize) -> bool {
        self.on[y * self.w + x] != 0
    }

    /// Number of pixels that are on.
    pub fn area(&self) -> usize {
        self.on.iter().map(|&b| b as usize).sum()
    }

    /// Reads a mask of any format: a pixel is on where its grey value, or its brightest channel, is above half of the range (127 of
    /// 255; 1-bit and 16-bit files alike). Masks of several colours, with a hole in their alpha channel, or that are photographs:
    /// see [`open_noted`](Self::open_noted).
    pub fn open(path: impl AsRef<Path>) -> Result<Mask> {
        Ok(Mask::open_noted(path)?.0)
    }

    /// [`open`](Self::open), with what was taken for "forged" where that is not plain. Two colours of which one is red or white and
    /// the other green: red and white are forged. A picture with transparent pixels: these are forged. A photograph without any,
    /// or colours of which nobody knows what they mean, are errors.
    pub fn open_noted(path: impl AsRef<Path>) -> Result<(Mask, Vec<Note>)> {
        Mask::judged(path.as_ref()).map_err(|(_, e)| e)
    }

    /// [`open_noted`](Self::open_noted), with the cause of a refusal.
    pub(super) fn judged(path: &Path) -> Result<(Mask, Vec<Note>), (Cause, Error)> {
        let unread = |e| (Cause::File, e);
        let mut raw = codec::decode(path).map_err(unread)?;
        raw.check_range(path).map_err(unread)?;
        let mut notes = std::mem::take(&mut raw.notes);
        let empty = matches!(raw.transparency(), Some((_, true)));
        if empty {
            notes.push(Note::new(Kind::EmptyAlpha, "its alpha channel is zero everywhere: ignored"));
        }
        let pixels = || raw.rgba().map(|[r, g, b, a]| [r, g, b, if empty { 255 } else { a }]);
        let (meaning, note) = Meaning::of(pixels()).map_err(|(cause, why)| (cause, Error::data(path, why)))?;
        notes.extend(note);
        let on: Vec<u8> = pixels().map(|p| meaning.forged(p) as u8).collect();
        let (on, w, h) = turn(on, (raw.w, raw.h), 1, raw.orientation);
        let mask = Mask { w, h, on };
        notes.extend(mask.coverage());
        Ok((mask, notes))
    }

    /// The note about a mask that covers more than 60 % of its picture and of the border, as an inverted mask does: the object that was
    /// put in may reach the border, but seldom fills it.
    fn coverage(&self) -> Option<Note> {
        let share = self.area() as f64 / self.on.len() as f64;
        let rim = |x: usize, y: usize| x == 0 || y == 0 || x + 1 == self.w || y + 1 == self.h;
        let (mut all, mut on) = (0, 0);
        for (i, &v) in self.on.iter().enumerate() {
            if rim(i % self.w, i / self.w) {
                all += 1;
                on += v as usize;
            }
        }
        let text = match share {
            1.0 => "the mask covers the whole picture: all of it was taken for forged; if the mask is inverted, invert it"
                .to_string(),
            s if s > 0.6 && on * 10 >= all * 6 => format!(
                "the mask covers {:.0} % of the picture and most of its border: that was taken for forged, as drawn; if the mask is inverted \
                 (black = forged), invert it",
                100.0 * s
            ),
            _ => return None,
        };
        Some(Note::new(Kind::MaskInverted, text))
    }

    /// Reads the mask of a forged picture that is `w` × `h` pixels. A mask of another size but the same aspect is resized;
    /// another aspect, or a mask with nothing on, is an error that names the file.
    pub fn open_for(path: impl AsRef<Path>, w: usize, h: usize) -> Result<Mask> {
        Ok(Mask::open_for_noted(path, Shape { w, h, orientation: Orientation::NoTransforms })?.0)
    }

    /// [`open_for`](Self::open_for) for a picture that its EXIF orientation may turn. A mask that fits the stored shape but not the
    /// turned one is turned as the picture is; otherwise it is taken as drawn on the turned picture. Either is noted.
    pub fn open_for_noted(path: impl AsRef<Path>, picture: Shape) -> Result<(Mask, Vec<Note>)> {
        let path = path.as_ref();
        let (mask, notes) = Mask::fitted(path, picture)?;
        if mask.area() == 0 {
            return Err(Error::data(
                path,
                "the mask is empty (no pixel above half brightness), but it belongs to a fake: draw the manipulated pixels \
                 white, or remove the picture",
            ));
        }
        Ok((mask, notes))
    }

    /// [`open_for_noted`](Self::open_for_noted), empty masks included.
    pub fn fitted(path: &Path, picture: Shape) -> Result<(Mask, Vec<Note>)> {
        let (mask, notes) = Mask::open_noted(path)?;
        mask.fit(notes, path, picture)
    }

    /// The mask of `path`, read with `notes`, turned and resized to its picture.
    pub(super) fn fit(self, mut notes: Vec<Note>, path: &Path, picture: Shape) -> Result<(Mask, Vec<Note>)> {
        let mut mask = self;
        if picture.orientation != Orientation::NoTransforms {
            if fits((mask.w, mask.h), picture.shown()) {
                let text = "the EXIF orientation turns its picture: the mask was taken as drawn on the turned picture; if it was drawn \
                            on the stored pixels, turn it";
                notes.push(Note::new(Kind::Turned, text));
            } else if fits((mask.w, mask.h), picture.stored()) {
                let (on, w, h) = turn(mask.on, (mask.w, mask.h), 1, picture.orientation);
                mask = Mask { w, h, on };
                let text = "the mask has the shape of the stored pixels: it was turned as the EXIF orientation turns its picture";
                notes.push(Note::new(Kind::MaskTurned, text));
            }
        }
        Mask::check_shape(path, (mask.w, mask.h), picture.shown())?;
        Ok((mask.resize_to(picture.w, picture.h), notes))
    }

    /// Whether a mask of one size can belong to a picture of another: same aspect, within a pixel of rounding.
    pub fn check_shape(path: &Path, mask: (usize, usize), picture: (usize, usize)) -> Result<()> {
        if fits(mask, picture) {
            return Ok(());
        }
        let why = format!(
            "the mask is {} x {} pixels, its picture {} x {}: another shape. Make the mask from the same picture (same crop and \
             orientation); another resolution of the same shape is fine",
            mask.0, mask.1, picture.0, picture.1
        );
        Err(Error::data(path, why))
    }

    /// [`check_shape`](Self::check_shape) for a picture that its EXIF orientation may turn: the stored shape will do as well.
    pub fn check_fits(path: &Path, mask: (usize, usize), picture: Shape) -> Result<()> {
        if fits(mask, picture.stored()) { Ok(()) } else { Mask::check_shape(path, mask, picture.shown()) }
    }

    /// Nearest neighbour, pixel centres aligned.
    pub fn resize_to(&self, w: usize, h: usize) -> Mask {
        if (w, h) == (self.w, self.h) {
            return self.clone();
        }
        let from = |i: usize, n: usize, m: usize| ((2 * i + 1) * m / (2 * n)).min(m - 1);
        Mask::from_fn(w, h, |x, y| self.get(from(x, w, self.w), from(y, h, self.h)))
    }

    /// The window whose top left pixel is (x, y); it lies inside the mask.
    pub fn crop(&self, x: usize, y: usize, w: usize, h: usize) -> Mask {
        let mut on = Vec::with_capacity(w * h);
        (y..y + h).for_each(|row| on.extend_from_slice(&self.on[row * self.w + x..][..w]));
        Mask { w, h, on }
    }

    /// The mask as the window at (x, y) of one of `w` × `h` pixels that is off elsewhere.
    pub fn within(&self, w: usize, h: usize, x: usize, y: usize) -> Mask {
        let mut whole = Mask::new(w, h);
        self.on.chunks_exact(self.w).enumerate().for_each(|(i, row)| {
            whole.on[(y + i) * w + x..][..self.w].copy_from_slice(row);
        });
        whole
    }

    /// Left and right exchanged.
    pub fn flip(&self) -> Mask {
        Mask::from_fn(self.w, self.h, |x, y| self.get(self.w - 1 - x, y))
    }

    /// Writes a grey PNG, 255 = on.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        write_quickly(path.as_ref(), &self.to_png()?)
    }

    /// The bytes of a grey PNG, 255 = on.
    pub fn to_png(&self) -> Result<Vec<u8>> {
        let grey: Vec<u8> = self.on.iter().map(|&b| if b != 0 { 255 } else { 0 }).collect();
        encode(&grey, self.w, self.h, image::ExtendedColorType::L8, ImageFormat::Png)
    }
}

fn fits(mask: (usize, usize), picture: (usize, usize)) -> bool {
    let (across, down) = (mask.0 * picture.1, mask.1 * picture.0);
    let pixel = mask.0.max(mask.1).max(picture.0).max(picture.1);
    across.abs_diff(down) <= pixel
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::procedural::photograph;
    use image::ExtendedColorType;
    use std::fs;

    fn written(
        dir: &tempfile::TempDir,
        name: &str,
        data: &[u8],
        size: (u32, u32),
        color: ExtendedColorType,
    ) -> std::path::PathBuf {
        let path = dir.path().join(name);
        image::save_buffer(&path, data, size.0, size.1, color).unwrap();
        path
    }

    fn why(result: Result<impl Sized>) -> String {
        result.err().expect("an error").to_string()
    }

    #[test]
    fn masks_of_any_kind() {
        let dir = tempfile::tempdir().unwrap();
        let m = Mask::open(written(&dir, "m8.png", &[0, 127, 128, 255], (2, 2), ExtendedColorType::L8)).unwrap();
        assert_eq!(m.on, [0, 0, 1, 1]);
        let deep: Vec<u8> = [0u16, 0x7F00, 0x8100, 0xFFFF].iter().flat_map(|v| v.to_ne_bytes()).collect();
        assert_eq!(Mask::open(written(&dir, "m16.png", &deep, (2, 2), ExtendedColorType::L16)).unwrap().on, [0, 0, 1, 1]);
        fs::write(dir.path().join("m1.pbm"), "P1 2 2\n0 1\n1 0\n").unwrap(); // in PBM 1 is black
        assert_eq!(Mask::open(dir.path().join("m1.pbm")).unwrap().on, [1, 0, 0, 1]);
        let rgba = [255, 0, 0, 255, 255, 255, 255, 0, 0, 0, 0, 255, 0, 0, 0, 0];
        assert_eq!(Mask::open(written(&dir, "ma.png", &rgba, (2, 2), ExtendedColorType::Rgba8)).unwrap().on, [1, 0, 0, 0]);
        m.save(dir.path().join("saved.png")).unwrap();
        assert_eq!(Mask::open(dir.path().join("saved.png")).unwrap(), m);
    }

    #[test]
    fn masks_must_fit_their_pictures() {
        let dir = tempfile::tempdir().unwrap();
        let empty = written(&dir, "empty.png", &[9; 16], (4, 4), ExtendedColorType::L8);
        let e = why(Mask::open_for(&empty, 4, 4));
        assert!(e.contains("empty.png") && e.contains("draw"), "{e}");
        let wide = written(&dir, "wide.png", &[255; 32], (8, 4), ExtendedColorType::L8);
        let e = why(Mask::open_for(&wide, 64, 64));
        assert!(e.contains("wide.png") && e.contains("8 x 4") && e.contains("64 x 64"), "{e}");
        let m = Mask::open_for(&wide, 33, 16).unwrap();
        assert_eq!((m.w, m.h, m.area()), (33, 16, 33 * 16));
        let quarter = Mask::from_fn(4, 4, |x, y| x < 2 && y < 2);
        assert_eq!(quarter.resize_to(64, 64), Mask::from_fn(64, 64, |x, y| x < 32 && y < 32));
        assert_eq!(quarter.resize_to(2, 2).on, [1, 0, 0, 0]);
    }

    const SIDE: usize = 40;

    /// A mask of `f`, in PNG and in JPEG of quality 80: both must mean the same.
    fn colours(f: impl Fn(bool) -> [u8; 3]) -> Result<(Mask, Vec<Note>)> {
        let dir = tempfile::tempdir().unwrap();
        let rgb: Vec<u8> = (0..SIDE * SIDE).flat_map(|i| f(region(i % SIDE, i / SIDE))).collect();
        let size = (SIDE as u32, SIDE as u32);
        let png = Mask::open_noted(written(&dir, "m.png", &rgb, size, ExtendedColorType::Rgb8));
        let jpeg = Mask::open_noted(written(&dir, "m.jpg", &rgb, size, ExtendedColorType::Rgb8));
        match (&png, &jpeg) {
            (Ok((a, said)), Ok((b, same))) => {
                let differ = a.on.iter().zip(&b.on).filter(|(a, b)| a != b).count();
                assert!(differ < 40, "{differ} pixels differ in JPEG");
                assert_eq!(said.len(), same.len(), "{said:?} {same:?}");
            }
            (Err(_), Err(_)) => {}
            _ => panic!("PNG and JPEG differ: {png:?} {jpeg:?}"),
        }
        png
    }

    /// 12 % of the picture.
    fn region(x: usize, y: usize) -> bool {
        (8..24).contains(&x) && (16..28).contains(&y)
    }

    fn forged() -> Mask {
        Mask::from_fn(SIDE, SIDE, region)
    }

    const BLACK: [u8; 3] = [0; 3];
    const WHITE: [u8; 3] = [255; 3];
    const RED: [u8; 3] = [255, 0, 0];
    const GREEN: [u8; 3] = [0, 255, 0];
    const BLUE: [u8; 3] = [0, 0, 255];

    #[test]
    fn two_colours_are_told_into_forged_and_genuine() {
        let of = |on: [u8; 3], off: [u8; 3]| colours(move |f| if f { on } else { off });
        // As ever, without a word.
        for on in [WHITE, RED, BLUE] {
            assert_eq!(of(on, BLACK).unwrap(), (forged(), vec![]), "{on:?}");
        }
        for (on, off, word) in [
            (RED, GREEN, "red was taken for forged, green for genuine"),
            ([200, 30, 20], [20, 200, 40], "red was taken for forged, green for genuine"),
            (WHITE, GREEN, "white was taken for forged, green for genuine"),
            (GREEN, BLACK, "green was taken for forged"),
        ] {
            let (mask, notes) = of(on, off).unwrap();
            assert_eq!(mask, forged(), "{on:?} {off:?}");
            assert!(notes[0].kind == Kind::MaskColours && notes[0].text.contains(word), "{notes:?}");
        }
        // Green on red: red is forged all the same.
        let (mask, notes) = of(GREEN, RED).unwrap();
        assert_eq!(mask.area(), SIDE * SIDE - forged().area());
        assert!(notes.iter().any(|n| n.kind == Kind::MaskInverted), "{notes:?}");
        for (on, off) in [(RED, WHITE), (BLUE, WHITE), (RED, BLUE), (GREEN, BLUE)] {
            let e = of(on, off).expect_err("nobody knows").to_string();
            assert!(e.contains("m.png") && e.contains("not known") && e.contains("white"), "{e}");
        }
        // Dark green counts as black; a spot of four pixels on green is found as a region of half the picture is.
        assert_eq!(of(RED, [0, 100, 0]).unwrap().0, forged());
        let dir = tempfile::tempdir().unwrap();
        let spot: Vec<u8> = (0..64 * 64).flat_map(|i| if i / 2 == 1000 || i / 2 == 1032 { RED } else { GREEN }).collect();
        let mask = Mask::open(written(&dir, "spot.png", &spot, (64, 64), ExtendedColorType::Rgb8)).unwrap();
        assert_eq!(mask.area(), 4);
    }

    #[test]
    fn three_colours() {
        let dir = tempfile::tempdir().unwrap();
        let open = |colours: [[u8; 3]; 3]| {
            let rgb: Vec<u8> = (0..30 * 30).flat_map(|i| colours[if i % 30 < 20 { 0 } else { 1 + i / 450 }]).collect();
            Mask::open_noted(written(&dir, "m.png", &rgb, (30, 30), ExtendedColorType::Rgb8))
        };
        let right = |upper: bool, lower: bool| Mask::from_fn(30, 30, |x, y| x >= 20 && if y < 15 { upper } else { lower });
        let (mask, notes) = open([BLACK, RED, GREEN]).unwrap();
        assert_eq!((mask, notes[0].text.as_str()), (right(true, false), "red was taken for forged, black and green for genuine"));
        let (mask, notes) = open([BLACK, RED, BLUE]).unwrap();
        assert_eq!(
            (mask, notes[0].text.as_str()),
            (right(true, true), "red and blue on black: all of them were taken for forged")
        );
        assert_eq!(open([GREEN, RED, WHITE]).unwrap().0, right(true, true));
        assert!(why(open([WHITE, BLACK, RED])).contains("white and black and red"));
    }

    #[test]
    fn inverted_masks_are_named_and_left_as_they_are() {
        let (mask, notes) = colours(|f| if f { BLACK } else { WHITE }).unwrap();
        assert_eq!(mask.area(), SIDE * SIDE - forged().area());
        let [note] = &notes[..] else { panic!("{notes:?}") };
        assert!(note.kind == Kind::MaskInverted && note.text.contains("88 %") && note.text.contains("invert"), "{note}");
        let (mask, notes) = colours(|_| WHITE).unwrap();
        assert!(mask.area() == SIDE * SIDE && notes[0].text.contains("whole picture"), "{notes:?}");
        // A large region that leaves the border alone is a region.
        let dir = tempfile::tempdir().unwrap();
        Mask::from_fn(40, 40, |x, y| (2..38).contains(&x) && (2..38).contains(&y)).save(dir.path().join("large.png")).unwrap();
        assert!(Mask::open_noted(dir.path().join("large.png")).unwrap().1.is_empty());
    }

    #[test]
    fn values_between_are_named_with_the_threshold() {
        let dir = tempfile::tempdir().unwrap();
        let open = |name: &str, f: &dyn Fn(usize, usize) -> u8| {
            let grey: Vec<u8> = (0..100 * 100).map(|i| f(i % 100, i / 100)).collect();
            Mask::open_noted(written(&dir, name, &grey, (100, 100), ExtendedColorType::L8)).unwrap()
        };
        let soft = |x: usize, y: usize| {
            let far = ((x as f64 - 50.0).powi(2) + (y as f64 - 50.0).powi(2)).sqrt();
            (255.0 * (1.0 - far / 50.0)).clamp(0.0, 255.0) as u8
        };
        let (mask, notes) = open("soft.png", &soft);
        assert!(notes[0].kind == Kind::MaskGrey && notes[0].text.contains("above 127"), "{notes:?}");
        assert!(mask.get(50, 50) && mask.get(30, 50) && !mask.get(20, 50));
        // A smooth edge and the noise of JPEG are none.
        let edge = |x: usize, y: usize| {
            let far = ((x as f64 - 50.0).powi(2) + (y as f64 - 50.0).powi(2)).sqrt();
            (255.0 * (30.5 - far)).clamp(0.0, 255.0) as u8
        };
        assert!(open("edge.png", &edge).1.is_empty() && open("edge.jpg", &edge).1.is_empty());
    }

    /// `LAE_PHOTOS=DIR cargo test --lib photographs_as_masks -- --ignored --nocapture`: what becomes of photographs, in colour
    /// and grey.
    #[test]
    #[ignore = "measures on a folder of photographs"]
    fn photographs_as_masks() {
        let dir = std::env::var("LAE_PHOTOS").expect("LAE_PHOTOS");
        let files = crate::data::walk::walk(Path::new(&dir), false).unwrap().pictures;
        let to = tempfile::tempdir().unwrap();
        let mut rows = std::collections::BTreeMap::<String, usize>::new();
        for file in &files {
            let small = crate::data::Picture::open(file).unwrap().resize(256);
            let light = |c: &[u8]| ((c[0] as u32 * 3 + c[1] as u32 * 6 + c[2] as u32) / 10) as u8;
            let grey: Vec<u8> = small.rgb.chunks(3).map(light).collect();
            let size = (256, 256);
            let seen = [
                ("colour", Mask::judged(&written(&to, "c.png", &small.rgb, size, ExtendedColorType::Rgb8))),
                ("grey", Mask::judged(&written(&to, "g.png", &grey, size, ExtendedColorType::L8))),
            ];
            for (what, seen) in seen {
                let seen = match &seen {
                    Ok((_, notes)) => format!("{:?}", notes.iter().map(|n| n.kind).collect::<Vec<_>>()),
                    Err((cause, _)) => format!("refused: {cause:?}"),
                };
                *rows.entry(format!("{what}: {seen}")).or_default() += 1;
            }
        }
        rows.iter().for_each(|(row, n)| println!("{n:3} of {} {row}", files.len()));
    }

    #[test]
    fn photographs_are_no_masks_and_their_holes_are() {
        let dir = tempfile::tempdir().unwrap();
        let colourful = crate::data::Picture::from_fn(64, 64, |x, y| [(x * 4) as u8, (y * 4) as u8, (x * y) as u8]);
        for name in ["c.png", "c.jpg"] {
            colourful.save(dir.path().join(name)).unwrap();
            let e = why(Mask::open(dir.path().join(name)));
            assert!(e.contains(name) && e.contains("photograph") && e.contains("white"), "{e}");
        }
        for i in 0..6 {
            let p = photograph(1, i, 64);
            p.save(dir.path().join("p.png")).unwrap();
            let photo = Mask::open_noted(dir.path().join("p.png"));
            match photo {
                Err(e) => assert!(e.to_string().contains("photograph") && e.to_string().contains("white"), "{e}"),
                Ok((_, notes)) => assert!(!notes.is_empty(), "photograph {i} passes for a mask without a word"),
            }
            // The same with a hole, as inpainting tools write it.
            let alpha = |i: usize| if region(i % 64, i / 64) { 0 } else { 255 };
            let rgba: Vec<u8> = p.rgb.chunks(3).enumerate().flat_map(|(i, c)| [c[0], c[1], c[2], alpha(i)]).collect();
            let (mask, notes) = Mask::open_noted(written(&dir, "h.png", &rgba, (64, 64), ExtendedColorType::Rgba8)).unwrap();
            assert_eq!(mask, Mask::from_fn(64, 64, region), "{i}");
            assert!(notes[0].kind == Kind::MaskAlpha && notes[0].text.contains("hole"), "{notes:?}");
        }
        // Black around the hole; and white strokes on nothing, which are a drawing.
        for (colour, alpha, hole) in [([0; 3], [0, 255], true), ([255; 3], [255, 0], false)] {
            let pixel = |i: usize| [colour[0], colour[1], colour[2], alpha[1 - region(i % SIDE, i / SIDE) as usize]];
            let rgba: Vec<u8> = (0..SIDE * SIDE).flat_map(pixel).collect();
            let (mask, notes) = Mask::open_noted(written(&dir, "b.png", &rgba, (40, 40), ExtendedColorType::Rgba8)).unwrap();
            assert_eq!(mask, forged());
            assert_eq!(notes[0].text.contains("hole"), hole, "{notes:?}");
        }
        // No opacity anywhere is no transparency.
        let rgba: Vec<u8> = (0..1600).flat_map(|i| [255 * region(i % SIDE, i / SIDE) as u8, 0, 0, 0]).collect();
        let (mask, notes) = Mask::open_noted(written(&dir, "z.png", &rgba, (40, 40), ExtendedColorType::Rgba8)).unwrap();
        assert_eq!((mask, notes[0].kind), (forged(), Kind::EmptyAlpha));
    }
}
