//! The grammar of a form: an opcode with its modifiers, in which `{a|b}` is one of several, and `[.a|.b]` one of several or none.
//! ptxas takes the modifiers of most instructions in any order, and the headers of CUDA use that: [`order`] puts them into the
//! order of the form.

/// What may stand at one place of a form.
pub(super) struct Place {
    choices: Vec<&'static str>,
    optional: bool,
}

/// The opcode's first word, and the rest of the form.
pub(super) fn split(form: &str) -> (&str, &str) {
    form.split_at(form.find(['.', '[', '{']).unwrap_or(form.len()))
}

/// The places of the rest of a form.
pub(super) fn places(mut form: &'static str) -> Vec<Place> {
    let mut list = Vec::new();
    while !form.is_empty() {
        // `.{a|b}`, `[.a|.b]` or `.a`.
        let optional = form.starts_with('[');
        let open = form.strip_prefix(if optional { "[" } else { "." }).expect("a modifier begins with a dot");
        let (choices, rest) = if optional {
            open.split_once(']').expect("a bracket closes")
        } else if let Some(open) = open.strip_prefix('{') {
            open.split_once('}').expect("a brace closes")
        } else {
            open.split_at(open.find(['.', '[']).unwrap_or(open.len()))
        };
        list.push(Place { choices: choices.split('|').map(|c| c.trim_start_matches('.')).collect(), optional });
        form = rest;
    }
    list
}

/// Whether the modifiers of an opcode are those of a form, in its order: every one named, none left over.
pub(super) fn matches(form: &[Place], mods: &[&str]) -> bool {
    let Some((place, rest)) = form.split_first() else { return mods.is_empty() };
    let taken = mods.first().is_some_and(|m| place.choices.contains(m));
    (taken && matches(rest, &mods[1..])) || (place.optional && matches(rest, mods))
}

/// Types and layouts: two of them mean something else when they change places.
fn fixed(m: &str) -> bool {
    let number = |r: &str| r.bytes().next().is_some_and(|c| c.is_ascii_digit());
    matches!(m, "row" | "col") || m.strip_prefix("bf").or(m.strip_prefix(['b', 'e', 'f', 's', 'u'])).is_some_and(number)
}

/// The modifiers in the order of a form; none if they are not its modifiers. Types keep their order among themselves.
pub(super) fn order<'a>(form: &[Place], mods: &[&'a str]) -> Option<Vec<&'a str>> {
    let Some((place, rest)) = form.split_first() else { return mods.is_empty().then(Vec::new) };
    let first_fixed = mods.iter().position(|m| fixed(m));
    for (i, m) in mods.iter().enumerate() {
        if place.choices.contains(m) && (!fixed(m) || first_fixed == Some(i)) {
            let left: Vec<&str> = mods.iter().enumerate().filter(|(k, _)| *k != i).map(|(_, m)| *m).collect();
            if let Some(mut list) = order(rest, &left) {
                list.insert(0, m);
                return Some(list);
            }
        }
    }
    if place.optional { order(rest, mods) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms() {
        let is = |form: &'static str, opcode: &str| {
            let (name, rest) = split(form);
            let mut parts = opcode.split('.');
            parts.next() == Some(name) && matches(&places(rest), &parts.collect::<Vec<_>>())
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

    #[test]
    fn any_order() {
        let ordered = |form: &'static str, mods: &str| {
            order(&places(form), &mods.split('.').collect::<Vec<_>>()).map(|list| list.join("."))
        };
        for (form, mods, want) in [
            ("[.rn|.rz][.ftz].f32", "ftz.rz.f32", Some("rz.ftz.f32")),
            ("[.rn|.rz][.ftz].f32", "f32.ftz", Some("ftz.f32")),
            ("[.rn|.rz][.ftz].f32", "f32.ftz.ftz", None),
            ("[.rn].{f32|f16}.{f32|s32}", "f32.rn.s32", Some("rn.f32.s32")),
            ("[.rn].{f32|f16}.{f32|s32}", "s32.rn.f32", None),
            ("[.rn].{f32|f16}.{f32|s32}", "f32.f16", None),
            ("[.release][.gpu][.global].{add|min}.{u32|e4m3}", "global.gpu.release.add.u32", Some("release.gpu.global.add.u32")),
        ] {
            assert_eq!(ordered(form, mods).as_deref(), want, "{form} {mods}");
        }
    }
}
