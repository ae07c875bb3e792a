//! Which bits of a result hold no value, from which bits of the operands do not. Exact where an instruction moves bits around
//! (`mov`, shifts, `bfe`, `prmt`, extensions) or combines bit by bit (`and`, `or`, `xor`, `lop3`); sums and the low half of
//! products hold values below the lowest bit that does not; of all other arithmetic any such bit spoils the whole result.
//!
//! Compilers rely on this: nvcc packs a register that nothing wrote into the upper half of 64 bits, and masks that half out later.

use super::alu::scalar;
use super::num::int::{bfe_s64, bfe_u64, bfi_b64};
use super::op::Code;

/// A value of one lane, and the bits of it that hold none. Narrow registers in the low half.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Partial {
    pub value: u64,
    pub undefined: u64,
}

impl Partial {
    /// The least and the greatest number that it may be, unsigned.
    fn range(self) -> (u64, u64) {
        (self.value & !self.undefined, self.value | self.undefined)
    }
}

/// What an instruction does to the bits of its operands.
enum Rule {
    /// Any undefined bit of an operand spoils the result.
    Spoils,
    /// Bits are moved, by this code on the bits of its first operands; the further ones say where to.
    Moves(Code, usize),
    /// Bit by bit, by a truth table of `lop3`.
    Logic(u32),
    /// A bit of the result depends on the operands' bits of this width, up to its own place.
    Carries(u32),
}

fn rule(code: Code) -> Rule {
    use Code::*;
    match code {
        Mov32 | Mov64 | Cvt32L | CvtU64U32 | CvtS64S32 | Brev32 | Brev64 | AbsF | AbsD | Sext8 | Sext16 | Sext8To16 | Zext8
        | Zext16 | Sext8L | Sext16L | Sext32L | Zext8L | Zext16L | Zext32L | Ext8S64 | Ext16S64 | Ext8U64 | Ext16U64 => {
            Rule::Moves(code, 1)
        }
        // An inverted bit is undefined where the bit is.
        Not32 | NegF => Rule::Moves(Mov32, 1),
        Not64 | NegD => Rule::Moves(Mov64, 1),
        Not16 => Rule::Moves(Zext16, 1),
        Shl32 | ShrU32 | ShrS32 | Shl64 | ShrU64 | ShrS64 | Shl16 | ShrU16 | ShrS16 | BfeU32 | BfeS32 => Rule::Moves(code, 1),
        Pack32x2 | CopySignF | CopySignD | Prmt | PrmtF4e | PrmtB4e | PrmtRc8 | PrmtEcl | PrmtEcr | PrmtRc16 | ShfLWrap
        | ShfLClamp | ShfRWrap | ShfRClamp => Rule::Moves(code, 2),
        And32 | And64 => Rule::Logic(0xf0 & 0xcc),
        Or32 | Or64 => Rule::Logic(0xf0 | 0xcc),
        Xor32 | Xor64 => Rule::Logic(0xf0 ^ 0xcc),
        Add32 | Sub32 | MulLo32 | MadLo32 | Neg32 | Add64 | Sub64 | MulLo64 | MadLo64 | Neg64 | MulWideU | MulWideS
        | MadWideU | MadWideS | MulWideU16 => Rule::Carries(64),
        Add16 | Sub16 | MulLo16 | MadLo16 | Neg16 | MulWideS16 => Rule::Carries(16),
        _ => Rule::Spoils,
    }
}

/// The undefined bits of the result of a code of the arithmetic tables; `n` operands. Bits above the result's width are of no
/// account.
pub(crate) fn result(code: Code, operands: &[Partial]) -> u64 {
    let any = operands.iter().fold(0, |u, p| u | p.undefined);
    if any == 0 {
        return 0;
    }
    let at = |i: usize| operands.get(i).copied().unwrap_or_default();
    match rule(code) {
        Rule::Spoils => !0,
        Rule::Moves(code, data) => {
            if operands[data..].iter().any(|p| p.undefined != 0) {
                return !0;
            }
            // Operands that say where to are values, the others are replaced by their undefined bits.
            let x = |i: usize| if i < data { at(i).undefined } else { at(i).value };
            scalar(code, x(0), x(1), x(2)).expect("a code of the tables")
        }
        Rule::Logic(table) => logic(table, [at(0), at(1), at(2)]),
        Rule::Carries(width) => from_lowest(any & (!0 >> (64 - width))),
    }
}

/// All bits from the lowest that is set.
pub(crate) fn from_lowest(u: u64) -> u64 {
    u | u.wrapping_neg()
}

/// `lop3`: a bit is undefined if the table gives both values for what the three bits may be.
pub(crate) fn logic(table: u32, x: [Partial; 3]) -> u64 {
    let (mut zero, mut one) = (0, 0);
    for i in 0..8 {
        let may = |x: Partial, bit: u32| x.undefined | if i >> bit & 1 == 1 { x.value } else { !x.value };
        let here = may(x[0], 2) & may(x[1], 1) & may(x[2], 0);
        if table >> i & 1 == 1 {
            one |= here;
        } else {
            zero |= here;
        }
    }
    zero & one
}

/// A selection by a predicate, which may hold no value itself.
pub(crate) fn selection(a: Partial, b: Partial, which: bool, known: bool) -> u64 {
    match (known, which) {
        (true, true) => a.undefined,
        (true, false) => b.undefined,
        (false, _) => a.undefined | b.undefined | a.value ^ b.value,
    }
}

/// Whether the outcome of an integer comparison depends on undefined bits. The relations are those of [`Code::SetpS32`];
/// `bits` is the width of the operands, `signed` whether they have a sign.
pub(crate) fn comparison(relation: u16, signed: bool, bits: u32, a: Partial, b: Partial) -> bool {
    let cut = !0 >> (64 - bits);
    let flip = if signed { 1u64 << (bits - 1) } else { 0 };
    let of = |p: Partial| Partial { value: (p.value ^ flip) & cut, undefined: p.undefined & cut };
    let (a, b) = (of(a), of(b));
    if a.undefined | b.undefined == 0 {
        return false;
    }
    let ((a_least, a_most), (b_least, b_most)) = (a.range(), b.range());
    match relation {
        // One bit that differs in any case decides.
        0 | 1 => (a.value ^ b.value) & !a.undefined & !b.undefined == 0,
        // a < b, or its opposite.
        2 | 5 => (a_most < b_least) != (a_least < b_most),
        // a <= b, or its opposite.
        _ => (a_most <= b_least) != (a_least <= b_most),
    }
}

/// `bfi`, narrow and wide: a field of `a` in `b`.
pub(crate) fn inserted(a: Partial, b: Partial, pos: Partial, len: Partial) -> u64 {
    if (pos.undefined | len.undefined) & 0xff != 0 {
        return !0;
    }
    bfi_b64(a.undefined, b.undefined, pos.value as u32, len.value as u32)
}

/// `bfe` of 64 bits.
pub(crate) fn extracted(a: Partial, pos: Partial, len: Partial, signed: bool) -> u64 {
    if (pos.undefined | len.undefined) & 0xff != 0 {
        return !0;
    }
    let f = if signed { bfe_s64 } else { bfe_u64 };
    f(a.undefined, pos.value as u32, len.value as u32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::num::int::lop3;
    use crate::op::{Bank, cold_table, hot_table};

    struct Draws(u64);

    impl Draws {
        fn word(&mut self) -> u64 {
            self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (self.0 ^ self.0 >> 31).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ self.0 >> 29
        }

        /// A number of a kind that bit fields, shifts and sums tell apart.
        fn number(&mut self) -> u64 {
            let x = self.word();
            match x >> 61 {
                0 => x & 63,
                1 => 0,
                2 => !0,
                3 => 1 << (x & 63),
                4 => !0 << (x & 63),
                5 => (x & 0xffff) * 0x1_0001_0001_0001,
                _ => x,
            }
        }

        fn partial(&mut self, bank: Bank) -> Partial {
            let cut = if bank == Bank::W { u32::MAX as u64 } else { !0 };
            let undefined = if self.word() >> 62 == 0 { 0 } else { self.number() };
            Partial { value: self.number() & cut, undefined: undefined & cut }
        }

        /// The value with other undefined bits.
        fn other(&mut self, p: Partial) -> u64 {
            p.value ^ self.word() & p.undefined
        }
    }

    fn codes() -> Vec<Code> {
        macro_rules! names {
            ($($shape:ident { $($name:ident |$($v:ident),*| $e:expr;)* })*) => { vec![$($(Code::$name,)*)*] };
        }
        let (mut all, cold): (Vec<Code>, Vec<Code>) = (hot_table!(names), cold_table!(names));
        all.extend(cold);
        all
    }

    /// No bit that counts as defined depends on an undefined one, for every code of the tables; and where bits are only moved or
    /// combined bit by bit, every other one does.
    #[test]
    fn defined_bits_stay_whatever_the_others_are() {
        let (mut r, mut exact, mut kept) = (Draws(1), 0, 0);
        for code in codes() {
            let shape = code.shape().expect("a code of the tables");
            let width = if shape.d == Bank::W { u32::MAX as u64 } else { !0 };
            for _ in 0..300 {
                let x: Vec<Partial> = shape.s.iter().map(|&b| r.partial(b)).collect();
                let u = result(code, &x) & width;
                let value = |of: &dyn Fn(usize) -> u64| {
                    let at = |i| if i < x.len() { of(i) } else { 0 };
                    scalar(code, at(0), at(1), at(2)).expect("a code of the tables") & width
                };
                let first = value(&|i| x[i].value);
                let mut seen = 0;
                for _ in 0..60 {
                    let y: Vec<u64> = x.iter().map(|&p| r.other(p)).collect();
                    seen |= first ^ value(&|i| y[i]);
                }
                assert_eq!(seen & !u, 0, "{code:?} {x:x?}: {u:#x} undefined, {seen:#x} depend on undefined bits");
                kept += (u != 0 && u != width) as u32;
                let moved = match rule(code) {
                    Rule::Moves(_, n) => x[n..].iter().all(|p| p.undefined == 0),
                    Rule::Logic(_) => true,
                    _ => false,
                };
                if moved {
                    assert_eq!(seen, u, "{code:?} {x:x?}: {u:#x} undefined");
                    exact += (u != 0) as u32;
                }
            }
        }
        assert!(exact > 3000 && kept > 3000, "{exact} exact, {kept} in part");
    }

    /// The same for what no table holds.
    #[test]
    fn logic_and_fields() {
        let mut r = Draws(2);
        for round in 0..20_000u32 {
            let x = [Bank::W; 3].map(|b| r.partial(b));
            let f = |x: [u64; 3]| lop3(x[0] as u32, x[1] as u32, x[2] as u32, round & 0xff) as u64;
            let (first, u) = (f(x.map(|p| p.value)), logic(round & 0xff, x));
            let seen = (0..100).fold(0, |s, _| s | first ^ f(x.map(|p| r.other(p))));
            assert_eq!(seen, u, "table {round:#x} of {x:x?}");

            let [a, b] = [Bank::L; 2].map(|b| r.partial(b));
            let known = |v| Partial { value: v, undefined: 0 };
            let (pos, len) = (r.word() & 0xff, r.word() & 0x7f);
            let insert = |a, b| bfi_b64(a, b, pos as u32, len as u32);
            let seen = (0..30).fold(0, |s, _| s | insert(a.value, b.value) ^ insert(r.other(a), r.other(b)));
            assert_eq!(seen, inserted(a, b, known(pos), known(len)));
            for signed in [false, true] {
                let take = |a| if signed { bfe_s64(a, pos as u32, len as u32) } else { bfe_u64(a, pos as u32, len as u32) };
                let seen = (0..30).fold(0, |s, _| s | take(a.value) ^ take(r.other(a)));
                assert_eq!(seen, extracted(a, known(pos), known(len), signed));
            }
            assert_eq!(inserted(known(1), known(2), Partial { value: 0, undefined: 4 }, known(1)), !0);
            assert_eq!(extracted(known(1), known(0), Partial { value: 0, undefined: 4 }, false), !0);
        }
    }

    /// Every pair of numbers of three bits, with every set of undefined bits.
    #[test]
    fn comparisons() {
        for n in 0..8u64.pow(4) {
            let [v, u, w, t] = [n & 7, n >> 3 & 7, n >> 6 & 7, n >> 9];
            let (a, b) = (Partial { value: v, undefined: u }, Partial { value: w, undefined: t });
            let all = |p: Partial| (0..8u64).filter(move |x| (x ^ p.value) & !p.undefined == 0);
            for (relation, signed) in (0..6).flat_map(|k| [(k, false), (k, true)]) {
                let number = |x: u64| if signed { (x as i64) << 61 >> 61 } else { x as i64 };
                let holds = |x: u64, y: u64| {
                    let o = number(x).cmp(&number(y));
                    [o.is_eq(), o.is_ne(), o.is_lt(), o.is_le(), o.is_gt(), o.is_ge()][relation as usize]
                };
                let open = all(a).flat_map(|x| all(b).map(move |y| (x, y))).any(|(x, y)| holds(x, y) != holds(v, w));
                assert_eq!(comparison(relation, signed, 3, a, b), open, "{a:?} {b:?}, relation {relation}, signed {signed}");
            }
        }
    }
}
