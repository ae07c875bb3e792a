//! What is to be masked: the pictures that the active learner chose, what the detector sees in each, and why each was chosen.

use std::path::Path;

use image::{ExtendedColorType, ImageFormat};
use serde_json::{Value, json};

use super::first::{Difference, difference, otsu};
use crate::core::params::ParamStore;
use crate::data::dataset::{Batch, Dataset, Split};
use crate::data::{MaskOrigin, Picture};
use crate::detectors;
use crate::device::Device;
use crate::error::{Error, Result};
use crate::report::heatmap::{bilinear, min_max};
use crate::report::terminal::say;
use crate::text::shown;
use crate::train::annotated::Masks;
use crate::train::checkpoint::{self, What};
use crate::train::detector::{Detector, Draw, Purpose};
use crate::train::inventory::Inventory;
use crate::train::masks;
use crate::train::run::{SELECTION, stage_file};
use crate::train::score::Scorer;
use crate::train::select::Selection;

/// A chosen picture.
pub struct Item {
    /// Into the training split of epoch 0.
    pub index: u32,
    /// Of the mask's file.
    pub name: String,
    /// The picture's file in the data set; empty for a built-in one.
    pub picture: String,
    pub w: usize,
    pub h: usize,
    /// Why the picture cannot be read.
    pub broken: Option<String>,
}

/// The chosen pictures of a run, and the detector of its first stage.
pub struct Queue {
    pub items: Vec<Item>,
    pub selection: Selection,
    /// What an annotator must know before the work.
    pub note: Option<&'static str>,
    data: Dataset,
    detector: Box<dyn Detector>,
    store: ParamStore,
    scorer: Scorer,
}

/// What the detector of the first stage says of a picture.
pub struct Seen {
    pub p_fake: f64,
    /// Grey values of w·h pixels, from the lowest to the highest of the map. None for a detector without a map.
    pub heat: Option<Difference>,
}

impl Queue {
    /// Of a run whose first stage has ended.
    pub fn open(run: &Path) -> Result<Queue> {
        let (entry, config) = detectors::of_run(run)?;
        let file = run.join(SELECTION);
        let text = std::fs::read(&file).map_err(|e| match e.kind() {
            std::io::ErrorKind::NotFound => Error::data(
                run,
                "has chosen no pictures: `lae-engine train --wait-for-masks` makes a run that has, once its first stage has ended",
            ),
            _ => Error::io(&file, e),
        })?;
        let selection: Selection =
            serde_json::from_slice(&text).map_err(|e| Error::data(&file, format!("not a selection: {e}")))?;
        let data = Dataset::open_processed(&config.data, &config.augment, config.size, config.seed, say)?;
        let now = Inventory::of(&data)?;
        if !now.is_empty()
            && let Some(changes) = Inventory::read(run)?.changes(&now)
        {
            let why = format!(
                "the pictures are not those that the selection was made from: {changes}. Put them back, or start a new run"
            );
            return Err(Error::data(run, why));
        }
        let mut store = ParamStore::new(config.seed);
        config.cpu.apply()?;
        let detector = (entry.build)(&config, &mut store, Purpose::Judge)?;
        let stages = detector.stages();
        let place = stages.iter().position(|s| matches!(s.draw, Draw::Annotated(_)));
        let Some(place) = place.filter(|p| *p > 0) else {
            return Err(Error::data(run, "has no stage that takes masks of a person (selection.annotations = 0)"));
        };
        let of_data = matches!(&stages[place].draw, Draw::Annotated(a) if a.selection.masks == Masks::Data);
        let note = match (of_data, selection.masks.is_empty()) {
            (true, _) => Some(
                "this run takes the masks of its data: what is drawn here can be compared or exported; a run made with --wait-for-masks \
                 trains on what is drawn",
            ),
            (false, false) => {
                Some("stage 2 of this run has begun with the masks of that moment: what is changed now does not reach it")
            }
            (false, true) => None,
        };
        let weights = run.join(stage_file(place - 1, stages.len()));
        checkpoint::load(&mut store, &weights, What::Model)?;
        let scorer = Scorer::new(&Device::Cpu, &*detector, &store, config.size, 1)?;
        let items = selection.indices.iter().map(|&i| item(&data, i)).collect();
        Ok(Queue { items, selection, note, data, detector, store, scorer })
    }

    /// The place of a picture in the queue.
    pub fn place(&self, index: u32) -> Option<usize> {
        self.items.iter().position(|i| i.index == index)
    }

    pub fn picture(&self, index: u32) -> Result<Picture> {
        Ok(self.data.whole(Split::Train, index)?.picture)
    }

    /// The picture before it was forged, where that is known and as large.
    pub fn original(&self, index: u32) -> Option<Result<Picture>> {
        let item = &self.items[self.place(index)?];
        let original = self.data.untouched(Split::Train, index)?;
        Some(original.and_then(|o| match (o.w, o.h) == (item.w, item.h) {
            true => Ok(o),
            false => Err(Error::data(
                Path::new(&item.picture),
                format!(
                    "its original is {} x {} pixels, the picture {} x {}: no first mask from their difference",
                    o.w, o.h, item.w, item.h
                ),
            )),
        }))
    }

    /// The difference to the original; none without an original, or where the two do not differ.
    pub fn difference(&self, index: u32) -> Result<Option<Difference>> {
        let Some(original) = self.original(index).transpose()? else { return Ok(None) };
        Ok(difference(&self.picture(index)?, &original))
    }

    /// Who made the masks of the data, without which a picture of a data set has none.
    pub fn mask_origin(&self) -> MaskOrigin {
        self.data.mask_origin()
    }

    /// What the detector sees.
    pub fn seen(&mut self, index: u32) -> Result<Seen> {
        let Some(place) = self.place(index) else { return Err(unknown(index)) };
        let (w, h) = (self.items[place].w, self.items[place].h);
        let mut batch = Batch::default();
        self.data.fill(Split::Train, 0, &[index], &mut batch)?;
        let verdict = self.scorer.run(&*self.detector, &mut self.store, &batch.x)?.remove(0);
        let heat = match (verdict.map.as_ref(), self.scorer.grid) {
            (Some(map), Some(grid)) => {
                let full = min_max(&bilinear(map, grid, grid, w, h)?);
                let grey: Vec<u8> = full.iter().map(|v| (v * 255.0).round() as u8).collect();
                Some(Difference { threshold: otsu(&grey), grey })
            }
            _ => None,
        };
        Ok(Seen { p_fake: verdict.p_fake(), heat })
    }

    /// Why a picture was chosen: its score, and what each channel says beside its mean over all candidates.
    pub fn why(&self, place: usize) -> Value {
        let s = &self.selection;
        let empty = Vec::new();
        let values = s.activations.get(place).unwrap_or(&empty).iter();
        let rows = s.channels.iter().zip(&s.weights).zip(&s.pool_mean).zip(values);
        let rows: Vec<Value> = rows
            .map(|(((channel, weight), mean), value)| json!({ "channel": channel, "weight": weight, "mean": mean, "value": value }))
            .collect();
        json!({ "score": s.scores.get(place), "channels": rows })
    }
}

pub fn unknown(index: u32) -> Error {
    Error::config("picture", format!("{index} is not among the chosen ones"))
}

fn item(data: &Dataset, index: u32) -> Item {
    let path = data.path(Split::Train, index);
    let picture = path.map(|p| {
        let root = data.config().root();
        shown(root.and_then(|r| p.strip_prefix(r).ok()).unwrap_or(p))
    });
    let size = data.own_size(Split::Train, index).unwrap_or(Ok((data.size(), data.size())));
    let (size, broken) = match size {
        Ok(size) => (size, None),
        Err(e) => ((0, 0), Some(e.to_string())),
    };
    Item { index, name: masks::name(index), picture: picture.unwrap_or_default(), w: size.0, h: size.1, broken }
}

/// A grey picture as PNG.
pub fn grey_png(grey: &[u8], w: usize, h: usize) -> Result<Vec<u8>> {
    let mut bytes = std::io::Cursor::new(Vec::new());
    image::write_buffer_with_format(&mut bytes, grey, w as u32, h as u32, ExtendedColorType::L8, ImageFormat::Png)
        .map_err(|e| Error::data("picture", format!("cannot be encoded ({e})")))?;
    Ok(bytes.into_inner())
}
