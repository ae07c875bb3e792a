//! The instructions that the ISA only bounds: their values by the host's f64 functions, the bounds and the corner cases by the
//! tables of the ISA.

use crate::model::{Function, Want};
use crate::real::*;

/// A number of 32 bits or fewer in f64, which holds all of them.
pub fn number(f: Format, x: u64) -> f64 {
    match f {
        F16 => {
            let (e, m, sign) = (x >> 10 & 31, x & 0x3ff, if x >> 15 & 1 == 1 { -1.0 } else { 1.0 });
            sign * match e {
                31 => {
                    if m == 0 {
                        f64::INFINITY
                    } else {
                        f64::NAN
                    }
                }
                0 => m as f64 * 2f64.powi(-24),
                e => (m + 1024) as f64 * 2f64.powi(e as i32 - 25),
            }
        }
        BF16 => f32::from_bits((x as u32) << 16) as f64,
        F32 => f32::from_bits(x as u32) as f64,
        _ => f64::from_bits(x),
    }
}

/// The distance of numbers of the format at `y`.
fn ulp(f: Format, y: f64) -> f64 {
    let (precision, least) = if f == F32 { (24, -126) } else { panic!("bounds in ulp are of f32") };
    2f64.powi((y.abs().log2().floor() as i32).max(least) - precision + 1)
}

/// Whether ±x is a power of two.
fn power_of_two(x: f64) -> bool {
    x != 0.0 && x.is_finite() && {
        let m = x.to_bits() & ((1 << 52) - 1);
        if x.is_normal() { m == 0 } else { m.is_power_of_two() }
    }
}

pub fn function(name: &str, mods: &[&str], f: Format) -> Option<Function> {
    if f == F64 {
        return None;
    }
    let (ftz, full) = (mods.contains(&"ftz"), mods.contains(&"full"));
    let name = match name {
        "ex2" | "lg2" | "rcp" | "rsqrt" | "sqrt" | "sin" | "cos" | "tanh" | "div" => name.to_string(),
        _ => return None,
    };
    Some(Box::new(move |x: &[u64]| {
        // (`ex2.approx.ftz.bf16` flushes, too.)
        let flush = |x: u64| if ftz && f.is_subnormal(x) { x & f.sign() } else { x };
        let x: Vec<u64> = x.iter().map(|&x| flush(x)).collect();
        let v: Vec<f64> = x.iter().map(|&x| number(f, x)).collect();
        let a = v[0];
        let bits = |y: f64| Want::Bits(flush(f.round(&F64.decode(y.to_bits()), Mode::Even)));
        // Corner cases; and what every GPU gives exactly.
        let y = match name.as_str() {
            "ex2" => a.exp2(),
            "lg2" => {
                if a == 0.0 {
                    f64::NEG_INFINITY
                } else {
                    a.log2()
                }
            }
            "rcp" => 1.0 / a,
            "rsqrt" => {
                if a == 0.0 {
                    f64::INFINITY.copysign(a)
                } else {
                    1.0 / a.sqrt()
                }
            }
            "sqrt" => a.sqrt(),
            "sin" => a.sin(),
            "cos" => a.cos(),
            "tanh" => a.tanh(),
            _ if !full && v[1].is_finite() && v[1].abs() > 2f64.powi(126) => {
                return if a.is_finite() { Want::Bits((x[0] ^ x[1]) & f.sign()) } else { Want::Bits(f.nan()) };
            }
            _ => a / v[1],
        };
        if v.iter().any(|v| *v == 0.0 || !v.is_finite()) || !y.is_finite() {
            return bits(y);
        }
        let even_root = |x: f64| power_of_two(x) && power_of_two(x.sqrt()) && x.sqrt() * x.sqrt() == x;
        let exact = match name.as_str() {
            "ex2" => a.fract() == 0.0,
            "lg2" | "rcp" => power_of_two(a),
            "sqrt" | "rsqrt" => even_root(a),
            "div" => power_of_two(v[1]) && number(f, f.round(&F64.decode(y.to_bits()), Mode::Even)) == y,
            _ => false,
        };
        if exact {
            return bits(y);
        }
        let bound = match (name.as_str(), f) {
            ("ex2", F16) => y * 2f64.powf(-9.9),
            ("ex2", BF16) => y * 2f64.powi(-7),
            ("tanh", F16) => 2f64.powf(-10.987),
            ("tanh", BF16) => 2f64.powi(-8),
            ("ex2" | "div", _) => 2.0 * ulp(f, y),
            ("rcp", _) => ulp(f, y),
            ("lg2", _) if a > 0.5 && a < 2.0 => 2f64.powi(-22),
            ("lg2", _) => y.abs() * 2f64.powi(-22),
            ("rsqrt", _) => y * 2f64.powf(-22.9),
            ("sqrt", _) => y * 2f64.powi(-23),
            ("tanh", _) => y.abs() * 2f64.powi(-11),
            _ if a.abs() <= 2.0 * std::f64::consts::PI => 2f64.powf(-20.5),
            _ => 2f64.powf(-14.7),
        };
        // A number of the format: where none lies inside the bound, the nearest one; at the ends of the range the format's own.
        let nearest = number(f, f.round(&F64.decode(y.to_bits()), Mode::Even));
        let (mut low, mut high) = (nearest.min(y - bound), nearest.max(y + bound));
        let flushed = if f == F16 { 0.0 } else { 2f64.powi(-126) };
        if ftz && (low.abs().min(high.abs()) < flushed || low * high <= 0.0) {
            (low, high) = (low.min(0.0), high.max(0.0));
        }
        Want::Between(low, high, f)
    }))
}
