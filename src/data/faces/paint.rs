//! A portrait as light: background, shoulders, hair, face, features, one over the other, each with a soft edge of about a pixel.

use super::face::{Identity, Light, Shot};
use crate::core::rng::{Rng, stream};
use crate::data::procedural::{TILE, texture};

/// Textures on a torus, mean 0, deviation 1, of [`TILE`] texels a side.
struct Grain {
    skin: Vec<f32>,
    hair: Vec<f32>,
    ground: Vec<f32>,
}

/// Where the features sit, in units of half the height of the face, down from its middle.
const EYES: f32 = -0.1;
const MOUTH: f32 = 0.52;

/// Linear light of `side` × `side` pixels. The same three arguments give the same values.
pub(super) fn paint(who: &Identity, shot: &Shot, side: usize) -> Vec<Light> {
    let rng = &mut Rng::new(shot.seed, stream("portrait grain"), 0);
    let grain = Grain { skin: texture(0, TILE / 2, rng), hair: texture(3, TILE / 2, rng), ground: texture(0, TILE / 8, rng) };
    let brush = Brush { who, shot, grain, unit: shot.pose.scale * side as f32 };
    let s = side as f32;
    (0..side * side)
        .map(|p| {
            let at = [(p % side) as f32 + 0.5, (p / side) as f32 + 0.5].map(|v| v / s);
            brush.pixel(at)
        })
        .collect()
}

struct Brush<'a> {
    who: &'a Identity,
    shot: &'a Shot,
    grain: Grain,
    /// Pixels in half the height of the face.
    unit: f32,
}

/// How far inside an ellipse a point lies, along its shorter half-axis; negative outside.
fn ellipse(u: f32, v: f32, [cu, cv]: [f32; 2], [ru, rv]: [f32; 2]) -> f32 {
    let (x, y) = ((u - cu) / ru, (v - cv) / rv);
    (1.0 - (x * x + y * y).sqrt()) * ru.min(rv)
}

impl Brush<'_> {
    /// How much of a pixel lies in a shape, from the distance to its edge.
    fn cover(&self, inside: f32) -> f32 {
        (0.5 + inside * self.unit * 0.8).clamp(0.0, 1.0)
    }

    /// The same with an edge that is `wide` (units of the face) wide.
    fn soft(&self, inside: f32, wide: f32) -> f32 {
        let t = (0.5 + inside / wide.max(1.2 / self.unit)).clamp(0.0, 1.0);
        t * t * (3.0 - 2.0 * t)
    }

    /// A texture at a place of the face: texels are as large as 1/60 of half its height, whatever the size of the picture.
    fn grain(&self, tile: &[f32], u: f32, v: f32) -> f32 {
        let texel = |x: f32| ((x + 64.0) * 60.0) as usize & (TILE - 1);
        tile[texel(v) * TILE + texel(u)]
    }

    fn pixel(&self, at: [f32; 2]) -> Light {
        let (who, shot) = (self.who, self.shot);
        let [u, v] = shot.pose.inward(at);
        let mut light = self.background(at);
        let mut over = |colour: Light, alpha: f32| {
            (0..3).for_each(|c| light[c] += alpha * (colour[c] - light[c]));
        };
        let strand = (1.0 + 0.35 * self.grain(&self.grain.hair, u, v)).max(0.2);
        let hair = who.hair.map(|c| c * strand * self.shade(u, v, 1.3));
        let skin = |u: f32, v: f32, gain: f32| {
            let pore = 1.0 + 0.05 * self.grain(&self.grain.skin, u, v);
            who.skin.map(|c| c * gain * pore * self.shade(u, v, who.width))
        };

        // Behind the face.
        let head = ellipse(u, v, [0.0, -0.15], [who.width + 0.5 * who.volume + 0.04, 1.0 + who.volume]);
        over(hair, self.cover(head));
        if who.length > -0.5 {
            let falls = (who.width + 0.4 * who.volume - u.abs()).min(1.0 + who.length - v).min(v + 0.4);
            over(hair, self.cover(falls));
        }
        over(skin(u, v, 0.7), self.cover((0.4 - u.abs()).min(v - 0.5)));
        over(
            shot.clothes.map(|c| c * self.shade(u, v - 2.0, 1.6)),
            self.cover(ellipse(u, v, [0.0, 2.2], [1.7, 0.95]).max((1.7 - u.abs()).min(v - 2.2))),
        );
        for side in [-1.0, 1.0] {
            over(skin(u, v, 0.85), self.cover(ellipse(u, v, [side * (who.width + 0.02), 0.02], [0.09, 0.2])));
        }

        // The face.
        let face = self.face(u, v);
        let mut tint = skin(u, v, 1.0);
        for side in [-1.0, 1.0] {
            let blush = 0.25 * self.soft(ellipse(u, v, [side * 0.42, 0.25], [0.24, 0.2]), 0.3);
            tint[1] *= 1.0 - 0.5 * blush;
            tint[2] *= 1.0 - 0.4 * blush;
        }
        over(tint, self.cover(face));
        let within = self.cover(face);

        // The head turns: what stands in front of it moves further.
        let turned = |depth: f32| u - 0.16 * shot.yaw * depth;
        if who.beard > 0.0 {
            let f = turned(0.9);
            let cheeks = self.soft(v - 0.28 - 0.5 * (1.0 - (f / who.width).abs()).max(0.0) * 0.4, 0.25);
            let bare = self.cover(ellipse(f, v, [0.0, MOUTH], [who.mouth[0] * 1.05, who.mouth[1] * 1.5]));
            let stubble = (0.75 + 0.35 * self.grain(&self.grain.hair, v, u)).clamp(0.0, 1.0);
            over(hair, within * who.beard * cheeks * (1.0 - bare) * stubble);
        }
        self.nose(turned(1.3), v, skin(u, v, 1.0), within, &mut over);
        self.mouth(turned(1.0), v, within, &mut over);
        for side in [-1.0f32, 1.0] {
            self.eye(side * turned(0.9), v, side, hair, within, &mut over);
        }
        if who.glasses {
            let f = turned(1.1);
            let rim = |side: f32| 0.022 - (ellipse(f, v, [side * who.eyes[0], EYES + 0.02], [0.22, 0.18])).abs();
            let bridge = (0.02 - (v - EYES).abs()).min(who.eyes[0] - 0.2 - f.abs());
            over([0.015; 3], self.cover(rim(-1.0).max(rim(1.0)).max(bridge)));
        }

        // In front of it.
        let parted = 0.3 * (who.parting * u) + 0.12 * (7.0 * u + 9.0 * who.parting).sin() * who.fringe;
        let line = -0.88 + who.fringe + parted + 0.45 * (u / who.width).powi(2) * (1.0 - who.fringe);
        let fringe = (line - v).min(head);
        over(hair, self.soft(fringe, 0.05));
        light
    }

    fn background(&self, at: [f32; 2]) -> Light {
        let shot = self.shot;
        let (sin, cos) = shot.slope.sin_cos();
        let t = (0.5 + (at[0] - 0.5) * cos + (at[1] - 0.5) * sin).clamp(0.0, 1.0);
        let texel = |x: f32| (x * 96.0) as usize & (TILE - 1);
        let rough = 1.0 + 0.25 * self.grain.ground[texel(at[1]) * TILE + texel(at[0])];
        std::array::from_fn(|c| (shot.background[0][c] + t * (shot.background[1][c] - shot.background[0][c])) * rough.max(0.1))
    }

    /// How far inside the face: an ellipse whose lower half narrows to the chin.
    fn face(&self, u: f32, v: f32) -> f32 {
        let who = self.who;
        let narrow = 1.0 - (0.12 + 0.2 * who.jaw) * v.clamp(0.0, 1.0).powi(2);
        ellipse(u, v, [0.0, 0.0], [who.width * narrow, 1.0])
    }

    /// Light on an ellipsoid of that half-width.
    fn shade(&self, u: f32, v: f32, width: f32) -> f32 {
        let (x, y) = (0.8 * u / width, 0.7 * v);
        let z = (1.0 - x * x - y * y).max(0.05).sqrt();
        let [lx, ly, lz] = self.shot.light;
        self.shot.ambient + (1.0 - self.shot.ambient) * (x * lx + y * ly + z * lz).max(0.0)
    }

    fn nose(&self, f: f32, v: f32, skin: Light, within: f32, over: &mut impl FnMut(Light, f32)) {
        let [wide, long] = self.who.nose;
        let tip = EYES + long + 0.02;
        let ridge = self.soft((tip - v).min(v - EYES + 0.1), 0.15);
        let fall = (-f * f / (2.0 * (0.5 * wide).powi(2))).exp() * f / wide;
        let dark = 0.5 * self.shot.light[0] * fall * ridge;
        over(skin.map(|c| c * (1.0 - dark).clamp(0.4, 1.5)), within * ridge * 0.9 * (-f * f / (wide * wide)).exp());
        let under = self.soft(ellipse(f, v, [0.0, tip], [wide * 1.1, 0.06]), 0.05);
        over(skin.map(|c| 0.72 * c), within * under * 0.6);
        for side in [-1.0, 1.0] {
            over(skin.map(|c| 0.2 * c), within * self.cover(ellipse(f, v, [side * 0.55 * wide, tip + 0.01], [0.03, 0.02])));
        }
    }

    fn mouth(&self, f: f32, v: f32, within: f32, over: &mut impl FnMut(Light, f32)) {
        let (who, shot) = (self.who, self.shot);
        let half = who.mouth[0] * (1.0 + 0.15 * shot.smile);
        // The corners go up with a smile.
        let y = v - MOUTH + 1.2 * shot.smile * f * f - 0.02 * shot.smile;
        let open = 0.07 * shot.open;
        let lips = ellipse(f, y, [0.0, 0.0], [half, who.mouth[1] + open]);
        let bow = 1.0 - 0.25 * (-(f / 0.05).powi(2)).exp() * (y < 0.0) as u8 as f32;
        over(who.lips.map(|c| c * self.shade(f, v, who.width) * bow), within * self.cover(lips));
        let gap = ellipse(f, y, [0.0, 0.0], [half * 0.86, (open + 0.008).max(0.008)]);
        over([0.02, 0.008, 0.008], within * self.cover(gap));
        let teeth = gap.min(-y + 0.3 * open).min(open - 0.01);
        over([0.6, 0.57, 0.5], within * self.cover(teeth));
    }

    /// `f` grows outwards from the middle of the face on either side.
    fn eye(&self, f: f32, v: f32, side: f32, hair: Light, within: f32, over: &mut impl FnMut(Light, f32)) {
        let who = self.who;
        let [apart, half, round] = who.eyes;
        let lit = self.shade(f, v, who.width);
        let socket = self.soft(ellipse(f, v, [apart, EYES - 0.01], [half * 1.5, half * 1.0]), 0.12);
        over(who.skin.map(|c| c * 0.72 * lit), within * socket * 0.6);
        let ball = ellipse(f, v, [apart, EYES], [half, half * round]);
        over([0.62 * lit; 3], within * self.cover(ball));
        // Both eyes look the same way.
        let gaze = apart + side * 0.03 * self.shot.yaw;
        let iris = ellipse(f, v, [gaze, EYES], [0.062, 0.062]).min(ball);
        over(who.iris.map(|c| c * lit), within * self.cover(iris));
        over([0.004; 3], within * self.cover(ellipse(f, v, [gaze, EYES], [0.028, 0.028]).min(ball)));
        over([0.9; 3], within * self.cover(ellipse(f, v, [gaze - side * 0.02, EYES - 0.022], [0.012, 0.012]).min(ball)));
        let lid = 0.018 - (ball + 0.006).abs();
        over(who.skin.map(|c| 0.18 * c), within * self.cover(lid.min(EYES - v + 0.01)));
        let arch = EYES - who.brows[1] + 0.5 * (f - apart - 0.02).powi(2);
        let brow = (who.brows[0] - (v - arch).abs()).min(half * 1.25 - (f - apart).abs());
        over(hair.map(|c| 0.8 * c), within * self.cover(brow) * 0.9);
    }
}
