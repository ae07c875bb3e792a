//! Conversions to and from eight bits, conversions that stop at the largest finite number, between f16 and bf16, and `cvt.pack`.

use super::convert::cvt_by;
use super::decoder::{Decoder, Done, arity};
use super::numeric::{lw, rounding, wl, ww, www, wwww};
use crate::num::half::{self, Half};
use crate::num::narrow::{self, Eight};
use crate::num::{Round, convert};
use crate::source::Instr;

fn eight(ty: &str) -> Eight {
    if ty.starts_with("e4m3") { Eight::E4m3 } else { Eight::E5m2 }
}

fn half_of(ty: &str) -> Half {
    if ty.starts_with("bf16") { Half::Bf16 } else { Half::F16 }
}

fn number(f32_bits: u32) -> f64 {
    f32::from_bits(f32_bits) as f64
}

/// To a pair of eight bits each: the first operand, or the upper half, goes to the upper byte.
pub(super) fn to_eight(d: &mut Decoder, i: &Instr, mods: &[&str]) -> Done {
    let (kind, relu) = (eight(mods[mods.len() - 2]), mods.contains(&"relu"));
    let one = move |f32_bits: u32| kind.encode(number(f32_bits), relu);
    if mods[mods.len() - 1] == "f32" {
        return d.num(www(move |a, b| one(a) << 8 | one(b)), i);
    }
    let half = move |x: u32| one(half::widen(x & 0xffff, Half::F16));
    d.num(ww(move |a| half(a >> 16) << 8 | half(a)), i)
}

pub(super) fn from_eight(d: &mut Decoder, i: &Instr, mods: &[&str]) -> Done {
    let (kind, relu) = (eight(mods[mods.len() - 1]), mods.contains(&"relu"));
    let one = move |x: u32| {
        let x = kind.decode(x & 0xff);
        if relu { half::relu(x) } else { x }
    };
    d.num(ww(move |a| one(a >> 8) << 16 | one(a)), i)
}

/// From f32 to f16, bf16 or a pair of them, infinities replaced by the largest number.
pub(super) fn finite(d: &mut Decoder, i: &Instr, mods: &[&str]) -> Done {
    let ty = mods[mods.len() - 2];
    let (kind, relu, mode) = (half_of(ty), mods.contains(&"relu"), rounding(mods));
    let one = move |x: u32| {
        let x = narrow::finite_half(half::narrow(x, kind, mode), kind);
        if relu { half::relu(x) } else { x }
    };
    if ty.ends_with("x2") {
        return d.num(www(move |a, b| one(a) << 16 | one(b)), i);
    }
    cvt_by(d, i, ww(one), ty, "f32")
}

pub(super) fn tf32(d: &mut Decoder, i: &Instr, mods: &[&str]) -> Done {
    let has = |m: &str| mods.contains(&m);
    let round = match () {
        _ if has("rna") => half::tf32_rna,
        _ if has("rz") => narrow::tf32_rz,
        _ => half::tf32_rn,
    };
    let (relu, finite) = (has("relu"), has("satfinite"));
    let num = ww(move |a| {
        let x = round(a);
        let x = if finite { narrow::finite_tf32(x) } else { x };
        // NaN stays, the canonical one.
        if relu && x >> 31 == 1 && !f32::from_bits(x).is_nan() { 0 } else { x }
    });
    cvt_by(d, i, num, "tf32", "f32")
}

/// Between f16 and bf16, and between bf16 and f64; bf16 to a whole number.
pub(super) fn halves(d: &mut Decoder, i: &Instr, mods: &[&str]) -> Done {
    let (to, from, mode) = (mods[mods.len() - 2], mods[mods.len() - 1], rounding(mods));
    let (relu, finite) = (mods.contains(&"relu"), mods.contains(&"satfinite"));
    let fin = move |x: u32, kind: Half| {
        let x = if finite { narrow::finite_half(x, kind) } else { x };
        if relu { half::relu(x) } else { x }
    };
    let num = match (to, from) {
        ("f64", _) => lw(|a| convert::f32_to_f64(half::widen(a & 0xffff, Half::Bf16))),
        (_, "f64") => wl(move |a| half::narrow64(a, Half::Bf16, mode)),
        ("bf16", "bf16") => ww(move |a| {
            let x = convert::f32_integral(half::widen(a & 0xffff, Half::Bf16), mode);
            half::narrow(x, Half::Bf16, Round::Nearest)
        }),
        _ => {
            let (kind, source) = (half_of(to), half_of(from));
            ww(move |a| fin(half::narrow(half::widen(a & 0xffff, source), kind, mode), kind))
        }
    };
    cvt_by(d, i, num, to, from)
}

/// `cvt.pack`: two integers at the limits of a narrow type, the first one above the second, and a third register above both.
pub(super) fn pack(d: &mut Decoder, i: &Instr, mods: &[&str]) -> Done {
    let (ty, signed_from) = (mods[2], mods[3].starts_with('s'));
    let (signed, bits) = (ty.starts_with('s'), ty[1..].parse::<u32>().expect("the form lists types"));
    let one = move |x: u32| narrow::saturated(x, signed_from, bits, signed);
    if bits == 16 {
        arity(i, 3)?;
        return d.num(www(move |a, b| one(a) << 16 | one(b)), i);
    }
    d.num(wwww(move |a, b, c| c << (2 * bits) | one(a) << bits | one(b)), i)
}
