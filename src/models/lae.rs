//! The Locality-Aware AutoEncoder: Du, Pentyala, Li, Hu, "Towards Generalizable Deepfake Detection with Locality-Aware AutoEncoder",
//! CIKM 2020 (arXiv 1909.05999), Table 2. Within a block the order is convolution, batch norm, ReLU; the outermost and the
//! innermost convolution have no batch norm. The encoder's last ReLU is `f`, the maps that the attention loss reads; `z` after the
//! head has a "true" half and a "fake" half; the decoder sees `z` alone.

use serde::{Deserialize, Serialize};

use super::STD;
use crate::core::dtype::DType;
use crate::core::params::{Form, Group, Init, Kind, ParamId, ParamStore};
use crate::core::real::Real;
use crate::core::shape::{Shape, shape};
use crate::core::tape::{Tape, Var};
use crate::error::{Error, Result};
use crate::nn::Layer::{self, *};
use crate::nn::{BN, Context, Filters, Initialisation, Net};
use crate::ops::activation::tanh;
use crate::ops::cam_attention::{Attention, CamAttention, cam_attention};
use crate::ops::concat::concat;
use crate::ops::conv2d::{Conv2d, conv2d};
use crate::words;

const fn down(out: usize) -> Layer {
    Conv(Filters::new(out, 4).stride(2).pad(1))
}
const fn up(out: usize) -> Layer {
    Up { out, k: 4, s: 2, p: 1, bias: true }
}

/// Table 2, left, for 256×256×3. The kernel sizes are ours (`lae.encoder_kernel`): the paper gives outputs only.
pub const ENCODER: &[Layer] = &[
    down(64),
    Relu, // 128×128×64
    down(128),
    BN,
    Relu, //  64×64×128
    down(256),
    BN,
    Relu, //  32×32×256
    down(512),
    BN,
    Relu, //  16×16×512
    Conv(Filters::new(512, 3).pad(1)),
    Relu, //  16×16×512 = f
    Gap,
    Linear(128), //     512, 128 = z
];

/// Table 2, right: from z as 1×1×128.
pub const DECODER: &[Layer] = &[
    Up { out: 256, k: 4, s: 1, p: 0, bias: true },
    BN,
    Relu, //   4×4×256
    up(128),
    BN,
    Relu, //   8×8×128
    up(64),
    BN,
    Relu, //  16×16×64
    up(32),
    BN,
    Relu, //  32×32×32
    up(16),
    BN,
    Relu, //  64×64×16
    up(8),
    BN,
    Relu, // 128×128×8
    up(3),
    Tanh, // 256×256×3
];

words!(
    /// What the encoder looks at.
    Input {
        /// The picture: the paper.
        Rgb,
        /// Its residual alone: eight fixed high-pass filters.
        Residual,
        /// Both, the picture's channels first.
        Both,
    }
);

/// A filter of the residual: what a pixel has that its neighbours do not foretell.
struct Tap {
    taps: [[f64; 3]; 3],
    /// Weights of red, green and blue.
    of: [f64; 3],
    /// A residual of one grey level becomes tanh(gain/255).
    gain: f64,
}

/// The 3×3 filter of Fridrich and Kodovský, "Rich models for steganalysis of digital images" (IEEE TIFS 7(3), 2012).
const SQUARE: [[f64; 3]; 3] = [[-0.25, 0.5, -0.25], [0.5, -1.0, 0.5], [-0.25, 0.5, -0.25]];
const ACROSS: [[f64; 3]; 3] = [[0.0; 3], [-0.5, 1.0, -0.5], [0.0; 3]];
const DOWN: [[f64; 3]; 3] = [[0.0, -0.5, 0.0], [0.0, 1.0, 0.0], [0.0, -0.5, 0.0]];
const LUMA: [f64; 3] = [0.299, 0.587, 0.114];

const fn tap(taps: [[f64; 3]; 3], of: [f64; 3], gain: f64) -> Tap {
    Tap { taps, of, gain }
}

/// A fill is a smooth function or a copy, a photograph has noise: what separates them is a hundredth of the picture's contrast. Each
/// colour is filtered at two gains, one that shows single grey levels and one that shows edges, and the luma along both axes.
const RESIDUAL: [Tap; 8] = [
    tap(SQUARE, [1.0, 0.0, 0.0], 64.0),
    tap(SQUARE, [0.0, 1.0, 0.0], 64.0),
    tap(SQUARE, [0.0, 0.0, 1.0], 64.0),
    tap(SQUARE, [1.0, 0.0, 0.0], 8.0),
    tap(SQUARE, [0.0, 1.0, 0.0], 8.0),
    tap(SQUARE, [0.0, 0.0, 1.0], 8.0),
    tap(ACROSS, LUMA, 32.0),
    tap(DOWN, LUMA, 32.0),
];

/// Pixels at each edge that have no residual.
const RESIDUAL_EDGE: usize = 1;

/// Sizes of the network, and what Table 2 leaves open.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LaeConfig {
    /// Channels of the first convolution; the others are 2, 4, 8 and 8 times as wide (paper: 64).
    pub width: usize,
    /// Channels of the five convolutions one by one; empty: as `width` says.
    pub channels: Vec<usize>,
    /// Convolutions before the first one that halves, at the picture's full resolution (paper: 0).
    pub full_resolution: usize,
    /// Side of the encoder's last maps, which is the resolution of the attention map (paper: 16 for 256 pixels).
    pub grid: usize,
    /// Units of z; the first half stands for true, the second for fake (paper: 128).
    pub latent: usize,
    /// Kernel of the stride-2 convolutions, 4 or 3 (not stated in the paper).
    pub encoder_kernel: usize,
    /// U-Net skip connections from encoder to decoder ("similar to U-Net" in §3.1.3, absent from Table 2).
    pub skip: bool,
    /// Biases in convolutions that batch norm follows (torch's default).
    pub bias_before_bn: bool,
    /// What the encoder looks at: rgb (the paper), residual or both.
    pub input: Input,
    /// Factor on the gains of the residual: how soon strong edges count no more than weak ones.
    pub residual_gain: f64,
    /// Initial values of encoder and head.
    pub init: Initialisation,
    /// Initial values of the decoder.
    pub init_decoder: Initialisation,
}

impl Default for LaeConfig {
    fn default() -> Self {
        LaeConfig {
            width: 64,
            channels: Vec::new(),
            full_resolution: 0,
            grid: 16,
            latent: 128,
            encoder_kernel: 4,
            skip: false,
            bias_before_bn: true,
            input: Input::Rgb,
            residual_gain: 1.0,
            init: Initialisation::TorchDefault,
            init_decoder: Initialisation::Dcgan,
        }
    }
}

impl LaeConfig {
    /// Channels of the five convolutions.
    pub fn widths(&self) -> Vec<usize> {
        if self.channels.is_empty() { [1, 2, 4, 8, 8].map(|times| self.width * times).to_vec() } else { self.channels.clone() }
    }
}

/// The encoder for pictures of `size` pixels a side: log₂(size/grid) convolutions halve, the first ones behind those at full
/// resolution; the others keep.
pub fn encoder(c: &LaeConfig, size: usize) -> Result<Vec<Layer>> {
    let halvings = (size / c.grid.max(1)).checked_ilog2().unwrap_or(0) as usize;
    if c.grid == 0 || size != c.grid << halvings || halvings > 4 {
        let fit: Vec<String> =
            (0..=4).map(|i| size >> i).filter(|&g| g >= 4 && size.is_multiple_of(g)).map(|g| g.to_string()).collect();
        return Err(Error::config(
            "lae.grid",
            format!("{} does not divide {size} by 1, 2, 4, 8 or 16; try one of {}", c.grid, fit.join(", ")),
        ));
    }
    if c.encoder_kernel != 3 && c.encoder_kernel != 4 {
        return Err(Error::config(
            "lae.encoder_kernel",
            format!("{} is not possible; 3 and 4 halve a picture exactly", c.encoder_kernel),
        ));
    }
    if c.full_resolution + halvings > 5 {
        let why = format!("{}: {halvings} of the five convolutions halve (size {size}, lae.grid {})", c.full_resolution, c.grid);
        return Err(Error::config("lae.full_resolution", format!("{why}, which leaves {}", 5 - halvings)));
    }
    let widths = c.widths();
    if widths.len() != 5 || widths.iter().any(|&w| w == 0 || w > 8192) {
        return Err(Error::config("lae.channels", format!("{widths:?}: give five numbers from 1 to 8192, or none")));
    }
    let mut layers = Vec::new();
    for (i, width) in widths.into_iter().enumerate() {
        let bn = (1..4).contains(&i);
        let halves = (c.full_resolution..c.full_resolution + halvings).contains(&i);
        let (k, s) = if halves { (c.encoder_kernel, 2) } else { (3, 1) };
        // The first convolution puts back the edge that the residual lost.
        let edge = if i == 0 && c.input != Input::Rgb { RESIDUAL_EDGE } else { 0 };
        layers.push(Conv(Filters::new(width, k).stride(s).pad(1 + edge).bias(!bn || c.bias_before_bn)));
        layers.extend(bn.then_some(BN));
        layers.push(Relu);
    }
    layers.extend([Gap, Linear(c.latent)]);
    Ok(layers)
}

/// The decoder: 1 → 4, then doubling up to `size`; widths 4·width, halving, at least 8.
pub fn decoder(c: &LaeConfig, size: usize, skips: &[Shape]) -> Result<Vec<Layer>> {
    if size < 16 || !size.is_power_of_two() {
        return Err(Error::config(
            "size",
            format!("{size} pixels: the decoder doubles from 4, so give a power of two from 16 up"),
        ));
    }
    let (mut width, mut side) = (4 * c.width, 4);
    let mut layers = vec![Up { out: width, k: 4, s: 1, p: 0, bias: c.bias_before_bn }, BN, Relu];
    while side < size {
        if let Some(s) = skips.iter().find(|s| s.h as usize == side) {
            layers.push(Skip(s.c as usize));
        }
        side *= 2;
        width = (width / 2).max(8);
        if side < size {
            layers.extend([Up { out: width, k: 4, s: 2, p: 1, bias: c.bias_before_bn }, BN, Relu]);
        }
    }
    layers.extend([up(3), Tanh]);
    Ok(layers)
}

/// [`RESIDUAL`] as filters K×3×3×3 on ImageNet-normalised pictures, whose channels are divided by [`STD`].
fn residual_filters(gain: f64) -> Vec<f64> {
    let filter = |f: &Tap| {
        let weights: [f64; 3] = std::array::from_fn(|c| gain * f.gain * f.of[c] * STD[c]);
        f.taps.as_flattened().iter().flat_map(|&x| weights.map(|w| w * x)).collect::<Vec<f64>>()
    };
    RESIDUAL.iter().flat_map(filter).collect()
}

/// The autoencoder with its parameters, named `lae.encoder.ROW…` and `lae.decoder.ROW…`, rows as in Table 2 from 0.
#[derive(Debug, Clone)]
pub struct Lae {
    pub size: usize,
    pub encoder: Net,
    pub decoder: Net,
    /// The encoder with its head: all that stage 2 trains.
    pub encoder_group: Group,
    pub decoder_group: Group,
    /// The whole autoencoder.
    pub group: Group,
    /// Filters that pick the picture without its edge, and that take the residual; frozen, absent where the input does without.
    pick: Option<ParamId>,
    residual: Option<ParamId>,
    /// Filters that average windows of so many cells; frozen.
    means: Vec<(usize, ParamId)>,
    skips: Vec<usize>,
}

/// What the encoder gives.
#[derive(Debug, Clone)]
pub struct Code {
    /// N×grid×grid×K, after the last ReLU.
    pub f: Var,
    /// N×1×1×K: the mean of `f` over its positions, the features u of the linear concept model.
    pub g: Var,
    /// N×1×1×latent.
    pub z: Var,
    /// Encoder outputs for the decoder's skip connections.
    pub skips: Vec<Var>,
}

impl Lae {
    pub fn build<T: Real>(store: &mut ParamStore<T>, c: &LaeConfig, size: usize) -> Result<Lae> {
        if c.latent < 2 || c.latent % 2 == 1 {
            return Err(Error::config("lae.latent", format!("{} units cannot be halved; give an even number", c.latent)));
        }
        if c.width == 0 {
            return Err(Error::config("lae.width", "0 channels; give 1 or more (paper: 64)"));
        }
        if !(c.residual_gain > 0.0 && c.residual_gain <= 1000.0) {
            return Err(Error::config("lae.residual_gain", format!("{}: give a number above 0, up to 1000", c.residual_gain)));
        }
        let mut bank = |name: &str, filters: Vec<f64>, there: bool| {
            there.then(|| {
                let filter = shape(filters.len() / 27, 3, 3, 3);
                let id = store.add(name, filter, Kind::Frozen, Form::Filter, Init::Constant(0.0));
                store.value_mut(id).iter_mut().zip(filters).for_each(|(to, x)| *to = T::of(x));
                id
            })
        };
        let residual = bank("lae.residual", residual_filters(c.residual_gain), c.input != Input::Rgb);
        let colour = |k: usize| (0..9).flat_map(move |p| (0..3).map(move |c| (p == 4 && c == k) as u8 as f64));
        let pick = bank("lae.pick", (0..3).flat_map(colour).collect(), c.input == Input::Both);
        let (side, channels) = match c.input {
            Input::Rgb => (size, 3),
            Input::Residual => (size - 2 * RESIDUAL_EDGE, RESIDUAL.len()),
            Input::Both => (size - 2 * RESIDUAL_EDGE, 3 + RESIDUAL.len()),
        };
        let picture = shape(1, side, side, channels);
        let encoder = Net::build(store, "lae.encoder", picture, &encoder(c, size)?, c.init, Kind::Trained)?;
        // The deepest output of each side, smallest side first.
        let mut skips: Vec<(usize, Shape)> = Vec::new();
        if c.skip {
            for (i, (_, out)) in encoder.rows().enumerate().filter(|(_, r)| *r.0 == Relu) {
                match skips.iter_mut().find(|s| s.1.h == out.h) {
                    Some(s) => *s = (i, out),
                    None => skips.push((i, out)),
                }
            }
            skips.sort_by_key(|s| s.1.h);
            skips.retain(|s| s.1.h >= 4 && (s.1.h as usize) < size);
        }
        let shapes: Vec<Shape> = skips.iter().map(|s| s.1).collect();
        let layers = decoder(c, size, &shapes)?;
        let decoder = Net::build(store, "lae.decoder", shape(1, 1, 1, c.latent), &layers, c.init_decoder, Kind::Trained)?;
        let (encoder_group, decoder_group) = (Group::of(encoder.params_all()), Group::of(decoder.params_all()));
        let group = encoder_group.and(&decoder_group);
        let skips = skips.iter().map(|s| s.0).collect();
        #[rustfmt::skip]
        let lae = Lae { size, encoder, decoder, encoder_group, decoder_group, group, pick, residual, means: Vec::new(), skips };
        Ok(lae)
    }

    /// What the encoder takes, of ImageNet-normalised pictures.
    fn input(&self, t: &mut Tape, x: Var) -> Result<Var> {
        let Some(filter) = self.residual else { return Ok(x) };
        // What a pixel has that its neighbours do not foretell is a grey level: bf16 rounds bright ones to two.
        let scoped = |t: &mut Tape| {
            let filter = t.param(filter);
            let r = conv2d(t, x, filter, None, Conv2d::new(1, 0))?;
            let r = tanh(t, r)?;
            let Some(pick) = self.pick else { return Ok(r) };
            let pick = t.param(pick);
            let x = conv2d(t, x, pick, None, Conv2d::new(1, 0))?;
            concat(t, x, r)
        };
        t.scope("lae.residual", |t| t.keeping(DType::F32, scoped))
    }

    /// Weight and bias of the last layer: the head that class activation maps read.
    pub fn head(&self) -> [ParamId; 2] {
        let row = self.encoder.params(self.encoder.rows().count() - 1);
        [row[0], row[1]]
    }

    /// `x`: ImageNet-normalised pictures, of any size: `f` has a cell for each square of pixels.
    pub fn encode(&self, t: &mut Tape, x: Var, context: impl Into<Context>) -> Result<Code> {
        let x = self.input(t, x)?;
        let rows = self.encoder.run_all(t, x, context, &[])?;
        // The last two rows are the head: GAP and Linear.
        let (f, g, z) = (rows[rows.len() - 3], rows[rows.len() - 2], rows[rows.len() - 1]);
        Ok(Code { f, g, z, skips: self.skips.iter().map(|&i| rows[i]).collect() })
    }

    /// Cells of the last maps that know of the edge of the picture.
    pub fn reach(&self) -> usize {
        self.encoder.reach(self.encoder.rows().count() - 3)
    }

    /// Reconstruction in (-1, 1).
    pub fn decode(&self, t: &mut Tape, code: &Code, context: impl Into<Context>) -> Result<Var> {
        let rows = self.decoder.run_all(t, code.z, context, &code.skips)?;
        Ok(*rows.last().expect("the decoder has rows"))
    }

    /// z of all windows of `cells` × `cells`, `every` so many cells: the head on the mean of `f` in each, N×d×d×latent.
    pub fn windows(&self, t: &mut Tape, f: Var, cells: usize, every: usize) -> Result<Var> {
        let (_, mean) = self.means.iter().find(|m| m.0 == cells).expect("built with this window");
        t.scope("windows", |t| {
            let (mean, [w, b]) = (t.param(*mean), self.head().map(|id| t.param(id)));
            let boxes = Conv2d { groups: t.shape(f).c as usize, ..Conv2d::new(every, 0) };
            // In f32, as the head on the whole picture.
            t.keeping(DType::F32, |t| {
                let g = conv2d(t, f, mean, None, boxes)?;
                conv2d(t, g, w, Some(b), Conv2d::new(1, 0))
            })
        })
    }

    /// Make ready for [`Lae::windows`] of these sizes, in cells.
    pub fn add_windows<T: Real>(&mut self, store: &mut ParamStore<T>, sizes: &[usize]) {
        let channels = store.get(self.head()[0]).shape.c as usize;
        for &cells in sizes {
            let mean = Init::Constant(1.0 / (cells * cells) as f64);
            let name = format!("lae.mean{cells}");
            let id = store.add(&name, shape(channels, cells, cells, 1), Kind::Frozen, Form::Filter, mean);
            self.means.push((cells, id));
        }
    }

    /// The fused attention loss on this network's own head.
    pub fn attention(&self, t: &mut Tape, op: CamAttention, f: Var, mask: Var, select: Var) -> Result<Attention> {
        let [w, b] = self.head().map(|id| t.param(id));
        t.scope("attention", |t| cam_attention(t, op, f, w, b, mask, select))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::plan::{Memory, Plan};
    use crate::device::Device;

    /// What the encoder takes of one grey picture that is a grey level brighter in the middle, values 0 to 255.
    fn seen(input: Input, grey: f32, more: f32) -> (Vec<f32>, usize) {
        let c = LaeConfig { width: 8, grid: 4, latent: 4, input, ..LaeConfig::default() };
        let mut store = ParamStore::<f32>::new(0);
        let lae = Lae::build(&mut store, &c, 16).unwrap();
        let mut t = Tape::new(&store);
        let x = t.input(shape(1, 16, 16, 3));
        let y = lae.input(&mut t, x).unwrap();
        let (side, channels) = (t.shape(y).h as usize, t.shape(y).c as usize);
        let mut plan = Plan::on(&Device::Cpu, t, &[y], Memory::Planned).unwrap();
        let mean = super::super::MEAN;
        for (p, pixel) in plan.feed(x).unwrap().chunks_mut(3).enumerate() {
            let value = (grey + if p == 8 * 16 + 8 { more } else { 0.0 }) as f64 / 255.0;
            pixel.iter_mut().enumerate().for_each(|(c, v)| *v = ((value - mean[c]) / STD[c]) as f32);
        }
        plan.run(&mut store).unwrap();
        // The bright pixel is (8, 8), and the residual has no edge.
        let at = (7 * side + 7) * channels;
        let values = plan.fetch(y).unwrap();
        (values[at..at + channels].to_vec(), side)
    }

    #[test]
    fn the_residual_sees_single_grey_levels_and_no_plane() {
        assert_eq!(seen(Input::Rgb, 90.0, 1.0).1, 16);
        let (flat, side) = seen(Input::Residual, 90.0, 0.0);
        assert_eq!((flat.len(), side), (8, 14));
        assert!(flat.iter().all(|v| v.abs() < 1e-4), "{flat:?}");
        // One level: −1 by the square filter (gains 64 and 8), +1 by both lines (gain 32, luma weights sum to 1).
        let (one, _) = seen(Input::Residual, 90.0, 1.0);
        let want = [-64.0, -64.0, -64.0, -8.0, -8.0, -8.0, 32.0, 32.0].map(|gain: f32| (gain / 255.0).tanh());
        assert!(one.iter().zip(want).all(|(a, b)| (a - b).abs() < 1e-3), "{one:?} {want:?}");
        let (both, _) = seen(Input::Both, 90.0, 1.0);
        assert_eq!(both.len(), 11);
        assert!(
            (both[0] as f64 - (91.0 / 255.0 - super::super::MEAN[0]) / STD[0]).abs() < 1e-4,
            "the picture's own colours first"
        );
    }
}
