//! Names across the whole file: which function or variable each stands for.

use std::collections::{BTreeSet, HashMap};

use crate::source::{Operand, Refusal, Source, Table, Target};

/// Gives names their functions and addresses their targets.
pub(super) fn link(mut s: Source) -> Source {
    functions(&mut s);
    let mut addressed = BTreeSet::new();
    addresses(&mut s, &mut addressed);
    for f in &s.functions {
        for i in f.body.iter().filter(|i| !i.opcode.starts_with("call")) {
            for o in &i.operands {
                if let Operand::Name(name) = o
                    && let Some(f) = s.function(name)
                {
                    addressed.insert(f);
                }
            }
        }
        for t in &f.tables {
            if let Table::Calls(names) = t {
                addressed.extend(names.iter().filter_map(|n| s.function(n)));
            }
        }
    }
    s.addressed = addressed.into_iter().collect();
    s
}

/// Of a declaration and a definition, the definition. Of two definitions neither: a kernel would depend on their order.
fn functions(s: &mut Source) {
    let mut names: HashMap<String, u32> = HashMap::new();
    for i in 0..s.functions.len() {
        let name = s.functions[i].name.clone();
        let Some(&known) = names.get(&name) else {
            names.insert(name, i as u32);
            continue;
        };
        let known = known as usize;
        if s.functions[known].has_body && s.functions[i].has_body {
            let (a, b) = (s.functions[known].line, s.functions[i].line);
            let why = format!("`{name}` is defined twice, in lines {a} and {b}");
            for f in [known, i] {
                s.functions[f].refused = Some(Refusal { line: b, why: why.clone(), text: name.clone() });
            }
        } else if s.functions[i].has_body {
            names.insert(name, i as u32);
        }
    }
    for (alias, of) in std::mem::take(&mut s.aliases) {
        let defined = names.get(&alias).is_some_and(|&f| s.functions[f as usize].has_body);
        if let Some(&f) = names.get(&of).filter(|_| !defined) {
            names.insert(alias, f);
        }
    }
    s.function_names = names;
}

/// The targets of the addresses among initial values.
fn addresses(s: &mut Source, addressed: &mut BTreeSet<u32>) {
    let mut vars = std::mem::take(&mut s.vars);
    for v in &mut vars {
        for r in v.relocations.iter_mut().filter(|r| r.to == Target::Nothing) {
            if let Some(i) = s.var(&r.name) {
                r.to = Target::Var(i);
            } else if let Some(f) = s.function(&r.name) {
                r.to = Target::Function(f);
                addressed.insert(f);
            }
        }
    }
    s.vars = vars;
}
