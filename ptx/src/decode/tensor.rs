//! Tensor core instructions: `ldmatrix`, `movmatrix`, `mma`.

use super::decoder::{Decoder, Done, arity};
use crate::num::mma::{Element, Mma, Tensor};
use crate::op::{Bank, Code, Extra, MatrixOp, Mem, SINK};
use crate::source::{Instr, Operand, Space};

/// The slots of a list of `n` registers of 32 bits.
pub(super) fn registers(d: &mut Decoder, o: &Operand, n: usize, dst: bool) -> Result<Vec<u16>, String> {
    let list = match o {
        Operand::Vector(v) => v.as_slice(),
        one => std::slice::from_ref(one),
    };
    if list.len() != n {
        return Err(format!("expected {n} registers, found {}", list.len()));
    }
    list.iter().map(|o| if dst { d.dst(o, Bank::W) } else { d.src(o, Bank::W) }).collect()
}

pub(super) fn ldmatrix(d: &mut Decoder, i: &Instr, mods: &[&str]) -> Done {
    arity(i, 2)?;
    let n = match () {
        _ if mods.contains(&"x1") => 1,
        _ if mods.contains(&"x2") => 2,
        _ => 4,
    };
    let address = d.address(&i.operands[1], Some(Space::Shared))?;
    let to = registers(d, &i.operands[0], n, true)?;
    let mut regs = [SINK; 4];
    regs[..n].copy_from_slice(&to);
    let mem = Mem { bytes: 16, count: n as u8, signed: false, wide: false, half: false, address64: true, regs };
    d.put_mem(Code::LdMatrix, mem, address)?;
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
