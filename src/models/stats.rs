//! StatsNet: the network "Stats-2L" of Rahmouni, Nozick, Yamagishi, Echizen, "Distinguishing Computer Graphics from Natural
//! Images Using Convolution Neural Networks", WIFS 2017, after the authors' code. Two convolutions without pooling between,
//! then four statistics of each channel, so pictures of any size have the same network.

use crate::core::params::{Kind, ParamStore};
use crate::core::real::Real;
use crate::core::shape::shape;
use crate::error::Result;
use crate::nn::Layer::{self, *};
use crate::nn::{Filters, Initialisation, Net};

/// The table. All widths are divided by `divide`, 1 but in tests. Sizes after the rows are for 256 pixels.
#[rustfmt::skip]
pub fn layers(divide: usize) -> Vec<Layer> {
    let conv = |out| Conv(Filters::new(out / divide, 3).same());
    vec![
        conv(32), Relu,                     // 256×256×32
        conv(64), Relu,                     // 256×256×64
        Moments,                            // 256: mean, least, greatest, variance
        Linear(1024 / divide), Relu,        // 1024
        Dropout(0.35), Linear(2),           // the logits of true and fake
    ]
}

/// Adds the parameters, called `stats.ROW…`, to the store: 284,610 trained ones. From pictures in [0, 1] to two logits.
pub fn build<T: Real>(store: &mut ParamStore<T>, size: usize, divide: usize) -> Result<Net> {
    let init = Initialisation::TruncatedNormal;
    Net::build(store, "stats", shape(1, size, size, 3), &layers(divide), init, Kind::Trained)
}
