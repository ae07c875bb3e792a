//! A tape made ready to run: every value has a buffer, buffers are reused as registers are by a linear-scan allocator, and
//! running is a `for` loop. After the plan is made, a run allocates nothing.

use std::time::Duration;

use super::buffer::Buffer;
use super::op::{Element, Host, MAX, Pass};
use super::params::{ARENAS, ParamStore};
use super::shape::Shape;
use super::tape::{Home, Tape, Var};

/// How values get their buffers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Memory {
    /// A buffer is reused as soon as its value has been read for the last time.
    Planned,
    /// Every value keeps its own buffer: the plain way, for tests and for looking at intermediate values.
    Eager,
}

/// A range of a buffer. Buffers `0..ARENAS` are the store's arenas, the others the plan's slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    buffer: usize,
    offset: usize,
    len: usize,
}

/// A buffer that a step writes, and its parts in order of offset.
#[derive(Debug)]
struct Write {
    buffer: usize,
    parts: Vec<Part>,
}

/// Operand `out[operand]` is `len` values from `offset`.
#[derive(Debug)]
struct Part {
    operand: usize,
    offset: usize,
    len: usize,
}

#[derive(Debug)]
struct Prepared {
    xs: Vec<Shape>,
    ys: Vec<Shape>,
    x: Vec<Option<Place>>,
    y: Vec<Option<Place>>,
    dy: Option<Place>,
    writes: Vec<Write>,
    scratch: usize,
}

/// See the module. `T` is f32 for training, f64 for the oracle.
pub struct Plan<T = f32> {
    tape: Tape,
    steps: Vec<Prepared>,
    place: Vec<Option<Place>>,
    pool: Vec<Buffer<T>>,
    scratch: Buffer<T>,
}

impl<T: Element> Plan<T> {
    /// Decide where everything lives. Values in `fetch` and all inputs keep their buffers to the end of the run.
    pub fn new(tape: Tape, fetch: &[Var], memory: Memory) -> Plan<T> {
        let n = tape.values.len();
        // Last step that touches each value; fetched ones live on.
        let mut last = vec![0usize; n];
        for (i, s) in tape.steps.iter().enumerate() {
            s.reads().chain(s.out.iter().flatten().copied()).for_each(|v| last[v.0 as usize] = i);
        }
        fetch.iter().for_each(|v| last[v.0 as usize] = usize::MAX);
        if memory == Memory::Eager {
            last.fill(usize::MAX);
        }

        let mut place: Vec<Option<Place>> = vec![None; n];
        let mut sizes: Vec<usize> = Vec::new();
        let mut free: Vec<usize> = Vec::new();
        for (i, v) in tape.values.iter().enumerate() {
            let len = v.shape.len();
            match v.home {
                Home::Input => {
                    place[i] = Some(Place { buffer: ARENAS + sizes.len(), offset: 0, len });
                    sizes.push(len);
                }
                Home::Arena(a, offset) => place[i] = Some(Place { buffer: a as usize, offset, len }),
                Home::Computed => {}
            }
        }
        for (i, s) in tape.steps.iter().enumerate() {
            for v in s.out.iter().flatten() {
                let v = v.0 as usize;
                if place[v].is_some() {
                    continue;
                }
                let len = tape.values[v].shape.len();
                // Best fit: the smallest free slot that is large enough, else the largest one, which grows.
                let fit = free.iter().position(|&s| sizes[s] >= len).map(|p| {
                    let best = (p..free.len()).filter(|&q| sizes[free[q]] >= len).min_by_key(|&q| sizes[free[q]]);
                    best.unwrap_or(p)
                });
                let fit = fit.or_else(|| (0..free.len()).max_by_key(|&q| sizes[free[q]]));
                let slot = match fit {
                    Some(p) => free.swap_remove(p),
                    None => {
                        sizes.push(0);
                        sizes.len() - 1
                    }
                };
                sizes[slot] = sizes[slot].max(len);
                place[v] = Some(Place { buffer: ARENAS + slot, offset: 0, len });
            }
            let mut touched: Vec<Var> = s.reads().chain(s.out.iter().flatten().copied()).collect();
            touched.sort_unstable();
            touched.dedup();
            for v in touched {
                let v = v.0 as usize;
                if last[v] == i && tape.values[v].home == Home::Computed {
                    free.push(place[v].expect("a value is written before it is read").buffer - ARENAS);
                }
            }
        }

        let steps: Vec<Prepared> = tape
            .steps
            .iter()
            .map(|s| {
                let shapes = |vs: &[Var]| vs.iter().map(|&v| tape.shape(v)).collect::<Vec<_>>();
                let at = |v: Var| place[v.0 as usize];
                let (xs, ys) = (shapes(&s.x), shapes(&s.y));
                assert!(s.x.len() <= MAX && s.y.len() <= MAX && s.out.len() <= MAX, "{}: too many operands", s.op.name());
                let x: Vec<_> = s.x.iter().enumerate().map(|(i, &v)| s.reads_x(i).then(|| at(v)).flatten()).collect();
                let y: Vec<_> = s.y.iter().enumerate().map(|(i, &v)| s.reads_y(i).then(|| at(v)).flatten()).collect();
                let dy = s.dy.and_then(at);
                let mut writes: Vec<Write> = Vec::new();
                for (i, v) in s.out.iter().enumerate() {
                    let Some(p) = v.and_then(at) else { continue };
                    let part = Part { operand: i, offset: p.offset, len: p.len };
                    match writes.iter_mut().find(|w| w.buffer == p.buffer) {
                        Some(w) => w.parts.push(part),
                        None => writes.push(Write { buffer: p.buffer, parts: vec![part] }),
                    }
                }
                writes.iter_mut().for_each(|w| w.parts.sort_by_key(|part| part.offset));
                let read = x.iter().chain(&y).chain([&dy]).flatten();
                for r in read {
                    assert!(
                        writes.iter().all(|w| w.buffer != r.buffer),
                        "{}: {} reads and writes buffer {}",
                        s.at,
                        s.op.name(),
                        r.buffer
                    );
                }
                let scratch = s.op.scratch(s.pass, &xs, &ys, s.wants);
                Prepared { xs, ys, x, y, dy, writes, scratch }
            })
            .collect();
        let scratch = Buffer::new(steps.iter().map(|s| s.scratch).max().unwrap_or(0));
        let pool = sizes.into_iter().map(Buffer::new).collect();
        Plan { tape, steps, place, pool, scratch }
    }

    fn slot(&self, v: Var) -> Place {
        let p = self.place[v.0 as usize].expect("the value belongs to this plan");
        assert!(p.buffer >= ARENAS, "parameters are read from the store");
        p
    }

    /// The buffer of an input (to write) .
    pub fn feed(&mut self, v: Var) -> &mut [T] {
        assert!(self.tape.values[v.0 as usize].home == Home::Input, "only inputs are fed");
        let p = self.slot(v);
        &mut self.pool[p.buffer - ARENAS][..p.len]
    }

    /// The value of an input or of a fetched variable after a run.
    pub fn fetch(&self, v: Var) -> &[T] {
        let p = self.slot(v);
        &self.pool[p.buffer - ARENAS][..p.len]
    }

    /// One number that was fetched.
    pub fn scalar(&self, v: Var) -> f64 {
        self.fetch(v)[0].f64()
    }

    pub fn shape(&self, v: Var) -> Shape {
        self.tape.shape(v)
    }

    /// Run every step in order.
    pub fn run(&mut self, store: &mut ParamStore<T>) {
        (0..self.steps.len()).for_each(|i| self.exec(i, store));
    }

    /// Run, adding up the time of every op and pass: `(name, pass, seconds)`, longest first.
    pub fn run_timed(&mut self, store: &mut ParamStore<T>) -> Vec<(&'static str, Pass, f64)> {
        let mut rows: Vec<(&'static str, Pass, Duration)> = Vec::new();
        for i in 0..self.steps.len() {
            let start = std::time::Instant::now();
            self.exec(i, store);
            let (t, s) = (start.elapsed(), &self.tape.steps[i]);
            match rows.iter_mut().find(|r| r.0 == s.op.name() && r.1 == s.pass) {
                Some(r) => r.2 += t,
                None => rows.push((s.op.name(), s.pass, t)),
            }
        }
        rows.sort_by_key(|r| std::cmp::Reverse(r.2));
        rows.into_iter().map(|(n, p, t)| (n, p, t.as_secs_f64())).collect()
    }

    /// One step, in safe code: take the written buffers out of their places, borrow the read ones, put them back.
    fn exec(&mut self, i: usize, store: &mut ParamStore<T>) {
        let (step, prepared) = (&self.tape.steps[i], &self.steps[i]);
        let mut taken: [Buffer<T>; MAX] = Default::default();
        for (Write { buffer, .. }, t) in prepared.writes.iter().zip(&mut taken) {
            *t = match buffer.checked_sub(ARENAS) {
                Some(slot) => std::mem::take(&mut self.pool[slot]),
                None => std::mem::take(&mut store.arenas[*buffer]),
            };
        }
        {
            let (pool, arenas) = (&self.pool, &store.arenas);
            let read = |p: &Option<Place>| -> &[T] {
                let Some(p) = p else { return &[] };
                let b = match p.buffer.checked_sub(ARENAS) {
                    Some(slot) => &pool[slot],
                    None => &arenas[p.buffer],
                };
                &b[p.offset..p.offset + p.len]
            };
            let mut out: [&mut [T]; MAX] = Default::default();
            for (Write { parts, .. }, buffer) in prepared.writes.iter().zip(&mut taken) {
                let (mut rest, mut base) = (&mut buffer[..], 0);
                for &Part { operand, offset, len } in parts {
                    let (_, tail) = rest.split_at_mut(offset - base);
                    let (mine, tail) = tail.split_at_mut(len);
                    out[operand] = mine;
                    (rest, base) = (tail, offset + len);
                }
            }
            let pick = |ps: &[Option<Place>], i: usize| ps.get(i).map_or(&[][..], read);
            let host = Host {
                xs: &prepared.xs,
                ys: &prepared.ys,
                x: std::array::from_fn(|i| pick(&prepared.x, i)),
                y: std::array::from_fn(|i| pick(&prepared.y, i)),
                dy: read(&prepared.dy),
                out,
                scratch: &mut self.scratch[..prepared.scratch],
            };
            T::run(&*step.op, step.pass, host);
        }
        for (Write { buffer, .. }, t) in prepared.writes.iter().zip(&mut taken) {
            let home = match buffer.checked_sub(ARENAS) {
                Some(slot) => &mut self.pool[slot],
                None => &mut store.arenas[*buffer],
            };
            *home = std::mem::take(t);
        }
    }

    /// Bytes of all buffers that this plan owns.
    pub fn bytes(&self) -> usize {
        self.pool.iter().map(Buffer::bytes).sum::<usize>() + self.scratch.bytes()
    }

    /// Number of steps.
    pub fn len(&self) -> usize {
        self.steps.len()
    }
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// Check that no two values that are alive at the same time share memory; the name of the first offender otherwise.
    pub fn audit(&self, fetch: &[Var]) -> Result<(), String> {
        let n = self.tape.values.len();
        let (mut first, mut last) = (vec![usize::MAX; n], vec![0usize; n]);
        for (i, s) in self.tape.steps.iter().enumerate() {
            s.out.iter().flatten().for_each(|v| first[v.0 as usize] = first[v.0 as usize].min(i));
            s.reads().chain(s.out.iter().flatten().copied()).for_each(|v| last[v.0 as usize] = i);
        }
        fetch.iter().for_each(|v| last[v.0 as usize] = usize::MAX);
        let live: Vec<usize> = (0..n).filter(|&v| first[v] != usize::MAX || self.tape.values[v].home == Home::Input).collect();
        for (k, &a) in live.iter().enumerate() {
            for &b in &live[k + 1..] {
                let (Some(pa), Some(pb)) = (self.place[a], self.place[b]) else { continue };
                let input = |v: usize| self.tape.values[v].home == Home::Input;
                let (fa, fb) = (if input(a) { 0 } else { first[a] }, if input(b) { 0 } else { first[b] });
                let (la, lb) = (if input(a) { usize::MAX } else { last[a] }, if input(b) { usize::MAX } else { last[b] });
                let apart = pa.buffer != pb.buffer || pa.offset + pa.len <= pb.offset || pb.offset + pb.len <= pa.offset;
                let arena = pa.buffer < ARENAS;
                if !apart && !arena && fa <= lb && fb <= la {
                    return Err(format!("values {a} and {b} share buffer {} while both are alive", pa.buffer));
                }
            }
        }
        Ok(())
    }
}
