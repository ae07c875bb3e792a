//! PTX text to a syntax tree. The grammar is regular by line, so one cursor over the bytes is parser and lexer in one; every
//! instruction keeps its line, its text and its `.loc`, because a report that cannot name the source is half a report.
//!
//! Opcodes are kept as text here: what an instruction means, and whether it is supported, is decided when a kernel is decoded.

use std::collections::HashMap;

use super::Error;

/// A whole file.
#[derive(Debug, Default)]
pub(crate) struct Source {
    pub functions: Vec<Function>,
    /// Variables at module scope: global, constant and shared.
    pub vars: Vec<Var>,
    /// `.file`: source files by number.
    pub files: HashMap<u32, String>,
    /// `.loc` rows; an instruction names one by index.
    pub locs: Vec<Loc>,
    /// Names that `.loc … function_name LABEL` refers to.
    pub strings: HashMap<String, String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Loc {
    pub file: u32,
    pub line: u32,
    pub col: u32,
    /// The inlined function's label in `.debug_str`, and the place it was inlined at.
    pub inlined: Option<(String, u32, u32, u32)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Space {
    Global,
    Const,
    Shared,
    Local,
    Param,
}

/// A variable: of the module, of a function, or a parameter.
#[derive(Debug, Clone)]
pub(crate) struct Var {
    pub name: String,
    pub space: Space,
    pub align: u32,
    /// Bytes; 0 for `.extern .shared x[]`, whose size the launch gives.
    pub size: u32,
    pub external: bool,
    pub init: Vec<u8>,
    /// Addresses inside `init`: (offset, symbol, addend).
    pub relocations: Vec<(u32, String, i64)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RegType {
    Pred,
    /// 8- and 16-bit registers, kept zero-extended.
    B16,
    B32,
    B64,
}

#[derive(Debug)]
pub(crate) struct Function {
    pub name: String,
    pub entry: bool,
    pub rets: Vec<Var>,
    pub params: Vec<Var>,
    /// `.maxntid` or `.reqntid`.
    pub max_threads: Option<[u32; 3]>,
    pub required_threads: bool,
    pub regs: Vec<RegType>,
    pub reg_names: Vec<String>,
    /// `.local`, `.shared` and `.param` variables of the body.
    pub vars: Vec<Var>,
    pub body: Vec<Instr>,
    pub has_body: bool,
}

#[derive(Debug)]
pub(crate) struct Instr {
    /// Guard: register and whether it is negated.
    pub guard: Option<(u32, bool)>,
    pub opcode: String,
    pub operands: Vec<Operand>,
    /// For error messages: the statement as written, blanks collapsed.
    pub text: String,
    pub line: u32,
    /// Index into [`Source::locs`].
    pub loc: Option<u32>,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Operand {
    Reg(u32),
    /// `!p`
    NotReg(u32),
    /// `p|q`; a missing side is `_`.
    Pair(Box<Operand>, Box<Operand>),
    Int(i64),
    F32(u32),
    F64(u64),
    /// A variable of the function (index into its `vars`).
    Local(u32),
    /// A formal parameter or return value: (is return value, index).
    Formal(bool, u32),
    /// Any other name: a module variable, a function or a special register.
    Name(String),
    /// A branch target: index into the body.
    Label(u32),
    /// `[base + offset]`
    Address(Box<Operand>, i64),
    Vector(Vec<Operand>),
    /// A parenthesised list, of a call.
    List(Vec<Operand>),
    /// `_`
    Sink,
}

pub(crate) fn parse(module: &str, text: &str) -> Result<Source, Error> {
    let mut p = Parser { module, text, s: text.as_bytes(), at: 0, line: 1, out: Source::default(), loc: None };
    p.file()?;
    Ok(p.out)
}

struct Parser<'a> {
    module: &'a str,
    text: &'a str,
    s: &'a [u8],
    at: usize,
    line: u32,
    out: Source,
    loc: Option<u32>,
}

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

fn word_start(c: u8) -> bool {
    c.is_ascii_alphabetic() || matches!(c, b'_' | b'$' | b'%')
}

fn word_byte(c: u8) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, b'_' | b'$' | b'%')
}

impl<'a> Parser<'a> {
    fn error<T>(&self, why: impl Into<String>) -> Result<T, Error> {
        Err(Error { module: self.module.to_string(), line: self.line, kernel: String::new(), why: why.into() })
    }

    /// Skips blanks and comments.
    fn skip(&mut self) -> Result<(), Error> {
        while let Some(&c) = self.s.get(self.at) {
            match c {
                b'\n' => {
                    self.line += 1;
                    self.at += 1;
                }
                b' ' | b'\t' | b'\r' => self.at += 1,
                b'/' if self.s.get(self.at + 1) == Some(&b'/') => {
                    while self.s.get(self.at).is_some_and(|&c| c != b'\n') {
                        self.at += 1;
                    }
                }
                b'/' if self.s.get(self.at + 1) == Some(&b'*') => {
                    let Some(end) = self.text[self.at + 2..].find("*/") else { return self.error("a comment does not end") };
                    self.line += self.text[self.at..self.at + 2 + end].matches('\n').count() as u32;
                    self.at += end + 4;
                }
                _ => break,
            }
        }
        Ok(())
    }

    fn peek(&mut self) -> Result<u8, Error> {
        self.skip()?;
        Ok(self.s.get(self.at).copied().unwrap_or(0))
    }

    fn eat(&mut self, c: u8) -> Result<bool, Error> {
        let found = self.peek()? == c;
        self.at += found as usize;
        Ok(found)
    }

    fn expect(&mut self, c: u8) -> Result<(), Error> {
        if self.eat(c)? {
            return Ok(());
        }
        let found = self.rest();
        self.error(format!("expected `{}`, found `{found}`", c as char))
    }

    /// What comes next, for an error message.
    fn rest(&self) -> String {
        let line = self.text.get(self.at..).unwrap_or("").lines().next().unwrap_or("");
        if line.is_empty() { "end of file".into() } else { line.chars().take(40).collect() }
    }

    /// A name, without dots.
    fn word(&mut self) -> Result<&'a str, Error> {
        self.skip()?;
        let start = self.at;
        while self.s.get(self.at).is_some_and(|&c| word_byte(c)) {
            self.at += 1;
        }
        if start == self.at {
            let found = self.rest();
            return self.error(format!("expected a name, found `{found}`"));
        }
        Ok(&self.text[start..self.at])
    }

    /// A word with its dots: an opcode, or a special register such as `%tid.x`.
    fn dotted(&mut self) -> Result<&'a str, Error> {
        self.skip()?;
        let start = self.at;
        while self.s.get(self.at).is_some_and(|&c| word_byte(c) || c == b'.' || c == b':') {
            // A single colon ends a label; two belong to the opcode (`.L2::128B`).
            if self.s[self.at] == b':' {
                if self.s.get(self.at + 1) != Some(&b':') {
                    break;
                }
                self.at += 1;
            }
            self.at += 1;
        }
        if start == self.at {
            let found = self.rest();
            return self.error(format!("expected an instruction, found `{found}`"));
        }
        Ok(&self.text[start..self.at])
    }

    fn string(&mut self) -> Result<&'a str, Error> {
        self.expect(b'"')?;
        let start = self.at;
        while self.s.get(self.at).is_some_and(|&c| c != b'"') {
            self.line += (self.s[self.at] == b'\n') as u32;
            self.at += 1;
        }
        if self.at >= self.s.len() {
            return self.error("a string does not end");
        }
        self.at += 1;
        Ok(&self.text[start..self.at - 1])
    }

    /// A number: integer, `0f` or `0d` bits, or decimal floating point.
    fn number(&mut self) -> Result<Operand, Error> {
        let negative = self.eat(b'-')?;
        self.skip()?;
        let start = self.at;
        while self.s.get(self.at).is_some_and(|&c| c.is_ascii_alphanumeric() || c == b'.') {
            self.at += 1;
            // The sign of a decimal exponent.
            if matches!(self.s[self.at - 1], b'e' | b'E')
                && matches!(self.s.get(self.at), Some(b'+' | b'-'))
                && !self.text[start..].starts_with("0x")
            {
                self.at += 1;
            }
        }
        let t = &self.text[start..self.at];
        let low = t.to_ascii_lowercase();
        let bad = || Error {
            module: self.module.to_string(),
            line: self.line,
            kernel: String::new(),
            why: format!("`{t}` is not a number"),
        };
        let int = |digits: &str, radix| u64::from_str_radix(digits.trim_end_matches('u'), radix).map_err(|_| bad());
        let value = if let Some(h) = low.strip_prefix("0f") {
            let bits = u32::from_str_radix(h, 16).map_err(|_| bad())?;
            return Ok(Operand::F32(if negative { bits ^ 1 << 31 } else { bits }));
        } else if let Some(h) = low.strip_prefix("0d") {
            let bits = u64::from_str_radix(h, 16).map_err(|_| bad())?;
            return Ok(Operand::F64(if negative { bits ^ 1 << 63 } else { bits }));
        } else if let Some(h) = low.strip_prefix("0x") {
            int(h, 16)?
        } else if let Some(b) = low.strip_prefix("0b") {
            int(b, 2)?
        } else if low.contains(['.', 'e']) {
            let x: f64 = low.parse().map_err(|_| bad())?;
            return Ok(Operand::F64(if negative { -x } else { x }.to_bits()));
        } else if low.len() > 1 && low.starts_with('0') && low != "0u" {
            int(&low[1..], 8)?
        } else {
            int(&low, 10)?
        };
        Ok(Operand::Int(if negative { (value as i64).wrapping_neg() } else { value as i64 }))
    }

    fn integer(&mut self) -> Result<i64, Error> {
        match self.number()? {
            Operand::Int(v) => Ok(v),
            _ => self.error("expected an integer"),
        }
    }

    fn file(&mut self) -> Result<(), Error> {
        let mut version = false;
        loop {
            if self.peek()? == 0 {
                break;
            }
            let word = self.dotted()?;
            match word {
                ".version" => {
                    self.dotted()?;
                    version = true;
                }
                ".target" => {
                    self.dotted()?;
                    while self.eat(b',')? {
                        self.dotted()?;
                    }
                }
                ".address_size" => {
                    if self.integer()? != 64 {
                        return self.error("only .address_size 64 is supported");
                    }
                }
                ".file" => {
                    let n = self.integer()? as u32;
                    let name = self.string()?.to_string();
                    while self.eat(b',')? {
                        self.integer()?;
                    }
                    self.out.files.insert(n, name);
                }
                ".section" => self.section()?,
                ".pragma" => {
                    self.string()?;
                    self.expect(b';')?;
                }
                ".alias" => return self.error("`.alias` is not supported"),
                _ if word.starts_with('.') => self.declaration(word)?,
                _ => return self.error(format!("`{word}` at module scope is neither a directive nor a declaration")),
            }
        }
        if !version {
            return self.error("no `.version`: this is not PTX text");
        }
        Ok(())
    }

    /// A debug section: only the strings are kept.
    fn section(&mut self) -> Result<(), Error> {
        self.dotted()?;
        self.expect(b'{')?;
        let (mut label, mut bytes) = (None, Vec::new());
        loop {
            match self.peek()? {
                b'}' => break,
                0 => return self.error("a section does not end"),
                b'.' => {
                    self.dotted()?;
                    loop {
                        if self.peek()?.is_ascii_digit() || self.peek()? == b'-' {
                            bytes.push(self.integer()? as u8);
                        } else {
                            // A label, or a difference of labels: of no use here.
                            self.dotted()?;
                            if matches!(self.peek()?, b'+' | b'-') {
                                self.at += 1;
                                continue;
                            }
                        }
                        if !self.eat(b',')? {
                            break;
                        }
                    }
                }
                _ => {
                    self.keep_string(label.take(), &mut bytes);
                    label = Some(self.word()?.to_string());
                    self.expect(b':')?;
                }
            }
        }
        self.at += 1;
        self.keep_string(label, &mut bytes);
        Ok(())
    }

    fn keep_string(&mut self, label: Option<String>, bytes: &mut Vec<u8>) {
        if let Some(label) = label {
            let end = bytes.iter().position(|&b| b == 0).unwrap_or(bytes.len());
            self.out.strings.insert(label, String::from_utf8_lossy(&bytes[..end]).into_owned());
        }
        bytes.clear();
    }

    /// A variable or function at module scope; `first` is the directive that was read.
    fn declaration(&mut self, first: &'a str) -> Result<(), Error> {
        let mut word = first;
        let mut external = false;
        loop {
            match word {
                ".visible" | ".weak" | ".common" => {}
                ".extern" => external = true,
                ".entry" => return self.function(true),
                ".func" => return self.function(false),
                ".global" | ".const" | ".shared" => {
                    let space = match word {
                        ".global" => Space::Global,
                        ".const" => Space::Const,
                        _ => Space::Shared,
                    };
                    loop {
                        let v = self.var(space, external)?;
                        self.out.vars.push(v);
                        if !self.eat(b',')? {
                            break;
                        }
                    }
                    return self.expect(b';');
                }
                _ => return self.error(format!("directive `{word}` is not supported at module scope")),
            }
            word = self.dotted()?;
        }
    }

    fn function(&mut self, entry: bool) -> Result<(), Error> {
        self.loc = None;
        let rets = if !entry && self.peek()? == b'(' { self.formals()? } else { Vec::new() };
        let name = self.word()?.to_string();
        let params = if self.peek()? == b'(' { self.formals()? } else { Vec::new() };
        let mut f = Function {
            name,
            entry,
            rets,
            params,
            max_threads: None,
            required_threads: false,
            regs: Vec::new(),
            reg_names: Vec::new(),
            vars: Vec::new(),
            body: Vec::new(),
            has_body: false,
        };
        loop {
            match self.peek()? {
                b';' => {
                    self.at += 1;
                    break;
                }
                b'{' => {
                    self.at += 1;
                    f.has_body = true;
                    f = self.body(f)?;
                    break;
                }
                _ => {}
            }
            match self.dotted()? {
                w @ (".maxntid" | ".reqntid") => {
                    let mut n = [1; 3];
                    for (i, v) in n.iter_mut().enumerate() {
                        if i > 0 && !self.eat(b',')? {
                            break;
                        }
                        *v = self.integer()? as u32;
                    }
                    f.max_threads = Some(n);
                    f.required_threads = w == ".reqntid";
                }
                ".minnctapersm" | ".maxnreg" | ".maxnctapersm" => {
                    self.integer()?;
                }
                ".noreturn" => {}
                ".pragma" => {
                    self.string()?;
                    self.expect(b';')?;
                }
                w => return self.error(format!("directive `{w}` of function `{}` is not supported", f.name)),
            }
        }
        self.out.functions.push(f);
        Ok(())
    }

    fn formals(&mut self) -> Result<Vec<Var>, Error> {
        self.expect(b'(')?;
        let mut list = Vec::new();
        if !self.eat(b')')? {
            loop {
                match self.dotted()? {
                    ".param" => list.push(self.var(Space::Param, false)?),
                    w => return self.error(format!("expected `.param`, found `{w}`")),
                }
                if !self.eat(b',')? {
                    break;
                }
            }
            self.expect(b')')?;
        }
        Ok(list)
    }

    /// `.align 4 .b8 name[16] = {…}`, behind the word that names the space.
    fn var(&mut self, space: Space, external: bool) -> Result<Var, Error> {
        let (mut align, mut ty, mut lanes) = (0, None, 1);
        while self.peek()? == b'.' {
            match self.dotted()? {
                ".align" => {
                    align = self.integer()? as u32;
                    if !align.is_power_of_two() || align > 128 * 1024 {
                        return self.error(format!("alignment {align} is not a power of two"));
                    }
                }
                // Attributes of pointers, of interest to ptxas only; `.align` may follow and then speaks of the pointee.
                ".ptr" => {
                    while self.peek()? == b'.' {
                        if self.dotted()? == ".align" {
                            self.integer()?;
                        }
                    }
                }
                ".v2" => lanes = 2,
                ".v4" => lanes = 4,
                ".attribute" => {
                    self.expect(b'(')?;
                    while !self.eat(b')')? {
                        if self.peek()? == 0 {
                            return self.error("an attribute does not end");
                        }
                        self.at += 1;
                    }
                }
                t => match type_size(t) {
                    Some(size) => ty = Some((t, size)),
                    None => return self.error(format!("`{t}` in a declaration is not supported")),
                },
            }
        }
        let Some((ty, size)) = ty else { return self.error("a declaration without a type") };
        let name = self.word()?.to_string();
        let mut count = Some(1u64);
        while self.eat(b'[')? {
            count = if self.peek()? == b']' { None } else { count.and_then(|c| c.checked_mul(self.integer().ok()? as u64)) };
            self.expect(b']')?;
        }
        let mut v = Var {
            name,
            space,
            align: if align == 0 { size * lanes } else { align },
            size: 0,
            external,
            init: Vec::new(),
            relocations: Vec::new(),
        };
        let open = count.is_none();
        let bytes = count.unwrap_or(0).checked_mul((size * lanes) as u64).filter(|&b| b <= 1 << 30);
        let Some(bytes) = bytes else { return self.error(format!("variable `{}` is too large", v.name)) };
        v.size = bytes as u32;
        if self.eat(b'=')? {
            self.initialiser(&mut v, ty, size)?;
            if open {
                v.size = v.init.len() as u32;
            }
            if v.init.len() > v.size as usize {
                return self.error(format!("too many initial values for `{}`", v.name));
            }
        }
        Ok(v)
    }

    fn initialiser(&mut self, v: &mut Var, ty: &str, size: u32) -> Result<(), Error> {
        if self.eat(b'{')? {
            if !self.eat(b'}')? {
                loop {
                    self.initialiser(v, ty, size)?;
                    if !self.eat(b',')? {
                        break;
                    }
                }
                self.expect(b'}')?;
            }
            return Ok(());
        }
        let bits = if word_start(self.peek()?) {
            let mut name = self.word()?;
            let generic = name == "generic" && self.eat(b'(')?;
            if generic {
                name = self.word()?;
                self.expect(b')')?;
            }
            let plus = if self.eat(b'+')? { self.integer()? } else { 0 };
            v.relocations.push((v.init.len() as u32, name.to_string(), plus));
            0
        } else {
            match (self.number()?, ty) {
                (Operand::F64(b), ".f32") => (f64::from_bits(b) as f32).to_bits() as u64,
                (Operand::F64(b), _) => b,
                (Operand::F32(b), ".f64") => (f32::from_bits(b) as f64).to_bits(),
                (Operand::F32(b), _) => b as u64,
                (Operand::Int(i), _) => i as u64,
                _ => unreachable!("a number is one of three"),
            }
        };
        v.init.extend_from_slice(&bits.to_le_bytes()[..size as usize]);
        Ok(())
    }

    fn body(&mut self, f: Function) -> Result<Function, Error> {
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

    /// The text of a name that was just read, with the lifetime of the file.
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

/// Bytes of a fundamental type.
pub(crate) fn type_size(t: &str) -> Option<u32> {
    Some(match t {
        ".b8" | ".u8" | ".s8" => 1,
        ".b16" | ".u16" | ".s16" | ".f16" | ".bf16" => 2,
        ".b32" | ".u32" | ".s32" | ".f32" | ".f16x2" | ".bf16x2" => 4,
        ".b64" | ".u64" | ".s64" | ".f64" => 8,
        _ => return None,
    })
}
