//! A person, and how the person is photographed: numbers, drawn once.

use crate::core::rng::{Rng, stream};

/// A colour in linear light.
pub type Light = [f32; 3];

/// What stays the same in all pictures of a person. Lengths are in units of half the height of the face.
#[derive(Clone, Debug, PartialEq)]
pub struct Identity {
    pub skin: Light,
    /// Half of the width of the face at the cheekbones.
    pub width: f32,
    /// How much narrower the chin is: 0 (round) to 1 (pointed).
    pub jaw: f32,
    pub hair: Light,
    /// How far the hair stands off the head.
    pub volume: f32,
    /// How far below the chin it falls; below 0: short.
    pub length: f32,
    /// How far the hairline comes down the forehead, and on which side further: −1 to 1.
    pub fringe: f32,
    pub parting: f32,
    pub iris: Light,
    /// Half the distance between the eyes, their half-width, and how round they are.
    pub eyes: [f32; 3],
    /// Thickness of the brows, and their height above the eyes.
    pub brows: [f32; 2],
    /// Half-width of the nose at the nostrils, and its length.
    pub nose: [f32; 2],
    pub lips: Light,
    /// Half-width of the mouth, and the fullness of the lips.
    pub mouth: [f32; 2],
    /// 0: none, 1: full.
    pub beard: f32,
    pub glasses: bool,
}

/// What belongs to one picture of a person.
#[derive(Clone, Debug, PartialEq)]
pub struct Shot {
    pub pose: Pose,
    /// −1 (left) to 1 (right).
    pub yaw: f32,
    /// Where the light comes from: right, down, towards the viewer; of length 1.
    pub light: [f32; 3],
    /// Share of the light that comes from everywhere.
    pub ambient: f32,
    /// −1 (sad) to 1 (laughing), and how far the mouth is open.
    pub smile: f32,
    pub open: f32,
    pub background: [Light; 2],
    /// Direction in which the background changes from one colour to the other, radians.
    pub slope: f32,
    pub clothes: Light,
    /// Of the textures of skin, hair and background.
    pub seed: u64,
}

/// Where the face lies in the picture: centre and half-height in sides of the picture, turned by `roll` radians.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pose {
    pub centre: [f32; 2],
    pub scale: f32,
    pub roll: f32,
}

impl Pose {
    /// From the picture (sides) to the face (units of half its height; right and down).
    pub fn inward(&self, [x, y]: [f32; 2]) -> [f32; 2] {
        let (sin, cos) = self.roll.sin_cos();
        let (dx, dy) = ((x - self.centre[0]) / self.scale, (y - self.centre[1]) / self.scale);
        [cos * dx + sin * dy, cos * dy - sin * dx]
    }

    /// From the face to the picture.
    pub fn outward(&self, [u, v]: [f32; 2]) -> [f32; 2] {
        let (sin, cos) = self.roll.sin_cos();
        [self.centre[0] + self.scale * (cos * u - sin * v), self.centre[1] + self.scale * (sin * u + cos * v)]
    }
}

/// Colours of hair: black, brown, auburn, blond, grey.
pub const HAIR: [Light; 5] =
    [[0.012, 0.010, 0.009], [0.07, 0.036, 0.02], [0.2, 0.07, 0.03], [0.42, 0.28, 0.13], [0.36, 0.35, 0.34]];

fn tinted(colour: Light, by: f32, rng: &mut Rng) -> Light {
    let gain = 2f32.powf(by * rng.normal());
    colour.map(|v| (v * gain * rng.range(0.92, 1.08)).min(0.95))
}

impl Identity {
    /// Person `id`: the same two numbers, the same person.
    pub fn draw(seed: u64, id: u64) -> Identity {
        let rng = &mut Rng::new(seed, stream("identity"), id);
        // Between the lightest and the darkest of skins, in equal steps of what is reflected.
        let dark = rng.unit();
        let skin: Light =
            std::array::from_fn(|c| [0.72f32, 0.48, 0.38][c].powf(1.0 - dark) * [0.11f32, 0.06, 0.04][c].powf(dark));
        let skin = tinted(skin, 0.1, rng);
        let hair = if dark > 0.6 && rng.unit() < 0.8 { HAIR[0] } else { HAIR[rng.below(HAIR.len())] };
        let lips = [(skin[0] * 0.9 + 0.08).min(0.9), skin[1] * 0.55, skin[2] * 0.6];
        Identity {
            skin,
            width: rng.range(0.68, 0.84),
            jaw: rng.unit(),
            hair: tinted(hair, 0.25, rng),
            volume: rng.range(0.04, 0.3),
            length: rng.range(-1.2, 0.7),
            fringe: rng.range(0.0, 0.42),
            parting: rng.range(-1.0, 1.0),
            iris: [[0.05, 0.025, 0.012], [0.05, 0.09, 0.16], [0.04, 0.08, 0.04]][rng.below(3)],
            eyes: [rng.range(0.27, 0.34), rng.range(0.11, 0.15), rng.range(0.4, 0.62)],
            brows: [rng.range(0.02, 0.055), rng.range(0.15, 0.22)],
            nose: [rng.range(0.09, 0.16), rng.range(0.26, 0.36)],
            lips: tinted(lips, 0.15, rng),
            mouth: [rng.range(0.2, 0.31), rng.range(0.045, 0.09)],
            beard: if rng.unit() < 0.3 { rng.range(0.4, 0.9) } else { 0.0 },
            glasses: rng.unit() < 0.15,
        }
    }
}

impl Shot {
    pub fn draw(rng: &mut Rng) -> Shot {
        let (side, up) = (rng.range(-0.8, 0.8), rng.range(-0.8, 0.2));
        let length = (side * side + up * up + 0.36f32).sqrt();
        let mut colour = || {
            let level = 0.04 * 20f32.powf(rng.unit());
            [rng.range(0.5, 1.5), rng.range(0.5, 1.5), rng.range(0.5, 1.5)].map(|v| (v * level).min(0.9))
        };
        Shot {
            background: [colour(), colour()],
            clothes: colour(),
            pose: Pose {
                centre: [rng.range(0.34, 0.66), rng.range(0.4, 0.6)],
                scale: rng.range(0.18, 0.33),
                roll: rng.range(-0.2, 0.2),
            },
            yaw: rng.range(-1.0, 1.0),
            light: [side / length, up / length, 0.6 / length],
            ambient: rng.range(0.25, 0.6),
            smile: rng.range(-0.6, 1.0),
            open: (rng.range(-0.6, 1.0f32)).max(0.0),
            slope: rng.range(0.0, std::f32::consts::TAU),
            seed: rng.next_u64(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pose_maps_out_and_back() {
        let pose = Pose { centre: [0.45, 0.52], scale: 0.3, roll: 0.2 };
        let [u, v] = pose.inward(pose.outward([0.3, -0.7]));
        assert!((u - 0.3).abs() < 1e-6 && (v + 0.7).abs() < 1e-6);
    }

    #[test]
    fn people_differ_and_stay_themselves() {
        assert_eq!(Identity::draw(1, 2), Identity::draw(1, 2));
        assert_ne!(Identity::draw(1, 2), Identity::draw(1, 3));
        assert_ne!(Identity::draw(1, 2), Identity::draw(2, 2));
    }
}
