//! The fast paths of loads and stores, for components of four bytes and clean registers. A path checks all lanes at once. For
//! whatever is unusual a path returns false, with nothing done, and the caller goes lane by lane with [`Exec::access`].

use super::access::{addresses, extent, known, quad, same_words};
use super::fault::Raised;
use super::lanes::put_w;
use super::mem::Bytes;
use super::op::{Mem, Op, SINK};
use super::pattern::Lanes;
use super::race::Touch;
use super::simd::transpose;
use super::state::{Exec, Issue, Regs};
use super::watch::Touching;

/// Whether lane i's address is the first plus 4·i.
#[inline(always)]
fn contiguous(at: &impl Fn(usize) -> usize) -> bool {
    let mut off = 0;
    for i in 0..32 {
        off |= at(i) ^ at(0).wrapping_add(4 * i);
    }
    off == 0
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
        // An array, not `map`: the body of a closure is compiled without the wide registers of the level.
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

impl Exec<'_> {
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

    /// A load from shared memory.
    #[inline(always)]
    pub fn load_shared(&mut self, r: &mut Regs, i: Issue, warp: u32) -> Raised<bool> {
        let Issue { op, pc, m, .. } = i;
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
            let by = Touching { touch: Touch::Read, warp, pc, bytes: size, same: &|_, _| true };
            let found = watch.shared(&by, &Lanes::narrow(&a, m));
            self.shared_race(found)?;
        }
        gather(&self.shared.data, |i| a[i] as usize, m, r, mem);
        Ok(true)
    }

    /// A store to shared memory.
    #[inline(always)]
    pub fn store_shared(&mut self, r: &mut Regs, i: Issue, warp: u32) -> Raised<bool> {
        let Issue { op, pc, m, .. } = i;
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
            let by = Touching { touch: Touch::Write, warp, pc, bytes: size, same: &|i, k| same_words(r, mem, i, k) };
            let found = watch.shared(&by, &Lanes::narrow(&a, m));
            self.shared_race(found)?;
        }
        scatter(&mut self.shared, |i| a[i] as usize, m, r, mem);
        Ok(true)
    }

    /// A load from global memory.
    #[inline(always)]
    pub fn load_global(&mut self, r: &mut Regs, i: Issue, warp: u32) -> Raised<bool> {
        let Issue { op, pc, m, .. } = i;
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
            let by = Touching { touch: Touch::Read, warp, pc, bytes: size, same: &|_, _| true };
            let found = watch.global(&by, hit.buffer, &Lanes::new(&a, m));
            self.global_race(found, hit.buffer)?;
        }
        gather(&self.global.buffers[hit.buffer].bytes.data, |i| a[i] as usize, m, r, mem);
        Ok(true)
    }

    /// A store to global memory.
    #[inline(always)]
    pub fn store_global(&mut self, r: &mut Regs, i: Issue, warp: u32) -> Raised<bool> {
        let Issue { op, pc, m, .. } = i;
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
            let by = Touching { touch: Touch::Write, warp, pc, bytes: size, same: &|i, k| same_words(r, mem, i, k) };
            let found = watch.global(&by, hit.buffer, &Lanes::new(&a, m));
            self.global_race(found, hit.buffer)?;
        }
        self.epoch += 1;
        scatter(&mut self.global.buffers[hit.buffer].bytes, |i| a[i] as usize, m, r, mem);
        Ok(true)
    }
}
