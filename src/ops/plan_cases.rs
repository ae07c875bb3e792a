//! What a plan runs, as rows of a case table.

use super::OPS;
use crate::core::case::{Case, Sampling};
use crate::core::op::{Element, Pass, Set};
use crate::core::plan::Plan;
use crate::core::tape::Step;

impl<T: Element> Plan<T> {
    /// What this plan runs, as rows of a case table: every op with its input shapes and the gradients that are asked of it, each
    /// once. Values are filled as the op's own table fills them.
    pub fn cases(&self) -> Vec<Case> {
        let mut out: Vec<Case> = Vec::new();
        for case in self.steps_as_cases() {
            match out.iter_mut().find(|c| c.same_work(&case)) {
                Some(c) => c.wants = c.wants.union(case.wants),
                None => out.push(case),
            }
        }
        out
    }

    /// The same with every op as often as it runs, each with the gradients that are asked of it there.
    pub fn steps_as_cases(&self) -> Vec<Case> {
        let mut out: Vec<Case> = Vec::new();
        for s in self.tape.steps.iter().filter(|s| s.pass == Pass::Forward) {
            let backward = |b: &&Step| b.pass == Pass::Backward && b.y == s.y && !b.y.is_empty();
            let wants = self.tape.steps.iter().find(backward).map_or(Set::NONE, |b| b.wants);
            let rows = OPS.iter().flat_map(|(_, table)| table());
            let like = rows.into_iter().find(|c| c.op.name() == s.op.name() && c.inputs.len() == s.x.len());
            let fill = |i: usize| like.as_ref().map_or(Sampling::Normal, |c| c.inputs[i].1);
            let inputs: Vec<_> = s.x.iter().enumerate().map(|(i, &v)| (self.tape.shape(v), fill(i))).collect();
            let dtypes: Vec<_> = s.x.iter().map(|&v| self.tape.dtype(self.tape.original(v))).collect();
            let (op, label) = (s.op.clone(), s.at.to_string());
            out.push(Case { op, inputs, dtypes, bench: None, label, wants, withholds: false });
        }
        out
    }
}
