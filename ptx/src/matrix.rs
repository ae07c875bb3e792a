//! Tensor core instructions: whole warps move and multiply matrices.

use super::access::{Request, Resolved, Target, addresses, known, quad};
use super::fault::{FaultKind, Raised, raise};
use super::lanes::{put_l, put_w};
use super::num::half::TF32_CUT;
use super::num::matrix;
use super::num::mma::{Element, Mma};
use super::observe::AccessKind;
use super::op::{Bank, Code, Extra, MatrixOp, Mem, Op, ProductOp};
use super::pattern::Lanes;
use super::race::Touch;
use super::simd::at_level;
use super::source::Space;
use super::state::{Exec, Issue, Regs, Warp};
use super::watch::Touching;

/// The stride of a matrix in memory must be a multiple of this many bytes. The PTX ISA aligns rows to a lane's share of the
/// fragment, which may be 32 bytes; the CUDA guide promises that 16 are enough.
const ROW: u32 = 16;

const NO_LANES: [u32; 32] = [0; 32];

at_level! {
    /// [`Exec::ldmatrix`], compiled for the level.
    fn ldmatrix(x: &mut Exec, w: &mut Warp, r: &mut Regs, i: Issue) -> Raised = Exec::ldmatrix;
    /// [`Exec::mma`], compiled for the level.
    fn mma(x: &mut Exec, w: &Warp, r: &mut Regs, i: Issue) -> Raised = Exec::mma;
}

impl Exec<'_> {
    /// `ldmatrix`, `movmatrix`, `mma` and the operands of `wmma`, with all 32 lanes present.
    pub fn matrix(&mut self, w: &mut Warp, r: &mut Regs, i: Issue) -> Raised {
        match i.op.code {
            Code::LdMatrix => self.level.ldmatrix(self, w, r, i),
            Code::StMatrix => self.stmatrix(w, r, i),
            Code::MovMatrix => {
                movmatrix(r, i.op);
                Ok(())
            }
            Code::Tile => self.tile(w, r, i),
            _ => match &self.program.extras[i.op.x as usize] {
                Extra::Product(m) => self.product(w, r, i, m),
                _ => self.level.mma(self, w, r, i),
            },
        }
    }

    /// `ldmatrix`: up to four 8×8 matrices of 16-bit elements from shared memory.
    #[inline(always)]
    pub fn ldmatrix(&mut self, w: &mut Warp, r: &mut Regs, i: Issue) -> Raised {
        let Issue { op, pc, frame, .. } = i;
        let mem = self.program.mems[op.c as usize];
        let n = mem.count as usize;
        // Lanes 8·i to 8·i + 7 point to the rows of matrix i.
        let lanes = if n == 4 { !0 } else { (1u32 << (8 * n)) - 1 };
        if op.x == 0 && self.ldmatrix_plain(r, i, &mem, w.index, lanes)? {
            return Ok(());
        }
        let a = addresses(r, op, mem.address64);
        let t = r.taint(if mem.address64 { Bank::L } else { Bank::W }, op.a) & lanes;
        if t != 0 {
            return raise(FaultKind::Uninitialised { used_as: "an address" }, t.trailing_zeros());
        }
        let mut rows = [[0u32; 4]; 32];
        // A bit for each 4-byte word of a row that holds something unwritten.
        let mut unknown = [0u8; 32];
        let row = Request { space: Some(Space::Shared), bytes: 16, write: false };
        let mut targets = [(Target::Shared, 0); 32];
        for i in 0..8 * n {
            targets[i] = self.resolve(w, frame, row, a[i], i as u32)?;
            let at = targets[i].1;
            for k in 0..4 {
                rows[i][k] = self.shared.get(at + 4 * k, 4) as u32;
            }
            if self.initcheck && !self.shared.is_known(at, 16) {
                unknown[i] = (0..4).fold(0, |u, k| u | (!self.shared.is_known(at + 4 * k, 4) as u8) << k);
            }
        }
        let where_to = Resolved { warp: w.index, pc, m: lanes, bytes: 16, targets: &targets };
        self.tell(&where_to, &a, AccessKind::Read)?;
        self.watch(&where_to, Touch::Read, &|_, _| true)?;
        let mut out = [NO_LANES; 4];
        let trans = op.x != 0;
        matrix::ldmatrix(&rows[..8 * n], trans, &mut out[..n]);
        for k in 0..n {
            put_w(&mut r.w[mem.regs[k] as usize], !0, &out[k]);
            if unknown != [0; 32] || r.tainted {
                let of = |row: usize, word: usize| unknown[8 * k + row] >> word & 1 != 0;
                let taint = (0..32).fold(0, |t, lane: usize| {
                    let bad = if trans {
                        let (i, word) = (lane % 4 * 2, lane / 8);
                        of(i, word) || of(i + 1, word)
                    } else {
                        of(lane / 4, lane % 4)
                    };
                    t | (bad as u32) << lane
                });
                r.set_taint(Bank::W, mem.regs[k], !0, taint);
            }
        }
        Ok(())
    }

    /// `stmatrix`: up to four 8×8 matrices of 16-bit elements to shared memory; the layout is that of `ldmatrix`.
    fn stmatrix(&mut self, w: &mut Warp, r: &mut Regs, i: Issue) -> Raised {
        let Issue { op, pc, frame, .. } = i;
        let mem = self.program.mems[op.c as usize];
        let n = mem.count as usize;
        let lanes = if n == 4 { !0 } else { (1u32 << (8 * n)) - 1 };
        let a = addresses(r, op, mem.address64);
        let t = r.taint(if mem.address64 { Bank::L } else { Bank::W }, op.a) & lanes;
        if t != 0 {
            return raise(FaultKind::Uninitialised { used_as: "an address" }, t.trailing_zeros());
        }
        let row = Request { space: Some(Space::Shared), bytes: 16, write: true };
        let mut targets = [(Target::Shared, 0); 32];
        for i in 0..8 * n {
            targets[i] = self.resolve(w, frame, row, a[i], i as u32)?;
        }
        let where_to = Resolved { warp: w.index, pc, m: lanes, bytes: 16, targets: &targets };
        self.tell(&where_to, &a, AccessKind::Write)?;
        self.watch(&where_to, Touch::Write, &|_, _| false)?;
        for k in 0..n {
            let x = r.w[mem.regs[k] as usize].0;
            for lane in 0..32 {
                let undefined = if self.initcheck { r.undefined(Bank::W, mem.regs[k], lane) } else { 0 };
                for half in 0..2 {
                    let clean = undefined >> (16 * half) & 0xffff == 0;
                    // With `.trans`, the pair of a lane lies in a column.
                    let (row, column) = (lane / 4, lane % 4 * 2 + half);
                    let (row, column) = if op.x != 0 { (column, row) } else { (row, column) };
                    let at = targets[8 * k + row].1 + 2 * column;
                    self.shared.set(at, 2, (x[lane] >> (16 * half) & 0xffff) as u64, clean);
                }
            }
        }
        Ok(())
    }

    /// The fast path: rows inside shared memory that were written, no `.trans`. Returns false, with nothing done, for anything
    /// else.
    #[inline(always)]
    fn ldmatrix_plain(&mut self, r: &mut Regs, i: Issue, mem: &Mem, warp: u32, lanes: u32) -> Raised<bool> {
        if r.tainted || self.watched() {
            return Ok(false);
        }
        let Some(a) = self.inside_shared(r, i.op, mem, 16, lanes) else { return Ok(false) };
        if self.initcheck && self.shared.unknown > 0 && !known(&self.shared, |i| a[i] as usize, lanes, 16) {
            return Ok(false);
        }
        self.tick();
        if let Some(watch) = &mut self.watch {
            let by = Touching { touch: Touch::Read, warp, pc: i.pc, bytes: 16, same: &|_, _| true };
            let found = watch.shared(&by, &Lanes::narrow(&a, lanes));
            self.shared_race(found)?;
        }
        for k in 0..mem.count as usize {
            let d = &mut r.w[mem.regs[k] as usize].0;
            // A row goes to four lanes, a word to each.
            for i in 0..8 {
                d[4 * i..4 * i + 4].copy_from_slice(&quad(&self.shared.data, a[8 * k + i] as usize));
            }
        }
        Ok(true)
    }

    /// Checks the operands of a `wmma` load or store: one address and one stride for all lanes, both aligned as the hardware
    /// needs.
    fn tile(&mut self, w: &Warp, r: &Regs, i: Issue) -> Raised {
        let Issue { op, frame, .. } = i;
        let Extra::Tile(tile) = &self.program.extras[op.x as usize] else { unreachable!("a tile is described") };
        let t = r.taint(Bank::L, op.a) | r.taint(Bank::W, op.b);
        if t != 0 {
            return raise(FaultKind::Uninitialised { used_as: "an address" }, t.trailing_zeros());
        }
        let (base, stride) = (&r.l[op.a as usize].0, &r.w[op.b as usize].0);
        if let Some(i) = (1..32).find(|&i| (base[i], stride[i]) != (base[0], stride[0])) {
            let why = "the lanes of a warp disagree on the address or the stride of a matrix".to_string();
            return raise(FaultKind::Operand { why }, i as u32);
        }
        if !(stride[0] as u64 * tile.bits as u64).is_multiple_of(8 * ROW as u64) {
            let of = if tile.bits < 8 { format!("{} bits", tile.bits) } else { format!("{} bytes", tile.bits / 8) };
            let why = format!("a stride of {} elements of {of}; it must be a multiple of {ROW} bytes", stride[0]);
            return raise(FaultKind::Operand { why }, 0);
        }
        let address = base[0].wrapping_add(op.imm as i64 as u64);
        self.resolve(w, frame, Request { space: tile.space, bytes: tile.align, write: tile.write }, address, 0)?;
        Ok(())
    }

    /// `mma.sync`: D = A·B + C of a warp.
    #[inline(always)]
    pub fn mma(&mut self, w: &Warp, r: &mut Regs, i: Issue) -> Raised {
        let Issue { op, pc, .. } = i;
        let program = self.program;
        let Extra::Mma(m) = &program.extras[op.x as usize] else { unreachable!("a multiplication is described") };
        let shape = Mma::new(m.element, m.half_sum, m.k, self.tensor).expect("decoded from an existing shape");
        let [d, a, b, c] = &m.regs;
        // At most four registers each.
        let regs = |slots: &[u16]| {
            let mut out = [&NO_LANES; 4];
            for (o, &slot) in out.iter_mut().zip(slots) {
                *o = &r.w[slot as usize].0;
            }
            out
        };
        let (fa, fb, fc, mut fd) = (regs(a), regs(b), regs(c), [NO_LANES; 4]);
        let (fa, fb, fc) = (&fa[..a.len()], &fb[..b.len()], &fc[..c.len()]);
        if self.tf32check && m.element == Element::Tf32 {
            let seen = fa.iter().chain(fb).flat_map(|x| x.iter()).fold(0, |seen, x| seen | x);
            if seen & TF32_CUT != 0 {
                unrounded(r, [("A", a), ("B", b)]).or_else(|e| self.admit(e, w.index, pc))?;
            }
        }
        self.level.multiply(&shape, fa, fb, fc, &mut fd[..d.len()]);
        for (x, &slot) in fd.iter().zip(d) {
            put_w(&mut r.w[slot as usize], !0, x);
        }
        if r.tainted {
            taint(r, m);
        }
        if let Some(o) = &mut self.observer {
            o.matrix(w.index, pc as u32, shape.macs());
        }
        if let Some(watch) = &mut self.watch {
            watch.matrix(pc, shape.macs());
        }
        Ok(())
    }
}

impl Exec<'_> {
    /// [`Exec::mma`] for integers, bits, eight-bit floats and f64.
    fn product(&mut self, w: &Warp, r: &mut Regs, i: Issue, m: &ProductOp) -> Raised {
        let p = &m.product;
        let bank = if p.double() { Bank::L } else { Bank::W };
        let value =
            |&slot: &u16| -> [u64; 32] { if p.double() { r.l[slot as usize].0 } else { r.w[slot as usize].0.map(u64::from) } };
        let [d, a, b, c] = &m.regs;
        let values = |list: &[u16]| list.iter().map(value).collect::<Vec<_>>();
        let out = p.multiply(&values(a), &values(b), &values(c), self.tensor);
        let mut taint = vec![0u32; d.len()];
        if r.tainted {
            let (mut rows, mut columns) = (0u32, 0u32);
            for lane in 0..32 {
                let marked = |&(_, &slot): &(usize, &u16)| r.taint(bank, slot) >> lane & 1 != 0;
                a.iter().enumerate().filter(marked).for_each(|(k, _)| rows |= 1 << p.a_at(lane, k, 0).0);
                b.iter().enumerate().filter(marked).for_each(|(k, _)| columns |= 1 << p.b_at(lane, k, 0).1);
            }
            for (k, t) in taint.iter_mut().enumerate() {
                *t = r.taint(bank, c[k]);
                for lane in 0..32 {
                    let spoiled = |(i, j): matrix::At| rows >> i & 1 != 0 || columns >> j & 1 != 0;
                    *t |= ((spoiled(p.c_at(lane, k, 0)) || spoiled(p.c_at(lane, k, 1))) as u32) << lane;
                }
            }
        }
        for ((x, &slot), t) in out.iter().zip(d).zip(taint) {
            if p.double() {
                put_l(&mut r.l[slot as usize], !0, x);
            } else {
                put_w(&mut r.w[slot as usize], !0, &x.map(|x| x as u32));
            }
            r.set_taint(bank, slot, !0, t);
        }
        if let Some(o) = &mut self.observer {
            o.matrix(w.index, i.pc as u32, p.macs());
        }
        if let Some(watch) = &mut self.watch {
            watch.matrix(i.pc, p.macs());
        }
        Ok(())
    }
}

/// Raises a fault if an initialised operand has bits that tf32 does not have: the tensor core would ignore them.
#[cold]
fn unrounded(r: &Regs, operands: [(&'static str, &Vec<u16>); 2]) -> Raised {
    for (operand, slots) in operands {
        for &slot in slots {
            let (x, taint) = (&r.w[slot as usize].0, r.tw[slot as usize]);
            if let Some(lane) = (0..32).find(|&i| x[i] & TF32_CUT != 0 && taint >> i & 1 == 0) {
                return raise(FaultKind::Tf32 { operand, bits: x[lane] }, lane as u32);
            }
        }
    }
    Ok(())
}

/// The transpose of an 8×8 matrix of 16-bit elements, two of a row to a lane.
fn movmatrix(r: &mut Regs, op: &Op) {
    let (a, t) = (r.w[op.a as usize].0, r.tw[op.a as usize]);
    let rows: [[u32; 4]; 8] = std::array::from_fn(|i| std::array::from_fn(|k| a[4 * i + k]));
    let mut out = [NO_LANES];
    matrix::ldmatrix(&rows, true, &mut out);
    put_w(&mut r.w[op.d as usize], !0, &out[0]);
    if r.tainted {
        // Lane 4·g + t holds elements of rows 2t and 2t + 1, column g.
        let of = |row: usize, column: usize| t >> (4 * row + column / 2) & 1;
        let taint = (0..32).fold(0, |s, lane| s | (of(lane % 4 * 2, lane / 4) | of(lane % 4 * 2 + 1, lane / 4)) << lane);
        r.set_taint(Bank::W, op.d, !0, taint);
    }
}

/// A row of A, or a column of B, that holds something unwritten spoils the row, or the column, of D.
fn taint(r: &mut Regs, m: &MatrixOp) {
    let [d, a, b, c] = &m.regs;
    let (mut rows, mut columns) = (0u32, 0u32);
    let wide = m.element == Element::Tf32;
    for lane in 0..32 {
        for (k, &slot) in a.iter().enumerate() {
            if r.tw[slot as usize] >> lane & 1 != 0 {
                rows |= 1 << if wide { matrix::a32(lane, k).0 } else { matrix::a16(lane, k, 0).0 };
            }
        }
        for (k, &slot) in b.iter().enumerate() {
            if r.tw[slot as usize] >> lane & 1 != 0 {
                columns |= 1 << if wide { matrix::b32(lane, k).1 } else { matrix::b16(lane, k, 0).1 };
            }
        }
    }
    let old: Vec<u32> = c.iter().map(|&slot| r.tw[slot as usize]).collect();
    for (k, &slot) in d.iter().enumerate() {
        let mut t = old[k];
        for lane in 0..32 {
            let spoiled = |(i, j): matrix::At| rows >> i & 1 != 0 || columns >> j & 1 != 0;
            let bad = if m.half_sum {
                spoiled(matrix::c16(lane, k, 0)) || spoiled(matrix::c16(lane, k, 1))
            } else {
                spoiled(matrix::c32(lane, k))
            };
            t |= (bad as u32) << lane;
        }
        r.set_taint(Bank::W, slot, !0, t);
    }
}
