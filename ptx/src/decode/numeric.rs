//! Which function of [`crate::num`] an instruction's modifiers choose, lifted to 32 lanes.

use std::array::from_fn;

use crate::num::approx::{self, Approx, Function};
use crate::num::half::{self, Half};
use crate::num::{Round, convert, float as fp};
use crate::op::{Code, Num};

pub(super) fn ww(f: impl Fn(u32) -> u32 + Send + Sync + 'static) -> Num {
    Num::W1(Box::new(move |a, _| from_fn(|i| f(a[i]))))
}
pub(super) fn www(f: impl Fn(u32, u32) -> u32 + Send + Sync + 'static) -> Num {
    Num::W2(Box::new(move |a, b, _| from_fn(|i| f(a[i], b[i]))))
}
pub(super) fn wwww(f: impl Fn(u32, u32, u32) -> u32 + Send + Sync + 'static) -> Num {
    Num::W3(Box::new(move |a, b, c| from_fn(|i| f(a[i], b[i], c[i]))))
}
pub(super) fn wl(f: impl Fn(u64) -> u32 + Send + Sync + 'static) -> Num {
    Num::WfromL(Box::new(move |a| from_fn(|i| f(a[i]))))
}
pub(super) fn lw(f: impl Fn(u32) -> u64 + Send + Sync + 'static) -> Num {
    Num::LfromW(Box::new(move |a| from_fn(|i| f(a[i]))))
}
pub(super) fn ll(f: impl Fn(u64) -> u64 + Send + Sync + 'static) -> Num {
    Num::L1(Box::new(move |a| from_fn(|i| f(a[i]))))
}
pub(super) fn lll(f: impl Fn(u64, u64) -> u64 + Send + Sync + 'static) -> Num {
    Num::L2(Box::new(move |a, b| from_fn(|i| f(a[i], b[i]))))
}
pub(super) fn llll(f: impl Fn(u64, u64, u64) -> u64 + Send + Sync + 'static) -> Num {
    Num::L3(Box::new(move |a, b, c| from_fn(|i| f(a[i], b[i], c[i]))))
}

pub(super) fn rounding(mods: &[&str]) -> Round {
    mods.iter()
        .find_map(|m| match *m {
            "rz" | "rzi" => Some(Round::Zero),
            "rm" | "rmi" => Some(Round::Down),
            "rp" | "rpi" => Some(Round::Up),
            _ => None,
        })
        .unwrap_or(Round::Nearest)
}

/// f32 and f64 arithmetic with rounding modifiers, `.ftz`, `.sat` or `.approx`.
pub(super) fn float(name: &str, mods: &[&str]) -> Option<Num> {
    let (ftz, sat, mode) = (mods.contains(&"ftz"), mods.contains(&"sat"), rounding(mods));
    if mods.last() == Some(&"f64") {
        return Some(match name {
            "add" => lll(move |a, b| fp::add64(a, b, mode)),
            "sub" => lll(move |a, b| fp::sub64(a, b, mode)),
            "mul" => lll(move |a, b| fp::mul64(a, b, mode)),
            "div" => lll(move |a, b| fp::div64(a, b, mode)),
            "fma" | "mad" => llll(move |a, b, c| fp::fma64(a, b, c, mode)),
            "rcp" => ll(move |a| fp::rcp64(a, mode)),
            "sqrt" => ll(move |a| fp::sqrt64(a, mode)),
            _ => return None,
        });
    }
    let fin = move |x: u32| {
        let x = if ftz { fp::ftz(x) } else { x };
        if sat { fp::sat(x) } else { x }
    };
    let arg = move |x: u32| if ftz { fp::ftz(x) } else { x };
    let nan = mods.contains(&"NaN");
    let approximate = |f: Function| Num::W1(Box::new(move |a, how: Approx| from_fn(|i| approx::f32(f, a[i], ftz, how))));
    let approx = mods.contains(&"approx");
    Some(match name {
        "add" => www(move |a, b| fin(fp::add(arg(a), arg(b), mode))),
        "sub" => www(move |a, b| fin(fp::sub(arg(a), arg(b), mode))),
        "mul" => www(move |a, b| fin(fp::mul(arg(a), arg(b), mode))),
        "fma" | "mad" => wwww(move |a, b, c| fin(fp::fma(arg(a), arg(b), arg(c), mode))),
        "div" if approx => Num::W2(Box::new(move |a, b, how| from_fn(|i| approx::div(a[i], b[i], ftz, how)))),
        "div" if mods.contains(&"full") => {
            Num::W2(Box::new(move |a, b, how| from_fn(|i| approx::div_full(a[i], b[i], ftz, how))))
        }
        "div" => www(move |a, b| fin(fp::div(arg(a), arg(b), mode))),
        "rcp" if approx => approximate(Function::Rcp),
        "rcp" => ww(move |a| fin(fp::rcp(arg(a), mode))),
        "sqrt" if approx => approximate(Function::Sqrt),
        "sqrt" => ww(move |a| fin(fp::sqrt(arg(a), mode))),
        "rsqrt" => approximate(Function::Rsqrt),
        "sin" => approximate(Function::Sin),
        "cos" => approximate(Function::Cos),
        "ex2" => approximate(Function::Ex2),
        "lg2" => approximate(Function::Lg2),
        "tanh" => approximate(Function::Tanh),
        "neg" => ww(move |a| arg(a) ^ 0x8000_0000),
        "min" => www(move |a, b| fp::min(arg(a), arg(b), nan)),
        "max" => www(move |a, b| fp::max(arg(a), arg(b), nan)),
        _ => return None,
    })
}

/// f16 and bf16, alone or in pairs.
pub(super) fn half(name: &str, mods: &[&str]) -> Option<Num> {
    let ty = *mods.last()?;
    let (kind, pair) = (if ty.starts_with("bf16") { Half::Bf16 } else { Half::F16 }, ty.ends_with("x2"));
    let has = |m: &str| mods.contains(&m);
    let (ftz, sat, relu, nan) = (has("ftz"), has("sat"), has("relu"), has("NaN"));
    let arg = move |x: u32| if ftz && kind == Half::F16 { half::ftz(x) } else { x };
    let fin = move |x: u32| {
        let x = arg(x);
        let x = if relu { half::relu(x) } else { x };
        if sat { half::sat(x, kind) } else { x }
    };
    let one = move |f: fn(u32, Half) -> u32| match pair {
        true => ww(move |a| half::x2(a, |a| f(arg(a), kind))),
        false => ww(move |a| f(arg(a & 0xffff), kind)),
    };
    let two = move |f: fn(u32, u32, Half) -> u32| match pair {
        true => www(move |a, b| half::x2_2(a, b, |a, b| fin(f(arg(a), arg(b), kind)))),
        false => www(move |a, b| fin(f(arg(a & 0xffff), arg(b & 0xffff), kind))),
    };
    let approximate = move |g: Function| -> Num {
        Num::W1(Box::new(move |a, how: Approx| {
            let each = |x: u32| approx::half(g, x, kind, how);
            from_fn(|i| if pair { half::x2(a[i], each) } else { each(a[i] & 0xffff) })
        }))
    };
    Some(match name {
        "add" => two(half::add),
        "sub" => two(half::sub),
        "mul" => two(half::mul),
        "min" if nan => two(|a, b, k| half::min(a, b, true, k)),
        "min" => two(|a, b, k| half::min(a, b, false, k)),
        "max" if nan => two(|a, b, k| half::max(a, b, true, k)),
        "max" => two(|a, b, k| half::max(a, b, false, k)),
        "neg" => one(|a, _| a ^ 0x8000),
        "abs" => one(|a, _| a & 0x7fff),
        "fma" if pair => wwww(move |a, b, c| half::x2_3(a, b, c, |a, b, c| fin(half::fma(arg(a), arg(b), arg(c), kind)))),
        "fma" => wwww(move |a, b, c| fin(half::fma(arg(a & 0xffff), arg(b & 0xffff), arg(c & 0xffff), kind))),
        "ex2" => approximate(Function::Ex2),
        "tanh" => approximate(Function::Tanh),
        _ => return None,
    })
}

/// `cvt.rn.f16x2.f32` and its kin.
pub(super) fn cvt_pair(mods: &[&str]) -> Num {
    let kind = if mods.contains(&"bf16x2") { Half::Bf16 } else { Half::F16 };
    let (relu, mode) = (mods.contains(&"relu"), rounding(mods));
    let one = move |x: u32| {
        let x = half::narrow(x, kind, mode);
        if relu { half::relu(x) } else { x }
    };
    www(move |a, b| one(a) << 16 | one(b))
}

/// Bits of the register that takes an integer result. Registers of 16 bits lie zero-extended in 32.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Width {
    B16,
    B32,
    B64,
}

impl Width {
    /// What of a result, extended to 64 bits by the sign of its type, is put into the register.
    fn keep(self, x: u64) -> u64 {
        match self {
            Width::B16 => x & 0xffff,
            Width::B32 => x & 0xffff_ffff,
            Width::B64 => x,
        }
    }
}

/// A conversion to an integer, lifted to 32 lanes, from a source in a register of 64 bits or not.
fn to_int(wide: bool, width: Width, f: impl Fn(u64) -> u64 + Send + Sync + 'static) -> Num {
    match (wide, width == Width::B64) {
        (false, false) => ww(move |a| width.keep(f(a as u64)) as u32),
        (false, true) => lw(move |a| f(a as u64)),
        (true, false) => wl(move |a| width.keep(f(a)) as u32),
        (true, true) => ll(f),
    }
}

/// `cvt.sat` between integers.
pub(super) fn cvt_sat(to: &str, from: &str, width: Width) -> Num {
    let bits = |t: &str| t[1..].parse::<u32>().expect("an integer type");
    let signed = |t: &str| t.starts_with('s');
    let (to_bits, to_signed, from_bits, from_signed) = (bits(to), signed(to), bits(from), signed(from));
    to_int(from_bits == 64, width, move |x| {
        let up = 64 - from_bits;
        let x = if from_signed { (((x << up) as i64) >> up) as u64 } else { x << up >> up };
        convert::int_to_int_sat(x, from_signed, to_bits, to_signed)
    })
}

pub(super) enum Cvt {
    Code(Code),
    Num(Num),
}

/// The modifiers of a `cvt`.
#[derive(Clone, Copy)]
struct Modifiers {
    ftz: bool,
    sat: bool,
    relu: bool,
    /// To a whole number in the same type (`.rni` and its kin).
    integral: bool,
    /// Whether any rounding is named.
    rounds: bool,
    mode: Round,
}

impl Modifiers {
    fn of(mods: &[&str]) -> Modifiers {
        let has = |m: &str| mods.contains(&m);
        Modifiers {
            ftz: has("ftz"),
            sat: has("sat"),
            relu: has("relu"),
            integral: mods.iter().any(|m| matches!(*m, "rni" | "rzi" | "rmi" | "rpi")),
            rounds: mods.iter().any(|m| m.starts_with('r')),
            mode: rounding(mods),
        }
    }

    /// An f32 operand.
    fn arg(self, x: u32) -> u32 {
        if self.ftz { fp::ftz(x) } else { x }
    }

    /// An f32 result.
    fn fin(self, x: u32) -> u32 {
        if self.sat { fp::sat(x) } else { x }
    }
}

fn half_of(ty: &str) -> Half {
    if ty == "f16" { Half::F16 } else { Half::Bf16 }
}

/// A conversion to a float; integers have 32 or 64 bits as sources. `None`: no such form.
pub(super) fn cvt(mods: &[&str], to: &str, from: &str) -> Option<Cvt> {
    let m = Modifiers::of(mods);
    let float = |t: &str| matches!(t, "f32" | "f64" | "f16" | "bf16" | "tf32");
    if float(from) { float_to_float(m, to, from) } else { int_to_float(m, to, from) }
}

fn int_to_float(m: Modifiers, to: &str, from: &str) -> Option<Cvt> {
    use Cvt::{Code as C, Num as N};
    let mode = m.mode;
    let plain = mode == Round::Nearest && !m.sat && !m.ftz;
    Some(match (to, from) {
        ("f32", "s32") if plain => C(Code::CvtFS),
        ("f32", "u32") if plain => C(Code::CvtFU),
        ("f64", "s32") => C(Code::CvtDS),
        ("f64", "u32") => C(Code::CvtDU),
        ("f32", "s32") => N(ww(move |a| m.fin(convert::s32_to_f32(a as i32, mode)))),
        ("f32", "u32") => N(ww(move |a| m.fin(convert::u32_to_f32(a, mode)))),
        ("f32", "s64") => N(wl(move |a| m.fin(convert::s64_to_f32(a as i64, mode)))),
        ("f32", "u64") => N(wl(move |a| m.fin(convert::u64_to_f32(a, mode)))),
        ("f64", "s64") => N(ll(move |a| convert::s64_to_f64(a as i64, mode))),
        ("f64", "u64") => N(ll(move |a| convert::u64_to_f64(a, mode))),
        ("f16" | "bf16", _) => {
            let k = half_of(to);
            N(match from {
                "s32" => ww(move |a| convert::s32_to_half(a as i32, k, mode)),
                "u32" => ww(move |a| convert::u32_to_half(a, k, mode)),
                "s64" => wl(move |a| convert::s64_to_half(a as i64, k, mode)),
                "u64" => wl(move |a| convert::u64_to_half(a, k, mode)),
                _ => return None,
            })
        }
        _ => return None,
    })
}

fn float_to_float(m: Modifiers, to: &str, from: &str) -> Option<Cvt> {
    use Cvt::{Code as C, Num as N};
    let mode = m.mode;
    if m.integral && to != from {
        return None;
    }
    Some(match (to, from) {
        ("tf32", "f32") => N(ww(half::tf32_rn)),
        ("f32", "f32") if !m.rounds && !m.ftz && !m.sat => C(Code::Mov32),
        ("f32", "f32") => N(ww(move |a| {
            let a = m.arg(a);
            m.fin(if m.integral { convert::f32_integral(a, mode) } else { convert::f32_flags(a, m.ftz, false) })
        })),
        ("f64", "f64") if !m.integral && !m.sat => C(Code::Mov64),
        ("f64", "f64") => N(ll(move |a| {
            let x = if m.integral { convert::f64_integral(a, mode) } else { a };
            if m.sat { fp::sat64(x) } else { x }
        })),
        ("f64", "f32") => N(lw(move |a| {
            let x = convert::f32_to_f64(m.arg(a));
            if m.sat { fp::sat64(x) } else { x }
        })),
        ("f32", "f64") => N(wl(move |a| m.fin(m.arg(convert::f64_to_f32(a, mode))))),
        ("f32", "f16" | "bf16") => {
            let k = half_of(from);
            N(ww(move |a| m.fin(m.arg(fp::f32_bits(f32::from_bits(half::widen(a & 0xffff, k)))))))
        }
        ("f16" | "bf16", "f32") => {
            let k = half_of(to);
            N(ww(move |a| {
                let x = half::narrow(m.arg(a), k, mode);
                let x = if m.relu { half::relu(x) } else { x };
                if m.sat { half::sat(x, k) } else { x }
            }))
        }
        ("f64", "f16") => N(lw(move |a| convert::f32_to_f64(half::widen(a & 0xffff, Half::F16)))),
        ("f16", "f64") => N(wl(move |a| half::narrow64(a, Half::F16, mode))),
        ("f16", "f16") => N(ww(move |a| {
            let wide = half::widen(a & 0xffff, Half::F16);
            let x = if m.integral { convert::f32_integral(wide, mode) } else { wide };
            let x = half::narrow(x, Half::F16, Round::Nearest);
            if m.sat { half::sat(x, Half::F16) } else { x }
        })),
        _ => return None,
    })
}

/// A conversion of a float to an integer. Out of range saturates, so that `.sat` changes nothing. `None`: no such form.
pub(super) fn float_to_int(mods: &[&str], to: &str, from: &str, width: Width) -> Option<Num> {
    let m = Modifiers::of(mods);
    let (mode, signed) = (m.mode, to.starts_with('s'));
    let bits: u32 = to[1..].parse().ok()?;
    Some(match from {
        "f32" => to_int(false, width, move |a| convert::f32_to_int(m.arg(a as u32), bits, signed, mode)),
        "f64" => to_int(true, width, move |a| convert::f64_to_int(a, bits, signed, mode)),
        "f16" | "bf16" => {
            let k = half_of(from);
            to_int(false, width, move |a| convert::half_to_int(a as u32 & 0xffff, k, bits, signed, mode))
        }
        _ => return None,
    })
}
