//! Affine: `y = scale[c]·x + shift[c]` with constants per channel. Changes of colour space (ImageNet's normalisation, [-1, 1]) and,
//! with one constant, the weight of a loss term. `dx = scale[c]·dy`.

use rayon::prelude::*;

use super::edges::EDGES;
use crate::core::case::{Case, Sampling, case};

use crate::core::launch::Operands;
use crate::core::op::{Halves, Host, Keeps, Op, Set};
use crate::core::par;
use crate::core::real::Real;
use crate::core::shape::{Shape, shape};
use crate::core::tape::{Tape, Var};
use crate::device::Span;
use crate::error::Result;

#[derive(Debug, Clone)]
pub struct Affine {
    /// One entry, or one per channel.
    pub scale: Vec<f64>,
    pub shift: Vec<f64>,
}

/// `y = a·x`.
pub fn scale(t: &mut Tape, x: Var, a: f64) -> Result<Var> {
    t.apply(Affine { scale: vec![a], shift: vec![0.0] }, &[x])
}

/// `y = scale[c]·x + shift[c]`.
pub fn affine(t: &mut Tape, x: Var, scale: &[f64], shift: &[f64]) -> Result<Var> {
    t.apply(Affine { scale: scale.to_vec(), shift: shift.to_vec() }, &[x])
}

impl Affine {
    fn run<T: Real>(&self, y: &mut [T], x: &[T], shift: bool) {
        let n = self.scale.len();
        // Whole pixels per task, so that a task starts at channel 0.
        let chunk = par::GRAIN / n * n;
        y.par_chunks_mut(chunk).zip(x.par_chunks(chunk)).for_each(|(y, x)| {
            for i in 0..n {
                let (a, b) = (T::of(self.scale[i]), if shift { T::of(self.shift[i]) } else { T::ZERO });
                y[i..].iter_mut().step_by(n).zip(x[i..].iter().step_by(n)).for_each(|(y, &x)| *y = a * x + b);
            }
        });
    }
}

/// Channels whose constants one launch of the kernel carries.
const GROUP: usize = 4;

/// `struct Affine` of kernels/affine.cu.
#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Params {
    count: u32,
    channels: u32,
    first: u32,
    len: u32,
    scale: [f32; GROUP],
    shift: [f32; GROUP],
}

impl Affine {
    /// y = scale·x, plus the shift in the forward pass.
    fn launch(&self, g: &Operands, y: Span, x: Span, shift: bool) -> Result<()> {
        let (n, values) = (self.scale.len(), g.xs[0].len());
        for (k, scale) in self.scale.chunks(GROUP).enumerate() {
            let (first, len) = (k * GROUP, scale.len());
            let count = values / n * len;
            let constant = |v: &[f64]| std::array::from_fn(|i| v.get(first + i).map_or(0.0, |&v| v as f32));
            let p = Params {
                count: count as u32,
                channels: n as u32,
                first: first as u32,
                len: len as u32,
                scale: constant(&self.scale),
                shift: if shift { constant(&self.shift) } else { [0.0; GROUP] },
            };
            let call = g.call("affine_fwd_f32")?.elements(count);
            // Each of several launches writes its own channels and must keep what the others wrote: hence `update`.
            let call = if n > GROUP { call.update(y) } else { call.write(y) };
            call.read(x).value(&p).go()?;
        }
        Ok(())
    }
}

impl Op for Affine {
    fn name(&self) -> &'static str {
        "affine"
    }
    fn infer(&self, x: &[Shape]) -> Result<Vec<Shape>, String> {
        let n = self.scale.len();
        match x {
            [x] if n == self.shift.len() && (n == 1 || n == x.c as usize) => Ok(vec![*x]),
            _ => Err(format!("{n} scales and {} shifts do not fit input {x:?}", self.shift.len())),
        }
    }
    fn halves(&self) -> Halves {
        Halves::follow(Set::of(0))
    }
    fn keeps(&self, _: Set) -> Keeps {
        Keeps::NOTHING
    }
    fn forward<T: Real>(&self, m: Host<T>) {
        let [y, ..] = m.out;
        self.run(y, m.x[0], true);
    }
    fn backward<T: Real>(&self, m: Host<T>) {
        let [dx, ..] = m.out;
        self.run(dx, m.dy, false);
    }

    fn gpu_forward(&self, g: &Operands) -> Result<()> {
        self.launch(g, g.out(0), g.x(0), true)
    }
    fn gpu_backward(&self, g: &Operands) -> Result<()> {
        self.launch(g, g.out(0), g.dy(), false)
    }
}

pub fn cases() -> Vec<Case> {
    let rgb = Affine { scale: vec![4.0, -2.0, 0.5], shift: vec![-1.0, 0.25, 3.0] };
    let one = Affine { scale: vec![0.01], shift: vec![0.0] };
    let many =
        |n: usize| Affine { scale: (0..n).map(|c| c as f64 - 2.0).collect(), shift: (0..n).map(|c| 0.5 * c as f64).collect() };
    let mut rows: Vec<Case> = EDGES.iter().map(|&s| case(format!("scalar {s}"), one.clone(), &[(s, Sampling::Normal)])).collect();
    let rgb_sizes = [shape(2, 5, 7, 3), shape(1, 11, 31, 3), shape(2, 9, 19, 3)];
    rows.extend(rgb_sizes.map(|s| case(format!("rgb {s}"), rgb.clone(), &[(s, Sampling::Normal)])));
    // Around the number of constants that one launch of the kernel carries.
    rows.extend([4, 5, 8, 11].map(|n| case(format!("{n} channels"), many(n), &[(shape(2, 3, 3, n), Sampling::Normal)])));
    rows.push(case("image", rgb, &[(shape(32, 64, 64, 3), Sampling::Normal)]).bench("normalise"));
    rows
}
