//! The Locality-Aware AutoEncoder: Du, Pentyala, Li, Hu, "Towards Generalizable Deepfake Detection with Locality-Aware AutoEncoder",
//! CIKM 2020 (arXiv 1909.05999), Table 2. Within a block the order is convolution, batch norm, ReLU; the outermost and the
//! innermost convolution have no batch norm. The encoder's last ReLU is `f`, the maps that the attention loss reads; `z` after the
//! head has a "true" half and a "fake" half; the decoder sees `z` alone.

use serde::{Deserialize, Serialize};

use crate::core::params::{Group, Kind, ParamId, ParamStore};
use crate::core::real::Real;
use crate::core::shape::{Shape, shape};
use crate::core::tape::{Tape, Var};
use crate::error::{Error, Result};
use crate::nn::Layer::{self, *};
use crate::nn::{BN, Context, Filters, Initialisation, Net};
use crate::ops::cam_attention::{Attention, CamAttention, cam_attention};

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

/// Sizes of the network, and what Table 2 leaves open.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LaeConfig {
    /// Channels of the first convolution; the others are 2, 4, 8 and 8 times as wide (paper: 64).
    pub width: usize,
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
    /// Initial values of encoder and head.
    pub init: Initialisation,
    /// Initial values of the decoder.
    pub init_decoder: Initialisation,
}

impl Default for LaeConfig {
    fn default() -> Self {
        LaeConfig {
            width: 64,
            grid: 16,
            latent: 128,
            encoder_kernel: 4,
            skip: false,
            bias_before_bn: true,
            init: Initialisation::TorchDefault,
            init_decoder: Initialisation::Dcgan,
        }
    }
}

/// The encoder for pictures of `size` pixels a side: the first log₂(size/grid) convolutions halve, the others keep.
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
    let mut layers = Vec::new();
    for (i, times) in [1, 2, 4, 8, 8].into_iter().enumerate() {
        let bn = (1..4).contains(&i);
        let (k, s) = if i < halvings { (c.encoder_kernel, 2) } else { (3, 1) };
        layers.push(Conv(Filters::new(c.width * times, k).stride(s).pad(1).bias(!bn || c.bias_before_bn)));
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
        let picture = shape(1, size, size, 3);
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
        Ok(Lae { size, encoder, decoder, encoder_group, decoder_group, group, skips })
    }

    /// Weight and bias of the last layer: the head that class activation maps read.
    pub fn head(&self) -> [ParamId; 2] {
        let row = self.encoder.params(self.encoder.rows().count() - 1);
        [row[0], row[1]]
    }

    /// `x`: ImageNet-normalised pictures.
    pub fn encode(&self, t: &mut Tape, x: Var, context: impl Into<Context>) -> Result<Code> {
        let rows = self.encoder.run_all(t, x, context, &[])?;
        // The last two rows are the head: GAP and Linear.
        let (f, g, z) = (rows[rows.len() - 3], rows[rows.len() - 2], rows[rows.len() - 1]);
        Ok(Code { f, g, z, skips: self.skips.iter().map(|&i| rows[i]).collect() })
    }

    /// Reconstruction in (-1, 1).
    pub fn decode(&self, t: &mut Tape, code: &Code, context: impl Into<Context>) -> Result<Var> {
        let rows = self.decoder.run_all(t, code.z, context, &code.skips)?;
        Ok(*rows.last().expect("the decoder has rows"))
    }

    /// The fused attention loss on this network's own head.
    pub fn attention(&self, t: &mut Tape, op: CamAttention, f: Var, mask: Var, select: Var) -> Result<Attention> {
        let [w, b] = self.head().map(|id| t.param(id));
        t.scope("attention", |t| cam_attention(t, op, f, w, b, mask, select))
    }
}
