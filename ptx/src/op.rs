//! Micro-ops: what a kernel is decoded into. One [`Op`] is 24 bytes; its [`Code`] fixes type, rounding and operand banks, so that
//! the run loop decides nothing but which arm to take.
//!
//! Arithmetic is written once, in the two tables below, as scalar expressions over bits; the run loop applies them to 32 lanes.
//! A section's name gives the shape, result first: `w` is a 32-bit register (8- and 16-bit values lie in one, zero-extended),
//! `l` a 64-bit one. Codes of the hot table are compiled for every instruction set, those of the cold table once.

use super::lanes::{Lanes32, Lanes64};
use super::num::approx::Approx;
use super::num::mma::Element;
use super::num::product::Product;
use super::source::Space;

#[derive(Clone, Copy, Debug)]
pub(crate) struct Op {
    pub code: Code,
    /// Guard predicate; register 0 is always true.
    pub pred: u16,
    /// All ones if the guard is negated.
    pub neg: u32,
    pub d: u16,
    pub a: u16,
    pub b: u16,
    pub c: u16,
    /// What the code leaves open: the relation of a comparison, flags, an index into a table of the program, or one more
    /// register.
    pub x: u16,
    pub imm: i32,
}

/// A register bank.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Bank {
    W,
    L,
    P,
}

/// Result and source banks of an arithmetic code.
pub(crate) struct Shape {
    pub d: Bank,
    pub s: &'static [Bank],
}

/// Calls `$m!` with the table of the run loop's own codes.
macro_rules! hot_table {
    ($m:ident) => {
        $m! {
            w_w {
                Mov32 |a| a;
                Not32 |a| !a;
                Neg32 |a| a.wrapping_neg();
                Abs32 |a| (a as i32).wrapping_abs() as u32;
                NegF |a| a ^ 0x8000_0000;
                AbsF |a| a & 0x7fff_ffff;
                CvtFS |a| (a as i32 as f32).to_bits();
                CvtFU |a| (a as f32).to_bits();
                SqrtF |a| bits(f(a).sqrt());
                RcpF |a| bits(1.0 / f(a));
                Tf32Rna |a| tf32_rna(a);
            }
            w_ww {
                Add32 |a, b| a.wrapping_add(b);
                Sub32 |a, b| a.wrapping_sub(b);
                MulLo32 |a, b| a.wrapping_mul(b);
                MulHiS32 |a, b| ((a as i32 as i64 * b as i32 as i64) >> 32) as u32;
                MulHiU32 |a, b| ((a as u64 * b as u64) >> 32) as u32;
                And32 |a, b| a & b;
                Or32 |a, b| a | b;
                Xor32 |a, b| a ^ b;
                Shl32 |a, b| if b < 32 { a << (b & 31) } else { 0 };
                ShrU32 |a, b| if b < 32 { a >> (b & 31) } else { 0 };
                ShrS32 |a, b| ((a as i32) >> if b < 32 { b } else { 31 }) as u32;
                MinS32 |a, b| (a as i32).min(b as i32) as u32;
                MaxS32 |a, b| (a as i32).max(b as i32) as u32;
                MinU32 |a, b| a.min(b);
                MaxU32 |a, b| a.max(b);
                AddF |a, b| bits(f(a) + f(b));
                SubF |a, b| bits(f(a) - f(b));
                MulF |a, b| bits(f(a) * f(b));
                DivF |a, b| bits(f(a) / f(b));
                MinF |a, b| min_f32(a, b, false);
                MaxF |a, b| max_f32(a, b, false);
            }
            w_www {
                MadLo32 |a, b, c| a.wrapping_mul(b).wrapping_add(c);
                FmaF |a, b, c| bits(f(a).mul_add(f(b), f(c)));
            }
            l_l {
                Mov64 |a| a;
                Neg64 |a| a.wrapping_neg();
                Not64 |a| !a;
            }
            l_ll {
                Add64 |a, b| a.wrapping_add(b);
                Sub64 |a, b| a.wrapping_sub(b);
                MulLo64 |a, b| a.wrapping_mul(b);
                And64 |a, b| a & b;
                Or64 |a, b| a | b;
                Xor64 |a, b| a ^ b;
            }
            l_lll {
                MadLo64 |a, b, c| a.wrapping_mul(b).wrapping_add(c);
            }
            l_lw {
                Shl64 |a, b| if b < 64 { a << (b & 63) } else { 0 };
                ShrU64 |a, b| if b < 64 { a >> (b & 63) } else { 0 };
                ShrS64 |a, b| ((a as i64) >> if b < 64 { b } else { 63 }) as u64;
            }
            l_w {
                CvtS64S32 |a| a as i32 as i64 as u64;
                CvtU64U32 |a| a as u64;
            }
            w_l {
                Cvt32L |a| a as u32;
            }
            l_ww {
                MulWideS |a, b| (a as i32 as i64 * b as i32 as i64) as u64;
                MulWideU |a, b| a as u64 * b as u64;
            }
            l_wwl {
                MadWideS |a, b, c| (a as i32 as i64 * b as i32 as i64).wrapping_add(c as i64) as u64;
                MadWideU |a, b, c| (a as u64 * b as u64).wrapping_add(c);
            }
        }
    };
}

/// Calls `$m!` with the table of the codes that are not worth three copies.
macro_rules! cold_table {
    ($m:ident $($before:tt)*) => {
        $m! {
            $($before)*
            w_w {
                Cnot32 |a| (a == 0) as u32;
                Clz32 |a| a.leading_zeros();
                Popc32 |a| a.count_ones();
                Brev32 |a| a.reverse_bits();
                BfindU32 |a| bfind_u32(a, false);
                BfindS32 |a| bfind_s32(a, false);
                BfindShiftU32 |a| bfind_u32(a, true);
                BfindShiftS32 |a| bfind_s32(a, true);
                Not16 |a| !a & 0xffff;
                Cnot16 |a| (a & 0xffff == 0) as u32;
                Neg16 |a| a.wrapping_neg() & 0xffff;
                Abs16 |a| (a as u16 as i16).wrapping_abs() as u16 as u32;
                Sext8 |a| a as u8 as i8 as i32 as u32;
                Sext16 |a| a as u16 as i16 as i32 as u32;
                Zext8 |a| a & 0xff;
                Zext16 |a| a & 0xffff;
                Sext8To16 |a| a as u8 as i8 as i16 as u16 as u32;
                FtzF |a| ftz(a);
                AbsFtz |a| ftz(a) & 0x7fff_ffff;
            }
            w_ww {
                DivS32 |a, b| div_s32(a, b);
                DivU32 |a, b| div_u32(a, b);
                RemS32 |a, b| rem_s32(a, b);
                RemU32 |a, b| rem_u32(a, b);
                Mul24LoS |a, b| s24(a).wrapping_mul(s24(b)) as u32;
                Mul24LoU |a, b| (a & 0xff_ffff).wrapping_mul(b & 0xff_ffff);
                AddSatS32 |a, b| (a as i32).saturating_add(b as i32) as u32;
                SubSatS32 |a, b| (a as i32).saturating_sub(b as i32) as u32;
                Add16 |a, b| a.wrapping_add(b) & 0xffff;
                Sub16 |a, b| a.wrapping_sub(b) & 0xffff;
                MulLo16 |a, b| a.wrapping_mul(b) & 0xffff;
                MulHiS16 |a, b| ((s16(a) * s16(b)) >> 16) as u32 & 0xffff;
                MulHiU16 |a, b| a.wrapping_mul(b) >> 16;
                MulWideS16 |a, b| (s16(a) * s16(b)) as u32;
                MulWideU16 |a, b| a.wrapping_mul(b);
                DivS16 |a, b| if b & 0xffff == 0 { 0xffff } else { s16(a).wrapping_div(s16(b)) as u32 & 0xffff };
                RemS16 |a, b| if b & 0xffff == 0 { a } else { s16(a).wrapping_rem(s16(b)) as u32 & 0xffff };
                DivU16 |a, b| a.checked_div(b).unwrap_or(0xffff);
                Shl16 |a, b| if b < 16 { (a << b) & 0xffff } else { 0 };
                ShrU16 |a, b| if b < 16 { a >> b } else { 0 };
                ShrS16 |a, b| (s16(a) >> b.min(15)) as u32 & 0xffff;
                MinS16 |a, b| s16(a).min(s16(b)) as u32 & 0xffff;
                MaxS16 |a, b| s16(a).max(s16(b)) as u32 & 0xffff;
                AddFtz |a, b| ftz(bits(f(ftz(a)) + f(ftz(b))));
                SubFtz |a, b| ftz(bits(f(ftz(a)) - f(ftz(b))));
                MulFtz |a, b| ftz(bits(f(ftz(a)) * f(ftz(b))));
                MinFtz |a, b| min_f32(ftz(a), ftz(b), false);
                MaxFtz |a, b| max_f32(ftz(a), ftz(b), false);
                MinNanF |a, b| min_f32(a, b, true);
                MaxNanF |a, b| max_f32(a, b, true);
                CopySignF |a, b| copysign(a, b);
            }
            w_www {
                MadHiS32 |a, b, c| (((a as i32 as i64 * b as i32 as i64) >> 32) as u32).wrapping_add(c);
                MadHiU32 |a, b, c| (((a as u64 * b as u64) >> 32) as u32).wrapping_add(c);
                Mad24LoS |a, b, c| (s24(a).wrapping_mul(s24(b)) as u32).wrapping_add(c);
                Mad24LoU |a, b, c| (a & 0xff_ffff).wrapping_mul(b & 0xff_ffff).wrapping_add(c);
                MadLo16 |a, b, c| a.wrapping_mul(b).wrapping_add(c) & 0xffff;
                MadWideS16 |a, b, c| ((s16(a) * s16(b)) as u32).wrapping_add(c);
                MadWideU16 |a, b, c| a.wrapping_mul(b).wrapping_add(c);
                SadS32 |a, b, c| sad_s32(a, b, c);
                SadU32 |a, b, c| sad_u32(a, b, c);
                BfeU32 |a, b, c| bfe_u32(a, b, c);
                BfeS32 |a, b, c| bfe_s32(a, b, c);
                Prmt |a, b, c| prmt(a, b, c, Permute::Index);
                PrmtF4e |a, b, c| prmt(a, b, c, Permute::F4e);
                PrmtB4e |a, b, c| prmt(a, b, c, Permute::B4e);
                PrmtRc8 |a, b, c| prmt(a, b, c, Permute::Rc8);
                PrmtEcl |a, b, c| prmt(a, b, c, Permute::Ecl);
                PrmtEcr |a, b, c| prmt(a, b, c, Permute::Ecr);
                PrmtRc16 |a, b, c| prmt(a, b, c, Permute::Rc16);
                Dp2aLoSS |a, b, c| dp2a(a, b, c, true, true, false);
                Dp2aLoSU |a, b, c| dp2a(a, b, c, true, false, false);
                Dp2aLoUS |a, b, c| dp2a(a, b, c, false, true, false);
                Dp2aLoUU |a, b, c| dp2a(a, b, c, false, false, false);
                Dp2aHiSS |a, b, c| dp2a(a, b, c, true, true, true);
                Dp2aHiSU |a, b, c| dp2a(a, b, c, true, false, true);
                Dp2aHiUS |a, b, c| dp2a(a, b, c, false, true, true);
                Dp2aHiUU |a, b, c| dp2a(a, b, c, false, false, true);
                ShfLWrap |a, b, c| shf_l(a, b, c, true);
                ShfLClamp |a, b, c| shf_l(a, b, c, false);
                ShfRWrap |a, b, c| shf_r(a, b, c, true);
                ShfRClamp |a, b, c| shf_r(a, b, c, false);
                Dp4aSS |a, b, c| dp4a(a, b, c, true, true);
                Dp4aSU |a, b, c| dp4a(a, b, c, true, false);
                Dp4aUS |a, b, c| dp4a(a, b, c, false, true);
                Dp4aUU |a, b, c| dp4a(a, b, c, false, false);
                FmaFtz |a, b, c| ftz(bits(f(ftz(a)).mul_add(f(ftz(b)), f(ftz(c)))));
            }
            l_l {
                Abs64 |a| (a as i64).wrapping_abs() as u64;
                Cnot64 |a| (a == 0) as u64;
                Brev64 |a| a.reverse_bits();
                NegD |a| a ^ 1 << 63;
                AbsD |a| a & !(1 << 63);
                SqrtD |a| dbits(d(a).sqrt());
                RcpD |a| dbits(1.0 / d(a));
                Sext8L |a| a as u8 as i8 as i64 as u64;
                Sext16L |a| a as u16 as i16 as i64 as u64;
                Sext32L |a| a as u32 as i32 as i64 as u64;
                Zext8L |a| a & 0xff;
                Zext16L |a| a & 0xffff;
                Zext32L |a| a & 0xffff_ffff;
            }
            l_ll {
                MulHiS64 |a, b| ((a as i64 as i128 * b as i64 as i128) >> 64) as u64;
                MulHiU64 |a, b| ((a as u128 * b as u128) >> 64) as u64;
                DivS64 |a, b| div_s64(a, b);
                DivU64 |a, b| div_u64(a, b);
                RemS64 |a, b| rem_s64(a, b);
                RemU64 |a, b| rem_u64(a, b);
                MinS64 |a, b| (a as i64).min(b as i64) as u64;
                MaxS64 |a, b| (a as i64).max(b as i64) as u64;
                MinU64 |a, b| a.min(b);
                MaxU64 |a, b| a.max(b);
                AddD |a, b| dbits(d(a) + d(b));
                SubD |a, b| dbits(d(a) - d(b));
                MulD |a, b| dbits(d(a) * d(b));
                DivD |a, b| dbits(d(a) / d(b));
                MinD |a, b| min64(a, b, false);
                MaxD |a, b| max64(a, b, false);
                CopySignD |a, b| (b & !(1 << 63)) | (a & 1 << 63);
            }
            l_lll {
                FmaD |a, b, c| dbits(d(a).mul_add(d(b), d(c)));
            }
            l_lw { }
            l_w {
                Ext8S64 |a| a as u8 as i8 as i64 as u64;
                Ext16S64 |a| a as u16 as i16 as i64 as u64;
                Ext8U64 |a| a as u8 as u64;
                Ext16U64 |a| a as u16 as u64;
                CvtDS |a| (a as i32 as f64).to_bits();
                CvtDU |a| (a as f64).to_bits();
            }
            w_l {
                Clz64 |a| a.leading_zeros();
                Popc64 |a| a.count_ones();
                BfindU64 |a| bfind_u64(a, false);
                BfindShiftU64 |a| bfind_u64(a, true);
                BfindS64 |a| bfind_s64(a, false);
                BfindShiftS64 |a| bfind_s64(a, true);
            }
            l_ww {
                Pack32x2 |a, b| (b as u64) << 32 | a as u64;
            }
            l_wwl { }
        }
    };
}

macro_rules! shape {
    (w_w) => {
        Shape { d: Bank::W, s: &[Bank::W] }
    };
    (w_ww) => {
        Shape { d: Bank::W, s: &[Bank::W, Bank::W] }
    };
    (w_www) => {
        Shape { d: Bank::W, s: &[Bank::W, Bank::W, Bank::W] }
    };
    (l_l) => {
        Shape { d: Bank::L, s: &[Bank::L] }
    };
    (l_ll) => {
        Shape { d: Bank::L, s: &[Bank::L, Bank::L] }
    };
    (l_lll) => {
        Shape { d: Bank::L, s: &[Bank::L, Bank::L, Bank::L] }
    };
    (l_lw) => {
        Shape { d: Bank::L, s: &[Bank::L, Bank::W] }
    };
    (l_w) => {
        Shape { d: Bank::L, s: &[Bank::W] }
    };
    (w_l) => {
        Shape { d: Bank::W, s: &[Bank::L] }
    };
    (l_ww) => {
        Shape { d: Bank::L, s: &[Bank::W, Bank::W] }
    };
    (l_wwl) => {
        Shape { d: Bank::L, s: &[Bank::W, Bank::W, Bank::L] }
    };
}

macro_rules! codes {
    ($($shape:ident { $($name:ident |$($v:ident),*| $e:expr;)* })*) => {
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u16)]
        pub(crate) enum Code {
            $($($name,)*)*
            /// Selection by the predicate in `c`.
            Selp32, Selp64,
            /// Comparisons by type: `x` is the relation.
            SetpS32, SetpU32, SetpF, SetpS64, SetpU64, SetpS16, SetpD, SetpH, SetpBf,
            /// Predicate logic.
            PredAnd, PredOr, PredXor, PredNot, PredMov,
            /// Sums with a carry flag, which is a predicate: bit 0 of `x` reads the flag, bit 1 writes it.
            AddC, SubC, MadLoC, MadHiC, AddC64, SubC64, MadLoC64, MadHiC64,
            Lop3, Bfi32, Bfi64, BfeU64, BfeS64,
            /// A function of whole lane arrays, by index.
            Num,
            Pack16, Unpack16, Pack16x4, Unpack16x4, Unpack32,
            Bra, Ret, Exit, Call, Trap, Nop,
            /// A jump by a table, and a call of the function whose address is in a register.
            Brx, CallR,
            LdGlobal, LdShared, LdLocal, LdGeneric, LdParam, LdKernelParam,
            StGlobal, StShared, StLocal, StGeneric, StParam,
            /// Volatile and other strong accesses: `x` says where ([`strong`]).
            LdStrong, StStrong,
            Atom, Fence, IsSpace,
            Bar, BarWarp, Shfl, Vote, Match, Redux, Elect, ActiveMask, Clock,
            CpAsync, CpCommit, CpWait,
            LdMatrix, StMatrix, MovMatrix, Tile, Mma,
            /// What has no code of its own: [`Rare`].
            Rare,
        }

        impl Code {
            /// Whether the code is of the hot table.
            pub(crate) fn hot(self) -> bool {
                (self as u16) < Code::HOT
            }

            /// Whether the run loop's own arithmetic executes the code: no memory, no branch, no other lanes.
            pub(crate) fn plain(self) -> bool {
                self.hot()
                    || matches!(
                        self,
                        Code::Selp32
                            | Code::SetpS32
                            | Code::SetpU32
                            | Code::SetpF
                            | Code::PredAnd
                            | Code::PredOr
                            | Code::PredXor
                            | Code::PredNot
                            | Code::PredMov
                            | Code::Nop
                    )
            }

            /// Whether the code loads from memory lane by lane; `ldmatrix`, which needs a whole warp, does not.
            pub(crate) fn loads(self) -> bool {
                use Code::*;
                matches!(self, LdGlobal | LdShared | LdLocal | LdGeneric | LdParam | LdKernelParam | LdStrong)
            }

            /// Whether the code stores to memory.
            pub(crate) fn stores(self) -> bool {
                use Code::*;
                matches!(self, StGlobal | StShared | StLocal | StGeneric | StParam | StStrong)
            }

            /// Operand banks of an arithmetic code; none for the others.
            pub(crate) fn shape(self) -> Option<Shape> {
                match self {
                    $($(Code::$name => Some(shape!($shape)),)*)*
                    _ => None,
                }
            }
        }
    };
}

macro_rules! count {
    ($($shape:ident { $($name:ident |$($v:ident),*| $e:expr;)* })*) => {
        impl Code {
            /// How many codes the hot table has; they are the first.
            const HOT: u16 = [$($(Code::$name),*),*].len() as u16;
        }
    };
}
hot_table!(count);

/// Both tables as one list.
macro_rules! gather {
    ($($all:tt)*) => { cold_table! { codes $($all)* } };
}
hot_table!(gather);

type Fn1<A, D> = Box<dyn Fn(&A) -> D + Send + Sync>;
type Fn2<A, D> = Box<dyn Fn(&A, &A) -> D + Send + Sync>;
type Fn3<A, D> = Box<dyn Fn(&A, &A, &A) -> D + Send + Sync>;
type Approximate1 = Box<dyn Fn(&Lanes32, Approx) -> Lanes32 + Send + Sync>;
type Approximate2 = Box<dyn Fn(&Lanes32, &Lanes32, Approx) -> Lanes32 + Send + Sync>;

/// Functions of whole lane arrays, for arithmetic that does not fit a line of the tables. The variants say bank and number of the
/// operands. Approximate functions are told which of the permitted values to give.
pub(crate) enum Num {
    W1(Approximate1),
    W2(Approximate2),
    W3(Fn3<Lanes32, Lanes32>),
    WfromL(Fn1<Lanes64, Lanes32>),
    LfromW(Fn1<Lanes32, Lanes64>),
    L1(Fn1<Lanes64, Lanes64>),
    L2(Fn2<Lanes64, Lanes64>),
    L3(Fn3<Lanes64, Lanes64>),
}

impl Num {
    pub(crate) fn shape(&self) -> Shape {
        use Bank::{L, W};
        match self {
            Num::W1(_) => Shape { d: W, s: &[W] },
            Num::W2(_) => Shape { d: W, s: &[W, W] },
            Num::W3(_) => Shape { d: W, s: &[W, W, W] },
            Num::WfromL(_) => Shape { d: W, s: &[L] },
            Num::LfromW(_) => Shape { d: L, s: &[W] },
            Num::L1(_) => Shape { d: L, s: &[L] },
            Num::L2(_) => Shape { d: L, s: &[L, L] },
            Num::L3(_) => Shape { d: L, s: &[L, L, L] },
        }
    }
}

/// A memory operand: what one lane moves.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mem {
    /// Bytes of a component, and how many there are.
    pub bytes: u8,
    pub count: u8,
    /// Sign extension to the register's width.
    pub signed: bool,
    /// Registers of the components are 64 bits wide.
    pub wide: bool,
    /// The registers have 16 bits: a sign extension goes no further.
    pub half: bool,
    /// The address register is 64 bits wide.
    pub address64: bool,
    /// [`SINK`] marks a component that is dropped.
    pub regs: [u16; 4],
}

pub(crate) const SINK: u16 = u16::MAX;

/// What does not fit into an [`Op`].
#[derive(Clone, Debug)]
pub(crate) enum Extra {
    Atom(Atom),
    Call(Call),
    Mma(MatrixOp),
    Product(ProductOp),
    Tile(Tile),
    Rare(Rare),
    Text(String),
    /// Where a jump by a table goes: labels while its function is decoded, then ops.
    Jumps(Vec<u32>),
}

/// An instruction that is too rare to have fields of [`Op`] for its operands.
#[derive(Clone, Debug)]
pub(crate) struct Rare {
    pub what: What,
    /// Registers that are read, in the order that `what` says.
    pub reads: Vec<(Bank, u16)>,
    /// Registers that are written; [`SINK`] for a result that is dropped.
    pub writes: Vec<(Bank, u16)>,
    /// The space of the address; none if it is generic.
    pub space: Option<Space>,
    /// Offset of the address.
    pub plus: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    /// `discard`: reads an address, 128 bytes from which hold no value any more.
    Discard,
    Mbarrier(Mbarrier),
    Wgmma(Wgmma),
    Bulk(Bulk),
    Cluster(Cluster),
    /// `fence.proxy.async`; or `fence.mbarrier_init`.
    ProxyFence {
        init: bool,
    },
    /// Calls of functions that the device's system provides; places of parameters and of the result in parameter memory.
    Printf {
        format: u32,
        args: u32,
        ret: Option<u32>,
    },
    Malloc {
        size: u32,
        ret: u32,
    },
    Free {
        pointer: u32,
    },
    /// The message, the file, the line.
    Assert {
        params: [u32; 3],
    },
}

impl What {
    /// Whether no block sees what another did by it, but by a race: an mbarrier, a product and a bulk copy belong to their block, while
    /// printing and the heap are one for all.
    pub(crate) fn of_its_block(self) -> bool {
        matches!(self, What::Mbarrier(_) | What::Wgmma(_) | What::Bulk(_) | What::Cluster(_) | What::ProxyFence { .. })
    }
}

/// What is done in a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cluster {
    Arrive {
        aligned: bool,
        release: bool,
    },
    Wait {
        aligned: bool,
        acquire: bool,
    },
    /// Reads an address and a rank; writes an address.
    Map,
    /// Writes a rank.
    Rank,
}

/// What a warp group does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wgmma {
    /// Reads the registers of all products of the function, and so does `Wait`: they stay where they are.
    Fence,
    /// Reads the descriptor of B, whether C is added, the descriptor or the four registers of A, and the sums, which it writes.
    Multiply(Multiply),
    Commit,
    Wait {
        keep: u32,
    },
}

/// D = A·B + C with 64 rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Multiply {
    pub n: u16,
    pub element: Element,
    /// C and D are f16.
    pub half_sum: bool,
    /// A lies in registers.
    pub a_regs: bool,
    pub neg_a: bool,
    pub neg_b: bool,
    /// Neighbours in memory are neighbours along M, or along N.
    pub trans_a: bool,
    pub trans_b: bool,
}

/// What is done about bulk copies. Addresses are values of 64 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bulk {
    /// Reads the destination, the map, the mbarrier, coordinates, and for im2col offsets, one for each corner.
    Load {
        rank: u8,
        corners: u8,
    },
    /// Reads the map, the source, coordinates.
    Store {
        rank: u8,
    },
    /// Reads the destination, the source, the number of bytes, the mbarrier.
    CopyIn,
    /// The same without an mbarrier.
    CopyOut,
    /// Reads the map.
    Prefetch,
    Commit,
    Wait {
        keep: u32,
        read: bool,
    },
}

/// What is done with an mbarrier. Reads its address first, then a register of the operands that there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mbarrier {
    /// Reads the number of arrivals.
    Init,
    Inval,
    /// Reads the number of arrivals, or with `transactions` that of bytes; writes the state before.
    Arrive {
        complete: bool,
        drop: bool,
        transactions: bool,
        release: bool,
    },
    /// Reads a number of bytes; `done`: these have come.
    Transactions {
        done: bool,
    },
    /// Reads the state, or with `parity` the parity of a phase; writes a predicate.
    Wait {
        parity: bool,
        blocks: bool,
        acquire: bool,
    },
    /// Arrives when the earlier copies of the lane have arrived. `counted`: the number of arrivals takes it into account.
    Copies {
        counted: bool,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AtomOp {
    Add,
    Min,
    Max,
    Inc,
    Dec,
    And,
    Or,
    Xor,
    Exch,
    Cas,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AtomType {
    B16,
    U32,
    S32,
    U64,
    S64,
    F32,
    F64,
    F16,
    Bf16,
    F16x2,
    Bf16x2,
}

impl AtomType {
    pub(crate) fn bytes(self) -> u32 {
        match self {
            AtomType::B16 | AtomType::F16 | AtomType::Bf16 => 2,
            AtomType::U64 | AtomType::S64 | AtomType::F64 => 8,
            _ => 4,
        }
    }
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Atom {
    pub op: AtomOp,
    pub ty: AtomType,
    /// None: generic.
    pub space: Option<Space>,
    pub address64: bool,
    /// How many neighbours are updated, each atomically (`.v2`, `.v4`, `.v8`).
    pub count: u8,
    pub d: [u16; 8],
    pub b: [u16; 8],
    pub c: u16,
}

/// A matrix multiplication: the registers of d, a, b and c.
#[derive(Clone, Debug)]
pub(crate) struct MatrixOp {
    pub element: Element,
    /// C and D are f16.
    pub half_sum: bool,
    pub k: usize,
    pub regs: [Vec<u16>; 4],
}

/// [`MatrixOp`] for the other element types.
#[derive(Clone, Debug)]
pub(crate) struct ProductOp {
    pub product: Product,
    pub regs: [Vec<u16>; 4],
}

/// A matrix in memory, before the accesses that a `wmma.load` or `wmma.store` becomes: what its operands must fulfil. The op's
/// `a` is the address, `b` the stride in elements.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tile {
    /// None: generic.
    pub space: Option<Space>,
    pub write: bool,
    /// Bytes of which the address must be a multiple.
    pub align: u32,
    /// Bits of an element.
    pub bits: u32,
}

/// A call: parameters are copied between the frames.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    /// The functions that the call may enter, by address; a direct call has one.
    pub targets: Vec<(u64, u32)>,
    /// (offset in the caller's parameter memory, offset in the callee's, bytes)
    pub args: Vec<(u32, u32, u32)>,
    pub rets: Vec<(u32, u32, u32)>,
}

/// How a barrier is used, in [`Op::x`]: the low bits say what it does.
pub(crate) mod barrier {
    pub const SYNC: u16 = 0;
    pub const ARRIVE: u16 = 1;
    pub const POPC: u16 = 2;
    pub const AND: u16 = 3;
    pub const OR: u16 = 4;
    pub const KIND: u16 = 7;
    /// The whole warp must come.
    pub const ALIGNED: u16 = 8;
    /// `b` holds the number of threads.
    pub const COUNT: u16 = 16;
    /// The source predicate is negated.
    pub const NOT: u16 = 32;
}

/// Where a strong access goes, in [`Op::x`].
pub(crate) mod strong {
    use crate::source::Space;

    const SPACES: [Option<Space>; 3] = [None, Some(Space::Global), Some(Space::Shared)];

    pub fn space(x: u16) -> Option<Space> {
        SPACES[x as usize]
    }
    /// None for a space that one thread sees alone, or that no thread writes to: there a strong access is an ordinary one.
    pub fn code(space: Option<Space>) -> Option<u16> {
        SPACES.iter().position(|s| *s == space).map(|i| i as u16)
    }
}

pub(crate) use {cold_table, hot_table};
