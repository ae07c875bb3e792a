//! The constraint of Bayar & Stamm's first layer (2016), in place: each slice w of a filter, its weights for one channel,
//! becomes a prediction error, its centre −1 and the sum of the others 1.
//!
//! ```text
//! w ← w / Σ w over the others     w at the centre ← −1
//! ```
//! A sum nearer to 0 than 1e-6 is moved by 1e-6 away from it. The step follows an update; it has no derivative.

use crate::core::case::{Case, Sampling, case};
use crate::core::launch::Operands;
use crate::core::op::{Host, Keeps, Op, Set};
use crate::core::real::Real;
use crate::core::shape::{Shape, shape};
use crate::error::Result;

#[derive(Debug, Clone)]
pub struct ProjectFilter;

/// `struct Filter` of kernels/project_filter.cu.
#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Params {
    slices: u32,
    taps: u32,
    channels: u32,
}

/// A sum below it is no divisor.
const LEAST: f64 = 1e-6;

/// Project filters of `taps` = R·S taps and `channels`, in the store's order K×R×S×C.
pub fn project<T: Real>(w: &mut [T], taps: usize, channels: usize) {
    for filter in w.chunks_exact_mut(taps * channels) {
        for c in 0..channels {
            let others = || (0..taps).filter(|&i| i != taps / 2).map(|i| i * channels + c);
            let mut sum = T::ZERO;
            others().for_each(|i| sum += filter[i]);
            if sum.abs() < T::of(LEAST) {
                sum += if sum < T::ZERO { T::of(-LEAST) } else { T::of(LEAST) };
            }
            others().for_each(|i| filter[i] = filter[i] / sum);
            filter[taps / 2 * channels + c] = T::of(-1.0);
        }
    }
}

impl Op for ProjectFilter {
    fn name(&self) -> &'static str {
        "project_filter"
    }
    fn infer(&self, x: &[Shape]) -> Result<Vec<Shape>, String> {
        match x {
            [w] if w.h % 2 == 1 && w.w % 2 == 1 && w.h * w.w > 1 => Ok(vec![]),
            _ => Err(format!("needs filters with a centre and others, such as 12×5×5×1, got {x:?}")),
        }
    }
    fn keeps(&self, _: Set) -> Keeps {
        Keeps::NOTHING
    }
    fn differentiable(&self) -> Set {
        Set::NONE
    }
    fn updates(&self) -> &'static [usize] {
        &[0]
    }
    fn forward<T: Real>(&self, m: Host<T>) {
        let ([w, ..], s) = (m.out, m.xs[0]);
        project(w, (s.h * s.w) as usize, s.c as usize);
    }
    fn backward<T: Real>(&self, _: Host<T>) {}

    fn gpu_forward(&self, g: &Operands) -> Result<()> {
        let s = g.xs[0];
        let p = Params { slices: s.n * s.c, taps: s.h * s.w, channels: s.c };
        let call = g.call("project_filter_fwd_f32")?.grid([(p.slices as usize).div_ceil(256), 1, 1]).block(256);
        call.update(g.out(0)).value(&p).go()
    }
}

pub fn cases() -> Vec<Case> {
    let row = |s, of| case(format!("{s}{}", if of == Sampling::Binary { ", sums of 0" } else { "" }), ProjectFilter, &[(s, of)]);
    vec![
        row(shape(12, 5, 5, 1), Sampling::Positive),
        row(shape(3, 3, 5, 4), Sampling::Positive),
        row(shape(5, 1, 3, 3), Sampling::Positive),
        row(shape(51, 3, 1, 5), Sampling::Positive),
        row(shape(64, 3, 3, 4), Sampling::Positive),
        row(shape(257, 3, 3, 1), Sampling::Positive),
        // Of two others both are 0 in a quarter of the slices.
        row(shape(40, 1, 3, 2), Sampling::Binary),
        row(shape(12, 5, 5, 3), Sampling::Positive).bench("suppress.0"),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_slice_foretells_its_centre() {
        // Two filters of 3×3 taps and two channels; the second filter's second channel sums to 0, the first's first to −2.
        let mut w: Vec<f64> = (0..36).map(|i| (i * 7 % 11) as f64 + 0.5).collect();
        (0..9).for_each(|i| w[2 * i] = -0.25);
        (0..9).for_each(|i| w[18 + 2 * i + 1] = 0.0);
        let before = w.clone();
        project(&mut w, 9, 2);
        for (k, c) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
            let slice: Vec<f64> = (0..9).map(|i| w[18 * k + 2 * i + c]).collect();
            let sum: f64 = slice.iter().sum::<f64>() + 1.0;
            assert_eq!(slice[4], -1.0, "filter {k}, channel {c}");
            assert!((sum - if (k, c) == (1, 1) { 0.0 } else { 1.0 }).abs() < 1e-12, "filter {k}, channel {c}: {sum}");
        }
        // Others keep their proportions.
        assert!((w[1] * before[3] - w[3] * before[1]).abs() < 1e-12);
        let again = w.clone();
        project(&mut w, 9, 2);
        assert!(w.iter().zip(&again).all(|(a, b)| (a - b).abs() < 1e-12), "projected twice is projected once");
    }

    #[test]
    fn filters_without_a_centre_are_refused() {
        for s in [shape(2, 4, 5, 1), shape(2, 5, 2, 1), shape(2, 1, 1, 3)] {
            assert!(Op::infer(&ProjectFilter, &[s]).unwrap_err().contains("with a centre"), "{s}");
        }
    }
}
