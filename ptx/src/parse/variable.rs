//! Declarations of variables, their types and initial values.

use super::constant::Value;
use super::cursor::{Parsed, Parser, word_start};
use super::scope::Kind;
use crate::source::{RegType, Relocation, Space, Target, Var, type_size};

/// Most bytes of one variable, and of all of a module.
const LARGEST: u64 = 1 << 30;
const MODULE: u64 = 4 << 30;
/// Largest alignment: allocations begin at multiples of it.
const ALIGN: u32 = 16 << 20;

/// What stands before the names of a declaration.
#[derive(Clone, Copy)]
pub(super) struct Declared<'a> {
    align: u32,
    ty: &'a str,
    size: u32,
    lanes: u32,
    /// Declared to be a pointer (`.ptr`).
    pointer: bool,
}

/// Bytes of a type that variables and registers may have.
fn storage(t: &str) -> Option<u32> {
    if t == ".b128" { Some(16) } else { type_size(t) }
}

impl<'a> Parser<'a> {
    /// `.align 4 .v2 .f32`, behind the word that names the space.
    pub fn declared(&mut self) -> Parsed<Declared<'a>> {
        let (mut align, mut ty, mut lanes, mut pointer) = (0, None, 1, false);
        while self.peek()? == b'.' {
            match self.directive()? {
                ".align" => {
                    align = self.whole()?;
                    if !align.is_power_of_two() || align > ALIGN {
                        return self.error(format!("alignment {align} is no power of two up to {ALIGN}"));
                    }
                }
                ".v2" => lanes = 2,
                ".v4" => lanes = 4,
                ".attribute" => self.attribute()?,
                // What a pointer parameter points to.
                ".ptr" => {
                    pointer = true;
                    for space in [".global", ".const", ".shared", ".local", ".param"] {
                        self.eat_directive(space)?;
                    }
                    if self.eat_directive(".align")? {
                        self.whole()?;
                    }
                }
                t => match storage(t) {
                    Some(size) if ty.is_none() => ty = Some((t, size)),
                    _ => return self.error(format!("`{t}` in a declaration is not supported")),
                },
            }
        }
        let Some((ty, size)) = ty else { return self.error("a declaration without a type") };
        Ok(Declared { align: if align == 0 { size * lanes } else { align }, ty, size, lanes, pointer })
    }

    /// `(.managed, .unified(1, 2))`: where a variable lies, which makes no difference here.
    pub fn attribute(&mut self) -> Parsed<()> {
        self.expect(b'(')?;
        loop {
            match self.directive()? {
                ".managed" => {}
                ".unified" => {
                    self.expect(b'(')?;
                    self.literal()?;
                    self.expect(b',')?;
                    self.literal()?;
                    self.expect(b')')?;
                }
                w => return self.error(format!("attribute `{w}` is not supported")),
            }
            if !self.eat(b',')? {
                return self.expect(b')');
            }
        }
    }

    /// The type of registers, behind `.reg`.
    pub fn register_type(&mut self) -> Parsed<Kind> {
        let mut lanes = 1;
        let mut ty = self.directive()?;
        if matches!(ty, ".v2" | ".v4") {
            lanes = if ty == ".v2" { 2 } else { 4 };
            ty = self.directive()?;
        }
        let reg = match (ty, storage(ty)) {
            (".pred", _) if lanes == 1 => RegType::Pred,
            (_, Some(1 | 2)) => RegType::B16,
            (_, Some(4)) => RegType::B32,
            (_, Some(8)) => RegType::B64,
            // Two halves, as if by `.v2 .b64`.
            (".b128", _) if lanes == 1 => return Ok(Kind { reg: RegType::B64, lanes: 2 }),
            _ => return self.error(format!("registers of type `{ty}` are not supported")),
        };
        Ok(Kind { reg, lanes })
    }

    /// `name[16] = {…}`, behind the type: the name as it stands in the text, and the variable.
    pub fn variable(&mut self, space: Space, external: bool, t: Declared<'a>) -> Parsed<(&'a str, Var)> {
        let name = self.word()?;
        let (mut count, mut open, mut array) = (1u64, false, false);
        while self.eat(b'[')? {
            if self.peek()? == b']' && !array {
                open = true;
            } else {
                let n = self.integer()?;
                match u64::try_from(n).ok().and_then(|n| count.checked_mul(n)) {
                    Some(c) => count = c,
                    None => return self.error(format!("variable `{name}` is too large")),
                }
            }
            array = true;
            self.expect(b']')?;
        }
        let element = (t.size * t.lanes) as u64;
        let Some(bytes) = count.checked_mul(element).filter(|&b| b <= LARGEST) else {
            return self.error(format!("variable `{name}` is too large"));
        };
        let mut v = Var {
            name: name.to_string(),
            space,
            align: t.align,
            size: if open { 0 } else { bytes as u32 },
            external,
            element: if array { t.size } else { 0 },
            ty: t.ty.to_string(),
            pointer: t.pointer,
            init: Vec::new(),
            relocations: Vec::new(),
            regs: Vec::new(),
            refused: None,
        };
        if self.eat(b'=')? {
            if !matches!(space, Space::Global | Space::Const) {
                return self.error(format!("`{name}`: only global and constant variables have initial values"));
            }
            self.initialiser(&mut v, t)?;
            if open {
                // Whole rows.
                v.size = (v.init.len() as u64).next_multiple_of(bytes.max(1)) as u32;
            }
            if v.init.len() > v.size as usize {
                return self.error(format!("too many initial values for `{name}`"));
            }
        }
        if matches!(space, Space::Global | Space::Const) {
            self.bytes += v.size as u64;
            if self.bytes > MODULE {
                return self.error(format!("with `{name}`, the module's variables have more than {MODULE} bytes"));
            }
        }
        Ok((name, v))
    }

    /// Initial values, as ptxas lays them out: one behind the other. Braces group them, but skip nothing where a row is short.
    fn initialiser(&mut self, v: &mut Var, t: Declared) -> Parsed<()> {
        if self.eat(b'{')? {
            self.deeper()?;
            if !self.eat(b'}')? {
                loop {
                    self.initialiser(v, t)?;
                    if !self.eat(b',')? {
                        break;
                    }
                }
                self.expect(b'}')?;
            }
            self.depth -= 1;
            return Ok(());
        }
        let size = t.size as usize;
        let name = word_start(self.peek()?) && !self.s[self.at..].starts_with(b"WARP_SZ");
        let bits = if name {
            if size != 8 && t.ty != ".u32" {
                let (ty, symbol) = (t.ty, self.word()?);
                return self.error(format!("`{}` has elements of type `{ty}`, which take no address as of `{symbol}`", v.name));
            }
            self.relocation(v, size as u8, 0)?;
            0
        } else {
            match self.constant()? {
                // `0xFF00(symbol)`: one byte of an address.
                Value::Int(mask, _) if self.peek()? == b'(' => {
                    let first = mask.trailing_zeros() / 8;
                    if size != 1 || mask == 0 || mask != 0xff << (first * 8) {
                        return self.error(format!("mask {mask:#x} in an initial value is not supported"));
                    }
                    self.at += 1;
                    self.relocation(v, 1, first as u8)?;
                    self.expect(b')')?;
                    0
                }
                value => match bits(value, t.ty, size) {
                    Some(b) => b,
                    None => return self.error(format!("an initial value does not have the type `{}`", t.ty)),
                },
            }
        };
        let bytes = (bits as u128).to_le_bytes();
        v.init.extend_from_slice(&bytes[..size]);
        if v.init.len() as u64 > LARGEST { self.error("too many initial values") } else { Ok(()) }
    }

    /// `symbol + 4` or `generic(symbol) + 4`.
    fn relocation(&mut self, v: &mut Var, bytes: u8, first: u8) -> Parsed<()> {
        let mut name = self.word()?;
        if name == "generic" && self.eat(b'(')? {
            name = self.word()?;
            self.expect(b')')?;
        }
        let plus = if self.eat(b'+')? { self.integer()? } else { 0 };
        let at = v.init.len() as u32;
        v.relocations.push(Relocation { at, bytes, first, name: name.to_string(), to: Target::Nothing, plus });
        Ok(())
    }
}

/// The bits of an initial value; none if it is of another type.
fn bits(value: Value, ty: &str, size: usize) -> Option<u64> {
    let untyped = ty.starts_with(".b");
    match (value, ty) {
        (_, ".f16" | ".f16x2" | ".bf16" | ".bf16x2") => None,
        (Value::Float(x), ".f32") => Some((x as f32).to_bits() as u64),
        (Value::F64(b), ".f32") => Some((f64::from_bits(b) as f32).to_bits() as u64),
        (Value::F32(b), ".f32" | ".f64") => Some(b as u64),
        (Value::Float(x), ".f64") => Some(x.to_bits()),
        (Value::F64(b), ".f64") => Some(b),
        (Value::Int(..), ".f32" | ".f64") => None,
        (Value::Int(i, _), _) => Some(i),
        (Value::Float(x), _) if untyped => Some(if size >= 8 { x.to_bits() } else { (x as f32).to_bits() as u64 }),
        (Value::F32(b), _) if untyped => Some(b as u64),
        (Value::F64(b), _) if untyped && size >= 8 => Some(b),
        _ => None,
    }
}
