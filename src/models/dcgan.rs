//! The discriminator D: DCGAN (Radford, Metz, Chintala 2016) for 64 pixels, extended to other sizes by further stride-2 stages.
//! No biases, LeakyReLU 0.2, no batch norm on the first stage. One logit per picture.

use serde::{Deserialize, Serialize};

use crate::core::params::{Group, Kind, ParamStore};
use crate::core::real::Real;
use crate::core::shape::shape;
use crate::core::tape::{Tape, Var};
use crate::error::{Error, Result};
use crate::nn::Layer::{self, *};
use crate::nn::{BN, Context, Filters, Initialisation, Net};
use crate::ops::bilinear::bilinear;

/// "The standard discriminator" is one for 64 pixels; the paper's pictures have 256.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Arch {
    /// log₂(size) − 2 stages down to 4×4, widths doubling up to 512.
    Extended,
    /// Pictures averaged down to 64, then the literal network.
    Resize64,
    /// The literal five convolutions, logits of all positions averaged.
    Patch,
    /// Extended with a quarter of the width and no cap.
    Slim,
}

#[derive(Debug, Clone)]
pub struct Dcgan {
    pub net: Net,
    pub group: Group,
    size: usize,
    arch: Arch,
}

fn stage(out: usize) -> Layer {
    Conv(Filters::new(out, 4).stride(2).pad(1).bias(false))
}
const LOGIT: Layer = Conv(Filters::new(1, 4).bias(false));
const LRELU: Layer = LeakyRelu(0.2);

/// Layers for pictures of `size` pixels a side.
pub fn layers(arch: Arch, size: usize, base: usize) -> Result<Vec<Layer>> {
    if size < 16 || !size.is_power_of_two() {
        return Err(Error::config(
            "size",
            format!("{size} pixels: the discriminator halves down to 4, so give a power of two from 16 up"),
        ));
    }
    let (size, base, cap) = match arch {
        Arch::Extended => (size, base, 8 * base),
        Arch::Resize64 | Arch::Patch => (64.min(size), base, 8 * base),
        Arch::Slim => (size, (base / 4).max(1), usize::MAX),
    };
    let mut layers = Vec::new();
    for i in 0..size.ilog2() - 2 {
        layers.push(stage((base << i).min(cap)));
        layers.extend((i > 0).then_some(BN));
        layers.push(LRELU);
    }
    layers.push(LOGIT);
    if arch == Arch::Patch {
        layers.push(Gap);
    }
    Ok(layers)
}

impl Dcgan {
    /// `base`: channels of the first stage (DCGAN: 64).
    pub fn build<T: Real>(store: &mut ParamStore<T>, arch: Arch, size: usize, base: usize) -> Result<Dcgan> {
        let side = if arch == Arch::Resize64 { 64.min(size) } else { size };
        let net = Net::build(
            store,
            "dcgan",
            shape(1, side, side, 3),
            &layers(arch, size, base)?,
            Initialisation::Dcgan,
            Kind::Trained,
        )?;
        let group = Group::of(net.params_all());
        Ok(Dcgan { net, group, size, arch })
    }

    /// Logits N×1×1×1 of pictures in [-1, 1].
    pub fn run(&self, t: &mut Tape, x: Var, context: impl Into<Context>) -> Result<Var> {
        let (mut x, mut side) = (x, self.size);
        // Bilinear halving is the mean of 2×2 pixels.
        while self.arch == Arch::Resize64 && side > 64 {
            side /= 2;
            x = bilinear(t, x, side, side, false)?;
        }
        self.net.run(t, x, context)
    }
}
