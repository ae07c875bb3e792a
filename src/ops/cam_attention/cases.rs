//! Rows that tests and benchmarks run.

use super::{CamAttention, Norm, Reduce, Units, Weight};
use crate::core::case::{Case, Sampling, case};
use crate::core::shape::{Shape, shape};

/// Every switch once, and the default at the network's size.
pub fn cases() -> Vec<Case> {
    let row = |label: &str, op: CamAttention, (n, h, w, k): (usize, usize, usize, usize), d: usize, (oh, ow): (usize, usize)| {
        let inputs = [
            (shape(n, h, w, k), Sampling::Positive),
            (shape(d, 1, 1, k), Sampling::Normal),
            (Shape::vector(d), Sampling::OffZero),
            (shape(n, oh, ow, 1), Sampling::Mask),
            (shape(n, 1, 1, 1), Sampling::Binary),
        ];
        case(label, op, &inputs)
    };
    let base = CamAttention::default;
    let small = |label: &str, op| row(label, op, (3, 4, 5, 6), 8, (9, 11));
    let mut rows = vec![
        small("minmax", base()),
        small("none", CamAttention { norm: Norm::None, ..base() }),
        small("weight", CamAttention { norm: Norm::Weight, ..base() }),
        small("weight signed", CamAttention { norm: Norm::Weight, weight: Weight::Signed, ..base() }),
        small("weight sign", CamAttention { norm: Norm::Weight, weight: Weight::Sign, ..base() }),
        small("relu_max", CamAttention { norm: Norm::ReluMax, ..base() }),
        small("sigmoid", CamAttention { norm: Norm::Sigmoid, temperature: 1.5, ..base() }),
        small("sigmoid_raw", CamAttention { norm: Norm::SigmoidRaw, temperature: 0.5, ..base() }),
        small("relu none", CamAttention { norm: Norm::None, relu: true, ..base() }),
        small("relu sigmoid", CamAttention { norm: Norm::Sigmoid, relu: true, ..base() }),
        small("all units", CamAttention { units: Units::All, ..base() }),
        small("corners sum", CamAttention { align_corners: true, pixel_reduce: Reduce::Sum, ..base() }),
        small("stopgrad", CamAttention { minmax_stopgrad: true, ..base() }).withholds(),
        small("detached", CamAttention { detach_z: true, ..base() }).withholds(),
        row("16 to 64", base(), (2, 16, 16, 20), 128, (64, 64)),
        // Four channels at once, and ends inside a block: of pixels, channels, units, rows and columns.
        row("wide", CamAttention { norm: Norm::Weight, ..base() }, (2, 5, 7, 132), 10, (33, 70)),
        row("odd", CamAttention { norm: Norm::Sigmoid, units: Units::All, ..base() }, (1, 6, 7, 131), 66, (19, 5)),
        row("masks smaller than maps", base(), (3, 4, 5, 4), 4, (3, 2)),
        row("masks of a pixel", CamAttention { norm: Norm::None, align_corners: true, ..base() }, (2, 3, 2, 4), 4, (1, 1)),
        row("maps of a pixel", CamAttention { norm: Norm::SigmoidRaw, align_corners: true, ..base() }, (2, 1, 1, 3), 4, (3, 2)),
        // Several blocks to a picture, each of which gives to the first row of the next; with few rows for want of shared memory.
        row("three bands", base(), (2, 9, 3, 4), 4, (20, 270)),
        row("bands with corners", CamAttention { align_corners: true, ..base() }, (2, 9, 3, 4), 4, (20, 270)),
        row("bands and one line", CamAttention { align_corners: true, ..base() }, (2, 9, 3, 4), 4, (1, 270)),
        // Maps that shared memory has no room for: with their gradients, alone, and in several bands.
        row("large maps", base(), (1, 72, 73, 3), 4, (9, 7)),
        row("larger maps", CamAttention { norm: Norm::Sigmoid, ..base() }, (2, 101, 103, 3), 4, (9, 270)),
        row("largest maps", CamAttention { norm: Norm::SigmoidRaw, relu: true, ..base() }, (1, 3, 4000, 3), 4, (5, 6)),
        row("very wide masks", CamAttention { norm: Norm::SigmoidRaw, ..base() }, (3, 7, 2, 3), 4, (16, 1500)),
        row("wide masks", CamAttention { norm: Norm::ReluMax, ..base() }, (1, 2, 3, 4), 4, (3, 270)),
        // More than a block's threads of pixels, channels and units, and a warp of channels with a rest.
        row("many pixels", CamAttention { norm: Norm::Sigmoid, ..base() }, (2, 17, 16, 37), 6, (5, 5)),
        row("many units", CamAttention { norm: Norm::Weight, units: Units::All, ..base() }, (2, 1, 2, 514), 516, (1, 2)),
        row("wide maps", CamAttention { units: Units::All, ..base() }, (2, 2, 70, 33), 6, (2, 70)),
        // The same in turns of four, and maps wider than the block that works on them.
        row("very many pixels", CamAttention { norm: Norm::Sigmoid, ..base() }, (1, 33, 32, 3), 6, (5, 5)),
        row("maps wider than masks", base(), (3, 2, 70, 3), 10, (2, 3)),
        row("276 channels", CamAttention { norm: Norm::None, ..base() }, (2, 3, 2, 276), 2, (2, 2)),
        row("101 channels", CamAttention { norm: Norm::None, ..base() }, (2, 3, 2, 101), 12, (2, 2)),
        row("minmax", base(), (32, 16, 16, 512), 128, (64, 64)).bench("stage 2"),
    ];
    // Each of a thread's eight pixels is the first behind the picture.
    for pixels in [4, 12, 20, 28, 36, 44, 52, 60] {
        let op = || CamAttention { norm: Norm::None, ..base() };
        rows.push(row(&format!("{pixels} pixels by fours"), op(), (2, 2, pixels / 2, 4), 2, (2, 2)));
        rows.push(row(&format!("{pixels} pixels"), op(), (2, 2, pixels / 2, 3), 2, (2, 2)));
    }
    rows
}
