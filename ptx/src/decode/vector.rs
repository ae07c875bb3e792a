//! Moves of whole vectors, and of 128 bits as two halves.

use super::decoder::{Decoder, Done, arity, type_bank};
use crate::op::{Bank, Code};
use crate::source::{Instr, Operand};

pub(super) fn mov(d: &mut Decoder, i: &Instr, mods: &[&str]) -> Done {
    arity(i, 2)?;
    let (bank, count) = match mods {
        ["b128"] => (Bank::L, 2),
        ["v2", ty] => (type_bank(ty), 2),
        [_, ty] => (type_bank(ty), 4),
        _ => return Err(format!("`{}` does not exist", i.opcode)),
    };
    let Operand::Vector(to) = &i.operands[0] else { return Err("expected a vector".into()) };
    let from = match &i.operands[1] {
        Operand::Vector(from) => from.clone(),
        // A special register with its components; the fourth is zero.
        Operand::Name(name) if matches!(name.as_str(), "%tid" | "%ntid" | "%ctaid" | "%nctaid") => {
            let part = |c: &str| Operand::Name(format!("{name}.{c}"));
            [part("x"), part("y"), part("z"), Operand::Int(0)][..count].to_vec()
        }
        _ => return Err("expected a vector".into()),
    };
    if to.len() != count || from.len() != count {
        return Err(format!("expected {count} registers on both sides"));
    }
    // All are read before any is written.
    let code = if bank == Bank::L { Code::Mov64 } else { Code::Mov32 };
    let mut read = Vec::new();
    for o in &from {
        let (a, t) = (d.src(o, bank)?, d.temp(bank));
        d.put(code, t, [a, 0, 0]);
        read.push(t);
    }
    for (o, t) in to.iter().zip(read) {
        if *o != Operand::Sink {
            let dst = d.dst(o, bank)?;
            d.put(code, dst, [t, 0, 0]);
        }
    }
    Ok(())
}
