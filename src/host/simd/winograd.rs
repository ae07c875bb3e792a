//! The four loops of a Winograd convolution (`host/winograd.rs`) over registers of channels: filters, pixels and results are
//! transformed tile by tile, and products of transformed pixels and filters are summed over channels.
//!
//! A one-dimensional F(m, 3) multiplies two polynomials by their values at m + 1 points and at infinity. F(2, 3) takes 0, ±1; F(4, 3)
//! takes 0, ±5/8, ±3/2: of the pairs tried whose powers f32 holds exactly they had the least error (docs/numerics.md). Both dimensions
//! use the same points, so a tile has N × N values, N = m + 2.

#[cfg(target_arch = "x86_64")]
use super::x86;
use super::{Isa, Lanes, Level, Vector, covers};

/// Channels that lie side by side in transformed pixels: a cache line, and whole registers at every level.
pub const SIDE: usize = 16;

/// The points of F(4, 3): ±P and ±Q, their squares and what follows from these.
const P: f32 = 0.625;
const Q: f32 = 1.5;
const PP: f32 = P * P;
const QQ: f32 = Q * Q;

/// The products of one level: the sums of a tile are `rows` tiles of pixels × `lanes` filters in registers.
pub struct Products {
    pub lanes: usize,
    pub rows: usize,
    pub(in crate::host::simd) by_rows: &'static [ProductFn],
}

pub(in crate::host::simd) type ProductFn =
    unsafe fn(a: *const f32, b: *const f32, depth: usize, c: *mut f32, add: bool, ahead: *const f32);

/// Where the values of a tile lie: floats between its rows, and between the pixels of a row.
#[derive(Clone, Copy)]
pub struct Steps {
    pub row: usize,
    pub col: usize,
}

/// The part of a result tile that lies in the picture.
#[derive(Clone, Copy)]
pub struct Part {
    pub rows: usize,
    pub cols: usize,
    /// Filters.
    pub width: usize,
}

impl Level {
    /// The widest product of this level.
    pub fn products(self) -> &'static Products {
        match self.0 {
            Isa::Portable => &PORTABLE,
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => &x86::winograd::AVX2,
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => &x86::winograd::AVX512,
        }
    }

    /// Transforms the filters of [`SIDE`] channels × `lanes` filters. `taps[(t·SIDE + c)·lanes + k]` for the nine taps t becomes
    /// `to[e·step + c·lanes + k]` for the N² values e.
    pub fn winograd_filters(self, n: usize, taps: &[f32], lanes: usize, to: &mut [f32], step: usize) {
        assert!(n == 4 || n == 6, "winograd: tiles of {n}");
        assert!(lanes.is_multiple_of(self.products().lanes) && taps.len() >= 9 * SIDE * lanes, "winograd: too few taps");
        assert!(covers(to, n * n, step, SIDE * lanes), "winograd: no room for the filters");
        let (taps, to, count) = (taps.as_ptr(), to.as_mut_ptr(), SIDE * lanes);
        // SAFETY: the asserts cover every address, `count` is a multiple of every register; the level was detected.
        unsafe {
            match self.0 {
                Isa::Portable => filters::<Lanes>(n, taps, count, to, step),
                #[cfg(target_arch = "x86_64")]
                Isa::Avx2 => x86::winograd::filters_256(n, taps, count, to, step),
                #[cfg(target_arch = "x86_64")]
                Isa::Avx512 => x86::winograd::filters_512(n, taps, count, to, step),
            }
        }
    }

    /// Transforms a tile of N × N pixels of `blocks` · [`SIDE`] channels: value e of block b goes to `to[e·step + b·block ..][..SIDE]`.
    pub fn winograd_pixels(self, n: usize, x: &[f32], from: Steps, blocks: usize, to: &mut [f32], (step, block): (usize, usize)) {
        assert!((n == 4 || n == 6) && blocks > 0, "winograd: tiles of {n}, {blocks} blocks");
        assert!((n - 1) * (from.row + from.col) + blocks * SIDE <= x.len(), "winograd: the tile leaves its picture");
        assert!((n * n - 1) * step + (blocks - 1) * block + SIDE <= to.len(), "winograd: no room for the tile");
        let (x, to) = (x.as_ptr(), to.as_mut_ptr());
        // SAFETY: the asserts cover every address; the level was detected.
        unsafe {
            match self.0 {
                Isa::Portable => pixels::<Lanes>(n, x, from, blocks, to, step, block),
                #[cfg(target_arch = "x86_64")]
                Isa::Avx2 => x86::winograd::pixels_256(n, x, from, blocks, to, step, block),
                #[cfg(target_arch = "x86_64")]
                Isa::Avx512 => x86::winograd::pixels_512(n, x, from, blocks, to, step, block),
            }
        }
    }

    /// Transforms the sums of one tile, value e of filter k at `sums[e·step + k]`, into `part` of (N − 2) × (N − 2) results, and adds
    /// the bias, if there is one: one value per filter.
    pub fn winograd_results(
        self,
        n: usize,
        (sums, step): (&[f32], usize),
        bias: Option<&[f32]>,
        part: Part,
        y: &mut [f32],
        to: Steps,
    ) {
        let Part { rows, cols, width } = part;
        let registers = width.next_multiple_of(SIDE.min(self.products().lanes));
        assert!(n == 4 || n == 6, "winograd: tiles of {n}");
        assert!((1..n - 1).contains(&rows) && (1..n - 1).contains(&cols) && width > 0, "winograd: {rows} × {cols} results");
        assert!(covers(sums, n * n, step, registers), "winograd: too few sums");
        assert!(bias.is_none_or(|b| b.len() >= width), "winograd: the bias is too short");
        assert!((rows - 1) * to.row + (cols - 1) * to.col + width <= y.len(), "winograd: the tile leaves the results");
        let bias = bias.map_or(std::ptr::null(), <[f32]>::as_ptr);
        let (sums, y) = (sums.as_ptr(), y.as_mut_ptr());
        // SAFETY: the asserts cover every address; the level was detected.
        unsafe {
            match self.0 {
                Isa::Portable => results::<Lanes>(n, sums, step, bias, part, y, to),
                #[cfg(target_arch = "x86_64")]
                Isa::Avx2 => x86::winograd::results_256(n, sums, step, bias, part, y, to),
                #[cfg(target_arch = "x86_64")]
                Isa::Avx512 => x86::winograd::results_512(n, sums, step, bias, part, y, to),
            }
        }
    }
}

impl Products {
    /// `c[i·lanes + j] (+)= Σ_k a[(k / SIDE·rows + i)·SIDE + k mod SIDE] · b[k·lanes + j]` for `rows` tiles i and `depth` channels k, in
    /// order; `depth` is a multiple of [`SIDE`]. `ahead` will be read next and is fetched into L2; it may be empty.
    #[inline]
    pub fn run(&self, (a, rows): (&[f32], usize), b: &[f32], depth: usize, c: &mut [f32], add: bool, ahead: &[f32]) {
        assert!((1..=self.rows).contains(&rows) && depth.is_multiple_of(SIDE), "winograd: {rows} tiles, {depth} channels");
        assert!(a.len() >= rows * depth && b.len() >= depth * self.lanes && c.len() >= rows * self.lanes, "winograd: too short");
        // A step of the loop fetches a line: what there is to fetch must last to the end, else `b` itself, which is cached, is named.
        let ahead = if ahead.len() >= depth * SIDE { ahead.as_ptr() } else { b.as_ptr() };
        // SAFETY: the asserts cover every address; Products come only from a Level that was detected.
        unsafe { self.by_rows[rows - 1](a.as_ptr(), b.as_ptr(), depth, c.as_mut_ptr(), add, ahead) }
    }
}

/// # Safety
/// As [`Products::run`] checks; V's instructions must exist.
#[inline(always)]
#[allow(clippy::needless_range_loop)]
pub(super) unsafe fn product<V: Vector, const M: usize, const NV: usize>(
    mut a: *const f32,
    mut b: *const f32,
    depth: usize,
    c: *mut f32,
    add: bool,
    mut ahead: *const f32,
) {
    // SAFETY: the caller's promise.
    unsafe {
        let mut acc = [[V::zero(); NV]; M];
        for _ in 0..depth / SIDE {
            for _ in 0..SIDE {
                let mut bs = [V::zero(); NV];
                for j in 0..NV {
                    bs[j] = V::load(b.add(j * V::LANES));
                }
                for i in 0..M {
                    let x = V::splat(a.add(i * SIDE));
                    for j in 0..NV {
                        acc[i][j] = acc[i][j].fma(x, bs[j]);
                    }
                }
                V::prefetch(ahead);
                ahead = ahead.wrapping_add(SIDE);
                a = a.add(1);
                b = b.add(NV * V::LANES);
            }
            a = a.add((M - 1) * SIDE);
        }
        for i in 0..M {
            for j in 0..NV {
                let c = c.add((i * NV + j) * V::LANES);
                let sum = if add { acc[i][j].add(V::load(c)) } else { acc[i][j] };
                sum.store(c);
            }
        }
    }
}

/// A constant in every lane.
///
/// # Safety
/// V's instructions must exist.
#[inline(always)]
unsafe fn all<V: Vector>(c: &'static f32) -> V {
    // SAFETY: a reference may be read.
    unsafe { V::splat(c) }
}
/// a · c.
///
/// # Safety
/// V's instructions must exist.
#[inline(always)]
unsafe fn times<V: Vector>(a: V, c: &'static f32) -> V {
    // SAFETY: the caller's promise.
    unsafe { V::zero().fma(a, all(c)) }
}

/// Pixels of one dimension. Row i of the matrix is the product of (t − p) over all points p but the i-th, the last row over all.
///
/// # Safety
/// V's instructions must exist.
#[inline(always)]
unsafe fn pixels_1d<V: Vector, const N: usize>(d: [V; N]) -> [V; N] {
    let mut v = d;
    // SAFETY: the caller's promise.
    unsafe {
        if N == 6 {
            let sum = all(&const { -(PP + QQ) });
            let product = all(&const { PP * QQ });
            v[0] = d[4].fma(d[2], sum).fma(d[0], product);
            v[5] = d[5].fma(d[3], sum).fma(d[1], product);
            // The roots ±P belong to factors with ∓P, ±Q and 0 as roots.
            for (i, own, other) in [(1, &P, &const { -QQ }), (3, &Q, &const { -PP })] {
                let even = d[4].fma(d[2], all(other));
                let odd = d[3].fma(d[1], all(other));
                v[i] = even.fma(odd, all(own));
                v[i + 1] = even.fma(odd, all(if i == 1 { &const { -P } } else { &const { -Q } }));
            }
        } else {
            let minus = all(&-1.0);
            v[0] = d[2].fma(d[0], minus);
            v[1] = d[2].add(d[1]);
            v[2] = d[2].fma(d[1], minus);
            v[3] = d[3].fma(d[1], minus);
        }
    }
    v
}

/// Filters of one dimension: their value at each point, over the product of its distances to the others.
///
/// # Safety
/// V's instructions must exist.
#[inline(always)]
unsafe fn filters_1d<V: Vector, const N: usize>(g: [V; 3]) -> [V; N] {
    // SAFETY: the caller's promise.
    unsafe {
        let mut u = [g[2]; N];
        if N == 6 {
            u[0] = times(g[0], &const { 1.0 / (PP * QQ) });
            let p = times(g[0].fma(g[2], all(&PP)), &const { 0.5 / (PP * (PP - QQ)) });
            let q = times(g[0].fma(g[2], all(&QQ)), &const { 0.5 / (QQ * (QQ - PP)) });
            u[1] = p.fma(g[1], all(&const { 0.5 / (P * (PP - QQ)) }));
            u[2] = p.fma(g[1], all(&const { -0.5 / (P * (PP - QQ)) }));
            u[3] = q.fma(g[1], all(&const { 0.5 / (Q * (QQ - PP)) }));
            u[4] = q.fma(g[1], all(&const { -0.5 / (Q * (QQ - PP)) }));
        } else {
            let half = all(&0.5);
            u[0] = times(g[0], &-1.0);
            let even = times(g[0].add(g[2]), &0.5);
            u[1] = even.fma(g[1], half);
            u[2] = even.fma(g[1], all(&-0.5));
        }
        u
    }
}

/// Results of one dimension: value i stands at its point to the power of the row, the last at infinity.
///
/// # Safety
/// V's instructions must exist.
#[inline(always)]
unsafe fn results_1d<V: Vector, const N: usize, const M: usize>(m: [V; N]) -> [V; M] {
    // SAFETY: the caller's promise.
    unsafe {
        let mut y = [m[0]; M];
        let minus = all(&-1.0);
        if N == 6 {
            let (p, q) = (m[1].add(m[2]), m[3].add(m[4]));
            let (p_odd, q_odd) = (m[1].fma(m[2], minus), m[3].fma(m[4], minus));
            y[0] = m[0].add(p).add(q);
            y[1] = times(p_odd, &P).fma(q_odd, all(&Q));
            y[2] = times(p, &PP).fma(q, all(&QQ));
            y[3] = m[5].fma(p_odd, all(&const { P * PP })).fma(q_odd, all(&const { Q * QQ }));
        } else {
            y[0] = m[0].add(m[1]).add(m[2]);
            y[1] = m[1].fma(m[2], minus).add(m[3]);
        }
        y
    }
}

/// # Safety
/// As [`Level::winograd_filters`] checks; V's instructions must exist.
#[inline(always)]
pub(super) unsafe fn filters<V: Vector>(n: usize, taps: *const f32, count: usize, to: *mut f32, step: usize) {
    // SAFETY: the caller's promise.
    unsafe { if n == 6 { filters_of::<V, 6>(taps, count, to, step) } else { filters_of::<V, 4>(taps, count, to, step) } }
}

/// # Safety
/// As [`filters`].
#[inline(always)]
#[allow(clippy::needless_range_loop)]
unsafe fn filters_of<V: Vector, const N: usize>(taps: *const f32, count: usize, to: *mut f32, step: usize) {
    // SAFETY: the caller's promise.
    unsafe {
        for at in (0..count).step_by(V::LANES) {
            let mut cols = [[V::zero(); 3]; N];
            for s in 0..3 {
                let mut g = [V::zero(); 3];
                for r in 0..3 {
                    g[r] = V::load(taps.add((r * 3 + s) * count + at));
                }
                let u = filters_1d::<V, N>(g);
                for i in 0..N {
                    cols[i][s] = u[i];
                }
            }
            for i in 0..N {
                let u = filters_1d::<V, N>(cols[i]);
                for j in 0..N {
                    u[j].store(to.add((i * N + j) * step + at));
                }
            }
        }
    }
}

/// # Safety
/// As [`Level::winograd_pixels`] checks; V's instructions must exist.
#[inline(always)]
pub(super) unsafe fn pixels<V: Vector>(
    n: usize,
    x: *const f32,
    from: Steps,
    blocks: usize,
    to: *mut f32,
    step: usize,
    block: usize,
) {
    // SAFETY: the caller's promise.
    unsafe {
        if n == 6 {
            pixels_of::<V, 6>(x, from, blocks, to, step, block)
        } else {
            pixels_of::<V, 4>(x, from, blocks, to, step, block)
        }
    }
}

/// # Safety
/// As [`pixels`].
#[inline(always)]
#[allow(clippy::needless_range_loop)]
unsafe fn pixels_of<V: Vector, const N: usize>(
    x: *const f32,
    from: Steps,
    blocks: usize,
    to: *mut f32,
    step: usize,
    block: usize,
) {
    // SAFETY: the caller's promise.
    unsafe {
        for b in 0..blocks {
            for l in (0..SIDE).step_by(V::LANES) {
                let (x, to) = (x.add(b * SIDE + l), to.add(b * block + l));
                let mut rows = [[V::zero(); N]; N];
                for j in 0..N {
                    let mut d = [V::zero(); N];
                    for i in 0..N {
                        d[i] = V::load(x.add(i * from.row + j * from.col));
                    }
                    let v = pixels_1d::<V, N>(d);
                    for i in 0..N {
                        rows[i][j] = v[i];
                    }
                }
                for i in 0..N {
                    let v = pixels_1d::<V, N>(rows[i]);
                    for j in 0..N {
                        v[j].store(to.add((i * N + j) * step));
                    }
                }
            }
        }
    }
}

/// # Safety
/// As [`Level::winograd_results`] checks; V's instructions must exist.
#[inline(always)]
pub(super) unsafe fn results<V: Vector>(
    n: usize,
    sums: *const f32,
    step: usize,
    bias: *const f32,
    part: Part,
    y: *mut f32,
    to: Steps,
) {
    // SAFETY: the caller's promise.
    unsafe {
        if n == 6 {
            results_of::<V, 6, 4>(sums, step, bias, part, y, to)
        } else {
            results_of::<V, 4, 2>(sums, step, bias, part, y, to)
        }
    }
}

/// # Safety
/// As [`results`].
#[inline(always)]
#[allow(clippy::needless_range_loop)]
unsafe fn results_of<V: Vector, const N: usize, const M: usize>(
    sums: *const f32,
    step: usize,
    bias: *const f32,
    part: Part,
    y: *mut f32,
    to: Steps,
) {
    // SAFETY: the caller's promise.
    unsafe {
        for k in (0..part.width).step_by(V::LANES) {
            let left = part.width - k;
            let (sums, y) = (sums.add(k), y.add(k));
            let start = match (bias.is_null(), left < V::LANES) {
                (true, _) => V::zero(),
                (false, true) => V::load_part(bias.add(k), left),
                (false, false) => V::load(bias.add(k)),
            };
            let mut rows = [[V::zero(); N]; M];
            for j in 0..N {
                let mut m = [V::zero(); N];
                for i in 0..N {
                    m[i] = V::load(sums.add((i * N + j) * step));
                }
                let v = results_1d::<V, N, M>(m);
                for i in 0..M {
                    rows[i][j] = v[i];
                }
            }
            for i in 0..M {
                let v = results_1d::<V, N, M>(rows[i]);
                for j in 0..M {
                    let (v, y) = (v[j].add(start), y.wrapping_add(i * to.row + j * to.col));
                    if i < part.rows && j < part.cols {
                        if left < V::LANES { v.store_part(y, left) } else { v.store(y) }
                    }
                }
            }
        }
    }
}

/// A table of products of 1, 2, … rows.
macro_rules! products {
    ($lanes:literal, $f:ident, $nv:literal; $($m:literal)*) => {
        $crate::host::simd::winograd::Products {
            lanes: $lanes,
            rows: [$($m),*].len(),
            by_rows: &[$($f::<$m, $nv>),*],
        }
    };
}
pub(super) use products;

/// # Safety
/// As [`product`].
unsafe fn portable<const M: usize, const NV: usize>(
    a: *const f32,
    b: *const f32,
    depth: usize,
    c: *mut f32,
    add: bool,
    ahead: *const f32,
) {
    // SAFETY: the caller's promise; arrays exist everywhere.
    unsafe { product::<Lanes, M, NV>(a, b, depth, c, add, ahead) }
}

static PORTABLE: Products = products!(8, portable, 1; 1 2 3 4);
