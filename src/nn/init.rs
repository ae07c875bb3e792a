//! Initial values of a whole network.

use serde::{Deserialize, Serialize};

use crate::core::params::Init;

/// How the weights, biases and batch norm gains of a network are drawn. The words are those of the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Initialisation {
    /// PyTorch's defaults: U(±1/√fan_in) for weights and biases; batch norm 1 and 0.
    TorchDefault,
    /// DCGAN (Radford et al. 2016): weights N(0, 0.02), biases 0, batch norm gain N(1, 0.02).
    Dcgan,
    /// Kaiming normal with fan_in (He et al. 2015), biases 0.
    KaimingIn,
    /// Kaiming normal with fan_out, biases 0: torchvision's VGG.
    KaimingOut,
    /// Glorot and Bengio 2010, Keras's default: U(±√(6 / (fan_in + fan_out))), biases 0.
    GlorotUniform,
    /// Caffe's `xavier`, with the biases of Bayar and Stamm: U(±√(3 / fan_in)), biases 0.1.
    CaffeXavier,
    /// Rahmouni et al. 2017: truncated normals of deviation √(2 / fan_in), biases of mean 0.5 and deviation 0.1.
    TruncatedNormal,
}

impl Initialisation {
    pub(super) fn weight(self, fan_in: usize, fan_out: usize) -> Init {
        match self {
            Initialisation::TorchDefault => Init::torch_default(fan_in),
            Initialisation::Dcgan => Init::Normal { mean: 0.0, std: 0.02 },
            Initialisation::KaimingIn => Init::kaiming(fan_in),
            Initialisation::KaimingOut => Init::kaiming(fan_out),
            Initialisation::GlorotUniform => Init::Uniform { bound: (6.0 / (fan_in + fan_out) as f64).sqrt() },
            Initialisation::CaffeXavier => Init::Uniform { bound: (3.0 / fan_in as f64).sqrt() },
            Initialisation::TruncatedNormal => Init::TruncatedNormal { mean: 0.0, std: (2.0 / fan_in as f64).sqrt() },
        }
    }
    pub(super) fn bias(self, fan_in: usize) -> Init {
        match self {
            Initialisation::TorchDefault => Init::torch_default(fan_in),
            Initialisation::CaffeXavier => Init::Constant(0.1),
            Initialisation::TruncatedNormal => Init::TruncatedNormal { mean: 0.5, std: 0.1 },
            _ => Init::Constant(0.0),
        }
    }
    pub(super) fn gain(self) -> Init {
        match self {
            Initialisation::Dcgan => Init::Normal { mean: 1.0, std: 0.02 },
            _ => Init::Constant(1.0),
        }
    }
}
