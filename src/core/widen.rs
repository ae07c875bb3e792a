//! Passes that know one type alone, over operands that are bf16: these are widened in scratch memory, the pass runs on them, and what
//! it wrote is rounded, once. Sums, constants and everything inside the pass are of the plan's own type.

use half::bf16;

use super::cast::{launch, narrow, widen};
use super::launch::Operands;
use super::op::{Element, Half, Host, MAX};
use super::tape::Step;
use crate::device::{F32, Span};
use crate::error::Result;

/// Operands lie this many values apart at least, which keeps their begins aligned for vectors on any device.
const ALIGN: usize = 64;

fn room(len: usize) -> usize {
    len.next_multiple_of(ALIGN)
}

/// Scratch values for these operands, beside what the pass itself asks for.
pub(super) fn scratch(lengths: impl Iterator<Item = usize>) -> usize {
    lengths.map(room).sum()
}

/// The pass on the host. Of `m.scratch`, the operands come first.
pub(super) fn run<'a, T: Element>(step: &Step, m: Host<'a, T>) {
    let Half { x: x_half, y: y_half, dy: dy_half, out: out_half } = m.half;
    let mut rest = m.scratch;
    let mut wide = |from: &[bf16]| -> &'a mut [T] {
        let (mine, tail) = std::mem::take(&mut rest).split_at_mut(room(from.len()));
        rest = tail;
        &mut mine[..from.len()]
    };
    let mut read = |real: &mut &'a [T], half: &[bf16]| {
        if !half.is_empty() {
            let to = wide(half);
            widen(to, half);
            *real = to;
        }
    };
    let (mut x, mut y, mut dy, mut out) = (m.x, m.y, m.dy, m.out);
    x.iter_mut().zip(x_half).chain(y.iter_mut().zip(y_half)).for_each(|(real, half)| read(real, half));
    read(&mut dy, dy_half);
    for (real, half) in out.iter_mut().zip(&out_half).filter(|(_, half)| !half.is_empty()) {
        *real = wide(half);
    }
    let mut written = out.each_mut().map(|o| &mut **o);
    let operands: [&mut [T]; MAX] = std::array::from_fn(|i| std::mem::take(&mut written[i]));
    T::run(&*step.op, step.pass, Host { xs: m.xs, ys: m.ys, x, y, dy, out: operands, scratch: rest, half: Half::default() });
    for (real, half) in out.iter().zip(out_half).filter(|(_, half)| !half.is_empty()) {
        narrow(half, real);
    }
}

/// The launches of the pass, between those that widen and round. Of `g.scratch`, the operands come first.
pub(super) fn launches(step: &Step, g: Operands) -> Result<()> {
    let mut rest = g.scratch.expect("room for the operands");
    let mut wide = |s: Option<Span>| {
        s.map(|s| match s.unit {
            F32 => s,
            unit => {
                let len = s.len / unit;
                let mine = Span { len: len * F32, ..rest };
                rest = Span { offset: rest.offset + room(len) * F32, len: rest.len - room(len) * F32, ..rest };
                mine
            }
        })
    };
    let (x, y, dy, out) = (g.x.map(&mut wide), g.y.map(&mut wide), wide(g.dy), g.out.map(&mut wide));
    let scratch = Some(rest).filter(|s| s.len > 0);
    let pairs = |a: &[Option<Span>], b: &[Option<Span>]| -> Vec<(Span, Span)> {
        let both = a.iter().zip(b).filter_map(|(a, b)| a.zip(*b));
        both.filter(|(half, _)| half.unit != F32).collect()
    };
    for (half, wide) in pairs(&g.x, &x).into_iter().chain(pairs(&g.y, &y)).chain(pairs(&[g.dy], &[dy])) {
        launch(&g, wide, half)?;
    }
    step.op.launch(step.pass, &Operands { x, y, dy, out, scratch, ..g })?;
    pairs(&g.out, &out).into_iter().try_for_each(|(half, wide)| launch(&g, half, wide))
}
