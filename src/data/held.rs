//! What is kept in memory of a photograph: the whole of it, shrunk to what crops need, and a part at its own scale.
//!
//! A photograph of twelve megapixels takes 36 MB and a tenth of a second to decode; neither may be spent on every crop. So that
//! crops at the photograph's own scale come from memory, a large photograph is kept as one tile, at a random place, which is
//! drawn anew after some visits. What is kept depends on the photographs and the keys alone, never on the size of the cache.

use super::picture::Picture;
use crate::core::rng::{Rng, stream};

/// Pixels of all photographs of a collection together that are kept at their own scale, and shrunk: 128 and 64 MiB.
const NATIVE: usize = (128 << 20) / 3;
const SHRUNK: usize = (64 << 20) / 3;

/// What is kept of each photograph of a collection.
#[derive(Clone, Debug)]
pub struct Keep {
    seed: u64,
    /// Short side of what is shrunk, at most, pixels.
    short: usize,
    /// Pixels of a tile at the photograph's own scale. None where no crop is taken at that scale.
    tile: Option<usize>,
    /// Pixels of the smallest crop.
    crop: usize,
}

impl Keep {
    /// For crops that are resampled from windows of at most `short` pixels a side.
    pub fn shrunk(short: usize) -> Keep {
        Keep { seed: 0, short, tile: None, crop: 1 }
    }

    /// For `count` photographs with crops at their own scale, too, of `crop` to `largest` pixels a side. `seed` draws the tiles.
    pub fn native(seed: u64, short: usize, (crop, largest): (usize, usize), count: usize) -> Keep {
        let count = count.max(1);
        // Two to three is the usual aspect.
        let fits = ((SHRUNK / count) as f64 / 1.5).sqrt() as usize;
        Keep {
            seed,
            short: short.min(fits).max(largest),
            tile: Some((NATIVE / count).max(largest * largest)),
            crop: (crop * crop).max(1),
        }
    }

    /// Bytes that a photograph of that size takes.
    pub fn bytes(&self, (w, h): (usize, usize)) -> usize {
        let (pixels, short) = (w * h, w.min(h).max(1));
        let shrunk =
            if short > self.short { (pixels as f64 * (self.short as f64 / short as f64).powi(2)) as usize } else { pixels };
        3 * match self.tile {
            None => shrunk,
            Some(_) if short <= self.short => pixels,
            Some(tile) => shrunk + pixels.min(tile),
        }
    }

    /// Whether only a part of a photograph of that size is kept at its own scale.
    pub fn tiled(&self, (w, h): (usize, usize)) -> bool {
        w.min(h) > self.short && self.tile.is_some_and(|tile| w * h > tile)
    }

    /// Crops that are taken from a tile before another takes its place: as many as windows lie side by side in it, 8 to 128.
    pub fn visits(&self) -> usize {
        self.tile.map_or(1, |tile| (tile / self.crop).clamp(8, 128))
    }

    /// Cuts photograph `id` down to what is kept. `generation` numbers its tiles.
    pub fn cut(&self, whole: Picture, id: u32, generation: u32) -> Held {
        let (w, h, short) = (whole.w, whole.h, whole.short_side());
        let scale = self.short as f64 / short as f64;
        if scale >= 1.0 {
            return Held { shrunk: whole, native: None };
        }
        let smaller = |n: usize| (n as f64 * scale).round() as usize;
        let shrunk = whole.resize_to(smaller(w), smaller(h));
        let native = self.tile.map(|tile| {
            if w * h <= tile {
                return whole;
            }
            // Square, or as wide as a strip of a photograph that is narrower than that.
            let side = (tile as f64).sqrt() as usize;
            let (tw, th) = (side.min(w).max(tile / h), side.min(h).max(tile / w));
            let (tw, th) = (tw.min(w), th.min(h));
            let mut rng = Rng::new(self.seed, stream("tile"), (id as u64) << 32 | generation as u64);
            whole.crop(rng.below(w - tw + 1), rng.below(h - th + 1), tw, th)
        });
        Held { shrunk, native }
    }
}

/// A photograph in memory.
pub struct Held {
    /// The whole photograph, shrunk where it is larger than crops need.
    shrunk: Picture,
    /// All or a part of it at its own scale. None: nothing was shrunk, or nothing is wanted at that scale.
    native: Option<Picture>,
}

impl Held {
    /// Not cut at all.
    pub fn whole(picture: Picture) -> Held {
        Held { shrunk: picture, native: None }
    }

    /// The photograph to take a crop from: at its own scale, or the whole of it.
    pub fn at(&self, own_scale: bool) -> &Picture {
        self.native.as_ref().filter(|_| own_scale).unwrap_or(&self.shrunk)
    }

    /// Memory in bytes.
    pub fn bytes(&self) -> usize {
        self.shrunk.rgb.len() + self.native.as_ref().map_or(0, |p| p.rgb.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A pixel tells where it was.
    fn marked(w: usize, h: usize) -> Picture {
        Picture::from_fn(w, h, |x, y| [x as u8, y as u8, (x / 256 + 16 * (y / 256)) as u8])
    }

    #[test]
    fn tiles_are_parts_of_the_photograph_at_its_own_scale() {
        let keep = Keep { seed: 5, short: 100, tile: Some(150 * 150), crop: 32 * 32 };
        let whole = marked(700, 500);
        let mut places = std::collections::HashSet::new();
        for generation in 0..20 {
            let held = keep.cut(whole.clone(), 3, generation);
            let tile = held.at(true);
            assert_eq!((tile.w, tile.h, held.at(false).short_side()), (150, 150, 100));
            let [x, y, far] = tile.at(0, 0).map(usize::from);
            let (x, y) = (x + far % 16 * 256, y + far / 16 * 256);
            assert_eq!(*tile, whole.crop(x, y, 150, 150));
            places.insert((x, y));
            assert_eq!(tile, keep.cut(whole.clone(), 3, generation).at(true), "the same generation is the same tile");
            assert!(held.bytes().abs_diff(keep.bytes((700, 500))) < 1000);
        }
        assert!(places.len() > 15, "{} places", places.len());
        assert!(keep.tiled((700, 500)) && !keep.tiled((140, 150)) && !keep.tiled((90, 7000)));
        assert_eq!((keep.visits(), Keep { tile: Some(1 << 30), ..keep.clone() }.visits()), (21, 128));
    }

    #[test]
    fn small_photographs_and_strips_are_kept_as_they_are() {
        let keep = Keep { seed: 5, short: 100, tile: Some(150 * 150), crop: 32 * 32 };
        for (w, h) in [(90, 80), (140, 150), (1, 1), (3000, 40)] {
            let held = keep.cut(marked(w, h), 0, 0);
            assert_eq!(*held.at(true), marked(w, h));
            assert!(held.bytes().abs_diff(keep.bytes((w, h))) < 1000);
        }
        // A strip that is higher than what crops need: a tile of its full height.
        let strip = keep.cut(marked(3000, 120), 0, 0);
        assert_eq!((strip.at(true).w, strip.at(true).h), (187, 120));
        // Without crops at the own scale, nothing but the shrunk photograph is kept.
        let only = Keep::shrunk(100).cut(marked(700, 500), 0, 0);
        assert_eq!((only.at(true), only.at(true).h), (only.at(false), 100));
    }

    #[test]
    fn few_photographs_are_kept_whole_and_many_in_part() {
        let few = Keep::native(1, 768, (64, 192), 22);
        assert!(!few.tiled((1500, 1300)) && few.tiled((4000, 3000)));
        for count in [1, 22, 300, 5000] {
            let keep = Keep::native(1, 768, (64, 192), count);
            let bytes = keep.bytes((4000, 3000));
            assert!(bytes * count <= (192 << 20) + count * 2 * 3 * 192 * 288, "{count}: {bytes} bytes each");
            let held = keep.cut(Picture::new(1600, 1200), 0, 0);
            assert!(held.at(true).short_side() >= 192 && held.at(false).short_side() >= 192);
        }
    }
}
