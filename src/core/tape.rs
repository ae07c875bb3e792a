//! A list of steps. Recording an op appends one; differentiating appends more steps of the same ops. Nothing else exists between a
//! model and the machine.

use std::collections::HashMap;
use std::sync::Arc as Shared;
use std::sync::atomic::{AtomicU32, Ordering};

use super::cast::Cast;
use super::dtype::DType;
use super::op::{DynOp, Keeps, Op, Pass, Set};
use super::params::{Arena, Group, Kind, Param, ParamId, ParamStore};
use super::real::Real;
use super::shape::Shape;
use crate::error::{Error, Result};

/// A value on a tape: the tape's number and an index, `Copy`, without lifetimes. Another tape refuses it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub struct Var {
    tape: u32,
    index: u32,
}

impl Var {
    pub(crate) fn index(self) -> usize {
        self.index as usize
    }
}

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
    pub dtype: DType,
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

/// Whether two values are places of one arena that meet.
pub(crate) fn overlap(a: Value, b: Value) -> bool {
    match (a.home, b.home) {
        (Home::Arena(x, p), Home::Arena(y, q)) => x == y && p < q + b.shape.len() && q < p + a.shape.len(),
        _ => false,
    }
}

/// The recorded list. Knows the layout of the parameters (names, shapes, places), not their values.
///
/// The functions of [`ops`](crate::ops) and [`Net::run`](crate::nn::Net::run) append steps; [`Tape::backward`] appends those of the
/// gradients; a [`Plan`](super::plan::Plan) takes the finished tape. Nothing is computed while a tape is recorded, and shapes that do
/// not fit are an error of the call that records them, with the path of scopes:
///
/// ```
/// use lae_engine::ops::add::add;
/// use lae_engine::{ParamStore, Shape, Tape};
///
/// let mut t = Tape::new(&ParamStore::<f32>::new(0));
/// let (a, b) = (t.input(Shape::vector(3)), t.input(Shape::vector(3)));
/// let sum = add(&mut t, a, b)?;
/// assert_eq!(t.shape(sum), Shape::vector(3));
/// let c = t.input(Shape::vector(4));
/// let refused = t.scope("head", |t| add(t, a, c)).unwrap_err().to_string();
/// assert!(refused.starts_with("head: add: "), "{refused}");
/// # Ok::<(), lae_engine::Error>(())
/// ```
///
/// The order of recording is the order of running. An optimiser recorded after `backward` updates the weights in each run; what is
/// recorded after it sees the new ones.
#[derive(Clone, Debug)]
pub struct Tape {
    /// Which tape this is, for its values. A clone keeps the number: what was recorded before lies in both.
    number: u32,
    pub(crate) values: Vec<Value>,
    pub(crate) steps: Vec<Step>,
    layout: Shared<Vec<Param>>,
    params: HashMap<ParamId, Var>,
    at: Vec<String>,
    /// What activations are kept in.
    activations: DType,
    /// Operands are brought to the type that an op takes; otherwise what does not fit is refused.
    fits: bool,
    /// Values in another type, recorded already.
    casts: HashMap<(Var, DType), Var>,
    /// Parameters and inputs of which values are rounded copies.
    copied: HashMap<Var, Var>,
}

impl Tape {
    /// An empty tape over the parameters that `store` holds now, which keeps activations in [`ParamStore::activations`].
    pub fn new<T: Real>(store: &ParamStore<T>) -> Tape {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let layout = Shared::new(store.iter().map(|(_, p)| p.clone()).collect());
        Tape {
            number,
            values: Vec::new(),
            steps: Vec::new(),
            layout,
            params: HashMap::new(),
            at: Vec::new(),
            activations: store.activations,
            fits: store.activations == DType::Bf16,
            casts: HashMap::new(),
            copied: HashMap::new(),
        }
    }

    pub(crate) fn value(&mut self, shape: Shape, dtype: DType, home: Home) -> Var {
        self.values.push(Value { shape, dtype, home });
        self.var(self.values.len() - 1)
    }

    /// The value of that index on this tape.
    pub(crate) fn var(&self, index: usize) -> Var {
        Var { tape: self.number, index: index as u32 }
    }

    /// Whether `v` was recorded on this tape.
    pub fn owns(&self, v: Var) -> bool {
        v.tape == self.number && v.index() < self.values.len()
    }

    /// An error that names `what` was asked for, unless all of `vars` belong to this tape.
    pub(crate) fn check_owned(&self, what: &'static str, vars: &[Var]) -> Result<()> {
        match vars.iter().find(|&&v| !self.owns(v)) {
            None => Ok(()),
            Some(v) => {
                let why = format!("value {} belongs to another tape; feed its result through an input of this one", v.index);
                Err(Error::Shape { op: what, at: self.path(), why })
            }
        }
    }

    /// A value that is fed before each run: [`Plan::feed`](super::plan::Plan::feed).
    pub fn input(&mut self, shape: Shape) -> Var {
        self.input_of(shape, DType::F32)
    }

    /// An input of that type: bf16 is fed by [`Plan::feed_bf16`](super::plan::Plan::feed_bf16).
    pub fn input_of(&mut self, shape: Shape, dtype: DType) -> Var {
        self.value(shape, dtype, Home::Input)
    }

    /// A parameter of the store. Panics for a parameter that was added to the store after [`Tape::new`].
    pub fn param(&mut self, id: ParamId) -> Var {
        if let Some(&v) = self.params.get(&id) {
            return v;
        }
        let p =
            self.layout.get(id.0 as usize).expect("record after the last parameter was added: the tape knows those before it");
        let (shape, home) = (p.shape, Home::Arena(p.arena(), p.offset));
        let v = self.value(shape, DType::F32, home);
        self.params.insert(id, v);
        v
    }

    /// The trained parameters of `group`, as values on this tape: what [`Tape::backward`] differentiates by.
    pub fn trained(&mut self, group: &Group) -> Vec<Var> {
        let layout = self.layout.clone();
        let wanted = group.ids().iter().filter(|id| layout[id.0 as usize].kind == Kind::Trained);
        wanted.map(|&id| self.param(id)).collect()
    }

    /// Where the trained parameters of `group` lie in the weight arena: what an optimiser updates as one vector.
    pub fn range(&self, group: &Group) -> Result<std::ops::Range<usize>> {
        group.range(&self.layout).map_err(|why| Error::Shape { op: "optimiser", at: self.path(), why })
    }

    /// A range of an arena as one vector: what an optimiser works on. [`Tape::range`] has the range of a group.
    pub fn arena(&mut self, arena: Arena, range: std::ops::Range<usize>) -> Var {
        self.value(Shape::vector(range.len()), DType::F32, Home::Arena(arena, range.start))
    }

    /// The shape of a value. Panics for a value of another tape.
    pub fn shape(&self, v: Var) -> Shape {
        assert!(self.owns(v), "value {} belongs to another tape", v.index);
        self.values[v.index()].shape
    }

    /// Panics for a value of another tape.
    pub fn dtype(&self, v: Var) -> DType {
        assert!(self.owns(v), "value {} belongs to another tape", v.index);
        self.values[v.index()].dtype
    }

    /// The path of scopes that is being recorded, as errors show it.
    pub(crate) fn path(&self) -> String {
        self.at.join(".")
    }

    /// Record `body` with `name` added to the path that errors show.
    pub fn scope<R>(&mut self, name: impl Into<String>, body: impl FnOnce(&mut Tape) -> R) -> R {
        self.at.push(name.into());
        let r = body(self);
        self.at.pop();
        r
    }

    /// Record `body` with activations kept in that type. f32 is for values that bf16 would spoil: what a filter leaves of a picture
    /// when all that neighbours have in common is gone.
    pub fn keeping<R>(&mut self, activations: DType, body: impl FnOnce(&mut Tape) -> R) -> R {
        let before = (self.activations, self.fits);
        (self.activations, self.fits) = (activations, before.1 || activations == DType::Bf16);
        let r = body(self);
        (self.activations, self.fits) = before;
        r
    }

    /// What activations are kept in, here.
    pub fn activations(&self) -> DType {
        self.activations
    }

    /// Keep activations in f32 from here on, whatever the store says.
    pub fn keep_f32(&mut self) {
        self.activations = DType::F32;
    }

    /// `v` in type `to`: itself, or what a cast that is recorded once gives. A rounded copy of a parameter or an input is no value of
    /// its own: its gradient is that of the original, in f32.
    fn fit(&mut self, v: Var, to: DType) -> Result<Var> {
        if self.dtype(v) == to {
            return Ok(v);
        }
        if let Some(&known) = self.casts.get(&(v, to)) {
            return Ok(known);
        }
        let y = self.add_step(Shared::new(Cast { to }), &[v])?[0];
        self.casts.insert((v, to), y);
        if self.values[v.index()].home != Home::Computed && to == DType::Bf16 {
            self.copied.insert(y, v);
        }
        Ok(y)
    }

    /// The parameter or input that `v` is a rounded copy of, or `v`.
    pub(crate) fn original(&self, v: Var) -> Var {
        self.copied.get(&v).copied().unwrap_or(v)
    }

    /// The operands in the types that the op takes: its factors in that of activations, others as they come, in f32 where they differ.
    fn fitted(&mut self, op: &dyn DynOp, x: &[Var]) -> Result<Vec<Var>> {
        let halves = op.halves();
        let half = |t: &Tape, (i, v): (usize, &Var)| halves.x.has(i) && t.dtype(*v) == DType::Bf16;
        let among = x.iter().enumerate().filter(|(i, _)| halves.x.has(*i)).count();
        let come = x.iter().enumerate().filter(|&operand| half(self, operand)).count();
        let to = match halves.rounds {
            true => self.activations,
            false if among > 0 && come == among => DType::Bf16,
            false => DType::F32,
        };
        x.iter().enumerate().map(|(i, &v)| self.fit(v, if halves.x.has(i) { to } else { DType::F32 })).collect()
    }

    /// Record one op and return its first output. An error if the op refuses the shapes of `x`, or if one is of another tape. Panics
    /// for an op without outputs: use [`Tape::apply_all`].
    pub fn apply(&mut self, op: impl Op + Send + Sync, x: &[Var]) -> Result<Var> {
        Ok(self.apply_all(op, x)?[0])
    }

    /// Record one op and return all its outputs.
    pub fn apply_all(&mut self, op: impl Op + Send + Sync, x: &[Var]) -> Result<Vec<Var>> {
        self.record(Shared::new(op), x)
    }

    pub(crate) fn record(&mut self, op: Shared<dyn DynOp + Send + Sync>, x: &[Var]) -> Result<Vec<Var>> {
        self.check_owned(op.name(), x)?;
        // What is cast in so many words is cast.
        if !self.fits || op.name() == "cast" {
            return self.add_step(op, x);
        }
        let x = self.fitted(&*op, x)?;
        self.add_step(op, &x)
    }

    fn add_step(&mut self, op: Shared<dyn DynOp + Send + Sync>, x: &[Var]) -> Result<Vec<Var>> {
        let at = self.path();
        let xs: Vec<Shape> = x.iter().map(|&v| self.shape(v)).collect();
        let ys = op.infer(&at, &xs)?;
        let types: Vec<DType> = x.iter().map(|&v| self.dtype(v)).collect();
        let types = op.dtypes(&at, &types, ys.len())?;
        let y: Vec<Var> = ys.iter().zip(types).map(|(&s, t)| self.value(s, t, Home::Computed)).collect();
        let updated: Vec<Var> = op.updates().iter().map(|&i| x[i]).collect();
        // A copy of what changes here is the old value: who asks next gets another.
        updated.iter().for_each(|&v| self.forget_casts(v));
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

    fn forget_casts(&mut self, changed: Var) {
        let values = &self.values;
        self.casts.retain(|(v, _), _| !overlap(values[v.index()], values[changed.index()]) && *v != changed);
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
