//! How pixels × channels are cut into blocks where a thread keeps to its channels (kernels/lae.cuh, "Tiles of channels").
//!
//! A thread owns V neighbouring channels, so that what belongs to a channel is loaded once, and walks over the pixels of its block,
//! `block[1]` apart. Neighbouring threads own neighbouring channels: a warp reads memory without gaps.

/// A launch over `pixels` × `channels`. Everything follows from these two numbers, and so does the order of every sum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tiles {
    /// Threads: (groups of V channels, pixels side by side), at most 256 together.
    pub block: [usize; 2],
    /// Blocks along the channels.
    pub across: usize,
    /// Pixels per block.
    pub split: usize,
    /// Blocks along the pixels.
    pub splits: usize,
}

impl Tiles {
    /// `width` groups of channels to a block at most.
    pub fn new(pixels: usize, channels: usize, width: usize) -> Tiles {
        let groups = channels / vector(channels);
        let x = groups.min(width);
        let (y, across) = (256 / x, groups.div_ceil(x));
        // Enough pixels to pay for a block's constants and partial sums, and no more than about a thousand blocks.
        let split = (4 * y).max(64).max(pixels.div_ceil(1024usize.div_ceil(across)));
        Tiles { block: [x, y], across, split, splits: pixels.div_ceil(split) }
    }
}

/// Channels to a thread: V in the kernels.
pub fn vector(channels: usize) -> usize {
    if channels.is_multiple_of(4) { 4 } else { 1 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiles_cover_every_pixel_and_channel() {
        for c in [1, 2, 3, 4, 5, 17, 31, 32, 33, 64, 96, 100, 128, 132, 257, 512, 2048] {
            for pixels in [1, 2, 63, 64, 65, 1023, 1024, 4096, 8192, 100_000, 2_097_152, 50_000_000] {
                let t = Tiles::new(pixels, c, 32);
                let v = vector(c);
                assert!(t.block[0] * t.block[1] <= 256 && t.block[0] * t.block[1] > 128, "{t:?}");
                assert!(t.across * t.block[0] * v >= c && (t.across - 1) * t.block[0] * v < c, "{t:?} {c}");
                assert!(t.splits * t.split >= pixels && (t.splits - 1) * t.split < pixels, "{t:?} {pixels}");
                assert!(t.splits * t.across <= 1024 + t.across, "{t:?}");
            }
        }
    }
}
