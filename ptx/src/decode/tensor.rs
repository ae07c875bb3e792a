//! Tensor core instructions: `ldmatrix`, `movmatrix`, `mma`.

use super::decoder::{Decoder, Done, arity};
use crate::mem::SHARED_WINDOW;
use crate::num::mma::{Element, Mma, Tensor};
use crate::num::narrow::Eight;
use crate::num::product::{Kind, Product};
use crate::op::{Bank, Code, Extra, MatrixOp, Mem, ProductOp, SINK};
use crate::source::{Instr, Operand, Space};

/// The slots of a list of `n` registers of 32 bits.
pub(super) fn registers(d: &mut Decoder, o: &Operand, n: usize, dst: bool) -> Result<Vec<u16>, String> {
    registers_of(d, Bank::W, o, n, dst)
}

/// The slots of a list of `n` registers.
pub(super) fn registers_of(d: &mut Decoder, bank: Bank, o: &Operand, n: usize, dst: bool) -> Result<Vec<u16>, String> {
    let list = match o {
        Operand::Vector(v) => v.as_slice(),
        one => std::slice::from_ref(one),
    };
    if list.len() != n {
        return Err(format!("expected {n} registers, found {}", list.len()));
    }
    list.iter().map(|o| if dst { d.dst(o, bank) } else { d.src(o, bank) }).collect()
}

/// How many matrices.
fn matrices(mods: &[&str]) -> usize {
    match () {
        _ if mods.contains(&"x1") => 1,
        _ if mods.contains(&"x2") => 2,
        _ => 4,
    }
}

/// An address in shared memory; a generic one is taken apart.
fn shared_address(d: &mut Decoder, o: &Operand, mods: &[&str]) -> Result<(u16, bool, i32), String> {
    if super::memory::space(mods).is_some() {
        return d.address(o, Some(Space::Shared));
    }
    let (slot, _, plus) = d.address(o, None)?;
    let (window, t) = (d.constant(Bank::L, SHARED_WINDOW), d.temp(Bank::L));
    d.put(Code::Sub64, t, [slot, window, 0]);
    Ok((t, true, plus))
}

fn rows(regs: &[u16]) -> Mem {
    let mut all = [SINK; 4];
    all[..regs.len()].copy_from_slice(regs);
    Mem { bytes: 16, count: regs.len() as u8, signed: false, wide: false, half: false, address64: true, regs: all }
}

pub(super) fn ldmatrix(d: &mut Decoder, i: &Instr, mods: &[&str]) -> Done {
    arity(i, 2)?;
    let address = shared_address(d, &i.operands[1], mods)?;
    let to = registers(d, &i.operands[0], matrices(mods), true)?;
    d.put_mem(Code::LdMatrix, rows(&to), address)?;
    d.program.ops.last_mut().expect("just put").x = mods.contains(&"trans") as u16;
    Ok(())
}

pub(super) fn stmatrix(d: &mut Decoder, i: &Instr, mods: &[&str]) -> Done {
    arity(i, 2)?;
    let address = shared_address(d, &i.operands[0], mods)?;
    let from = registers(d, &i.operands[1], matrices(mods), false)?;
    d.put_mem(Code::StMatrix, rows(&from), address)?;
    d.program.ops.last_mut().expect("just put").x = mods.contains(&"trans") as u16;
    Ok(())
}

pub(super) fn movmatrix(d: &mut Decoder, i: &Instr, _: &[&str]) -> Done {
    arity(i, 2)?;
    // `.b16` is the type of an element; the registers hold two.
    let a = d.src(&i.operands[1], Bank::W)?;
    let dst = d.dst(&i.operands[0], Bank::W)?;
    d.put(Code::MovMatrix, dst, [a, 0, 0]);
    Ok(())
}

pub(super) fn mma(d: &mut Decoder, i: &Instr, mods: &[&str]) -> Done {
    arity(i, 4)?;
    let element = match mods[6] {
        "f16" => Element::F16,
        "bf16" => Element::Bf16,
        _ => Element::Tf32,
    };
    if mods[5] != mods[8] {
        return Err("D and C of different types are not supported".into());
    }
    let half_sum = mods[5] == "f16";
    let k = mods[2].strip_prefix("m16n8k").and_then(|k| k.parse().ok()).expect("the form names a shape");
    let shape = Mma::new(element, half_sum, k, Tensor::Ideal).ok_or("this shape does not exist")?;
    let (a, b, c) = shape.registers();
    let regs = [
        registers(d, &i.operands[0], c, true)?,
        registers(d, &i.operands[1], a, false)?,
        registers(d, &i.operands[2], b, false)?,
        registers(d, &i.operands[3], c, false)?,
    ];
    let x = d.extra(Extra::Mma(MatrixOp { element, half_sum, k, regs }))?;
    d.emit(Code::Mma).x = x;
    Ok(())
}

/// The product that the types of A and B name; integers and bits with the modifiers of `mods`.
pub(super) fn product_of(mods: &[&str], a: &str, b: &str, sum: &str, m: usize, k: usize) -> Product {
    let eight = |t: &str| if t == "e4m3" { Eight::E4m3 } else { Eight::E5m2 };
    let kind = match a {
        "f64" => Kind::Double,
        "b1" => Kind::Bit { xor: mods.contains(&"xor") },
        "e4m3" | "e5m2" => Kind::Eight { types: [eight(a), eight(b)], half_sum: sum == "f16" },
        _ => Kind::Integer {
            bits: a[1..].parse().expect("the form lists types"),
            signed: [a, b].map(|t| t.starts_with('s')),
            saturate: mods.contains(&"satfinite"),
        },
    };
    Product { kind, m, k }
}

/// Emits a product of slots.
pub(super) fn put_product(d: &mut Decoder, product: Product, regs: [Vec<u16>; 4]) -> Done {
    let x = d.extra(Extra::Product(ProductOp { product, regs }))?;
    d.emit(Code::Mma).x = x;
    Ok(())
}

/// `mma` of integers, bits, eight-bit floats and f64.
pub(super) fn product(d: &mut Decoder, i: &Instr, mods: &[&str]) -> Done {
    arity(i, 4)?;
    let (m, k) = match mods[2].strip_prefix("m16n8k") {
        Some(k) => (16, k),
        None => (8, mods[2].strip_prefix("m8n8k").expect("the form names a shape")),
    };
    let k = k.parse().expect("the form names a shape");
    let types: Vec<&str> =
        mods[5..].iter().filter(|m| !matches!(**m, "satfinite" | "xor" | "and" | "popc" | "rn")).copied().collect();
    let p = product_of(mods, types[1], types[2], types[0], m, k);
    let bank = if p.double() { Bank::L } else { Bank::W };
    let (a, b, c) = p.registers();
    let regs = [
        registers_of(d, bank, &i.operands[0], c, true)?,
        registers_of(d, bank, &i.operands[1], a, false)?,
        registers_of(d, bank, &i.operands[2], b, false)?,
        registers_of(d, bank, &i.operands[3], c, false)?,
    ];
    put_product(d, p, regs)
}
