//! Counter-based random numbers: (seed, stream, index) → value, with no state that has to be saved.
//!
//! Philox 4×32-10 (Salmon, Moraes, Dror, Shaw: "Parallel random numbers: as easy as 1, 2, 3", SC 2011). A training step, a
//! crop or a noise element asks for the number that belongs to it, so results depend neither on the order of work nor on the
//! number of threads, and a resumed run draws what the uninterrupted run would have drawn.
//!
//! Normals use only +, ×, ÷ and √ of IEEE arithmetic (no libm, no fused multiply-add), so that every device gives the same bits.

/// Ten rounds of Philox on one counter.
pub fn philox(key: [u32; 2], ctr: [u32; 4]) -> [u32; 4] {
    let (mut k0, mut k1) = (key[0], key[1]);
    let [mut c0, mut c1, mut c2, mut c3] = ctr;
    for _ in 0..10 {
        let p0 = 0xD251_1F53u64 * c0 as u64;
        let p1 = 0xCD9E_8D57u64 * c2 as u64;
        (c0, c1, c2, c3) = ((p1 >> 32) as u32 ^ c1 ^ k0, p1 as u32, (p0 >> 32) as u32 ^ c3 ^ k1, p0 as u32);
        k0 = k0.wrapping_add(0x9E37_79B9);
        k1 = k1.wrapping_add(0xBB67_AE85);
    }
    [c0, c1, c2, c3]
}

/// The 64-bit number of a named stream (FNV-1a), so that streams are written as words: `"noise"`, `"crop"`, `"bootstrap"`.
pub const fn stream(name: &str) -> u64 {
    let bytes = name.as_bytes();
    let mut h = 0xcbf2_9ce4_8422_2325u64;
    let mut i = 0;
    while i < bytes.len() {
        h = (h ^ bytes[i] as u64).wrapping_mul(0x0000_0100_0000_01b3);
        i += 1;
    }
    h
}

/// Philox key of a seed and a stream: splitmix64 finaliser over both.
pub fn key(seed: u64, stream: u64) -> [u32; 2] {
    let mut z = seed.wrapping_add(stream.rotate_left(32)).wrapping_add(0x9E37_79B9_7F4A_7C15) ^ stream;
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^= z >> 31;
    [z as u32, (z >> 32) as u32]
}

/// 24 random bits as a number in [0, 1).
#[inline(always)]
pub fn unit(x: u32) -> f32 {
    (x >> 8) as f32 * (1.0 / 16_777_216.0)
}

/// Two standard normals from two random words (Box–Muller).
#[inline(always)]
pub fn normal_pair(a: u32, b: u32) -> (f32, f32) {
    // (0, 1]: the logarithm is finite.
    let r = (-2.0 * ln_unit(((a >> 8) + 1) as f32 * (1.0 / 16_777_216.0))).sqrt();
    let (s, c) = sin_cos_turn(b);
    (r * c, r * s)
}

/// ln(x) for x in (0, 1], within 3e-7 absolute. Mantissa in [√½, √2), then the series of artanh.
#[inline(always)]
fn ln_unit(x: f32) -> f32 {
    let bits = x.to_bits();
    let e = bits.wrapping_sub(0x3f35_04f3) as i32 >> 23;
    let m = f32::from_bits(bits.wrapping_sub((e << 23) as u32));
    let t = (m - 1.0) / (m + 1.0);
    let t2 = t * t;
    let p = 2.0 + t2 * (0.666_666_7 + t2 * (0.4 + t2 * (0.285_714_3 + t2 * 0.222_222_2)));
    t * p + e as f32 * std::f32::consts::LN_2
}

/// sin and cos of the angle `b / 2³²` turns, within 3e-7. The quadrant is exact: two bits of `b`.
#[inline(always)]
fn sin_cos_turn(b: u32) -> (f32, f32) {
    // Centre the quadrant on its axis: angle in [-π/4, π/4).
    let q = b.wrapping_add(1 << 29) >> 30;
    let frac = b.wrapping_sub(q << 30) as i32 as f32 * (1.0 / 4_294_967_296.0);
    let x = frac * std::f32::consts::TAU;
    let x2 = x * x;
    let s = x * (1.0 + x2 * (-0.166_666_67 + x2 * (8.333_333e-3 + x2 * (-1.984_127e-4 + x2 * 2.755_732e-6))));
    let c = 1.0 + x2 * (-0.5 + x2 * (4.166_666_7e-2 + x2 * (-1.388_888_9e-3 + x2 * 2.480_158_7e-5)));
    match q {
        0 => (s, c),
        1 => (c, -s),
        2 => (-s, -c),
        _ => (-c, s),
    }
}

/// A sequence of draws that belongs to one thing: crop 17 of epoch 3, say.
///
/// ```
/// use lae_engine::core::rng::{Rng, stream};
/// let mut a = Rng::new(7, stream("crop"), 17);
/// let mut b = Rng::new(7, stream("crop"), 17);
/// assert_eq!(a.next_u32(), b.next_u32());
/// ```
#[derive(Clone, Debug)]
pub struct Rng {
    key: [u32; 2],
    index: u64,
    block: u64,
    words: [u32; 4],
    used: usize,
    spare: Option<f32>,
}

impl Rng {
    pub fn new(seed: u64, stream: u64, index: u64) -> Rng {
        Rng { key: key(seed, stream), index, block: 0, words: [0; 4], used: 4, spare: None }
    }
    pub fn next_u32(&mut self) -> u32 {
        if self.used == 4 {
            let (i, b) = (self.index, self.block);
            self.words = philox(self.key, [b as u32, (b >> 32) as u32, i as u32, (i >> 32) as u32]);
            self.block += 1;
            self.used = 0;
        }
        self.used += 1;
        self.words[self.used - 1]
    }
    pub fn next_u64(&mut self) -> u64 {
        self.next_u32() as u64 | (self.next_u32() as u64) << 32
    }
    /// Uniform in [0, 1), 24 bits.
    pub fn unit(&mut self) -> f32 {
        unit(self.next_u32())
    }
    /// Uniform in [lo, hi).
    pub fn range(&mut self, lo: f32, hi: f32) -> f32 {
        lo + (hi - lo) * self.unit()
    }
    /// Uniform integer in [0, n), n > 0, without bias to notice: 64 random bits times n.
    pub fn below(&mut self, n: usize) -> usize {
        assert!(n > 0, "below(0) has no value to return");
        ((self.next_u64() as u128 * n as u128) >> 64) as usize
    }
    /// Standard normal.
    pub fn normal(&mut self) -> f32 {
        if let Some(x) = self.spare.take() {
            return x;
        }
        let (x, y) = normal_pair(self.next_u32(), self.next_u32());
        self.spare = Some(y);
        x
    }
    /// Fisher–Yates.
    pub fn shuffle<T>(&mut self, xs: &mut [T]) {
        for i in (1..xs.len()).rev() {
            xs.swap(i, self.below(i + 1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Known answers of the Random123 distribution (kat_vectors, philox4x32 10).
    #[test]
    fn philox_known_answers() {
        assert_eq!(philox([0, 0], [0; 4]), [0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8]);
        assert_eq!(philox([!0, !0], [!0; 4]), [0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd]);
        assert_eq!(
            philox([0xa4093822, 0x299f31d0], [0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344]),
            [0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1]
        );
    }

    #[test]
    fn logarithm_and_circle_are_close_to_libm() {
        for i in 1..=100_000u32 {
            let x = i as f32 / 100_000.0;
            assert!((ln_unit(x) as f64 - (x as f64).ln()).abs() < 1e-6 * (1.0 + (x as f64).ln().abs()), "ln {x}");
            let b = i.wrapping_mul(0x9E37_79B9);
            let (s, c) = sin_cos_turn(b);
            let a = b as f64 / 4_294_967_296.0 * std::f64::consts::TAU;
            assert!((s as f64 - a.sin()).abs() < 1e-6 && (c as f64 - a.cos()).abs() < 1e-6, "angle {a}");
        }
    }

    #[test]
    fn moments_of_the_normal() {
        let mut r = Rng::new(1, stream("test"), 0);
        let n = 200_000;
        let (mut m1, mut m2, mut m4) = (0.0, 0.0, 0.0);
        for _ in 0..n {
            let x = r.normal() as f64;
            m1 += x;
            m2 += x * x;
            m4 += x * x * x * x;
        }
        let n = n as f64;
        assert!((m1 / n).abs() < 0.01 && (m2 / n - 1.0).abs() < 0.02 && (m4 / n - 3.0).abs() < 0.15);
    }

    #[test]
    fn below_covers_its_range_evenly() {
        let mut r = Rng::new(2, stream("test"), 0);
        let mut hits = [0usize; 7];
        (0..70_000).for_each(|_| hits[r.below(7)] += 1);
        assert!(hits.iter().all(|&h| (9_500..10_500).contains(&h)), "{hits:?}");
    }
}
