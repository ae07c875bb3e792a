//! Branches, calls, the end of a thread.

use super::decoder::{Decoder, Done, arity};
use crate::op::{Call, Code, Extra};
use crate::program::layout;
use crate::source::{Instr, Operand};

pub(super) fn bra(d: &mut Decoder, i: &Instr, _: &[&str]) -> Done {
    arity(i, 1)?;
    let Operand::Label(target) = i.operands[0] else { return Err("expected a label".into()) };
    d.fixups.push((d.program.ops.len(), target));
    d.emit(Code::Bra);
    Ok(())
}

pub(super) fn ret(d: &mut Decoder, i: &Instr, _: &[&str]) -> Done {
    arity(i, 0)?;
    let exit = i.opcode == "exit" || d.f.entry;
    d.emit(if exit { Code::Exit } else { Code::Ret });
    Ok(())
}

pub(super) fn nop(d: &mut Decoder, _: &Instr, _: &[&str]) -> Done {
    d.emit(Code::Nop);
    Ok(())
}

pub(super) fn trap(d: &mut Decoder, i: &Instr, _: &[&str]) -> Done {
    arity(i, 0)?;
    let x = d.extra(Extra::Text(format!("the kernel executed `{}`", i.opcode)))?;
    d.emit(Code::Trap).x = x;
    Ok(())
}

pub(super) fn call(d: &mut Decoder, i: &Instr, _: &[&str]) -> Done {
    let mut rest = i.operands.as_slice();
    let mut rets: &[Operand] = &[];
    if let [Operand::List(r), tail @ ..] = rest {
        (rets, rest) = (r, tail);
    }
    let [Operand::Name(name), tail @ ..] = rest else { return Err("indirect calls are not supported".into()) };
    let args: &[Operand] = match tail {
        [] => &[],
        [Operand::List(a)] => a,
        _ => return Err("indirect calls are not supported".into()),
    };
    let source = d.source;
    // A prototype may precede the definition.
    let all = || source.functions.iter().enumerate().filter(|(_, f)| f.name == *name && !f.entry);
    let Some((target, f)) = all().find(|(_, f)| f.has_body).or_else(|| all().next()) else {
        return Err(format!("call of `{name}`, which is not in the module"));
    };
    if !f.has_body {
        if name == "__assertfail" {
            let x = d.extra(Extra::Text("an assertion failed".into()))?;
            d.emit(Code::Trap).x = x;
            return Ok(());
        }
        return Err(format!("call of the external function `{name}` is not supported"));
    }
    if args.len() != f.params.len() || rets.len() != f.rets.len() {
        return Err(format!("`{name}` takes {} parameters and returns {} values", f.params.len(), f.rets.len()));
    }
    let (formals, end) = layout(&f.params, 0);
    let (returns, _) = layout(&f.rets, end);
    let mut call = Call { function: 0, args: Vec::new(), rets: Vec::new() };
    for ((o, v), at) in args.iter().zip(&f.params).zip(formals) {
        call.args.push((d.param_offset(o)?, at, v.size));
    }
    for ((o, v), at) in rets.iter().zip(&f.rets).zip(returns) {
        call.rets.push((d.param_offset(o)?, at, v.size));
    }
    let next = d.numbers.len() as u32;
    call.function = *d.numbers.entry(target as u32).or_insert(next);
    let x = d.extra(Extra::Call(call))?;
    d.emit(Code::Call).x = x;
    Ok(())
}
