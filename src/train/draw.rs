//! Which pictures the steps of a stage see. What a step draws depends on the seed, the epoch and the number of the step alone.

use std::collections::HashMap;
use std::rc::Rc;

use super::annotated::{Annotated, Pool};
use super::detector::{Draw, Stage};
use crate::core::rng::{Rng, stream};
use crate::data::dataset::{Batch, Dataset, Split};
use crate::error::Result;

/// Fills the batches of a stage, epoch by epoch.
pub struct Drawer {
    data: Rc<Dataset>,
    seed: u64,
    /// Pictures of the training set in a step, and annotated ones behind them.
    n_full: usize,
    n_annotated: usize,
    pool: Option<Pool>,
    steps: usize,
    batch: usize,
    /// Annotated fakes, as indices into epoch 0 of the training set.
    chosen: Vec<u32>,
    /// Masks of theirs that count in place of the data's: size·size values.
    masks: HashMap<u32, Vec<f32>>,
    /// Of the epoch: its pictures in order, the epoch that their crops belong to, and the annotated ones in order.
    order: Vec<u32>,
    crops: u32,
    turn: Vec<u32>,
    full: Batch,
    annotated: Batch,
}

impl Drawer {
    /// `chosen`: the annotated fakes, empty for a stage that draws none, and masks of theirs that count in place of the data's.
    pub fn new(data: &Rc<Dataset>, stage: &Stage, seed: u64, (chosen, masks): (Vec<u32>, HashMap<u32, Vec<f32>>)) -> Drawer {
        let (pool, n_full, n_annotated) = match &stage.draw {
            Draw::Balanced => (None, stage.batch, 0),
            Draw::Annotated(Annotated { pool, batch, .. }) => match pool {
                Pool::Mixed => (Some(Pool::Mixed), stage.batch, (*batch).min(chosen.len())),
                Pool::Full => (Some(Pool::Full), stage.batch, 0),
                Pool::ActivePlusTrue => (Some(Pool::ActivePlusTrue), stage.batch / 2, stage.batch / 2),
            },
        };
        let one_pass = match pool {
            Some(Pool::ActivePlusTrue) => chosen.len().div_ceil(n_annotated),
            _ => data.epoch_order(Split::Train, 0, stage.batch).len() / stage.batch,
        };
        let steps = if stage.epoch_steps > 0 { stage.epoch_steps.min(one_pass) } else { one_pass }.max(1);
        Drawer {
            data: data.clone(),
            seed,
            n_full,
            n_annotated,
            pool,
            steps,
            batch: stage.batch,
            chosen,
            masks,
            order: Vec::new(),
            crops: 0,
            turn: Vec::new(),
            full: Batch::default(),
            annotated: Batch::default(),
        }
    }

    /// Pictures per step.
    pub fn pictures(&self) -> usize {
        self.n_full + self.n_annotated
    }
    /// Steps per epoch.
    pub fn steps(&self) -> usize {
        self.steps
    }
    /// Replace the annotated fakes.
    pub fn choose(&mut self, chosen: Vec<u32>) {
        self.chosen = chosen;
    }

    /// Begin an epoch of the stage; `before` epochs lie in earlier stages, whose crops are not repeated.
    pub fn begin(&mut self, epoch: usize, before: usize) {
        let all = (before + epoch) as u32;
        self.order = self.data.epoch_order(Split::Train, all, self.batch);
        // Annotated pictures are those of epoch 0: a pool in which they shall turn up is drawn from that epoch's crops.
        self.crops = match self.pool {
            None | Some(Pool::Mixed) => all,
            Some(Pool::Full | Pool::ActivePlusTrue) => 0,
        };
        if self.pool == Some(Pool::ActivePlusTrue) {
            self.order.retain(|&i| !self.data.is_fake(Split::Train, i));
        }
        self.turn = self.chosen.clone();
        Rng::new(self.seed, stream("annotated order"), epoch as u64).shuffle(&mut self.turn);
    }

    /// The pictures of step `step` of the epoch, counted from 0, and 1 in `select` where a mask counts.
    pub fn fill(&mut self, step: usize, batch: &mut Batch, select: &mut Vec<f32>) -> Result<()> {
        let n = self.n_full;
        let indices: Vec<u32> = (0..n).map(|i| self.order[(step * n + i) % self.order.len()]).collect();
        select.clear();
        if self.pool.is_none() {
            select.resize(n, 0.0);
            return self.data.fill_training(Split::Train, self.crops, &indices, batch);
        }
        let k = self.n_annotated;
        let annotated: Vec<u32> = (0..k).map(|i| self.turn[(step * k + i) % self.turn.len()]).collect();
        self.data.fill_training(Split::Train, self.crops, &indices, &mut self.full)?;
        self.data.fill_training(Split::Train, 0, &annotated, &mut self.annotated)?;
        put(&self.masks, &mut self.annotated);
        // Only the pools of epoch 0 hold the pictures that a person saw.
        if self.pool == Some(Pool::Full) {
            put(&self.masks, &mut self.full);
        }
        batch.set_concatenation(&self.full, &self.annotated);
        let among = self.pool == Some(Pool::Full);
        select.extend(indices.iter().map(|i| (among && self.chosen.contains(i)) as u8 as f32));
        select.resize(n + k, 1.0);
        Ok(())
    }
}

/// Put the masks of a person in place of the data's.
fn put(masks: &HashMap<u32, Vec<f32>>, batch: &mut Batch) {
    let each = batch.size * batch.size;
    for (slot, index) in batch.index.iter().enumerate() {
        if let Some(mask) = masks.get(index) {
            batch.mask[slot * each..][..each].copy_from_slice(mask);
            batch.has_mask[slot] = 1.0;
        }
    }
}
