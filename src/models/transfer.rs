//! ForensicTransfer: Cozzolino, Thies, Rössler, Riess, Nießner, Verdoliva, "ForensicTransfer: Weakly-supervised Domain
//! Adaptation for Forgery Detection", 2018 (arXiv 1812.02510). An autoencoder whose innermost maps have a half for true
//! pictures and a half for fakes; the half that is the more active is the verdict, and the decoder sees the half of the label
//! alone. No code was published; the widths are those that two re-implementations agree on.

use crate::core::params::{Form, Group, Init, Kind, ParamId, ParamStore};
use crate::core::real::Real;
use crate::core::shape::shape;
use crate::core::tape::{Tape, Var};
use crate::error::{Error, Result};
use crate::nn::Layer::{self, *};
use crate::nn::{BN, Filters, Initialisation, Mode, Net};
use crate::ops::activation::tanh;
use crate::ops::concat::concat;
use crate::ops::conv2d::{Conv2d, conv2d};
use crate::ops::global_avg_pool::global_avg_pool;
use crate::ops::latent::{Distance, latent_loss};
use crate::ops::select_half::select_half;

const fn conv(out: usize) -> Layer {
    Conv(Filters::new(out, 3).pad(1))
}
const fn down(out: usize) -> Layer {
    Conv(Filters::new(out, 3).pad(1).stride(2))
}

/// Sizes after the rows are for width 8 and the paper's 256.
#[rustfmt::skip]
pub fn encoder(width: usize) -> Vec<Layer> {
    vec![
        conv(width), Relu,              // 256×256×8
        down(2 * width), BN, Relu,      // 128×128×16
        down(4 * width), BN, Relu,      //  64×64×32
        down(8 * width), BN, Relu,      //  32×32×64
        down(16 * width), Relu,         //  16×16×128: 64 for true, 64 for fake
    ]
}

/// From the encoder's last maps to `channels` channels in [−1, 1].
#[rustfmt::skip]
pub fn decoder(width: usize, channels: usize) -> Vec<Layer> {
    vec![
        Nearest(2), conv(8 * width), BN, Relu,  //  32×32×64
        Nearest(2), conv(4 * width), BN, Relu,  //  64×64×32
        Nearest(2), conv(2 * width), BN, Relu,  // 128×128×16
        Nearest(2), conv(width), BN, Relu,      // 256×256×8
        conv(channels), Tanh,                   // 256×256×3
    ]
}

/// Refuse sides that four halvings do not divide.
pub fn check_size(size: usize) -> Result<()> {
    if size > 0 && size.is_multiple_of(16) {
        return Ok(());
    }
    let below = (size / 16 * 16).max(16);
    let why =
        format!("{size} pixels: ForensicTransfer halves four times; give a multiple of 16, such as {below} or {}", below + 16);
    Err(Error::config("size", why))
}

/// The third derivative along the row and down the column, added, of one colour: 5×5 with the pixel in the middle, so that
/// padding by 2 keeps the size.
const DERIVATIVES: [f64; 25] = {
    let mut taps = [0.0; 25];
    let (third, mut i) = ([1.0, -3.0, 3.0, -1.0], 0);
    while i < 4 {
        taps[10 + i] += third[i];
        taps[5 * i + 2] += third[i];
        i += 1;
    }
    taps
};
/// One grey level of residual becomes a sixteenth; Tanh keeps edges within what the decoder can give.
const GAIN: f64 = 8.0;

#[derive(Debug, Clone)]
pub struct Transfer {
    pub encoder: Net,
    pub decoder: Net,
    /// Both.
    pub group: Group,
    /// Frozen filters of the residual, where that is seen.
    filters: Option<ParamId>,
}

/// Activations of a run.
#[derive(Debug, Clone, Copy)]
pub struct Activations {
    /// Mean over the batch of |a_true − l| + |a_fake − (1 − l)|, l = 1 for a true picture.
    pub loss: Var,
    /// N×1×1×2: (a_true, a_fake), the mean of |h| over each half.
    pub values: Var,
}

impl Transfer {
    /// Adds the parameters, called `transfer.encoder.ROW…` and `transfer.decoder.ROW…`, to the store: 197,107 for width 8, and
    /// 197,542 with the residual.
    pub fn build<T: Real>(store: &mut ParamStore<T>, size: usize, width: usize, residual: bool) -> Result<Transfer> {
        check_size(size)?;
        let (channels, init) = (if residual { 6 } else { 3 }, Initialisation::GlorotUniform);
        let input = shape(1, size, size, channels);
        let encoder = Net::build(store, "transfer.encoder", input, &encoder(width), init, Kind::Trained)?;
        let decoder = Net::build(store, "transfer.decoder", encoder.output(), &decoder(width, channels), init, Kind::Trained)?;
        let group = Group::of(encoder.params_all()).and(&Group::of(decoder.params_all()));
        let filters = residual.then(|| {
            let id = store.add("transfer.residual", shape(3, 5, 5, 1), Kind::Frozen, Form::Filter, Init::Constant(0.0));
            store.value_mut(id).iter_mut().zip(DERIVATIVES.iter().cycle()).for_each(|(w, &x)| *w = T::of(GAIN * x));
            id
        });
        Ok(Transfer { encoder, decoder, group, filters })
    }

    /// What is encoded, and what the decoder is to give: pictures in [−1, 1], N×S×S×3, with their residuals behind them if
    /// these are seen.
    pub fn input(&self, t: &mut Tape, x: Var) -> Result<Var> {
        let Some(filters) = self.filters else { return Ok(x) };
        let w = t.param(filters);
        let residual = conv2d(t, x, w, None, Conv2d { stride: (1, 1), pad: (2, 2), dilation: (1, 1), groups: 3 })?;
        let residual = tanh(t, residual)?;
        concat(t, x, residual)
    }

    /// The maps h, N×s×s×16·width with s = S/16, of an input.
    pub fn encode(&self, t: &mut Tape, input: Var, mode: Mode) -> Result<Var> {
        self.encoder.run(t, input, mode)
    }

    /// How active both halves are, from the maps or from their means N×1×1×16·width: h has passed a ReLU, so the mean of |h| is
    /// the mean over channels of the means over pixels.
    pub fn activations(&self, t: &mut Tape, maps: Var, label: Var) -> Result<Activations> {
        let mean = global_avg_pool(t, maps)?;
        let (loss, values) = latent_loss(t, mean, label, Distance::L1)?;
        Ok(Activations { loss, values })
    }

    /// a_fake as a weighted sum of values of the tape, N×1×1×C, which has a gradient; the `values` of [`Transfer::activations`] have
    /// none.
    pub fn fake_activation(&self, t: &mut Tape, maps: Var) -> Result<(Var, Vec<f32>)> {
        let half = t.shape(maps).c as usize / 2;
        Ok((global_avg_pool(t, maps)?, [vec![0.0; half], vec![1.0 / half as f32; half]].concat()))
    }

    /// The input again, from the half of the maps that the label names.
    pub fn decode(&self, t: &mut Tape, maps: Var, label: Var, mode: Mode) -> Result<Var> {
        let kept = select_half(t, maps, label)?;
        self.decoder.run(t, kept, mode)
    }
}
