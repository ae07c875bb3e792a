//! The file as a whole: what the text is written for, and its declarations.

use super::cursor::{Parsed, Parser, Stop};
use super::function::End;
use super::signature::refused;
use crate::source::{Refusal, Space};

/// The newest GPU whose text is understood, and the newest version of the language.
const NEWEST: u32 = 90;
const VERSION: u32 = 9;

impl<'a> Parser<'a> {
    /// The whole file.
    pub fn file(&mut self) -> Parsed<()> {
        self.version()?;
        while !self.ended()? {
            if self.s[self.at..].starts_with(b"@@DWARF") {
                self.skip_line();
                continue;
            }
            let (start, line) = (self.at, self.line);
            let Err(e) = self.item() else { continue };
            if e.whole {
                return Err(e);
            }
            (self.at, self.line, self.depth) = (start, line, 0);
            self.skip_directive(true)?;
            // Whatever stands here is skipped.
            self.at = self.at.max(start + 1);
            while !self.text.is_char_boundary(self.at) {
                self.at += 1;
            }
            let r = self.refusal(start, &e);
            self.out.unread.push(r);
        }
        Ok(())
    }

    /// `.version` comes first in any PTX text.
    fn version(&mut self) -> Parsed<()> {
        let line = self.line;
        if self.ended()? || !self.eat_word(".version")? {
            let found = if self.at >= self.s.len() { "is empty".into() } else { format!("begins with `{}`", self.rest()) };
            return self.fatal(line, format!("not PTX text, which begins with `.version`: this {found}"));
        }
        let (start, line) = (self.at, self.line);
        self.skip()?;
        while self.s.get(self.at).is_some_and(|&c| c.is_ascii_digit() || c == b'.') {
            self.at += 1;
        }
        let text = self.text[start..self.at].trim();
        match text.split_once('.').map(|(a, b)| (a.parse::<u32>(), b.parse::<u32>())) {
            Some((Ok(major), Ok(_))) if major <= VERSION => Ok(()),
            Some((Ok(_), Ok(_))) => self.fatal(
                line,
                format!("PTX version {text} is newer than {VERSION}.x, the newest that is known: compile with an older CUDA"),
            ),
            _ => self.fatal(line, format!("`.version {text}` is no version")),
        }
    }

    /// What the text was compiled for. A newer GPU's text is refused as a whole: its instructions may mean something else.
    fn target(&mut self) -> Parsed<()> {
        let line = self.line;
        loop {
            let word = self.word()?;
            match word.strip_prefix("sm_") {
                Some(arch) => {
                    let number = arch.trim_end_matches(|c: char| c.is_ascii_lowercase());
                    match number.parse::<u32>() {
                        Ok(n) if n <= NEWEST => {}
                        Ok(_) => {
                            let why = format!("target `{word}` is newer than sm_{NEWEST}, the newest that is known");
                            let how = format!("compile for sm_{NEWEST} or older (nvcc -arch=sm_{NEWEST} -ptx)");
                            return self.fatal(line, format!("{why}: {how}"));
                        }
                        Err(_) => return self.fatal(line, format!("target `{word}` is not known")),
                    }
                }
                None if matches!(word, "texmode_unified" | "texmode_independent" | "debug") => {}
                None => return self.fatal(line, format!("target `{word}` is not supported")),
            }
            if !self.eat(b',')? {
                return Ok(());
            }
        }
    }

    /// One directive or declaration.
    fn item(&mut self) -> Parsed<()> {
        if self.peek()? != b'.' {
            let word = self.word()?;
            return self.error(format!("`{word}` at module scope is neither a directive nor a declaration"));
        }
        let mut external = false;
        loop {
            match self.directive()? {
                ".target" => return self.target(),
                ".address_size" => {
                    let line = self.line;
                    return if self.whole()? == 64 { Ok(()) } else { self.fatal(line, "only .address_size 64 is supported") };
                }
                ".file" => return self.source_file(),
                ".section" => return self.section(),
                ".pragma" => return self.pragma(),
                ".alias" => {
                    let alias = self.word()?.to_string();
                    self.expect(b',')?;
                    let name = self.word()?.to_string();
                    self.out.aliases.push((alias, name));
                    return self.expect(b';');
                }
                ".visible" | ".weak" | ".common" => {}
                ".extern" => external = true,
                ".entry" => return self.function(true),
                ".func" => return self.function(false),
                ".global" => return self.variables_of_module(Space::Global, external),
                ".const" => return self.variables_of_module(Space::Const, external),
                ".shared" => return self.variables_of_module(Space::Shared, external),
                w => return self.error(format!("directive `{w}` is not supported at module scope")),
            }
        }
    }

    fn variables_of_module(&mut self, space: Space, external: bool) -> Parsed<()> {
        let (start, first) = (self.at, self.out.vars.len());
        let t = self.declared()?;
        loop {
            let (_, mut v) = self.variable(space, external, t)?;
            let i = self.out.vars.len() as u32;
            match self.out.var(&v.name) {
                // Of a declaration and a definition, the definition.
                Some(known) if !self.out.vars[known as usize].external && !external => {
                    let why = Stop { line: self.line, why: format!("`{}` is defined twice", v.name), whole: false };
                    let r = self.refusal(start, &why);
                    self.out.vars[known as usize].refused = Some(r.clone());
                    v.refused = Some(r);
                }
                Some(known) if !self.out.vars[known as usize].external => {}
                _ => {
                    self.out.var_names.insert(v.name.clone(), i);
                }
            }
            self.out.vars.push(v);
            if !self.eat(b',')? {
                break;
            }
        }
        self.expect(b';').inspect_err(|_| {
            // The declaration as a whole is not understood.
            for v in self.out.vars.drain(first..) {
                if self.out.var_names.get(&v.name).is_some_and(|&i| i as usize >= first) {
                    self.out.var_names.remove(&v.name);
                }
            }
        })
    }

    fn function(&mut self, entry: bool) -> Parsed<()> {
        self.loc = None;
        let (start, line) = (self.at, self.line);
        let mut e = match self.head(entry) {
            Ok(head) => {
                let mut b = head.function(entry);
                if self.eat(b';')? {
                    self.out.functions.push(b.f);
                    return Ok(());
                }
                let open = (self.at, self.line);
                self.at += 1;
                b.f.has_body = true;
                match self.body(&mut b) {
                    Ok(End::Closed) => {
                        self.out.functions.push(b.f);
                        return Ok(());
                    }
                    Ok(End::Open) => {
                        let why = format!("`{}` does not end: another declaration begins inside, a brace is missing", b.f.name);
                        let r = Refusal { line: self.line, why, text: self.rest() };
                        self.out.functions.push(refused(&b.f.name, entry, true, r));
                        return Ok(());
                    }
                    Err(e) => {
                        (self.at, self.line) = open;
                        e
                    }
                }
            }
            Err(e) => e,
        };
        if e.whole {
            return Err(e);
        }
        // The head as text, then to the end of the function.
        (self.at, self.line, self.depth) = (start, line, 0);
        let Some(name) = self.name_at_least(entry)? else { return Err(e) };
        while !matches!(self.peek()?, b';' | b'{' | b'}') && self.at < self.s.len() && !self.begins_declaration() {
            self.at += 1;
        }
        let has_body = self.peek()? == b'{';
        e.line = e.line.max(line);
        let r = self.refusal(start, &e);
        if !self.begins_declaration() {
            self.skip_directive(true)?;
        }
        self.out.functions.push(refused(name, entry, has_body, r));
        Ok(())
    }
}
