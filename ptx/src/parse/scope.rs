//! The names of a function: what each means between its pair of braces.

use std::collections::HashMap;

use crate::source::{Function, Operand, RegType, Space, Var};

/// The names visible inside a pair of braces.
#[derive(Default)]
pub(super) struct Scope<'a> {
    pub parent: usize,
    names: HashMap<&'a str, Meaning>,
    ranges: HashMap<&'a str, Range>,
    pub labels: HashMap<&'a str, u32>,
}

#[derive(Clone, Copy)]
pub(super) enum Meaning {
    /// The first register, and how many there are: more than one is a vector.
    Reg(u32, u32),
    /// The same for a register of a range, which a declaration of its name may replace.
    Ranged(u32, u32),
    /// A variable of the function.
    Local(u32),
    /// A global or constant variable.
    Global(u32),
    /// A formal: whether it is a result, and its index.
    Formal(bool, u32),
    Table(u32),
}

/// `%r<12>` declares %r0 … %r11. A register exists once it is used, so that a large range costs nothing.
struct Range {
    kind: Kind,
    count: u32,
    /// Registers by number: names with leading zeros are the same register.
    made: HashMap<u32, u32>,
}

/// The type of a register: of its components, and how many they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Kind {
    pub reg: RegType,
    pub lanes: u32,
}

/// Braces may be nested this deep.
const DEEPEST: usize = 200;

/// A function whose body is being read.
pub(super) struct Body<'a> {
    pub f: Function,
    pub scopes: Vec<Scope<'a>>,
    pub current: usize,
    depth: usize,
    /// Branches whose label may stand further down: (instruction, operand, scope).
    pub branches: Vec<(usize, usize, usize)>,
    /// The same for `.branchtargets`: (table, labels, scope).
    pub tables: Vec<(usize, Vec<String>, usize)>,
}

impl<'a> Body<'a> {
    pub fn new(f: Function) -> Body<'a> {
        Body { f, scopes: vec![Scope::default()], current: 0, depth: 1, branches: Vec::new(), tables: Vec::new() }
    }

    /// Behind `{`: whether the nesting is still sane.
    pub fn open(&mut self) -> bool {
        self.depth += 1;
        self.scopes.push(Scope { parent: self.current, ..Scope::default() });
        self.current = self.scopes.len() - 1;
        self.depth <= DEEPEST
    }

    /// Behind `}`: whether the body is over.
    pub fn close(&mut self) -> bool {
        self.depth -= 1;
        self.current = self.scopes[self.current].parent;
        self.depth == 0
    }

    /// Gives a name its meaning in this scope; false if the name has one.
    pub fn define(&mut self, name: &'a str, m: Meaning) -> bool {
        matches!(self.scopes[self.current].names.insert(name, m), None | Some(Meaning::Ranged(..)))
    }

    /// New registers for a name.
    pub fn register(&mut self, name: &str, kind: Kind) -> u32 {
        let first = self.f.regs.len() as u32;
        for k in 0..kind.lanes as usize {
            self.f.regs.push(kind.reg);
            self.f.reg_names.push(if kind.lanes == 1 { name.to_string() } else { format!("{name}.{}", ["x", "y", "z", "w"][k]) });
        }
        first
    }

    /// Declares `count` registers by their prefix; false if the prefix has some.
    pub fn range(&mut self, name: &'a str, kind: Kind, count: u32) -> bool {
        self.scopes[self.current].ranges.insert(name, Range { kind, count, made: HashMap::new() }).is_none()
    }

    /// Scopes from the innermost outwards.
    pub fn outwards(&self, from: usize) -> impl Iterator<Item = usize> {
        let mut next = Some(from);
        std::iter::from_fn(move || {
            let at = next?;
            next = (at != 0).then(|| self.scopes[at].parent);
            Some(at)
        })
    }

    /// The module variable of the body that a name means here.
    pub fn global(&self, w: &str) -> Option<u32> {
        match self.outwards(self.current).find_map(|s| self.scopes[s].names.get(w)) {
            Some(Meaning::Global(i)) => Some(*i),
            _ => None,
        }
    }

    /// What a name means here, without its components.
    fn find(&mut self, w: &'a str) -> Option<Meaning> {
        let mut at = self.current;
        loop {
            if let Some(&m) = self.scopes[at].names.get(w) {
                return Some(m);
            }
            if !self.scopes[at].ranges.is_empty()
                && let digits = w.len() - w.bytes().rev().take_while(u8::is_ascii_digit).count()
                && let Ok(i) = w[digits..].parse::<u32>()
                && let Some(range) = self.scopes[at].ranges.get(&w[..digits])
                && i < range.count
            {
                let (kind, made) = (range.kind, range.made.get(&i).copied());
                let first = made.unwrap_or_else(|| self.register(w, kind));
                self.scopes[at].ranges.get_mut(&w[..digits]).expect("just seen").made.insert(i, first);
                let m = Meaning::Ranged(first, kind.lanes);
                self.scopes[at].names.insert(w, m);
                return Some(m);
            }
            if at == 0 {
                return None;
            }
            at = self.scopes[at].parent;
        }
    }

    /// What a name, with its components, stands for as an operand.
    pub fn operand(&mut self, w: &'a str) -> Operand {
        if w == "_" {
            return Operand::Sink;
        }
        if let Some((base, component)) = w.split_once('.') {
            let k = match component {
                "x" | "r" => 0,
                "y" | "g" => 1,
                "z" | "b" => 2,
                "w" | "a" => 3,
                _ => u32::MAX,
            };
            return match self.find(base) {
                Some(Meaning::Reg(first, lanes) | Meaning::Ranged(first, lanes)) if k < lanes && lanes > 1 => {
                    Operand::Reg(first + k)
                }
                _ => Operand::Name(w.to_string()),
            };
        }
        match self.find(w) {
            Some(Meaning::Reg(r, 1) | Meaning::Ranged(r, 1)) => Operand::Reg(r),
            Some(Meaning::Reg(first, lanes) | Meaning::Ranged(first, lanes)) => {
                Operand::Vector((first..first + lanes).map(Operand::Reg).collect())
            }
            Some(Meaning::Local(v)) => Operand::Local(v),
            Some(Meaning::Global(v)) => Operand::Global(v),
            Some(Meaning::Formal(result, i)) => Operand::Formal(result, i),
            Some(Meaning::Table(t)) => Operand::Table(t),
            None => Operand::Name(w.to_string()),
        }
    }

    /// Declares a variable of the function.
    pub fn local(&mut self, name: &'a str, v: Var) -> bool {
        debug_assert!(matches!(v.space, Space::Local | Space::Shared | Space::Param));
        self.f.vars.push(v);
        self.define(name, Meaning::Local(self.f.vars.len() as u32 - 1))
    }
}
