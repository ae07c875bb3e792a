//! Contents of memory: numbers in a row, repeated, counted, drawn, or from a file.

use std::path::Path;

use super::files::load;
use super::types::{NAMES, Type};
use crate::rng::philox;

/// VALUES of the command line, for its help.
pub const HELP: &str = "\
VALUES are, with commas between:
  V           a number; 0x… gives a float bit by bit
  N*V         N times V
  A..B        whole numbers from A to B - 1
  N*iota      0, 1, 2, … N - 1
  N*random:SEED[:LOW:HIGH]    drawn evenly: floats from -1 to 1, whole numbers from 0 to 100
  N*normal:SEED[:MEAN:STD]    drawn from a normal distribution (floats)
or @FILE: a .npy file, FILE.safetensors#TENSOR, or raw bytes.";

/// How numbers are drawn.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Draw {
    /// From `low` to `high`; of whole numbers `high` is one.
    Uniform {
        low: f64,
        high: f64,
    },
    Normal {
        mean: f64,
        std: f64,
    },
}

impl Draw {
    /// Evenly, from the range that a type has without further words.
    pub fn usual(ty: Type) -> Draw {
        if ty.float() { Draw::Uniform { low: -1.0, high: 1.0 } } else { Draw::Uniform { low: 0.0, high: 100.0 } }
    }

    /// Whether the type holds what is drawn.
    pub fn check(self, ty: Type) -> Result<(), String> {
        match (self, ty.bounds()) {
            (Draw::Uniform { low, high }, _) if !(low <= high && low.is_finite() && high.is_finite()) => {
                Err(format!("from {low} to {high} is no range"))
            }
            (Draw::Uniform { low, high }, Some((least, most))) if low < least as f64 || high > most as f64 => {
                Err(format!("{low} to {high} exceed {}, which holds {least} to {most}", ty.name()))
            }
            (Draw::Normal { .. }, Some(_)) => Err(format!("a normal distribution needs a float type, not {}", ty.name())),
            (Draw::Normal { mean, std }, _) if !(mean.is_finite() && std.is_finite() && std >= 0.0) => {
                Err(format!("mean {mean} and standard deviation {std} make no distribution"))
            }
            _ => Ok(()),
        }
    }
}

/// Appends `count` numbers of a seed: the same numbers on every machine (normal ones up to the last bit of its logarithm).
pub fn draw(ty: Type, count: u64, seed: u64, how: Draw, out: &mut Vec<u8>) {
    for i in 0..count {
        let w = philox([seed as u32, (seed >> 32) as u32], [i as u32, (i >> 32) as u32, 0, 3]);
        let (a, b) = (w[0] as u64 | (w[1] as u64) << 32, w[2] as u64 | (w[3] as u64) << 32);
        // 53 bits, as many as f64 holds.
        let unit = |x: u64| (x >> 11) as f64 / (1u64 << 53) as f64;
        match how {
            Draw::Uniform { low, high } if ty.float() => ty.put_float(low + (high - low) * unit(a), out),
            Draw::Uniform { low, high } => {
                let (low, high) = (low.ceil() as i128, high.floor() as i128);
                let span = (high - low + 1).max(1) as u128;
                // The high half of a product: even enough for test data.
                ty.put_int(low + ((a as u128 * span) >> 64) as i128, out);
            }
            Draw::Normal { mean, std } => {
                let radius = (-2.0 * (1.0 - unit(a)).ln()).sqrt();
                ty.put_float(mean + std * radius * (std::f64::consts::TAU * unit(b)).cos(), out);
            }
        }
    }
}

/// The bytes of VALUES ([`HELP`]), at most `limit`. Paths start from `base`.
pub fn values(ty: Type, text: &str, base: &Path, limit: u64) -> Result<Vec<u8>, String> {
    if let Some(file) = text.strip_prefix('@') {
        let found = load(base, file, ty, limit)?;
        if found.ty != ty {
            return Err(format!(
                "{file}: holds {}, not {}: write {0} for the type, or convert the file",
                found.ty.name(),
                ty.name()
            ));
        }
        return Ok(found.bytes);
    }
    let mut out = Vec::new();
    let room = |out: &Vec<u8>, n: u64| {
        let bytes = n.checked_mul(ty.size() as u64).and_then(|b| b.checked_add(out.len() as u64));
        match bytes {
            Some(b) if b <= limit => Ok(()),
            _ => Err(format!("{n} values of {} are more than memory may have, {limit} bytes (--memory)", ty.name())),
        }
    };
    for piece in text.split(',').map(str::trim) {
        let bad = |v: &str| format!("`{v}` is not a {} (nor N*V, A..B, N*random:SEED, N*iota or @FILE)", ty.name());
        if let Some((n, v)) = piece.split_once('*') {
            let n: u64 = n.trim().parse().map_err(|_| format!("`{n}` is not a count"))?;
            room(&out, n)?;
            repeated(ty, n, v.trim(), &mut out).map_err(|e| e.unwrap_or_else(|| bad(v)))?;
        } else if let Some((a, b)) = piece.split_once("..")
            && let (Ok(a), Ok(b)) = (a.parse::<i64>(), b.parse::<i64>())
        {
            if b <= a {
                return Err(format!("{a}..{b} is empty: B of A..B must be the larger"));
            }
            room(&out, a.abs_diff(b))?;
            for x in a..b {
                if !ty.put_int(x as i128, &mut out) {
                    return Err(bad(&x.to_string()));
                }
            }
        } else if piece.starts_with("random:") || piece.starts_with("normal:") || piece == "iota" {
            return Err(format!("`{piece}`: of how many? N*{piece}"));
        } else if !ty.put(piece, &mut out) {
            return Err(bad(piece));
        }
    }
    Ok(out)
}

/// `N*V`, `N*iota`, `N*random:…`. An error without a text: V is no number.
fn repeated(ty: Type, n: u64, v: &str, out: &mut Vec<u8>) -> Result<(), Option<String>> {
    if v == "iota" {
        return match (0..n).all(|i| ty.put_int(i as i128, out)) {
            true => Ok(()),
            false => Err(Some(format!("{n} whole numbers from 0 on exceed {}", ty.name()))),
        };
    }
    if v == "zeros" {
        out.resize(out.len() + n as usize * ty.size(), 0);
        return Ok(());
    }
    let parts: Vec<&str> = v.split(':').collect();
    if let "random" | "normal" = parts[0] {
        let wrong = || {
            Some(format!(
                "`{v}`: expected {}",
                if parts[0] == "random" { "random:SEED[:LOW:HIGH]" } else { "normal:SEED[:MEAN:STD]" }
            ))
        };
        let number = |i: usize| parts[i].parse::<f64>().map_err(|_| wrong());
        let seed: u64 = parts.get(1).and_then(|s| s.parse().ok()).ok_or_else(wrong)?;
        let how = match (parts[0], parts.len()) {
            ("random", 2) => Draw::usual(ty),
            ("random", 4) => Draw::Uniform { low: number(2)?, high: number(3)? },
            ("normal", 2) => Draw::Normal { mean: 0.0, std: 1.0 },
            ("normal", 4) => Draw::Normal { mean: number(2)?, std: number(3)? },
            _ => return Err(wrong()),
        };
        how.check(ty).map_err(Some)?;
        draw(ty, n, seed, how, out);
        return Ok(());
    }
    let mut one = Vec::new();
    if !ty.put(v, &mut one) {
        return Err(None);
    }
    out.extend(one.repeat(n as usize));
    Ok(())
}

/// A type by its name.
pub fn type_named(name: &str) -> Result<Type, String> {
    Type::named(name).ok_or_else(|| {
        let names: Vec<&str> = NAMES.split(", ").collect();
        format!(
            "`{name}` is no type{}; types are {NAMES}",
            super::names::meant(name, &names).split("; there is").next().unwrap_or("")
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(ty: &str, text: &str) -> Result<Vec<u8>, String> {
        values(Type::named(ty).unwrap(), text, Path::new("."), 1 << 20)
    }

    #[test]
    fn numbers_in_a_row() {
        assert_eq!(of("f32", "1,2*0.5").unwrap(), [1f32, 0.5, 0.5].map(f32::to_le_bytes).concat());
        assert_eq!(of("i32", "-1..2, 7").unwrap(), [-1i32, 0, 1, 7].map(i32::to_le_bytes).concat());
        assert_eq!(of("i32", "0x10").unwrap(), 16i32.to_le_bytes());
        assert_eq!(of("u8", "3*iota").unwrap(), [0, 1, 2]);
        assert_eq!(of("u16", "2*zeros").unwrap(), [0; 4]);
        for (ty, text, words) in [
            ("i32", "3000000000", "`3000000000` is not a i32"),
            ("f32", "x", "`x` is not a f32"),
            ("f32", "3*", "`` is not a f32"),
            ("f32", "x*3", "`x` is not a count"),
            ("f32", "@/no/such/file", "/no/such/file: No such file or directory (os error 2); check the path"),
            ("f32", "9999999*0", "9999999 values of f32 are more than memory may have"),
            ("f32", "18446744073709551615*0", "more than memory may have"),
            ("u8", "0..300", "`256` is not a u8"),
            ("u8", "300*iota", "300 whole numbers from 0 on exceed u8"),
            ("f32", "5..5", "5..5 is empty"),
            ("f32", "random:7", "of how many? N*random:7"),
            ("f32", "4*random:x", "expected random:SEED[:LOW:HIGH]"),
            ("f32", "4*random:1:3:2", "from 3 to 2 is no range"),
            ("u8", "4*random:1:0:300", "0 to 300 exceed u8, which holds 0 to 255"),
            ("u8", "4*normal:1", "a normal distribution needs a float type"),
        ] {
            let why = of(ty, text).expect_err(text);
            assert!(why.contains(words), "no `{words}` in: {why}");
        }
        assert!(type_named("int32").unwrap_err().contains("`int32` is no type"));
        assert!(type_named("flt32").unwrap_err().contains("types are i8"));
    }

    #[test]
    fn drawn_numbers() {
        let floats = |text: &str| -> Vec<f32> {
            of("f32", text).unwrap().chunks(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect()
        };
        let x = floats("4096*random:7");
        assert_eq!(x, floats("4096*random:7"));
        assert_ne!(x, floats("4096*random:8"));
        let mean = x.iter().sum::<f32>() / 4096.0;
        assert!(mean.abs() < 0.03 && x.iter().all(|v| (-1.0..=1.0).contains(v)), "{mean}");
        let n = floats("4096*normal:7:3:2");
        let (mean, var) = (n.iter().sum::<f32>() / 4096.0, n.iter().map(|v| (v - 3.0).powi(2)).sum::<f32>() / 4096.0);
        assert!((mean - 3.0).abs() < 0.15 && (var - 4.0).abs() < 0.4, "{mean} {var}");
        let d = of("u8", "6000*random:1:1:6").unwrap();
        assert!((1..=6).all(|k| (800..1200).contains(&d.iter().filter(|&&v| v == k).count())));
    }
}
