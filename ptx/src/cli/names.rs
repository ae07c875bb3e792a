//! Names as people type them: whole, demangled or a part; and what was meant by one that is not there.

use crate::module::{Entry, Module};

/// The demangled name of a C++ symbol, parameters included; the symbol itself if it is none.
pub fn demangled(symbol: &str) -> String {
    let options = cpp_demangle::DemangleOptions::new().recursion_limit(64);
    match cpp_demangle::Symbol::new(symbol) {
        Ok(s) => s.demangle_with_options(&options).unwrap_or_else(|_| symbol.to_string()),
        Err(_) => symbol.to_string(),
    }
}

/// A text whose C++ symbols are demangled.
pub fn readable(text: &str) -> String {
    let word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '$' | '.');
    let (mut out, mut rest) = (String::new(), text);
    while let Some(at) = rest.find("_Z") {
        let (before, symbol) = rest.split_at(at);
        let end = symbol.find(|c| !word(c)).unwrap_or(symbol.len());
        // In the middle of a word it is no symbol.
        let begins = !before.ends_with(word);
        out += before;
        out += &if begins { demangled(&symbol[..end]) } else { symbol[..end].to_string() };
        rest = &symbol[end..];
    }
    out + rest
}

/// A demangled name without return type, parameters and template arguments: `ns::k` of `void ns::k<float>(int)`.
pub fn base(name: &str) -> String {
    let (mut out, mut depth) = (String::new(), 0i32);
    for c in name.chars() {
        match c {
            '<' | '(' => {
                if c == '(' && depth == 0 && !out.is_empty() {
                    break;
                }
                depth += 1;
            }
            '>' | ')' => depth -= 1,
            _ if depth <= 0 => out.push(c),
            _ => {}
        }
    }
    out.rsplit(' ').next().unwrap_or("").to_string()
}

/// A demangled name without its parameters: `ns::k<float>`.
fn head(name: &str) -> &str {
    let mut depth = 0i32;
    for (i, c) in name.char_indices() {
        match c {
            '<' => depth += 1,
            '>' => depth -= 1,
            '(' if depth == 0 && i > 0 => {
                return name[..i].rsplit_once(' ').map_or(&name[..i], |(before, last)| {
                    // A return type stands before a template's name; blanks inside of arguments are no end of it.
                    if before.contains('<') { &name[..i] } else { last }
                });
            }
            _ => {}
        }
    }
    name
}

fn dense(text: &str) -> String {
    text.split_whitespace().collect()
}

/// Up to twelve of the names.
pub fn some<S: AsRef<str>>(names: &[S]) -> String {
    let shown: Vec<&str> = names.iter().take(12).map(|n| n.as_ref()).collect();
    let more = names.len().saturating_sub(12);
    format!("{}{}", shown.join(", "), if more > 0 { format!(" and {more} more") } else { String::new() })
}

/// `; did you mean …?`, or the names that there are.
pub fn meant<S: AsRef<str>>(typed: &str, names: &[S]) -> String {
    let close = |n: &&S| strsim::jaro_winkler(&typed.to_lowercase(), &n.as_ref().to_lowercase());
    let best = names.iter().map(|n| (close(&n), n)).max_by(|a, b| a.0.total_cmp(&b.0));
    match best {
        Some((score, n)) if score > 0.8 => format!("; did you mean `{}`?", n.as_ref()),
        Some(_) => format!("; there is {}", some(names)),
        None => "; there is none".into(),
    }
}

/// The one of `symbols` that a text names: by the symbol, the demangled name (with or without parameters and template
/// arguments), or a part that no other has. `what` says in messages what is looked for.
pub fn find(what: &str, text: &str, symbols: &[&str]) -> Result<usize, String> {
    if let Some(i) = symbols.iter().position(|s| *s == text) {
        return Ok(i);
    }
    let wanted = dense(text);
    let long: Vec<String> = symbols.iter().map(|s| demangled(s)).collect();
    let by = |f: &dyn Fn(usize) -> bool| (0..symbols.len()).filter(|&i| f(i)).collect::<Vec<_>>();
    let last = |i: usize| base(&long[i]).rsplit("::").next().unwrap_or("").to_string();
    // From the most exact to the least: the first rule that fits any decides.
    let rules: [&dyn Fn(usize) -> bool; 6] = [
        &|i| dense(&long[i]) == wanted,
        &|i| dense(head(&long[i])) == wanted,
        &|i| base(&long[i]) == wanted,
        &|i| last(i) == wanted,
        &|i| symbols[i].contains(text),
        &|i| !wanted.is_empty() && dense(&long[i]).contains(&wanted),
    ];
    if !text.is_empty() {
        for rule in rules {
            match by(rule).as_slice() {
                [] => continue,
                [one] => return Ok(*one),
                several => {
                    let names: Vec<&str> = several.iter().map(|&i| long[i].as_str()).collect();
                    return Err(format!("`{text}` fits {} {what}s: {}; say more of the name", names.len(), some(&names)));
                }
            }
        }
    }
    let short: Vec<String> = (0..symbols.len()).map(|i| base(&long[i])).collect();
    Err(format!("no {what} `{text}`{}", meant(text, &short)))
}

/// The kernel that a text names; without a text the only one.
pub fn kernel<'a>(module: &'a Module, text: Option<&str>) -> Result<&'a Entry, String> {
    let all = module.entries();
    let symbols: Vec<&str> = all.iter().map(|e| e.name.as_str()).collect();
    match (text, all) {
        (Some(t), _) => find("kernel", t, &symbols).map(|i| &all[i]).map_err(|e| format!("{}: {e}", module.name())),
        (None, [one]) => Ok(one),
        (None, []) => Err(format!("{} has no kernels", module.name())),
        (None, _) => {
            let names: Vec<String> = symbols.iter().map(|s| demangled(s)).collect();
            Err(format!("{} has {} kernels: choose one of {}", module.name(), names.len(), some(&names)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernels_by_any_name() {
        let symbols =
            ["_Z5saxpyIfEviT_PKS0_PS0_", "_Z5saxpyIdEviT_PKS0_PS0_", "_ZN3lib6detail4copyEPfPKf", "reduce", "reduce_rows"];
        let found = |t: &str| find("kernel", t, &symbols);
        assert_eq!(demangled(symbols[0]), "void saxpy<float>(int, float, float const*, float*)");
        for (text, want) in [
            ("_Z5saxpyIfEviT_PKS0_PS0_", 0),
            ("void saxpy<float>(int, float, float const*, float*)", 0),
            ("saxpy<double>", 1),
            ("lib::detail::copy", 2),
            ("lib::detail::copy(float*, float const*)", 2),
            ("copy", 2),
            ("reduce", 3),
            ("rows", 4),
            ("saxpyIf", 0),
        ] {
            assert_eq!(found(text), Ok(want), "{text}");
        }
        let several = found("saxpy").unwrap_err();
        assert!(several.contains("fits 2 kernels: void saxpy<float>"), "{several}");
        assert_eq!(found("reduc_row").unwrap_err(), "no kernel `reduc_row`; did you mean `reduce_rows`?");
        assert!(found("x9").unwrap_err().contains("there is saxpy, saxpy, lib::detail::copy, reduce"));
        assert!(found("").is_err());
        let text = "at `_ZZ6reduceIfEvPT_E1s` + 4, in _Z6reduceIfEvPT_, not x_Z1fv: ld [_Z1fPf_param_0]";
        let want = "at `void reduce<float>(float*)::s` + 4, in void reduce<float>(float*), not x_Z1fv: ld [_Z1fPf_param_0]";
        assert_eq!(readable(text), want);
    }
}
