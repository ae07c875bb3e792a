//! A network: the rows of a table with their parameters. It builds, runs and prints itself.

use std::fmt::Write;

use super::init::Initialisation;
use super::layer::Layer;
use crate::core::op::Op;
use crate::core::params::{Form, Init, Kind, ParamId, ParamStore};
use crate::core::real::Real;
use crate::core::rng::stream;
use crate::core::shape::{Shape, shape};
use crate::core::tape::{Tape, Var};
use crate::core::text::thousands;
use crate::error::{Error, Result};
use crate::ops::activation::{leaky_relu, relu, sigmoid, tanh};
use crate::ops::add::add;
use crate::ops::batch_norm::{BatchNormEval, BatchNormTrain};
use crate::ops::concat::concat;
use crate::ops::conv_transpose2d::{ConvTranspose2d, conv_transpose2d};
use crate::ops::conv2d::conv2d;
use crate::ops::dropout::{Dropout, dropout};
use crate::ops::global_avg_pool::global_avg_pool;
use crate::ops::linear::linear;
use crate::ops::moments_pool::{MomentsPool, moments_pool};
use crate::ops::nearest::Nearest;
use crate::ops::softmax::Softmax;

/// Whether batch norm uses the batch or the running statistics, and dropout drops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    Train,
    Eval,
}

/// How a network runs. A [`Mode`] alone will do for a network without dropout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Context {
    pub mode: Mode,
    /// One number, the training step: dropout draws another mask at each.
    pub step: Option<Var>,
}

impl Context {
    pub const EVAL: Context = Context { mode: Mode::Eval, step: None };

    pub fn train(step: Var) -> Context {
        Context { mode: Mode::Train, step: Some(step) }
    }
}

impl From<Mode> for Context {
    fn from(mode: Mode) -> Context {
        Context { mode, step: None }
    }
}

#[derive(Debug, Clone)]
struct Row {
    layer: Layer,
    /// The row's number or name: the last part of its path.
    label: String,
    params: Vec<ParamId>,
    /// Networks inside the row: the branches, or main and skip of a residual sum.
    parts: Vec<Net>,
    /// Output for one picture.
    out: Shape,
}

impl Row {
    fn convolves(&self) -> bool {
        let inside = || self.parts.iter().flat_map(|net| &net.rows).any(Row::convolves);
        matches!(self.layer, Layer::Conv(_) | Layer::Up { .. }) || inside()
    }
}

/// The values of a run: the output of every row, and those inside it.
struct Trace {
    outputs: Vec<Var>,
    parts: Vec<Vec<Trace>>,
}

/// Rows with their parameters. Parameter names are `NAME.ROW.weight`, rows counted from 0 as in torch's `nn.Sequential`; inside a
/// row of branches `NAME.ROW.BRANCH.ROW.weight`, inside a residual sum `NAME.ROW.main.ROW.weight` and `NAME.ROW.skip.ROW.weight`.
#[derive(Debug, Clone)]
pub struct Net {
    pub name: String,
    pub input: Shape,
    rows: Vec<Row>,
    seed: u64,
}

impl Net {
    /// Add the parameters of `layers` to the store. `input` is the shape of one picture (`n` = 1). Errors name the row that does
    /// not fit by its path.
    pub fn build<T: Real>(
        store: &mut ParamStore<T>,
        name: &str,
        input: Shape,
        layers: &[Layer],
        init: Initialisation,
        kind: Kind,
    ) -> Result<Net> {
        let mut builder = Builder { seed: store.seed, store, init, kind };
        builder.net(name.to_string(), input, layers, true)
    }

    /// The parameters of a row itself: weight, bias.
    pub fn params(&self, row: usize) -> &[ParamId] {
        &self.rows[row].params
    }

    /// All parameters of the network in the order of the table, those of nested rows included.
    pub fn params_all(&self) -> Vec<ParamId> {
        let of = |r: &Row| [r.params.clone(), r.parts.iter().flat_map(Net::params_all).collect()].concat();
        self.rows.iter().flat_map(of).collect()
    }

    /// Rows with their output for one picture.
    pub fn rows(&self) -> impl Iterator<Item = (&Layer, Shape)> + '_ {
        self.rows.iter().map(|r| (&r.layer, r.out))
    }

    /// The networks inside a row: the branches, or main and skip of a residual sum; none of a plain row.
    pub fn parts(&self, row: usize) -> &[Net] {
        &self.rows[row].parts
    }

    /// Output for one picture.
    pub fn output(&self) -> Shape {
        self.rows.last().map_or(self.input, |r| r.out)
    }

    /// Cells of a row's output, from each edge inwards, that depend on what lies beyond the edge of the input: those that a part of a
    /// larger picture, run by itself, gets wrong. Rows up to `row`; plain rows only.
    pub fn reach(&self, row: usize) -> usize {
        let mut reach = 0;
        for r in &self.rows[..=row] {
            if let Layer::Conv(f) = &r.layer {
                let one = |kernel: usize, stride: usize, pad: usize, dilation: usize| {
                    let span = dilation * (kernel - 1);
                    (reach + pad.max(span.saturating_sub(pad))).div_ceil(stride)
                };
                let (kernel, stride, pad, dilation) = (f.kernel, f.stride, f.pad, f.dilation);
                reach = one(kernel.0, stride.0, pad.0, dilation.0).max(one(kernel.1, stride.1, pad.1, dilation.1));
            }
        }
        reach
    }

    /// Run on pictures of the input's shape. `context`: a [`Context`], or a [`Mode`] if no row is a dropout.
    pub fn run(&self, t: &mut Tape, x: Var, context: impl Into<Context>) -> Result<Var> {
        Ok(self.run_all(t, x, context, &[])?.last().copied().unwrap_or(x))
    }

    /// Run and return the output of every row. Batch norm takes the ReLU or LeakyReLU behind it along, so that both rows give the
    /// output of the second. `skips` are taken by the [`Layer::Skip`] rows in order.
    pub fn run_all(&self, t: &mut Tape, x: Var, context: impl Into<Context>, skips: &[Var]) -> Result<Vec<Var>> {
        Ok(self.trace(t, x, context.into(), skips)?.outputs)
    }

    /// [`Net::run`], and the maps that a class activation map is made of: the output of the last convolution with the normalisation
    /// and the activation behind it. Where that lies in branches that end in vectors, the maps of each branch.
    pub fn run_with_maps(&self, t: &mut Tape, x: Var, context: impl Into<Context>) -> Result<(Vec<Var>, Var)> {
        let trace = self.trace(t, x, context.into(), &[])?;
        let mut maps = Vec::new();
        self.last_maps(&trace, &mut maps);
        Ok((maps, trace.outputs.last().copied().unwrap_or(x)))
    }

    fn last_maps(&self, trace: &Trace, maps: &mut Vec<Var>) {
        let Some(last) = self.rows.iter().rposition(Row::convolves) else { return };
        if self.rows[last].out.h * self.rows[last].out.w == 1 && !self.rows[last].parts.is_empty() {
            self.rows[last].parts.iter().zip(&trace.parts[last]).for_each(|(net, trace)| net.last_maps(trace, maps));
            return;
        }
        let behind = self.rows[last + 1..].iter().take_while(|r| r.layer.follows_a_convolution()).count();
        maps.push(trace.outputs[last + behind]);
    }

    fn trace(&self, t: &mut Tape, x: Var, context: Context, skips: &[Var]) -> Result<Trace> {
        let (mut x, mut skips) = (x, skips.iter());
        let mut trace = Trace { outputs: Vec::new(), parts: Vec::new() };
        for (i, row) in self.rows.iter().enumerate() {
            let of_parts = row.parts.iter().map(|net| net.trace(t, x, context, &[])).collect::<Result<Vec<Trace>>>()?;
            let parts: Vec<Var> = of_parts.iter().map(|p| p.outputs.last().copied().unwrap_or(x)).collect();
            let (before, behind) = (i.checked_sub(1).map(|i| &self.rows[i].layer), self.rows.get(i + 1).map(|r| &r.layer));
            let path = self.path(row);
            x = t.scope(path.clone(), |t| {
                let p: Vec<Var> = row.params.iter().map(|&id| t.param(id)).collect();
                match row.layer {
                    Layer::Conv(f) => conv2d(t, x, p[0], p.get(1).copied(), f.op()),
                    Layer::Up { s: stride, p: pad, .. } => {
                        conv_transpose2d(t, x, p[0], p.get(1).copied(), ConvTranspose2d { stride, pad })
                    }
                    Layer::BatchNorm { eps, momentum } => {
                        let slope = behind.and_then(Layer::slope).unwrap_or(1.0);
                        let operands = [x, p[0], p[1], p[2], p[3]];
                        match context.mode {
                            Mode::Train => t.apply(BatchNormTrain { eps, momentum, slope }, &operands),
                            Mode::Eval => t.apply(BatchNormEval { eps, slope }, &operands),
                        }
                    }
                    // The batch norm before has applied this activation.
                    ref layer if layer.slope().is_some() && matches!(before, Some(Layer::BatchNorm { .. })) => Ok(x),
                    Layer::Relu => relu(t, x),
                    Layer::LeakyRelu(slope) => leaky_relu(t, x, slope),
                    Layer::Tanh => tanh(t, x),
                    Layer::Sigmoid => sigmoid(t, x),
                    Layer::MaxPool(w) => t.apply(w.max(), &[x]),
                    Layer::AvgPool(w) => t.apply(w.avg(), &[x]),
                    Layer::Lrn(lrn) => t.apply(lrn, &[x]),
                    Layer::Moments => moments_pool(t, x),
                    Layer::Gap => global_avg_pool(t, x),
                    Layer::Softmax(temperature) => t.apply(Softmax { temperature }, &[x]),
                    Layer::Nearest(factor) => t.apply(Nearest { factor }, &[x]),
                    Layer::Linear(_) => linear(t, x, p[0], p.get(1).copied()),
                    Layer::Dropout(p) => match context {
                        Context { mode: Mode::Eval, .. } => Ok(x),
                        Context { step: Some(step), .. } => {
                            dropout(t, x, step, Dropout { p, seed: self.seed, stream: stream(&path) })
                        }
                        Context { step: None, .. } => Err(Error::Shape {
                            op: "dropout",
                            at: path.clone(),
                            why: "training needs the number of the step; run the network with Context::train(step)".to_string(),
                        }),
                    },
                    Layer::Skip(_) => concat(t, x, *skips.next().expect("one value per skip row")),
                    Layer::Branches(_) => concat_all(t, &parts),
                    Layer::Residual { .. } => add(t, parts[0], parts[1]),
                    Layer::Named(..) => unreachable!("the builder takes the name off"),
                }
            })?;
            trace.outputs.push(x);
            trace.parts.push(of_parts);
        }
        Ok(trace)
    }

    fn path(&self, row: &Row) -> String {
        format!("{}.{}", self.name, row.label)
    }

    /// The table: row, layer, output height×width×channels, trained (or frozen) parameters. Rows inside a row are indented.
    pub fn describe<T: Real>(&self, store: &ParamStore<T>) -> String {
        let mut lines = Vec::new();
        self.lines(store, self.name.len() + 1, 0, &mut lines);
        let wide = lines.iter().map(|l| l.label.len()).max().unwrap_or(0).max(4);
        let mut text = format!("{} (input {})\n", self.name, size(self.input));
        for l in &lines {
            let params = if l.params > 0 { thousands(l.params) } else { String::new() };
            let _ = writeln!(text, "{:>wide$}  {:<38} {:>14} {params:>14}", l.label, l.words, size(l.out));
        }
        let total = thousands(lines.iter().map(|l| l.params).sum());
        let _ = writeln!(text, "{:wide$}  {:<38} {:>14} {total:>14}", "", "total", "");
        text
    }

    /// `root`: bytes of a path that the label of a row leaves out.
    fn lines<T: Real>(&self, store: &ParamStore<T>, root: usize, depth: usize, lines: &mut Vec<Line>) {
        for row in &self.rows {
            let trained = row.params.iter().map(|&p| store.get(p)).filter(|p| p.kind != Kind::Running);
            lines.push(Line {
                label: self.path(row)[root..].to_string(),
                words: format!("{:1$}{2}", "", 2 * depth, row.layer.words()),
                out: row.out,
                params: trained.map(|p| p.shape.len()).sum(),
            });
            row.parts.iter().for_each(|net| net.lines(store, root, depth + 1, lines));
        }
    }
}

/// A row of the printed table.
struct Line {
    label: String,
    words: String,
    out: Shape,
    params: usize,
}

/// Values that differ in channels only, joined in halves: each value is copied as often as the halving is deep.
fn concat_all(t: &mut Tape, parts: &[Var]) -> Result<Var> {
    let (left, right) = parts.split_at(parts.len() / 2);
    match parts {
        [one] => Ok(*one),
        _ => {
            let (left, right) = (concat_all(t, left)?, concat_all(t, right)?);
            concat(t, left, right)
        }
    }
}

/// What all rows of a network are built with.
struct Builder<'a, T> {
    store: &'a mut ParamStore<T>,
    init: Initialisation,
    kind: Kind,
    seed: u64,
}

impl<T: Real> Builder<'_, T> {
    fn net(&mut self, name: String, input: Shape, layers: &[Layer], top: bool) -> Result<Net> {
        let mut net = Net { name, input, rows: Vec::new(), seed: self.seed };
        for (i, layer) in layers.iter().enumerate() {
            let (label, layer) = match layer {
                Layer::Named(name, layer) => (name.to_string(), &**layer),
                layer => (i.to_string(), layer),
            };
            let path = format!("{}.{label}", net.name);
            let row = self.row(path, label, net.output(), layer, top)?;
            net.rows.push(row);
        }
        Ok(net)
    }

    fn row(&mut self, path: String, label: String, x: Shape, layer: &Layer, top: bool) -> Result<Row> {
        let at = path.clone();
        let wrong = |why: String| Error::Shape { op: "layer", at: at.clone(), why };
        let (mut params, mut parts) = (Vec::new(), Vec::new());
        let (n, h, w, c) = x.dims();
        let (init, kind) = (self.init, self.kind);
        let mut add = |what: &str, shape, kind, form, init| {
            params.push(self.store.add(&format!("{path}.{what}"), shape, kind, form, init));
        };
        let out = match *layer {
            Layer::Conv(f) => {
                let ((r, s), from) = (f.kernel, c / f.groups.max(1));
                let filter = shape(f.out, r, s, from);
                let y = f.op().sizes(x, filter).map_err(wrong)?.y();
                let (fan_in, fan_out) = (r * s * from, r * s * f.out / f.groups);
                add("weight", filter, kind, Form::Filter, init.weight(fan_in, fan_out));
                if f.bias {
                    add("bias", Shape::vector(f.out), kind, Form::Vector, init.bias(fan_in));
                }
                y
            }
            Layer::Up { out, k, s: stride, p: pad, bias } => {
                let filter = shape(c, k, k, out);
                let y = Op::infer(&ConvTranspose2d { stride, pad }, &[x, filter]).map_err(wrong)?[0];
                // Torch's fan_in of a transposed convolution counts its output channels; each output pixel sums k²/s² taps.
                let own = init == Initialisation::KaimingIn;
                let fan_in = if own { k * k * c / (stride * stride) } else { k * k * out };
                add("weight", filter, kind, Form::Filter, init.weight(fan_in, k * k * c));
                if bias {
                    add("bias", Shape::vector(out), kind, Form::Vector, init.bias(k * k * out));
                }
                y
            }
            Layer::BatchNorm { .. } => {
                let vector = Shape::vector(c);
                add("weight", vector, kind, Form::Vector, init.gain());
                add("bias", vector, kind, Form::Vector, Init::Constant(0.0));
                add("running_mean", vector, Kind::Running, Form::Vector, Init::Constant(0.0));
                add("running_var", vector, Kind::Running, Form::Vector, Init::Constant(1.0));
                x
            }
            Layer::Linear(out) => {
                let (from, form) = (x.per_image(), if h * w > 1 { Form::Flat } else { Form::Matrix });
                add("weight", shape(out, h, w, c), kind, form, init.weight(from, out));
                add("bias", Shape::vector(out), kind, Form::Vector, init.bias(from));
                shape(n, 1, 1, out)
            }
            Layer::Relu | Layer::LeakyRelu(_) | Layer::Tanh | Layer::Sigmoid => x,
            Layer::MaxPool(w) => Op::infer(&w.max(), &[x]).map_err(wrong)?[0],
            Layer::AvgPool(w) => Op::infer(&w.avg(), &[x]).map_err(wrong)?[0],
            Layer::Lrn(lrn) => Op::infer(&lrn, &[x]).map_err(wrong)?[0],
            Layer::Moments => Op::infer(&MomentsPool, &[x]).map_err(wrong)?[0],
            Layer::Gap => shape(n, 1, 1, c),
            Layer::Softmax(temperature) => Op::infer(&Softmax { temperature }, &[x]).map_err(wrong)?[0],
            Layer::Nearest(factor) => Op::infer(&Nearest { factor }, &[x]).map_err(wrong)?[0],
            Layer::Dropout(p) if (0.0..1.0).contains(&p) => x,
            Layer::Dropout(p) => return Err(wrong(format!("dropout with probability {p}; give one from 0 to below 1"))),
            Layer::Skip(more) if top => shape(n, h, w, c + more),
            Layer::Skip(_) => return Err(wrong("a skip connection stands in the outermost table only".to_string())),
            Layer::Branches(ref tables) => {
                for (i, table) in tables.iter().enumerate() {
                    parts.push(self.net(format!("{at}.{i}"), x, table, false)?);
                }
                let outs: Vec<Shape> = parts.iter().map(Net::output).collect();
                let Some(&first) = outs.first() else { return Err(wrong("a concatenation needs a branch".to_string())) };
                if let Some(i) = outs.iter().position(|o| (o.h, o.w) != (first.h, first.w)) {
                    return Err(wrong(format!(
                        "branches give pictures of different sizes: {} of branch 0, {} of branch {i}",
                        size(first),
                        size(outs[i])
                    )));
                }
                Shape { c: outs.iter().map(|o| o.c).sum(), ..first }
            }
            Layer::Residual { ref main, ref skip } => {
                for (name, table) in [("main", main), ("skip", skip)] {
                    parts.push(self.net(format!("{at}.{name}"), x, table, false)?);
                }
                let (main, skip) = (parts[0].output(), parts[1].output());
                if main != skip {
                    return Err(wrong(format!("main gives {}, but skip {}: their sum needs one size", size(main), size(skip))));
                }
                main
            }
            Layer::Named(..) => return Err(wrong("a row has one name".to_string())),
        };
        Ok(Row { layer: layer.clone(), label, params, parts, out })
    }
}

/// `128×128×64`
fn size(s: Shape) -> String {
    format!("{}×{}×{}", s.h, s.w, s.c)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::plan::{Memory, Plan};
    use crate::core::rng::Rng;
    use crate::nn::layer::{BN, Filters, Layer::*, Window};
    use crate::ops::dot::dot;

    fn conv(out: usize, k: usize) -> Layer {
        Conv(Filters::new(out, k).same())
    }

    fn build(input: Shape, layers: &[Layer]) -> Result<(ParamStore<f64>, Net)> {
        let mut store = ParamStore::new(3);
        let net = Net::build(&mut store, "net", input, layers, Initialisation::TorchDefault, Kind::Trained)?;
        Ok((store, net))
    }

    /// Every kind of row, nested two deep; what the layers of the baselines need.
    fn everything() -> Vec<Layer> {
        let depthwise = Filters::new(6, 3).groups(6).same().bias(false);
        let atrous = vec![Conv(Filters::rectangular(2, (1, 5)).dilation(2).same()), LeakyRelu(0.1), BN];
        let inner = Residual { main: vec![Relu, Conv(depthwise), conv(6, 1), BN], skip: vec![] };
        vec![
            Conv(Filters::new(4, 3).stride(2).pad(1)),
            BN,
            Relu,
            Branches(vec![atrous, vec![MaxPool(Window::new(3, 1).pad(1)), conv(3, 1), Tanh], vec![], vec![conv(1, 3)]]),
            Residual {
                main: vec![conv(6, 3), BN, LeakyRelu(0.2), inner, MaxPool(Window::new(3, 2).pad(1))],
                skip: vec![Conv(Filters::new(6, 1).stride(2)), BN],
            },
            Dropout(0.25),
            Up { out: 3, k: 4, s: 2, p: 1, bias: true },
            MaxPool(Window::new(3, 2).ceil()),
            Dropout(0.25),
            Named("head", Box::new(Linear(2))),
        ]
    }

    /// ⟨u, net(x)⟩ and its derivatives by x and by every parameter, in f64.
    struct Run {
        store: ParamStore<f64>,
        plan: Plan<f64>,
        x: Var,
        dx: Var,
        loss: Var,
        ids: Vec<ParamId>,
    }

    impl Run {
        fn new(input: Shape, layers: &[Layer]) -> Run {
            let (store, net) = build(Shape { n: 1, ..input }, layers).unwrap();
            let mut t = Tape::new(&store);
            let (x, step) = (t.input(input), t.input(Shape::SCALAR));
            let y = net.run(&mut t, x, Context::train(step)).unwrap();
            let u = t.input(t.shape(y));
            let loss = dot(&mut t, y, u).unwrap();
            let mut wrt = t.trained(&store.group("net"));
            wrt.push(x);
            let dx = t.backward(loss, &wrt).unwrap().of(x).unwrap();
            let mut plan = Plan::new(t, &[loss, dx], Memory::Planned).unwrap();
            let mut rng = Rng::new(8, stream("test"), 0);
            plan.feed(x).unwrap().iter_mut().for_each(|v| *v = rng.normal() as f64);
            plan.feed(u).unwrap().iter_mut().for_each(|v| *v = rng.normal() as f64);
            plan.feed(step).unwrap()[0] = 4.0;
            let ids = net.params_all().into_iter().filter(|&id| store.get(id).kind == Kind::Trained).collect();
            Run { store, plan, x, dx, loss, ids }
        }
        fn loss(&mut self) -> f64 {
            self.plan.run(&mut self.store).unwrap();
            self.plan.scalar(self.loss).unwrap()
        }
    }

    /// Central differences along random directions, of the input and of each parameter, against backward. One of three steps must
    /// agree: a long one may cross a kink of ReLU or of max pooling, a short one drowns small derivatives in rounding.
    fn gradients_agree(input: Shape, layers: &[Layer]) {
        let mut run = Run::new(input, layers);
        run.loss();
        let dx = run.plan.fetch(run.dx).unwrap().to_vec();
        let grads: Vec<Vec<f64>> = run.ids.iter().map(|&id| run.store.grad(id).to_vec()).collect();
        for (i, grad) in [dx].iter().chain(&grads).enumerate() {
            let mut rng = Rng::new(9, stream("direction"), i as u64);
            let v: Vec<f64> = grad.iter().map(|_| rng.normal() as f64).collect();
            let start = match i {
                0 => run.plan.feed(run.x).unwrap().to_vec(),
                i => run.store.value(run.ids[i - 1]).to_vec(),
            };
            let mut at = |h: f64| {
                let values = match i {
                    0 => run.plan.feed(run.x).unwrap(),
                    i => run.store.value_mut(run.ids[i - 1]),
                };
                values.iter_mut().zip(&start).zip(&v).for_each(|((x, start), v)| *x = start + h * v);
                run.loss()
            };
            let numeric = [1e-5, 1e-6, 1e-7].map(|h| (at(h) - at(-h)) / (2.0 * h));
            at(0.0);
            let analytic: f64 = grad.iter().zip(&v).map(|(g, v)| g * v).sum();
            let size: f64 = grad.iter().zip(&v).map(|(g, v)| (g * v).abs()).sum();
            let name = if i == 0 { "x" } else { &run.store.get(run.ids[i - 1]).name };
            let agrees = numeric.iter().any(|n| (n - analytic).abs() <= 1e-6 * (size + 1e-3));
            assert!(agrees, "{name}: difference quotients {numeric:?}, backward {analytic}");
            // A bias that batch norm follows is taken off again with the mean.
            assert!(size > 1e-9 || name.ends_with("bias"), "{name}: no gradient");
        }
    }

    #[test]
    fn gradients_of_a_residual_sum() {
        let main = vec![conv(3, 3), Tanh, conv(3, 3)];
        gradients_agree(shape(2, 5, 4, 3), &[Residual { main: main.clone(), skip: vec![] }]);
        gradients_agree(shape(2, 5, 4, 3), &[Residual { main, skip: vec![conv(3, 1), BN] }]);
    }

    #[test]
    fn gradients_of_branches() {
        let branches = vec![vec![conv(1, 1), Tanh], vec![conv(4, 1), Tanh, conv(2, 3)], vec![], vec![Tanh], vec![conv(5, 3)]];
        gradients_agree(shape(2, 5, 4, 3), &[Branches(branches)]);
    }

    #[test]
    fn gradients_of_poolings_and_statistics() {
        let lrn = crate::ops::lrn::Lrn { size: 3, alpha: 0.5, beta: 0.75, k: 1.0 };
        let rows = [conv(5, 3), Lrn(lrn), Tanh, AvgPool(Window::new(3, 2).ceil()), conv(4, 3), Moments, Linear(3)];
        gradients_agree(shape(2, 8, 9, 3), &rows);
        let (store, net) = build(shape(1, 8, 9, 3), &rows).unwrap();
        assert_eq!(net.rows().map(|r| r.1.per_image()).collect::<Vec<_>>(), [360, 360, 360, 80, 64, 16, 3]);
        let text = net.describe(&store);
        for words in ["LRN 3 channels, α 0.5, β 0.75, k 1", "AvgPool2d 3×3, stride 2, pad 0, ceil", "Mean, min, max, variance"]
        {
            assert!(text.contains(words), "{words} in {text}");
        }
    }

    #[test]
    fn gradients_of_softmax_and_upsampling() {
        gradients_agree(shape(2, 3, 2, 3), &[conv(4, 3), Softmax(0.5), Nearest(2), conv(2, 3)]);
    }

    #[test]
    fn gradients_of_everything() {
        gradients_agree(shape(3, 10, 12, 3), &everything());
    }

    /// The sum is main(x) + skip(x), and branches stand side by side in their order.
    #[test]
    fn nested_rows_compute_what_they_say() {
        let pixel = |layers: &[Layer]| {
            let (mut store, net) = build(shape(1, 1, 1, 2), layers).unwrap();
            let mut t = Tape::new(&store);
            let x = t.input(shape(1, 1, 1, 2));
            let y = net.run(&mut t, x, Mode::Eval).unwrap();
            let mut plan = Plan::new(t, &[y], Memory::Planned).unwrap();
            plan.feed(x).unwrap().copy_from_slice(&[-1.0, 3.0]);
            plan.run(&mut store).unwrap();
            plan.fetch(y).unwrap().to_vec()
        };
        assert_eq!(pixel(&[Residual { main: vec![Relu], skip: vec![] }]), [-1.0, 6.0]);
        assert_eq!(pixel(&[Residual { main: vec![Relu], skip: vec![LeakyRelu(0.5)] }]), [-0.5, 6.0]);
        let three = vec![vec![Relu], vec![], vec![LeakyRelu(0.5), Dropout(0.5)]];
        assert_eq!(pixel(&[Branches(three)]), [0.0, 3.0, -1.0, 3.0, -0.5, 3.0]);
    }

    #[test]
    fn two_dropouts_draw_different_masks_and_each_step_others() {
        let size = shape(1, 8, 8, 8);
        let (mut store, net) = build(size, &[Dropout(0.5), Dropout(0.5)]).unwrap();
        let mut t = Tape::new(&store);
        let (x, step) = (t.input(size), t.input(Shape::SCALAR));
        let rows = net.run_all(&mut t, x, Context::train(step), &[]).unwrap();
        let mut plan = Plan::new(t, &rows, Memory::Eager).unwrap();
        let mut at = |s: f64| {
            plan.feed(x).unwrap().fill(1.0);
            plan.feed(step).unwrap()[0] = s;
            plan.run(&mut store).unwrap();
            [plan.fetch(rows[0]).unwrap().to_vec(), plan.fetch(rows[1]).unwrap().to_vec()]
        };
        let (one, two) = (at(1.0), at(2.0));
        assert_ne!(one[0], two[0]);
        assert_eq!(one, at(1.0));
        // A quarter is left of 512 after both: about 128, were the masks the same 256.
        let left = one[1].iter().filter(|&&y| y != 0.0).count();
        assert!((88..168).contains(&left), "{left}");
    }

    #[test]
    fn training_with_dropout_needs_the_step() {
        let (store, net) = build(shape(1, 1, 1, 4), &[Branches(vec![vec![Dropout(0.5)]])]).unwrap();
        let mut t = Tape::new(&store);
        let x = t.input(shape(1, 1, 1, 4));
        let e = net.run(&mut t, x, Mode::Train).unwrap_err().to_string();
        assert!(e.contains("net.0.0.0") && e.contains("Context::train(step)"), "{e}");
        assert_eq!(net.run(&mut t, x, Mode::Eval).unwrap(), x);
    }

    #[test]
    fn shapes_are_refused_with_the_path_of_the_row() {
        let fails = |layers: &[Layer], words: &[&str]| {
            let e = build(shape(1, 8, 8, 4), layers).map(|_| ()).unwrap_err().to_string();
            assert!(words.iter().all(|w| e.contains(w)), "{words:?} in {e}");
        };
        let deep = |row: Layer| vec![Relu, Branches(vec![vec![], vec![Residual { main: vec![Relu, row], skip: vec![] }]])];
        fails(&deep(Conv(Filters::new(6, 3).groups(3).pad(1))), &["net.1.1.0.main.1", "3 groups"]);
        fails(&deep(Conv(Filters::new(4, 11))), &["net.1.1.0.main.1", "larger than the padded picture"]);
        fails(&deep(MaxPool(Window::every(9))), &["net.1.1.0.main.1", "9×9"]);
        fails(&deep(Dropout(1.0)), &["net.1.1.0.main.1", "below 1"]);
        fails(&deep(Skip(4)), &["net.1.1.0.main.1", "outermost"]);
        fails(&deep(Softmax(0.0)), &["net.1.1.0.main.1", "temperature above 0"]);
        fails(&deep(Nearest(0)), &["net.1.1.0.main.1", "factor above 0"]);
        fails(&deep(Up { out: 4, k: 2, s: 1, p: 5, bias: true }), &["net.1.1.0.main.1", "leaves no picture"]);
        fails(&deep(Conv(Filters::new(5, 1))), &["net.1.1.0:", "main gives 8×8×5, but skip 8×8×4"]);
        fails(&[Branches(vec![vec![], vec![MaxPool(Window::every(2))]])], &["net.0:", "8×8×4 of branch 0", "4×4×4 of branch 1"]);
        fails(&[Branches(vec![])], &["net.0:", "needs a branch"]);
        fails(&[Named("a", Box::new(Named("b", Box::new(Relu))))], &["net.a:", "one name"]);
    }

    #[test]
    fn a_nested_table_prints_itself() {
        let (store, net) = build(shape(1, 10, 12, 3), &everything()).unwrap();
        let text = net.describe(&store);
        let line = |start: &str| {
            let found = text.lines().find(|l| l.trim_start().starts_with(&format!("{start} ")));
            found.unwrap_or_else(|| panic!("{start} in\n{text}")).split_whitespace().collect::<Vec<_>>().join(" ")
        };
        assert_eq!(line("0"), "0 Conv2d 4, 3×3, stride 2, pad 1 5×6×4 112");
        assert_eq!(line("3"), "3 Concat of 4 branches 5×6×10");
        assert_eq!(line("3.0.0"), "3.0.0 Conv2d 2, 1×5, stride 1, pad (0, 4), dilation 2 5×6×2 42");
        assert_eq!(line("3.1.0"), "3.1.0 MaxPool2d 3×3, stride 1, pad 1 5×6×4");
        assert_eq!(line("4"), "4 Sum of main and skip 3×3×6");
        assert_eq!(line("4.main.3"), "4.main.3 Sum of main and input 5×6×6");
        assert_eq!(line("4.main.3.main.1"), "4.main.3.main.1 Conv2d 6, 3×3, stride 1, pad 1, groups 6, no bias 5×6×6 54");
        assert_eq!(line("7"), "7 MaxPool2d 3×3, stride 2, pad 0, ceil 3×3×3");
        assert_eq!(line("head"), "head Linear 2 1×1×2 56");
        let total: usize =
            net.params_all().iter().map(|&p| store.get(p)).filter(|p| p.kind == Kind::Trained).map(|p| p.shape.len()).sum();
        assert!(line("total").ends_with(&thousands(total)), "{text}");
        assert_eq!(store.iter().count(), net.params_all().len());
        assert!(store.find("net.4.skip.1.running_var").is_some() && store.find("net.head.bias").is_some());
    }
}
