//! The types of numbers: from text to bytes and back.

use crate::num::Round;
use crate::num::half::{Half, narrow64, widen};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    I8,
    U8,
    I16,
    U16,
    I32,
    U32,
    I64,
    U64,
    F16,
    Bf16,
    F32,
    F64,
}

pub const NAMES: &str = "i8, u8, i16, u16, i32, u32, i64, u64, f16, bf16, f32, f64";
const ALL: [(&str, Type); 12] = [
    ("i8", Type::I8),
    ("u8", Type::U8),
    ("i16", Type::I16),
    ("u16", Type::U16),
    ("i32", Type::I32),
    ("u32", Type::U32),
    ("i64", Type::I64),
    ("u64", Type::U64),
    ("f16", Type::F16),
    ("bf16", Type::Bf16),
    ("f32", Type::F32),
    ("f64", Type::F64),
];

impl Type {
    pub fn named(name: &str) -> Option<Type> {
        ALL.iter().find(|(n, _)| *n == name).map(|(_, t)| *t)
    }

    pub fn name(self) -> &'static str {
        ALL.iter().find(|(_, t)| *t == self).expect("every type has a name").0
    }

    pub fn size(self) -> usize {
        match self {
            Type::I8 | Type::U8 => 1,
            Type::I16 | Type::U16 | Type::F16 | Type::Bf16 => 2,
            Type::I32 | Type::U32 | Type::F32 => 4,
            Type::I64 | Type::U64 | Type::F64 => 8,
        }
    }

    pub fn float(self) -> bool {
        matches!(self, Type::F16 | Type::Bf16 | Type::F32 | Type::F64)
    }

    /// Least and greatest whole number of the type; none for floats.
    pub fn bounds(self) -> Option<(i128, i128)> {
        let bits = 8 * self.size() as u32;
        match self {
            _ if self.float() => None,
            Type::I8 | Type::I16 | Type::I32 | Type::I64 => Some((-(1 << (bits - 1)), (1 << (bits - 1)) - 1)),
            _ => Some((0, (1 << bits) - 1)),
        }
    }

    /// Appends a number that was written as text: decimal, or `0x…` (of a float the bits). False for text that is no number of
    /// the type.
    pub fn put(self, text: &str, out: &mut Vec<u8>) -> bool {
        let text = text.trim();
        let (negative, digits) = text.strip_prefix('-').map_or((false, text), |d| (true, d));
        if let Some(h) = digits.strip_prefix("0x").or(digits.strip_prefix("0X")) {
            let Ok(bits) = u64::from_str_radix(h, 16) else { return false };
            if self.float() {
                let fits = !negative && bits <= u64::MAX >> (64 - 8 * self.size());
                if fits {
                    out.extend_from_slice(&bits.to_le_bytes()[..self.size()]);
                }
                return fits;
            }
            return self.put_int(if negative { -(bits as i128) } else { bits as i128 }, out);
        }
        match self {
            // From text to f32 in one rounding.
            Type::F32 => text.parse::<f32>().map(|x| out.extend_from_slice(&x.to_le_bytes())).is_ok(),
            _ if self.float() => text.parse().map(|x| self.put_float(x, out)).is_ok(),
            _ => text.parse().is_ok_and(|x| self.put_int(x, out)),
        }
    }

    /// Appends a whole number; false, and nothing, if the type does not hold it.
    pub fn put_int(self, x: i128, out: &mut Vec<u8>) -> bool {
        match self.bounds() {
            None => self.put_float(x as f64, out),
            Some((low, high)) if (low..=high).contains(&x) => out.extend_from_slice(&x.to_le_bytes()[..self.size()]),
            Some(_) => return false,
        }
        true
    }

    /// Appends a number, rounded to the type.
    pub fn put_float(self, x: f64, out: &mut Vec<u8>) {
        let half = |kind| (narrow64(x.to_bits(), kind, Round::Nearest) as u16).to_le_bytes();
        match self {
            Type::F16 => out.extend_from_slice(&half(Half::F16)),
            Type::Bf16 => out.extend_from_slice(&half(Half::Bf16)),
            Type::F32 => out.extend_from_slice(&(x as f32).to_le_bytes()),
            Type::F64 => out.extend_from_slice(&x.to_le_bytes()),
            _ => {
                let (low, high) = self.bounds().expect("a type of whole numbers");
                out.extend_from_slice(&(x as i128).clamp(low, high).to_le_bytes()[..self.size()]);
            }
        }
    }

    /// The number that lies in memory; a float.
    pub fn float_of(self, b: &[u8]) -> f64 {
        let wide = wide(b);
        match self {
            Type::F16 => f32::from_bits(widen(wide as u32, Half::F16)) as f64,
            Type::Bf16 => f32::from_bits(widen(wide as u32, Half::Bf16)) as f64,
            Type::F32 => f32::from_bits(wide as u32) as f64,
            Type::F64 => f64::from_bits(wide),
            _ => self.int_of(b) as f64,
        }
    }

    /// The whole number that lies in memory.
    pub fn int_of(self, b: &[u8]) -> i128 {
        let unused = 64 - 8 * self.size() as u32;
        match self {
            Type::I8 | Type::I16 | Type::I32 | Type::I64 => (((wide(b) << unused) as i64) >> unused) as i128,
            _ => wide(b) as i128,
        }
    }

    /// The number in as few digits as say which one it is; very small and very large ones with an exponent.
    pub fn show(self, b: &[u8]) -> String {
        let digits = |x: f64, plain: String, short: String| match x.abs() {
            0.0 => plain,
            a if a.is_finite() && !(1e-4..1e9).contains(&a) => short,
            _ => plain,
        };
        match self {
            Type::F64 => {
                let x = self.float_of(b);
                digits(x, x.to_string(), format!("{x:e}"))
            }
            _ if self.float() => {
                let x = self.float_of(b) as f32;
                digits(x as f64, x.to_string(), format!("{x:e}"))
            }
            _ => self.int_of(b).to_string(),
        }
    }
}

fn wide(b: &[u8]) -> u64 {
    let mut wide = [0; 8];
    wide[..b.len().min(8)].copy_from_slice(&b[..b.len().min(8)]);
    u64::from_le_bytes(wide)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(ty: &str, text: &str) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        let fits = Type::named(ty).unwrap().put(text, &mut out);
        assert_eq!(fits, !out.is_empty(), "{ty} {text}");
        fits.then_some(out)
    }

    #[test]
    fn text_to_bytes_and_back() {
        for (ty, text) in [
            ("i8", "-128"),
            ("u8", "255"),
            ("i16", "-32768"),
            ("u16", "65535"),
            ("i32", "-5"),
            ("u32", "4294967295"),
            ("i64", "-9223372036854775808"),
            ("u64", "18446744073709551615"),
            ("f16", "0.5"),
            ("f16", "6e-8"),
            ("bf16", "-3"),
            ("bf16", "1e30"),
            ("f32", "1.5"),
            ("f32", "1e-20"),
            ("f64", "0.1"),
            ("f64", "1e300"),
            ("f32", "inf"),
            ("f32", "NaN"),
            ("f32", "-0"),
        ] {
            let b = bytes(ty, text).unwrap_or_else(|| panic!("{ty} {text}"));
            let shown = Type::named(ty).unwrap().show(&b);
            // The nearest number of a short type has other digits than the text.
            let same = shown == text || bytes(ty, &shown).unwrap() == b;
            assert!(same && shown.len() < 24, "{ty} {text}: {shown}");
        }
        assert_eq!(bytes("f32", "0x7fc00000").unwrap(), f32::NAN.to_le_bytes());
        assert_eq!(bytes("bf16", "1"), Some(0x3f80u16.to_le_bytes().to_vec()));
        assert_eq!(bytes("f16", "65519"), Some(0x7bffu16.to_le_bytes().to_vec()));
        for (ty, text) in
            [("i8", "128"), ("u8", "-1"), ("u32", "4294967296"), ("i32", "1.5"), ("f32", "x"), ("f16", "0x10000"), ("u64", "")]
        {
            assert_eq!(bytes(ty, text), None, "{ty} {text}");
        }
        assert_eq!(Type::F32.show(&1e-30f32.to_le_bytes()), "1e-30");
    }
}
