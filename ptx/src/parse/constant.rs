//! Numbers and constant expressions. What they mean was compared with ptxas 13.0, through the machine code that it makes:
//! integers have 64 bits and a sign, a shift counts modulo 64, `%` and `~` are unsigned.

use super::cursor::{Parsed, Parser};
use crate::source::Operand;

/// The value of a constant expression.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Value {
    /// Bits, and whether they are signed.
    Int(u64, bool),
    Float(f64),
    /// `0f…`, `0d…`: bits, which no operator takes.
    F32(u32),
    F64(u64),
}

impl From<Value> for Operand {
    fn from(v: Value) -> Operand {
        match v {
            Value::Int(i, _) => Operand::Int(i as i64),
            Value::Float(x) => Operand::F64(x.to_bits()),
            Value::F32(b) => Operand::F32(b),
            Value::F64(b) => Operand::F64(b),
        }
    }
}

/// Binary operators, with their rank: a higher one binds tighter. A longer one comes before its beginning.
const OPERATORS: [(&str, u8); 18] = [
    ("||", 1),
    ("&&", 2),
    ("|", 3),
    ("^", 4),
    ("&", 5),
    ("==", 6),
    ("!=", 6),
    ("<<", 8),
    (">>", 8),
    ("<=", 7),
    (">=", 7),
    ("<", 7),
    (">", 7),
    ("+", 9),
    ("-", 9),
    ("*", 10),
    ("/", 10),
    ("%", 10),
];

impl Parser<'_> {
    /// Whether a constant expression begins with this byte; one in parentheses may, too.
    pub fn begins_constant(c: u8) -> bool {
        c.is_ascii_digit() || matches!(c, b'-' | b'+' | b'~' | b'.')
    }

    /// A constant expression.
    pub fn constant(&mut self) -> Parsed<Value> {
        self.deeper()?;
        let v = self.ternary()?;
        self.depth -= 1;
        Ok(v)
    }

    /// A constant expression whose value is an integer.
    pub fn integer(&mut self) -> Parsed<i64> {
        match self.constant()? {
            Value::Int(v, _) => Ok(v as i64),
            _ => self.error("expected an integer"),
        }
    }

    /// A whole number without an operator, where the language takes no expression.
    pub fn whole(&mut self) -> Parsed<u32> {
        match self.literal()? {
            Value::Int(v, _) if v <= u32::MAX as u64 => Ok(v as u32),
            Value::Int(v, _) => self.error(format!("{v} is too large")),
            _ => self.error("expected a whole number"),
        }
    }

    fn ternary(&mut self) -> Parsed<Value> {
        let v = self.binary(1)?;
        if self.peek()? != b'?' {
            return Ok(v);
        }
        self.at += 1;
        let Value::Int(c, _) = v else { return self.error("the condition of `?` must be an integer") };
        let yes = self.constant()?;
        self.expect(b':')?;
        let no = self.constant()?;
        match (yes, no) {
            (Value::Int(..), Value::Int(..)) => Ok(if c != 0 { yes } else { no }),
            _ => self.error("`?` chooses between integers only"),
        }
    }

    /// The operator that comes next, if its rank is at least `least`.
    fn operator(&mut self, least: u8) -> Parsed<Option<(&'static str, u8)>> {
        self.skip()?;
        let rest = &self.s[self.at..];
        let found = OPERATORS.iter().find(|(op, _)| rest.starts_with(op.as_bytes())).copied();
        // `7 %r1`: the sign begins a name.
        let name =
            rest.first() == Some(&b'%') && rest.get(1).is_some_and(|c| c.is_ascii_alphanumeric() || matches!(c, b'_' | b'$'));
        Ok(found.filter(|&(_, rank)| rank >= least && !name))
    }

    fn binary(&mut self, least: u8) -> Parsed<Value> {
        let mut a = self.unary()?;
        while let Some((op, rank)) = self.operator(least)? {
            self.at += op.len();
            self.deeper()?;
            let b = self.binary(rank + 1)?;
            self.depth -= 1;
            a = match apply(op, a, b) {
                Ok(v) => v,
                Err(why) => return self.error(why),
            };
        }
        Ok(a)
    }

    fn unary(&mut self) -> Parsed<Value> {
        let sign = self.peek()?;
        match sign {
            b'-' | b'+' | b'~' | b'!' => {
                self.at += 1;
                self.deeper()?;
                let v = self.unary()?;
                self.depth -= 1;
                match (sign, v) {
                    (b'-', Value::Int(v, s)) => Ok(Value::Int(v.wrapping_neg(), s)),
                    (b'+', Value::Int(..) | Value::Float(_)) => Ok(v),
                    (b'~', Value::Int(v, _)) => Ok(Value::Int(!v, false)),
                    (b'!', Value::Int(v, _)) => Ok(Value::Int((v == 0) as u64, true)),
                    (b'-', Value::Float(x)) => Ok(Value::Float(-x)),
                    _ => self.error(format!("`{}` does not apply here", sign as char)),
                }
            }
            b'(' => {
                self.at += 1;
                let cast = if self.eat_directive(".s64")? {
                    Some(true)
                } else if self.eat_directive(".u64")? {
                    Some(false)
                } else {
                    None
                };
                let Some(signed) = cast else {
                    let v = self.constant()?;
                    self.expect(b')')?;
                    return Ok(v);
                };
                self.expect(b')')?;
                self.deeper()?;
                let v = self.unary()?;
                self.depth -= 1;
                match v {
                    Value::Int(v, _) => Ok(Value::Int(v, signed)),
                    _ => self.error("only integers are cast"),
                }
            }
            _ if self.eat_word("WARP_SZ")? => Ok(Value::Int(32, true)),
            _ => self.literal(),
        }
    }

    /// A number: integer, `0f` or `0d` bits, or decimal floating point.
    pub fn literal(&mut self) -> Parsed<Value> {
        self.skip()?;
        let start = self.at;
        let rest = &self.s[start..];
        let prefix = match rest {
            [b'0', c, ..] => c.to_ascii_lowercase(),
            _ => 0,
        };
        let take = |p: &mut Self, f: &dyn Fn(u8) -> bool| {
            while p.s.get(p.at).is_some_and(|&c| f(c)) {
                p.at += 1;
            }
        };
        let radix = match prefix {
            b'x' | b'f' | b'd' => 16,
            b'b' => 2,
            _ => 10,
        };
        if radix != 10 {
            self.at += 2;
        }
        let from = self.at;
        take(self, &|c| (c as char).is_digit(radix));
        let mut digits = &self.text[from..self.at];
        let exponent = radix == 10 && matches!(self.s.get(self.at), Some(b'e' | b'E')) && !digits.is_empty();
        let value = if radix == 10 && (exponent || self.s.get(self.at) == Some(&b'.')) {
            if !exponent {
                self.at += 1;
                take(self, &|c| c.is_ascii_digit());
            }
            if matches!(self.s.get(self.at), Some(b'e' | b'E')) {
                self.at += 1;
                self.at += matches!(self.s.get(self.at), Some(b'+' | b'-')) as usize;
                take(self, &|c| c.is_ascii_digit());
            }
            self.text[from..self.at].parse().ok().filter(|x: &f64| x.is_finite()).map(Value::Float)
        } else if prefix == b'f' {
            (digits.len() == 8).then(|| Value::F32(integer(digits, 16).0 as u32))
        } else if prefix == b'd' {
            (digits.len() == 16).then(|| Value::F64(integer(digits, 16).0))
        } else {
            let octal = radix == 10 && digits.len() > 1 && digits.starts_with('0');
            if octal {
                digits = &digits[1..];
            }
            let radix = if octal { 8 } else { radix };
            let unsigned = self.s.get(self.at) == Some(&b'U');
            self.at += unsigned as usize;
            let (v, fits) = integer(digits, radix);
            let valid = !digits.is_empty() && digits.bytes().all(|c| (c as char).is_digit(radix));
            valid.then_some(Value::Int(v, fits && !unsigned))
        };
        let more = self.s.get(self.at).is_some_and(|c| c.is_ascii_alphanumeric() || matches!(c, b'_' | b'$'));
        match value {
            Some(v) if !more => Ok(v),
            _ => {
                take(self, &|c| c.is_ascii_alphanumeric() || matches!(c, b'_' | b'$' | b'.'));
                let text = if self.at == start { self.rest() } else { self.text[start..self.at].to_string() };
                self.error(format!("`{text}` is not a number"))
            }
        }
    }
}

/// The low 64 bits of a number, and whether the number is no larger than a signed one.
fn integer(digits: &str, radix: u32) -> (u64, bool) {
    let digit = |c: char| c.to_digit(radix).unwrap_or(0) as u64;
    digits.chars().map(digit).fold((0u64, true), |(v, fits), d| {
        let next = v.wrapping_mul(radix as u64).wrapping_add(d);
        (next, fits && v as u128 * radix as u128 + d as u128 <= i64::MAX as u128)
    })
}

fn apply(op: &str, a: Value, b: Value) -> Result<Value, String> {
    let truth = |t: bool| Ok(Value::Int(t as u64, true));
    if let (Value::Float(x), Value::Float(y)) = (a, b) {
        return match op {
            "+" => Ok(Value::Float(x + y)),
            "-" => Ok(Value::Float(x - y)),
            "*" => Ok(Value::Float(x * y)),
            "/" => Ok(Value::Float(x / y)),
            "<" => truth(x < y),
            ">" => truth(x > y),
            "<=" => truth(x <= y),
            ">=" => truth(x >= y),
            "==" => truth(x == y),
            "!=" => truth(x != y),
            _ => Err(format!("`{op}` does not apply to floating-point numbers")),
        };
    }
    let (Value::Int(x, s), Value::Int(y, t)) = (a, b) else {
        return Err(format!("`{op}` needs two integers or two decimal numbers"));
    };
    let signed = s && t;
    let (i, k) = (x as i64, y as i64);
    let value = match op {
        "+" => x.wrapping_add(y),
        "-" => x.wrapping_sub(y),
        "*" => x.wrapping_mul(y),
        "/" | "%" if y == 0 => return Err("division by zero".into()),
        "/" if signed => i.wrapping_div(k) as u64,
        "/" => x / y,
        "%" => return Ok(Value::Int(x % y, false)),
        "<<" => return Ok(Value::Int(x << (y & 63), s)),
        ">>" if s => return Ok(Value::Int((i >> (y & 63)) as u64, s)),
        ">>" => return Ok(Value::Int(x >> (y & 63), s)),
        "&" => x & y,
        "|" => x | y,
        "^" => x ^ y,
        "&&" => return truth(x != 0 && y != 0),
        "||" => return truth(x != 0 || y != 0),
        "==" => return truth(x == y),
        "!=" => return truth(x != y),
        "<" => return truth(if signed { i < k } else { x < y }),
        ">" => return truth(if signed { i > k } else { x > y }),
        "<=" => return truth(if signed { i <= k } else { x <= y }),
        _ => return truth(if signed { i >= k } else { x >= y }),
    };
    Ok(Value::Int(value, signed))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Result<Value, String> {
        let mut p = Parser::new(text);
        let v = p.constant().map_err(|e| e.why)?;
        if p.ended().unwrap() { Ok(v) } else { Err(p.rest()) }
    }

    /// Every line was compared with ptxas 13.0, which makes the same machine code of both sides.
    #[test]
    fn expressions() {
        for (text, want) in [
            ("7/2", 3),
            ("-7/2", -3),
            ("-7 % 4", 1),
            ("-8 % 3", 2),
            ("(-2 % -1)>>1", i64::MAX),
            ("-1>>1", -1),
            ("0xFFFFFFFFFFFFFFFF>>1", i64::MAX),
            ("-1U>>1", i64::MAX),
            ("1<<64", 1),
            ("1<<100", 1 << 36),
            ("1<<-1", i64::MIN),
            ("-1>>100", -1),
            ("18446744073709551616", 0),
            ("0x1FFFFFFFFFFFFFFFF", -1),
            ("9223372036854775808>>1", 1 << 62),
            ("-1<0U", 0),
            ("-1<0", 1),
            ("-1/2U", i64::MAX),
            ("(.u64)-1/2", i64::MAX),
            ("(.s64)-1/2", 0),
            ("~0>>1", i64::MAX),
            ("(-1&-1)>>1", -1),
            ("(-1|0)/2", 0),
            ("(-1^0)>>1", -1),
            ("1+2*3", 7),
            ("1<<2+1", 8),
            ("5&3==3", 1),
            ("1|2^3&6", 1),
            ("2-3-4", -5),
            ("16/4/2", 2),
            ("!5", 0),
            ("!!7", 1),
            ("- -5", 5),
            ("0?2:1?4:5", 4),
            ("1?0?1:2:3", 2),
            ("1&&0||1", 1),
            ("3>2>1", 0),
            ("1==1!=0", 1),
            ("(.s64)(1+2)*2", 6),
            ("0777", 511),
            ("0b1011", 11),
            ("0x1fU", 31),
            ("WARP_SZ*2", 64),
            ("(1 ? -1 : 0U)>>1", -1),
            ("(0?1U:-1)>>1", -1),
            ("(0-1U)>>1", i64::MAX),
            ("(1<2U)-2>>1", -1),
            ("0xFFFFFFFFFFFFFFFF/3", 0x5555555555555555),
            ("-9 % 4U", 3),
            ("(-1U & -1)>>1", i64::MAX),
            ("-(1U)>>1", i64::MAX),
            ("(1<<63)>>63", -1),
            ("1.5<2.0", 1),
            ("0", 0),
            ("00", 0),
        ] {
            match of(text) {
                Ok(Value::Int(v, _)) => assert_eq!(v as i64, want, "{text}"),
                other => panic!("{text}: {other:?}"),
            }
        }
        for (text, want) in
            [("1.5*2.0-1.0/4.0", 2.75), ("1.", 1.0), (".5", 0.5), ("1e3", 1000.0), ("-2.5E+2", -250.0), ("0.1", 0.1)]
        {
            assert_eq!(of(text), Ok(Value::Float(want)), "{text}");
        }
        assert_eq!(of("0F3f800000"), Ok(Value::F32(0x3f800000)));
        assert_eq!(of("0d3FF0000000000000"), Ok(Value::F64(0x3ff0000000000000)));
    }

    #[test]
    fn what_is_no_constant() {
        for text in [
            "08",
            "10u",
            "0f3f8",
            "0x",
            "1/0",
            "7 %r1",
            "1.5+2",
            "1?1.5:2.5",
            "!1.5",
            "-0f3f800000",
            "1e400",
            "1_",
            "(1",
            "",
            "1+",
            "0b2",
        ] {
            assert!(of(text).is_err(), "{text}: {:?}", of(text));
        }
        assert!(of(&"(".repeat(100_000)).unwrap_err().contains("nested"));
        assert!(of(&"-".repeat(100_000)).unwrap_err().contains("nested"));
        assert!(of(&"1?".repeat(100_000)).unwrap_err().contains("nested"));
    }
}
