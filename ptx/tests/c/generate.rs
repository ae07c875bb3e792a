//! Random C: functions of a few statements over variables of every type, in the operations of `prelude.h`, none of which has
//! undefined behaviour.

use crate::Draws;

const INTS: [(&str, u32); 10] = [
    ("i8", 8),
    ("u8", 8),
    ("i16", 16),
    ("u16", 16),
    ("i32", 32),
    ("u32", 32),
    ("i64", 64),
    ("u64", 64),
    ("i128", 128),
    ("u128", 128),
];

/// A variable of a program, and the words of its result.
const VARIABLES: [(&str, &str); 20] = [
    ("i8", "v0"),
    ("u8", "v1"),
    ("i16", "v2"),
    ("u16", "v3"),
    ("i32", "v4"),
    ("u32", "v5"),
    ("i64", "v6"),
    ("u64", "v7"),
    ("i128", "v8"),
    ("u128", "v9"),
    ("i32", "w0"),
    ("u32", "w1"),
    ("i64", "w2"),
    ("u64", "w3"),
    ("u128", "w4"),
    ("f32", "f0"),
    ("f32", "f1"),
    ("f32", "f2"),
    ("f64", "d0"),
    ("f64", "d1"),
];

/// Words of 64 bits that a program reads, and that it writes.
pub const INPUTS: usize = 16;
pub const OUTPUTS: usize = 32;

fn bits(ty: &str) -> u32 {
    INTS.iter().find(|(t, _)| *t == ty).map_or(0, |t| t.1)
}

fn is_float(ty: &str) -> bool {
    ty.starts_with('f')
}

/// The unsigned type in which sums wrap.
fn wrapping(ty: &str) -> &'static str {
    match bits(ty) {
        128 => "u128",
        64 => "u64",
        _ => "u32",
    }
}

pub struct Program<'a> {
    r: &'a mut Draws,
    /// Depth of loops, which multiply the work.
    loops: u32,
    names: u32,
    /// No 128-bit division here: a division is a long loop.
    divisions: u32,
}

impl Program<'_> {
    fn pick<'b, T: ?Sized>(&mut self, list: &[&'b T]) -> &'b T {
        list[self.r.below(list.len())]
    }

    fn int_type(&mut self) -> &'static str {
        // The usual ones more often.
        if self.r.below(3) == 0 { self.pick(&["i32", "u32", "i64", "u64"]) } else { INTS[self.r.below(INTS.len())].0 }
    }

    fn variable(&mut self, ty: &str) -> String {
        let all: Vec<&str> = VARIABLES.iter().filter(|v| v.0 == ty).map(|v| v.1).collect();
        self.pick(&all).to_string()
    }

    fn constant(&mut self, ty: &str) -> String {
        match ty {
            "f32" => {
                self.pick(&["0.0f", "1.0f", "-1.5f", "3.0f", "1e-40f", "3e38f", "0.1f", "16777216.0f", "-0.0f", "255.5f"]).into()
            }
            "f64" => {
                self.pick(&["0.0", "1.0", "-2.5", "3.0", "1e-310", "1e308", "0.1", "4503599627370496.0", "-0.0", "7.75"]).into()
            }
            _ => {
                let n = bits(ty);
                let small = self.r.below(20);
                let shift = self.r.below(n.min(64) as usize);
                let any = self.r.word() >> (64 - n.min(64));
                match self.r.below(4) {
                    0 => format!("({ty}){small}"),
                    1 => format!("({ty})(((u64)1 << {shift}) - {})", small % 3),
                    2 => format!("({ty})-{small}"),
                    _ => format!("({ty}){any}ull"),
                }
            }
        }
    }

    /// An integer of at most 64 bits, of any sign.
    fn narrow(&mut self, depth: u32) -> String {
        let ty = INTS[self.r.below(8)].0;
        self.expression(ty, depth)
    }

    fn condition(&mut self, depth: u32) -> String {
        let ty = if self.r.below(4) == 0 { self.pick(&["f32", "f64"]) } else { self.int_type() };
        let (a, b) = (self.expression(ty, depth), self.expression(ty, depth));
        let relation = self.pick(&["<", "<=", ">", ">=", "==", "!="]);
        match self.r.below(6) {
            0 => format!("(!({a} {relation} {b}))"),
            1 => {
                let (more, join) = (self.condition(depth.saturating_sub(1)), self.pick(&["&&", "||"]));
                format!("({a} {relation} {b} {join} {more})")
            }
            _ => format!("({a} {relation} {b})"),
        }
    }

    fn leaf(&mut self, ty: &str) -> String {
        match (self.r.below(8), ty) {
            (0 | 1, _) => self.constant(ty),
            (2, "i32") => "s0.a".into(),
            (2, "u8") => "s1.b".into(),
            (2, "i64") => "s0.c".into(),
            (2, "f32") => "s1.d".into(),
            (2, "f64") => "n0.c".into(),
            (2, "u16") => format!("s0.e[{} % 3]", self.index()),
            (2, "i8") => format!("n0.b[{} % 5]", self.index()),
            (3, "i64") => format!("array[{} & 7]", self.index()),
            (3, "u32") => format!("words[{} & 15]", self.index()),
            (3, "i16") => format!("shorts[{} & 3]", self.index()),
            _ => self.variable(ty),
        }
    }

    fn index(&mut self) -> String {
        let ty = self.pick(&["u8", "u16", "u32", "i32"]);
        format!("(u32){}", self.variable(ty))
    }

    fn expression(&mut self, ty: &str, depth: u32) -> String {
        if depth == 0 || self.r.below(8) == 0 {
            return self.leaf(ty);
        }
        if is_float(ty) { self.float(ty, depth - 1) } else { self.int(ty, depth - 1) }
    }

    fn float(&mut self, ty: &str, d: u32) -> String {
        let f = if ty == "f32" { "f" } else { "" };
        let e = |p: &mut Self| p.expression(ty, d);
        match self.r.below(16) {
            0 | 1 => format!("({} + {})", e(self), e(self)),
            2 | 3 => format!("({} - {})", e(self), e(self)),
            4 | 5 => format!("({} * {})", e(self), e(self)),
            6 => format!("({} / {})", e(self), e(self)),
            7 => format!("fma{f}({}, {}, {})", e(self), e(self), e(self)),
            8 => format!("sqrt{f}(fabs{f}({}))", e(self)),
            // Of a variable: nvcc 13.0 takes `ceil(1e308)` for the least 64-bit integer.
            9 => format!("{}{f}({})", self.pick(&["floor", "ceil", "trunc", "rint"]), self.variable(ty)),
            10 => format!("sign_{ty}({}, {})", e(self), e(self)),
            11 => format!("({} ? {} : {})", self.condition(d), e(self), e(self)),
            12 => {
                let other = if ty == "f32" { "f64" } else { "f32" };
                format!("({ty}){}", self.expression(other, d))
            }
            13 => format!("(- {})", e(self)),
            14 if ty == "f32" => format!("as_f32({})", self.expression("u32", d)),
            14 => format!("as_f64({})", self.expression("u64", d)),
            _ => {
                let from = INTS[self.r.below(8)].0;
                format!("({ty}){}", self.expression(from, d))
            }
        }
    }

    fn int(&mut self, ty: &str, d: u32) -> String {
        let (w, n) = (wrapping(ty), bits(ty));
        let e = |p: &mut Self| p.expression(ty, d);
        match self.r.below(24) {
            0 | 1 => format!("({ty})(({w}){} + ({w}){})", e(self), e(self)),
            2 | 3 => format!("({ty})(({w}){} - ({w}){})", e(self), e(self)),
            4 | 5 => format!("({ty})(({w}){} * ({w}){})", e(self), e(self)),
            6 | 7 if n < 128 || self.loops == 0 && self.divisions < 2 => {
                self.divisions += (n == 128) as u32;
                format!("{}_{ty}({}, {})", self.pick(&["div", "rem"]), e(self), e(self))
            }
            8 => format!("({ty})({} {} {})", e(self), self.pick(&["&", "|", "^"]), e(self)),
            9 => format!("({ty})({} & ~{})", e(self), e(self)),
            10 => format!("({ty})(({w}){} << ((u32){} & {}))", e(self), self.narrow(d), n - 1),
            11 => format!("({ty})({} >> ((u32){} & {}))", e(self), self.narrow(d), n - 1),
            12 => format!("({ty}){}", self.condition(d)),
            13 => format!("({} ? {} : {})", self.condition(d), e(self), e(self)),
            14 | 15 => {
                let from = self.int_type();
                format!("({ty}){}", self.expression(from, d))
            }
            16 if n < 128 => {
                let from = self.pick(&["f32", "f64"]);
                format!("{ty}_of_{from}({})", self.expression(from, d))
            }
            17 => format!("{}_{ty}({}, {})", self.pick(&["least", "most"]), e(self), e(self)),
            18 => format!("({ty})(0 - ({w}){})", e(self)),
            19 => self.wide(ty, d),
            20 if n >= 32 => {
                let k = 1 + self.r.below(n as usize - 1);
                let u = wrapping(ty);
                let x = self.variable(ty);
                format!("({ty})(({u}){x} << {k} | ({u}){x} >> {})", n as usize - k)
            }
            // Signed sums that cannot overflow.
            21 if n < 128 => format!("({ty})(({} >> 2) + ({} >> 2))", e(self), e(self)),
            _ => self.bits_of(ty, d),
        }
    }

    /// Products wider than their factors.
    fn wide(&mut self, ty: &str, d: u32) -> String {
        let e = |p: &mut Self, t: &str| p.expression(t, d);
        match self.r.below(6) {
            0 => format!("({ty})((i64){} * {})", e(self, "i32"), e(self, "i32")),
            1 => format!("({ty})((u64){} * {})", e(self, "u32"), e(self, "u32")),
            2 => format!("({ty})((i128){} * {})", e(self, "i64"), e(self, "i64")),
            3 => format!("({ty})((u128){} * {})", e(self, "u64"), e(self, "u64")),
            4 => format!("({ty})((i32){} * {})", e(self, "i16"), e(self, "i16")),
            _ => format!("({ty})((u32){} * {})", e(self, "u16"), e(self, "u16")),
        }
    }

    fn bits_of(&mut self, ty: &str, d: u32) -> String {
        let e = |p: &mut Self, t: &str| p.expression(t, d);
        let inner = match self.r.below(16) {
            0 => format!("ones({})", e(self, "u32")),
            1 => format!("ones64({})", e(self, "u64")),
            2 => format!("zeros({})", e(self, "u32")),
            3 => format!("zeros64({})", e(self, "u64")),
            4 => format!("reversed({})", e(self, "u32")),
            5 => format!("reversed64({})", e(self, "u64")),
            6 => format!("high({}, {})", e(self, "u64"), e(self, "u64")),
            7 => format!("high_signed({}, {})", e(self, "i64"), e(self, "i64")),
            8 => format!("high32({}, {})", e(self, "i32"), e(self, "i32")),
            9 => format!("bytes({}, {}, {} & 0x7777)", e(self, "u32"), e(self, "u32"), e(self, "u32")),
            10 => format!("funnel({}, {}, {})", e(self, "u32"), e(self, "u32"), e(self, "u32")),
            11 => format!("funnel_right({}, {}, {})", e(self, "u32"), e(self, "u32"), e(self, "u32")),
            12 => format!("distance({}, {}, {})", e(self, "i32"), e(self, "i32"), e(self, "u32")),
            // Of 16 bits: nvcc 13.0 takes the square of 24 bits for positive.
            13 => format!("product24({}, {})", e(self, "i16"), e(self, "i16")),
            14 => format!("bytes_dot({}, {}, {})", e(self, "i32"), e(self, "i32"), e(self, "i32")),
            _ => format!("low_one({})", e(self, "u32")),
        };
        format!("({ty}){inner}")
    }

    fn assignment(&mut self) -> String {
        match self.r.below(16) {
            0 => format!("array[{} & 7] = {};", self.index(), self.expression("i64", 2)),
            1 => format!("words[{} & 15] = {};", self.index(), self.expression("u32", 2)),
            2 => format!("shorts[{} & 3] = {};", self.index(), self.expression("i16", 2)),
            3 => self.pick(&["s0 = s1;", "s1 = s0;", "n0.s = s0;", "s1 = n0.s;", "n1 = n0;", "n0 = n1;"]).into(),
            4 => format!("s0.a = {};", self.expression("i32", 2)),
            5 => format!("s1.e[{} % 3] = {};", self.index(), self.expression("u16", 2)),
            6 => format!("n0.b[{} % 5] = {};", self.index(), self.expression("i8", 2)),
            7 => format!("s1.d = {};", self.expression("f32", 2)),
            8 => format!("n0.c = {};", self.expression("f64", 2)),
            _ => {
                let (ty, name) = VARIABLES[self.r.below(VARIABLES.len())];
                format!("{name} = {};", self.expression(ty, 3))
            }
        }
    }

    fn block(&mut self, depth: u32, n: usize) -> String {
        (0..n).map(|_| self.statement(depth)).collect()
    }

    fn statement(&mut self, depth: u32) -> String {
        if depth == 0 {
            return self.assignment();
        }
        let n = 1 + self.r.below(3);
        match self.r.below(10) {
            0 | 1 => {
                let (c, yes, no) = (self.condition(2), self.block(depth - 1, n), self.block(depth - 1, 1));
                format!("if ({c}) {{ {yes} }} else {{ {no} }}\n")
            }
            2 | 3 if self.loops < 2 => {
                self.names += 1;
                let (i, times) = (format!("round{}", self.names), self.narrow(1));
                self.loops += 1;
                let body = self.block(depth - 1, n);
                self.loops -= 1;
                let leave = if self.r.below(2) == 0 { format!("if ({}) break;", self.condition(1)) } else { String::new() };
                format!("for (u32 {i} = 0; {i} < ((u32){times} & 7); {i}++) {{ {body} w1 += {i}; {leave} }}\n")
            }
            4 => {
                let by = self.narrow(2);
                let [a, b, c, e] = [(); 4].map(|_| self.block(depth - 1, 1));
                let through = self.pick(&["break;", "/* and on */"]);
                format!(
                    "switch ((u32){by} % 6) {{ case 0: {a} break; case 1: {b} {through} case 3: {c} break; default: {e} break; }}\n"
                )
            }
            5 => {
                let (a, b) = (self.expression("i32", 2), self.expression("u128", 1));
                format!("s0 = helper(s1, {a}, {b}); v5 ^= s0.a;\n")
            }
            _ => self.assignment() + "\n",
        }
    }
}

/// Program number `k`: a function that is called, and the function itself.
pub fn program(k: usize, r: &mut Draws) -> String {
    let mut p = Program { r, loops: 0, names: 0, divisions: 0 };
    let n = 4 + p.r.below(5);
    let body = p.block(2, n);
    let mut start = String::new();
    for (i, (ty, name)) in VARIABLES.iter().enumerate() {
        let word = format!("in[{}]", i % INPUTS);
        start += &match *ty {
            "f32" => format!("{ty} {name} = as_f32((u32){word}); "),
            "f64" => format!("{ty} {name} = as_f64({word}); "),
            "i128" | "u128" => format!("{ty} {name} = ({ty})((u128){word} << 64 | in[{}]); ", (i + 5) % INPUTS),
            _ => format!("{ty} {name} = ({ty}){word}; "),
        };
    }
    let mut end = String::new();
    let mut at = 0;
    for (ty, name) in VARIABLES {
        let words: &[String] = &match ty {
            "f32" | "f64" => vec![format!("bits_{ty}({name})")],
            "i128" | "u128" => vec![format!("(u64){name}"), format!("(u64)((u128){name} >> 64)")],
            _ => vec![format!("(u64){name}")],
        };
        for w in words {
            end += &format!("out[{at}] = {w}; ");
            at += 1;
        }
    }
    // No sums of products here: nvcc 13.0 makes a 32-bit `dp2a` of a 64-bit sum whose terms are narrow, which loses its carry.
    let rest = [
        "(u64)s0.a ^ (u64)s0.b << 24 ^ (u64)s0.c ^ bits_f32(s0.d) << 20 ^ (u64)s0.e[0] << 8 ^ (u64)s0.e[1] << 32 ^ (u64)s0.e[2] << 48",
        "(u64)s1.a ^ (u64)s1.b << 24 ^ (u64)s1.c ^ bits_f32(s1.d) << 20 ^ (u64)s1.e[0] << 8 ^ (u64)s1.e[1] << 32 ^ (u64)s1.e[2] << 48",
        "n0.a ^ (u64)n0.s.a << 20 ^ (u64)n0.b[0] << 7 ^ (u64)n0.b[4] << 33 ^ bits_f64(n0.c)",
        "n1.a ^ (u64)n1.s.c << 20 ^ (u64)n1.b[1] << 7 ^ (u64)n1.b[3] << 33 ^ bits_f64(n1.c)",
        "(u64)array[0] ^ (u64)array[7] << 3 ^ (u64)words[3] << 5 ^ (u64)words[15] << 30 ^ (u64)shorts[2] << 40",
    ];
    for w in rest {
        end += &format!("out[{at}] = {w}; ");
        at += 1;
    }
    assert!(at <= OUTPUTS, "{at} results");
    let inner = ["s.a + (i32)(s.b ^ x)", "(i32)((u32)s.a * 31 + (u32)x)", "x < s.a ? s.e[1] : (i32)s.c"][p.r.below(3)];
    let inner = inner.replace("s.a + ", "(i32)((u32)s.a + (u32)").replace("(s.b ^ x)", "(s.b ^ x))");
    format!(
        "APART S helper{k}(S s, i32 x, u128 y) {{ s.a = {inner}; s.b += (u8)x; s.c ^= (i64)(y >> 3); s.e[2] = (u16)y; return s; }}
#define helper helper{k}
FN void p{k}(const u64 *in, u64 *out)
{{
{start}
S s0 = {{v4, v1, v6, f0, {{v3, (u16)v5, 3}}}}, s1 = s0;
N n0 = {{v3, s0, {{v0, 1, 2, 3, 4}}, d0}}, n1 = n0;
i64 array[8]; u32 words[16]; i16 shorts[4];
for (int i = 0; i < 16; i++) {{ words[i] = v5 + i; array[i & 7] = v6 ^ i; shorts[i & 3] = (i16)(v2 ^ i); }}
{body}
{end}
}}
#undef helper
"
    )
}
