//! The grammar of a form: an opcode with its modifiers, in which `{a|b}` is one of several, and `[.a|.b]` one of several or none.

/// The opcode's first word, and the rest of the form.
pub(super) fn split(form: &str) -> (&str, &str) {
    form.split_at(form.find(['.', '[', '{']).unwrap_or(form.len()))
}

/// Whether the modifiers of an opcode are those of the rest of a form: every one named, none left over.
pub(super) fn matches(form: &str, mods: &[&str]) -> bool {
    if form.is_empty() {
        return mods.is_empty();
    }
    // `.{a|b}`, `[.a|.b]` or `.a`, then the rest.
    if let Some(rest) = form.strip_prefix('[') {
        let end = rest.find(']').expect("a bracket closes");
        let (choices, rest) = (&rest[..end], &rest[end + 1..]);
        let taken = mods.first().is_some_and(|m| choices.split('|').any(|c| c.strip_prefix('.') == Some(m)));
        return (taken && matches(rest, &mods[1..])) || matches(rest, mods);
    }
    let form = form.strip_prefix('.').expect("a modifier begins with a dot");
    let Some(first) = mods.first() else { return false };
    if let Some(rest) = form.strip_prefix('{') {
        let end = rest.find('}').expect("a brace closes");
        return rest[..end].split('|').any(|c| c == *first) && matches(&rest[end + 1..], &mods[1..]);
    }
    let end = form.find(['.', '[']).unwrap_or(form.len());
    form[..end] == **first && matches(&form[end..], &mods[1..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms() {
        let is = |form: &str, opcode: &str| {
            let (name, rest) = split(form);
            let mut parts = opcode.split('.');
            parts.next() == Some(name) && matches(rest, &parts.collect::<Vec<_>>())
        };
        for (form, opcode, want) in [
            ("ret", "ret", true),
            ("ret", "ret.uni", false),
            ("add.{u32|s32}", "add.s32", true),
            ("add.{u32|s32}", "add", false),
            ("add.{u32|s32}", "add.s32.sat", false),
            ("add[.rn|.rz][.ftz].f32", "add.f32", true),
            ("add[.rn|.rz][.ftz].f32", "add.rz.ftz.f32", true),
            ("add[.rn|.rz][.ftz].f32", "add.ftz.rz.f32", false),
            ("add[.rn|.rz][.ftz].f32", "sub.f32", false),
        ] {
            assert_eq!(is(form, opcode), want, "{form} {opcode}");
        }
    }
}
