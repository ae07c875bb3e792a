//! The parser as a cursor over the text: blanks, words, strings, and the text of what is not understood.

use crate::source::{Refusal, Source};

/// The text, how far it was read, and what was found so far.
pub(super) struct Parser<'a> {
    pub text: &'a str,
    /// The bytes of `text`.
    pub s: &'a [u8],
    pub at: usize,
    /// Of `at`, from 1.
    pub line: u32,
    pub out: Source,
    /// The `.loc` in force: an index into [`Source::locs`].
    pub loc: Option<u32>,
    /// How deep lists and parentheses are nested here.
    pub depth: u32,
    /// Bytes of all variables so far.
    pub bytes: u64,
    /// Targets of all tables so far.
    pub targets: u32,
}

/// Why the parser stopped.
#[derive(Debug)]
pub(super) struct Stop {
    pub line: u32,
    pub why: String,
    /// Nothing behind this place can be read.
    pub whole: bool,
}

pub(super) type Parsed<T> = Result<T, Stop>;

/// Lists, parentheses and signs may be nested this deep: the parser recurses.
const DEEPEST: u32 = 100;
/// Longest piece of a statement that an error shows.
const SHOWN: usize = 300;

pub(super) fn word_start(c: u8) -> bool {
    c.is_ascii_alphabetic() || matches!(c, b'_' | b'$' | b'%')
}

/// A `%` inside a word begins the next one: `ld.param.u64%rd1`.
fn word_byte(c: u8) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, b'_' | b'$')
}

impl<'a> Parser<'a> {
    pub fn new(text: &'a str) -> Parser<'a> {
        Parser { text, s: text.as_bytes(), at: 0, line: 1, out: Source::default(), loc: None, depth: 0, bytes: 0, targets: 0 }
    }

    pub fn error<T>(&self, why: impl Into<String>) -> Parsed<T> {
        Err(Stop { line: self.line, why: why.into(), whole: false })
    }

    /// An error after which nothing can be read.
    pub fn fatal<T>(&self, line: u32, why: impl Into<String>) -> Parsed<T> {
        Err(Stop { line, why: why.into(), whole: true })
    }

    /// Enters a level of nesting; the caller leaves it with `self.depth -= 1`.
    pub fn deeper(&mut self) -> Parsed<()> {
        self.depth += 1;
        if self.depth > DEEPEST { self.error(format!("nested deeper than {DEEPEST} levels")) } else { Ok(()) }
    }

    /// Skips blanks and comments, and line markers of a preprocessor (`# 1 "file"`).
    pub fn skip(&mut self) -> Parsed<()> {
        while let Some(&c) = self.s.get(self.at) {
            match c {
                b'\n' => {
                    self.line += 1;
                    self.at += 1;
                }
                b' ' | b'\t' | b'\r' | 0x0b | 0x0c => self.at += 1,
                b'/' if self.s.get(self.at + 1) == Some(&b'/') => self.skip_line(),
                b'/' if self.s.get(self.at + 1) == Some(&b'*') => {
                    let Some(end) = self.text[self.at + 2..].find("*/") else {
                        return self.fatal(self.line, "a comment does not end");
                    };
                    self.line += self.text[self.at..self.at + 2 + end].matches('\n').count() as u32;
                    self.at += end + 4;
                }
                b'#' if self.marker() => self.skip_line(),
                _ => break,
            }
        }
        Ok(())
    }

    fn marker(&self) -> bool {
        let rest = self.s[self.at + 1..].iter().find(|c| !matches!(c, b' ' | b'\t'));
        rest.is_some_and(u8::is_ascii_digit)
    }

    pub fn skip_line(&mut self) {
        while self.s.get(self.at).is_some_and(|&c| c != b'\n') {
            self.at += 1;
        }
    }

    /// The next byte that is no blank; 0 at the end.
    pub fn peek(&mut self) -> Parsed<u8> {
        self.skip()?;
        Ok(self.s.get(self.at).copied().unwrap_or(0))
    }

    pub fn ended(&mut self) -> Parsed<bool> {
        self.skip()?;
        Ok(self.at >= self.s.len())
    }

    pub fn eat(&mut self, c: u8) -> Parsed<bool> {
        let found = self.peek()? == c && self.at < self.s.len();
        self.at += found as usize;
        Ok(found)
    }

    pub fn expect(&mut self, c: u8) -> Parsed<()> {
        if self.eat(c)? {
            return Ok(());
        }
        let found = self.rest();
        self.error(format!("expected `{}`, found `{found}`", c as char))
    }

    /// What comes next, for an error message.
    pub fn rest(&self) -> String {
        // The line may be all of a long text.
        let near = (self.at..self.s.len().min(self.at + 200)).rev().find_map(|end| self.text.get(self.at..=end));
        let line = near.unwrap_or("").lines().next().unwrap_or("");
        if line.is_empty() { "end of file".into() } else { line.chars().take(40).collect() }
    }

    /// The word that begins at `at`, if one does.
    fn word_here(&mut self) -> Option<&'a str> {
        let start = self.at;
        if self.s.get(start).is_some_and(|&c| word_start(c)) {
            self.at += 1;
            while self.s.get(self.at).is_some_and(|&c| word_byte(c)) {
                self.at += 1;
            }
        }
        // `_` alone is a word, `%` and `$` are not.
        (self.at > start && !matches!(&self.text[start..self.at], "%" | "$")).then(|| &self.text[start..self.at])
    }

    /// A name, without dots.
    pub fn word(&mut self) -> Parsed<&'a str> {
        self.skip()?;
        match self.word_here() {
            Some(word) => Ok(word),
            None => {
                let found = self.rest();
                self.error(format!("expected a name, found `{found}`"))
            }
        }
    }

    /// Whether the word comes next; then it is read.
    pub fn eat_word(&mut self, word: &str) -> Parsed<bool> {
        self.skip()?;
        let rest = &self.s[self.at..];
        let found = rest.starts_with(word.as_bytes()) && !rest.get(word.len()).is_some_and(|&c| word_byte(c));
        if found {
            self.at += word.len();
        }
        Ok(found)
    }

    /// A directive, one dot and one word: `.reg.b32` are two.
    pub fn directive(&mut self) -> Parsed<&'a str> {
        self.skip()?;
        let start = self.at;
        if self.s.get(start) == Some(&b'.') {
            self.at += 1;
            while self.s.get(self.at).is_some_and(|&c| word_byte(c)) {
                self.at += 1;
            }
        }
        if self.at < start + 2 {
            self.at = start;
            let found = self.rest();
            return self.error(format!("expected a directive, found `{found}`"));
        }
        Ok(&self.text[start..self.at])
    }

    /// Whether the directive comes next; then it is read.
    pub fn eat_directive(&mut self, word: &str) -> Parsed<bool> {
        if self.peek()? != b'.' {
            return Ok(false);
        }
        self.eat_word(word)
    }

    /// A name with its components, as `%tid.x`.
    pub fn dotted(&mut self) -> Parsed<&'a str> {
        let word = self.word()?;
        let start = self.at - word.len();
        self.components();
        Ok(&self.text[start..self.at])
    }

    /// The dots and words behind a word.
    pub fn components(&mut self) {
        while self.s.get(self.at) == Some(&b'.') && self.s.get(self.at + 1).is_some_and(|&c| word_byte(c)) {
            self.at += 1;
            while self.s.get(self.at).is_some_and(|&c| word_byte(c)) {
                self.at += 1;
            }
        }
    }

    pub fn string(&mut self) -> Parsed<&'a str> {
        let line = self.line;
        self.expect(b'"')?;
        let start = self.at;
        while self.s.get(self.at).is_some_and(|&c| c != b'"') {
            self.line += (self.s[self.at] == b'\n') as u32;
            self.at += 1;
        }
        if self.at >= self.s.len() {
            return self.fatal(line, "a string does not end");
        }
        self.at += 1;
        Ok(&self.text[start..self.at - 1])
    }
}

/// What is not understood is skipped, and kept as text.
impl Parser<'_> {
    /// The text from `start` to here, blanks collapsed.
    pub fn text_from(&self, start: usize) -> String {
        let mut text = String::with_capacity(self.at - start);
        for word in self.text[start..self.at].split_ascii_whitespace() {
            if !text.is_empty() {
                text.push(' ');
            }
            text.push_str(word);
        }
        text
    }

    /// The statement from `start` to here, which was not understood.
    pub fn refusal(&self, start: usize, why: &Stop) -> Refusal {
        let mut text = self.text_from(start);
        if let Some((cut, _)) = text.char_indices().nth(SHOWN) {
            text.truncate(cut);
            text.push('…');
        }
        Refusal { line: why.line, why: why.why.clone(), text }
    }

    /// To the end of an instruction: behind its semicolon, which no list can hold, or before the brace that closes the body.
    pub fn skip_statement(&mut self) -> Parsed<()> {
        let mut braces = 0;
        loop {
            match self.peek()? {
                b';' => {
                    self.at += 1;
                    return Ok(());
                }
                b'"' => {
                    self.string()?;
                    continue;
                }
                b'{' => braces += 1,
                b'}' if braces == 0 => return Ok(()),
                b'}' => braces -= 1,
                _ if self.at >= self.s.len() => return Ok(()),
                _ => {}
            }
            self.at += 1;
        }
    }

    /// To the end of a directive: behind its semicolon or its braces. At module scope also before a line that begins another
    /// declaration.
    pub fn skip_directive(&mut self, module: bool) -> Parsed<()> {
        let (start, line) = (self.at, self.line);
        let mut braces = 0;
        loop {
            match self.peek()? {
                _ if self.at >= self.s.len() && braces == 0 => return Ok(()),
                _ if self.at >= self.s.len() => return self.fatal(line, "a brace does not close: the file is truncated"),
                b'"' => {
                    self.string()?;
                    continue;
                }
                b';' if braces == 0 => {
                    self.at += 1;
                    return Ok(());
                }
                b'{' => braces += 1,
                b'}' if braces == 0 => {
                    // A stray brace of the module is skipped, the one that closes a body is not.
                    self.at += module as usize;
                    return Ok(());
                }
                b'}' => {
                    braces -= 1;
                    if braces == 0 {
                        self.at += 1;
                        self.eat(b';')?;
                        return Ok(());
                    }
                }
                b'.' if module && braces == 0 && self.at > start && self.begins_declaration() => return Ok(()),
                _ => {}
            }
            self.at += 1;
        }
    }

    /// Whether a declaration begins here, and a line with it.
    pub fn begins_declaration(&self) -> bool {
        const WORDS: [&str; 9] = [".visible", ".entry", ".func", ".extern", ".weak", ".common", ".global", ".const", ".shared"];
        let blank = self.s[..self.at].iter().rev().find(|c| !matches!(c, b' ' | b'\t'));
        let rest = &self.s[self.at..];
        let is = |w: &&str| rest.starts_with(w.as_bytes()) && !rest.get(w.len()).is_some_and(|&c| word_byte(c));
        matches!(blank, Some(b'\n' | b'\r')) && WORDS.iter().any(is)
    }
}
