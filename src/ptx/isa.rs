//! The instruction set: one table that decoding, the printed list, the census and the tests all read.
//!
//! A form is an opcode with its modifiers: `{a|b}` is one of, `[a|b]` is one of or nothing. What no row matches is an error that
//! names the instruction; nothing is guessed and no modifier is skipped.

use std::collections::HashMap;
use std::sync::OnceLock;

use super::decode::{self, Decoder, wmma};
use super::op::Code;
use super::source::Instr;

/// How a form is decoded.
#[derive(Clone, Copy)]
pub(crate) enum How {
    /// Arithmetic: operands by the code's shape.
    Alu(Code),
    With(fn(&mut Decoder, &Instr, &[&str]) -> Result<(), String>),
}
use How::{Alu, With};

/// A supported form, as text. See [`table`].
pub struct Row {
    pub form: &'static str,
    pub(crate) how: How,
}

const fn row(form: &'static str, how: How) -> Row {
    Row { form, how }
}

/// Every form that the emulator executes. `{a|b}`: one of; `[a|b]`: one of, or nothing.
pub fn table() -> &'static [Row] {
    TABLE
}

/// The row that an opcode matches.
pub(crate) fn find(opcode: &str) -> Option<&'static Row> {
    static INDEX: OnceLock<HashMap<&'static str, Vec<usize>>> = OnceLock::new();
    let index = INDEX.get_or_init(|| {
        let mut index: HashMap<_, Vec<_>> = HashMap::new();
        for (i, r) in TABLE.iter().enumerate() {
            let end = r.form.find(['.', '[', '{']).unwrap_or(r.form.len());
            index.entry(&r.form[..end]).or_default().push(i);
        }
        index
    });
    let mut parts = opcode.split('.');
    let rows = index.get(parts.next()?)?;
    let mods: Vec<&str> = parts.collect();
    rows.iter().map(|&i| &TABLE[i]).find(|r| {
        let end = r.form.find(['.', '[', '{']).unwrap_or(r.form.len());
        matches(&r.form[end..], &mods)
    })
}

/// Whether any row begins with this mnemonic.
pub(crate) fn knows(mnemonic: &str) -> bool {
    TABLE.iter().any(|r| r.form.strip_prefix(mnemonic).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '['])))
}

/// How often each form occurs in a module's kernels and functions, most frequent first, and whether it is supported.
pub fn census(module: &super::Module) -> Vec<Form> {
    let mut counts: HashMap<&str, u64> = HashMap::new();
    for f in &module.source.functions {
        for i in &f.body {
            *counts.entry(&i.opcode).or_default() += 1;
        }
    }
    let form = |(opcode, count): (&str, u64)| Form { opcode: opcode.to_string(), count, supported: find(opcode).is_some() };
    let mut list: Vec<Form> = counts.into_iter().map(form).collect();
    list.sort_by(|a, b| b.count.cmp(&a.count).then(a.opcode.cmp(&b.opcode)));
    list
}

/// A row of [`census`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Form {
    /// With all modifiers, as the module has it.
    pub opcode: String,
    /// Static occurrences.
    pub count: u64,
    pub supported: bool,
}

impl Row {
    /// Whether this is the row that decodes the opcode.
    pub fn decodes(&self, opcode: &str) -> bool {
        find(opcode).is_some_and(|r| std::ptr::eq(r, self))
    }
}

fn matches(form: &str, mods: &[&str]) -> bool {
    if form.is_empty() {
        return mods.is_empty();
    }
    // `.{a|b}`, `[.a|.b]` or `.a`, then the rest.
    if let Some(rest) = form.strip_prefix('[') {
        let end = rest.find(']').expect("a bracket closes");
        let (choices, rest) = (&rest[..end], &rest[end + 1..]);
        let taken = mods.first().is_some_and(|m| choices.split('|').any(|c| c.strip_prefix('.') == Some(m)));
        return (taken && matches(rest, &mods[1..])) || matches(rest, mods);
    }
    let form = form.strip_prefix('.').expect("a modifier begins with a dot");
    let Some(first) = mods.first() else { return false };
    if let Some(rest) = form.strip_prefix('{') {
        let end = rest.find('}').expect("a brace closes");
        return rest[..end].split('|').any(|c| c == *first) && matches(&rest[end + 1..], &mods[1..]);
    }
    let end = form.find(['.', '[']).unwrap_or(form.len());
    form[..end] == **first && matches(&form[end..], &mods[1..])
}

#[rustfmt::skip]
static TABLE: &[Row] = &[
    // Integers.
    row("add.{u32|s32}", Alu(Code::Add32)),
    row("add.sat.s32", Alu(Code::AddSatS32)),
    row("add.{u64|s64}", Alu(Code::Add64)),
    row("add.{u16|s16}", Alu(Code::Add16)),
    row("sub.{u32|s32}", Alu(Code::Sub32)),
    row("sub.sat.s32", Alu(Code::SubSatS32)),
    row("sub.{u64|s64}", Alu(Code::Sub64)),
    row("sub.{u16|s16}", Alu(Code::Sub16)),
    row("mul.lo.{u32|s32}", Alu(Code::MulLo32)),
    row("mul.lo.{u64|s64}", Alu(Code::MulLo64)),
    row("mul.lo.{u16|s16}", Alu(Code::MulLo16)),
    row("mul.hi.s32", Alu(Code::MulHiS32)),
    row("mul.hi.u32", Alu(Code::MulHiU32)),
    row("mul.hi.s64", Alu(Code::MulHiS64)),
    row("mul.hi.u64", Alu(Code::MulHiU64)),
    row("mul.hi.s16", Alu(Code::MulHiS16)),
    row("mul.hi.u16", Alu(Code::MulHiU16)),
    row("mul.wide.s32", Alu(Code::MulWideS)),
    row("mul.wide.u32", Alu(Code::MulWideU)),
    row("mul.wide.s16", Alu(Code::MulWideS16)),
    row("mul.wide.u16", Alu(Code::MulWideU16)),
    row("mul24.lo.s32", Alu(Code::Mul24LoS)),
    row("mul24.lo.u32", Alu(Code::Mul24LoU)),
    row("mad.lo.{u32|s32}", Alu(Code::MadLo32)),
    row("mad.lo.{u64|s64}", Alu(Code::MadLo64)),
    row("mad.lo.{u16|s16}", Alu(Code::MadLo16)),
    row("mad.hi.s32", Alu(Code::MadHiS32)),
    row("mad.hi.u32", Alu(Code::MadHiU32)),
    row("mad.wide.s32", Alu(Code::MadWideS)),
    row("mad.wide.u32", Alu(Code::MadWideU)),
    row("mad.wide.s16", Alu(Code::MadWideS16)),
    row("mad.wide.u16", Alu(Code::MadWideU16)),
    row("mad24.lo.s32", Alu(Code::Mad24LoS)),
    row("mad24.lo.u32", Alu(Code::Mad24LoU)),
    row("sad.s32", Alu(Code::SadS32)),
    row("sad.u32", Alu(Code::SadU32)),
    row("div.s32", Alu(Code::DivS32)),
    row("div.u32", Alu(Code::DivU32)),
    row("div.s64", Alu(Code::DivS64)),
    row("div.u64", Alu(Code::DivU64)),
    row("div.s16", Alu(Code::DivS16)),
    row("div.u16", Alu(Code::DivU16)),
    row("rem.s32", Alu(Code::RemS32)),
    row("rem.u32", Alu(Code::RemU32)),
    row("rem.s64", Alu(Code::RemS64)),
    row("rem.u64", Alu(Code::RemU64)),
    row("rem.s16", Alu(Code::RemS16)),
    row("rem.u16", Alu(Code::RemU32)),
    row("abs.s32", Alu(Code::Abs32)),
    row("abs.s64", Alu(Code::Abs64)),
    row("abs.s16", Alu(Code::Abs16)),
    row("neg.s32", Alu(Code::Neg32)),
    row("neg.s64", Alu(Code::Neg64)),
    row("neg.s16", Alu(Code::Neg16)),
    row("min.s32", Alu(Code::MinS32)),
    row("min.u32", Alu(Code::MinU32)),
    row("min.s64", Alu(Code::MinS64)),
    row("min.u64", Alu(Code::MinU64)),
    row("min.s16", Alu(Code::MinS16)),
    row("min.u16", Alu(Code::MinU32)),
    row("max.s32", Alu(Code::MaxS32)),
    row("max.u32", Alu(Code::MaxU32)),
    row("max.s64", Alu(Code::MaxS64)),
    row("max.u64", Alu(Code::MaxU64)),
    row("max.s16", Alu(Code::MaxS16)),
    row("max.u16", Alu(Code::MaxU32)),
    row("add.cc.{u32|s32}", With(decode::carry)),
    row("addc[.cc].{u32|s32}", With(decode::carry)),
    row("sub.cc.{u32|s32}", With(decode::carry)),
    row("subc[.cc].{u32|s32}", With(decode::carry)),
    row("mad.{lo|hi}.cc.{u32|s32}", With(decode::carry)),
    row("madc.{lo|hi}[.cc].{u32|s32}", With(decode::carry)),
    row("dp4a.s32.s32", Alu(Code::Dp4aSS)),
    row("dp4a.s32.u32", Alu(Code::Dp4aSU)),
    row("dp4a.u32.s32", Alu(Code::Dp4aUS)),
    row("dp4a.u32.u32", Alu(Code::Dp4aUU)),
    row("dp2a.lo.s32.s32", Alu(Code::Dp2aLoSS)),
    row("dp2a.lo.s32.u32", Alu(Code::Dp2aLoSU)),
    row("dp2a.lo.u32.s32", Alu(Code::Dp2aLoUS)),
    row("dp2a.lo.u32.u32", Alu(Code::Dp2aLoUU)),
    row("dp2a.hi.s32.s32", Alu(Code::Dp2aHiSS)),
    row("dp2a.hi.s32.u32", Alu(Code::Dp2aHiSU)),
    row("dp2a.hi.u32.s32", Alu(Code::Dp2aHiUS)),
    row("dp2a.hi.u32.u32", Alu(Code::Dp2aHiUU)),
    // Bits.
    row("and.b32", Alu(Code::And32)),
    row("or.b32", Alu(Code::Or32)),
    row("xor.b32", Alu(Code::Xor32)),
    row("not.b32", Alu(Code::Not32)),
    row("and.b64", Alu(Code::And64)),
    row("or.b64", Alu(Code::Or64)),
    row("xor.b64", Alu(Code::Xor64)),
    row("not.b64", Alu(Code::Not64)),
    row("and.b16", Alu(Code::And32)),
    row("or.b16", Alu(Code::Or32)),
    row("xor.b16", Alu(Code::Xor32)),
    row("not.b16", Alu(Code::Not16)),
    row("and.pred", With(decode::pred_logic)),
    row("or.pred", With(decode::pred_logic)),
    row("xor.pred", With(decode::pred_logic)),
    row("not.pred", With(decode::pred_logic)),
    row("cnot.b32", Alu(Code::Cnot32)),
    row("cnot.b64", Alu(Code::Cnot64)),
    row("cnot.b16", Alu(Code::Cnot16)),
    row("shl.b32", Alu(Code::Shl32)),
    row("shl.b64", Alu(Code::Shl64)),
    row("shl.b16", Alu(Code::Shl16)),
    row("shr.{u32|b32}", Alu(Code::ShrU32)),
    row("shr.s32", Alu(Code::ShrS32)),
    row("shr.{u64|b64}", Alu(Code::ShrU64)),
    row("shr.s64", Alu(Code::ShrS64)),
    row("shr.{u16|b16}", Alu(Code::ShrU16)),
    row("shr.s16", Alu(Code::ShrS16)),
    row("shf.l.wrap.b32", Alu(Code::ShfLWrap)),
    row("shf.l.clamp.b32", Alu(Code::ShfLClamp)),
    row("shf.r.wrap.b32", Alu(Code::ShfRWrap)),
    row("shf.r.clamp.b32", Alu(Code::ShfRClamp)),
    row("clz.b32", Alu(Code::Clz32)),
    row("clz.b64", Alu(Code::Clz64)),
    row("popc.b32", Alu(Code::Popc32)),
    row("popc.b64", Alu(Code::Popc64)),
    row("brev.b32", Alu(Code::Brev32)),
    row("brev.b64", Alu(Code::Brev64)),
    row("bfind.u32", Alu(Code::BfindU32)),
    row("bfind.s32", Alu(Code::BfindS32)),
    row("bfind.u64", Alu(Code::BfindU64)),
    row("bfind.s64", Alu(Code::BfindS64)),
    row("bfind.shiftamt.u32", Alu(Code::BfindShiftU32)),
    row("bfind.shiftamt.s32", Alu(Code::BfindShiftS32)),
    row("bfind.shiftamt.u64", Alu(Code::BfindShiftU64)),
    row("bfind.shiftamt.s64", Alu(Code::BfindShiftS64)),
    row("bfe.u32", Alu(Code::BfeU32)),
    row("bfe.s32", Alu(Code::BfeS32)),
    row("bfe.{u64|s64}", With(decode::bit_field)),
    row("bfi.{b32|b64}", With(decode::bit_field)),
    row("prmt.b32", Alu(Code::Prmt)),
    row("prmt.b32.f4e", Alu(Code::PrmtF4e)),
    row("prmt.b32.b4e", Alu(Code::PrmtB4e)),
    row("prmt.b32.rc8", Alu(Code::PrmtRc8)),
    row("prmt.b32.ecl", Alu(Code::PrmtEcl)),
    row("prmt.b32.ecr", Alu(Code::PrmtEcr)),
    row("prmt.b32.rc16", Alu(Code::PrmtRc16)),
    row("lop3.b32", With(decode::lop3)),
    // f32.
    row("add[.rn].f32", Alu(Code::AddF)),
    row("add[.rn].ftz.f32", Alu(Code::AddFtz)),
    row("add[.rn|.rz|.rm|.rp][.ftz][.sat].f32", With(decode::float)),
    row("sub[.rn].f32", Alu(Code::SubF)),
    row("sub[.rn].ftz.f32", Alu(Code::SubFtz)),
    row("sub[.rn|.rz|.rm|.rp][.ftz][.sat].f32", With(decode::float)),
    row("mul[.rn].f32", Alu(Code::MulF)),
    row("mul[.rn].ftz.f32", Alu(Code::MulFtz)),
    row("mul[.rn|.rz|.rm|.rp][.ftz][.sat].f32", With(decode::float)),
    row("fma.rn.f32", Alu(Code::FmaF)),
    row("fma.rn.ftz.f32", Alu(Code::FmaFtz)),
    row("fma.{rn|rz|rm|rp}[.ftz][.sat].f32", With(decode::float)),
    row("mad.rn.f32", Alu(Code::FmaF)),
    row("div.rn.f32", Alu(Code::DivF)),
    row("div.{rn|rz|rm|rp|approx|full}[.ftz].f32", With(decode::float)),
    row("rcp.rn.f32", Alu(Code::RcpF)),
    row("rcp.{rn|rz|rm|rp|approx}[.ftz].f32", With(decode::float)),
    row("sqrt.rn.f32", Alu(Code::SqrtF)),
    row("sqrt.{rn|rz|rm|rp|approx}[.ftz].f32", With(decode::float)),
    row("rsqrt.approx[.ftz].f32", With(decode::float)),
    row("sin.approx[.ftz].f32", With(decode::float)),
    row("cos.approx[.ftz].f32", With(decode::float)),
    row("ex2.approx[.ftz].f32", With(decode::float)),
    row("lg2.approx[.ftz].f32", With(decode::float)),
    row("tanh.approx.f32", With(decode::float)),
    row("abs.f32", Alu(Code::AbsF)),
    row("abs.ftz.f32", Alu(Code::AbsFtz)),
    row("neg.f32", Alu(Code::NegF)),
    row("neg.ftz.f32", With(decode::float)),
    row("min.f32", Alu(Code::MinF)),
    row("min.ftz.f32", Alu(Code::MinFtz)),
    row("min.NaN.f32", Alu(Code::MinNanF)),
    row("min.ftz.NaN.f32", With(decode::float)),
    row("max.f32", Alu(Code::MaxF)),
    row("max.ftz.f32", Alu(Code::MaxFtz)),
    row("max.NaN.f32", Alu(Code::MaxNanF)),
    row("max.ftz.NaN.f32", With(decode::float)),
    row("copysign.f32", Alu(Code::CopySignF)),
    // f64.
    row("add[.rn].f64", Alu(Code::AddD)),
    row("sub[.rn].f64", Alu(Code::SubD)),
    row("mul[.rn].f64", Alu(Code::MulD)),
    row("fma.rn.f64", Alu(Code::FmaD)),
    row("mad.rn.f64", Alu(Code::FmaD)),
    row("div.rn.f64", Alu(Code::DivD)),
    row("rcp.rn.f64", Alu(Code::RcpD)),
    row("sqrt.rn.f64", Alu(Code::SqrtD)),
    row("abs.f64", Alu(Code::AbsD)),
    row("neg.f64", Alu(Code::NegD)),
    row("min.f64", Alu(Code::MinD)),
    row("max.f64", Alu(Code::MaxD)),
    row("copysign.f64", Alu(Code::CopySignD)),
    row("add.{rz|rm|rp}.f64", With(decode::float)),
    row("sub.{rz|rm|rp}.f64", With(decode::float)),
    row("mul.{rz|rm|rp}.f64", With(decode::float)),
    row("div.{rz|rm|rp}.f64", With(decode::float)),
    row("fma.{rz|rm|rp}.f64", With(decode::float)),
    row("rcp.{rz|rm|rp}.f64", With(decode::float)),
    row("sqrt.{rz|rm|rp}.f64", With(decode::float)),
    // f16 and bf16, alone and in pairs.
    row("add[.rn][.ftz][.sat].{f16|f16x2}", With(decode::half)),
    row("sub[.rn][.ftz][.sat].{f16|f16x2}", With(decode::half)),
    row("mul[.rn][.ftz][.sat].{f16|f16x2}", With(decode::half)),
    row("add[.rn].{bf16|bf16x2}", With(decode::half)),
    row("sub[.rn].{bf16|bf16x2}", With(decode::half)),
    row("mul[.rn].{bf16|bf16x2}", With(decode::half)),
    row("fma.rn[.ftz][.sat|.relu].{f16|f16x2}", With(decode::half)),
    row("fma.rn[.relu].{bf16|bf16x2}", With(decode::half)),
    row("neg[.ftz].{f16|f16x2|bf16|bf16x2}", With(decode::half)),
    row("abs[.ftz].{f16|f16x2|bf16|bf16x2}", With(decode::half)),
    row("min[.ftz][.NaN].{f16|f16x2|bf16|bf16x2}", With(decode::half)),
    row("max[.ftz][.NaN].{f16|f16x2|bf16|bf16x2}", With(decode::half)),
    row("ex2.approx.{f16|f16x2}", With(decode::half)),
    row("ex2.approx.ftz.{bf16|bf16x2}", With(decode::half)),
    row("tanh.approx.{f16|f16x2|bf16|bf16x2}", With(decode::half)),
    // Comparison and selection.
    row("setp.{eq|ne|lt|le|gt|ge|lo|ls|hi|hs}.{b16|u16|s16|b32|u32|s32|b64|u64|s64}", With(decode::setp)),
    row("setp.{eq|ne|lt|le|gt|ge|lo|ls|hi|hs}.{and|or|xor}.{b16|u16|s16|b32|u32|s32|b64|u64|s64}", With(decode::setp)),
    row("setp.{eq|ne|lt|le|gt|ge|equ|neu|ltu|leu|gtu|geu|num|nan}[.ftz].{f32|f64}", With(decode::setp)),
    row("setp.{eq|ne|lt|le|gt|ge|equ|neu|ltu|leu|gtu|geu|num|nan}.{and|or|xor}[.ftz].{f32|f64}", With(decode::setp)),
    row("setp.{eq|ne|lt|le|gt|ge|equ|neu|ltu|leu|gtu|geu|num|nan}.{f16|bf16}", With(decode::setp)),
    row("setp.{eq|ne|lt|le|gt|ge|equ|neu|ltu|leu|gtu|geu|num|nan}.{and|or|xor}.{f16|bf16}", With(decode::setp)),
    row("set.{eq|ne|lt|le|gt|ge|lo|ls|hi|hs}.{u32|s32|f32}.{b16|u16|s16|b32|u32|s32|b64|u64|s64}", With(decode::set)),
    row("set.{eq|ne|lt|le|gt|ge|equ|neu|ltu|leu|gtu|geu|num|nan}[.ftz].{u32|s32|f32}.{f32|f64}", With(decode::set)),
    row("set.{eq|ne|lt|le|gt|ge|equ|neu|ltu|leu|gtu|geu|num|nan}.{u16|s16|u32|s32|f16|bf16}.{f16|bf16}", With(decode::set)),
    row("selp.{b16|u16|s16|b32|u32|s32|f32|b64|u64|s64|f64}", With(decode::selp)),
    row("slct[.ftz].{b32|u32|s32|f32|b64|u64|s64|f64}.{s32|f32}", With(decode::slct)),
    // Moves and conversions.
    row("mov.{pred|b16|u16|s16|f16|bf16|b32|u32|s32|f32|b64|u64|s64|f64}", With(decode::mov)),
    row("cvt.{u8|s8|u16|s16|u32|s32|u64|s64}.{u8|s8|u16|s16|u32|s32|u64|s64}", With(decode::cvt_int)),
    row("cvt.sat.{u8|s8|u16|s16|u32|s32|u64|s64}.{u8|s8|u16|s16|u32|s32|u64|s64}", With(decode::cvt_sat)),
    row("cvt[.rn|.rz|.rm|.rp].{f32|f64}.{u8|s8|u16|s16|u32|s32|u64|s64}", With(decode::cvt)),
    row("cvt.{rni|rzi|rmi|rpi}[.ftz].{u8|s8|u16|s16|u32|s32|u64|s64}.{f32|f64}", With(decode::cvt)),
    row("cvt[.rn|.rz|.rm|.rp|.rni|.rzi|.rmi|.rpi][.ftz][.sat].{f32|f64}.{f32|f64}", With(decode::cvt)),
    row("cvt.rna.tf32.f32", Alu(Code::Tf32Rna)),
    row("cvt.rn.tf32.f32", With(decode::cvt)),
    row("cvt.{rn|rz|rm|rp}[.relu][.ftz][.sat].{f16|bf16}.f32", With(decode::cvt)),
    row("cvt[.ftz][.sat].f32.{f16|bf16}", With(decode::cvt)),
    row("cvt.f64.f16", With(decode::cvt)),
    row("cvt.{rn|rz|rm|rp}.f16.f64", With(decode::cvt)),
    row("cvt.{rn|rz|rm|rp}.{f16|bf16}.{u8|s8|u16|s16|u32|s32|u64|s64}", With(decode::cvt)),
    row("cvt.{rni|rzi|rmi|rpi}.{u8|s8|u16|s16|u32|s32|u64|s64}.{f16|bf16}", With(decode::cvt)),
    row("cvt[.rni|.rzi|.rmi|.rpi][.sat].f16.f16", With(decode::cvt)),
    row("cvt.{rn|rz}[.relu].{f16x2|bf16x2}.f32", With(decode::cvt_pair)),
    row("cvta.{global|shared|local|const|param}.u64", With(decode::cvta)),
    row("cvta.to.{global|shared|local|const|param}.u64", With(decode::cvta)),
    row("isspacep.{global|shared|local|const}", With(decode::isspacep)),
    // Memory.
    row("ld[.weak|.volatile|.relaxed|.acquire][.cta|.gpu|.sys][.global|.shared|.local|.const][.nc][.ca|.cg|.cs|.lu|.cv][.L1::evict_last|.L1::evict_first|.L1::no_allocate][.L2::64B|.L2::128B|.L2::256B][.v2|.v4].{b8|u8|s8|b16|u16|s16|b32|u32|s32|f32|b64|u64|s64|f64}", With(decode::ld)),
    row("ld.shared::cta[.v2|.v4].{b8|u8|s8|b16|u16|s16|b32|u32|s32|f32|b64|u64|s64|f64}", With(decode::ld)),
    row("ld.param[.v2|.v4].{b8|u8|s8|b16|u16|s16|b32|u32|s32|f32|b64|u64|s64|f64}", With(decode::ld_param)),
    row("ldu.global[.v2|.v4].{b8|u8|s8|b16|u16|s16|b32|u32|s32|f32|b64|u64|s64|f64}", With(decode::ld)),
    row("st[.weak|.volatile|.relaxed|.release][.cta|.gpu|.sys][.global|.shared|.local][.wb|.cg|.cs|.wt][.L1::evict_last|.L1::evict_first|.L1::no_allocate][.v2|.v4].{b8|u8|s8|b16|u16|s16|b32|u32|s32|f32|b64|u64|s64|f64}", With(decode::st)),
    row("st.shared::cta[.v2|.v4].{b8|u8|s8|b16|u16|s16|b32|u32|s32|f32|b64|u64|s64|f64}", With(decode::st)),
    row("st.param[.v2|.v4].{b8|u8|s8|b16|u16|s16|b32|u32|s32|f32|b64|u64|s64|f64}", With(decode::st_param)),
    row("prefetch[.global|.local].{L1|L2}", With(decode::nop)),
    row("atom[.relaxed|.acquire|.release|.acq_rel][.cta|.gpu|.sys][.global|.shared].{add|min|max|inc|dec|and|or|xor|exch|cas}.{b16|b32|u32|s32|f32|b64|u64|s64|f64}", With(decode::atom)),
    row("red[.relaxed|.release][.cta|.gpu|.sys][.global|.shared].{add|min|max|inc|dec|and|or|xor}.{b32|u32|s32|f32|b64|u64|s64|f64}", With(decode::atom)),
    row("atom[.relaxed|.acquire|.release|.acq_rel][.cta|.gpu|.sys][.global|.shared].add.noftz.{f16|bf16|f16x2|bf16x2}", With(decode::atom)),
    row("red[.relaxed|.release][.cta|.gpu|.sys][.global|.shared].add.noftz.{f16|bf16|f16x2|bf16x2}", With(decode::atom)),
    row("membar.{cta|gl|sys}", With(decode::fence)),
    row("fence[.sc|.acq_rel].{cta|gpu|sys}", With(decode::fence)),
    row("cp.async.ca.shared.global[.L2::64B|.L2::128B|.L2::256B]", With(decode::cp_async)),
    row("cp.async.cg.shared.global[.L2::64B|.L2::128B|.L2::256B]", With(decode::cp_async)),
    row("cp.async.commit_group", With(decode::cp_async)),
    row("cp.async.{wait_group|wait_all}", With(decode::cp_async)),
    // Tensor cores.
    row("ldmatrix.sync.aligned.m8n8.{x1|x2|x4}[.trans].{shared|shared::cta}.b16", With(decode::ldmatrix)),
    row("ldmatrix.sync.aligned.{x1|x2|x4}[.trans].m8n8.{shared|shared::cta}.b16", With(decode::ldmatrix)),
    row("mma.sync.aligned.m16n8k8.row.col.{f16|f32}.f16.f16.{f16|f32}", With(decode::mma)),
    row("mma.sync.aligned.m16n8k16.row.col.{f16|f32}.f16.f16.{f16|f32}", With(decode::mma)),
    row("mma.sync.aligned.m16n8k8.row.col.f32.bf16.bf16.f32", With(decode::mma)),
    row("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32", With(decode::mma)),
    row("mma.sync.aligned.m16n8k4.row.col.f32.tf32.tf32.f32", With(decode::mma)),
    row("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32", With(decode::mma)),
    row("movmatrix.sync.aligned.m8n8.trans.b16", With(decode::movmatrix)),
    row("wmma.load.{a|b}.sync.aligned.{row|col}.{m16n16k16|m8n32k16|m32n8k16}[.global|.shared|.shared::cta].{f16|bf16}", With(wmma::load)),
    row("wmma.load.{a|b}.sync.aligned.{row|col}.m16n16k8[.global|.shared|.shared::cta].tf32", With(wmma::load)),
    row("wmma.load.c.sync.aligned.{row|col}.{m16n16k16|m8n32k16|m32n8k16}[.global|.shared|.shared::cta].{f16|f32}", With(wmma::load)),
    row("wmma.load.c.sync.aligned.{row|col}.m16n16k8[.global|.shared|.shared::cta].f32", With(wmma::load)),
    row("wmma.store.d.sync.aligned.{row|col}.{m16n16k16|m8n32k16|m32n8k16}[.global|.shared|.shared::cta].{f16|f32}", With(wmma::store)),
    row("wmma.store.d.sync.aligned.{row|col}.m16n16k8[.global|.shared|.shared::cta].f32", With(wmma::store)),
    row("wmma.mma.sync.aligned.{row|col}.{row|col}.{m16n16k16|m8n32k16|m32n8k16}.{f16|f32}.{f16|f32}", With(wmma::mma)),
    row("wmma.mma.sync.aligned.{row|col}.{row|col}.{m16n16k16|m8n32k16|m32n8k16}.f32.bf16.bf16.f32", With(wmma::mma)),
    row("wmma.mma.sync.aligned.{row|col}.{row|col}.m16n16k8.f32.tf32.tf32.f32", With(wmma::mma)),
    // Control.
    row("bra[.uni]", With(decode::bra)),
    row("call[.uni]", With(decode::call)),
    row("ret[.uni]", With(decode::ret)),
    row("exit", With(decode::ret)),
    row("trap", With(decode::trap)),
    row("brkpt", With(decode::trap)),
    row("nanosleep.u32", With(decode::nop)),
    // Threads together.
    row("bar[.cta].{sync|arrive}", With(decode::bar)),
    row("bar[.cta].red.popc.u32", With(decode::bar)),
    row("bar[.cta].red.{and|or}.pred", With(decode::bar)),
    row("barrier[.cta].{sync|arrive}[.aligned]", With(decode::bar)),
    row("barrier[.cta].red.popc[.aligned].u32", With(decode::bar)),
    row("barrier[.cta].red.{and|or}[.aligned].pred", With(decode::bar)),
    row("bar.warp.sync", With(decode::bar_warp)),
    row("shfl.sync.{up|down|bfly|idx}.b32", With(decode::shfl)),
    row("vote.sync.{all|any|uni}.pred", With(decode::vote)),
    row("vote.sync.ballot.b32", With(decode::vote)),
    row("match.any.sync.{b32|b64}", With(decode::match_)),
    row("match.all.sync.{b32|b64}", With(decode::match_)),
    row("redux.sync.{add|min|max}.{u32|s32}", With(decode::redux)),
    row("redux.sync.{and|or|xor}.b32", With(decode::redux)),
    row("activemask.b32", With(decode::activemask)),
];
