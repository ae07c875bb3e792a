//! The body of a function: declarations, labels, instructions.

use super::cursor::{Parsed, Parser, Stop};
use super::scope::{Body, Meaning};
use crate::source::{Instr, Operand, RegType, Space, Table, Target};

/// Most targets that `L<n>` may stand for, all tables of a module together.
const TARGETS: u32 = 1 << 20;

/// How the body of a function ended.
pub(super) enum End {
    Closed,
    /// A declaration of the module began inside: a brace is missing.
    Open,
}

impl<'a> Parser<'a> {
    /// What follows the opening brace of a function, to the closing one.
    pub fn body(&mut self, b: &mut Body<'a>) -> Parsed<End> {
        loop {
            match self.peek()? {
                b'{' => {
                    self.at += 1;
                    if !b.open() {
                        return self.error(format!("`{}` nests its braces too deep", b.f.name));
                    }
                }
                b'}' => {
                    self.at += 1;
                    if b.close() {
                        break;
                    }
                }
                b';' => self.at += 1,
                b'@' if self.s[self.at..].starts_with(b"@@DWARF") => self.skip_line(),
                b'.' => {
                    let (start, line) = (self.at, self.line);
                    if self.begins_function() {
                        return Ok(End::Open);
                    }
                    if let Err(e) = self.body_directive(b) {
                        self.refuse(b, (start, line), e)?;
                    }
                }
                _ if self.at >= self.s.len() => {
                    return self.fatal(self.line, format!("function `{}` does not end: the file is truncated", b.f.name));
                }
                _ => {
                    let (start, line) = (self.at, self.line);
                    if let Err(e) = self.statement(b) {
                        self.refuse(b, (start, line), e)?;
                    }
                }
            }
        }
        self.resolve_labels(b);
        Ok(End::Closed)
    }

    /// Whether a function of the module begins here.
    fn begins_function(&self) -> bool {
        const WORDS: [&str; 4] = [".visible", ".entry", ".func", ".weak"];
        let rest = &self.s[self.at..];
        let is = |w: &str| rest.starts_with(w.as_bytes()) && !rest.get(w.len()).is_some_and(u8::is_ascii_alphanumeric);
        WORDS.into_iter().any(is)
    }

    /// Keeps a statement that was not understood, from `start` to its end, in the place of an instruction.
    fn refuse(&mut self, b: &mut Body<'a>, (start, line): (usize, u32), e: Stop) -> Parsed<()> {
        if e.whole {
            return Err(e);
        }
        (self.at, self.line, self.depth) = (start, line, 0);
        let directive = self.s[start] == b'.';
        let opcode = match self.guard_and_opcode() {
            // A label is no opcode.
            Ok(_) if self.eat(b':')? => String::new(),
            Ok(opcode) => opcode,
            Err(e) if e.whole => return Err(e),
            Err(_) => String::new(),
        };
        (self.at, self.line) = (start, line);
        if directive {
            self.skip_directive(false)?;
        } else {
            self.skip_statement()?;
        }
        let r = self.refusal(start, &e);
        let (text, loc) = (r.text, self.loc);
        b.f.body.push(Instr { guard: None, opcode, operands: Vec::new(), text, line, loc, refused: Some(r.why) });
        Ok(())
    }

    fn guard_and_opcode(&mut self) -> Parsed<String> {
        if self.eat(b'@')? {
            self.eat(b'!')?;
            self.word()?;
        }
        if self.peek()? == b'.' {
            return Ok(self.directive()?.to_string());
        }
        self.opcode()
    }

    fn body_directive(&mut self, b: &mut Body<'a>) -> Parsed<()> {
        match self.directive()? {
            ".reg" => self.registers(b),
            ".local" => self.variables(b, Space::Local),
            ".shared" => self.variables(b, Space::Shared),
            ".param" => self.variables(b, Space::Param),
            ".global" => self.variables(b, Space::Global),
            ".const" => self.variables(b, Space::Const),
            ".loc" => self.place(),
            ".pragma" => self.pragma(),
            w => self.error(format!("directive `{w}` in `{}` is not supported", b.f.name)),
        }
    }

    fn variables(&mut self, b: &mut Body<'a>, space: Space) -> Parsed<()> {
        let t = self.declared()?;
        loop {
            let (name, mut v) = self.variable(space, false, t)?;
            let new = if matches!(space, Space::Global | Space::Const) {
                for r in &mut v.relocations {
                    if let Some(i) = b.global(&r.name) {
                        r.to = Target::Var(i);
                    }
                }
                self.out.vars.push(v);
                b.define(name, Meaning::Global(self.out.vars.len() as u32 - 1))
            } else {
                b.local(name, v)
            };
            if !new {
                return self.error(format!("`{name}` is declared twice"));
            }
            if !self.eat(b',')? {
                return self.expect(b';');
            }
        }
    }

    fn registers(&mut self, b: &mut Body<'a>) -> Parsed<()> {
        let kind = self.register_type()?;
        loop {
            let name = self.word()?;
            if name == "_" {
                return self.error("a register has no name");
            }
            let new = if self.eat(b'<')? {
                let n = self.whole()?;
                self.expect(b'>')?;
                b.range(name, kind, n)
            } else {
                let first = b.register(name, kind);
                b.define(name, Meaning::Reg(first, kind.lanes))
            };
            if !new {
                return self.error(format!("`{name}` is declared twice"));
            }
            if !self.eat(b',')? {
                return self.expect(b';');
            }
        }
    }

    fn statement(&mut self, b: &mut Body<'a>) -> Parsed<()> {
        let mut guard = None;
        let (start, line) = (self.at, self.line);
        if self.eat(b'@')? {
            let negated = self.eat(b'!')?;
            let name = self.dotted()?;
            match b.operand(name) {
                Operand::Reg(r) if b.f.regs[r as usize] == RegType::Pred => guard = Some((r, negated)),
                _ => return self.error(format!("guard `{name}` is not a predicate register")),
            }
        } else {
            let word = self.word()?;
            if self.peek()? == b':' && self.s.get(self.at + 1) != Some(&b':') {
                self.at += 1;
                return self.label(b, word);
            }
            (self.at, self.line) = (start, line);
        }
        let opcode = self.opcode()?;
        let call = opcode.starts_with("call");
        let mut operands = Vec::new();
        if self.peek()? != b';' {
            loop {
                operands.push(self.operand(b, call)?);
                if !self.eat(b',')? {
                    break;
                }
            }
        }
        if self.peek()? != b';' {
            let found = self.rest();
            return self.error(format!("expected `,` or `;`, found `{found}`"));
        }
        let text = self.text_from(start);
        self.at += 1;
        if opcode.starts_with("bra")
            && let Some(i) = operands.iter().position(|o| matches!(o, Operand::Name(_)))
        {
            b.branches.push((b.f.body.len(), i, b.current));
        }
        b.f.body.push(Instr { guard, opcode, operands, text, line, loc: self.loc, refused: None });
        Ok(())
    }

    /// An opcode with its modifiers; blanks may stand before a dot.
    fn opcode(&mut self) -> Parsed<String> {
        let word = self.word()?;
        let start = self.at - word.len();
        self.modifiers();
        let mut opcode = self.text[start..self.at].to_string();
        loop {
            let end = self.at;
            let line = self.line;
            let dot = self.peek()? == b'.' && self.s.get(self.at + 1).is_some_and(u8::is_ascii_alphanumeric);
            if !dot {
                // Blanks behind the opcode are skipped again; a line counts once.
                (self.at, self.line) = (end, line);
                return Ok(opcode);
            }
            let from = self.at;
            self.modifiers();
            opcode.push_str(&self.text[from..self.at]);
        }
    }

    /// Modifiers without blanks. `.L2::128B`: two colons belong to a modifier, one ends a label.
    fn modifiers(&mut self) {
        self.components();
        while self.s[self.at..].starts_with(b"::") {
            self.at += 2;
            while self.s.get(self.at).is_some_and(|c| c.is_ascii_alphanumeric() || *c == b'_') {
                self.at += 1;
            }
            self.components();
        }
    }

    /// Behind a label: either it is the place of what follows, or it names a table.
    fn label(&mut self, b: &mut Body<'a>, name: &'a str) -> Parsed<()> {
        let mut labels = Vec::new();
        let table = if self.eat_directive(".branchtargets")? {
            labels = self.targets()?;
            Table::Branches(Vec::new())
        } else if self.eat_directive(".calltargets")? {
            Table::Calls(self.targets()?)
        } else if self.eat_directive(".callprototype")? {
            self.prototype()?
        } else {
            return if b.scopes[b.current].labels.insert(name, b.f.body.len() as u32).is_some() {
                self.error(format!("label `{name}` is defined twice"))
            } else {
                Ok(())
            };
        };
        self.expect(b';')?;
        if matches!(table, Table::Branches(_)) {
            b.tables.push((b.f.tables.len(), labels, b.current));
        }
        b.f.tables.push(table);
        if b.define(name, Meaning::Table(b.f.tables.len() as u32 - 1)) {
            Ok(())
        } else {
            self.error(format!("`{name}` is declared twice"))
        }
    }

    /// Names with commas between; `L<3>` is L0, L1, L2.
    fn targets(&mut self) -> Parsed<Vec<String>> {
        let mut list = Vec::new();
        loop {
            let name = self.word()?;
            if self.eat(b'<')? {
                let n = self.whole()?;
                self.expect(b'>')?;
                self.targets = self.targets.saturating_add(n);
                if self.targets > TARGETS {
                    return self.error(format!("the tables of the module name more than {TARGETS} targets"));
                }
                list.extend((0..n).map(|i| format!("{name}{i}")));
            } else {
                list.push(name.to_string());
            }
            if !self.eat(b',')? {
                return Ok(list);
            }
        }
    }

    /// `(.param .b32 _) _ (.param .b64 _)`
    fn prototype(&mut self) -> Parsed<Table> {
        let rets = if self.peek()? == b'(' { self.formals()? } else { Vec::new() };
        if self.word()? != "_" {
            return self.error("expected `_` in a prototype");
        }
        let params = if self.peek()? == b'(' { self.formals()? } else { Vec::new() };
        while self.peek()? == b'.' {
            match self.directive()? {
                ".noreturn" => {}
                ".abi_preserve" | ".abi_preserve_control" => {
                    self.whole()?;
                }
                w => return self.error(format!("directive `{w}` of a prototype is not supported")),
            }
        }
        let vars = |list: Vec<super::signature::Formal>| list.into_iter().map(|(_, v, _)| v).collect();
        Ok(Table::Prototype(vars(rets), vars(params)))
    }

    /// Gives branches their targets: a label of their own braces, or of those around.
    fn resolve_labels(&mut self, b: &mut Body<'a>) {
        let find = |b: &Body, name: &str, scope: usize| b.outwards(scope).find_map(|s| b.scopes[s].labels.get(name).copied());
        for (instr, operand, scope) in std::mem::take(&mut b.branches) {
            let Operand::Name(name) = &b.f.body[instr].operands[operand] else { continue };
            match find(b, name, scope) {
                Some(t) => b.f.body[instr].operands[operand] = Operand::Label(t),
                None => {
                    let why = format!("branch to `{name}`, which is no label of `{}`", b.f.name);
                    b.f.body[instr].refused = Some(why);
                }
            }
        }
        for (table, names, scope) in std::mem::take(&mut b.tables) {
            let found: Option<Vec<u32>> = names.iter().map(|n| find(b, n, scope)).collect();
            // A table with a label that is not there has no targets, and no branch can use it.
            b.f.tables[table] = Table::Branches(found.unwrap_or_default());
        }
    }
}
