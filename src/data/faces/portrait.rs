//! A person, photographed: the picture, and what is needed to photograph the same again.

use super::face::{Identity, Light, Shot};
use super::paint::paint;
use crate::core::rng::Rng;
use crate::data::picture::{Mask, Picture};
use crate::data::procedural::{Camera, develop};

/// A genuine picture of a painted person.
pub struct Portrait {
    pub who: Identity,
    pub shot: Shot,
    side: usize,
    camera: Camera,
    sharpening: f32,
    picture: Picture,
}

impl Portrait {
    /// Photographs a person: `rng` draws pose, light, background, camera and noise. `side` × `side` pixels.
    pub fn take(who: &Identity, rng: &mut Rng, side: usize) -> Portrait {
        let shot = Shot::draw(rng);
        let scene = paint(who, &shot, side);
        let camera = Camera::draw(&scene, rng);
        let sharpening = rng.range(0.2, 1.0);
        let light = camera.shoot(&scene, side, || rng.normal());
        let picture = develop(&light, side, sharpening);
        Portrait { who: who.clone(), shot, side, camera, sharpening, picture }
    }

    pub fn picture(&self) -> &Picture {
        &self.picture
    }

    pub fn side(&self) -> usize {
        self.side
    }

    /// Another person or another expression under the same light and the same camera, without noise: what a network makes that has
    /// learnt faces. At `side` × `side` pixels, which may differ from the portrait's.
    pub(super) fn clean(&self, who: &Identity, shot: &Shot, side: usize) -> Picture {
        let scene: Vec<Light> = paint(who, shot, side);
        develop(&self.camera.shoot(&scene, side, || 0.0), side, self.sharpening)
    }

    /// Brows to chin, at most to the edge of the face: what swaps replace.
    pub(super) fn hull(&self) -> Mask {
        let (s, width) = (self.side as f32, self.who.width);
        Mask::from_fn(self.side, self.side, |x, y| {
            let [u, v] = self.shot.pose.inward([(x as f32 + 0.5) / s, (y as f32 + 0.5) / s]);
            let (a, b) = (u / (0.86 * width), (v - 0.2) / 0.66);
            a * a + b * b < 1.0
        })
    }
}
