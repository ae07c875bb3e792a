//! Which function of [`super::num`] an instruction's modifiers choose, lifted to 32 lanes.

use std::array::from_fn;

use super::num::approx::{self, Approx, Function};
use super::num::half::{self, Half};
use super::num::{Round, convert, float as fp};
use super::op::{Code, Num};

fn ww(f: impl Fn(u32) -> u32 + Send + Sync + 'static) -> Num {
    Num::WW(Box::new(move |a, _| from_fn(|i| f(a[i]))))
}
fn www(f: impl Fn(u32, u32) -> u32 + Send + Sync + 'static) -> Num {
    Num::WWW(Box::new(move |a, b, _| from_fn(|i| f(a[i], b[i]))))
}
fn wwww(f: impl Fn(u32, u32, u32) -> u32 + Send + Sync + 'static) -> Num {
    Num::WWWW(Box::new(move |a, b, c| from_fn(|i| f(a[i], b[i], c[i]))))
}
fn wl(f: impl Fn(u64) -> u32 + Send + Sync + 'static) -> Num {
    Num::WL(Box::new(move |a| from_fn(|i| f(a[i]))))
}
fn lw(f: impl Fn(u32) -> u64 + Send + Sync + 'static) -> Num {
    Num::LW(Box::new(move |a| from_fn(|i| f(a[i]))))
}
fn ll(f: impl Fn(u64) -> u64 + Send + Sync + 'static) -> Num {
    Num::LL(Box::new(move |a| from_fn(|i| f(a[i]))))
}
fn lll(f: impl Fn(u64, u64) -> u64 + Send + Sync + 'static) -> Num {
    Num::LLL(Box::new(move |a, b| from_fn(|i| f(a[i], b[i]))))
}
fn llll(f: impl Fn(u64, u64, u64) -> u64 + Send + Sync + 'static) -> Num {
    Num::LLLL(Box::new(move |a, b, c| from_fn(|i| f(a[i], b[i], c[i]))))
}

fn rounding(mods: &[&str]) -> Round {
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
    let approximate = |f: Function| Num::WW(Box::new(move |a, how: Approx| from_fn(|i| approx::f32(f, a[i], ftz, how))));
    let approx = mods.contains(&"approx");
    Some(match name {
        "add" => www(move |a, b| fin(fp::add(arg(a), arg(b), mode))),
        "sub" => www(move |a, b| fin(fp::sub(arg(a), arg(b), mode))),
        "mul" => www(move |a, b| fin(fp::mul(arg(a), arg(b), mode))),
        "fma" => wwww(move |a, b, c| fin(fp::fma(arg(a), arg(b), arg(c), mode))),
        "div" if approx => Num::WWW(Box::new(move |a, b, how| from_fn(|i| approx::div(a[i], b[i], ftz, how)))),
        "div" if mods.contains(&"full") => {
            Num::WWW(Box::new(move |a, b, how| from_fn(|i| approx::div_full(a[i], b[i], ftz, how))))
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
        _ => return None,
    })
}

pub(super) enum Cvt {
    Code(Code),
    Num(Num),
}

/// A conversion between numbers, one of them a float; integers have 32 or 64 bits as sources. `None`: no such form.
pub(super) fn cvt(mods: &[&str], to: &str, from: &str) -> Option<Cvt> {
    use Cvt::{Code as C, Num as N};
    let (ftz, sat) = (mods.contains(&"ftz"), mods.contains(&"sat"));
    let mode = rounding(mods);
    let rounds = mods.iter().any(|m| m.starts_with('r'));
    let to_integral = mods.iter().any(|m| matches!(*m, "rni" | "rzi" | "rmi" | "rpi"));
    let plain = mode == Round::Nearest && !sat && !ftz;
    let float = |t: &str| matches!(t, "f32" | "f64" | "f16" | "bf16");
    let half = |t: &str| if t == "f16" { Half::F16 } else { Half::Bf16 };
    let fin = move |x: u32| if sat { fp::sat(x) } else { x };
    Some(match (to, from) {
        ("f32", "s32") if plain => C(Code::CvtFS),
        ("f32", "u32") if plain => C(Code::CvtFU),
        ("f64", "s32") => C(Code::CvtDS),
        ("f64", "u32") => C(Code::CvtDU),
        ("f32", "s32") => N(ww(move |a| fin(convert::s32_to_f32(a as i32, mode)))),
        ("f32", "u32") => N(ww(move |a| fin(convert::u32_to_f32(a, mode)))),
        ("f32", "s64") => N(wl(move |a| fin(convert::s64_to_f32(a as i64, mode)))),
        ("f32", "u64") => N(wl(move |a| fin(convert::u64_to_f32(a, mode)))),
        ("f64", "s64") => N(ll(move |a| convert::s64_to_f64(a as i64, mode))),
        ("f64", "u64") => N(ll(move |a| convert::u64_to_f64(a, mode))),
        ("f16" | "bf16", "s32") => {
            let k = half(to);
            N(ww(move |a| convert::s32_to_half(a as i32, k, mode)))
        }
        ("f16" | "bf16", "u32") => {
            let k = half(to);
            N(ww(move |a| convert::u32_to_half(a, k, mode)))
        }
        ("f16" | "bf16", "s64") => {
            let k = half(to);
            N(wl(move |a| convert::s64_to_half(a as i64, k, mode)))
        }
        ("f16" | "bf16", "u64") => {
            let k = half(to);
            N(wl(move |a| convert::u64_to_half(a, k, mode)))
        }
        ("f32", "f32") if !rounds && !ftz && !sat => C(Code::Mov32),
        ("f32", "f32") => N(ww(move |a| {
            let a = if ftz { fp::ftz(a) } else { a };
            let x = if to_integral { convert::f32_integral(a, mode) } else { convert::f32_flags(a, ftz, false) };
            fin(x)
        })),
        ("f64", "f64") if !to_integral && !sat => C(Code::Mov64),
        ("f64", "f64") => N(ll(move |a| {
            let x = if to_integral { convert::f64_integral(a, mode) } else { a };
            if sat { fp::sat64(x) } else { x }
        })),
        ("f64", "f32") if !sat => N(lw(move |a| convert::f32_to_f64(if ftz { fp::ftz(a) } else { a }))),
        ("f32", "f64") => N(wl(move |a| {
            let x = convert::f64_to_f32(a, mode);
            fin(if ftz { fp::ftz(x) } else { x })
        })),
        ("f32", "f16" | "bf16") => {
            let k = half(from);
            N(ww(move |a| {
                let x = fp::f32_bits(f32::from_bits(half::widen(a & 0xffff, k)));
                fin(if ftz { fp::ftz(x) } else { x })
            }))
        }
        ("f16" | "bf16", "f32") => {
            let k = half(to);
            let relu = mods.contains(&"relu");
            N(ww(move |a| {
                let x = half::narrow(if ftz { fp::ftz(a) } else { a }, k, mode);
                let x = if relu { half::relu(x) } else { x };
                if sat { half::sat(x, k) } else { x }
            }))
        }
        ("f64", "f16") => N(lw(move |a| convert::f32_to_f64(half::widen(a & 0xffff, Half::F16)))),
        ("f16", "f64") => N(wl(move |a| half::narrow64(a, Half::F16, mode))),
        ("f16", "f16") => N(ww(move |a| {
            let wide = half::widen(a & 0xffff, Half::F16);
            let x = if to_integral { convert::f32_integral(wide, mode) } else { wide };
            let x = half::narrow(x, Half::F16, Round::Nearest);
            if sat { half::sat(x, Half::F16) } else { x }
        })),
        _ if float(from) && !float(to) => {
            let bits: u32 = to[1..].parse().ok()?;
            let signed = to.starts_with('s');
            // Narrow results stay zero-extended in their registers.
            let cut = move |x: u64| {
                if bits == 16 {
                    x & 0xffff
                } else if bits == 8 && !signed {
                    x & 0xff
                } else {
                    x
                }
            };
            match (from, bits) {
                ("f32", 64) => N(lw(move |a| convert::f32_to_int(if ftz { fp::ftz(a) } else { a }, 64, signed, mode))),
                ("f32", _) => {
                    N(ww(move |a| cut(convert::f32_to_int(if ftz { fp::ftz(a) } else { a }, bits, signed, mode)) as u32))
                }
                ("f64", 64) => N(ll(move |a| convert::f64_to_int(a, 64, signed, mode))),
                ("f64", _) => N(wl(move |a| cut(convert::f64_to_int(a, bits, signed, mode)) as u32)),
                (_, 64) => {
                    let k = half(from);
                    N(lw(move |a| convert::half_to_int(a & 0xffff, k, 64, signed, mode)))
                }
                _ => {
                    let k = half(from);
                    N(ww(move |a| cut(convert::half_to_int(a & 0xffff, k, bits, signed, mode)) as u32))
                }
            }
        }
        _ => return None,
    })
}
