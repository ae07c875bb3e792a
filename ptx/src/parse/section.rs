//! What only debuggers read: sections, source files and places.

use super::cursor::{Parsed, Parser, word_start};
use crate::source::Loc;

impl Parser<'_> {
    /// A debug section, of which only the strings are kept: bytes behind a label. Whatever else it holds is skipped.
    pub fn section(&mut self) -> Parsed<()> {
        let line = self.line;
        while !matches!(self.peek()?, b'{' | b';' | 0) {
            self.at += 1;
        }
        self.expect(b'{')?;
        let (mut label, mut bytes, mut data) = (None, Vec::new(), false);
        loop {
            match self.peek()? {
                b'}' => break,
                b'.' if self.s.get(self.at + 1).is_some_and(|&c| word_start(c)) => data = self.directive()? == ".b8",
                c if c.is_ascii_digit() => {
                    if let Ok(v) = self.whole()
                        && data
                    {
                        bytes.push(v as u8);
                    }
                }
                c if word_start(c) => match self.word() {
                    Ok(word) if self.peek()? == b':' => {
                        self.at += 1;
                        self.keep_string(label.replace(word.to_string()), &mut bytes);
                    }
                    Ok(_) => {}
                    Err(_) => self.at += 1,
                },
                _ if self.at >= self.s.len() => return self.fatal(line, "a section does not end: the file is truncated"),
                _ => self.at += 1,
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

    /// Behind `.file`.
    pub fn source_file(&mut self) -> Parsed<()> {
        let n = self.whole()?;
        let name = self.string()?.to_string();
        while self.eat(b',')? {
            self.literal()?;
        }
        self.out.files.insert(n, name);
        Ok(())
    }

    /// Behind `.loc`.
    pub fn place(&mut self) -> Parsed<()> {
        let (file, line, col) = (self.whole()?, self.whole()?, self.whole()?);
        let mut inlined = None;
        while self.eat(b',')? {
            match self.word()? {
                "function_name" => {
                    let label = self.word()?.to_string();
                    if self.eat(b'+')? {
                        self.whole()?;
                    }
                    inlined = Some((label, 0, 0, 0));
                }
                "inlined_at" => {
                    let at = (self.whole()?, self.whole()?, self.whole()?);
                    let label = inlined.map_or(String::new(), |(label, ..)| label);
                    inlined = Some((label, at.0, at.1, at.2));
                }
                word => return self.error(format!("`.loc`: `{word}` is neither function_name nor inlined_at")),
            }
        }
        self.out.locs.push(Loc { file, line, col, inlined });
        self.loc = Some(self.out.locs.len() as u32 - 1);
        Ok(())
    }

    /// Behind `.pragma`: hints to the compiler.
    pub fn pragma(&mut self) -> Parsed<()> {
        self.string()?;
        while self.eat(b',')? {
            self.string()?;
        }
        self.expect(b';')
    }
}
