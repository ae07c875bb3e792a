//! What every scalar instruction gives, from the text of the PTX ISA: on whole numbers of 128 bits, and on numbers held exactly.

use std::cmp::Ordering;

use crate::real::*;

/// A kind of register: predicate, 16, 32 or 64 bits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Reg {
    P,
    H,
    W,
    L,
}
use Reg::{H, L, P, W};

/// What a source holds: this says which values are tried.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ty {
    /// A whole number of so many bits.
    Int(u32),
    Float(Format),
    /// Two of them in 32 bits.
    Pair(Format),
    /// A shift, a position, a length.
    Count,
}

/// A result.
#[derive(Clone, Copy, Debug)]
pub enum Want {
    Bits(u64),
    /// Any NaN of the format.
    Nan(Format),
    /// The low and the high half.
    Halves(Half, Half),
    /// A number of the format not below the first nor above the second.
    Between(f64, f64, Format),
}

#[derive(Clone, Copy, Debug)]
pub enum Half {
    Bits(u64),
    Nan(Format),
    Between(f64, f64, Format),
}

/// What an instruction gives for its sources.
pub type Function = Box<dyn Fn(&[u64]) -> Want>;

/// One way to write an instruction: `$d` is the result, `$a` `$b` `$c` `$e` are the sources.
pub struct Case {
    pub text: String,
    pub sources: Vec<(Reg, Ty)>,
    pub result: Reg,
    /// Whether the last source may be a number in the text.
    pub immediate: bool,
    pub f: Function,
}

pub fn case(text: String, sources: Vec<(Reg, Ty)>, result: Reg, f: impl Fn(&[u64]) -> Want + 'static) -> Case {
    // Only whole numbers and f32 and f64 can be written; the pairs' and the predicates' cannot.
    let immediate = match sources.last() {
        Some((P, _)) | None => false,
        Some((_, Ty::Float(f))) => f.bits > 16,
        Some((_, Ty::Pair(_))) => false,
        _ => true,
    };
    Case { text, sources, result, immediate, f: Box::new(f) }
}

/// An opcode with its operands in their usual order.
pub fn plain(opcode: &str, sources: Vec<(Reg, Ty)>, result: Reg, f: impl Fn(&[u64]) -> Want + 'static) -> Vec<Case> {
    let names = ["$a", "$b", "$c", "$e"];
    vec![case(format!("{opcode} $d, {}", names[..sources.len()].join(", ")), sources, result, f)]
}

/// Bits and sign of an integer type; `.b32` has no sign.
pub fn int(t: &str) -> Option<(u32, bool)> {
    let (kind, bits) = t.split_at_checked(1)?;
    matches!(kind, "u" | "s" | "b").then(|| bits.parse().ok())?.map(|b| (b, kind == "s"))
}

pub fn format(t: &str) -> Option<Format> {
    Some(match t {
        "f16" | "f16x2" => F16,
        "bf16" | "bf16x2" => BF16,
        "tf32" => TF32,
        "f32" => F32,
        "f64" => F64,
        _ => return None,
    })
}

/// The registers of a type with so many bits.
pub fn reg(bits: u32) -> Reg {
    match bits {
        0..=16 => H,
        17..=32 => W,
        _ => L,
    }
}

fn width(r: Reg) -> u32 {
    match r {
        P => 1,
        H => 16,
        W => 32,
        L => 64,
    }
}

pub fn register(f: Format) -> Reg {
    reg(f.bits as u32)
}

pub fn mask(bits: u32) -> u64 {
    u64::MAX >> (64 - bits)
}

/// The number that `bits` bits stand for.
pub fn value(x: u64, bits: u32, signed: bool) -> i128 {
    let x = (x & mask(bits)) as i128;
    if signed && x >> (bits - 1) == 1 { x - (1 << bits) } else { x }
}

pub fn cut(x: i128, bits: u32) -> Want {
    Want::Bits(x as u64 & mask(bits))
}

pub fn least(bits: u32, signed: bool) -> i128 {
    if signed { -(1 << (bits - 1)) } else { 0 }
}

pub fn most(bits: u32, signed: bool) -> i128 {
    if signed { (1 << (bits - 1)) - 1 } else { (1 << bits) - 1 }
}

/// A product in 128 bits of two's complement.
fn product(a: u64, b: u64, bits: u32, signed: bool) -> u128 {
    match signed {
        true => (value(a, bits, true) * value(b, bits, true)) as u128,
        false => (a & mask(bits)) as u128 * (b & mask(bits)) as u128,
    }
}

/// The ways to write an opcode; none if it is no scalar instruction, or one without a model.
pub fn model(opcode: &str) -> Vec<Case> {
    let mut parts = opcode.split('.');
    let name = parts.next().unwrap_or("");
    let mods: Vec<&str> = parts.collect();
    let ty = mods.last().copied().unwrap_or("");
    let rare = crate::rare::model(opcode, name, &mods);
    if !rare.is_empty() {
        return rare;
    }
    match name {
        "cvt" => return convert(opcode, &mods),
        "setp" => return setp(opcode, &mods),
        "set" => return set(opcode, &mods),
        "slct" => return slct(opcode, &mods),
        "selp" => return selp(opcode, ty),
        "mov" => return mov(opcode, ty),
        "prmt" => return prmt(opcode, &mods),
        _ => {}
    }
    if ty == "pred" {
        return predicates(opcode, name);
    }
    if let Some(f) = format(ty) {
        return float(opcode, name, &mods, f, ty.ends_with("x2"));
    }
    if mods.contains(&"cc") || name.ends_with('c') && matches!(name, "addc" | "subc" | "madc") {
        return carry(opcode, name, &mods);
    }
    match int(ty) {
        Some((bits @ ..=64, signed)) => integer(opcode, name, &mods, bits, signed),
        _ => Vec::new(),
    }
}

fn integer(opcode: &str, name: &str, mods: &[&str], bits: u32, signed: bool) -> Vec<Case> {
    let (r, t) = (reg(bits), Ty::Int(bits));
    let two = vec![(r, t); 2];
    let three = vec![(r, t); 3];
    let v = move |x: u64| value(x, bits, signed);
    let has = |m: &str| mods.contains(&m);
    let sat = has("sat");
    let (low, high) = (least(bits, signed), most(bits, signed));
    let fit = move |x: i128| cut(if sat { x.clamp(low, high) } else { x }, bits);
    let wide = 2 * bits;
    match name {
        "add" => plain(opcode, two, r, move |x| fit(v(x[0]) + v(x[1]))),
        "sub" => plain(opcode, two, r, move |x| fit(v(x[0]) - v(x[1]))),
        "mul" if has("lo") => plain(opcode, two, r, move |x| cut(product(x[0], x[1], bits, signed) as i128, bits)),
        "mul" if has("hi") => plain(opcode, two, r, move |x| cut((product(x[0], x[1], bits, signed) >> bits) as i128, bits)),
        "mul" if has("wide") => plain(opcode, two, reg(wide), move |x| cut(v(x[0]) * v(x[1]), wide)),
        "mad" if has("lo") => {
            plain(opcode, three, r, move |x| cut(product(x[0], x[1], bits, signed).wrapping_add(v(x[2]) as u128) as i128, bits))
        }
        "mad" if has("hi") => plain(opcode, three, r, move |x| {
            let high = (product(x[0], x[1], bits, signed) >> bits) as u64;
            fit(v(high) + v(x[2]))
        }),
        "mad" if has("wide") => {
            let sources = vec![(r, t), (r, t), (reg(wide), Ty::Int(wide))];
            plain(opcode, sources, reg(wide), move |x| cut(v(x[0]) * v(x[1]) + value(x[2], wide, signed), wide))
        }
        "mul24" | "mad24" => {
            let shift = if has("hi") { 16 } else { 0 };
            let p = move |x: &[u64]| (value(x[0], 24, signed) * value(x[1], 24, signed)) >> shift;
            match name {
                "mul24" => plain(opcode, two, r, move |x| cut(p(x), 32)),
                _ => plain(opcode, three, r, move |x| fit(value(p(x) as u64, 32, signed) + v(x[2]))),
            }
        }
        "sad" => plain(opcode, three, r, move |x| cut(v(x[2]) + (v(x[0]) - v(x[1])).abs(), bits)),
        // Division by zero: the documentation of the emulator says what, the ISA does not.
        "div" => plain(opcode, two, r, move |x| cut(if v(x[1]) == 0 { -1 } else { v(x[0]) / v(x[1]) }, bits)),
        "rem" => plain(opcode, two, r, move |x| cut(if v(x[1]) == 0 { v(x[0]) } else { v(x[0]) % v(x[1]) }, bits)),
        "abs" => plain(opcode, vec![(r, t)], r, move |x| cut(v(x[0]).abs(), bits)),
        "neg" => plain(opcode, vec![(r, t)], r, move |x| cut(-v(x[0]), bits)),
        "min" => plain(opcode, two, r, move |x| cut(v(x[0]).min(v(x[1])), bits)),
        "max" => plain(opcode, two, r, move |x| cut(v(x[0]).max(v(x[1])), bits)),
        "dp4a" | "dp2a" => {
            let (a, b) = (mods[mods.len() - 2].starts_with('s'), signed);
            let (count, width) = if name == "dp4a" { (4, 8) } else { (2, 16) };
            let from = if has("hi") { 2 } else { 0 };
            plain(opcode, three, r, move |x| {
                let part = |i: u32| value(x[0] >> (width * i), width, a) * value(x[1] >> (8 * (i + from)), 8, b);
                cut((0..count).map(part).sum::<i128>() + x[2] as i128, 32)
            })
        }
        "and" => plain(opcode, two, r, move |x| Want::Bits(x[0] & x[1])),
        "or" => plain(opcode, two, r, move |x| Want::Bits(x[0] | x[1])),
        "xor" => plain(opcode, two, r, move |x| Want::Bits(x[0] ^ x[1])),
        "not" => plain(opcode, vec![(r, t)], r, move |x| Want::Bits(x[0] ^ mask(bits))),
        "cnot" => plain(opcode, vec![(r, t)], r, move |x| Want::Bits((x[0] == 0) as u64)),
        "shl" => plain(opcode, vec![(r, t), (W, Ty::Count)], r, move |x| {
            Want::Bits((0..bits as u64).filter(|i| *i >= x[1] && x[0] >> (i - x[1]) & 1 == 1).map(|i| 1 << i).sum())
        }),
        "shr" => plain(opcode, vec![(r, t), (W, Ty::Count)], r, move |x| cut(v(x[0]) >> x[1].min(100), bits)),
        "shf" => {
            let n = |c: u64, wrap: bool| if wrap { c % 32 } else { c.min(32) };
            let (left, wrap) = (has("l"), has("wrap"));
            plain(opcode, vec![(W, t), (W, t), (W, Ty::Count)], W, move |x| {
                let both = ((x[1] as u128) << 32 | x[0] as u128) << if left { n(x[2], wrap) } else { 0 };
                cut((both >> if left { 32 } else { n(x[2], wrap) }) as i128, 32)
            })
        }
        "clz" => {
            plain(opcode, vec![(r, t)], W, move |x| Want::Bits((0..bits).rev().take_while(|i| x[0] >> i & 1 == 0).count() as u64))
        }
        "popc" => plain(opcode, vec![(r, t)], W, move |x| Want::Bits((0..bits).map(|i| x[0] >> i & 1).sum())),
        "brev" => plain(opcode, vec![(r, t)], r, move |x| Want::Bits((0..bits).map(|i| (x[0] >> i & 1) << (bits - 1 - i)).sum())),
        "bfind" => {
            let amount = has("shiftamt");
            plain(opcode, vec![(r, t)], W, move |x| {
                let a = if v(x[0]) < 0 { x[0] ^ mask(bits) } else { x[0] };
                let top = (0..bits).rev().find(|i| a >> i & 1 == 1);
                Want::Bits(top.map_or(0xffff_ffff, |i| if amount { bits - 1 - i } else { i }) as u64)
            })
        }
        "bfe" => plain(opcode, vec![(r, t), (W, Ty::Count), (W, Ty::Count)], r, move |x| {
            let (msb, pos, len) = (bits as u64 - 1, x[1] & 0xff, x[2] & 0xff);
            let sign = if !signed || len == 0 { 0 } else { x[0] >> (pos + len - 1).min(msb) & 1 };
            Want::Bits((0..=msb).map(|i| if i < len && pos + i <= msb { x[0] >> (pos + i) & 1 } else { sign } << i).sum())
        }),
        "bfi" => plain(opcode, vec![(r, t), (r, t), (W, Ty::Count), (W, Ty::Count)], r, move |x| {
            let (msb, pos, len) = (bits as u64 - 1, x[2] & 0xff, x[3] & 0xff);
            let inside = |i: u64| i >= pos && i - pos < len;
            Want::Bits((0..=msb).map(|i| if inside(i) { x[0] >> (i - pos) & 1 } else { x[1] >> i & 1 } << i).sum())
        }),
        "bmsk" => {
            let wrap = has("wrap");
            plain(opcode, vec![(W, Ty::Count); 2], W, move |x| {
                let (at, n) = if wrap { (x[0] & 31, x[1] & 31) } else { (x[0], x[1]) };
                Want::Bits((0..32).filter(|&i| i >= at && i - at < n).map(|i| 1 << i).sum())
            })
        }
        "lop3" => {
            let one = |table: u64| {
                case(format!("{opcode} $d, $a, $b, $c, {table}"), three.clone(), r, move |x| {
                    let bit = |i: u32| table >> ((x[0] >> i & 1) << 2 | (x[1] >> i & 1) << 1 | x[2] >> i & 1) & 1;
                    Want::Bits((0..bits).map(|i| bit(i) << i).sum())
                })
            };
            (0..256).map(one).map(|c| Case { immediate: false, ..c }).collect()
        }
        _ => Vec::new(),
    }
}

/// A sum with the flag: as a value, and as the carry it leaves. The flag comes in from a sum that carries if `$e` is not zero. A
/// difference is a + !b + the flag, so that a borrow is the absence of a carry.
fn carry(opcode: &str, name: &str, mods: &[&str]) -> Vec<Case> {
    let (bits, signed) = int(mods[mods.len() - 1]).expect("an integer type");
    let (r, t) = (reg(bits), Ty::Int(bits));
    let reads = name.ends_with('c');
    let writes = mods.contains(&"cc");
    let (subtract, multiply, low) = (name.starts_with("sub"), name.starts_with("mad"), mods[0] == "lo");
    let n = if multiply { 3 } else { 2 };
    let sum = move |x: &[u64]| {
        let carry = if reads { (x[n] != 0) as u128 } else { subtract as u128 };
        let b = if subtract { !x[1] & mask(bits) } else { x[1] } as u128;
        let p = product(x[0], x[1], bits, signed);
        let part = (if low { p } else { p >> bits }) as u64 & mask(bits);
        let sum = if multiply { part as u128 + x[2] as u128 } else { x[0] as u128 + b } + carry;
        let flag = if writes { sum >> bits } else { (x[n] != 0) as u128 };
        (sum as u64 & mask(bits), flag as u64)
    };
    let operands = if multiply { "$a, $b, $c" } else { "$a, $b" };
    let last = if multiply { "$e" } else { "$c" };
    let mut sources = vec![(r, t); n];
    sources.push((W, Ty::Int(32)));
    let before = format!("add.cc.u32 %w29, {last}, -1");
    let scratch = if r == L { "%l29" } else { "%w28" };
    let value = format!("{before};\n{opcode} $d, {operands}");
    let flag = format!("{before};\n{opcode} {scratch}, {operands};\naddc.u32 $d, 0, 0");
    vec![case(value, sources.clone(), r, move |x| Want::Bits(sum(x).0)), case(flag, sources, W, move |x| Want::Bits(sum(x).1))]
}

fn prmt(opcode: &str, mods: &[&str]) -> Vec<Case> {
    let mode = mods.get(1).copied().unwrap_or("").to_string();
    let sources = vec![(W, Ty::Int(32)); 3];
    plain(opcode, sources, W, move |x| {
        let bytes: Vec<u64> = (0..8).map(|i| if i < 4 { x[0] >> (8 * i) } else { x[1] >> (8 * (i - 4)) } & 0xff).collect();
        // The table of the ISA: bytes of the result, most significant first.
        let row: [u64; 4] = match (mode.as_str(), x[2] & 3) {
            ("f4e", 0) => [3, 2, 1, 0],
            ("f4e", 1) => [4, 3, 2, 1],
            ("f4e", 2) => [5, 4, 3, 2],
            ("f4e", _) => [6, 5, 4, 3],
            ("b4e", 0) => [5, 6, 7, 0],
            ("b4e", 1) => [6, 7, 0, 1],
            ("b4e", 2) => [7, 0, 1, 2],
            ("b4e", _) => [0, 1, 2, 3],
            ("rc8", n) => [n; 4],
            ("ecl", 0) => [3, 2, 1, 0],
            ("ecl", 1) => [3, 2, 1, 1],
            ("ecl", 2) => [3, 2, 2, 2],
            ("ecl", _) => [3, 3, 3, 3],
            ("ecr", 0) => [0, 0, 0, 0],
            ("ecr", 1) => [1, 1, 1, 0],
            ("ecr", 2) => [2, 2, 1, 0],
            ("ecr", _) => [3, 2, 1, 0],
            ("rc16", 0 | 2) => [1, 0, 1, 0],
            ("rc16", _) => [3, 2, 3, 2],
            _ => [x[2] >> 12 & 15, x[2] >> 8 & 15, x[2] >> 4 & 15, x[2] & 15],
        };
        let byte = |s: u64| match s & 8 {
            0 => bytes[s as usize & 7],
            _ => {
                if bytes[s as usize & 7] & 0x80 != 0 {
                    0xff
                } else {
                    0
                }
            }
        };
        Want::Bits(row.iter().fold(0, |d, &s| d << 8 | byte(s)))
    })
}

fn predicates(opcode: &str, name: &str) -> Vec<Case> {
    let p = (P, Ty::Int(1));
    match name {
        "not" => plain(opcode, vec![p], P, |x| Want::Bits(1 - x[0])),
        "mov" => plain(opcode, vec![p], P, |x| Want::Bits(x[0])),
        "and" | "or" | "xor" => {
            let op = logic(name);
            let text = format!("{opcode} $d, !$a, $b");
            let mut cases = plain(opcode, vec![p; 2], P, move |x| Want::Bits(op(x[0], x[1])));
            cases.push(case(text, vec![p; 2], P, move |x| Want::Bits(op(1 - x[0], x[1]))));
            cases
        }
        _ => Vec::new(),
    }
}

pub fn logic(name: &str) -> fn(u64, u64) -> u64 {
    match name {
        "and" => |a, b| a & b,
        "or" => |a, b| a | b,
        _ => |a, b| a ^ b,
    }
}

/// Whether a relation holds; None: an operand is NaN.
pub fn holds(relation: &str, o: Option<Ordering>) -> bool {
    use Ordering::{Equal, Greater, Less};
    let Some(o) = o else { return relation.len() == 3 && relation.ends_with('u') || relation == "nan" };
    match relation {
        "eq" | "equ" => o == Equal,
        "ne" | "neu" => o != Equal,
        "lt" | "ltu" | "lo" => o == Less,
        "le" | "leu" | "ls" => o != Greater,
        "gt" | "gtu" | "hi" => o == Greater,
        "ge" | "geu" | "hs" => o != Less,
        "num" => true,
        "nan" => false,
        r => panic!("relation {r}"),
    }
}

/// A comparison: registers and type of its operands, and what it says of their bits.
#[derive(Clone)]
pub struct Comparison {
    pub source: (Reg, Ty),
    pub says: std::rc::Rc<dyn Fn(u64, u64) -> bool>,
}

pub fn comparison(relation: &str, ty: &str, ftz: bool) -> Option<Comparison> {
    let relation = relation.to_string();
    if let Some(f) = format(ty) {
        let order = move |a: u64, b: u64| compare(&f.decode(flush(f, ftz, a)), &f.decode(flush(f, ftz, b)));
        return Some(Comparison {
            source: (register(f), Ty::Float(f)),
            says: std::rc::Rc::new(move |a, b| holds(&relation, order(a, b))),
        });
    }
    let (bits, signed) = int(ty)?;
    let signed = signed && !matches!(relation.as_str(), "lo" | "ls" | "hi" | "hs");
    let order = move |a: u64, b: u64| value(a, bits, signed).cmp(&value(b, bits, signed));
    Some(Comparison {
        source: (reg(bits), Ty::Int(bits)),
        says: std::rc::Rc::new(move |a, b| holds(&relation, Some(order(a, b)))),
    })
}

fn setp(opcode: &str, mods: &[&str]) -> Vec<Case> {
    let ty = mods[mods.len() - 1];
    if ty.ends_with("x2") {
        return Vec::new();
    }
    let Some(c) = comparison(mods[0], ty, mods.contains(&"ftz")) else { return Vec::new() };
    let join = mods.iter().find(|m| matches!(**m, "and" | "or" | "xor"));
    let (two, says) = (vec![c.source; 2], c.says);
    let Some(join) = join.map(|j| logic(j)) else {
        let (f, g) = (says.clone(), says.clone());
        return vec![
            case(format!("{opcode} $d, $a, $b"), two.clone(), P, move |x| Want::Bits(says(x[0], x[1]) as u64)),
            case(format!("{opcode} $d|%p29, $a, $b"), two.clone(), P, move |x| Want::Bits(f(x[0], x[1]) as u64)),
            case(format!("{opcode} %p29|$d, $a, $b"), two, P, move |x| Want::Bits(!g(x[0], x[1]) as u64)),
        ];
    };
    let mut three = two;
    three.push((P, Ty::Int(1)));
    let (f, g) = (says.clone(), says.clone());
    vec![
        case(format!("{opcode} $d, $a, $b, $c"), three.clone(), P, move |x| Want::Bits(join(says(x[0], x[1]) as u64, x[2]))),
        case(format!("{opcode} $d, $a, $b, !$c"), three.clone(), P, move |x| Want::Bits(join(f(x[0], x[1]) as u64, 1 - x[2]))),
        case(format!("{opcode} %p29|$d, $a, $b, $c"), three, P, move |x| Want::Bits(join(!g(x[0], x[1]) as u64, x[2]))),
    ]
}

fn set(opcode: &str, mods: &[&str]) -> Vec<Case> {
    let (to, ty) = (mods[mods.len() - 2], mods[mods.len() - 1]);
    if ty.ends_with("x2") || mods.iter().any(|m| matches!(*m, "and" | "or" | "xor")) {
        return Vec::new();
    }
    let Some(c) = comparison(mods[0], ty, mods.contains(&"ftz")) else { return Vec::new() };
    let (yes, result) = match (format(to), int(to)) {
        (Some(f), _) => (f.one(), register(f)),
        (_, Some((bits, _))) => (mask(bits), reg(bits)),
        _ => return Vec::new(),
    };
    plain(opcode, vec![c.source; 2], result, move |x| Want::Bits(if (c.says)(x[0], x[1]) { yes } else { 0 }))
}

/// Registers and kind of values of any type that a move may have.
fn anything(ty: &str) -> Option<(Reg, Ty)> {
    match (format(ty), int(ty)) {
        (Some(f), _) => Some((register(f), Ty::Float(f))),
        (_, Some((bits, _))) => Some((reg(bits), Ty::Int(bits))),
        _ => None,
    }
}

fn slct(opcode: &str, mods: &[&str]) -> Vec<Case> {
    let (ty, by) = (mods[mods.len() - 2], mods[mods.len() - 1]);
    let Some(s) = anything(ty) else { return Vec::new() };
    let Some(c) = comparison("ge", by, mods.contains(&"ftz")) else { return Vec::new() };
    plain(opcode, vec![s, s, c.source], s.0, move |x| Want::Bits(if (c.says)(x[2], 0) { x[0] } else { x[1] }))
}

fn selp(opcode: &str, ty: &str) -> Vec<Case> {
    let Some(s) = anything(ty) else { return Vec::new() };
    let mut cases = plain(opcode, vec![s, s, (P, Ty::Int(1))], s.0, |x| Want::Bits(if x[2] == 1 { x[0] } else { x[1] }));
    let text = format!("{opcode} $d, $a, $b, !$c");
    cases.push(case(text, vec![s, s, (P, Ty::Int(1))], s.0, |x| Want::Bits(if x[2] == 1 { x[1] } else { x[0] })));
    cases
}

fn mov(opcode: &str, ty: &str) -> Vec<Case> {
    if ty == "pred" {
        return predicates(opcode, "mov");
    }
    let Some(s) = anything(ty) else { return Vec::new() };
    let mut cases = plain(opcode, vec![s], s.0, |x| Want::Bits(x[0]));
    let whole = |text: &str, from: Vec<Reg>, to: Reg, f: fn(&[u64]) -> u64| {
        let sources = from.into_iter().map(|r| (r, Ty::Int(width(r)))).collect();
        Case { immediate: false, ..case(format!("{opcode} {text}"), sources, to, move |x| Want::Bits(f(x))) }
    };
    if ty == "b32" {
        cases.push(whole("$d, {$a, $b}", vec![H, H], W, |x| x[0] | x[1] << 16));
        cases.push(whole("{$d, %h29}, $a", vec![W], H, |x| x[0] & 0xffff));
        cases.push(whole("{%h29, $d}, $a", vec![W], H, |x| x[0] >> 16));
        cases.push(whole("{_, $d}, $a", vec![W], H, |x| x[0] >> 16));
    }
    if ty == "b64" {
        cases.push(whole("$d, {$a, $b}", vec![W, W], L, |x| x[0] | x[1] << 32));
        cases.push(whole("$d, {$a, $b, $c, $e}", vec![H; 4], L, |x| x[0] | x[1] << 16 | x[2] << 32 | x[3] << 48));
        cases.push(whole("{$d, %w29}, $a", vec![L], W, |x| x[0] & 0xffff_ffff));
        cases.push(whole("{%w29, $d}, $a", vec![L], W, |x| x[0] >> 32));
        cases.push(whole("{%h29, $d, %h28, %h27}, $a", vec![L], H, |x| x[0] >> 16 & 0xffff));
        cases.push(whole("{_, _, _, $d}, $a", vec![L], H, |x| x[0] >> 48));
    }
    cases
}

/// `.ftz`: a subnormal becomes a zero of its sign. It is there for f32, and in arithmetic for f16.
pub fn flush(f: Format, ftz: bool, x: u64) -> u64 {
    if ftz && (f == F32 || f == F16) && f.is_subnormal(x) { x & f.sign() } else { x }
}

pub fn mode(mods: &[&str]) -> Mode {
    let of = |m: &&str| match *m {
        "rn" | "rni" => Some(Mode::Even),
        "rna" => Some(Mode::Away),
        "rz" | "rzi" => Some(Mode::Zero),
        "rm" | "rmi" => Some(Mode::Down),
        "rp" | "rpi" => Some(Mode::Up),
        _ => None,
    };
    mods.iter().find_map(of).unwrap_or(Mode::Even)
}

/// `.sat`: to [0, 1]; NaN and −0 become +0.
fn saturate(f: Format, x: u64) -> u64 {
    match f.decode(x) {
        Value::Nan => 0,
        v if is_negative(&v) => 0,
        v if compare(&v, &f.decode(f.one())) == Some(Ordering::Greater) => f.one(),
        _ => x,
    }
}

/// `.relu`: what is negative becomes +0.
pub fn rectify(f: Format, x: u64) -> u64 {
    if f.is_nan(x) || x & f.sign() == 0 { x } else { 0 }
}

/// Arithmetic of one format.
fn arithmetic(name: &str, mods: &[&str], f: Format) -> Option<impl Fn(&[u64]) -> Want + Clone + 'static> {
    let has = |m: &str| mods.contains(&m);
    let (ftz, sat, relu, nan, mode) = (has("ftz"), has("sat"), has("relu"), has("NaN"), mode(mods));
    let name = name.to_string();
    if !matches!(
        name.as_str(),
        "add" | "sub" | "mul" | "fma" | "mad" | "div" | "rcp" | "sqrt" | "min" | "max" | "neg" | "abs" | "copysign"
    ) {
        return None;
    }
    Some(move |x: &[u64]| {
        let x: Vec<u64> = x.iter().map(|&x| flush(f, ftz, x)).collect();
        let v: Vec<Value> = x.iter().map(|&x| f.decode(x)).collect();
        let least = name == "min";
        let y = match name.as_str() {
            "add" => f.round(&add(&v[0], &v[1], mode), mode),
            "sub" => f.round(&add(&v[0], &negate(&v[1]), mode), mode),
            "mul" => f.round(&mul(&v[0], &v[1]), mode),
            "fma" | "mad" => f.round(&add(&mul(&v[0], &v[1]), &v[2], mode), mode),
            "div" => f.round(&div(&v[0], &v[1]), mode),
            "rcp" => f.round(&div(&f.decode(f.one()), &v[0]), mode),
            "sqrt" => f.round(&sqrt(&v[0]), mode),
            "neg" | "abs" if f.is_nan(x[0]) => return Want::Nan(f),
            "neg" => return Want::Bits(x[0] ^ f.sign()),
            "abs" => return Want::Bits(x[0] & !f.sign()),
            "copysign" if f.is_nan(x[1]) => return Want::Nan(f),
            "copysign" => return Want::Bits(x[1] & !f.sign() | x[0] & f.sign()),
            _ => match (compare(&v[0], &v[1]), f.is_nan(x[0]), f.is_nan(x[1])) {
                (None, true, false) if !nan => x[1],
                (None, false, true) if !nan => x[0],
                (None, ..) => f.nan(),
                (Some(Ordering::Less), ..) => x[!least as usize],
                (Some(Ordering::Greater), ..) => x[least as usize],
                // Of two zeros −0 is the smaller.
                _ => {
                    if (x[0] & f.sign() != 0) == least {
                        x[0]
                    } else {
                        x[1]
                    }
                }
            },
        };
        let y = flush(f, ftz, y);
        let y = if relu { rectify(f, y) } else { y };
        Want::Bits(if sat { saturate(f, y) } else { y })
    })
}

fn float(opcode: &str, name: &str, mods: &[&str], f: Format, pair: bool) -> Vec<Case> {
    let n = match name {
        "fma" | "mad" => 3,
        "rcp" | "sqrt" | "neg" | "abs" | "ex2" | "tanh" | "rsqrt" | "sin" | "cos" | "lg2" => 1,
        _ => 2,
    };
    let approximate = mods.contains(&"approx") || mods.contains(&"full");
    if pair {
        let sources = vec![(W, Ty::Pair(f)); n];
        let half = |w: Want| match w {
            Want::Bits(x) => Half::Bits(x),
            Want::Nan(f) => Half::Nan(f),
            Want::Between(a, b, f) => Half::Between(a, b, f),
            Want::Halves(..) => unreachable!("one half"),
        };
        let split = |x: &[u64], up: u32| x.iter().map(|x| x >> up & 0xffff).collect::<Vec<_>>();
        if approximate {
            let Some(g) = crate::approximate::function(name, mods, f) else { return Vec::new() };
            return plain(opcode, sources, W, move |x| Want::Halves(half(g(&split(x, 0))), half(g(&split(x, 16)))));
        }
        let Some(g) = arithmetic(name, mods, f) else { return Vec::new() };
        return plain(opcode, sources, W, move |x| Want::Halves(half(g(&split(x, 0))), half(g(&split(x, 16)))));
    }
    let sources = vec![(register(f), Ty::Float(f)); n];
    if approximate {
        let Some(g) = crate::approximate::function(name, mods, f) else { return Vec::new() };
        return plain(opcode, sources, register(f), g);
    }
    let Some(g) = arithmetic(name, mods, f) else { return Vec::new() };
    plain(opcode, sources, register(f), g)
}

/// What a conversion reads.
#[derive(Clone, Copy)]
enum From {
    Int(u32, bool),
    Float(Format),
}

fn convert(opcode: &str, mods: &[&str]) -> Vec<Case> {
    let (to, from) = (mods[mods.len() - 2], mods[mods.len() - 1]);
    let has = |m: &str| mods.contains(&m);
    let (ftz, sat, relu) = (has("ftz"), has("sat"), has("relu"));
    let (mode, integer_mode) = (mode(mods), mods.iter().any(|m| m.len() == 3 && m.starts_with('r') && m.ends_with('i')));
    let source = match (format(from), int(from)) {
        (Some(f), _) => From::Float(f),
        (_, Some((bits, signed))) => From::Int(bits, signed),
        _ => return Vec::new(),
    };
    if to.ends_with("x2") {
        let f = format(to).expect("two of a format");
        let one = move |x: u64| {
            let y = f.round(&F32.decode(x), mode);
            if relu { rectify(f, y) } else { y }
        };
        let sources = vec![(W, Ty::Float(F32)); 2];
        return plain(opcode, sources, W, move |x| Want::Bits(one(x[0]) << 16 | one(x[1])));
    }
    // The result in the bits of its type, and whether its register is filled by the sign.
    let (bits, sign): (u32, bool);
    let f: std::rc::Rc<dyn Fn(u64) -> u64>;
    match (format(to), source) {
        (Some(t), From::Float(s)) => {
            if integer_mode && t != s {
                return Vec::new();
            }
            (bits, sign) = (if t == TF32 { 32 } else { t.bits as u32 }, false);
            f = std::rc::Rc::new(move |x| {
                let single = |f: Format, x: u64| if f == F32 { flush(f, ftz, x) } else { x };
                let v = s.decode(single(s, x & mask(s.bits as u32)));
                let v = if integer_mode { integral(&v, mode) } else { v };
                let y = single(t, t.round(&v, mode));
                let y = if relu { rectify(t, y) } else { y };
                let y = if sat { saturate(t, y) } else { y };
                // A tf32 number is an f32 whose last bits are zeros; its NaN is that of f32.
                match t {
                    TF32 if t.is_nan(y) => F32.nan(),
                    TF32 => y << 13,
                    _ => y,
                }
            });
        }
        (Some(t), From::Int(n, signed)) => {
            (bits, sign) = (t.bits as u32, false);
            f = std::rc::Rc::new(move |x| {
                let y = t.int(value(x, n, signed), mode);
                if sat { saturate(t, y) } else { y }
            });
        }
        (None, source) => {
            let Some((n, signed)) = int(to) else { return Vec::new() };
            (bits, sign) = (n, signed);
            let (low, high) = (least(n, signed), most(n, signed));
            f = match source {
                From::Int(m, s) => std::rc::Rc::new(move |x| {
                    let v = value(x, m, s);
                    (if sat { v.clamp(low, high) } else { v }) as u64 & mask(n)
                }),
                From::Float(s) => std::rc::Rc::new(move |x| {
                    let x = x & mask(s.bits as u32);
                    let y = match s.decode(if s == F32 { flush(s, ftz, x) } else { x }) {
                        // Zero, or for sources of 64 bits and results of 64 bits the highest bit alone.
                        Value::Nan => {
                            if s == F64 || n == 64 {
                                1 << (n - 1)
                            } else {
                                0
                            }
                        }
                        Value::Infinite(negative) => {
                            if negative {
                                low
                            } else {
                                high
                            }
                        }
                        Value::Finite(r) => to_integer(&r, mode).clamp(low, high),
                    };
                    y as u64 & mask(n)
                }),
            };
        }
    }
    let same = matches!(source, From::Float(s) if format(to) == Some(s));
    let narrowest = match source {
        From::Int(n, _) => reg(n),
        From::Float(s) => register(s),
    };
    let kind = |r: Reg| match source {
        From::Float(s) if r == register(s) => Ty::Float(s),
        From::Float(s) => Ty::Int(64 + s.bits as u32),
        From::Int(..) => Ty::Int(width(r)),
    };
    let mut cases = Vec::new();
    for result in [H, W, L].into_iter().filter(|&r| r >= reg(bits)) {
        for from in [H, W, L].into_iter().filter(|&r| r >= narrowest) {
            if result != reg(bits) && from != narrowest {
                continue;
            }
            if to == "tf32" && (result, from) != (W, W) {
                continue;
            }
            let f = f.clone();
            cases.extend(plain(opcode, vec![(from, kind(from))], result, move |x| match source {
                // Nothing says which NaN stays of a NaN that is not converted.
                From::Float(s) if same && !integer_mode && s.is_nan(x[0]) && !sat => Want::Nan(s),
                _ => cut(value(f(x[0]), bits, sign), width(result)),
            }));
        }
    }
    // (A number in the text has the type's width, not a wider register's.)
    cases.iter_mut().for_each(|c| c.immediate &= c.sources[0].0 == narrowest && narrowest > H);
    cases
}
