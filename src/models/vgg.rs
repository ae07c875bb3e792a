//! The comparator C: VGG-16 (Simonyan & Zisserman 2015, configuration D) up to conv4_3, frozen. Rows count as in torchvision's
//! `features`, so `vgg.features.21` is conv4_3. Weights come from a safetensors file of torchvision or timm; without one, a seeded
//! random network stands in (He, Wang, Hopcroft 2016: untrained VGG features serve as perceptual features), and every report says so.

use std::path::Path;

use crate::core::params::{Group, Kind, ParamStore};
use crate::core::real::Real;
use crate::core::shape::shape;
use crate::core::tape::{Tape, Var};
use crate::error::{Error, Result};
use crate::nn::Layer::{self, *};
use crate::nn::weights::read_tensor;
use crate::nn::{Filters, Initialisation, Mode, Net, Window};

const fn conv(out: usize) -> Layer {
    Conv(Filters::new(out, 3).pad(1))
}
const POOL: Layer = MaxPool(Window::every(2));

/// Features 0 to 22; sizes for 256×256×3.
pub const FEATURES: &[Layer] = &[
    conv(64),
    Relu,
    conv(64),
    Relu,
    POOL, // 128×128×64
    conv(128),
    Relu,
    conv(128),
    Relu,
    POOL, //  64×64×128
    conv(256),
    Relu,
    conv(256),
    Relu,
    conv(256),
    Relu,
    POOL, // 32×32×256
    conv(512),
    Relu,
    conv(512),
    Relu,
    conv(512),
    Relu, //  32×32×512
];

/// Where the comparator may be cut, and the row of its ReLU.
pub const CUTS: &[(&str, usize)] = &[("conv1_2", 3), ("conv2_2", 8), ("conv3_3", 15), ("conv4_3", 22)];

/// What stands before torchvision's names.
const PREFIX: &str = "vgg.";

#[derive(Debug, Clone)]
pub struct Vgg {
    pub net: Net,
    pub group: Group,
}

impl Vgg {
    /// Random weights (torchvision's own initialisation) up to `cut`; `width` scales all channels (1 is the real network).
    pub fn build<T: Real>(store: &mut ParamStore<T>, size: usize, cut: &str, post_relu: bool, width: f64) -> Result<Vgg> {
        let Some(&(_, last)) = CUTS.iter().find(|c| c.0 == cut) else {
            let names: Vec<&str> = CUTS.iter().map(|c| c.0).collect();
            return Err(Error::config(
                "comparator.layer",
                format!("{cut:?} is not a layer of the comparator; one of {}", names.join(", ")),
            ));
        };
        let rows = &FEATURES[..if post_relu { last + 1 } else { last }];
        let scaled: Vec<Layer> = rows
            .iter()
            .map(|l| match l {
                Conv(f) => conv(((f.out as f64 * width).round() as usize).max(1)),
                other => other.clone(),
            })
            .collect();
        let net = Net::build(store, "vgg.features", shape(1, size, size, 3), &scaled, Initialisation::KaimingOut, Kind::Frozen)?;
        let group = Group::of(net.params_all());
        Ok(Vgg { net, group })
    }

    /// Replace the random weights by those of a file with torchvision's names (`features.N.weight`; f32, f16 or bf16).
    pub fn load(store: &mut ParamStore, file: &Path) -> Result<()> {
        let bytes = std::fs::read(file).map_err(|e| Error::io(file, e))?;
        let tensors = safetensors::SafeTensors::deserialize(&bytes)
            .map_err(|e| Error::data(file, format!("not a safetensors file ({e}); export VGG-16 with torchvision's names")))?;
        let ids: Vec<_> = store.iter().filter(|(_, p)| p.name.starts_with(PREFIX)).map(|(id, _)| id).collect();
        for id in ids {
            let p = store.get(id).clone();
            let name = p.name.trim_start_matches(PREFIX);
            let t = tensors
                .tensor(name)
                .map_err(|_| Error::data(file, format!("has no tensor {name:?}; torchvision's vgg16 has")))?;
            read_tensor(store, id, &t).map_err(|why| Error::data(file, why))?;
        }
        Ok(())
    }

    /// `x`: ImageNet-normalised pictures.
    pub fn run(&self, t: &mut Tape, x: Var) -> Result<Var> {
        self.net.run(t, x, Mode::Eval)
    }
}
