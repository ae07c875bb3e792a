//! Loads and stores lane by lane: what an address means, every check, and precise reports. The common cases never come here: see
//! [`super::fast`].

use super::fault::{FaultKind, Place, Raised, raise};
use super::lanes::{lanes_of, put_l, put_w};
use super::mem::{Bytes, LOCAL_WINDOW, PARAM_WINDOW, SHARED_WINDOW, Window};
use super::observe::{Access, AccessKind, Memory};
use super::op::{Bank, Code, Mem, Op, SINK, strong};
use super::pattern::Lanes;
use super::race::{self, Conflict, Touch};
use super::source::Space;
use super::state::{Exec, Issue, Poll, Regs, Warp};
use super::watch::{self, Touching};

/// The memory that a lane's address lies in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    Buffer(usize),
    Shared,
    Local,
    /// Parameter memory of the frame.
    Param,
    /// The parameters of the kernel.
    Kernel,
}

/// What an instruction wants of memory.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Request {
    /// None: the address is generic.
    pub space: Option<Space>,
    /// Bytes of each lane, of which the address must be a multiple.
    pub bytes: u32,
    pub write: bool,
}

/// A warp's access whose addresses are resolved and checked.
pub(crate) struct Resolved<'a> {
    pub warp: u32,
    pub pc: usize,
    /// The lanes that take part.
    pub m: u32,
    /// Bytes of each lane.
    pub bytes: u32,
    /// For each of these lanes: the memory, and the offset in it.
    pub targets: &'a [(Target, usize); 32],
}

impl Resolved<'_> {
    /// Component `k` of a lane's access, `len` bytes.
    pub fn location(&self, lane: usize, k: usize, len: usize) -> Location {
        let (target, at) = self.targets[lane];
        Location { target, at: at + k * len, len, lane }
    }
}

/// Up to 8 bytes of one lane.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Location {
    pub target: Target,
    pub at: usize,
    pub len: usize,
    pub lane: usize,
}

/// Least and greatest address of the active lanes, and all their bits.
#[inline(always)]
pub(crate) fn extent(a: &[u64; 32], m: u32) -> (u64, u64, u64) {
    let first = a[m.trailing_zeros() as usize & 31];
    let (mut lo, mut hi, mut or) = (u64::MAX, 0, 0);
    for i in 0..32 {
        let v = if m >> i & 1 != 0 { a[i] } else { first };
        lo = lo.min(v);
        hi = hi.max(v);
        or |= v;
    }
    (lo, hi, or)
}

/// The addresses of all lanes: the register, `wide` or not, plus the op's offset.
#[inline(always)]
pub(crate) fn addresses(r: &Regs, op: &Op, wide: bool) -> [u64; 32] {
    let mut a = [0; 32];
    if wide {
        let base = &r.l[op.a as usize].0;
        for i in 0..32 {
            a[i] = base[i].wrapping_add(op.imm as i64 as u64);
        }
    } else {
        let base = &r.w[op.a as usize].0;
        for i in 0..32 {
            a[i] = base[i].wrapping_add(op.imm as u32) as u64;
        }
    }
    a
}

/// Four words at a byte offset.
#[inline(always)]
pub(crate) fn quad(data: &[u8], at: usize) -> [u32; 4] {
    let s: &[u8; 16] = data[at..at + 16].try_into().expect("16 bytes");
    bytemuck::cast(*s)
}

/// Whether two lanes store the same value.
pub(crate) fn same_words(r: &Regs, mem: &Mem, i: usize, k: usize) -> bool {
    let regs = &mem.regs[..mem.count as usize];
    regs.iter().all(|&s| {
        if mem.wide { r.l[s as usize].0[i] == r.l[s as usize].0[k] } else { r.w[s as usize].0[i] == r.w[s as usize].0[k] }
    })
}

/// What lanes load that could not, in a launch that goes on.
#[cold]
fn zero(r: &mut Regs, mem: &Mem, lanes: u32) {
    for &slot in mem.regs[..mem.count as usize].iter().filter(|s| **s != SINK) {
        if mem.wide {
            put_l(&mut r.l[slot as usize], lanes, &[0; 32]);
        } else {
            put_w(&mut r.w[slot as usize], lanes, &[0; 32]);
        }
        r.set_taint(if mem.wide { Bank::L } else { Bank::W }, slot, lanes, 0);
    }
}

impl Exec<'_> {
    /// A race in shared memory, as a fault.
    #[inline(always)]
    pub fn shared_race(&mut self, found: Result<(), Box<Conflict>>) -> Raised {
        found.or_else(|c| self.raced(&c, None))
    }

    /// A race in a buffer, as a fault.
    #[inline(always)]
    pub fn global_race(&mut self, found: Result<(), Box<Conflict>>, buffer: usize) -> Raised {
        found.or_else(|c| self.raced(&c, Some(buffer)))
    }

    #[cold]
    #[inline(never)]
    fn raced(&mut self, c: &Conflict, buffer: Option<usize>) -> Raised {
        let (first, second) = (c.first.pc, c.second.pc);
        if self.findings.as_mut().is_some_and(|f| f.knows_race(first, second)) {
            return Ok(());
        }
        let at = match buffer {
            None => Place { address: c.at, about: self.about_shared(c.at) },
            Some(b) => {
                let address = self.global.buffers[b].lo + c.at;
                Place { address, about: self.global.about(address) }
            }
        };
        let raise = watch::report(c, at, |a| self.who(a));
        self.admit_pair(raise, c.second.warp, second as usize, first)
    }

    /// A thread and its block, in words.
    fn who(&self, a: &race::Access) -> String {
        let [gx, gy, _] = self.shape.grid;
        let [x, y, z] = [a.block % gx, a.block / gx % gy, a.block / gx / gy];
        let [tx, ty, tz] = self.shape.thread(a.warp, a.lane);
        format!("thread ({tx},{ty},{tz}) of block ({x},{y},{z}), warp {} lane {}", a.warp, a.lane)
    }

    /// Whether an observer must see every access: then the fast paths decline.
    #[inline(always)]
    pub fn watched(&self) -> bool {
        self.observer.is_some()
    }

    /// Counts a memory instruction. A random schedule may stop the warp after the instruction.
    #[inline(always)]
    pub fn tick(&mut self) {
        if let Some(p) = &mut self.preempt {
            p.tick();
        }
    }

    /// Any load or store, lane by lane, with every check and a precise report.
    #[inline(never)]
    pub fn access(&mut self, w: &mut Warp, r: &mut Regs, i: Issue) -> Raised {
        let Issue { op, pc, frame, mut m } = i;
        let mem = self.program.mems[op.c as usize];
        let space = match op.code {
            Code::LdGlobal | Code::StGlobal => Some(Space::Global),
            Code::LdShared | Code::StShared => Some(Space::Shared),
            Code::LdLocal | Code::StLocal => Some(Space::Local),
            Code::LdParam | Code::StParam | Code::LdKernelParam => Some(Space::Param),
            Code::LdStrong | Code::StStrong => strong::space(op.x),
            _ => None,
        };
        let write = op.code.stores();
        let bytes = mem.bytes as u32 * mem.count as u32;
        let fixed = matches!(op.code, Code::LdParam | Code::StParam);
        let a = if fixed { [op.imm as u64; 32] } else { addresses(r, op, mem.address64) };
        if !fixed {
            let t = r.taint(if mem.address64 { Bank::L } else { Bank::W }, op.a) & m;
            if t != 0 {
                let found = raise(FaultKind::Uninitialised { used_as: "an address" }, t.trailing_zeros());
                found.or_else(|e| self.admit(e, w.index, pc))?;
                m &= !t;
            }
        }
        // All addresses are checked before anything moves. If the launch goes on after a fault, it does without the lane.
        let mut targets = [(Target::Shared, 0usize); 32];
        for lane in lanes_of(m) {
            targets[lane] = if fixed {
                let size = self.program.functions[w.frames[frame as usize].function as usize].params as usize;
                (Target::Param, lane * size + op.imm as usize)
            } else {
                match self.resolve(w, frame, Request { space, bytes, write }, a[lane], lane as u32) {
                    Ok(target) => target,
                    Err(e) => {
                        self.admit(e, w.index, pc)?;
                        m &= !(1 << lane);
                        continue;
                    }
                }
            };
        }
        if m != i.m && !write {
            zero(r, &mem, i.m & !m);
        }
        if m == 0 {
            return Ok(());
        }
        let resolved = Resolved { warp: w.index, pc, m, bytes, targets: &targets };
        self.tell(&resolved, &a, if write { AccessKind::Write } else { AccessKind::Read })?;
        let touch = match op.code {
            Code::LdStrong => Touch::StrongRead,
            Code::StStrong => Touch::StrongWrite,
            _ if write => Touch::Write,
            _ => Touch::Read,
        };
        self.watch(&resolved, touch, &|i, k| same_words(r, &mem, i, k))?;
        if write {
            return self.store_lanes(w, r, frame, &mem, &resolved);
        }
        self.load_lanes(w, r, frame, &mem, &resolved);
        if touch == Touch::StrongRead {
            self.polls(&resolved);
        }
        Ok(())
    }

    /// Counts a strong read of global memory, or an atomic that changed none: the warp may wait for another that does.
    pub fn polls(&mut self, by: &Resolved) {
        for lane in lanes_of(by.m) {
            if let (Target::Buffer(buffer), at) = by.targets[lane] {
                let (lane, pc, buffer, at) = (lane as u32, by.pc as u32, buffer as u32, at as u64);
                self.poll = Some(Poll { warp: by.warp, lane, pc, buffer, at, bytes: by.bytes });
                self.polls += 1;
                self.polled = true;
                return;
            }
        }
    }

    /// Moves registers to memory that was resolved and checked.
    fn store_lanes(&mut self, w: &mut Warp, r: &Regs, frame: u32, mem: &Mem, to: &Resolved) -> Raised {
        let bank = if mem.wide { Bank::L } else { Bank::W };
        let each = mem.bytes as usize;
        for k in 0..mem.count as usize {
            let taint = if self.initcheck { r.taint_within(bank, mem.regs[k], low(each)) } else { 0 };
            for lane in lanes_of(to.m) {
                let slot = mem.regs[k] as usize;
                let v = if mem.wide { r.l[slot].0[lane] } else { r.w[slot].0[lane] as u64 };
                let at = to.location(lane, k, each);
                if taint >> lane & 1 == 0 {
                    self.put(w, frame, at, v, true);
                } else if matches!(at.target, Target::Buffer(_)) {
                    let found = raise(FaultKind::Uninitialised { used_as: "the value of a store to global memory" }, lane as u32);
                    found.or_else(|e| self.admit(e, to.warp, to.pc))?;
                    self.put(w, frame, at, v, true);
                } else {
                    let undefined = r.undefined(bank, mem.regs[k], lane);
                    for b in 0..each {
                        let known = undefined >> (8 * b) & 0xff == 0;
                        self.put(w, frame, Location { at: at.at + b, len: 1, ..at }, v >> (8 * b) & 0xff, known);
                    }
                }
            }
        }
        Ok(())
    }

    /// Moves memory that was resolved and checked to registers.
    fn load_lanes(&mut self, w: &Warp, r: &mut Regs, frame: u32, mem: &Mem, from: &Resolved) {
        let bank = if mem.wide { Bank::L } else { Bank::W };
        let each = mem.bytes as usize;
        for k in (0..mem.count as usize).filter(|&k| mem.regs[k] != SINK) {
            let (mut v, mut undefined) = ([0u64; 32], [0u64; 32]);
            let extend = |x: u64| {
                let up = 64 - 8 * each as u32;
                let x = if mem.signed { (((x << up) as i64) >> up) as u64 } else { x };
                if mem.half { x & 0xffff } else { x }
            };
            for lane in lanes_of(from.m) {
                let at = from.location(lane, k, each);
                let (x, known) = self.get(w, frame, at);
                v[lane] = extend(x);
                if !known && self.initcheck {
                    let known = |b: &usize| self.get(w, frame, Location { at: at.at + b, len: 1, ..at }).1;
                    undefined[lane] = extend((0..each).filter(|b| !known(b)).fold(0, |u, b| u | 0xff << (8 * b)));
                }
            }
            if mem.wide {
                put_l(&mut r.l[mem.regs[k] as usize], from.m, &v);
            } else {
                put_w(&mut r.w[mem.regs[k] as usize], from.m, &v.map(|x| x as u32));
            }
            r.set_undefined(bank, mem.regs[k], from.m, &undefined);
        }
    }

    /// Tells the observer, once for each kind of memory that the lanes touch.
    pub fn tell(&mut self, by: &Resolved, a: &[u64; 32], kind: AccessKind) -> Raised {
        self.tick();
        let Some(o) = &mut self.observer else { return Ok(()) };
        for memory in [Memory::Global, Memory::Shared, Memory::Local, Memory::Param] {
            let mut mask = 0;
            let mut at = *a;
            for i in lanes_of(by.m) {
                let (is, offset) = match by.targets[i] {
                    (Target::Buffer(_), _) => (Memory::Global, a[i]),
                    (Target::Shared, at) => (Memory::Shared, at as u64),
                    (Target::Local, at) => (Memory::Local, at as u64),
                    (Target::Param | Target::Kernel, at) => (Memory::Param, at as u64),
                };
                if is == memory {
                    mask |= 1 << i;
                    at[i] = offset;
                }
            }
            if mask != 0 {
                let access = Access { kind, memory, warp: by.warp, pc: by.pc as u32, mask, address: &at, bytes: by.bytes };
                o.access(&access).or_else(|(kind, lane)| raise(kind, lane))?;
            }
        }
        Ok(())
    }

    /// Shows the race check and the counters an access, once for each memory or buffer that the lanes touch. `same` says of two
    /// lanes whether they write the same value.
    pub fn watch(&mut self, by: &Resolved, touch: Touch, same: &dyn Fn(usize, usize) -> bool) -> Raised {
        let at = by.targets.map(|t| t.1 as u64);
        let touching = Touching { touch, warp: by.warp, pc: by.pc, bytes: by.bytes, same };
        let mut rest = by.m;
        while rest != 0
            && let Some(watch) = &mut self.watch
        {
            let target = by.targets[rest.trailing_zeros() as usize].0;
            let mask = lanes_of(rest).filter(|&i| by.targets[i].0 == target).fold(0u32, |s, i| s | 1 << i);
            rest &= !mask;
            match target {
                Target::Shared => {
                    let found = watch.shared(&touching, &Lanes::new(&at, mask));
                    self.shared_race(found)?;
                }
                Target::Buffer(b) => {
                    let found = watch.global(&touching, b, &Lanes::new(&at, mask));
                    self.global_race(found, b)?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// What the address of a lane means: the memory, and the offset in it. A generic address is taken apart by its window. An
    /// address that is misaligned, out of bounds or not to be written is a fault.
    pub fn resolve(&self, w: &Warp, frame: u32, want: Request, address: u64, lane: u32) -> Raised<(Target, usize)> {
        let Request { space, bytes, write } = want;
        let (space, at) = match space {
            Some(s) => (s, address),
            None => match self.global.space(address) {
                Window::Shared => (Space::Shared, address - SHARED_WINDOW),
                Window::Local => (Space::Local, address - LOCAL_WINDOW),
                Window::Param => (Space::Param, address),
                Window::Global => (Space::Global, address),
            },
        };
        let (name, len) = match space {
            Space::Global | Space::Const => {
                let (buffer, at) = self.global.locate(at, bytes, write, lane)?;
                return Ok((Target::Buffer(buffer), at));
            }
            Space::Shared => ("shared", self.shared.data.len() as u64),
            Space::Local => {
                let f = &w.frames[frame as usize];
                ("local", (f.local + self.program.functions[f.function as usize].local) as u64)
            }
            Space::Param => ("parameter", self.shape.params.len() as u64),
        };
        let at = if space == Space::Param { at.wrapping_sub(PARAM_WINDOW) } else { at };
        let about = || match space {
            Space::Shared => self.about_shared(at),
            _ => format!("{len} bytes of {name} memory"),
        };
        if at % bytes as u64 != 0 {
            let at = Place { address: at, about: about() };
            return raise(FaultKind::Misaligned { space: name, bytes, at }, lane);
        }
        if at >= len || len - at < bytes as u64 {
            let at = Place { address: at, about: about() };
            return raise(FaultKind::OutOfBounds { space: name, write, bytes, at }, lane);
        }
        let target = match space {
            Space::Shared => Target::Shared,
            Space::Local => Target::Local,
            _ if write => {
                let at = Place { address: at, about: "the kernel's parameters".into() };
                return raise(FaultKind::ReadOnly { at }, lane);
            }
            _ => Target::Kernel,
        };
        Ok((target, at as usize))
    }

    /// An offset in shared memory, described for a report: the variable that it lies in, or the nearest before it.
    pub fn about_shared(&self, at: u64) -> String {
        let total = self.shared.data.len();
        let vars = &self.program.shared_vars;
        if let Some((name, lo, _)) = vars.iter().find(|(_, lo, size)| (*lo as u64..(*lo + *size) as u64).contains(&at)) {
            return format!("`{name}` + {}", at - *lo as u64);
        }
        let dynamic = self.shape.dynamic_at as u64;
        if self.shape.dynamic > 0 && (dynamic..dynamic + self.shape.dynamic as u64).contains(&at) {
            return format!("dynamic shared memory + {}", at - dynamic);
        }
        let near = vars.iter().filter(|(_, lo, _)| (*lo as u64) < at).max_by_key(|(_, lo, _)| *lo);
        let near = near.map(|(name, lo, size)| format!(", past `{name}` (offset {lo}, {size} bytes)")).unwrap_or_default();
        format!("shared memory has {total} bytes{near}")
    }

    /// The bytes of a lane, and whether all of them were written.
    pub fn get(&self, w: &Warp, frame: u32, from: Location) -> (u64, bool) {
        let Location { target, at, len, lane } = from;
        let plain = |b: &Bytes, at: usize| (b.get(at, len), b.is_known(at, len));
        match target {
            Target::Buffer(i) => plain(&self.global.buffers[i].bytes, at),
            Target::Shared => plain(&self.shared, at),
            Target::Local if len == 8 => {
                let ((a, ka), (b, kb)) = (
                    (w.local.get(local(at, lane), 4), w.local.is_known(local(at, lane), 4)),
                    (w.local.get(local(at + 4, lane), 4), w.local.is_known(local(at + 4, lane), 4)),
                );
                (a | b << 32, ka && kb)
            }
            Target::Local => plain(&w.local, local(at, lane)),
            Target::Param => plain(&w.frames[frame as usize].params, at),
            Target::Kernel => {
                let mut b = [0; 8];
                b[..len].copy_from_slice(&self.shape.params[at..at + len]);
                (u64::from_le_bytes(b), true)
            }
        }
    }

    /// Writes the bytes of a lane, and marks them as written or, with `known` false, as not written.
    pub fn put(&mut self, w: &mut Warp, frame: u32, to: Location, v: u64, known: bool) {
        let Location { target, at, len, lane } = to;
        match target {
            Target::Buffer(i) => {
                let bytes = &mut self.global.buffers[i].bytes;
                let same = bytes.get(at, len) == v & (!0 >> (64 - 8 * len)) && bytes.is_known(at, len) == known;
                self.epoch += !same as u64;
                bytes.set(at, len, v, known);
            }
            Target::Shared => self.shared.set(at, len, v, known),
            Target::Local if len == 8 => {
                w.local.set(local(at, lane), 4, v & 0xffff_ffff, known);
                w.local.set(local(at + 4, lane), 4, v >> 32, known);
            }
            Target::Local => w.local.set(local(at, lane), len, v, known),
            Target::Param => w.frames[frame as usize].params.set(at, len, v, known),
            Target::Kernel => unreachable!("resolve refuses to write the kernel's parameters"),
        }
    }
}

/// The bits of this many bytes.
pub(crate) fn low(bytes: usize) -> u64 {
    !0 >> (64 - 8 * bytes)
}

/// Local memory is laid out by words, a warp's lanes side by side.
fn local(at: usize, lane: usize) -> usize {
    (at / 4 * 32 + lane) * 4 + at % 4
}

/// Whether every active lane's bytes were written. Accesses are aligned, so that none lies in two words of the bitmap.
#[inline(always)]
pub(crate) fn known(b: &Bytes, at: impl Fn(usize) -> usize, m: u32, len: usize) -> bool {
    let first = at(m.trailing_zeros() as usize & 31);
    debug_assert!(len.is_power_of_two() && len <= 64 && first.is_multiple_of(len));
    let mut all = !0;
    for i in 0..32 {
        let at = if m >> i & 1 != 0 { at(i) } else { first };
        all &= b.known_from(at);
    }
    let bits = !0 >> (64 - len);
    all & bits == bits
}
