//! The head of a function: name, formals and directives.

use super::cursor::{Parsed, Parser};
use super::scope::{Body, Kind, Meaning};
use crate::source::{Function, Refusal, RegType, Space, Var};

/// Most bytes of a kernel's parameters, and of a function's, which lie on the stack.
const PARAMETERS: u32 = 32764;
const FORMALS: u64 = 512 << 10;

/// A formal: its name in the text, the variable, and its registers if it lies in registers.
pub(super) type Formal<'a> = (&'a str, Var, Option<Kind>);

/// What stands before the braces of a function.
pub(super) struct Head<'a> {
    name: &'a str,
    line: u32,
    rets: Vec<Formal<'a>>,
    params: Vec<Formal<'a>>,
    max_threads: Option<[u32; 3]>,
    required_threads: bool,
}

impl<'a> Parser<'a> {
    /// Behind `.entry` or `.func`, up to the brace or semicolon.
    pub fn head(&mut self, entry: bool) -> Parsed<Head<'a>> {
        while self.eat_directive(".attribute")? {
            self.attribute()?;
        }
        let rets = if !entry && self.peek()? == b'(' { self.formals()? } else { Vec::new() };
        let (line, name) = (self.line, self.word()?);
        let params = if self.peek()? == b'(' { self.formals()? } else { Vec::new() };
        let bytes: u64 = params.iter().map(|p| p.1.size as u64).sum();
        if entry && bytes > PARAMETERS as u64 {
            return self.error(format!("`{name}` has {bytes} bytes of parameters; a kernel may have {PARAMETERS}"));
        }
        let mut h = Head { name, line, rets, params, max_threads: None, required_threads: false };
        loop {
            match self.peek()? {
                b';' | b'{' => return Ok(h),
                _ => {}
            }
            match self.directive()? {
                w @ (".maxntid" | ".reqntid") => {
                    h.max_threads = Some(self.extents()?);
                    h.required_threads = w == ".reqntid";
                }
                ".reqnctapercluster" => {
                    self.extents()?;
                }
                ".minnctapersm"
                | ".maxnreg"
                | ".maxnctapersm"
                | ".maxclusterrank"
                | ".abi_preserve"
                | ".abi_preserve_control" => {
                    self.whole()?;
                }
                ".noreturn" | ".explicitcluster" | ".blocksareclusters" => {}
                ".pragma" => self.pragma()?,
                ".attribute" => self.attribute()?,
                w => return self.error(format!("directive `{w}` of function `{name}` is not supported")),
            }
        }
    }

    /// One to three numbers.
    fn extents(&mut self) -> Parsed<[u32; 3]> {
        let mut n = [1; 3];
        for (i, v) in n.iter_mut().enumerate() {
            if i > 0 && !self.eat(b',')? {
                break;
            }
            *v = self.whole()?;
        }
        Ok(n)
    }

    /// Formals in parentheses. The names of a prototype's may all be `_`.
    pub fn formals(&mut self) -> Parsed<Vec<Formal<'a>>> {
        self.expect(b'(')?;
        let mut list: Vec<Formal> = Vec::new();
        if self.eat(b')')? {
            return Ok(list);
        }
        let mut end = 0u64;
        loop {
            match self.directive()? {
                ".param" => {
                    let t = self.declared()?;
                    let (name, v) = self.variable(Space::Param, false, t)?;
                    list.push((name, v, None));
                }
                ".reg" => {
                    let kind = self.register_type()?;
                    let name = self.word()?;
                    let size = kind.lanes
                        * match kind.reg {
                            RegType::Pred => return self.error("predicates as parameters are not supported"),
                            RegType::B16 => 2,
                            RegType::B32 => 4,
                            RegType::B64 => 8,
                        };
                    let v = Var {
                        name: name.to_string(),
                        space: Space::Param,
                        align: size,
                        size,
                        external: false,
                        element: 0,
                        ty: String::new(),
                        pointer: false,
                        init: Vec::new(),
                        relocations: Vec::new(),
                        regs: Vec::new(),
                        refused: None,
                    };
                    list.push((name, v, Some(kind)));
                }
                w => return self.error(format!("expected `.param` or `.reg`, found `{w}`")),
            }
            let v = list.last().map(|l| &l.1).expect("just pushed");
            end = end.next_multiple_of(v.align.max(1) as u64) + v.size as u64;
            if end > FORMALS {
                return self.error(format!("more than {FORMALS} bytes of parameters"));
            }
            if !self.eat(b',')? {
                break;
            }
        }
        self.expect(b')')?;
        Ok(list)
    }

    /// The name of a function whose head was not understood; none if there is none to be found. The cursor stands where the name
    /// ends.
    pub fn name_at_least(&mut self, entry: bool) -> Parsed<Option<&'a str>> {
        if self.eat_directive(".attribute")? && self.peek()? == b'(' {
            self.skip_parentheses()?;
        }
        if !entry && self.peek()? == b'(' {
            self.skip_parentheses()?;
        }
        Ok(self.word().ok())
    }

    fn skip_parentheses(&mut self) -> Parsed<()> {
        let mut depth = 0;
        loop {
            match self.peek()? {
                b'(' => depth += 1,
                b')' => depth -= 1,
                b';' | b'{' | b'}' => return Ok(()),
                _ if self.at >= self.s.len() || self.begins_declaration() => return Ok(()),
                _ => {}
            }
            self.at += 1;
            if depth == 0 {
                return Ok(());
            }
        }
    }
}

impl<'a> Head<'a> {
    /// The function, its formals declared.
    pub fn function(self, entry: bool) -> Body<'a> {
        let mut f = blank(self.name, self.line, entry);
        f.max_threads = self.max_threads;
        f.required_threads = self.required_threads;
        let mut b = Body::new(f);
        for (result, list) in [(true, self.rets), (false, self.params)] {
            for (i, (name, mut v, kind)) in list.into_iter().enumerate() {
                let meaning = match kind {
                    Some(kind) => {
                        let first = b.register(name, kind);
                        v.regs = (first..first + kind.lanes).collect();
                        Meaning::Reg(first, kind.lanes)
                    }
                    None => Meaning::Formal(result, i as u32),
                };
                b.define(name, meaning);
                if result { &mut b.f.rets } else { &mut b.f.params }.push(v);
            }
        }
        b
    }
}

/// A function without anything.
fn blank(name: &str, line: u32, entry: bool) -> Function {
    Function {
        name: name.to_string(),
        entry,
        rets: Vec::new(),
        params: Vec::new(),
        max_threads: None,
        required_threads: false,
        regs: Vec::new(),
        reg_names: Vec::new(),
        vars: Vec::new(),
        body: Vec::new(),
        has_body: false,
        tables: Vec::new(),
        refused: None,
        line,
    }
}

/// A function that was not understood.
pub(super) fn refused(name: &str, entry: bool, has_body: bool, why: Refusal) -> Function {
    Function { has_body, refused: Some(why.clone()), ..blank(name, why.line, entry) }
}
