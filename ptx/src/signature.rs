//! What the parameters of a kernel are: from their declarations, and from what the kernel does with them.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::source::{Function, Instr, Operand, RegType, Source, Var, type_size};

/// What a parameter is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Declared with `.ptr`.
    Pointer,
    /// A number by its declaration, used as an address.
    UsedAsPointer,
    Integer,
    Float,
    /// A struct by value (`.b8 name[24]`); the offsets of fields that are used as addresses.
    Struct {
        pointers: Vec<u32>,
    },
}

/// Part of a parameter: its number and an offset.
pub(crate) type Part = (usize, u32);

/// What a function does with the memory that a part of a parameter points to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Use {
    pub read: bool,
    pub written: bool,
    /// Read and written at once.
    pub atomic: bool,
    /// The type of the accesses, as written (`.f32`): of several the last in the text.
    pub ty: Option<String>,
}

/// The parts of a function's parameters that the function uses as addresses of global or generic memory.
pub(crate) fn uses(source: &Source, function: usize) -> BTreeMap<Part, Use> {
    addresses(source, function, &mut Vec::new())
}

/// The kind of each parameter of a function.
pub(crate) fn kinds(source: &Source, function: usize) -> Vec<Kind> {
    let f = &source.functions[function];
    let used = uses(source, function);
    let kind = |(i, p): (usize, &Var)| {
        if p.pointer {
            return Kind::Pointer;
        }
        let element = match p.ty.as_str() {
            ".b8" | ".u8" | ".s8" => 1,
            t => type_size(t).unwrap_or(1),
        };
        if p.size > element {
            let pointers: Vec<u32> = used.keys().filter(|u| u.0 == i).map(|u| u.1).collect();
            return Kind::Struct { pointers };
        }
        if p.size == 8 && used.contains_key(&(i, 0)) {
            return Kind::UsedAsPointer;
        }
        let float = |t: &str| matches!(t, ".f16" | ".bf16" | ".f32" | ".f64");
        let bits = matches!(p.ty.as_str(), ".b16" | ".b32" | ".b64");
        if float(&p.ty) || bits && loads(f, i).any(|o| float(&o[o.rfind('.').unwrap_or(0)..])) {
            Kind::Float
        } else {
            Kind::Integer
        }
    };
    f.params.iter().enumerate().map(kind).collect()
}

/// The opcodes that load a parameter.
fn loads(f: &Function, param: usize) -> impl Iterator<Item = &str> {
    let of = move |i: &&Instr| matches!(formal(i.operands.get(1)), Some((p, _)) if p == param);
    f.body.iter().filter(|i| i.opcode.starts_with("ld.param")).filter(of).map(|i| i.opcode.as_str())
}

/// `[param + offset]`
fn formal(o: Option<&Operand>) -> Option<(usize, u32)> {
    match o? {
        Operand::Address(base, at) => match **base {
            Operand::Formal(false, i) => Some((i as usize, u32::try_from(*at).ok()?)),
            _ => None,
        },
        _ => None,
    }
}

/// [`uses`]. Values are followed through copies, conversions of address spaces, sums, selections and calls.
fn addresses(source: &Source, function: usize, calls: &mut Vec<usize>) -> BTreeMap<Part, Use> {
    let f = &source.functions[function];
    let mut used = BTreeMap::new();
    // A recursive call adds nothing; a deep one is not followed.
    if calls.contains(&function) || calls.len() > 8 {
        return used;
    }
    calls.push(function);
    let mut from: HashMap<u32, HashSet<Part>> = HashMap::new();
    // Parameters in registers.
    for (i, p) in f.params.iter().enumerate() {
        if let Some(&r) = p.regs.first() {
            from.insert(r, HashSet::from([(i, 0)]));
        }
    }
    // Parameters of calls, by variable.
    let mut passed: HashMap<u32, HashSet<Part>> = HashMap::new();
    let mut callees: HashMap<usize, BTreeMap<Part, Use>> = HashMap::new();
    for _ in 0..8 {
        let before = (from.values().map(HashSet::len).sum::<usize>(), used.len(), passed.len());
        for i in &f.body {
            step(f, i, &mut from, &mut passed, &mut used);
            if i.opcode.starts_with("call") {
                let Some((callee, args)) = call(source, i) else { continue };
                let theirs = callees.entry(callee).or_insert_with(|| addresses(source, callee, calls));
                for (k, v) in args.iter().enumerate() {
                    let parts = match v {
                        Operand::Local(v) => passed.get(v),
                        Operand::Reg(r) => from.get(r),
                        _ => None,
                    };
                    if let Some(u) = theirs.get(&(k, 0))
                        && let Some(parts) = parts
                    {
                        parts.iter().for_each(|&p| merge(used.entry(p).or_default(), u));
                    }
                }
            }
        }
        if before == (from.values().map(HashSet::len).sum::<usize>(), used.len(), passed.len()) {
            break;
        }
    }
    calls.pop();
    used
}

/// The function that a call names, and its arguments.
fn call<'a>(source: &Source, i: &'a Instr) -> Option<(usize, &'a [Operand])> {
    let at = i.operands.iter().position(|o| matches!(o, Operand::Name(_)))?;
    let Operand::Name(name) = &i.operands[at] else { return None };
    let callee = source.function(name).filter(|&f| source.functions[f as usize].has_body)? as usize;
    match i.operands.get(at + 1) {
        Some(Operand::List(args)) => Some((callee, args)),
        _ => None,
    }
}

fn merge(to: &mut Use, from: &Use) {
    to.read |= from.read;
    to.written |= from.written;
    to.atomic |= from.atomic;
    to.ty = from.ty.clone().or(to.ty.take());
}

fn step(
    f: &Function,
    i: &Instr,
    from: &mut HashMap<u32, HashSet<Part>>,
    passed: &mut HashMap<u32, HashSet<Part>>,
    used: &mut BTreeMap<Part, Use>,
) {
    let wide = |r: u32| f.regs.get(r as usize) == Some(&RegType::B64);
    let (op, space) =
        (i.opcode.split('.').next().unwrap_or(""), |s: &str| i.opcode.split('.').any(|w| w.split("::").next() == Some(s)));
    match (op, i.operands.as_slice()) {
        ("ld", [d, a]) if space("param") => {
            if let Some((p, at)) = formal(Some(a)) {
                let list = if let Operand::Vector(list) = d { list.as_slice() } else { std::slice::from_ref(d) };
                for (k, r) in list.iter().enumerate() {
                    if let Operand::Reg(r) = r
                        && wide(*r)
                    {
                        from.entry(*r).or_default().insert((p, at + 8 * k as u32));
                    }
                }
            }
        }
        ("st", [Operand::Address(base, 0), Operand::Reg(r)]) if space("param") => {
            if let (Operand::Local(v), Some(parts)) = (&**base, from.get(r)) {
                passed.entry(*v).or_default().extend(parts);
            }
        }
        ("mov" | "cvta" | "cvt" | "add" | "sub" | "mad" | "selp" | "or" | "and", [Operand::Reg(d), rest @ ..]) if wide(*d) => {
            // The address of a product and a sum is its last operand; the factors are numbers.
            let rest = if op == "mad" { &rest[rest.len().min(2)..] } else { rest };
            let parts = |o: &Operand| if let Operand::Reg(r) = o { from.get(r).cloned() } else { None };
            let mut sides: Vec<HashSet<Part>> = rest.iter().filter_map(parts).collect();
            // Of a pointer and a number the sum is the pointer's.
            if sides.iter().any(|s| s.iter().all(|p| used.contains_key(p))) && op != "selp" {
                sides.retain(|s| s.iter().all(|p| used.contains_key(p)));
            }
            // Only addresses are moved between spaces.
            if op == "cvta" && (space("global") || space("const")) {
                for &p in sides.iter().flatten() {
                    used.entry(p).or_default();
                }
            }
            if !sides.is_empty() {
                from.entry(*d).or_default().extend(sides.into_iter().flatten());
            }
        }
        ("ld" | "st" | "atom" | "red" | "ldu" | "prefetch" | "prefetchu" | "cp" | "wmma", list) => {
            if space("shared") && op != "cp" || space("local") || space("param") {
                return;
            }
            for o in list {
                if let Operand::Address(base, _) = o
                    && let Operand::Reg(r) = **base
                    && let Some(parts) = from.get(&r)
                {
                    // The first operand of a store is an address, as is that of a copy to shared memory.
                    let store = op == "st" || op == "wmma" && space("store");
                    let (read, written) = (!store && op != "prefetch", store || matches!(op, "red" | "atom"));
                    let ty = i.opcode.rfind('.').map(|at| i.opcode[at..].to_string()).filter(|t| type_size(t).is_some());
                    let u = Use { read, written, atomic: matches!(op, "atom" | "red"), ty };
                    parts.iter().for_each(|&p| merge(used.entry(p).or_default(), &u));
                }
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse::parse;

    fn parsed(text: &str) -> (Source, usize) {
        let source = parse("test.ptx", &format!(".version 8.0\n.target sm_80\n.address_size 64\n{text}")).unwrap();
        let entry = source.functions.iter().position(|f| f.entry).unwrap();
        (source, entry)
    }

    fn of(text: &str) -> Vec<Kind> {
        let (source, entry) = parsed(text);
        kinds(&source, entry)
    }

    #[test]
    fn what_is_read_and_written() {
        let (source, entry) = parsed(
            ".func f(.param .b64 p) { .reg .b64 %rd<3>; .reg .b32 %r; ld.param.u64 %rd1, [p]; atom.add.u32 %r, [%rd1], 1; ret; }
            .visible .entry k(.param .u64 x, .param .u64 y, .param .u64 z) { .reg .b64 %rd<4>; .reg .f32 %f;
            ld.param.u64 %rd1, [x]; ld.param.u64 %rd2, [y]; ld.param.u64 %rd3, [z];
            ld.global.nc.f32 %f, [%rd1]; st.global.f32 [%rd2], %f;
            { .param .b64 a; st.param.b64 [a], %rd3; call.uni f, (a); } ret; }",
        );
        let found: Vec<_> = uses(&source, entry).into_iter().map(|(p, u)| (p.0, u.read, u.written, u.ty.unwrap())).collect();
        let row = |i, read, written, ty: &str| (i, read, written, ty.to_string());
        assert_eq!(found, [row(0, true, false, ".f32"), row(1, false, true, ".f32"), row(2, true, true, ".u32")]);
    }

    #[test]
    fn from_declarations_and_use() {
        let found = of(
            ".visible .entry k(.param .u64 .ptr .global .align 4 a, .param .u64 b, .param .u64 n, .param .f32 s, .param .b32 t,
                .param .align 8 .b8 z[24], .param .u32 m) {
            .reg .b64 %rd<12>; .reg .f32 %f<4>; .reg .b32 %r<4>;
            ld.param.u64 %rd1, [b]; ld.param.u64 %rd2, [n]; ld.param.f32 %f1, [t];
            cvta.to.global.u64 %rd3, %rd1;
            add.s64 %rd4, %rd3, %rd2;
            ld.global.f32 %f2, [%rd4];
            ld.param.v2.u64 {%rd5, %rd6}, [z];
            ld.param.u64 %rd9, [z+16];
            mad.lo.s64 %rd7, %rd9, 4, %rd6;
            st.f32 [%rd7+4], %f2;
            ret; }",
        );
        let z = Kind::Struct { pointers: vec![8] };
        let want = [Kind::Pointer, Kind::UsedAsPointer, Kind::Integer, Kind::Float, Kind::Float, z, Kind::Integer];
        assert_eq!(found, want);
    }

    #[test]
    fn through_calls() {
        let text = |body: &str| {
            format!(
                ".func f(.param .b64 p, .param .b64 q) {{ .reg .b64 %rd<3>; .reg .b32 %r;
                ld.param.u64 %rd1, [q]; {body} ret; }}
            .visible .entry k(.param .u64 x, .param .u64 y) {{ .reg .b64 %rd<3>;
                ld.param.u64 %rd1, [x]; ld.param.u64 %rd2, [y];
                {{ .param .b64 a; .param .b64 b; st.param.b64 [a], %rd1; st.param.b64 [b], %rd2; call.uni f, (a, b); }} ret; }}"
            )
        };
        assert_eq!(of(&text("ld.u32 %r, [%rd1];")), [Kind::Integer, Kind::UsedAsPointer]);
        assert_eq!(of(&text("call.uni f, (p, q);")), [Kind::Integer, Kind::Integer]);
        let registers = ".func f(.reg .b64 p) { .reg .b32 %r; ld.u32 %r, [p]; ret; }
            .visible .entry k(.param .u64 x) { .reg .b64 %rd; ld.param.u64 %rd, [x]; call f, (%rd); ret; }";
        assert_eq!(of(registers), [Kind::UsedAsPointer]);
    }
}
