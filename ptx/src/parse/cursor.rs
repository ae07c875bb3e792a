//! The parser as a cursor over the text: blanks, words, numbers, strings.

use crate::error::Error;
use crate::source::{Operand, Source};

/// The text, how far it was read, and what was found so far.
pub(super) struct Parser<'a> {
    pub module: &'a str,
    pub text: &'a str,
    /// The bytes of `text`.
    pub s: &'a [u8],
    pub at: usize,
    /// Of `at`, from 1.
    pub line: u32,
    pub out: Source,
    /// The `.loc` in force: an index into [`Source::locs`].
    pub loc: Option<u32>,
}

pub(super) fn word_start(c: u8) -> bool {
    c.is_ascii_alphabetic() || matches!(c, b'_' | b'$' | b'%')
}

fn word_byte(c: u8) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, b'_' | b'$' | b'%')
}

impl<'a> Parser<'a> {
    pub fn new(module: &'a str, text: &'a str) -> Parser<'a> {
        Parser { module, text, s: text.as_bytes(), at: 0, line: 1, out: Source::default(), loc: None }
    }

    pub fn error<T>(&self, why: impl Into<String>) -> Result<T, Error> {
        Err(Error { module: self.module.to_string(), line: self.line, kernel: String::new(), why: why.into() })
    }

    /// Skips blanks and comments.
    pub fn skip(&mut self) -> Result<(), Error> {
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

    pub fn peek(&mut self) -> Result<u8, Error> {
        self.skip()?;
        Ok(self.s.get(self.at).copied().unwrap_or(0))
    }

    pub fn eat(&mut self, c: u8) -> Result<bool, Error> {
        let found = self.peek()? == c;
        self.at += found as usize;
        Ok(found)
    }

    pub fn expect(&mut self, c: u8) -> Result<(), Error> {
        if self.eat(c)? {
            return Ok(());
        }
        let found = self.rest();
        self.error(format!("expected `{}`, found `{found}`", c as char))
    }

    /// What comes next, for an error message.
    pub fn rest(&self) -> String {
        let line = self.text.get(self.at..).unwrap_or("").lines().next().unwrap_or("");
        if line.is_empty() { "end of file".into() } else { line.chars().take(40).collect() }
    }

    /// A name, without dots.
    pub fn word(&mut self) -> Result<&'a str, Error> {
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
    pub fn dotted(&mut self) -> Result<&'a str, Error> {
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

    pub fn string(&mut self) -> Result<&'a str, Error> {
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
    pub fn number(&mut self) -> Result<Operand, Error> {
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

    pub fn integer(&mut self) -> Result<i64, Error> {
        match self.number()? {
            Operand::Int(v) => Ok(v),
            _ => self.error("expected an integer"),
        }
    }
}
