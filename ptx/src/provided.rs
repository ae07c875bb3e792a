//! Functions that the device's system provides: `printf`, `malloc`, `free`, and the report of an assertion.

use super::access::{Location, Request, Target};
use super::fault::{FaultKind, Raised, raise};
use super::lanes::lanes_of;
use super::mem::{Bytes, Span};
use super::op::What;
use super::state::{Exec, Issue, Warp};

/// Most bytes that one launch may print.
const PRINTED: usize = 1 << 20;
/// Most bytes that kernels may have allocated at once: the default of CUDA (`cudaLimitMallocHeapSize`).
const HEAP: u64 = 8 << 20;
/// Longest string that is read.
const STRING: u64 = 1 << 16;

impl Exec<'_> {
    pub fn provided(&mut self, w: &mut Warp, i: Issue, what: What) -> Raised {
        for lane in lanes_of(i.m) {
            if let Err(e) = self.provide(w, i, what, lane) {
                self.admit(e, w.index, i.pc)?;
                // The launch goes on, the lane without the call: it has printed nothing, and got no memory.
                match what {
                    What::Printf { ret: Some(ret), .. } => self.give(w, i, ret, 4, lane, u32::MAX as u64),
                    What::Malloc { ret, .. } => self.give(w, i, ret, 8, lane, 0),
                    _ => {}
                }
            }
        }
        Ok(())
    }

    fn provide(&mut self, w: &mut Warp, i: Issue, what: What, lane: usize) -> Raised {
        match what {
            What::Printf { format, args, ret } => {
                let (format, args) = (self.parameter(w, i, format, 8, lane)?, self.parameter(w, i, args, 8, lane)?);
                let count = self.printf(w, i, format, args, lane)?;
                if let Some(ret) = ret {
                    self.give(w, i, ret, 4, lane, count as u64);
                }
            }
            What::Malloc { size, ret } => {
                let size = self.parameter(w, i, size, 8, lane)?;
                let address = self.malloc(size);
                self.give(w, i, ret, 8, lane, address);
            }
            What::Free { pointer } => {
                let pointer = self.parameter(w, i, pointer, 8, lane)?;
                self.release(pointer, lane)?;
            }
            What::Assert { params: [message, file, line] } => {
                let (message, file) = (self.parameter(w, i, message, 8, lane)?, self.parameter(w, i, file, 8, lane)?);
                let line = self.parameter(w, i, line, 4, lane)?;
                let (message, file) = (self.string(w, i, message, lane)?, self.string(w, i, file, lane)?);
                let why = format!("an assertion failed: {message}, {file}:{line}");
                return raise(FaultKind::Trap { why }, lane as u32);
            }
            _ => unreachable!("no call"),
        }
        Ok(())
    }

    /// Where a parameter of a call lies in the frame's parameter memory.
    fn place(&self, w: &Warp, i: Issue, at: u32, len: usize, lane: usize) -> Location {
        let size = self.program.functions[w.frames[i.frame as usize].function as usize].params as usize;
        Location { target: Target::Param, at: lane * size + at as usize, len, lane }
    }

    fn parameter(&self, w: &Warp, i: Issue, at: u32, len: usize, lane: usize) -> Raised<u64> {
        let (v, known) = self.get(w, i.frame, self.place(w, i, at, len, lane));
        if !known && self.initcheck {
            return raise(FaultKind::Uninitialised { used_as: "a parameter of a call" }, lane as u32);
        }
        Ok(v)
    }

    fn give(&mut self, w: &mut Warp, i: Issue, at: u32, len: usize, lane: usize, v: u64) {
        let to = self.place(w, i, at, len, lane);
        self.put(w, i.frame, to, v, true);
    }

    /// A number in memory at a generic address.
    fn read(&self, w: &Warp, i: Issue, address: u64, len: usize, lane: usize) -> Raised<u64> {
        let want = Request { space: None, bytes: len as u32, write: false };
        let (target, at) = self.resolve(w, i.frame, want, address, lane as u32)?;
        let (v, known) = self.get(w, i.frame, Location { target, at, len, lane });
        if !known && self.initcheck {
            return raise(FaultKind::Uninitialised { used_as: "an argument of printf" }, lane as u32);
        }
        Ok(v)
    }

    fn string(&self, w: &Warp, i: Issue, address: u64, lane: usize) -> Raised<String> {
        let mut bytes = Vec::new();
        for k in 0..STRING {
            match self.read(w, i, address.wrapping_add(k), 1, lane)? {
                0 => break,
                c => bytes.push(c as u8),
            }
        }
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Formats as C does; arguments lie one behind the other, each aligned to its size. Returns how many there were.
    fn printf(&mut self, w: &Warp, i: Issue, format: u64, mut args: u64, lane: usize) -> Raised<u32> {
        let format = self.string(w, i, format, lane)?;
        let mut next = |len: u64| {
            args = args.next_multiple_of(len);
            args += len;
            self.read(w, i, args - len, len as usize, lane)
        };
        let (mut out, mut count) = (String::new(), 0);
        let mut rest = format.as_str();
        while let Some(at) = rest.find('%') {
            out.push_str(&rest[..at]);
            let (mut spec, after) = Spec::parse(&rest[at + 1..]);
            rest = after;
            let kind = spec.kind;
            if kind == '%' {
                out.push('%');
                continue;
            }
            for star in [&mut spec.width, &mut spec.precision] {
                if *star == Some(STAR) {
                    *star = Some(next(4)? as u32 as i32);
                    count += 1;
                }
            }
            count += 1;
            match kind {
                'd' | 'i' => {
                    let v = if spec.long { next(8)? as i64 } else { next(4)? as u32 as i32 as i64 };
                    out += &spec.signed(v);
                }
                'u' | 'o' | 'x' | 'X' => {
                    let v = if spec.long { next(8)? } else { next(4)? };
                    out += &spec.unsigned(v);
                }
                'p' => out += &spec.pad(format!("{:#x}", next(8)?), false),
                'c' => out += &spec.pad((next(4)? as u8 as char).to_string(), false),
                's' => {
                    let address = next(8)?;
                    let s = if address == 0 { "(null)".to_string() } else { self.string(w, i, address, lane)? };
                    let most = spec.precision.filter(|p| *p >= 0).map_or(usize::MAX, |p| p as usize);
                    out += &spec.pad(s.chars().take(most).collect(), false);
                }
                'f' | 'F' | 'e' | 'E' | 'g' | 'G' | 'a' | 'A' => out += &spec.float(f64::from_bits(next(8)?)),
                _ => {
                    // As CUDA does: what is no conversion is printed as it stands.
                    count -= 1;
                    out.push('%');
                    out.push(kind);
                }
            }
        }
        out.push_str(rest);
        if self.printed.len() < PRINTED {
            let room = PRINTED - self.printed.len();
            let cut = out.char_indices().map(|(at, c)| at + c.len_utf8()).take_while(|&end| end <= room).last().unwrap_or(0);
            self.printed.push_str(&out[..cut]);
            if cut < out.len() {
                self.printed.push_str("\n(the rest of what the kernel printed was left out)\n");
            }
        }
        Ok(count)
    }

    /// The address of new memory; null if there is not enough.
    fn malloc(&mut self, size: u64) -> u64 {
        let used: u64 = self.global.buffers.iter().filter(|b| b.heap && !b.freed).map(|b| b.len).sum();
        if size == 0 || size > HEAP || used + size > HEAP {
            return 0;
        }
        let lo = self.global.alloc("allocated by the kernel", Bytes::unknown(size as usize));
        let buffer = self.global.buffers.len() - 1;
        self.global.buffers[buffer].heap = true;
        self.global.spans.push(Span { lo, hi: lo + size, buffer, write: true, what: "device heap".into() });
        if let Some(watch) = &mut self.watch {
            watch.allocate(size);
        }
        lo
    }

    fn release(&mut self, pointer: u64, lane: usize) -> Raised {
        if pointer == 0 {
            return Ok(());
        }
        let wrong = |why: String| raise(FaultKind::Heap { why }, lane as u32);
        let Some(i) = self.global.buffers.iter().position(|b| b.lo == pointer) else {
            return wrong(format!("free({pointer:#x}): {}", self.global.about(pointer)));
        };
        let b = &mut self.global.buffers[i];
        if !b.heap {
            return wrong(format!("free({pointer:#x}): `{}` was not allocated by a kernel", b.name));
        }
        if b.freed {
            return wrong(format!("free({pointer:#x}): freed twice"));
        }
        (b.freed, b.bytes) = (true, Bytes::default());
        self.global.spans.retain(|s| s.buffer != i);
        Ok(())
    }
}

/// A width or precision that an argument gives.
const STAR: i32 = i32::MIN;

/// A conversion of `printf`.
struct Spec {
    left: bool,
    plus: bool,
    space: bool,
    zero: bool,
    alternative: bool,
    width: Option<i32>,
    precision: Option<i32>,
    /// The number has 64 bits.
    long: bool,
    kind: char,
}

impl Spec {
    /// The conversion behind a `%`, and what follows.
    fn parse(s: &str) -> (Spec, &str) {
        let mut spec = Spec {
            left: false,
            plus: false,
            space: false,
            zero: false,
            alternative: false,
            width: None,
            precision: None,
            long: false,
            kind: '%',
        };
        let mut rest = s;
        while let Some(c) = rest.chars().next().filter(|c| "-+ 0#".contains(*c)) {
            match c {
                '-' => spec.left = true,
                '+' => spec.plus = true,
                ' ' => spec.space = true,
                '0' => spec.zero = true,
                _ => spec.alternative = true,
            }
            rest = &rest[1..];
        }
        let number = |rest: &mut &str| {
            if let Some(r) = rest.strip_prefix('*') {
                *rest = r;
                return Some(STAR);
            }
            let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
            let n = rest[..digits].parse().ok();
            *rest = &rest[digits..];
            n
        };
        spec.width = number(&mut rest);
        if let Some(r) = rest.strip_prefix('.') {
            rest = r;
            spec.precision = Some(number(&mut rest).unwrap_or(0));
        }
        while let Some(c) = rest.chars().next().filter(|c| "hljzt".contains(*c)) {
            spec.long |= c != 'h';
            rest = &rest[1..];
        }
        let mut chars = rest.chars();
        spec.kind = chars.next().unwrap_or('%');
        (spec, chars.as_str())
    }

    /// Pads to the width; zeros go behind the sign or the prefix.
    fn pad(&self, s: String, zeros: bool) -> String {
        let width = self.width.unwrap_or(0);
        let (width, left) = (width.unsigned_abs() as usize, self.left || width < 0);
        let missing = width.min(1 << 12).saturating_sub(s.chars().count());
        if left {
            return s + &" ".repeat(missing);
        }
        if !(zeros && self.zero) {
            return " ".repeat(missing) + &s;
        }
        let sign = s.len() - s.trim_start_matches(['-', '+', ' ']).len();
        let prefix = if s[sign..].starts_with("0x") || s[sign..].starts_with("0X") { sign + 2 } else { sign };
        format!("{}{}{}", &s[..prefix], "0".repeat(missing), &s[prefix..])
    }

    fn sign(&self, negative: bool) -> &'static str {
        match () {
            _ if negative => "-",
            _ if self.plus => "+",
            _ if self.space => " ",
            _ => "",
        }
    }

    fn digits(&self, digits: String) -> String {
        match self.precision {
            Some(0) if digits == "0" => String::new(),
            Some(p) if p > 0 => "0".repeat((p as usize).min(1 << 12).saturating_sub(digits.len())) + &digits,
            _ => digits,
        }
    }

    fn signed(&self, v: i64) -> String {
        let digits = self.digits(v.unsigned_abs().to_string());
        self.pad(self.sign(v < 0).to_string() + &digits, self.precision.is_none())
    }

    fn unsigned(&self, v: u64) -> String {
        let (prefix, digits) = match self.kind {
            'o' => (if self.alternative { "0" } else { "" }, format!("{v:o}")),
            'x' => (if self.alternative && v != 0 { "0x" } else { "" }, format!("{v:x}")),
            'X' => (if self.alternative && v != 0 { "0X" } else { "" }, format!("{v:X}")),
            _ => ("", v.to_string()),
        };
        self.pad(prefix.to_string() + &self.digits(digits), self.precision.is_none())
    }

    fn float(&self, v: f64) -> String {
        let upper = self.kind.is_ascii_uppercase();
        let sign = self.sign(v.is_sign_negative() && !v.is_nan());
        let precision = self.precision.filter(|p| *p >= 0).unwrap_or(6).min(1 << 10) as usize;
        let x = v.abs();
        let text = match self.kind.to_ascii_lowercase() {
            _ if v.is_nan() => "nan".to_string(),
            _ if v.is_infinite() => "inf".to_string(),
            'f' => format!("{x:.precision$}"),
            'e' => exponent(x, precision),
            'g' => general(x, precision.max(1), self.alternative),
            _ => hexadecimal(x, self.precision.filter(|p| *p >= 0).map(|p| p as usize)),
        };
        let text = sign.to_string() + &text;
        self.pad(if upper { text.to_uppercase() } else { text }, v.is_finite())
    }
}

/// `%e`: at least two digits of the exponent.
fn exponent(x: f64, precision: usize) -> String {
    let s = format!("{x:.precision$e}");
    let (digits, e) = s.split_once('e').expect("it has an exponent");
    let e: i32 = e.parse().expect("it is a number");
    format!("{digits}e{}{:02}", if e < 0 { '-' } else { '+' }, e.abs())
}

/// `%g`: the shorter of `%e` and `%f`, without zeros at the end.
fn general(x: f64, precision: usize, zeros: bool) -> String {
    let rounded = format!("{x:.*e}", precision - 1);
    let e: i32 = rounded.split_once('e').expect("it has an exponent").1.parse().expect("it is a number");
    let strip = |s: String| {
        if zeros || !s.contains('.') { s } else { s.trim_end_matches('0').trim_end_matches('.').to_string() }
    };
    if e < -4 || e >= precision as i32 {
        let s = exponent(x, precision - 1);
        let (digits, rest) = s.split_once('e').expect("it has an exponent");
        return format!("{}e{rest}", strip(digits.to_string()));
    }
    strip(format!("{x:.*}", (precision as i32 - 1 - e).max(0) as usize))
}

/// `%a`.
fn hexadecimal(x: f64, precision: Option<usize>) -> String {
    let bits = x.to_bits();
    let (field, mut fraction) = ((bits >> 52) as i32, bits & ((1 << 52) - 1));
    let (mut lead, e) = if field == 0 { (0, if x == 0.0 { 0 } else { -1022 }) } else { (1, field - 1023) };
    let mut digits = 13;
    if let Some(p) = precision.filter(|p| *p < 13) {
        let cut = 4 * (13 - p);
        let whole = (lead << 52) | fraction;
        let down = whole >> cut;
        let (half, rest) = (1u64 << (cut - 1), whole & ((1 << cut) - 1));
        let up = (rest > half || rest == half && down & 1 == 1) as u64;
        let whole = (down + up) << cut;
        (lead, fraction, digits) = (whole >> 52, whole & ((1 << 52) - 1), p);
    }
    let mut text = format!("{fraction:013x}");
    text.truncate(digits);
    if precision.is_none() {
        text = text.trim_end_matches('0').to_string();
    }
    let dot = if text.is_empty() { "" } else { "." };
    format!("0x{lead}{dot}{text}p{e:+}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conversions_as_in_c() {
        let of = |s: &str| Spec::parse(s).0;
        let int = |s: &str, v: i64| of(s).signed(v);
        assert_eq!(
            [int("d", -5), int("5d", -5), int("-5d", 5), int("05d", -5), int("+d", 5)],
            ["-5", "   -5", "5    ", "-0005", "+5"]
        );
        assert_eq!([int(".3d", 5), int("6.3d", -5), int("06.3d", 5)], ["005", "  -005", "   005"]);
        let hex = |s: &str, v: u64| of(s).unsigned(v);
        assert_eq!(
            [hex("x", 255), hex("#X", 255), hex("#010x", 255), hex("o", 8), hex("u", 7)],
            ["ff", "0XFF", "0x000000ff", "10", "7"]
        );
        let float = |s: &str, v: f64| of(s).float(v);
        assert_eq!(
            [float("f", 1.5), float(".2f", -0.005), float("8.3f", 2.0), float("08.3f", -2.0)],
            ["1.500000", "-0.01", "   2.000", "-002.000"]
        );
        assert_eq!([float("e", 12345.678), float(".0e", 1e-10), float("E", 0.0)], ["1.234568e+04", "1e-10", "0.000000E+00"]);
        assert_eq!(
            [float("g", 0.0001), float("g", 0.00001), float("g", 123456.0), float("g", 1234567.0)],
            ["0.0001", "1e-05", "123456", "1.23457e+06"]
        );
        assert_eq!(
            [float("g", 100000.0), float("g", 2.5), float(".3g", 2.0), float("#.3g", 2.0)],
            ["100000", "2.5", "2", "2.00"]
        );
        assert_eq!(
            [float("a", 1.0), float("a", 0.75), float(".1a", 1.96875), float("f", f64::INFINITY)],
            ["0x1p+0", "0x1.8p-1", "0x2.0p+0", "inf"]
        );
        assert_eq!([float("5f", f64::NAN), float("05f", -f64::INFINITY)], ["  nan", " -inf"]);
    }
}
