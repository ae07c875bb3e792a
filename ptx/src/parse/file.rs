//! The file as a whole: directives, variables, functions up to their bodies.

use super::cursor::{Parser, word_start};
use crate::error::Error;
use crate::source::{Function, Operand, Space, Var, type_size};

impl<'a> Parser<'a> {
    /// The whole file.
    pub fn file(&mut self) -> Result<(), Error> {
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
                            // A label, or a difference of labels: not part of a string.
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
    pub fn var(&mut self, space: Space, external: bool) -> Result<Var, Error> {
        let (mut align, mut ty, mut lanes, mut pointer) = (0, None, 1, false);
        while self.peek()? == b'.' {
            match self.dotted()? {
                ".align" => {
                    align = self.integer()? as u32;
                    if !align.is_power_of_two() || align > 128 * 1024 {
                        return self.error(format!("alignment {align} is not a power of two"));
                    }
                }
                // Attributes of pointers, which only ptxas needs. An `.align` behind `.ptr` is that of the memory pointed to.
                ".ptr" => {
                    pointer = true;
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
            ty: ty.to_string(),
            pointer,
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
            if size < 8 {
                let bits = 8 * size;
                return self.error(format!("`{}` has elements of {bits} bits, too few for the address of `{name}`", v.name));
            }
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
}
