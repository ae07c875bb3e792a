//! Models of the less common instructions: video, pairs of 16 bits, masks, eight-bit floats.

use std::cmp::Ordering;

use crate::model::*;
use crate::real::*;
use Reg::{H, L, P, W};

fn pick<'a>(mods: &[&'a str], of: &[&str]) -> Option<&'a str> {
    mods.iter().find(|m| of.contains(m)).copied()
}

/// The ways to write an opcode; none if it is not of this file.
pub fn model(opcode: &str, name: &str, mods: &[&str]) -> Vec<Case> {
    let ty = mods.last().copied().unwrap_or("");
    match name {
        "testp" => testp(opcode, mods),
        "fns" => fns(opcode),
        "szext" => szext(opcode, mods),
        "lop3" if mods.len() == 2 => lop3(opcode, mods[0]),
        "add" | "min" | "max" if matches!(ty, "u16x2" | "s16x2") => pairs(opcode, name, mods),
        "min" | "max" if mods.contains(&"relu") && ty == "s32" => {
            let least = name == "min";
            plain(opcode, vec![(W, Ty::Int(32)); 2], W, move |x| {
                let (a, b) = (value(x[0], 32, true), value(x[1], 32, true));
                cut(if least { a.min(b) } else { a.max(b) }.max(0), 32)
            })
        }
        "min" | "max" if mods.contains(&"xorsign") => xorsign(opcode, name, mods),
        "rcp" | "rsqrt" if ty == "f64" && mods.contains(&"approx") => approximate(opcode, name, mods.contains(&"ftz")),
        "setp" if ty.ends_with("x2") => setp(opcode, mods),
        "set" if ty.ends_with("x2") => set(opcode, mods),
        "set" if pick(mods, &["and", "or", "xor"]).is_some() => set_logic(opcode, mods),
        "cvt" => convert(opcode, mods),
        "vadd2" | "vsub2" | "vavrg2" | "vabsdiff2" | "vmin2" | "vmax2" | "vset2" => lanes(opcode, name, mods, 16),
        "vadd4" | "vsub4" | "vavrg4" | "vabsdiff4" | "vmin4" | "vmax4" | "vset4" => lanes(opcode, name, mods, 8),
        "vadd" | "vsub" | "vabsdiff" | "vmin" | "vmax" | "vshl" | "vshr" | "vset" => video(opcode, name, mods),
        "vmad" => vmad(opcode, mods),
        _ => Vec::new(),
    }
}

fn testp(opcode: &str, mods: &[&str]) -> Vec<Case> {
    let (what, f) = (mods[0].to_string(), format(mods[1]).expect("a float"));
    plain(opcode, vec![(register(f), Ty::Float(f))], P, move |x| {
        let size = x[0] & f.nan();
        let (infinite, nan) = (size == f.infinity(), size > f.infinity());
        // Zeros are normal.
        let subnormal = f.is_subnormal(size) && size != 0;
        Want::Bits(match what.as_str() {
            "finite" => !infinite && !nan,
            "infinite" => infinite,
            "number" => !nan,
            "notanumber" => nan,
            "normal" => !infinite && !nan && !subnormal,
            _ => subnormal,
        } as u64)
    })
}

fn fns(opcode: &str) -> Vec<Case> {
    let mut cases = plain(opcode, vec![(W, Ty::Int(32)), (W, Ty::Int(5)), (W, Ty::Int(32))], W, |x| {
        let (mask, base, offset) = (x[0], x[1] as i128, value(x[2], 32, true));
        let is_set = |i: &i128| mask >> i & 1 == 1;
        let found = match offset.cmp(&0) {
            Ordering::Equal => Some(base).filter(is_set),
            Ordering::Greater => (base..32).filter(is_set).nth(offset as usize - 1),
            Ordering::Less => (0..=base).rev().filter(is_set).nth(-offset as usize - 1),
        };
        Want::Bits(found.map_or(0xffff_ffff, |i| i as u64))
    });
    // Offsets of a few bits.
    let small = cases.pop().expect("a case");
    vec![Case { sources: vec![(W, Ty::Int(32)), (W, Ty::Int(5)), (W, Ty::Count)], ..small }]
}

fn szext(opcode: &str, mods: &[&str]) -> Vec<Case> {
    let (clamp, signed) = (mods[0] == "clamp", mods[1] == "s32");
    plain(opcode, vec![(W, Ty::Int(32)), (W, Ty::Count)], W, move |x| {
        let n = x[1] & 31;
        let whole = clamp && x[1] >= 32;
        let sign = signed && !whole && n > 0 && x[0] >> (n - 1) & 1 == 1;
        Want::Bits((0..32).map(|i| if whole || i < n { x[0] >> i & 1 } else { sign as u64 } << i).sum())
    })
}

/// With a predicate: whether the result is not zero, and or or another predicate.
fn lop3(opcode: &str, join: &str) -> Vec<Case> {
    let join = logic(join);
    let mut cases = Vec::new();
    for table in [0u64, 0x80, 0x96, 0xca, 0xe8, 0xfe, 0xff, 0x1b] {
        let f = move |x: &[u64]| {
            let bit = |i: u32| table >> ((x[0] >> i & 1) << 2 | (x[1] >> i & 1) << 1 | x[2] >> i & 1) & 1;
            (0..32).map(|i| bit(i) << i).sum::<u64>()
        };
        let sources = || vec![(W, Ty::Int(32)), (W, Ty::Int(32)), (W, Ty::Int(32)), (P, Ty::Int(1))];
        let text = |d: &str| format!("{opcode} {d}, $a, $b, $c, {table}, $e");
        cases.push(case(text("$d|%p29"), sources(), W, move |x| Want::Bits(f(x))));
        cases.push(case(text("%w29|$d"), sources(), P, move |x| Want::Bits(join((f(x) != 0) as u64, x[3]))));
        cases.push(case(text("_|$d"), sources(), P, move |x| Want::Bits(join((f(x) != 0) as u64, x[3]))));
    }
    cases
}

fn pairs(opcode: &str, name: &str, mods: &[&str]) -> Vec<Case> {
    let (signed, relu, name) = (mods[mods.len() - 1] == "s16x2", mods.contains(&"relu"), name.to_string());
    let one = move |a: u64, b: u64| {
        let (a, b) = (value(a, 16, signed), value(b, 16, signed));
        let d = match name.as_str() {
            "add" => a + b,
            "min" => a.min(b),
            _ => a.max(b),
        };
        (if relu { d.max(0) } else { d }) as u64 & 0xffff
    };
    plain(opcode, vec![(W, Ty::Int(32)); 2], W, move |x| Want::Bits(one(x[0], x[1]) | one(x[0] >> 16, x[1] >> 16) << 16))
}

/// Extremes of magnitudes, with the product of the signs.
fn xorsign(opcode: &str, name: &str, mods: &[&str]) -> Vec<Case> {
    let ty = mods[mods.len() - 1];
    let f = format(ty).expect("a float");
    let (ftz, nan, least) = (mods.contains(&"ftz"), mods.contains(&"NaN"), name == "min");
    let one = move |a: u64, b: u64| {
        let sign = (a ^ b) & f.sign();
        let [x, y] = [a, b].map(|x| flush(f, ftz, x) & f.nan());
        let d = match (f.is_nan(x), f.is_nan(y)) {
            (true, true) => f.nan(),
            (true, _) | (_, true) if nan => f.nan(),
            (true, _) => y,
            (_, true) => x,
            // Magnitudes are in the order of their bits.
            _ => {
                if least {
                    x.min(y)
                } else {
                    x.max(y)
                }
            }
        };
        if f.is_nan(d) { d } else { d | sign }
    };
    if ty.ends_with("x2") {
        let both = move |x: &[u64]| one(x[0] & 0xffff, x[1] & 0xffff) | one(x[0] >> 16, x[1] >> 16) << 16;
        return plain(opcode, vec![(W, Ty::Pair(f)); 2], W, move |x| Want::Bits(both(x)));
    }
    plain(opcode, vec![(register(f), Ty::Float(f)); 2], register(f), move |x| Want::Bits(one(x[0], x[1])))
}

/// Coarse values in f64: the ISA gives no bound; 20 bits of fraction are what its implementation has.
fn approximate(opcode: &str, name: &str, ftz: bool) -> Vec<Case> {
    let rcp = name == "rcp";
    plain(opcode, vec![(L, Ty::Float(F64))], L, move |x| {
        let small = |x: u64| if ftz && F64.is_subnormal(x) { x & F64.sign() } else { x };
        // (The low half of the argument is not looked at.)
        let a = f64::from_bits(small(if ftz { x[0] & !0xffff_ffff } else { x[0] }));
        let y = if rcp { 1.0 / a } else { 1.0 / a.sqrt() };
        if F64.is_nan(x[0]) || y.is_nan() {
            return Want::Nan(F64);
        }
        if y == 0.0 || y.is_infinite() || y.abs() < f64::MIN_POSITIVE {
            return Want::Bits(small(y.to_bits()));
        }
        let bound = y.abs() * 2f64.powi(-20);
        Want::Between(y - bound, y + bound, F64)
    })
}

fn setp(opcode: &str, mods: &[&str]) -> Vec<Case> {
    let ty = mods[mods.len() - 1].trim_end_matches("x2");
    let f = format(ty).expect("a float");
    let c = comparison(mods[0], ty, mods.contains(&"ftz")).expect("a comparison");
    let join = pick(mods, &["and", "or", "xor"]).map(logic);
    let mut cases = Vec::new();
    for up in [0, 16] {
        let says = c.says.clone();
        let d = if up == 0 { "$d|%p29" } else { "%p29|$d" };
        let mut sources = vec![(W, Ty::Pair(f)); 2];
        let mut text = format!("{opcode} {d}, $a, $b");
        if join.is_some() {
            sources.push((P, Ty::Int(1)));
            text += ", $c";
        }
        cases.push(case(text, sources, P, move |x| {
            let t = says(x[0] >> up & 0xffff, x[1] >> up & 0xffff) as u64;
            Want::Bits(join.map_or(t, |j| j(t, *x.last().expect("a source"))))
        }));
    }
    cases
}

fn set(opcode: &str, mods: &[&str]) -> Vec<Case> {
    let (to, ty) = (mods[mods.len() - 2], mods[mods.len() - 1].trim_end_matches("x2"));
    let f = format(ty).expect("a float");
    let c = comparison(mods[0], ty, mods.contains(&"ftz")).expect("a comparison");
    let yes = format(to).map_or(0xffff, |f| f.one());
    let one = move |a: u64, b: u64| if (c.says)(a & 0xffff, b & 0xffff) { yes } else { 0 };
    plain(opcode, vec![(W, Ty::Pair(f)); 2], W, move |x| Want::Bits(one(x[0], x[1]) | one(x[0] >> 16, x[1] >> 16) << 16))
}

fn set_logic(opcode: &str, mods: &[&str]) -> Vec<Case> {
    let (to, ty) = (mods[mods.len() - 2], mods[mods.len() - 1]);
    let Some(c) = comparison(mods[0], ty, mods.contains(&"ftz")) else { return Vec::new() };
    let join = logic(pick(mods, &["and", "or", "xor"]).expect("one of them"));
    let (yes, result) = match (format(to), int(to)) {
        (Some(f), _) => (f.one(), register(f)),
        (_, Some((bits, _))) => (mask(bits), reg(bits)),
        _ => return Vec::new(),
    };
    let sources = vec![c.source, c.source, (P, Ty::Int(1))];
    plain(opcode, sources, result, move |x| Want::Bits(if join((c.says)(x[0], x[1]) as u64, x[2]) == 1 { yes } else { 0 }))
}

/// Infinities, and what rounds to them, become the largest number.
fn finite(f: Format, x: u64) -> u64 {
    if x & f.nan() == f.infinity() { x - 1 } else { x }
}

/// Numbers of eight bits.
#[derive(Clone, Copy, PartialEq)]
enum Eight {
    /// Four bits of exponent with bias 7; no infinity, one NaN.
    E4m3,
    /// As IEEE 754 has it.
    E5m2,
}

impl Eight {
    fn of(ty: &str) -> Option<Eight> {
        match ty {
            "e4m3x2" => Some(Eight::E4m3),
            "e5m2x2" => Some(Eight::E5m2),
            _ => None,
        }
    }

    fn largest(self) -> u64 {
        if self == Eight::E4m3 { 0x7e } else { 0x7b }
    }

    fn decode(self, x: u64) -> Value {
        let (fraction, bias) = if self == Eight::E4m3 { (3, 7) } else { (2, 15) };
        let (size, negative) = (x & 0x7f, x & 0x80 != 0);
        if size > self.largest() {
            return if self == Eight::E5m2 && size == 0x7c { Value::Infinite(negative) } else { Value::Nan };
        }
        let (e, m) = ((size >> fraction) as i64, size & ((1 << fraction) - 1));
        let m = if e > 0 { m | 1 << fraction } else { m };
        Value::Finite(Real { negative, m: Big::new(m as u128), e: e.max(1) - bias - fraction })
    }

    /// The nearest number, by trying all; of two the even one.
    fn encode(self, x: &Value) -> u64 {
        let Value::Finite(r) = x else {
            return match x {
                Value::Nan => 0x7f,
                v => self.largest() | (is_negative(v) as u64) << 7,
            };
        };
        let magnitude = Value::Finite(Real { negative: false, ..r.clone() });
        let distance = |c: u64| {
            let d = add(&magnitude, &negate(&self.decode(c)), Mode::Even);
            if is_negative(&d) { negate(&d) } else { d }
        };
        let nearer = |a: u64, b: u64| match compare(&distance(a), &distance(b)) {
            Some(Ordering::Less) => a,
            Some(Ordering::Greater) => b,
            _ => {
                if a & 1 == 0 {
                    a
                } else {
                    b
                }
            }
        };
        (1..=self.largest()).fold(0, nearer) | (r.negative as u64) << 7
    }
}

fn convert(opcode: &str, mods: &[&str]) -> Vec<Case> {
    let has = |m: &str| mods.contains(&m);
    let (to, from) = (mods[mods.len() - 2], mods[mods.len() - 1]);
    let (relu, satfinite, mode) = (has("relu"), has("satfinite"), mode(mods));
    if has("pack") {
        return pack(opcode, mods);
    }
    if let Some(e) = Eight::of(to) {
        let f = if from == "f32" { F32 } else { F16 };
        let one = move |x: u64| {
            let v = f.decode(x);
            let y = e.encode(&v);
            if relu && is_negative(&v) { 0 } else { y }
        };
        return match from {
            "f32" => plain(opcode, vec![(W, Ty::Float(F32)); 2], H, move |x| Want::Bits(one(x[0]) << 8 | one(x[1]))),
            _ => plain(opcode, vec![(W, Ty::Pair(F16))], H, move |x| Want::Bits(one(x[0] >> 16) << 8 | one(x[0] & 0xffff))),
        };
    }
    if let Some(e) = Eight::of(from) {
        let one = move |x: u64| {
            let y = F16.round(&e.decode(x & 0xff), Mode::Even);
            if relu { rectify(F16, y) } else { y }
        };
        return plain(opcode, vec![(H, Ty::Int(16))], W, move |x| Want::Bits(one(x[0]) | one(x[0] >> 8) << 16));
    }
    // To f16, bf16 or tf32, with limits that the usual conversions do not have.
    let (Some(t), Some(s)) = (format(to), format(from)) else { return Vec::new() };
    if !satfinite && !(t == TF32 && (relu || has("rz"))) {
        return Vec::new();
    }
    let one = move |x: u64| {
        let y = t.round(&s.decode(x), mode);
        let y = if satfinite { finite(t, y) } else { y };
        if relu { rectify(t, y) } else { y }
    };
    if to.ends_with("x2") {
        return plain(opcode, vec![(W, Ty::Float(F32)); 2], W, move |x| Want::Bits(one(x[0]) << 16 | one(x[1])));
    }
    let result = if t == TF32 { W } else { H };
    plain(opcode, vec![(register(s), Ty::Float(s))], result, move |x| match one(x[0]) {
        y if t == TF32 && t.is_nan(y) => Want::Bits(F32.nan()),
        y if t == TF32 => Want::Bits(y << 13),
        y => Want::Bits(y),
    })
}

/// Two integers at the limits of a narrow type, the first above the second; a third register above both.
fn pack(opcode: &str, mods: &[&str]) -> Vec<Case> {
    let ((bits, signed), (_, from)) = (int(mods[2]).expect("an integer"), int(mods[3]).expect("an integer"));
    let one = move |x: u64| value(x, 32, from).clamp(least(bits, signed), most(bits, signed)) as u64 & mask(bits);
    let n = if bits == 16 { 2 } else { 3 };
    plain(opcode, vec![(W, Ty::Int(32)); n], W, move |x| {
        let above = x.get(2).map_or(0, |c| c << (2 * bits));
        Want::Bits((above | one(x[0]) << bits | one(x[1])) & 0xffff_ffff)
    })
}

/// What a video instruction computes of two numbers.
fn operation(name: &str, mods: &[&str]) -> impl Fn(i128, i128) -> i128 + Clone + 'static {
    let name = name.trim_end_matches(['2', '4']).to_string();
    let relation = pick(mods, &["eq", "ne", "lt", "le", "gt", "ge"]).unwrap_or("eq").to_string();
    let wrap = mods.contains(&"wrap");
    move |a, b| {
        let n = if wrap { b & 31 } else { b.min(32) };
        match name.as_str() {
            "vadd" => a + b,
            "vsub" => a - b,
            "vabsdiff" => (a - b).abs(),
            "vmin" => a.min(b),
            "vmax" => a.max(b),
            // The half is rounded away from zero.
            "vavrg" => {
                if a + b >= 0 {
                    (a + b + 1) / 2
                } else {
                    (a + b - 1) / 2
                }
            }
            "vshl" => a << n,
            "vshr" => a >> n,
            _ => holds(&relation, Some(a.cmp(&b))) as i128,
        }
    }
}

/// Whether the result and both sources are signed. A comparison has no type of its own.
fn signs(mods: &[&str]) -> [bool; 3] {
    let list: Vec<bool> = mods.iter().filter(|m| matches!(**m, "u32" | "s32")).map(|m| *m == "s32").collect();
    match list[..] {
        [a, b] => [false, a, b],
        _ => [list[0], list[1], list[2]],
    }
}

/// A part of a register: first bit and how many.
type Part = (u32, u32);

const WHOLE: Part = (0, 32);
const PARTS: [(&str, Part); 7] =
    [("", WHOLE), (".b0", (0, 8)), (".b1", (8, 8)), (".b2", (16, 8)), (".b3", (24, 8)), (".h0", (0, 16)), (".h1", (16, 16))];

fn part(x: u64, (from, bits): Part, signed: bool) -> i128 {
    value(x >> from, bits, signed)
}

fn video(opcode: &str, name: &str, mods: &[&str]) -> Vec<Case> {
    let (op, [sd, sa, sb], sat) = (operation(name, mods), signs(mods), mods.contains(&"sat"));
    let second = pick(mods, &["add", "min", "max"]).map(str::to_string);
    let mut cases = Vec::new();
    for k in 0..7 {
        let ((na, pa), (nb, pb)) = (PARTS[k], PARTS[(k * 3) % 7]);
        let (op, second) = (op.clone(), second.clone());
        let whole = move |x: &[u64]| op(part(x[0], pa, sa), part(x[1], pb, sb));
        let limit = move |t: i128, bits: u32| if sat { t.clamp(least(bits, sd), most(bits, sd)) } else { t };
        let sources = |n| vec![(W, Ty::Int(32)); n];
        let new = match second {
            None => {
                let f = whole.clone();
                // Into a part of a third operand.
                let (nd, (from, bits)) = PARTS[k.max(1)];
                let merged = case(format!("{opcode} $d{nd}, $a{na}, $b{nb}, $c"), sources(3), W, move |x| {
                    let field = mask(bits) << from;
                    Want::Bits(x[2] & !field | (limit(f(x), bits) as u64) << from & field)
                });
                cases.push(Case { immediate: false, ..merged });
                case(format!("{opcode} $d, $a{na}, $b{nb}"), sources(2), W, move |x| cut(limit(whole(x), 32), 32))
            }
            Some(second) => case(format!("{opcode} $d, $a{na}, $b{nb}, $c"), sources(3), W, move |x| {
                let (t, c) = (value(limit(whole(x), 32) as u64, 32, sd), value(x[2], 32, sd));
                cut(
                    match second.as_str() {
                        "add" => t + c,
                        "min" => t.min(c),
                        _ => t.max(c),
                    },
                    32,
                )
            }),
        };
        cases.push(Case { immediate: false, ..new });
    }
    cases
}

fn vmad(opcode: &str, mods: &[&str]) -> Vec<Case> {
    let ([_, sa, sb], sat, more) = (signs(mods), mods.contains(&"sat"), mods.contains(&"po") as i128);
    let signed = sa || sb;
    let shift = match pick(mods, &["shr7", "shr15"]) {
        Some("shr7") => 7,
        Some(_) => 15,
        None => 0,
    };
    let one = |k: usize| {
        let ((na, pa), (nb, pb)) = (PARTS[k], PARTS[(k * 3) % 7]);
        let c = case(format!("{opcode} $d, $a{na}, $b{nb}, $c"), vec![(W, Ty::Int(32)); 3], W, move |x| {
            let t = (part(x[0], pa, sa) * part(x[1], pb, sb) + value(x[2], 32, signed) + more) >> shift;
            cut(if sat { t.clamp(least(32, signed), most(32, signed)) } else { t }, 32)
        });
        Case { immediate: false, ..c }
    };
    (0..7).map(one).collect()
}

fn lanes(opcode: &str, name: &str, mods: &[&str], bits: u32) -> Vec<Case> {
    let (op, [sd, sa, sb], sat, sum) = (operation(name, mods), signs(mods), mods.contains(&"sat"), mods.contains(&"add"));
    // Lanes written; lanes of the pair (a, b) taken, highest lane first; none for all of them in order.
    let ways: &[(&str, &str, &str)] = match bits {
        16 => &[("", "", ""), (".h0", ".h10", ".h32"), (".h1", ".h03", ".h21"), (".h10", ".h11", ".h20")],
        _ => &[("", "", ""), (".b0", ".b3210", ".b7654"), (".b31", ".b0123", ".b4567"), (".b210", ".b7777", ".b0426")],
    };
    let digits = |s: &str| s.chars().rev().filter_map(|c| c.to_digit(10)).collect::<Vec<u32>>();
    let count = 32 / bits;
    let mut cases = Vec::new();
    for (d, a, b) in ways {
        let written = if d.is_empty() { (0..count).collect() } else { digits(d) };
        let from = |s: &str, first: u32| if s.is_empty() { (first..first + count).collect() } else { digits(s) };
        let (from_a, from_b) = (from(a, 0), from(b, count));
        let op = op.clone();
        let c = case(format!("{opcode} $d{d}, $a{a}, $b{b}, $c"), vec![(W, Ty::Int(32)); 3], W, move |x| {
            let both = (x[1] as u128) << 32 | x[0] as u128;
            let lane = |n: u32, signed: bool| value((both >> (n * bits)) as u64, bits, signed);
            let mut out = x[2] as i128;
            for &i in &written {
                let t = op(lane(from_a[i as usize], sa), lane(from_b[i as usize], sb));
                let t = if sat { t.clamp(least(bits, sd), most(bits, sd)) } else { t };
                let field = (mask(bits) << (i * bits)) as i128;
                out = if sum { out + t } else { out & !field | t << (i * bits) & field };
            }
            cut(out, 32)
        });
        cases.push(Case { immediate: false, ..c });
    }
    cases
}
