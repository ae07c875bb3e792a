//! MesoInception-4: Afchar, Nozick, Yamagishi, Echizen, "MesoNet: a Compact Facial Video Forgery Detection Network", WIFS 2018
//! (arXiv 1809.00888), after the authors' Keras code. All convolutions keep the size, have biases and a ReLU; **batch norm comes
//! after the ReLU**. The loss is the mean squared error of the sigmoid of one logit, which is high for a true picture: the authors'
//! class folders `df`, `real` are numbered in alphabetical order.

use crate::core::params::{Group, Kind, ParamStore};
use crate::core::real::Real;
use crate::core::shape::{Shape, shape};
use crate::core::tape::{Tape, Var};
use crate::error::{Error, Result};
use crate::nn::Layer::{self, *};
use crate::nn::{Context, Filters, Initialisation, Net, Window};

/// Batch norm with Keras's constants: its moving average keeps 0.99.
const BN: Layer = BatchNorm { eps: 1e-3, momentum: 0.01 };

/// `out` filters of `k`×`k` with dilation `d` that keep the size.
fn conv(out: usize, k: usize, d: usize) -> Layer {
    Conv(Filters::new(out, k).dilation(d).same())
}

fn pool(k: usize) -> Layer {
    MaxPool(Window::every(k))
}

/// Four branches of `a`, `b`, `c` and `d` channels: 1×1; 3×3; 3×3 of dilation 2; 3×3 of dilation 3.
fn inception(a: usize, b: usize, c: usize, d: usize) -> Layer {
    let dilated = |out, d| vec![conv(out, 1, 1), Relu, conv(out, 3, d), Relu];
    Branches(vec![vec![conv(a, 1, 1), Relu], dilated(b, 1), dilated(c, 2), dilated(d, 3)])
}

/// The table for pictures of `size` pixels a side, a multiple of 32; sizes after the rows are for the paper's 256.
#[rustfmt::skip]
pub fn layers(size: usize) -> Result<Vec<Layer>> {
    if size == 0 || !size.is_multiple_of(32) {
        let below = (size / 32 * 32).max(32);
        let why = format!(
            "{size} pixels: MesoInception-4 pools by 2·2·2·4, so give a multiple of 32, such as {below} or {} (paper: 256)",
            below + 32
        );
        return Err(Error::config("size", why));
    }
    Ok(vec![
        inception(1, 4, 4, 2), BN, pool(2),     // 128×128×11
        inception(2, 4, 4, 2), BN, pool(2),     //  64×64×12
        conv(16, 5, 1), Relu, BN, pool(2),      //  32×32×16
        conv(16, 5, 1), Relu, BN,               //  32×32×16
        pool(4),                                //    8×8×16
        Dropout(0.5), Linear(16), LeakyRelu(0.1),
        Dropout(0.5), Linear(1),                // the logit
    ])
}

#[derive(Debug, Clone)]
pub struct Meso {
    pub net: Net,
    pub group: Group,
}

impl Meso {
    /// Adds the parameters, called `meso.ROW…`, to the store: 28,615 trained ones for 256 pixels.
    pub fn build<T: Real>(store: &mut ParamStore<T>, size: usize) -> Result<Meso> {
        let input: Shape = shape(1, size, size, 3);
        let net = Net::build(store, "meso", input, &layers(size)?, Initialisation::GlorotUniform, Kind::Trained)?;
        let group = Group::of(net.params_all());
        Ok(Meso { net, group })
    }

    /// The logit N×1×1×1 of pictures in [0, 1], above 0 for true. Training needs [`Context::train`], for the dropout.
    pub fn run(&self, t: &mut Tape, x: Var, context: impl Into<Context>) -> Result<Var> {
        self.net.run(t, x, context)
    }
}
