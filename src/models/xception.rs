//! Xception: Chollet, "Xception: Deep Learning with Depthwise Separable Convolutions", CVPR 2017 (arXiv 1610.02357), with the
//! padding and the names of the PyTorch version that FaceForensics++ (Rössler et al., ICCV 2019, arXiv 1901.08971) fine-tunes
//! and timm calls `legacy_xception`. A separable convolution is 3×3 per channel, then 1×1, without bias and with nothing
//! between.

use std::collections::BTreeSet;
use std::path::Path;

use safetensors::tensor::TensorView;

use crate::core::params::{Group, Kind, ParamStore};
use crate::core::real::Real;
use crate::core::shape::shape;
use crate::error::{Error, Result};
use crate::nn::Layer::{self, *};
use crate::nn::weights::{from_torch, torch_shape, values};
use crate::nn::{BN, Filters, Initialisation, Net, Window};

/// Blocks of the middle flow, as torch calls them.
pub const MIDDLE: [&str; 8] = ["block4", "block5", "block6", "block7", "block8", "block9", "block10", "block11"];

/// torch's names of the rows of a block's `rep`; the two convolutions of a separable one share a row there.
const REP: [[&str; 3]; 9] = [
    ["0", "0.conv1", "0.pointwise"],
    ["1", "1.conv1", "1.pointwise"],
    ["2", "2.conv1", "2.pointwise"],
    ["3", "3.conv1", "3.pointwise"],
    ["4", "4.conv1", "4.pointwise"],
    ["5", "5.conv1", "5.pointwise"],
    ["6", "6.conv1", "6.pointwise"],
    ["7", "7.conv1", "7.pointwise"],
    ["8", "8.conv1", "8.pointwise"],
];

fn named(name: &'static str, layer: Layer) -> Layer {
    Named(name, Box::new(layer))
}
fn conv(out: usize, k: usize) -> Filters {
    Filters::new(out, k).bias(false)
}

/// Separable convolution and batch norm.
fn separable(names: [&'static str; 3], from: usize, to: usize) -> [Layer; 3] {
    let [depthwise, pointwise, norm] = names;
    [named(depthwise, Conv(conv(from, 3).groups(from).same())), named(pointwise, Conv(conv(to, 1))), named(norm, BN)]
}

/// ReLU, separable convolution, batch norm for each of `widths`, added to the input. A block that halves pools at the end, and
/// its input goes through a 1×1 convolution.
fn block(name: &'static str, mut from: usize, widths: &[usize], relu_first: bool, halves: bool) -> Layer {
    let (mut main, mut skip, mut rep) = (Vec::new(), Vec::new(), REP.iter());
    let mut next = || rep.next().expect("three convolutions at most");
    for (i, &to) in widths.iter().enumerate() {
        if relu_first || i > 0 {
            main.push(named(next()[0], Relu));
        }
        let (&[_, depthwise, pointwise], norm) = (next(), next()[0]);
        main.extend(separable([depthwise, pointwise, norm], from, to));
        from = to;
    }
    if halves {
        main.push(named(next()[0], MaxPool(Window::new(3, 2).pad(1))));
        skip.extend([named("skip", Conv(conv(from, 1).stride(2))), named("skipbn", BN)]);
    }
    named(name, Residual { main, skip })
}

/// The table; `width` scales all channel counts, which are rounded to fours, and `middle` counts the blocks of the middle flow.
/// Sizes are for 299 pixels, width 1.
#[rustfmt::skip]
pub fn layers(width: f64, middle: usize, classes: usize) -> Vec<Layer> {
    let w = |channels: usize| 4 * ((channels as f64 * width / 4.0).round() as usize).max(1);
    let mut rows = vec![
        named("conv1", Conv(conv(w(32), 3).stride(2))), named("bn1", BN), Relu,      // 149×149×32
        named("conv2", Conv(conv(w(64), 3))), named("bn2", BN), Relu,                // 147×147×64
        block("block1", w(64), &[w(128); 2], false, true),                           //   74×74×128
        block("block2", w(128), &[w(256); 2], true, true),                           //   37×37×256
        block("block3", w(256), &[w(728); 2], true, true),                           //   19×19×728
    ];
    rows.extend(MIDDLE[..middle].iter().map(|name| block(name, w(728), &[w(728); 3], true, false)));
    rows.push(block("block12", w(728), &[w(728), w(1024)], true, true));             //  10×10×1024
    rows.extend(separable(["conv3.conv1", "conv3.pointwise", "bn3"], w(1024), w(1536)));
    rows.push(Relu);                                                                 //  10×10×1536
    rows.extend(separable(["conv4.conv1", "conv4.pointwise", "bn4"], w(1536), w(2048)));
    rows.push(Relu);                                                                 //  10×10×2048
    rows.extend([Gap, named("fc", Linear(classes))]);
    rows
}

/// What torch calls a parameter: `block1.rep.0.conv1.weight` for `xception.block1.main.0.conv1.weight`.
pub fn torch_name(name: &str) -> String {
    let name = name.trim_start_matches("xception.").replace(".main.", ".rep.");
    name.replace(".skip.skip.", ".skip.").replace(".skip.skipbn.", ".skipbn.")
}

#[derive(Debug, Clone)]
pub struct Xception {
    pub net: Net,
    pub group: Group,
    /// The last layer.
    pub head: Group,
}

impl Xception {
    /// Adds the parameters, called `xception.…`, to the store: 20,811,050 trained ones at full width for two classes.
    pub fn build<T: Real>(store: &mut ParamStore<T>, size: usize, width: f64, middle: usize, classes: usize) -> Result<Xception> {
        let (input, table) = (shape(1, size, size, 3), layers(width, middle, classes));
        let net = Net::build(store, "xception", input, &table, Initialisation::TorchDefault, Kind::Trained)?;
        let (group, head) = (Group::of(net.params_all()), store.group("xception.fc"));
        Ok(Xception { net, group, head })
    }

    /// Take the weights of a file with torch's names (f32, f16 or bf16). 1×1 filters may have two axes, as in the published
    /// file. The head, `fc` or `last_linear`, stays as it is where the file's has another size.
    pub fn load(&self, store: &mut ParamStore, file: &Path) -> Result<()> {
        let bytes = std::fs::read(file).map_err(|e| Error::io(file, e))?;
        let tensors = safetensors::SafeTensors::deserialize(&bytes)
            .map_err(|e| Error::data(file, format!("not a safetensors file ({e}); export Xception with torch's names")))?;
        let remedy = "give a file of timm's legacy_xception, or set xcep.width and xcep.middle to those of the file";
        let mut read = BTreeSet::new();
        for &id in self.group.ids() {
            let p = store.get(id).clone();
            let (name, wanted) = (torch_name(&p.name), torch_shape(&p));
            let other = name.replace("fc.", "last_linear.");
            let found = tensors.tensor(&name).map(|t| (&name, t)).or_else(|_| tensors.tensor(&other).map(|t| (&other, t)));
            let Ok((name, t)) = found else {
                if self.head.contains(id) {
                    continue;
                }
                return Err(Error::data(file, format!("has no tensor {name:?}; {remedy}")));
            };
            read.insert(name.clone());
            let mut axes = t.shape().to_vec();
            if axes.len() == 2 && wanted.len() == 4 {
                axes.extend([1, 1]);
            }
            if axes != wanted {
                if self.head.contains(id) {
                    continue;
                }
                let why = format!("tensor {name} has shape {:?}, the network needs {wanted:?}; {remedy}", t.shape());
                return Err(Error::data(file, why));
            }
            let view = TensorView::new(t.dtype(), axes, t.data()).map_err(|e| Error::data(file, e))?;
            let values = values(name, &view).map_err(|why| Error::data(file, why))?;
            from_torch(&p, &values, store.value_mut(id));
        }
        let known = |n: &str| read.contains(n) || n.ends_with("num_batches_tracked") || n.starts_with("last_linear.");
        match tensors.names().into_iter().filter(|n| !known(n)).min() {
            Some(name) => Err(Error::data(file, format!("tensor {name} has no place in the network; {remedy}"))),
            None => Ok(()),
        }
    }
}
