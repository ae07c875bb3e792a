//! The rows of a network's table: what may stand in one, and the words that print it.

use crate::ops::avg_pool::AvgPool;
use crate::ops::batch_norm::{EPS, MOMENTUM};
use crate::ops::conv2d::Conv2d;
use crate::ops::lrn::Lrn;
use crate::ops::max_pool::MaxPool;

/// A bank of filters and how it moves over a picture; pairs are (vertical, horizontal).
///
/// ```
/// use lae_engine::nn::Filters;
/// let halving = Filters::new(64, 4).stride(2).pad(1);
/// let atrous = Filters::new(4, 3).dilation(2).same();
/// let depthwise = Filters::new(728, 3).groups(728).same().bias(false);
/// assert_eq!((halving.stride, atrous.pad, depthwise.groups), ((2, 2), (2, 2), 728));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Filters {
    /// Channels of the result.
    pub out: usize,
    pub kernel: (usize, usize),
    pub stride: (usize, usize),
    pub pad: (usize, usize),
    pub dilation: (usize, usize),
    /// Filters of a group read the channels of that group only. As many groups as channels is a depthwise convolution.
    pub groups: usize,
    pub bias: bool,
}

impl Filters {
    /// `out` filters of `k`×`k`, every pixel, no padding, with bias.
    pub const fn new(out: usize, k: usize) -> Filters {
        Filters::rectangular(out, (k, k))
    }
    /// `out` filters of `kernel.0` rows and `kernel.1` columns.
    pub const fn rectangular(out: usize, kernel: (usize, usize)) -> Filters {
        Filters { out, kernel, stride: (1, 1), pad: (0, 0), dilation: (1, 1), groups: 1, bias: true }
    }
    pub const fn stride(self, s: usize) -> Filters {
        Filters { stride: (s, s), ..self }
    }
    pub const fn pad(self, p: usize) -> Filters {
        Filters { pad: (p, p), ..self }
    }
    pub const fn dilation(self, d: usize) -> Filters {
        Filters { dilation: (d, d), ..self }
    }
    pub const fn groups(self, groups: usize) -> Filters {
        Filters { groups, ..self }
    }
    pub const fn bias(self, bias: bool) -> Filters {
        Filters { bias, ..self }
    }
    /// Half the span of an odd kernel as padding: stride 1 then keeps the size. Call it after [`Filters::dilation`].
    pub const fn same(self) -> Filters {
        let ((r, s), (dh, dw)) = (self.kernel, self.dilation);
        Filters { pad: (dh * (r - 1) / 2, dw * (s - 1) / 2), ..self }
    }
    pub(super) const fn op(&self) -> Conv2d {
        Conv2d { stride: self.stride, pad: self.pad, dilation: self.dilation, groups: self.groups }
    }
}

/// A square window of a pooling and how it moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    pub kernel: usize,
    pub stride: usize,
    pub pad: usize,
    /// The last window may hang over the edge (Caffe's rule; torch's `ceil_mode`).
    pub ceil: bool,
}

impl Window {
    /// `k`×`k` windows every `k` pixels.
    pub const fn every(k: usize) -> Window {
        Window { kernel: k, stride: k, pad: 0, ceil: false }
    }
    /// `k`×`k` windows every `stride` pixels.
    pub const fn new(kernel: usize, stride: usize) -> Window {
        Window { kernel, stride, pad: 0, ceil: false }
    }
    pub const fn pad(self, pad: usize) -> Window {
        Window { pad, ..self }
    }
    pub const fn ceil(self) -> Window {
        Window { ceil: true, ..self }
    }
    pub(super) const fn max(&self) -> MaxPool {
        MaxPool { kernel: self.kernel, stride: self.stride, pad: self.pad, ceil: self.ceil }
    }
    pub(super) const fn avg(&self) -> AvgPool {
        AvgPool { kernel: self.kernel, stride: self.stride, pad: self.pad, ceil: self.ceil }
    }
    fn words(&self, kind: &str) -> String {
        let mut text = format!("{kind} {0}×{0}", self.kernel);
        if self.stride != self.kernel || self.pad > 0 {
            text += &format!(", stride {}, pad {}", self.stride, self.pad);
        }
        text + if self.ceil { ", ceil" } else { "" }
    }
}

/// One row of a table.
#[derive(Debug, Clone, PartialEq)]
pub enum Layer {
    Conv(Filters),
    /// Transposed convolution. `k`/`s`/`p`: kernel, stride, padding.
    Up {
        out: usize,
        k: usize,
        s: usize,
        p: usize,
        bias: bool,
    },
    /// `momentum`: the share of the batch in the running statistics, as in torch. Keras writes 1 − momentum.
    BatchNorm {
        eps: f64,
        momentum: f64,
    },
    Relu,
    LeakyRelu(f64),
    Tanh,
    Sigmoid,
    MaxPool(Window),
    /// A window that the edge cuts is divided by its pixels inside.
    AvgPool(Window),
    /// Local response normalisation across channels.
    Lrn(Lrn),
    /// Mean, least, greatest value and variance of each channel over all pixels, in this order: four times the channels.
    Moments,
    /// Global average pooling.
    Gap,
    /// Over the channels of each pixel, with this temperature.
    Softmax(f64),
    /// Each pixel becomes so many by so many equal ones.
    Nearest(usize),
    /// A picture is flattened first. Weight files then hold torch's order of its values: channel, row, column.
    Linear(usize),
    /// In training each value becomes 0 with this probability p, and the others are divided by 1 − p. Nothing in evaluation.
    Dropout(f64),
    /// Append so many channels of another network's features (a U-Net's skip connection).
    Skip(usize),
    /// Tables that all read the row's input; the channels of their results are concatenated. An empty table passes the input on.
    Branches(Vec<Vec<Layer>>),
    /// The sum of two tables that both read the row's input. An empty `skip` adds the input itself (He et al. 2016).
    Residual {
        main: Vec<Layer>,
        skip: Vec<Layer>,
    },
    /// A row whose parameters are called by this name instead of the row's number.
    Named(&'static str, Box<Layer>),
}

/// Batch norm with torch's constants.
pub const BN: Layer = Layer::BatchNorm { eps: EPS, momentum: MOMENTUM };

impl Layer {
    /// Slope of the negative side of an activation that batch norm can take along.
    pub(super) fn slope(&self) -> Option<f64> {
        match *self {
            Layer::Relu => Some(0.0),
            Layer::LeakyRelu(slope) if slope >= 0.0 => Some(slope),
            _ => None,
        }
    }

    /// A normalisation or an activation: what belongs to the convolution before it.
    pub(super) fn follows_a_convolution(&self) -> bool {
        use Layer::*;
        matches!(self, BatchNorm { .. } | Relu | LeakyRelu(_) | Tanh | Sigmoid | Softmax(_))
    }

    /// What a printed table says of the row.
    pub(super) fn words(&self) -> String {
        match self {
            Layer::Conv(f) => {
                let pair = |(a, b): (usize, usize)| if a == b { a.to_string() } else { format!("({a}, {b})") };
                let mut text = format!("Conv2d {}, {}×{}", f.out, f.kernel.0, f.kernel.1);
                text += &format!(", stride {}, pad {}", pair(f.stride), pair(f.pad));
                if f.dilation != (1, 1) {
                    text += &format!(", dilation {}", pair(f.dilation));
                }
                if f.groups > 1 {
                    text += &format!(", groups {}", f.groups);
                }
                text + if f.bias { "" } else { ", no bias" }
            }
            Layer::Up { out, k, s, p, bias } => {
                format!("ConvTranspose2d {out}, {k}×{k}, stride {s}, pad {p}{}", if *bias { "" } else { ", no bias" })
            }
            row if *row == BN => "BatchNorm2d".into(),
            Layer::BatchNorm { eps, momentum } => format!("BatchNorm2d, ε {eps}, momentum {momentum}"),
            Layer::Relu => "ReLU".into(),
            Layer::LeakyRelu(s) => format!("LeakyReLU {s}"),
            Layer::Tanh => "Tanh".into(),
            Layer::Sigmoid => "Sigmoid".into(),
            Layer::MaxPool(w) => w.words("MaxPool2d"),
            Layer::AvgPool(w) => w.words("AvgPool2d"),
            Layer::Lrn(l) => format!("LRN {} channels, α {}, β {}, k {}", l.size, l.alpha, l.beta, l.k),
            Layer::Moments => "Mean, min, max, variance (global)".into(),
            Layer::Gap => "AvgPool2d (global)".into(),
            Layer::Softmax(temperature) => format!("Softmax, temperature {temperature}"),
            Layer::Nearest(factor) => format!("Upsample ×{factor}, nearest"),
            Layer::Linear(out) => format!("Linear {out}"),
            Layer::Dropout(p) => format!("Dropout {p}"),
            Layer::Skip(c) => format!("Concat {c} (skip)"),
            Layer::Branches(b) => format!("Concat of {} branches", b.len()),
            Layer::Residual { skip, .. } if skip.is_empty() => "Sum of main and input".into(),
            Layer::Residual { .. } => "Sum of main and skip".into(),
            Layer::Named(name, layer) => format!("{} ({name})", layer.words()),
        }
    }
}
