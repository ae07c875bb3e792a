//! Stored pixels to 8-bit sRGB, row by row in the buffer that they were decoded into.

use std::path::Path;

use image::metadata::Orientation;

use super::codec::{Raw, turned};
use super::colour::{self, Plan, ToSrgb};
use super::note::{Kind, Note};
use crate::error::{Error, Result};

/// A row of pixels: colours (three for each, grey repeated) and transparency, as far as the file has them.
struct Row {
    eight: Vec<u8>,
    /// Only where colours of more than 8 bits go through a profile.
    sixteen: Vec<u16>,
    alpha: Vec<u8>,
}

impl Row {
    #[inline(always)]
    fn fill_by_channels<const SIZE: usize>(&mut self, n: usize, bytes: &[u8], wide: bool, depth: Depth) {
        match n {
            1 => self.fill::<SIZE, 1>(bytes, wide, depth),
            2 => self.fill::<SIZE, 2>(bytes, wide, depth),
            3 => self.fill::<SIZE, 3>(bytes, wide, depth),
            _ => self.fill::<SIZE, 4>(bytes, wide, depth),
        }
    }

    /// `bytes`: a row of pixels of `N` values of `SIZE` bytes.
    fn fill<const SIZE: usize, const N: usize>(&mut self, bytes: &[u8], wide: bool, depth: Depth) {
        let place = |c: usize| if N < 3 { 0 } else { c * SIZE };
        let pixels = bytes.chunks_exact(N * SIZE);
        if wide {
            for (to, pixel) in self.sixteen.chunks_exact_mut(3).zip(pixels.clone()) {
                (0..3).for_each(|c| to[c] = Raw::sixteen(depth, &pixel[place(c)..]));
            }
        } else {
            for (to, pixel) in self.eight.chunks_exact_mut(3).zip(pixels.clone()) {
                (0..3).for_each(|c| to[c] = Raw::eight(depth, &pixel[place(c)..]));
            }
        }
        // Empty where no alpha is asked for.
        for (to, pixel) in self.alpha.iter_mut().zip(pixels) {
            *to = Raw::eight(depth, &pixel[(N - 1) * SIZE..]);
        }
    }
}

/// A number type in which files store values.
#[derive(Clone, Copy)]
enum Depth {
    Eight,
    Sixteen,
    Float,
}

impl Raw {
    fn depth(&self) -> Depth {
        match self.color.bytes_per_pixel() / self.color.channel_count() {
            1 => Depth::Eight,
            2 => Depth::Sixteen,
            _ => Depth::Float,
        }
    }

    /// 16 bits and floats are rounded to 8.
    fn eight(depth: Depth, value: &[u8]) -> u8 {
        match depth {
            Depth::Eight => value[0],
            Depth::Sixteen => ((u16::from_ne_bytes([value[0], value[1]]) as u32 + 128) / 257) as u8,
            Depth::Float => (float(value).clamp(0.0, 1.0) * 255.0).round() as u8,
        }
    }

    fn sixteen(depth: Depth, value: &[u8]) -> u16 {
        match depth {
            Depth::Eight => value[0] as u16 * 257,
            Depth::Sixteen => u16::from_ne_bytes([value[0], value[1]]),
            Depth::Float => (float(value).clamp(0.0, 1.0) * 65535.0).round() as u16,
        }
    }

    /// The pixels as 8-bit values in the file's own channels, grey repeated, with an alpha of 255 where the file has none: what a
    /// mask is read from. No profile is applied.
    pub fn rgba(&self) -> impl Iterator<Item = [u8; 4]> + '_ {
        let (n, depth) = (self.color.channel_count() as usize, self.depth());
        let size = self.color.bytes_per_pixel() as usize / n;
        self.bytes[self.start()..].chunks_exact(n * size).map(move |pixel| {
            let at = |c: usize| Raw::eight(depth, &pixel[c * size..]);
            match n {
                1 => [at(0), at(0), at(0), 255],
                2 => [at(0), at(0), at(0), at(1)],
                3 => [at(0), at(1), at(2), 255],
                _ => [at(0), at(1), at(2), at(3)],
            }
        })
    }

    /// Refuses floats outside of 0..1: what such a file means by its brightest value is not known.
    pub fn check_range(&self, path: &Path) -> Result<()> {
        if !matches!(self.depth(), Depth::Float) {
            return Ok(());
        }
        let (mut low, mut high, mut odd) = (f32::INFINITY, f32::NEG_INFINITY, 0usize);
        for value in self.bytes[self.start()..].chunks_exact(4).map(float) {
            odd += !value.is_finite() as usize;
            if value.is_finite() {
                (low, high) = (low.min(value), high.max(value));
            }
        }
        if odd == 0 && low >= 0.0 && high <= 1.0 {
            return Ok(());
        }
        let odd = if odd > 0 { format!(", and {odd} values are not finite") } else { String::new() };
        Err(Error::data(
            path,
            format!(
                "its floating-point values run from {low} to {high}{odd}; 0 to 1 is read: scale them to 0..1, or save an 8-bit or \
                 16-bit picture"
            ),
        ))
    }

    /// Shares of the alpha channel: (pixels that are not opaque, none has any opacity). None without an alpha channel.
    pub fn transparency(&self) -> Option<(usize, bool)> {
        if !self.color.has_alpha() {
            return None;
        }
        let (n, depth) = (self.color.channel_count() as usize, self.depth());
        let size = self.color.bytes_per_pixel() as usize / n;
        let (mut see_through, mut empty) = (0, true);
        for pixel in self.bytes[self.start()..].chunks_exact(n * size) {
            let alpha = Raw::eight(depth, &pixel[(n - 1) * size..]);
            see_through += (alpha < 255) as usize;
            empty &= alpha == 0;
        }
        Some((see_through, empty))
    }

    fn read_row(&self, y: usize, wide: bool, row: &mut Row) {
        let (n, depth) = (self.color.channel_count() as usize, self.depth());
        let bytes = self.w * self.color.bytes_per_pixel() as usize;
        let bytes = &self.bytes[self.start() + y * bytes..][..bytes];
        // A loop of its own for each number type and number of channels: the compiler then knows both.
        match depth {
            Depth::Eight => row.fill_by_channels::<1>(n, bytes, wide, depth),
            Depth::Sixteen => row.fill_by_channels::<2>(n, bytes, wide, depth),
            Depth::Float => row.fill_by_channels::<4>(n, bytes, wide, depth),
        }
    }

    /// 8-bit sRGB of the stored shape, transparency laid over white, and the notes about what was decided.
    pub fn into_rgb(mut self, path: &Path) -> Result<(Raw, Vec<Note>)> {
        self.check_range(path)?;
        let mut notes = std::mem::take(&mut self.notes);
        let mut over_white = false;
        match self.transparency() {
            Some((_, true)) => {
                notes.push(Note::new(Kind::EmptyAlpha, "its alpha channel is zero everywhere: ignored, the colours were judged"));
            }
            Some((n, _)) if n > 0 => {
                over_white = true;
                let share = 100.0 * n as f64 / (self.w * self.h) as f64;
                let share = if share < 0.1 { "less than 0.1".into() } else { format!("{share:.1}") };
                notes.push(Note::new(Kind::Alpha, format!("{share} % of its pixels are transparent: laid over white")));
            }
            _ => {}
        }
        let wide = !matches!(self.depth(), Depth::Eight);
        let mut plan = self.colours.take().map(|c| colour::plan_of_png(&c, wide));
        // A profile counts where the codes that come before it are not applied.
        if let None | Some(Plan::Ignore(_)) = plan
            && let Some(icc) = self.icc.take()
        {
            if let Some(Plan::Ignore(note)) = plan {
                notes.push(note);
            }
            plan = Some(colour::plan(&icc, wide));
        }
        let profile = match plan {
            None | Some(Plan::Keep) => None,
            Some(Plan::Ignore(note)) => {
                notes.push(note);
                None
            }
            Some(Plan::Convert(to, note)) => {
                notes.push(note);
                Some(to)
            }
        };
        if self.color != image::ColorType::Rgb8 || profile.is_some() {
            self.rows(path, profile.as_ref(), over_white)?;
        }
        self.reserved.shrink(6 * (self.w * self.h) as u64);
        Ok((self, notes))
    }

    fn rows(&mut self, path: &Path, profile: Option<&ToSrgb>, over_white: bool) -> Result<()> {
        let (w, h) = (self.w, self.h);
        let wide = profile.is_some() && !matches!(self.depth(), Depth::Eight);
        let mut row = Row {
            eight: vec![0; 3 * w],
            sixteen: vec![0; if wide { 3 * w } else { 0 }],
            alpha: vec![0; if over_white { w } else { 0 }],
        };
        let mut done = vec![0u8; if profile.is_some() { 3 * w } else { 0 }];
        let mut deep = vec![0u16; if wide { 3 * w } else { 0 }];
        for y in 0..h {
            self.read_row(y, wide, &mut row);
            if let Some(to) = profile {
                let worked = if wide { to.sixteen(&row.sixteen, &mut deep) } else { to.eight(&row.eight, &mut done) };
                if !worked {
                    return Err(Error::data(
                        path,
                        "its colour profile cannot be applied; convert it to sRGB or remove the profile",
                    ));
                }
                if wide {
                    done.iter_mut().zip(&deep).for_each(|(to, &v)| *to = ((v as u32 + 128) / 257) as u8);
                }
                row.eight.copy_from_slice(&done);
            }
            for (pixel, &a) in row.eight.chunks_exact_mut(3).zip(&row.alpha) {
                let a = a as u32;
                pixel.iter_mut().for_each(|c| *c = ((*c as u32 * a + 255 * (255 - a) + 127) / 255) as u8);
            }
            // Row y of the result ends before row y + 1 of the source begins: see `Raw::bytes`.
            self.bytes[3 * w * y..3 * w * (y + 1)].copy_from_slice(&row.eight);
        }
        self.bytes.truncate(3 * w * h);
        self.bytes.shrink_to_fit();
        self.color = image::ColorType::Rgb8;
        Ok(())
    }
}

fn float(bytes: &[u8]) -> f32 {
    f32::from_ne_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
}

/// Pixels of `n` bytes each, turned as a viewer turns them: (pixels, width, height).
pub(super) fn turn(mut pixels: Vec<u8>, (w, h): (usize, usize), n: usize, o: Orientation) -> (Vec<u8>, usize, usize) {
    use Orientation::*;
    let swap = |pixels: &mut [u8], a: usize, b: usize| (0..n).for_each(|c| pixels.swap(a * n + c, b * n + c));
    if !turned(o) {
        let (across, down) = (matches!(o, FlipHorizontal | Rotate180), matches!(o, FlipVertical | Rotate180));
        if across {
            (0..h).for_each(|y| (0..w / 2).for_each(|x| swap(&mut pixels, y * w + x, y * w + w - 1 - x)));
        }
        if down {
            (0..h / 2).for_each(|y| (0..w).for_each(|x| swap(&mut pixels, y * w + x, (h - 1 - y) * w + x)));
        }
        return (pixels, w, h);
    }
    let mut out = Vec::with_capacity(pixels.len());
    for y in 0..w {
        for x in 0..h {
            let from = match o {
                Rotate90 => (h - 1 - x) * w + y,
                Rotate270 => x * w + w - 1 - y,
                Rotate90FlipH => x * w + y,
                _ => (h - 1 - x) * w + w - 1 - y,
            };
            out.extend_from_slice(&pixels[from * n..][..n]);
        }
    }
    (out, h, w)
}
