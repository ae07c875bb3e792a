//! Pairs that no counterexample could be made of: how many for which reason, and the first one's name.

use std::sync::Mutex;

use serde::{Deserialize, Serialize};

use super::pair::LeftOut;

/// Pairs that were left out for one reason.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Left {
    pub why: LeftOut,
    /// How often such a pair was drawn.
    pub times: u64,
    /// Epoch and index of the first one in the order of training, and its name.
    first: (u32, u32),
    pub name: String,
}

/// Counts from any thread; the result does not depend on their order.
#[derive(Default)]
pub struct Tally(Mutex<Vec<Left>>);

impl Tally {
    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Left>> {
        // Every change below is complete before it can fail.
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Counts the pair at (epoch, index).
    pub fn add(&self, why: LeftOut, at: (u32, u32), name: impl FnOnce() -> String) {
        let mut rows = self.lock();
        match rows.iter_mut().find(|r| r.why == why) {
            Some(row) => {
                row.times += 1;
                if at < row.first {
                    (row.first, row.name) = (at, name());
                }
            }
            None => {
                rows.push(Left { why, times: 1, first: at, name: name() });
                rows.sort_by_key(|r| r.why);
            }
        }
    }

    /// What was counted so far, one row a reason.
    pub fn rows(&self) -> Vec<Left> {
        self.lock().clone()
    }

    /// Goes on from what an interrupted run had counted.
    pub fn set(&self, rows: Vec<Left>) {
        *self.lock() = rows;
    }
}

impl Left {
    /// For a report.
    pub fn notice(&self) -> String {
        let pairs = if self.times == 1 { "1 counterexample was".into() } else { format!("{} counterexamples were", self.times) };
        format!("{pairs} left out, for pairs {}; the first one is {}", self.why.words(), self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_does_not_change_what_is_counted() {
        let (a, b) = (Tally::default(), Tally::default());
        let all = [(LeftOut::Sizes, (1, 4)), (LeftOut::Everything, (0, 9)), (LeftOut::Sizes, (0, 7)), (LeftOut::Sizes, (2, 0))];
        let add = |t: &Tally, (why, at): (LeftOut, (u32, u32))| t.add(why, at, || format!("{at:?}"));
        all.iter().for_each(|&x| add(&a, x));
        all.iter().rev().for_each(|&x| add(&b, x));
        assert_eq!(a.rows(), b.rows());
        let sizes = a.rows().into_iter().find(|r| r.why == LeftOut::Sizes).unwrap();
        assert_eq!((sizes.times, sizes.name.as_str()), (3, "(0, 7)"));
        assert!(sizes.notice().contains("3 counterexamples were left out, for pairs whose original has another size"));
        // Through a checkpoint and on.
        let c = Tally::default();
        c.set(serde_json::from_str(&serde_json::to_string(&a.rows()).unwrap()).unwrap());
        assert_eq!(c.rows(), a.rows());
    }
}
