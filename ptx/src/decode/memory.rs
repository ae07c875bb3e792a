//! Loads, stores, atomics, fences and asynchronous copies.

use super::decoder::{Decoder, Done, arity};
use crate::op::{Atom, AtomOp, AtomType, Bank, Code, Extra, Rare, SINK, What, strong};
use crate::program::Preset;
use crate::source::{Instr, Operand, Space};

/// The state space that the modifiers name; none for a generic address.
pub(super) fn space(mods: &[&str]) -> Option<Space> {
    mods.iter().find_map(|m| match *m {
        "global" => Some(Space::Global),
        // No launch has clusters: each block is a cluster of its own, and sees its own shared memory.
        "shared" | "shared::cta" | "shared::cluster" => Some(Space::Shared),
        "local" => Some(Space::Local),
        "const" => Some(Space::Const),
        _ => None,
    })
}

/// Whether the modifiers make an access strong, whether they order it (`.acquire`, `.release`, `.acq_rel`), and whether beyond
/// the block.
fn order(mods: &[&str]) -> (bool, bool, bool) {
    let ordered = mods.iter().any(|m| matches!(*m, "acquire" | "release" | "acq_rel"));
    (ordered || mods.iter().any(|m| matches!(*m, "volatile" | "relaxed")), ordered, beyond_block(mods))
}

/// Whether a scope reaches beyond the block. No scope means the device; a cluster is one block.
fn beyond_block(mods: &[&str]) -> bool {
    !mods.iter().any(|m| matches!(*m, "cta" | "cluster"))
}

/// The operands without the cache policy, which `.L2::cache_hint` puts last; a policy changes no result.
pub(super) fn operands<'a>(i: &'a Instr, mods: &[&str]) -> Result<&'a [Operand], String> {
    match (mods.contains(&"L2::cache_hint"), i.operands.split_last()) {
        (true, Some((Operand::Reg(_) | Operand::Int(_), rest))) => Ok(rest),
        (true, _) => Err("expected a cache policy as the last operand".into()),
        _ => Ok(&i.operands),
    }
}

/// An error unless there are `n` operands.
pub(super) fn count(operands: &[Operand], n: usize) -> Done {
    if operands.len() == n { Ok(()) } else { Err(format!("expected {n} operands, found {}", operands.len())) }
}

/// `.b128` as two halves.
fn halves<'a>(mods: &[&'a str]) -> Vec<&'a str> {
    match mods {
        [rest @ .., "b128"] => [rest, &["v2", "b64"]].concat(),
        _ => mods.to_vec(),
    }
}

pub(super) fn ld(d: &mut Decoder, i: &Instr, mods: &[&str]) -> Done {
    let mods = &halves(mods)[..];
    let list = operands(i, mods)?;
    count(list, 2)?;
    let space = space(mods);
    let address = d.address(&list[1], space)?;
    let mem = d.mem(&list[0], mods, true)?;
    let code = match space {
        Some(Space::Global | Space::Const) => Code::LdGlobal,
        Some(Space::Shared) => Code::LdShared,
        Some(Space::Local) => Code::LdLocal,
        _ => Code::LdGeneric,
    };
    let (true, ordered, device) = order(mods) else { return d.put_mem(code, mem, address) };
    let Some(x) = strong::code(space) else { return d.put_mem(code, mem, address) };
    d.put_mem(Code::LdStrong, mem, address)?;
    d.program.ops.last_mut().expect("just put").x = x;
    // To acquire is to read, then to fence.
    if ordered {
        d.emit(Code::Fence).x = device as u16;
    }
    Ok(())
}

pub(super) fn st(d: &mut Decoder, i: &Instr, mods: &[&str]) -> Done {
    let mods = &halves(mods)[..];
    let list = operands(i, mods)?;
    count(list, 2)?;
    let space = space(mods);
    let address = d.address(&list[0], space)?;
    let mem = d.mem(&list[1], mods, false)?;
    let code = match space {
        Some(Space::Global) => Code::StGlobal,
        Some(Space::Shared) => Code::StShared,
        Some(Space::Local) => Code::StLocal,
        _ => Code::StGeneric,
    };
    let (true, ordered, device) = order(mods) else { return d.put_mem(code, mem, address) };
    let Some(x) = strong::code(space) else { return d.put_mem(code, mem, address) };
    // To release is to fence, then to write.
    if ordered {
        d.emit(Code::Fence).x = device as u16;
    }
    d.put_mem(Code::StStrong, mem, address)?;
    d.program.ops.last_mut().expect("just put").x = x;
    Ok(())
}

pub(super) fn ld_param(d: &mut Decoder, i: &Instr, mods: &[&str]) -> Done {
    arity(i, 2)?;
    let Operand::Address(base, plus) = &i.operands[1] else { return Err("expected an address".into()) };
    let mem = d.mem(&i.operands[0], mods, true)?;
    if let Operand::Reg(_) = **base {
        let address = d.address(&i.operands[1], Some(Space::Param))?;
        return d.put_mem(Code::LdKernelParam, mem, address);
    }
    let at = d.param_offset(base)?;
    let end = plus.saturating_add(mem.bytes as i64 * mem.count as i64);
    if *plus < 0 || end > d.param_size(base) as i64 {
        return Err(format!("reads bytes {plus} to {end} of a parameter of {} bytes", d.param_size(base)));
    }
    let at = at + *plus as u32;
    if matches!(**base, Operand::Formal(false, _)) && d.f.entry {
        // The kernel's own parameters are constants of the launch.
        for k in 0..mem.count {
            if mem.regs[k as usize] == SINK {
                continue;
            }
            let p = Preset::KernelParam { at: at + (k * mem.bytes) as u32, bytes: mem.bytes, signed: mem.signed };
            let (bank, code) = if mem.wide { (Bank::L, Code::Mov64) } else { (Bank::W, Code::Mov32) };
            let a = d.preset(bank, p);
            d.put(code, mem.regs[k as usize], [a, 0, 0]);
            if mem.half && mem.signed && mem.bytes == 1 {
                d.put(Code::Zext16, mem.regs[k as usize], [mem.regs[k as usize], 0, 0]);
            }
        }
        return Ok(());
    }
    d.put_mem(Code::LdParam, mem, (0, true, at as i32))
}

pub(super) fn st_param(d: &mut Decoder, i: &Instr, mods: &[&str]) -> Done {
    arity(i, 2)?;
    let Operand::Address(base, plus) = &i.operands[0] else { return Err("expected an address".into()) };
    let mem = d.mem(&i.operands[1], mods, false)?;
    let at = d.param_offset(base)?;
    let end = plus.saturating_add(mem.bytes as i64 * mem.count as i64);
    if *plus < 0 || end > d.param_size(base) as i64 {
        return Err(format!("writes bytes {plus} to {end} of a parameter of {} bytes", d.param_size(base)));
    }
    d.put_mem(Code::StParam, mem, (0, true, at as i32 + *plus as i32))
}

pub(super) fn atom(d: &mut Decoder, i: &Instr, mods: &[&str]) -> Done {
    let red = i.opcode.starts_with("red");
    let find = |list: &[(&str, AtomOp)]| list.iter().find(|(m, _)| mods.contains(m)).map(|(_, op)| *op);
    let op = find(&[
        ("add", AtomOp::Add),
        ("min", AtomOp::Min),
        ("max", AtomOp::Max),
        ("inc", AtomOp::Inc),
        ("dec", AtomOp::Dec),
        ("and", AtomOp::And),
        ("or", AtomOp::Or),
        ("xor", AtomOp::Xor),
        ("exch", AtomOp::Exch),
        ("cas", AtomOp::Cas),
    ])
    .expect("the form has an operation");
    let ty = match mods[mods.len() - 1] {
        "b16" => AtomType::B16,
        "s32" => AtomType::S32,
        "b32" | "u32" => AtomType::U32,
        "s64" => AtomType::S64,
        "b64" | "u64" => AtomType::U64,
        "f32" => AtomType::F32,
        "f16" => AtomType::F16,
        "bf16" => AtomType::Bf16,
        "f16x2" => AtomType::F16x2,
        "bf16x2" => AtomType::Bf16x2,
        _ => AtomType::F64,
    };
    let count = ["v2", "v4", "v8"].iter().position(|v| mods.contains(v)).map_or(1, |k| 2 << k);
    if count > 1 && (count as u32 * ty.bytes() > 16) {
        return Err("vectors of more than 16 bytes do not exist".into());
    }
    let mut list = operands(i, mods)?;
    self::count(list, 2 + !red as usize + (op == AtomOp::Cas) as usize)?;
    let bank = if ty.bytes() == 8 { Bank::L } else { Bank::W };
    let space = space(mods);
    let vector = |o: &Operand| match o {
        Operand::Vector(v) if count > 1 && v.len() == count => Ok(v.clone()),
        Operand::Vector(_) => Err(format!("expected {count} registers")),
        o if count == 1 => Ok(vec![o.clone()]),
        _ => Err(format!("expected {count} registers in braces")),
    };
    let mut atom = Atom { op, ty, space, address64: true, count: count as u8, d: [SINK; 8], b: [0; 8], c: 0 };
    let mut results = Vec::new();
    if !red {
        results = if list[0] == Operand::Sink { Vec::new() } else { vector(&list[0])? };
        list = &list[1..];
    }
    let (a, address64, imm) = d.address(&list[0], space)?;
    atom.address64 = address64;
    for (slot, o) in atom.b.iter_mut().zip(vector(&list[1])?) {
        *slot = d.src(&o, bank)?;
    }
    if op == AtomOp::Cas {
        atom.c = d.src(&list[2], bank)?;
    }
    for (slot, o) in atom.d.iter_mut().zip(results).filter(|(_, o)| *o != Operand::Sink) {
        *slot = d.dst(&o, bank)?;
    }
    // `.release` needs a fence before. `.acquire` needs none after: the race check lets every atomic acquire.
    if mods.iter().any(|m| matches!(*m, "release" | "acq_rel")) {
        d.emit(Code::Fence).x = beyond_block(mods) as u16;
    }
    let x = d.extra(Extra::Atom(atom))?;
    let op = d.emit(Code::Atom);
    (op.a, op.imm, op.x) = (a, imm, x);
    Ok(())
}

pub(super) fn fence(d: &mut Decoder, i: &Instr, mods: &[&str]) -> Done {
    arity(i, 0)?;
    let scope = mods.iter().any(|m| matches!(*m, "gl" | "gpu" | "sys")) as u16;
    d.emit(Code::Fence).x = scope;
    Ok(())
}

pub(super) fn discard(d: &mut Decoder, i: &Instr, mods: &[&str]) -> Done {
    count(&i.operands, 2)?;
    if i.operands[1] != Operand::Int(128) {
        return Err("discard takes 128 bytes".into());
    }
    rare(d, What::Discard, Some((&i.operands[0], space(mods))), &[], &[])
}

/// Emits an op whose operands are described by a [`Rare`]: the address, if there is one, is read first.
pub(super) fn rare(
    d: &mut Decoder,
    what: What,
    address: Option<(&Operand, Option<Space>)>,
    reads: &[(Bank, u16)],
    writes: &[(Bank, u16)],
) -> Done {
    let mut x = Rare { what, reads: Vec::new(), writes: writes.to_vec(), space: None, plus: 0 };
    if let Some((o, space)) = address {
        let (slot, wide, plus) = d.address(o, space)?;
        x.reads.push((if wide { Bank::L } else { Bank::W }, slot));
        (x.space, x.plus) = (space, plus as i64);
    }
    x.reads.extend(reads);
    let x = d.extra(Extra::Rare(x))?;
    d.emit(Code::Rare).x = x;
    Ok(())
}

/// `createpolicy`: the result is opaque, and only `.L2::cache_hint` reads it, which changes no result.
pub(super) fn policy(d: &mut Decoder, i: &Instr, mods: &[&str]) -> Done {
    let range = mods[0] == "range";
    if range {
        count(&i.operands, 4)?;
        d.address(&i.operands[1], None)?;
    } else if !(1..=2).contains(&(i.operands.len())) {
        return Err(format!("expected 1 or 2 operands, found {}", i.operands.len()));
    }
    let (dst, none) = (d.dst(&i.operands[0], Bank::L)?, d.constant(Bank::L, 0));
    d.put(Code::Mov64, dst, [none, 0, 0]);
    Ok(())
}

pub(super) fn cp_async(d: &mut Decoder, i: &Instr, mods: &[&str]) -> Done {
    match mods[1] {
        "commit_group" => {
            arity(i, 0)?;
            d.emit(Code::CpCommit);
        }
        "wait_all" => {
            arity(i, 0)?;
            d.emit(Code::CpWait).imm = -1;
        }
        "wait_group" => {
            arity(i, 1)?;
            let Operand::Int(n @ 0..) = i.operands[0] else { return Err("the number of groups must be a constant".into()) };
            d.emit(Code::CpWait).imm = n.min(i32::MAX as i64) as i32;
        }
        kind => {
            let list = operands(i, mods)?;
            if !(3..=4).contains(&list.len()) {
                return Err(format!("expected 3 or 4 operands, found {}", list.len()));
            }
            let Operand::Int(bytes @ (4 | 8 | 16)) = list[2] else { return Err("the copy size must be 4, 8 or 16".into()) };
            if kind == "cg" && bytes != 16 {
                return Err("cp.async.cg copies 16 bytes".into());
            }
            let (to, wide, to_offset) = d.address(&list[0], Some(Space::Shared))?;
            let (from, _, from_offset) = d.address(&list[1], Some(Space::Global))?;
            let size = match list.get(3) {
                // A predicate: whether to write zeros instead.
                Some(o @ (Operand::Reg(_) | Operand::NotReg(_)))
                    if matches!(o, Operand::NotReg(_)) || d.bank(o) == Some(Bank::P) =>
                {
                    let ignore = d.pred(o)?;
                    let (none, all, t) = (d.constant(Bank::W, 0), d.constant(Bank::W, bytes as u64), d.temp(Bank::W));
                    d.put(Code::Selp32, t, [none, all, ignore]);
                    Some(t)
                }
                Some(o) => Some(d.src(o, Bank::W)?),
                None => None,
            };
            // Offsets are folded into the registers, so that the op needs none.
            let to = match (wide, to_offset) {
                (false, 0) => to,
                (false, n) => {
                    let (t, k) = (d.temp(Bank::W), d.constant(Bank::W, n as u64));
                    d.put(Code::Add32, t, [to, k, 0]);
                    t
                }
                (true, n) => {
                    let (t, k, w) = (d.temp(Bank::L), d.constant(Bank::L, n as i64 as u64), d.temp(Bank::W));
                    d.put(Code::Add64, t, [to, k, 0]);
                    d.put(Code::Cvt32L, w, [t, 0, 0]);
                    w
                }
            };
            let op = d.emit(Code::CpAsync);
            (op.a, op.b, op.imm) = (to, from, from_offset);
            (op.c, op.d) = (size.unwrap_or(0), size.is_some() as u16);
            op.x = bytes as u16;
        }
    }
    Ok(())
}
