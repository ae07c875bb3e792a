//! From the syntax tree to micro-ops: register slots, constants, shared memory layout, jump targets. [`table`] names for every
//! form of every instruction the function that decodes it; the families of instructions are a file each.

use std::collections::HashMap;

use super::error::Error;
use super::flow;
use super::idioms;
use super::mem::function_address;
use super::op::{Bank, Code, Extra, Op, SINK};
use super::program::{Func, OpSite, Program, Rounds, layout};
use super::source::{Instr, RegType, Source, Space, type_size};
use decoder::{Decoder, Done};
use table::How;

mod arithmetic;
mod control;
mod convert;
mod decoder;
mod form;
mod left;
mod mbarrier;
mod memory;
mod narrow;
mod numeric;
mod provided;
mod scalar;
pub(super) mod table;
mod tensor;
mod together;
mod vector;
mod video;
mod warpgroup;
mod wmma;

/// Most bytes of local variables, and of parameters, of a thread: what the hardware gives.
const STACK: u32 = 512 << 10;

/// Decodes an entry and all functions it calls.
pub(crate) fn program(source: &Source, module: &str, entry: usize) -> Result<Program, Error> {
    let program = Program {
        ops: Vec::new(),
        plain: Vec::new(),
        alike: Vec::new(),
        sites: Vec::new(),
        functions: Vec::new(),
        mems: Vec::new(),
        extras: Vec::new(),
        nums: Vec::new(),
        shared: 0,
        shared_vars: Vec::new(),
        globals: Vec::new(),
        function_names: Vec::new(),
        rounds: Rounds::default(),
    };
    let site = OpSite { function: 0, instr: 0, first: true };
    let f = &source.functions[entry];
    let mut d = Decoder {
        source,
        program,
        numbers: HashMap::from([(entry as u32, 0)]),
        queue: vec![entry as u32],
        indirect: Vec::new(),
        shared: HashMap::new(),
        f,
        slots: Vec::new(),
        next: [0; 3],
        presets: HashMap::new(),
        func: empty(entry as u32),
        guard: (0, 0),
        starts: Vec::new(),
        fixups: Vec::new(),
        local_at: Vec::new(),
        param_at: Vec::new(),
        ret_at: Vec::new(),
        formal_at: Vec::new(),
        passing: 0,
        jumps: Vec::new(),
        width: 4,
        wider: false,
        site,
    };
    // What is called by name must be there.
    let mut done = 0;
    while done < d.queue.len() {
        d.function(d.queue[done], module, &f.name)?;
        done += 1;
    }
    // What may be reached through an address need not: a call of a function that cannot be run is a fault.
    while d.link_indirect() || done < d.queue.len() {
        while done < d.queue.len() {
            d.function_or_fault(d.queue[done], module, &f.name)?;
            done += 1;
        }
    }
    idioms::recognise(&mut d.program);
    let Program { ops, plain, alike, .. } = &mut d.program;
    (*plain, *alike) = (vec![0; ops.len()], vec![1; ops.len()]);
    for i in (0..ops.len()).rev() {
        let next = i + 1;
        let of_next = |t: &[u16]| t.get(next).map_or(0, |n| n.saturating_add(1));
        if ops[i].code.plain() {
            plain[i] = of_next(plain).max(1);
        }
        let same = |a: &Op, b: &Op| (a.code, a.pred, a.neg) == (b.code, b.pred, b.neg);
        if ops[i].code.hot() && ops.get(next).is_some_and(|o| same(o, &ops[i])) {
            alike[i] = of_next(alike);
        }
    }
    Ok(d.program)
}

fn empty(source: u32) -> Func {
    Func { source, start: 0, banks: [0; 3], presets: Vec::new(), local: 0, params: 0, uninitialised: Vec::new() }
}

impl<'a> Decoder<'a> {
    fn function(&mut self, source: u32, module: &str, kernel: &str) -> Result<(), Error> {
        let f = &self.source.functions[source as usize];
        let error = |line: u32, why: String| {
            let why = if f.entry { why } else { format!("in function `{}`: {why}", f.name) };
            Error { module: module.into(), line, kernel: kernel.into(), why }
        };
        if let Some(r) = &f.refused {
            return Err(error(r.line, format!("{}\n    {}", r.why, r.text)));
        }
        self.f = f;
        self.func = empty(source);
        self.func.start = self.program.ops.len() as u32;
        let extras = self.program.extras.len();
        // Predicate 0 is always true.
        self.next = [0, 0, 1];
        self.slots.clear();
        for r in &f.regs {
            let bank = match r {
                RegType::Pred => Bank::P,
                RegType::B64 => Bank::L,
                _ => Bank::W,
            };
            self.slots.push((bank, self.next[bank as usize] as u16));
            self.next[bank as usize] += 1;
        }
        let named = self.next.map(|n| n as u16);
        self.presets.clear();
        self.starts.clear();
        self.fixups.clear();
        self.jumps.clear();
        // Local variables share one area, and parameters another: formals, return values, then the parameters of calls.
        self.local_at = vec![0; f.vars.len()];
        self.param_at = vec![0; f.vars.len()];
        let (formal_at, mut params) = layout(&f.params, 0);
        self.formal_at = formal_at;
        let (ret_at, end) = layout(&f.rets, params);
        (self.ret_at, params) = (ret_at, end);
        let mut local = 0u32;
        for (i, v) in f.vars.iter().enumerate() {
            let (at, list) = match v.space {
                Space::Local => (&mut local, &mut self.local_at),
                Space::Param => (&mut params, &mut self.param_at),
                _ => continue,
            };
            // Both are at most `STACK` before, and a variable and its alignment at most 2^30 and 2^24.
            *at = at.next_multiple_of(v.align.max(1));
            list[i] = *at;
            *at += v.size;
            if *at > STACK {
                return Err(error(f.line, format!("`{}` has more than {STACK} bytes of local variables or parameters", f.name)));
            }
        }
        self.passing = params.next_multiple_of(16);
        (self.func.local, self.func.params) = (local, params);
        self.site = OpSite { function: self.program.functions.len() as u32, instr: 0, first: false };
        self.guard = (0, 0);
        for (v, at) in f.params.iter().zip(self.formal_at.clone()) {
            self.pass(Code::LdParam, v, at).map_err(|why| error(f.line, why))?;
        }

        for (i, instr) in f.body.iter().enumerate() {
            self.starts.push(self.program.ops.len() as u32);
            self.site = OpSite { function: self.program.functions.len() as u32, instr: i as u32, first: true };
            self.guard = match instr.guard {
                Some((r, negated)) => (self.slots[r as usize].1, if negated { !0 } else { 0 }),
                None => (0, 0),
            };
            self.instruction(instr).map_err(|why| error(instr.line, format!("{why}\n    {}", instr.text)))?;
            if self.next.iter().any(|&n| n >= SINK as u32) {
                return Err(error(instr.line, format!("`{}` uses more than 65535 registers", f.name)));
            }
        }
        // Behind the last instruction a function returns.
        self.site.first = false;
        self.guard = (0, 0);
        self.starts.push(self.program.ops.len() as u32);
        self.leave(f.entry).map_err(|why| error(f.line, why))?;
        for &(op, label) in &self.fixups {
            self.program.ops[op].imm = self.starts[label as usize] as i32;
        }
        for &x in &self.jumps {
            if let Extra::Jumps(targets) = &mut self.program.extras[x as usize] {
                targets.iter_mut().for_each(|t| *t = self.starts[*t as usize]);
            }
        }
        self.hold_products(extras);
        self.func.banks = self.next.map(|n| n as u16);
        let mut presets: Vec<_> = self.presets.iter().map(|(&(bank, p), &slot)| (bank, slot, p)).collect();
        presets.sort_by_key(|&(bank, slot, _)| (bank as u8, slot));
        self.func.presets = presets;
        let mut func = std::mem::replace(&mut self.func, empty(0));
        let end = self.program.ops.len();
        flow::allocate(&mut self.program, &mut func, named, end);
        self.program.functions.push(func);
        Ok(())
    }

    /// [`Decoder::function`] for one that might not be called: in the place of one that cannot be run, a fault.
    fn function_or_fault(&mut self, source: u32, module: &str, kernel: &str) -> Result<(), Error> {
        let p = &self.program;
        let (ops, mems, extras, shared) = (p.ops.len(), p.mems.len(), p.extras.len(), p.shared);
        let (vars, indirect) = (p.shared_vars.len(), self.indirect.len());
        let Err(e) = self.function(source, module, kernel) else { return Ok(()) };
        self.indirect.truncate(indirect);
        let p = &mut self.program;
        p.ops.truncate(ops);
        p.sites.truncate(ops);
        p.mems.truncate(mems);
        p.extras.truncate(extras);
        p.shared = shared;
        for (name, ..) in p.shared_vars.drain(vars..) {
            self.shared.remove(&name);
        }
        p.extras.push(Extra::Text(format!("line {}: {}", e.line, e.why)));
        let x = u16::try_from(p.extras.len() - 1).map_err(|_| e)?;
        (self.next, self.guard) = ([0, 0, 1], (0, 0));
        self.presets.clear();
        self.func = empty(source);
        self.func.start = ops as u32;
        self.func.banks = [0, 0, 1];
        // Callers copy their arguments all the same.
        let f = &self.source.functions[source as usize];
        self.func.params = layout(&f.rets, layout(&f.params, 0).1).1;
        self.site = OpSite { function: self.program.functions.len() as u32, instr: 0, first: false };
        let op = self.emit(Code::Trap);
        (op.x, op.imm) = (x, 1);
        let func = std::mem::replace(&mut self.func, empty(0));
        self.program.functions.push(func);
        Ok(())
    }

    /// Gives calls through registers their targets; whether there were any.
    fn link_indirect(&mut self) -> bool {
        let calls = std::mem::take(&mut self.indirect);
        for (x, functions) in &calls {
            let targets: Vec<(u64, u32)> = functions.iter().map(|&f| (function_address(f), self.number(f))).collect();
            if let Extra::Call(call) = &mut self.program.extras[*x as usize] {
                call.targets = targets;
            }
        }
        if !calls.is_empty() && self.program.function_names.is_empty() {
            self.program.function_names = self.source.functions.iter().map(|f| f.name.clone()).collect();
        }
        !calls.is_empty()
    }

    fn instruction(&mut self, i: &Instr) -> Done {
        let Some((row, mods)) = table::find(&i.opcode) else {
            // Of a directive, or of text without an opcode, the parser knows more.
            if let Some(why) = i.refused.as_ref().filter(|_| i.opcode.is_empty() || i.opcode.starts_with('.')) {
                return Err(why.clone());
            }
            let mnemonic = i.opcode.split('.').next().unwrap_or("");
            let why = table::reason(&i.opcode).map_or(String::new(), |why| format!(": {why}"));
            return Err(if table::knows(mnemonic) {
                format!("`{}`: this form of `{mnemonic}` is not supported{why}", i.opcode)
            } else {
                format!("instruction `{}` is not supported{why}", i.opcode)
            });
        };
        if let Some(why) = &i.refused {
            return Err(why.clone());
        }
        match mods.iter().position(|m| *m == "tf32") {
            Some(_) if i.opcode.starts_with("cvt") => self.program.rounds.by_cvt = true,
            Some(_) => self.program.rounds.tf32 = true,
            None => {}
        }
        self.width = mods.last().and_then(|m| type_size(&format!(".{m}"))).unwrap_or(4);
        self.wider = matches!(i.opcode.split('.').next(), Some("cvt" | "st"));
        match row.how {
            How::Alu(code) => self.alu(code, i),
            How::With(f) => f(self, i, &mods),
        }
    }
}
