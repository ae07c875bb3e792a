//! Heat maps as pictures: JET over the photograph, mask outlines, grids of them, PNG bytes.
//!
//! Pictures are RGB, 8 bits, rows from the top. Everything is checked: a wrong size is an error, not a panic.

use image::ImageEncoder;
use image::codecs::png::{CompressionType, FilterType, PngEncoder};

use crate::error::{Error, Result};

/// An RGB picture of w × h pixels, `3 w h` bytes.
#[derive(Clone, Debug, PartialEq)]
pub struct Rgb {
    pub w: usize,
    pub h: usize,
    pub data: Vec<u8>,
}

impl Rgb {
    pub fn new(w: usize, h: usize, data: Vec<u8>) -> Result<Rgb> {
        match w > 0 && h > 0 && w.checked_mul(h).and_then(|n| n.checked_mul(3)) == Some(data.len()) {
            true => Ok(Rgb { w, h, data }),
            false => Err(Error::data("picture", format!("{} bytes are not {w}x{h} RGB pixels", data.len()))),
        }
    }

    pub fn filled(w: usize, h: usize, colour: [u8; 3]) -> Rgb {
        Rgb { w, h, data: colour.repeat(w * h) }
    }

    fn put(&mut self, x: usize, y: usize, colour: [u8; 3]) {
        let i = 3 * (y * self.w + x);
        self.data[i..i + 3].copy_from_slice(&colour);
    }

    /// Every pixel n × n times: small pictures, seen on a large screen.
    pub fn enlarge(&self, n: usize) -> Rgb {
        let n = n.max(1);
        let mut out = Rgb::filled(self.w * n, self.h * n, [0; 3]);
        for y in 0..out.h {
            for x in 0..out.w {
                let i = 3 * (y / n * self.w + x / n);
                out.put(x, y, [self.data[i], self.data[i + 1], self.data[i + 2]]);
            }
        }
        out
    }

    /// The bytes of a PNG file, compressed as far as the encoder can: a report holds hundreds of them.
    pub fn png(&self) -> Result<Vec<u8>> {
        let mut out = Vec::new();
        PngEncoder::new_with_quality(&mut out, CompressionType::Best, FilterType::Adaptive)
            .write_image(&self.data, self.w as u32, self.h as u32, image::ExtendedColorType::Rgb8)
            .map_err(|e| Error::data("PNG", e))?;
        Ok(out)
    }
}

/// JET: `r = 1.5 − |4v − 3|`, `g = 1.5 − |4v − 2|`, `b = 1.5 − |4v − 1|`, clipped to [0, 1]; v in [0, 1].
pub fn jet(v: f32) -> [f32; 3] {
    [3.0, 2.0, 1.0].map(|c| (1.5 - (4.0 * v - c).abs()).clamp(0.0, 1.0))
}

/// To [0, 1]: (m − min)/(max − min); a flat map is all 0. Values that are not finite count as the minimum.
pub fn min_max(map: &[f32]) -> Vec<f32> {
    let finite = || map.iter().copied().filter(|m| m.is_finite());
    let (lo, hi) = (finite().fold(f32::MAX, f32::min), finite().fold(f32::MIN, f32::max));
    // In f64: the range of two finite f32 can overflow f32.
    let range = hi as f64 - lo as f64;
    let to_unit = |m: f32| if m.is_finite() && range > 0.0 { ((m as f64 - lo as f64) / range) as f32 } else { 0.0 };
    map.iter().map(|&m| to_unit(m)).collect()
}

/// Bilinear resize (half-pixel centres, edges held: PyTorch's `align_corners=False`).
pub fn bilinear(map: &[f32], w: usize, h: usize, to_w: usize, to_h: usize) -> Result<Vec<f32>> {
    if map.len() != w * h || map.is_empty() || to_w == 0 || to_h == 0 {
        return Err(Error::data("attention map", format!("{} values are not {w}x{h}, to become {to_w}x{to_h}", map.len())));
    }
    let taps = |from: usize, to: usize| -> Vec<(usize, usize, f32)> {
        let scale = from as f32 / to as f32;
        (0..to)
            .map(|o| {
                let src = ((o as f32 + 0.5) * scale - 0.5).max(0.0);
                let i = (src as usize).min(from - 1);
                (i, (i + 1).min(from - 1), src - i as f32)
            })
            .collect()
    };
    let (xs, ys) = (taps(w, to_w), taps(h, to_h));
    let mut out = Vec::with_capacity(to_w * to_h);
    for &(y0, y1, v) in &ys {
        for &(x0, x1, u) in &xs {
            let top = map[y0 * w + x0] * (1.0 - u) + map[y0 * w + x1] * u;
            let low = map[y1 * w + x0] * (1.0 - u) + map[y1 * w + x1] * u;
            out.push(top * (1.0 - v) + low * v);
        }
    }
    Ok(out)
}

/// `0.5 picture + 0.5 JET(min–max map)`. The map has the size of the picture, or is square and smaller and then is resized.
pub fn overlay(picture: &Rgb, map: &[f32]) -> Result<Rgb> {
    let full = to_size(map, picture.w, picture.h)?;
    Ok(blend(picture, &min_max(&full)))
}

/// [`overlay`] of a map in [0, 1] as it is, not stretched.
pub fn overlay_absolute(picture: &Rgb, map: &[f32]) -> Result<Rgb> {
    Ok(blend(picture, &to_size(map, picture.w, picture.h)?))
}

fn blend(picture: &Rgb, map: &[f32]) -> Rgb {
    let mut out = picture.clone();
    for (pixel, &v) in out.data.chunks_exact_mut(3).zip(map) {
        for (p, heat) in pixel.iter_mut().zip(jet(v)) {
            *p = (0.5 * *p as f32 + 0.5 * 255.0 * heat).round() as u8;
        }
    }
    out
}

/// The map alone in JET, w × h pixels.
pub fn heat(map: &[f32], w: usize, h: usize) -> Result<Rgb> {
    let full = to_size(map, w, h)?;
    let data = min_max(&full).iter().flat_map(|&v| jet(v).map(|c| (c * 255.0).round() as u8)).collect();
    Rgb::new(w, h, data)
}

fn to_size(map: &[f32], w: usize, h: usize) -> Result<Vec<f32>> {
    if map.len() == w * h {
        return Ok(map.to_vec());
    }
    let side = map.len().isqrt();
    if side * side != map.len() || map.is_empty() {
        return Err(Error::data("attention map", format!("{} values are neither {w}x{h} nor a square", map.len())));
    }
    bilinear(map, side, side, w, h)
}

/// Draws the border of the mask, two pixels wide and black on white: it shows on any picture.
pub fn outline(picture: &mut Rgb, mask: &[bool]) -> Result<()> {
    let (w, h) = (picture.w, picture.h);
    if mask.len() != w * h {
        return Err(Error::data("mask", format!("{} pixels, the picture has {w}x{h}", mask.len())));
    }
    // Beyond the picture counts as outside the mask, so that the outline of a mask at the edge is closed there.
    let inside =
        |x: isize, y: isize| (0..w as isize).contains(&x) && (0..h as isize).contains(&y) && mask[y as usize * w + x as usize];
    for y in 0..h {
        for x in 0..w {
            let (sx, sy) = (x as isize, y as isize);
            let near = |d: isize| inside(sx - d, sy) && inside(sx + d, sy) && inside(sx, sy - d) && inside(sx, sy + d);
            if inside(sx, sy) && !near(1) {
                picture.put(x, y, [255; 3]);
            } else if inside(sx, sy) && !near(2) {
                picture.put(x, y, [0; 3]);
            }
        }
    }
    Ok(())
}

/// Rows of equally large pictures with a gap between them on a grey ground; a missing picture leaves its place empty.
pub fn grid(rows: &[Vec<Option<Rgb>>], gap: usize) -> Result<Rgb> {
    let sizes = || rows.iter().flatten().flatten();
    let Some((w, h)) = sizes().next().map(|p| (p.w, p.h)) else {
        return Err(Error::data("contact sheet", "no pictures"));
    };
    if let Some(p) = sizes().find(|p| (p.w, p.h) != (w, h)) {
        return Err(Error::data("contact sheet", format!("a picture of {}x{} among pictures of {w}x{h}", p.w, p.h)));
    }
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let mut out = Rgb::filled(columns * (w + gap) + gap, rows.len() * (h + gap) + gap, [128; 3]);
    for (r, row) in rows.iter().enumerate() {
        for (c, picture) in row.iter().enumerate() {
            let Some(picture) = picture else { continue };
            let (x, y) = (gap + c * (w + gap), gap + r * (h + gap));
            for (i, line) in picture.data.chunks_exact(3 * w).enumerate() {
                let at = 3 * ((y + i) * out.w + x);
                out.data[at..at + 3 * w].copy_from_slice(line);
            }
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jet_at_its_corners() {
        assert_eq!(jet(0.0), [0.0, 0.0, 0.5]);
        assert_eq!(jet(0.25), [0.0, 0.5, 1.0]);
        assert_eq!(jet(0.5), [0.5, 1.0, 0.5]);
        assert_eq!(jet(0.75), [1.0, 0.5, 0.0]);
        assert_eq!(jet(1.0), [0.5, 0.0, 0.0]);
    }

    #[test]
    fn overlay_is_half_and_half_of_the_min_max_map() {
        let picture = Rgb::filled(2, 1, [100, 200, 50]);
        // 5 → 0 → dark blue, 9 → 1 → dark red.
        let out = overlay(&picture, &[5.0, 9.0]).unwrap();
        assert_eq!(out.data, [50, 100, 89, 114, 100, 25]);
        assert_eq!(min_max(&[2.0, f32::NAN, 4.0, 3.0]), [0.0, 0.0, 1.0, 0.5]);
        assert_eq!(min_max(&[7.0; 3]), [0.0; 3]);
    }

    #[test]
    fn a_small_map_is_resized_as_torch_does() {
        // torch.nn.functional.interpolate([[0, 1], [2, 3]], size=4, mode="bilinear", align_corners=False), first two rows.
        let out = bilinear(&[0.0, 1.0, 2.0, 3.0], 2, 2, 4, 4).unwrap();
        assert_eq!(out[..8], [0.0, 0.25, 0.75, 1.0, 0.5, 0.75, 1.25, 1.5]);
        assert_eq!(overlay(&Rgb::filled(8, 6, [0; 3]), &[0.0, 1.0, 2.0, 3.0]).unwrap().data.len(), 144);
        assert!(overlay(&Rgb::filled(8, 6, [0; 3]), &[0.0; 7]).is_err());
        assert!(bilinear(&[0.0; 3], 2, 2, 4, 4).is_err() && Rgb::new(2, 2, vec![0; 11]).is_err());
    }

    #[test]
    fn the_outline_goes_around_the_mask_and_leaves_the_rest() {
        let mask: Vec<bool> = (0..81).map(|i| (2..7).contains(&(i % 9)) && (2..7).contains(&(i / 9))).collect();
        let mut p = Rgb::filled(9, 9, [9, 9, 9]);
        outline(&mut p, &mask).unwrap();
        let at = |x: usize, y: usize| p.data[3 * (y * 9 + x)];
        assert_eq!((at(2, 2), at(6, 4), at(3, 3), at(4, 4), at(1, 4)), (255, 255, 0, 9, 9));
        assert!(outline(&mut p, &mask[1..]).is_err());
    }

    #[test]
    fn grid_places_pictures_and_png_holds_them() {
        let red = Rgb::filled(3, 2, [255, 0, 0]);
        let sheet = grid(&[vec![Some(red.clone()), None], vec![None, Some(red.clone())]], 1).unwrap();
        assert_eq!((sheet.w, sheet.h), (9, 7));
        let at = |x: usize, y: usize| sheet.data[3 * (y * 9 + x)];
        assert_eq!((at(0, 0), at(1, 1), at(3, 2), at(5, 1), at(5, 4)), (128, 255, 255, 128, 255));
        let back = image::load_from_memory(&sheet.png().unwrap()).unwrap().to_rgb8();
        assert_eq!(back.as_raw(), &sheet.data);
        assert!(grid(&[vec![Some(red.clone()), Some(red.enlarge(2))]], 1).is_err() && grid(&[], 1).is_err());
    }
}
