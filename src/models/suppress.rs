//! SuppressNet: Bayar and Stamm, "A Deep Learning Approach to Universal Image Manipulation Detection Using a New Convolutional
//! Layer", IH&MMSec 2016; and its successor MISLnet, "Constrained Convolutional Neural Networks", IEEE TIFS 2018, after the
//! authors' Caffe release. The filters of the first row are prediction errors: −1 at the centre, the others sum to 1
//! ([`crate::ops::project_filter`]), before the first step and after each.

use crate::core::params::{Init, Kind, ParamStore};
use crate::core::real::Real;
use crate::core::shape::shape;
use crate::error::Result;
use crate::nn::Layer::{self, *};
use crate::nn::{BN, Filters, Initialisation, Net, Window};
use crate::ops::lrn;
use crate::ops::project_filter::project;
use crate::{table, words};

words!(
    /// Which of the two networks.
    Arch {
        /// Two convolutions after the constrained one: the paper of 2016.
        #[serde(rename = "2016")]
        Of2016,
        /// Four, with batch norm and tanh: MISLnet, the paper of 2018.
        Mislnet,
    }
);
words!(
    /// Where local response normalisation stands.
    LrnPlace {
        AfterPool,
        BeforePool,
        None,
    }
);
words!(
    /// What the network sees, in grey levels from 0 to 255.
    Input {
        /// The green channel.
        Green,
        /// 0.299 red, 0.587 green, 0.114 blue.
        Luma,
        /// All three channels, each with a constraint of its own.
        Rgb,
    }
);
table!(SuppressConfig {
    /// The network: "2016" (12, 64 and 48 filters, three dense layers) or mislnet (TIFS 2018, a hundredth of the parameters).
    arch: Arch = Arch::Of2016,
    /// Units of the two wide layers of "2016", which hold nearly all its parameters (paper: 4096).
    fc: usize = 4096,
    /// Where "2016" normalises across channels: after_pool, before_pool or none.
    lrn: LrnPlace = LrnPlace::AfterPool,
    /// What the network sees: green, luma or rgb, raw from 0 to 255.
    input: Input = Input::Green
});

impl SuppressConfig {
    /// Channels of the network's input.
    pub fn channels(&self) -> usize {
        if self.input == Input::Rgb { 3 } else { 1 }
    }
    /// The smallest pictures that leave a pixel for every window.
    pub fn least(&self) -> usize {
        if self.arch == Arch::Mislnet { 51 } else { 15 }
    }
}

/// The table. All widths are divided by `divide`, 1 but in tests. Sizes after the rows are for 256 pixels.
#[rustfmt::skip]
pub fn layers(c: &SuppressConfig, divide: usize) -> Vec<Layer> {
    let constrained = |out: usize| vec![Conv(Filters::new(out.div_ceil(divide), 5).bias(false))];
    let conv = |out, k, stride, pad| Conv(Filters::new(out / divide, k).stride(stride).pad(pad));
    let (pool, mean) = (MaxPool(Window::new(3, 2).ceil()), AvgPool(Window::new(3, 2).ceil()));
    let normalise = Lrn(lrn::Lrn { size: 5, alpha: 1e-4, beta: 0.75, k: 1.0 });
    let block = |conv| match c.lrn {
        LrnPlace::AfterPool => vec![conv, Relu, pool.clone(), normalise.clone()],
        LrnPlace::BeforePool => vec![conv, Relu, normalise.clone(), pool.clone()],
        LrnPlace::None => vec![conv, Relu, pool.clone()],
    };
    let wide = Linear(c.fc);
    let tanh = |conv, pool: &Layer| vec![conv, BN, Tanh, pool.clone()];
    match c.arch {
        Arch::Of2016 => [
            constrained(12),                                    // 252×252×12
            block(conv(64, 7, 2, 3)),                           // 126×126×64, pooled 63×63
            block(conv(48, 5, 1, 2)),                           //   63×63×48, pooled 31×31
            vec![wide.clone(), Relu, Dropout(0.5)],             // 4096
            vec![wide, Relu, Dropout(0.5)],                     // 4096
            vec![Linear(2)],                                    // the logits of true and fake
        ].concat(),
        Arch::Mislnet => [
            constrained(3),                                     // 252×252×3
            tanh(conv(96, 7, 2, 3), &pool),                     // 126×126×96, pooled 63×63
            tanh(conv(64, 5, 1, 2), &pool),                     //   63×63×64, pooled 31×31
            tanh(conv(64, 5, 1, 2), &pool),                     //   31×31×64, pooled 15×15
            tanh(conv(128, 1, 1, 0), &mean),                    //  15×15×128, pooled 7×7
            vec![Linear(200 / divide), Tanh],                   // 200
            vec![Linear(200 / divide), Tanh],                   // 200
            vec![Linear(2)],                                    // the logits of true and fake
        ].concat(),
    }
}

/// Adds the parameters, called `suppress.ROW…`, to the store: 205.8 million trained ones for 256 pixels, 1.57 million of
/// MISLnet. From grey levels to two logits. The constrained filters, parameter 0 of row 0, are drawn from U(0, 1), whose sums
/// cannot vanish as those of numbers around 0 would, and projected.
pub fn build<T: Real>(store: &mut ParamStore<T>, size: usize, c: &SuppressConfig, divide: usize) -> Result<Net> {
    let (input, init) = (shape(1, size, size, c.channels()), Initialisation::CaffeXavier);
    let net = Net::build(store, "suppress", input, &layers(c, divide), init, Kind::Trained)?;
    let (id, seed) = (net.params(0)[0], store.seed);
    let p = store.get(id).clone();
    let w = store.value_mut(id);
    Init::Uniform { bound: 0.5 }.fill(seed, &p.name, w);
    w.iter_mut().for_each(|w| *w += T::of(0.5));
    project(w, (p.shape.h * p.shape.w) as usize, p.shape.c as usize);
    Ok(net)
}
