//! Video instructions: integer arithmetic on selected bytes and halves, alone (`vadd`) or side by side (`vadd2`, `vadd4`).

/// What is computed of two operands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Operation {
    Add,
    Sub,
    AbsDiff,
    Min,
    Max,
    Average,
    /// Shifts; the count is taken modulo 32, or as 32 where it is larger.
    Shl {
        wrap: bool,
    },
    Shr {
        wrap: bool,
    },
    Set(Relation),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Relation {
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
}

impl Operation {
    /// A shift takes 33 bits up by 32.
    fn of(self, a: i64, b: i64) -> i128 {
        let (a, b) = (a as i128, b as i128);
        let count = |wrap: bool| if wrap { b & 31 } else { b.clamp(0, 32) };
        match self {
            Operation::Add => a + b,
            Operation::Sub => a - b,
            Operation::AbsDiff => (a - b).abs(),
            Operation::Min => a.min(b),
            Operation::Max => a.max(b),
            // Half is rounded away from zero.
            Operation::Average => (a + b + (a + b >= 0) as i128) >> 1,
            Operation::Shl { wrap } => a << count(wrap),
            Operation::Shr { wrap } => a >> count(wrap),
            Operation::Set(r) => match r {
                Relation::Eq => (a == b) as i128,
                Relation::Ne => (a != b) as i128,
                Relation::Lt => (a < b) as i128,
                Relation::Le => (a <= b) as i128,
                Relation::Gt => (a > b) as i128,
                Relation::Ge => (a >= b) as i128,
            },
        }
    }
}

/// A part of a register, as bits: where it begins and how many.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Part {
    pub shift: u32,
    pub bits: u32,
}

impl Part {
    pub const WHOLE: Part = Part { shift: 0, bits: 32 };

    fn mask(self) -> u32 {
        (!0u32 >> (32 - self.bits)) << self.shift
    }
}

/// The lowest `bits` of x as a number.
fn extend(x: u64, bits: u32, signed: bool) -> i64 {
    let up = 64 - bits;
    if signed { ((x << up) as i64) >> up } else { (x << up >> up) as i64 }
}

fn saturate(x: i128, bits: u32, signed: bool) -> i128 {
    if signed { x.clamp(-1 << (bits - 1), (1 << (bits - 1)) - 1) } else { x.clamp(0, (1 << bits) - 1) }
}

/// What is done with the third operand.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Third {
    None,
    Add,
    Min,
    Max,
    /// The result replaces a part of it.
    Merge(Part),
}

/// `vadd` and its kin. Signedness of the result and of both sources.
#[derive(Clone, Copy, Debug)]
pub struct Scalar {
    pub operation: Operation,
    pub signed: [bool; 3],
    pub parts: [Part; 2],
    pub saturate: bool,
    pub third: Third,
}

impl Scalar {
    pub fn of(&self, a: u32, b: u32, c: u32) -> u32 {
        let [sd, sa, sb] = self.signed;
        let take = |x: u32, p: Part, signed: bool| extend((x >> p.shift) as u64, p.bits, signed);
        let mut t = self.operation.of(take(a, self.parts[0], sa), take(b, self.parts[1], sb));
        if self.saturate {
            let bits = if let Third::Merge(p) = self.third { p.bits } else { 32 };
            t = saturate(t, bits, sd);
        }
        let (narrow, third) = (extend(t as u64, 32, sd), extend(c as u64, 32, sd));
        match self.third {
            Third::None => t as u32,
            Third::Add => (t as u32).wrapping_add(c),
            Third::Min => narrow.min(third) as u32,
            Third::Max => narrow.max(third) as u32,
            Third::Merge(p) => c & !p.mask() | (t as u32) << p.shift & p.mask(),
        }
    }
}

/// `vmad`: a·b + c, one more with `plus_one`, shifted.
#[derive(Clone, Copy, Debug)]
pub struct Mad {
    pub signed: [bool; 3],
    pub parts: [Part; 2],
    pub saturate: bool,
    pub plus_one: bool,
    pub shift: u32,
}

impl Mad {
    pub fn of(&self, a: u32, b: u32, c: u32) -> u32 {
        let [_, sa, sb] = self.signed;
        let signed = sa || sb;
        let take = |x: u32, p: Part, signed: bool| extend((x >> p.shift) as u64, p.bits, signed) as i128;
        let product = take(a, self.parts[0], sa) * take(b, self.parts[1], sb);
        let t = (product + extend(c as u64, 32, signed) as i128 + self.plus_one as i128) >> self.shift;
        let limit = |lo: i64, hi: i64| t.clamp(lo as i128, hi as i128) as u32;
        match (self.saturate, signed) {
            (false, _) => t as u32,
            (_, true) => limit(i32::MIN as i64, i32::MAX as i64),
            _ => limit(0, u32::MAX as i64),
        }
    }
}

/// `vadd2`, `vadd4` and their kin: lanes of 16 or 8 bits.
#[derive(Clone, Copy, Debug)]
pub struct Simd {
    pub operation: Operation,
    pub signed: [bool; 3],
    /// Bits of a lane.
    pub bits: u32,
    /// For each lane, lowest first: which lane of the pair (a, b) each operand takes.
    pub select: [[u8; 4]; 2],
    /// The lanes that are computed; the others are c's.
    pub mask: u32,
    pub saturate: bool,
    /// The lanes are added up, and c.
    pub add: bool,
}

impl Simd {
    pub fn of(&self, a: u32, b: u32, c: u32) -> u32 {
        let pair = (b as u64) << 32 | a as u64;
        let [sd, sa, sb] = self.signed;
        let mut out = c;
        for lane in (0..32 / self.bits).filter(|l| self.mask >> l & 1 == 1) {
            let take = |k: usize, signed| extend(pair >> (self.bits * self.select[k][lane as usize] as u32), self.bits, signed);
            let mut t = self.operation.of(take(0, sa), take(1, sb));
            if self.saturate {
                t = saturate(t, self.bits, sd);
            }
            if self.add {
                out = out.wrapping_add(t as u32);
            } else {
                let p = Part { shift: lane * self.bits, bits: self.bits };
                out = out & !p.mask() | (t as u32) << p.shift & p.mask();
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_like_the_simd_intrinsics() {
        let four = |operation, saturate, add| Simd {
            operation,
            signed: [false; 3],
            bits: 8,
            select: [[0, 1, 2, 3], [4, 5, 6, 7]],
            mask: 15,
            saturate,
            add,
        };
        let (a, b) = (0x01ff_8040, 0x0201_90c0);
        assert_eq!(four(Operation::Add, true, false).of(a, b, 0), 0x03ff_ffff);
        assert_eq!(four(Operation::Add, false, false).of(a, b, 0), 0x0300_1000);
        assert_eq!(four(Operation::AbsDiff, false, true).of(a, b, 10), 1 + 0xfe + 0x10 + 0x80 + 10);
        assert_eq!(four(Operation::Average, false, false).of(a, b, 0), 0x0280_8880);
        assert_eq!(four(Operation::Set(Relation::Lt), false, false).of(a, b, 0), 0x0100_0101);
    }
}
