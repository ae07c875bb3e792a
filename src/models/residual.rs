//! ResidualNet: Cozzolino, Poggi, Verdoliva, "Recasting Residual-based Local Descriptors as Convolutional Neural Networks: an
//! Application to Image Forgery Detection", IH&MMSec 2017 (arXiv 1703.04615). No code was published, so this is a
//! **reconstruction** from what the paper says: a histogram of residuals is a small network, whose constraints training then
//! relaxes.
//!
//! The histogram: third derivatives of the luma along rows, `r = x * [1, −3, 3, −1]`, rounded to {−1, 0, 1} in steps of `q`;
//! four neighbours, along a row or down a column, are one of 3⁴ = 81 patterns; the shares of the patterns, 162 numbers, are
//! classified linearly. The same as a network: four filters give the four derivatives `v`; among the 81 patterns `c` the
//! nearest to `v/q` has the largest `2q·c·v − ‖q·c‖²`, a 1×1 convolution; softmax with a low temperature marks it; the global
//! mean counts.

use crate::core::params::{Group, Kind, ParamId, ParamStore};
use crate::core::real::Real;
use crate::core::shape::shape;
use crate::core::tape::{Tape, Var};
use crate::error::Result;
use crate::nn::Layer::{self, *};
use crate::nn::{Filters, Initialisation, Net};
use crate::ops::mix::{LUMA, mix};

/// The third derivative.
const DERIVATIVE: [f64; 4] = [1.0, -3.0, 3.0, -1.0];
/// Neighbours in a pattern, and patterns of three levels.
const VALUES: usize = 4;
const PATTERNS: usize = 81;

/// Shares of the patterns of four derivatives that filters of this `kernel` give. No padding: edges are no pattern of the
/// picture.
fn histogram(kernel: (usize, usize), temperature: f64) -> Vec<Layer> {
    let derivatives = Filters::rectangular(VALUES, kernel).bias(false);
    vec![Conv(derivatives), Conv(Filters::new(PATTERNS, 1)), Softmax(temperature), Gap]
}

/// The table; sizes after the rows are for the paper's 256.
pub fn layers(temperature: f64) -> Vec<Layer> {
    let along = histogram((1, 7), temperature); // 256×250×4, ×81, 81
    let across = histogram((4, 4), temperature); // 253×253×4, ×81, 81
    vec![Branches(vec![along, across]), Linear(2)] // 162, 2
}

/// Level `k` of pattern `j`: −1, 0 or 1.
fn level(j: usize, k: usize) -> f64 {
    (j / 3usize.pow(k as u32) % 3) as f64 - 1.0
}

/// The luma, 0 to 255, of RGB pictures in [0, 1]: what the network takes.
pub fn luma(t: &mut Tape, x: Var) -> Result<Var> {
    mix(t, x, LUMA.map(|w| 255.0 * w))
}

#[derive(Debug, Clone)]
pub struct Residual {
    /// From N×S×S×1 to two logits; its first row gives the 162 shares.
    pub net: Net,
    /// Everything, and the linear classifier alone.
    pub group: Group,
    pub head: Group,
}

impl Residual {
    /// Adds the parameters, called `residual.ROW…`, to the store: 1,228, of which the 902 in front of the classifier start as
    /// the histogram with steps of `q` grey levels and the temperature `tau`·q².
    pub fn build<T: Real>(store: &mut ParamStore<T>, size: usize, q: f64, tau: f64) -> Result<Residual> {
        let (input, init) = (shape(1, size, size, 1), Initialisation::TorchDefault);
        let net = Net::build(store, "residual", input, &layers(tau * q * q), init, Kind::Trained)?;
        let mut fill = |id: ParamId, values: &mut dyn Iterator<Item = f64>| {
            store.value_mut(id).iter_mut().zip(values).for_each(|(w, x)| *w = T::of(x));
        };
        // Filter k has the derivative k columns, or k rows of four, further on.
        for (branch, values, step) in [(&net.parts(0)[0], 7, 1), (&net.parts(0)[1], 16, VALUES)] {
            let mut filters = vec![0.0; VALUES * values];
            let each = filters.chunks_mut(values).enumerate();
            each.for_each(|(k, filter)| filter[k * step..][..VALUES].copy_from_slice(&DERIVATIVE));
            fill(branch.params(0)[0], &mut filters.into_iter());
            let patterns = (0..PATTERNS).map(|j| std::array::from_fn::<f64, VALUES, _>(|k| q * level(j, k)));
            fill(branch.params(1)[0], &mut patterns.clone().flatten().map(|w| 2.0 * w));
            fill(branch.params(1)[1], &mut patterns.map(|c| -c.iter().map(|x| x * x).sum::<f64>()));
        }
        let (group, head) = (Group::of(net.params_all()), Group::of(net.params(1).iter().copied()));
        Ok(Residual { net, group, head })
    }
}
