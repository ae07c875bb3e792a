//! What a parameter takes, in words, and whether an argument fits it.

use super::types::Type;
use crate::module::{Entry, Module};
use crate::signature::Kind;

/// A parameter of a kernel.
#[derive(Clone, Debug)]
pub struct Slot {
    pub name: String,
    pub size: u32,
    pub kind: Kind,
}

pub fn slots(module: &Module, entry: &Entry) -> Vec<Slot> {
    let kinds = module.kinds(entry);
    entry.params.iter().zip(kinds).map(|(p, kind)| Slot { name: p.name.clone(), size: p.size, kind }).collect()
}

impl Slot {
    pub fn words(&self) -> String {
        let bytes = if self.size == 1 { "1 byte".to_string() } else { format!("{} bytes", self.size) };
        match &self.kind {
            Kind::Pointer => "pointer".into(),
            Kind::UsedAsPointer => "pointer (used as)".into(),
            Kind::Integer => format!("integer of {bytes}"),
            Kind::Float => format!("float of {bytes}"),
            Kind::Struct { pointers } if pointers.is_empty() => format!("struct of {bytes}"),
            Kind::Struct { pointers } => {
                let at: Vec<String> = pointers.iter().map(u32::to_string).collect();
                format!("struct of {bytes} with pointers (used as) at {}", at.join(", "))
            }
        }
    }

    /// The type of a number that is written without one; none where only the user can know.
    pub fn usual(&self) -> Option<Type> {
        match (&self.kind, self.size) {
            (Kind::Float, 2) => Some(Type::F16),
            (Kind::Float, 4) => Some(Type::F32),
            (Kind::Float, 8) => Some(Type::F64),
            (Kind::Integer, 1) => Some(Type::I8),
            (Kind::Integer, 2) => Some(Type::I16),
            (Kind::Integer, 4) => Some(Type::I32),
            (Kind::Integer, 8) => Some(Type::I64),
            _ => None,
        }
    }

    /// A number without a type: signed or unsigned, as it fits.
    pub fn number(&self, text: &str) -> Result<Vec<u8>, String> {
        let Some(ty) = self.usual() else {
            return Err(format!("`{text}` for `{}`, a {}: {}", self.name, self.words(), self.remedy()));
        };
        let unsigned = [Type::U8, Type::U16, Type::U32, Type::U64].into_iter().find(|t| t.size() == ty.size());
        let mut out = Vec::new();
        let fits = ty.put(text, &mut out) || unsigned.is_some_and(|t| self.kind == Kind::Integer && t.put(text, &mut out));
        if fits {
            Ok(out)
        } else {
            Err(format!("`{text}` is no number for `{}`, {} {}", self.name, article(&self.kind), self.words()))
        }
    }

    /// Whether a number of a type may be given.
    pub fn takes(&self, ty: Type) -> Result<(), String> {
        let fits = self.size as usize == ty.size();
        let kind = match self.kind {
            Kind::Float => ty.float(),
            // Bits of two bytes are often loaded as such, whatever they mean.
            Kind::Integer => !ty.float() || self.size == 2,
            Kind::Pointer | Kind::UsedAsPointer => false,
            Kind::Struct { .. } => true,
        };
        if fits && kind {
            return Ok(());
        }
        Err(format!("{} for `{}`, {} {}: {}", ty.name(), self.name, article(&self.kind), self.words(), self.remedy()))
    }

    /// Whether memory may be given.
    pub fn takes_memory(&self) -> Result<(), String> {
        if self.size == 8 && self.kind != Kind::Float {
            return Ok(());
        }
        Err(format!("memory for `{}`, {} {}: {}", self.name, article(&self.kind), self.words(), self.remedy()))
    }

    fn remedy(&self) -> String {
        match (&self.kind, self.usual()) {
            (Kind::Pointer | Kind::UsedAsPointer, _) => "give memory (read, write or update) or null".into(),
            (Kind::Struct { .. }, _) => "give struct or hex".into(),
            (_, Some(t)) => format!("give {}{}, or hex for its bits", t.name(), if t.float() { "" } else { " (or unsigned)" }),
            _ => "give hex".into(),
        }
    }
}

fn article(kind: &Kind) -> &'static str {
    if *kind == Kind::Integer { "an" } else { "a" }
}

/// The number of arguments, against the parameters.
pub fn count(given: usize, slots: &[Slot]) -> Result<(), String> {
    if given == slots.len() {
        return Ok(());
    }
    let words: Vec<String> = slots.iter().map(|s| format!("{}: {}", s.name, s.words())).collect();
    let list = if words.is_empty() { "it takes none".into() } else { words.join("; ") };
    Err(format!("{given} argument{} for {} parameter{} ({list})", s(given), slots.len(), s(slots.len())))
}

fn s(n: usize) -> &'static str {
    if n == 1 { "" } else { "s" }
}
