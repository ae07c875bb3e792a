//! Loads, stores and atomics. Each common form has a fast path that checks a warp at once and declines
//! whatever is unusual; [`Exec::access`] then goes lane by lane, with every check and a precise report.

use super::decode::strong;
use super::exec::{Exec, lanes_of, put_l, put_w};
use super::fault::{FaultKind, Place, Raised, raise};
use super::mem::{Bytes, LOCAL_WINDOW, PARAM_WINDOW, SHARED_WINDOW, Window};
use super::num::float::atomic_add;
use super::num::half::{self, Half};
use super::observe::{Access, AccessKind, Memory};
use super::op::{Atom, AtomOp, AtomType, Bank, Code, Extra, Mem, Op, SINK};
use super::pattern::Lanes;
use super::race::{self, Conflict, Touch};
use super::simd::transpose;
use super::source::Space;
use super::state::{Regs, Warp};
use super::watch;

/// Where a lane's address leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    Buffer(usize),
    Shared,
    Local,
    /// Of the frame.
    Param,
    /// Of the kernel.
    Kernel,
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

/// Whether lane i's address is the first plus 4·i.
#[inline(always)]
fn contiguous(at: &impl Fn(usize) -> usize) -> bool {
    let mut off = 0;
    for i in 0..32 {
        off |= at(i) ^ at(0).wrapping_add(4 * i);
    }
    off == 0
}

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

/// Four-byte components from memory to registers, `at` already checked.
#[inline(always)]
fn gather(data: &[u8], at: impl Fn(usize) -> usize, m: u32, r: &mut Regs, mem: &Mem) {
    if mem.count == 1 {
        let d = &mut r.w[mem.regs[0] as usize].0;
        if m == !0 && contiguous(&at) {
            let s = &data[at(0)..at(0) + 128];
            for i in 0..32 {
                d[i] = u32::from_le_bytes(s[4 * i..4 * i + 4].try_into().expect("four bytes"));
            }
        } else {
            for i in 0..32 {
                if m >> i & 1 != 0 {
                    d[i] = word(data, at(i));
                }
            }
        }
        return;
    }
    if mem.count == 4
        && m == !0
        && let Ok(to) =
            r.w.get_disjoint_mut([mem.regs[0] as usize, mem.regs[1] as usize, mem.regs[2] as usize, mem.regs[3] as usize])
    {
        for q in 0..8 {
            let rows = transpose([
                quad(data, at(4 * q)),
                quad(data, at(4 * q + 1)),
                quad(data, at(4 * q + 2)),
                quad(data, at(4 * q + 3)),
            ]);
            for k in 0..4 {
                to[k].0[4 * q..4 * q + 4].copy_from_slice(&rows[k]);
            }
        }
        return;
    }
    let mut out = [[0u32; 32]; 4];
    for i in 0..32 {
        if m >> i & 1 != 0 {
            if mem.count == 4 {
                [out[0][i], out[1][i], out[2][i], out[3][i]] = quad(data, at(i));
            } else {
                (out[0][i], out[1][i]) = (word(data, at(i)), word(data, at(i) + 4));
            }
        }
    }
    for k in 0..mem.count as usize {
        if mem.regs[k] != SINK {
            put_w(&mut r.w[mem.regs[k] as usize], m, &out[k]);
        }
    }
}

#[inline(always)]
fn word(data: &[u8], at: usize) -> u32 {
    let s = &data[at..at + 4];
    u32::from_le_bytes([s[0], s[1], s[2], s[3]])
}

#[inline(always)]
pub(crate) fn quad(data: &[u8], at: usize) -> [u32; 4] {
    let s: &[u8; 16] = data[at..at + 16].try_into().expect("16 bytes");
    bytemuck::cast(*s)
}

/// Four-byte components from registers to memory. The highest lane wins where addresses coincide.
#[inline(always)]
fn scatter(b: &mut Bytes, at: impl Fn(usize) -> usize, m: u32, r: &Regs, mem: &Mem) {
    let n = mem.count as usize;
    if n == 1 {
        let s = &r.w[mem.regs[0] as usize].0;
        if m == !0 && contiguous(&at) {
            let at = at(0);
            let d = &mut b.data[at..at + 128];
            for i in 0..32 {
                d[4 * i..4 * i + 4].copy_from_slice(&s[i].to_le_bytes());
            }
            b.mark(at, 128);
            return;
        }
        for i in 0..32 {
            if m >> i & 1 != 0 {
                b.data[at(i)..at(i) + 4].copy_from_slice(&s[i].to_le_bytes());
            }
        }
    } else if n == 4 && m == !0 {
        let of = |k: usize| &r.w[mem.regs[k] as usize].0;
        // Not with `map`, whose closure would not be compiled for the wide registers.
        let from = [of(0), of(1), of(2), of(3)];
        for q in 0..8 {
            let row = |k: usize| [from[k][4 * q], from[k][4 * q + 1], from[k][4 * q + 2], from[k][4 * q + 3]];
            let lanes = transpose([row(0), row(1), row(2), row(3)]);
            for i in 0..4 {
                let to = at(4 * q + i);
                b.data[to..to + 16].copy_from_slice(bytemuck::bytes_of(&lanes[i]));
            }
        }
    } else {
        for i in 0..32 {
            if m >> i & 1 != 0 {
                let d = &mut b.data[at(i)..at(i) + 4 * n];
                for k in 0..n {
                    d[4 * k..4 * k + 4].copy_from_slice(&r.w[mem.regs[k] as usize].0[i].to_le_bytes());
                }
            }
        }
    }
    if b.unknown > 0 {
        for i in 0..32 {
            if m >> i & 1 != 0 {
                b.mark(at(i), 4 * n);
            }
        }
    }
}

/// Whether two lanes store the same value.
fn same_words(r: &Regs, mem: &Mem, i: usize, k: usize) -> bool {
    let regs = &mem.regs[..mem.count as usize];
    regs.iter().all(|&s| {
        if mem.wide { r.l[s as usize].0[i] == r.l[s as usize].0[k] } else { r.w[s as usize].0[i] == r.w[s as usize].0[k] }
    })
}

impl Exec<'_> {
    #[inline(always)]
    pub fn shared_race(&self, found: Result<(), Box<Conflict>>) -> Raised {
        found.map_err(|c| watch::report(&c, Place { address: c.at, about: self.about_shared(c.at) }, |a| self.who(a)))
    }

    #[inline(always)]
    pub fn global_race(&self, found: Result<(), Box<Conflict>>, buffer: usize) -> Raised {
        found.map_err(|c| {
            let address = self.global.buffers[buffer].lo + c.at;
            watch::report(&c, Place { address, about: self.global.about(address) }, |a| self.who(a))
        })
    }

    /// A thread and its block, in words.
    fn who(&self, a: &race::Access) -> String {
        let [gx, gy, _] = self.shape.grid;
        let [x, y, z] = [a.block % gx, a.block / gx % gy, a.block / gx / gy];
        let [tx, ty, tz] = self.shape.thread(a.warp, a.lane);
        format!("thread ({tx},{ty},{tz}) of block ({x},{y},{z}), warp {} lane {}", a.warp, a.lane)
    }

    #[inline(always)]
    pub fn watched(&self) -> bool {
        self.observer.is_some()
    }

    /// A memory instruction: a random schedule may stop the warp behind it.
    #[inline(always)]
    pub fn tick(&mut self) {
        if let Some(p) = &mut self.preempt {
            p.tick();
        }
    }

    /// Offsets of a shared access of `size` bytes a lane, if all lie inside and are aligned.
    #[inline(always)]
    pub fn inside_shared(&self, r: &Regs, op: &Op, mem: &Mem, size: u32, m: u32) -> Option<[u32; 32]> {
        let plus = op.imm as u32;
        let first = m.trailing_zeros() as usize & 31;
        let (mut a, mut hi, mut or) = ([0; 32], 0, 0);
        if mem.address64 {
            let base = &r.l[op.a as usize].0;
            let mut wide = 0;
            for i in 0..32 {
                let v = base[if m >> i & 1 != 0 { i } else { first }].wrapping_add(op.imm as i64 as u64);
                a[i] = v as u32;
                wide |= v >> 32;
            }
            if wide != 0 {
                return None;
            }
        } else {
            let base = &r.w[op.a as usize].0;
            for i in 0..32 {
                a[i] = base[i].wrapping_add(plus);
            }
        }
        let lowest = a[first];
        for i in 0..32 {
            let v = if m >> i & 1 != 0 { a[i] } else { lowest };
            hi = hi.max(v);
            or |= v;
        }
        (or & (size - 1) == 0 && hi as u64 + size as u64 <= self.shared.data.len() as u64).then_some(a)
    }

    #[inline(always)]
    pub fn load_shared(&mut self, r: &mut Regs, op: &Op, m: u32, pc: usize, warp: u32) -> Raised<bool> {
        let mem = &self.program.mems[op.c as usize];
        if m == 0 {
            return Ok(true);
        }
        if mem.bytes != 4 || mem.wide || r.tainted || self.watched() {
            return Ok(false);
        }
        let size = 4 * mem.count as u32;
        let Some(a) = self.inside_shared(r, op, mem, size, m) else { return Ok(false) };
        if self.initcheck && self.shared.unknown > 0 && !known(&self.shared, |i| a[i] as usize, m, size as usize) {
            return Ok(false);
        }
        if let Some(watch) = &mut self.watch {
            let found = watch.shared(Touch::Read, warp, pc, &Lanes::narrow(&a, m), size, &|_, _| true);
            self.shared_race(found)?;
        }
        gather(&self.shared.data, |i| a[i] as usize, m, r, mem);
        Ok(true)
    }

    #[inline(always)]
    pub fn store_shared(&mut self, r: &mut Regs, op: &Op, m: u32, pc: usize, warp: u32) -> Raised<bool> {
        let mem = &self.program.mems[op.c as usize];
        if m == 0 {
            return Ok(true);
        }
        if mem.bytes != 4 || mem.wide || r.tainted || self.watched() {
            return Ok(false);
        }
        let size = 4 * mem.count as u32;
        let Some(a) = self.inside_shared(r, op, mem, size, m) else { return Ok(false) };
        if let Some(watch) = &mut self.watch {
            let same = |i, k| same_words(r, mem, i, k);
            let found = watch.shared(Touch::Write, warp, pc, &Lanes::narrow(&a, m), size, &same);
            self.shared_race(found)?;
        }
        scatter(&mut self.shared, |i| a[i] as usize, m, r, mem);
        Ok(true)
    }

    #[inline(always)]
    pub fn load_global(&mut self, r: &mut Regs, op: &Op, m: u32, pc: usize, warp: u32) -> Raised<bool> {
        let mem = &self.program.mems[op.c as usize];
        if m == 0 {
            return Ok(true);
        }
        if mem.bytes != 4 || mem.wide || r.tainted || !mem.address64 || self.watched() {
            return Ok(false);
        }
        let mut a = addresses(r, op, true);
        let size = 4 * mem.count as u32;
        let (lo, hi, or) = extent(&a, m);
        if or & (size as u64 - 1) != 0 {
            return Ok(false);
        }
        let Some(hit) = self.global.hit(lo, hi, size, false, &mut self.hints[op.c as usize]) else { return Ok(false) };
        for v in &mut a {
            *v = v.wrapping_sub(hit.base);
        }
        let bytes = &self.global.buffers[hit.buffer].bytes;
        if self.initcheck && bytes.unknown > 0 && !known(bytes, |i| a[i] as usize, m, size as usize) {
            return Ok(false);
        }
        if let Some(watch) = &mut self.watch {
            let found = watch.global(Touch::Read, warp, pc, hit.buffer, &Lanes::new(&a, m), size, &|_, _| true);
            self.global_race(found, hit.buffer)?;
        }
        gather(&self.global.buffers[hit.buffer].bytes.data, |i| a[i] as usize, m, r, mem);
        Ok(true)
    }

    #[inline(always)]
    pub fn store_global(&mut self, r: &mut Regs, op: &Op, m: u32, pc: usize, warp: u32) -> Raised<bool> {
        let mem = &self.program.mems[op.c as usize];
        if m == 0 {
            return Ok(true);
        }
        if mem.bytes != 4 || mem.wide || r.tainted || self.watched() {
            return Ok(false);
        }
        let mut a = addresses(r, op, true);
        let size = 4 * mem.count as u32;
        let (lo, hi, or) = extent(&a, m);
        if or & (size as u64 - 1) != 0 {
            return Ok(false);
        }
        let Some(hit) = self.global.hit(lo, hi, size, true, &mut self.hints[op.c as usize]) else { return Ok(false) };
        for v in &mut a {
            *v = v.wrapping_sub(hit.base);
        }
        if let Some(watch) = &mut self.watch {
            let found =
                watch.global(Touch::Write, warp, pc, hit.buffer, &Lanes::new(&a, m), size, &|i, k| same_words(r, mem, i, k));
            self.global_race(found, hit.buffer)?;
        }
        scatter(&mut self.global.buffers[hit.buffer].bytes, |i| a[i] as usize, m, r, mem);
        Ok(true)
    }

    /// Any load or store, lane by lane.
    #[inline(never)]
    pub fn access(&mut self, w: &mut Warp, r: &mut Regs, frame: u32, op: &Op, pc: usize, m: u32) -> Raised {
        let mem = self.program.mems[op.c as usize];
        let space = match op.code {
            Code::LdGlobal | Code::StGlobal => Some(Space::Global),
            Code::LdShared | Code::StShared => Some(Space::Shared),
            Code::LdLocal | Code::StLocal => Some(Space::Local),
            Code::LdParam | Code::StParam | Code::LdKernelParam => Some(Space::Param),
            Code::LdStrong | Code::StStrong => strong::space(op.x),
            _ => None,
        };
        let write =
            matches!(op.code, Code::StGlobal | Code::StShared | Code::StLocal | Code::StGeneric | Code::StParam | Code::StStrong);
        let (each, count) = (mem.bytes as usize, mem.count as usize);
        let size = (each * count) as u32;
        let fixed = matches!(op.code, Code::LdParam | Code::StParam);
        let a = if fixed { [op.imm as u64; 32] } else { addresses(r, op, mem.address64) };
        if !fixed {
            let t = r.taint(if mem.address64 { Bank::L } else { Bank::W }, op.a) & m;
            if t != 0 {
                return raise(FaultKind::Uninitialised { used_as: "an address" }, t.trailing_zeros());
            }
        }
        // All addresses are checked before anything moves.
        let mut targets = [(Target::Shared, 0usize); 32];
        for i in lanes_of(m) {
            targets[i] = if fixed {
                let size = self.program.functions[w.frames[frame as usize].function as usize].params as usize;
                (Target::Param, i * size + op.imm as usize)
            } else {
                self.resolve(w, frame, space, a[i], size, write, i as u32)?
            };
        }
        self.tell(w, pc, m, &a, &targets, size, if write { AccessKind::Write } else { AccessKind::Read })?;
        let touch = match op.code {
            Code::LdStrong => Touch::StrongRead,
            Code::StStrong => Touch::StrongWrite,
            _ if write => Touch::Write,
            _ => Touch::Read,
        };
        self.watch(w.index, pc, m, &targets, size, touch, &|i, k| same_words(r, &mem, i, k))?;

        let bank = if mem.wide { Bank::L } else { Bank::W };
        if write {
            for k in 0..count {
                let taint = if self.initcheck { r.taint(bank, mem.regs[k]) } else { 0 };
                for i in lanes_of(m) {
                    let (target, at) = targets[i];
                    let slot = mem.regs[k] as usize;
                    let v = if mem.wide { r.l[slot].0[i] } else { r.w[slot].0[i] as u64 };
                    let clean = taint >> i & 1 == 0;
                    if !clean && matches!(target, Target::Buffer(_)) {
                        return raise(FaultKind::Uninitialised { used_as: "the value of a store to global memory" }, i as u32);
                    }
                    self.put(w, frame, target, at + k * each, each, v, clean, i);
                }
            }
            return Ok(());
        }
        for k in 0..count {
            if mem.regs[k] == SINK {
                continue;
            }
            let (mut v, mut taint) = ([0u64; 32], 0u32);
            for i in lanes_of(m) {
                let (target, at) = targets[i];
                let (x, known) = self.get(w, frame, target, at + k * each, each, i);
                taint |= ((!known && self.initcheck) as u32) << i;
                let up = 64 - 8 * each as u32;
                let x = if mem.signed { (((x << up) as i64) >> up) as u64 } else { x };
                v[i] = if mem.half { x & 0xffff } else { x };
            }
            if mem.wide {
                put_l(&mut r.l[mem.regs[k] as usize], m, &v);
            } else {
                put_w(&mut r.w[mem.regs[k] as usize], m, &v.map(|x| x as u32));
            }
            r.set_taint(bank, mem.regs[k], m, taint);
        }
        Ok(())
    }

    /// Tells the observer, for each memory that the lanes touch.
    #[allow(clippy::too_many_arguments)]
    pub fn tell(
        &mut self,
        w: &Warp,
        pc: usize,
        m: u32,
        a: &[u64; 32],
        targets: &[(Target, usize); 32],
        bytes: u32,
        kind: AccessKind,
    ) -> Raised {
        self.tick();
        let Some(o) = &mut self.observer else { return Ok(()) };
        for memory in [Memory::Global, Memory::Shared, Memory::Local, Memory::Param] {
            let mut mask = 0;
            let mut at = *a;
            for i in lanes_of(m) {
                let (is, offset) = match targets[i] {
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
                let access = Access { kind, memory, warp: w.index, pc: pc as u32, mask, address: &at, bytes };
                o.access(&access).or_else(|(kind, lane)| raise(kind, lane))?;
            }
        }
        Ok(())
    }

    /// Shows the race check and the counters an access, for each memory that the lanes touch.
    #[allow(clippy::too_many_arguments)]
    pub fn watch(
        &mut self,
        warp: u32,
        pc: usize,
        m: u32,
        targets: &[(Target, usize); 32],
        bytes: u32,
        touch: Touch,
        same: &dyn Fn(usize, usize) -> bool,
    ) -> Raised {
        let at = targets.map(|t| t.1 as u64);
        let mut rest = m;
        while rest != 0
            && let Some(watch) = &mut self.watch
        {
            let target = targets[rest.trailing_zeros() as usize].0;
            let mask = lanes_of(rest).filter(|&i| targets[i].0 == target).fold(0u32, |s, i| s | 1 << i);
            rest &= !mask;
            match target {
                Target::Shared => {
                    let found = watch.shared(touch, warp, pc, &Lanes::new(&at, mask), bytes, same);
                    self.shared_race(found)?;
                }
                Target::Buffer(b) => {
                    let found = watch.global(touch, warp, pc, b, &Lanes::new(&at, mask), bytes, same);
                    self.global_race(found, b)?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Finds and checks what an address means. A generic one is taken apart by its window.
    #[allow(clippy::too_many_arguments)]
    pub fn resolve(
        &self,
        w: &Warp,
        frame: u32,
        space: Option<Space>,
        address: u64,
        size: u32,
        write: bool,
        lane: u32,
    ) -> Raised<(Target, usize)> {
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
                let (buffer, at) = self.global.locate(at, size, write, lane)?;
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
        if at % size as u64 != 0 {
            let at = Place { address: at, about: about() };
            return raise(FaultKind::Misaligned { space: name, bytes: size, at }, lane);
        }
        if at >= len || len - at < size as u64 {
            let at = Place { address: at, about: about() };
            return raise(FaultKind::OutOfBounds { space: name, write, bytes: size, at }, lane);
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

    /// A shared offset in words.
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

    #[allow(clippy::too_many_arguments)]
    fn get(&self, w: &Warp, frame: u32, t: Target, at: usize, len: usize, lane: usize) -> (u64, bool) {
        let plain = |b: &Bytes, at: usize| (b.get(at, len), b.is_known(at, len));
        match t {
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

    #[allow(clippy::too_many_arguments)]
    fn put(&mut self, w: &mut Warp, frame: u32, t: Target, at: usize, len: usize, v: u64, known: bool, lane: usize) {
        match t {
            Target::Buffer(i) => self.global.buffers[i].bytes.set(at, len, v, known),
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

// ---- atomics ----

/// The value that an atomic operation stores.
fn combine(a: &Atom, old: u64, b: u64, c: u64, global: bool) -> u64 {
    let float = |x: f64| if x.is_nan() { 0x7fff_ffff_ffff_ffff } else { x.to_bits() };
    let half = |kind: Half, old: u32, b: u32| half::add(old & 0xffff, b & 0xffff, kind);
    match (a.ty, a.op) {
        (_, AtomOp::Exch) => b,
        (_, AtomOp::Cas) => {
            if old == b {
                c
            } else {
                old
            }
        }
        (_, AtomOp::And) => old & b,
        (_, AtomOp::Or) => old | b,
        (_, AtomOp::Xor) => old ^ b,
        (AtomType::F32, AtomOp::Add) => atomic_add(old as u32, b as u32, global) as u64,
        (AtomType::F64, AtomOp::Add) => float(f64::from_bits(old) + f64::from_bits(b)),
        (AtomType::F16, AtomOp::Add) => half(Half::F16, old as u32, b as u32) as u64,
        (AtomType::Bf16, AtomOp::Add) => half(Half::Bf16, old as u32, b as u32) as u64,
        (AtomType::F16x2, AtomOp::Add) => half::x2_2(old as u32, b as u32, |x, y| half(Half::F16, x, y)) as u64,
        (AtomType::Bf16x2, AtomOp::Add) => half::x2_2(old as u32, b as u32, |x, y| half(Half::Bf16, x, y)) as u64,
        (AtomType::U64 | AtomType::S64, AtomOp::Add) => old.wrapping_add(b),
        (_, AtomOp::Add) => (old as u32).wrapping_add(b as u32) as u64,
        (_, AtomOp::Inc) => {
            if old >= b {
                0
            } else {
                old + 1
            }
        }
        (_, AtomOp::Dec) => {
            if old == 0 || old > b {
                b
            } else {
                old - 1
            }
        }
        (AtomType::S32, AtomOp::Min) => (old as i32).min(b as i32) as u32 as u64,
        (AtomType::S32, AtomOp::Max) => (old as i32).max(b as i32) as u32 as u64,
        (AtomType::S64, AtomOp::Min) => (old as i64).min(b as i64) as u64,
        (AtomType::S64, AtomOp::Max) => (old as i64).max(b as i64) as u64,
        (_, AtomOp::Min) => old.min(b),
        (_, AtomOp::Max) => old.max(b),
    }
}

impl Exec<'_> {
    /// Atomic operations of a warp, in order of the lanes.
    pub fn atom(&mut self, w: &mut Warp, r: &mut Regs, frame: u32, op: &Op, pc: usize, m: u32) -> Raised {
        let Extra::Atom(atom) = &self.program.extras[op.x as usize] else { unreachable!("an atomic is described") };
        let atom = *atom;
        let bytes = atom.ty.bytes() as usize;
        let size = (bytes * atom.count as usize) as u32;
        let wide = bytes == 8;
        let bank = if wide { Bank::L } else { Bank::W };
        let t = r.taint(if atom.address64 { Bank::L } else { Bank::W }, op.a) & m;
        if t != 0 {
            return raise(FaultKind::Uninitialised { used_as: "an address" }, t.trailing_zeros());
        }
        let t = (0..atom.count as usize).fold(r.taint(bank, atom.c), |t, k| t | r.taint(bank, atom.b[k])) & m;
        if self.initcheck && t != 0 && (atom.op == AtomOp::Cas || r.taint(bank, atom.b[0]) & m != 0) {
            return raise(FaultKind::Uninitialised { used_as: "an operand of an atomic" }, t.trailing_zeros());
        }
        let a = addresses(r, op, atom.address64);
        let mut targets = [(Target::Shared, 0); 32];
        for i in lanes_of(m) {
            targets[i] = self.resolve(w, frame, atom.space, a[i], size, true, i as u32)?;
        }
        self.tell(w, pc, m, &a, &targets, size, AccessKind::Atomic)?;
        self.watch(w.index, pc, m, &targets, size, Touch::Atomic, &|_, _| true)?;
        for k in 0..atom.count as usize {
            let mut out = [0u64; 32];
            for i in lanes_of(m) {
                let (target, at) = targets[i];
                let at = at + k * bytes;
                let (old, known) = self.get(w, frame, target, at, bytes, i);
                if self.initcheck && !known && atom.op != AtomOp::Exch {
                    return raise(FaultKind::Uninitialised { used_as: "memory of an atomic" }, i as u32);
                }
                let value = |slot: u16| if wide { r.l[slot as usize].0[i] } else { r.w[slot as usize].0[i] as u64 };
                let cut = !0u64 >> (64 - 8 * bytes);
                let (b, c) = (value(atom.b[k]) & cut, value(atom.c) & cut);
                let new = combine(&atom, old, b, c, matches!(target, Target::Buffer(_)));
                self.put(w, frame, target, at, bytes, new, true, i);
                out[i] = old;
            }
            if atom.d[k] != SINK {
                if wide {
                    put_l(&mut r.l[atom.d[k] as usize], m, &out);
                } else {
                    put_w(&mut r.w[atom.d[k] as usize], m, &out.map(|v| v as u32));
                }
                r.set_taint(bank, atom.d[k], m, 0);
            }
        }
        Ok(())
    }
}
