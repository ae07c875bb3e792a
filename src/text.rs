//! Names as text. A file's name may be evidence by an opponent: it may hold line breaks, escape sequences, marks that turn the
//! direction of writing round, or bytes that are no UTF-8. What is printed is one line, drives no terminal, and names one file only.
//!
//! | where | form of a path |
//! |---|---|
//! | lines, tables, reports ([`shown`]) | escaped: `\n`, `\x1b`, `\u{202e}`, `\\` for a backslash, `\xff` for a byte that is no UTF-8 |
//! | configuration files ([`word`]) | as it is; a path that is no UTF-8 as `file:///…` with `%FF` |
//! | JSON ([`json_path`]) | as it is; a path that is no UTF-8 escaped, with its bytes (base64) beside it |
//! | CSV ([`csv()`]) | escaped, quoted where needed, an apostrophe before what a spreadsheet takes for a formula |

use std::fmt::Write;
use std::path::{Path, PathBuf};

/// A path in one line that a terminal can take, different for different paths; [`unshown`] gives the path back.
pub fn shown(path: impl AsRef<Path>) -> String {
    let mut out = String::new();
    for chunk in path.as_ref().as_os_str().as_encoded_bytes().utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                // Of Windows the separator, which no name holds.
                '\\' if cfg!(windows) => out.push(c),
                '\\' => out.push_str("\\\\"),
                c => put(&mut out, c),
            }
        }
        chunk.invalid().iter().for_each(|b| write!(out, "\\x{b:02x}").expect("a String grows"));
    }
    out
}

/// Text that is no path, in one line that a terminal can take. Backslashes stay.
pub fn line(text: &str) -> String {
    let mut out = String::new();
    text.chars().for_each(|c| put(&mut out, c));
    out
}

/// Text of several lines without what drives a terminal.
pub fn lines(text: &str) -> String {
    if !text.contains(|c| drives(c) && !matches!(c, '\n' | '\t')) {
        return text.to_string();
    }
    let mut out = String::new();
    text.chars().for_each(|c| if matches!(c, '\n' | '\t') { out.push(c) } else { put(&mut out, c) });
    out
}

fn put(out: &mut String, c: char) {
    match c {
        '\n' => out.push_str("\\n"),
        '\r' => out.push_str("\\r"),
        '\t' => out.push_str("\\t"),
        c if drives(c) && c.is_ascii() => write!(out, "\\x{:02x}", c as u32).expect("a String grows"),
        c if drives(c) => write!(out, "\\u{{{:x}}}", c as u32).expect("a String grows"),
        c => out.push(c),
    }
}

/// Characters that move the cursor, end a line, turn the direction of writing round, or cannot be seen.
fn drives(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// The path that [`shown`] wrote so; none for text that it does not write.
#[cfg(unix)]
pub fn unshown(text: &str) -> Option<PathBuf> {
    use std::os::unix::ffi::OsStringExt;
    let mut bytes = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        bytes.extend_from_slice(&rest.as_bytes()[..at]);
        rest = &rest[at + 1..];
        let kind = rest.chars().next()?;
        rest = &rest[kind.len_utf8()..];
        match kind {
            '\\' => bytes.push(b'\\'),
            'n' => bytes.push(b'\n'),
            'r' => bytes.push(b'\r'),
            't' => bytes.push(b'\t'),
            'x' => {
                bytes.push(u8::from_str_radix(rest.get(..2)?, 16).ok()?);
                rest = &rest[2..];
            }
            'u' => {
                let (code, after) = rest.strip_prefix('{')?.split_once('}')?;
                let c = char::from_u32(u32::from_str_radix(code, 16).ok()?)?;
                bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                rest = after;
            }
            _ => return None,
        }
    }
    bytes.extend_from_slice(rest.as_bytes());
    Some(PathBuf::from(std::ffi::OsString::from_vec(bytes)))
}

const URL: &str = "file://";

/// A path as a value of a configuration file: itself, or a `file://` address where it is no UTF-8 (or begins like one).
pub fn word(path: &Path) -> String {
    match path.to_str() {
        Some(text) if !text.starts_with(URL) => text.to_string(),
        _ => {
            let mut out = URL.to_string();
            for &b in path.as_os_str().as_encoded_bytes() {
                match b {
                    b'/' | b'.' | b'-' | b'_' => out.push(b as char),
                    b if b.is_ascii_alphanumeric() => out.push(b as char),
                    b => write!(out, "%{b:02X}").expect("a String grows"),
                }
            }
            out
        }
    }
}

/// The path that [`word`] wrote so.
pub fn unword(text: &str) -> PathBuf {
    #[cfg(unix)]
    if let Some(url) = text.strip_prefix(URL) {
        use std::os::unix::ffi::OsStringExt;
        let (url, mut bytes, mut i) = (url.as_bytes(), Vec::new(), 0);
        while i < url.len() {
            let hex =
                url.get(i + 1..i + 3).and_then(|h| std::str::from_utf8(h).ok()).and_then(|h| u8::from_str_radix(h, 16).ok());
            match (url[i], hex) {
                (b'%', Some(b)) => {
                    bytes.push(b);
                    i += 3;
                }
                (b, _) => {
                    bytes.push(b);
                    i += 1;
                }
            }
        }
        return PathBuf::from(std::ffi::OsString::from_vec(bytes));
    }
    PathBuf::from(text)
}

/// `#[serde(with = "crate::text::optional_path")]`: a path as [`word`] writes it.
pub mod optional_path {
    use std::path::PathBuf;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub fn serialize<S: Serializer>(path: &Option<PathBuf>, to: S) -> Result<S::Ok, S::Error> {
        path.as_deref().map(super::word).serialize(to)
    }
    pub fn deserialize<'a, D: Deserializer<'a>>(from: D) -> Result<Option<PathBuf>, D::Error> {
        Ok(Option::<String>::deserialize(from)?.map(|text| super::unword(&text)))
    }
}

/// Sets `key` of a JSON object to a path. Where the path is no UTF-8, `key` has it [`shown`], and `key_bytes` its bytes in base64.
pub fn json_path(object: &mut serde_json::Value, key: &str, path: &Path) {
    use base64::Engine;
    match path.to_str() {
        Some(text) => object[key] = text.into(),
        None => {
            object[key] = shown(path).into();
            let bytes = base64::prelude::BASE64_STANDARD.encode(path.as_os_str().as_encoded_bytes());
            object[format!("{key}_bytes")] = bytes.into();
        }
    }
}

/// JSON in one line, with what drives a terminal written as `\u001b`: the same value for every reader.
pub fn json_line(value: &serde_json::Value) -> String {
    let mut out = String::new();
    for c in value.to_string().chars() {
        if drives(c) {
            c.encode_utf16(&mut [0; 2]).iter().for_each(|u| write!(out, "\\u{u:04x}").expect("a String grows"));
        } else {
            out.push(c);
        }
    }
    out
}

/// A field of a CSV file: quoted where it holds a separator, a quote, a line break or a blank at an end. A field that a spreadsheet
/// would take for a formula (`= + - @`, tab, return in front) gets an apostrophe in front, and so does one that begins with an
/// apostrophe: one apostrophe in front is never part of the text.
pub fn csv(text: &str) -> String {
    let mut field = text.to_string();
    if field.starts_with(['=', '+', '-', '@', '\t', '\r', '\'']) {
        field.insert(0, '\'');
    }
    let quoted = field.contains([',', ';', '"', '\n', '\r', '\t']) || field.starts_with(' ') || field.ends_with(' ');
    if quoted { format!("\"{}\"", field.replace('"', "\"\"")) } else { field }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(unix)]
    fn path(bytes: &[u8]) -> PathBuf {
        use std::os::unix::ffi::OsStrExt;
        std::ffi::OsStr::from_bytes(bytes).into()
    }

    #[cfg(unix)]
    #[test]
    fn names_are_one_line_distinct_and_reversible() {
        for (name, text) in [
            (&b"holiday/a b.png"[..], "holiday/a b.png"),
            ("Füße 猫.png".as_bytes(), "Füße 猫.png"),
            (b"a\nreal  p_fake 0.001  b.png", "a\\nreal  p_fake 0.001  b.png"),
            (b"a\\nb", "a\\\\nb"),
            (b"\x1b[2J\r\t\x7f\x07", "\\x1b[2J\\r\\t\\x7f\\x07"),
            ("a\u{202e}gnp.exe\u{9b}\u{2028}\u{200b}".as_bytes(), "a\\u{202e}gnp.exe\\u{9b}\\u{2028}\\u{200b}"),
            (b"\xff\xfe.png", "\\xff\\xfe.png"),
            (b"\\xff.png", "\\\\xff.png"),
            ("\u{fffd}.png".as_bytes(), "\u{fffd}.png"),
            (b"cut \xe7\x8c", "cut \\xe7\\x8c"),
        ] {
            assert_eq!(shown(path(name)), text);
            assert_eq!(unshown(text).unwrap(), path(name), "{text}");
            assert_eq!(unword(&word(&path(name))), path(name), "{text}");
        }
        // All names of two bytes, and all of one byte after another byte that matters.
        let mut seen = std::collections::HashSet::new();
        for (a, b) in (1..=255u8).flat_map(|a| [b'\\', b'x', b'n', 0xc2, 0xff, b'\n'].map(|b| (a, b))) {
            for name in [path(&[a, b]), path(&[b, a, b'1', b'b'])] {
                let text = shown(&name);
                assert!(!text.contains(drives), "{text:?}");
                assert_eq!(unshown(&text).unwrap(), name);
                assert_eq!(unword(&word(&name)), name);
                seen.insert(text);
            }
        }
        assert!(seen.len() > 2900, "{}", seen.len());
        assert!(unshown("\\q").is_none() && unshown("\\x1").is_none() && unshown("\\u{110000}").is_none());
        assert_eq!(word(&path(b"/a/\xff b")), "file:///a/%FF%20b");
        assert_eq!(word(&path(b"file://x")), "file://file%3A//x");
    }

    #[test]
    fn text_keeps_its_words() {
        assert_eq!(line("a\\b\n\x1b[0m"), "a\\b\\n\\x1b[0m");
        assert_eq!(lines("a\n\tb\x1b[0m\r"), "a\n\tb\\x1b[0m\\r");
        assert_eq!(lines("±×é…"), "±×é…");
    }

    #[test]
    fn a_csv_field_is_no_formula_and_stays_one_field() {
        for (text, field) in [
            ("a.png", "a.png"),
            ("a,b", "\"a,b\""),
            ("a\"b", "\"a\"\"b\""),
            ("a\rb", "\"a\rb\""),
            ("=HYPERLINK(\"x\")", "\"'=HYPERLINK(\"\"x\"\")\""),
            ("+1", "'+1"),
            ("-1", "'-1"),
            ("@SUM(A1)", "'@SUM(A1)"),
            ("\tx", "\"'\tx\""),
            ("'=1", "''=1"),
            ("x;=1", "\"x;=1\""),
            (" =1", "\" =1\""),
        ] {
            assert_eq!(csv(text), field);
        }
    }

    #[cfg(unix)]
    #[test]
    fn json_gives_the_name_back_and_drives_nothing() {
        let mut v = serde_json::json!({});
        json_path(&mut v, "path", &path(b"a\n\x1b\xc2\x9b\xe2\x80\xae.png"));
        json_path(&mut v, "other", &path(b"a\xff"));
        let text = json_line(&v);
        assert!(!text.contains(drives), "{text}");
        let back: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(back["path"], "a\n\x1b\u{9b}\u{202e}.png");
        assert!(back.get("path_bytes").is_none());
        assert_eq!((back["other"].as_str(), back["other_bytes"].as_str()), (Some("a\\xff"), Some("Yf8=")));
    }
}
