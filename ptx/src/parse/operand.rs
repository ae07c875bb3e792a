//! The operands of an instruction.

use super::cursor::{Parsed, Parser, word_start};
use super::scope::Body;
use crate::source::{Operand, Space};

impl<'a> Parser<'a> {
    /// One operand; in a call, parentheses make a list.
    pub fn operand(&mut self, b: &mut Body<'a>, call: bool) -> Parsed<Operand> {
        match self.peek()? {
            b'{' => Ok(Operand::Vector(self.list(b, b'}')?)),
            b'(' if call => Ok(Operand::List(self.list(b, b')')?)),
            b'[' => self.address(b),
            b'!' => {
                let start = self.at;
                self.at += 1;
                if !word_start(self.peek()?) {
                    self.at = start;
                    return Ok(self.constant()?.into());
                }
                let w = self.dotted()?;
                match b.operand(w) {
                    Operand::Reg(r) => Ok(Operand::NotReg(r)),
                    _ => self.error(format!("`!{w}`: not a register")),
                }
            }
            c if c == b'(' || Self::begins_constant(c) => Ok(self.constant()?.into()),
            c if word_start(c) => self.named(b),
            _ => {
                let found = self.rest();
                self.error(format!("expected an operand, found `{found}`"))
            }
        }
    }

    /// A name, and what may follow one.
    fn named(&mut self, b: &mut Body<'a>) -> Parsed<Operand> {
        let start = self.at;
        let w = self.dotted()?;
        if w == "WARP_SZ" {
            self.at = start;
            return Ok(self.constant()?.into());
        }
        let first = b.operand(w);
        match self.peek()? {
            b'|' => {
                self.at += 1;
                let w = self.dotted()?;
                let second = b.operand(w);
                Ok(Operand::Pair(Box::new(first), Box::new(second)))
            }
            b'[' => self.element(b, first, w),
            // `symbol + offset` as a value.
            b'+' if matches!(first, Operand::Name(_) | Operand::Local(_) | Operand::Global(_) | Operand::Formal(..)) => {
                self.at += 1;
                let plus = self.integer()?;
                Ok(Operand::Pair(Box::new(first), Box::new(Operand::Int(plus))))
            }
            _ => Ok(first),
        }
    }

    /// `array[3]`, `array[%r + 3]`: elements, not bytes.
    fn element(&mut self, b: &mut Body<'a>, base: Operand, name: &str) -> Parsed<Operand> {
        let var = match &base {
            Operand::Local(v) => Some(&b.f.vars[*v as usize]),
            Operand::Formal(false, i) => b.f.params.get(*i as usize),
            Operand::Formal(true, i) => b.f.rets.get(*i as usize),
            Operand::Global(v) => self.out.vars.get(*v as usize),
            Operand::Name(n) => self.out.var(n).map(|v| &self.out.vars[v as usize]),
            _ => None,
        };
        let Some(size) = var.map(|v| v.element).filter(|&e| e > 0) else {
            return self.error(format!("`{name}` is no array that was declared before"));
        };
        self.expect(b'[')?;
        let (mut register, mut plus) = (None, 0);
        if word_start(self.peek()?) && !self.s[self.at..].starts_with(b"WARP_SZ") {
            let w = self.dotted()?;
            let Operand::Reg(r) = b.operand(w) else { return self.error(format!("index `{w}` is not a register")) };
            register = Some(r);
            if self.eat(b'+')? {
                plus = self.integer()?;
            }
        } else {
            plus = self.integer()?;
        }
        self.expect(b']')?;
        // Parameters have no address but in brackets.
        let parameter = match &base {
            Operand::Formal(..) => true,
            Operand::Local(v) => b.f.vars[*v as usize].space == Space::Param,
            _ => false,
        };
        match register {
            None if parameter => Ok(Operand::Address(Box::new(base), plus.wrapping_mul(size as i64))),
            _ => Ok(Operand::Element(Box::new(base), register, plus, size)),
        }
    }

    /// `[base + offset]`, or what asynchronous copies and textures take: `[map, {x, y}]`.
    fn address(&mut self, b: &mut Body<'a>) -> Parsed<Operand> {
        self.expect(b'[')?;
        let base = if word_start(self.peek()?) && !self.s[self.at..].starts_with(b"WARP_SZ") {
            let w = self.dotted()?;
            b.operand(w)
        } else {
            Operand::Int(self.integer()?)
        };
        let plus = match self.peek()? {
            b'+' => {
                self.at += 1;
                self.integer()?
            }
            b'-' => self.integer()?,
            _ => 0,
        };
        let address = Operand::Address(Box::new(base), plus);
        if self.peek()? != b',' {
            self.expect(b']')?;
            // That all lanes have the same address changes no result.
            if self.text[self.at..].starts_with(".unified") {
                self.at += ".unified".len();
            }
            return Ok(address);
        }
        let mut list = vec![address];
        while self.eat(b',')? {
            list.push(self.operand(b, false)?);
        }
        self.expect(b']')?;
        Ok(Operand::Bracket(list))
    }

    /// A list with its brackets.
    fn list(&mut self, b: &mut Body<'a>, close: u8) -> Parsed<Vec<Operand>> {
        self.at += 1;
        self.deeper()?;
        let mut list = Vec::new();
        if !self.eat(close)? {
            loop {
                list.push(self.operand(b, false)?);
                if !self.eat(b',')? {
                    break;
                }
            }
            self.expect(close)?;
        }
        self.depth -= 1;
        Ok(list)
    }
}
