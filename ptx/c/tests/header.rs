//! The header and the library agree: every function that one has, the other has.

/// The names that begin with `lae_` and are followed by a parenthesis.
fn functions(text: &str) -> std::collections::BTreeSet<String> {
    let starts = text.match_indices("lae_").map(|(at, _)| &text[at..]);
    let name = |s: &str| s.split(|c: char| !(c.is_alphanumeric() || c == '_')).next().unwrap_or("").to_string();
    starts.filter(|s| s[name(s).len()..].starts_with('(')).map(name).collect()
}

#[test]
fn the_header_declares_what_the_library_has() {
    let header: String =
        include_str!("../include/lae_ptx.h").lines().filter(|l| !l.trim_start().starts_with(['*', '/'])).collect();
    let library: String =
        include_str!("../src/lib.rs").split("extern \"C\" fn ").skip(1).map(|f| &f[..60.min(f.len())]).collect();
    let (header, library) = (functions(&header), functions(&library));
    assert!(header.len() > 25);
    assert_eq!(header, library);
}
