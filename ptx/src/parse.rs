//! PTX text to a syntax tree. The grammar is regular by line, so one cursor over the bytes is parser and lexer in one; every
//! instruction keeps its line, its text and its `.loc`, because a report that cannot name the source is half a report.
//!
//! A statement or directive that is not understood is kept as text and skipped up to its end, so that its neighbours live. The
//! whole file is refused only if it is no PTX, for a newer GPU, or cut off.

use super::error::Error;
use super::source::Source;

mod constant;
mod cursor;
mod file;
mod function;
mod link;
mod operand;
mod scope;
mod section;
mod signature;
mod variable;

/// Reads a whole file; `module` names it in errors.
pub(super) fn parse(module: &str, text: &str) -> Result<Source, Error> {
    // Text that was embedded in a program ends with a zero.
    let mut p = cursor::Parser::new(text.trim_end_matches('\0'));
    match p.file() {
        Ok(()) => Ok(link::link(p.out)),
        Err(e) => Err(Error { module: module.to_string(), line: e.line, kernel: String::new(), why: e.why }),
    }
}
