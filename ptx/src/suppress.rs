//! Findings that are known and meant, by kernel, check, line and argument.

use super::fault::Fault;

/// A finding that is known and meant. It is counted ([`Report::suppressed`](super::Report::suppressed)) and not reported. What is
/// given must all fit; a deadlock, a trap and whatever else a launch cannot go on from is never suppressed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Suppression {
    /// A part of the kernel's name.
    pub kernel: Option<String>,
    /// The check, in the word that reports use ([`FaultKind::name`](super::FaultKind::name)): `race`, `uninitialised`, `tf32`, …
    pub check: Option<String>,
    /// The end of a place in the source, `file.cu:12` or `file.cu:12:5`, or a line of the PTX, `ptx:34`: of the instruction, of a
    /// place that it was inlined at or, of a race, of the other instruction.
    pub line: Option<String>,
    /// The argument whose memory is touched: its number, from 0, or the name of the allocation.
    pub argument: Option<String>,
    /// Why it is meant.
    pub reason: String,
}

impl Suppression {
    /// Whether a fault is what this describes.
    pub fn covers(&self, fault: &Fault) -> bool {
        let text = fault.to_string();
        let fits = |wanted: &Option<String>, fits: &dyn Fn(&str) -> bool| wanted.as_deref().is_none_or(fits);
        fits(&self.kernel, &|k| fault.kernel.contains(k))
            && fits(&self.check, &|c| fault.kind.name() == c)
            && fits(&self.line, &|l| names_line(&text, l))
            && fits(&self.argument, &|a| match a.parse::<u32>() {
                Ok(n) => names_word(&text, &format!("argument {n}")),
                Err(_) => text.contains(&format!("`{a}`")),
            })
    }
}

/// Whether a report names a line: `file:line` or `file:line:column` of the source, or `ptx:line`.
fn names_line(text: &str, line: &str) -> bool {
    match line.strip_prefix("ptx:") {
        Some(n) => names_word(text, &format!("ptx line {n}")),
        None => names_word(text, line),
    }
}

/// Whether a text has these words, with no letter, digit or dot going on before or after them.
fn names_word(text: &str, word: &str) -> bool {
    let inside = |c: char| c.is_alphanumeric() || c == '_' || c == '.';
    text.match_indices(word).any(|(at, _)| {
        !text[..at].ends_with(inside) && !text[at + word.len()..].starts_with(|c: char| c.is_alphanumeric() || c == '_')
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_end_where_they_end() {
        let text = "read at 0x10: offset 4 of argument 1 (`x`, 64 bytes)\n  ld.global.f32 %f1, [%rd1]   a/conv.cu:12:5 inlined from b.cu:7:1   ptx line 34";
        for (line, there) in [
            ("conv.cu:12", true),
            ("conv.cu:12:5", true),
            ("onv.cu:12", false),
            ("conv.cu:1", false),
            ("b.cu:7", true),
            ("ptx:34", true),
            ("ptx:3", false),
        ] {
            assert_eq!(names_line(text, line), there, "{line}");
        }
        assert!(names_word(text, "argument 1") && !names_word(text, "argument 11") && !names_word(text, "rgument 1"));
    }
}
