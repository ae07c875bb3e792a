//! `wgmma`: products of warp groups, four warps that multiply 64 rows together. The operands lie in shared memory; the sums, and A if
//! it likes, in registers.
//!
//! A product is told by each of the four warps and done at some time before the `wgmma.wait_group` that covers it. Here that is as
//! late as can be: the first of the four that waits has the operands read, and each adds to its sums when it waits itself. In
//! between the registers of the sums hold no value.

use std::collections::HashMap;
use std::rc::Rc;

use super::descriptor::Matrix;
use super::fault::{FaultKind, Place, Raised, raise};
use super::lanes::lanes_of;
use super::mem::POISON;
use super::num::half::TF32_CUT;
use super::num::matrix;
use super::num::mma::{Element, K, Mma};
use super::op::{Bank, Multiply, Rare, Wgmma};
use super::pattern::matrix_waves;
use super::race::{Teller, Unit};
use super::rare::{initialised, value};
use super::state::{Exec, Flow, Group, Issue, Regs, State, Warp};
use super::units::{Factor, Operands, Product, Products, Sums};

/// Rows of A, and warps that share them.
const ROWS: usize = 64;
const WARPS: u32 = 4;

fn wrong<T>(why: String) -> Raised<T> {
    raise(FaultKind::Warpgroup { why }, None)
}

/// Whether something wrote to registers of sums that are under way.
fn written_meanwhile(r: &Regs, sums: &[u16]) -> Raised {
    match (0..32).find(|&l| sums.iter().any(|&s| r.w[s as usize].0[l] != POISON)) {
        Some(lane) => {
            let why = "a register of its sums was written while a product was under way".into();
            raise(FaultKind::Warpgroup { why }, lane as u32)
        }
        None => Ok(()),
    }
}

impl Exec<'_> {
    /// A `wgmma` instruction.
    pub fn wgmma(&mut self, w: &mut Warp, r: &mut Regs, i: Issue, x: (&Rare, Wgmma), rest: Group) -> Raised<Flow> {
        let (x, what) = x;
        let Issue { pc, frame, m, .. } = i;
        if m != w.live {
            if rest.mask != 0 {
                w.groups.push(rest);
            }
            w.groups.push(Group { frame, pc: pc as u32, mask: m, state: State::Parked, turn: 0 });
            return Ok(Flow::Leave);
        }
        let (group, q) = (w.index / WARPS, (w.index % WARPS) as usize);
        let warps = self.shape.threads().div_ceil(32);
        if warps < WARPS * (group + 1) || m != !0 {
            let some = if m != !0 { "32 lanes of each" } else { "all four warps" };
            return wrong(format!("warps {} to {} are a warp group, and this block has not {some}", 4 * group, 4 * group + 3));
        }
        if let Some(watch) = &mut self.watch {
            watch.sync(w.index, m, w.live);
        }
        if let Some(o) = &mut self.observer {
            o.warp_sync(w.index, m);
        }
        let groups = &mut self.units.products;
        while groups.len() <= group as usize {
            groups.push(Products::default());
        }
        match what {
            Wgmma::Fence => {
                let own = &mut groups[group as usize].warps[q];
                let under_way = |slot: &u16| own.sums.iter().any(|s| s.regs.contains(slot));
                let known = x.reads.iter().map(|(_, slot)| *slot).filter(|s| !under_way(s));
                let mut all: HashMap<u16, [u32; 32]> = known.map(|s| (s, r.w[s as usize].0)).collect();
                // What is under way changes hands between products, and needs no fence.
                if let Some(before) = own.fenced.take() {
                    all.extend(before.into_iter().filter(|(s, _)| under_way(s)));
                }
                own.fenced = Some(all);
            }
            Wgmma::Multiply(what) => self.tell_product(w, r, (x, what), (pc, frame))?,
            Wgmma::Commit => {
                let p = &mut groups[group as usize];
                let told = p.told[q];
                p.warps[q].commits.push_back(told);
            }
            Wgmma::Wait { keep } => {
                let p = &groups[group as usize];
                let commits = &p.warps[q].commits;
                let Some(over) = commits.len().checked_sub(keep as usize).filter(|&n| n > 0) else { return Ok(Flow::Next) };
                let until = commits[over - 1];
                if p.told_by_all() < until {
                    // The product is the four warps' own: it cannot be done before all have told it.
                    if rest.mask != 0 {
                        w.groups.push(rest);
                    }
                    let state = State::Products { group, until };
                    w.groups.push(Group { frame, pc: pc as u32, mask: m, state, turn: 0 });
                    return Ok(Flow::Leave);
                }
                self.finish_products(w.index, r, until, frame)?;
                self.units.products[group as usize].warps[q].commits.drain(..over);
            }
        }
        Ok(Flow::Next)
    }

    /// A warp tells a product.
    fn tell_product(&mut self, w: &Warp, r: &mut Regs, x: (&Rare, Multiply), (pc, frame): (usize, u32)) -> Raised {
        let (x, what) = x;
        let (group, q) = ((w.index / WARPS) as usize, (w.index % WARPS) as usize);
        let same = |o: (Bank, u16), of: &str| -> Raised<u64> {
            initialised(r, &[o], !0, "an operand of wgmma")?;
            let first = value(r, o, 0);
            match (1..32).find(|&l| value(r, o, l) != first) {
                Some(lane) => {
                    let why = format!("the lanes of a warp disagree on {of}");
                    raise(FaultKind::Warpgroup { why }, lane as u32)
                }
                None => Ok(first),
            }
        };
        let b = same(x.reads[0], "the descriptor of B")?;
        let scale = same(x.reads[1], "whether C is added")? != 0;
        let factors = if what.a_regs { 4 } else { 1 };
        let a = if what.a_regs { None } else { Some(same(x.reads[2], "the descriptor of A")?) };
        let of_a: Vec<u16> = if what.a_regs { x.reads[2..6].iter().map(|&(_, s)| s).collect() } else { Vec::new() };
        let sums: Vec<u16> = x.reads[2 + factors..].iter().map(|&(_, s)| s).collect();

        // Registers: behind a fence, or sums of the product before.
        let own = &self.units.products[group].warps[q];
        let running = own.sums.iter().position(|s| s.regs == sums && s.frame == frame);
        if running.is_none() && own.sums.iter().any(|s| s.regs.iter().any(|x| sums.contains(x) || of_a.contains(x))) {
            return wrong("its registers are in part those of sums that are under way".into());
        }
        if running.is_some() {
            written_meanwhile(r, &sums)?;
        }
        let checked: Vec<u16> = of_a.iter().chain(if running.is_none() { &sums[..] } else { &[] }).copied().collect();
        let Some(fenced) = &own.fenced else {
            return wrong("no wgmma.fence has come before: the registers may not hold what was written to them".into());
        };
        for slot in checked {
            let now = r.w[slot as usize].0;
            if let Some(was) = fenced.get(&slot)
                && let Some(lane) = (0..32).find(|&l| now[l] != was[l])
            {
                let why = "a register of it was written after the last wgmma.fence".into();
                return raise(FaultKind::Warpgroup { why }, lane as u32);
            }
        }

        // The same product as the other warps'.
        let number = self.units.products[group].told[q];
        let place = (number - self.units.products[group].first) as usize;
        let begins = place == self.units.products[group].list.len();
        if begins {
            let pieces = Rc::new(self.pieces(what, a, b)?);
            self.units.products[group].list.push_back(Product {
                pc,
                what,
                a,
                b,
                scale,
                sums: Rc::new(sums.clone()),
                pieces,
                operands: None,
                taken: 0,
            });
        }
        let p = &self.units.products[group].list[place];
        if (p.pc, p.a, p.b, p.scale) != (pc, a, b, scale) {
            let why = if p.pc == pc {
                "the warps of the warp group disagree on a descriptor, or on whether C is added".to_string()
            } else {
                format!("another warp of the warp group is at another product: @{}", p.pc)
            };
            return wrong(why);
        }
        let pieces = p.pieces.clone();
        if let Some(watch) = &mut self.watch {
            let who = Teller { warp: w.index, lane: 0, pc: pc as u32 };
            let found = watch.told_to_read(who, !0, &pieces, begins);
            self.shared_race(found)?;
        }
        if begins {
            self.operand_waves(pc, what, &pieces);
            if what.element == Element::Tf32 && self.tf32check {
                self.unrounded_tile(w.index, pc, &pieces, if a.is_some() { 2 * ROWS } else { 0 })?;
            }
        }
        if what.a_regs && what.element == Element::Tf32 && self.tf32check {
            let cut = |lane: usize| of_a.iter().map(|&s| r.w[s as usize].0[lane]).find(|x| x & TF32_CUT != 0);
            if let Some((lane, bits)) = (0..32).find_map(|l| cut(l).map(|x| (l, x))) {
                raise(FaultKind::Tf32 { operand: "A", bits }, lane as u32).or_else(|e| self.admit(e, w.index, pc))?;
            }
        }
        let macs = (16 * what.n as usize * what.k()) as u64;
        if let Some(o) = &mut self.observer {
            o.matrix(w.index, pc as u32, macs);
        }
        if let Some(watch) = &mut self.watch {
            watch.product(pc, macs);
        }

        let own = &mut self.units.products[group].warps[q];
        match running {
            Some(k) => own.sums[k].last = number,
            None => {
                let values = sums.iter().map(|&s| r.w[s as usize].0).collect();
                let taint = sums.iter().map(|&s| r.tw[s as usize]).collect();
                own.sums.push(Sums { frame, regs: sums.clone(), values, taint, last: number });
            }
        }
        if what.a_regs {
            let values = of_a.iter().map(|&s| r.w[s as usize].0).collect();
            let taint = of_a.iter().fold(0, |t, &s| t | r.tw[s as usize]);
            own.factors.push_back(Factor { product: number, regs: of_a, values, taint });
        }
        for &s in &sums {
            r.w[s as usize].0 = [POISON; 32];
            if self.initcheck {
                r.set_taint(Bank::W, s, !0, !0);
            }
        }
        self.units.products[group].told[q] += 1;
        if !self.late_copies && self.units.products[group].told_by_all() > number {
            self.read_operands(group, place, w.index)?;
        }
        Ok(())
    }

    /// Where the operands lie, 16 bytes each.
    fn pieces(&self, what: Multiply, a: Option<u64>, b: u64) -> Raised<Vec<(u32, u32)>> {
        let mut list = Vec::new();
        let total = self.shared.data.len() as u64;
        let matrix = |bits: u64| Matrix::new(bits).or_else(wrong);
        let mut add = |of: Matrix, lines: u32, along_mn: bool| {
            if along_mn {
                (0..lines / 8).for_each(|p| (0..16).for_each(|k| list.push((of.along_mn(p, k), 16))));
            } else {
                (0..lines).for_each(|l| (0..2).for_each(|p| list.push((of.along_k(l, p), 16))));
            }
        };
        if let Some(a) = a {
            add(matrix(a)?, ROWS as u32, what.trans_a);
        }
        add(matrix(b)?, what.n as u32, what.trans_b);
        if let Some(&(at, _)) = list.iter().find(|&&(at, n)| at as u64 + n as u64 > total) {
            let at = Place { address: at as u64, about: self.about_shared(at as u64) };
            return raise(FaultKind::OutOfBounds { space: "shared", write: false, bytes: 16, at }, None);
        }
        Ok(list)
    }

    /// Passes through the banks: one for each eight pieces that lie in different banks.
    fn operand_waves(&mut self, pc: usize, what: Multiply, pieces: &[(u32, u32)]) {
        let Some(watch) = &mut self.watch else { return };
        // Along K, the same piece of eight lines is a core matrix; along M or N, the same piece of eight k.
        let (mut waves, mut ideal) = (0, 0);
        let split = if what.a_regs { 0 } else { 2 * ROWS };
        for (part, along_mn) in [(&pieces[..split], what.trans_a), (&pieces[split..], what.trans_b)] {
            for core in part.chunks(16) {
                let of = |k: usize| if along_mn { k / 8 } else { k % 2 };
                for half in 0..2 {
                    let rows: Vec<u32> = (0..core.len()).filter(|&k| of(k) == half).map(|k| core[k].0).collect();
                    waves += matrix_waves(&rows) as u64;
                    ideal += 1;
                }
            }
        }
        watch.operands(pc, waves, ideal);
    }

    fn unrounded_tile(&mut self, warp: u32, pc: usize, pieces: &[(u32, u32)], of_a: usize) -> Raised {
        for (k, &(at, _)) in pieces.iter().enumerate() {
            for word in (at as usize..at as usize + 16).step_by(4) {
                let bits = self.shared.get(word, 4) as u32;
                if bits & TF32_CUT != 0 && self.shared.is_known(word, 4) {
                    let operand = if k < of_a { "A" } else { "B" };
                    return raise(FaultKind::Tf32 { operand, bits }, None).or_else(|e| self.admit(e, warp, pc));
                }
            }
        }
        Ok(())
    }

    /// The operands of a product are read now.
    fn read_operands(&mut self, group: usize, place: usize, warp: u32) -> Raised {
        let p = &self.units.products[group].list[place];
        if p.operands.is_some() {
            return Ok(());
        }
        let (what, pieces, pc) = (p.what, p.pieces.clone(), p.pc);
        let (k, per) = (what.k(), what.k() / 2);
        let bytes = 16 / per;
        let split = if what.a_regs { 0 } else { 2 * ROWS };
        let (mut rows, mut columns) = (0u64, [0u64; 4]);
        let mut a = vec![[0; K]; split / 2];
        let mut b = vec![[[0; 8]; K]; what.n as usize / 8];
        let negated = |x: u32, negate: bool| x ^ if negate { 1 << (8 * bytes - 1) } else { 0 };
        for (i, &(at, _)) in pieces.iter().enumerate() {
            let known = !self.initcheck || self.shared.is_known(at as usize, 16);
            let (of_a, i) = (i < split, if i < split { i } else { i - split });
            let (along_mn, negate) = if of_a { (what.trans_a, what.neg_a) } else { (what.trans_b, what.neg_b) };
            for e in 0..per {
                let x = negated(self.shared.get(at as usize + e * bytes, bytes) as u32, negate);
                // (line, k): of a piece along K, or of one along M or N.
                let (line, at_k) = if along_mn { (i / 16 * 8 + e, i % 16) } else { (i / 2, i % 2 * per + e) };
                debug_assert!(at_k < k);
                if of_a {
                    a[line][at_k] = x;
                    rows |= (!known as u64) << line;
                } else {
                    b[line / 8][at_k][line % 8] = x;
                    columns[line / 64] |= (!known as u64) << (line % 64);
                }
            }
        }
        if let Some(watch) = &mut self.watch {
            let who = Teller { warp, lane: 0, pc: pc as u32 };
            watch.fetched(who, Some(Unit::Products(group as u32)), &pieces);
            watch.products_done(group as u32, warp);
        }
        self.units.products[group].list[place].operands = Some(Rc::new(Operands { a, b, rows, columns }));
        Ok(())
    }

    /// The products up to number `until` are in the sums of this warp.
    fn finish_products(&mut self, warp: u32, r: &mut Regs, until: u64, frame: u32) -> Raised {
        let (group, q) = ((warp / WARPS) as usize, (warp % WARPS) as usize);
        for number in self.units.products[group].warps[q].done..until {
            let place = (number - self.units.products[group].first) as usize;
            self.read_operands(group, place, warp)?;
            let tensor = self.tensor;
            let products = &mut self.units.products[group];
            let p = &mut products.list[place];
            p.taken |= 1 << q;
            let (what, scale, operands, of) = (p.what, p.scale, p.operands.clone().expect("just read"), p.sums.clone());
            let own = &mut products.warps[q];
            own.done = number + 1;
            let mut a = [[0; K]; 16];
            let mut rows = (operands.rows >> (16 * q)) as u32 & 0xffff;
            if what.a_regs {
                let f = own.factors.pop_front().expect("kept when the product was told");
                debug_assert_eq!(f.product, number);
                let changed = |l: usize| f.regs.iter().zip(&f.values).any(|(&s, v)| r.w[s as usize].0[l] != v[l]);
                if let Some(lane) = (0..32).find(|&l| changed(l)) {
                    let why = "a register of A was written while the product was under way".into();
                    return raise(FaultKind::Warpgroup { why }, lane as u32);
                }
                rows |= lanes_of(f.taint).fold(0, |s, lane| s | 0x101 << (lane / 4));
                a = what.fragments(&f.values);
            } else {
                a.copy_from_slice(&operands.a[16 * q..16 * q + 16]);
            }
            let sums = own.sums.iter_mut().find(|s| s.regs == *of).expect("kept when the product was told");
            let shape = Mma::new(what.element, what.half_sum, what.k(), tensor).expect("decoded from an existing shape");
            add(&shape, &a, &operands.b, scale, &mut sums.values);
            for (k, t) in sums.taint.iter_mut().enumerate() {
                let clean = if scale { *t } else { 0 };
                *t = (0..32).fold(clean, |t, lane| {
                    let (at, other) = what.sum_at(k, lane);
                    let bad = |(i, j): (usize, usize)| rows >> i & 1 != 0 || operands.columns[j / 64] >> (j % 64) & 1 != 0;
                    t | ((bad(at) || bad(other)) as u32) << lane
                });
            }
        }
        let products = &mut self.units.products[group];
        let own = &mut products.warps[q];
        for s in own.sums.extract_if(.., |s| s.last < until) {
            if s.frame != frame {
                return wrong("it waits in another function than the one that told the product".into());
            }
            written_meanwhile(r, &s.regs)?;
            for ((&slot, v), t) in s.regs.iter().zip(&s.values).zip(&s.taint) {
                r.w[slot as usize].0 = *v;
                r.set_taint(Bank::W, slot, !0, *t);
                own.fenced.get_or_insert_default().insert(slot, *v);
            }
        }
        while products.list.front().is_some_and(|p| p.taken == 0xf) {
            products.list.pop_front();
            products.first += 1;
        }
        r.look_again();
        if let Some(watch) = &mut self.watch {
            watch.products_wait(group as u32, warp);
        }
        Ok(())
    }
}

/// Adds the products of a warp's 16 rows to its sums.
fn add(shape: &Mma, a: &[[u32; K]; 16], b: &[[[u32; 8]; K]], scale: bool, sums: &mut [[u32; 32]]) {
    let per = if shape.half_sum { 2 } else { 4 };
    for (b, sums) in b.iter().zip(sums.chunks_mut(per)) {
        let mut c = [[0; 8]; 16];
        if scale {
            for (k, s) in sums.iter().enumerate() {
                for lane in 0..32 {
                    if shape.half_sum {
                        let (i, j) = matrix::c16(lane, k, 0);
                        (c[i][j], c[i][j + 1]) = (s[lane] & 0xffff, s[lane] >> 16);
                    } else {
                        let (i, j) = matrix::c32(lane, k);
                        c[i][j] = s[lane];
                    }
                }
            }
        }
        shape.product(a, b, &mut c);
        for (k, s) in sums.iter_mut().enumerate() {
            for lane in 0..32 {
                s[lane] = if shape.half_sum {
                    let (i, j) = matrix::c16(lane, k, 0);
                    c[i][j] | c[i][j + 1] << 16
                } else {
                    let (i, j) = matrix::c32(lane, k);
                    c[i][j]
                };
            }
        }
    }
}

impl Multiply {
    pub fn k(self) -> usize {
        if self.element == Element::Tf32 { 8 } else { 16 }
    }

    /// Registers of the sums.
    pub fn sums(self) -> usize {
        self.n as usize / if self.half_sum { 4 } else { 2 }
    }

    /// The places of the sums that a register holds in a lane: of a warp's 16 rows; twice the same if it holds one.
    fn sum_at(self, register: usize, lane: usize) -> ((usize, usize), (usize, usize)) {
        if self.half_sum {
            let at = |h| matrix::c16(lane, register % 2, h);
            let right = |(i, j)| (i, j + register / 2 * 8);
            (right(at(0)), right(at(1)))
        } else {
            let (i, j) = matrix::c32(lane, register % 4);
            let at = (i, j + register / 4 * 8);
            (at, at)
        }
    }

    /// A of 16 rows, from a warp's four registers.
    fn fragments(self, regs: &[[u32; 32]]) -> [[u32; K]; 16] {
        let mut a = [[0; K]; 16];
        for (n, reg) in regs.iter().enumerate() {
            for lane in 0..32 {
                if self.element == Element::Tf32 {
                    let (i, k) = matrix::a32(lane, n);
                    a[i][k] = reg[lane] ^ if self.neg_a { 1 << 31 } else { 0 };
                } else {
                    let (i, k) = matrix::a16(lane, n, 0);
                    let sign = if self.neg_a { 1 << 15 } else { 0 };
                    (a[i][k], a[i][k + 1]) = (reg[lane] & 0xffff ^ sign, reg[lane] >> 16 ^ sign);
                }
            }
        }
        a
    }
}
