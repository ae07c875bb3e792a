//! A network is a list of rows. The list is the network: it builds its parameters, runs, and prints itself as a table.

use std::fmt::Write;

use crate::core::params::{Form, Init, Kind, ParamId, ParamStore};
use crate::core::real::Real;
use crate::core::shape::{Shape, shape};
use crate::core::tape::{Tape, Var};
use crate::error::{Error, Result};
use crate::ops::activation::{leaky_relu, relu, sigmoid, tanh};
use crate::ops::batch_norm::{BatchNormParams, batch_norm_eval, batch_norm_train};
use crate::ops::concat::concat;
use crate::ops::conv_transpose2d::{ConvTranspose2d, conv_transpose2d};
use crate::ops::conv2d::{Conv2d, conv2d};
use crate::ops::global_avg_pool::global_avg_pool;
use crate::ops::linear::linear;
use crate::ops::max_pool::max_pool;

/// One row of a table. `k`/`s`/`p`: kernel, stride, padding.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Layer {
    Conv {
        out: usize,
        k: usize,
        s: usize,
        p: usize,
        bias: bool,
    },
    /// Transposed convolution.
    Up {
        out: usize,
        k: usize,
        s: usize,
        p: usize,
        bias: bool,
    },
    Bn,
    Relu,
    LeakyRelu(f64),
    Tanh,
    Sigmoid,
    /// k×k windows every k pixels.
    MaxPool(usize),
    /// Global average pooling.
    Gap,
    Linear(usize),
    /// Append so many channels of another network's features (a U-Net's skip connection).
    Skip(usize),
}

impl Layer {
    /// Slope of the negative side of an activation that batch norm can take along.
    fn slope(self) -> Option<f64> {
        match self {
            Layer::Relu => Some(0.0),
            Layer::LeakyRelu(slope) if slope >= 0.0 => Some(slope),
            _ => None,
        }
    }
}

/// Whether batch norm uses the batch or the running statistics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    Train,
    Eval,
}

/// Initial values of a whole network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Start {
    /// PyTorch's defaults: U(±1/√fan_in) for weights and biases; batch norm 1 and 0.
    TorchDefault,
    /// DCGAN (Radford et al. 2016): weights N(0, 0.02), biases 0, batch norm gain N(1, 0.02).
    Dcgan,
    /// Kaiming normal with fan_in (He et al. 2015), biases 0.
    KaimingIn,
    /// Kaiming normal with fan_out, biases 0: torchvision's VGG.
    KaimingOut,
}

impl Start {
    fn weight(self, fan_in: usize, fan_out: usize) -> Init {
        match self {
            Start::TorchDefault => Init::torch_default(fan_in),
            Start::Dcgan => Init::Normal { mean: 0.0, std: 0.02 },
            Start::KaimingIn => Init::kaiming(fan_in),
            Start::KaimingOut => Init::kaiming(fan_out),
        }
    }
    fn bias(self, fan_in: usize) -> Init {
        match self {
            Start::TorchDefault => Init::torch_default(fan_in),
            _ => Init::Constant(0.0),
        }
    }
    fn gain(self) -> Init {
        match self {
            Start::Dcgan => Init::Normal { mean: 1.0, std: 0.02 },
            _ => Init::Constant(1.0),
        }
    }
}

#[derive(Debug, Clone)]
struct Row {
    layer: Layer,
    params: Vec<ParamId>,
    /// Output for one picture.
    out: Shape,
}

/// Rows with their parameters. Parameter names are `NAME.ROW.weight`, rows counted from 0 as in torch's `nn.Sequential`.
#[derive(Debug, Clone)]
pub struct Net {
    pub name: String,
    pub input: Shape,
    rows: Vec<Row>,
}

impl Net {
    /// Add the parameters of `layers` to the store. `input` is the shape of one picture (`n` = 1).
    pub fn build<T: Real>(
        store: &mut ParamStore<T>,
        name: &str,
        input: Shape,
        layers: &[Layer],
        start: Start,
        kind: Kind,
    ) -> Result<Net> {
        let mut rows = Vec::new();
        let mut x = input;
        for (i, &layer) in layers.iter().enumerate() {
            let at = format!("{name}.{i}");
            let wrong = |why: String| Error::Shape { op: "layer", at: at.clone(), why };
            let mut params = Vec::new();
            let (n, h, w, c) = x.dims();
            let weights = |store: &mut ParamStore<T>, shape: Shape, form, fan_in, fan_out| {
                store.add(&format!("{at}.weight"), shape, kind, form, start.weight(fan_in, fan_out))
            };
            let vector = |store: &mut ParamStore<T>, what: &str, len, kind, init| {
                store.add(&format!("{at}.{what}"), Shape::vector(len), kind, Form::Vector, init)
            };
            let out = match layer {
                Layer::Conv { out, k, s, p, bias } => {
                    let filter = shape(out, k, k, c);
                    params.push(weights(store, filter, Form::Filter, k * k * c, k * k * out));
                    if bias {
                        params.push(vector(store, "bias", out, kind, start.bias(k * k * c)));
                    }
                    Conv2d::new(s, p).sizes(x, filter).map_err(wrong)?.y()
                }
                Layer::Up { out, k, s, p, bias } => {
                    // Torch's fan_in of a transposed convolution counts its output channels; each output pixel sums k²/s² taps.
                    let fan_in = if start == Start::KaimingIn { k * k * c / (s * s) } else { k * k * out };
                    params.push(weights(store, shape(c, k, k, out), Form::Filter, fan_in, k * k * c));
                    if bias {
                        params.push(vector(store, "bias", out, kind, start.bias(k * k * out)));
                    }
                    let side = |len: usize| ((len - 1) * s + k).checked_sub(2 * p).filter(|&o| o > 0);
                    match (side(h), side(w)) {
                        (Some(h), Some(w)) => shape(n, h, w, out),
                        _ => return Err(wrong(format!("padding {p} leaves no picture of {x}"))),
                    }
                }
                Layer::Bn => {
                    params.push(vector(store, "weight", c, kind, start.gain()));
                    params.push(vector(store, "bias", c, kind, Init::Constant(0.0)));
                    params.push(vector(store, "running_mean", c, Kind::Running, Init::Constant(0.0)));
                    params.push(vector(store, "running_var", c, Kind::Running, Init::Constant(1.0)));
                    x
                }
                Layer::Linear(out) => {
                    let from = x.per_image();
                    params.push(weights(store, shape(out, 1, 1, from), Form::Matrix, from, out));
                    params.push(vector(store, "bias", out, kind, start.bias(from)));
                    shape(n, 1, 1, out)
                }
                Layer::Relu | Layer::LeakyRelu(_) | Layer::Tanh | Layer::Sigmoid => x,
                Layer::MaxPool(k) if h >= k && w >= k => shape(n, h / k, w / k, c),
                Layer::MaxPool(k) => return Err(wrong(format!("a {k}×{k} window does not fit into {x}"))),
                Layer::Gap => shape(n, 1, 1, c),
                Layer::Skip(more) => shape(n, h, w, c + more),
            };
            rows.push(Row { layer, params, out });
            x = out;
        }
        Ok(Net { name: name.to_string(), input, rows })
    }

    /// The parameters of a row: weight, bias.
    pub fn params(&self, row: usize) -> &[ParamId] {
        &self.rows[row].params
    }

    pub fn rows(&self) -> impl Iterator<Item = (Layer, Shape)> + '_ {
        self.rows.iter().map(|r| (r.layer, r.out))
    }

    /// Output for one picture.
    pub fn output(&self) -> Shape {
        self.rows.last().map_or(self.input, |r| r.out)
    }

    pub fn run(&self, t: &mut Tape, x: Var, mode: Mode) -> Result<Var> {
        Ok(*self.run_all(t, x, mode, &[])?.last().expect("a network has rows"))
    }

    /// Run and return the output of every row. Batch norm takes the ReLU or LeakyReLU behind it along, so that both rows give the
    /// output of the second. `skips` are taken by the [`Layer::Skip`] rows in order.
    pub fn run_all(&self, t: &mut Tape, x: Var, mode: Mode, skips: &[Var]) -> Result<Vec<Var>> {
        let (mut x, mut outputs, mut skips) = (x, Vec::new(), skips.iter());
        for (i, row) in self.rows.iter().enumerate() {
            x = t.scope(format!("{}.{i}", self.name), |t| {
                let p: Vec<Var> = row.params.iter().map(|&id| t.param(id)).collect();
                match row.layer {
                    Layer::Conv { s, p: pad, .. } => conv2d(t, x, p[0], p.get(1).copied(), Conv2d::new(s, pad)),
                    Layer::Up { s: stride, p: pad, .. } => {
                        conv_transpose2d(t, x, p[0], p.get(1).copied(), ConvTranspose2d { stride, pad })
                    }
                    Layer::Bn => {
                        let p = BatchNormParams { gamma: p[0], beta: p[1], mean: p[2], var: p[3] };
                        let slope = self.rows.get(i + 1).and_then(|next| next.layer.slope()).unwrap_or(1.0);
                        match mode {
                            Mode::Train => batch_norm_train(t, x, p, slope),
                            Mode::Eval => batch_norm_eval(t, x, p, slope),
                        }
                    }
                    // Done by the batch norm before it.
                    layer if layer.slope().is_some() && i > 0 && self.rows[i - 1].layer == Layer::Bn => Ok(x),
                    Layer::Relu => relu(t, x),
                    Layer::LeakyRelu(slope) => leaky_relu(t, x, slope),
                    Layer::Tanh => tanh(t, x),
                    Layer::Sigmoid => sigmoid(t, x),
                    Layer::MaxPool(k) => max_pool(t, x, k, k),
                    Layer::Gap => global_avg_pool(t, x),
                    Layer::Linear(_) => linear(t, x, p[0], p.get(1).copied()),
                    Layer::Skip(_) => concat(t, x, *skips.next().expect("one value per skip row")),
                }
            })?;
            outputs.push(x);
        }
        Ok(outputs)
    }

    /// The table: row, layer, output height×width×channels, trained (or frozen) parameters.
    pub fn describe<T: Real>(&self, store: &ParamStore<T>) -> String {
        let mut text = format!("{} (input {})\n", self.name, size(self.input));
        let mut total = 0;
        for (i, row) in self.rows.iter().enumerate() {
            let count: usize =
                row.params.iter().map(|&p| store.get(p)).filter(|p| p.kind != Kind::Running).map(|p| p.shape.len()).sum();
            total += count;
            let params = if count > 0 { group(count) } else { String::new() };
            let _ = writeln!(text, "{i:>4}  {:<38} {:>14} {params:>14}", words(row.layer), size(row.out));
        }
        let _ = writeln!(text, "      {:<38} {:>14} {:>14}", "total", "", group(total));
        text
    }
}

/// `128×128×64`
fn size(s: Shape) -> String {
    format!("{}×{}×{}", s.h, s.w, s.c)
}

/// 5,183,808
pub fn group(n: usize) -> String {
    let s = n.to_string();
    let head = s.len() % 3;
    let mut parts: Vec<&str> = if head > 0 { vec![&s[..head]] } else { vec![] };
    parts.extend((head..s.len()).step_by(3).map(|i| &s[i..i + 3]));
    parts.join(",")
}

fn words(l: Layer) -> String {
    match l {
        Layer::Conv { out, k, s, p, bias } => {
            format!("Conv2d {out}, {k}×{k}, stride {s}, pad {p}{}", if bias { "" } else { ", no bias" })
        }
        Layer::Up { out, k, s, p, bias } => {
            format!("ConvTranspose2d {out}, {k}×{k}, stride {s}, pad {p}{}", if bias { "" } else { ", no bias" })
        }
        Layer::Bn => "BatchNorm2d".into(),
        Layer::Relu => "ReLU".into(),
        Layer::LeakyRelu(s) => format!("LeakyReLU {s}"),
        Layer::Tanh => "Tanh".into(),
        Layer::Sigmoid => "Sigmoid".into(),
        Layer::MaxPool(k) => format!("MaxPool2d {k}×{k}"),
        Layer::Gap => "AvgPool2d (global)".into(),
        Layer::Linear(out) => format!("Linear {out}"),
        Layer::Skip(c) => format!("Concat {c} (skip)"),
    }
}
