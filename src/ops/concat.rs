//! Concat: channels of b after channels of a. Backward splits dy.

use rayon::prelude::*;

use crate::core::case::{Case, Sampling, case};

use crate::core::launch::Call;
use crate::core::launch::Operands;
use crate::core::op::{Halves, Host, Keeps, Op, Pass, Set};
use crate::core::real::Real;
use crate::core::shape::{Shape, shape};
use crate::core::tape::{Tape, Var};
use crate::device::Span;
use crate::device::tiles::vector;
use crate::error::Result;

#[derive(Debug, Clone)]
pub struct Concat;

/// N×H×W×A and N×H×W×B → N×H×W×(A+B).
pub fn concat(t: &mut Tape, a: Var, b: Var) -> Result<Var> {
    t.apply(Concat, &[a, b])
}

/// `struct Concat` of kernels/concat.cu.
#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Params {
    pixels: u32,
    a: u32,
    b: u32,
}

/// A thread per vector of the whole, and the sizes.
fn launch<'a>(g: &'a Operands, kernel: &str, whole: Span) -> Result<(Call<'a>, Params)> {
    let (a, b) = (g.xs[0], g.xs[1]);
    let v = vector(a.c as usize).min(vector(b.c as usize));
    let threads = a.pixels() * (a.c + b.c) as usize / v;
    let call = g.typed(kernel, whole)?.grid([threads.div_ceil(256), 1, 1]).block(256);
    Ok((call, Params { pixels: a.pixels() as u32, a: a.c, b: b.c }))
}

impl Op for Concat {
    fn name(&self) -> &'static str {
        "concat"
    }
    fn infer(&self, x: &[Shape]) -> Result<Vec<Shape>, String> {
        match x {
            [a, b] if (a.n, a.h, a.w) == (b.n, b.h, b.w) => Ok(vec![Shape { c: a.c + b.c, ..*a }]),
            _ => Err(format!("needs two values that differ in channels only, got {x:?}")),
        }
    }
    fn halves(&self) -> Halves {
        Halves::follow(Set::first(2))
    }
    fn half_on_gpu(&self, _: Pass, _: &[Shape]) -> bool {
        true
    }
    fn keeps(&self, _: Set) -> Keeps {
        Keeps::NOTHING
    }
    fn forward<T: Real>(&self, m: Host<T>) {
        let ([y, ..], a, b) = (m.out, m.xs[0].c as usize, m.xs[1].c as usize);
        y.par_chunks_mut(a + b).zip(m.x[0].par_chunks(a)).zip(m.x[1].par_chunks(b)).with_min_len(256).for_each(
            |((y, first), second)| {
                y[..a].copy_from_slice(first);
                y[a..].copy_from_slice(second);
            },
        );
    }
    fn backward<T: Real>(&self, m: Host<T>) {
        let ([da, db, ..], a, b) = (m.out, m.xs[0].c as usize, m.xs[1].c as usize);
        for (dx, len, from) in [(da, a, 0), (db, b, a)] {
            if !dx.is_empty() {
                let pixels = dx.par_chunks_mut(len).zip(m.dy.par_chunks(a + b)).with_min_len(256);
                pixels.for_each(|(dx, dy)| dx.copy_from_slice(&dy[from..from + len]));
            }
        }
    }

    fn gpu_forward(&self, g: &Operands) -> Result<()> {
        let (call, p) = launch(g, "concat_fwd", g.out(0))?;
        call.write(g.out(0)).read(g.x(0)).read(g.x(1)).value(&p).go()
    }
    fn gpu_backward(&self, g: &Operands) -> Result<()> {
        let (call, p) = launch(g, "concat_bwd", g.dy())?;
        call.write_or_null(g.out[0]).write_or_null(g.out[1]).read(g.dy()).value(&p).go()
    }
}

pub fn cases() -> Vec<Case> {
    let row = |n, h, w, a, b| {
        case(format!("{a}+{b}"), Concat, &[(shape(n, h, w, a), Sampling::Normal), (shape(n, h, w, b), Sampling::Normal)])
    };
    // Single channels, vectors of four, and both around the 256 threads of a block.
    let small = [
        (2, 3, 5, 4, 7),
        (1, 1, 1, 1, 2),
        (1, 5, 17, 1, 2),
        (2, 2, 8, 8, 8),
        (1, 1, 257, 3, 1),
        (3, 5, 6, 4, 8),
        (1, 8, 8, 12, 4),
    ];
    let mut rows: Vec<Case> = small.iter().map(|&(n, h, w, a, b)| row(n, h, w, a, b)).collect();
    rows.extend([0, 1].map(|i| row(2, 3, 5, 4, 7).only(Set::of(i))));
    rows.push(row(32, 32, 32, 32, 64).bench("skip connection"));
    rows
}
