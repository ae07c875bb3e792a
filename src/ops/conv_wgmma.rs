//! Launches of kernels/conv_wgmma.cu: which convolutions it can do in tf32 and in bf16, as what product, and by which tile.

use crate::core::launch::Operands;
use crate::device::{Span, TensorMap};
use crate::error::Result;
use crate::host::sizes::ConvSizes;
use crate::ptx::tensor_map::{Cut, ElementType, Swizzle};

/// `struct Line` of kernels/conv_wgmma.cu.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, bytemuck::Pod, bytemuck::Zeroable)]
pub(super) struct Line {
    /// Results along the axis, of the phase that has most.
    rows: i32,
    /// Pixels of the source from one result to the next.
    pub(super) step: i32,
    /// Where the window of the first result begins, in the phase where it begins first.
    pub(super) base: i32,
    pub(super) dil: i32,
    /// Pixels of the result.
    size: i32,
    /// Phases.
    stride: i32,
    taps: [i32; 2],
    /// The first result of each phase.
    first: [i32; 2],
    /// How far behind `base` the windows of each phase begin.
    shift: [i32; 2],
}

/// `struct Product` of kernels/conv_wgmma.cu.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, bytemuck::Pod, bytemuck::Zeroable)]
struct Params {
    n: i32,
    c: i32,
    k: i32,
    v: Line,
    u: Line,
}

/// `struct Conv` of kernels/conv.cuh, of which turning reads the sizes.
#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Conv {
    sizes: ConvSizes,
    bias: u32,
    span: u32,
}

/// What factors are in memory, and in the product.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Factor {
    /// f32 in memory, rounded on the way.
    Tf32,
    Bf16,
}

impl Factor {
    pub(super) const fn bytes(self) -> usize {
        match self {
            Factor::Tf32 => 4,
            Factor::Bf16 => 2,
        }
    }
    /// Channels of a stage of the kernels' ring: a row of 128 bytes.
    const fn depth(self) -> usize {
        128 / self.bytes()
    }
    /// What channels must be multiples of: pixels and taps that begin at multiples of 16 bytes.
    const fn channels(self) -> i32 {
        16 / self.bytes() as i32
    }
    const fn element(self) -> ElementType {
        match self {
            Factor::Tf32 => ElementType::Tf32,
            Factor::Bf16 => ElementType::Bf16,
        }
    }
}

/// A convolution, or the gradient of its input, as the kernel does it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Product {
    factor: Factor,
    params: Params,
    /// Height and width of what is read.
    source: [i32; 2],
    /// The convolution whose filters are to be turned, for gradients.
    turn: Option<ConvSizes>,
}

/// The ring, and room to let it begin at a multiple of 1024.
pub(super) const SHARED: usize = (216 + 1) * 1024;

/// One of the kernels: a block computes `filters` × `pixels` results at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tile {
    filters: usize,
    pixels: usize,
    /// Cycles of a multiprocessor for the products of a stage, or for its bytes of shared memory if they take longer: the table in
    /// kernels/conv_wgmma.cu.
    cycles: usize,
}

const TILES: [Tile; 4] = [
    Tile { filters: 128, pixels: 256, cycles: 1024 },
    Tile { filters: 128, pixels: 128, cycles: 640 },
    Tile { filters: 64, pixels: 512, cycles: 1216 },
    Tile { filters: 64, pixels: 256, cycles: 704 },
];

/// Cycles in which a multiprocessor of Hopper does so many multiply-adds by mma.sync: 1024 a cycle, of which mma.sync reaches 0.63
/// (arXiv 2402.13499).
pub(super) fn cycles_of_mma(macs: usize) -> usize {
    (macs as f64 / (0.63 * 1024.0)) as usize
}

impl Tile {
    fn kernel(&self, factor: Factor) -> String {
        let name = match factor {
            Factor::Tf32 => "tf32",
            Factor::Bf16 => "bf16",
        };
        format!("conv2d_wgmma_{}x{}_{name}", self.filters, self.pixels)
    }
}

/// What a corner of a map and an offset of a copy may be: signed and unsigned bytes.
const CORNER: std::ops::Range<i32> = -128..128;
const OFFSET: std::ops::Range<i32> = 0..256;

/// Both axes of fprop, vertical and horizontal.
pub(super) fn axes(z: &ConvSizes) -> (Line, Line) {
    (forwards(z.p, z.r, z.stride_h, z.pad_h, z.dil_h), forwards(z.q, z.s, z.stride_w, z.pad_w, z.dil_w))
}

/// One axis of fprop: `y` results of stride `stride` read `x` pixels under a filter of `kernel`.
fn forwards(y: u32, kernel: u32, stride: u32, pad: u32, dil: u32) -> Line {
    Line {
        rows: y as i32,
        step: stride as i32,
        base: -(pad as i32),
        dil: dil as i32,
        size: y as i32,
        stride: 1,
        taps: [kernel as i32, 0],
        first: [0; 2],
        shift: [0; 2],
    }
}

/// One axis of dgrad: `x` pixels, of which each `stride`-th is of one phase, read results under the taps of the phase, which are
/// `phase`, `phase + stride`, …; the last tap reads the first result of the window.
fn backwards(x: u32, kernel: u32, stride: u32, pad: u32, dil: u32) -> Line {
    let (stride, pad, dil) = (stride as i32, pad as i32, dil as i32);
    let mut line = Line {
        rows: (x as i32 + stride - 1) / stride,
        step: 1,
        base: 0,
        dil,
        size: x as i32,
        stride,
        taps: [0; 2],
        first: [0; 2],
        shift: [0; 2],
    };
    for phase in 0..stride {
        let first = (phase + stride - pad % stride) % stride;
        let taps = (kernel as i32 - phase).max(0).div_euclid(stride) + ((kernel as i32 - phase).max(0) % stride != 0) as i32;
        let p = phase as usize;
        // Pixel first + i·stride reads result i + (first + pad)/stride under tap `phase`.
        (line.first[p], line.taps[p], line.shift[p]) = (first, taps, (first + pad) / stride - (taps - 1) * dil);
    }
    let phases = || 0..stride as usize;
    line.base = phases().filter(|&p| line.taps[p] > 0).map(|p| line.shift[p]).min().unwrap_or(0);
    phases().for_each(|p| line.shift[p] = if line.taps[p] > 0 { line.shift[p] - line.base } else { 0 });
    line
}

impl Line {
    /// Where windows begin, from the first pixel of `source` and from its last.
    fn corners(&self, source: i32) -> (i32, i32) {
        (self.base, self.base + (self.rows - 1) * self.step - (source - 1))
    }
    /// Whether maps and copies can say it.
    pub(super) fn possible(&self, source: i32) -> bool {
        let (lower, upper) = self.corners(source);
        let far = (0..2).map(|p| self.shift[p] + (self.taps[p] - 1).max(0) * self.dil).max().unwrap_or(0);
        CORNER.contains(&lower) && CORNER.contains(&upper) && OFFSET.contains(&far) && (1..=8).contains(&self.step)
    }
}

impl Product {
    fn new(factor: Factor, params: Params, source: [i32; 2], turn: Option<ConvSizes>) -> Option<Product> {
        let whole = params.c % factor.channels() == 0 && params.k % factor.channels() == 0;
        let possible = params.v.possible(source[0]) && params.u.possible(source[1]);
        (whole && possible).then_some(Product { factor, params, source, turn })
    }
    /// The forward pass, if it is possible. No groups; channels in fours, of bf16 in eights.
    pub(super) fn fprop(z: &ConvSizes, factor: Factor) -> Option<Product> {
        let (v, u) = axes(z);
        let params = Params { n: z.n as i32, c: z.c as i32, k: z.k as i32, v, u };
        (z.groups == 1).then(|| Product::new(factor, params, [z.h as i32, z.w as i32], None))?
    }
    /// The gradient of the input. A stride of 1 or 2; where it is 2, no dilation.
    pub(super) fn dgrad(z: &ConvSizes, factor: Factor) -> Option<Product> {
        let axis = |stride, dil| stride == 1 || stride == 2 && dil == 1;
        if z.groups > 1 || !axis(z.stride_h, z.dil_h) || !axis(z.stride_w, z.dil_w) {
            return None;
        }
        let (v, u) = (backwards(z.h, z.r, z.stride_h, z.pad_h, z.dil_h), backwards(z.w, z.s, z.stride_w, z.pad_w, z.dil_w));
        let params = Params { n: z.n as i32, c: z.k as i32, k: z.c as i32, v, u };
        Product::new(factor, params, [z.p as i32, z.q as i32], Some(*z))
    }

    /// Tiles, those of all phases.
    fn tiles(&self, t: Tile) -> usize {
        let Params { n, k, v, u, .. } = &self.params;
        let pixels = (n * v.rows * u.rows) as usize;
        pixels.div_ceil(t.pixels) * (*k as usize).div_ceil(t.filters) * (v.stride * u.stride) as usize
    }
    /// Stages of all tiles of the multiprocessor that has most, of `processors`; phases have their average number of taps.
    fn stages(&self, t: Tile, processors: usize) -> usize {
        let Params { c, v, u, .. } = &self.params;
        let taps = ((v.taps[0] + v.taps[1]) * (u.taps[0] + u.taps[1])) as usize;
        let deep = taps * (*c as usize).div_ceil(self.factor.depth());
        (self.tiles(t).div_ceil(processors) * deep).div_ceil((v.stride * u.stride) as usize)
    }
    /// Cycles of the multiprocessor that has most to do, the padding of tiles and stages included.
    pub(super) fn cycles(&self, t: Tile, processors: usize) -> usize {
        self.stages(t, processors) * t.cycles
    }
    /// The tile that leaves the busiest multiprocessor least to do; of several the first, which reads least.
    pub(super) fn tile(&self, processors: usize) -> Tile {
        TILES.into_iter().min_by_key(|&t| self.cycles(t, processors)).expect("there are four")
    }
    /// Values of the turned filters.
    pub(super) fn turned(&self) -> usize {
        self.turn.map_or(0, |z| z.filters().len())
    }

    /// The source, of which a copy walks over the windows of so many results.
    fn source_map(&self, pixels: usize) -> TensorMap {
        let Params { n, c, v, u, .. } = &self.params;
        windows(self.factor, [*n, self.source[0], self.source[1], *c], (v, u), pixels)
    }
    /// The filters, of which a copy takes one tap of so many.
    fn filter_map(&self, filters: usize) -> TensorMap {
        let Params { c, k, v, u, .. } = &self.params;
        let taps = (v.taps[0] + v.taps[1]) * (u.taps[0] + u.taps[1]);
        let (dims, cut) =
            ([*c, taps, *k].map(|d| d as u64).to_vec(), Cut::Tiled(vec![self.factor.depth() as u32, 1, filters as u32]));
        TensorMap::dense(self.factor.element(), 0, dims, cut, Swizzle::B128)
    }

    /// `to` = the product of `from` with filters `w`, plus a bias per channel, all of the product's type but the bias, which is f32.
    /// A gradient turns the filters into scratch memory first.
    pub(super) fn launch(
        &self,
        g: &Operands,
        (t, processors): (Tile, usize),
        from: Span,
        w: Span,
        bias: Option<Span>,
        to: Span,
    ) -> Result<()> {
        let w = match &self.turn {
            Some(z) => {
                let mem = g.scratch.expect("the op asked for scratch memory");
                self.turn(g, z, w, Span { len: self.turned() * self.factor.bytes(), unit: self.factor.bytes(), ..mem })?
            }
            None => w,
        };
        let grid = self.tiles(t).min(processors);
        let call = g.call(&t.kernel(self.factor))?.grid([grid, 1, 1]).block(384).shared(SHARED);
        let call = call.map(from, self.source_map(t.pixels)).map(w, self.filter_map(t.filters));
        call.read_or_null(bias).write(to).value(&self.params).go()
    }

    /// The filters in the order in which the gradient of the input reads them.
    fn turn(&self, g: &Operands, z: &ConvSizes, w: Span, to: Span) -> Result<Span> {
        let p = Conv { sizes: *z, bias: 1, span: 0 };
        let grid = [(z.k as usize).div_ceil(32), (z.c as usize).div_ceil(32), (z.r * z.s) as usize];
        let kernel = match self.factor {
            Factor::Tf32 => "conv2d_turn_f32",
            Factor::Bf16 => "conv2d_turn_bf16",
        };
        g.call(kernel)?.grid(grid).block3([32, 8, 1]).write(to).read(w).value(&p).go()?;
        Ok(to)
    }
}

/// A source N·H·W·C, of which a copy walks over the windows of so many results, with the channels of a stage.
pub(super) fn windows(factor: Factor, [n, h, w, c]: [i32; 4], (v, u): (&Line, &Line), pixels: usize) -> TensorMap {
    let ((top, bottom), (left, right)) = (v.corners(h), u.corners(w));
    let (lower, upper) = (vec![left, top], vec![right, bottom]);
    let cut = Cut::Im2col { lower, upper, channels: factor.depth() as u32, pixels: pixels as u32 };
    let dims = [c, w, h, n].map(|d| d as u64).to_vec();
    let steps = vec![1, u.step as u32, v.step as u32, 1];
    TensorMap { steps, ..TensorMap::dense(factor.element(), 0, dims, cut, Swizzle::B128) }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::core::launch::F32;
    use crate::core::real::Real;
    use crate::core::rng::{Rng, stream};
    use crate::core::shape::{Shape, shape};
    use crate::device::emu::{Emulator, Options, Schedule};
    use crate::device::{Driver, Hopper, Precision, kernels};
    use crate::host::plain;
    use crate::ops::conv2d::Conv2d;

    const FACTORS: [Factor; 2] = [Factor::Tf32, Factor::Bf16];

    pub fn conv((stride, pad, dil): (usize, usize, usize), x: Shape, k: usize, r: usize, s: usize) -> ConvSizes {
        let op = Conv2d { stride: (stride, stride), pad: (pad, pad), dilation: (dil, dil), groups: 1 };
        op.sizes(x, shape(k, r, s, x.c as usize)).unwrap()
    }

    /// Sizes that end inside tiles, stages, turns of the ring, pictures and phases.
    pub fn sizes() -> Vec<ConvSizes> {
        vec![
            conv((1, 1, 1), shape(1, 7, 5, 32), 64, 3, 3),
            conv((1, 1, 1), shape(2, 9, 8, 36), 68, 3, 3),
            conv((1, 0, 1), shape(1, 1, 127, 4), 64, 1, 1),
            conv((1, 0, 1), shape(1, 1, 128, 64), 128, 1, 1),
            conv((1, 0, 1), shape(1, 3, 43, 32), 132, 1, 1),
            conv((2, 1, 1), shape(2, 16, 12, 32), 64, 4, 4),
            conv((2, 1, 1), shape(1, 9, 7, 12), 36, 3, 3),
            conv((2, 0, 1), shape(1, 9, 8, 8), 20, 1, 1),
            conv((2, 2, 1), shape(3, 6, 11, 40), 4, 5, 3),
            conv((1, 2, 1), shape(1, 6, 6, 64), 60, 3, 3),
            conv((1, 2, 1), shape(1, 4, 4, 4), 8, 1, 1),
            conv((1, 2, 2), shape(1, 9, 9, 32), 32, 3, 3),
            conv((1, 0, 1), shape(5, 4, 4, 32), 68, 4, 4),
            conv((2, 1, 1), shape(1, 32, 33, 100), 8, 4, 4),
            conv((1, 1, 1), shape(1, 9, 8, 72), 136, 3, 3),
            conv((2, 2, 1), shape(2, 6, 11, 40), 8, 5, 3),
            conv((2, 1, 1), shape(1, 9, 7, 24), 200, 3, 3),
        ]
    }

    /// Filters as `conv2d_turn` leaves them: for each channel, the taps of one phase after the other, each from its last.
    fn turned(z: &ConvSizes, w: &[f64]) -> Vec<f64> {
        let order = |kernel: u32, stride: u32, phase: u32| (phase..kernel).step_by(stride as usize).collect::<Vec<_>>();
        let mut out = Vec::new();
        for c in 0..z.c {
            for (a, b) in (0..z.stride_h).flat_map(|a| (0..z.stride_w).map(move |b| (a, b))) {
                for r in order(z.r, z.stride_h, a).into_iter().rev() {
                    for s in order(z.s, z.stride_w, b).into_iter().rev() {
                        out.extend((0..z.k).map(|k| w[(((k * z.r + r) * z.s + s) * z.c + c) as usize]));
                    }
                }
            }
        }
        out
    }

    /// What the kernel's walk gives, with the names of its source.
    fn walked(p: &Product, x: &[f64], w: &[f64], bias: &[f64]) -> Vec<f64> {
        let Params { n, c, k, v, u } = p.params;
        let taps = (v.taps[0] + v.taps[1]) * (u.taps[0] + u.taps[1]);
        let mut y = vec![f64::NAN; (n * v.size * u.size * k) as usize];
        for (a, b) in (0..v.stride as usize).flat_map(|a| (0..u.stride as usize).map(move |b| (a, b))) {
            let first_tap =
                if a > 0 { v.taps[0] } else { 0 } * (u.taps[0] + u.taps[1]) + v.taps[a] * if b > 0 { u.taps[0] } else { 0 };
            for (n, i, j) in (0..n).flat_map(|n| (0..v.rows).flat_map(move |i| (0..u.rows).map(move |j| (n, i, j)))) {
                let (h, left) = (v.first[a] + i * v.stride, u.first[b] + j * u.stride);
                if h >= v.size || left >= u.size {
                    continue;
                }
                for k_ in 0..k {
                    let mut sum = bias[k_ as usize];
                    for (r, s) in (0..v.taps[a]).flat_map(|r| (0..u.taps[b]).map(move |s| (r, s))) {
                        let at = [i * v.step + v.base + v.shift[a] + r * v.dil, j * u.step + u.base + u.shift[b] + s * u.dil];
                        if (0..2).all(|d| (0..p.source[d]).contains(&at[d])) {
                            let from = ((n * p.source[0] + at[0]) * p.source[1] + at[1]) * c;
                            let tap = (k_ * taps + first_tap + r * u.taps[b] + s) * c;
                            sum += (0..c).map(|c| x[(from + c) as usize] * w[(tap + c) as usize]).sum::<f64>();
                        }
                    }
                    y[(((n * v.size + h) * u.size + left) * k + k_) as usize] = sum;
                }
            }
        }
        y
    }

    /// Drawn values that a factor holds: of tf32, numbers that are rounded later.
    pub fn normals(rng: &mut Rng, factor: Factor, len: usize) -> Vec<f64> {
        let kept = |x: f32| if factor == Factor::Bf16 { x.bf16().to_f32() } else { x };
        (0..len).map(|_| kept(rng.normal()) as f64).collect()
    }

    /// Both passes of the convolution `z` that are possible: the product, its source, its filters, its bias and the exact result.
    fn products(z: &ConvSizes, factor: Factor, rng: &mut Rng) -> Vec<(Product, [Vec<f64>; 4])> {
        let [x, w, dy] = [z.x(), z.filters(), z.y()].map(|s| normals(rng, factor, s.len()));
        let [bias_k, bias_c] = [z.k, z.c].map(|n| normals(rng, Factor::Tf32, n as usize));
        let mut out = Vec::new();
        if let Some(p) = Product::fprop(z, factor) {
            let mut y = vec![0.0; z.y().len()];
            plain::fprop(z, &x, &w, Some(&bias_k), &mut y);
            out.push((p, [x.clone(), w.clone(), bias_k, y]));
        }
        if let Some(p) = Product::dgrad(z, factor) {
            let mut dx = vec![0.0; z.x().len()];
            plain::dgrad(z, &dy, &w, Some(&bias_c), &mut dx);
            out.push((p, [dy, w, bias_c, dx]));
        }
        out
    }

    /// The walk itself, without a kernel: phases, windows and taps are the convolution's, for all sizes that are possible.
    #[test]
    fn products_are_the_passes_of_a_convolution() {
        let (mut rng, mut passes) = (Rng::new(8, stream("products"), 0), 0);
        for (z, factor) in sizes().iter().flat_map(|z| FACTORS.map(|f| (*z, f))) {
            for (p, [x, w, bias, exact]) in products(&z, factor, &mut rng) {
                let w = if p.turn.is_some() { turned(&z, &w) } else { w };
                let y = walked(&p, &x, &w, &bias);
                let error =
                    y.iter().zip(&exact).map(|(a, b)| (a - b).abs()).fold(0.0, |m, e| if e.is_nan() { e } else { m.max(e) });
                assert!(error < 1e-10, "{p:?}: {error}");
                // The last window begins at the upper corner.
                for (line, size) in [(p.params.v, p.source[0]), (p.params.u, p.source[1])] {
                    let (lower, upper) = line.corners(size);
                    assert_eq!((upper + size - 1 - lower) / line.step + 1, line.rows, "{p:?}");
                }
                p.source_map(512).check().and_then(|()| p.filter_map(128).check()).unwrap_or_else(|e| panic!("{p:?}: {e}"));
                passes += 1;
            }
        }
        assert!(passes > 45, "only {passes}");
        let no = [
            conv((1, 0, 1), shape(1, 5, 5, 3), 8, 3, 3),     // channels not in fours
            conv((3, 0, 1), shape(1, 9, 9, 4), 8, 3, 3),     // dgrad has phases for strides of 2
            conv((2, 2, 2), shape(1, 9, 9, 4), 8, 3, 3),     // and no dilation then
            conv((1, 0, 1), shape(1, 1, 300, 4), 8, 1, 270), // a corner of -269
        ];
        let possible = |z, f| (Product::fprop(z, f).is_some(), Product::dgrad(z, f).is_some());
        let of_tf32: Vec<(bool, bool)> = no.iter().map(|z| possible(z, Factor::Tf32)).collect();
        assert_eq!(of_tf32, [(false, false), (true, false), (true, false), (false, false)]);
        assert!(no.iter().all(|z| possible(z, Factor::Bf16) == (false, false)), "channels not in eights");
        let groups = Conv2d { groups: 2, ..Conv2d::new(1, 1) }.sizes(shape(1, 5, 5, 8), shape(8, 3, 3, 4)).unwrap();
        assert_eq!(possible(&groups, Factor::Tf32), (false, false));
    }

    /// The tile by counted work: wide ones where there are many, and none whose shared memory is the bottleneck if another fits.
    #[test]
    fn the_rule() {
        let vgg = |n, size, c, k| Product::fprop(&conv((1, 1, 1), shape(n, size, size, c), k, 3, 3), Factor::Tf32).unwrap();
        let tile = |p: Product| (p.tile(132).filters, p.tile(132).pixels);
        assert_eq!(tile(vgg(32, 256, 64, 64)), (64, 512));
        assert_eq!([vgg(32, 128, 64, 128), vgg(32, 64, 256, 256), vgg(32, 32, 512, 512)].map(tile), [(128, 256); 3]);
        assert_eq!(tile(vgg(4, 16, 512, 512)), (128, 128), "32 tiles of 128 × 256 would leave 100 multiprocessors without one");
        assert_eq!(
            vgg(32, 64, 256, 256).stages(TILES[0], 132),
            8 * 9 * 8,
            "1024 tiles on 132 multiprocessors, nine taps of 8 stages"
        );
        for (t, factor) in TILES.into_iter().flat_map(|t| FACTORS.map(|f| (t, f))).filter(|_| kernels::hopper()) {
            let k = kernels::find(&t.kernel(factor)).expect("built");
            assert!(k.shared as usize + SHARED <= 227 * 1024 && k.module.target == kernels::Target::Sm90a);
            let stage = 128 * (t.filters + t.pixels);
            assert!(stage * (k.shared as usize / 16) <= SHARED - 1024, "a stage has two barriers, {k:?}");
            // Eight warps read a group's filters and pixels, TMA writes both.
            let columns = if t.filters == 64 { t.pixels / 2 } else { t.pixels };
            let (products, bytes) = (2 * 4 * columns / 2, 2 * (64 + columns) * 128 + stage);
            assert_eq!(t.cycles, products.max(bytes / 128), "{t:?}");
        }
    }

    /// What the kernels move and multiply where sizes fill their tiles: nothing in vain. And the layers at 256 pixels, batch 32.
    #[test]
    fn counts_are_those_of_the_tiles() {
        let z = conv((1, 1, 1), shape(1, 16, 32, 64), 128, 3, 3);
        for (t, factor) in TILES.into_iter().flat_map(|t| FACTORS.map(|f| (t, f))).filter(|_| kernels::hopper()) {
            let device = Emulator::hopper(Options { counters: true, ..Options::default() }, Hopper::WherePossible);
            device.keep_reports();
            let p = Product::fprop(&z, factor).unwrap();
            let operands = [z.x().len(), z.filters().len(), z.k as usize, z.y().len()].map(|n| vec![1.0; n]);
            run(&device, &p, (t, 132), &operands);
            let (l, c) = device.take_reports().pop().map(|l| (l.grid[0] as usize, l.report.counters)).expect("one launch");
            assert_eq!((l, c.group_macs, c.all_macs()), (p.tiles(t), z.macs(), z.macs()), "{t:?}");
            // 64 channels are two stages in tf32 and one in bf16, of 128 bytes a row each.
            let (stage, stages) = (128 * (t.filters + t.pixels), 64 / factor.depth());
            assert_eq!(c.bulk_bytes as usize, p.tiles(t) * 9 * stages * stage, "{t:?} {factor:?}: bytes by TMA");
            assert_eq!((c.shared_operands.waves, c.conflicts()), (c.shared_operands.ideal, 0), "{t:?}: the swizzle's ideal");
            assert_eq!(c.store.sectors as usize, z.y().len() * factor.bytes() / 32, "{t:?} {factor:?}: whole sectors");
        }
        let mut done = [(0, 0); 2];
        let layers =
            [(64, 128, 128, 4, 2), (128, 64, 256, 4, 2), (256, 32, 512, 4, 2), (512, 16, 512, 3, 1), (64, 256, 64, 3, 1)];
        let later =
            [(64, 128, 128, 3, 1), (128, 128, 128, 3, 1), (128, 64, 256, 3, 1), (256, 64, 256, 3, 1), (512, 32, 512, 3, 1)];
        for (c, size, k, r, stride) in layers.into_iter().chain(later) {
            let z = conv((stride, 1, 1), shape(32, size, size, c), k, r, r);
            for (f, done) in FACTORS.into_iter().zip(&mut done) {
                for p in [Product::fprop(&z, f).unwrap(), Product::dgrad(&z, f).unwrap()] {
                    let (t, cycles) = (p.tile(132), p.cycles(p.tile(132), 132));
                    // Multiply-adds of a cycle: 1024 in tf32, 2048 in bf16.
                    let useful = z.macs() as f64 / (132 * cycles * 32 * f.depth()) as f64;
                    assert!(useful > 0.8, "{useful:.2} of the multiprocessors' cycles: {t:?} of {z:?} in {f:?}");
                    done.0 += z.macs();
                    done.1 += (132 * p.stages(t, 132) * t.filters * t.pixels * f.depth()) as u64;
                }
            }
        }
        for (f, (macs, done)) in FACTORS.into_iter().zip(done) {
            assert!(macs as f64 >= 0.9 * done as f64, "{macs} of {done} multiply-adds in {f:?}, idle multiprocessors counted");
        }
    }

    /// Every kernel on every size, a few blocks for all tiles, under several schedules.
    #[test]
    fn every_tile_computes_every_size() {
        if !kernels::hopper() {
            return; // built without nvcc, or by one that cannot make sm_90a
        }
        let mut rng = Rng::new(9, stream("wgmma"), 0);
        for (z, factor) in sizes().iter().flat_map(|z| FACTORS.map(|f| (*z, f))) {
            for (p, operands) in products(&z, factor, &mut rng) {
                // Two of tf32's roundings, half a unit each, of every product; one of bf16's, of the result, and f32's sums.
                let bound = if factor == Factor::Tf32 { 2f64.powi(-10) } else { 2f64.powi(-8) + 2f64.powi(-20) };
                let size = |v: &[f64]| v.iter().map(|x| x.abs()).collect::<Vec<f64>>();
                let [x, w, bias, _] = operands.each_ref().map(|v| size(v));
                let sizes = walked(&p, &x, &if p.turn.is_some() { turned(&z, &w) } else { w }, &bias);
                for t in TILES {
                    let mut first: Option<Vec<f32>> = None;
                    for (schedule, processors) in [(Schedule::Forward, 2), (Schedule::Reverse, 3), (Schedule::Random(7), 132)] {
                        let device = Emulator::hopper(Options { schedule, ..Options::default() }, Hopper::WherePossible);
                        let values = run(&device, &p, (t, processors), &operands);
                        let what = || format!("{t:?}, {schedule:?}: {p:?}");
                        match &first {
                            Some(first) => assert!(*first == values, "other bits than the first schedule: {}", what()),
                            None => {
                                let error = |((&a, b), s): ((&f32, &f64), &f64)| (a as f64 - b).abs() / (s + 1e-3);
                                let errors = values.iter().zip(&operands[3]).zip(&sizes).map(error);
                                let worst = errors.fold(0.0, |m: f64, e| if e.is_nan() { e } else { m.max(e) });
                                assert!(worst <= bound, "error {worst:.1e}: {}", what());
                            }
                        }
                        first = first.or(Some(values));
                    }
                }
            }
        }
    }

    fn run(device: &Emulator, p: &Product, how: (Tile, usize), [x, w, bias, y]: &[Vec<f64>; 4]) -> Vec<f32> {
        let bytes = p.factor.bytes();
        let (to, scratch) = (empty(device, y.len(), bytes), empty(device, w.len(), bytes));
        let (x, w, bias) = (put(device, x, bytes), put(device, w, bytes), put(device, bias, F32));
        let g = operands(device, scratch);
        p.launch(&g, how, x, w, Some(bias), to).unwrap_or_else(|e| panic!("{p:?}, {how:?}: {e}"));
        get(device, to)
    }

    /// Memory of the emulator for values of 4 bytes, or of 2 for bf16; without values, and with.
    pub fn empty(device: &Emulator, len: usize, unit: usize) -> Span {
        let mem = device.alloc(&[("operand".to_string(), len * unit)]).unwrap()[0];
        Span { unit, ..Span::whole(mem, len * unit) }
    }
    pub fn put(device: &Emulator, values: &[f64], unit: usize) -> Span {
        let to = empty(device, values.len(), unit);
        let real: Vec<f32> = values.iter().map(|&v| v as f32).collect();
        let half: Vec<half::bf16> = values.iter().map(|v| v.bf16()).collect();
        device.upload(to, if unit == F32 { bytemuck::cast_slice(&real) } else { bytemuck::cast_slice(&half) }).unwrap();
        to
    }
    pub fn get(device: &Emulator, from: Span) -> Vec<f32> {
        let mut bytes = vec![0u8; from.len];
        device.download(from, &mut bytes).unwrap();
        let half = |b: &[u8]| half::bf16::from_le_bytes([b[0], b[1]]).to_f32();
        match from.unit {
            F32 => bytemuck::pod_collect_to_vec(&bytes),
            _ => bytes.chunks(2).map(half).collect(),
        }
    }
    /// What launches without a plan need.
    pub fn operands(device: &Emulator, scratch: Span) -> Operands<'_> {
        Operands {
            driver: device,
            precision: Precision::Tf32,
            at: "",
            xs: &[],
            ys: &[],
            x: [None; 6],
            y: [None; 6],
            dy: None,
            out: [None; 6],
            scratch: Some(scratch),
        }
    }
}
