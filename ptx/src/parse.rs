//! PTX text to a syntax tree. The grammar is regular by line, so one cursor over the bytes is parser and lexer in one; every
//! instruction keeps its line, its text and its `.loc`, because a report that cannot name the source is half a report.

use super::error::Error;
use super::source::Source;

mod cursor;
mod file;
mod function;

/// Reads a whole file; `module` names it in errors.
pub(super) fn parse(module: &str, text: &str) -> Result<Source, Error> {
    let mut p = cursor::Parser::new(module, text);
    p.file()?;
    Ok(p.out)
}
