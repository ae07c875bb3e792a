//! A list of steps. Recording an op appends one; differentiating appends more steps of the same ops. Nothing else exists between a
//! model and the machine.

use std::collections::HashMap;
use std::sync::Arc as Shared;

use super::op::{DynOp, Keeps, Op, Pass, Set};
use super::params::{Arena, Kind, Param, ParamId, ParamStore};
use super::real::Real;
use super::shape::Shape;
use crate::error::{Error, Result};
use crate::ops;

/// A value on a tape: an index, `Copy`, without lifetimes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub struct Var(pub(crate) u32);

/// Where a value lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Home {
    /// Fed from outside; keeps its buffer.
    Input,
    /// A range of the parameter store.
    Arena(Arena, usize),
    /// Computed by a step; the plan decides.
    Computed,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Value {
    pub shape: Shape,
    pub home: Home,
}

#[derive(Clone, Debug)]
pub(crate) struct Step {
    pub op: Shared<dyn DynOp + Send + Sync>,
    /// The layer that the op was recorded in.
    pub at: Shared<str>,
    pub pass: Pass,
    /// Forward inputs and outputs of the op, in both passes.
    pub x: Vec<Var>,
    pub y: Vec<Var>,
    /// Backward: the gradient of `y[0]`.
    pub dy: Option<Var>,
    /// What this step writes: outputs (then updated inputs), or gradients of the inputs that are wanted.
    pub out: Vec<Option<Var>>,
    pub keeps: Keeps,
    pub wants: Set,
}

impl Step {
    /// Operand `x[i]` is read by this step.
    pub fn reads_x(&self, i: usize) -> bool {
        match self.pass {
            Pass::Forward => !self.op.updates().contains(&i),
            Pass::Backward => self.keeps.x.has(i),
        }
    }
    pub fn reads_y(&self, i: usize) -> bool {
        self.pass == Pass::Backward && self.keeps.y.has(i)
    }
    pub fn reads(&self) -> impl Iterator<Item = Var> + '_ {
        let x = self.x.iter().enumerate().filter(|&(i, _)| self.reads_x(i)).map(|(_, &v)| v);
        let y = self.y.iter().enumerate().filter(|&(i, _)| self.reads_y(i)).map(|(_, &v)| v);
        x.chain(y).chain(self.dy)
    }
}

/// Gradients that [`Tape::backward`] recorded.
#[derive(Clone, Debug, Default)]
pub struct Grads(HashMap<Var, Var>);

impl Grads {
    /// The gradient of `v`, if the loss depends on it.
    pub fn of(&self, v: Var) -> Option<Var> {
        self.0.get(&v).copied()
    }
}

/// The recorded list. Knows the layout of the parameters (names, shapes, places), not their values.
#[derive(Clone, Debug)]
pub struct Tape {
    pub(crate) values: Vec<Value>,
    pub(crate) steps: Vec<Step>,
    layout: Shared<Vec<Param>>,
    params: HashMap<ParamId, Var>,
    at: Vec<String>,
}

impl Tape {
    pub fn new<T: Real>(store: &ParamStore<T>) -> Tape {
        let layout = Shared::new(store.iter().map(|(_, p)| p.clone()).collect());
        Tape { values: Vec::new(), steps: Vec::new(), layout, params: HashMap::new(), at: Vec::new() }
    }

    fn value(&mut self, shape: Shape, home: Home) -> Var {
        self.values.push(Value { shape, home });
        Var(self.values.len() as u32 - 1)
    }

    /// A value that is fed before each run.
    pub fn input(&mut self, shape: Shape) -> Var {
        self.value(shape, Home::Input)
    }

    /// A parameter of the store.
    pub fn param(&mut self, id: ParamId) -> Var {
        if let Some(&v) = self.params.get(&id) {
            return v;
        }
        let p = &self.layout[id.0 as usize];
        let (shape, home) = (p.shape, Home::Arena(p.arena(), p.offset));
        let v = self.value(shape, home);
        self.params.insert(id, v);
        v
    }

    /// The parameters of kind `Trained` whose names start with `prefix`, as values on this tape.
    pub fn trained(&mut self, prefix: &str) -> Vec<Var> {
        let layout = self.layout.clone();
        let wanted = layout.iter().enumerate().filter(|(_, p)| p.kind == Kind::Trained && p.name.starts_with(prefix));
        wanted.map(|(i, _)| self.param(ParamId(i as u32))).collect()
    }

    /// A range of an arena as one vector: what an optimiser works on.
    pub fn arena(&mut self, arena: Arena, range: std::ops::Range<usize>) -> Var {
        self.value(Shape::vector(range.len()), Home::Arena(arena, range.start))
    }

    pub fn shape(&self, v: Var) -> Shape {
        self.values[v.0 as usize].shape
    }

    /// Record `body` with `name` added to the path that errors show.
    pub fn scope<R>(&mut self, name: impl Into<String>, body: impl FnOnce(&mut Tape) -> R) -> R {
        self.at.push(name.into());
        let r = body(self);
        self.at.pop();
        r
    }

    /// Record one op and return its first output.
    pub fn apply(&mut self, op: impl Op + Send + Sync, x: &[Var]) -> Result<Var> {
        Ok(self.apply_all(op, x)?[0])
    }

    /// Record one op and return all its outputs.
    pub fn apply_all(&mut self, op: impl Op + Send + Sync, x: &[Var]) -> Result<Vec<Var>> {
        self.record(Shared::new(op), x)
    }

    /// Record a row of an op's table.
    pub fn record_case(&mut self, case: &ops::Case, x: &[Var]) -> Result<Vec<Var>> {
        self.record(case.op.clone(), x)
    }

    fn record(&mut self, op: Shared<dyn DynOp + Send + Sync>, x: &[Var]) -> Result<Vec<Var>> {
        let at = self.at.join(".");
        let xs: Vec<Shape> = x.iter().map(|&v| self.shape(v)).collect();
        let ys = op.infer(&at, &xs)?;
        let y: Vec<Var> = ys.iter().map(|&s| self.value(s, Home::Computed)).collect();
        let updated = op.updates().iter().map(|&i| x[i]);
        let out = y.iter().copied().chain(updated).map(Some).collect();
        self.steps.push(Step {
            op,
            at: at.into(),
            pass: Pass::Forward,
            x: x.to_vec(),
            y: y.clone(),
            dy: None,
            out,
            keeps: Keeps::NOTHING,
            wants: Set::NONE,
        });
        Ok(y)
    }

    /// Append the steps that compute d`loss`/d`v` for every `v` in `wrt`. Gradients of parameters land in the store's gradient
    /// arena. Parameters that the loss does not depend on get a zero gradient.
    pub fn backward(&mut self, loss: Var, wrt: &[Var]) -> Result<Grads> {
        if self.shape(loss).len() != 1 {
            let why = format!("the loss must be one number, not {}", self.shape(loss));
            return Err(Error::Shape { op: "backward", at: self.at.join("."), why });
        }
        // Which values lie on a path from `wrt` to anything.
        let mut needs = vec![false; self.values.len()];
        wrt.iter().for_each(|v| needs[v.0 as usize] = true);
        for s in self.steps.iter().filter(|s| s.pass == Pass::Forward) {
            if let Some(&y) = s.y.first() {
                needs[y.0 as usize] |= wanted(s, &needs) != Set::NONE;
            }
        }

        let mut grads = Grads::default();
        let recorded = self.steps.len();
        let one = self.apply(ops::fill::Fill { shape: Shape::SCALAR, value: 1.0 }, &[])?;
        grads.0.insert(loss, one);
        for i in (0..recorded).rev() {
            let s = self.steps[i].clone();
            if s.pass == Pass::Backward || s.y.is_empty() {
                continue;
            }
            let wants = wanted(&s, &needs);
            let Some(dy) = grads.of(s.y[0]).filter(|_| !wants.is_empty()) else { continue };
            let dx: Vec<Option<Var>> =
                (0..s.x.len()).map(|i| wants.has(i).then(|| self.value(self.shape(s.x[i]), Home::Computed))).collect();
            let keeps = s.op.keeps(wants);
            self.unchanged(i, keeps)?;
            self.steps.push(Step { pass: Pass::Backward, dy: Some(dy), out: dx.clone(), keeps, wants, ..s.clone() });
            for (&x, dx) in s.x.iter().zip(dx) {
                let Some(dx) = dx else { continue };
                let sum = match grads.of(x) {
                    Some(old) => self.apply(ops::add::Add, &[old, dx])?,
                    None => dx,
                };
                grads.0.insert(x, sum);
            }
        }
        for &v in wrt {
            let Home::Arena(Arena::Weights, offset) = self.values[v.0 as usize].home else { continue };
            let g = match grads.of(v) {
                Some(g) => g,
                None => {
                    let zero = self.apply(ops::fill::Fill { shape: self.shape(v), value: 0.0 }, &[])?;
                    grads.0.insert(v, zero);
                    zero
                }
            };
            self.values[g.0 as usize].home = Home::Arena(Arena::Grads, offset);
        }
        Ok(grads)
    }

    /// Backward of step `i` reads the inputs in `keeps` a second time: no step since then may have changed them. An optimiser that
    /// is recorded between a forward pass and its backward would give wrong gradients in silence.
    fn unchanged(&self, i: usize, keeps: Keeps) -> Result<()> {
        let overlap = |a: Var, b: Var| match (self.values[a.0 as usize], self.values[b.0 as usize]) {
            (Value { home: Home::Arena(x, p), shape: s }, Value { home: Home::Arena(y, q), shape: t }) => {
                x == y && p < q + t.len() && q < p + s.len()
            }
            _ => a == b,
        };
        let s = &self.steps[i];
        for (k, &x) in s.x.iter().enumerate().filter(|&(k, _)| keeps.x.has(k)) {
            for later in self.steps[i + 1..].iter().filter(|l| l.pass == Pass::Forward) {
                if later.op.updates().iter().any(|&u| overlap(later.x[u], x)) {
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

    /// Sum of the work of all steps, one line per op and pass, heaviest first: `(name, pass, steps, macs, bytes)`.
    pub fn cost(&self) -> Vec<(&'static str, Pass, usize, u64, u64)> {
        let mut rows: Vec<(&'static str, Pass, usize, u64, u64)> = Vec::new();
        for s in &self.steps {
            let of = |vs: &[Var]| vs.iter().map(|&v| self.shape(v)).collect::<Vec<_>>();
            let c = s.op.cost(s.pass, &of(&s.x), &of(&s.y));
            match rows.iter_mut().find(|r| r.0 == s.op.name() && r.1 == s.pass) {
                Some(r) => *r = (r.0, r.1, r.2 + 1, r.3 + c.macs, r.4 + c.bytes),
                None => rows.push((s.op.name(), s.pass, 1, c.macs, c.bytes)),
            }
        }
        rows.sort_by_key(|r| std::cmp::Reverse(r.3));
        rows
    }
}

/// The inputs of `s` whose gradients are needed.
fn wanted(s: &Step, needs: &[bool]) -> Set {
    let able = s.op.differentiable();
    (0..s.x.len()).filter(|&i| able.has(i) && needs[s.x[i].0 as usize]).fold(Set::NONE, |set, i| set.and(i))
}
