//! Launches of kernels/conv_wgmma_wgrad.cu: filter gradients of bf16 operands on Hopper.

use super::conv_launch::{PROCESSORS, Split, sum_splits};
use super::conv_wgmma::{Factor, SHARED, axes, windows};
use crate::core::launch::Operands;
use crate::device::{Span, TensorMap};
use crate::error::Result;
use crate::host::sizes::ConvSizes;
use crate::ptx::tensor_map::{Cut, ElementType, Swizzle};

/// `struct Filters` of kernels/conv_wgmma_wgrad.cu.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, bytemuck::Pod, bytemuck::Zeroable)]
struct Params {
    n: i32,
    p: i32,
    q: i32,
    c: i32,
    k: i32,
    r: i32,
    s: i32,
    step_v: i32,
    base_v: i32,
    dil_v: i32,
    step_u: i32,
    base_u: i32,
    dil_u: i32,
    span: i32,
    splits: i32,
}

/// Channels of a box, and pixels of a stage.
const WIDE: usize = 64;
const PIXELS: usize = 64;

/// One of the kernels: a block computes `filters` × `columns` sums at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tile {
    filters: usize,
    columns: usize,
    /// Cycles of a multiprocessor for a stage: the table in the kernel's source.
    cycles: usize,
}

const TILES: [Tile; 2] = [Tile { filters: 128, columns: 256, cycles: 1024 }, Tile { filters: 64, columns: 512, cycles: 1216 }];

impl Tile {
    fn kernel(&self) -> String {
        format!("conv2d_wgmma_wgrad_{}x{}_bf16", self.filters, self.columns)
    }
}

/// A filter gradient that the kernels can do.
#[derive(Clone, Copy, Debug)]
pub(super) struct Gradient {
    z: ConvSizes,
}

impl Gradient {
    /// No groups; channels in eights; windows that maps and copies can say.
    pub(super) fn of(z: &ConvSizes) -> Option<Gradient> {
        let (v, u) = axes(z);
        let eights = z.c.is_multiple_of(8) && z.k.is_multiple_of(8);
        (z.groups == 1 && eights && v.possible(z.h as i32) && u.possible(z.w as i32)).then_some(Gradient { z: *z })
    }

    fn pixels(&self) -> usize {
        self.z.y().pixels()
    }
    /// Tiles of the result. Columns come in groups of 64 channels of a tap.
    fn tiles(&self, t: Tile) -> usize {
        let groups = (self.z.r * self.z.s) as usize * (self.z.c as usize).div_ceil(WIDE);
        (self.z.k as usize).div_ceil(t.filters) * groups.div_ceil(t.columns / WIDE)
    }
    /// How a tile's sum is cut, so that each multiprocessor has work. Only sizes enter.
    fn split(&self, t: Tile) -> Split {
        Split::in_steps(PIXELS, self.pixels(), self.tiles(t), PROCESSORS)
    }
    /// Cycles of the multiprocessor that has most to do, of `PROCESSORS`.
    pub(super) fn cycles(&self, t: Tile) -> usize {
        let split = self.split(t);
        (self.tiles(t) * split.count).div_ceil(PROCESSORS) * split.span.min(self.pixels()).div_ceil(PIXELS) * t.cycles
    }
    /// The tile that leaves the busiest multiprocessor least to do.
    pub(super) fn tile(&self) -> Tile {
        TILES.into_iter().min_by_key(|&t| self.cycles(t)).expect("there are two")
    }
    /// Values of the partial sums.
    pub(super) fn partial(&self) -> usize {
        self.split(self.tile()).partial(self.z.filters().len())
    }

    /// x, of which a copy walks over the windows of a stage's pixels.
    fn source_map(&self) -> TensorMap {
        let (v, u) = axes(&self.z);
        windows(Factor::Bf16, [self.z.n, self.z.h, self.z.w, self.z.c].map(|d| d as i32), (&v, &u), PIXELS)
    }
    /// dy, of which a copy takes 64 filters of a stage's pixels.
    fn gradient_map(&self) -> TensorMap {
        let (dims, cut) = (vec![self.z.k as u64, self.pixels() as u64, 1], Cut::Tiled(vec![WIDE as u32, PIXELS as u32, 1]));
        TensorMap::dense(ElementType::Bf16, 0, dims, cut, Swizzle::B128)
    }

    /// dw in f32, by at most so many blocks. `sums` holds [`Gradient::partial`] values, where there are any.
    pub(super) fn launch(&self, g: &Operands, processors: usize, x: Span, dy: Span, sums: Option<Span>, dw: Span) -> Result<()> {
        let t = self.tile();
        self.launch_with(g, (t, self.split(t), processors), x, dy, sums, dw)
    }

    fn launch_with(
        &self,
        g: &Operands,
        (t, split, processors): (Tile, Split, usize),
        x: Span,
        dy: Span,
        sums: Option<Span>,
        dw: Span,
    ) -> Result<()> {
        let (z, (v, u)) = (&self.z, axes(&self.z));
        let to = if split.count == 1 { dw } else { sums.expect("the op asked for memory of partial sums") };
        let p = Params {
            n: z.n as i32,
            p: z.p as i32,
            q: z.q as i32,
            c: z.c as i32,
            k: z.k as i32,
            r: z.r as i32,
            s: z.s as i32,
            step_v: v.step,
            base_v: v.base,
            dil_v: v.dil,
            step_u: u.step,
            base_u: u.base,
            dil_u: u.dil,
            span: split.span as i32,
            splits: split.count as i32,
        };
        let grid = (self.tiles(t) * split.count).min(processors);
        let call = g.call(&t.kernel())?.grid([grid, 1, 1]).block(384).shared(SHARED);
        call.map(x, self.source_map()).map(dy, self.gradient_map()).write(to).value(&p).go()?;
        sum_splits(g, to, dw, z.filters().len(), split)
    }
}

#[cfg(test)]
mod tests {
    use super::super::conv_wgmma::tests::{conv, empty, get, normals, operands, put, sizes};
    use super::*;
    use crate::core::launch::F32;
    use crate::core::rng::{Rng, stream};
    use crate::core::shape::shape;
    use crate::device::emu::{Emulator, Options, Schedule};
    use crate::device::{Hopper, kernels};
    use crate::host::plain;

    fn run(device: &Emulator, p: &Gradient, how: (Tile, Split, usize), x: &[f64], dy: &[f64]) -> Vec<f32> {
        let len = p.z.filters().len();
        let (x, dy) = (put(device, x, 2), put(device, dy, 2));
        let (dw, sums) = (empty(device, len, F32), empty(device, len * how.1.count, F32));
        p.launch_with(&operands(device, sums), how, x, dy, Some(sums), dw).unwrap_or_else(|e| panic!("{p:?}, {how:?}: {e}"));
        get(device, dw)
    }

    /// Both kernels on every size, in one piece and in several, a few blocks for all tiles, under several schedules.
    #[test]
    fn every_tile_computes_every_size() {
        if !kernels::hopper() {
            return; // built without nvcc, or by one that cannot make sm_90a
        }
        let (mut rng, mut ran) = (Rng::new(10, stream("wgmma wgrad"), 0), 0);
        // Several pictures in a stage; more pixels than a ring has stages for; more groups of columns than a tile takes.
        let more = [conv((1, 1, 1), shape(9, 3, 5, 16), 72, 3, 3), conv((1, 0, 1), shape(2, 20, 33, 72), 64, 1, 1)];
        for p in sizes().iter().chain(&more).filter_map(Gradient::of) {
            let z = &p.z;
            let [x, dy] = [z.x(), z.y()].map(|s| normals(&mut rng, Factor::Bf16, s.len()));
            let (mut exact, mut size) = (vec![0.0; z.filters().len()], vec![0.0; z.filters().len()]);
            let absolute = |v: &[f64]| v.iter().map(|x| x.abs()).collect::<Vec<f64>>();
            plain::wgrad(z, &x, &dy, &mut exact);
            plain::wgrad(z, &absolute(&x), &absolute(&dy), &mut size);
            for (t, span) in TILES.into_iter().flat_map(|t| [(t, 64), (t, 1 << 20)]) {
                let split = Split { span, count: p.pixels().div_ceil(span) };
                let mut first: Option<Vec<f32>> = None;
                for (schedule, processors) in [(Schedule::Forward, 2), (Schedule::Reverse, 3), (Schedule::Random(7), 132)] {
                    let device = Emulator::hopper(Options { schedule, ..Options::default() }, Hopper::WherePossible);
                    let values = run(&device, &p, (t, split, processors), &x, &dy);
                    let what = || format!("{t:?}, {split:?}, {schedule:?}: {p:?}");
                    match &first {
                        Some(first) => assert!(*first == values, "other bits than the first schedule: {}", what()),
                        None => {
                            // Products are exact, sums f32.
                            let error = |((&a, b), s): ((&f32, &f64), &f64)| (a as f64 - b).abs() / (s + 1e-3);
                            let errors = values.iter().zip(&exact).zip(&size).map(error);
                            let worst = errors.fold(0.0, |m: f64, e| if e.is_nan() { f64::INFINITY } else { m.max(e) });
                            assert!(worst <= 2f64.powi(-20), "error {worst:.1e}: {}", what());
                        }
                    }
                    first = first.or(Some(values));
                    ran += 1;
                }
            }
        }
        assert!(ran > 100, "only {ran}");
    }

    /// What the kernels move and multiply where sizes fill their tiles, and how the layers of the networks at 256 pixels, batch 32,
    /// fill the multiprocessors.
    #[test]
    fn counts_are_those_of_the_tiles() {
        let p = Gradient::of(&conv((1, 1, 1), shape(1, 16, 32, 128), 128, 4, 2)).unwrap();
        for t in TILES.into_iter().filter(|_| kernels::hopper()) {
            let device = Emulator::hopper(Options { counters: true, ..Options::default() }, Hopper::WherePossible);
            device.keep_reports();
            let z = &p.z;
            let split = Split { span: 128, count: p.pixels().div_ceil(128) };
            run(&device, &p, (t, split, 132), &vec![1.0; z.x().len()], &vec![1.0; z.y().len()]);
            let c = device.take_reports().into_iter().next().expect("two launches").report.counters;
            let stages = p.tiles(t) * p.pixels().div_ceil(PIXELS);
            assert_eq!(c.group_macs as usize, stages * t.filters * t.columns * PIXELS, "{t:?}");
            assert_eq!(c.bulk_bytes as usize, stages * (t.filters + t.columns) * PIXELS * 2, "{t:?}: bytes by TMA");
            assert_eq!((c.shared_operands.waves, c.conflicts()), (c.shared_operands.ideal, 0), "{t:?}: the swizzle's ideal");
            assert_eq!(c.store.sectors as usize, z.filters().len() * split.count * F32 / 32, "{t:?}: whole sectors");
            let k = kernels::find(&t.kernel()).expect("built");
            assert!(k.shared as usize + SHARED <= 227 * 1024 && k.module.target == kernels::Target::Sm90a);
            assert!((t.filters + t.columns) * PIXELS * 2 * (k.shared as usize / 16) <= SHARED - 1024, "a stage has two barriers");
            // Eight warps read a group's filters and columns, TMA writes all boxes.
            let (products, bytes) = (t.filters * t.columns * PIXELS / 2048, 2 * (64 + 256) * 128 + (t.filters + t.columns) * 128);
            assert_eq!(t.cycles, products.max(bytes / 128), "{t:?}");
        }
        let (mut macs, mut done) = (0, 0);
        for (c, size, k, r, stride) in [(64, 128, 128, 4, 2), (128, 64, 256, 4, 2), (256, 32, 512, 4, 2), (512, 16, 512, 3, 1)] {
            let p = Gradient::of(&conv((stride, 1, 1), shape(32, size, size, c), k, r, r)).unwrap();
            let useful = p.z.macs() as f64 / (PROCESSORS * p.cycles(p.tile()) * 2048) as f64;
            assert!(useful > 0.75, "{useful:.2} of the multiprocessors' cycles: {:?} of {:?}", p.tile(), p.z);
            (macs, done) = (macs + p.z.macs(), done + (PROCESSORS * p.cycles(p.tile()) * 2048) as u64);
        }
        assert!(macs as f64 >= 0.85 * done as f64, "{macs} of {done}");
    }
}
