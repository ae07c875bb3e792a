//! The built-in source: "photographs" that are painted, so that the program works with nothing at hand.
//!
//! Dead leaves (G. Matheron 1968; A. B. Lee, D. Mumford, J. Huang, "Occlusion Models for Natural Images", IJCV 41, 2001): opaque
//! objects with sizes ∝ r⁻³ that hide one another have the scale invariance, the edges and the heavy-tailed gradients of natural
//! images. Each leaf has a 1/f texture, shading and its own defocus; a camera then adds vignetting, lens blur, a Bayer mosaic with
//! shot and read noise, demosaicing, the sRGB curve and sharpening, because forensic detectors live on what a camera leaves behind.
//! Everything is drawn from (seed, index): no two pictures alike, the same two numbers always the same picture.

use std::sync::LazyLock;

use super::picture::{Picture, to_u8};
use crate::core::rng::{Rng, stream};

/// Side of the texture tiles, pixels. A power of two, so that coordinates wrap by `& (TILE - 1)`; photographs have any side.
pub(super) const TILE: usize = 128;

/// Paints photograph `index`: `side` × `side` pixels.
pub fn photograph(seed: u64, index: u64, side: usize) -> Picture {
    let mut rng = Rng::new(seed, stream("procedural photograph"), index);
    let scene = leaves(side, &mut rng);
    camera(scene, side, &mut rng)
}

/// Fractal noise on a torus, mean 0, deviation about 1: octaves of equal amplitude, which is a power spectrum ∝ f⁻². `stretch`
/// halves the vertical frequency that many times (fibres, grain, water); `finest` is the lattice of the last octave.
pub(super) fn texture(stretch: u32, finest: usize, rng: &mut Rng) -> Vec<f32> {
    let mut tile = vec![0f32; TILE * TILE];
    let mut cells = 4;
    let mut octaves = 0;
    while cells <= finest {
        let (nx, ny) = (cells, (cells >> stretch).max(2));
        let lattice: Vec<f32> = (0..nx * ny).map(|_| rng.unit() * 2.0 - 1.0).collect();
        let (sx, sy) = (TILE / nx, TILE / ny);
        for y in 0..TILE {
            let (y0, fy) = (y / sy, (y % sy) as f32 / sy as f32);
            let (upper, lower) = (&lattice[y0 * nx..][..nx], &lattice[(y0 + 1) % ny * nx..][..nx]);
            let row = &mut tile[y * TILE..][..TILE];
            for (x0, cell) in row.chunks_exact_mut(sx).enumerate() {
                let x1 = (x0 + 1) % nx;
                let left = upper[x0] + fy * (lower[x0] - upper[x0]);
                let right = upper[x1] + fy * (lower[x1] - upper[x1]);
                let step = (right - left) / sx as f32;
                cell.iter_mut().enumerate().for_each(|(i, v)| *v += left + step * i as f32);
            }
        }
        cells *= 2;
        octaves += 1;
    }
    // A uniform lattice has variance 1/3; bilinear interpolation keeps 4/9 of it on average.
    let scale = 1.0 / (octaves as f32 * (1.0 / 3.0) * (4.0 / 9.0)).sqrt();
    tile.iter_mut().for_each(|v| *v *= scale);
    tile
}

/// A colour of the world, linear light: most things are dull, some are not.
fn reflectance(rng: &mut Rng) -> [f32; 3] {
    let level = 0.03 * 30f32.powf(rng.unit()); // 0.03 (soot) .. 0.9 (snow)
    let saturation = 0.9 * rng.unit() * rng.unit();
    let hue = rng.range(0.0, 6.0);
    let wave = |shift: f32| {
        let d = (hue - shift).rem_euclid(6.0);
        (d.min(6.0 - d) - 1.0).clamp(0.0, 1.0)
    };
    // Mostly lit by a warm sun or a blue sky: a slight tilt from red to blue.
    [wave(0.0), wave(2.0), wave(4.0)].map(|dark| level * (1.0 - saturation * dark))
}

/// One opaque object of the scene.
struct Leaf {
    /// Centre, pixels.
    at: (f32, f32),
    /// Half-axes, pixels.
    radius: (f32, f32),
    /// Cosine and sine of the angle that the axes are turned by.
    turn: (f32, f32),
    /// 0: ellipse, 1: box, between: rounded.
    square: f32,
    /// Width of the soft edge, pixels: its defocus.
    soft: f32,
    wobble: f32,
    colour: [f32; 3],
    /// Number of the texture tile.
    tile: usize,
    /// Texel of the tile that lies on pixel (0, 0).
    origin: (usize, usize),
    /// Factor of the texture.
    contrast: f32,
    /// Change of brightness per radius along the two axes.
    slope: (f32, f32),
    /// Loss of brightness from the centre to the edge, by the square of the distance.
    bulge: f32,
}

/// Radii with density ∝ r^-steepness between two bounds, pixels. 3 is scale-invariant; below it large things dominate, as where a
/// photograph has sky, walls or water.
struct Sizes {
    smallest: f32,
    largest: f32,
    steepness: f32,
}

impl Sizes {
    /// Inverse of the distribution function.
    fn draw(&self, rng: &mut Rng) -> f32 {
        let k = 1.0 - self.steepness;
        let (a, b) = (self.smallest.powf(k), self.largest.powf(k));
        (a + rng.unit() * (b - a)).powf(1.0 / k)
    }
}

/// Front to back, until nothing shows through: the exact ("perfect") simulation of the model, without painting what is hidden.
fn leaves(side: usize, rng: &mut Rng) -> Vec<[f32; 3]> {
    let s = side as f32;
    // Sharp and defocused version of each grain.
    let tiles: [Vec<f32>; 4] =
        [texture(0, TILE / 2, rng), texture(0, TILE / 8, rng), texture(2, TILE / 2, rng), texture(1, TILE / 4, rng)];
    let palette: Vec<[f32; 3]> = (0..3 + rng.below(5)).map(|_| reflectance(rng)).collect();
    let sun = rng.range(0.0, std::f32::consts::TAU).sin_cos();
    let sizes = Sizes { smallest: s * rng.range(0.01, 0.05), largest: s * rng.range(0.4, 1.2), steepness: rng.range(1.8, 3.0) };
    let depth_of_field = rng.range(0.0, 2.5);
    let roughness = rng.range(0.1, 0.45);
    let boxy = rng.unit(); // share of man-made shapes

    let mut colour = vec![[0f32; 3]; side * side];
    let mut through = vec![1f32; side * side]; // how much of what lies behind still shows
    let mut lit = vec![1f32; side * side]; // shadows of the leaves in front
    let mut open = side * side;
    for _ in 0..side * side / 8 {
        if open * 500 < side * side {
            break;
        }
        let leaf = draw_leaf(s, &sizes, &palette, sun, depth_of_field, roughness, boxy, rng);
        open -= paint(&leaf, side, &tiles, &mut colour, &mut through, &mut lit);
    }
    // A last leaf covers everything and shows where the others left the view open.
    let back = Leaf {
        at: (s / 2.0, s / 2.0),
        radius: (4.0 * s, 4.0 * s),
        ..draw_leaf(s, &sizes, &palette, sun, 0.0, roughness, 0.0, rng)
    };
    paint(&back, side, &tiles, &mut colour, &mut through, &mut lit);
    colour
}

#[allow(clippy::too_many_arguments)] // the parameters of one photograph, used here only
fn draw_leaf(
    s: f32,
    sizes: &Sizes,
    palette: &[[f32; 3]],
    sun: (f32, f32),
    depth_of_field: f32,
    roughness: f32,
    boxy: f32,
    rng: &mut Rng,
) -> Leaf {
    let r = sizes.draw(rng);
    let aspect = 2f32.powf(rng.range(-0.5, 0.5) * 2.0 * rng.unit());
    let margin = r.min(0.5 * s);
    let square = if rng.unit() < boxy * 0.6 { rng.range(0.6, 1.0) } else { 0.3 * rng.unit() };
    let (sin, cos) = rng.range(0.0, std::f32::consts::TAU).sin_cos();
    let soft = 0.5 + depth_of_field * rng.unit() * rng.unit() * 2.0;
    let tint = palette[rng.below(palette.len())];
    let gain = 2f32.powf(0.5 * rng.normal());
    let shade = rng.range(0.0, 0.35);
    Leaf {
        at: (rng.range(-margin, s + margin), rng.range(-margin, s + margin)),
        radius: (r * aspect.sqrt(), r / aspect.sqrt()),
        turn: (cos, sin),
        square,
        soft,
        wobble: if square > 0.5 { 0.0 } else { 0.12 * rng.unit() },
        colour: tint.map(|v| (v * gain * rng.range(0.85, 1.15)).min(1.0)),
        tile: if soft > 2.0 { 1 } else { [0, 2, 3][rng.below(3)] },
        origin: (rng.below(TILE), rng.below(TILE)),
        contrast: roughness * rng.range(0.2, 1.6),
        slope: (shade * sun.0, shade * sun.1),
        bulge: 0.5 * rng.unit() * rng.unit(),
    }
}

/// Adds what shows of a leaf behind those painted before; returns how many pixels the leaf closed.
fn paint(
    leaf: &Leaf,
    side: usize,
    tiles: &[Vec<f32>; 4],
    colour: &mut [[f32; 3]],
    through: &mut [f32],
    lit: &mut [f32],
) -> usize {
    let (rx, ry) = leaf.radius;
    let r = rx.min(ry);
    // The shadow reaches a tenth of the radius (at most 6 pixels) beyond the edge.
    let shadow = (0.1 * r).min(6.0);
    let corner = 1.0 + 0.42 * leaf.square; // a box sticks out of its ellipse
    let reach = rx.max(ry) * corner * (1.0 + leaf.wobble) + leaf.soft + shadow;
    let range = |c: f32| ((c - reach).floor().max(0.0) as usize)..((c + reach).ceil().max(0.0) as usize).min(side);
    let (tile, coarse) = (&tiles[leaf.tile], &tiles[1]);
    let (inv_x, inv_y, inv_soft, inv_shadow) = (1.0 / rx, 1.0 / ry, 1.0 / leaf.soft, 1.0 / (shadow + leaf.soft));
    let mut closed = 0;
    for y in range(leaf.at.1) {
        let dy = y as f32 - leaf.at.1;
        let texture_row = ((y + leaf.origin.1) & (TILE - 1)) * TILE;
        for x in range(leaf.at.0) {
            let p = y * side + x;
            if through[p] < 0.004 {
                continue;
            }
            let dx = x as f32 - leaf.at.0;
            let u = (dx * leaf.turn.0 + dy * leaf.turn.1) * inv_x;
            let v = (dy * leaf.turn.0 - dx * leaf.turn.1) * inv_y;
            let texel = texture_row + ((x + leaf.origin.0) & (TILE - 1));
            let round = (u * u + v * v).sqrt();
            let boxed = u.abs().max(v.abs());
            let rho = (round + leaf.square * (boxed - round)) * (1.0 + leaf.wobble * coarse[texel]);
            let inside = (1.0 - rho) * r; // pixels to the edge, about
            let alpha = (0.5 + inside * inv_soft).clamp(0.0, 1.0);
            if alpha > 0.0 {
                let shade = (1.0 + leaf.slope.0 * u + leaf.slope.1 * v - leaf.bulge * rho * rho).max(0.1);
                let light = through[p] * alpha * lit[p] * shade * (1.0 + leaf.contrast * tile[texel]).max(0.06);
                (0..3).for_each(|c| colour[p][c] += light * leaf.colour[c]);
                through[p] *= 1.0 - alpha;
                closed += (through[p] < 0.004) as usize;
            }
            if shadow > 0.5 && alpha < 1.0 {
                let near = (1.0 + inside * inv_shadow).clamp(0.0, 1.0);
                lit[p] *= 1.0 - 0.35 * near * near;
            }
        }
    }
    closed
}

/// sRGB values 0..=255 of linear light in 4096 steps. Floats, because sharpening follows and rounds.
static CURVE: LazyLock<Vec<f32>> = LazyLock::new(|| {
    (0..4096)
        .map(|i| {
            let x = i as f64 / 4095.0;
            let y = if x <= 0.003_130_8 { 12.92 * x } else { 1.055 * x.powf(1.0 / 2.4) - 0.055 };
            (y * 255.0) as f32
        })
        .collect()
});

/// Exposure, vignetting, lens blur, mosaic, noise, demosaicing, curve.
fn camera(scene: Vec<[f32; 3]>, side: usize, rng: &mut Rng) -> Picture {
    let camera = Camera::draw(&scene, rng);
    let light = camera.shoot(&scene, side, || rng.normal());
    let sharpening = rng.range(0.2, 1.0);
    develop(&light, side, sharpening)
}

/// What one exposure does to the light of a scene.
pub(super) struct Camera {
    /// Gain of each colour.
    white: [f32; 3],
    /// Loss of light towards the corners: of all of it in a corner, where 1 would be black.
    falloff: f32,
    /// Weight of each neighbour in a 3-tap kernel: deviation up to 0.53 pixels.
    lens: f32,
    /// Deviation of the noise at full light, and in the dark.
    shot: f32,
    read: f32,
}

impl Camera {
    /// Exposed so that the mean of `scene` is a mid grey (0.18 in linear light, give or take), as a camera does.
    pub(super) fn draw(scene: &[[f32; 3]], rng: &mut Rng) -> Camera {
        let mean = scene.iter().map(|p| p[0] + p[1] + p[2]).sum::<f32>() / (3 * scene.len()) as f32;
        let gain = 0.18 / mean.max(1e-3) * 2f32.powf(0.4 * rng.normal());
        Camera {
            white: [gain * rng.range(0.9, 1.1), gain, gain * rng.range(0.9, 1.1)],
            falloff: rng.range(0.0, 0.35),
            lens: rng.range(0.0, 0.14),
            shot: rng.range(0.002, 0.014),
            read: rng.range(0.0005, 0.003),
        }
    }

    /// Linear light of `side` × `side` pixels as the sensor saw it: one colour per pixel (RGGB), blurred by the lens, with noise from
    /// `normal` (mean 0, deviation 1), demosaiced.
    pub(super) fn shoot(&self, scene: &[[f32; 3]], side: usize, mut normal: impl FnMut() -> f32) -> Vec<[f32; 3]> {
        let Camera { white, lens, shot, read, .. } = *self;
        let falloff = self.falloff / (0.5 * (side * side) as f32);
        let half = side as f32 / 2.0;
        let channel = |x: usize, y: usize| (x & 1) + (y & 1);
        let mut mosaic = vec![0f32; side * side];
        for y in 0..side {
            let (up, down) = (y.saturating_sub(1) * side, (y + 1).min(side - 1) * side);
            for x in 0..side {
                let (left, right) = (x.saturating_sub(1), (x + 1).min(side - 1));
                let c = channel(x, y);
                let row = |base: usize| {
                    (1.0 - 2.0 * lens) * scene[base + x][c] + lens * (scene[base + left][c] + scene[base + right][c])
                };
                let light = (1.0 - 2.0 * lens) * row(y * side) + lens * (row(up) + row(down));
                let d2 = (x as f32 - half).powi(2) + (y as f32 - half).powi(2);
                let v = light * white[c] * (1.0 - falloff * d2);
                mosaic[y * side + x] = v + normal() * (shot * shot * v.max(0.0) + read * read).sqrt();
            }
        }
        demosaic(&mosaic, side)
    }
}

/// Edge-directed interpolation after J. F. Adams, J. E. Hamilton (US patent 5,652,621, 1997; expired), the ancestor of what cameras
/// do: green along the direction that changes less, corrected by the second difference of the pixel's own colour; then red and
/// blue as smooth differences from green. The border mirrors, which keeps the parity of the mosaic.
fn demosaic(mosaic: &[f32], side: usize) -> Vec<[f32; 3]> {
    let mirror = |i: usize, d: isize| {
        let j = i as isize + d;
        (if j < 0 {
            -j
        } else if j >= side as isize {
            2 * side as isize - 2 - j
        } else {
            j
        })
        .clamp(0, side as isize - 1) as usize
    };
    let mut green = mosaic.to_vec();
    for y in 0..side {
        let rows = [-2, -1, 1, 2].map(|d| mirror(y, d) * side);
        for x in (0..side).filter(|x| (x + y).is_multiple_of(2)) {
            let own = mosaic[y * side + x];
            let [l2, l, r, r2] = [-2, -1, 1, 2].map(|d| mosaic[y * side + mirror(x, d)]);
            let [u2, u, d, d2] = rows.map(|row| mosaic[row + x]);
            let (bend_across, bend_along) = (2.0 * own - l2 - r2, 2.0 * own - u2 - d2);
            let (across, along) = ((l - r).abs() + bend_across.abs(), (u - d).abs() + bend_along.abs());
            let (g_across, g_along) = (0.5 * (l + r) + 0.25 * bend_across, 0.5 * (u + d) + 0.25 * bend_along);
            green[y * side + x] = match across.total_cmp(&along) {
                std::cmp::Ordering::Less => g_across,
                std::cmp::Ordering::Greater => g_along,
                std::cmp::Ordering::Equal => 0.5 * (g_across + g_along),
            };
        }
    }
    let mut out = Vec::with_capacity(side * side);
    for y in 0..side {
        let (up, row, down) = (mirror(y, -1) * side, y * side, mirror(y, 1) * side);
        for x in 0..side {
            let (left, right) = (mirror(x, -1), mirror(x, 1));
            let (own, g) = (mosaic[row + x], green[row + x]);
            let difference = |p: usize| mosaic[p] - green[p];
            let across = || g + 0.5 * (difference(row + left) + difference(row + right));
            let along = || g + 0.5 * (difference(up + x) + difference(down + x));
            let diagonal = || g + 0.25 * [up + left, up + right, down + left, down + right].map(difference).iter().sum::<f32>();
            out.push(match (x & 1, y & 1) {
                (0, 0) => [own, g, diagonal()],
                (1, 0) => [across(), g, along()],
                (0, _) => [along(), g, across()],
                _ => [diagonal(), g, own],
            });
        }
    }
    out
}

/// The sRGB curve, then the sharpening that makes up for lens and demosaicing: `amount` times the difference of each pixel's
/// luminance from the mean of its four neighbours'.
pub(super) fn develop(linear: &[[f32; 3]], side: usize, amount: f32) -> Picture {
    let curve = &*CURVE;
    let encoded: Vec<[f32; 3]> = linear.iter().map(|p| p.map(|v| curve[(v.clamp(0.0, 1.0) * 4095.0 + 0.5) as usize])).collect();
    let luminance: Vec<f32> = encoded.iter().map(|p| 0.25 * p[0] + 0.5 * p[1] + 0.25 * p[2]).collect();
    let mut out = Picture::new(side, side);
    for y in 0..side {
        let (up, row, down) = (y.saturating_sub(1) * side, y * side, (y + 1).min(side - 1) * side);
        for x in 0..side {
            let around = luminance[up + x]
                + luminance[down + x]
                + luminance[row + x.saturating_sub(1)]
                + luminance[row + (x + 1).min(side - 1)];
            let detail = amount * (luminance[row + x] - 0.25 * around);
            let i = row + x;
            (0..3).for_each(|c| out.rgb[i * 3 + c] = to_u8(encoded[i][c] + detail));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_numbers_give_the_same_picture_and_others_another() {
        let a = photograph(1, 2, 64);
        assert_eq!(a, photograph(1, 2, 64));
        assert_ne!(a, photograph(1, 3, 64));
        assert_ne!(a, photograph(2, 2, 64));
        assert_eq!((a.w, a.h), (64, 64));
        for side in [1, 2, 3, 7, 75, 227] {
            assert_eq!(photograph(0, 0, side).w, side);
        }
    }

    /// A scene of one colour comes back from the mosaic as that colour, at the border too and at any side: the border mirrors with the
    /// parity of the mosaic.
    #[test]
    fn demosaicing_keeps_a_flat_colour_at_any_side() {
        let colour = [0.2f32, 0.5, 0.8];
        for side in [3, 4, 7, 75, 227] {
            let mosaic: Vec<f32> = (0..side * side).map(|p| colour[((p % side) & 1) + ((p / side) & 1)]).collect();
            for (p, found) in demosaic(&mosaic, side).into_iter().enumerate() {
                let near = found.iter().zip(&colour).all(|(f, c)| (f - c).abs() < 1e-6);
                assert!(near, "side {side}, ({}, {}): {found:?}", p % side, p / side);
            }
        }
    }

    /// Power of the luminance ∝ f⁻², which is the law of photographs (D. Field 1987: exponents of 1.6 to 2.4 for single pictures).
    #[test]
    fn the_spectrum_falls_as_in_photographs() {
        let n = 64;
        let mut power = vec![(0.0f64, 0usize); n / 2];
        for index in 0..24 {
            let picture = photograph(5, index, 192).resize(2 * n).crop(20, 20, n, n);
            let window = |i: usize| 0.5 - 0.5 * (std::f64::consts::TAU * (i as f64 + 0.5) / n as f64).cos();
            let grey: Vec<f64> = picture.rgb.chunks_exact(3).map(|p| (p[0] as f64 + p[1] as f64 + p[2] as f64) / 3.0).collect();
            let mean = grey.iter().sum::<f64>() / grey.len() as f64;
            let line: Vec<(f64, f64)> = (0..n * n).map(|i| ((grey[i] - mean) * window(i % n) * window(i / n), 0.0)).collect();
            let spectrum = transform(&transform(&line, n), n);
            for v in 0..n {
                for u in 0..n {
                    let (fu, fv) = (u.min(n - u) as f64, v.min(n - v) as f64);
                    let f = fu.hypot(fv).round() as usize;
                    if (1..n / 2).contains(&f) {
                        let (re, im) = spectrum[v * n + u];
                        power[f].0 += re * re + im * im;
                        power[f].1 += 1;
                    }
                }
            }
        }
        let points: Vec<(f64, f64)> = (3..n / 4).map(|f| ((f as f64).ln(), (power[f].0 / power[f].1 as f64).ln())).collect();
        let m = points.len() as f64;
        let (mx, my) = (points.iter().map(|p| p.0).sum::<f64>() / m, points.iter().map(|p| p.1).sum::<f64>() / m);
        let slope =
            points.iter().map(|p| (p.0 - mx) * (p.1 - my)).sum::<f64>() / points.iter().map(|p| (p.0 - mx).powi(2)).sum::<f64>();
        assert!((-2.8..-1.6).contains(&slope), "slope {slope}");
    }

    /// DFT of each row, transposed; twice is the plane.
    fn transform(data: &[(f64, f64)], n: usize) -> Vec<(f64, f64)> {
        let mut out = vec![(0.0, 0.0); n * n];
        for y in 0..n {
            for k in 0..n {
                let (mut re, mut im) = (0.0, 0.0);
                for x in 0..n {
                    let (s, c) = (-std::f64::consts::TAU * ((k * x) % n) as f64 / n as f64).sin_cos();
                    let (a, b) = data[y * n + x];
                    re += a * c - b * s;
                    im += a * s + b * c;
                }
                out[k * n + y] = (re, im);
            }
        }
        out
    }
}
