//! A verdict for every window of a picture of any size.
//!
//! ```text
//! picture ─ tiles with overlap ─▶ encoder ─▶ f, cell by cell ─▶ box filter ─▶ mean of f in every window ─▶ head ─▶ evidence
//! ```
//! A convolutional encoder gives the same features for a place wherever it is run, and the mean over a window is linear. So the encoder
//! runs once over the picture, and thousands of overlapping windows cost a box filter and the head. Memory is bounded by a band of
//! tiles, not by the picture. Detectors without such a structure ([`Detector::local`] is none) judge each window by itself.

use rayon::prelude::*;

use super::detector::Detector;
use super::recorder::{Recorder, Step, inputs};
use super::score::Scorer;
use crate::core::params::ParamStore;
use crate::core::shape::shape;
use crate::core::tape::Var;
use crate::data::picture::Picture;
use crate::device::Device;
use crate::error::{Error, Result};
use crate::nn::Mode;

/// Least side of a picture that windows can judge, pixels.
pub const LEAST_SIDE: usize = 16;

/// Longest side of a tile, pixels: large enough that its overlap costs little, small enough that its maps stay near the processor.
const TILE: usize = 512;

/// Windows whose heads are computed at once.
const HEADS: usize = 1024;

/// Windows of one size over a picture, each with the detector's evidence for a fake
/// ([`Judgement::evidence`](super::detector::Judgement::evidence)). Window (i, j) covers the pixels from (i·step, j·step), `side` each way.
#[derive(Clone, Debug, PartialEq)]
pub struct Scan {
    /// Windows beside each other, and below each other.
    pub across: usize,
    pub down: usize,
    /// Pixels from one window to the next.
    pub step: usize,
    /// Pixels of a window; less across or down where the picture is smaller.
    pub side: usize,
    /// `down` rows of `across`.
    pub evidence: Vec<f32>,
}

/// Judges the windows of pictures, one picture after the other.
pub struct Scanner {
    device: Device,
    /// Side of the pictures that the detector was trained on, pixels.
    pub side: usize,
    /// Sides of the windows, smallest first, pixels.
    pub windows: Vec<usize>,
    way: Way,
}

enum Way {
    Local(Box<Local>),
    /// Window by window, many at a time.
    Plain(Box<Scorer>),
}

struct Local {
    /// Pixels of a cell, channels of `f`, and the cells at the edge of a tile that know of the edge.
    stride: usize,
    channels: usize,
    reach: usize,
    tiles: Vec<Tiles>,
    head: Step,
    row: Var,
}

/// The encoder on pictures of one size.
struct Tiles {
    size: (usize, usize),
    step: Step,
    f: Var,
}

impl Scanner {
    /// `side`: pixels of the pictures that the detector was trained on; `windows`: sides in units of it, as the key `detect.windows`
    /// has them. A detector without local features has windows of its own side only.
    pub fn new(device: &Device, detector: &dyn Detector, store: &ParamStore, side: usize, windows: &[f64]) -> Result<Scanner> {
        let mut r = Recorder::of_size(store, Mode::Eval, 1, (side, side)).exact();
        let way = match detector.local(&mut r)? {
            None => Way::Plain(Box::new(Scorer::without_maps(device, detector, store, side, 32)?)),
            Some(local) => {
                let f = r.tape.shape(local.features);
                let (stride, channels) = (side / f.h as usize, f.c as usize);
                let mut r = Recorder::of_size(store, Mode::Eval, HEADS, (1, 1)).exact();
                let g = r.input(MEAN_FEATURES, shape(HEADS, 1, 1, channels));
                let row = detector.head(&mut r, g)?;
                let head = r.finish(device, &[row])?;
                Way::Local(Box::new(Local { stride, channels, reach: local.reach, tiles: Vec::new(), head, row }))
            }
        };
        let windows = match way {
            Way::Plain(_) => vec![side],
            Way::Local(_) => windows.iter().map(|w| ((w * side as f64).round() as usize).max(1)).collect(),
        };
        Ok(Scanner { device: device.clone(), side, windows, way })
    }

    /// All windows of `picture`, in the order of [`Scanner::windows`]. Windows lie an eighth of a window apart (a half where each costs a
    /// run of the network). A picture smaller than a window is one window. An error for a picture below [`LEAST_SIDE`].
    pub fn scan(&mut self, detector: &dyn Detector, store: &mut ParamStore, picture: &Picture) -> Result<Vec<Scan>> {
        if picture.short_side() < LEAST_SIDE {
            let why = format!("{} × {} pixels are too few to judge; give {LEAST_SIDE} or more a side", picture.w, picture.h);
            return Err(Error::data("picture", why));
        }
        match &mut self.way {
            Way::Local(local) => local.scan(&self.device, detector, store, picture, &self.windows),
            Way::Plain(scorer) => Ok(vec![plain(scorer, detector, store, picture, self.side)?]),
        }
    }
}

/// The name of the head's input.
const MEAN_FEATURES: &str = "mean features";

/// Windows of `side` that begin every `step` within `length`; one where there is no room for two.
fn places(length: usize, side: usize, step: usize) -> usize {
    length.saturating_sub(side) / step + 1
}

fn plain(scorer: &mut Scorer, detector: &dyn Detector, store: &mut ParamStore, picture: &Picture, side: usize) -> Result<Scan> {
    let step = (side / 2).max(1);
    let (across, down) = (places(picture.w, side, step), places(picture.h, side, step));
    let mut scan = Scan { across, down, step, side, evidence: Vec::with_capacity(across * down) };
    let corners: Vec<(usize, usize)> = (0..down).flat_map(|j| (0..across).map(move |i| (i * step, j * step))).collect();
    let mut x = Vec::new();
    for part in corners.chunks(scorer.batch) {
        x.clear();
        for &(left, top) in part {
            let (w, h) = (side.min(picture.w), side.min(picture.h));
            let window = picture.resize_window((left as f64, top as f64, w as f64, h as f64), side, side);
            x.extend(window.rgb.iter().map(|&v| v as f32 / 255.0));
        }
        scan.evidence.extend(scorer.run(detector, store, &x)?.iter().map(|v| v.judgement.evidence as f32));
    }
    Ok(scan)
}

/// Where tiles lie along one side, in cells: of `length`, tiles of `tile` begin at `start`, and their cells `from..to` are used.
fn tiling(length: usize, tile: usize, reach: usize) -> Vec<Span> {
    let mut spans = Vec::new();
    let mut from = 0;
    while from < length {
        let start = from.saturating_sub(reach).min(length - tile);
        let to = if start + tile == length { length } else { start + tile - reach };
        spans.push(Span { start, from, to });
        from = to;
    }
    spans
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Span {
    start: usize,
    from: usize,
    to: usize,
}

impl Local {
    /// The tiles of a picture of `cells` × `cells`, in cells: the same size for all, and as large as the picture allows.
    fn tile(&self, cells: usize) -> usize {
        (TILE / self.stride).max(4 * self.reach + 1).min(cells)
    }

    /// The encoder on tiles of `size` pixels (rows, columns); the last few are kept.
    fn tiles(&mut self, device: &Device, detector: &dyn Detector, store: &ParamStore, size: (usize, usize)) -> Result<usize> {
        if let Some(i) = self.tiles.iter().position(|t| t.size == size) {
            return Ok(i);
        }
        if self.tiles.len() == 4 {
            self.tiles.remove(0);
        }
        let mut r = Recorder::of_size(store, Mode::Eval, 1, size).exact();
        let f = detector.local(&mut r)?.expect("asked before").features;
        self.tiles.push(Tiles { size, step: r.finish(device, &[f])?, f });
        Ok(self.tiles.len() - 1)
    }

    fn scan(
        &mut self,
        device: &Device,
        detector: &dyn Detector,
        store: &mut ParamStore,
        picture: &Picture,
        windows: &[usize],
    ) -> Result<Vec<Scan>> {
        let (s, k) = (self.stride, self.channels);
        // Pixels beyond the last whole cell are not looked at: fewer than a cell.
        let (across, down) = (picture.w / s, picture.h / s);
        let (tw, th) = (self.tile(across), self.tile(down));
        let plan = self.tiles(device, detector, store, (th * s, tw * s))?;
        let mut scans: Vec<OneScale> = windows.iter().map(|&side| OneScale::new(side, s, (across, down), k)).collect();
        let (columns, mut band) = (tiling(across, tw, self.reach), Vec::new());
        for rows in tiling(down, th, self.reach) {
            let height = rows.to - rows.from;
            band.resize(height * across * k, 0.0);
            for c in &columns {
                let tiles = &mut self.tiles[plan];
                let x = tiles.step.input(inputs::PICTURES)?;
                let line = 3 * tw * s;
                x.par_chunks_mut(line).enumerate().for_each(|(y, to)| {
                    let at = 3 * ((rows.start * s + y) * picture.w + c.start * s);
                    to.iter_mut().zip(&picture.rgb[at..at + line]).for_each(|(x, &v)| *x = v as f32 / 255.0);
                });
                tiles.step.plan.run(store)?;
                let f = tiles.step.plan.fetch(tiles.f)?;
                let wide = (c.to - c.from) * k;
                for y in 0..height {
                    let from = ((rows.from - rows.start + y) * tw + c.from - c.start) * k;
                    let to = (y * across + c.from) * k;
                    band[to..to + wide].copy_from_slice(&f[from..from + wide]);
                }
            }
            for row in band.chunks(across * k) {
                for scan in &mut scans {
                    scan.boxes.push(row);
                    if scan.boxes.ready() {
                        scan.boxes.means(&mut scan.means);
                        self.heads(detector, store, scan, false)?;
                    }
                }
            }
        }
        for scan in &mut scans {
            if down < scan.boxes.side {
                scan.boxes.means(&mut scan.means);
            }
            self.heads(detector, store, scan, true)?;
        }
        Ok(scans.into_iter().map(|s| s.scan).collect())
    }

    /// Turn mean features into evidence, `HEADS` at a time; what is left waits unless this is the `last` call.
    fn heads(&mut self, detector: &dyn Detector, store: &mut ParamStore, of: &mut OneScale, last: bool) -> Result<()> {
        let (means, evidence) = (&mut of.means, &mut of.scan.evidence);
        let full = HEADS * self.channels;
        while means.len() >= full || (last && !means.is_empty()) {
            let n = means.len().min(full);
            let to = self.head.input(MEAN_FEATURES)?;
            to[..n].copy_from_slice(&means[..n]);
            to[n..].fill(0.0);
            means.drain(..n);
            self.head.plan.run(store)?;
            let each = self.head.plan.shape(self.row).per_image();
            let rows = self.head.plan.fetch(self.row)?.chunks(each).take(n / self.channels);
            evidence.extend(rows.map(|row| detector.judge(row).evidence as f32));
        }
        Ok(())
    }
}

/// Windows of one size, on the way.
struct OneScale {
    boxes: Boxes,
    means: Vec<f32>,
    scan: Scan,
}

impl OneScale {
    /// `cell`: pixels of a cell, of which the picture has (across, down).
    fn new(side: usize, cell: usize, (across, down): (usize, usize), channels: usize) -> OneScale {
        let window = (side / cell).max(1);
        let every = (window / 8).max(1);
        let (boxes, step) = (Boxes::new(across, window, every, channels), every * cell);
        let (across, down) = (places(across, window, every), places(down, window, every));
        OneScale { boxes, means: Vec::new(), scan: Scan { across, down, step, side, evidence: Vec::new() } }
    }
}

/// Means over boxes of `side` × `side` cells, every `every` cells, of a map whose rows arrive one by one.
struct Boxes {
    across: usize,
    side: usize,
    every: usize,
    channels: usize,
    /// Sums along the last `side` rows, one box beside the other, oldest first from `rows % side`.
    ring: Vec<f64>,
    /// Their sum: the boxes that end in the last row.
    sums: Vec<f64>,
    rows: usize,
}

impl Boxes {
    fn new(across: usize, side: usize, every: usize, channels: usize) -> Boxes {
        let wide = places(across, side, every) * channels;
        Boxes { across, side, every, channels, ring: vec![0.0; side * wide], sums: vec![0.0; wide], rows: 0 }
    }

    fn push(&mut self, row: &[f32]) {
        let (k, wide) = (self.channels, self.sums.len());
        let cells = self.side.min(self.across);
        let slot = &mut self.ring[self.rows % self.side * wide..][..wide];
        slot.par_chunks_mut(k).zip(self.sums.par_chunks_mut(k)).enumerate().with_min_len(8).for_each(|(i, (slot, sums))| {
            sums.iter_mut().zip(&*slot).for_each(|(sum, old)| *sum -= old);
            slot.fill(0.0);
            for cell in row[i * self.every * k..][..cells * k].chunks(k) {
                slot.iter_mut().zip(cell).for_each(|(s, &x)| *s += x as f64);
            }
            sums.iter_mut().zip(&*slot).for_each(|(sum, new)| *sum += new);
        });
        self.rows += 1;
    }

    /// Whether a row of boxes ends with the row that was pushed last.
    fn ready(&self) -> bool {
        self.rows >= self.side && (self.rows - self.side).is_multiple_of(self.every)
    }

    /// Append the means of the row of boxes that ends here.
    fn means(&self, to: &mut Vec<f32>) {
        let count = (self.side.min(self.rows) * self.side.min(self.across)) as f64;
        to.extend(self.sums.iter().map(|s| (s / count) as f32));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiles_cover_every_cell_once_and_keep_clear_of_their_edges() {
        for (length, tile, reach) in [(1, 1, 4), (7, 7, 3), (128, 128, 4), (129, 128, 4), (1000, 128, 4), (257, 17, 4)] {
            let spans = tiling(length, tile, reach);
            let mut next = 0;
            for s in &spans {
                assert_eq!((s.from, s.start + tile <= length), (next, true), "{length} {tile}");
                assert!(s.from < s.to && s.start <= s.from && s.to <= s.start + tile);
                assert!(s.start == 0 || s.from >= s.start + reach, "left edge of {s:?}");
                assert!(s.to == length || s.to + reach <= s.start + tile, "right edge of {s:?}");
                next = s.to;
            }
            assert_eq!(next, length);
        }
    }

    #[test]
    fn boxes_are_means() {
        let (across, down, k) = (11, 9, 3);
        let value = |x: usize, y: usize, c: usize| (7 * x + 5 * y * y + 3 * c) as f32 % 13.0;
        for (side, every) in [(4, 2), (3, 1), (4, 4), (16, 2)] {
            let mut boxes = Boxes::new(across, side, every, k);
            let mut means = Vec::new();
            for y in 0..down {
                let row: Vec<f32> = (0..across).flat_map(|x| (0..k).map(move |c| value(x, y, c))).collect();
                boxes.push(&row);
                if boxes.ready() {
                    boxes.means(&mut means);
                }
            }
            if down < side {
                boxes.means(&mut means);
            }
            let mut want = Vec::new();
            for j in 0..places(down, side, every) {
                for i in 0..places(across, side, every) {
                    let (x0, y0) = (i * every, j * every);
                    for c in 0..k {
                        let cells = (y0..(y0 + side).min(down)).flat_map(|y| (x0..(x0 + side).min(across)).map(move |x| (x, y)));
                        let (sum, n) = cells.fold((0.0, 0), |(s, n), (x, y)| (s + value(x, y, c), n + 1));
                        want.push(sum / n as f32);
                    }
                }
            }
            assert_eq!(means.len(), want.len(), "{side} {every}");
            assert!(means.iter().zip(&want).all(|(a, b)| (a - b).abs() < 1e-5), "{side} {every}");
        }
    }
}
