//! Branches, calls, the end of a thread.

use super::decoder::{Decoder, Done, arity};
use super::provided;
use crate::op::{Bank, Call, Code, Extra, Mem, SINK};
use crate::program::layout;
use crate::source::{Instr, Operand, RegType, Table, Var};

pub(super) fn bra(d: &mut Decoder, i: &Instr, _: &[&str]) -> Done {
    arity(i, 1)?;
    let Operand::Label(target) = i.operands[0] else { return Err("expected a label".into()) };
    d.fixups.push((d.program.ops.len(), target));
    d.emit(Code::Bra);
    Ok(())
}

/// A jump to the label that a table has at an index.
pub(super) fn brx(d: &mut Decoder, i: &Instr, _: &[&str]) -> Done {
    arity(i, 2)?;
    let table = match i.operands[1] {
        Operand::Table(t) => &d.f.tables[t as usize],
        _ => return Err("expected the label of `.branchtargets`".into()),
    };
    let Table::Branches(labels) = table else { return Err("expected the label of `.branchtargets`".into()) };
    if labels.is_empty() {
        return Err(format!("a label of the table is no label of `{}`", d.f.name));
    }
    let index = d.src(&i.operands[0], Bank::W)?;
    let x = d.extra(Extra::Jumps(labels.clone()))?;
    d.jumps.push(x);
    let op = d.emit(Code::Brx);
    (op.a, op.x) = (index, x);
    Ok(())
}

pub(super) fn ret(d: &mut Decoder, i: &Instr, _: &[&str]) -> Done {
    arity(i, 0)?;
    d.leave(i.opcode == "exit" || d.f.entry)
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

/// The parts of a call: results, what is called, arguments, and the label of a prototype or of targets.
struct Parts<'a> {
    rets: &'a [Operand],
    what: &'a Operand,
    args: &'a [Operand],
    table: Option<u32>,
}

fn parts(i: &Instr) -> Option<Parts<'_>> {
    let (rets, rest): (&[Operand], _) = match i.operands.as_slice() {
        [Operand::List(r), rest @ ..] => (r, rest),
        all => (&[], all),
    };
    let (what, args, rest): (_, &[Operand], _) = match rest {
        [what, Operand::List(a), rest @ ..] => (what, a, rest),
        [what, rest @ ..] => (what, &[], rest),
        [] => return None,
    };
    match rest {
        [] => Some(Parts { rets, what, args, table: None }),
        [Operand::Table(t)] => Some(Parts { rets, what, args, table: Some(*t) }),
        _ => None,
    }
}

pub(super) fn call(d: &mut Decoder, i: &Instr, _: &[&str]) -> Done {
    let Some(p) = parts(i) else { return Err("expected `call (results), function, (arguments)`".into()) };
    match p.what {
        Operand::Name(name) => direct(d, name, &p),
        Operand::Reg(_) => indirect(d, &p),
        _ => Err("expected a function, or a register that holds the address of one".into()),
    }
}

fn direct(d: &mut Decoder, name: &str, p: &Parts) -> Done {
    let source = d.source;
    let Some(target) = source.function(name).filter(|&f| !source.functions[f as usize].entry) else {
        return Err(match source.unread_about(name) {
            Some(r) => format!("call of `{name}`, whose line {} is not understood: {}\n    {}", r.line, r.why, r.text),
            None => format!("call of `{name}`, which is not in the module"),
        });
    };
    let f = &source.functions[target as usize];
    if !f.has_body {
        return provided::call(d, name, p.args, p.rets);
    }
    if let Some(r) = &f.refused {
        return Err(format!("call of `{name}`, line {}: {}\n    {}", r.line, r.why, r.text));
    }
    let number = d.number(target);
    let call = Call { targets: vec![(0, number)], args: Vec::new(), rets: Vec::new() };
    enter(d, Code::Call, 0, call, (name, &f.rets, &f.params), p).map(|_| ())
}

fn indirect(d: &mut Decoder, p: &Parts) -> Done {
    let source = d.source;
    let table = match p.table {
        Some(t) => &d.f.tables[t as usize],
        None => return Err("a call through a register needs the label of a `.callprototype` or of `.calltargets`".into()),
    };
    let alike = |f: u32, rets: &[Var], params: &[Var]| {
        let f = &source.functions[f as usize];
        f.has_body && !f.entry && fits(&f.rets, rets) && fits(&f.params, params)
    };
    let (functions, (rets, params)): (Vec<u32>, (&[Var], &[Var])) = match table {
        Table::Prototype(rets, params) => {
            (source.addressed.iter().copied().filter(|&f| alike(f, rets, params)).collect(), (rets, params))
        }
        Table::Calls(names) => {
            let mut list = Vec::new();
            for name in names {
                match source.function(name) {
                    Some(f) => list.push(f),
                    None => return Err(format!("`{name}` among the targets is not in the module")),
                }
            }
            let Some(&first) = list.first() else { return Err("a call without targets".into()) };
            let first = &source.functions[first as usize];
            if let Some(f) = list.iter().find(|&&f| !alike(f, &first.rets, &first.params)) {
                let name = &source.functions[*f as usize].name;
                return Err(format!("`{name}` among the targets has no body, or other parameters than the first"));
            }
            (list, (&first.rets, &first.params))
        }
        Table::Branches(_) => return Err("expected the label of a `.callprototype` or of `.calltargets`".into()),
    };
    let address = d.src(p.what, Bank::L)?;
    let call = Call { targets: Vec::new(), args: Vec::new(), rets: Vec::new() };
    let x = enter(d, Code::CallR, address, call, ("the function", rets, params), p)?;
    d.indirect.push((x, functions));
    Ok(())
}

/// Whether formals lie where those of a prototype do.
fn fits(a: &[Var], b: &[Var]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| (a.size, a.align) == (b.size, b.align))
}

/// The call itself, between what carries values in registers to and from parameter memory. Gives the index of its [`Extra`].
fn enter(
    d: &mut Decoder,
    code: Code,
    address: u16,
    mut call: Call,
    (name, rets, params): (&str, &[Var], &[Var]),
    p: &Parts,
) -> Result<u16, String> {
    if p.args.len() != params.len() || p.rets.len() != rets.len() {
        return Err(format!("{name} takes {} parameters and returns {} values", params.len(), rets.len()));
    }
    let (formals, end) = layout(params, 0);
    let (returns, _) = layout(rets, end);
    let mut next = d.passing;
    let (mut after, mut room) = (Vec::new(), |d: &mut Decoder, v: &Var| {
        let at = next.next_multiple_of(v.align.max(1));
        next = at + v.size;
        d.func.params = d.func.params.max(next);
        at
    });
    for ((o, v), at) in p.args.iter().zip(params).zip(formals) {
        let from = match d.param_offset(o) {
            Ok(_) if d.param_size(o) != v.size => {
                return Err(format!("an argument of {} bytes for a parameter of {}", d.param_size(o), v.size));
            }
            Ok(from) => from,
            Err(_) => {
                let from = room(d, v);
                let mem = registers(d, o, v, false)?;
                d.put_mem(Code::StParam, mem, (0, true, from as i32))?;
                from
            }
        };
        call.args.push((from, at, v.size));
    }
    for ((o, v), at) in p.rets.iter().zip(rets).zip(returns) {
        let to = match d.param_offset(o) {
            Ok(_) if d.param_size(o) != v.size => {
                return Err(format!("a result of {} bytes for one of {}", v.size, d.param_size(o)));
            }
            Ok(to) => to,
            Err(_) => {
                let to = room(d, v);
                if *o != Operand::Sink {
                    after.push((registers(d, o, v, true)?, to));
                }
                to
            }
        };
        call.rets.push((to, at, v.size));
    }
    let x = d.extra(Extra::Call(call))?;
    let op = d.emit(code);
    (op.a, op.x) = (address, x);
    for (mem, to) in after {
        d.put_mem(Code::LdParam, mem, (0, true, to as i32))?;
    }
    Ok(x)
}

/// An argument or result in registers, as memory that has the size of the formal.
fn registers(d: &mut Decoder, o: &Operand, v: &Var, load: bool) -> Result<Mem, String> {
    let list = match o {
        Operand::Vector(list) => list.as_slice(),
        one => std::slice::from_ref(one),
    };
    let bytes = v.size / list.len().max(1) as u32;
    if list.len() > 4 || !matches!(bytes, 1 | 2 | 4 | 8) || bytes * list.len() as u32 != v.size {
        return Err(format!("`{}` has {} bytes, which do not go into {} registers", v.name, v.size, list.len()));
    }
    let ty = format!("b{}", 8 * bytes);
    let mods = match list.len() {
        1 => vec![ty.as_str()],
        2 => vec!["v2", ty.as_str()],
        4 => vec!["v4", ty.as_str()],
        n => return Err(format!("{n} registers for one parameter")),
    };
    d.width = bytes;
    d.mem(o, &mods, load)
}

impl Decoder<'_> {
    /// Moves a formal that lies in registers to or from parameter memory.
    pub(super) fn pass(&mut self, code: Code, v: &Var, at: u32) -> Done {
        // Registers of one formal have one type; a vector has at most four.
        let Some(&first) = v.regs.first() else { return Ok(()) };
        let ty = self.f.regs[first as usize];
        let mut regs = [SINK; 4];
        for (slot, &r) in regs.iter_mut().zip(&v.regs) {
            *slot = self.slots[r as usize].1;
        }
        let (count, wide, half) = (v.regs.len() as u8, ty == RegType::B64, ty == RegType::B16);
        let bytes = (v.size / count as u32) as u8;
        let mem = Mem { bytes, count, signed: false, wide, half, address64: true, regs };
        self.put_mem(code, mem, (0, true, at as i32))
    }

    /// The end of the thread, or of the function: results in registers go to parameter memory.
    pub(super) fn leave(&mut self, exit: bool) -> Done {
        if !exit {
            let f = self.f;
            for (v, at) in f.rets.iter().zip(self.ret_at.clone()) {
                self.pass(Code::StParam, v, at)?;
            }
        }
        self.emit(if exit { Code::Exit } else { Code::Ret });
        Ok(())
    }
}
