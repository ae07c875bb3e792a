//! Launches of convolutions of bf16 operands. On Hopper the kernels of conv_wgmma.rs and conv_wgmma_wgrad.rs take them
//! as they are, where channels come in eights; elsewhere operands are cast to f32 in workspace, and the kernels for f32 multiply them.

use super::conv_host::Direction;
use super::conv_launch::{self, FEW, PROCESSORS, bias_grad, bias_scratch, flat};
use super::conv_wgmma::{Factor, Product};
use super::conv_wgmma_wgrad::Gradient;
use crate::core::launch::{F32, Operands};
use crate::core::op::{Pass, Set};
use crate::device::{Hopper, Precision, Span};
use crate::error::Result;
use crate::host::sizes::ConvSizes;

const BF16: usize = 2;
/// Memory begins at multiples of this many bytes, as TMA and float4 want it.
const ALIGN: usize = 256;
/// tf32 has all bits of bf16, so tensor cores multiply it without a loss.
const PRECISION: Precision = Precision::Tf32;

/// Workspace that is given away from front to back.
struct Workspace(Option<Span>);

impl Workspace {
    fn take(&mut self, len: usize, unit: usize) -> Span {
        let all = self.0.expect("the op asked for scratch memory");
        let bytes = (len * unit).next_multiple_of(ALIGN);
        assert!(bytes <= all.len, "{bytes} bytes of workspace, {} are left", all.len);
        self.0 = Some(Span { offset: all.offset + bytes, len: all.len - bytes, ..all });
        Span { len: len * unit, unit, ..all }
    }
}

fn bytes(len: usize, unit: usize) -> usize {
    (len * unit).next_multiple_of(ALIGN)
}

/// Which product a pass of the op is: the gradient of the input is the other one. A bias has a value for each channel, which [`flat`]
/// would take apart.
fn product(z: &ConvSizes, direction: Direction, pass: Pass, bias: bool) -> Option<Product> {
    match (direction, pass) {
        (Direction::Fprop, Pass::Forward) | (Direction::Dgrad, Pass::Backward) => Product::fprop(&flat(z), Factor::Bf16),
        _ if bias => Product::dgrad(z, Factor::Bf16),
        _ => Product::dgrad(&flat(z), Factor::Bf16),
    }
}

/// On how many multiprocessors kernels for Hopper count, if the driver runs them.
fn hopper(g: &Operands) -> Option<usize> {
    match g.driver.sm_90a().ok()? {
        Hopper::WherePossible => Some(FEW),
        Hopper::WhereFaster => Some(PROCESSORS),
    }
}

/// Bytes of workspace: the most that either way needs, since the driver is not known here.
pub(super) fn scratch(z: &ConvSizes, direction: Direction, pass: Pass, wants: Set) -> usize {
    let (x, w, y) = (direction.source(z).len(), z.filters().len(), direction.output(z).len());
    // Filters in f32 are cast to bf16 in either way.
    let filters = bytes(w, BF16);
    let turned = [false, true].map(|bias| product(z, direction, pass, bias).map_or(0, |p| bytes(p.turned(), BF16)));
    let real = conv_launch::scratch(z, direction, pass, wants, PRECISION);
    let dw = if wants.has(1) { bytes(w, F32) + Gradient::of(&flat(z)).map_or(0, |g| bytes(g.partial(), F32)) } else { 0 };
    let native = turned[0].max(turned[1]).max(if pass == Pass::Backward { dw } else { 0 });
    let cast = bytes(x, F32) + bytes(w, F32) + bytes(y, F32) + real.next_multiple_of(ALIGN);
    let cast = cast + if pass == Pass::Backward { bytes(x, F32).max(dw) } else { 0 };
    let bias =
        if pass == Pass::Backward && wants.has(2) { bias_scratch(direction.result(z).1, direction.result(z).0) } else { 0 };
    filters + native.max(cast).max(bias)
}

fn cast(g: &Operands, from: Span, to: Span) -> Result<()> {
    let kernel = if to.unit == BF16 { "cast_f32_bf16" } else { "cast_bf16_f32" };
    let n = to.len / to.unit;
    g.call(kernel)?.elements(n).write(to).read(from).value(&(n as u32)).go()
}

/// The filters in bf16: as they are, or rounded into workspace.
fn rounded(g: &Operands, space: &mut Workspace, w: Span) -> Result<Span> {
    if w.unit == BF16 {
        return Ok(w);
    }
    let to = space.take(w.len / w.unit, BF16);
    cast(g, w, to)?;
    Ok(to)
}

/// In f32, in workspace.
fn widened(g: &Operands, space: &mut Workspace, from: Span) -> Result<Span> {
    let to = space.take(from.len / from.unit, F32);
    cast(g, from, to)?;
    Ok(to)
}

fn with<'a>(g: &Operands<'a>, space: Workspace) -> Operands<'a> {
    Operands { scratch: space.0, precision: PRECISION, ..*g }
}

pub(super) fn forward(g: &Operands, z: &ConvSizes, direction: Direction) -> Result<()> {
    let mut space = Workspace(g.scratch);
    let w = rounded(g, &mut space, g.x(1))?;
    if let (Some(p), Some(processors)) = (product(z, direction, Pass::Forward, g.x[2].is_some()), hopper(g)) {
        let t = (p.tile(processors), processors);
        return p.launch(&with(g, space), t, g.x(0), w, g.x[2], g.out(0));
    }
    let (x, w) = (widened(g, &mut space, g.x(0))?, widened(g, &mut space, w)?);
    let y = space.take(direction.output(z).len(), F32);
    let mut real = with(g, space);
    (real.x[0], real.x[1], real.out[0]) = (Some(x), Some(w), Some(y));
    conv_launch::forward(&real, z, direction)?;
    cast(g, y, g.out(0))
}

pub(super) fn backward(g: &Operands, z: &ConvSizes, direction: Direction) -> Result<()> {
    if g.wants(0) {
        let mut space = Workspace(g.scratch);
        let w = rounded(g, &mut space, g.x(1))?;
        match (product(z, direction, Pass::Backward, false), hopper(g)) {
            (Some(p), Some(processors)) => {
                let t = (p.tile(processors), processors);
                p.launch(&with(g, space), t, g.dy(), w, None, g.out(0))?;
            }
            _ => {
                let w = widened(g, &mut space, w)?;
                let dx = space.take(direction.source(z).len(), F32);
                converted(g, z, direction, space, [None, Some(w)], [Some(dx), None])?;
                cast(g, dx, g.out(0))?;
            }
        }
    }
    if g.wants(1) {
        let (mut space, out) = (Workspace(g.scratch), g.out(1));
        let dw = if out.unit == BF16 { space.take(z.filters().len(), F32) } else { out };
        match (Gradient::of(&flat(z)), hopper(g)) {
            (Some(p), Some(processors)) => {
                let (x, dy) = match direction {
                    Direction::Fprop => (g.x(0), g.dy()),
                    Direction::Dgrad => (g.dy(), g.x(0)),
                };
                let sums = (p.partial() > 0).then(|| space.take(p.partial(), F32));
                p.launch(g, processors, x, dy, sums, dw)?;
            }
            _ => {
                let x = widened(g, &mut space, g.x(0))?;
                converted(g, z, direction, space, [Some(x), None], [None, Some(dw)])?;
            }
        }
        if out.unit == BF16 {
            cast(g, dw, out)?;
        }
    }
    if g.wants(2) {
        let (k, rows) = direction.result(z);
        bias_grad(g, rows, k, g.dy(), g.out(2))?;
    }
    Ok(())
}

/// The gradients that `out` names, by the kernels for f32, of dy and those of x and w that are given.
fn converted(
    g: &Operands,
    z: &ConvSizes,
    direction: Direction,
    mut space: Workspace,
    [x, w]: [Option<Span>; 2],
    [dx, dw]: [Option<Span>; 2],
) -> Result<()> {
    let dy = widened(g, &mut space, g.dy())?;
    let mut real = with(g, space);
    (real.x[0], real.x[1], real.dy) = (x, w, Some(dy));
    (real.out[0], real.out[1], real.out[2]) = (dx, dw, None);
    conv_launch::backward(&real, z, direction)
}
