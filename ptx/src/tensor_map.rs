//! Tensor maps (`CUtensorMap`): what a bulk copy of a tile knows of the tensor that it is cut from.
//!
//! The driver fills 128 opaque bytes; what they mean is not public. The emulator has an encoding of its own, with the same rules
//! (`cuTensorMapEncodeTiled`, `cuTensorMapEncodeIm2col` in the CUDA driver's manual), so that a map which the driver would refuse
//! is refused here, too.

/// The type of a tensor's elements.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ElementType {
    U8,
    U16,
    U32,
    I32,
    U64,
    I64,
    F16,
    F32,
    F64,
    Bf16,
    /// f32 whose subnormal numbers become zero.
    F32Ftz,
    /// f32 in memory, rounded to tf32 (to nearest, ties to even) on the way to shared memory.
    Tf32,
    Tf32Ftz,
}

use super::num::half::TF32_CUT;
use ElementType::*;

const TYPES: [ElementType; 13] = [U8, U16, U32, I32, U64, I64, F16, F32, F64, Bf16, F32Ftz, Tf32, Tf32Ftz];

impl ElementType {
    /// The type of this number, as the driver numbers them (`CUtensorMapDataType`).
    pub fn numbered(number: u32) -> Option<ElementType> {
        TYPES.get(number as usize).copied()
    }
    pub fn bytes(self) -> u32 {
        match self {
            U8 => 1,
            U16 | F16 | Bf16 => 2,
            U64 | I64 | F64 => 8,
            _ => 4,
        }
    }
    fn float(self) -> bool {
        matches!(self, F16 | F32 | F64 | Bf16 | F32Ftz | Tf32 | Tf32Ftz)
    }
}

/// How the 16-byte chunks of a row in shared memory are exchanged, so that a column of chunks lies in all banks: bits of the
/// address from 7 on are added (exclusive or) to those from 4 on.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Swizzle {
    #[default]
    None,
    /// Rows of 32 bytes, one bit.
    B32,
    /// Rows of 64 bytes, two bits.
    B64,
    /// Rows of 128 bytes, three bits.
    B128,
}

const SWIZZLES: [Swizzle; 4] = [Swizzle::None, Swizzle::B32, Swizzle::B64, Swizzle::B128];

impl Swizzle {
    /// Bits that are exchanged.
    fn bits(self) -> u32 {
        SWIZZLES.iter().position(|s| *s == self).expect("all are listed") as u32
    }

    /// Where the byte at `address` in shared memory lies. The pattern repeats every 128 bytes times the number of rows that
    /// differ, counted from address 0.
    #[inline(always)]
    pub fn apply(self, address: u32) -> u32 {
        address ^ (address >> 7 & ((1 << self.bits()) - 1)) << 4
    }

    /// Bytes of a row: the widest box that it takes; any width without.
    pub fn span(self) -> Option<u32> {
        (self != Swizzle::None).then(|| 16 << self.bits())
    }
}

/// What a copy takes out of the tensor.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Cut {
    /// A box of so many elements along each dimension.
    Tiled(Vec<u32>),
    /// Pixels in the order of a convolution's results, each with some of its channels. The tensor is (channel, width, height,
    /// picture), or one dimension fewer or more between the first and the last.
    Im2col {
        /// Where the first pixel of a window may lie, relative to 0: for a convolution −padding.
        lower: Vec<i32>,
        /// Where the last may lie, relative to the last pixel: for a convolution padding − (filter size − 1) · dilation.
        upper: Vec<i32>,
        channels: u32,
        pixels: u32,
    },
}

/// A tensor in global memory, and how tiles of it lie in shared memory.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TensorMap {
    pub element: ElementType,
    /// A multiple of 16.
    pub address: u64,
    /// Elements along each dimension, the contiguous one first; 1 to 5 of them.
    pub dims: Vec<u64>,
    /// Bytes from one element to the next along the second dimension and those after it: multiples of 16.
    pub strides: Vec<u64>,
    pub cut: Cut,
    /// Along each dimension but the first, every so-many-th element is taken; 1 to 8. That of the first is ignored.
    pub steps: Vec<u32>,
    pub swizzle: Swizzle,
    /// What lies outside of the tensor is NaN, not zero.
    pub nan: bool,
}

/// A row of a box: contiguous in global memory, and in shared memory but for the swizzle. Of [`TensorMap::row_bytes`], `len` bytes
/// from `lead` on lie inside the tensor, and are found at the address `from`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Row {
    pub from: u64,
    pub lead: u32,
    pub len: u32,
}

/// Bytes of a map.
pub const BYTES: usize = 128;
const MAGIC: u32 = u32::from_le_bytes(*b"tmap");

impl TensorMap {
    /// Of a tensor whose elements follow each other without gaps; every one is taken, and what lies outside is zero.
    pub fn dense(element: ElementType, address: u64, dims: Vec<u64>, cut: Cut, swizzle: Swizzle) -> TensorMap {
        let mut stride = element.bytes() as u64;
        let before_last = dims.iter().take(dims.len().saturating_sub(1));
        let strides = before_last.map(|&d| (stride = stride.saturating_mul(d), stride).1).collect();
        let steps = vec![1; dims.len()];
        TensorMap { element, address, dims, strides, cut, steps, swizzle, nan: false }
    }

    /// The shared memory that one copy fills, in bytes; what `expect_tx` must announce for it.
    pub fn box_bytes(&self) -> u64 {
        let count: u64 = match &self.cut {
            Cut::Tiled(sides) => sides[0] as u64 * self.counts(sides).map(u64::from).product::<u64>(),
            Cut::Im2col { channels, pixels, .. } => *channels as u64 * *pixels as u64,
        };
        count * self.element.bytes() as u64
    }

    /// Elements of a box along each dimension but the first.
    fn counts<'a>(&'a self, sides: &'a [u32]) -> impl Iterator<Item = u32> + 'a {
        sides.iter().zip(&self.steps).skip(1).map(|(&n, &s)| n.div_ceil(s.max(1)))
    }

    /// Bytes of a row of the box.
    pub(crate) fn row_bytes(&self) -> u32 {
        let count = match &self.cut {
            Cut::Tiled(sides) => sides[0],
            Cut::Im2col { channels, .. } => *channels,
        };
        count * self.element.bytes()
    }

    /// Bytes of memory from the first element to behind the last.
    pub fn extent(&self) -> u64 {
        let far =
            self.dims.iter().skip(1).zip(&self.strides).fold(0u64, |far, (&d, &s)| far.saturating_add((d - 1).saturating_mul(s)));
        far.saturating_add(self.dims[0] * self.element.bytes() as u64)
    }

    /// The rows of the box at `at`, one coordinate for each dimension, in the order in which they lie in shared memory. `filter`: of
    /// a map for im2col, how far each pixel lies from where the window begins, one offset for each corner.
    pub(crate) fn rows(&self, at: &[i32], filter: &[u32]) -> Result<Vec<Row>, String> {
        let b = self.element.bytes() as i64;
        // Of the row: elements that lie inside the tensor along its first dimension.
        let (first, width) = (at[0] as i64, (self.row_bytes() as i64) / b);
        let (lo, hi) = ((-first).clamp(0, width), (self.dims[0] as i64 - first).clamp(0, width));
        let row = |place: &[i64]| {
            let inside = place.iter().zip(&self.dims[1..]).all(|(&x, &d)| (0..d as i64).contains(&x));
            let far = place.iter().zip(&self.strides).fold(0i64, |far, (&x, &s)| far.wrapping_add(x.wrapping_mul(s as i64)));
            let len = if inside { (hi - lo).max(0) } else { 0 };
            let from = self.address.wrapping_add_signed(far.wrapping_add((first + lo) * b));
            Row { from, lead: (lo * b) as u32, len: (len * b) as u32 }
        };
        let start: Vec<i64> = at[1..].iter().map(|&x| x as i64).collect();
        match &self.cut {
            Cut::Tiled(sides) => {
                let counts: Vec<u32> = self.counts(sides).collect();
                let total: u32 = counts.iter().product();
                let place = |mut i: u32| -> Vec<i64> {
                    let along = |k: usize| {
                        let n = i % counts[k];
                        i /= counts[k];
                        start[k] + n as i64 * self.steps[k + 1] as i64
                    };
                    (0..counts.len()).map(along).collect()
                };
                Ok((0..total).map(|i| row(&place(i))).collect())
            }
            Cut::Im2col { lower, upper, pixels, .. } => {
                let last = |k: usize| self.dims[k + 1] as i64 - 1 + upper[k] as i64;
                for (k, &x) in start.iter().enumerate().take(lower.len()) {
                    if !(lower[k] as i64..=last(k)).contains(&x) {
                        let (lo, hi) = (lower[k], last(k));
                        return Err(format!("coordinate {} is {x}; the windows of this map begin at {lo} to {hi}", k + 1));
                    }
                }
                let mut place = start;
                let mut list = Vec::with_capacity(*pixels as usize);
                for _ in 0..*pixels {
                    let moved: Vec<i64> =
                        place.iter().enumerate().map(|(k, &x)| x + filter.get(k).map_or(0, |&f| f as i64)).collect();
                    list.push(row(&moved));
                    // The next window: along the width, then the height, then the next picture.
                    for k in 0..place.len() {
                        place[k] += self.steps[k + 1] as i64;
                        if k == lower.len() || place[k] <= last(k) {
                            break;
                        }
                        place[k] = lower[k] as i64;
                    }
                }
                Ok(list)
            }
        }
    }

    /// Changes a row on its way from global to shared memory, as the type of the elements says.
    pub(crate) fn convert(&self, row: &mut [u8]) {
        let (round, flush) = match self.element {
            Tf32 => (true, false),
            Tf32Ftz => (true, true),
            F32Ftz => (false, true),
            _ => return,
        };
        for word in row.as_chunks_mut::<4>().0 {
            let mut x = u32::from_le_bytes(*word);
            if flush && x & 0x7f80_0000 == 0 {
                x &= 1 << 31;
            }
            if round && x & 0x7f80_0000 != 0x7f80_0000 {
                x = (x + 0xfff + (x >> 13 & 1)) & !TF32_CUT;
            }
            *word = x.to_le_bytes();
        }
    }

    /// What stands for `len` bytes outside of the tensor.
    pub(crate) fn outside(&self, len: usize) -> Vec<u8> {
        if !self.nan {
            return vec![0; len];
        }
        let pattern: &[u8] = match self.element.bytes() {
            2 => &[0xff, 0x7f],
            4 => &[0xff, 0xff, 0xff, 0x7f],
            _ => &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f],
        };
        pattern.iter().copied().cycle().take(len).collect()
    }

    /// What the driver would refuse.
    pub fn check(&self) -> Result<(), String> {
        let (rank, bytes) = (self.dims.len(), self.element.bytes() as u64);
        if !(1..=5).contains(&rank) {
            return Err(format!("a tensor of {rank} dimensions; it must have 1 to 5"));
        }
        if self.strides.len() != rank - 1 || self.steps.len() != rank {
            let (s, t) = (self.strides.len(), self.steps.len());
            return Err(format!("{rank} dimensions, {s} strides and {t} steps; it must be one stride fewer, and as many steps"));
        }
        if !self.address.is_multiple_of(16) {
            return Err(format!("the tensor's address {:#x} is no multiple of 16", self.address));
        }
        for (i, &d) in self.dims.iter().enumerate() {
            if !(1..=1 << 32).contains(&d) {
                return Err(format!("dimension {i} has {d} elements; it must have 1 to 2^32"));
            }
        }
        for (i, &s) in self.strides.iter().enumerate() {
            if !s.is_multiple_of(16) || s >= 1 << 40 {
                return Err(format!("stride {i} is {s} bytes; it must be a multiple of 16 below 2^40"));
            }
        }
        for (i, &s) in self.steps.iter().enumerate() {
            if !(1..=8).contains(&s) {
                return Err(format!("step {i} is {s}; it must be 1 to 8"));
            }
        }
        let row = match &self.cut {
            Cut::Tiled(sides) => {
                if sides.len() != rank {
                    return Err(format!("a box of {} sides for {rank} dimensions", sides.len()));
                }
                if let Some((i, n)) = sides.iter().enumerate().find(|(_, n)| !(1..=256).contains(*n)) {
                    return Err(format!("side {i} of the box has {n} elements; it must have 1 to 256"));
                }
                sides[0] as u64 * bytes
            }
            Cut::Im2col { lower, upper, channels, pixels } => {
                if !(3..=5).contains(&rank) || lower.len() != rank - 2 || upper.len() != rank - 2 {
                    let (l, u) = (lower.len(), upper.len());
                    return Err(format!(
                        "im2col of {rank} dimensions with {l} and {u} corners; 3 to 5 dimensions have two fewer"
                    ));
                }
                let most = [1 << 15, 1 << 7, 1 << 4][rank - 3];
                if let Some(c) = lower.iter().chain(upper).find(|c| !(-most..most).contains(*c)) {
                    return Err(format!("a corner of {c}; with {rank} dimensions it must be {} to {}", -most, most - 1));
                }
                if !(1..=256).contains(channels) || !(1..=1024).contains(pixels) {
                    return Err(format!("{channels} channels of {pixels} pixels; it must be 1 to 256 of 1 to 1024"));
                }
                *channels as u64 * bytes
            }
        };
        if row % 16 != 0 {
            return Err(format!("a row of the box has {row} bytes; it must be a multiple of 16"));
        }
        if let Some(span) = self.swizzle.span()
            && row > span as u64
        {
            return Err(format!("a row of the box has {row} bytes; with {:?} it must have at most {span}", self.swizzle));
        }
        if self.nan && !self.element.float() {
            return Err(format!("{:?} has no NaN to fill with", self.element));
        }
        Ok(())
    }

    /// The 128 bytes that a kernel gets. An error says what the driver would refuse.
    pub fn encode(&self) -> Result<[u8; BYTES], String> {
        self.check()?;
        let mut out = [0; BYTES];
        let mut at = 0;
        let mut put = |bytes: &[u8]| {
            out[at..at + bytes.len()].copy_from_slice(bytes);
            at += bytes.len();
        };
        let rank = self.dims.len();
        let kind = TYPES.iter().position(|t| *t == self.element).expect("all types are listed") as u8;
        put(&MAGIC.to_le_bytes());
        put(&[kind, rank as u8, self.swizzle.bits() as u8, self.nan as u8 | (matches!(self.cut, Cut::Im2col { .. }) as u8) << 1]);
        put(&self.address.to_le_bytes());
        // 2³² is 0.
        self.dims.iter().for_each(|&d| put(&(d as u32).to_le_bytes()));
        self.strides.iter().for_each(|&s| put(&s.to_le_bytes()));
        self.steps.iter().for_each(|&s| put(&[s as u8]));
        match &self.cut {
            Cut::Tiled(sides) => sides.iter().for_each(|&n| put(&(n as u16).to_le_bytes())),
            Cut::Im2col { lower, upper, channels, pixels } => {
                put(&(*channels as u16).to_le_bytes());
                put(&(*pixels as u16).to_le_bytes());
                lower.iter().chain(upper).for_each(|&c| put(&(c as i16).to_le_bytes()));
            }
        }
        Ok(out)
    }

    /// The map that [`TensorMap::encode`] has made these bytes of; none if it has not.
    pub fn decode(bytes: &[u8; BYTES]) -> Option<TensorMap> {
        let mut at = 0;
        let mut take = |n: usize| -> u64 {
            let mut b = [0; 8];
            b[..n].copy_from_slice(&bytes[at..at + n]);
            at += n;
            u64::from_le_bytes(b)
        };
        if take(4) != MAGIC as u64 {
            return None;
        }
        let element = *TYPES.get(take(1) as usize)?;
        let rank = take(1) as usize;
        let swizzle = *SWIZZLES.get(take(1) as usize)?;
        let flags = take(1);
        if !(1..=5).contains(&rank) {
            return None;
        }
        let address = take(8);
        let dims = (0..rank).map(|_| Some(take(4)).filter(|&d| d != 0).unwrap_or(1 << 32)).collect();
        let strides = (1..rank).map(|_| take(8)).collect();
        let steps = (0..rank).map(|_| take(1) as u32).collect();
        let cut = if flags & 2 == 0 {
            Cut::Tiled((0..rank).map(|_| take(2) as u32).collect())
        } else {
            let (channels, pixels) = (take(2) as u32, take(2) as u32);
            let mut corners = || (2..rank).map(|_| take(2) as u16 as i16 as i32).collect();
            Cut::Im2col { lower: corners(), upper: corners(), channels, pixels }
        };
        let map = TensorMap { element, address, dims, strides, cut, steps, swizzle, nan: flags & 1 != 0 };
        map.check().ok().map(|()| map)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tiled() -> TensorMap {
        TensorMap {
            element: Tf32,
            address: 0x1000,
            dims: vec![64, 9, 1 << 32, 3, 2],
            strides: vec![256, 4096, 1 << 20, 1 << 39],
            cut: Cut::Tiled(vec![32, 4, 1, 1, 2]),
            steps: vec![1, 2, 1, 1, 8],
            swizzle: Swizzle::B128,
            nan: true,
        }
    }

    fn im2col() -> TensorMap {
        TensorMap {
            element: Bf16,
            address: 1 << 40,
            dims: vec![64, 30, 20, 7],
            strides: vec![128, 3840, 76800],
            cut: Cut::Im2col { lower: vec![-1, -2], upper: vec![-1, 0], channels: 64, pixels: 128 },
            steps: vec![1, 2, 2, 1],
            swizzle: Swizzle::B128,
            nan: false,
        }
    }

    #[test]
    fn a_map_comes_back() {
        for map in
            [tiled(), im2col(), TensorMap { dims: vec![4], strides: vec![], steps: vec![1], cut: Cut::Tiled(vec![4]), ..tiled() }]
        {
            let bytes = map.encode().unwrap();
            assert_eq!(TensorMap::decode(&bytes), Some(map));
        }
        assert_eq!(tiled().box_bytes(), 32 * 2 * 4);
        assert_eq!(im2col().box_bytes(), 64 * 128 * 2);
        // More than 32 bits count.
        let sides = Cut::Tiled(vec![256; 5]);
        let large = TensorMap { swizzle: Swizzle::None, steps: vec![1; 5], cut: sides, ..tiled() };
        assert_eq!((large.check(), large.box_bytes()), (Ok(()), 4 << 40));
        let plain = TensorMap::dense(F32, 4096, vec![8, 5, 3], Cut::Tiled(vec![4, 1, 1]), Swizzle::None);
        assert_eq!((plain.strides, plain.steps), (vec![32, 160], vec![1; 3]));
        assert_eq!(im2col().extent(), 6 * 76800 + 19 * 3840 + 29 * 128 + 128);
        assert_eq!(TensorMap::decode(&[0; 128]), None);
    }

    /// The windows of a convolution, one after the other, are what im2col gives.
    #[test]
    fn im2col_is_a_convolutions_order() {
        let (w, h, n) = (7i64, 5i64, 3i64);
        for (filter, pad, stride, dilation) in [(3, 1, 1, 1), (4, 1, 2, 1), (3, 2, 1, 2), (1, 0, 2, 1)] {
            let corner = pad - (filter - 1) * dilation;
            let map = TensorMap {
                element: F32,
                address: 4096,
                dims: vec![8, w as u64, h as u64, n as u64],
                strides: vec![32, 32 * w as u64, 32 * (w * h) as u64],
                cut: Cut::Im2col { lower: vec![-pad as i32; 2], upper: vec![corner as i32; 2], channels: 4, pixels: 16 },
                steps: vec![1, stride as u32, stride as u32, 1],
                swizzle: Swizzle::None,
                nan: false,
            };
            map.check().unwrap();
            let out = |side: i64| (side + 2 * pad - (filter - 1) * dilation - 1) / stride + 1;
            let (q, p) = (out(w), out(h));
            for first in [0, 5, q * p * n - 3] {
                for (r, s) in [(0, 0), (filter - 1, 0), (0, filter - 1)] {
                    let at = |i: i64| (i % q * stride - pad, i / q % p * stride - pad, i / q / p);
                    let (x, y, z) = at(first);
                    let rows =
                        map.rows(&[4, x as i32, y as i32, z as i32], &[(s * dilation) as u32, (r * dilation) as u32]).unwrap();
                    for (i, row) in rows.iter().enumerate() {
                        let (x, y, z) = at(first + i as i64);
                        let (x, y) = (x + s * dilation, y + r * dilation);
                        let inside = (0..w).contains(&x) && (0..h).contains(&y) && z < n;
                        assert_eq!(row.len, if inside { 16 } else { 0 }, "{row:?}");
                        if inside {
                            assert_eq!(row.from, (4096 + 32 * ((z * h + y) * w + x) + 16) as u64);
                        }
                    }
                }
            }
            assert!(map.rows(&[0, -3, 0, 0], &[0, 0]).unwrap_err().contains("coordinate 1 is -3"));
        }
    }

    #[test]
    fn boxes_and_what_lies_outside() {
        let map = TensorMap {
            element: Tf32,
            address: 1 << 20,
            dims: vec![6, 3],
            strides: vec![32],
            cut: Cut::Tiled(vec![4, 4]),
            steps: vec![1, 2],
            swizzle: Swizzle::None,
            nan: true,
        };
        assert_eq!(map.box_bytes(), 32);
        let rows = map.rows(&[-1, -2], &[]).unwrap();
        // Rows -2 and 0; of the second, columns 0 to 2 behind one that is outside.
        assert_eq!(rows[0].len, 0);
        assert_eq!(rows[1], Row { from: 1 << 20, lead: 4, len: 12 });
        assert_eq!(map.rows(&[4, 2], &[]).unwrap()[0], Row { from: (1 << 20) + 64 + 16, lead: 0, len: 8 });
        let mut row: Vec<u8> =
            [0x3f80_1000u32, 0x3f80_3000, 0x3f80_1001, 0x7f80_0001].iter().flat_map(|x| x.to_le_bytes()).collect();
        map.convert(&mut row);
        let words: Vec<u32> = row.chunks(4).map(|c| u32::from_le_bytes(c.try_into().unwrap())).collect();
        // To nearest, ties to even; NaN stays.
        assert_eq!(words, [0x3f80_0000, 0x3f80_4000, 0x3f80_2000, 0x7f80_0001]);
        assert!(f32::from_le_bytes(map.outside(4).try_into().unwrap()).is_nan());
    }

    #[test]
    fn what_the_driver_refuses() {
        let refused = |f: &dyn Fn(&mut TensorMap), part: &str| {
            for mut map in [tiled(), im2col()] {
                f(&mut map);
                let e = map.encode().expect_err(part);
                assert!(e.contains(part), "{e}");
            }
        };
        refused(&|m| m.address = 8, "multiple of 16");
        refused(&|m| m.steps.push(1), "as many steps");
        refused(&|m| m.dims[1] = 0, "dimension 1 has 0");
        refused(&|m| m.strides[0] = 264, "stride 0 is 264 bytes; it must be a multiple of 16");
        refused(&|m| m.steps[1] = 9, "step 1 is 9");
        refused(&|m| m.swizzle = Swizzle::B64, "at most 64");
        let refused = |map: TensorMap, part: &str| {
            let e = map.encode().expect_err(part);
            assert!(e.contains(part), "{e}");
        };
        refused(TensorMap { cut: Cut::Tiled(vec![32, 257, 1, 1, 1]), ..tiled() }, "side 1 of the box has 257");
        refused(TensorMap { cut: Cut::Tiled(vec![3, 1, 1, 1, 1]), ..tiled() }, "12 bytes");
        refused(TensorMap { element: I32, ..tiled() }, "NaN");
        let corner = |lower: i32| Cut::Im2col { lower: vec![lower, 0], upper: vec![0, 0], channels: 64, pixels: 8 };
        refused(TensorMap { cut: corner(-129), ..im2col() }, "a corner of -129; with 4 dimensions it must be -128 to 127");
        refused(TensorMap { cut: Cut::Tiled(vec![64]), ..im2col() }, "a box of 1 sides");
    }

    #[test]
    fn chunks_of_eight_rows_lie_in_all_banks() {
        for (swizzle, rows, span) in [(Swizzle::B32, 2, 32), (Swizzle::B64, 4, 64), (Swizzle::B128, 8, 128)] {
            assert_eq!(swizzle.span(), Some(span));
            // A column of chunks, one from each 128 bytes: as many places as the rows that differ.
            let mut chunks: Vec<u32> = (0..8).map(|r| swizzle.apply(1024 + 128 * r + 4) / 16 % 8).collect();
            chunks.sort();
            chunks.dedup();
            assert_eq!(chunks.len(), rows);
        }
        assert_eq!(Swizzle::None.apply(12345), 12345);
    }
}
