//! Reverse differentiation: a walk back over a tape's steps that appends the backward pass of each.

use std::collections::HashMap;

use super::add::Add;
use super::fill::Fill;
use crate::core::dtype::DType;
use crate::core::op::{Keeps, Pass, Set};
use crate::core::params::Arena;
use crate::core::shape::Shape;
use crate::core::tape::{Home, Step, Tape, Var, overlap};
use crate::error::{Error, Result};

/// Gradients that [`Tape::backward`] recorded.
#[derive(Clone, Debug, Default)]
pub struct Grads(HashMap<Var, Var>);

impl Grads {
    /// The gradient of `v`, if the loss depends on it.
    pub fn of(&self, v: Var) -> Option<Var> {
        self.0.get(&v).copied()
    }
}

impl Tape {
    /// Append the steps that compute d`loss`/d`v` for every `v` in `wrt`. Gradients of parameters land in the store's gradient
    /// arena. Parameters that the loss does not depend on get a zero gradient.
    pub fn backward(&mut self, loss: Var, wrt: &[Var]) -> Result<Grads> {
        self.check_owned("backward", &[loss])?;
        self.check_owned("backward", wrt)?;
        if self.shape(loss).len() != 1 {
            let why = format!("the loss must be one number, not {}", self.shape(loss));
            return Err(Error::Shape { op: "backward", at: self.path(), why });
        }
        if self.dtype(loss) != DType::F32 {
            let why = format!("the loss must be f32, not {}; cast it first (ops::cast)", self.dtype(loss));
            return Err(Error::Shape { op: "backward", at: self.path(), why });
        }
        // Which values lie on a path from `wrt` to anything.
        let mut needs = vec![false; self.values.len()];
        wrt.iter().for_each(|v| needs[v.index()] = true);
        for s in self.steps.iter().filter(|s| s.pass == Pass::Forward) {
            if let Some(&y) = s.y.first() {
                needs[y.index()] |= wanted(s, &needs) != Set::NONE;
            }
        }

        let mut grads = Grads::default();
        let recorded = self.steps.len();
        let one = self.apply(Fill { shape: Shape::SCALAR, value: 1.0 }, &[])?;
        grads.0.insert(loss, one);
        for i in (0..recorded).rev() {
            let s = self.steps[i].clone();
            if s.pass == Pass::Backward || s.y.is_empty() {
                continue;
            }
            let wants = wanted(&s, &needs);
            let Some(dy) = grads.of(s.y[0]).filter(|_| !wants.is_empty()) else { continue };
            // A gradient has the shape and the type of its value, that of a rounded copy those of the parameter.
            let source: Vec<Var> = s.x.iter().map(|&v| self.original(v)).collect();
            let mut like = |v: Var| self.value(self.shape(v), self.dtype(v), Home::Computed);
            let dx: Vec<Option<Var>> = source.iter().enumerate().map(|(i, &v)| wants.has(i).then(|| like(v))).collect();
            let keeps = s.op.keeps(wants);
            self.unchanged(i, keeps)?;
            self.steps.push(Step { pass: Pass::Backward, dy: Some(dy), out: dx.clone(), keeps, wants, ..s.clone() });
            for (&x, dx) in source.iter().zip(dx) {
                let Some(dx) = dx else { continue };
                let sum = match grads.of(x) {
                    Some(old) => self.apply(Add, &[old, dx])?,
                    None => dx,
                };
                grads.0.insert(x, sum);
            }
        }
        for &v in wrt {
            let Home::Arena(Arena::Weights, offset) = self.values[v.index()].home else { continue };
            let g = match grads.of(v) {
                Some(g) => g,
                None => {
                    let zero = self.apply(Fill { shape: self.shape(v), value: 0.0 }, &[])?;
                    grads.0.insert(v, zero);
                    zero
                }
            };
            self.values[g.index()].home = Home::Arena(Arena::Grads, offset);
        }
        Ok(grads)
    }

    /// Backward of step `i` reads the inputs in `keeps` a second time: no step since then may have changed them. An optimiser that
    /// is recorded between a forward pass and its backward would give wrong gradients in silence.
    fn unchanged(&self, i: usize, keeps: Keeps) -> Result<()> {
        let meet = |a: Var, b: Var| a == b || overlap(self.values[a.index()], self.values[b.index()]);
        let s = &self.steps[i];
        for (k, &x) in s.x.iter().enumerate().filter(|&(k, _)| keeps.x.has(k)) {
            for later in self.steps[i + 1..].iter().filter(|l| l.pass == Pass::Forward) {
                if later.op.updates().iter().any(|&u| meet(later.x[u], x)) {
                    let why = format!(
                        "{} changes input {k} before its gradient is taken; record the forward pass again after it",
                        later.op.name()
                    );
                    return Err(Error::Shape { op: s.op.name(), at: s.at.to_string(), why });
                }
            }
        }
        Ok(())
    }
}

/// The inputs of `s` whose gradients are needed.
fn wanted(s: &Step, needs: &[bool]) -> Set {
    let able = s.op.differentiable();
    (0..s.x.len()).filter(|&i| able.has(i) && needs[s.x[i].index()]).fold(Set::NONE, |set, i| set.and(i))
}
