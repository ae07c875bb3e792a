//! Microkernels: the innermost loops, written once over a trait `Vector` and compiled for every instruction set that a machine may
//! turn out to have. All `unsafe` of the host lives here. Each safe function checks its slices once, when it is
//! called; the loops that it calls use pointers.
//!
//! A [`Tile`] is a small matrix product held in registers, `M` rows × `lanes` columns:
//!
//! ```text
//! for k in 0..depth { for i in 0..M { acc[i][..] += a[i, k] * b[k, ..] } }        a: broadcast, b: vector loads
//! ```
//! With AVX-512 a full tile is 14 × 32: 28 accumulators, two vectors of b and one broadcast fill 31 of the 32 registers, and
//! 28 multiply-adds per step hide 16 loads.

/// What the machine can do. Only detection makes one, so holding a [`Level`] proves that its instructions exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Level(Isa);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Isa {
    /// Loops over plain arrays, which the compiler may vectorise.
    Portable,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "x86_64")]
    Avx512,
}

/// Longest reduction of one tile when `a` lies in rows: its rows are [`ROW`] apart, which is known at compile time, so that
/// one register addresses them all. The 16 spare floats put neighbouring rows in different sets of the L1 cache.
pub const DEPTH: usize = 256;
pub const ROW: usize = DEPTH + 16;

/// How `a` lies in memory.
#[derive(Clone, Copy)]
pub enum Layout<'a> {
    /// `a[i, k] = a[i·ROW + k]`: packed pixels, a row each.
    Rows(&'a [f32]),
    /// `a[i, k] = a[k·M + i]`: a strip of M columns.
    Strip(&'a [f32]),
}

/// One tile: `c[rows[i] + j] = Σ_k a[i,k]·b[k,j] + start`, for `j < width`.
pub struct Tile<'a> {
    pub a: Layout<'a>,
    /// `depth × lanes`, packed.
    pub b: &'a [f32],
    pub depth: usize,
    pub c: &'a mut [f32],
    /// Where each row begins in `c`; as many as the tile has rows.
    pub rows: &'a [usize],
    pub width: usize,
    pub start: Start<'a>,
    /// Memory that a later tile will read, to be fetched into L2 meanwhile; may be empty.
    pub ahead: &'a [f32],
}

/// What a tile adds its product to.
#[derive(Clone, Copy)]
pub enum Start<'a> {
    Zero,
    /// One value per column, `width` of them.
    Bias(&'a [f32]),
    /// What `c` holds.
    Sum,
}

/// The tiles of one width.
pub struct Kernel {
    /// Columns of a tile, and of a packed panel of `b`.
    pub lanes: usize,
    /// Most rows of a tile.
    pub rows: usize,
    /// How many steps of the reduction lie side by side in a panel when `a` lies in rows: see [`Kernel::interleave`].
    pub step: usize,
    by_rows: &'static [TileFn],
    by_strip: &'static [TileFn],
}

type TileFn = unsafe fn(a: *const f32, b: *const f32, depth: usize, out: &Out);

/// The output of a tile after its checks, as the unchecked loops take it.
struct Out {
    c: *mut f32,
    rows: *const usize,
    width: usize,
    /// What every row starts from, or null: from what `c` holds.
    start: *const f32,
    ahead: *const f32,
    ahead_step: usize,
}

static ZEROS: [f32; 32] = [0.0; 32];

impl Kernel {
    /// Makes a panel, `b[k, j]` row by row, ready for [`Layout::Rows`].
    ///
    /// Few columns would leave most of a register empty. So a narrow kernel keeps `step` partial sums per column: its panels
    /// hold `step` consecutive k of column 0, then of column 1 …, which meet `step` consecutive floats of a row of `a`, repeated
    /// for each column by a broadcast load. The partial sums are added at the end. The panel must hold a multiple of `step`
    /// rows, and so must `a` columns: those beyond the depth as zeros.
    pub fn interleave(&self, panel: &mut [f32]) {
        if self.step == 1 {
            return;
        }
        let mut group = [0.0; 16];
        for rows in panel.chunks_exact_mut(self.step * self.lanes) {
            let group = &mut group[..rows.len()];
            for (i, v) in group.iter_mut().enumerate() {
                *v = rows[i % self.step * self.lanes + i / self.step];
            }
            rows.copy_from_slice(group);
        }
    }

    /// Multiplies one tile.
    #[inline]
    pub fn run(&self, t: Tile) {
        let m = t.rows.len();
        assert!(m > 0 && m <= self.rows && t.width <= self.lanes, "tile of {m} rows, {} columns", t.width);
        assert!(t.rows.iter().all(|&r| r < t.c.len() && t.c.len() - r >= t.width), "tile: a row of c leaves the slice");
        let start = match t.start {
            Start::Zero => ZEROS.as_ptr(),
            Start::Sum => std::ptr::null(),
            Start::Bias(b) => {
                assert!(b.len() >= t.width, "tile: bias is too short");
                b.as_ptr()
            }
        };
        let depth = if let Layout::Rows(_) = t.a { t.depth.next_multiple_of(self.step) } else { t.depth };
        assert!(t.b.len() / self.lanes >= depth, "tile: b is too short");
        let ahead_step = t.ahead.len().div_ceil(depth.max(1));
        // The loop prefetches at every step, without a branch. If there is nothing to prefetch, the address is that of `b`, which is cached:
        // an unmapped address would walk the page tables each time.
        let ahead = if t.ahead.is_empty() { t.b.as_ptr() } else { t.ahead.as_ptr() };
        let out = Out { c: t.c.as_mut_ptr(), rows: t.rows.as_ptr(), width: t.width, start, ahead, ahead_step };
        match t.a {
            Layout::Rows(a) => {
                assert!(depth <= ROW && a.len() >= (m - 1) * ROW + depth, "tile: a is too short");
                // SAFETY: the asserts above cover every address a tile of m rows touches, and a Kernel comes only from a Level
                // that was detected.
                unsafe { self.by_rows[m - 1](a.as_ptr(), t.b.as_ptr(), depth, &out) }
            }
            Layout::Strip(a) => {
                assert!(a.len() >= m * depth, "tile: a is too short");
                // SAFETY: as above.
                unsafe { self.by_strip[m - 1](a.as_ptr(), t.b.as_ptr(), depth, &out) }
            }
        }
    }
}

impl Level {
    /// The best of this machine; detection is cached by the standard library.
    pub fn best() -> Level {
        Level::all().last().expect("the portable level always exists")
    }

    /// Every level that this machine can run, slowest first.
    pub fn all() -> impl Iterator<Item = Level> {
        #[cfg(target_arch = "x86_64")]
        let isas = {
            let avx2 = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
            let avx512 = avx2 && is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512vl");
            [Some(Isa::Portable), avx2.then_some(Isa::Avx2), avx512.then_some(Isa::Avx512)]
        };
        #[cfg(not(target_arch = "x86_64"))]
        let isas = [Some(Isa::Portable)];
        isas.into_iter().flatten().map(Level)
    }

    /// The kernel of all panels but the last.
    pub fn widest(self) -> &'static Kernel {
        self.kernel(usize::MAX)
    }

    /// The kernel for the next panel when `left` columns remain: the narrowest that holds them, else the widest.
    pub fn kernel(self, left: usize) -> &'static Kernel {
        let kernels: &'static [Kernel] = match self.0 {
            Isa::Portable => PORTABLE,
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => x86::AVX2,
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => x86::AVX512,
        };
        kernels.iter().find(|k| k.lanes >= left).unwrap_or(&kernels[kernels.len() - 1])
    }

    /// Copies `rows` rows of `len` floats between two pitches.
    #[inline]
    pub fn copy_rows(self, src: &[f32], src_step: usize, dst: &mut [f32], dst_step: usize, rows: usize, len: usize) {
        if rows == 0 || len == 0 {
            return;
        }
        assert!(covers(src, rows, src_step, len), "copy_rows: source is too short");
        assert!(covers(dst, rows, dst_step, len), "copy_rows: destination is too short");
        let (s, d) = (src.as_ptr(), dst.as_mut_ptr());
        // SAFETY: both slices hold the last element of the last row; the level was detected.
        unsafe {
            match self.0 {
                Isa::Portable => copy_rows::<Lanes>(s, src_step, d, dst_step, rows, len),
                #[cfg(target_arch = "x86_64")]
                Isa::Avx2 => x86::copy_rows_256(s, src_step, d, dst_step, rows, len),
                #[cfg(target_arch = "x86_64")]
                Isa::Avx512 => x86::copy_rows_512(s, src_step, d, dst_step, rows, len),
            }
        }
    }

    /// `y[m·to + c] = start + Σ_i x[taps[i].x + m·from + c] · w[taps[i].w + c]`, for m < count, c < channels; taps in order.
    pub fn gather_taps(self, p: Pixels, taps: &[Tap], x: &[f32], w: &[f32], y: &mut [f32], start: Start) {
        p.check(taps, x, w, y);
        assert!(!matches!(start, Start::Bias(b) if b.len() < p.channels), "taps: the bias is too short");
        // SAFETY: the asserts cover every address; the level was detected.
        unsafe {
            match self.0 {
                Isa::Portable => gather_taps::<Lanes>(p, taps, x.as_ptr(), w.as_ptr(), y.as_mut_ptr(), start),
                #[cfg(target_arch = "x86_64")]
                Isa::Avx2 => x86::gather_taps_256(p, taps, x.as_ptr(), w.as_ptr(), y.as_mut_ptr(), start),
                #[cfg(target_arch = "x86_64")]
                Isa::Avx512 => x86::gather_taps_512(p, taps, x.as_ptr(), w.as_ptr(), y.as_mut_ptr(), start),
            }
        }
    }

    /// `sums[taps[i].w + c] += Σ_m x[taps[i].x + m·from + c] · dy[m·to + c]`, for m < count, c < channels; eight m at a time.
    pub fn spread_taps(self, p: Pixels, taps: &[Tap], x: &[f32], dy: &[f32], sums: &mut [f32]) {
        p.check(taps, x, sums, dy);
        // SAFETY: as above.
        unsafe {
            match self.0 {
                Isa::Portable => spread_taps::<Lanes>(p, taps, x.as_ptr(), dy.as_ptr(), sums.as_mut_ptr()),
                #[cfg(target_arch = "x86_64")]
                Isa::Avx2 => x86::spread_taps_256(p, taps, x.as_ptr(), dy.as_ptr(), sums.as_mut_ptr()),
                #[cfg(target_arch = "x86_64")]
                Isa::Avx512 => x86::spread_taps_512(p, taps, x.as_ptr(), dy.as_ptr(), sums.as_mut_ptr()),
            }
        }
    }

    /// `sums[k][j] = start[k] + Σ_t w[t·width + k]·x[taps[t] + j]` for j < [`BLOCK`] and k < width, which is 1, 2 or 4; taps in order.
    pub fn gather_lines(self, taps: &[usize], x: &[f32], w: &[f32], width: usize, start: [f32; 4], sums: &mut [[f32; BLOCK]]) {
        assert!(within(x, taps, BLOCK), "lines: a tap leaves its planes");
        assert!(w.len() == taps.len() * width && sums.len() >= width && matches!(width, 1 | 2 | 4), "lines: other sizes");
        let sums = sums.as_mut_ptr().cast::<f32>();
        // SAFETY: the asserts cover every address; the level was detected.
        unsafe {
            match self.0 {
                Isa::Portable => gather_lines::<Lanes>(taps, x.as_ptr(), w.as_ptr(), width, start, sums),
                #[cfg(target_arch = "x86_64")]
                Isa::Avx2 => x86::gather_lines_256(taps, x.as_ptr(), w.as_ptr(), width, start, sums),
                #[cfg(target_arch = "x86_64")]
                Isa::Avx512 => x86::gather_lines_512(taps, x.as_ptr(), w.as_ptr(), width, start, sums),
            }
        }
    }

    /// `sums[(t·width + k)·SLOT + lane] += Σ_j x[taps[t] + j]·dy[k·pitch + j]` over the j < length that fall to a lane, in order. `dy`:
    /// values, pitch and length of `width` (1, 2 or 4) lines; the length is a multiple of [`BLOCK`].
    pub fn spread_lines(
        self,
        taps: &[usize],
        x: &[f32],
        (dy, pitch, length): (&[f32], usize, usize),
        width: usize,
        sums: &mut [f32],
    ) {
        assert!(
            matches!(width, 1 | 2 | 4) && length.is_multiple_of(BLOCK) && covers(dy, width, pitch, length),
            "lines: other sizes"
        );
        assert!(within(x, taps, length), "lines: a tap leaves its planes");
        assert_eq!(sums.len(), taps.len() * width * SLOT, "lines: sums");
        // SAFETY: as above.
        unsafe {
            match self.0 {
                Isa::Portable => spread_lines::<Lanes>(taps, x.as_ptr(), (dy.as_ptr(), pitch, length), width, sums.as_mut_ptr()),
                #[cfg(target_arch = "x86_64")]
                Isa::Avx2 => x86::spread_lines_256(taps, x.as_ptr(), (dy.as_ptr(), pitch, length), width, sums.as_mut_ptr()),
                #[cfg(target_arch = "x86_64")]
                Isa::Avx512 => x86::spread_lines_512(taps, x.as_ptr(), (dy.as_ptr(), pitch, length), width, sums.as_mut_ptr()),
            }
        }
    }

    /// Whether registers hold 16 floats.
    fn has_16(self) -> bool {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => true,
            _ => false,
        }
    }

    /// `dst[k·lanes + j] = src[j·pitch + k]` for `j < width`, `k < depth`: rows become columns.
    pub fn transpose(self, src: &[f32], pitch: usize, depth: usize, dst: &mut [f32], lanes: usize, width: usize) {
        if depth == 0 || width == 0 {
            return;
        }
        assert!(covers(src, width, pitch, depth), "transpose: source is too short");
        assert!(covers(dst, depth, lanes, width), "transpose: destination is too short");
        // Blocks of 16 × 16 in registers where the machine can, else element by element.
        let (wide, deep) = if self.has_16() { (width / 16 * 16, depth / 16 * 16) } else { (0, 0) };
        #[cfg(target_arch = "x86_64")]
        {
            for j in (0..wide).step_by(16) {
                for k in (0..deep).step_by(16) {
                    // SAFETY: 16 rows from j and 16 columns from k lie within both slices; the level was detected.
                    unsafe {
                        let (s, d) = (src.as_ptr().add(j * pitch + k), dst.as_mut_ptr().add(k * lanes + j));
                        x86::transpose_16(s, pitch, d, lanes);
                    }
                }
            }
        }
        for k in 0..depth {
            let from = if k < deep { wide } else { 0 };
            for (j, v) in dst[k * lanes..][..width].iter_mut().enumerate().skip(from) {
                *v = src[j * pitch + k];
            }
        }
    }
}

/// Whether `rows` rows of `len` floats, `step` apart, lie within the slice.
fn covers(x: &[f32], rows: usize, step: usize, len: usize) -> bool {
    (rows - 1).checked_mul(step).and_then(|last| last.checked_add(len)).is_some_and(|end| end <= x.len())
}

/// A register of floats. Implementations are `inline(always)`, so that they become part of the function that switches the
/// instruction set on.
trait Vector: Copy {
    /// Columns, and steps of the reduction side by side within a column.
    const LANES: usize;
    const STEP: usize = 1;
    unsafe fn zero() -> Self;
    /// `STEP` floats, repeated.
    unsafe fn splat(p: *const f32) -> Self;
    unsafe fn load(p: *const f32) -> Self;
    unsafe fn store(self, p: *mut f32);
    /// The first `n < LANES` lanes; the others read as zero.
    unsafe fn load_part(p: *const f32, n: usize) -> Self;
    unsafe fn store_part(self, p: *mut f32, n: usize);
    unsafe fn add(self, o: Self) -> Self;
    /// self + a·b
    unsafe fn fma(self, a: Self, b: Self) -> Self;
    /// The sum over the steps of each column, in the first `LANES` lanes.
    #[inline(always)]
    unsafe fn fold(self) -> Self {
        self
    }
    /// A hint to fetch a line into L2; any address will do.
    #[inline(always)]
    unsafe fn prefetch(_: *const f32) {}
}

/// The tile: `M` rows of `NV` vectors. Every index of `acc` is known at compile time, which keeps it in registers.
///
/// # Safety
/// `a`, `b` and `out` must cover the tile (checked by [`Kernel::run`]); V's instructions must exist.
#[inline(always)]
#[allow(clippy::needless_range_loop)]
unsafe fn tile<V: Vector, const M: usize, const NV: usize, const STRIP: bool>(
    mut a: *const f32,
    mut b: *const f32,
    depth: usize,
    out: &Out,
) {
    let (row, step) = if STRIP { (1, M) } else { (ROW, V::STEP) };
    // SAFETY: the caller's promise.
    unsafe {
        let mut acc = [[V::zero(); NV]; M];
        let mut ahead = out.ahead;
        // Rows of c are far apart: fetch them while the loop runs.
        for i in 0..M {
            let c = out.c.add(*out.rows.add(i));
            for j in 0..NV {
                V::prefetch(c.wrapping_add(j * V::LANES));
            }
        }
        for _ in 0..depth / V::STEP {
            let mut bs = [V::zero(); NV];
            for j in 0..NV {
                bs[j] = V::load(b.add(j * V::LANES * V::STEP));
            }
            for i in 0..M {
                let x = V::splat(a.add(i * row));
                for j in 0..NV {
                    acc[i][j] = acc[i][j].fma(x, bs[j]);
                }
            }
            V::prefetch(ahead);
            ahead = ahead.wrapping_add(out.ahead_step);
            a = a.add(step);
            b = b.add(NV * V::LANES * V::STEP);
        }
        for i in 0..M {
            let c = out.c.add(*out.rows.add(i));
            let start = if out.start.is_null() { c.cast_const() } else { out.start };
            for j in 0..NV {
                let (at, v) = (j * V::LANES, acc[i][j].fold());
                if V::STEP == 1 && at + V::LANES <= out.width {
                    v.add(V::load(start.add(at))).store(c.add(at));
                } else if at < out.width {
                    let n = (out.width - at).min(V::LANES);
                    v.add(V::load_part(start.add(at), n)).store_part(c.add(at), n);
                }
            }
        }
    }
}

/// # Safety
/// As [`Level::copy_rows`] checks; V's instructions must exist.
#[inline(always)]
unsafe fn copy_rows<V: Vector>(s: *const f32, s_step: usize, d: *mut f32, d_step: usize, rows: usize, len: usize) {
    let whole = len / V::LANES * V::LANES;
    // SAFETY: the caller's promise.
    unsafe {
        // The channels of one panel, the commonest case by far.
        if len == 2 * V::LANES {
            for i in 0..rows {
                let (s, d) = (s.add(i * s_step), d.add(i * d_step));
                V::load(s).store(d);
                V::load(s.add(V::LANES)).store(d.add(V::LANES));
            }
            return;
        }
        for i in 0..rows {
            let (s, d) = (s.add(i * s_step), d.add(i * d_step));
            let mut j = 0;
            while j < whole {
                V::load(s.add(j)).store(d.add(j));
                j += V::LANES;
            }
            if whole < len {
                V::load_part(s.add(whole), len - whole).store_part(d.add(whole), len - whole);
            }
        }
    }
}

/// Where a tap of a filter per channel begins: in the pixels, and in what belongs to the filters.
#[derive(Clone, Copy, Default)]
pub struct Tap {
    pub x: usize,
    pub w: usize,
}

/// Pixels that are multiplied with the same taps: floats from one to the next in what they read, and in the results.
#[derive(Clone, Copy)]
pub struct Pixels {
    pub count: usize,
    pub channels: usize,
    pub from: usize,
    pub to: usize,
}

impl Pixels {
    /// Whether the next three taps read neighbours, as those of a 3×3 filter do at stride 1: a pixel is then loaded once for them.
    #[inline(always)]
    fn three_in_a_row(&self, taps: &[Tap]) -> bool {
        matches!(taps, [a, b, c, ..] if b.x == a.x + self.from && c.x == b.x + self.from)
    }
    fn check(&self, taps: &[Tap], x: &[f32], w: &[f32], y: &[f32]) {
        assert!(self.count > 0 && covers(y, self.count, self.to, self.channels), "taps: the results are too short");
        let fits =
            |t: &Tap| t.x <= x.len() && covers(&x[t.x..], self.count, self.from, self.channels) && w.len() >= t.w + self.channels;
        assert!(taps.iter().all(fits), "taps: a tap leaves its slice");
    }
}

/// The first `n` lanes, all of them unless `PART`.
///
/// # Safety
/// n floats at p; V's instructions must exist.
#[inline(always)]
unsafe fn get<V: Vector, const PART: bool>(p: *const f32, n: usize) -> V {
    // SAFETY: the caller's promise.
    unsafe { if PART { V::load_part(p, n) } else { V::load(p) } }
}
/// # Safety
/// As [`get`].
#[inline(always)]
unsafe fn put<V: Vector, const PART: bool>(v: V, p: *mut f32, n: usize) {
    // SAFETY: the caller's promise.
    unsafe { if PART { v.store_part(p, n) } else { v.store(p) } }
}

/// Calls a function of (pixel, channel, lanes) for blocks of 8, 4, 2 or 1 pixels × a register of channels.
macro_rules! blocks {
    ($p:ident, $V:ident, $f:ident ($($arg:expr),*)) => {
        let whole = $p.channels / $V::LANES * $V::LANES;
        let mut m = 0;
        while m < $p.count {
            macro_rules! rows {
                ($M:literal) => {{
                    for c in (0..whole).step_by($V::LANES) {
                        $f::<$V, $M, false>($p, (m, c, $V::LANES), $($arg),*);
                    }
                    if whole < $p.channels {
                        $f::<$V, $M, true>($p, (m, whole, $p.channels - whole), $($arg),*);
                    }
                    m += $M;
                }};
            }
            match $p.count - m {
                8.. => rows!(8),
                4.. => rows!(4),
                2.. => rows!(2),
                _ => rows!(1),
            }
        }
    };
}

/// # Safety
/// As [`Level::gather_taps`] checks; V's instructions must exist.
#[inline(always)]
unsafe fn gather_taps<V: Vector>(p: Pixels, taps: &[Tap], x: *const f32, w: *const f32, y: *mut f32, start: Start) {
    // SAFETY: the caller's promise.
    unsafe {
        blocks!(p, V, gather_block(taps, x, w, y, start));
    }
}

/// # Safety
/// As [`gather_taps`].
#[inline(always)]
#[allow(clippy::needless_range_loop)]
unsafe fn gather_block<V: Vector, const M: usize, const PART: bool>(
    p: Pixels,
    (m, c, n): (usize, usize, usize),
    taps: &[Tap],
    x: *const f32,
    w: *const f32,
    y: *mut f32,
    start: Start,
) {
    // SAFETY: the caller's promise.
    unsafe {
        let (x, w, y) = (x.add(m * p.from + c), w.add(c), y.add(m * p.to + c));
        let mut acc = [V::zero(); M];
        for (i, a) in acc.iter_mut().enumerate() {
            *a = match start {
                Start::Zero => V::zero(),
                Start::Bias(b) => get::<V, PART>(b.as_ptr().add(c), n),
                Start::Sum => get::<V, PART>(y.add(i * p.to), n),
            };
        }
        let mut left = taps;
        while let [t, rest @ ..] = left {
            let x = x.add(t.x);
            left = if p.three_in_a_row(left) {
                let w: [V; 3] = std::array::from_fn(|tap| get::<V, PART>(w.add(left[tap].w), n));
                for i in 0..M + 2 {
                    let v = get::<V, PART>(x.add(i * p.from), n);
                    for tap in 0..3 {
                        if i >= tap && i - tap < M {
                            acc[i - tap] = acc[i - tap].fma(v, w[tap]);
                        }
                    }
                }
                &left[3..]
            } else {
                let w = get::<V, PART>(w.add(t.w), n);
                for (i, a) in acc.iter_mut().enumerate() {
                    *a = a.fma(get::<V, PART>(x.add(i * p.from), n), w);
                }
                rest
            }
        }
        for (i, a) in acc.into_iter().enumerate() {
            put::<V, PART>(a, y.add(i * p.to), n);
        }
    }
}

/// # Safety
/// As [`Level::spread_taps`] checks; V's instructions must exist.
#[inline(always)]
unsafe fn spread_taps<V: Vector>(p: Pixels, taps: &[Tap], x: *const f32, dy: *const f32, sums: *mut f32) {
    // SAFETY: the caller's promise.
    unsafe {
        blocks!(p, V, spread_block(taps, x, dy, sums));
    }
}

/// # Safety
/// As [`spread_taps`].
#[inline(always)]
#[allow(clippy::needless_range_loop)]
unsafe fn spread_block<V: Vector, const M: usize, const PART: bool>(
    p: Pixels,
    (m, c, n): (usize, usize, usize),
    taps: &[Tap],
    x: *const f32,
    dy: *const f32,
    sums: *mut f32,
) {
    // SAFETY: the caller's promise.
    unsafe {
        let (x, dy, sums) = (x.add(m * p.from + c), dy.add(m * p.to + c), sums.add(c));
        let mut d = [V::zero(); M];
        for (i, d) in d.iter_mut().enumerate() {
            *d = get::<V, PART>(dy.add(i * p.to), n);
        }
        let add = |tap: usize, sum: V| put::<V, PART>(get::<V, PART>(sums.add(tap), n).add(sum), sums.add(tap), n);
        let mut left = taps;
        while let [t, rest @ ..] = left {
            let x = x.add(t.x);
            left = if p.three_in_a_row(left) {
                let mut sum = [V::zero(); 3];
                for i in 0..M + 2 {
                    let v = get::<V, PART>(x.add(i * p.from), n);
                    for tap in 0..3 {
                        if i >= tap && i - tap < M {
                            sum[tap] = sum[tap].fma(v, d[i - tap]);
                        }
                    }
                }
                (0..3).for_each(|tap| add(left[tap].w, sum[tap]));
                &left[3..]
            } else {
                let mut sum = V::zero();
                for (i, &d) in d.iter().enumerate() {
                    sum = sum.fma(get::<V, PART>(x.add(i * p.from), n), d);
                }
                add(t.w, sum);
                rest
            }
        }
    }
}

/// Results of a line that are summed at once: whole registers at every level.
pub const BLOCK: usize = 32;
/// Floats that the sums of lanes take: the widest register.
pub const SLOT: usize = 16;

/// Whether `len` floats from each of `starts` lie within `x`.
fn within(x: &[f32], starts: &[usize], len: usize) -> bool {
    starts.is_empty() || x.len().checked_sub(len).is_some_and(|last| starts.iter().all(|&s| s <= last))
}

/// # Safety
/// As [`Level::gather_lines`] checks; V's instructions must exist.
#[inline(always)]
unsafe fn gather_lines<V: Vector>(taps: &[usize], x: *const f32, w: *const f32, width: usize, start: [f32; 4], sums: *mut f32) {
    // SAFETY: the caller's promise; two or four registers are a block or divide it.
    unsafe {
        match (width, BLOCK / V::LANES) {
            (4, _) => gather_line::<V, 4, 2>(taps, x, w, start, sums),
            (2, 2) => gather_line::<V, 2, 2>(taps, x, w, start, sums),
            (2, _) => gather_line::<V, 2, 4>(taps, x, w, start, sums),
            (_, 2) => gather_line::<V, 1, 2>(taps, x, w, start, sums),
            _ => gather_line::<V, 1, 4>(taps, x, w, start, sums),
        }
    }
}

/// `K` results of `N` registers of pixels at a time. Every index of `acc` is known at compile time, which keeps it in registers.
///
/// # Safety
/// As [`gather_lines`].
#[inline(always)]
#[allow(clippy::needless_range_loop)]
unsafe fn gather_line<V: Vector, const K: usize, const N: usize>(
    taps: &[usize],
    x: *const f32,
    w: *const f32,
    start: [f32; 4],
    sums: *mut f32,
) {
    // SAFETY: the caller's promise.
    unsafe {
        for j in (0..BLOCK).step_by(N * V::LANES) {
            let mut acc = [[V::zero(); N]; K];
            for k in 0..K {
                acc[k] = [V::splat(&start[k]); N];
            }
            for (t, &at) in taps.iter().enumerate() {
                let mut pixels = [V::zero(); N];
                for (v, p) in pixels.iter_mut().enumerate() {
                    *p = V::load(x.add(at + j + v * V::LANES));
                }
                for k in 0..K {
                    let w = V::splat(w.add(t * K + k));
                    for v in 0..N {
                        acc[k][v] = acc[k][v].fma(w, pixels[v]);
                    }
                }
            }
            for k in 0..K {
                for v in 0..N {
                    acc[k][v].store(sums.add(k * BLOCK + j + v * V::LANES));
                }
            }
        }
    }
}

/// # Safety
/// As [`Level::spread_lines`] checks; V's instructions must exist.
#[inline(always)]
unsafe fn spread_lines<V: Vector>(taps: &[usize], x: *const f32, dy: (*const f32, usize, usize), width: usize, sums: *mut f32) {
    // SAFETY: the caller's promise.
    unsafe {
        for (i, two) in taps.chunks(2).enumerate() {
            let sums = sums.add(2 * i * width * SLOT);
            match (width, two) {
                (4, &[a, b]) => spread_line::<V, 4, 2>([a, b], x, dy, sums),
                (2, &[a, b]) => spread_line::<V, 2, 2>([a, b], x, dy, sums),
                (_, &[a, b]) => spread_line::<V, 1, 2>([a, b], x, dy, sums),
                (4, _) => spread_line::<V, 4, 1>([two[0]], x, dy, sums),
                (2, _) => spread_line::<V, 2, 1>([two[0]], x, dy, sums),
                _ => spread_line::<V, 1, 1>([two[0]], x, dy, sums),
            }
        }
    }
}

/// `T` taps × `K` planes of dy.
///
/// # Safety
/// As [`spread_lines`].
#[inline(always)]
#[allow(clippy::needless_range_loop)]
unsafe fn spread_line<V: Vector, const K: usize, const T: usize>(
    taps: [usize; T],
    x: *const f32,
    (dy, pitch, length): (*const f32, usize, usize),
    sums: *mut f32,
) {
    // SAFETY: the caller's promise.
    unsafe {
        let mut acc = [[V::zero(); K]; T];
        for (t, acc) in acc.iter_mut().enumerate() {
            for (k, acc) in acc.iter_mut().enumerate() {
                *acc = V::load(sums.add((t * K + k) * SLOT));
            }
        }
        for j in (0..length).step_by(V::LANES) {
            let mut planes = [V::zero(); K];
            for (k, p) in planes.iter_mut().enumerate() {
                *p = V::load(dy.add(k * pitch + j));
            }
            for t in 0..T {
                let pixels = V::load(x.add(taps[t] + j));
                for k in 0..K {
                    acc[t][k] = acc[t][k].fma(pixels, planes[k]);
                }
            }
        }
        for (t, acc) in acc.iter().enumerate() {
            for (k, acc) in acc.iter().enumerate() {
                acc.store(sums.add((t * K + k) * SLOT));
            }
        }
    }
}

/// The fallback: eight floats in an array. No fused multiply-add, which would be a library call where hardware has none.
#[derive(Clone, Copy)]
struct Lanes([f32; 8]);

impl Vector for Lanes {
    const LANES: usize = 8;
    #[inline(always)]
    unsafe fn zero() -> Self {
        Lanes([0.0; 8])
    }
    #[inline(always)]
    unsafe fn splat(p: *const f32) -> Self {
        // SAFETY: the caller may read one float at p.
        Lanes([unsafe { *p }; 8])
    }
    #[inline(always)]
    unsafe fn load(p: *const f32) -> Self {
        // SAFETY: the caller may read eight floats at p; an array of f32 needs no more alignment than f32.
        Lanes(unsafe { p.cast::<[f32; 8]>().read() })
    }
    #[inline(always)]
    unsafe fn store(self, p: *mut f32) {
        // SAFETY: as for load.
        unsafe { p.cast::<[f32; 8]>().write(self.0) }
    }
    #[inline(always)]
    unsafe fn load_part(p: *const f32, n: usize) -> Self {
        // SAFETY: the caller may read n floats at p.
        Lanes(std::array::from_fn(|i| if i < n { unsafe { *p.add(i) } } else { 0.0 }))
    }
    #[inline(always)]
    unsafe fn store_part(self, p: *mut f32, n: usize) {
        for (i, &v) in self.0.iter().enumerate().take(n) {
            // SAFETY: the caller may write n floats at p.
            unsafe { *p.add(i) = v }
        }
    }
    #[inline(always)]
    unsafe fn add(self, o: Self) -> Self {
        Lanes(std::array::from_fn(|i| self.0[i] + o.0[i]))
    }
    #[inline(always)]
    unsafe fn fma(self, a: Self, b: Self) -> Self {
        Lanes(std::array::from_fn(|i| self.0[i] + a.0[i] * b.0[i]))
    }
}

/// A table of tiles with 1, 2, … rows: `tiles!(function, vectors, strip; rows…)`.
macro_rules! tiles {
    ($f:ident, $nv:literal, $strip:literal; $($m:literal)*) => { &[$($f::<$m, $nv, $strip>),*] };
}
/// A [`Kernel`] of both layouts: lanes, step, and the function and number of vectors of each.
macro_rules! kernel {
    ($lanes:literal, $step:literal, $f:ident, $g:ident, $nv:literal; $($m:literal)*) => {
        Kernel {
            lanes: $lanes,
            rows: [$($m),*].len(),
            step: $step,
            by_rows: tiles!($f, $nv, false; $($m)*),
            by_strip: tiles!($g, $nv, true; $($m)*),
        }
    };
}

pub mod half;
pub mod winograd;
#[cfg(target_arch = "x86_64")]
mod x86;

/// # Safety
/// As [`tile`].
unsafe fn portable<const M: usize, const NV: usize, const STRIP: bool>(a: *const f32, b: *const f32, depth: usize, out: &Out) {
    // SAFETY: the caller's promise; arrays exist everywhere.
    unsafe { tile::<Lanes, M, NV, STRIP>(a, b, depth, out) }
}

static PORTABLE: &[Kernel] = &[kernel!(8, 1, portable, portable, 1; 1 2 3 4)];
