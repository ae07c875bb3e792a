//! The instruction set for readers: the list of supported forms, the list of those that are left out, each with its reason, and
//! the census of what a module uses.

use std::collections::HashMap;

use super::decode::table::find;
pub use super::decode::table::{Left, Row, left, reason, table};
use super::module::Module;

/// How often each form occurs in a module's kernels and functions, most frequent first, and whether it is supported.
pub fn census(module: &Module) -> Vec<Form> {
    let mut counts: HashMap<&str, u64> = HashMap::new();
    for f in &module.source.functions {
        // A statement that was not understood may have no opcode.
        for i in f.body.iter().filter(|i| !i.opcode.is_empty() && !i.opcode.starts_with('.')) {
            *counts.entry(&i.opcode).or_default() += 1;
        }
    }
    let form = |(opcode, count): (&str, u64)| Form { opcode: opcode.to_string(), count, supported: find(opcode).is_some() };
    let mut list: Vec<Form> = counts.into_iter().map(form).collect();
    list.sort_by(|a, b| b.count.cmp(&a.count).then(a.opcode.cmp(&b.opcode)));
    list
}

/// A row of [`census`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Form {
    /// With all modifiers, as the module has it.
    pub opcode: String,
    /// Static occurrences.
    pub count: u64,
    pub supported: bool,
}
