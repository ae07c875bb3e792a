//! Arguments of the command line: from text to memory and bytes.

use std::path::PathBuf;

use super::load::{bytes, free};
use super::slot::Slot;
use super::types::{NAMES, Type};
use super::values::{type_named, values};
use crate::launch::Arg;
use crate::machine::Machine;

/// ARG of the command line, for its help.
pub const HELP: &str = "\
ARG is one of
  V or TYPE:V         a number; without a type, that of the parameter
  null                a null pointer
  read:TYPE:VALUES    memory that the kernel may only read
  update:TYPE:VALUES  memory that it may change; what accumulates needs this
  write:TYPE:COUNT    memory without values, that it fills
  table:ARG;ARG;…     memory that it may only read, and that holds pointers (or numbers, each at its natural alignment)
  struct:ARG;ARG;…    a struct by value; OFFSET=ARG places a field elsewhere than at its natural alignment
  hex:0aff…           a value byte by byte";

/// How a kernel may use memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rights {
    Read,
    Write,
    Update,
}

impl Rights {
    pub fn named(word: &str) -> Option<Rights> {
        match word {
            "read" => Some(Rights::Read),
            "write" => Some(Rights::Write),
            "update" => Some(Rights::Update),
            _ => None,
        }
    }

    pub fn arg(self, addr: u64, len: u64) -> Arg {
        match self {
            Rights::Read => Arg::Read { addr, len },
            Rights::Write => Arg::Write { addr, len },
            Rights::Update => Arg::Update { addr, len },
        }
    }
}

/// Memory that was made for an argument.
#[derive(Clone, Debug)]
pub struct Memory {
    /// `2`: argument 2; `2.8`: what lies at offset 8 of argument 2.
    pub label: String,
    pub rights: Rights,
    pub ty: Type,
    pub addr: u64,
    pub len: u64,
}

/// Makes arguments, with the memory that they point to.
pub struct Maker<'a> {
    pub machine: &'a mut Machine,
    /// Paths of files start here.
    pub base: PathBuf,
    /// Bytes that memory may still have.
    pub left: u64,
    pub memory: Vec<Memory>,
    /// Memory that is reached through tables and variables.
    pub also: Vec<Arg>,
    /// What a user may have meant otherwise.
    pub notes: Vec<String>,
}

impl Maker<'_> {
    /// Memory for `what`, within the limit.
    pub fn alloc(&mut self, what: &str, len: u64) -> Result<u64, String> {
        self.left = self.left.checked_sub(len).ok_or_else(|| {
            let free = free().map(|f| format!("; {} are free on this machine", bytes(f))).unwrap_or_default();
            format!(
                "{what}: {} are more than the {} that are left of what memory may have (--memory MIB){free}",
                bytes(len),
                bytes(self.left)
            )
        })?;
        Ok(self.machine.alloc(what, len))
    }

    /// Reads one argument; `slot` is the parameter that it is for, if it is for one.
    pub fn argument(&mut self, label: &str, text: &str, slot: Option<&Slot>) -> Result<Arg, String> {
        if text == "null" {
            return slot.map_or(Ok(()), Slot::takes_memory).map(|()| Arg::Null);
        }
        let Some((kind, rest)) = text.split_once(':') else {
            return match slot {
                Some(slot) => slot.number(text).map(Arg::Bytes),
                None => Err(format!("`{text}`: expected TYPE:VALUE, read:…, update:…, write:…, null or hex:…")),
            };
        };
        if let Some(ty) = Type::named(kind) {
            slot.map_or(Ok(()), |s| s.takes(ty))?;
            let mut out = Vec::new();
            return if ty.put(rest, &mut out) { Ok(Arg::Bytes(out)) } else { Err(format!("`{rest}` is not a {kind}")) };
        }
        match kind {
            "hex" => hex(rest).map(Arg::Bytes),
            "struct" => {
                let (fields, size) = self.fields(label, rest)?;
                let size = slot.map_or(size, |s| s.size);
                Ok(Arg::Struct { bytes: vec![0; size as usize], pointers: fields })
            }
            "table" => {
                slot.map_or(Ok(()), Slot::takes_memory)?;
                let (fields, size) = self.fields(label, rest)?;
                let table = Arg::Struct { bytes: vec![0; size as usize], pointers: fields.clone() };
                let data = table.to_bytes()?;
                self.also.extend(fields.into_iter().map(|f| f.1).filter(|a| !matches!(a, Arg::Bytes(_) | Arg::Null)));
                let (addr, len) = (self.alloc(&format!("arg{label}"), data.len() as u64)?, data.len() as u64);
                self.machine.write(addr, &data).map_err(|e| e.to_string())?;
                Ok(Arg::Read { addr, len })
            }
            _ => match Rights::named(kind) {
                Some(rights) => {
                    slot.map_or(Ok(()), Slot::takes_memory)?;
                    self.memory(label, rights, rest)
                }
                None => {
                    let words: Vec<&str> =
                        NAMES.split(", ").chain(["read", "write", "update", "struct", "table", "hex", "null"]).collect();
                    Err(format!("`{kind}` is neither a type nor a kind of argument{}", super::names::meant(kind, &words)))
                }
            },
        }
    }

    /// `TYPE:VALUES`, or `TYPE:COUNT` of memory to be filled.
    fn memory(&mut self, label: &str, rights: Rights, text: &str) -> Result<Arg, String> {
        let (ty, spec) = text.split_once(':').ok_or("expected TYPE:VALUES (write: TYPE:COUNT)")?;
        let ty = type_named(ty)?;
        let name = format!("arg{label}");
        let (addr, len) = if rights == Rights::Write {
            let n: u64 = spec.parse().map_err(|_| {
                format!("`{spec}` is not a count: `write` memory has no values, and takes their number (`update` takes values)")
            })?;
            let len = n.checked_mul(ty.size() as u64).ok_or(format!("{n} values are too many"))?;
            (self.alloc(&name, len)?, len)
        } else {
            let data = values(ty, spec, &self.base, self.left)?;
            if let Ok(n @ 2..) = spec.parse::<u64>() {
                let word = if rights == Rights::Read { "read" } else { "update" };
                let remedy = format!("for {n} values write {n}*0, for this without a note 1*{n}");
                self.notes.push(format!("argument {label}: `{word}:{}:{n}` is one value, {n}; {remedy}", ty.name()));
            }
            let addr = self.alloc(&name, data.len() as u64)?;
            self.machine.write(addr, &data).map_err(|e| e.to_string())?;
            (addr, data.len() as u64)
        };
        self.memory.push(Memory { label: label.to_string(), rights, ty, addr, len });
        Ok(rights.arg(addr, len))
    }

    /// `[OFFSET=]ARG;…`: each field with its offset, and the size of them all.
    fn fields(&mut self, label: &str, text: &str) -> Result<(Vec<(u32, Arg)>, u32), String> {
        let (mut list, mut at, mut widest) = (Vec::new(), 0u32, 1);
        for field in text.split(';').map(str::trim).filter(|f| !f.is_empty()) {
            let given = field.split_once('=').and_then(|(n, rest)| Some((n.trim().parse::<u32>().ok()?, rest)));
            let field = given.map_or(field, |g| g.1);
            if field.starts_with("struct:") || field.starts_with("table:") {
                return Err("a field is no struct and no table; give the inner fields by their offsets".into());
            }
            // The label of a field needs the offset, which needs the size, which the first word tells.
            let size = match field.split(':').next().and_then(Type::named) {
                Some(ty) => ty.size() as u32,
                None if field.starts_with("hex:") => 1,
                None => 8,
            };
            let here = given.map(|g| g.0).or_else(|| at.checked_next_multiple_of(size)).ok_or("the offset is too large")?;
            let arg = self.argument(&format!("{label}.{here}"), field, None).map_err(|e| format!("offset {here}: {e}"))?;
            let len = arg.to_bytes()?.len() as u32;
            at = here
                .checked_add(len)
                .filter(|&a| a <= 1 << 16)
                .ok_or_else(|| format!("offset {here} is beyond the largest struct, 64 KiB"))?;
            widest = widest.max(size);
            list.push((here, arg));
        }
        // A struct ends at a multiple of its alignment.
        let size = list.iter().map(|(o, a)| o + a.to_bytes().map_or(0, |b| b.len() as u32)).max().unwrap_or(0);
        Ok((list, size.next_multiple_of(widest)))
    }
}

/// An even number of hexadecimal digits.
pub fn hex(text: &str) -> Result<Vec<u8>, String> {
    let digit = |i: usize| text.get(i..i + 2).and_then(|d| u8::from_str_radix(d, 16).ok());
    let bytes: Option<Vec<u8>> = (0..text.len()).step_by(2).map(digit).collect();
    bytes.ok_or_else(|| format!("`{text}` is not an even number of hexadecimal digits"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::launch::Config;
    use crate::signature::Kind;

    #[test]
    fn arguments() {
        let mut machine = Machine::new(Config::default());
        let (memory, also, notes) = (vec![], vec![], vec![]);
        let mut m = Maker { machine: &mut machine, base: ".".into(), left: 1 << 20, memory, also, notes };
        let mut arg = |t: &str| m.argument("0", t, None);
        assert_eq!(arg("f32:1.5").unwrap(), 1.5f32.into());
        assert_eq!(arg("bf16:1").unwrap(), 0x3f80u16.into());
        assert_eq!(arg("i8:-1").unwrap(), (-1i8).into());
        assert_eq!(arg("hex:0aff").unwrap(), Arg::Bytes(vec![10, 255]));
        assert_eq!(arg("null").unwrap(), Arg::Null);
        assert!(matches!(arg("write:u8:10").unwrap(), Arg::Write { len: 10, .. }));
        assert!(matches!(arg("read:f64:0..3").unwrap(), Arg::Read { len: 24, .. }));
        for (bad, words) in [
            ("7", "expected TYPE:VALUE"),
            ("f33:1", "did you mean `f32`?"),
            ("reed:f32:1", "did you mean `read`?"),
            ("hex:abc", "even number"),
            ("hex:é", "even number"),
            ("write:f32:x", "takes their number"),
            ("read:f32", "expected TYPE:VALUES"),
            ("read:q:1", "`q` is no type"),
            ("u32:-1", "`-1` is not a u32"),
            ("write:f32:9999999", "are more than the"),
            ("write:f64:18446744073709551615", "too many"),
            ("struct:struct:i32:1", "a field is no struct"),
            ("struct:4000000000=i32:1", "beyond the largest struct"),
        ] {
            let why = arg(bad).expect_err(bad);
            assert!(why.contains(words), "no `{words}` in: {why}");
        }
        assert!(m.notes.is_empty());
        m.argument("3", "update:f32:64", None).unwrap();
        assert!(
            m.notes[0].starts_with("argument 3: `update:f32:64` is one value, 64; for 64 values write 64*0"),
            "{:?}",
            m.notes
        );
    }

    #[test]
    fn structs_and_tables() {
        let mut machine = Machine::new(Config::default());
        let (memory, also, notes) = (vec![], vec![], vec![]);
        let mut m = Maker { machine: &mut machine, base: ".".into(), left: 1 << 20, memory, also, notes };
        let Arg::Struct { bytes, pointers } = m.argument("0", "struct:i32:5;read:f32:1,2;u8:7; 24=write:f32:3", None).unwrap()
        else {
            panic!("a struct")
        };
        assert_eq!((bytes.len(), pointers.iter().map(|p| p.0).collect::<Vec<_>>()), (32, vec![0, 8, 16, 24]));
        assert_eq!(m.memory.iter().map(|b| b.label.as_str()).collect::<Vec<_>>(), ["0.8", "0.24"]);
        // Of a parameter the size is known.
        let slot = Slot { name: "args".into(), size: 40, kind: Kind::Struct { pointers: vec![8] } };
        let arg = m.argument("0", "struct:8=null", Some(&slot)).unwrap();
        assert_eq!(arg.to_bytes().unwrap(), [0; 40]);
        let arg = m.argument("1", "table:read:f32:1;null;write:f32:1", None).unwrap();
        assert!(matches!(arg, Arg::Read { len: 24, .. }) && m.also.len() == 2);
    }
}
