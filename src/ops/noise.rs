//! Noise augmentation (paper, §2.4 and §3.1.4): per batch draw s ~ U(0, 5) grey levels, then add N(0, 1)·s/255 to every value of a
//! picture in [0, 1]. The paper gives "between 0 and 5" without a unit; on normalised data a sigma of 5 would leave no picture.
//!
//! The draw of element i at step t depends on (seed, t, i) alone: see [`crate::core::rng`].

use rayon::prelude::*;

use super::edges::EDGES;
use crate::core::case::{Case, Sampling, case};

use crate::core::launch::Operands;
use crate::core::op::{Halves, Host, Keeps, Op, Set};
use crate::core::par;
use crate::core::real::Real;
use crate::core::rng::{key, normal_pair, philox, stream, unit};
use crate::core::shape::{Shape, shape};
use crate::core::tape::{Tape, Var};
use crate::error::Result;

#[derive(Debug, Clone)]
pub struct Noise {
    pub seed: u64,
    /// Largest standard deviation, in grey levels of 255.
    pub max_sigma: f64,
    /// Clip the result to [0, 1].
    pub clip: bool,
}

/// `x`: pictures in [0, 1]; `step`: one whole number below 2²⁴. No gradient flows through: the input is data.
pub fn noise(t: &mut Tape, x: Var, step: Var, noise: Noise) -> Result<Var> {
    t.apply(noise, &[x, step])
}

/// `struct Noise` of kernels/noise.cu.
#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Params {
    count: u32,
    key: [u32; 2],
    max_sigma: f32,
    clip: u32,
}

impl Op for Noise {
    fn name(&self) -> &'static str {
        "noise"
    }
    fn infer(&self, x: &[Shape]) -> Result<Vec<Shape>, String> {
        match x {
            [x, step] if step.len() == 1 => Ok(vec![*x]),
            _ => Err(format!("needs pictures and one step number, got {x:?}")),
        }
    }
    fn halves(&self) -> Halves {
        Halves::follow(Set::of(0))
    }
    fn keeps(&self, _: Set) -> Keeps {
        Keeps::NOTHING
    }
    fn differentiable(&self) -> Set {
        Set::NONE
    }
    fn forward<T: Real>(&self, m: Host<T>) {
        let ([y, ..], step) = (m.out, m.x[1][0].f64() as u32);
        let k = key(self.seed, stream("noise"));
        let sigma = unit(philox(k, [0, 0, step, 1])[0]) * (self.max_sigma / 255.0) as f32;
        let clip = self.clip;
        y.par_chunks_mut(par::GRAIN).zip(m.x[0].par_chunks(par::GRAIN)).enumerate().for_each(|(chunk, (y, x))| {
            let first = (chunk * par::GRAIN / 4) as u32;
            for (i, (y, x)) in y.chunks_mut(4).zip(x.chunks(4)).enumerate() {
                let [a, b, c, d] = philox(k, [first + i as u32, 0, step, 0]);
                let (n0, n1) = normal_pair(a, b);
                let (n2, n3) = normal_pair(c, d);
                for ((y, &x), n) in y.iter_mut().zip(x).zip([n0, n1, n2, n3]) {
                    let v = x + T::of((n * sigma) as f64);
                    *y = if clip { v.max(T::ZERO).min(T::ONE) } else { v };
                }
            }
        });
    }
    fn backward<T: Real>(&self, _: Host<T>) {}

    fn gpu_forward(&self, g: &Operands) -> Result<()> {
        let n = g.xs[0].len();
        let (key, max_sigma) = (key(self.seed, stream("noise")), (self.max_sigma / 255.0) as f32);
        let p = Params { count: n as u32, key, max_sigma, clip: self.clip as u32 };
        g.call("noise_fwd_f32")?.elements(n).write(g.out(0)).read(g.x(0)).read(g.x(1)).value(&p).go()
    }
}

pub fn cases() -> Vec<Case> {
    let row = |s, clip| {
        let op = Noise { seed: 3, max_sigma: 5.0, clip };
        case(format!("{s}"), op, &[(s, Sampling::Positive), (Shape::SCALAR, Sampling::Counter)])
    };
    let mut rows: Vec<Case> = EDGES.iter().map(|&s| row(s, true)).collect();
    rows.push(row(shape(1, 3, 3, 3), false));
    rows.push(row(shape(32, 64, 64, 3), true).bench("augmentation"));
    rows
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::params::ParamStore;
    use crate::core::plan::{Memory, Plan};

    /// y − x for a grey picture, at one step.
    fn drawn(grey: f32, step: u32, clip: bool) -> Vec<f32> {
        let mut store = ParamStore::<f32>::new(0);
        let mut t = Tape::new(&store);
        let (x, s) = (t.input(shape(2, 64, 64, 3)), t.input(Shape::SCALAR));
        let y = noise(&mut t, x, s, Noise { seed: 3, max_sigma: 5.0, clip }).unwrap();
        let mut plan = Plan::new(t, &[y], Memory::Planned).unwrap();
        plan.feed(x).unwrap().fill(grey);
        plan.feed(s).unwrap()[0] = step as f32;
        plan.run(&mut store).unwrap();
        plan.fetch(y).unwrap().iter().map(|y| y - grey).collect()
    }

    #[test]
    fn noise_is_added_with_one_random_strength_per_step() {
        let mut strengths = vec![];
        for step in 0..40 {
            let (a, b) = (drawn(0.25, step, false), drawn(0.75, step, false));
            assert!(a.iter().zip(&b).all(|(a, b)| (a - b).abs() < 1e-6), "the draw does not depend on the picture");
            let n = a.len() as f32;
            let (mean, var) = (a.iter().sum::<f32>() / n, a.iter().map(|x| x * x).sum::<f32>() / n);
            let sigma = var.sqrt() * 255.0;
            assert!(mean.abs() * 255.0 < 0.05 * sigma + 1e-3 && sigma < 5.1, "step {step}: mean {mean}, sigma {sigma}");
            strengths.push(sigma);
        }
        // U(0, 5): mean 2.5, and both ends are reached.
        let mean = strengths.iter().sum::<f32>() / 40.0;
        assert!((mean - 2.5).abs() < 0.8, "{strengths:?}");
        assert!(strengths.iter().any(|&s| s < 1.0) && strengths.iter().any(|&s| s > 4.0), "{strengths:?}");
        assert_eq!(drawn(0.25, 7, false), drawn(0.25, 7, false));
    }

    #[test]
    fn clipped_noise_stays_a_picture() {
        assert!((0..10).flat_map(|s| drawn(1.0, s, true)).all(|d| (-1.0..=0.0).contains(&d)));
        assert!((0..10).flat_map(|s| drawn(0.0, s, true)).all(|d| (0.0..=1.0).contains(&d)));
    }
}
