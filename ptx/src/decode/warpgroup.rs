//! `wgmma` and bulk copies.

use super::decoder::{Decoder, Done, arity, between};
use super::memory::operands;
use super::tensor::registers;
use crate::num::mma::Element;
use crate::op::{Bank, Bulk, Cluster, Code, Extra, Multiply, Rare, Wgmma, What};
use crate::program::Preset;
use crate::source::{Instr, Operand, Space};

type Register = (Bank, u16);

fn put(d: &mut Decoder, what: What, reads: Vec<Register>, writes: Vec<Register>) -> Done {
    let x = d.extra(Extra::Rare(Rare { what, reads, writes, space: None, plus: 0 }))?;
    d.emit(Code::Rare).x = x;
    Ok(())
}

/// `wgmma.fence`, `.commit_group` and `.wait_group`.
pub(super) fn wgmma(d: &mut Decoder, i: &Instr, mods: &[&str]) -> Done {
    let what = match mods[0] {
        "fence" => Wgmma::Fence,
        "commit_group" => Wgmma::Commit,
        _ => {
            arity(i, 1)?;
            let Operand::Int(keep @ 0..=7) = i.operands[0] else { return Err("expected a number of groups, 0 to 7".into()) };
            return put(d, What::Wgmma(Wgmma::Wait { keep: keep as u32 }), Vec::new(), Vec::new());
        }
    };
    arity(i, 0)?;
    put(d, What::Wgmma(what), Vec::new(), Vec::new())
}

pub(super) fn multiply(d: &mut Decoder, i: &Instr, mods: &[&str]) -> Done {
    let (element, half_sum) = match mods[5] {
        "tf32" => (Element::Tf32, false),
        "bf16" => (Element::Bf16, false),
        _ => (Element::F16, mods[4] == "f16"),
    };
    let n = mods[3][4..].split('k').next().and_then(|n| n.parse().ok()).expect("the form names a shape");
    let mut m = Multiply { n, element, half_sum, a_regs: false, neg_a: false, neg_b: false, trans_a: false, trans_b: false };
    let count = m.sums();
    let list = i.operands.as_slice();
    let [sums, a, b, rest @ ..] = list else { return Err("expected sums, A and B".into()) };
    m.a_regs = matches!(a, Operand::Vector(_));
    // Whether C is added, the signs of A and B, and for 16 bits which of them lie along M or N: of B alone if A is in registers.
    let flags = 2 + if element == Element::Tf32 { 0 } else { 2 - m.a_regs as usize };
    let (scale, rest) = match rest {
        [scale, rest @ ..] if rest.len() == flags => (scale, rest),
        _ => return Err(format!("expected whether C is added, and {flags} numbers")),
    };
    let number = |k: usize, of: [i64; 2]| match rest.get(k) {
        None => Ok(false),
        Some(Operand::Int(v)) if of.contains(v) => Ok(*v == of[1]),
        Some(_) => Err(format!("expected {} or {}", of[0], of[1])),
    };
    m.neg_a = number(0, [1, -1])?;
    m.neg_b = number(1, [1, -1])?;
    if m.a_regs {
        m.trans_b = number(2, [0, 1])?;
    } else {
        m.trans_a = number(2, [0, 1])?;
        m.trans_b = number(3, [0, 1])?;
    }
    let mut reads = vec![(Bank::L, d.src(b, Bank::L)?), (Bank::P, d.pred(scale)?)];
    if m.a_regs {
        reads.extend(registers(d, a, 4, false)?.into_iter().map(|s| (Bank::W, s)));
    } else {
        reads.push((Bank::L, d.src(a, Bank::L)?));
    }
    let sums: Vec<(Bank, u16)> = registers(d, sums, count, true)?.into_iter().map(|s| (Bank::W, s)).collect();
    reads.extend(&sums);
    put(d, What::Wgmma(Wgmma::Multiply(m)), reads, sums)
}

impl Decoder<'_> {
    /// Registers of products stay alive, and in their places, from one fence to the next and to every wait: all of a function's
    /// fences and waits name them.
    pub fn hold_products(&mut self, first: usize) {
        let mut all = Vec::new();
        for e in &self.program.extras[first..] {
            if let Extra::Rare(Rare { what: What::Wgmma(Wgmma::Multiply(_)), reads, .. }) = e {
                all.extend(reads[2..].iter().filter(|(bank, _)| *bank == Bank::W));
            }
        }
        all.sort_unstable_by_key(|(_, slot)| *slot);
        all.dedup();
        for e in &mut self.program.extras[first..] {
            if let Extra::Rare(Rare { what: What::Wgmma(Wgmma::Fence | Wgmma::Wait { .. }), reads, .. }) = e {
                reads.clone_from(&all);
            }
        }
    }

    /// An address as a value of 64 bits; without a space, generic.
    fn place(&mut self, o: &Operand, space: Option<Space>) -> Result<(Bank, u16), String> {
        let (slot, wide, plus) = self.address(o, space)?;
        let mut slot = slot;
        if !wide {
            let t = self.temp(Bank::L);
            self.put(Code::CvtU64U32, t, [slot, 0, 0]);
            slot = t;
        }
        if plus != 0 {
            let (t, k) = (self.temp(Bank::L), self.preset(Bank::L, Preset::Bits(plus as i64 as u64)));
            self.put(Code::Add64, t, [slot, k, 0]);
            slot = t;
        }
        Ok((Bank::L, slot))
    }

    fn words(&mut self, o: &Operand) -> Result<Vec<(Bank, u16)>, String> {
        let Operand::Vector(list) = o else { return Err("expected a list in braces".into()) };
        self.width = 4;
        list.iter().map(|o| Ok((Bank::W, self.src(o, Bank::W)?))).collect()
    }

    /// `[map, {coordinates}]`.
    fn map(&mut self, o: &Operand, rank: usize) -> Result<(Register, Vec<Register>), String> {
        let Operand::Bracket(parts) = o else { return Err("expected a tensor map and coordinates".into()) };
        let [map, coordinates] = parts.as_slice() else { return Err("expected a tensor map and coordinates".into()) };
        let (map, list) = (self.place(map, None)?, self.words(coordinates)?);
        if list.len() != rank {
            return Err(format!("expected {rank} coordinates, found {}", list.len()));
        }
        Ok((map, list))
    }
}

/// `cp.async.bulk` in all its forms.
pub(super) fn bulk(d: &mut Decoder, i: &Instr, mods: &[&str]) -> Done {
    let has = |m: &str| mods.contains(&m);
    if has("commit_group") {
        arity(i, 0)?;
        return put(d, What::Bulk(Bulk::Commit), Vec::new(), Vec::new());
    }
    if has("wait_group") {
        arity(i, 1)?;
        let Operand::Int(keep @ 0..=0xffff) = i.operands[0] else { return Err("expected a number of groups".into()) };
        return put(d, What::Bulk(Bulk::Wait { keep: keep as u32, read: has("read") }), Vec::new(), Vec::new());
    }
    let list = operands(i, mods)?;
    let rank = mods.iter().find_map(|m| m.strip_suffix('d').and_then(|r| r.parse::<usize>().ok()));
    let Some(rank) = rank else {
        if has("prefetch") {
            return Ok(());
        }
        let out = has("bulk_group");
        super::memory::count(list, if out { 3 } else { 4 })?;
        let (shared, global) = (Some(Space::Shared), Some(Space::Global));
        let to = d.place(&list[0], if out { global } else { shared })?;
        let from = d.place(&list[1], if out { shared } else { global })?;
        d.width = 4;
        let mut reads = vec![to, from, (Bank::W, d.src(&list[2], Bank::W)?)];
        if !out {
            reads.push(d.place(&list[3], shared)?);
        }
        return put(d, What::Bulk(if out { Bulk::CopyOut } else { Bulk::CopyIn }), reads, Vec::new());
    };
    if has("prefetch") {
        let (map, _) = d.map(list.first().ok_or("expected a tensor map")?, rank)?;
        return put(d, What::Bulk(Bulk::Prefetch), vec![map], Vec::new());
    }
    if has("bulk_group") {
        super::memory::count(list, 2)?;
        let (map, coordinates) = d.map(&list[0], rank)?;
        let mut reads = vec![map, d.place(&list[1], Some(Space::Shared))?];
        reads.extend(coordinates);
        return put(d, What::Bulk(Bulk::Store { rank: rank as u8 }), reads, Vec::new());
    }
    let im2col = has("im2col");
    super::memory::count(list, if im2col { 4 } else { 3 })?;
    let to = d.place(&list[0], Some(Space::Shared))?;
    let (map, coordinates) = d.map(&list[1], rank)?;
    let mut reads = vec![to, map, d.place(&list[2], Some(Space::Shared))?];
    reads.extend(coordinates);
    let mut corners = 0;
    if im2col {
        let Operand::Vector(filter) = &list[3] else { return Err("expected offsets in braces".into()) };
        if filter.len() + 2 != rank {
            return Err(format!("expected {} offsets, found {}", rank as i64 - 2, filter.len()));
        }
        for o in filter {
            d.width = 2;
            reads.push((Bank::W, d.src(o, Bank::W)?));
        }
        corners = filter.len() as u8;
    }
    put(d, What::Bulk(Bulk::Load { rank: rank as u8, corners }), reads, Vec::new())
}

/// `barrier.cluster`, `mapa` and `getctarank`.
pub(super) fn cluster(d: &mut Decoder, i: &Instr, mods: &[&str]) -> Done {
    let has = |m: &str| mods.contains(&m);
    let bank = if has("u64") { Bank::L } else { Bank::W };
    match i.opcode.split('.').next() {
        Some("mapa") => {
            arity(i, 3)?;
            let address = d.src(&i.operands[1], bank)?;
            d.width = 4;
            let rank = d.src(&i.operands[2], Bank::W)?;
            let to = d.dst(&i.operands[0], bank)?;
            put(d, What::Cluster(Cluster::Map), vec![(bank, address), (Bank::W, rank)], vec![(bank, to)])
        }
        Some("getctarank") => {
            arity(i, 2)?;
            let address = d.src(&i.operands[1], bank)?;
            let to = d.dst(&i.operands[0], Bank::W)?;
            put(d, What::Cluster(Cluster::Rank), vec![(bank, address)], vec![(Bank::W, to)])
        }
        _ => {
            arity(i, 0)?;
            let aligned = has("aligned");
            let what = match has("arrive") {
                true => Cluster::Arrive { aligned, release: !has("relaxed") },
                false => Cluster::Wait { aligned, acquire: true },
            };
            put(d, What::Cluster(what), Vec::new(), Vec::new())
        }
    }
}

/// `fence.proxy.async` and `fence.mbarrier_init`.
pub(super) fn fence(d: &mut Decoder, i: &Instr, mods: &[&str]) -> Done {
    arity(i, 0)?;
    // Of global memory alone: its proxies are not told apart.
    if mods.contains(&"global") {
        return Ok(());
    }
    put(d, What::ProxyFence { init: mods[0] == "mbarrier_init" }, Vec::new(), Vec::new())
}

pub(super) fn registers_of_a_thread(_: &mut Decoder, i: &Instr, _: &[&str]) -> Done {
    between(i, 1, 1)?;
    match i.operands[0] {
        Operand::Int(n @ 24..=256) if n % 8 == 0 => Ok(()),
        _ => Err("expected a multiple of 8 from 24 to 256".into()),
    }
}
