//! Where every value of a tape lies: buffers are reused as registers are by a linear-scan allocator.

use super::dtype::DType;
use super::op::{Element, MAX};
use super::params::ARENAS;
use super::shape::Shape;
use super::tape::{Home, Step, Tape, Var};
use super::widen;

/// How values get their buffers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Memory {
    /// A buffer is reused as soon as its value has been read for the last time.
    Planned,
    /// Every value keeps its own buffer: the plain way, for tests and for looking at intermediate values.
    Eager,
}

/// A range of a buffer, in bytes, and what lies there. Buffers `0..ARENAS` are the store's arenas, the others the plan's slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub dtype: DType,
    pub buffer: usize,
    pub offset: usize,
    pub len: usize,
}

impl Place {
    /// The place if values of that type lie there.
    pub fn of(self, dtype: DType) -> Option<Place> {
        (self.dtype == dtype).then_some(self)
    }
}

/// A buffer that a step writes, and its parts in order of offset.
#[derive(Debug)]
pub(super) struct Write {
    pub buffer: usize,
    pub parts: Vec<Part>,
}

/// Operand `out[operand]` lies there.
#[derive(Debug)]
pub(super) struct Part {
    pub operand: usize,
    pub place: Place,
}

/// A step of the tape with the shapes and places of its operands.
#[derive(Debug)]
pub(super) struct Prepared {
    pub xs: Vec<Shape>,
    pub ys: Vec<Shape>,
    pub x: Vec<Option<Place>>,
    pub y: Vec<Option<Place>>,
    pub dy: Option<Place>,
    pub writes: Vec<Write>,
    /// Values of workspace that the op asked for on the host.
    pub scratch: usize,
    /// Values of workspace for bf16 operands of a pass that takes none; 0 if it takes them, or there are none.
    pub widens: usize,
    pub widens_on_gpu: usize,
}

impl Prepared {
    /// All operands that the step reads or writes.
    fn operands(&self) -> impl Iterator<Item = Place> + '_ {
        let written = self.writes.iter().flat_map(|w| w.parts.iter().map(|p| p.place));
        self.x.iter().chain(&self.y).copied().chain([self.dy]).flatten().chain(written)
    }
}

/// What is decided before there is memory.
pub(super) struct Layout {
    /// By value; none for what no step computes.
    pub place: Vec<Option<Place>>,
    /// Bytes of the plan's slots.
    pub slots: Vec<usize>,
    pub steps: Vec<Prepared>,
    /// Arenas that a run changes.
    pub writes: [bool; ARENAS],
}

impl Layout {
    /// Values in `fetch` and all inputs keep their buffers to the end of the run.
    pub fn of<T: Element>(tape: &Tape, fetch: &[Var], memory: Memory) -> Layout {
        let (place, slots) = places::<T>(tape, &last_use(tape, fetch, memory));
        let steps: Vec<Prepared> = tape.steps.iter().map(|s| prepare(tape, s, &place)).collect();
        let mut writes = [false; ARENAS];
        let written = steps.iter().flat_map(|s| &s.writes).map(|w| w.buffer).filter(|&b| b < ARENAS);
        written.for_each(|b| writes[b] = true);
        Layout { place, slots, steps, writes }
    }
}

/// The last step that touches each value: its buffer is free after that. `usize::MAX` for values that outlive the run.
fn last_use(tape: &Tape, fetch: &[Var], memory: Memory) -> Vec<usize> {
    if memory == Memory::Eager {
        return vec![usize::MAX; tape.values.len()];
    }
    let mut last = vec![0; tape.values.len()];
    for (i, s) in tape.steps.iter().enumerate() {
        s.reads().chain(s.out.iter().flatten().copied()).for_each(|v| last[v.index()] = i);
    }
    fetch.iter().for_each(|v| last[v.index()] = usize::MAX);
    last
}

/// A place for every value, and the bytes of the slots that these places need.
fn places<T: Element>(tape: &Tape, last: &[usize]) -> (Vec<Option<Place>>, Vec<usize>) {
    let mut place: Vec<Option<Place>> = vec![None; tape.values.len()];
    let mut sizes: Vec<usize> = Vec::new();
    for (i, v) in tape.values.iter().enumerate() {
        let (dtype, one) = (v.dtype, v.dtype.bytes::<T>());
        let len = v.shape.len() * one;
        match v.home {
            Home::Input => {
                place[i] = Some(Place { dtype, buffer: ARENAS + sizes.len(), offset: 0, len });
                sizes.push(len);
            }
            Home::Arena(a, offset) => place[i] = Some(Place { dtype, buffer: a as usize, offset: offset * one, len }),
            Home::Computed => {}
        }
    }
    let mut free: Vec<usize> = Vec::new();
    for (i, s) in tape.steps.iter().enumerate() {
        for v in s.out.iter().flatten() {
            let v = v.index();
            if place[v].is_none() {
                let dtype = tape.values[v].dtype;
                let len = tape.values[v].shape.len() * dtype.bytes::<T>();
                let slot = take(&mut free, &mut sizes, len);
                place[v] = Some(Place { dtype, buffer: ARENAS + slot, offset: 0, len });
            }
        }
        let mut touched: Vec<Var> = s.reads().chain(s.out.iter().flatten().copied()).collect();
        touched.sort_unstable();
        touched.dedup();
        for v in touched.iter().map(|v| v.index()).filter(|&v| last[v] == i && tape.values[v].home == Home::Computed) {
            free.push(place[v].expect("a value is written before it is read").buffer - ARENAS);
        }
    }
    (place, sizes)
}

/// A slot of at least `len` bytes. Best fit: the smallest free one that is large enough, else the largest free one, which grows.
fn take(free: &mut Vec<usize>, sizes: &mut Vec<usize>, len: usize) -> usize {
    let fits = (0..free.len()).filter(|&q| sizes[free[q]] >= len).min_by_key(|&q| sizes[free[q]]);
    let slot = match fits.or_else(|| (0..free.len()).max_by_key(|&q| sizes[free[q]])) {
        Some(q) => free.swap_remove(q),
        None => {
            sizes.push(0);
            sizes.len() - 1
        }
    };
    sizes[slot] = sizes[slot].max(len);
    slot
}

/// The operands of one step. A buffer that a step writes is not read by the same step.
fn prepare(tape: &Tape, s: &Step, place: &[Option<Place>]) -> Prepared {
    assert!(s.x.len() <= MAX && s.y.len() <= MAX && s.out.len() <= MAX, "{}: too many operands", s.op.name());
    let shapes = |vs: &[Var]| vs.iter().map(|&v| tape.shape(v)).collect::<Vec<_>>();
    let at = |v: Var| place[v.index()];
    let (xs, ys) = (shapes(&s.x), shapes(&s.y));
    let x: Vec<_> = s.x.iter().enumerate().map(|(i, &v)| s.reads_x(i).then(|| at(v)).flatten()).collect();
    let y: Vec<_> = s.y.iter().enumerate().map(|(i, &v)| s.reads_y(i).then(|| at(v)).flatten()).collect();
    let dy = s.dy.and_then(at);
    let mut writes: Vec<Write> = Vec::new();
    for (i, v) in s.out.iter().enumerate() {
        let Some(p) = v.and_then(at) else { continue };
        let part = Part { operand: i, place: p };
        match writes.iter_mut().find(|w| w.buffer == p.buffer) {
            Some(w) => w.parts.push(part),
            None => writes.push(Write { buffer: p.buffer, parts: vec![part] }),
        }
    }
    writes.iter_mut().for_each(|w| w.parts.sort_by_key(|part| part.place.offset));
    for r in x.iter().chain(&y).chain([&dy]).flatten() {
        let apart = writes.iter().all(|w| w.buffer != r.buffer);
        assert!(apart, "{}: {} reads and writes buffer {}", s.at, s.op.name(), r.buffer);
    }
    let scratch = s.op.scratch(s.pass, &xs, &ys, s.wants);
    let mut prepared = Prepared { xs, ys, x, y, dy, writes, scratch, widens: 0, widens_on_gpu: 0 };
    let half = prepared.operands().filter_map(|p| p.of(DType::Bf16));
    let all = widen::scratch(half.map(|p| p.len / DType::Bf16.bytes::<f32>()));
    prepared.widens = if s.op.half_on_host(s.pass) { 0 } else { all };
    prepared.widens_on_gpu = if s.op.half_on_gpu(s.pass, &prepared.xs) { 0 } else { all };
    prepared
}
