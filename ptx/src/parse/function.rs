//! The body of a function: declarations, labels, instructions and their operands.

use std::collections::HashMap;

use super::cursor::{Parser, word_start};
use crate::error::Error;
use crate::source::{Function, Instr, Loc, Operand, RegType, Space, type_size};

/// The names visible inside a pair of braces.
#[derive(Default)]
struct Scope<'a> {
    parent: usize,
    regs: HashMap<&'a str, u32>,
    /// `%r<12>` declares %r0 … %r11, numbered from `first`.
    ranges: HashMap<&'a str, (u32, u32)>,
    vars: HashMap<&'a str, u32>,
    labels: HashMap<&'a str, u32>,
}

struct Body<'a> {
    f: Function,
    scopes: Vec<Scope<'a>>,
    current: usize,
    /// Names that may be labels further down: (instruction, operand path, scope).
    pending: Vec<(usize, usize, usize)>,
}

impl<'a> Parser<'a> {
    /// What follows the opening brace of a function, to the closing one.
    pub fn body(&mut self, f: Function) -> Result<Function, Error> {
        let mut b = Body { f, scopes: vec![Scope::default()], current: 0, pending: Vec::new() };
        let mut depth = 1;
        while depth > 0 {
            match self.peek()? {
                0 => return self.error(format!("function `{}` does not end: the file is truncated", b.f.name)),
                b'{' => {
                    self.at += 1;
                    depth += 1;
                    b.scopes.push(Scope { parent: b.current, ..Default::default() });
                    b.current = b.scopes.len() - 1;
                }
                b'}' => {
                    self.at += 1;
                    depth -= 1;
                    b.current = b.scopes[b.current].parent;
                }
                b';' => self.at += 1,
                b'.' => self.body_directive(&mut b)?,
                _ => self.statement(&mut b)?,
            }
        }
        self.resolve_labels(&mut b)?;
        Ok(b.f)
    }

    fn body_directive(&mut self, b: &mut Body<'a>) -> Result<(), Error> {
        match self.dotted()? {
            ".reg" => {
                self.registers(b)?;
                self.expect(b';')
            }
            w @ (".local" | ".shared" | ".param") => {
                let space = match w {
                    ".local" => Space::Local,
                    ".shared" => Space::Shared,
                    _ => Space::Param,
                };
                loop {
                    let v = self.var(space, false)?;
                    let name = self.interned(&v.name);
                    b.scopes[b.current].vars.insert(name, b.f.vars.len() as u32);
                    b.f.vars.push(v);
                    if !self.eat(b',')? {
                        break;
                    }
                }
                self.expect(b';')
            }
            ".loc" => {
                let (file, line, col) = (self.integer()? as u32, self.integer()? as u32, self.integer()? as u32);
                let mut inlined = None;
                if self.eat(b',')? {
                    if self.word()? != "function_name" {
                        return self.error("`.loc`: expected function_name");
                    }
                    let label = self.word()?.to_string();
                    if self.eat(b'+')? {
                        self.integer()?;
                    }
                    self.expect(b',')?;
                    if self.word()? != "inlined_at" {
                        return self.error("`.loc`: expected inlined_at");
                    }
                    inlined = Some((label, self.integer()? as u32, self.integer()? as u32, self.integer()? as u32));
                }
                self.out.locs.push(Loc { file, line, col, inlined });
                self.loc = Some(self.out.locs.len() as u32 - 1);
                Ok(())
            }
            ".pragma" => {
                self.string()?;
                self.expect(b';')
            }
            w => self.error(format!("directive `{w}` in `{}` is not supported", b.f.name)),
        }
    }

    /// A name that was just read, as a slice of the file's text.
    fn interned(&self, name: &str) -> &'a str {
        let at = self.text[..self.at].rfind(name).expect("the name was just read");
        &self.text[at..at + name.len()]
    }

    fn registers(&mut self, b: &mut Body<'a>) -> Result<(), Error> {
        let mut ty = self.dotted()?;
        if matches!(ty, ".v2" | ".v4") {
            return self.error("vector registers are not supported");
        }
        if let Some(i) = ty[1..].find('.') {
            ty = &ty[..i + 1];
        }
        let kind = match (ty, type_size(ty)) {
            (".pred", _) => RegType::Pred,
            (_, Some(1 | 2)) => RegType::B16,
            (_, Some(4)) => RegType::B32,
            (_, Some(8)) => RegType::B64,
            _ => return self.error(format!("registers of type `{ty}` are not supported")),
        };
        loop {
            let name = self.word()?;
            let first = b.f.regs.len() as u32;
            if self.eat(b'<')? {
                let n = self.integer()?;
                self.expect(b'>')?;
                if !(0..1 << 20).contains(&n) {
                    return self.error(format!("{n} registers `{name}`"));
                }
                b.scopes[b.current].ranges.insert(name, (first, n as u32));
                for i in 0..n {
                    b.f.regs.push(kind);
                    b.f.reg_names.push(format!("{name}{i}"));
                }
            } else {
                b.scopes[b.current].regs.insert(name, first);
                b.f.regs.push(kind);
                b.f.reg_names.push(name.to_string());
            }
            if !self.eat(b',')? {
                return Ok(());
            }
        }
    }

    fn statement(&mut self, b: &mut Body<'a>) -> Result<(), Error> {
        let mut guard = None;
        let start = self.at;
        let line = self.line;
        if self.eat(b'@')? {
            let negated = self.eat(b'!')?;
            let name = self.word()?;
            match self.name(b, name) {
                Operand::Reg(r) if b.f.regs[r as usize] == RegType::Pred => guard = Some((r, negated)),
                _ => return self.error(format!("guard `{name}` is not a predicate register")),
            }
        }
        let opcode = self.dotted()?;
        if guard.is_none() && self.peek()? == b':' {
            self.at += 1;
            if b.scopes[b.current].labels.insert(opcode, b.f.body.len() as u32).is_some() {
                return self.error(format!("label `{opcode}` is defined twice"));
            }
            return match self.peek()? {
                // Tables of branch targets and prototypes belong to the label.
                b'.' if self.text[self.at..].starts_with(".callprototype")
                    || self.text[self.at..].starts_with(".branchtargets") =>
                {
                    self.error(format!("`{}` is not supported", self.rest()))
                }
                _ => Ok(()),
            };
        }
        let mut operands = Vec::new();
        while self.peek()? != b';' {
            operands.push(self.operand(b)?);
            self.eat(b',')?;
        }
        let text = self.text[start..self.at].split_whitespace().collect::<Vec<_>>().join(" ");
        self.at += 1;
        for (i, o) in operands.iter().enumerate() {
            if matches!(o, Operand::Name(_)) {
                b.pending.push((b.f.body.len(), i, b.current));
            }
        }
        b.f.body.push(Instr { guard, opcode: opcode.to_string(), operands, text, line, loc: self.loc });
        Ok(())
    }

    fn operand(&mut self, b: &mut Body<'a>) -> Result<Operand, Error> {
        let c = self.peek()?;
        let first = match c {
            b'{' => {
                self.at += 1;
                let list = self.list(b, b'}')?;
                return Ok(Operand::Vector(list));
            }
            b'(' => {
                self.at += 1;
                let list = self.list(b, b')')?;
                return Ok(Operand::List(list));
            }
            b'[' => {
                self.at += 1;
                let base = if word_start(self.peek()?) {
                    let w = self.word()?;
                    self.name(b, w)
                } else {
                    Operand::Int(self.integer()?)
                };
                let plus = if self.eat(b'+')? || self.peek()? == b'-' { self.integer()? } else { 0 };
                self.expect(b']')?;
                return Ok(Operand::Address(Box::new(base), plus));
            }
            b'!' => {
                self.at += 1;
                let w = self.word()?;
                match self.name(b, w) {
                    Operand::Reg(r) => return Ok(Operand::NotReg(r)),
                    _ => return self.error(format!("`!{w}`: not a register")),
                }
            }
            c if c.is_ascii_digit() || c == b'-' => return self.number(),
            c if word_start(c) => {
                let w = self.dotted()?;
                self.name(b, w)
            }
            _ => {
                let found = self.rest();
                return self.error(format!("expected an operand, found `{found}`"));
            }
        };
        if self.eat(b'|')? {
            let w = self.word()?;
            let second = self.name(b, w);
            return Ok(Operand::Pair(Box::new(first), Box::new(second)));
        }
        if let Operand::Name(_) | Operand::Local(_) | Operand::Formal(..) = first
            && self.eat(b'+')?
        {
            // `symbol + offset` as a value.
            let plus = self.integer()?;
            return Ok(Operand::Pair(Box::new(first), Box::new(Operand::Int(plus))));
        }
        Ok(first)
    }

    fn list(&mut self, b: &mut Body<'a>, close: u8) -> Result<Vec<Operand>, Error> {
        let mut list = Vec::new();
        while !self.eat(close)? {
            if self.peek()? == 0 {
                return self.error("a list does not end");
            }
            list.push(self.operand(b)?);
            self.eat(b',')?;
        }
        Ok(list)
    }

    /// What a name means here.
    fn name(&self, b: &Body<'a>, w: &str) -> Operand {
        if w == "_" {
            return Operand::Sink;
        }
        let mut s = b.current;
        let digits = w.len() - w.bytes().rev().take_while(u8::is_ascii_digit).count();
        loop {
            let scope = &b.scopes[s];
            if let Some(&r) = scope.regs.get(w) {
                return Operand::Reg(r);
            }
            if let Some(&(first, n)) = scope.ranges.get(&w[..digits])
                && let Ok(i) = w[digits..].parse::<u32>()
                && i < n
            {
                return Operand::Reg(first + i);
            }
            if let Some(&v) = scope.vars.get(w) {
                return Operand::Local(v);
            }
            if s == 0 {
                break;
            }
            s = scope.parent;
        }
        if let Some(i) = b.f.params.iter().position(|v| v.name == w) {
            return Operand::Formal(false, i as u32);
        }
        if let Some(i) = b.f.rets.iter().position(|v| v.name == w) {
            return Operand::Formal(true, i as u32);
        }
        Operand::Name(w.to_string())
    }

    fn resolve_labels(&mut self, b: &mut Body<'a>) -> Result<(), Error> {
        for &(instr, operand, mut scope) in &b.pending {
            let Operand::Name(name) = &b.f.body[instr].operands[operand] else { continue };
            let target = loop {
                if let Some(&t) = b.scopes[scope].labels.get(name.as_str()) {
                    break Some(t);
                }
                if scope == 0 {
                    break None;
                }
                scope = b.scopes[scope].parent;
            };
            if let Some(t) = target {
                b.f.body[instr].operands[operand] = Operand::Label(t);
            } else if b.f.body[instr].opcode.starts_with("bra") {
                let (name, line) = (name.clone(), b.f.body[instr].line);
                self.line = line;
                return self.error(format!("branch to `{name}`, which is no label of `{}`", b.f.name));
            }
        }
        Ok(())
    }
}
